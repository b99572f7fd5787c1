//! Writes datapath actions as `ovs-dpctl` does, with the names or numbers of the user's ports.

use crate::policy::xlate::growth;
use flow::types::PortNo;
use flow::types::mac_of_bits;
use flow::verdict::{CtAction, CtCommit, DpAction, Rewrite, Transport};
use packet::TunnelKey;
use packet::wire::vxlan::GroupPolicy;
use packet::wire::{GeneveOptions, MplsEntry, eth_type, vlan};
use std::fmt::{Display, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Appends a list of actions. An empty list is written as `drop`.
pub fn write_datapath_actions<P: Display>(
    out: &mut String,
    actions: &[DpAction],
    of: &dyn Fn(PortNo) -> Option<P>,
) {
    if actions.is_empty() {
        out.push_str("drop");
    }
    let mut writer = Writer { out, of, is_first: true, priority: 0 };
    let mut rest = actions;
    while !rest.is_empty() {
        let edits = rest.iter().take_while(|action| is_edit(action)).count();
        // Open vSwitch says to how many bytes the frame is cut before it edits the frame, and counts the bytes
        // that the frame has then.
        if let Some(DpAction::OutputTrunc { max_len, .. } | DpAction::TunnelTrunc { max_len, .. }) =
            rest.get(edits)
        {
            let growth: i32 = rest[..edits].iter().map(growth).sum();
            writer.comma();
            let _ = write!(writer.out, "trunc({})", max_len.saturating_add_signed(-growth));
        }
        if let Some(output) = rest.get(edits) {
            writer.priority(output);
        }
        let (run, after) = rest.split_at(rest.len().min(edits + 1));
        for action in run {
            writer.comma();
            writer.action(action);
        }
        rest = after;
    }
}

/// Whether an action changes the frame, and does nothing else.
fn is_edit(action: &DpAction) -> bool {
    match action {
        DpAction::Output(_)
        | DpAction::OutputTrunc { .. }
        | DpAction::OutputQueued { .. }
        | DpAction::Tunnel { .. }
        | DpAction::TunnelTrunc { .. }
        | DpAction::Answer { .. }
        | DpAction::Controller(_)
        | DpAction::Meter(_)
        | DpAction::CheckLen { .. }
        | DpAction::Clone(_)
        | DpAction::Ct(_)
        | DpAction::CtClear
        | DpAction::Recirculate(_) => false,
        DpAction::SetEth { .. }
        | DpAction::PushVlan { .. }
        | DpAction::PopVlan
        | DpAction::SetIpv4 { .. }
        | DpAction::SetIpv6 { .. }
        | DpAction::SetArp { .. }
        | DpAction::SetPorts { .. }
        | DpAction::SetIcmp { .. }
        | DpAction::SetNd { .. }
        | DpAction::SetNdExt { .. }
        | DpAction::PushMpls { .. }
        | DpAction::PopMpls { .. }
        | DpAction::SetMpls(_) => true,
    }
}

struct Writer<'a, P> {
    out: &'a mut String,
    of: &'a dyn Fn(PortNo) -> Option<P>,
    /// Nothing was written yet.
    is_first: bool,
    /// The priority that was written last.
    priority: u32,
}

macro_rules! put {
    ($self:expr, $($arg:tt)*) => { let _ = write!($self.out, $($arg)*); };
}

impl<P: Display> Writer<'_, P> {
    fn comma(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(',');
        }
    }

    /// Writes the priority of an output if it differs from that of the output before, as Open vSwitch does.
    fn priority(&mut self, output: &DpAction) {
        let priority = match output {
            DpAction::Output(_) => 0,
            DpAction::OutputQueued { priority, .. } | DpAction::OutputTrunc { priority, .. } => {
                *priority
            }
            _ => return,
        };
        if priority != self.priority {
            self.priority = priority;
            self.comma();
            put!(self, "set(skb_priority({priority:#x}))");
        }
    }

    fn port(&mut self, no: PortNo) {
        match (self.of)(no) {
            Some(of) => {
                put!(self, "{of}");
            }
            None => self.out.push_str("gone"),
        }
    }

    /// What the outer headers say: `tunnel(tun_id=0x5,dst=192.0.2.1,ttl=64,`.
    fn tunnel(&mut self, key: &TunnelKey) {
        put!(self, "tunnel(tun_id={:#x},", key.id);
        if !key.source.is_unspecified() {
            put!(self, "src={},", key.source);
        }
        put!(self, "dst={},", key.destination);
        if key.tos != 0 {
            put!(self, "tos={:#x},", key.tos);
        }
        put!(self, "ttl={},", key.ttl);
        if key.group_policy != GroupPolicy::default() {
            put!(self, "gbp(id={},flags={:#x}),", key.group_policy.id, key.group_policy.flags);
        }
        if key.is_oam {
            self.out.push_str("oam,");
        }
        if let Some(options) = &key.options {
            self.out.push_str("options(");
            for option in GeneveOptions::new(options) {
                let (class, kind) = (option.class(), option.option_type());
                let len = option.data().len();
                put!(self, "{{class={class:#x},type={kind:#x},len={len}");
                if !option.data().is_empty() {
                    self.out.push_str(",0x");
                    for byte in option.data() {
                        put!(self, "{byte:02x}");
                    }
                }
                self.out.push('}');
            }
            self.out.push_str("),");
        }
    }

    fn action(&mut self, action: &DpAction) {
        match action {
            DpAction::Output(no)
            | DpAction::OutputTrunc { port: no, .. }
            | DpAction::OutputQueued { port: no, .. } => self.port(*no),
            DpAction::Tunnel { port, key } | DpAction::TunnelTrunc { port, key, .. } => {
                self.tunnel(key);
                self.port(*port);
                self.out.push(')');
            }
            DpAction::Answer { port, mac } => {
                put!(self, "answer(is_at={mac},");
                self.port(*port);
                self.out.push(')');
            }
            DpAction::Meter(meter) => {
                put!(self, "meter({})", meter.id);
            }
            DpAction::Controller(meta) => {
                if let Some(meter) = meta.meter {
                    put!(self, "meter({}),", meter.id);
                }
                put!(
                    self,
                    "userspace(controller(reason={},{}controller_id={},max_len={}))",
                    meta.reason as u8,
                    if meta.paused.is_some() { "continuation=1," } else { "" },
                    meta.controller_id,
                    meta.max_len
                );
            }
            DpAction::SetEth { src, dst } => self.set("eth", |set| {
                set.mac("src", *src);
                set.mac("dst", *dst);
            }),
            DpAction::PushVlan { tpid, tci } => {
                let tpid = if *tpid == eth_type::VLAN {
                    String::new()
                } else {
                    format!("tpid={tpid:#x},")
                };
                put!(
                    self,
                    "push_vlan({tpid}vid={},pcp={})",
                    tci & vlan::VID_MASK,
                    tci >> vlan::PCP_SHIFT
                );
            }
            DpAction::PopVlan => self.out.push_str("pop_vlan"),
            DpAction::SetIpv4 { src, dst, tos, ttl, .. } => self.set("ipv4", |set| {
                set.ipv4("src", *src);
                set.ipv4("dst", *dst);
                set.hex("tos", tos.value.into(), tos.mask.into(), 0xff);
                set.number("ttl", ttl.value.into(), ttl.mask.into(), 0xff);
            }),
            DpAction::SetIpv6 { src, dst, label, tclass, hop_limit, .. } => {
                self.set("ipv6", |set| {
                    set.ipv6("src", *src);
                    set.ipv6("dst", *dst);
                    set.hex("label", label.value.into(), label.mask.into(), 0xf_ffff);
                    set.hex("tclass", tclass.value.into(), tclass.mask.into(), 0xff);
                    set.number("hlimit", hop_limit.value.into(), hop_limit.mask.into(), 0xff);
                })
            }
            DpAction::SetArp { op, spa, tpa, sha, tha } => self.set("arp", |set| {
                set.ipv4("sip", *spa);
                set.ipv4("tip", *tpa);
                set.number("op", op.value.into(), op.mask.into(), 0xff);
                set.mac("sha", *sha);
                set.mac("tha", *tha);
            }),
            DpAction::SetPorts { transport, src, dst } => {
                let name = match transport {
                    Transport::Tcp => "tcp",
                    Transport::Udp => "udp",
                    Transport::Sctp => "sctp",
                };
                self.set(name, |set| {
                    set.number("src", src.value.into(), src.mask.into(), 0xffff);
                    set.number("dst", dst.value.into(), dst.mask.into(), 0xffff);
                });
            }
            DpAction::SetIcmp { icmp_type, code } => self.set("icmp", |set| {
                set.number("type", icmp_type.value.into(), icmp_type.mask.into(), 0xff);
                set.number("code", code.value.into(), code.mask.into(), 0xff);
            }),
            DpAction::SetNdExt { reserved, option_type } => self.set("nd_ext", |set| {
                set.hex("nd_reserved", reserved.value.into(), reserved.mask.into(), 0xffff_ffff);
                set.number(
                    "nd_options_type",
                    option_type.value.into(),
                    option_type.mask.into(),
                    0xff,
                );
            }),
            DpAction::SetNd { target, sll, tll } => self.set("nd", |set| {
                set.ipv6("target", *target);
                set.mac("sll", *sll);
                set.mac("tll", *tll);
            }),
            DpAction::PushMpls { lse, ethertype } => {
                self.out.push_str("push_mpls(");
                self.lse(*lse);
                put!(self, ",eth_type={ethertype:#x})");
            }
            DpAction::PopMpls { ethertype } => {
                put!(self, "pop_mpls(eth_type={ethertype:#x})");
            }
            DpAction::SetMpls(lse) => {
                self.out.push_str("set(mpls(");
                self.lse(lse.value);
                self.out.push_str("))");
            }
            DpAction::CheckLen { len, longer, fits } => {
                put!(self, "check_pkt_len(size={len},gt(");
                self.list(longer);
                self.out.push_str("),le(");
                self.list(fits);
                self.out.push_str("))");
            }
            DpAction::Clone(actions) => {
                self.out.push_str("clone(");
                self.list(actions);
                self.out.push(')');
            }
            DpAction::Ct(action) => self.ct(action),
            DpAction::CtClear => self.out.push_str("ct_clear"),
            DpAction::Recirculate(id) => {
                put!(self, "recirc({id:#x})");
            }
        }
    }

    /// Writes `ct(...)` as Open vSwitch does, which leaves out the parentheses if there is nothing in them.
    fn ct(&mut self, action: &CtAction) {
        let mut parts = Vec::new();
        if let Some(commit) = &action.commit {
            parts.push(if commit.force { "force_commit" } else { "commit" }.to_owned());
        }
        if action.zone != 0 {
            parts.push(format!("zone={}", action.zone));
        }
        if let Some(CtCommit { mark, label, alg, .. }) = &action.commit {
            if !mark.is_none() {
                parts.push(format!("mark={:#x}/{:#x}", mark.value, mark.mask));
            }
            if !label.is_none() {
                parts.push(format!("label={:#x}/{:#x}", label.value, label.mask));
            }
            if let Some(alg) = alg {
                parts.push(format!("helper={}", alg.name()));
            }
        }
        if let Some(nat) = &action.nat {
            let mut text = String::new();
            flow::text::write_nat(&mut text, nat);
            parts.push(text);
        }
        self.out.push_str("ct");
        if !parts.is_empty() {
            put!(self, "({})", parts.join(","));
        }
    }

    fn list(&mut self, actions: &[DpAction]) {
        write_datapath_actions(self.out, actions, self.of);
    }

    fn lse(&mut self, lse: u32) {
        let entry = MplsEntry::new_unchecked(lse.to_be_bytes());
        let (label, tc, ttl) = (entry.label(), entry.tc(), entry.ttl());
        put!(self, "label={label},tc={tc},ttl={ttl},bos={}", u8::from(entry.is_bottom()));
    }

    fn set(&mut self, header: &str, fields: impl FnOnce(&mut Set<'_>)) {
        put!(self, "set({header}(");
        let mut set = Set { out: self.out, first: true };
        fields(&mut set);
        self.out.push_str("))");
    }
}

/// Collects the fields that one rewrite changes.
struct Set<'a> {
    out: &'a mut String,
    first: bool,
}

impl Set<'_> {
    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        put!(self, "{name}=");
    }

    fn mac(&mut self, name: &str, rewrite: Rewrite<u64>) {
        if !rewrite.is_none() {
            self.name(name);
            put!(self, "{}", mac_of_bits(rewrite.value));
            if rewrite.mask != 0xffff_ffff_ffff {
                put!(self, "/{}", mac_of_bits(rewrite.mask));
            }
        }
    }

    fn ipv4(&mut self, name: &str, rewrite: Rewrite<u32>) {
        if !rewrite.is_none() {
            self.name(name);
            put!(self, "{}", Ipv4Addr::from(rewrite.value));
            if rewrite.mask != u32::MAX {
                put!(self, "/{}", Ipv4Addr::from(rewrite.mask));
            }
        }
    }

    fn ipv6(&mut self, name: &str, rewrite: Rewrite<u128>) {
        if !rewrite.is_none() {
            self.name(name);
            put!(self, "{}", Ipv6Addr::from(rewrite.value));
            if rewrite.mask != u128::MAX {
                put!(self, "/{}", Ipv6Addr::from(rewrite.mask));
            }
        }
    }

    fn number(&mut self, name: &str, value: u64, mask: u64, full: u64) {
        if mask != 0 {
            self.name(name);
            put!(self, "{value}");
            if mask != full {
                put!(self, "/{mask:#x}");
            }
        }
    }

    fn hex(&mut self, name: &str, value: u64, mask: u64, full: u64) {
        if mask != 0 {
            self.name(name);
            // As the format `%#x` of C does it.
            match value {
                0 => self.out.push('0'),
                value => {
                    put!(self, "{value:#x}");
                }
            }
            if mask != full {
                put!(self, "/{mask:#x}");
            }
        }
    }
}

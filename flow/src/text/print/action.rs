//! Prints actions: `mod_vlan_vid:5,output:2`.
//!
//! The functions print the actions that they are given, even if the version has no such action. The caller
//! converts them first (`dialect`). The version of the options only chooses between `strip_vlan` and
//! `pop_vlan`, two names of one action.

use super::PrintOptions;
use super::{hex, ipv4, learn, put, subfield, value};
use crate::action::{Action, Clause, SetFieldForm, Subfield};
use crate::ct::{Ct, CtZone};
use crate::fields::{FieldId, ones};
use crate::nat::{Nat, NatAddresses, NatPorts, PortChoice};
use crate::text::port::{self, PortNames};
use crate::text::write_table;
use crate::types::{OfPort, OfVersion};
use std::fmt::Write;

/// The names of the reasons for which a packet goes to a controller; the index
/// is the OpenFlow number (`OFPR_*`).
pub(in crate::text) const REASONS: [&str; 6] =
    ["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"];

/// The number of the reason `action`, which is the default (`OFPR_ACTION`).
pub(in crate::text) const REASON_ACTION: u8 = 1;

/// Appends a list of actions. An empty list is printed as `drop`.
pub fn write_actions(out: &mut String, actions: &[Action], options: &PrintOptions<'_>) {
    if actions.is_empty() {
        out.push_str("drop");
    }
    for (i, action) in actions.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_action(out, action, options);
    }
}

/// Appends one action, with the actions nested in it.
pub fn write_action(out: &mut String, action: &Action, options: &PrintOptions<'_>) {
    let names = options.ports;
    match action {
        Action::Output { port, max_len: _ } => output(out, *port, names),
        Action::Controller { .. } => controller(out, action),
        Action::OutputReg { src, .. } => with_subfield(out, "output:", *src),
        Action::OutputTrunc { port, max_len } => {
            out.push_str("output(port=");
            port::write(out, *port, names);
            put!(out, ",max_len={max_len})");
        }
        Action::Enqueue { port, queue } => {
            out.push_str("enqueue:");
            port::write(out, *port, names);
            put!(out, ":{queue}");
        }
        Action::SetQueue(queue) => {
            put!(out, "set_queue:{queue}");
        }
        Action::PopQueue => out.push_str("pop_queue"),
        Action::Group(id) => {
            put!(out, "group:{}", id.0);
        }
        Action::Meter(id) => {
            put!(out, "meter:{}", id.0);
        }
        Action::SetVlanVid { vid, push_if_untagged } => {
            put!(out, "{}_vlan_vid:{vid}", if *push_if_untagged { "mod" } else { "set" });
        }
        Action::SetVlanPcp { pcp, push_if_untagged } => {
            put!(out, "{}_vlan_pcp:{pcp}", if *push_if_untagged { "mod" } else { "set" });
        }
        Action::StripVlan if options.version == OfVersion::OpenFlow10 => {
            out.push_str("strip_vlan");
        }
        Action::StripVlan => out.push_str("pop_vlan"),
        Action::PushVlan(tpid) => {
            put!(out, "push_vlan:{tpid:#x}");
        }
        Action::SetEthSrc(mac) => {
            put!(out, "mod_dl_src:{mac}");
        }
        Action::SetEthDst(mac) => {
            put!(out, "mod_dl_dst:{mac}");
        }
        Action::SetIpv4Src(address) => {
            out.push_str("mod_nw_src:");
            ipv4(out, *address);
        }
        Action::SetIpv4Dst(address) => {
            out.push_str("mod_nw_dst:");
            ipv4(out, *address);
        }
        Action::SetIpDscp(tos) => {
            put!(out, "mod_nw_tos:{tos}");
        }
        Action::SetIpEcn(ecn) => {
            put!(out, "mod_nw_ecn:{ecn}");
        }
        Action::SetIpTtl(ttl) => {
            put!(out, "mod_nw_ttl:{ttl}");
        }
        Action::SetL4Src(port) => {
            put!(out, "mod_tp_src:{port}");
        }
        Action::SetL4Dst(port) => {
            put!(out, "mod_tp_dst:{port}");
        }
        Action::SetField { field, value, mask, form: SetFieldForm::Load } => {
            loads(out, *field, *value, *mask);
        }
        Action::SetField { field, value: bits, mask, form } => {
            let def = field.def();
            let is_whole = form.hides_whole_mask() && *mask == def.legal;
            let mask = if is_whole { ones(8 * def.wire_len() as u16) } else { *mask };
            out.push_str("set_field:");
            value(out, *field, *bits, mask, names);
            out.push_str("->");
            out.push_str(field.def().name);
        }
        Action::Move { src, dst } => {
            with_subfield(out, "move:", *src);
            with_subfield(out, "->", *dst);
        }
        Action::StackPush(src) => with_subfield(out, "push:", *src),
        Action::StackPop(dst) => with_subfield(out, "pop:", *dst),
        Action::DecTtl(ids) => {
            out.push_str("dec_ttl");
            for (i, id) in ids.iter().enumerate() {
                put!(out, "{}{id}", if i == 0 { '(' } else { ',' });
            }
            if !ids.is_empty() {
                out.push(')');
            }
        }
        Action::SetMplsLabel(label) => {
            put!(out, "set_mpls_label({label})");
        }
        Action::SetMplsTc(tc) => {
            put!(out, "set_mpls_tc({tc})");
        }
        Action::SetMplsTtl(ttl) => {
            put!(out, "set_mpls_ttl({ttl})");
        }
        Action::DecMplsTtl => out.push_str("dec_mpls_ttl"),
        Action::PushMpls(ty) => {
            put!(out, "push_mpls:{ty:#06x}");
        }
        Action::PopMpls(ty) => {
            put!(out, "pop_mpls:{ty:#06x}");
        }
        Action::SetTunnel { id, is_wide } => {
            out.push_str(if *is_wide { "set_tunnel64:" } else { "set_tunnel:" });
            hex(out, (*id).into());
        }
        Action::Resubmit { in_port: Some(port), table: None } => {
            out.push_str("resubmit:");
            port::write(out, *port, names);
        }
        Action::Resubmit { in_port, table } => {
            out.push_str("resubmit(");
            if let Some(port) = in_port {
                port::write(out, *port, names);
            }
            out.push(',');
            if let Some(table) = table {
                write_table(out, *table, names);
            }
            out.push(')');
        }
        Action::Clone(actions) => nested(out, "clone(", actions, options),
        Action::CheckPktLarger { len, dst } => {
            put!(out, "check_pkt_larger({len})");
            with_subfield(out, "->", *dst);
        }
        Action::Ct(ct) => connection(out, ct, options),
        Action::DeleteField(field) => {
            put!(out, "delete_field:{}", field.def().name);
        }
        Action::CtClear => out.push_str("ct_clear"),
        Action::Learn(learner) => learn::learn(out, learner, options),
        Action::FinTimeout { idle, hard } => learn::fin_timeout(out, *idle, *hard),
        Action::Multipath(multipath) => learn::multipath(out, multipath),
        Action::Bundle(bundle) => learn::bundle(out, bundle, options),
        Action::Sample(sampling) => learn::sample(out, sampling, options),
        Action::Exit => out.push_str("exit"),
        Action::Note(bytes) => {
            out.push_str("note:");
            dotted_hex(out, bytes);
        }
        Action::Conjunction(Clause { id, clause, clauses }) => {
            put!(out, "conjunction({id},{clause}/{clauses})");
        }
        Action::ClearActions => out.push_str("clear_actions"),
        Action::WriteActions(actions) => nested(out, "write_actions(", actions, options),
        Action::WriteMetadata { value, mask } => {
            out.push_str("write_metadata:");
            hex(out, (*value).into());
            if *mask != u64::MAX {
                out.push('/');
                hex(out, (*mask).into());
            }
        }
        Action::GotoTable(table) => {
            out.push_str("goto_table:");
            write_table(out, *table, names);
        }
    }
}

fn connection(out: &mut String, ct: &Ct, options: &PrintOptions<'_>) {
    out.push_str("ct(");
    let start = out.len();
    if ct.commit {
        out.push_str("commit,");
    }
    if ct.force {
        out.push_str("force,");
    }
    if let Some(table) = ct.table {
        out.push_str("table=");
        write_table(out, table, options.ports);
        out.push(',');
    }
    match ct.zone {
        CtZone::Number(0) => {}
        CtZone::Number(zone) => {
            put!(out, "zone={zone},");
        }
        CtZone::Field(sub) => {
            with_subfield(out, "zone=", sub);
            out.push(',');
        }
    }
    if let Some(nat) = &ct.nat {
        write_nat(out, nat);
        out.push(',');
    }
    if !ct.exec.is_empty() {
        nested(out, "exec(", &ct.exec, options);
        out.push(',');
    }
    if let Some(alg) = ct.alg {
        put!(out, "alg={},", alg.name());
    }
    if out.len() > start {
        out.pop();
    }
    out.push(')');
}

/// Writes `nat(...)`, as actions and datapath actions have it.
pub fn write_nat(out: &mut String, nat: &Nat) {
    out.push_str("nat");
    let (name, range) = match nat {
        Nat::Known => return,
        Nat::Source(range) => ("src", range),
        Nat::Destination(range) => ("dst", range),
    };
    put!(out, "({name}");
    match range.addresses {
        None => {}
        Some(NatAddresses::Ipv4(first, last)) if first == last => {
            put!(out, "={first}");
        }
        Some(NatAddresses::Ipv4(first, last)) => {
            put!(out, "={first}-{last}");
        }
        Some(NatAddresses::Ipv6(first, last)) => {
            // Ports are behind a colon, too.
            let (open, close) = if range.ports.is_some() { ("[", "]") } else { ("", "") };
            put!(out, "={open}{first}{close}");
            if first != last {
                put!(out, "-{open}{last}{close}");
            }
        }
    }
    match range.ports {
        Some(NatPorts { first, last }) if first == last => {
            put!(out, ":{first}");
        }
        Some(NatPorts { first, last }) => {
            put!(out, ":{first}-{last}");
        }
        None => {}
    }
    if range.is_persistent {
        out.push_str(",persistent");
    }
    match range.choice {
        PortChoice::Any => {}
        PortChoice::Hash => out.push_str(",hash"),
        PortChoice::Random => out.push_str(",random"),
    }
    out.push(')');
}

fn nested(out: &mut String, name: &str, actions: &[Action], options: &PrintOptions<'_>) {
    out.push_str(name);
    write_actions(out, actions, options);
    out.push(')');
}

fn with_subfield(out: &mut String, name: &str, sub: Subfield) {
    out.push_str(name);
    subfield(out, sub);
}

fn output(out: &mut String, port: OfPort, names: &dyn PortNames) {
    if port < OfPort::MAX {
        out.push_str("output:");
    }
    port::write(out, port, names);
    if port == OfPort::CONTROLLER {
        // An output to the port `CONTROLLER` has a `max_len` of 0.
        out.push_str(":0");
    }
}

fn controller(out: &mut String, action: &Action) {
    let Action::Controller { max_len, reason, controller_id, userdata, pause, meter_id } = action
    else {
        return;
    };
    if is_plain_controller(action) {
        put!(out, "CONTROLLER:{max_len}");
        return;
    }
    out.push_str("controller(");
    if *reason != REASON_ACTION {
        match REASONS.get(*reason as usize) {
            Some(name) => {
                put!(out, "reason={name},");
            }
            None => {
                put!(out, "reason={reason},");
            }
        }
    }
    if *max_len != u16::MAX {
        put!(out, "max_len={max_len},");
    }
    if *controller_id != 0 {
        put!(out, "id={controller_id},");
    }
    if !userdata.is_empty() {
        out.push_str("userdata=");
        dotted_hex(out, userdata);
        out.push(',');
    }
    if *pause {
        out.push_str("pause,");
    }
    if let Some(meter) = meter_id {
        put!(out, "meter_id={meter},");
    }
    out.pop();
    out.push(')');
}

/// Whether the action is a `controller` action with nothing but a `max_len`. Messages carry such an action as
/// an output to the port `CONTROLLER`, and dumps print it as `CONTROLLER:MAX_LEN`.
pub(in crate::text) fn is_plain_controller(action: &Action) -> bool {
    matches!(action, Action::Controller {
        reason: REASON_ACTION,
        controller_id: 0,
        userdata,
        pause: false,
        meter_id: None,
        ..
    } if userdata.is_empty())
}

fn dotted_hex(out: &mut String, bytes: &[u8]) {
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 {
            out.push('.');
        }
        put!(out, "{byte:02x}");
    }
}

/// Appends one `load` for each run of one-bits in the mask.
fn loads(out: &mut String, field: FieldId, bits: u128, mask: u128) {
    for (i, sub) in Subfield::runs(field, mask).enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str("load:");
        hex(out, bits >> sub.offset & ones(sub.n_bits));
        with_subfield(out, "->", sub);
    }
}

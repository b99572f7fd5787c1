//! `NORMAL`: what an Ethernet switch does without rules.

use super::vlan::{Tag, set_tags, tags};
use super::{Ctx, Learn, Note};
use crate::datapath::DropReason;
use crate::flow::extract::eth_type;
use crate::flow::key::{VLAN_CFI, VLAN_PCP_MASK, VLAN_VID_MASK};
use crate::pipeline::mac_table::MacKey;
use crate::pipeline::ports::{PortInfo, PriorityTags, VlanMode};
use crate::types::MacAddr;

/// The tags of a frame inside the switch, where every frame belongs to a VLAN: outermost first.
type Inside = [Tag; 2];

impl Ctx<'_> {
    pub(super) fn normal(&mut self) {
        self.mask.flow.dl_src = [0xff; 6];
        self.mask.flow.dl_dst = [0xff; 6];
        self.mark_tags();
        let ports = self.view.ports;
        let flow = self.key.flow;
        let Some(in_port) = ports.get(self.in_port()) else {
            self.hint = Some(DropReason::UnknownInPort);
            return;
        };
        if eth_type::is_vlan(flow.dl_type.get()) && flow.vlan_tci.get() & VLAN_CFI == 0 {
            self.hint = Some(DropReason::PartialVlan);
            return self.report.note(|| Note::PartialVlan);
        }
        let outside = tags(&flow);
        if !may_enter(in_port, vid(outside)) {
            self.hint = Some(DropReason::VlanNotAllowed);
            return self.report.note(|| Note::VlanNotAllowed);
        }
        let inside = enter(in_port, outside);
        let vlan = vid(inside);
        let (src, dst) = (MacAddr(flow.dl_src), MacAddr(flow.dl_dst));
        if dst.is_reserved() {
            self.hint = Some(DropReason::ReservedMulticast);
            return self.report.note(|| Note::ReservedMulticast);
        }
        if !src.is_multicast() {
            let key = MacKey { vlan, mac: src };
            self.out.macs.push(key);
            self.out.learn.push(Learn { key, port: in_port.of });
        }
        let learned = if dst.is_multicast() {
            None
        } else if dst == src {
            // Learned just now, if not before.
            Some(in_port.of)
        } else {
            let key = MacKey { vlan, mac: dst };
            self.out.macs.push(key);
            self.view.macs.lookup(key).map(|entry| entry.port)
        };
        match learned.map(|port| ports.get(port)) {
            Some(Some(out)) if out.of == in_port.of => {
                self.report.note(|| Note::LearnedOnInPort);
                self.hint = Some(DropReason::SamePort);
            }
            Some(Some(out)) if out.protected && in_port.protected => {
                self.hint = Some(DropReason::NoOutput);
            }
            Some(Some(out)) => {
                self.report.note(|| Note::ForwardLearned);
                self.leave(out, inside);
            }
            Some(None) => {
                self.report.note(|| Note::LearnedPortUnknown);
                self.hint = Some(DropReason::NoOutput);
            }
            None => {
                self.report.note(|| Note::Flood);
                self.flood_vlan(in_port, inside);
            }
        }
    }

    fn flood_vlan(&mut self, in_port: &PortInfo, inside: Inside) {
        let ports = self.view.ports;
        let vlan = vid(inside);
        self.hint = Some(DropReason::NoFloodTarget);
        for out in ports.iter() {
            let isolated = out.protected && in_port.protected;
            if out.of != in_port.of && !out.config.no_flood && !isolated && carries(out, vlan) {
                self.leave(out, inside);
            }
        }
    }

    /// Sends the frame out of a port with the tags that the port wants.
    fn leave(&mut self, out: &PortInfo, inside: Inside) {
        let saved = self.key.flow;
        let pcp = self.key.flow.vlan_tci.get() & VLAN_PCP_MASK;
        set_tags(&mut self.key.flow, outside(out, inside, pcp));
        self.send_to(out.of);
        let flow = &mut self.key.flow;
        flow.vlan_tci = saved.vlan_tci;
        flow.vlan_tpid = saved.vlan_tpid;
        flow.vlan2_tci = saved.vlan2_tci;
        flow.vlan2_tpid = saved.vlan2_tpid;
    }
}

fn vid(tags: Inside) -> u16 {
    tags[0].tci & VLAN_VID_MASK
}

/// Whether frames with this VLAN id may come in here.
fn may_enter(port: &PortInfo, vid: u16) -> bool {
    match &port.vlan {
        VlanMode::AllVlans => true,
        VlanMode::Trunk(trunks) => trunks.contains(vid),
        VlanMode::Access(_) => vid == 0,
        VlanMode::NativeTagged { native, trunks } | VlanMode::NativeUntagged { native, trunks } => {
            vid == 0 || vid == *native || trunks.as_ref().is_none_or(|t| t.contains(vid))
        }
        VlanMode::Dot1qTunnel { cvlans, .. } => cvlans.as_ref().is_none_or(|c| c.contains(vid)),
    }
}

/// Whether frames of this VLAN leave here.
fn carries(port: &PortInfo, vlan: u16) -> bool {
    match &port.vlan {
        VlanMode::AllVlans => true,
        VlanMode::Trunk(trunks) => trunks.contains(vlan),
        VlanMode::Access(tag) | VlanMode::Dot1qTunnel { tag, .. } => *tag == vlan,
        VlanMode::NativeTagged { native, trunks } | VlanMode::NativeUntagged { native, trunks } => {
            *native == vlan || trunks.as_ref().is_none_or(|t| vlan != 0 && t.contains(vlan))
        }
    }
}

fn tag(tpid: u16, vid: u16, pcp: u16) -> Tag {
    Tag { tpid, tci: vid | pcp & VLAN_PCP_MASK | VLAN_CFI }
}

/// The tags of a frame once it is in the switch.
fn enter(port: &PortInfo, [outer, inner]: Inside) -> Inside {
    let tpid = if outer.tci == 0 { eth_type::VLAN } else { outer.tpid };
    let untagged = outer.tci & VLAN_VID_MASK == 0;
    match port.vlan {
        VlanMode::Access(vlan) => [tag(tpid, vlan, outer.tci), Tag::default()],
        VlanMode::NativeTagged { native, .. } | VlanMode::NativeUntagged { native, .. }
            if untagged =>
        {
            [tag(tpid, native, outer.tci), inner]
        }
        VlanMode::Dot1qTunnel { tag: vlan, tpid, .. } => [tag(tpid, vlan, 0), outer],
        _ => [outer, inner],
    }
}

/// The tags of a frame once it has left the switch. In VLAN 0 there is no tag, but for a priority that
/// a trunk carries on, or that the port asks for; `pcp` is the priority that the frame came with.
fn outside(port: &PortInfo, inside: Inside, pcp: u16) -> Inside {
    let [outer, inner] = inside;
    let [mut outer, inner] = match port.vlan {
        VlanMode::Access(_) => [Tag::default(); 2],
        VlanMode::NativeUntagged { native, .. } if vid(inside) == native => [inner, Tag::default()],
        VlanMode::Dot1qTunnel { .. } => [inner, Tag::default()],
        _ => [outer, inner],
    };
    if outer.tci & VLAN_VID_MASK == 0 {
        outer = match port.priority_tags {
            PriorityTags::Never if outer.tci & VLAN_PCP_MASK != 0 => outer,
            PriorityTags::IfNonzero if pcp != 0 => tag(eth_type::VLAN, 0, pcp),
            PriorityTags::Always => tag(eth_type::VLAN, 0, pcp),
            _ => Tag::default(),
        };
    }
    if outer.tci == 0 { [inner, Tag::default()] } else { [outer, inner] }
}

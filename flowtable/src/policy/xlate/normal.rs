//! `output:NORMAL`: forwards a packet as an Ethernet switch with VLANs does.

use super::tracked::{Tag, Tags};
use super::{Ctx, Learn, LeftOut, Note, TranslationObserver};
use crate::policy::mac_table::{HostRef, MacKey};
use crate::policy::ports::{PortInfo, PriorityTags, VlanMode};
use flow::fields::FieldId;
use flow::key::{VLAN_CFI, VLAN_PCP_MASK, VLAN_VID_MASK};
use flow::types::{MacAddr, OfPort};
use flow::verdict::DropReason;
use flow::verdict::{Flood, FloodKind};
use packet::wire::eth_type;
use packet::wire::vxlan::GBP_DONT_LEARN;

/// The tags of a frame inside the switch, where every frame belongs to a VLAN.
type Inside = Tags;

impl<O: TranslationObserver> Ctx<'_, O> {
    pub(super) fn normal(&mut self) {
        // What was learned is looked through below.
        if !self.spend_for(self.out.learn.len()) {
            return;
        }
        let (src, dst) = self.packet.macs();
        let came_with = self.packet.tags();
        let ports = self.ports();
        self.depend_on_port(self.in_port());
        let nowhere;
        let in_port = match ports.get(self.in_port()) {
            Some(port) => port,
            // A packet-out; there is nothing to learn from it.
            None if matches!(self.in_port(), OfPort::CONTROLLER | OfPort::NONE) => {
                nowhere = PortInfo::nowhere();
                &nowhere
            }
            None => {
                self.hint = Some(DropReason::UnknownInPort);
                return;
            }
        };
        let said = self.discovery(src);
        let learns = in_port.of_port != OfPort::NONE
            && self.has_sender
            && !self.is_not_to_be_learned(in_port);
        if eth_type::is_vlan(self.packet.dl_type()) && came_with[0].tci & VLAN_CFI == 0 {
            self.hint = Some(DropReason::PartialVlan);
            return self.observer.note(|| Note::PartialVlan);
        }
        if !may_enter(in_port, vid(came_with)) {
            self.hint = Some(DropReason::VlanNotAllowed);
            return self.observer.note(|| Note::VlanNotAllowed);
        }
        let inside = enter(in_port, came_with);
        let (vlan, pcp) = (vid(inside), came_with[0].tci & VLAN_PCP_MASK);
        if dst.is_reserved() {
            self.hint = Some(DropReason::ReservedMulticast);
            return self.observer.note(|| Note::ReservedMulticast);
        }
        if learns && !src.is_multicast() {
            let host = HostRef { bridge: self.bridge, key: MacKey { vlan, mac: src } };
            self.out.hosts.push(host);
            if self.port_of_own_host(src, inside).is_some_and(|own| own.of_port != in_port.of_port)
            {
                self.hint = Some(DropReason::OwnAddress);
                return self.observer.note(|| Note::OwnAddress);
            }
            self.announce(&said, host, in_port.of_port);
            let learn = Learn { host, port: in_port.of_port };
            if self.out.learn.last() != Some(&learn) {
                self.out.learn.push(learn);
            }
        }
        let learned = if dst.is_multicast() { None } else { self.whereabouts(inside, dst) };
        if let Some(port) = learned {
            self.depend_on_port(port);
        }
        match learned.map(|port| ports.get(port)) {
            Some(Some(out)) if out.of_port == in_port.of_port => {
                self.observer.note(|| Note::LearnedOnInPort);
                self.hint = Some(DropReason::SamePort);
            }
            Some(Some(out)) => {
                self.observer.note(|| Note::ForwardLearned);
                self.leave(out, inside, pcp);
            }
            Some(None) => {
                self.observer.note(|| Note::LearnedPortUnknown);
                self.hint = Some(DropReason::NoOutput);
            }
            None if self.answer(&said, in_port, inside, outside(in_port, inside, pcp)) => {}
            None => {
                self.observer.note(|| Note::Flood);
                self.flood_vlan(in_port, dst, inside, pcp);
            }
        }
    }

    /// Whether the packet came through a tunnel whose header says that its sender is not to be learned (flag D
    /// of VXLAN's extension for group-based policy).
    fn is_not_to_be_learned(&mut self, in_port: &PortInfo) -> bool {
        let has_flags = in_port.tunnel.as_ref().is_some_and(|tunnel| tunnel.has_group_policy);
        has_flags && self.packet.came_with(FieldId::TunGbpFlags, GBP_DONT_LEARN.into()) != 0
    }

    /// The port behind which the switch's own host has this address, if that port carries the VLAN of a frame
    /// with these tags inside the switch.
    fn port_of_own_host(&self, mac: MacAddr, inside: Inside) -> Option<&PortInfo> {
        if !self.view.conduct.guards_own_host() {
            return None;
        }
        self.ports().of_own_host(mac).filter(|port| carries(port, inside))
    }

    /// The port behind which the host with this address is, in the VLAN of a frame with these tags inside the
    /// switch. `None` if nobody knows the host. The switch's own host and a host that this translation learns
    /// count as known, unless a user has given them a port (`fdb-add`).
    fn whereabouts(&mut self, inside: Inside, mac: MacAddr) -> Option<OfPort> {
        let host = HostRef { bridge: self.bridge, key: MacKey { vlan: vid(inside), mac } };
        let known = self.macs().lookup(host.key);
        let own = self.port_of_own_host(mac, inside).map(|port| port.of_port);
        if let Some(own) = own.filter(|_| !known.is_some_and(|entry| entry.is_static)) {
            self.out.hosts.push(host);
            return Some(own);
        }
        let learned = self.out.learn.iter().find(|learn| learn.host == host);
        if let Some(learn) = learned
            && !known.is_some_and(|entry| entry.is_static)
        {
            return Some(learn.port);
        }
        self.out.hosts.push(host);
        known.map(|entry| entry.port)
    }

    fn flood_vlan(&mut self, in_port: &PortInfo, dst: MacAddr, inside: Inside, pcp: u16) {
        self.depend_on_all_ports();
        self.hint = Some(DropReason::NoFloodTarget);
        let kind = match dst {
            MacAddr::BROADCAST => FloodKind::Broadcast,
            _ if dst.is_multicast() => FloodKind::Multicast,
            _ => FloodKind::UnknownUnicast,
        };
        // A flood in a second bridge is part of the one in the first, and the stricter limit holds.
        let flood = in_port.storm_limit.map(|limit| Flood { kind, limit });
        self.out.flood = self.out.flood.into_iter().chain(flood).min_by_key(|flood| flood.limit);
        for out in self.ports().iter().filter(|out| out.of_port != in_port.of_port) {
            match left_out(out, inside) {
                None => self.leave(out, inside, pcp),
                Some(why) => self.observer.note(|| Note::LeftOut(out.of_port, why)),
            }
        }
    }

    /// Sends the frame out of a port with the tags that the port wants. `pcp` is the priority that the frame
    /// came with, in the place that it has in a tag.
    fn leave(&mut self, out: &PortInfo, inside: Inside, pcp: u16) {
        let tags = self.packet.replace_tags(outside(out, inside, pcp));
        // Other outputs may follow.
        let is_last = std::mem::replace(&mut self.is_last, false);
        self.send_to(out.of_port);
        self.is_last = is_last;
        self.packet.restore_tags(tags);
    }
}

pub(super) fn vid(tags: Inside) -> u16 {
    tags[0].tci & VLAN_VID_MASK
}

/// Whether frames with this VLAN id may come in at a port. Id 0 stands for an untagged frame, too.
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

/// Why a flood of a frame with these tags inside the switch leaves a port out. `None` if it does not.
fn left_out(out: &PortInfo, inside: Inside) -> Option<LeftOut> {
    if out.is_peer_down {
        Some(LeftOut::PeerDown)
    } else if out.config.no_flood {
        Some(LeftOut::NoFlood)
    } else if !carries(out, inside) {
        Some(LeftOut::Vlan(vid(inside)))
    } else {
        None
    }
}

/// Whether a port takes part in the VLAN of a frame with these tags inside the switch.
pub(super) fn carries(port: &PortInfo, inside: Inside) -> bool {
    let (vlan, inner) = (vid(inside), inside[1].tci & VLAN_VID_MASK);
    match &port.vlan {
        VlanMode::AllVlans => true,
        VlanMode::Trunk(trunks) => trunks.contains(vlan),
        VlanMode::Access(tag) => *tag == vlan && inner == 0,
        VlanMode::NativeTagged { native, trunks } | VlanMode::NativeUntagged { native, trunks } => {
            let is_trunked = trunks.as_ref().is_none_or(|t| t.contains(vlan));
            // Untagged frames are in the native VLAN, so none is in VLAN 0.
            vlan == *native || (is_trunked && (vlan != 0 || *native == 0))
        }
        VlanMode::Dot1qTunnel { tag, cvlans, .. } => {
            *tag == vlan && cvlans.as_ref().is_none_or(|c| c.contains(inner))
        }
    }
}

fn tag(tpid: u16, vid: u16, pcp: u16) -> Tag {
    Tag { tpid, tci: vid | pcp & VLAN_PCP_MASK | VLAN_CFI }
}

/// The tags that a frame has inside the switch, if it came in at `port` with the tags `[outer, inner]`.
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

/// The tags with which a frame leaves at `port`, if it has the tags `inside` in the switch. A tag of VLAN 0 and
/// priority 0 is left out, unless the frame has one and the port keeps such tags. A port with priority tags
/// sends `pcp`, the priority with which the frame came in.
fn outside(port: &PortInfo, inside: Inside, pcp: u16) -> Inside {
    let [outer, inner] = inside;
    let [mut outer, inner] = match port.vlan {
        VlanMode::Access(_) => [Tag::default(); 2],
        VlanMode::NativeUntagged { native, .. } if vid(inside) == native => [inner, Tag::default()],
        VlanMode::Dot1qTunnel { .. } => [inner, Tag::default()],
        _ => [outer, inner],
    };
    if port.priority_tags != PriorityTags::Never {
        outer.tci = outer.tci & !VLAN_PCP_MASK | pcp;
    }
    let keeps_empty = port.priority_tags == PriorityTags::Always;
    let [outer, inner] = [outer, inner].map(|Tag { tpid, tci }| {
        let tci = tci & (VLAN_VID_MASK | VLAN_PCP_MASK);
        match (tci, tpid) {
            (0, 0) => Tag::default(),
            (0, _) if !keeps_empty => Tag::default(),
            (_, 0) => Tag { tpid: eth_type::VLAN, tci: tci | VLAN_CFI },
            _ => Tag { tpid, tci: tci | VLAN_CFI },
        }
    });
    // Without an outer tag there is no inner one either.
    if outer.tci == 0 { [Tag::default(); 2] } else { [outer, inner] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ports::VlanSet;
    use flow::types::{OfPort, PortNo};
    use std::sync::Arc;

    fn port(vlan: VlanMode) -> PortInfo {
        PortInfo { vlan, ..PortInfo::new(PortNo(0), OfPort(1), "p", MacAddr::default()) }
    }

    fn set(vids: &[u16]) -> Arc<VlanSet> {
        Arc::new(vids.iter().copied().collect())
    }

    fn inside(outer: u16, inner: u16) -> Inside {
        let tagged = |vid| if vid == 0 { Tag::default() } else { tag(eth_type::VLAN, vid, 0) };
        [tagged(outer), tagged(inner)]
    }

    #[test]
    fn each_mode_carries_its_vlans() {
        let native = |native, trunks| VlanMode::NativeUntagged { native, trunks };
        let tunnel = |cvlans| VlanMode::Dot1qTunnel { tag: 5, tpid: eth_type::VLAN_8021AD, cvlans };
        let check = |mode: VlanMode, outer: u16, inner: u16, expected: bool| {
            let port = port(mode);
            assert_eq!(carries(&port, inside(outer, inner)), expected, "{:?} {outer}", port.vlan);
        };
        check(VlanMode::AllVlans, 0, 0, true);
        check(VlanMode::Trunk(set(&[10])), 0, 0, false);
        check(VlanMode::Trunk(set(&[10])), 10, 0, true);
        check(VlanMode::Access(10), 10, 0, true);
        check(VlanMode::Access(10), 10, 7, false);
        check(native(10, None), 0, 0, false);
        check(native(10, None), 20, 0, true);
        check(native(10, Some(set(&[20]))), 10, 0, true);
        check(native(10, Some(set(&[0, 20]))), 0, 0, false);
        check(native(0, None), 0, 0, true);
        check(tunnel(None), 5, 7, true);
        check(tunnel(Some(set(&[8]))), 5, 7, false);
        check(tunnel(Some(set(&[7]))), 5, 7, true);
    }

    #[test]
    fn access_ports_take_no_tagged_frames_and_native_ports_do() {
        assert!(!may_enter(&port(VlanMode::Access(10)), 10));
        assert!(may_enter(&port(VlanMode::Access(10)), 0));
        let native = VlanMode::NativeTagged { native: 10, trunks: Some(set(&[20])) };
        for (vid, expected) in [(0, true), (10, true), (20, true), (30, false)] {
            assert_eq!(may_enter(&port(native.clone()), vid), expected, "{vid}");
        }
    }
}

//! Answers to ARP requests and neighbour solicitations, in place of floods: where a port suppresses these,
//! `NORMAL` answers for the hosts behind the port that are known.
//!
//! The answer goes back to who asked. Only a question for a host behind a port that suppresses is answered, and
//! only if it came in at another kind of port: what a peer of an overlay asks, that peer could have answered
//! itself if it knew.

use super::tracked::Tags;
use super::{Ctx, Note, TranslationObserver};
use crate::policy::Neighbour;
use crate::policy::mac_table::{HostRef, MacKey};
use crate::policy::ports::{Attachment, PortInfo};
use flow::fields::FieldId;
use flow::types::{MacAddr, OfPort};
use flow::verdict::DpAction;
use packet::wire::{arp, eth_type, icmpv6_type, nd_option};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// What a packet of ARP or neighbour discovery says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Discovery {
    /// The address that the sender says is its own.
    announced: Option<IpAddr>,
    /// The address that the sender asks for. `None` for an answer, and for a question
    /// about the sender's own address.
    asked: Option<IpAddr>,
}

impl<'a, O: TranslationObserver> Ctx<'a, O> {
    /// What the packet says, if it is one of ARP or neighbour discovery, from a sender with the address `src`,
    /// in a bridge with a port that suppresses.
    pub(super) fn discovery(&mut self, src: MacAddr) -> Discovery {
        let kind = self.packet.dl_type();
        if !matches!(kind, eth_type::ARP | eth_type::IPV6) || !self.ports().has_suppressors() {
            return Discovery::default();
        }
        // Whether a port suppresses is a property of all of them.
        self.depend_on_all_ports();
        match kind {
            eth_type::ARP => self.arp(src),
            _ => self.neighbour_discovery(src),
        }
    }

    fn arp(&mut self, src: MacAddr) -> Discovery {
        let mut address =
            |field| Ipv4Addr::from_bits(self.packet.read_bits(field, u32::MAX.into()) as u32);
        let (sender, target) = (address(FieldId::ArpSpa), address(FieldId::ArpTpa));
        let is_request = self.packet.read_bits(FieldId::ArpOp, 0xff) == u128::from(arp::REQUEST);
        let is_own = self.mac(FieldId::ArpSha) == src;
        let is_one = |ip: &Ipv4Addr| !ip.is_unspecified() && !ip.is_multicast();
        Discovery {
            announced: Some(sender).filter(is_one).filter(|_| is_own).map(IpAddr::V4),
            asked: Some(target).filter(|ip| is_request && *ip != sender).map(IpAddr::V4),
        }
    }

    fn neighbour_discovery(&mut self, src: MacAddr) -> Discovery {
        if !self.packet.has(FieldId::NdTarget) {
            return Discovery::default();
        }
        let mut address = |field| Ipv6Addr::from_bits(self.packet.read_bits(field, u128::MAX));
        let (sender, target) = (address(FieldId::Ipv6Src), address(FieldId::NdTarget));
        let kind = self.packet.read_bits(FieldId::Icmpv6Type, 0xff);
        if kind == u128::from(icmpv6_type::ND_ADVERT) {
            let is_own = self.mac(FieldId::NdTll) == src;
            return Discovery { announced: Some(target.into()).filter(|_| is_own), asked: None };
        }
        // Without its address, nobody could be answered: a host that looks whether its own address is free.
        let has_address = self.mac(FieldId::NdSll) == src
            && self.packet.read_bits(FieldId::NdOptionsType, 0xff)
                == u128::from(nd_option::SOURCE_LINK_LAYER);
        let is_one = has_address && !sender.is_unspecified();
        Discovery {
            announced: Some(sender.into()).filter(|_| is_one),
            asked: Some(target.into()).filter(|_| is_one && target != sender),
        }
    }

    fn mac(&mut self, field: FieldId) -> MacAddr {
        let bits = self.packet.read_bits(field, (1 << 48) - 1);
        flow::types::mac_of_bits(bits as u64)
    }

    /// Notes that the sender has the address that it announces.
    pub(super) fn announce(&mut self, said: &Discovery, host: HostRef, port: OfPort) {
        self.out.neighbour = said.announced.map(|ip| Neighbour { host, port, ip });
    }

    /// Answers a question if the answer is known. Returns whether the packet is done with.
    pub(super) fn answer(
        &mut self,
        said: &Discovery,
        in_port: &PortInfo,
        inside: Tags,
        outside: Tags,
    ) -> bool {
        let Some(ip) = said.asked else { return false };
        let Attachment::Queues(port_no) = in_port.attachment else { return false };
        let is_open = in_port.tunnel.is_none() && !in_port.config.no_fwd && !in_port.config.down;
        if !is_open || in_port.of_port == OfPort::NONE || self.is_packet_out {
            return false;
        }
        let Some((mac, behind)) = self.known_neighbour(ip, inside) else { return false };
        if behind.protected && in_port.protected {
            return false;
        }
        self.observer.note(|| Note::Answered { ip, mac, port: behind.of_port });
        if let Some(count) = &behind.answered {
            self.out.answered = Some(Arc::clone(count));
        }
        let tags = self.packet.replace_tags(outside);
        self.commit();
        self.out.actions.push(DpAction::Answer { port: port_no, mac });
        self.outputs += 1;
        self.packet.restore_tags(tags);
        true
    }

    /// The host with an address, and the port that suppresses and has the host behind it.
    fn known_neighbour(&mut self, ip: IpAddr, inside: Tags) -> Option<(MacAddr, &'a PortInfo)> {
        let ports = self.ports();
        if let Some((mac, port)) = ports.static_neighbour(ip) {
            return Some((
                mac,
                ports.get(port).filter(|port| super::normal::carries(port, inside))?,
            ));
        }
        let vlan = super::normal::vid(inside);
        self.out.hosts.push(self.view.neighbours.stand_in(self.bridge, vlan, ip));
        let mac = self.view.neighbours.find(self.bridge, vlan, ip)?;
        let host = HostRef { bridge: self.bridge, key: MacKey { vlan, mac } };
        self.out.hosts.push(host);
        let port = self.macs().lookup(host.key)?.port;
        self.depend_on_port(port);
        Some((mac, ports.get(port).filter(|port| port.suppresses())?))
    }
}

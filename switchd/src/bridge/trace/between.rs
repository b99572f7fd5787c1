//! A packet between two hosts: what the MAC table knows of them.

use super::TraceError;
use super::growing_match::GrowingMatch;
use crate::bridge::hosts;
use crate::neighbours;
use crate::switch::OnBridge;
use flow::Match;
use flow::fields::FieldId;
use flow::key::{VLAN_CFI, VLAN_VID_MASK};
use flow::types::{MacAddr, OfPort, mac_bits};
use flowtable::policy::ports::{PortInfo, VlanMode};
use packet::wire::{eth_type, ip_proto};
use std::net::IpAddr;

/// Time to live of a packet that a host sends.
const TTL: u128 = 64;
/// The ICMP type of an echo request.
const ECHO_REQUEST: u128 = 8;
/// The ICMPv6 type of an echo request.
const ECHO_REQUEST_V6: u128 = 128;

/// How somebody names a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostName {
    /// By its Ethernet address, whether the MAC table has it or not.
    Mac(MacAddr),
    /// By an IP address. Its Ethernet address is found in one of four places: a port that is the way to the
    /// switch's own machine has the IP address; a frame from the IP address was seen; the machine has the IP
    /// address among its neighbours; or the IP address itself was made of the Ethernet address.
    Ip(IpAddr),
}

/// Where a host was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLocation {
    /// The VLAN; 0 for frames without a tag.
    pub vlan: u16,
    /// The port behind which the host is.
    pub port: OfPort,
}

/// A host whose Ethernet address is known.
#[derive(Clone, Copy)]
struct Endpoint {
    mac: MacAddr,
    ip: Option<IpAddr>,
}

/// The packet that `flow` describes, from one host to the other; a ping if `flow` says nothing of its protocol.
pub(super) fn flow(
    switch: OnBridge<'_>,
    flow: &Match,
    from: Option<HostName>,
    to: Option<HostName>,
) -> Result<Match, TraceError> {
    let mut packet = GrowingMatch::new(flow);
    let from = from.map(|name| endpoint(switch, name)).transpose()?;
    let to = to.map(|name| endpoint(switch, name)).transpose()?;
    if let Some(from) = from {
        let location = sender(switch, &packet, from, to)?;
        set(&mut packet, FieldId::InPort, location.port.0.into())?;
        set(&mut packet, FieldId::EthSrc, mac_bits(from.mac.0).into())?;
        let tag = {
            let snapshot = switch.bridge().snapshot();
            let port = snapshot.ports().get(location.port);
            port.and_then(|port| tag_on_the_wire(port, location.vlan))
        };
        if let Some(vlan) = tag.filter(|_| !packet.has(FieldId::VlanTci)) {
            set(&mut packet, FieldId::VlanTci, (vlan | VLAN_CFI).into())?;
        }
    }
    if let Some(to) = to {
        if !to.mac.is_multicast() && locations(switch, to.mac).is_empty() {
            return Err(unknown(switch, to.mac, true));
        }
        set(&mut packet, FieldId::EthDst, mac_bits(to.mac.0).into())?;
    }
    let ips = (from.and_then(|host| host.ip), to.and_then(|host| host.ip));
    set_protocol(&mut packet, ips);
    set_addresses(&mut packet, ips)?;
    Ok(packet.finish())
}

fn set(packet: &mut GrowingMatch, field: FieldId, value: u128) -> Result<(), TraceError> {
    if packet.set(field, value) { Ok(()) } else { Err(TraceError::OtherHosts(field)) }
}

/// Makes the packet a ping, unless it is said what it is.
fn set_protocol(packet: &mut GrowingMatch, ips: (Option<IpAddr>, Option<IpAddr>)) {
    if !packet.has(FieldId::EthType) {
        let is_v6 = ips.0.or(ips.1).is_some_and(|ip| ip.is_ipv6());
        let (dl_type, proto, field, echo) = match is_v6 {
            false => (eth_type::IPV4, ip_proto::ICMP, FieldId::IcmpType, ECHO_REQUEST),
            true => (eth_type::IPV6, ip_proto::ICMPV6, FieldId::Icmpv6Type, ECHO_REQUEST_V6),
        };
        packet.set(FieldId::EthType, dl_type.into());
        packet.set(FieldId::IpProto, proto.into());
        packet.set(field, echo);
    }
    let dl_type = packet.key().headers.dl_type.get();
    if matches!(dl_type, eth_type::IPV4 | eth_type::IPV6) && !packet.has(FieldId::IpTtl) {
        packet.set(FieldId::IpTtl, TTL);
    }
}

fn set_addresses(
    packet: &mut GrowingMatch,
    ips: (Option<IpAddr>, Option<IpAddr>),
) -> Result<(), TraceError> {
    let is_v6 = packet.key().headers.dl_type.get() == eth_type::IPV6;
    let fields = match is_v6 {
        true => [(ips.0, FieldId::Ipv6Src), (ips.1, FieldId::Ipv6Dst)],
        // ARP keeps its addresses in the same place.
        false => [(ips.0, FieldId::Ipv4Src), (ips.1, FieldId::Ipv4Dst)],
    };
    for (ip, field) in fields {
        let value = match ip {
            None => continue,
            Some(IpAddr::V4(ip)) if !is_v6 => u128::from(ip.to_bits()),
            Some(IpAddr::V6(ip)) if is_v6 => ip.to_bits(),
            Some(ip) => return Err(TraceError::OtherProtocol(ip)),
        };
        set(packet, field, value)?;
    }
    Ok(())
}

/// The one location of the sender that can be meant.
fn sender(
    switch: OnBridge<'_>,
    packet: &GrowingMatch,
    from: Endpoint,
    to: Option<Endpoint>,
) -> Result<HostLocation, TraceError> {
    let mut found = locations(switch, from.mac);
    if found.is_empty() {
        return Err(unknown(switch, from.mac, false));
    }
    if packet.has(FieldId::InPort) {
        let port = packet.key().in_port.get();
        narrow(&mut found, |location| location.port == port);
    }
    if packet.has(FieldId::VlanTci) {
        let vlan = packet.key().headers.vlan_tci.get() & VLAN_VID_MASK;
        narrow(&mut found, |location| location.vlan == vlan);
    }
    if let Some(to) = to {
        let there = locations(switch, to.mac);
        narrow(&mut found, |location| there.iter().any(|other| other.vlan == location.vlan));
    }
    match found[..] {
        [location] => Ok(location),
        _ => Err(TraceError::SeveralLocations { mac: from.mac, locations: found }),
    }
}

/// Keeps what fits, if anything does.
fn narrow(locations: &mut Vec<HostLocation>, fits: impl Fn(&HostLocation) -> bool) {
    if locations.iter().any(&fits) {
        locations.retain(fits);
    }
}

/// Where a host is: where it was learned, or the port that is the way to the switch's own machine.
fn locations(switch: OnBridge<'_>, mac: MacAddr) -> Vec<HostLocation> {
    let found = hosts::find(switch, mac).into_iter();
    let found: Vec<_> = found.map(|(key, port)| HostLocation { vlan: key.vlan, port }).collect();
    if !found.is_empty() {
        return found;
    }
    let snapshot = switch.bridge().snapshot();
    let vlan = |port| snapshot.ports().get(port).map_or(0, |port| port.vlan.untagged_vlan());
    let own = switch.own_ends().into_iter().filter(|end| end.mac == mac);
    own.map(|end| HostLocation { vlan: vlan(end.of_port), port: end.of_port }).collect()
}

/// The tag that frames of a VLAN come in with.
fn tag_on_the_wire(port: &PortInfo, vlan: u16) -> Option<u16> {
    let has_no_tags = matches!(port.vlan, VlanMode::Access(_) | VlanMode::Dot1qTunnel { .. });
    let is_untagged = has_no_tags || vlan == port.vlan.untagged_vlan();
    (!is_untagged).then_some(vlan)
}

fn endpoint(switch: OnBridge<'_>, name: HostName) -> Result<Endpoint, TraceError> {
    let ip = match name {
        HostName::Mac(mac) => return Ok(Endpoint { mac, ip: None }),
        HostName::Ip(ip) => ip,
    };
    let (mac, _) = find(switch, ip).ok_or(TraceError::NoHostWithIp(ip))?;
    Ok(Endpoint { mac, ip: Some(ip) })
}

/// The MAC address of the host that has an IP address, and one of the ports behind which the host is. `None` if
/// no such host is known.
pub(super) fn find(switch: OnBridge<'_>, ip: IpAddr) -> Option<(MacAddr, OfPort)> {
    let own = switch.own_ends().into_iter().filter(|end| neighbours::has_address(&end.device, ip));
    let own = own.map(|end| end.mac);
    let others = switch.bridge().macs_of_ip(ip).into_iter().chain(neighbours::mac_of(ip));
    own.chain(others).find_map(|mac| Some((mac, locations(switch, mac).first()?.port)))
}

/// The host is not in the table; perhaps one with a similar address was meant.
fn unknown(switch: OnBridge<'_>, mac: MacAddr, is_receiver: bool) -> TraceError {
    let differing_digits = |other: MacAddr| {
        let (a, b) = (mac.to_string(), other.to_string());
        a.chars().zip(b.chars()).filter(|(a, b)| a != b).count()
    };
    let hosts = switch.bridge().hosts();
    let nearest = hosts.iter().min_by_key(|(key, _)| differing_digits(key.mac));
    let similar = nearest.filter(|(key, _)| differing_digits(key.mac) <= 2);
    let similar = similar.map(|(key, entry)| (key.mac, entry.port));
    TraceError::NoHost { mac, similar, is_receiver }
}

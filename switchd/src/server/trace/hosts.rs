//! A packet between two hosts: what the MAC table knows of them.
//!
//! A host is a MAC address, or an IP address whose MAC address is known: from the neighbour table of
//! the switch's own host, or because it is part of an IPv6 address (RFC 4291 appendix A).

use super::packet::Draft;
use crate::switch::OnBridge;
use control::{Reason, Refusal, TraceQuery};
use flow::Match;
use flow::fields::FieldId;
use flow::key::{VLAN_CFI, VLAN_VID_MASK};
use flow::types::{MacAddr, OfPort};
use flowtable::policy::ports::{PortInfo, VlanMode};
use packet::wire::{eth_type, ip_proto};
use std::net::{IpAddr, Ipv6Addr};

/// Time to live of a packet that a host sends.
const TTL: u128 = 64;
/// ICMP and ICMPv6 echo request.
const ECHO: (u128, u128) = (8, 128);

/// A host as it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Host {
    mac: MacAddr,
    ip: Option<IpAddr>,
}

/// Where a host was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    vlan: u16,
    port: OfPort,
}

/// The packet that `flow` describes, from one host to the other; a ping if `flow` says nothing.
pub(super) fn between(
    switch: &OnBridge<'_>,
    flow: &Match,
    query: &TraceQuery,
) -> Result<Match, Box<Refusal>> {
    let mut draft = Draft::new(flow);
    let from = query.from.as_deref().map(|text| host(switch, text)).transpose()?;
    let to = query.to.as_deref().map(|text| host(switch, text)).transpose()?;
    if let Some(from) = from {
        let place = sender(switch, &draft, from, to)?;
        set(&mut draft, FieldId::InPort, place.port.0.into(), "in_port")?;
        set(&mut draft, FieldId::EthSrc, bits(from.mac), "dl_src")?;
        let tag = {
            let snapshot = switch.bridge().snapshot();
            snapshot.ports().get(place.port).and_then(|port| tag_on_the_wire(port, place.vlan))
        };
        if let Some(vlan) = tag.filter(|_| !draft.has(FieldId::VlanTci)) {
            set(&mut draft, FieldId::VlanTci, (vlan | VLAN_CFI).into(), "dl_vlan")?;
        }
    }
    if let Some(to) = to {
        if !to.mac.is_multicast() && places(switch, to.mac).is_empty() {
            let refusal = unknown(switch, to.mac);
            let near = refusal.hint.clone().unwrap_or_default();
            let hint =
                format!("{near}; to see where an unknown address goes, write dl_dst=… in the flow");
            return Err(Box::new(refusal.with_hint(hint)));
        }
        set(&mut draft, FieldId::EthDst, bits(to.mac), "dl_dst")?;
    }
    let ips = (from.and_then(|host| host.ip), to.and_then(|host| host.ip));
    kind(&mut draft, ips)?;
    addresses(&mut draft, ips)?;
    Ok(draft.finish())
}

fn set(draft: &mut Draft, field: FieldId, value: u128, name: &str) -> Result<(), Box<Refusal>> {
    if draft.set(field, value) {
        return Ok(());
    }
    let message = format!("the flow gives another {name} than the hosts have");
    Err(Box::new(Refusal::new(Reason::Text, message).with_hint(format!("leave out {name}"))))
}

/// What kind of packet it is, if the flow does not say.
fn kind(draft: &mut Draft, ips: (Option<IpAddr>, Option<IpAddr>)) -> Result<(), Box<Refusal>> {
    if !draft.has(FieldId::EthType) {
        let is_v6 = ips.0.or(ips.1).is_some_and(|ip| ip.is_ipv6());
        let (dl_type, proto, echo, field) = match is_v6 {
            false => (eth_type::IPV4, ip_proto::ICMP, ECHO.0, FieldId::IcmpType),
            true => (eth_type::IPV6, ip_proto::ICMPV6, ECHO.1, FieldId::Icmpv6Type),
        };
        draft.set(FieldId::EthType, dl_type.into());
        draft.set(FieldId::IpProto, proto.into());
        draft.set(field, echo);
    }
    let dl_type = draft.key().headers.dl_type.get();
    if matches!(dl_type, eth_type::IPV4 | eth_type::IPV6) && !draft.has(FieldId::IpTtl) {
        draft.set(FieldId::IpTtl, TTL);
    }
    Ok(())
}

fn addresses(draft: &mut Draft, ips: (Option<IpAddr>, Option<IpAddr>)) -> Result<(), Box<Refusal>> {
    let is_v6 = draft.key().headers.dl_type.get() == eth_type::IPV6;
    let fields = match is_v6 {
        true => [(ips.0, FieldId::Ipv6Src, "ipv6_src"), (ips.1, FieldId::Ipv6Dst, "ipv6_dst")],
        // ARP keeps its addresses in the same place.
        false => [(ips.0, FieldId::Ipv4Src, "nw_src"), (ips.1, FieldId::Ipv4Dst, "nw_dst")],
    };
    for (ip, field, name) in fields {
        let Some(ip) = ip else {
            continue;
        };
        let value = match ip {
            IpAddr::V4(ip) if !is_v6 => u128::from(ip.to_bits()),
            IpAddr::V6(ip) if is_v6 => ip.to_bits(),
            ip => {
                let message = format!("{ip} does not fit the flow, which is of another protocol");
                return Err(Box::new(Refusal::new(Reason::Text, message)));
            }
        };
        set(draft, field, value, name)?;
    }
    Ok(())
}

/// The one place where the sender can be meant to be.
fn sender(
    switch: &OnBridge<'_>,
    draft: &Draft,
    from: Host,
    to: Option<Host>,
) -> Result<Place, Box<Refusal>> {
    let mut found = places(switch, from.mac);
    if found.is_empty() {
        return Err(Box::new(unknown(switch, from.mac)));
    }
    if draft.has(FieldId::InPort) {
        let port = draft.key().in_port.get();
        narrow(&mut found, |place| place.port == port);
    }
    if draft.has(FieldId::VlanTci) {
        let vlan = draft.key().headers.vlan_tci.get() & VLAN_VID_MASK;
        narrow(&mut found, |place| place.vlan == vlan);
    }
    if let Some(to) = to {
        let there = places(switch, to.mac);
        narrow(&mut found, |place| there.iter().any(|other| other.vlan == place.vlan));
    }
    match found[..] {
        [place] => Ok(place),
        _ => {
            let mac = from.mac;
            let known: Vec<String> =
                found.iter().map(|p| format!("VLAN {} (port {})", p.vlan, p.port)).collect();
            let message = format!("{mac} is known in {}", known.join(" and "));
            let hint = "say which one is meant with dl_vlan=… or in_port=…";
            Err(Box::new(Refusal::new(Reason::Text, message).with_hint(hint)))
        }
    }
}

/// Keeps what fits, if anything does.
fn narrow(places: &mut Vec<Place>, fits: impl Fn(&Place) -> bool) {
    if places.iter().any(&fits) {
        places.retain(fits);
    }
}

fn places(switch: &OnBridge<'_>, mac: MacAddr) -> Vec<Place> {
    let here = switch.bridge().hosts().into_iter().filter(|(key, _)| key.mac == mac);
    here.map(|(key, entry)| Place { vlan: key.vlan, port: entry.port }).collect()
}

/// The tag that frames of a VLAN come in with.
fn tag_on_the_wire(port: &PortInfo, vlan: u16) -> Option<u16> {
    let is_untagged = match &port.vlan {
        VlanMode::AllVlans | VlanMode::Trunk(_) => vlan == 0,
        VlanMode::Access(_) | VlanMode::Dot1qTunnel { .. } => true,
        VlanMode::NativeTagged { native, .. } | VlanMode::NativeUntagged { native, .. } => {
            vlan == *native
        }
    };
    (!is_untagged).then_some(vlan)
}

fn host(switch: &OnBridge<'_>, text: &str) -> Result<Host, Box<Refusal>> {
    if let Some(mac) = parse_mac(text) {
        return Ok(Host { mac, ip: None });
    }
    let Ok(ip) = text.parse::<IpAddr>() else {
        let message = format!("\"{text}\" is neither a MAC address nor an IP address");
        let hint = "ofctl fdb-show lists the hosts that were learned";
        return Err(Box::new(Refusal::new(Reason::Text, message).with_hint(hint)));
    };
    let mac = match ip {
        IpAddr::V4(_) => {
            std::fs::read_to_string("/proc/net/arp").ok().and_then(|table| neighbour(&table, text))
        }
        IpAddr::V6(ip) => mac_in(ip),
    };
    mac.filter(|mac| !places(switch, *mac).is_empty()).map(|mac| Host { mac, ip: Some(ip) }).ok_or_else(
        || {
            let message = format!("the switch does not know which host has {ip}: it learns MAC addresses");
            let hint = format!(
                "name the host by its MAC address (ofctl fdb-show), and the IP address in the flow: {}",
                if ip.is_ipv4() { format!("ip,nw_dst={ip}") } else { format!("ipv6,ipv6_dst={ip}") }
            );
            Box::new(Refusal::new(Reason::NotFound, message).with_hint(hint))
        },
    )
}

/// Six bytes with colons.
fn parse_mac(text: &str) -> Option<MacAddr> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| (1..=2).contains(&part.len()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(MacAddr(mac))
}

/// The MAC address of an IPv4 address in `/proc/net/arp`: address, type, flags, MAC, mask, device.
fn neighbour(table: &str, ip: &str) -> Option<MacAddr> {
    let row = table.lines().find(|row| row.split_whitespace().next() == Some(ip))?;
    parse_mac(row.split_whitespace().nth(3)?).filter(|mac| mac.0 != [0; 6])
}

/// The MAC address that an IPv6 address was made of.
fn mac_in(ip: Ipv6Addr) -> Option<MacAddr> {
    match ip.octets()[8..] {
        [a, b, c, 0xff, 0xfe, d, e, f] => Some(MacAddr([a ^ 2, b, c, d, e, f])),
        _ => None,
    }
}

/// The host is not in the table; perhaps one with a similar address was meant.
fn unknown(switch: &OnBridge<'_>, mac: MacAddr) -> Refusal {
    let hosts = switch.bridge().hosts();
    let differs = |other: MacAddr| {
        let (a, b) = (mac.to_string(), other.to_string());
        a.chars().zip(b.chars()).filter(|(a, b)| a != b).count()
    };
    let near = hosts.iter().min_by_key(|(key, _)| differs(key.mac));
    let refusal = Refusal::new(Reason::NotFound, format!("no host {mac} was learned"));
    match near {
        Some((key, entry)) if differs(key.mac) <= 2 => {
            let near = key.mac;
            refusal
                .with_hint(format!("{near} was, on port {}; ofctl fdb-show lists all", entry.port))
        }
        _ => refusal.with_hint("ofctl fdb-show lists the hosts that were"),
    }
}

fn bits(mac: MacAddr) -> u128 {
    flow::types::mac_bits(mac.0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbour_table_is_read() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.0.0.1         0x1         0x2         02:00:00:00:00:01     *        sw0\n\
                     10.0.0.10        0x1         0x0         00:00:00:00:00:00     *        sw0\n";
        assert_eq!(neighbour(table, "10.0.0.1"), parse_mac("02:00:00:00:00:01"));
        assert_eq!(neighbour(table, "10.0.0.10"), None, "asked for, and not answered");
        assert_eq!(neighbour(table, "10.0.0.2"), None);
    }

    #[test]
    fn an_ipv6_address_can_tell_the_mac_address() {
        let mac = mac_in("fe80::ff:fe00:1".parse().unwrap());
        assert_eq!(mac, parse_mac("02:00:00:00:00:01"));
        assert_eq!(mac_in("fe80::1".parse().unwrap()), None);
        assert_eq!(parse_mac("02:00:00:00:00"), None);
    }
}

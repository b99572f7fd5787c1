//! The IP addresses that hosts were seen to use, so that a person can name a host by its IP address.
//!
//! No frame is forwarded by this table: a trace asks it which MAC address an IP address has. A worker adds to
//! it when a frame that was translated has taught a new host, or is ARP or neighbor discovery. So a frame that
//! hits a cached flow costs nothing.
//!
//! Each port has [`SLOTS`] places. The hash of an IP address chooses its place, and a newer address
//! takes the place of an older one. A port that makes up addresses therefore displaces its own only, and
//! each one costs one store.

use super::bridge::Bridge;
use super::bridge_id::{BridgeId, PortRef};
use super::xlate::Learn;
use flow::key::{FlowKey, Headers};
use flow::types::MacAddr;
use packet::wire::{eth_type, icmpv6_type, ip_proto};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IP addresses that are remembered of a port, at most.
const SLOTS: usize = 256;

/// The addresses that were seen at one port, each in the place that its hash chooses.
type Slots = Box<[Option<(IpAddr, MacAddr)>]>;

/// The addresses that were seen at the ports of all bridges.
#[derive(Debug)]
pub(super) struct SeenAddresses {
    by_port: Mutex<HashMap<PortRef, Slots>>,
    hasher: ahash::RandomState,
}

impl SeenAddresses {
    /// A table without addresses. `seed` keys the hash function.
    pub(super) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(29), 0xadd7);
        Self { by_port: Mutex::default(), hasher }
    }

    /// Notes the address of the sender of a packet that was translated. `is_new` says whether the
    /// packet has taught a host; if not, only ARP and neighbor discovery are noted, which hosts
    /// use to announce their addresses.
    pub(super) fn saw(&self, key: &FlowKey, sender: &Learn, is_new: bool) {
        let headers = &key.headers;
        // A rule may have given the packet another source address before the host was learned.
        if sender.host.key.mac.0 != headers.dl_src || !(is_new || announces(headers)) {
            return;
        }
        let Some(ip) = source(headers) else { return };
        let at = PortRef { bridge: sender.host.bridge, port: sender.port };
        let mut by_port = self.by_port.lock();
        let slots = by_port.entry(at).or_insert_with(|| vec![None; SLOTS].into());
        slots[self.hasher.hash_one(ip) as usize % SLOTS] = Some((ip, sender.host.key.mac));
    }

    /// Forgets what was seen at ports for which `is_there` is false.
    pub(super) fn keep_ports(&self, is_there: impl Fn(PortRef) -> bool) {
        self.by_port.lock().retain(|port, _| is_there(*port));
    }

    /// The MAC addresses that frames from `ip` had, one for each port of the bridge at which there were any.
    fn find(&self, bridge: BridgeId, ip: IpAddr) -> Vec<MacAddr> {
        let place = self.hasher.hash_one(ip) as usize % SLOTS;
        let by_port = self.by_port.lock();
        let of_bridge = by_port.iter().filter(|(port, _)| port.bridge == bridge);
        let seen = of_bridge.filter_map(|(_, slots)| slots[place]);
        seen.filter(|(seen, _)| *seen == ip).map(|(_, mac)| mac).collect()
    }
}

impl Bridge<'_> {
    /// The MAC addresses that frames with the source address `ip` had, as far as they are remembered: one for
    /// each port at which there were any, in no particular order.
    pub fn macs_of_ip(self, ip: IpAddr) -> Vec<MacAddr> {
        self.policy.seen_addresses.find(self.id, ip)
    }
}

fn announces(headers: &Headers) -> bool {
    match headers.dl_type.get() {
        eth_type::ARP => true,
        eth_type::IPV6 => {
            // A key has the type of an ICMPv6 message as the source port.
            headers.nw_proto == ip_proto::ICMPV6
                && u8::try_from(headers.tp_src.get()).is_ok_and(icmpv6_type::is_nd)
        }
        _ => false,
    }
}

/// The address that the sender of a packet says is its own. `None` if the sender has none yet, or the packet
/// has no such field.
fn source(headers: &Headers) -> Option<IpAddr> {
    let ip = match headers.dl_type.get() {
        // An ARP packet has its sender's address in the same place.
        eth_type::IPV4 | eth_type::ARP => IpAddr::V4(Ipv4Addr::from(headers.nw_src())),
        eth_type::IPV6 => IpAddr::V6(Ipv6Addr::from(headers.ipv6_src())),
        _ => return None,
    };
    (!ip.is_unspecified() && !ip.is_multicast()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::super::mac_table::{HostRef, MacKey};
    use super::*;
    use flow::text::{ParseContext, parse_match};
    use flow::types::OfPort;

    const PORT: OfPort = OfPort(1);

    /// Shows the table a packet that came in at a port, and returns the MAC addresses that `ip` has then.
    fn check(seen: &SeenAddresses, port: OfPort, packet: &str, is_new: bool, ip: &str) -> usize {
        let headers = parse_match(packet, &ParseContext::default()).expect(packet).key().headers;
        let key = FlowKey { headers, ..FlowKey::default() };
        let host = MacKey { vlan: 0, mac: MacAddr(headers.dl_src) };
        let host = HostRef { bridge: BridgeId::FIRST, key: host };
        seen.saw(&key, &Learn { host, port }, is_new);
        seen.find(BridgeId::FIRST, ip.parse().expect(ip)).len()
    }

    #[test]
    fn new_hosts_and_announcements_are_noted() {
        let seen = SeenAddresses::new(1);
        assert_eq!(
            check(&seen, PORT, "dl_src=02:00:00:00:00:01,tcp,nw_src=10.0.0.1", true, "10.0.0.1"),
            1
        );
        assert_eq!(check(&seen, PORT, "tcp,nw_src=10.0.0.2", false, "10.0.0.2"), 0);
        assert_eq!(check(&seen, PORT, "arp,arp_spa=10.0.0.2", false, "10.0.0.2"), 1);
        assert_eq!(
            check(&seen, PORT, "icmp6,icmpv6_type=135,ipv6_src=fe80::1", false, "fe80::1"),
            1
        );
        assert_eq!(check(&seen, PORT, "arp,arp_spa=0.0.0.0", true, "0.0.0.0"), 0, "a probe");
        assert_eq!(check(&seen, OfPort(2), "arp,arp_spa=10.0.0.2", true, "10.0.0.2"), 2);
        seen.keep_ports(|at| at.port == PORT);
        assert_eq!(seen.find(BridgeId::FIRST, "10.0.0.2".parse().unwrap()).len(), 1);
    }

    #[test]
    fn a_port_displaces_its_own_addresses_only() {
        let seen = SeenAddresses::new(1);
        check(&seen, OfPort(2), "arp,arp_spa=10.0.0.2", true, "10.0.0.2");
        for n in 0..10_000u32 {
            let packet = format!("arp,arp_spa={}", Ipv4Addr::from(n | 0x0b00_0000));
            check(&seen, PORT, &packet, true, "10.0.0.2");
        }
        assert_eq!(seen.find(BridgeId::FIRST, "10.0.0.2".parse().unwrap()).len(), 1);
        let slots: usize = seen.by_port.lock().values().map(|slots| slots.len()).sum();
        assert_eq!(slots, 2 * SLOTS);
    }
}

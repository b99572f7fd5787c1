//! Which host has which IP address, as ARP and neighbour discovery have told it: `NORMAL` answers questions
//! from here for ports that suppress floods of them.
//!
//! A translation in a bridge with such a port returns what the packet announces as data, and
//! [`Policy::learn_neighbour`] adds it. An address is known in one VLAN of one bridge. It is no more than a
//! hint: an answer is given only as long as the MAC table has the host behind a port that suppresses. So
//! nothing ages here.
//!
//! Whoever announces addresses without end fills the places of the own port only ([`PLACES`]).
//!
//! A translation that asks for an address depends on it as on a host: on one with a group address, which no
//! real host has ([`Neighbours::stand_in`]).

use super::Policy;
use super::bridge_id::{BridgeId, PortRef};
use super::mac_table::{HostRef, MacKey};
use flow::types::MacAddr;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// The addresses that are remembered of the hosts behind one port.
const PLACES: usize = 1024;

/// An IP address that a packet says is its sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The sender, with its bridge and VLAN.
    pub host: HostRef,
    /// The port at which the packet came in.
    pub port: flow::types::OfPort,
    /// The IPv4 or IPv6 address that the packet says is the sender's.
    pub ip: IpAddr,
}

/// The addresses of all bridges. See the [module](self).
#[derive(Debug)]
pub(super) struct Neighbours {
    known: RwLock<Known>,
    hasher: ahash::RandomState,
}

#[derive(Debug, Default)]
struct Known {
    by_ip: HashMap<(BridgeId, u16, IpAddr), (MacAddr, PortRef)>,
    by_port: HashMap<PortRef, usize>,
}

impl Neighbours {
    /// A table without addresses. `seed` keys the hash function.
    pub(super) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(17), 0x0a5b);
        Self { known: RwLock::default(), hasher }
    }

    /// The host that has an address; `None` if nobody knows.
    pub(super) fn find(&self, bridge: BridgeId, vlan: u16, ip: IpAddr) -> Option<MacAddr> {
        self.known.read().by_ip.get(&(bridge, vlan, ip)).map(|(mac, _)| *mac)
    }

    /// The host that stands for an address in what translations depend on.
    pub(super) fn stand_in(&self, bridge: BridgeId, vlan: u16, ip: IpAddr) -> HostRef {
        let [_, _, _, hash @ ..] = self.hasher.hash_one(ip).to_be_bytes();
        let [a, b, c, d, e] = hash;
        HostRef { bridge, key: MacKey { vlan, mac: MacAddr([0x03, a, b, c, d, e]) } }
    }

    /// Notes an address. Returns whether something has changed. `is_there` says whether the MAC table has a
    /// host: addresses of others make room.
    fn learn(&self, neighbour: &Neighbour, is_there: impl Fn(BridgeId, MacKey) -> bool) -> bool {
        let Neighbour { host: HostRef { bridge, key }, port, ip } = *neighbour;
        let place = (bridge, key.vlan, ip);
        let at = PortRef { bridge, port };
        if self.known.read().by_ip.get(&place) == Some(&(key.mac, at)) {
            return false;
        }
        let mut known = self.known.write();
        if known.by_port.get(&at).is_some_and(|count| *count >= PLACES) {
            known.retain(|(bridge, vlan, _), (mac, port)| {
                port != at || is_there(bridge, MacKey { vlan, mac })
            });
            if known.by_port.get(&at).is_some_and(|count| *count >= PLACES) {
                return false;
            }
        }
        known.insert(place, (key.mac, at));
        true
    }

    /// Forgets what was announced at ports for which `is_there` is false.
    pub(super) fn keep_ports(&self, is_there: impl Fn(PortRef) -> bool) {
        self.known.write().retain(|_, (_, port)| is_there(port));
    }
}

impl Known {
    fn insert(&mut self, place: (BridgeId, u16, IpAddr), value: (MacAddr, PortRef)) {
        if let Some((_, before)) = self.by_ip.insert(place, value)
            && let Some(count) = self.by_port.get_mut(&before)
        {
            *count -= 1;
        }
        *self.by_port.entry(value.1).or_default() += 1;
    }

    fn retain(&mut self, keeps: impl Fn((BridgeId, u16, IpAddr), (MacAddr, PortRef)) -> bool) {
        let Self { by_ip, by_port } = self;
        by_ip.retain(|place, value| {
            let stays = keeps(*place, *value);
            if let Some(count) = by_port.get_mut(&value.1).filter(|_| !stays) {
                *count -= 1;
            }
            stays
        });
        by_port.retain(|_, count| *count > 0);
    }
}

impl Policy {
    /// Notes which IP address the sender of a packet has, at the time `now`. If that is news, translations that
    /// have asked for the address are done again.
    pub(crate) fn learn_neighbour(&self, neighbour: Option<&Neighbour>, now: Duration) {
        let Some(neighbour) = neighbour else { return };
        let is_news = {
            // Before the lock on the addresses, as in translations.
            let macs = self.macs.read();
            let is_there = |bridge, key| macs.of(bridge).lookup(key).is_some();
            self.neighbours.learn(neighbour, is_there)
        };
        if !is_news {
            return;
        }
        let HostRef { bridge, key } = neighbour.host;
        let stand_in = self.neighbours.stand_in(bridge, key.vlan, neighbour.ip);
        if let Some(due) = self.announcements.add(vec![stand_in], now) {
            self.changes.hosts(&due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::types::OfPort;
    use std::net::Ipv4Addr;

    fn neighbour(port: u16, mac: u8, ip: u32) -> Neighbour {
        let key = MacKey { vlan: 5, mac: MacAddr([2, 0, 0, 0, 0, mac]) };
        let host = HostRef { bridge: BridgeId::FIRST, key };
        Neighbour { host, port: OfPort(port), ip: Ipv4Addr::from(ip).into() }
    }

    fn find(neighbours: &Neighbours, vlan: u16, ip: u32) -> Option<u8> {
        let found = neighbours.find(BridgeId::FIRST, vlan, Ipv4Addr::from(ip).into());
        found.map(|mac| mac.0[5])
    }

    #[test]
    fn an_address_belongs_to_who_announced_it_last() {
        let neighbours = Neighbours::new(1);
        assert!(neighbours.learn(&neighbour(1, 1, 9), |_, _| true));
        assert!(!neighbours.learn(&neighbour(1, 1, 9), |_, _| true), "no news");
        assert_eq!((find(&neighbours, 5, 9), find(&neighbours, 6, 9)), (Some(1), None));
        assert!(neighbours.learn(&neighbour(2, 2, 9), |_, _| true));
        assert_eq!(find(&neighbours, 5, 9), Some(2));
        neighbours.keep_ports(|at| at.port == OfPort(1));
        assert_eq!(find(&neighbours, 5, 9), None);
    }

    #[test]
    fn a_port_that_makes_up_addresses_fills_its_own_places() {
        let neighbours = Neighbours::new(1);
        for ip in 0..10_000 {
            neighbours.learn(&neighbour(1, 1, ip), |_, _| true);
        }
        assert!(neighbours.learn(&neighbour(2, 2, 70_000), |_, _| true));
        assert_eq!(neighbours.known.read().by_ip.len(), PLACES + 1);
        assert_eq!(find(&neighbours, 5, 9_999), None);
        // What belongs to hosts that are gone makes room.
        assert!(neighbours.learn(&neighbour(1, 3, 80_000), |_, _| false));
        assert_eq!(neighbours.known.read().by_ip.len(), 2);
    }
}

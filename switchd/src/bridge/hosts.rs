//! The hosts of a bridge, which its MAC table has: listed, given, forgotten and counted.

use crate::switch::OnBridge;
use flow::types::{MacAddr, OfPort};
use flowtable::policy::mac_table::{MacKey, MacStats};
use std::time::Duration;

/// A host that a bridge knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownHost {
    /// Its VLAN, 0 for frames without a tag, and its Ethernet address.
    pub key: MacKey,
    /// The port behind which it is.
    pub port: OfPort,
    /// Time since its last frame. `None` for a host that somebody has given: such a host does not age.
    pub age: Option<Duration>,
}

/// Why a host is not added or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is no VLAN of this number.
    #[error("{0} is not a VLAN: give a number from 0 to 4095")]
    NoVlan(u16),
    /// Frames to a group address go to several ports.
    #[error("{0} is a multicast address: give the unicast address of a host")]
    Multicast(MacAddr),
    /// The table holds no more hosts, and those that it has were given.
    #[error("the MAC table is full of static entries")]
    Full,
    /// The table has no such host.
    #[error("{} is not known in VLAN {}", .0.mac, .0.vlan)]
    Unknown(MacKey),
}

/// The hosts of a bridge: first the switch's own machine, then the hosts that were given, by VLAN and address,
/// then those that were learned, the one unused for longest first.
pub fn list(switch: OnBridge<'_>) -> Vec<KnownHost> {
    // A host whose frames are forwarded by caches is as young as the latest of these frames.
    switch.settle();
    let now = switch.now();
    let own = own_hosts(switch);
    let is_own = |key: MacKey| own.iter().any(|host| host.key == key);
    let hosts = switch.bridge().hosts().into_iter();
    let host = hosts.map(|(key, entry)| {
        let age = now.saturating_sub(entry.used());
        KnownHost { key, port: entry.port, age: (!entry.is_static).then_some(age) }
    });
    let others: Vec<_> = host.filter(|host| !is_own(host.key) || host.age.is_none()).collect();
    let is_given = |host: &KnownHost| others.iter().any(|other| other.key == host.key);
    let own: Vec<_> = own.iter().filter(|host| !is_given(host)).copied().collect();
    [own, others].concat()
}

/// The hosts that somebody has given to a bridge, with their ports, by VLAN and address.
pub fn given(switch: OnBridge<'_>) -> Vec<(MacKey, OfPort)> {
    let hosts = switch.bridge().hosts().into_iter().filter(|(_, entry)| entry.is_static);
    hosts.map(|(key, entry)| (key, entry.port)).collect()
}

/// The switch's own host behind its ports, in the VLAN of the frames that it sends without a tag. It does not
/// age, and is in the other VLANs of its port, too.
fn own_hosts(switch: OnBridge<'_>) -> Vec<KnownHost> {
    if switch.is_lenient() {
        return Vec::new();
    }
    let snapshot = switch.bridge().snapshot();
    let own = snapshot.ports().iter().filter(|port| port.is_own && port.mac != MacAddr::default());
    let host = own.map(|port| {
        let key = MacKey { vlan: port.vlan.untagged_vlan(), mac: port.mac };
        KnownHost { key, port: port.of_port, age: None }
    });
    host.collect()
}

/// Where the MAC table has an address: in each VLAN behind one port at most.
pub(super) fn find(switch: OnBridge<'_>, mac: MacAddr) -> Vec<(MacKey, OfPort)> {
    let hosts = switch.bridge().hosts().into_iter().filter(|(key, _)| key.mac == mac);
    hosts.map(|(key, entry)| (key, entry.port)).collect()
}

/// Gives a bridge a host, in place of what it has learned of that host. A given host stays until it is removed.
///
/// # Errors
/// No host can have the address or the VLAN, or the table is full.
pub fn give(switch: OnBridge<'_>, key: MacKey, port: OfPort) -> Result<(), HostError> {
    let key = checked(key)?;
    let now = switch.now();
    let is_added = switch.bridge().with_macs(|macs| macs.add_static(key, port, now));
    if is_added { Ok(()) } else { Err(HostError::Full) }
}

/// Removes a host, given or learned.
///
/// # Errors
/// No host can have the address or the VLAN, or the bridge does not know it.
pub fn remove(switch: OnBridge<'_>, key: MacKey) -> Result<(), HostError> {
    let key = checked(key)?;
    let removed = switch.bridge().with_macs(|macs| macs.remove(key));
    removed.map(drop).ok_or(HostError::Unknown(key))
}

fn checked(key: MacKey) -> Result<MacKey, HostError> {
    match key {
        MacKey { vlan, .. } if vlan > 4095 => Err(HostError::NoVlan(vlan)),
        MacKey { mac, .. } if mac.is_multicast() => Err(HostError::Multicast(mac)),
        key => Ok(key),
    }
}

/// The MAC table of a bridge in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostTotals {
    /// The number of hosts that the table has.
    pub hosts: usize,
    /// The number of these hosts that somebody has given.
    pub given: usize,
    /// The number of hosts that the table has room for.
    pub capacity: usize,
    /// How long a host that was learned is known without traffic.
    pub ageing: Duration,
    /// What happened to hosts since the bridge was added.
    pub counters: MacStats,
}

/// Counts the hosts of a bridge.
pub fn totals(switch: OnBridge<'_>) -> HostTotals {
    let snapshot = switch.bridge().snapshot();
    let macs = snapshot.macs();
    HostTotals {
        hosts: macs.len(),
        given: macs.given_len(),
        capacity: macs.capacity(),
        ageing: macs.ageing(),
        counters: macs.stats(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{DEFAULT_BRIDGE, Desired};
    use crate::switch::{Config, Switch};

    #[test]
    fn what_no_host_can_be_is_refused() {
        let switch = Switch::start(Config::new(Desired::one_bridge())).unwrap();
        let on = switch.on(DEFAULT_BRIDGE).unwrap();
        let host = MacKey { vlan: 5, mac: MacAddr([2, 0, 0, 0, 0, 1]) };
        let in_vlan = |vlan| MacKey { vlan, ..host };
        let group = MacKey { mac: MacAddr([0xff; 6]), ..host };
        assert_eq!(give(on, in_vlan(4096), OfPort(1)), Err(HostError::NoVlan(4096)));
        assert_eq!(give(on, group, OfPort(1)), Err(HostError::Multicast(group.mac)));
        assert_eq!(remove(on, host), Err(HostError::Unknown(host)));
        assert_eq!(give(on, host, OfPort(1)), Ok(()));
        assert_eq!(list(on), [KnownHost { key: host, port: OfPort(1), age: None }]);
        assert_eq!((totals(on).hosts, totals(on).given), (1, 1));
        assert_eq!(remove(on, host), Ok(()));
        assert_eq!(list(on), []);
    }
}

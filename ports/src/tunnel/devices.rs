//! The devices that are ports of the switch, through which no tunnel of it may lead.
//!
//! A datagram that leaves through a port's device does not arrive: the device is shielded from the host's own
//! stack, so that no answer could come. One that leaves through the host's end of a TAP device comes back as a
//! frame, and goes into the tunnel again if both belong to the same bridge. Another bridge may well be the way
//! to the network.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// The bridge of a tunnel port, as a number.
pub type TunnelGroup = u16;

/// A named network namespace, or `None` for that of the switch, and the number of an interface in it.
type Place = (Option<String>, u32);

/// The devices of a switch's ports.
#[derive(Debug, Default)]
pub struct OwnDevices(RwLock<HashMap<Place, Option<TunnelGroup>>>);

impl OwnDevices {
    /// A port has the device with this interface number of a named network namespace, or of that of the switch.
    /// `group` is its bridge if the device is a TAP device, whose other end is the host.
    pub fn insert(&self, netns: Option<&str>, index: u32, group: Option<TunnelGroup>) {
        let mut devices = self.0.write().unwrap_or_else(PoisonError::into_inner);
        devices.insert((netns.map(str::to_owned), index), group);
    }

    /// The device is no port's any more.
    pub fn remove(&self, netns: Option<&str>, index: u32) {
        let mut devices = self.0.write().unwrap_or_else(PoisonError::into_inner);
        devices.remove(&(netns.map(str::to_owned), index));
    }

    /// Whether what a tunnel port of the bridge `group` sends through this device would not reach the network.
    pub(super) fn leads_back(&self, netns: Option<&str>, index: u32, group: TunnelGroup) -> bool {
        let devices = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let owner = devices.get(&(netns.map(str::to_owned), index));
        owner.is_some_and(|bridge| bridge.is_none_or(|bridge| bridge == group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_lead_back_and_the_hosts_end_of_another_bridge_does_not() {
        let devices = OwnDevices::default();
        devices.insert(None, 3, None);
        devices.insert(None, 4, Some(1));
        devices.insert(Some("blue"), 5, None);
        let leads_back = |netns, index| devices.leads_back(netns, index, 1);
        assert!(leads_back(None, 3) && leads_back(None, 4) && leads_back(Some("blue"), 5));
        assert!(!leads_back(None, 5) && !leads_back(Some("blue"), 3));
        assert!(!devices.leads_back(None, 4, 2));
        devices.remove(None, 3);
        assert!(!leads_back(None, 3));
    }
}

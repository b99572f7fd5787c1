//! Ports without a device are tried again: when the device appears or changes, and now and then if
//! it could not be used.
//!
//! Opening a device takes milliseconds, and a device in the namespace of a stranger may take longer. The lock
//! on the ports is not held meanwhile, so that commands, expiry and all other ports go on.

use super::Switch;
use crate::desired;
use crate::netns_name::NetnsName;
use crate::parallel;
use crate::port_slot::{PortSlot, PortState};
use ::ports::RingSize;
use flowtable::policy::PortRef;

/// A port whose device is being opened without the lock on the ports. [`Switch::open_again`] ends this state.
pub(super) struct Reopening {
    at: PortRef,
    spec: desired::Port,
    ring: RingSize,
}

impl Reopening {
    /// Marks a port as being opened; `None` if somebody is opening it already.
    pub(super) fn begin(slot: &mut PortSlot) -> Option<Self> {
        if slot.is_opening {
            return None;
        }
        slot.is_opening = true;
        Some(Self { at: slot.at(), spec: slot.spec.clone(), ring: slot.ring })
    }
}

impl Switch {
    /// Opens the devices of ports, many at once. Not to be called with the lock on the ports.
    pub(super) fn open_again(&self, ports: Vec<Reopening>) {
        let places: Vec<PortRef> = ports.iter().map(|port| port.at).collect();
        let make_ready = |port: Reopening| (self.make_ready(port.at.bridge, &port.spec), port);
        let ready = parallel::map(ports, make_ready);
        parallel::for_each(ready, |(ready, Reopening { at, spec, ring })| {
            let opened = ready.and_then(|ready| self.open(at.bridge, &spec, ring, ready));
            let mut slots = self.slots.lock();
            let is_it =
                |s: &&mut PortSlot| s.at() == at && s.is_opening && s.spec.name == spec.name;
            // If somebody has removed the port meanwhile, its device is given back here.
            if let Some(slot) = slots.iter_mut().find(is_it) {
                slot.is_opening = false;
                self.take_opened(slot, opened, ring);
            }
        });
        self.look_again(&places);
    }

    /// Tries to open the ports that wait for a device in a namespace, in case an event was not heard.
    pub(crate) fn retry_ports(&self, netns: &NetnsName) {
        let is_there = |s: &PortSlot| s.device().is_some_and(|(p, _)| p == *netns);
        self.retry(|slot| slot.port.is_none() && is_there(slot));
    }

    /// Tries again to open devices that could not be used: another owner may have let go of them.
    pub(crate) fn retry_failed_ports(&self) {
        let now = self.now();
        self.retry(|slot| matches!(slot.state, PortState::Error(_)) && slot.retry.is_due(now));
    }

    fn retry(&self, is_meant: impl Fn(&PortSlot) -> bool) {
        let mut slots = self.slots.lock();
        let meant = slots.iter_mut().filter(|slot| is_meant(slot));
        let ports = meant.filter_map(Reopening::begin).collect();
        drop(slots);
        self.open_again(ports);
    }
}

//! Ports follow their devices by name: a device may come, go, be renamed, or move to another namespace.
//!
//! A device that is deleted, renamed or moved to another namespace takes its port's queues with it;
//! the port stays, with its numbers, settings and counters, and the next device of that name becomes
//! the port's. Whatever the kernel tells twice changes nothing the second time.

use super::Switch;
use super::retry::Reopening;
use crate::log_limit;
use crate::netns_name::NetnsName;
use crate::port_slot::{PortSlot, PortState};
use crate::worker::WorkerEvent;
use ::ports::listeners::Listened;
use ::ports::netlink::{Link, Netlink};
use ::ports::netns::Netns;
use ::ports::{Port, Whereabouts};
use flow::types::{MacAddr, PortNo};
use flowtable::policy::PortRef;
use std::collections::{HashMap, HashSet};

impl Switch {
    /// The namespaces that ports have, or wait for, devices in.
    pub(crate) fn netns_names(&self) -> Vec<NetnsName> {
        let mut netns_names: Vec<NetnsName> =
            self.slots.lock().iter().filter_map(|s| Some(s.device()?.0)).collect();
        netns_names.sort_unstable();
        netns_names.dedup();
        netns_names
    }

    /// A device is there, or something about it has changed: its name, address, flags or owner.
    pub(crate) fn link_present(&self, netns: &NetnsName, link: &Link) {
        let mut retries = Vec::new();
        self.follow_present(netns, link, &mut retries);
        self.open_again(retries);
    }

    fn follow_present(&self, netns: &NetnsName, link: &Link, retries: &mut Vec<Reopening>) {
        let mut slots = self.slots.lock();
        let is_ports = |s: &PortSlot| s.is_for(netns, &link.name);
        for slot in slots.iter_mut().filter(|s| s.has_open(netns, link.index) && !is_ports(s)) {
            self.lose(slot, "its device was renamed");
            retries.extend(make_again(slot));
        }
        let Some(slot) = slots.iter_mut().find(|s| is_ports(s)) else {
            return;
        };
        if slot.is_away {
            // It is back, or another device has its name.
            return retries.extend(self.follow_away(slot));
        }
        if slot.port.is_some() && !slot.has_open(netns, link.index) {
            self.lose(slot, "its device was replaced");
        }
        if slot.port.as_ref().is_some_and(|port| port.is_taken(link)) {
            self.lose(slot, "its device was taken away");
        }
        match &mut slot.port {
            Some(port) => {
                port.link_changed(link);
                self.follow_link(slot);
            }
            None if matches!(slot.state, PortState::Error(_)) && !slot.retry.is_due(self.now()) => {
                slot.retry.hasten(self.now());
            }
            None => retries.extend(Reopening::begin(slot)),
        }
    }

    /// Tells the ports with devices in a namespace whether somebody else listens to their devices.
    pub(crate) fn devices_listened(&self, netns: &NetnsName, listened: &Listened) {
        let mut slots = self.slots.lock();
        for slot in slots.iter_mut() {
            if let Some(index) = slot.open_device(netns)
                && let Some(port) = &mut slot.port
            {
                port.set_listened(listened.has(index));
                self.kernel.port_changed(slot);
            }
        }
    }

    /// A device of this number has gone: it was deleted, or has left the namespace.
    pub(crate) fn link_gone(&self, netns: &NetnsName, index: u32) {
        let retry = self.follow_gone(netns, index);
        self.open_again(retry.into_iter().collect());
    }

    fn follow_gone(&self, netns: &NetnsName, index: u32) -> Option<Reopening> {
        let mut slots = self.slots.lock();
        let slot = slots.iter_mut().find(|s| s.has_open(netns, index))?;
        let still_there = |port: &mut Port| port.whereabouts() != Whereabouts::Gone;
        if slot.port.as_mut().is_some_and(still_there) {
            slot.log(format_args!("its device has left for another namespace"));
            slot.is_away = true;
            // The kernel cache names devices by their numbers in this namespace.
            self.kernel.remove_port(slot);
            return self.follow_away(slot);
        }
        self.lose(slot, "its device is gone");
        make_again(slot)
    }

    /// Whether TAP devices of ports have left for namespaces whose device events the monitor does not hear.
    pub(crate) fn has_away_ports(&self) -> bool {
        self.slots.lock().iter().any(|s| s.is_away)
    }

    /// Asks the kernel where the TAP devices are that have left for other namespaces, and whether they are up.
    pub(crate) fn look_after_away(&self) {
        let mut slots = self.slots.lock();
        let away = slots.iter_mut().filter(|s| s.is_away);
        let retries = away.filter_map(|slot| self.follow_away(slot)).collect();
        drop(slots);
        self.open_again(retries);
    }

    fn follow_away(&self, slot: &mut PortSlot) -> Option<Reopening> {
        let port = slot.port.as_mut()?;
        match port.whereabouts() {
            Whereabouts::At { netns, link } => {
                let is_back =
                    Netns::current().and_then(|here| here.inode()).is_ok_and(|i| i == netns);
                if is_back {
                    slot.is_away = false;
                    port.ifindex = Some(link.index);
                }
                port.link_changed(&link);
                self.follow_link(slot);
                if is_back && slot.device() != Some((NetnsName::Own, &link.name)) {
                    self.lose(slot, "its device was renamed");
                    return make_again(slot);
                }
                if is_back && let Some((port, port_no)) = slot.port.as_ref().zip(slot.port_no()) {
                    self.kernel.add_port(slot, port_no, port);
                }
            }
            Whereabouts::OutOfSight => {
                port.status.set_link_up(true);
                self.follow_link(slot);
            }
            Whereabouts::Gone => {
                self.lose(slot, "its device is gone");
                return make_again(slot);
            }
        }
        None
    }

    /// Closes the ports whose devices are in a network namespace that no longer has its name, and opens them in
    /// the namespace that has the name now. The kernel sends no event about the end of a namespace. `now` is
    /// the inode number of the namespace that has the name; `None` if there is none.
    pub(crate) fn leave_former_netns(&self, netns: &NetnsName, now: Option<u64>) {
        let mut slots = self.slots.lock();
        let is_elsewhere = |slot: &&mut PortSlot| {
            let opened_in = slot.port.as_ref().and_then(|port| port.netns);
            opened_in.is_some_and(|inode| Some(inode) != now)
                && slot.device().is_some_and(|(its_netns, _)| its_netns == *netns)
        };
        let mut retries = Vec::new();
        for slot in slots.iter_mut().filter(is_elsewhere) {
            self.lose(slot, "its network namespace is gone");
            retries.extend(now.and_then(|_| Reopening::begin(slot)));
        }
        drop(slots);
        self.open_again(retries);
    }

    /// Looks at the devices of these ports again after they were opened: events about them were not heard
    /// before. The kernel is asked without the lock on ports, once for all devices if there are several: each
    /// question waits for its turn at the kernel's lock on devices.
    pub(super) fn look_again(&self, ports: &[PortRef]) {
        let wanted: HashSet<PortRef> = ports.iter().copied().collect();
        let is_meant = |slot: &PortSlot| {
            let is_here = slot.device().is_some_and(|(netns, _)| netns == NetnsName::Own);
            is_here && slot.port.is_some() && wanted.contains(&slot.at())
        };
        let Ok(mut netlink) = Netlink::open() else { return };
        let links = match ports {
            [] => return,
            [only] => {
                let slots = self.slots.lock();
                let slot = slots.iter().find(|slot| slot.at() == *only && is_meant(slot));
                let device = slot.and_then(PortSlot::device).map(|(_, device)| device.to_owned());
                drop(slots);
                let Some(device) = device else { return };
                netlink.find_link(&device).map(|link| link.into_iter().collect())
            }
            _ => netlink.links(),
        };
        let Ok(links) = links else { return };
        let links: HashMap<u32, Link> = links.into_iter().map(|link| (link.index, link)).collect();
        let mut slots = self.slots.lock();
        for slot in slots.iter_mut().filter(|slot| is_meant(slot)) {
            if let Some(port) = &mut slot.port
                && let Some(link) = port.ifindex.and_then(|index| links.get(&index))
            {
                port.link_changed(link);
                self.follow_link(slot);
            }
        }
    }

    fn lose(&self, slot: &mut PortSlot, why: &str) {
        slot.warn(format_args!("{why}; waiting for it"));
        self.detach(slot).close_by(&self.closer);
        slot.state = PortState::Waiting;
        slot.is_away = false;
        self.link_lost(slot);
    }

    fn link_lost(&self, slot: &PortSlot) {
        self.set_link_up(slot, false);
        self.policy.bridge(slot.bridge).flush_hosts(Some(slot.of_port));
    }

    fn set_link_up(&self, slot: &PortSlot, up: bool) {
        self.policy.bridge(slot.bridge).with_ports(|ports| {
            if let Some(port) = ports.get_mut(slot.of_port) {
                port.link_up = up;
            }
        });
    }

    fn follow_link(&self, slot: &mut PortSlot) {
        let Some(port) = &slot.port else {
            return;
        };
        if port.mac != slot.mac {
            slot.mac = port.mac;
            let mac = MacAddr(slot.mac);
            self.policy.bridge(slot.bridge).with_ports(|ports| {
                if let Some(port) = ports.get_mut(slot.of_port) {
                    port.mac = mac;
                }
            });
        }
        self.kernel.port_changed(slot);
        let state = if port.status.is_link_up() { PortState::Up } else { PortState::Down };
        if state != slot.state {
            slot.state = state;
            match slot.state {
                PortState::Up => self.set_link_up(slot, true),
                _ => self.link_lost(slot),
            }
        }
    }

    /// Devices of a namespace that ports have open, to look after when events were lost.
    pub(crate) fn open_devices(&self, netns: &NetnsName) -> Vec<u32> {
        let slots = self.slots.lock();
        slots.iter().filter_map(|s| s.open_device(netns)).collect()
    }

    /// The events of workers since the last call.
    pub(crate) fn take_events(&self) -> Vec<WorkerEvent> {
        self.events.try_iter().collect()
    }

    /// Tells the log how many lines about ports were left out, and what the ports have come to.
    pub(crate) fn tell_of_omitted_lines(&self) {
        log_limit::tell_of_omitted(|subject, omitted| {
            let slots = self.slots.lock();
            let slot = slots.iter().find(|slot| slot.spec.name == subject);
            let state = slot.map(|slot| format!("; port {subject} is {}", slot.state));
            drop(slots);
            tracing::info!("{subject}: {omitted} lines were left out{}", state.unwrap_or_default());
        });
    }

    /// The name of a port by the datapath's number; `#` and the number if there is no such port any more.
    pub(crate) fn port_name(&self, port_no: PortNo) -> String {
        let slots = self.slots.lock();
        let slot = slots.iter().find(|s| s.port_no() == Some(port_no));
        slot.map_or_else(|| format!("#{}", port_no.0), |s| s.spec.name.clone())
    }
}

/// A device that the switch itself had made, such as a TAP device, is made anew. Other devices are waited for.
fn make_again(slot: &mut PortSlot) -> Option<Reopening> {
    if slot.makes_device() { Reopening::begin(slot) } else { None }
}

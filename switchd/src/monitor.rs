//! Watches devices and the time.
//!
//! One thread listens to the kernel's device events, in every network namespace that ports have devices in, and
//! runs the periodic work of the switch: ageing, timeouts, freeing memory. Another thread keeps receive rings
//! at their sizes.

use crate::bfd::BfdKeeper;
use crate::log_limit::{EVENTS, limited};
use crate::netns_name::NetnsName;
use crate::spare_memory::SpareMemory;
use crate::supervisor::Watchdog;
use crate::switch::{RingKeeper, Switch};
use crate::worker::WorkerEvent;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use ports::listeners::Listeners;
use ports::netlink::{Events, LinkEvent, Netlink, NetlinkError};
use ports::netns::Netns;
use ports::shield;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::{debug, info};

/// Time between two rounds of periodic work.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// Time between two looks whether the gate is open, while it is closed.
const GATE_INTERVAL: Duration = Duration::from_millis(10);

/// The shortest time between two looks at who listens to devices.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The time between two looks, at least, as a multiple of the time that a look takes: looking takes a quarter
/// of a percent of a core at most. A thousand ports have two thousand sockets in the list that is read.
const LOOK_SHARE: u32 = 400;

/// The running thread. Dropping it ends it.
pub struct Monitor {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
    _rings: RingKeeper,
    _bfd: BfdKeeper,
}

impl Monitor {
    /// Begins to watch over a switch. Where device events cannot be had (no network namespace of our
    /// own to listen in), only time passes.
    ///
    /// # Errors
    /// No thread or no descriptor could be had.
    pub fn start(switch: Arc<Switch>) -> std::io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let stop = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        let told = Arc::clone(&stop);
        let rings = RingKeeper::start(Arc::clone(&switch))?;
        let bfd = BfdKeeper::start(Arc::clone(&switch))?;
        let run = move || watch(&switch, &told);
        let thread = std::thread::Builder::new().name("monitor".to_owned()).spawn(run)?;
        let monitor = Self { stop, thread: Some(thread), _rings: rings, _bfd: bfd };
        Ok(monitor)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(switch: &Switch, stop: &EventFd) {
    let mut listeners: Vec<DeviceListener> = Vec::new();
    let mut elsewhere: Option<Events> = None;
    free_left_behind();
    follow_namespaces(switch, &mut listeners);
    let mut watchdog = Watchdog::new();
    let mut last_sweep = Instant::now();
    let mut spare_memory = SpareMemory::default();
    loop {
        let mut fds = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        let events = listeners.iter().map(|l| &l.events).chain(&elsewhere);
        fds.extend(events.map(|e| PollFd::new(e.as_fd(), PollFlags::POLLIN)));
        let left = SWEEP_INTERVAL.saturating_sub(last_sweep.elapsed());
        let timeout = PollTimeout::try_from(left.max(Duration::from_millis(1)));
        // An interrupted sleep is a short one.
        let _ = poll(&mut fds, timeout.unwrap_or(PollTimeout::ZERO));
        if fds[0].any() == Some(true) {
            return;
        }
        drop(fds);
        // Nothing may change while another program prepares to take over. Events wait.
        let Some(_passage) = switch.gate().try_enter() else {
            watchdog.is_well();
            std::thread::sleep(GATE_INTERVAL);
            continue;
        };
        for listener in &mut listeners {
            if let Err(error) = listener.hear(switch) {
                let error = anyhow::Error::from(error);
                limited!(warn, "devices", EVENTS, "{error:#}: looking at all devices instead");
                listener.look_at_all(switch);
            }
            listener.tell_of_shield();
        }
        hear_elsewhere(switch, &mut elsewhere);
        for WorkerEvent::RxFailed { port_no, error } in switch.take_events() {
            tracing::debug!("port {}: {error}", switch.port_name(port_no));
        }
        if last_sweep.elapsed() >= SWEEP_INTERVAL {
            last_sweep = Instant::now();
            follow_namespaces(switch, &mut listeners);
            listeners.iter().for_each(|listener| shield::look_after(listener.inode));
            listeners.iter_mut().for_each(|listener| listener.look_who_listens(switch));
            switch.retry_failed_ports();
            // A namespace that ends takes the devices in it along in silence.
            switch.look_after_away();
            switch.sweep();
            switch.tell_of_omitted_lines();
            spare_memory.look(switch.cached_flow_count(), switch.policy().rule_count());
            // All of this takes the locks that commands and frames take.
            watchdog.is_well();
        }
    }
}

/// Gives devices back that a switch which was killed has left in the shield, here and in all named namespaces,
/// unless they are ports again.
fn free_left_behind() {
    let free = || {
        let namespace = Netns::current()?.inode()?;
        let mut netlink = Netlink::open()?;
        anyhow::Ok(shield::free_left_behind(&mut netlink, namespace)?)
    };
    let tell = |place: &str, freed: anyhow::Result<Vec<String>>| {
        match freed {
        Ok(devices) => devices.iter().for_each(|device| {
            info!(
                "{place}device \"{device}\" freed from {}, in which a switch that was killed had left it",
                shield::BRIDGE
            );
        }),
        Err(error) => debug!("{place}look for devices that were left in the shield: {error:#}"),
    }
    };
    tell("", free());
    for name in Netns::names().unwrap_or_default() {
        let freed = Netns::named(&name).and_then(|netns| netns.run(free));
        tell(&format!("namespace {name}: "), freed.unwrap_or_else(|error| Err(error.into())));
    }
}

/// Listens wherever ports have devices, and nowhere else.
///
/// A named namespace can be removed and made again under the same name; it is another one then. The
/// old one would live on as long as somebody listens in it.
fn follow_namespaces(switch: &Switch, listeners: &mut Vec<DeviceListener>) {
    let netns_names = switch.netns_names();
    listeners.retain(|listener| netns_names.contains(&listener.name) && listener.is_current());
    for name in &netns_names {
        if let NetnsName::Named(at) = name {
            // Ports are asked, not listeners: the namespace may have gone before we began to listen in it.
            let now = Netns::named(at).and_then(|netns| netns.inode());
            switch.leave_former_netns(name, now.ok());
        }
    }
    for name in netns_names {
        if listeners.iter().any(|l| l.name == name) {
            continue;
        }
        match DeviceListener::new(name.clone()) {
            Ok(Some(mut listener)) => {
                // What happened before we listened.
                listener.look_at_all(switch);
                listeners.push(listener);
            }
            // Such a namespace does not exist, or not yet.
            Ok(None) => {}
            Err(error) => debug!("{name:?}: {error:#}"),
        }
    }
}

/// Hears of TAP devices that have left for a namespace whose name is not known. The events of all namespaces
/// are read for that: a socket in the other one would keep that namespace alive.
fn hear_elsewhere(switch: &Switch, elsewhere: &mut Option<Events>) {
    if !switch.has_away_ports() {
        *elsewhere = None;
        return;
    }
    let mut is_news = elsewhere.is_none();
    if elsewhere.is_none() {
        // Without it they are looked at twice a second, which is better than nothing.
        match Events::open_everywhere() {
            Ok(events) => *elsewhere = Some(events),
            Err(error) => debug!("{:#}", anyhow::Error::from(error)),
        }
    }
    if let Some(events) = elsewhere
        && let Err(error) = events.drain(|_| is_news = true)
    {
        debug!("{:#}", anyhow::Error::from(error));
        is_news = true;
    }
    if is_news {
        switch.look_after_away();
    }
}

/// Leaves out events about a device that a later event about the same device repeats. Setting a device up makes
/// several, and for each of them the device would be looked at as a whole.
fn without_repetitions(events: Vec<LinkEvent>) -> Vec<LinkEvent> {
    #[derive(PartialEq, Eq, Hash)]
    enum About {
        Device,
        Qdisc,
        Addresses,
    }
    let mut seen = HashSet::new();
    let mut last: Vec<_> = events.into_iter().rev().collect();
    last.retain(|event| match event {
        LinkEvent::Present(link) => seen.insert((link.index, About::Device)),
        LinkEvent::QdiscChanged { index } => seen.insert((*index, About::Qdisc)),
        LinkEvent::AddressAdded { index } => seen.insert((*index, About::Addresses)),
        LinkEvent::Gone { index, .. } => {
            // What came before was about another device, perhaps.
            seen.retain(|(about, _)| about != index);
            true
        }
        LinkEvent::Lost => true,
    });
    last.reverse();
    last
}

/// Hears of the devices of one namespace.
struct DeviceListener {
    name: NetnsName,
    inode: u64,
    events: Events,
    netlink: Netlink,
    /// Who listens to devices beside the switch; `None` without `/proc`.
    listeners: Option<Listeners>,
    /// The time before which nobody looks at `listeners` again.
    next_look: Instant,
}

impl DeviceListener {
    /// `None` if there is no such namespace.
    fn new(name: NetnsName) -> anyhow::Result<Option<Self>> {
        let netns = match &name {
            NetnsName::Own => Netns::current()?,
            NetnsName::Named(name) => match Netns::named(name) {
                Ok(netns) => netns,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.into()),
            },
        };
        let open = || Ok::<_, NetlinkError>((Events::open()?, Netlink::open()?, Listeners::open()));
        // Needs no privilege where we are already.
        let (events, netlink, listeners) = match &name {
            NetnsName::Own => open()?,
            NetnsName::Named(_) => netns.run(open)??,
        };
        let listeners = listeners
            .inspect_err(|error| debug!("{name:?}: who listens to devices is not known: {error}"))
            .ok();
        let (inode, next_look) = (netns.inode()?, Instant::now());
        Ok(Some(Self { name, inode, events, netlink, listeners, next_look }))
    }

    /// The name still means the namespace that we listen in.
    fn is_current(&self) -> bool {
        match &self.name {
            NetnsName::Own => true,
            NetnsName::Named(name) => {
                let now = Netns::named(name).and_then(|netns| netns.inode());
                now.is_ok_and(|inode| inode == self.inode)
            }
        }
    }

    fn hear(&mut self, switch: &Switch) -> Result<(), NetlinkError> {
        let mut heard = Vec::new();
        self.events.drain(|event| heard.push(event))?;
        // Who listens to a device makes it promiscuous, as a rule.
        if heard.iter().any(|event| matches!(event, LinkEvent::Present(_))) {
            self.look_who_listens(switch);
        }
        for event in without_repetitions(heard) {
            match event {
                // What an event says may be over already, and its news known since the device was opened. A
                // device that has gone since must not be followed: its port may have another device of the same
                // name by now.
                LinkEvent::Present(link) => {
                    if let Some(now) = self.netlink.find_link_by_index(link.index)? {
                        shield::link_changed(self.inode, &now);
                        switch.link_present(&self.name, &now);
                    }
                }
                LinkEvent::AddressAdded { index } => shield::address_added(self.inode, index),
                LinkEvent::QdiscChanged { index } => {
                    if let Some(link) = self.netlink.find_link_by_index(index)? {
                        switch.link_present(&self.name, &link);
                    }
                }
                LinkEvent::Gone { index, .. } => {
                    shield::link_gone(self.inode, index);
                    switch.link_gone(&self.name, index);
                }
                LinkEvent::Lost => self.look_at_all(switch),
            }
        }
        Ok(())
    }

    /// Logs what was done about the shield of the namespace.
    fn tell_of_shield(&self) {
        for note in shield::take_notes(self.inode) {
            match &self.name {
                NetnsName::Own => limited!(warn, shield::BRIDGE, EVENTS, "{note}"),
                NetnsName::Named(name) => {
                    let subject = format!("namespace {name}");
                    limited!(warn, &subject, EVENTS, "{subject}: {note}");
                }
            }
        }
    }

    /// Looks who listens to devices, unless that was done a moment ago.
    fn look_who_listens(&mut self, switch: &Switch) {
        let start = Instant::now();
        let Some(listeners) = self.listeners.as_mut().filter(|_| start >= self.next_look) else {
            return;
        };
        match listeners.read() {
            Ok(listened) => switch.devices_listened(&self.name, &listened),
            Err(error) => debug!("{:?}: who listens to devices is not known: {error}", self.name),
        }
        self.next_look = start + (start.elapsed() * LOOK_SHARE).max(LOOK_INTERVAL);
    }

    /// Compares all devices with what the ports believe.
    fn look_at_all(&mut self, switch: &Switch) {
        let links = match self.netlink.links() {
            Ok(links) => links,
            Err(error) => {
                let error = anyhow::Error::from(error);
                limited!(warn, "devices", EVENTS, "{error:#}");
                return;
            }
        };
        let present: HashSet<u32> = links.iter().map(|l| l.index).collect();
        for index in switch.open_devices(&self.name) {
            if !present.contains(&index) {
                switch.link_gone(&self.name, index);
            }
        }
        shield::check(self.inode);
        for link in &links {
            shield::link_changed(self.inode, link);
            switch.link_present(&self.name, link);
        }
        switch.retry_ports(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_events_about_one_device_the_last_is_enough() {
        let gone = |index| LinkEvent::Gone { index, name: String::new() };
        let qdisc = |index| LinkEvent::QdiscChanged { index };
        let check = |events: &[LinkEvent], expected: &[LinkEvent]| {
            assert_eq!(without_repetitions(events.to_vec()), expected);
        };
        check(&[qdisc(1), qdisc(2), qdisc(1)], &[qdisc(2), qdisc(1)]);
        // The number may have been given to another device in between.
        check(&[qdisc(1), gone(1), qdisc(1)], &[qdisc(1), gone(1), qdisc(1)]);
        check(&[LinkEvent::Lost, LinkEvent::Lost], &[LinkEvent::Lost, LinkEvent::Lost]);
    }
}

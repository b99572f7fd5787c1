//! Ports come and go by command.
//!
//! Opening and closing a device takes milliseconds and happens on the caller's thread. The workers
//! only take queues over or hand them back between two batches, so that the traffic of other ports
//! does not notice.
//!
//! A port's numbers may belong to another port later. No worker can confuse the two: a port leaves the
//! pipeline first, which makes every cached flow look again, then the workers, and its numbers are free
//! only when all of them have let go.

use super::{StartError, Switch};
use crate::port_settings::{KEYS as PORT_KEYS, PortSettings, SettingsError};
use crate::port_slot::{PortSlot, PortState};
use crate::worker::{Command, Detached};
use ::ports::spec::{PortOptions, PortSpec, Target};
use ::ports::{Port, PortError, QueueCount, Queues};
use crossbeam::channel;
use flow::types::{MacAddr, OfPort, PortNo};
use flowtable::policy::ports::PortInfo;
use std::sync::Arc;
use tracing::{info, warn};

/// Ports whose receive rings have room for whole frames, 32 MiB each: those of a small switch. Hundreds of
/// ports have to do with less.
const LARGE_RINGS: usize = 8;

/// The options of a port that this module reads, beside those of [`::ports::spec`].
pub const SPEC_KEYS: [&str; PORT_KEYS.len() + 2] = {
    let mut keys = ["number"; PORT_KEYS.len() + 2];
    let mut i = 0;
    while i < PORT_KEYS.len() {
        keys[i + 1] = PORT_KEYS[i];
        i += 1;
    }
    // As in Open vSwitch's database, where most words have an underscore.
    keys[i + 1] = "priority_tags";
    keys
};

/// A port that nobody uses any more. Dropping it closes its sockets, which takes longer than a worker
/// has, and gives its device back.
pub(super) struct Closing {
    _queues: Vec<Detached>,
    _port: Option<Port>,
}

/// Whether the options of a port that this module reads are valid.
///
/// # Errors
/// The first that is not.
pub fn check_settings(spec: &PortSpec) -> Result<(), StartError> {
    read_others(spec).map(drop)
}

/// The number that a port is to have, and its settings.
fn read_others(spec: &PortSpec) -> Result<(Option<OfPort>, PortSettings), StartError> {
    let wrong = |error| StartError::Settings { port: spec.name.clone(), error };
    try_read_others(spec).map_err(wrong)
}

fn try_read_others(spec: &PortSpec) -> Result<(Option<OfPort>, PortSettings), SettingsError> {
    let mut number = None;
    let mut settings = Vec::new();
    for (key, value) in &spec.others {
        if key == "number" {
            let wanted = match value.as_str() {
                local if local.eq_ignore_ascii_case("local") => Some(OfPort::LOCAL),
                digits => digits.parse().ok().map(OfPort).filter(|n| n.is_real()),
            };
            number = Some(wanted.ok_or_else(|| SettingsError::BadValue {
                key: "number",
                value: value.clone(),
                expected: "a number from 1 to 65279, or LOCAL",
            })?);
        } else {
            settings.push((key.as_str(), value.as_str()));
        }
    }
    Ok((number, PortSettings::from_pairs(settings)?))
}

/// Whether the ring of one more port may be a large one: if nobody said how large, and there are few.
fn may_have_large_ring(slots: &[PortSlot], spec: &PortSpec) -> bool {
    let PortOptions { slots: number, slot_size: size, .. } = spec.options;
    let is_open = spec.target.has_ring() && (number, size) == (None, None);
    is_open && slots.iter().filter(|s| s.spec.options.large_ring).count() < LARGE_RINGS
}

impl Switch {
    /// Adds a port, under the lowest free number unless it wants another. A missing device is waited for unless `required`.
    ///
    /// # Errors
    /// Its name or device is taken, or it cannot be opened and waiting would not help; it was not
    /// added then.
    pub fn add_port(&self, mut spec: PortSpec, required: bool) -> Result<OfPort, StartError> {
        let (number, settings) = read_others(&spec)?;
        let of = {
            let mut slots = self.slots.lock();
            spec.options.large_ring = may_have_large_ring(&slots, &spec);
            let mut slot = self.new_slot(&slots, spec.clone(), number)?;
            slot.is_opening = true;
            self.install(&mut slots, slot, None, settings)
        };
        // Takes a while, in which others may add ports, too.
        let opened = self.open(&spec);
        let mut slots = self.slots.lock();
        let slot = slots.iter_mut().find(|s| s.of == of && s.is_opening && s.spec == spec);
        let Some(slot) = slot else {
            // Somebody has removed it meanwhile.
            return Ok(of);
        };
        slot.is_opening = false;
        match opened {
            Ok(port) => {
                self.publish(slot, Some(&port), |_| ());
                self.attach(slot, port);
                self.look_again(slot);
            }
            Err(PortError::NoDevice { name }) if !required => {
                warn!("port {of} ({}): no device \"{name}\" yet; waiting for it", spec.name);
            }
            Err(PortError::NoNetns { netns, .. }) if !required => {
                warn!("port {of} ({}): no namespace \"{netns}\" yet; waiting for it", spec.name);
            }
            Err(error) => {
                self.uninstall(&mut slots, of);
                return Err(error.into());
            }
        }
        Ok(of)
    }

    /// Adds a port that is open already, for tests and benchmarks.
    ///
    /// # Errors
    /// Its name is taken.
    pub fn add_open_port(&self, port: Port) -> Result<OfPort, StartError> {
        let mut slots = self.slots.lock();
        let spec = PortSpec {
            name: port.name.clone(),
            target: Target::Dummy,
            options: Default::default(),
            others: Vec::new(),
        };
        let slot = self.new_slot(&slots, spec, None)?;
        Ok(self.install(&mut slots, slot, Some(port), PortSettings::default()))
    }

    /// Takes a port away and gives its device back. Rules that name it stay. False if there is no such
    /// port.
    pub fn remove_port(&self, of: OfPort) -> bool {
        let closing = self.uninstall(&mut self.slots.lock(), of);
        if closing.is_some() {
            info!("port {of}: removed");
        }
        // Closing takes a while, in which others need not wait.
        closing.is_some()
    }

    fn uninstall(&self, slots: &mut Vec<PortSlot>, of: OfPort) -> Option<Closing> {
        let index = slots.iter().position(|s| s.of == of)?;
        self.bridge().with_ports(|ports| ports.remove(of));
        self.bridge().with_macs(|macs| macs.forget_port(of));
        let mut slot = slots.remove(index);
        let closing = self.detach(&mut slot);
        Some(closing)
    }

    /// Changes what the pipeline knows of a port. False if there is no such port.
    pub fn change_port(&self, of: OfPort, change: impl FnOnce(&mut PortInfo)) -> bool {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.iter_mut().find(|s| s.of == of) else {
            return false;
        };
        let mut moves_hosts = false;
        let is_down = self.bridge().with_ports(|ports| {
            let info = ports.get_mut(of)?;
            let (was_down, old_vlan) = (info.config.down, info.vlan.clone());
            change(info);
            moves_hosts = info.vlan != old_vlan;
            (info.config.down != was_down).then_some(info.config.down)
        });
        if moves_hosts {
            // They were seen in VLANs that they are not in any more.
            self.bridge().with_macs(|macs| macs.flush(Some(of)));
        }
        if let Some(is_down) = is_down {
            slot.is_set_down = is_down;
            self.set_device_up(slot, !is_down);
        }
        true
    }

    /// The device of a port follows the port's configuration.
    pub(super) fn set_device_up(&self, slot: &mut PortSlot, up: bool) {
        if let Some(port) = &mut slot.port
            && let Err(error) = port.set_up(up)
        {
            let error = anyhow::Error::from(error);
            warn!("port {} ({}): {error:#}", slot.of, slot.spec.name);
        }
    }

    /// A place for a port, with numbers of its own.
    fn new_slot(
        &self,
        slots: &[PortSlot],
        spec: PortSpec,
        wanted: Option<OfPort>,
    ) -> Result<PortSlot, StartError> {
        if slots.iter().any(|s| s.spec.name == spec.name) {
            return Err(StartError::DuplicatePort(spec.name));
        }
        let has_device = |s: &&PortSlot| s.device().is_some() && s.spec.target == spec.target;
        if let Some(owner) = slots.iter().find(has_device) {
            let owner = owner.spec.name.clone();
            return Err(StartError::DeviceTaken { port: spec.name, owner });
        }
        let of = match wanted {
            Some(number) => match slots.iter().find(|s| s.of == number) {
                None => number,
                Some(owner) => {
                    let owner = owner.spec.name.clone();
                    return Err(StartError::NumberTaken { port: spec.name, number, owner });
                }
            },
            None => {
                let free =
                    (1..OfPort::MAX.0).map(OfPort).find(|n| slots.iter().all(|s| s.of != *n));
                free.ok_or_else(|| StartError::NoNumber(spec.name.clone()))?
            }
        };
        // There are fewer ports than numbers, so one of these is free.
        let mut used: Vec<u16> = slots.iter().map(|s| s.no.0).collect();
        used.sort_unstable();
        let no = (0..).zip(&used).find(|(n, used)| n != *used);
        let no = PortNo(no.map_or(used.len() as u16, |(n, _)| n));
        Ok(PortSlot::new(no, of, spec, self.workers.len(), self.now()))
    }

    fn install(
        &self,
        slots: &mut Vec<PortSlot>,
        mut slot: PortSlot,
        opened: Option<Port>,
        settings: PortSettings,
    ) -> OfPort {
        self.publish(&slot, opened.as_ref(), |info| settings.apply(info));
        match opened {
            Some(port) => self.attach(&mut slot, port),
            None => {
                // What is sent to it meanwhile has failed, and is counted there.
                for (worker, counters) in self.workers.iter().zip(&slot.counters) {
                    let counters = Arc::clone(counters);
                    worker.send(Command::Attach {
                        no: slot.no,
                        rx: Vec::new(),
                        tx: None,
                        counters,
                    });
                }
            }
        }
        let of = slot.of;
        let index = slots.partition_point(|s| s.of < of);
        slots.insert(index, slot);
        of
    }

    pub(super) fn open(&self, spec: &PortSpec) -> Result<Port, PortError> {
        // Every worker has a share of the flows of every port.
        let count = self.workers.len();
        let rx = spec.options.queues.map_or(count, usize::from);
        ::ports::open(spec, QueueCount { rx, tx: count })
    }

    /// Tells the pipeline about a port. What it was told by commands stays; `set` changes it.
    pub(super) fn publish(
        &self,
        slot: &PortSlot,
        port: Option<&Port>,
        set: impl FnOnce(&mut PortInfo),
    ) {
        let mac = MacAddr(port.map_or(slot.mac, |p| p.mac));
        let mut info = PortInfo::new(slot.no, slot.of, &slot.spec.name, mac);
        info.link_up = port.is_some_and(|p| p.status.is_link_up());
        self.bridge().with_ports(|ports| {
            if let Some(old) = ports.get(slot.of) {
                info = PortInfo { mac, link_up: info.link_up, ..old.clone() };
            }
            set(&mut info);
            ports.insert(info);
        });
    }

    /// Gives the queues of an open port to the workers.
    pub(super) fn attach(&self, slot: &mut PortSlot, mut port: Port) {
        let Queues { rx: rx_queues, mut tx } = port.take_queues();
        // Ports with few queues are spread over the workers. Who has the first to receive from has the
        // first to send to, and so on: they can belong together.
        let first = usize::from(slot.no.0) % self.workers.len();
        if first < tx.len() {
            tx.rotate_right(first);
        }
        let mut tx = tx.into_iter();
        let mut rx: Vec<Vec<_>> = self.workers.iter().map(|_| Vec::new()).collect();
        for (i, queue) in rx_queues.into_iter().enumerate() {
            rx[(first + i) % self.workers.len()].push(queue);
        }
        for ((worker, counters), rx) in self.workers.iter().zip(&slot.counters).zip(rx) {
            let counters = Arc::clone(counters);
            worker.send(Command::Attach { no: slot.no, rx, tx: tx.next(), counters });
        }
        for warning in &port.warnings {
            warn!("port {} ({}): {warning}", slot.of, slot.spec.name);
        }
        let up = port.status.is_link_up();
        slot.state = if up { PortState::Up } else { PortState::Down };
        slot.mac = port.mac;
        info!("port {} ({}): {}, {}", slot.of, slot.spec.name, slot.state, port.kind.name());
        slot.port = Some(port);
        if slot.is_set_down {
            self.set_device_up(slot, false);
        }
    }

    /// Takes the queues of a port from the workers. What is returned closes it.
    pub(super) fn detach(&self, slot: &mut PortSlot) -> Closing {
        let (done, finished) = channel::bounded(self.workers.len());
        for worker in &self.workers {
            worker.send(Command::Detach { no: slot.no, done: done.clone() });
        }
        drop(done);
        // Ends when every worker has answered, or is gone.
        Closing { _queues: finished.iter().collect(), _port: slot.port.take() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::Config;
    use ::ports::dummy::{self, Dummy, DummyOptions};
    use flow::verdict::DropReason;
    use lab::eventually;

    fn switch() -> Switch {
        Switch::start(Config::new(Vec::new())).unwrap()
    }

    fn add(switch: &Switch, name: &str) -> (OfPort, Dummy) {
        let (port, far) = dummy::open(name, DummyOptions::default()).unwrap();
        (switch.add_open_port(port).unwrap(), far)
    }

    /// From host `src` to host `dst`; 0xff is everybody.
    fn frame(dst: u8, src: u8) -> Vec<u8> {
        let dst = if dst == 0xff { [0xff; 6] } else { [2, 0, 0, 0, 0, dst] };
        [&dst[..], &[2, 0, 0, 0, 0, src, 0x88, 0xb5], &[0; 46]].concat()
    }

    fn eventually_gets(far: &Dummy, frames: u64) {
        eventually("frames to arrive", || far.sent_count() >= frames).unwrap();
        assert_eq!(far.sent_count(), frames);
    }

    #[test]
    fn the_lowest_free_numbers_are_given() {
        let switch = switch();
        let numbers: Vec<_> = ["a", "b", "c"].map(|name| add(&switch, name).0.0).into();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(switch.remove_port(OfPort(2)));
        assert!(!switch.remove_port(OfPort(2)));
        assert_eq!(add(&switch, "d").0, OfPort(2));
        assert_eq!(add(&switch, "e").0, OfPort(4));
        let names: Vec<_> = switch.ports().into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["a", "d", "c", "e"]);
    }

    #[test]
    fn a_port_can_ask_for_its_number() {
        let switch = switch();
        let add = |text| switch.add_port(PortSpec::parse(text, &SPEC_KEYS).unwrap(), true);
        assert_eq!(add("dummy:a,number=7,tag=10").unwrap(), OfPort(7));
        assert_eq!(add("dummy:b").unwrap(), OfPort(1));
        assert_eq!(add("dummy:c,number=LOCAL,trunks=1,2").unwrap(), OfPort::LOCAL);
        let refused = |text| add(text).unwrap_err().to_string();
        assert_eq!(refused("dummy:d,number=7"), "port \"d\": number 7 belongs to port \"a\"");
        assert_eq!(
            refused("dummy:d,number=0"),
            "port \"d\": number: \"0\" is not a number from 1 to 65279, or LOCAL"
        );
        let settings = |of| {
            let snapshot = switch.bridge().snapshot();
            PortSettings::of(snapshot.ports().get(of).unwrap()).to_string()
        };
        assert_eq!(settings(OfPort(7)), "vlan_mode=access tag=10");
        assert_eq!(settings(OfPort::LOCAL), "vlan_mode=trunk trunks=1,2");
    }

    #[test]
    fn a_name_is_given_once() {
        let switch = switch();
        let (_, _far) = add(&switch, "a");
        let (port, _far) = dummy::open("a", DummyOptions::default()).unwrap();
        let error = switch.add_open_port(port).unwrap_err();
        assert_eq!(error.to_string(), "port \"a\" is given twice");
    }

    #[test]
    fn cached_flows_do_not_reach_the_next_owner_of_a_number() {
        let switch = switch();
        let (_, a) = add(&switch, "a");
        let (of, b) = add(&switch, "b");
        let (_, c) = add(&switch, "c");
        b.inject(&frame(0xff, 2));
        eventually_gets(&a, 1);
        a.inject(&frame(2, 1));
        eventually_gets(&b, 1);
        assert_eq!(c.sent_count(), 1, "only what was for everybody");

        assert!(switch.remove_port(of));
        let (again, d) = add(&switch, "d");
        assert_eq!(again, of, "the same number");
        a.inject(&frame(2, 1));
        // Nobody knows host 2 any more: the frame is for everybody.
        eventually_gets(&d, 1);
        eventually_gets(&c, 2);
        assert_eq!(b.sent_count(), 1);
        let totals = &switch.ports()[1].totals;
        assert_eq!((totals.tx_packets, totals.rx_packets), (1, 0), "the counters are its own");
    }

    #[test]
    fn no_frame_of_other_ports_is_lost_while_ports_come_and_go() {
        let switch = switch();
        let (_, a) = add(&switch, "a");
        let (_, b) = add(&switch, "b");
        b.inject(&frame(0xff, 2));
        eventually_gets(&a, 1);
        let mut sent = 0;
        for round in 0..50 {
            let (of, _far) = add(&switch, &format!("p{round}"));
            for _ in 0..100 {
                a.inject(&frame(2, 1));
            }
            assert!(switch.remove_port(of));
            sent += 100;
        }
        eventually_gets(&b, sent);
        assert_eq!(switch.ports().len(), 2);
    }

    #[test]
    fn protected_ports_exchange_nothing() {
        let switch = switch();
        let [(of_a, a), (of_b, b), (_, c)] = ["a", "b", "c"].map(|name| add(&switch, name));
        for of in [of_a, of_b] {
            assert!(switch.change_port(of, |port| port.protected = true));
        }
        a.inject(&frame(0xff, 1));
        eventually_gets(&c, 1);
        c.inject(&frame(1, 3));
        eventually_gets(&a, 1);
        b.inject(&frame(1, 2));
        let dropped = || switch.ports()[1].totals.drops().map(|(_, n)| n).sum::<u64>();
        eventually("the frame to be dropped", || dropped() == 1).unwrap();
        assert_eq!((a.sent_count(), b.sent_count()), (1, 0));
    }

    #[test]
    fn what_exceeds_the_storm_limit_is_dropped_and_counted() {
        let switch = switch();
        let (of, a) = add(&switch, "a");
        let (_, b) = add(&switch, "b");
        assert!(switch.change_port(of, |port| port.storm_limit = Some(1)));
        for _ in 0..100 {
            a.inject(&frame(0xff, 1));
        }
        let storm = || switch.ports()[0].totals.rx_dropped[DropReason::Storm as usize];
        eventually("all to be flooded or dropped", || storm() + b.sent_count() == 100).unwrap();
        assert!(b.sent_count() < 50, "{} passed", b.sent_count());
    }

    #[test]
    fn a_port_that_is_set_down_neither_sends_nor_receives() {
        let switch = switch();
        let (of, a) = add(&switch, "a");
        let (_, b) = add(&switch, "b");
        assert!(switch.change_port(of, |port| port.config.down = true));
        a.inject(&frame(0xff, 1));
        b.inject(&frame(0xff, 2));
        let dropped = |i: usize| switch.ports()[i].totals.drops().map(|(_, n)| n).sum::<u64>();
        eventually("frames to be dropped", || dropped(0) == 1 && dropped(1) == 1).unwrap();
        assert!(switch.change_port(of, |port| port.config.down = false));
        a.inject(&frame(0xff, 1));
        eventually_gets(&b, 1);
    }
}

//! Ports come and go by command.
//!
//! Opening and closing a device takes milliseconds and happens on the caller's thread. The workers
//! only take queues over or hand them back between two batches, so that the traffic of other ports
//! does not notice.
//!
//! A port's numbers may belong to another port later. No worker can confuse the two: a port leaves the
//! pipeline first, which makes every cached flow look again, then the workers, and its numbers are free
//! only when all of them have let go.

use super::opening::ReadyPort;
use super::reconcile::Tolerance;
use super::{Switch, stable_mac};
use crate::desired::{self, Kind};
use crate::parallel::Closer;
use crate::port_slot::{PortSlot, PortState, Retry};
use crate::worker::{Command, Detached};
use ::ports::spec::Target;
use ::ports::tunnel::{EndpointQueues, Membership};
use ::ports::{Port, PortError, PortKind, Queues, RingSize, RxQueue};
use crossbeam::channel;
use flow::types::{MacAddr, PortNo};
use flowtable::policy::PortRef;
use flowtable::policy::ports::{Attachment, PatchCounters, PatchPort, PortInfo, TunnelEgress};
use std::sync::Arc;

/// A port that was taken from the workers. Dropping this value closes the port's sockets, which takes longer
/// than a worker has, and gives its device back.
pub(super) struct Closing {
    queues: Vec<Detached>,
    port: Option<Port>,
}

impl Closing {
    /// Gives the device back now, and has its sockets closed by somebody with more time. A device that
    /// ends with its sockets is closed here: the next one may have its name.
    pub(super) fn close_by(self, closer: &Closer) {
        let is_system = self.port.as_ref().is_some_and(|port| port.kind == PortKind::System);
        drop(self.port);
        if is_system {
            closer.close(Box::new(self.queues));
        }
    }
}

impl Switch {
    /// Gives a port a place, with its device if that is open already.
    pub(super) fn install(&self, at: PortRef, spec: desired::Port, opened: Option<Port>) {
        let mut slots = self.slots.lock();
        let attachment = match &spec.kind {
            Kind::Device(_) | Kind::Tunnel(_) => Attachment::Queues(free_number(&slots)),
            Kind::Patch { peer } => {
                let peer = peer.as_str().into();
                Attachment::Patch(Arc::new(PatchPort { peer, counters: PatchCounters::default() }))
            }
        };
        let mut slot = PortSlot::new(at, attachment, spec, self.workers.len(), self.now());
        if slot.port_no().is_none() {
            // It has no device that could have one.
            slot.mac = stable_mac::of_name(&slot.spec.name);
        }
        self.publish(&slot, opened.as_ref());
        match (opened, slot.port_no()) {
            (Some(port), _) => self.attach(&mut slot, port),
            (None, Some(port_no)) => {
                slot.is_opening = true;
                // What is sent to it meanwhile has failed, and is counted there.
                for (worker, counters) in self.workers.iter().zip(&slot.counters) {
                    let (rx, counters) = (Vec::new(), Arc::clone(counters));
                    worker.send(Command::Attach { port_no, rx, tx: None, counters });
                }
            }
            (None, None) => {}
        }
        let index = slots.partition_point(|s| s.at() < at);
        slots.insert(index, slot);
    }

    /// Opens the device of a port that has a place, if it is ready ([`Switch::make_ready`]). A port whose
    /// device cannot be opened gets the device later if `tolerance` covers the reason.
    ///
    /// # Errors
    /// The device cannot be opened, and `tolerance` does not cover the reason. The port has its place still,
    /// and is not tried again.
    pub(super) fn open_installed(
        &self,
        at: PortRef,
        spec: &desired::Port,
        ready: Result<ReadyPort, PortError>,
        tolerance: Tolerance,
    ) -> Result<(), PortError> {
        let is_ours = |s: &PortSlot| s.at() == at && s.is_opening && s.spec.name == spec.name;
        let ring = self.slots.lock().iter().find(|s| is_ours(s)).map(|s| s.ring);
        let ring = ring.unwrap_or_default();
        // Takes a while, in which others may add ports, too.
        let opened = ready.and_then(|ready| self.open(at.bridge, spec, ring, ready));
        let mut slots = self.slots.lock();
        let Some(slot) = slots.iter_mut().find(|s| is_ours(s)) else {
            // Somebody has removed it meanwhile.
            return Ok(());
        };
        slot.is_opening = false;
        match opened {
            Err(error) if !tolerance.covers(&error) => return Err(error),
            opened => self.take_opened(slot, opened, ring),
        }
        Ok(())
    }

    /// Gives a port its device, which was opened with receive rings of this size unless the port's options say
    /// another one, or the state that says why it has none.
    pub(super) fn take_opened(
        &self,
        slot: &mut PortSlot,
        opened: Result<Port, PortError>,
        ring: RingSize,
    ) {
        let state = match opened {
            Ok(port) => {
                slot.retry = Retry::default();
                slot.open_ring = ring;
                self.publish(slot, Some(&port));
                self.attach(slot, port);
                return;
            }
            Err(error) if error.is_missing() && !slot.makes_device() => {
                if slot.state != PortState::Waiting || !slot.was_tried {
                    let error = anyhow::Error::from(error);
                    slot.warn(format_args!("{error:#}; waiting for it"));
                }
                PortState::Waiting
            }
            Err(error) => {
                slot.retry.put_off(self.now());
                let state = PortState::Error(format!("{:#}", anyhow::Error::from(error)));
                if slot.state != state {
                    slot.warn(format_args!("{state}; trying again"));
                }
                state
            }
        };
        slot.was_tried = true;
        slot.state = state;
    }

    /// Takes a port out of its place. What is returned closes it, which takes a while.
    pub(super) fn uninstall(&self, at: PortRef) -> Option<Closing> {
        let mut slots = self.slots.lock();
        let index = slots.iter().position(|s| s.at() == at)?;
        let bridge = self.policy.bridge(at.bridge);
        bridge.with_ports(|ports| ports.remove(at.port));
        bridge.forget_hosts_of(at.port);
        let mut slot = slots.remove(index);
        let closing = self.detach(&mut slot);
        self.plan_rings(&mut slots);
        Some(closing)
    }

    /// Gives a port other settings. Its device stays open.
    pub(super) fn change(&self, at: PortRef, spec: &desired::Port) {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.iter_mut().find(|s| s.at() == at) else {
            return;
        };
        let before = std::mem::replace(&mut slot.spec, spec.clone());
        let watches = slot.wants_bfd();
        if let Some(membership) = slot.port.as_ref().and_then(|port| port.membership.as_ref()) {
            membership.bfd().set(slot.bfd_filter());
        }
        if !watches {
            slot.bfd = None;
        }
        let is_turned = before.config.down != spec.config.down;
        // Nobody tells later that a port without a device of its own, such as a tunnel port, is up.
        if is_turned && !spec.config.down {
            self.set_device_up(slot, true);
        }
        self.publish(slot, slot.port.as_ref());
        if before.settings.mode != spec.settings.mode {
            // They were seen in VLANs that they are not in any more.
            self.policy.bridge(at.bridge).flush_hosts(Some(at.port));
        }
        if is_turned && spec.config.down {
            self.set_device_up(slot, false);
        }
    }

    /// The device of a port follows the port's configuration.
    pub(super) fn set_device_up(&self, slot: &mut PortSlot, up: bool) {
        if let Some(port) = &mut slot.port
            && let Err(error) = port.set_up(up)
        {
            let error = anyhow::Error::from(error);
            slot.warn(format_args!("{error:#}"));
        }
    }

    /// The number of receive queues of a port: every worker has a share of the flows of every port.
    pub(super) fn rx_queues(&self, spec: &desired::Port) -> usize {
        spec.options.queues.map_or(self.workers.len(), usize::from)
    }

    /// The receive queues of a port, in their order, for each worker.
    ///
    /// Ports with few queues are spread over the workers. Who has the first to receive from has the first
    /// to send to, and so on: they can belong together.
    pub(super) fn spread<Q>(&self, port_no: PortNo, queues: Vec<Q>) -> Vec<Vec<Q>> {
        let mut shares: Vec<Vec<Q>> = self.workers.iter().map(|_| Vec::new()).collect();
        for (i, queue) in queues.into_iter().enumerate() {
            shares[(self.first_worker(port_no) + i) % self.workers.len()].push(queue);
        }
        shares
    }

    /// The receive queues of a port in their order, from those of each worker: the reverse of [`Self::spread`].
    pub(super) fn gather<Q>(&self, port_no: PortNo, shares: Vec<Vec<Q>>) -> Vec<Q> {
        let mut shares: Vec<_> = shares.into_iter().map(Vec::into_iter).collect();
        shares.rotate_left(self.first_worker(port_no));
        let mut queues = Vec::new();
        loop {
            let round = queues.len();
            queues.extend(shares.iter_mut().filter_map(Iterator::next));
            if queues.len() == round {
                return queues;
            }
        }
    }

    /// The worker that has the first queues of a port.
    fn first_worker(&self, port_no: PortNo) -> usize {
        usize::from(port_no.0) % self.workers.len()
    }

    /// Tells the policy about a port.
    pub(super) fn publish(&self, slot: &PortSlot, port: Option<&Port>) {
        let mac = MacAddr(port.map_or(slot.mac, |p| p.mac));
        let mut info = PortInfo {
            attachment: slot.attachment.clone(),
            ..PortInfo::new(PortNo::NONE, slot.of_port, &slot.spec.name, mac)
        };
        // A patch is up whenever it has a peer, and goes nowhere without.
        info.link_up = slot.port_no().is_none() || port.is_some_and(|p| p.status.is_link_up());
        info.config = slot.spec.config;
        if let Kind::Tunnel(tunnel) = &slot.spec.kind {
            let bridge = self.policy.bridge(slot.bridge);
            let options = if tunnel.has_options() { bridge.options() } else { Arc::default() };
            info.tunnel = Some(Arc::new(TunnelEgress { options, ..tunnel.egress.clone() }));
            info.suppression = tunnel.suppression.clone().map(Arc::new);
            info.is_peer_down = slot.bfd.as_ref().is_some_and(|bfd| bfd.is_peer_down);
            info.answered = Some(Arc::clone(&slot.answered));
        }
        info.is_own = matches!(slot.spec.kind.target(), Some(Target::Internal { .. }));
        slot.spec.settings.clone().apply(&mut info);
        self.policy.bridge(slot.bridge).with_ports(|ports| ports.insert(info));
    }

    /// Tells the tunnel ports of a bridge which options of Geneve are fields.
    pub(super) fn map_options(&self, bridge: &str) {
        let Some(bridge) = self.policy.find_bridge(bridge) else { return };
        for slot in self.slots.lock().iter_mut().filter(|slot| slot.bridge == bridge.id()) {
            let membership = slot.port.as_mut().and_then(|port| port.membership.as_mut());
            if let Some(membership) = membership {
                membership.map_options(bridge.options());
                self.publish(slot, slot.port.as_ref());
            }
        }
    }

    /// Gives the queues of an open port to the workers.
    pub(super) fn attach(&self, slot: &mut PortSlot, mut port: Port) {
        let Some(port_no) = slot.port_no() else {
            return;
        };
        let Queues { rx: rx_queues, mut tx } = port.take_queues();
        let first = self.first_worker(port_no);
        if first < tx.len() {
            tx.rotate_right(first);
        }
        let mut tx = tx.into_iter();
        let rx = self.spread(port_no, rx_queues);
        for ((worker, counters), rx) in self.workers.iter().zip(&slot.counters).zip(rx) {
            let counters = Arc::clone(counters);
            worker.send(Command::Attach { port_no, rx, tx: tx.next(), counters });
        }
        if let Some(membership) = &mut port.membership {
            membership.map_options(self.policy.bridge(slot.bridge).options());
            membership.bfd().set(slot.bfd_filter());
            slot.refused.push(Arc::clone(membership.refused()));
            for EndpointQueues { number, queues } in membership.admit(port_no.0) {
                self.attach_endpoint(endpoint_number(number), queues);
            }
        }
        if let Some((netns, index)) = slot.device().zip(port.ifindex).map(|((n, _), i)| (n, i)) {
            let is_tap = slot.spec.kind.target().is_some_and(Target::is_tap);
            let group = is_tap.then_some(slot.bridge.get());
            self.endpoints.devices().insert(netns.name(), index, group);
        }
        for warning in &port.warnings {
            slot.warn(format_args!("{warning}"));
        }
        let up = port.status.is_link_up();
        slot.state = if up { PortState::Up } else { PortState::Down };
        slot.mac = port.mac;
        let kind = port.kind.name();
        slot.log(format_args!("its device is open: {kind}"));
        self.kernel.add_port(slot, port_no, &port);
        slot.port = Some(port);
        if slot.spec.config.down {
            self.set_device_up(slot, false);
        }
    }

    /// Gives the receive queues that tunnel ports have in common to the workers.
    fn attach_endpoint(&self, number: PortNo, queues: Vec<Box<dyn RxQueue>>) {
        let shares = self.spread(number, queues);
        for (worker, rx) in self.workers.iter().zip(shares) {
            let counters = Arc::default();
            worker.send(Command::AttachEndpoint { number, rx, counters });
        }
    }

    /// Takes the queues of a port from the workers. What is returned closes it.
    pub(super) fn detach(&self, slot: &mut PortSlot) -> Closing {
        self.kernel.remove_port(slot);
        let index = slot.port.as_ref().and_then(|port| port.ifindex);
        if let Some((netns, index)) = slot.device().zip(index).map(|((n, _), i)| (n, i)) {
            self.endpoints.devices().remove(netns.name(), index);
        }
        // No frame is to reach a port that has gone, nor the next one that has its number.
        let membership = slot.port.as_mut().and_then(|port| port.membership.as_mut());
        let endpoints = membership.map(Membership::leave).unwrap_or_default();
        let numbers = endpoints.into_iter().map(endpoint_number).chain(slot.port_no());
        let (done, finished) = channel::unbounded();
        for port_no in numbers {
            for worker in &self.workers {
                worker.send(Command::Detach { port_no, done: done.clone() });
            }
        }
        drop(done);
        // Ends when every worker has answered, or is gone.
        Closing { queues: finished.iter().collect(), port: slot.port.take() }
    }
}

/// The number by which workers know the receive queues of an endpoint of tunnels. Ports have numbers from the
/// other end of the range.
fn endpoint_number(number: u16) -> PortNo {
    PortNo(u16::MAX - 1 - number)
}

/// The lowest free number of the datapath's.
fn free_number(slots: &[PortSlot]) -> PortNo {
    let mut used: Vec<u16> = slots.iter().filter_map(|s| Some(s.port_no()?.0)).collect();
    used.sort_unstable();
    let port_no = (0..).zip(&used).find(|(n, used)| n != *used);
    PortNo(port_no.map_or(used.len() as u16, |(n, _)| n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{DEFAULT_BRIDGE as BR0, Desired, PortSettings};
    use crate::switch::Config;
    use ::ports::dummy::{self, Dummy, DummyOptions};
    use flow::types::OfPort;
    use flow::verdict::DropReason;
    use lab::eventually;

    fn switch() -> Switch {
        Switch::start(Config::new(Desired::one_bridge())).unwrap()
    }

    fn add(switch: &Switch, name: &str) -> (OfPort, Dummy) {
        let (port, far) = dummy::open(name, DummyOptions::default()).unwrap();
        (switch.add_open_port(BR0, port).unwrap(), far)
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
        assert!(switch.remove_port(BR0, OfPort(2)));
        assert!(!switch.remove_port(BR0, OfPort(2)));
        assert_eq!(add(&switch, "d").0, OfPort(2));
        assert_eq!(add(&switch, "e").0, OfPort(4));
        let names: Vec<_> = switch.ports().into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["a", "d", "c", "e"]);
    }

    #[test]
    fn a_port_can_ask_for_its_number() {
        let switch = switch();
        let add = |text| switch.add_port(BR0, desired::Port::parse(text).unwrap());
        assert_eq!(add("dummy:a,number=7,tag=10").unwrap(), OfPort(7));
        assert_eq!(add("dummy:b").unwrap(), OfPort(1));
        assert_eq!(add("dummy:c,number=LOCAL,trunks=1,2").unwrap(), OfPort::LOCAL);
        let refused = |text| add(text).unwrap_err().to_string();
        assert_eq!(refused("dummy:d,number=7"), "port \"d\": number 7 belongs to port \"a\"");
        assert_eq!(
            desired::Port::parse("dummy:d,number=0").unwrap_err().to_string(),
            "port \"d\": number: \"0\" is not a number from 1 to 65279, or LOCAL"
        );
        let settings = |of_port| {
            let snapshot = switch.on(BR0).unwrap().bridge().snapshot();
            PortSettings::of(snapshot.ports().get(of_port).unwrap()).to_string()
        };
        assert_eq!(settings(OfPort(7)), "vlan_mode=access tag=10");
        assert_eq!(settings(OfPort::LOCAL), "vlan_mode=trunk trunks=1,2");
    }

    #[test]
    fn a_name_is_given_once() {
        let switch = switch();
        let (_, _far) = add(&switch, "a");
        let (port, _far) = dummy::open("a", DummyOptions::default()).unwrap();
        let error = switch.add_open_port(BR0, port).unwrap_err();
        assert_eq!(error.to_string(), "port \"a\": bridge \"br0\" has a port of that name already");
    }

    #[test]
    fn cached_flows_do_not_reach_the_next_owner_of_a_number() {
        let switch = switch();
        let (_, a) = add(&switch, "a");
        let (of_port, b) = add(&switch, "b");
        let (_, c) = add(&switch, "c");
        b.inject(&frame(0xff, 2));
        eventually_gets(&a, 1);
        a.inject(&frame(2, 1));
        eventually_gets(&b, 1);
        assert_eq!(c.sent_count(), 1, "only what was for everybody");

        assert!(switch.remove_port(BR0, of_port));
        let (again, d) = add(&switch, "d");
        assert_eq!(again, of_port, "the same number");
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
            let (of_port, _far) = add(&switch, &format!("p{round}"));
            for _ in 0..100 {
                a.inject(&frame(2, 1));
            }
            assert!(switch.remove_port(BR0, of_port));
            sent += 100;
        }
        eventually_gets(&b, sent);
        assert_eq!(switch.ports().len(), 2);
    }

    #[test]
    fn protected_ports_exchange_nothing() {
        let switch = switch();
        let [(of_a, a), (of_b, b), (_, c)] = ["a", "b", "c"].map(|name| add(&switch, name));
        for of_port in [of_a, of_b] {
            assert!(switch.change_port(BR0, of_port, |port| port.settings.protected = true));
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
        let (of_port, a) = add(&switch, "a");
        let (_, b) = add(&switch, "b");
        assert!(switch.change_port(BR0, of_port, |port| port.settings.storm = Some(1)));
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
        let (of_port, a) = add(&switch, "a");
        let (_, b) = add(&switch, "b");
        assert!(switch.change_port(BR0, of_port, |port| port.config.down = true));
        a.inject(&frame(0xff, 1));
        b.inject(&frame(0xff, 2));
        let dropped = |i: usize| switch.ports()[i].totals.drops().map(|(_, n)| n).sum::<u64>();
        eventually("frames to be dropped", || dropped(0) == 1 && dropped(1) == 1).unwrap();
        assert!(switch.change_port(BR0, of_port, |port| port.config.down = false));
        a.inject(&frame(0xff, 1));
        eventually_gets(&b, 1);
        let snapshot = switch.on(BR0).unwrap().bridge().snapshot();
        assert!(snapshot.ports().get(of_port).unwrap().link_up, "groups take it for dead");
    }
}

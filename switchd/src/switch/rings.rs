//! Receive rings are resized as ports come and go and as their traffic changes.
//!
//! The sizes follow a plan ([`crate::ring_budget`]) that is made whenever a port is added or removed, and twice
//! a second. A new port begins with the size that the plan has for it. Rings that have to shrink for it do so
//! some moments later, on a thread of their own ([`RingKeeper`]), so that adding a port does not wait for them;
//! until then all rings together may exceed the budget. Rings grow when no port has come or gone for [`CALM`],
//! and before another program takes the switch over: for some moments then nobody reads them.

use super::Switch;
use crate::parallel;
use crate::port_slot::{PortSlot, PortTotals};
use crate::ring_budget::{Demand, WAIT_OF_RESTART, plan};
use crate::worker::Command;
use ::ports::spec::Target;
use ::ports::{RingSize, RxMemory, RxOpener};
use crossbeam::channel::{self, Receiver, Sender, select};
use flowtable::policy::PortRef;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// Time between two looks at how much ports receive.
const INTERVAL: Duration = Duration::from_millis(500);
/// Rings do not grow as long as ports come and go: they might have to shrink again with the next.
const CALM: Duration = Duration::from_secs(2);

/// The memory for receive rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingMemory {
    /// Bytes that all rings occupy now.
    pub used: u64,
    /// Bytes that they should not exceed.
    pub budget: u64,
}

/// What a [`Switch`] knows of the budget of its rings.
pub(super) struct Rings {
    budget: u64,
    /// Ports have come or gone.
    news: (Sender<()>, Receiver<()>),
    /// When it was looked up last how much ports have received.
    last_look: Mutex<Instant>,
}

impl Rings {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, news: channel::bounded(1), last_look: Mutex::new(Instant::now()) }
    }
}

/// A port whose rings do not have the size that is planned for them.
struct Change {
    at: PortRef,
    opener: Arc<RxOpener>,
    size: RingSize,
    grows: bool,
}

/// The rate at which frames come to the rings of a port, in frames a second.
fn rate_at_rings(slot: &PortSlot) -> u64 {
    slot.activity.rate()
}

impl Switch {
    /// The memory for receive rings.
    pub fn ring_memory(&self) -> RingMemory {
        let slots = self.slots.lock();
        let used = slots.iter().filter_map(|slot| slot.port.as_ref());
        RingMemory {
            used: used.filter(|port| port.rx_opener.is_some()).map(|p| p.rx_memory.bytes).sum(),
            budget: self.rings.budget,
        }
    }

    /// Plans the rings of all ports, because one has come or gone.
    pub(super) fn plan_rings(&self, slots: &mut [PortSlot]) {
        self.replan(slots, rate_at_rings);
        // One piece of news that waits is enough.
        let _ = self.rings.news.0.try_send(());
    }

    /// Plans the rings of all ports, to which frames come at these rates.
    fn replan(&self, slots: &mut [PortSlot], rate: impl Fn(&PortSlot) -> u64) {
        let queues = |slot: &PortSlot| self.rx_queues(&slot.spec);
        let has_ring = |slot: &&mut PortSlot| slot.spec.kind.target().is_some_and(Target::has_ring);
        let (said, mut open): (Vec<_>, Vec<_>) =
            slots.iter_mut().filter(has_ring).partition(|slot| slot.spec.options.says_ring_size());
        let taken: u64 = said
            .iter()
            .map(|slot| {
                let size = slot.spec.options.ring_size(RingSize::default(), queues(slot));
                size.bytes() * queues(slot) as u64
            })
            .sum();
        let demand = |slot: &&mut PortSlot| Demand {
            at: slot.at(),
            queues: queues(slot),
            rate: rate(slot),
            planned: slot.ring,
        };
        let demands: Vec<Demand> = open.iter().map(demand).collect();
        let sizes = plan(self.rings.budget.saturating_sub(taken), &demands);
        open.iter_mut().zip(sizes).for_each(|(slot, size)| slot.ring = size);
    }

    /// Gives ports that are in use the larger rings that the plan has for them, before another program takes
    /// the rings over. Returns when workers read the new ones. A port with several queues keeps its rings,
    /// because it could lose a frame.
    pub(crate) fn fit_rings_to_traffic(&self) {
        self.note_activity();
        let rate =
            |slot: &PortSlot| WAIT_OF_RESTART * (rate_at_rings(slot) + slot.kernel_activity.rate());
        let mut changes = self.planned_changes(rate);
        changes.retain(|change| change.grows && change.opener.queues() == 1);
        parallel::for_each(changes, |change| self.resize_rings(change));
    }

    /// Notes how much ports have received since the last look.
    fn note_activity(&self) {
        let mut slots = self.slots.lock();
        let seconds =
            std::mem::replace(&mut *self.rings.last_look.lock(), Instant::now()).elapsed();
        for slot in slots.iter_mut().filter(|slot| slot.port.is_some()) {
            let in_kernel = slot.kernel_counters().rx_packets.get();
            // The total is read behind the kernel's part of it, so that it is never the smaller number.
            let PortTotals { rx_packets, .. } = slot.totals();
            let seconds = seconds.as_secs_f64();
            slot.activity.note(rx_packets - in_kernel, seconds);
            slot.kernel_activity.note(in_kernel, seconds);
        }
    }

    /// Plans anew, and resizes the rings that are not as planned: first the ones that shrink, then, if
    /// `may_grow`, the ones that grow.
    fn adjust_rings(&self, may_grow: bool) {
        let (grow, shrink): (Vec<_>, Vec<_>) =
            self.planned_changes(rate_at_rings).into_iter().partition(|change| change.grows);
        parallel::for_each(shrink, |change| self.resize_rings(change));
        if may_grow {
            parallel::for_each(grow, |change| self.resize_rings(change));
        }
    }

    /// Plans anew. Returns the rings that are not as planned.
    fn planned_changes(&self, rate: impl Fn(&PortSlot) -> u64) -> Vec<Change> {
        let mut slots = self.slots.lock();
        self.replan(&mut slots, rate);
        slots.iter().filter_map(change).collect()
    }

    /// Gives a port rings of another size. Its workers go on receiving meanwhile, and take the new rings
    /// over when the old ones are empty.
    fn resize_rings(&self, Change { at, opener, size, .. }: Change) {
        let (rings, memory) = match opener.open(size) {
            Ok(opened) => opened,
            // The device may have gone, or memory may be short: the port keeps the rings that it has.
            Err(error) => {
                return debug!("port {}: {:#}", at.port, anyhow::Error::from(error));
            }
        };
        let mut slots = self.slots.lock();
        let is_same = |slot: &&mut PortSlot| {
            let port = slot.port.as_ref().and_then(|port| port.rx_opener.as_ref());
            slot.at() == at && port.is_some_and(|port| Arc::ptr_eq(port, &opener))
        };
        let slot = slots.iter_mut().find(is_same);
        let Some((slot, port_no)) =
            slot.and_then(|slot| slot.port_no().map(|port_no| (slot, port_no)))
        else {
            return;
        };
        let (done, finished) = channel::bounded(self.workers.len());
        for (worker, rings) in self.workers.iter().zip(self.spread(port_no, rings)) {
            worker.send(Command::ReplaceRings { port_no, rings, done: done.clone() });
        }
        drop(done);
        if let Some(port) = &mut slot.port {
            port.rx_memory = memory;
        }
        slot.open_ring = size;
        // A worker that has much to do takes its time to empty an old ring, and nobody else
        // is to wait for that.
        drop(slots);
        // Ends when every worker has given up its old rings or the port, or is gone.
        let old: Vec<_> = finished.iter().collect();
        let RxMemory { slots, slot_size, .. } = memory;
        debug!("port {}: receive rings of {slots} slots of {slot_size} bytes", at.port);
        drop(old);
    }
}

fn change(slot: &PortSlot) -> Option<Change> {
    let opener = slot.port.as_ref()?.rx_opener.as_ref()?;
    let is_planned = slot.open_ring == slot.ring || slot.spec.options.says_ring_size();
    (!is_planned).then(|| Change {
        at: slot.at(),
        opener: Arc::clone(opener),
        size: slot.ring,
        grows: slot.ring.bytes() > slot.open_ring.bytes(),
    })
}

/// The thread that resizes rings. Dropping it ends it.
pub(crate) struct RingKeeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RingKeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// It cannot be had.
    pub(crate) fn start(switch: Arc<Switch>) -> std::io::Result<Self> {
        let (stop, stopped) = channel::bounded(0);
        let keep = move || keep(&switch, &stopped);
        let thread = std::thread::Builder::new().name("rings".to_owned()).spawn(keep)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for RingKeeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(switch: &Switch, stopped: &Receiver<()>) {
    let (mut last_news, mut next_look) = (None::<Instant>, Instant::now() + INTERVAL);
    let mut warned = false;
    loop {
        let mut looks = false;
        select! {
            recv(stopped) -> _ => return,
            recv(switch.rings.news.1) -> _ => last_news = Some(Instant::now()),
            default(next_look.saturating_duration_since(Instant::now())) => {
                looks = true;
                next_look = Instant::now() + INTERVAL;
            }
        }
        // Another program may be about to take the rings over as they are.
        let Some(_passage) = switch.gate.try_enter() else { continue };
        if looks {
            switch.note_activity();
        }
        let is_calm = last_news.is_none_or(|news| news.elapsed() >= CALM);
        switch.adjust_rings(is_calm);
        let RingMemory { used, budget } = switch.ring_memory();
        if is_calm && used > budget && !warned {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            warn!(
                "receive rings take {} MiB, more than --ring-memory={}M: the smallest rings need as much",
                mib(used),
                mib(budget)
            );
        }
        warned = used > budget;
    }
}

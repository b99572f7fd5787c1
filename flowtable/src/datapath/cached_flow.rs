//! A remembered verdict, and the register of all of them.

use super::DpAction;
use super::counters::Counter;
use super::drop_reason::DropReason;
use crate::flow::{FlowKey, FlowMask};
use crate::pipeline::Pipeline;
use crate::pipeline::recirc::Continuation;
use crate::pipeline::rule::Rule;
use crate::pipeline::tables::GroupEntry;
use crate::pipeline::xlate::{Learn, Translation};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Stamp of a flow that nobody may use any more.
const DEAD: u64 = 0;

/// What to do with the packets of one key, and what they count towards.
///
/// Written by the worker that owns it; read by anybody. The stamp says which generation of the
/// pipeline the verdict was last known to be right for.
#[derive(Debug)]
pub struct CachedFlow {
    /// The packet's key.
    pub key: FlowKey,
    /// The bits of it that the verdict depends on.
    pub mask: FlowMask,
    /// The verdict.
    pub actions: Box<[DpAction]>,
    /// Why nothing is sent, if nothing is.
    pub drop: Option<DropReason>,
    rules: Box<[Arc<Rule>]>,
    groups: Box<[(Arc<GroupEntry>, usize)]>,
    learn: Box<[Learn]>,
    _continuations: Box<[Arc<Continuation>]>,
    stamp: AtomicU64,
    packets: Counter,
    bytes: Counter,
    used_ms: Counter,
    /// What has been added to the rules already.
    pushed: Mutex<(u64, u64)>,
    slot: usize,
}

impl CachedFlow {
    fn new(key: FlowKey, t: Translation, generation: u64, now: Duration, slot: usize) -> Self {
        let used_ms = Counter::default();
        used_ms.set(now.as_millis() as u64);
        Self {
            key,
            mask: t.mask,
            actions: t.actions.into(),
            drop: t.drop,
            rules: t.rules.into(),
            groups: t.groups.into(),
            learn: t.learn.into(),
            _continuations: t.continuations.into(),
            stamp: AtomicU64::new(generation),
            packets: Counter::default(),
            bytes: Counter::default(),
            used_ms,
            pushed: Mutex::new((0, 0)),
            slot,
        }
    }

    /// The verdict was right at this generation.
    #[inline]
    pub fn is_fresh(&self, generation: u64) -> bool {
        self.stamp.load(Ordering::Relaxed) == generation
    }

    /// Nobody may use it any more.
    pub fn is_dead(&self) -> bool {
        self.stamp.load(Ordering::Relaxed) == DEAD
    }

    /// Whether a new translation of the same key says the same, counters included.
    pub fn agrees_with(&self, t: &Translation) -> bool {
        let same_rules = self.rules.len() == t.rules.len()
            && self.rules.iter().zip(&t.rules).all(|(a, b)| Arc::ptr_eq(a, b));
        let same_groups = self.groups.len() == t.groups.len()
            && self
                .groups
                .iter()
                .zip(&t.groups)
                .all(|(a, b)| Arc::ptr_eq(&a.0, &b.0) && a.1 == b.1);
        same_rules
            && same_groups
            && *self.actions == t.actions[..]
            && self.drop == t.drop
            && self.mask == t.mask
            && *self.learn == t.learn[..]
    }

    /// Says that the verdict is right at `generation`, unless the flow has been given up meanwhile.
    pub fn restamp(&self, generation: u64) -> bool {
        let old = self.stamp.load(Ordering::Relaxed);
        old != DEAD
            && self
                .stamp
                .compare_exchange(old, generation, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Counts packets; for the owner only.
    #[inline]
    pub fn count(&self, packets: u64, bytes: u64, now_ms: u64) {
        self.packets.add(packets);
        self.bytes.add(bytes);
        self.used_ms.set(now_ms);
    }

    /// Packets and bytes.
    pub fn totals(&self) -> (u64, u64) {
        (self.packets.get(), self.bytes.get())
    }

    /// When the last packet came.
    pub fn used(&self) -> Duration {
        Duration::from_millis(self.used_ms.get())
    }

    /// Hosts that its packets keep alive.
    pub fn learn(&self) -> &[Learn] {
        &self.learn
    }

    /// Adds what it counted since the last time to its rules and groups.
    pub fn push_stats(&self) {
        let mut pushed = self.pushed.lock();
        let (packets, bytes) = self.totals();
        let (new_packets, new_bytes) = (packets - pushed.0, bytes.wrapping_sub(pushed.1));
        if new_packets == 0 {
            return;
        }
        *pushed = (packets, bytes);
        let used = self.used();
        for rule in &self.rules {
            rule.stats.add(new_packets, new_bytes, used);
        }
        for (i, (entry, bucket)) in self.groups.iter().enumerate() {
            entry.counters.add_bucket(*bucket, new_packets, new_bytes);
            // A group counts a packet once, however many of its buckets get a copy.
            if !self.groups[..i].iter().any(|(e, _)| Arc::ptr_eq(e, entry)) {
                entry.counters.add(new_packets, new_bytes);
            }
        }
    }
}

/// All cached flows of one worker, for others to read. The worker touches it on a miss only.
#[derive(Debug, Default)]
pub struct FlowRegistry(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    flows: Vec<Option<Arc<CachedFlow>>>,
    free: Vec<usize>,
}

impl FlowRegistry {
    /// Makes a cached flow of a translation.
    pub fn install(
        &self,
        key: FlowKey,
        translation: Translation,
        generation: u64,
        now: Duration,
    ) -> Arc<CachedFlow> {
        let mut slots = self.0.lock();
        let slot = slots.free.pop().unwrap_or(slots.flows.len());
        let flow = Arc::new(CachedFlow::new(key, translation, generation, now, slot));
        match slots.flows.get_mut(slot) {
            Some(place) => *place = Some(Arc::clone(&flow)),
            None => slots.flows.push(Some(Arc::clone(&flow))),
        }
        flow
    }

    /// Gives a flow up. What it counted is not lost.
    pub fn retire(&self, flow: &CachedFlow) {
        flow.stamp.store(DEAD, Ordering::Relaxed);
        {
            let mut slots = self.0.lock();
            let Slots { flows, free } = &mut *slots;
            if let Some(place) = flows.get_mut(flow.slot)
                && place.as_ref().is_some_and(|f| std::ptr::eq(&raw const **f, flow))
            {
                *place = None;
                free.push(flow.slot);
            }
        }
        flow.push_stats();
    }

    /// All flows.
    pub fn flows(&self) -> Vec<Arc<CachedFlow>> {
        self.0.lock().flows.iter().flatten().cloned().collect()
    }

    /// Number of flows.
    pub fn len(&self) -> usize {
        let slots = self.0.lock();
        slots.flows.len() - slots.free.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds everything that was counted to the rules.
    pub fn push_stats(&self) {
        for flow in self.flows() {
            flow.push_stats();
        }
    }

    /// Periodic work: counts, keeps hosts alive whose flows are in use, gives idle flows up. Returns
    /// the number of flows given up.
    pub fn sweep(&self, pipeline: &Pipeline, now: Duration, max_idle: Duration) -> usize {
        let mut retired = 0;
        for flow in self.flows() {
            flow.push_stats();
            for host in flow.learn() {
                pipeline.refresh_mac(host, flow.used());
            }
            if now.saturating_sub(flow.used()) >= max_idle {
                self.retire(&flow);
                retired += 1;
            }
        }
        retired
    }
}

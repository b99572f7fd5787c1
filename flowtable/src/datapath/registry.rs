//! The cached flows of one worker, for other threads to read.
//!
//! The worker writes the registry when a flow comes or goes; a hit does not touch it. Other threads
//! read flows and add their packets to the counters of rules. They may *condemn* a flow: the worker
//! stops using it at once, and takes it out at its next batch, when it counts no more packets.

use super::cached_flow::CachedFlow;
use crate::overload::EstablishedSources;
use crate::policy::Policy;
use crate::policy::lookup_counts::LookupCounts;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Number of flows that are looked at under one hold of the lock. A worker may be waiting for the lock.
const SLICE: usize = 256;

/// All cached flows of one worker.
#[derive(Debug)]
pub struct FlowRegistry {
    slots: Mutex<Slots>,
    /// Whether there are condemned flows, for the worker to read without the lock.
    has_condemned: AtomicBool,
    /// The counts of the flow tables, to which flows add their packets.
    lookups: Arc<LookupCounts>,
    established: EstablishedSources,
}

#[derive(Debug, Default)]
struct Slots {
    flows: Vec<Option<Arc<CachedFlow>>>,
    /// Number of flows that are not condemned.
    len: usize,
    condemned: Vec<u32>,
}

impl FlowRegistry {
    /// Makes an empty registry. Flows will add their packets to `lookups`, too. `seed` keys hash functions.
    pub(super) fn new(lookups: Arc<LookupCounts>, seed: u64) -> Self {
        Self {
            slots: Mutex::default(),
            has_condemned: AtomicBool::default(),
            lookups,
            established: EstablishedSources::new(seed),
        }
    }

    /// The counts of the flow tables, to which flows add their packets.
    pub(super) fn lookups(&self) -> &LookupCounts {
        &self.lookups
    }

    /// The established sources, as of the last sweep.
    pub(super) fn established(&self) -> &EstablishedSources {
        &self.established
    }

    /// Notes that the flow number `index` is this one from now on.
    pub(super) fn put(&self, index: u32, flow: Arc<CachedFlow>) {
        let mut slots = self.slots.lock();
        let index = index as usize;
        if slots.flows.len() <= index {
            slots.flows.resize(index + 1, None);
        }
        slots.flows[index] = Some(flow);
        slots.len += 1;
    }

    /// Notes that there is no flow number `index` any more.
    pub(super) fn take(&self, index: u32) {
        let mut slots = self.slots.lock();
        if let Some(flow) = slots.flows.get_mut(index as usize).and_then(Option::take)
            && !flow.is_dead()
        {
            slots.len -= 1;
        }
    }

    /// Whether there are condemned flows that the worker has not taken out.
    #[inline]
    pub fn has_condemned(&self) -> bool {
        self.has_condemned.load(Ordering::Relaxed)
    }

    /// Takes the numbers of some condemned flows, at most [`SLICE`], for the worker. `None` if there are none.
    #[inline]
    pub(super) fn take_condemned(&self) -> Option<Vec<u32>> {
        if !self.has_condemned() {
            return None;
        }
        let mut slots = self.slots.lock();
        let rest = slots.condemned.len().saturating_sub(SLICE);
        let taken = slots.condemned.split_off(rest);
        if rest == 0 {
            slots.condemned = Vec::new();
            self.has_condemned.store(false, Ordering::Relaxed);
        }
        Some(taken)
    }

    /// Gives back the memory of places from number `len` on, which have no flow.
    pub(super) fn shrink(&self, len: usize) {
        let mut slots = self.slots.lock();
        slots.flows.truncate(len);
        slots.flows.shrink_to_fit();
    }

    /// All flows that are not condemned.
    pub fn flows(&self) -> Vec<Arc<CachedFlow>> {
        let mut flows = Vec::new();
        self.for_each(|_, flow| flows.push(Arc::clone(flow)));
        flows
    }

    /// Number of flows that are not condemned.
    pub fn len(&self) -> usize {
        self.slots.lock().len
    }

    /// Whether there is no flow.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the packets of all flows to the counters of their rules.
    pub fn push_stats(&self) {
        let slots = self.slices(|flows| flows.to_vec());
        slots.flatten().flatten().for_each(|flow| flow.push_stats(&self.lookups));
    }

    /// The periodic work of the monitor: adds packets to counters, keeps hosts from ageing whose
    /// flows are in use, collects the established sources, and condemns flows that were idle for
    /// `max_idle`. Returns the number of condemned flows.
    pub fn sweep(&self, policy: &Policy, now: Duration, max_idle: Duration) -> usize {
        let mut idle = Vec::new();
        let mut established = Vec::new();
        self.for_each(|index, flow| {
            flow.push_stats(&self.lookups);
            // The first packet of the flow has learned the hosts itself.
            let hosts = if flow.used() > flow.created() { flow.learn() } else { &[] };
            for host in hosts {
                policy.refresh_mac(host, flow.used());
            }
            if flow.used() > flow.created() {
                policy.refresh_rules(flow.rules_to_learn(), flow.used());
            }
            established.extend(flow.established_source());
            if now.saturating_sub(flow.used()) >= max_idle {
                idle.push((index, Arc::clone(flow)));
            }
        });
        self.established.replace(established.into_iter());
        idle.iter().filter(|(index, flow)| self.condemn(*index, flow)).count()
    }

    /// Condemns a flow, if it still has the number `index`.
    fn condemn(&self, index: usize, flow: &Arc<CachedFlow>) -> bool {
        let mut slots = self.slots.lock();
        let there = slots.flows.get(index).and_then(Option::as_ref);
        if flow.is_dead() || !there.is_some_and(|f| Arc::ptr_eq(f, flow)) {
            return false;
        }
        flow.condemn();
        slots.len -= 1;
        slots.condemned.push(index as u32);
        self.has_condemned.store(true, Ordering::Relaxed);
        true
    }

    /// Calls `visit` for every flow that is not condemned. The lock is not held during the call.
    fn for_each(&self, mut visit: impl FnMut(usize, &Arc<CachedFlow>)) {
        for (n, slice) in self.slices(|flows| flows.to_vec()).enumerate() {
            for (i, flow) in slice.iter().enumerate() {
                if let Some(flow) = flow.as_ref().filter(|f| !f.is_dead()) {
                    visit(n * SLICE + i, flow);
                }
            }
        }
    }

    /// Calls `copy` for each slice of the places, each under a hold of the lock of its own.
    fn slices<R>(&self, copy: impl Fn(&[Option<Arc<CachedFlow>>]) -> R) -> impl Iterator<Item = R> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let slots = self.slots.lock();
            let end = (start + SLICE).min(slots.flows.len());
            let slice = slots.flows.get(start..end).filter(|s| !s.is_empty())?;
            start = end;
            Some(copy(slice))
        })
    }
}

//! The fast path of one worker: extract, look up, execute.
//!
//! A worker owns a [`Datapath`] and shares nothing that it writes. A packet whose key is cached costs
//! no lock and no allocation; any other is translated at once ([`Pipeline::translate`]) and
//! remembered. Caches may be emptied at any moment without changing what is forwarded.

mod action;
mod cached_flow;
mod counters;
mod drop_reason;
mod edit;
mod egress;
mod emc;
mod execute;

#[cfg(test)]
mod tests;

pub use action::{
    AddressSums, ControllerMeta, DpAction, Rewrite, Transport, mac_bits, mac_of_bits,
};
pub use cached_flow::{CachedFlow, FlowRegistry};
pub use counters::{Counter, PortCounters};
pub use drop_reason::DropReason;
pub use egress::Egress;
pub use execute::{Executed, execute};

use crate::flow::FlowKey;
use crate::flow::extract::{ETH_HEADER_SIZE, extract};
use crate::pipeline::Pipeline;
use crate::types::PortNo;
use emc::Emc;
use packet::{Batch, FrameId};
use std::sync::Arc;
use std::time::Duration;

/// Times that one frame may go round.
const MAX_RECIRCULATIONS: u32 = 8;

/// Sizes of the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Entries of the exact-match cache; 0 turns it off.
    pub emc_entries: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { emc_entries: 8192 }
    }
}

/// What the caches of one worker did, readable by anybody.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct CacheStats {
    /// Packets whose flow was cached and fresh.
    pub hits: Counter,
    /// Packets that were translated because their flow was not cached.
    pub misses: Counter,
    /// Flows translated again because something had changed.
    pub retranslations: Counter,
    /// Of these, flows whose verdict had not changed.
    pub revalidated: Counter,
    /// Flows pushed out by others.
    pub evictions: Counter,
    /// Places in the cache.
    pub capacity: Counter,
}

/// Counters of one worker, by port.
pub type Counters = Vec<Arc<PortCounters>>;

/// The fast path of one worker.
pub struct Datapath {
    pipeline: Arc<Pipeline>,
    registry: Arc<FlowRegistry>,
    stats: Arc<CacheStats>,
    emc: Emc,
    vlan_limit: u8,
}

/// What came of one batch. The frames that are not dropped wait in the egress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processed {
    /// Frames with at least one output.
    pub queued: u64,
    /// Frames dropped.
    pub dropped: u64,
}

impl Datapath {
    /// A fast path in front of `pipeline`. The seed keys the hash functions.
    pub fn new(pipeline: Arc<Pipeline>, config: CacheConfig, vlan_limit: u8, seed: u64) -> Self {
        let emc = Emc::new(config.emc_entries, seed);
        let stats = CacheStats::default();
        stats.capacity.set(emc.capacity() as u64);
        Self { pipeline, registry: Arc::default(), stats: Arc::new(stats), emc, vlan_limit }
    }

    /// The cached flows.
    pub fn registry(&self) -> &Arc<FlowRegistry> {
        &self.registry
    }

    /// What the caches did.
    pub fn stats(&self) -> &Arc<CacheStats> {
        &self.stats
    }

    /// Decides about the frames of a batch that came in on `in_port`, and queues them in `egress`.
    /// Drops are counted in `counters`; what is queued is counted when it has been sent.
    pub fn process(
        &mut self,
        now: Duration,
        in_port: PortNo,
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        counters: &PortCounters,
    ) -> Processed {
        let generation = self.pipeline.generation();
        let mut done = Processed::default();
        let mut bytes = 0;
        for index in 0..batch.len() {
            let id = FrameId::received(index);
            let size = batch.frame(id).size();
            bytes += size as u64;
            if size < ETH_HEADER_SIZE {
                counters.rx_dropped(DropReason::Runt).add(1);
                done.dropped += 1;
                continue;
            }
            match self.frame(now, generation, in_port, batch, id, index as u16, egress) {
                Fate::Queued => done.queued += 1,
                Fate::Dropped(reason) => {
                    counters.rx_dropped(reason).add(1);
                    done.dropped += 1;
                }
            }
        }
        counters.rx_packets.add(batch.len() as u64);
        counters.rx_bytes.add(bytes);
        done
    }

    /// Sends one frame through the pipeline, as many rounds as it takes.
    #[expect(clippy::too_many_arguments, reason = "the state of one frame on its way")]
    fn frame(
        &mut self,
        now: Duration,
        generation: u64,
        in_port: PortNo,
        batch: &mut Batch<'_>,
        mut id: FrameId,
        origin: u16,
        egress: &mut Egress,
    ) -> Fate {
        let (mut recirc_id, mut outputs, mut punted) = (0, 0, 0);
        let mut reason = None;
        // A recirculation id is only good while a flow that names it lives.
        let mut _previous;
        for _ in 0..=MAX_RECIRCULATIONS {
            let frame = batch.frame_mut(id);
            let size = frame.size() as u64;
            let (key, layers) = extract(in_port, recirc_id, frame.bytes(), self.vlan_limit);
            frame.layers = layers;
            let flow = self.flow(now, generation, &key);
            flow.count(1, size, now.as_millis() as u64);
            let executed = execute(&flow.actions, batch, id, origin, egress);
            outputs += executed.outputs;
            punted += executed.punted;
            reason = executed.cut.or(flow.drop).or(reason);
            match executed.recirculate {
                Some((next, next_id)) => (id, recirc_id) = (next, next_id),
                None => return Fate::of(outputs, punted, reason),
            }
            _previous = flow;
        }
        Fate::of(outputs, punted, Some(DropReason::RecirculationLimit))
    }

    /// The flow of a key: cached, or translated now.
    #[inline]
    fn flow(&mut self, now: Duration, generation: u64, key: &FlowKey) -> Arc<CachedFlow> {
        let hash = self.emc.hash(key);
        let cached = self.emc.lookup(key, hash);
        if let Some(flow) = cached
            && flow.is_fresh(generation)
        {
            self.stats.hits.add(1);
            return Arc::clone(flow);
        }
        let cached = cached.cloned();
        self.translate(now, generation, key, hash, cached)
    }

    #[cold]
    fn translate(
        &mut self,
        now: Duration,
        generation: u64,
        key: &FlowKey,
        hash: u64,
        cached: Option<Arc<CachedFlow>>,
    ) -> Arc<CachedFlow> {
        let translation = self.pipeline.translate(key);
        self.pipeline.learn(&translation.learn, now);
        if let Some(flow) = cached.filter(|flow| !flow.is_dead()) {
            self.stats.retranslations.add(1);
            if flow.agrees_with(&translation) && flow.restamp(generation) {
                self.stats.revalidated.add(1);
                return flow;
            }
        } else {
            self.stats.misses.add(1);
        }
        let flow = self.registry.install(*key, translation, generation, now);
        if let Some(old) = self.emc.insert(hash, Arc::clone(&flow)) {
            if !old.is_dead() && old.key != *key {
                self.stats.evictions.add(1);
            }
            self.registry.retire(&old);
        }
        flow
    }
}

/// What became of one frame.
enum Fate {
    Queued,
    Dropped(DropReason),
}

impl Fate {
    fn of(outputs: u32, punted: u32, reason: Option<DropReason>) -> Self {
        if outputs > 0 {
            Self::Queued
        } else if punted > 0 {
            // Nobody listens yet.
            Self::Dropped(DropReason::NoController)
        } else {
            Self::Dropped(reason.unwrap_or(DropReason::RuleDrop))
        }
    }
}

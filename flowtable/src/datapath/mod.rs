//! The fast path of one worker: extract, look up, execute.
//!
//! A worker owns a [`Datapath`] and shares nothing that it writes but counters. Caches may be emptied
//! at any moment without changing what is forwarded.
//!
//! # A batch
//!
//! Work is done for a whole batch at a time, one kind after the other, so that the processor can
//! have the memory accesses of many packets under way at once:
//!
//! 1. Extract every key, and hash it.
//! 2. Look up the hashes: each names a cached flow, or nothing (`signatures`).
//! 3. Compare the keys with the flows, and the flows' stamps with the generation.
//! 4. Execute, in the order of the frames. Frames of one flow in a row are executed and counted
//!    together. A frame without a flow takes the slow path here.
//!
//! A hit costs no allocation, no lock and no locked instruction.
//!
//! # The slow path
//!
//! The flow may be known though no signature names it: a few masks are probed (`flow_table`). Else
//! the packet is translated ([`Policy::translate`]) if its port has budget for that ([`overload`](crate::overload)).
//! Flows with equal mask and masked key are one flow.

mod cached_flow;
mod counters;
mod edit;
mod egress;
mod execute;
mod flow_table;
mod inject;
mod registry;
mod signatures;

#[cfg(test)]
mod tests;

pub use cached_flow::CachedFlow;
pub use counters::{Counter, PortCounters};
pub use egress::Egress;
pub use execute::{Executed, execute};
pub use registry::FlowRegistry;

use crate::overload::{Admission, Source, Storm, UpcallBudget, UpcallLimit};
use crate::policy::changes::RecentRules;
use crate::policy::xlate::{Learn, Translation};
use crate::policy::{News, Policy};
use cached_flow::Place;
use flow::FlowKey;
use flow::extract::{Arrival, extract, extract_into};
use flow::key::{HotKey, KeyRef, RareHeaders};
use flow::types::{MacAddr, PortNo};
use flow::verdict::DropReason;
use flow_table::{FlowTable, GUEST};
use packet::wire::ethernet;
use packet::{Batch, FrameId, MAX_BATCH};
use signatures::{KeyHasher, Signatures};
use std::sync::Arc;
use std::time::Duration;

/// Times that one frame may go round.
pub(crate) const MAX_RECIRCULATIONS: u32 = 8;
/// Look-ups of frames that go round, for one received frame: each round may make several.
const MAX_LOOKUPS: u32 = 64;

/// Sizes of the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Entries of the signature cache, four bytes each; 0 turns it off.
    pub emc_entries: usize,
    /// Flows at most; 0 turns all caching off.
    pub max_flows: usize,
    /// Masks probed for a flow that no signature names, up to 8; 0 turns that off.
    pub max_probes: usize,
    /// How many new flows a port may cause to be translated; `None` is any number.
    pub upcalls: Option<UpcallLimit>,
}

impl CacheConfig {
    /// Every packet is translated. For tests: caches do not change what is forwarded.
    pub const OFF: Self = Self { emc_entries: 0, max_flows: 0, max_probes: 0, upcalls: None };
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            emc_entries: 262_144,
            max_flows: 200_000,
            max_probes: flow_table::MAX_ACTIVE,
            upcalls: Some(UpcallLimit::default()),
        }
    }
}

/// What the caches of one worker did, readable by anybody.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct CacheStats {
    /// Packets whose flow was found by signature, and was fresh.
    pub hits: Counter,
    /// Packets whose flow was found by probing masks.
    pub probe_hits: Counter,
    /// Packets that were translated because their flow was not cached.
    pub misses: Counter,
    /// Packets that were dropped because their port had used up its budget.
    pub refused: Counter,
    /// Stale flows that no change concerned.
    pub restamped: Counter,
    /// Flows translated again because something that they depend on had changed.
    pub retranslations: Counter,
    /// Of these, flows whose verdict had not changed.
    pub revalidated: Counter,
    /// Flows pushed out by others.
    pub evictions: Counter,
    /// Signatures written.
    pub admissions: Counter,
    /// Signatures pushed out by others.
    pub signature_evictions: Counter,
    /// Places for signatures.
    pub capacity: Counter,
    /// Flows.
    pub flows: Counter,
    /// Places for flows.
    pub max_flows: Counter,
    /// Masks that flows have.
    pub masks: Counter,
    /// Masks that are probed.
    pub active_masks: Counter,
    /// The budget of a port: translations a second, 0 for any number.
    pub budget_rate: Counter,
    /// And at once.
    pub budget_burst: Counter,
    /// Translations that were paid for from the budgets.
    pub budget_used: Counter,
    /// 1 while established traffic is protected, and the budgets are in force.
    pub protecting: Counter,
}

/// Counters of one worker, by port.
pub type Counters = Vec<Arc<PortCounters>>;

/// The fast path of one worker.
pub struct Datapath {
    policy: Arc<Policy>,
    registry: Arc<FlowRegistry>,
    stats: Arc<CacheStats>,
    hasher: KeyHasher,
    signatures: Signatures,
    flows: FlowTable,
    admission: Admission,
    budget: UpcallBudget,
    storm: Storm,
    recent: RecentRules,
    scratch: Box<Scratch>,
    vlan_limit: u8,
    is_off: bool,
}

/// What came of one batch. The frames that are not dropped wait in the egress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processed {
    /// Frames with at least one output.
    pub queued: u64,
    /// Frames dropped.
    pub dropped: u64,
}

/// What is known of the frames of the current batch.
struct Scratch {
    keys: [HotKey; MAX_BATCH],
    /// What few frames have in their keys, apart from the rest so that it is not touched for the others.
    rare: [RareHeaders; MAX_BATCH],
    hashes: [u64; MAX_BATCH],
    sizes: [u32; MAX_BATCH],
    flows: [u32; MAX_BATCH],
}

impl Scratch {
    /// The whole key of a frame.
    fn key(&self, at: usize) -> FlowKey {
        KeyRef { hot: &self.keys[at], rare: &self.rare[at] }.join()
    }
}

/// In place of a flow: it has to be searched for.
const UNKNOWN: u32 = u32::MAX;
/// In place of a flow: the frame is shorter than its header.
const RUNT: u32 = u32::MAX - 1;

/// What all frames of a batch have in common.
#[derive(Clone, Copy)]
struct Moment {
    now: Duration,
    generation: u64,
    in_port: PortNo,
}

impl Datapath {
    /// A fast path in front of `pipeline`. The seed keys the hash functions.
    pub fn new(policy: Arc<Policy>, config: CacheConfig, vlan_limit: u8, seed: u64) -> Self {
        let hasher = KeyHasher::new(seed);
        let is_off = config.max_flows == 0;
        let signatures = Signatures::new(if is_off { 0 } else { config.emc_entries });
        let max_flows = config.max_flows.min(signatures::MAX_FLOWS);
        let stats = CacheStats::default();
        stats.capacity.set(signatures.capacity() as u64);
        stats.max_flows.set(max_flows as u64);
        if let Some(limit) = config.upcalls {
            stats.budget_rate.set(limit.rate.into());
            stats.budget_burst.set(limit.burst.into());
        }
        let registry = Arc::new(FlowRegistry::new(Arc::clone(policy.lookups()), seed));
        Self {
            policy,
            admission: Admission::new(max_flows),
            flows: FlowTable::new(
                max_flows,
                config.max_probes.min(flow_table::MAX_ACTIVE),
                hasher.clone(),
                Arc::clone(&registry),
            ),
            registry,
            stats: Arc::new(stats),
            hasher,
            signatures,
            budget: UpcallBudget::new(config.upcalls),
            storm: Storm::default(),
            recent: RecentRules::default(),
            scratch: Box::new(Scratch {
                keys: [HotKey::default(); MAX_BATCH],
                rare: [RareHeaders::default(); MAX_BATCH],
                hashes: [0; MAX_BATCH],
                sizes: [0; MAX_BATCH],
                flows: [UNKNOWN; MAX_BATCH],
            }),
            vlan_limit,
            is_off,
        }
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
        self.policy.announce_learned(now);
        let moment = Moment { now, generation: self.policy.generation(), in_port };
        self.catch_up(moment.generation);
        self.extract(in_port, batch);
        self.look_up(batch.len());
        self.compare(batch.len(), moment.generation);
        let processed = self.execute(moment, batch, egress, counters);
        self.flows.dismiss_guest();
        processed
    }

    /// Between two batches: learns what changed, lets go of flows that others gave up.
    fn catch_up(&mut self, generation: u64) {
        if generation > self.recent.read_until() {
            self.policy.changes().follow(&mut self.recent);
        }
        self.flows.reap();
    }

    /// Keys, hashes and sizes of all frames.
    fn extract(&mut self, in_port: PortNo, batch: &mut Batch<'_>) {
        let arrival = Arrival::on(in_port);
        let Scratch { keys, rare, hashes, sizes, .. } = &mut *self.scratch;
        for (i, frame) in batch.received_mut().iter_mut().enumerate() {
            let (hot, rare) = (&mut keys[i], &mut rare[i]);
            frame.layers = extract_into(hot, rare, arrival, frame.bytes(), self.vlan_limit);
            sizes[i] = frame.size() as u32;
            hashes[i] = self.hasher.hash(KeyRef { hot, rare });
        }
    }

    /// Flows that the signatures name.
    fn look_up(&mut self, n: usize) {
        let Scratch { hashes, flows, .. } = &mut *self.scratch;
        for (hash, flow) in hashes.iter().zip(flows).take(n) {
            *flow = self.signatures.first(*hash).unwrap_or(UNKNOWN);
        }
    }

    /// Forgets flows that are not the frame's, or that a change may concern.
    fn compare(&mut self, n: usize, generation: u64) {
        let Scratch { keys, rare, sizes, flows, .. } = &mut *self.scratch;
        let changes = self.policy.changes();
        let mut restamped = 0;
        let mut is_right_now = |flow: &CachedFlow| {
            flow.is_fresh(generation) || {
                let is_untouched = !flow.is_concerned(changes, &self.recent);
                if is_untouched {
                    flow.restamp(generation);
                    restamped += 1;
                }
                is_untouched
            }
        };
        let keys = keys.iter().zip(rare).map(|(hot, rare)| KeyRef { hot, rare });
        for ((key, size), index) in keys.zip(sizes).zip(flows).take(n) {
            let is_right =
                self.flows.get(*index).is_some_and(|flow| flow.covers(key) && is_right_now(flow));
            if !is_right {
                *index = UNKNOWN;
            }
            if (*size as usize) < ethernet::HEADER_SIZE {
                *index = RUNT;
            }
        }
        if restamped > 0 {
            self.stats.restamped.add(restamped);
        }
    }

    fn execute(
        &mut self,
        moment: Moment,
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        counters: &PortCounters,
    ) -> Processed {
        let n = batch.len();
        let removals = self.flows.removals();
        let now_ms = moment.now.as_millis() as u64;
        let (mut done, mut all_bytes, mut slow) = (Processed::default(), 0, 0);
        let mut at = 0;
        while at < n {
            let mut index = self.scratch.flows[at];
            if index == RUNT {
                counters.rx_dropped(DropReason::Runt).add(1);
                done.dropped += 1;
                all_bytes += u64::from(self.scratch.sizes[at]);
                at += 1;
                continue;
            }
            // Numbers of flows may have changed their meaning since they were compared.
            let mut is_vague = self.flows.removals() != removals;
            if index == UNKNOWN || is_vague {
                slow += 1;
                let (key, hash) = (self.scratch.key(at), self.scratch.hashes[at]);
                match self.flow_of(moment, &key, hash) {
                    Some(found) => {
                        index = found;
                        is_vague = self.flows.removals() != removals;
                    }
                    None => {
                        counters.rx_dropped(DropReason::UpcallBudget).add(1);
                        done.dropped += 1;
                        all_bytes += u64::from(self.scratch.sizes[at]);
                        at += 1;
                        continue;
                    }
                }
            }
            let first = at;
            let mut bytes = u64::from(self.scratch.sizes[at]);
            at += 1;
            while at < n && self.scratch.flows[at] == index && !is_vague {
                bytes += u64::from(self.scratch.sizes[at]);
                at += 1;
            }
            all_bytes += bytes;
            let run = (at - first) as u64;
            let Some(flow) = self.flows.get(index) else { continue };
            flow.count(run, bytes, now_ms);
            if let Some(port) = flow.only_output {
                egress.push_run(port, first..at);
                done.queued += run;
                continue;
            }
            if let (Some(reason), true) = (flow.drop, flow.actions.is_empty()) {
                counters.rx_dropped(reason).add(run);
                done.dropped += run;
                continue;
            }
            let flow = Arc::clone(flow);
            let flooded = match flow.flood {
                Some(flood) => {
                    let control = self.policy.storm_control();
                    self.storm.admit(control, moment.in_port, flood, moment.now, run)
                }
                None => run,
            };
            if flooded < run {
                counters.rx_dropped(DropReason::Storm).add(run - flooded);
                done.dropped += run - flooded;
            }
            for frame in first..first + flooded as usize {
                match self.frame(moment, batch, frame, &flow, egress) {
                    None => done.queued += 1,
                    Some(reason) => {
                        counters.rx_dropped(reason).add(1);
                        done.dropped += 1;
                    }
                }
            }
        }
        self.stats.hits.add(n as u64 - slow);
        self.budget.saw_batch(moment.now, n as u64 - slow, n == MAX_BATCH);
        self.stats.protecting.set(self.budget.protects().into());
        counters.rx_packets.add(n as u64);
        counters.rx_bytes.add(all_bytes);
        done
    }

    /// Executes the actions of a flow, already counted, on one frame, as many rounds as it takes.
    /// Returns why the frame is dropped, if it is.
    fn frame(
        &mut self,
        moment: Moment,
        batch: &mut Batch<'_>,
        index: usize,
        flow: &Arc<CachedFlow>,
        egress: &mut Egress,
    ) -> Option<DropReason> {
        let mut outcome = Outcome::default();
        let place = FramePlace { received: index, id: FrameId::received(index), round: 0 };
        self.round(moment, batch, place, flow, egress, &mut outcome);
        outcome.fate()
    }

    /// Executes the actions of a flow, already counted, and then those of the flows that frames of it
    /// belong to when they go round.
    fn round(
        &mut self,
        moment: Moment,
        batch: &mut Batch<'_>,
        place: FramePlace,
        flow: &Arc<CachedFlow>,
        egress: &mut Egress,
        outcome: &mut Outcome,
    ) {
        let executed = execute(&flow.actions, batch, place.id, place.received as u16, egress);
        outcome.outputs += executed.outputs;
        outcome.punted += executed.punted;
        outcome.reason = executed.cut.or(flow.drop).or(outcome.reason);
        for (id, recirc_id) in executed.recirculate {
            outcome.lookups += 1;
            if place.round == MAX_RECIRCULATIONS || outcome.lookups > MAX_LOOKUPS {
                outcome.reason = Some(DropReason::RecirculationLimit);
                return;
            }
            let frame = batch.frame_mut(id);
            let size = frame.size() as u64;
            let arrival = Arrival { port_no: moment.in_port, recirc_id };
            let (key, layers) = extract(arrival, frame.bytes(), self.vlan_limit);
            frame.layers = layers;
            let hash = self.hasher.hash(key.parts());
            let found = self.flow_of(moment, &key, hash).and_then(|i| self.flows.get(i));
            let Some(found) = found else {
                outcome.reason = Some(DropReason::UpcallBudget);
                continue;
            };
            found.count(1, size, moment.now.as_millis() as u64);
            // A recirculation id is only good while a flow that names it lives, so it is held.
            let found = Arc::clone(found);
            let place = FramePlace { id, round: place.round + 1, ..place };
            self.round(moment, batch, place, &found, egress, outcome);
        }
    }

    /// The fresh flow of a key, wherever it has to come from. `None` if that is over the budget.
    fn flow_of(&mut self, moment: Moment, key: &FlowKey, hash: u64) -> Option<u32> {
        if self.is_off {
            self.stats.misses.add(1);
            return Some(self.translate(moment, key));
        }
        let by_signature = self
            .signatures
            .all(hash)
            .find(|&i| self.flows.get(i).is_some_and(|f| !f.is_dead() && f.covers(key.parts())));
        let known = by_signature.or_else(|| self.flows.probe(key));
        let index = match known {
            Some(index) => match self.refresh(moment, index, key) {
                Some(index) => {
                    let level = if by_signature.is_some() {
                        &self.stats.hits
                    } else {
                        &self.stats.probe_hits
                    };
                    level.add(1);
                    index
                }
                None => self.translate(moment, key),
            },
            None => {
                let source = Source { port: moment.in_port, mac: MacAddr(key.headers.dl_src) };
                let is_established = || self.registry.established().contains(source);
                if !self.budget.admit(moment.now, source, is_established) {
                    self.stats.refused.add(1);
                    return None;
                }
                self.stats.misses.add(1);
                self.stats.budget_used.add(self.budget.protects().into());
                self.translate(moment, key)
            }
        };
        if by_signature != Some(index) && index != GUEST {
            self.remember(hash, index);
        }
        Some(index)
    }

    /// Makes sure that a flow is right for now; `None` if it is not, and was taken out.
    #[inline]
    fn refresh(&mut self, moment: Moment, index: u32, key: &FlowKey) -> Option<u32> {
        let flow = self.flows.get(index)?;
        if flow.is_fresh(moment.generation) {
            return Some(index);
        }
        if !flow.is_concerned(self.policy.changes(), &self.recent) {
            self.stats.restamped.add(1);
            flow.restamp(moment.generation);
            return Some(index);
        }
        self.retranslate(moment, index, key)
    }

    #[cold]
    fn retranslate(&mut self, moment: Moment, index: u32, key: &FlowKey) -> Option<u32> {
        let flow = self.flows.get(index)?;
        self.stats.retranslations.add(1);
        if flow.is_concerned_by_hosts(self.policy.changes()) {
            self.policy.translated_for_hosts();
        }
        let translation = self.policy.translate(key);
        let watched = self.policy.changes().watch(&translation.hosts, &translation.depends);
        if flow.agrees_with(&translation, &watched) && !flow.is_dead() {
            let news = self.policy.learn(&translation.learn, moment.now);
            flow.restamp(stamp_after(moment.generation, &translation, news));
            self.stats.revalidated.add(1);
            return Some(index);
        }
        self.flows.remove(index);
        None
    }

    /// Translates a packet, and returns the new flow, or the one that says the same.
    #[cold]
    fn translate(&mut self, moment: Moment, key: &FlowKey) -> u32 {
        let translation = self.policy.translate(key);
        let watched = self.policy.changes().watch(&translation.hosts, &translation.depends);
        let news = self.policy.learn(&translation.learn, moment.now);
        if news.is_any {
            // It costs about as much as another translation.
            self.budget.charge(moment.in_port);
        }
        let stamp = stamp_after(moment.generation, &translation, news);
        // A host that was made up does not send a second frame. While others are protected from a
        // flood of those, that is waited for: each flow displaces something of theirs.
        let waits = news.is_any && self.budget.protects();
        if waits || !self.is_worth_a_place(&translation, key) {
            let place = Place::default();
            let flow = CachedFlow::new(key, translation, stamp, moment.now, place, watched);
            self.flows.receive_guest(flow);
            return GUEST;
        }
        let (mut place, same) = self.flows.place(&translation.mask, key);
        if let Some(index) = same {
            let agrees = self
                .flows
                .get(index)
                .filter(|f| f.agrees_with(&translation, &watched) && !f.is_dead());
            if let Some(flow) = agrees {
                flow.restamp(stamp);
                return index;
            }
            self.flows.remove(index);
            (place, _) = self.flows.place(&translation.mask, key);
        }
        let flow = CachedFlow::new(key, translation, stamp, moment.now, place, watched);
        let (index, evicted) = self.flows.insert(flow);
        self.stats.evictions.add(u64::from(evicted));
        self.stats.flows.set(self.flows.len() as u64);
        self.stats.masks.set(self.flows.masks() as u64);
        self.stats.active_masks.set(self.flows.active_masks() as u64);
        index
    }

    /// Whether a flow should be remembered, or is already.
    fn is_worth_a_place(&mut self, translation: &Translation, key: &FlowKey) -> bool {
        let hits = self.stats.hits.get() + self.stats.probe_hits.get();
        !self.is_off
            && (self.admission.admits(self.flows.is_full(), hits)
                || self.flows.has(&translation.mask, key))
    }

    /// Notes the flow of a hash.
    fn remember(&mut self, hash: u64, index: u32) {
        let flows = &self.flows;
        // In about seconds: those in use are alike.
        let used = |i: u32| flows.get(i).map(|f| f.used_ms() >> 10);
        let evicted = self.signatures.insert(hash, index, used);
        self.stats.admissions.add(1);
        self.stats.signature_evictions.add(u64::from(evicted));
    }
}

/// The generation that a translation is right for: the one it was made at, or the next if that is
/// about nothing but the hosts that it made known itself, and it did not ask where they are.
fn stamp_after(generation: u64, translation: &Translation, news: News) -> u64 {
    let Translation { learn, hosts, .. } = translation;
    // A host that is learned is among the hosts that were read, once each time.
    let asks_too = || {
        learn.iter().any(|Learn { host, .. }| {
            let read = hosts.iter().filter(|read| *read == host).count();
            read > learn.iter().filter(|other| other.host == *host).count()
        })
    };
    match news.announced {
        Some(next) if next == generation + 1 && !asks_too() => next,
        _ => generation,
    }
}

/// A frame that is being executed.
#[derive(Clone, Copy)]
struct FramePlace {
    /// The received frame that it comes from.
    received: usize,
    id: FrameId,
    /// Times that it went round.
    round: u32,
}

/// What came of a received frame and its copies so far.
#[derive(Default)]
struct Outcome {
    outputs: u32,
    punted: u32,
    /// Look-ups of frames that went round.
    lookups: u32,
    reason: Option<DropReason>,
}

impl Outcome {
    /// Why the frame is dropped, if it is.
    fn fate(&self) -> Option<DropReason> {
        if self.outputs > 0 {
            None
        } else if self.punted > 0 {
            // Nobody listens yet.
            Some(DropReason::NoController)
        } else {
            Some(self.reason.unwrap_or(DropReason::RuleDrop))
        }
    }
}

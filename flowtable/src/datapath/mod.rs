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
//! Frames that go round (`DpAction::Recirculate`) are collected meanwhile, and pass through the same
//! stages as a batch of their own, until none is left (`rounds`). Budgets and storm control hold in every
//! pass.
//!
//! A hit costs no allocation, no lock and no locked instruction, in whatever pass.
//!
//! # The slow path
//!
//! The flow may be known though no signature names it: a few masks are probed (`flow_table`). Else
//! the packet is translated ([`Policy::translate`]) if its port has budget for that
//! ([`overload`](crate::overload)). Flows with equal mask and masked key are one flow (`caches`).

mod cached_flow;
mod caches;
mod counters;
mod edit;
mod egress;
mod execute;
mod flow_table;
mod inject;
mod registry;
mod rounds;
mod signatures;

#[cfg(test)]
mod tests;

pub use cached_flow::CachedFlow;
pub use counters::{Counter, PortCounters};
pub use egress::Egress;
pub use execute::{Env, Executed, Recirculation, execute};
pub use inject::Ingress;
pub use registry::FlowRegistry;
pub(crate) use rounds::MAX_RECIRCULATIONS;

use crate::overload::{Frames, Storm, UpcallLimit};
use crate::policy::Policy;
use caches::Caches;
use flow::extract::{Arrival, extract_by_call, extract_into};
use flow::key::{HotKey, KeyRef, RareHeaders};
use flow::types::PortNo;
use flow::verdict::DropReason;
use packet::wire::ethernet;
use packet::{Batch, MAX_BATCH};
use rounds::{Outcome, Pass, PassMember, RECEIVED, Rounds};
use std::sync::Arc;
use std::time::Duration;

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
    caches: Caches,
    storm: Storm,
    scratch: Box<Scratch>,
    rounds: Box<Rounds>,
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

/// What is known of the frames of the current pass.
struct Scratch {
    keys: [HotKey; MAX_BATCH],
    /// What few frames have in their keys, apart from the rest so that it is not touched for the others.
    rare: [RareHeaders; MAX_BATCH],
    hashes: [u64; MAX_BATCH],
    sizes: [u32; MAX_BATCH],
    flows: [u32; MAX_BATCH],
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
    /// The frame is a packet-out: no budget and no storm limit holds for it.
    is_injected: bool,
}

/// What is counted of a batch.
struct Tally<'c> {
    counters: &'c PortCounters,
    done: Processed,
    /// Frames whose flow a signature named, in all passes.
    hits: u64,
}

impl<'c> Tally<'c> {
    fn new(counters: &'c PortCounters) -> Self {
        Self { counters, done: Processed::default(), hits: 0 }
    }

    fn drop(&mut self, frames: u64, reason: DropReason) {
        self.counters.rx_dropped(reason).add(frames);
        self.done.dropped += frames;
    }

    /// Counts what became of a received frame, once that is known.
    #[inline]
    fn settle(&mut self, outcome: Option<Outcome>) {
        match outcome.map(|outcome| outcome.fate()) {
            Some(Some(reason)) => self.drop(1, reason),
            Some(None) => self.done.queued += 1,
            None => {}
        }
    }
}

impl Datapath {
    /// A fast path in front of `policy`. The seed keys the hash functions.
    pub fn new(policy: Arc<Policy>, config: CacheConfig, vlan_limit: u8, seed: u64) -> Self {
        Self {
            caches: Caches::new(policy, config, seed),
            storm: Storm::default(),
            scratch: Box::new(Scratch {
                keys: [HotKey::default(); MAX_BATCH],
                rare: [RareHeaders::default(); MAX_BATCH],
                hashes: [0; MAX_BATCH],
                sizes: [0; MAX_BATCH],
                flows: [UNKNOWN; MAX_BATCH],
            }),
            rounds: Box::default(),
            vlan_limit,
        }
    }

    /// The cached flows.
    pub fn registry(&self) -> &Arc<FlowRegistry> {
        &self.caches.registry
    }

    /// What the caches did.
    pub fn stats(&self) -> &Arc<CacheStats> {
        &self.caches.stats
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
        let policy = &self.caches.policy;
        policy.announce_learned(now);
        let generation = policy.generation();
        let moment = Moment { now, generation, in_port, is_injected: false };
        self.caches.catch_up(generation);
        let n = batch.len();
        let mut tally = Tally::new(counters);
        self.extract(in_port, batch);
        let bytes = self.decide(moment, &RECEIVED[..n], batch, egress, &mut tally);
        if self.rounds.has_waiting() {
            self.go_round(moment, batch, egress, &mut tally);
        }
        self.caches.end_batch(now, tally.hits, n == MAX_BATCH);
        counters.rx_packets.add(n as u64);
        counters.rx_bytes.add(bytes);
        tally.done
    }

    /// Takes the frames that wait through further passes until none is left.
    #[inline(never)]
    fn go_round(
        &mut self,
        moment: Moment,
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        tally: &mut Tally<'_>,
    ) {
        let mut pass = Pass::new();
        while self.rounds.begin_pass(&mut pass) {
            self.extract_again(moment.in_port, &pass, batch);
            self.decide(moment, &pass, batch, egress, tally);
        }
    }

    /// What comes after extraction, the same in every pass. Returns the bytes of all frames.
    fn decide(
        &mut self,
        moment: Moment,
        members: &[PassMember],
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        tally: &mut Tally<'_>,
    ) -> u64 {
        self.look_up(members.len());
        self.compare(members.len(), moment.generation);
        self.execute(moment, members, batch, egress, tally)
    }

    /// Keys, hashes and sizes of all received frames.
    fn extract(&mut self, in_port: PortNo, batch: &mut Batch<'_>) {
        let arrival = Arrival::on(in_port);
        let Scratch { keys, rare, hashes, sizes, .. } = &mut *self.scratch;
        for (i, frame) in batch.received_mut().iter_mut().enumerate() {
            let (hot, rare) = (&mut keys[i], &mut rare[i]);
            frame.layers = extract_into(hot, rare, arrival, frame.bytes(), self.vlan_limit);
            sizes[i] = frame.size() as u32;
            hashes[i] = self.caches.hasher.hash(KeyRef { hot, rare });
        }
    }

    /// Keys, hashes and sizes of frames that go round.
    fn extract_again(&mut self, in_port: PortNo, members: &[PassMember], batch: &mut Batch<'_>) {
        let Scratch { keys, rare, hashes, sizes, .. } = &mut *self.scratch;
        for (i, member) in members.iter().enumerate() {
            let frame = batch.frame_mut(member.frame);
            let arrival = Arrival { port_no: in_port, recirc_id: member.recirc_id };
            let (hot, rare) = (&mut keys[i], &mut rare[i]);
            frame.layers = extract_by_call(hot, rare, arrival, frame.bytes(), self.vlan_limit);
            sizes[i] = frame.size() as u32;
            hashes[i] = self.caches.hasher.hash(KeyRef { hot, rare });
        }
    }

    /// Flows that the signatures name.
    fn look_up(&mut self, n: usize) {
        let Scratch { hashes, flows, .. } = &mut *self.scratch;
        for (hash, flow) in hashes.iter().zip(flows).take(n) {
            *flow = self.caches.signatures.first(*hash).unwrap_or(UNKNOWN);
        }
    }

    /// Forgets flows that are not the frame's, or that a change may concern.
    fn compare(&mut self, n: usize, generation: u64) {
        let Scratch { keys, rare, sizes, flows, .. } = &mut *self.scratch;
        let caches = &self.caches;
        let changes = caches.policy.changes();
        let mut restamped = 0;
        let mut is_right_now = |flow: &CachedFlow| {
            flow.is_fresh(generation) || {
                let is_untouched = !flow.is_concerned(changes, &caches.recent);
                if is_untouched {
                    flow.restamp(generation);
                    restamped += 1;
                }
                is_untouched
            }
        };
        let keys = keys.iter().zip(rare).map(|(hot, rare)| KeyRef { hot, rare });
        for ((key, size), index) in keys.zip(sizes).zip(flows).take(n) {
            let flow = caches.flows.get(*index);
            let is_right = flow.is_some_and(|flow| flow.covers(key) && is_right_now(flow));
            if !is_right {
                *index = UNKNOWN;
            }
            if (*size as usize) < ethernet::HEADER_SIZE {
                *index = RUNT;
            }
        }
        if restamped > 0 {
            caches.stats.restamped.add(restamped);
        }
    }

    /// Does what the frames' flows say, and takes the slow path with frames that have none. Returns the
    /// bytes of all frames.
    fn execute(
        &mut self,
        moment: Moment,
        members: &[PassMember],
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        tally: &mut Tally<'_>,
    ) -> u64 {
        let Self { caches, storm, scratch, rounds, .. } = self;
        let Scratch { keys, rare, hashes, sizes, flows } = &**scratch;
        let flows = &flows[..members.len()];
        let is_first_pass = members.first().is_some_and(|member| member.round == 0);
        let removals = caches.flows.removals();
        let now_ms = moment.now.as_millis() as u64;
        let (mut at, mut all_bytes) = (0, 0);
        while at < flows.len() {
            let first = at;
            let index = flows[first];
            // Numbers of flows may have changed their meaning since they were compared.
            let known = caches.flows.get(index).filter(|_| caches.flows.removals() == removals);
            let found;
            let flow: &CachedFlow = match known {
                Some(flow) => {
                    while at < flows.len() && flows[at] == index {
                        at += 1;
                    }
                    tally.hits += (at - first) as u64;
                    flow
                }
                None => {
                    at += 1;
                    found = match index {
                        RUNT => Err(DropReason::Runt),
                        _ => {
                            let key = KeyRef { hot: &keys[first], rare: &rare[first] }.join();
                            caches.flow_of(moment, &key, hashes[first])
                        }
                    };
                    match &found {
                        Ok(flow) => flow,
                        Err(reason) => {
                            all_bytes += u64::from(sizes[first]);
                            tally.settle(rounds.refuse(&members[first], *reason));
                            continue;
                        }
                    }
                }
            };
            let run = (at - first) as u64;
            let bytes = sizes[first..at].iter().map(|size| u64::from(*size)).sum();
            all_bytes += bytes;
            flow.count(run, bytes, now_ms);
            match (flow.only_output, flow.drop) {
                (Some(port), _) if is_first_pass => {
                    egress.push_run(port, first..at);
                    tally.done.queued += run;
                    continue;
                }
                (_, Some(reason)) if is_first_pass && flow.actions.is_empty() => {
                    tally.drop(run, reason);
                    continue;
                }
                _ => {}
            }
            let admitted = match flow.flood {
                Some(flood) if !moment.is_injected => {
                    let control = caches.policy.storm_control();
                    let frames = Frames { number: run, copies: flow.copies };
                    storm.admit(control, moment.in_port, flood, moment.now, frames) as usize
                }
                _ => at - first,
            };
            let (admitted, refused) = members[first..at].split_at(admitted);
            for member in admitted {
                let env = Env { batch, egress, recirculations: &mut rounds.asked };
                let executed = execute(&flow.actions, env, member.frame, member.origin.into());
                tally.settle(rounds.settle(member, executed, flow.drop));
            }
            if is_first_pass {
                tally.drop(refused.len() as u64, DropReason::Storm);
            } else {
                for member in refused {
                    tally.settle(rounds.refuse(member, DropReason::Storm));
                }
            }
        }
        all_bytes
    }
}

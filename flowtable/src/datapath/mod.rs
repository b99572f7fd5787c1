//! The fast path of one worker: extracts the keys of received frames, looks them up in caches, and executes the
//! actions of the flows that it finds.
//!
//! A worker owns a [`Datapath`]. The counters and cached flows that it writes are the only memory that other
//! threads read. Emptying the caches at any moment does not change how frames are forwarded.
//!
//! # A batch
//!
//! Each stage runs for the whole batch before the next one begins, so that the CPU can overlap the memory
//! accesses of many packets:
//!
//! 1. Extract and hash the key of every frame.
//! 2. Look up the hashes: each names a cached flow, or none (`signatures`).
//! 3. Compare each key with its flow, and the stamp of the flow with the policy's generation.
//! 4. Execute the actions, in the order of the frames. Successive frames of one flow are executed and counted
//!    together. A frame without a flow takes the slow path in this stage.
//!
//! Frames that are recirculated (`DpAction::Recirculate`) wait until the stages are done. Then they go through
//! the same stages as a batch of their own, until no frame waits (`rounds`). Budgets and storm control apply in
//! every pass. A frame of an established connection is spared the second pass, if nothing has changed
//! (`tracked`, `shortcuts`), and so is one that begins a connection (`newcomers`).
//!
//! A frame that hits the cache costs no allocation, no lock and no locked instruction, in every pass. Only a
//! frame whose connection is looked up (`DpAction::Ct`) and may be known, one whose connection begins, and each
//! TCP segment of a connection take the lock of the connection's shard. The first datagram of a connection in a
//! millisecond costs a locked instruction.
//!
//! # The slow path
//!
//! A frame may belong to a cached flow that no signature names, so a few masks are probed (`flow_table`). If
//! that fails, the packet is translated ([`Policy::translate`]), provided that its port has budget for a
//! translation ([`overload`](crate::overload)). Flows with equal mask and masked key are one flow (`caches`).

mod answer;
mod cached_flow;
mod caches;
mod counters;
mod edit;
mod egress;
mod execute;
mod flow_table;
mod inject;
mod kernel_flows;
mod meter_use;
mod nat;
mod newcomers;
mod punt;
mod registry;
mod rounds;
mod segment;
mod shortcuts;
mod signatures;
mod tracked;

#[cfg(test)]
mod tests;

pub use cached_flow::CachedFlow;
pub use counters::{CacheStats, Counter, PortCounters};
pub use egress::Egress;
pub use execute::{Env, Executed, Recirculation, execute};
pub use inject::{Ingress, Resumed};
pub use kernel_flows::KernelFlows;
pub use punt::{Punt, PuntQueue, Punts};
pub use registry::FlowRegistry;
pub(crate) use rounds::MAX_RECIRCULATIONS;

use crate::conntrack::CtBudget;
use crate::overload::{Frames, Storm, UpcallLimit};
use crate::policy::Policy;
use caches::Caches;
use flow::extract::{Arrival, extract_by_call, extract_into};
use flow::key::{HotKey, KeyRef, RareHeaders};
use flow::metric::CacheMetric;
use flow::types::PortNo;
use flow::verdict::{DpAction, DropReason};
use packet::wire::ethernet;
use packet::{Batch, MAX_BATCH};
use rounds::{Outcome, Pass, PassMember, RECEIVED, Rounds};
use shortcuts::{ShortcutEnd, Shortcuts};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tracked::{Stage, TrackedRun};

/// The sizes of a worker's caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// How many entries the signature cache has, of four bytes each; 0 turns this cache off.
    pub emc_entries: usize,
    /// How many flows are cached at most; 0 turns all caching off.
    pub max_flows: usize,
    /// How many masks are probed at most for a frame that no signature matches, up to 8; 0 turns probing off.
    pub max_probes: usize,
    /// How many translations of new flows a port may cause; `None` sets no limit.
    pub upcalls: Option<UpcallLimit>,
}

impl CacheConfig {
    /// No caches: every packet is translated. Tests compare the frames that are sent with those
    /// of a datapath with caches.
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

/// The counters of one worker, by the datapath's number of the port.
pub type Counters = Vec<Arc<PortCounters>>;

/// The fast path of one worker.
pub struct Datapath {
    caches: Caches,
    shortcuts: Box<Shortcuts>,
    storm: Storm,
    /// What ports may begin of connections.
    begun: Box<CtBudget>,
    scratch: Box<Scratch>,
    rounds: Box<Rounds>,
    vlan_limit: u8,
    /// Where packets for controllers wait; `None` drops them.
    punts: Option<Arc<PuntQueue>>,
    /// Where flows go that are hit; `None`: nowhere.
    kernel: Option<Arc<dyn KernelFlows>>,
    /// Number of frames of the last batch whose flows may be offered to the kernel.
    offered: usize,
    /// Full batches since flows were last offered to the kernel.
    full_batches: u32,
    /// Other batches in a row behind which frames waited, so that the kernel was given no flow.
    late_batches: u32,
}

/// How many received frames of a batch were queued, and how many dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processed {
    /// Frames with at least one output, which wait in the [`Egress`], of which packets wait for controllers, or
    /// which wait for the other fragments of their packet.
    pub queued: u64,
    /// Frames without an output, which are counted with their [`DropReason`].
    pub dropped: u64,
    /// Packets that wait for controllers in the [`PuntQueue`].
    pub punted: u64,
}

/// The results of the stages for the frames of the current pass.
struct Scratch {
    keys: [HotKey; MAX_BATCH],
    /// The segments that few frames have. They are in an array of their own, so that other frames
    /// do not touch its memory.
    rare: [RareHeaders; MAX_BATCH],
    hashes: [u64; MAX_BATCH],
    sizes: [u32; MAX_BATCH],
    flows: [u32; MAX_BATCH],
}

/// Number of full batches behind which the kernel is given flows although frames wait: an
/// overloaded port has no others.
const MOST_FULL_BATCHES: u32 = 16;
/// The same for batches that are not full. Hosts that answer each other may be so quick that a frame waits
/// behind each batch.
const MOST_LATE_BATCHES: u32 = 3;
/// In place of the number of a flow: no signature names a flow for the frame.
const UNKNOWN: u32 = u32::MAX;
/// In place of a hash: nobody has needed it. A key with this hash, if there is any, is hashed twice.
const UNHASHED: u64 = 0;
/// In place of the number of a flow: the frame is shorter than an Ethernet header.
const RUNT: u32 = u32::MAX - 1;

/// The properties that all frames of a batch have in common.
#[derive(Clone, Copy)]
struct Moment {
    now: Duration,
    generation: u64,
    in_port: PortNo,
    /// Whether the frame is a packet-out, for which neither budgets nor storm control apply.
    is_injected: bool,
}

/// The counts of a batch.
struct Tally<'c> {
    counters: &'c PortCounters,
    done: Processed,
    /// How many times a signature named the flow of a frame, in all passes.
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

    /// Counts the outcome of a received frame; `None` if it is not known yet.
    #[inline]
    fn settle(&mut self, outcome: Option<Outcome>) {
        let Some(outcome) = outcome else {
            return;
        };
        self.done.punted += u64::from(outcome.punted);
        match outcome.fate() {
            Some(reason) => self.drop(1, reason),
            None => self.done.queued += 1,
        }
    }
}

impl Datapath {
    /// A fast path that asks `policy` for translations. At most `vlan_limit` VLAN tags of a frame are read.
    /// `seed` keys the hash functions, and should be random.
    pub fn new(policy: Arc<Policy>, config: CacheConfig, vlan_limit: u8, seed: u64) -> Self {
        let caches = Caches::new(policy, config, seed);
        Self {
            shortcuts: Box::new(Shortcuts::new(caches.signatures.capacity())),
            caches,
            storm: Storm::default(),
            begun: Box::default(),
            scratch: Box::new(Scratch {
                keys: [HotKey::default(); MAX_BATCH],
                rare: [RareHeaders::default(); MAX_BATCH],
                hashes: [0; MAX_BATCH],
                sizes: [0; MAX_BATCH],
                flows: [UNKNOWN; MAX_BATCH],
            }),
            rounds: Box::default(),
            vlan_limit,
            punts: None,
            kernel: None,
            offered: 0,
            full_batches: 0,
            late_batches: 0,
        }
    }

    /// Puts packets for controllers into `queue` from now on.
    pub fn punt_into(&mut self, queue: Arc<PuntQueue>) {
        self.punts = Some(queue);
    }

    /// Offers flows to `kernel` from now on ([`offer_flows`](Self::offer_flows)).
    pub fn offer_to(&mut self, kernel: Arc<dyn KernelFlows>) {
        self.kernel = Some(kernel);
    }

    /// Offers the flows of the last batch to the kernel cache, except flows that this batch has created. The
    /// caller has to send the frames of the batch before: once a flow is in the kernel, its later frames would
    /// overtake those that are not sent yet.
    ///
    /// `has_more` tells whether the receive queue holds frames that arrived behind the batch. Later frames
    /// would overtake these as well, so the kernel cache then takes no flow. A queue that is never empty would
    /// have no flow in the kernel: behind three such batches in a row, and behind 16 full ones, flows are taken
    /// although frames wait.
    #[inline]
    pub fn offer_flows(&mut self, has_more: impl Fn() -> bool) {
        let Some(kernel) = &self.kernel else { return };
        let offered = std::mem::take(&mut self.offered);
        // Behind a full batch there are more frames as a rule, and no time to look at each flow of it.
        let is_full = offered == MAX_BATCH;
        if is_full && self.full_batches < MOST_FULL_BATCHES {
            self.full_batches += 1;
            return;
        }
        self.full_batches = 0;
        let may_be_late = is_full || self.late_batches >= MOST_LATE_BATCHES;
        let is_late = Cell::new(false);
        let is_in_time = || {
            is_late.set(!may_be_late && has_more());
            !is_late.get()
        };
        let mut before = UNKNOWN;
        let numbers = self.scratch.flows[..offered].iter().filter(|index| {
            let is_other = **index != before;
            before = **index;
            is_other
        });
        let mut flows = numbers.filter_map(|index| self.caches.flows.get(*index));
        kernel.offer(&mut flows, &is_in_time);
        self.late_batches = if is_late.get() { self.late_batches + 1 } else { 0 };
    }

    /// The cached flows, for other threads to read.
    pub fn registry(&self) -> &Arc<FlowRegistry> {
        &self.caches.registry
    }

    /// The counters of the caches, for other threads to read.
    pub fn stats(&self) -> &Arc<CacheStats> {
        &self.caches.stats
    }

    /// A part of the work that waits for a moment without frames: takes out flows that were idle for long, and
    /// gives back the memory of a cache that has emptied. Returns whether there was any such work, and there
    /// may be more.
    pub fn tidy(&mut self) -> bool {
        self.caches.tidy()
    }

    /// Processes the frames of a batch that `in_port` has received, and queues their outputs in `egress`.
    /// Received and dropped frames are counted in `counters`. The caller sends the queued frames and counts
    /// those that were sent.
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
        self.offered = n;
        match batch.tunneled() {
            None => self.extract(in_port, batch),
            Some(_) => self.extract_again(in_port, &RECEIVED[..n], batch),
        }
        let bytes = self.decide(moment, &RECEIVED[..n], batch, egress, &mut tally);
        if self.rounds.has_waiting() {
            self.go_round(moment, batch, egress, &mut tally);
            // The numbers of the flows are those of the last pass now.
            self.offered = 0;
            if let Some(places) = self.shortcuts.outgrown() {
                self.caches.grow_signatures(places);
                self.shortcuts.grow(places);
            }
        }
        self.rounds.found.clear();
        self.shortcuts.end_batch();
        self.caches.end_batch(now, tally.hits, n == MAX_BATCH, self.kernel.as_deref());
        counters.rx_packets.add(n as u64);
        counters.rx_bytes.add(bytes);
        tally.done
    }

    /// Takes the waiting frames through further passes, until none waits.
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

    /// The stages behind extraction, which are the same in every pass. Returns the number
    /// of bytes of all frames.
    fn decide(
        &mut self,
        moment: Moment,
        members: &[PassMember],
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        tally: &mut Tally<'_>,
    ) -> u64 {
        let is_first_pass = members.first().is_some_and(|member| member.round == 0);
        match is_first_pass {
            true => self.look_up(members.len()),
            false => self.look_up_later(members.len()),
        }
        let guessed = self.compare(members.len(), moment.generation, is_first_pass);
        let bytes = self.execute(moment, members, batch, egress, tally);
        if guessed > 0 {
            self.caches.stats[CacheMetric::ProbeHits].add(guessed);
            tally.hits = tally.hits.saturating_sub(guessed);
        }
        bytes
    }

    /// The first stage: computes key, hash and size of each received frame.
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

    /// The first stage of a later pass, and of the first one for frames that came through a tunnel: computes
    /// key, hash and size of each frame, with what is known of the frame beside its bytes.
    ///
    /// Not inlined, so that other frames do not pay for this: each further place that computes hashes could
    /// cost them that the compiler inlines the computation for them.
    #[inline(never)]
    fn extract_again(&mut self, in_port: PortNo, members: &[PassMember], batch: &mut Batch<'_>) {
        let Scratch { keys, rare, hashes, sizes, .. } = &mut *self.scratch;
        let tunneled = batch.tunneled();
        for (i, member) in members.iter().enumerate() {
            let frame = batch.frame_mut(member.frame);
            let arrival = Arrival { port_no: in_port, recirc_id: member.recirc_id };
            let (hot, rare) = (&mut keys[i], &mut rare[i]);
            frame.layers = extract_by_call(hot, rare, arrival, frame.bytes(), self.vlan_limit);
            sizes[i] = frame.size() as u32;
            if let Some(found) = self.rounds.found_of(member) {
                found.write(hot, rare);
            }
            if let Some(tunneled) = tunneled {
                let key = &tunneled.keys[usize::from(member.origin)];
                hot.come_through(rare, key, tunneled.options);
            }
            // In a later pass, the hash may not be needed.
            if member.round == 0 {
                hashes[i] = self.caches.hasher.hash(KeyRef { hot, rare });
            }
        }
    }

    /// The second stage: finds the flow that a signature names for each frame.
    fn look_up(&mut self, n: usize) {
        let Scratch { hashes, flows, .. } = &mut *self.scratch;
        for (hash, flow) in hashes.iter().zip(flows).take(n) {
            *flow = self.caches.signatures.first(*hash).unwrap_or(UNKNOWN);
        }
    }

    /// The second stage of a later pass: as [`look_up`](Self::look_up), but a usual flow that covers the key
    /// saves the hash.
    fn look_up_later(&mut self, n: usize) {
        let Self { caches, scratch, .. } = self;
        let Scratch { keys, rare, hashes, flows, .. } = &mut **scratch;
        let keys = keys.iter().zip(rare).map(|(hot, rare)| KeyRef { hot, rare });
        for ((key, hash), flow) in keys.zip(hashes).zip(flows).take(n) {
            if let Some(index) = caches.later.find(&caches.flows, |flow| flow.covers(key)) {
                (*hash, *flow) = (UNHASHED, index);
                continue;
            }
            *hash = caches.hasher.hash_by_call(key);
            *flow = caches.signatures.first(*hash).unwrap_or(UNKNOWN);
        }
    }

    /// The third stage: drops the flow of a frame if it does not cover the frame's key, or if a change may
    /// concern it. In the first pass, one of a few usual flows may take its place. Returns the number of frames
    /// that got such a flow.
    fn compare(&mut self, n: usize, generation: u64, is_first_pass: bool) -> u64 {
        let Scratch { keys, rare, sizes, flows, .. } = &mut *self.scratch;
        let caches = &self.caches;
        let mut guessed = 0;
        let keys = keys.iter().zip(rare).map(|(hot, rare)| KeyRef { hot, rare });
        for ((key, size), index) in keys.zip(sizes).zip(flows).take(n) {
            if (*size as usize) < ethernet::HEADER_SIZE {
                *index = RUNT;
                continue;
            }
            let flow = caches.flows.get(*index);
            if flow.is_some_and(|flow| caches.is_flow_of(flow, key, generation)) {
                continue;
            }
            // In later passes, the usual flows have been tried.
            let usual = is_first_pass.then(|| caches.usual_flow(key, generation)).flatten();
            guessed += u64::from(usual.is_some());
            *index = usual.unwrap_or(UNKNOWN);
        }
        guessed
    }

    /// The fourth stage: executes the actions of each frame's flow. Frames without a flow take the slow path
    /// first. Returns the number of bytes of all frames.
    fn execute(
        &mut self,
        moment: Moment,
        members: &[PassMember],
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        tally: &mut Tally<'_>,
    ) -> u64 {
        let Self { caches, shortcuts, storm, begun, scratch, rounds, punts, .. } = self;
        let Scratch { keys, rare, hashes, sizes, flows } = &**scratch;
        let flows = &flows[..members.len()];
        let is_first_pass = members.first().is_some_and(|member| member.round == 0);
        let removals = caches.flows.removals();
        let now_ms = moment.now.as_millis() as u64;
        let (mut at, mut all_bytes) = (0, 0);
        while at < flows.len() {
            let first = at;
            let index = flows[first];
            // If a flow was removed since the comparison, its number may be that of another flow.
            let known = caches.flows.get(index).filter(|_| caches.flows.removals() == removals);
            let is_known = known.is_some();
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
                            let key = KeyRef { hot: &keys[first], rare: &rare[first] };
                            let hash = match hashes[first] {
                                UNHASHED => caches.hasher.hash_by_call(key),
                                hash => hash,
                            };
                            caches.flow_of(moment, &key.join(), hash, sizes[first])
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
            // The port is beside what the comparison has read; the other fields are further cache lines.
            if let (Some(port), true) = (flow.only_output, is_first_pass) {
                egress.push_run(port, first..at);
                tally.done.queued += run;
                continue;
            }
            if let (Some(reason), true) = (flow.drop, is_first_pass && flow.actions.is_empty()) {
                tally.drop(run, reason);
                continue;
            }
            let mut stage = Stage {
                policy: &caches.policy,
                punts: punts.as_deref(),
                begun,
                rounds,
                batch,
                egress,
                moment,
            };
            if flow.tracks != 0 && is_first_pass && is_known {
                let (members, keys) = (&members[first..at], &keys[first..at]);
                let (hashes, sizes) = (&hashes[first..at], &sizes[first..at]);
                let run = TrackedRun { flow, index, first, members, keys, hashes, sizes };
                run.execute(&mut stage, caches, shortcuts, tally);
                continue;
            }
            if !is_first_pass && shortcuts.are_wished() && is_known {
                for member in members[first..at].iter().filter(|member| member.round == 1) {
                    let Some(found) = stage.rounds.found_of(member) else { continue };
                    let (connections, signatures) =
                        (stage.policy.connections(), &mut caches.signatures);
                    let end = ShortcutEnd { origin: member.origin, found, flow, index };
                    if let Some(has_evicted) =
                        shortcuts.make(end, connections, signatures, moment.now)
                    {
                        caches.stats[CacheMetric::Admissions].add(1);
                        caches.stats[CacheMetric::SignatureEvictions].add(has_evicted.into());
                    }
                }
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
            let (actions, judged) = match flow.leading_meter() {
                // One charge for all frames of the run.
                Some((meter, rest)) => {
                    let sizes = &sizes[first..first + admitted.len()];
                    (rest, Some(meter.charge(moment.now, sizes)))
                }
                None => (&*flow.actions, None),
            };
            if let ([DpAction::Output(port)], Some(judged)) = (actions, &judged)
                && judged.passes_all()
                && is_first_pass
                && refused.is_empty()
            {
                stage.egress.push_run(*port, first..at);
                tally.done.queued += run;
                continue;
            }
            if is_first_pass && flow.recirculates() {
                keys[first..at].iter().for_each(|key| shortcuts.go_round(key));
            }
            for (n, member) in admitted.iter().enumerate() {
                if let Some(judged) = &judged {
                    if judged.drops(n) {
                        tally.settle(stage.rounds.refuse(member, DropReason::Meter));
                        continue;
                    }
                    let level = judged.prec_level(n);
                    if level > 0 {
                        edit::raise_drop_precedence(stage.batch.frame_mut(member.frame), level);
                    }
                }
                let executed = stage.execute(flow, actions, member);
                tally.settle(stage.rounds.settle(member, executed, flow.drop));
            }
            if is_first_pass {
                tally.drop(refused.len() as u64, DropReason::Storm);
            } else {
                for member in refused {
                    tally.settle(stage.rounds.refuse(member, DropReason::Storm));
                }
            }
        }
        all_bytes
    }
}

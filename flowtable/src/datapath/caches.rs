//! The caches of one worker, and the slow path behind them: finds the flow of a frame for which no signature
//! names a usable flow, or translates the frame.

use super::cached_flow::{CachedFlow, MaskedHash};
use super::flow_table::{self, FlowTable};
use super::kernel_flows::KernelFlows;
use super::registry::FlowRegistry;
use super::signatures::{self, KeyHasher, Signatures};
use super::{CacheConfig, CacheStats, Moment};
use crate::overload::{Admission, Payer, Source, UpcallBudget, Work};
use crate::policy::changes::RecentRules;
use crate::policy::learning::Learning;
use crate::policy::xlate::{Learn, Translation};
use crate::policy::{News, Policy};
use arrayvec::ArrayVec;
use flow::FlowKey;
use flow::key::KeyRef;
use flow::metric::CacheMetric;
use flow::types::MacAddr;
use flow::verdict::DropReason;
use std::sync::Arc;
use std::time::Duration;

/// The numbers of a few flows to try. Any of them that covers a key has the right verdict, as
/// long as it is fresh.
#[derive(Debug, Default)]
pub(super) struct UsualFlows {
    numbers: ArrayVec<u32, 4>,
    /// Which one the next replaces, if there is no room.
    hand: usize,
}

impl UsualFlows {
    pub(super) fn add(&mut self, number: u32) {
        if self.numbers.contains(&number) {
            return;
        }
        if let Err(full) = self.numbers.try_push(number) {
            self.numbers[self.hand] = full.element();
            self.hand = (self.hand + 1) % self.numbers.len();
        }
    }

    /// The first flow that is as wanted.
    #[inline]
    pub(super) fn find(
        &self,
        flows: &FlowTable,
        mut is_wanted: impl FnMut(&CachedFlow) -> bool,
    ) -> Option<u32> {
        let is_it = |number: &u32| flows.get(*number).is_some_and(|flow| is_wanted(flow));
        self.numbers.iter().copied().find(is_it)
    }
}

/// The caches of one worker. See the [module](self).
pub(super) struct Caches {
    pub(super) policy: Arc<Policy>,
    pub(super) registry: Arc<FlowRegistry>,
    pub(super) stats: Arc<CacheStats>,
    pub(super) hasher: KeyHasher,
    pub(super) signatures: Signatures,
    pub(super) flows: FlowTable,
    /// Flows that track connections, which many keys have in common. They are tried for frames of the first
    /// pass that no signature names a flow for.
    pub(super) tracking: UsualFlows,
    /// Flows of later passes. They are tried before signatures: connections have the keys of their own, and the
    /// flows in common.
    pub(super) later: UsualFlows,
    admission: Admission,
    budget: UpcallBudget,
    /// The recent changes of rules that this worker has read.
    pub(super) recent: RecentRules,
    is_off: bool,
}

impl Caches {
    /// Empty caches that ask `policy` for translations. `seed` keys the hash functions.
    pub(super) fn new(policy: Arc<Policy>, config: CacheConfig, seed: u64) -> Self {
        let hasher = KeyHasher::new(seed);
        let is_off = config.max_flows == 0;
        let signatures = Signatures::new(if is_off { 0 } else { config.emc_entries });
        let max_flows = config.max_flows.min(signatures::MAX_FLOWS);
        let stats = CacheStats::default();
        stats[CacheMetric::Signatures].set(signatures.capacity() as u64);
        stats[CacheMetric::MaxFlows].set(max_flows as u64);
        if let Some(limit) = config.upcalls {
            stats[CacheMetric::BudgetRate].set(limit.rate.into());
            stats[CacheMetric::BudgetBurst].set(limit.burst.into());
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
            tracking: UsualFlows::default(),
            later: UsualFlows::default(),
            hasher,
            signatures,
            budget: UpcallBudget::new(config.upcalls),
            recent: RecentRules::default(),
            is_off,
        }
    }

    /// Whether a flow has the verdict of a packet with this key, at this generation.
    #[inline]
    pub(super) fn is_flow_of(&self, flow: &CachedFlow, key: KeyRef<'_>, generation: u64) -> bool {
        flow.covers(key) && (flow.is_fresh(generation) || self.restamp(flow, generation))
    }

    /// The usual flow that tracks connections and has the verdict of a packet with
    /// this key, at this generation.
    ///
    /// Not inlined, so that frames that have a flow already pay nothing for it.
    #[inline(never)]
    pub(super) fn usual_flow(&self, key: KeyRef<'_>, generation: u64) -> Option<u32> {
        self.tracking.find(&self.flows, |flow| self.is_flow_of(flow, key, generation))
    }

    /// Stamps a flow with `generation` unless a change since its stamp may concern the
    /// flow. Returns whether it did.
    ///
    /// Not inlined, so that the comparison of frames that need no stamp stays small enough to be inlined.
    #[cold]
    #[inline(never)]
    fn restamp(&self, flow: &CachedFlow, generation: u64) -> bool {
        let is_untouched = !flow.is_concerned(self.policy.changes(), &self.recent);
        if is_untouched {
            flow.restamp(generation);
            self.stats[CacheMetric::Restamps].add(1);
        }
        is_untouched
    }

    /// Gives the cache of signatures this many places, all of them empty.
    pub(super) fn grow_signatures(&mut self, places: usize) {
        self.signatures = Signatures::new(places);
        self.stats[CacheMetric::Signatures].set(self.signatures.capacity() as u64);
    }

    /// A part of the work that waits for a moment without frames. Returns whether there was any.
    pub(super) fn tidy(&mut self) -> bool {
        self.reap() || self.flows.shrink()
    }

    /// Takes out some of the flows that other threads have condemned. Returns whether there were any.
    #[inline]
    fn reap(&mut self) -> bool {
        let has_reaped = self.flows.reap();
        if has_reaped {
            self.show_sizes();
        }
        has_reaped
    }

    /// Tells other threads how many flows and masks there are.
    fn show_sizes(&self) {
        self.stats[CacheMetric::Flows].set(self.flows.len() as u64);
        self.stats[CacheMetric::Masks].set(self.flows.masks() as u64);
        self.stats[CacheMetric::ActiveMasks].set(self.flows.active_masks() as u64);
    }

    /// Begins a batch: reads the changes up to `generation`, and removes some of the flows
    /// that other threads have condemned.
    pub(super) fn catch_up(&mut self, generation: u64) {
        if generation > self.recent.read_until() {
            self.policy.changes().follow(&mut self.recent);
        }
        self.reap();
    }

    /// Ends a batch in which signatures named the flow of `hits` frames. `is_full` says whether the batch had
    /// as many frames as a batch can have, and `kernel` has flows in the kernel, if there is one.
    pub(super) fn end_batch(
        &mut self,
        now: Duration,
        hits: u64,
        is_full: bool,
        kernel: Option<&dyn KernelFlows>,
    ) {
        self.stats[CacheMetric::Hits].add(hits);
        let in_kernel = || kernel.map_or(0, KernelFlows::hits);
        self.budget.saw_batch(now, hits, is_full, in_kernel);
        self.stats[CacheMetric::Protecting].set(self.budget.protects().into());
        self.flows.end_batch();
    }

    /// The flow of a packet with this key, valid at the generation of `moment`: a cached flow, or a new one
    /// from a translation. `hash` is the hash of the key, and `size` the size of the packet in bytes.
    ///
    /// # Errors
    /// [`DropReason::UpcallBudget`] if the packet has to be translated and its port has no budget left, and
    /// [`DropReason::Meter`] if the bridge's meter of translations drops the packet.
    pub(super) fn flow_of(
        &mut self,
        moment: Moment,
        key: &FlowKey,
        hash: u64,
        size: u32,
    ) -> Result<Arc<CachedFlow>, DropReason> {
        let is_admitted = |policy: &Policy| {
            moment.is_injected || policy.admits_translation(moment.in_port, size, moment.now)
        };
        if self.is_off {
            if !is_admitted(&self.policy) {
                return Err(DropReason::Meter);
            }
            self.stats[CacheMetric::Misses].add(1);
            return Ok(self.translate(moment, key, Payer::Nobody).0);
        }
        let by_signature = self
            .signatures
            .first(hash)
            .filter(|&i| self.flows.get(i).is_some_and(|f| !f.is_dead() && f.covers(key.parts())));
        let known = by_signature.or_else(|| self.flows.probe(key));
        let (flow, index) = match known {
            Some(index) => match self.refresh(moment, index, key) {
                Some(flow) => {
                    let level = if by_signature.is_some() {
                        &self.stats[CacheMetric::Hits]
                    } else {
                        &self.stats[CacheMetric::ProbeHits]
                    };
                    level.add(1);
                    (flow, Some(index))
                }
                // The verdict has changed: the flow was paid for when it was new.
                None => self.translate(moment, key, Payer::Nobody),
            },
            None => {
                if !is_admitted(&self.policy) {
                    return Err(DropReason::Meter);
                }
                let source = Source { port: moment.in_port, mac: MacAddr(key.headers.dl_src) };
                let is_established = || self.registry.established().contains(source);
                let payer = match moment.is_injected {
                    true => Some(Payer::Nobody),
                    false => self.budget.admit(moment.now, source, is_established),
                };
                let Some(payer) = payer else {
                    self.stats[CacheMetric::Refused].add(1);
                    return Err(DropReason::UpcallBudget);
                };
                self.stats[CacheMetric::Misses].add(1);
                self.stats[CacheMetric::BudgetUsed].add(self.budget.protects().into());
                self.translate(moment, key, payer)
            }
        };
        match index {
            Some(index) if key.recirc_id.get() != 0 => self.later.add(index),
            Some(index) if flow.tracks != 0 => self.tracking.add(index),
            _ => {}
        }
        if let Some(index) = index.filter(|index| by_signature != Some(*index)) {
            self.remember(hash, index);
        }
        Ok(flow)
    }

    /// The flow with this number, if its verdict is still right, if need be after another translation.
    /// Otherwise the flow is removed.
    fn refresh(&mut self, moment: Moment, index: u32, key: &FlowKey) -> Option<Arc<CachedFlow>> {
        let flow = self.flows.get(index)?;
        if flow.is_fresh(moment.generation) || self.restamp(flow, moment.generation) {
            return Some(Arc::clone(flow));
        }
        self.retranslate(moment, index, key)
    }

    #[cold]
    fn retranslate(
        &mut self,
        moment: Moment,
        index: u32,
        key: &FlowKey,
    ) -> Option<Arc<CachedFlow>> {
        let flow = self.flows.get(index)?;
        self.stats[CacheMetric::Retranslations].add(1);
        if flow.is_concerned_by_hosts(self.policy.changes()) {
            self.policy.translated_for_hosts();
        }
        let translation = self.policy.translate(key);
        let watched = self.policy.changes().watch(
            &translation.hosts,
            &translation.rules_to_learn,
            &translation.depends,
        );
        if flow.agrees_with(&translation, &watched) && !flow.is_dead() {
            let news = self.policy.learn(&translation.learn, moment.now);
            self.policy.learn_neighbour(translation.neighbour.as_ref(), moment.now);
            if !self.change_rules(&translation, moment.now) {
                self.flows.remove(index);
                return None;
            }
            let flow = self.flows.get(index)?;
            flow.restamp(stamp_after(moment.generation, &translation, news));
            self.stats[CacheMetric::Revalidated].add(1);
            return Some(Arc::clone(flow));
        }
        self.flows.remove(index);
        None
    }

    /// Learns rules and shortens timeouts as a translation says. Returns false if a rule could not be learned.
    fn change_rules(&self, translation: &Translation, now: Duration) -> bool {
        if translation.rules_to_learn.is_empty() && translation.shortened.is_empty() {
            return true;
        }
        let Learning { learned, refused } = self.policy.change_rules(translation, now);
        self.stats[CacheMetric::Learned].add(learned);
        self.stats[CacheMetric::LearningRefused].add(refused);
        refused == 0
    }

    /// Translates a packet. Returns the flow and its number: a new flow, or a cached one with the same mask,
    /// masked key and verdict. The number is `None` for a flow that is not cached and serves this packet only.
    #[cold]
    fn translate(
        &mut self,
        moment: Moment,
        key: &FlowKey,
        payer: Payer,
    ) -> (Arc<CachedFlow>, Option<u32>) {
        let translation = self.policy.translate(key);
        let watched = self.policy.changes().watch(
            &translation.hosts,
            &translation.rules_to_learn,
            &translation.depends,
        );
        let news = self.policy.learn(&translation.learn, moment.now);
        let has_learned_rules = self.change_rules(&translation, moment.now);
        self.policy.saw_sender(key, &translation.learn, news.is_any);
        self.policy.learn_neighbour(translation.neighbour.as_ref(), moment.now);
        let work = Work {
            lookups: translation.rules.len() + translation.misses.len(),
            steps: translation.steps,
            has_learned: news.is_any,
        };
        self.budget.charge(payer, work);
        let stamp = stamp_after(moment.generation, &translation, news);
        // A made-up host does not send a second frame. While established traffic is protected, the flow of a
        // new host is cached with its second frame only, because each cached flow displaces another one.
        let waits =
            translation.is_passing || !has_learned_rules || news.is_any && self.budget.protects();
        if waits || !self.is_worth_a_place(&translation, key) {
            let masked = MaskedHash::default();
            let flow = CachedFlow::new(key, translation, stamp, moment.now, masked, watched);
            return (self.flows.receive_guest(flow), None);
        }
        let (mut masked, same) = self.flows.masked_hash(&translation.mask, key);
        if let Some(index) = same {
            let agrees = self
                .flows
                .get(index)
                .filter(|f| f.agrees_with(&translation, &watched) && !f.is_dead());
            if let Some(flow) = agrees {
                flow.restamp(stamp);
                return (Arc::clone(flow), Some(index));
            }
            self.flows.remove(index);
            (masked, _) = self.flows.masked_hash(&translation.mask, key);
        }
        let flow = CachedFlow::new(key, translation, stamp, moment.now, masked, watched);
        let flow = Arc::new(flow);
        let (index, evicted) = self.flows.insert(Arc::clone(&flow));
        self.stats[CacheMetric::Evictions].add(u64::from(evicted));
        self.show_sizes();
        (flow, Some(index))
    }

    /// Whether the flow of this translation should be cached, or is cached already.
    fn is_worth_a_place(&mut self, translation: &Translation, key: &FlowKey) -> bool {
        let hits = self.stats[CacheMetric::Hits].get() + self.stats[CacheMetric::ProbeHits].get();
        !self.is_off
            && (self.admission.admits(self.flows.is_full(), hits)
                || self.flows.has(&translation.mask, key))
    }

    /// Writes the signature that names flow `index` for packets with this hash.
    fn remember(&mut self, hash: u64, index: u32) {
        let flows = &self.flows;
        // Times are rounded to about a second, so that flows in use count as equally recent.
        let used = |i: u32| flows.get(i).map(|f| f.used_ms() >> 10);
        let evicted = self.signatures.insert(hash, index, used);
        self.stats[CacheMetric::Admissions].add(1);
        self.stats[CacheMetric::SignatureEvictions].add(u64::from(evicted));
    }
}

/// The generation up to which a translation is known to be right. This is the generation at which the
/// translation was made. It is the next one if the only change between them is the announcement of hosts that
/// the translation itself has learned, and if the translation did not look up these hosts.
fn stamp_after(generation: u64, translation: &Translation, news: News) -> u64 {
    let Translation { learn, hosts, .. } = translation;
    // `hosts` has a learned host once for each time that it was learned. Further occurrences are lookups.
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

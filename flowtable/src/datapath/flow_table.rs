//! The cached flows of a worker, found by their number, or by mask and masked key.
//!
//! Flows with the same mask and masked key are one flow. To find the flow of a packet without a
//! number, the packet's key is probed under one mask after the other. Real rule sets have hundreds
//! of masks, and an attacker can cause more. So only a few *active* masks are probed: those that
//! would have found at least one flow in [`WORTH`] of the recent misses. The number of probes is
//! bounded, whatever the rules are.

use super::cached_flow::{CachedFlow, MaskedHash};
use super::registry::FlowRegistry;
use super::signatures::KeyHasher;
use flow::key::FLOW_WORDS;
use flow::{FlowKey, FlowMask};
use hashbrown::{HashMap, HashTable};
use std::sync::Arc;

/// Number of masks that are probed, at most.
pub(super) const MAX_ACTIVE: usize = 8;
/// A mask is active if it finds at least one flow in this number of misses. A translation costs as
/// much as a few dozen probes.
const WORTH: u32 = 32;
/// Number of misses after which the active masks are chosen again.
const PERIOD: u32 = 512;
/// Number of flows that an eviction chooses from.
const SAMPLE: usize = 8;
/// Number of places that a table keeps, however few flows it has.
const SPARE_PLACES: usize = 4096;

/// The flow table of one worker. See the [module](self).
#[derive(Debug)]
pub(super) struct FlowTable {
    flows: Vec<Option<Arc<CachedFlow>>>,
    /// The latest flow that got no place in the table.
    guest: Option<Arc<CachedFlow>>,
    /// Flows that recirculate frames and were taken out during this batch. Their frames may still
    /// wait for the next pass, whose state lives as long as the flow.
    gone: Vec<Arc<CachedFlow>>,
    free: Vec<u32>,
    len: usize,
    capacity: usize,
    by_cover: HashTable<u32>,
    hasher: KeyHasher,
    masks: Vec<Mask>,
    mask_ids: HashMap<[u64; FLOW_WORDS], u32, ahash::RandomState>,
    free_masks: Vec<u32>,
    active: Vec<u32>,
    max_active: usize,
    misses: u32,
    /// The place at which the next eviction begins to look.
    hand: usize,
    /// Number of flows taken out so far. If it has changed, a flow's number may be another flow's now.
    removals: u64,
    /// The latest serial number of a flow.
    serial: u32,
    registry: Arc<FlowRegistry>,
}

/// A mask of one or more flows.
#[derive(Debug)]
struct Mask {
    mask: FlowMask,
    /// Index and value of each word that is not zero.
    words: Vec<(usize, u64)>,
    flows: u32,
    /// Number of misses of this period that a probe under this mask has found or would have found.
    finds: u32,
}

impl FlowTable {
    /// Makes a table with room for `capacity` flows that probes at most `max_active` masks. Other
    /// threads see its flows through `registry`.
    pub(super) fn new(
        capacity: usize,
        max_active: usize,
        hasher: KeyHasher,
        registry: Arc<FlowRegistry>,
    ) -> Self {
        Self {
            flows: Vec::new(),
            guest: None,
            gone: Vec::new(),
            free: Vec::new(),
            len: 0,
            capacity,
            by_cover: HashTable::new(),
            mask_ids: HashMap::with_hasher(ahash::RandomState::with_seeds(
                hasher.hash_words(1, std::iter::empty()),
                2,
                3,
                4,
            )),
            hasher,
            masks: Vec::new(),
            free_masks: Vec::new(),
            active: Vec::new(),
            max_active,
            misses: 0,
            hand: 0,
            removals: 0,
            serial: 0,
            registry,
        }
    }

    /// A flow by its number.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Arc<CachedFlow>> {
        self.flows.get(index as usize)?.as_ref()
    }

    /// Keeps a flow that gets no place in the table until the next one comes, so that its packets are counted.
    pub(super) fn receive_guest(&mut self, flow: CachedFlow) -> Arc<CachedFlow> {
        self.dismiss_guest();
        let flow = Arc::new(flow);
        self.guest = Some(Arc::clone(&flow));
        flow
    }

    /// Ends a batch: drops the flows that only its frames needed.
    #[inline]
    pub(super) fn end_batch(&mut self) {
        self.dismiss_guest();
        if !self.gone.is_empty() {
            self.gone.clear();
        }
    }

    /// Drops the flow without a place, after adding its packets to the counters of its rules.
    #[inline]
    fn dismiss_guest(&mut self) {
        if let Some(guest) = self.guest.take() {
            guest.push_stats(self.registry.lookups());
            self.hold(guest);
        }
    }

    /// Keeps a flow that was taken out until the end of the batch, if waiting frames may need it.
    fn hold(&mut self, flow: Arc<CachedFlow>) {
        if flow.recirculates() {
            self.gone.push(flow);
        }
    }

    /// Whether the table has no room for another flow.
    pub(super) fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    /// Whether the table has a flow with this mask and masked key.
    pub(super) fn has(&self, mask: &FlowMask, key: &FlowKey) -> bool {
        let id = self.mask_ids.get(mask.words());
        id.is_some_and(|&id| self.find(id, self.hash(id, key), key).is_some())
    }

    /// Number of flows taken out so far.
    #[inline]
    pub(super) fn removals(&self) -> u64 {
        self.removals
    }

    /// Number of flows in the table, without the guest.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Number of masks that flows have.
    pub(super) fn masks(&self) -> usize {
        self.mask_ids.len()
    }

    /// Number of masks that are probed.
    pub(super) fn active_masks(&self) -> usize {
        self.active.len()
    }

    /// Probes the active masks for a flow that covers the key. Returns the flow's number.
    pub(super) fn probe(&mut self, key: &FlowKey) -> Option<u32> {
        self.misses += 1;
        if self.misses >= PERIOD {
            self.choose_active();
        }
        for at in 0..self.active.len() {
            let id = self.active[at];
            let hash = self.hash(id, key);
            if let Some(index) = self.find(id, hash, key) {
                self.masks[id as usize].finds += 1;
                return Some(index);
            }
        }
        None
    }

    /// The key under which a flow with this mask and key is filed, and the number of the flow that
    /// the table has there, if any.
    pub(super) fn masked_hash(
        &mut self,
        mask: &FlowMask,
        key: &FlowKey,
    ) -> (MaskedHash, Option<u32>) {
        let mask_id = self.mask_id(mask);
        let hash = self.hash(mask_id, key);
        let found = self.find(mask_id, hash, key);
        if found.is_some() {
            self.masks[mask_id as usize].finds += 1;
        }
        // 0 is the number of flows without a place.
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        (MaskedHash { mask_id, hash, serial: self.serial }, found)
    }

    /// Adds a flow and returns its number. In a full table a flow that has not been used for long
    /// is evicted; the second value tells whether that happened.
    pub(super) fn insert(&mut self, flow: Arc<CachedFlow>) -> (u32, bool) {
        self.masks[flow.mask_id as usize].flows += 1;
        let evicted = self.is_full() && self.evict();
        let index = self.free.pop().unwrap_or(self.flows.len() as u32);
        let slot = Some(Arc::clone(&flow));
        match self.flows.get_mut(index as usize) {
            Some(place) => *place = slot,
            None => self.flows.push(slot),
        }
        let flows = &self.flows;
        let hash_of = |&i: &u32| flows[i as usize].as_ref().map_or(0, |f| f.hash);
        self.by_cover.insert_unique(flow.hash, index, hash_of);
        self.registry.put(index, flow);
        self.len += 1;
        (index, evicted)
    }

    /// Takes a flow out and gives it up, after adding its packets to the counters of its rules.
    pub(super) fn remove(&mut self, index: u32) {
        let Some(flow) = self.flows.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        if let Ok(entry) = self.by_cover.find_entry(flow.hash, |&i| i == index) {
            entry.remove();
        }
        let mask = &mut self.masks[flow.mask_id as usize];
        mask.flows -= 1;
        if mask.flows == 0 {
            self.mask_ids.remove(mask.mask.words());
            self.active.retain(|&id| id != flow.mask_id);
            self.free_masks.push(flow.mask_id);
        }
        self.registry.take(index);
        flow.condemn();
        flow.push_stats(self.registry.lookups());
        self.free.push(index);
        self.len -= 1;
        self.removals += 1;
        self.hold(flow);
    }

    /// Takes out some of the flows that other threads have condemned. However many there are, a batch of frames
    /// waits for few of them. Returns whether there were any.
    #[inline]
    pub(super) fn reap(&mut self) -> bool {
        let Some(condemned) = self.registry.take_condemned() else {
            return false;
        };
        for index in condemned {
            if self.get(index).is_some_and(|f| f.is_dead()) {
                self.remove(index);
            }
        }
        true
    }

    /// Gives back the memory of a table that has become much smaller. Takes time in proportion to the size that
    /// the table had. Returns whether there was anything to give back.
    pub(super) fn shrink(&mut self) -> bool {
        if self.flows.len() <= SPARE_PLACES.max(self.len * 4) {
            return false;
        }
        let end = self.flows.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let is_smaller = end < self.flows.len();
        self.flows.truncate(end);
        self.flows.shrink_to_fit();
        self.free.retain(|index| (*index as usize) < end);
        self.free.shrink_to_fit();
        self.registry.shrink(end);
        let flows = &self.flows;
        let hash_of = |&i: &u32| flows[i as usize].as_ref().map_or(0, |f| f.hash);
        self.by_cover.shrink_to(self.len, hash_of);
        is_smaller
    }

    /// Takes out the least recently used of [`SAMPLE`] flows.
    fn evict(&mut self) -> bool {
        let n = self.flows.len();
        let sample = (0..n.min(SAMPLE)).map(|i| ((self.hand + i) % n) as u32);
        let oldest = sample
            .filter_map(|index| Some((self.get(index)?.used_ms(), index)))
            .min()
            .map(|(_, index)| index);
        self.hand = (self.hand + SAMPLE) % n.max(1);
        oldest.map(|index| self.remove(index)).is_some()
    }

    fn find(&self, mask_id: u32, hash: u64, key: &FlowKey) -> Option<u32> {
        let covers = |&i: &u32| {
            let flow = self.flows[i as usize].as_ref();
            flow.is_some_and(|f| f.mask_id == mask_id && f.covers(key.parts()) && !f.is_dead())
        };
        self.by_cover.find(hash, covers).copied()
    }

    fn hash(&self, mask_id: u32, key: &FlowKey) -> u64 {
        let mask = &self.masks[mask_id as usize];
        let masked = mask.words.iter().map(|&(i, m)| (i, key.words()[i] & m));
        self.hasher.hash_words(u64::from(mask_id), masked)
    }

    fn mask_id(&mut self, mask: &FlowMask) -> u32 {
        if let Some(&id) = self.mask_ids.get(mask.words()) {
            return id;
        }
        let words = mask.words().iter().copied().enumerate().filter(|&(_, m)| m != 0).collect();
        let new = Mask { mask: *mask, words, flows: 0, finds: 0 };
        let id = match self.free_masks.pop() {
            Some(id) => {
                self.masks[id as usize] = new;
                id
            }
            None => {
                self.masks.push(new);
                self.masks.len() as u32 - 1
            }
        };
        self.mask_ids.insert(*mask.words(), id);
        id
    }

    /// Chooses the active masks: those that would have found most of the recent misses.
    fn choose_active(&mut self) {
        let needed = std::mem::take(&mut self.misses) / WORTH;
        let mut worthy: Vec<(u32, u32)> = Vec::with_capacity(MAX_ACTIVE + 1);
        for (id, mask) in self.masks.iter_mut().enumerate() {
            let finds = std::mem::take(&mut mask.finds);
            if finds >= needed && mask.flows > 0 {
                worthy.push((finds, id as u32));
            }
        }
        worthy.sort_unstable_by(|a, b| b.cmp(a));
        self.active.clear();
        self.active.extend(worthy.iter().take(self.max_active).map(|&(_, id)| id));
    }
}

//! A worker's cached flows, found by number or by what they cover.
//!
//! Flows with the same mask and masked key are one flow. To find the flow of a packet without its
//! number, its key is probed under one mask after the other. Rule sets of real size have hundreds
//! of masks, and an attacker can make more of them than that; so only the few *active* masks are
//! probed: those that would have found at least one in [`WORTH`] of the latest misses. A mask that
//! does not earn its place is not probed, and the number of probes is bounded whatever the rules.

use super::cached_flow::{CachedFlow, MaskedHash};
use super::registry::FlowRegistry;
use super::signatures::KeyHasher;
use flow::key::FLOW_WORDS;
use flow::{FlowKey, FlowMask};
use hashbrown::{HashMap, HashTable};
use std::sync::Arc;

/// Masks that are probed at most.
pub(super) const MAX_ACTIVE: usize = 8;
/// An active mask finds at least one in so many misses: a translation costs as much as some dozen
/// probes.
const WORTH: u32 = 32;
/// Misses between two choices of the active masks.
const PERIOD: u32 = 512;
/// Flows looked at to find one to evict.
const SAMPLE: usize = 8;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct FlowTable {
    flows: Vec<Option<Arc<CachedFlow>>>,
    /// The latest flow that was not worth a place.
    guest: Option<Arc<CachedFlow>>,
    /// Flows that went during this batch, of those that let frames go round: these frames wait, and the
    /// state that goes on with them lives as long as the flow.
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
    /// Where the search for a flow to evict goes on.
    hand: usize,
    /// Flows taken out, ever: tells that numbers may have changed their meaning.
    removals: u64,
    registry: Arc<FlowRegistry>,
}

/// A mask that flows have.
#[derive(Debug)]
struct Mask {
    mask: FlowMask,
    /// The words that are not zero.
    words: Vec<(usize, u64)>,
    flows: u32,
    /// Misses of this period that a probe found, or would have found.
    finds: u32,
}

impl FlowTable {
    /// Room for `capacity` flows, of which others learn through `registry`, and no more than
    /// `max_active` masks probed.
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
            registry,
        }
    }

    /// A flow by its number.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Arc<CachedFlow>> {
        self.flows.get(index as usize)?.as_ref()
    }

    /// Takes care of what a flow counts that is not worth a place.
    pub(super) fn receive_guest(&mut self, flow: CachedFlow) -> Arc<CachedFlow> {
        self.dismiss_guest();
        let flow = Arc::new(flow);
        self.guest = Some(Arc::clone(&flow));
        flow
    }

    /// No frame needs a flow any more that is not in the table.
    #[inline]
    pub(super) fn end_batch(&mut self) {
        self.dismiss_guest();
        if !self.gone.is_empty() {
            self.gone.clear();
        }
    }

    /// Lets the guest go. What it counted is not lost.
    #[inline]
    fn dismiss_guest(&mut self) {
        if let Some(guest) = self.guest.take() {
            guest.push_stats(self.registry.lookups());
            self.hold(guest);
        }
    }

    /// Keeps a flow that goes until the end of the batch, if frames may wait that need it.
    fn hold(&mut self, flow: Arc<CachedFlow>) {
        if flow.recirculates() {
            self.gone.push(flow);
        }
    }

    /// There is no room for another flow.
    pub(super) fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    /// Whether there is a flow that covers exactly the packets that agree with `key` under `mask`.
    pub(super) fn has(&self, mask: &FlowMask, key: &FlowKey) -> bool {
        let id = self.mask_ids.get(mask.words());
        id.is_some_and(|&id| self.find(id, self.hash(id, key), key).is_some())
    }

    /// Flows taken out, ever.
    #[inline]
    pub(super) fn removals(&self) -> u64 {
        self.removals
    }

    /// Number of flows.
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

    /// Probes the active masks for a flow that covers the key.
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

    /// By what a flow with this mask and key is filed, and the number of the flow in the table if there is one that
    /// covers exactly the packets that agree with `key` under `mask`.
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
        (MaskedHash { mask_id, hash }, found)
    }

    /// Adds a flow at the place that was found for it, and returns its number. If there is no room,
    /// one that has not been used for long goes; that is told, too.
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

    /// Takes a flow out. What it counted is not lost.
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

    /// Takes out what others have condemned.
    #[inline]
    pub(super) fn reap(&mut self) {
        if let Some(condemned) = self.registry.take_condemned() {
            for index in condemned {
                if self.get(index).is_some_and(|f| f.is_dead()) {
                    self.remove(index);
                }
            }
        }
    }

    /// Of some flows, takes out the one that was used last the longest ago.
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

    /// Probes from now on the masks that found most, or would have.
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

//! Exact-match cache: the packet's key to its cached flow.
//!
//! Fixed size, two places for each key. A new flow takes the place that is empty or given up, else
//! the one that was not used last. The hash is keyed, so that nobody can aim at one place.

use super::cached_flow::CachedFlow;
use crate::flow::FlowKey;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// Places for each key.
const WAYS: usize = 2;

/// One worker's cache.
#[derive(Debug)]
pub(super) struct Emc {
    entries: Vec<Option<Entry>>,
    /// Sets minus one; there is a power of two of them.
    set_mask: usize,
    hasher: ahash::RandomState,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    key: FlowKey,
    flow: Arc<CachedFlow>,
}

impl Emc {
    /// A cache for about `entries` flows, rounded up to a power of two; 0 turns it off.
    pub(super) fn new(entries: usize, seed: u64) -> Self {
        let entries = if entries == 0 { 0 } else { entries.next_power_of_two().max(WAYS) };
        Self {
            entries: std::iter::repeat_with(|| None).take(entries).collect(),
            set_mask: (entries / WAYS).wrapping_sub(1),
            hasher: ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(17), 0xe3c),
        }
    }

    /// The hash of a key.
    #[inline]
    pub(super) fn hash(&self, key: &FlowKey) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u16(key.shape.get());
        for word in &key.words()[..used_words(key)] {
            hasher.write_u64(*word);
        }
        hasher.finish()
    }

    /// The flow of a key.
    #[inline]
    pub(super) fn lookup(&self, key: &FlowKey, hash: u64) -> Option<&Arc<CachedFlow>> {
        let n = used_words(key);
        let first = self.first(hash)?;
        self.entries[first..first + WAYS]
            .iter()
            .flatten()
            .find(|e| {
                e.hash == hash && e.key.shape == key.shape && e.key.words()[..n] == key.words()[..n]
            })
            .map(|e| &e.flow)
    }

    /// Remembers a flow and returns the one that had to go.
    pub(super) fn insert(&mut self, hash: u64, flow: Arc<CachedFlow>) -> Option<Arc<CachedFlow>> {
        let Some(first) = self.first(hash) else {
            return Some(flow);
        };
        let set = &mut self.entries[first..first + WAYS];
        let place = |e: &Option<Entry>| match e {
            None => 0,
            Some(e) if e.key == flow.key || e.flow.is_dead() => 1,
            Some(e) => 2 + e.flow.used().as_millis(),
        };
        let way = (0..WAYS).min_by_key(|&i| place(&set[i]))?;
        let entry = Entry { hash, key: flow.key, flow };
        set[way].replace(entry).map(|old| old.flow)
    }

    /// Places in all.
    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    fn first(&self, hash: u64) -> Option<usize> {
        (!self.entries.is_empty()).then(|| (hash as usize & self.set_mask) * WAYS)
    }
}

#[inline]
fn used_words(key: &FlowKey) -> usize {
    usize::from(key.shape.get()).min(crate::flow::key::FLOW_WORDS)
}

//! The rules of one mask: a hash table of masked keys.

use super::rule::{Rank, RuleId};
use crate::flow::{PipelineKey, PipelineMask};
use hashbrown::HashTable;
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Subtable {
    mask: PipelineMask,
    rules: HashTable<Cell>,
    ranks: BTreeMap<Rank, ()>,
}

#[derive(Debug)]
struct Cell {
    hash: u64,
    key: PipelineKey,
    rank: Rank,
    id: RuleId,
}

impl Subtable {
    pub(super) fn new(mask: &PipelineMask) -> Self {
        Self { mask: *mask, rules: HashTable::new(), ranks: BTreeMap::new() }
    }

    pub(super) fn mask(&self) -> &PipelineMask {
        &self.mask
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(super) fn best_rank(&self) -> Rank {
        self.ranks.last_key_value().map_or(Rank::new(0, u64::MAX), |(&rank, ())| rank)
    }

    pub(super) fn insert(
        &mut self,
        hasher: &ahash::RandomState,
        key: &PipelineKey,
        id: RuleId,
        rank: Rank,
    ) {
        let hash = hasher.hash_one(key.words());
        self.rules.insert_unique(hash, Cell { hash, key: *key, rank, id }, |c| c.hash);
        self.ranks.insert(rank, ());
    }

    pub(super) fn remove(&mut self, hasher: &ahash::RandomState, key: &PipelineKey, id: RuleId) {
        let hash = hasher.hash_one(key.words());
        if let Ok(found) = self.rules.find_entry(hash, |c| c.id == id) {
            self.ranks.remove(&found.remove().0.rank);
        }
    }

    /// The rules of this mask that cover `key`.
    pub(super) fn lookup(
        &self,
        hasher: &ahash::RandomState,
        key: &PipelineKey,
    ) -> impl Iterator<Item = (Rank, RuleId)> {
        let masked = key.masked(&self.mask);
        let hash = hasher.hash_one(masked.words());
        let cells = self.rules.iter_hash(hash);
        cells.filter(move |c| c.key == masked).map(|c| (c.rank, c.id))
    }
}

//! Finds the best rule for a packet, and says which bits of the packet decided.
//!
//! A rule is a [`Match`], a priority and a value that the classifier does not look into. A lookup
//! returns the value of the matching rule of the highest priority. Of several with that priority
//! (OpenFlow leaves this undefined) the one inserted first wins, so that answers are repeatable.
//!
//! # Versions
//!
//! Every rule is visible to the lookups at versions from the one that added it up to, but not
//! including, the one that removed it. A writer prepares a change of any size under the next
//! version, which nobody uses yet, and publishes all of it by telling the readers that number.
//! Removed rules stay in place for readers of older versions until [`Classifier::purge`].
//!
//! # Masks
//!
//! A lookup adds to its `mask` all bits that it needed: every packet that agrees with the key in
//! these bits gets the same answer at this version.
//!
//! # Basic design
//!
//! Tuple space search: rules with the same mask share a *subtable*, a hash table of masked keys. A
//! lookup probes the subtables in the order of their best rules, and stops at the first one that
//! cannot beat what it has. The mask is the union of the masks of the subtables it probed.
//!
//! The classifier has no locks and no clock. One lock around all tables is held shared for lookups
//! and exclusively for changes.

mod linear;
mod rule;
mod subtable;

#[cfg(test)]
mod tests;

pub use linear::LinearClassifier;
pub use rule::{Entry, RuleId, Version};

use crate::flow::{Match, PipelineKey, PipelineMask};
use rule::{Rank, Rules};
use subtable::Subtable;

/// The rules of one table. See the [module](self).
#[derive(Debug)]
pub struct Classifier<T> {
    rules: Rules<T>,
    subtables: Vec<Subtable>,
    hasher: ahash::RandomState,
}

impl<T> Classifier<T> {
    /// An empty classifier. The seed keys its hash functions.
    pub fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 0x5eed);
        Self { rules: Rules::default(), subtables: Vec::new(), hasher }
    }

    /// Adds a rule that lookups see from `version` on.
    ///
    /// It may equal another rule in match and priority; where both are visible, the older one wins.
    pub fn insert(&mut self, m: &Match, priority: u16, version: Version, value: T) -> RuleId {
        let id = self.rules.insert(m, priority, version, value);
        let rank = self.rules.rank(id);
        let at = match self.subtables.iter().position(|s| s.mask() == m.mask()) {
            Some(at) => at,
            None => {
                self.subtables.push(Subtable::new(m.mask()));
                self.subtables.len() - 1
            }
        };
        self.subtables[at].insert(&self.hasher, m.key(), id, rank);
        self.sort_subtables();
        id
    }

    /// Hides a rule from the lookups at `version` and later. Its place is kept until it is purged.
    ///
    /// Does nothing if the rule does not exist any more.
    pub fn remove(&mut self, id: RuleId, version: Version) {
        self.rules.remove(id, version);
    }

    /// Takes back a [`remove`](Self::remove) that was not published yet.
    pub fn restore(&mut self, id: RuleId) {
        self.rules.restore(id);
    }

    /// Frees rules that no lookup at `oldest` or later can see, at most `budget` of them, oldest
    /// first. Returns how many there were and gives their values to `freed`.
    pub fn purge(&mut self, oldest: Version, budget: usize, freed: &mut impl Extend<T>) -> usize {
        let mut count = 0;
        while count < budget
            && let Some((id, m, value)) = self.rules.pop_removed(oldest)
        {
            if let Some(at) = self.subtables.iter().position(|s| s.mask() == m.mask()) {
                self.subtables[at].remove(&self.hasher, m.key(), id);
                if self.subtables[at].is_empty() {
                    self.subtables.remove(at);
                }
            }
            freed.extend([value]);
            count += 1;
        }
        if count > 0 {
            self.sort_subtables();
        }
        count
    }

    /// The value of the best rule for `key` at `version`. Adds the bits that decided to `mask`.
    pub fn lookup(
        &self,
        key: &PipelineKey,
        version: Version,
        mask: &mut PipelineMask,
    ) -> Option<&T> {
        let mut best: Option<(Rank, RuleId)> = None;
        for subtable in &self.subtables {
            if best.is_some_and(|(rank, _)| rank >= subtable.best_rank()) {
                break;
            }
            for (w, m) in mask.words_mut().iter_mut().zip(subtable.mask().words()) {
                *w |= m;
            }
            for (rank, id) in subtable.lookup(&self.hasher, key) {
                if best.is_none_or(|(r, _)| rank > r) && self.rules.is_visible(id, version) {
                    best = Some((rank, id));
                }
            }
        }
        best.and_then(|(_, id)| self.rules.get(id))
    }

    /// The rule with exactly this match and priority that is visible at `version`.
    pub fn find(&self, m: &Match, priority: u16, version: Version) -> Option<(RuleId, &T)> {
        let subtable = self.subtables.iter().find(|s| s.mask() == m.mask())?;
        subtable
            .lookup(&self.hasher, m.key())
            .filter(|&(rank, id)| rank.priority() == priority && self.rules.is_visible(id, version))
            .max_by_key(|&(rank, _)| rank)
            .and_then(|(_, id)| Some((id, self.rules.get(id)?)))
    }

    /// All rules that are visible at `version`, in no particular order.
    pub fn iter(&self, version: Version) -> impl Iterator<Item = Entry<'_, T>> {
        self.rules.iter(version)
    }

    /// The value of a rule, visible or not, until it is purged.
    pub fn get(&self, id: RuleId) -> Option<&T> {
        self.rules.get(id)
    }

    /// A rule with all that the classifier knows of it, visible or not, until it is purged.
    pub fn entry(&self, id: RuleId) -> Option<Entry<'_, T>> {
        self.rules.entry(id)
    }

    /// Number of rules that have not been removed.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule that has not been removed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of removed rules that wait to be purged.
    pub fn removed_len(&self) -> usize {
        self.rules.removed_len()
    }

    fn sort_subtables(&mut self) {
        self.subtables.sort_by_key(|s| std::cmp::Reverse(s.best_rank()));
    }
}

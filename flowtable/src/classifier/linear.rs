//! The same questions answered by looking at every rule: the oracle in tests.

use super::rule::{Entry, Rank, RuleId, Rules, Version};
use crate::flow::{Match, PipelineKey, PipelineMask};

/// What a [`Classifier`](super::Classifier) must answer, found the obvious way.
#[derive(Debug)]
pub struct LinearClassifier<T> {
    rules: Rules<T>,
}

impl<T> Default for LinearClassifier<T> {
    fn default() -> Self {
        Self { rules: Rules::default() }
    }
}

impl<T> LinearClassifier<T> {
    /// See [`Classifier::insert`](super::Classifier::insert).
    pub fn insert(&mut self, m: &Match, priority: u16, version: Version, value: T) -> RuleId {
        self.rules.insert(m, priority, version, value)
    }

    /// See [`Classifier::remove`](super::Classifier::remove).
    pub fn remove(&mut self, id: RuleId, version: Version) {
        self.rules.remove(id, version);
    }

    /// See [`Classifier::restore`](super::Classifier::restore).
    pub fn restore(&mut self, id: RuleId) {
        self.rules.restore(id);
    }

    /// See [`Classifier::purge`](super::Classifier::purge).
    pub fn purge(&mut self, oldest: Version, budget: usize, freed: &mut impl Extend<T>) -> usize {
        let mut count = 0;
        while count < budget
            && let Some((.., value)) = self.rules.pop_removed(oldest)
        {
            freed.extend([value]);
            count += 1;
        }
        count
    }

    /// See [`Classifier::lookup`](super::Classifier::lookup). The mask holds all bits of all rules.
    pub fn lookup(
        &self,
        key: &PipelineKey,
        version: Version,
        mask: &mut PipelineMask,
    ) -> Option<&T> {
        let mut best: Option<(Rank, &T)> = None;
        for entry in self.rules.iter(version) {
            for (w, m) in mask.words_mut().iter_mut().zip(entry.matches.mask().words()) {
                *w |= m;
            }
            let rank = self.rules.rank(entry.id);
            if entry.matches.matches(key) && best.is_none_or(|(r, _)| rank > r) {
                best = Some((rank, entry.value));
            }
        }
        best.map(|(_, value)| value)
    }

    /// See [`Classifier::find`](super::Classifier::find).
    pub fn find(&self, m: &Match, priority: u16, version: Version) -> Option<(RuleId, &T)> {
        self.rules
            .iter(version)
            .filter(|e| e.priority == priority && e.matches == *m)
            .max_by_key(|e| self.rules.rank(e.id))
            .map(|e| (e.id, e.value))
    }

    /// See [`Classifier::iter`](super::Classifier::iter).
    pub fn iter(&self, version: Version) -> impl Iterator<Item = Entry<'_, T>> {
        self.rules.iter(version)
    }

    /// See [`Classifier::get`](super::Classifier::get).
    pub fn get(&self, id: RuleId) -> Option<&T> {
        self.rules.get(id)
    }

    /// See [`Classifier::entry`](super::Classifier::entry).
    pub fn entry(&self, id: RuleId) -> Option<Entry<'_, T>> {
        self.rules.entry(id)
    }

    /// See [`Classifier::len`](super::Classifier::len).
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// See [`Classifier::is_empty`](super::Classifier::is_empty).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

//! Answers the questions of a classifier by looking at every rule. It is the oracle of the classifier's tests.

use super::rule::{Entry, Rank, RuleId, Rules, Version};
use flow::{Match, PipelineKey, PipelineMask};

/// A classifier that compares a key with every rule. It gives the answers that a
/// [`Classifier`](super::Classifier) must give.
#[derive(Debug)]
pub struct LinearClassifier<T> {
    rules: Rules<(Match, T)>,
}

impl<T> Default for LinearClassifier<T> {
    fn default() -> Self {
        Self { rules: Rules::default() }
    }
}

impl<T> LinearClassifier<T> {
    /// See [`Classifier::insert`](super::Classifier::insert).
    pub fn insert(&mut self, m: &Match, priority: u16, version: Version, value: T) -> RuleId {
        self.rules.insert(priority, version, |_| (*m, value))
    }

    /// See [`Classifier::remove`](super::Classifier::remove).
    pub fn remove(&mut self, id: RuleId, version: Version) -> bool {
        self.rules.remove(id, version)
    }

    /// See [`Classifier::restore`](super::Classifier::restore).
    pub fn restore(&mut self, id: RuleId) {
        self.rules.restore(id);
    }

    /// See [`Classifier::purge`](super::Classifier::purge).
    pub fn purge(&mut self, oldest: Version, budget: usize, freed: &mut impl Extend<T>) -> usize {
        let mut count = 0;
        while count < budget
            && self.rules.first_removed(oldest).is_some()
            && let Some((_, value)) = self.rules.pop_removed()
        {
            freed.extend([value]);
            count += 1;
        }
        count
    }

    /// See [`Classifier::lookup`](super::Classifier::lookup). The mask gets all bits that any rule looks at.
    pub fn lookup(
        &self,
        key: &PipelineKey,
        version: Version,
        mask: &mut PipelineMask,
    ) -> Option<&T> {
        let mut best: Option<(Rank, &T)> = None;
        for (_, rule) in self.rules.iter().filter(|(_, r)| r.is_visible(version)) {
            let (m, value) = &rule.value;
            for (w, m) in mask.words_mut().iter_mut().zip(m.mask().words()) {
                *w |= m;
            }
            if m.matches(key) && best.is_none_or(|(rank, _)| rule.rank() > rank) {
                best = Some((rule.rank(), value));
            }
        }
        best.map(|(_, value)| value)
    }

    /// See [`Classifier::lookup_conjunctive`](super::Classifier::lookup_conjunctive).
    #[cfg(test)]
    pub(super) fn lookup_conjunctive<'t, C: Iterator<Item = flow::action::Clause>>(
        &'t self,
        key: &PipelineKey,
        version: Version,
        clauses_of: impl Fn(&'t T) -> C,
    ) -> Option<&'t T> {
        let is_ordinary = |value| clauses_of(value).next().is_none();
        let matching = |key: &PipelineKey| {
            let visible = self.rules.iter().filter(|(_, rule)| rule.is_visible(version));
            let hits = visible.filter(|(_, rule)| rule.value.0.matches(key));
            let mut hits: Vec<_> = hits.map(|(_, r)| (r.rank(), &r.value.1)).collect();
            hits.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
            hits
        };
        let hits = matching(key);
        let ordinary = hits.iter().find(|(_, value)| is_ordinary(value));
        let beats = |rank: Rank| ordinary.is_none_or(|(best, _)| rank.priority() > best.priority());
        let mut present = std::collections::BTreeMap::new();
        for (rank, value) in hits.iter().filter(|(rank, _)| beats(*rank)) {
            for clause in clauses_of(value) {
                let present: &mut std::collections::BTreeSet<u8> =
                    present.entry((rank.priority(), clause.id, clause.clauses)).or_default();
                let is_new = present.insert(clause.clause);
                if is_new && present.len() == usize::from(clause.clauses) {
                    let mut key = *key;
                    key.conj_id.set(clause.id);
                    let found = matching(&key).into_iter().find(|(_, value)| is_ordinary(value));
                    if let Some((_, value)) = found {
                        return Some(value);
                    }
                }
            }
        }
        ordinary.map(|(_, value)| *value)
    }

    /// See [`Classifier::find`](super::Classifier::find).
    pub fn find(&self, m: &Match, priority: u16, version: Version) -> Option<(RuleId, &T)> {
        self.rules
            .iter()
            .filter(|(_, r)| r.is_visible(version) && r.rank().priority() == priority)
            .filter(|(_, r)| r.value.0 == *m)
            .max_by_key(|(_, r)| r.rank())
            .map(|(id, r)| (id, &r.value.1))
    }

    /// See [`Classifier::overlaps`](super::Classifier::overlaps).
    pub fn overlaps(&self, m: &Match, priority: u16, version: Version) -> bool {
        self.iter(version)
            .any(|e| e.priority == priority && e.matches != *m && e.matches.overlaps(m))
    }

    /// See [`Classifier::iter`](super::Classifier::iter).
    pub fn iter(&self, version: Version) -> impl Iterator<Item = Entry<'_, T>> {
        self.rules.iter().filter(move |(_, r)| r.is_visible(version)).map(|(id, r)| {
            let (matches, ref value) = r.value;
            Entry { id, matches, priority: r.rank().priority(), value }
        })
    }

    /// See [`Classifier::get`](super::Classifier::get).
    pub fn get(&self, id: RuleId) -> Option<&T> {
        self.rules.get(id).map(|r| &r.value.1)
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

//! The rules themselves: identity, order and life time. What finds them is elsewhere.

use crate::flow::Match;
use std::collections::VecDeque;

/// A state of the tables. Rules name the version that added and the one that removed them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// Later than all versions: when a rule is removed that nobody removed.
    const NEVER: Self = Self(u64::MAX);

    /// The next one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Names a rule of one classifier, also after it is gone: identities are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId {
    slot: u32,
    generation: u32,
}

/// A rule as the classifier knows it.
#[derive(Clone, Debug)]
pub struct Entry<'a, T> {
    /// Its name.
    pub id: RuleId,
    /// Which packets.
    pub matches: Match,
    /// Higher wins.
    pub priority: u16,
    /// What was inserted.
    pub value: &'a T,
}

/// Total order of the rules: by priority, then the earlier insertion first. The greater one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64);

impl Rank {
    /// Insertions that can be told apart: at a million a second, enough for eight years.
    const SEQUENCE_BITS: u32 = 48;

    pub(super) fn new(priority: u16, sequence: u64) -> Self {
        let mask = (1 << Self::SEQUENCE_BITS) - 1;
        Self(u64::from(priority) << Self::SEQUENCE_BITS | (!sequence & mask))
    }

    pub(super) fn priority(self) -> u16 {
        (self.0 >> Self::SEQUENCE_BITS) as u16
    }
}

/// Storage of the rules.
#[derive(Debug)]
pub(super) struct Rules<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// In the order of removal.
    removed: VecDeque<RuleId>,
    len: usize,
    sequence: u64,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    rule: Option<Rule<T>>,
}

#[derive(Debug)]
struct Rule<T> {
    added: Version,
    removed: Version,
    rank: Rank,
    matches: Match,
    value: T,
}

impl<T> Default for Rules<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), removed: VecDeque::new(), len: 0, sequence: 0 }
    }
}

impl<T> Rule<T> {
    fn is_visible(&self, version: Version) -> bool {
        self.added <= version && version < self.removed
    }

    fn entry(&self, id: RuleId) -> Entry<'_, T> {
        Entry { id, matches: self.matches, priority: self.rank.priority(), value: &self.value }
    }
}

impl<T> Rules<T> {
    pub(super) fn insert(&mut self, m: &Match, priority: u16, added: Version, value: T) -> RuleId {
        let rank = Rank::new(priority, self.sequence);
        self.sequence += 1;
        self.len += 1;
        let rule = Some(Rule { added, removed: Version::NEVER, rank, matches: *m, value });
        if let Some(slot) = self.free.pop() {
            let place = &mut self.slots[slot as usize];
            place.rule = rule;
            return RuleId { slot, generation: place.generation };
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 rules");
        self.slots.push(Slot { generation: 0, rule });
        RuleId { slot, generation: 0 }
    }

    fn rule(&self, id: RuleId) -> Option<&Rule<T>> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.rule.as_ref().filter(|_| slot.generation == id.generation)
    }

    fn rule_mut(&mut self, id: RuleId) -> Option<&mut Rule<T>> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        slot.rule.as_mut().filter(|_| slot.generation == id.generation)
    }

    pub(super) fn remove(&mut self, id: RuleId, version: Version) {
        let Some(rule) = self.rule_mut(id) else { return };
        if rule.removed == Version::NEVER {
            rule.removed = version;
            self.len -= 1;
            self.removed.push_back(id);
        }
    }

    pub(super) fn restore(&mut self, id: RuleId) {
        let Some(rule) = self.rule_mut(id) else { return };
        if rule.removed != Version::NEVER {
            rule.removed = Version::NEVER;
            self.len += 1;
            // What was restored was removed last.
            if let Some(at) = self.removed.iter().rposition(|&r| r == id) {
                self.removed.remove(at);
            }
        }
    }

    /// Takes out the rule removed first, if no lookup at `oldest` or later can see it.
    pub(super) fn pop_removed(&mut self, oldest: Version) -> Option<(RuleId, Match, T)> {
        let id = *self.removed.front()?;
        if self.rule(id)?.removed > oldest {
            return None;
        }
        self.removed.pop_front();
        let slot = &mut self.slots[id.slot as usize];
        let rule = slot.rule.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some((id, rule.matches, rule.value))
    }

    pub(super) fn rank(&self, id: RuleId) -> Rank {
        self.rule(id).map_or(Rank(0), |r| r.rank)
    }

    pub(super) fn is_visible(&self, id: RuleId, version: Version) -> bool {
        self.rule(id).is_some_and(|r| r.is_visible(version))
    }

    pub(super) fn get(&self, id: RuleId) -> Option<&T> {
        self.rule(id).map(|r| &r.value)
    }

    pub(super) fn entry(&self, id: RuleId) -> Option<Entry<'_, T>> {
        self.rule(id).map(|r| r.entry(id))
    }

    pub(super) fn iter(&self, version: Version) -> impl Iterator<Item = Entry<'_, T>> {
        self.slots.iter().enumerate().filter_map(move |(i, slot)| {
            let rule = slot.rule.as_ref().filter(|r| r.is_visible(version))?;
            Some(rule.entry(RuleId { slot: i as u32, generation: slot.generation }))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn removed_len(&self) -> usize {
        self.removed.len()
    }
}

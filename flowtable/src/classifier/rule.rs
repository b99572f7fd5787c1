//! The rules themselves: identity, order and life time. What finds them is elsewhere.

use super::queue::Queue;
use crate::effort;
use flow::Match;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    fn new(priority: u16, sequence: u64) -> Self {
        let mask = (1 << Self::SEQUENCE_BITS) - 1;
        Self(u64::from(priority) << Self::SEQUENCE_BITS | (!sequence & mask))
    }

    pub(super) fn priority(self) -> u16 {
        (self.0 >> Self::SEQUENCE_BITS) as u16
    }
}

/// Storage of the rules with what a classifier keeps of each, in numbered slots.
#[derive(Debug)]
pub(super) struct Rules<V> {
    /// In pieces of [`PIECE`] slots: more of them come without moving those that are there.
    slots: Vec<Vec<Slot<V>>>,
    /// The slot that became vacant last, and names the one before.
    free: Option<u32>,
    /// In the order in which they may be freed. A rule that was restored since is skipped, unless its
    /// removal was the latest and is gone from here.
    removed: Queue<RuleId>,
    removed_len: usize,
    len: usize,
    sequence: u64,
}

const PIECE: usize = 256;

#[derive(Debug)]
enum Slot<V> {
    Vacant { generation: u32, next: Option<u32> },
    Used { generation: u32, rule: VersionedRule<V> },
}

/// A rule as the classifier keeps it: which versions see it, its rank among the others, and its value.
#[derive(Debug)]
pub(super) struct VersionedRule<V> {
    added: Version,
    removed: Version,
    rank: Rank,
    /// What the classifier keeps.
    pub(super) value: V,
}

impl<V> VersionedRule<V> {
    #[inline]
    pub(super) fn is_visible(&self, version: Version) -> bool {
        self.added <= version && version < self.removed
    }

    #[inline]
    pub(super) fn rank(&self) -> Rank {
        self.rank
    }
}

impl RuleId {
    pub(super) fn slot(self) -> u32 {
        self.slot
    }
}

impl<V> Default for Rules<V> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: None,
            removed: Queue::default(),
            removed_len: 0,
            len: 0,
            sequence: 0,
        }
    }
}

impl<V> Rules<V> {
    /// Adds a rule; `value` makes what is kept of it from its name.
    pub(super) fn insert(
        &mut self,
        priority: u16,
        added: Version,
        value: impl FnOnce(RuleId) -> V,
    ) -> RuleId {
        let rank = Rank::new(priority, self.sequence);
        self.sequence += 1;
        self.len += 1;
        let rule = |id| VersionedRule { added, removed: Version::NEVER, rank, value: value(id) };
        if let Some(slot) = self.free {
            let place = &mut self.slots[slot as usize / PIECE][slot as usize % PIECE];
            if let Slot::Vacant { generation, next } = *place {
                self.free = next;
                let id = RuleId { slot, generation };
                *place = Slot::Used { generation, rule: rule(id) };
                return id;
            }
        }
        let slot = self.slots();
        if (slot as usize).is_multiple_of(PIECE) {
            // The first piece of a small table is a small one.
            self.slots.push(Vec::with_capacity(if slot == 0 { 0 } else { PIECE }));
        }
        let piece = &mut self.slots[slot as usize / PIECE];
        grow(piece, 1);
        let id = RuleId { slot, generation: 0 };
        piece.push(Slot::Used { generation: 0, rule: rule(id) });
        id
    }

    /// The rule in a slot.
    #[inline]
    pub(super) fn at(&self, slot: u32) -> Option<(RuleId, &VersionedRule<V>)> {
        effort::looked_at_one();
        match self.slots.get(slot as usize / PIECE)?.get(slot as usize % PIECE)? {
            &Slot::Used { generation, ref rule } => Some((RuleId { slot, generation }, rule)),
            Slot::Vacant { .. } => None,
        }
    }

    /// The rule in a slot, to edit.
    pub(super) fn at_mut(&mut self, slot: u32) -> Option<&mut VersionedRule<V>> {
        match self.slots.get_mut(slot as usize / PIECE)?.get_mut(slot as usize % PIECE)? {
            Slot::Used { rule, .. } => Some(rule),
            Slot::Vacant { .. } => None,
        }
    }

    /// Slots there are, used or not.
    pub(super) fn slots(&self) -> u32 {
        let last = self.slots.last().map_or(0, Vec::len);
        let slots = self.slots.len().saturating_sub(1) * PIECE + last;
        u32::try_from(slots).expect("fewer than 2^32 rules")
    }

    /// The rank of the rule in a slot; that of a vacant slot is below all.
    pub(super) fn rank_of(&self, slot: u32) -> Rank {
        self.at(slot).map_or(Rank(0), |(_, rule)| rule.rank)
    }

    pub(super) fn get(&self, id: RuleId) -> Option<&VersionedRule<V>> {
        self.at(id.slot).filter(|(at, _)| *at == id).map(|(_, rule)| rule)
    }

    pub(super) fn remove(&mut self, id: RuleId, version: Version) -> bool {
        if self.get(id).is_none_or(|rule| rule.removed != Version::NEVER) {
            return false;
        }
        if let Some(rule) = self.at_mut(id.slot) {
            rule.removed = version;
            self.len -= 1;
            self.removed.push_back(id);
            self.removed_len += 1;
        }
        true
    }

    /// Removes a rule that no version has shown nor will: it is the first to be freed.
    pub(super) fn discard(&mut self, id: RuleId) {
        if self.get(id).is_none_or(|rule| rule.removed != Version::NEVER) {
            return;
        }
        if let Some(rule) = self.at_mut(id.slot) {
            rule.removed = Version::default();
            self.len -= 1;
            self.removed.push_front(id);
            self.removed_len += 1;
        }
    }

    /// Takes a removal back. If it was the latest one, nothing is left of it.
    pub(super) fn restore(&mut self, id: RuleId) {
        if self.get(id).is_none_or(|rule| rule.removed == Version::NEVER) {
            return;
        }
        if self.removed.back() == Some(&id) {
            self.removed.pop_back();
        }
        if let Some(rule) = self.at_mut(id.slot) {
            rule.removed = Version::NEVER;
            self.len += 1;
            self.removed_len -= 1;
        }
    }

    /// The rule that was removed first, if no lookup at `oldest` or later can see it.
    pub(super) fn first_removed(&mut self, oldest: Version) -> Option<RuleId> {
        loop {
            let id = *self.removed.front()?;
            match self.get(id) {
                Some(rule) if rule.removed != Version::NEVER => {
                    return (rule.removed <= oldest).then_some(id);
                }
                // Restored; or removed once more after that, and freed.
                _ => self.removed.pop_front(),
            };
        }
    }

    /// Takes out the rule that was removed first.
    pub(super) fn pop_removed(&mut self) -> Option<V> {
        let RuleId { slot, generation } = self.removed.pop_front()?;
        let place = self.slots.get_mut(slot as usize / PIECE)?.get_mut(slot as usize % PIECE)?;
        let vacant = Slot::Vacant { generation: generation.wrapping_add(1), next: self.free };
        match std::mem::replace(place, vacant) {
            Slot::Used { rule, .. } => {
                self.free = Some(slot);
                self.removed_len -= 1;
                Some(rule.value)
            }
            Slot::Vacant { .. } => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RuleId, &VersionedRule<V>)> {
        (0..self.slots()).filter_map(|slot| self.at(slot))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn heap_size(&self) -> usize {
        self.slots.iter().map(Vec::capacity).sum::<usize>() * size_of::<Slot<V>>()
            + self.removed.heap_size()
    }

    pub(super) fn removed_len(&self) -> usize {
        self.removed_len
    }
}

/// Makes room for `more` elements. Lists grow by an eighth, not to double their size.
pub(super) fn grow<E>(list: &mut Vec<E>, more: usize) {
    if list.capacity() - list.len() < more {
        let step = if list.len() < 64 { list.len() } else { list.len() / 8 };
        list.reserve_exact(more.max(step));
    }
}

//! The storage of the rules: their identity, their order and the versions that see them. Finding
//! the rules that match a packet is the subtables' work.

use super::queue::Queue;
use crate::effort;
use flow::Match;

/// Number of a state of the tables. Each rule has the version that added it and the version that removed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// Later than every version: the removal of a rule that has not been removed.
    const NEVER: Self = Self(u64::MAX);

    /// The version that follows this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Identifies a rule of one classifier. The identity of a purged rule is not given to another rule
/// until its slot has been used 2^32 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    slot: u32,
    generation: u32,
}

/// A rule with everything that the classifier knows of it.
#[derive(Clone, Debug)]
pub struct Entry<'a, T> {
    /// The rule's identity.
    pub id: RuleId,
    /// The packets that the rule matches.
    pub matches: Match,
    /// Of two matching rules the one with the higher priority wins.
    pub priority: u16,
    /// The value that the owner inserted.
    pub value: &'a T,
}

/// Total order of the rules. The greater rank wins: the higher priority, and among equal priorities
/// the earlier insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64);

impl Rank {
    /// Bits of the insertion counter. At a million insertions a second 48 bits last for eight years.
    const SEQUENCE_BITS: u32 = 48;

    fn new(priority: u16, sequence: u64) -> Self {
        let mask = (1 << Self::SEQUENCE_BITS) - 1;
        Self(u64::from(priority) << Self::SEQUENCE_BITS | (!sequence & mask))
    }

    pub(super) fn priority(self) -> u16 {
        (self.0 >> Self::SEQUENCE_BITS) as u16
    }
}

/// All rules in numbered slots, each with a value of the owner.
#[derive(Debug)]
pub(super) struct Rules<V> {
    /// Pieces of [`PIECE`] slots, so that the storage grows without moving slots.
    slots: Vec<Vec<Slot<V>>>,
    /// The slot that became vacant last. It has the number of the slot vacated before it.
    free: Option<u32>,
    /// Removed rules, in the order in which they may be freed. A rule that was restored after its
    /// removal stays in the queue and is skipped there, unless it was the last in the queue.
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

/// A rule in its slot: the versions that see it, its rank, and the owner's value.
#[derive(Debug)]
pub(super) struct VersionedRule<V> {
    added: Version,
    removed: Version,
    rank: Rank,
    /// The value of the owner of this storage.
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
    /// Adds a rule that lookups see from the version `added` on. `value` makes the owner's value
    /// from the rule's identity.
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
            // The first piece starts small, because most tables are small.
            self.slots.push(Vec::with_capacity(if slot == 0 { 0 } else { PIECE }));
        }
        let piece = &mut self.slots[slot as usize / PIECE];
        grow(piece, 1);
        let id = RuleId { slot, generation: 0 };
        piece.push(Slot::Used { generation: 0, rule: rule(id) });
        id
    }

    /// The rule in a slot; `None` if the slot is vacant or does not exist.
    #[inline]
    pub(super) fn at(&self, slot: u32) -> Option<(RuleId, &VersionedRule<V>)> {
        effort::looked_at_one();
        match self.slots.get(slot as usize / PIECE)?.get(slot as usize % PIECE)? {
            &Slot::Used { generation, ref rule } => Some((RuleId { slot, generation }, rule)),
            Slot::Vacant { .. } => None,
        }
    }

    /// The rule in a slot, to be changed; `None` if the slot is vacant or does not exist.
    pub(super) fn at_mut(&mut self, slot: u32) -> Option<&mut VersionedRule<V>> {
        match self.slots.get_mut(slot as usize / PIECE)?.get_mut(slot as usize % PIECE)? {
            Slot::Used { rule, .. } => Some(rule),
            Slot::Vacant { .. } => None,
        }
    }

    /// Number of slots, vacant ones included.
    pub(super) fn slots(&self) -> u32 {
        let last = self.slots.last().map_or(0, Vec::len);
        let slots = self.slots.len().saturating_sub(1) * PIECE + last;
        u32::try_from(slots).expect("fewer than 2^32 rules")
    }

    /// The rank of the rule in a slot. A vacant slot ranks below every rule.
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

    /// Removes a rule that no published version has shown or will show. It is the next rule to be freed.
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

    /// Takes back the removal of a rule. The latest removal leaves no trace; an earlier one leaves
    /// an entry in the queue of removed rules, which is skipped later.
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

    /// The rule at the head of the queue of removed rules, if no lookup at the version `oldest` or
    /// later can see it.
    pub(super) fn first_removed(&mut self, oldest: Version) -> Option<RuleId> {
        loop {
            let id = *self.removed.front()?;
            match self.get(id) {
                Some(rule) if rule.removed != Version::NEVER => {
                    return (rule.removed <= oldest).then_some(id);
                }
                // The rule was restored, or it was restored, removed again and freed.
                _ => self.removed.pop_front(),
            };
        }
    }

    /// Frees the rule at the head of the queue of removed rules and returns its value; `None` if
    /// the queue is empty.
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

/// Makes room for `more` elements. A list of more than 64 elements grows by an eighth, because
/// doubling would waste up to half of the memory of a large table.
pub(super) fn grow<E>(list: &mut Vec<E>, more: usize) {
    if list.capacity() - list.len() < more {
        let step = if list.len() < 64 { list.len() } else { list.len() / 8 };
        list.reserve_exact(more.max(step));
    }
}

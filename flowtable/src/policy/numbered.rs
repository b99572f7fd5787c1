//! Things of a bridge that have numbers and are changed under versions, groups and meters, and
//! the rules that use them.
//!
//! A thing is added and hidden under the version of a change that is being prepared. Lookups use the published
//! version, so that they see all of the change or nothing.

use super::rule::RuleRef;
use crate::classifier::Version;
use crate::effort;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

/// Things of one kind by their numbers. See the [module](self).
#[derive(Debug)]
pub(super) struct Numbered<K, V> {
    slots: BTreeMap<K, Vec<Slot<V>>>,
    /// How many things the latest version sees, be it published or not.
    len: usize,
    /// Hidden things that wait to be freed, in the order of the versions that hid them.
    removed: VecDeque<(Version, K)>,
    /// For each number the rules that have it among their actions, until the rules are freed. Finding the rules
    /// that use a thing needs no look through all rules.
    users: BTreeMap<K, BTreeSet<RuleRef>>,
}

impl<K, V> Default for Numbered<K, V> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), len: 0, removed: VecDeque::new(), users: BTreeMap::new() }
    }
}

/// A thing of some versions.
#[derive(Debug)]
struct Slot<V> {
    added: Version,
    removed: Option<Version>,
    value: V,
}

impl<V> Slot<V> {
    fn is_visible(&self, version: Version) -> bool {
        self.added <= version && self.removed.is_none_or(|removed| version < removed)
    }
}

impl<K: Copy + Ord, V> Numbered<K, V> {
    /// The thing with this number at a version; `None` if there is none.
    pub(super) fn get(&self, id: K, version: Version) -> Option<&V> {
        effort::looked_at_one();
        self.slots.get(&id)?.iter().find(|slot| slot.is_visible(version)).map(|slot| &slot.value)
    }

    /// The things with higher numbers than `after` at a version, in ascending order; `None` for numbers that it
    /// does not see.
    pub(super) fn behind(
        &self,
        after: Option<K>,
        version: Version,
    ) -> impl Iterator<Item = (K, Option<&V>)> {
        let slots = self.slots.range((behind(after), Bound::Unbounded));
        slots.map(move |(&id, slots)| {
            effort::looked_at_one();
            let seen = slots.iter().find(|slot| slot.is_visible(version));
            (id, seen.map(|slot| &slot.value))
        })
    }

    /// How many things the latest version sees, be it published or not.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a thing that is seen from `version` on.
    pub(super) fn add(&mut self, id: K, value: V, version: Version) {
        self.slots.entry(id).or_default().push(Slot { added: version, removed: None, value });
        self.len += 1;
    }

    /// Takes back [`add`](Self::add), before the version was published. Returns the things that were added.
    pub(super) fn take_back(&mut self, id: K, version: Version) -> Vec<V> {
        let gone = self.extract(id, |slot| slot.added == version && slot.removed.is_none());
        self.len -= gone.len();
        gone
    }

    /// Hides a thing from `version` on. Returns whether there was one to hide.
    pub(super) fn hide(&mut self, id: K, version: Version) -> bool {
        let mut slots = self.slots.get_mut(&id).into_iter().flatten();
        let Some(slot) = slots.find(|slot| slot.is_visible(version)) else { return false };
        slot.removed = Some(version);
        self.removed.push_back((version, id));
        self.len -= 1;
        true
    }

    /// Takes back the latest [`hide`](Self::hide).
    pub(super) fn restore(&mut self, id: K, version: Version) {
        let slots = self.slots.get_mut(&id).into_iter().flatten();
        if let Some(slot) = slots.rev().find(|slot| slot.removed == Some(version)) {
            slot.removed = None;
            self.removed.pop_back();
            self.len += 1;
        }
    }

    /// Takes out the things of at most `budget` hidings that no reader at the version
    /// `oldest` or later can see.
    pub(super) fn purge(&mut self, oldest: Version, budget: usize, mut freed: impl FnMut(V)) {
        for _ in 0..budget {
            let Some(&(version, id)) = self.removed.front().filter(|(v, _)| *v <= oldest) else {
                return;
            };
            self.removed.pop_front();
            let gone = self.extract(id, |slot| slot.removed == Some(version));
            gone.into_iter().for_each(&mut freed);
        }
    }

    fn extract(&mut self, id: K, is_gone: impl Fn(&Slot<V>) -> bool) -> Vec<V> {
        let Some(slots) = self.slots.get_mut(&id) else { return Vec::new() };
        let gone: Vec<V> =
            slots.extract_if(.., |slot| is_gone(slot)).map(|slot| slot.value).collect();
        if slots.is_empty() {
            self.slots.remove(&id);
        }
        gone
    }

    /// Number of things that wait to be freed.
    pub(super) fn removed_len(&self) -> usize {
        self.removed.len()
    }

    /// Remembers that a rule uses the thing with this number.
    pub(super) fn add_user(&mut self, id: K, rule: RuleRef) {
        self.users.entry(id).or_default().insert(rule);
    }

    /// Forgets a user that is freed.
    pub(super) fn forget_user(&mut self, id: K, rule: RuleRef) {
        if let Some(users) = self.users.get_mut(&id) {
            users.remove(&rule);
            if users.is_empty() {
                self.users.remove(&id);
            }
        }
    }

    /// The rules that use the thing with this number, visible or not, in order, beginning behind `after`.
    pub(super) fn users(&self, id: K, after: Option<RuleRef>) -> impl Iterator<Item = RuleRef> {
        let users = self.users.get(&id).into_iter();
        let users = users.flat_map(move |users| users.range((behind(after), Bound::Unbounded)));
        users.copied().inspect(|_| effort::looked_at_one())
    }
}

/// The lower bound of a range that begins behind `after`, or at the start if that is `None`.
fn behind<K>(after: Option<K>) -> Bound<K> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}

//! Which rule a full table evicts for a new one.
//!
//! As in Open vSwitch, only rules with a timeout are evicted. Rules whose matches agree in the bits that the
//! settings of the table name form a group, and a rule of the largest group goes: the one of lowest importance,
//! among these the one that would expire first (OpenFlow 1.4.0 §6.5).
//!
//! When a rule expires depends on its traffic, so the order of a group is corrected when a rule is chosen: a
//! rule that has been used since it got its place moves back to where it belongs. Places only ever move back,
//! so the first rule whose place is right is the right one.

use super::rule::Rule;
use crate::classifier::RuleId;
use flow::Match;
use flow::action::Subfield;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// How many places of rules are corrected for one choice. After that, the best of the corrected rules is taken.
const MAX_CORRECTIONS: usize = 64;

/// The place of a rule in its group: importance, the time at which the rule expires
/// if no packet comes, identity.
type Place = (u16, Duration, RuleId);

/// The rules of a table that can be evicted.
#[derive(Debug)]
pub(super) struct Eviction {
    fields: Vec<Subfield>,
    hasher: ahash::RandomState,
    /// The groups by the hash of what their rules have in common, each in the order in which rules would go.
    groups: HashMap<u64, BTreeSet<Place>>,
    /// The sizes of all groups.
    sizes: BTreeSet<(usize, u64)>,
    /// Where each rule is.
    places: HashMap<RuleId, (u64, Place)>,
}

impl Eviction {
    /// No rules yet. `fields` are the bits that rules of a group have in common; `seed` keys their hash.
    pub(super) fn new(fields: Vec<Subfield>, seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, !seed, 0xe71c, seed.rotate_left(23));
        Self {
            fields,
            hasher,
            groups: HashMap::new(),
            sizes: BTreeSet::new(),
            places: HashMap::new(),
        }
    }

    /// The bits that rules of a group have in common.
    pub(super) fn fields(&self) -> &[Subfield] {
        &self.fields
    }

    /// Adds a rule, unless it has no timeout or is there already.
    pub(super) fn insert(&mut self, rule: &Rule, matching: &Match) {
        let Some(expiry) = rule.expires_at() else { return };
        if self.places.contains_key(&rule.id) {
            return;
        }
        let group = self.group_of(matching);
        let place = (rule.importance, expiry, rule.id);
        self.places.insert(rule.id, (group, place));
        let members = self.groups.entry(group).or_default();
        self.sizes.remove(&(members.len(), group));
        members.insert(place);
        self.sizes.insert((members.len(), group));
    }

    /// Removes a rule, if it is there.
    pub(super) fn remove(&mut self, rule: RuleId) {
        let Some((group, place)) = self.places.remove(&rule) else { return };
        let Some(members) = self.groups.get_mut(&group) else { return };
        self.sizes.remove(&(members.len(), group));
        members.remove(&place);
        if members.is_empty() {
            self.groups.remove(&group);
        } else {
            self.sizes.insert((members.len(), group));
        }
    }

    /// The rule that goes next; `None` if no rule can be evicted. `expiry` says when a rule expires.
    pub(super) fn choose(&mut self, expiry: impl Fn(RuleId) -> Option<Duration>) -> Option<RuleId> {
        let &(_, group) = self.sizes.last()?;
        let members = self.groups.get_mut(&group)?;
        for _ in 0..MAX_CORRECTIONS {
            let first @ (importance, time, rule) = *members.first()?;
            let Some(now) = expiry(rule).filter(|now| *now > time) else { return Some(rule) };
            members.remove(&first);
            let place = (importance, now, rule);
            members.insert(place);
            self.places.insert(rule, (group, place));
        }
        members.first().map(|(_, _, rule)| *rule)
    }

    fn group_of(&self, matching: &Match) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for subfield in &self.fields {
            let field = subfield.field;
            let value = match field.prerequisite_met(matching.key()) {
                true => field.read(matching.key()) & field.get_mask(matching.mask()),
                false => 0,
            };
            let bits = u128::MAX >> (128 - u32::from(subfield.n_bits.clamp(1, 128)));
            hasher.write_u128(value >> subfield.offset & bits);
        }
        hasher.finish()
    }
}

//! Finds the best rule for a packet, and says which bits of the packet decided.
//!
//! A rule is a [`Match`], a priority and a value that the classifier does not look into. A lookup
//! returns the value of the matching rule with the highest priority. Where several matching rules
//! have this priority (OpenFlow leaves the result undefined), the rule that was inserted first
//! wins, so that answers are repeatable.
//!
//! The classifier knows masked words, not fields: it does not depend on the meaning of a bit. It has no locks
//! and no clock. One lock around all tables is held shared for lookups and exclusively for changes.
//!
//! # Versions
//!
//! A lookup at a version sees the rules that were added at this version or an earlier one, and that were not
//! removed at this version or an earlier one. A writer prepares a change of any size under the next version,
//! which nobody uses yet. It publishes the whole change by telling the readers that number. Removed rules stay
//! in place for readers of older versions until [`Classifier::purge`].
//!
//! # Masks
//!
//! A lookup adds the bits that decided its answer to `mask`: every packet that agrees with the key
//! in these bits gets the same answer at this version. A cache can then answer for all such
//! packets. With fewer bits in the mask a cached answer serves more packets.
//!
//! # Basic design
//!
//! Tuple space search (Srinivasan, Suri and Varghese 1999): the rules of one mask form a hash table of masked
//! keys, and a lookup probes one table for each mask. Rule sets in use have hundreds of masks, which would be
//! hundreds of probes. The following sections tell how the classifier avoids them.
//!
//! # Several masks in one subtable
//!
//! A subtable takes rules of several masks and hashes only the bits that all of these masks share,
//! so that a few subtables do for all rules (TupleMerge, Daly and others 2019). A bucket may have
//! rules that differ in the bits that are not hashed. These rules lie side by side as rows, packed
//! to the 32-bit lanes that rules of the subtable look at, the highest priority first. A few vector
//! instructions compare one row. A table with few rules becomes one subtable that hashes nothing,
//! which is linear search.
//!
//! # Which masks share a subtable
//!
//! With more hashed bits the buckets become shorter, and the subtables more. A planner estimates
//! the cost of both on a sample of the rules, and chooses the subtables that make lookups cheapest.
//! The classifier makes another plan as the table changes, and moves a few rules at a time. A plan
//! that is made while rules come leaves rules where they are unless lookups cost much more then. A
//! mask that comes between two plans leaves a subtable whose buckets have become long (`patch`). A
//! table that is [told](Classifier::expect) of many rules to come is planned for all of them.
//!
//! # Stopping early
//!
//! Subtables are searched in the order of their highest priorities. The search ends when the best rule found so
//! far beats every rule of the next subtable. The search of a bucket ends in the same way.
//!
//! # Narrow masks
//!
//! The mask needs the bits of the winning rule in any case, and these bits explain why most other
//! rules did not match. So the search only notes which buckets it met, and explains them when the
//! winner is known:
//!
//! - A bucket costs the bits that were hashed.
//! - A row in the bucket costs nothing if it differs from the key in a bit that the mask has
//!   already. Otherwise it costs the leading bits of one lane, down to a bit that differs.
//! - A subtable without a bucket for the key costs all its hashed bits at worst. A filter knows
//!   in most cases that no rule of the subtable has, say, the first byte of the key's source
//!   address; then these eight bits suffice.
//!
//! Open vSwitch's staged lookup and tries do such work during the search. Here it is done when the
//! winner is known, and only where the winner's bits do not suffice.
//!
//! # Conjunctive matches
//!
//! [`Classifier::lookup_conjunctive`] looks up in a table where some rules are alternatives of
//! conjunctions. A table without such rules does not pay for it.

mod adopt;
mod arrange;
mod buckets;
mod conjunctive;
mod expect;
mod lanes;
mod linear;
mod masks;
mod overlap;
mod patch;
mod plan;
mod presence;
mod queue;
mod rows;
mod rule;
mod search;
mod subtable;
mod survey;

#[cfg(test)]
mod tests;

pub use expect::Sample;
pub use lanes::MaskedWord;
pub use linear::LinearClassifier;
pub use plan::Plan;
pub use rule::{Entry, RuleId, Version};
pub use survey::Survey;

use arrange::{LINES_OF_A_STEP, Progress};
use flow::{Match, PipelineKey, PipelineMask};
use lanes::{HALVES, HashKeys};
use masks::{Away, Home, Masks};
use rows::Rows;
use rule::Rules;
use search::Search;
use subtable::Subtable;

/// The rules of one flow table. `T` is the value that the owner keeps with each rule. See the [module](self).
#[derive(Debug)]
pub struct Classifier<T> {
    rules: Rules<Filed<T>>,
    masks: Masks,
    subtables: Vec<Subtable>,
    vacant_subtables: Vec<u16>,
    retired: Retired,
    order: Vec<(u16, u16)>,
    /// Width in lines of the widest subtable.
    width: usize,
    progress: Progress,
    /// Number of adoptions of plans that have begun.
    adoptions: u64,
    /// Numbers of the masks that [`expect`](Self::expect) has announced.
    expected: Vec<u32>,
    is_planned_aside: bool,
    keys: Box<HashKeys>,
    hasher: ahash::RandomState,
    seed: u64,
}

/// Memory that rules have left behind. Giving megabytes back to the system takes milliseconds. A caller that
/// has a lock on the classifier should therefore release the lock before it drops this value.
#[derive(Debug, Default)]
pub struct Retired {
    subtables: Vec<Subtable>,
    rows: Vec<Rows>,
}

impl Retired {
    /// Whether there is no memory to give back.
    pub fn is_empty(&self) -> bool {
        self.subtables.is_empty() && self.rows.is_empty()
    }
}

/// What [`Classifier::find_to_replace`] tells [`Classifier::insert_under`]: the number of the match's
/// mask, if a rule has this mask. The default tells nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaskHint(Option<u32>);

/// The owner's value of a rule, and where the rule's row is.
#[derive(Debug)]
struct Filed<T> {
    value: T,
    hash: u32,
    mask: u32,
    subtable: u16,
}

impl<T> Classifier<T> {
    /// Makes an empty classifier. `seed` keys its hash functions, and must be unknown to those who
    /// send packets or rules.
    pub fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 0x5eed);
        let mut keys = Box::new([0; HALVES]);
        for (i, key) in keys.iter_mut().enumerate() {
            *key = hasher.hash_one(i as u64);
        }
        Self {
            rules: Rules::default(),
            masks: Masks::default(),
            subtables: Vec::new(),
            vacant_subtables: Vec::new(),
            retired: Retired::default(),
            order: Vec::new(),
            width: 1,
            progress: Progress::default(),
            adoptions: 0,
            expected: Vec::new(),
            is_planned_aside: false,
            keys,
            hasher,
            seed,
        }
    }

    /// Leaves planning to the owner: after changes the owner calls [`survey`](Self::survey),
    /// [`Survey::plan`] and [`adopt`](Self::adopt), and drops what
    /// [`take_retired`](Self::take_retired) returns. Most of this needs no lock. Without this call
    /// each change does such work itself.
    #[must_use]
    pub fn planned_aside(mut self) -> Self {
        self.is_planned_aside = true;
        self
    }

    /// Adds a rule that lookups see from `version` on.
    ///
    /// The rule may have the match and priority of another rule. A lookup that sees both answers
    /// with the older one.
    pub fn insert(&mut self, m: &Match, priority: u16, version: Version, value: T) -> RuleId {
        self.insert_with(m, priority, version, |_| value)
    }

    /// As [`insert`](Self::insert), for a value that is made from the rule's identity.
    pub fn insert_with(
        &mut self,
        m: &Match,
        priority: u16,
        version: Version,
        value: impl FnOnce(RuleId) -> T,
    ) -> RuleId {
        self.insert_under(MaskHint::default(), m, priority, version, value)
    }

    /// As [`insert_with`](Self::insert_with), with what [`find_to_replace`](Self::find_to_replace)
    /// has found for the same match. No rule may have been purged since.
    pub fn insert_under(
        &mut self,
        MaskHint(number): MaskHint,
        m: &Match,
        priority: u16,
        version: Version,
        value: impl FnOnce(RuleId) -> T,
    ) -> RuleId {
        let mask = number.unwrap_or_else(|| self.mask_number(m.mask()));
        debug_assert!(self.masks.is(mask, m.mask()), "the hint is one for another match");
        self.leave_crowd(mask, m.mask());
        let filed = |id| Filed { value: value(id), hash: 0, mask, subtable: 0 };
        let id = self.rules.insert(priority, version, filed);
        self.masks.get_mut(mask).add(id.slot());
        self.add_row(id.slot(), m);
        id
    }

    /// Hides a rule from the lookups at `version` and later. The rule keeps its place until it is purged.
    ///
    /// Returns `false` if the rule does not exist or was removed before.
    pub fn remove(&mut self, id: RuleId, version: Version) -> bool {
        self.rules.remove(id, version)
    }

    /// Removes a rule that was added under a version which was not published and will be published
    /// without the rule.
    pub fn discard(&mut self, id: RuleId) {
        self.rules.discard(id);
    }

    /// Takes back a [`remove`](Self::remove) that was not published yet. Several removals are best
    /// taken back in the opposite order: then the purge has nothing to skip.
    pub fn restore(&mut self, id: RuleId) {
        self.rules.restore(id);
    }

    /// Frees at most `budget` rules that no lookup at `oldest` or later can see, those that were removed first.
    /// Gives their values to `freed` and returns their number. A rule of a large bucket counts as several,
    /// because the rows behind it move up. The rest of the budget goes to [`settle`](Self::settle).
    pub fn purge(&mut self, oldest: Version, budget: usize, freed: &mut impl Extend<T>) -> usize {
        let (mut count, mut spent) = (0, 0);
        while spent < budget
            && let Some(id) = self.rules.first_removed(oldest)
        {
            let lines = self.drop_row(id.slot());
            freed.extend(self.rules.pop_removed().map(|filed| filed.value));
            count += 1;
            spent += 1 + lines / LINES_OF_A_STEP;
            self.arrange();
        }
        self.settle(budget.saturating_sub(spent));
        count
    }

    /// The value of the best rule for `key` at `version`. Adds the bits that decided this answer to
    /// `mask`, also if the answer is `None`.
    pub fn lookup(
        &self,
        key: &PipelineKey,
        version: Version,
        mask: &mut PipelineMask,
    ) -> Option<&T> {
        let Self { rules, subtables, order, .. } = self;
        let search = Search { rules, subtables, order, key, version };
        match self.width {
            0 | 1 => search.run::<1>(mask, |_| true),
            2 => search.run::<2>(mask, |_| true),
            3 | 4 => search.run::<4>(mask, |_| true),
            _ => search.run::<{ lanes::MAX_WIDTH }>(mask, |_| true),
        }
    }

    /// The rule with exactly this match and priority that is visible at `version`.
    pub fn find(&self, m: &Match, priority: u16, version: Version) -> Option<(RuleId, &T)> {
        let number = self.masks.peek(m.mask(), &self.hasher)?;
        self.find_under(number, m, priority, version)
    }

    /// As [`find`](Self::find), for a match whose mask has the number `number`.
    fn find_under(
        &self,
        number: u32,
        m: &Match,
        priority: u16,
        version: Version,
    ) -> Option<(RuleId, &T)> {
        let known = self.masks.get(number);
        let in_subtable = |Home { subtable, local }: Home| {
            let headers = self.subtables[usize::from(subtable)].find(m.key(), priority, local);
            headers
                .filter_map(|header| self.rules.at(header.slot))
                .filter(|(_, rule)| rule.is_visible(version))
                .max_by_key(|(_, rule)| rule.rank())
        };
        let at_home = in_subtable(known.home);
        let elsewhere = match known.away() {
            Away::Nowhere => None,
            Away::At(former) => in_subtable(former),
            Away::Anywhere => {
                let homes = self.subtables.iter().zip(0..).filter_map(|(subtable, at)| {
                    Some(Home { subtable: at, local: subtable.local_number(number)? })
                });
                homes.filter_map(in_subtable).max_by_key(|(_, rule)| rule.rank())
            }
        };
        let best = at_home.into_iter().chain(elsewhere).max_by_key(|(_, rule)| rule.rank());
        best.map(|(id, rule)| (id, &rule.value.value))
    }

    /// As [`find`](Self::find), for a caller that adds a rule with the same match next
    /// ([`insert_under`](Self::insert_under)), so that adding the rule need not look for the mask.
    pub fn find_to_replace(
        &mut self,
        m: &Match,
        priority: u16,
        version: Version,
    ) -> (Option<RuleId>, MaskHint) {
        let number = self.masks.find(m.mask(), &self.hasher);
        let found = number.and_then(|number| self.find_under(number, m, priority, version));
        (found.map(|(id, _)| id), MaskHint(number))
    }

    /// All rules that are visible at `version`, in no particular order.
    pub fn iter(&self, version: Version) -> impl Iterator<Item = Entry<'_, T>> {
        self.values(0..self.places(), version).filter_map(|(id, _)| self.entry(id))
    }

    /// Number of places for rules, vacant ones included. A rule keeps its place from its insertion
    /// until it is purged.
    pub fn places(&self) -> u32 {
        self.rules.slots()
    }

    /// Identities and values of those rules in `places` that are visible at `version`. A caller with
    /// a lock looks through a large table range by range.
    pub fn values(
        &self,
        places: std::ops::Range<u32>,
        version: Version,
    ) -> impl Iterator<Item = (RuleId, &T)> {
        let rules = places.filter_map(|place| self.rules.at(place));
        let visible = rules.filter(move |(_, rule)| rule.is_visible(version));
        visible.map(|(id, rule)| (id, &rule.value.value))
    }

    /// Whether lookups at `version` see a rule; false for one that was purged.
    pub fn is_visible(&self, id: RuleId, version: Version) -> bool {
        self.rules.get(id).is_some_and(|rule| rule.is_visible(version))
    }

    /// The value of a rule, visible or not, until it is purged.
    pub fn get(&self, id: RuleId) -> Option<&T> {
        self.rules.get(id).map(|rule| &rule.value.value)
    }

    /// A rule with its match and priority, visible or not, until it is purged.
    pub fn entry(&self, id: RuleId) -> Option<Entry<'_, T>> {
        let rule = self.rules.get(id)?;
        let matches = self.match_of(id.slot())?;
        Some(Entry { id, matches, priority: rule.rank().priority(), value: &rule.value.value })
    }

    /// The match of the rule in a slot, unpacked from its row.
    fn match_of(&self, slot: u32) -> Option<Match> {
        let (_, rule) = self.rules.at(slot)?;
        let subtable = &self.subtables[usize::from(rule.value.subtable)];
        subtable.rule(rule.value.hash, slot, rule.rank(), |slot| self.rules.rank_of(slot))
    }

    /// The key of the rule in a slot, unpacked from its row.
    fn key_of(&self, slot: u32) -> Option<PipelineKey> {
        let (_, rule) = self.rules.at(slot)?;
        let subtable = &self.subtables[usize::from(rule.value.subtable)];
        subtable.key(rule.value.hash, slot, rule.rank(), |slot| self.rules.rank_of(slot))
    }

    /// The words of a rule's match in which its mask has bits, in the order of the key, whether
    /// the rule is visible or not, until the rule is purged. Costs a fraction of what the whole
    /// match of an [`entry`](Self::entry) does.
    pub fn masked_words(&self, id: RuleId) -> Option<impl Iterator<Item = MaskedWord>> {
        let rule = self.rules.get(id)?;
        let subtable = &self.subtables[usize::from(rule.value.subtable)];
        let rank_of = |slot| self.rules.rank_of(slot);
        subtable.masked_words(rule.value.hash, id.slot(), rule.rank(), rank_of)
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

    /// The memory that rules have left behind since the last call, for the caller to drop.
    pub fn take_retired(&mut self) -> Retired {
        std::mem::take(&mut self.retired)
    }

    /// The memory that rules have left behind and that nobody has [taken](Self::take_retired).
    pub fn retired(&self) -> &Retired {
        &self.retired
    }

    /// Number of subtables that a lookup probes at worst.
    pub fn subtables_len(&self) -> usize {
        self.order.len()
    }

    /// Bytes on the heap, without what the values own.
    pub fn heap_size(&self) -> usize {
        let subtables = self.subtables.iter().chain(&self.retired.subtables);
        let subtables: usize = subtables.map(Subtable::heap_size).sum();
        let rows: usize = self.retired.rows.iter().map(Rows::heap_size).sum();
        subtables + rows + self.rules.heap_size() + self.masks.heap_size()
    }
}

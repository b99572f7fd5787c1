//! Keeps the rules of a classifier in good subtables while rules come and go.
//!
//! Each mask has a *home*: the subtable that takes new rules of this mask. A plan gives homes to
//! masks. The first plan is made when a table has [`FIRST_PLAN`] rules. Another one follows when
//! the table has doubled, when it has shrunk to a quarter, or when new rules fall into larger
//! buckets than the plan expected.
//!
//! When a plan gives a mask another home, the rules of the mask move there one at a time. A sweep
//! over the slots looks at a few rules with each change of the table, so that no single change
//! takes long. A search also looks into the subtables that rules have yet to leave, so its answers
//! are right at any time.
//!
//! Making a plan takes some milliseconds. A caller with a lock does not hold it meanwhile: it asks
//! for [`Classifier::planned_aside`], makes a survey under the lock, plans without the lock, and
//! adopts the plan under the lock.

use super::lanes::{HalfSet, Layout};
use super::masks::{Home, KnownMask};
use super::plan::Plan;
use super::subtable::Subtable;
use super::{Classifier, Filed};
use flow::{Match, PipelineKey, PipelineMask};
use std::cmp::Reverse;

/// A table with at most this number of slots is rearranged at once.
const SMALL: u32 = 1024;
/// Slots that the sweep looks at with each change of a larger table.
const SWEEP: u32 = 16;
/// Rules that the sweep moves with each change of a larger table, at most. Two are enough to finish
/// before the table has doubled again. More would keep readers waiting.
const MOVES: u32 = 2;
/// Rules whose rows one call of `give_back_room` copies to save memory, at most. Copying this
/// number takes some tens of microseconds.
const COMPACTED: usize = 1024;
/// Number of places of hash tables that are looked through for the rows to copy, at most. A table that
/// has lost nearly all of its rules has many places without a row.
const COMPACTED_PLACES: usize = 1 << 17;
/// Removing a rule from a bucket with this number of lines takes about as long as everything else that
/// freeing the rule needs.
pub(super) const LINES_OF_A_STEP: usize = 1024;
/// Number of rules at which the first plan of a table is made.
const FIRST_PLAN: usize = 4;
/// Number of subtables beyond which a mask without a home gets a subtable that hashes nothing and
/// takes any mask.
const MAX_SUBTABLES: usize = 96;

/// What has happened since the last plan was made, and which moves of rules are left to do.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Number of rules that the plan was made for.
    planned: usize,
    /// Rows that a lookup meets on average, as the plan expected.
    rows: usize,
    /// Rules added since the plan, without those that [`Classifier::expect`] had announced.
    inserted: usize,
    /// Rules added since the plan, announced or not. `met` is the sum of the rows in the buckets
    /// into which they fell.
    observed: usize,
    met: usize,
    /// Subtables made since the plan for masks that fitted into none.
    patches: usize,
    /// The number of the adoption that is under way, if one is. Rules do not move before every mask
    /// has its new home.
    pub(super) adopting: Option<u64>,
    /// The slot that the sweep looks at next, and the number of slots that it still has to look at.
    sweep: (u32, u32),
    /// Rules that [`Classifier::expect`] has announced and that have not been added yet.
    coming: usize,
}

impl Progress {
    /// The state of a table that begins to adopt a plan. The plan was made for `rules` rules in the
    /// table and for those that `before` expects.
    pub(super) fn adopting(number: u64, rules: usize, rows: usize, before: &Self) -> Self {
        let (planned, coming) = (rules + before.coming, before.coming);
        Self { planned, rows, adopting: Some(number), coming, ..Self::default() }
    }

    /// Ends the adoption: every mask has its new home. The sweep over the first `slots` slots begins.
    pub(super) fn end_adoption(&mut self, slots: u32) {
        self.adopting = None;
        self.sweep = (0, slots);
    }

    /// Whether some rules may be in another subtable than their mask's home.
    pub(super) fn is_moving(&self) -> bool {
        self.adopting.is_some() || self.sweep.1 > 0
    }

    /// Counts a subtable that was made for a mask which the plan does not know.
    pub(super) fn count_patch(&mut self) {
        self.patches += 1;
    }

    /// Number of subtables made since the plan for masks that it does not know.
    pub(super) fn patches(&self) -> usize {
        self.patches
    }

    /// Sets the number of rules that are announced.
    pub(super) fn expect(&mut self, rules: usize) {
        self.coming = rules;
    }

    /// Whether a table of `len` rules needs another plan: it has doubled, or shrunk to a quarter,
    /// or its buckets are larger than the plan expected.
    fn is_stale(&self, len: usize) -> bool {
        let grown = len >= FIRST_PLAN && self.inserted >= self.planned;
        let shrunk = self.planned > FIRST_PLAN && len + self.coming < self.planned / 4;
        let crowded = self.is_crowded(64 + self.planned / 16);
        let patched = self.patches > 8 && self.inserted > self.planned / 16;
        grown || shrunk || crowded || patched
    }

    /// Whether another plan may improve the table enough to be made in idle time.
    fn is_improvable(&self) -> bool {
        let has_changed = self.inserted > self.planned / 8 || self.patches > 2;
        self.coming == 0 && (has_changed || self.is_crowded(64))
    }

    /// Whether new rules fell into buckets that are much larger than planned, although at least
    /// `rules` rules were observed.
    fn is_crowded(&self, rules: usize) -> bool {
        self.met > self.observed.max(rules) * (8 + 2 * self.rows)
    }
}

impl<T> Classifier<T> {
    /// Uses idle time to arrange the rules for fast lookups. Moves at most `budget` rules, and
    /// returns whether nothing is left to do.
    pub fn settle(&mut self, budget: usize) -> bool {
        if budget == 0 {
            return false;
        }
        if !self.progress.is_moving() {
            if self.is_planned_aside {
                return true;
            }
            match self.survey(true) {
                Some(survey) => self.adopt_now(self.plan_now(survey)),
                None => return true,
            }
        }
        let budget = budget.try_into().unwrap_or(u32::MAX);
        self.sweep(budget, budget);
        false
    }

    /// Whether the table needs another plan. `is_idle` says that there is time to spare: then a
    /// plan that may improve the table is worth making, too.
    pub fn needs_plan(&self, is_idle: bool) -> bool {
        let len = self.filed_len();
        let is_due = self.progress.is_stale(len)
            || is_idle && len >= FIRST_PLAN && self.progress.is_improvable();
        is_due && !self.progress.is_moving()
    }

    /// Adopts a whole plan in one call.
    pub(super) fn adopt_now(&mut self, mut plan: Plan) {
        while self.adopt(&mut plan, usize::MAX) {}
    }

    /// Whether rules are still moving to the homes that a plan gave them. [`settle`](Self::settle)
    /// goes on with it.
    pub fn is_moving(&self) -> bool {
        self.progress.is_moving()
    }

    /// Puts a new rule into the subtable that is its mask's home.
    pub(super) fn add_row(&mut self, slot: u32, m: &Match) {
        let met = self.file(slot, m.key());
        self.progress.met += met;
        self.progress.observed += 1;
        match self.progress.coming {
            0 => self.progress.inserted += 1,
            _ => self.progress.coming -= 1,
        }
        self.arrange();
    }

    /// Takes a rule out of its subtable, and forgets its mask if the rule was the last one with it.
    /// Returns the number of lines in the rule's bucket, which tells how long this has taken.
    pub(super) fn drop_row(&mut self, slot: u32) -> usize {
        let lines = self.rules.at(slot).map_or(0, |(_, rule)| {
            self.subtables[usize::from(rule.value.subtable)].lines_of(rule.value.hash)
        });
        if let Some(number) = self.take_row(slot) {
            self.masks.get_mut(number).remove(slot);
            self.drop_mask_without_rules(number);
        }
        lines
    }

    /// Forgets the mask `number` if no rule has it and none is announced.
    pub(super) fn drop_mask_without_rules(&mut self, number: u32) {
        let known = self.masks.get(number);
        if known.rules == 0 {
            let home = known.home;
            let subtable = &mut self.subtables[usize::from(home.subtable)];
            subtable.homes -= 1;
            subtable.drop_mask(home.local);
            self.masks.remove(number, &self.hasher);
        }
    }

    /// Number of rules in the subtables, including removed rules that wait to be purged.
    pub(super) fn filed_len(&self) -> usize {
        self.rules.len() + self.rules.removed_len()
    }

    /// The number of a mask. A mask that is new gets a number, and a home in the subtable that
    /// hashes most of its bits.
    pub(super) fn mask_number(&mut self, mask: &PipelineMask) -> u32 {
        if let Some(number) = self.masks.find(mask, &self.hasher) {
            return number;
        }
        let number = self.masks.next_number();
        let halves = HalfSet::of(mask);
        let fitting = self.fitting(mask, halves);
        let bits = |subtable: &u16| ones(self.subtables[usize::from(*subtable)].hash_mask());
        let best = fitting.max_by_key(bits);
        let home = best.and_then(|subtable| {
            let local = self.subtables[usize::from(subtable)].add_mask(number, mask)?;
            Some(Home { subtable, local })
        });
        let home = home.unwrap_or_else(|| {
            let subtable = match self.order.len() >= MAX_SUBTABLES {
                true => {
                    self.progress.count_patch();
                    let layout = Layout::new(HalfSet::of(&all_bits()));
                    let hash_mask = PipelineMask::default();
                    self.add_subtable(Subtable::unplanned(layout, &hash_mask, &self.keys))
                }
                false => self.add_patch(mask, halves),
            };
            let local = self.subtables[usize::from(subtable)].add_mask(number, mask);
            Home { subtable, local: local.expect("a new subtable has numbers left") }
        });
        self.subtables[usize::from(home.subtable)].homes += 1;
        let known = KnownMask::new(mask, halves, home);
        self.masks.add(known, &self.hasher);
        number
    }

    /// Adds a subtable and returns its number.
    pub(super) fn add_subtable(&mut self, subtable: Subtable) -> u16 {
        match self.vacant_subtables.pop() {
            Some(at) => {
                self.subtables[usize::from(at)] = subtable;
                at
            }
            None => {
                self.subtables.push(subtable);
                (self.subtables.len() - 1) as u16
            }
        }
    }

    /// Puts a rule's row into the home of its mask. Returns the number of rows in its bucket.
    fn file(&mut self, slot: u32, key: &PipelineKey) -> usize {
        let Some((_, rule)) = self.rules.at(slot) else { return 0 };
        let Home { subtable: number, local } = self.masks.get(rule.value.mask).home;
        let rank = rule.rank();
        let rules = &self.rules;
        let subtable = &mut self.subtables[usize::from(number)];
        let before = (subtable.len() > 0).then(|| subtable.bound());
        let rank_of = |slot| rules.rank_of(slot);
        let (hash, met) = subtable.insert(key, local, slot, rank, rank_of);
        if before != Some(subtable.bound()) {
            self.sort();
        }
        if let Some(rule) = self.rules.at_mut(slot) {
            rule.value.subtable = number;
            rule.value.hash = hash;
        }
        met
    }

    /// Takes a rule's row out of the subtable where it is. Returns the number of the rule's mask;
    /// `None` if the slot is vacant.
    fn take_row(&mut self, slot: u32) -> Option<u32> {
        let (_, rule) = self.rules.at(slot)?;
        let (rank, rules) = (rule.rank(), &self.rules);
        let &Filed { hash, mask, subtable: number, .. } = &rule.value;
        let subtable = &mut self.subtables[usize::from(number)];
        let before = subtable.bound();
        let local = subtable.remove(hash, slot, rank, |slot| rules.rank_of(slot))?;
        if self.masks.get(mask).home.subtable != number {
            self.masks.take_away(mask);
            if subtable.rules_of(local) == 0 {
                subtable.drop_mask(local);
            }
        }
        if subtable.len() == 0 || subtable.bound() != before {
            self.sort();
        }
        Some(mask)
    }

    /// Sorts the subtables that have rules by their bounds, highest first, as the search wants them.
    fn sort(&mut self) {
        let subtables =
            self.subtables.iter().enumerate().filter(|(_, subtable)| subtable.len() > 0);
        self.order.clear();
        self.order.extend(subtables.map(|(at, subtable)| (subtable.bound(), at as u16)));
        self.order.sort_unstable_by_key(|&(bound, at)| (Reverse(bound), at));
        let used = self.order.iter().map(|&(_, at)| self.subtables[usize::from(at)].width());
        self.width = used.max().unwrap_or(1);
    }

    /// Makes and adopts another plan if the table has changed much, unless the owner does that
    /// itself. Then moves a few rules.
    pub(super) fn arrange(&mut self) {
        if !self.is_planned_aside
            && let Some(survey) = self.survey(false)
        {
            self.adopt_now(self.plan_now(survey));
        }
        if self.rules.slots() <= SMALL {
            self.sweep(u32::MAX, u32::MAX);
        } else {
            self.sweep(SWEEP, MOVES);
        }
    }

    /// Goes on with the sweep: looks at `looks` slots at most, and stops earlier when
    /// it has moved `moves` rules.
    fn sweep(&mut self, looks: u32, moves: u32) {
        let (first, left) = self.progress.sweep;
        if left == 0 || self.progress.adopting.is_some() {
            return;
        }
        let (mut looked, mut moved) = (0, 0);
        while looked < looks.min(left) && moved < moves && self.masks.has_away() {
            moved += u32::from(self.resettle(first + looked));
            looked += 1;
        }
        if !self.masks.has_away() {
            // Every rule behind is at home.
            looked = left;
        }
        self.progress.sweep = (first + looked, left - looked);
        if left == looked {
            self.give_back_room();
        }
    }

    /// Moves the rule in a slot to its mask's home. Returns `false` if the rule was there already
    /// or the slot is vacant.
    fn resettle(&mut self, slot: u32) -> bool {
        let Some((_, rule)) = self.rules.at(slot) else { return false };
        let &Filed { mask, subtable, .. } = &rule.value;
        if self.masks.get(mask).home.subtable == subtable {
            return false;
        }
        if let Some(key) = self.key_of(slot) {
            self.take_row(slot);
            self.file(slot, &key);
        }
        true
    }

    /// Gives back the memory that moved rules have left behind: subtables that are no mask's home,
    /// and unused room in the other ones. To be called when every rule is at home.
    pub(super) fn give_back_room(&mut self) {
        let mut vacant = vec![false; self.subtables.len()];
        self.vacant_subtables.iter().for_each(|&at| vacant[usize::from(at)] = true);
        let (mut compactable, mut places) = (COMPACTED, COMPACTED_PLACES);
        for (at, subtable) in self.subtables.iter_mut().enumerate() {
            if !vacant[at] && subtable.homes == 0 && subtable.len() == 0 {
                let layout = Layout::new(HalfSet::default());
                let empty = Subtable::unplanned(layout, &PipelineMask::default(), &self.keys);
                self.retired.subtables.push(std::mem::replace(subtable, empty));
                self.vacant_subtables.push(at as u16);
            }
            let looked_through = subtable.places_to_compact();
            if subtable.len() <= compactable
                && looked_through <= places
                && let Some(rows) = subtable.compact()
            {
                compactable -= subtable.len();
                places -= looked_through;
                self.retired.rows.push(rows);
            }
        }
        if !self.is_planned_aside {
            drop(self.take_retired());
        }
    }
}

pub(super) fn is_part(part: &PipelineMask, mask: &PipelineMask) -> bool {
    part.words().iter().zip(mask.words()).all(|(p, m)| p & !m == 0)
}

pub(super) fn ones(mask: &PipelineMask) -> u32 {
    mask.words().iter().map(|w| w.count_ones()).sum()
}

fn all_bits() -> PipelineMask {
    let mut mask = PipelineMask::default();
    mask.words_mut().fill(u64::MAX);
    mask
}

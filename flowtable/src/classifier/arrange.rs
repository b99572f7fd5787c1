//! Keeps the rules of a classifier in good subtables while it changes.
//!
//! Each mask has a *home*, the subtable that takes its rules. The first plan is made when a table has
//! [`FIRST_PLAN`] rules, further ones when it has doubled, when it has shrunk to a quarter, or when
//! new rules meet larger buckets than planned. A plan changes homes, and rules whose subtable is not
//! their mask's home any more move one by one: a sweep over the slots goes on with each change of the
//! table, so that no change takes long. Making a plan takes some milliseconds, in which nobody needs to
//! wait: whoever asks for that ([`Classifier::planned_aside`]) makes a survey, thinks, and brings the
//! plan back. Until the sweep is through, subtables that rules leave are still
//! searched, and answers are right at any time.

use super::lanes::{HalfSet, Layout};
use super::masks::{Home, KnownMask};
use super::plan::Plan;
use super::subtable::Subtable;
use super::{Classifier, Filed};
use flow::{Match, PipelineMask};
use std::cmp::Reverse;

/// Slots of a table that is small enough to be rearranged at once.
const SMALL: u32 = 1024;
/// Slots that are looked at with each change of a larger table.
const SWEEP: u32 = 16;
/// Rules that are moved with each change: enough to be through before the table has doubled again, and few,
/// because readers may be waiting.
const MOVES: u32 = 2;
/// Rules whose rows are copied together to save room, in some tens of microseconds.
const COMPACTED: usize = 1024;
/// Rules in a table before the first plan.
const FIRST_PLAN: usize = 4;
/// Subtables there should be at most.
const MAX_SUBTABLES: usize = 96;

/// What has happened since subtables were planned last, and what is left to do.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Rules there were when the subtables were planned.
    planned: usize,
    /// Rows that a lookup was planned to meet.
    rows: usize,
    /// Rules added since, but for those that were expected.
    inserted: usize,
    /// All rules added since, and the rows that were in their buckets.
    observed: usize,
    met: usize,
    /// Subtables made since.
    patches: usize,
    /// The adoption of a plan that is under way: rules do not move before all masks have their homes.
    pub(super) adopting: Option<u64>,
    /// The next slot to look at, and how many are left.
    sweep: (u32, u32),
    /// Rules that are expected.
    coming: usize,
}

impl Progress {
    /// The table begins to adopt a plan. It was made for the table's `rules` and for those that `before` expects.
    pub(super) fn adopting(number: u64, rules: usize, rows: usize, before: &Self) -> Self {
        let (planned, coming) = (rules + before.coming, before.coming);
        Self { planned, rows, adopting: Some(number), coming, ..Self::default() }
    }

    /// Every mask has the subtable that the plan gives it. The rules in the first `slots` slots are moved there next.
    pub(super) fn end_adoption(&mut self, slots: u32) {
        self.adopting = None;
        self.sweep = (0, slots);
    }

    /// Whether some rules may not be at home.
    pub(super) fn is_moving(&self) -> bool {
        self.adopting.is_some() || self.sweep.1 > 0
    }

    /// Sets how many rules will be added soon.
    pub(super) fn expect(&mut self, rules: usize) {
        self.coming = rules;
    }

    /// Whether the subtables were planned for a table of a very different size than `len` rules.
    fn is_stale(&self, len: usize) -> bool {
        let grown = len >= FIRST_PLAN && self.inserted >= self.planned;
        let shrunk = self.planned > FIRST_PLAN && len + self.coming < self.planned / 4;
        let crowded = self.is_crowded(64 + self.planned / 16);
        let patched = self.patches > 8 && self.inserted > self.planned / 16;
        grown || shrunk || crowded || patched
    }

    /// Whether a new plan would be worth its time if there is time.
    fn is_improvable(&self) -> bool {
        let has_changed = self.inserted > self.planned / 8 || self.patches > 2;
        self.coming == 0 && (has_changed || self.is_crowded(64))
    }

    /// Whether new rules met much more than was planned, and more than `rules` should have met.
    fn is_crowded(&self, rules: usize) -> bool {
        self.met > self.observed.max(rules) * (8 + 2 * self.rows)
    }
}

impl<T> Classifier<T> {
    /// Uses idle time to arrange the rules well for lookups. Moves no more than `budget` of them.
    /// Returns whether there was nothing left to do.
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

    /// Whether it is time for a new plan; with time to spare, whether one would be any better.
    pub fn needs_plan(&self, is_idle: bool) -> bool {
        let len = self.filed_len();
        let is_due = self.progress.is_stale(len)
            || is_idle && len >= FIRST_PLAN && self.progress.is_improvable();
        is_due && !self.progress.is_moving()
    }

    /// Takes over a plan at once.
    pub(super) fn adopt_now(&mut self, mut plan: Plan) {
        while self.adopt(&mut plan, usize::MAX) {}
    }

    /// Whether rules are on the move: [`settle`](Self::settle) goes on with that.
    pub fn is_moving(&self) -> bool {
        self.progress.is_moving()
    }

    /// Puts a new rule into its subtable.
    pub(super) fn add_row(&mut self, slot: u32, m: &Match) {
        let met = self.file(slot, m);
        self.progress.met += met;
        self.progress.observed += 1;
        match self.progress.coming {
            0 => self.progress.inserted += 1,
            _ => self.progress.coming -= 1,
        }
        self.arrange();
    }

    /// Takes a rule out of its subtable for good.
    pub(super) fn drop_row(&mut self, slot: u32) {
        if let Some(number) = self.take_row(slot) {
            self.masks.get_mut(number).remove(slot);
            self.drop_mask_without_rules(number);
        }
    }

    /// Forgets a mask if no rule has it.
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

    /// Rules in the tables, visible or not.
    pub(super) fn filed_len(&self) -> usize {
        self.rules.len() + self.rules.removed_len()
    }

    /// The number of a mask, a new one if no rule has it.
    pub(super) fn mask_number(&mut self, mask: &PipelineMask) -> u32 {
        if let Some(number) = self.masks.find(mask, &self.hasher) {
            return number;
        }
        let number = self.masks.next_number();
        let halves = HalfSet::of(mask);
        let fitting = self.order.iter().map(|&(_, subtable)| subtable).filter(|&subtable| {
            let subtable = &self.subtables[usize::from(subtable)];
            subtable.layout().set().contains(halves) && is_part(subtable.hash_mask(), mask)
        });
        let bits = |subtable: &u16| ones(self.subtables[usize::from(*subtable)].hash_mask());
        let best = fitting.max_by_key(bits);
        let home = best.and_then(|subtable| {
            let local = self.subtables[usize::from(subtable)].add_mask(number, mask)?;
            Some(Home { subtable, local })
        });
        let home = home.unwrap_or_else(|| {
            self.progress.patches += 1;
            let many = self.order.len() >= MAX_SUBTABLES;
            let halves = if many { HalfSet::of(&all_bits()) } else { halves };
            let hash_mask = if many { PipelineMask::default() } else { *mask };
            let subtable = Subtable::unplanned(Layout::new(halves), &hash_mask, &self.keys);
            let subtable = self.add_subtable(subtable);
            let local = self.subtables[usize::from(subtable)].add_mask(number, mask);
            Home { subtable, local: local.expect("a new subtable has numbers left") }
        });
        self.subtables[usize::from(home.subtable)].homes += 1;
        let known = KnownMask::new(mask, halves, home);
        self.masks.add(known, &self.hasher);
        number
    }

    /// Finds a number for a subtable.
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

    /// Puts the row of a rule into the subtable of its mask. Returns how many are in its bucket.
    fn file(&mut self, slot: u32, m: &Match) -> usize {
        let Some((_, rule)) = self.rules.at(slot) else { return 0 };
        let Home { subtable: number, local } = self.masks.get(rule.value.mask).home;
        let rank = rule.rank();
        let rules = &self.rules;
        let subtable = &mut self.subtables[usize::from(number)];
        let before = (subtable.len() > 0).then(|| subtable.bound());
        let rank_of = |slot| rules.rank_of(slot);
        let (hash, met) = subtable.insert(m.key(), local, slot, rank, rank_of);
        if before != Some(subtable.bound()) {
            self.sort();
        }
        if let Some(rule) = self.rules.at_mut(slot) {
            rule.value.subtable = number;
            rule.value.hash = hash;
        }
        met
    }

    /// Takes the row of a rule out of its subtable. Returns the number of its mask.
    fn take_row(&mut self, slot: u32) -> Option<u32> {
        let (_, rule) = self.rules.at(slot)?;
        let (rank, rules) = (rule.rank(), &self.rules);
        let &Filed { hash, mask, subtable: number, .. } = &rule.value;
        let subtable = &mut self.subtables[usize::from(number)];
        let before = subtable.bound();
        let local = subtable.remove(hash, slot, rank, |slot| rules.rank_of(slot))?;
        if self.masks.get(mask).home.subtable != number && subtable.rules_of(local) == 0 {
            subtable.drop_mask(local);
        }
        if subtable.len() == 0 || subtable.bound() != before {
            self.sort();
        }
        Some(mask)
    }

    /// Sorts the subtables for the search.
    fn sort(&mut self) {
        let subtables =
            self.subtables.iter().enumerate().filter(|(_, subtable)| subtable.len() > 0);
        self.order.clear();
        self.order.extend(subtables.map(|(at, subtable)| (subtable.bound(), at as u16)));
        self.order.sort_unstable_by_key(|&(bound, at)| (Reverse(bound), at));
        let used = self.order.iter().map(|&(_, at)| self.subtables[usize::from(at)].width());
        self.width = used.max().unwrap_or(1);
    }

    /// Plans the subtables anew if the table has changed much, and goes on moving rules.
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

    /// Looks at up to `looks` of the slots that are left, and stops earlier when it has moved `moves` rules.
    fn sweep(&mut self, looks: u32, moves: u32) {
        let (first, left) = self.progress.sweep;
        if left == 0 || self.progress.adopting.is_some() {
            return;
        }
        let (mut looked, mut moved) = (0, 0);
        while looked < looks.min(left) && moved < moves {
            moved += u32::from(self.resettle(first + looked));
            looked += 1;
        }
        self.progress.sweep = (first + looked, left - looked);
        if left == looked {
            self.give_back_room();
        }
    }

    /// Moves a rule to the subtable of its mask, if it is not there. Returns whether it was not.
    fn resettle(&mut self, slot: u32) -> bool {
        let Some((_, rule)) = self.rules.at(slot) else { return false };
        let &Filed { mask, subtable, .. } = &rule.value;
        if self.masks.get(mask).home.subtable == subtable {
            return false;
        }
        if let Some(m) = self.match_of(slot) {
            self.take_row(slot);
            self.file(slot, &m);
        }
        true
    }

    /// Rules are where they belong: gives back what they have left behind, that is subtables that no mask has
    /// for its home, and room in the others.
    pub(super) fn give_back_room(&mut self) {
        let mut vacant = vec![false; self.subtables.len()];
        self.vacant_subtables.iter().for_each(|&at| vacant[usize::from(at)] = true);
        let mut compactable = COMPACTED;
        for (at, subtable) in self.subtables.iter_mut().enumerate() {
            if !vacant[at] && subtable.homes == 0 && subtable.len() == 0 {
                let layout = Layout::new(HalfSet::default());
                let empty = Subtable::unplanned(layout, &PipelineMask::default(), &self.keys);
                self.retired.subtables.push(std::mem::replace(subtable, empty));
                self.vacant_subtables.push(at as u16);
            }
            if subtable.len() <= compactable
                && let Some(rows) = subtable.compact()
            {
                compactable -= subtable.len();
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

fn ones(mask: &PipelineMask) -> u32 {
    mask.words().iter().map(|w| w.count_ones()).sum()
}

fn all_bits() -> PipelineMask {
    let mut mask = PipelineMask::default();
    mask.words_mut().fill(u64::MAX);
    mask
}

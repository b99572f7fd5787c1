//! Adopts a plan, a few masks at a time: each mask gets the home that the plan has for it.
//!
//! From the moment when a mask has another home, its rules may be in two subtables. The classifier
//! therefore counts rules as moving from the first mask on. The sweep that moves the rules begins
//! when every mask has its home.

use super::Classifier;
use super::arrange::{Progress, is_part};
use super::lanes::Layout;
use super::masks::Home;
use super::plan::{Adoption, Plan, PlannedSubtable};
use super::subtable::Subtable;

impl<T> Classifier<T> {
    /// Adopts a plan for `budget` further masks, and returns whether masks are left. When every
    /// mask has its home, rules begin to move. The rules may have changed since the survey for the
    /// plan was made.
    ///
    /// A plan that comes too late is dropped: one that comes while rules still move as an earlier
    /// plan wants, and one that another adoption has overtaken.
    pub fn adopt(&mut self, plan: &mut Plan, budget: usize) -> bool {
        let Some(number) = plan.adoption.number else {
            return self.begin_adoption(plan);
        };
        if self.progress.adopting != Some(number) {
            return false;
        }
        let mut left = budget;
        while let Some(planned) = plan.subtables.get_mut(plan.adoption.at) {
            let adoption = &mut plan.adoption;
            let subtable = *adoption.subtable.get_or_insert_with(|| self.subtable_for(planned));
            let end = planned.masks.len().min(adoption.masks + left);
            for &mask in &planned.masks[adoption.masks..end] {
                self.rehome(mask, subtable);
            }
            left -= end - adoption.masks;
            adoption.masks = end;
            if end < planned.masks.len() {
                return true;
            }
            *adoption =
                Adoption { number: adoption.number, at: adoption.at + 1, ..Adoption::default() };
            if left == 0 {
                return true;
            }
        }
        self.progress.end_adoption(if self.masks.has_away() { self.rules.slots() } else { 0 });
        if !self.progress.is_moving() {
            self.give_back_room();
        }
        false
    }

    fn begin_adoption(&mut self, plan: &mut Plan) -> bool {
        // Announced rules need the plan that was made for them, even if another plan was adopted meanwhile.
        let is_needed = plan.is_for_expected && !self.expected.is_empty();
        if self.progress.is_moving() && !is_needed {
            return false;
        }
        self.seed = self.hasher.hash_one(self.seed);
        self.adoptions += 1;
        plan.adoption.number = Some(self.adoptions);
        let planned = self.filed_len();
        self.progress = Progress::adopting(self.adoptions, planned, plan.rows, &self.progress);
        true
    }

    /// The number of the subtable that takes the masks of a planned subtable: an existing one with
    /// the same hash mask and width, or a new one.
    fn subtable_for(&mut self, planned: &mut PlannedSubtable) -> u16 {
        let &mut PlannedSubtable { ref hash_mask, halves, rules, .. } = planned;
        let existing = self.order.iter().map(|&(_, at)| at).find(|&at| {
            let subtable = &self.subtables[usize::from(at)];
            let set = subtable.layout().set();
            subtable.hash_mask() == hash_mask
                && !subtable.is_outgrown()
                && set.contains(halves)
                && set.width() == halves.width()
        });
        existing.unwrap_or_else(|| {
            let cells = std::mem::take(&mut planned.cells);
            let layout = Layout::new(halves);
            let subtable = Subtable::new(layout, &planned.hash_mask, &self.keys, rules, cells);
            self.add_subtable(subtable)
        })
    }

    /// Makes `subtable` the home of the mask `number`. Does nothing if the mask does not fit there:
    /// the number may have been given to another mask since the plan was made.
    pub(super) fn rehome(&mut self, number: u32, subtable: u16) {
        if !self.masks.is_known(number) {
            return;
        }
        let known = self.masks.get(number);
        let (old, mask, halves) = (known.home, known.mask(), known.halves);
        let to = &mut self.subtables[usize::from(subtable)];
        let fits = to.layout().set().contains(halves) && is_part(to.hash_mask(), &mask);
        if old.subtable == subtable || !fits {
            return;
        }
        let local = to.local_number(number).or_else(|| to.add_mask(number, &mask));
        let Some(local) = local else { return };
        to.homes += 1;
        let left = &mut self.subtables[usize::from(old.subtable)];
        left.homes -= 1;
        if left.rules_of(old.local) == 0 {
            left.drop_mask(old.local);
        }
        let rules_there = self.subtables[usize::from(subtable)].rules_of(local);
        self.masks.move_home(number, Home { subtable, local }, rules_there);
    }
}

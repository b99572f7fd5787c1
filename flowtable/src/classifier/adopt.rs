//! Takes over a plan, a few masks at a time: each gets the home that the plan has for it.
//!
//! As soon as a mask has another home, its rules may be in two subtables, so rules count as moving from the start. The
//! sweep that moves them begins when all masks have their homes.

use super::Classifier;
use super::arrange::{Progress, is_part};
use super::lanes::Layout;
use super::masks::Home;
use super::plan::{Plan, PlannedSubtable};
use super::subtable::Subtable;

/// How far a plan has been taken over.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    /// The number of this adoption, once it has begun.
    number: Option<u64>,
    /// The planned subtable that masks are given to, and its number in the classifier once there is one.
    at: usize,
    subtable: Option<u16>,
    /// Masks of it that have been given to it.
    masks: usize,
}

impl<T> Classifier<T> {
    /// Takes over a plan for `budget` masks more, and returns whether there are more. Rules may have changed since
    /// the survey for the plan was made. When all masks have their homes, rules begin to move.
    ///
    /// A plan is dropped that comes too late: while rules still move as an earlier one wants it, or when another one has
    /// been begun since.
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
        self.progress.end_adoption(self.rules.slots());
        if !self.progress.is_moving() {
            self.give_back_room();
        }
        false
    }

    fn begin_adoption(&mut self, plan: &mut Plan) -> bool {
        // Expected rules need the plan that was made for them, whatever was adopted meanwhile.
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

    /// The subtable for the masks of a planned one: one that is alike, or a new one.
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

    /// Makes a subtable take the rules of a mask from now on, if it can. The mask's number may be another one's since
    /// the plan was made.
    fn rehome(&mut self, number: u32, subtable: u16) {
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
        self.masks.get_mut(number).home = Home { subtable, local };
    }
}

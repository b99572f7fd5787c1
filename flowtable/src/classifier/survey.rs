//! A survey of a table, from which a plan is made: every mask with its number of rules, and the
//! keys of some rules.
//!
//! A table may have as many masks as rules. A survey is therefore made a few masks or rules at a
//! time, by a caller that holds its lock only for one such step. If rules change between the steps,
//! the plan is less good, but answers stay right.

use super::Classifier;
use super::plan::{Census, MASKS, Plan, RARE, SAMPLE, plan};
use flow::{PipelineKey, PipelineMask};
use std::cmp::Reverse;

/// Keys of some announced rules of one mask.
#[derive(Debug)]
pub(super) struct Coming {
    /// The mask's number.
    pub(super) mask: u32,
    pub(super) sample: Vec<PipelineKey>,
}

/// What a plan needs to know of a table: its masks with their numbers of rules, and a sample of its rules.
#[derive(Debug)]
pub struct Survey {
    seed: u64,
    /// Sorted by the number of the mask.
    census: Vec<Census>,
    /// The number of the next mask to count.
    next_mask: u32,
    /// Slots of the rules whose keys are to be looked at.
    slots: Vec<u32>,
    /// Whether `slots` has every slot of the table.
    is_complete: bool,
    coming: Vec<Coming>,
    /// The subtables with their hash masks, which a plan keeps unless others are much better. None if it need
    /// not keep any.
    kept: Vec<(u16, PipelineMask)>,
}

impl Survey {
    /// Allocates room for `masks` further masks. For hundreds of thousands of masks this takes
    /// milliseconds and should happen without a lock.
    pub fn make_room(&mut self, masks: usize) {
        self.census.reserve(masks);
    }

    /// Chooses the rules whose keys are to be looked at: a random sample of all rules, and some
    /// rules of each mask that is planned for on its own.
    ///
    /// To be called between [`Classifier::count_masks`] and [`Classifier::look_at_rules`]. Needs no lock.
    pub fn choose_rules(&mut self) {
        if !self.is_complete {
            let mut common: Vec<&Census> = self.census.iter().collect();
            let mut rare = Vec::new();
            if common.len() > MASKS {
                common.select_nth_unstable_by_key(MASKS, |mask| Reverse(mask.rules));
                rare = common.split_off(MASKS);
            }
            let few = common.iter().flat_map(|mask| &mask.slots);
            let some = rare.iter().step_by(1 + rare.len() / RARE);
            let some = some.filter_map(|mask| mask.slots.first());
            self.slots.extend(few.chain(some));
        }
        self.slots.sort_unstable();
        self.slots.dedup();
    }

    /// Makes a plan. This takes some milliseconds and needs no lock.
    pub fn plan(mut self) -> Plan {
        let is_for_expected = !self.coming.is_empty();
        for Coming { mask, sample } in self.coming {
            if let Ok(at) = self.census.binary_search_by_key(&mask, |c| c.number) {
                self.census[at].sample.extend(sample);
            }
        }
        plan(self.census, &self.kept, is_for_expected, self.seed)
    }
}

impl<T> Classifier<T> {
    /// Begins a survey if the table [needs a plan](Self::needs_plan).
    pub fn survey(&self, is_idle: bool) -> Option<Survey> {
        self.needs_plan(is_idle).then(|| {
            let mut survey = self.begin_survey(Vec::new());
            // Who adds rules has to wait for those that move. In idle time the best plan is worth them.
            if !is_idle {
                let hash_mask = |at: u16| *self.subtables[usize::from(at)].hash_mask();
                survey.kept.extend(self.order.iter().map(|&(_, at)| (at, hash_mask(at))));
            }
            survey
        })
    }

    /// Begins a survey in which the announced rules `coming` count.
    pub(super) fn begin_survey(&self, coming: Vec<Coming>) -> Survey {
        let seed = self.hasher.hash_one(self.seed);
        let slots = self.rules.slots();
        let is_complete = slots <= SAMPLE as u32;
        let random = |n| (self.hasher.hash_one((seed, n)) % u64::from(slots)) as u32;
        let slots = match is_complete {
            true => (0..slots).collect(),
            false => (0..SAMPLE as u64).map(random).collect(),
        };
        Survey {
            seed,
            census: Vec::new(),
            next_mask: 0,
            slots,
            is_complete,
            coming,
            kept: Vec::new(),
        }
    }

    /// Counts the rules of `budget` further masks. Returns whether masks may be left.
    pub fn count_masks(&self, survey: &mut Survey, budget: usize) -> bool {
        let masks = self.masks.behind(survey.next_mask).take(budget);
        let before = survey.next_mask;
        for (number, known) in masks {
            survey.next_mask = number + 1;
            if let Some(known) = known {
                survey.census.push(Census {
                    number,
                    mask: known.mask(),
                    rules: known.planned_rules(),
                    sample: Vec::new(),
                    slots: known.sample().collect(),
                    home: known.home.subtable,
                });
            }
        }
        survey.next_mask > before
    }

    /// Takes the keys of `budget` further rules of those that were chosen. Returns whether rules are left.
    pub fn look_at_rules(&self, survey: &mut Survey, budget: usize) -> bool {
        let left = survey.slots.len().saturating_sub(budget);
        for slot in survey.slots.drain(left..) {
            let Some((_, rule)) = self.rules.at(slot) else { continue };
            let at = survey.census.binary_search_by_key(&rule.value.mask, |c| c.number);
            if let Ok(at) = at
                && let Some(key) = self.key_of(slot)
            {
                survey.census[at].sample.push(key);
            }
        }
        left > 0
    }

    /// Makes the whole survey in one call, and a plan from it.
    pub(super) fn plan_now(&self, mut survey: Survey) -> Plan {
        while self.count_masks(&mut survey, usize::MAX) {}
        survey.choose_rules();
        while self.look_at_rules(&mut survey, usize::MAX) {}
        survey.plan()
    }
}

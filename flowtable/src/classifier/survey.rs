//! What a plan is made from: all masks with their numbers of rules, and some of the rules.
//!
//! There may be as many masks as rules, so a survey is made a few masks or rules at a time, by whoever holds a lock
//! only for that long. Rules may change meanwhile: a plan made from a survey is never wrong, only less good.

use super::Classifier;
use super::masks::KnownMask;
use super::plan::{MASKS, Plan, RARE, SAMPLE, plan};
use arrayvec::ArrayVec;
use flow::{PipelineKey, PipelineMask};
use std::cmp::Reverse;

/// A mask with the rules that have it or will have it.
#[derive(Debug)]
pub(super) struct Census {
    pub(super) number: u32,
    pub(super) mask: PipelineMask,
    pub(super) rules: u32,
    /// Keys of some of them.
    pub(super) sample: Vec<PipelineKey>,
    /// Slots where some of them were.
    slots: ArrayVec<u32, { KnownMask::SAMPLE }>,
}

/// Keys of some rules of a mask that are to come.
#[derive(Debug)]
pub(super) struct Coming {
    /// The mask's number.
    pub(super) mask: u32,
    pub(super) sample: Vec<PipelineKey>,
}

/// What a plan needs to know of a table, gathered a few masks and rules at a time.
#[derive(Debug)]
pub struct Survey {
    seed: u64,
    /// By the masks' numbers.
    census: Vec<Census>,
    /// The number of the next mask to count.
    next_mask: u32,
    /// Slots of rules to look at.
    slots: Vec<u32>,
    /// These are all slots.
    is_complete: bool,
    coming: Vec<Coming>,
}

impl Survey {
    /// Makes room for some more masks, which takes a while if there are very many.
    pub fn make_room(&mut self, masks: usize) {
        self.census.reserve(masks);
    }

    /// Chooses the rules to look at: where possible in proportion, but at least some of each mask that is
    /// planned for. To be called between [`Classifier::count_masks`] and [`Classifier::look_at_rules`]; needs
    /// no lock.
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

    /// Thinks: some milliseconds.
    pub fn plan(mut self) -> Plan {
        let is_for_expected = !self.coming.is_empty();
        for Coming { mask, sample } in self.coming {
            if let Ok(at) = self.census.binary_search_by_key(&mask, |c| c.number) {
                self.census[at].sample.extend(sample);
            }
        }
        plan(self.census, is_for_expected, self.seed)
    }
}

impl<T> Classifier<T> {
    /// Begins a survey if it is time for a new plan; with time to spare, if one would be any better.
    pub fn survey(&self, is_idle: bool) -> Option<Survey> {
        self.needs_plan(is_idle).then(|| self.begin_survey(Vec::new()))
    }

    /// Begins a survey in which some rules count that are to come.
    pub(super) fn begin_survey(&self, coming: Vec<Coming>) -> Survey {
        let seed = self.hasher.hash_one(self.seed);
        let slots = self.rules.slots();
        let is_complete = slots <= SAMPLE as u32;
        let random = |n| (self.hasher.hash_one((seed, n)) % u64::from(slots)) as u32;
        let slots = match is_complete {
            true => (0..slots).collect(),
            false => (0..SAMPLE as u64).map(random).collect(),
        };
        Survey { seed, census: Vec::new(), next_mask: 0, slots, is_complete, coming }
    }

    /// Counts some masks. Returns whether there are more.
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
                });
            }
        }
        survey.next_mask > before
    }

    /// Looks at some of the rules that were chosen. Returns whether there are more.
    pub fn look_at_rules(&self, survey: &mut Survey, budget: usize) -> bool {
        let left = survey.slots.len().saturating_sub(budget);
        for slot in survey.slots.drain(left..) {
            let Some((_, rule)) = self.rules.at(slot) else { continue };
            let at = survey.census.binary_search_by_key(&rule.value.mask, |c| c.number);
            if let Ok(at) = at
                && let Some(m) = self.match_of(slot)
            {
                survey.census[at].sample.push(*m.key());
            }
        }
        left > 0
    }

    /// Makes a survey at once, and a plan from it.
    pub(super) fn plan_now(&self, mut survey: Survey) -> Plan {
        while self.count_masks(&mut survey, usize::MAX) {}
        survey.choose_rules();
        while self.look_at_rules(&mut survey, usize::MAX) {}
        survey.plan()
    }
}

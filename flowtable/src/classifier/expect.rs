//! Getting ready for many rules at once.
//!
//! A table that doubles again and again is planned anew each time, and its rules move. Whoever knows that
//! many rules are to come, and some of them, says so before: then the first plan is made for all of
//! them, and each rule goes where it stays. Masks of the sample are known from then on, whether or not
//! a rule comes; [`Classifier::expect_no_more`] forgets those that none came for.

use super::Classifier;
use super::lanes::{HalfSet, Layout};
use super::masks::{Home, KnownMask};
use super::plan::{MASKS, SAMPLE};
use super::subtable::Subtable;
use super::survey::{Coming, Survey};
use flow::key::PIPELINE_WORDS;
use flow::{Match, PipelineKey, PipelineMask};
use std::collections::BTreeMap;

/// Additions from which it pays.
const MANY: usize = 1024;
/// Keys of a mask that a plan looks at, however rare it is.
const FEW: usize = 3;

/// Some of the rules that are to come, in no particular order.
#[derive(Debug, Default)]
pub struct Sample {
    /// By the words of the mask.
    masks: BTreeMap<[u64; PIPELINE_WORDS], Sampled>,
    len: usize,
}

#[derive(Debug, Default)]
struct Sampled {
    mask: PipelineMask,
    rules: usize,
    keys: Vec<PipelineKey>,
}

impl Sample {
    /// Adds a rule.
    pub fn add(&mut self, m: &Match) {
        let is_full = self.masks.len() >= MASKS;
        let words = m.mask().words();
        if is_full && !self.masks.contains_key(words) {
            return;
        }
        let sampled = self.masks.entry(*words).or_default();
        sampled.mask = *m.mask();
        sampled.rules += 1;
        if self.len < SAMPLE || sampled.keys.len() < FEW {
            sampled.keys.push(*m.key());
        }
        self.len += 1;
    }

    /// Rules in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T> Classifier<T> {
    /// Begins a survey for `rules` additions like those of a sample, if they are more than the
    /// table has. When the plan has been adopted and the rules have been added,
    /// [`expect_no_more`](Self::expect_no_more).
    pub fn expect(&mut self, sample: Sample, rules: usize) -> Option<Survey> {
        if rules < MANY || rules <= self.filed_len() || sample.is_empty() || self.is_moving() {
            return None;
        }
        self.expected = self.know_masks(&sample);
        self.progress.expect(rules);
        let len = sample.len;
        let mut coming = Vec::with_capacity(self.expected.len());
        for (&mask, sampled) in self.expected.iter().zip(sample.masks.into_values()) {
            self.masks.get_mut(mask).expected = (rules * sampled.rules / len) as u32;
            coming.push(Coming { mask, sample: sampled.keys });
        }
        Some(self.begin_survey(coming))
    }

    /// All rules that were expected have come, or will not.
    pub fn expect_no_more(&mut self) {
        self.progress.expect(0);
        for number in std::mem::take(&mut self.expected) {
            if self.masks.is_known(number) {
                self.masks.get_mut(number).expected = 0;
                self.drop_mask_without_rules(number);
            }
        }
    }

    /// The numbers of a sample's masks. New ones are at home in a subtable of no use until there is a plan.
    fn know_masks(&mut self, sample: &Sample) -> Vec<u32> {
        let mut union = PipelineMask::default();
        for words in sample.masks.keys() {
            union.words_mut().iter_mut().zip(words).for_each(|(all, word)| *all |= word);
        }
        let layout = Layout::new(HalfSet::of(&union));
        let subtable = Subtable::unplanned(layout, &PipelineMask::default(), &self.keys);
        let subtable = self.add_subtable(subtable);
        let mut number_of = |mask: &PipelineMask| {
            self.masks.find(mask, &self.hasher).unwrap_or_else(|| {
                let number = self.masks.next_number();
                let local = self.subtables[usize::from(subtable)].add_mask(number, mask);
                let local = local.expect("a sample has fewer masks than a subtable can have");
                self.subtables[usize::from(subtable)].homes += 1;
                let known = KnownMask::new(mask, HalfSet::of(mask), Home { subtable, local });
                self.masks.add(known, &self.hasher);
                number
            })
        };
        sample.masks.values().map(|sampled| number_of(&sampled.mask)).collect()
    }
}

//! Prepares a table for many rules that are about to be added.
//!
//! A table that grows by doubling is planned anew each time, and its rules move. A caller that
//! knows the number of rules to come, and a sample of them, announces them first. The first plan is
//! then made for all rules, and each rule goes where it stays.
//!
//! From then on the classifier knows the masks of the sample, even if no rule with such a mask is
//! added. [`Classifier::expect_no_more`] forgets the masks that no rule has.

use super::Classifier;
use super::lanes::{HalfSet, Layout};
use super::masks::{Home, KnownMask};
use super::plan::{MASKS, SAMPLE};
use super::subtable::Subtable;
use super::survey::{Coming, Survey};
use flow::key::PIPELINE_WORDS;
use flow::{Match, PipelineKey, PipelineMask};
use std::collections::BTreeMap;

/// Number of additions from which announcing them pays.
const MANY: usize = 1024;
/// Number of keys of each mask that a sample keeps in any case, however rare the mask is.
const FEW: usize = 3;

/// A sample of the rules that are to be added, in no particular order.
#[derive(Debug, Default)]
pub struct Sample {
    /// Key: the words of the mask.
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
    /// Adds a rule to the sample.
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

    /// Number of rules that were added to the sample.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no rule was added to the sample.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T> Classifier<T> {
    /// Announces `rules` additions of which `sample` is a sample, and begins a survey for their
    /// plan. `None` if the announcement would not pay: the additions are few, or fewer than the
    /// rules in the table, or rules are moving.
    ///
    /// When the plan has been adopted and the rules have been added, call
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

    /// Ends the announcement: no further announced rule will be added.
    pub fn expect_no_more(&mut self) {
        self.progress.expect(0);
        for number in std::mem::take(&mut self.expected) {
            if self.masks.is_known(number) {
                self.masks.get_mut(number).expected = 0;
                self.drop_mask_without_rules(number);
            }
        }
    }

    /// The numbers of the masks of a sample. The home of a new mask is a subtable that hashes
    /// nothing, until a plan gives it another one.
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

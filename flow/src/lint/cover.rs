//! Finds a rule that covers a match: a rule that matches every packet of the match.
//!
//! A rule covers a match if the match looks at every bit that the rule looks at, and wants the same values
//! there. Rules with equal masks share a hash table whose keys are the masked keys (tuple space search). So a
//! search takes one probe for each mask, not one comparison for each rule.

use super::LintRule;
use crate::Match;
use crate::key::PipelineMask;
use std::collections::HashMap;

/// The rules of one table of the switch, grouped by mask.
pub(super) struct Cover {
    /// One for each mask, in the order of falling [`Tuple::highest`].
    tuples: Vec<Tuple>,
}

/// The rules with one mask.
struct Tuple {
    mask: Projection,
    /// For each masked key the rule of highest priority: its priority and its index.
    best: HashMap<Box<[u64]>, (u16, usize)>,
    /// The highest priority of all rules with this mask.
    highest: u16,
}

/// A mask without its zero words: pairs of a word's index in the key and its bits, by ascending index.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Projection(Box<[(usize, u64)]>);

impl Projection {
    pub(super) fn new(mask: &PipelineMask) -> Self {
        Self(mask.words().iter().copied().enumerate().filter(|(_, word)| *word != 0).collect())
    }

    /// The mask of the bits that both masks have.
    pub(super) fn common(&self, other: &Self) -> Self {
        let word = |i: usize| other.0.iter().find(|(j, _)| *j == i).map_or(0, |(_, word)| *word);
        let words = self.0.iter().map(|&(i, mask)| (i, mask & word(i)));
        Self(words.filter(|(_, word)| *word != 0).collect())
    }

    /// Puts the values that the match wants in the bits of this mask into `into`, one element for each word of
    /// the projection. The old contents of `into` are dropped.
    pub(super) fn project(&self, matching: &Match, into: &mut Vec<u64>) {
        let words = matching.key().words();
        into.clear();
        into.extend(self.0.iter().map(|&(i, mask)| words[i] & mask));
    }

    fn is_part_of(&self, mask: &PipelineMask) -> bool {
        let words = mask.words();
        self.0.iter().all(|&(i, bits)| words[i] & bits == bits)
    }
}

impl Cover {
    pub(super) fn new(rules: &[LintRule<'_>], members: &[usize]) -> Self {
        let mut places: HashMap<Projection, usize> = HashMap::new();
        let mut tuples: Vec<Tuple> = Vec::new();
        let mut key = Vec::new();
        for &rule in members {
            let LintRule { matching, priority, .. } = rules[rule];
            let mask = Projection::new(matching.mask());
            let place = *places.entry(mask).or_insert_with_key(|mask| {
                tuples.push(Tuple { mask: mask.clone(), best: HashMap::new(), highest: 0 });
                tuples.len() - 1
            });
            let tuple = &mut tuples[place];
            tuple.mask.project(matching, &mut key);
            tuple.highest = tuple.highest.max(priority);
            match tuple.best.get_mut(&key[..]) {
                Some(best) if best.0 >= priority => {}
                Some(best) => *best = (priority, rule),
                None => {
                    tuple.best.insert(key.as_slice().into(), (priority, rule));
                }
            }
        }
        tuples.sort_by_key(|tuple| std::cmp::Reverse(tuple.highest));
        Self { tuples }
    }

    /// The number of masks, which is the number of steps that [`Cover::above`] takes at most.
    pub(super) fn len(&self) -> usize {
        self.tuples.len()
    }

    /// Of the rules that cover the match and have more than `priority`, the index of the
    /// one with the highest priority.
    pub(super) fn above(&self, matching: &Match, priority: u16) -> Option<usize> {
        let mut found: Option<(u16, usize)> = None;
        let mut key = Vec::new();
        for tuple in &self.tuples {
            if tuple.highest <= found.map_or(priority, |(best, _)| best) {
                break;
            }
            if tuple.mask.is_part_of(matching.mask()) {
                tuple.mask.project(matching, &mut key);
                let best = tuple.best.get(&key[..]).copied();
                let is_better = |best: u16| best > found.map_or(priority, |(best, _)| best);
                found = best.filter(|(best, _)| is_better(*best)).or(found);
            }
        }
        found.map(|(_, rule)| rule)
    }
}

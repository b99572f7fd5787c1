//! Looks a packet up among rules of which some are alternatives of
//! conjunctions (ovs-fields(7), "Conjunctive Match Fields").
//!
//! A conjunction has two or more clauses, and each clause has rules as its alternatives. If each clause
//! has an alternative that matches a packet, the packet is looked up a second time, with the
//! conjunction's number in the field `conj_id`. So 1,000 sources and 1,000 destinations take 2,000 rules
//! and one for `conj_id`, not a million.
//!
//! An alternative never wins a look-up itself. The search collects the alternatives that match, and goes
//! on until an ordinary rule beats all rules that are left. Conjunctions of a higher priority than that
//! rule come first, the highest priority first. Of several with one priority, the one comes first whose
//! clauses are complete with the alternatives that were inserted first. An ordinary rule beats a
//! conjunction of its own priority.
//!
//! The classifier does not look into values: the caller says which clauses a value names. `conj_id` is the only
//! field that the classifier knows.

use super::lanes::{self, Line};
use super::rows::{Block, Header};
use super::search::{Hit, Packed, Probes, Search, explain};
use super::subtable::Subtable;
use super::{Classifier, Version};
use flow::action::Clause;
use flow::{PipelineKey, PipelineMask};
use std::cmp::Reverse;
use std::collections::HashMap;

impl<T> Classifier<T> {
    /// As [`lookup`](Self::lookup), if some values are alternatives of conjunctions. `clauses_of` has
    /// the clauses that a value names, none for an ordinary rule. Adds the number of clauses that
    /// were looked at to `work`.
    pub fn lookup_conjunctive<'t, C: Iterator<Item = Clause>>(
        &'t self,
        key: &PipelineKey,
        version: Version,
        mask: &mut PipelineMask,
        clauses_of: impl Fn(&'t T) -> C,
        work: &mut usize,
    ) -> Option<&'t T> {
        let Self { rules, subtables, order, .. } = self;
        let search = Search { rules, subtables, order, key, version };
        let mut search = Conjunctive { search, clauses_of, hasher: &self.hasher, work };
        match self.width {
            0 | 1 => search.run::<1>(mask),
            2 => search.run::<2>(mask),
            3 | 4 => search.run::<4>(mask),
            _ => search.run::<{ lanes::MAX_WIDTH }>(mask),
        }
    }
}

/// The arguments of a search among rules and alternatives.
struct Conjunctive<'a, 'k, 'w, T, F> {
    search: Search<'a, 'k, T>,
    clauses_of: F,
    hasher: &'a ahash::RandomState,
    work: &'w mut usize,
}

impl<'a, T, C, F> Conjunctive<'a, '_, '_, T, F>
where
    C: Iterator<Item = Clause>,
    F: Fn(&'a T) -> C,
{
    fn run<const W: usize>(&mut self, mask: &mut PipelineMask) -> Option<&'a T> {
        let mut probes = Probes::new();
        let mut packed = Packed::<'a, W>::new();
        let mut best: Option<Hit<'a, T>> = None;
        let mut alternatives: Vec<Hit<'a, T>> = Vec::new();
        for &(bound, number) in self.search.order {
            if best.as_ref().is_some_and(|best| best.priority > bound) {
                break;
            }
            let subtable = &self.search.subtables[usize::from(number)];
            packed.turn_key(subtable.layout(), self.search.key, mask);
            let block = subtable.bucket(subtable.hash(packed.key()));
            if let Some(block) = block {
                self.scan(subtable, block, packed.key(), &mut best, &mut alternatives);
            }
            packed.remember(&mut probes, number, subtable, block, self.search.key, mask);
        }
        alternatives.retain(|hit| best.as_ref().is_none_or(|best| hit.priority > best.priority));
        alternatives.sort_unstable_by_key(|hit| Reverse(hit.rank));
        let conjunction = self.conjunction::<W>(&alternatives, mask);
        let end = match (&conjunction, &best) {
            (Some((priority, _)), _) => Some((*priority, None)),
            (None, Some(best)) => Some((best.priority, Some(best.row))),
            (None, None) => None,
        };
        let winner = best.as_ref().filter(|_| conjunction.is_none());
        let concerned =
            alternatives.iter().filter(|hit| end.is_none_or(|end| hit.priority >= end.0));
        for hit in winner.into_iter().chain(concerned) {
            packed.turn(hit.subtable.layout(), self.search.key, mask);
            packed.add(hit.mask);
        }
        explain(&self.search, &mut packed, &probes, end, mask);
        conjunction.map(|(_, value)| value).or(best.map(|best| &best.filed.value))
    }

    /// Looks through a bucket for alternatives, and for an ordinary rule that beats `best`.
    fn scan<const W: usize>(
        &self,
        subtable: &'a Subtable,
        block: Block,
        key: &[Line; W],
        best: &mut Option<Hit<'a, T>>,
        alternatives: &mut Vec<Hit<'a, T>>,
    ) {
        for row in subtable.rows(block).chunks_exact(subtable.width()) {
            let priority = Header::of(&row[0]).priority;
            if best.as_ref().is_some_and(|best| best.priority > priority) {
                break;
            }
            let Some(hit) = self.search.hit(subtable, row, key) else { continue };
            if (self.clauses_of)(&hit.filed.value).next().is_some() {
                alternatives.push(hit);
                continue;
            }
            if best.as_ref().is_none_or(|best| hit.rank > best.rank) {
                *best = Some(hit);
            }
            break;
        }
    }

    /// The rule to which the first complete conjunction leads that leads to one, and the priority of its
    /// alternatives. `alternatives` are sorted by rank, the best first.
    fn conjunction<const W: usize>(
        &mut self,
        alternatives: &[Hit<'a, T>],
        mask: &mut PipelineMask,
    ) -> Option<(u16, &'a T)> {
        for equals in alternatives.chunk_by(|a, b| a.priority == b.priority) {
            let mut key = *self.search.key;
            for id in self.complete(equals) {
                key.conj_id.set(id);
                let again = Search { key: &key, ..self.search };
                let is_ordinary = |value| (self.clauses_of)(value).next().is_none();
                if let Some(value) = again.run::<W>(mask, is_ordinary) {
                    return Some((equals[0].priority, value));
                }
            }
        }
        None
    }

    /// The conjunctions of which each clause is among the alternatives, which have one priority.
    fn complete(&mut self, alternatives: &[Hit<'a, T>]) -> Vec<u32> {
        // Most packets match one alternative, and no conjunction has a single clause.
        let mut complete = Vec::new();
        let clauses_of = &self.clauses_of;
        let is_single = |hit: &Hit<'a, T>| clauses_of(&hit.filed.value).nth(1).is_none();
        if let [only] = alternatives
            && is_single(only)
        {
            return complete;
        }
        let mut present: HashMap<(u32, u8), u64, _> = HashMap::with_hasher(self.hasher.clone());
        for hit in alternatives {
            for Clause { id, clause, clauses } in clauses_of(&hit.filed.value) {
                *self.work += 1;
                let all = u64::MAX >> (64 - u32::from(clauses));
                let present = present.entry((id, clauses)).or_default();
                let before = std::mem::replace(present, *present | 1 << (clause - 1));
                if *present == all && before != all {
                    complete.push(id);
                }
            }
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::LinearClassifier;
    use flow::Match;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Addresses and ports have few values, so that rules match the same packets.
    fn packet() -> impl Strategy<Value = PipelineKey> {
        (0..4u8, 0..4u8, 0..4u16).prop_map(|(src, dst, port)| {
            let mut key = PipelineKey::default();
            (key.headers.nw_addrs[3], key.headers.nw_addrs[7]) = (src, dst);
            key.headers.tp_dst = port.into();
            key
        })
    }

    /// A match of some bits of source, destination and port, or of a conjunction's number besides.
    fn matching() -> impl Strategy<Value = Match> {
        let masks = (0..4u8, 0..4u8, prop_oneof![Just(0u16), Just(0xffff)]);
        (packet(), masks, proptest::option::weighted(0.3, 0..3u32)).prop_map(
            |(mut key, (src, dst, port), id)| {
                let mut mask = PipelineMask::default();
                (mask.bits.headers.nw_addrs[3], mask.bits.headers.nw_addrs[7]) = (src, dst);
                mask.bits.headers.tp_dst = port.into();
                if let Some(id) = id {
                    key.conj_id = id.into();
                    mask.bits.conj_id = u32::MAX.into();
                }
                Match::new(&key, &mask)
            },
        )
    }

    fn clause() -> impl Strategy<Value = Clause> {
        (0..3u32, 2..=3u8)
            .prop_flat_map(|(id, clauses)| (Just(id), 1..=clauses, Just(clauses)))
            .prop_map(|(id, clause, clauses)| Clause { id, clause, clauses })
    }

    type Value = (usize, Vec<Clause>);

    fn clauses_of(value: &Value) -> impl Iterator<Item = Clause> + '_ {
        value.1.iter().copied()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn the_answer_is_that_of_a_search_of_every_rule_and_holds_for_every_packet_of_the_mask(
            rules in vec((matching(), 0..4u16, vec(clause(), 0..3)), 1..40),
            removed in vec(any::<prop::sample::Index>(), 0..4),
            packets in vec((packet(), packet()), 1..30),
        ) {
            let (mut fast, mut slow) = (Classifier::new(7), LinearClassifier::default());
            let mut ids = Vec::new();
            for (n, (m, priority, clauses)) in rules.iter().enumerate() {
                let value = (n, clauses.clone());
                let id = fast.insert(m, *priority, Version(1), value.clone());
                ids.push((id, slow.insert(m, *priority, Version(1), value)));
            }
            for index in removed {
                let (in_fast, in_slow) = *index.get(&ids);
                fast.remove(in_fast, Version(2));
                slow.remove(in_slow, Version(2));
            }
            for version in [Version(1), Version(2)] {
                let expected = |key: &PipelineKey| slow.lookup_conjunctive(key, version, clauses_of).map(|v| v.0);
                for (key, noise) in &packets {
                    let mut mask = PipelineMask::default();
                    let found = fast.lookup_conjunctive(key, version, &mut mask, clauses_of, &mut 0);
                    let found = found.map(|value| value.0);
                    prop_assert_eq!(found, expected(key));
                    let mut other = *key;
                    let words = other.words_mut().iter_mut().zip(noise.words().iter().zip(mask.words()));
                    for (word, (noise, mask)) in words {
                        *word ^= noise & !mask;
                    }
                    prop_assert_eq!(found, expected(&other), "{:?} and {:?} under {:?}", key, other, mask);
                }
            }
        }
    }

    #[test]
    fn a_mask_has_the_bits_of_the_clauses_that_match_only() {
        let address = |at: usize, host: u8| {
            let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
            key.headers.nw_addrs[at..at + 4].copy_from_slice(&[10, 0, 0, host]);
            mask.bits.headers.nw_addrs[at..at + 4].fill(0xff);
            Match::new(&key, &mask)
        };
        let mut classifier = Classifier::new(7);
        let of = |clause| vec![Clause { id: 5, clause, clauses: 2 }];
        for host in 0..100 {
            classifier.insert(&address(0, host), 10, Version(1), (1, of(1)));
            classifier.insert(&address(4, host), 10, Version(1), (2, of(2)));
        }
        let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
        (key.conj_id, mask.bits.conj_id) = (5.into(), u32::MAX.into());
        classifier.insert(&Match::new(&key, &mask), 10, Version(1), (3, Vec::new()));
        let look_up = |src: [u8; 4], dst: [u8; 4]| {
            let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
            key.headers.nw_addrs[..8].copy_from_slice(&[src, dst].concat());
            let found =
                classifier.lookup_conjunctive(&key, Version(1), &mut mask, clauses_of, &mut 0);
            (found.map(|value| value.0), mask.bits.headers.nw_addrs)
        };
        let (found, mask) = look_up([10, 0, 0, 1], [10, 0, 0, 2]);
        assert_eq!(
            (found, &mask[..9]),
            (Some(3), &[255, 255, 255, 255, 255, 255, 255, 255, 0][..])
        );
        // A source that no alternative has needs its first byte only.
        let (found, mask) = look_up([11, 0, 0, 1], [10, 0, 0, 2]);
        assert_eq!((found, &mask[1..4]), (None, &[0, 0, 0][..]), "{mask:?}");
    }
}

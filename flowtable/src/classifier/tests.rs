//! The classifier against the linear search.

use super::{Classifier, LinearClassifier, RuleId, Version};
use crate::flow::{Match, PipelineKey, PipelineMask};
use proptest::prelude::*;

fn dst(addr: u32, len: u32) -> Match {
    let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
    key.flow.nw_addrs[4..8].copy_from_slice(&addr.to_be_bytes());
    let bits = u32::MAX.checked_shl(32 - len).unwrap_or(0);
    mask.flow.nw_addrs[4..8].copy_from_slice(&bits.to_be_bytes());
    Match::new(&key, &mask)
}

fn answer(c: &Classifier<&'static str>, m: &Match, version: u64) -> Option<&'static str> {
    c.lookup(m.key(), Version(version), &mut PipelineMask::default()).copied()
}

#[test]
fn the_highest_priority_wins() {
    let mut c = Classifier::new(1);
    c.insert(&dst(0x0a000000, 8), 10, Version(1), "net");
    c.insert(&dst(0x0a010203, 32), 5, Version(1), "host");
    c.insert(&Match::any(), 0, Version(1), "any");
    assert_eq!(answer(&c, &dst(0x0a010203, 32), 1), Some("net"));
    assert_eq!(answer(&c, &dst(0x0b010203, 32), 1), Some("any"));
}

#[test]
fn of_equal_priorities_the_first_inserted_wins() {
    let mut c = Classifier::new(1);
    let first = c.insert(&dst(0x0a010203, 32), 7, Version(1), "first");
    c.insert(&dst(0x0a000000, 8), 7, Version(1), "second");
    assert_eq!(answer(&c, &dst(0x0a010203, 32), 1), Some("first"));
    c.remove(first, Version(2));
    assert_eq!(answer(&c, &dst(0x0a010203, 32), 1), Some("first"));
    assert_eq!(answer(&c, &dst(0x0a010203, 32), 2), Some("second"));
}

#[test]
fn a_rule_is_visible_from_added_until_removed() {
    let mut c = Classifier::new(1);
    let m = dst(0x0a010203, 32);
    let id = c.insert(&m, 7, Version(2), "rule");
    assert_eq!((answer(&c, &m, 1), answer(&c, &m, 2)), (None, Some("rule")));
    c.remove(id, Version(4));
    assert_eq!((answer(&c, &m, 3), answer(&c, &m, 4)), (Some("rule"), None));
    c.restore(id);
    assert_eq!((answer(&c, &m, 4), c.len()), (Some("rule"), 1));
    c.remove(id, Version(5));
    let mut freed = Vec::new();
    assert_eq!(c.purge(Version(4), 10, &mut freed), 0);
    assert_eq!(c.purge(Version(5), 10, &mut freed), 1);
    assert_eq!((freed, c.get(id), c.len()), (vec!["rule"], None, 0));
}

#[test]
fn the_name_of_a_purged_rule_does_not_name_its_successor() {
    let mut c = Classifier::new(1);
    let old = c.insert(&Match::any(), 7, Version(1), "old");
    c.remove(old, Version(2));
    c.purge(Version(2), 1, &mut Vec::new());
    let new = c.insert(&Match::any(), 7, Version(3), "new");
    c.remove(old, Version(3));
    assert_eq!((c.get(old), c.get(new), c.len()), (None, Some(&"new"), 1));
}

/// Rules and keys from few values, so that they meet.
fn arb_match() -> impl Strategy<Value = Match> {
    let word = (0usize..35, any::<u64>(), 0u32..=64);
    proptest::collection::vec(word, 0..5).prop_map(|words| {
        let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
        for (at, value, len) in words {
            let at = [0, 3, 5, 5, 16, 20, 34][at % 7];
            key.words_mut()[at] |= value & 0x0000_0011_0000_0003;
            mask.words_mut()[at] |=
                u64::MAX.checked_shl(64 - len).unwrap_or(0) & value.rotate_left(7);
        }
        Match::new(&key, &mask)
    })
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Match, u16),
    Remove(usize),
    Restore(usize),
    Publish,
    Purge(usize),
    Lookup(Match, u64),
}

fn arb_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (arb_match(), 0u16..4).prop_map(|(m, p)| Op::Insert(m, p)),
        2 => any::<usize>().prop_map(Op::Remove),
        1 => any::<usize>().prop_map(Op::Restore),
        1 => Just(Op::Publish),
        1 => (0usize..4).prop_map(Op::Purge),
        6 => (arb_match(), any::<u64>()).prop_map(|(m, flips)| Op::Lookup(m, flips)),
    ]
}

proptest! {
    #[test]
    fn it_answers_like_the_linear_search(ops in proptest::collection::vec(arb_op(), 1..200)) {
        let mut fast = Classifier::new(7);
        let mut slow = LinearClassifier::default();
        let mut ids: Vec<(RuleId, RuleId)> = Vec::new();
        let mut version = Version(1);
        let mut oldest = Version(0);
        for op in ops {
            match op {
                Op::Insert(m, p) => {
                    let n = ids.len();
                    ids.push((fast.insert(&m, p, version.next(), n), slow.insert(&m, p, version.next(), n)));
                }
                Op::Remove(n) if !ids.is_empty() => {
                    let (a, b) = ids[n % ids.len()];
                    fast.remove(a, version.next());
                    slow.remove(b, version.next());
                }
                Op::Restore(n) if !ids.is_empty() => {
                    let (a, b) = ids[n % ids.len()];
                    fast.restore(a);
                    slow.restore(b);
                }
                Op::Publish => version = version.next(),
                Op::Purge(n) => {
                    oldest = version;
                    let (mut a, mut b) = (Vec::new(), Vec::new());
                    fast.purge(oldest, n, &mut a);
                    slow.purge(oldest, n, &mut b);
                    prop_assert_eq!(a, b);
                }
                Op::Lookup(m, flips) => for v in oldest.0..=version.next().0 {
                    let v = Version(v);
                    let mut mask = PipelineMask::default();
                    let found = fast.lookup(m.key(), v, &mut mask);
                    prop_assert_eq!(found, slow.lookup(m.key(), v, &mut PipelineMask::default()));
                    let mut other = *m.key();
                    for (i, (w, m)) in other.words_mut().iter_mut().zip(mask.words()).enumerate() {
                        *w ^= flips.rotate_left(i as u32) & !m;
                    }
                    prop_assert_eq!(found, slow.lookup(&other, v, &mut PipelineMask::default()));
                },
                Op::Remove(_) | Op::Restore(_) => {}
            }
            prop_assert_eq!(fast.len(), slow.len());
        }
        for entry in slow.iter(version) {
            let at = |c: Option<(RuleId, &usize)>| c.map(|(_, n)| *n);
            prop_assert_eq!(
                at(fast.find(&entry.matches, entry.priority, version)),
                at(slow.find(&entry.matches, entry.priority, version))
            );
        }
        prop_assert_eq!(fast.iter(version).count(), slow.iter(version).count());
    }
}

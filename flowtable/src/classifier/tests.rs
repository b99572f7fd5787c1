//! The classifier against the linear search.

use super::{Classifier, LinearClassifier, RuleId, Sample, Version};
use flow::key::{KeyOfPort, PIPELINE_WORDS};
use flow::types::OfPort;
use flow::{Match, PipelineKey, PipelineMask};
use proptest::prelude::*;

fn dst(addr: u32, len: u32) -> Match {
    let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
    key.headers.nw_addrs[4..8].copy_from_slice(&addr.to_be_bytes());
    let bits = u32::MAX.checked_shl(32 - len).unwrap_or(0);
    mask.bits.headers.nw_addrs[4..8].copy_from_slice(&bits.to_be_bytes());
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

#[test]
fn a_miss_needs_few_bits() {
    let mut c = Classifier::new(1);
    for host in 0..1000 {
        c.insert(&dst(0x0a010000 + host, 32), 7, Version(1), "host");
    }
    while !c.settle(100) {}
    let mut mask = PipelineMask::default();
    c.lookup(dst(0x0b010203, 32).key(), Version(1), &mut mask);
    assert!(mask.bits.headers.nw_dst().count_ones() <= 8, "{:08x}", mask.bits.headers.nw_dst());
}

/// Numbers without a pattern (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<E: Copy>(&mut self, from: &[E]) -> E {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Bytes that are the leading `len` bits of something that few others begin with.
fn prefix<const N: usize>(r: &mut Random, len: u32) -> ([u8; N], [u8; N]) {
    let (mut value, mut mask) = ([0; N], [0; N]);
    for at in 0..N {
        let bits = len.saturating_sub(8 * at as u32).min(8);
        mask[at] = !0xff_u8.checked_shr(bits).unwrap_or(0);
        value[at] = if at < N / 2 { r.below(3) } else { r.next() } as u8 & mask[at];
    }
    (value, mask)
}

fn ipv6_rule(r: &mut Random) -> Match {
    let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
    (key.headers.dl_type, mask.bits.headers.dl_type) = (0x86dd.into(), u16::MAX.into());
    for half in [0..16, 16..32] {
        let len = r.pick(&[0, 32, 48, 56, 64, 64, 128]);
        let (value, bits) = prefix::<16>(r, len);
        key.headers.nw_addrs[half.clone()].copy_from_slice(&value);
        mask.bits.headers.nw_addrs[half].copy_from_slice(&bits);
    }
    if r.below(2) == 0 {
        (key.headers.nw_proto, mask.bits.headers.nw_proto) = (6, u8::MAX);
        let bits = r.pick(&[0xffff_u16, 0xffff, 0xfff0, 0xe000]);
        (key.headers.tp_dst, mask.bits.headers.tp_dst) =
            ((r.below(4) as u16 * 0x1111).into(), bits.into());
    }
    Match::new(&key, &mask)
}

fn ethernet_rule(r: &mut Random) -> Match {
    let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
    key.in_port.set(OfPort(r.below(6) as u16));
    mask.bits.in_port = r.pick(&[KeyOfPort::default(), KeyOfPort::ALL_BITS]);
    key.headers.vlan_tci = (0x1000 | r.below(9) as u16 | (r.below(8) as u16) << 13).into();
    mask.bits.headers.vlan_tci = r.pick(&[0, 0x1000, 0x1fff, 0xffff]).into();
    for (mac, bits) in [
        (&mut key.headers.dl_dst, &mut mask.bits.headers.dl_dst),
        (&mut key.headers.dl_src, &mut mask.bits.headers.dl_src),
    ] {
        *mac = [r.below(2) as u8, 2, 3, 4, r.below(2) as u8, r.below(64) as u8];
        *bits = r.pick(&[[0; 6], [255; 6], [255; 6], [1, 0, 0, 0, 0, 0], [255, 255, 255, 0, 0, 0]]);
    }
    Match::new(&key, &mask)
}

fn register_rule(r: &mut Random) -> Match {
    let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
    key.metadata = (r.below(50) << 32).into();
    mask.bits.metadata = r.pick(&[0, u64::MAX, 0xffff_ffff << 32]).into();
    for _ in 0..r.below(4) {
        let reg = r.below(32) as usize;
        key.regs[reg] = (r.below(5) as u32).into();
        mask.bits.regs[reg] = r.pick(&[1, 3, 0xff, u32::MAX]).into();
    }
    Match::new(&key, &mask)
}

/// Any bits, so that hardly two rules have the same mask.
fn scattered_rule(r: &mut Random) -> Match {
    let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
    for _ in 0..r.below(5) {
        let word = r.pick(&[0_usize, 1, 3, 4, 5, 5, 17, PIPELINE_WORDS - 1]);
        key.words_mut()[word] = r.next() & 0x0303_0303_0303_0303;
        mask.words_mut()[word] = r.next() & r.next() & 0x0f0f_0f0f_0f0f_0f0f;
    }
    Match::new(&key, &mask)
}

fn mixed_rule(r: &mut Random) -> Match {
    let rule = r.pick(&[ipv6_rule, ethernet_rule, register_rule, scattered_rule]);
    rule(r)
}

/// A packet that one rule covers, elsewhere as another one wants it or with random bits.
fn packet(r: &mut Random, a: &Match, b: &Match) -> PipelineKey {
    let mut key = *a.key();
    let noise = r.pick(&[0, 0, u64::MAX]);
    for (at, word) in key.words_mut().iter_mut().enumerate() {
        let (m, n) = (a.mask().words()[at], b.mask().words()[at]);
        *word |= b.key().words()[at] & n & !m | r.next() & noise & !(m | n);
    }
    key
}

/// Both classifiers with the same rules, and their names in both.
struct Pair {
    fast: Classifier<usize>,
    slow: LinearClassifier<usize>,
    rules: Vec<(Match, u16, RuleId, RuleId)>,
    inserted: usize,
    version: Version,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let (fast, slow) = (Classifier::new(seed), LinearClassifier::default());
        Self { fast, slow, rules: Vec::new(), inserted: 0, version: Version(1) }
    }

    fn insert(&mut self, m: Match, priority: u16) {
        let value = self.inserted;
        self.inserted += 1;
        let fast = self.fast.insert(&m, priority, self.version, value);
        let slow = self.slow.insert(&m, priority, self.version, value);
        self.rules.push((m, priority, fast, slow));
    }

    /// Deletes a tenth of the rules, purges them, and inserts them again.
    fn churn(&mut self, r: &mut Random) {
        self.version = self.version.next();
        let mut gone = Vec::new();
        for _ in 0..self.rules.len() / 10 {
            let at = r.below(self.rules.len() as u64) as usize;
            let (m, priority, fast, slow) = self.rules.swap_remove(at);
            self.fast.remove(fast, self.version);
            self.slow.remove(slow, self.version);
            gone.push((m, priority));
        }
        self.fast.purge(self.version, gone.len(), &mut Vec::new());
        self.slow.purge(self.version, gone.len(), &mut Vec::new());
        for (m, priority) in gone {
            self.insert(m, priority);
        }
    }

    /// Looks packets up in both, then variants of them that differ outside of the mask.
    fn check(&self, r: &mut Random, packets: usize) {
        let slow = |key: &PipelineKey| {
            self.slow.lookup(key, self.version, &mut PipelineMask::default()).copied()
        };
        for _ in 0..packets {
            let pick = |r: &mut Random| self.rules[r.below(self.rules.len() as u64) as usize].0;
            let (a, b) = (pick(r), pick(r));
            let key = packet(r, &a, &b);
            let mut mask = PipelineMask::default();
            let found = self.fast.lookup(&key, self.version, &mut mask).copied();
            assert_eq!(found, slow(&key), "{key:?}");
            let flips = [r.next(), r.next() & r.next() & r.next()];
            for flips in flips {
                let mut other = key;
                for (at, (word, m)) in other.words_mut().iter_mut().zip(mask.words()).enumerate() {
                    *word ^= flips.rotate_left(7 * at as u32) & !m;
                }
                assert_eq!(found, slow(&other), "{key:?} but {other:?} under {mask:?}");
            }
        }
        for (m, priority, fast, slow) in &self.rules {
            let found = self.fast.find(m, *priority, self.version).map(|(id, _)| id);
            let value = self.fast.get(*fast);
            assert_eq!(value, self.slow.get(*slow));
            assert!(found == Some(*fast) || found.and_then(|id| self.fast.get(id)) < value);
            let entry = self.fast.entry(*fast).expect("it was not removed");
            assert_eq!((entry.matches, entry.priority), (*m, *priority));
        }
        assert_eq!(self.fast.len(), self.slow.len());
    }
}

/// A table that grows through several plans, is churned, and shrinks.
fn check_family(rule: fn(&mut Random) -> Match, priorities: u64) {
    let mut r = Random(0x5eed ^ priorities);
    let mut pair = Pair::new(priorities);
    for target in [10, 100, 700, 1600] {
        while pair.rules.len() < target {
            let m = rule(&mut r);
            let priority = r.below(priorities) as u16;
            pair.insert(m, priority);
        }
        pair.check(&mut r, 30);
    }
    for _ in 0..3 {
        pair.churn(&mut r);
        pair.check(&mut r, 30);
    }
    while !pair.fast.settle(64) {}
    pair.check(&mut r, 100);
    while pair.rules.len() > 100 {
        pair.version = pair.version.next();
        for _ in 0..pair.rules.len() / 2 {
            let at = r.below(pair.rules.len() as u64) as usize;
            let (.., fast, slow) = pair.rules.swap_remove(at);
            pair.fast.remove(fast, pair.version);
            pair.slow.remove(slow, pair.version);
        }
        pair.check(&mut r, 30);
        pair.fast.purge(pair.version, usize::MAX, &mut Vec::new());
        pair.slow.purge(pair.version, usize::MAX, &mut Vec::new());
        pair.check(&mut r, 30);
    }
}

#[test]
fn a_plan_may_be_made_while_rules_change() {
    let mut r = Random(0xa51de);
    let mut pair = Pair::new(5);
    pair.fast = Classifier::new(5).planned_aside();
    let mut plans = 0;
    for round in 0..40 {
        for _ in 0..50 {
            let m = mixed_rule(&mut r);
            let priority = r.below(100) as u16;
            pair.insert(m, priority);
        }
        let mut survey = pair.fast.survey(false);
        if let Some(survey) = &mut survey {
            pair.fast.count_masks(survey, 7);
        }
        // Between the survey and its plan, masks come and go, and their numbers are given to others.
        if round % 3 == 0 {
            pair.churn(&mut r);
        }
        if let Some(survey) = survey {
            plans += 1;
            let mut plan = pair.fast.plan_now(survey);
            while pair.fast.adopt(&mut plan, 3) {
                if round % 4 == 0 {
                    let m = mixed_rule(&mut r);
                    pair.insert(m, r.below(100) as u16);
                    pair.check(&mut r, 1);
                }
                if round % 12 == 0 && r.below(10) == 0 {
                    pair.churn(&mut r);
                }
            }
        }
        pair.check(&mut r, 20);
    }
    assert!((3..20).contains(&plans), "{plans} plans");
    assert!(pair.fast.subtables_len() < 40, "{} subtables", pair.fast.subtables_len());
}

#[test]
fn rules_that_were_expected_stay_where_they_are_put() {
    let mut r = Random(0xe4bec);
    let rules: Vec<Match> = (0..3000).map(|_| ethernet_rule(&mut r)).collect();
    let mut sample = Sample::default();
    (0..500).for_each(|_| sample.add(&r.pick(&rules)));
    let mut pair = Pair::new(5);
    pair.fast = Classifier::new(5).planned_aside();
    let survey = pair.fast.expect(sample, rules.len()).expect("they are many");
    pair.fast.adopt_now(pair.fast.plan_now(survey));
    for m in rules {
        let priority = r.below(500) as u16;
        pair.insert(m, priority);
        assert!(pair.fast.survey(false).is_none() && !pair.fast.is_moving());
    }
    pair.fast.expect_no_more();
    assert!(pair.fast.survey(false).is_none());
    pair.check(&mut r, 300);
}

#[test]
fn masks_that_were_expected_in_vain_are_forgotten() {
    let mut r = Random(0xe4bec);
    let rules: Vec<Match> = (0..500).map(|_| mixed_rule(&mut r)).collect();
    let mut pair = Pair::new(5);
    for m in &rules[..100] {
        pair.insert(*m, 7);
    }
    let mut sample = Sample::default();
    rules.iter().for_each(|m| sample.add(m));
    let masks = pair.fast.masks.iter().count();
    let survey = pair.fast.expect(sample, 100_000).expect("they are many");
    let mut adopt = Some(pair.fast.plan_now(survey));
    for step in 0..300 {
        // Whatever is adopted in between, and however many of the rules go again.
        if step == 100 {
            adopt.take().into_iter().for_each(|plan| pair.fast.adopt_now(plan));
        }
        if step % 50 == 49 {
            pair.churn(&mut r);
        }
        pair.insert(rules[step % 100], 8);
    }
    pair.check(&mut r, 100);
    pair.fast.expect_no_more();
    assert_eq!(pair.fast.masks.iter().count(), masks);
    while !pair.fast.settle(64) {}
    pair.check(&mut r, 100);
}

#[test]
fn ipv6_prefixes_are_found() {
    check_family(ipv6_rule, 1 << 16);
}

#[test]
fn ethernet_addresses_and_vlans_are_found() {
    check_family(ethernet_rule, 500);
}

#[test]
fn registers_and_metadata_are_found() {
    check_family(register_rule, 3);
}

#[test]
fn masks_that_no_two_rules_share_are_found() {
    check_family(scattered_rule, 1 << 16);
}

#[test]
fn rules_of_all_kinds_are_found() {
    check_family(mixed_rule, 40);
}

#[test]
fn whether_rules_overlap_is_told_by_one_bucket_if_their_masks_are_alike() {
    let mut c = Classifier::new(7);
    for host in 0..10_000 {
        c.insert(&dst(0x0a00_0000 + host, 32), 7, Version(1), "host");
    }
    c.insert(&dst(0x0a00_0000, 24), 9, Version(1), "net");
    let host = dst(0x0a00_0001, 32);
    assert_eq!(c.overlaps(&host, 7, Version(1)), Some(false), "it is there already");
    assert_eq!(c.overlaps(&dst(0x0b00_0001, 32), 7, Version(1)), Some(false));
    assert_eq!(c.overlaps(&host, 9, Version(1)), Some(true));
    assert_eq!(c.overlaps(&host, 9, Version(0)), Some(false), "nothing was there then");
    assert_eq!(c.overlaps(&host, 8, Version(1)), Some(false));
    let half = dst(0x0a00_0000, 25);
    assert_eq!(c.overlaps(&half, 7, Version(1)), None);
    assert!(c.overlaps_among(0..c.places(), &half, 7, Version(1)));
    assert!(!c.overlaps_among(0..c.places(), &half, 6, Version(1)));
}

/// Rules and keys from few values, so that they meet.
fn arb_match() -> impl Strategy<Value = Match> {
    let word = (0..PIPELINE_WORDS, any::<u64>(), 0u32..=64);
    proptest::collection::vec(word, 0..5).prop_map(|words| {
        let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
        for (at, value, len) in words {
            let at = [0, 3, 5, 5, 16, 20, PIPELINE_WORDS - 1][at % 7];
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
    Settle(usize),
    Lookup(Match, u64),
    Overlap(Match, u16),
}

fn arb_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (arb_match(), 0u16..4).prop_map(|(m, p)| Op::Insert(m, p)),
        2 => any::<usize>().prop_map(Op::Remove),
        1 => any::<usize>().prop_map(Op::Restore),
        1 => Just(Op::Publish),
        1 => (0usize..4).prop_map(Op::Purge),
        1 => (0usize..4).prop_map(Op::Settle),
        6 => (arb_match(), any::<u64>()).prop_map(|(m, flips)| Op::Lookup(m, flips)),
        3 => (arb_match(), 0u16..4).prop_map(|(m, p)| Op::Overlap(m, p)),
    ]
}

proptest! {
    #[test]
    fn it_answers_like_the_linear_search(ops in proptest::collection::vec(arb_op(), 1..300)) {
        let mut fast = Classifier::new(7);
        let mut slow = LinearClassifier::default();
        let mut ids: Vec<(RuleId, RuleId)> = Vec::new();
        let mut version = Version(1);
        let mut oldest = Version(0);
        for op in ops {
            match op {
                Op::Insert(m, p) => {
                    let (n, next) = (ids.len(), version.next());
                    ids.push((fast.insert(&m, p, next, n), slow.insert(&m, p, next, n)));
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
                Op::Settle(n) => {
                    fast.settle(n);
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
                Op::Overlap(m, p) => {
                    let expected = slow.overlaps(&m, p, version.next());
                    let one_by_one = (0..fast.places())
                        .any(|at| fast.overlaps_among(at..at + 1, &m, p, version.next()));
                    prop_assert_eq!(one_by_one, expected);
                    let at_once = fast.overlaps(&m, p, version.next());
                    prop_assert!(at_once.is_none_or(|found| found == expected));
                }
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

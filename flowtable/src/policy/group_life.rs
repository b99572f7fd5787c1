//! Which buckets of a group are alive, found out once for each change of groups and ports
//! and not for each packet.
//!
//! A translation that meets a group needs to know this. The first one after a change of the bridge's groups or
//! ports finds out (`xlate/life`), and leaves the result with the group; later ones look it up. A change makes
//! no result invalid by itself: each result has the [`LifeStamp`] of the groups and ports that it was made
//! from, and is used while that is the present one.
//!
//! A `select` group chooses a bucket for each flow by the highest random weight (RFC 2992 §2): each live
//! bucket draws a number by a hash of the flow and of the bucket, and the best number wins. A flow keeps its
//! bucket when others come, go or die, which a table of hashes, as Open vSwitch has it for `dp_hash`, promises
//! for buckets that die only. The price is a hash for each live bucket; Open vSwitch pays it for the method
//! `hash`. Weights are prepared here, so that the choice needs a logarithm for each *weight* that buckets
//! have, not for each bucket.

use super::changes::Places;
use crate::classifier::Version;
use flow::group::Group;
use std::collections::BTreeMap;

/// The state of a bridge that decides which buckets are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LifeStamp {
    /// The version of the latest change of groups.
    pub(super) groups: Version,
    /// Number of changes of ports.
    pub(super) ports: u64,
}

/// Which buckets of a group are alive. See the [module](self).
#[derive(Debug)]
pub(super) struct GroupLife {
    /// The state for which this holds.
    pub(super) stamp: LifeStamp,
    /// The live buckets that a packet may get, as indices in ascending order, by their weights. A group that
    /// uses its first live bucket has only this one here, with weight 0.
    by_weight: BTreeMap<u16, Vec<u32>>,
    live: usize,
    /// The places of the watched ports and groups that decided.
    pub(super) ports: Places,
    pub(super) groups: Places,
}

impl GroupLife {
    /// No bucket is alive, as far as the group has been looked at.
    pub(super) fn new(stamp: LifeStamp) -> Self {
        let (ports, groups) = (Places::default(), Places::default());
        Self { stamp, by_weight: BTreeMap::new(), live: 0, ports, groups }
    }

    /// Adds the bucket with this index, which is alive. Buckets are added in the order of their indices.
    pub(super) fn add(&mut self, group: &Group, index: usize) {
        let weight = group.buckets[index].weight_in(group.kind);
        self.by_weight.entry(weight).or_default().push(index as u32);
        self.live += 1;
    }

    /// Adds what decided the life of a watched group.
    pub(super) fn depend_on(&mut self, watched: &Self) {
        self.ports.union(&watched.ports);
        self.groups.union(&watched.groups);
    }

    /// The number of live buckets of a `select` group; for other groups whether there is one.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// The index of the first bucket that is alive. `None` if no bucket is.
    pub(super) fn first(&self) -> Option<usize> {
        let firsts = self.by_weight.values().filter_map(|buckets| buckets.first());
        firsts.min().map(|&index| index as usize)
    }

    /// The index of the bucket that a flow gets, each live one with the probability that its weight says.
    /// `draw` hashes the flow together with the bucket of an index. `None` if no bucket with a weight is alive.
    pub(super) fn choose(&self, draw: impl Fn(usize) -> u64) -> Option<usize> {
        let weighed = self.by_weight.iter().filter(|(weight, _)| **weight > 0);
        let best_of_each = weighed.filter_map(|(&weight, buckets)| {
            let (bits, index) = best(buckets, &draw)?;
            // −ln(u) / weight is smallest with probability weight / sum of weights. Among equal weights, the
            // largest u has the smallest value.
            let uniform = bits as f64 / (1u64 << 53) as f64;
            let score = -(uniform.max(f64::MIN_POSITIVE)).ln() / f64::from(weight);
            Some((score, index))
        });
        let chosen = best_of_each.min_by(|(a, i), (b, j)| a.total_cmp(b).then(i.cmp(j)));
        chosen.map(|(_, index)| index)
    }
}

/// The bucket of `buckets` that draws the largest 53 bits, with the bits; the first one of several.
fn best(buckets: &[u32], draw: impl Fn(usize) -> u64) -> Option<(u64, usize)> {
    let mut best = None;
    for &index in buckets {
        let bits = draw(index as usize) >> 11;
        if best.is_none_or(|(most, _)| bits > most) {
            best = Some((bits, index as usize));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::group::{Bucket, GroupType, Selection};
    use flow::types::GroupId;
    use proptest::prelude::*;

    const STAMP: LifeStamp = LifeStamp { groups: Version(0), ports: 0 };

    /// A `select` group with these weights, all of whose buckets are alive.
    fn all_alive(weights: &[u16]) -> GroupLife {
        let bucket = |(id, weight): (usize, &u16)| Bucket {
            id: id as u32,
            weight: Some(*weight),
            watch_port: None,
            watch_group: None,
            actions: Vec::new(),
        };
        let group = Group {
            id: GroupId(1),
            kind: GroupType::Select,
            selection: Selection::default(),
            buckets: weights.iter().enumerate().map(bucket).collect(),
        };
        let mut life = GroupLife::new(STAMP);
        (0..weights.len()).for_each(|index| life.add(&group, index));
        life
    }

    proptest! {
        /// The definition, bucket by bucket, is the oracle.
        #[test]
        fn the_bucket_with_the_best_score_is_chosen(
            buckets in proptest::collection::vec((0u16..4, any::<u64>()), 0..20),
        ) {
            let weights: Vec<u16> = buckets.iter().map(|(weight, _)| *weight).collect();
            let score = |i: usize| {
                let uniform = (buckets[i].1 >> 11) as f64 / (1u64 << 53) as f64;
                -(uniform.max(f64::MIN_POSITIVE)).ln() / f64::from(weights[i])
            };
            let weighed = (0..buckets.len()).filter(|&i| weights[i] > 0);
            let expected = weighed.min_by(|&a, &b| score(a).total_cmp(&score(b)));
            prop_assert_eq!(all_alive(&weights).choose(|i| buckets[i].1), expected);
        }
    }

    #[test]
    fn flows_are_shared_by_weight_and_stay_when_other_buckets_come() {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let chosen = |weights: &[u16]| -> Vec<usize> {
            let life = all_alive(weights);
            let bucket_of = |flow: u32| life.choose(|index| hasher.hash_one((flow, index)));
            (0..40_000).map(|flow| bucket_of(flow).expect("a bucket has a weight")).collect()
        };
        let before = chosen(&[1, 3, 0, 4]);
        let counts = [0, 1, 2, 3].map(|n| before.iter().filter(|&&bucket| bucket == n).count());
        let wanted = [5_000, 15_000, 0, 20_000];
        assert!(
            counts.iter().zip(wanted).all(|(n, wanted)| n.abs_diff(wanted) < 500),
            "{counts:?}"
        );
        let after = chosen(&[1, 3, 0, 4, 2]);
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || *after == 4));
    }
}

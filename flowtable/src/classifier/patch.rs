//! Homes for masks that the present plan does not know.
//!
//! A mask that is new goes into the subtable that fits it and hashes most of its bits. In a large table that
//! subtable may hash hardly anything, and its buckets may grow to thousands of rows before the next plan is
//! adopted. Adding a row moves the rows behind it, and a search compares them all. So a mask leaves a home with
//! such buckets. It goes to a subtable that hashes more of its bits, or to a new one, which hashes so little of
//! addresses that masks which are alike fit there too.

use super::Classifier;
use super::arrange::{is_part, ones};
use super::lanes::{HALVES, HalfSet, Layout};
use super::presence;
use super::subtable::Subtable;
use flow::{PipelineKey, PipelineMask};
use zerocopy::FromZeros;

/// Number of rules from which a table is large. Smaller ones are planned anew soon.
const LARGE: usize = 1024;
/// Number of rows of a bucket, on average, from which masks leave a subtable.
const CROWD: usize = 64;
/// A mask leaves a crowded subtable only when the number of the subtable's rules is a multiple of this.
const PATIENCE: usize = 16;
/// Number of subtables that are made for masks which leave, between two plans, at most. Each one costs every
/// lookup a probe.
const MAX_PATCHES: usize = 16;
/// Number of rules for which a new subtable has room, at most, before its filter is outgrown.
const MAX_ROOM: usize = 1 << 15;

impl<T> Classifier<T> {
    /// Makes a subtable for a mask that no plan has given a home, and returns its number.
    pub(super) fn add_patch(&mut self, mask: &PipelineMask, halves: HalfSet) -> u16 {
        self.progress.count_patch();
        let rules = self.filed_len();
        let (hash_mask, room) = match rules < LARGE {
            true => (*mask, 0),
            false => (leading_bytes(mask), rules.min(MAX_ROOM)),
        };
        // As in a plan: a subtable takes the halves that any rule looks at, if its rows do not become wider.
        let others =
            self.order.iter().map(|&(_, at)| self.subtables[usize::from(at)].layout().set());
        let all = others.fold(halves, HalfSet::union);
        let halves = if all.width() == halves.width() { all } else { halves };
        let cells = presence::cells(&hash_mask, room);
        let layout = Layout::new(halves);
        let subtable = Subtable::new(layout, &hash_mask, &self.keys, room, cells);
        self.add_subtable(subtable)
    }

    /// Gives the mask `number` of a rule that is about to be added another home if the buckets of its present
    /// one are long.
    pub(super) fn leave_crowd(&mut self, number: u32, mask: &PipelineMask) {
        let known = self.masks.get(number);
        let (home, halves) = (known.home.subtable, known.halves);
        let from = &self.subtables[usize::from(home)];
        let is_time = from.len() >= LARGE && from.len().is_multiple_of(PATIENCE);
        if !is_time || !from.is_crowded(CROWD) {
            return;
        }
        let hashed = ones(from.hash_mask());
        let fitting = self.fitting(mask, halves).filter(|&at| {
            let other = &self.subtables[usize::from(at)];
            !other.is_crowded(CROWD) && ones(other.hash_mask()) > hashed
        });
        let best = fitting.max_by_key(|&at| ones(self.subtables[usize::from(at)].hash_mask()));
        if let Some(best) = best {
            return self.rehome(number, best);
        }
        let parts_more = !is_part(&leading_bytes(mask), from.hash_mask());
        if parts_more && self.progress.patches() < MAX_PATCHES {
            let patch = self.add_patch(mask, halves);
            self.rehome(number, patch);
        }
    }

    /// Numbers of the subtables that have rules, and can have rules with a mask.
    pub(super) fn fitting(
        &self,
        mask: &PipelineMask,
        halves: HalfSet,
    ) -> impl Iterator<Item = u16> {
        let all = self.order.iter().map(|&(_, subtable)| subtable);
        all.filter(move |&subtable| {
            let subtable = &self.subtables[usize::from(subtable)];
            subtable.layout().set().contains(halves) && is_part(subtable.hash_mask(), mask)
        })
    }
}

/// The leading bytes of each half in which a mask has every bit. The bits behind them, as the last ones of a
/// prefix, are left out, because masks that are alike differ in them. A mask that has no such bytes at all
/// stays as it is.
fn leading_bytes(mask: &PipelineMask) -> PipelineMask {
    let mut part = PipelineMask::new_zeroed();
    let all: &[u32; HALVES] = zerocopy::transmute_ref!(&mask.bits);
    let own: &mut [u32; HALVES] = zerocopy::transmute_mut!(&mut part.bits);
    for (own, half) in own.iter_mut().zip(all) {
        let bytes = u32::from_be(*half).leading_ones() / 8;
        *own = (!(u64::from(u32::MAX) >> (8 * bytes)) as u32).to_be();
    }
    let is_empty = |key: &PipelineKey| key.words().iter().all(|word| *word == 0);
    if is_empty(&part.bits) { *mask } else { part }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::{LinearClassifier, Version};
    use flow::Match;

    /// The match of packets of a protocol to a prefix.
    fn to_prefix(proto: u8, addr: u32, len: u32) -> Match {
        let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
        (key.headers.nw_proto, mask.bits.headers.nw_proto) = (proto, u8::MAX);
        key.headers.nw_addrs[4..8].copy_from_slice(&addr.to_be_bytes());
        let bits = u32::MAX.checked_shl(32 - len).unwrap_or(0);
        mask.bits.headers.nw_addrs[4..8].copy_from_slice(&bits.to_be_bytes());
        Match::new(&key, &mask)
    }

    #[test]
    fn masks_leave_a_subtable_with_long_buckets_and_answers_stay_right() {
        // Nobody makes plans here, so that the first mask's subtable hashes the protocol and nothing else.
        let mut fast = Classifier::new(3).planned_aside();
        let mut slow = LinearClassifier::default();
        let mut add = |m: Match, priority: u16, n: u32| {
            fast.insert(&m, priority, Version(1), n);
            slow.insert(&m, priority, Version(1), n);
        };
        add(to_prefix(6, 0, 0), 0, 0);
        let addr = |n: u32| n.wrapping_mul(0x9e37_79b9);
        for n in 1..6000 {
            add(to_prefix(6, addr(n), 25 + n % 8), (n % 100) as u16, n);
        }
        assert!((2..8).contains(&fast.subtables_len()), "{} subtables", fast.subtables_len());
        for len in 25..=32 {
            let number = fast.masks.peek(to_prefix(6, 0, len).mask(), &fast.hasher).unwrap();
            let home = fast.masks.get(number).home.subtable;
            assert!(!fast.subtables[usize::from(home)].is_crowded(CROWD), "/{len}");
        }
        for n in (0..6000).step_by(37) {
            let key = *to_prefix(6, addr(n), 32).key();
            let mut mask = PipelineMask::default();
            let found = fast.lookup(&key, Version(1), &mut mask);
            assert_eq!(found, slow.lookup(&key, Version(1), &mut PipelineMask::default()));
            let m = to_prefix(6, addr(n), 25 + n % 8);
            let found = fast.find(&m, (n % 100) as u16, Version(1)).map(|(_, n)| *n);
            assert_eq!(found, slow.find(&m, (n % 100) as u16, Version(1)).map(|(_, n)| *n));
        }
    }

    #[test]
    fn leading_bytes_are_whole() {
        let bits = |len| leading_bytes(to_prefix(6, 0, len).mask());
        assert_eq!(bits(27), bits(24), "three bits of a byte");
        assert_ne!(bits(32), bits(24));
        assert_eq!(bits(3), bits(0));
        let mut port = PipelineMask::default();
        port.bits.headers.tp_dst = u16::MAX.into();
        assert_eq!(leading_bytes(&port), port, "there is nothing else");
    }
}

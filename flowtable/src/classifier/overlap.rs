//! Whether a rule would overlap with others of its priority: whether some packet would match both.
//!
//! A subtable whose hash mask is part of the new rule's mask answers at once: all of its rules that may overlap
//! are in one bucket, the bucket of the new rule, and those of the priority are side by side there. Rules of
//! other subtables have to be compared one by one. Whoever holds a lock does that for a few places at a time.
//!
//! A rule does not overlap with one of the same match, which it would replace.

use super::Classifier;
use super::arrange::is_part;
use super::rows::Header;
use super::rule::Version;
use super::subtable::Subtable;
use flow::Match;

/// Rows that are compared at once.
const AT_ONCE: usize = 256;

impl<T> Classifier<T> {
    /// Whether a rule would overlap with one that is visible at `version`, as far as the buckets of the subtables
    /// tell. `None` if rules have to be compared one by one, with
    /// [`overlaps_among`](Self::overlaps_among).
    pub fn overlaps(&self, m: &Match, priority: u16, version: Version) -> Option<bool> {
        let (mut left, mut is_certain) = (AT_ONCE, true);
        let own_mask = self.masks.peek(m.mask(), &self.hasher);
        for &(bound, number) in &self.order {
            if bound < priority {
                break;
            }
            let subtable = &self.subtables[usize::from(number)];
            if !subtable.may_have(priority) {
                continue;
            }
            if !is_part(subtable.hash_mask(), m.mask()) {
                is_certain = false;
                continue;
            }
            for header in overlapping(subtable, m, priority) {
                if left == 0 {
                    return None;
                }
                left -= 1;
                let Some((_, rule)) = header.and_then(|header| self.rules.at(header.slot)) else {
                    continue;
                };
                if rule.is_visible(version) && Some(rule.value.mask) != own_mask {
                    return Some(true);
                }
            }
        }
        is_certain.then_some(false)
    }

    /// Whether a rule would overlap with one in some places that is visible at `version`.
    pub fn overlaps_among(
        &self,
        mut places: std::ops::Range<u32>,
        m: &Match,
        priority: u16,
        version: Version,
    ) -> bool {
        let own_mask = self.masks.peek(m.mask(), &self.hasher);
        places.any(|place| {
            let Some((_, rule)) = self.rules.at(place) else { return false };
            rule.rank().priority() == priority
                && rule.is_visible(version)
                && Some(rule.value.mask) != own_mask
                && self.match_of(place).is_some_and(|other| other.overlaps(m))
        })
    }
}

/// The rows of a priority in the bucket of a match: the header of each that overlaps with it.
fn overlapping<'a>(
    subtable: &'a Subtable,
    m: &Match,
    priority: u16,
) -> impl Iterator<Item = Option<Header>> + 'a {
    let (key, mask) = (subtable.layout().pack(m.key()), subtable.layout().pack(&m.mask().bits));
    let width = subtable.width();
    let rows = subtable.bucket(subtable.hash(&key)).map_or(&[][..], |block| subtable.rows(block));
    let rows = super::subtable::of_priority(rows, width, priority).chunks_exact(width);
    rows.map(move |row| {
        let header = Header::of(&row[0]);
        let masks = subtable.mask(header.mask, width).iter().zip(&mask);
        let differ = key.iter().zip(row).zip(masks).any(|((key, row), (own, mask))| {
            let lanes = key.0.iter().zip(row.0).zip(own.0.iter().zip(mask.0));
            lanes.into_iter().any(|((key, row), (own, mask))| (key ^ row) & own & mask != 0)
        });
        (!differ).then_some(header)
    })
}

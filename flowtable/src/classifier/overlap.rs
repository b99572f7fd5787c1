//! Finds rules of equal priority that overlap: some packet matches both of them (`check_overlap`,
//! OpenFlow 1.3.5 §6.4).
//!
//! A subtable whose hash mask is part of the new rule's mask answers at once: every rule of it that may overlap
//! with the new rule is in the new rule's bucket, with the rules of one priority side by side. The rules of
//! other subtables have to be compared one by one. A caller with a lock compares some of them, gives the lock
//! back, and goes on.
//!
//! Two rules with the same match do not overlap: the new rule would replace the old one.
//!
//! A caller that explains a look-up asks which better rules overlap with the winner: the bits of the
//! mask tell the packet from the packets of these rules.

use super::Classifier;
use super::arrange::is_part;
use super::rows::Header;
use super::rule::{RuleId, Version};
use super::subtable::Subtable;
use flow::Match;

/// Rows that one call of [`Classifier::overlaps`] compares, at most.
const AT_ONCE: usize = 256;

impl<T> Classifier<T> {
    /// Whether a new rule would overlap with a rule that is visible at `version`. `None` if the
    /// buckets do not tell: then [`overlaps_among`](Self::overlaps_among) has to compare the rules
    /// one by one.
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

    /// Whether a new rule would overlap with a rule in these places that is visible at `version`.
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

    /// Shows `visit` the rules that would win before the rule `id` and match some packet that it matches, too.
    /// At most `limit` rules are looked at. Returns how many were; if `limit` were, some may be missing.
    pub fn better_overlapping(
        &self,
        id: RuleId,
        version: Version,
        limit: usize,
        mut visit: impl FnMut(&T),
    ) -> usize {
        let (Some(rule), Some(m)) = (self.rules.get(id), self.match_of(id.slot())) else {
            return 0;
        };
        let mut looked_at = 0;
        for place in (0..self.places()).take(limit) {
            looked_at += 1;
            if let Some((_, other)) = self.rules.at(place)
                && other.rank() > rule.rank()
                && other.is_visible(version)
                && self.match_of(place).is_some_and(|other| other.overlaps(&m))
            {
                visit(&other.value.value);
            }
        }
        looked_at
    }
}

/// The rows with this priority in the bucket of a match. An item is the header of a row that
/// overlaps with the match, and `None` for a row that does not.
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

//! Sequence numbers of a TCP connection in which a helper has changed the size of a segment.
//!
//! Octets behind the change have other numbers for the receiver than for the sender. The numbers in front of
//! the latest change are remembered, too, because a segment from there may come again.

use serde::{Deserialize, Serialize};

/// By how much the numbers of one end are shifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shift {
    /// The sequence number of the segment that changed last, as its sender has it.
    position: u32,
    /// The shift up to this segment's first octet.
    before: i32,
    /// The shift behind that.
    behind: i32,
}

/// Takes numbers that were shifted back to those of their sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceShift(pub(super) Shift);

impl SequenceShift {
    /// The number that the sender knows a shifted number by.
    pub fn back(self, number: u32) -> u32 {
        self.0.back(number)
    }
}

/// Whether sequence number `a` is behind `b`.
fn is_behind(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

impl Shift {
    /// Whether no number is shifted.
    pub(super) fn is_none(&self) -> bool {
        self.before == 0 && self.behind == 0
    }

    /// Notes that the segment with this number has become longer by `growth`, which is negative if it is
    /// shorter. A segment that comes again grows no more.
    pub(super) fn add(&mut self, sequence: u32, growth: i32) {
        let is_first = self.before == self.behind;
        if growth != 0 && (is_first || is_behind(sequence, self.position)) {
            let behind = self.behind.wrapping_add(growth);
            *self = Self { position: sequence, before: self.behind, behind };
        }
    }

    /// The number for the receiver.
    pub(super) fn forth(&self, sequence: u32) -> u32 {
        let is_behind = is_behind(sequence, self.position);
        sequence.wrapping_add_signed(if is_behind { self.behind } else { self.before })
    }

    /// The number for the sender, of a number that the receiver has.
    pub(super) fn back(&self, number: u32) -> u32 {
        let before = number.wrapping_sub(self.before as u32);
        match is_behind(before, self.position) {
            true => number.wrapping_sub(self.behind as u32),
            false => before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_behind_a_change_are_shifted_and_come_back() {
        let start = u32::MAX - 5;
        let mut shift = Shift::default();
        assert!(shift.is_none());
        // A segment of 20 octets becomes 23.
        shift.add(start, 3);
        shift.add(start, 3);
        assert_eq!(shift.forth(start), start, "the segment itself begins where it began");
        assert_eq!(shift.forth(start.wrapping_add(20)), start.wrapping_add(23));
        assert_eq!(shift.back(start.wrapping_add(23)), start.wrapping_add(20));
        assert_eq!(shift.back(start), start);
        // A later one becomes shorter by more.
        let later = start.wrapping_add(20);
        shift.add(later, -5);
        shift.add(start, 3);
        assert_eq!(shift.forth(later), later.wrapping_add(3));
        assert_eq!(shift.forth(later.wrapping_add(20)), later.wrapping_add(18));
        assert_eq!(shift.back(later.wrapping_add(18)), later.wrapping_add(20));
        assert_eq!(shift.back(later.wrapping_add(3)), later);
    }

    #[test]
    fn segments_of_the_same_size_shift_nothing() {
        let mut shift = Shift::default();
        shift.add(7, 0);
        assert!(shift.is_none());
        assert_eq!((shift.forth(9), shift.back(9)), (9, 9));
    }
}

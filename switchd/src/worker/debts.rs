//! The time that receive queues owe to others.
//!
//! Queues have turns of some dozen frames, as if all frames took the same time. A frame that has to be cut into
//! hundreds of segments takes as long as hundreds of frames: a neighbour that sends a few of them would keep
//! the frames of others waiting until their queues are full. So a queue whose frames were cut owes the time of
//! its turn. It has no turn until others have had as much time, or none of them has frames. If it asked for
//! tiny segments, of which a frame has more than hosts have a reason for, others have [`PENALTY`] times as
//! much: then it has a sixth of the worker's time at most, and not half.

use std::time::Duration;

/// Longest debt. A turn takes some milliseconds at most, so that this only matters
/// if the thread was interrupted.
const MOST: Duration = Duration::from_millis(50);
/// How many times as much as it took a queue owes whose frames were cut into tiny segments.
const PENALTY: u32 = 5;

/// The debts of the queues of a worker, by the queues' places.
#[derive(Default)]
pub(crate) struct Debts(Vec<(usize, Duration)>);

impl Debts {
    /// Number of queues that owe something.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the queue at `place` has to wait.
    #[inline]
    pub(super) fn owes(&self, place: usize) -> bool {
        !self.0.is_empty() && self.0.iter().any(|(debtor, _)| *debtor == place)
    }

    /// The queue at `place`, which owes nothing, had a turn of this time. `were_tiny` says that a frame asked
    /// for far more segments than hosts do.
    #[cold]
    pub(super) fn add(&mut self, place: usize, time: Duration, were_tiny: bool) {
        let times = if were_tiny { PENALTY } else { 1 };
        self.0.push((place, (time * times).min(MOST)));
    }

    /// A round of `time` is over, in which `served` queues had frames. The `old` first debtors, which owed
    /// something before the round, pay what one of these queues had.
    pub(super) fn pay(&mut self, old: usize, time: Duration, served: usize) {
        let share = match served {
            0 => MOST,
            _ => time / served as u32,
        };
        let mut number = 0;
        self.0.retain_mut(|(_, debt)| {
            number += 1;
            if number <= old {
                *debt = debt.saturating_sub(share);
            }
            !debt.is_zero()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    #[test]
    fn a_queue_waits_until_others_have_had_as_much_time() {
        let mut debts = Debts::default();
        debts.add(3, 100 * MICROSECOND, false);
        debts.pay(0, 1000 * MICROSECOND, 1);
        assert!(debts.owes(3), "its own turn does not pay for itself");
        debts.pay(1, 60 * MICROSECOND, 1);
        assert!(debts.owes(3) && !debts.owes(2));
        debts.pay(1, 60 * MICROSECOND, 2);
        assert!(debts.owes(3), "two queues have shared the time");
        debts.pay(1, 20 * MICROSECOND, 1);
        assert!(!debts.owes(3));
    }

    #[test]
    fn tiny_segments_cost_five_times_their_time() {
        let mut debts = Debts::default();
        debts.add(3, 100 * MICROSECOND, true);
        debts.pay(1, 490 * MICROSECOND, 1);
        assert!(debts.owes(3));
        debts.pay(1, 10 * MICROSECOND, 1);
        assert!(!debts.owes(3));
    }

    #[test]
    fn nobody_waits_for_queues_without_frames() {
        let mut debts = Debts::default();
        debts.add(3, Duration::from_secs(1), true);
        debts.add(4, 5 * MICROSECOND, false);
        debts.pay(2, 1 * MICROSECOND, 0);
        assert_eq!(debts.len(), 0);
    }
}

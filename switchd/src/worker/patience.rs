//! How long a worker without frames goes on looking for some before it sleeps.
//!
//! Looking spares a frame that comes soon the time that it takes to wake the worker, and its sender the work.
//! It is wasted if no frame comes. Where frames come now and then, as those of a slow stream do, a worker that
//! always looked for [`LONGEST`] would take a good part of a processor for nothing. So it looks that long only
//! if it pays.

use std::time::Duration;

/// The longest time of looking. On a machine with few cores the hosts behind the ports want the core back, so
/// it is not longer.
const LONGEST: Duration = Duration::from_micros(40);
/// The shortest time of looking: about what it costs to go to sleep and be woken, so that a worker never spends
/// more than twice of what sleeping at once would have cost.
const SHORTEST: Duration = Duration::from_micros(5);
/// Pauses in which looking pays that make up for one in which it is wasted.
const PAUSES_FOR_A_WASTED_ONE: i8 = 2;
/// The balance is within this bound, so that the last few pauses decide.
const BOUND: i8 = 16;

/// What the last pauses between frames were like.
#[derive(Default)]
pub(super) struct Patience {
    /// Pauses that were shorter than [`LONGEST`], minus [`PAUSES_FOR_A_WASTED_ONE`] for each that was not.
    balance: i8,
}

impl Patience {
    /// Whether a worker whose last frame came `pause` ago goes on looking.
    pub(super) fn lasts(&self, pause: Duration) -> bool {
        pause < if self.balance > 0 { LONGEST } else { SHORTEST }
    }

    /// Takes in that frames came after a pause.
    pub(super) fn ended(&mut self, pause: Duration) {
        let change = if pause < LONGEST { 1 } else { -PAUSES_FOR_A_WASTED_ONE };
        self.balance = (self.balance + change).clamp(-BOUND, BOUND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    fn after(pauses: impl IntoIterator<Item = Duration>) -> Patience {
        let mut patience = Patience::default();
        pauses.into_iter().for_each(|pause| patience.ended(pause));
        patience
    }

    #[test]
    fn a_worker_looks_long_for_frames_that_come_soon() {
        let patience = after([18 * US; 100]);
        assert!(patience.lasts(LONGEST - US));
        assert!(!patience.lasts(LONGEST));
    }

    #[test]
    fn a_worker_does_not_wait_for_frames_that_come_late() {
        // A stream in which every second pause is short does not pay either.
        for pauses in [[300 * US; 2], [300 * US, 30 * US]] {
            let patience = after(pauses.repeat(100));
            assert!(patience.lasts(SHORTEST - US));
            assert!(!patience.lasts(SHORTEST));
        }
    }

    #[test]
    fn a_worker_looks_long_again_soon_after_the_frames_come_soon_again() {
        let late = [300 * US; 1000];
        let patience = after(late.into_iter().chain([20 * US; 2 * BOUND as usize]));
        assert!(patience.lasts(LONGEST - US));
    }

    #[test]
    fn one_long_pause_among_many_short_ones_changes_nothing() {
        let patience = after([3 * US; 100].into_iter().chain([Duration::from_secs(1)]));
        assert!(patience.lasts(LONGEST - US));
    }
}

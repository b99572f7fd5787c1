//! Decides which new flows a full cache takes.
//!
//! Remembering a flow costs more than half of a translation: it needs memory and a place, and
//! another flow has to go. While remembered flows are used again less than once each, most new
//! flows are better forgotten. One new flow in 64 is still remembered. This is enough to notice
//! when flows are used again, and meanwhile the flows that stay in the cache are of use.

/// Number of translations after which the worker decides again whether remembering pays.
const PERIOD: u64 = 4096;
/// While remembering does not pay, one new flow in this number is remembered.
const SPARSE: u64 = 64;

/// The decision of one worker. See the [module](self).
#[derive(Debug)]
pub(crate) struct Admission {
    period: u64,
    translations: u64,
    /// The value of the hit counter at the beginning of the period.
    hits: u64,
    pays: bool,
}

impl Admission {
    /// Makes a decision for a cache with room for `capacity` flows.
    pub(crate) fn new(capacity: usize) -> Self {
        let period = (capacity as u64).clamp(1, PERIOD);
        Self { period, translations: 0, hits: 0, pays: true }
    }

    /// Whether a new flow should be remembered. `hits` is the counter of packets that found a flow.
    pub(crate) fn admits(&mut self, is_full: bool, hits: u64) -> bool {
        self.translations += 1;
        if self.translations.is_multiple_of(self.period) {
            self.pays = hits - self.hits >= self.period;
            self.hits = hits;
        }
        !is_full || self.pays || self.translations.is_multiple_of(SPARSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of flows, of 100,000, that are remembered if each of them brings `hits_for_each` hits.
    fn admitted(is_full: bool, hits_for_each: u64) -> usize {
        let mut admission = Admission::new(200_000);
        (0..100_000).filter(|n| admission.admits(is_full, n * hits_for_each)).count()
    }

    #[test]
    fn flows_that_are_used_again_are_remembered() {
        assert_eq!(admitted(true, 2), 100_000);
    }

    #[test]
    fn of_those_that_are_not_a_few_are_once_there_is_no_room() {
        assert_eq!(admitted(false, 0), 100_000);
        assert!((5_000..7_000).contains(&admitted(true, 0)));
    }
}

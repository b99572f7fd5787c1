//! Which new flows are worth a place, when there is none left.
//!
//! To remember a flow costs more than half of a translation: memory, its place, and the one that has to go
//! for it. If flows that are remembered are used again less than once each, most are better forgotten:
//! one in some is enough to notice when that changes, and those that stay are of use meanwhile.

/// Translations between two looks at what remembering brought.
const PERIOD: u64 = 4096;
/// Of so many flows one is remembered while that does not pay.
const SPARSE: u64 = 64;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Admission {
    period: u64,
    translations: u64,
    /// Hits at the beginning of the period.
    hits: u64,
    pays: bool,
}

impl Admission {
    /// For a cache of so many flows.
    pub(crate) fn new(capacity: usize) -> Self {
        let period = (capacity as u64).clamp(1, PERIOD);
        Self { period, translations: 0, hits: 0, pays: true }
    }

    /// Whether a new flow should be remembered. `hits` counts the packets that found a flow.
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

    /// Flows of 100,000 that are remembered if each brings so many hits.
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

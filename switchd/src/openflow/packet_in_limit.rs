//! How many packet-ins a second a controller gets, if its settings limit them.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// The limit of one connection; there is none before [`set`](Self::set).
#[derive(Debug, Default)]
pub(super) struct PacketInLimit(Mutex<Option<Bucket>>);

/// A bucket of credit, which is counted in time: each packet-in costs as much as passes between two
/// of them at the rate.
#[derive(Debug)]
struct Bucket {
    cost: Duration,
    credit: Duration,
    most: Duration,
    latest: Instant,
}

impl PacketInLimit {
    /// Limits packet-ins to `rate` a second, and to `burst` at once after a pause.
    pub(super) fn set(&self, rate: u32, burst: u32, now: Instant) {
        let cost = Duration::from_secs(1) / rate.max(1);
        let most = cost * burst.max(1);
        *self.0.lock() = Some(Bucket { cost, credit: most, most, latest: now });
    }

    /// Whether a packet-in is within the limit; if so, it is counted.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut limit = self.0.lock();
        let Some(bucket) = &mut *limit else {
            return true;
        };
        let passed = now.saturating_duration_since(bucket.latest);
        bucket.latest = now;
        bucket.credit = bucket.credit.saturating_add(passed).min(bucket.most);
        let credit = bucket.credit.checked_sub(bucket.cost);
        bucket.credit = credit.unwrap_or(bucket.credit);
        credit.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_kept_over_time_and_a_burst_may_come_at_once() {
        let (limit, start) = (PacketInLimit::default(), Instant::now());
        assert!((0..1000).all(|_| limit.admits(start)), "there is no limit yet");
        limit.set(100, 10, start);
        let at = |ms| start + Duration::from_millis(ms);
        let admitted = |ms| (0..50).filter(|_| limit.admits(at(ms))).count();
        assert_eq!([0, 5, 10, 1000].map(admitted), [10, 0, 1, 10]);
        // Over ten seconds, with a packet-in every millisecond.
        let all = (2000..12_000).filter(|ms| limit.admits(at(*ms))).count();
        assert!((1000..=1010).contains(&all), "{all}");
    }
}

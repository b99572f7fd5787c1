//! How much slow-path work a port may cause.
//!
//! A packet that has to be translated costs as much as dozens of cached ones. While a worker
//! mostly forwards cached traffic, each port has a rate of translations and a burst; half of
//! that is the most that one source MAC address gets (by hash), so that a single host cannot use up
//! what its neighbours behind the same port need for their new flows. What is over it is dropped.
//!
//! A host that is not known yet costs twice, as it has to be learned, which everybody hears of.
//!
//! A flood with a new source address in each frame uses up what the port has, so part of it on top is for
//! [established](super::established) sources alone: their new connections get in beside any flood of
//! strangers. A host that is new itself does not, as nothing tells it from the flood.
//!
//! A worker that has little cached traffic has nobody to protect: nothing is refused, so that a cold
//! cache fills as fast as it can. A flood that begins when there was some finds it protected, and
//! cannot end that by being many; a moment with nothing but new flows does not end it either. Where a flood
//! was there first, it takes a second in which the worker did not keep up until the others are protected.
//!
//! Flows that are translated *again* because of a change have no budget: there are no more of them than
//! flows were cached, and what the budget would refuse is the traffic it is there to protect.

use super::established::Source;
use flow::types::{MacAddr, PortNo};
use std::time::Duration;

/// Sources told apart on a port.
const SOURCES: usize = 32;
/// How much of the port's rate one source may use.
const SOURCE_SHARE: u32 = 2;
/// What established sources get on top is this part of the port's rate.
const RESERVE_SHARE: u32 = 4;
/// Established traffic is protected once it was for this time [`MUCH`] times as much as there were upcalls,
const MOMENT: Duration = Duration::from_millis(1);
/// until it was for this time so many times less.
const WHILE: Duration = Duration::from_millis(100);
const MUCH: u64 = 4;
/// It is also protected once it was for so many times [`WHILE`] on end half as much as there were upcalls, and
/// the worker could not keep up.
const LONG: u32 = 10;

/// Translations of new flows that a port may cause while other traffic has to be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpcallLimit {
    /// A second.
    pub rate: u32,
    /// At once.
    pub burst: u32,
}

impl Default for UpcallLimit {
    fn default() -> Self {
        // An upcall costs 2 us, so that a flood of them costs less than a tenth of the others' rate.
        Self::per_second(40_000)
    }
}

impl UpcallLimit {
    /// So many a second, and a tenth of that at once: with the default as much as some thousands of
    /// connections need that come back after an outage.
    pub fn per_second(rate: u32) -> Self {
        Self { rate, burst: (rate / 10).max(1) }
    }

    fn part(self, share: u32) -> Self {
        Self { rate: (self.rate / share).max(1), burst: (self.burst / share).max(1) }
    }
}

/// The budget of one worker.
#[derive(Debug)]
pub(crate) struct UpcallBudget {
    limit: Option<UpcallLimit>,
    ports: Vec<PortBudget>,
    traffic: Traffic,
}

/// What the worker did lately.
#[derive(Debug, Default)]
struct Traffic {
    moment: Tally,
    period: Tally,
    /// Periods on end in which upcalls kept the worker from its established traffic.
    crowded: u32,
    protects: bool,
}

/// What the worker did in some time.
#[derive(Debug, Default)]
struct Tally {
    start: Duration,
    hits: u64,
    upcalls: u64,
    batches: u64,
    /// Batches with as many frames as go into one: more were waiting.
    full: u64,
}

impl Tally {
    fn count(&mut self, hits: u64, is_full: bool) {
        self.hits += hits;
        self.batches += 1;
        self.full += u64::from(is_full);
    }

    /// What there was until `now`, if that is a whole `period`; then counts from zero.
    fn end(&mut self, now: Duration, period: Duration) -> Option<Self> {
        let is_over = now.saturating_sub(self.start) >= period;
        is_over.then(|| std::mem::replace(self, Self { start: now, ..Self::default() }))
    }
}

#[derive(Clone, Debug)]
struct PortBudget {
    everybody: Share,
    established: Share,
}

/// What all sources may use together, and each of them.
#[derive(Clone, Debug)]
struct Share {
    limit: UpcallLimit,
    all: TokenBucket,
    sources: [TokenBucket; SOURCES],
}

impl Share {
    fn full(limit: UpcallLimit, now: Duration) -> Self {
        let bucket = |limit: UpcallLimit| TokenBucket {
            tokens: u64::from(limit.burst) * UPCALL,
            filled: now,
        };
        Self { limit, all: bucket(limit), sources: [bucket(limit.part(SOURCE_SHARE)); SOURCES] }
    }

    /// Takes an upcall from it for this source, if that is in it.
    fn take(&mut self, now: Duration, source: MacAddr) -> bool {
        let source = &mut self.sources[source_slot(source)];
        let has_tokens =
            self.all.refill(self.limit, now) & source.refill(self.limit.part(SOURCE_SHARE), now);
        if has_tokens {
            self.all.tokens -= UPCALL;
            source.tokens -= UPCALL;
        }
        has_tokens
    }
}

impl PortBudget {
    fn full(limit: UpcallLimit, now: Duration) -> Self {
        Self {
            everybody: Share::full(limit, now),
            established: Share::full(limit.part(RESERVE_SHARE), now),
        }
    }
}

/// A token bucket, in units of a millionth of an upcall.
#[derive(Clone, Copy, Debug)]
struct TokenBucket {
    tokens: u64,
    filled: Duration,
}

const UPCALL: u64 = 1_000_000;

impl TokenBucket {
    fn refill(&mut self, limit: UpcallLimit, now: Duration) -> bool {
        if now == self.filled {
            return self.tokens >= UPCALL;
        }
        let elapsed = now.saturating_sub(self.filled).as_micros();
        let full = u64::from(limit.burst) * UPCALL;
        let new = u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_mul(u64::from(limit.rate));
        self.tokens = self.tokens.saturating_add(new).min(full);
        self.filled = now;
        self.tokens >= UPCALL
    }
}

impl UpcallBudget {
    pub(crate) fn new(limit: Option<UpcallLimit>) -> Self {
        Self { limit, ports: Vec::new(), traffic: Traffic::default() }
    }

    /// A batch is done, with so many frames forwarded from the cache. `is_full` if no more fitted in it.
    #[inline]
    pub(crate) fn saw_batch(&mut self, now: Duration, hits: u64, is_full: bool) {
        let Traffic { moment, period, crowded, protects } = &mut self.traffic;
        moment.count(hits, is_full);
        period.count(hits, is_full);
        if let Some(seen) = moment.end(now, MOMENT) {
            *protects |= seen.hits > MUCH * seen.upcalls;
        }
        if let Some(seen) = period.end(now, WHILE) {
            *protects &= MUCH * seen.hits >= seen.upcalls;
            let is_crowded = 2 * seen.full > seen.batches && 2 * seen.hits >= seen.upcalls;
            *crowded = if is_crowded { *crowded + 1 } else { 0 };
            *protects |= *crowded >= LONG;
        }
    }

    /// There is established traffic to protect, and a limit to do it with.
    #[inline]
    pub(crate) fn protects(&self) -> bool {
        self.traffic.protects && self.limit.is_some()
    }

    /// Whether a packet of this source may be translated. Whether that is established is asked only if
    /// the answer depends on it.
    pub(crate) fn admit(
        &mut self,
        now: Duration,
        source: Source,
        is_established: impl FnOnce() -> bool,
    ) -> bool {
        let Some(limit) = self.limit else {
            return true;
        };
        let port = usize::from(source.port.0);
        if self.ports.len() <= port {
            self.ports.resize(port + 1, PortBudget::full(limit, now));
        }
        let budget = &mut self.ports[port];
        let admitted = budget.everybody.take(now, source.mac)
            || !self.traffic.protects
            || is_established() && budget.established.take(now, source.mac);
        self.traffic.moment.upcalls += u64::from(admitted);
        self.traffic.period.upcalls += u64::from(admitted);
        admitted
    }

    /// An upcall from this port cost twice as much as others.
    pub(crate) fn charge(&mut self, port: PortNo) {
        if let Some(port) = self.ports.get_mut(usize::from(port.0)) {
            let all = &mut port.everybody.all;
            all.tokens = all.tokens.saturating_sub(UPCALL);
        }
    }
}

fn source_slot(MacAddr([_, _, _, a, b, c]): MacAddr) -> usize {
    let hash = (u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c)).wrapping_mul(0x9e37_79b1);
    hash as usize >> 27 & (SOURCES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Source = Source { port: PortNo(0), mac: MacAddr([2, 0, 0, 0, 0, 1]) };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn random_source(n: u32) -> Source {
        let [a, b, c, d] = n.wrapping_mul(0x85eb_ca6b).to_be_bytes();
        Source { mac: MacAddr([2, 0, a, b, c, d]), ..HOST }
    }

    /// A stranger asks.
    fn admit(budget: &mut UpcallBudget, ms: u64, source: Source) -> bool {
        budget.admit(at(ms), source, || false)
    }

    /// A budget of 1,000 upcalls a second and 100 at once, in front of busy caches.
    fn busy() -> UpcallBudget {
        let mut budget = UpcallBudget::new(Some(UpcallLimit { rate: 1000, burst: 100 }));
        budget.saw_batch(at(0), 1000, true);
        budget.saw_batch(at(1), 1000, true);
        budget
    }

    #[test]
    fn a_flood_of_sources_gets_the_burst_and_then_the_rate() {
        let mut budget = busy();
        let mut flood =
            |ms| (0..1000).filter(|&n| admit(&mut budget, ms, random_source(n))).count();
        assert_eq!(flood(1), 100);
        assert_eq!(flood(1), 0);
        assert_eq!(flood(11), 10);
    }

    #[test]
    fn one_source_leaves_most_of_the_budget_to_its_neighbours() {
        let mut budget = busy();
        let admitted = (0..1000).filter(|_| admit(&mut budget, 1, HOST)).count();
        assert_eq!(admitted, 50);
        assert!(admit(&mut budget, 1, Source { mac: MacAddr([2, 0, 0, 0, 0, 2]), ..HOST }));
    }

    #[test]
    fn hosts_that_have_to_be_learned_cost_twice() {
        let mut budget = busy();
        let learned = (0..1000).filter(|&n| {
            let admitted = admit(&mut budget, 1, random_source(n));
            budget.charge(HOST.port);
            admitted
        });
        assert_eq!(learned.count(), 50);
    }

    #[test]
    fn ports_do_not_share_their_budgets() {
        let mut budget = busy();
        let elsewhere = |n| Source { port: PortNo(3), ..random_source(n) };
        (0..1000).for_each(|n| _ = admit(&mut budget, 1, elsewhere(n)));
        assert!(admit(&mut budget, 1, HOST));
    }

    #[test]
    fn established_sources_get_in_beside_a_flood_of_strangers_but_not_without_end() {
        let mut budget = busy();
        (0..1000).for_each(|n| _ = admit(&mut budget, 1, random_source(n)));
        assert!(!admit(&mut budget, 1, HOST), "a stranger");
        let admitted = (0..100).filter(|_| budget.admit(at(1), HOST, || true)).count();
        assert_eq!(admitted, 12, "half of a quarter of 100");
        let other = Source { mac: MacAddr([2, 0, 0, 0, 0, 2]), ..HOST };
        assert!(budget.admit(at(1), other, || true));
    }

    #[test]
    fn nobody_asks_whether_a_source_is_established_while_there_is_enough() {
        let mut budget = busy();
        assert!(budget.admit(at(1), HOST, || unreachable!()));
    }

    #[test]
    fn a_cold_cache_is_filled_without_limit() {
        let mut budget = UpcallBudget::new(Some(UpcallLimit { rate: 1000, burst: 100 }));
        for ms in 0..50 {
            assert!((0..1000).all(|n| admit(&mut budget, ms, random_source(n))));
            budget.saw_batch(at(ms), 500, true);
        }
    }

    #[test]
    fn some_new_connections_on_end_do_not_leave_the_others_without_protection() {
        let mut budget = busy();
        let established = |n| Source { mac: random_source(n).mac, ..HOST };
        for ms in 2..5 {
            (0..1000).for_each(|n| _ = budget.admit(at(ms), established(n), || true));
            budget.saw_batch(at(ms), 0, true);
        }
        assert!(budget.protects());
        // It ends with the traffic.
        for ms in 5..300 {
            (0..100).for_each(|n| _ = admit(&mut budget, ms, random_source(n)));
            budget.saw_batch(at(ms), 0, true);
        }
        assert!(!budget.protects());
    }

    #[test]
    fn a_flood_that_was_there_first_is_limited_after_a_while_if_the_worker_cannot_keep_up() {
        for is_full in [true, false] {
            let mut budget = UpcallBudget::new(Some(UpcallLimit { rate: 1000, burst: 100 }));
            for ms in 0..1200 {
                (0..32).for_each(|n| _ = admit(&mut budget, ms, random_source(n)));
                budget.saw_batch(at(ms), 32, is_full);
                assert!(ms > 900 || !budget.protects());
            }
            assert_eq!(budget.protects(), is_full);
        }
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let mut budget = UpcallBudget::new(None);
        budget.saw_batch(at(5), 1_000_000, true);
        assert!((0..10_000).all(|_| admit(&mut budget, 6, HOST)));
    }
}

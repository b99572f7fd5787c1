//! Limits the translations that a port may cause.
//!
//! A packet that has to be translated costs as much as dozens of cached ones. While a worker mostly
//! forwards cached traffic, each port has a rate and a burst of translations. One source MAC
//! address (by hash) gets half of them at most, so that one host cannot use up what its neighbours
//! behind the same port need for their new flows. A packet beyond the budget is dropped.
//!
//! What a packet costs is known when it has been translated. A packet that goes through many tables, executes
//! many actions or is copied to many ports costs as many upcalls as take the same time. A packet of an unknown
//! host costs one more, because the host has to be learned and announced to all workers. A port and a source
//! that owe something wait until it is paid back. So a port takes the same part of a worker whatever the rules
//! have translations do.
//!
//! A flood with a new source address in each frame uses up the budget of a port.
//! [Established](super::established) sources therefore have a reserve on top: their new connections
//! succeed beside any flood of unknown sources. A host that is new itself gets nothing from the
//! reserve, because nothing tells it from the flood.
//!
//! A worker without established traffic has nothing to protect: it refuses no packet, so that a
//! cold cache fills as fast as possible. Frames that the kernel forwards are established traffic,
//! too: a flood that keeps the worker busy takes the processor from them, and from their hosts.
//!
//! Protection begins when the established traffic outweighs the upcalls for a millisecond. A flood
//! that begins later cannot end it by its rate, and a short moment with new flows only does not end
//! it either. If the flood was there first, protection begins after a second in which the worker
//! could not keep up.
//!
//! Flows that are translated *again* because of a change have no budget. Their number is limited by
//! the cache, and refusing them would drop the traffic that the budget protects.

use super::established::Source;
use flow::types::MacAddr;
use std::time::Duration;

/// Number of hash buckets for the sources of a port.
const SOURCES: usize = 32;
/// One source gets the port's limit divided by this number.
const SOURCE_SHARE: u32 = 2;
/// Established sources have a reserve of the port's limit divided by this number.
const RESERVE_SHARE: u32 = 4;
/// Protection begins after a period of this length in which the worker had more than [`MUCH`] hits
/// for each upcall.
const MOMENT: Duration = Duration::from_millis(1);
/// Protection ends after a period of this length in which the worker had more than [`MUCH`] upcalls
/// for each hit.
const WHILE: Duration = Duration::from_millis(100);
/// See [`MOMENT`] and [`WHILE`].
const MUCH: u64 = 4;
/// The kernel forwards nothing any more if its count has been the same for so long. It is
/// counted anew twice a second.
const STANDSTILL: Duration = Duration::from_secs(1);
/// Protection also begins after this number of successive periods of [`WHILE`] in which the worker
/// could not keep up and had more than one hit for each two upcalls.
const LONG: u32 = 10;

/// Translations of new flows that a port may cause while other traffic has to be protected, if each of
/// them takes 2 µs. One that takes longer counts as several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpcallLimit {
    /// How many translations a port may cause in a second.
    pub rate: u32,
    /// How many translations a port may cause at once, after a time without any.
    pub burst: u32,
}

impl Default for UpcallLimit {
    fn default() -> Self {
        // An upcall costs 2 µs, so that a flood takes less than a tenth of a worker.
        Self::per_second(40_000)
    }
}

impl UpcallLimit {
    /// `rate` translations a second, and a tenth of that number at once. With the default that is
    /// enough for some thousands of connections that come back after an outage.
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

/// What the worker has done recently.
#[derive(Debug, Default)]
struct Traffic {
    moment: Tally,
    period: Tally,
    kernel: KernelTraffic,
    /// Number of successive periods in which upcalls kept the worker from its established traffic.
    crowded: u32,
    protects: bool,
}

/// Frames that the kernel forwards, beside all workers. They are counted now and then, so that what came
/// between two counts is taken for evenly spread.
#[derive(Debug, Default)]
struct KernelTraffic {
    /// The latest count, and when it was another one than before.
    count: u64,
    counted: Duration,
    /// Frames in a second.
    rate: f64,
}

impl KernelTraffic {
    /// Takes into account what the count is at `now`.
    fn see(&mut self, now: Duration, count: u64) {
        let elapsed = now.saturating_sub(self.counted);
        if count != self.count {
            let frames = count.saturating_sub(self.count) as f64;
            self.rate = if elapsed.is_zero() { 0.0 } else { frames / elapsed.as_secs_f64() };
            (self.count, self.counted) = (count, now);
        } else if elapsed > STANDSTILL {
            self.rate = 0.0;
        }
    }

    /// The number of frames in a time of this length.
    fn frames_in(&self, time: Duration) -> u64 {
        (self.rate * time.as_secs_f64()) as u64
    }
}

/// What the worker has done since a point in time.
#[derive(Debug, Default)]
struct Tally {
    start: Duration,
    hits: u64,
    upcalls: u64,
    batches: u64,
    /// Number of full batches, behind which more frames were waiting.
    full: u64,
}

impl Tally {
    fn count(&mut self, hits: u64, is_full: bool) {
        self.hits += hits;
        self.batches += 1;
        self.full += u64::from(is_full);
    }

    /// Returns the counts and starts again from zero, if `period` is over at `now`.
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

/// A limit for all sources of a port together, and for each of them.
#[derive(Clone, Debug)]
struct Share {
    limit: UpcallLimit,
    all: TokenBucket,
    sources: [TokenBucket; SOURCES],
}

impl Share {
    fn full(limit: UpcallLimit, now: Duration) -> Self {
        let bucket = |limit: UpcallLimit| TokenBucket {
            tokens: i64::from(limit.burst) * UPCALL,
            filled: now,
        };
        Self { limit, all: bucket(limit), sources: [bucket(limit.part(SOURCE_SHARE)); SOURCES] }
    }

    /// Takes the tokens of one upcall of a source. Returns whether there were enough.
    fn take(&mut self, now: Duration, source: MacAddr) -> bool {
        let source = &mut self.sources[source_slot(source)];
        let has_tokens =
            self.all.refill(self.limit, now) & source.refill(self.limit.part(SOURCE_SHARE), now);
        if has_tokens {
            self.all.pay(UPCALL, self.limit);
            source.pay(UPCALL, self.limit.part(SOURCE_SHARE));
        }
        has_tokens
    }

    /// Takes more tokens for an upcall of a source, whether there are any or not.
    fn charge(&mut self, source: MacAddr, tokens: i64) {
        self.all.pay(tokens, self.limit);
        self.sources[source_slot(source)].pay(tokens, self.limit.part(SOURCE_SHARE));
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

/// A token bucket. A million tokens stand for an upcall of 2 µs.
#[derive(Clone, Copy, Debug)]
struct TokenBucket {
    /// Negative if more was spent than there was, by the tokens of a whole burst at most.
    tokens: i64,
    filled: Duration,
}

/// What an upcall costs that looks up one table and does little else.
const UPCALL: i64 = 1_000_000;
/// What each further look-up in a table costs: 0.2 µs.
const LOOKUP: i64 = UPCALL / 10;
/// What each step of a translation costs: 60 ns. Steps of small translations take 10 to 40 ns; those of one
/// that fills memory with datapath actions until the budget ends take 50 to 56 ns.
const STEP: i64 = UPCALL * 3 / 100;

/// Who pays for an upcall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payer {
    /// The budget of a port and a source.
    Everybody(Source),
    /// The reserve that a port has for established sources.
    Established(Source),
    /// Nobody: there is no limit, nothing to protect, or the packet is a user's.
    Nobody,
}

/// What a translation did, beside looking up one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Look-ups in tables, the first one included.
    pub(crate) lookups: usize,
    /// Steps of the translation.
    pub(crate) steps: usize,
    /// Whether a host was learned, which costs about as much as another translation.
    pub(crate) has_learned: bool,
}

impl Work {
    fn tokens(self) -> i64 {
        let times = |count: usize, cost: i64| {
            i64::try_from(count).map_or(i64::MAX, |n| n.saturating_mul(cost))
        };
        let learning = if self.has_learned { UPCALL } else { 0 };
        times(self.lookups.saturating_sub(1), LOOKUP)
            .saturating_add(times(self.steps, STEP))
            .saturating_add(learning)
    }
}

impl TokenBucket {
    fn refill(&mut self, limit: UpcallLimit, now: Duration) -> bool {
        if now == self.filled {
            return self.tokens >= UPCALL;
        }
        let elapsed = now.saturating_sub(self.filled).as_micros();
        let full = i64::from(limit.burst) * UPCALL;
        let new = i64::try_from(elapsed).unwrap_or(i64::MAX).saturating_mul(limit.rate.into());
        self.tokens = self.tokens.saturating_add(new).min(full);
        self.filled = now;
        self.tokens >= UPCALL
    }

    /// Takes tokens, also those that are not there: as many as a burst has can be owed.
    fn pay(&mut self, tokens: i64, limit: UpcallLimit) {
        let owed = i64::from(limit.burst) * -UPCALL;
        self.tokens = self.tokens.saturating_sub(tokens).max(owed);
    }
}

impl UpcallBudget {
    pub(crate) fn new(limit: Option<UpcallLimit>) -> Self {
        Self { limit, ports: Vec::new(), traffic: Traffic::default() }
    }

    /// Counts a batch: `hits` is its number of frames that hit the cache, `is_full` whether it had
    /// as many frames as a batch can have. `in_kernel` tells how many frames the kernel has forwarded
    /// so far, and is asked once in a [`MOMENT`] at most.
    #[inline]
    pub(crate) fn saw_batch(
        &mut self,
        now: Duration,
        hits: u64,
        is_full: bool,
        in_kernel: impl FnOnce() -> u64,
    ) {
        let Traffic { moment, period, kernel, crowded, protects } = &mut self.traffic;
        moment.count(hits, is_full);
        period.count(hits, is_full);
        if let Some(seen) = moment.end(now, MOMENT) {
            kernel.see(now, in_kernel());
            let hits = seen.hits + kernel.frames_in(now.saturating_sub(seen.start));
            *protects |= hits > MUCH * seen.upcalls;
        }
        if let Some(seen) = period.end(now, WHILE) {
            let hits = seen.hits + kernel.frames_in(now.saturating_sub(seen.start));
            *protects &= MUCH * hits >= seen.upcalls;
            let is_crowded = 2 * seen.full > seen.batches && 2 * hits >= seen.upcalls;
            *crowded = if is_crowded { *crowded + 1 } else { 0 };
            *protects |= *crowded >= LONG;
        }
    }

    /// Whether there is established traffic to protect, and a limit is set.
    #[inline]
    pub(crate) fn protects(&self) -> bool {
        self.traffic.protects && self.limit.is_some()
    }

    /// Who pays for the translation of a packet of this source; `None` if the packet may not be
    /// translated. `is_established` is called only if the answer depends on it.
    pub(crate) fn admit(
        &mut self,
        now: Duration,
        source: Source,
        is_established: impl FnOnce() -> bool,
    ) -> Option<Payer> {
        let Some(limit) = self.limit else {
            return Some(Payer::Nobody);
        };
        let port = usize::from(source.port.0);
        if self.ports.len() <= port {
            self.ports.resize(port + 1, PortBudget::full(limit, now));
        }
        let budget = &mut self.ports[port];
        let payer = if budget.everybody.take(now, source.mac) {
            Payer::Everybody(source)
        } else if !self.traffic.protects {
            Payer::Nobody
        } else if is_established() && budget.established.take(now, source.mac) {
            Payer::Established(source)
        } else {
            return None;
        };
        self.traffic.moment.upcalls += 1;
        self.traffic.period.upcalls += 1;
        Some(payer)
    }

    /// Has the payer of an upcall pay for what it did.
    pub(crate) fn charge(&mut self, payer: Payer, work: Work) {
        let (Payer::Everybody(source) | Payer::Established(source)) = payer else { return };
        if let Some(port) = self.ports.get_mut(usize::from(source.port.0)) {
            let share = match payer {
                Payer::Established(_) => &mut port.established,
                _ => &mut port.everybody,
            };
            share.charge(source.mac, work.tokens());
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
    use flow::types::PortNo;

    const HOST: Source = Source { port: PortNo(0), mac: MacAddr([2, 0, 0, 0, 0, 1]) };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn random_source(n: u32) -> Source {
        let [a, b, c, d] = n.wrapping_mul(0x85eb_ca6b).to_be_bytes();
        Source { mac: MacAddr([2, 0, a, b, c, d]), ..HOST }
    }

    /// A worker sees a batch while nothing is in the kernel.
    fn saw(budget: &mut UpcallBudget, now: Duration, hits: u64, is_full: bool) {
        budget.saw_batch(now, hits, is_full, || 0);
    }

    /// A stranger asks.
    fn admit(budget: &mut UpcallBudget, ms: u64, source: Source) -> bool {
        budget.admit(at(ms), source, || false).is_some()
    }

    /// A budget of 1,000 upcalls a second and 100 at once, in front of busy caches.
    fn busy() -> UpcallBudget {
        let mut budget = UpcallBudget::new(Some(UpcallLimit { rate: 1000, burst: 100 }));
        saw(&mut budget, at(0), 1000, true);
        saw(&mut budget, at(1), 1000, true);
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
            let payer = budget.admit(at(1), random_source(n), || false);
            let work = Work { has_learned: true, ..Work::default() };
            payer.inspect(|payer| budget.charge(*payer, work)).is_some()
        });
        assert_eq!(learned.count(), 50);
    }

    /// How many packets of a flood are translated in a second after the burst, if each does this work.
    fn translated(work: Work) -> usize {
        let mut budget = busy();
        let mut count = 0;
        for ms in 1..4001 {
            for n in 0..20 {
                let payer = budget.admit(at(ms), random_source(20 * ms as u32 + n), || false);
                let payer = payer.inspect(|payer| budget.charge(*payer, work));
                count += usize::from(ms > 3000 && payer.is_some());
            }
            saw(&mut budget, at(ms), 1000, true);
        }
        count
    }

    #[test]
    fn a_port_may_cause_the_same_work_whatever_a_translation_costs() {
        assert_eq!(translated(Work { lookups: 1, ..Work::default() }), 1000);
        // 249 further look-ups, of a tenth of an upcall each.
        let deep = translated(Work { lookups: 250, ..Work::default() });
        assert!((37..=40).contains(&deep), "{deep}");
        // Three hundredths of an upcall each.
        let long = translated(Work { lookups: 1, steps: 950, has_learned: false });
        assert!((33..=35).contains(&long), "{long}");
    }

    #[test]
    fn a_debt_ends_with_a_burst() {
        let mut budget = busy();
        let payer = budget.admit(at(1), HOST, || false).expect("it has a burst");
        budget.charge(payer, Work { steps: usize::MAX, ..Work::default() });
        // The reserve owes nothing.
        assert_eq!(budget.admit(at(2), HOST, || true), Some(Payer::Established(HOST)));
        assert!(!admit(&mut budget, 90, random_source(5)));
        assert!(admit(&mut budget, 110, random_source(5)), "100 at 1,000 a second");
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
        let admitted = (0..100).filter(|_| budget.admit(at(1), HOST, || true).is_some()).count();
        assert_eq!(admitted, 12, "half of a quarter of 100");
        let other = Source { mac: MacAddr([2, 0, 0, 0, 0, 2]), ..HOST };
        assert!(budget.admit(at(1), other, || true).is_some());
    }

    #[test]
    fn nobody_asks_whether_a_source_is_established_while_there_is_enough() {
        let mut budget = busy();
        assert!(budget.admit(at(1), HOST, || unreachable!()).is_some());
    }

    #[test]
    fn a_cold_cache_is_filled_without_limit() {
        let mut budget = UpcallBudget::new(Some(UpcallLimit { rate: 1000, burst: 100 }));
        for ms in 0..50 {
            assert!((0..1000).all(|n| admit(&mut budget, ms, random_source(n))));
            saw(&mut budget, at(ms), 500, true);
        }
    }

    #[test]
    fn some_new_connections_on_end_do_not_leave_the_others_without_protection() {
        let mut budget = busy();
        let established = |n| Source { mac: random_source(n).mac, ..HOST };
        for ms in 2..5 {
            (0..1000).for_each(|n| _ = budget.admit(at(ms), established(n), || true));
            saw(&mut budget, at(ms), 0, true);
        }
        assert!(budget.protects());
        // It ends with the traffic.
        for ms in 5..300 {
            (0..100).for_each(|n| _ = admit(&mut budget, ms, random_source(n)));
            saw(&mut budget, at(ms), 0, true);
        }
        assert!(!budget.protects());
    }

    #[test]
    fn a_flood_that_was_there_first_is_limited_after_a_while_if_the_worker_cannot_keep_up() {
        for is_full in [true, false] {
            let mut budget = UpcallBudget::new(Some(UpcallLimit { rate: 1000, burst: 100 }));
            for ms in 0..1200 {
                (0..32).for_each(|n| _ = admit(&mut budget, ms, random_source(n)));
                saw(&mut budget, at(ms), 32, is_full);
                assert!(ms > 900 || !budget.protects());
            }
            assert_eq!(budget.protects(), is_full);
        }
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let mut budget = UpcallBudget::new(None);
        saw(&mut budget, at(5), 1_000_000, true);
        assert!((0..10_000).all(|_| admit(&mut budget, 6, HOST)));
    }

    #[test]
    fn what_the_kernel_forwards_is_protected_from_a_flood() {
        let mut budget = UpcallBudget::new(Some(UpcallLimit { rate: 1000, burst: 100 }));
        // 1,000 new flows a second, 100 of which are refused if there is something to protect, while the kernel
        // forwards 100,000 frames a second until the fourth second, and counts them twice a second.
        let mut protects = Vec::new();
        for ms in 0..6000 {
            admit(&mut budget, ms, HOST);
            let in_kernel = || ms.min(4000) / 500 * 500 * 100;
            budget.saw_batch(at(ms), 0, false, in_kernel);
            if ms % 500 == 499 {
                protects.push(budget.protects());
            }
        }
        let expected = [false, true, true, true, true, true, true, true, true, true, false, false];
        assert_eq!(protects, expected);
    }
}

//! Limits the connections that a port may begin while established ones have to be protected.
//!
//! A frame that begins a connection costs as much as fifteen of an established one, so a flood of them takes
//! the worker's time from all others. While a worker mostly forwards frames of known connections, each port has
//! a rate and a burst of new ones. Frames beyond that are forwarded as the rules say, but their connections are
//! not remembered: the next frame is `new` again. Addresses that have an answered connection have a reserve on
//! top, because nothing else tells a client from a flood.
//!
//! A worker without established connections has nothing to protect, and refuses none. Each worker has a budget
//! of its own.

use flow::types::PortNo;
use std::cell::{Cell, RefCell};

/// New connections that a port may begin in a second.
const RATE: u64 = 75_000;
/// New connections that addresses with answered connections may begin in a second on top, at each port.
const RESERVE: u64 = RATE / 4;
/// A budget that was not used for this long is full, in milliseconds.
const FULL_AFTER: u64 = 100;
/// Protection ends after a period of this length, in milliseconds, with more than [`MUCH`] new
/// connections for each frame of a known one. It begins after a millisecond with more frames of
/// known connections than new ones.
const WHILE: u64 = 100;
/// New connections for each frame of a known one, in a period of [`WHILE`], with more of which protection ends.
const MUCH: u64 = 4;

/// How many connections the packets of each port may begin at one worker.
#[derive(Debug, Default)]
pub struct CtBudget {
    /// Frames of known connections, ever.
    known: Cell<u64>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    protects: bool,
    moment: Period,
    period: Period,
    /// By the numbers of ports.
    ports: Vec<[Bucket; 2]>,
}

impl State {
    /// Counts a new connection while `known` frames of known ones have been seen, ever.
    fn count(&mut self, now: u64, known: u64) {
        if let Some((known, begun)) = self.moment.count(now, known, 1) {
            self.protects |= known > begun;
        }
        if let Some((known, begun)) = self.period.count(now, known, WHILE) {
            self.protects &= MUCH * known >= begun;
        }
    }
}

/// What has happened since a point in time, in milliseconds.
#[derive(Debug, Default)]
struct Period {
    start: u64,
    /// The value of [`CtBudget::known`] then.
    known: u64,
    begun: u64,
}

impl Period {
    /// Counts a new connection. Returns frames of known connections and new ones of the period, if it is over.
    fn count(&mut self, now: u64, known: u64, length: u64) -> Option<(u64, u64)> {
        self.begun += 1;
        let is_over = now.saturating_sub(self.start) >= length;
        is_over.then(|| {
            let seen = (known - self.known, self.begun);
            *self = Self { start: now, known, begun: 0 };
            seen
        })
    }
}

/// A token bucket. A thousand tokens stand for a connection.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Connections a second, which is tokens a millisecond.
    rate: u64,
    tokens: u64,
    filled: u64,
}

impl Bucket {
    fn full(rate: u64, now: u64) -> Self {
        Self { rate, tokens: rate * FULL_AFTER, filled: now }
    }

    /// Whether there are the tokens of a connection.
    fn has_some(&mut self, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.filled).min(FULL_AFTER);
        self.tokens = (self.tokens + elapsed * self.rate).min(self.rate * FULL_AFTER);
        self.filled = now;
        self.tokens >= 1_000
    }

    fn take(&mut self, now: u64) -> bool {
        let has_some = self.has_some(now);
        self.tokens -= if has_some { 1_000 } else { 0 };
        has_some
    }
}

impl CtBudget {
    /// Counts frames of known connections.
    #[inline]
    pub(crate) fn saw_known(&self, frames: u64) {
        self.known.set(self.known.get() + frames);
    }

    /// Whether a connection may begin with a frame of a port, at the time `now` in milliseconds.
    /// `is_trusted` says whether its source address has an answered connection, and is called only if
    /// the answer depends on it.
    pub(super) fn admit(&self, now: u64, port: PortNo, is_trusted: impl FnOnce() -> bool) -> bool {
        let state = &mut *self.state.borrow_mut();
        state.count(now, self.known.get());
        let port = usize::from(port.0);
        if state.ports.len() <= port {
            let full = [RATE, RESERVE].map(|rate| Bucket::full(rate, now));
            state.ports.resize(port + 1, full);
        }
        let [everybody, reserve] = &mut state.ports[port];
        everybody.take(now) || !state.protects || is_trusted() && reserve.take(now)
    }

    /// Whether a port may begin no further connection now, unless with a trusted source address.
    pub(super) fn is_spent(&self, now: u64, port: PortNo) -> bool {
        let state = &mut *self.state.borrow_mut();
        let everybody = state.ports.get_mut(usize::from(port.0));
        state.protects && everybody.is_some_and(|[everybody, _]| !everybody.has_some(now))
    }

    /// Whether [`admit`](Self::admit) would refuse. Only a refusal counts as a new connection: with a frame
    /// that is not refused here, nothing has happened yet.
    pub(super) fn refuses(
        &self,
        now: u64,
        port: PortNo,
        is_trusted: impl FnOnce() -> bool,
    ) -> bool {
        let state = &mut *self.state.borrow_mut();
        let Some([everybody, reserve]) = state.ports.get_mut(usize::from(port.0)) else {
            return false;
        };
        let refuses =
            state.protects && !everybody.has_some(now) && !(is_trusted() && reserve.has_some(now));
        if refuses {
            state.count(now, self.known.get());
        }
        refuses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortNo = PortNo(3);

    /// Has connections begin for a second, `each` of them and `known` frames of known ones in every
    /// millisecond. Returns how many were admitted.
    fn admitted(budget: &CtBudget, start: u64, known: u64, each: u64, trusted: bool) -> u64 {
        let mut count = 0;
        for now in start..start + 1_000 {
            (0..known).for_each(|_| budget.saw_known(1));
            count += (0..each).filter(|_| budget.admit(now, PORT, || trusted)).count() as u64;
        }
        count
    }

    #[test]
    fn to_ask_takes_nothing_until_it_is_refused() {
        let budget = CtBudget::default();
        // Under protection, until the port has nothing left.
        (0..5_000).for_each(|_| budget.saw_known(1));
        assert!(budget.admit(0, PORT, || false));
        let left = (0..100_000).take_while(|_| budget.admit(1, PORT, || false)).count();
        assert!(left < 100_000 && budget.refuses(1, PORT, || false));
        assert!(!budget.refuses(1, PORT, || true), "the reserve is not touched yet");
        assert!(budget.admit(1, PORT, || true));
        // What a millisecond brings is there still, however often somebody asks.
        assert!((0..1_000).all(|_| !budget.refuses(2, PORT, || false)));
        assert!((0..RATE / 1_000).all(|_| budget.admit(2, PORT, || false)));
        assert!(budget.refuses(2, PORT, || false));
    }

    #[test]
    fn without_established_traffic_none_is_refused() {
        assert_eq!(admitted(&CtBudget::default(), 0, 10, 1_000, false), 1_000_000);
    }

    #[test]
    fn a_flood_beside_established_traffic_gets_the_rate_of_its_port() {
        let budget = CtBudget::default();
        admitted(&budget, 0, 5_000, 1_000, false);
        let count = admitted(&budget, 1_000, 5_000, 1_000, false);
        assert!((RATE - 1_000..=RATE + 1_000).contains(&count), "{count}");
        let all = admitted(&budget, 2_000, 5_000, 20, false);
        assert_eq!(all, 20_000, "a rate below the limit");
    }

    #[test]
    fn known_hosts_begin_connections_beside_a_flood() {
        let budget = CtBudget::default();
        admitted(&budget, 0, 5_000, 1_000, false);
        let mut refused = 0;
        for now in 1_000..2_000 {
            (0..5_000).for_each(|_| budget.saw_known(1));
            let hostile = (0..1_000).filter(|_| budget.admit(now, PORT, || false)).count();
            assert!(hostile <= 101, "{hostile} of a flood");
            refused += (0..20).filter(|_| !budget.admit(now, PORT, || true)).count();
        }
        assert_eq!(refused, 0);
    }

    #[test]
    fn other_ports_do_not_notice() {
        let budget = CtBudget::default();
        admitted(&budget, 0, 5_000, 1_000, false);
        assert!(budget.admit(1_000, PortNo(4), || false));
    }
}

//! How long a worker that has given packets to controllers looks for what they send back before it sleeps.
//!
//! A controller that answers each packet with a packet-out does so within some 50 µs if it is on the same
//! machine. Until then the worker has nothing to do, and to wake it takes longer than everything that it does
//! with the packet. So the worker looks for up to [`LONGEST`], at its commands and, if it can, at what the
//! controller sends ([`PuntPort::listen`](crate::punts::PuntPort::listen)). It offers its processor to others
//! at each look. It does so only while that pays: controllers that answer late, or not at all, or by a flow
//! mod, would make it occupy its processor for nothing.
//!
//! ```text
//!            packets are given                 as many are answered
//! ┌──────┐ ─────────────────────► ┌─────────┐ ─────────────────────► ┌──────┐
//! │ none │                        │ awaited │                        │ none │
//! └──────┘                        └─────────┘ ─────────────────────► └──────┘
//!                                              none for LONGEST
//! ```

use std::time::{Duration, Instant};

/// How long a worker looks for the next answer at most: about four times what a controller on the same machine
/// takes for it.
const LONGEST: Duration = Duration::from_micros(200);
/// Answers in time that make up for one that did not come in time.
const ANSWERS_FOR_A_WASTED_WAIT: i8 = 2;
/// The balance is within this bound, so that the last few packets decide.
const BOUND: i8 = 16;

/// The answers of controllers that a worker expects.
#[derive(Default)]
pub(crate) struct Answers {
    /// How many packets have no answer yet, and when the first of them was given, or the latest answer came.
    awaited: Option<(u64, Instant)>,
    /// Answers that came in time, minus [`ANSWERS_FOR_A_WASTED_WAIT`] for each time that one did not.
    balance: i8,
}

impl Answers {
    /// Notes that the worker has given packets to controllers at the time `now`.
    pub(crate) fn expect(&mut self, packets: u64, now: Instant) {
        self.give_up(now);
        // The first packet counts, so that a stream of packets without answers does not keep the worker awake.
        let (awaited, since) = self.awaited.unwrap_or((0, now));
        self.awaited = Some((awaited.saturating_add(packets), since));
    }

    /// Notes that a packet-out of a controller came at the time `now`.
    pub(crate) fn come(&mut self, now: Instant) {
        self.give_up(now);
        if let Some((awaited, _)) = self.awaited {
            self.balance = (self.balance + 1).min(BOUND);
            self.awaited = (awaited > 1).then_some((awaited - 1, now));
        }
    }

    /// Whether the worker goes on looking for an answer.
    #[inline]
    pub(crate) fn are_near(&mut self, now: Instant) -> bool {
        self.awaited.is_some() && {
            self.give_up(now);
            self.awaited.is_some() && self.balance > 0
        }
    }

    /// Forgets packets that have waited for too long.
    fn give_up(&mut self, now: Instant) {
        if self.awaited.is_some_and(|(_, since)| now - since >= LONGEST) {
            self.awaited = None;
            self.balance = (self.balance - ANSWERS_FOR_A_WASTED_WAIT).max(-BOUND);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    /// Gives `packets` packets to a controller, one at a time, which answers each after `delay`.
    fn after(packets: u32, delay: Duration, start: Instant) -> (Answers, Instant) {
        let (mut answers, mut now) = (Answers::default(), start);
        for _ in 0..packets {
            answers.expect(1, now);
            now += delay;
            answers.come(now);
            now += US;
        }
        (answers, now)
    }

    #[test]
    fn a_worker_looks_for_answers_that_come_soon() {
        let (mut answers, now) = after(10, 50 * US, Instant::now());
        assert!(!answers.are_near(now), "everything is answered");
        answers.expect(2, now);
        assert!(answers.are_near(now + LONGEST - US));
        answers.come(now + LONGEST - US);
        assert!(answers.are_near(now + 2 * LONGEST - 2 * US), "one more is awaited");
        assert!(!answers.are_near(now + 2 * LONGEST));
    }

    #[test]
    fn a_worker_does_not_look_for_answers_that_come_late_or_never() {
        let start = Instant::now();
        let (mut answers, now) = after(100, 2 * LONGEST, start);
        answers.expect(1, now);
        assert!(!answers.are_near(now));
        let mut silent = after(100, 50 * US, start).0;
        let mut now = start + Duration::from_secs(1);
        for _ in 0..BOUND / ANSWERS_FOR_A_WASTED_WAIT {
            silent.expect(1, now);
            assert!(silent.are_near(now));
            now += LONGEST;
            assert!(!silent.are_near(now));
        }
        silent.expect(1, now);
        assert!(!silent.are_near(now), "nobody answers any more");
        let (mut streamed, mut now) = after(100, 50 * US, start);
        for _ in 0..100 {
            streamed.expect(1, now);
            now += LONGEST / 2;
        }
        assert!(!streamed.are_near(now), "nobody answers a stream");
    }

    #[test]
    fn packets_that_nobody_expects_change_nothing() {
        let mut answers = Answers::default();
        let now = Instant::now();
        (0..100).for_each(|_| answers.come(now));
        answers.expect(1, now);
        assert!(!answers.are_near(now));
    }
}

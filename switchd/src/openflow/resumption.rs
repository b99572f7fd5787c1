//! When the pauses of a bridge's flow monitors may end.
//!
//! A pause ends with a look at all rules, and the peer reads what the look finds. A flood of changes lets a
//! hundred monitors pause, over and over again, and their looks would take both processors from the connection
//! that makes the changes. So while changes come, one monitor looks after the other, and all of them together
//! have a part of a processor. Once no change has come for a moment, they look as soon as they can.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// While changes come, nobody looks for this many times as long as the last look took of the processor. The
/// peer, and the kernel between the two, take about as long again: together they have a tenth of a processor.
const REST: u32 = 20;
/// The shortest time from the beginning of a pause, or from the end of a look, to the next look while changes
/// come. A monitor that goes on beside a flood of changes has to pause again soon.
const SHORTEST_REST: Duration = Duration::from_millis(200);
/// The shortest time between the beginnings of two looks.
const STEP: Duration = Duration::from_millis(1);
/// How long others wait for a look that goes on while changes come, from each sign that it does.
const PATIENCE: Duration = Duration::from_millis(50);
/// No changes come if none has come for this long.
const CALM: Duration = Duration::from_millis(50);

/// When the pauses of a bridge's monitors may end.
#[derive(Debug, Default)]
pub(super) struct Resumption {
    /// Nobody looks before. `None`: nobody has looked yet.
    step: Option<Instant>,
    /// Nobody looks before while changes come. `None`: nobody has to wait.
    rest: Option<Instant>,
}

impl Resumption {
    /// When a pause may end, if the latest change came at `changed`; `None`: at once.
    pub(super) fn at(&self, changed: Instant) -> Option<Instant> {
        let rest = self.rest.map(|rest| rest.min(changed + CALM));
        self.step.max(rest)
    }

    /// Takes into account that a pause began at `now`.
    pub(super) fn pause(&mut self, now: Instant) {
        self.rest = self.rest.max(Some(now + SHORTEST_REST));
    }

    /// Whether a pause may end at `now`, if the latest change came at `changed`. If so, the next one may after
    /// a short time.
    pub(super) fn begin(&mut self, changed: Instant, now: Instant) -> bool {
        let is_time = self.at(changed).is_none_or(|at| at <= now);
        if is_time {
            self.step = Some(now + STEP);
            self.look_goes_on(now);
        }
        is_time
    }

    /// Takes into account that a look goes on at `now`.
    pub(super) fn look_goes_on(&mut self, now: Instant) {
        self.rest = self.rest.max(Some(now + PATIENCE));
    }

    /// Takes into account that a look was over at `now`, which took `time` of the processor.
    pub(super) fn rest_behind(&mut self, time: Duration, now: Instant) {
        self.rest = Some(now + (time * REST).max(SHORTEST_REST));
    }
}

/// The time that the calling thread has had of a processor so far.
pub(super) fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    Duration::from(now.unwrap_or_else(|_| TimeSpec::new(0, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn looks_rest_while_changes_come() {
        let (mut resumption, start) = (Resumption::default(), Instant::now());
        assert_eq!(resumption.at(start), None);
        let begins =
            |resumption: &mut Resumption, at| resumption.begin(start + ms(at), start + ms(at));
        resumption.pause(start);
        assert!(!begins(&mut resumption, 199));
        assert!(begins(&mut resumption, 200));
        assert!(!begins(&mut resumption, 210), "another one looks");
        resumption.look_goes_on(start + ms(240));
        assert!(!begins(&mut resumption, 289), "it still does");
        assert!(begins(&mut resumption, 290), "it waits for its peer");
        for (time, end, next) in [(1, 300, 500), (20, 600, 1000)] {
            resumption.rest_behind(ms(time), start + ms(end));
            assert!(!begins(&mut resumption, next - 1));
            assert!(begins(&mut resumption, next));
        }
    }

    #[test]
    fn nobody_rests_once_no_changes_come() {
        let (mut resumption, start) = (Resumption::default(), Instant::now());
        resumption.rest_behind(ms(1000), start);
        let changed = start + ms(10);
        assert_eq!(resumption.at(changed), Some(changed + CALM));
        assert!(!resumption.begin(changed, start + ms(59)));
        for at in [60, 61, 62] {
            assert!(resumption.begin(changed, start + ms(at)), "{at}");
        }
        assert!(!resumption.begin(start + ms(62), start + ms(63)), "changes come again");
    }
}

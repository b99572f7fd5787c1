//! Limits for log lines that strangers can cause.
//!
//! A container that sets its link up and down causes a line each time, a thousand times a second if it
//! likes. So such lines have a subject, mostly a port, and each subject has a budget of lines. What is
//! over the budget is left out and counted: the next line about the subject says how many lines were left
//! out before, and if none follows, [`tell_of_omitted`] does. Ports do not share a budget, so that one of
//! them cannot silence the others.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

/// How many lines a subject may cause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Lines at once, after a pause.
    burst: u32,
    /// The time after which one line more is allowed.
    interval: Duration,
}

/// For what happens to a port or a namespace.
pub(crate) const EVENTS: Rate = Rate { burst: 20, interval: Duration::from_secs(2) };
/// For what is logged with `-v` only, by people who look for a fault.
pub(crate) const DETAILS: Rate = Rate { burst: 2000, interval: Duration::from_millis(5) };

/// How many lines about the subject were left out since its last line. Displayed at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Omitted(u64);

impl fmt::Display for Omitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" (1 line about it was left out before)"),
            n => write!(f, " ({n} lines about it were left out before)"),
        }
    }
}

#[derive(Debug)]
struct Subject {
    rate: Rate,
    /// The time at which the budget is whole again.
    whole_at: Instant,
    omitted: u64,
    /// The time of the last line, written or not.
    last: Instant,
}

/// The budgets of all subjects that have caused lines lately.
#[derive(Debug, Default)]
pub(crate) struct Limits(Option<HashMap<String, Subject>>);

/// The budgets of the process, which has one log.
static LIMITS: Mutex<Limits> = Mutex::new(Limits(None));

/// Whether a line about `subject` may be written now. `None` if not; then the line is counted as left out.
pub(crate) fn admit(subject: &str, rate: Rate) -> Option<Omitted> {
    LIMITS.lock().admit(subject, rate, Instant::now())
}

/// Calls `tell` for each subject whose lines were left out and that has been quiet since, with
/// the number of these lines.
pub(crate) fn tell_of_omitted(mut tell: impl FnMut(&str, u64)) {
    let quiet = LIMITS.lock().take_quiet(Instant::now());
    quiet.iter().for_each(|(subject, omitted)| tell(subject, *omitted));
}

/// How long a subject has to be quiet until somebody tells of its lines that were left out.
const QUIET: Duration = Duration::from_secs(2);

impl Limits {
    fn admit(&mut self, subject: &str, rate: Rate, now: Instant) -> Option<Omitted> {
        let subjects = self.0.get_or_insert_default();
        if !subjects.contains_key(subject) {
            let new = Subject { rate, whole_at: now, omitted: 0, last: now };
            subjects.insert(subject.to_owned(), new);
        }
        let subject = subjects.get_mut(subject)?;
        subject.last = now;
        // The budget as the time that it takes to become whole.
        let whole_at = subject.whole_at.max(now) + rate.interval;
        if whole_at > now + rate.interval * rate.burst {
            subject.omitted += 1;
            return None;
        }
        subject.whole_at = whole_at;
        Some(Omitted(std::mem::take(&mut subject.omitted)))
    }

    /// Takes the counts of quiet subjects, and forgets subjects whose budgets are whole.
    fn take_quiet(&mut self, now: Instant) -> Vec<(String, u64)> {
        let Some(subjects) = &mut self.0 else { return Vec::new() };
        let mut quiet = Vec::new();
        subjects.retain(|name, subject| {
            let is_quiet =
                now.saturating_duration_since(subject.last) >= QUIET.max(subject.rate.interval);
            if is_quiet && subject.omitted > 0 {
                quiet.push((name.clone(), std::mem::take(&mut subject.omitted)));
            }
            subject.omitted > 0 || subject.whole_at > now
        });
        quiet
    }
}

/// Logs a line about a subject, unless it has used up its budget:
/// `limited!(warn, "veth0", EVENTS, "port {}: gone", 1)`.
macro_rules! limited {
    ($level:ident, $subject:expr, $rate:expr, $($text:tt)+) => {
        if let Some(omitted) = $crate::log_limit::admit($subject, $rate) {
            tracing::$level!("{}{omitted}", format_args!($($text)+));
        }
    };
}
pub(crate) use limited;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_secs(2) };

    #[test]
    fn a_subject_has_a_burst_and_then_a_rate() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut admit = |subject: &str, now| limits.admit(subject, RATE, now).map(|o| o.0);
        for _ in 0..3 {
            assert_eq!(admit("a", at(0)), Some(0));
        }
        assert_eq!([admit("a", at(0)), admit("a", at(1))], [None, None]);
        assert_eq!(admit("b", at(1)), Some(0), "others have their own");
        assert_eq!([admit("a", at(2)), admit("a", at(2))], [Some(2), None]);
        // After a pause the burst is whole, and no larger.
        assert_eq!([(); 4].map(|()| admit("a", at(100))), [Some(1), Some(0), Some(0), None]);
    }

    #[test]
    fn what_was_left_out_is_told_once_it_is_quiet() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        for _ in 0..10 {
            limits.admit("a", RATE, start);
        }
        assert_eq!(limits.take_quiet(start + Duration::from_secs(1)), []);
        let later = start + Duration::from_secs(3);
        assert_eq!(limits.take_quiet(later), [("a".to_owned(), 7)]);
        assert_eq!(limits.take_quiet(later), []);
        limits.take_quiet(start + Duration::from_secs(10));
        assert!(limits.0.unwrap().is_empty(), "its budget is whole");
    }

    #[test]
    fn numbers_are_told_in_words() {
        assert_eq!(Omitted(0).to_string(), "");
        assert_eq!(Omitted(2).to_string(), " (2 lines about it were left out before)");
    }
}

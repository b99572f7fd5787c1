//! When workers hear of hosts that have come, gone or moved by learning.
//!
//! Each announcement is a change: every worker looks at each of its flows once, when it is used next,
//! whether that is concerned. A flood of made-up sources would have that happen at nearly every packet.
//! So there is a limit to announcements, and hosts beyond it wait for the next one. Meanwhile a packet for
//! a new host is flooded and one for a host that moved goes where it was, as in any switch that has not
//! heard yet; with the limit below that is for some milliseconds, and only while more hosts come and go
//! than that.
//!
//! A host that moves concerns all flows from it and to it, which are translated again. An address that is
//! seen on two ports, as when somebody borrows that of a router, would have that happen at each announcement.
//! So these wait the longer the more translations the ones before have caused.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// From one announcement to the next while there are many.
const INTERVAL: Duration = Duration::from_millis(4);
/// Announcements that may be made at once if there were few before.
const BURST: u32 = 64;
/// For each translation that they cause: some ten times what it takes.
const TRANSLATION: Duration = Duration::from_micros(10);

/// Hosts that workers have not heard of. What names a host (`H`) is the caller's business. See the [module](self).
#[derive(Debug)]
pub(crate) struct Announcements<H> {
    /// There are some.
    is_waiting: AtomicBool,
    waiting: Mutex<Waiting<H>>,
    /// Translations since the last announcement that it has caused.
    caused: AtomicU32,
}

#[derive(Debug)]
struct Waiting<H> {
    hosts: Vec<H>,
    /// When all announcements of the past would have been made, had they kept their intervals.
    paid_until: Duration,
}

impl<H> Waiting<H> {
    /// All of them, if there may be an announcement after those that caused so many translations.
    fn take(&mut self, now: Duration, caused: u32) -> Option<Vec<H>> {
        self.paid_until += TRANSLATION * caused;
        if self.hosts.is_empty() || self.paid_until > now + INTERVAL * (BURST - 1) {
            return None;
        }
        self.paid_until = self.paid_until.max(now) + INTERVAL;
        Some(std::mem::take(&mut self.hosts))
    }
}

impl<H> Default for Announcements<H> {
    fn default() -> Self {
        let waiting = Waiting { hosts: Vec::new(), paid_until: Duration::ZERO };
        Self {
            is_waiting: AtomicBool::new(false),
            waiting: Mutex::new(waiting),
            caused: AtomicU32::new(0),
        }
    }
}

impl<H> Announcements<H> {
    /// These hosts have changed. Returns all that are to be announced now.
    pub(crate) fn add(&self, hosts: Vec<H>, now: Duration) -> Option<Vec<H>> {
        if hosts.is_empty() {
            return None;
        }
        let mut waiting = self.waiting.lock();
        waiting.hosts.extend(hosts);
        let due = waiting.take(now, self.caused.swap(0, Ordering::Relaxed));
        self.is_waiting.store(due.is_none(), Ordering::Relaxed);
        due
    }

    /// A flow was translated again because a host that it depends on was announced.
    pub(crate) fn caused_translation(&self) {
        self.caused.fetch_add(1, Ordering::Relaxed);
    }

    /// The hosts that are to be announced by now, if there are any.
    #[inline]
    pub(crate) fn due(&self, now: Duration) -> Option<Vec<H>> {
        if !self.is_waiting.load(Ordering::Relaxed) {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let due = waiting.take(now, self.caused.swap(0, Ordering::Relaxed));
        self.is_waiting.store(!waiting.hosts.is_empty(), Ordering::Relaxed);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn few_hosts_are_announced_at_once() {
        let announcements = Announcements::default();
        for n in 0..1000 {
            let now = INTERVAL * n;
            assert_eq!(announcements.add(vec![n], now), Some(vec![n]));
            assert_eq!(announcements.due(now), None);
        }
    }

    #[test]
    fn announcements_that_cause_much_work_are_made_seldom() {
        let announcements = Announcements::default();
        let mut times = 0;
        for n in 0..10_000 {
            let now = Duration::from_millis(n);
            let due = [announcements.due(now), announcements.add(vec![1], now)];
            for _ in due.iter().flatten() {
                times += 1;
                (0..10_000).for_each(|_| announcements.caused_translation());
            }
        }
        assert!((90..110).contains(&times), "{times} in ten seconds");
    }

    #[test]
    fn many_are_announced_together_and_none_is_lost() {
        let announcements = Announcements::default();
        let (mut announced, mut times) = (Vec::new(), 0);
        for n in 0..100_000 {
            let now = Duration::from_micros(10 * n);
            let due = [announcements.due(now), announcements.add(vec![n], now)];
            times += due.iter().flatten().count();
            announced.extend(due.into_iter().flatten().flatten());
        }
        announced.extend(announcements.due(Duration::from_secs(2)).into_iter().flatten());
        assert_eq!(announced, (0..100_000).collect::<Vec<_>>());
        assert!((250..320).contains(&times), "{times} announcements in a second");
    }
}

//! Decides when workers hear of hosts that were learned or have moved.
//!
//! Each announcement counts as a change: every worker checks each of its flows once, at the flow's
//! next use, whether the change concerns it. A flood of made-up source addresses would cause such a
//! check at nearly every packet. Announcements are therefore limited, and further hosts wait for
//! the next one. Meanwhile a packet for a new host is flooded, and a packet for a host that has
//! moved goes to the old port, as in any switch that has not heard yet. With the limit below this
//! lasts for some milliseconds, and only while hosts come and go faster than the limit.
//!
//! A host that moves concerns all flows from it and to it, which are translated again. An address
//! that is seen on two ports in turn, as when somebody uses the address of a router, would cause
//! these translations with each announcement. Each translation that an announcement causes
//! therefore delays the next announcement.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Time between two announcements while there are many.
const INTERVAL: Duration = Duration::from_millis(4);
/// Number of announcements that may be made at once after a quiet time.
const BURST: u32 = 64;
/// Delay of the next announcement for each translation that the last one has caused: about ten
/// times the cost of a translation.
const TRANSLATION: Duration = Duration::from_micros(10);

/// The hosts that workers have not heard of. `H` names a host. See the [module](self).
#[derive(Debug)]
pub(crate) struct Announcements<H> {
    /// Whether hosts wait, for a worker to read without the lock.
    is_waiting: AtomicBool,
    waiting: Mutex<Waiting<H>>,
    /// Number of translations that the last announcement has caused so far.
    caused: AtomicU32,
}

#[derive(Debug)]
struct Waiting<H> {
    hosts: Vec<H>,
    /// The time at which all past announcements would be done, had each waited for
    /// its interval and its translations.
    paid_until: Duration,
}

impl<H> Waiting<H> {
    /// Takes all waiting hosts, if an announcement may be made now. `caused` is the number of
    /// translations that the last one has caused.
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
    /// Adds hosts that have changed. Returns the hosts that are to be announced now.
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

    /// Counts a flow that was translated again because of an announced host.
    pub(crate) fn caused_translation(&self) {
        self.caused.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the waiting hosts, if their time has come.
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

//! When workers hear of hosts that have come, gone or moved by learning.
//!
//! Each announcement is a change: every worker looks at each of its flows once, when it is used next,
//! whether that is concerned. A flood of made-up sources would have that happen at nearly every packet.
//! So there is a limit to announcements, and hosts beyond it wait for the next one. Meanwhile a packet for
//! a new host is flooded and one for a host that moved goes where it was, as in any switch that has not
//! heard yet; with the limit below that is for some milliseconds, and only while more hosts come and go
//! than that.

use super::mac_table::MacKey;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// From one announcement to the next while there are many.
const INTERVAL: Duration = Duration::from_millis(4);
/// Announcements that may be made at once if there were few before.
const BURST: u32 = 64;

/// Hosts that workers have not heard of. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Announcements {
    /// There are some.
    is_waiting: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    hosts: Vec<MacKey>,
    /// When all announcements of the past would have been made, had they kept the interval.
    paid_until: Duration,
}

impl Waiting {
    /// All of them, if there may be an announcement.
    fn take(&mut self, now: Duration) -> Option<Vec<MacKey>> {
        if self.hosts.is_empty() || self.paid_until > now + INTERVAL * (BURST - 1) {
            return None;
        }
        self.paid_until = self.paid_until.max(now) + INTERVAL;
        Some(std::mem::take(&mut self.hosts))
    }
}

impl Announcements {
    /// These hosts have changed. Returns all that are to be announced now.
    pub(super) fn add(&self, hosts: Vec<MacKey>, now: Duration) -> Option<Vec<MacKey>> {
        if hosts.is_empty() {
            return None;
        }
        let mut waiting = self.waiting.lock();
        waiting.hosts.extend(hosts);
        let due = waiting.take(now);
        self.is_waiting.store(due.is_none(), Ordering::Relaxed);
        due
    }

    /// The hosts that are to be announced by now, if there are any.
    #[inline]
    pub(super) fn due(&self, now: Duration) -> Option<Vec<MacKey>> {
        if !self.is_waiting.load(Ordering::Relaxed) {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let due = waiting.take(now);
        self.is_waiting.store(!waiting.hosts.is_empty(), Ordering::Relaxed);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MacAddr;

    fn host(n: u32) -> MacKey {
        let [a, b, c, d] = n.to_be_bytes();
        MacKey { vlan: 0, mac: MacAddr([2, 0, a, b, c, d]) }
    }

    #[test]
    fn few_hosts_are_announced_at_once() {
        let announcements = Announcements::default();
        for n in 0..1000 {
            let now = INTERVAL * n;
            assert_eq!(announcements.add(vec![host(n)], now), Some(vec![host(n)]));
            assert_eq!(announcements.due(now), None);
        }
    }

    #[test]
    fn many_are_announced_together_and_none_is_lost() {
        let announcements = Announcements::default();
        let (mut announced, mut times) = (Vec::new(), 0);
        for n in 0..100_000 {
            let now = Duration::from_micros(10 * n);
            let due = [announcements.due(now), announcements.add(vec![host(n as u32)], now)];
            times += due.iter().flatten().count();
            announced.extend(due.into_iter().flatten().flatten());
        }
        announced.extend(announcements.due(Duration::from_secs(2)).into_iter().flatten());
        assert_eq!(announced, (0..100_000).map(host).collect::<Vec<_>>());
        assert!((250..320).contains(&times), "{times} announcements in a second");
    }
}

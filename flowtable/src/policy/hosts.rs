//! All hosts of a bridge, listed or forgotten a few at a time: workers learn hosts meanwhile, and wait for
//! nobody who goes through a million of them.

use super::Bridge;
use super::mac_table::{Forgetting, HOSTS, MacEntry, MacKey};
use flow::types::OfPort;
use std::time::Duration;

impl Bridge<'_> {
    /// All hosts as they were when this was called: those that were given, by VLAN and address, and then those
    /// that were learned, the one unused for longest first.
    pub fn hosts(self) -> Vec<(MacKey, MacEntry)> {
        let mut all = Vec::new();
        self.visit_hosts(None, |slice| all.extend_from_slice(slice));
        all.sort_unstable_by_key(|(key, entry)| (entry.order(), *key));
        all.dedup();
        all
    }

    /// Forgets the hosts that were learned, or those that were learned on one port, and
    /// returns how many there were.
    pub fn flush_hosts(self, port: Option<OfPort>) -> usize {
        self.forget_hosts(port, Forgetting::Flushed, |entry| !entry.is_static)
    }

    /// Forgets all hosts of a port, given ones too, and returns how many there were.
    pub fn forget_hosts_of(self, port: OfPort) -> usize {
        self.forget_hosts(Some(port), Forgetting::Flushed, |_| true)
    }

    /// Forgets hosts that have not been seen for too long, and returns how many there were.
    pub fn sweep_hosts(self, now: Duration) -> usize {
        let ageing = self.policy.macs.read().of(self.id).ageing();
        self.forget_hosts(None, Forgetting::Expired, |entry| {
            !entry.is_static && now.saturating_sub(entry.used()) >= ageing
        })
    }

    /// Forgets everything about hosts, counters included.
    pub(super) fn clear_hosts(self) {
        self.forget_hosts(None, Forgetting::Flushed, |_| true);
        self.with_macs(|macs| macs.reset_stats());
    }

    /// Sets how many hosts there may be, and how long one is known without traffic. What
    /// is too much is evicted.
    pub fn limit_hosts(self, capacity: usize, ageing: Duration) {
        self.with_macs(|macs| macs.set_limits(capacity, ageing));
        while self.with_macs(|macs| macs.evict_surplus(HOSTS)) {}
    }

    /// Forgets the hosts of a port, or of all, that `is_over` names now and when they go. One that has left
    /// meanwhile and come back stays.
    fn forget_hosts(
        self,
        port: Option<OfPort>,
        why: Forgetting,
        is_over: impl Fn(&MacEntry) -> bool,
    ) -> usize {
        let is_meant = |entry: &MacEntry| port.is_none_or(|p| p == entry.port) && is_over(entry);
        let mut forgotten = 0;
        self.visit_hosts(port, |slice| {
            let meant: Vec<_> = slice.iter().filter(|(_, entry)| is_meant(entry)).collect();
            if meant.is_empty() {
                return;
            }
            forgotten += self.with_macs(|macs| {
                let gone = meant.into_iter().filter(|(key, entry)| {
                    let current = macs.lookup(*key);
                    let is_same = current.is_some_and(|e| e.is_stay_of(entry) && is_meant(e));
                    is_same && macs.forget(*key, why).is_some()
                });
                gone.count()
            });
        });
        forgotten
    }

    /// Shows `visit` all hosts of a port, or of all, and perhaps given ones of others. One that changes
    /// meanwhile is shown as it was, perhaps twice.
    fn visit_hosts(self, port: Option<OfPort>, mut visit: impl FnMut(&[(MacKey, MacEntry)])) {
        let mut walk = self.policy.macs.write().of_mut(self.id).begin_walk(port);
        loop {
            let slice = self.policy.macs.read().of(self.id).next_slice(&mut walk, HOSTS);
            let Some(slice) = slice else { break };
            visit(&slice);
        }
        let changed = self.policy.macs.write().of_mut(self.id).end_walk(walk);
        changed.iter().for_each(|piece| visit(piece));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::policy;
    use super::super::{BridgeId, Policy};
    use super::*;
    use flow::types::MacAddr;

    fn host(n: u16) -> MacKey {
        let [high, low] = n.to_be_bytes();
        MacKey { vlan: n % 3, mac: MacAddr([2, 0, 0, 0, high, low]) }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn bridge(policy: &Policy) -> Bridge<'_> {
        policy.bridge(BridgeId::FIRST)
    }

    /// 2000 hosts on two ports, every hundredth of them given.
    fn crowded() -> Policy {
        let policy = policy(&[]);
        bridge(&policy).with_macs(|macs| {
            for n in 0..2000 {
                match n % 100 {
                    0 => assert!(macs.add_static(host(n), OfPort(1 + n % 2), at(0))),
                    _ => drop(macs.learn(host(n), OfPort(1 + n % 2), at(n.into()))),
                }
            }
            // Some become established, out of their order.
            (0..500)
                .for_each(|n| macs.refresh(host(3 * n + 1), OfPort(1 + (3 * n + 1) % 2), at(2500)));
        });
        policy
    }

    #[test]
    fn hosts_are_those_of_the_table_in_its_order() {
        let policy = crowded();
        let expected = bridge(&policy).snapshot().macs().entries();
        assert_eq!(expected.len(), 2000);
        assert_eq!(bridge(&policy).hosts(), expected);
    }

    #[test]
    fn a_list_is_one_state_whatever_happens_while_it_is_made() {
        let policy = crowded();
        let b = bridge(&policy);
        let expected = b.snapshot().macs().entries();
        let (mut seen, mut step) = (Vec::new(), 0u16);
        b.visit_hosts(None, |slice| {
            seen.extend_from_slice(slice);
            b.with_macs(|macs| {
                for n in (step..2000).step_by(7) {
                    match n % 5 {
                        0 => drop(macs.learn(host(n), OfPort(4), at(3000))),
                        1 => macs.refresh(host(n), OfPort(1 + n % 2), at(3000 + u64::from(step))),
                        2 => drop(macs.remove(host(n))),
                        3 => drop(macs.add_static(host(n), OfPort(3), at(3000))),
                        _ => drop(macs.learn(host(5000 + n), OfPort(2), at(3000))),
                    }
                }
            });
            step += 1;
        });
        assert!(step > 20, "{step} slices");
        seen.sort_unstable_by_key(|(key, entry)| (entry.order(), *key));
        seen.dedup();
        assert_eq!(seen, expected);
        assert_ne!(b.snapshot().macs().entries(), expected);
    }

    #[test]
    fn hosts_that_are_refreshed_meanwhile_are_shown_to_those_who_forget_them() {
        let policy = crowded();
        let b = bridge(&policy);
        let on_1 = |(_, entry): &&(MacKey, MacEntry)| entry.port == OfPort(1) && !entry.is_static;
        let expected = b.hosts().iter().filter(on_1).count();
        let (mut forgotten, mut step) = (0, 0u16);
        b.visit_hosts(Some(OfPort(1)), |slice| {
            b.with_macs(|macs| {
                let now = at(4000 + u64::from(step));
                (0..2000).for_each(|n| macs.refresh(host(n), OfPort(1), now));
                macs.learn(host(9000 + step), OfPort(1), now);
                for (key, entry) in slice.iter().filter(on_1) {
                    if macs.lookup(*key).is_some_and(|current| current.is_stay_of(entry)) {
                        macs.forget(*key, Forgetting::Flushed);
                        forgotten += 1;
                    }
                }
            });
            step += 1;
        });
        assert_eq!(forgotten, expected);
        let left = b.hosts().iter().filter(on_1).count();
        assert_eq!(left, usize::from(step), "those that came meanwhile");
    }

    #[test]
    fn hosts_of_a_port_are_forgotten_with_or_without_those_that_were_given() {
        let policy = crowded();
        let b = bridge(&policy);
        let count = |port, is_static| {
            let hosts = b.hosts();
            hosts.iter().filter(|(_, e)| e.port == OfPort(port) && e.is_static == is_static).count()
        };
        let (learned, given) = (count(1, false), count(1, true));
        assert_eq!(
            (b.flush_hosts(Some(OfPort(1))), count(1, false), count(1, true)),
            (learned, 0, given)
        );
        assert_eq!((b.forget_hosts_of(OfPort(1)), count(1, true)), (given, 0));
        assert_eq!(b.hosts().len(), count(2, true) + count(2, false));
        assert_eq!((b.flush_hosts(None), b.hosts().len()), (1000, 0));
        assert_eq!(b.snapshot().macs().given_len(), 0);
    }

    #[test]
    fn silent_hosts_expire_and_surplus_ones_are_evicted() {
        let policy = crowded();
        let b = bridge(&policy);
        b.limit_hosts(1500, at(1000));
        assert_eq!(b.hosts().len(), 1500);
        let old = b.hosts().iter().filter(|(_, e)| !e.is_static && e.used() <= at(1500)).count();
        assert_eq!(b.sweep_hosts(at(2500)), old);
        let stats = b.snapshot().macs().stats();
        assert_eq!((stats.evicted, stats.expired), (500, old as u64));
        b.clear_hosts();
        assert!(b.hosts().is_empty());
        assert_eq!(b.snapshot().macs().stats().expired, 0);
    }
}

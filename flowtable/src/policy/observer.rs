//! The observer of a policy, which hears of changes while they are made. Monitors, the log and
//! controllers are told through it.
//!
//! A policy tells one observer of everything, at the place that makes the change, in the order in
//! which readers see the changes. The observer is called by workers and under locks. So it must not
//! wait, and must not read or change the policy: it puts each change into a bounded queue, or
//! counts the change as lost.

use super::bridge_id::BridgeId;
use super::effects::Effects;
use super::mac_table::HostChange;
use super::ports::PortChange;
use std::fmt;
use std::sync::Arc;

/// Hears of changes of a policy. See the [module](self).
pub trait Observer: fmt::Debug + Send + Sync {
    /// Whether the observer wants to hear of rules, groups and hosts at the moment. The policy asks before it
    /// collects them. The observer is told of bridges, ports and expired rules in any case.
    fn is_listening(&self) -> bool;

    /// Takes a change, without waiting.
    fn observe(&self, observed: Observed);
}

/// Several observers as one. Those that do not listen hear of bridges, ports and expired rules only.
#[derive(Debug)]
pub struct Observers(pub Vec<Arc<dyn Observer>>);

impl Observer for Observers {
    fn is_listening(&self) -> bool {
        self.0.iter().any(|observer| observer.is_listening())
    }

    fn observe(&self, observed: Observed) {
        let for_all = observed.is_for_all();
        for observer in self.0.iter().filter(|observer| for_all || observer.is_listening()) {
            observer.observe(observed.clone());
        }
    }
}

/// A change of the policy.
#[derive(Clone, Debug)]
pub enum Observed {
    /// There is a new bridge.
    BridgeAdded {
        /// The bridge's number, which may have been another one's before.
        bridge: BridgeId,
        /// The bridge's name.
        name: Arc<str>,
    },
    /// A bridge is gone, after its ports, rules, groups and hosts.
    BridgeRemoved {
        /// The number that the bridge had.
        bridge: BridgeId,
    },
    /// A transaction changed rules or groups of a bridge.
    Effects(Arc<Effects>),
    /// Ports came, went or changed.
    Ports(Vec<PortChange>),
    /// Hosts of a bridge came, went or moved.
    Hosts {
        /// The bridge that knows them.
        bridge: BridgeId,
        /// The changes, in their order.
        changes: Vec<HostChange>,
    },
}

impl Observed {
    /// Whether observers hear of this change even if they do not listen.
    fn is_for_all(&self) -> bool {
        match self {
            Self::BridgeAdded { .. } | Self::BridgeRemoved { .. } | Self::Ports(_) => true,
            Self::Effects(effects) => effects.is_expiry(),
            Self::Hosts { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mac_table::{Forgetting, HostEvent, MacKey};
    use super::super::ports::PortInfo;
    use super::super::tests::{add_to, policy};
    use super::super::{Policy, xlate::Learn};
    use super::*;
    use crate::policy::effects::tests::told;
    use crate::policy::mac_table::HostRef;
    use flow::types::{MacAddr, OfPort, PortNo};
    use parking_lot::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    #[derive(Debug, Default)]
    struct Recorder {
        is_listening: AtomicBool,
        observed: Mutex<Vec<Observed>>,
    }

    impl Observer for Recorder {
        fn is_listening(&self) -> bool {
            self.is_listening.load(Ordering::Relaxed)
        }

        fn observe(&self, observed: Observed) {
            self.observed.lock().push(observed);
        }
    }

    impl Recorder {
        fn take(&self) -> Vec<Observed> {
            std::mem::take(&mut self.observed.lock())
        }
    }

    const NOW: Duration = Duration::from_secs(1);

    fn observed() -> (Policy, Arc<Recorder>) {
        let recorder = Arc::new(Recorder::default());
        (policy(&[]).with_observer(Arc::<Recorder>::clone(&recorder)), recorder)
    }

    fn learn(policy: &Policy, port: u16, at: Duration) {
        let key = MacKey { vlan: 0, mac: MacAddr([2, 0, 0, 0, 0, 9]) };
        let host = HostRef { bridge: BridgeId::FIRST, key };
        policy.learn(&[Learn { host, port: OfPort(port) }], at);
    }

    #[test]
    fn who_does_not_listen_hears_of_bridges_and_ports_only() {
        let (policy, recorder) = observed();
        add_to(&policy, BridgeId::FIRST, &["ip,actions=1"]).unwrap();
        learn(&policy, 1, NOW);
        policy.bridge(BridgeId::FIRST).with_ports(|ports| ports.remove(OfPort(2)));
        let second = policy.add_bridge("br1").unwrap();
        policy.remove_bridge(second, NOW);
        let told = recorder.take();
        assert!(
            matches!(&told[..], [
                Observed::Ports(changes),
                Observed::BridgeAdded { name, .. },
                Observed::BridgeRemoved { bridge },
            ] if changes.len() == 1 && **name == *"br1" && *bridge == second),
            "{told:?}"
        );
    }

    #[test]
    fn one_of_several_observers_may_listen_alone() {
        let recorders = [(); 2].map(|()| Arc::new(Recorder::default()));
        recorders[1].is_listening.store(true, Ordering::Relaxed);
        let all = recorders.iter().map(|r| Arc::<Recorder>::clone(r) as Arc<dyn Observer>);
        let observers = Arc::new(Observers(all.collect()));
        let policy = policy(&[]).with_observer(observers);
        add_to(&policy, BridgeId::FIRST, &["ip,actions=1"]).unwrap();
        policy.add_bridge("br1").unwrap();
        assert!(matches!(&recorders[0].take()[..], [Observed::BridgeAdded { .. }]));
        let told = recorders[1].take();
        assert!(
            matches!(&told[..], [Observed::Effects(_), Observed::BridgeAdded { .. }]),
            "{told:?}"
        );
    }

    #[test]
    fn rules_are_told_in_the_order_of_their_transactions() {
        let (policy, recorder) = observed();
        recorder.is_listening.store(true, Ordering::Relaxed);
        add_to(&policy, BridgeId::FIRST, &["ip,actions=1"]).unwrap();
        add_to(&policy, BridgeId::FIRST, &["ip,actions=2"]).unwrap();
        drop(policy.bridge(BridgeId::FIRST).begin().commit());
        let words: Vec<String> = recorder
            .take()
            .iter()
            .flat_map(|observed| match observed {
                Observed::Effects(effects) => self::told(&policy, effects),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(words, ["added in 0: 1", "removed replaced in 0: 1", "added in 0: 2"]);
    }

    #[test]
    fn hosts_are_told_from_where_to_where() {
        let (policy, recorder) = observed();
        recorder.is_listening.store(true, Ordering::Relaxed);
        let bridge = policy.bridge(BridgeId::FIRST);
        learn(&policy, 1, NOW);
        learn(&policy, 1, NOW);
        learn(&policy, 2, NOW);
        policy.sweep_macs(NOW + Duration::from_secs(1000));
        bridge.limit_hosts(1, Duration::from_secs(300));
        learn(&policy, 3, NOW);
        bridge.flush_hosts(Some(OfPort(3)));
        let events: Vec<HostEvent> = recorder
            .take()
            .into_iter()
            .flat_map(|observed| match observed {
                Observed::Hosts { changes, .. } => changes,
                other => panic!("{other:?}"),
            })
            .map(|change| change.what)
            .collect();
        let forgotten = |port, why| HostEvent::Forgotten { port: OfPort(port), why };
        assert_eq!(
            events,
            [
                HostEvent::Learned { port: OfPort(1) },
                HostEvent::Moved { from: OfPort(1), to: OfPort(2) },
                forgotten(2, Forgetting::Expired),
                HostEvent::Learned { port: OfPort(3) },
                forgotten(3, Forgetting::Flushed),
            ]
        );
    }

    #[test]
    fn ports_are_told_before_and_after() {
        let (policy, recorder) = observed();
        recorder.is_listening.store(true, Ordering::Relaxed);
        let bridge = policy.bridge(BridgeId::FIRST);
        bridge.with_ports(|ports| ports.get_mut(OfPort(1)).unwrap().link_up = false);
        bridge.with_ports(|ports| ports.get_mut(OfPort(1)).unwrap().link_up = false);
        bridge.with_ports(|ports| ports.remove(OfPort(2)));
        let mac = MacAddr([2, 0, 0, 0, 0, 9]);
        bridge.with_ports(|ports| ports.insert(PortInfo::new(PortNo(9), OfPort(9), "p9", mac)));
        let changes: Vec<_> = recorder
            .take()
            .into_iter()
            .flat_map(|observed| match observed {
                Observed::Ports(changes) => changes,
                other => panic!("{other:?}"),
            })
            .map(|PortChange { at, before, after }| {
                (at.port.0, before.map(|port| port.link_up), after.map(|port| port.link_up))
            })
            .collect();
        let (up, down) = (Some(true), Some(false));
        assert_eq!(changes, [(1, up, down), (2, up, None), (9, None, up)]);
    }
}

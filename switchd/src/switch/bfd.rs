//! What the switch does for sessions of BFD: it says which ports have one, and takes what comes of it.

use super::{OnBridge, Switch};
use crate::bfd::{GivenSession, Session, SessionView, WatchedPort};
use crate::desired::Kind;
use ::ports::tunnel::BfdReceived;
use crossbeam::channel::Receiver;
use flowtable::policy::{BridgeId, PortRef};
use std::collections::HashMap;

impl Switch {
    /// The control packets that tunnel ports receive, for one taker.
    pub(crate) fn take_bfd(&self) -> Option<Receiver<BfdReceived>> {
        self.endpoints.take_bfd()
    }

    /// The open tunnel ports whose remote end is to be watched.
    pub(crate) fn watched_ports(&self) -> Vec<WatchedPort> {
        let slots = self.slots.lock();
        let watched = slots.iter().filter_map(|slot| {
            let Kind::Tunnel(tunnel) = &slot.spec.kind else { return None };
            let (config, port_no) = (tunnel.bfd?, slot.port_no()?.0);
            slot.port.as_ref()?;
            let (at, name, mac) = (slot.at(), slot.spec.name.clone(), slot.mac);
            Some(WatchedPort { at, port_no, name, mac, config, is_told: slot.bfd.is_some() })
        });
        watched.collect()
    }

    /// What the switch was told of sessions last, by the datapath's numbers of their ports.
    pub(crate) fn told_sessions(&self) -> HashMap<u16, SessionView> {
        let slots = self.slots.lock();
        slots.iter().filter_map(|slot| Some((slot.port_no()?.0, slot.bfd.clone()?))).collect()
    }

    /// The sessions that another program is to go on with: bridge and name of the port, the session, and
    /// whether the remote end counts as down.
    pub(crate) fn give_sessions(&self) -> Vec<(String, String, GivenSession, bool)> {
        let slots = self.slots.lock();
        let given = slots.iter().filter_map(|slot| {
            let SessionView { session, is_peer_down } = slot.bfd.as_ref()?;
            let bridge = self.policy.bridge(slot.bridge).name().to_string();
            Some((bridge, slot.spec.name.clone(), session.to_given(), *is_peer_down))
        });
        given.collect()
    }

    /// Goes on with the session that a port has had in another program.
    pub(crate) fn take_session(
        &self,
        bridge: &str,
        name: &str,
        given: &GivenSession,
        is_peer_down: bool,
    ) {
        let Some(bridge) = self.policy.find_bridge(bridge) else { return };
        let mut slots = self.slots.lock();
        let mut of_bridge = slots.iter_mut().filter(|slot| slot.bridge == bridge.id());
        let Some(slot) = of_bridge.find(|slot| slot.spec.name == name) else { return };
        let Kind::Tunnel(tunnel) = &slot.spec.kind else { return };
        let Some(config) = tunnel.bfd else { return };
        let session = Session::go_on(config, given, self.seed(), self.now());
        slot.bfd = Some(SessionView { session, is_peer_down });
        bridge.with_ports(|ports| {
            if let Some(port) = ports.get_mut(slot.of_port) {
                port.is_peer_down = is_peer_down;
            }
        });
    }

    /// The bridge with this number, if there is one.
    pub(crate) fn on_number(&self, bridge: BridgeId) -> Option<OnBridge<'_>> {
        self.on(&self.policy.bridge(bridge).name())
    }

    /// Takes the state of a session. If the remote end goes down, the hosts behind it are forgotten.
    pub(crate) fn tell_session(&self, at: PortRef, name: &str, view: SessionView) {
        let mut slots = self.slots.lock();
        let index = slots.partition_point(|slot| slot.at() < at);
        let slot = slots.get_mut(index).filter(|slot| slot.at() == at && slot.spec.name == name);
        let Some(slot) = slot.filter(|slot| slot.wants_bfd()) else { return };
        let is_down = view.is_peer_down;
        let was_down = slot.bfd.replace(view).is_some_and(|before| before.is_peer_down);
        if is_down == was_down {
            return;
        }
        let bridge = self.policy.bridge(at.bridge);
        bridge.with_ports(|ports| {
            if let Some(port) = ports.get_mut(at.port) {
                port.is_peer_down = is_down;
            }
        });
        if is_down {
            slot.warn(format_args!("BFD: its remote end is down"));
            bridge.flush_hosts(Some(at.port));
        } else {
            slot.log(format_args!("BFD: its remote end is up"));
        }
    }
}

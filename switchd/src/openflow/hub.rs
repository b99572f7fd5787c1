//! The connections of one bridge, and what the switch says to them on its own.
//!
//! A connection is a [`Member`] of its bridge's [`Hub`] while it lives. Messages that nobody asked for are put into the members'
//! [outboxes](super::outbox::Outbox), which are bounded, and never waited for: a peer that does not read delays nobody.

use super::outbox::{Full, Outbox};
use super::packet_in_limit::PacketInLimit;
use super::packet_ins::Paused;
use crate::server::event_fd;
use crate::switch::Switch;
use flowtable::policy::{BridgeId, Policy};
use nix::sys::eventfd::EventFd;
use openflow::{ControllerRole, Encoding, OfMessage};
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Weak};

/// All connections of one bridge.
pub(super) struct Hub {
    /// The bridge.
    served: Served,
    members: Mutex<Vec<Arc<Member>>>,
    /// The packets that wait for one of the members.
    paused: Mutex<Paused>,
    /// The newest generation id of an election; `None` before the first one.
    generation: Mutex<Option<u64>>,
}

/// The bridge whose connections a hub knows.
pub(super) struct Served {
    pub(super) policy: Arc<Policy>,
    pub(super) bridge: BridgeId,
}

/// An election whose generation id is older than that of an election before (OpenFlow 1.3.5 §6.3.6).
#[derive(Debug, thiserror::Error)]
#[error("the generation id is older than {newest}")]
pub(super) struct StaleGeneration {
    newest: u64,
}

/// One connection, as the rest of the switch sees it.
#[derive(Debug)]
pub(super) struct Member {
    settings: Mutex<MemberSettings>,
    outbox: Outbox,
    packet_in_limit: PacketInLimit,
    /// Readable once the connection has to end.
    end: EventFd,
}

/// What a peer has agreed on and asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberSettings {
    /// The form of messages; `None` until the peer's HELLO. A member without gets no messages.
    pub(super) encoding: Option<Encoding>,
    /// The role of the peer.
    pub(super) role: ControllerRole,
    /// The number by which actions name the peer (`NXT_SET_CONTROLLER_ID`); 0 if the peer has asked for none.
    pub(super) controller_id: u16,
    /// Whether the switch has connected to the peer. The other way round, the peer gets no messages that nobody asked for before
    /// it has set a `miss_send_len` other than 0, as in Open vSwitch.
    pub(super) is_primary: bool,
    /// What the peer has set by `OFPT_SET_CONFIG`; 0 before.
    pub(super) miss_send_len: u16,
    /// Whether the peer has asked, by `OFPT_SET_CONFIG`, for packets whose TTL has run out.
    pub(super) invalid_ttl: bool,
}

impl Hub {
    /// The hub of a bridge, to which the packets for the bridge's controllers go from now on. `None` if there is no such
    /// bridge.
    pub(super) fn of_bridge(switch: &Switch, bridge: &str) -> Option<Arc<Self>> {
        let bridge = switch.on(bridge)?.bridge().id();
        let policy = Arc::clone(switch.policy());
        let hub = Arc::new(Self {
            served: Served { policy, bridge },
            members: Mutex::default(),
            paused: Mutex::default(),
            generation: Mutex::default(),
        });
        let taker: Weak<Self> = Arc::downgrade(&hub);
        switch.punts().hand_to(bridge, taker);
        Some(hub)
    }

    /// The bridge.
    pub(super) fn served(&self) -> &Served {
        &self.served
    }

    /// The packets that wait for one of the members.
    pub(super) fn paused(&self) -> &Mutex<Paused> {
        &self.paused
    }

    /// Makes a member for a new connection.
    ///
    /// # Errors
    /// No descriptor could be had.
    pub(super) fn join(&self) -> io::Result<Arc<Member>> {
        let member = Arc::new(Member {
            settings: Mutex::default(),
            outbox: Outbox::new()?,
            packet_in_limit: PacketInLimit::default(),
            end: event_fd()?,
        });
        self.members.lock().push(Arc::clone(&member));
        Ok(member)
    }

    /// Forgets a connection that has ended.
    pub(super) fn leave(&self, member: &Arc<Member>) {
        self.members.lock().retain(|other| !Arc::ptr_eq(other, member));
        self.publish();
    }

    /// Every connection of the bridge, in the order in which they came.
    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        self.members.lock().clone()
    }

    /// Gives a member a role. Whoever was master before becomes a slave if the member becomes the master. `generation` is the
    /// id of the election, with which a controller shows that it knows the newest one; `None` if the request has none.
    ///
    /// # Errors
    /// The generation is stale, and nobody's role has changed.
    pub(super) fn elect(
        &self,
        member: &Arc<Member>,
        role: ControllerRole,
        generation: Option<u64>,
    ) -> Result<(), StaleGeneration> {
        let mut newest = self.generation.lock();
        if let (Some(asked), Some(newest)) = (generation, *newest)
            // Generation ids wrap: the distance says which one is newer.
            && (asked.wrapping_sub(newest) as i64) < 0
        {
            return Err(StaleGeneration { newest });
        }
        *newest = generation.or(*newest);
        if role == ControllerRole::Master {
            for other in self.members().iter().filter(|other| !Arc::ptr_eq(other, member)) {
                other.change_settings(|settings| {
                    if settings.role == ControllerRole::Master {
                        settings.role = ControllerRole::Slave;
                    }
                });
            }
        }
        member.change_settings(|settings| settings.role = role);
        Ok(())
    }

    /// The newest generation id of an election; `None` before the first one.
    pub(super) fn generation(&self) -> Option<u64> {
        *self.generation.lock()
    }

    /// The number of connections.
    pub(super) fn len(&self) -> usize {
        self.members.lock().len()
    }
}

impl Member {
    /// What the peer has agreed on and asked for.
    pub(super) fn settings(&self) -> MemberSettings {
        self.settings.lock().clone()
    }

    /// Changes what the peer has agreed on or asked for.
    pub(super) fn change_settings(&self, change: impl FnOnce(&mut MemberSettings)) {
        change(&mut self.settings.lock());
    }

    /// Sends a message that the peer has not asked for, soon. The message holds about `bytes` of memory.
    ///
    /// # Errors
    /// The outbox is full: the message is dropped, and counted.
    pub(super) fn tell(&self, message: Arc<OfMessage>, bytes: usize) -> Result<(), Full> {
        self.outbox.put(message, bytes)
    }

    /// How many packet-ins a second the peer gets.
    pub(super) fn packet_in_limit(&self) -> &PacketInLimit {
        &self.packet_in_limit
    }

    /// Where messages wait that the peer has not asked for.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Ends the connection soon.
    pub(super) fn close(&self) {
        // A counter that is full is readable as well.
        let _ = self.end.write(1);
    }

    /// Readable once the connection has to end.
    pub(super) fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

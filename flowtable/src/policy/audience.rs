//! Which packets the controllers of each bridge want to be told of.
//!
//! A worker asks before it copies a packet for a controller, so that a packet nobody wants
//! costs next to nothing. Whoever knows the connections to controllers says what they
//! want, whenever that changes ([`Bridge::hear`](super::Bridge::hear)).

use super::bridge_id::BridgeId;
use flow::verdict::PacketInReason;
use parking_lot::RwLock;
use std::collections::HashMap;

/// The reasons for which somebody wants packets: bit `n` is the reason with the number `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons(u8);

const _: () = assert!(PacketInReason::ALL.len() <= 8, "Reasons has a bit for each reason");

impl Reasons {
    /// Adds a reason.
    pub fn insert(&mut self, reason: PacketInReason) {
        self.0 |= 1 << reason as u8;
    }

    /// Whether a reason is among them.
    pub fn contains(self, reason: PacketInReason) -> bool {
        self.0 >> reason as u8 & 1 != 0
    }

    /// The reasons of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What the controllers of a bridge want: for each id that some of them have, the reasons.
pub type Wanted = HashMap<u16, Reasons>;

/// What the controllers of all bridges want.
#[derive(Debug, Default)]
pub struct Audience(RwLock<HashMap<BridgeId, Wanted>>);

impl Audience {
    /// Whether a controller of the bridge with this id wants a packet for this reason. Never waits: while the
    /// answer changes, it is yes.
    pub fn wants(&self, bridge: BridgeId, controller_id: u16, reason: PacketInReason) -> bool {
        let Some(all) = self.0.try_read() else {
            return true;
        };
        let reasons = all.get(&bridge).and_then(|wanted| wanted.get(&controller_id));
        reasons.is_some_and(|reasons| reasons.contains(reason))
    }

    /// Whether a controller of the bridge wants any packets.
    pub fn is_anybody_there(&self, bridge: BridgeId) -> bool {
        self.0.read().contains_key(&bridge)
    }

    /// Replaces what the controllers of a bridge want.
    pub(super) fn set(&self, bridge: BridgeId, wanted: Wanted) {
        let mut all = self.0.write();
        if wanted.is_empty() {
            all.remove(&bridge);
        } else {
            all.insert(bridge, wanted);
        }
    }
}

/// What rules need not ask for, because controllers of the bridge want it anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unasked {
    /// Packets for which a table has no rule.
    pub(super) misses: bool,
    /// Packets whose TTL has run out.
    pub(super) invalid_ttl: bool,
}

impl Unasked {
    pub(super) fn of(wanted: &Wanted) -> Self {
        let want = |reason| wanted.values().any(|reasons| reasons.contains(reason));
        Self {
            misses: want(PacketInReason::ImplicitMiss),
            invalid_ttl: want(PacketInReason::InvalidTtl),
        }
    }
}

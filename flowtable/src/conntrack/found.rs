//! What connection tracking says of a frame.

use super::CtTranslation;
use super::help::CtHelp;
use super::shard::CtEntry;
use super::tuple::CtTuple;
use flow::FlowKey;
use flow::key::{HotKey, KeyRef, RareHeaders, Segment, ct_state};
use flow::verdict::CtAction;

/// What connection tracking says of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundConnection {
    /// Bits of [`ct_state`], [`ct_state::TRACKED`] always among them.
    pub state: u16,
    /// The zone in which the connection was looked up.
    pub zone: u16,
    /// The mark of the connection; 0 without one.
    pub mark: u32,
    /// The label of the connection; 0 without one.
    pub label: u128,
    /// The tuple of the connection's first packet, or of this packet; `None` if the packet could not be read.
    pub original: Option<CtTuple>,
    /// Where the connection is in the table; `None` if it is not there.
    pub(super) place: Option<CtPlace>,
    /// Whether the packet came in fragments, and goes on in fragments.
    pub(super) is_fragmented: bool,
}

/// Where a connection is in the table. Another connection may be there later, with another serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CtPlace {
    pub(super) shard: u16,
    pub(super) slot: u32,
    pub(super) serial: u32,
    /// Whether the packet goes against the direction of the connection's first packet.
    pub(super) is_reply: bool,
    /// Whether the packet is an ICMP error about a packet of the connection.
    pub(super) is_error: bool,
}

/// What connection tracking says of one frame and does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// What is known of the frame's connection.
    pub found: FoundConnection,
    /// The addresses and ports that the frame gets; `None` if it keeps those that it has.
    pub translation: Option<CtTranslation>,
    /// Whether a helper reads the frame.
    pub(crate) is_helped: bool,
}

impl From<FoundConnection> for Tracked {
    fn from(found: FoundConnection) -> Self {
        Self { found, translation: None, is_helped: false }
    }
}

impl Tracked {
    /// Notes what the frame's connection has to do with other connections.
    #[cold]
    pub(super) fn look_at_help(&mut self, help: &CtHelp) {
        self.is_helped = help.alg().is_some();
        if let Some(parent) = help.parent() {
            self.found.original = Some(parent);
            let is_valid = self.found.state & ct_state::INVALID == 0;
            self.found.state |= if is_valid { ct_state::RELATED } else { 0 };
        }
    }

    /// Has the frame translated, if its connection is and the action asks for it.
    pub(super) fn translate(&mut self, connection: &CtEntry, action: &CtAction) {
        let (Some(nat), Some(_), Some(place)) = (connection.nat(), &action.nat, self.found.place)
        else {
            return;
        };
        self.found.state |= nat.flag(place.is_reply);
        self.translation = connection.translation(place.is_reply, place.is_error);
    }
}

impl FoundConnection {
    /// What is found of a packet that belongs to no connection.
    pub(super) fn invalid(zone: u16) -> Self {
        Self { state: ct_state::TRACKED | ct_state::INVALID, zone, ..Self::default() }
    }

    /// What is found of a packet with this tuple that would begin a connection.
    pub(super) fn new(original: &CtTuple) -> Self {
        Self {
            state: ct_state::TRACKED | ct_state::NEW,
            zone: original.zone,
            original: Some(*original),
            ..Self::default()
        }
    }

    /// Whether the action is about the connection that was found, and need not look for another one.
    pub(super) fn is_of(&self, action: &CtAction) -> bool {
        let is_forced = action.commit.is_some_and(|commit| commit.force);
        self.place.is_some()
            && self.zone == action.zone
            && !is_forced
            && !(self.is_fragmented && self.may_be_translated(action))
    }

    /// Whether no connection was found where the action would begin one, with the packet as it is.
    pub(crate) fn may_begin_with(&self, action: &CtAction) -> bool {
        self.state == ct_state::TRACKED | ct_state::NEW
            && self.place.is_none()
            && self.zone == action.zone
            && !self.is_fragmented
            && action.nat.is_none()
            && action.commit.is_some()
    }

    /// Whether the action may translate the packet, which is possible once.
    pub(super) fn may_be_translated(&self, action: &CtAction) -> bool {
        action.nat.is_some() && self.state & (ct_state::SRC_NAT | ct_state::DST_NAT) == 0
    }

    /// The same of each fragment of the packet. Only the whole packet can be translated, so the fragments have
    /// to be put together again for that.
    pub(crate) fn of_fragment(self) -> Self {
        Self { is_fragmented: true, ..self }
    }

    /// A key with what is known in the segments that are for it.
    pub fn written_into(&self, key: &FlowKey) -> FlowKey {
        let parts = key.parts();
        let (mut hot, mut rare) = (*parts.hot, *parts.rare);
        self.write(&mut hot, &mut rare);
        KeyRef { hot: &hot, rare: &rare }.join()
    }

    /// Writes what is known into the segments of a key that are for it.
    pub fn write(&self, hot: &mut HotKey, rare: &mut RareHeaders) {
        hot.begin(rare, Segment::CT);
        rare.ct_state.set(self.state);
        rare.ct_zone.set(self.zone);
        rare.ct_mark.set(self.mark);
        if self.label != 0 {
            hot.begin(rare, Segment::CT_LABEL);
            rare.ct_label = self.label.to_be_bytes();
        }
        if let Some(original) = &self.original {
            hot.begin(rare, Segment::CT_TUPLE);
            if original.is_ipv6 {
                hot.begin(rare, Segment::CT_IPV6);
            }
            original.write(rare);
        }
    }
}

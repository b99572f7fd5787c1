//! Which messages a controller gets without asking: `OFPT_SET_ASYNC` and its siblings (OpenFlow 1.3.5 §7.3.10,
//! 1.4.0 §7.3.10), `NXT_SET_ASYNC_CONFIG` and `NXT_SET_ASYNC_CONFIG2`.
//!
//! A mask has a bit for each reason of a kind of message; there is a mask for controllers that are slaves, and
//! one for the other roles. Messages of OpenFlow 1.3 and before have six masks and change the others to zero;
//! those of 1.4 have a list and change what the list names.

use crate::error::ErrorCode;
use crate::group::decode_property;
use crate::input::Input;
use crate::output::Encoder;
use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13, OpenFlow14};
use flow::types::OfVersion;

/// A kind of message that the switch sends on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncKind {
    /// Packets for controllers, by their reasons (`OFPR_*`) and those of [`packet_in_reason`].
    PacketIn,
    /// Ports that came, went or changed, by [`PortReason`](crate::PortReason).
    PortStatus,
    /// Rules that are gone, by [`FlowRemovedReason`](crate::FlowRemovedReason).
    FlowRemoved,
    /// Roles that changed, by [`RoleReason`](crate::RoleReason).
    RoleStatus,
    /// Tables that are nearly full or no longer so (`OFPTR_*`).
    TableStatus,
    /// Requests of other controllers: 0 for group mods, 1 for meter mods.
    RequestForward,
}

/// Reasons of packet-ins that messages do not have: they refine "no rule matched", which is 0.
pub mod packet_in_reason {
    /// A rule of priority 0 for every packet sent the packet to controllers.
    pub const EXPLICIT_MISS: u8 = 6;
    /// No rule matched the packet.
    pub const IMPLICIT_MISS: u8 = 7;
}

/// No rule matched, an action sent the packet, the TTL was over: the reasons of OpenFlow 1.0 to 1.3.
const PACKET_IN_13: u32 = 0b111;
/// Those of 1.4 and later: the action set, a bucket of a group, and a packet-out are
/// told apart from other actions.
const PACKET_IN_14: u32 = 0b11_1111;
const NO_MATCH: u32 = 1;
const ACTION: u32 = 1 << 1;
const INVALID_TTL: u32 = 1 << 2;

const KINDS: [AsyncKind; 6] = [
    AsyncKind::PacketIn,
    AsyncKind::PortStatus,
    AsyncKind::FlowRemoved,
    AsyncKind::RoleStatus,
    AsyncKind::TableStatus,
    AsyncKind::RequestForward,
];
/// How many kinds of messages OpenFlow 1.3 and Nicira's first form have masks for: the first ones of [`KINDS`].
const FEW: usize = 3;

impl AsyncKind {
    /// The bits that a mask of this kind may have in messages of `version`.
    fn allowed(self, version: OfVersion) -> u32 {
        match self {
            Self::PacketIn if version < OpenFlow14 => PACKET_IN_13,
            Self::PacketIn => PACKET_IN_14,
            Self::PortStatus | Self::RoleStatus => 0b111,
            Self::FlowRemoved => 0b11_1111,
            Self::TableStatus => 0b1_1000,
            Self::RequestForward => 0b11,
        }
    }
}

/// The masks of a message: by kind, the mask for slaves and the one for other roles. `None` leaves
/// a mask as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsyncMasks([[Option<u32>; 2]; 6]);

/// The form of a message about masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncForm {
    /// The one of the version. Versions before OpenFlow 1.3 have none.
    Standard,
    /// Nicira's, with six masks (`NXT_SET_ASYNC_CONFIG`).
    Nicira,
    /// Nicira's, with a list (`NXT_SET_ASYNC_CONFIG2`).
    NiciraList,
}

impl AsyncMasks {
    /// Sets the mask of a kind.
    pub fn set(&mut self, kind: AsyncKind, is_for_slaves: bool, mask: u32) {
        self.0[kind as usize][usize::from(!is_for_slaves)] = Some(mask);
    }

    /// The mask of a kind; `None` if the message leaves it as it is.
    pub fn get(&self, kind: AsyncKind, is_for_slaves: bool) -> Option<u32> {
        self.0[kind as usize][usize::from(!is_for_slaves)]
    }

    /// Writes six masks, each for other roles first.
    pub(crate) fn put_few(&self, out: &mut Encoder, version: OfVersion) {
        for kind in &KINDS[..FEW] {
            for is_for_slaves in [false, true] {
                let mask = self.get(*kind, is_for_slaves).unwrap_or_default();
                out.u32(mask & kind.allowed(version));
            }
        }
    }

    /// Reads six masks. Bits that mean nothing are ignored.
    pub(crate) fn decode_few(mut input: Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let mut masks = Self([[Some(0); 2]; 6]);
        for kind in &KINDS[..FEW] {
            for is_for_slaves in [false, true] {
                masks.set(*kind, is_for_slaves, input.u32()? & kind.allowed(version));
            }
        }
        Ok(masks)
    }

    /// Writes a list of masks: that for slaves has an even type, that for other roles the next one.
    pub(crate) fn put_list(&self, out: &mut Encoder, version: OfVersion) {
        let pairs = KINDS.iter().flat_map(|kind| [(*kind, true), (*kind, false)]);
        for (number, (kind, is_for_slaves)) in pairs.enumerate() {
            if let Some(mask) = self.get(kind, is_for_slaves) {
                out.u16(number as u16);
                out.u16(8);
                out.u32(mask & kind.allowed(version));
            }
        }
    }

    /// Reads a list of masks. A reply may have bits and types that mean nothing, a request may not.
    pub(crate) fn decode_list(
        mut input: Input<'_>,
        version: OfVersion,
        is_reply: bool,
    ) -> Result<Self, ErrorCode> {
        let mut masks = Self::default();
        while !input.is_empty() {
            let (number, mut value) = decode_property(&mut input)?;
            let Some(kind) = KINDS.get(usize::from(number / 2)) else {
                if is_reply {
                    continue;
                }
                return Err(ErrorCode::AsyncUnsupported);
            };
            let mask = value.u32()?;
            if !value.is_empty() {
                return Err(ErrorCode::BadPropertyLength);
            }
            let allowed = kind.allowed(version);
            if mask & !allowed != 0 && !is_reply {
                return Err(ErrorCode::AsyncInvalid);
            }
            masks.set(*kind, number % 2 == 0, mask & allowed);
        }
        Ok(masks)
    }
}

/// Which messages a controller gets without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsyncConfig([[u32; 2]; 6]);

impl AsyncConfig {
    /// What a controller gets that has chosen nothing, as Open vSwitch does it: all ports, and unless it is a
    /// slave packets but those whose TTL is over, and rules that are gone.
    pub fn of_version(version: OfVersion) -> Self {
        let mut config = Self::default();
        let mut packets = PACKET_IN_14 & !INVALID_TTL | 1 << packet_in_reason::EXPLICIT_MISS;
        if version < OpenFlow13 {
            packets |= 1 << packet_in_reason::IMPLICIT_MISS;
        }
        let removed = match version {
            OpenFlow10 | OpenFlow11 | OpenFlow12 => 0b111,
            OpenFlow13 => 0b1111,
            _ => 0b11_1111,
        };
        config.0[AsyncKind::PacketIn as usize] = [0, packets];
        config.0[AsyncKind::PortStatus as usize] = [0b111; 2];
        config.0[AsyncKind::FlowRemoved as usize] = [0, removed];
        config
    }

    /// Whether a controller gets messages of a kind for a reason.
    pub fn wants(&self, kind: AsyncKind, reason: u8, is_slave: bool) -> bool {
        let mask = self.0[kind as usize][usize::from(!is_slave)];
        mask.checked_shr(reason.into()).unwrap_or_default() & 1 != 0
    }

    /// Changes what a message of `version` changes.
    pub fn change(&mut self, masks: &AsyncMasks, version: OfVersion) {
        for (kind, pair) in masks.0.iter().enumerate() {
            for (role, mask) in pair.iter().enumerate() {
                if let Some(mask) = mask {
                    let is_packet_in = kind == AsyncKind::PacketIn as usize;
                    let refined = if is_packet_in { refine(*mask, version) } else { *mask };
                    self.0[kind][role] = refined;
                }
            }
        }
    }

    /// Whether packets whose TTL is over go to the controller as master or equal: the flag of `OFPT_SET_CONFIG`
    /// that OpenFlow 1.1 and 1.2 have.
    pub fn set_invalid_ttl(&mut self, is_on: bool) {
        let mask = &mut self.0[AsyncKind::PacketIn as usize][1];
        *mask = if is_on { *mask | INVALID_TTL } else { *mask & !INVALID_TTL };
    }

    /// Whether packets whose TTL is over go to the controller as master or equal.
    pub fn has_invalid_ttl(&self) -> bool {
        self.0[AsyncKind::PacketIn as usize][1] & INVALID_TTL != 0
    }

    /// All masks, as a reply says them.
    pub fn masks(&self) -> AsyncMasks {
        AsyncMasks(self.0.map(|pair| pair.map(Some)))
    }
}

/// The reasons that the switch distinguishes, for the bits of a mask of packet-ins in a message.
fn refine(mut mask: u32, version: OfVersion) -> u32 {
    if mask & NO_MATCH != 0 {
        mask |= 1 << packet_in_reason::EXPLICIT_MISS;
        if version < OpenFlow13 {
            mask |= 1 << packet_in_reason::IMPLICIT_MISS;
        }
    }
    if version < OpenFlow14 && mask & ACTION != 0 {
        mask |= PACKET_IN_14 & !PACKET_IN_13;
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_gets_what_its_version_knows() {
        let (rem, port) = (AsyncKind::FlowRemoved, AsyncKind::PortStatus);
        for (version, last) in [(OpenFlow10, 2), (OpenFlow13, 3), (OpenFlow14, 5)] {
            let config = AsyncConfig::of_version(version);
            assert!(config.wants(rem, last, false) && !config.wants(rem, last + 1, false));
            assert!(!config.wants(rem, 0, true), "slaves do not hear of rules");
            assert!(config.wants(port, 2, true) && config.wants(port, 2, false));
            assert!(!config.wants(AsyncKind::RequestForward, 0, false));
            assert!(!config.wants(AsyncKind::PacketIn, 2, false), "TTL");
        }
    }

    #[test]
    fn a_message_of_1_3_changes_everything_and_one_of_1_4_what_it_names() {
        let bytes = [0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0, 0, 2, 0, 0, 0, 0];
        let input = Input::new(&bytes, ErrorCode::BadLength);
        let masks = AsyncMasks::decode_few(input, OpenFlow13).unwrap();
        let mut config = AsyncConfig::of_version(OpenFlow13);
        config.change(&masks, OpenFlow13);
        let packet_in = AsyncKind::PacketIn;
        assert!(config.wants(packet_in, packet_in_reason::EXPLICIT_MISS, false));
        assert!(!config.wants(packet_in, packet_in_reason::IMPLICIT_MISS, false));
        assert!(config.wants(packet_in, 5, false), "packet-out is an action in 1.3");
        assert!(config.wants(packet_in, 2, true));
        assert!(config.wants(AsyncKind::FlowRemoved, 1, false));
        assert!(!config.wants(AsyncKind::FlowRemoved, 24, false), "no such bit");
        assert!(!config.wants(AsyncKind::PortStatus, 0, true));

        let bytes = [0, 11, 0, 8, 0, 0, 0, 1];
        let input = Input::new(&bytes, ErrorCode::BadLength);
        let masks = AsyncMasks::decode_list(input, OpenFlow14, false).unwrap();
        config.change(&masks, OpenFlow14);
        assert!(config.wants(AsyncKind::RequestForward, 0, false));
        assert!(config.wants(AsyncKind::FlowRemoved, 1, false), "as before");
    }

    #[test]
    fn a_request_with_an_unknown_bit_or_type_is_refused() {
        for (bytes, error) in [
            ([0, 11, 0, 8, 0, 0, 0, 4], ErrorCode::AsyncInvalid),
            ([0, 12, 0, 8, 0, 0, 0, 0], ErrorCode::AsyncUnsupported),
            ([0, 11, 0, 7, 0, 0, 0, 0], ErrorCode::BadPropertyLength),
        ] {
            let input = Input::new(&bytes, ErrorCode::BadLength);
            assert_eq!(AsyncMasks::decode_list(input, OpenFlow14, false), Err(error));
        }
    }
}

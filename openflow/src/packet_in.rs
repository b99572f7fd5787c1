//! Packet-ins, and what resumes a packet that waits for a controller.
//!
//! The switch sends packet-ins in one of three forms ([`PacketInForm`]). Only `NXT_PACKET_IN2` carries
//! everything: the standard form lacks `userdata` and continuation in every version, the cookie before OpenFlow
//! 1.3, the registers before 1.2, and the table in 1.0.

use crate::encoding::Encoding;
use crate::error::ErrorCode;
use crate::flow_mod::{NO_BUFFER, decode_nx_match};
use crate::group::decode_property;
use crate::input::Input;
use crate::matching::{self, extensible};
use crate::output::Encoder;
use crate::port;
use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13, OpenFlow14};
use flow::Match;
use flow::fields::FieldId;
use flow::key::{PipelineKey, PipelineMask};
use flow::types::{Cookie, OfPort, OfVersion};
use flow::verdict::PacketInReason;

/// The form in which a peer wants packet-ins (`NXPIF_*`). The discriminants are the numbers in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PacketInForm {
    /// The form that the version of OpenFlow has.
    #[default]
    Standard = 0,
    /// Nicira's message `NXT_PACKET_IN`, which tells metadata as a match.
    Nxt = 1,
    /// Nicira's `NXT_PACKET_IN2`, which is a list of properties.
    Nxt2 = 2,
}

impl PacketInForm {
    /// Every form, in the order of the numbers.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Nxt, Self::Nxt2];

    pub(crate) fn decode(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let number = input.u32()?;
        let known = Self::ALL.into_iter().find(|form| *form as u32 == number);
        known.ok_or(ErrorCode::RequestPermission)
    }
}

/// A packet for a controller, or one that a controller sends back to be resumed.
#[derive(Clone, Debug, PartialEq)]
pub struct PacketIn {
    /// The packet from its Ethernet header on, or the beginning of it. What finds no room in
    /// a message is cut off.
    pub packet: Vec<u8>,
    /// Size of the whole packet in bytes. A message that is not `NXT_PACKET_IN2` says 65,535 of a larger one.
    pub total_len: u32,
    /// The number of a buffer that holds the packet; `None` if none does. This switch has no buffers.
    pub buffer: Option<u32>,
    /// Why the packet goes to a controller. Encoding says what the version can say.
    pub reason: PacketInReason,
    /// The number of the table whose rule, or whose lack of a rule, gave the packet to the controller.
    pub table: u8,
    /// The cookie of that rule; `None` if there is no rule, as in a packet-out.
    pub cookie: Option<Cookie>,
    /// What the pipeline knew beside the packet: the ingress port, registers, metadata.
    pub metadata: Match,
    /// The bytes that the action gave as `userdata`.
    pub userdata: Vec<u8>,
    /// What the switch needs to go on with the packet, as properties that only the switch understands; empty if
    /// the packet does not wait.
    pub continuation: Vec<u8>,
}

/// Properties of `NXT_PACKET_IN2` (`NXPINT_*`).
mod property {
    pub(super) const PACKET: u16 = 0;
    pub(super) const FULL_LEN: u16 = 1;
    pub(super) const BUFFER_ID: u16 = 2;
    pub(super) const TABLE_ID: u16 = 3;
    pub(super) const COOKIE: u16 = 4;
    pub(super) const REASON: u16 = 5;
    pub(super) const METADATA: u16 = 6;
    pub(super) const USERDATA: u16 = 7;
    pub(super) const CONTINUATION: u16 = 8;
}

/// The cookie of a message that is about no rule.
const NO_COOKIE: u64 = u64::MAX;

impl PacketIn {
    /// The match of a packet-in: the ingress port, and those of the fields of `state` beside the packet
    /// ([`FieldId::beside_packet`]) that are not zero. Of a packet that was tracked, also those of its
    /// connection, with the EtherType, without which nobody could read them.
    pub fn metadata_of(in_port: OfPort, state: &PipelineKey) -> Match {
        let mut mask = PipelineMask::default();
        let mut key = *state;
        key.in_port.set(in_port);
        FieldId::InPort.set_mask(&mut mask, u128::MAX);
        for field in FieldId::beside_packet(state) {
            if field.says_something(&key) {
                field.set_mask(&mut mask, u128::MAX);
            }
        }
        if FieldId::CtState.says_something(&key) {
            FieldId::EthType.set_mask(&mut mask, u128::MAX);
            let has_tuple = FieldId::CtNwProto.says_something(&key);
            for field in FieldId::CONNECTION {
                let is_told = match field {
                    // A port of zero is one, too.
                    FieldId::CtTpSrc | FieldId::CtTpDst => has_tuple,
                    _ => field.says_something(&key),
                };
                if is_told && field.prerequisite_met(&key) {
                    field.set_mask(&mut mask, u128::MAX);
                }
            }
        }
        Match::new(&key, &mask)
    }

    /// Writes a packet-in in the form of `encoding`, behind the header of the message or of Nicira's extension.
    pub(crate) fn put(&self, out: &mut Encoder, encoding: Encoding) {
        let version = encoding.version;
        match encoding.packet_in {
            PacketInForm::Standard if version == OpenFlow10 => self.put_10(out),
            PacketInForm::Standard if version == OpenFlow11 => self.put_11(out),
            PacketInForm::Standard => self.put_12(out, version),
            PacketInForm::Nxt => self.put_nxt(out, version),
            PacketInForm::Nxt2 => self.put_properties(out, version, true),
        }
    }

    fn put_10(&self, out: &mut Encoder) {
        out.u32(self.buffer.unwrap_or(NO_BUFFER));
        out.u16(self.short_len());
        port::put(out, self.in_port(), OpenFlow10);
        out.u8(reason_number(self.reason, OpenFlow10));
        out.zeros(1);
        self.put_packet(out);
    }

    fn put_11(&self, out: &mut Encoder) {
        out.u32(self.buffer.unwrap_or(NO_BUFFER));
        port::put(out, self.in_port(), OpenFlow11);
        port::put(out, self.in_port(), OpenFlow11);
        out.u16(self.short_len());
        out.u8(reason_number(self.reason, OpenFlow11));
        out.u8(self.table);
        self.put_packet(out);
    }

    fn put_12(&self, out: &mut Encoder, version: OfVersion) {
        self.put_common(out, version);
        if version >= OpenFlow13 {
            out.u64(self.cookie.map_or(NO_COOKIE, |cookie| cookie.0));
        }
        matching::put_oxm(out, &self.metadata, version);
        out.zeros(2);
        self.put_packet(out);
    }

    fn put_nxt(&self, out: &mut Encoder, version: OfVersion) {
        self.put_common(out, version);
        out.u64(self.cookie.map_or(NO_COOKIE, |cookie| cookie.0));
        let len_at = out.len();
        out.zeros(8);
        let start = out.len();
        extensible::put(out, &self.metadata, OpenFlow10, None);
        out.set_len(len_at, start);
        out.pad(start);
        out.zeros(2);
        self.put_packet(out);
    }

    /// Buffer, length, reason and table, as several forms have them.
    fn put_common(&self, out: &mut Encoder, version: OfVersion) {
        out.u32(self.buffer.unwrap_or(NO_BUFFER));
        out.u16(self.short_len());
        out.u8(reason_number(self.reason, version));
        out.u8(self.table);
    }

    /// Writes the packet, as much of it as the message has room for.
    fn put_packet(&self, out: &mut Encoder) {
        let room = usize::from(u16::MAX) - out.len().min(usize::from(u16::MAX));
        out.bytes(&self.packet[..self.packet.len().min(room)]);
    }

    /// Writes the packet-in as properties. A packet that is to be resumed has no `userdata`.
    pub(crate) fn put_properties(&self, out: &mut Encoder, version: OfVersion, has_userdata: bool) {
        let mut rest = Encoder::default();
        put_property(&mut rest, property::TABLE_ID, |out| out.u8(self.table));
        if let Some(Cookie(cookie)) = self.cookie {
            put_property(&mut rest, property::COOKIE, |out| {
                out.zeros(4);
                out.u64(cookie);
            });
        }
        let reason = reason_number(self.reason, version);
        put_property(&mut rest, property::REASON, |out| out.u8(reason));
        put_property(&mut rest, property::METADATA, |out| {
            // Nicira's form of the ingress port is not used here, even in OpenFlow 1.0.
            extensible::put(out, &self.metadata, version.max(OpenFlow12), None);
        });
        if !self.continuation.is_empty() {
            put_property(&mut rest, property::CONTINUATION, |out| {
                out.zeros(4);
                out.bytes(&self.continuation);
            });
        }
        if has_userdata && !self.userdata.is_empty() {
            put_property(&mut rest, property::USERDATA, |out| out.bytes(&self.userdata));
        }
        if let Some(buffer) = self.buffer {
            put_property(&mut rest, property::BUFFER_ID, |out| out.u32(buffer));
        }
        // The packet comes first, so its size is what the others leave of a message: with its own header, its
        // padding and the property that says its whole size.
        const OVERHEAD: usize = 4 + 8 + 8;
        let room = usize::from(u16::MAX).saturating_sub(out.len() + rest.len() + OVERHEAD);
        let packet = &self.packet[..self.packet.len().min(room)];
        put_property(out, property::PACKET, |out| out.bytes(packet));
        if self.total_len as usize != packet.len() {
            put_property(out, property::FULL_LEN, |out| out.u32(self.total_len));
        }
        out.bytes(&rest.into_bytes());
    }

    fn in_port(&self) -> OfPort {
        self.metadata.key().in_port.get()
    }

    fn short_len(&self) -> u16 {
        self.total_len.try_into().unwrap_or(u16::MAX)
    }

    /// Reads a packet-in of the standard form.
    pub(crate) fn decode(mut input: Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let buffer = buffer(input.u32()?);
        if version <= OpenFlow11 {
            let (in_port, total_len, reason, table);
            if version == OpenFlow10 {
                total_len = input.u16()?;
                in_port = port::decode(&mut input, version, ErrorCode::BadPort)?;
                (reason, table) = (input.u8()?, 0);
                input.skip(1)?;
            } else {
                in_port = port::decode(&mut input, version, ErrorCode::BadPort)?;
                input.skip(4)?;
                total_len = input.u16()?;
                (reason, table) = (input.u8()?, input.u8()?);
            }
            let metadata = Self::metadata_of(in_port, &PipelineKey::default());
            let head = Head { buffer, total_len, reason, table };
            return head.packet_in(None, metadata, input.rest());
        }
        let head = Head::decode(buffer, &mut input)?;
        let cookie = if version >= OpenFlow13 { cookie(input.u64()?) } else { None };
        let metadata = matching::decode_11(&mut input)?;
        input.skip(2)?;
        head.packet_in(cookie, metadata, input.rest())
    }

    /// Reads an `NXT_PACKET_IN`.
    pub(crate) fn decode_nxt(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let buffer = buffer(input.u32()?);
        let head = Head::decode(buffer, &mut input)?;
        let cookie = cookie(input.u64()?);
        let len = usize::from(input.u16()?);
        input.skip(6)?;
        let (metadata, _) = decode_nx_match(&mut input, len)?;
        input.skip(2)?;
        head.packet_in(cookie, metadata, input.rest())
    }

    /// Reads an `NXT_PACKET_IN2` or an `NXT_RESUME`.
    pub(crate) fn decode_properties(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let mut total_len = None;
        let mut packet_in = Self {
            packet: Vec::new(),
            total_len: 0,
            buffer: None,
            reason: PacketInReason::NoMatch,
            table: 0,
            cookie: None,
            metadata: Match::any(),
            userdata: Vec::new(),
            continuation: Vec::new(),
        };
        while !input.is_empty() {
            let (kind, mut value) = decode_property(&mut input)?;
            match kind {
                property::PACKET => packet_in.packet = value.rest().to_vec(),
                property::FULL_LEN => total_len = Some(value.u32()?),
                property::BUFFER_ID => packet_in.buffer = buffer(value.u32()?),
                property::TABLE_ID => packet_in.table = value.u8()?,
                property::COOKIE => {
                    value.skip(4)?;
                    packet_in.cookie = Some(Cookie(value.u64()?));
                }
                property::REASON => packet_in.reason = reason(value.u8()?)?,
                property::METADATA => (packet_in.metadata, _) = extensible::decode(value)?,
                property::USERDATA => packet_in.userdata = value.rest().to_vec(),
                property::CONTINUATION => {
                    value.skip(4)?;
                    packet_in.continuation = value.rest().to_vec();
                }
                _ => return Err(ErrorCode::BadProperty),
            }
        }
        let len = packet_in.packet.len() as u32;
        packet_in.total_len = total_len.unwrap_or(len);
        if len == 0 || packet_in.total_len < len {
            return Err(ErrorCode::BadLength);
        }
        Ok(packet_in)
    }
}

/// The property of a continuation that says who made it (`NXCPT_BRIDGE`): 16 bytes, which Open vSwitch's tools
/// print as an UUID.
const MAKER: u16 = 0x8000;

/// The continuation of a packet-in that has nothing but the number under which the switch keeps the rest.
pub fn continuation_of(token: [u8; 16]) -> Vec<u8> {
    let mut out = Encoder::default();
    put_property(&mut out, MAKER, |out| out.bytes(&token));
    out.into_bytes()
}

/// The number in a continuation that [`continuation_of`] made; `None` if the bytes are none of these.
pub fn token_of(continuation: &[u8]) -> Option<[u8; 16]> {
    let mut input = Input::new(continuation, ErrorCode::BadPropertyLength);
    let (kind, mut value) = decode_property(&mut input).ok()?;
    let token = value.array().ok()?;
    (kind == MAKER && value.is_empty() && input.is_empty()).then_some(token)
}

/// What several forms of a packet-in begin with.
struct Head {
    buffer: Option<u32>,
    total_len: u16,
    reason: u8,
    table: u8,
}

impl Head {
    fn decode(buffer: Option<u32>, input: &mut Input<'_>) -> Result<Self, ErrorCode> {
        Ok(Self { buffer, total_len: input.u16()?, reason: input.u8()?, table: input.u8()? })
    }

    fn packet_in(
        self,
        cookie: Option<Cookie>,
        metadata: Match,
        packet: &[u8],
    ) -> Result<PacketIn, ErrorCode> {
        Ok(PacketIn {
            packet: packet.to_vec(),
            total_len: self.total_len.into(),
            buffer: self.buffer,
            reason: reason(self.reason)?,
            table: self.table,
            cookie,
            metadata,
            userdata: Vec::new(),
            continuation: Vec::new(),
        })
    }
}

fn buffer(number: u32) -> Option<u32> {
    (number != NO_BUFFER).then_some(number)
}

fn cookie(number: u64) -> Option<Cookie> {
    (number != NO_COOKIE).then_some(Cookie(number))
}

fn reason(number: u8) -> Result<PacketInReason, ErrorCode> {
    PacketInReason::of_number(number).ok_or(ErrorCode::BadPropertyValue)
}

/// The number that messages of a version have for a reason, or for what comes nearest to it.
fn reason_number(reason: PacketInReason, version: OfVersion) -> u8 {
    let said = match reason {
        PacketInReason::ActionSet | PacketInReason::Group | PacketInReason::PacketOut
            if version < OpenFlow14 =>
        {
            PacketInReason::Action
        }
        PacketInReason::ExplicitMiss if version < OpenFlow13 => PacketInReason::Action,
        PacketInReason::ExplicitMiss | PacketInReason::ImplicitMiss => PacketInReason::NoMatch,
        reason => reason,
    };
    said as u8
}

/// Writes a property: type, length, what `put` writes, and padding.
fn put_property(out: &mut Encoder, kind: u16, put: impl FnOnce(&mut Encoder)) {
    let start = out.len();
    out.u16(kind);
    out.u16(0);
    put(out);
    out.set_len(start + 2, start);
    out.pad(start);
}

//! Every message that the crate knows, and the types that messages have in each version (OpenFlow 1.3.5 §7.1).

use crate::async_config::{AsyncForm, AsyncMasks};
use crate::ct_flush::CtFlush;
use crate::encoding::Encoding;
use crate::error::{ErrorCode, ErrorMessage};
use crate::flow_removed::FlowRemoved;
use crate::header::{HEADER_SIZE, MessageHeader, version_number, version_of_number};
use crate::input::{Input, ONF, VENDOR_NICIRA};
use crate::multipart::{self, MultipartReply, MultipartRequest};
use crate::output::Encoder;
use crate::packet_in::{PacketIn, PacketInForm};
use crate::ports::PortMod;
use crate::queues::QueueConfig;
use crate::status::{PortStatus, RequestForward, RoleStatus, TableStatus};
use crate::switch::{BundleControl, RoleMessage, SwitchConfig, SwitchFeatures};
use crate::tlv_table::{self, TlvTable};
use crate::{extension, flow_mod, group, hello, meter, packet_out, port, table_mod};
use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13, OpenFlow14, OpenFlow15};
use flow::flow_mod::FlowMod;
use flow::group::GroupMod;
use flow::meter::MeterMod;
use flow::packet_out::PacketOut;
use flow::table_mod::TableMod;
use flow::tlv_map::TlvMod;
use flow::types::{OfPort, OfVersion};

/// Types of messages (`OFPT_*`) that are the same in every version.
mod kind {
    pub(super) const HELLO: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    pub(super) const ECHO_REQUEST: u8 = 2;
    pub(super) const ECHO_REPLY: u8 = 3;
    pub(super) const EXPERIMENTER: u8 = 4;
    pub(super) const FEATURES_REQUEST: u8 = 5;
    pub(super) const FEATURES_REPLY: u8 = 6;
    pub(super) const GET_CONFIG_REQUEST: u8 = 7;
    pub(super) const GET_CONFIG_REPLY: u8 = 8;
    pub(super) const SET_CONFIG: u8 = 9;
    pub(super) const PACKET_IN: u8 = 10;
    pub(super) const FLOW_REMOVED: u8 = 11;
    pub(super) const PORT_STATUS: u8 = 12;
    pub(super) const PACKET_OUT: u8 = 13;
    pub(super) const FLOW_MOD: u8 = 14;
}

/// Types of OpenFlow 1.0 that later versions number differently.
mod kind10 {
    pub(super) const PORT_MOD: u8 = 15;
    pub(super) const STATS_REQUEST: u8 = 16;
    pub(super) const STATS_REPLY: u8 = 17;
    pub(super) const BARRIER_REQUEST: u8 = 18;
    pub(super) const BARRIER_REPLY: u8 = 19;
    pub(super) const QUEUE_GET_CONFIG_REQUEST: u8 = 20;
    pub(super) const QUEUE_GET_CONFIG_REPLY: u8 = 21;
}

/// Types of OpenFlow 1.1 and later.
mod kind11 {
    pub(super) const GROUP_MOD: u8 = 15;
    pub(super) const PORT_MOD: u8 = 16;
    pub(super) const TABLE_MOD: u8 = 17;
    pub(super) const MULTIPART_REQUEST: u8 = 18;
    pub(super) const MULTIPART_REPLY: u8 = 19;
    pub(super) const BARRIER_REQUEST: u8 = 20;
    pub(super) const BARRIER_REPLY: u8 = 21;
    /// Only up to OpenFlow 1.3: later versions have a multipart message.
    pub(super) const QUEUE_GET_CONFIG_REQUEST: u8 = 22;
    pub(super) const QUEUE_GET_CONFIG_REPLY: u8 = 23;
    pub(super) const ROLE_REQUEST: u8 = 24;
    pub(super) const ROLE_REPLY: u8 = 25;
    pub(super) const GET_ASYNC_REQUEST: u8 = 26;
    pub(super) const GET_ASYNC_REPLY: u8 = 27;
    pub(super) const SET_ASYNC: u8 = 28;
    pub(super) const METER_MOD: u8 = 29;
    pub(super) const ROLE_STATUS: u8 = 30;
    pub(super) const TABLE_STATUS: u8 = 31;
    pub(super) const REQUEST_FORWARD: u8 = 32;
    pub(super) const BUNDLE_CONTROL: u8 = 33;
    pub(super) const BUNDLE_ADD: u8 = 34;
}

/// Subtypes of Nicira's messages (`NXT_*`).
mod nxt {
    pub(super) const ROLE_REQUEST: u32 = 10;
    pub(super) const ROLE_REPLY: u32 = 11;
    pub(super) const SET_FLOW_FORMAT: u32 = 12;
    pub(super) const FLOW_MOD: u32 = 13;
    pub(super) const FLOW_MOD_TABLE_ID: u32 = 15;
    pub(super) const GROUP_MOD: u32 = 31;
}

/// Subtypes of the ONF's messages for OpenFlow 1.3 (`ONFT_*`).
mod onft {
    pub(super) const BUNDLE_CONTROL: u32 = 2300;
    pub(super) const BUNDLE_ADD: u32 = 2301;
}

/// The flow formats of [`OfMessage::SetFlowFormat`] (`NXFF_*`): OpenFlow 1.0's, and Nicira's extensible one.
const FORMAT_OPENFLOW10: u32 = 0;
const FORMAT_NXM: u32 = 2;

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub enum OfMessage {
    /// The first message of a connection: the versions that the sender speaks.
    Hello(Vec<OfVersion>),
    /// A request was refused.
    Error(ErrorMessage),
    /// Asks for the same bytes.
    EchoRequest(Vec<u8>),
    /// The bytes of the request.
    EchoReply(Vec<u8>),
    /// Asks for the features of the switch.
    FeaturesRequest,
    /// The features of the switch.
    FeaturesReply(SwitchFeatures),
    /// Asks for the configuration of the switch.
    GetConfigRequest,
    /// The configuration of the switch.
    GetConfigReply(SwitchConfig),
    /// Changes the configuration of the switch. There is no reply.
    SetConfig(SwitchConfig),
    /// Adds, changes or deletes rules. There is no reply.
    FlowMod(Box<FlowMod>),
    /// Adds, changes or deletes groups. There is no reply.
    GroupMod(GroupMod),
    /// Adds, changes or deletes meters, in OpenFlow 1.3 and later. There is no reply.
    MeterMod(MeterMod),
    /// Changes how a port behaves. There is no reply.
    PortMod(PortMod),
    /// Changes how a table behaves, from OpenFlow 1.1 on. There is no reply.
    TableMod(TableMod),
    /// Asks for the queues of a port, or of every port with [`OfPort::NONE`], up to OpenFlow 1.3.
    QueueGetConfigRequest(OfPort),
    /// The queues of a port.
    QueueGetConfigReply(QueueConfig),
    /// Sends a packet. There is no reply.
    PacketOut(Box<PacketOut>),
    /// Asks for a reply as soon as everything in front of this message has been carried out.
    BarrierRequest,
    /// The reply to a barrier request.
    BarrierReply,
    /// Asks for statistics or descriptions.
    MultipartRequest(MultipartRequest),
    /// A part of a reply. The flag says whether more parts follow.
    MultipartReply(MultipartReply, bool),
    /// Asks for a role.
    RoleRequest(RoleMessage),
    /// The role that a controller has now.
    RoleReply(RoleMessage),
    /// Tells that a rule is gone.
    FlowRemoved(Box<FlowRemoved>),
    /// Tells that a port came, went or changed.
    PortStatus(Box<PortStatus>),
    /// Tells a controller that it has another role.
    RoleStatus(RoleStatus),
    /// Tells that a table is nearly full, or no longer so. OpenFlow 1.4 and later.
    TableStatus(TableStatus),
    /// Tells of another controller's request that was carried out.
    RequestForward(RequestForward),
    /// Asks which messages the controller gets without asking. OpenFlow 1.3 and later.
    GetAsyncRequest,
    /// Which messages the controller gets without asking.
    GetAsyncReply(AsyncMasks),
    /// Chooses which messages the controller gets without asking. There is no reply.
    SetAsync(AsyncMasks, AsyncForm),
    /// Ends the flow monitor with this number, in OpenFlow 1.0 to 1.3. Later
    /// versions have [`MonitorCommand::Delete`](crate::MonitorCommand::Delete).
    FlowMonitorCancel(u32),
    /// Tells what [`FlowUpdate::Paused`](crate::FlowUpdate::Paused) tells, in OpenFlow 1.0 to 1.3.
    FlowMonitorPaused,
    /// Tells what [`FlowUpdate::Resumed`](crate::FlowUpdate::Resumed) tells, in OpenFlow 1.0 to 1.3.
    FlowMonitorResumed,
    /// Nicira's choice of the form of flow mods in OpenFlow 1.0: whether matches are extensible.
    SetFlowFormat {
        /// Whether matches are extensible (NXM).
        nxm: bool,
    },
    /// Nicira's choice for OpenFlow 1.0 whether a flow mod's command has a table number in its upper byte.
    FlowModTableId {
        /// Whether it has.
        is_on: bool,
    },
    /// A packet for a controller.
    PacketIn(Box<PacketIn>),
    /// Nicira's choice of the form of packet-ins. There is no reply.
    SetPacketInFormat(PacketInForm),
    /// Nicira's choice of the number by which actions name a controller. There is no reply.
    SetControllerId(u16),
    /// Goes on with a packet that waits for a controller (Nicira's `NXT_RESUME`). There is no reply.
    Resume(Box<PacketIn>),
    /// Nicira's request that OpenFlow 1.0 statistics tell the ages of rules, which they always do.
    FlowAge,
    /// Nicira's change of the Geneve options that are fields. There is no reply.
    TlvTableMod(TlvMod),
    /// Asks for the Geneve options that are fields.
    TlvTableRequest,
    /// The Geneve options that are fields.
    TlvTableReply(TlvTable),
    /// Nicira's request to forget connections. There is no reply.
    CtFlush(CtFlush),
    /// Opens, closes, commits or discards a bundle.
    BundleControl(BundleControl),
    /// Adds a message to a bundle.
    BundleAdd {
        /// The number of the bundle.
        id: u32,
        /// The flags of the bundle, as in [`BundleControl::flags`].
        flags: u16,
        /// The message, with its header.
        message: Vec<u8>,
    },
}

/// A message that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .0.name(), .0.sentence())]
pub struct DecodeError(pub ErrorCode);

impl From<ErrorCode> for DecodeError {
    fn from(code: ErrorCode) -> Self {
        Self(code)
    }
}

impl OfMessage {
    /// Decodes a message of `encoding.version`. `bytes` are the whole message with its header.
    ///
    /// # Errors
    /// The error that the sender should get.
    pub fn decode(bytes: &[u8], encoding: Encoding) -> Result<Self, DecodeError> {
        let header = MessageHeader::read(bytes).ok_or(ErrorCode::BadLength)?;
        if usize::from(header.len) != bytes.len() {
            return Err(ErrorCode::BadLength.into());
        }
        let body = Input::new(&bytes[HEADER_SIZE..], ErrorCode::BadLength);
        let is_for_any_version = matches!(header.kind, kind::HELLO | kind::ERROR);
        if !is_for_any_version && header.version != version_number(encoding.version) {
            return Err(ErrorCode::BadVersion.into());
        }
        Ok(decode_body(header, body, encoding)?)
    }

    /// Decodes one whole message that is a flow mod, and appends the flow mod to a list, where it can stay: a
    /// flow mod is long, and better not copied. Returns whether the message is one and can be decoded. If not,
    /// the list is as it was.
    pub fn append_flow_mod(bytes: &[u8], encoding: Encoding, flow_mods: &mut Vec<FlowMod>) -> bool {
        flow_mods.push(flow_mod::blank());
        let last = flow_mods.last_mut();
        let is_decoded = last.is_some_and(|last| Self::decode_flow_mod(bytes, encoding, last));
        if !is_decoded {
            flow_mods.pop();
        }
        is_decoded
    }

    /// Decodes one whole message that is a flow mod into one that is [`blank`](flow_mod::blank). As
    /// [`decode`](Self::decode), but a standard flow mod, of which a controller may send millions, takes no
    /// memory for itself.
    ///
    /// Returns whether the message is one and can be decoded. If not, `flow_mod` may be half decoded.
    pub(crate) fn decode_flow_mod(
        bytes: &[u8],
        encoding: Encoding,
        flow_mod: &mut FlowMod,
    ) -> bool {
        let Some(header) = MessageHeader::read(bytes) else { return false };
        if header.kind == kind::FLOW_MOD
            && usize::from(header.len) == bytes.len()
            && header.version == version_number(encoding.version)
        {
            let body = Input::new(&bytes[HEADER_SIZE..], ErrorCode::BadLength);
            let is_whole =
                !is_in_words(header.kind, encoding.version) || body.len().is_multiple_of(8);
            let decoded = flow_mod::decode_into(body, encoding, flow_mod).is_ok();
            return decoded && is_whole;
        }
        match Self::decode(bytes, encoding) {
            Ok(Self::FlowMod(decoded)) => {
                *flow_mod = *decoded;
                true
            }
            _ => false,
        }
    }

    /// Encodes the message with its header.
    ///
    /// A message that is longer than 65,535 bytes cannot be encoded: its length field has the largest number.
    /// What comes from decoding is never so long, and [`ReplyParts`](crate::ReplyParts) splits replies.
    pub fn encode(&self, encoding: Encoding, xid: u32) -> Vec<u8> {
        let mut out = begin(self.kind(encoding.version), encoding.version, xid);
        if let Some((vendor, subtype)) = extension::ids(self, encoding) {
            out.set_u8(1, kind::EXPERIMENTER);
            put_vendor(&mut out, vendor, subtype);
        }
        self.put_body(&mut out, encoding);
        finish(out)
    }

    fn kind(&self, version: OfVersion) -> u8 {
        let by_version = |kind10, kind11| if version == OpenFlow10 { kind10 } else { kind11 };
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::Error(_) => kind::ERROR,
            Self::EchoRequest(_) => kind::ECHO_REQUEST,
            Self::EchoReply(_) => kind::ECHO_REPLY,
            Self::FeaturesRequest => kind::FEATURES_REQUEST,
            Self::FeaturesReply(_) => kind::FEATURES_REPLY,
            Self::GetConfigRequest => kind::GET_CONFIG_REQUEST,
            Self::GetConfigReply(_) => kind::GET_CONFIG_REPLY,
            Self::SetConfig(_) => kind::SET_CONFIG,
            Self::PacketIn(_) => kind::PACKET_IN,
            Self::PacketOut(_) => kind::PACKET_OUT,
            Self::FlowMod(_) => kind::FLOW_MOD,
            Self::GroupMod(_) => by_version(kind::EXPERIMENTER, kind11::GROUP_MOD),
            Self::MeterMod(_) => kind11::METER_MOD,
            Self::PortMod(_) => by_version(kind10::PORT_MOD, kind11::PORT_MOD),
            Self::TableMod(_) => kind11::TABLE_MOD,
            Self::QueueGetConfigRequest(_) => {
                by_version(kind10::QUEUE_GET_CONFIG_REQUEST, kind11::QUEUE_GET_CONFIG_REQUEST)
            }
            Self::QueueGetConfigReply(_) => {
                by_version(kind10::QUEUE_GET_CONFIG_REPLY, kind11::QUEUE_GET_CONFIG_REPLY)
            }
            Self::BarrierRequest => by_version(kind10::BARRIER_REQUEST, kind11::BARRIER_REQUEST),
            Self::BarrierReply => by_version(kind10::BARRIER_REPLY, kind11::BARRIER_REPLY),
            Self::MultipartRequest(_) => {
                by_version(kind10::STATS_REQUEST, kind11::MULTIPART_REQUEST)
            }
            Self::MultipartReply(..) => multipart_reply_kind(version),
            Self::RoleRequest(role) if !role.is_nicira => kind11::ROLE_REQUEST,
            Self::RoleReply(role) if !role.is_nicira => kind11::ROLE_REPLY,
            Self::BundleControl(_) if version >= OpenFlow14 => kind11::BUNDLE_CONTROL,
            Self::BundleAdd { .. } if version >= OpenFlow14 => kind11::BUNDLE_ADD,
            Self::FlowRemoved(_) => kind::FLOW_REMOVED,
            Self::PortStatus(_) => kind::PORT_STATUS,
            Self::RoleStatus(_) => kind11::ROLE_STATUS,
            Self::TableStatus(_) => kind11::TABLE_STATUS,
            Self::RequestForward(_) => kind11::REQUEST_FORWARD,
            Self::GetAsyncRequest => kind11::GET_ASYNC_REQUEST,
            Self::GetAsyncReply(_) => kind11::GET_ASYNC_REPLY,
            Self::SetAsync(..) => kind11::SET_ASYNC,
            Self::FlowMonitorCancel(_)
            | Self::FlowMonitorPaused
            | Self::FlowMonitorResumed
            | Self::RoleRequest(_)
            | Self::RoleReply(_)
            | Self::SetFlowFormat { .. }
            | Self::FlowModTableId { .. }
            | Self::SetPacketInFormat(_)
            | Self::SetControllerId(_)
            | Self::Resume(_)
            | Self::FlowAge
            | Self::TlvTableMod(_)
            | Self::TlvTableRequest
            | Self::TlvTableReply(_)
            | Self::CtFlush(_)
            | Self::BundleControl(_)
            | Self::BundleAdd { .. } => kind::EXPERIMENTER,
        }
    }

    fn put_body(&self, out: &mut Encoder, encoding: Encoding) {
        let version = encoding.version;
        match self {
            Self::Hello(versions) => hello::put(out, versions),
            Self::Error(error) => error.encode(version, out),
            Self::EchoRequest(data) | Self::EchoReply(data) => out.bytes(data),
            Self::FeaturesRequest
            | Self::GetConfigRequest
            | Self::BarrierRequest
            | Self::BarrierReply
            | Self::GetAsyncRequest
            | Self::FlowMonitorPaused
            | Self::FlowMonitorResumed
            | Self::FlowAge
            | Self::TlvTableRequest => {}
            Self::FlowRemoved(removed) if encoding.is_10() && encoding.nxm => removed.put_nxt(out),
            Self::FlowRemoved(removed) => removed.put(out, version),
            Self::PortStatus(status) => status.put(out, version),
            Self::RoleStatus(status) => status.put(out),
            Self::TableStatus(status) => status.put(out),
            Self::RequestForward(forward) => forward.put(out, encoding),
            Self::GetAsyncReply(masks) => match version >= OpenFlow14 {
                true => masks.put_list(out, version),
                false => masks.put_few(out, version),
            },
            Self::SetAsync(masks, form) => match form {
                AsyncForm::NiciraList => masks.put_list(out, version),
                AsyncForm::Standard if version >= OpenFlow14 => masks.put_list(out, version),
                AsyncForm::Standard | AsyncForm::Nicira => masks.put_few(out, version),
            },
            Self::FlowMonitorCancel(id) => out.u32(*id),
            Self::FeaturesReply(features) => features.put(out, version),
            Self::GetConfigReply(config) | Self::SetConfig(config) => config.put(out, version),
            Self::FlowMod(flow_mod) if version == OpenFlow10 => {
                if encoding.nxm {
                    put_vendor(out, VENDOR_NICIRA, nxt::FLOW_MOD);
                    out.set_u8(1, kind::EXPERIMENTER);
                }
                flow_mod::put_10(out, flow_mod, encoding);
            }
            Self::FlowMod(flow_mod) => flow_mod::put_11(out, flow_mod, version),
            Self::GroupMod(group_mod) => {
                let needs_ids = needs_ids(group_mod);
                if version == OpenFlow10 || needs_ids && version < OpenFlow15 {
                    put_vendor(out, VENDOR_NICIRA, nxt::GROUP_MOD);
                    out.set_u8(1, kind::EXPERIMENTER);
                    group::put_mod(out, group_mod, version, true);
                } else {
                    group::put_mod(out, group_mod, version, version >= OpenFlow15);
                }
            }
            Self::MeterMod(meter_mod) => meter::put_mod(out, meter_mod),
            Self::PortMod(port_mod) => port_mod.put(out, version),
            Self::TableMod(table_mod) => table_mod::put_mod(out, table_mod, version),
            Self::QueueGetConfigRequest(port) => {
                port::put(out, *port, version);
                out.zeros(if version == OpenFlow10 { 2 } else { 4 });
            }
            Self::QueueGetConfigReply(config) => config.put(out, version),
            Self::PacketOut(packet_out) => packet_out::put(out, packet_out, version),
            Self::MultipartRequest(request) => request.put(out, encoding),
            Self::MultipartReply(reply, has_more) => reply.put(out, encoding, *has_more),
            Self::RoleRequest(role) => {
                if role.is_nicira {
                    put_vendor(out, VENDOR_NICIRA, nxt::ROLE_REQUEST);
                }
                role.put(out);
            }
            Self::RoleReply(role) => {
                if role.is_nicira {
                    put_vendor(out, VENDOR_NICIRA, nxt::ROLE_REPLY);
                }
                role.put(out);
            }
            Self::SetFlowFormat { nxm } => {
                put_vendor(out, VENDOR_NICIRA, nxt::SET_FLOW_FORMAT);
                out.u32(if *nxm { FORMAT_NXM } else { FORMAT_OPENFLOW10 });
            }
            Self::FlowModTableId { is_on } => {
                put_vendor(out, VENDOR_NICIRA, nxt::FLOW_MOD_TABLE_ID);
                out.u8(u8::from(*is_on));
                out.zeros(7);
            }
            Self::PacketIn(packet_in) => packet_in.put(out, encoding),
            Self::SetPacketInFormat(form) => out.u32(*form as u32),
            Self::SetControllerId(id) => {
                out.zeros(6);
                out.u16(*id);
            }
            Self::Resume(packet_in) => packet_in.put_properties(out, version, false),
            Self::TlvTableMod(tlv_mod) => tlv_table::put_mod(out, tlv_mod),
            Self::TlvTableReply(table) => table.put(out),
            Self::CtFlush(flush) => flush.put(out),
            Self::BundleControl(control) => {
                if version < OpenFlow14 {
                    put_vendor(out, ONF, onft::BUNDLE_CONTROL);
                }
                control.put(out);
            }
            Self::BundleAdd { id, flags, message } => {
                if version < OpenFlow14 {
                    put_vendor(out, ONF, onft::BUNDLE_ADD);
                }
                out.u32(*id);
                out.zeros(2);
                out.u16(*flags);
                out.bytes(message);
            }
        }
    }
}

/// Whether messages before OpenFlow 1.5 carry the group mod only in Nicira's form, which has ids of buckets.
fn needs_ids(group_mod: &GroupMod) -> bool {
    match group_mod {
        GroupMod::InsertBuckets { .. } | GroupMod::RemoveBuckets { .. } => true,
        GroupMod::Add(group) | GroupMod::Modify(group) | GroupMod::AddOrModify(group) => {
            !group.selection.method.is_empty()
        }
        GroupMod::Delete(_) => false,
    }
}

/// The type of multipart replies.
pub(crate) fn multipart_reply_kind(version: OfVersion) -> u8 {
    if version == OpenFlow10 { kind10::STATS_REPLY } else { kind11::MULTIPART_REPLY }
}

/// Begins a message with its header. [`finish`] fills in the length.
pub(crate) fn begin(kind: u8, version: OfVersion, xid: u32) -> Encoder {
    let mut out = Encoder::default();
    out.u8(version_number(version));
    out.u8(kind);
    out.u16(0);
    out.u32(xid);
    out
}

/// Ends a message that [`begin`] began.
pub(crate) fn finish(mut out: Encoder) -> Vec<u8> {
    out.set_len(2, 0);
    out.into_bytes()
}

fn put_vendor(out: &mut Encoder, vendor: u32, subtype: u32) {
    out.u32(vendor);
    out.u32(subtype);
}

fn decode_body(
    header: MessageHeader,
    body: Input<'_>,
    encoding: Encoding,
) -> Result<OfMessage, ErrorCode> {
    let version = encoding.version;
    let (is_10, is_11) = (version == OpenFlow10, version >= OpenFlow11);
    if is_in_words(header.kind, version) && !body.len().is_multiple_of(8) {
        return Err(ErrorCode::BadLength);
    }
    let empty = |message| only(body, message);
    let sized = |size: usize| exactly(body, size);
    match header.kind {
        kind::HELLO => Ok(OfMessage::Hello(hello::decode(header, body))),
        kind::ERROR => {
            let version = version_of_number(header.version).unwrap_or(version);
            Ok(OfMessage::Error(ErrorMessage::decode(body, version)?))
        }
        kind::ECHO_REQUEST => Ok(OfMessage::EchoRequest(body.rest().to_vec())),
        kind::ECHO_REPLY => Ok(OfMessage::EchoReply(body.rest().to_vec())),
        kind::EXPERIMENTER => decode_experimenter(body, encoding),
        kind::FEATURES_REQUEST => empty(OfMessage::FeaturesRequest),
        kind::FEATURES_REPLY => {
            Ok(OfMessage::FeaturesReply(SwitchFeatures::decode(body, version)?))
        }
        kind::GET_CONFIG_REQUEST => empty(OfMessage::GetConfigRequest),
        kind::GET_CONFIG_REPLY => {
            Ok(OfMessage::GetConfigReply(SwitchConfig::decode(sized(4)?, version)?))
        }
        kind::SET_CONFIG => Ok(OfMessage::SetConfig(SwitchConfig::decode(sized(4)?, version)?)),
        kind::PACKET_IN => Ok(OfMessage::PacketIn(Box::new(PacketIn::decode(body, version)?))),
        kind::FLOW_REMOVED => {
            Ok(OfMessage::FlowRemoved(Box::new(FlowRemoved::decode(body, encoding)?)))
        }
        kind::PORT_STATUS => {
            Ok(OfMessage::PortStatus(Box::new(PortStatus::decode(body, version)?)))
        }
        kind::PACKET_OUT => Ok(OfMessage::PacketOut(Box::new(packet_out::decode(body, version)?))),
        kind::FLOW_MOD => Ok(OfMessage::FlowMod(Box::new(flow_mod::decode(body, encoding)?))),
        kind10::PORT_MOD if is_10 => Ok(OfMessage::PortMod(PortMod::decode(sized(24)?, version)?)),
        kind11::GROUP_MOD if is_11 => {
            Ok(OfMessage::GroupMod(group::decode_mod(body, version, version >= OpenFlow15)?))
        }
        kind11::METER_MOD if version >= OpenFlow13 => {
            Ok(OfMessage::MeterMod(meter::decode_mod(body)?))
        }
        kind11::PORT_MOD if is_11 => {
            let body = if version < OpenFlow14 { sized(32)? } else { body };
            Ok(OfMessage::PortMod(PortMod::decode(body, version)?))
        }
        kind11::TABLE_MOD if is_11 => {
            Ok(OfMessage::TableMod(table_mod::decode_mod(body, version)?))
        }
        kind10::QUEUE_GET_CONFIG_REQUEST if is_10 => {
            let of_port = port::decode(&mut sized(4)?, version, ErrorCode::QueuePort)?;
            // OpenFlow 1.0 cannot ask for the queues of every port.
            let is_port = of_port < OfPort::MAX || of_port == OfPort::LOCAL;
            is_port.then_some(OfMessage::QueueGetConfigRequest(of_port)).ok_or(ErrorCode::QueuePort)
        }
        kind11::QUEUE_GET_CONFIG_REQUEST if is_11 && version <= OpenFlow13 => {
            let of_port = port::decode(&mut sized(8)?, version, ErrorCode::BadOutPort)?;
            Ok(OfMessage::QueueGetConfigRequest(of_port))
        }
        kind10::QUEUE_GET_CONFIG_REPLY if is_10 => {
            Ok(OfMessage::QueueGetConfigReply(QueueConfig::decode(body, version)?))
        }
        kind11::QUEUE_GET_CONFIG_REPLY if is_11 && version <= OpenFlow13 => {
            Ok(OfMessage::QueueGetConfigReply(QueueConfig::decode(body, version)?))
        }
        kind10::STATS_REQUEST if is_10 => multipart_request(body, encoding),
        kind10::STATS_REPLY if is_10 => multipart_reply(body, encoding),
        kind11::MULTIPART_REQUEST if is_11 => multipart_request(body, encoding),
        kind11::MULTIPART_REPLY if is_11 => multipart_reply(body, encoding),
        kind10::BARRIER_REQUEST if is_10 => empty(OfMessage::BarrierRequest),
        kind10::BARRIER_REPLY if is_10 => empty(OfMessage::BarrierReply),
        kind11::BARRIER_REQUEST if is_11 => empty(OfMessage::BarrierRequest),
        kind11::BARRIER_REPLY if is_11 => empty(OfMessage::BarrierReply),
        kind11::ROLE_REQUEST if version >= OpenFlow12 => {
            Ok(OfMessage::RoleRequest(RoleMessage::decode(sized(16)?, false)?))
        }
        kind11::ROLE_REPLY if version >= OpenFlow12 => {
            Ok(OfMessage::RoleReply(RoleMessage::decode(sized(16)?, false)?))
        }
        kind11::GET_ASYNC_REQUEST if version >= OpenFlow13 => empty(OfMessage::GetAsyncRequest),
        kind11::GET_ASYNC_REPLY if version >= OpenFlow13 => {
            Ok(OfMessage::GetAsyncReply(match version {
                OpenFlow13 => AsyncMasks::decode_few(sized(24)?, version)?,
                _ => AsyncMasks::decode_list(body, version, true)?,
            }))
        }
        kind11::SET_ASYNC if version >= OpenFlow13 => {
            let masks = match version {
                OpenFlow13 => AsyncMasks::decode_few(sized(24)?, version)?,
                _ => AsyncMasks::decode_list(body, version, false)?,
            };
            Ok(OfMessage::SetAsync(masks, AsyncForm::Standard))
        }
        kind11::ROLE_STATUS if version >= OpenFlow14 => {
            Ok(OfMessage::RoleStatus(RoleStatus::decode(sized(16)?)?))
        }
        kind11::TABLE_STATUS if version >= OpenFlow14 => {
            Ok(OfMessage::TableStatus(TableStatus::decode(body)?))
        }
        kind11::REQUEST_FORWARD if version >= OpenFlow14 => {
            Ok(OfMessage::RequestForward(RequestForward::decode(body, encoding)?))
        }
        kind11::BUNDLE_CONTROL if version >= OpenFlow14 => {
            Ok(OfMessage::BundleControl(BundleControl::decode(body)?))
        }
        kind11::BUNDLE_ADD if version >= OpenFlow14 => decode_bundle_add(body, version),
        _ => Err(ErrorCode::BadType),
    }
}

/// Whether the length of a message has to be a multiple of 8 bytes. Open vSwitch checks it
/// in front of everything else.
fn is_in_words(kind: u8, version: OfVersion) -> bool {
    match kind {
        kind::FLOW_MOD => true,
        kind11::GROUP_MOD | kind11::METER_MOD => version > OpenFlow10,
        kind11::PORT_MOD | kind11::TABLE_MOD | kind11::SET_ASYNC | kind11::BUNDLE_CONTROL => {
            version >= OpenFlow14
        }
        _ => false,
    }
}

/// The body of a message, if the body has `size` bytes.
pub(crate) fn exactly(body: Input<'_>, size: usize) -> Result<Input<'_>, ErrorCode> {
    if body.len() == size { Ok(body) } else { Err(ErrorCode::BadLength) }
}

/// The message, if nothing is left of its body.
pub(crate) fn only(body: Input<'_>, message: OfMessage) -> Result<OfMessage, ErrorCode> {
    if body.is_empty() { Ok(message) } else { Err(ErrorCode::BadLength) }
}

fn multipart_request(body: Input<'_>, encoding: Encoding) -> Result<OfMessage, ErrorCode> {
    Ok(OfMessage::MultipartRequest(MultipartRequest::decode(body, encoding)?))
}

fn multipart_reply(body: Input<'_>, encoding: Encoding) -> Result<OfMessage, ErrorCode> {
    let (reply, has_more) = multipart::MultipartReply::decode(body, encoding)?;
    Ok(OfMessage::MultipartReply(reply, has_more))
}

fn decode_experimenter(mut body: Input<'_>, encoding: Encoding) -> Result<OfMessage, ErrorCode> {
    let (vendor, subtype) = (body.u32()?, body.u32()?);
    if vendor != VENDOR_NICIRA && vendor != ONF {
        return Err(ErrorCode::BadVendor);
    }
    let version = encoding.version;
    match (vendor, subtype) {
        (VENDOR_NICIRA, nxt::FLOW_MOD | nxt::GROUP_MOD) if !body.len().is_multiple_of(8) => {
            Err(ErrorCode::BadLength)
        }
        (VENDOR_NICIRA, nxt::FLOW_MOD) => {
            Ok(OfMessage::FlowMod(Box::new(flow_mod::decode_nxt(body, encoding)?)))
        }
        (VENDOR_NICIRA, nxt::GROUP_MOD) if version < OpenFlow15 => {
            Ok(OfMessage::GroupMod(group::decode_mod(body, version, true)?))
        }
        (VENDOR_NICIRA, nxt::ROLE_REQUEST) => {
            Ok(OfMessage::RoleRequest(RoleMessage::decode(exactly(body, 4)?, true)?))
        }
        (VENDOR_NICIRA, nxt::ROLE_REPLY) => {
            Ok(OfMessage::RoleReply(RoleMessage::decode(exactly(body, 4)?, true)?))
        }
        (VENDOR_NICIRA, nxt::SET_FLOW_FORMAT) if version == OpenFlow10 => {
            match exactly(body, 4)?.u32()? {
                FORMAT_OPENFLOW10 => Ok(OfMessage::SetFlowFormat { nxm: false }),
                FORMAT_NXM => Ok(OfMessage::SetFlowFormat { nxm: true }),
                _ => Err(ErrorCode::RequestPermission),
            }
        }
        (VENDOR_NICIRA, nxt::FLOW_MOD_TABLE_ID) => {
            Ok(OfMessage::FlowModTableId { is_on: exactly(body, 8)?.u8()? != 0 })
        }
        (ONF, onft::BUNDLE_CONTROL) if version == OpenFlow13 => {
            Ok(OfMessage::BundleControl(BundleControl::decode(body)?))
        }
        (ONF, onft::BUNDLE_ADD) if version == OpenFlow13 => decode_bundle_add(body, version),
        ids => extension::decode(ids, body, encoding),
    }
}

/// Whether a message, with its header, is a group mod or a meter mod.
pub(crate) fn is_group_or_meter_mod(bytes: &[u8], version: OfVersion) -> bool {
    match bytes.get(1) {
        Some(&kind::EXPERIMENTER) => {
            let mut body = Input::new(bytes, ErrorCode::BadLength);
            let ids = body.skip(HEADER_SIZE).and_then(|()| Ok((body.u32()?, body.u32()?)));
            ids == Ok((VENDOR_NICIRA, nxt::GROUP_MOD))
        }
        Some(&kind11::GROUP_MOD | &kind11::METER_MOD) => version > OpenFlow10,
        _ => false,
    }
}

fn decode_bundle_add(mut body: Input<'_>, version: OfVersion) -> Result<OfMessage, ErrorCode> {
    let id = body.u32()?;
    body.skip(2)?;
    let flags = body.u16()?;
    // A property may stand behind the message; the length of the message says where it ends.
    let header = MessageHeader::read(body.rest()).ok_or(ErrorCode::BundleBadLength)?;
    if header.version != version_number(version) {
        return Err(ErrorCode::BundleVersion);
    }
    let len = usize::from(header.len);
    if len < HEADER_SIZE || len > body.len() {
        return Err(ErrorCode::BundleBadLength);
    }
    Ok(OfMessage::BundleAdd { id, flags, message: body.take(len)?.to_vec() })
}

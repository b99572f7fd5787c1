//! What the switch says on its own, and requests about that, where it is an experimenter's message: Nicira's in
//! some forms or up to OpenFlow 1.2, and the ONF's in 1.3.

use crate::async_config::{AsyncForm, AsyncMasks};
use crate::ct_flush::CtFlush;
use crate::encoding::Encoding;
use crate::error::ErrorCode;
use crate::flow_removed::FlowRemoved;
use crate::input::{Input, ONF, VENDOR_NICIRA};
use crate::message::{OfMessage, exactly, only};
use crate::packet_in::{PacketIn, PacketInForm};
use crate::status::{RequestForward, RoleStatus};
use crate::tlv_table::{self, TlvTable};
use flow::types::OfVersion::{OpenFlow13, OpenFlow14};

/// Subtypes of Nicira's messages (`NXT_*`).
mod nxt {
    pub(super) const FLOW_REMOVED: u32 = 14;
    pub(super) const SET_PACKET_IN_FORMAT: u32 = 16;
    pub(super) const PACKET_IN: u32 = 17;
    pub(super) const FLOW_AGE: u32 = 18;
    pub(super) const SET_ASYNC_CONFIG: u32 = 19;
    pub(super) const SET_CONTROLLER_ID: u32 = 20;
    pub(super) const FLOW_MONITOR_CANCEL: u32 = 21;
    pub(super) const FLOW_MONITOR_PAUSED: u32 = 22;
    pub(super) const FLOW_MONITOR_RESUMED: u32 = 23;
    pub(super) const TLV_TABLE_MOD: u32 = 24;
    pub(super) const TLV_TABLE_REQUEST: u32 = 25;
    pub(super) const TLV_TABLE_REPLY: u32 = 26;
    pub(super) const SET_ASYNC_CONFIG2: u32 = 27;
    pub(super) const RESUME: u32 = 28;
    pub(super) const PACKET_IN2: u32 = 30;
    pub(super) const CT_FLUSH_ZONE: u32 = 29;
    pub(super) const CT_FLUSH: u32 = 32;
    pub(super) const REQUEST_FORWARD: u32 = 132;
}

/// Subtypes of the ONF's messages for OpenFlow 1.3 (`ONFT_*`).
mod onft {
    pub(super) const FLOW_MONITOR_CANCEL: u32 = 1870;
    pub(super) const FLOW_MONITOR_PAUSED: u32 = 1871;
    pub(super) const FLOW_MONITOR_RESUMED: u32 = 1872;
    pub(super) const ROLE_STATUS: u32 = 1911;
    pub(super) const REQUEST_FORWARD: u32 = 2350;
}

/// The experimenter and the subtype of a message that this form has as an extension; `None` for a message that
/// is not this module's, and for one that is standard in this form.
pub(crate) fn ids(message: &OfMessage, encoding: Encoding) -> Option<(u32, u32)> {
    let version = encoding.version;
    let by_version = |nicira, onf| match version < OpenFlow13 {
        true => Some((VENDOR_NICIRA, nicira)),
        false => Some((ONF, onf)),
    };
    match message {
        OfMessage::PacketIn(_) => match encoding.packet_in {
            PacketInForm::Standard => None,
            PacketInForm::Nxt => Some((VENDOR_NICIRA, nxt::PACKET_IN)),
            PacketInForm::Nxt2 => Some((VENDOR_NICIRA, nxt::PACKET_IN2)),
        },
        OfMessage::Resume(_) => Some((VENDOR_NICIRA, nxt::RESUME)),
        OfMessage::SetPacketInFormat(_) => Some((VENDOR_NICIRA, nxt::SET_PACKET_IN_FORMAT)),
        OfMessage::SetControllerId(_) => Some((VENDOR_NICIRA, nxt::SET_CONTROLLER_ID)),
        OfMessage::FlowRemoved(_) if encoding.is_10() && encoding.nxm => {
            Some((VENDOR_NICIRA, nxt::FLOW_REMOVED))
        }
        OfMessage::RoleStatus(_) if version < OpenFlow14 => Some((ONF, onft::ROLE_STATUS)),
        OfMessage::RequestForward(_) if version < OpenFlow14 => {
            by_version(nxt::REQUEST_FORWARD, onft::REQUEST_FORWARD)
        }
        OfMessage::SetAsync(_, AsyncForm::NiciraList) => {
            Some((VENDOR_NICIRA, nxt::SET_ASYNC_CONFIG2))
        }
        OfMessage::SetAsync(_, form) if *form == AsyncForm::Nicira || version < OpenFlow13 => {
            Some((VENDOR_NICIRA, nxt::SET_ASYNC_CONFIG))
        }
        OfMessage::FlowAge => Some((VENDOR_NICIRA, nxt::FLOW_AGE)),
        OfMessage::TlvTableMod(_) => Some((VENDOR_NICIRA, nxt::TLV_TABLE_MOD)),
        OfMessage::TlvTableRequest => Some((VENDOR_NICIRA, nxt::TLV_TABLE_REQUEST)),
        OfMessage::TlvTableReply(_) => Some((VENDOR_NICIRA, nxt::TLV_TABLE_REPLY)),
        OfMessage::CtFlush(CtFlush::Zone(_)) => Some((VENDOR_NICIRA, nxt::CT_FLUSH_ZONE)),
        OfMessage::CtFlush(CtFlush::Matching { .. }) => Some((VENDOR_NICIRA, nxt::CT_FLUSH)),
        OfMessage::FlowMonitorCancel(_) => {
            by_version(nxt::FLOW_MONITOR_CANCEL, onft::FLOW_MONITOR_CANCEL)
        }
        OfMessage::FlowMonitorPaused => {
            by_version(nxt::FLOW_MONITOR_PAUSED, onft::FLOW_MONITOR_PAUSED)
        }
        OfMessage::FlowMonitorResumed => {
            by_version(nxt::FLOW_MONITOR_RESUMED, onft::FLOW_MONITOR_RESUMED)
        }
        _ => None,
    }
}

/// Reads a message behind its experimenter and its subtype.
pub(crate) fn decode(
    (vendor, subtype): (u32, u32),
    body: Input<'_>,
    encoding: Encoding,
) -> Result<OfMessage, ErrorCode> {
    let version = encoding.version;
    let (is_before, is_13) = (version < OpenFlow13, version == OpenFlow13);
    Ok(match (vendor, subtype) {
        (VENDOR_NICIRA, nxt::FLOW_REMOVED) => {
            OfMessage::FlowRemoved(Box::new(FlowRemoved::decode_nxt(body)?))
        }
        (VENDOR_NICIRA, nxt::PACKET_IN) => {
            OfMessage::PacketIn(Box::new(PacketIn::decode_nxt(body)?))
        }
        (VENDOR_NICIRA, nxt::PACKET_IN2) => {
            OfMessage::PacketIn(Box::new(PacketIn::decode_properties(body)?))
        }
        (VENDOR_NICIRA, nxt::RESUME) => {
            OfMessage::Resume(Box::new(PacketIn::decode_properties(body)?))
        }
        (VENDOR_NICIRA, nxt::SET_PACKET_IN_FORMAT) => {
            OfMessage::SetPacketInFormat(PacketInForm::decode(exactly(body, 4)?)?)
        }
        (VENDOR_NICIRA, nxt::SET_CONTROLLER_ID) => {
            let mut body = exactly(body, 8)?;
            if body.take(6)?.iter().any(|byte| *byte != 0) {
                return Err(ErrorCode::MustBeZero);
            }
            OfMessage::SetControllerId(body.u16()?)
        }
        (VENDOR_NICIRA, nxt::SET_ASYNC_CONFIG) => {
            let masks = AsyncMasks::decode_few(exactly(body, 24)?, version)?;
            OfMessage::SetAsync(masks, AsyncForm::Nicira)
        }
        (VENDOR_NICIRA, nxt::SET_ASYNC_CONFIG2) if version < OpenFlow14 => {
            let masks = AsyncMasks::decode_list(body, version, false)?;
            OfMessage::SetAsync(masks, AsyncForm::NiciraList)
        }
        (VENDOR_NICIRA, nxt::FLOW_AGE) => only(body, OfMessage::FlowAge)?,
        (VENDOR_NICIRA, nxt::TLV_TABLE_MOD) => OfMessage::TlvTableMod(tlv_table::decode_mod(body)?),
        (VENDOR_NICIRA, nxt::TLV_TABLE_REQUEST) => only(body, OfMessage::TlvTableRequest)?,
        (VENDOR_NICIRA, nxt::TLV_TABLE_REPLY) => OfMessage::TlvTableReply(TlvTable::decode(body)?),
        (VENDOR_NICIRA, nxt::CT_FLUSH_ZONE) => OfMessage::CtFlush(CtFlush::decode_zone(body)?),
        (VENDOR_NICIRA, nxt::CT_FLUSH) => OfMessage::CtFlush(CtFlush::decode_matching(body)?),
        (VENDOR_NICIRA, nxt::REQUEST_FORWARD) if is_before => {
            OfMessage::RequestForward(RequestForward::decode(body, encoding)?)
        }
        (VENDOR_NICIRA, nxt::FLOW_MONITOR_CANCEL) if is_before => {
            OfMessage::FlowMonitorCancel(exactly(body, 4)?.u32()?)
        }
        (VENDOR_NICIRA, nxt::FLOW_MONITOR_PAUSED) if is_before => OfMessage::FlowMonitorPaused,
        (VENDOR_NICIRA, nxt::FLOW_MONITOR_RESUMED) if is_before => OfMessage::FlowMonitorResumed,
        (ONF, onft::FLOW_MONITOR_CANCEL) if is_13 => {
            OfMessage::FlowMonitorCancel(exactly(body, 4)?.u32()?)
        }
        (ONF, onft::FLOW_MONITOR_PAUSED) if is_13 => OfMessage::FlowMonitorPaused,
        (ONF, onft::FLOW_MONITOR_RESUMED) if is_13 => OfMessage::FlowMonitorResumed,
        (ONF, onft::ROLE_STATUS) if is_13 => OfMessage::RoleStatus(RoleStatus::decode(body)?),
        (ONF, onft::REQUEST_FORWARD) if is_13 => {
            OfMessage::RequestForward(RequestForward::decode(body, encoding)?)
        }
        _ => return Err(ErrorCode::BadSubtype),
    })
}

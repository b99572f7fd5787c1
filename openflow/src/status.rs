//! What the switch says of ports, of roles, of tables, and of the requests of other controllers:
//! `OFPT_PORT_STATUS` (OpenFlow 1.3.5 §7.4.3), `OFPT_ROLE_STATUS` (1.4.0 §7.4.4), `OFPT_TABLE_STATUS` (1.4.0
//! §7.4.5) and `OFPT_REQUESTFORWARD` (1.4.0 §7.4.6).

use crate::encoding::Encoding;
use crate::error::ErrorCode;
use crate::header::{HEADER_SIZE, MessageHeader};
use crate::input::Input;
use crate::message::{OfMessage, is_group_or_meter_mod};
use crate::output::Encoder;
use crate::ports::PortDesc;
use crate::switch::ControllerRole;
use crate::table_mod::TableDesc;
use flow::types::OfVersion;

/// What happened to a port (`OFPPR_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortReason {
    /// The port is new.
    Add,
    /// The port is gone.
    Delete,
    /// The link, the address or the configuration of the port has changed.
    Modify,
}

/// A port that came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// What happened to the port.
    pub reason: PortReason,
    /// The port as it is now, or as it was before it was removed.
    pub port: PortDesc,
}

impl PortStatus {
    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        out.u8(self.reason as u8);
        out.zeros(7);
        self.port.put(out, version);
    }

    pub(crate) fn decode(mut input: Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let reason = match input.u8()? {
            0 => PortReason::Add,
            1 => PortReason::Delete,
            2 => PortReason::Modify,
            _ => return Err(ErrorCode::BadLength),
        };
        input.skip(7)?;
        Ok(Self { reason, port: PortDesc::decode(&mut input, version)? })
    }
}

/// Why a controller has another role (`OFPCRR_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleReason {
    /// Another controller became the master.
    MasterRequest,
    /// The configuration of the switch says so.
    Config,
    /// An experimenter's message says so.
    Experimenter,
}

/// Tells a controller that its role has changed without its request. Versions before OpenFlow
/// 1.3 have no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleStatus {
    /// The new role.
    pub role: ControllerRole,
    /// Why the controller has another role.
    pub reason: RoleReason,
    /// The newest generation id of an election; all ones if there was no election.
    pub generation: u64,
}

impl RoleStatus {
    pub(crate) fn put(self, out: &mut Encoder) {
        out.u32(self.role.number());
        out.u8(self.reason as u8);
        out.zeros(3);
        out.u64(self.generation);
    }

    pub(crate) fn decode(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let role = ControllerRole::of_number(input.u32()?)?;
        let reason = match input.u8()? {
            0 => RoleReason::MasterRequest,
            1 => RoleReason::Config,
            2 => RoleReason::Experimenter,
            _ => return Err(ErrorCode::BadRole),
        };
        input.skip(3)?;
        Ok(Self { role, reason, generation: input.u64()? })
    }
}

/// Why a controller hears of a table (`OFPTR_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableReason {
    /// The free share of the table has fallen below the lower threshold.
    VacancyDown = 3,
    /// The free share of the table has risen above the upper threshold.
    VacancyUp = 4,
}

/// Tells that a table has become nearly full, or has room again. Versions before OpenFlow
/// 1.4 have no such message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStatus {
    /// Which threshold was crossed.
    pub reason: TableReason,
    /// The table, with its thresholds and the vacancy that has crossed one.
    pub table: TableDesc,
}

impl TableStatus {
    pub(crate) fn put(&self, out: &mut Encoder) {
        out.u8(self.reason as u8);
        out.zeros(7);
        self.table.put(out);
    }

    pub(crate) fn decode(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let reason = input.u8()?;
        input.skip(7)?;
        let table = TableDesc::decode(&mut input)?;
        let reason = match reason {
            3 => TableReason::VacancyDown,
            4 => TableReason::VacancyUp,
            _ => return Err(ErrorCode::BadPropertyValue),
        };
        Ok(Self { reason, table })
    }
}

/// A request of another controller that was carried out: a group mod or a meter mod.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestForward {
    /// The transaction id of the request.
    pub xid: u32,
    /// The request as the other controller sent it: [`OfMessage::GroupMod`] or a meter mod.
    pub request: Box<OfMessage>,
}

impl RequestForward {
    pub(crate) fn put(&self, out: &mut Encoder, encoding: Encoding) {
        out.bytes(&self.request.encode(encoding, self.xid));
    }

    pub(crate) fn decode(input: Input<'_>, encoding: Encoding) -> Result<Self, ErrorCode> {
        let header = MessageHeader::read(input.rest()).ok_or(ErrorCode::BundleBadLength)?;
        let len = usize::from(header.len);
        let whole = input.rest().get(..len).filter(|whole| whole.len() >= HEADER_SIZE);
        let whole = whole.ok_or(ErrorCode::BundleBadLength)?;
        // Checked before decoding, so that messages in messages in messages use no stack.
        if !is_group_or_meter_mod(whole, encoding.version) {
            return Err(ErrorCode::BadType);
        }
        let request = OfMessage::decode(whole, encoding).map_err(|error| error.0)?;
        Ok(Self { xid: header.xid, request: Box::new(request) })
    }
}

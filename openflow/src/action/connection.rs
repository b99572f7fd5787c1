//! The action that looks up connections (`NXAST_CT`), behind its subtype.
//!
//! ```text
//! bytes 10-11  flags             16-17  zone, or the bits of the field that holds the zone
//! bytes 12-15  header of the field that holds the zone, or 0      18  table, or 255 for none
//! bytes 19-21  zero              22-23  port of a helper of a protocol, or 0
//! bytes 24-    translation of addresses (`NXAST_NAT`), if any, and actions on the connection
//! ```

use super::decode::{changes_connection, packed_subfield};
use super::encode::{offset_and_len, put_list};
use super::nat;
use crate::error::ErrorCode;
use crate::input::Input;
use crate::matching::field::{self, FieldHeader};
use crate::output::Encoder;
use OfVersion::OpenFlow10;
use flow::action::Action;
use flow::ct::{Ct, CtAlg, CtZone};
use flow::types::{OfVersion, TableId};

/// `NX_CT_F_COMMIT`.
const COMMIT: u16 = 1;
/// `NX_CT_F_FORCE`.
const FORCE: u16 = 2;
/// `NX_CT_RECIRC_NONE`: no table goes on with the packet.
const NO_TABLE: u8 = 0xff;

/// Writes the action.
pub(super) fn put(out: &mut Encoder, ct: &Ct, version: OfVersion) {
    let flag = |is_set: bool, flag: u16| if is_set { flag } else { 0 };
    out.u16(flag(ct.commit, COMMIT) | flag(ct.force, FORCE));
    match ct.zone {
        CtZone::Number(zone) => {
            out.u32(0);
            out.u16(zone);
        }
        CtZone::Field(sub) => {
            field::put_header(out, sub.field, OpenFlow10, false);
            out.u16(offset_and_len(sub));
        }
    }
    out.u8(ct.table.map_or(NO_TABLE, TableId::get));
    out.zeros(3);
    out.u16(ct.alg.map_or(0, CtAlg::number));
    if let Some(nat) = &ct.nat {
        nat::put(out, nat);
    }
    put_list(out, &ct.exec, version);
}

/// Reads the action up to the actions on the connection, and returns what follows. As in Open vSwitch, flags
/// that are not known mean nothing.
pub(super) fn decode<'a>(input: &mut Input<'a>) -> Result<(Ct, Input<'a>), ErrorCode> {
    let flags = input.u16()?;
    let (commit, force) = (flags & COMMIT != 0, flags & FORCE != 0);
    if force && !commit {
        return Err(ErrorCode::BadArgument);
    }
    let mut ahead = *input;
    let zone = if ahead.u32()? == 0 {
        input.skip(4)?;
        CtZone::Number(input.u16()?)
    } else {
        let header = FieldHeader::decode_short(input)?;
        match packed_subfield(header, input.u16()?)? {
            sub if sub.n_bits == 16 => CtZone::Field(sub),
            _ => return Err(ErrorCode::BadSetLength),
        }
    };
    let table = match input.u8()? {
        NO_TABLE => None,
        n => Some(TableId::new(n).ok_or(ErrorCode::BadArgument)?),
    };
    input.skip(3)?;
    let alg = match input.u16()? {
        0 => None,
        number => {
            let alg = CtAlg::ALL.into_iter().find(|alg| alg.number() == number);
            Some(alg.ok_or(ErrorCode::BadArgument)?)
        }
    };
    Ok((Ct { commit, force, table, zone, nat: None, exec: Vec::new(), alg }, *input))
}

/// The action with the actions that were read behind `head`, which change a connection that is committed.
pub(super) fn with_exec(head: Ct, exec: Vec<Action>) -> Result<Ct, ErrorCode> {
    // Like Open vSwitch, this refuses changes of the packet before it reads what follows `ct`.
    let is_sound = exec.iter().all(changes_connection);
    let needs_commit = !exec.is_empty() || head.nat.is_some_and(|nat| nat.range().is_some());
    match is_sound && (head.commit || !needs_commit) {
        true => Ok(Ct { exec, ..head }),
        false => Err(ErrorCode::BadArgument),
    }
}

//! Matches in messages: the structures of OpenFlow 1.0 and 1.1, and lists of fields (NXM, OXM).

mod builder;
pub(crate) mod extensible;
pub(crate) mod field;
mod standard;

pub(crate) use builder::is_port;
pub(crate) use extensible::CookieFilter;

use crate::error::ErrorCode;
use crate::input::Input;
use crate::output::Encoder;
use flow::Match;
use flow::types::OfVersion;

/// The type of the match of OpenFlow 1.1 (`OFPMT_STANDARD`).
const STANDARD: u16 = 0;
/// The type of extensible matches (`OFPMT_OXM`).
const OXM: u16 = 1;
/// Size in bytes of the type and the length of a match.
const HEADER_SIZE: usize = 4;

/// Whether the match of OpenFlow 1.0 that comes next leaves out no field and no bit.
pub(crate) fn is_exact_10(input: Input<'_>) -> bool {
    standard::is_exact_10(input)
}

/// Reads the match of OpenFlow 1.0.
pub(crate) fn decode_10(input: &mut Input<'_>) -> Result<Match, ErrorCode> {
    standard::decode_10(input)
}

/// Writes the match of OpenFlow 1.0.
pub(crate) fn put_10(out: &mut Encoder, matching: &Match) {
    standard::put_10(out, matching);
}

/// Reads a match of OpenFlow 1.1 or later, with its type and its length.
pub(crate) fn decode_11(input: &mut Input<'_>) -> Result<Match, ErrorCode> {
    let mut matching = Match::any();
    decode_11_into(input, &mut matching)?;
    Ok(matching)
}

/// As [`decode_11`], into a match that is there already.
pub(crate) fn decode_11_into(input: &mut Input<'_>, matching: &mut Match) -> Result<(), ErrorCode> {
    let mut header = input.part(HEADER_SIZE.min(input.len()), ErrorCode::BadMatchLength)?;
    let (kind, len) = (header.u16()?, usize::from(header.u16()?));
    match kind {
        STANDARD if len == standard::SIZE_11 && input.len() >= len - HEADER_SIZE => {
            *matching = standard::decode_11(input)?;
            Ok(())
        }
        STANDARD => Err(ErrorCode::BadMatchLength),
        OXM => {
            let size = len.checked_sub(HEADER_SIZE).ok_or(ErrorCode::BadMatchLength)?;
            if len.next_multiple_of(8) - HEADER_SIZE > input.len() {
                return Err(ErrorCode::BadMatchLength);
            }
            let fields = input.part(size, ErrorCode::BadMatchLength)?;
            input.skip_padding(len);
            let cookie = extensible::decode_into(fields, matching)?;
            // Only Nicira's messages have the cookie among the fields.
            if cookie.is_some() { Err(ErrorCode::BadField) } else { Ok(()) }
        }
        _ => Err(ErrorCode::BadMatchType),
    }
}

/// Reads the match of a packet-out with its type and its length, as [`decode_11`], but ignores fields that are
/// not known, and what fields need.
pub(crate) fn decode_of_packet_out(input: &mut Input<'_>) -> Result<Match, ErrorCode> {
    let mut header = input.part(HEADER_SIZE.min(input.len()), ErrorCode::BadMatchLength)?;
    let (kind, len) = (header.u16()?, usize::from(header.u16()?));
    let size = len.checked_sub(HEADER_SIZE).ok_or(ErrorCode::BadMatchLength)?;
    if kind != OXM {
        return Err(ErrorCode::BadMatchType);
    }
    if len.next_multiple_of(8) - HEADER_SIZE > input.len() {
        return Err(ErrorCode::BadMatchLength);
    }
    let fields = input.part(size, ErrorCode::BadMatchLength)?;
    input.skip_padding(len);
    extensible::decode_of_packet_out(fields)
}

/// Writes the match of a request of OpenFlow 1.1 or later.
pub(crate) fn put_11(out: &mut Encoder, matching: &Match, version: OfVersion) {
    if version > OfVersion::OpenFlow11 {
        return put_oxm(out, matching, version);
    }
    out.u16(STANDARD);
    out.u16(standard::SIZE_11 as u16);
    standard::put_11(out, matching);
}

/// Writes a list of fields with its type and its length, padded to a multiple of 8 bytes.
pub(crate) fn put_oxm(out: &mut Encoder, matching: &Match, version: OfVersion) {
    let start = out.len();
    out.u16(OXM);
    out.u16(0);
    extensible::put(out, matching, version, None);
    out.set_len(start + 2, start);
    out.pad(start);
}

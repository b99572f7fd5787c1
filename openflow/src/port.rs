//! Port numbers in messages: 16 bits in OpenFlow 1.0, and 32 bits from 1.1 on (OpenFlow 1.3.5 §7.2.1).

use crate::error::ErrorCode;
use crate::input::Input;
use crate::matching::is_port;
use crate::output::Encoder;
use flow::types::{OfPort, OfVersion};

/// The port that 32 bits name. Numbers between 0xff00 and 0xfffffeff name none: then the error is `bad`.
pub(crate) fn decode_32(bits: u32, bad: ErrorCode) -> Result<OfPort, ErrorCode> {
    if is_port(bits.into()) { Ok(OfPort(bits as u16)) } else { Err(bad) }
}

/// The 32 bits that name a port: reserved ports have 0xffff in the upper half.
pub(crate) fn encode_32(port: OfPort) -> u32 {
    let bits = u32::from(port.0);
    if port >= OfPort::MAX { bits | 0xffff_0000 } else { bits }
}

/// Reads a port in the width of `version`.
pub(crate) fn decode(
    input: &mut Input<'_>,
    version: OfVersion,
    bad: ErrorCode,
) -> Result<OfPort, ErrorCode> {
    match version {
        OfVersion::OpenFlow10 => Ok(OfPort(input.u16()?)),
        _ => decode_32(input.u32()?, bad),
    }
}

/// Writes a port in the width of `version`.
pub(crate) fn put(out: &mut Encoder, port: OfPort, version: OfVersion) {
    match version {
        OfVersion::OpenFlow10 => out.u16(port.0),
        _ => out.u32(encode_32(port)),
    }
}

//! Nicira's requests to forget connections (`NXT_CT_FLUSH_ZONE`, `NXT_CT_FLUSH`).

use crate::error::ErrorCode;
use crate::group::decode_property;
use crate::input::Input;
use crate::output::Encoder;

/// A request to forget the connections of one zone (`NXT_CT_FLUSH_ZONE`), or those that properties describe
/// (`NXT_CT_FLUSH`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CtFlush {
    /// Every connection of a zone.
    Zone(u16),
    /// The connections that agree with all of this.
    Matching {
        /// The IP protocol; 0 for every one.
        protocol: u8,
        /// The properties with their values, in the order of the message: tuples of addresses and ports, a zone.
        properties: Vec<(u16, Vec<u8>)>,
    },
}

/// The types of properties (`NXT_CT_*`): the tuple of the first direction, that of replies, and the zone.
const PROPERTIES: std::ops::RangeInclusive<u16> = 0..=2;

impl CtFlush {
    pub(crate) fn put(&self, out: &mut Encoder) {
        match self {
            Self::Zone(zone) => {
                out.zeros(6);
                out.u16(*zone);
            }
            Self::Matching { protocol, properties } => {
                out.u8(*protocol);
                out.zeros(7);
                for (kind, value) in properties {
                    let start = out.len();
                    out.u16(*kind);
                    out.u16((4 + value.len()) as u16);
                    out.bytes(value);
                    out.pad(start);
                }
            }
        }
    }

    pub(crate) fn decode_zone(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let zeros: [u8; 6] = input.array()?;
        let zone = input.u16()?;
        match (zeros == [0; 6], input.is_empty()) {
            (_, false) => Err(ErrorCode::BadLength),
            (false, _) => Err(ErrorCode::MustBeZero),
            (true, true) => Ok(Self::Zone(zone)),
        }
    }

    pub(crate) fn decode_matching(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let protocol = input.u8()?;
        let zeros: [u8; 7] = input.array()?;
        if zeros != [0; 7] {
            return Err(ErrorCode::MustBeZero);
        }
        let mut properties = Vec::new();
        while !input.is_empty() {
            let (kind, value) = decode_property(&mut input)?;
            if !PROPERTIES.contains(&kind) {
                return Err(ErrorCode::BadProperty);
            }
            properties.push((kind, value.rest().to_vec()));
        }
        Ok(Self::Matching { protocol, properties })
    }
}

//! Parts of messages on their own: lists of actions and extensible matches, as tools take them apart.

use crate::action;
use crate::error::ErrorCode;
use crate::input::Input;
use crate::matching::extensible;
use crate::matching::field::FieldHeader;
use crate::output::Encoder;
use flow::Match;
use flow::action::Action;
use flow::types::{Cookie, OfVersion};

/// Reads a list of actions of `version`.
///
/// # Errors
/// The error that a switch would send.
pub fn decode_actions(bytes: &[u8], version: OfVersion) -> Result<Vec<Action>, ErrorCode> {
    // Every action has a multiple of eight bytes.
    if !bytes.len().is_multiple_of(8) {
        return Err(ErrorCode::BadLength);
    }
    action::decode_list(Input::new(bytes, ErrorCode::BadActionLength), version)
}

/// Reads the fields of an extensible match, without padding: the match, and the value and the mask of the
/// cookie that Nicira's messages have among the fields.
///
/// # Errors
/// The error that a switch would send.
pub fn decode_match(bytes: &[u8]) -> Result<(Match, Option<(Cookie, Cookie)>), ErrorCode> {
    extensible::decode(Input::new(bytes, ErrorCode::BadMatchLength))
}

/// Writes the fields of an extensible match, without padding.
/// [`OfVersion::OpenFlow10`] stands for Nicira's form.
pub fn encode_match(
    matching: &Match,
    version: OfVersion,
    cookie: Option<(Cookie, Cookie)>,
) -> Vec<u8> {
    let mut out = Encoder::default();
    extensible::put(&mut out, matching, version, cookie);
    out.into_bytes()
}

/// A field of an extensible match, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchField {
    /// The class of the field (`oxm_class`).
    pub class: u16,
    /// The number of the field in the class.
    pub number: u8,
    /// The value as it stands in the message, in network byte order.
    pub value: Vec<u8>,
    /// The mask; `None` if the field has none.
    pub mask: Option<Vec<u8>>,
}

/// The fields of an extensible match in their order, whether the crate knows them or not.
///
/// # Errors
/// A field ends behind the end of the match.
pub fn match_fields(bytes: &[u8]) -> Result<Vec<MatchField>, ErrorCode> {
    let mut input = Input::new(bytes, ErrorCode::BadMatchLength);
    let mut fields = Vec::new();
    while !input.is_empty() {
        let FieldHeader { class, number, has_mask, size, .. } = FieldHeader::decode(&mut input)?;
        let mut value = input.take(size)?.to_vec();
        let mask = has_mask.then(|| value.split_off(size / 2));
        fields.push(MatchField { class, number, value, mask });
    }
    Ok(fields)
}

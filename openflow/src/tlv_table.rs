//! The table that says which Geneve options are fields of tunnels (`NXT_TLV_TABLE_MOD`, `NXT_TLV_TABLE_REPLY`).

use crate::error::ErrorCode;
use crate::input::Input;
use crate::output::Encoder;
use flow::tlv_map::{TlvMapping, TlvMod};

/// What a `NXT_TLV_TABLE_MOD` does with its mappings (`NXTTMC_*`).
mod command {
    pub(super) const ADD: u16 = 0;
    pub(super) const DELETE: u16 = 1;
    pub(super) const CLEAR: u16 = 2;
}

/// The size of a mapping in bytes.
const MAPPING_SIZE: usize = 8;

/// The table as a switch answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlvTable {
    /// How many bytes all options together may have.
    pub max_space: u32,
    /// How many fields there are.
    pub max_fields: u16,
    /// The mappings, in the order of their fields.
    pub mappings: Vec<TlvMapping>,
}

fn put_mapping(out: &mut Encoder, mapping: &TlvMapping) {
    out.u16(mapping.class);
    out.u8(mapping.kind);
    out.u8(mapping.len);
    out.u16(mapping.field.into());
    out.zeros(2);
}

fn decode_mappings(mut input: Input<'_>) -> Result<Vec<TlvMapping>, ErrorCode> {
    if !input.len().is_multiple_of(MAPPING_SIZE) {
        return Err(ErrorCode::BadLength);
    }
    let mut mappings = Vec::with_capacity(input.len() / MAPPING_SIZE);
    while !input.is_empty() {
        let (class, kind, len) = (input.u16()?, input.u8()?, input.u8()?);
        if !len.is_multiple_of(4) || len > TlvMapping::MAX_LEN {
            return Err(ErrorCode::TlvLength);
        }
        let field = u8::try_from(input.u16()?).ok().filter(|field| *field < TlvMapping::FIELDS);
        input.skip(2)?;
        mappings.push(TlvMapping { class, kind, len, field: field.ok_or(ErrorCode::TlvField)? });
    }
    Ok(mappings)
}

pub(crate) fn put_mod(out: &mut Encoder, tlv_mod: &TlvMod) {
    let (number, mappings) = match tlv_mod {
        TlvMod::Add(mappings) => (command::ADD, &mappings[..]),
        TlvMod::Delete(mappings) => (command::DELETE, &mappings[..]),
        TlvMod::Clear => (command::CLEAR, &[][..]),
    };
    out.u16(number);
    out.zeros(6);
    mappings.iter().for_each(|mapping| put_mapping(out, mapping));
}

pub(crate) fn decode_mod(mut input: Input<'_>) -> Result<TlvMod, ErrorCode> {
    let number = input.u16()?;
    input.skip(6)?;
    if !input.len().is_multiple_of(MAPPING_SIZE) {
        return Err(ErrorCode::BadLength);
    }
    match number {
        command::ADD => Ok(TlvMod::Add(decode_mappings(input)?)),
        command::DELETE => Ok(TlvMod::Delete(decode_mappings(input)?)),
        command::CLEAR => Ok(TlvMod::Clear),
        _ => Err(ErrorCode::TlvCommand),
    }
}

impl TlvTable {
    pub(crate) fn put(&self, out: &mut Encoder) {
        out.u32(self.max_space);
        out.u16(self.max_fields);
        out.zeros(10);
        self.mappings.iter().for_each(|mapping| put_mapping(out, mapping));
    }

    pub(crate) fn decode(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let (max_space, max_fields) = (input.u32()?, input.u16()?);
        input.skip(10)?;
        Ok(Self { max_space, max_fields, mappings: decode_mappings(input)? })
    }
}

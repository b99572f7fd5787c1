//! What tables can do (`OFPMP_TABLE_FEATURES`, OpenFlow 1.3.5 §7.3.5.5).
//!
//! A request without tables asks; a request with tables also changes their names. What a table can match and do
//! is told for its rules, and again for the rule of priority 0 that matches every packet (the table-miss rule).

use crate::error::ErrorCode;
use crate::group::decode_property;
use crate::input::Input;
use crate::matching::field::{self, FieldHeader};
use crate::output::Encoder;
use crate::table_mod::EVERY_TABLE;
use crate::tables::NAME_SIZE;
use OfVersion::OpenFlow15;
use flow::fields::FieldId;
use flow::types::{OfVersion, TableId};

/// What a request does to the tables that it names (`OFPTFC_*`). Only OpenFlow 1.5
/// says it; requests before replace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FeaturesCommand {
    /// The request names every table; those that it does not name are disabled.
    #[default]
    Replace,
    /// Tables that the request does not name stay as they are.
    Modify,
    /// The tables are enabled.
    Enable,
    /// The tables are disabled.
    Disable,
}

impl FeaturesCommand {
    const ALL: [Self; 4] = [Self::Replace, Self::Modify, Self::Enable, Self::Disable];
}

/// What a table is called, how large it is, and what it can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFeatures {
    /// The number of the table.
    pub table: TableId,
    /// What a request does to the table.
    pub command: FeaturesCommand,
    /// The name of the table: 31 bytes at most. Empty if it has none.
    pub name: String,
    /// The bits of the metadata that rules can match.
    pub metadata_match: u64,
    /// The bits of the metadata that rules can write.
    pub metadata_write: u64,
    /// Bits of `OFPTC14_*`: whether the table can evict rules and tell how full it is.
    /// Open vSwitch leaves them out.
    pub capabilities: u32,
    /// The largest number of rules.
    pub max_entries: u32,
    /// What rules can match and do; `None` if the message does not say.
    pub abilities: Option<TableAbilities>,
}

/// What the rules of a table can match and do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableAbilities {
    /// What rules can do.
    pub rules: RuleAbilities,
    /// What the table-miss rule can do.
    pub miss: RuleAbilities,
    /// The fields that rules can match, each with whether it may have any mask.
    pub matching: Vec<(FieldId, bool)>,
    /// The fields that a match may leave out.
    pub wildcards: Vec<FieldId>,
}

/// What rules can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleAbilities {
    /// Types of instructions (`OFPIT_*`).
    pub instructions: Vec<u16>,
    /// Numbers of the tables that `goto_table` can name.
    pub next_tables: Vec<u8>,
    /// What `write_actions` can contain.
    pub write: ActionAbilities,
    /// What `apply_actions` can contain.
    pub apply: ActionAbilities,
}

/// What a list of actions can contain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionAbilities {
    /// Types of actions (`OFPAT_*`).
    pub actions: Vec<u16>,
    /// Fields that `set_field` can set.
    pub set_fields: Vec<FieldId>,
}

/// Types of properties (`OFPTFPT_*`). The number behind each of the first six is about the table-miss rule.
mod feature {
    pub(super) const INSTRUCTIONS: u16 = 0;
    pub(super) const NEXT_TABLES: u16 = 2;
    pub(super) const WRITE_ACTIONS: u16 = 4;
    pub(super) const APPLY_ACTIONS: u16 = 6;
    pub(super) const MATCH: u16 = 8;
    pub(super) const WILDCARDS: u16 = 10;
    pub(super) const WRITE_SETFIELD: u16 = 12;
    pub(super) const APPLY_SETFIELD: u16 = 14;
    /// The properties that a message has to have if it has any.
    pub(super) const REQUIRED: [u16; 8] = [
        INSTRUCTIONS,
        NEXT_TABLES,
        WRITE_ACTIONS,
        APPLY_ACTIONS,
        MATCH,
        WILDCARDS,
        WRITE_SETFIELD,
        APPLY_SETFIELD,
    ];
}

/// The size of a table without its properties.
const HEAD_SIZE: usize = 64;
/// The types of instructions and actions of experimenters, which have eight bytes.
const EXPERIMENTER: u16 = 0xffff;
/// Instructions of OpenFlow 1.3: `goto_table`, then `write_metadata`,
/// `write_actions`, `apply_actions`, `clear_actions`, `meter`.
const INSTRUCTIONS: [u16; 6] = [1, 2, 3, 4, 5, METER];
/// The instruction `meter` (`OFPIT_METER`), which OpenFlow 1.5 does not have.
const METER: u16 = 6;
/// Actions of OpenFlow 1.3: output, MPLS TTL, tags, labels, queue, group, IP TTL, `set_field`.
const ACTIONS: [u16; 12] = [0, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25];

impl TableFeatures {
    /// The features, in messages of a version, of a table of a switch whose tables can do everything, and lead
    /// to every later one.
    pub fn full(table: TableId, name: String, max_entries: u32, version: OfVersion) -> Self {
        let next_tables: Vec<u8> = (table.get() + 1..TableId::COUNT as u8).collect();
        let is_last = next_tables.is_empty();
        let fields = || FieldId::all().filter(|field| !field.def().wire.is_empty());
        let list = ActionAbilities {
            actions: ACTIONS.to_vec(),
            set_fields: fields().filter(|field| field.def().writable).collect(),
        };
        let first = usize::from(is_last);
        let end = INSTRUCTIONS.len() - usize::from(version >= OpenFlow15);
        let instructions = &INSTRUCTIONS[first..end];
        let rules = RuleAbilities {
            instructions: instructions.to_vec(),
            next_tables,
            write: list.clone(),
            apply: list,
        };
        let abilities = TableAbilities {
            miss: rules.clone(),
            rules,
            matching: fields().map(|field| (field, field.def().maskable)).collect(),
            wildcards: fields().collect(),
        };
        Self {
            table,
            command: FeaturesCommand::Replace,
            name,
            metadata_match: u64::MAX,
            metadata_write: u64::MAX,
            capabilities: 0,
            max_entries,
            abilities: Some(abilities),
        }
    }

    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        let start = out.len();
        out.u16(0);
        out.u8(self.table.get());
        out.u8(if version >= OpenFlow15 { self.command as u8 } else { 0 });
        out.zeros(4);
        out.name(&self.name, NAME_SIZE);
        out.u64(self.metadata_match);
        out.u64(self.metadata_write);
        out.u32(self.capabilities);
        out.u32(self.max_entries);
        if let Some(abilities) = &self.abilities {
            abilities.put(out, version);
        }
        out.set_len(start, start);
    }

    /// Reads a table. A reply may have instructions that this crate does not know, a request may not.
    pub(crate) fn decode(
        input: &mut Input<'_>,
        version: OfVersion,
        is_reply: bool,
    ) -> Result<Self, ErrorCode> {
        if input.len() < HEAD_SIZE {
            return Err(ErrorCode::BadPropertyLength);
        }
        let len = usize::from({ *input }.u16()?);
        if len < HEAD_SIZE || !len.is_multiple_of(8) || len > input.len() {
            return Err(ErrorCode::BadPropertyLength);
        }
        let mut entry = input.part(len, ErrorCode::BadPropertyLength)?;
        entry.skip(2)?;
        let number = entry.u8()?;
        if number == EVERY_TABLE {
            return Err(ErrorCode::FeaturesTable);
        }
        let table = TableId::new(number).ok_or(ErrorCode::FeaturesPermission)?;
        let command = usize::from(entry.u8()?);
        let command = match version >= OpenFlow15 {
            true => *FeaturesCommand::ALL.get(command).ok_or(ErrorCode::FeaturesCommand)?,
            false => FeaturesCommand::Replace,
        };
        entry.skip(4)?;
        let name = entry.name::<NAME_SIZE>()?;
        let (metadata_match, metadata_write) = (entry.u64()?, entry.u64()?);
        let (capabilities, max_entries) = (entry.u32()?, entry.u32()?);
        let mut features = Self {
            table,
            command,
            name,
            metadata_match,
            metadata_write,
            capabilities,
            max_entries,
            abilities: None,
        };
        if !entry.is_empty() {
            features.abilities = Some(TableAbilities::decode(entry, is_reply)?);
        } else if version < OpenFlow15 {
            return Err(ErrorCode::BadFeatures);
        }
        Ok(features)
    }
}

impl TableAbilities {
    fn put(&self, out: &mut Encoder, version: OfVersion) {
        let fields = |out: &mut Encoder, fields: &[FieldId]| {
            fields.iter().for_each(|id| field::put_header(out, *id, version, false));
        };
        for (miss, can) in [(0, &self.rules), (1, &self.miss)] {
            property(out, feature::INSTRUCTIONS + miss, |out| numbers(out, &can.instructions));
            property(out, feature::NEXT_TABLES + miss, |out| out.bytes(&can.next_tables));
            property(out, feature::WRITE_ACTIONS + miss, |out| numbers(out, &can.write.actions));
            property(out, feature::APPLY_ACTIONS + miss, |out| numbers(out, &can.apply.actions));
            property(out, feature::WRITE_SETFIELD + miss, |out| fields(out, &can.write.set_fields));
            property(out, feature::APPLY_SETFIELD + miss, |out| fields(out, &can.apply.set_fields));
        }
        property(out, feature::MATCH, |out| {
            self.matching.iter().for_each(|(id, has_mask)| {
                field::put_header(out, *id, version, *has_mask);
            });
        });
        property(out, feature::WILDCARDS, |out| fields(out, &self.wildcards));
    }

    /// Reads properties. What is missing of the table-miss rule is as for other rules.
    fn decode(mut input: Input<'_>, is_reply: bool) -> Result<Self, ErrorCode> {
        let mut abilities = Self::default();
        let mut seen: u32 = 0;
        while !input.is_empty() {
            let (kind, value) = decode_property(&mut input)?;
            let bit = 1u32.checked_shl(kind.into()).unwrap_or(0);
            if seen & bit != 0 {
                return Err(ErrorCode::BadFeatures);
            }
            seen |= bit;
            abilities.set(kind, value, is_reply)?;
        }
        if feature::REQUIRED.iter().any(|kind| seen & 1 << kind == 0) {
            return Err(ErrorCode::BadFeatures);
        }
        let Self { rules, miss, .. } = &mut abilities;
        let is_missing = |kind: u16| seen & 1 << (kind + 1) == 0;
        if is_missing(feature::INSTRUCTIONS) {
            miss.instructions.clone_from(&rules.instructions);
        }
        if is_missing(feature::NEXT_TABLES) {
            miss.next_tables.clone_from(&rules.next_tables);
        }
        if is_missing(feature::WRITE_ACTIONS) {
            miss.write.actions.clone_from(&rules.write.actions);
        }
        if is_missing(feature::APPLY_ACTIONS) {
            miss.apply.actions.clone_from(&rules.apply.actions);
        }
        if is_missing(feature::WRITE_SETFIELD) {
            miss.write.set_fields.clone_from(&rules.write.set_fields);
        }
        if is_missing(feature::APPLY_SETFIELD) {
            miss.apply.set_fields.clone_from(&rules.apply.set_fields);
        }
        Ok(abilities)
    }

    fn set(&mut self, kind: u16, value: Input<'_>, is_reply: bool) -> Result<(), ErrorCode> {
        let has_miss = !(feature::MATCH..feature::WRITE_SETFIELD).contains(&kind);
        let can = if has_miss && kind & 1 == 1 { &mut self.miss } else { &mut self.rules };
        match if has_miss { kind & !1 } else { kind } {
            feature::INSTRUCTIONS => {
                can.instructions = decode_numbers(value)?;
                let is_known = |kind: &u16| matches!(kind, 1..=6);
                if !is_reply && !can.instructions.iter().all(is_known) {
                    return Err(ErrorCode::UnknownInstruction);
                }
            }
            feature::NEXT_TABLES => can.next_tables = value.rest().to_vec(),
            feature::WRITE_ACTIONS => can.write.actions = decode_numbers(value)?,
            feature::APPLY_ACTIONS => can.apply.actions = decode_numbers(value)?,
            feature::WRITE_SETFIELD => can.write.set_fields = unmasked(decode_fields(value)?),
            feature::APPLY_SETFIELD => can.apply.set_fields = unmasked(decode_fields(value)?),
            feature::MATCH => self.matching = decode_fields(value)?,
            feature::WILDCARDS => self.wildcards = unmasked(decode_fields(value)?),
            _ if is_reply => {}
            _ => return Err(ErrorCode::BadProperty),
        }
        Ok(())
    }
}

/// Writes a property, padded to a multiple of 8 bytes. The padding does not count in its length.
fn property(out: &mut Encoder, kind: u16, body: impl FnOnce(&mut Encoder)) {
    let start = out.len();
    out.u16(kind);
    out.u16(0);
    body(out);
    out.set_len(start + 2, start);
    out.pad(start);
}

/// Writes types of instructions or actions, each with the length of its header.
fn numbers(out: &mut Encoder, types: &[u16]) {
    for kind in types {
        out.u16(*kind);
        out.u16(4);
    }
}

/// Reads types of instructions or actions. Those of experimenters are left out.
fn decode_numbers(mut input: Input<'_>) -> Result<Vec<u16>, ErrorCode> {
    let mut types = Vec::new();
    while !input.is_empty() {
        let (kind, len) = (input.u16()?, usize::from(input.u16()?));
        input.skip(len.checked_sub(4).ok_or(ErrorCode::BadPropertyLength)?)?;
        if kind != EXPERIMENTER {
            types.push(kind);
        }
    }
    Ok(types)
}

/// Reads headers of fields, each with whether it has a mask. Fields that this crate does not know are left out.
fn decode_fields(mut input: Input<'_>) -> Result<Vec<(FieldId, bool)>, ErrorCode> {
    let mut fields = Vec::new();
    while !input.is_empty() {
        let header = FieldHeader::decode(&mut input)?;
        fields.extend(header.field.map(|field| (field, header.has_mask)));
    }
    Ok(fields)
}

fn unmasked(fields: Vec<(FieldId, bool)>) -> Vec<FieldId> {
    fields.into_iter().map(|(field, _)| field).collect()
}

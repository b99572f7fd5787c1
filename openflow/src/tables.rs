//! The statistics of tables (`OFPST_TABLE`).
//!
//! OpenFlow 1.0 to 1.2 also say here what tables can match and do. The reply says what Open vSwitch says: every table can
//! do everything.

use crate::error::ErrorCode;
use crate::input::Input;
use crate::matching::field;
use crate::output::Encoder;
use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13};
use flow::fields::FieldId;
use flow::types::{OfVersion, TableId};

/// How many rules a table has, and how often it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// The number of the table.
    pub table: TableId,
    /// The name of the table. Messages have it up to OpenFlow 1.2.
    pub name: String,
    /// The largest number of rules. Messages have it up to OpenFlow 1.2.
    pub max_entries: u32,
    /// The number of rules.
    pub active: u32,
    /// How many packets were looked up.
    pub lookup: u64,
    /// How many of them a rule matched.
    pub matched: u64,
}

const NAME_SIZE: usize = 32;

/// What tables can do in OpenFlow 1.0 to 1.2, as bits.
mod ability {
    /// Every wildcard of OpenFlow 1.0.
    pub(super) const WILDCARDS_10: u32 = (1 << 22) - 1;
    /// Every field of OpenFlow 1.1 with its mask (`OFPFMF_*`): those of its wildcards, addresses and metadata.
    pub(super) const FIELDS_11: u32 = ((1 << 10) - 1) | (0b1_1111 << 11);
    /// `write_metadata`, `write_actions`, `apply_actions`, `clear_actions`.
    pub(super) const INSTRUCTIONS: u32 = 0b11_1100;
    /// `goto_table`, which the last table lacks.
    pub(super) const GOTO_TABLE: u32 = 1 << 1;
    /// Actions of OpenFlow 1.1: outputs, settings of fields, tags, labels, TTLs, queues and groups.
    pub(super) const ACTIONS_11: u32 = 0x01ff_e7ff;
    /// Actions of OpenFlow 1.2, which has `set_field` in place of the other settings.
    pub(super) const ACTIONS_12: u32 = 0x03ff_8001;
    /// The fields of OpenFlow 1.2 but the physical ingress port.
    pub(super) const FIELDS_12: u64 = ((1 << 36) - 1) & !(1 << 1);
    /// Fields of these that cannot be set: the EtherType and the IP protocol.
    pub(super) const READ_ONLY_12: u64 = 1 << 5 | 1 << 10;
    /// `table_miss` is `controller` by default (`OFPTC11_TABLE_MISS_CONTROLLER`).
    pub(super) const MISS: u32 = 0;
}

impl TableStats {
    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        use ability::*;
        out.u8(self.table.get());
        if version >= OpenFlow13 {
            out.zeros(3);
            out.u32(self.active);
            out.u64(self.lookup);
            out.u64(self.matched);
            return;
        }
        let is_last = usize::from(self.table.get()) + 1 == TableId::COUNT;
        let instructions = INSTRUCTIONS | if is_last { 0 } else { GOTO_TABLE };
        out.zeros(if version == OpenFlow10 { 3 } else { 7 });
        out.name(&self.name, NAME_SIZE);
        match version {
            OpenFlow10 => out.u32(WILDCARDS_10),
            OpenFlow11 => {
                [FIELDS_11, FIELDS_11, instructions, ACTIONS_11, ACTIONS_11, MISS]
                    .iter()
                    .for_each(|word| out.u32(*word));
            }
            _ => {
                out.u64(FIELDS_12);
                out.u64(FIELDS_12);
                out.u32(ACTIONS_12);
                out.u32(ACTIONS_12);
                out.u64(FIELDS_12 & !READ_ONLY_12);
                out.u64(FIELDS_12 & !READ_ONLY_12);
                out.u64(u64::MAX);
                out.u64(u64::MAX);
                out.u32(instructions);
                out.u32(MISS);
            }
        }
        out.u32(self.max_entries);
        out.u32(self.active);
        out.u64(self.lookup);
        out.u64(self.matched);
    }

    pub(crate) fn decode(input: &mut Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let table = TableId::new(input.u8()?).ok_or(ErrorCode::BadTableId)?;
        let (mut name, mut max_entries) = (String::new(), 0);
        if version >= OpenFlow13 {
            input.skip(3)?;
        } else {
            input.skip(if version == OpenFlow10 { 3 } else { 7 })?;
            name = input.name::<NAME_SIZE>()?;
            input.skip(match version {
                OpenFlow10 => 4,
                OpenFlow12 => 64,
                _ => 24,
            })?;
            max_entries = input.u32()?;
        }
        let (active, lookup, matched) = (input.u32()?, input.u64()?, input.u64()?);
        Ok(Self { table, name, max_entries, active, lookup, matched })
    }
}

/// Types of the properties of a table (`OFPTFPT_*`). The number behind each is about the table-miss rule, which can do
/// the same.
mod feature {
    pub(super) const INSTRUCTIONS: u16 = 0;
    pub(super) const NEXT_TABLES: u16 = 2;
    pub(super) const WRITE_ACTIONS: u16 = 4;
    pub(super) const APPLY_ACTIONS: u16 = 6;
    pub(super) const MATCH: u16 = 8;
    pub(super) const WILDCARDS: u16 = 10;
    pub(super) const WRITE_SETFIELD: u16 = 12;
    pub(super) const APPLY_SETFIELD: u16 = 14;
}

/// Instructions of OpenFlow 1.3: `goto_table`, then `write_metadata`, `write_actions`, `apply_actions`, `clear_actions`.
const INSTRUCTIONS: [u16; 5] = [1, 2, 3, 4, 5];
/// Actions of OpenFlow 1.3: output, MPLS TTL, tags, labels, queue, group, IP TTL, `set_field`.
const ACTIONS: [u16; 12] = [0, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25];

/// Writes what a table can do (`OFPMP_TABLE_FEATURES`, OpenFlow 1.3.5 §7.3.5.5). Every table can do everything, and lead
/// to every later one.
pub(crate) fn put_features(out: &mut Encoder, table: &TableStats, version: OfVersion) {
    let start = out.len();
    out.u16(0);
    out.u8(table.table.get());
    out.zeros(5);
    out.name(&table.name, NAME_SIZE);
    out.u64(u64::MAX);
    out.u64(u64::MAX);
    out.u32(0);
    out.u32(table.max_entries);
    let later = table.table.get() + 1..TableId::COUNT as u8;
    let is_last = later.is_empty();
    let instructions = &INSTRUCTIONS[usize::from(is_last)..];
    let fields = || FieldId::all().filter(|field| !field.def().wire.is_empty());
    for miss in [0, 1] {
        property(out, feature::INSTRUCTIONS + miss, |out| numbers(out, instructions));
        property(out, feature::NEXT_TABLES + miss, |out| later.clone().for_each(|n| out.u8(n)));
        property(out, feature::WRITE_ACTIONS + miss, |out| numbers(out, &ACTIONS));
        property(out, feature::APPLY_ACTIONS + miss, |out| numbers(out, &ACTIONS));
        for kind in [feature::WRITE_SETFIELD, feature::APPLY_SETFIELD] {
            property(out, kind + miss, |out| {
                let writable = fields().filter(|field| field.def().writable);
                writable.for_each(|id| field::put_header(out, id, version, false));
            });
        }
    }
    property(out, feature::MATCH, |out| {
        fields().for_each(|id| field::put_header(out, id, version, id.def().maskable));
    });
    property(out, feature::WILDCARDS, |out| {
        fields().for_each(|id| field::put_header(out, id, version, false));
    });
    out.set_len(start, start);
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

//! The statistics of tables (`OFPST_TABLE`).
//!
//! OpenFlow 1.0 to 1.2 also say here what tables can match and do. The reply says what Open vSwitch says: every
//! table can do everything.

use crate::error::ErrorCode;
use crate::input::Input;
use crate::output::Encoder;
use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13};
use flow::table_mod::TableMiss;
use flow::types::{OfVersion, TableId};

/// How many rules a table has, and how often it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// The number of the table.
    pub table: TableId,
    /// The name of the table. Messages have it up to OpenFlow 1.2.
    pub name: String,
    /// What happens to packets that no rule matches; `None` if nobody has said. Messages of OpenFlow 1.1 and
    /// 1.2 have it, and say [`TableMiss::Controller`] for `None`.
    pub miss: Option<TableMiss>,
    /// The largest number of rules. Messages have it up to OpenFlow 1.2.
    pub max_entries: u32,
    /// The number of rules.
    pub active: u32,
    /// How many packets were looked up.
    pub lookup: u64,
    /// How many of them a rule matched.
    pub matched: u64,
}

/// The size of the name of a table in messages, with a zero at the end.
pub(crate) const NAME_SIZE: usize = 32;

/// The numbers of OpenFlow 1.1 and 1.2 for what happens to packets that no
/// rule matches (`OFPTC11_TABLE_MISS_*`).
pub(crate) mod miss {
    use flow::table_mod::TableMiss;

    /// The bits of a configuration that have the number.
    const MASK: u32 = 0b11;

    pub(crate) fn encode(miss: Option<TableMiss>) -> u32 {
        match miss {
            None | Some(TableMiss::Controller) => 0,
            Some(TableMiss::Continue) => 1,
            Some(TableMiss::Drop) => 2,
        }
    }

    pub(crate) fn decode(config: u32) -> TableMiss {
        match config & MASK {
            1 => TableMiss::Continue,
            2 => TableMiss::Drop,
            _ => TableMiss::Controller,
        }
    }
}

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
                [
                    FIELDS_11,
                    FIELDS_11,
                    instructions,
                    ACTIONS_11,
                    ACTIONS_11,
                    miss::encode(self.miss),
                ]
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
                out.u32(miss::encode(self.miss));
            }
        }
        out.u32(self.max_entries);
        out.u32(self.active);
        out.u64(self.lookup);
        out.u64(self.matched);
    }

    pub(crate) fn decode(input: &mut Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let table = TableId::new(input.u8()?).ok_or(ErrorCode::BadTableId)?;
        let (mut name, mut miss, mut max_entries) = (String::new(), None, 0);
        if version >= OpenFlow13 {
            input.skip(3)?;
        } else {
            input.skip(if version == OpenFlow10 { 3 } else { 7 })?;
            name = input.name::<NAME_SIZE>()?;
            input.skip(match version {
                OpenFlow10 => 4,
                OpenFlow12 => 60,
                _ => 20,
            })?;
            if version > OpenFlow10 {
                miss = Some(miss::decode(input.u32()?));
            }
            max_entries = input.u32()?;
        }
        let (active, lookup, matched) = (input.u32()?, input.u64()?, input.u64()?);
        Ok(Self { table, name, miss, max_entries, active, lookup, matched })
    }
}

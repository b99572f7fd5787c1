//! `OFPT_TABLE_MOD`, and the description of tables that answers how they
//! behave (OpenFlow 1.4.0 §7.3.3, §7.3.5.8).
//!
//! OpenFlow 1.1 and 1.2 set what happens to packets that no rule matches, OpenFlow 1.4 and 1.5 eviction and
//! vacancy events, and OpenFlow 1.3 nothing.

use crate::error::ErrorCode;
use crate::group::decode_property;
use crate::input::Input;
use crate::output::Encoder;
use crate::tables::miss;
use OfVersion::{OpenFlow13, OpenFlow14};
use flow::table_mod::{TableMod, VacancyThresholds};
use flow::types::{OfVersion, TableId};

/// The number that means every table (`OFPTT_ALL`).
pub(crate) const EVERY_TABLE: u8 = 0xff;

/// The bit of the configuration for eviction (`OFPTC14_EVICTION`).
const EVICTION: u32 = 1 << 2;
/// The bit of the configuration for vacancy events (`OFPTC14_VACANCY_EVENTS`).
const VACANCY: u32 = 1 << 3;

/// Types of properties (`OFPTMPT14_*`).
const EVICTION_PROPERTY: u16 = 2;
const VACANCY_PROPERTY: u16 = 3;
/// The size of a property with its type and length.
const PROPERTY_SIZE: u16 = 8;

/// What decides which rule is evicted (`OFPTMPEF14_*`).
pub mod eviction_flag {
    /// The number of rules that share the values of some fields, and other things.
    pub const OTHER: u32 = 1;
    /// Rules of low importance go first.
    pub const IMPORTANCE: u32 = 1 << 1;
    /// Rules that would expire soon go first.
    pub const LIFETIME: u32 = 1 << 2;
}

/// How a table behaves (`OFPMP_TABLE_DESC`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDesc {
    /// The number of the table.
    pub table: TableId,
    /// Whether a full table evicts a rule for a new one.
    pub eviction: bool,
    /// What decides which rule is evicted: bits of [`eviction_flag`]; `None` if the message does not say.
    pub eviction_flags: Option<u32>,
    /// When controllers hear how full the table is, and how many per cent of it are said to be free now; `None`
    /// if controllers do not hear of it.
    pub vacancy: Option<(VacancyThresholds, u8)>,
}

fn put_eviction(out: &mut Encoder, flags: u32) {
    out.u16(EVICTION_PROPERTY);
    out.u16(PROPERTY_SIZE);
    out.u32(flags);
}

fn put_vacancy(out: &mut Encoder, thresholds: VacancyThresholds, vacancy: u8) {
    out.u16(VACANCY_PROPERTY);
    out.u16(PROPERTY_SIZE);
    for byte in [thresholds.down, thresholds.up, vacancy, 0] {
        out.u8(byte);
    }
}

/// What the properties of a table say: the flags of eviction, and the thresholds of
/// vacancy events with the vacancy.
type Properties = (Option<u32>, Option<(VacancyThresholds, u8)>);

/// Reads properties. Those of a request are checked one after the other.
fn decode_properties(input: &mut Input<'_>, is_request: bool) -> Result<Properties, ErrorCode> {
    let (mut flags, mut vacancy) = (None, None);
    while !input.is_empty() {
        let (kind, mut value) = decode_property(input)?;
        match kind {
            EVICTION_PROPERTY => flags = Some(value.u32()?),
            VACANCY_PROPERTY => {
                let thresholds = VacancyThresholds { down: value.u8()?, up: value.u8()? };
                let now = value.u8()?;
                value.skip(1)?;
                if is_request && (thresholds.down > thresholds.up || thresholds.up > 100 || now > 0)
                {
                    return Err(ErrorCode::BadPropertyValue);
                }
                vacancy = Some((thresholds, now));
            }
            // As Open vSwitch, which has no error of its own for properties of tables.
            _ => return Err(ErrorCode::BadType),
        }
        if !value.is_empty() {
            return Err(ErrorCode::BadPropertyLength);
        }
    }
    Ok((flags, vacancy))
}

pub(crate) fn put_mod(out: &mut Encoder, table_mod: &TableMod, version: OfVersion) {
    out.u8(table_mod.table.map_or(EVERY_TABLE, TableId::get));
    out.zeros(3);
    if version < OpenFlow14 {
        out.u32(miss::encode(table_mod.miss.filter(|_| version < OpenFlow13)));
        return;
    }
    let vacancy = table_mod.vacancy.flatten();
    let eviction = if table_mod.eviction == Some(true) { EVICTION } else { 0 };
    out.u32(eviction | if vacancy.is_some() { VACANCY } else { 0 });
    if let Some(flags) = table_mod.eviction_flags {
        put_eviction(out, flags);
    }
    if let Some(thresholds) = vacancy {
        put_vacancy(out, thresholds, 0);
    }
}

pub(crate) fn decode_mod(mut input: Input<'_>, version: OfVersion) -> Result<TableMod, ErrorCode> {
    let number = input.u8()?;
    input.skip(3)?;
    let config = input.u32()?;
    let properties = match version < OpenFlow14 {
        true => Properties::default(),
        false => decode_properties(&mut input, true)?,
    };
    let table = match number {
        EVERY_TABLE => None,
        // Open vSwitch has an internal table there, which nobody may change.
        number => Some(TableId::new(number).ok_or(ErrorCode::TableModPermission)?),
    };
    let mut table_mod = TableMod { table, ..TableMod::default() };
    if version < OpenFlow14 {
        if !input.is_empty() {
            return Err(ErrorCode::BadLength);
        }
        if version < OpenFlow13 {
            table_mod.miss = Some(miss::decode(config));
        }
        return Ok(table_mod);
    }
    let (eviction_flags, vacancy) = properties;
    table_mod.eviction = Some(config & EVICTION != 0);
    table_mod.eviction_flags = eviction_flags;
    let thresholds = vacancy.map(|(thresholds, _)| thresholds).unwrap_or_default();
    table_mod.vacancy = Some((config & VACANCY != 0).then_some(thresholds));
    Ok(table_mod)
}

impl TableDesc {
    pub(crate) fn put(&self, out: &mut Encoder) {
        let start = out.len();
        out.zeros(2);
        out.u8(self.table.get());
        out.zeros(1);
        let eviction = if self.eviction { EVICTION } else { 0 };
        out.u32(eviction | if self.vacancy.is_some() { VACANCY } else { 0 });
        if let Some(flags) = self.eviction_flags {
            put_eviction(out, flags);
        }
        if let Some((thresholds, vacancy)) = self.vacancy {
            put_vacancy(out, thresholds, vacancy);
        }
        out.set_len(start, start);
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, ErrorCode> {
        let len = usize::from({ *input }.u16()?);
        let mut entry = input.part(len, ErrorCode::BadLength)?;
        entry.skip(2)?;
        let table = TableId::new(entry.u8()?).ok_or(ErrorCode::BadTableId)?;
        entry.skip(1)?;
        let config = entry.u32()?;
        let (eviction_flags, vacancy) = decode_properties(&mut entry, false)?;
        Ok(Self {
            table,
            eviction: config & EVICTION != 0,
            eviction_flags,
            vacancy: vacancy.filter(|_| config & VACANCY != 0),
        })
    }
}

//! How tables behave, as controllers set it and ask for it. What they set is wanted state, as
//! what the file says is.

use super::connection::Wire;
use crate::desired::TableList;
use crate::switch::OnBridge;
use flow::table_mod::{TableMod, TableSettings};
use flow::tlv_map::{TlvMapError, TlvMod};
use flow::types::TableId;
use flowtable::policy::TableRef;
use flowtable::policy::tables::MAX_RULES;
use openflow::{
    Encoding, ErrorCode, FeaturesCommand, ReplyParts, TableDesc, TableFeatures, TableStats,
    eviction_flag,
};
use std::collections::HashSet;
use std::io;

/// What decides which rule is evicted.
pub(super) const EVICTION_FLAGS: u32 =
    eviction_flag::OTHER | eviction_flag::IMPORTANCE | eviction_flag::LIFETIME;

/// Every table of a bridge.
fn all() -> impl Iterator<Item = TableId> {
    (0..TableId::COUNT as u8).filter_map(TableId::new)
}

/// The largest number of rules that a table with these settings takes.
fn max_entries(settings: &TableSettings) -> u32 {
    settings.flow_limit.map_or(MAX_RULES as u32, |limit| limit.min(MAX_RULES as u32))
}

/// The tables of the bridge that behave in ways of their own.
fn wanted(on: &OnBridge<'_>) -> TableList {
    let desired = on.desired();
    desired.bridge(&on.name()).map(|bridge| bridge.tables.clone()).unwrap_or_default()
}

/// Changes how a table behaves, or how every table does.
///
/// # Errors
/// The bridge is gone.
pub(super) fn change(on: &OnBridge<'_>, request: &TableMod) -> Result<(), ErrorCode> {
    edit(on, |tables| {
        for table in request.table.map_or_else(|| all().collect(), |table| vec![table]) {
            let mut settings = tables.settings(table);
            settings.apply(request);
            tables.set(table, settings);
        }
    })
}

fn edit(on: &OnBridge<'_>, change: impl FnOnce(&mut TableList)) -> Result<(), ErrorCode> {
    let changed = on.change_bridge(&on.name(), |bridge| change(&mut bridge.tables));
    changed.map_err(|_| ErrorCode::TableModTable)
}

/// Gives tables the names that a request wants, which is all of their features that can be changed.
///
/// # Errors
/// A table is given twice, or the request wants something else than a name; nothing has changed.
pub(super) fn rename(on: &OnBridge<'_>, wanted: &[TableFeatures]) -> Result<(), ErrorCode> {
    let tables: HashSet<TableId> = wanted.iter().map(|table| table.table).collect();
    if tables.len() < wanted.len() {
        return Err(ErrorCode::FeaturesDuplicate);
    }
    // As in Open vSwitch: the first table says what the request does. A request that replaces the features of
    // all tables would disable those that it leaves out.
    let can_be = match wanted.first().map(|table| table.command) {
        Some(FeaturesCommand::Replace) => tables.len() == TableId::COUNT,
        Some(FeaturesCommand::Modify) => true,
        _ => false,
    };
    let present = self::wanted(on);
    let is_same = |table: &TableFeatures| {
        let most = max_entries(&present.settings(table.table));
        (table.max_entries, table.capabilities) == (most, 0)
    };
    if !can_be || !wanted.iter().all(is_same) {
        return Err(ErrorCode::FeaturesPermission);
    }
    edit(on, |tables| {
        for table in wanted {
            let name = Some(table.name.clone()).filter(|name| !name.is_empty());
            let settings = TableSettings { name, ..tables.settings(table.table) };
            tables.set(table.table, settings);
        }
    })
}

/// Changes which Geneve options are fields.
///
/// # Errors
/// Why the change is refused; nothing has changed.
pub(super) fn map_options(on: &OnBridge<'_>, change: &TlvMod) -> Result<(), ErrorCode> {
    let gone = match change {
        TlvMod::Add(_) => 0,
        TlvMod::Delete(mappings) => {
            mappings.iter().fold(0, |all, mapping| all | 1 << mapping.field)
        }
        TlvMod::Clear => u64::MAX,
    };
    if gone != 0 && on.bridge().used_options() & gone != 0 {
        return Err(ErrorCode::NxTlvInvalidTlvDel);
    }
    let mut done = Ok(());
    let changed = on.change_bridge(&on.name(), |bridge| done = bridge.tlv_map.apply(change));
    changed.map_err(|_| ErrorCode::TlvFull)?;
    done.map_err(|error| match error {
        TlvMapError::FieldInUse(_) => ErrorCode::TlvMapped,
        TlvMapError::Duplicate { .. } => ErrorCode::TlvDuplicate,
        TlvMapError::Full => ErrorCode::TlvFull,
        TlvMapError::Length(_) | TlvMapError::NoRoom { .. } => ErrorCode::TlvLength,
        TlvMapError::NoField(_) => ErrorCode::TlvField,
    })
}

/// The counters of every table.
pub(super) fn stats(on: &OnBridge<'_>) -> Vec<TableStats> {
    on.settle();
    let wanted = wanted(on);
    let snapshot = on.bridge().snapshot();
    let rules = snapshot.tables();
    let stats = |table: TableId| {
        let (lookup, matched) =
            on.policy().lookups().get(TableRef { bridge: on.bridge().id(), table });
        let settings = wanted.settings(table);
        let max_entries = max_entries(&settings);
        TableStats {
            table,
            name: settings.name.unwrap_or_default(),
            miss: settings.miss,
            max_entries,
            active: rules.len(table) as u32,
            lookup,
            matched,
        }
    };
    all().map(stats).collect()
}

/// How every table behaves.
pub(super) fn descs(on: &OnBridge<'_>) -> Vec<TableDesc> {
    let wanted = wanted(on);
    let desc = |table: TableId| {
        let TableSettings { eviction, vacancy, .. } = wanted.settings(table);
        let vacancy = vacancy.map(|thresholds| (thresholds, on.bridge().vacancy(table)));
        TableDesc { table, eviction, eviction_flags: Some(EVICTION_FLAGS), vacancy }
    };
    all().map(desc).collect()
}

/// Sends what every table can do.
pub(super) fn features(
    on: &OnBridge<'_>,
    encoding: Encoding,
    xid: u32,
    wire: &mut Wire<'_>,
) -> io::Result<()> {
    let wanted = wanted(on);
    let mut parts = ReplyParts::table_features(encoding, xid);
    for table in all() {
        let settings = wanted.settings(table);
        let most = max_entries(&settings);
        let name = settings.name.unwrap_or_default();
        parts.table_feature(&TableFeatures::full(table, name, most, encoding.version));
        wire.send_parts(parts.take_full())?;
    }
    wire.send_parts(parts.finish())
}

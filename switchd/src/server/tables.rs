//! How tables behave, for commands.

use super::bridges;
use crate::switch::OnBridge;
use control::record::{TableDescRecord, VacancyRecord};
use control::{Reason, Refusal, Reply};
use flow::table_mod::{OverflowPolicy, TableMiss, TableSettings};
use flow::text::{change_table, write_subfield};
use flow::types::TableId;

/// How every table behaves.
pub(super) fn describe(switch: &OnBridge<'_>) -> Reply {
    let desired = switch.desired();
    let wanted = desired.bridge(&switch.name()).map(|bridge| bridge.tables.clone());
    let wanted = wanted.unwrap_or_default();
    let record = |table: TableId| {
        let settings = wanted.settings(table);
        let TableSettings { name, flow_limit, overflow, groups, miss, eviction, vacancy } =
            settings;
        let text = |group| {
            let mut text = String::new();
            write_subfield(&mut text, group);
            text
        };
        let miss = miss.map(|miss| match miss {
            TableMiss::Controller => "controller",
            TableMiss::Continue => "continue",
            TableMiss::Drop => "drop",
        });
        TableDescRecord {
            table: table.get(),
            name,
            flow_limit,
            overflow_policy: match overflow {
                OverflowPolicy::Refuse => "refuse".to_owned(),
                OverflowPolicy::Evict => "evict".to_owned(),
            },
            groups: groups.into_iter().map(text).collect(),
            miss: miss.map(str::to_owned),
            eviction,
            vacancy: vacancy.map(|thresholds| VacancyRecord {
                down: thresholds.down,
                up: thresholds.up,
                now: switch.bridge().vacancy(table),
            }),
        }
    };
    Reply::TableDescs((0..=u8::MAX).filter_map(TableId::new).map(record).collect())
}

/// Changes how a table behaves, or how all tables do.
pub(super) fn modify(
    switch: &OnBridge<'_>,
    table: &str,
    setting: &str,
) -> Result<Reply, Box<Refusal>> {
    let wrong = |message: String| Box::new(Refusal::new(Reason::Text, message));
    change_table(&mut TableSettings::default(), setting).map_err(wrong)?;
    let desired = switch.desired();
    let wanted = desired.bridge(&switch.name()).map(|bridge| bridge.tables.clone());
    let named = |name: &str| {
        let wanted = wanted.as_ref().ok()?;
        wanted.iter().find(|table| table.name.as_deref() == Some(name)).map(|table| table.id)
    };
    let tables: Vec<TableId> = match table.parse::<u8>().ok().and_then(TableId::new) {
        Some(id) => vec![id],
        None if table.eq_ignore_ascii_case("all") => {
            (0..=u8::MAX).filter_map(TableId::new).collect()
        }
        None => vec![named(table).ok_or_else(|| {
            let last = TableId::COUNT - 1;
            wrong(format!(
                "there is no table {table:?}: write 0 to {last}, the name of a table, or all"
            ))
        })?],
    };
    let change = |bridge: &mut crate::desired::Bridge| {
        for table in tables {
            let mut settings = bridge.tables.settings(table);
            // The word has been checked above.
            if change_table(&mut settings, setting).is_ok() {
                bridge.tables.set(table, settings);
            }
        }
    };
    let changed = switch.change_bridge(&switch.name(), change);
    changed.map_err(|error| bridges::refuse(switch, &error))?;
    Ok(Reply::Done)
}

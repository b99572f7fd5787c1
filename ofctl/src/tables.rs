//! The verb `dump-tables`: shows the counters of the tables. Neighbours with equal counters are folded into one
//! entry. `dump-table-desc` and `mod-table` are beside it.

mod desc;
mod features;

pub(crate) use desc::{describe, modify};

use crate::Outcome;
use crate::connect::{call, unexpected};
use crate::flows::version_mark;
use crate::options::{Options, Words};
use crate::output::{print, print_json};
use control::record::TableRecord;
use control::{Operation, Reply};
use flow::types::OfVersion;
use std::fmt::Write;

/// Carries out the verb `dump-tables`.
pub(crate) fn dump(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let Reply::Tables(tables) = call.client.ask(Operation::DumpTables)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&tables)?,
        false => print(&render(&tables, options.how.version()))?,
    }
    Ok(Outcome::Done)
}

/// The last table, whose rules cannot have `goto_table`. In versions that print the features of tables, it is
/// therefore not folded with its neighbour.
const LAST: u8 = 253;

fn render(tables: &[TableRecord], version: OfVersion) -> String {
    let mut out = format!("OFPST_TABLE reply {}(xid=0x2):\n", version_mark(version));
    let is_special = |t: &TableRecord| t.table == LAST && features::last(version).is_some();
    let same = |a: &TableRecord, b: &TableRecord| {
        (a.n_flows, a.n_lookups, a.n_matched, is_special(a))
            == (b.n_flows, b.n_lookups, b.n_matched, is_special(b))
    };
    for (n, run) in tables.chunk_by(same).enumerate() {
        let first = &run[0];
        if n > 0 {
            out.push('\n');
        }
        put_table(&mut out, first);
        match features::of_all(version) {
            Some(features) if n == 0 => out.push_str(features),
            Some(_) if is_special(first) => {
                out.push_str(features::last(version).unwrap_or_default());
            }
            Some(_) => out.push_str("    (same features)\n"),
            None => {}
        }
        put_ditto(&mut out, &run[1..]);
    }
    out
}

fn put_table(out: &mut String, table: &TableRecord) {
    let TableRecord { table, n_flows, n_lookups, n_matched, .. } = table;
    let _ = write!(
        out,
        "  table {table}:\n    active={n_flows}, lookup={n_lookups}, matched={n_matched}\n"
    );
}

fn put_ditto(out: &mut String, same: &[TableRecord]) {
    let _ = match same {
        [] => Ok(()),
        [one] => write!(out, "\n  table {}: ditto\n", one.table),
        [first, .., last] => write!(out, "\n  tables {}...{}: ditto\n", first.table, last.table),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Vec<TableRecord> {
        let active = |n| u64::from(matches!(n, 3 | 5 | 6 | 8 | 9 | 10));
        let record = |n| TableRecord {
            table: n,
            n_flows: active(n),
            n_lookups: if n == 0 { 17 } else { 0 },
            n_matched: if n == 0 { 17 } else { 0 },
            max_flows: 1_000_000,
        };
        (0..254).map(record).collect()
    }

    #[test]
    fn equal_neighbours_are_folded() {
        insta::assert_snapshot!(render(&tables(), OfVersion::OpenFlow13));
    }

    #[test]
    fn the_first_version_tells_what_can_be_matched() {
        insta::assert_snapshot!(render(&tables()[..6], OfVersion::OpenFlow10));
    }

    #[test]
    fn the_next_versions_tell_what_tables_can_do() {
        insta::assert_snapshot!(render(&tables(), OfVersion::OpenFlow11));
        insta::assert_snapshot!(render(&tables(), OfVersion::OpenFlow12));
    }
}

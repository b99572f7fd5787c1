//! `dump-tables`: counters of the tables, equal ones folded.

use crate::Outcome;
use crate::connect::{call, unexpected};
use crate::flows::version_mark;
use crate::options::{Options, Words};
use crate::output::{print, print_json};
use control::record::TableRecord;
use control::{Operation, Reply};
use flowtable::types::OfVersion;
use std::fmt::Write;

/// `dump-tables`
pub(crate) fn dump(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let Reply::Tables(tables) = call.client.ask(Operation::DumpTables)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&tables)?,
        false => print(&render(&tables, options.how.version))?,
    }
    Ok(Outcome::Done)
}

/// What OpenFlow 1.0 tells of every table.
const MATCHING: &str = "    matching:
      exact match or wildcard: in_port eth_{src,dst,type} vlan_{vid,pcp} \
     ip_{src,dst} nw_{proto,tos} tcp_{src,dst}\n";

fn render(tables: &[TableRecord], version: OfVersion) -> String {
    let mut out = format!("OFPST_TABLE reply {}(xid=0x2):\n", version_mark(version));
    let tells_features = version < OfVersion::OpenFlow13;
    let same = |a: &TableRecord, b: &TableRecord| {
        (a.active, a.lookup, a.matched) == (b.active, b.lookup, b.matched)
    };
    for (n, run) in tables.chunk_by(same).enumerate() {
        let first = &run[0];
        if n > 0 {
            out.push('\n');
        }
        put_table(&mut out, first);
        if tells_features && n == 0 {
            let _ = writeln!(out, "    max_entries={}", first.max_entries);
            out.push_str(MATCHING);
        } else if tells_features {
            out.push_str("    (same features)\n");
        }
        put_ditto(&mut out, &run[1..]);
    }
    out
}

fn put_table(out: &mut String, table: &TableRecord) {
    let TableRecord { table, active, lookup, matched, .. } = table;
    let _ =
        write!(out, "  table {table}:\n    active={active}, lookup={lookup}, matched={matched}\n");
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
            active: active(n),
            lookup: if n == 0 { 17 } else { 0 },
            matched: if n == 0 { 17 } else { 0 },
            max_entries: 1_000_000,
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
}

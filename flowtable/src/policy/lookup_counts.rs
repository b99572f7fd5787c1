//! Counts for each flow table how many packets were looked up and how many found a rule.
//!
//! Translation counts nothing. A cached flow remembers in which tables its translation looked, and
//! adds its packets to these counts when it adds them to the counters of its rules. The counts are
//! therefore exact, and a cache hit pays nothing for them.

use super::bridge_id::{BridgeId, TableRef};
use flow::types::TableId;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of all tables of all bridges. Memory for the tables of a bridge is allocated when a
/// bridge first has its number.
#[derive(Debug)]
pub struct LookupCounts(Box<[OnceLock<TableCounts>]>);

type TableCounts = Box<[Counts]>;

#[derive(Debug, Default)]
struct Counts {
    matched: AtomicU64,
    missed: AtomicU64,
}

impl Default for LookupCounts {
    fn default() -> Self {
        Self(std::iter::repeat_with(OnceLock::new).take(BridgeId::COUNT).collect())
    }
}

impl LookupCounts {
    /// Counts `packets` that found a rule in a table.
    pub fn add_matched(&self, table: TableRef, packets: u64) {
        self.of(table).matched.fetch_add(packets, Ordering::Relaxed);
    }

    /// Counts `packets` that found no rule in a table.
    pub fn add_missed(&self, table: TableRef, packets: u64) {
        self.of(table).missed.fetch_add(packets, Ordering::Relaxed);
    }

    /// The number of packets that were looked up in a table, and the number of those that found a rule.
    pub fn get(&self, table: TableRef) -> (u64, u64) {
        let Counts { matched, missed } = self.of(table);
        let matched = matched.load(Ordering::Relaxed);
        (matched + missed.load(Ordering::Relaxed), matched)
    }

    /// Sets the counts of a bridge to zero.
    pub(super) fn clear(&self, bridge: BridgeId) {
        for counts in self.tables_of(bridge) {
            counts.matched.store(0, Ordering::Relaxed);
            counts.missed.store(0, Ordering::Relaxed);
        }
    }

    fn of(&self, at: TableRef) -> &Counts {
        &self.tables_of(at.bridge)[usize::from(at.table.get())]
    }

    fn tables_of(&self, bridge: BridgeId) -> &[Counts] {
        self.0[bridge.index()]
            .get_or_init(|| std::iter::repeat_with(Counts::default).take(TableId::COUNT).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_a_lookup_too() {
        let counts = LookupCounts::default();
        let at = |n| TableRef { bridge: BridgeId::at(1023), table: TableId::new(n).unwrap() };
        let last = at(253);
        counts.add_matched(last, 5);
        counts.add_missed(last, 2);
        assert_eq!(counts.get(last), (7, 5));
        assert_eq!(counts.get(at(0)), (0, 0));
    }
}

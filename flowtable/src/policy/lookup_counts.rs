//! How often each table was asked for a rule, and how often it had one.
//!
//! Translation counts nothing: a cached flow remembers which tables its translation asked, and adds
//! its packets here when it adds them to its rules. So the counts are exact, and a hit pays nothing.

use flow::types::TableId;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of all tables.
#[derive(Debug)]
pub struct LookupCounts(Box<[Counts]>);

#[derive(Debug, Default)]
struct Counts {
    matched: AtomicU64,
    missed: AtomicU64,
}

impl Default for LookupCounts {
    fn default() -> Self {
        Self(std::iter::repeat_with(Counts::default).take(TableId::COUNT).collect())
    }
}

impl LookupCounts {
    /// So many packets found a rule.
    pub fn add_matched(&self, table: TableId, packets: u64) {
        self.of(table).matched.fetch_add(packets, Ordering::Relaxed);
    }

    /// So many packets found none.
    pub fn add_missed(&self, table: TableId, packets: u64) {
        self.of(table).missed.fetch_add(packets, Ordering::Relaxed);
    }

    /// Packets that were looked up, and those of them that found a rule.
    pub fn get(&self, table: TableId) -> (u64, u64) {
        let Counts { matched, missed } = self.of(table);
        let matched = matched.load(Ordering::Relaxed);
        (matched + missed.load(Ordering::Relaxed), matched)
    }

    fn of(&self, table: TableId) -> &Counts {
        &self.0[usize::from(table.get())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_a_lookup_too() {
        let counts = LookupCounts::default();
        let last = TableId::new(253).unwrap();
        counts.add_matched(last, 5);
        counts.add_missed(last, 2);
        assert_eq!(counts.get(last), (7, 5));
        assert_eq!(counts.get(TableId::default()), (0, 0));
    }
}

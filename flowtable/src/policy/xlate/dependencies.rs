//! The state of the switch that a verdict depends on, besides the learned hosts.

use crate::policy::bridge_id::TableRef;
use crate::policy::changes::{BridgePlaces, Places};
use flow::key::WordSet;

/// A set of tables. Each table has one of 64 bits, which it shares with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableSet(u64);

impl TableSet {
    /// Adds a table to the set.
    pub fn insert(&mut self, table: TableRef) {
        self.0 |= Self::bit(table);
    }

    /// Whether the sets may have a table in common. False is certain.
    #[inline]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a table may be in the set. False is certain.
    #[inline]
    pub fn may_contain(self, table: TableRef) -> bool {
        self.0 & Self::bit(table) != 0
    }

    /// The bit of a table. Tables 0 to 63 of the first bridge have different ones.
    fn bit(at: TableRef) -> u64 {
        let number = u64::from(at.table.get()) + 37 * u64::from(at.bridge.get());
        1 << (number % 64)
    }
}

/// The state of the switch that a verdict depends on. The verdict is right as long as none of it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// The tables in which the packet was looked up.
    pub tables: TableSet,
    /// The words of a [`FlowKey`](flow::FlowKey) that some look-up saw with another
    /// value than the datapath extracted.
    pub rewritten: WordSet,
    /// The ports whose settings were read, and numbers of ports that did not exist.
    pub ports: Places,
    /// The bridges whose list of ports was read, by a flood.
    pub all_ports: BridgePlaces,
    /// A port was looked for in all bridges and not found.
    pub misses_port: bool,
    /// The groups and meters that were read, and numbers of groups and meters that did not exist.
    pub groups: Places,
}

impl Dependencies {
    /// Notes a look-up of a packet. Its words `rewritten` are not what the datapath extracted. `is_own_port`
    /// says that the packet was looked up with the port of this bridge that it came in on.
    pub(super) fn looked_up(&mut self, table: TableRef, is_own_port: bool, rewritten: WordSet) {
        self.tables.insert(table);
        if !is_own_port {
            self.rewritten.insert(0);
        }
        self.rewritten = self.rewritten.union(rewritten);
    }
}

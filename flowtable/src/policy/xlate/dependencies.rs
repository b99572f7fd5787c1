//! What a translation read besides the packet and the hosts.

use flow::FlowKey;
use flow::types::{GroupId, OfPort, TableId};

/// A set of tables; those whose numbers are equal modulo 64 are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableSet(u64);

impl TableSet {
    /// Adds a table.
    pub fn insert(&mut self, table: TableId) {
        self.0 |= 1 << (table.get() % 64);
    }

    /// Whether a table may be in both.
    #[inline]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a table is in it. It may say so of one that is not.
    #[inline]
    pub fn may_contain(self, table: TableId) -> bool {
        self.0 >> (table.get() % 64) & 1 != 0
    }
}

/// What a verdict depends on. As long as none of it changes, it is right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Tables that were looked into.
    pub tables: TableSet,
    /// Words of the key that were not the packet's own in some look-up.
    pub rewritten: u16,
    /// Ports that were looked at, existing or not.
    pub ports: Vec<OfPort>,
    /// Which ports there are mattered.
    pub all_ports: bool,
    /// Groups that were looked at, existing or not.
    pub groups: Vec<GroupId>,
}

impl Dependencies {
    /// A look-up with `key`, where the packet came with `original`.
    pub(super) fn looked_up(&mut self, table: TableId, key: &FlowKey, original: &FlowKey) {
        self.tables.insert(table);
        for (i, (word, own)) in key.words().iter().zip(original.words()).enumerate() {
            self.rewritten |= u16::from(word != own) << i;
        }
    }

    pub(super) fn port(&mut self, port: OfPort) {
        if !self.ports.contains(&port) {
            self.ports.push(port);
        }
    }

    pub(super) fn group(&mut self, group: GroupId) {
        if !self.groups.contains(&group) {
            self.groups.push(group);
        }
    }
}

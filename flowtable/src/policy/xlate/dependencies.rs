//! What a translation read besides the packet and the hosts.

use crate::policy::bridge_id::{BridgeId, PortRef, TableRef};
use flow::key::WordSet;
use flow::types::GroupId;

/// A set of tables; some tables count as one, so that the set has 64 members at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableSet(u64);

impl TableSet {
    /// Adds a table.
    pub fn insert(&mut self, table: TableRef) {
        self.0 |= Self::bit(table);
    }

    /// Whether a table may be in both.
    #[inline]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a table is in it. It may say so of one that is not.
    #[inline]
    pub fn may_contain(self, table: TableRef) -> bool {
        self.0 & Self::bit(table) != 0
    }

    /// Tables of the first bridge keep their order; those of others are spread between them.
    fn bit(at: TableRef) -> u64 {
        let number = u64::from(at.table.get()) + 37 * u64::from(at.bridge.get());
        1 << (number % 64)
    }
}

/// What a verdict depends on. As long as none of it changes, it is right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Tables that were looked into.
    pub tables: TableSet,
    /// Words of a [`FlowKey`](flow::FlowKey) that were not the packet's own in some look-up.
    pub rewritten: WordSet,
    /// Ports that were looked at, existing or not.
    pub ports: Vec<PortRef>,
    /// Bridges of which it mattered which ports there are.
    pub all_ports: Vec<BridgeId>,
    /// A port was looked for in all bridges, and was not found.
    pub misses_port: bool,
    /// Groups that were looked at, existing or not.
    pub groups: Vec<(BridgeId, GroupId)>,
}

impl Dependencies {
    /// Notes a look-up of a packet of which the words `rewritten` are not what the datapath extracted. `is_own_port`
    /// says that the packet was looked up with the port of this bridge that it came in on.
    pub(super) fn looked_up(&mut self, table: TableRef, is_own_port: bool, rewritten: WordSet) {
        self.tables.insert(table);
        if !is_own_port {
            self.rewritten.insert(0);
        }
        self.rewritten = self.rewritten.union(rewritten);
    }

    pub(super) fn port(&mut self, port: PortRef) {
        if !self.ports.contains(&port) {
            self.ports.push(port);
        }
    }

    pub(super) fn all_ports(&mut self, bridge: BridgeId) {
        if !self.all_ports.contains(&bridge) {
            self.all_ports.push(bridge);
        }
    }

    pub(super) fn group(&mut self, bridge: BridgeId, group: GroupId) {
        if !self.groups.contains(&(bridge, group)) {
            self.groups.push((bridge, group));
        }
    }
}

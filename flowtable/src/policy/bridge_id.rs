//! Numbers of bridges, places in a bridge, and a value for each bridge.

use flow::types::{OfPort, TableId};
use std::fmt;

/// A bridge's number in the policy, from 0 to [`BridgeId::COUNT`] - 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeId(u16);

impl BridgeId {
    /// Number of bridges that a switch can have.
    pub const COUNT: usize = 1024;
    /// The bridge that was added first.
    pub const FIRST: Self = Self(0);

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The bridge with this index, which must be below [`BridgeId::COUNT`].
    pub(super) fn at(index: usize) -> Self {
        debug_assert!(index < Self::COUNT);
        Self(index as u16)
    }

    /// The bridge's number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// A flow table of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableRef {
    /// The bridge that has the table.
    pub bridge: BridgeId,
    /// The table's number in the bridge.
    pub table: TableId,
}

/// A port of a bridge, by the number that the rules of the bridge use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRef {
    /// The bridge that has the port.
    pub bridge: BridgeId,
    /// The port's number in the bridge.
    pub port: OfPort,
}

impl fmt::Display for BridgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value for each bridge. Grows with the number of bridges and never shrinks, so that a [`BridgeId`] that was given
/// out stays valid.
#[derive(Debug)]
pub struct PerBridge<T>(Vec<T>);

impl<T> Default for PerBridge<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> PerBridge<T> {
    pub(super) fn push(&mut self, value: T) {
        self.0.push(value);
    }

    /// The value of a bridge.
    ///
    /// # Panics
    /// The number was not given out by this policy.
    pub fn of(&self, bridge: BridgeId) -> &T {
        &self.0[bridge.index()]
    }

    /// The value of a bridge, to be changed.
    pub(super) fn of_mut(&mut self, bridge: BridgeId) -> &mut T {
        &mut self.0[bridge.index()]
    }

    /// The values in the order of the bridges' numbers.
    pub fn iter(&self) -> impl Iterator<Item = (BridgeId, &T)> {
        self.0.iter().enumerate().map(|(index, value)| (BridgeId::at(index), value))
    }
}

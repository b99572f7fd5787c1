//! Places in a bridge, and a value for each bridge.

pub use flow::types::BridgeId;
use flow::types::{OfPort, TableId};

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

/// A value for each bridge. Grows with the number of bridges and never shrinks, so that a [`BridgeId`] that was
/// given out stays valid.
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

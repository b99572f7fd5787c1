//! Floods: frames that `NORMAL` sends to every port of their VLAN. Storm control limits their rate.

/// How many frames a second of each [`FloodKind`] a port may have flooded, unless its setting `storm` says
/// otherwise. A healthy network floods far fewer frames than this, and a loop of cables far more.
pub const DEFAULT_STORM_LIMIT: u32 = 10_000;

/// Why `NORMAL` floods a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloodKind {
    /// The destination is ff:ff:ff:ff:ff:ff.
    Broadcast,
    /// The destination is a multicast address.
    Multicast,
    /// The destination is the address of one host, which the MAC table does not have.
    UnknownUnicast,
}

/// The part of a verdict that says that its frames are floods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flood {
    /// Why the frames are flooded.
    pub kind: FloodKind,
    /// Limit in frames a second, which all verdicts of the same kind and ingress port share. A frame beyond the
    /// limit is dropped with [`DropReason::Storm`](super::DropReason::Storm).
    pub limit: u32,
}

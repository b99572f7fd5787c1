//! Floods: frames that go to everybody, which storm control limits.

/// Frames a second of each kind that a port may have flooded, unless configured otherwise: far more
/// than a healthy network asks for, far less than a loop makes.
pub const DEFAULT_STORM_LIMIT: u32 = 10_000;

/// Why everybody gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloodKind {
    /// It is addressed to everybody.
    Broadcast,
    /// It is addressed to a group.
    Multicast,
    /// Nobody knows where its destination is.
    UnknownUnicast,
}

/// A verdict floods, and may do so this often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flood {
    /// What makes the frame one for everybody.
    pub kind: FloodKind,
    /// Frames a second, all verdicts of this kind and port together.
    pub limit: u32,
}

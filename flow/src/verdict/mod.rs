//! What becomes of a frame: the steps of the datapath, why nothing is sent, and whether it is a flood.
//!
//! Translation writes verdicts, the datapath and every later back-end carry them out. Neither side knows
//! the other; both know this module.

mod action;
mod drop_reason;
mod flood;

pub use action::{AddressSums, ControllerMeta, DpAction, Rewrite, Transport};
pub use drop_reason::DropReason;
pub use flood::{DEFAULT_STORM_LIMIT, Flood, FloodKind};

//! The verdict about a frame: the datapath actions to carry out, or the reason why the frame is dropped, and
//! whether the frame is flooded.
//!
//! Translation (`flowtable::policy`) produces verdicts, and the datapath (`flowtable::datapath`) carries them
//! out. The two share this module and nothing else.

mod action;
mod drop_reason;
mod flood;
mod packet_in;

pub use action::{
    AddressSums, ControllerMeta, CtAction, CtCommit, DpAction, MeterRef, Rewrite, Transport,
};
pub use drop_reason::DropReason;
pub use flood::{DEFAULT_STORM_LIMIT, Flood, FloodKind};
pub use packet_in::PacketInReason;

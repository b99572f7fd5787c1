//! What is known of a packet, and conditions on it.

pub mod compose;
pub mod extract;
pub mod fields;
pub mod key;
pub mod matching;
pub mod prerequisite;

pub use key::{FlowKey, FlowMask, PipelineKey, PipelineMask};
pub use matching::Match;

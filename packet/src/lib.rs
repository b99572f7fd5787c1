//! Frames in memory, and the formats of their headers.
//!
//! - A [`Frame`] is an Ethernet frame, in memory that a port lends (a slot of a receive ring) or
//!   that the switch allocated (a copy). The frame's [`Offload`] says which checksum or segmentation
//!   its sender has left undone.
//! - A [`Batch`] has the frames of one receive call. The datapath works on batches.
//! - [`wire`] has a view for each protocol header, and the numbers by which headers name each other.
//!
//! The crate has byte formats only: no I/O, no clock, no threads, and no decision about
//! what happens to a frame.
//!
//! # Panics
//! A function that takes a position in a frame states the bound of the position, and panics beyond it as slices
//! do. [`wire`] says when a view of a header panics. No function panics because of the *contents* of a frame.
#![forbid(unsafe_code)]

mod batch;
pub mod checksum;
mod complete;
pub mod ecn;
mod fit;
mod frame;
mod inner;
mod merge;
mod mpls;
mod offload;
mod option_map;
mod outer;
mod segment;
mod too_long;
mod tunnel;
mod vlan;
pub mod wire;

pub use batch::{Batch, FrameId, MAX_BATCH, Prioritized};
pub use complete::{CompleteError, complete, complete_bytes};
pub use fit::limit_segments;
pub use frame::{Frame, HEADROOM, Layers};
pub use inner::{uncut_datagrams, unfinished_work};
pub use merge::{MAX_RUNS, Merger};
pub use offload::{GsoType, Offload, VNET_HDR_SIZE};
pub use option_map::{MappedOption, OptionMap};
pub use outer::{checksum_is_in_place, offload_matches_outer_l4};
pub use segment::{MAX_SEGMENTS, MIN_MSS, SegmentError, Segmentation};
pub use too_long::answer_too_long;
pub use tunnel::{TunnelKey, Tunneled};

//! The bytes that pass between ports and the flow table.
//!
//! A [`Frame`] is an Ethernet frame in memory that a port lent (a slot of a receive ring) or that the
//! switch allocated (a copy), together with the [`Offload`] work that its sender left undone. A
//! [`Batch`] is what one receive call hands over, and what the datapath works on. [`wire`] describes
//! the headers inside a frame and the numbers that name them.
//!
//! This crate knows byte formats and nothing else: no I/O, no clock, no threads, no decisions.
//!
//! # Panics
//! A function that takes a position documents its bound and panics beyond it, as slices do; [`wire`]
//! says when a view of a header panics. Nothing else here panics because of the *contents* of a frame.
#![forbid(unsafe_code)]

mod batch;
pub mod checksum;
mod complete;
mod frame;
mod mpls;
mod offload;
mod outer;
mod segment;
mod vlan;
pub mod wire;

pub use batch::{Batch, FrameId, MAX_BATCH};
pub use complete::{CompleteError, complete};
pub use frame::{Frame, HEADROOM, Layers};
pub use offload::{GsoType, Offload, VNET_HDR_SIZE};
pub use outer::offload_matches_outer_l4;
pub use segment::{SegmentError, gso_header_size, segment};

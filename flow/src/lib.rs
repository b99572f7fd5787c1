//! The language that users, controllers and the switch have in common, as Rust types and as text.
//!
//! - A packet is described by its headers ([`FlowKey`]), and inside the tables also
//!   by registers and metadata ([`PipelineKey`]).
//! - A user selects packets with a [`Match`], says with a list of [`action::Action`]s what happens to them, and
//!   sends both to the switch in a [`flow_mod::FlowMod`], a [`group::GroupMod`] or a [`packet_out::PacketOut`].
//! - The switch answers for each packet with a list of [`verdict::DpAction`]s or a [`verdict::DropReason`].
//!
//! The crate decides nothing: it has no tables, no caches, no I/O and no clock. Tables are in `flowtable`.
#![forbid(unsafe_code)]

pub mod action;
pub mod bit_set;
pub mod compose;
pub mod ct;
pub mod ct_filter;
pub mod ct_timeout;
pub mod dialect;
pub mod extract;
pub mod fields;
pub mod flow_mod;
pub mod group;
pub mod key;
pub mod learn;
pub mod lint;
pub mod manual;
pub mod matching;
pub mod members;
pub mod meter;
pub mod metric;
pub mod nat;
pub mod packed;
pub mod packet_out;
pub mod prerequisite;
pub mod sampling;
mod sketch;
pub mod table_mod;
pub mod text;
pub mod tlv_map;
pub mod types;
pub mod verdict;

pub use key::{FlowKey, FlowMask, Headers, PipelineKey, PipelineMask};
pub use matching::Match;

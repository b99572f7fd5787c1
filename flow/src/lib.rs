//! What can be said about packets: what is known of one, conditions on it, actions, rules, groups, and verdicts.
//!
//! This crate holds the language that users, controllers and the switch have in common, in types and in text.
//! It decides nothing: no tables, no caches, no I/O, no clock.
#![forbid(unsafe_code)]

pub mod action;
pub mod bit_set;
pub mod compose;
pub mod extract;
pub mod fields;
pub mod flow_mod;
pub mod group;
pub mod key;
pub mod lint;
pub mod matching;
pub mod packet_out;
pub mod prerequisite;
pub mod text;
pub mod types;
pub mod verdict;

pub use key::{FlowKey, FlowMask, Headers, PipelineKey, PipelineMask};
pub use matching::Match;

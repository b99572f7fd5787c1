//! What the switch decides: keys, rules, tables, translation and caches.
//!
//! No I/O, no clock, no threads: time and seeds are arguments, side effects are returned as data.
#![deny(unsafe_code)]

pub mod action;
pub mod classifier;
pub mod datapath;
pub mod flow;
pub mod flow_mod;
pub mod group;
pub mod lint;
pub mod packet_out;
pub mod pipeline;
pub mod text;
pub mod trace;
pub mod types;

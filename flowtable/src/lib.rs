//! What the switch decides: tables, translation and caches.
//!
//! No I/O, no clock, no threads: time and seeds are arguments, side effects are returned as data.
#![deny(unsafe_code)]

pub mod classifier;
pub mod conntrack;
pub mod datapath;
mod effort;
pub mod overload;
pub mod policy;
pub mod trace;

#[cfg(feature = "hold-times")]
pub use effort::time_holds;

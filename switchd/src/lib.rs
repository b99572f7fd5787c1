//! The daemon as a library: the switch, its workers, and what watches over them.
//!
//! [`daemon::main`] reads the command line and wires. Tests and benchmarks use [`switch::Switch`] with
//! ports in memory.

pub mod bfd;
pub mod bridge;
pub mod confinement;
pub mod daemon;
pub mod desired;
mod detach;
pub mod edition;
mod event_text;
pub mod kernel_cache;
mod lock_file;
mod log;
mod log_limit;
mod manual;
pub mod monitor;
mod neighbours;
mod netns_name;
pub mod openflow;
pub mod options;
mod parallel;
pub mod port_slot;
mod punts;
mod reload;
mod ring_budget;
mod rootless;
pub mod saved;
pub mod server;
mod signals;
mod spare_memory;
pub mod state;
mod supervisor;
pub mod switch;
pub mod takeover;
mod worker;

//! Frames from one host to another: through the switch, through others in its place, and through
//! nothing but a cable, all measured the same way.
//!
//! - [`Through`] is what can be between two hosts, [`Network`] two hosts with it between them.
//! - [`Measure`] is what can be measured, [`Figure`] a number that comes of it.
//! - [`goals`] compares figures of one run.
//! - [`many_ports`] measures a switch of many ports against what the kernel takes for them, and against itself.
//! - [`hot`] measures the kernel cache beside attacks and changes, with many flows,
//!   and where it forwards nothing.
//! - [`tunnels`] measures two switches with a tunnel between them.
//!
//! The networks are laboratories ([`lab`]): no root. All of them stand side by side, so that
//! a run can measure one after the other in turn: what disturbs a machine for a minute then disturbs
//! all of them. Generator and switch are pinned to two processors, so that neither is measured
//! waiting for the other; TCP ends run where the scheduler puts them, as they would.

mod figure;
pub mod goals;
pub mod hot;
mod idle_ports;
pub mod many_ports;
mod measure;
mod network;
pub(crate) mod processes;
mod rules;
pub mod tap_loop;
mod through;
pub mod tunnels;

pub use figure::Figure;
pub use idle_ports::IdlePorts;
pub use measure::{Measure, Step};
pub use network::{Network, Programs};
pub use processes::on_core;
pub use through::{RingGeometry, Through};

use std::time::Duration;

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The time of one measurement.
    pub duration: Duration,
    /// Runs of which the median is taken.
    pub runs: u16,
    /// The programs that are measured.
    pub programs: Programs,
}

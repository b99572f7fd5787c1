//! A switch of many ports: how long it takes to start and to stop, what idle ports take from busy ones, and
//! what floods take from everybody.
//!
//! The devices are veth pairs without IPv6, so that nothing comes from them unasked. Those of `lifetimes` do
//! not exist while `idle` and `floods` are measured: the kernel itself walks through lists of all devices.

mod floods;
mod idle;
mod lifetimes;

use super::network::Programs;
use crate::report::{Goal, Report};
use std::time::Duration;

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Ports beside the two that are busy.
    pub ports: u16,
    /// The time of one measurement of a rate.
    pub duration: Duration,
    /// Runs of which the median is taken.
    pub runs: u16,
    /// The programs that are measured.
    pub programs: Programs,
}

/// Measures everything, adds the tables to the report, and returns the goals.
///
/// # Errors
/// A network cannot be built, or nothing gets through it.
pub fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<Vec<Goal>> {
    let mut goals = Vec::new();
    for part in [lifetimes::measure, idle::measure, floods::measure] {
        let (table, more) = part(plan)?;
        report.add(table);
        goals.extend(more);
    }
    Ok(goals)
}

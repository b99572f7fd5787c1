//! Time that this thread has spent on a core.
//!
//! The machines that run the benchmarks are shared. A rate over the time on the core leaves out the
//! neighbours' share of it, though not their share of the last-level cache.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Measures the processor time of the calling thread from its creation on.
#[derive(Clone, Copy, Debug)]
pub struct CpuTimer(Duration);

impl CpuTimer {
    /// A timer that starts now.
    pub fn start() -> Self {
        Self(on_core())
    }

    /// The time that the thread has spent on a core since the start.
    pub fn elapsed(self) -> Duration {
        on_core() - self.0
    }
}

/// The time that the calling thread has spent on a core since its start.
pub fn on_core() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    Duration::from(now.unwrap_or_else(|_| TimeSpec::new(0, 0)))
}

/// The middle one of several values; the upper one of two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

//! Waits for a condition with a deadline, so that tests need no sleeps of guessed length.

use crate::LabError;
use std::time::{Duration, Instant};

/// The deadline for events that take milliseconds on an idle machine. It is long enough for a machine with
/// dozens of busy processes; only a test that fails waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two evaluations of a condition.
const STEP: Duration = Duration::from_millis(2);

/// Waits until `condition` is true, up to [`PATIENCE`]; see [`within`].
///
/// # Errors
/// [`LabError::Late`] with `what`, the condition in words.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) -> Result<(), LabError> {
    within(PATIENCE, what, condition)
}

/// Waits until `condition` is true, up to `limit`. The condition is evaluated at least once.
///
/// # Errors
/// [`LabError::Late`] with `what`, the condition in words.
pub fn within(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<(), LabError> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return Err(LabError::Late { what: what.to_owned(), waited: limit });
        }
        std::thread::sleep(STEP);
    }
    Ok(())
}

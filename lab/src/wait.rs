//! Waiting for something to become true, with a deadline instead of a guess.

use crate::LabError;
use std::time::{Duration, Instant};

/// How long to wait for something that happens within milliseconds on an idle machine, before it counts
/// as something that does not happen. Long enough for a machine with dozens of busy processes: nobody
/// waits that long but for what is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks.
const STEP: Duration = Duration::from_millis(2);

/// Waits as long as [`PATIENCE`] lasts until `condition` holds; see [`within`].
///
/// # Errors
/// [`LabError::Late`], naming `what`.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) -> Result<(), LabError> {
    within(PATIENCE, what, condition)
}

/// Waits up to `limit` until `condition` holds. It is looked at once at least.
///
/// # Errors
/// [`LabError::Late`], naming `what`.
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

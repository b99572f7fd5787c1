//! Waiting for something to become true, with a deadline instead of a guess.

use crate::LabError;
use std::time::{Duration, Instant};

/// Pause between two looks.
const STEP: Duration = Duration::from_millis(2);

/// Waits up to five seconds until `condition` holds; see [`within`].
///
/// # Errors
/// [`LabError::Late`], naming `what`.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) -> Result<(), LabError> {
    within(Duration::from_secs(5), what, condition)
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

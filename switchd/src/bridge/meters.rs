//! Meters: changed together, and listed in slices so that no list of them is in memory.

use crate::switch::OnBridge;
use flow::meter::{MeterMod, MeterStats};
use flow::types::MeterId;
use flowtable::policy::effects::Effects;
use flowtable::policy::meters::MeterEntry;
use flowtable::policy::{FlowModError, MeterWalk};
use std::sync::Arc;
use std::time::Duration;

/// Makes all of these changes, or none of them. Returns what they did.
///
/// # Errors
/// The index of the first change that is refused, and why. Nothing has changed then.
pub fn change(
    switch: OnBridge<'_>,
    changes: &[MeterMod],
) -> Result<Arc<Effects>, (usize, FlowModError)> {
    let mut transaction = switch.bridge().begin();
    for (index, change) in changes.iter().enumerate() {
        transaction.apply_meter(change, switch.now()).map_err(|error| (index, error))?;
    }
    Ok(transaction.commit())
}

/// The meters of a list, all as they were when it was begun.
pub struct MeterList<'a> {
    walk: MeterWalk<'a>,
    /// The only meter of the list, until it was taken.
    only: Option<Arc<MeterEntry>>,
    is_over: bool,
    now: Duration,
}

/// A bridge has no meter of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("meter {0} does not exist")]
pub struct UnknownMeter(pub MeterId);

/// Begins a list of one meter, or of all with `None` or [`MeterId::ALL`]. Its counters
/// include what caches have forwarded.
///
/// # Errors
/// There is no meter of this number.
pub fn list(switch: OnBridge<'_>, which: Option<MeterId>) -> Result<MeterList<'_>, UnknownMeter> {
    switch.settle();
    let walk = switch.bridge().walk_meters();
    let which = which.filter(|id| *id != MeterId::ALL);
    let only = which.map(|id| walk.get(id).ok_or(UnknownMeter(id))).transpose()?;
    Ok(MeterList { walk, is_over: false, only, now: switch.now() })
}

impl MeterList<'_> {
    /// The next few meters; `None` at the end.
    pub fn next_slice(&mut self) -> Option<Vec<Arc<MeterEntry>>> {
        if let Some(only) = self.only.take() {
            self.is_over = true;
            return Some(vec![only]);
        }
        if self.is_over { None } else { self.walk.next_slice() }
    }

    /// The counters of a meter of the list.
    pub fn stats(&self, entry: &MeterEntry) -> MeterStats {
        entry.to_stats(self.walk.users_of(entry.meter.id), self.now)
    }
}

//! Groups: changed together, and listed in slices so that no list of them is in memory.

use crate::switch::OnBridge;
use flow::group::{GroupMod, GroupStats};
use flow::types::GroupId;
use flowtable::policy::effects::Effects;
use flowtable::policy::groups::GroupEntry;
use flowtable::policy::{FlowModError, GroupWalk};
use std::sync::Arc;
use std::time::Duration;

/// Makes all of these changes, or none of them. Returns what they did.
///
/// # Errors
/// The index of the first change that is refused, and why. Nothing has changed then.
pub fn change(
    switch: OnBridge<'_>,
    changes: &[GroupMod],
) -> Result<Arc<Effects>, (usize, FlowModError)> {
    let mut transaction = switch.bridge().begin();
    for (index, change) in changes.iter().enumerate() {
        transaction.apply_group(change, switch.now()).map_err(|error| (index, error))?;
    }
    Ok(transaction.commit())
}

/// Whether the bridge has a group of this number.
pub fn exists(switch: OnBridge<'_>, id: GroupId) -> bool {
    switch.bridge().walk_groups().get(id).is_some()
}

/// The groups of a list, all as they were when it was begun.
pub struct GroupList<'a> {
    walk: GroupWalk<'a>,
    /// The only group of the list, until it was taken.
    only: Option<Arc<GroupEntry>>,
    is_over: bool,
    now: Duration,
}

/// A bridge has no group of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("group {} does not exist", .0.0)]
pub struct UnknownGroup(pub GroupId);

/// Begins a list of one group, or of all with `None` or [`GroupId::ALL`]. Its counters include what caches have
/// forwarded. [`GroupId::ANY`] is the number of no group, as in Open vSwitch.
///
/// # Errors
/// There is no group of this number.
pub fn list(switch: OnBridge<'_>, which: Option<GroupId>) -> Result<GroupList<'_>, UnknownGroup> {
    switch.settle();
    let walk = switch.bridge().walk_groups();
    let which = which.filter(|id| *id != GroupId::ALL);
    let only = which.map(|id| walk.get(id).ok_or(UnknownGroup(id))).transpose()?;
    Ok(GroupList { walk, is_over: false, only, now: switch.now() })
}

impl GroupList<'_> {
    /// The next few groups; `None` at the end.
    pub fn next_slice(&mut self) -> Option<Vec<Arc<GroupEntry>>> {
        if let Some(only) = self.only.take() {
            self.is_over = true;
            return Some(vec![only]);
        }
        if self.is_over { None } else { self.walk.next_slice() }
    }

    /// The counters of a group of the list.
    pub fn stats(&self, entry: &GroupEntry) -> GroupStats {
        let (packets, bytes) = entry.counters.totals();
        GroupStats {
            ref_count: self.walk.users_of(entry.group.id),
            packets,
            bytes,
            duration: self.now.saturating_sub(entry.counters.created()),
            buckets: entry.counters.buckets().collect(),
        }
    }
}

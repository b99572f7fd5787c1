//! Gives a bridge its kept rules, groups and meters.

use super::change::Timeouts;
use super::error::StateError;
use super::kept::KeptBridge;
use flow::Match;
use flow::flow_mod::{Command, FlowMod};
use flow::group::GroupMod;
use flow::meter::MeterMod;
use flow::types::{GroupId, MeterId};
use flowtable::policy::{Bridge, FlowModError};
use std::time::Duration;

/// The number of rules that are restored in one step.
const BATCH: usize = 4096;

/// Replaces the rules, groups and meters of a bridge by the kept ones, in one transaction.
///
/// # Errors
/// A match cannot be read, or the policy refuses a rule, a group or a meter. The bridge has not changed then.
pub(crate) fn restore(
    bridge: Bridge<'_>,
    name: &str,
    kept: &KeptBridge<'_>,
    timeouts: Timeouts,
    now: Duration,
) -> Result<(), StateError> {
    let refused = |what: String, error: FlowModError| StateError::Refused {
        bridge: name.to_owned(),
        what,
        error,
    };
    let mut transaction = bridge.begin();
    let everything = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
    transaction
        .apply(&everything, now)
        .and_then(|()| transaction.apply_group(&GroupMod::Delete(GroupId::ALL), now))
        .and_then(|()| transaction.apply_meter(&MeterMod::Delete(MeterId::ALL), now))
        .map_err(|error| refused("state".to_owned(), error))?;
    for meter in kept.meters.values() {
        transaction
            .apply_meter(&MeterMod::Add(meter.clone()), now)
            .map_err(|error| refused(json("meter", meter), error))?;
    }
    for group in kept.groups.values() {
        transaction
            .apply_group(&GroupMod::Add(group.clone()), now)
            .map_err(|error| refused(json("group", group), error))?;
    }
    let mut rules: Vec<_> = kept.rules.values().collect();
    // The classifier needs less memory if rules of one table come one after the other.
    rules.sort_by_key(|rule| (rule.table, rule.priority));
    for batch in rules.chunks(BATCH) {
        let mut requests = Vec::with_capacity(batch.len());
        let mut restored = Vec::with_capacity(batch.len());
        for rule in batch {
            if let Some(request) = rule.to_flow_mod(timeouts)? {
                requests.push(request);
                restored.push(rule);
            }
        }
        transaction
            .apply_all(&requests, now)
            .map_err(|(at, error)| refused(json("rule", restored[at]), error))?;
    }
    transaction.commit();
    Ok(())
}

/// A kept rule, group or meter as JSON, for an error.
fn json(what: &str, value: &impl serde::Serialize) -> String {
    let value = serde_json::to_string(value).unwrap_or_default();
    format!("{what} {value}")
}

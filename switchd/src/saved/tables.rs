//! Gives a bridge the rules, groups and meters of a file.

use super::plan::FlowPairs;
use super::{SavedFlow, SavedGroup, SavedMeter, SavedSwitch, SavedTables, write};
use flow::Match;
use flow::flow_mod::{Command, FlowMod};
use flow::group::GroupMod;
use flow::meter::MeterMod;
use flow::text::TextError;
use flow::types::{GroupId, MeterId};
use flowtable::policy::{Bridge, BridgeId, Conduct, FlowModError, Policy, Transaction};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The number of rules that are parsed and given to a transaction in one step.
const BATCH: usize = 4096;

/// The reason why a bridge cannot have the rules, groups or meters of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bridge \"{bridge}\": {line}: {fault}")]
pub struct TableError {
    /// The name of the bridge.
    pub bridge: String,
    /// The rule, group or meter.
    pub line: String,
    /// The number of the line in the file, from 1; 0 if the rule, group or meter comes from no file.
    pub origin: u32,
    /// Why the switch cannot have the line.
    pub fault: TableFault,
}

/// The reason why a rule, group or meter is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableFault {
    /// The tables of a bridge do not take the rule, group or meter.
    #[error(transparent)]
    Refused(#[from] FlowModError),
    /// The rule cannot be parsed.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Looks whether the bridges can have the rules, groups and meters of `wanted`, in tables that no packet ever
/// sees. What a bridge of `wanted` leaves out is taken from `before`. `step` is called now and then.
///
/// # Errors
/// The first rule, group or meter that would be refused.
pub(crate) fn check(
    wanted: &SavedSwitch,
    before: &SavedSwitch,
    conduct: Conduct,
    step: &dyn Fn(),
) -> Result<(), TableError> {
    for (name, tables) in &wanted.tables {
        let old = before.tables.get(name);
        let groups = tables.groups.as_ref().or(old.and_then(|old| old.groups.as_ref()));
        let meters = tables.meters.as_ref().or(old.and_then(|old| old.meters.as_ref()));
        let flows = tables.flows.as_ref().or(old.and_then(|old| old.flows.as_ref()));
        let policy = Policy::with_one_bridge(1).with_conduct(conduct);
        let bridge = policy.bridge(BridgeId::FIRST);
        if let Ok(wanted) = wanted.desired.bridge(name) {
            bridge.map_options(Arc::new(wanted.tlv_map.options()));
        }
        let mut change = TableTransaction {
            bridge: name,
            transaction: bridge.begin(),
            now: Duration::ZERO,
            step,
        };
        change.put_meters(meters.into_iter().flat_map(BTreeMap::values), &BTreeMap::new())?;
        change.put_groups(groups.into_iter().flat_map(BTreeMap::values))?;
        change.put_flows(flows.into_iter().flatten())?;
        change.transaction.commit();
    }
    Ok(())
}

/// Gives a bridge the rules, groups and meters of a file, in one transaction. Rules, groups and meters that
/// stay keep their counters. `name` is the name of the bridge, for messages, and `step` is called now and then.
///
/// # Errors
/// A rule, a group or a meter is refused. The bridge has not changed then.
pub(crate) fn replace_tables(
    bridge: Bridge<'_>,
    name: &str,
    tables: &SavedTables,
    now: Duration,
    step: &dyn Fn(),
) -> Result<(), TableError> {
    let mut change = TableTransaction { bridge: name, transaction: bridge.begin(), now, step };
    // Nobody else changes the tables while there is a transaction.
    match change.change(bridge, tables) {
        Err(TableError { fault: TableFault::Refused(error), .. }) if is_loop(&error) => {}
        changed => {
            changed?;
            change.transaction.commit();
            return Ok(());
        }
    }
    // Two groups of which each shall refer to the other one instead of being referred to are a loop while one
    // has changed and the other one has not. The second attempt removes all groups first. The refused
    // transaction ends before, because the tables take one transaction at a time.
    drop(change);
    let mut change = TableTransaction { bridge: name, transaction: bridge.begin(), now, step };
    change.replace(bridge, tables)?;
    change.transaction.commit();
    Ok(())
}

fn is_loop(error: &FlowModError) -> bool {
    matches!(error, FlowModError::GroupLoop(_) | FlowModError::WatchLoop(_))
}

/// A transaction on the tables of one bridge.
struct TableTransaction<'a> {
    /// The name of the bridge.
    bridge: &'a str,
    transaction: Transaction<'a>,
    now: Duration,
    step: &'a dyn Fn(),
}

impl TableTransaction<'_> {
    /// Changes what differs.
    fn change(&mut self, bridge: Bridge<'_>, tables: &SavedTables) -> Result<(), TableError> {
        if let Some(wanted) = &tables.meters {
            let have = write::meters(bridge);
            for (id, meter) in have.iter().filter(|(id, _)| !wanted.contains_key(id)) {
                self.apply_meter(&MeterMod::Delete(MeterId(*id)), meter)?;
            }
            let is_new = |meter: &&SavedMeter| {
                have.get(&meter.meter.id.0).is_none_or(|old| old.line != meter.line)
            };
            self.put_meters(wanted.values().filter(is_new), &have)?;
        }
        if let Some(wanted) = &tables.groups {
            let have = write::groups(bridge);
            for (id, group) in have.iter().filter(|(id, _)| !wanted.contains_key(id)) {
                self.apply_group(&GroupMod::Delete(GroupId(*id)), group)?;
            }
            let is_new = |group: &&SavedGroup| {
                have.get(&group.group.id.0).is_none_or(|old| old.line != group.line)
            };
            self.put_groups(wanted.values().filter(is_new))?;
        }
        if let Some(wanted) = &tables.flows {
            let have = write::flows(bridge);
            let gone = FlowPairs::new(&have, wanted).filter(|(_, new)| new.is_none());
            self.delete_flows(gone.filter_map(|(old, _)| old))?;
            let new = FlowPairs::new(&have, wanted).filter_map(|pair| match pair {
                (Some(old), Some(new)) if old.line == new.line => None,
                (_, new) => new,
            });
            self.put_flows(new)?;
        }
        Ok(())
    }

    /// Removes everything, and adds everything.
    fn replace(&mut self, bridge: Bridge<'_>, tables: &SavedTables) -> Result<(), TableError> {
        let (groups, flows) = (write::groups(bridge), write::flows(bridge));
        let meters = write::meters(bridge);
        let everything = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
        let transaction = &mut self.transaction;
        let emptied = transaction
            .apply(&everything, self.now)
            .and_then(|()| transaction.apply_group(&GroupMod::Delete(GroupId::ALL), self.now))
            .and_then(|()| transaction.apply_meter(&MeterMod::Delete(MeterId::ALL), self.now));
        emptied.map_err(|error| self.error("", 0, error))?;
        let meters = tables.meters.as_ref().unwrap_or(&meters);
        self.put_meters(meters.values(), &BTreeMap::new())?;
        self.put_groups(tables.groups.as_ref().unwrap_or(&groups).values())?;
        self.put_flows(tables.flows.as_ref().unwrap_or(&flows))
    }

    /// Adds meters, or changes those that `have` has.
    fn put_meters<'m>(
        &mut self,
        meters: impl IntoIterator<Item = &'m SavedMeter>,
        have: &BTreeMap<u32, SavedMeter>,
    ) -> Result<(), TableError> {
        for meter in meters {
            (self.step)();
            let request = match have.contains_key(&meter.meter.id.0) {
                true => MeterMod::Modify(meter.meter.clone()),
                false => MeterMod::Add(meter.meter.clone()),
            };
            self.apply_meter(&request, meter)?;
        }
        Ok(())
    }

    fn apply_meter(&mut self, request: &MeterMod, meter: &SavedMeter) -> Result<(), TableError> {
        let applied = self.transaction.apply_meter(request, self.now);
        applied.map_err(|error| self.error(&meter.line, meter.origin, error))
    }

    fn put_groups<'g>(
        &mut self,
        groups: impl IntoIterator<Item = &'g SavedGroup>,
    ) -> Result<(), TableError> {
        for group in groups {
            (self.step)();
            self.apply_group(&GroupMod::AddOrModify(group.group.clone()), group)?;
        }
        Ok(())
    }

    fn apply_group(&mut self, request: &GroupMod, group: &SavedGroup) -> Result<(), TableError> {
        let applied = self.transaction.apply_group(request, self.now);
        applied.map_err(|error| self.error(&group.line, group.origin, error))
    }

    fn put_flows<'f>(
        &mut self,
        flows: impl IntoIterator<Item = &'f SavedFlow>,
    ) -> Result<(), TableError> {
        self.apply_flows(flows, |_| {})
    }

    fn delete_flows<'f>(
        &mut self,
        flows: impl IntoIterator<Item = &'f SavedFlow>,
    ) -> Result<(), TableError> {
        self.apply_flows(flows, |request| {
            request.command = Command::DeleteStrict;
            request.actions.clear();
            // Names and labels would select rules.
            (request.name, request.label) = (None, None);
        })
    }

    /// Applies the requests of rules, each changed by `alter`.
    fn apply_flows<'f>(
        &mut self,
        flows: impl IntoIterator<Item = &'f SavedFlow>,
        alter: impl Fn(&mut FlowMod),
    ) -> Result<(), TableError> {
        let mut flows = flows.into_iter().peekable();
        while flows.peek().is_some() {
            let batch: Vec<&SavedFlow> = flows.by_ref().take(BATCH).collect();
            let mut requests = Vec::with_capacity(batch.len());
            for flow in &batch {
                let request = flow.to_flow_mod();
                let mut request = request.map_err(|e| self.error(&flow.line, flow.origin, e))?;
                alter(&mut request);
                requests.push(request);
            }
            let applied = self.transaction.apply_all(&requests, self.now);
            applied.map_err(|(at, e)| self.error(&batch[at].line, batch[at].origin, e))?;
            (self.step)();
        }
        Ok(())
    }

    fn error(&self, line: &str, origin: u32, fault: impl Into<TableFault>) -> TableError {
        let (bridge, line) = (self.bridge.to_owned(), line.to_owned());
        TableError { bridge, line, origin, fault: fault.into() }
    }
}

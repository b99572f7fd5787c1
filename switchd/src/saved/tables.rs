//! Gives a bridge the rules and groups of a file.

use super::plan::FlowPairs;
use super::{SavedFlow, SavedGroup, SavedSwitch, SavedTables, write};
use flow::Match;
use flow::flow_mod::{Command, FlowMod};
use flow::group::GroupMod;
use flow::text::TextError;
use flow::types::GroupId;
use flowtable::policy::{Bridge, BridgeId, Conduct, FlowModError, Policy, Transaction};
use std::collections::BTreeMap;
use std::time::Duration;

/// The number of rules that are parsed and given to a transaction in one step.
const BATCH: usize = 4096;

/// The reason why a bridge cannot have the rules or groups of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bridge \"{bridge}\": {line}: {fault}")]
pub struct TableError {
    /// The name of the bridge.
    pub bridge: String,
    /// The rule or group.
    pub line: String,
    /// The number of the line in the file, from 1; 0 if the rule or group comes from no file.
    pub origin: u32,
    /// Why the switch cannot have the line.
    pub fault: TableFault,
}

/// The reason why a rule or group is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableFault {
    /// The tables of a bridge do not take the rule or group.
    #[error(transparent)]
    Refused(#[from] FlowModError),
    /// The rule cannot be parsed.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Looks whether the bridges can have the rules and groups of `wanted`, in tables that no packet ever sees. What a bridge of
/// `wanted` leaves out is taken from `before`. `step` is called now and then.
///
/// # Errors
/// The first rule or group that would be refused.
pub(crate) fn check(
    wanted: &SavedSwitch,
    before: &SavedSwitch,
    conduct: Conduct,
    step: &dyn Fn(),
) -> Result<(), TableError> {
    for (name, tables) in &wanted.tables {
        let old = before.tables.get(name);
        let groups = tables.groups.as_ref().or(old.and_then(|old| old.groups.as_ref()));
        let flows = tables.flows.as_ref().or(old.and_then(|old| old.flows.as_ref()));
        let policy = Policy::with_one_bridge(1).with_conduct(conduct);
        let bridge = policy.bridge(BridgeId::FIRST);
        let mut change = TableTransaction {
            bridge: name,
            transaction: bridge.begin(),
            now: Duration::ZERO,
            step,
        };
        change.put_groups(groups.into_iter().flat_map(BTreeMap::values))?;
        change.put_flows(flows.into_iter().flatten())?;
        change.transaction.commit();
    }
    Ok(())
}

/// Gives a bridge the rules and groups of a file, in one transaction. Rules and groups that stay keep their counters.
/// `name` is the name of the bridge, for messages, and `step` is called now and then.
///
/// # Errors
/// A rule or a group is refused. The bridge has not changed then.
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
    // Two groups of which each shall refer to the other one instead of being referred to are a loop while one has changed and
    // the other one has not. The second attempt removes all groups first. The refused transaction ends before, because
    // the tables take one transaction at a time.
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
        let everything = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
        let transaction = &mut self.transaction;
        let emptied = transaction
            .apply(&everything, self.now)
            .and_then(|()| transaction.apply_group(&GroupMod::Delete(GroupId::ALL), self.now));
        emptied.map_err(|error| self.error("", 0, error))?;
        self.put_groups(tables.groups.as_ref().unwrap_or(&groups).values())?;
        self.put_flows(tables.flows.as_ref().unwrap_or(&flows))
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

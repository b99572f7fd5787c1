//! All of a switch as text that people read and version, and the difference between two of these.
//!
//! ```text
//! switch ── SavedSwitch::of ──► SavedSwitch ── write ──► text (ofctl save, the history)
//! file ─── SavedSwitch::read ─► SavedSwitch ── plan ───► PlanLine (ofctl plan)
//!                                    └ Switch::apply ──► the switch is as the file says (ofctl apply)
//! ```
//!
//! A [`SavedSwitch`] has bridges, ports, rules, groups, meters and static hosts. Counters and learned hosts are
//! not saved. Rules, groups and meters are lines of the flow language: two rules are the same if their lines
//! are, because reading a line that was written gives the same rule. A rule is parsed when a table takes it, so
//! that a million rules are a million lines and not a million parsed rules.
//!
//! [`History`] keeps the last states, and [`Trial`] is a state that goes again unless somebody confirms it.

mod history;
mod plan;
mod read;
mod tables;
mod trial;
mod write;

pub use history::{History, HistoryEntry};
pub use plan::{PlanLine, PlanSubject, plan};
pub use tables::{TableError, TableFault};
pub(crate) use tables::{check, replace_tables};
pub use trial::{Author, Trial};

use crate::desired::{Bridge, Desired};
use crate::switch::Switch;
use flow::flow_mod::FlowMod;
use flow::group::Group;
use flow::meter::Meter;
use flow::text::{FlowLine, NoPortNames, TextError, parse_saved_flow};
use flow::types::{OfPort, TableId};
use flowtable::policy::mac_table::MacKey;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// All of a switch that is saved.
#[derive(Clone, Debug, Default)]
pub struct SavedSwitch {
    /// The bridges and ports, with their settings, and the settings of the switch.
    pub desired: Desired,
    /// Rules, groups, meters and static hosts, by the names of their bridges.
    pub tables: BTreeMap<String, SavedTables>,
}

/// Rules, groups, meters and static hosts of a bridge. What is `None` is not in the file, and stays as it is.
#[derive(Clone, Debug, Default)]
pub struct SavedTables {
    /// The groups by their numbers.
    pub groups: Option<BTreeMap<u32, SavedGroup>>,
    /// The meters by their numbers.
    pub meters: Option<BTreeMap<u32, SavedMeter>>,
    /// The rules, sorted by table, priority (the highest one first) and match. No two rules
    /// agree in all of these.
    pub flows: Option<Vec<SavedFlow>>,
    /// The ports of the static hosts, by the addresses of the hosts.
    pub hosts: Option<BTreeMap<MacKey, OfPort>>,
}

/// A rule as a line of text.
#[derive(Clone, Debug)]
pub struct SavedFlow {
    table: TableId,
    priority: u16,
    /// The rule as [`flow::text::FlowLine::write_saved`] writes it.
    line: Box<str>,
    /// Start and end of the match in `line`, in bytes.
    matching: (u32, u32),
    /// The number of the rule's line in the file, from 1; 0 for a rule of the switch.
    origin: u32,
}

/// A group and its line.
#[derive(Clone, Debug)]
pub struct SavedGroup {
    group: Group,
    /// The group as [`flow::text::write_saved_group`] writes it.
    line: Box<str>,
    /// The number of the group's line in the file, from 1; 0 for a group of the switch.
    origin: u32,
}

/// A meter and its line.
#[derive(Clone, Debug)]
pub struct SavedMeter {
    meter: Meter,
    /// The meter as [`flow::text::write_saved_meter`] writes it.
    line: Box<str>,
    /// The number of the meter's line in the file, from 1; 0 for a meter of the switch.
    origin: u32,
}

impl SavedTables {
    /// The tables of a bridge that was just added: one rule, or none.
    pub(crate) fn of_new_bridge(bridge: &Bridge) -> Self {
        let rule = bridge.forwards_on_its_own().then(Switch::default_rule);
        let flow = |rule| SavedFlow::new(&FlowLine::of(&rule), 0, &mut String::new());
        Self { flows: Some(rule.into_iter().map(flow).collect()), ..Self::empty() }
    }

    /// These tables, and those of `others` that are not here.
    pub(crate) fn or(self, others: Self) -> Self {
        Self {
            groups: self.groups.or(others.groups),
            meters: self.meters.or(others.meters),
            flows: self.flows.or(others.flows),
            hosts: self.hosts.or(others.hosts),
        }
    }

    /// The requests that add the rules.
    pub(crate) fn requests(&self) -> impl Iterator<Item = Result<FlowMod, TextError>> {
        self.flows.iter().flatten().map(SavedFlow::to_flow_mod)
    }

    /// The groups, in the order of their numbers.
    pub(crate) fn all_groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().flat_map(BTreeMap::values).map(|group| &group.group)
    }

    /// The meters, in the order of their numbers.
    pub(crate) fn all_meters(&self) -> impl Iterator<Item = &Meter> {
        self.meters.iter().flat_map(BTreeMap::values).map(|meter| &meter.meter)
    }
}

impl SavedFlow {
    /// The place of the rule, of which a bridge has one rule at most: table, priority and match. Rules of a
    /// table are sorted from the highest priority to the lowest.
    fn place(&self) -> (TableId, Reverse<u16>, &str) {
        let (start, end) = self.matching;
        (self.table, Reverse(self.priority), &self.line[start as usize..end as usize])
    }

    /// The request that adds the rule.
    ///
    /// # Errors
    /// None, unless the line was not written by [`flow::text::FlowLine::write_saved`].
    fn to_flow_mod(&self) -> Result<FlowMod, TextError> {
        let mut rule = parse_saved_flow(&self.line, &NoPortNames)?;
        rule.table = Some(self.table);
        Ok(rule)
    }
}

#[cfg(test)]
mod tests;

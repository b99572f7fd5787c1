//! Rules that are allowed and hardly meant: never matching, ambiguous, endless, leading nowhere.
//!
//! Finds a rule that *one* better rule hides, not one that several hide together. Rules are compared
//! by their masks (`cover`, `overlap`), so that a hundred thousand of them take seconds; what
//! takes longer than a limit is left out, and the report says so. Nothing here changes anything.

mod cover;
mod destination;
mod loops;
mod overlap;
mod region;
#[cfg(test)]
mod tests;

use crate::Match;
use crate::action::Action;
use crate::flow_mod::FlowMod;
use crate::types::{GroupId, OfPort, TableId};
use cover::Cover;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Comparisons that one report may take: a few seconds.
pub const MAX_STEPS: u64 = 100_000_000;

/// A rule to look at.
#[derive(Clone, Debug)]
pub struct LintRule<'a> {
    /// The table that the rule is in.
    pub table: TableId,
    /// The rule's priority; of the rules that match, the highest wins.
    pub priority: u16,
    /// The packets that the rule is about.
    pub matching: &'a Match,
    /// What the rule does with them.
    pub actions: &'a [Action],
}

impl<'a> From<&'a FlowMod> for LintRule<'a> {
    /// The rule that this adds.
    fn from(rule: &'a FlowMod) -> Self {
        Self {
            table: rule.table.unwrap_or_default(),
            priority: rule.priority,
            matching: &rule.matching,
            actions: &rule.actions,
        }
    }
}

/// What is known of the switch. What is not known is not looked at.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Ports that exist, `LOCAL` included if there is one.
    pub ports: Option<BTreeSet<OfPort>>,
    /// Groups that exist.
    pub groups: Option<BTreeSet<GroupId>>,
}

/// Something to look at. Rules are named by their place in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule it is about.
    pub rule: usize,
    /// What it is.
    pub problem: Problem,
}

/// What can be wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A better rule matches all its packets.
    Shadowed {
        /// The better rule.
        by: usize,
    },
    /// A rule of the same priority matches some of its packets and does something else. Which one
    /// wins is not defined by OpenFlow.
    Ambiguous {
        /// The other rule.
        with: usize,
    },
    /// A later rule of the same table, match and priority takes its place.
    Replaced {
        /// The later rule.
        by: usize,
    },
    /// Its packets can come back to it without end.
    Loop {
        /// The rules they go through, itself first.
        rules: Vec<usize>,
        /// The tables of these rules.
        tables: Vec<TableId>,
    },
    /// It sends packets to a table without rules.
    EmptyTable {
        /// The table that has no rules.
        table: TableId,
    },
    /// It outputs to a port that does not exist.
    MissingPort {
        /// The number that no port has.
        port: OfPort,
    },
    /// It uses a group that does not exist.
    MissingGroup {
        /// The number that no group has.
        group: GroupId,
    },
}

impl Problem {
    /// A word for machines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shadowed { .. } => "shadowed",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Replaced { .. } => "replaced",
            Self::Loop { .. } => "loop",
            Self::EmptyTable { .. } => "empty_table",
            Self::MissingPort { .. } => "missing_port",
            Self::MissingGroup { .. } => "missing_group",
        }
    }

    /// The rules that it is about too.
    pub fn others(&self) -> &[usize] {
        match self {
            Self::Shadowed { by } | Self::Replaced { by } => std::slice::from_ref(by),
            Self::Ambiguous { with } => std::slice::from_ref(with),
            Self::Loop { rules, .. } => rules.get(1..).unwrap_or_default(),
            Self::EmptyTable { .. } | Self::MissingPort { .. } | Self::MissingGroup { .. } => &[],
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Shadowed { .. } => "delete it, or give it a higher priority".into(),
            Self::Ambiguous { .. } => {
                "give one of them a higher priority: which one wins is not defined".into()
            }
            Self::Replaced { .. } => "delete one of them".into(),
            Self::Loop { .. } => {
                "end the way with a rule that does not resubmit, or match a register that it sets"
                    .into()
            }
            Self::EmptyTable { table } => {
                format!("add a rule to table {table}, or do not send packets there")
            }
            Self::MissingPort { .. } => "add the port, or output to another one".into(),
            Self::MissingGroup { .. } => "add the group first".into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shadowed { .. } => f.write_str("can never match: a better rule covers it"),
            Self::Ambiguous { .. } => {
                f.write_str("overlaps with a rule of the same priority that does something else")
            }
            Self::Replaced { .. } => {
                f.write_str("has no effect: a later rule has the same match and priority")
            }
            Self::Loop { tables, .. } => {
                f.write_str("its packets can go round: tables ")?;
                for table in tables {
                    write!(f, "{table} → ")?;
                }
                write!(f, "{}", tables.first().copied().unwrap_or_default())
            }
            Self::EmptyTable { table } => {
                write!(f, "sends packets to table {table}, which has no rule")
            }
            Self::MissingPort { port } => write!(f, "outputs to port {port}, which does not exist"),
            Self::MissingGroup { group } => {
                write!(f, "uses group {}, which does not exist", group.0)
            }
        }
    }
}

/// What was found, and what was not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of the rules they are about.
    pub findings: Vec<Finding>,
    /// What took more steps than were allowed: there may be more of it.
    pub unfinished: Vec<&'static str>,
}

/// Looks at all rules, with at most so many comparisons ([`MAX_STEPS`]).
pub fn lint(rules: &[LintRule<'_>], surroundings: &Surroundings, steps: u64) -> Report {
    let mut report = Report::default();
    let mut steps = Steps { left: steps };
    let mut tables: BTreeMap<TableId, Vec<usize>> = BTreeMap::new();
    for (i, rule) in rules.iter().enumerate() {
        tables.entry(rule.table).or_default().push(i);
    }
    for members in tables.values_mut() {
        overlap::replaced(rules, members, &mut report.findings);
    }
    let tables: BTreeMap<TableId, Table> = tables
        .into_iter()
        .map(|(id, members)| (id, Table { cover: Cover::new(rules, &members), members }))
        .collect();
    for table in tables.values() {
        if !pairs(rules, table, &mut report.findings, &mut steps) {
            report.unfinished.push("rules that hide or overlap each other");
            break;
        }
    }
    destination::check(rules, &tables, surroundings, &mut report.findings);
    if !loops::check(rules, &tables, &mut report.findings, &mut steps) {
        report.unfinished.push("loops");
    }
    report.findings.sort_by_key(|f| f.rule);
    report
}

/// The rules of one table that have an effect, in order.
struct Table {
    members: Vec<usize>,
    cover: Cover,
}

/// Counts down what a report may cost.
struct Steps {
    left: u64,
}

impl Steps {
    /// False when there are not so many left.
    fn take(&mut self, n: usize) -> bool {
        self.left = self.left.saturating_sub(n as u64);
        self.left > 0
    }
}

/// Compares each rule with the better ones of its table; false if that took too long.
fn pairs(
    rules: &[LintRule<'_>],
    table: &Table,
    findings: &mut Vec<Finding>,
    steps: &mut Steps,
) -> bool {
    let mut visible = Vec::with_capacity(table.members.len());
    for &rule in &table.members {
        let LintRule { matching, priority, .. } = rules[rule];
        if !steps.take(table.cover.len()) {
            return false;
        }
        match table.cover.above(matching, priority) {
            Some(by) => findings.push(Finding { rule, problem: Problem::Shadowed { by } }),
            None => visible.push(rule),
        }
    }
    overlap::check(rules, &visible, findings, steps)
}

/// Calls `visit` with every action, nested ones included.
fn each_action<'a>(actions: &'a [Action], visit: &mut dyn FnMut(&'a Action)) {
    for action in actions {
        visit(action);
        each_action(action.nested(), visit);
    }
}

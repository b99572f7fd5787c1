//! Finds actions that name a port, a group or a table that does not exist.

use super::{Finding, LintRule, Problem, Surroundings, Table, each_action};
use crate::action::Action;
use crate::types::{OfPort, TableId};
use std::collections::{BTreeMap, BTreeSet};

/// Checks every action of every rule, nested ones included. A rule gets each finding once.
pub(super) fn check(
    rules: &[LintRule<'_>],
    tables: &BTreeMap<TableId, Table>,
    around: &Surroundings,
    findings: &mut Vec<Finding>,
) {
    let Learning { taught, visited } = Learning::of(rules);
    let is_empty = |table: &TableId| !tables.contains_key(table) && !taught.contains(table);
    for (rule, r) in rules.iter().enumerate() {
        let mut seen: Vec<Problem> = Vec::new();
        each_action(r.actions, &mut |action| {
            let problem = match action {
                Action::Output { port, .. }
                | Action::OutputTrunc { port, .. }
                | Action::Enqueue { port, .. } => missing_port(*port, around),
                Action::Group(group) => around
                    .groups
                    .as_ref()
                    .filter(|groups| !groups.contains(group))
                    .map(|_| Problem::MissingGroup { group: *group }),
                Action::GotoTable(table) | Action::Resubmit { table: Some(table), .. } => {
                    is_empty(table).then_some(Problem::EmptyTable { table: *table })
                }
                Action::Ct(ct) => {
                    ct.table.filter(is_empty).map(|table| Problem::EmptyTable { table })
                }
                Action::Learn(learner) => (!visited.contains(&learner.table))
                    .then_some(Problem::IdleLearning { table: learner.table }),
                _ => None,
            };
            if let Some(problem) = problem.filter(|p| !seen.contains(p)) {
                seen.push(problem);
            }
        });
        findings.extend(seen.into_iter().map(|problem| Finding { rule, problem }));
    }
}

/// The tables that `learn` and the ways of packets are about.
#[derive(Default)]
struct Learning {
    /// The tables that packets can add rules to.
    taught: BTreeSet<TableId>,
    /// The tables that packets can come to: the first one, and those that a rule sends packets to.
    visited: BTreeSet<TableId>,
}

impl Learning {
    fn of(rules: &[LintRule<'_>]) -> Self {
        let mut learning = Self::default();
        learning.visited.insert(TableId::default());
        for LintRule { table: own, actions, .. } in rules {
            each_action(actions, &mut |action| {
                let to = match action {
                    Action::Learn(learner) => {
                        learning.taught.insert(learner.table);
                        None
                    }
                    Action::GotoTable(table) => Some(*table),
                    Action::Resubmit { table, .. } => Some(table.unwrap_or(*own)),
                    Action::Ct(ct) => ct.table,
                    _ => None,
                };
                learning.visited.extend(to);
            });
        }
        learning
    }
}

fn missing_port(port: OfPort, around: &Surroundings) -> Option<Problem> {
    let ports = around.ports.as_ref()?;
    (port.is_real() && !ports.contains(&port)).then_some(Problem::MissingPort { port })
}

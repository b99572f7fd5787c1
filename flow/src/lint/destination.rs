//! Finds actions that name a port, a group or a table that does not exist.

use super::{Finding, LintRule, Problem, Surroundings, Table, each_action};
use crate::action::Action;
use crate::types::{OfPort, TableId};
use std::collections::BTreeMap;

/// Checks every action of every rule, nested ones included. A rule gets each finding once.
pub(super) fn check(
    rules: &[LintRule<'_>],
    tables: &BTreeMap<TableId, Table>,
    around: &Surroundings,
    findings: &mut Vec<Finding>,
) {
    for (rule, r) in rules.iter().enumerate() {
        let mut seen: Vec<Problem> = Vec::new();
        each_action(r.actions, &mut |action| {
            let problem = match action {
                Action::Output { port }
                | Action::OutputTrunc { port, .. }
                | Action::Enqueue { port, .. } => missing_port(*port, around),
                Action::Group(group) => around
                    .groups
                    .as_ref()
                    .filter(|groups| !groups.contains(group))
                    .map(|_| Problem::MissingGroup { group: *group }),
                Action::GotoTable(table) | Action::Resubmit { table: Some(table), .. } => {
                    (!tables.contains_key(table)).then_some(Problem::EmptyTable { table: *table })
                }
                Action::Ct(ct) => ct
                    .table
                    .filter(|table| !tables.contains_key(table))
                    .map(|table| Problem::EmptyTable { table }),
                _ => None,
            };
            if let Some(problem) = problem.filter(|p| !seen.contains(p)) {
                seen.push(problem);
            }
        });
        findings.extend(seen.into_iter().map(|problem| Finding { rule, problem }));
    }
}

fn missing_port(port: OfPort, around: &Surroundings) -> Option<Problem> {
    let ports = around.ports.as_ref()?;
    (port.is_real() && !ports.contains(&port)).then_some(Problem::MissingPort { port })
}

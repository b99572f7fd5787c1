//! Rules that are allowed and hardly meant: never matching, ambiguous, endless, leading nowhere.
//!
//! Looks at rules pair by pair, so it finds a rule that *one* better rule hides, not one that several
//! hide together. Nothing here changes anything.

#[cfg(test)]
mod tests;

use crate::action::Action;
use crate::flow::Match;
use crate::types::{GroupId, OfPort, TableId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A rule to look at.
#[derive(Clone, Debug)]
pub struct LintRule<'a> {
    /// Its table.
    pub table: TableId,
    /// Its priority.
    pub priority: u16,
    /// Its match.
    pub matching: &'a Match,
    /// Its actions.
    pub actions: &'a [Action],
}

/// What is known of the switch. Without it, ports and groups are not looked at.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Ports that exist.
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
    /// Its packets can come back to its table without end.
    Loop {
        /// The tables they go through.
        tables: Vec<TableId>,
    },
    /// It sends packets to a table without rules.
    EmptyTable {
        /// Which.
        table: TableId,
    },
    /// It outputs to a port that does not exist.
    MissingPort {
        /// Which.
        port: OfPort,
    },
    /// It uses a group that does not exist.
    MissingGroup {
        /// Which.
        group: GroupId,
    },
}

impl Problem {
    /// A word for machines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shadowed { .. } => "shadowed",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Loop { .. } => "loop",
            Self::EmptyTable { .. } => "empty_table",
            Self::MissingPort { .. } => "missing_port",
            Self::MissingGroup { .. } => "missing_group",
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
            Self::Loop { tables } => {
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

/// Looks at all rules; findings are in the order of the rules they are about.
pub fn lint(rules: &[LintRule<'_>], surroundings: &Surroundings) -> Vec<Finding> {
    let mut findings = Vec::new();
    pairs(rules, &mut findings);
    destinations(rules, surroundings, &mut findings);
    loops(rules, &mut findings);
    findings.sort_by_key(|f| f.rule);
    findings
}

/// Compares each rule with the better ones of its table.
fn pairs(rules: &[LintRule<'_>], findings: &mut Vec<Finding>) {
    let mut by_table: BTreeMap<TableId, Vec<usize>> = BTreeMap::new();
    for (i, rule) in rules.iter().enumerate() {
        by_table.entry(rule.table).or_default().push(i);
    }
    for mut order in by_table.into_values() {
        order.sort_by_key(|&i| std::cmp::Reverse(rules[i].priority));
        for (n, &i) in order.iter().enumerate() {
            let rule = &rules[i];
            let better = &order[..n];
            let shadow = better.iter().copied().find(|&b| {
                rules[b].priority > rule.priority && rules[b].matching.covers(rule.matching)
            });
            if let Some(by) = shadow {
                findings.push(Finding { rule: i, problem: Problem::Shadowed { by } });
                continue;
            }
            let equals = better.iter().rev().copied();
            let twin = equals.take_while(|&b| rules[b].priority == rule.priority).find(|&b| {
                rules[b].actions != rule.actions && rules[b].matching.overlaps(rule.matching)
            });
            if let Some(with) = twin {
                findings.push(Finding { rule: i, problem: Problem::Ambiguous { with } });
            }
        }
    }
}

/// Calls `visit` with every action, nested ones included.
fn each_action<'a>(actions: &'a [Action], visit: &mut dyn FnMut(&'a Action)) {
    for action in actions {
        visit(action);
        if let Action::Clone(inner) | Action::WriteActions(inner) = action {
            each_action(inner, visit);
        }
    }
}

fn destinations(rules: &[LintRule<'_>], around: &Surroundings, findings: &mut Vec<Finding>) {
    let tables: BTreeSet<TableId> = rules.iter().map(|r| r.table).collect();
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
                    (!tables.contains(table)).then_some(Problem::EmptyTable { table: *table })
                }
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
    let is_number = port < OfPort::MAX;
    (is_number && !ports.contains(&port)).then_some(Problem::MissingPort { port })
}

/// Tables that a rule sends its packets to.
fn next_tables(rule: &LintRule<'_>) -> BTreeSet<TableId> {
    let mut next = BTreeSet::new();
    each_action(rule.actions, &mut |action| match action {
        Action::GotoTable(table) => {
            next.insert(*table);
        }
        Action::Resubmit { table, .. } => {
            next.insert(table.unwrap_or(rule.table));
        }
        _ => {}
    });
    next
}

/// Finds rules from which a way leads back to their own table.
///
/// A way of tables is not yet a way of a packet (the rules on it may exclude each other, or the
/// resubmit changes the port), so this errs on the side of telling; only a rule that can match its
/// own packets again when it resubmits to its own table unchanged is certain.
fn loops(rules: &[LintRule<'_>], findings: &mut Vec<Finding>) {
    let mut edges: BTreeMap<TableId, BTreeSet<TableId>> = BTreeMap::new();
    let next: Vec<BTreeSet<TableId>> = rules.iter().map(next_tables).collect();
    for (rule, next) in rules.iter().zip(&next) {
        edges.entry(rule.table).or_default().extend(next);
    }
    for (i, (rule, next)) in rules.iter().zip(&next).enumerate() {
        // A backward step starts each loop; told at the rule that makes it.
        let back = next.iter().filter(|t| **t <= rule.table);
        for start in back {
            if let Some(mut tables) = way(&edges, *start, rule.table) {
                tables.rotate_right(1);
                findings.push(Finding { rule: i, problem: Problem::Loop { tables } });
                break;
            }
        }
    }
}

/// The shortest way from one table to another, both included.
fn way(
    edges: &BTreeMap<TableId, BTreeSet<TableId>>,
    from: TableId,
    to: TableId,
) -> Option<Vec<TableId>> {
    let mut came_from: BTreeMap<TableId, TableId> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([from]);
    let mut seen = BTreeSet::from([from]);
    while let Some(table) = queue.pop_front() {
        if table == to {
            let mut tables = vec![to];
            while let Some(&previous) = came_from.get(tables.last()?) {
                tables.push(previous);
            }
            tables.reverse();
            return Some(tables);
        }
        for &next in edges.get(&table).into_iter().flatten() {
            if seen.insert(next) {
                came_from.insert(next, table);
                queue.push_back(next);
            }
        }
    }
    None
}

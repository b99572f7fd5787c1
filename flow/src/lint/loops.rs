//! Finds loops: rules whose packets can come back to them by `resubmit` or `goto_table`.
//!
//! 1. A graph of tables has an edge from table A to table B if a rule of A sends packets to B. Loops can only be
//!    where this graph has a cycle.
//! 2. In these tables, a graph of rules has an edge from rule R to rule S if R sends packets to S's table that S
//!    can match and that no rule of higher priority matches first. A depth-first search finds the cycles of this
//!    graph.
//!
//! An edge is computed for one rule at a time: how several rules in a row change a packet is not followed. So every
//! loop is found, but a loop may be reported that no packet can take.

use super::region::{Hop, hops};
use super::{Finding, LintRule, Problem, Steps, Table, each_action};
use crate::Match;
use crate::action::Action;
use crate::types::TableId;
use std::collections::{BTreeMap, BTreeSet};

/// Adds a finding for the last rule of each loop; `false` if the steps did not suffice.
pub(super) fn check(
    rules: &[LintRule<'_>],
    tables: &BTreeMap<TableId, Table>,
    findings: &mut Vec<Finding>,
    steps: &mut Steps,
) -> bool {
    let next: Vec<BTreeSet<TableId>> = rules.iter().map(next_tables).collect();
    let round = tables_on_loops(rules, &next);
    let mut nodes: BTreeMap<TableId, Vec<usize>> = BTreeMap::new();
    for table in round.iter().filter_map(|id| tables.get(id)) {
        let leads_on = |rule: &&usize| !next[**rule].is_disjoint(&round);
        let members: Vec<usize> = table.members.iter().filter(leads_on).copied().collect();
        nodes.extend(members.first().map(|&rule| (rules[rule].table, members.clone())));
    }
    let mut search = Search { rules, tables, nodes: &nodes, states: BTreeMap::new() };
    nodes.values().flatten().all(|&rule| search.from(rule, findings, steps))
}

/// The tables to which a rule sends packets.
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

/// The tables that are part of a cycle in the graph of tables. `next` has the destinations of each rule.
fn tables_on_loops(rules: &[LintRule<'_>], next: &[BTreeSet<TableId>]) -> BTreeSet<TableId> {
    let mut edges: BTreeMap<TableId, BTreeSet<TableId>> = BTreeMap::new();
    for (rule, next) in rules.iter().zip(next).filter(|(_, next)| !next.is_empty()) {
        edges.entry(rule.table).or_default().extend(next);
    }
    let leads_back = |start: &TableId| {
        let mut seen = BTreeSet::new();
        let mut open = vec![*start];
        while let Some(table) = open.pop() {
            let new = edges.get(&table).into_iter().flatten().filter(|&t| seen.insert(*t));
            open.extend(new);
        }
        seen.contains(start)
    };
    edges.keys().copied().filter(leads_back).collect()
}

/// The state of a rule that the depth-first search has reached.
#[derive(PartialEq)]
enum State {
    /// The rule is on the path from the start of the search to the current rule.
    OnPath,
    /// Everything that can be reached from the rule has been searched.
    Done,
}

/// A depth-first search over the graph of rules.
struct Search<'a> {
    rules: &'a [LintRule<'a>],
    tables: &'a BTreeMap<TableId, Table>,
    /// By table, the rules that send packets to a table on a cycle.
    nodes: &'a BTreeMap<TableId, Vec<usize>>,
    /// The rules that the search has reached.
    states: BTreeMap<usize, State>,
}

impl Search<'_> {
    /// Searches from `start`, unless the rule was reached before; `false` if the steps did not suffice.
    fn from(&mut self, start: usize, findings: &mut Vec<Finding>, steps: &mut Steps) -> bool {
        if self.states.contains_key(&start) {
            return true;
        }
        let Some(first) = self.successors(start, steps) else {
            return false;
        };
        self.states.insert(start, State::OnPath);
        // Each rule of the path with the successors that have not been searched yet.
        let mut path = vec![(start, first)];
        let mut reported = BTreeSet::new();
        while let Some((rule, rest)) = path.last_mut() {
            let rule = *rule;
            let Some(next) = rest.pop() else {
                self.states.insert(rule, State::Done);
                path.pop();
                continue;
            };
            match self.states.get(&next) {
                None => {
                    let Some(successors) = self.successors(next, steps) else {
                        return false;
                    };
                    self.states.insert(next, State::OnPath);
                    path.push((next, successors));
                }
                Some(State::OnPath) if reported.insert(rule) => {
                    let begin = path.iter().position(|(on_path, _)| *on_path == next).unwrap_or(0);
                    let mut rules: Vec<usize> = path[begin..].iter().map(|(r, _)| *r).collect();
                    rules.rotate_right(1);
                    let tables = rules.iter().map(|&r| self.rules[r].table).collect();
                    findings.push(Finding { rule, problem: Problem::Loop { rules, tables } });
                }
                Some(_) => {}
            }
        }
        true
    }

    /// The rules that packets of `rule` can come to next; `None` if the steps did not suffice.
    fn successors(&self, rule: usize, steps: &mut Steps) -> Option<Vec<usize>> {
        let LintRule { table, matching, actions, .. } = self.rules[rule];
        let mut found = Vec::new();
        for Hop { table, packets } in hops(table, matching, actions) {
            let (Some(nodes), Some(there)) = (self.nodes.get(&table), self.tables.get(&table))
            else {
                continue;
            };
            for &next in nodes {
                if !steps.take(1) {
                    return None;
                }
                let LintRule { matching, priority, .. } = self.rules[next];
                if !packets.overlaps(matching) {
                    continue;
                }
                if !steps.take(there.cover.len()) {
                    return None;
                }
                if there.cover.above(&both(&packets, matching), priority).is_none() {
                    found.push(next);
                }
            }
        }
        found.reverse();
        Some(found)
    }
}

/// The match of the packets that both matches select. The matches must overlap.
fn both(a: &Match, b: &Match) -> Match {
    let (mut key, mut mask) = (*a.key(), *a.mask());
    for (word, other) in key.words_mut().iter_mut().zip(b.key().words()) {
        *word |= other;
    }
    for (word, other) in mask.words_mut().iter_mut().zip(b.mask().words()) {
        *word |= other;
    }
    Match::new(&key, &mask)
}

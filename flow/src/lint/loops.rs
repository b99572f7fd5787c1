//! Finds loops: rules whose packets can come back to them by `resubmit` or `goto_table`.
//!
//! 1. A graph of tables has an edge from table A to table B if a rule of A sends packets to B. Loops can only
//!    be where this graph has a cycle.
//! 2. In these tables, a graph of rules has an edge from rule R to rule S if R sends packets to S's
//!    table that S can match and that no rule of higher priority matches first. A depth-first search
//!    finds the cycles of this graph.
//!
//! An edge is computed for one rule at a time: how several rules in a row change a packet is not followed. So
//! every loop is found, but a loop may be reported that no packet can take.

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
    let states = vec![State::New; rules.len()];
    let mut search = Search { rules, tables, nodes: &nodes, states };
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
        Action::Ct(ct) => next.extend(ct.table),
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

/// How many rules of a loop a finding names at most.
const NAMED: usize = 10;

/// The state of a rule in the depth-first search.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// The search has not reached the rule.
    New,
    /// The rule is on the path from the start of the search to the current rule: the index of its place there.
    OnPath(usize),
    /// Everything that can be reached from the rule has been searched.
    Done,
}

/// A depth-first search over the graph of rules. It keeps no list of edges: there may be as
/// many as pairs of rules.
struct Search<'a> {
    rules: &'a [LintRule<'a>],
    tables: &'a BTreeMap<TableId, Table>,
    /// By table, the rules that send packets to a table on a cycle.
    nodes: &'a BTreeMap<TableId, Vec<usize>>,
    /// The state of each rule.
    states: Vec<State>,
}

/// A rule on the path, and how far the search has come with the rules that its packets can come to next.
struct Place {
    rule: usize,
    /// The index of the rule's hop whose table is searched. The hops themselves are found anew each time,
    /// because those of a long path would take much memory.
    hop: usize,
    /// The rule of that table that is looked at next, as an index into the table's nodes.
    next: usize,
    /// Whether a loop of the rule has been found. One is enough.
    is_reported: bool,
}

impl Search<'_> {
    /// Searches from `start`, unless the rule was reached before; `false` if the steps did not suffice.
    fn from(&mut self, start: usize, findings: &mut Vec<Finding>, steps: &mut Steps) -> bool {
        if self.states[start] != State::New {
            return true;
        }
        let mut path = Vec::new();
        self.enter(start, &mut path);
        while let Some(place) = path.last_mut() {
            let Some(next) = self.successor(place, steps) else {
                return false;
            };
            let Some(next) = next else {
                self.states[place.rule] = State::Done;
                path.pop();
                continue;
            };
            match self.states[next] {
                State::New => self.enter(next, &mut path),
                State::OnPath(begin) => {
                    place.is_reported = true;
                    let rule = place.rule;
                    let len = path.len() - begin;
                    let others = path[begin..path.len() - 1].iter().map(|place| place.rule);
                    let rules: Vec<usize> =
                        std::iter::once(rule).chain(others).take(NAMED).collect();
                    let tables = rules.iter().map(|&r| self.rules[r].table).collect();
                    findings.push(Finding { rule, problem: Problem::Loop { rules, tables, len } });
                }
                State::Done => {}
            }
        }
        true
    }

    fn enter(&mut self, rule: usize, path: &mut Vec<Place>) {
        self.states[rule] = State::OnPath(path.len());
        path.push(Place { rule, hop: 0, next: 0, is_reported: false });
    }

    /// The next rule that packets of the place's rule can come to and that tells something new; `Some(None)` if
    /// there is none, and `None` if the steps did not suffice.
    fn successor(&self, place: &mut Place, steps: &mut Steps) -> Option<Option<usize>> {
        let LintRule { table, matching, actions, .. } = self.rules[place.rule];
        let hops = hops(table, matching, actions);
        while let Some(Hop { table, packets }) = hops.get(place.hop) {
            let nodes = self.nodes.get(table).map_or(&[][..], Vec::as_slice);
            let (Some(&next), Some(there)) = (nodes.get(place.next), self.tables.get(table)) else {
                (place.hop, place.next) = (place.hop + 1, 0);
                continue;
            };
            place.next += 1;
            let is_new = match self.states[next] {
                State::New => true,
                State::OnPath(_) => !place.is_reported,
                State::Done => false,
            };
            if !is_new {
                continue;
            }
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
            if there.cover.above(&both(packets, matching), priority).is_none() {
                return Some(Some(next));
            }
        }
        Some(None)
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

//! Packets that come back to a rule by resubmits.
//!
//! Tables first: only where a way of tables leads back can packets go round. Then rules: one leads to
//! another if it sends packets there that the other matches and no better rule takes first. What a
//! way of several rules makes of a packet is not followed through, so a loop may be told that no
//! packet can run; none is missed.

use super::region::{Hop, hops};
use super::{Finding, LintRule, Problem, Steps, Table, each_action};
use crate::Match;
use crate::action::Action;
use crate::types::TableId;
use std::collections::{BTreeMap, BTreeSet};

/// Tells of the last rule of each loop. False if that took too long.
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

/// Tables from which a way leads back to them.
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

/// Whether a rule is on the way that is being followed, or has been left.
#[derive(PartialEq)]
enum State {
    OnTheWay,
    Left,
}

/// A depth-first search over rules.
struct Search<'a> {
    rules: &'a [LintRule<'a>],
    tables: &'a BTreeMap<TableId, Table>,
    /// Rules that can be part of a loop.
    nodes: &'a BTreeMap<TableId, Vec<usize>>,
    states: BTreeMap<usize, State>,
}

impl Search<'_> {
    fn from(&mut self, start: usize, findings: &mut Vec<Finding>, steps: &mut Steps) -> bool {
        if self.states.contains_key(&start) {
            return true;
        }
        let Some(first) = self.successors(start, steps) else {
            return false;
        };
        self.states.insert(start, State::OnTheWay);
        // Each rule of the way with those that are still to be followed from it.
        let mut way = vec![(start, first)];
        let mut told = BTreeSet::new();
        while let Some((rule, rest)) = way.last_mut() {
            let rule = *rule;
            let Some(next) = rest.pop() else {
                self.states.insert(rule, State::Left);
                way.pop();
                continue;
            };
            match self.states.get(&next) {
                None => {
                    let Some(successors) = self.successors(next, steps) else {
                        return false;
                    };
                    self.states.insert(next, State::OnTheWay);
                    way.push((next, successors));
                }
                Some(State::OnTheWay) if told.insert(rule) => {
                    let begin = way.iter().position(|(on_way, _)| *on_way == next).unwrap_or(0);
                    let mut rules: Vec<usize> = way[begin..].iter().map(|(r, _)| *r).collect();
                    rules.rotate_right(1);
                    let tables = rules.iter().map(|&r| self.rules[r].table).collect();
                    findings.push(Finding { rule, problem: Problem::Loop { rules, tables } });
                }
                Some(_) => {}
            }
        }
        true
    }

    /// Rules that packets of this one can come to next. `None` if it takes too long.
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

/// The packets that two overlapping matches have in common.
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

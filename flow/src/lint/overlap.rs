//! Rules of one priority that match the same packets.
//!
//! Two masks have some bits in common; rules with these masks overlap if they agree there. So each
//! pair of masks takes a step a rule, where comparing rules would take one a pair of rules.

use super::cover::Projection;
use super::{Finding, LintRule, Problem, Steps};
use std::collections::{BTreeMap, HashMap};

/// Takes the rules out of `members` that a later rule replaces, as the switch does, and tells.
pub(super) fn replaced(
    rules: &[LintRule<'_>],
    members: &mut Vec<usize>,
    findings: &mut Vec<Finding>,
) {
    let mut last: HashMap<(u16, &[u64], &[u64]), usize> = HashMap::new();
    let place = |rule: usize| {
        let LintRule { matching, priority, .. } = &rules[rule];
        (*priority, &matching.key().words()[..], &matching.mask().words()[..])
    };
    for &rule in members.iter() {
        last.insert(place(rule), rule);
    }
    members.retain(|&rule| {
        let by = last[&place(rule)];
        if by != rule {
            findings.push(Finding { rule, problem: Problem::Replaced { by } });
        }
        by == rule
    });
}

/// Tells of each rule that overlaps with an earlier one of its priority that does something else.
/// False if that took too long.
pub(super) fn check(
    rules: &[LintRule<'_>],
    members: &[usize],
    findings: &mut Vec<Finding>,
    steps: &mut Steps,
) -> bool {
    let mut priorities: BTreeMap<u16, HashMap<Projection, Vec<usize>>> = BTreeMap::new();
    for &rule in members {
        let masks = priorities.entry(rules[rule].priority).or_default();
        masks.entry(Projection::new(rules[rule].matching.mask())).or_default().push(rule);
    }
    for masks in priorities.into_values() {
        let mut twins: BTreeMap<usize, usize> = BTreeMap::new();
        for (mask, ours) in &masks {
            for (other, theirs) in masks.iter().filter(|(other, _)| *other != mask) {
                if !steps.take(ours.len() + theirs.len()) {
                    return false;
                }
                first_twins(rules, &mask.common(other), ours, theirs, &mut twins);
            }
        }
        let findings_of = twins.into_iter().map(|(rule, with)| {
            let problem = Problem::Ambiguous { with };
            Finding { rule, problem }
        });
        findings.extend(findings_of);
    }
    true
}

/// For each of `ours` the first of `theirs` that came before it, agrees in the bits of `common` and
/// does something else.
fn first_twins(
    rules: &[LintRule<'_>],
    common: &Projection,
    ours: &[usize],
    theirs: &[usize],
    twins: &mut BTreeMap<usize, usize>,
) {
    // Of the rules with one key the first, and the first that does something else than that one: one
    // of the two is the first that does something else than any given rule.
    let mut firsts: HashMap<Box<[u64]>, (usize, Option<usize>)> = HashMap::new();
    let mut key = Vec::new();
    for &rule in theirs {
        common.project(rules[rule].matching, &mut key);
        match firsts.get_mut(&key[..]) {
            None => {
                firsts.insert(key.as_slice().into(), (rule, None));
            }
            Some((first, other @ None)) if rules[*first].actions != rules[rule].actions => {
                *other = Some(rule);
            }
            Some(_) => {}
        }
    }
    for &rule in ours {
        common.project(rules[rule].matching, &mut key);
        let Some(&(first, other)) = firsts.get(&key[..]) else {
            continue;
        };
        let differs = rules[first].actions != rules[rule].actions;
        let twin = if differs { Some(first) } else { other };
        if let Some(twin) = twin.filter(|&twin| twin < rule) {
            let known = twins.entry(rule).or_insert(twin);
            *known = twin.min(*known);
        }
    }
}

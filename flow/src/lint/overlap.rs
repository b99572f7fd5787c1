//! Finds rules of equal priority that match the same packets.
//!
//! Two rules overlap if their keys agree in the bits that both masks have. For each pair of masks, the
//! rules with the one mask go into a hash table by these bits, and each rule with the other mask is
//! looked up. That takes one step for each rule, where comparing the rules with each other would take one
//! for each pair of rules.

use super::cover::Projection;
use super::{Finding, LintRule, Problem, Steps};
use crate::Match;
use crate::fields::FieldId;
use crate::key::ct_state;
use std::collections::{BTreeMap, HashMap};

/// Removes from `members` each rule that a later rule with the same match and priority replaces, as the switch
/// would, and adds a finding for it.
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

/// Adds a finding for each rule that overlaps with an earlier rule of the same priority and other actions;
/// `false` if the steps did not suffice.
pub(super) fn check(
    rules: &[LintRule<'_>],
    members: &[usize],
    findings: &mut Vec<Finding>,
    steps: &mut Steps,
) -> bool {
    type Masks = HashMap<(Projection, Option<Progress>), Vec<usize>>;
    let mut priorities: BTreeMap<u16, Masks> = BTreeMap::new();
    for &rule in members {
        let masks = priorities.entry(rules[rule].priority).or_default();
        let LintRule { matching, .. } = rules[rule];
        let group = (Projection::new(matching.mask()), Progress::wanted_by(matching));
        masks.entry(group).or_default().push(rule);
    }
    for masks in priorities.into_values() {
        let mut twins: BTreeMap<usize, usize> = BTreeMap::new();
        for ((mask, progress), ours) in &masks {
            let others = masks.iter().filter(|((other, theirs), _)| {
                let is_exclusive = progress.is_some() && theirs.is_some() && theirs != progress;
                other != mask && !is_exclusive
            });
            for ((other, _), theirs) in others {
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

/// How far a connection is. No packet has two of these bits of `ct_state`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Progress {
    New,
    Established,
    Invalid,
}

impl Progress {
    /// What packets of a match have to be; `None` if they may be several of these.
    fn wanted_by(matching: &Match) -> Option<Self> {
        let state = FieldId::CtState.read(matching.key());
        let wants = |bit: u16| state & u128::from(bit) != 0;
        match () {
            () if wants(ct_state::NEW) => Some(Self::New),
            () if wants(ct_state::ESTABLISHED) => Some(Self::Established),
            () if wants(ct_state::INVALID) => Some(Self::Invalid),
            () => None,
        }
    }
}

/// For each rule of `ours`, finds the first rule of `theirs` that is earlier, agrees with the rule in the bits
/// of `common` and has other actions. `twins` keeps the earliest such rule for each rule.
fn first_twins(
    rules: &[LintRule<'_>],
    common: &Projection,
    ours: &[usize],
    theirs: &[usize],
    twins: &mut BTreeMap<usize, usize>,
) {
    // For each key two rules suffice: the first one, and the first one whose actions differ from the first
    // one's. For a rule with any actions, the first rule of `theirs` with other actions is one of these two.
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

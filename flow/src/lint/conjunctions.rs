//! Finds conjunctions that never match, or that no rule makes use of.

use super::{Finding, LintRule, Problem};
use crate::action::Clause;
use crate::fields::FieldId;
use std::collections::{BTreeMap, BTreeSet};

/// The alternatives of one conjunction that have one priority.
struct Conjunction {
    /// The index of the first of these rules.
    first: usize,
    /// The clauses that have an alternative, clause 1 in bit 0.
    present: u64,
    clauses: u8,
}

/// Adds findings for the conjunctions of one table, whose rules are `members`.
pub(super) fn check(rules: &[LintRule<'_>], members: &[usize], findings: &mut Vec<Finding>) {
    let mut conjunctions: BTreeMap<(u32, u16), Conjunction> = BTreeMap::new();
    let mut used = BTreeSet::new();
    for &rule in members {
        let LintRule { matching, priority, actions, .. } = &rules[rule];
        if FieldId::ConjId.get_mask(matching.mask()) != 0 {
            used.insert(FieldId::ConjId.read(matching.key()) as u32);
        }
        for Clause { id, clause, clauses } in Clause::all_in(actions) {
            let new = Conjunction { first: rule, present: 0, clauses };
            let conjunction = conjunctions.entry((id, *priority)).or_insert(new);
            conjunction.present |= 1 << (clause - 1);
            conjunction.clauses = conjunction.clauses.max(clauses);
        }
    }
    for ((id, _), Conjunction { first: rule, present, clauses }) in conjunctions {
        let missing = (1..=clauses).find(|clause| present >> (clause - 1) & 1 == 0);
        if let Some(clause) = missing {
            findings.push(Finding { rule, problem: Problem::MissingClause { id, clause } });
        }
        if !used.contains(&id) {
            findings.push(Finding { rule, problem: Problem::IdleConjunction { id } });
        }
    }
}

//! Finds look-ups of connections that no rule makes use of, and translations that nobody takes back.

use super::{Finding, LintRule, Problem, Table, each_action};
use crate::action::Action;
use crate::ct::{Ct, CtZone};
use crate::fields::FieldId;
use crate::key::ct_state;
use crate::nat::Nat;
use crate::types::TableId;
use std::collections::{BTreeMap, BTreeSet};

/// The fields that tell of a packet's connection.
const FIELDS: [FieldId; 11] = [
    FieldId::CtState,
    FieldId::CtZone,
    FieldId::CtMark,
    FieldId::CtLabel,
    FieldId::CtNwSrc,
    FieldId::CtNwDst,
    FieldId::CtIpv6Src,
    FieldId::CtIpv6Dst,
    FieldId::CtNwProto,
    FieldId::CtTpSrc,
    FieldId::CtTpDst,
];

/// Checks every `ct` of every rule. A rule gets each finding once.
pub(super) fn check(
    rules: &[LintRule<'_>],
    tables: &BTreeMap<TableId, Table>,
    findings: &mut Vec<Finding>,
) {
    let ways = Ways::of(rules);
    let translated_back = translated_back(rules);
    let is_back = |zone| {
        translated_back.iter().any(|other| match (zone, *other) {
            (CtZone::Number(zone), CtZone::Number(other)) => zone == other,
            // The number is in the packet.
            (CtZone::Field(_), _) | (_, CtZone::Field(_)) => true,
        })
    };
    for (rule, r) in rules.iter().enumerate() {
        let mut seen: Vec<Problem> = Vec::new();
        each_action(r.actions, &mut |action| {
            let Action::Ct(ct) = action else { return };
            let found = ct.table.filter(|table| looks_only(ct) && tables.contains_key(table));
            if let Some(table) = found.filter(|table| !ways.lead_to_reader(*table)) {
                seen.push(Problem::UnusedConnection { table });
            }
            let is_translated = matches!(ct.nat, Some(Nat::Source(_) | Nat::Destination(_)));
            if is_translated && !is_back(ct.zone) {
                seen.push(Problem::OneWayNat);
            }
        });
        seen.dedup();
        findings.extend(seen.into_iter().map(|problem| Finding { rule, problem }));
    }
}

/// Whether the action does nothing but to find out about the packet's connection.
fn looks_only(ct: &Ct) -> bool {
    !ct.commit && ct.nat.is_none()
}

/// The zones in which rules translate packets of known connections in both directions. A rule that matches
/// `+new` meets the first packets only.
fn translated_back(rules: &[LintRule<'_>]) -> Vec<CtZone> {
    let mut zones = Vec::new();
    for LintRule { matching, actions, .. } in rules {
        let state =
            FieldId::CtState.read(matching.key()) & FieldId::CtState.get_mask(matching.mask());
        if state & u128::from(ct_state::NEW) == 0 {
            each_action(actions, &mut |action| match action {
                Action::Ct(ct) if ct.nat.is_some() => zones.push(ct.zone),
                _ => {}
            });
        }
    }
    zones
}

/// Where packets go from table to table, and where rules look at what is known of connections.
#[derive(Default)]
struct Ways {
    next: BTreeMap<TableId, BTreeSet<TableId>>,
    readers: BTreeSet<TableId>,
}

impl Ways {
    fn of(rules: &[LintRule<'_>]) -> Self {
        let mut ways = Self::default();
        for LintRule { table: own, matching, actions, .. } in rules {
            let mut reads = FIELDS.iter().any(|field| field.get_mask(matching.mask()) != 0);
            let next = ways.next.entry(*own).or_default();
            each_action(actions, &mut |action| match action {
                Action::GotoTable(table) => {
                    next.insert(*table);
                }
                Action::Resubmit { table, .. } => {
                    next.insert(table.unwrap_or(*own));
                }
                Action::Ct(ct) => next.extend(ct.table),
                Action::Move { src, .. } => reads |= FIELDS.contains(&src.field),
                // What these do with the packet is not in its rules.
                Action::Learn(_) | Action::Controller { .. } | Action::Group(_) => reads = true,
                _ => {}
            });
            if reads {
                ways.readers.insert(*own);
            }
        }
        ways
    }

    /// Whether packets of a table come to a rule that looks at their connection.
    fn lead_to_reader(&self, table: TableId) -> bool {
        let (mut seen, mut open) = (BTreeSet::from([table]), vec![table]);
        while let Some(table) = open.pop() {
            if self.readers.contains(&table) {
                return true;
            }
            let next = self.next.get(&table).into_iter().flatten();
            open.extend(next.filter(|&&table| seen.insert(table)));
        }
        false
    }
}

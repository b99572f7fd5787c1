//! The option `--conjunctions` of `dump-flows` and `trace`: shows a conjunction as one rule.
//!
//! A conjunction is a rule that matches on `conj_id`, and for each of its clauses the rules that have the
//! action `conjunction(ID,CLAUSE/CLAUSES)`, all of one priority. What it matches is `(a or b) and (c or d)`,
//! with a match of such a rule in each place.

use crate::output::{Output, print_json};
use flow::action::Clause;
use flow::fields::FieldId;
use flow::flow_mod::FlowMod;
use flow::text::{DEFAULT_PRIORITY, PortNames, write_match};
use flow::types::TableId;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

/// The clauses of a conjunction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Conjunction {
    /// The priority of the rules that the clauses consist of.
    priority: u16,
    /// The matches of each clause, of which one has to match.
    clauses: Vec<Vec<String>>,
}

/// Rules of one bridge, with their conjunctions.
struct Folded {
    /// The conjunctions of each rule that matches on `conj_id`, by the index of the rule. Those of higher
    /// priority come first.
    conjunctions: BTreeMap<usize, Vec<Conjunction>>,
    /// Whether each rule is no more than a part of conjunctions that are shown with another rule.
    is_part: Vec<bool>,
}

/// Finds the conjunctions among rules, the clauses of which are among the rules `all`. Their matches are
/// written with the names of `ports`.
fn fold(rules: &[FlowMod], all: &[FlowMod], ports: &dyn PortNames) -> Folded {
    type Key = (TableId, u32);
    let table = |rule: &FlowMod| rule.table.unwrap_or_default();
    let mut found: BTreeMap<Key, BTreeMap<u16, Conjunction>> = BTreeMap::new();
    for rule in all {
        for Clause { id, clause, clauses } in Clause::all_in(&rule.actions) {
            let of_id = found.entry((table(rule), id)).or_default();
            let new = || Conjunction { priority: rule.priority, clauses: Vec::new() };
            let conjunction = of_id.entry(rule.priority).or_insert_with(new);
            let count = usize::from(clauses.max(clause));
            if conjunction.clauses.len() < count {
                conjunction.clauses.resize(count, Vec::new());
            }
            let mut text = String::new();
            // The default priority is not written.
            write_match(&mut text, &rule.matching, DEFAULT_PRIORITY, ports);
            conjunction.clauses[usize::from(clause) - 1].push(text);
        }
    }
    let mut conjunctions = BTreeMap::new();
    let mut shown: BTreeSet<Key> = BTreeSet::new();
    for (index, rule) in rules.iter().enumerate() {
        if FieldId::ConjId.get_mask(rule.matching.mask()) != FieldId::ConjId.full_mask() {
            continue;
        }
        let key = (table(rule), FieldId::ConjId.read(rule.matching.key()) as u32);
        if let Some(of_id) = found.get(&key) {
            conjunctions.insert(index, of_id.values().rev().cloned().collect());
            shown.insert(key);
        }
    }
    let is_part = rules.iter().map(|rule| {
        let mut clauses = Clause::all_in(&rule.actions).peekable();
        clauses.peek().is_some() && clauses.all(|c| shown.contains(&(table(rule), c.id)))
    });
    let is_part = is_part.collect();
    Folded { conjunctions, is_part }
}

impl Conjunction {
    /// The clauses as text: `(nw_src=10.0.0.1 or nw_src=10.0.0.2) and (tp_dst=80)`.
    fn text(&self) -> String {
        let clause = |matches: &Vec<String>| match &matches[..] {
            [] => "(nothing)".to_owned(),
            _ => format!("({})", matches.join(" or ")),
        };
        self.clauses.iter().map(clause).collect::<Vec<_>>().join(" and ")
    }
}

/// The line of a rule, ` priority=9,conj_id=7,ip actions=output:2`, with its conjunctions
/// in front of its actions.
fn line_with(line: &str, conjunctions: &[Conjunction]) -> String {
    let texts: Vec<String> = conjunctions.iter().map(Conjunction::text).collect();
    match line.rsplit_once(" actions=") {
        Some((rule, actions)) => format!("{rule} if {} actions={actions}", texts.join(" or else ")),
        None => line.to_owned(),
    }
}

/// A list of rules: the line of each, as JSON too if that is wanted, and the rule itself.
pub(crate) struct Listed {
    pub(crate) lines: Vec<String>,
    pub(crate) records: Option<Vec<Value>>,
    pub(crate) rules: Vec<FlowMod>,
}

/// Prints rules, each conjunction as one. `all` are the rules among which its clauses are; `None` if they are
/// in the list.
pub(crate) fn print_folded(
    listed: &Listed,
    all: Option<&[FlowMod]>,
    ports: &dyn PortNames,
) -> anyhow::Result<()> {
    let Listed { lines, records, rules } = listed;
    let Folded { conjunctions, is_part } = fold(rules, all.unwrap_or(rules), ports);
    let shown = (0..rules.len()).filter(|at| !is_part[*at]);
    if let Some(records) = records {
        let with =
            |at: usize| Some(with_conjunctions(records.get(at)?.clone(), conjunctions.get(&at)));
        let shown: Vec<Value> = shown.filter_map(with).collect();
        return print_json(&shown);
    }
    let mut out = Output::new();
    for at in shown {
        match conjunctions.get(&at) {
            Some(of_rule) => writeln!(out, "{}", line_with(&lines[at], of_rule))?,
            None => writeln!(out, "{}", lines[at])?,
        }
    }
    out.finish()
}

/// The record of a rule, with its conjunctions.
fn with_conjunctions(mut record: Value, conjunctions: Option<&Vec<Conjunction>>) -> Value {
    if let (Some(of_rule), Value::Object(fields)) = (conjunctions, &mut record) {
        let of_rule = serde_json::to_value(of_rule).unwrap_or_default();
        fields.insert("conjunctions".to_owned(), of_rule);
    }
    record
}

/// What the conjunctions of a rule match, that has this match, priority and table among `rules`;
/// `None` if it has none.
pub(crate) fn meaning(
    (table, matching, priority): (u8, &str, u16),
    rules: &[FlowMod],
    ports: &dyn PortNames,
) -> Option<String> {
    let is_meant = |rule: &&FlowMod| {
        let mut text = String::new();
        write_match(&mut text, &rule.matching, DEFAULT_PRIORITY, ports);
        rule.table.unwrap_or_default().get() == table
            && rule.priority == priority
            && text == matching
    };
    let rule = rules.iter().find(is_meant)?.clone();
    let folded = fold(&[rule], rules, ports);
    let texts: Vec<String> = folded.conjunctions.get(&0)?.iter().map(Conjunction::text).collect();
    Some(texts.join(" or else "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::text::{NoPortNames, ParseContext, parse_flow};

    fn fold_texts(texts: &[&str]) -> (Folded, Vec<String>) {
        let context = ParseContext::default();
        let rules = texts.iter().map(|text| parse_flow(text, &context).expect(text));
        let rules: Vec<FlowMod> = rules.collect();
        let folded = fold(&rules, &rules, &NoPortNames);
        let line = |at: usize| texts[at].replace(",actions", " actions");
        let lines = folded.conjunctions.iter().map(|(at, of)| line_with(&line(*at), of)).collect();
        (folded, lines)
    }

    #[test]
    fn a_conjunction_is_one_rule() {
        let (folded, lines) = fold_texts(&[
            "priority=9,ip,nw_src=10.0.0.1,actions=conjunction(7,1/2)",
            "priority=9,ip,nw_src=10.0.0.2,actions=conjunction(7,1/2),conjunction(8,1/2)",
            "priority=9,tcp,tp_dst=80,actions=conjunction(7,2/2)",
            "priority=9,conj_id=7,ip,actions=output:2",
            "table=1,priority=9,conj_id=7,ip,actions=output:3",
            "priority=1,actions=drop",
        ]);
        assert_eq!(
            lines,
            ["priority=9,conj_id=7,ip if (ip,nw_src=10.0.0.1 or ip,nw_src=10.0.0.2) and \
              (tcp,tp_dst=80) actions=output:2"]
        );
        // Conjunction 8 has no rule of its own, so that its part is shown by itself.
        assert_eq!(folded.is_part, [true, false, true, false, false, false]);
    }

    #[test]
    fn priorities_make_conjunctions_of_their_own_and_missing_clauses_are_told() {
        let (_, lines) = fold_texts(&[
            "priority=9,in_port=1,actions=conjunction(7,1/2)",
            "priority=8,in_port=2,actions=conjunction(7,1/2)",
            "priority=8,ip,actions=conjunction(7,2/2)",
            "conj_id=7,actions=drop",
        ]);
        assert_eq!(
            lines,
            ["conj_id=7 if (in_port=1) and (nothing) or else (in_port=2) and (ip) actions=drop"]
        );
    }
}

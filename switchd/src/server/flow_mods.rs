//! Transactions on rules: text in, all of it applied or nothing.

use super::batches::{Batch, BatchReader, context};
use super::lines::Lines;
use super::names::port_names;
use super::refuse;
use crate::switch::Switch;
use control::{FlowMods, Refusal, Reply};
use flow::flow_mod::{Command, FlowMod};
use flow::text::{ParseContext, parse_flow};
use flowtable::policy::rule::Rule;
use std::collections::HashSet;

/// Changes rules as the text says.
pub(super) fn change(switch: &Switch, mods: &FlowMods, text: &[u8]) -> Result<Reply, Box<Refusal>> {
    let names = port_names(switch.bridge());
    let lines = Lines::new(text, mods.file, mods.name.as_deref())?;
    let mut reader = BatchReader::new(lines, mods, switch.is_lenient(), &names);
    // The first rules are read before the tables are touched: most requests have no more.
    let first = reader.next_batch(Batch::default())?;
    let sample = if first.is_full() { reader.sample() } else { None };
    let mut transaction = switch.bridge().begin();
    if let Some((sample, count)) = sample {
        transaction.expect(&sample, count);
    }
    let now = switch.now();
    let mut changed = 0;
    let mut apply = |batch: &Batch<'_>| {
        changed += batch.rules.len() as u64;
        transaction
            .apply_all(&batch.rules, now)
            .map_err(|(i, error)| refuse::flow_mod(&error, batch.lines[i]))
    };
    apply(&first)?;
    if first.is_full() {
        reader.read_ahead(first, apply)?;
    }
    transaction.commit();
    Ok(Reply::Changed(changed))
}

/// Makes the rules those of the text. Rules that are there already keep their counters.
pub(super) fn replace(
    switch: &Switch,
    mods: &FlowMods,
    text: &[u8],
) -> Result<Reply, Box<Refusal>> {
    let names = port_names(switch.bridge());
    let context =
        ParseContext { command: Command::Add, ..context(mods, switch.is_lenient(), &names) };
    let lines = || Lines::new(text, true, mods.name.as_deref());
    let mut transaction = switch.bridge().begin();
    let mut places = HashSet::new();
    for line in lines()? {
        let rule = parse_flow(line.text, &context).map_err(|e| refuse::text(&e, line))?;
        places.extend(transaction.rule_like(&rule).map(|old| old.place()));
    }
    // First, so that a full table has room for the new ones.
    let mut changed = transaction.delete_all_but(&places) as u64;
    for line in lines()? {
        let rule = parse_flow(line.text, &context).map_err(|e| refuse::text(&e, line))?;
        if !transaction.rule_like(&rule).is_some_and(|old| is_same(&rule, &old)) {
            let added = transaction.apply(&rule, switch.now());
            added.map_err(|error| refuse::flow_mod(&error, line))?;
            changed += 1;
        }
    }
    transaction.commit();
    Ok(Reply::Changed(changed))
}

fn is_same(wanted: &FlowMod, rule: &Rule) -> bool {
    wanted.cookie == rule.cookie
        && wanted.idle_timeout == rule.idle_timeout
        && wanted.hard_timeout == rule.hard_timeout
        && wanted.importance == rule.importance
        && wanted.name.as_ref() == rule.name()
        && wanted.label.as_ref() == rule.label()
        && wanted.actions[..] == rule.actions[..]
}

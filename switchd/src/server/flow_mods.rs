//! Transactions on rules: text in, all of it applied or nothing.

use super::batches::{BatchReader, RuleBatch, context};
use super::ineffective::IneffectiveParts;
use super::lines::Lines;
use super::names::Names;
use super::progress::Progress;
use super::refuse::{self, Line};
use crate::bridge::flows::Replacement;
use crate::saved::{Author, SavedSwitch};
use crate::state::AddedRules;
use crate::switch::OnBridge;
use control::{Changed, FlowMods, Refusal, Reply};
use flow::flow_mod::Command;
use flow::text::{ParseContext, parse_flow};

/// Changes rules as the text says.
pub(super) fn change(
    switch: &OnBridge<'_>,
    mods: &FlowMods,
    text: &[u8],
    progress: &Progress,
) -> Result<Reply, Box<Refusal>> {
    let names = Names::of(*switch);
    let lines = Lines::new(text, mods.file, mods.name.as_deref())?;
    let mut ineffective = IneffectiveParts::default();
    let mut added = switch.keeps_state().then(AddedRules::default);
    let mut reader = BatchReader::new(
        lines,
        mods,
        switch.is_lenient(),
        &names,
        &mut ineffective,
        added.as_mut(),
    );
    // The first rules are read before the tables are touched: most requests have no more.
    let first = reader.next_batch(RuleBatch::default())?;
    let sample = if first.is_full() { reader.sample() } else { None };
    let mut transaction = switch.bridge().begin();
    if let Some((sample, count)) = sample {
        transaction.expect(&sample, count);
    }
    let now = switch.now();
    let mut count = 0;
    let mut apply = |batch: &RuleBatch<'_>| {
        count += batch.rules.len() as u64;
        progress.step();
        transaction
            .apply_all(&batch.rules, now)
            .map_err(|(i, error)| refuse::flow_mod(&error, batch.lines[i]))
    };
    apply(&first)?;
    if first.is_full() {
        reader.read_ahead(first, apply)?;
    }
    if let Some(added) = added {
        transaction.annotate(Box::new(added));
    }
    transaction.commit();
    Ok(Reply::Changed(Changed { count, notes: ineffective.notes_for(&names.ports, switch) }))
}

/// Makes the rules those of the text. Rules that are there already keep their counters. The
/// state before goes into the history, as a change of the user `who`.
pub(super) fn replace(
    switch: &OnBridge<'_>,
    mods: &FlowMods,
    who: &str,
    text: &[u8],
    progress: &Progress,
) -> Result<Reply, Box<Refusal>> {
    let before = SavedSwitch::of(switch);
    let names = Names::of(*switch);
    let context =
        ParseContext { command: Command::Add, ..context(mods, switch.is_lenient(), &names) };
    let lines = || Lines::new(text, true, mods.name.as_deref());
    let mut replacement = Replacement::begin(switch.bridge());
    let parse = |line: Line<'_>| {
        progress.step();
        parse_flow(line.text, &context).map_err(|error| refuse::text(&error, line))
    };
    // Twice, so that however long the text is no list of its rules is in memory.
    let mut ineffective = IneffectiveParts::default();
    for line in lines()? {
        let rule = parse(line)?;
        ineffective.look_at_rule(&rule);
        replacement.keep(&rule);
    }
    replacement.delete_others();
    for line in lines()? {
        let added = replacement.add(&parse(line)?, switch.now());
        added.map_err(|error| refuse::flow_mod(&error, line))?;
    }
    let (_, count) = replacement.commit();
    if count > 0 {
        let file = mods.name.as_deref().unwrap_or_default();
        let what = format!("replace-flows {} {file}", switch.name());
        switch.remember(&before, &Author { who: who.to_owned(), what });
    }
    Ok(Reply::Changed(Changed { count, notes: ineffective.notes_for(&names.ports, switch) }))
}

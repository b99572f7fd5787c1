//! Reads the rules of a request in batches. If there are many, a thread of its own reads them while another one
//! applies those that were read before.
//!
//! Reading needs no lock and applying needs no text, so a long file keeps two processors busy. A few batches
//! are in memory at a time, and their allocations are used again.

use super::ineffective::IneffectiveParts;
use super::lines::Lines;
use super::refuse::{self, Line};
use crate::state::AddedRules;
use control::{FlowCommand, FlowMods, Refusal};
use crossbeam::channel;
use flow::flow_mod::{Command, FlowMod};
use flow::text::{ParseContext, PortNames, parse_flow, parse_flow_file_line, strip_comment};
use std::thread;

/// The number of rules in a batch; the last batch may have fewer.
const BATCH: usize = 256;
/// The largest number of batches that have been read and wait to be applied.
const AHEAD: usize = 4;

/// The size in bytes from which on a sample of a text is read before its rules: it tells the
/// classifier what to plan for.
const MUCH: usize = 512 << 10;

/// Rules that have been read, each with its line.
#[derive(Default)]
pub(super) struct RuleBatch<'a> {
    pub(super) rules: Vec<FlowMod>,
    pub(super) lines: Vec<Line<'a>>,
}

impl RuleBatch<'_> {
    /// There may be more behind it.
    pub(super) fn is_full(&self) -> bool {
        self.rules.len() == BATCH
    }
}

/// Reads the rules of a request.
pub(super) struct BatchReader<'a, 's> {
    lines: Lines<'a>,
    mods: &'a FlowMods,
    is_lenient: bool,
    names: &'a (dyn PortNames + Sync),
    ineffective: &'s mut IneffectiveParts,
    /// What is kept of the rules; `None` if the switch keeps no state.
    added: Option<&'s mut AddedRules>,
}

impl<'a, 's> BatchReader<'a, 's> {
    /// Rules of these lines, in the dialect of `mods`. Each rule that is read is told to `added`, and its
    /// actions to `ineffective`.
    pub(super) fn new(
        lines: Lines<'a>,
        mods: &'a FlowMods,
        is_lenient: bool,
        names: &'a (dyn PortNames + Sync),
        ineffective: &'s mut IneffectiveParts,
        added: Option<&'s mut AddedRules>,
    ) -> Self {
        Self { lines, mods, is_lenient, names, ineffective, added }
    }

    /// The next rules, in place of those of `batch`.
    pub(super) fn next_batch(
        &mut self,
        mut batch: RuleBatch<'a>,
    ) -> Result<RuleBatch<'a>, Box<Refusal>> {
        batch.rules.clear();
        batch.lines.clear();
        let context = context(self.mods, self.is_lenient, self.names);
        let parse = if self.mods.file { parse_flow_file_line } else { parse_flow };
        for line in self.lines.by_ref().take(BATCH) {
            let rule = parse(line.text, &context).map_err(|e| refuse::text(&e, line))?;
            self.ineffective.look_at_rule(&rule);
            if let Some(added) = &mut self.added {
                added.push(&rule);
            }
            batch.rules.push(rule);
            batch.lines.push(line);
        }
        Ok(batch)
    }

    /// A sample of the rules that have not been read yet, and an estimate of their number. `None` if they are
    /// few. What is wrong with any of them is told when its turn comes.
    pub(super) fn sample(&self) -> Option<(Vec<FlowMod>, usize)> {
        if self.lines.size() < MUCH {
            return None;
        }
        let context = context(self.mods, self.is_lenient, self.names);
        let (mut rules, mut size) = (Vec::new(), 0);
        for line in self.lines.sample() {
            let rule = strip_comment(line).map(|text| parse_flow_file_line(text, &context));
            rules.extend(rule.and_then(Result::ok));
            size += line.len() + 1;
        }
        // As if all lines were as long as these, and rules as often.
        let count = self.lines.size() * rules.len() / size.max(1);
        Some((rules, count))
    }

    /// Reads the rest in a thread of its own while `apply` has the batches, until one of them
    /// refuses. `spare` is used again.
    pub(super) fn read_ahead(
        mut self,
        spare: RuleBatch<'a>,
        mut apply: impl FnMut(&RuleBatch<'a>) -> Result<(), Box<Refusal>>,
    ) -> Result<(), Box<Refusal>> {
        let (filled, to_apply) = channel::bounded(AHEAD);
        let (emptied, to_fill) = channel::bounded(AHEAD + 2);
        // There is room: the channel is new.
        let _ = emptied.try_send(spare);
        thread::scope(|scope| {
            scope.spawn(move || {
                loop {
                    let batch = self.next_batch(to_fill.try_recv().unwrap_or_default());
                    let is_last = batch.as_ref().map_or(true, |batch| !batch.is_full());
                    // Nobody listens once a batch was refused.
                    if filled.send(batch).is_err() || is_last {
                        return;
                    }
                }
            });
            for batch in to_apply {
                let batch = batch?;
                apply(&batch)?;
                let _ = emptied.try_send(batch);
            }
            Ok(())
        })
    }
}

/// How the text of a request is read.
pub(super) fn context<'a>(
    mods: &FlowMods,
    is_lenient: bool,
    ports: &'a dyn PortNames,
) -> ParseContext<'a> {
    let command = match mods.command {
        FlowCommand::Add => Command::Add,
        FlowCommand::Modify => Command::Modify,
        FlowCommand::ModifyStrict => Command::ModifyStrict,
        FlowCommand::Delete => Command::Delete,
        FlowCommand::DeleteStrict => Command::DeleteStrict,
    };
    let lenient = mods.lenient || is_lenient;
    ParseContext { version: mods.version, formats: mods.formats, command, lenient, ports }
}

#[cfg(test)]
mod tests {
    use super::super::names::NameTable;
    use super::*;

    /// Counts the rules that are applied until one is refused, by its cookie.
    fn read(text: &str, refused: Option<u64>) -> Result<usize, Box<Refusal>> {
        let (mods, names) = (FlowMods { file: true, ..FlowMods::default() }, NameTable::new());
        let lines = Lines::new(text.as_bytes(), true, Some("f"))?;
        let mut ineffective = IneffectiveParts::default();
        let reader = BatchReader::new(lines, &mods, false, &names, &mut ineffective, None);
        let mut count = 0;
        reader.read_ahead(RuleBatch::default(), |batch| {
            for (rule, line) in batch.rules.iter().zip(&batch.lines) {
                if refused == Some(rule.cookie.0) {
                    let message = format!("line {}", line.number);
                    return Err(Box::new(Refusal::new(control::Reason::Switch, message)));
                }
                assert_eq!(rule.cookie.0, count as u64, "in order");
                count += 1;
            }
            Ok(())
        })?;
        Ok(count)
    }

    fn rules(n: usize) -> String {
        (0..n).map(|i| format!("cookie={i},actions=drop\n")).collect()
    }

    #[test]
    fn all_rules_arrive_in_order() {
        for n in [0, 1, BATCH - 1, BATCH, BATCH + 1, 20 * BATCH] {
            assert_eq!(read(&rules(n), None).unwrap(), n);
        }
    }

    #[test]
    fn a_sample_tells_about_how_many_rules_there_are() {
        let (mods, names) = (FlowMods { file: true, ..FlowMods::default() }, NameTable::new());
        let sample = |text: &str| {
            let lines = Lines::new(text.as_bytes(), true, None).unwrap();
            let mut ineffective = IneffectiveParts::default();
            let reader = BatchReader::new(lines, &mods, false, &names, &mut ineffective, None);
            reader.sample().map(|(rules, count)| (rules.len(), count))
        };
        assert_eq!(sample(&rules(1000)), None);
        let (len, count) = sample(&rules(50_000)).unwrap();
        assert!(len > 1000 && count.abs_diff(50_000) < 500, "{len} of {count}");
        let (len, count) =
            sample(&(rules(25_000) + &"nonsense=30001,action=x\n".repeat(25_000))).unwrap();
        assert!(len.abs_diff(512) < 100 && count.abs_diff(25_000) < 3000, "{len} of {count}");
        assert_eq!(sample(&"?\n".repeat(500_000)), Some((0, 0)));
    }

    #[test]
    fn whoever_refuses_first_is_heard() {
        let n = 20 * BATCH;
        assert_eq!(read(&rules(n), Some(700)).unwrap_err().message, "line 701");
        let text = rules(n) + "nonsense\n";
        let refusal = read(&text, None).unwrap_err();
        assert_eq!(refusal.place.unwrap().line, n + 1);
    }
}

//! Transactions on rules: text in, all of it applied or nothing.

use super::names::port_names;
use super::refuse::{self, Line};
use crate::switch::Switch;
use control::{FlowCommand, FlowMods, Refusal, Reply};
use flowtable::flow::Match;
use flowtable::flow_mod::{Command, FlowMod};
use flowtable::pipeline::Transaction;
use flowtable::pipeline::rule::Rule;
use flowtable::pipeline::tables::RuleRef;
use flowtable::text::{ParseContext, PortNames, parse_flow, parse_flow_file_line, strip_comment};
use flowtable::types::TableId;
use std::collections::HashSet;
use std::sync::Arc;

/// Rules that are parsed before they are applied: parsing needs no lock, and memory is bounded.
const BATCH: usize = 256;

/// The lines of a request's text that say something.
pub(super) struct Lines<'a> {
    text: &'a str,
    name: Option<&'a str>,
    is_file: bool,
    next: usize,
}

impl<'a> Lines<'a> {
    /// Of a file, or of a single rule, which may be empty.
    pub(super) fn new(
        text: &'a [u8],
        is_file: bool,
        name: Option<&'a str>,
    ) -> Result<Self, Box<Refusal>> {
        let text = std::str::from_utf8(text).map_err(|error| {
            let line = 1 + text[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            let message = format!("line {line} is not UTF-8 text");
            Box::new(Refusal::new(control::Reason::Text, message))
        })?;
        Ok(Self { text, name, is_file, next: 1 })
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if !self.is_file {
            self.is_file = true;
            let text = std::mem::take(&mut self.text);
            return Some(Line { file: self.name, number: 1, text: text.trim_end_matches('\n') });
        }
        while !self.text.is_empty() {
            let (line, rest) = self.text.split_once('\n').unwrap_or((self.text, ""));
            self.text = rest;
            self.next += 1;
            if let Some(text) = strip_comment(line) {
                return Some(Line { file: self.name, number: self.next - 1, text });
            }
        }
        None
    }
}

/// Changes rules as the text says.
pub(super) fn change(switch: &Switch, mods: &FlowMods, text: &[u8]) -> Result<Reply, Box<Refusal>> {
    let names = port_names(switch.pipeline());
    let context = context(switch, mods, &names);
    let mut lines = Lines::new(text, mods.file, mods.name.as_deref())?;
    let mut batch = Batch::default();
    // The first rules are read before the tables are touched: most requests have no more.
    batch.fill(&mut lines, &context, mods.file)?;
    let mut transaction = switch.pipeline().begin();
    let now = switch.now();
    let mut changed = 0;
    while !batch.rules.is_empty() {
        transaction
            .apply_all(&batch.rules, now)
            .map_err(|(i, error)| refuse::flow_mod(&error, batch.lines[i]))?;
        changed += batch.rules.len() as u64;
        batch.fill(&mut lines, &context, mods.file)?;
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
    let names = port_names(switch.pipeline());
    let context = ParseContext { command: Command::Add, ..context(switch, mods, &names) };
    let lines = || Lines::new(text, true, mods.name.as_deref());
    let mut transaction = switch.pipeline().begin();
    let mut places = HashSet::new();
    for line in lines()? {
        let mut rule = parse_flow(line.text, &context).map_err(|e| refuse::text(&e, line))?;
        places.extend(rule_at_place_of(switch, &mut rule).map(|(place, _)| place));
    }
    // First, so that a full table has room for the new ones.
    let mut changed = delete_all_but(switch, &mut transaction, &places);
    for line in lines()? {
        let mut rule = parse_flow(line.text, &context).map_err(|e| refuse::text(&e, line))?;
        let old = rule_at_place_of(switch, &mut rule);
        if !old.is_some_and(|(_, old)| is_same(&rule, &old)) {
            let added = transaction.apply(&rule, switch.now());
            added.map_err(|error| refuse::flow_mod(&error, line))?;
            changed += 1;
        }
    }
    transaction.commit();
    Ok(Reply::Changed(changed))
}

/// The rule with the match and priority of `rule`, as the transaction that is under way has it.
fn rule_at_place_of(switch: &Switch, rule: &mut FlowMod) -> Option<(RuleRef, Arc<Rule>)> {
    let snapshot = switch.pipeline().snapshot();
    rule.table = Some(rule.table.unwrap_or_default());
    rule.command = Command::DeleteStrict;
    let found = snapshot.tables().select(rule, snapshot.version().next());
    rule.command = Command::Add;
    let place = *found.first()?;
    Some((place, Arc::clone(snapshot.tables().rule(place)?.value)))
}

/// Deletes the rules that are not among `kept`, and returns how many there were.
fn delete_all_but(
    switch: &Switch,
    transaction: &mut Transaction<'_>,
    kept: &HashSet<RuleRef>,
) -> u64 {
    let others: Vec<RuleRef> = {
        let snapshot = switch.pipeline().snapshot();
        let rules = snapshot.tables().rules(None, snapshot.version());
        rules.map(|e| (e.value.table, e.id)).filter(|rule| !kept.contains(rule)).collect()
    };
    for &(table, id) in &others {
        let deletion = {
            let snapshot = switch.pipeline().snapshot();
            snapshot.tables().rule((table, id)).map(|e| deletion(table, e.matches, e.priority))
        };
        // Deleting what is there cannot be refused.
        let _ = deletion.map(|deletion| transaction.apply(&deletion, switch.now()));
    }
    others.len() as u64
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

fn deletion(table: TableId, matching: Match, priority: u16) -> FlowMod {
    FlowMod {
        command: Command::DeleteStrict,
        table: Some(table),
        matching,
        priority,
        cookie: Default::default(),
        cookie_filter: None,
        modify_cookie: false,
        idle_timeout: 0,
        hard_timeout: 0,
        importance: 0,
        flags: Default::default(),
        out_port: None,
        out_group: None,
        actions: Vec::new(),
        name: None,
        label: None,
    }
}

fn context<'a>(switch: &Switch, mods: &FlowMods, ports: &'a dyn PortNames) -> ParseContext<'a> {
    let lenient = mods.lenient || switch.is_lenient();
    let command = match mods.command {
        FlowCommand::Add => Command::Add,
        FlowCommand::Modify => Command::Modify,
        FlowCommand::ModifyStrict => Command::ModifyStrict,
        FlowCommand::Delete => Command::Delete,
        FlowCommand::DeleteStrict => Command::DeleteStrict,
    };
    ParseContext { version: mods.version, command, lenient, ports }
}

/// Rules that have been read, each with its line.
#[derive(Default)]
struct Batch<'a> {
    rules: Vec<FlowMod>,
    lines: Vec<Line<'a>>,
}

impl<'a> Batch<'a> {
    /// Replaces the rules by the next ones.
    fn fill(
        &mut self,
        lines: &mut Lines<'a>,
        context: &ParseContext<'_>,
        is_file: bool,
    ) -> Result<(), Box<Refusal>> {
        self.rules.clear();
        self.lines.clear();
        let parse = if is_file { parse_flow_file_line } else { parse_flow };
        for line in lines.take(BATCH) {
            self.rules.push(parse(line.text, context).map_err(|e| refuse::text(&e, line))?);
            self.lines.push(line);
        }
        Ok(())
    }
}

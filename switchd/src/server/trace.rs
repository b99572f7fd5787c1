//! Follows a packet through the tables and says in words what happens to it.
//!
//! Nothing is sent, learned or counted: translation has no side effects.

use super::names::{port_names, shown};
use super::refuse::{self, Line};
use crate::switch::Switch;
use control::record::{DropCause, TraceEventRecord, TraceRecord, TraceStepRecord};
use control::{Reason, Refusal, Reply};
use flowtable::flow::compose::compose;
use flowtable::flow::extract::extract;
use flowtable::flow::key::{FlowKey, PipelineKey};
use flowtable::pipeline::ports::PortTable;
use flowtable::pipeline::rule::Rule;
use flowtable::pipeline::xlate::{TraceEvent, TraceStep, Translation};
use flowtable::text::{
    DEFAULT_PRIORITY, ParseContext, PrintOptions, parse_match, write_action, write_match,
};
use flowtable::trace::{
    note_text, with_of_port, write_datapath_actions, write_megaflow, write_packet,
};
use flowtable::types::OfPort;
use std::collections::HashMap;
use std::sync::Arc;

/// Traces the packet that `flow` describes, or the one in `packet`.
pub(super) fn trace(
    switch: &Switch,
    flow: &str,
    packet: Option<&str>,
    with_names: bool,
) -> Result<Reply, Box<Refusal>> {
    let pipeline = switch.pipeline();
    let table = port_names(pipeline);
    let names = shown(&table, with_names);
    let options = PrintOptions { ports: &names, ..PrintOptions::default() };
    let context = ParseContext { ports: &table, ..ParseContext::default() };
    let line = Line { file: None, number: 1, text: flow };
    let wanted = parse_match(flow, &context).map_err(|error| refuse::text(&error, line))?;
    let frame = match packet {
        Some(hex) => parse_hex(hex)?,
        None => compose(&wanted.key().flow),
    };
    let in_port = OfPort(wanted.key().flow.in_port.get() as u16);
    let no = pipeline.snapshot().ports().get(in_port).map(|port| port.no);
    let no = no.ok_or_else(|| match wanted.mask().flow.in_port.get() {
        0 => no_in_port(),
        _ => refuse::no_port(&in_port.to_string()),
    })?;
    let (key, _) = extract(no, 0, &frame, switch.vlan_limit());
    let (translation, steps) = pipeline.trace(&key);
    let rules = describe_rules(switch, &steps, &options);
    let snapshot = pipeline.snapshot();
    let words = Words { options, ports: snapshot.ports(), rules: &rules };
    Ok(Reply::Trace(words.record(&key, &translation, &steps)))
}

fn no_in_port() -> Box<Refusal> {
    let message = "a packet to trace comes in somewhere: it needs an in_port";
    Box::new(Refusal::new(Reason::Text, message).with_hint("add in_port=1"))
}

/// The bytes that hexadecimal digits stand for; blanks, colons and dots may separate them.
pub(super) fn parse_hex(text: &str) -> Result<Vec<u8>, Box<Refusal>> {
    let bad = |message: &str| Box::new(Refusal::new(Reason::Text, message));
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace() && !matches!(c, ':' | '.'))
        .map(|c| c.to_digit(16).map(|d| d as u8))
        .collect();
    let digits = digits.ok_or_else(|| bad("a packet is written in hexadecimal digits"))?;
    if digits.len() % 2 != 0 {
        return Err(bad("the packet ends with half a byte"));
    }
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Match and priority of the rules that a trace names.
fn describe_rules(
    switch: &Switch,
    steps: &[TraceStep],
    options: &PrintOptions<'_>,
) -> HashMap<*const Rule, String> {
    let mut wanted: HashMap<*const Rule, String> = steps
        .iter()
        .filter_map(|step| match &step.event {
            TraceEvent::Rule(_, rule) => Some((Arc::as_ptr(rule), String::new())),
            _ => None,
        })
        .collect();
    let snapshot = switch.pipeline().snapshot();
    for entry in snapshot.tables().rules(None, snapshot.version()) {
        if let Some(text) = wanted.get_mut(&Arc::as_ptr(entry.value)) {
            write_match(text, &entry.matches, DEFAULT_PRIORITY, options.ports);
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(&format!("priority {}", entry.priority));
        }
    }
    wanted
}

/// What the words need.
struct Words<'a> {
    options: PrintOptions<'a>,
    ports: &'a PortTable,
    rules: &'a HashMap<*const Rule, String>,
}

impl Words<'_> {
    fn record(&self, key: &FlowKey, translation: &Translation, steps: &[TraceStep]) -> TraceRecord {
        let of = |no| self.ports.by_no(no).map(|port| port.of);
        let key = with_of_port(key, of);
        let flow = self.packet(&PipelineKey { flow: key, ..PipelineKey::default() });
        let last = steps.iter().rev().find_map(|step| match &step.event {
            TraceEvent::Final(key) => Some(self.packet(key)),
            _ => None,
        });
        let mut megaflow = String::new();
        write_megaflow(&mut megaflow, &key, &translation.mask, self.options.ports);
        let mut datapath_actions = String::new();
        write_datapath_actions(&mut datapath_actions, &translation.actions, &of);
        TraceRecord {
            final_flow: last.filter(|last| *last != flow),
            flow,
            steps: steps.iter().filter_map(|step| self.step(step)).collect(),
            megaflow,
            datapath_actions,
            dropped: translation.drop.map(|reason| DropCause {
                reason: reason.name().to_owned(),
                meaning: reason.sentence().to_owned(),
            }),
        }
    }

    fn step(&self, step: &TraceStep) -> Option<TraceStepRecord> {
        let event = match &step.event {
            TraceEvent::Rule(table, rule) => TraceEventRecord::Rule {
                table: table.get(),
                text: self.rules.get(&Arc::as_ptr(rule)).cloned().unwrap_or_default(),
                cookie: (rule.cookie.0 != 0).then(|| format!("{:#x}", rule.cookie.0)),
                name: rule.name().map(|name| name.to_string()),
            },
            TraceEvent::Miss(table) => TraceEventRecord::Miss { table: table.get() },
            TraceEvent::Action(action) => {
                let mut text = String::new();
                write_action(&mut text, action, &self.options);
                TraceEventRecord::Action(text)
            }
            TraceEvent::Bucket(index) => TraceEventRecord::Bucket(*index as u64),
            TraceEvent::ActionSet => TraceEventRecord::ActionSet,
            TraceEvent::Note(note) => TraceEventRecord::Note(note_text(note, &self.options)),
            TraceEvent::Final(_) => return None,
        };
        Some(TraceStepRecord { depth: step.depth, event })
    }

    /// All fields of a packet.
    fn packet(&self, key: &PipelineKey) -> String {
        let mut out = String::new();
        write_packet(&mut out, key, self.options.ports);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_from_digits() {
        assert_eq!(parse_hex("01:02 aB.cd").unwrap(), [1, 2, 0xab, 0xcd]);
        assert!(parse_hex("0").is_err());
        assert!(parse_hex("0x01").is_err());
    }
}

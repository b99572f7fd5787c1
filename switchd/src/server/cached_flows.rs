//! The flows in the caches of the workers, and why they look at the bits they look at.
//!
//! A cached flow is read while its worker goes on; the list is what was there at some moment of the
//! dump. For the reasons each flow's packet is translated again, so they are those of the rules as
//! they are now.

use super::dispatch::Failure;
use super::names::{NameTable, port_names, shown};
use super::refuse::{self, Line};
use super::session::Sender;
use crate::switch::OnBridge;
use control::frame::{Kind, TEXT_SIZE};
use control::record::{CachedFlowRecord, DropCause, ReasonRecord};
use control::{CachedFlowQuery, Format, Reason as RefusalReason, Refusal, Reply};
use flow::Match;
use flow::fields::FieldId;
use flow::key::{FlowKey, FlowMask, KeyPortNo, PipelineMask};
use flow::text::{
    DEFAULT_PRIORITY, ParseContext, PortNames, PrintOptions, parse_match, write_action, write_match,
};
use flow::types::PortNo;
use flowtable::datapath::CachedFlow;
use flowtable::policy::ports::PortInfo;
use flowtable::policy::rule::Rule;
use flowtable::policy::xlate::{TraceEvent, TraceStep};
use flowtable::trace::{Cause, reasons, write_datapath_actions, write_datapath_flow};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Lists the cached flows of a query, as far as they begin in this bridge.
pub(super) fn dump(
    switch: &OnBridge<'_>,
    query: &CachedFlowQuery,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let names = port_names(switch.bridge());
    let filter = Filter::parse(switch, &query.filter, &names)?;
    let mut workers = switch.cached_flows();
    // A flow belongs to the bridge of the port where its packets come in.
    let is_elsewhere = |flow: &CachedFlow| {
        let at = switch.policy().port_ref(flow.key().port_no.get());
        at.is_some_and(|at| at.bridge != switch.bridge().id())
    };
    let is_wanted = |flow: &CachedFlow| filter.may_cover(flow) && !is_elsewhere(flow);
    workers.iter_mut().for_each(|flows| flows.retain(|flow| is_wanted(flow)));
    let ports = port_labels(switch, query.names);
    let names = shown(&names, query.names);
    let writer = Writer { switch, query, ports, names: &names, now: switch.now() };
    let mut text = String::with_capacity(TEXT_SIZE);
    for (worker, flows) in workers.iter().enumerate() {
        if workers.len() > 1 && query.format == Format::Text {
            let _ = writeln!(text, "flow-dump from worker {worker}:");
        }
        for flow in flows {
            let record = writer.record(worker as u32, flow);
            match query.format {
                Format::Text => write_text(&mut text, &record),
                Format::Json => super::status::write_record(&mut text, &record),
            }
            text.push('\n');
            if text.len() >= TEXT_SIZE / 2 {
                to.put(Kind::Text, text.as_bytes())?;
                text.clear();
            }
        }
    }
    to.put(Kind::Text, text.as_bytes())?;
    Ok(Reply::Listed(workers.iter().map(|flows| flows.len() as u64).sum()))
}

/// What ports are called: by name if that is wanted, or if there are several bridges, each with numbers of its own.
fn port_labels(switch: &OnBridge<'_>, names: bool) -> HashMap<PortNo, String> {
    let policy = switch.policy();
    let bridges = policy.bridges();
    let uses_names = names || bridges.len() > 1;
    let mut labels = HashMap::new();
    for (bridge, _) in bridges {
        for port in policy.bridge(bridge).snapshot().ports().iter() {
            let label = if uses_names { port.name.to_string() } else { port.of_port.to_string() };
            labels.extend(port.port_no().map(|port_no| (port_no, label)));
        }
    }
    labels
}

/// Which flows are wanted: those that a packet of a match may belong to.
struct Filter {
    key: FlowKey,
    mask: FlowMask,
}

impl Filter {
    fn parse(switch: &OnBridge<'_>, text: &str, names: &NameTable) -> Result<Self, Box<Refusal>> {
        let context = ParseContext { ports: names, ..ParseContext::default() };
        let line = Line { file: None, number: 1, text };
        let wanted = parse_match(text, &context).map_err(|error| refuse::text(&error, line))?;
        let mut state = *wanted.mask();
        (state.bits.in_port, state.bits.headers) = Default::default();
        if state != PipelineMask::default() {
            let message = "cached flows are about packets, which have no registers or metadata";
            let refusal = Refusal::new(RefusalReason::Text, message);
            return Err(Box::new(refusal.with_hint("name only fields of the packet, or in_port")));
        }
        let mut key = FlowKey { headers: wanted.key().headers, ..FlowKey::default() };
        let mut mask = flow_mask(wanted.mask());
        if FieldId::InPort.is_exact(wanted.mask()) {
            let of = wanted.key().in_port.get();
            let port_no = switch.bridge().snapshot().ports().get(of).and_then(PortInfo::port_no);
            let port_no = port_no.ok_or_else(|| refuse::no_port(&of.to_string()))?;
            key.port_no.set(port_no);
            mask.bits.port_no = KeyPortNo::ALL_BITS;
        }
        Ok(Self { key, mask })
    }

    fn may_cover(&self, flow: &CachedFlow) -> bool {
        let (key, mask) = (flow.key(), flow.mask());
        let values = key.words().iter().zip(self.key.words());
        let masks = mask.words().iter().zip(self.mask.words());
        values.zip(masks).all(|((a, b), (m, n))| (a ^ b) & m & n == 0)
    }
}

/// The bits of packets that a rule's mask has.
fn flow_mask(mask: &PipelineMask) -> FlowMask {
    FlowMask { bits: FlowKey { headers: mask.bits.headers, ..FlowKey::default() } }
}

/// What is told of a rule.
struct RuleWords {
    matched: FlowMask,
    text: String,
}

/// The rules that won when a packet was translated.
fn describe_rules(
    switch: &OnBridge<'_>,
    steps: &[TraceStep],
    names: &dyn PortNames,
) -> HashMap<*const Rule, RuleWords> {
    let won = steps.iter().filter_map(|step| match &step.event {
        TraceEvent::Rule(_, rule) => Some(rule),
        _ => None,
    });
    let words = won.filter_map(|rule| {
        let (priority, matching) = switch.policy().match_of(rule)?;
        Some((Arc::as_ptr(rule), RuleWords::new(rule, priority, &matching, names)))
    });
    words.collect()
}

impl RuleWords {
    fn new(rule: &Rule, priority: u16, matching: &Match, names: &dyn PortNames) -> Self {
        let mut text = String::new();
        write_match(&mut text, matching, DEFAULT_PRIORITY, names);
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}priority {priority}");
        if rule.cookie.0 != 0 {
            let _ = write!(text, ", cookie {:#x}", rule.cookie.0);
        }
        if let Some(name) = rule.name() {
            let _ = write!(text, ", name {name}");
        }
        Self { matched: flow_mask(matching.mask()), text }
    }
}

struct Writer<'a> {
    switch: &'a OnBridge<'a>,
    query: &'a CachedFlowQuery,
    /// What the ports of all bridges are called here.
    ports: HashMap<PortNo, String>,
    names: &'a dyn PortNames,
    now: Duration,
}

impl Writer<'_> {
    fn record(&self, worker: u32, flow: &CachedFlow) -> CachedFlowRecord {
        let (n_packets, n_bytes) = flow.totals();
        let mut actions = String::new();
        write_datapath_actions(&mut actions, &flow.actions, &|port_no| self.port(port_no));
        let since = |then| self.now.saturating_sub(then).as_millis() as f64 / 1000.0;
        CachedFlowRecord {
            worker,
            flow: self.flow(&flow.key(), &flow.mask()),
            n_packets,
            n_bytes,
            used: (n_packets > 0).then(|| since(flow.used())),
            age: since(flow.created()),
            actions,
            dropped: flow.drop.filter(|_| flow.actions.is_empty()).map(|reason| DropCause {
                reason: reason.name().to_owned(),
                meaning: reason.sentence().to_owned(),
            }),
            why: if self.query.why { self.why(flow) } else { Vec::new() },
        }
    }

    fn port(&self, port_no: PortNo) -> Option<String> {
        self.ports.get(&port_no).cloned()
    }

    fn flow(&self, key: &FlowKey, mask: &FlowMask) -> String {
        let in_port = self.port(key.port_no.get());
        let mut text = String::new();
        write_datapath_flow(&mut text, key, mask, in_port.as_deref().unwrap_or("gone"));
        text
    }

    fn why(&self, flow: &CachedFlow) -> Vec<ReasonRecord> {
        let key = flow.key();
        let (translation, steps) = self.switch.policy().trace(&key);
        let rules = describe_rules(self.switch, &steps, self.names);
        let matched = |rule: &Arc<Rule>| Some(rules.get(&Arc::as_ptr(rule))?.matched);
        let reasons = reasons(&translation.mask, &steps, matched);
        let mut told: Vec<ReasonRecord> = reasons
            .into_iter()
            .map(|reason| self.reason(self.flow(&key, &reason.bits), &reason.cause, &rules))
            // Bits that no packet of this kind has.
            .filter(|reason| !reason.bits.is_empty())
            .collect();
        let is_the_same = *flow.actions == translation.actions[..] && flow.drop == translation.drop;
        if !is_the_same {
            let cause = "changed".to_owned();
            told.push(ReasonRecord { cause, ..ReasonRecord::default() });
        }
        told
    }

    fn reason(
        &self,
        bits: String,
        cause: &Cause,
        rules: &HashMap<*const Rule, RuleWords>,
    ) -> ReasonRecord {
        let (cause, table, text) = match cause {
            Cause::Always => ("always", None, None),
            Cause::Rule(table, rule) => {
                let words = rules.get(&Arc::as_ptr(rule));
                ("rule", Some(table), words.map(|words| words.text.clone()))
            }
            Cause::OtherRules(table) => ("other_rules", Some(table), None),
            Cause::Miss(table) => ("miss", Some(table), None),
            Cause::Action(action) => {
                let mut text = String::new();
                let options = PrintOptions { ports: self.names, ..PrintOptions::default() };
                write_action(&mut text, action, &options);
                ("action", None, Some(text))
            }
        };
        ReasonRecord { bits, cause: cause.to_owned(), table: table.map(|t| t.get()), text }
    }
}

/// The line of `ovs-dpctl dump-flows`, and under it the reasons.
fn write_text(out: &mut String, record: &CachedFlowRecord) {
    let CachedFlowRecord { flow, n_packets, n_bytes, actions, .. } = record;
    let used = record.used.map_or_else(|| "never".to_owned(), |used| format!("{used:.3}s"));
    let _ =
        write!(out, "{flow}, packets:{n_packets}, bytes:{n_bytes}, used:{used}, actions:{actions}");
    let width = record.why.iter().map(|reason| reason.bits.len()).max().unwrap_or(0);
    for reason in &record.why {
        let table = reason.table.unwrap_or_default();
        let text = reason.text.as_deref().unwrap_or("a rule that is gone");
        let bits = &reason.bits;
        let _ = match reason.cause.as_str() {
            "always" => write!(out, "\n    {bits:width$}  always"),
            "rule" => write!(out, "\n    {bits:width$}  table {table}: {text}"),
            "other_rules" => {
                write!(out, "\n    {bits:width$}  table {table}: rules out others")
            }
            "miss" => write!(out, "\n    {bits:width$}  table {table}: rules out all rules"),
            "action" => write!(out, "\n    {bits:width$}  action {text}"),
            _ => write!(out, "\n    (the rules have changed since; its next packet will tell)"),
        };
    }
    if let (Some(cause), false) = (&record.dropped, record.why.is_empty()) {
        let _ = write!(out, "\n    dropped: {} ({})", cause.meaning, cause.reason);
    }
}

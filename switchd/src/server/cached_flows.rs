//! Cached flows, and why they look at the bits that they look at, in words.

use super::answer::{Failure, Sender};
use super::names::{NameTable, port_names, shown};
use super::refuse::{self, Line};
use crate::bridge::cached_flows::{self, CachedFlowFilter, CachedFlowFilterError};
use crate::bridge::won_rules::{WonRule, WonRules};
use crate::switch::OnBridge;
use control::frame::{Kind, TEXT_SIZE};
use control::record::{CachedFlowRecord, DropCause, ReasonRecord};
use control::{CachedFlowQuery, Format, Reason as RefusalReason, Refusal, Reply};
use flow::key::{FlowKey, FlowMask};
use flow::text::{
    DEFAULT_PRIORITY, ParseContext, PortNames, PrintOptions, parse_match, write_action, write_match,
};
use flow::types::PortNo;
use flowtable::datapath::CachedFlow;
use flowtable::policy::rule::Rule;
use flowtable::trace::{Cause, write_datapath_actions, write_datapath_flow};
use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

/// Lists the cached flows of a query, as far as they begin in this bridge.
pub(super) fn dump(
    switch: &OnBridge<'_>,
    query: &CachedFlowQuery,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let names = port_names(switch.bridge());
    let filter = filter(switch, &query.filter, &names)?;
    let workers = cached_flows::list(*switch, &filter);
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

/// What ports are called: by name if that is wanted, or if there are several bridges, each
/// with numbers of its own.
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

/// Reads which cached flows are wanted: those that a packet of the match may belong to.
fn filter(
    switch: &OnBridge<'_>,
    text: &str,
    names: &NameTable,
) -> Result<CachedFlowFilter, Box<Refusal>> {
    let context = ParseContext { ports: names, ..ParseContext::default() };
    let line = Line { file: None, number: 1, text };
    let wanted = parse_match(text, &context).map_err(|error| refuse::text(&error, line))?;
    CachedFlowFilter::new(switch.bridge(), &wanted).map_err(|error| {
        let refused = |hint: &str| {
            Box::new(Refusal::new(RefusalReason::Text, error.to_string()).with_hint(hint))
        };
        match &error {
            CachedFlowFilterError::NotOfPackets => {
                refused("name only fields of the packet, or in_port")
            }
            CachedFlowFilterError::NoPort(port) => refuse::no_port(&port.to_string()),
            CachedFlowFilterError::PatchPort(_) => {
                refused("ask the bridge of the port where the packets are received")
            }
        }
    })
}

/// A rule as a reason names it: `tcp, priority 10, cookie 0x1, name web`.
fn describe(rule: &Rule, won: &WonRule, names: &dyn PortNames) -> String {
    let mut text = String::new();
    write_match(&mut text, &won.matching, DEFAULT_PRIORITY, names);
    let comma = if text.is_empty() { "" } else { ", " };
    let _ = write!(text, "{comma}priority {}", won.priority);
    if rule.cookie.0 != 0 {
        let _ = write!(text, ", cookie {:#x}", rule.cookie.0);
    }
    if let Some(name) = rule.name() {
        let _ = write!(text, ", name {name}");
    }
    text
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
            offloaded: self.switch.is_offloaded(flow),
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
        let told = cached_flows::explain(*self.switch, flow);
        let reasons = told.reasons.iter();
        let mut records: Vec<ReasonRecord> = reasons
            .map(|reason| self.reason(self.flow(&key, &reason.bits), &reason.cause, &told.rules))
            // Bits that no packet of this kind has.
            .filter(|reason| !reason.bits.is_empty())
            .collect();
        if told.has_changed {
            let cause = "changed".to_owned();
            records.push(ReasonRecord { cause, ..ReasonRecord::default() });
        }
        records
    }

    fn reason(&self, bits: String, cause: &Cause, rules: &WonRules) -> ReasonRecord {
        let (cause, table, text) = match cause {
            Cause::Always => ("always", None, None),
            Cause::Rule(table, rule) => {
                let text = rules.get(rule).map(|won| describe(rule, won, self.names));
                ("rule", Some(table), text)
            }
            Cause::OtherRules(table) => ("other_rules", Some(table), None),
            Cause::Miss(table) => ("miss", Some(table), None),
            Cause::Omitted => ("omitted", None, None),
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
    let offloaded = if record.offloaded { "offloaded:yes, " } else { "" };
    let _ = write!(
        out,
        "{flow}, packets:{n_packets}, bytes:{n_bytes}, used:{used}, {offloaded}actions:{actions}"
    );
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
            "omitted" => {
                write!(out, "\n    {bits:width$}  steps beyond those that are remembered")
            }
            _ => write!(out, "\n    (the rules have changed since; its next packet will tell)"),
        };
    }
    if let (Some(cause), false) = (&record.dropped, record.why.is_empty()) {
        let _ = write!(out, "\n    dropped: {} ({})", cause.meaning, cause.reason);
    }
}

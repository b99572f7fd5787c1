//! Rules: flow mods, and requests and replies about the statistics of rules.

use crate::{Received, put};
use flow::flow_mod::FlowMod;
use flow::text::{
    DEFAULT_PRIORITY, FlowLine, PrintOptions, write_flow_mod, write_match, write_port,
};
use flow::types::OfPort;
use openflow::{AggregateStats, FlowStats};
use std::fmt::Write;

/// Prints a flow mod.
pub(crate) fn put_mod(
    out: &mut String,
    flow_mod: &FlowMod,
    received: &Received<'_>,
    options: &PrintOptions<'_>,
) {
    debug_assert!(received.kind.name.ends_with("FLOW_MOD"));
    out.push(' ');
    // A flow mod that deletes nothing has an output port all the same, which means nothing.
    let out_port = received.out_port().unwrap_or(OfPort::NONE);
    if flow_mod.out_port.is_none() && out_port != OfPort::NONE {
        let shown = FlowMod { out_port: Some(out_port), ..flow_mod.clone() };
        write_flow_mod(out, &shown, true, received.buffer(), options);
    } else {
        write_flow_mod(out, flow_mod, true, received.buffer(), options);
    }
}

/// Prints which rules a request selects.
pub(crate) fn put_filter(out: &mut String, filter: &FlowMod, options: &PrintOptions<'_>) {
    if let Some(table) = filter.table {
        put!(out, " table={table}");
    }
    if let Some(port) = filter.out_port {
        out.push_str(" out_port=");
        write_port(out, port, options.ports);
    }
    out.push(' ');
    let before = out.len();
    write_match(out, &filter.matching, DEFAULT_PRIORITY, options.ports);
    if out.len() == before {
        out.pop();
    }
}

/// Prints rules with their statistics, each on a line of its own.
pub(crate) fn put_stats(out: &mut String, rules: &[FlowStats<'_>], options: &PrintOptions<'_>) {
    for rule in rules {
        out.push_str("\n ");
        put_line(out, rule, options);
    }
}

/// Prints a rule with its statistics, without line feed.
fn put_line(out: &mut String, rule: &FlowStats<'_>, options: &PrintOptions<'_>) {
    let options = PrintOptions { ages: rule.idle_age.is_some(), ..*options };
    flow_line(rule).write(out, &options);
}

/// The rule as a line of a dump. An age that the switch does not tell is as long as the rule exists, so that it
/// is not printed.
pub fn flow_line<'a>(rule: &'a FlowStats<'_>) -> FlowLine<'a> {
    let seconds = |age: Option<u16>| age.map(|age| std::time::Duration::from_secs(age.into()));
    FlowLine {
        cookie: rule.cookie,
        table: rule.table,
        priority: rule.priority,
        matching: &rule.matching,
        actions: &rule.actions,
        idle_timeout: rule.idle_timeout,
        hard_timeout: rule.hard_timeout,
        importance: rule.importance,
        flags: rule.flags,
        name: None,
        label: None,
        learned_by: None,
        duration: rule.duration,
        packets: rule.packets,
        bytes: rule.bytes,
        idle_age: seconds(rule.idle_age).unwrap_or(rule.duration),
        hard_age: seconds(rule.hard_age).unwrap_or(rule.duration),
    }
}

/// Prints the sums of counters.
pub(crate) fn put_aggregate(out: &mut String, stats: AggregateStats) {
    let AggregateStats { packets, bytes, flows } = stats;
    put!(out, " packet_count={packets} byte_count={bytes} flow_count={flows}");
}

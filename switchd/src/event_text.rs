//! Events in words: for the log, and for those who watch.
//!
//! A line is what `ovs-ofctl monitor` shows of a flow monitor's update, as far as that has words for it.

use crate::bridge::event::{Event, PortUpdate, RuleChange, RuleEvent, What};
use crate::desired::PortSettings;
use crate::log_limit::{DETAILS, EVENTS, limited};
use control::record::ConnectionRecord;
use flow::text::{FlowLine, PortNames, PrintOptions, write_group, write_saved_meter};
use flow::types::OfPort;
use flowtable::conntrack::CtChange;
use flowtable::policy::mac_table::{HostChange, HostEvent};
use flowtable::policy::ports::{PortConfig, PortInfo};
use flowtable::policy::rule::Removal;
use flowtable::policy::rule::Rule;
use std::fmt::{Display, Write};
use std::time::Duration;
use tracing::{debug, info};

/// Tells the log. What happens to bridges and ports, and to rules by themselves, is worth a line; rules, groups
/// and hosts that came or went otherwise are only for those who look for a fault.
pub(crate) fn log(event: &Event) {
    let bridge = &event.bridge;
    match &event.what {
        What::BridgeAdded => info!("bridge {bridge}: added"),
        What::BridgeRemoved => info!("bridge {bridge}: removed"),
        What::PortAdded(port) => log_port(bridge, port, "added"),
        What::PortRemoved(port) => log_port(bridge, port, "removed"),
        What::PortChanged(update) => {
            let PortUpdate { before, after } = &**update;
            // An address that comes with another device goes without saying.
            if before.link_up && before.mac != after.mac {
                log_change(bridge, after, format_args!("its address is now {}", after.mac));
            }
            if before.link_up != after.link_up {
                log_change(bridge, after, if after.link_up { "up" } else { "down" });
            }
            log_detail(event, &after.name);
        }
        What::Rule(rule)
            if matches!(rule.change, RuleChange::Removed(Removal::Idle | Removal::Hard)) =>
        {
            log_line(event, tracing::Level::INFO);
        }
        What::Host(_) => log_detail(event, "hosts"),
        _ => log_line(event, tracing::Level::DEBUG),
    }
}

/// Logs what strangers can do to a port, within the port's budget of lines.
fn log_change(bridge: &str, port: &PortInfo, what: impl Display) {
    let PortInfo { of_port, name, .. } = port;
    limited!(info, name, EVENTS, "{bridge}: port {of_port} ({name}): {what}");
}

/// Logs an event that strangers can cause as monitors see it, within the budget that
/// `subject` has in its bridge.
fn log_detail(event: &Event, subject: &str) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let mut text = String::new();
    write(&mut text, event, &PrintOptions::default());
    let bridge = &event.bridge;
    limited!(debug, &format!("{bridge}: {subject}"), DETAILS, "{bridge}: {text}");
}

fn log_port(bridge: &str, port: &PortInfo, what: impl Display) {
    info!("{bridge}: port {} ({}): {what}", port.of_port, port.name);
}

/// Logs an event as monitors see it. No text is made for a level that is off.
fn log_line(event: &Event, level: tracing::Level) {
    let is_info = level == tracing::Level::INFO;
    if !is_info && !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let mut text = String::new();
    write(&mut text, event, &PrintOptions::default());
    match is_info {
        true => info!("{}: {text}", event.bridge),
        false => debug!("{}: {text}", event.bridge),
    }
}

/// Appends an event, without its bridge and the line feed: `event=ADDED table=0 cookie=0x1 actions=drop`.
pub(crate) fn write(out: &mut String, event: &Event, options: &PrintOptions<'_>) {
    out.push_str("event=");
    match &event.what {
        What::Rule(rule) => write_rule(out, rule, event.at, options),
        What::GroupAdded(group) => {
            out.push_str("GROUP_ADDED ");
            write_group(out, &group.group, options);
        }
        What::GroupChanged(group) => {
            out.push_str("GROUP_MODIFIED ");
            write_group(out, &group.group, options);
        }
        What::GroupRemoved(group) => {
            put(out, format_args!("GROUP_DELETED group_id={}", group.group.id.0))
        }
        What::MeterAdded(entry) => {
            out.push_str("METER_ADDED ");
            write_saved_meter(out, &entry.meter);
        }
        What::MeterChanged(entry) => {
            out.push_str("METER_MODIFIED ");
            write_saved_meter(out, &entry.meter);
        }
        What::MeterRemoved(entry) => {
            put(out, format_args!("METER_DELETED meter={}", entry.meter.id));
        }
        What::PortAdded(port) => write_port(out, "PORT_ADDED", port),
        What::PortChanged(update) => write_port(out, "PORT_MODIFIED", &update.after),
        What::PortRemoved(port) => {
            put(out, format_args!("PORT_DELETED port={} name={}", port.of_port, port.name));
        }
        What::Host(change) => write_host(out, change, options.ports),
        What::BridgeAdded => put(out, format_args!("BRIDGE_ADDED name={}", event.bridge)),
        What::BridgeRemoved => put(out, format_args!("BRIDGE_DELETED name={}", event.bridge)),
    }
}

/// Appends what happened to a connection, as [`write`] does what happened to a bridge.
pub(crate) fn write_connection(out: &mut String, what: CtChange, connection: &ConnectionRecord) {
    match what {
        CtChange::Made => put(out, format_args!("event=CONNECTION_ADDED {connection}")),
        CtChange::Ended { why, duration, .. } => {
            let (reason, seconds) = (why.name(), duration.as_secs_f64());
            let head = format_args!("event=CONNECTION_DELETED reason={reason}");
            put(out, format_args!("{head} duration={seconds:.1}s {connection}"));
        }
    }
}

/// A rule with its counters at a moment, to be written.
pub(crate) fn flow_line<'a>(
    rule: &'a Rule,
    matching: &'a flow::Match,
    priority: u16,
    now: Duration,
) -> FlowLine<'a> {
    let (packets, bytes) = rule.stats.totals();
    FlowLine {
        cookie: rule.cookie,
        table: rule.table,
        priority,
        matching,
        actions: &rule.actions,
        idle_timeout: rule.idle_timeout(),
        hard_timeout: rule.hard_timeout(),
        importance: rule.importance,
        flags: rule.flags,
        name: rule.name().map(|name| &**name),
        label: rule.label().map(|label| &**label),
        learned_by: rule.learned_by.as_ref().map(|teacher| &*teacher.text),
        duration: now.saturating_sub(rule.created()),
        packets,
        bytes,
        idle_age: now.saturating_sub(rule.stats.used()),
        hard_age: now.saturating_sub(rule.modified()),
    }
}

/// The set switches of a port, in the order of OpenFlow's bits.
pub(crate) fn config_names(config: PortConfig) -> Vec<String> {
    [
        (config.down, "PORT_DOWN"),
        (config.no_stp, "NO_STP"),
        (config.no_recv, "NO_RECV"),
        (config.no_recv_stp, "NO_RECV_STP"),
        (config.no_flood, "NO_FLOOD"),
        (config.no_fwd, "NO_FWD"),
        (config.no_packet_in, "NO_PACKET_IN"),
    ]
    .into_iter()
    .filter(|(is_set, _)| *is_set)
    .map(|(_, name)| name.to_owned())
    .collect()
}

fn write_rule(out: &mut String, event: &RuleEvent, at: Duration, options: &PrintOptions<'_>) {
    match event.change {
        RuleChange::Added => out.push_str("ADDED "),
        RuleChange::Changed => out.push_str("MODIFIED "),
        RuleChange::Removed(why) => put(out, format_args!("DELETED reason={} ", why.name())),
    }
    // Only the counters of a rule that is gone are worth telling: they are its last.
    let stats = matches!(event.change, RuleChange::Removed(_));
    let options = PrintOptions { stats, ..*options };
    flow_line(&event.rule, &event.matching, event.priority, at).write_for_monitor(out, &options);
}

fn write_port(out: &mut String, word: &str, port: &PortInfo) {
    let link = if port.link_up { "up" } else { "down" };
    let PortInfo { of_port, name, mac, .. } = port;
    put(out, format_args!("{word} port={of_port} name={name} mac={mac} link={link}"));
    let config = config_names(port.config);
    if !config.is_empty() {
        put(out, format_args!(" config={}", config.join("|")));
    }
    let settings = PortSettings::of(port).to_string();
    if !settings.is_empty() {
        put(out, format_args!(" {settings}"));
    }
}

fn write_host(out: &mut String, change: &HostChange, ports: &dyn PortNames) {
    let port = |port: OfPort| ports.name(port).map_or_else(|| port.to_string(), str::to_owned);
    let at = format!("vlan={} mac={}", change.key.vlan, change.key.mac);
    let text = match change.what {
        HostEvent::Learned { port: to } => format!("HOST_LEARNED {at} port={}", port(to)),
        HostEvent::Moved { from, to } => {
            format!("HOST_MOVED {at} from={} port={}", port(from), port(to))
        }
        HostEvent::Given { port: to } => format!("HOST_ADDED {at} port={}", port(to)),
        HostEvent::Forgotten { port: from, why } => {
            format!("HOST_DELETED reason={} {at} port={}", why.name(), port(from))
        }
    };
    out.push_str(&text);
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

//! What a switch says on its own: rules that are gone, ports, roles, tables and requests of others, and flow
//! monitors. Also the choice of these messages (asynchronous configuration).

use crate::ports::put_desc;
use crate::switch::role_name;
use crate::{Received, put, tables};
use flow::text::{
    DEFAULT_PRIORITY, PortNames, PrintOptions, write_actions, write_duration, write_match,
    write_port,
};
use flow::types::{Cookie, OfVersion};
use openflow::{
    AsyncKind, AsyncMasks, FlowMonitor, FlowRemoved, FlowRemovedReason, FlowUpdate, MonitorCommand,
    MonitorEvent, MonitoredRule, PortReason, PortStatus, RoleReason, RoleStatus, TableReason,
    TableStatus,
};
use std::fmt::Write;

fn removed_reason(reason: FlowRemovedReason) -> String {
    match reason {
        FlowRemovedReason::IdleTimeout => "idle".to_owned(),
        FlowRemovedReason::HardTimeout => "hard".to_owned(),
        FlowRemovedReason::Delete => "delete".to_owned(),
        FlowRemovedReason::GroupDelete => "group_delete".to_owned(),
        FlowRemovedReason::MeterDelete => "meter_delete".to_owned(),
        FlowRemovedReason::Eviction => "eviction".to_owned(),
        FlowRemovedReason::Other(number) => number.to_string(),
    }
}

/// Prints that a rule is gone. A counter that the switch does not have is printed as a number of all ones, as
/// in Open vSwitch.
pub(crate) fn put_flow_removed(
    out: &mut String,
    removed: &FlowRemoved,
    options: &PrintOptions<'_>,
) {
    out.push(' ');
    write_match(out, &removed.matching, removed.priority, options.ports);
    put!(out, " reason={}", removed_reason(removed.reason));
    if let Some(table) = removed.table {
        put!(out, " table_id={table}");
    }
    if removed.cookie != Cookie(0) {
        put!(out, " cookie:{:#x}", removed.cookie.0);
    }
    out.push_str(" duration");
    write_duration(out, removed.duration);
    put!(out, " idle{}", removed.idle_timeout);
    if removed.hard_timeout != 0 {
        put!(out, " hard{}", removed.hard_timeout);
    }
    let count = |count: Option<u64>| count.unwrap_or(u64::MAX);
    put!(out, " pkts{} bytes{}\n", count(removed.packets), count(removed.bytes));
}

/// Prints that a port came, went or changed.
pub(crate) fn put_port_status(
    out: &mut String,
    status: &PortStatus,
    version: OfVersion,
    names: &dyn PortNames,
) {
    out.push_str(match status.reason {
        PortReason::Add => " ADD:",
        PortReason::Delete => " DEL:",
        PortReason::Modify => " MOD:",
    });
    put_desc(out, &status.port, version, names);
}

/// Prints that a controller has another role.
pub(crate) fn put_role_status(out: &mut String, status: &RoleStatus) {
    put!(out, " role={}", role_name(status.role));
    if status.generation != u64::MAX {
        put!(out, " generation_id={}", status.generation);
    }
    out.push_str(match status.reason {
        RoleReason::MasterRequest => " reason=primary_request",
        RoleReason::Config => " reason=configuration_changed",
        RoleReason::Experimenter => " reason=experimenter_data_changed",
    });
}

/// Prints that a table is nearly full, or no longer so.
pub(crate) fn put_table_status(out: &mut String, status: &TableStatus) {
    out.push_str(match status.reason {
        TableReason::VacancyDown => " reason=VACANCY_DOWN\ntable_desc:-",
        TableReason::VacancyUp => " reason=VACANCY_UP\ntable_desc:-",
    });
    tables::put_descs(out, std::slice::from_ref(&status.table));
}

/// The names of the bits of each kind's mask, in the order of the bits.
fn bit_names(kind: AsyncKind) -> (&'static str, &'static [&'static str]) {
    match kind {
        AsyncKind::PacketIn => (
            "PACKET_IN",
            &["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"],
        ),
        AsyncKind::PortStatus => ("PORT_STATUS", &["add", "delete", "modify"]),
        AsyncKind::FlowRemoved => (
            "FLOW_REMOVED",
            &["idle", "hard", "delete", "group_delete", "meter_delete", "eviction"],
        ),
        AsyncKind::RoleStatus => (
            "ROLE_STATUS",
            &["primary_request", "configuration_changed", "experimenter_data_changed"],
        ),
        AsyncKind::TableStatus => ("TABLE_STATUS", &["", "", "", "vacancy_down", "vacancy_up"]),
        AsyncKind::RequestForward => {
            ("REQUESTFORWARD", &["group_mod_request", "meter_mod_request"])
        }
    }
}

const KINDS: [AsyncKind; 6] = [
    AsyncKind::PacketIn,
    AsyncKind::PortStatus,
    AsyncKind::FlowRemoved,
    AsyncKind::RoleStatus,
    AsyncKind::TableStatus,
    AsyncKind::RequestForward,
];

/// Prints which messages a controller gets.
pub(crate) fn put_async(out: &mut String, masks: &AsyncMasks) {
    for is_for_slaves in [false, true] {
        put!(out, "\n {}:\n", if is_for_slaves { "secondary" } else { "primary" });
        for kind in KINDS {
            let (name, names) = bit_names(kind);
            put!(out, "{name:>16}:");
            let mask = masks.get(kind, is_for_slaves).unwrap_or_default();
            let bits = (0..u32::BITS as usize).filter(|bit| mask >> bit & 1 != 0);
            let shown: Vec<&str> = bits
                .filter_map(|bit| names.get(bit).copied())
                .filter(|name| !name.is_empty())
                .collect();
            match shown.is_empty() {
                true => out.push_str(" (off)\n"),
                false => {
                    put!(out, " {}\n", shown.join(" "));
                }
            }
        }
    }
}

/// Prints requests about flow monitors.
pub(crate) fn put_monitors(out: &mut String, monitors: &[FlowMonitor], options: &PrintOptions<'_>) {
    for monitor in monitors {
        put!(out, "\n id={}", monitor.id);
        if monitor.command == MonitorCommand::Delete {
            out.push_str(" command=delete");
            continue;
        }
        out.push_str(" flags=");
        let flags = monitor.flags;
        let names: Vec<&str> = [
            (flags.initial, "initial"),
            (flags.add, "add"),
            (flags.removed, "delete"),
            (flags.modify, "modify"),
            (flags.instructions, "actions"),
            (flags.no_abbrev, "no-abbrev"),
            (flags.own, "own"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
        .collect();
        out.push_str(if names.is_empty() { "0" } else { "" });
        out.push_str(&names.join(","));
        if monitor.command == MonitorCommand::Modify {
            out.push_str(" command=modify");
        }
        if let Some(port) = monitor.filter.out_port {
            out.push_str(" out_port=");
            write_port(out, port, options.ports);
        }
        if let Some(group) = monitor.filter.out_group {
            put!(out, " out_group={}", group.0);
        }
        if let Some(table) = monitor.filter.table {
            put!(out, " table={table}");
        }
        let before = out.len();
        write_match(out, &monitor.filter.matching, DEFAULT_PRIORITY, options.ports);
        if out.len() > before {
            out.insert(before, ' ');
        }
    }
}

/// Prints what flow monitors tell.
pub(crate) fn put_updates(
    out: &mut String,
    updates: &[FlowUpdate],
    received: &Received<'_>,
    options: &PrintOptions<'_>,
) {
    debug_assert!(received.kind.name.ends_with("FLOW_MONITOR"));
    for update in updates {
        out.push_str("\n event=");
        match update {
            FlowUpdate::Abbrev(xid) => {
                put!(out, "ABBREV xid=0x{xid:x}");
            }
            FlowUpdate::Paused => out.push_str("PAUSED"),
            FlowUpdate::Resumed => out.push_str("RESUMED"),
            FlowUpdate::Rule(rule) => put_change(out, rule, options),
        }
    }
}

fn put_change(out: &mut String, rule: &MonitoredRule, options: &PrintOptions<'_>) {
    match rule.event {
        MonitorEvent::Initial => out.push_str("INITIAL"),
        MonitorEvent::Added => out.push_str("ADDED"),
        MonitorEvent::Modified => out.push_str("MODIFIED"),
        MonitorEvent::Removed(reason) => {
            put!(out, "DELETED reason={}", removed_reason(reason));
        }
    }
    put!(out, " table={}", rule.table);
    for (name, seconds) in
        [("idle_timeout", rule.idle_timeout), ("hard_timeout", rule.hard_timeout)]
    {
        if seconds != 0 {
            put!(out, " {name}={seconds}");
        }
    }
    match rule.cookie.0 {
        0 => out.push_str(" cookie=0"),
        cookie => {
            put!(out, " cookie={cookie:#x}");
        }
    }
    let before = out.len();
    write_match(out, &rule.matching, DEFAULT_PRIORITY, options.ports);
    if out.len() > before {
        out.insert(before, ' ');
    }
    if !rule.actions.is_empty() {
        out.push_str(" actions=");
        write_actions(out, &rule.actions, options);
    }
}

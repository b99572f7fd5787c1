//! Reads what a switch has, and writes it as a file.

use super::{SavedFlow, SavedGroup, SavedMeter, SavedSwitch, SavedTables};
use crate::bridge::hosts;
use crate::desired::{Bridge, Desired, file};
use crate::event_text::flow_line;
use crate::switch::{OnBridge, Switch};
use flow::Match;
use flow::flow_mod::{Command, FlowMod};
use flow::group::Group;
use flow::meter::Meter;
use flow::text::{FlowLine, write_saved_group, write_saved_meter};
use flow::types::OfPort;
use flowtable::policy;
use flowtable::policy::mac_table::MacKey;
use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

impl SavedSwitch {
    /// What a switch has now.
    pub fn of(switch: &Switch) -> Self {
        let desired = switch.desired();
        let names = desired.bridges.iter().map(|bridge| bridge.name.clone());
        let tables = |name: String| {
            let tables = SavedTables::of(switch.on(&name)?);
            Some((name, tables))
        };
        let tables = names.filter_map(tables).collect();
        Self { desired, tables }
    }

    /// The file, which [`SavedSwitch::read`] reads. Two switches that have the same are the same file.
    pub fn write(&self) -> String {
        let settings = Desired { bridges: Vec::new(), ..self.desired.clone() };
        let mut out = file::write(&settings);
        for bridge in &self.desired.bridges {
            if !out.is_empty() {
                out.push('\n');
            }
            let none = SavedTables::default();
            write_bridge(&mut out, bridge, self.tables.get(&bridge.name).unwrap_or(&none));
        }
        out
    }
}

impl Serialize for SavedSwitch {
    /// As [`Desired`], with lists of lines in each bridge: `groups`, `meters`, `flows` and `hosts`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut whole = serde_json::to_value(&self.desired).map_err(S::Error::custom)?;
        let bridges = whole.get_mut("bridge").and_then(Value::as_array_mut);
        for (bridge, json) in self.desired.bridges.iter().zip(bridges.into_iter().flatten()) {
            let Some(tables) = self.tables.get(&bridge.name) else { continue };
            if let Some(groups) = &tables.groups {
                json["groups"] = groups.values().map(|group| &*group.line).collect();
            }
            if let Some(meters) = &tables.meters {
                json["meters"] = meters.values().map(|meter| &*meter.line).collect();
            }
            if let Some(flows) = &tables.flows {
                json["flows"] = flows.iter().map(|flow| &*flow.line).collect();
            }
            if let Some(hosts) = &tables.hosts {
                json["hosts"] = host_lines(hosts).collect();
            }
        }
        whole.serialize(serializer)
    }
}

/// Static hosts as `fdb-add` takes them.
fn host_lines(hosts: &BTreeMap<MacKey, OfPort>) -> impl Iterator<Item = String> {
    hosts.iter().map(|(key, port)| format!("{port} {} {}", key.vlan, key.mac))
}

/// Appends a bridge: its settings, its tables, and then its controllers and ports, because in TOML all keys of
/// a bridge stand in front of its `[[bridge.controller]]` and `[[bridge.port]]`.
fn write_bridge(out: &mut String, bridge: &Bridge, tables: &SavedTables) {
    let desired = Desired { bridges: vec![bridge.clone()], ..Desired::default() };
    let text = file::write(&desired);
    let (settings, lists) = text.split_at(text.find("\n[[bridge.").unwrap_or(text.len()));
    out.push_str(settings);
    if let Some(groups) = &tables.groups {
        write_lines(out, "groups", groups.values().map(|group| &*group.line));
    }
    if let Some(meters) = &tables.meters {
        write_lines(out, "meters", meters.values().map(|meter| &*meter.line));
    }
    if let Some(flows) = &tables.flows {
        write_lines(out, "flows", flows.iter().map(|flow| &*flow.line));
    }
    if let Some(hosts) = &tables.hosts {
        let lines: Vec<String> = host_lines(hosts).collect();
        write_lines(out, "hosts", lines.iter().map(String::as_str));
    }
    out.push_str(lists);
}

/// Appends a key whose value has these lines.
fn write_lines<'a>(out: &mut String, key: &str, lines: impl Iterator<Item = &'a str> + Clone) {
    let is_plain = |line: &str| !line.contains("'''") && !line.contains(char::is_control);
    if lines.clone().next().is_none() {
        let _ = writeln!(out, "{key} = \"\"");
    } else if lines.clone().all(is_plain) {
        let _ = writeln!(out, "{key} = '''");
        lines.for_each(|line| {
            out.push_str(line);
            out.push('\n');
        });
        out.push_str("'''\n");
    } else {
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let _ = writeln!(out, "{key} = {}", toml::Value::String(text));
    }
}

impl SavedTables {
    /// The tables of a bridge as they are now.
    pub(crate) fn of(bridge: OnBridge<'_>) -> Self {
        let hosts = hosts::given(bridge).into_iter().collect();
        let (groups, flows) = (groups(bridge.bridge()), flows(bridge.bridge()));
        let meters = Some(meters(bridge.bridge()));
        Self { groups: Some(groups), meters, flows: Some(flows), hosts: Some(hosts) }
    }
}

/// The groups of a bridge by their numbers.
pub(super) fn groups(bridge: policy::Bridge<'_>) -> BTreeMap<u32, SavedGroup> {
    let mut groups = BTreeMap::new();
    let mut walk = bridge.walk_groups();
    while let Some(slice) = walk.next_slice() {
        let saved = |group: &Group| (group.id.0, SavedGroup::new(group.clone(), 0));
        groups.extend(slice.iter().map(|entry| saved(&entry.group)));
    }
    groups
}

/// The meters of a bridge by their numbers.
pub(super) fn meters(bridge: policy::Bridge<'_>) -> BTreeMap<u32, SavedMeter> {
    let mut meters = BTreeMap::new();
    let mut walk = bridge.walk_meters();
    while let Some(slice) = walk.next_slice() {
        let saved = |meter: &Meter| (meter.id.0, SavedMeter::new(meter.clone(), 0));
        meters.extend(slice.iter().map(|entry| saved(&entry.meter)));
    }
    meters
}

/// The rules of a bridge, sorted.
pub(super) fn flows(bridge: policy::Bridge<'_>) -> Vec<SavedFlow> {
    let every = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
    let (mut flows, mut line) = (Vec::new(), String::new());
    let mut walk = bridge.walk(&every);
    while walk.next_slice(|entry| {
        let rule = flow_line(entry.value, &entry.matches, entry.priority, Duration::ZERO);
        flows.push(SavedFlow::new(&rule, 0, &mut line));
    }) {}
    sort(&mut flows);
    flows
}

/// Sorts rules by their places.
pub(super) fn sort(flows: &mut [SavedFlow]) {
    flows.sort_unstable_by(|a, b| a.place().cmp(&b.place()));
}

impl SavedFlow {
    /// A rule. `origin` is the number of its line in a file, from 1, and 0 for a rule of a switch; `buffer`
    /// saves an allocation for each rule.
    pub(super) fn new(rule: &FlowLine<'_>, origin: u32, buffer: &mut String) -> Self {
        buffer.clear();
        let matching = rule.write_saved(buffer);
        Self {
            table: rule.table,
            priority: rule.priority,
            line: buffer.as_str().into(),
            matching: (matching.start as u32, matching.end as u32),
            origin,
        }
    }
}

impl SavedGroup {
    /// A group. `origin` is the number of its line in a file, from 1, and 0 for a group of a switch.
    pub(super) fn new(group: Group, origin: u32) -> Self {
        let mut line = String::new();
        write_saved_group(&mut line, &group);
        Self { group, line: line.into(), origin }
    }
}

impl SavedMeter {
    /// A meter. `origin` is the number of its line in a file, from 1, and 0 for a meter of a switch.
    pub(super) fn new(meter: Meter, origin: u32) -> Self {
        let mut line = String::new();
        write_saved_meter(&mut line, &meter);
        Self { meter, line: line.into(), origin }
    }
}

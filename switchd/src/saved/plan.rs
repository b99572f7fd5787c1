//! What has to be done to get from one state to another one.

use super::{SavedFlow, SavedSwitch, SavedTables};
use crate::desired::{Bridge, Controller, CtZone, Port, SslFiles};
use flow::types::OfPort;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::iter::Peekable;

/// One difference between two states: a thing is added, removed or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanLine {
    /// The name of the bridge; empty for what is the switch's and no bridge's.
    pub bridge: String,
    /// What kind of thing it is.
    pub subject: PlanSubject,
    /// The thing as text; `None` if it is added.
    pub before: Option<String>,
    /// The thing as text; `None` if it is removed.
    pub after: Option<String>,
}

/// A kind of thing that a switch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlanSubject {
    /// The files for TLS, as `ofctl set-ssl` takes them. They are the switch's, and no bridge's.
    Ssl,
    /// The timeouts of a zone of connections, as `ofctl add-zone-tp` takes them. They are the switch's, too.
    ZoneTimeouts,
    /// A bridge, with its settings as `key=value`.
    Bridge,
    /// A controller, as `switchd --controller` takes it.
    Controller,
    /// A port, as `switchd --port` takes it.
    Port,
    /// A group, in the flow language.
    Group,
    /// A meter, as `add-meter` takes it.
    Meter,
    /// A rule, in the flow language.
    Flow,
    /// A static host, as `fdb-add` takes it.
    Host,
}

impl PlanSubject {
    /// The word for the kind of thing: `flow`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssl => "ssl",
            Self::ZoneTimeouts => "zone-tp",
            Self::Bridge => "bridge",
            Self::Controller => "controller",
            Self::Port => "port",
            Self::Group => "group",
            Self::Meter => "meter",
            Self::Flow => "flow",
            Self::Host => "host",
        }
    }
}

impl PlanLine {
    /// `+` for what is added, `-` for what is removed, `~` for what is changed.
    pub fn sign(&self) -> char {
        match (&self.before, &self.after) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        }
    }
}

impl Display for PlanLine {
    /// `+ br0 flow priority=10,ip actions=drop`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bridge, subject, before, after } = self;
        write!(f, "{} ", self.sign())?;
        match subject {
            PlanSubject::Ssl | PlanSubject::ZoneTimeouts => f.write_str(subject.name())?,
            PlanSubject::Bridge => write!(f, "bridge {bridge}")?,
            subject => write!(f, "{bridge} {}", subject.name())?,
        }
        let thing = after.as_ref().or(before.as_ref()).map_or("", String::as_str);
        if !thing.is_empty() {
            write!(f, " {thing}")?;
        }
        match (before, after) {
            (Some(before), Some(_)) if before.is_empty() => f.write_str(" (was: defaults)"),
            (Some(before), Some(_)) => write!(f, " (was: {before})"),
            _ => Ok(()),
        }
    }
}

/// The differences from `before` to `after`, in a stable order: the files for TLS, and bridge by bridge: of
/// each bridge first itself, then its controllers, ports, groups, meters, rules and hosts. What `after` does
/// not have of a bridge's tables (`None`) makes no difference.
pub fn plan(before: &SavedSwitch, after: &SavedSwitch) -> Vec<PlanLine> {
    let mut lines = Vec::new();
    let names = |switch: &SavedSwitch| -> Vec<String> {
        switch.desired.bridges.iter().map(|bridge| bridge.name.clone()).collect()
    };
    let new = names(after);
    let ssl = |switch: &SavedSwitch| switch.desired.ssl.as_ref().map(SslFiles::to_string);
    Differ { bridge: "", lines: &mut lines }.put(PlanSubject::Ssl, ssl(before), ssl(after));
    let zones = |switch: &SavedSwitch| -> BTreeMap<u16, String> {
        switch.desired.ct_zones.iter().map(|zone| (zone.zone, CtZone::to_string(zone))).collect()
    };
    let (was, is) = (zones(before), zones(after));
    Differ { bridge: "", lines: &mut lines }.maps(PlanSubject::ZoneTimeouts, &was, &is);
    let gone = names(before).into_iter().filter(|name| !new.contains(name));
    for name in gone.collect::<Vec<_>>().iter().chain(&new) {
        let of = |switch: &SavedSwitch| switch.desired.bridge(name).ok().cloned();
        let mut differ = Differ { bridge: name, lines: &mut lines };
        let (old, new) = (of(before), of(after));
        differ.put(PlanSubject::Bridge, old.as_ref().map(settings), new.as_ref().map(settings));
        let (was, is) = (controllers(old.as_ref()), controllers(new.as_ref()));
        differ.maps(PlanSubject::Controller, &was, &is);
        differ.maps(PlanSubject::Port, &ports(old.as_ref()), &ports(new.as_ref()));
        let empty = SavedTables::empty();
        let old = before.tables.get(name).unwrap_or(&empty);
        let new = after.tables.get(name);
        // A bridge that goes takes its tables along; of a bridge that stays, tables that
        // the file leaves out stay.
        let new = if after.desired.bridge(name).is_ok() { new } else { Some(&empty) };
        if let Some(new) = new {
            differ.tables(old, new);
        }
    }
    lines
}

/// The controllers of a bridge by their targets.
fn controllers(bridge: Option<&Bridge>) -> BTreeMap<String, String> {
    let controllers = bridge.map_or(&[][..], |bridge| &bridge.controllers);
    let entry = |controller: &Controller| (controller.target.to_string(), controller.to_string());
    controllers.iter().map(entry).collect()
}

/// The settings of a bridge as `key=value`, with blanks in between; those with their
/// default values are left out.
fn settings(bridge: &Bridge) -> String {
    let bare = Bridge { ports: Vec::new(), controllers: Vec::new(), ..bridge.clone() };
    let words = match serde_json::to_value(bare) {
        Ok(serde_json::Value::Object(words)) => words,
        // A structure cannot be anything else.
        _ => serde_json::Map::new(),
    };
    let word = |(key, value): (String, serde_json::Value)| match value {
        serde_json::Value::String(text) => format!("{key}={text}"),
        serde_json::Value::Array(_) if key == "protocols" => format!("{key}={}", bridge.protocols),
        other => format!("{key}={other}"),
    };
    let words: Vec<String> = words.into_iter().filter(|(key, _)| key != "name").map(word).collect();
    words.join(" ")
}

fn ports(bridge: Option<&Bridge>) -> BTreeMap<(OfPort, String), String> {
    let ports = bridge.map_or(&[][..], |bridge| &bridge.ports);
    let entry = |port: &Port| {
        let number = port.number.unwrap_or(OfPort::NONE);
        ((number, port.name.clone()), port.to_string())
    };
    ports.iter().map(entry).collect()
}

/// Collects the differences of one bridge.
struct Differ<'a> {
    bridge: &'a str,
    lines: &'a mut Vec<PlanLine>,
}

impl Differ<'_> {
    fn put(&mut self, subject: PlanSubject, before: Option<String>, after: Option<String>) {
        if before != after {
            let bridge = self.bridge.to_owned();
            self.lines.push(PlanLine { bridge, subject, before, after });
        }
    }

    fn maps<K: Ord, V: Display>(
        &mut self,
        subject: PlanSubject,
        before: &BTreeMap<K, V>,
        after: &BTreeMap<K, V>,
    ) {
        let keys: BTreeSet<&K> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let text = |map: &BTreeMap<K, V>| map.get(key).map(|value| value.to_string());
            self.put(subject, text(before), text(after));
        }
    }

    fn tables(&mut self, before: &SavedTables, after: &SavedTables) {
        if let (Some(before), Some(after)) = (&before.groups, &after.groups) {
            self.maps(PlanSubject::Group, before, after);
        }
        if let (Some(before), Some(after)) = (&before.meters, &after.meters) {
            self.maps(PlanSubject::Meter, before, after);
        }
        if let (Some(before), Some(after)) = (&before.flows, &after.flows) {
            for (before, after) in FlowPairs::new(before, after) {
                let line = |flow: Option<&SavedFlow>| flow.map(|flow| flow.line.to_string());
                let (before, after) = (line(before), line(after));
                self.put(PlanSubject::Flow, before, after);
            }
        }
        if let (Some(before), Some(after)) = (&before.hosts, &after.hosts) {
            let lines = |hosts: &BTreeMap<_, OfPort>| -> BTreeMap<_, String> {
                let line = |(key, port): (&flowtable::policy::mac_table::MacKey, &OfPort)| {
                    (*key, format!("{port} {} {}", key.vlan, key.mac))
                };
                hosts.iter().map(line).collect()
            };
            self.maps(PlanSubject::Host, &lines(before), &lines(after));
        }
    }
}

impl SavedTables {
    /// Tables without any entry.
    pub(super) fn empty() -> Self {
        let (groups, hosts) = (Some(BTreeMap::new()), Some(BTreeMap::new()));
        Self { groups, meters: Some(BTreeMap::new()), flows: Some(Vec::new()), hosts }
    }
}

impl Display for super::SavedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl Display for super::SavedMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// Goes through two sorted lists of rules together: the rules with the same place come as a pair.
pub(super) struct FlowPairs<'a> {
    before: Peekable<std::slice::Iter<'a, SavedFlow>>,
    after: Peekable<std::slice::Iter<'a, SavedFlow>>,
}

impl<'a> FlowPairs<'a> {
    /// The pairs of two lists, both sorted by place.
    pub(super) fn new(before: &'a [SavedFlow], after: &'a [SavedFlow]) -> Self {
        Self { before: before.iter().peekable(), after: after.iter().peekable() }
    }
}

impl<'a> Iterator for FlowPairs<'a> {
    type Item = (Option<&'a SavedFlow>, Option<&'a SavedFlow>);

    fn next(&mut self) -> Option<Self::Item> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match (self.before.peek(), self.after.peek()) {
            (None, None) => return None,
            (Some(_), None) => Less,
            (None, Some(_)) => Greater,
            (Some(a), Some(b)) => a.place().cmp(&b.place()),
        };
        Some(match order {
            Less => (self.before.next(), None),
            Greater => (None, self.after.next()),
            Equal => (self.before.next(), self.after.next()),
        })
    }
}

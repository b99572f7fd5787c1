//! The sections of a hand-over: what a part of the switch gives to the next program, and takes
//! over from the last one.
//!
//! A section is bytes, in JSON so that versions can read each other's. Early sections are given while
//! the old program still forwards, late ones when the new program has begun to. The old program gives
//! a late section after its last frame, so that counters are complete; the new one adds them to what
//! it has counted itself meanwhile.

use crate::bfd::GivenSession;
use crate::edition::edition;
use crate::port_slot::PortTotals;
use crate::switch::Switch;
use flow::Match;
use flow::flow_mod::{Command, FlowMod};
use flow::text::{DEFAULT_PRIORITY, NoPortNames, write_match};
use flow::types::{GroupId, MacAddr, MeterId, OfPort, TableId};
use flow::verdict::DropReason;
use flowtable::classifier::Entry;
use flowtable::conntrack::{KeptConnection, KeptLimits};
use flowtable::policy::mac_table::{MacKey, MacStats};
use flowtable::policy::meters::MeterTotals;
use flowtable::policy::rule::{Rule, RuleTotals};
use flowtable::policy::{Bridge, TableRef};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// When a section is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Before the new program forwards, and once more shortly before.
    Early,
    /// When the new program forwards.
    Late,
}

/// One part of what the old program hands over: how it is written there, and how it is taken over here.
#[derive(Clone, Copy)]
pub(super) struct Section {
    /// The section's name, which both programs know.
    pub(super) name: &'static str,
    pub(super) when: When,
    /// Makes the section.
    pub(super) give: fn(&Switch) -> serde_json::Result<Vec<u8>>,
    /// Takes the section over.
    pub(super) take: fn(&Switch, &[u8]) -> serde_json::Result<()>,
}

/// All sections, in the order in which they are given.
pub(super) fn sections() -> impl Iterator<Item = Section> {
    let further = edition().further_section.map(|name| Section {
        name,
        when: When::Early,
        give: |_| Ok(Vec::new()),
        take: |_, _| Ok(()),
    });
    SECTIONS.iter().copied().chain(further)
}

/// The sections that every version has.
const SECTIONS: &[Section] = &[
    Section { name: "hosts", when: When::Early, give: give_hosts, take: take_hosts },
    Section { name: "late hosts", when: When::Late, give: give_hosts, take: take_hosts },
    Section { name: "bfd sessions", when: When::Early, give: give_sessions, take: take_sessions },
    // In front of the connections, which need room.
    Section { name: "connection limits", when: When::Early, give: give_limits, take: take_limits },
    Section {
        name: "connections",
        when: When::Early,
        give: give_connections,
        take: take_connections,
    },
    Section {
        name: "late connections",
        when: When::Late,
        give: give_connections,
        take: take_connections,
    },
    Section { name: "rule counters", when: When::Late, give: give_rules, take: take_rules },
    Section { name: "group counters", when: When::Late, give: give_groups, take: take_groups },
    Section { name: "meters", when: When::Late, give: give_meters, take: take_meters },
    Section { name: "table counters", when: When::Late, give: give_tables, take: take_tables },
    Section { name: "host counters", when: When::Late, give: give_learning, take: take_learning },
    Section { name: "port counters", when: When::Late, give: give_ports, take: take_ports },
];

/// What `T` says of each bridge, by the bridge's name.
type OfBridges<T> = Vec<(String, Vec<T>)>;

/// Gives what `of` finds in each bridge.
fn give<T: Serialize>(
    switch: &Switch,
    of: impl Fn(Bridge<'_>) -> Vec<T>,
) -> serde_json::Result<Vec<u8>> {
    let bridges = switch.policy().bridges().into_iter();
    let all: OfBridges<T> =
        bridges.map(|(id, name)| (name.to_string(), of(switch.policy().bridge(id)))).collect();
    serde_json::to_vec(&all)
}

/// Shows `each` what the other program has found in each bridge.
fn take<T: DeserializeOwned>(
    switch: &Switch,
    bytes: &[u8],
    each: impl Fn(Bridge<'_>, Vec<T>),
) -> serde_json::Result<()> {
    let all: OfBridges<T> = serde_json::from_slice(bytes)?;
    for (name, found) in all {
        if let Some(bridge) = switch.policy().find_bridge(&name) {
            each(bridge, found);
        }
    }
    Ok(())
}

/// A learned host.
#[derive(Serialize, Deserialize)]
struct GivenHost {
    vlan: u16,
    mac: MacAddr,
    port: OfPort,
    since: Duration,
    used: Duration,
}

fn give_hosts(switch: &Switch) -> serde_json::Result<Vec<u8>> {
    give(switch, |bridge| {
        let learned = bridge.hosts().into_iter().filter(|(_, entry)| !entry.is_static);
        let host = |(MacKey { vlan, mac }, entry): (_, flowtable::policy::mac_table::MacEntry)| {
            let (port, since, used) = (entry.port, entry.since(), entry.used());
            GivenHost { vlan, mac, port, since, used }
        };
        learned.map(host).collect()
    })
}

fn take_hosts(switch: &Switch, bytes: &[u8]) -> serde_json::Result<()> {
    take(switch, bytes, |bridge, hosts: Vec<GivenHost>| {
        for hosts in hosts.chunks(64) {
            bridge.with_macs(|macs| {
                for GivenHost { vlan, mac, port, since, used } in hosts {
                    macs.take_over(MacKey { vlan: *vlan, mac: *mac }, *port, *since, *used);
                }
            });
        }
    })
}

fn give_sessions(switch: &Switch) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&switch.give_sessions())
}

fn take_sessions(switch: &Switch, bytes: &[u8]) -> serde_json::Result<()> {
    let all: Vec<(String, String, GivenSession, bool)> = serde_json::from_slice(bytes)?;
    for (bridge, port, given, is_peer_down) in all {
        switch.take_session(&bridge, &port, &given, is_peer_down);
    }
    Ok(())
}

fn give_limits(switch: &Switch) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&switch.policy().connections().keep_limits())
}

fn take_limits(switch: &Switch, bytes: &[u8]) -> serde_json::Result<()> {
    let kept: KeptLimits = serde_json::from_slice(bytes)?;
    switch.policy().connections().take_over_limits(&kept);
    Ok(())
}

fn give_connections(switch: &Switch) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&switch.policy().connections().keep(switch.now()))
}

/// Early, so that the first packet of a connection finds it; and late, for what the last packets have changed.
fn take_connections(switch: &Switch, bytes: &[u8]) -> serde_json::Result<()> {
    let kept: Vec<KeptConnection> = serde_json::from_slice(bytes)?;
    switch.policy().connections().take_over(switch.now(), &kept);
    Ok(())
}

/// The counters and times of a rule, and the rule's place.
#[derive(Serialize, Deserialize)]
struct GivenRule {
    table: TableId,
    priority: u16,
    #[serde(rename = "match", default)]
    matching: String,
    packets: u64,
    bytes: u64,
    created: Duration,
    modified: Duration,
    used: Duration,
}

fn every_rule() -> FlowMod {
    FlowMod::new(Command::Delete, 0, Match::any(), Vec::new())
}

/// The place of a rule: its table, its priority, and its match in words, because another version may have other
/// bytes for the match.
type RulePlace = (TableId, u16, String);

fn place_of(rule: &Entry<'_, Arc<Rule>>) -> RulePlace {
    let mut matching = String::new();
    write_match(&mut matching, &rule.matches, DEFAULT_PRIORITY, &NoPortNames);
    (rule.value.table, rule.priority, matching)
}

fn give_rules(switch: &Switch) -> serde_json::Result<Vec<u8>> {
    give(switch, |bridge| {
        let (mut rules, every) = (Vec::new(), every_rule());
        let mut walk = bridge.walk(&every);
        while walk.next_slice(|rule| {
            let (table, priority, matching) = place_of(&rule);
            let RuleTotals { packets, bytes, created, modified, used } = rule.value.to_totals();
            rules.push(GivenRule {
                table,
                priority,
                matching,
                packets,
                bytes,
                created,
                modified,
                used,
            });
        }) {}
        rules
    })
}

fn take_rules(switch: &Switch, bytes: &[u8]) -> serde_json::Result<()> {
    take(switch, bytes, |bridge, rules: Vec<GivenRule>| {
        let by_place = rules.into_iter().map(|rule| {
            let GivenRule { packets, bytes, created, modified, used, .. } = rule;
            let place = (rule.table, rule.priority, rule.matching);
            (place, RuleTotals { packets, bytes, created, modified, used })
        });
        let by_place: HashMap<RulePlace, RuleTotals> = by_place.collect();
        let every = every_rule();
        let mut walk = bridge.walk(&every);
        while walk.next_slice(|rule| {
            if let Some(before) = by_place.get(&place_of(&rule)) {
                rule.value.take_over(before);
            }
        }) {}
    })
}

/// The counters of a group: packets and bytes, for the group and for each bucket.
#[derive(Serialize, Deserialize)]
struct GivenGroup {
    id: GroupId,
    created: Duration,
    counts: (u64, u64),
    buckets: Vec<(u64, u64)>,
}

fn give_groups(switch: &Switch) -> serde_json::Result<Vec<u8>> {
    give(switch, |bridge| {
        let mut groups = Vec::new();
        let mut walk = bridge.walk_groups();
        while let Some(slice) = walk.next_slice() {
            groups.extend(slice.iter().map(|entry| GivenGroup {
                id: entry.group.id,
                created: entry.counters.created(),
                counts: entry.counters.totals(),
                buckets: entry.counters.buckets().collect(),
            }));
        }
        groups
    })
}

fn take_groups(switch: &Switch, bytes: &[u8]) -> serde_json::Result<()> {
    take(switch, bytes, |bridge, groups: Vec<GivenGroup>| {
        let by_id: HashMap<GroupId, GivenGroup> = groups.into_iter().map(|g| (g.id, g)).collect();
        let mut walk = bridge.walk_groups();
        while let Some(slice) = walk.next_slice() {
            for entry in &slice {
                let Some(before) = by_id.get(&entry.group.id) else { continue };
                entry.counters.set_created(before.created);
                entry.counters.add(before.counts.0, before.counts.1);
                for (bucket, (packets, bytes)) in before.buckets.iter().enumerate() {
                    entry.counters.add_bucket(bucket, *packets, *bytes);
                }
            }
        }
    })
}

/// The counters of a meter, and the state of its buckets.
#[derive(Serialize, Deserialize)]
struct GivenMeter {
    id: MeterId,
    created: Duration,
    counts: (u64, u64),
    bands: Vec<(u64, u64)>,
    /// For each band the time up to which tokens are spent, in ticks of 1/64 nanosecond.
    spent: Vec<u64>,
}

fn give_meters(switch: &Switch) -> serde_json::Result<Vec<u8>> {
    give(switch, |bridge| {
        let mut meters = Vec::new();
        let mut walk = bridge.walk_meters();
        while let Some(slice) = walk.next_slice() {
            meters.extend(slice.iter().map(|entry| {
                let MeterTotals { created, packets, bytes, bands, spent } = entry.to_totals();
                GivenMeter { id: entry.meter.id, created, counts: (packets, bytes), bands, spent }
            }));
        }
        meters
    })
}

fn take_meters(switch: &Switch, bytes: &[u8]) -> serde_json::Result<()> {
    take(switch, bytes, |bridge, meters: Vec<GivenMeter>| {
        let walk = bridge.walk_meters();
        for GivenMeter { id, created, counts: (packets, bytes), bands, spent } in meters {
            if let Some(entry) = walk.get(id) {
                entry.take_over(&MeterTotals { created, packets, bytes, bands, spent });
            }
        }
    })
}

fn give_tables(switch: &Switch) -> serde_json::Result<Vec<u8>> {
    give(switch, |bridge| {
        let tables = (0..TableId::COUNT).filter_map(|n| TableId::new(n as u8));
        let counts = tables.map(|table| {
            let at = TableRef { bridge: bridge.id(), table };
            (table, switch.policy().lookups().get(at))
        });
        counts.filter(|(_, (lookups, _))| *lookups > 0).collect()
    })
}

fn take_tables(switch: &Switch, bytes: &[u8]) -> serde_json::Result<()> {
    take(switch, bytes, |bridge, tables: Vec<(TableId, (u64, u64))>| {
        for (table, (lookups, matched)) in tables {
            let at = TableRef { bridge: bridge.id(), table };
            switch.policy().lookups().add_matched(at, matched);
            switch.policy().lookups().add_missed(at, lookups.saturating_sub(matched));
        }
    })
}

fn give_learning(switch: &Switch) -> serde_json::Result<Vec<u8>> {
    give(switch, |bridge| {
        let MacStats { learned, expired, evicted, moved } = bridge.snapshot().macs().stats();
        vec![(learned, expired, evicted, moved)]
    })
}

fn take_learning(switch: &Switch, bytes: &[u8]) -> serde_json::Result<()> {
    take(switch, bytes, |bridge, stats: Vec<(u64, u64, u64, u64)>| {
        for (learned, expired, evicted, moved) in stats {
            let before = MacStats { learned, expired, evicted, moved };
            bridge.with_macs(|macs| macs.add_stats(before));
        }
    })
}

/// What a port has counted. Reasons of drops are named, as another version may number them otherwise.
#[derive(Serialize, Deserialize)]
struct GivenTotals {
    bridge: String,
    port: String,
    /// Packets and bytes.
    received: (u64, u64),
    /// Packets and bytes.
    sent: (u64, u64),
    received_and_sent: u64,
    dropped: HashMap<String, u64>,
    failed: HashMap<String, u64>,
}

fn give_ports(switch: &Switch) -> serde_json::Result<Vec<u8>> {
    let named = |counts: &mut dyn Iterator<Item = (DropReason, u64)>| {
        counts.map(|(reason, count)| (reason.name().to_owned(), count)).collect()
    };
    let all = switch.totals().into_iter().map(|(bridge, port, totals)| GivenTotals {
        bridge,
        port,
        received: (totals.rx_packets, totals.rx_bytes),
        sent: (totals.tx_packets, totals.tx_bytes),
        received_and_sent: totals.rx_sent,
        dropped: named(&mut totals.drops()),
        failed: named(&mut totals.failures()),
    });
    serde_json::to_vec(&all.collect::<Vec<_>>())
}

fn take_ports(switch: &Switch, bytes: &[u8]) -> serde_json::Result<()> {
    let all: Vec<GivenTotals> = serde_json::from_slice(bytes)?;
    let numbered = |counts: &HashMap<String, u64>| {
        let count = |reason: DropReason| counts.get(reason.name()).copied().unwrap_or_default();
        std::array::from_fn(|i| count(DropReason::ALL[i]))
    };
    for given in all {
        let totals = PortTotals {
            rx_packets: given.received.0,
            rx_bytes: given.received.1,
            tx_packets: given.sent.0,
            tx_bytes: given.sent.1,
            rx_sent: given.received_and_sent,
            rx_dropped: numbered(&given.dropped),
            tx_failed: numbered(&given.failed),
        };
        switch.add_totals(&given.bridge, &given.port, totals);
    }
    Ok(())
}

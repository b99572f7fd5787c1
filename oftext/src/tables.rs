//! Tables: their counters, what they can do, how they behave. A table that is like the one in front of it is
//! not printed again.

use crate::actions::put_actions;
use crate::field_names::{name_of, put_fields};
use crate::{put, u32_at};
use flow::fields::FieldId;
use flow::table_mod::{TableMiss, TableMod, VacancyThresholds};
use flow::types::OfVersion;
use openflow::{ActionAbilities, RuleAbilities, TableDesc, TableFeatures, eviction_flag};
use std::fmt::Write;

/// What is printed of a table.
#[derive(Clone, Debug, Default, PartialEq)]
struct Table {
    number: u8,
    name: String,
    /// Rules, lookups and matches; `None` if the message does not tell them.
    counters: Option<(u32, u64, u64)>,
    features: Features,
}

/// What a table can do.
#[derive(Clone, Debug, Default, PartialEq)]
struct Features {
    /// The bits of the metadata that can be matched and written.
    metadata: (u64, u64),
    miss: Option<TableMiss>,
    /// Whether the table can evict rules and tell how full it is; `None` if the version does not say.
    eviction: Option<(bool, bool)>,
    max_entries: u32,
    rules: Rules,
    /// What the table-miss rule can do.
    miss_rule: Rules,
    /// Fields with any mask, with all bits or none, and with all bits.
    masked: Vec<&'static str>,
    wildcarded: Vec<&'static str>,
    exact: Vec<&'static str>,
}

/// What rules can do.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rules {
    next: Next,
    /// Types of instructions as bits (`OFPIT_*`).
    instructions: u32,
    write: Actions,
    apply: Actions,
}

/// The tables that `goto_table` can name.
#[derive(Clone, Debug, Default, PartialEq)]
enum Next {
    #[default]
    None,
    /// Every later one.
    Later,
    Some(Vec<u8>),
}

/// What a list of actions can contain: types of actions as bits, and fields for `set_field`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Actions {
    types: u32,
    fields: Vec<&'static str>,
}

/// The last table that has rules.
const LAST: u8 = 253;

/// Prints a reply about counters. Messages up to OpenFlow 1.2 also say what tables can do.
pub(crate) fn put_stats(out: &mut String, body: &[u8], version: OfVersion) {
    let size = match version {
        OfVersion::OpenFlow10 => 64,
        OfVersion::OpenFlow11 => 88,
        OfVersion::OpenFlow12 => 128,
        _ => 24,
    };
    let tables: Vec<Table> = body.chunks_exact(size).map(|entry| stats(entry, version)).collect();
    put_tables(out, &tables, version);
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

/// The entry of a reply about counters.
fn stats(entry: &[u8], version: OfVersion) -> Table {
    let mut table = Table { number: entry[0], ..Table::default() };
    let tail = entry.len() - 20;
    table.counters = Some((u32_at(entry, tail), u64_at(entry, tail + 4), u64_at(entry, tail + 12)));
    let name_at = match version {
        OfVersion::OpenFlow10 => 4,
        OfVersion::OpenFlow11 | OfVersion::OpenFlow12 => 8,
        _ => return table,
    };
    let name: Vec<u8> =
        entry[name_at..name_at + 32].iter().copied().take_while(|byte| *byte != 0).collect();
    table.name = String::from_utf8_lossy(&name).into_owned();
    let features = &mut table.features;
    features.max_entries = u32_at(entry, tail - 4);
    let words = &entry[name_at + 32..];
    match version {
        OfVersion::OpenFlow10 => features.wildcarded = names(u32_at(words, 0).into(), &FIELDS_10),
        OfVersion::OpenFlow11 => {
            let (wildcards, matching) = (u32_at(words, 0), u32_at(words, 4));
            features
                .match_11(names(matching.into(), &FIELDS_11), names(wildcards.into(), &FIELDS_11));
            let actions = |types| Actions { types, fields: Vec::new() };
            features.set_rules(
                u32_at(words, 8),
                actions(u32_at(words, 12)),
                actions(u32_at(words, 16)),
            );
            features.miss = Some(miss(u32_at(words, 20)));
        }
        _ => {
            let (matching, wildcards) = (u64_at(words, 0), u64_at(words, 8));
            features.match_11(names(matching, &FIELDS_12), names(wildcards, &FIELDS_12));
            let actions = |types, fields| Actions { types, fields: names(fields, &FIELDS_12) };
            let write = actions(u32_at(words, 16), u64_at(words, 24));
            let apply = actions(u32_at(words, 20), u64_at(words, 32));
            features.metadata = (u64_at(words, 40), u64_at(words, 48));
            features.set_rules(u32_at(words, 56), write, apply);
            features.miss = Some(miss(u32_at(words, 60)));
        }
    }
    table
}

/// The names of the fields whose bits are set.
fn names(bits: u64, fields: &[(u32, &'static str)]) -> Vec<&'static str> {
    fields.iter().filter(|(bit, _)| bits >> bit & 1 != 0).map(|(_, name)| *name).collect()
}

fn miss(config: u32) -> TableMiss {
    match config & 3 {
        1 => TableMiss::Continue,
        2 => TableMiss::Drop,
        _ => TableMiss::Controller,
    }
}

impl Features {
    /// Sets the fields of a message that has no masks.
    fn match_11(&mut self, matching: Vec<&'static str>, wildcards: Vec<&'static str>) {
        (self.wildcarded, self.exact) =
            matching.into_iter().partition(|name| wildcards.contains(name));
    }

    /// Sets what all rules can do.
    fn set_rules(&mut self, instructions: u32, write: Actions, apply: Actions) {
        self.rules = Rules { next: Next::None, instructions, write, apply };
        self.miss_rule = self.rules.clone();
    }
}

/// Bits of wildcards of OpenFlow 1.0 (`OFPFW10_*`). An address has six bits, of which the highest one says that
/// nothing of it counts.
const FIELDS_10: [(u32, &str); 12] = [
    (0, "in_port"),
    (1, "vlan_vid"),
    (2, "eth_src"),
    (3, "eth_dst"),
    (4, "eth_type"),
    (5, "nw_proto"),
    (6, "tcp_src"),
    (7, "tcp_dst"),
    (13, "ip_src"),
    (19, "ip_dst"),
    (20, "vlan_pcp"),
    (21, "nw_tos"),
];

/// Bits of fields of OpenFlow 1.1 (`OFPFMF11_*`).
const FIELDS_11: [(u32, &str); 15] = [
    (0, "in_port"),
    (1, "vlan_vid"),
    (2, "vlan_pcp"),
    (3, "eth_type"),
    (4, "nw_tos"),
    (5, "nw_proto"),
    (6, "tcp_src"),
    (7, "tcp_dst"),
    (8, "mpls_label"),
    (9, "mpls_tc"),
    (11, "eth_src"),
    (12, "eth_dst"),
    (13, "ip_src"),
    (14, "ip_dst"),
    (15, "metadata"),
];

/// Numbers of fields of OpenFlow 1.2 (`OFPXMT12_*`), each of which is a bit.
const FIELDS_12: [(u32, &str); 35] = [
    (0, "in_port_oxm"),
    (2, "metadata"),
    (3, "eth_dst"),
    (4, "eth_src"),
    (5, "eth_type"),
    (6, "vlan_vid"),
    (7, "vlan_pcp"),
    (8, "ip_dscp"),
    (9, "nw_ecn"),
    (10, "nw_proto"),
    (11, "ip_src"),
    (12, "ip_dst"),
    (13, "tcp_src"),
    (14, "tcp_dst"),
    (15, "udp_src"),
    (16, "udp_dst"),
    (17, "sctp_src"),
    (18, "sctp_dst"),
    (19, "icmp_type"),
    (20, "icmp_code"),
    (21, "arp_op"),
    (22, "arp_spa"),
    (23, "arp_tpa"),
    (24, "arp_sha"),
    (25, "arp_tha"),
    (26, "ipv6_src"),
    (27, "ipv6_dst"),
    (28, "ipv6_label"),
    (29, "icmpv6_type"),
    (30, "icmpv6_code"),
    (31, "nd_target"),
    (32, "nd_sll"),
    (33, "nd_tll"),
    (34, "mpls_label"),
    (35, "mpls_tc"),
];

/// Prints what tables can do, each behind an empty line.
pub fn put_table_features(out: &mut String, tables: &[TableFeatures], version: OfVersion) {
    let tables: Vec<Table> = tables.iter().map(|table| of_features(table, version)).collect();
    put_tables(out, &tables, version);
}

fn of_features(table: &TableFeatures, version: OfVersion) -> Table {
    /// Bits of the capabilities (`OFPTC14_*`).
    const EVICTION: u32 = 1 << 2;
    const VACANCY: u32 = 1 << 3;
    let mut features = Features {
        metadata: (table.metadata_match, table.metadata_write),
        max_entries: table.max_entries,
        ..Features::default()
    };
    if version >= OfVersion::OpenFlow14 {
        features.eviction =
            Some((table.capabilities & EVICTION != 0, table.capabilities & VACANCY != 0));
    }
    if let Some(abilities) = &table.abilities {
        features.rules = rules(&abilities.rules, table.table.get());
        features.miss_rule = rules(&abilities.miss, table.table.get());
        for (field, has_mask) in &abilities.matching {
            let name = name_of(*field);
            match (has_mask, abilities.wildcards.contains(field)) {
                (true, _) => features.masked.push(name),
                (false, true) => features.wildcarded.push(name),
                (false, false) => features.exact.push(name),
            }
        }
    }
    Table { number: table.table.get(), name: table.name.clone(), counters: None, features }
}

fn rules(rules: &RuleAbilities, table: u8) -> Rules {
    let later: Vec<u8> = (table.saturating_add(1)..=LAST).collect();
    let next = match &rules.next_tables {
        none if none.is_empty() => Next::None,
        all if *all == later => Next::Later,
        some => Next::Some(some.clone()),
    };
    let bits = |types: &[u16]| {
        types.iter().filter(|kind| **kind < 32).fold(0, |bits, kind| bits | 1 << kind)
    };
    let list = |list: &ActionAbilities| Actions {
        types: bits(&list.actions),
        fields: list.set_fields.iter().map(|field: &FieldId| name_of(*field)).collect(),
    };
    Rules {
        next,
        instructions: bits(&rules.instructions),
        write: list(&rules.write),
        apply: list(&rules.apply),
    }
}

/// Prints tables, each behind an empty line, and folds those that are like the one in front of them.
fn put_tables(out: &mut String, tables: &[Table], version: OfVersion) {
    let mut before: Option<&Table> = None;
    let mut same: Option<(u8, u8)> = None;
    for table in tables {
        let is_same = before.is_some_and(|before| {
            before.counters == table.counters && before.features == table.features
        });
        if is_same && table.name.is_empty() {
            same = Some((same.map_or(table.number, |(first, _)| first), table.number));
            continue;
        }
        put_same(out, same.take());
        put_table(out, table, before, is_same, version);
        before = Some(table);
    }
    put_same(out, same);
}

fn put_same(out: &mut String, same: Option<(u8, u8)>) {
    match same {
        None => {}
        Some((first, last)) if first == last => {
            put!(out, "\n  table {first}: ditto\n");
        }
        Some((first, last)) => {
            put!(out, "\n  tables {first}...{last}: ditto\n");
        }
    }
}

fn put_table(
    out: &mut String,
    table: &Table,
    before: Option<&Table>,
    is_same: bool,
    version: OfVersion,
) {
    put!(out, "\n  table {}", table.number);
    if !table.name.is_empty() {
        put!(out, " (\"{}\")", table.name);
    }
    if is_same {
        out.push_str(": ditto\n");
        return;
    }
    out.push_str(":\n");
    if let Some((active, lookup, matched)) = table.counters {
        put!(out, "    active={active}, lookup={lookup}, matched={matched}\n");
        if version >= OfVersion::OpenFlow13 {
            return;
        }
    }
    let old = before.map(|before| &before.features);
    if old == Some(&table.features) {
        out.push_str("    (same features)\n");
        return;
    }
    put_features(out, &table.features, old, table.number, version);
}

fn put_features(
    out: &mut String,
    features: &Features,
    old: Option<&Features>,
    table: u8,
    version: OfVersion,
) {
    if features.metadata != (0, 0) {
        put!(
            out,
            "    metadata: match={:#x} write={:#x}\n",
            features.metadata.0,
            features.metadata.1
        );
    }
    if let Some(miss) = features.miss {
        put!(out, "    config={}\n", miss_name(miss));
    }
    if let Some((eviction, vacancy)) = features.eviction {
        let not = |is_supported| if is_supported { "" } else { "not " };
        put!(out, "    eviction: {}supported\n", not(eviction));
        put!(out, "    vacancy events: {}supported\n", not(vacancy));
    }
    if features.max_entries != 0 {
        put!(out, "    max_entries={}\n", features.max_entries);
    }
    let is_empty = |rules: &Rules| *rules == Rules::default();
    let Features { rules, miss_rule, .. } = features;
    match old {
        Some(old) if old.rules == *rules && old.miss_rule == *miss_rule => {
            out.push_str(if is_empty(rules) { "" } else { "    (same instructions)\n" });
        }
        _ if rules != miss_rule => {
            out.push_str("    instructions (other than table miss):\n");
            put_rules(out, rules, old.map(|old| &old.rules), table, version);
            out.push_str("    instructions (table miss):\n");
            put_rules(out, miss_rule, old.map(|old| &old.miss_rule), table, version);
        }
        _ if !is_empty(rules) => {
            out.push_str("    instructions (table miss and others):\n");
            put_rules(out, rules, old.map(|old| &old.rules), table, version);
        }
        _ => {}
    }
    let lists = |features: &Features| {
        [features.masked.clone(), features.wildcarded.clone(), features.exact.clone()]
    };
    let all = lists(features);
    if all.iter().all(Vec::is_empty) {
        return;
    }
    if old.map(lists) == Some(all.clone()) {
        out.push_str("    (same matching)\n");
        return;
    }
    out.push_str("    matching:\n");
    for (title, names) in
        ["arbitrary mask", "exact match or wildcard", "must exact match"].iter().zip(&all)
    {
        if !names.is_empty() {
            put!(out, "      {title}: ");
            put_fields(out, names);
            out.push('\n');
        }
    }
}

/// Instructions in the order in which Open vSwitch prints them, by their types (`OFPIT_*`).
const INSTRUCTIONS: [(u32, &str); 6] = [
    (6, "meter"),
    (4, "apply_actions"),
    (5, "clear_actions"),
    (3, "write_actions"),
    (2, "write_metadata"),
    (1, "goto_table"),
];

fn put_rules(out: &mut String, rules: &Rules, old: Option<&Rules>, table: u8, version: OfVersion) {
    let next: Vec<u8> = match &rules.next {
        Next::None => Vec::new(),
        Next::Later => (table.saturating_add(1)..=LAST).collect(),
        Next::Some(tables) => tables.clone(),
    };
    if !next.is_empty() {
        put!(out, "      next tables: {}\n", ranges(&next));
    }
    if rules.instructions != 0 {
        if old.is_some_and(|old| old.instructions == rules.instructions) {
            out.push_str("      (same instructions)\n");
        } else {
            let known = INSTRUCTIONS.iter().filter(|(kind, _)| rules.instructions >> kind & 1 != 0);
            let names: Vec<&str> = known.map(|(_, name)| *name).collect();
            put!(out, "      instructions: {}\n", names.join(" "));
        }
    }
    let Rules { write, apply, .. } = rules;
    let is_same = old.is_some_and(|old| old.write == *write && old.apply == *apply);
    if is_same && !write.fields.is_empty() {
        out.push_str("      (same actions)\n");
    } else if write != apply {
        out.push_str("      Write-Actions features:\n");
        put_list(out, write, version);
        out.push_str("      Apply-Actions features:\n");
        put_list(out, apply, version);
    } else if *write != Actions::default() {
        out.push_str("      Write-Actions and Apply-Actions features:\n");
        put_list(out, write, version);
    }
}

fn put_list(out: &mut String, list: &Actions, version: OfVersion) {
    if list.types != 0 {
        out.push_str("        actions: ");
        put_actions(out, list.types, version);
        out.push('\n');
    }
    if !list.fields.is_empty() {
        out.push_str("        supported on Set-Field: ");
        put_fields(out, &list.fields);
        out.push('\n');
    }
}

/// Numbers as ranges with commas between: `1-253`.
fn ranges(numbers: &[u8]) -> String {
    let mut text = String::new();
    for run in numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        text.push_str(if text.is_empty() { "" } else { "," });
        match run {
            [one] => text.push_str(&one.to_string()),
            [first, .., last] => {
                put!(text, "{first}-{last}");
            }
            [] => {}
        }
    }
    text
}

fn miss_name(miss: TableMiss) -> &'static str {
    match miss {
        TableMiss::Controller => "controller",
        TableMiss::Continue => "continue",
        TableMiss::Drop => "drop",
    }
}

/// Names of what decides which rule is evicted.
const EVICTION_FLAGS: [(u32, &str); 3] = [
    (eviction_flag::OTHER, "OTHER"),
    (eviction_flag::IMPORTANCE, "IMPORTANCE"),
    (eviction_flag::LIFETIME, "LIFETIME"),
];

fn put_eviction_flags(out: &mut String, flags: u32) {
    let names: Vec<&str> =
        EVICTION_FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    match names.is_empty() {
        true => out.push('0'),
        false => out.push_str(&names.join("|")),
    }
}

/// Prints how tables behave.
pub(crate) fn put_descs(out: &mut String, tables: &[TableDesc]) {
    for (n, table) in tables.iter().enumerate() {
        let on = |is_on| if is_on { "on" } else { "off" };
        out.push_str(if n == 0 { "\n" } else { "\n\n" });
        put!(out, "  table {}:\n   eviction={} eviction_flags=", table.table, on(table.eviction));
        match table.eviction_flags {
            Some(flags) => put_eviction_flags(out, flags),
            None => out.push_str("(default)"),
        }
        put!(out, "\n   vacancy={}", on(table.vacancy.is_some()));
        if let Some((VacancyThresholds { down, up }, now)) = table.vacancy {
            put!(out, " vacancy_down={down}% vacancy_up={up}% vacancy={now}%");
        }
    }
    out.push('\n');
}

/// Prints a request that changes tables.
pub(crate) fn put_mod(out: &mut String, table_mod: &TableMod, version: OfVersion) {
    match table_mod.table {
        Some(table) => {
            put!(out, " table_id={table}");
        }
        None => out.push_str(" table_id: ALL_TABLES"),
    }
    if let Some(miss) = table_mod.miss {
        put!(out, ", flow_miss_config={}", miss_name(miss));
    }
    if version < OfVersion::OpenFlow14 {
        return;
    }
    put!(out, ", eviction={}", if table_mod.eviction == Some(true) { "on" } else { "off" });
    if let Some(flags) = table_mod.eviction_flags.filter(|_| table_mod.eviction == Some(true)) {
        out.push_str(" eviction_flags=");
        put_eviction_flags(out, flags);
    }
    match table_mod.vacancy.flatten() {
        None => out.push_str(", vacancy=off"),
        Some(VacancyThresholds { down, up }) => {
            put!(out, ", vacancy=on vacancy:{down},{up}");
        }
    }
}

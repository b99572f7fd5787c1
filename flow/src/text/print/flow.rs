//! Prints whole rules: the lines of `dump-flows`, `diff-flows`, `monitor` and `parse-flow`.

use super::{PrintOptions, decimal, duration, hex, put, write_actions, write_match};
use crate::action::Action;
use crate::dialect;
use crate::flow_mod::{Command, FlowFlags, FlowMod};
use crate::matching::Match;
use crate::text::{DEFAULT_PRIORITY, NoPortNames, write_table};
use crate::types::{Cookie, OfVersion, TableId};
use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

/// A rule and its counters, as the printer needs them.
#[derive(Clone, Copy, Debug)]
pub struct FlowLine<'a> {
    /// The rule's cookie.
    pub cookie: Cookie,
    /// The table that the rule is in.
    pub table: TableId,
    /// The rule's priority. [`DEFAULT_PRIORITY`] is not printed.
    pub priority: u16,
    /// The rule's match.
    pub matching: &'a Match,
    /// The rule's actions. An empty list is printed as `drop`.
    pub actions: &'a [Action],
    /// The rule expires after this many seconds without a packet; 0 means never and is not printed.
    pub idle_timeout: u16,
    /// The rule expires this many seconds after it was added; 0 means never and is not printed.
    pub hard_timeout: u16,
    /// Rank of the rule when a full table evicts rules; 0 is not printed.
    pub importance: u16,
    /// The flags with which the rule was added.
    pub flags: FlowFlags,
    /// The rule's name; `None` if it has none.
    pub name: Option<&'a str>,
    /// The rule's label; `None` if it has none.
    pub label: Option<&'a str>,
    /// The table, the priority and the match of the rule that made this one of a packet, as text; `None` if
    /// somebody has added the rule. Lines of text do not have it.
    pub learned_by: Option<&'a str>,
    /// Time since the rule was added.
    pub duration: Duration,
    /// How many packets the rule has matched.
    pub packets: u64,
    /// Bytes of these packets, Ethernet headers included.
    pub bytes: u64,
    /// Time since the rule last matched a packet.
    pub idle_age: Duration,
    /// Time since the rule was added or last modified.
    pub hard_age: Duration,
}

impl<'a> FlowLine<'a> {
    /// The line of the rule that a request adds. Counters and ages are 0.
    pub fn of(rule: &'a FlowMod) -> Self {
        Self {
            cookie: rule.cookie,
            table: rule.table.unwrap_or_default(),
            priority: rule.priority,
            matching: &rule.matching,
            actions: &rule.actions,
            idle_timeout: rule.idle_timeout,
            hard_timeout: rule.hard_timeout,
            importance: rule.importance,
            flags: rule.flags,
            name: rule.name.as_deref(),
            label: rule.label.as_deref(),
            learned_by: None,
            duration: Duration::ZERO,
            packets: 0,
            bytes: 0,
            idle_age: Duration::ZERO,
            hard_age: Duration::ZERO,
        }
    }
}

impl FlowLine<'_> {
    /// Appends the line of `dump-flows`, without the blank in front and the line feed behind:
    /// `cookie=0x0, duration=1.038s, table=0, n_packets=5, n_bytes=426, priority=0 actions=NORMAL`.
    ///
    /// `idle_age=` is printed in 1.0 (a Nicira extension) and 1.5, `hard_age=` in 1.0 only.
    pub fn write(&self, out: &mut String, options: &PrintOptions<'_>) {
        let version = options.version;
        self.write_attributes(out, options);
        let tells_hard = version == OfVersion::OpenFlow10 && options.ages;
        let tells_idle = tells_hard || version == OfVersion::OpenFlow15;
        if options.stats && tells_idle {
            put!(out, "idle_age={}, ", age(self.idle_age));
        }
        let hard_age = u64::from(age(self.hard_age));
        if options.stats && tells_hard && hard_age != self.duration.as_secs() {
            put!(out, "hard_age={hard_age}, ");
        }
        self.write_rule(out, options);
    }

    /// Appends the line of `ofctl save`: the rule as it is, with neither counters nor the conversion to what a
    /// version of OpenFlow can say: `cookie=0x1, table=1, priority=10,ip actions=mod_vlan_vid:5,output:2`.
    /// Ports are numbers. [`parse_saved_flow`](crate::text::parse_saved_flow) reads the line. Returns the range
    /// of the match in `out`; the range includes the priority.
    pub fn write_saved(&self, out: &mut String) -> Range<usize> {
        let options = PrintOptions {
            version: OfVersion::OpenFlow15,
            ports: &NoPortNames,
            stats: false,
            ages: false,
        };
        // Both flags are about the request that added the rule.
        let flags = FlowFlags { check_overlap: false, reset_counts: false, ..self.flags };
        FlowLine { flags, ..*self }.write_attributes(out, &options);
        let start = out.len();
        write_match(out, self.matching, self.priority, options.ports);
        let end = out.len();
        if end > start {
            out.push(' ');
        }
        out.push_str("actions=");
        write_actions(out, self.actions, &options);
        start..end
    }

    /// Appends what stands in front of the match and of the ages: cookie, table,
    /// counters, timeouts, flags and names.
    fn write_attributes(&self, out: &mut String, options: &PrintOptions<'_>) {
        let version = options.version;
        if options.stats || self.cookie.0 != 0 {
            put!(out, "cookie={:#x}, ", self.cookie.0);
        }
        if options.stats {
            out.push_str("duration=");
            duration(out, self.duration);
            out.push_str(", ");
        }
        if options.stats || self.table.get() != 0 || options.ports.table_name(self.table).is_some()
        {
            out.push_str("table=");
            write_table(out, self.table, options.ports);
            out.push_str(", ");
        }
        if options.stats {
            put!(out, "n_packets={}, n_bytes={}, ", self.packets, self.bytes);
        }
        if self.idle_timeout != 0 {
            put!(out, "idle_timeout={}, ", self.idle_timeout);
        }
        if self.hard_timeout != 0 {
            put!(out, "hard_timeout={}, ", self.hard_timeout);
        }
        if version >= OfVersion::OpenFlow13 {
            write_flags(out, self.flags);
        }
        if self.importance != 0 && version >= OfVersion::OpenFlow14 {
            put!(out, "importance={}, ", self.importance);
        }
        if let Some(name) = self.name {
            put!(out, "name={name}, ");
        }
        if let Some(label) = self.label {
            put!(out, "label={label}, ");
        }
    }

    /// Appends the line of `diff-flows`, which has no statistics and the match first:
    /// `table=1 priority=10,icmp cookie=0x2a idle_timeout=30 actions=drop`.
    pub fn write_for_diff(&self, out: &mut String, options: &PrintOptions<'_>) {
        if self.table.get() != 0 {
            put!(out, "table={} ", self.table);
        }
        let before = out.len();
        self.write_match(out, options);
        if out.len() == before {
            // `ovs-ofctl` writes the space behind the match even if the match is empty.
            out.push(' ');
        }
        if self.cookie.0 != 0 {
            put!(out, "cookie={:#x} ", self.cookie.0);
        }
        if self.idle_timeout != 0 {
            put!(out, "idle_timeout={} ", self.idle_timeout);
        }
        if self.hard_timeout != 0 {
            put!(out, "hard_timeout={} ", self.hard_timeout);
        }
        if self.importance != 0 {
            put!(out, "importance={} ", self.importance);
        }
        write_flags(out, self.flags);
        self.write_list(out, options);
    }

    /// Appends the line of `monitor`, in the order of `ovs-ofctl monitor`:
    /// `table=1 idle_timeout=30 cookie=0x2a priority=10,icmp actions=drop`. With [`PrintOptions::stats`],
    /// duration and counters follow the cookie.
    pub fn write_for_monitor(&self, out: &mut String, options: &PrintOptions<'_>) {
        out.push_str("table=");
        write_table(out, self.table, options.ports);
        out.push(' ');
        let timeouts = [("idle_timeout", self.idle_timeout), ("hard_timeout", self.hard_timeout)];
        for (name, seconds) in timeouts.into_iter().filter(|(_, seconds)| *seconds != 0) {
            put!(out, "{name}={seconds} ");
        }
        out.push_str("cookie=");
        hex(out, self.cookie.0.into());
        out.push(' ');
        if options.stats {
            out.push_str("duration=");
            duration(out, self.duration);
            put!(out, " n_packets={} n_bytes={} ", self.packets, self.bytes);
        }
        for (key, name) in [("name", self.name), ("label", self.label)] {
            if let Some(name) = name {
                put!(out, "{key}={name} ");
            }
        }
        self.write_rule(out, options);
    }

    fn write_rule(&self, out: &mut String, options: &PrintOptions<'_>) {
        self.write_match(out, options);
        self.write_list(out, options);
    }

    /// Appends the match and a blank; nothing if the match and the priority print as nothing.
    fn write_match(&self, out: &mut String, options: &PrintOptions<'_>) {
        let matching = dialect::dumped_matching(self.matching, options.version);
        let start = out.len();
        write_match(out, &matching, self.priority, options.ports);
        if out.len() > start {
            out.push(' ');
        }
    }

    fn write_list(&self, out: &mut String, options: &PrintOptions<'_>) {
        out.push_str("actions=");
        let actions: Cow<'_, [Action]> =
            dialect::actions(self.actions, options.version, self.matching);
        write_actions(out, &actions, options);
    }
}

/// An age in whole seconds, at most 65534. The message has 16 bits, in which 65535 means "not known".
fn age(age: Duration) -> u16 {
    age.as_secs().min(u64::from(u16::MAX) - 1) as u16
}

/// Appends the names of the flags that are set, each with a blank behind.
fn write_flags(out: &mut String, flags: FlowFlags) {
    for (is_set, name) in [
        (flags.send_flow_rem, "send_flow_rem "),
        (flags.check_overlap, "check_overlap "),
        (flags.reset_counts, "reset_counts "),
        (flags.no_packet_counts, "no_packet_counts "),
        (flags.no_byte_counts, "no_byte_counts "),
    ] {
        if is_set {
            out.push_str(name);
        }
    }
}

/// Appends a request as `parse-flow` shows it, from the command on:
/// `ADD table:1 priority=5,ip cookie:0x1 actions=drop`.
///
/// `explicit_table` says whether the message has a table number even if the request names no table. Then 255,
/// all tables, is printed. `buffer` is the number of a packet that the message is about, too.
pub fn write_flow_mod(
    out: &mut String,
    flow_mod: &FlowMod,
    explicit_table: bool,
    buffer: Option<u32>,
    options: &PrintOptions<'_>,
) {
    let is_delete = matches!(flow_mod.command, Command::Delete | Command::DeleteStrict);
    out.push_str(match flow_mod.command {
        Command::Add => "ADD",
        Command::Modify => "MOD",
        Command::ModifyStrict => "MOD_STRICT",
        Command::Delete => "DEL",
        Command::DeleteStrict => "DEL_STRICT",
    });
    let table = match flow_mod.table {
        Some(table) => table.get(),
        None if explicit_table => u8::MAX,
        None => 0,
    };
    if table != 0 {
        put!(out, " table:{table}");
    }
    out.push(' ');
    let matching = dialect::matching(&flow_mod.matching, options.version);
    let start = out.len();
    write_match(out, &matching, flow_mod.priority, options.ports);
    if out.len() > start {
        out.push(' ');
    }
    if flow_mod.cookie.0 != 0 && flow_mod.cookie.0 != u64::MAX && !is_delete {
        put!(out, "cookie:{:#x} ", flow_mod.cookie.0);
    }
    if let Some((value, mask)) = flow_mod.cookie_filter {
        put!(out, "cookie:{:#x}/{:#x} ", value.0, mask.0);
    }
    for (key, value) in [("name", &flow_mod.name), ("label", &flow_mod.label)] {
        if let Some(value) = value {
            put!(out, "{key}:{value} ");
        }
    }
    if flow_mod.idle_timeout != 0 {
        put!(out, "idle:{} ", flow_mod.idle_timeout);
    }
    if flow_mod.hard_timeout != 0 {
        put!(out, "hard:{} ", flow_mod.hard_timeout);
    }
    if flow_mod.importance != 0 && options.version >= OfVersion::OpenFlow14 {
        put!(out, "importance:{} ", flow_mod.importance);
    }
    if let Some(buffer) = buffer {
        put!(out, "buf:{buffer:#x} ");
    }
    if let Some(port) = flow_mod.out_port {
        out.push_str("out_port:");
        crate::text::port::write(out, port, options.ports);
        out.push(' ');
    }
    let mut flags = flow_mod.flags;
    // 1.0 and 1.1 have no flag `reset_counts`, because an add always resets the counters there.
    flags.reset_counts &= options.version >= OfVersion::OpenFlow12;
    write_flags(out, flags);
    out.push_str("actions=");
    let actions = dialect::actions(&flow_mod.actions, options.version, &flow_mod.matching);
    write_actions(out, &actions, options);
}

impl FlowMod {
    /// The request as text. Parsed with the same command and version in the context, the
    /// text gives the request again.
    pub fn to_text(&self, options: &PrintOptions<'_>) -> String {
        let mut out = String::new();
        if let Some(table) = self.table {
            put!(out, "table={table},");
        }
        match self.cookie_filter {
            Some((value, mask)) => {
                put!(out, "cookie={:#x}/{:#x},", value.0, mask.0);
            }
            None if self.modify_cookie || self.cookie.0 != 0 => {
                put!(out, "cookie={:#x},", self.cookie.0);
            }
            None => {}
        }
        for (name, value) in [
            ("idle_timeout", self.idle_timeout),
            ("hard_timeout", self.hard_timeout),
            ("importance", self.importance),
        ] {
            if value != 0 {
                put!(out, "{name}={value},");
            }
        }
        if let Some(port) = self.out_port {
            out.push_str("out_port=");
            crate::text::port::write(&mut out, port, options.ports);
            out.push(',');
        }
        if let Some(group) = self.out_group {
            out.push_str("out_group=");
            decimal(&mut out, group.0.into());
            out.push(',');
        }
        for (name, value) in [("name", &self.name), ("label", &self.label)] {
            if let Some(value) = value {
                put!(out, "{name}={value},");
            }
        }
        let mut flags = self.flags;
        flags.reset_counts &= options.version >= OfVersion::OpenFlow12;
        write_flags(&mut out, flags);
        let with_priority = !matches!(self.command, Command::Delete);
        let priority = if with_priority { self.priority } else { DEFAULT_PRIORITY };
        write_match(&mut out, &self.matching, priority, options.ports);
        if !matches!(self.command, Command::Delete | Command::DeleteStrict) {
            out.push_str(" actions=");
            write_actions(&mut out, &self.actions, options);
        }
        out
    }
}

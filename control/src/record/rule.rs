//! Rules as records.

use super::FlowRecord;
use flow::flow_mod::FlowFlags;
use flow::text::{DEFAULT_PRIORITY, FlowLine, PortNames, PrintOptions};
use flow::types::{Cookie, OfVersion, TableId};

impl FlowRecord {
    /// The record of a rule. Its match and its actions are those that messages of `version` can say; `names`
    /// are printed for port numbers.
    pub fn of(line: &FlowLine<'_>, version: OfVersion, names: &dyn PortNames) -> Self {
        let mut text = String::new();
        let bare = FlowLine {
            cookie: Cookie(0),
            table: TableId::default(),
            priority: DEFAULT_PRIORITY,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: FlowFlags::default(),
            name: None,
            label: None,
            learned_by: None,
            ..*line
        };
        bare.write(&mut text, &PrintOptions { version, ports: names, stats: false, ages: true });
        // Matches have no such word: theirs are fields.
        let (matching, actions) = text.split_once("actions=").unwrap_or((&text, ""));
        Self {
            cookie: format!("{:#x}", line.cookie.0),
            table: line.table.get(),
            priority: line.priority,
            r#match: matching.trim_end().to_owned(),
            actions: actions.to_owned(),
            n_packets: line.packets,
            n_bytes: line.bytes,
            duration: line.duration.as_secs_f64(),
            idle_timeout: line.idle_timeout,
            hard_timeout: line.hard_timeout,
            idle_age: line.idle_age.as_secs(),
            hard_age: line.hard_age.as_secs(),
            importance: line.importance,
            flags: flag_names(line.flags),
            name: line.name.map(str::to_owned),
            label: line.label.map(str::to_owned),
            learned_by: line.learned_by.map(str::to_owned),
        }
    }
}

fn flag_names(flags: FlowFlags) -> Vec<String> {
    [
        (flags.send_flow_rem, "send_flow_rem"),
        (flags.check_overlap, "check_overlap"),
        (flags.reset_counts, "reset_counts"),
        (flags.no_packet_counts, "no_packet_counts"),
        (flags.no_byte_counts, "no_byte_counts"),
    ]
    .into_iter()
    .filter(|(is_set, _)| *is_set)
    .map(|(_, name)| name.to_owned())
    .collect()
}

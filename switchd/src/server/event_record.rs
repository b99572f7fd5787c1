//! Events as records, for `--json`.

use super::names::Shown;
use super::{connections, groups, meters};
use crate::bridge::event::{Event, RuleChange, RuleEvent, What};
use crate::desired::PortSettings;
use crate::event_text::{config_names, flow_line};
use control::record::{
    ConnectionRecord, DirectionRecord, EventRecord, FlowRecord, HostEventRecord, PortEventRecord,
};
use flow::text::{PortNames, PrintOptions};
use flow::types::{OfPort, OfVersion};
use flowtable::conntrack::{CtChange, CtCount, CtCounts, CtEvent};
use flowtable::policy::groups::GroupEntry;
use flowtable::policy::mac_table::{HostChange, HostEvent};
use flowtable::policy::ports::PortInfo;

/// The record of an event, with rules in the words of a version.
pub(super) fn of(event: &Event, version: OfVersion, names: Shown<'_>) -> EventRecord {
    let bridge = event.bridge.to_string();
    let group = |entry: &GroupEntry| {
        groups::record(entry, &PrintOptions { version, ports: &names, ..PrintOptions::default() })
    };
    match &event.what {
        What::Rule(rule) => of_rule(event, rule, version, names),
        What::GroupAdded(entry) => EventRecord::GroupAdded { bridge, group: group(entry) },
        What::GroupChanged(entry) => EventRecord::GroupModified { bridge, group: group(entry) },
        What::GroupRemoved(entry) => {
            EventRecord::GroupDeleted { bridge, group_id: entry.group.id.0 }
        }
        What::MeterAdded(entry) => {
            EventRecord::MeterAdded { bridge, meter: meters::record(&entry.meter) }
        }
        What::MeterChanged(entry) => {
            EventRecord::MeterModified { bridge, meter: meters::record(&entry.meter) }
        }
        What::MeterRemoved(entry) => {
            EventRecord::MeterDeleted { bridge, meter_id: entry.meter.id.0 }
        }
        What::PortAdded(port) => EventRecord::PortAdded { bridge, port: of_port(port) },
        What::PortChanged(update) => {
            EventRecord::PortModified { bridge, port: of_port(&update.after) }
        }
        What::PortRemoved(port) => EventRecord::PortDeleted { bridge, port: of_port(port) },
        What::Host(change) => of_host(bridge, change, names),
        What::BridgeAdded => EventRecord::BridgeAdded { bridge },
        What::BridgeRemoved => EventRecord::BridgeDeleted { bridge },
    }
}

/// The record of an event of a connection.
pub(super) fn of_connection(event: &CtEvent) -> EventRecord {
    let connection = connection_of(event);
    match event.what {
        CtChange::Made => EventRecord::ConnectionAdded { connection },
        CtChange::Ended { why, duration, .. } => {
            let (reason, duration) = (why.name().to_owned(), duration.as_secs_f64());
            EventRecord::ConnectionDeleted { reason, duration, connection }
        }
    }
}

/// The connection of an event, with the final counters if there are some.
pub(super) fn connection_of(event: &CtEvent) -> ConnectionRecord {
    let mut connection = connections::record(&event.connection);
    if let CtChange::Ended { counts: Some(CtCounts { original, reply }), .. } = event.what {
        put_count(&mut connection.orig, original);
        put_count(&mut connection.reply, reply);
    }
    connection
}

fn put_count(direction: &mut DirectionRecord, CtCount { packets, bytes }: CtCount) {
    (direction.n_packets, direction.n_bytes) = (Some(packets), Some(bytes));
}

fn of_rule(event: &Event, rule: &RuleEvent, version: OfVersion, names: Shown<'_>) -> EventRecord {
    let bridge = event.bridge.to_string();
    let line = flow_line(&rule.rule, &rule.matching, rule.priority, event.at);
    let flow = FlowRecord::of(&line, version, &names);
    match rule.change {
        RuleChange::Added => EventRecord::FlowAdded { bridge, flow },
        RuleChange::Changed => EventRecord::FlowModified { bridge, flow },
        RuleChange::Removed(why) => {
            EventRecord::FlowDeleted { bridge, reason: why.name().to_owned(), flow }
        }
    }
}

fn of_port(port: &PortInfo) -> PortEventRecord {
    PortEventRecord {
        port: port.of_port.0,
        name: port.name.to_string(),
        mac: port.mac.to_string(),
        config: config_names(port.config),
        is_link_up: port.link_up,
        settings: PortSettings::of(port).to_string(),
    }
}

fn of_host(bridge: String, change: &HostChange, names: Shown<'_>) -> EventRecord {
    let host = |port: OfPort| HostEventRecord {
        port: port.0,
        name: names.name(port).map(str::to_owned),
        vlan: change.key.vlan,
        mac: change.key.mac.to_string(),
    };
    match change.what {
        HostEvent::Learned { port } => EventRecord::HostLearned { bridge, host: host(port) },
        HostEvent::Moved { from, to } => {
            EventRecord::HostMoved { bridge, from: from.0, host: host(to) }
        }
        HostEvent::Given { port } => EventRecord::HostAdded { bridge, host: host(port) },
        HostEvent::Forgotten { port, why } => {
            EventRecord::HostDeleted { bridge, reason: why.name().to_owned(), host: host(port) }
        }
    }
}

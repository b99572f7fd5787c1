//! Events, as `ofctl monitor` shows them.

use super::{ConnectionRecord, FlowRecord, GroupRecord, MeterRecord};
use serde::{Deserialize, Serialize};

/// An event, as `ofctl monitor` shows it. In JSON, the field `event` has the name
/// of the variant: `flow_added`, `lost`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventRecord {
    /// A rule was added.
    FlowAdded {
        /// The name of the bridge that the rule belongs to.
        bridge: String,
        /// The rule as it was added.
        flow: FlowRecord,
    },
    /// The actions or the cookie of a rule were changed.
    FlowModified {
        /// The name of the bridge that the rule belongs to.
        bridge: String,
        /// The rule as it is now.
        flow: FlowRecord,
    },
    /// A rule expired or was deleted.
    FlowDeleted {
        /// The name of the bridge that the rule belongs to.
        bridge: String,
        /// Why the rule was removed: `idle`, `hard`, `delete`, `group_delete`, `meter_delete` or `replaced`.
        reason: String,
        /// The rule, with its final counters.
        flow: FlowRecord,
    },
    /// A group was added.
    GroupAdded {
        /// The name of the bridge that the group belongs to.
        bridge: String,
        /// The group as it was added.
        group: GroupRecord,
    },
    /// The type or the buckets of a group were changed.
    GroupModified {
        /// The name of the bridge that the group belongs to.
        bridge: String,
        /// The group as it is now.
        group: GroupRecord,
    },
    /// A group was deleted.
    GroupDeleted {
        /// The name of the bridge that the group belongs to.
        bridge: String,
        /// The number that the group had.
        group_id: u32,
    },
    /// A meter was added.
    MeterAdded {
        /// The name of the bridge that the meter belongs to.
        bridge: String,
        /// The meter as it was added.
        meter: MeterRecord,
    },
    /// The unit, the flags or the bands of a meter were changed.
    MeterModified {
        /// The name of the bridge that the meter belongs to.
        bridge: String,
        /// The meter as it is now.
        meter: MeterRecord,
    },
    /// A meter was deleted.
    MeterDeleted {
        /// The name of the bridge that the meter belongs to.
        bridge: String,
        /// The number that the meter had.
        meter_id: u32,
    },
    /// A port was added.
    PortAdded {
        /// The name of the bridge that the port belongs to.
        bridge: String,
        /// The port as it was added.
        port: PortEventRecord,
    },
    /// The link state, the MAC address or the settings of a port have changed.
    PortModified {
        /// The name of the bridge that the port belongs to.
        bridge: String,
        /// The port as it is now.
        port: PortEventRecord,
    },
    /// A port was removed from its bridge.
    PortDeleted {
        /// The name of the bridge that the port belongs to.
        bridge: String,
        /// The port as it was before.
        port: PortEventRecord,
    },
    /// A MAC table learned a host that it did not have.
    HostLearned {
        /// The name of the bridge whose MAC table it is.
        bridge: String,
        /// The new entry.
        host: HostEventRecord,
    },
    /// A host of a MAC table was seen at another port than before.
    HostMoved {
        /// The name of the bridge whose MAC table it is.
        bridge: String,
        /// The OpenFlow number of the port before.
        from: u16,
        /// The entry with the new port.
        host: HostEventRecord,
    },
    /// A user added a static entry to a MAC table.
    HostAdded {
        /// The name of the bridge whose MAC table it is.
        bridge: String,
        /// The new entry.
        host: HostEventRecord,
    },
    /// An entry was removed from a MAC table.
    HostDeleted {
        /// The name of the bridge whose MAC table it is.
        bridge: String,
        /// Why the entry was removed: `expired`, `evicted` or `flushed`.
        reason: String,
        /// The entry as it was before.
        host: HostEventRecord,
    },
    /// A bridge was added.
    BridgeAdded {
        /// The name of the bridge.
        bridge: String,
    },
    /// A bridge was removed, with its ports, rules, groups and hosts.
    BridgeDeleted {
        /// The name that the bridge had.
        bridge: String,
    },
    /// A rule committed a connection.
    ConnectionAdded {
        /// The connection as it was committed.
        connection: ConnectionRecord,
    },
    /// A connection was removed.
    ConnectionDeleted {
        /// Why the connection was removed: `timeout`, `closed`, `flushed`, `evicted` or `replaced`.
        reason: String,
        /// For how many seconds the connection was remembered.
        duration: f64,
        /// The connection, without time left, and with its final counters if it
        /// was committed while somebody watched.
        connection: ConnectionRecord,
    },
    /// Events are missing at this point, because the client read them more slowly than they happened.
    Lost {
        /// How many events are missing. Events of bridges and kinds that were not requested may be among them.
        count: u64,
    },
}

/// A port in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortEventRecord {
    /// The OpenFlow number by which rules name the port.
    pub port: u16,
    /// The name of the port, unique in the switch.
    pub name: String,
    /// The MAC address of the port's device: `02:00:00:00:00:01`.
    pub mac: String,
    /// The flags that `mod-port` has set, in the words of OpenFlow: `PORT_DOWN`, `NO_FLOOD`.
    pub config: Vec<String>,
    /// Whether the device is up and has a carrier.
    pub is_link_up: bool,
    /// The settings that differ from the defaults, as `set-port` takes them.
    pub settings: String,
}

/// An entry of a MAC table in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEventRecord {
    /// The OpenFlow number of the host's port.
    pub port: u16,
    /// The name of the host's port; `None` unless the request asks for names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The host's VLAN; 0 if its frames have no tag.
    pub vlan: u16,
    /// The host's MAC address: `02:00:00:00:00:01`.
    pub mac: String,
}

//! What can be asked of the daemon.

use flow::types::OfVersion;
use serde::{Deserialize, Serialize};

/// A request: the operation and the bridge that it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The bridge's name; `None` is the only bridge there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// What is asked of the bridge.
    pub operation: Operation,
}

/// What is asked. Each variant names the [`Reply`](crate::Reply) it is answered with; text that
/// goes with a request or its answer is mentioned there, all others have none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Changes rules, all or none. Text: one rule a line. [`Reply::Changed`](crate::Reply::Changed)
    FlowMods(FlowMods),
    /// Makes the rules those of the text, all at once. Text: one rule a line.
    /// [`Reply::Changed`](crate::Reply::Changed)
    ReplaceFlows(FlowMods),
    /// Lists rules. Answer: text as [`Format`] says. [`Reply::Listed`](crate::Reply::Listed)
    DumpFlows(FlowQuery),
    /// Adds up the counters of rules. [`Reply::Aggregate`](crate::Reply::Aggregate)
    DumpAggregate(FlowQuery),
    /// Lists the flow tables with their counters. [`Reply::Tables`](crate::Reply::Tables)
    DumpTables,

    /// Changes groups, all or none. Text: one group a line. [`Reply::Changed`](crate::Reply::Changed)
    GroupMods(GroupMods),
    /// Lists groups. Answer: text as [`Format`] says. [`Reply::Listed`](crate::Reply::Listed)
    DumpGroups(GroupQuery),
    /// Lists groups' counters. Answer: text as [`Format`] says.
    /// [`Reply::Listed`](crate::Reply::Listed)
    DumpGroupStats(GroupQuery),

    /// Sends a packet that somebody made by hand. [`Reply::PacketOut`](crate::Reply::PacketOut)
    PacketOut(PacketOutRequest),

    /// Adds a bridge without ports. [`Reply::Done`](crate::Reply::Done)
    AddBr {
        /// Name of the bridge: one that a network device could have.
        name: String,
        /// 16 hexadecimal digits; `None` derives the datapath id from a MAC address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        datapath_id: Option<String>,
    },
    /// Removes a bridge with its ports, rules, groups and hosts. [`Reply::Done`](crate::Reply::Done)
    DelBr {
        /// Name of the bridge.
        name: String,
    },
    /// Lists the bridges. [`Reply::Bridges`](crate::Reply::Bridges)
    ListBr,
    /// Tells what is wanted of the switch: its bridges, their ports, and all settings. Answer: text, the file that
    /// `switchd --config` starts from, or one JSON object of the same shape.
    /// [`Reply::Listed`](crate::Reply::Listed)
    ShowConfig {
        /// How the answer is written.
        format: Format,
    },

    /// Describes the bridge and its ports. [`Reply::Switch`](crate::Reply::Switch)
    Show,
    /// Lists the counters of ports. [`Reply::PortStats`](crate::Reply::PortStats)
    DumpPorts {
        /// A port's name or number; `None` is all ports.
        port: Option<String>,
    },
    /// Describes ports. [`Reply::Ports`](crate::Reply::Ports)
    DumpPortsDesc {
        /// A port's name or number; `None` is all ports.
        port: Option<String>,
    },
    /// Adds a port. [`Reply::Done`](crate::Reply::Done)
    AddPort {
        /// As `switchd --port` takes it: `veth0`, `tap:tap0,tag=10`.
        spec: String,
    },
    /// Removes a port. [`Reply::Done`](crate::Reply::Done)
    DelPort {
        /// The port's name or number.
        port: String,
    },
    /// Replaces the VLAN configuration of a port; what is not named returns to its default.
    /// [`Reply::Done`](crate::Reply::Done)
    SetPort {
        /// The port's name or number.
        port: String,
        /// The settings as words: `tag=10 vlan_mode=access trunks=1,2`.
        settings: String,
    },
    /// Sets or clears a flag of a port. [`Reply::Done`](crate::Reply::Done)
    ModPort {
        /// The port's name or number.
        port: String,
        /// The flag to change.
        flag: PortFlag,
        /// Whether the flag is set from now on.
        on: bool,
    },

    /// Lists the hosts that are known. Answer: text, one JSON
    /// [`FdbRecord`](crate::record::FdbRecord) a line. [`Reply::Listed`](crate::Reply::Listed)
    FdbShow,
    /// Forgets learned addresses. [`Reply::Changed`](crate::Reply::Changed)
    FdbFlush {
        /// The port's name or number; `None` is all ports.
        port: Option<String>,
    },
    /// Adds an address that neither ages nor moves. [`Reply::Done`](crate::Reply::Done)
    FdbAdd {
        /// Name or number of the port where the address is.
        port: String,
        /// The VLAN it is in, from 0 (no tag) to 4095.
        vlan: u16,
        /// The address: `02:00:00:00:00:01`.
        mac: String,
    },
    /// Removes an address of either kind. [`Reply::Done`](crate::Reply::Done)
    FdbDel {
        /// The VLAN it is in, from 0 (no tag) to 4095.
        vlan: u16,
        /// The address: `02:00:00:00:00:01`.
        mac: String,
    },
    /// Counts what MAC learning did. [`Reply::FdbStats`](crate::Reply::FdbStats)
    FdbStats,

    /// Counts what the workers' caches did. [`Reply::Cache`](crate::Reply::Cache)
    CacheShow,
    /// Lists the flows in the caches. Answer: text as [`Format`] says.
    /// [`Reply::Listed`](crate::Reply::Listed)
    DumpCachedFlows(CachedFlowQuery),
    /// Lists why frames were dropped. [`Reply::Drops`](crate::Reply::Drops)
    Drops,
    /// Follows a packet through the tables. [`Reply::Trace`](crate::Reply::Trace)
    Trace(TraceQuery),
    /// Changes the limits of MAC learning that are given.
    /// [`Reply::FdbStats`](crate::Reply::FdbStats)
    FdbConfigure {
        /// Seconds until a silent host is forgotten; `None` leaves it.
        ageing: Option<u64>,
        /// Hosts that are remembered at most; `None` leaves it.
        entries: Option<u64>,
    },
    /// Tells what the threads do that forward. [`Reply::Workers`](crate::Reply::Workers)
    Workers,
    /// Tells what happens from now on. [`Reply::Done`](crate::Reply::Done), and then, until the client closes
    /// the connection: text as [`Format`] says, one event a line, in JSON an
    /// [`EventRecord`](crate::record::EventRecord). The session takes no further request. Without
    /// [`Request::bridge`] it is about every bridge.
    Monitor(MonitorQuery),
    /// Returns when all packets that were received before are in the counters of their rules.
    /// [`Reply::Done`](crate::Reply::Done)
    Sync,
}

impl Operation {
    /// The request's word in JSON, for messages.
    pub fn name(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            Ok(serde_json::Value::Object(map)) => map.into_iter().map(|(name, _)| name).collect(),
            _ => String::new(),
        }
    }

    /// Whether text follows the request, up to [`Kind::End`](crate::frame::Kind::End).
    pub fn takes_text(&self) -> bool {
        matches!(self, Self::FlowMods(_) | Self::ReplaceFlows(_) | Self::GroupMods(_))
    }
}

/// What happens to the rules of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowCommand {
    /// The rules are added; one with the same match and priority is replaced.
    #[default]
    Add,
    /// The rules that a line's match covers get its actions.
    Modify,
    /// The rule with exactly a line's match and priority gets its actions.
    ModifyStrict,
    /// The rules that a line's match covers are deleted; an empty line covers every rule.
    Delete,
    /// The rule with exactly a line's match and priority is deleted.
    DeleteStrict,
}

/// A transaction on rules: the text that follows holds in full, or changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowMods {
    /// What to do with lines that do not begin with a command of their own.
    pub command: FlowCommand,
    /// The text is a file: lines may begin with `add`, `modify`, `modify_strict`, `delete` or
    /// `delete_strict`, and those with nothing but a comment are skipped. Otherwise it is one rule.
    pub file: bool,
    /// The OpenFlow version whose dialect the text is in.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// Text that Open vSwitch takes and silently alters is taken likewise, not refused.
    pub lenient: bool,
    /// What the text is called in messages: `flows.txt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The lines that people read.
    #[default]
    Text,
    /// One JSON record a line.
    Json,
}

/// Which rules, and how to show them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowQuery {
    /// `tcp,table=1`, `cookie=0x1/-1`, `out_port=2`; empty is every rule.
    pub filter: String,
    /// The OpenFlow version whose dialect the filter and the answer are in.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// How the list is written.
    pub format: Format,
    /// Ports appear with their names instead of their numbers.
    pub names: bool,
    /// Counters and ages are shown, too.
    pub stats: bool,
    /// `idle_age` and `hard_age` are shown, too.
    pub ages: bool,
}

impl Default for FlowQuery {
    fn default() -> Self {
        Self {
            filter: String::new(),
            version: OfVersion::default(),
            format: Format::default(),
            names: false,
            stats: true,
            ages: false,
        }
    }
}

/// Which cached flows, and how to show them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedFlowQuery {
    /// A match: flows that its packets may belong to are listed. Empty is every flow.
    pub filter: String,
    /// How the list is written.
    pub format: Format,
    /// Ports appear with their names instead of their numbers.
    pub names: bool,
    /// Each flow comes with what made its translation look at its bits.
    pub why: bool,
}

/// Which events, and how to tell them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorQuery {
    /// Kinds of events; none is all.
    pub kinds: Vec<EventKind>,
    /// The dialect of rules and groups.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// How they are written.
    pub format: Format,
    /// Port names instead of numbers.
    pub names: bool,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Rules that are added, changed or removed.
    Flows,
    /// Groups that are added, changed or removed.
    Groups,
    /// Ports that are added, changed or removed.
    Ports,
    /// Hosts that are learned, move or are forgotten.
    Hosts,
    /// Bridges that are added or removed.
    Bridges,
}

impl EventKind {
    /// All kinds with their words.
    pub const NAMES: [(Self, &str); 5] = [
        (Self::Flows, "flows"),
        (Self::Groups, "groups"),
        (Self::Ports, "ports"),
        (Self::Hosts, "hosts"),
        (Self::Bridges, "bridges"),
    ];

    /// The kind with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(_, name)| *name == word).map(|(kind, _)| kind)
    }
}

/// What happens to the groups of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupCommand {
    /// The groups are added; it is an error if one exists.
    #[default]
    Add,
    /// The groups replace those of the same number; it is an error if one does not exist.
    Modify,
    /// The groups replace those of the same number, or are added.
    AddOrModify,
    /// The groups are deleted with the rules that use them; an empty line deletes every group.
    Delete,
    /// The buckets of a line are added to those of its group.
    InsertBuckets,
    /// The buckets that a line names are removed from its group.
    RemoveBuckets,
}

/// A transaction on groups: the text that follows holds in full, or changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMods {
    /// What to do with lines that do not begin with a command of their own.
    pub command: GroupCommand,
    /// The text is a file, as with [`FlowMods::file`].
    pub file: bool,
    /// The OpenFlow version whose dialect the text is in.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// What Open vSwitch alters silently is taken, as with [`FlowMods::lenient`].
    pub lenient: bool,
    /// What the text is called in messages, as with [`FlowMods::name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A packet to send, as `ofctl packet-out` does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketOutRequest {
    /// Where it comes in, its bytes, and what to do with it:
    /// `in_port=1,packet=ffffffffffff02...,actions=TABLE`.
    pub text: String,
    /// The OpenFlow version whose dialect the text is in.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// What Open vSwitch alters silently is taken, as with [`FlowMods::lenient`].
    pub lenient: bool,
}

/// A packet to follow, and how to tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceQuery {
    /// The packet, as a match: `in_port=1,tcp,nw_dst=10.0.0.1`. With `packet` it says where that
    /// comes in, with `from` and `to` what is not known of these.
    pub flow: String,
    /// The packet itself, as hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packet: Option<String>,
    /// The host that sends it: a MAC address that was learned, or an IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The host that it is for, named in the same ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Each step comes with a sentence, and each look-up with the rules that lost.
    #[serde(default)]
    pub explain: bool,
    /// The OpenFlow version whose dialect the answer is in.
    #[serde(default, with = "crate::version")]
    pub version: OfVersion,
    /// Ports appear with their names instead of their numbers.
    pub names: bool,
}

/// Which groups, and how to show them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupQuery {
    /// The number of one group; `None` is all groups.
    pub group: Option<u32>,
    /// The OpenFlow version whose dialect the answer is in.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// How the list is written.
    pub format: Format,
    /// Ports appear with their names instead of their numbers.
    pub names: bool,
}

/// What a port can be told not to do (`OFPPC_*` in OpenFlow).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortFlag {
    /// The port is set down, and its device with it.
    Down,
    /// Frames that it receives are dropped.
    NoReceive,
    /// FLOOD and NORMAL's floods leave it out.
    NoFlood,
    /// Nothing is sent through it.
    NoForward,
    /// Table misses of its packets are not reported to a controller.
    NoPacketIn,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        let requests = [
            Operation::Show,
            Operation::FlowMods(FlowMods {
                command: FlowCommand::DeleteStrict,
                version: OfVersion::OpenFlow14,
                ..FlowMods::default()
            }),
            Operation::DumpPorts { port: Some("veth0".into()) },
            Operation::DumpFlows(FlowQuery::default()),
            Operation::Monitor(MonitorQuery {
                kinds: EventKind::NAMES.map(|(kind, _)| kind).into(),
                ..MonitorQuery::default()
            }),
        ];
        for operation in requests {
            let request = Request { bridge: Some("br0".into()), operation };
            let json = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request, "{json}");
        }
    }
}

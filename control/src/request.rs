//! What can be asked of the daemon.

use flow::types::OfVersion;
use serde::{Deserialize, Serialize};

/// A request: the operation and the bridge that it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// `None` is the only bridge, or `br0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// What to do.
    pub operation: Operation,
}

/// What to do. Each variant names the [`Reply`](crate::Reply) it is answered with; text that goes
/// with a request or its answer is mentioned there, all others have none.
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
    /// [`Reply::Tables`](crate::Reply::Tables)
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

    /// [`Reply::Switch`](crate::Reply::Switch)
    Show,
    /// [`Reply::PortStats`](crate::Reply::PortStats)
    DumpPorts {
        /// Name or number; `None` is all.
        port: Option<String>,
    },
    /// [`Reply::Ports`](crate::Reply::Ports)
    DumpPortsDesc {
        /// Name or number; `None` is all.
        port: Option<String>,
    },
    /// Adds a port. [`Reply::Done`](crate::Reply::Done)
    AddPort {
        /// As `switchd --port` takes it: `veth0`, `tap:tap0,tag=10`.
        spec: String,
    },
    /// Takes a port away. [`Reply::Done`](crate::Reply::Done)
    DelPort {
        /// Name or number.
        port: String,
    },
    /// Replaces the VLAN configuration of a port; what is not named returns to its default.
    /// [`Reply::Done`](crate::Reply::Done)
    SetPort {
        /// Name or number.
        port: String,
        /// `tag=10 vlan_mode=access trunks=1,2`
        settings: String,
    },
    /// Changes how a port behaves. [`Reply::Done`](crate::Reply::Done)
    ModPort {
        /// Name or number.
        port: String,
        /// What.
        flag: PortFlag,
        /// To what.
        on: bool,
    },

    /// Answer: text, one JSON [`FdbRecord`](crate::record::FdbRecord) a line.
    /// [`Reply::Listed`](crate::Reply::Listed)
    FdbShow,
    /// Forgets learned addresses. [`Reply::Changed`](crate::Reply::Changed)
    FdbFlush {
        /// Name or number; `None` is all.
        port: Option<String>,
    },
    /// Adds an address that neither ages nor moves. [`Reply::Done`](crate::Reply::Done)
    FdbAdd {
        /// Name or number.
        port: String,
        /// 0 to 4095.
        vlan: u16,
        /// `02:00:00:00:00:01`
        mac: String,
    },
    /// Removes an address of either kind. [`Reply::Done`](crate::Reply::Done)
    FdbDel {
        /// 0 to 4095.
        vlan: u16,
        /// `02:00:00:00:00:01`
        mac: String,
    },
    /// [`Reply::FdbStats`](crate::Reply::FdbStats)
    FdbStats,

    /// [`Reply::Cache`](crate::Reply::Cache)
    CacheShow,
    /// Lists the flows in the caches. Answer: text as [`Format`] says.
    /// [`Reply::Listed`](crate::Reply::Listed)
    DumpCachedFlows(CachedFlowQuery),
    /// [`Reply::Drops`](crate::Reply::Drops)
    Drops,
    /// Follows a packet through the tables. [`Reply::Trace`](crate::Reply::Trace)
    Trace(TraceQuery),
    /// Changes the limits of learning, if any is given.
    /// [`Reply::FdbStats`](crate::Reply::FdbStats)
    FdbConfigure {
        /// Seconds until a silent host is forgotten.
        ageing: Option<u64>,
        /// Hosts at most.
        entries: Option<u64>,
    },
    /// [`Reply::Workers`](crate::Reply::Workers)
    Workers,
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

/// What happens to the rules of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowCommand {
    /// Add them.
    #[default]
    Add,
    /// Change the actions of the rules they cover.
    Modify,
    /// Change the actions of exactly these rules.
    ModifyStrict,
    /// Delete the rules they cover; an empty line deletes every rule.
    Delete,
    /// Delete exactly these rules.
    DeleteStrict,
}

/// A transaction on rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowMods {
    /// For lines that do not begin with a command of their own.
    pub command: FlowCommand,
    /// Lines may begin with `add`, `modify`, `modify_strict`, `delete` or `delete_strict`, lines
    /// with nothing but a comment are skipped: a file. Otherwise the text is one rule.
    pub file: bool,
    /// The dialect.
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
    /// The dialect of the filter and of the answer.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// How.
    pub format: Format,
    /// Port names instead of numbers.
    pub names: bool,
    /// Counters and ages too.
    pub stats: bool,
    /// `idle_age` and `hard_age` too.
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
    /// A match: the flows that its packets may belong to; empty is every flow.
    pub filter: String,
    /// How.
    pub format: Format,
    /// Port names instead of numbers.
    pub names: bool,
    /// With each flow what made it look at the bits it looks at.
    pub why: bool,
}

/// What happens to the groups of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupCommand {
    /// Add them.
    #[default]
    Add,
    /// Replace groups that exist.
    Modify,
    /// Replace or add.
    AddOrModify,
    /// Delete groups, and the rules that use them; an empty line deletes every group.
    Delete,
    /// Put buckets in.
    InsertBuckets,
    /// Take buckets out.
    RemoveBuckets,
}

/// A transaction on groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMods {
    /// For lines that do not begin with a command of their own.
    pub command: GroupCommand,
    /// As [`FlowMods::file`].
    pub file: bool,
    /// The dialect.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// As [`FlowMods::lenient`].
    pub lenient: bool,
    /// As [`FlowMods::name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A packet to send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketOutRequest {
    /// `in_port=1,packet=ffffffffffff02...,actions=TABLE`
    pub text: String,
    /// The dialect.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// As [`FlowMods::lenient`].
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
    /// The host that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Sentences, and the rules that lost.
    #[serde(default)]
    pub explain: bool,
    /// The dialect of the answer.
    #[serde(default, with = "crate::version")]
    pub version: OfVersion,
    /// Port names in the answer instead of numbers.
    pub names: bool,
}

/// Which groups, and how to show them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupQuery {
    /// `None` is all.
    pub group: Option<u32>,
    /// The dialect of the answer.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// How.
    pub format: Format,
    /// Port names instead of numbers.
    pub names: bool,
}

/// How a port behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortFlag {
    /// Administratively down.
    Down,
    /// Frames that come in are dropped.
    NoReceive,
    /// Left out by FLOOD.
    NoFlood,
    /// Nothing is sent.
    NoForward,
    /// Table misses send no packet-in.
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
        ];
        for operation in requests {
            let request = Request { bridge: Some("br0".into()), operation };
            let json = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request, "{json}");
        }
    }
}

//! The trace of a packet, as `ofctl trace` shows it.

use super::DropCause;
use serde::{Deserialize, Serialize};

/// The trace of a packet: the rules and actions that it meets, and what the datapath does with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRecord {
    /// The packet as a match of all the fields that extraction read.
    pub flow: String,
    /// The rules and actions, in the order in which the packet meets them.
    pub steps: Vec<TraceStepRecord>,
    /// The packet behind the last action; `None` if no action changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_flow: Option<String>,
    /// The fields that the translation looked at, as a match. Every packet of this match gets the same verdict.
    pub megaflow: String,
    /// The datapath actions, in the notation of `ovs-dpctl dump-flows`.
    pub datapath_actions: String,
    /// Why the packet is dropped; `None` if it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<DropCause>,
    /// Whether the kernel cache can have the flow of the packet: `yes`, or `no (REASON)`. `None` in a switch
    /// without kernel cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_cache: Option<String>,
    /// The hosts that `NORMAL` would learn from the packet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learns: Vec<LearnRecord>,
    /// What the trace has assumed of a packet of which not everything was said, a sentence each. Only the first
    /// pass has notes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The end of the trace in a sentence; `None` unless the request asks for an explanation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The trace of the next pass, if the datapath recirculates the packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recirculated: Option<Box<TraceRecord>>,
}

/// A host that `NORMAL` would learn from a traced packet. The trace itself changes no MAC table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnRecord {
    /// The host's MAC address: `02:00:00:00:00:01`.
    pub mac: String,
    /// The host's VLAN; 0 if its frames have no tag.
    pub vlan: u16,
    /// The OpenFlow number of the port that the host would get.
    pub port: u16,
    /// The name of that port; `None` unless the request asks for names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The port that the host has in the MAC table now; `None` if the table does not have the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_port: Option<u16>,
    /// The name of that port; `None` unless the request asks for names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_name: Option<String>,
}

/// A rule of the same table that came near to matching a traced packet, and was not carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRecord {
    /// The match of the rule, without the priority: `tcp,in_port=1`.
    pub r#match: String,
    /// The priority of the rule.
    pub priority: u16,
    /// Why another rule was carried out: the name of a field whose value differs, `priority` or `order`.
    pub on: String,
    /// The same in a sentence, with the values of the packet and the rule.
    pub message: String,
}

/// One step of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStepRecord {
    /// How many `resubmit`s, groups and patch ports enclose the step; 0 outside all of them.
    pub depth: u32,
    /// The content of the step, whose fields are those of the step in JSON.
    #[serde(flatten)]
    pub event: TraceEventRecord,
}

/// The content of a step of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceEventRecord {
    /// A rule matched the packet. Its actions are the steps behind this one.
    Rule {
        /// The table that the rule is in.
        table: u8,
        /// The match of the rule, without the priority: `tcp,in_port=1`.
        r#match: String,
        /// The priority of the rule.
        priority: u16,
        /// The cookie of the rule in hexadecimal; `None` if it is 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cookie: Option<String>,
        /// The name of the rule; `None` if it has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The rule that made this one of a packet (`learn`): `table=0,priority=5,tcp`. `None` if somebody has
        /// added the rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        learned_by: Option<String>,
        /// Whether the rule has no actions, which drops the packet.
        #[serde(default)]
        is_empty: bool,
    },
    /// The packet was looked up in a table, and no rule matched.
    Miss {
        /// The table of the lookup.
        table: u8,
    },
    /// The rules that came nearest to being carried out in the lookup before. Only if the
    /// request asks for an explanation.
    Lost {
        /// The rules, the nearest one first.
        rules: Vec<LostRecord>,
        /// How many further rules were compared.
        others: u64,
        /// Whether only a part of the table's rules was compared, because there are too many.
        is_limited: bool,
    },
    /// A `resubmit` is done, and the remaining actions of the rule that has it follow.
    Resume {
        /// The table of that rule.
        table: u8,
    },
    /// An action of the rule, as text.
    Action(String),
    /// The packet goes through a patch port into the bridge of this name.
    Bridge(String),
    /// A bucket of the group in the step before, by its index in the list.
    Bucket(u64),
    /// The pipeline has ended, and the action set that `write_actions` filled is carried out.
    ActionSet {},
    /// The effect of the action in the step before, such as the ports of a flood.
    Note(String),
    /// The step before in a sentence. Only if the request asks for an explanation.
    Sentence(String),
    /// The trace is longer than the daemon tells. No further step of this pass follows.
    Omitted {
        /// How many steps are left out.
        steps: u64,
    },
}

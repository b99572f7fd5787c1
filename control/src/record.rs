//! What the daemon tells: one structure for each kind of entry.
//!
//! They are what `--json` prints, field by field, so their names are part of the interface. Numbers
//! of 64 bits that are not counts (cookies, datapath ids) are hexadecimal text, because most readers
//! of JSON cannot hold them.

use serde::{Deserialize, Serialize};

/// A rule of a flow table, with its counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// Hexadecimal: `0x2a`.
    pub cookie: String,
    /// The table it is in, from 0 to 253.
    pub table: u8,
    /// Of the rules that match a packet, the one with the largest number wins.
    pub priority: u16,
    /// Which packets it matches, without the priority: `tcp,in_port=1`.
    pub r#match: String,
    /// What happens to them, as `add-flow` takes it: `mod_tp_dst:80,output:2`.
    pub actions: String,
    /// Packets it decided about, cached flows included.
    pub n_packets: u64,
    /// Bytes of these packets, Ethernet headers included.
    pub n_bytes: u64,
    /// Seconds since the rule was added.
    pub duration: f64,
    /// Seconds without traffic after which the rule is deleted; 0 is never.
    pub idle_timeout: u16,
    /// Seconds after which the rule is deleted, with traffic or without; 0 is never.
    pub hard_timeout: u16,
    /// Seconds since the last packet it matched, or since it was added.
    pub idle_age: u64,
    /// Seconds since the rule was last changed.
    pub hard_age: u64,
    /// The larger, the later it is evicted from a full table (OpenFlow 1.4).
    pub importance: u16,
    /// Flags as `add-flow` takes them: `send_flow_rem`, `reset_counts`.
    pub flags: Vec<String>,
    /// The name that no other rule has; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The label that it shares with other rules; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// Sums over the rules that a request covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Packets that these rules matched.
    pub packet_count: u64,
    /// Bytes of these packets.
    pub byte_count: u64,
    /// How many rules there are.
    pub flow_count: u64,
}

/// A flow table: how full it is, and how often it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// Its number, from 0 to 253.
    pub table: u8,
    /// Rules that are in it now.
    pub active: u64,
    /// Packets that were looked up in it, cached flows included.
    pub lookup: u64,
    /// Packets of these that a rule matched.
    pub matched: u64,
    /// Rules it can hold.
    pub max_entries: u64,
}

/// An OpenFlow group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The number by which rules name it.
    pub group_id: u32,
    /// `all`, `select`, `indirect` or `ff`.
    pub r#type: String,
    /// Its buckets, in the order in which they are tried.
    pub buckets: Vec<BucketRecord>,
    /// The whole group as text, as `add-group` takes it.
    pub text: String,
}

/// A bucket of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRecord {
    /// A number that is unique in the group.
    pub bucket_id: u32,
    /// Share of the packets, in a group of type `select`: 2 gets twice as many as 1.
    pub weight: u16,
    /// The bucket is alive while this port is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_port: Option<String>,
    /// The bucket is alive while this group has a bucket that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_group: Option<u32>,
    /// What happens to the packets that it gets.
    pub actions: String,
}

/// Counters of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupStatsRecord {
    /// The number by which rules name the group.
    pub group_id: u32,
    /// Seconds since the group was added.
    pub duration: f64,
    /// Rules and groups that send packets to it.
    pub ref_count: u32,
    /// Packets that came to the group.
    pub packet_count: u64,
    /// Bytes of these packets.
    pub byte_count: u64,
    /// Counters of its buckets, in their order.
    pub buckets: Vec<BucketStatsRecord>,
}

/// Counters of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketStatsRecord {
    /// Packets that the bucket got.
    pub packet_count: u64,
    /// Bytes of these packets.
    pub byte_count: u64,
}

/// A bridge in the list of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeRecord {
    /// Name of the bridge.
    pub bridge: String,
    /// The bridge's identifier in OpenFlow: 16 hexadecimal digits.
    pub datapath_id: String,
    /// How many ports it has.
    pub ports: u64,
}

/// A bridge, as `ofctl show` tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchRecord {
    /// Name of the bridge.
    pub bridge: String,
    /// The bridge's identifier in OpenFlow: 16 hexadecimal digits.
    pub datapath_id: String,
    /// How many flow tables it has.
    pub n_tables: u16,
    /// Its ports, by number.
    pub ports: Vec<PortRecord>,
    /// The memory for receive rings of all bridges.
    #[serde(default)]
    pub ring_memory: RingMemoryRecord,
}

/// The memory for receive rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingMemoryRecord {
    /// Bytes that all rings of the process occupy.
    pub used: u64,
    /// Bytes that they should not exceed: `switchd --ring-memory`.
    pub budget: u64,
}

/// A port: what it is, how it is configured, and what state it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRecord {
    /// Its OpenFlow number, by which rules name it.
    pub port: u16,
    /// Its name, which no other port has.
    pub name: String,
    /// Its hardware address: `02:00:00:00:00:01`.
    pub mac: String,
    /// What carries its frames: `system`, `tap`, `internal`, `dummy`.
    pub kind: String,
    /// How it is told to behave, in the words of OpenFlow: `PORT_DOWN`, `NO_FLOOD`.
    pub config: Vec<String>,
    /// `LINK_DOWN`; with OpenFlow 1.1 and later `LIVE`.
    pub state: Vec<String>,
    /// Bytes of an Ethernet payload, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The device's VLAN configuration, as `set-port` takes it; empty is the default.
    pub vlan: String,
    /// `shielded` or `exposed`: whether the host's own network stack sees the port's frames. Only
    /// for devices of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_stack: Option<String>,
    /// The receive ring: `4096 slots of 2048 bytes, 8.0 MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rx_ring: Option<String>,
    /// Why the port does not work, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Something that happened. In JSON the word for it is the field `event`: `flow_added`, `lost`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventRecord {
    /// There is a new rule.
    FlowAdded {
        /// The name of the bridge that the rule belongs to.
        bridge: String,
        /// The rule as it was added.
        flow: FlowRecord,
    },
    /// A rule has other actions or another cookie.
    FlowModified {
        /// The name of the bridge that the rule belongs to.
        bridge: String,
        /// The rule as it is now.
        flow: FlowRecord,
    },
    /// A rule is gone.
    FlowDeleted {
        /// The name of the bridge that the rule belongs to.
        bridge: String,
        /// Why it is gone: `idle`, `hard`, `delete`, `group_delete` or `replaced`.
        reason: String,
        /// The rule, with its final counters.
        flow: FlowRecord,
    },
    /// There is a new group.
    GroupAdded {
        /// The name of the bridge that the group belongs to.
        bridge: String,
        /// The group as it was added.
        group: GroupRecord,
    },
    /// A group has another type or other buckets.
    GroupModified {
        /// The name of the bridge that the group belongs to.
        bridge: String,
        /// The group as it is now.
        group: GroupRecord,
    },
    /// A group is gone.
    GroupDeleted {
        /// The name of the bridge that the group belongs to.
        bridge: String,
        /// The number that the group had.
        group_id: u32,
    },
    /// There is a new port.
    PortAdded {
        /// The name of the bridge that the port belongs to.
        bridge: String,
        /// The port as it was added.
        port: PortEventRecord,
    },
    /// The link, the address or the settings of a port have changed.
    PortModified {
        /// The name of the bridge that the port belongs to.
        bridge: String,
        /// The port as it is now.
        port: PortEventRecord,
    },
    /// A port is gone.
    PortDeleted {
        /// The name of the bridge that the port belongs to.
        bridge: String,
        /// The port as it was.
        port: PortEventRecord,
    },
    /// A host was seen for the first time.
    HostLearned {
        /// The bridge that saw it.
        bridge: String,
        /// The host, and where it is.
        host: HostEventRecord,
    },
    /// A host was seen on another port than before.
    HostMoved {
        /// The bridge that saw it.
        bridge: String,
        /// OpenFlow number of the port where it was.
        from: u16,
        /// The host, and where it is now.
        host: HostEventRecord,
    },
    /// A user gave a host its port.
    HostAdded {
        /// The bridge that knows it.
        bridge: String,
        /// The host, and where it is.
        host: HostEventRecord,
    },
    /// A host is not known any more.
    HostDeleted {
        /// The bridge that knew it.
        bridge: String,
        /// Why it is not known any more: `expired`, `evicted` or `flushed`.
        reason: String,
        /// The host, and where it was.
        host: HostEventRecord,
    },
    /// There is a new bridge.
    BridgeAdded {
        /// The name of the bridge.
        bridge: String,
    },
    /// A bridge is gone.
    BridgeDeleted {
        /// The name that the bridge had.
        bridge: String,
    },
    /// Events are missing here, because they came faster than they were read.
    Lost {
        /// How many events are missing; with more than one bridge or kind perhaps fewer.
        count: u64,
    },
}

/// A port as an event tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortEventRecord {
    /// Its OpenFlow number, by which rules name it.
    pub port: u16,
    /// Its name, which no other port has.
    pub name: String,
    /// Its hardware address: `02:00:00:00:00:01`.
    pub mac: String,
    /// How it is told to behave, in the words of OpenFlow: `PORT_DOWN`, `NO_FLOOD`.
    pub config: Vec<String>,
    /// Its device is up and has a carrier.
    pub is_link_up: bool,
    /// VLANs and the like, as `set-port` takes them; empty is the default.
    pub settings: String,
}

/// A host as an event tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEventRecord {
    /// OpenFlow number of its port.
    pub port: u16,
    /// The port's name, if names are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The VLAN it is seen in; 0 for frames without a tag.
    pub vlan: u16,
    /// The host's address: `02:00:00:00:00:01`.
    pub mac: String,
}

/// Counters of a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PortStatsRecord {
    /// The port's OpenFlow number.
    pub port: u16,
    /// The port's name.
    pub name: String,
    /// Frames received, those dropped later included.
    pub rx_packets: u64,
    /// Bytes of the frames received.
    pub rx_bytes: u64,
    /// Frames that the port lost on the way in, for want of room.
    pub rx_dropped: u64,
    /// Frames that could not be read.
    pub rx_errors: u64,
    /// Frames that the port has sent.
    pub tx_packets: u64,
    /// Bytes of the frames sent.
    pub tx_bytes: u64,
    /// Frames that the port did not take, because its queue was full or its link down.
    pub tx_dropped: u64,
    /// Frames that the port refused for what they are, such as their length.
    pub tx_errors: u64,
    /// Seconds since the port was added.
    pub duration: f64,
}

/// A host that is known: the port and VLAN where its address was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbRecord {
    /// OpenFlow number of the port.
    pub port: u16,
    /// Name of the port.
    pub name: String,
    /// The VLAN it was seen in; 0 for frames without a tag.
    pub vlan: u16,
    /// The host's address: `02:00:00:00:00:01`.
    pub mac: String,
    /// Seconds since its last frame; `None` for a static entry, which does not age.
    pub age: Option<u64>,
}

/// Counters of MAC learning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbStatsRecord {
    /// Entries now, static ones included.
    pub current: u64,
    /// Entries that were added by hand, and neither age nor move.
    pub r#static: u64,
    /// Entries that there is room for.
    pub max: u64,
    /// Hosts learned since the start.
    pub learned: u64,
    /// Hosts forgotten because they were silent for too long.
    pub expired: u64,
    /// Hosts forgotten to make room for others.
    pub evicted: u64,
    /// Times a known host was seen at another port.
    pub moved: u64,
    /// Seconds until a silent host is forgotten.
    #[serde(default)]
    pub ageing: u64,
}

/// What the caches did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// Flows that all workers together have cached now.
    pub flows: u64,
    /// Counts of each worker's caches, by its number.
    pub workers: Vec<CacheCounts>,
}

/// What one worker's caches did. Each received packet is in one of the first four counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheCounts {
    /// Packets whose flow was found by their signature.
    pub hits: u64,
    /// Packets whose flow was found by probing masks.
    pub probe_hits: u64,
    /// Packets whose flow was not cached, and that went through the tables.
    pub misses: u64,
    /// Packets that needed a translation and were dropped, because their port had used up its
    /// budget.
    pub refused: u64,

    /// Signatures that there is room for.
    pub signatures: u64,
    /// Signatures that were written.
    pub admissions: u64,
    /// Signatures that were overwritten by those of other flows.
    pub signature_evictions: u64,

    /// Flows that are cached now.
    pub flows: u64,
    /// Flows that there is room for.
    pub max_flows: u64,
    /// Flows that were removed to make room for others.
    pub evictions: u64,
    /// Different masks that the cached flows have.
    pub masks: u64,
    /// Masks of these that packets are probed with.
    pub active_masks: u64,

    /// Times a cached flow was older than a change, and no change concerned it.
    pub restamps: u64,
    /// Times a cached flow was translated again because of a change.
    pub retranslations: u64,
    /// Times that translating a flow again gave the same verdict as before.
    pub revalidated: u64,

    /// Translations of new flows that a port may cause in a second while others' traffic is
    /// protected; 0 is any number.
    pub budget_rate: u64,
    /// Translations of new flows that a port may cause at once, after a time without any.
    pub budget_burst: u64,
    /// Translations that were paid for from the budgets.
    pub budget_used: u64,
    /// Established traffic is being protected now: the budget is in force.
    pub protecting: bool,
}

impl CacheCounts {
    /// The counts of both; the budget is each worker's own.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            probe_hits: self.probe_hits + other.probe_hits,
            misses: self.misses + other.misses,
            refused: self.refused + other.refused,
            signatures: self.signatures + other.signatures,
            admissions: self.admissions + other.admissions,
            signature_evictions: self.signature_evictions + other.signature_evictions,
            flows: self.flows + other.flows,
            max_flows: self.max_flows + other.max_flows,
            evictions: self.evictions + other.evictions,
            masks: self.masks + other.masks,
            active_masks: self.active_masks + other.active_masks,
            restamps: self.restamps + other.restamps,
            retranslations: self.retranslations + other.retranslations,
            revalidated: self.revalidated + other.revalidated,
            budget_rate: self.budget_rate.max(other.budget_rate),
            budget_burst: self.budget_burst.max(other.budget_burst),
            budget_used: self.budget_used + other.budget_used,
            protecting: self.protecting || other.protecting,
        }
    }
}

/// A cached flow: a verdict about the packets that agree in some bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CachedFlowRecord {
    /// The number of the worker that has it.
    pub worker: u32,
    /// Which packets, as `ovs-dpctl dump-flows` says it:
    /// `recirc_id(0),in_port(1),eth_type(0x0806)`.
    pub flow: String,
    /// Packets that the cached flow decided about.
    pub n_packets: u64,
    /// Bytes of these packets.
    pub n_bytes: u64,
    /// Seconds since the last packet; `None` if there was none.
    pub used: Option<f64>,
    /// Seconds since the flow was made.
    pub age: f64,
    /// What the datapath does: `set(eth(dst=02:00:00:00:00:01)),2`.
    pub actions: String,
    /// Why nothing is sent, if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<DropCause>,
    /// What made the translation look at its bits, if that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<ReasonRecord>,
}

/// Why a cached flow depends on some bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonRecord {
    /// The bits, written as in [`CachedFlowRecord::flow`].
    pub bits: String,
    /// `always`, `rule`, `other_rules`, `miss`, `action` or `changed`.
    pub cause: String,
    /// The table of the rule or rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u8>,
    /// The rule or the action: `tcp, priority 100`, `dec_ttl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Frames that were not forwarded, by port and reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropsRecord {
    /// Frames that were received and dropped, by the port that received them.
    pub dropped: Vec<DropRecord>,
    /// Outputs that failed, by egress port; the frame may have left by another one.
    pub failed_outputs: Vec<DropRecord>,
}

/// How many frames one port lost for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRecord {
    /// OpenFlow number of the port.
    pub port: u16,
    /// Name of the port.
    pub name: String,
    /// The reason as one word: `table_miss`.
    pub reason: String,
    /// The reason as a sentence for people.
    pub meaning: String,
    /// Frames that were dropped for it.
    pub packets: u64,
}

/// A packet's way through the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRecord {
    /// The packet, as the switch understood it.
    pub flow: String,
    /// What happened, in order.
    pub steps: Vec<TraceStepRecord>,
    /// The packet at the end; `None` if unchanged.
    pub final_flow: Option<String>,
    /// What was looked at: every packet that agrees in this goes the same way.
    pub megaflow: String,
    /// What the datapath does.
    pub datapath_actions: String,
    /// Why nothing is sent, if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<DropCause>,
    /// Hosts that NORMAL learns from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learns: Vec<LearnRecord>,
    /// How it ends, in a sentence, if an explanation was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// What happens when the datapath looks the packet up again, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recirculated: Option<Box<TraceRecord>>,
}

/// A host that a packet makes known. A trace learns nothing; a packet would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnRecord {
    /// The host's address: `02:00:00:00:00:01`.
    pub mac: String,
    /// The VLAN it is seen in; 0 for frames without a tag.
    pub vlan: u16,
    /// The port where the packet shows it: a number, or a name if names were asked for.
    pub port: String,
    /// The port where it is known now, if it is.
    pub known: Option<String>,
}

/// A rule that could have been expected to win, and did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRecord {
    /// Its match and priority: `tcp,in_port=1, priority 10`.
    pub rule: String,
    /// What decided against it: the name of a field, `priority` or `order`.
    pub on: String,
    /// The same in words, with the values of packet and rule.
    pub reason: String,
}

/// What became of a packet that was made by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketOutRecord {
    /// Names of the ports that sent it.
    pub sent_to: Vec<String>,
    /// Why no port sent it, if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<DropCause>,
}

/// Why a packet is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCause {
    /// The reason as one word: `table_miss`.
    pub reason: String,
    /// The reason as a sentence for people.
    pub meaning: String,
}

/// One step of a packet on its way through the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStepRecord {
    /// How deep the step is nested in `resubmit`, groups and patch ports; 0 at the top.
    pub depth: u32,
    /// What happened in this step.
    #[serde(flatten)]
    pub event: TraceEventRecord,
}

/// What happened to a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceEventRecord {
    /// A rule matched, and its actions follow.
    Rule {
        /// The table that the rule is in.
        table: u8,
        /// Its match and priority: `tcp,in_port=1, priority 10`.
        text: String,
        /// Its cookie in hexadecimal; absent if it is 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cookie: Option<String>,
        /// Its name; absent without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// It has no actions, so the packet is dropped.
        #[serde(default)]
        is_empty: bool,
    },
    /// No rule of a table matched.
    Miss {
        /// The table that was asked.
        table: u8,
    },
    /// The rules that came nearest to winning the look-up before, if an explanation was asked for.
    Lost {
        /// The rules, the nearest first.
        rules: Vec<LostRecord>,
        /// How many rules lost that are not listed.
        others: u64,
        /// Only some of the rules were compared, because the table has too many.
        is_limited: bool,
    },
    /// A nested table is done, and the actions left of a rule that sent the packet there go on.
    Resume {
        /// The table of the rule that goes on.
        table: u8,
    },
    /// An action of the rule, as text.
    Action(String),
    /// The packet comes in at another bridge, of this name, through a patch port.
    Bridge(String),
    /// A bucket of the group before, by its place in the list, from 0.
    Bucket(u64),
    /// The actions that `write_actions` has gathered are carried out now.
    ActionSet,
    /// What came of the action before.
    Note(String),
    /// The action or the note before, in a sentence, if an explanation was asked for.
    Sentence(String),
}

/// A thread that forwards. Counts are since its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Its number, from 0.
    pub worker: u32,
    /// The processor it is bound to; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Share of its time in which there was something to do, from 0 to 100.
    pub busy_percent: f64,
    /// Frames that it has received.
    pub frames: u64,
    /// Batches that these frames came in.
    pub batches: u64,
    /// Nanoseconds of processor time for a frame, receiving and sending included.
    pub ns_per_frame: f64,
    /// How many batches had 1 frame, 2 to 3, 4 to 7, 8 to 15, 16 to 31, 32 to 63, and 64.
    pub sizes: Vec<u64>,
    /// Times it went to sleep because no frame came.
    pub sleeps: u64,
}

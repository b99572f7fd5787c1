//! What the daemon tells: one structure for each kind of entry.
//!
//! They are what `--json` prints, field by field, so their names are part of the interface. Numbers
//! of 64 bits that are not counts (cookies, datapath ids) are hexadecimal text, because most readers
//! of JSON cannot hold them.

use serde::{Deserialize, Serialize};

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// `0x2a`
    pub cookie: String,
    /// Table.
    pub table: u8,
    /// Priority.
    pub priority: u16,
    /// Which packets, without the priority: `tcp,in_port=1`.
    pub r#match: String,
    /// What happens to them.
    pub actions: String,
    /// Packets that matched.
    pub n_packets: u64,
    /// Their bytes.
    pub n_bytes: u64,
    /// Seconds since the rule was added.
    pub duration: f64,
    /// Seconds without traffic after which it goes; 0 never.
    pub idle_timeout: u16,
    /// Seconds after which it goes; 0 never.
    pub hard_timeout: u16,
    /// Seconds without traffic.
    pub idle_age: u64,
    /// Seconds since it was changed.
    pub hard_age: u64,
    /// How willingly it is evicted.
    pub importance: u16,
    /// `send_flow_rem` ...
    pub flags: Vec<String>,
    /// Its unique name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// Sums over rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Packets.
    pub packet_count: u64,
    /// Bytes.
    pub byte_count: u64,
    /// Rules.
    pub flow_count: u64,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// Number.
    pub table: u8,
    /// Rules in it.
    pub active: u64,
    /// Packets that were looked up.
    pub lookup: u64,
    /// Packets that a rule matched.
    pub matched: u64,
    /// Rules it can hold.
    pub max_entries: u64,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Number.
    pub group_id: u32,
    /// `all`, `select`, `indirect` or `ff`.
    pub r#type: String,
    /// In order.
    pub buckets: Vec<BucketRecord>,
    /// The same as text, as `add-group` takes it.
    pub text: String,
}

/// A bucket of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRecord {
    /// Unique in the group.
    pub bucket_id: u32,
    /// Share of the packets, in a `select` group.
    pub weight: u16,
    /// Alive while this port is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_port: Option<String>,
    /// Alive while this group has a bucket that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_group: Option<u32>,
    /// What happens to the packets.
    pub actions: String,
}

/// Counters of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupStatsRecord {
    /// Number.
    pub group_id: u32,
    /// Seconds since it was added.
    pub duration: f64,
    /// Rules that use it.
    pub ref_count: u32,
    /// Packets.
    pub packet_count: u64,
    /// Bytes.
    pub byte_count: u64,
    /// Of each bucket, in order.
    pub buckets: Vec<BucketStatsRecord>,
}

/// Counters of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketStatsRecord {
    /// Packets.
    pub packet_count: u64,
    /// Bytes.
    pub byte_count: u64,
}

/// The switch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchRecord {
    /// Name of the bridge.
    pub bridge: String,
    /// 16 hexadecimal digits.
    pub datapath_id: String,
    /// Number of tables.
    pub n_tables: u16,
    /// Ports.
    pub ports: Vec<PortRecord>,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRecord {
    /// OpenFlow number.
    pub port: u16,
    /// Name.
    pub name: String,
    /// Hardware address.
    pub mac: String,
    /// `system`, `tap`, `dummy` ...
    pub kind: String,
    /// `PORT_DOWN`, `NO_FLOOD` ...
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

/// Counters of a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PortStatsRecord {
    /// OpenFlow number.
    pub port: u16,
    /// Name.
    pub name: String,
    /// Frames received, dropped ones included.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames that the port lost on the way in.
    pub rx_dropped: u64,
    /// Frames that could not be read.
    pub rx_errors: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Frames that the port did not take.
    pub tx_dropped: u64,
    /// Frames that the port refused for what they are.
    pub tx_errors: u64,
    /// Seconds since the port was added.
    pub duration: f64,
}

/// A host's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbRecord {
    /// OpenFlow number.
    pub port: u16,
    /// Name of the port.
    pub name: String,
    /// 0 for untagged.
    pub vlan: u16,
    /// Address.
    pub mac: String,
    /// Seconds without traffic; `None` for an entry that does not age.
    pub age: Option<u64>,
}

/// Counters of MAC learning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbStatsRecord {
    /// Entries, static ones included.
    pub current: u64,
    /// Static entries.
    pub r#static: u64,
    /// Entries that fit.
    pub max: u64,
    /// Learned since the start.
    pub learned: u64,
    /// Aged out.
    pub expired: u64,
    /// Pushed out by others.
    pub evicted: u64,
    /// Seen on another port.
    pub moved: u64,
    /// Seconds until a silent host is forgotten.
    #[serde(default)]
    pub ageing: u64,
}

/// What the caches did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// Flows that are cached now.
    pub flows: u64,
    /// One for each worker.
    pub workers: Vec<CacheCounts>,
}

/// What one worker's caches did. Each received packet is in one of the first four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheCounts {
    /// Packets whose flow was found by their signature.
    pub hits: u64,
    /// Packets whose flow was found by probing masks.
    pub probe_hits: u64,
    /// Packets whose flow was not cached, and that went through the tables.
    pub misses: u64,
    /// Packets that would have had to, and were dropped: their port had used up its budget.
    pub refused: u64,

    /// Places for signatures.
    pub signatures: u64,
    /// Signatures written.
    pub admissions: u64,
    /// Signatures pushed out by others.
    pub signature_evictions: u64,

    /// Flows that are cached now.
    pub flows: u64,
    /// Places for flows.
    pub max_flows: u64,
    /// Flows pushed out by others.
    pub evictions: u64,
    /// Masks that the flows have.
    pub masks: u64,
    /// Masks that are probed.
    pub active_masks: u64,

    /// Times a flow was found stale, and no change concerned it.
    pub restamps: u64,
    /// Times a flow was translated again because of a change.
    pub retranslations: u64,
    /// Of these, times when the verdict was the same as before.
    pub revalidated: u64,

    /// Translations of new flows that a port may cause in a second while others' traffic is
    /// protected; 0 is any number.
    pub budget_rate: u64,
    /// And at once.
    pub budget_burst: u64,
    /// Translations that were paid for from the budgets.
    pub budget_used: u64,
    /// Established traffic is being protected: the budget is in force.
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
    /// The worker that has it.
    pub worker: u32,
    /// Which packets, as `ovs-dpctl dump-flows` says it:
    /// `recirc_id(0),in_port(1),eth_type(0x0806)`.
    pub flow: String,
    /// Packets.
    pub n_packets: u64,
    /// Their bytes.
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
    /// What made it look at its bits, if that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<ReasonRecord>,
}

/// Why a cached flow depends on some bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonRecord {
    /// The bits, as in the flow.
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

/// What was not forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropsRecord {
    /// Frames received and dropped.
    pub dropped: Vec<DropRecord>,
    /// Outputs that failed, by egress port; the frame may have left by another one.
    pub failed_outputs: Vec<DropRecord>,
}

/// One reason at one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRecord {
    /// OpenFlow number.
    pub port: u16,
    /// Name of the port.
    pub name: String,
    /// `table_miss` ...
    pub reason: String,
    /// What that means.
    pub meaning: String,
    /// Frames.
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
    /// `02:00:00:00:00:01`
    pub mac: String,
    /// 0 for untagged.
    pub vlan: u16,
    /// Number or name.
    pub port: String,
    /// The port where it is known now, if it is.
    pub known: Option<String>,
}

/// A rule that could have been expected to win, and did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRecord {
    /// Its match and priority: `tcp,in_port=1, priority 10`.
    pub rule: String,
    /// A field, `priority` or `order`.
    pub on: String,
    /// In words, with the values of packet and rule.
    pub reason: String,
}

/// What became of a packet that was made by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketOutRecord {
    /// Names of the ports that sent it.
    pub sent_to: Vec<String>,
    /// Why none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<DropCause>,
}

/// Why a packet is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCause {
    /// `table_miss` ...
    pub reason: String,
    /// What that means.
    pub meaning: String,
}

/// One step of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStepRecord {
    /// Nesting.
    pub depth: u32,
    /// What happened.
    #[serde(flatten)]
    pub event: TraceEventRecord,
}

/// What happened to a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceEventRecord {
    /// A rule matched.
    Rule {
        /// Its table.
        table: u8,
        /// Its match and priority: `tcp,in_port=1, priority 10`.
        text: String,
        /// Its cookie, if it is not 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cookie: Option<String>,
        /// Its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// It has no actions: it drops.
        #[serde(default)]
        is_empty: bool,
    },
    /// No rule matched.
    Miss {
        /// In this table.
        table: u8,
    },
    /// Of the look-up before: the rules that came nearest, if an explanation was asked for.
    Lost {
        /// The nearest first.
        rules: Vec<LostRecord>,
        /// How many more there are.
        others: u64,
        /// There were more rules than are compared.
        is_limited: bool,
    },
    /// The packet is back, and what was left of the rules of this table is done.
    Resume {
        /// Which.
        table: u8,
    },
    /// An action of the rule.
    Action(String),
    /// The packet comes in at another bridge, of this name, through a patch port.
    Bridge(String),
    /// A bucket of the group before: by its place in the list.
    Bucket(u64),
    /// What `write_actions` has gathered is done now.
    ActionSet,
    /// What came of that action.
    Note(String),
    /// The action or the note before, in a sentence, if an explanation was asked for.
    Sentence(String),
}

/// A thread that forwards. Numbers are since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Number.
    pub worker: u32,
    /// The processor it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Share of the time in which there was something to do.
    pub busy_percent: f64,
    /// Frames received.
    pub frames: u64,
    /// Batches that they came in.
    pub batches: u64,
    /// Time for a frame, everything included.
    pub ns_per_frame: f64,
    /// Batches of 1, 2 to 3, 4 to 7 ... 32 to 63 and 64 frames.
    pub sizes: Vec<u64>,
    /// Times it went to sleep.
    pub sleeps: u64,
}

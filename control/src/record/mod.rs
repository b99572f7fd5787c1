//! The records in the daemon's answers: one structure for each kind of entry.
//!
//! `ofctl --json` prints these records, so the names of their fields are part of the user interface. Cookies
//! and datapath ids, which need all of their 64 bits, are hexadecimal text: many JSON parsers round numbers
//! above 2^53. A field that is `None` or empty is left out of the JSON where its serde attribute says so.

mod cache;
mod confinement;
mod connection;
mod controller;
mod event;
mod meter;
mod rule;
mod table;
mod trace;

pub use cache::{CacheRecord, KernelCacheRecord};
pub use confinement::{ConfinementRecord, Enforcement};
pub use connection::{
    ConnectionLimitsRecord, ConnectionRecord, ConnectionStatsRecord, DirectionRecord,
    ZoneLimitRecord, ZoneTimeoutsRecord,
};
pub use controller::{ControllerRecord, SslRecord};
pub use event::{EventRecord, HostEventRecord, PortEventRecord};
pub use meter::{BandRecord, BandStatsRecord, MeterFeaturesRecord, MeterRecord, MeterStatsRecord};
pub use table::{TableDescRecord, VacancyRecord};
pub use trace::{LearnRecord, LostRecord, TraceEventRecord, TraceRecord, TraceStepRecord};

use flow::types::Fragments;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A rule of a flow table, with its counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// The rule's cookie in hexadecimal: `0x2a`.
    pub cookie: String,
    /// The rule's table, 0 to 253.
    pub table: u8,
    /// The rule's priority. Of the rules that match a packet, the one with the highest priority is carried out.
    pub priority: u16,
    /// The rule's match, without the priority: `tcp,in_port=1`.
    pub r#match: String,
    /// The rule's actions, as `add-flow` takes them: `mod_tp_dst:80,output:2`.
    pub actions: String,
    /// How many packets the rule has matched, including those that a cached flow forwarded.
    pub n_packets: u64,
    /// Bytes of these packets, Ethernet headers included.
    pub n_bytes: u64,
    /// Seconds since the rule was added.
    pub duration: f64,
    /// The rule expires after this many seconds without a packet; 0 means never.
    pub idle_timeout: u16,
    /// The rule expires this many seconds after it was added; 0 means never.
    pub hard_timeout: u16,
    /// Seconds since the rule last matched a packet, or since it was added if it never did.
    pub idle_age: u64,
    /// Seconds since the rule was added or last modified.
    pub hard_age: u64,
    /// Rank of the rule when a full table evicts rules: a rule of lower importance goes first (OpenFlow 1.4).
    pub importance: u16,
    /// The flags that are set, as `add-flow` takes them: `send_flow_rem`, `reset_counts`.
    pub flags: Vec<String>,
    /// The rule's name, which no other rule of the bridge has; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The rule's label, which several rules may share; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The rule that made this one of a packet (`learn`): `table=0,priority=5,tcp`. `None` if somebody has
    /// added the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned_by: Option<String>,
}

/// The sums of the counters of the rules that a filter selects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// How many packets these rules have matched.
    pub n_packets: u64,
    /// Bytes of these packets, Ethernet headers included.
    pub n_bytes: u64,
    /// How many rules the filter selects.
    pub n_flows: u64,
}

/// The counters of a flow table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// The number of the table, 0 to 253.
    pub table: u8,
    /// How many rules the table has now.
    pub n_flows: u64,
    /// How many packets were looked up in the table, including those that a cached flow forwarded.
    pub n_lookups: u64,
    /// How many of these packets a rule matched.
    pub n_matched: u64,
    /// How many rules the table can have.
    pub max_flows: u64,
}

/// An OpenFlow group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The number by which `group:ID` names the group.
    pub group_id: u32,
    /// The type of the group: `all`, `select`, `indirect` or `ff`.
    pub r#type: String,
    /// The buckets, in the order in which a group of type `ff` tries them.
    pub buckets: Vec<BucketRecord>,
    /// The group as text, as `add-group` takes it.
    pub text: String,
}

/// A bucket of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRecord {
    /// The number of the bucket, unique in its group.
    pub bucket_id: u32,
    /// In a group of type `select`, the bucket's share of the flows: a bucket of weight 2 gets twice as many as
    /// one of weight 1. In other groups 0.
    pub weight: u16,
    /// The bucket is alive while this port is up; `None` watches no port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_port: Option<u16>,
    /// The bucket is alive while this group has a live bucket; `None` watches no group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_group: Option<u32>,
    /// The actions that are carried out on a packet of the bucket.
    pub actions: String,
}

/// The counters of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupStatsRecord {
    /// The number of the group.
    pub group_id: u32,
    /// Seconds since the group was added.
    pub duration: f64,
    /// How many rules and groups use this group.
    pub ref_count: u32,
    /// How many packets went into the group.
    pub n_packets: u64,
    /// Bytes of these packets, Ethernet headers included.
    pub n_bytes: u64,
    /// The counters of the buckets, in the order of the buckets.
    pub buckets: Vec<BucketStatsRecord>,
}

/// The counters of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketStatsRecord {
    /// How many packets the bucket got.
    pub n_packets: u64,
    /// Bytes of these packets, Ethernet headers included.
    pub n_bytes: u64,
}

/// A bridge, as `ofctl list-br` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeRecord {
    /// The name of the bridge.
    pub bridge: String,
    /// The bridge's identifier in OpenFlow: 16 hexadecimal digits.
    pub datapath_id: String,
    /// How many ports the bridge has.
    pub n_ports: u64,
}

/// A bridge with its ports, as `ofctl show` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchRecord {
    /// The name of the bridge.
    pub bridge: String,
    /// The bridge's identifier in OpenFlow: 16 hexadecimal digits.
    pub datapath_id: String,
    /// How many flow tables the bridge has.
    pub n_tables: u16,
    /// The ports of the bridge, in the order of their numbers.
    pub ports: Vec<PortRecord>,
    /// What the bridge does with IP fragments: `normal`, `drop` or `nx-match`.
    #[serde(default)]
    pub frags: Fragments,
    /// What the bridge does without a controller: `standalone` or `secure`.
    #[serde(default)]
    pub fail_mode: String,
    /// The versions of OpenFlow that the bridge speaks, the lowest one first: `OpenFlow13`.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// The controllers of the bridge, in the order in which they were named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<ControllerRecord>,
    /// The memory of the receive rings of all bridges.
    #[serde(default)]
    pub ring_memory: RingMemoryRecord,
    /// What the process can do; `None` if the switch is older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<ConfinementRecord>,
    /// The change of the switch that waits for `ofctl confirm`; `None` if none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingRecord>,
}

/// A change that is taken back unless `ofctl confirm` comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRecord {
    /// The change: `apply new.toml`.
    pub what: String,
    /// The user who has made the change.
    pub who: String,
    /// Whole seconds until the change is taken back.
    pub seconds_left: u64,
}

/// A difference between two states of a switch, of `plan`, `apply` and `rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// `add`, `remove` or `change`.
    pub action: String,
    /// The kind of thing: `ssl`, `zone-tp`, `bridge`, `controller`, `port`, `group`, `flow` or `host`.
    pub kind: String,
    /// The name of the bridge; empty for what is the switch's and no bridge's.
    pub bridge: String,
    /// The thing as text before the change; `None` if it is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The thing as text after the change; `None` if it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A state of the history, and the change that ended it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    /// The number by which `rollback` names the state.
    pub number: u64,
    /// The time of the change, in seconds since 1970 (UTC).
    pub time: u64,
    /// The user who has made the change.
    pub who: String,
    /// The change: `apply new.toml`.
    pub what: String,
    /// How many bridges, ports, groups, rules and hosts the change has added.
    pub n_added: u64,
    /// How many of these it has removed.
    pub n_removed: u64,
    /// How many of these it has changed.
    pub n_changed: u64,
}

/// What the daemon logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// The filter, as the environment variable `RUST_LOG` takes it: `info,switchd::bridge=debug`.
    pub filter: String,
}

/// The memory of the receive rings of the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingMemoryRecord {
    /// Size of all receive rings together, in bytes.
    pub used: u64,
    /// The limit in bytes that `switchd --ring-memory` set for them.
    pub budget: u64,
}

/// A port with its settings and its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRecord {
    /// The OpenFlow number by which rules name the port.
    pub port: u16,
    /// The name of the port, unique in the switch.
    pub name: String,
    /// The MAC address of the port's device: `02:00:00:00:00:01`.
    pub mac: String,
    /// The kind of the port: `system` (a network device), `tap`, `internal`, `patch`,
    /// `vxlan`, `geneve`, `gre` or `dummy`.
    pub kind: String,
    /// The flags that `mod-port` has set, in the words of OpenFlow: `PORT_DOWN`, `NO_FLOOD`.
    pub config: Vec<String>,
    /// The state of the port in the words of OpenFlow: `LINK_DOWN`, and with OpenFlow 1.1 and later `LIVE`.
    pub state: Vec<String>,
    /// The largest Ethernet payload that the device sends, in bytes; `None` if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The settings that differ from the defaults, as `set-port` takes them: `vlan_mode=access tag=10`.
    pub settings: String,
    /// `shielded` or `exposed`: whether the host's own network stack is kept from the port's frames or sees
    /// them. `None` for ports that are no device of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_stack: Option<String>,
    /// Whether frames of the port are forwarded by the kernel cache: `on`, or `off (REASON)`. `None` in a
    /// switch without kernel cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_cache: Option<String>,
    /// The receive rings; `None` for ports without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rx_ring: Option<RxRingRecord>,
    /// The tunnel of a tunnel port; `None` for any other port, and while the tunnel is not open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelRecord>,
    /// Why the port does not work, for humans; `None` if it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The tunnel of a tunnel port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelRecord {
    /// The options of the tunnel that differ from the defaults, as
    /// `add-port` takes them: `remote_ip=192.0.2.2,key=7`.
    pub options: String,
    /// The MTU of the way to the remote end that a frame was sent to last, in bytes from the outer IP header
    /// on; `None` before a frame was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_mtu: Option<u32>,
    /// Whether the kernel takes several datagrams at once.
    pub sends_groups: bool,
    /// Whether the route to the remote end leads through a port of this switch, so that nothing is sent.
    pub is_loop: bool,
    /// Whether the remote end is an address of the host itself, so that nothing is sent.
    #[serde(default)]
    pub is_self: bool,
    /// Datagrams that came to the UDP port, or by the protocol, of the tunnel, and that no tunnel port takes.
    pub strays: u64,
    /// What BFD says of the remote end: `up`, `down`, `init`; `None` without BFD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<String>,
}

/// Prints the tunnel as `ofctl show` does: `remote_ip=192.0.2.2,key=7, path MTU 1500`.
impl fmt::Display for TunnelRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.options)?;
        if let Some(mtu) = self.path_mtu {
            write!(f, ", path MTU {mtu}")?;
        }
        if let Some(bfd) = &self.bfd {
            write!(f, ", BFD {bfd}")?;
        }
        if self.is_loop {
            f.write_str(", the route leads through a port of this switch: nothing is sent")?;
        }
        if self.is_self {
            f.write_str(", the remote end is an address of this host: nothing is sent")?;
        }
        if !self.sends_groups {
            f.write_str(", no segment offload on this way")?;
        }
        match self.strays {
            0 => {}
            1 => f.write_str(", 1 datagram that no tunnel port takes")?,
            strays => write!(f, ", {strays} datagrams that no tunnel port takes")?,
        }
        Ok(())
    }
}

/// One end of a session of BFD. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdEndRecord {
    /// `admin_down`, `down`, `init` or `up`.
    pub state: String,
    /// Why the session went down last (RFC 5880 §4.1): `No Diagnostic`, `Control Detection Time Expired` ...
    pub diagnostic: String,
    /// The number of the session at this end, in hexadecimal; `0x0` if nobody knows it.
    pub discriminator: String,
    /// The shortest interval in which this end sends.
    pub min_tx: u64,
    /// The shortest interval in which this end receives.
    pub min_rx: u64,
    /// How many packets of this end in a row may be missing.
    pub mult: u64,
}

/// A session of BFD (`ofctl bfd-show`). Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdRecord {
    /// The OpenFlow number of the port.
    pub port: u16,
    /// The name of the port.
    pub name: String,
    /// Whether floods and groups use the port: they do unless its remote end is known to be down.
    pub is_forwarding: bool,
    /// The interval in which packets are sent, but for jitter.
    pub tx_interval: u64,
    /// The time without a packet after which the session goes down.
    pub detect_time: u64,
    /// How often the session went up or down.
    pub n_flaps: u64,
    /// What this end says.
    pub local: BfdEndRecord,
    /// What the other end said last.
    pub remote: BfdEndRecord,
}

/// An overlay: tunnels to several peers that make one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayRecord {
    /// The name of the overlay.
    pub overlay: String,
    /// The kind of its tunnels: `vxlan` or `geneve`.
    pub kind: String,
    /// The number of the network (VNI), 0 to 16777215.
    pub vni: u64,
    /// The further options of all its ports that differ from the defaults, as `switchd --overlay` takes them.
    pub options: String,
    /// Its peers, in the order of the bridge's ports.
    pub peers: Vec<OverlayPeerRecord>,
}

/// A peer of an overlay, and the port that leads to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayPeerRecord {
    /// The address of the peer.
    pub peer: String,
    /// The OpenFlow number of the port.
    pub port: u16,
    /// The name of the port.
    pub name: String,
    /// How many hosts are known to be behind the peer.
    pub n_hosts: u64,
    /// What BFD says of the peer: `up`, `down`, `init`; `None` without BFD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<String>,
    /// How many questions of ARP and neighbour discovery for these hosts were answered
    /// in place of being flooded.
    pub n_answered: u64,
    /// The IP addresses of these hosts that somebody has given, each as `IP@MAC`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<String>,
    /// Why the port does not work, for humans; `None` if it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The receive rings of a port, one for each queue. All of them have the same size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RxRingRecord {
    /// How many frames a ring holds at most.
    pub slots: u64,
    /// The room for a frame, in bytes.
    pub slot_size: u64,
    /// How many queues, and so rings, the port has.
    pub queues: u64,
    /// The memory of all rings of the port, in bytes.
    pub bytes: u64,
}

/// Prints the rings as `ofctl show` does: `4096 slots of 2048 bytes, 8.0 MiB`.
impl fmt::Display for RxRingRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slots of {} bytes", self.slots, self.slot_size)?;
        if self.queues > 1 {
            write!(f, " in {} queues", self.queues)?;
        }
        write!(f, ", {:.1} MiB", self.bytes as f64 / f64::from(1 << 20))
    }
}

/// The counters of a port (`ofctl dump-ports`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PortStatsRecord {
    /// The port's OpenFlow number.
    pub port: u16,
    /// The port's name.
    pub name: String,
    /// Frames that the port received, including those that the switch dropped later.
    pub rx_packets: u64,
    /// Bytes of these frames.
    pub rx_bytes: u64,
    /// Frames that were lost before the switch read them, because the receive ring was full.
    pub rx_dropped: u64,
    /// Frames that the kernel handed over and that could not be read.
    pub rx_errors: u64,
    /// Frames that the port has sent.
    pub tx_packets: u64,
    /// Bytes of these frames.
    pub tx_bytes: u64,
    /// Frames that the port did not send because its queue was full or its link was down.
    pub tx_dropped: u64,
    /// Frames that the port cannot send, for example because they are too long.
    pub tx_errors: u64,
    /// Seconds since the port was added.
    pub duration: f64,
}

/// An entry of a MAC table (`ofctl fdb-show`): the port and VLAN of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbRecord {
    /// The OpenFlow number of the host's port.
    pub port: u16,
    /// The name of the host's port.
    pub name: String,
    /// The host's VLAN; 0 if its frames have no tag.
    pub vlan: u16,
    /// The host's MAC address: `02:00:00:00:00:01`.
    pub mac: String,
    /// Seconds since the host's last frame; `None` for a static entry, which does not age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
}

/// The counters of MAC learning (`ofctl fdb-stats`), since the bridge was added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbStatsRecord {
    /// How many entries the MAC table has now, static ones included.
    pub current: u64,
    /// How many of them are static: a user added them, and they neither age nor move.
    pub r#static: u64,
    /// How many entries the table can have.
    pub max: u64,
    /// How many times a host was learned that the table did not have.
    pub learned: u64,
    /// How many entries were removed because their host was silent for `ageing` seconds.
    pub expired: u64,
    /// How many entries were removed from a full table to make room for new ones.
    pub evicted: u64,
    /// How many times a host was seen at another port than before.
    pub moved: u64,
    /// Seconds after which the entry of a silent host is removed.
    #[serde(default)]
    pub ageing: u64,
}

/// A cached flow: the verdict about all packets that agree in the bits of a mask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CachedFlowRecord {
    /// The number of the worker whose cache has the flow.
    pub worker: u32,
    /// The packets of the flow, in the notation of `ovs-dpctl dump-flows`:
    /// `recirc_id(0),in_port(1),eth_type(0x0806)`.
    pub flow: String,
    /// How many packets the flow has forwarded or dropped.
    pub n_packets: u64,
    /// Bytes of these packets.
    pub n_bytes: u64,
    /// Seconds since the last packet; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<f64>,
    /// Seconds since the flow was cached.
    pub age: f64,
    /// Whether the kernel forwards the packets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offloaded: bool,
    /// The datapath actions, in the notation of `ovs-dpctl dump-flows`: `set(eth(dst=02:00:00:00:00:01)),2`.
    pub actions: String,
    /// Why packets of the flow are dropped; `None` if they are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<DropCause>,
    /// Why the flow depends on its bits; empty unless the request asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<ReasonRecord>,
}

/// A reason why a cached flow depends on some bits of its packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonRecord {
    /// The bits, in the notation of [`CachedFlowRecord::flow`].
    pub bits: String,
    /// The kind of the reason: `always`, `rule`, `other_rules`, `miss`, `action`, `omitted` (steps
    /// beyond those that are remembered) or `changed`.
    pub cause: String,
    /// The table whose lookup read the bits; `None` for reasons without a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u8>,
    /// The rule or the action that needs the bits: `tcp, priority 100`, `dec_ttl`. `None` for other reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The counts of dropped frames (`ofctl drops`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropsRecord {
    /// Frames that were received and not sent, by ingress port and reason.
    pub dropped: Vec<DropRecord>,
    /// Outputs that failed, by egress port and reason. Another port may have sent the same frame.
    pub failed_outputs: Vec<DropRecord>,
}

/// How many frames one port lost for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRecord {
    /// The OpenFlow number of the port.
    pub port: u16,
    /// The name of the port.
    pub name: String,
    /// The name of the reason: `table_miss`.
    pub reason: String,
    /// The reason as a sentence for humans.
    pub meaning: String,
    /// How many frames were lost for this reason.
    pub n_packets: u64,
}

/// The result of a packet-out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketOutRecord {
    /// The names of the ports that sent the packet.
    pub sent_to: Vec<String>,
    /// Why the packet was dropped; `None` if a port sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<DropCause>,
}

/// Why a packet is dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCause {
    /// The name of the reason: `table_miss`.
    pub reason: String,
    /// The reason as a sentence for humans.
    pub meaning: String,
}

/// The load of a worker thread (`ofctl workers`). Counts begin with the start of the thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// The number of the worker, from 0.
    pub worker: u32,
    /// The number of the CPU that the worker is bound to; `None` if the scheduler chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// The share of its time that the worker spent on frames, in percent.
    pub busy_percent: f64,
    /// How many frames the worker has received.
    pub n_packets: u64,
    /// How many batches these frames came in.
    pub batches: u64,
    /// How many segments the worker has made in software, because a port's device or the
    /// frame left it no choice.
    #[serde(default)]
    pub segments: u64,
    /// CPU time for each frame in nanoseconds, including receiving and sending.
    pub ns_per_frame: f64,
    /// A histogram: how many batches had 1 frame, 2 to 3, 4 to 7, 8 to 15, 16 to 31, 32 to 63, and 64 frames.
    pub sizes: Vec<u64>,
    /// How many times the worker went to sleep because no frame had arrived.
    pub sleeps: u64,
}

/// The process that has taken over from the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRecord {
    /// The process id.
    pub pid: u32,
    /// Name and version of the program: `switchd 0.1.0`.
    pub program: String,
}

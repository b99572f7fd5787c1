//! [`Reply`], the result of a request that was carried out.

use crate::record::{
    Aggregate, BfdRecord, BridgeRecord, CacheRecord, ConnectionLimitsRecord, ConnectionStatsRecord,
    ControllerRecord, DropsRecord, FdbStatsRecord, HistoryRecord, LogRecord, OverlayRecord,
    PacketOutRecord, PortRecord, PortStatsRecord, RestartRecord, SslRecord, SwitchRecord,
    TableDescRecord, TableRecord, TraceRecord, WorkerRecord, ZoneTimeoutsRecord,
};
use serde::{Deserialize, Serialize};

/// The result of a request that was carried out. The documentation of each
/// [`Operation`](crate::Operation) names the variant that answers it. A request that was not carried out
/// is answered by a [`Refusal`](crate::Refusal).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reply {
    /// The request was carried out and has no result.
    Done,
    /// What the request has changed.
    Changed(Changed),
    /// How many entries the text in front of this reply has.
    Listed(u64),
    /// The sums of the counters of the requested rules.
    Aggregate(Aggregate),
    /// All tables of the bridge, in the order of their numbers 0 to 253.
    Tables(Vec<TableRecord>),
    /// How all tables of the bridge behave, in the order of their numbers 0 to 253.
    TableDescs(Vec<TableDescRecord>),
    /// All bridges, in the order in which they were added.
    Bridges(Vec<BridgeRecord>),
    /// The bridge and its ports.
    Switch(SwitchRecord),
    /// The requested ports.
    Ports(Vec<PortRecord>),
    /// The counters of the requested ports.
    PortStats(Vec<PortStatsRecord>),
    /// The sessions of BFD, in the order of their ports.
    Bfd(Vec<BfdRecord>),
    /// The overlays of the bridge, in the order in which they were added.
    Overlays(Vec<OverlayRecord>),
    /// The counters of MAC learning.
    FdbStats(FdbStatsRecord),
    /// How many connections there are, and what became of others.
    ConnectionStats(ConnectionStatsRecord),
    /// How many connections each part of the table has.
    ConnectionBuckets(Vec<u64>),
    /// How many connections there may be.
    ConnectionLimits(ConnectionLimitsRecord),
    /// The zones with timeouts of their own, by number.
    ZoneTimeouts(Vec<ZoneTimeoutsRecord>),
    /// The counters of every worker's caches.
    Cache(CacheRecord),
    /// The counts of dropped frames, by port and reason.
    Drops(DropsRecord),
    /// The rules and actions that a packet meets on its way through the tables.
    Trace(TraceRecord),
    /// The ports that sent the packet of a packet-out.
    PacketOut(PacketOutRecord),
    /// The states that can be returned to, the oldest one first.
    History(Vec<HistoryRecord>),
    /// What the daemon logs.
    Log(LogRecord),
    /// The load of every worker thread, in the order of their numbers.
    Workers(Vec<WorkerRecord>),
    /// The controllers of the bridge, in the order in which they were named.
    Controllers(Vec<ControllerRecord>),
    /// The files for TLS connections; `None` if there are none.
    Ssl(Option<SslRecord>),
    /// The process that has taken over.
    Restarted(RestartRecord),
}

/// What a request has changed, and what its sender should know about the change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// How many lines of the text were carried out, or how many entries were removed.
    pub count: u64,
    /// What was accepted and has no effect as things are, a sentence each: an output to a port that the bridge
    /// does not have. At most three sentences, however long the request is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

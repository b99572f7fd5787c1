//! How the daemon answers.

use crate::record::{
    Aggregate, BridgeRecord, CacheRecord, DropsRecord, FdbStatsRecord, PacketOutRecord, PortRecord,
    PortStatsRecord, SwitchRecord, TableRecord, TraceRecord, WorkerRecord,
};
use serde::{Deserialize, Serialize};

/// The result of a request that was carried out; one that was not is answered by a
/// [`Refusal`](crate::Refusal).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reply {
    /// The request was carried out, and there is no result.
    Done,
    /// How many requests of the text were carried out, or how many entries were removed.
    Changed(u64),
    /// How many entries were listed, in the text before this reply.
    Listed(u64),
    /// Sums over the rules that were asked for.
    Aggregate(Aggregate),
    /// All tables, from 0 to 253.
    Tables(Vec<TableRecord>),
    /// All bridges, in the order in which they were added.
    Bridges(Vec<BridgeRecord>),
    /// The bridge and its ports.
    Switch(SwitchRecord),
    /// The ports that were asked for.
    Ports(Vec<PortRecord>),
    /// Counters of the ports that were asked for.
    PortStats(Vec<PortStatsRecord>),
    /// What MAC learning did.
    FdbStats(FdbStatsRecord),
    /// What the caches of all workers did.
    Cache(CacheRecord),
    /// What was dropped, by port and reason.
    Drops(DropsRecord),
    /// A packet's way through the tables.
    Trace(TraceRecord),
    /// What became of a packet that was made by hand.
    PacketOut(PacketOutRecord),
    /// What the threads do that forward, by their numbers.
    Workers(Vec<WorkerRecord>),
}

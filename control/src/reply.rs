//! How the daemon answers.

use crate::record::{
    Aggregate, CacheRecord, DropsRecord, FdbStatsRecord, PacketOutRecord, PortRecord,
    PortStatsRecord, SwitchRecord, TableRecord, TraceRecord, WorkerRecord,
};
use serde::{Deserialize, Serialize};

/// The result of a request that was carried out; one that was not is answered by a
/// [`Refusal`](crate::Refusal).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reply {
    /// There is nothing to say.
    Done,
    /// So many requests were carried out, or entries removed.
    Changed(u64),
    /// So many entries were listed, in text before this.
    Listed(u64),
    /// Sums.
    Aggregate(Aggregate),
    /// Tables 0 to 253.
    Tables(Vec<TableRecord>),
    /// The switch and its ports.
    Switch(SwitchRecord),
    /// Ports.
    Ports(Vec<PortRecord>),
    /// Counters of ports.
    PortStats(Vec<PortStatsRecord>),
    /// Counters of MAC learning.
    FdbStats(FdbStatsRecord),
    /// Caches.
    Cache(CacheRecord),
    /// What was dropped, and why.
    Drops(DropsRecord),
    /// A packet's way.
    Trace(TraceRecord),
    /// What became of a packet that was made by hand.
    PacketOut(PacketOutRecord),
    /// Threads.
    Workers(Vec<WorkerRecord>),
}

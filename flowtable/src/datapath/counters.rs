//! Counters with one writer and any number of readers.

use flow::metric::{CacheCounts, CacheMetric};
use flow::verdict::DropReason;
use std::ops::Index;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that one thread writes and any thread reads. An addition is a plain load and store, which is
/// cheaper than a locked instruction. If two threads wrote, counts would be lost.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owner may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The value. Any thread may call this.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the value. Only the owner may call this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}

/// The values of every [`CacheMetric`] of one worker's caches. The worker writes, anybody reads.
#[derive(Debug)]
#[repr(align(64))]
pub struct CacheStats([Counter; CacheMetric::COUNT]);

impl CacheStats {
    /// The values at this moment. The worker may write one while others are read.
    pub fn counts(&self) -> CacheCounts {
        CacheCounts::from_fn(|metric| self[metric].get())
    }
}

impl Default for CacheStats {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl Index<CacheMetric> for CacheStats {
    type Output = Counter;

    #[inline(always)]
    fn index(&self, metric: CacheMetric) -> &Counter {
        &self.0[metric as usize]
    }
}

/// The counters that one worker has for one port.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct PortCounters {
    /// Frames that the port has received, including those that were dropped later.
    pub rx_packets: Counter,
    /// Bytes of the received frames.
    pub rx_bytes: Counter,
    /// Frames that the port has sent.
    pub tx_packets: Counter,
    /// Bytes of the sent frames.
    pub tx_bytes: Counter,
    /// Received frames for which at least one output port accepted an output.
    pub rx_sent: Counter,
    rx_dropped: ReasonCounters,
    tx_failed: ReasonCounters,
}

impl PortCounters {
    /// The counter of frames that this port received and that were dropped for `reason`.
    pub fn rx_dropped(&self, reason: DropReason) -> &Counter {
        &self.rx_dropped.0[reason as usize]
    }

    /// The counter of outputs to this port that failed for `reason`.
    pub fn tx_failed(&self, reason: DropReason) -> &Counter {
        &self.tx_failed.0[reason as usize]
    }

    /// How many frames this port received that were dropped, for all reasons together.
    pub fn rx_dropped_total(&self) -> u64 {
        self.rx_dropped.total()
    }
}

/// A counter for each reason, by the reason's discriminant.
#[derive(Debug)]
struct ReasonCounters([Counter; DropReason::COUNT]);

impl ReasonCounters {
    fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

impl Default for ReasonCounters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

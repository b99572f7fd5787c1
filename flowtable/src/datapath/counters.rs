//! Counters with one writer and any number of readers.

use flow::verdict::DropReason;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that one thread adds to and others read: an addition is a plain load and store, not a
/// locked instruction. Two writers would lose counts, never crash.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; for the owner only.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The value; for anybody.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the value; for the owner only.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}

/// What one worker counted for one port.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct PortCounters {
    /// Frames received, dropped ones included.
    pub rx_packets: Counter,
    /// Their bytes.
    pub rx_bytes: Counter,
    /// Frames sent.
    pub tx_packets: Counter,
    /// Their bytes.
    pub tx_bytes: Counter,
    /// Frames received here of which at least one output was accepted.
    pub rx_sent: Counter,
    rx_dropped: ReasonCounters,
    tx_failed: ReasonCounters,
}

impl PortCounters {
    /// Frames received here and dropped, by reason.
    pub fn rx_dropped(&self, reason: DropReason) -> &Counter {
        &self.rx_dropped.0[reason as usize]
    }

    /// Outputs to this port that failed, by reason.
    pub fn tx_failed(&self, reason: DropReason) -> &Counter {
        &self.tx_failed.0[reason as usize]
    }

    /// All frames received here and dropped.
    pub fn rx_dropped_total(&self) -> u64 {
        self.rx_dropped.total()
    }
}

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

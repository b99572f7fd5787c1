//! Groups under versions, with what they count.

use crate::classifier::Version;
use flow::group::Group;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A group with its counters.
#[derive(Debug)]
pub struct GroupEntry {
    /// What it does.
    pub group: Group,
    /// Age and counters.
    pub counters: Arc<GroupCounters>,
    /// Keys the choice of `select`.
    pub hasher: ahash::RandomState,
}

/// What a group counts.
#[derive(Debug)]
pub struct GroupCounters {
    /// When it was added.
    pub created: Duration,
    packets: AtomicU64,
    bytes: AtomicU64,
    buckets: Vec<(AtomicU64, AtomicU64)>,
}

impl GroupCounters {
    pub(super) fn new(created: Duration, buckets: usize) -> Self {
        Self {
            created,
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            buckets: (0..buckets).map(|_| Default::default()).collect(),
        }
    }

    /// Counts traffic through a bucket.
    pub fn add_bucket(&self, bucket: usize, packets: u64, bytes: u64) {
        if let Some((p, b)) = self.buckets.get(bucket) {
            p.fetch_add(packets, Ordering::Relaxed);
            b.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Counts traffic through the group.
    pub fn add(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Packets and bytes of the group.
    pub fn totals(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Packets and bytes of each bucket.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets.iter().map(|(p, b)| (p.load(Ordering::Relaxed), b.load(Ordering::Relaxed)))
    }
}

/// A group while some version sees it.
#[derive(Debug)]
pub(super) struct GroupSlot {
    pub(super) added: Version,
    pub(super) removed: Option<Version>,
    pub(super) entry: Arc<GroupEntry>,
}

impl GroupSlot {
    pub(super) fn is_visible(&self, version: Version) -> bool {
        self.added <= version && self.removed.is_none_or(|removed| version < removed)
    }
}

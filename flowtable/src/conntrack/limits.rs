//! How many connections there may be: in all, in a zone, and of one source address.
//!
//! A source address may have as many connections as there is room left. So an address that opens ever new connections
//! gets half of the table, and a second one a third. Counting is apart from the connections, because the connections of
//! an address are in all shards.

use super::tuple::CtTuple;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many connections there may be if nobody says otherwise, as in Open vSwitch.
pub const DEFAULT_MAX_CONNECTIONS: usize = 3_000_000;

/// Number of parts of the counts by source address, with a lock each.
const PARTS: usize = 64;

/// Why a connection is not remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CtRefusal {
    /// The table is full.
    Full,
    /// The source address has its share.
    Source,
    /// The zone has as many connections as it may have.
    Zone,
}

/// A zone that has a limit of its own or connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtZoneUse {
    /// The number of the zone.
    pub zone: u16,
    /// How many connections the zone may have; `None` if it has no limit.
    pub limit: Option<u32>,
    /// How many connections the zone has.
    pub connections: u32,
}

/// The limits that somebody has set, for another program to take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLimits {
    max: usize,
    /// The limit of all zones without one of their own.
    default: Option<u32>,
    /// Zones with limits of their own.
    zones: Vec<(u16, u32)>,
}

/// The limits, and how many connections count towards them.
#[derive(Debug)]
pub(super) struct CtLimits {
    max: AtomicUsize,
    count: AtomicUsize,
    sources: Box<[Mutex<Sources>; PARTS]>,
    zones: Mutex<ZoneCounts>,
    hasher: ahash::RandomState,
}

type Sources = HashMap<IpAddr, SourceCounts, ahash::RandomState>;

/// The connections of a source address.
#[derive(Clone, Copy, Debug, Default)]
struct SourceCounts {
    all: u32,
    /// Those of which both ends have been heard.
    answered: u32,
}

#[derive(Debug, Default)]
struct ZoneCounts {
    default_limit: Option<u32>,
    limits: HashMap<u16, u32>,
    counts: HashMap<u16, u32>,
}

impl CtLimits {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            max: AtomicUsize::new(DEFAULT_MAX_CONNECTIONS),
            count: AtomicUsize::new(0),
            sources: Box::new(std::array::from_fn(|_| {
                Mutex::new(HashMap::with_hasher(hasher.clone()))
            })),
            zones: Mutex::default(),
            hasher: hasher.clone(),
        }
    }

    /// Number of connections.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Sets the limit of a zone, or of all zones without one of their own.
    pub(super) fn set_zone(&self, zone: Option<u16>, limit: Option<u32>) {
        let mut zones = self.zones.lock();
        match (zone, limit) {
            (None, limit) => zones.default_limit = limit,
            (Some(zone), Some(limit)) => {
                zones.limits.insert(zone, limit);
            }
            (Some(zone), None) => {
                zones.limits.remove(&zone);
            }
        }
    }

    /// All limits, for another program.
    pub(super) fn keep(&self) -> KeptLimits {
        let zones = self.zones.lock();
        let own = zones.limits.iter().map(|(zone, limit)| (*zone, *limit)).collect();
        KeptLimits { max: self.max(), default: zones.default_limit, zones: own }
    }

    /// Takes over the limits of another program.
    pub(super) fn take_over(&self, kept: &KeptLimits) {
        self.set_max(kept.max);
        self.set_zone(None, kept.default);
        for (zone, limit) in &kept.zones {
            self.set_zone(Some(*zone), Some(*limit));
        }
    }

    /// The limit of all zones without one of their own, and each zone that has one or has connections.
    pub(super) fn zones(&self) -> (Option<u32>, Vec<CtZoneUse>) {
        let zones = self.zones.lock();
        let mut numbers: Vec<u16> =
            zones.limits.keys().chain(zones.counts.keys()).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        let of = |zone: u16| {
            let limit = zones.limits.get(&zone).copied().or(zones.default_limit);
            CtZoneUse { zone, limit, connections: zones.counts.get(&zone).copied().unwrap_or(0) }
        };
        (zones.default_limit, numbers.into_iter().map(of).collect())
    }

    /// Counts a connection whose first packet has this tuple, unless some limit forbids it.
    pub(super) fn admit(&self, original: &CtTuple) -> Result<(), CtRefusal> {
        let max = self.max();
        let source = original.address(&original.source);
        let mut of_source = self.part(&source).lock();
        let held = of_source.get(&source).copied().unwrap_or_default();
        let count = self.count();
        if count >= max {
            return Err(CtRefusal::Full);
        }
        if count + held.all as usize >= max {
            return Err(CtRefusal::Source);
        }
        {
            let mut zones = self.zones.lock();
            let limit = zones.limits.get(&original.zone).copied().or(zones.default_limit);
            let in_zone = zones.counts.entry(original.zone).or_default();
            if limit.is_some_and(|limit| *in_zone >= limit) {
                return Err(CtRefusal::Zone);
            }
            *in_zone += 1;
        }
        of_source.insert(source, SourceCounts { all: held.all + 1, ..held });
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Stops counting a connection. `is_answered` says whether it counts among the answered ones.
    pub(super) fn release(&self, original: &CtTuple, is_answered: bool) {
        let source = original.address(&original.source);
        let mut of_source = self.part(&source).lock();
        if let Some(held) = of_source.get_mut(&source) {
            held.all -= 1;
            held.answered -= u32::from(is_answered);
            if held.all == 0 {
                of_source.remove(&source);
            }
        }
        drop(of_source);
        let mut zones = self.zones.lock();
        if let Some(held) = zones.counts.get_mut(&original.zone) {
            *held -= 1;
            if *held == 0 {
                zones.counts.remove(&original.zone);
            }
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection that is counted already among the answered ones.
    pub(super) fn count_answered(&self, original: &CtTuple) {
        let source = original.address(&original.source);
        if let Some(held) = self.part(&source).lock().get_mut(&source) {
            held.answered += 1;
        }
    }

    /// Whether the source address of a packet with this tuple has an answered connection.
    pub(super) fn is_known(&self, tuple: &CtTuple) -> bool {
        let source = tuple.address(&tuple.source);
        self.part(&source).lock().get(&source).is_some_and(|held| held.answered > 0)
    }

    fn part(&self, source: &IpAddr) -> &Mutex<Sources> {
        &self.sources[self.hasher.hash_one(source) as usize % PARTS]
    }
}

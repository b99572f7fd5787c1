//! How many connections there may be: in all, in a zone, and of one source address.
//!
//! A source address may have as many connections as there is room left. So an address that opens ever new connections
//! gets half of the table, and a second one a third. Counting is apart from the connections, because the connections of
//! an address are in all shards.

use super::presence::Presence;
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

/// Number of bytes of the table that says of an address that it has no answered connection.
const ANSWERED: usize = 1 << 16;

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
    /// The addresses with answered connections.
    answered: Presence,
    zones: Mutex<ZoneCounts>,
    hasher: ahash::RandomState,
}

/// The connections of source addresses. IPv4 has a map of its own, whose entries take half as much memory: in a flood each
/// connection has another source address.
#[derive(Debug)]
struct Sources {
    ipv4: HashMap<[u8; 4], SourceCounts, ahash::RandomState>,
    ipv6: HashMap<[u8; 16], SourceCounts, ahash::RandomState>,
}

impl Sources {
    fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            ipv4: HashMap::with_hasher(hasher.clone()),
            ipv6: HashMap::with_hasher(hasher.clone()),
        }
    }

    fn get(&self, source: &IpAddr) -> SourceCounts {
        let counts = match source {
            IpAddr::V4(source) => self.ipv4.get(&source.octets()),
            IpAddr::V6(source) => self.ipv6.get(&source.octets()),
        };
        counts.copied().unwrap_or_default()
    }

    fn get_mut(&mut self, source: &IpAddr) -> Option<&mut SourceCounts> {
        match source {
            IpAddr::V4(source) => self.ipv4.get_mut(&source.octets()),
            IpAddr::V6(source) => self.ipv6.get_mut(&source.octets()),
        }
    }

    /// Counts one more connection of a source.
    fn add(&mut self, source: &IpAddr) {
        let counts = match source {
            IpAddr::V4(source) => self.ipv4.entry(source.octets()).or_default(),
            IpAddr::V6(source) => self.ipv6.entry(source.octets()).or_default(),
        };
        counts.all += 1;
    }

    fn remove(&mut self, source: &IpAddr) {
        match source {
            IpAddr::V4(source) => self.ipv4.remove(&source.octets()),
            IpAddr::V6(source) => self.ipv6.remove(&source.octets()),
        };
    }
}

/// The connections of a source address.
#[derive(Clone, Copy, Debug, Default)]
struct SourceCounts {
    all: u32,
    /// Those of which both ends have been heard.
    answered: u32,
}

#[derive(Debug)]
struct ZoneCounts {
    default_limit: Option<u32>,
    limits: HashMap<u16, u32>,
    counts: HashMap<u16, u32, ahash::RandomState>,
}

impl CtLimits {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            max: AtomicUsize::new(DEFAULT_MAX_CONNECTIONS),
            count: AtomicUsize::new(0),
            sources: Box::new(std::array::from_fn(|_| Mutex::new(Sources::new(hasher)))),
            answered: Presence::new(ANSWERED),
            zones: Mutex::new(ZoneCounts {
                default_limit: None,
                limits: HashMap::new(),
                counts: HashMap::with_hasher(hasher.clone()),
            }),
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
            let limit = zones.limit(zone);
            CtZoneUse { zone, limit, connections: zones.counts.get(&zone).copied().unwrap_or(0) }
        };
        (zones.default_limit, numbers.into_iter().map(of).collect())
    }

    /// Counts a connection whose first packet has this tuple, unless some limit forbids it.
    pub(super) fn admit(&self, original: &CtTuple) -> Result<(), CtRefusal> {
        let max = self.max();
        let (source, hash) = self.source_of(original);
        let mut of_source = self.part(hash).lock();
        let count = self.count();
        if count >= max {
            return Err(CtRefusal::Full);
        }
        if count + of_source.get(&source).all as usize >= max {
            return Err(CtRefusal::Source);
        }
        {
            let mut zones = self.zones.lock();
            let limit = zones.limit(original.zone);
            let in_zone = zones.counts.entry(original.zone).or_default();
            if limit.is_some_and(|limit| *in_zone >= limit) {
                return Err(CtRefusal::Zone);
            }
            *in_zone += 1;
        }
        of_source.add(&source);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Stops counting a connection. `is_answered` says whether it counts among the answered ones.
    pub(super) fn release(&self, original: &CtTuple, is_answered: bool) {
        let (source, hash) = self.source_of(original);
        let mut of_source = self.part(hash).lock();
        if let Some(held) = of_source.get_mut(&source) {
            held.all -= 1;
            held.answered -= u32::from(is_answered);
            if is_answered && held.answered == 0 {
                self.answered.remove(hash);
            }
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
        let (source, hash) = self.source_of(original);
        if let Some(held) = self.part(hash).lock().get_mut(&source) {
            if held.answered == 0 {
                self.answered.add(hash);
            }
            held.answered += 1;
        }
    }

    /// Whether the source address of a packet with this tuple has an answered connection.
    pub(super) fn is_known(&self, tuple: &CtTuple) -> bool {
        let (source, hash) = self.source_of(tuple);
        self.answered.may_have(hash) && self.part(hash).lock().get(&source).answered > 0
    }

    /// The source address of packets with this tuple, and its hash.
    fn source_of(&self, tuple: &CtTuple) -> (IpAddr, u64) {
        let source = tuple.address(&tuple.source);
        (source, self.hasher.hash_one(source))
    }

    /// The counts of source addresses with a hash.
    fn part(&self, hash: u64) -> &Mutex<Sources> {
        &self.sources[hash as usize % PARTS]
    }
}

impl ZoneCounts {
    fn limit(&self, zone: u16) -> Option<u32> {
        let own = if self.limits.is_empty() { None } else { self.limits.get(&zone).copied() };
        own.or(self.default_limit)
    }
}

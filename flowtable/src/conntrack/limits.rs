//! How many connections there may be: in all, in a zone, and of one source address.
//!
//! A source address may have as many connections as there is room left. So an address that opens ever new
//! connections gets half of the table, and a second one a third. Counting is apart from the connections,
//! because the connections of an address are in all shards.
//!
//! A packet that begins a connection takes no lock here as long as no zone has a limit, and touches little
//! memory: in a flood each connection has another source address.

use super::presence::{Presence, zeroed};
use super::tuple::CtTuple;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// How many connections there may be if nobody says otherwise, as in Open vSwitch.
pub const DEFAULT_MAX_CONNECTIONS: usize = 3_000_000;

/// Number of counters for the connections of source addresses. Addresses share one by chance, which hardly
/// matters: three million connections add 183 to each.
const SOURCES: usize = 1 << 14;

/// Number of zones.
const ZONES: usize = 1 << 16;

/// Number of parts of the counts of answered connections by source address, with a lock each.
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
    /// Numbers of connections by the hash of their source address.
    of_sources: Box<[AtomicU32]>,
    /// Numbers of connections by zone.
    of_zones: Box<[AtomicU32]>,
    /// Whether there is a limit for any zone.
    has_zone_limits: AtomicBool,
    zone_limits: Mutex<ZoneLimits>,
    /// Which addresses have answered connections.
    answered: Presence,
    answered_of: Box<[Mutex<AnsweredOf>; PARTS]>,
    hasher: ahash::RandomState,
}

/// How many answered connections source addresses have. IPv4 has a map of its own, whose entries take a third
/// of the memory.
#[derive(Debug)]
struct AnsweredOf {
    ipv4: HashMap<u32, u32, ahash::RandomState>,
    ipv6: HashMap<u128, u32, ahash::RandomState>,
}

impl AnsweredOf {
    fn new(hasher: &ahash::RandomState) -> Self {
        let (ipv4, ipv6) = (hasher.clone(), hasher.clone());
        Self { ipv4: HashMap::with_hasher(ipv4), ipv6: HashMap::with_hasher(ipv6) }
    }

    fn has(&self, source: IpAddr) -> bool {
        match source {
            IpAddr::V4(source) => self.ipv4.contains_key(&source.to_bits()),
            IpAddr::V6(source) => self.ipv6.contains_key(&source.to_bits()),
        }
    }

    /// Counts a connection of a source. Returns whether it is the first one.
    fn add(&mut self, source: IpAddr) -> bool {
        let held = match source {
            IpAddr::V4(source) => self.ipv4.entry(source.to_bits()).or_default(),
            IpAddr::V6(source) => self.ipv6.entry(source.to_bits()).or_default(),
        };
        *held += 1;
        *held == 1
    }

    /// Stops counting a connection of a source. Returns whether it was the last one.
    fn remove(&mut self, source: IpAddr) -> bool {
        match source {
            IpAddr::V4(source) => remove_one(&mut self.ipv4, source.to_bits()),
            IpAddr::V6(source) => remove_one(&mut self.ipv6, source.to_bits()),
        }
    }
}

/// Counts one less. Returns whether that was the last one, which is removed.
fn remove_one<K: Eq + Hash>(counts: &mut HashMap<K, u32, ahash::RandomState>, key: K) -> bool {
    let Some(held) = counts.get_mut(&key) else { return false };
    *held -= 1;
    let is_last = *held == 0;
    if is_last {
        counts.remove(&key);
    }
    is_last
}

#[derive(Debug, Default)]
struct ZoneLimits {
    /// The limit of all zones without one of their own.
    default: Option<u32>,
    own: HashMap<u16, u32>,
}

impl ZoneLimits {
    fn of(&self, zone: u16) -> Option<u32> {
        self.own.get(&zone).copied().or(self.default)
    }
}

impl CtLimits {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            max: AtomicUsize::new(DEFAULT_MAX_CONNECTIONS),
            count: AtomicUsize::new(0),
            of_sources: zeroed(SOURCES),
            of_zones: zeroed(ZONES),
            has_zone_limits: AtomicBool::new(false),
            zone_limits: Mutex::default(),
            answered: Presence::new(ANSWERED),
            answered_of: Box::new(std::array::from_fn(|_| Mutex::new(AnsweredOf::new(hasher)))),
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
        let mut limits = self.zone_limits.lock();
        match (zone, limit) {
            (None, limit) => limits.default = limit,
            (Some(zone), Some(limit)) => {
                limits.own.insert(zone, limit);
            }
            (Some(zone), None) => {
                limits.own.remove(&zone);
            }
        }
        let has_some = limits.default.is_some() || !limits.own.is_empty();
        self.has_zone_limits.store(has_some, Ordering::Relaxed);
    }

    /// All limits, for another program.
    pub(super) fn keep(&self) -> KeptLimits {
        let limits = self.zone_limits.lock();
        let own = limits.own.iter().map(|(zone, limit)| (*zone, *limit)).collect();
        KeptLimits { max: self.max(), default: limits.default, zones: own }
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
        let limits = self.zone_limits.lock();
        let of = |(zone, count): (u16, &AtomicU32)| {
            let connections = count.load(Ordering::Relaxed);
            let is_told = connections > 0 || limits.own.contains_key(&zone);
            is_told.then(|| CtZoneUse { zone, limit: limits.of(zone), connections })
        };
        (limits.default, (0..=u16::MAX).zip(&self.of_zones).filter_map(of).collect())
    }

    /// Counts a connection whose first packet has this tuple, unless some limit forbids it.
    pub(super) fn admit(&self, original: &CtTuple) -> Result<(), CtRefusal> {
        let max = self.max();
        let of_source = self.of_source(self.source_of(original).1);
        let count = self.count();
        if count >= max {
            return Err(CtRefusal::Full);
        }
        if count + of_source.load(Ordering::Relaxed) as usize >= max {
            return Err(CtRefusal::Source);
        }
        let in_zone = &self.of_zones[usize::from(original.zone)];
        let limit = match self.has_zone_limits.load(Ordering::Relaxed) {
            true => self.zone_limits.lock().of(original.zone),
            false => None,
        };
        let is_below = |held: &u32| limit.is_none_or(|limit| *held < limit);
        let one_more = |held: u32| Some(held).filter(is_below).map(|held| held + 1);
        if in_zone.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Err(CtRefusal::Zone);
        }
        of_source.fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Stops counting a connection. `is_answered` says whether it counts among the answered ones.
    pub(super) fn release(&self, original: &CtTuple, is_answered: bool) {
        let (source, hash) = self.source_of(original);
        if is_answered {
            let mut answered_of = self.part(hash).lock();
            if answered_of.remove(source) {
                self.answered.remove(hash);
            }
        }
        self.of_source(hash).fetch_sub(1, Ordering::Relaxed);
        self.of_zones[usize::from(original.zone)].fetch_sub(1, Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection that is counted already among the answered ones.
    pub(super) fn count_answered(&self, original: &CtTuple) {
        let (source, hash) = self.source_of(original);
        let mut answered_of = self.part(hash).lock();
        if answered_of.add(source) {
            self.answered.add(hash);
        }
    }

    /// Whether the source address of a packet with this tuple has an answered connection.
    pub(super) fn is_known(&self, tuple: &CtTuple) -> bool {
        let (source, hash) = self.source_of(tuple);
        self.answered.may_have(hash) && self.part(hash).lock().has(source)
    }

    /// The source address of packets with this tuple, and its hash.
    fn source_of(&self, tuple: &CtTuple) -> (IpAddr, u64) {
        let source = tuple.address(&tuple.source);
        // One large word, which takes less time than the parts of an address.
        let word = match source {
            IpAddr::V4(source) => source.to_bits().into(),
            IpAddr::V6(source) => source.to_bits(),
        };
        (source, self.hasher.hash_one(word))
    }

    /// The counter for source addresses with a hash. Its number has other bits of the hash than those that
    /// choose the part and the byte of `answered`.
    fn of_source(&self, hash: u64) -> &AtomicU32 {
        &self.of_sources[(hash >> 44) as usize & (SOURCES - 1)]
    }

    /// The counts of answered connections of source addresses with a hash.
    fn part(&self, hash: u64) -> &Mutex<AnsweredOf> {
        &self.answered_of[hash as usize % PARTS]
    }
}

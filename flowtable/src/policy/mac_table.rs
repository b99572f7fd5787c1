//! Learns behind which port each host is, by MAC address and VLAN.
//!
//! The number of entries is limited. When the table is full, the port with most entries loses one,
//! so that a port that floods addresses evicts its own entries only. Of these, hosts that were seen
//! for some time are kept before hosts that were seen once, as made-up ones are; unless they have
//! three quarters of the port's entries, so that new hosts can become known. Within either kind the
//! entry that was unused for longest goes.

use super::bridge_id::BridgeId;
use super::parted_map::PartedMap;
use crate::effort;
use flow::types::{MacAddr, OfPort};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::time::Duration;

/// Number of entries of a table, unless configured otherwise.
pub const DEFAULT_CAPACITY: usize = 8192;
/// Time after which an entry without traffic is removed, unless configured otherwise.
pub const DEFAULT_AGEING: Duration = Duration::from_secs(300);

/// How long a host has to be seen on a port until it counts as established.
const ESTABLISHED_AFTER: Duration = Duration::from_millis(500);
/// One in this number of a port's entries is left to hosts that are not established.
const STRANGERS_SHARE: usize = 4;

/// Hosts that are looked at, or forgotten, under one lock.
pub(super) const HOSTS: usize = 64;

/// A host in a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacKey {
    /// The VLAN id; 0 for untagged frames.
    pub vlan: u16,
    /// The address of one host; never a group address.
    pub mac: MacAddr,
}

/// A host of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostRef {
    /// The bridge that knows the host.
    pub bridge: BridgeId,
    /// The host's VLAN and address.
    pub key: MacKey,
}

/// An entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacEntry {
    /// The port where the host was seen.
    pub port: OfPort,
    /// Whether a user added the entry. Such an entry neither ages nor moves.
    pub is_static: bool,
    /// The time when the host was first seen on this port.
    since: Duration,
    used: Duration,
    sequence: u64,
}

/// What a call to [`MacTable::learn`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The host was known on this port already; its age is zero again.
    Refreshed,
    /// The host was not known before.
    New,
    /// The host was seen on another port before.
    Moved,
    /// A static entry names another port, and stays.
    Static,
}

/// A host that came, went or moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostChange {
    /// The host.
    pub key: MacKey,
    /// What happened to the host.
    pub what: HostEvent,
}

/// What happened to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// The host was seen for the first time.
    Learned {
        /// The port where the host was seen.
        port: OfPort,
    },
    /// The host was seen on another port than before.
    Moved {
        /// The port where the host was seen before.
        from: OfPort,
        /// The port where the host is seen now.
        to: OfPort,
    },
    /// A user added a static entry for the host.
    Given {
        /// The port that the user named.
        port: OfPort,
    },
    /// The table does not know it any more.
    Forgotten {
        /// The port where the host was seen last.
        port: OfPort,
        /// Why the table forgot it.
        why: Forgetting,
    },
}

/// Why a host was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgetting {
    /// The host was not seen for the ageing time.
    Expired,
    /// The table was full.
    Evicted,
    /// A user removed the entry, or its port lost its link, left the VLAN or left the bridge.
    Flushed,
}

impl Forgetting {
    /// The word for this reason in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Flushed => "flushed",
        }
    }
}

/// Counters since the start or the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MacStats {
    /// Entries added by learning.
    pub learned: u64,
    /// Entries that aged out.
    pub expired: u64,
    /// Entries pushed out by newer ones.
    pub evicted: u64,
    /// Entries that changed their port.
    pub moved: u64,
}

/// The learned entries of a port, by the order of their last use.
#[derive(Debug, Default)]
struct Owned {
    established: BTreeMap<u64, MacKey>,
    strangers: BTreeMap<u64, MacKey>,
}

impl Owned {
    fn len(&self) -> usize {
        self.established.len() + self.strangers.len()
    }

    /// The list in which an entry of the port belongs: established hosts or strangers.
    fn rank_of(&mut self, entry: &MacEntry) -> &mut BTreeMap<u64, MacKey> {
        if entry.is_established() { &mut self.established } else { &mut self.strangers }
    }

    /// The entry to evict first.
    fn least(&self) -> Option<MacKey> {
        let has_many_strangers = self.strangers.len() * STRANGERS_SHARE > self.len();
        let [first, second] = match has_many_strangers || self.established.is_empty() {
            true => [&self.strangers, &self.established],
            false => [&self.established, &self.strangers],
        };
        first.values().chain(second.values()).next().copied()
    }
}

/// A walk over the entries that the table had when the walk began.
#[derive(Debug)]
pub(super) struct HostWalk {
    /// The sequence number of the newest entry that the walk shows.
    until: u64,
    ports: Vec<OfPort>,
    list: usize,
    /// The sequence number of the last entry that was shown of the present list.
    after: u64,
}

/// The entries that have changed since a walk began, as they were before. A changed entry gets a
/// higher sequence number, so that the walk does not meet it any more.
#[derive(Debug)]
struct WalkLog {
    until: u64,
    /// In pieces of [`HOSTS`] entries, so that a long list need not be moved to a larger place.
    changed: Vec<Vec<(MacKey, MacEntry)>>,
}

impl WalkLog {
    fn push(&mut self, key: MacKey, entry: MacEntry) {
        match self.changed.last_mut().filter(|piece| piece.len() < HOSTS) {
            Some(piece) => piece.push((key, entry)),
            None => {
                let mut piece = Vec::with_capacity(HOSTS);
                piece.push((key, entry));
                self.changed.push(piece);
            }
        }
    }
}

/// The hosts of one bridge: learned entries, and static ones that users gave.
#[derive(Debug)]
pub struct MacTable {
    entries: PartedMap<MacKey, MacEntry>,
    /// The learned entries of each port.
    owned: HashMap<OfPort, Owned, ahash::RandomState>,
    /// The static entries, in the order in which users gave them.
    given: BTreeMap<u64, MacKey>,
    /// The ports, sorted by their number of learned entries, for eviction.
    owners: BTreeMap<(usize, OfPort), ()>,
    capacity: usize,
    ageing: Duration,
    sequence: u64,
    stats: MacStats,
    /// The hosts that have come, gone or moved since the last call of [`take_changed`](Self::take_changed).
    changed: Vec<HostChange>,
    /// For each walk under way the entries that changed meanwhile.
    walks: Vec<WalkLog>,
}

impl MacTable {
    /// Makes an empty table for `capacity` entries. `seed` keys its hash function, and must be
    /// unknown to senders of frames.
    pub fn new(capacity: usize, ageing: Duration, seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, !seed, seed ^ 0x3ac, seed.rotate_left(7));
        Self {
            entries: PartedMap::new(hasher.clone()),
            owned: HashMap::with_hasher(hasher),
            given: BTreeMap::new(),
            owners: BTreeMap::new(),
            capacity,
            ageing,
            sequence: 0,
            stats: MacStats::default(),
            changed: Vec::new(),
            walks: Vec::new(),
        }
    }

    /// Makes an empty table with the default limits.
    pub(super) fn with_defaults(seed: u64) -> Self {
        Self::new(DEFAULT_CAPACITY, DEFAULT_AGEING, seed)
    }

    /// Sets the counters to zero.
    pub(super) fn reset_stats(&mut self) {
        self.stats = MacStats::default();
    }

    /// The entry of a host; `None` if the table does not know the host.
    pub fn lookup(&self, key: MacKey) -> Option<&MacEntry> {
        effort::looked_at_one();
        self.entries.get(&key)
    }

    /// Notes that a host was seen on a port at `now`.
    pub fn learn(&mut self, key: MacKey, port: OfPort, now: Duration) -> Learned {
        let (result, since) = match self.entries.get(&key) {
            Some(entry) if entry.is_static => return Learned::Static,
            Some(entry) if entry.port == port => (Learned::Refreshed, entry.since),
            Some(entry) => {
                let from = entry.port;
                self.stats.moved += 1;
                self.note(key, HostEvent::Moved { from, to: port });
                (Learned::Moved, now)
            }
            None => {
                if self.entries.len() >= self.capacity && !self.evict() {
                    return Learned::Static;
                }
                self.stats.learned += 1;
                self.note(key, HostEvent::Learned { port });
                (Learned::New, now)
            }
        };
        self.unlink(key);
        self.sequence += 1;
        let entry = MacEntry { port, is_static: false, since, used: now, sequence: self.sequence };
        self.entries.insert(key, entry);
        self.count(port, |owned| {
            owned.rank_of(&entry).insert(entry.sequence, key);
        });
        result
    }

    /// Takes over a learned host of another process, whose clock began at the same time, unless the table has
    /// seen the host later.
    pub fn take_over(&mut self, key: MacKey, port: OfPort, since: Duration, used: Duration) {
        if self.entries.get(&key).is_some_and(|entry| entry.used > used) {
            return;
        }
        // The other process has counted what happened to the host.
        let stats = self.stats;
        // Learned twice: the host has been on its port for the time between.
        if matches!(self.learn(key, port, since), Learned::New | Learned::Moved) && since < used {
            self.learn(key, port, used);
        }
        self.stats = stats;
    }

    /// Adds what the table of another process has counted.
    pub fn add_stats(&mut self, before: MacStats) {
        self.stats.learned += before.learned;
        self.stats.expired += before.expired;
        self.stats.evicted += before.evicted;
        self.stats.moved += before.moved;
    }

    /// Notes that traffic of a host was seen at `used`, if the table has the host on this port.
    /// Otherwise nothing changes.
    pub fn refresh(&mut self, key: MacKey, port: OfPort, used: Duration) {
        if self.entries.get(&key).is_some_and(|e| !e.is_static && e.port == port && e.used < used) {
            self.learn(key, port, used);
        }
    }

    /// Adds a static entry, which neither ages nor moves. Returns `false` if the table
    /// is full of static entries.
    pub fn add_static(&mut self, key: MacKey, port: OfPort, now: Duration) -> bool {
        self.unlink(key);
        if self.entries.get(&key).is_none() && self.entries.len() >= self.capacity && !self.evict()
        {
            return false;
        }
        self.note(key, HostEvent::Given { port });
        self.sequence += 1;
        let sequence = self.sequence;
        self.entries
            .insert(key, MacEntry { port, is_static: true, since: now, used: now, sequence });
        self.given.insert(sequence, key);
        true
    }

    /// Removes the entry of a host, static or not, and returns it.
    pub fn remove(&mut self, key: MacKey) -> Option<MacEntry> {
        self.forget(key, Forgetting::Flushed)
    }

    /// As [`remove`](Self::remove), for another reason.
    pub(super) fn forget(&mut self, key: MacKey, why: Forgetting) -> Option<MacEntry> {
        self.unlink(key);
        let removed = self.entries.remove(&key)?;
        match why {
            Forgetting::Expired => self.stats.expired += 1,
            Forgetting::Evicted => self.stats.evicted += 1,
            Forgetting::Flushed => {}
        }
        self.note(key, HostEvent::Forgotten { port: removed.port, why });
        Some(removed)
    }

    fn note(&mut self, key: MacKey, what: HostEvent) {
        self.changed.push(HostChange { key, what });
    }

    /// Begins to go through all entries, or those that a port owns, a few at a time.
    pub(super) fn begin_walk(&mut self, port: Option<OfPort>) -> HostWalk {
        let ports = match port {
            Some(port) => vec![port],
            None => self.owned.keys().copied().collect(),
        };
        let walk = HostWalk { until: self.sequence, ports, list: 0, after: 0 };
        // Each walk gets a limit of its own, which identifies it.
        self.sequence += 1;
        self.walks.push(WalkLog { until: walk.until, changed: Vec::new() });
        walk
    }

    /// The next few entries that have not changed since the walk began; `None` at the end.
    pub(super) fn next_slice(
        &self,
        walk: &mut HostWalk,
        budget: usize,
    ) -> Option<Vec<(MacKey, MacEntry)>> {
        loop {
            let list = self.list(walk)?;
            let places = (Bound::Excluded(walk.after), Bound::Included(walk.until));
            let entries = list.into_iter().flat_map(|list| list.range(places)).take(budget);
            let entries = entries.filter_map(|(_, key)| Some((*key, *self.lookup(*key)?)));
            let slice: Vec<_> = entries.collect();
            match slice.last() {
                Some((_, last)) => {
                    walk.after = last.sequence;
                    return Some(slice);
                }
                None => (walk.list, walk.after) = (walk.list + 1, 0),
            }
        }
    }

    /// The list that a walk is at, if it has entries: first those that were given, and then two of each
    /// port. `None` behind the last.
    fn list(&self, walk: &HostWalk) -> Option<Option<&BTreeMap<u64, MacKey>>> {
        let Some(at) = walk.list.checked_sub(1) else { return Some(Some(&self.given)) };
        let owned = self.owned.get(walk.ports.get(at / 2)?);
        Some(owned.map(|owned| if at % 2 == 0 { &owned.established } else { &owned.strangers }))
    }

    /// Ends a walk. Returns the entries that changed since it began, as they were then, in short pieces; the
    /// walk may have shown some of them.
    pub(super) fn end_walk(&mut self, walk: HostWalk) -> Vec<Vec<(MacKey, MacEntry)>> {
        let at = self.walks.iter().position(|log| log.until == walk.until);
        at.map(|at| self.walks.swap_remove(at).changed).unwrap_or_default()
    }

    /// All entries, ordered by the time of their last use, the oldest first, behind those that were given.
    #[cfg(test)]
    pub(super) fn entries(&self) -> Vec<(MacKey, MacEntry)> {
        let mut all: Vec<_> = self.entries.iter().copied().collect();
        all.sort_by_key(|(key, entry)| (entry.order(), *key));
        all
    }

    /// Changes the limits. There may be too many entries then: [`evict_surplus`](Self::evict_surplus).
    pub(super) fn set_limits(&mut self, capacity: usize, ageing: Duration) {
        self.capacity = capacity;
        self.ageing = ageing;
    }

    /// Evicts some entries if there are too many. Returns whether there still are.
    pub(super) fn evict_surplus(&mut self, budget: usize) -> bool {
        let surplus = self.entries.len().saturating_sub(self.capacity);
        let evicted = (0..surplus.min(budget)).take_while(|_| self.evict()).count();
        evicted == budget && surplus > budget
    }

    /// Hosts that came, went or moved since the last call, in order.
    pub fn take_changed(&mut self) -> Vec<HostChange> {
        std::mem::take(&mut self.changed)
    }

    /// Number of entries, static ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of static entries.
    pub fn given_len(&self) -> usize {
        self.given.len()
    }

    /// Whether the table has no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// The largest number of entries.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The time after which an entry without traffic is removed.
    pub fn ageing(&self) -> Duration {
        self.ageing
    }

    /// The counters since the start or the last reset.
    pub fn stats(&self) -> MacStats {
        self.stats
    }

    /// Evicts one entry. Returns `false` if only static entries are left.
    fn evict(&mut self) -> bool {
        let Some((&(_, port), ())) = self.owners.last_key_value() else {
            return false;
        };
        let Some(key) = self.owned.get(&port).and_then(Owned::least) else {
            return false;
        };
        self.forget(key, Forgetting::Evicted);
        true
    }

    /// Takes an entry that is about to change out of its list.
    fn unlink(&mut self, key: MacKey) {
        let Some(&entry) = self.lookup(key) else { return };
        for log in self.walks.iter_mut().filter(|log| entry.sequence <= log.until) {
            log.push(key, entry);
        }
        if entry.is_static {
            self.given.remove(&entry.sequence);
        } else {
            self.count(entry.port, |owned| {
                owned.rank_of(&entry).remove(&entry.sequence);
            });
        }
    }

    /// Changes the entries of a port and its place among the owners.
    fn count(&mut self, port: OfPort, change: impl FnOnce(&mut Owned)) {
        let owned = self.owned.entry(port).or_default();
        let before = owned.len();
        change(owned);
        let after = owned.len();
        self.owners.remove(&(before, port));
        if after > 0 {
            self.owners.insert((after, port), ());
        }
    }
}

impl MacEntry {
    /// The time when the host was first seen on its port.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// The time when traffic of the host was last seen.
    pub fn used(&self) -> Duration {
        self.used
    }

    /// Whether the host has stayed on the port of `before` since then.
    pub(super) fn is_stay_of(&self, before: &Self) -> bool {
        let stay = |entry: &Self| (entry.port, entry.is_static, entry.since);
        stay(self) == stay(before)
    }

    /// The entry's place in lists: static entries come first.
    pub(super) fn order(&self) -> u64 {
        if self.is_static { 0 } else { self.sequence }
    }

    /// Whether the host was seen on its port for [`ESTABLISHED_AFTER`] or longer.
    fn is_established(&self) -> bool {
        self.used.saturating_sub(self.since) >= ESTABLISHED_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> MacKey {
        MacKey { vlan: 0, mac: MacAddr([2, 0, 0, 0, 0, n]) }
    }

    fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn a_host_that_moves_is_found_at_its_new_port() {
        let mut t = MacTable::new(10, at(300), 1);
        assert_eq!(t.learn(key(1), OfPort(1), at(0)), Learned::New);
        assert_eq!(t.learn(key(1), OfPort(1), at(1)), Learned::Refreshed);
        assert_eq!(t.learn(key(1), OfPort(2), at(2)), Learned::Moved);
        assert_eq!(t.lookup(key(1)).unwrap().port, OfPort(2));
        assert_eq!(t.stats(), MacStats { learned: 1, moved: 1, ..MacStats::default() });
    }

    #[test]
    fn the_same_address_in_two_vlans_is_two_hosts() {
        let mut t = MacTable::new(10, at(300), 1);
        t.learn(key(1), OfPort(1), at(0));
        t.learn(MacKey { vlan: 5, ..key(1) }, OfPort(2), at(0));
        assert_eq!(t.lookup(key(1)).unwrap().port, OfPort(1));
        assert_eq!(t.len(), 2);
    }

    #[test]
    fn entries_are_as_old_as_the_traffic_of_their_port() {
        let mut t = MacTable::new(10, at(300), 1);
        t.learn(key(1), OfPort(1), at(0));
        t.learn(key(2), OfPort(1), at(0));
        t.refresh(key(2), OfPort(1), at(200));
        t.refresh(key(1), OfPort(9), at(200));
        let used = |n| t.lookup(key(n)).unwrap().used();
        assert_eq!((used(1), used(2)), (at(0), at(200)));
    }

    #[test]
    fn a_port_that_floods_addresses_evicts_its_own() {
        let mut t = MacTable::new(4, at(300), 1);
        t.learn(key(1), OfPort(1), at(0));
        for n in 10..100 {
            t.learn(key(n), OfPort(2), at(1));
        }
        assert_eq!(t.len(), 4);
        assert!(t.lookup(key(1)).is_some());
        assert_eq!(t.stats().evicted, 87);
    }

    #[test]
    fn a_host_that_was_seen_for_some_time_stays_beside_a_flood_on_its_port() {
        let mut t = MacTable::new(8, at(300), 1);
        t.learn(key(1), OfPort(1), at(0));
        t.learn(key(2), OfPort(1), at(0));
        t.refresh(key(1), OfPort(1), at(1));
        for n in 10..100 {
            t.learn(key(n), OfPort(1), at(2));
        }
        assert!(t.lookup(key(1)).is_some());
        assert!(t.lookup(key(2)).is_none(), "it was seen once");
    }

    #[test]
    fn hosts_that_stay_leave_places_to_new_ones() {
        let mut t = MacTable::new(8, at(300), 1);
        for n in 0..8 {
            t.learn(key(n), OfPort(1), at(0));
            t.refresh(key(n), OfPort(1), at(1));
        }
        t.learn(key(20), OfPort(1), at(2));
        t.learn(key(21), OfPort(1), at(2));
        t.learn(key(22), OfPort(1), at(2));
        let known = |n| t.lookup(key(n)).is_some();
        assert_eq!([20, 21, 22].map(known), [true; 3]);
        assert_eq!((0..8).filter(|&n| known(n)).count(), 5);
        assert!(known(7), "the one that was seen last");
    }

    #[test]
    fn a_host_that_moves_has_to_stay_again() {
        let mut t = MacTable::new(2, at(300), 1);
        t.learn(key(1), OfPort(1), at(0));
        t.refresh(key(1), OfPort(1), at(1));
        t.learn(key(1), OfPort(2), at(2));
        t.learn(key(2), OfPort(2), at(2));
        t.learn(key(3), OfPort(2), at(2));
        assert!(t.lookup(key(1)).is_none());
    }

    #[test]
    fn static_entries_neither_move_nor_age_nor_go() {
        let mut t = MacTable::new(1, at(300), 1);
        assert!(t.add_static(key(1), OfPort(1), at(0)));
        assert_eq!(t.learn(key(1), OfPort(2), at(1)), Learned::Static);
        assert_eq!(t.learn(key(2), OfPort(2), at(1)), Learned::Static, "no room");
        assert_eq!(t.stats(), MacStats::default(), "nothing was learned");
        assert_eq!(t.lookup(key(1)).unwrap().port, OfPort(1));
        assert!(t.remove(key(1)).is_some());
        assert!(t.is_empty());
    }
}

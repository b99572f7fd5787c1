//! Connection tracking: which packets belong together, and in which state their connection is.
//!
//! [`Connections`] is one table for all bridges and workers; zones keep its users apart. A rule sends a packet there with
//! `ct(...)` ([`CtAction`]), and the next pass of the packet finds the answer in its key: [`FoundConnection`].
//! A connection is remembered when a rule commits it, and not before.
//!
//! - `tuple` reads which connection a packet belongs to; `tcp` and `connection` have the states, `timeouts` how long
//!   each is kept, `limits` how many there may be.
//! - The table is divided into shards with a lock each. Both directions of a connection have the same tuple but for its
//!   order, hence the same shard, and a worker holds that lock for one packet. `dashmap` would be such a table, too, but
//!   the lists by which connections expire, and the slots that frames name, have to be under the lock of the connection.
//! - Nothing scans the table under a lock: connections expire from the heads of lists (`shard`), some at each
//!   [`Connections::sweep`] and at each packet that adds one. A connection whose time has come counts as unknown at once.
//! - Time is an argument.
//!
//! What the words mean is what Open vSwitch's userspace datapath does (`lib/conntrack.c`). Not here: translation of
//! addresses, fragments, helpers of protocols.

mod connection;
mod limits;
mod shard;
mod tcp;
mod timeouts;
mod tuple;

pub use connection::ConnectionInfo;
pub use limits::{CtZoneUse, DEFAULT_MAX_CONNECTIONS};
pub use tcp::TcpState;
pub use tuple::{CtEnd, CtTuple};

use connection::ProtocolState;
use flow::FlowKey;
use flow::key::{HotKey, KeyRef, RareHeaders, Segment, ct_state};
use flow::verdict::CtAction;
use limits::{CtLimits, CtRefusal};
use packet::Frame;
use parking_lot::{Mutex, MutexGuard};
use shard::{CtShard, NewConnection};
use std::convert::Infallible;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tcp::Belonging;
use timeouts::{Timeout, ms};
use tuple::CtPacket;

/// Number of shards. Several workers rarely want the same one of these.
const SHARDS: usize = 256;
/// How many slots of a shard are looked at before its lock is let go.
const SLOTS_AT_ONCE: u32 = 64;
/// How many connections a sweep removes of one shard before it lets go of the shard's lock.
const SWEPT_AT_ONCE: usize = 32;

/// What connection tracking says of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundConnection {
    /// Bits of [`ct_state`], [`ct_state::TRACKED`] always among them.
    pub state: u16,
    /// The zone in which the connection was looked up.
    pub zone: u16,
    /// The mark of the connection; 0 without one.
    pub mark: u32,
    /// The label of the connection; 0 without one.
    pub label: u128,
    /// The tuple of the connection's first packet, or of this packet; `None` if the packet could not be read.
    pub original: Option<CtTuple>,
    /// Where the connection is in the table; `None` if it is not there.
    place: Option<CtPlace>,
}

/// Where a connection is in the table. Another connection may be there later, with another serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CtPlace {
    shard: u16,
    slot: u32,
    serial: u32,
}

impl FoundConnection {
    /// What is found of a packet that belongs to no connection.
    fn invalid(zone: u16) -> Self {
        Self { state: ct_state::TRACKED | ct_state::INVALID, zone, ..Self::default() }
    }

    /// Whether the action is about the connection that was found, and need not look for another one.
    fn is_of(&self, action: &CtAction) -> bool {
        let is_forced = action.commit.is_some_and(|commit| commit.force);
        self.place.is_some() && self.zone == action.zone && !is_forced
    }

    /// A key with what is known in the segments that are for it.
    pub fn written_into(&self, key: &FlowKey) -> FlowKey {
        let parts = key.parts();
        let (mut hot, mut rare) = (*parts.hot, *parts.rare);
        self.write(&mut hot, &mut rare);
        KeyRef { hot: &hot, rare: &rare }.join()
    }

    /// Writes what is known into the segments of a key that are for it.
    pub fn write(&self, hot: &mut HotKey, rare: &mut RareHeaders) {
        hot.begin(rare, Segment::CT);
        rare.ct_state.set(self.state);
        rare.ct_zone.set(self.zone);
        rare.ct_mark.set(self.mark);
        if self.label != 0 {
            hot.begin(rare, Segment::CT_LABEL);
            rare.ct_label = self.label.to_be_bytes();
        }
        if let Some(original) = &self.original {
            hot.begin(rare, Segment::CT_TUPLE);
            if original.is_ipv6 {
                hot.begin(rare, Segment::CT_IPV6);
            }
            original.write(rare);
        }
    }
}

/// How often something happened to connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtStats {
    /// Connections that are remembered at the moment.
    pub connections: u64,
    /// Connections that were remembered so far.
    pub created: u64,
    /// Connections whose time came.
    pub expired: u64,
    /// Half-open connections that had to go because the table was full.
    pub evicted: u64,
    /// Connections that were not remembered because the table was full.
    pub refused_full: u64,
    /// Connections that were not remembered because their source address had its share.
    pub refused_source: u64,
    /// Connections that were not remembered because their zone had as many as it may have.
    pub refused_zone: u64,
}

/// The counts of [`CtStats`] that grow.
#[derive(Debug, Default)]
struct CtCounts {
    created: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
    refused_full: AtomicU64,
    refused_source: AtomicU64,
    refused_zone: AtomicU64,
}

/// The table of connections. See the [module](self).
#[derive(Debug)]
pub struct Connections {
    shards: Box<[Mutex<CtShard>]>,
    limits: CtLimits,
    hasher: ahash::RandomState,
    checks_windows: AtomicBool,
    counts: CtCounts,
}

/// The table of connections, as an executor of datapath actions uses it.
#[derive(Clone, Copy, Debug)]
pub struct Tracker<'a> {
    /// The connections of all bridges.
    pub table: &'a Connections,
    /// Whether the table stays as it is, because somebody asks what would happen to a packet.
    pub is_trial: bool,
}

impl Tracker<'_> {
    /// Carries out `ct(...)` on a frame. `before` is what the last `ct(...)` has found of the frame.
    pub fn track(
        &self,
        now: Duration,
        frame: &Frame<'_>,
        action: &CtAction,
        before: Option<&FoundConnection>,
    ) -> FoundConnection {
        match (self.is_trial, before) {
            (false, _) => self.table.track(now, frame, action, before),
            (true, Some(before)) if before.is_of(action) => *before,
            (true, _) => self.table.look_up(now, frame, action.zone),
        }
    }
}

/// Which connections somebody asks about. Each part that is given has to fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtFilter {
    /// Only connections of this zone; `None` for those of every zone.
    pub zone: Option<u16>,
}

impl Connections {
    /// An empty table. `seed` keys the hash function.
    pub fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, seed.rotate_left(23), !seed, 0xc7);
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            limits: CtLimits::new(&hasher),
            hasher,
            checks_windows: AtomicBool::new(true),
            counts: CtCounts::default(),
        }
    }

    /// Carries out `ct(...)` on a frame: looks its connection up, moves the connection on, and commits it if the action
    /// says so. `before` is what the last `ct(...)` has found of the frame: a connection in the same zone is moved on once
    /// for each frame, however often rules look it up.
    pub fn track(
        &self,
        now: Duration,
        frame: &Frame<'_>,
        action: &CtAction,
        before: Option<&FoundConnection>,
    ) -> FoundConnection {
        if let Some(before) = before.filter(|before| before.is_of(action))
            && let Some(found) = self.track_again(before, action)
        {
            return found;
        }
        match tuple::read(frame, action.zone) {
            Some(packet) => self.track_packet(ms(now), &packet, action),
            None => FoundConnection::invalid(action.zone),
        }
    }

    /// What is known of a connection that was found before, after the action has written mark and label. `None` if the
    /// connection has gone since.
    fn track_again(&self, before: &FoundConnection, action: &CtAction) -> Option<FoundConnection> {
        let place = before.place?;
        let mut shard = self.shards.get(usize::from(place.shard))?.lock();
        let connection = shard.get_mut(place.slot).filter(|c| c.serial == place.serial)?;
        if let Some(commit) = &action.commit {
            connection.write(commit);
        }
        Some(FoundConnection { mark: connection.mark, label: connection.label, ..*before })
    }

    fn track_packet(&self, now: u64, packet: &CtPacket, action: &CtAction) -> FoundConnection {
        let (canonical, is_reversed) = packet.tuple.canonical();
        let hash = self.hasher.hash_one(canonical);
        let shard_no = shard_of(hash);
        let mut shard = self.shards[usize::from(shard_no)].lock();
        let mut found = shard.find(&canonical, hash);
        if let Some(slot) = found
            && let Some(connection) = shard.get(slot)
        {
            let is_over = connection.expires <= now;
            let is_reply = connection.is_swapped != is_reversed;
            let begins_anew = action.commit.is_some_and(|c| c.force) && is_reply;
            if is_over || begins_anew {
                self.forget(&mut shard, slot);
                self.counts.expired.fetch_add(is_over.into(), Ordering::Relaxed);
                found = None;
            }
        }
        let mut bits = ct_state::TRACKED;
        if let Some(slot) = found
            && let Some(connection) = shard.get_mut(slot)
        {
            let is_reply = connection.is_swapped != is_reversed;
            let (flags, timeout) = self.judge(&mut connection.state, packet, is_reply);
            match flags {
                Some(flags) => bits |= flags,
                None => {
                    self.forget(&mut shard, slot);
                    found = None;
                }
            }
            if let Some(timeout) = timeout {
                shard.set_timeout(slot, timeout, now);
            }
        }
        let slot = match found {
            Some(slot) => Some(slot),
            None if packet.is_error || !ProtocolState::may_begin(packet) => {
                bits |= ct_state::INVALID;
                None
            }
            None => {
                bits |= ct_state::NEW;
                let new = || NewConnection {
                    canonical,
                    is_swapped: is_reversed,
                    state: ProtocolState::begin(packet),
                };
                let is_committed =
                    action.commit.is_some() && self.make_room(&mut shard, &packet.tuple, now);
                is_committed.then(|| {
                    self.counts.created.fetch_add(1, Ordering::Relaxed);
                    shard.insert(new(), hash, now)
                })
            }
        };
        let mut known = FoundConnection {
            state: bits,
            zone: action.zone,
            original: Some(packet.tuple),
            ..FoundConnection::default()
        };
        if let Some(slot) = slot
            && let Some(connection) = shard.get_mut(slot)
        {
            if let Some(commit) = &action.commit {
                connection.write(commit);
            }
            known.place = Some(CtPlace { shard: shard_no, slot, serial: connection.serial });
            (known.mark, known.label) = (connection.mark, connection.label);
            known.original = Some(connection.original());
        }
        known
    }

    /// Moves a connection on. Returns the bits of [`ct_state`] that the packet gets, or `None` if the connection is over and
    /// the packet begins another one; and the timeout that holds from now on, if it changes.
    fn judge(
        &self,
        state: &mut ProtocolState,
        packet: &CtPacket,
        is_reply: bool,
    ) -> (Option<u16>, Option<Timeout>) {
        let reply = if is_reply { ct_state::REPLY } else { 0 };
        if packet.is_error {
            return (Some(ct_state::RELATED | reply), None);
        }
        let checks_windows = self.checks_windows.load(Ordering::Relaxed);
        let (belonging, timeout) = state.update(packet, is_reply, checks_windows);
        let flags = match belonging {
            Belonging::Valid => Some(ct_state::ESTABLISHED | reply),
            Belonging::StillNew => Some(ct_state::NEW),
            Belonging::Invalid => Some(ct_state::INVALID),
            Belonging::BeginsAnother => None,
        };
        (flags, timeout)
    }

    /// What [`track`](Self::track) would find, without any change of the table.
    pub fn look_up(&self, now: Duration, frame: &Frame<'_>, zone: u16) -> FoundConnection {
        let Some(packet) = tuple::read(frame, zone) else {
            return FoundConnection::invalid(zone);
        };
        let (canonical, is_reversed) = packet.tuple.canonical();
        let hash = self.hasher.hash_one(canonical);
        let shard = self.shards[usize::from(shard_of(hash))].lock();
        let known = shard.find(&canonical, hash).and_then(|slot| shard.get(slot));
        let mut found =
            FoundConnection { zone, original: Some(packet.tuple), ..Default::default() };
        let mut flags = None;
        if let Some(connection) = known.filter(|c| c.expires > ms(now)) {
            let is_reply = connection.is_swapped != is_reversed;
            (flags, _) = self.judge(&mut connection.state.clone(), &packet, is_reply);
            if flags.is_some() {
                (found.mark, found.label) = (connection.mark, connection.label);
                found.original = Some(connection.original());
            }
        }
        let begins = !packet.is_error && ProtocolState::may_begin(&packet);
        let unknown = if begins { ct_state::NEW } else { ct_state::INVALID };
        found.state = ct_state::TRACKED | flags.unwrap_or(unknown);
        found
    }

    /// Admits a connection, and evicts a half-open one of the shard if the table is full. Returns whether there is room.
    fn make_room(&self, shard: &mut CtShard, original: &CtTuple, now: u64) -> bool {
        let counts = &self.counts;
        for _ in 0..2 {
            if let Some(over) = shard.expire_one(now) {
                self.limits.release(&over.original());
                counts.expired.fetch_add(1, Ordering::Relaxed);
            }
        }
        let mut admitted = self.limits.admit(original);
        if admitted == Err(CtRefusal::Full)
            && let Some(evicted) = shard.evict_half_open()
        {
            self.limits.release(&evicted.original());
            counts.evicted.fetch_add(1, Ordering::Relaxed);
            admitted = self.limits.admit(original);
        }
        let refused = match admitted {
            Ok(()) => return true,
            Err(CtRefusal::Full) => &counts.refused_full,
            Err(CtRefusal::Source) => &counts.refused_source,
            Err(CtRefusal::Zone) => &counts.refused_zone,
        };
        refused.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Removes the connection in a slot.
    fn forget(&self, shard: &mut CtShard, slot: u32) {
        if let Some(connection) = shard.remove(slot) {
            self.limits.release(&connection.original());
        }
    }

    /// Removes connections whose time has come.
    pub fn sweep(&self, now: Duration) {
        let now = ms(now);
        for shard in &self.shards {
            loop {
                let mut shard = shard.lock();
                let over = (0..SWEPT_AT_ONCE).map_while(|_| shard.expire_one(now));
                let removed = over.map(|over| self.limits.release(&over.original())).count();
                self.counts.expired.fetch_add(removed as u64, Ordering::Relaxed);
                if removed < SWEPT_AT_ONCE {
                    break;
                }
            }
        }
    }

    /// Calls `take` with each connection that fits a filter, until `take` fails. No lock is held meanwhile. A connection
    /// that comes or goes during the call may be left out.
    ///
    /// # Errors
    ///
    /// The error of `take`.
    pub fn for_each<E>(
        &self,
        now: Duration,
        filter: CtFilter,
        mut take: impl FnMut(&ConnectionInfo) -> Result<(), E>,
    ) -> Result<(), E> {
        let now = ms(now);
        let mut part = Vec::with_capacity(SLOTS_AT_ONCE as usize);
        self.in_slices(|shard, slots| {
            let connections = slots.filter_map(|slot| shard.get(slot));
            let wanted = connections.filter(|c| c.expires > now && filter.admits(c));
            part.extend(wanted.map(|connection| connection.info(now)));
            MutexGuard::unlocked_fair(shard, || part.drain(..).try_for_each(|info| take(&info)))
        })
    }

    /// The connections that fit a filter, in no order.
    pub fn dump(&self, now: Duration, filter: CtFilter) -> Vec<ConnectionInfo> {
        let mut all = Vec::new();
        let Ok(()) = self.for_each::<Infallible>(now, filter, |info| {
            all.push(info.clone());
            Ok(())
        });
        all
    }

    /// Removes the connections that fit a filter. Returns how many there were.
    pub fn flush(&self, filter: CtFilter) -> usize {
        let mut removed = 0;
        let Ok(()) = self.in_slices::<Infallible>(|shard, slots| {
            for slot in slots {
                if shard.get(slot).is_some_and(|connection| filter.admits(connection)) {
                    self.forget(shard, slot);
                    removed += 1;
                }
            }
            Ok(())
        });
        removed
    }

    /// Calls `look` with some slots of a shard at a time, and with the shard locked, until all slots have had their turn or
    /// `look` fails. Workers get the lock between two calls.
    fn in_slices<E>(
        &self,
        mut look: impl FnMut(&mut MutexGuard<'_, CtShard>, Range<u32>) -> Result<(), E>,
    ) -> Result<(), E> {
        for shard in &self.shards {
            let mut next = 0;
            loop {
                let mut shard = shard.lock();
                let end = shard.slots().min(next + SLOTS_AT_ONCE);
                if next >= end {
                    break;
                }
                look(&mut shard, next..end)?;
                next = end;
                MutexGuard::unlock_fair(shard);
            }
        }
        Ok(())
    }

    /// How often something happened so far.
    pub fn stats(&self) -> CtStats {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        CtStats {
            connections: self.limits.count() as u64,
            created: get(&counts.created),
            expired: get(&counts.expired),
            evicted: get(&counts.evicted),
            refused_full: get(&counts.refused_full),
            refused_source: get(&counts.refused_source),
            refused_zone: get(&counts.refused_zone),
        }
    }

    /// How many connections there may be.
    pub fn max_connections(&self) -> usize {
        self.limits.max()
    }

    /// Sets how many connections there may be. Those that are too many stay.
    pub fn set_max_connections(&self, max: usize) {
        self.limits.set_max(max);
    }

    /// Sets the limit of a zone, or of all zones without one of their own; `None` lifts it.
    pub fn set_zone_limit(&self, zone: Option<u16>, limit: Option<u32>) {
        self.limits.set_zone(zone, limit);
    }

    /// The limit of zones without one of their own, and each zone that has a limit of its own or connections.
    pub fn zone_limits(&self) -> (Option<u32>, Vec<CtZoneUse>) {
        self.limits.zones()
    }

    /// Sets whether TCP segments outside the window of their sender are invalid.
    pub fn set_checks_windows(&self, checks: bool) {
        self.checks_windows.store(checks, Ordering::Relaxed);
    }
}

/// The shard of a hash. The table inside the shard takes the low and the highest bits.
fn shard_of(hash: u64) -> u16 {
    (hash >> 40) as u16 % SHARDS as u16
}

impl CtFilter {
    fn admits(&self, connection: &shard::CtEntry) -> bool {
        self.zone.is_none_or(|zone| connection.canonical.zone == zone)
    }
}

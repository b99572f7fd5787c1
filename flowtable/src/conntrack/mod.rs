//! Connection tracking: which packets belong together, and in which state their connection is.
//!
//! [`Connections`] is one table for all bridges and workers; zones keep its users apart. A rule sends a packet
//! there with `ct(...)` ([`CtAction`]), and the next pass of the packet finds the answer in its key:
//! [`FoundConnection`]. A connection is remembered when a rule commits it, and not before.
//!
//! - `tuple` reads which connection a packet belongs to; `tcp` and `connection` have the states, `timeouts` how
//!   long each is kept, `limits` how many there may be.
//! - A worker's `budget` keeps floods of new connections from taking the time of established ones.
//! - The table is divided into shards with a lock each. Both directions of a connection have the same tuple but
//!   for its order, hence the same shard, and a worker holds that lock for one packet. `dashmap` would be such
//!   a table, too, but the lists by which connections expire, and the slots that frames name, have to be under
//!   the lock of the connection.
//! - Nothing scans the table under a lock: connections expire from the heads of lists (`shard`), some at each
//!   [`Connections::sweep`] and at each packet that adds one. A connection whose time has come counts as
//!   unknown at once.
//! - Time is an argument.
//! - `nat` chooses addresses and ports. The executor of datapath actions
//!   translates the frames (`datapath/nat`).
//! - `fragments` keeps fragments until their packets are whole and can be tracked.
//! - `help` reads what FTP and TFTP tell of connections to come.
//! - `known` is what a worker remembers of an established connection, and `pulse` what it then reads and writes
//!   without a lock.
//! - `newcomer` is a packet that begins a connection, as far as a worker knows that without a lock.
//! - `events` tells somebody who watches which connections are made and end.
//! - `presence` says without a lock of most tuples of new connections that no connection has them.
//! - `found` is what is said of a frame, `upkeep` what is done beside tracking.
//! - `filter` selects connections for commands, and `kept` hands connections over to the next program.
//!
//! What the words mean is what Open vSwitch's userspace datapath does (`lib/conntrack.c`).

mod budget;
mod connection;
mod events;
mod filter;
mod found;
mod fragments;
mod help;
mod kept;
mod known;
mod limits;
mod nat;
mod newcomer;
mod presence;
mod pulse;
#[cfg(test)]
mod pulse_model;
mod shard;
mod slots;
mod tcp;
#[cfg(test)]
mod tcp_property;
mod timeouts;
mod tuple;
mod upkeep;

pub use budget::CtBudget;
pub use connection::ConnectionInfo;
pub use events::{
    CT_EVENT_QUEUE, CtChange, CtCount, CtCounts, CtEnding, CtEvent, CtEvents, CtNews,
};
pub use found::{FoundConnection, Tracked};
pub use fragments::FragmentStats;
pub(crate) use fragments::Kept;
pub use help::{SegmentEdit, SequenceShift};
pub use kept::KeptConnection;
pub(crate) use known::KnownConnection;
pub use limits::{CtZoneUse, DEFAULT_MAX_CONNECTIONS, KeptLimits};
pub use nat::CtTranslation;
pub(crate) use newcomer::Newcomer;
pub use tcp::TcpState;
pub(crate) use tuple::quoted_header_size;
pub use tuple::{CtEnd, CtTuple};
pub use upkeep::CtStats;

use connection::ProtocolState;
use flow::key::ct_state;
use flow::nat::Nat;
use flow::types::PortNo;
use flow::verdict::{CtAction, CtCommit, DropReason};
use found::CtPlace;
use fragments::Fragments;
use help::CtHelp;
use help::expectations::{Expectation, Expectations};
use limits::{CtLimits, CtRefusal};
use nat::{CtAlias, CtNat, Lingering, Located, Sought};
use packet::Frame;
use parking_lot::Mutex;
use presence::Presence;
use shard::{CtEntry, CtShard, NewConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tcp::Belonging;
use timeouts::{Timeout, is_answered, ms};
use tuple::CtPacket;
use upkeep::CtCounters;

/// The atomics of pulses, which their model replaces.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

/// Number of shards. Several workers rarely want the same one of these.
const SHARDS: usize = 64;
/// Number of bytes of the table that says of a tuple that no connection has it.
const PRESENCE: usize = 1 << 20;

/// The table of connections. See the [module](self).
#[derive(Debug)]
pub struct Connections {
    shards: Box<[Mutex<CtShard>]>,
    limits: CtLimits,
    expectations: Expectations,
    /// The tuples of all connections, and of the answers to those that are translated.
    presence: Presence,
    hasher: ahash::RandomState,
    checks_windows: AtomicBool,
    counts: CtCounters,
    fragments: Mutex<Fragments>,
    events: Arc<CtEvents>,
    /// Whether the table does as Open vSwitch 3.1 where that parts from good sense.
    as_ovs: bool,
    /// Aliases that outlive their connections, if the table does as Open vSwitch.
    lingering: Mutex<Lingering>,
}

/// How a packet comes to the table.
struct CtArrival<'a> {
    /// The time in milliseconds.
    now: u64,
    /// Size of the packet's frame in bytes.
    size: usize,
    /// What the last `ct(...)` has found of the frame.
    before: Option<&'a FoundConnection>,
    /// As in [`Tracker::budget`].
    budget: Option<(&'a CtBudget, PortNo)>,
}

impl CtArrival<'_> {
    /// Whether the packet has come to its connection in this zone before, and was counted then.
    fn is_counted(&self, zone: u16) -> bool {
        self.before.is_some_and(|before| before.place.is_some() && before.zone == zone)
    }
}

/// The table of connections, as an executor of datapath actions uses it.
#[derive(Clone, Copy, Debug)]
pub struct Tracker<'a> {
    /// The connections of all bridges.
    pub table: &'a Connections,
    /// The port that the frames have come in at.
    pub in_port: PortNo,
    /// Whether the table stays as it is, because somebody asks what would happen to a packet.
    pub is_trial: bool,
    /// The worker's budget, and the port whose frames begin connections within it. `None` sets no limit.
    pub budget: Option<(&'a CtBudget, PortNo)>,
}

impl Tracker<'_> {
    /// Carries out `ct(...)` on a frame. `before` is what the last `ct(...)` has found of the frame.
    ///
    /// # Errors
    ///
    /// Why the frame is dropped, as for [`Connections::track`].
    pub fn track(
        &self,
        now: Duration,
        frame: &Frame<'_>,
        action: &CtAction,
        before: Option<&FoundConnection>,
    ) -> Result<Tracked, DropReason> {
        if self.is_trial {
            return self.table.look_up(now, frame, action);
        }
        let tracked = self.table.track_within(now, frame, action, before, self.budget)?;
        if let Some((budget, _)) = self.budget
            && tracked.found.state & ct_state::ESTABLISHED != 0
        {
            budget.saw_known(1);
        }
        Ok(tracked)
    }

    /// Keeps a frame that cannot be tracked because it has a fragment, until the whole packet is there.
    pub(crate) fn keep_fragment(&self, now: Duration, frame: &Frame<'_>, zone: u16) -> Kept {
        let mut fragments = self.table.fragments.lock();
        match self.is_trial {
            false => fragments.keep(ms(now), frame, self.in_port, zone),
            true => fragments.look_at(frame, self.in_port, zone),
        }
    }
}

impl Connections {
    /// An empty table. `seed` keys the hash function.
    pub fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, seed.rotate_left(23), !seed, 0xc7);
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            limits: CtLimits::new(&hasher),
            fragments: Mutex::new(Fragments::new(&hasher)),
            expectations: Expectations::new(&hasher),
            presence: Presence::new(PRESENCE),
            hasher,
            checks_windows: AtomicBool::new(true),
            counts: CtCounters::default(),
            events: Arc::default(),
            as_ovs: false,
            lingering: Mutex::default(),
        }
    }

    /// Has the table do as Open vSwitch 3.1 where that parts from good sense, or as good sense says.
    #[must_use]
    pub fn as_ovs(mut self, as_ovs: bool) -> Self {
        self.as_ovs = as_ovs;
        self.fragments.get_mut().set_as_ovs(as_ovs);
        self
    }

    /// Reads the packet of a frame for a zone.
    fn read(&self, frame: &Frame<'_>, zone: u16) -> Option<CtPacket> {
        tuple::read(frame, zone, self.as_ovs)
    }

    /// Carries out `ct(...)` on a frame: looks its connection up, moves the connection on, and commits it if
    /// the action says so. `before` is what the last `ct(...)` has found of the frame: a connection in the same
    /// zone is moved on once for each frame, however often rules look it up.
    ///
    /// # Errors
    ///
    /// [`DropReason::NatExhausted`] if the connection begins and no address and port is free for it.
    pub fn track(
        &self,
        now: Duration,
        frame: &Frame<'_>,
        action: &CtAction,
        before: Option<&FoundConnection>,
    ) -> Result<Tracked, DropReason> {
        self.track_within(now, frame, action, before, None)
    }

    /// As [`track`](Self::track), within the budget of a worker and a port.
    fn track_within(
        &self,
        now: Duration,
        frame: &Frame<'_>,
        action: &CtAction,
        before: Option<&FoundConnection>,
        budget: Option<(&CtBudget, PortNo)>,
    ) -> Result<Tracked, DropReason> {
        if let Some(before) = before.filter(|before| before.is_of(action))
            && let Some(tracked) = self.track_again(before, action)
        {
            return Ok(tracked);
        }
        if let Some(before) = before.filter(|before| before.may_begin_with(action))
            && let Some(original) = before.original.as_ref().filter(|it| tuple::is_of(frame, it))
            && self.refuses(original, budget, ms(now))
        {
            // Of a flood, the packet is not even read again.
            return Ok((*before).into());
        }
        match self.read(frame, action.zone) {
            Some(packet) => {
                let mut gone = Vec::new();
                let arrival = CtArrival { now: ms(now), size: frame.size(), before, budget };
                let tracked = self.track_packet(&packet, action, &arrival, &mut gone);
                self.remove_aliases(&mut gone);
                tracked
            }
            None => Ok(FoundConnection::invalid(action.zone).into()),
        }
    }

    /// What is known of a connection that was found before, after the action has written mark and label. `None`
    /// if the connection has gone since.
    fn track_again(&self, before: &FoundConnection, action: &CtAction) -> Option<Tracked> {
        let place = before.place?;
        let mut shard = self.shards.get(usize::from(place.shard))?.lock();
        shard.get(place.slot).filter(|connection| connection.serial == place.serial)?;
        if let Some(commit) = &action.commit {
            shard.write(place.slot, commit);
        }
        let connection = shard.get(place.slot)?;
        let (mark, label) = (connection.mark, connection.label);
        let mut tracked = Tracked::from(FoundConnection { mark, label, ..*before });
        // A packet is translated once.
        if before.state & (ct_state::SRC_NAT | ct_state::DST_NAT) == 0 {
            tracked.translate(connection, action);
            let help = connection.help.as_ref().filter(|_| tracked.translation.is_some());
            tracked.is_helped = help.is_some_and(|help| help.alg().is_some());
        }
        Some(tracked)
    }

    /// As [`track`](Self::track). The aliases of connections that had to go are added to `gone`.
    fn track_packet(
        &self,
        packet: &CtPacket,
        action: &CtAction,
        arrival: &CtArrival<'_>,
        gone: &mut Vec<CtAlias>,
    ) -> Result<Tracked, DropReason> {
        let sought = self.sought(&packet.tuple);
        if action.commit.is_none() && !self.presence.may_have(sought.hash) {
            return Ok(self.found_none(arrival.now, packet).0.into());
        }
        self.track_sought(packet, sought, action, arrival, gone)
    }

    /// As [`track_packet`](Self::track_packet), with what the packet's connection is found by.
    fn track_sought(
        &self,
        packet: &CtPacket,
        sought: Sought,
        action: &CtAction,
        arrival: &CtArrival<'_>,
        gone: &mut Vec<CtAlias>,
    ) -> Result<Tracked, DropReason> {
        let CtArrival { now, budget, .. } = *arrival;
        let mut at = self.locate_sought(&packet.tuple, sought);
        if at.is_stale {
            return Ok(FoundConnection::invalid(action.zone).into());
        }
        if let Some(slot) = at.slot
            && let Some(connection) = at.shard.get(slot)
        {
            let is_over = at.shard.expires(slot) <= now;
            let begins_anew = action.commit.is_some_and(|c| c.force) && at.is_reply;
            if is_over || begins_anew {
                self.counts.expired.fetch_add(is_over.into(), Ordering::Relaxed);
                let why = match is_over {
                    true => CtEnding::of_expired(connection),
                    false => CtEnding::Replaced,
                };
                at = self.without(at, slot, &packet.tuple, why, now);
            }
        }
        let mut bits = ct_state::TRACKED;
        if let Some(slot) = at.slot
            && let Some(connection) = at.shard.get_mut(slot)
        {
            let of_sender = connection.help.as_ref();
            let of_sender = of_sender.map(|help| help.in_numbers_of_sender(packet, at.is_reply));
            let judged = of_sender.as_ref().unwrap_or(packet);
            let (flags, timeout) = self.judge(&mut connection.state, judged, at.is_reply);
            if let Some(counts) = &mut connection.counts
                && flags.is_some_and(|flags| flags & (ct_state::NEW | ct_state::ESTABLISHED) != 0)
                && !arrival.is_counted(action.zone)
            {
                counts.add(at.is_reply, arrival.size);
            }
            if let Some(timeout) = timeout {
                self.count_answered(connection, timeout);
                at.shard.set_timeout(slot, timeout, now);
            }
            match flags {
                Some(flags) => bits |= flags,
                None => at = self.without(at, slot, &packet.tuple, CtEnding::Closed, now),
            }
        }
        let mut is_made = false;
        let mut known = FoundConnection { state: bits, zone: action.zone, ..Default::default() };
        if at.slot.is_none() {
            let expected;
            (known, expected) = self.found_none(now, packet);
            if known.state & ct_state::NEW != 0
                && action.commit.is_some()
                && self.may_begin(&packet.tuple, budget, now)
            {
                (at, is_made) = self.begin(at, packet, action, expected.as_ref(), now, gone)?;
            }
        }
        let Located { shard, shard_no, slot, is_reply, .. } = &mut at;
        if let (Some(slot), Some(commit)) = (*slot, &action.commit) {
            self.commit(shard, slot, commit, is_made.then_some(arrival.size), now);
        }
        let connection = slot.and_then(|slot| Some((slot, shard.get(slot)?)));
        let Some((slot, connection)) = connection else { return Ok(known.into()) };
        known.place = Some(CtPlace {
            shard: *shard_no,
            slot,
            serial: connection.serial,
            is_reply: *is_reply,
            is_error: packet.is_error,
        });
        (known.mark, known.label) = (connection.mark, connection.label);
        known.original = Some(connection.original());
        let mut tracked = Tracked::from(known);
        if let Some(help) = &connection.help {
            tracked.look_at_help(help);
        }
        tracked.translate(connection, action);
        Ok(tracked)
    }

    /// What is found of a packet that belongs to no connection. If another connection has told of the one that
    /// the packet would begin, that is returned as well.
    fn found_none(&self, now: u64, packet: &CtPacket) -> (FoundConnection, Option<Expectation>) {
        let mut found = FoundConnection::new(&packet.tuple);
        if packet.is_error || !ProtocolState::may_begin(packet) {
            found.state = ct_state::TRACKED | ct_state::INVALID;
            return (found, None);
        }
        let expected = self.expectations.get(now, &packet.tuple);
        if let Some(Expectation { parent, mark, label, .. }) = &expected {
            found.state |= ct_state::RELATED;
            (found.mark, found.label, found.original) = (*mark, *label, Some(*parent));
        }
        (found, expected)
    }

    /// Whether a worker's budget refuses a connection that begins with a packet of this tuple. If not, nothing
    /// has happened yet.
    fn refuses(&self, tuple: &CtTuple, budget: Option<(&CtBudget, PortNo)>, now: u64) -> bool {
        let is_known = || self.limits.is_known(tuple);
        let refuses = budget.is_some_and(|(budget, port)| budget.refuses(now, port, is_known));
        self.counts.refused_port.fetch_add(refuses.into(), Ordering::Relaxed);
        refuses
    }

    /// Whether a connection may begin with a packet of this tuple, as far as a worker's budget goes.
    fn may_begin(&self, tuple: &CtTuple, budget: Option<(&CtBudget, PortNo)>, now: u64) -> bool {
        let is_known = || self.limits.is_known(tuple);
        let may = budget.is_none_or(|(budget, port)| budget.admit(now, port, is_known));
        self.counts.refused_port.fetch_add((!may).into(), Ordering::Relaxed);
        may
    }

    /// Counts a connection among the answered ones of its source address, once it has come that far.
    fn count_answered(&self, connection: &mut CtEntry, timeout: Timeout) {
        if is_answered(timeout) && !connection.is_answered {
            connection.is_answered = true;
            self.limits.count_answered(&connection.original());
        }
    }

    /// Forgets a connection for this reason, and finds out where packets with this tuple belong then.
    fn without(
        &self,
        mut at: Located<'_>,
        slot: u32,
        tuple: &CtTuple,
        why: CtEnding,
        now: u64,
    ) -> Located<'_> {
        let mut gone = Vec::new();
        self.forget(&mut at.shard, slot, why, now, &mut gone);
        drop(at);
        if self.as_ovs && why == CtEnding::Closed {
            let mut lingering = self.lingering.lock();
            gone.drain(..).for_each(|alias| lingering.add(alias, now));
            lingering.take_over(now, &mut gone);
        }
        // At once, so that the connection that begins now may have the same tuple.
        self.remove_aliases(&mut gone);
        self.locate(tuple)
    }

    /// Remembers a connection that begins with a packet, if there is room for it. `expected` is what is known
    /// of the connection if another one has told of it. Returns where the connection is, and whether this
    /// packet has begun it.
    fn begin<'a>(
        &'a self,
        mut at: Located<'a>,
        packet: &CtPacket,
        action: &CtAction,
        expected: Option<&Expectation>,
        now: u64,
        gone: &mut Vec<CtAlias>,
    ) -> Result<(Located<'a>, bool), DropReason> {
        let original = &packet.tuple;
        let (mut translation, mut is_made) = (None, false);
        if let Some(nat) =
            translation_of(action, expected).filter(|nat| nat.can_translate(original.is_ipv6))
        {
            drop(at);
            translation = self.reserve(original, nat, now, false);
            if translation.is_none() {
                self.counts.nat_exhausted.fetch_add(1, Ordering::Relaxed);
                // In Open vSwitch, the packet stays new and goes on as it is.
                return match self.as_ovs {
                    true => Ok((self.locate(original), false)),
                    false => Err(DropReason::NatExhausted),
                };
            }
            at = self.locate(original);
        }
        let state = ProtocolState::begin(packet);
        let help = match expected {
            Some(expectation) => Some(CtHelp::ToldBy(expectation.parent)),
            None => action.commit.and_then(|commit| commit.alg).map(CtHelp::teller),
        };
        let new = NewConnection { original: *original, state, nat: translation, help };
        // Another worker may have been faster.
        if at.slot.is_none()
            && let Some(slot) = self.add(&mut at, new, now, gone)
        {
            is_made = true;
            if let Some(Expectation { mark, label, .. }) = expected {
                self.expectations.fulfil(original);
                if let Some(connection) = at.shard.get_mut(slot) {
                    (connection.mark, connection.label) = (*mark, *label);
                }
            }
        } else if let Some(CtNat { reply, has_alias: true, .. }) = translation {
            gone.push(CtAlias { reply, original: *original });
        }
        Ok((at, is_made))
    }

    /// Writes mark and label of the connection in a slot, and tells of it if a packet in a frame of `made_by`
    /// bytes has begun it.
    fn commit(
        &self,
        shard: &mut CtShard,
        slot: u32,
        commit: &CtCommit,
        made_by: Option<usize>,
        now: u64,
    ) {
        shard.write(slot, commit);
        if let Some(size) = made_by.filter(|_| self.events.is_watched()) {
            self.tell_made(shard, slot, now, size);
        }
    }

    /// Adds a connection to the shard where it was not found, if there is room for it. Returns its slot. The
    /// aliases of connections that had to go are added to `gone`.
    fn add(
        &self,
        at: &mut Located<'_>,
        new: NewConnection,
        now: u64,
        gone: &mut Vec<CtAlias>,
    ) -> Option<u32> {
        self.make_room(&mut at.shard, &new.original, now, gone).then(|| {
            self.counts.created.fetch_add(1, Ordering::Relaxed);
            self.insert(at, new, now)
        })
    }

    /// Adds a connection to the shard where it was not found. Returns its slot.
    fn insert(&self, at: &mut Located<'_>, new: NewConnection, now: u64) -> u32 {
        self.presence.add(at.hash);
        let slot = at.shard.insert(new, at.hash, now);
        at.slot = Some(slot);
        slot
    }

    /// Moves a connection on. Returns the bits of [`ct_state`] that the packet gets, or `None` if
    /// the connection is over and the packet begins another one; and the timeout that holds from
    /// now on, if it changes.
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

    /// What [`track`](Self::track) would find and do, without any change of the table. Whether there is room
    /// for a connection that begins is not asked.
    ///
    /// # Errors
    ///
    /// Those of [`track`](Self::track), for the same reasons.
    pub fn look_up(
        &self,
        now: Duration,
        frame: &Frame<'_>,
        action: &CtAction,
    ) -> Result<Tracked, DropReason> {
        let zone = action.zone;
        let Some(packet) = self.read(frame, zone) else {
            return Ok(FoundConnection::invalid(zone).into());
        };
        let at = self.locate(&packet.tuple);
        let known = at.slot.filter(|slot| at.shard.expires(*slot) > ms(now));
        let known = known.and_then(|slot| at.shard.get(slot)).cloned();
        let (is_reply, is_stale) = (at.is_reply, at.is_stale);
        drop(at);
        if is_stale {
            return Ok(FoundConnection::invalid(zone).into());
        }
        let begins_anew = action.commit.is_some_and(|c| c.force) && is_reply;
        let known = known.filter(|_| !begins_anew);
        let original = Some(packet.tuple);
        let mut found = FoundConnection { zone, original, ..Default::default() };
        if let Some(mut connection) = known
            && let help = connection.help.clone()
            && let judged = help.as_ref().map(|help| help.in_numbers_of_sender(&packet, is_reply))
            && let (Some(flags), _) =
                self.judge(&mut connection.state, judged.as_ref().unwrap_or(&packet), is_reply)
        {
            if let Some(commit) = &action.commit {
                connection.write(commit);
            }
            (found.mark, found.label) = (connection.mark, connection.label);
            found.original = Some(connection.original());
            found.state = ct_state::TRACKED | flags;
            let (is_error, serial) = (packet.is_error, connection.serial);
            found.place = Some(CtPlace { shard: 0, slot: 0, serial, is_reply, is_error });
            let mut tracked = Tracked::from(found);
            if let Some(help) = &help {
                tracked.look_at_help(help);
                tracked.is_helped = false;
            }
            tracked.translate(&connection, action);
            return Ok(tracked);
        }
        let (found, expected) = self.found_none(ms(now), &packet);
        if found.state & ct_state::NEW == 0 {
            return Ok(found.into());
        }
        let mut tracked = Tracked::from(found);
        if let Some(commit) = &action.commit {
            tracked.found.mark = commit.mark.of(found.mark);
            tracked.found.label = commit.label.of(found.label);
            if let Some(nat) = translation_of(action, expected.as_ref())
                .filter(|n| n.can_translate(packet.tuple.is_ipv6))
            {
                let nat = match self.reserve(&packet.tuple, nat, ms(now), true) {
                    Some(nat) => nat,
                    None if self.as_ovs => return Ok(found.into()),
                    None => return Err(DropReason::NatExhausted),
                };
                tracked.found.state |= nat.flag(false);
                let (from, to) = (packet.tuple, nat.reply.reversed());
                tracked.translation = Some(CtTranslation { from, to, is_error: false });
            }
        }
        Ok(tracked)
    }

    /// Admits a connection, and evicts a half-open one of the shard if the table is full. Returns whether there
    /// is room. The aliases of connections that had to go are added to `gone`.
    fn make_room(
        &self,
        shard: &mut CtShard,
        original: &CtTuple,
        now: u64,
        gone: &mut Vec<CtAlias>,
    ) -> bool {
        let counts = &self.counts;
        for _ in 0..2 {
            if let Some(over) = shard.expire_one(now) {
                self.let_go(&over, CtEnding::of_expired(&over), now, gone);
                counts.expired.fetch_add(1, Ordering::Relaxed);
            }
        }
        let mut admitted = self.limits.admit(original);
        if admitted == Err(CtRefusal::Full)
            && let Some(evicted) = shard.evict_half_open()
        {
            self.let_go(&evicted, CtEnding::Evicted, now, gone);
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

    /// Removes the connection in a slot for this reason. Its alias is added to `gone`.
    fn forget(
        &self,
        shard: &mut CtShard,
        slot: u32,
        why: CtEnding,
        now: u64,
        gone: &mut Vec<CtAlias>,
    ) {
        if let Some(connection) = shard.remove(slot) {
            self.let_go(&connection, why, now, gone);
        }
    }

    /// Lets go of what belongs to a connection that has been removed for this reason, with its shard still
    /// locked. Its alias is added to `gone`.
    fn let_go(&self, connection: &CtEntry, why: CtEnding, now: u64, gone: &mut Vec<CtAlias>) {
        self.presence.remove(connection.hash);
        if self.events.is_watched() {
            self.tell_ended(connection, why, now);
        }
        self.limits.release(&connection.original(), connection.is_answered);
        gone.extend(connection.alias());
        if connection.help.as_ref().is_some_and(|help| help.alg().is_some()) {
            self.expectations.forget(&connection.original());
        }
    }
}

/// How a connection is to be translated that begins: as the action says, or as the connection that told of it
/// if the action asks for translation at all.
fn translation_of<'a>(action: &'a CtAction, expected: Option<&'a Expectation>) -> Option<&'a Nat> {
    let own = action.nat.as_ref()?;
    expected.map_or(Some(own), |expectation| expectation.nat.as_ref())
}

/// The shard of a hash. The table inside the shard takes the low and the highest bits.
fn shard_of(hash: u64) -> u16 {
    (hash >> 40) as u16 % SHARDS as u16
}

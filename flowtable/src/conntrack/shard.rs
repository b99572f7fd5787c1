//! A part of the connection table: connections in slots, an index of their tuples, and a list for each timeout.
//!
//! A slot is in the list of the timeout that holds for its connection, the one that was moved longest ago
//! first. So the connections that end first are found at the heads of the lists, without looking at the others.
//! A packet moves its connection to the end of the list only if it has not been moved for an eighth of the
//! timeout. So a connection in use touches its neighbours in memory rarely. A connection that is idle is
//! removed at most an eighth later than it could be. Workers that remember a connection put off its end without
//! the lock, and move it as rarely (`known`). A timeout that a zone has of its own has no list, but its order
//! of magnitude has: the heads of these lists hold up others for no longer than the others' own timeouts.

use super::connection::{ConnectionInfo, ProtocolState};
use super::events::CtCounts;
use super::help::CtHelp;
use super::nat::{AliasHashes, CtAlias, CtNat, CtTranslation, KeptNat};
use super::pulse::Pulse;
use super::slots::Slots;
use super::timeouts::{HALF_OPEN, Timeout, ZoneTimeouts};
use super::tuple::CtTuple;
use flow::verdict::CtCommit;
use hashbrown::HashTable;
use std::sync::Arc;
use std::time::Duration;

/// In place of the number of a slot: none.
const NONE: u32 = u32::MAX;
/// A packet moves a connection that was not moved for the timeout divided by this.
pub(super) const MOVES: u64 = 8;
/// Number of successive slots whose pulses share an allocation, which workers hold that remember one of them.
const BLOCK: usize = 64;
/// The unit of [`CtEntry::created`] in milliseconds. The number of units comes again after 13 years.
const TENTH: u64 = 100;

/// The pulses of some successive slots.
pub(super) type PulseBlock = [Pulse; BLOCK];

/// A connection in its slot.
#[derive(Clone, Debug)]
pub(super) struct CtEntry {
    /// The tuple that both directions have in common: see [`CtTuple::canonical`].
    pub(super) canonical: CtTuple,
    /// Whether the first packet had the reversed tuple.
    pub(super) is_swapped: bool,
    /// How the connection is translated; `None` if it is not.
    nat: Option<Box<KeptNat>>,
    /// What it has to do with other connections; `None` if nothing.
    pub(super) help: Option<Box<CtHelp>>,
    /// Its packets so far; `None` if nobody counts them.
    pub(super) counts: Option<Box<CtCounts>>,
    pub(super) timeout: Timeout,
    /// The timeout in seconds, which is the zone's or the default.
    seconds: u32,
    pub(super) state: ProtocolState,
    pub(super) mark: u32,
    pub(super) label: u128,
    /// When the connection was made, in tenths of a second.
    created: u32,
    /// When the slot was moved to the end of its list, in milliseconds.
    pub(super) moved: u64,
    /// Whether the connection counts among the answered ones of its source address.
    pub(super) is_answered: bool,
    /// Tells the connection from those that had the slot before.
    pub(super) serial: u32,
    /// The hash of the canonical tuple.
    pub(super) hash: u64,
    previous: u32,
    next: u32,
}

// There may be three million of these.
const _: () = assert!(size_of::<Option<CtEntry>>() == 160);

impl CtEntry {
    /// The tuple of the connection's first packet.
    pub(super) fn original(&self) -> CtTuple {
        if self.is_swapped { self.canonical.reversed() } else { self.canonical }
    }

    /// The tuple of the connection's answers.
    pub(super) fn reply(&self) -> CtTuple {
        self.nat().map_or_else(|| self.original().reversed(), |nat| nat.reply)
    }

    /// How the connection is translated; `None` if it is not.
    pub(super) fn nat(&self) -> Option<CtNat> {
        self.nat.as_ref().map(|nat| nat.of(&self.canonical))
    }

    /// The time since the connection was made, in tenths of a second.
    pub(super) fn age(&self, now: u64) -> Duration {
        let tenths = ((now / TENTH) as u32).wrapping_sub(self.created);
        Duration::from_millis(u64::from(tenths) * TENTH)
    }

    /// Notes that the connection was made `age` milliseconds before now.
    pub(super) fn set_age(&mut self, now: u64, age: u64) {
        self.created = ((now / TENTH) as u32).wrapping_sub((age / TENTH) as u32);
    }

    /// The timeout in milliseconds.
    pub(super) fn period(&self) -> u64 {
        u64::from(self.seconds) * 1000
    }

    /// The list that the connection's slot is in.
    fn list(&self) -> usize {
        match self.seconds == self.timeout.default_seconds() {
            true => self.timeout as usize,
            false => Timeout::ALL.len() + self.seconds.max(1).ilog2() as usize,
        }
    }

    fn has_alias(&self) -> bool {
        self.nat.as_ref().is_some_and(|nat| nat.has_alias())
    }

    /// The alias under which answers are found; `None` if they are found without.
    pub(super) fn alias(&self) -> Option<CtAlias> {
        self.has_alias().then(|| CtAlias { reply: self.reply(), original: self.original() })
    }

    /// How a packet is translated; `None` if it keeps its addresses and ports.
    pub(super) fn translation(&self, is_reply: bool, is_error: bool) -> Option<CtTranslation> {
        let nat = self.nat()?;
        let (from, to) = match is_reply {
            true => (nat.reply, self.original().reversed()),
            false => (self.original(), nat.reply.reversed()),
        };
        (from != to).then_some(CtTranslation { from, to, is_error })
    }

    /// Writes mark and label. Returns whether they have changed.
    pub(super) fn write(&mut self, commit: &CtCommit) -> bool {
        let before = (self.mark, self.label);
        self.mark = commit.mark.of(self.mark);
        self.label = commit.label.of(self.label);
        (self.mark, self.label) != before
    }

    /// The connection, for somebody who asks `left` milliseconds before its end.
    pub(super) fn info(&self, left: u64) -> ConnectionInfo {
        let original = self.original();
        ConnectionInfo {
            original,
            reply: self.reply(),
            mark: self.mark,
            label: self.label,
            alg: self.help.as_ref().and_then(|help| help.alg()),
            parent: self.help.as_ref().and_then(|help| help.parent()),
            left: Duration::from_millis(left),
            tcp: match &self.state {
                ProtocolState::Tcp(tcp) => Some(tcp.states()),
                ProtocolState::Icmp { .. } | ProtocolState::Other(_) => None,
            },
        }
    }
}

/// Number of lists: one for each default timeout, and one for each order of magnitude of other ones.
const LISTS: usize = Timeout::ALL.len() + u32::BITS as usize;

/// The ends of a list of slots.
#[derive(Clone, Copy, Debug)]
struct SlotList {
    head: u32,
    tail: u32,
}

/// A slot, with a part of the hash of its connection: so the index grows without a look at the connections,
/// which are somewhere in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IndexEntry {
    slot: u32,
    part: u32,
}

impl IndexEntry {
    fn new(hash: u64, slot: u32) -> Self {
        Self { slot, part: hash as u32 }
    }

    /// The hash by which the index is searched for a connection with this hash.
    fn place(hash: u64) -> u64 {
        // The index takes the low and the highest bits, and these have to follow from
        // the part that entries keep.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        u64::from(hash as u32).wrapping_mul(SPREAD)
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct CtShard {
    index: HashTable<IndexEntry>,
    /// The aliases whose tuples belong to this shard. The tuples themselves are with the connection.
    aliases: HashTable<AliasHashes>,
    slots: Slots,
    /// The pulses of all slots.
    pulses: Vec<Arc<PulseBlock>>,
    /// Numbers of the slots without a connection.
    free: Vec<u32>,
    lists: [SlotList; LISTS],
    /// How many of the lists are in use: those of other than default timeouts once there are such.
    used_lists: usize,
    /// No list has a connection to remove before this time, in milliseconds. So most packets that add a
    /// connection need not look at the heads of the lists, which are somewhere in memory.
    due: u64,
    timeouts: ZoneTimeouts,
    /// The serial number of the next connection.
    serial: u32,
}

impl Default for CtShard {
    fn default() -> Self {
        Self {
            index: HashTable::new(),
            aliases: HashTable::new(),
            slots: Slots::default(),
            pulses: Vec::new(),
            free: Vec::new(),
            lists: [SlotList { head: NONE, tail: NONE }; LISTS],
            used_lists: Timeout::ALL.len(),
            due: u64::MAX,
            timeouts: ZoneTimeouts::default(),
            serial: 0,
        }
    }
}

impl CtShard {
    /// Sets the timeouts of zones. They hold for a connection from its next packet on.
    pub(super) fn set_timeouts(&mut self, timeouts: ZoneTimeouts) {
        // Workers remember timeouts with their connections.
        self.pulses.iter().flat_map(|block| &**block).for_each(Pulse::advance);
        if !timeouts.is_empty() {
            self.used_lists = LISTS;
        }
        self.timeouts = timeouts;
    }

    /// A timeout of a zone in milliseconds.
    pub(super) fn period(&self, zone: u16, timeout: Timeout) -> u64 {
        u64::from(self.timeouts.seconds(zone, timeout)) * 1000
    }

    /// The connection in this slot.
    pub(super) fn get(&self, slot: u32) -> Option<&CtEntry> {
        self.slots.get(slot)
    }

    /// The connection in this slot, to change.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut CtEntry> {
        self.slots.get_mut(slot)
    }

    /// The pulse of this slot, which must have had a connection.
    fn pulse(&self, slot: u32) -> &Pulse {
        &self.pulses[slot as usize / BLOCK][slot as usize % BLOCK]
    }

    /// The pulses of this slot and its neighbours, and which one is the slot's.
    pub(super) fn block(&self, slot: u32) -> Option<(&Arc<PulseBlock>, u8)> {
        Some((self.pulses.get(slot as usize / BLOCK)?, (slot as usize % BLOCK) as u8))
    }

    /// When the connection in this slot ends if no packet comes, in milliseconds. The slot
    /// must have had a connection.
    pub(super) fn expires(&self, slot: u32) -> u64 {
        self.pulse(slot).expires()
    }

    /// The connection in this slot, for somebody who changes what packets find of it.
    pub(super) fn get_to_alter(&mut self, slot: u32) -> Option<&mut CtEntry> {
        self.get(slot)?;
        self.pulse(slot).advance();
        self.get_mut(slot)
    }

    /// Writes mark and label of the connection in this slot.
    pub(super) fn write(&mut self, slot: u32, commit: &CtCommit) {
        if self.get_mut(slot).is_some_and(|connection| connection.write(commit)) {
            self.pulse(slot).advance();
        }
    }

    /// Counts the packets of the connection in this slot no longer.
    pub(super) fn stop_counting(&mut self, slot: u32) {
        if self.get_mut(slot).is_some_and(|connection| connection.counts.take().is_some()) {
            // Workers that remember the connection count its packets.
            self.pulse(slot).advance();
        }
    }

    /// The slot of the connection with this canonical tuple and hash. `is_reversed` says whether the
    /// packet's tuple is the reversed one: a translated connection is found by its original tuple,
    /// and not by that reversed.
    pub(super) fn find(&self, canonical: &CtTuple, hash: u64, is_reversed: bool) -> Option<u32> {
        let is_same = |entry: &IndexEntry| {
            entry.part == hash as u32
                && self.slots.get(entry.slot).is_some_and(|c| {
                    c.canonical == *canonical && (c.is_swapped == is_reversed || !c.has_alias())
                })
        };
        self.index.find(IndexEntry::place(hash), is_same).map(|entry| entry.slot)
    }

    /// The hash of the original tuple of the connection whose alias has the hash `reply`.
    pub(super) fn alias(&self, reply: u64) -> Option<u64> {
        if self.aliases.is_empty() {
            return None;
        }
        self.aliases.find(reply, |alias| alias.reply() == reply).map(AliasHashes::original)
    }

    /// The slot of the connection with this hash of its original tuple whose answers have the tuple `reply`.
    pub(super) fn find_translated(&self, original: u64, reply: &CtTuple) -> Option<u32> {
        let is_same = |entry: &IndexEntry| {
            entry.part == original as u32
                && self
                    .get(entry.slot)
                    .is_some_and(|c| c.nat().is_some_and(|nat| nat.reply == *reply))
        };
        self.index.find(IndexEntry::place(original), is_same).map(|entry| entry.slot)
    }

    /// Adds an alias with the hash `reply`, which must be unknown, of the connection with this
    /// hash of its original tuple.
    pub(super) fn add_alias(&mut self, reply: u64, original: u64) {
        let alias = AliasHashes::new(reply, original);
        self.aliases.insert_unique(reply, alias, AliasHashes::reply);
    }

    /// Removes an alias, unless it names another connection by now. Returns whether it was removed.
    pub(super) fn remove_alias(&mut self, reply: u64, original: u64) -> bool {
        let wanted = AliasHashes::new(reply, original);
        let entry = self.aliases.find_entry(reply, |alias| *alias == wanted);
        entry.is_ok_and(|entry| {
            entry.remove();
            true
        })
    }

    /// Adds a connection. The tuple must be unknown.
    pub(super) fn insert(&mut self, new: NewConnection, hash: u64, now: u64) -> u32 {
        let NewConnection { original, state, nat, help } = new;
        let (canonical, is_swapped) = original.canonical();
        let timeout = state.first_timeout();
        let seconds = self.timeouts.seconds(canonical.zone, timeout);
        self.serial = self.serial.wrapping_add(1);
        let connection = CtEntry {
            serial: self.serial,
            canonical,
            is_swapped,
            nat: nat.map(|nat| Box::new(nat.into())),
            help: help.map(Box::new),
            counts: None,
            timeout,
            seconds,
            state,
            mark: 0,
            label: 0,
            is_answered: false,
            created: (now / TENTH) as u32,
            moved: now,
            hash,
            previous: NONE,
            next: NONE,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots.put(slot, connection);
                slot
            }
            None => {
                if self.slots.len() as usize == self.pulses.len() * BLOCK {
                    self.pulses.push(Arc::new(std::array::from_fn(|_| Pulse::default())));
                }
                self.slots.push(connection)
            }
        };
        self.set_expires(slot, now + u64::from(seconds) * 1000);
        let place_of = |entry: &IndexEntry| IndexEntry::place(entry.part.into());
        self.index.insert_unique(IndexEntry::place(hash), IndexEntry::new(hash, slot), place_of);
        self.link(slot);
        slot
    }

    /// Removes the connection in this slot.
    pub(super) fn remove(&mut self, slot: u32) -> Option<CtEntry> {
        self.get(slot)?;
        self.unlink(slot);
        let connection = self.slots.take(slot)?;
        self.pulse(slot).advance();
        let wanted = IndexEntry::new(connection.hash, slot);
        let place = IndexEntry::place(connection.hash);
        if let Ok(entry) = self.index.find_entry(place, |entry| *entry == wanted) {
            entry.remove();
        }
        self.free.push(slot);
        Some(connection)
    }

    /// Begins a timeout for the connection in this slot.
    pub(super) fn set_timeout(&mut self, slot: u32, timeout: Timeout, now: u64) {
        let Some(connection) = self.slots.get_mut(slot) else { return };
        let seconds = self.timeouts.seconds(connection.canonical.zone, timeout);
        let period = u64::from(seconds) * 1000;
        let is_other = connection.timeout != timeout || connection.seconds != seconds;
        let is_to_move = is_other || now.saturating_sub(connection.moved) >= period / MOVES;
        self.set_expires(slot, now + period);
        if is_to_move {
            self.unlink(slot);
            if let Some(connection) = self.get_mut(slot) {
                (connection.timeout, connection.seconds) = (timeout, seconds);
                connection.moved = now;
            }
            self.link(slot);
        }
    }

    /// As [`set_timeout`](Self::set_timeout), of which `left` milliseconds are left.
    pub(super) fn begin_timeout_with(&mut self, slot: u32, timeout: Timeout, now: u64, left: u64) {
        self.set_timeout(slot, timeout, now);
        if let Some(period) = self.get(slot).map(CtEntry::period) {
            self.set_expires(slot, now + left.min(period));
        }
    }

    /// Sets when the connection in this slot ends if no packet comes, in milliseconds.
    fn set_expires(&mut self, slot: u32, expires: u64) {
        self.pulse(slot).set_expires(expires);
        self.due = self.due.min(expires);
    }

    /// Removes a connection whose time has come. `None` if there is none at the head of any list.
    pub(super) fn expire_one(&mut self, now: u64) -> Option<CtEntry> {
        if now < self.due {
            return None;
        }
        self.due = u64::MAX;
        for list in 0..self.used_lists {
            while let Some(connection) = self.get(self.lists[list].head) {
                let slot = self.lists[list].head;
                if self.expires(slot) <= now {
                    self.due = now;
                    return self.remove(slot);
                }
                let due = connection.moved + connection.period();
                if due > now {
                    self.due = self.due.min(due).min(self.expires(slot));
                    break;
                }
                // A packet came since, which did not move the slot.
                self.unlink(slot);
                if let Some(connection) = self.get_mut(slot) {
                    connection.moved = now;
                }
                self.link(slot);
            }
        }
        None
    }

    /// Removes the half-open connection that was idle for the longest time. `None` if there is none.
    pub(super) fn evict_half_open(&mut self) -> Option<CtEntry> {
        let mut heads = HALF_OPEN.iter().map(|t| self.lists[*t as usize].head);
        let others = &self.lists[Timeout::ALL.len()..self.used_lists];
        let mut others = others.iter().map(|list| list.head).filter(|slot| {
            self.get(*slot).is_some_and(|connection| HALF_OPEN.contains(&connection.timeout))
        });
        let slot = heads.find(|slot| *slot != NONE).or_else(|| others.next())?;
        self.remove(slot)
    }

    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The numbers of all slots that have ever had a connection.
    pub(super) fn slots(&self) -> u32 {
        self.slots.len()
    }

    /// Appends a slot to the list of its connection's timeout.
    fn link(&mut self, slot: u32) {
        let Some(list) = self.get(slot).map(CtEntry::list) else { return };
        let tail = std::mem::replace(&mut self.lists[list].tail, slot);
        match self.get_mut(tail) {
            Some(last) => last.next = slot,
            None => self.lists[list].head = slot,
        }
        if let Some(connection) = self.get_mut(slot) {
            (connection.previous, connection.next) = (tail, NONE);
        }
    }

    /// Takes a slot out of the list of its connection's timeout.
    fn unlink(&mut self, slot: u32) {
        let Some(connection) = self.get(slot) else { return };
        let (list, previous, next) = (connection.list(), connection.previous, connection.next);
        match self.get_mut(previous) {
            Some(before) => before.next = next,
            None => self.lists[list].head = next,
        }
        match self.get_mut(next) {
            Some(behind) => behind.previous = previous,
            None => self.lists[list].tail = previous,
        }
    }
}

/// What a connection begins with.
pub(super) struct NewConnection {
    /// The tuple of the first packet.
    pub(super) original: CtTuple,
    pub(super) state: ProtocolState,
    pub(super) nat: Option<CtNat>,
    pub(super) help: Option<CtHelp>,
}

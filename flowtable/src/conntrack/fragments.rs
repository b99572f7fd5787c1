//! Fragments that wait for the rest of their packets, because only a whole packet can be tracked.
//!
//! The frame of a fragment is kept until all fragments of its packet are there. Then the packet is put
//! together, tracked as any other, and its fragments go on as they came, with the addresses and the bytes that
//! a translation has given the packet. Open vSwitch does the same (`lib/ipf.c`), and its limits hold here:
//! 1,000 fragments, 15 seconds, and only the last fragment of a packet may be small. A fragment that comes
//! again is invalid, as in Open vSwitch. A fragment that overlaps another one otherwise takes the packet with
//! it (RFC 5722), while Open vSwitch keeps what came first, as [`FragmentRules::as_ovs`] asks to.
//!
//! The memory is bounded in fragments and bytes, and shared. A port, and a source address at a port, may each
//! hold as much as there is room left: one that sends ever new fragments gets half of it. Who wants more loses
//! the packet that waits for longest, and nobody else loses one.
//!
//! - `fragment` reads the headers of one fragment, `datagram` has the fragments of one packet.
//! - There is one table with one lock, which only fragments take.

mod datagram;
mod fragment;

pub(crate) use datagram::Reassembled;

use datagram::{Added, Datagram};
use flow::types::PortNo;
use flow::verdict::DropReason;
use fragment::DatagramKey;
use packet::Frame;
use std::collections::{BTreeMap, HashMap};

/// How long fragments wait for the rest of their packet, in milliseconds.
const TIMEOUT_MS: u64 = 15_000;
/// How many fragments may wait, as in Open vSwitch.
const MAX_FRAGMENTS: usize = 1_000;
/// How many bytes the frames of fragments that wait may have.
const MAX_BYTES: usize = 4 << 20;

/// Which fragments are kept, and which of them make a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FragmentRules {
    /// The smallest frames of IPv4, in bytes, that may have a fragment which is not the last of its packet.
    /// Smaller ones only serve to hide what a packet is.
    min_ipv4: u32,
    /// The same of IPv6.
    min_ipv6: u32,
    /// Whether the table does as Open vSwitch 3.1: fragments of one packet may come in at several ports, may
    /// end between two units of eight bytes, and are invalid if they overlap one that is there.
    as_ovs: bool,
}

impl FragmentRules {
    #[cfg(test)]
    const ANY_SIZE: Self = Self { min_ipv4: 0, min_ipv6: 0, as_ovs: false };
    /// With the sizes of Open vSwitch.
    const DEFAULT: Self = Self { min_ipv4: 1_200, min_ipv6: 1_280, as_ovs: false };
}

/// What becomes of a frame that may have a fragment.
#[derive(Debug)]
pub(crate) enum Kept {
    /// The frame has no fragment that could be part of a packet, or one that waits already. In a table that
    /// does as Open vSwitch: or one that overlaps another one.
    Unusable,
    /// The fragment is kept and waits for others.
    Waits,
    /// The packet is complete.
    Complete(Box<Reassembled>),
    /// The fragment is dropped.
    Refused(DropReason),
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    fragments: usize,
    bytes: usize,
}

impl Load {
    fn plus(self, other: Self) -> Self {
        Self { fragments: self.fragments + other.fragments, bytes: self.bytes + other.bytes }
    }

    fn minus(self, other: Self) -> Self {
        Self { fragments: self.fragments - other.fragments, bytes: self.bytes - other.bytes }
    }

    fn fits(self) -> bool {
        self.fragments <= MAX_FRAGMENTS && self.bytes <= MAX_BYTES
    }
}

/// Whose fragments wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    /// A source address at a port.
    Source(PortNo, [u8; 16]),
    Port(PortNo),
    Everybody,
}

/// What waits of one holder.
#[derive(Debug, Default)]
struct Holding {
    load: Load,
    /// The packets by the number of their first fragment, the oldest first.
    packets: BTreeMap<u64, DatagramKey>,
}

/// A packet of which fragments are missing.
#[derive(Debug)]
struct Waiting {
    datagram: Datagram,
    load: Load,
    /// Number of its first fragment, in the order of their arrival.
    number: u64,
    /// When the packet is given up, in milliseconds.
    expires: u64,
}

/// How often something happened to fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentStats {
    /// Fragments that wait at the moment.
    pub waiting: u64,
    /// Packets that were put together.
    pub reassembled: u64,
    /// Fragments that waited in vain.
    pub expired: u64,
    /// Fragments that had to go because their port or source address held as much as it may.
    pub evicted: u64,
    /// Fragments that were dropped with others of their packet, because one overlaps another one.
    pub overlapping: u64,
}

/// The fragments that wait. See the [module](self).
#[derive(Debug)]
pub(super) struct Fragments {
    packets: HashMap<DatagramKey, Waiting, ahash::RandomState>,
    holdings: HashMap<Holder, Holding, ahash::RandomState>,
    /// Number of the next packet.
    next: u64,
    rules: FragmentRules,
    stats: FragmentStats,
}

impl Fragments {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            packets: HashMap::with_hasher(hasher.clone()),
            holdings: HashMap::with_hasher(hasher.clone()),
            next: 0,
            rules: FragmentRules::DEFAULT,
            stats: FragmentStats::default(),
        }
    }

    /// Has the table do as Open vSwitch 3.1, or as good sense says.
    pub(super) fn set_as_ovs(&mut self, as_ovs: bool) {
        self.rules.as_ovs = as_ovs;
    }

    /// Keeps the fragment in a frame that has come in at a port, until its packet is complete.
    pub(super) fn keep(&mut self, now: u64, frame: &Frame<'_>, port: PortNo, zone: u16) -> Kept {
        self.sweep(now);
        let Some(fragment) = fragment::read(frame, port, zone, &self.rules) else {
            return Kept::Unusable;
        };
        let key = fragment.datagram;
        let load = Load { fragments: 1, bytes: frame.size() };
        if !self.make_room(&key, load) {
            self.stats.evicted += 1;
            return Kept::Refused(DropReason::FragmentBudget);
        }
        let next = &mut self.next;
        let waiting = self.packets.entry(key).or_insert_with(|| {
            *next += 1;
            let (number, expires) = (*next, now + TIMEOUT_MS);
            Waiting { datagram: Datagram::default(), load: Load::default(), number, expires }
        });
        let added = match self.rules.as_ovs {
            true => waiting.datagram.add_as_ovs(&fragment, frame),
            false => waiting.datagram.add(&fragment, frame),
        };
        if matches!(added, Added::Waits | Added::Completes) {
            waiting.load = waiting.load.plus(load);
            for holder in key.holders() {
                let holding = self.holdings.entry(holder).or_default();
                holding.load = holding.load.plus(load);
                holding.packets.insert(waiting.number, key);
            }
        }
        match added {
            Added::Waits => Kept::Waits,
            Added::Again => Kept::Unusable,
            Added::Contradicts => {
                let others = self.take(&key).map_or(0, |datagram| datagram.len());
                self.stats.overlapping += 1 + others as u64;
                Kept::Refused(DropReason::FragmentOverlap)
            }
            Added::Completes => {
                let datagram = self.take(&key);
                match datagram.and_then(|datagram| datagram.assemble(key.is_ipv6)) {
                    Some(reassembled) => {
                        self.stats.reassembled += 1;
                        Kept::Complete(Box::new(reassembled))
                    }
                    None => Kept::Unusable,
                }
            }
        }
    }

    /// Makes room for a fragment of a packet, at the expense of packets of the same source address or port.
    /// Returns whether there is room.
    fn make_room(&mut self, key: &DatagramKey, load: Load) -> bool {
        for holder in key.holders() {
            while !self.may_hold(&holder, load) {
                let held = self.holdings.get(&holder);
                let others =
                    held.and_then(|held| held.packets.values().find(|other| *other != key));
                let Some(&oldest) = others else { return false };
                let evicted = self.take(&oldest).map_or(0, |datagram| datagram.len());
                self.stats.evicted += evicted as u64;
            }
        }
        true
    }

    /// Whether a holder may hold this much more.
    fn may_hold(&self, holder: &Holder, more: Load) -> bool {
        let of = |holder| self.holdings.get(holder).map_or_else(Load::default, |held| held.load);
        let all = of(&Holder::Everybody).plus(more);
        match holder {
            Holder::Everybody => all.fits(),
            holder => all.plus(of(holder)).fits(),
        }
    }

    /// Takes a packet out, with the fragments that are there.
    fn take(&mut self, key: &DatagramKey) -> Option<Datagram> {
        let Waiting { datagram, load, number, .. } = self.packets.remove(key)?;
        for holder in key.holders() {
            if let Some(holding) = self.holdings.get_mut(&holder) {
                holding.load = holding.load.minus(load);
                holding.packets.remove(&number);
                if holding.packets.is_empty() {
                    self.holdings.remove(&holder);
                }
            }
        }
        Some(datagram)
    }

    /// What would become of a frame, without any change. A fragment is taken for one
    /// of which others are missing.
    pub(super) fn look_at(&self, frame: &Frame<'_>, port: PortNo, zone: u16) -> Kept {
        match fragment::read(frame, port, zone, &self.rules) {
            Some(_) => Kept::Waits,
            None => Kept::Unusable,
        }
    }

    /// Gives up packets that have waited for too long.
    pub(super) fn sweep(&mut self, now: u64) {
        while let Some(all) = self.holdings.get(&Holder::Everybody)
            && let Some((_, &oldest)) = all.packets.first_key_value()
            && self.packets.get(&oldest).is_none_or(|waiting| waiting.expires <= now)
        {
            match self.take(&oldest) {
                Some(datagram) => self.stats.expired += datagram.len() as u64,
                None => break,
            }
        }
    }

    pub(super) fn stats(&self) -> FragmentStats {
        let all = self.holdings.get(&Holder::Everybody);
        FragmentStats { waiting: all.map_or(0, |all| all.load.fragments) as u64, ..self.stats }
    }
}

impl DatagramKey {
    /// Who holds the packet: the narrowest first.
    fn holders(&self) -> [Holder; 3] {
        [Holder::Source(self.port, self.source), Holder::Port(self.port), Holder::Everybody]
    }
}

//! Shortcuts of established connections: from the cached flow that tracks their frames to the one that they
//! find in the next pass.
//!
//! A frame that `ct(...)` tracks is looked up twice: as it comes, and with what was found of its connection.
//! The second look-up finds the same flow for each frame of an established connection, as long as the
//! connection is as it was. So a worker remembers that flow, together with the connection
//! ([`KnownConnection`]), and the frame goes through one pass.
//!
//! # Why a shortcut leads to the right flow
//!
//! - The flow that the shortcut starts from was compared with the frame's key,
//!   and with the policy's generation.
//! - The frame has the addresses, ports and protocol of the frames for which the shortcut was made, so it is of
//!   their connection. The connection decides that it has not changed, and moves on
//!   ([`Connections::moves_on`]). So the fields that tell of the connection, and translated addresses and
//!   ports, are as they were.
//! - The other fields of the frame are compared with the flow that the shortcut leads to, and the generation is
//!   compared with its stamp.
//!
//! Whatever is not certain is no shortcut: the frame is tracked and goes round, and may make the shortcut anew.
//!
//! # Order
//!
//! A frame that takes a shortcut must not overtake an earlier one of the same addresses and ports that goes
//! round. So the frames that go round are noted for the time of a batch, and frames that may follow one of them
//! go round as well.
//!
//! # Where they are
//!
//! A shortcut belongs to a place of the signature cache, which decides what is kept. It has one cache line, so
//! that shortcuts for all places of a cache of the usual size take 16 MiB, and as much again where connections
//! are translated or of IPv6. The lines, and then the pulses of the connections, are read for a whole run of
//! frames before the first is used, so that the accesses overlap.
//!
//! If many shortcuts have found no room, the signature cache gets [`GROWTH`] times as many places
//! ([`Shortcuts::outgrown`]). Other traffic does not make it grow. A frame whose signature was displaced finds
//! its flow nearly as fast by its masked key, while a frame without a shortcut goes through two passes and the
//! table of connections.

use super::cached_flow::CachedFlow;
use super::flow_table::FlowTable;
use super::nat::{self, QuickTranslation};
use super::signatures::Signatures;
use crate::conntrack::{Connections, CtTranslation, FoundConnection, KnownConnection};
use flow::key::{HotKey, Segment, Segments};
use packet::wire::ip_proto;
use packet::{Frame, MAX_BATCH};
use std::mem::offset_of;
use std::time::Duration;

/// Number of shortcuts that share an allocation.
const PART: usize = 1024;
/// A signature cache that has become too small becomes this number of times as large.
const GROWTH: usize = 4;
/// The most places of a signature cache that has grown.
const MAX_PLACES: usize = 1 << 22;
/// A signature cache is too small as soon as it has refused room to N shortcuts, where N is the number of its
/// places divided by this number.
const PLACES_FOR_EACH_REFUSED: usize = 4;
/// Bits of the set of frames that go round.
const ROUND_BITS: usize = 1024;
/// One of this number of new shortcuts displaces one in use. More would be of no
/// use when connections take turns.
const PATIENCE: u32 = 16;

/// See the [module](self).
#[derive(Debug)]
#[repr(align(64))]
struct Shortcut {
    /// The first word of the addresses in the key, which has both addresses of IPv4.
    address: u64,
    ports: u32,
    /// The serial number of the flow that the shortcut starts from.
    from: u32,
    /// The serial number of the flow that the shortcut leads to.
    to: u32,
    /// The number of the flow that the shortcut leads to.
    index: u32,
    known: KnownConnection,
    more: Option<Box<More>>,
}

const _: () = assert!(size_of::<Option<Shortcut>>() == 64);

/// What the shortcuts of many connections do not have.
#[derive(Debug)]
struct More {
    /// The other words of IPv6 addresses in the key; `None` for IPv4.
    ipv6: Option<[u64; 3]>,
    translation: Option<ShortcutTranslation>,
}

/// How the frames of a shortcut are translated.
#[derive(Debug)]
pub(super) enum ShortcutTranslation {
    Quick(QuickTranslation),
    /// What cannot be worked out ahead.
    Full(Box<CtTranslation>),
}

impl ShortcutTranslation {
    fn new(full: CtTranslation) -> Self {
        let quick = QuickTranslation::new(&full).map(Self::Quick);
        quick.unwrap_or_else(|| Self::Full(Box::new(full)))
    }

    /// Translates a frame.
    #[inline]
    pub(super) fn apply(&self, frame: &mut Frame<'_>) {
        match self {
            Self::Quick(quick) => quick.apply(frame),
            Self::Full(full) => nat::translate(frame, full),
        }
    }
}

/// What a shortcut is made of, beside what the second pass finds.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    hot: HotKey,
    hash: u64,
    /// Number and serial number of the flow that the shortcut starts from.
    index: u32,
    from: u32,
}

/// The shortcuts of one worker.
#[derive(Debug)]
pub(super) struct Shortcuts {
    /// The number of the shortcut of each place of the signature cache, plus one; 0 for none.
    numbers: Box<[u32]>,
    parts: Vec<Box<[Option<Shortcut>]>>,
    /// Number of numbers that were given to places.
    len: u32,
    /// Counts shortcuts that found no room, or took that of another one, since the
    /// signature cache has its size.
    refused: u32,
    /// The number of the shortcut, plus one, of each frame of a run.
    ways: [u32; MAX_BATCH],
    /// Of each received frame what a shortcut could be made of, if its bit is set.
    candidates: Box<[Candidate; MAX_BATCH]>,
    has_candidate: u64,
    /// Bits of the frames of the batch that go round.
    round: [u64; ROUND_BITS / 64],
    has_round: bool,
}

/// What a received frame has found in its second pass.
pub(super) struct ShortcutEnd<'e> {
    pub(super) origin: u8,
    /// What is known of the frame's connection.
    pub(super) found: &'e FoundConnection,
    pub(super) flow: &'e CachedFlow,
    /// The number of the flow.
    pub(super) index: u32,
}

/// A moment of a worker at which shortcuts may be taken.
#[derive(Clone, Copy)]
pub(super) struct Crossing<'a> {
    pub(super) connections: &'a Connections,
    pub(super) flows: &'a FlowTable,
    pub(super) generation: u64,
    /// The time in milliseconds.
    pub(super) now: u64,
}

impl Shortcuts {
    /// Makes room for shortcuts of a signature cache with this many places.
    pub(super) fn new(places: usize) -> Self {
        Self {
            numbers: vec![0; places].into(),
            parts: Vec::new(),
            len: 0,
            refused: 0,
            ways: [0; MAX_BATCH],
            candidates: Box::new([Candidate::default(); MAX_BATCH]),
            has_candidate: 0,
            round: [0; ROUND_BITS / 64],
            has_round: false,
        }
    }

    /// Ends a batch.
    #[inline]
    pub(super) fn end_batch(&mut self) {
        self.has_candidate = 0;
        if self.has_round {
            self.round = [0; ROUND_BITS / 64];
            self.has_round = false;
        }
    }

    /// The number of places that the signature cache should have, if it is too small. To be followed by
    /// [`grow`](Self::grow), between two batches.
    #[inline]
    pub(super) fn outgrown(&self) -> Option<usize> {
        let places = self.numbers.len();
        // A cache without places is off.
        let can_grow = (1..MAX_PLACES).contains(&places);
        let is_too_small = self.refused as usize >= places.div_ceil(PLACES_FOR_EACH_REFUSED);
        (can_grow && is_too_small).then(|| (places * GROWTH).min(MAX_PLACES))
    }

    /// Makes room for shortcuts of another, empty signature cache with this many places. The
    /// shortcuts so far are lost, and dropped one by one when others take their memory: to drop all
    /// of them at once would take milliseconds.
    pub(super) fn grow(&mut self, places: usize) {
        self.numbers = vec![0; places].into();
        self.len = 0;
        self.refused = 0;
    }

    fn get(&self, number: u32) -> Option<&Shortcut> {
        let at = number.checked_sub(1)? as usize;
        self.parts.get(at / PART)?.get(at % PART)?.as_ref()
    }

    /// Finds the shortcuts of a run of frames with these keys and hashes, which have been found to belong to
    /// the flow number `index`. Returns a bit for each frame that has none.
    pub(super) fn look_up(
        &mut self,
        signatures: &Signatures,
        flow: &CachedFlow,
        index: u32,
        keys: &[HotKey],
        hashes: &[u64],
    ) -> u64 {
        for (way, hash) in self.ways.iter_mut().zip(hashes) {
            let place = signatures.place(*hash, index);
            *way = place.and_then(|place| self.numbers.get(place)).copied().unwrap_or(0);
        }
        let mut without = 0;
        for (n, key) in keys.iter().enumerate().take(MAX_BATCH) {
            let shortcut = self.get(self.ways[n]);
            // The pulse is looked at when the shortcut is taken. Here it is read ahead.
            let is_it = shortcut.is_some_and(|shortcut| {
                (shortcut.from == flow.serial) & shortcut.is_for(key) & shortcut.known.is_same()
            });
            if !is_it {
                self.ways[n] = 0;
                without |= 1 << n;
            }
        }
        without
    }

    /// Takes the shortcut of frame number `n` of the run, which has this key. Returns the number of the flow
    /// that it leads to, and how the frame is to be translated. `None` if the frame has to go round; then
    /// nothing has happened.
    #[inline]
    pub(super) fn take(
        &self,
        n: usize,
        key: &HotKey,
        flow: &CachedFlow,
        frame: &Frame<'_>,
        crossing: Crossing<'_>,
    ) -> Option<(u32, Option<&ShortcutTranslation>)> {
        let shortcut = self.get(self.ways[n])?;
        if self.may_follow_one_that_goes_round(key) {
            return None;
        }
        let Crossing { connections, flows, generation, now } = crossing;
        let next = flows.get(shortcut.index).filter(|next| {
            next.serial == shortcut.to
                && next.is_fresh(generation)
                && next.covers_beside_connection(key, flow.tracks)
        });
        next?;
        let is_ipv6 = key.segments.meets(Segment::IPV6.id);
        connections.moves_on(&shortcut.known, now, frame, is_ipv6).then(|| {
            let more = shortcut.more.as_deref();
            (shortcut.index, more.and_then(|more| more.translation.as_ref()))
        })
    }

    /// Notes that a frame with this key goes round.
    pub(super) fn go_round(&mut self, key: &HotKey) {
        let bit = round_bit(key);
        self.round[bit / 64] |= 1 << (bit % 64);
        self.has_round = true;
    }

    /// Whether a frame with this key may have the addresses and ports of one of the batch that goes round.
    #[inline]
    pub(super) fn may_follow_one_that_goes_round(&self, key: &HotKey) -> bool {
        if !self.has_round {
            return false;
        }
        let bit = round_bit(key);
        self.round[bit / 64] & 1 << (bit % 64) != 0
    }

    /// Notes that a shortcut can be made of a received frame, when its second pass has found a flow. The frame
    /// has belonged to the flow number `index` in its first pass.
    pub(super) fn wish(
        &mut self,
        origin: u8,
        key: &HotKey,
        hash: u64,
        flow: &CachedFlow,
        index: u32,
    ) {
        let may_have = matches!(key.nw_proto, ip_proto::TCP | ip_proto::UDP);
        if may_have && !key.segments.meets(Segments::RARE) {
            let candidate = Candidate { hot: *key, hash, index, from: flow.serial };
            self.candidates[usize::from(origin)] = candidate;
            self.has_candidate |= 1 << origin;
        }
    }

    /// Whether shortcuts can be made of frames of this batch.
    #[inline]
    pub(super) fn are_wished(&self) -> bool {
        self.has_candidate != 0
    }

    /// Makes the shortcut of a received frame, if it is wished and its connection can be remembered. If that
    /// takes a new signature, returns whether another one was displaced.
    pub(super) fn make(
        &mut self,
        end: ShortcutEnd<'_>,
        connections: &Connections,
        signatures: &mut Signatures,
        now: Duration,
    ) -> Option<bool> {
        let ShortcutEnd { origin, found, flow: next, index } = end;
        if self.has_candidate & 1 << origin == 0 || !next.is_last {
            return None;
        }
        self.has_candidate &= !(1 << origin);
        let Candidate { hot, hash, index: first, from } = self.candidates[usize::from(origin)];
        let (place, evicts) = match signatures.place(hash, first) {
            Some(place) => (place, None),
            None => {
                let may_go = |place| self.refused.is_multiple_of(PATIENCE) || self.is_free(place);
                let Some((place, evicts)) = signatures.find_room(hash, first, may_go) else {
                    self.refused = self.refused.wrapping_add(1);
                    return None;
                };
                (place, Some(evicts))
            }
        };
        let (known, translation) = connections.remember(now, found)?;
        if let Some(evicts) = evicts {
            self.refused = self.refused.wrapping_add(evicts.into());
            signatures.put(place, hash, first);
        }
        let [first_word, rest @ ..] = addresses(&hot);
        let ipv6 = hot.segments.meets(Segment::IPV6.id).then_some(rest);
        let translation = translation.map(ShortcutTranslation::new);
        let more =
            (ipv6.is_some() || translation.is_some()).then(|| Box::new(More { ipv6, translation }));
        let (address, ports) = (first_word, ports(&hot));
        self.put(place, Shortcut { address, ports, from, to: next.serial, index, known, more });
        evicts
    }

    /// Whether a place has no shortcut that somebody may miss.
    fn is_free(&self, place: usize) -> bool {
        let number = self.numbers.get(place).copied().unwrap_or(0);
        self.get(number).is_none_or(|shortcut| !shortcut.known.is_same())
    }

    fn put(&mut self, place: usize, shortcut: Shortcut) {
        let Some(number) = self.numbers.get_mut(place) else { return };
        if *number == 0 {
            if self.len as usize == self.parts.len() * PART {
                self.parts.push((0..PART).map(|_| None).collect());
            }
            self.len += 1;
            *number = self.len;
        }
        let at = *number as usize - 1;
        self.parts[at / PART][at % PART] = Some(shortcut);
    }
}

impl Shortcut {
    /// Whether frames with this key are of the shortcut's connection.
    #[inline]
    fn is_for(&self, key: &HotKey) -> bool {
        let [first_word, rest @ ..] = addresses(key);
        let is_same = (first_word == self.address)
            & (ports(key) == self.ports)
            & (key.nw_proto == self.known.protocol())
            & !key.segments.meets(Segments::RARE);
        let is_ipv6 = key.segments.meets(Segment::IPV6.id);
        is_same
            && match self.more.as_ref().and_then(|more| more.ipv6.as_ref()) {
                None => !is_ipv6,
                Some(ipv6) => is_ipv6 && rest == *ipv6,
            }
    }
}

/// The words of a key that have the addresses.
#[inline]
fn addresses(key: &HotKey) -> [u64; 4] {
    const { assert!(offset_of!(HotKey, nw_addrs) == 40 && size_of::<HotKey>() == 72) };
    let [.., a, b, c, d] = *key.words();
    [a, b, c, d]
}

/// Both ports of a key.
#[inline]
fn ports(key: &HotKey) -> u32 {
    u32::from(key.tp_src.get()) << 16 | u32::from(key.tp_dst.get())
}

/// The bit of a key in the set of frames that go round. Frames with equal addresses and
/// ports have the same one.
#[inline]
fn round_bit(key: &HotKey) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let addresses = addresses(key).into_iter().fold(0, |all, word| all ^ word);
    let mixed = (addresses ^ u64::from(ports(key)).wrapping_mul(SPREAD)).wrapping_mul(SPREAD);
    (mixed >> 40) as usize % ROUND_BITS
}

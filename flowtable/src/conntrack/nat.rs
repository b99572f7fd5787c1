//! Translation of addresses and ports (RFC 3022): which ones a connection gets, and under which tuple its
//! answers are found.
//!
//! A connection is in the shard of its original tuple. The answers of a translated connection have another
//! tuple, hence another shard, which has an [`CtAlias`] for them. An alias is made before its connection, so
//! that no two connections get the same tuple, and removed behind it. Nobody holds the locks of two shards at
//! once: who follows an alias lets go of its shard first, and finds no connection if that has gone meanwhile.
//!
//! The search for a free tuple is that of Open vSwitch (`nat_get_unique_tuple`), with [`MAX_TRIES`] as its
//! bound. Unlike there, the identifier of an ICMP query is translated as a port is.

use super::tuple::{CtEnds, CtTuple};
use super::{Connections, CtShard, shard_of};
use flow::key::ct_state;
use flow::nat::{Nat, NatAddresses, NatPorts, NatRange, PortChoice};
use packet::wire::ip_proto;
use parking_lot::MutexGuard;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// How many tuples are tried for one connection.
const MAX_TRIES: u32 = 1024;
/// How many neighbouring ports of an address are tried before the search goes on elsewhere.
const MAX_NEIGHBOURS: u32 = 128;

/// Number of the low bits of a hash from which the others follow.
const HASH_BITS: u32 = 48;

/// The hashes of an alias and of its connection's original tuple, of which the low [`HASH_BITS`] are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AliasHashes([u32; 3]);

impl AliasHashes {
    pub(super) fn new(reply: u64, original: u64) -> Self {
        let high = |hash: u64| (hash >> 32) as u32 & 0xffff;
        Self([reply as u32, original as u32, high(reply) << 16 | high(original)])
    }

    /// The hash under which answers find the alias.
    pub(super) fn reply(&self) -> u64 {
        let Self([low, _, high]) = *self;
        expanded(u64::from(high >> 16) << 32 | u64::from(low))
    }

    /// The hash of the connection's original tuple.
    pub(super) fn original(&self) -> u64 {
        let Self([_, low, high]) = *self;
        expanded(u64::from(high & 0xffff) << 32 | u64::from(low))
    }
}

/// How a connection is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CtNat {
    /// The tuple of the answers.
    pub(super) reply: CtTuple,
    /// Whether the source is translated, as opposed to the destination.
    pub(super) is_source: bool,
    /// Whether the answers have another tuple than they would have without translation.
    pub(super) has_alias: bool,
}

/// A [`CtNat`] as it is kept with its connection. What the tuples of both directions have in
/// common is not kept twice.
#[derive(Clone, Debug)]
pub(super) struct KeptNat {
    reply: CtEnds,
    is_source: bool,
    has_alias: bool,
}

// One byte more would cost 16: glibc's allocator has blocks of 40 and of 56 bytes, and none between.
const _: () = assert!(size_of::<KeptNat>() == 40);

impl From<CtNat> for KeptNat {
    fn from(CtNat { reply, is_source, has_alias }: CtNat) -> Self {
        Self { reply: reply.ends(), is_source, has_alias }
    }
}

impl KeptNat {
    /// How the connection with this tuple, or this one reversed, is translated.
    pub(super) fn of(&self, tuple: &CtTuple) -> CtNat {
        let Self { reply, is_source, has_alias } = *self;
        CtNat { reply: tuple.with_ends(&reply), is_source, has_alias }
    }

    /// Whether the answers have another tuple than they would have without translation.
    pub(super) fn has_alias(&self) -> bool {
        self.has_alias
    }
}

impl CtNat {
    /// The bits of [`ct_state`] of a packet that was translated.
    pub(super) fn flag(&self, is_reply: bool) -> u16 {
        // What is the source for one direction is the destination for the other one.
        if self.is_source != is_reply { ct_state::SRC_NAT } else { ct_state::DST_NAT }
    }
}

/// Names the connection to which packets with the tuple `reply` are answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CtAlias {
    /// The tuple of the packets.
    pub(super) reply: CtTuple,
    /// The tuple of the connection's first packet.
    pub(super) original: CtTuple,
}

/// How the addresses and ports of a frame change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtTranslation {
    /// The tuple of the frame's packet. Of an ICMP error: the reversed tuple of the quoted packet.
    pub from: CtTuple,
    /// The tuple that the packet gets.
    pub to: CtTuple,
    /// Whether the packet is an ICMP error, so that the quoted packet changes, too.
    pub is_error: bool,
}

/// A tuple's shard, locked, and the tuple's connection there.
pub(super) struct Located<'a> {
    pub(super) shard: MutexGuard<'a, CtShard>,
    pub(super) shard_no: u16,
    /// The hash of the canonical tuple by which the shard was found.
    pub(super) hash: u64,
    /// The slot of the connection; `None` if there is no connection.
    pub(super) slot: Option<u32>,
    /// Whether the tuple is that of the connection's answers.
    pub(super) is_reply: bool,
    /// Whether the tuple is that of the answers to a connection that has gone, and its alias lingers.
    pub(super) is_stale: bool,
}

/// Aliases that outlive their connections.
///
/// In Open vSwitch 3.1, a translated connection of TCP that is over and begins anew leaves the
/// entry of its answers behind, until the table is swept: no other connection gets the tuple, and
/// packets with it are invalid.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    /// The aliases, the oldest first, and the times in milliseconds at which their connections went.
    aliases: VecDeque<(u64, CtAlias)>,
}

impl Lingering {
    /// How long an alias lingers at most, in milliseconds. Open vSwitch keeps it until the next sweep; how
    /// often that comes is an estimate.
    const LONGEST: u64 = 20_000;
    /// How many aliases linger at most.
    const MOST: usize = 1 << 16;

    /// Adds an alias whose connection went just now.
    pub(super) fn add(&mut self, alias: CtAlias, now: u64) {
        self.aliases.push_back((now, alias));
    }

    /// Adds to `gone` the aliases that have lingered for long enough, and those that are too many.
    pub(super) fn take_over(&mut self, now: u64, gone: &mut Vec<CtAlias>) {
        while let Some((since, alias)) = self.aliases.front()
            && (since + Self::LONGEST <= now || self.aliases.len() > Self::MOST)
        {
            gone.push(*alias);
            self.aliases.pop_front();
        }
    }

    /// Adds to `gone` the aliases of a zone, or all of them.
    pub(super) fn take_zone(&mut self, zone: Option<u16>, gone: &mut Vec<CtAlias>) {
        self.aliases.retain(|(_, alias)| {
            let is_of_zone = zone.is_none_or(|zone| alias.reply.zone == zone);
            gone.extend(is_of_zone.then_some(*alias));
            !is_of_zone
        });
    }
}

/// What a connection is found by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought {
    /// The tuple that both directions have in common.
    canonical: CtTuple,
    /// Whether the packets have the reversed tuple.
    is_reversed: bool,
    /// The hash of the canonical tuple, which is the same for both directions.
    pub(super) hash: u64,
}

impl Sought {
    /// What the connection of packets with this tuple is found by. `hash` is the hash of the canonical tuple.
    pub(super) fn new(tuple: &CtTuple, hash: u64) -> Self {
        let (canonical, is_reversed) = tuple.canonical();
        Self { canonical, is_reversed, hash }
    }
}

impl Connections {
    /// Finds the connection of packets with this tuple. If there is none, the shard is the
    /// one where it would be.
    pub(super) fn locate(&self, tuple: &CtTuple) -> Located<'_> {
        self.locate_sought(tuple, self.sought(tuple))
    }

    /// What the connection of packets with this tuple is found by.
    pub(super) fn sought(&self, tuple: &CtTuple) -> Sought {
        let (canonical, is_reversed) = tuple.canonical();
        let hash = expanded(self.hasher.hash_one(canonical));
        Sought { canonical, is_reversed, hash }
    }

    /// As [`locate`](Self::locate), with what the connection is found by.
    pub(super) fn locate_sought(&self, tuple: &CtTuple, sought: Sought) -> Located<'_> {
        let Sought { canonical, is_reversed, hash } = sought;
        let mut at = self.lock(hash);
        at.slot = at.shard.find(&canonical, hash, is_reversed);
        if let Some(connection) = at.slot.and_then(|slot| at.shard.get(slot)) {
            at.is_reply = connection.is_swapped != is_reversed;
            return at;
        }
        let Some(original) = at.shard.alias(alias_hash(hash, is_reversed)) else { return at };
        drop(at);
        let mut other = self.lock(original);
        other.slot = other.shard.find_translated(original, tuple);
        other.is_reply = true;
        if other.slot.is_some() {
            return other;
        }
        drop(other);
        Located { is_stale: self.as_ovs, ..self.lock(hash) }
    }

    /// Locks the shard of a hash.
    fn lock(&self, hash: u64) -> Located<'_> {
        let shard_no = shard_of(hash);
        let shard = self.shards[usize::from(shard_no)].lock();
        Located { shard, shard_no, hash, slot: None, is_reply: false, is_stale: false }
    }

    /// Finds a tuple for the answers to a connection that is to be translated, and keeps it with an alias,
    /// unless `is_trial`. `None` if no free tuple was found. No shard may be locked by the caller.
    pub(super) fn reserve(
        &self,
        original: &CtTuple,
        nat: &Nat,
        now: u64,
        is_trial: bool,
    ) -> Option<CtNat> {
        let range = nat.range()?;
        let is_source = matches!(nat, Nat::Source(_));
        let hashes = NatHashes {
            tuple: self.hasher.hash_one(original),
            source: self.hasher.hash_one(original.address(&original.source)),
            random: self.hasher.hash_one((original, now, self.stats().created)),
        };
        let own = self.sought(original).hash;
        let mut found = None;
        let is_sctp = original.protocol == ip_proto::SCTP;
        let has_ports = ip_proto::has_ports(original.protocol) && !(is_sctp && self.as_ovs);
        search(original, range, is_source, has_ports, &hashes, |reply| {
            let has_alias = *reply != original.reversed();
            let is_free = self.claim(reply, (has_alias && !is_trial).then_some(own));
            if is_free {
                found = Some(CtNat { reply: *reply, is_source, has_alias });
            }
            is_free
        });
        found
    }

    /// Whether no connection has the tuple `reply`. If so, and if the hash of an original tuple is
    /// given, adds an alias that leads from `reply` to the connection with this original tuple. No shard
    /// may be locked by the caller.
    fn claim(&self, reply: &CtTuple, original: Option<u64>) -> bool {
        let Sought { canonical, is_reversed, hash } = self.sought(reply);
        let mut at = self.lock(hash);
        let is_free = at.shard.find(&canonical, hash, is_reversed).is_none()
            && at.shard.alias(alias_hash(hash, is_reversed)).is_none();
        if let Some(original) = original.filter(|_| is_free) {
            self.presence.add(hash);
            at.shard.add_alias(alias_hash(hash, is_reversed), original);
        }
        is_free
    }

    /// Adds the alias of a translated connection that another program has kept. Returns
    /// whether its tuple is free.
    pub(super) fn add_alias(&self, alias: CtAlias) -> bool {
        self.claim(&alias.reply, Some(self.sought(&alias.original).hash))
    }

    /// Removes aliases whose connections have gone. No shard may be locked by the caller.
    pub(super) fn remove_aliases(&self, aliases: &mut Vec<CtAlias>) {
        for alias in aliases.drain(..) {
            let Sought { is_reversed, hash, .. } = self.sought(&alias.reply);
            let original = self.sought(&alias.original).hash;
            if self.lock(hash).shard.remove_alias(alias_hash(hash, is_reversed), original) {
                self.presence.remove(hash);
            }
        }
    }
}

/// Replaces the high bits of a hash by copies of lower ones, so that the whole hash
/// follows from its low [`HASH_BITS`].
fn expanded(hash: u64) -> u64 {
    let kept = hash & ((1 << HASH_BITS) - 1);
    kept | kept >> 16 << HASH_BITS
}

/// The hash under which an alias is found: that of the canonical tuple of the answers, which both directions
/// have, and the direction.
fn alias_hash(canonical: u64, is_reversed: bool) -> u64 {
    canonical ^ u64::from(is_reversed)
}

/// Numbers from which the choice of an address and a port follows.
struct NatHashes {
    /// Follows from the connection's tuple.
    tuple: u64,
    /// Follows from the connection's source address.
    source: u64,
    /// A random number.
    random: u64,
}

/// Calls `take` with tuples that answers to a connection may have, until `take` returns true or [`MAX_TRIES`]
/// were tried. `has_ports` says whether ports tell them apart.
fn search(
    original: &CtTuple,
    range: &NatRange,
    is_source: bool,
    has_ports: bool,
    hashes: &NatHashes,
    mut take: impl FnMut(&CtTuple) -> bool,
) {
    let mut reply = original.reversed();
    let own = if is_source { original.source } else { original.destination };
    let Some((first, count)) = addresses(range, &original.address(&own)) else { return };
    let start = if range.is_persistent { hashes.source } else { hashes.tuple };
    let mut tries = Tries { left: MAX_TRIES, random: hashes.random };
    let mut round = 0;
    while round < count && tries.left > 0 {
        let address = first + (u128::from(start) + round) % count;
        round += 1;
        let end = if is_source { &mut reply.destination } else { &mut reply.source };
        end.set_address(address, original.is_ipv6);
        let is_found = match original.protocol {
            _ if has_ports => {
                let (ports, begin) = match range.ports {
                    Some(NatPorts { first, last }) => {
                        let random = match range.choice {
                            PortChoice::Random => hashes.random,
                            PortChoice::Any | PortChoice::Hash => hashes.tuple >> 32,
                        };
                        let count = u64::from(last - first) + 1;
                        (first..=last, first + (random % count) as u16)
                    }
                    None if is_source => like(own.port, range.choice, hashes.random),
                    None => (own.port..=own.port, own.port),
                };
                tries.ports(ports, begin, |port| {
                    let end = if is_source { &mut reply.destination } else { &mut reply.source };
                    end.port = port;
                    take(&reply)
                }) || !is_source && {
                    // Another source port makes the tuple unique, too.
                    let source = original.source.port;
                    let (ports, begin) = like(source, PortChoice::Any, 0);
                    tries.ports(ports, begin, |port| {
                        reply.destination.port = port;
                        take(&reply)
                    })
                }
            }
            ip_proto::ICMP | ip_proto::ICMPV6 => {
                tries.ports(0..=u16::MAX, original.source.port, |identifier| {
                    (reply.source.port, reply.destination.port) = (identifier, identifier);
                    take(&reply)
                })
            }
            _ => {
                tries.left -= 1;
                take(&reply)
            }
        };
        if is_found {
            return;
        }
        reply.source.port = original.destination.port;
        reply.destination.port = original.source.port;
    }
}

/// The first address and how many there are; `None` if the range has addresses of the other IP version. `own`
/// is the address that the connection has.
fn addresses(range: &NatRange, own: &IpAddr) -> Option<(u128, u128)> {
    let (first, last) = match (range.addresses, own) {
        (Some(NatAddresses::Ipv4(first, last)), IpAddr::V4(_)) => {
            (first.to_bits().into(), last.to_bits().into())
        }
        (Some(NatAddresses::Ipv6(first, last)), IpAddr::V6(_)) => (first.to_bits(), last.to_bits()),
        (Some(_), _) => return None,
        (None, _) => (0, 0),
    };
    if first != 0 {
        return Some((first, (last - first).saturating_add(1)));
    }
    let own = match own {
        IpAddr::V4(own) => own.to_bits().into(),
        IpAddr::V6(own) => own.to_bits(),
    };
    Some((own, 1))
}

/// The ports that may stand for a port that nobody asked to change, and the one to begin with: as in Open
/// vSwitch, privileged ports stay privileged.
fn like(port: u16, choice: PortChoice, random: u64) -> (RangeInclusive<u16>, u16) {
    let (first, last) = match port {
        0..512 => (1, 511),
        512..1024 => (600, 1023),
        1024.. => (1024, u16::MAX),
    };
    let begin = match choice {
        PortChoice::Random => first + (random % (u64::from(last - first) + 1)) as u16,
        PortChoice::Any | PortChoice::Hash => port,
    };
    (first..=last, begin)
}

/// How many tuples may still be tried, and random numbers.
struct Tries {
    left: u32,
    random: u64,
}

impl Tries {
    /// Calls `take` with `begin` and the ports behind it, then with ports from random places on, fewer each
    /// time. Returns whether `take` returned true.
    fn ports(
        &mut self,
        ports: RangeInclusive<u16>,
        begin: u16,
        mut take: impl FnMut(u16) -> bool,
    ) -> bool {
        let (first, count) = (*ports.start(), u32::from(ports.end() - ports.start()) + 1);
        let mut begin = begin;
        let mut neighbours = count.min(MAX_NEIGHBOURS);
        loop {
            for step in 0..neighbours {
                if self.left == 0 {
                    return false;
                }
                self.left -= 1;
                // The port to begin with need not be in the range: it is the one that the connection has.
                let port = match begin.checked_sub(first) {
                    Some(offset) => first + ((u32::from(offset) + step) % count) as u16,
                    None if step == 0 => begin,
                    None => first + (step % count) as u16,
                };
                if take(port) {
                    return true;
                }
            }
            if neighbours == count || neighbours < 16 {
                return false;
            }
            neighbours /= 2;
            // A step of a linear congruential generator (Knuth).
            self.random =
                self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            begin = first + ((self.random >> 33) as u32 % count) as u16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_keeps_both_hashes() {
        let hashes = [0u64, u64::MAX, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210].map(expanded);
        for (reply, original) in hashes.into_iter().flat_map(|a| hashes.map(|b| (a, b))) {
            let alias = AliasHashes::new(reply, original);
            assert_eq!((alias.reply(), alias.original()), (reply, original));
        }
        assert_eq!(
            alias_hash(expanded(6), true),
            expanded(7),
            "the direction is one of the bits that are kept"
        );
    }

    #[test]
    fn a_search_ends_and_visits_each_port_of_a_small_range_once() {
        let mut seen = Vec::new();
        let mut tries = Tries { left: MAX_TRIES, random: 1 };
        assert!(!tries.ports(10..=19, 15, |port| {
            seen.push(port);
            false
        }));
        assert_eq!(seen, [15, 16, 17, 18, 19, 10, 11, 12, 13, 14]);
        let mut count = 0;
        assert!(!tries.ports(1024..=u16::MAX, 5000, |port| {
            assert!(port >= 1024);
            count += 1;
            false
        }));
        assert_eq!(count, 128 + 64 + 32 + 16 + 8);
        while !tries.ports(1..=u16::MAX, 1, |_| false) && tries.left > 0 {}
        assert_eq!(tries.left, 0);
    }
}

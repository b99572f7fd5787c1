//! The places where Open vSwitch 3.1 and good sense treat a packet differently, and whom to follow.
//!
//! `switchd --lenient` follows Open vSwitch, so that the two can be compared frame by frame.
//! `docs/differences-from-ovs.md` tells users of each place. Reading rules leniently is the flow
//! language's business ([`flow::text`]).

use flow::group::{Bucket, Group, GroupType};
use flow::verdict::AddressSums;

/// Whom to follow where Open vSwitch and good sense part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conduct {
    /// Follow good sense.
    #[default]
    Sensible,
    /// Follow Open vSwitch 3.1.
    AsOvs,
}

/// Number of slots of Open vSwitch's table from hashes to buckets, at most (`dp_hash`).
const MAX_HASH_SLOTS: u32 = 256;

impl Conduct {
    /// Whether NORMAL knows where the switch's own host is without learning it, and drops frames of others that
    /// pretend to be that host.
    pub(super) fn guards_own_host(self) -> bool {
        self == Self::Sensible
    }

    /// What a change of addresses does to the transport checksum of fragments and of packets with
    /// an IPv6 routing header.
    pub(super) fn address_sums(self) -> AddressSums {
        match self {
            Self::Sensible => AddressSums::Right,
            Self::AsOvs => AddressSums::AsOvs,
        }
    }

    /// Whether a recirculation inside a `clone` or `check_pkt_larger` also ends the actions behind
    /// it. Open vSwitch sets its flag `exit` there and does not reset it.
    pub(super) fn recirculation_exits(self) -> bool {
        self == Self::AsOvs
    }

    /// Whether the action set is executed in both branches of `check_pkt_larger` and then once
    /// more, as Open vSwitch does.
    pub(super) fn repeats_action_set(self) -> bool {
        self == Self::AsOvs
    }

    /// Whether a packet is recirculated to be hashed before this group chooses a bucket. Users see
    /// this: the second pass sees more VLAN tags, and the rules that it uses count the packet with
    /// its length at that time.
    pub(super) fn recirculates_for(self, group: &Group) -> bool {
        let method = group.selection.method.as_str();
        self == Self::AsOvs
            && group.kind == GroupType::Select
            && matches!(method, "" | "dp_hash")
            && hash_slots(&group.buckets).is_some_and(|slots| slots <= MAX_HASH_SLOTS)
    }
}

/// Number of slots with which each bucket gets its share; `None` if every weight is zero.
fn hash_slots(buckets: &[Bucket]) -> Option<u32> {
    let weights = || buckets.iter().map(|bucket| u32::from(bucket.weight_in(GroupType::Select)));
    let least = weights().filter(|weight| *weight > 0).min()?;
    Some(weights().sum::<u32>().div_ceil(least).next_power_of_two())
}

//! Where Open vSwitch 3.1 and good sense part, which of them to follow with packets.
//!
//! `switchd --lenient` follows Open vSwitch, so that the two can be compared frame by frame.
//! `docs/differences-from-ovs.md` tells users the same. How rules are *read* leniently is the flow
//! language's business ([`flow::text`]).

use flow::group::{Bucket, Group, GroupType};
use flow::verdict::AddressSums;

/// Whom to follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conduct {
    /// Good sense.
    #[default]
    Sensible,
    /// Open vSwitch 3.1.
    AsOvs,
}

/// Slots that Open vSwitch's table from hashes to buckets has at most.
const MAX_HASH_SLOTS: u32 = 256;

impl Conduct {
    /// How checksums of packets that are not plain ones are treated.
    pub(super) fn address_sums(self) -> AddressSums {
        match self {
            Self::Sensible => AddressSums::Right,
            Self::AsOvs => AddressSums::AsOvs,
        }
    }

    /// Whether a list of actions that a recirculation cut short ends what follows a `clone` or
    /// `check_pkt_larger` around it, too: Open vSwitch forgets to take `exit` back.
    pub(super) fn recirculation_exits(self) -> bool {
        self == Self::AsOvs
    }

    /// Whether the action set is executed on both ways of `check_pkt_larger`, and then once more.
    pub(super) fn repeats_action_set(self) -> bool {
        self == Self::AsOvs
    }

    /// Whether the packet goes round once for the datapath to hash it before this group chooses. That
    /// shows: the second pass sees more tags, rules that it uses count the packet as it is by then.
    pub(super) fn recirculates_for(self, group: &Group) -> bool {
        let method = group.selection.method.as_str();
        self == Self::AsOvs
            && group.kind == GroupType::Select
            && matches!(method, "" | "dp_hash")
            && hash_slots(&group.buckets).is_some_and(|slots| slots <= MAX_HASH_SLOTS)
    }
}

/// Slots that give every bucket its share; `None` if no bucket has one.
fn hash_slots(buckets: &[Bucket]) -> Option<u32> {
    let weights = || buckets.iter().map(|bucket| u32::from(bucket.weight));
    let least = weights().filter(|weight| *weight > 0).min()?;
    Some(weights().sum::<u32>().div_ceil(least).next_power_of_two())
}

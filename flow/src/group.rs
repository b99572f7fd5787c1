//! Groups, as a user states them (OpenFlow `GROUP_MOD`): lists of actions to choose from.
//!
//! What a group does to a packet is the pipeline's business.

use crate::action::Action;
use crate::fields::FieldId;
use crate::types::{GroupId, OfPort};

/// Which buckets see a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupType {
    /// Every bucket gets a copy.
    All,
    /// One bucket, by a hash of the packet and by weight.
    Select,
    /// The only bucket.
    Indirect,
    /// The first bucket that is alive.
    FastFailover,
}

impl GroupType {
    /// The name in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Select => "select",
            Self::Indirect => "indirect",
            Self::FastFailover => "ff",
        }
    }
}

/// How a [`GroupType::Select`] group chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// `selection_method`: `hash`, `dp_hash`; empty is the switch's choice.
    pub method: String,
    /// `selection_method_param`: basis of the hash.
    pub param: u64,
    /// `fields`: what `hash` looks at, with masks.
    pub fields: Vec<(FieldId, u128)>,
}

/// One list of actions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Unique in its group.
    pub id: u32,
    /// Share of the packets in a [`GroupType::Select`] group; 0 in the others.
    pub weight: u16,
    /// Alive while this port is up.
    pub watch_port: Option<OfPort>,
    /// Alive while this group has a bucket that is.
    pub watch_group: Option<GroupId>,
    /// What happens to the packet.
    pub actions: Vec<Action>,
}

impl Bucket {
    /// The largest number of a bucket (`OFPG_BUCKET_MAX`, OpenFlow 1.5.1 section 7.3.4.3.1).
    pub const MAX_ID: u32 = 0xffff_ff00;
}

/// A group as a user states it: lists of actions, and how one of them is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The number by which rules and other groups call it.
    pub id: GroupId,
    /// Which buckets see a packet.
    pub kind: GroupType,
    /// How a `select` group chooses.
    pub selection: Selection,
    /// The buckets in the order in which they were given.
    pub buckets: Vec<Bucket>,
}

/// A place in a group's list of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BucketPlace {
    /// Before all others; for removal, the first one.
    First,
    /// Behind all others; for removal, the last one.
    Last,
    /// All of them; only for removal.
    All,
    /// Behind the bucket with this id; for removal, that bucket.
    Id(u32),
}

/// A change of the groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupMod {
    /// A new group; an error if there is one with this number.
    Add(Group),
    /// Replaces a group; an error if there is none.
    Modify(Group),
    /// Adds or replaces.
    AddOrModify(Group),
    /// Deletes a group ([`GroupId::ALL`]: every group) and the rules that use it.
    Delete(GroupId),
    /// Puts buckets into a group.
    InsertBuckets {
        /// The group that changes.
        group: GroupId,
        /// The place in the group's list at which they go in.
        place: BucketPlace,
        /// The new buckets, in order.
        buckets: Vec<Bucket>,
    },
    /// Takes buckets out of a group.
    RemoveBuckets {
        /// The group that changes.
        group: GroupId,
        /// The bucket or buckets that are taken out.
        place: BucketPlace,
    },
}

/// Counters of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStats {
    /// Rules and groups that refer to it.
    pub ref_count: u32,
    /// Packets that came in.
    pub packets: u64,
    /// Bytes of the packets that came in.
    pub bytes: u64,
    /// Time since the group was added.
    pub duration: std::time::Duration,
    /// (packets, bytes) of each bucket.
    pub buckets: Vec<(u64, u64)>,
}

//! Groups and the requests that change them (OpenFlow `OFPT_GROUP_MOD`, OpenFlow 1.3.5 §5.6).
//!
//! A group has a number and *buckets*: lists of actions. The action `group:ID` sends a packet
//! through some or all of the group's buckets, as the group's type says. `flowtable::policy` stores
//! groups and carries them out.

use crate::action::{Action, list_size};
use crate::fields::FieldId;
use crate::types::{GroupId, OfPort};
use serde::{Deserialize, Serialize};

/// Which buckets of a group are carried out for a packet (`OFPGT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupType {
    /// `type=all`: every bucket gets a copy of the packet, for multicast.
    All,
    /// `type=select`: one bucket, chosen by a hash of the packet in proportion to
    /// the weights, for load balancing.
    Select,
    /// `type=indirect`: the one bucket that the group has, so that many rules share a next hop.
    Indirect,
    /// `type=ff`: the first bucket whose watched port or group is alive, for backup paths.
    FastFailover,
}

impl GroupType {
    /// The word behind `type=`, as dumps print it: `all`, `select`, `indirect` or `ff`.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Select => "select",
            Self::Indirect => "indirect",
            Self::FastFailover => "ff",
        }
    }
}

/// How a [`GroupType::Select`] group computes the hash that chooses a
/// bucket (`NTR_SELECTION_METHOD` extension).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Selection {
    /// `selection_method`: `hash` or `dp_hash`. An empty text leaves the choice to the switch.
    pub method: String,
    /// `selection_method_param`: the number that the hash starts from.
    pub param: u64,
    /// `fields`: the fields that method `hash` looks at, each with a mask of the bits that count.
    pub fields: Vec<(FieldId, u128)>,
}

/// A list of actions of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bucket {
    /// The bucket's number, unique in its group, 0 to [`Bucket::MAX_ID`].
    pub id: u32,
    /// The bucket's share of the flows of a [`GroupType::Select`] group, in proportion to the sum of all
    /// weights. `None` is the default of the group's type ([`Bucket::weight_in`]). Groups of other types refuse
    /// a weight that is not 0.
    pub weight: Option<u16>,
    /// The bucket is alive while this port is up. `None` watches no port.
    pub watch_port: Option<OfPort>,
    /// The bucket is alive while this group has a live bucket. `None` watches no group.
    pub watch_group: Option<GroupId>,
    /// The actions, carried out on a copy of the packet. An empty list drops the copy.
    pub actions: Vec<Action>,
}

impl Bucket {
    /// The largest number that a bucket can have (`OFPG_BUCKET_MAX`, OpenFlow 1.5.1 §7.3.4.3.1).
    pub const MAX_ID: u32 = 0xffff_ff00;

    /// The bucket's size in bytes, about as a message of OpenFlow carries the bucket.
    pub fn size(&self) -> usize {
        const HEADER: usize = 16;
        HEADER + list_size(&self.actions)
    }

    /// The bucket's weight in a group of type `kind`: a bucket without one has weight 1 in a
    /// [`GroupType::Select`] group and 0 in other groups.
    pub fn weight_in(&self, kind: GroupType) -> u16 {
        self.weight.unwrap_or(u16::from(kind == GroupType::Select))
    }

    /// Why a group of type `kind` cannot have the bucket; `None` if the group can.
    pub fn problem_in(&self, kind: GroupType) -> Option<BucketProblem> {
        let is_watching = self.watch_port.is_some() || self.watch_group.is_some();
        match kind {
            GroupType::FastFailover if !is_watching => Some(BucketProblem::WatchesNothing),
            GroupType::All | GroupType::Indirect if is_watching => {
                Some(BucketProblem::WatchesInVain)
            }
            _ if kind != GroupType::Select && self.weight_in(kind) != 0 => {
                Some(BucketProblem::HasWeight)
            }
            _ => None,
        }
    }
}

/// Why a group cannot have a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BucketProblem {
    /// The bucket has a weight, and the group is not of type `select`.
    HasWeight,
    /// The bucket watches a port or group, and the group is of type `all` or `indirect`, which executes its
    /// buckets whether they are alive or not.
    WatchesInVain,
    /// The bucket watches nothing, and the group is of type `ff`, which looks for a bucket that is alive.
    WatchesNothing,
}

impl BucketProblem {
    /// What is wrong, as the text of an error.
    pub fn message(self) -> &'static str {
        match self {
            Self::HasWeight => "only buckets of select groups have a weight",
            Self::WatchesInVain => "buckets of groups of type all and indirect watch nothing",
            Self::WatchesNothing => "a bucket of a failover group must watch something",
        }
    }

    /// How the user can write the bucket instead.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::HasWeight => "remove the weight",
            Self::WatchesInVain => "remove watch_port and watch_group",
            Self::WatchesNothing => "add watch_port:PORT or watch_group:ID",
        }
    }
}

/// A group as a user writes it: its type and its buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The number by which `group:ID` and `watch_group:ID` name the group.
    pub id: GroupId,
    /// Which buckets are carried out for a packet.
    pub kind: GroupType,
    /// How a `select` group chooses a bucket; the default for groups of other types.
    pub selection: Selection,
    /// The buckets in the order of the request. A `ff` group tries them in this order.
    pub buckets: Vec<Bucket>,
}

impl Group {
    /// The size of the group in bytes, about as a message of OpenFlow
    /// carries it: see [`MAX_LIST_SIZE`](crate::action::MAX_LIST_SIZE).
    pub fn size(&self) -> usize {
        self.buckets.iter().map(Bucket::size).sum()
    }
}

/// A place in a group's list of buckets (`command_bucket_id=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BucketPlace {
    /// `first`: new buckets go in front of the list. A removal takes the first bucket.
    First,
    /// `last`: new buckets go to the end of the list. A removal takes the last bucket.
    Last,
    /// `all`: a removal takes every bucket. Insertions cannot have this place.
    All,
    /// A number: new buckets go behind the bucket with this id. A removal takes that bucket.
    Id(u32),
}

/// A request to change groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupMod {
    /// `add-group`: adds a group. A group with this number must not exist.
    Add(Group),
    /// `mod-group`: replaces type and buckets of a group, which must exist.
    Modify(Group),
    /// `--may-create mod-group`: replaces a group if it exists, else adds it.
    AddOrModify(Group),
    /// `del-groups`: deletes a group, or every group ([`GroupId::ALL`]), and the rules that use it.
    Delete(GroupId),
    /// `insert-buckets`: puts buckets into a group, which must exist.
    InsertBuckets {
        /// The number of the group.
        group: GroupId,
        /// The place in the group's list where the first new bucket goes.
        place: BucketPlace,
        /// The new buckets in the order in which they will stand.
        buckets: Vec<Bucket>,
    },
    /// `remove-buckets`: takes buckets out of a group, which must exist.
    RemoveBuckets {
        /// The number of the group.
        group: GroupId,
        /// The bucket or buckets that are taken out.
        place: BucketPlace,
    },
}

/// The counters of a group (`dump-group-stats`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStats {
    /// How many rules and groups use this group.
    pub ref_count: u32,
    /// How many packets went into the group since it was added.
    pub packets: u64,
    /// Bytes of these packets, Ethernet headers included.
    pub bytes: u64,
    /// Time since the group was added.
    pub duration: std::time::Duration,
    /// Packets and bytes that each bucket got, in the order of the group's buckets.
    pub buckets: Vec<(u64, u64)>,
}

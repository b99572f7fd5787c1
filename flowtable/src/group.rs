//! Groups: sets of action buckets that rules refer to by number (OpenFlow 1.3 §5.6).

use crate::action::Action;
use crate::types::{GroupId, OfPort};

/// How buckets are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupType {
    /// Every bucket, each with its own copy.
    All,
    /// One, by hash and weight.
    Select,
    /// The only one.
    Indirect,
    /// The first whose watched port is alive (`ff`, `fast_failover`).
    FastFailover,
}

/// One alternative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// `bucket_id`; unique in the group.
    pub id: u32,
    /// Share of a `select` group; 0 is never chosen.
    pub weight: u16,
    /// Alive while this port is up.
    pub watch_port: Option<OfPort>,
    /// Alive while this group has a live bucket.
    pub watch_group: Option<GroupId>,
    /// Executed as an action set.
    pub actions: Vec<Action>,
}

/// How a `select` group hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `selection_method`: empty (the switch's choice), `hash` or `dp_hash`.
    pub method: String,
    /// `selection_method_param`.
    pub param: u64,
    /// `fields(...)` with their masks, for `hash`.
    pub fields: Vec<(crate::flow::fields::FieldId, u128)>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub id: GroupId,
    /// How buckets are chosen.
    pub group_type: GroupType,
    /// The alternatives, in order.
    pub buckets: Vec<Bucket>,
    /// For `select`.
    pub selection: Selection,
}

/// What to do with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupCommand {
    /// Fails if it exists.
    Add,
    /// Fails if it does not exist.
    Modify,
    /// Either.
    AddOrModify,
    /// Also deletes the rules that use it. [`GroupId::ALL`] deletes all.
    Delete,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMod {
    /// What to do.
    pub command: GroupCommand,
    /// The group; for deletion only its number counts.
    pub group: Group,
}

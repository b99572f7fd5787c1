//! Why a policy refuses a change of rules or groups, with the error of OpenFlow for each reason.

use super::tables::MAX_RULES;
use flow::action::MAX_LIST_SIZE;
use flow::group::BucketProblem;
use flow::types::TableId;
use std::sync::Arc;

/// A change was refused. Nothing of it is visible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlowModError {
    /// OFPFMFC_TABLE_FULL
    #[error("table {table} is full: it holds {MAX_RULES} rules")]
    TableFull {
        /// The table that can hold no more.
        table: TableId,
    },
    /// OFPFMFC_OVERLAP
    #[error(
        "table {table} has a rule of priority {priority} that matches some of the same packets (check_overlap)"
    )]
    Overlap {
        /// The table that both rules are in.
        table: TableId,
        /// The priority of both rules.
        priority: u16,
    },
    /// OFPBAC_BAD_OUT_GROUP
    #[error("group {0} does not exist: add it with add-group before the rule that uses it")]
    UnknownGroup(u32),
    /// OFPGMFC_GROUP_EXISTS
    #[error("group {0} exists already: change it with mod-group")]
    GroupExists(u32),
    /// OFPGMFC_UNKNOWN_GROUP
    #[error("group {0} does not exist: add it with add-group")]
    NoSuchGroup(u32),
    /// OFPGMFC_INVALID_GROUP
    #[error("group {group}: {problem}")]
    InvalidGroup {
        /// The number of the group that was asked for.
        group: u32,
        /// What is wrong with the group.
        problem: &'static str,
    },
    /// OFPGMFC_INVALID_GROUP
    #[error("group {group}, bucket {bucket}: {} ({})", .problem.message(), .problem.remedy())]
    InvalidBucket {
        /// The number of the group that was asked for.
        group: u32,
        /// The number of the bucket that the group cannot have.
        bucket: u32,
        /// Why the group cannot have the bucket.
        problem: BucketProblem,
    },
    /// OFPBRC_BAD_LEN
    #[error("the list of actions is too long: {size} bytes, and at most {max} fit", max = MAX_LIST_SIZE)]
    ListTooLong {
        /// The size of the list in bytes, as [`flow::action::list_size`] counts them.
        size: usize,
    },
    /// OFPGMFC_OUT_OF_BUCKETS
    #[error("group {group} has too many buckets or actions: {size} bytes, and at most {max} fit", max = MAX_LIST_SIZE)]
    GroupTooLarge {
        /// The number of the group that was asked for.
        group: u32,
        /// The group's size in bytes, as [`flow::group::Group::size`] counts them.
        size: usize,
    },
    /// OFPGMFC_LOOP
    #[error("group {0} would watch itself: whether it is alive would depend on itself")]
    WatchLoop(u32),
    /// OFPGMFC_UNKNOWN_BUCKET
    #[error("group {group} has no bucket {bucket}")]
    UnknownBucket {
        /// The number of the group whose bucket is missing.
        group: u32,
        /// Its bucket.
        bucket: u32,
    },
    /// OFPGMFC_BUCKET_EXISTS
    #[error("group {group} has a bucket {bucket} already")]
    BucketExists {
        /// The number of the group that has the bucket.
        group: u32,
        /// Its bucket.
        bucket: u32,
    },
    /// OFPGMFC_LOOP
    #[error("group {0} would refer to itself")]
    GroupLoop(u32),
    /// OFPFMFC_UNKNOWN
    #[error("name=\"{0}\" is the name of another rule")]
    NameInUse(Arc<str>),
}

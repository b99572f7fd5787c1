//! Why a policy refuses a change of rules, groups or meters, with the error of OpenFlow for each reason.
//!
//! Types and codes of these errors are those of OpenFlow 1.3.5 §7.4.4, if nothing else is said. The sender of
//! the request gets the error, and nobody else does.

use flow::action::MAX_LIST_SIZE;
use flow::group::BucketProblem;
use flow::meter::{MAX_BANDS, MAX_METERS};
use flow::types::{MeterId, TableId};
use std::sync::Arc;

/// Why a request to change rules, groups or meters was refused. Rules, groups and meters are as they were
/// before the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlowModError {
    /// A rule was to be added to a table that holds as many rules as it may, none of which may be evicted. In
    /// OpenFlow, the type `OFPET_FLOW_MOD_FAILED` and the code `OFPFMFC_TABLE_FULL`.
    #[error("table {table} is full: it may hold {limit} rules")]
    TableFull {
        /// The table that can hold no more.
        table: TableId,
        /// How many rules the table may hold.
        limit: usize,
    },
    /// A rule was to be added with the flag `check_overlap` (OpenFlow 1.3.5 §6.4), and a rule of the
    /// same table and priority matches some of the same packets. In OpenFlow, the type
    /// `OFPET_FLOW_MOD_FAILED` and the code `OFPFMFC_OVERLAP`.
    #[error(
        "table {table} has a rule of priority {priority} that matches some of the same packets (check_overlap)"
    )]
    Overlap {
        /// The table that both rules are in.
        table: TableId,
        /// The priority of both rules.
        priority: u16,
    },
    /// An action of a rule or of a packet-out names the group with this number, which does not exist. In
    /// OpenFlow, the type `OFPET_BAD_ACTION` and the code `OFPBAC_BAD_OUT_GROUP`.
    #[error("group {0} does not exist: add it with add-group before the rule that uses it")]
    UnknownGroup(u32),
    /// A group was to be added, and there is one with this number. In OpenFlow, the type
    /// `OFPET_GROUP_MOD_FAILED` and the code `OFPGMFC_GROUP_EXISTS`.
    #[error("group {0} exists already: change it with mod-group")]
    GroupExists(u32),
    /// The group with this number, or its buckets, were to be changed, and there is no such group. In OpenFlow,
    /// the type `OFPET_GROUP_MOD_FAILED` and the code `OFPGMFC_UNKNOWN_GROUP`.
    #[error("group {0} does not exist: add it with add-group")]
    NoSuchGroup(u32),
    /// No switch could have the group: its number is reserved, or its type does not allow that number of
    /// buckets. In OpenFlow, the type `OFPET_GROUP_MOD_FAILED` and the code `OFPGMFC_INVALID_GROUP`.
    #[error("group {group}: {problem}")]
    InvalidGroup {
        /// The number of the group that was asked for.
        group: u32,
        /// What is wrong with the group.
        problem: &'static str,
    },
    /// A bucket of the group does not fit the group's type. In OpenFlow, the type `OFPET_GROUP_MOD_FAILED` and
    /// the code `OFPGMFC_INVALID_GROUP`.
    #[error("group {group}, bucket {bucket}: {} ({})", .problem.message(), .problem.remedy())]
    InvalidBucket {
        /// The number of the group that was asked for.
        group: u32,
        /// The number of the bucket that the group cannot have.
        bucket: u32,
        /// Why the group cannot have the bucket.
        problem: BucketProblem,
    },
    /// The actions of a rule or of a packet-out take more than [`MAX_LIST_SIZE`] bytes. In OpenFlow, the type
    /// `OFPET_BAD_REQUEST` and the code `OFPBRC_BAD_LEN`.
    #[error("the list of actions is too long: {size} bytes, and at most {max} fit", max = MAX_LIST_SIZE)]
    ListTooLong {
        /// The size of the list in bytes, as [`flow::action::list_size`] counts them.
        size: usize,
    },
    /// The group would take more than [`MAX_LIST_SIZE`] bytes with all its buckets. In OpenFlow, the type
    /// `OFPET_GROUP_MOD_FAILED` and the code `OFPGMFC_OUT_OF_BUCKETS`.
    #[error("group {group} has too many buckets or actions: {size} bytes, and at most {max} fit", max = MAX_LIST_SIZE)]
    GroupTooLarge {
        /// The number of the group that was asked for.
        group: u32,
        /// The group's size in bytes, as [`flow::group::Group::size`] counts them.
        size: usize,
    },
    /// Buckets of the group with this number watch a group whose buckets watch others, and so on back to the
    /// first one. In OpenFlow, the type `OFPET_GROUP_MOD_FAILED` and the code `OFPGMFC_LOOP`.
    #[error("group {0} would watch itself: whether it is alive would depend on itself")]
    WatchLoop(u32),
    /// A bucket of the group was to be removed, or others were to be inserted behind that bucket,
    /// and the group does not have it. In OpenFlow 1.5.1 §7.5.4, the type
    /// `OFPET_GROUP_MOD_FAILED` and the code `OFPGMFC_UNKNOWN_BUCKET`.
    #[error("group {group} has no bucket {bucket}")]
    UnknownBucket {
        /// The number of the group whose bucket is missing.
        group: u32,
        /// The number of the missing bucket.
        bucket: u32,
    },
    /// A bucket was to be inserted, and the group has one with its number. In OpenFlow 1.5.1 §7.5.4, the type
    /// `OFPET_GROUP_MOD_FAILED` and the code `OFPGMFC_BUCKET_EXISTS`.
    #[error("group {group} has a bucket {bucket} already")]
    BucketExists {
        /// The number of the group that has the bucket.
        group: u32,
        /// The number that both buckets have.
        bucket: u32,
    },
    /// Buckets of the group with this number send packets to a group whose buckets send them to others, and so
    /// on back to the first one. In OpenFlow, the type `OFPET_GROUP_MOD_FAILED` and the code `OFPGMFC_LOOP`.
    #[error("group {0} would refer to itself")]
    GroupLoop(u32),
    /// An action of a rule or of a packet-out names the meter with this number, which does not
    /// exist. In OpenFlow, the type `OFPET_METER_MOD_FAILED` and the code
    /// `OFPMMFC_INVALID_METER`, as Open vSwitch answers.
    #[error("meter {0} does not exist: add it with add-meter before the rule that uses it")]
    UnknownMeter(MeterId),
    /// A meter was to be added, and there is one with this number. In OpenFlow, the type
    /// `OFPET_METER_MOD_FAILED` and the code `OFPMMFC_METER_EXISTS`.
    #[error("meter {0} exists already: change it with mod-meter")]
    MeterExists(MeterId),
    /// The meter with this number was to be changed, and there is no such meter. In OpenFlow, the type
    /// `OFPET_METER_MOD_FAILED` and the code `OFPMMFC_UNKNOWN_METER`.
    #[error("meter {0} does not exist: add it with add-meter")]
    NoSuchMeter(MeterId),
    /// No meter can have this number. In OpenFlow, the type
    /// `OFPET_METER_MOD_FAILED` and the code `OFPMMFC_INVALID_METER`.
    #[error("meter {0}: meters have numbers from 1 to {max}, or are called controller or slowpath", max = MeterId::MAX)]
    InvalidMeter(MeterId),
    /// The bridge has [`MAX_METERS`] meters, as many as it can have. In OpenFlow, the type
    /// `OFPET_METER_MOD_FAILED` and the code `OFPMMFC_OUT_OF_METERS`.
    #[error("meter {0}: the bridge has {MAX_METERS} meters already, as many as it can have")]
    TooManyMeters(MeterId),
    /// A meter was to have more than [`MAX_BANDS`] bands. In OpenFlow, the type `OFPET_METER_MOD_FAILED` and
    /// the code `OFPMMFC_OUT_OF_BANDS`.
    #[error("meter {meter}: {bands} bands are too many, a meter has at most {MAX_BANDS}")]
    TooManyBands {
        /// The number of the meter that was asked for.
        meter: MeterId,
        /// The number of bands that were asked for.
        bands: usize,
    },
    /// The meter with this number was to have no band. In OpenFlow, the type `OFPET_METER_MOD_FAILED` and the
    /// code `OFPMMFC_OUT_OF_BANDS`, as Open vSwitch answers.
    #[error("meter {0} has no band: add one, for example bands=type=drop,rate=1000")]
    MeterWithoutBands(MeterId),
    /// A band of the meter with this number has the rate 0. In OpenFlow, the type `OFPET_METER_MOD_FAILED` and
    /// the code `OFPMMFC_BAD_RATE`.
    #[error("meter {0}: the rate of a band is at least 1")]
    BandWithoutRate(MeterId),
    /// A message asked for flags that the meter with this number cannot have, or for no unit. In OpenFlow, the
    /// type `OFPET_METER_MOD_FAILED` and the code `OFPMMFC_BAD_FLAGS`.
    #[error("meter {0}: a meter has the unit kbps or pktps, and no flags but burst and stats")]
    MeterFlags(MeterId),
    /// A rule or a packet-out uses the field `tun_metadataN` with this number, which is no option of Geneve in
    /// this bridge. In OpenFlow, the type `OFPET_FLOW_MOD_FAILED` and the code `NXFMFC_INVALID_TLV_FIELD`.
    #[error(
        "tun_metadata{0} is no option of tunnels yet: say which one with add-tlv-map, for example \
         \"{{class=0x102,type=0x80,len=4}}->tun_metadata{0}\""
    )]
    UnmappedOption(u8),
    /// A rule or a packet-out uses bits that the option of Geneve does not have. In OpenFlow, the type
    /// `OFPET_BAD_ACTION` and the code `OFPBAC_BAD_SET_LEN`.
    #[error("tun_metadata{field} is an option of {size} bytes, which has no such bits: its bits are those below {}", u16::from(*size) * 8)]
    OptionTooShort {
        /// The number of the field.
        field: u8,
        /// How many bytes of data the option has.
        size: u8,
    },
    /// A rule was to be added with the name of another rule of its bridge. OpenFlow has no names of rules: the
    /// type is `OFPET_FLOW_MOD_FAILED` and the code `OFPFMFC_UNKNOWN`.
    #[error("name=\"{0}\" is the name of another rule")]
    NameInUse(Arc<str>),
}

//! Groups in messages: `OFPT_GROUP_MOD` (OpenFlow 1.3.5 §7.3.4.2, 1.5.1 §7.3.4.3)
//! and the multiparts about groups.

use crate::action;
use crate::error::ErrorCode;
use crate::input::Input;
use crate::matching::field::{self, FieldHeader};
use crate::output::Encoder;
use crate::port;
use OfVersion::{OpenFlow13, OpenFlow15};
use flow::fields::FieldId;
use flow::group::{Bucket, BucketPlace, Group, GroupMod, GroupStats, GroupType, Selection};
use flow::types::{GroupId, OfPort, OfVersion};
use std::time::Duration;

/// Commands of group mods (`OFPGC_*`). The last one is Open vSwitch's.
mod command {
    pub(super) const ADD: u16 = 0;
    pub(super) const MODIFY: u16 = 1;
    pub(super) const DELETE: u16 = 2;
    pub(super) const INSERT_BUCKET: u16 = 3;
    pub(super) const REMOVE_BUCKET: u16 = 5;
    pub(super) const ADD_OR_MODIFY: u16 = 0x8000;
}

/// Places of buckets (`OFPG_BUCKET_*`).
mod bucket_place {
    pub(super) const FIRST: u32 = 0xffff_fffd;
    pub(super) const LAST: u32 = 0xffff_fffe;
    pub(super) const ALL: u32 = 0xffff_ffff;
}

/// Properties of buckets (`OFPGBPT_*`).
mod bucket_property {
    pub(super) const WEIGHT: u16 = 0;
    pub(super) const WATCH_PORT: u16 = 1;
    pub(super) const WATCH_GROUP: u16 = 2;
}

/// The experimenter of the selection method (Netronome).
const NETRONOME: u32 = 0x0000_154d;
/// The number that Open vSwitch 2.4 took for Netronome's, which later versions still read.
const NETRONOME_24: u32 = 0x0000_1540;
/// The property of a group that gives the selection method (`NTRT_SELECTION_METHOD`).
const SELECTION_METHOD: u32 = 1;
/// How many bytes the name of a selection method has at most, with a zero at the end.
const METHOD_SIZE: usize = 16;
/// The type of properties that an experimenter defines.
const EXPERIMENTER_PROPERTY: u16 = 0xffff;

fn kind_number(kind: GroupType) -> u8 {
    match kind {
        GroupType::All => 0,
        GroupType::Select => 1,
        GroupType::Indirect => 2,
        GroupType::FastFailover => 3,
    }
}

fn kind(number: u8) -> Result<GroupType, ErrorCode> {
    Ok(match number {
        0 => GroupType::All,
        1 => GroupType::Select,
        2 => GroupType::Indirect,
        3 => GroupType::FastFailover,
        _ => return Err(ErrorCode::BadGroupType),
    })
}

/// Reads a group mod. `has_ids` says that the body is that of OpenFlow 1.5, which Nicira's group
/// mod has in every version.
pub(crate) fn decode_mod(
    mut input: Input<'_>,
    version: OfVersion,
    has_ids: bool,
) -> Result<GroupMod, ErrorCode> {
    let command = input.u16()?;
    let kind_number = input.u8()?;
    input.skip(1)?;
    let id = GroupId(input.u32()?);
    let (buckets, place, selection) = if has_ids {
        let len = usize::from(input.u16()?);
        input.skip(2)?;
        let place = input.u32()?;
        // Buckets go in front of one bucket or behind one, and other commands have no place.
        let has_place = match command {
            command::REMOVE_BUCKET => place <= Bucket::MAX_ID || place >= bucket_place::FIRST,
            command::INSERT_BUCKET => {
                place <= Bucket::MAX_ID || matches!(place, bucket_place::FIRST | bucket_place::LAST)
            }
            _ => place == bucket_place::ALL,
        };
        if !has_place {
            return Err(ErrorCode::BadBucket);
        }
        let list = input.part(len, ErrorCode::BadLength)?;
        let buckets = decode_buckets_15(list, version)?;
        let mut ids: Vec<u32> = buckets.iter().map(|bucket| bucket.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(ErrorCode::BadBucket);
        }
        let selection =
            decode_properties(input, |method| check_method(method, kind_number, command))?;
        (buckets, place, selection)
    } else {
        // As in Open vSwitch, the commands of OpenFlow 1.5 for buckets work here, too: they insert in front of
        // all others, and remove all.
        let place = match command {
            command::INSERT_BUCKET => bucket_place::FIRST,
            _ => bucket_place::ALL,
        };
        let buckets = decode_buckets_11(input, version)?;
        // OpenFlow 1.3.5 demands this error. Earlier versions, and Open vSwitch in them, ignore the buckets.
        if command == command::DELETE && !buckets.is_empty() && version >= OpenFlow13 {
            return Err(ErrorCode::InvalidGroup);
        }
        (buckets, place, Selection::default())
    };
    let kind = kind(kind_number)?;
    // As Open vSwitch, in this order: the number of buckets, the command, what the buckets are like.
    let is_deletion = command == command::DELETE;
    if kind == GroupType::Indirect && buckets.len() != 1 && !is_deletion {
        return Err(ErrorCode::InvalidGroup);
    }
    match command {
        command::REMOVE_BUCKET if !buckets.is_empty() => return Err(ErrorCode::BadBucket),
        command::ADD
        | command::MODIFY
        | command::ADD_OR_MODIFY
        | command::DELETE
        | command::INSERT_BUCKET
        | command::REMOVE_BUCKET => {}
        _ => return Err(ErrorCode::BadGroupCommand),
    }
    let inserts = command == command::INSERT_BUCKET;
    // `ovs-ofctl insert-buckets` does not say of which type the group is, and leaves the 0 of type all.
    if !inserts || kind != GroupType::All {
        check_buckets(kind, &buckets, inserts)?;
    }
    let group = |buckets| Group { id, kind, selection, buckets };
    let place = match place {
        bucket_place::FIRST => BucketPlace::First,
        bucket_place::LAST => BucketPlace::Last,
        bucket_place::ALL => BucketPlace::All,
        id => BucketPlace::Id(id),
    };
    Ok(match command {
        command::ADD => GroupMod::Add(group(buckets)),
        command::MODIFY => GroupMod::Modify(group(buckets)),
        command::ADD_OR_MODIFY => GroupMod::AddOrModify(group(buckets)),
        command::DELETE => GroupMod::Delete(id),
        command::INSERT_BUCKET => GroupMod::InsertBuckets { group: id, place, buckets },
        command::REMOVE_BUCKET => GroupMod::RemoveBuckets { group: id, place },
        _ => return Err(ErrorCode::BadGroupCommand),
    })
}

/// Whether a group of this type can have buckets like these. Open vSwitch asks before it looks whether there is
/// such a group.
fn check_buckets(
    kind: GroupType,
    buckets: &[Bucket],
    may_have_weights: bool,
) -> Result<(), ErrorCode> {
    for bucket in buckets {
        let watches = bucket.watch_port.is_some() || bucket.watch_group.is_some();
        let has_weight = !may_have_weights && bucket.weight.is_some_and(|weight| weight > 0);
        match kind {
            GroupType::All | GroupType::Indirect | GroupType::FastFailover if has_weight => {
                return Err(ErrorCode::InvalidGroup);
            }
            GroupType::All | GroupType::Indirect if watches => {
                return Err(ErrorCode::GroupWatchUnsupported);
            }
            GroupType::FastFailover if !watches => return Err(ErrorCode::InvalidGroup),
            _ => {}
        }
    }
    Ok(())
}

/// Writes a group mod. Versions before 1.5 have the body of [`decode_mod`] with `has_ids` in Nicira's message.
pub(crate) fn put_mod(out: &mut Encoder, group_mod: &GroupMod, version: OfVersion, has_ids: bool) {
    let none = (GroupType::All, Selection::default());
    let (number, (kind, selection), id, place, buckets): (_, _, _, _, &[Bucket]) = match group_mod {
        GroupMod::Add(group) | GroupMod::Modify(group) | GroupMod::AddOrModify(group) => {
            let number = match group_mod {
                GroupMod::Add(_) => command::ADD,
                GroupMod::Modify(_) => command::MODIFY,
                _ => command::ADD_OR_MODIFY,
            };
            let settings = (group.kind, group.selection.clone());
            (number, settings, group.id, BucketPlace::All, &group.buckets)
        }
        GroupMod::Delete(id) => (command::DELETE, none, *id, BucketPlace::All, &[]),
        GroupMod::InsertBuckets { group, place, buckets } => {
            (command::INSERT_BUCKET, none, *group, *place, buckets)
        }
        GroupMod::RemoveBuckets { group, place } => {
            (command::REMOVE_BUCKET, none, *group, *place, &[])
        }
    };
    out.u16(number);
    out.u8(kind_number(kind));
    out.zeros(1);
    out.u32(id.0);
    if has_ids {
        let len_at = out.len();
        out.zeros(4);
        out.u32(match place {
            BucketPlace::First => bucket_place::FIRST,
            BucketPlace::Last => bucket_place::LAST,
            BucketPlace::All => bucket_place::ALL,
            BucketPlace::Id(id) => id,
        });
        let start = out.len();
        put_buckets_15(out, buckets, kind, version);
        out.set_len(len_at, start);
        put_properties(out, &selection, version);
    } else {
        put_buckets_11(out, buckets, kind, version);
    }
}

/// Reads the buckets of OpenFlow 1.1 to 1.4 up to the end of `input`. They have no ids: they
/// are numbered from 0 on.
fn decode_buckets_11(mut input: Input<'_>, version: OfVersion) -> Result<Vec<Bucket>, ErrorCode> {
    let mut buckets = Vec::new();
    while !input.is_empty() {
        let mut header = input;
        let len = usize::from(header.u16()?);
        if len < 16 || len > input.len() {
            return Err(ErrorCode::BadBucket);
        }
        if !len.is_multiple_of(8) {
            return Err(ErrorCode::BadLength);
        }
        let mut bucket = input.part(len, ErrorCode::BadBucket)?;
        bucket.skip(2)?;
        let weight = bucket.u16()?;
        let watch_port = bucket.u32()?;
        let watch_group = GroupId(bucket.u32()?);
        bucket.skip(4)?;
        let actions = Input::new(bucket.rest(), ErrorCode::BadActionLength);
        let actions = action::decode_plain(actions, version)?;
        let watch_port = port::decode_32(watch_port, ErrorCode::GroupBadWatch)?;
        buckets.push(Bucket {
            id: buckets.len() as u32,
            weight: Some(weight),
            watch_port: watched_port(watch_port),
            watch_group: watched_group(watch_group),
            actions,
        });
    }
    Ok(buckets)
}

fn watched_port(port: OfPort) -> Option<OfPort> {
    Some(port).filter(|port| *port != OfPort::NONE)
}

fn watched_group(group: GroupId) -> Option<GroupId> {
    Some(group).filter(|group| *group != GroupId::ANY)
}

fn put_buckets_11(out: &mut Encoder, buckets: &[Bucket], kind: GroupType, version: OfVersion) {
    for bucket in buckets {
        let start = out.len();
        out.u16(0);
        out.u16(bucket.weight_in(kind));
        out.u32(port::encode_32(bucket.watch_port.unwrap_or(OfPort::NONE)));
        out.u32(bucket.watch_group.unwrap_or(GroupId::ANY).0);
        out.zeros(4);
        action::put_list(out, &bucket.actions, version);
        out.set_len(start, start);
    }
}

fn decode_buckets_15(mut input: Input<'_>, version: OfVersion) -> Result<Vec<Bucket>, ErrorCode> {
    let mut buckets = Vec::new();
    while !input.is_empty() {
        let mut header = input;
        let len = usize::from(header.u16()?);
        if len < 8 || len > input.len() {
            return Err(ErrorCode::BadBucket);
        }
        let mut bucket = input.part(len, ErrorCode::BadBucket)?;
        bucket.skip(2)?;
        let actions_len = usize::from(bucket.u16()?);
        let id = bucket.u32()?;
        if actions_len > bucket.len() {
            return Err(ErrorCode::BadBucket);
        }
        if !actions_len.is_multiple_of(8) {
            return Err(ErrorCode::BadLength);
        }
        let actions = bucket.part(actions_len, ErrorCode::BadActionLength)?;
        let actions = action::decode_plain(actions, version)?;
        let (mut weight, mut watch_port, mut watch_group) = (None, None, None);
        while !bucket.is_empty() {
            let (kind, mut value) = decode_property(&mut bucket)?;
            match kind {
                bucket_property::WEIGHT => weight = Some(value.u16()?),
                bucket_property::WATCH_PORT => {
                    watch_port =
                        watched_port(port::decode_32(value.u32()?, ErrorCode::GroupBadWatch)?);
                }
                bucket_property::WATCH_GROUP => watch_group = watched_group(GroupId(value.u32()?)),
                EXPERIMENTER_PROPERTY => {
                    decode_experimenter(&mut value)?;
                    return Err(ErrorCode::PropertyBadExpType);
                }
                _ => return Err(ErrorCode::BadProperty),
            }
            if kind != bucket_property::WEIGHT && !value.is_empty() {
                return Err(ErrorCode::BadPropertyLength);
            }
        }
        if id > Bucket::MAX_ID {
            return Err(ErrorCode::BadBucket);
        }
        buckets.push(Bucket { id, weight, watch_port, watch_group, actions });
    }
    Ok(buckets)
}

/// Reads a property: its type, and what stands behind its length.
pub(crate) fn decode_property<'a>(input: &mut Input<'a>) -> Result<(u16, Input<'a>), ErrorCode> {
    let mut header = *input;
    let short = |_| ErrorCode::BadPropertyLength;
    let kind = header.u16().map_err(short)?;
    let len = usize::from(header.u16().map_err(short)?);
    if len < 4 || len.next_multiple_of(8) > input.len() {
        return Err(ErrorCode::BadPropertyLength);
    }
    let mut property = input.part(len, ErrorCode::BadPropertyLength)?;
    input.skip_padding(len);
    property.skip(4)?;
    Ok((kind, property))
}

fn put_buckets_15(out: &mut Encoder, buckets: &[Bucket], kind: GroupType, version: OfVersion) {
    for bucket in buckets {
        let start = out.len();
        out.zeros(4);
        out.u32(bucket.id);
        let actions = out.len();
        action::put_list(out, &bucket.actions, version);
        out.set_len(start + 2, actions);
        // Only groups of type select have weights, and only those of type ff look whether a bucket is alive. A
        // request to insert buckets does not say of which type the group is.
        let weight = match kind {
            GroupType::Select => Some(bucket.weight_in(kind)),
            _ => bucket.weight,
        };
        if let Some(weight) = weight {
            out.u16(bucket_property::WEIGHT);
            out.u16(8);
            out.u16(weight);
            out.zeros(2);
        }
        if let Some(port) = bucket.watch_port {
            out.u16(bucket_property::WATCH_PORT);
            out.u16(8);
            out.u32(port::encode_32(port));
        }
        if let Some(group) = bucket.watch_group {
            out.u16(bucket_property::WATCH_GROUP);
            out.u16(8);
            out.u32(group.0);
        }
        out.set_len(start, start);
    }
}

/// Checks a selection method of a group mod that has these numbers of a type and of a command.
fn check_method(method: &str, kind: u8, command: u16) -> Result<(), ErrorCode> {
    // What commands there are is looked at later.
    let has_method =
        !matches!(command, command::DELETE | command::INSERT_BUCKET | command::REMOVE_BUCKET);
    let is_select = self::kind(kind)? == GroupType::Select;
    match has_method && is_select && matches!(method, "hash" | "dp_hash") {
        true => Ok(()),
        false => Err(ErrorCode::BadPropertyValue),
    }
}

/// Reads the properties of a group. `check` looks at the name of a selection method.
fn decode_properties(
    mut input: Input<'_>,
    check: impl Fn(&str) -> Result<(), ErrorCode>,
) -> Result<Selection, ErrorCode> {
    let mut selection = Selection::default();
    while !input.is_empty() {
        let (kind, mut value) = decode_property(&mut input)?;
        if kind != EXPERIMENTER_PROPERTY {
            return Err(ErrorCode::BadProperty);
        }
        let (NETRONOME | NETRONOME_24, SELECTION_METHOD) = decode_experimenter(&mut value)? else {
            return Err(ErrorCode::PropertyBadExpType);
        };
        value.skip(4)?;
        selection.method = value.name::<METHOD_SIZE>()?;
        check(&selection.method)?;
        selection.param = value.u64()?;
        selection.fields = decode_selected_fields(value)?;
        if selection.method == "dp_hash" && !selection.fields.is_empty() {
            return Err(ErrorCode::BadPropertyValue);
        }
    }
    Ok(selection)
}

/// Reads the experimenter of a property, and what the experimenter calls the property.
fn decode_experimenter(value: &mut Input<'_>) -> Result<(u32, u32), ErrorCode> {
    Ok((value.u32()?, value.u32()?))
}

/// Reads the fields of a selection method: headers, each with the mask of the bits that count.
fn decode_selected_fields(input: Input<'_>) -> Result<Vec<(FieldId, u128)>, ErrorCode> {
    let mut input = Input::new(input.rest(), ErrorCode::BadMatchLength);
    let mut fields: Vec<(FieldId, u128)> = Vec::new();
    while !input.is_empty() {
        let header = FieldHeader::decode(&mut input)?;
        let id = header.field.ok_or(ErrorCode::BadField)?;
        let (def, legal) = (id.def(), id.full_mask());
        if header.has_mask {
            return Err(ErrorCode::BadMask);
        }
        if header.size != def.wire_len() {
            return Err(ErrorCode::BadField);
        }
        let mask = input.integer(header.size)?;
        if !def.maskable && mask & legal != 0 && mask & legal != legal {
            return Err(ErrorCode::BadMask);
        }
        if fields.iter().any(|(other, _)| *other == id) {
            return Err(ErrorCode::DuplicateField);
        }
        fields.push((id, mask & legal));
    }
    Ok(fields)
}

fn put_properties(out: &mut Encoder, selection: &Selection, version: OfVersion) {
    if selection.method.is_empty() {
        return;
    }
    let start = out.len();
    out.u16(EXPERIMENTER_PROPERTY);
    out.u16(0);
    out.u32(NETRONOME);
    out.u32(SELECTION_METHOD);
    out.zeros(4);
    out.name(&selection.method, METHOD_SIZE);
    out.u64(selection.param);
    for (id, mask) in &selection.fields {
        field::put_header_of_value(out, *id, version);
        let def = id.def();
        out.integer(if *mask == def.legal { def.whole } else { *mask }, def.wire_len());
    }
    out.set_len(start + 2, start);
    out.pad(start);
}

/// Reads a group of a reply to a request for descriptions (`OFPST_GROUP_DESC`).
pub(crate) fn decode_desc(input: &mut Input<'_>, version: OfVersion) -> Result<Group, ErrorCode> {
    let mut header = *input;
    let len = usize::from(header.u16()?);
    let mut entry = input.part(len, ErrorCode::BadLength)?;
    entry.skip(2)?;
    let kind = kind(entry.u8()?)?;
    entry.skip(1)?;
    let id = GroupId(entry.u32()?);
    if !has_ids(version) {
        let buckets = decode_buckets_11(entry, version)?;
        return Ok(Group { id, kind, selection: Selection::default(), buckets });
    }
    let buckets_len = usize::from(entry.u16()?);
    entry.skip(6)?;
    let buckets = decode_buckets_15(entry.part(buckets_len, ErrorCode::BadLength)?, version)?;
    Ok(Group { id, kind, selection: decode_properties(entry, |_| Ok(()))?, buckets })
}

/// Whether a description of a group has ids of buckets and a selection method: in OpenFlow 1.5, and in Nicira's
/// message for 1.0.
fn has_ids(version: OfVersion) -> bool {
    matches!(version, OfVersion::OpenFlow10 | OpenFlow15)
}

/// Whether the counters of a group have its duration: from OpenFlow 1.3 on, and in Nicira's message for 1.0.
fn has_duration(version: OfVersion) -> bool {
    version >= OpenFlow13 || version == OfVersion::OpenFlow10
}

/// Writes a group of a reply to a request for descriptions. Messages of OpenFlow 1.1 to 1.4 have no bucket ids
/// and no selection method.
pub(crate) fn put_desc(out: &mut Encoder, group: &Group, version: OfVersion) {
    let start = out.len();
    out.u16(0);
    out.u8(kind_number(group.kind));
    out.zeros(1);
    out.u32(group.id.0);
    if !has_ids(version) {
        put_buckets_11(out, &group.buckets, group.kind, version);
    } else {
        let len_at = out.len();
        out.zeros(8);
        let buckets = out.len();
        put_buckets_15(out, &group.buckets, group.kind, version);
        out.set_len(len_at, buckets);
        put_properties(out, &group.selection, version);
    }
    out.set_len(start, start);
}

/// Reads the counters of a group (`OFPST_GROUP`).
pub(crate) fn decode_stats(
    input: &mut Input<'_>,
    version: OfVersion,
) -> Result<(GroupId, GroupStats), ErrorCode> {
    let mut header = *input;
    let len = usize::from(header.u16()?);
    let mut entry = input.part(len, ErrorCode::BadLength)?;
    entry.skip(4)?;
    let (id, ref_count) = (GroupId(entry.u32()?), entry.u32()?);
    entry.skip(4)?;
    let (packets, bytes) = (entry.u64()?, entry.u64()?);
    let duration = match has_duration(version) {
        true => decode_duration(&mut entry)?,
        false => Duration::ZERO,
    };
    let mut buckets = Vec::new();
    while !entry.is_empty() {
        buckets.push((entry.u64()?, entry.u64()?));
    }
    Ok((id, GroupStats { ref_count, packets, bytes, duration, buckets }))
}

/// Reads seconds and nanoseconds.
pub(crate) fn decode_duration(input: &mut Input<'_>) -> Result<Duration, ErrorCode> {
    let (seconds, nanoseconds) = (input.u32()?, input.u32()?);
    Ok(Duration::from_secs(seconds.into()) + Duration::from_nanos(nanoseconds.into()))
}

/// Reads a duration that the sender may not know. Then all bits of the seconds are set.
pub(crate) fn decode_known_duration(input: &mut Input<'_>) -> Result<Option<Duration>, ErrorCode> {
    let is_known = { *input }.u32()? != u32::MAX;
    Ok(Some(decode_duration(input)?).filter(|_| is_known))
}

/// Writes a duration, and ones in place of an unknown one.
pub(crate) fn put_known_duration(out: &mut Encoder, duration: Option<Duration>) {
    match duration {
        Some(duration) => put_duration(out, duration),
        None => out.u64(u64::MAX),
    }
}

/// Writes whole seconds and the nanoseconds beyond.
pub(crate) fn put_duration(out: &mut Encoder, duration: Duration) {
    out.u32(duration.as_secs() as u32);
    out.u32(duration.subsec_nanos());
}

/// Writes the counters of a group.
pub(crate) fn put_stats(out: &mut Encoder, id: GroupId, stats: &GroupStats, version: OfVersion) {
    let start = out.len();
    out.zeros(4);
    out.u32(id.0);
    out.u32(stats.ref_count);
    out.zeros(4);
    out.u64(stats.packets);
    out.u64(stats.bytes);
    if has_duration(version) {
        put_duration(out, stats.duration);
    }
    for (packets, bytes) in &stats.buckets {
        out.u64(*packets);
        out.u64(*bytes);
    }
    out.set_len(start, start);
}

/// What a switch says of its groups (`OFPST_GROUP_FEATURES`). Elements of the arrays are in the order of the
/// types: all, select, indirect, ff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupFeatures {
    /// The types that the switch has, bit 0 for `all` and so on.
    pub types: u32,
    /// The capabilities (`OFPGFC_*`).
    pub capabilities: u32,
    /// The largest number of groups of each type.
    pub max_groups: [u32; 4],
    /// The types of actions that groups of each type can have, as bits.
    pub actions: [u32; 4],
}

impl GroupFeatures {
    pub(crate) fn put(&self, out: &mut Encoder) {
        let words = [self.types, self.capabilities];
        words.iter().chain(&self.max_groups).chain(&self.actions).for_each(|word| out.u32(*word));
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, ErrorCode> {
        let (types, capabilities) = (input.u32()?, input.u32()?);
        let mut four = || -> Result<[u32; 4], ErrorCode> {
            Ok([input.u32()?, input.u32()?, input.u32()?, input.u32()?])
        };
        Ok(Self { types, capabilities, max_groups: four()?, actions: four()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_that_are_inserted_keep_their_weight() {
        for weight in [None, Some(0), Some(100)] {
            let bucket =
                Bucket { id: 2, weight, watch_port: None, watch_group: None, actions: Vec::new() };
            let place = BucketPlace::Last;
            let group_mod =
                GroupMod::InsertBuckets { group: GroupId(7), place, buckets: vec![bucket] };
            let mut out = Encoder::default();
            put_mod(&mut out, &group_mod, OpenFlow15, true);
            let bytes = out.into_bytes();
            let input = Input::new(&bytes, ErrorCode::BadLength);
            assert_eq!(decode_mod(input, OpenFlow15, true), Ok(group_mod));
        }
    }
}

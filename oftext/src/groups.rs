//! Groups: group mods, and what groups are and count.

use crate::actions::put_actions;
use crate::{Received, put};
use flow::group::{Bucket, BucketPlace, Group, GroupMod, GroupType};
use flow::text::{PrintOptions, write_group};
use flow::types::{GroupId, OfVersion};
use openflow::GroupFeatures;
use std::fmt::Write;

/// Prints a group mod.
pub(crate) fn put_mod(
    out: &mut String,
    group_mod: &GroupMod,
    received: &Received<'_>,
    options: &PrintOptions<'_>,
) {
    // Buckets have numbers in OpenFlow 1.5 and in Nicira's message.
    let has_ids =
        received.version == OfVersion::OpenFlow15 || received.kind.name == "NXT_GROUP_MOD";
    out.push_str("\n ");
    let (command, group) = match group_mod {
        GroupMod::Add(group) => ("ADD", group),
        GroupMod::Modify(group) => ("MOD", group),
        GroupMod::AddOrModify(group) => ("ADD_OR_MOD", group),
        GroupMod::Delete(id) => {
            put!(out, "DEL group_id={},type=all", id.0);
            return;
        }
        GroupMod::InsertBuckets { group, place, buckets } => {
            return put_buckets(out, "INSERT_BUCKET", *group, *place, buckets, options);
        }
        GroupMod::RemoveBuckets { group, place } => {
            return put_buckets(out, "REMOVE_BUCKET", *group, *place, &[], options);
        }
    };
    put!(out, "{command} ");
    put_group(out, group, has_ids, options);
}

/// Prints a group, with numbers of its buckets or without.
fn put_group(out: &mut String, group: &Group, has_ids: bool, options: &PrintOptions<'_>) {
    let mut text = String::new();
    write_group(&mut text, group, options);
    if has_ids == matches!(options.version, OfVersion::OpenFlow10 | OfVersion::OpenFlow15) {
        out.push_str(&text);
        return;
    }
    // The version has no numbers of buckets elsewhere, or has none here.
    let version = if has_ids { OfVersion::OpenFlow15 } else { OfVersion::OpenFlow13 };
    write_group(out, group, &PrintOptions { version, ..*options });
}

fn put_buckets(
    out: &mut String,
    command: &str,
    id: GroupId,
    place: BucketPlace,
    buckets: &[Bucket],
    options: &PrintOptions<'_>,
) {
    let place = match place {
        BucketPlace::First => "first".to_owned(),
        BucketPlace::Last => "last".to_owned(),
        BucketPlace::All => "all".to_owned(),
        BucketPlace::Id(id) => id.to_string(),
    };
    put!(out, "{command} command_bucket_id:{place},group_id={}", id.0);
    let group = Group {
        id,
        kind: GroupType::All,
        selection: Default::default(),
        buckets: buckets.to_vec(),
    };
    let mut text = String::new();
    write_group(&mut text, &group, &PrintOptions { version: OfVersion::OpenFlow15, ..*options });
    // The message says nothing of the group's type.
    let head = format!("group_id={},type=all", id.0);
    out.push_str(text.strip_prefix(&head).unwrap_or(&text));
}

/// Prints the number of a group in a request.
pub(crate) fn put_id(out: &mut String, id: GroupId) {
    out.push_str(" group_id=");
    match id {
        GroupId::ALL => out.push_str("ALL"),
        GroupId::ANY => out.push_str("ANY"),
        id => {
            put!(out, "{}", id.0);
        }
    }
}

/// Prints what the switch can do with groups.
pub(crate) fn put_features(out: &mut String, features: &GroupFeatures, version: OfVersion) {
    put!(out, "\n Group table:\n    Types:  0x{:x}\n", features.types);
    put!(out, "    Capabilities:  0x{:x}\n", features.capabilities);
    let types = ["all", "select", "indirect", "fast failover"];
    for (n, name) in types.iter().enumerate().filter(|(n, _)| features.types >> n & 1 != 0) {
        put!(out, "    {name} group:\n       max_groups=");
        put_hex(out, features.max_groups[n]);
        out.push_str("\n       actions: ");
        put_actions(out, features.actions[n], version);
        out.push('\n');
    }
}

/// Appends a number as C's `%#x` does: zero has no prefix.
pub(crate) fn put_hex(out: &mut String, number: u32) {
    match number {
        0 => out.push('0'),
        number => {
            put!(out, "{number:#x}");
        }
    }
}

//! Prints groups: the lines of `dump-groups` and `dump-group-stats`.

use super::{PrintOptions, duration, put, value, write_actions};
use crate::action::Action;
use crate::dialect;
use crate::fields::{FieldId, ones};
use crate::group::{Bucket, Group, GroupStats, GroupType};
use crate::matching::Match;
use crate::text::port::{self, NoPortNames};
use crate::types::{GroupId, OfVersion};
use std::fmt::Write;

/// Whether messages of the version have numbers of buckets and selection methods: 1.5, and
/// 1.0 by a Nicira extension.
fn has_properties(version: OfVersion) -> bool {
    matches!(version, OfVersion::OpenFlow10 | OfVersion::OpenFlow15)
}

/// Appends the line of `dump-groups`:
/// `group_id=1,type=select,bucket=weight:2,actions=output:1,bucket=actions=output:2`.
pub fn write_group(out: &mut String, group: &Group, options: &PrintOptions<'_>) {
    put!(out, "group_id={},type={}", group.id.0, group.kind.name());
    if has_properties(options.version) {
        write_selection(out, group);
    }
    for bucket in &group.buckets {
        // Buckets have no match, so their actions are converted as for any packet, as in Open vSwitch.
        let actions = dialect::actions(&bucket.actions, options.version, &Match::any());
        write_bucket(out, bucket, &actions, group.kind, options);
    }
}

/// Appends the line of a group in `ofctl save`: as [`write_group`], but the
/// actions are not converted to what a version of OpenFlow can say. Ports are
/// numbers. [`parse_saved_group`](crate::text::parse_saved_group) reads the line.
pub fn write_saved_group(out: &mut String, group: &Group) {
    let version = OfVersion::OpenFlow15;
    let options = PrintOptions { version, ports: &NoPortNames, stats: false, ages: false };
    put!(out, "group_id={},type={}", group.id.0, group.kind.name());
    write_selection(out, group);
    for bucket in &group.buckets {
        write_bucket(out, bucket, &bucket.actions, group.kind, &options);
    }
}

/// Where Open vSwitch, which prints fields in an order of its own, has the field's kind. Within a kind, the
/// order is that of the field table.
fn rank(field: FieldId) -> u8 {
    match field {
        FieldId::ConjId => 0,
        FieldId::TunMetadata(_) => 2,
        FieldId::Reg(_) => 5,
        FieldId::XReg(_) => 6,
        FieldId::XxReg(_) => 7,
        field if field.def().name.starts_with("tun_") => 1,
        field if field < FieldId::CtState => 3,
        field if field.def().name.starts_with("ct_") => 4,
        _ => 8,
    }
}

fn write_selection(out: &mut String, group: &Group) {
    let selection = &group.selection;
    if selection.method.is_empty() {
        return;
    }
    put!(out, ",selection_method={}", selection.method);
    if selection.param != 0 {
        put!(out, ",selection_method_param={}", selection.param);
    }
    let (open, close) = match selection.fields.len() {
        0 => return,
        1 => ('=', ""),
        _ => ('(', ")"),
    };
    put!(out, ",fields{open}");
    let mut fields = selection.fields.clone();
    fields.sort_by_key(|(field, _)| (rank(*field), *field));
    for (i, &(field, mask)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        let def = field.def();
        out.push_str(def.name);
        if mask & def.legal != def.legal {
            out.push('=');
            value(out, field, mask, ones(8 * def.wire_len() as u16), &NoPortNames);
        }
    }
    out.push_str(close);
}

/// Appends a bucket. `actions` are those of the bucket as the options' version shows them.
fn write_bucket(
    out: &mut String,
    bucket: &Bucket,
    actions: &[Action],
    kind: GroupType,
    options: &PrintOptions<'_>,
) {
    out.push_str(",bucket=");
    if has_properties(options.version) {
        put!(out, "bucket_id:{},", bucket.id);
    }
    let default_weight = u16::from(kind == GroupType::Select);
    let weight = bucket.weight_in(kind);
    if weight != default_weight {
        put!(out, "weight:{weight},");
    }
    if let Some(watch) = bucket.watch_port {
        out.push_str("watch_port:");
        port::write(out, watch, options.ports);
        out.push(',');
    }
    if let Some(group) = bucket.watch_group {
        put!(out, "watch_group:{},", group.0);
    }
    out.push_str("actions=");
    write_actions(out, actions, options);
}

/// Appends the line of `dump-group-stats`:
/// `group_id=1,duration=0.025s,ref_count=0,packet_count=0,byte_count=0,bucket0:...`.
pub fn write_group_stats(
    out: &mut String,
    id: GroupId,
    stats: &GroupStats,
    options: &PrintOptions<'_>,
) {
    put!(out, "group_id={},", id.0);
    if !matches!(options.version, OfVersion::OpenFlow11 | OfVersion::OpenFlow12) {
        out.push_str("duration=");
        duration(out, stats.duration);
        out.push(',');
    }
    put!(
        out,
        "ref_count={},packet_count={},byte_count={}",
        stats.ref_count,
        stats.packets,
        stats.bytes
    );
    for (i, (packets, bytes)) in stats.buckets.iter().enumerate() {
        put!(out, ",bucket{i}:packet_count={packets},byte_count={bytes}");
    }
}

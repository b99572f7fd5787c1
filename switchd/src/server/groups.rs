//! Groups: transactions on them, and lists.

use super::answer::{Failure, Sender};
use super::ineffective::IneffectiveParts;
use super::lines::Lines;
use super::names::{Names, shown};
use super::progress::Progress;
use super::refuse;
use crate::bridge::groups::{self, GroupList};
use crate::switch::OnBridge;
use control::frame::{Kind, TEXT_SIZE};
use control::record::{BucketRecord, BucketStatsRecord, GroupRecord, GroupStatsRecord};
use control::{Changed, Format, GroupCommand, GroupMods, GroupQuery, Reason, Refusal, Reply};
use flow::group::GroupStats;
use flow::text::{
    self, ParseContext, PrintOptions, parse_group, parse_group_file_line, write_actions,
    write_group, write_group_stats,
};
use flow::types::GroupId;
use flowtable::policy::groups::GroupEntry;
use std::time::Duration;

/// Changes groups as the text says.
pub(super) fn change(
    switch: &OnBridge<'_>,
    mods: &GroupMods,
    text: &[u8],
    progress: &Progress,
) -> Result<Reply, Box<Refusal>> {
    let names = Names::of(*switch);
    let context = ParseContext {
        version: mods.version,
        lenient: mods.lenient || switch.is_lenient(),
        ports: &names,
        ..ParseContext::default()
    };
    let (mut changes, mut lines) = (Vec::new(), Vec::new());
    let mut ineffective = IneffectiveParts::default();
    for line in Lines::new(text, mods.file, mods.name.as_deref())? {
        progress.step();
        let change = match mods.file {
            true => parse_group_file_line(line.text, command(mods.command), &context),
            false => parse_group(line.text, command(mods.command), &context),
        };
        let change = change.map_err(|error| refuse::text(&error, line))?;
        ineffective.look_at_group(&change);
        changes.push(change);
        lines.push(line);
    }
    groups::change(*switch, &changes)
        .map_err(|(index, error)| refuse::flow_mod(&error, lines[index]))?;
    let count = changes.len() as u64;
    Ok(Reply::Changed(Changed { count, notes: ineffective.notes_for(&names.ports, switch) }))
}

fn command(command: GroupCommand) -> text::GroupCommand {
    match command {
        GroupCommand::Add => text::GroupCommand::Add,
        GroupCommand::Modify => text::GroupCommand::Modify,
        GroupCommand::AddOrModify => text::GroupCommand::AddOrModify,
        GroupCommand::Delete => text::GroupCommand::Delete,
        GroupCommand::InsertBuckets => text::GroupCommand::InsertBuckets,
        GroupCommand::RemoveBuckets => text::GroupCommand::RemoveBuckets,
    }
}

/// Lists groups with their buckets.
pub(super) fn dump(
    switch: &OnBridge<'_>,
    query: &GroupQuery,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let names = Names::of(*switch);
    let names = shown(&names, query.names);
    let options = PrintOptions { version: query.version, ports: &names, stats: true, ages: true };
    list(switch, query, to, |out, entry, _| match query.format {
        Format::Text => {
            out.push(' ');
            write_group(out, &entry.group, &options);
        }
        Format::Json => super::status::write_record(out, &record(entry, &options)),
    })
}

/// Lists the counters of groups.
pub(super) fn dump_stats(
    switch: &OnBridge<'_>,
    query: &GroupQuery,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let names = Names::of(*switch);
    let names = shown(&names, query.names);
    let options = PrintOptions { version: query.version, ports: &names, stats: true, ages: true };
    list(switch, query, to, |out, entry, groups| {
        let stats = groups.stats(entry);
        // More digits than those of milliseconds would be noise.
        let duration = Duration::from_millis(stats.duration.as_millis() as u64);
        let stats = GroupStats { duration, ..stats };
        match query.format {
            Format::Text => {
                out.push(' ');
                write_group_stats(out, entry.group.id, &stats, &options);
            }
            Format::Json => super::status::write_record(out, &stats_record(entry, &stats)),
        }
    })
}

/// Writes the groups of a query, a line each.
fn list(
    switch: &OnBridge<'_>,
    query: &GroupQuery,
    to: &mut Sender<'_>,
    mut write: impl FnMut(&mut String, &GroupEntry, &GroupList<'_>),
) -> Result<Reply, Failure> {
    let mut groups = groups::list(*switch, query.group.map(GroupId))
        .map_err(|error| Box::new(Refusal::new(Reason::NotFound, error.to_string())))?;
    let (mut text, mut listed) = (String::new(), 0);
    while let Some(entries) = groups.next_slice() {
        for entry in &entries {
            write(&mut text, entry, &groups);
            text.push('\n');
        }
        listed += entries.len() as u64;
        if text.len() >= TEXT_SIZE / 2 {
            to.put(Kind::Text, text.as_bytes())?;
            text.clear();
        }
    }
    to.put(Kind::Text, text.as_bytes())?;
    Ok(Reply::Listed(listed))
}

/// A group as `--json` shows it.
pub(super) fn record(entry: &GroupEntry, options: &PrintOptions<'_>) -> GroupRecord {
    let group = &entry.group;
    let mut text = String::new();
    write_group(&mut text, group, options);
    let bucket = |bucket: &flow::group::Bucket| {
        let mut actions = String::new();
        write_actions(&mut actions, &bucket.actions, options);
        BucketRecord {
            bucket_id: bucket.id,
            weight: bucket.weight_in(group.kind),
            watch_port: bucket.watch_port.map(|port| port.0),
            watch_group: bucket.watch_group.map(|group| group.0),
            actions,
        }
    };
    GroupRecord {
        group_id: group.id.0,
        r#type: group.kind.name().to_owned(),
        buckets: group.buckets.iter().map(bucket).collect(),
        text,
    }
}

fn stats_record(entry: &GroupEntry, stats: &GroupStats) -> GroupStatsRecord {
    let bucket = |&(n_packets, n_bytes): &(u64, u64)| BucketStatsRecord { n_packets, n_bytes };
    GroupStatsRecord {
        group_id: entry.group.id.0,
        duration: stats.duration.as_secs_f64(),
        ref_count: stats.ref_count,
        n_packets: stats.packets,
        n_bytes: stats.bytes,
        buckets: stats.buckets.iter().map(bucket).collect(),
    }
}

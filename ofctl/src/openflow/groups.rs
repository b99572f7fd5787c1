//! The verbs about groups.

use super::channel::Channel;
use super::flows::in_bundle;
use super::ports::with_names;
use super::{Call, switch};
use crate::groups::group_number;
use crate::options::Verb;
use crate::{Outcome, files};
use anyhow::bail;
use control::Refusal;
use flow::group::GroupMod;
use flow::text::{GroupCommand, ParseContext, parse_group, parse_group_file_line, strip_comment};
use flow::types::{GroupId, OfVersion};
use openflow::{MultipartRequest, OfMessage};

/// Carries out the verbs `add-group`, `mod-group`, `insert-buckets` and `remove-buckets`.
pub(super) fn change(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let command = match (&call.options.verb, call.options.how.may_create) {
        (Verb::ModGroup(_), false) => GroupCommand::Modify,
        (Verb::ModGroup(_), true) => GroupCommand::AddOrModify,
        (Verb::InsertBuckets(_), _) => GroupCommand::InsertBuckets,
        (Verb::RemoveBuckets(_), _) => GroupCommand::RemoveBuckets,
        _ => GroupCommand::Add,
    };
    let mut channel = call.open(1, 1)?;
    one_or_lines(call, &mut channel, &call.words[0], command)
}

/// Carries out the verb `del-groups`.
pub(super) fn delete(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 1)?;
    let text = call.words.first().map_or("", String::as_str);
    one_or_lines(call, &mut channel, text, GroupCommand::Delete)
}

/// Sends the request that the text says, or with `-` those of standard input.
fn one_or_lines(
    call: &Call<'_>,
    channel: &mut Channel,
    text: &str,
    command: GroupCommand,
) -> anyhow::Result<Outcome> {
    let requests = match text {
        "-" => read(call, channel, text, command)?,
        text => vec![OfMessage::GroupMod(parse(call, channel, text, command)?)],
    };
    send(call, channel, &requests)
}

/// Sends requests, with `--bundle` as a bundle.
fn send(call: &Call<'_>, channel: &mut Channel, requests: &[OfMessage]) -> anyhow::Result<Outcome> {
    match call.options.how.bundle {
        true => in_bundle(call, channel, requests)?,
        false => channel.carry_out(requests)?,
    }
    switch::changed(call, requests.len() as u64)
}

fn parse(
    call: &Call<'_>,
    channel: &mut Channel,
    text: &str,
    command: GroupCommand,
) -> anyhow::Result<GroupMod> {
    let (version, lenient) = (channel.version(), call.options.how.lenient);
    // Messages between have no such commands. Those of 1.0 have them by an extension.
    let has_buckets = matches!(version, OfVersion::OpenFlow10 | OfVersion::OpenFlow15);
    match command {
        GroupCommand::InsertBuckets if !has_buckets => {
            bail!("insert-bucket needs OpenFlow 1.5 or later ('-O OpenFlow15')");
        }
        GroupCommand::RemoveBuckets if !has_buckets => {
            bail!("remove-bucket needs OpenFlow 1.5 or later ('-O OpenFlow15')");
        }
        _ => {}
    }
    let parsed = with_names(channel, |ports| {
        let context = ParseContext { version, lenient, ports, ..ParseContext::default() };
        parse_group(text, command, &context)
    })?;
    Ok(parsed.map_err(|error| Refusal::of_text(&error, None, 1, text))?)
}

/// Carries out the verb `add-groups`.
pub(super) fn add_file(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(1, 1)?;
    let requests = read(call, &mut channel, &call.words[0], GroupCommand::Add)?;
    send(call, &mut channel, &requests)
}

/// The requests of a file. A line that does not begin with a command is for `command`.
fn read(
    call: &Call<'_>,
    channel: &mut Channel,
    path: &str,
    command: GroupCommand,
) -> anyhow::Result<Vec<OfMessage>> {
    let (version, lenient) = (channel.version(), call.options.how.lenient);
    let mut requests = Vec::new();
    for (n, line) in files::read(path)?.lines().enumerate() {
        let Some(text) = strip_comment(line) else {
            continue;
        };
        let parsed = with_names(channel, |ports| {
            let context = ParseContext { version, lenient, ports, ..ParseContext::default() };
            parse_group_file_line(text, command, &context)
        })?;
        let name = Some(files::name(path));
        let group_mod = parsed.map_err(|error| Refusal::of_text(&error, name, n + 1, text))?;
        requests.push(OfMessage::GroupMod(group_mod));
    }
    Ok(requests)
}

/// Carries out the verb `dump-groups`.
pub(super) fn dump(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    list(call, MultipartRequest::GroupDesc)
}

/// Carries out the verb `dump-group-stats`.
pub(super) fn dump_stats(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    list(call, MultipartRequest::Group)
}

/// Carries out the verb `dump-group-features`.
pub(super) fn dump_features(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    switch::dump(call, MultipartRequest::GroupFeatures)
}

fn list(
    call: &mut Call<'_>,
    request: impl FnOnce(GroupId) -> MultipartRequest,
) -> anyhow::Result<Outcome> {
    call.expect(0, 1)?;
    let group = call.words.first().map_or(Ok(None), |text| group_number(text))?;
    let mut channel = call.open(0, 1)?;
    let names = call.shown_names(&mut channel)?;
    let request = request(group.map_or(GroupId::ALL, GroupId));
    let replies = channel.all_parts(&OfMessage::MultipartRequest(request))?;
    call.print(&replies, &names)
}

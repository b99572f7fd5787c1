//! The verbs that change and list groups.

use crate::connect::call;
use crate::flows::{reply_name, send, stream};
use crate::options::{How, Options, Verb, Words};
use crate::{Outcome, Usage, files};
use control::{Client, Format, GroupCommand, GroupMods, GroupQuery, Operation};

/// Carries out the verbs `add-group`, `mod-group`, `insert-buckets` and `remove-buckets`.
pub(crate) fn change(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let command = match (&options.verb, options.how.may_create) {
        (Verb::ModGroup(_), false) => GroupCommand::Modify,
        (Verb::ModGroup(_), true) => GroupCommand::AddOrModify,
        (Verb::InsertBuckets(_), _) => GroupCommand::InsertBuckets,
        (Verb::RemoveBuckets(_), _) => GroupCommand::RemoveBuckets,
        _ => GroupCommand::Add,
    };
    let mut call = call(options, words, 1, 1)?;
    if call.words[0] == "-" {
        return send_lines(options, &mut call.client, command);
    }
    let mods = GroupMods { command, ..mods(&options.how) };
    send(&options.how, &mut call.client, Operation::GroupMods(mods), &mut call.words[0].as_bytes())
}

/// Sends the lines of standard input, as `add-group BRIDGE -` and its like do: each line is for the command.
fn send_lines(
    options: &Options,
    client: &mut Client,
    command: GroupCommand,
) -> anyhow::Result<Outcome> {
    let name = Some(files::name("-").to_owned());
    let mods = GroupMods { command, file: true, name, ..mods(&options.how) };
    files::send(&options.how, client, Operation::GroupMods(mods), "-")
}

/// Carries out the verb `add-groups`.
pub(crate) fn add_file(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 1, 1)?;
    let path = &call.words[0];
    let name = Some(files::name(path).to_owned());
    let mods = GroupMods { file: true, name, ..mods(&options.how) };
    files::send(&options.how, &mut call.client, Operation::GroupMods(mods), path)
}

/// Carries out the verb `del-groups`.
pub(crate) fn delete(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 1)?;
    let group = call.words.first().map_or("", String::as_str);
    if group == "-" {
        return send_lines(options, &mut call.client, GroupCommand::Delete);
    }
    let mods = GroupMods { command: GroupCommand::Delete, ..mods(&options.how) };
    send(&options.how, &mut call.client, Operation::GroupMods(mods), &mut group.as_bytes())
}

fn mods(how: &How) -> GroupMods {
    GroupMods { version: how.version(), lenient: how.lenient, ..GroupMods::default() }
}

/// Carries out the verb `dump-groups`.
pub(crate) fn dump(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    list(options, words, "GROUP_DESC", "0x2", Operation::DumpGroups)
}

/// Carries out the verb `dump-group-stats`.
pub(crate) fn dump_stats(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    list(options, words, "GROUP", "0x6", Operation::DumpGroupStats)
}

fn list(
    options: &Options,
    words: &Words,
    what: &str,
    xid: &str,
    operation: impl FnOnce(GroupQuery) -> Operation,
) -> anyhow::Result<Outcome> {
    let how = &options.how;
    let mut call = call(options, words, 0, 1)?;
    let query = GroupQuery {
        group: call.words.first().map_or(Ok(None), |text| group_number(text))?,
        version: how.version(),
        format: if how.json { Format::Json } else { Format::Text },
        names: how.names(),
    };
    let header = format!("{}:\n", reply_name(how.version(), what, xid, xid));
    stream(&mut call.client, how, operation(query), header)
}

/// Parses the number of a group: `7` or `group_id=7`; `None` for `all`.
pub(crate) fn group_number(text: &str) -> Result<Option<u32>, Usage> {
    let number = text.strip_prefix("group_id=").unwrap_or(text);
    if number.eq_ignore_ascii_case("all") {
        return Ok(None);
    }
    number.parse().map(Some).map_err(|_| {
        Usage(format!("\"{text}\" is not a group's number: write N, group_id=N or all"))
    })
}

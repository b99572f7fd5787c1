//! The verbs about rules.

use super::channel::{Channel, refuse};
use super::place::Place;
use super::ports::with_names;
use super::{Call, switch};
use crate::options::{How, Verb};
use crate::output::{JsonArray, Output, print_json};
use crate::{Outcome, files, sort};
use anyhow::bail;
use control::Refusal;
use control::record::{Aggregate, FlowRecord};
use flow::Match;
use flow::flow_mod::{Command, FlowMod};
use flow::text::{
    BridgeNames, FlowLine, NoPortNames, ParseContext, PrintOptions, Protocols,
    parse_file_line_with_formats, parse_filter, parse_flow_with_formats, strip_comment,
    write_match,
};
use flow::types::{OfVersion, TableId};
use oftext::{Printer, flow_line};
use openflow::{
    BundleControl, BundleStep, Encoding, FlowStats, MessageHeader, MultipartReply,
    MultipartRequest, OfMessage,
};
use std::collections::HashMap;
use std::io::Write;

/// Carries out the verbs `add-flow` and `mod-flows`.
pub(super) fn change(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let command = match (&call.options.verb, call.options.how.strict) {
        (Verb::ModFlows(_), false) => Command::Modify,
        (Verb::ModFlows(_), true) => Command::ModifyStrict,
        _ => Command::Add,
    };
    let mut channel = call.open(1, 1)?;
    one(call, &mut channel, &call.words[0], command)
}

/// Carries out the verb `del-flows`.
pub(super) fn delete(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let command = if call.options.how.strict { Command::DeleteStrict } else { Command::Delete };
    let mut channel = call.open(0, 1)?;
    let text = call.words.first().map_or("", String::as_str);
    one(call, &mut channel, text, command)
}

fn one(
    call: &Call<'_>,
    channel: &mut Channel,
    text: &str,
    command: Command,
) -> anyhow::Result<Outcome> {
    if text == "-" {
        let (flow_mods, formats) = read(call, channel, text, command)?;
        return send(call, channel, flow_mods, formats);
    }
    let version = channel.version();
    let parsed = with_names(channel, |ports| {
        let context = ParseContext { ports, ..context(&call.options.how, version, command) };
        parse_flow_with_formats(text, &context)
    })?;
    let (flow_mod, formats) = parsed.map_err(|error| Refusal::of_text(&error, None, 1, text))?;
    send(call, channel, vec![flow_mod], formats)
}

fn context(how: &How, version: OfVersion, command: Command) -> ParseContext<'static> {
    ParseContext {
        version,
        command,
        lenient: how.lenient,
        formats: how.formats,
        ..ParseContext::default()
    }
}

/// Carries out the verb `add-flows`.
pub(super) fn add_file(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(1, 1)?;
    let (flow_mods, formats) = read(call, &mut channel, &call.words[0], Command::Add)?;
    send(call, &mut channel, flow_mods, formats)
}

/// The requests of a file, and the flow formats that can carry all of them. A line that does not begin with a
/// command is for `command`.
fn read(
    call: &Call<'_>,
    channel: &mut Channel,
    path: &str,
    command: Command,
) -> anyhow::Result<(Vec<FlowMod>, Protocols)> {
    let context = context(&call.options.how, channel.version(), command);
    let (mut flow_mods, mut formats) = (Vec::new(), Protocols::ANY);
    for (n, line) in files::read(path)?.lines().enumerate() {
        let Some(text) = strip_comment(line) else {
            continue;
        };
        let parsed = with_names(channel, |ports| {
            parse_file_line_with_formats(text, &ParseContext { ports, ..context })
        })?;
        let name = Some(files::name(path));
        let (flow_mod, usable) =
            parsed.map_err(|error| Refusal::of_text(&error, name, n + 1, text))?;
        formats = formats.and(usable);
        flow_mods.push(flow_mod);
    }
    Ok((flow_mods, formats))
}

/// Sends requests in the first of the formats, with `--bundle` as a bundle.
fn send(
    call: &Call<'_>,
    channel: &mut Channel,
    flow_mods: Vec<FlowMod>,
    formats: Protocols,
) -> anyhow::Result<Outcome> {
    let allowed =
        formats.and(Protocols::of_version(channel.version())).and(call.options.how.formats);
    match allowed.first() {
        Some(format) if channel.version() == OfVersion::OpenFlow10 => choose(channel, format)?,
        Some(_) => {}
        None if flow_mods.is_empty() => {}
        None => {
            bail!("no flow format can carry all rules: choose another version, like -O OpenFlow13")
        }
    }
    let count = flow_mods.len() as u64;
    let requests: Vec<OfMessage> =
        flow_mods.into_iter().map(|flow_mod| OfMessage::FlowMod(Box::new(flow_mod))).collect();
    match call.options.how.bundle {
        true => in_bundle(call, channel, &requests)?,
        false => channel.carry_out(&requests)?,
    }
    switch::changed(call, count)
}

/// Has an OpenFlow 1.0 switch take flow mods in this format.
fn choose(channel: &mut Channel, format: Protocols) -> anyhow::Result<()> {
    let wanted = Encoding {
        nxm: format.is_nxm(),
        table_id: format.has_explicit_table(),
        ..channel.encoding()
    };
    let mut requests = Vec::new();
    if wanted.nxm != channel.encoding().nxm {
        requests.push(OfMessage::SetFlowFormat { nxm: wanted.nxm });
    }
    if wanted.table_id != channel.encoding().table_id {
        requests.push(OfMessage::FlowModTableId { is_on: wanted.table_id });
    }
    if !requests.is_empty() {
        channel.carry_out(&requests)?;
    }
    channel.set_encoding(wanted);
    Ok(())
}

/// The flags of bundles: atomic and ordered.
const BUNDLE_FLAGS: u16 = 0b11;

/// Sends requests as one bundle, which takes effect as a whole or not at all.
pub(super) fn in_bundle(
    call: &Call<'_>,
    channel: &mut Channel,
    requests: &[OfMessage],
) -> anyhow::Result<()> {
    if channel.version() < OfVersion::OpenFlow13 {
        bail!("bundles need OpenFlow 1.3: use -O OpenFlow14");
    }
    let control = |step| {
        OfMessage::BundleControl(BundleControl {
            id: 0,
            step,
            is_reply: false,
            flags: BUNDLE_FLAGS,
        })
    };
    channel.transact(&control(BundleStep::Open))?;
    let mut sent = HashMap::new();
    let mut bytes = Vec::new();
    for request in requests {
        let (xid, message) = channel.encode(request);
        let add = OfMessage::BundleAdd { id: 0, flags: BUNDLE_FLAGS, message: message.clone() };
        bytes.extend(add.encode(channel.encoding(), xid));
        sent.insert(xid, message);
    }
    let (commit, message) = channel.encode(&control(BundleStep::Commit));
    bytes.extend_from_slice(&message);
    sent.insert(commit, message);
    channel.send_bytes(&bytes)?;
    let mut errors = Vec::new();
    loop {
        let reply = channel.receive()?;
        let xid = MessageHeader::read(&reply).map_or(0, |header| header.xid);
        if !sent.contains_key(&xid) {
            continue;
        }
        if let Err(error) = refuse(&reply) {
            let name = error.downcast_ref::<super::Rejected>().and_then(|rejected| rejected.code);
            if let (Some(code), Some(message)) = (name, sent.get(&xid)) {
                let printer =
                    Printer { verbosity: call.options.how.verbosity() + 1, ..Printer::default() };
                errors.push(format!(
                    "Error {} for: {}",
                    code.name(),
                    printer.print(message).trim_end()
                ));
            } else {
                errors.push(error.to_string());
            }
        }
        if xid == commit {
            break;
        }
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(super::Rejected { text: errors.join("\n"), code: None }.into()),
    }
}

/// A request for the statistics of the rules that the words select, in the form that the switch takes.
fn query(call: &Call<'_>, channel: &mut Channel) -> anyhow::Result<(Box<FlowMod>, bool)> {
    let how = &call.options.how;
    let text = call.words.first().map_or("", String::as_str);
    let version = channel.version();
    let parsed = with_names(channel, |ports| {
        let context = ParseContext { ports, ..context(how, version, Command::Delete) };
        parse_filter(text, &context)
    })?;
    let filter = parsed.map_err(|error| Refusal::of_text(&error, None, 1, text))?;
    let nxm = version == OfVersion::OpenFlow10 && lists_in_nxm(channel, how.formats)?;
    Ok((Box::new(filter), nxm))
}

/// Whether the rules of an OpenFlow 1.0 switch are asked for in Nicira's form. OpenFlow 1.0 has no
/// extensible matches, so that a rule may have more than its own form could tell: Nicira's is
/// tried first, as in `ovs-ofctl`.
///
/// # Errors
/// `allowed` has neither form, or the connection broke.
fn lists_in_nxm(channel: &mut Channel, allowed: Protocols) -> anyhow::Result<bool> {
    // Lists have table numbers in any case, so that no form of them is one of flow mods with table numbers.
    if !allowed.and(Protocols::NXM).is_empty() {
        match channel.carry_out(&[OfMessage::SetFlowFormat { nxm: true }]) {
            Ok(()) => return Ok(true),
            Err(error) if !error.is::<super::Rejected>() => return Err(error),
            Err(_) => {}
        }
    }
    if allowed.and(Protocols::OF10_STD).is_empty() {
        bail!("switch does not support any of the usable flow formats ({allowed})");
    }
    Ok(false)
}

/// Carries out the verb `dump-flows`.
pub(super) fn dump(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let how = &call.options.how;
    if how.conjunctions {
        bail!("--conjunctions is for bridges of our own switch: leave out the address, and -O");
    }
    let criteria = sort::criteria(how)?;
    let mut channel = call.open(0, 1)?;
    let names = call.shown_names(&mut channel)?;
    let (filter, nxm) = query(call, &mut channel)?;
    let request = OfMessage::MultipartRequest(MultipartRequest::Flow { filter, nxm });
    // As in ovs-ofctl, the headers of messages are printed only if no option changes the order
    // or the form of rules.
    let is_plain = criteria.is_empty() && !how.names() && how.stats() && !how.json;
    let mut out = Output::new();
    if is_plain {
        let printer = Printer { verbosity: how.verbosity() + 1, ..Printer::default() };
        channel.parts(&request, |part| Ok(out.write_all(printer.print(&part).as_bytes())?))?;
        out.finish()?;
        return Ok(Outcome::Done);
    }
    let (version, encoding) = (channel.version(), channel.encoding());
    let mut rules = Vec::new();
    channel.parts(&request, |part| {
        rules.extend(statistics(&part, encoding)?);
        Ok(())
    })?;
    if !criteria.is_empty() {
        let as_mods: Vec<FlowMod> = rules.iter().map(as_mod).collect();
        let mut order: Vec<usize> = (0..rules.len()).collect();
        order.sort_by(|&a, &b| sort::compare(&as_mods[a], &as_mods[b], &criteria));
        let mut sorted: Vec<Option<FlowStats<'static>>> = rules.into_iter().map(Some).collect();
        rules = order.into_iter().filter_map(|at| sorted[at].take()).collect();
    }
    write(&mut out, &rules, how, version, &names)?;
    out.finish()?;
    Ok(Outcome::Done)
}

/// The rules of a part of a reply.
fn statistics(part: &[u8], encoding: Encoding) -> anyhow::Result<Vec<FlowStats<'static>>> {
    match OfMessage::decode(part, encoding)? {
        OfMessage::MultipartReply(MultipartReply::Flow(rules), _) => Ok(rules),
        _ => bail!("the switch does not answer with rules"),
    }
}

/// Writes rules, one a line or as JSON.
fn write(
    out: &mut Output,
    rules: &[FlowStats<'_>],
    how: &How,
    version: OfVersion,
    names: &BridgeNames,
) -> anyhow::Result<()> {
    if how.json {
        let mut array = JsonArray::new(out);
        for rule in rules {
            let record = FlowRecord::of(&flow_line(rule), version, names);
            array.add(&serde_json::to_string(&record)?)?;
        }
        return Ok(array.end()?);
    }
    let options = PrintOptions { version, ports: names, stats: how.stats(), ages: false };
    let mut text = String::new();
    for rule in rules {
        text.clear();
        text.push(' ');
        flow_line(rule).write(&mut text, &options);
        text.push('\n');
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// The rule as a request that would add it.
fn as_mod(rule: &FlowStats<'_>) -> FlowMod {
    let (matching, actions) =
        (rule.matching.clone().into_owned(), rule.actions.clone().into_owned());
    FlowMod {
        table: Some(rule.table),
        cookie: rule.cookie,
        idle_timeout: rule.idle_timeout,
        hard_timeout: rule.hard_timeout,
        importance: rule.importance,
        flags: rule.flags,
        ..FlowMod::new(Command::Add, rule.priority, matching, actions)
    }
}

/// Carries out the verb `dump-aggregate`.
pub(super) fn aggregate(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 1)?;
    let (filter, nxm) = query(call, &mut channel)?;
    let request = OfMessage::MultipartRequest(MultipartRequest::Aggregate { filter, nxm });
    let reply = channel.transact(&request)?;
    if !call.options.how.json {
        return call.print_numbers(&[reply]);
    }
    let OfMessage::MultipartReply(MultipartReply::Aggregate(sums), _) =
        OfMessage::decode(&reply, channel.encoding())?
    else {
        bail!("the switch does not answer with sums");
    };
    let (n_packets, n_bytes) = (sums.packets, sums.bytes);
    print_json(&Aggregate { n_packets, n_bytes, n_flows: sums.flows.into() })?;
    Ok(Outcome::Done)
}

/// Table, and priority and match as text, which identify a rule.
type RulePlace = (TableId, String);

fn place_of(rule: &FlowMod) -> RulePlace {
    let mut text = String::new();
    write_match(&mut text, &rule.matching, rule.priority, &NoPortNames);
    (rule.table.unwrap_or_default(), text)
}

/// All rules of the switch, as requests that would add them.
fn rules(channel: &mut Channel) -> anyhow::Result<Vec<FlowMod>> {
    let nxm = channel.version() == OfVersion::OpenFlow10
        && channel.carry_out(&[OfMessage::SetFlowFormat { nxm: true }]).is_ok();
    let filter = Box::new(FlowMod::new(Command::Delete, 0, Match::any(), Vec::new()));
    let request = OfMessage::MultipartRequest(MultipartRequest::Flow { filter, nxm });
    let encoding = channel.encoding();
    let mut rules = Vec::new();
    channel.parts(&request, |part| {
        rules.extend(statistics(&part, encoding)?.iter().map(as_mod));
        Ok(())
    })?;
    if nxm {
        channel.set_encoding(Encoding { nxm: true, ..encoding });
    }
    Ok(rules)
}

/// The rules of the bridge that a word names, as lines of a dump without counters; `None` if the word names no
/// bridge that is asked over OpenFlow.
pub(crate) fn lines(how: &How, word: &str) -> anyhow::Result<Option<Vec<String>>> {
    let Some(place) = Place::of_word(how, word, false)? else {
        return Ok(None);
    };
    let mut channel = Channel::open(&place, how)?;
    let rules = rules(&mut channel)?;
    let version = channel.version();
    let options = PrintOptions { version, stats: false, ages: false, ..PrintOptions::default() };
    let line = |rule: &FlowMod| {
        let mut text = String::new();
        FlowLine::of(rule).write(&mut text, &options);
        text
    };
    Ok(Some(rules.iter().map(line).collect()))
}

/// Carries out the verb `replace-flows`: adds and changes the rules that differ, and deletes
/// those that the file lacks.
pub(super) fn replace(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(1, 1)?;
    let (wanted, mut formats) = read(call, &mut channel, &call.words[0], Command::Add)?;
    let mut old: HashMap<RulePlace, FlowMod> = HashMap::new();
    for rule in rules(&mut channel)? {
        old.insert(place_of(&rule), rule);
    }
    let mut requests = Vec::new();
    for rule in wanted {
        match old.remove(&place_of(&rule)) {
            Some(same) if !call.options.how.readd && crate::flows::is_same(&same, &rule) => {}
            _ => requests.push(rule),
        }
    }
    for rule in old.into_values() {
        let delete = FlowMod::new(Command::DeleteStrict, rule.priority, rule.matching, Vec::new());
        requests.push(FlowMod { table: rule.table, ..delete });
        if channel.version() == OfVersion::OpenFlow10 {
            // Deleting from one table, and with whatever match, needs Nicira's format.
            formats = formats.and(Protocols::NXM_TID);
        }
    }
    send(call, &mut channel, requests, formats)
}

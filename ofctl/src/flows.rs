//! The verbs that change, list and compare rules.

use crate::conjunctions::{self, Listed};
use crate::connect::{Call, call, connect, unexpected, wrong_usage};
use crate::options::{How, Options, Verb, Words};
use crate::output::{JsonArray, Output, note, print, print_json, tell_reply};
use crate::{Outcome, files, openflow, sort};
use anyhow::bail;
use control::{
    Client, ClientError, FlowCommand, FlowMods, FlowQuery, Format, Operation, Reason, Refusal,
    Reply,
};
use flow::action::do_the_same;
use flow::flow_mod::{FlowFlags, FlowMod};
use flow::text::{
    FlowLine, ParseContext, PortNames, PrintOptions, TextError, parse_dumped_flow, parse_flow,
    strip_comment, write_match,
};
use flow::types::{OfPort, OfVersion, TableId};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};

/// Carries out the verbs `add-flow` and `mod-flows`.
pub(crate) fn change(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let command = match (&options.verb, options.how.strict) {
        (Verb::ModFlows(_), false) => FlowCommand::Modify,
        (Verb::ModFlows(_), true) => FlowCommand::ModifyStrict,
        _ => FlowCommand::Add,
    };
    let mut call = call(options, words, 1, 1)?;
    if call.words[0] == "-" {
        return send_lines(options, &mut call.client, command);
    }
    let mods = FlowMods { command, ..mods(&options.how) };
    send(&options.how, &mut call.client, Operation::FlowMods(mods), &mut call.words[0].as_bytes())
}

/// Sends the lines of standard input, as `add-flow BRIDGE -` and its like do: each line is for the command.
fn send_lines(
    options: &Options,
    client: &mut Client,
    command: FlowCommand,
) -> anyhow::Result<Outcome> {
    let name = Some(files::name("-").to_owned());
    let mods = FlowMods { command, file: true, name, ..mods(&options.how) };
    files::send(&options.how, client, Operation::FlowMods(mods), "-")
}

/// Carries out the verb `add-flows`.
pub(crate) fn add_file(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    send_file(options, words, Operation::FlowMods)
}

/// Carries out the verb `replace-flows`.
pub(crate) fn replace(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    send_file(options, words, Operation::ReplaceFlows)
}

fn send_file(
    options: &Options,
    words: &Words,
    operation: impl FnOnce(FlowMods) -> Operation,
) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 1, 1)?;
    let path = &call.words[0];
    let name = Some(files::name(path).to_owned());
    let mods = FlowMods { file: true, name, ..mods(&options.how) };
    files::send(&options.how, &mut call.client, operation(mods), path).map_err(|mut error| {
        if let Some(ClientError::Refused(refusal)) = error.downcast_mut() {
            name_check(refusal, path, &options.how);
        }
        error
    })
}

/// Adds a hint to the refusal of a line that is not valid: `ofctl check` shows all mistakes of the file, and
/// the switch only the first. Standard input (`-`) cannot be read a second time, so its lines get no such hint.
fn name_check(refusal: &mut Refusal, path: &str, how: &How) {
    if refusal.reason != Reason::Text || refusal.place.is_none() || path == "-" {
        return;
    }
    let version = match how.version() {
        OfVersion::OpenFlow10 => String::new(),
        version => format!(" -O {}", control::version::name(version)),
    };
    let lenient = if how.lenient { " --lenient" } else { "" };
    let check =
        format!("ofctl{version}{lenient} check {path} shows all mistakes of the file at once");
    refusal.hint = Some(match &refusal.hint {
        Some(hint) => format!("{hint}\nhint: {check}"),
        None => check,
    });
}

/// Carries out the verb `del-flows`.
pub(crate) fn delete(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let command = if options.how.strict { FlowCommand::DeleteStrict } else { FlowCommand::Delete };
    let mut call = call(options, words, 0, 1)?;
    let filter = call.words.first().map_or("", String::as_str);
    if filter == "-" {
        return send_lines(options, &mut call.client, command);
    }
    let mods = FlowMods { command, ..mods(&options.how) };
    let operation = Operation::FlowMods(mods);
    let outcome = send(&options.how, &mut call.client, operation, &mut filter.as_bytes())?;
    if filter.is_empty() && !options.how.json && io::stderr().is_terminal() {
        note(
            "without rules the switch drops everything; \
             ofctl add-flow priority=0,actions=NORMAL makes it a plain switch again",
        );
    }
    Ok(outcome)
}

fn mods(how: &How) -> FlowMods {
    FlowMods {
        version: how.version(),
        formats: how.formats,
        lenient: how.lenient,
        ..FlowMods::default()
    }
}

/// Makes a request with text, and tells what it has changed.
pub(crate) fn send(
    how: &How,
    client: &mut Client,
    operation: Operation,
    text: &mut dyn Read,
) -> anyhow::Result<Outcome> {
    let reply = client.call(operation, text, &mut |_| Ok(()))?;
    tell_reply(how, &reply)
}

/// Carries out the verb `dump-flows`.
pub(crate) fn dump(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let how = &options.how;
    let mut call = call(options, words, 0, 1)?;
    let criteria = sort::criteria(how)?;
    // `ovs-ofctl` prints the header of a reply and ages only if no option changes the order or
    // the form of the rules.
    let is_plain =
        criteria.is_empty() && !how.conjunctions && !how.names() && how.stats() && !how.json;
    let query = FlowQuery {
        filter: call.words.first().cloned().unwrap_or_default(),
        version: how.version(),
        lenient: how.lenient,
        format: if how.json { Format::Json } else { Format::Text },
        names: how.names(),
        stats: how.stats(),
        ages: is_plain,
    };
    if !criteria.is_empty() || how.conjunctions {
        return dump_sorted(call, how, query, &criteria);
    }
    let header = match is_plain {
        true => format!("{}:\n", reply_name(how.version(), "FLOW", "0x4", "0x2")),
        false => String::new(),
    };
    stream(&mut call.client, how, Operation::DumpFlows(query), header)
}

/// Makes a request whose answer is a list, and prints it while it arrives: as a JSON array,
/// or as text behind `header`.
pub(crate) fn stream(
    client: &mut Client,
    how: &How,
    operation: Operation,
    header: String,
) -> anyhow::Result<Outcome> {
    let mut out = Output::new();
    if how.json {
        let mut array = JsonArray::new(&mut out);
        client.call(operation, &mut io::empty(), &mut |text| array.add(text))?;
        array.end()?;
    } else {
        // The header is printed with the first piece of the answer, because a refusal has none.
        let mut header = Some(header);
        let mut pass_on = |text: &str| {
            let header = header.take().unwrap_or_default();
            out.write_all(header.as_bytes()).and_then(|()| out.write_all(text.as_bytes()))
        };
        client.call(operation, &mut io::empty(), &mut pass_on)?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn dump_sorted(
    mut call: Call<'_>,
    how: &How,
    query: FlowQuery,
    criteria: &[sort::Criterion],
) -> anyhow::Result<Outcome> {
    let names = port_names(&mut call.client)?;
    let mut lines = Vec::new();
    let as_text = FlowQuery { format: Format::Text, ..query.clone() };
    collect(&mut call.client, as_text, &mut lines)?;
    let mut order: Vec<usize> = (0..lines.len()).collect();
    let rules = parse_dumped(&lines, &names)?;
    order.sort_by(|&a, &b| sort::compare(&rules[a], &rules[b], criteria));
    if how.conjunctions {
        let all = match query.filter.is_empty() {
            true => None,
            false => Some(all_rules(&mut call.client, how, &names)?),
        };
        let records = match how.json {
            true => {
                let records: Vec<serde_json::Value> =
                    call.client.list(Operation::DumpFlows(query))?;
                Some(order.iter().filter_map(|&at| records.get(at).cloned()).collect())
            }
            false => None,
        };
        let lines = order.iter().map(|&at| lines[at].clone()).collect();
        let rules = order.iter().map(|&at| rules[at].clone()).collect();
        let shown: &dyn PortNames = if how.names() { &names } else { &flow::text::NoPortNames };
        conjunctions::print_folded(&Listed { lines, records, rules }, all.as_deref(), shown)?;
        return Ok(Outcome::Done);
    }
    let mut out = Output::new();
    if how.json {
        let records: Vec<serde_json::Value> = call.client.list(Operation::DumpFlows(query))?;
        let sorted: Vec<_> = order.iter().filter_map(|&i| records.get(i)).collect();
        return print_json(&sorted).map(|()| Outcome::Done);
    }
    for i in order {
        writeln!(out, "{}", lines[i])?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}

/// All rules of the bridge. `names` are those of its ports.
pub(crate) fn all_rules(
    client: &mut Client,
    how: &How,
    names: &dyn PortNames,
) -> anyhow::Result<Vec<FlowMod>> {
    let query = FlowQuery { version: how.version(), lenient: how.lenient, ..FlowQuery::default() };
    let mut lines = Vec::new();
    collect(client, query, &mut lines)?;
    parse_dumped(&lines, names)
}

/// The rules that the switch has listed.
fn parse_dumped(lines: &[String], names: &dyn PortNames) -> anyhow::Result<Vec<FlowMod>> {
    let rules = lines.iter().map(|line| parse_dumped_flow(line, names));
    let rules: Result<_, _> = rules.collect();
    rules.map_err(|e| anyhow::anyhow!("understand the answer of the switch: {e}"))
}

/// Appends the rules that the query selects to `lines`, one line for each rule.
pub(crate) fn collect(
    client: &mut Client,
    query: FlowQuery,
    lines: &mut Vec<String>,
) -> anyhow::Result<()> {
    let mut add = |text: &str| {
        lines.extend(text.lines().map(str::to_owned));
        Ok(())
    };
    client.call(Operation::DumpFlows(query), &mut io::empty(), &mut add)?;
    Ok(())
}

/// Number and name of each port of the bridge.
pub(crate) fn port_names(client: &mut Client) -> anyhow::Result<Vec<(OfPort, String)>> {
    Ok(client.ports()?.into_iter().map(|port| (OfPort(port.port), port.name)).collect())
}

/// Carries out the verb `dump-aggregate`.
pub(crate) fn aggregate(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let how = &options.how;
    let mut call = call(options, words, 0, 1)?;
    let filter = call.words.first().cloned().unwrap_or_default();
    let query =
        FlowQuery { filter, version: how.version(), lenient: how.lenient, ..FlowQuery::default() };
    let Reply::Aggregate(sums) = call.client.ask(Operation::DumpAggregate(query))? else {
        return Err(unexpected());
    };
    if how.json {
        print_json(&sums)?;
        return Ok(Outcome::Done);
    }
    print(&format!(
        "{}: packet_count={} byte_count={} flow_count={}\n",
        reply_name(how.version(), "AGGREGATE", "0x4", "0x2"),
        sums.n_packets,
        sums.n_bytes,
        sums.n_flows
    ))?;
    Ok(Outcome::Done)
}

/// The header of a reply as `ovs-ofctl` prints it: `OFPST_FLOW reply (OF1.3) (xid=0x2)`. In OpenFlow 1.0 the
/// reply is a Nicira extension, with its own name and transaction id: `NXST_FLOW reply (xid=0x4)`.
pub(crate) fn reply_name(version: OfVersion, what: &str, nx_xid: &str, xid: &str) -> String {
    match version {
        OfVersion::OpenFlow10 => format!("NXST_{what} reply (xid={nx_xid})"),
        _ => format!("OFPST_{what} reply {}(xid={xid})", version_mark(version)),
    }
}

/// The version in the header of a message, `(OF1.3) `; empty for OpenFlow 1.0.
pub(crate) fn version_mark(version: OfVersion) -> String {
    match version {
        OfVersion::OpenFlow10 => String::new(),
        version => format!("(OF1.{}) ", version as u8),
    }
}

/// Carries out the verb `diff-flows`.
pub(crate) fn diff(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let how = &options.how;
    let [first, rest @ ..] = &words.words[..] else {
        return Err(wrong_usage(options));
    };
    let second = match rest {
        [] => None,
        [second] => Some(second.as_str()),
        _ => return Err(wrong_usage(options)),
    };
    if first == "-" && second == Some("-") {
        bail!(
            "standard input can be one of the two sides: name a file or a bridge for the other one"
        );
    }
    let mut session = None;
    let first = Source::read(how, Some(first), &mut session)?;
    let second = Source::read(how, second, &mut session)?;
    let names = match &mut session {
        Some(client) => port_names(client)?,
        None => Vec::new(),
    };
    let (first, second) = (first.rules(how, &names)?, second.rules(how, &names)?);
    let shown: &dyn PortNames = if how.names() { &names } else { &flow::text::NoPortNames };
    let print_options =
        PrintOptions { version: how.version(), ports: shown, stats: false, ages: true };
    let text = differences(&first, &second, &print_options);
    if how.json {
        let changes = text.lines().filter_map(|line| line.split_at_checked(1));
        let changes = changes
            .map(|(sign, rule)| Difference { is_added: sign == "+", rule: rule.trim_start() });
        print_json(&changes.collect::<Vec<_>>())?;
    } else {
        print(&text)?;
    }
    Ok(if text.is_empty() { Outcome::Done } else { Outcome::Different })
}

/// A rule that only one of two lists has, as JSON.
#[derive(Serialize)]
struct Difference<'a> {
    /// Whether the second list has the rule, and not the first one.
    is_added: bool,
    /// The rule as text.
    rule: &'a str,
}

/// One side of a comparison of rules.
struct Source {
    /// Whether the text is a list that the switch printed.
    is_dumped: bool,
    /// The name of the file or bridge, for messages.
    name: String,
    /// The rules, one a line.
    text: String,
}

/// Table, priority and match (as text) of a rule, which identify it.
type RulePlace = (TableId, u16, String);

/// The rules of a list, in the order of the list. A rule in the place of an earlier one has taken its position.
#[derive(Default)]
struct Rules {
    list: Vec<(RulePlace, FlowMod)>,
    /// Where the rule of each place is in `list`.
    positions: HashMap<RulePlace, usize>,
}

impl Rules {
    fn insert(&mut self, place: RulePlace, rule: FlowMod) {
        match self.positions.entry(place.clone()) {
            Entry::Occupied(position) => self.list[*position.get()].1 = rule,
            Entry::Vacant(position) => {
                position.insert(self.list.len());
                self.list.push((place, rule));
            }
        }
    }

    fn get(&self, place: &RulePlace) -> Option<&FlowMod> {
        self.positions.get(place).map(|position| &self.list[*position].1)
    }
}

impl Source {
    /// Reads the rules of a file or of a bridge. `None` is the only bridge of the running switch.
    fn read(how: &How, name: Option<&str>, session: &mut Option<Client>) -> anyhow::Result<Self> {
        if let Some(path) = name.filter(|name| is_file(name)) {
            let (name, text) = (files::name(path).to_owned(), files::read(path)?);
            return Ok(Self { is_dumped: false, name, text });
        }
        if let Some(name) = name
            && let Some(lines) = openflow::lines(how, name)?
        {
            return Ok(Self { is_dumped: true, name: name.to_owned(), text: lines.join("\n") });
        }
        if session.is_none() {
            *session = Some(connect(how)?);
        }
        let mut lines = Vec::new();
        if let Some(client) = session {
            client.set_bridge(name.map(str::to_owned));
            let query = FlowQuery { version: how.version(), stats: false, ..FlowQuery::default() };
            collect(client, query, &mut lines)?;
        }
        let name = name.unwrap_or("the switch").to_owned();
        Ok(Self { is_dumped: true, name, text: lines.join("\n") })
    }

    /// Parses the rules. `names` are the ports of the switch.
    fn rules(&self, how: &How, names: &Vec<(OfPort, String)>) -> anyhow::Result<Rules> {
        let context = ParseContext {
            version: how.version(),
            formats: how.formats,
            lenient: how.lenient,
            ports: names,
            ..ParseContext::default()
        };
        let mut rules = Rules::default();
        for (i, line) in self.text.lines().enumerate() {
            let Some(text) = strip_comment(line) else {
                continue;
            };
            let rule = match self.is_dumped {
                true => parse_dumped_flow(text, names),
                false => parse_flow(text, &context),
            };
            let rule =
                rule.map_err(|e: TextError| Refusal::of_text(&e, Some(&self.name), i + 1, text))?;
            let mut matching = String::new();
            write_match(&mut matching, &rule.matching, rule.priority, names);
            rules.insert((rule.table.unwrap_or_default(), rule.priority, matching), rule);
        }
        Ok(rules)
    }
}

/// Whether a word names a file: `-`, a path that begins with `/` or `.`, or the name of an existing file
/// without `:`. `ovs-ofctl` decides likewise, except that it does not know `-`.
pub(crate) fn is_file(source: &str) -> bool {
    source == "-"
        || source.starts_with(['/', '.'])
        || !source.contains(':') && fs::metadata(source).is_ok()
}

/// The places of the rules of two lists, in the order in which `ovs-ofctl` compares rules: by table, and
/// there together those that look at the same bits, those with the highest priority first. Otherwise in
/// the order of the lists.
fn places<'a>(first: &'a Rules, second: &'a Rules) -> Vec<&'a RulePlace> {
    let added = second.list.iter().filter(|(place, _)| first.get(place).is_none());
    let all: Vec<_> = first.list.iter().chain(added).collect();
    // The highest priority and the first position of the rules that look at the same bits.
    let mut parts = HashMap::new();
    for (position, ((table, priority, _), rule)) in all.iter().enumerate() {
        let part = parts.entry((*table, rule.matching.mask().words()));
        let (highest, _) = part.or_insert((*priority, position));
        *highest = (*highest).max(*priority);
    }
    let mut places = all;
    places.sort_by_key(|((table, ..), rule)| {
        let (highest, position) = parts[&(*table, rule.matching.mask().words())];
        (*table, Reverse(highest), position)
    });
    places.into_iter().map(|(place, _)| place).collect()
}

fn differences(first: &Rules, second: &Rules, options: &PrintOptions<'_>) -> String {
    let mut out = String::new();
    for place in places(first, second) {
        let (old, new) = (first.get(place), second.get(place));
        if let (Some(old), Some(new)) = (old, new)
            && is_same(old, new)
        {
            continue;
        }
        for (sign, rule) in [('-', old), ('+', new)] {
            if let Some(rule) = rule {
                out.push(sign);
                line(rule).write_for_diff(&mut out, options);
                out.push('\n');
            }
        }
    }
    out
}

/// Whether `diff-flows` and `replace-flows` take two rules of the same table, priority and match for equal.
pub(crate) fn is_same(a: &FlowMod, b: &FlowMod) -> bool {
    a.cookie == b.cookie
        && a.idle_timeout == b.idle_timeout
        && a.hard_timeout == b.hard_timeout
        && a.importance == b.importance
        && do_the_same(&a.actions, &b.actions)
}

/// The line of a rule that has no counters.
pub(crate) fn line(rule: &FlowMod) -> FlowLine<'_> {
    // `ovs-ofctl diff-flows` does not compare flags, so they are not printed.
    FlowLine { flags: FlowFlags::default(), ..FlowLine::of(rule) }
}

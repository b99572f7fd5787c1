//! Parses whole rules: attributes, match and actions.

use super::error::TextError;
use super::order::Nesting;
use super::pairs::{Pairs, word_len};
use super::print::{FlowLine, PrintOptions, write_flow_mod};
use super::protocol::Protocols;
use super::request::{WrittenRule, no_format};
use super::rule_reader::RuleReader;
use super::words::Word;
use super::{DEFAULT_PRIORITY, ParseContext, PortNames, strip_comment, words};
use crate::flow_mod::{Command, FlowMod};
use crate::matching::Match;
use crate::types::{OfVersion, TableId};

/// Parses one rule into the request that sends it.
///
/// ```
/// use flow::text::{ParseContext, parse_flow};
/// let rule = "priority=10,tcp,nw_dst=10.0.0.0/8,tp_dst=80,actions=output:2";
/// assert_eq!(parse_flow(rule, &ParseContext::default()).unwrap().priority, 10);
/// let error = parse_flow("tcp_dst=80,actions=drop", &ParseContext::default()).unwrap_err();
/// assert_eq!(error.message(), r#"tcp_dst needs tcp or tcp6: add "tcp" to the match"#);
/// ```
///
/// # Errors
///
/// A part of the text is not valid, the actions do not fit the match, or no message of the context's version
/// can carry the rule.
pub fn parse_flow(text: &str, context: &ParseContext<'_>) -> Result<FlowMod, TextError> {
    Ok(parse_within(text, text, context)?.flow_mod)
}

/// As [`parse_flow`], and the flow formats that can carry the rule, of those that the context allows.
///
/// # Errors
///
/// As [`parse_flow`].
pub fn parse_flow_with_formats(
    text: &str,
    context: &ParseContext<'_>,
) -> Result<(FlowMod, Protocols), TextError> {
    parse_within(text, text, context).map(|written| (written.flow_mod, written.usable))
}

/// Parses `rule`, which is a subslice of `text`; error messages show `text`. The request is built in place,
/// because moving it costs time: it has several hundred bytes.
fn parse_within<'t>(
    text: &'t str,
    rule: &'t str,
    context: &ParseContext<'_>,
) -> Result<WrittenRule<'t>, TextError> {
    let mut written = WrittenRule::new(text, context);
    written.read(rule, context)?;
    written.send(context)?;
    name_table(&mut written.flow_mod, context.version);
    Ok(written)
}

/// Parses the filter of a dump: a match, and the attributes by which a deletion selects rules (`table`,
/// `cookie`, `out_port` and the like). The result has the command [`Command::Delete`].
///
/// # Errors
///
/// As [`parse_flow`].
pub fn parse_filter(text: &str, context: &ParseContext<'_>) -> Result<FlowMod, TextError> {
    let context = ParseContext { command: Command::Delete, ..*context };
    let mut written = WrittenRule::parse(text, &context)?;
    written.send(&context)?;
    Ok(written.flow_mod)
}

/// Sets table 0 in requests without a table that mean table 0 in this version. Other requests without a table
/// mean all tables, or leave table 0 to whoever adds the rule.
fn name_table(flow_mod: &mut FlowMod, version: OfVersion) {
    let is_first_table = match flow_mod.command {
        Command::Add => false,
        Command::Modify | Command::ModifyStrict => version >= OfVersion::OpenFlow11,
        Command::Delete | Command::DeleteStrict => version == OfVersion::OpenFlow11,
    };
    flow_mod.table = flow_mod.table.or(is_first_table.then(TableId::default));
}

/// Parses a line of a file of rules, which may begin with a command: `delete table=3`. Without one, the
/// context's command applies.
///
/// # Errors
///
/// As [`parse_flow`].
pub fn parse_flow_file_line(line: &str, context: &ParseContext<'_>) -> Result<FlowMod, TextError> {
    parse_file_line_with_formats(line, context).map(|(flow_mod, _)| flow_mod)
}

/// As [`parse_flow_file_line`], and the flow formats that can carry the request, of
/// those that the context allows.
///
/// # Errors
///
/// As [`parse_flow`].
pub fn parse_file_line_with_formats(
    line: &str,
    context: &ParseContext<'_>,
) -> Result<(FlowMod, Protocols), TextError> {
    let text = line.trim_start();
    let end = word_len(text);
    let command = match &text[..end] {
        "add" => Command::Add,
        "delete" => Command::Delete,
        "delete_strict" => Command::DeleteStrict,
        "modify" => Command::Modify,
        "modify_strict" => Command::ModifyStrict,
        _ => return parse_flow_with_formats(line, context),
    };
    // Errors must point into the whole line, so `line` stays the text and only the rest is parsed.
    parse_within(line, &text[end..], &ParseContext { command, ..*context })
        .map(|written| (written.flow_mod, written.usable))
}

/// Parses a rule that a switch has listed (`dump-flows`), in whatever version of OpenFlow the list is. The rule
/// is in a table, so that no version has to carry it, and its actions are not checked against its match again:
/// OpenFlow 1.0 allows actions for headers that the match does not imply.
///
/// # Errors
///
/// The text is not a rule, or names a port that `ports` does not know.
pub fn parse_dumped_flow(line: &str, ports: &dyn PortNames) -> Result<FlowMod, TextError> {
    let context = ParseContext { lenient: true, ports, ..ParseContext::default() };
    let mut written = WrittenRule::new(line, &context);
    written.collect(line, &context, Nesting::Dumped)?;
    Ok(written.flow_mod)
}

/// Parses a line of `ofctl save` that describes a rule. The actions are taken as they are written, without the
/// conversion to what one version of OpenFlow can say; some version has to be able to carry the rule.
///
/// # Errors
///
/// A part of the text is not valid, the actions do not fit the match, or no message of any version can carry
/// the rule. A line that [`FlowLine::write_saved`](super::FlowLine::write_saved) has written is always valid.
pub fn parse_saved_flow(line: &str, ports: &dyn PortNames) -> Result<FlowMod, TextError> {
    let context = ParseContext { ports, ..ParseContext::default() };
    let error = match parse_for(line, Protocols::ANY, &context) {
        Ok(written) if !written.usable.is_empty() => return Ok(written.flow_mod),
        Ok(written) => TextError::at(line, line, no_format(written.usable, Protocols::ANY)),
        Err(error) => error,
    };
    // The switch may have a rule that only a lenient parser takes.
    let flow_mod = parse_dumped_flow(line, ports).ok().filter(|flow_mod| {
        let mut written = String::new();
        FlowLine::of(flow_mod).write_saved(&mut written);
        written == line.trim()
    });
    flow_mod.ok_or(error)
}

/// The text that `ovs-ofctl parse-flow` prints for a rule: the flow formats that can carry it, the first of
/// them that `allowed` has, and the rule as a message of that format shows it. The context's version has no
/// part in it.
///
/// # Errors
///
/// As [`parse_flow`], and if no format that is allowed can carry the rule.
pub fn describe_flow(
    rule: &str,
    allowed: Protocols,
    context: &ParseContext<'_>,
) -> Result<String, TextError> {
    let written = parse_for(rule, allowed, context)?;
    describe(written.usable, allowed, vec![(1, written)], context).map_err(|(_, error)| error)
}

/// Parses a rule for the lowest version of the formats that are allowed and can carry the rule.
fn parse_for<'t>(
    rule: &'t str,
    allowed: Protocols,
    context: &ParseContext<'_>,
) -> Result<WrittenRule<'t>, TextError> {
    let mut refused = None;
    for version in OfVersion::ALL {
        let context = ParseContext { version, formats: allowed, ..*context };
        if context.allowed().is_empty() {
            continue;
        }
        match WrittenRule::parse(rule, &context) {
            Ok(written) if !written.usable.and(context.allowed()).is_empty() => return Ok(written),
            // A rule that no version can say is an error in the words of the lowest one.
            Ok(written) => refused = refused.or(Some(Ok(written))),
            Err(error) => refused = refused.or(Some(Err(error))),
        }
    }
    refused.unwrap_or_else(|| WrittenRule::parse(rule, context))
}

/// The text that `ovs-ofctl parse-flows` prints for the lines of a file: the usable flow formats, the chosen
/// one, and each rule as a message of that format shows it. The chosen format is the first that `allowed` has
/// and that can carry all rules. Comments and empty lines are skipped.
///
/// # Errors
///
/// The number of the first wrong line (from 1) and what is wrong in it. The number is 0 if every line is right
/// but no format of the version can carry them all.
pub fn describe_flows<'t>(
    lines: impl IntoIterator<Item = &'t str>,
    allowed: Protocols,
    context: &ParseContext<'_>,
) -> Result<String, (usize, TextError)> {
    let mut usable = Protocols::ANY;
    let mut rules = Vec::new();
    for (i, line) in lines.into_iter().enumerate() {
        if let Some(text) = strip_comment(line) {
            let written = parse_for(text, allowed, context).map_err(|error| (i + 1, error))?;
            usable = usable.and(written.usable);
            rules.push((i + 1, written));
        }
    }
    describe(usable, allowed, rules, context)
}

fn describe(
    usable: Protocols,
    allowed: Protocols,
    rules: Vec<(usize, WrittenRule<'_>)>,
    context: &ParseContext<'_>,
) -> Result<String, (usize, TextError)> {
    let Some(chosen) = usable.and(allowed).first() else {
        return Err((0, TextError::at("", "", no_format(usable, allowed))));
    };
    let mut out = format!("usable protocols: {usable}\nchosen protocol: {chosen}\n");
    for (i, (line, mut written)) in rules.into_iter().enumerate() {
        let has_table = chosen.has_explicit_table();
        let version = chosen.version();
        let context = ParseContext { version, formats: chosen, ..*context };
        written.send(&context).map_err(|error| (line, error))?;
        out.push_str(if chosen.is_nxm() { "NXT_FLOW_MOD" } else { "OFPT_FLOW_MOD" });
        if version != OfVersion::OpenFlow10 {
            out.push_str(&format!(" (OF1.{})", version as u8));
        }
        out.push_str(&format!(" (xid={:#x}): ", i + 1));
        let options = PrintOptions { version, ports: context.ports, stats: false, ages: true };
        write_flow_mod(&mut out, &written.flow_mod, has_table, None, &options);
        out.push('\n');
    }
    Ok(out)
}

/// Parses a match without attributes; see [`super::parse_match`].
pub(super) fn only_match(text: &str, context: &ParseContext<'_>) -> Result<Match, TextError> {
    let context = ParseContext { command: Command::Delete, ..*context };
    let mut flow_mod = FlowMod::new(context.command, DEFAULT_PRIORITY, Match::any(), Vec::new());
    let mut reader = RuleReader::new(text, &context, &mut flow_mod);
    for pair in Pairs::new(text) {
        if let Some(Word::Attribute(_) | Word::Flag(_)) = words::lookup(pair.key) {
            let fault = format!("{} is not part of a match", pair.key);
            return Err(TextError::at(text, pair.whole, fault));
        }
        reader.pair(&pair)?;
    }
    reader.finish()?;
    Ok(flow_mod.matching)
}

//! Parses whole rules: attributes, match and actions.

use super::argument::fits;
use super::error::{Fault, TextError};
use super::pairs::{Pair, Pairs, word_len};
use super::parse_match::MatchBuilder;
use super::print::{PrintOptions, write_flow_mod};
use super::protocol::Protocols;
use super::request::{WrittenRule, no_format};
use super::words::{Attribute, Flag, Word};
use super::{
    DEFAULT_PRIORITY, ParseContext, number, port, strip_comment, subfield, table_number, value,
    words,
};
use crate::flow_mod::{Command, FlowMod};
use crate::matching::Match;
use crate::types::{Cookie, GroupId, OfPort, OfVersion, TableId};
use std::sync::Arc;

/// The longest `name` and `label` of a rule, in bytes.
const MAX_NAME: usize = 63;

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
/// A part of the text is not valid, the actions do not fit the match, or no message of the context's version can
/// carry the rule.
pub fn parse_flow(text: &str, context: &ParseContext<'_>) -> Result<FlowMod, TextError> {
    parse_within(text, text, context)
}

/// Parses `rule`, which is a subslice of `text`; error messages show `text`. The request is built in place, because
/// moving it costs time: it has several hundred bytes.
fn parse_within(text: &str, rule: &str, context: &ParseContext<'_>) -> Result<FlowMod, TextError> {
    let mut written = WrittenRule::new(text, context);
    written.read(rule, context)?;
    written.send(context)?;
    name_table(&mut written.flow_mod, context.version);
    Ok(written.flow_mod)
}

/// Parses the filter of a dump: a match, and the attributes by which a deletion selects rules (`table`, `cookie`,
/// `out_port` and the like). The result has the command [`Command::Delete`].
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

/// Sets table 0 in requests without a table that mean table 0 in this version. Other requests without a table mean
/// all tables, or leave table 0 to whoever adds the rule.
fn name_table(flow_mod: &mut FlowMod, version: OfVersion) {
    let is_first_table = match flow_mod.command {
        Command::Add => false,
        Command::Modify | Command::ModifyStrict => version >= OfVersion::OpenFlow11,
        Command::Delete | Command::DeleteStrict => version == OfVersion::OpenFlow11,
    };
    flow_mod.table = flow_mod.table.or(is_first_table.then(TableId::default));
}

/// Parses a line of a file of rules, which may begin with a command: `delete table=3`. Without one, the context's
/// command applies.
///
/// # Errors
///
/// As [`parse_flow`].
pub fn parse_flow_file_line(line: &str, context: &ParseContext<'_>) -> Result<FlowMod, TextError> {
    let text = line.trim_start();
    let end = word_len(text);
    let command = match &text[..end] {
        "add" => Command::Add,
        "delete" => Command::Delete,
        "delete_strict" => Command::DeleteStrict,
        "modify" => Command::Modify,
        "modify_strict" => Command::ModifyStrict,
        _ => return parse_flow(line, context),
    };
    // Errors must point into the whole line, so `line` stays the text and only the rest is parsed.
    parse_within(line, &text[end..], &ParseContext { command, ..*context })
}

/// The text that `ovs-ofctl parse-flow` prints for a rule.
///
/// # Errors
///
/// As [`parse_flow`], and if no format of the version can carry the rule.
pub fn describe_flow(rule: &str, context: &ParseContext<'_>) -> Result<String, TextError> {
    let written = WrittenRule::parse(rule, context)?;
    describe(written.usable, vec![(1, written)], context).map_err(|(_, error)| error)
}

/// The text that `ovs-ofctl parse-flows` prints for the lines of a file: the usable flow formats, the chosen one,
/// and each rule as a message of that format shows it. Comments and empty lines are skipped.
///
/// # Errors
///
/// The number of the first wrong line (from 1) and what is wrong in it. The number is 0 if every line is right but
/// no format of the version can carry them all.
pub fn describe_flows<'t>(
    lines: impl IntoIterator<Item = &'t str>,
    context: &ParseContext<'_>,
) -> Result<String, (usize, TextError)> {
    let mut usable = Protocols::ANY;
    let mut rules = Vec::new();
    for (i, line) in lines.into_iter().enumerate() {
        if let Some(text) = strip_comment(line) {
            let written = WrittenRule::parse(text, context).map_err(|error| (i + 1, error))?;
            usable = usable.and(written.usable);
            rules.push((i + 1, written));
        }
    }
    describe(usable, rules, context)
}

fn describe(
    usable: Protocols,
    rules: Vec<(usize, WrittenRule<'_>)>,
    context: &ParseContext<'_>,
) -> Result<String, (usize, TextError)> {
    let allowed = Protocols::of_version(context.version);
    let Some(chosen) = usable.and(allowed).first() else {
        return Err((0, TextError::at("", "", no_format(usable, allowed))));
    };
    let mut out = format!("usable protocols: {usable}\nchosen protocol: {chosen}\n");
    for (i, (line, mut written)) in rules.into_iter().enumerate() {
        let has_table = chosen.has_explicit_table();
        written.send(context).map_err(|error| (line, error))?;
        let version = chosen.version();
        out.push_str(if chosen.is_nxm() { "NXT_FLOW_MOD" } else { "OFPT_FLOW_MOD" });
        if version != OfVersion::OpenFlow10 {
            out.push_str(&format!(" (OF1.{})", version as u8));
        }
        out.push_str(&format!(" (xid={:#x}): ", i + 1));
        let options = PrintOptions { version, ports: context.ports, stats: false, ages: true };
        write_flow_mod(&mut out, &written.flow_mod, has_table, &options);
        out.push('\n');
    }
    Ok(out)
}

/// Parses a match without attributes; see [`super::parse_match`].
pub(super) fn only_match(text: &str, context: &ParseContext<'_>) -> Result<Match, TextError> {
    let context = ParseContext { command: Command::Delete, ..*context };
    let mut flow_mod = FlowMod::new(context.command, DEFAULT_PRIORITY, Match::any(), Vec::new());
    let mut reader = Reader::new(text, &context, &mut flow_mod);
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

/// Whether rules for this command have actions. Deletions have none.
pub(super) fn has_actions(command: Command) -> bool {
    matches!(command, Command::Add | Command::Modify | Command::ModifyStrict)
}

/// Collects the attributes and the match of a rule.
pub(super) struct Reader<'a, 'c> {
    text: &'a str,
    context: &'c ParseContext<'c>,
    matching: MatchBuilder<'a>,
    flow_mod: &'c mut FlowMod,
    /// The flow formats that can carry the attributes collected so far.
    usable: Protocols,
    /// The attributes collected so far: bit `n` is the attribute whose discriminant is `n`.
    seen: u32,
}

impl<'a, 'c> Reader<'a, 'c> {
    /// A reader that fills in `flow_mod`, which has the defaults of a rule without any word.
    #[inline]
    pub(super) fn new(
        text: &'a str,
        context: &'c ParseContext<'c>,
        flow_mod: &'c mut FlowMod,
    ) -> Self {
        let matching = MatchBuilder::new(text, context.lenient);
        Self { text, context, matching, flow_mod, usable: Protocols::ANY, seen: 0 }
    }

    /// Checks the match and puts it into the request. Returns the flow formats that can carry attributes and match.
    pub(super) fn finish(&mut self) -> Result<Protocols, TextError> {
        let formats = self.matching.finish()?;
        self.flow_mod.matching = *self.matching.matching();
        Ok(self.usable.and(formats))
    }

    fn error(&self, part: &str, fault: impl Into<Fault>) -> TextError {
        TextError::at(self.text, part, fault)
    }

    /// Parses one pair of the rule: a protocol word, a field, an attribute or a flag.
    pub(super) fn pair(&mut self, pair: &Pair<'a>) -> Result<(), TextError> {
        let lenient = self.context.lenient;
        match words::lookup(pair.key) {
            Some(&Word::Protocol { dl_type, nw_proto }) => {
                self.no_value(pair)?;
                self.matching.protocol(pair.key, dl_type, nw_proto)
            }
            Some(&Word::Field(field)) => {
                let masked = value::parse(field, pair.value, self.context.ports, lenient).map_err(
                    |fault| {
                        let part = if pair.value.is_empty() { pair.whole } else { pair.value };
                        self.error(part, fault.of(pair.key))
                    },
                )?;
                self.matching.field(field, &masked, pair.key, pair.whole)
            }
            Some(&Word::Flag(flag)) if self.takes_flags() => {
                self.no_value(pair)?;
                self.flag(flag);
                Ok(())
            }
            Some(&Word::Attribute(attribute)) if self.takes(attribute) => {
                self.attribute(attribute, pair)
            }
            Some(Word::Ethernet) => self.no_value(pair),
            Some(Word::Ignored) => Ok(()),
            Some(Word::Attribute(_) | Word::Flag(_)) => {
                let fault = format!("{} has no meaning in this command", pair.key);
                Err(self.error(pair.whole, fault))
            }
            None if pair.key.contains('[') => self.subfield(pair),
            None => Err(self.error(pair.key, unknown_word(pair.key))),
        }
    }

    /// Refuses a value behind a word that stands alone, such as `tcp`.
    fn no_value(&self, pair: &Pair<'a>) -> Result<(), TextError> {
        if pair.value.is_empty() || self.context.lenient {
            return Ok(());
        }
        Err(self.error(pair.whole, format!("{} takes no value", pair.key)))
    }

    fn subfield(&mut self, pair: &Pair<'a>) -> Result<(), TextError> {
        let sub = subfield::parse(pair.key).map_err(|fault| self.error(pair.key, fault))?;
        let number = match self.context.lenient {
            true => number::field_bytes(pair.value, sub.field.def().wire_len())
                .and_then(|(n, rest)| rest.is_empty().then_some(n))
                .ok_or_else(|| Fault::new(format!("{:?} is not a number", pair.value))),
            false => number::integer(pair.value),
        };
        let number = number
            .and_then(|n| fits(pair.value, n, sub).map(|()| n))
            .map_err(|fault| self.error(pair.whole, fault.of(pair.key)))?;
        self.matching.subfield(sub, number, pair.key, pair.whole)
    }

    fn takes_flags(&self) -> bool {
        has_actions(self.context.command)
    }

    fn takes(&self, attribute: Attribute) -> bool {
        let command = self.context.command;
        match attribute {
            Attribute::Table | Attribute::Cookie | Attribute::Name | Attribute::Label => true,
            Attribute::Priority => command != Command::Delete,
            Attribute::IdleTimeout | Attribute::HardTimeout => has_actions(command),
            Attribute::Importance => command == Command::Add,
            Attribute::OutPort | Attribute::OutGroup => !has_actions(command),
        }
    }

    fn flag(&mut self, flag: Flag) {
        let flags = &mut self.flow_mod.flags;
        match flag {
            Flag::SendFlowRem => flags.send_flow_rem = true,
            Flag::CheckOverlap => flags.check_overlap = true,
            Flag::ResetCounts => {
                flags.reset_counts = true;
                self.usable = self.usable.and(Protocols::OXM);
            }
            Flag::NoPacketCounts => {
                flags.no_packet_counts = true;
                self.usable = self.usable.and(Protocols::OF13_UP);
            }
            Flag::NoByteCounts => {
                flags.no_byte_counts = true;
                self.usable = self.usable.and(Protocols::OF13_UP);
            }
        }
    }

    fn attribute(&mut self, attribute: Attribute, pair: &Pair<'a>) -> Result<(), TextError> {
        let bit = 1 << attribute as u32;
        if self.seen & bit != 0 && !self.context.lenient {
            let fault = Fault::new(format!("{} is given twice", pair.key));
            return Err(self.error(pair.whole, fault.hint("remove one of them")));
        }
        self.seen |= bit;
        self.set_attribute(attribute, pair.value).map_err(|fault| {
            let part = if pair.value.is_empty() { pair.whole } else { pair.value };
            self.error(part, fault.of(pair.key))
        })
    }

    fn set_attribute(&mut self, attribute: Attribute, text: &str) -> Result<(), Fault> {
        if text.is_empty() {
            return Err(Fault::new("a value is missing"));
        }
        match attribute {
            Attribute::Table => {
                self.flow_mod.table = self.table(text)?;
                if self.flow_mod.table.is_some() {
                    self.usable = self.usable.and(Protocols::WITH_TABLE);
                }
            }
            Attribute::Priority => self.flow_mod.priority = self.u16(text)?,
            Attribute::IdleTimeout => self.flow_mod.idle_timeout = self.u16(text)?,
            Attribute::HardTimeout => self.flow_mod.hard_timeout = self.u16(text)?,
            Attribute::Importance => self.flow_mod.importance = self.u16(text)?,
            Attribute::Cookie => self.cookie(text)?,
            Attribute::OutPort => {
                let port = port::parse(text, self.context.ports, self.context.lenient)?;
                self.flow_mod.out_port = Some(port).filter(|p| *p != OfPort::NONE);
            }
            Attribute::OutGroup => {
                self.usable = self.usable.and(Protocols::OF11_UP);
                let group = group_number(text)?;
                self.flow_mod.out_group = Some(group).filter(|g| *g != GroupId::ANY);
            }
            Attribute::Name => self.flow_mod.name = Some(human_name(text)?),
            Attribute::Label => self.flow_mod.label = Some(human_name(text)?),
        }
        Ok(())
    }

    fn table(&self, text: &str) -> Result<Option<TableId>, Fault> {
        let table = table_number(text)?;
        if table.is_none() && has_actions(self.context.command) && !self.context.lenient {
            return Err(Fault::new("255 means \"all tables\"").hint("tables are 0 to 253"));
        }
        Ok(table)
    }

    fn u16(&self, text: &str) -> Result<u16, Fault> {
        match self.context.lenient {
            true => match number::strtoull(text, 0) {
                Some((n, "")) if n <= u16::MAX.into() => Ok(n as u16),
                _ => Err(Fault::new(format!("{text:?} is not valid"))),
            },
            false => number::at_most(text, u16::MAX.into()).map(|n| n as u16),
        }
    }

    /// Parses a cookie: `cookie=N` gives rules this cookie, `cookie=N/MASK` selects rules.
    fn cookie(&mut self, text: &str) -> Result<(), Fault> {
        let command = self.context.command;
        if let Some((value, mask)) = text.split_once('/') {
            if command == Command::Add {
                return Err(Fault::new("an added rule cannot have a cookie mask"));
            }
            let (value, mask) = (self.u64(value)?, self.u64(mask)?);
            if mask != 0 {
                self.flow_mod.cookie_filter = Some((Cookie(value & mask), Cookie(mask)));
                self.usable = self.usable.and(Protocols::NXM_OF11_UP);
            }
            return Ok(());
        }
        if !has_actions(command) {
            return Err(Fault::new("a mask is missing")
                .hint(format!("write cookie={text}/-1 to select rules with this cookie")));
        }
        self.flow_mod.cookie = Cookie(self.u64(text)?);
        self.flow_mod.modify_cookie = true;
        Ok(())
    }

    fn u64(&self, text: &str) -> Result<u64, Fault> {
        match number::strtoull(text, 0) {
            Some((n, "")) if self.context.lenient => Ok(n),
            _ if text == "-1" => Ok(u64::MAX),
            _ => number::at_most(text, u64::MAX.into()).map(|n| n as u64),
        }
    }
}

fn group_number(text: &str) -> Result<GroupId, Fault> {
    match text {
        _ if text.eq_ignore_ascii_case("any") => Ok(GroupId::ANY),
        _ if text.eq_ignore_ascii_case("all") => Ok(GroupId::ALL),
        _ => number::at_most(text, u32::MAX.into()).map(|n| GroupId(n as u32)),
    }
}

/// Parses a `name` or `label`. The allowed characters are those that dumps can show and the parser can read again.
fn human_name(text: &str) -> Result<Arc<str>, Fault> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.:/@+".contains(c);
    if text.len() > MAX_NAME {
        return Err(Fault::new(format!("a name has at most {MAX_NAME} bytes")));
    }
    if !text.chars().all(is_plain) {
        return Err(Fault::new(format!("{text:?} is not a name"))
            .hint("names consist of letters, digits and -_.:/@+"));
    }
    Ok(text.into())
}

fn unknown_word(word: &str) -> Fault {
    if words::is_foreign_field(word) {
        return Fault::new(format!("this switch has no field {word}"));
    }
    if matches!(word, "actions" | "action") {
        return Fault::new("this command takes no actions");
    }
    let fault = Fault::new(format!("unknown keyword {word:?}"));
    match words::nearest(word) {
        Some(near) => fault.hint(format!("did you mean {near}?")),
        None => match words::field(word) {
            Some(field) => fault.hint(format!("write {}", field.def().name)),
            None => fault,
        },
    }
}

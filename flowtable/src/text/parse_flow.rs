//! Reads whole rules: attributes, match and actions.

use super::error::{Fault, TextError};
use super::order::{self, Place};
use super::pairs::{Delimiter, Pair, Pairs};
use super::parse_action::{ActionParser, fits};
use super::parse_match::MatchBuilder;
use super::print::{PrintOptions, write_flow_mod};
use super::protocol::Protocols;
use super::words::{Attribute, Flag, Word};
use super::{
    DEFAULT_PRIORITY, ParseContext, consistency, dialect, number, port, strip_comment, subfield,
    table_number, value, words,
};
use crate::action::Action;
use crate::flow::matching::Match;
use crate::flow_mod::{Command, FlowFlags, FlowMod};
use crate::types::{Cookie, GroupId, OfPort, OfVersion, TableId};
use std::borrow::Cow;
use std::sync::Arc;

/// Longest `name` and `label`.
const MAX_NAME: usize = 63;

/// Reads one rule.
///
/// ```
/// use flowtable::text::{ParseContext, parse_flow};
/// let rule = "priority=10,tcp,nw_dst=10.0.0.0/8,tp_dst=80,actions=output:2";
/// assert_eq!(parse_flow(rule, &ParseContext::default()).unwrap().priority, 10);
/// let error = parse_flow("tcp_dst=80,actions=drop", &ParseContext::default()).unwrap_err();
/// assert_eq!(error.message(), r#"tcp_dst needs tcp or tcp6: add "tcp" to the match"#);
/// ```
///
/// # Errors
///
/// Says which part of the text is wrong, and why.
pub fn parse_flow(text: &str, context: &ParseContext<'_>) -> Result<FlowMod, TextError> {
    let draft = Draft::parse(text, context)?;
    draft.finish(context)
}

/// Reads a line of a file of rules, which may begin with a command: `delete table=3`.
///
/// # Errors
///
/// As [`parse_flow`].
pub fn parse_flow_file_line(line: &str, context: &ParseContext<'_>) -> Result<FlowMod, TextError> {
    let text = line.trim_start();
    let end = text.find([',', ' ', '\t', '\r', '\n']).unwrap_or(text.len());
    let command = match &text[..end] {
        "add" => Command::Add,
        "delete" => Command::Delete,
        "delete_strict" => Command::DeleteStrict,
        "modify" => Command::Modify,
        "modify_strict" => Command::ModifyStrict,
        _ => return parse_flow(line, context),
    };
    // The error must point into the line, so the command is cut off only for the reader.
    let context = ParseContext { command, ..*context };
    let draft = Draft::parse_within(line, &text[end..], &context)?;
    draft.finish(&context)
}

/// What `ovs-ofctl parse-flows` prints for these lines: usable formats, the one chosen, and each
/// rule as its message shows it. Comments and empty lines are skipped.
///
/// # Errors
///
/// The number of the line (from 1) and what is wrong in it; line 0 if each line is good but no
/// format of the version can carry them all.
pub fn describe_flows<'t>(
    lines: impl IntoIterator<Item = &'t str>,
    context: &ParseContext<'_>,
) -> Result<String, (usize, TextError)> {
    let mut usable = Protocols::ANY;
    let mut drafts = Vec::new();
    for (i, line) in lines.into_iter().enumerate() {
        if let Some(text) = strip_comment(line) {
            let draft = Draft::parse(text, context).map_err(|error| (i + 1, error))?;
            usable = usable.and(draft.usable);
            drafts.push((i + 1, draft));
        }
    }
    let allowed = Protocols::of_version(context.version);
    let Some(chosen) = usable.and(allowed).first() else {
        return Err((0, TextError::at("", "", no_format(usable, allowed))));
    };
    let mut out = format!("usable protocols: {usable}\nchosen protocol: {chosen}\n");
    for (i, (line, draft)) in drafts.into_iter().enumerate() {
        let has_table = chosen.has_explicit_table();
        let flow_mod = draft.finish(context).map_err(|error| (line, error))?;
        let version = chosen.version();
        out.push_str(if chosen.is_nxm() { "NXT_FLOW_MOD" } else { "OFPT_FLOW_MOD" });
        if version != OfVersion::OpenFlow10 {
            out.push_str(&format!(" (OF1.{})", version as u8));
        }
        out.push_str(&format!(" (xid={:#x}): ", i + 1));
        let options = PrintOptions { version, ports: context.ports, stats: false };
        write_flow_mod(&mut out, &flow_mod, has_table, &options);
        out.push('\n');
    }
    Ok(out)
}

/// A match without attributes.
pub(super) fn only_match(text: &str, context: &ParseContext<'_>) -> Result<Match, TextError> {
    let context = ParseContext { command: Command::Delete, ..*context };
    let mut reader = Reader::new(text, &context);
    for pair in Pairs::new(text) {
        if let Some(Word::Attribute(_) | Word::Flag(_)) = words::lookup(pair.key) {
            let fault = format!("{} is not part of a match", pair.key);
            return Err(TextError::at(text, pair.whole, fault));
        }
        reader.pair(&pair)?;
    }
    let (matching, _) = reader.matching.finish()?;
    Ok(matching)
}

fn no_format(usable: Protocols, allowed: Protocols) -> Fault {
    Fault::new(format!(
        "none of the usable flow formats ({usable}) is among the allowed flow formats ({allowed})"
    ))
    .hint("choose another version, like -O OpenFlow13")
}

/// A rule as the user wrote it, before a message of some version shapes it.
struct Draft<'a> {
    text: &'a str,
    /// Where the actions are in the text.
    actions_text: &'a str,
    flow_mod: FlowMod,
    /// The formats that can carry it.
    usable: Protocols,
}

impl<'a> Draft<'a> {
    fn parse(text: &'a str, context: &ParseContext<'_>) -> Result<Self, TextError> {
        Self::parse_within(text, text, context)
    }

    /// Reads `rule`, which is a piece of `text`.
    fn parse_within(
        text: &'a str,
        rule: &'a str,
        context: &ParseContext<'_>,
    ) -> Result<Self, TextError> {
        let mut reader = Reader::new(text, context);
        let mut actions_text = None;
        let mut pairs = Pairs::new(rule);
        while let Some(pair) = pairs.next() {
            if has_actions(context.command) && is_actions(&pair, &pairs) {
                let rest = &rule[offset(rule, pair.value)..];
                let rest = match pair.delimiter {
                    Delimiter::Sign => rest,
                    // `actions = ...`
                    _ => pairs.rest().trim_start().trim_start_matches('='),
                };
                actions_text = Some(rest);
                break;
            }
            reader.pair(&pair)?;
        }
        let (matching, match_formats) = reader.matching.finish()?;
        let mut flow_mod = FlowMod { matching, ..reader.flow_mod };
        let mut usable = reader.usable.and(match_formats);
        let Some(list) = actions_text else {
            if has_actions(context.command) {
                let fault = Fault::new("the actions are missing")
                    .hint("add actions=output:PORT, or actions=drop");
                return Err(TextError::at(text, rule, fault));
            }
            return Ok(Self { text, actions_text: "", flow_mod, usable });
        };
        let mut parser = ActionParser::new(text, context);
        flow_mod.actions = parser.list(list, Place::Rule)?;
        usable = usable.and(parser.usable);
        let mut draft = Self { text, actions_text: list, flow_mod, usable };
        draft.check_consistency(context)?;
        Ok(draft)
    }

    fn culprit(&self, index: usize) -> &'a str {
        Pairs::new(self.actions_text).nth(index).map_or(self.actions_text, |pair| pair.whole)
    }

    /// Whether the actions as written fit the match.
    fn check_consistency(&mut self, context: &ParseContext<'_>) -> Result<(), TextError> {
        let FlowMod { actions, matching, table, .. } = &self.flow_mod;
        let verdict = consistency::check(actions, matching, *table).map_err(|refused| {
            TextError::at(self.text, self.culprit(refused.index), refused.fault)
        })?;
        let before = self.usable.and(Protocols::of_version(context.version));
        self.usable = self.usable.and(verdict.usable);
        let after = self.usable.and(Protocols::of_version(context.version));
        match verdict.mismatch {
            // Only if the mismatch is why no format is left.
            Some((index, needed)) if after.is_empty() && !before.is_empty() => {
                let culprit = self.culprit(index);
                let name = Pairs::new(culprit).next().map_or(culprit, |pair| pair.key);
                let fault = consistency::inconsistent(name, needed);
                Err(TextError::at(self.text, culprit, fault))
            }
            _ => Ok(()),
        }
    }

    /// Sends the rule through a message of the version, and lets the receiver check it.
    fn finish(mut self, context: &ParseContext<'_>) -> Result<FlowMod, TextError> {
        let version = context.version;
        let allowed = Protocols::of_version(version);
        if self.usable.and(allowed).is_empty() {
            let fault = no_format(self.usable, allowed);
            return Err(TextError::at(self.text, self.text, fault));
        }
        self.usable = self.usable.and(allowed);
        self.refuse_loss(context)?;
        if context.lenient {
            self.flow_mod.matching = as_standard_match(&self.flow_mod.matching, self.usable);
            if version == OfVersion::OpenFlow11 {
                self.flow_mod.matching = without_ecn(&self.flow_mod.matching);
            }
        }
        let error = |fault: Fault| TextError::at(self.text, self.actions_text, fault);
        let FlowMod { actions, matching, table, .. } = &self.flow_mod;
        let carried = dialect::actions(actions, version, matching);
        // The receiver takes a rule without a table for one of table 0.
        let table = match version {
            OfVersion::OpenFlow10 => *table,
            _ => table.or(Some(TableId::default())),
        };
        let says_goto = matches!(carried.last(), Some(Action::GotoTable(_)));
        if matches!(carried, Cow::Owned(_)) || says_goto {
            order::check(&carried, Place::Rule)
                .map_err(|(_, message)| error(Fault::new(message).hint(instead_of_1_0())))?;
            receivable(&carried, version).map_err(error)?;
            let verdict = consistency::check(&carried, matching, table)
                .map_err(|refused| error(refused.fault))?;
            if verdict.usable.and(allowed).is_empty() {
                return Err(error(Fault::new("the actions do not fit the match")));
            }
        }
        let mut flow_mod = FlowMod {
            actions: carried.into_owned(),
            matching: dialect::matching(matching, version).into_owned(),
            ..self.flow_mod
        };
        if version <= OfVersion::OpenFlow11 && flow_mod.command == Command::Add {
            // There an add always resets the counters; later versions have a flag for it.
            flow_mod.flags.reset_counts = true;
        }
        if version < OfVersion::OpenFlow14 && context.lenient {
            flow_mod.importance = 0;
        }
        Ok(flow_mod)
    }

    /// What a message of the version would silently lose.
    fn refuse_loss(&self, context: &ParseContext<'_>) -> Result<(), TextError> {
        if context.lenient {
            return self.refuse_bad_vlan(context);
        }
        let version = context.version;
        let FlowMod { actions, matching, .. } = &self.flow_mod;
        if version == OfVersion::OpenFlow10 {
            let lost = |a: &Action| matches!(a, Action::ClearActions | Action::WriteActions(_));
            if let Some(index) = actions.iter().position(lost) {
                let fault = Fault::new("OpenFlow 1.0 has no action sets");
                let fault = fault.hint(instead_of_1_0());
                return Err(TextError::at(self.text, self.culprit(index), fault));
            }
        }
        if version == OfVersion::OpenFlow11 && *matching != without_ecn(matching) {
            let fault = Fault::new("OpenFlow 1.1 cannot match nw_ecn").hint(instead_of_1_0());
            return Err(TextError::at(self.text, self.text, fault));
        }
        let carried = dialect::matching(matching, version);
        let says_untagged = matching.mask().flow.vlan_tci.get() == u16::MAX
            && matching.key().flow.vlan_tci.get() == 0;
        if !says_untagged && *carried != *matching {
            let fault = Fault::new(format!(
                "OpenFlow 1.{} cannot match these bits of the VLAN tag",
                version as u8
            ));
            let fault = fault.hint("match dl_vlan or dl_vlan_pcp as a whole, or use -O OpenFlow10");
            return Err(TextError::at(self.text, self.text, fault));
        }
        Ok(())
    }

    /// A priority without a tag is refused by the receiver.
    fn refuse_bad_vlan(&self, context: &ParseContext<'_>) -> Result<(), TextError> {
        let flow = &self.flow_mod.matching;
        let (key, mask) = (flow.key().flow.vlan_tci.get(), flow.mask().flow.vlan_tci.get());
        let is_bad = context.version >= OfVersion::OpenFlow12
            && mask & 0xe000 != 0
            && key & 0x1fff != 0
            && key & 0x1000 == 0;
        if is_bad {
            let fault = Fault::new("vlan_pcp needs a VLAN tag (OFPBMC_BAD_PREREQ)");
            return Err(TextError::at(self.text, self.text, fault));
        }
        Ok(())
    }
}

/// The matches of 1.0 and 1.1 know a VLAN id or none at all: what Open vSwitch makes of a
/// `vlan_tci` without the tag-present bit if it can avoid an extensible match.
fn as_standard_match(matching: &Match, usable: Protocols) -> Match {
    let (key, mask) = (matching.key().flow.vlan_tci.get(), matching.mask().flow.vlan_tci.get());
    let has_no_tag = mask & 0x1000 != 0 && key & 0x1000 == 0;
    if !has_no_tag || !usable.has_standard() {
        return *matching;
    }
    let (mut key, mut mask) = (*matching.key(), *matching.mask());
    key.flow.vlan_tci = 0.into();
    mask.flow.vlan_tci = u16::MAX.into();
    Match::new(&key, &mask)
}

/// The match of 1.1 has no place for the ECN bits.
fn without_ecn(matching: &Match) -> Match {
    let mut mask = *matching.mask();
    mask.flow.nw_tos &= !3;
    Match::new(matching.key(), &mask)
}

fn instead_of_1_0() -> &'static str {
    "use -O OpenFlow13"
}

/// What the receiver of a message refuses, beyond [`consistency`].
pub(super) fn receivable(actions: &[Action], version: OfVersion) -> Result<(), Fault> {
    use crate::action::SetFieldForm;
    use crate::flow::fields::FieldId;
    for action in actions {
        match action {
            Action::Clone(nested) => receivable(nested, version)?,
            Action::WriteActions(nested) => {
                receivable(nested, version)?;
                if let Some(action) = nested.iter().find(|a| !order::fits_action_set(a)) {
                    let mut text = String::new();
                    super::write_action(&mut text, action, &PrintOptions::default());
                    return Err(Fault::new(format!(
                        "{text} cannot be part of an action set (OFPBAC_BAD_TYPE)"
                    )));
                }
            }
            Action::SetField { field, value, mask, form } if *form != SetFieldForm::Load => {
                let is_vlan_vid = *field == FieldId::VlanVid && version >= OfVersion::OpenFlow12;
                if is_vlan_vid && value & mask & 0x1000 == 0 {
                    let vid = value & 0xfff;
                    return Err(Fault::new(format!(
                        "set_field:{value}->vlan_vid lacks the bit 0x1000 (OFPBAC_BAD_SET_ARGUMENT)"
                    ))
                    .hint(format!("write set_field:{}->vlan_vid", vid | 0x1000)));
                }
                if *field == FieldId::InPortOxm && version >= OfVersion::OpenFlow12 {
                    return Err(Fault::new("in_port_oxm cannot be set").hint("set in_port"));
                }
                if version == OfVersion::OpenFlow15 && value & !mask != 0 {
                    return Err(Fault::new(format!(
                        "set_field: {value:#x} has bits outside its mask (OFPBMC_BAD_WILDCARDS)"
                    )));
                }
                if value & !field.full_mask() != 0 {
                    return Err(Fault::new(format!(
                        "{value} is no value for {} (OFPBAC_BAD_SET_ARGUMENT)",
                        field.def().name
                    )));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn has_actions(command: Command) -> bool {
    matches!(command, Command::Add | Command::Modify | Command::ModifyStrict)
}

fn is_actions(pair: &Pair<'_>, rest: &Pairs<'_>) -> bool {
    matches!(pair.key, "actions" | "action")
        && match pair.delimiter {
            Delimiter::Sign => true,
            Delimiter::None => rest.rest().trim_start().starts_with('='),
            Delimiter::Parentheses => false,
        }
}

fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// Collects everything but the actions.
struct Reader<'a, 'c> {
    text: &'a str,
    context: &'c ParseContext<'c>,
    matching: MatchBuilder<'a>,
    flow_mod: FlowMod,
    usable: Protocols,
    /// Attributes seen, as bits.
    seen: u32,
}

impl<'a, 'c> Reader<'a, 'c> {
    fn new(text: &'a str, context: &'c ParseContext<'c>) -> Self {
        let flow_mod = FlowMod {
            command: context.command,
            table: None,
            matching: Match::any(),
            priority: DEFAULT_PRIORITY,
            cookie: Cookie(0),
            cookie_filter: None,
            modify_cookie: false,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: FlowFlags::default(),
            out_port: None,
            out_group: None,
            actions: Vec::new(),
            name: None,
            label: None,
        };
        let matching = MatchBuilder::new(text, context.lenient);
        Self { text, context, matching, flow_mod, usable: Protocols::ANY, seen: 0 }
    }

    fn error(&self, part: &str, fault: impl Into<Fault>) -> TextError {
        TextError::at(self.text, part, fault)
    }

    fn pair(&mut self, pair: &Pair<'a>) -> Result<(), TextError> {
        let lenient = self.context.lenient;
        match words::lookup(pair.key) {
            Some(Word::Protocol { dl_type, nw_proto }) => {
                self.no_value(pair)?;
                self.matching.protocol(pair.key, dl_type, nw_proto)
            }
            Some(Word::Field(field)) => {
                let masked = value::parse(field, pair.value, self.context.ports, lenient).map_err(
                    |fault| {
                        let part = if pair.value.is_empty() { pair.whole } else { pair.value };
                        self.error(part, fault.of(pair.key))
                    },
                )?;
                self.matching.field(field, masked, pair.key, pair.whole)
            }
            Some(Word::Flag(flag)) if self.takes_flags() => {
                self.no_value(pair)?;
                self.flag(flag);
                Ok(())
            }
            Some(Word::Attribute(attribute)) if self.takes(attribute) => {
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

    /// Words that stand alone.
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
            Attribute::Table | Attribute::Cookie => true,
            Attribute::Priority => command != Command::Delete,
            Attribute::IdleTimeout | Attribute::HardTimeout => has_actions(command),
            Attribute::Importance => command == Command::Add,
            Attribute::OutPort | Attribute::OutGroup => !has_actions(command),
            Attribute::Name | Attribute::Label => has_actions(command),
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

    /// `cookie=N` sets, `cookie=N/MASK` selects.
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

/// A name that survives printing and reading.
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

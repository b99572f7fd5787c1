//! Collects the attributes and the match of a rule, one `key=value` pair after the other.

use super::argument::fits;
use super::error::{Fault, TextError};
use super::pairs::Pair;
use super::parse_match::MatchBuilder;
use super::printable::quoted;
use super::protocol::Protocols;
use super::request::offset;
use super::words::{Attribute, Flag, Word};
use super::{ParseContext, number, port, subfield, table_number, value, words};
use crate::flow_mod::{Command, FlowMod};
use crate::types::{Cookie, GroupId, OfPort, TableId};
use std::sync::Arc;

/// The longest `name` and `label` of a rule, in bytes.
const MAX_NAME: usize = 63;

/// The bit of `cookie=VALUE/MASK` in [`RuleReader::seen`].
const COOKIE_FILTER: u32 = 1 << 31;

/// Whether rules for this command have actions. Deletions have none.
pub(super) fn has_actions(command: Command) -> bool {
    matches!(command, Command::Add | Command::Modify | Command::ModifyStrict)
}

/// Collects the attributes and the match of a rule.
pub(super) struct RuleReader<'a, 'c> {
    text: &'a str,
    context: &'c ParseContext<'c>,
    matching: MatchBuilder<'a>,
    flow_mod: &'c mut FlowMod,
    /// The flow formats that can carry the attributes collected so far.
    usable: Protocols,
    /// The attributes collected so far: bit `n` is the attribute whose discriminant is `n`, and
    /// [`COOKIE_FILTER`] is the cookie with a mask.
    seen: u32,
}

impl<'a, 'c> RuleReader<'a, 'c> {
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

    /// Checks the match and puts it into the request. Returns the flow formats that
    /// can carry attributes and match.
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
            Some(Word::Attribute(Attribute::Priority)) => {
                let fault = Fault::new("priority has no meaning in this command").hint(
                    "leave it out to select rules of every priority; del-flows --strict (in a file: \
                     delete_strict) deletes the one rule with this match and priority",
                );
                Err(self.error(pair.whole, fault))
            }
            Some(Word::Attribute(_) | Word::Flag(_)) => {
                let fault = format!("{} has no meaning in this command", pair.key);
                Err(self.error(pair.whole, fault))
            }
            None if pair.key.contains('[') => self.subfield(pair),
            None if matches!(pair.key, "actions" | "action") => {
                Err(self.error(pair.whole, self.misplaced_actions(pair)))
            }
            None => Err(self.error(pair.key, unknown_word(pair.key))),
        }
    }

    /// The fault of the word `actions` where no list of actions begins: the command takes none, or the word has
    /// no equals sign. The hint repeats the rule with the sign.
    fn misplaced_actions(&self, pair: &Pair<'a>) -> Fault {
        if !has_actions(self.context.command) {
            return Fault::new("this command takes no actions").hint("leave the actions out");
        }
        let fault = Fault::new(format!("{} needs an equals sign in front of the list", pair.key));
        let (before, rest) = self.text.split_at(offset(self.text, pair.whole));
        let behind = rest[pair.key.len()..].trim();
        let list = match behind.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => inner,
            None => behind.trim_start_matches([',', ' ']),
        };
        let list = if list.is_empty() { "drop" } else { list };
        fault.hint(format!("write {before}actions={list}"))
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
                .ok_or_else(|| Fault::new(format!("{} is not a number", quoted(pair.value)))),
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
        // `cookie=1/-1,cookie=2` selects rules by one cookie, and gives them another one.
        let selects = attribute == Attribute::Cookie && pair.value.contains('/');
        let bit = if selects { COOKIE_FILTER } else { 1 << attribute as u32 };
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
        let table = table_number(text, self.context.ports)?;
        if table.is_none() && has_actions(self.context.command) && !self.context.lenient {
            return Err(Fault::new("255 means \"all tables\"").hint("tables are 0 to 253"));
        }
        Ok(table)
    }

    fn u16(&self, text: &str) -> Result<u16, Fault> {
        match self.context.lenient {
            true => match number::strtoull(text, 0) {
                Some((n, "")) if n <= u16::MAX.into() => Ok(n as u16),
                _ => Err(Fault::new(format!("{} is not valid", quoted(text)))),
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
            let (number, mask) = (self.u64(value)?, self.u64(mask)?);
            if number & !mask != 0 && !self.context.lenient {
                return Err(value::outside_mask(value, &format!("{:#x}/{mask:#x}", number & mask)));
            }
            let value = number;
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

/// Parses a `name` or `label`. The allowed characters are those that dumps can show and
/// the parser can read again.
fn human_name(text: &str) -> Result<Arc<str>, Fault> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.:/@+".contains(c);
    if text.len() > MAX_NAME {
        return Err(Fault::new(format!("a name has at most {MAX_NAME} bytes")));
    }
    if !text.chars().all(is_plain) {
        return Err(Fault::new(format!("{} is not a name", quoted(text)))
            .hint("names consist of letters, digits and -_.:/@+"));
    }
    Ok(text.into())
}

fn unknown_word(word: &str) -> Fault {
    if words::is_foreign_field(word) {
        return words::foreign_field(word);
    }
    let fault = Fault::new(format!("unknown keyword {}", quoted(word)));
    match words::nearest(word) {
        Some(near) => fault.hint(format!("did you mean {near}?")),
        None => match words::field(word) {
            Some(field) => fault.hint(format!("write {}", field.def().name)),
            None => fault,
        },
    }
}

//! Turns the text of a rule into the request that a switch gets, as if a message of
//! an OpenFlow version carried it.
//!
//! 1. The text is parsed, and the actions are checked against the match ([`WrittenRule::read`]).
//! 2. The rule goes through a message of the version, and is checked again as a receiver checks it
//!    ([`WrittenRule::send`]). Strict parsing refuses a rule of which the message would lose a part.

use super::error::{Fault, TextError};
use super::order::{self, Nesting};
use super::pairs::{Delimiter, Pair, Pairs};
use super::parse_action::ActionParser;
use super::protocol::Protocols;
use super::rule_reader::{RuleReader, has_actions};
use super::{DEFAULT_PRIORITY, ParseContext, PrintOptions, consistency};
use crate::action::{Action, Nested, SetFieldForm};
use crate::dialect;
use crate::fields::FieldId;
use crate::flow_mod::{Command, FlowMod};
use crate::matching::Match;
use crate::types::{OfVersion, TableId};
use std::borrow::Cow;

/// The fault of a rule that no format of the version can carry. `usable` are the formats that can carry the
/// rule, and `allowed` are those of the version.
pub(super) fn no_format(usable: Protocols, allowed: Protocols) -> Fault {
    Fault::new(format!(
        "none of the usable flow formats ({usable}) is among the allowed flow formats ({allowed})"
    ))
    .hint("choose another version, like -O OpenFlow13")
}

/// A rule that is being parsed.
pub(super) struct WrittenRule<'a> {
    /// The text that error messages show.
    text: &'a str,
    /// The part of the text that has the actions; empty if there are none.
    actions_text: &'a str,
    /// The rule as the user wrote it; after [`WrittenRule::send`], as the switch gets it.
    pub(super) flow_mod: FlowMod,
    /// The flow formats that can carry the rule.
    pub(super) usable: Protocols,
}

impl<'a> WrittenRule<'a> {
    pub(super) fn parse(text: &'a str, context: &ParseContext<'_>) -> Result<Self, TextError> {
        let mut written = Self::new(text, context);
        written.read(text, context)?;
        Ok(written)
    }

    /// A rule with the defaults of the context's command. [`WrittenRule::read`] parses the text.
    #[inline]
    pub(super) fn new(text: &'a str, context: &ParseContext<'_>) -> Self {
        let flow_mod = FlowMod::new(context.command, DEFAULT_PRIORITY, Match::any(), Vec::new());
        Self { text, actions_text: "", flow_mod, usable: Protocols::ANY }
    }

    /// Parses `rule`, which is a subslice of the text.
    pub(super) fn read(
        &mut self,
        rule: &'a str,
        context: &ParseContext<'_>,
    ) -> Result<(), TextError> {
        self.collect(rule, context, Nesting::Outermost)?;
        if has_actions(context.command) { self.check_consistency(context) } else { Ok(()) }
    }

    /// Parses `rule`, which is a subslice of the text, without checking the actions against the match.
    /// `nesting` says whether the rule is a request or a line of a dump.
    pub(super) fn collect(
        &mut self,
        rule: &'a str,
        context: &ParseContext<'_>,
        nesting: Nesting,
    ) -> Result<(), TextError> {
        let text = self.text;
        let mut reader = RuleReader::new(text, context, &mut self.flow_mod);
        let mut actions_text = None;
        let takes_actions = has_actions(context.command);
        let mut matching = rule;
        if takes_actions && context.lenient && nesting != Nesting::Dumped {
            (matching, actions_text) = cut_leniently(rule);
        }
        let mut pairs = Pairs::new(matching);
        while let Some(pair) = &pairs.next() {
            if takes_actions && let Some(rest) = behind_actions(rule, pair, &pairs) {
                actions_text = Some(rest);
                break;
            }
            reader.pair(pair)?;
        }
        self.usable = reader.finish()?;
        let Some(list) = actions_text else {
            if takes_actions {
                let fault = Fault::new("the actions are missing")
                    .hint("add actions=output:PORT, or actions=drop");
                return Err(TextError::at(text, rule, fault));
            }
            return Ok(());
        };
        let mut parser = ActionParser::new(text, context);
        self.flow_mod.actions = parser.list(list, nesting)?;
        self.actions_text = list;
        self.usable = self.usable.and(parser.usable);
        Ok(())
    }

    fn culprit(&self, index: usize) -> &'a str {
        Pairs::new(self.actions_text).nth(index).map_or(self.actions_text, |pair| pair.whole)
    }

    /// Checks the actions, as written, against the match.
    fn check_consistency(&mut self, context: &ParseContext<'_>) -> Result<(), TextError> {
        let FlowMod { actions, matching, table, .. } = &self.flow_mod;
        let verdict = consistency::check(actions, matching, *table).map_err(|refused| {
            TextError::at(self.text, self.culprit(refused.index), refused.fault)
        })?;
        let before = self.usable.and(context.allowed());
        self.usable = self.usable.and(verdict.usable);
        let after = self.usable.and(context.allowed());
        match verdict.mismatch {
            // The mismatch is an error only if it is the reason that no format is left.
            Some((index, needed)) if after.is_empty() && !before.is_empty() => {
                let culprit = self.culprit(index);
                let name = Pairs::new(culprit).next().map_or(culprit, |pair| pair.key);
                let fault = consistency::inconsistent(name, needed);
                Err(TextError::at(self.text, culprit, fault))
            }
            _ => Ok(()),
        }
    }

    /// Replaces the rule by what the receiver of a message of the context's version gets, and checks that as
    /// the receiver does.
    pub(super) fn send(&mut self, context: &ParseContext<'_>) -> Result<(), TextError> {
        let version = context.version;
        let allowed = context.allowed();
        if self.usable.and(allowed).is_empty() {
            let fault = no_format(self.usable, allowed);
            return Err(TextError::at(self.text, self.text, fault));
        }
        self.usable = self.usable.and(allowed);
        self.refuse_loss(context)?;
        if let Some(matching) = as_standard_match(&self.flow_mod.matching, self.usable) {
            self.flow_mod.matching = matching;
        }
        if context.lenient && version == OfVersion::OpenFlow11 {
            self.flow_mod.matching = without_ecn(&self.flow_mod.matching);
        }
        let error = |fault: Fault| TextError::at(self.text, self.actions_text, fault);
        let FlowMod { actions, matching, table, .. } = &self.flow_mod;
        let carried = dialect::actions(actions, version, matching);
        // From 1.1 on, a receiver takes a rule without a table for one of table 0.
        let table = match version {
            OfVersion::OpenFlow10 => *table,
            _ => table.or(Some(TableId::default())),
        };
        let says_goto = matches!(carried.last(), Some(Action::GotoTable(_)));
        if matches!(carried, Cow::Owned(_)) || says_goto {
            order::check(&carried, Nesting::Outermost)
                .map_err(|(_, message)| error(Fault::new(message).hint(instead_of_1_0())))?;
            receivable(&carried, version).map_err(error)?;
            let verdict = consistency::check(&carried, matching, table)
                .map_err(|refused| error(refused.fault))?;
            if verdict.usable.and(allowed).is_empty() {
                return Err(error(Fault::new("the actions do not fit the match")));
            }
        }
        let matching = match dialect::matching(matching, version) {
            Cow::Owned(matching) => Some(matching),
            Cow::Borrowed(_) => None,
        };
        let carried = match carried {
            Cow::Owned(actions) => Some(actions),
            Cow::Borrowed(_) => None,
        };
        let flow_mod = &mut self.flow_mod;
        if let Some(matching) = matching {
            flow_mod.matching = matching;
        }
        if let Some(actions) = carried {
            flow_mod.actions = actions;
        }
        if version <= OfVersion::OpenFlow11 && flow_mod.command == Command::Add {
            // In 1.0 and 1.1 an add always resets the counters. Later versions have a flag for that.
            flow_mod.flags.reset_counts = true;
        }
        // A modification that finds no rule adds one in 1.0 and 1.1 only. A modification gives rules its
        // cookie, even if the cookie is 0, in 1.0 only.
        flow_mod.adds_if_none &= version <= OfVersion::OpenFlow11;
        if flow_mod.command != Command::Add {
            let selects = flow_mod.cookie_filter.is_some()
                || flow_mod.name.is_some()
                || flow_mod.label.is_some();
            let is_told = flow_mod.modify_cookie || !selects;
            flow_mod.modify_cookie =
                has_actions(flow_mod.command) && version == OfVersion::OpenFlow10 && is_told;
        }
        if version < OfVersion::OpenFlow14 && context.lenient {
            flow_mod.importance = 0;
        }
        Ok(())
    }

    /// Refuses a rule of which a message of the version would silently lose a part.
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
        let says_untagged = matching.mask().bits.headers.vlan_tci.get() == u16::MAX
            && matching.key().headers.vlan_tci.get() == 0;
        let is_altered = matches!(dialect::matching(matching, version), Cow::Owned(_));
        if is_altered && !says_untagged {
            let fault = Fault::new(format!(
                "OpenFlow 1.{} cannot match these bits of the VLAN tag",
                version as u8
            ));
            let fault = fault.hint("match dl_vlan or dl_vlan_pcp as a whole, or use -O OpenFlow10");
            return Err(TextError::at(self.text, self.text, fault));
        }
        Ok(())
    }

    /// Refuses a match of a VLAN priority without a tag, as the receiver of an OXM match does.
    fn refuse_bad_vlan(&self, context: &ParseContext<'_>) -> Result<(), TextError> {
        let flow = &self.flow_mod.matching;
        let (key, mask) =
            (flow.key().headers.vlan_tci.get(), flow.mask().bits.headers.vlan_tci.get());
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

/// A standard match of 1.0 or 1.1 can only ask for a VLAN id or for no tag at all. Open vSwitch turns a match
/// that wants the tag-present bit to be zero into "no tag at all" if a standard match can carry the rule. This
/// function returns that match, or `None` if the match stays as it is.
///
/// Strict parsing lets only `vlan_vid=0` and the like reach this point, which mean "no tag at all" anyway.
fn as_standard_match(matching: &Match, usable: Protocols) -> Option<Match> {
    let (key, mask) =
        (matching.key().headers.vlan_tci.get(), matching.mask().bits.headers.vlan_tci.get());
    let has_no_tag = mask & 0x1000 != 0 && key & 0x1000 == 0;
    if !has_no_tag || !usable.has_standard() {
        return None;
    }
    let (mut key, mut mask) = (*matching.key(), *matching.mask());
    key.headers.vlan_tci = 0.into();
    mask.bits.headers.vlan_tci = u16::MAX.into();
    Some(Match::new(&key, &mask))
}

/// The match after a message of 1.1, which has no place for the ECN bits.
fn without_ecn(matching: &Match) -> Match {
    let mut mask = *matching.mask();
    mask.bits.headers.nw_tos &= !3;
    Match::new(matching.key(), &mask)
}

/// The hint for a rule that 1.0 or 1.1 cannot carry.
fn instead_of_1_0() -> &'static str {
    "use -O OpenFlow13"
}

/// Refuses actions that the receiver of a message of the version refuses,
/// beyond those that [`consistency`] refuses.
pub(super) fn receivable(actions: &[Action], version: OfVersion) -> Result<(), Fault> {
    for action in actions {
        match action.nested() {
            Nested::None => {}
            Nested::OnCopy(nested) | Nested::OnConnection(nested) => receivable(nested, version)?,
            Nested::AtEnd(nested) => {
                receivable(nested, version)?;
                if let Some(action) = nested.iter().find(|a| !order::fits_action_set(a)) {
                    let mut text = String::new();
                    super::write_action(&mut text, action, &PrintOptions::default());
                    return Err(Fault::new(format!(
                        "{text} cannot be part of an action set (OFPBAC_BAD_TYPE)"
                    )));
                }
            }
        }
        match action {
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

/// Splits a rule into match and actions as Open vSwitch does: the match ends in front of the first `action`
/// anywhere in the text, and the actions begin behind the next equals sign.
fn cut_leniently(rule: &str) -> (&str, Option<&str>) {
    match rule.split_once("action") {
        Some((matching, rest)) => (matching, rest.split_once('=').map(|(_, actions)| actions)),
        None => (rule, None),
    }
}

/// If `pair` is `actions=` or `action=`, the rest of `text` behind the sign: the list of actions. `pairs` is
/// the iterator that returned the pair.
pub(super) fn behind_actions<'a>(
    text: &'a str,
    pair: &Pair<'a>,
    pairs: &Pairs<'a>,
) -> Option<&'a str> {
    if !matches!(pair.key, "actions" | "action") {
        return None;
    }
    match pair.delimiter {
        Delimiter::Sign => text.get(offset(text, pair.value)..),
        // `actions = ...`
        Delimiter::None => {
            let rest = pairs.rest().trim_start();
            rest.starts_with('=').then(|| rest.trim_start_matches('='))
        }
        Delimiter::Parentheses => None,
    }
}

/// The number of bytes of `text` in front of `part`, which is a subslice of `text`.
pub(super) fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

//! Parses lists of actions: `mod_vlan_vid:5,output:2`.

use super::argument::Argument;
use super::error::{Fault, TextError};
use super::order::{self, Nesting};
use super::pairs::{Delimiter, Pair, Pairs};
use super::printable::quoted;
use super::protocol::Protocols;
use super::vocabulary::ActionName;
use super::words::closest;
use super::{ParseContext, port, subfield};
use crate::action::{Action, MAX_LIST_SIZE};
use crate::types::{GroupId, OfVersion};
use packet::wire::eth_type;

/// How deep lists may be nested in each other by `clone(...)` and `write_actions(...)`.
const MAX_DEPTH: usize = 64;

/// The actions of Open vSwitch that this switch does not have. Their error says so,
/// instead of guessing a misspelling.
pub(super) const FOREIGN: &[&str] =
    &["debug_recirc", "debug_slow", "decap", "dec_nsh_ttl", "encap", "unroll_xlate"];

/// A parser of lists of actions.
pub(super) struct ActionParser<'a> {
    /// The text that error messages show.
    pub(super) text: &'a str,
    pub(super) context: &'a ParseContext<'a>,
    /// How many lists enclose the current position.
    depth: usize,
    /// The flow formats that can carry the actions parsed so far.
    pub(super) usable: Protocols,
}

impl<'a> ActionParser<'a> {
    /// A parser whose lists are parts of `text`.
    pub(super) fn new(text: &'a str, context: &'a ParseContext<'a>) -> Self {
        Self { text, context, depth: 0, usable: Protocols::ANY }
    }

    /// Parses a list of actions. `drop`, which must stand alone, gives an empty list.
    pub(super) fn list(
        &mut self,
        list: &'a str,
        nesting: Nesting,
    ) -> Result<Vec<Action>, TextError> {
        if self.depth == MAX_DEPTH {
            return Err(TextError::at(self.text, list, "actions are nested too deeply"));
        }
        self.depth += 1;
        let actions = self.pairs(Pairs::new(list), nesting);
        self.depth -= 1;
        actions
    }

    /// As [`ActionParser::list`], for pairs that the caller has collected from several places of the text.
    pub(super) fn pairs(
        &mut self,
        pairs: impl Iterator<Item = Pair<'a>> + Clone,
        nesting: Nesting,
    ) -> Result<Vec<Action>, TextError> {
        // Most rules have one action.
        let mut actions = Vec::with_capacity(1);
        let mut drop = None;
        let mut size = 0;
        for pair in pairs.clone() {
            if !pair.is_closed && !self.context.lenient {
                let fault = Fault::new("a parenthesis is not closed").hint("add )");
                return Err(TextError::at(self.text, pair.whole, fault));
            }
            match self.one(&pair)? {
                Some(action) => {
                    size += action.size();
                    if size > MAX_LIST_SIZE {
                        let fault = Fault::new("the list of actions is too long (OFPBRC_BAD_LEN)");
                        let hint =
                            "a list has at most 4095 actions like output:1, or 2047 like set_field";
                        return Err(TextError::at(self.text, pair.whole, fault.hint(hint)));
                    }
                    actions.push(action);
                }
                None => drop = Some(pair.whole),
            }
        }
        if let Some(drop) = drop.filter(|_| !actions.is_empty()) {
            let fault = Fault::new("drop must not be accompanied by other actions");
            return Err(TextError::at(self.text, drop, fault.hint("remove drop")));
        }
        order::check(&actions, nesting).map_err(|(index, message)| {
            let culprit = pairs.clone().nth(index).map_or(self.text, |pair| pair.whole);
            TextError::at(self.text, culprit, message)
        })?;
        if actions.iter().any(|action| matches!(action, Action::Meter(_))) {
            // An instruction of rules, and an action since OpenFlow 1.5.
            self.usable = self.usable.and(match nesting {
                Nesting::OutsideRules => Protocols::of_version(OfVersion::OpenFlow15),
                Nesting::Outermost | Nesting::Dumped | Nesting::Nested => Protocols::OF13_UP,
            });
        }
        Ok(actions)
    }

    /// Parses one action; `None` for `drop`.
    fn one(&mut self, pair: &Pair<'a>) -> Result<Option<Action>, TextError> {
        let mut buffer = [0; 24];
        let name = lower(pair.key, &mut buffer);
        let action = ActionName::from_name(name);
        match action {
            Some(ActionName::Clone) => {
                if self.context.lenient {
                    // Open vSwitch 3.1 forgets at a clone which formats the actions in front need.
                    self.usable = Protocols::ANY;
                }
                Ok(Some(Action::Clone(self.list(pair.value, Nesting::Nested)?)))
            }
            Some(ActionName::WriteActions) => {
                Ok(Some(Action::WriteActions(self.list(pair.value, Nesting::Nested)?)))
            }
            Some(ActionName::Ct) => self.ct(pair).map(Some),
            Some(ActionName::Drop) => Ok(None),
            None
            | Some(
                ActionName::Normal
                | ActionName::Flood
                | ActionName::All
                | ActionName::InPort
                | ActionName::Local
                | ActionName::Table,
            ) => self
                .port(pair, name)
                .map(Some)
                .map_err(|fault| TextError::at(self.text, pair.key, fault)),
            Some(action) => self.simple(action, pair, name).map_err(|fault| {
                let part = if pair.value.is_empty() { pair.whole } else { pair.value };
                TextError::at(self.text, part, fault)
            }),
        }
    }

    /// Parses an action that contains no others and is no port; `None` for those that [`ActionParser::one`]
    /// parses. `name` is the pair's key in lower case. The error is about the pair's value.
    fn simple(
        &mut self,
        action: ActionName,
        pair: &Pair<'_>,
        name: &str,
    ) -> Result<Option<Action>, Fault> {
        use ActionName as Name;
        let arg = Argument { name, text: pair.value, context: self.context };
        let action = match action {
            Name::Output => arg.output()?,
            Name::Controller => arg.controller()?,
            Name::Enqueue => arg.enqueue()?,
            Name::SetQueue => Action::SetQueue(arg.u32()?),
            Name::PopQueue => Action::PopQueue,
            Name::Group => Action::Group(GroupId(arg.u32()?)),
            Name::Meter => Action::Meter(arg.meter()?),
            Name::ModVlanVid => Action::SetVlanVid { vid: arg.u16(0xfff)?, push_if_untagged: true },
            Name::SetVlanVid => {
                Action::SetVlanVid { vid: arg.u16(0xfff)?, push_if_untagged: false }
            }
            Name::ModVlanPcp => Action::SetVlanPcp { pcp: arg.u8(7)?, push_if_untagged: true },
            Name::SetVlanPcp => Action::SetVlanPcp { pcp: arg.u8(7)?, push_if_untagged: false },
            Name::StripVlan => Action::StripVlan,
            Name::PushVlan => {
                self.usable = self.usable.and(Protocols::OF11_UP);
                Action::PushVlan(arg.ether_type(&eth_type::TPIDS)?)
            }
            Name::ModDlSrc => Action::SetEthSrc(arg.mac()?),
            Name::ModDlDst => Action::SetEthDst(arg.mac()?),
            Name::ModNwSrc => Action::SetIpv4Src(arg.ipv4()?),
            Name::ModNwDst => Action::SetIpv4Dst(arg.ipv4()?),
            Name::ModNwTos => Action::SetIpDscp(arg.tos()?),
            Name::ModNwEcn => Action::SetIpEcn(arg.u8(3)?),
            Name::ModNwTtl => Action::SetIpTtl(arg.u8(u8::MAX)?),
            Name::ModTpSrc => Action::SetL4Src(arg.u16(u16::MAX)?),
            Name::ModTpDst => Action::SetL4Dst(arg.u16(u16::MAX)?),
            Name::SetField => arg.set_field(&mut self.usable)?,
            Name::Load => arg.load()?,
            Name::Move => arg.copy()?,
            Name::Push => Action::StackPush(subfield::parse(arg.text)?),
            Name::Pop => Action::StackPop(subfield::parse(arg.text)?),
            Name::DecTtl => Action::DecTtl(arg.controller_ids()?),
            Name::SetMplsLabel => Action::SetMplsLabel(arg.number(0xf_ffff)? as u32),
            Name::SetMplsTc => Action::SetMplsTc(arg.u8(7)?),
            Name::SetMplsTtl => Action::SetMplsTtl(arg.u8(u8::MAX)?),
            Name::DecMplsTtl => Action::DecMplsTtl,
            Name::PushMpls => {
                Action::PushMpls(arg.ether_type(&[eth_type::MPLS, eth_type::MPLS_MCAST])?)
            }
            Name::PopMpls => Action::PopMpls(arg.u16(u16::MAX)?),
            Name::SetTunnel => arg.set_tunnel(false)?,
            Name::SetTunnel64 => arg.set_tunnel(true)?,
            Name::Resubmit => arg.resubmit()?,
            Name::CheckPktLarger => arg.check_pkt_larger()?,
            Name::DeleteField => arg.delete_field()?,
            Name::CtClear => Action::CtClear,
            Name::Learn => arg.learn()?,
            Name::FinTimeout => arg.fin_timeout()?,
            Name::Multipath => arg.multipath()?,
            Name::Bundle => arg.bundle(false)?,
            Name::BundleLoad => arg.bundle(true)?,
            Name::Sample => arg.sample()?,
            Name::Exit => Action::Exit,
            Name::Note => Action::Note(arg.hex_bytes()?),
            Name::Conjunction => Action::Conjunction(arg.clause()?),
            Name::ClearActions => Action::ClearActions,
            Name::WriteMetadata => {
                self.usable = self.usable.and(Protocols::NXM_OF11_UP);
                arg.write_metadata()?
            }
            Name::GotoTable => Action::GotoTable(arg.table(arg.text)?),
            Name::Clone
            | Name::Ct
            | Name::WriteActions
            | Name::Drop
            | Name::Normal
            | Name::Flood
            | Name::All
            | Name::InPort
            | Name::Local
            | Name::Table => return Ok(None),
        };
        let takes_no_argument = matches!(
            action,
            Action::PopQueue
                | Action::StripVlan
                | Action::DecMplsTtl
                | Action::CtClear
                | Action::Exit
                | Action::ClearActions
        );
        if takes_no_argument && !arg.text.is_empty() && !self.context.lenient {
            return Err(Fault::new(format!("{name} takes no argument")));
        }
        Ok(Some(action))
    }

    /// Parses a pair whose key is no action's name. The name or number of a port alone is an output to that
    /// port. The error is about the pair's key.
    fn port(&self, pair: &Pair<'_>, name: &str) -> Result<Action, Fault> {
        let may_be_port = pair.delimiter == Delimiter::None || self.context.lenient;
        let port = port::parse(pair.key, self.context.ports, self.context.lenient);
        if let (true, Ok(port)) = (may_be_port, port) {
            return Ok(Action::output(port));
        }
        if name == "apply_actions" {
            return Err(Fault::new("apply_actions is the default instruction")
                .hint("write its actions directly"));
        }
        if name == "nat" {
            return Err(Fault::new("nat is an argument of ct")
                .hint("write ct(nat) or ct(commit,nat(src=ADDRESS))"));
        }
        if FOREIGN.contains(&name) {
            return Err(Fault::new(format!(
                "{name} is an action of Open vSwitch that this switch does not have"
            )));
        }
        let fault = Fault::new(format!("there is no action {}", quoted(pair.key)));
        let ports = self.context.ports.all();
        let names: Vec<&str> = ActionName::names().collect();
        Err(match closest(pair.key, names.into_iter().chain(ports)) {
            Some(near) => fault.hint(format!("did you mean {near}?")),
            None if may_be_port => fault.hint("it is not the name of a port either"),
            None => fault,
        })
    }
}

/// Whether a word that is no action's name is probably meant as one: misspelt, or an action of Open vSwitch
/// that this switch does not have. A caller that does not know the names of ports asks this of a word that may
/// be the name of a port.
pub fn is_nearly_an_action(word: &str) -> bool {
    let name = word.to_ascii_lowercase();
    FOREIGN.contains(&name.as_str()) || closest(&name, ActionName::names()).is_some()
}

/// The text in lower case. Text that is longer than the buffer, and so longer than the name of any action, is
/// returned as it is.
fn lower<'b>(text: &'b str, buffer: &'b mut [u8; 24]) -> &'b str {
    if !text.bytes().any(|b| b.is_ascii_uppercase()) {
        return text;
    }
    match buffer.get_mut(..text.len()) {
        Some(buffer) => {
            buffer.copy_from_slice(text.as_bytes());
            buffer.make_ascii_lowercase();
            std::str::from_utf8(buffer).unwrap_or(text)
        }
        None => text,
    }
}

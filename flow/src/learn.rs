//! The arguments of the action `learn(...)`, which makes rules of packets.
//!
//! A packet that meets the action adds a rule to a table, or refreshes the rule if it is there: ovs-actions(7),
//! "The learn action". The match and the actions of that rule are put together of parts, each of which copies
//! bits of the packet, or has a value of its own.

use crate::action::{Action, SetFieldForm, Subfield};
use crate::fields::ones;
use crate::flow_mod::{Command, FlowMod};
use crate::key::{PipelineKey, PipelineMask};
use crate::matching::Match;
use crate::types::{Cookie, OfPort, TableId};
use serde::{Deserialize, Serialize};

/// The priority of learned rules if the action names none (`OFP_DEFAULT_PRIORITY`).
pub const DEFAULT_PRIORITY: u16 = 0x8000;

/// `learn(table=N,...)`: the attributes of learned rules, and the parts of which these are made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Learner {
    /// The table that learned rules are added to.
    pub table: TableId,
    /// The priority of learned rules.
    pub priority: u16,
    /// The cookie of learned rules.
    pub cookie: Cookie,
    /// Seconds without traffic after which a learned rule expires; 0 means never.
    pub idle_timeout: u16,
    /// Seconds after which a learned rule expires unless a packet refreshes it; 0 means never.
    pub hard_timeout: u16,
    /// Shortens the idle timeout of a learned rule to this many seconds when its TCP
    /// connection ends; 0 does not.
    pub fin_idle_timeout: u16,
    /// Shortens the hard timeout of a learned rule to this many seconds when its TCP
    /// connection ends; 0 does not.
    pub fin_hard_timeout: u16,
    /// Whether controllers are told when a learned rule goes (`send_flow_rem`).
    pub send_flow_rem: bool,
    /// Whether the rules of `table` that have `cookie` are deleted once no rule with such
    /// an action is left (`delete_learned`).
    pub delete_learned: bool,
    /// How many rules with `cookie` the table may have for another one to be learned; 0 sets no limit.
    pub limit: u32,
    /// The bit that becomes 1 if the rule is there behind the action, and 0 if the limit forbids it. `None` if
    /// there is no such bit.
    pub result_dst: Option<Subfield>,
    /// The parts of the match and of the actions, in order.
    pub parts: Vec<LearnedPart>,
}

/// What a part of a learned rule is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearnSource {
    /// Bits of the packet that is learned from.
    Field(Subfield),
    /// A value, right-aligned.
    Value(u128),
}

/// A part of a learned rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearnedPart {
    /// `DST=SRC`, or `FIELD` alone for a field that is copied to itself: learned rules match these bits.
    Match {
        /// The bits that learned rules match.
        dst: Subfield,
        /// Where the value of these bits comes from when a packet makes the rule.
        from: LearnSource,
    },
    /// `load:SRC->DST`: learned rules write these bits.
    Load {
        /// The bits that learned rules write.
        dst: Subfield,
        /// What they write.
        from: LearnSource,
    },
    /// `output:SRC`: learned rules output to the port whose number is in these bits of the packet.
    Output(Subfield),
}

impl LearnedPart {
    /// The bits that the part names: of the packet, and of the rules that it makes.
    pub fn subfields(self) -> impl Iterator<Item = Subfield> {
        let (dst, from) = match self {
            Self::Match { dst, from } | Self::Load { dst, from } => (Some(dst), from),
            Self::Output(src) => (None, LearnSource::Field(src)),
        };
        let src = match from {
            LearnSource::Field(src) => Some(src),
            LearnSource::Value(_) => None,
        };
        dst.into_iter().chain(src)
    }
}

impl Default for Learner {
    /// `learn()`: rules without match and actions, in table 1.
    fn default() -> Self {
        Self {
            table: TableId::new(1).unwrap_or_default(),
            priority: DEFAULT_PRIORITY,
            cookie: Cookie(0),
            idle_timeout: 0,
            hard_timeout: 0,
            fin_idle_timeout: 0,
            fin_hard_timeout: 0,
            send_flow_rem: false,
            delete_learned: false,
            limit: 0,
            result_dst: None,
            parts: Vec::new(),
        }
    }
}

impl Learner {
    /// The request that learns a rule from a packet: it adds the rule, or changes the one with the same match
    /// and priority. `read` returns bits of the packet.
    pub fn request(&self, mut read: impl FnMut(Subfield) -> u128) -> FlowMod {
        let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
        let mut actions = Vec::new();
        if self.fin_idle_timeout != 0 || self.fin_hard_timeout != 0 {
            let (idle, hard) = (self.fin_idle_timeout, self.fin_hard_timeout);
            actions.push(Action::FinTimeout { idle, hard });
        }
        let mut value = |from| match from {
            LearnSource::Field(src) => read(src),
            LearnSource::Value(value) => value,
        };
        for part in &self.parts {
            match *part {
                LearnedPart::Match { dst, from } => {
                    dst.write(&mut key, value(from));
                    dst.set_mask(&mut mask);
                }
                LearnedPart::Load { dst, from } => actions.push(Action::SetField {
                    field: dst.field,
                    value: (value(from) & ones(dst.n_bits)) << dst.offset,
                    mask: dst.mask(),
                    form: SetFieldForm::of_load(dst.field),
                }),
                LearnedPart::Output(src) => {
                    // The upper half of a port number of 32 bits says nothing that the lower half does not.
                    let port = OfPort(value(LearnSource::Field(src)) as u16);
                    let special = [OfPort::IN_PORT, OfPort::FLOOD, OfPort::LOCAL, OfPort::ALL];
                    if port < OfPort::MAX || special.contains(&port) {
                        actions.push(Action::output(port));
                    }
                }
            }
        }
        let command = Command::ModifyStrict;
        let mut request = FlowMod::new(command, self.priority, Match::new(&key, &mask), actions);
        request.table = Some(self.table);
        request.cookie = self.cookie;
        request.modify_cookie = self.cookie != Cookie(u64::MAX);
        request.idle_timeout = self.idle_timeout;
        request.hard_timeout = self.hard_timeout;
        request.flags.send_flow_rem = self.send_flow_rem;
        request
    }
}

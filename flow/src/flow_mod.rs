//! Requests to change the flow tables, as a user states them (OpenFlow `FLOW_MOD`).

use crate::action::Action;
use crate::matching::Match;
use crate::types::{Cookie, GroupId, OfPort, TableId};
use std::sync::Arc;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Add, replacing a rule with the same match and priority.
    Add,
    /// Change the actions of every rule that the match covers.
    Modify,
    /// Change the actions of the one rule with this match and priority.
    ModifyStrict,
    /// Delete every rule that the match covers.
    Delete,
    /// Delete the one rule with this match and priority.
    DeleteStrict,
}

impl Command {
    /// It is about the one rule with this match and priority.
    pub fn is_strict(self) -> bool {
        matches!(self, Self::ModifyStrict | Self::DeleteStrict)
    }
}

/// Flags of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowFlags {
    /// Tell when the rule is removed.
    pub send_flow_rem: bool,
    /// Refuse to add when a rule of the same priority overlaps. Not kept with the rule.
    pub check_overlap: bool,
    /// A modification sets the counters to zero.
    pub reset_counts: bool,
    /// Packets are not counted.
    pub no_packet_counts: bool,
    /// Bytes are not counted.
    pub no_byte_counts: bool,
}

/// One request to change the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowMod {
    /// Whether rules are added, changed or deleted.
    pub command: Command,
    /// Which table; `None` means table 0 for an add, all tables for the others.
    pub table: Option<TableId>,
    /// The packets that the new rule is about, or that select the rules to change.
    pub matching: Match,
    /// 0 to 65535; the highest matching wins.
    pub priority: u16,
    /// New cookie; for deletions unused.
    pub cookie: Cookie,
    /// Only rules whose cookie agrees here: (value, mask). For modify and delete.
    pub cookie_filter: Option<(Cookie, Cookie)>,
    /// A modification changes the cookie.
    pub modify_cookie: bool,
    /// A modification adds the rule if there is none to modify, unless it selects by cookie, name or
    /// label.
    pub adds_if_none: bool,
    /// Seconds without traffic after which the rule goes; 0 never.
    pub idle_timeout: u16,
    /// Seconds after which the rule goes; 0 never.
    pub hard_timeout: u16,
    /// How willingly the rule is evicted from a full table; the lowest goes first.
    pub importance: u16,
    /// Flags of the new rule.
    pub flags: FlowFlags,
    /// Only rules that output here. For deletions.
    pub out_port: Option<OfPort>,
    /// Only rules that use this group. For deletions.
    pub out_group: Option<GroupId>,
    /// What to do with the packets.
    pub actions: Vec<Action>,
    /// A unique name for humans; unless this is an add, only the rule that has it.
    pub name: Option<Arc<str>>,
    /// A class for humans; unless this is an add, only rules that have it.
    pub label: Option<Arc<str>>,
}

impl FlowMod {
    /// It names rules, if any, whatever they match.
    pub fn names_every_match(&self) -> bool {
        !self.command.is_strict() && self.matching == Match::any()
    }

    /// A change with nothing but the essentials: table not named, no cookie, no timeouts, no filters.
    pub fn new(command: Command, priority: u16, matching: Match, actions: Vec<Action>) -> Self {
        Self {
            command,
            table: None,
            matching,
            priority,
            cookie: Cookie(0),
            cookie_filter: None,
            modify_cookie: false,
            adds_if_none: matches!(command, Command::Modify | Command::ModifyStrict),
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: FlowFlags::default(),
            out_port: None,
            out_group: None,
            actions,
            name: None,
            label: None,
        }
    }
}

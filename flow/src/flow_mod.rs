//! A request to add, modify or delete rules (OpenFlow `OFPT_FLOW_MOD`, OpenFlow 1.3.5 §7.3.4.1).

use crate::action::Action;
use crate::matching::Match;
use crate::types::{Cookie, GroupId, OfPort, TableId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a [`FlowMod`] does (`OFPFC_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Add a rule (`add-flow`). A rule with the same table, match and priority is replaced.
    Add,
    /// Change the actions of every rule whose match the request's match covers (`mod-flows`).
    Modify,
    /// Change the actions of the one rule with the request's match and priority (`--strict mod-flows`).
    ModifyStrict,
    /// Delete every rule whose match the request's match covers (`del-flows`).
    Delete,
    /// Delete the one rule with the request's match and priority (`--strict del-flows`).
    DeleteStrict,
}

impl Command {
    /// Whether the command concerns only the one rule that has the request's match and priority.
    pub fn is_strict(self) -> bool {
        matches!(self, Self::ModifyStrict | Self::DeleteStrict)
    }
}

/// The flags of a request and of the rule that it adds (`OFPFF_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowFlags {
    /// Controllers get a flow-removed message when the rule expires or is deleted.
    #[serde(skip_serializing_if = "is_false")]
    pub send_flow_rem: bool,
    /// The addition is refused if a rule of the same table and priority overlaps. The rule
    /// does not keep this flag.
    #[serde(skip_serializing_if = "is_false")]
    pub check_overlap: bool,
    /// A modification sets the rule's packet and byte counters to zero.
    #[serde(skip_serializing_if = "is_false")]
    pub reset_counts: bool,
    /// The user does not need the rule's packet counter.
    #[serde(skip_serializing_if = "is_false")]
    pub no_packet_counts: bool,
    /// The user does not need the rule's byte counter.
    #[serde(skip_serializing_if = "is_false")]
    pub no_byte_counts: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// One request to add, modify or delete rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowMod {
    /// What the request does to the rules.
    pub command: Command,
    /// The table of the rules. `None` means table 0 if rules are added, and all tables if
    /// they are modified or deleted.
    pub table: Option<TableId>,
    /// The match of the new rule. A modification or deletion is about the rules whose match this one covers, or
    /// equals if the command is strict.
    pub matching: Match,
    /// The priority of the new rule, or of the rule that a strict command is about. Of the rules that match a
    /// packet, the one with the highest priority wins.
    pub priority: u16,
    /// The cookie of a rule that is added, or modified if `modify_cookie` is set. Deletions do not use it.
    pub cookie: Cookie,
    /// Restricts a modification or deletion to rules whose cookie agrees with the first value in the one-bits
    /// of the second. `None` restricts nothing.
    pub cookie_filter: Option<(Cookie, Cookie)>,
    /// Whether a modification gives the rules the new `cookie`.
    pub modify_cookie: bool,
    /// Whether a modification that finds no rule adds one, as in OpenFlow 1.0 and 1.1. A modification that
    /// selects rules by cookie, name or label never adds one.
    pub adds_if_none: bool,
    /// The rule expires after this many seconds without a packet; 0 means never.
    pub idle_timeout: u16,
    /// The rule expires this many seconds after it was added; 0 means never.
    pub hard_timeout: u16,
    /// Rank of the rule when a full table evicts rules: a rule of lower importance goes first.
    pub importance: u16,
    /// The flags of the request and of the rule that it adds.
    pub flags: FlowFlags,
    /// Restricts a deletion to rules that output to this port. `None` restricts nothing.
    pub out_port: Option<OfPort>,
    /// Restricts a deletion to rules that use this group. `None` restricts nothing.
    pub out_group: Option<GroupId>,
    /// The actions of rules that are added or modified. Deletions have none.
    pub actions: Vec<Action>,
    /// The rule's name (an extension: OpenFlow has none), unique in its bridge. A modification or deletion with
    /// a name is restricted to the rule that has it.
    pub name: Option<Arc<str>>,
    /// The rule's label (an extension), which several rules may share. A modification or deletion with a label
    /// is restricted to the rules that have it.
    pub label: Option<Arc<str>>,
}

impl FlowMod {
    /// Whether the request is about rules of every match, as `del-flows` without a match is. Filters for
    /// cookie, port, group, name and label may still restrict it.
    pub fn names_every_match(&self) -> bool {
        !self.command.is_strict() && self.matching == Match::any()
    }

    /// A request without table, cookie, timeouts, flags, name and filters. A modification adds a
    /// rule if it finds none.
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

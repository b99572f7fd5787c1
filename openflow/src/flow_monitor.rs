//! Flow monitors: a controller names rules, and hears of their changes.
//!
//! There are three dialects: Nicira's (`NXST_FLOW_MONITOR`) in OpenFlow 1.0 to 1.2, the ONF's extension of 1.3,
//! and the standard one from 1.4 on (OpenFlow 1.4.0 §7.3.5.17). A request is a multipart, and changes are parts
//! of a reply that goes on; those that follow the first reply have the transaction id 0.

use crate::action;
use crate::error::ErrorCode;
use crate::flow_mod::{EVERY_TABLE, decode_nx_match, decode_table};
use crate::flow_removed::FlowRemovedReason;
use crate::input::Input;
use crate::matching::{self, extensible};
use crate::output::Encoder;
use crate::port;
use OfVersion::{OpenFlow10, OpenFlow13, OpenFlow14};
use flow::Match;
use flow::action::Action;
use flow::flow_mod::{Command, FlowMod};
use flow::types::{Cookie, GroupId, OfPort, OfVersion, TableId};

/// What a request does with a monitor (`OFPFMC_*`). The dialects before OpenFlow 1.4 have additions only, and a
/// message of their own that cancels a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonitorCommand {
    /// A new monitor begins.
    Add,
    /// A monitor gets another filter and other flags.
    Modify,
    /// A monitor ends.
    Delete,
}

/// What a monitor tells (`OFPFMF_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonitorFlags {
    /// The rules that there are when the monitor begins.
    pub initial: bool,
    /// Rules that are added.
    pub add: bool,
    /// Rules that are removed.
    pub removed: bool,
    /// Rules that get other actions or another cookie.
    pub modify: bool,
    /// Whether the actions of rules are told.
    pub instructions: bool,
    /// Changes that the controller itself has made are told as those of others. Only OpenFlow 1.4 and later
    /// have this flag.
    pub no_abbrev: bool,
    /// The flag that Nicira calls "own" (`NXFMF_OWN`) and OpenFlow 1.4 "only own". Open
    /// vSwitch takes both as [`no_abbrev`](Self::no_abbrev).
    pub own: bool,
}

/// The flags in the order of their bits. Nicira's have no `no_abbrev`.
fn flag_list(flags: &mut MonitorFlags, version: OfVersion) -> Vec<&mut bool> {
    let MonitorFlags { initial, add, removed, modify, instructions, no_abbrev, own } = flags;
    match version >= OpenFlow14 {
        true => vec![initial, add, removed, modify, instructions, no_abbrev, own],
        false => vec![initial, add, removed, modify, instructions, own],
    }
}

impl MonitorFlags {
    fn bits(mut self, version: OfVersion) -> u16 {
        let flags = flag_list(&mut self, version).into_iter().enumerate();
        flags.map(|(bit, is_set)| u16::from(*is_set) << bit).sum()
    }

    /// The flags of these bits. A monitor must tell something, and bits that mean nothing are refused.
    fn of_bits(bits: u16, version: OfVersion) -> Result<Self, ErrorCode> {
        let mut flags = Self::default();
        for (bit, flag) in flag_list(&mut flags, version).into_iter().enumerate() {
            *flag = bits >> bit & 1 != 0;
        }
        let tells = flags.add || flags.removed || flags.modify;
        if tells && flags.bits(version) == bits { Ok(flags) } else { Err(ErrorCode::MonitorFlags) }
    }

    /// Whether the controller's own changes are told in full, and not as [`FlowUpdate::Abbrev`].
    pub fn tells_own(&self) -> bool {
        self.own || self.no_abbrev
    }
}

/// A request about one monitor.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowMonitor {
    /// The number that the controller gives the monitor.
    pub id: u32,
    /// What happens to the monitor.
    pub command: MonitorCommand,
    /// What the monitor tells.
    pub flags: MonitorFlags,
    /// A deletion that would delete the rules that the monitor tells of.
    pub filter: Box<FlowMod>,
}

fn filter(
    matching: Match,
    table: Option<TableId>,
    out_port: OfPort,
    out_group: GroupId,
) -> Box<FlowMod> {
    Box::new(FlowMod {
        table,
        out_port: Some(out_port).filter(|port| *port != OfPort::NONE),
        out_group: Some(out_group).filter(|group| *group != GroupId::ANY),
        ..FlowMod::new(Command::Delete, 0, matching, Vec::new())
    })
}

impl FlowMonitor {
    /// The request that ends a monitor. Only OpenFlow 1.4 and later have it.
    pub fn delete(id: u32) -> Self {
        let filter = filter(Match::any(), None, OfPort::NONE, GroupId::ANY);
        Self { id, command: MonitorCommand::Delete, flags: MonitorFlags::default(), filter }
    }

    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        let table = self.filter.table.map_or(EVERY_TABLE, TableId::get);
        let out_port = self.filter.out_port.unwrap_or(OfPort::NONE);
        let flags = self.flags.bits(version);
        out.u32(self.id);
        if version >= OpenFlow14 {
            let is_deletion = self.command == MonitorCommand::Delete;
            let out_group = self.filter.out_group.unwrap_or(GroupId::ANY);
            out.u32(if is_deletion { 0 } else { port::encode_32(out_port) });
            out.u32(if is_deletion { 0 } else { out_group.0 });
            out.u16(flags);
            out.u8(if is_deletion { 0 } else { table });
            out.u8(self.command as u8);
            // Open vSwitch cancels a monitor without a match.
            if !is_deletion {
                matching::put_oxm(out, &self.filter.matching, version);
            }
            return;
        }
        out.u16(flags);
        let len_at;
        if version == OpenFlow13 {
            len_at = out.len();
            out.u16(0);
            out.u32(port::encode_32(out_port));
            out.u8(table);
            out.zeros(3);
        } else {
            out.u16(out_port.0);
            len_at = out.len();
            out.u16(0);
            out.u8(table);
            out.zeros(5);
        }
        put_match(out, &self.filter.matching, version, len_at);
    }

    pub(crate) fn decode(input: &mut Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let id = input.u32()?;
        if version >= OpenFlow14 {
            return Self::decode_14(input, id, version);
        }
        let flags = input.u16()?;
        let (out_port, len, table, zeros);
        if version == OpenFlow13 {
            len = usize::from(input.u16()?);
            out_port = input.u32()?;
            table = input.u8()?;
            zeros = input.take(3)?;
        } else {
            out_port = u32::from(input.u16()?);
            len = usize::from(input.u16()?);
            table = input.u8()?;
            zeros = input.take(5)?;
        }
        let flags = MonitorFlags::of_bits(flags, version)?;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(ErrorCode::MustBeZero);
        }
        let (matching, out_port) = match version {
            OpenFlow13 => {
                let out_port = port::decode_32(out_port, ErrorCode::BadOutPort)?;
                (matching::decode_11(input)?, out_port)
            }
            _ => (decode_nx_match(input, len)?.0, OfPort(out_port as u16)),
        };
        let table = decode_table(table, ErrorCode::BadTableId)?;
        let filter = filter(matching, table, out_port, GroupId::ANY);
        Ok(Self { id, command: MonitorCommand::Add, flags, filter })
    }

    fn decode_14(input: &mut Input<'_>, id: u32, version: OfVersion) -> Result<Self, ErrorCode> {
        let (out_port, out_group) = (input.u32()?, GroupId(input.u32()?));
        let (flags, table, command) = (input.u16()?, input.u8()?, input.u8()?);
        let command = match command {
            0 => MonitorCommand::Add,
            1 => MonitorCommand::Modify,
            2 => {
                // The match is allowed to be missing, and says nothing.
                if !input.is_empty() {
                    matching::decode_11(input)?;
                }
                return Ok(Self::delete(id));
            }
            _ => return Err(ErrorCode::MonitorCommand),
        };
        let flags = MonitorFlags::of_bits(flags, version)?;
        let out_port = port::decode_32(out_port, ErrorCode::BadOutPort)?;
        let matching = matching::decode_11(input)?;
        let table = decode_table(table, ErrorCode::BadTableId)?;
        Ok(Self { id, command, flags, filter: filter(matching, table, out_port, out_group) })
    }
}

/// Writes the match of the dialects before OpenFlow 1.4, whose length stands at `len_at`.
fn put_match(out: &mut Encoder, matching: &Match, version: OfVersion, len_at: usize) {
    let start = out.len();
    if version == OpenFlow13 {
        matching::put_oxm(out, matching, version);
        // The length without padding, which the match says itself.
        let len = out.get_u16(start + 2);
        out.set_u16(len_at, len);
    } else {
        extensible::put(out, matching, OpenFlow10, None);
        out.set_len(len_at, start);
        out.pad(start);
    }
}

/// What happened to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonitorEvent {
    /// The rule was there when the monitor began. The dialects before OpenFlow 1.4 say [`Added`](Self::Added).
    Initial,
    /// The rule was added.
    Added,
    /// The rule was removed.
    Removed(FlowRemovedReason),
    /// The rule has other actions or another cookie.
    Modified,
}

/// One thing that a monitor tells.
#[derive(Clone, Debug, PartialEq)]
pub enum FlowUpdate {
    /// A rule came, changed or went.
    Rule(Box<MonitoredRule>),
    /// The controller's own request with this transaction id changed rules.
    Abbrev(u32),
    /// From here on, changes are not told but for the removal of rules that the controller knows: it reads too
    /// slowly. Only OpenFlow 1.4 and later; see
    /// [`OfMessage::FlowMonitorPaused`](crate::OfMessage::FlowMonitorPaused).
    Paused,
    /// What has changed since the pause was told, and changes are told again.
    Resumed,
}

/// A rule that came, changed or went.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitoredRule {
    /// What happened to the rule.
    pub event: MonitorEvent,
    /// The table of the rule.
    pub table: TableId,
    /// The match of the rule, as the dialect can say it.
    pub matching: Match,
    /// The priority of the rule.
    pub priority: u16,
    /// The cookie of the rule.
    pub cookie: Cookie,
    /// Seconds without a packet after which the rule expires; 0 means never.
    pub idle_timeout: u16,
    /// Seconds after which the rule expires; 0 means never.
    pub hard_timeout: u16,
    /// The actions of the rule; none if the monitor does not tell them.
    pub actions: Vec<Action>,
}

/// The numbers of events (`OFPFME_*`).
mod event_14 {
    pub(super) const INITIAL: u16 = 0;
    pub(super) const ADDED: u16 = 1;
    pub(super) const REMOVED: u16 = 2;
    pub(super) const MODIFIED: u16 = 3;
    pub(super) const ABBREV: u16 = 4;
    pub(super) const PAUSED: u16 = 5;
    pub(super) const RESUMED: u16 = 6;
}

/// The numbers of events in the dialects before OpenFlow 1.4 (`NXFME_*`).
mod event {
    pub(super) const ADDED: u16 = 0;
    pub(super) const REMOVED: u16 = 1;
    pub(super) const MODIFIED: u16 = 2;
    pub(super) const ABBREV: u16 = 3;
}

impl FlowUpdate {
    fn event(&self, version: OfVersion) -> u16 {
        let is_14 = version >= OpenFlow14;
        let pick = |new, old| if is_14 { new } else { old };
        match self {
            Self::Rule(change) => match change.event {
                MonitorEvent::Initial => pick(event_14::INITIAL, event::ADDED),
                MonitorEvent::Added => pick(event_14::ADDED, event::ADDED),
                MonitorEvent::Removed(_) => pick(event_14::REMOVED, event::REMOVED),
                MonitorEvent::Modified => pick(event_14::MODIFIED, event::MODIFIED),
            },
            Self::Abbrev(_) => pick(event_14::ABBREV, event::ABBREV),
            Self::Paused => event_14::PAUSED,
            Self::Resumed => event_14::RESUMED,
        }
    }

    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        let start = out.len();
        out.u16(0);
        out.u16(self.event(version));
        match self {
            Self::Rule(change) => change.put(out, version),
            Self::Abbrev(xid) => out.u32(*xid),
            Self::Paused | Self::Resumed => out.zeros(4),
        }
        out.set_len(start, start);
    }

    pub(crate) fn decode(input: &mut Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let mut header = *input;
        let len = usize::from(header.u16()?);
        if len % 8 != 0 {
            return Err(ErrorCode::BadLength);
        }
        let mut entry = input.part(len, ErrorCode::BadLength)?;
        entry.skip(2)?;
        let number = entry.u16()?;
        let rule = |update, entry| {
            MonitoredRule::decode(update, entry, version).map(|change| Self::Rule(Box::new(change)))
        };
        // The reason of a removal comes with the rest of the change.
        let removed = MonitorEvent::Removed(FlowRemovedReason::Delete);
        if version < OpenFlow14 {
            return match number {
                event::ADDED => rule(MonitorEvent::Added, entry),
                event::REMOVED => rule(removed, entry),
                event::MODIFIED => rule(MonitorEvent::Modified, entry),
                event::ABBREV => Ok(Self::Abbrev(entry.u32()?)),
                _ => Err(ErrorCode::MonitorEvent),
            };
        }
        match number {
            event_14::INITIAL => rule(MonitorEvent::Initial, entry),
            event_14::ADDED => rule(MonitorEvent::Added, entry),
            event_14::REMOVED => rule(removed, entry),
            event_14::MODIFIED => rule(MonitorEvent::Modified, entry),
            event_14::ABBREV => Ok(Self::Abbrev(entry.u32()?)),
            event_14::PAUSED => Ok(Self::Paused),
            event_14::RESUMED => Ok(Self::Resumed),
            _ => Err(ErrorCode::MonitorEvent),
        }
    }
}

impl MonitoredRule {
    fn reason(&self) -> u8 {
        match self.event {
            MonitorEvent::Removed(reason) => reason.number(),
            _ => 0,
        }
    }

    fn put(&self, out: &mut Encoder, version: OfVersion) {
        if version >= OpenFlow14 {
            out.u8(self.table.get());
            out.u8(self.reason());
            out.u16(self.idle_timeout);
            out.u16(self.hard_timeout);
            out.u16(self.priority);
            out.zeros(4);
            out.u64(self.cookie.0);
            matching::put_oxm(out, &self.matching, version);
            return action::put_instructions(out, &self.actions, version);
        }
        out.u16(self.reason().into());
        out.u16(self.priority);
        out.u16(self.idle_timeout);
        out.u16(self.hard_timeout);
        let len_at = out.len();
        out.u16(0);
        out.u8(self.table.get());
        out.zeros(1);
        out.u64(self.cookie.0);
        put_match(out, &self.matching, version, len_at);
        match version {
            OpenFlow13 => action::put_instructions(out, &self.actions, version),
            _ => action::put_list(out, &self.actions, version),
        }
    }

    fn decode(
        update: MonitorEvent,
        mut input: Input<'_>,
        version: OfVersion,
    ) -> Result<Self, ErrorCode> {
        let (table, reason, priority, idle_timeout, hard_timeout, match_len);
        if version >= OpenFlow14 {
            table = input.u8()?;
            reason = input.u8()?;
            idle_timeout = input.u16()?;
            hard_timeout = input.u16()?;
            priority = input.u16()?;
            match_len = 0;
            input.skip(4)?;
        } else {
            reason = input.u16()? as u8;
            priority = input.u16()?;
            idle_timeout = input.u16()?;
            hard_timeout = input.u16()?;
            match_len = usize::from(input.u16()?);
            table = input.u8()?;
            input.skip(1)?;
        }
        let table = TableId::new(table).ok_or(ErrorCode::BadTableId)?;
        let cookie = Cookie(input.u64()?);
        let matching = match version < OpenFlow13 {
            true => decode_nx_match(&mut input, match_len)?.0,
            false => matching::decode_11(&mut input)?,
        };
        let actions = match version < OpenFlow13 {
            true => {
                let list = Input::new(input.rest(), ErrorCode::BadActionLength);
                action::decode_list(list, version)?
            }
            false => {
                let list = Input::new(input.rest(), ErrorCode::BadInstructionLength);
                action::decode_instructions(list, version)?
            }
        };
        let event = match update {
            MonitorEvent::Removed(_) => MonitorEvent::Removed(FlowRemovedReason::of_number(reason)),
            update => update,
        };
        Ok(Self { event, table, matching, priority, cookie, idle_timeout, hard_timeout, actions })
    }
}

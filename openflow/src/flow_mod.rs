//! Flow mods: `OFPT_FLOW_MOD` of OpenFlow 1.0 (§5.3.3) and of 1.1 and
//! later (1.3.5 §7.3.4.1), and `NXT_FLOW_MOD`.

use crate::action;
use crate::encoding::Encoding;
use crate::error::ErrorCode;
use crate::input::Input;
use crate::matching::{self, CookieFilter, extensible};
use crate::output::Encoder;
use crate::port;
use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13, OpenFlow14};
use flow::Match;
use flow::flow_mod::{Command, FlowFlags, FlowMod};
use flow::text::{Unfit, check_received};
use flow::types::{Cookie, GroupId, OfPort, OfVersion, TableId};

/// "No buffer" in `buffer_id`: the switch holds no packet that the message is about.
pub(crate) const NO_BUFFER: u32 = u32::MAX;
/// "Every table" (`OFPTT_ALL`), in requests that can be about all.
pub(crate) const EVERY_TABLE: u8 = 0xff;
/// The cookie in a modification that leaves cookies as they are.
const KEEP_COOKIE: u64 = u64::MAX;

/// The bits of `flags` (`OFPFF_*`), with the first version that has each.
const FLAGS: [(u16, OfVersion); 5] = [
    (1, OpenFlow10),
    (1 << 1, OpenFlow10),
    (1 << 2, OpenFlow12),
    (1 << 3, OpenFlow13),
    (1 << 4, OpenFlow13),
];

fn flag_bits(flags: FlowFlags) -> [bool; 5] {
    [
        flags.send_flow_rem,
        flags.check_overlap,
        flags.reset_counts,
        flags.no_packet_counts,
        flags.no_byte_counts,
    ]
}

/// The flags that messages of `version` have, as bits.
pub(crate) fn encode_flags(flags: FlowFlags, version: OfVersion) -> u16 {
    let set = flag_bits(flags).into_iter().zip(FLAGS);
    set.filter(|(is_set, (_, since))| *is_set && version >= *since).map(|(_, (bit, _))| bit).sum()
}

/// The flags of these bits; `None` if one of the bits is no flag in `version`.
pub(crate) fn decode_flags(bits: u16, version: OfVersion) -> Option<FlowFlags> {
    let known: u16 = FLAGS.iter().filter(|(_, since)| version >= *since).map(|(bit, _)| bit).sum();
    let [send_flow_rem, check_overlap, reset_counts, no_packet_counts, no_byte_counts] =
        FLAGS.map(|(bit, _)| bits & bit != 0);
    let flags =
        FlowFlags { send_flow_rem, check_overlap, reset_counts, no_packet_counts, no_byte_counts };
    (bits & !known == 0).then_some(flags)
}

/// The flag of rules for times without a controller, which only OpenFlow 1.0 has (`OFPFF10_EMERG`).
const EMERGENCY: u16 = 4;

fn command_number(command: Command) -> u8 {
    match command {
        Command::Add => 0,
        Command::Modify => 1,
        Command::ModifyStrict => 2,
        Command::Delete => 3,
        Command::DeleteStrict => 4,
    }
}

fn command(number: u8) -> Result<Command, ErrorCode> {
    Ok(match number {
        0 => Command::Add,
        1 => Command::Modify,
        2 => Command::ModifyStrict,
        3 => Command::Delete,
        4 => Command::DeleteStrict,
        _ => return Err(ErrorCode::BadCommand),
    })
}

fn is_deletion(command: Command) -> bool {
    matches!(command, Command::Delete | Command::DeleteStrict)
}

/// The parts of a flow mod that are the same in all forms.
struct Common {
    command: Command,
    table: Option<TableId>,
    matching: Match,
    priority: u16,
    timeouts: (u16, u16),
}

impl Common {
    /// A flow mod without cookies, flags and filters.
    fn flow_mod(self, version: OfVersion) -> FlowMod {
        let mut flow_mod = FlowMod::new(self.command, self.priority, self.matching, Vec::new());
        flow_mod.table = self.table;
        (flow_mod.idle_timeout, flow_mod.hard_timeout) = self.timeouts;
        flow_mod.adds_if_none = adds_if_none(self.command, version);
        flow_mod
    }
}

/// Whether a modification that finds no rule adds one. Later versions change rules only.
fn adds_if_none(command: Command, version: OfVersion) -> bool {
    matches!(command, Command::Modify | Command::ModifyStrict) && version <= OpenFlow11
}

/// Whether a switch can have the rule of a flow mod that a message of `version` carried.
///
/// # Errors
/// An action does not fit the match or the place where it stands.
pub fn check_flow_mod(flow_mod: &FlowMod, version: OfVersion) -> Result<(), ErrorCode> {
    let table = flow_mod.table.or((flow_mod.command == Command::Add).then(TableId::default));
    Ok(check_received(&flow_mod.actions, &flow_mod.matching, table, version)?)
}

/// Ends the reading of a flow mod: what Open vSwitch refuses only if the actions fit their rule, which the
/// receiver checks once more. `permitted` is the result of [`permitted_table`].
fn finish(
    flow_mod: &FlowMod,
    permitted: Result<(), ErrorCode>,
    buffer: u32,
    version: OfVersion,
) -> Result<(), ErrorCode> {
    match permitted.and_then(|()| check_buffer(buffer, flow_mod.command)) {
        Ok(()) => Ok(()),
        Err(late) => check_flow_mod(flow_mod, version).and(Err(late)),
    }
}

/// Checks the number of a buffered packet: there are none.
fn check_buffer(buffer: u32, command: Command) -> Result<(), ErrorCode> {
    match buffer == NO_BUFFER || is_deletion(command) {
        true => Ok(()),
        false => Err(ErrorCode::BufferUnknown),
    }
}

/// The error for flags that the version does not have, unless actions stand where they cannot stand, which Open
/// vSwitch sees before.
fn bad_flags(flow_mod: &FlowMod, version: OfVersion) -> ErrorCode {
    match check_received(&flow_mod.actions, &flow_mod.matching, None, version) {
        Err(why @ Unfit::ActionSet) => why.into(),
        _ => ErrorCode::BadFlags,
    }
}

/// Sets the flags. In OpenFlow 1.0 and 1.1 an addition resets counters; later versions have
/// a flag that says so.
fn set_flags(flow_mod: &mut FlowMod, bits: u16, version: OfVersion) -> Result<(), ErrorCode> {
    let is_emergency = version == OpenFlow10 && bits & EMERGENCY != 0;
    let bits = if is_emergency { bits & !EMERGENCY } else { bits };
    flow_mod.flags = decode_flags(bits, version).ok_or_else(|| bad_flags(flow_mod, version))?;
    if is_emergency {
        // As in Open vSwitch: there is no room for emergency rules.
        let has_timeout = flow_mod.idle_timeout != 0 || flow_mod.hard_timeout != 0;
        let bad = ErrorCode::FlowModBadEmergTimeout;
        return Err(if has_timeout { bad } else { ErrorCode::TableFull });
    }
    if version <= OpenFlow11 && flow_mod.command == Command::Add {
        flow_mod.flags.reset_counts = true;
    }
    Ok(())
}

/// A flow mod to read another one [into](decode_into).
pub(crate) fn blank() -> FlowMod {
    FlowMod::new(Command::Add, 0, Match::any(), Vec::new())
}

/// Reads a standard flow mod.
pub(crate) fn decode(input: Input<'_>, encoding: Encoding) -> Result<FlowMod, ErrorCode> {
    let mut flow_mod = blank();
    decode_into(input, encoding, &mut flow_mod)?;
    Ok(flow_mod)
}

/// Reads a standard flow mod into one that is [`blank`], because a flow mod takes more than 1,500 bytes, which
/// are better not copied from function to function.
pub(crate) fn decode_into(
    input: Input<'_>,
    encoding: Encoding,
    flow_mod: &mut FlowMod,
) -> Result<(), ErrorCode> {
    match encoding.version {
        OpenFlow10 => *flow_mod = decode_10(input, encoding)?,
        version => decode_11(input, version, flow_mod)?,
    }
    Ok(())
}

/// Reads the flow mod of OpenFlow 1.0.
fn decode_10(mut input: Input<'_>, encoding: Encoding) -> Result<FlowMod, ErrorCode> {
    let is_exact = matching::is_exact_10(input);
    let matching = matching::decode_10(&mut input)?;
    let cookie = input.u64()?;
    let Head { mut flow_mod, permitted, buffer, flags } =
        decode_10_rest(&mut input, encoding, cookie, |input| {
            let (buffer, out_port, flags) = (input.u32()?, input.u16()?, input.u16()?);
            Ok((buffer, out_port, flags, matching, None))
        })?;
    if is_exact {
        // A rule without wildcards has the highest priority, whatever its message says (OpenFlow 1.0 §3.4).
        flow_mod.priority = u16::MAX;
    }
    flow_mod.actions = action::decode_list(action_input(input), OpenFlow10)?;
    action::check_rule(&flow_mod.actions)?;
    set_flags(&mut flow_mod, flags, OpenFlow10)?;
    finish(&flow_mod, permitted, buffer, OpenFlow10)?;
    Ok(flow_mod)
}

/// Reads Nicira's flow mod behind its subtype, which has the same body in every version.
pub(crate) fn decode_nxt(mut input: Input<'_>, encoding: Encoding) -> Result<FlowMod, ErrorCode> {
    let cookie = input.u64()?;
    let Head { mut flow_mod, permitted, buffer, flags } =
        decode_10_rest(&mut input, encoding, cookie, |input| {
            let (buffer, out_port, flags) = (input.u32()?, input.u16()?, input.u16()?);
            let len = usize::from(input.u16()?);
            input.skip(6)?;
            let (matching, filter) = decode_nx_match(input, len)?;
            Ok((buffer, out_port, flags, matching, filter))
        })?;
    if flow_mod.command == Command::Add && flow_mod.cookie_filter.is_some() {
        return Err(ErrorCode::NxmInvalid);
    }
    flow_mod.actions = action::decode_list(action_input(input), encoding.version)?;
    action::check_rule(&flow_mod.actions)?;
    set_flags(&mut flow_mod, flags, OpenFlow10)?;
    finish(&flow_mod, permitted, buffer, encoding.version)?;
    Ok(flow_mod)
}

/// Reads an extensible match of `len` bytes and its padding.
pub(crate) fn decode_nx_match(
    input: &mut Input<'_>,
    len: usize,
) -> Result<(Match, Option<CookieFilter>), ErrorCode> {
    if len.next_multiple_of(8) > input.len() {
        return Err(ErrorCode::BadMatchLength);
    }
    let fields = input.part(len, ErrorCode::BadMatchLength)?;
    input.skip_padding(len);
    let (matching, filter) = extensible::decode(fields)?;
    // A filter that looks at no bit restricts nothing.
    Ok((matching, filter.filter(|(_, mask)| mask.0 != 0)))
}

/// What both forms of OpenFlow 1.0 have behind the priority: buffer, output port,
/// flags, match, filter for cookies.
type Rest = (u32, u16, u16, Match, Option<CookieFilter>);

/// What stands in front of the actions.
struct Head {
    /// The flow mod without its flags and actions.
    flow_mod: FlowMod,
    /// Whether the table may be changed; see [`permitted_table`].
    permitted: Result<(), ErrorCode>,
    /// The number of the buffered packet.
    buffer: u32,
    /// The flags as bits.
    flags: u16,
}

/// Reads what stands between the cookie and the actions.
fn decode_10_rest<'a>(
    input: &mut Input<'a>,
    encoding: Encoding,
    cookie: u64,
    rest: impl FnOnce(&mut Input<'a>) -> Result<Rest, ErrorCode>,
) -> Result<Head, ErrorCode> {
    let number = input.u16()?;
    let timeouts = (input.u16()?, input.u16()?);
    let priority = input.u16()?;
    let (buffer, out_port, flags, matching, filter) = rest(input)?;
    let (table, number) = match encoding.table_id {
        true => ((number >> 8) as u8, number as u8),
        false => (EVERY_TABLE, number.try_into().map_err(|_| ErrorCode::BadCommand)?),
    };
    let command = command(number)?;
    let (table, permitted) = permitted_table(table);
    let common = Common { command, table, matching, priority, timeouts };
    let mut flow_mod = common.flow_mod(OpenFlow10);
    flow_mod.cookie_filter = filter;
    if !is_deletion(command) {
        flow_mod.modify_cookie = command != Command::Add && cookie != KEEP_COOKIE;
        // Without a cookie there is none for a rule that would be added.
        flow_mod.adds_if_none = flow_mod.modify_cookie;
        flow_mod.cookie =
            Cookie(if cookie == KEEP_COOKIE && command != Command::Add { 0 } else { cookie });
    } else {
        flow_mod.out_port = Some(OfPort(out_port)).filter(|port| *port != OfPort::NONE);
    }
    Ok(Head { flow_mod, permitted, buffer, flags })
}

/// The table of a number in a request; `None` for [`EVERY_TABLE`].
pub(crate) fn decode_table(number: u8, bad: ErrorCode) -> Result<Option<TableId>, ErrorCode> {
    match number {
        EVERY_TABLE => Ok(None),
        n => TableId::new(n).map(Some).ok_or(bad),
    }
}

/// The rest of a message as a list of actions.
fn action_input(input: Input<'_>) -> Input<'_> {
    Input::new(input.rest(), ErrorCode::BadActionLength)
}

/// Reads the flow mod of OpenFlow 1.1 and later into one that is [`blank`].
fn decode_11(
    mut input: Input<'_>,
    version: OfVersion,
    flow_mod: &mut FlowMod,
) -> Result<(), ErrorCode> {
    let (cookie, cookie_mask) = (input.u64()?, input.u64()?);
    let (table, number) = (input.u8()?, input.u8()?);
    (flow_mod.idle_timeout, flow_mod.hard_timeout) = (input.u16()?, input.u16()?);
    flow_mod.priority = input.u16()?;
    let buffer = input.u32()?;
    let out_port = input.u32()?;
    let (out_group, flags, importance) = (GroupId(input.u32()?), input.u16()?, input.u16()?);
    matching::decode_11_into(&mut input, &mut flow_mod.matching)?;
    let known = command(number);
    let command = known.unwrap_or(Command::Add);
    if table == EVERY_TABLE && (version == OpenFlow11 || !is_deletion(command)) {
        return Err(ErrorCode::FlowModTable);
    }
    let out_port = port::decode_32(out_port, ErrorCode::BadOutPort)?;
    known?;
    let permitted;
    (flow_mod.table, permitted) = permitted_table(table);
    flow_mod.command = command;
    flow_mod.adds_if_none = adds_if_none(command, version);
    let filters = cookie_mask != 0;
    if command == Command::Add || flow_mod.adds_if_none && !filters {
        // A rule that a modification adds gets the cookie; rules that it changes keep theirs.
        flow_mod.cookie = Cookie(cookie);
    } else {
        let filter = (Cookie(cookie), Cookie(cookie_mask));
        flow_mod.cookie_filter = Some(filter).filter(|_| filters);
    }
    if version >= OpenFlow14 {
        flow_mod.importance = importance;
    }
    if is_deletion(command) {
        flow_mod.out_port = Some(out_port).filter(|port| *port != OfPort::NONE);
        flow_mod.out_group = Some(out_group).filter(|group| *group != GroupId::ANY);
    }
    let instructions = Input::new(input.rest(), ErrorCode::BadInstructionLength);
    flow_mod.actions = action::decode_instructions(instructions, version)?;
    action::check_rule(&flow_mod.actions)?;
    set_flags(flow_mod, flags, version)?;
    finish(flow_mod, permitted, buffer, version)
}

/// The table of a number in a flow mod, and whether it may be changed: Open vSwitch has an internal table
/// behind the last one, which nobody may change, and says so behind everything else.
fn permitted_table(number: u8) -> (Option<TableId>, Result<(), ErrorCode>) {
    match decode_table(number, ErrorCode::RequestPermission) {
        Ok(table) => (table, Ok(())),
        Err(code) => (None, Err(code)),
    }
}

/// Writes the flow mod of OpenFlow 1.0, or Nicira's behind its subtype.
pub(crate) fn put_10(out: &mut Encoder, flow_mod: &FlowMod, encoding: Encoding) {
    let cookie = match flow_mod.command {
        Command::Add => flow_mod.cookie.0,
        _ if flow_mod.modify_cookie => flow_mod.cookie.0,
        Command::Modify | Command::ModifyStrict => KEEP_COOKIE,
        Command::Delete | Command::DeleteStrict => 0,
    };
    if !encoding.nxm {
        matching::put_10(out, &flow_mod.matching);
    }
    out.u64(cookie);
    let table = if encoding.table_id { table_number(flow_mod) } else { 0 };
    out.u16(u16::from(table) << 8 | u16::from(command_number(flow_mod.command)));
    out.u16(flow_mod.idle_timeout);
    out.u16(flow_mod.hard_timeout);
    out.u16(flow_mod.priority);
    out.u32(NO_BUFFER);
    out.u16(flow_mod.out_port.unwrap_or(OfPort::NONE).0);
    out.u16(encode_flags(flow_mod.flags, OpenFlow10));
    if encoding.nxm {
        let len_at = out.len();
        out.zeros(8);
        let start = out.len();
        extensible::put(out, &flow_mod.matching, OpenFlow10, flow_mod.cookie_filter);
        out.set_len(len_at, start);
        out.pad(start);
    }
    action::put_list(out, &flow_mod.actions, encoding.version);
}

fn table_number(flow_mod: &FlowMod) -> u8 {
    flow_mod.table.map_or(EVERY_TABLE, TableId::get)
}

/// Writes the flow mod of OpenFlow 1.1 and later.
pub(crate) fn put_11(out: &mut Encoder, flow_mod: &FlowMod, version: OfVersion) {
    let adds_if_none = adds_if_none(flow_mod.command, version);
    let (cookie, mask) = match flow_mod.command {
        Command::Add => (flow_mod.cookie.0, 0),
        _ if adds_if_none && flow_mod.cookie_filter.is_none() => (flow_mod.cookie.0, 0),
        _ => flow_mod.cookie_filter.map_or((0, 0), |(cookie, mask)| (cookie.0, mask.0)),
    };
    out.u64(cookie);
    out.u64(mask);
    let is_every =
        flow_mod.table.is_none() && is_deletion(flow_mod.command) && version >= OpenFlow12;
    out.u8(if is_every { EVERY_TABLE } else { flow_mod.table.map_or(0, TableId::get) });
    out.u8(command_number(flow_mod.command));
    out.u16(flow_mod.idle_timeout);
    out.u16(flow_mod.hard_timeout);
    out.u16(flow_mod.priority);
    out.u32(NO_BUFFER);
    out.u32(port::encode_32(flow_mod.out_port.unwrap_or(OfPort::NONE)));
    out.u32(flow_mod.out_group.unwrap_or(GroupId::ANY).0);
    out.u16(encode_flags(flow_mod.flags, version));
    out.u16(if version >= OpenFlow14 { flow_mod.importance } else { 0 });
    matching::put_11(out, &flow_mod.matching, version);
    action::put_instructions(out, &flow_mod.actions, version);
}

//! Requests for the statistics of rules, and the replies (`OFPST_FLOW`, `OFPST_AGGREGATE`, `NXST_FLOW`,
//! `NXST_AGGREGATE`; OpenFlow 1.3.5 §7.3.5.2).

use crate::action;
use crate::encoding::Encoding;
use crate::error::ErrorCode;
use crate::flow_mod::{EVERY_TABLE, decode_flags, decode_nx_match, decode_table, encode_flags};
use crate::group::{decode_duration, put_duration};
use crate::input::Input;
use crate::matching::{self, extensible};
use crate::output::Encoder;
use crate::port;
use OfVersion::{OpenFlow10, OpenFlow13, OpenFlow14, OpenFlow15};
use flow::Match;
use flow::action::Action;
use flow::flow_mod::{Command, FlowFlags, FlowMod};
use flow::types::{Cookie, GroupId, OfPort, OfVersion, TableId};
use std::borrow::Cow;
use std::time::Duration;

/// A rule with its statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowStats<'a> {
    /// The table of the rule.
    pub table: TableId,
    /// The match of the rule, as the version can say it.
    pub matching: Cow<'a, Match>,
    /// The priority of the rule.
    pub priority: u16,
    /// The cookie of the rule.
    pub cookie: Cookie,
    /// Seconds without a packet after which the rule expires; 0 means never.
    pub idle_timeout: u16,
    /// Seconds after which the rule expires; 0 means never.
    pub hard_timeout: u16,
    /// Rank of the rule when a full table evicts rules. Messages have it from OpenFlow 1.4 on.
    pub importance: u16,
    /// The flags of the rule. Messages have them from OpenFlow 1.3 on.
    pub flags: FlowFlags,
    /// Time since the rule was added, in the precision of nanoseconds.
    pub duration: Duration,
    /// Whole seconds since the last packet. Only replies of Nicira and of OpenFlow 1.5 have it; `None`
    /// if it is not known.
    pub idle_age: Option<u16>,
    /// Whole seconds since the rule was added or modified. Only Nicira's replies have it; `None`
    /// if it is not known.
    pub hard_age: Option<u16>,
    /// Packets that the rule matched.
    pub packets: u64,
    /// The bytes of these packets.
    pub bytes: u64,
    /// The actions of the rule, as the version can say them.
    pub actions: Cow<'a, [Action]>,
}

/// The counters of several rules together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AggregateStats {
    /// Packets that the rules matched.
    pub packets: u64,
    /// The bytes of these packets.
    pub bytes: u64,
    /// The number of rules.
    pub flows: u32,
}

/// A request for no rule in particular: it names the rules that such a deletion would delete.
fn filter(matching: Match, table: Option<TableId>) -> FlowMod {
    FlowMod { table, ..FlowMod::new(Command::Delete, 0, matching, Vec::new()) }
}

/// Reads the request of OpenFlow 1.0.
pub(crate) fn decode_request_10(input: &mut Input<'_>) -> Result<FlowMod, ErrorCode> {
    let matching = matching::decode_10(input)?;
    let table = decode_table(input.u8()?, ErrorCode::BadTableId)?;
    input.skip(1)?;
    let out_port = OfPort(input.u16()?);
    let out_port = Some(out_port).filter(|port| *port != OfPort::NONE);
    Ok(FlowMod { out_port, ..filter(matching, table) })
}

/// Reads Nicira's request.
pub(crate) fn decode_request_nxst(input: &mut Input<'_>) -> Result<FlowMod, ErrorCode> {
    let (out_port, len) = (OfPort(input.u16()?), usize::from(input.u16()?));
    let table = input.u8()?;
    input.skip(3)?;
    let (matching, cookie_filter) = decode_nx_match(input, len)?;
    let table = decode_table(table, ErrorCode::BadTableId)?;
    let out_port = Some(out_port).filter(|port| *port != OfPort::NONE);
    Ok(FlowMod { out_port, cookie_filter, ..filter(matching, table) })
}

/// Reads the request of OpenFlow 1.1 and later.
pub(crate) fn decode_request_11(input: &mut Input<'_>) -> Result<FlowMod, ErrorCode> {
    let table = input.u8()?;
    input.skip(3)?;
    let out_port = port::decode_32(input.u32()?, ErrorCode::BadOutPort)?;
    let out_group = GroupId(input.u32()?);
    input.skip(4)?;
    let (cookie, mask) = (Cookie(input.u64()?), Cookie(input.u64()?));
    let matching = matching::decode_11(input)?;
    let table = decode_table(table, ErrorCode::BadTableId)?;
    // As in Open vSwitch, what stands behind the match means nothing.
    input.skip(input.len())?;
    Ok(FlowMod {
        out_port: Some(out_port).filter(|port| *port != OfPort::NONE),
        out_group: Some(out_group).filter(|group| *group != GroupId::ANY),
        cookie_filter: Some((cookie, mask)).filter(|_| mask.0 != 0),
        ..filter(matching, table)
    })
}

/// Writes the request in the form of `encoding`.
pub(crate) fn put_request(out: &mut Encoder, request: &FlowMod, encoding: Encoding) {
    let table = request.table.map_or(EVERY_TABLE, TableId::get);
    let out_port = request.out_port.unwrap_or(OfPort::NONE);
    if !encoding.is_10() {
        out.u8(table);
        out.zeros(3);
        out.u32(port::encode_32(out_port));
        out.u32(request.out_group.unwrap_or(GroupId::ANY).0);
        out.zeros(4);
        let (cookie, mask) = request.cookie_filter.unwrap_or_default();
        out.u64(cookie.0);
        out.u64(mask.0);
        matching::put_11(out, &request.matching, encoding.version);
    } else if encoding.nxm {
        out.u16(out_port.0);
        let len_at = out.len();
        out.u16(0);
        out.u8(table);
        out.zeros(3);
        let start = out.len();
        extensible::put(out, &request.matching, OpenFlow10, request.cookie_filter);
        out.set_len(len_at, start);
        out.pad(start);
    } else {
        matching::put_10(out, &request.matching);
        out.u8(table);
        out.zeros(1);
        out.u16(out_port.0);
    }
}

impl FlowStats<'_> {
    /// Writes the entry of a rule in a reply.
    pub(crate) fn put(&self, out: &mut Encoder, encoding: Encoding) {
        if encoding.version >= OpenFlow15 {
            return self.put_15(out, encoding.version);
        }
        let start = out.len();
        out.u16(0);
        out.u8(self.table.get());
        out.zeros(1);
        if encoding.is_10() && !encoding.nxm {
            matching::put_10(out, &self.matching);
        }
        put_duration(out, self.duration);
        out.u16(self.priority);
        out.u16(self.idle_timeout);
        out.u16(self.hard_timeout);
        if !encoding.is_10() {
            let version = encoding.version;
            let has_flags = version >= OpenFlow13;
            out.u16(if has_flags { encode_flags(self.flags, version) } else { 0 });
            out.u16(if version >= OpenFlow14 { self.importance } else { 0 });
            out.zeros(2);
            self.put_counters(out);
            matching::put_oxm(out, &self.matching, version);
            action::put_instructions(out, &self.actions, version);
        } else if encoding.nxm {
            let len_at = out.len();
            out.u16(0);
            out.u16(encode_age(self.idle_age));
            out.u16(encode_age(self.hard_age));
            self.put_counters(out);
            let fields = out.len();
            extensible::put(out, &self.matching, OpenFlow10, None);
            out.set_len(len_at, fields);
            out.pad(fields);
            action::put_list(out, &self.actions, OpenFlow10);
        } else {
            out.zeros(6);
            self.put_counters(out);
            action::put_list(out, &self.actions, OpenFlow10);
        }
        out.set_len(start, start);
    }

    /// Writes the entry of OpenFlow 1.5, whose counters are a list (`ofp_flow_desc`).
    fn put_15(&self, out: &mut Encoder, version: OfVersion) {
        let start = out.len();
        out.zeros(4);
        out.u8(self.table.get());
        out.zeros(1);
        out.u16(self.priority);
        out.u16(self.idle_timeout);
        out.u16(self.hard_timeout);
        out.u16(encode_flags(self.flags, version));
        out.u16(self.importance);
        out.u64(self.cookie.0);
        matching::put_oxm(out, &self.matching, version);
        let counters = Counters {
            duration: Some(self.duration),
            idle: self.idle_age.map(|age| Duration::from_secs(age.into())),
            packets: Some(self.packets),
            bytes: Some(self.bytes),
            flows: None,
        };
        counters.put(out);
        action::put_instructions(out, &self.actions, version);
        out.set_len(start, start);
    }

    fn decode_15(
        input: &mut Input<'_>,
        version: OfVersion,
    ) -> Result<FlowStats<'static>, ErrorCode> {
        let mut header = *input;
        let len = usize::from(header.u16()?);
        let mut entry = input.part(len, ErrorCode::BadLength)?;
        entry.skip(4)?;
        let table = TableId::new(entry.u8()?).ok_or(ErrorCode::BadTableId)?;
        entry.skip(1)?;
        let (priority, idle_timeout, hard_timeout) = (entry.u16()?, entry.u16()?, entry.u16()?);
        let flags = decode_flags(entry.u16()?, version).ok_or(ErrorCode::BadFlags)?;
        let (importance, cookie) = (entry.u16()?, Cookie(entry.u64()?));
        let matching = matching::decode_11(&mut entry)?;
        let counters = Counters::decode(&mut entry)?;
        let list = Input::new(entry.rest(), ErrorCode::BadInstructionLength);
        Ok(FlowStats {
            table,
            matching: Cow::Owned(matching),
            priority,
            cookie,
            idle_timeout,
            hard_timeout,
            importance,
            flags,
            duration: counters.duration.unwrap_or_default(),
            idle_age: counters.idle.map(|idle| idle.as_secs().try_into().unwrap_or(u16::MAX)),
            hard_age: None,
            packets: counters.packets.unwrap_or_default(),
            bytes: counters.bytes.unwrap_or_default(),
            actions: Cow::Owned(action::decode_instructions(list, version)?),
        })
    }

    fn put_counters(&self, out: &mut Encoder) {
        out.u64(self.cookie.0);
        out.u64(self.packets);
        out.u64(self.bytes);
    }

    /// Reads the next entry of a reply.
    pub(crate) fn decode(
        input: &mut Input<'_>,
        encoding: Encoding,
    ) -> Result<FlowStats<'static>, ErrorCode> {
        if encoding.version >= OpenFlow15 {
            return FlowStats::decode_15(input, encoding.version);
        }
        let mut header = *input;
        let len = usize::from(header.u16()?);
        let mut entry = input.part(len, ErrorCode::BadLength)?;
        entry.skip(2)?;
        let table = TableId::new(entry.u8()?).ok_or(ErrorCode::BadTableId)?;
        entry.skip(1)?;
        let is_standard_10 = encoding.is_10() && !encoding.nxm;
        let standard = is_standard_10.then(|| matching::decode_10(&mut entry)).transpose()?;
        let duration = decode_duration(&mut entry)?;
        let (priority, idle_timeout, hard_timeout) = (entry.u16()?, entry.u16()?, entry.u16()?);
        let (mut flags, mut importance, mut match_len) = (FlowFlags::default(), 0, 0);
        let (mut idle_age, mut hard_age) = (None, None);
        if !encoding.is_10() {
            let version = encoding.version;
            let (bits, rank) = (entry.u16()?, entry.u16()?);
            if version >= OpenFlow13 {
                flags = decode_flags(bits, version).ok_or(ErrorCode::BadFlags)?;
            }
            importance = if version >= OpenFlow14 { rank } else { 0 };
            entry.skip(2)?;
        } else if encoding.nxm {
            match_len = usize::from(entry.u16()?);
            idle_age = decode_age(entry.u16()?);
            hard_age = decode_age(entry.u16()?);
        } else {
            entry.skip(6)?;
        }
        let (cookie, packets, bytes) = (Cookie(entry.u64()?), entry.u64()?, entry.u64()?);
        let matching = match standard {
            Some(matching) => matching,
            None if encoding.is_10() => decode_nx_match(&mut entry, match_len)?.0,
            None => matching::decode_11(&mut entry)?,
        };
        let actions = match encoding.is_10() {
            true => {
                let list = Input::new(entry.rest(), ErrorCode::BadActionLength);
                action::decode_list(list, OpenFlow10)?
            }
            false => {
                let list = Input::new(entry.rest(), ErrorCode::BadInstructionLength);
                action::decode_instructions(list, encoding.version)?
            }
        };
        Ok(FlowStats {
            table,
            matching: Cow::Owned(matching),
            priority,
            cookie,
            idle_timeout,
            hard_timeout,
            importance,
            flags,
            duration,
            idle_age,
            hard_age,
            packets,
            bytes,
            actions: Cow::Owned(actions),
        })
    }
}

/// An age in a message: one more than the seconds, and 0 if it is not known.
fn encode_age(age: Option<u16>) -> u16 {
    age.map_or(0, |age| age.saturating_add(1))
}

fn decode_age(bits: u16) -> Option<u16> {
    bits.checked_sub(1)
}

/// The counters of OpenFlow 1.5: a list of fields (OXS, OpenFlow 1.5.1 §7.2.4).
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) duration: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) packets: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) flows: Option<u32>,
}

/// The class of the fields that the specification defines (`OFPXSC_OPENFLOW_BASIC`).
const OXS_CLASS: u16 = 0x8002;

/// The numbers of these fields (`OXS_OF_*`).
mod oxs {
    pub(super) const DURATION: u8 = 0;
    pub(super) const IDLE_TIME: u8 = 1;
    pub(super) const FLOW_COUNT: u8 = 3;
    pub(super) const PACKET_COUNT: u8 = 4;
    pub(super) const BYTE_COUNT: u8 = 5;
}

impl Counters {
    pub(crate) fn put(&self, out: &mut Encoder) {
        let start = out.len();
        out.zeros(4);
        let mut field = |number: u8, value: u64, size: u8| {
            out.u16(OXS_CLASS);
            out.u8(number << 1);
            out.u8(size);
            out.integer(value.into(), size.into());
        };
        let time = |time: Duration| time.as_secs() << 32 | u64::from(time.subsec_nanos());
        if let Some(duration) = self.duration {
            field(oxs::DURATION, time(duration), 8);
        }
        if let Some(idle) = self.idle {
            field(oxs::IDLE_TIME, time(idle), 8);
        }
        if let Some(packets) = self.packets {
            field(oxs::PACKET_COUNT, packets, 8);
        }
        if let Some(bytes) = self.bytes {
            field(oxs::BYTE_COUNT, bytes, 8);
        }
        if let Some(flows) = self.flows {
            field(oxs::FLOW_COUNT, flows.into(), 4);
        }
        out.set_len(start + 2, start);
        out.pad(start);
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, ErrorCode> {
        input.skip(2)?;
        let len = usize::from(input.u16()?);
        let size = len.checked_sub(4).ok_or(ErrorCode::BadLength)?;
        let mut list = input.part(size, ErrorCode::BadLength)?;
        input.skip_padding(len);
        let mut counters = Self::default();
        while !list.is_empty() {
            let (class, number, size) = (list.u16()?, list.u8()? >> 1, list.u8()?);
            let mut value = list.part(size.into(), ErrorCode::BadLength)?;
            if class != OXS_CLASS {
                continue;
            }
            match number {
                oxs::DURATION => counters.duration = Some(decode_duration(&mut value)?),
                oxs::IDLE_TIME => counters.idle = Some(decode_duration(&mut value)?),
                oxs::FLOW_COUNT => counters.flows = Some(value.u32()?),
                oxs::PACKET_COUNT => counters.packets = Some(value.u64()?),
                oxs::BYTE_COUNT => counters.bytes = Some(value.u64()?),
                _ => {}
            }
        }
        Ok(counters)
    }
}

impl AggregateStats {
    pub(crate) fn put(self, out: &mut Encoder, version: OfVersion) {
        if version >= OpenFlow15 {
            let (packets, bytes) = (Some(self.packets), Some(self.bytes));
            let flows = Some(self.flows);
            return Counters { packets, bytes, flows, ..Counters::default() }.put(out);
        }
        out.u64(self.packets);
        out.u64(self.bytes);
        out.u32(self.flows);
        out.zeros(4);
    }

    pub(crate) fn decode(input: &mut Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        if version >= OpenFlow15 {
            let Counters { packets, bytes, flows, .. } = Counters::decode(input)?;
            let (packets, bytes) = (packets.unwrap_or_default(), bytes.unwrap_or_default());
            return Ok(Self { packets, bytes, flows: flows.unwrap_or_default() });
        }
        let stats = Self { packets: input.u64()?, bytes: input.u64()?, flows: input.u32()? };
        input.skip(4)?;
        Ok(stats)
    }
}

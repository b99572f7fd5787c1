//! Rules that are gone: `OFPT_FLOW_REMOVED` of OpenFlow 1.0 (§5.4.3), of 1.1 and later (1.3.5 §7.4.2) and of
//! 1.5, and `NXT_FLOW_REMOVED`.

use crate::encoding::Encoding;
use crate::error::ErrorCode;
use crate::flow_mod::{EVERY_TABLE, decode_nx_match};
use crate::flow_stats::Counters;
use crate::group::{decode_duration, put_duration};
use crate::input::Input;
use crate::matching::{self, extensible};
use crate::output::Encoder;
use OfVersion::{OpenFlow10, OpenFlow14, OpenFlow15};
use flow::Match;
use flow::types::{Cookie, OfVersion, TableId};
use std::time::Duration;

/// Why a rule was removed (`OFPRR_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowRemovedReason {
    /// No packet matched the rule for its idle timeout.
    IdleTimeout,
    /// The hard timeout of the rule is over.
    HardTimeout,
    /// A flow mod deleted the rule.
    Delete,
    /// A group that the rule led to was deleted. OpenFlow 1.0 to 1.2 do not define this reason.
    GroupDelete,
    /// A meter that the rule used was deleted. Messages before OpenFlow 1.4 say [`Delete`](Self::Delete).
    MeterDelete,
    /// A full table made room. Versions before OpenFlow 1.4 do not define this reason.
    Eviction,
    /// A reason that no version defines.
    Other(u8),
}

impl FlowRemovedReason {
    /// The number of the reason in messages of OpenFlow 1.4 and later.
    pub fn number(self) -> u8 {
        match self {
            Self::IdleTimeout => 0,
            Self::HardTimeout => 1,
            Self::Delete => 2,
            Self::GroupDelete => 3,
            Self::MeterDelete => 4,
            Self::Eviction => 5,
            Self::Other(number) => number,
        }
    }

    pub(crate) fn of_number(number: u8) -> Self {
        match number {
            0 => Self::IdleTimeout,
            1 => Self::HardTimeout,
            2 => Self::Delete,
            3 => Self::GroupDelete,
            4 => Self::MeterDelete,
            5 => Self::Eviction,
            other => Self::Other(other),
        }
    }
}

/// A rule that is gone, with its last counters.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRemoved {
    /// The match of the rule, as the version can say it.
    pub matching: Match,
    /// The priority of the rule.
    pub priority: u16,
    /// The cookie of the rule.
    pub cookie: Cookie,
    /// Why the rule was removed.
    pub reason: FlowRemovedReason,
    /// The table that had the rule; `None` if the message does not say it, as the standard one of OpenFlow 1.0.
    pub table: Option<TableId>,
    /// How long the rule was there, in the precision of nanoseconds.
    pub duration: Duration,
    /// Seconds without a packet after which the rule would have expired; 0 means never.
    pub idle_timeout: u16,
    /// Seconds after which the rule would have expired; 0 means never. Messages of OpenFlow 1.0 lack this.
    pub hard_timeout: u16,
    /// Packets that the rule matched; `None` if they were not counted.
    pub packets: Option<u64>,
    /// The bytes of these packets; `None` if they were not counted.
    pub bytes: Option<u64>,
}

/// A counter in messages that can say "not counted", which is a number of all ones.
fn known(counter: Option<u64>) -> u64 {
    counter.unwrap_or(u64::MAX)
}

fn counter(number: u64) -> Option<u64> {
    Some(number).filter(|number| *number != u64::MAX)
}

impl FlowRemoved {
    fn reason_number(&self, version: OfVersion) -> u8 {
        match self.reason {
            FlowRemovedReason::MeterDelete if version < OpenFlow14 => {
                FlowRemovedReason::Delete.number()
            }
            reason => reason.number(),
        }
    }

    /// Writes the body of `OFPT_FLOW_REMOVED`.
    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        if version >= OpenFlow15 {
            return self.put_15(out, version);
        }
        let reason = self.reason_number(version);
        if version == OpenFlow10 {
            matching::put_10(out, &self.matching);
        }
        out.u64(self.cookie.0);
        out.u16(self.priority);
        out.u8(reason);
        if version == OpenFlow10 {
            out.zeros(1);
            put_duration(out, self.duration);
            out.u16(self.idle_timeout);
            out.zeros(2);
            // OpenFlow 1.0 has no number for "not counted".
            out.u64(self.packets.unwrap_or_default());
            out.u64(self.bytes.unwrap_or_default());
            return;
        }
        out.u8(self.table.map_or(EVERY_TABLE, TableId::get));
        put_duration(out, self.duration);
        out.u16(self.idle_timeout);
        out.u16(self.hard_timeout);
        out.u64(known(self.packets));
        out.u64(known(self.bytes));
        matching::put_11(out, &self.matching, version);
    }

    fn put_15(&self, out: &mut Encoder, version: OfVersion) {
        out.u8(self.table.map_or(EVERY_TABLE, TableId::get));
        out.u8(self.reason.number());
        out.u16(self.priority);
        out.u16(self.idle_timeout);
        out.u16(self.hard_timeout);
        out.u64(self.cookie.0);
        matching::put_11(out, &self.matching, version);
        let counters = Counters {
            duration: Some(self.duration),
            packets: self.packets,
            bytes: self.bytes,
            ..Counters::default()
        };
        counters.put(out);
    }

    /// Writes the body of `NXT_FLOW_REMOVED` behind the subtype.
    pub(crate) fn put_nxt(&self, out: &mut Encoder) {
        out.u64(self.cookie.0);
        out.u16(self.priority);
        out.u8(self.reason_number(OpenFlow10));
        // One more than the number of the table, so that 0 says that the sender does not know it.
        out.u8(self.table.map_or(0, |table| table.get() + 1));
        put_duration(out, self.duration);
        out.u16(self.idle_timeout);
        let len_at = out.len();
        out.u16(0);
        out.u64(known(self.packets));
        out.u64(known(self.bytes));
        let start = out.len();
        extensible::put(out, &self.matching, OpenFlow10, None);
        out.set_len(len_at, start);
        out.pad(start);
    }

    pub(crate) fn decode(mut input: Input<'_>, encoding: Encoding) -> Result<Self, ErrorCode> {
        let version = encoding.version;
        match version {
            OpenFlow10 => Self::decode_10(&mut input),
            OpenFlow15 => Self::decode_15(&mut input),
            _ => Self::decode_11(&mut input),
        }
    }

    fn decode_10(input: &mut Input<'_>) -> Result<Self, ErrorCode> {
        let matching = matching::decode_10(input)?;
        let (cookie, priority) = (Cookie(input.u64()?), input.u16()?);
        let reason = FlowRemovedReason::of_number(input.u8()?);
        input.skip(1)?;
        let (duration, idle_timeout) = (decode_duration(input)?, input.u16()?);
        input.skip(2)?;
        let (packets, bytes) = (Some(input.u64()?), Some(input.u64()?));
        let (table, hard_timeout) = (None, 0);
        Ok(Self {
            matching,
            priority,
            cookie,
            reason,
            table,
            duration,
            idle_timeout,
            hard_timeout,
            packets,
            bytes,
        })
    }

    fn decode_11(input: &mut Input<'_>) -> Result<Self, ErrorCode> {
        let (cookie, priority) = (Cookie(input.u64()?), input.u16()?);
        let reason = FlowRemovedReason::of_number(input.u8()?);
        let table = TableId::new(input.u8()?);
        let (duration, idle_timeout) = (decode_duration(input)?, input.u16()?);
        let hard_timeout = input.u16()?;
        let (packets, bytes) = (counter(input.u64()?), counter(input.u64()?));
        let matching = matching::decode_11(input)?;
        Ok(Self {
            matching,
            priority,
            cookie,
            reason,
            table,
            duration,
            idle_timeout,
            hard_timeout,
            packets,
            bytes,
        })
    }

    fn decode_15(input: &mut Input<'_>) -> Result<Self, ErrorCode> {
        let table = TableId::new(input.u8()?);
        let reason = FlowRemovedReason::of_number(input.u8()?);
        let (priority, idle_timeout, hard_timeout) = (input.u16()?, input.u16()?, input.u16()?);
        let cookie = Cookie(input.u64()?);
        let matching = matching::decode_11(input)?;
        let counters = Counters::decode(input)?;
        Ok(Self {
            matching,
            priority,
            cookie,
            reason,
            table,
            duration: counters.duration.unwrap_or_default(),
            idle_timeout,
            hard_timeout,
            packets: counters.packets,
            bytes: counters.bytes,
        })
    }

    /// Reads `NXT_FLOW_REMOVED` behind its subtype.
    pub(crate) fn decode_nxt(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let (cookie, priority) = (Cookie(input.u64()?), input.u16()?);
        let reason = FlowRemovedReason::of_number(input.u8()?);
        let table = input.u8()?.checked_sub(1).and_then(TableId::new);
        let (duration, idle_timeout) = (decode_duration(&mut input)?, input.u16()?);
        let len = usize::from(input.u16()?);
        let (packets, bytes) = (counter(input.u64()?), counter(input.u64()?));
        let (matching, _) = decode_nx_match(&mut input, len)?;
        if !input.is_empty() {
            return Err(ErrorCode::BadLength);
        }
        Ok(Self {
            matching,
            priority,
            cookie,
            reason,
            table,
            duration,
            idle_timeout,
            hard_timeout: 0,
            packets,
            bytes,
        })
    }
}

//! Which message the bytes are: its name in Open vSwitch, and the sizes that it can have.
//!
//! The names are those of Open vSwitch's `ofpraw`: `OFPT_` of plain messages, `OFPST_` of multiparts, `NXT_`
//! and `NXST_` of Nicira's, `ONFT_` and `ONFST_` of the ONF's.

use crate::error::ErrorCode;
use crate::header::{HEADER_SIZE, MessageHeader};

/// The numbers of experimenters.
const NICIRA: u32 = 0x2320;
const ONF: u32 = 0x4f4e_4600;
/// The size of the counters of IPFIX.
const IPFIX_STATS: usize = 88;

/// Why bytes are no message that Open vSwitch knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKind {
    /// The type of the message is not known.
    Type,
    /// The type of the multipart is not known.
    Multipart,
    /// The experimenter is not known.
    Vendor,
    /// The message of the experimenter is not known.
    Subtype,
    /// The message is too short to say what it is.
    Length,
}

impl NoKind {
    /// The error that a switch would send.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Type => ErrorCode::BadType,
            Self::Multipart => ErrorCode::BadStat,
            Self::Vendor => ErrorCode::BadVendor,
            Self::Subtype => ErrorCode::BadSubtype,
            Self::Length => ErrorCode::BadLength,
        }
    }
}

/// What kind of message bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageKind {
    /// The name without the direction of a multipart: `OFPST_FLOW`.
    pub name: &'static str,
    /// `Some(true)` for a multipart reply, `Some(false)` for a request, `None` if the message is no multipart.
    pub is_reply: Option<bool>,
    /// Whether only switches send such messages.
    pub is_from_switch: bool,
    /// The size of everything in front of the body, in bytes: headers of the
    /// message, the multipart, the experimenter.
    pub head: usize,
    /// How long the body can be.
    size: Size,
}

/// The sizes that the body of a message can have, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// The body has this number of bytes.
    Exactly(usize),
    /// The body has this number of bytes or more.
    AtLeast(usize),
    /// The first size, and any number of times the second one.
    Steps(usize, usize),
}

use Size::{AtLeast, Exactly, Steps};

impl MessageKind {
    /// The kind of a message that begins with `bytes`.
    ///
    /// # Errors
    /// Open vSwitch knows no such message.
    pub fn of(bytes: &[u8]) -> Result<Self, NoKind> {
        let header = MessageHeader::read(bytes).ok_or(NoKind::Length)?;
        let (version, kind) = (header.version, header.kind);
        let is_10 = version == 1;
        let kind_of = |name, is_from_switch, size| Self {
            name,
            is_reply: None,
            is_from_switch,
            head: HEADER_SIZE,
            size,
        };
        let plain = |name, size| kind_of(name, false, size);
        let told = |name, size| kind_of(name, true, size);
        let by_version = |old, new| if is_10 { old } else { new };
        let (stats_request, stats_reply) = by_version((16, 17), (18, 19));
        Ok(match kind {
            0 => plain("OFPT_HELLO", AtLeast(0)),
            1 => plain("OFPT_ERROR", AtLeast(4)),
            2 => plain("OFPT_ECHO_REQUEST", AtLeast(0)),
            3 => plain("OFPT_ECHO_REPLY", AtLeast(0)),
            4 => return Self::of_experimenter(bytes, version),
            5 => plain("OFPT_FEATURES_REQUEST", Exactly(0)),
            6 => told("OFPT_FEATURES_REPLY", features(version)),
            7 => plain("OFPT_GET_CONFIG_REQUEST", Exactly(0)),
            8 => told("OFPT_GET_CONFIG_REPLY", Exactly(4)),
            9 => plain("OFPT_SET_CONFIG", Exactly(4)),
            10 => told("OFPT_PACKET_IN", AtLeast(packet_in(version))),
            11 => told("OFPT_FLOW_REMOVED", flow_removed(version)),
            12 => told("OFPT_PORT_STATUS", port_status(version)),
            13 => plain("OFPT_PACKET_OUT", AtLeast(packet_out(version))),
            14 => plain("OFPT_FLOW_MOD", Steps(if is_10 { 64 } else { 40 }, 8)),
            kind if kind == stats_request => return Self::of_multipart(bytes, version, false),
            kind if kind == stats_reply => return Self::of_multipart(bytes, version, true),
            15 if is_10 => plain("OFPT_PORT_MOD", Exactly(24)),
            18 if is_10 => plain("OFPT_BARRIER_REQUEST", Exactly(0)),
            19 if is_10 => told("OFPT_BARRIER_REPLY", Exactly(0)),
            20 if is_10 => plain("OFPT_QUEUE_GET_CONFIG_REQUEST", Exactly(4)),
            21 if is_10 => told("OFPT_QUEUE_GET_CONFIG_REPLY", Steps(8, 8)),
            15 if !is_10 => plain("OFPT_GROUP_MOD", Steps(if version >= 6 { 16 } else { 8 }, 8)),
            16 if !is_10 => {
                plain("OFPT_PORT_MOD", if version >= 5 { Steps(24, 8) } else { Exactly(32) })
            }
            17 if !is_10 => {
                plain("OFPT_TABLE_MOD", if version >= 5 { Steps(8, 8) } else { Exactly(8) })
            }
            20 if !is_10 => plain("OFPT_BARRIER_REQUEST", Exactly(0)),
            21 if !is_10 => told("OFPT_BARRIER_REPLY", Exactly(0)),
            22 if !is_10 && version <= 4 => plain("OFPT_QUEUE_GET_CONFIG_REQUEST", Exactly(8)),
            23 if !is_10 && version <= 4 => told("OFPT_QUEUE_GET_CONFIG_REPLY", Steps(8, 8)),
            24 if version >= 3 => plain("OFPT_ROLE_REQUEST", Exactly(16)),
            25 if version >= 3 => told("OFPT_ROLE_REPLY", Exactly(16)),
            26 if version >= 4 => plain("OFPT_GET_ASYNC_REQUEST", Exactly(0)),
            27 if version >= 4 => told("OFPT_GET_ASYNC_REPLY", asynchronous(version)),
            28 if version >= 4 => plain("OFPT_SET_ASYNC", asynchronous(version)),
            29 if version >= 4 => plain("OFPT_METER_MOD", Steps(8, 8)),
            30 if version >= 5 => told("OFPT_ROLE_STATUS", Steps(16, 8)),
            31 if version >= 5 => told("OFPT_TABLE_STATUS", Steps(8, 8)),
            32 if version >= 5 => told("OFPT_REQUESTFORWARD", Steps(8, 8)),
            33 if version >= 5 => plain("OFPT_BUNDLE_CONTROL", Steps(8, 8)),
            34 if version >= 5 => plain("OFPT_BUNDLE_ADD_MESSAGE", AtLeast(8)),
            _ => return Err(NoKind::Type),
        })
    }

    /// A message of an experimenter (`OFPT_EXPERIMENTER`).
    fn of_experimenter(bytes: &[u8], version: u8) -> Result<Self, NoKind> {
        if bytes.len() < 16 {
            return Err(NoKind::Length);
        }
        let vendor = u32_at(bytes, 8);
        if ![NICIRA, ONF].contains(&vendor) {
            return Err(NoKind::Vendor);
        }
        let subtype = u32_at(bytes, 12);
        let (name, size) = match (vendor, subtype) {
            (NICIRA, 10) => ("NXT_ROLE_REQUEST", Exactly(4)),
            (NICIRA, 11) => ("NXT_ROLE_REPLY", Exactly(4)),
            (NICIRA, 12) if version == 1 => ("NXT_SET_FLOW_FORMAT", Exactly(4)),
            (NICIRA, 13) => ("NXT_FLOW_MOD", Steps(32, 8)),
            (NICIRA, 14) => ("NXT_FLOW_REMOVED", Steps(40, 8)),
            (NICIRA, 15) => ("NXT_FLOW_MOD_TABLE_ID", Exactly(8)),
            (NICIRA, 16) => ("NXT_SET_PACKET_IN_FORMAT", Exactly(4)),
            (NICIRA, 17) => ("NXT_PACKET_IN", AtLeast(24)),
            (NICIRA, 18) => ("NXT_FLOW_AGE", Exactly(0)),
            (NICIRA, 19) => ("NXT_SET_ASYNC_CONFIG", Exactly(24)),
            (NICIRA, 20) => ("NXT_SET_CONTROLLER_ID", Exactly(8)),
            (NICIRA, 21) if version <= 3 => ("NXT_FLOW_MONITOR_CANCEL", Exactly(4)),
            (NICIRA, 22) if version <= 3 => ("NXT_FLOW_MONITOR_PAUSED", Exactly(0)),
            (NICIRA, 23) if version <= 3 => ("NXT_FLOW_MONITOR_RESUMED", Exactly(0)),
            (NICIRA, 24) => ("NXT_TLV_TABLE_MOD", Steps(8, 8)),
            (NICIRA, 25) => ("NXT_TLV_TABLE_REQUEST", Exactly(0)),
            (NICIRA, 26) => ("NXT_TLV_TABLE_REPLY", Steps(16, 8)),
            (NICIRA, 27) if version <= 4 => ("NXT_SET_ASYNC_CONFIG2", Steps(0, 8)),
            (NICIRA, 28) => ("NXT_RESUME", Steps(0, 8)),
            (NICIRA, 29) => ("NXT_CT_FLUSH_ZONE", Exactly(8)),
            (NICIRA, 30) => ("NXT_PACKET_IN2", Steps(0, 8)),
            (NICIRA, 31) if version <= 5 => ("NXT_GROUP_MOD", Steps(16, 8)),
            (NICIRA, 32) => ("NXT_CT_FLUSH", Steps(8, 8)),
            (NICIRA, 132) if version <= 3 => ("NXT_REQUESTFORWARD", Steps(8, 8)),
            (ONF, 1870) if version == 4 => ("ONFT_FLOW_MONITOR_CANCEL", Exactly(4)),
            (ONF, 1871) if version == 4 => ("ONFT_FLOW_MONITOR_PAUSED", Exactly(0)),
            (ONF, 1872) if version == 4 => ("ONFT_FLOW_MONITOR_RESUMED", Exactly(0)),
            (ONF, 1911) if version == 4 => ("ONFT_ROLE_STATUS", Steps(16, 8)),
            (ONF, 2300) if version == 4 => ("ONFT_BUNDLE_CONTROL", Steps(8, 8)),
            (ONF, 2301) if version == 4 => ("ONFT_BUNDLE_ADD_MESSAGE", AtLeast(8)),
            (ONF, 2350) if version == 4 => ("ONFT_REQUESTFORWARD", Steps(8, 8)),
            _ => return Err(NoKind::Subtype),
        };
        let is_from_switch = matches!(
            (vendor, subtype),
            (NICIRA, 11 | 14 | 17 | 22 | 23 | 26 | 30 | 132) | (ONF, 1871 | 1872 | 1911 | 2350)
        );
        Ok(Self { name, is_reply: None, is_from_switch, head: 16, size })
    }

    /// A multipart message, which OpenFlow 1.0 to 1.2 call statistics.
    fn of_multipart(bytes: &[u8], version: u8, is_reply: bool) -> Result<Self, NoKind> {
        let is_10 = version == 1;
        let head = if is_10 { 12 } else { 16 };
        if bytes.len() < head {
            return Err(NoKind::Length);
        }
        let kind = u16_at(bytes, 8);
        if kind == 0xffff {
            return Self::of_experimenter_multipart(bytes, version, is_reply);
        }
        // What a request has, and what a reply has.
        let (name, request, reply) = match kind {
            0 => ("OFPST_DESC", Exactly(0), Exactly(1056)),
            1 => ("OFPST_FLOW", by_version(version, 44, 32), AtLeast(0)),
            2 => {
                let reply = if version >= 6 { AtLeast(0) } else { Exactly(24) };
                ("OFPST_AGGREGATE", by_version(version, 44, 32), reply)
            }
            3 => ("OFPST_TABLE", Exactly(0), Steps(0, table_stats(version))),
            4 => ("OFPST_PORT", Exactly(8), Steps(0, port_stats(version))),
            5 => ("OFPST_QUEUE", Exactly(8), Steps(0, queue_stats(version))),
            6 if !is_10 => ("OFPST_GROUP", Exactly(8), Steps(0, 8)),
            7 if !is_10 => {
                ("OFPST_GROUP_DESC", Exactly(if version >= 6 { 8 } else { 0 }), Steps(0, 8))
            }
            8 if version >= 3 => ("OFPST_GROUP_FEATURES", Exactly(0), Exactly(40)),
            9 if version >= 4 => ("OFPST_METER", Exactly(8), Steps(0, 8)),
            10 if version >= 4 => ("OFPST_METER_CONFIG", Exactly(8), Steps(0, 8)),
            11 if version >= 4 => {
                // OpenFlow 1.5 has eight more bytes here, which Open vSwitch neither sends nor takes.
                let reply = if version >= 6 { Steps(16, 8) } else { Exactly(16) };
                ("OFPST_METER_FEATURES", Exactly(0), reply)
            }
            12 if version >= 4 => ("OFPST_TABLE_FEATURES", Steps(0, 8), Steps(64, 8)),
            13 => {
                let request = Exactly(if version >= 6 { 8 } else { 0 });
                ("OFPST_PORT_DESC", request, Steps(0, port_desc(version)))
            }
            14 if version >= 5 => ("OFPST_TABLE_DESC", Exactly(0), Steps(8, 8)),
            15 if version >= 5 => ("OFPST_QUEUE_DESC", Exactly(8), Steps(0, 8)),
            16 if version >= 5 => ("OFPST_FLOW_MONITOR", Steps(0, 8), Steps(0, 8)),
            _ => return Err(NoKind::Multipart),
        };
        let size = if is_reply { reply } else { request };
        Ok(Self { name, is_reply: Some(is_reply), is_from_switch: is_reply, head, size })
    }

    /// A multipart message of an experimenter.
    fn of_experimenter_multipart(
        bytes: &[u8],
        version: u8,
        is_reply: bool,
    ) -> Result<Self, NoKind> {
        let at = if version == 1 { 12 } else { 16 };
        // OpenFlow 1.0 pads the number of the message, so that the body is aligned.
        let head = at + 8 + if version == 1 { 4 } else { 0 };
        // Only in OpenFlow 1.0, a stranger's message may have no number.
        let least = if version == 1 { at + 4 } else { head };
        if bytes.len() < least {
            return Err(NoKind::Length);
        }
        let vendor = u32_at(bytes, at);
        if ![NICIRA, ONF].contains(&vendor) {
            return Err(NoKind::Vendor);
        }
        if bytes.len() < head {
            return Err(NoKind::Length);
        }
        let (name, request, reply) = match (vendor, u32_at(bytes, at + 4)) {
            (NICIRA, 0) if version == 1 => ("NXST_FLOW", Steps(8, 8), AtLeast(0)),
            (NICIRA, 1) if version == 1 => ("NXST_AGGREGATE", Steps(8, 8), Exactly(24)),
            (NICIRA, 2) if version <= 3 => ("NXST_FLOW_MONITOR", Steps(0, 8), Steps(0, 8)),
            (NICIRA, 3) => ("NXST_IPFIX_BRIDGE", Exactly(0), Exactly(IPFIX_STATS)),
            (NICIRA, 4) => ("NXST_IPFIX_FLOW", Exactly(0), Steps(0, IPFIX_STATS)),
            (NICIRA, 7) if version == 1 => ("NXST_GROUP", Exactly(8), Steps(0, 8)),
            (NICIRA, 8) if version == 1 => ("NXST_GROUP_DESC", Exactly(8), Steps(0, 8)),
            (NICIRA, 9) if version <= 2 => ("NXST_GROUP_FEATURES", Exactly(0), Exactly(40)),
            (ONF, 1870) if version == 4 => ("ONFST_FLOW_MONITOR", Steps(0, 8), Steps(0, 8)),
            _ => return Err(NoKind::Subtype),
        };
        let size = if is_reply { reply } else { request };
        Ok(Self { name, is_reply: Some(is_reply), is_from_switch: is_reply, head, size })
    }

    /// The name of the message, as a header shows it: `OFPST_FLOW reply`.
    pub fn name(&self) -> String {
        match self.is_reply {
            None => self.name.to_owned(),
            Some(true) => format!("{} reply", self.name),
            Some(false) => format!("{} request", self.name),
        }
    }

    /// Whether such messages change something, which a slave must not. Multiparts are not among them.
    pub(crate) fn is_change(&self) -> bool {
        matches!(
            self.name,
            "OFPT_FLOW_MOD"
                | "OFPT_PACKET_OUT"
                | "OFPT_PORT_MOD"
                | "OFPT_GROUP_MOD"
                | "OFPT_TABLE_MOD"
                | "OFPT_METER_MOD"
                | "OFPT_BUNDLE_CONTROL"
                | "OFPT_BUNDLE_ADD_MESSAGE"
                | "NXT_FLOW_MOD"
                | "NXT_GROUP_MOD"
                | "NXT_TLV_TABLE_MOD"
                | "ONFT_BUNDLE_CONTROL"
                | "ONFT_BUNDLE_ADD_MESSAGE"
        )
    }

    /// Whether such messages can be part of a bundle. Open vSwitch asks before it reads the body.
    pub fn can_be_in_bundle(&self) -> bool {
        matches!(
            self.name,
            "OFPT_FLOW_MOD"
                | "NXT_FLOW_MOD"
                | "OFPT_GROUP_MOD"
                | "NXT_GROUP_MOD"
                | "OFPT_PORT_MOD"
                | "OFPT_PACKET_OUT"
        )
    }

    /// Whether a message of `len` bytes has no body. Only multiparts can lack the body that their kind has.
    pub(crate) fn lacks_body(&self, len: usize) -> bool {
        len <= self.head
    }

    /// Whether such a message needs a body.
    pub(crate) fn needs_body(&self) -> bool {
        match self.size {
            Exactly(least) | AtLeast(least) | Steps(least, _) => least > 0,
        }
    }

    /// Whether such a message can have this many bytes.
    pub fn fits(&self, len: usize) -> bool {
        let Some(size) = len.checked_sub(self.head) else {
            return false;
        };
        match self.size {
            Exactly(expected) => size == expected,
            AtLeast(least) => size >= least,
            Steps(first, step) => size >= first && (size - first).is_multiple_of(step),
        }
    }
}

fn by_version(version: u8, old: usize, new: usize) -> Size {
    if version == 1 { Exactly(old) } else { Steps(new, 8) }
}

/// The sizes of the body of `OFPT_FEATURES_REPLY`: with descriptions of ports up to OpenFlow 1.2.
fn features(version: u8) -> Size {
    match version {
        1 => Steps(24, 48),
        2 | 3 => Steps(24, 64),
        _ => Exactly(24),
    }
}

fn port_status(version: u8) -> Size {
    match version {
        1 => Exactly(56),
        2..=4 => Exactly(72),
        _ => Steps(48, 8),
    }
}

fn asynchronous(version: u8) -> Size {
    if version == 4 { Exactly(24) } else { Steps(0, 8) }
}

/// The size of the description of a port.
fn port_desc(version: u8) -> usize {
    match version {
        1 => 48,
        2..=4 => 64,
        _ => 8,
    }
}

/// The size of the counters of a port.
fn port_stats(version: u8) -> usize {
    match version {
        1..=3 => 104,
        4 => 112,
        _ => 8,
    }
}

/// The size of the counters of a queue.
fn queue_stats(version: u8) -> usize {
    match version {
        1..=3 => 32,
        4 => 40,
        _ => 8,
    }
}

/// The size of the counters of a table.
fn table_stats(version: u8) -> usize {
    match version {
        1 => 64,
        2 => 88,
        3 => 128,
        _ => 24,
    }
}

/// The size of the fields in front of the packet, in bytes.
fn packet_in(version: u8) -> usize {
    match version {
        1 => 10,
        3 => 8,
        _ => 16,
    }
}

fn packet_out(version: u8) -> usize {
    if matches!(version, 1 | 6) { 8 } else { 16 }
}

fn flow_removed(version: u8) -> Size {
    match version {
        1 => Exactly(80),
        6 => Steps(16, 8),
        _ => Steps(40, 8),
    }
}

/// The 16 bits at a place of a message, in network byte order; 0 behind the end.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u16::from_be_bytes(*word))
}

/// The 32 bits at a place of a message, in network byte order; 0 behind the end.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `sizes` has `size`: the text `A` has A, and `A+B` has A, A+B, A+2B ...
    fn has(sizes: &str, size: usize) -> bool {
        let number = |text: &str| text.parse::<usize>().unwrap();
        match sizes.split_once('+') {
            Some((first, step)) => {
                let first = number(first);
                size >= first && (size - first).is_multiple_of(number(step))
            }
            None => size == number(sizes),
        }
    }

    /// Messages whose zeros Open vSwitch refuses behind the check of sizes, and the features of meters, which
    /// OpenFlow 1.5 has made longer than Open vSwitch knows.
    const REFUSED_LATER: [&str; 5] =
        ["NXST_FLOW", "NXST_AGGREGATE", "OFPT_METER_MOD", "NXT_RESUME", "OFPST_METER_FEATURES"];

    #[test]
    fn messages_have_the_sizes_that_open_vswitch_takes() {
        let mut wrong = String::new();
        let recorded = include_str!("../tests/data/sizes.txt");
        for line in recorded.lines() {
            let [version, head, sizes] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let byte = |at| u8::from_str_radix(&head[at..at + 2], 16).unwrap();
            let mut message: Vec<u8> = (0..head.len()).step_by(2).map(byte).collect();
            message.resize(message.len() + 100, 0);
            let kind = MessageKind::of(&message).unwrap_or_else(|_| panic!("{line}"));
            if REFUSED_LATER.contains(&kind.name) {
                continue;
            }
            let taken = |size: usize| kind.fits(head.len() / 2 + size);
            if let Some(size) = (0..100).find(|size| taken(*size) != has(sizes, *size)) {
                wrong += &format!("{version}: {} of {size} bytes: {head} {sizes}\n", kind.name());
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
        assert!(recorded.lines().count() > 400);
    }
}

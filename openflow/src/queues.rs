//! Queues of ports: their counters and their rates (OpenFlow 1.3.5 §7.2.2,
//! §7.3.5.8, §7.3.6; OpenFlow 1.4.0 §7.3.5.10).
//!
//! OpenFlow 1.0 to 1.3 ask for rates with a message of their own, later versions with a multipart message.

use crate::error::ErrorCode;
use crate::group::{decode_known_duration, decode_property, put_known_duration};
use crate::input::Input;
use crate::output::Encoder;
use crate::port;
use OfVersion::{OpenFlow10, OpenFlow12, OpenFlow13, OpenFlow14};
use flow::types::{OfPort, OfVersion};
use std::time::Duration;

/// The number that means every queue (`OFPQ_ALL`).
pub const EVERY_QUEUE: u32 = u32::MAX;

/// The rates of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueDesc {
    /// The port that has the queue. Replies of OpenFlow 1.0 and 1.1 name one port for all queues.
    pub port: OfPort,
    /// The number of the queue.
    pub queue: u32,
    /// The rate that the queue gets at least, in tenths of a per cent of the port's; `None` if
    /// it has no such rate.
    pub min_rate: Option<u16>,
    /// The rate that the queue gets at most, in tenths of a per cent of the port's; `None` if
    /// it has no such rate.
    pub max_rate: Option<u16>,
}

/// The reply to a request for the queues of a port, in OpenFlow 1.0 to 1.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// The port of the request; [`OfPort::NONE`] for every port.
    pub port: OfPort,
    /// The queues of the port, in the order of the message.
    pub queues: Vec<QueueDesc>,
}

/// The counters of a queue. `None` is a counter that the switch does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// The port that has the queue.
    pub port: OfPort,
    /// The number of the queue.
    pub queue: u32,
    /// How many bytes the queue has sent.
    pub bytes: Option<u64>,
    /// How many packets the queue has sent.
    pub packets: Option<u64>,
    /// How many packets the queue has dropped because it was full.
    pub errors: Option<u64>,
    /// Time since the queue was made. Messages have it from OpenFlow 1.3 on.
    pub duration: Option<Duration>,
}

/// Types of the properties of a queue (`OFPQT_*`).
const MIN_RATE: u16 = 1;
const MAX_RATE: u16 = 2;

/// The sizes of a property, and of what stands in front of the properties, in OpenFlow 1.0 to 1.3.
const PROPERTY_13_SIZE: usize = 16;
const HEAD_10_SIZE: usize = 8;
const HEAD_12_SIZE: usize = 16;

impl QueueConfig {
    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        port::put(out, self.port, version);
        out.zeros(if version == OpenFlow10 { 6 } else { 4 });
        self.queues.iter().for_each(|queue| queue.put_13(out, version));
    }

    pub(crate) fn decode(mut input: Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let port = port::decode(&mut input, version, ErrorCode::QueuePort)?;
        input.skip(if version == OpenFlow10 { 6 } else { 4 })?;
        let mut queues = Vec::new();
        while !input.is_empty() {
            queues.push(QueueDesc::decode_13(&mut input, port, version)?);
        }
        Ok(Self { port, queues })
    }
}

impl QueueDesc {
    fn rates(&self) -> impl Iterator<Item = (u16, u16)> {
        let rates = [(MIN_RATE, self.min_rate), (MAX_RATE, self.max_rate)];
        rates.into_iter().filter_map(|(kind, rate)| Some((kind, rate?)))
    }

    fn set_rate(&mut self, kind: u16, rate: u16) {
        match kind {
            MIN_RATE => self.min_rate = Some(rate),
            MAX_RATE => self.max_rate = Some(rate),
            _ => {}
        }
    }

    fn put_13(&self, out: &mut Encoder, version: OfVersion) {
        let start = out.len();
        out.u32(self.queue);
        if version >= OpenFlow12 {
            out.u32(port::encode_32(self.port));
        }
        let len_at = out.len();
        out.zeros(if version >= OpenFlow12 { 8 } else { 4 });
        for (kind, rate) in self.rates() {
            out.u16(kind);
            out.u16(PROPERTY_13_SIZE as u16);
            out.zeros(4);
            out.u16(rate);
            out.zeros(6);
        }
        out.set_len(len_at, start);
    }

    fn decode_13(
        input: &mut Input<'_>,
        of_port: OfPort,
        version: OfVersion,
    ) -> Result<Self, ErrorCode> {
        let mut head = *input;
        let queue = head.u32()?;
        let has_port = version >= OpenFlow12;
        let port = match has_port {
            // Open vSwitch does not look at this port; some switches fill in none.
            true => port::decode_32(head.u32()?, ErrorCode::QueuePort).unwrap_or(of_port),
            false => of_port,
        };
        let mut entry = input.part(usize::from(head.u16()?), ErrorCode::BadLength)?;
        entry.skip(if has_port { HEAD_12_SIZE } else { HEAD_10_SIZE })?;
        let mut desc = Self { port, queue, min_rate: None, max_rate: None };
        while !entry.is_empty() {
            let (kind, mut value) = decode_property(&mut entry)?;
            value.skip(4)?;
            desc.set_rate(kind, value.u16()?);
        }
        Ok(desc)
    }

    /// Writes the description as OpenFlow 1.4 and later have it.
    pub(crate) fn put(&self, out: &mut Encoder) {
        let start = out.len();
        out.u32(port::encode_32(self.port));
        out.u32(self.queue);
        let len_at = out.len();
        out.zeros(8);
        for (kind, rate) in self.rates() {
            out.u16(kind);
            out.u16(8);
            out.u16(rate);
            out.zeros(2);
        }
        out.set_len(len_at, start);
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, ErrorCode> {
        let mut head = *input;
        let port = port::decode_32(head.u32()?, ErrorCode::QueuePort)?;
        let queue = head.u32()?;
        let mut entry = input.part(usize::from(head.u16()?), ErrorCode::BadLength)?;
        entry.skip(16)?;
        let mut desc = Self { port, queue, min_rate: None, max_rate: None };
        while !entry.is_empty() {
            let (kind, mut value) = decode_property(&mut entry)?;
            desc.set_rate(kind, value.u16()?);
        }
        Ok(desc)
    }
}

impl QueueStats {
    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        let start = out.len();
        if version >= OpenFlow14 {
            out.zeros(8);
        }
        port::put(out, self.port, version);
        out.zeros(if version == OpenFlow10 { 2 } else { 0 });
        out.u32(self.queue);
        for count in [self.bytes, self.packets, self.errors] {
            out.u64(count.unwrap_or(u64::MAX));
        }
        if version >= OpenFlow13 {
            put_known_duration(out, self.duration);
        }
        if version >= OpenFlow14 {
            out.set_len(start, start);
        }
    }

    pub(crate) fn decode(input: &mut Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        if version >= OpenFlow14 {
            let len = usize::from({ *input }.u16()?);
            let mut entry = input.part(len, ErrorCode::BadLength)?;
            entry.skip(8)?;
            // Properties that may follow are those of experimenters.
            return Self::decode_body(&mut entry, version);
        }
        Self::decode_body(input, version)
    }

    fn decode_body(input: &mut Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let port = port::decode(input, version, ErrorCode::QueuePort)?;
        input.skip(if version == OpenFlow10 { 2 } else { 0 })?;
        let queue = input.u32()?;
        let mut counter =
            || input.u64().map(|count| Some(count).filter(|count| *count != u64::MAX));
        let (bytes, packets, errors) = (counter()?, counter()?, counter()?);
        let mut duration = None;
        if version >= OpenFlow13 {
            duration = decode_known_duration(input)?;
        }
        Ok(Self { port, queue, bytes, packets, errors, duration })
    }
}

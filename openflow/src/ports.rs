//! Ports in messages: descriptions, counters and `OFPT_PORT_MOD` (OpenFlow 1.3.5 §7.2.1, §7.3.4.3, §7.3.5.6).

use crate::error::ErrorCode;
use crate::group::{decode_known_duration, decode_property, put_known_duration};
use crate::input::Input;
use crate::output::Encoder;
use crate::port;
use OfVersion::{OpenFlow10, OpenFlow13, OpenFlow14};
use flow::types::{MacAddr, OfPort, OfVersion};
use std::time::Duration;

/// Bits of [`PortDesc::config`] (`OFPPC_*`).
pub mod port_config {
    /// The port is down: nobody sends and receives.
    pub const DOWN: u32 = 1;
    /// The port takes no part in a spanning tree. Only OpenFlow 1.0 has this bit.
    pub const NO_STP: u32 = 1 << 1;
    /// The port drops what it receives.
    pub const NO_RECV: u32 = 1 << 2;
    /// The port drops what it receives of spanning trees. Only OpenFlow 1.0 has this bit.
    pub const NO_RECV_STP: u32 = 1 << 3;
    /// The port does not take part in flooding. Only OpenFlow 1.0 has this bit.
    pub const NO_FLOOD: u32 = 1 << 4;
    /// The port sends nothing.
    pub const NO_FWD: u32 = 1 << 5;
    /// Frames that no rule matches do not go to controllers.
    pub const NO_PACKET_IN: u32 = 1 << 6;
    /// The bits that only OpenFlow 1.0 has.
    pub const ONLY_10: u32 = NO_STP | NO_RECV_STP | NO_FLOOD;

    /// The bits that a version has.
    pub fn of_version(version: super::OfVersion) -> u32 {
        const SINCE_11: u32 = DOWN | NO_RECV | NO_FWD | NO_PACKET_IN;
        if version == super::OfVersion::OpenFlow10 { SINCE_11 | ONLY_10 } else { SINCE_11 }
    }
}

/// Bits of [`PortDesc::state`] (`OFPPS_*`).
pub mod port_state {
    /// The device has no link.
    pub const LINK_DOWN: u32 = 1;
    /// The port is alive for groups of type ff. OpenFlow 1.0 has no such bit.
    pub const LIVE: u32 = 1 << 2;
}

/// Bits of [`PortDesc::current`] and its siblings (`OFPPF_*` of OpenFlow 1.1). Those of 1.0 are other numbers,
/// which encoding and decoding convert.
pub mod port_feature {
    /// 10 Gb/s full duplex.
    pub const SPEED_10G: u32 = 1 << 6;
    /// The medium is copper, as of veth and TAP devices in Open vSwitch.
    pub const COPPER: u32 = 1 << 11;
}

/// The lowest bit that OpenFlow 1.0 and later versions number differently, of speeds that 1.0 lacks.
const SPEEDS_10: u32 = 0x7f;
/// The bits for copper, fiber, autonegotiation and pause, in 1.1 and in 1.0.
const MEDIA_11_SHIFT: u32 = 11;
const MEDIA_10_SHIFT: u32 = 7;
const MEDIA: u32 = 0x1f;

/// The description of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortDesc {
    /// The number of the port.
    pub port: OfPort,
    /// The MAC address of the device.
    pub mac: MacAddr,
    /// The name of the device; messages have its first 15 bytes.
    pub name: String,
    /// How the port behaves: bits of [`port_config`].
    pub config: u32,
    /// How the device is: bits of [`port_state`].
    pub state: u32,
    /// What the link is: bits of [`port_feature`].
    pub current: u32,
    /// What the device advertises: bits of [`port_feature`].
    pub advertised: u32,
    /// What the device can do: bits of [`port_feature`].
    pub supported: u32,
    /// What the other end advertises: bits of [`port_feature`].
    pub peer: u32,
    /// The bit rate now in kb/s. OpenFlow 1.0 derives it from `current`.
    pub current_speed: u32,
    /// The highest bit rate in kb/s.
    pub max_speed: u32,
}

const NAME_SIZE: usize = 16;
/// Type and size of the property of Ethernet ports (`OFPPDPT_ETHERNET`).
const ETHERNET: u16 = 0;
const ETHERNET_SIZE: u16 = 32;

fn features_10(bits: u32) -> u32 {
    bits & SPEEDS_10 | (bits >> MEDIA_11_SHIFT & MEDIA) << MEDIA_10_SHIFT
}

fn features_11(bits: u32) -> u32 {
    bits & SPEEDS_10 | (bits >> MEDIA_10_SHIFT & MEDIA) << MEDIA_11_SHIFT
}

impl PortDesc {
    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        let start = out.len();
        port::put(out, self.port, version);
        let len_at = out.len();
        if version > OpenFlow10 {
            // From 1.4 on, the first two of these bytes are the length.
            out.zeros(4);
        }
        out.bytes(&self.mac.0);
        if version > OpenFlow10 {
            out.zeros(2);
        }
        out.name(&self.name, NAME_SIZE);
        let hidden = if version > OpenFlow10 { port_config::ONLY_10 } else { 0 };
        out.u32(self.config & !hidden);
        out.u32(if version > OpenFlow10 { self.state } else { self.state & port_state::LINK_DOWN });
        if version >= OpenFlow14 {
            out.u16(ETHERNET);
            out.u16(ETHERNET_SIZE);
            out.zeros(4);
        }
        for bits in [self.current, self.advertised, self.supported, self.peer] {
            out.u32(if version == OpenFlow10 { features_10(bits) } else { bits });
        }
        if version > OpenFlow10 {
            out.u32(self.current_speed);
            out.u32(self.max_speed);
        }
        if version >= OpenFlow14 {
            out.set_len(len_at, start);
        }
    }

    pub(crate) fn decode(input: &mut Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let mut entry = if version >= OpenFlow14 {
            let mut header = *input;
            header.skip(4)?;
            let len = usize::from(header.u16()?);
            input.part(len, ErrorCode::BadLength)?
        } else {
            let size = if version == OpenFlow10 { 48 } else { 64 };
            input.part(size, ErrorCode::BadLength)?
        };
        let port = port::decode(&mut entry, version, ErrorCode::BadPort)?;
        if version > OpenFlow10 {
            entry.skip(4)?;
        }
        let mac = MacAddr(entry.array()?);
        if version > OpenFlow10 {
            entry.skip(2)?;
        }
        let name = entry.name::<NAME_SIZE>()?;
        let (config, state) = (entry.u32()?, entry.u32()?);
        let mut desc = Self {
            port,
            mac,
            name,
            config,
            state,
            current: 0,
            advertised: 0,
            supported: 0,
            peer: 0,
            current_speed: 0,
            max_speed: 0,
        };
        if version < OpenFlow14 {
            desc.decode_features(&mut entry, version)?;
            return Ok(desc);
        }
        while !entry.is_empty() {
            let (kind, mut value) = decode_property(&mut entry)?;
            if kind == ETHERNET {
                value.skip(4)?;
                desc.decode_features(&mut value, version)?;
            }
        }
        Ok(desc)
    }

    fn decode_features(
        &mut self,
        input: &mut Input<'_>,
        version: OfVersion,
    ) -> Result<(), ErrorCode> {
        for bits in [&mut self.current, &mut self.advertised, &mut self.supported, &mut self.peer] {
            let read = input.u32()?;
            *bits = if version == OpenFlow10 { features_11(read) } else { read };
        }
        if version > OpenFlow10 {
            (self.current_speed, self.max_speed) = (input.u32()?, input.u32()?);
        }
        Ok(())
    }
}

/// The counters of a port. `None` is a counter that the switch does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStats {
    /// The number of the port.
    pub port: OfPort,
    /// Time since the port was added; `None` if the switch does not know it. Messages have
    /// it from OpenFlow 1.3 on.
    pub duration: Option<Duration>,
    /// Packets received and sent.
    pub packets: [Option<u64>; 2],
    /// Bytes received and sent.
    pub bytes: [Option<u64>; 2],
    /// Packets dropped on receiving and on sending.
    pub dropped: [Option<u64>; 2],
    /// Errors on receiving and on sending.
    pub errors: [Option<u64>; 2],
    /// Received frames that were misaligned, too many for the device, and with a wrong checksum.
    pub rx_details: [Option<u64>; 3],
    /// Number of frames that collided on the medium; `None` if the switch does not count them.
    pub collisions: Option<u64>,
    /// Further counters with their names, as Open vSwitch tells those of drivers. Messages have them from
    /// OpenFlow 1.4 on.
    pub custom: Vec<(String, u64)>,
}

const ETHERNET_STATS_SIZE: u16 = 40;
/// The type of properties that an experimenter defines.
const EXPERIMENTER: u16 = 0xffff;
/// The experimenter of counters with names (Intel), and the type of this property.
const INTEL: u32 = 0xaa01;
const CUSTOM_COUNTERS: u32 = 2;

fn put_counter(out: &mut Encoder, counter: Option<u64>) {
    out.u64(counter.unwrap_or(u64::MAX));
}

fn counter(input: &mut Input<'_>) -> Result<Option<u64>, ErrorCode> {
    Ok(Some(input.u64()?).filter(|count| *count != u64::MAX))
}

impl PortStats {
    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        let start = out.len();
        if version >= OpenFlow14 {
            out.zeros(4);
            out.u32(port::encode_32(self.port));
            put_known_duration(out, self.duration);
        } else {
            port::put(out, self.port, version);
            out.zeros(if version == OpenFlow10 { 6 } else { 4 });
        }
        let pairs = [self.packets, self.bytes, self.dropped, self.errors];
        pairs.iter().flatten().for_each(|count| put_counter(out, *count));
        if version >= OpenFlow14 {
            out.u16(ETHERNET);
            out.u16(ETHERNET_STATS_SIZE);
            out.zeros(4);
        }
        self.rx_details.iter().for_each(|count| put_counter(out, *count));
        put_counter(out, self.collisions);
        if version >= OpenFlow14 && !self.custom.is_empty() {
            put_custom(out, &self.custom);
        }
        match version {
            OpenFlow13 => put_known_duration(out, self.duration),
            _ if version >= OpenFlow14 => out.set_len(start, start),
            _ => {}
        }
    }

    pub(crate) fn decode(input: &mut Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let mut entry = if version >= OpenFlow14 {
            let mut header = *input;
            let len = usize::from(header.u16()?);
            let mut entry = input.part(len, ErrorCode::BadLength)?;
            entry.skip(4)?;
            entry
        } else {
            let size = if version >= OpenFlow13 { 112 } else { 104 };
            input.part(size, ErrorCode::BadLength)?
        };
        let port = port::decode(&mut entry, version, ErrorCode::BadPort)?;
        let mut duration = None;
        match version {
            OpenFlow10 => entry.skip(6)?,
            _ if version >= OpenFlow14 => duration = decode_known_duration(&mut entry)?,
            _ => entry.skip(4)?,
        }
        let pair = |input: &mut Input<'_>| -> Result<[Option<u64>; 2], ErrorCode> {
            Ok([counter(input)?, counter(input)?])
        };
        let packets = pair(&mut entry)?;
        let bytes = pair(&mut entry)?;
        let dropped = pair(&mut entry)?;
        let errors = pair(&mut entry)?;
        let (mut rx_details, mut collisions, mut custom) = ([None; 3], None, Vec::new());
        let mut details = |input: &mut Input<'_>| -> Result<(), ErrorCode> {
            rx_details = [counter(input)?, counter(input)?, counter(input)?];
            collisions = counter(input)?;
            Ok(())
        };
        if version < OpenFlow14 {
            details(&mut entry)?;
        } else {
            while !entry.is_empty() {
                let (kind, mut value) = decode_property(&mut entry)?;
                match kind {
                    ETHERNET => {
                        value.skip(4)?;
                        details(&mut value)?;
                    }
                    EXPERIMENTER if value.u32()? == INTEL && value.u32()? == CUSTOM_COUNTERS => {
                        custom = decode_custom(&mut value)?;
                    }
                    _ => {}
                }
            }
        }
        if version == OpenFlow13 {
            duration = decode_known_duration(&mut entry)?;
        }
        Ok(Self { port, duration, packets, bytes, dropped, errors, rx_details, collisions, custom })
    }
}

/// Writes counters with names: their number, and for each the length of the name, the name and the value.
fn put_custom(out: &mut Encoder, counters: &[(String, u64)]) {
    let start = out.len();
    out.u16(EXPERIMENTER);
    out.u16(0);
    out.u32(INTEL);
    out.u32(CUSTOM_COUNTERS);
    out.zeros(2);
    out.u16(counters.len() as u16);
    for (name, value) in counters {
        let name = &name.as_bytes()[..name.len().min(usize::from(u8::MAX))];
        out.u8(name.len() as u8);
        out.bytes(name);
        out.u64(*value);
    }
    out.set_len(start + 2, start);
    out.pad(start);
}

fn decode_custom(input: &mut Input<'_>) -> Result<Vec<(String, u64)>, ErrorCode> {
    input.skip(2)?;
    let count = input.u16()?;
    let mut counters = Vec::new();
    for _ in 0..count {
        let size = usize::from(input.u8()?);
        let name = String::from_utf8_lossy(input.take(size)?).into_owned();
        counters.push((name, input.u64()?));
    }
    Ok(counters)
}

/// A request to change how a port behaves (`OFPT_PORT_MOD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMod {
    /// The port that is to change.
    pub port: OfPort,
    /// The MAC address that the sender believes the port to have.
    pub mac: MacAddr,
    /// The new values of the bits in `mask`: bits of [`port_config`].
    pub config: u32,
    /// The bits that change.
    pub mask: u32,
    /// What the device shall advertise: bits of [`port_feature`]. 0 leaves that as it is.
    pub advertise: u32,
}

impl PortMod {
    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        port::put(out, self.port, version);
        if version > OpenFlow10 {
            out.zeros(4);
        }
        out.bytes(&self.mac.0);
        if version > OpenFlow10 {
            out.zeros(2);
        }
        out.u32(self.config);
        out.u32(self.mask);
        if version >= OpenFlow14 {
            if self.advertise != 0 {
                out.u16(ETHERNET);
                out.u16(8);
                out.u32(self.advertise);
            }
        } else {
            let bits = self.advertise;
            out.u32(if version == OpenFlow10 { features_10(bits) } else { bits });
            out.zeros(4);
        }
    }

    pub(crate) fn decode(mut input: Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let port = port::decode(&mut input, version, ErrorCode::BadOutPort)?;
        if version > OpenFlow10 {
            input.skip(4)?;
        }
        let mac = MacAddr(input.array()?);
        if version > OpenFlow10 {
            input.skip(2)?;
        }
        let known = port_config::of_version(version);
        let (config, mask) = (input.u32()? & known, input.u32()? & known);
        let mut advertise = 0;
        if version < OpenFlow14 {
            let bits = input.u32()?;
            advertise = if version == OpenFlow10 { features_11(bits) } else { bits };
            input.skip(4)?;
        } else {
            while !input.is_empty() {
                let (kind, mut value) = decode_property(&mut input)?;
                match kind {
                    ETHERNET => advertise = value.u32()?,
                    EXPERIMENTER => return Err(ErrorCode::PropertyBadExpType),
                    _ => return Err(ErrorCode::BadProperty),
                }
                if !value.is_empty() {
                    return Err(ErrorCode::BadPropertyLength);
                }
            }
        }
        Ok(Self { port, mac, config, mask, advertise })
    }
}

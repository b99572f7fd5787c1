//! Meters in messages: `OFPT_METER_MOD` (OpenFlow 1.3.5 §7.3.4.4) and the multiparts
//! about meters (§7.3.5.11 to §7.3.5.13).
//!
//! OpenFlow 1.3 to 1.5 have them, all in one form: like Open vSwitch, the switch does not tell the further
//! features that OpenFlow 1.5 knows.

use crate::error::ErrorCode;
use crate::input::Input;
use crate::output::Encoder;
use flow::meter::{Band, BandKind, Meter, MeterFeatures, MeterMod, MeterStats, MeterUnit};
use flow::types::MeterId;
use std::time::Duration;

/// Commands of meter mods (`OFPMC_*`).
mod command {
    pub(super) const ADD: u16 = 0;
    pub(super) const MODIFY: u16 = 1;
    pub(super) const DELETE: u16 = 2;
}

/// Flags of meters (`OFPMF_*`).
mod flag {
    pub(super) const KBPS: u16 = 1;
    pub(super) const PKTPS: u16 = 2;
    pub(super) const BURST: u16 = 4;
    pub(super) const STATS: u16 = 8;
    /// The units, of which a meter has one.
    pub(super) const UNITS: u16 = KBPS | PKTPS;
}

/// Types of bands (`OFPMBT_*`).
mod band_type {
    pub(super) const DROP: u16 = 1;
    pub(super) const DSCP_REMARK: u16 = 2;
}

/// The size of a band of each type that the crate knows, in bytes.
const BAND_SIZE: usize = 16;
/// The size of the type and the length of a band, in bytes.
const BAND_HEADER_SIZE: usize = 4;

/// Reads a meter mod.
pub(crate) fn decode_mod(mut input: Input<'_>) -> Result<MeterMod, ErrorCode> {
    let (command, flags) = (input.u16()?, input.u16()?);
    let id = MeterId(input.u32()?);
    let is_new = match command {
        command::ADD => true,
        command::MODIFY => false,
        command::DELETE => return Ok(MeterMod::Delete(id)),
        _ => return Err(ErrorCode::BadMeterCommand),
    };
    let meter = with_bursts(decode_meter(id, flags, input)?);
    Ok(match (are_known(flags), is_new) {
        (true, true) => MeterMod::Add(meter),
        (true, false) => MeterMod::Modify(meter),
        // Open vSwitch looks at the other meters first.
        (false, is_new) => {
            let has_unit = flags & flag::UNITS != 0;
            MeterMod::BadFlags { meter, is_new, has_unit, flags }
        }
    })
}

/// Whether the flags name a unit, and the crate knows all of them.
fn are_known(flags: u16) -> bool {
    const KNOWN: u16 = flag::UNITS | flag::BURST | flag::STATS;
    flags & !KNOWN == 0 && flags & flag::UNITS != 0
}

/// Has a meter obey the bursts of its bands although its flags do not announce them, as Open vSwitch does. Sets
/// the flag then.
fn with_bursts(mut meter: Meter) -> Meter {
    if !meter.has_burst && meter.bands.iter().any(|band| band.burst_size != 0) {
        meter.has_burst = true;
        for band in &mut meter.bands {
            band.burst_size = band.burst();
        }
    }
    meter
}

/// Writes a meter mod.
pub(crate) fn put_mod(out: &mut Encoder, meter_mod: &MeterMod) {
    let (command, meter, flags) = match meter_mod {
        MeterMod::Add(meter) => (command::ADD, meter, flags(meter)),
        MeterMod::Modify(meter) => (command::MODIFY, meter, flags(meter)),
        MeterMod::BadFlags { meter, is_new: true, flags, .. } => (command::ADD, meter, *flags),
        MeterMod::BadFlags { meter, is_new: false, flags, .. } => (command::MODIFY, meter, *flags),
        MeterMod::Delete(id) => {
            out.u16(command::DELETE);
            out.u16(0);
            return out.u32(id.0);
        }
    };
    out.u16(command);
    out.u16(flags);
    out.u32(meter.id.0);
    put_bands(out, meter, |band| band.burst_size);
}

fn flags(meter: &Meter) -> u16 {
    let unit = match meter.unit {
        MeterUnit::Kbps => flag::KBPS,
        MeterUnit::Pktps => flag::PKTPS,
    };
    let set = |is_set: bool, flag: u16| if is_set { flag } else { 0 };
    unit | set(meter.has_burst, flag::BURST) | set(meter.has_stats, flag::STATS)
}

/// Reads the bands of a meter up to the end of `input`. The flags may name one unit; without one, it is `kbps`.
fn decode_meter(id: MeterId, flags: u16, mut input: Input<'_>) -> Result<Meter, ErrorCode> {
    let unit = match flags & flag::UNITS {
        flag::UNITS => return Err(ErrorCode::BadMeterFlags),
        flag::PKTPS => MeterUnit::Pktps,
        _ => MeterUnit::Kbps,
    };
    let (has_burst, has_stats) = (flags & flag::BURST != 0, flags & flag::STATS != 0);
    let mut bands = Vec::new();
    while !input.is_empty() {
        let (kind, len) = (input.u16()?, usize::from(input.u16()?));
        if len != BAND_SIZE || len - BAND_HEADER_SIZE > input.len() {
            return Err(ErrorCode::BadLength);
        }
        if !matches!(kind, band_type::DROP | band_type::DSCP_REMARK) {
            return Err(ErrorCode::BadBand);
        }
        let (rate, burst_size, prec_level) = (input.u32()?, input.u32()?, input.u8()?);
        input.skip(3)?;
        let kind = match kind {
            band_type::DROP => BandKind::Drop,
            _ => BandKind::DscpRemark { prec_level },
        };
        bands.push(Band { kind, rate, burst_size });
    }
    if !id.is_valid() {
        return Err(ErrorCode::InvalidMeter);
    }
    Ok(Meter { id, unit, has_burst, has_stats, bands })
}

fn put_bands(out: &mut Encoder, meter: &Meter, burst_of: impl Fn(&Band) -> u32) {
    for band in &meter.bands {
        let (kind, prec_level) = match band.kind {
            BandKind::Drop => (band_type::DROP, 0),
            BandKind::DscpRemark { prec_level } => (band_type::DSCP_REMARK, prec_level),
        };
        out.u16(kind);
        out.u16(BAND_SIZE as u16);
        out.u32(band.rate);
        out.u32(burst_of(band));
        out.u8(prec_level);
        out.zeros(3);
    }
}

/// Reads the number in a request for meters.
pub(crate) fn decode_request(input: &mut Input<'_>) -> Result<MeterId, ErrorCode> {
    let id = MeterId(input.u32()?);
    input.skip(4)?;
    Ok(id)
}

/// Writes the number in a request for meters.
pub(crate) fn put_request(out: &mut Encoder, id: MeterId) {
    out.u32(id.0);
    out.zeros(4);
}

/// Reads a meter of a reply (`OFPMP_METER_CONFIG`; in OpenFlow 1.5 `OFPMP_METER_DESC`).
pub(crate) fn decode_config(input: &mut Input<'_>) -> Result<Meter, ErrorCode> {
    let len = usize::from(input.u16()?);
    let rest = len.checked_sub(2).ok_or(ErrorCode::BadLength)?;
    let mut body = input.part(rest, ErrorCode::BadLength)?;
    let flags = body.u16()?;
    let id = MeterId(body.u32()?);
    let mut meter = decode_meter(id, flags, body)?;
    if !are_known(flags) {
        return Err(ErrorCode::BadMeterFlags);
    }
    if !meter.has_burst {
        // A reply tells the burst that is in force.
        meter.bands.iter_mut().for_each(|band| band.burst_size = 0);
    }
    Ok(meter)
}

/// Writes a meter of a reply.
pub(crate) fn put_config(out: &mut Encoder, meter: &Meter) {
    let start = out.len();
    out.u16(0);
    out.u16(flags(meter));
    out.u32(meter.id.0);
    // As Open vSwitch does, a reply tells the burst that is in force.
    put_bands(out, meter, Band::burst);
    out.set_len(start, start);
}

/// Reads the counters of a meter (`OFPMP_METER`).
pub(crate) fn decode_stats(input: &mut Input<'_>) -> Result<(MeterId, MeterStats), ErrorCode> {
    let id = MeterId(input.u32()?);
    let len = usize::from(input.u16()?);
    let rest = len.checked_sub(6).ok_or(ErrorCode::BadLength)?;
    let mut body = input.part(rest, ErrorCode::BadLength)?;
    body.skip(6)?;
    let mut stats = MeterStats {
        flow_count: body.u32()?,
        packets: body.u64()?,
        bytes: body.u64()?,
        duration: Duration::new(body.u32()?.into(), 0) + Duration::from_nanos(body.u32()?.into()),
        bands: Vec::new(),
    };
    while !body.is_empty() {
        stats.bands.push((body.u64()?, body.u64()?));
    }
    Ok((id, stats))
}

/// Writes the counters of a meter.
pub(crate) fn put_stats(out: &mut Encoder, id: MeterId, stats: &MeterStats) {
    let start = out.len();
    out.u32(id.0);
    out.zeros(8);
    out.u32(stats.flow_count);
    out.u64(stats.packets);
    out.u64(stats.bytes);
    out.u32(stats.duration.as_secs() as u32);
    out.u32(stats.duration.subsec_nanos());
    for (packets, bytes) in &stats.bands {
        out.u64(*packets);
        out.u64(*bytes);
    }
    out.set_len(start + 4, start);
}

/// Reads what meters can be like (`OFPMP_METER_FEATURES`).
pub(crate) fn decode_features(input: &mut Input<'_>) -> Result<MeterFeatures, ErrorCode> {
    let features = MeterFeatures {
        max_meters: input.u32()?,
        band_types: input.u32()?,
        capabilities: input.u32()?,
        max_bands: input.u8()?,
        max_color: input.u8()?,
    };
    input.skip(2)?;
    Ok(features)
}

/// Writes what meters can be like.
pub(crate) fn put_features(out: &mut Encoder, features: &MeterFeatures) {
    out.u32(features.max_meters);
    out.u32(features.band_types);
    out.u32(features.capabilities);
    out.u8(features.max_bands);
    out.u8(features.max_color);
    out.zeros(2);
}

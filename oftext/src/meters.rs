//! Meters: meter mods, and what meters are, count and can be like.
//!
//! A meter mod and the configuration of a meter are printed from their bytes: `ovs-ofctl` shows flags that no
//! meter of this switch can have, and a meter whose flags name no unit.

use crate::bits::put_names;
use crate::{body, put, u16_at, u32_at};
use flow::meter::{MeterFeatures, MeterStats};
use flow::text::write_meter_stats;
use flow::types::MeterId;
use openflow::ErrorCode;
use std::fmt::Write;

/// Flags of meters (`OFPMF_*`), which are also the bits of the capabilities.
const FLAGS: [(u32, &str); 4] = [(KBPS, "kbps"), (PKTPS, "pktps"), (BURST, "burst"), (8, "stats")];
const KBPS: u32 = 1;
const PKTPS: u32 = 2;
const BURST: u32 = 4;

/// Types of bands (`OFPMBT_*`).
const DROP: u16 = 1;
const DSCP_REMARK: u16 = 2;

/// The size of a band of each type that is known, in bytes.
const BAND_SIZE: usize = 16;

/// The size of a meter's configuration without its bands, in bytes.
const CONFIG_SIZE: usize = 8;

/// Prints a meter mod.
///
/// # Errors
/// The message cannot be decoded.
pub(crate) fn put_mod(out: &mut String, bytes: &[u8]) -> Result<(), ErrorCode> {
    let (command, id) = (u16_at(bytes, 8), MeterId(u32_at(bytes, 12)));
    // A request that deletes a meter says nothing by its flags and its bands.
    let (name, flags, bands) = match command {
        0 | 1 => {
            let name = if command == 0 { "ADD" } else { "MOD" };
            (name, u16_at(bytes, 10).into(), body(bytes).get(8..).unwrap_or_default())
        }
        2 => ("DEL", 0, [].as_slice()),
        _ => return Err(ErrorCode::BadMeterCommand),
    };
    if flags & (KBPS | PKTPS) == KBPS | PKTPS {
        return Err(ErrorCode::BadMeterFlags);
    }
    let bands = bands_text(bands, flags)?;
    put!(out, " {name} ");
    put_meter(out, id, flags, &bands);
    Ok(())
}

/// Prints the meters of a reply. `meters` is the body of the multipart.
///
/// # Errors
/// The message cannot be decoded.
pub(crate) fn put_configs(out: &mut String, mut meters: &[u8]) -> Result<(), ErrorCode> {
    let mut text = String::from("\n");
    while !meters.is_empty() {
        let len = usize::from(u16_at(meters, 0));
        if len < CONFIG_SIZE || len > meters.len() {
            return Err(ErrorCode::BadLength);
        }
        let (meter, rest) = meters.split_at(len);
        let (flags, id) = (u16_at(meter, 2).into(), MeterId(u32_at(meter, 4)));
        let bands = bands_text(&meter[CONFIG_SIZE..], flags)?;
        // An empty line stands between two meters.
        text.push_str(if text.len() > 1 { "\n" } else { "" });
        put_meter(&mut text, id, flags, &bands);
        meters = rest;
    }
    out.push_str(&text);
    Ok(())
}

/// Prints a meter with its bands, which are text already.
fn put_meter(out: &mut String, id: MeterId, flags: u32, bands: &str) {
    out.push_str("meter=");
    put_id(out, id);
    out.push(' ');
    let mut rest = flags;
    for (bit, name) in FLAGS.iter().filter(|(bit, _)| flags & bit != 0) {
        put!(out, "{name} ");
        rest &= !bit;
    }
    if rest != 0 {
        put!(out, "flags:0x{rest:x} ");
    }
    put!(out, "bands={bands}\n");
}

/// The bands of a meter with these flags, each in front of it a line feed.
fn bands_text(mut bands: &[u8], flags: u32) -> Result<String, ErrorCode> {
    /// The size of the type and the length of a band, in bytes.
    const HEAD: usize = 4;
    let mut text = String::new();
    while !bands.is_empty() {
        let (kind, len) = (u16_at(bands, 0), usize::from(u16_at(bands, 2)));
        if bands.len() < HEAD || bands.len() < len {
            return Err(ErrorCode::BadLength);
        }
        let name = match kind {
            DROP => "drop",
            DSCP_REMARK => "dscp_remark",
            _ => return Err(ErrorCode::BadBand),
        };
        if len != BAND_SIZE {
            return Err(ErrorCode::BadLength);
        }
        let (band, rest) = bands.split_at(BAND_SIZE);
        put!(text, "\ntype={name} rate={}", u32_at(band, 4));
        if flags & BURST != 0 {
            put!(text, " burst_size={}", u32_at(band, 8));
        }
        if kind == DSCP_REMARK {
            put!(text, " prec_level={}", band[12]);
        }
        bands = rest;
    }
    Ok(text)
}

/// Prints the number of a meter in a request.
pub(crate) fn put_request(out: &mut String, id: MeterId) {
    out.push_str(" meter=");
    put_id(out, id);
}

fn put_id(out: &mut String, id: MeterId) {
    let is_known =
        id <= MeterId::MAX || matches!(id, MeterId::SLOWPATH | MeterId::CONTROLLER | MeterId::ALL);
    match is_known {
        true => {
            put!(out, "{id}");
        }
        false => out.push_str("unknown"),
    }
}

/// Prints the counters of meters, with an empty line between two of them.
pub(crate) fn put_stats(out: &mut String, meters: &[(MeterId, MeterStats)]) {
    out.push('\n');
    for (n, (id, stats)) in meters.iter().enumerate() {
        out.push_str(if n > 0 { "\n" } else { "" });
        write_meter_stats(out, *id, stats);
        out.push('\n');
    }
}

/// Prints what meters of a switch can be like. Bits that have no name are printed, too.
pub(crate) fn put_features(out: &mut String, features: &MeterFeatures) {
    let MeterFeatures { max_meters, max_bands, max_color, band_types, capabilities } = *features;
    put!(out, "\nmax_meter:{max_meters} max_bands:{max_bands} max_color:{max_color}");
    out.push_str("\nband_types: ");
    put_names(out, band_types, &[(1 << DROP, "drop"), (1 << DSCP_REMARK, "dscp_remark")]);
    out.push_str("\ncapabilities: ");
    put_names(out, capabilities, &FLAGS);
    out.push('\n');
}

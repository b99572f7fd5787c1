//! Prints meters: what `dump-meters`, `meter-stats` and `meter-features` show.
//!
//! The texts are those of Open vSwitch, but for the newline at their end: whoever prints several meters puts an
//! empty line between two of them.

use super::{duration, put};
use crate::meter::{BandKind, Meter, MeterFeatures, MeterStats};
use crate::types::MeterId;
use std::fmt::Write;

/// Appends a meter as `dump-meters` shows it: a line for the meter, and one for each band.
pub fn write_meter(out: &mut String, meter: &Meter) {
    write_with(out, meter, ' ', '\n');
}

/// Appends a meter as a line of `ofctl save`, which [`parse_saved_meter`](crate::text::parse_saved_meter)
/// reads: `meter=1,kbps,bands=type=drop,rate=1000`.
pub fn write_saved_meter(out: &mut String, meter: &Meter) {
    write_with(out, meter, ',', ',');
}

/// Appends a meter with `separator` between two words, and `in_front_of_band` between two bands.
fn write_with(out: &mut String, meter: &Meter, separator: char, in_front_of_band: char) {
    put!(out, "meter={}{separator}{}{separator}", meter.id, meter.unit.name());
    for (flag, is_set) in [("burst", meter.has_burst), ("stats", meter.has_stats)] {
        if is_set {
            put!(out, "{flag}{separator}");
        }
    }
    out.push_str("bands=");
    for (index, band) in meter.bands.iter().enumerate() {
        if index > 0 || in_front_of_band == '\n' {
            out.push(in_front_of_band);
        }
        let kind = match band.kind {
            BandKind::Drop => "drop",
            BandKind::DscpRemark { .. } => "dscp_remark",
        };
        put!(out, "type={kind}{separator}rate={}", band.rate);
        if meter.has_burst {
            put!(out, "{separator}burst_size={}", band.burst_size);
        }
        if let BandKind::DscpRemark { prec_level } = band.kind {
            put!(out, "{separator}prec_level={prec_level}");
        }
    }
}

/// Appends the counters of a meter as `meter-stats` shows them: a line for the meter, and one for each band.
pub fn write_meter_stats(out: &mut String, id: MeterId, stats: &MeterStats) {
    put!(
        out,
        "meter:{id} flow_count:{} packet_in_count:{} byte_in_count:{} duration:",
        stats.flow_count,
        stats.packets,
        stats.bytes
    );
    duration(out, stats.duration);
    out.push_str(" bands:");
    for (index, (packets, bytes)) in stats.bands.iter().enumerate() {
        put!(out, "\n{index}: packet_count:{packets} byte_count:{bytes}");
    }
}

/// Appends what meters of a switch can be like, as `meter-features` shows it.
pub fn write_meter_features(out: &mut String, features: &MeterFeatures) {
    put!(
        out,
        "max_meter:{} max_bands:{} max_color:{}",
        features.max_meters,
        features.max_bands,
        features.max_color
    );
    let mut words = |heading, bits: u32, names: &[(u32, &str)]| {
        put!(out, "\n{heading}:");
        if bits == 0 {
            out.push_str(" 0");
        }
        for (bit, name) in names {
            if bits & (1 << bit) != 0 {
                put!(out, " {name}");
            }
        }
    };
    words("band_types", features.band_types, &[(1, "drop"), (2, "dscp_remark")]);
    let flags = [(0, "kbps"), (1, "pktps"), (2, "burst"), (3, "stats")];
    words("capabilities", features.capabilities, &flags);
}

//! Meters: changes of them, and lists.

use super::answer::{Failure, Sender};
use super::lines::Lines;
use super::refuse;
use super::status::write_record;
use crate::bridge::meters::{self, MeterList};
use crate::switch::OnBridge;
use control::frame::{Kind, TEXT_SIZE};
use control::record::{
    BandRecord, BandStatsRecord, MeterFeaturesRecord, MeterRecord, MeterStatsRecord,
};
use control::{
    Changed, Format, MeterCommand, MeterMods, MeterPart, MeterQuery, Reason, Refusal, Reply,
};
use flow::meter::{BandKind, Meter, MeterFeatures, MeterStats};
use flow::text::{
    self, parse_meter, write_meter, write_meter_features, write_meter_stats, write_saved_meter,
};
use flow::types::MeterId;
use flowtable::policy::meters::MeterEntry;
use std::time::Duration;

/// Changes meters as the text says.
pub(super) fn change(
    switch: &OnBridge<'_>,
    mods: &MeterMods,
    text: &[u8],
) -> Result<Reply, Box<Refusal>> {
    let command = match mods.command {
        MeterCommand::Add => text::MeterCommand::Add,
        MeterCommand::Modify => text::MeterCommand::Modify,
        MeterCommand::Delete => text::MeterCommand::Delete,
    };
    let (mut changes, mut lines) = (Vec::new(), Vec::new());
    for line in Lines::new(text, false, None)? {
        changes.push(parse_meter(line.text, command).map_err(|error| refuse::text(&error, line))?);
        lines.push(line);
    }
    meters::change(*switch, &changes)
        .map_err(|(index, error)| refuse::flow_mod(&error, lines[index]))?;
    Ok(Reply::Changed(Changed { count: changes.len() as u64, ..Changed::default() }))
}

/// Lists what a query asks for.
pub(super) fn dump(
    switch: &OnBridge<'_>,
    query: &MeterQuery,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    match query.part {
        MeterPart::Config => list(switch, query, to, |out, entry, _| match query.format {
            Format::Text => write_meter(out, &entry.meter),
            Format::Json => write_record(out, &record(&entry.meter)),
        }),
        MeterPart::Stats => list(switch, query, to, |out, entry, meters| {
            let stats = meters.stats(entry);
            // More digits than those of milliseconds would be noise.
            let duration = Duration::from_millis(stats.duration.as_millis() as u64);
            let stats = MeterStats { duration, ..stats };
            match query.format {
                Format::Text => write_meter_stats(out, entry.meter.id, &stats),
                Format::Json => write_record(out, &stats_record(entry.meter.id, &stats)),
            }
        }),
        MeterPart::Features => {
            let (mut text, features) = (String::new(), MeterFeatures::OF_THIS_SWITCH);
            match query.format {
                Format::Text => write_meter_features(&mut text, &features),
                Format::Json => write_record(&mut text, &features_record(&features)),
            }
            text.push('\n');
            to.put(Kind::Text, text.as_bytes())?;
            Ok(Reply::Listed(1))
        }
    }
}

/// Writes the meters of a query. As text, an empty line stands between two of them.
fn list(
    switch: &OnBridge<'_>,
    query: &MeterQuery,
    to: &mut Sender<'_>,
    mut write: impl FnMut(&mut String, &MeterEntry, &MeterList<'_>),
) -> Result<Reply, Failure> {
    let mut meters = meters::list(*switch, query.meter.map(MeterId))
        .map_err(|error| Box::new(Refusal::new(Reason::NotFound, error.to_string())))?;
    let (mut text, mut listed) = (String::new(), 0);
    while let Some(entries) = meters.next_slice() {
        for entry in &entries {
            if listed > 0 && query.format == Format::Text {
                text.push('\n');
            }
            write(&mut text, entry, &meters);
            text.push('\n');
            listed += 1;
        }
        if text.len() >= TEXT_SIZE / 2 {
            to.put(Kind::Text, text.as_bytes())?;
            text.clear();
        }
    }
    to.put(Kind::Text, text.as_bytes())?;
    Ok(Reply::Listed(listed))
}

/// A meter as `--json` shows it.
pub(super) fn record(meter: &Meter) -> MeterRecord {
    let mut text = String::new();
    write_saved_meter(&mut text, meter);
    let flags = [(meter.unit.name(), true), ("burst", meter.has_burst), ("stats", meter.has_stats)];
    let band = |band: &flow::meter::Band| BandRecord {
        r#type: match band.kind {
            BandKind::Drop => "drop".to_owned(),
            BandKind::DscpRemark { .. } => "dscp_remark".to_owned(),
        },
        rate: band.rate,
        burst_size: meter.has_burst.then_some(band.burst_size),
        prec_level: match band.kind {
            BandKind::Drop => None,
            BandKind::DscpRemark { prec_level } => Some(prec_level),
        },
    };
    MeterRecord {
        meter_id: meter.id.0,
        flags: flags.iter().filter(|(_, is_set)| *is_set).map(|(f, _)| (*f).to_owned()).collect(),
        bands: meter.bands.iter().map(band).collect(),
        text,
    }
}

fn stats_record(id: MeterId, stats: &MeterStats) -> MeterStatsRecord {
    let band =
        |&(packet_count, byte_count): &(u64, u64)| BandStatsRecord { packet_count, byte_count };
    MeterStatsRecord {
        meter_id: id.0,
        flow_count: stats.flow_count,
        packet_in_count: stats.packets,
        byte_in_count: stats.bytes,
        duration: stats.duration.as_secs_f64(),
        bands: stats.bands.iter().map(band).collect(),
    }
}

fn features_record(features: &MeterFeatures) -> MeterFeaturesRecord {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    MeterFeaturesRecord {
        max_meter: features.max_meters,
        max_bands: features.max_bands,
        max_color: features.max_color,
        band_types: words(&["drop", "dscp_remark"]),
        capabilities: words(&["kbps", "pktps", "burst", "stats"]),
    }
}

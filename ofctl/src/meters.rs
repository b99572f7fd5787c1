//! The verbs that change and list meters.

use crate::connect::call;
use crate::flows::{reply_name, send, stream};
use crate::options::{How, Options, Verb, Words};
use crate::{Outcome, Usage};
use control::{Format, MeterCommand, MeterMods, MeterPart, MeterQuery, Operation};
use flow::text::parse_meter_id;
use flow::types::OfVersion;

/// Carries out the verbs `add-meter` and `mod-meter`.
pub(crate) fn change(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let command = match &options.verb {
        Verb::ModMeter(_) => MeterCommand::Modify,
        _ => MeterCommand::Add,
    };
    let mut call = call(options, words, 1, 1)?;
    let operation = Operation::MeterMods(MeterMods { command });
    send(&options.how, &mut call.client, operation, &mut call.words[0].as_bytes())
}

/// Carries out the verb `del-meters`.
pub(crate) fn delete(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 1)?;
    let meter = call.words.first().map_or("", String::as_str);
    let operation = Operation::MeterMods(MeterMods { command: MeterCommand::Delete });
    send(&options.how, &mut call.client, operation, &mut meter.as_bytes())
}

/// Carries out the verb `dump-meters`.
pub(crate) fn dump(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    list(options, words, "METER_CONFIG", MeterPart::Config)
}

/// Carries out the verb `meter-stats`.
pub(crate) fn stats(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    list(options, words, "METER", MeterPart::Stats)
}

/// Carries out the verb `meter-features`.
pub(crate) fn features(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    list(options, words, "METER_FEATURES", MeterPart::Features)
}

fn list(options: &Options, words: &Words, what: &str, part: MeterPart) -> anyhow::Result<Outcome> {
    let how = &options.how;
    let limit = usize::from(part != MeterPart::Features);
    let mut call = call(options, words, 0, limit)?;
    let which = call.words.first().map_or(Ok(None), |text| parse_meter_id(text));
    let meter = which.map_err(|error| Usage(error.to_string()))?.map(|id| id.0);
    let format = if how.json { Format::Json } else { Format::Text };
    let query = MeterQuery { part, meter, format };
    let header = format!("{}:\n", reply_name(version(how), what, "0x2", "0x2"));
    stream(&mut call.client, how, Operation::DumpMeters(query), header)
}

/// The version that the header of a list names. Versions before 1.3 have no meters.
fn version(how: &How) -> OfVersion {
    how.version().max(OfVersion::OpenFlow13)
}

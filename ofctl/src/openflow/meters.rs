//! The verbs about meters. OpenFlow has meters since version 1.3.

use super::channel::Channel;
use super::{Call, switch};
use crate::Outcome;
use crate::options::Verb;
use control::Refusal;
use flow::text::{MeterCommand, Protocols, parse_meter, parse_meter_id};
use flow::types::MeterId;
use openflow::{MultipartRequest, OfMessage};

/// Carries out the verbs `add-meter` and `mod-meter`.
pub(super) fn change(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(1, 1)?;
    let command = match &call.options.verb {
        Verb::ModMeter(_) => MeterCommand::Modify,
        _ => MeterCommand::Add,
    };
    request(call, command)
}

/// Carries out the verb `del-meters`.
pub(super) fn delete(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(0, 1)?;
    request(call, MeterCommand::Delete)
}

fn request(call: &Call<'_>, command: MeterCommand) -> anyhow::Result<Outcome> {
    let text = call.words.first().map_or("", String::as_str);
    let meter_mod =
        parse_meter(text, command).map_err(|error| Refusal::of_text(&error, None, 1, text))?;
    let mut channel = open(call)?;
    channel.carry_out(&[OfMessage::MeterMod(meter_mod)])?;
    switch::done(call)
}

/// Opens the connection, in a version that has meters.
fn open(call: &Call<'_>) -> anyhow::Result<Channel> {
    call.open_in(Protocols::OF13_UP)
}

/// Carries out the verb `dump-meters`.
pub(super) fn dump(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    list(call, MultipartRequest::MeterConfig)
}

/// Carries out the verb `meter-stats`.
pub(super) fn stats(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    list(call, MultipartRequest::Meter)
}

fn list(
    call: &mut Call<'_>,
    request: impl FnOnce(MeterId) -> MultipartRequest,
) -> anyhow::Result<Outcome> {
    call.expect(0, 1)?;
    let text = call.words.first().map_or("", String::as_str);
    let meter = parse_meter_id(text).map_err(|error| Refusal::of_text(&error, None, 1, text))?;
    let mut channel = open(call)?;
    let request = request(meter.unwrap_or(MeterId::ALL));
    let replies = channel.all_parts(&OfMessage::MultipartRequest(request))?;
    call.print_numbers(&replies)
}

/// Carries out the verb `meter-features`.
pub(super) fn features(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(0, 0)?;
    let mut channel = open(call)?;
    let request = OfMessage::MultipartRequest(MultipartRequest::MeterFeatures);
    let reply = channel.transact(&request)?;
    call.print_numbers(&[reply])
}

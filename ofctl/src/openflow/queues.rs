//! The verbs about queues and about the map of Geneve options: `queue-stats`, `queue-get-config`,
//! `add-tlv-map`, `del-tlv-map` and `dump-tlv-map`.

use super::channel::Channel;
use super::{Call, Rejected, ports, switch};
use crate::{Outcome, Usage};
use flow::text::Protocols;
use flow::tlv_map::{TlvMap, TlvMapError, TlvMapping, TlvMod};
use flow::types::{OfPort, OfVersion};
use openflow::{EVERY_QUEUE, ErrorCode, MultipartRequest, OfMessage};

/// The port and the queue that the words name, by default every one.
fn asked(call: &Call<'_>, channel: &mut Channel) -> anyhow::Result<(OfPort, u32)> {
    let queue = match call.words.get(1) {
        None => EVERY_QUEUE,
        Some(word) if word.eq_ignore_ascii_case("all") => EVERY_QUEUE,
        Some(word) => word
            .parse()
            .map_err(|_| Usage(format!("{word} is not a queue: write a number or all")))?,
    };
    let port = match call.words.first() {
        Some(word) if word.eq_ignore_ascii_case("all") || word.eq_ignore_ascii_case("any") => {
            OfPort::NONE
        }
        _ => ports::asked(call, channel)?,
    };
    Ok((port, queue))
}

/// Carries out the verb `queue-stats`.
pub(super) fn stats(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 2)?;
    let (port, queue) = asked(call, &mut channel)?;
    let request = MultipartRequest::Queue { port, queue };
    let replies = channel.all_parts(&OfMessage::MultipartRequest(request))?;
    call.print_numbers(&replies)
}

/// Carries out the verb `queue-get-config`.
pub(super) fn configuration(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 2)?;
    let (port, queue) = asked(call, &mut channel)?;
    let version = channel.version();
    if version >= OfVersion::OpenFlow14 {
        let request = MultipartRequest::QueueDesc { port, queue };
        let replies = channel.all_parts(&OfMessage::MultipartRequest(request))?;
        return call.print_numbers(&replies);
    }
    // OpenFlow 1.0 can only ask for one port.
    let ports = match port {
        OfPort::NONE if version == OfVersion::OpenFlow10 => {
            let ports = ports::descriptions(&mut channel)?.into_iter().map(|desc| desc.port);
            ports.filter(|port| *port < OfPort::MAX).collect()
        }
        port => vec![port],
    };
    let mut replies = Vec::new();
    for port in ports {
        replies.push(channel.transact(&OfMessage::QueueGetConfigRequest(port))?);
    }
    call.print_numbers(&replies)
}

/// Carries out the verb `add-tlv-map`.
pub(super) fn add_mappings(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(1, 1)?;
    change(call, TlvMod::Add(mappings(&call.words[0])?))
}

/// Carries out the verb `del-tlv-map`.
pub(super) fn delete_mappings(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(0, 1)?;
    let request = match call.words.first() {
        Some(text) => TlvMod::Delete(mappings(text)?),
        None => TlvMod::Clear,
    };
    change(call, request)
}

fn change(call: &Call<'_>, request: TlvMod) -> anyhow::Result<Outcome> {
    let mut channel = call.open_in(Protocols::NXM_OXM)?;
    // The error of OpenFlow does not say which of several options has no room in this switch.
    let why = match TlvMap::default().apply(&request) {
        Err(error @ TlvMapError::NoRoom { .. }) => Some(error),
        _ => None,
    };
    let done = channel.carry_out(&[OfMessage::TlvTableMod(request)]);
    let is_about_length = |error: &anyhow::Error| {
        error.downcast_ref::<Rejected>().is_some_and(|it| it.code == Some(ErrorCode::TlvLength))
    };
    match (done, why) {
        (Err(error), Some(why)) if is_about_length(&error) => return Err(error.context(why)),
        (done, _) => done?,
    }
    switch::done(call)
}

/// Carries out the verb `dump-tlv-map`.
pub(super) fn dump_mappings(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 0)?;
    let reply = channel.transact(&OfMessage::TlvTableRequest)?;
    call.print_numbers(&[reply])
}

/// Parses mappings: `{class=0xffff,type=0x80,len=4}->tun_metadata0`, several with commas or blanks between.
fn mappings(text: &str) -> Result<Vec<TlvMapping>, Usage> {
    let wrong = |part: &str| {
        Usage(format!(
            "\"{part}\" is not a mapping: write {{class=CLASS,type=TYPE,len=BYTES}}->tun_metadataN"
        ))
    };
    let mut mappings = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (option, behind) = rest
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
            .ok_or_else(|| wrong(rest))?;
        let end = behind.find([',', ' ', '{']).unwrap_or(behind.len());
        let (field, behind) = behind.split_at(end);
        let field = field
            .strip_prefix("->tun_metadata")
            .and_then(|number| number.parse().ok())
            .filter(|number| *number < TlvMapping::FIELDS)
            .ok_or_else(|| wrong(rest))?;
        let mut mapping = TlvMapping { class: 0, kind: 0, len: 0, field };
        for pair in option.split(',') {
            let (key, value) = pair.split_once('=').ok_or_else(|| wrong(pair))?;
            let number = match value.trim().strip_prefix("0x") {
                Some(hex) => u16::from_str_radix(hex, 16).ok(),
                None => value.trim().parse().ok(),
            };
            let number = number.ok_or_else(|| wrong(pair))?;
            let byte = || u8::try_from(number).map_err(|_| wrong(pair));
            match key.trim() {
                "class" => mapping.class = number,
                "type" => mapping.kind = byte()?,
                "len" => mapping.len = byte()?,
                _ => return Err(wrong(pair)),
            }
        }
        mappings.push(mapping);
        rest = behind.trim_start_matches([',', ' ']);
    }
    if mappings.is_empty() { Err(wrong(text)) } else { Ok(mappings) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read() {
        let mapping = |class, kind, len, field| TlvMapping { class, kind, len, field };
        let text =
            "{class=0xffff,type=0x80,len=4}->tun_metadata0, {class=1,type=2,len=8}->tun_metadata9";
        assert_eq!(mappings(text).unwrap(), [mapping(0xffff, 0x80, 4, 0), mapping(1, 2, 8, 9)]);
        for wrong in [
            "",
            "{class=1}",
            "{class=1,type=300,len=4}->tun_metadata0",
            "{frob=1}->tun_metadata0",
            "{class=1,type=1,len=4}->tun_metadata64",
            "{class=1,type=1,len=4}->reg0",
        ] {
            assert!(mappings(wrong).is_err(), "{wrong}");
        }
    }
}

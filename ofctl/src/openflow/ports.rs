//! The verbs about ports, and `packet-out`.

use super::channel::Channel;
use super::{Call, switch};
use crate::options::PortAction;
use crate::{Outcome, connect};
use anyhow::bail;
use clap::ValueEnum;
use control::{Reason, Refusal};
use flow::key::PipelineKey;
use flow::text::{BridgeNames, NoPortNames, ParseContext, PortNames, TextError, parse_packet_out};
use flow::types::{OfPort, OfVersion, TableId};
use openflow::{MultipartReply, MultipartRequest, OfMessage, PortDesc, PortMod, port_config};

/// The descriptions of all ports of the switch.
pub(super) fn descriptions(channel: &mut Channel) -> anyhow::Result<Vec<PortDesc>> {
    let encoding = channel.encoding();
    // Up to OpenFlow 1.2, the reply about features has the ports.
    if channel.version() < OfVersion::OpenFlow13 {
        let reply = channel.transact(&OfMessage::FeaturesRequest)?;
        if let OfMessage::FeaturesReply(features) = OfMessage::decode(&reply, encoding)?
            && !is_full(&reply)
        {
            return Ok(features.ports);
        }
    }
    let mut ports = Vec::new();
    let request = OfMessage::MultipartRequest(MultipartRequest::PortDesc(OfPort::NONE));
    channel.parts(&request, |part| {
        if let OfMessage::MultipartReply(MultipartReply::PortDesc(some), _) =
            OfMessage::decode(&part, encoding)?
        {
            ports.extend(some);
        }
        Ok(())
    })?;
    Ok(ports)
}

/// Whether a message may have been cut because no more ports fit.
fn is_full(reply: &[u8]) -> bool {
    const PORT_SIZE: usize = 64;
    reply.len() + PORT_SIZE > usize::from(u16::MAX)
}

/// The names of the switch's ports and tables.
pub(super) fn names(channel: &mut Channel) -> anyhow::Result<BridgeNames> {
    let ports = descriptions(channel)?.into_iter().map(|port| (port.port, port.name)).collect();
    Ok(BridgeNames { ports, tables: table_names(channel) })
}

/// The names of tables, which stand in their counters up to OpenFlow 1.2, and in their features since.
fn table_names(channel: &mut Channel) -> Vec<(TableId, String)> {
    let (version, encoding) = (channel.version(), channel.encoding());
    let request = match version >= OfVersion::OpenFlow13 {
        true => MultipartRequest::TableFeatures(Vec::new()),
        false => MultipartRequest::Table,
    };
    let mut names = Vec::new();
    // A switch that does not know the request has no names of tables to tell.
    let _ = channel.parts(&OfMessage::MultipartRequest(request), |part| {
        match OfMessage::decode(&part, encoding)? {
            OfMessage::MultipartReply(MultipartReply::TableFeatures(tables), _) => {
                names.extend(tables.into_iter().map(|table| (table.table, table.name)));
            }
            OfMessage::MultipartReply(MultipartReply::Table(tables), _) => {
                names.extend(tables.into_iter().map(|table| (table.table, table.name)));
            }
            _ => {}
        }
        Ok(())
    });
    // Some switches give a table without a name the name "table5".
    names.retain(|(table, name)| !name.is_empty() && *name != format!("table{table}"));
    names
}

/// Parses text that may name ports and tables of the switch. The switch is asked for the names only if the text
/// cannot be parsed without.
pub(super) fn with_names<T>(
    channel: &mut Channel,
    mut parse: impl FnMut(&dyn PortNames) -> Result<T, TextError>,
) -> anyhow::Result<Result<T, TextError>> {
    match parse(&NoPortNames) {
        Ok(parsed) => Ok(Ok(parsed)),
        Err(_) => Ok(parse(&names(channel)?)),
    }
}

/// The port of the switch that a word names, by its number or its name; `None` if there is none.
fn port_of(channel: &mut Channel, word: &str) -> anyhow::Result<Option<PortDesc>> {
    let descriptions = descriptions(channel)?;
    let number = word.parse::<u16>().ok().map(OfPort);
    let is_meant = |port: &&PortDesc| {
        port.name == word
            || number == Some(port.port)
            || word == "LOCAL" && port.port == OfPort::LOCAL
    };
    Ok(descriptions.iter().find(is_meant).cloned())
}

/// The port that a request is about: the one that the only word names, else every port.
pub(super) fn asked(call: &Call<'_>, channel: &mut Channel) -> anyhow::Result<OfPort> {
    match call.words.first() {
        None => Ok(OfPort::NONE),
        Some(word) => match word.parse::<u16>() {
            Ok(number) => Ok(OfPort(number)),
            Err(_) if word.eq_ignore_ascii_case("local") => Ok(OfPort::LOCAL),
            Err(_) => match port_of(channel, word)? {
                Some(port) => Ok(port.port),
                None => bail!("{}: unknown port `{word}'", call.place.name),
            },
        },
    }
}

/// Carries out the verb `dump-ports`.
pub(super) fn dump(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 1)?;
    let request = MultipartRequest::Port(asked(call, &mut channel)?);
    let names = call.shown_names(&mut channel)?;
    let replies = channel.all_parts(&OfMessage::MultipartRequest(request))?;
    call.print(&replies, &names)
}

/// Carries out the verb `dump-ports-desc`.
pub(super) fn describe(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 1)?;
    let request = MultipartRequest::PortDesc(asked(call, &mut channel)?);
    let replies = channel.all_parts(&OfMessage::MultipartRequest(request))?;
    call.print_numbers(&replies)
}

/// Carries out the verb `mod-port`.
pub(super) fn modify(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(2, 2)?;
    let Some((bit, is_set)) = config_bit(&call.words[1]) else {
        return Err(connect::wrong_usage(call.options));
    };
    let mut channel = call.open(2, 2)?;
    let word = &call.words[0];
    let Some(port) = port_of(&mut channel, word)? else {
        bail!("{}: couldn't find port `{word}'", call.place.name);
    };
    // Other versions do not have the bits that only OpenFlow 1.0 has. As in ovs-ofctl, a
    // request without a bit remains.
    let is_10 = channel.version() == OfVersion::OpenFlow10;
    let mask = if is_10 { bit } else { bit & !port_config::ONLY_10 };
    let config = if is_set { mask } else { 0 };
    let request = PortMod { port: port.port, mac: port.mac, config, mask, advertise: 0 };
    channel.carry_out(&[OfMessage::PortMod(request)])?;
    switch::done(call)
}

/// The bit of [`port_config`] that a word is about, and whether the word sets the bit; `None`
/// if nobody knows the word.
fn config_bit(word: &str) -> Option<(u32, bool)> {
    // `ovs-ofctl` takes another spelling of a word, too.
    let action = match word.to_ascii_lowercase().as_str() {
        "noflood" => PortAction::NoFlood,
        _ => PortAction::from_str(word, true).ok()?,
    };
    Some(match action {
        PortAction::Up => (port_config::DOWN, false),
        PortAction::Down => (port_config::DOWN, true),
        PortAction::Flood => (port_config::NO_FLOOD, false),
        PortAction::NoFlood => (port_config::NO_FLOOD, true),
        PortAction::Stp => (port_config::NO_STP, false),
        PortAction::NoStp => (port_config::NO_STP, true),
        PortAction::ReceiveStp => (port_config::NO_RECV_STP, false),
        PortAction::NoReceiveStp => (port_config::NO_RECV_STP, true),
        PortAction::Receive => (port_config::NO_RECV, false),
        PortAction::NoReceive => (port_config::NO_RECV, true),
        PortAction::Forward => (port_config::NO_FWD, false),
        PortAction::NoForward => (port_config::NO_FWD, true),
        PortAction::PacketIn => (port_config::NO_PACKET_IN, false),
        PortAction::NoPacketIn => (port_config::NO_PACKET_IN, true),
    })
}

/// How many words the old form of `packet-out` can have: port, actions, and packets.
const MANY: usize = 1024;

/// Carries out the verb `packet-out`.
pub(super) fn packet_out(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(1, MANY)?;
    let texts = match call.words {
        [text] => vec![text.clone()],
        [in_port, actions, packets @ ..] if !packets.is_empty() => packets
            .iter()
            .map(|packet| format!("in_port={in_port},packet={packet},actions={actions}"))
            .collect(),
        _ => return Err(connect::wrong_usage(call.options)),
    };
    let how = &call.options.how;
    let mut channel = call.open(1, MANY)?;
    let version = channel.version();
    let mut requests = Vec::new();
    for text in &texts {
        let parsed = with_names(&mut channel, |ports| {
            let context =
                ParseContext { version, lenient: how.lenient, ports, ..ParseContext::default() };
            parse_packet_out(text, &context)
        })?;
        let packet_out = parsed.map_err(|error| Refusal::of_text(&error, None, 1, text))?;
        let is_lost = packet_out.state != PipelineKey::default() && version < OfVersion::OpenFlow15;
        if is_lost && !how.lenient {
            let text = "registers and metadata of a packet-out need OpenFlow 1.5";
            return Err(Refusal::new(Reason::Text, text).with_hint("use -O OpenFlow15").into());
        }
        requests.push(OfMessage::PacketOut(Box::new(packet_out)));
    }
    channel.carry_out(&requests)?;
    switch::done(call)
}

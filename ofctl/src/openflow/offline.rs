//! The verbs that print messages and packets without a switch:
//! `ofp-print`, `ofp-parse`, `ofp-parse-pcap` and `compose-packet`.

use super::pcap::{self, Direction};
use super::{MessageRecord, print_messages};
use crate::options::{Composed, File, HexMessage, Options, PcapFile};
use crate::output::{Output, print_json};
use crate::{Outcome, Usage, files};
use anyhow::{Context, bail};
use control::Refusal;
use flow::compose::compose;
use flow::text::{ParseContext, parse_match};
use oftext::{Printer, hex_dump};
use openflow::{HEADER_SIZE, MessageHeader};
use serde::Serialize;
use std::io::{Read, Write};
use std::net::IpAddr;

/// Carries out the verb `ofp-print`: prints a message that is given in hexadecimal, or on standard input.
pub(crate) fn ofp_print(options: &Options, arguments: &HexMessage) -> anyhow::Result<Outcome> {
    let bytes = match &*arguments.hex {
        "-" => bytes(&files::read("-")?)?,
        hex => bytes(hex)?,
    };
    let verbosity = arguments.verbosity.unwrap_or(options.how.verbosity() + 1);
    print_messages(options, &[bytes], &Printer { verbosity, ..Printer::default() })
}

/// The bytes of a text in hexadecimal. Blanks between the digits are allowed.
pub(super) fn bytes(hex: &str) -> Result<Vec<u8>, Usage> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let wrong = || Usage("trailing garbage following hex bytes".to_owned());
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong());
    }
    let digit = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8);
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect::<Option<_>>()
        .ok_or_else(wrong)
}

/// The bytes of a file.
fn contents(path: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let name = files::name(path);
    files::open(path)?.read_to_end(&mut bytes).with_context(|| format!("read {name}"))?;
    Ok(bytes)
}

/// Carries out the verb `ofp-parse`: prints the messages of a file, which stand in it one behind the other.
pub(crate) fn ofp_parse(options: &Options, arguments: &File) -> anyhow::Result<Outcome> {
    let (path, name) = (&arguments.file, files::name(&arguments.file));
    let all = contents(path)?;
    let printer = Printer { verbosity: options.how.verbosity() + 2, ..Printer::default() };
    let mut messages = Vec::new();
    let mut rest = &all[..];
    let mut problem = None;
    while !rest.is_empty() {
        let len = MessageHeader::read(rest).map(|header| usize::from(header.len));
        if let Some(len) = len.filter(|len| *len < HEADER_SIZE) {
            problem = Some(format!("{name}: {len}-byte message is too short for OpenFlow"));
            break;
        }
        let Some((message, behind)) = len.and_then(|len| rest.split_at_checked(len)) else {
            problem = Some(format!("{name}: unexpected end of file mid-message"));
            break;
        };
        messages.push(message.to_vec());
        rest = behind;
    }
    let outcome = print_messages(options, &messages, &printer)?;
    // What could be read is printed in front of the error.
    problem.map_or(Ok(outcome), |problem| bail!(problem))
}

/// A message of a capture, as `--json` prints it.
#[derive(Serialize)]
struct Captured {
    /// Address and port of the sender.
    from: String,
    /// Address and port of the receiver.
    to: String,
    message: MessageRecord,
}

/// The ports of OpenFlow connections: the official one, and the one before it was official.
const PORTS: [u16; 2] = [6653, 6633];

/// Carries out the verb `ofp-parse-pcap`: prints the messages in a capture.
pub(crate) fn ofp_parse_pcap(options: &Options, arguments: &PcapFile) -> anyhow::Result<Outcome> {
    let (path, name) = (&arguments.file, files::name(&arguments.file));
    let capture = contents(path)?;
    let frames = pcap::frames(&capture).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    let ports = if arguments.ports.is_empty() { &PORTS[..] } else { &arguments.ports };
    let printer = Printer { verbosity: options.how.verbosity() + 1, ..Printer::default() };
    let messages = pcap::messages(&frames, ports);
    if options.how.json {
        let captured = messages.iter().map(|(direction, message)| Captured {
            from: end(direction.from),
            to: end(direction.to),
            message: MessageRecord::new(message, &printer),
        });
        print_json(&captured.collect::<Vec<_>>())?;
        return Ok(Outcome::Done);
    }
    let mut out = Output::new();
    for (n, (Direction { from, to }, message)) in messages.iter().enumerate() {
        let gap = if n == 0 { "" } else { "\n" };
        write!(out, "{gap}{} > {}:\n{}", end(*from), end(*to), printer.print(message))?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}

/// An end of a connection as `tcpdump` writes it.
fn end((address, port): (IpAddr, u16)) -> String {
    format!("{address}.{port}")
}

/// A packet, as `--json` prints it.
#[derive(Serialize)]
struct Packet {
    /// The bytes in hexadecimal.
    packet: String,
    /// How many bytes the packet has.
    bytes: usize,
}

/// Carries out the verb `compose-packet`: prints the bytes of a packet with these headers.
pub(crate) fn compose_packet(options: &Options, arguments: &Composed) -> anyhow::Result<Outcome> {
    let how = &options.how;
    let context =
        ParseContext { version: how.version(), lenient: how.lenient, ..ParseContext::default() };
    let matching = parse_match(&arguments.flow, &context)
        .map_err(|error| Refusal::of_text(&error, None, 1, &arguments.flow))?;
    let packet = compose(&matching.key().headers);
    let mut out = Output::new();
    let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
    if how.json {
        print_json(&Packet { bytes: packet.len(), packet: hex })?;
        return Ok(Outcome::Done);
    }
    if arguments.bare {
        writeln!(out, "{hex}")?;
    } else {
        let mut text = String::new();
        hex_dump(&mut text, &packet, false);
        out.write_all(text.as_bytes())?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}

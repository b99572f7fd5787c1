//! Reads which packet is to be traced, and says why one cannot be.

use super::super::names::NameTable;
use super::super::refuse::{self, Line};
use crate::bridge::trace::{HostName, MAX_FRAME_SIZE, TraceError, TracePacket, TraceRequest};
use control::{Reason, Refusal, TraceQuery};
use flow::Match;
use flow::text::{ParseContext, parse_mac, parse_match};
use flowtable::trace::Difference;
use packet::wire::ethernet;
use std::net::IpAddr;

/// The request that a query's texts make. `is_lenient` says whether the switch reads every text leniently.
pub(super) fn parse(
    query: &TraceQuery,
    is_lenient: bool,
    names: &NameTable,
) -> Result<TraceRequest, Box<Refusal>> {
    let lenient = is_lenient || query.lenient;
    let context = ParseContext { ports: names, lenient, ..ParseContext::default() };
    let line = Line { file: None, number: 1, text: &query.flow };
    let flow = match query.flow.as_str() {
        "" => Match::any(),
        text => parse_match(text, &context).map_err(|error| refuse::text(&error, line))?,
    };
    let from = query.from.as_deref().map(parse_host).transpose()?;
    let to = query.to.as_deref().map(parse_host).transpose()?;
    let has_hosts = from.is_some() || to.is_some();
    let packet = match &query.packet {
        Some(_) if has_hosts => {
            let message = "the packet itself says which hosts it is from and to";
            return Err(Box::new(refused(message).with_hint("leave out the hosts")));
        }
        Some(hex) => TracePacket::Frame(parse_hex(hex)?),
        None if has_hosts => TracePacket::Between { from, to },
        None => TracePacket::Described,
    };
    let ct_next = query.ct_next.clone();
    Ok(TraceRequest { flow, packet, ct_next, finds_losers: query.explain })
}

fn parse_host(text: &str) -> Result<HostName, Box<Refusal>> {
    if let Some(mac) = parse_mac(text) {
        return Ok(HostName::Mac(mac));
    }
    text.parse::<IpAddr>().map(HostName::Ip).map_err(|_| {
        let message = format!("\"{text}\" is neither a MAC address nor an IP address");
        Box::new(refused(message).with_hint("ofctl fdb-show lists the hosts that were learned"))
    })
}

/// The bytes that hexadecimal digits stand for. White space, colons and dots may separate them, and
/// lines may begin with an offset, as tcpdump -xx writes them.
fn parse_hex(text: &str) -> Result<Vec<u8>, Box<Refusal>> {
    let is_offset = |word: &&str| word.starts_with("0x") && word.ends_with(':');
    let words = text.split_ascii_whitespace().filter(|word| !is_offset(word));
    let mut digits: Vec<u8> = Vec::new();
    for c in words.flat_map(str::chars).filter(|c| !matches!(c, ':' | '.')) {
        let digit = c.to_digit(16).ok_or_else(|| {
            let message =
                format!("{c:?} is no hexadecimal digit: a packet is written as 0200000000010200…");
            Box::new(refused(message))
        })?;
        digits.push(digit as u8);
    }
    if !digits.len().is_multiple_of(2) {
        let message = format!("the packet ends with half a byte: it has {} digits", digits.len());
        return Err(Box::new(refused(message)));
    }
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A refusal with the reason, and what would have worked.
pub(super) fn refuse(error: &TraceError, flow: &Match, names: &NameTable) -> Box<Refusal> {
    Box::new(match error {
        TraceError::UnknownSource => refused(error).with_hint("add in_port=PORT to the flow"),
        TraceError::NoPort(port) => *refuse::no_port(&port.to_string()),
        TraceError::FrameSize(size) if *size < ethernet::HEADER_SIZE => refused(format!(
            "the packet has {size} bytes: an Ethernet header alone has {}",
            ethernet::HEADER_SIZE
        )),
        TraceError::FrameSize(size) => refused(format!(
            "the packet has {size} bytes: no port receives more than {MAX_FRAME_SIZE}"
        )),
        TraceError::Contradiction { field, packet } => {
            let Difference { packet, wanted } = Difference::new(*field, flow, packet, names);
            refused(format!("the packet has {packet}, the flow says {wanted}"))
                .with_hint("in_port alone is enough")
        }
        TraceError::OtherHosts(field) => {
            refused(error).with_hint(format!("leave out {}", field.def().name))
        }
        TraceError::OtherProtocol(_) => refused(error)
            .with_hint("leave the protocol out of the flow, or give a host of that protocol"),
        TraceError::NoHost { similar, is_receiver, .. } => {
            let mut hint = match similar {
                Some((mac, port)) => {
                    format!("{mac} was, on port {port}; ofctl fdb-show lists all")
                }
                None => "ofctl fdb-show lists the hosts that were".to_owned(),
            };
            if *is_receiver {
                hint += "; to see where an unknown address goes, write dl_dst=… in the flow";
            }
            not_found(error).with_hint(hint)
        }
        TraceError::NoHostWithIp(ip) => {
            let field = if ip.is_ipv4() { "ip,nw_dst" } else { "ipv6,ipv6_dst" };
            not_found(error).with_hint(format!(
                "name the host by its MAC address (ofctl fdb-show), and the IP address in the flow: {field}={ip}"
            ))
        }
        TraceError::SeveralLocations { mac, locations } => {
            let known = locations.iter().map(|l| format!("VLAN {} (port {})", l.vlan, l.port));
            let known: Vec<String> = known.collect();
            refused(format!("{mac} is known in {}", known.join(" and ")))
                .with_hint("say which one is meant with dl_vlan=… or in_port=…")
        }
    })
}

fn refused(message: impl ToString) -> Refusal {
    Refusal::new(Reason::Text, message.to_string())
}

fn not_found(message: impl ToString) -> Refusal {
    Refusal::new(Reason::NotFound, message.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &str = "0200 0000 0002 0200 0000 0001 88b5";

    fn message(text: &str) -> String {
        parse_hex(text).unwrap_err().message
    }

    #[test]
    fn packets_are_read_from_digits() {
        let bytes = parse_hex(FRAME).unwrap();
        assert_eq!(bytes.len(), 14);
        assert_eq!(&bytes[12..], [0x88, 0xb5]);
        assert_eq!(parse_hex("02:00:00:00:00:02 02.00.00.00.00.01\n88B5").unwrap(), bytes);
        assert_eq!(parse_hex(&format!("\t0x0000:  {FRAME}\n\t0x0010:  ")).unwrap(), bytes);
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        assert!(message("02000").starts_with("the packet ends with half a byte"));
        assert!(message("0x0200").starts_with("'x' is no hexadecimal digit"));
    }
}

//! Which packet is meant, and where it comes in: by a match, by its bytes, by two hosts.

use super::super::names::NameTable;
use super::super::refuse::{self, Line};
use super::hosts;
use crate::switch::OnBridge;
use control::{Reason, Refusal, TraceQuery};
use flow::Match;
use flow::compose::compose;
use flow::extract::{Arrival, extract};
use flow::fields::FieldId;
use flow::key::{FlowKey, PipelineKey, PipelineMask, VLAN_VID_MASK};
use flow::text::{ParseContext, parse_match};
use flow::types::{MacAddr, OfPort, PortNo};
use flowtable::policy::mac_table::MacKey;
use flowtable::trace::{Difference, as_it_comes_in, differences};
use packet::wire::ethernet;

/// The longest frame that a port receives.
const MAX_SIZE: usize = 65_535;

/// The port and the bytes of the packet that a query means.
pub(super) fn meant(
    switch: &OnBridge<'_>,
    query: &TraceQuery,
    names: &NameTable,
) -> Result<(PortNo, Vec<u8>), Box<Refusal>> {
    let context = ParseContext { ports: names, ..ParseContext::default() };
    let line = Line { file: None, number: 1, text: &query.flow };
    let flow = match query.flow.as_str() {
        "" => Match::any(),
        text => parse_match(text, &context).map_err(|error| refuse::text(&error, line))?,
    };
    let has_hosts = query.from.is_some() || query.to.is_some();
    match &query.packet {
        Some(_) if has_hosts => {
            let message = "the packet itself says which hosts it is from and to";
            Err(Box::new(Refusal::new(Reason::Text, message).with_hint("leave out the hosts")))
        }
        Some(hex) => {
            let frame = parse_hex(hex)?;
            let (in_port, of) = port_of(switch, &flow, Some(&frame))?;
            let (key, _) = extract(Arrival::on(in_port), &frame, switch.vlan_limit());
            agrees(&flow, &as_it_comes_in(&key, |_| Some(of)), names)?;
            Ok((in_port, frame))
        }
        None => {
            let flow = match has_hosts {
                true => hosts::between(switch, &flow, query)?,
                false => flow,
            };
            let (in_port, _) = port_of(switch, &flow, None)?;
            Ok((in_port, compose(&flow.key().headers)))
        }
    }
}

/// Where the packet comes in: where the match says, or where the sender of the frame was learned.
fn port_of(
    switch: &OnBridge<'_>,
    flow: &Match,
    frame: Option<&[u8]>,
) -> Result<(PortNo, OfPort), Box<Refusal>> {
    let snapshot = switch.bridge().snapshot();
    let is_given = FieldId::InPort.is_exact(flow.mask());
    let of = if is_given {
        Some(flow.key().in_port.get())
    } else {
        frame.and_then(|frame| {
            let (FlowKey { headers, .. }, _) =
                extract(Arrival::default(), frame, switch.vlan_limit());
            let vlan = headers.vlan_tci.get() & VLAN_VID_MASK;
            let host = MacKey { vlan, mac: MacAddr(headers.dl_src) };
            snapshot.macs().lookup(host).map(|entry| entry.port)
        })
    };
    let Some(of) = of else {
        return Err(no_in_port(frame));
    };
    match snapshot.ports().get(of) {
        Some(port) => port.port_no().map(|port_no| (port_no, of)).ok_or_else(patch_port),
        None => Err(refuse::no_port(&of.to_string())),
    }
}

fn patch_port() -> Box<Refusal> {
    let message = "nothing is received on a patch port itself";
    Box::new(Refusal::new(Reason::Text, message).with_hint("trace from a port of the other bridge"))
}

fn no_in_port(frame: Option<&[u8]>) -> Box<Refusal> {
    let (message, hint) = match frame {
        Some(_) => (
            "nobody knows where the packet comes in: its source address was not learned",
            "add in_port=1",
        ),
        None => (
            "a packet to trace comes in somewhere: it needs an in_port",
            "add in_port=1, or --from with the MAC address of a host",
        ),
    };
    Box::new(Refusal::new(Reason::Text, message).with_hint(hint))
}

/// What is said of a packet beside its bytes has to be true.
fn agrees(flow: &Match, packet: &PipelineKey, names: &NameTable) -> Result<(), Box<Refusal>> {
    let Some(&field) = differences(flow, packet).first() else {
        return Ok(());
    };
    let Difference { packet, wanted } = Difference::new(field, flow, packet, names);
    let message = format!("the packet has {packet}, the flow says {wanted}");
    Err(Box::new(Refusal::new(Reason::Text, message).with_hint("in_port alone is enough")))
}

/// The bytes that hexadecimal digits stand for. White space, colons and dots may separate them, and
/// lines may begin with an offset, as tcpdump -xx writes them.
fn parse_hex(text: &str) -> Result<Vec<u8>, Box<Refusal>> {
    let bad = |message: String| Box::new(Refusal::new(Reason::Text, message));
    let is_offset = |word: &&str| word.starts_with("0x") && word.ends_with(':');
    let words = text.split_ascii_whitespace().filter(|word| !is_offset(word));
    let mut digits: Vec<u8> = Vec::new();
    for c in words.flat_map(str::chars).filter(|c| !matches!(c, ':' | '.')) {
        let digit = c.to_digit(16).ok_or_else(|| {
            bad(format!("{c:?} is no hexadecimal digit: a packet is written as 0200000000010200…"))
        })?;
        digits.push(digit as u8);
    }
    if !digits.len().is_multiple_of(2) {
        return Err(bad(format!(
            "the packet ends with half a byte: it has {} digits",
            digits.len()
        )));
    }
    match digits.len() / 2 {
        size if size < ethernet::HEADER_SIZE => Err(bad(format!(
            "the packet has {size} bytes: an Ethernet header alone has {}",
            ethernet::HEADER_SIZE
        ))),
        size if size > MAX_SIZE => {
            Err(bad(format!("the packet has {size} bytes: no port receives more than {MAX_SIZE}")))
        }
        _ => Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()),
    }
}

/// A match that becomes more precise.
pub(super) struct Draft {
    key: PipelineKey,
    mask: PipelineMask,
}

impl Draft {
    pub(super) fn new(flow: &Match) -> Self {
        Self { key: *flow.key(), mask: *flow.mask() }
    }

    pub(super) fn key(&self) -> &PipelineKey {
        &self.key
    }

    /// Whether anything is said of a field.
    pub(super) fn has(&self, field: FieldId) -> bool {
        field.get_mask(&self.mask) != 0
    }

    /// Gives a field a value. False if it has another one.
    pub(super) fn set(&mut self, field: FieldId, value: u128) -> bool {
        let known = field.get_mask(&self.mask);
        let agrees = (field.read(&self.key) ^ value) & known == 0;
        if agrees {
            field.write(&mut self.key, value, u128::MAX);
            field.set_mask(&mut self.mask, field.full_mask());
        }
        agrees
    }

    pub(super) fn finish(self) -> Match {
        Match::new(&self.key, &self.mask)
    }
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
        assert!(message("0200").starts_with("the packet has 2 bytes"));
        assert!(message("0x0200").starts_with("'x' is no hexadecimal digit"));
        assert!(message(&"00".repeat(70_000)).contains("no port receives more"));
    }
}

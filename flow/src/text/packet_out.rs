//! Parses packet-outs: `in_port=1,metadata=5,packet=ffffffffffff0200...,actions=output:2`.

use super::error::{Fault, TextError};
use super::order::Nesting;
use super::pairs::{Pair, Pairs};
use super::parse_action::ActionParser;
use super::parse_match::MatchBuilder;
use super::printable::quoted;
use super::protocol::Protocols;
use super::request::{behind_actions, no_format, receivable};
use super::words::{self, Word};
use super::{ParseContext, Unfit, check_received, consistency, port, value};
use crate::action::Action;
use crate::dialect;
use crate::extract::{Arrival, extract};
use crate::fields::FieldId;
use crate::key::{FlowKey, Headers, PipelineKey, PipelineMask};
use crate::matching::Match;
use crate::packet_out::PacketOut;
use crate::types::{OfPort, OfVersion};
use packet::wire::ethernet;
use zerocopy::FromBytes;

/// How many VLAN tags extraction reads when actions are checked against the packet.
const VLAN_LIMIT: u8 = 2;

/// Parses a packet-out: `packet=HEX`, `actions=`, and optionally `in_port`, `metadata` and registers. Without
/// `in_port`, the packet comes from `CONTROLLER`.
///
/// ```
/// use flow::text::{ParseContext, parse_packet_out};
/// let text = "in_port=1,packet=ffffffffffff02000000000188b5,actions=output:2";
/// assert_eq!(parse_packet_out(text, &ParseContext::default()).unwrap().packet.len(), 14);
/// ```
///
/// # Errors
///
/// A part of the text is not valid, or an action cannot apply to this packet.
pub fn parse_packet_out(text: &str, context: &ParseContext<'_>) -> Result<PacketOut, TextError> {
    let mut reader = Reader {
        text,
        context,
        in_port: None,
        packet: None,
        state: MatchBuilder::new(text, context.lenient),
    };
    let mut list = None;
    let mut pairs = Pairs::new(text);
    while let Some(pair) = pairs.next() {
        if let Some(rest) = behind_actions(text, &pair, &pairs) {
            list = Some(rest);
            break;
        }
        reader.pair(&pair)?;
    }
    let Some(packet) = reader.packet else {
        let fault = Fault::new("the packet is missing").hint("add packet=HEX");
        return Err(TextError::at(text, text, fault));
    };
    let actions = match list {
        Some(list) => actions(text, list, &packet, context)?,
        None if context.lenient => Vec::new(),
        None => {
            let fault = Fault::new("the actions are missing");
            let hint = "add actions=output:PORT, or actions=TABLE to ask the rules";
            return Err(TextError::at(text, text, fault.hint(hint)));
        }
    };
    reader.state.finish()?;
    let state = *reader.state.matching().key();
    let in_port = reader.in_port.unwrap_or(OfPort::CONTROLLER);
    Ok(PacketOut { in_port, packet, state, actions })
}

/// Collects the parts of a packet-out in front of its actions.
struct Reader<'a> {
    text: &'a str,
    context: &'a ParseContext<'a>,
    in_port: Option<OfPort>,
    packet: Option<Vec<u8>>,
    /// Metadata, registers and the fields of a tunnel.
    state: MatchBuilder<'a>,
}

impl<'a> Reader<'a> {
    fn pair(&mut self, pair: &Pair<'a>) -> Result<(), TextError> {
        let part = if pair.value.is_empty() { pair.whole } else { pair.value };
        let error = |fault: Fault| TextError::at(self.text, part, fault.of(pair.key));
        let twice = |is_twice: bool| match is_twice && !self.context.lenient {
            true => Err(error(Fault::new("given twice").hint("remove one of them"))),
            false => Ok(()),
        };
        match pair.key {
            "packet" => {
                twice(self.packet.is_some())?;
                self.packet = Some(frame(pair.value).map_err(error)?);
            }
            "in_port" => {
                twice(self.in_port.is_some())?;
                self.in_port = Some(self.port(pair.value).map_err(error)?);
            }
            _ => match words::lookup(pair.key) {
                Some(&Word::Field(field)) if is_state(field) => {
                    let context = self.context;
                    let masked = value::parse(field, pair.value, context.ports, context.lenient)
                        .map_err(error)?;
                    self.state.field(field, &masked, pair.key, pair.whole)?;
                }
                Some(Word::Field(_) | Word::Protocol { .. }) => {
                    let fault = Fault::new("the bytes of the packet say this field").hint(
                        "besides packet there are in_port, metadata, registers and tun_ fields",
                    );
                    return Err(TextError::at(self.text, pair.whole, fault.of(pair.key)));
                }
                _ => {
                    let fault = Fault::new(format!("unknown keyword {}", quoted(pair.key))).hint(
                        "there are in_port, packet, metadata, registers, tun_ fields and actions",
                    );
                    return Err(TextError::at(self.text, pair.key, fault));
                }
            },
        }
        Ok(())
    }

    fn port(&self, text: &str) -> Result<OfPort, Fault> {
        let port = port::parse(text, self.context.ports, self.context.lenient)?;
        let is_source =
            port < OfPort::MAX || matches!(port, OfPort::LOCAL | OfPort::CONTROLLER | OfPort::NONE);
        match is_source {
            true => Ok(port),
            false => Err(Fault::new(format!("no packet comes from {port}"))
                .hint("a source is a port, LOCAL, CONTROLLER or NONE")),
        }
    }
}

/// Whether a packet-out can set the field: metadata, registers and the fields of a tunnel that actions can
/// change, which are not part of the packet's bytes.
fn is_state(field: FieldId) -> bool {
    field.is_of_tunnel() && field.def().writable
        || matches!(
            field,
            FieldId::Metadata | FieldId::Reg(_) | FieldId::XReg(_) | FieldId::XxReg(_)
        )
}

/// Parses the bytes of a frame, two hexadecimal digits each.
fn frame(hex: &str) -> Result<Vec<u8>, Fault> {
    if let Some(odd) = hex.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(Fault::new(format!("{odd:?} is not a hexadecimal digit"))
            .hint("write the bytes of the frame without blanks and without 0x"));
    }
    if !hex.len().is_multiple_of(2) {
        return Err(Fault::new("the last byte has only one digit"));
    }
    let digit = |d: u8| char::from(d).to_digit(16).unwrap_or(0) as u8;
    let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(|d| digit(d[0]) << 4 | digit(d[1])).collect();
    match bytes.len() {
        len if len < ethernet::HEADER_SIZE => Err(Fault::new(format!(
            "{len} bytes are no frame: an Ethernet header has {}",
            ethernet::HEADER_SIZE
        ))),
        len if len > MAX_FRAME => {
            Err(Fault::new(format!("{len} bytes are no frame: it has {MAX_FRAME} at most")))
        }
        _ => Ok(bytes),
    }
}

/// The largest frame that a packet-out can have, in bytes.
const MAX_FRAME: usize = 65_535;

/// Parses the actions `list`, which is a part of `text`, and checks them against the packet.
fn actions(
    text: &str,
    list: &str,
    packet: &[u8],
    context: &ParseContext<'_>,
) -> Result<Vec<Action>, TextError> {
    let error = |part: &str, fault| TextError::at(text, part, fault);
    let culprit = |index| Pairs::new(list).nth(index).map_or(list, |pair| pair.whole);
    let mut parser = ActionParser::new(text, context);
    let actions = parser.list(list, Nesting::OutsideRules)?;
    let matching = exactly(packet);
    let verdict = consistency::check(&actions, &matching, None)
        .map_err(|refused| error(culprit(refused.index), refused.fault))?;
    let allowed = Protocols::of_version(context.version);
    if parser.usable.and(allowed).is_empty() {
        return Err(error(list, no_format(parser.usable, allowed)));
    }
    if let Some((index, needed)) = verdict.mismatch
        && parser.usable.and(verdict.usable).and(allowed).is_empty()
    {
        let culprit = culprit(index);
        let name = Pairs::new(culprit).next().map_or(culprit, |pair| pair.key);
        let needed = needed.keywords().first().copied().unwrap_or("a VLAN tag");
        let fault = format!("{name} needs {needed}, which the packet is not or has not");
        return Err(error(culprit, fault.into()));
    }
    let carried = dialect::actions(&actions, context.version, &matching);
    receivable(&carried, context.version).map_err(|fault| error(list, fault))?;
    Ok(carried.into_owned())
}

/// Checks the actions of a packet-out that a message of `version` carried. Like Open vSwitch, this asks whether
/// they fit the headers of the packet.
///
/// # Errors
/// Why the switch refuses the packet-out.
pub fn check_received_packet(packet_out: &PacketOut, version: OfVersion) -> Result<(), Unfit> {
    check_received(&packet_out.actions, &exactly(&packet_out.packet), None, version)
}

/// The match that looks at every header field and selects packets with the headers of this one.
fn exactly(packet: &[u8]) -> Match {
    let (FlowKey { headers, .. }, _) = extract(Arrival::default(), packet, VLAN_LIMIT);
    let all = Headers::read_from_bytes(&[0xff; size_of::<Headers>()]).unwrap_or_default();
    let key = PipelineKey { headers, ..PipelineKey::default() };
    let bits = PipelineKey { headers: all, ..PipelineKey::default() };
    Match::new(&key, &PipelineMask { bits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::OfVersion;

    const UDP: &str = "ffffffffffff02000000000108004500001c00000000401100000102030405060708\
                       0001000200080000";
    const ARP: &str = "ffffffffffff020000000001080600010800060400010200000000010102030400000000\
                       000005060708";

    fn read(text: &str) -> Result<PacketOut, String> {
        let text = text.replace("UDP", UDP).replace("ARP", ARP);
        let ports = vec![(OfPort(2), "veth1".to_owned())];
        let context = ParseContext { ports: &ports, ..ParseContext::default() };
        parse_packet_out(&text, &context).map_err(|error| error.to_string())
    }

    #[test]
    fn a_packet_out_names_source_state_packet_and_actions() {
        let out = read("in_port=veth1 metadata=5,reg3=0x7,packet=UDP actions=output:1,TABLE");
        let out = out.unwrap();
        assert_eq!(out.in_port, OfPort(2));
        assert_eq!(out.packet.len(), 42);
        assert_eq!((out.state.metadata.get(), out.state.regs[3].get()), (5, 7));
        let output = Action::output;
        assert_eq!(out.actions, [output(OfPort(1)), output(OfPort::TABLE)]);
        assert_eq!(read("packet=UDP,actions=drop").unwrap().in_port, OfPort::CONTROLLER);
        assert_eq!(read("packet=UDP,in_port=none,actions=").unwrap().in_port, OfPort::NONE);
    }

    #[test]
    fn invalid_packet_outs_are_refused() {
        for (text, expected) in [
            ("actions=2", "the packet is missing (add packet=HEX)"),
            (
                "packet=UDP",
                "the actions are missing (add actions=output:PORT, or actions=TABLE to ask the rules)",
            ),
            (
                "packet=0x00,actions=2",
                "packet: 'x' is not a hexadecimal digit (write the bytes of the frame without blanks and without 0x)",
            ),
            ("packet=fff,actions=2", "packet: the last byte has only one digit"),
            ("packet=ffff,actions=2", "packet: 2 bytes are no frame: an Ethernet header has 14"),
            ("packet=UDP,packet=UDP,actions=2", "packet: given twice (remove one of them)"),
            (
                "in_port=FLOOD,packet=UDP,actions=2",
                "in_port: no packet comes from FLOOD (a source is a port, LOCAL, CONTROLLER or NONE)",
            ),
            (
                "packet=UDP,dl_vlan=5,actions=2",
                "dl_vlan: the bytes of the packet say this field (besides packet there are in_port, metadata, registers and tun_ fields)",
            ),
            (
                "packet=UDP,table=5,actions=2",
                "unknown keyword \"table\" (there are in_port, packet, metadata, registers, tun_ fields and actions)",
            ),
            ("packet=UDP,actions=goto_table:1", "goto_table is not allowed here"),
            ("packet=UDP,actions=write_actions(2)", "write_actions is not allowed here"),
        ] {
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn actions_must_fit_the_packet() {
        assert!(read("packet=UDP,actions=set_field:1->udp_src,2").is_ok());
        assert!(read("packet=UDP,actions=set_field:1->tcp_src,2").is_err());
        assert!(read("packet=UDP,actions=set_field:1::1->ipv6_src,2").is_err());
        // In OpenFlow 1.0 an action for a header that the packet lacks does nothing. Later versions refuse it.
        assert!(read("packet=ARP,actions=mod_tp_src:5,2").is_ok());
        let context = ParseContext { version: OfVersion::OpenFlow13, ..ParseContext::default() };
        let text = format!("packet={ARP},actions=mod_tp_src:5,2");
        let error = parse_packet_out(&text, &context).unwrap_err();
        assert_eq!(&text[error.span()], "mod_tp_src:5");
    }
}

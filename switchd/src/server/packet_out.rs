//! Packets that a client hands over to be sent.

use super::names::Names;
use super::refuse::{self, Line};
use crate::bridge::packet_out::{self, PacketOutError};
use crate::switch::OnBridge;
use control::record::{DropCause, PacketOutRecord};
use control::{PacketOutRequest, Reason, Refusal, Reply};
use flow::text::{ParseContext, parse_packet_out};
use flow::types::PortNo;
use flowtable::policy::Snapshot;

/// Sends a packet, and says what became of it.
pub(super) fn send(
    switch: &OnBridge<'_>,
    request: &PacketOutRequest,
) -> Result<Reply, Box<Refusal>> {
    let names = Names::of(*switch);
    let lenient = request.lenient || switch.is_lenient();
    let version = request.version;
    let context = ParseContext { version, lenient, ports: &names, ..ParseContext::default() };
    let line = Line { file: None, number: 1, text: &request.text };
    let packet = parse_packet_out(&request.text, &context).map_err(|e| refuse::text(&e, line))?;
    packet_out::check(switch.bridge(), &packet, lenient).map_err(|error| match error {
        PacketOutError::NoPort(port) => refuse::no_port(&port.to_string()),
        PacketOutError::NoGroup(error) => refuse::flow_mod(&error, line),
    })?;
    let done = switch.inject(packet).ok_or_else(|| {
        Box::new(Refusal::new(Reason::System, "the switch is about to end and sends nothing"))
    })?;
    let snapshot = switch.bridge().snapshot();
    Ok(Reply::PacketOut(PacketOutRecord {
        sent_to: done.sent_to.iter().filter_map(|&port_no| name(&snapshot, port_no)).collect(),
        dropped: done.dropped.map(|reason| DropCause {
            reason: reason.name().to_owned(),
            meaning: reason.sentence().to_owned(),
        }),
    }))
}

/// The name of a port, unless it was taken away meanwhile.
fn name(snapshot: &Snapshot<'_>, port_no: PortNo) -> Option<String> {
    snapshot.all_ports().by_port_no(port_no).map(|(_, port)| port.name.to_string())
}

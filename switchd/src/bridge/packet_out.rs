//! Packets that somebody made by hand: whether a bridge can send them.

use flow::packet_out::PacketOut;
use flow::types::{OfPort, PortNo};
use flowtable::datapath::Ingress;
use flowtable::policy::ports::PortInfo;
use flowtable::policy::{Bridge, FlowModError};
use packet::wire::ethernet;

/// A packet-out names something that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketOutError {
    /// The bridge has no port of the number that the packet seems to come from.
    #[error("there is no port \"{0}\"")]
    NoPort(OfPort),
    /// The bridge has no group that an action names.
    #[error(transparent)]
    NoGroup(#[from] FlowModError),
}

/// Whether everything that a packet-out names exists. With `is_lenient`, the packet may
/// come from any ingress port.
///
/// # Errors
/// The first thing that does not exist.
pub fn check(
    bridge: Bridge<'_>,
    packet: &PacketOut,
    is_lenient: bool,
) -> Result<(), PacketOutError> {
    let snapshot = bridge.snapshot();
    let is_nowhere = matches!(packet.in_port, OfPort::CONTROLLER | OfPort::NONE);
    if !is_lenient && !is_nowhere && snapshot.ports().get(packet.in_port).is_none() {
        return Err(PacketOutError::NoPort(packet.in_port));
    }
    Ok(snapshot.tables().check_actions(&packet.actions, snapshot.version())?)
}

/// Where a packet-out enters a bridge. `None` if its packet is too short to be a frame.
pub(crate) fn ingress(bridge: Bridge<'_>, packet: &PacketOut) -> Option<Ingress> {
    (packet.packet.len() >= ethernet::HEADER_SIZE).then(|| ingress_at(bridge, packet.in_port))
}

/// Where a packet enters a bridge that seems to come from a port.
pub(crate) fn ingress_at(bridge: Bridge<'_>, in_port: OfPort) -> Ingress {
    let port_no = bridge.snapshot().ports().get(in_port).and_then(PortInfo::port_no);
    Ingress { bridge: bridge.id(), port_no: port_no.unwrap_or(PortNo::NONE) }
}

//! A packet that a user hands to the switch (OpenFlow `PACKET_OUT`).

use crate::action::Action;
use crate::key::PipelineKey;
use crate::types::OfPort;

/// A packet, where it seems to come from, and what happens to it.
#[derive(Clone, Debug, PartialEq)]
pub struct PacketOut {
    /// The port that it seems to have come in on; `CONTROLLER` and `NONE` are no port.
    pub in_port: OfPort,
    /// An Ethernet frame, at least a whole header.
    pub packet: Vec<u8>,
    /// Registers and metadata that it begins with; the headers are the packet's own.
    pub state: PipelineKey,
    /// What to do with it; nothing drops it.
    pub actions: Vec<Action>,
}

//! A packet that a user or a controller hands to the switch (OpenFlow `OFPT_PACKET_OUT`).

use crate::action::Action;
use crate::key::PipelineKey;
use crate::types::OfPort;

/// A packet with the actions that the switch carries out on it, and with what rules see of its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct PacketOut {
    /// The ingress port that rules see. `CONTROLLER` and `NONE` say that the packet came from no port.
    pub in_port: OfPort,
    /// An Ethernet frame without frame check sequence. A controller may send fewer than the 14 bytes of an
    /// Ethernet header: then nothing is sent.
    pub packet: Vec<u8>,
    /// The registers and the metadata that the packet enters the pipeline with. The `headers` of this key are
    /// not used: the switch extracts them from `packet`.
    pub state: PipelineKey,
    /// The actions, carried out in order. An empty list drops the packet.
    pub actions: Vec<Action>,
}

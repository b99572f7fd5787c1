//! [`TunnelKey`]: what the outer headers of a tunnel say of a frame.
//!
//! The host's own stack makes and reads the outer Ethernet, IP and UDP headers, so that the switch never sees
//! their bytes. A tunnel port tells the datapath what they said as a `TunnelKey` beside the frame, and the
//! datapath tells a tunnel port what they are to say in the same way.

use crate::OptionMap;
use crate::wire::vxlan::GroupPolicy;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What the outer headers of a tunnel say of one frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TunnelKey {
    /// The VNI of VXLAN or Geneve (24 bits), or the key of GRE (32 bits); 0 if a GRE header has no key.
    pub id: u64,
    /// The end that sends the frame. Of a frame to be sent, the unspecified address leaves
    /// the choice to the host.
    pub source: IpAddr,
    /// The end that receives the frame.
    pub destination: IpAddr,
    /// The TOS or traffic class of the outer IP header: DSCP in the upper 6 bits, ECN in the lower 2.
    pub tos: u8,
    /// The TTL or hop limit of the outer IP header.
    pub ttl: u8,
    /// Whether the frame is a control message of the tunnel's ends (the flag O of Geneve), and no data.
    pub is_oam: bool,
    /// VXLAN's extension for group-based policy; zero without the extension.
    pub group_policy: GroupPolicy,
    /// The options behind the header of Geneve, as bytes; `None` if there are none. Of a received frame, only a
    /// port that knows options has them here.
    pub options: Option<Arc<[u8]>>,
}

impl Default for TunnelKey {
    fn default() -> Self {
        Self {
            id: 0,
            source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            destination: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            tos: 0,
            ttl: 0,
            is_oam: false,
            group_policy: GroupPolicy::default(),
            options: None,
        }
    }
}

/// Says that the frames of a batch came through tunnels.
#[derive(Clone, Copy, Debug)]
pub struct Tunneled<'a> {
    /// The number that the switch has given the tunnel port of all these frames.
    pub port: u16,
    /// What the outer headers said, for each received frame in order.
    pub keys: &'a [TunnelKey],
    /// Which of the options in the keys are fields.
    pub options: &'a OptionMap,
}

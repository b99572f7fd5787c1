//! How long connections are kept after their last packet, by protocol and state.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A state of a connection that has a timeout of its own. The names are those of Open vSwitch's `CT_Timeout_Policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub(super) enum Timeout {
    /// One end of TCP has sent SYN (`tcp_syn_sent`).
    TcpSynSent,
    /// Both ends of TCP have sent SYN, or a connection is picked up in its middle (`tcp_syn_recv`).
    TcpSynRecv,
    /// Both ends of TCP have acknowledged the other's SYN (`tcp_established`).
    TcpEstablished,
    /// One end of TCP has sent FIN (`tcp_fin_wait`).
    TcpFinWait,
    /// Both ends of TCP have sent FIN (`tcp_time_wait`).
    TcpTimeWait,
    /// Both FINs are acknowledged, or there was a reset (`tcp_close`).
    TcpClose,
    /// The first packet of UDP or of another protocol (`udp_first`).
    UdpFirst,
    /// Several packets of UDP or of another protocol, all in one direction (`udp_single`).
    UdpSingle,
    /// Packets of UDP or of another protocol in both directions (`udp_multiple`).
    UdpMultiple,
    /// A query of ICMP or ICMPv6 without answer (`icmp_first`).
    IcmpFirst,
    /// A query of ICMP or ICMPv6 with an answer (`icmp_reply`).
    IcmpReply,
}

impl Timeout {
    /// Every timeout; the one at index `n` has the discriminant `n`.
    pub(super) const ALL: [Self; 11] = [
        Self::TcpSynSent,
        Self::TcpSynRecv,
        Self::TcpEstablished,
        Self::TcpFinWait,
        Self::TcpTimeWait,
        Self::TcpClose,
        Self::UdpFirst,
        Self::UdpSingle,
        Self::UdpMultiple,
        Self::IcmpFirst,
        Self::IcmpReply,
    ];

    /// The states of connections of which one end alone has been heard. A full table forgets such connections first, in
    /// this order.
    pub(super) const HALF_OPEN: [Self; 4] =
        [Self::TcpSynSent, Self::UdpFirst, Self::IcmpFirst, Self::UdpSingle];

    /// Whether both ends of the connection have been heard, and of TCP the whole handshake.
    pub(super) const fn is_answered(self) -> bool {
        match self {
            Self::TcpEstablished
            | Self::TcpFinWait
            | Self::TcpTimeWait
            | Self::UdpMultiple
            | Self::IcmpReply => true,
            Self::TcpSynSent
            | Self::TcpSynRecv
            | Self::TcpClose
            | Self::UdpFirst
            | Self::UdpSingle
            | Self::IcmpFirst => false,
        }
    }

    /// The time in milliseconds, as Open vSwitch's default (`lib/conntrack-tp.c`).
    pub(super) const fn default_ms(self) -> u64 {
        1000 * match self {
            Self::TcpSynSent | Self::TcpSynRecv | Self::TcpClose => 30,
            Self::TcpEstablished => 24 * 60 * 60,
            Self::TcpFinWait => 15 * 60,
            Self::TcpTimeWait => 45,
            Self::UdpFirst | Self::UdpSingle | Self::IcmpFirst => 60,
            Self::UdpMultiple | Self::IcmpReply => 30,
        }
    }
}

/// The time of a clock in milliseconds, which is what connections reckon with.
pub(super) fn ms(now: Duration) -> u64 {
    now.as_millis() as u64
}

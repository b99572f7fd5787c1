//! A connection: who takes part, in which state it is, and what rules have written on it.

use super::tcp::{Belonging, TcpConnection, TcpState};
use super::timeouts::Timeout;
use super::tuple::{CtPacket, CtTuple};
use flow::ct::CtAlg;
use packet::wire::{icmp_type, icmpv6_type, ip_proto};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The state of a connection, by its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ProtocolState {
    Tcp(TcpConnection),
    /// ICMP or ICMPv6: whether the query was answered.
    Icmp {
        is_answered: bool,
    },
    /// UDP and all other protocols.
    Other(Heard),
}

/// Which ends of a connection without states of its own have been heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Heard {
    /// The end that sent the first packet was heard with that packet only.
    Once,
    /// The end that sent the first packet was heard several times, the other one never.
    OneEnd,
    /// Both ends were heard.
    BothEnds,
}

impl ProtocolState {
    /// Whether a packet of an unknown connection may begin one.
    pub(super) fn may_begin(packet: &CtPacket) -> bool {
        if let Some(segment) = &packet.tcp {
            return TcpConnection::may_begin(segment);
        }
        match (packet.tuple.protocol, packet.tuple.is_ipv6) {
            // Timestamp and information requests of RFC 792.
            (ip_proto::ICMP, false) => {
                matches!(packet.tuple.source.icmp_type, icmp_type::ECHO_REQUEST | 13 | 15)
            }
            (ip_proto::ICMPV6, true) => packet.tuple.source.icmp_type == icmpv6_type::ECHO_REQUEST,
            _ => true,
        }
    }

    /// The state of a connection that begins with this packet.
    pub(super) fn begin(packet: &CtPacket) -> Self {
        match (&packet.tcp, packet.tuple.protocol) {
            (Some(segment), _) => Self::Tcp(TcpConnection::begin(segment)),
            (None, ip_proto::ICMP | ip_proto::ICMPV6) => Self::Icmp { is_answered: false },
            _ => Self::Other(Heard::Once),
        }
    }

    /// Learns what somebody else has seen of the same connection, before or meanwhile.
    pub(super) fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Tcp(tcp), Self::Tcp(other)) => tcp.merge(other),
            (Self::Icmp { is_answered }, Self::Icmp { is_answered: other }) => {
                *is_answered |= other;
            }
            (Self::Other(heard), Self::Other(other)) => *heard = (*heard).max(*other),
            // Not the same connection.
            (Self::Tcp(_) | Self::Icmp { .. } | Self::Other(_), _) => {}
        }
    }

    /// The timeout behind the connection's first packet.
    pub(super) fn first_timeout(&self) -> Timeout {
        match self {
            Self::Tcp(_) => Timeout::TcpSynSent,
            Self::Icmp { .. } => Timeout::IcmpFirst,
            Self::Other(_) => Timeout::UdpFirst,
        }
    }

    /// Whether both ends have closed the connection, or one has reset it.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_closed(),
            Self::Icmp { .. } | Self::Other(_) => false,
        }
    }

    /// Judges a packet, and moves the connection on. Returns the timeout that holds from now on; `None` leaves
    /// the one that holds.
    pub(super) fn update(
        &mut self,
        packet: &CtPacket,
        is_reply: bool,
        checks_windows: bool,
    ) -> (Belonging, Option<Timeout>) {
        match (self, &packet.tcp) {
            (Self::Tcp(tcp), Some(segment)) => tcp.update(segment, is_reply, checks_windows),
            (Self::Icmp { is_answered }, _) => {
                *is_answered |= is_reply;
                match *is_answered {
                    true => (Belonging::Valid, Some(Timeout::IcmpReply)),
                    false => (Belonging::StillNew, Some(Timeout::IcmpFirst)),
                }
            }
            (Self::Other(heard), _) => {
                // As in Open vSwitch, a connection is new until it is answered.
                *heard = match *heard {
                    Heard::BothEnds => Heard::BothEnds,
                    _ if is_reply => Heard::BothEnds,
                    Heard::Once | Heard::OneEnd => Heard::OneEnd,
                };
                match heard {
                    Heard::BothEnds => (Belonging::Valid, Some(Timeout::UdpMultiple)),
                    _ => (Belonging::StillNew, Some(Timeout::UdpSingle)),
                }
            }
            (Self::Tcp(_), None) => (Belonging::Invalid, None),
        }
    }
}

/// A connection that somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The tuple of the connection's first packet.
    pub original: CtTuple,
    /// The tuple of the answers.
    pub reply: CtTuple,
    /// The mark that rules have written.
    pub mark: u32,
    /// The label that rules have written.
    pub label: u128,
    /// How long the connection will be kept if no packet comes.
    pub left: Duration,
    /// The states of the two ends of TCP, the one that sent the first segment
    /// first; `None` for other protocols.
    pub tcp: Option<(TcpState, TcpState)>,
    /// The helper that reads what the connection tells of other connections; `None` without one.
    pub alg: Option<CtAlg>,
    /// The tuple of the first packet of the connection that told of this one; `None` if none did.
    pub parent: Option<CtTuple>,
}

//! `nat(...)` within `ct(...)`: translation of the addresses and ports of a connection (RFC 3022).
//!
//! ovs-actions(7), "The ct action", describes the arguments.

use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What `ct(...)` does with addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nat {
    /// `nat`: a packet of a connection that is translated is translated, in either direction. Nothing happens
    /// to other packets.
    Known,
    /// `nat(src=...)`: as [`Known`](Self::Known); and a connection that the action commits gets another source.
    Source(NatRange),
    /// `nat(dst=...)`: as [`Known`](Self::Known); and a connection that the
    /// action commits gets another destination.
    Destination(NatRange),
}

/// Which addresses and ports a connection may get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NatRange {
    /// The addresses. `None`, or the address of zeros, leaves the address as it is.
    pub addresses: Option<NatAddresses>,
    /// The ports, from the first to the last one. With `None`, the port stays as it is unless another
    /// connection has it.
    pub ports: Option<NatPorts>,
    /// `persistent`: the address depends on nothing but the connection's source address.
    pub is_persistent: bool,
    /// How the port is chosen.
    pub choice: PortChoice,
}

/// The addresses that a connection may get, from the first to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NatAddresses {
    /// Addresses for IPv4 packets.
    Ipv4(Ipv4Addr, Ipv4Addr),
    /// Addresses for IPv6 packets.
    Ipv6(Ipv6Addr, Ipv6Addr),
}

impl NatAddresses {
    /// Whether the range is the address of zeros, which leaves the address as it is.
    pub fn is_unspecified(&self) -> bool {
        match self {
            Self::Ipv4(_, last) => last.is_unspecified(),
            Self::Ipv6(_, last) => last.is_unspecified(),
        }
    }
}

/// The ports that a connection may get, none of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NatPorts {
    /// The first port.
    pub first: u16,
    /// The last port, which is not below the first one.
    pub last: u16,
}

/// With which port the search for a free one begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortChoice {
    /// The rule does not say: as [`Hash`](Self::Hash).
    #[default]
    Any,
    /// `hash`: with a port that depends on the connection's addresses and ports.
    Hash,
    /// `random`: with a random port.
    Random,
}

impl Nat {
    /// Whether a connection that is committed is translated: the action names no addresses, or addresses of the
    /// connection's IP version.
    pub fn can_translate(&self, is_ipv6: bool) -> bool {
        match self.range().map(|range| range.addresses) {
            None => false,
            Some(None) => true,
            Some(Some(NatAddresses::Ipv4(..))) => !is_ipv6,
            Some(Some(NatAddresses::Ipv6(..))) => is_ipv6,
        }
    }

    /// What a connection may get; `None` if the action chooses nothing.
    pub fn range(&self) -> Option<&NatRange> {
        match self {
            Self::Known => None,
            Self::Source(range) | Self::Destination(range) => Some(range),
        }
    }
}

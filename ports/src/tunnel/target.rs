//! What a tunnel port is to be.

use std::fmt;
use std::net::IpAddr;

/// The kinds of tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TunnelKind {
    /// VXLAN (RFC 7348), over UDP.
    Vxlan,
    /// Geneve (RFC 8926), over UDP.
    Geneve,
    /// GRE (RFC 2784 and 2890), with Ethernet frames inside.
    Gre,
}

impl TunnelKind {
    /// The word that commands print and take.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
        }
    }

    /// The UDP port that the tunnel has unless somebody wants another one; 0 for a tunnel that is not over UDP.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Vxlan => 4789,
            Self::Geneve => 6081,
            Self::Gre => 0,
        }
    }

    /// The largest key.
    pub fn max_key(self) -> u64 {
        match self {
            Self::Vxlan | Self::Geneve => (1 << 24) - 1,
            Self::Gre => u32::MAX.into(),
        }
    }

    /// Whether the tunnel is over UDP.
    pub(crate) fn is_over_udp(self) -> bool {
        !matches!(self, Self::Gre)
    }
}

impl fmt::Display for TunnelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a tunnel port is to be. How it chooses the outer headers of a frame is not known here:
/// the frame comes with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelTarget {
    /// The name of the port.
    pub name: String,
    /// The kind of the tunnel.
    pub kind: TunnelKind,
    /// The UDP port at both ends; 0 for a tunnel that is not over UDP.
    pub udp_port: u16,
    /// The only end that frames are taken from; `None` takes them from every end.
    pub remote: Option<IpAddr>,
    /// The only own address at which frames are taken; `None` takes them at every address.
    pub local: Option<IpAddr>,
    /// The only key that frames are taken with; `None` takes every key.
    pub in_key: Option<u64>,
    /// The network namespace of the sockets, as in `ip netns`; `None` is that of the switch.
    pub netns: Option<String>,
    /// Whether the outer IPv4 header has "don't fragment" set.
    pub dont_fragment: bool,
    /// Whether the outer UDP or GRE header has a checksum.
    pub has_checksum: bool,
    /// The mark of sent packets for routing and firewall; 0 is none.
    pub mark: u32,
    /// Whether frames may have VXLAN's extension for group-based policy.
    pub has_group_policy: bool,
    /// The number of sockets, and thus of UDP source ports, that a worker sends from.
    pub source_ports: u8,
}

impl TunnelTarget {
    /// Whether frames of the port may have outer headers of this version of IP.
    pub(crate) fn has_version(&self, is_v6: bool) -> bool {
        match self.remote.or(self.local) {
            Some(address) => address.is_ipv6() == is_v6,
            None => true,
        }
    }

    /// Whether nobody could tell for which of two ports a received frame is.
    pub fn receives_as(&self, other: &Self) -> bool {
        (self.kind, self.udp_port, &self.netns) == (other.kind, other.udp_port, &other.netns)
            && (self.remote, self.local, self.in_key) == (other.remote, other.local, other.in_key)
    }
}

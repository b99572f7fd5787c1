//! What to open as a port, and how.
//!
//! What a port is called, how users write it down and how it takes part in a bridge is not known here.

use crate::tunnel::TunnelTarget;
use std::fmt;

/// What a port is to be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `NAME`: a network device of this network namespace.
    System {
        /// The name of the device.
        device: String,
    },
    /// `netns:NAMESPACE/NAME`: a network device of a named network namespace.
    Netns {
        /// The namespace's name, as in `ip netns`.
        netns: String,
        /// The name of the device in there.
        device: String,
    },
    /// `tap:NAME`: a TAP device, made if it does not exist.
    Tap {
        /// The name of the device, which is the host's end.
        device: String,
    },
    /// `internal:NAME`: a TAP device through which the host itself takes part.
    Internal {
        /// The name of the device, which is the host's end.
        device: String,
    },
    /// `vxlan:NAME`, `geneve:NAME` and `gre:NAME`: a tunnel through the host's own stack.
    Tunnel(Box<TunnelTarget>),
    /// A port in memory.
    Dummy,
}

/// Options of a port, each with a default that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortOptions {
    /// Receive queues; one for each worker unless said otherwise.
    pub queues: Option<u8>,
    /// Keep the frames of the device from the host's own network stack.
    pub shield: bool,
    /// What to do about the device's queueing discipline.
    pub qdisc: QdiscMode,
    /// Frames that may wait in the receive ring.
    pub slots: Option<u32>,
    /// Bytes of one slot of the receive ring.
    pub slot_size: Option<u32>,
    /// The MAC address that a TAP device is given; `None` leaves it as it is.
    pub mac: Option<[u8; 6]>,
    /// Whether the kernel cache of the switch, if there is one, may forward frames from and to the device.
    pub kernel_cache: KernelCacheUse,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self {
            queues: None,
            shield: true,
            qdisc: QdiscMode::Auto,
            slots: None,
            slot_size: None,
            mac: None,
            kernel_cache: KernelCacheUse::Auto,
        }
    }
}

/// Whether the kernel cache forwards frames from and to a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelCacheUse {
    /// It does, unless the device is a TAP device that is made to be moved to another network namespace
    /// ([`Target::Tap`]), or the port a tunnel port.
    #[default]
    Auto,
    /// It does, also for a TAP device that was made to be moved, of which somebody says that it stays; and for
    /// a tunnel port, whose datagrams then bypass the host's firewall and IPsec.
    On,
    /// It does not.
    Off,
    /// It does, and hands frames for one host to the other end of a veth pair
    /// directly, around the device itself.
    Peer,
}

/// Whether frames pass the queueing discipline of the device they leave by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QdiscMode {
    /// Frames pass a discipline that somebody configured. Without one (`noqueue`), they pass it only while
    /// somebody listens to the device.
    #[default]
    Auto,
    /// Frames never pass it, but go to the device directly.
    Bypass,
    /// Frames always pass it, `noqueue` included.
    Honour,
}

impl Target {
    /// The device is made when the port is opened and missing.
    pub fn is_created(&self) -> bool {
        matches!(self, Self::Tap { .. } | Self::Internal { .. } | Self::Tunnel(_) | Self::Dummy)
    }

    /// The device is a TAP device.
    pub fn is_tap(&self) -> bool {
        matches!(self, Self::Tap { .. } | Self::Internal { .. })
    }

    /// It is a tunnel through the host's own stack.
    pub fn is_tunnel(&self) -> bool {
        matches!(self, Self::Tunnel(_))
    }

    /// Its frames come through a ring whose size can be chosen.
    pub fn has_ring(&self) -> bool {
        matches!(self, Self::System { .. } | Self::Netns { .. })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { device } => f.write_str(device),
            Self::Netns { netns, device } => write!(f, "netns:{netns}/{device}"),
            Self::Tap { device } => write!(f, "tap:{device}"),
            Self::Internal { device } => write!(f, "internal:{device}"),
            Self::Tunnel(tunnel) => write!(f, "{}:{}", tunnel.kind, tunnel.name),
            Self::Dummy => f.write_str("dummy"),
        }
    }
}

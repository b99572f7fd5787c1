//! What can go wrong when a port is opened or used, in words that say what would work.

use crate::netlink::NetlinkError;
use crate::tunnel::TunnelKind;
use std::io;

/// An operation on a port failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// The device does not exist in this network namespace (or has gone since).
    #[error("device \"{device}\": no such network device")]
    NoDevice {
        /// The name of the device.
        device: String,
    },
    /// The network namespace does not exist.
    #[error("network namespace \"{netns}\": none is called so; \"ip netns\" lists them")]
    NoNetns {
        /// The name of the namespace, as in `ip netns`.
        netns: String,
    },
    /// Something else owns the device.
    #[error(
        "device \"{device}\" belongs to \"{master}\"; free it with \"ip link set {device} nomaster\", \
         or use shield=off to share it"
    )]
    HasMaster {
        /// The name of the device.
        device: String,
        /// The name of the device it is enslaved to.
        master: String,
    },
    /// Another device is built on this one and takes its frames, as a macvlan does.
    #[error(
        "device \"{device}\" cannot be shielded from the host's own stack, because {user} takes its frames; \
         remove {user}, or use shield=off, which works beside it"
    )]
    HasUser {
        /// The name of the device.
        device: String,
        /// The device that takes the frames: `macvlan "mv0"`, or what is known of it.
        user: String,
    },
    /// Another switch process has the device.
    #[error("device \"{device}\" is in use by {owner}")]
    InUse {
        /// The name of the device.
        device: String,
        /// "process 1234", or what is known of it.
        owner: String,
    },
    /// The device does not carry Ethernet frames.
    #[error("device \"{device}\" is not an Ethernet device, and only these can be ports")]
    NotEthernet {
        /// The name of the device.
        device: String,
    },
    /// The device that is to be a TAP device exists and is of another kind.
    #[error(
        "device \"{device}\" exists and is not a TAP device; give the port another device, or leave out the \
         word before its name to use the device as it is"
    )]
    NotTap {
        /// The name of the device.
        device: String,
    },
    /// The kernel wants a capability that this process lacks.
    #[error(
        "{operation} {object}: {capability} is missing; run as root, or in a user namespace of your own{}",
        if *capability == "CAP_SYS_ADMIN" { ", and without --netns off" } else { "" }
    )]
    Denied {
        /// What was asked of the kernel: `open a packet socket for`.
        operation: &'static str,
        /// On which device, file or namespace.
        object: String,
        /// The capability's name as in capabilities(7): `CAP_NET_RAW`.
        capability: &'static str,
    },
    /// The device that makes TAP devices cannot be opened.
    #[error(
        "device \"{device}\": /dev/net/tun cannot be opened for reading and writing; run as root, or ask \
         for access to it (where it does not exist: modprobe tun)"
    )]
    NoTun {
        /// The name of the TAP device.
        device: String,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// Somebody has the UDP port of a tunnel.
    #[error(
        "UDP port {udp_port} is taken, by a kernel {kind} device (\"ip -d link show type {kind}\" lists them) or by another \
         program (\"ss -lunp\" names it); give the tunnel another port with dst_port=, at both ends"
    )]
    UdpPortTaken {
        /// The kind of the tunnel.
        kind: TunnelKind,
        /// The number of the port.
        udp_port: u16,
    },
    /// The kernel refused for another reason.
    #[error("{operation} {object}")]
    Os {
        /// What was asked of the kernel.
        operation: &'static str,
        /// On which device, file or namespace.
        object: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// A request to the kernel's routing socket failed.
    #[error(transparent)]
    Netlink(NetlinkError),
}

impl From<NetlinkError> for PortError {
    fn from(error: NetlinkError) -> Self {
        match error {
            NetlinkError::NoDevice { name } => Self::NoDevice { device: name },
            error => Self::Netlink(error),
        }
    }
}

impl PortError {
    /// An error of the operating system; `EPERM` and `EACCES` are told as the missing `capability`.
    pub(crate) fn os(
        operation: &'static str,
        object: &str,
        capability: &'static str,
        source: io::Error,
    ) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                Self::Denied { operation, object: object.to_owned(), capability }
            }
            Some(libc::ENODEV) => Self::NoDevice { device: object.to_owned() },
            _ => Self::Os { operation, object: object.to_owned(), source },
        }
    }

    /// There is no such device, or not even a namespace for it: waiting may help.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NoDevice { .. } | Self::NoNetns { .. })
    }

    /// Whether a privilege is missing, so that root would succeed.
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Denied { .. } => true,
            Self::NoTun { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Netlink(e) => e.is_denied(),
            _ => false,
        }
    }
}

//! Tunnel ports: VXLAN, Geneve and GRE through the host's own stack.
//!
//! A tunnel port has no device. It sends and receives by ordinary sockets, so that the kernel does routing,
//! ARP, path MTU, fragments, firewall and IPsec underneath. An [`Endpoints`] has the sockets: one *endpoint*
//! for each type of tunnel, UDP port, version of IP and network namespace, which all tunnel ports of these
//! share. A received frame belongs to the most specific of these ports (`demux`).
//!
//! ```text
//!  datagrams, several in one buffer (UDP_GRO)            frames of the pipeline, up to 64 KiB
//!      │                                                      │
//!  cut, header, ECN, port (unwrap, demux)                 cut into segments, header (wrap)
//!      │                                                      │
//!  merge TCP segments (packet::Merger)                    group equal sizes (UDP_SEGMENT)
//!      │                                                      │
//!  batch, with a TunnelKey for each frame (rx)            sendmmsg, a socket for each hash of flows (tx)
//! ```
//!
//! Three things together make tunnels fast, and each alone brings little: to send whole large frames
//! with `UDP_SEGMENT`, to receive them with `UDP_GRO`, and to merge the inner TCP segments again
//! before the pipeline sees them.
//!
//! The frames that a tunnel port sends go through sockets with ports of their own, by a hash of the inner
//! addresses, so that the network and the peer's receive queues can spread them (RFC 7348 §5). There are few
//! such sockets, because frames of one socket only can be sent as a group.

mod bfd;
mod demux;
mod devices;
mod endpoint;
mod kernel;
mod path;
mod rx;
mod sockets;
mod target;
mod tx;
mod unwrap;
mod wrap;

pub use bfd::{BfdFilter, BfdReceived, BfdTap, bfd_packet};
pub use demux::{RefusedCount, TunnelRefusal};
pub use devices::{OwnDevices, TunnelGroup};
pub use endpoint::{EndpointQueues, Endpoints, Membership};
pub use kernel::{KernelTunnel, KernelWay, WRAP_PORTS, WRAP_SIZE, Wrapping};
pub use path::{Obstacle, PathState};
pub use target::{TunnelKind, TunnelTarget};

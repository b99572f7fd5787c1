//! What eBPF programs need to know to put frames into a tunnel and to take them out (crate `kernelcache`).
//!
//! The programs do what the sockets of the port would do, without netfilter and IPsec: for VXLAN and Geneve
//! over IPv4, in the network namespace of the switch. Their datagrams have no UDP checksum, because the kernel
//! lets no program ask for the checksums of the packets that a large frame is cut into (RFC 7348 §5 and RFC
//! 8926 §3.3 allow that; the packet inside keeps its own).

use super::devices::TunnelGroup;
use super::path::{Asking, Obstacle};
use super::sockets::DEFAULT_TTL;
use super::target::{TunnelKind, TunnelTarget};
use super::wrap::append_header;
use crate::rootless;
use crate::sys::datagram::bound_port;
use packet::wire::{Ipv4Packet, UdpPacket, ip_proto, ipv4, udp, vxlan};
use packet::{TunnelKey, checksum};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Bytes of the outer headers that a program writes, from the IP header on: IPv4, UDP, and VXLAN or Geneve.
pub const WRAP_SIZE: usize = ipv4::HEADER_SIZE + udp::HEADER_SIZE + vxlan::HEADER_SIZE;
/// UDP source ports of a tunnel port that programs use.
pub const WRAP_PORTS: usize = 8;

/// A tunnel port, as far as programs in the kernel do its work.
pub struct KernelTunnel {
    target: TunnelTarget,
    group: TunnelGroup,
    asking: Arc<Asking>,
    source_ports: Vec<u16>,
}

/// The way to a remote end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelWay {
    /// The number of the device by which datagrams leave, and by which answers are expected.
    pub device: u32,
    /// The machine that the device sends datagrams to: a router, or the remote end itself.
    pub next_hop: Ipv4Addr,
    /// The own address.
    pub source: Ipv4Addr,
    /// Bytes of the largest packet, from the outer IP header on.
    pub mtu: u32,
}

/// The outer headers of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapping {
    /// The outer headers. The sizes and the UDP source port are 0, and the sum of the IPv4 header's words is in
    /// place of the checksum.
    pub header: [u8; WRAP_SIZE],
    /// The UDP source ports that a hash of the packet inside chooses from, [`WRAP_PORTS`] at most.
    pub source_ports: Vec<u16>,
    /// The mark for queueing disciplines; 0 is none.
    pub mark: u32,
    /// The machine that the device sends datagrams to.
    pub next_hop: Ipv4Addr,
}

impl KernelTunnel {
    /// The tunnel port `target`, which asks for ways as `asking` does and sends from `sockets`.
    ///
    /// # Errors
    /// Why programs cannot do its work, for a person to read.
    pub(super) fn new(
        target: &TunnelTarget,
        group: TunnelGroup,
        asking: &Arc<Asking>,
        sockets: &[OwnedFd],
    ) -> Result<Self, String> {
        if !target.kind.is_over_udp() {
            return Err("the kernel cache knows VXLAN and Geneve only".to_owned());
        }
        if !target.dont_fragment {
            return Err(
                "the kernel cache does not number fragments, and df_default is false".to_owned()
            );
        }
        if asking.netns().is_some() || rootless::has_outside() {
            return Err("its sockets are in another network namespace than the switch".to_owned());
        }
        let ports = sockets.iter().take(WRAP_PORTS).map(|socket| bound_port(socket.as_fd()));
        let source_ports = ports
            .collect::<io::Result<_>>()
            .map_err(|error| format!("ask for the ports of its sockets: {error}"))?;
        let (target, asking) = (target.clone(), Arc::clone(asking));
        Ok(Self { target, group, asking, source_ports })
    }

    /// What the port is.
    pub fn target(&self) -> &TunnelTarget {
        &self.target
    }

    /// Asks the kernel for the way to a remote end, which takes some 20 µs.
    ///
    /// # Errors
    /// Why there is none, for a person to read.
    pub fn way(&self, remote: Ipv4Addr) -> Result<KernelWay, String> {
        let (mtu, route, obstacle) = self.asking.ask(self.group, remote.into());
        match obstacle {
            Some(Obstacle::OwnPort) => {
                return Err(format!("the route to {remote} leads through a port of this switch"));
            }
            Some(Obstacle::OwnAddress) => {
                return Err(format!("{remote} is an address of this host"));
            }
            None => {}
        }
        let source = match self.target.local.or(route.source) {
            Some(IpAddr::V4(source)) => Some(source),
            _ => None,
        };
        let next_hop = match route.gateway {
            Some(IpAddr::V4(gateway)) => gateway,
            Some(IpAddr::V6(gateway)) => {
                return Err(format!("the route to {remote} leads to {gateway}, by IPv6"));
            }
            None => remote,
        };
        match (mtu, route.device, source) {
            (Some(mtu), Some(device), Some(source)) => {
                Ok(KernelWay { device, next_hop, source, mtu })
            }
            _ => Err(format!("the host has no route to {remote}")),
        }
    }

    /// Bytes of the largest frame that fits into a packet on a way, Ethernet header included.
    pub fn room(way: &KernelWay) -> u32 {
        way.mtu.saturating_sub(WRAP_SIZE as u32)
    }

    /// The outer headers of frames that leave with `key` on a way.
    ///
    /// # Errors
    /// Why programs cannot write these headers, for a person to read.
    pub fn wrapping(&self, key: &TunnelKey, way: &KernelWay) -> Result<Wrapping, String> {
        let IpAddr::V4(destination) = key.destination else {
            return Err("the kernel cache has tunnels over IPv4 only".to_owned());
        };
        if !key.source.is_unspecified() && key.source != IpAddr::V4(way.source) {
            return Err(format!(
                "the host sends to {destination} from {}, and rules from {}",
                way.source, key.source
            ));
        }
        let mut of_tunnel = Vec::new();
        append_header(self.target.kind, key, false, &mut of_tunnel);
        let mut header = [0; WRAP_SIZE];
        let mut ip = Ipv4Packet::new_unchecked(&mut header[..]);
        ip.set_version_and_header_size(ipv4::HEADER_SIZE);
        ip.set_tos(key.tos);
        ip.set_flags_and_offset(ipv4::DONT_FRAGMENT);
        ip.set_ttl(if key.ttl == 0 { DEFAULT_TTL } else { key.ttl });
        ip.set_protocol(ip_proto::UDP);
        ip.set_src_addr(way.source);
        ip.set_dst_addr(destination);
        let (ip, rest) = header.split_at_mut(ipv4::HEADER_SIZE);
        let sum = checksum::sum(ip);
        ip[ipv4::field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
        UdpPacket::new_unchecked(&mut rest[..]).set_dst_port(self.target.udp_port);
        let place = &mut rest[udp::HEADER_SIZE..];
        if of_tunnel.len() != place.len() {
            return Err("the kernel cache does not write options of Geneve".to_owned());
        }
        place.copy_from_slice(&of_tunnel);
        Ok(Wrapping {
            header,
            source_ports: self.source_ports.clone(),
            mark: self.target.mark,
            next_hop: way.next_hop,
        })
    }

    /// The outer headers by which programs know received frames with the key `id`, as their table has them: the
    /// addresses, and the rest.
    pub fn outer_words(&self, id: u64, source: Ipv4Addr, destination: Ipv4Addr) -> (u64, u64) {
        let word = |address: Ipv4Addr| u64::from(u32::from_ne_bytes(address.octets()));
        let addresses = word(source) | word(destination) << 32;
        let key = (id as u32 & 0x00ff_ffff) << 8;
        let is_geneve = self.target.kind == TunnelKind::Geneve;
        let header = u64::from(key.to_be())
            | u64::from(self.target.udp_port.to_be()) << 32
            | u64::from(is_geneve) << 48;
        (addresses, header)
    }
}

impl std::fmt::Debug for KernelTunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelTunnel").field("target", &self.target).finish_non_exhaustive()
    }
}

//! Segments a large frame in software into frames that fit the MTU (generic segmentation offload, GSO).
//!
//! A host hands over up to 64 KiB of one connection as one frame and leaves the segmentation to the device.
//! This module does the work if neither the device nor the kernel can. Each segment has a copy of all headers,
//! with its own lengths and checksums, and with consecutive IP identifications and TCP sequence numbers. The
//! flags FIN and PSH go to the last segment, CWR to the first.
//!
//! If a host sent the frame through a tunnel of its own (VXLAN, Geneve, GRE, IP in IP), the frame's [`Offload`]
//! describes the transport header *inside* the tunnel. The inner IP header is searched backward from there, and
//! the outermost IP header forward from Ethernet. Lengths, identifications and checksums of both are corrected.
//! A frame with two nested tunnels is refused, because the lengths of the middle headers would be wrong.
//!
//! The sender chooses how small the segments are, and the switch has the work of making them. So
//! there are limits: a TCP segment has at least [`MIN_MSS`] bytes of options and payload, and a
//! frame at most [`MAX_SEGMENTS`] segments.
//!
//! Segmentation into IP fragments (`GsoType::UdpFragment`) is not supported. Current kernels do not ask for it.

use crate::checksum::{add, nonzero, pseudo_header, sum};
use crate::outer::{Ip, Version};
use crate::wire::ip_proto::{self, GRE, TCP, UDP};
use crate::wire::tcp::flag;
use crate::wire::vlan::skip_tags;
use crate::wire::{
    GenevePacket, GrePacket, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket, ipv4, ipv6, tcp, udp,
    vxlan,
};
use crate::{Frame, GsoType, HEADROOM, Offload};

/// The smallest number of bytes of TCP options and payload in a segment. Linux sends none that are smaller,
/// whatever the receiver asks for (`TCP_MIN_SND_MSS`).
pub const MIN_MSS: usize = 48;

/// The largest number of segments of a frame: that of 64 KiB in segments of 128 bytes. Linux allows 128
/// segments of UDP (`UDP_MAX_SEGMENTS`), and sends more than this of TCP only to receivers that ask for
/// segments of less than 128 bytes.
pub const MAX_SEGMENTS: usize = 512;

/// Why a frame cannot be segmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The kind of segmentation is not supported. The number is [`Offload::gso_type`].
    #[error("segmentation type {0} is not supported; TCPv4 (1), TCPv6 (4) and UDP (5) are")]
    Kind(u8),
    /// [`Offload::gso_size`], which is the number, is 0, or smaller than TCP segments are.
    #[error(
        "segments of {0} bytes are too small: TCP options and payload have at least {MIN_MSS} bytes"
    )]
    Size(u16),
    /// The frame would have as many segments as the number says.
    #[error("{0} segments are too many: a frame has at most {MAX_SEGMENTS}")]
    Count(usize),
    /// The frame does not have the transport header, behind an IP header, that its [`Offload`] says.
    #[error("no {kind} header over IP at byte {at}, where segmentation is asked for")]
    Headers {
        /// The name of the transport header: `TCP` or `UDP`.
        kind: &'static str,
        /// The offset in the frame at which the transport header should be.
        at: usize,
    },
    /// The bytes between the outermost and the inner IP header are not one known tunnel. The number says how
    /// many bytes these are.
    #[error(
        "the {0} bytes between the outer and the inner header are not one tunnel that is known: \
         VXLAN, Geneve, GRE or IP in IP"
    )]
    Tunnel(usize),
}

/// A frame that is to be segmented, and the plan by which its segments are made.
pub struct Segmentation<'a> {
    frame: &'a Frame<'a>,
    plan: Plan,
    count: usize,
}

impl<'a> Segmentation<'a> {
    /// Finds out how `frame` is segmented. Nothing is copied yet.
    ///
    /// # Errors
    /// The frame cannot be segmented.
    pub fn new(frame: &'a Frame<'a>) -> Result<Self, SegmentError> {
        let plan = Plan::new(frame)?;
        let payload = plan.inner.end - plan.payload;
        let count = payload.div_ceil(usize::from(frame.offload.gso_size)).max(1);
        if count > MAX_SEGMENTS {
            return Err(SegmentError::Count(count));
        }
        Ok(Self { frame, plan, count })
    }

    /// The number of segments, at least one.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The size in bytes of the headers that each segment repeats: from Ethernet to the inner transport header.
    pub fn header_size(&self) -> usize {
        self.plan.payload
    }

    /// The segment with the number `index`, from 0, in the allocation of `buf`, whose contents are
    /// lost. It is complete ([`Offload::is_complete`]).
    ///
    /// # Panics
    /// If `index` is not less than [`Segmentation::count`].
    pub fn segment(&self, index: usize, mut buf: Vec<u8>) -> Frame<'static> {
        buf.clear();
        buf.resize(HEADROOM, 0);
        self.append_segment(index, &mut buf);
        let mut segment = Frame::from_buffer(buf, HEADROOM, Offload::NONE);
        segment.layers = self.frame.layers;
        segment.layers.padding = 0;
        segment
    }

    /// Appends the bytes of the segment with the number `index`, from 0, to `buf`.
    ///
    /// # Panics
    /// If `index` is not less than [`Segmentation::count`].
    pub fn append_segment(&self, index: usize, buf: &mut Vec<u8>) {
        assert!(index < self.count);
        let bytes = self.frame.bytes();
        let payload = &bytes[self.plan.payload..self.plan.inner.end];
        let size = usize::from(self.frame.offload.gso_size);
        let (start, from) = (buf.len(), index * size);
        buf.extend_from_slice(&bytes[..self.plan.payload]);
        buf.extend_from_slice(&payload[from..payload.len().min(from + size)]);
        let position = Position { index, from, is_last: index + 1 == self.count };
        self.plan.fix(&mut buf[start..], position);
    }
}

/// The position of a segment in its frame.
#[derive(Clone, Copy)]
struct Position {
    /// The number of the segment, from 0.
    index: usize,
    /// The offset of the segment's payload in the payload of the frame, in bytes.
    from: usize,
    is_last: bool,
}

/// The headers of a frame that differ from segment to segment.
struct Plan {
    /// The IP header of the packet that is segmented. Behind it is the transport header.
    inner: Ip,
    /// Offset of the payload that is divided among the segments.
    payload: usize,
    /// The IP header of the tunnel around that packet; `None` if there is no tunnel.
    outer: Option<Ip>,
}

impl Plan {
    fn new(frame: &Frame<'_>) -> Result<Self, SegmentError> {
        let (bytes, offload) = (frame.bytes(), frame.offload);
        let (kind, protocol) = match offload.gso() {
            GsoType::TcpV4 => ("TCP", TCP),
            GsoType::TcpV6 => ("TCP", TCP),
            GsoType::UdpL4 => ("UDP", UDP),
            _ => return Err(SegmentError::Kind(offload.gso_type)),
        };
        let size = usize::from(offload.gso_size);
        if size == 0 {
            return Err(SegmentError::Size(0));
        }
        let outermost = Ip::outermost(bytes);
        // A frame that the device merged on receive (GRO) has a verified checksum instead of a partial one.
        // Such a frame is segmented by its outermost transport header.
        let at = if offload.needs_checksum() {
            usize::from(offload.csum_start)
        } else {
            outermost.map_or(0, |ip| ip.payload)
        };
        let error = SegmentError::Headers { kind, at };
        let inner = outermost
            .filter(|ip| ip.payload == at)
            .or_else(|| ip_before(bytes, at, protocol, offload.gso()))
            .ok_or(error)?;
        let version_matches = match offload.gso() {
            GsoType::TcpV4 => inner.version == Version::V4,
            GsoType::TcpV6 => inner.version == Version::V6,
            _ => true,
        };
        if inner.protocol != protocol || inner.is_later_fragment || !version_matches {
            return Err(error);
        }
        let transport = &bytes[at..inner.end];
        let header = match protocol {
            TCP => TcpPacket::new_checked(transport).map(|tcp| tcp.header_size()),
            _ => UdpPacket::new_checked(transport).map(|_| udp::HEADER_SIZE),
        };
        let header = header.map_err(|_| error)?;
        let is_segmented = transport.len() - header > size;
        if protocol == TCP && is_segmented && header - tcp::HEADER_SIZE + size < MIN_MSS {
            return Err(SegmentError::Size(offload.gso_size));
        }
        let outer = outermost.filter(|ip| ip.start != inner.start);
        if let Some(outer) = outer {
            check_tunnel(bytes, outer, inner)?;
        }
        Ok(Self { inner, payload: at + header, outer })
    }

    /// Corrects the copied headers of a segment. The inner headers come first, because the checksums of the
    /// outer ones cover them.
    fn fix(&self, segment: &mut [u8], position: Position) {
        fix_ip(segment, self.inner, position.index);
        if self.inner.protocol == TCP {
            fix_tcp(segment, self.inner, position);
        } else {
            fix_udp(segment, self.inner);
        }
        let Some(outer) = self.outer else { return };
        fix_ip(segment, outer, position.index);
        match outer.protocol {
            UDP => fix_udp_of_tunnel(segment, outer),
            GRE => GrePacket::new_unchecked(&mut segment[outer.payload..]).fill_checksum(),
            _ => {}
        }
    }
}

/// The IP header that ends at offset `at` and whose payload is of `protocol`; `None` if there is none.
///
/// The search goes backward through unknown bytes. So a candidate must be consistent: version, header size,
/// protocol, a length that reaches the end of the frame and, for IPv4, the header checksum.
fn ip_before(bytes: &[u8], at: usize, protocol: u8, kind: GsoType) -> Option<Ip> {
    let fits = |ip: &Ip| ip.payload == at && ip.protocol == protocol && !ip.is_later_fragment;
    let v4 = || {
        (ipv4::HEADER_SIZE..=60).step_by(4).find_map(|size| {
            let ip = Ip::v4(bytes, at.checked_sub(size)?).filter(fits)?;
            (ip.end == bytes.len() && sum(&bytes[ip.start..at]) == 0xffff).then_some(ip)
        })
    };
    // Extension headers have multiples of 8 bytes. 256 bytes are more than hosts send.
    let v6 = || {
        (ipv6::HEADER_SIZE..=256).step_by(8).find_map(|size| {
            let ip = Ip::v6(bytes, at.checked_sub(size)?).filter(fits)?;
            (ip.end == bytes.len()).then_some(ip)
        })
    };
    match kind {
        GsoType::TcpV4 => v4(),
        GsoType::TcpV6 => v6(),
        _ => v4().or_else(v6),
    }
}

/// Checks that the bytes between the outermost and the inner IP header are one known tunnel.
fn check_tunnel(bytes: &[u8], outer: Ip, inner: Ip) -> Result<(), SegmentError> {
    let error = SegmentError::Tunnel(inner.start.saturating_sub(outer.payload));
    let is_inner = |start: usize| start == inner.start;
    // Whether an Ethernet header with its tags is at `start`, directly in front of the inner IP header.
    let is_inner_ethernet =
        |start: usize| skip_tags(bytes, start).is_some_and(|(_, l3)| is_inner(l3));
    let begins = |start: usize| is_inner(start) || is_inner_ethernet(start);
    let is_known = match outer.protocol {
        _ if outer.is_later_fragment => false,
        ip_proto::IPV4 | ip_proto::IPV6 => is_inner(outer.payload),
        UDP => {
            let inside = outer.payload + udp::HEADER_SIZE;
            let geneve = GenevePacket::new_checked(bytes.get(inside..).unwrap_or_default());
            let is_vxlan_or_gpe = || begins(inside + vxlan::HEADER_SIZE);
            let is_geneve = || geneve.is_ok_and(|geneve| begins(inside + geneve.header_size()));
            let is_ip_in_udp = is_inner(inside);
            is_ip_in_udp || is_vxlan_or_gpe() || is_geneve()
        }
        GRE => GrePacket::new_checked(&bytes[outer.payload..])
            .is_ok_and(|gre| begins(outer.payload + gre.header_size())),
        _ => false,
    };
    if is_known { Ok(()) } else { Err(error) }
}

/// Corrects length, identification and header checksum of an IP header whose packet ends with the segment.
fn fix_ip(segment: &mut [u8], ip: Ip, index: usize) {
    let packet = &mut segment[ip.start..];
    let size = packet.len();
    match ip.version {
        Version::V4 => {
            let mut header = Ipv4Packet::new_unchecked(packet);
            header.set_total_size(size as u16);
            header.set_identification(header.identification().wrapping_add(index as u16));
            header.fill_checksum();
        }
        Version::V6 => {
            let payload = (size - ipv6::HEADER_SIZE) as u16;
            Ipv6Packet::new_unchecked(packet).set_payload_size(payload);
        }
    }
}

fn fix_tcp(segment: &mut [u8], ip: Ip, position: Position) {
    let mut tcp = TcpPacket::new_unchecked(&mut segment[ip.payload..]);
    tcp.set_sequence(tcp.sequence().wrapping_add(position.from as u32));
    let mut flags = tcp.flags();
    if !position.is_last {
        flags &= !(flag::FIN | flag::PSH);
    }
    if position.index > 0 {
        flags &= !flag::CWR;
    }
    tcp.set_flags(flags);
    tcp.set_checksum(0);
    let checksum = transport_checksum(segment, ip);
    TcpPacket::new_unchecked(&mut segment[ip.payload..]).set_checksum(checksum);
}

fn fix_udp(segment: &mut [u8], ip: Ip) {
    set_udp_size(segment, ip).set_checksum(0);
    let checksum = nonzero(transport_checksum(segment, ip));
    UdpPacket::new_unchecked(&mut segment[ip.payload..]).set_checksum(checksum);
}

/// As [`fix_udp`], but a datagram without checksum, which tunnels often send, gets none (RFC 768).
fn fix_udp_of_tunnel(segment: &mut [u8], ip: Ip) {
    let has_checksum = set_udp_size(segment, ip).checksum() != 0;
    if has_checksum {
        fix_udp(segment, ip);
    }
}

fn set_udp_size(segment: &mut [u8], ip: Ip) -> UdpPacket<&mut [u8]> {
    let datagram = &mut segment[ip.payload..];
    let size = datagram.len() as u16;
    let mut udp = UdpPacket::new_unchecked(datagram);
    udp.set_size(size);
    udp
}

/// The checksum of the transport packet behind `ip`, whose checksum field is zero by now.
fn transport_checksum(segment: &[u8], ip: Ip) -> u16 {
    let transport = &segment[ip.payload..];
    let (source, destination) = ip.addresses(segment);
    let pseudo = pseudo_header(source, destination, ip.protocol, transport.len() as u32);
    !add(pseudo, sum(transport))
}

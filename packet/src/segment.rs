//! Cutting a frame that stands for several into the frames that go on the wire.
//!
//! Hosts hand over up to 64 KiB of one connection as one frame (GSO) and leave the cutting to the
//! device. Where the device, or the kernel in front of it, cannot do that, it is done here: each
//! segment gets a copy of all headers, lengths and checksums of its own, consecutive IP
//! identifications and TCP sequence numbers; FIN and PSH go to the last one, CWR to the first.
//!
//! A frame that a host sent through a tunnel of its own (VXLAN, Geneve, GRE, IP in IP, MPLS) describes
//! its *inner* transport header. The inner IP header is found backward from there, the outermost one
//! forward from Ethernet, and the lengths, identifications and checksums of both are made right. Two
//! tunnels inside one another are refused rather than sent with wrong lengths in the middle.
//!
//! Datagrams to be cut into IP fragments (`GsoType::UdpFragment`) are not supported: no kernel of the
//! last years asks for it.

use crate::checksum::{add, nonzero, pseudo_header, sum};
use crate::outer::{GRE, Ip, TCP, UDP, Version, behind_ethernet};
use crate::{Frame, GsoType, HEADROOM, Offload};

/// A frame cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The kind of segmentation is not known or not supported.
    #[error("segmentation type {0} is not supported; TCPv4 (1), TCPv6 (4) and UDP (5) are")]
    Kind(u8),
    /// Segments of no bytes would never end.
    #[error("segment size 0 is not valid")]
    Size,
    /// No IP and transport header of the right kind lie where the frame says.
    #[error("no {kind} header over IP at byte {at}, where segmentation is asked for")]
    Headers {
        /// What was looked for.
        kind: &'static str,
        /// Where it was looked for.
        at: usize,
    },
    /// What lies between the outermost and the inner IP header is not a tunnel header we know.
    #[error("the {0} bytes between the outer and the inner header are not one tunnel we know")]
    Tunnel(usize),
}

/// Cuts `frame` and passes the segments to `emit`, in order; returns their number.
///
/// Segments are complete ([`Offload::is_complete`]). Their buffers are taken from `pool` while it has
/// some; whoever consumes a segment may put its buffer back ([`Frame::into_buffer`]).
///
/// # Errors
/// The frame cannot be cut; nothing was emitted.
pub fn segment(
    frame: &Frame<'_>,
    pool: &mut Vec<Vec<u8>>,
    emit: &mut dyn FnMut(Frame<'static>, &mut Vec<Vec<u8>>),
) -> Result<usize, SegmentError> {
    let plan = Plan::new(frame)?;
    let bytes = frame.bytes();
    let (headers, payload) = (&bytes[..plan.payload], &bytes[plan.payload..plan.inner.end]);
    let size = usize::from(frame.offload.gso_size);
    let count = payload.len().div_ceil(size).max(1);
    for index in 0..count {
        let from = index * size;
        let chunk = &payload[from..payload.len().min(from + size)];
        let mut buf = pool.pop().unwrap_or_default();
        buf.clear();
        buf.resize(HEADROOM, 0);
        buf.extend_from_slice(headers);
        buf.extend_from_slice(chunk);
        let position = Position { index, from, is_last: index + 1 == count };
        plan.fix(&mut buf[HEADROOM..], position);
        let mut segment = Frame::from_buffer(buf, HEADROOM, Offload::NONE);
        segment.layers = frame.layers;
        segment.layers.padding = 0;
        emit(segment, pool);
    }
    Ok(count)
}

/// The size in bytes of the headers that each segment of `frame` would repeat.
///
/// # Errors
/// As [`segment`].
pub fn gso_header_size(frame: &Frame<'_>) -> Result<usize, SegmentError> {
    Plan::new(frame).map(|plan| plan.payload)
}

/// Which segment it is.
#[derive(Clone, Copy)]
struct Position {
    index: usize,
    /// Payload bytes before it.
    from: usize,
    is_last: bool,
}

/// What has to be made right in each segment, in the order from the inside to the outside.
struct Plan {
    inner: Ip,
    /// Where the payload that is cut begins.
    payload: usize,
    /// The outermost IP header, if it is another one.
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
        if offload.gso_size == 0 {
            return Err(SegmentError::Size);
        }
        let outermost = Ip::outermost(bytes);
        // Frames that a device received and merged may come with verified instead of partial
        // checksums; their segments are those of the outermost header.
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
        let header = match (protocol, transport) {
            (TCP, [_, _, _, _, _, _, _, _, _, _, _, _, offset, ..]) => {
                Some(usize::from(offset >> 4) * 4).filter(|size| *size >= 20)
            }
            (UDP, _) => Some(8),
            _ => None,
        };
        let header = header.filter(|size| transport.len() >= *size).ok_or(error)?;
        let outer = outermost.filter(|ip| ip.start != inner.start);
        if let Some(outer) = outer {
            check_tunnel(bytes, outer, inner)?;
        }
        Ok(Self { inner, payload: at + header, outer })
    }

    fn fix(&self, segment: &mut [u8], position: Position) {
        fix_ip(segment, self.inner, position.index);
        if self.inner.protocol == TCP {
            fix_tcp(segment, self.inner, position);
        } else {
            fix_udp(segment, self.inner);
        }
        let Some(outer) = self.outer else { return };
        fix_ip(segment, outer, position.index);
        let at = outer.payload;
        match outer.protocol {
            UDP if segment[at + 6..at + 8] == [0, 0] => set_udp_size(segment, at),
            UDP => fix_udp(segment, outer),
            // RFC 2784: the checksum covers the GRE header and what follows.
            GRE if segment[at] & 0x80 != 0 => {
                segment[at + 4..at + 6].fill(0);
                let checksum = !sum(&segment[at..]);
                segment[at + 4..at + 6].copy_from_slice(&checksum.to_be_bytes());
            }
            _ => {}
        }
    }
}

/// The IP header that ends at `at` and whose payload is `protocol`.
///
/// Anything may lie before it, so what is found must agree with itself: version, header size,
/// protocol, length to the end of the frame and, for IPv4, the header checksum.
fn ip_before(bytes: &[u8], at: usize, protocol: u8, kind: GsoType) -> Option<Ip> {
    let fits = |ip: &Ip| ip.payload == at && ip.protocol == protocol && !ip.is_later_fragment;
    let v4 = || {
        (20..=60).step_by(4).find_map(|size| {
            let ip = Ip::v4(bytes, at.checked_sub(size)?).filter(fits)?;
            (ip.end == bytes.len() && sum(&bytes[ip.start..at]) == 0xffff).then_some(ip)
        })
    };
    // Extension headers come in multiples of eight bytes; hosts send few.
    let v6 = || {
        (40..=256).step_by(8).find_map(|size| {
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

/// What lies between the outermost and the inner IP header must be one tunnel.
fn check_tunnel(bytes: &[u8], outer: Ip, inner: Ip) -> Result<(), SegmentError> {
    let error = SegmentError::Tunnel(inner.start.saturating_sub(outer.payload));
    let is_inner = |start: usize| start == inner.start;
    // An inner Ethernet frame with its tags, up to the inner IP header.
    let is_inner_ethernet =
        |start: usize| behind_ethernet(bytes, start).is_some_and(|(_, l3)| is_inner(l3));
    let at = outer.payload;
    let is_known = match outer.protocol {
        _ if outer.is_later_fragment => false,
        4 | 41 => is_inner(at),
        UDP if bytes.len() >= at + 16 => {
            let inside = at + 8;
            let geneve = inside + 8 + usize::from(bytes[inside] & 0x3f) * 4;
            // IP in UDP; VXLAN and VXLAN-GPE; Geneve with options.
            is_inner(inside)
                || is_inner(inside + 8)
                || is_inner_ethernet(inside + 8)
                || is_inner(geneve)
                || is_inner_ethernet(geneve)
        }
        GRE if bytes.len() >= at + 4 => {
            // RFC 2784, RFC 2890: checksum, key and sequence number are optional.
            let options = (bytes[at] & 0xb0).count_ones() as usize;
            is_inner(at + 4 + options * 4) || is_inner_ethernet(at + 4 + options * 4)
        }
        _ => false,
    };
    if is_known { Ok(()) } else { Err(error) }
}

/// Length, identification and header checksum, for a header whose packet ends with the frame.
fn fix_ip(segment: &mut [u8], ip: Ip, index: usize) {
    let size = segment.len() - ip.start;
    let header = &mut segment[ip.start..ip.payload];
    match ip.version {
        Version::V4 => {
            header[2..4].copy_from_slice(&(size as u16).to_be_bytes());
            let id = u16::from_be_bytes([header[4], header[5]]).wrapping_add(index as u16);
            header[4..6].copy_from_slice(&id.to_be_bytes());
            header[10..12].fill(0);
            let checksum = !sum(header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        Version::V6 => header[4..6].copy_from_slice(&((size - 40) as u16).to_be_bytes()),
    }
}

fn fix_tcp(segment: &mut [u8], ip: Ip, position: Position) {
    const FIN: u8 = 0x01;
    const PSH: u8 = 0x08;
    const CWR: u8 = 0x80;
    let tcp = &mut segment[ip.payload..];
    let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
    let sequence = sequence.wrapping_add(position.from as u32);
    tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
    if !position.is_last {
        tcp[13] &= !(FIN | PSH);
    }
    if position.index > 0 {
        tcp[13] &= !CWR;
    }
    let checksum = transport_checksum(segment, ip, 16);
    segment[ip.payload + 16..ip.payload + 18].copy_from_slice(&checksum.to_be_bytes());
}

fn fix_udp(segment: &mut [u8], ip: Ip) {
    set_udp_size(segment, ip.payload);
    let checksum = nonzero(transport_checksum(segment, ip, 6));
    segment[ip.payload + 6..ip.payload + 8].copy_from_slice(&checksum.to_be_bytes());
}

fn set_udp_size(segment: &mut [u8], at: usize) {
    let size = (segment.len() - at) as u16;
    segment[at + 4..at + 6].copy_from_slice(&size.to_be_bytes());
}

fn transport_checksum(segment: &mut [u8], ip: Ip, offset: usize) -> u16 {
    let field = ip.payload + offset;
    segment[field..field + 2].fill(0);
    let transport = &segment[ip.payload..];
    let (source, destination) = ip.addresses(segment);
    let pseudo = pseudo_header(source, destination, ip.protocol, transport.len() as u32);
    !add(pseudo, sum(transport))
}

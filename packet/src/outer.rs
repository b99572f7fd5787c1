//! Finds the outermost IP header of a frame and the header behind it, for checksums and segmentation.
//!
//! Unlike key extraction (`flow::extract`), this parser reads only what those two need, and gives up at anything
//! unknown.

use crate::wire::vlan::skip_tags;
use crate::wire::{Ipv4Packet, Ipv6Extension, Ipv6Packet, eth_type, ip_proto, ipv4, ipv6};
use crate::{Frame, GsoType};

/// The version of an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

/// An IP header and its payload. Offsets count from the frame's first byte and are at most the frame's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ip {
    pub(crate) version: Version,
    /// Offset of the IP header.
    pub(crate) start: usize,
    /// Offset of the byte behind the IP header with its options and extension headers.
    pub(crate) payload: usize,
    /// Offset behind the last byte of the IP packet. Padding may follow.
    pub(crate) end: usize,
    /// The protocol of the payload, a number of [`ip_proto`].
    pub(crate) protocol: u8,
    /// Whether the packet is a fragment other than the first, whose payload does not begin with a transport header.
    pub(crate) is_later_fragment: bool,
}

impl Ip {
    /// The IP header directly behind the Ethernet header and its tags; `None` if another header is there.
    pub(crate) fn outermost(bytes: &[u8]) -> Option<Self> {
        let (ethertype, start) = skip_tags(bytes, 0)?;
        match ethertype {
            eth_type::IPV4 => Self::v4(bytes, start),
            eth_type::IPV6 => Self::v6(bytes, start),
            _ => None,
        }
    }

    /// The IPv4 header at offset `start`; `None` if the bytes there cannot be one.
    pub(crate) fn v4(bytes: &[u8], start: usize) -> Option<Self> {
        let header = Ipv4Packet::new_checked(bytes.get(start..)?).ok()?;
        (header.version() == 4).then(|| Self {
            version: Version::V4,
            start,
            payload: start + header.header_size(),
            end: start + header.end(),
            protocol: header.protocol(),
            is_later_fragment: header.is_later_fragment(),
        })
    }

    /// The IPv6 header at offset `start`, with its extension headers; `None` if the bytes there cannot be one.
    pub(crate) fn v6(bytes: &[u8], start: usize) -> Option<Self> {
        let header = Ipv6Packet::new_checked(bytes.get(start..)?).ok()?;
        if header.version() != 6 {
            return None;
        }
        let mut ip = Self {
            version: Version::V6,
            start,
            payload: start + ipv6::HEADER_SIZE,
            end: start + header.end(),
            protocol: header.next_header(),
            is_later_fragment: false,
        };
        while ip_proto::is_ipv6_extension(ip.protocol) && !ip.is_later_fragment {
            let rest = bytes.get(ip.payload..ip.end)?;
            let extension = Ipv6Extension::new_checked(ip.protocol, rest).ok()?;
            ip.is_later_fragment = extension.is_later_fragment();
            ip.protocol = extension.next_header();
            ip.payload += extension.header_size();
        }
        Some(ip)
    }

    /// Source and destination address, of 4 or 16 bytes each. `bytes` are the bytes of the frame.
    pub(crate) fn addresses(self, bytes: &[u8]) -> (&[u8], &[u8]) {
        let (at, size) = match self.version {
            Version::V4 => (self.start + ipv4::field::ADDRESSES.start, 4),
            Version::V6 => (self.start + ipv6::field::ADDRESSES.start, 16),
        };
        bytes[at..at + 2 * size].split_at(size)
    }
}

/// Whether [`Frame::offload`] is about the transport header behind the outermost IP header. Only then can a raw
/// socket leave the work to the kernel and its devices.
///
/// If a host sent the frame through a tunnel of its own, the offload is about the header inside the tunnel. Then
/// [`complete`](crate::complete()) or [`Segmentation`](crate::Segmentation) has to do the work before the frame is sent.
pub fn offload_matches_outer_l4(frame: &Frame<'_>) -> bool {
    let offload = frame.offload;
    if offload.is_complete() {
        return true;
    }
    let Some(ip) = Ip::outermost(frame.bytes()).filter(|ip| !ip.is_later_fragment) else {
        return false;
    };
    let kind_matches = match offload.gso() {
        GsoType::None => true,
        GsoType::TcpV4 => ip.protocol == ip_proto::TCP && ip.version == Version::V4,
        GsoType::TcpV6 => ip.protocol == ip_proto::TCP && ip.version == Version::V6,
        GsoType::UdpL4 | GsoType::UdpFragment => ip.protocol == ip_proto::UDP,
        GsoType::Unknown(_) => false,
    };
    kind_matches && (!offload.needs_checksum() || usize::from(offload.csum_start) == ip.payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offload;

    const V4_TCP: [u8; 34] = [
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, // Ethernet
        0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];

    #[test]
    fn tags_are_skipped() {
        let mut bytes = V4_TCP[..12].to_vec();
        bytes.extend([0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]);
        bytes.extend(&V4_TCP[12..]);
        let ip = Ip::outermost(&bytes).unwrap();
        assert_eq!((ip.start, ip.payload, ip.protocol), (22, 42, ip_proto::TCP));
        assert_eq!(ip.addresses(&bytes), (&[10, 0, 0, 1][..], &[10, 0, 0, 2][..]));
    }

    #[test]
    fn extension_headers_are_skipped() {
        let mut bytes = V4_TCP[..12].to_vec();
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 0, 64]);
        bytes.extend([0; 32]);
        bytes.extend([60, 0, 0, 0, 0, 0, 0, 0]); // hop-by-hop options
        bytes.extend([17, 0, 0, 0, 0, 0, 0, 0]); // destination options
        bytes.extend([0; 8]); // UDP
        let ip = Ip::outermost(&bytes).unwrap();
        assert_eq!((ip.version, ip.payload, ip.protocol), (Version::V6, 70, ip_proto::UDP));
        assert_eq!(ip.end, bytes.len());
    }

    #[test]
    fn truncated_headers_are_no_headers() {
        for size in 0..V4_TCP.len() {
            assert_eq!(Ip::outermost(&V4_TCP[..size]), None, "{size}");
        }
    }

    #[test]
    fn an_inner_checksum_is_not_the_outer_one() {
        let offload = Offload { flags: 1, csum_start: 34, ..Offload::NONE };
        let mut frame = Frame::owned(&V4_TCP, offload);
        assert!(offload_matches_outer_l4(&frame));
        frame.offload.csum_start = 84;
        assert!(!offload_matches_outer_l4(&frame));
        frame.offload = Offload { gso_type: 4, gso_size: 1000, ..offload };
        assert!(!offload_matches_outer_l4(&frame), "an IPv4 frame is not TCP over IPv6");
    }
}

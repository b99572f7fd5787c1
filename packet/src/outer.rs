//! Finds the outermost IP header of a frame and the header behind it, for checksums and segmentation.
//!
//! Unlike key extraction (`flow::extract`), this parser reads only what those two need, and
//! gives up at anything unknown.

use crate::wire::vlan::skip_tags;
use crate::wire::{
    Ipv4Packet, Ipv6Extension, Ipv6Packet, eth_type, icmp, ip_proto, ipv4, ipv6, sctp, tcp, udp,
};
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
    /// Whether the packet is a fragment other than the first, whose payload does not
    /// begin with a transport header.
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
/// If a host sent the frame through a tunnel of its own, the offload is about the header inside the tunnel.
/// Then [`complete`](crate::complete()) or [`Segmentation`](crate::Segmentation) has to do the work before the
/// frame is sent.
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

/// Whether the frame's partial checksum lies where the transport header has its checksum.
///
/// The sender says where the checksum lies, and whoever completes the checksum writes there: the switch, the
/// kernel, or a device. A sender that names the place of an address or port could send frames that differ from
/// those that the rules have judged. A checksum inside a tunnel of the sender may lie anywhere behind the
/// headers that rules can match. A frame without partial checksum is in place.
#[inline]
pub fn checksum_is_in_place(frame: &Frame<'_>) -> bool {
    let (offload, layers) = (frame.offload, frame.layers);
    if !offload.needs_checksum() {
        return true;
    }
    // Nearly every partial checksum is that of the outermost transport header, behind no extension headers.
    let (l3, l4) = (usize::from(layers.l3), usize::from(layers.l4));
    let byte = |at: usize| frame.bytes().get(l3 + at).copied().unwrap_or_default();
    if l4 == usize::from(offload.csum_start) && l3 != 0 {
        match byte(0) >> 4 {
            4 => return is_of_protocol(byte(ipv4::field::PROTOCOL), offload.csum_offset),
            6 if l4 == l3 + ipv6::HEADER_SIZE => {
                return is_of_protocol(byte(ipv6::field::NEXT_HEADER), offload.csum_offset);
            }
            _ => {}
        }
    }
    checksum_is_in_place_of_any(frame)
}

#[cold]
fn checksum_is_in_place_of_any(frame: &Frame<'_>) -> bool {
    /// Bytes behind Ethernet and its tags that no checksum may be written to. Rules match no more than 12 of
    /// them, three MPLS labels.
    const MATCHED: usize = 24;
    /// Bytes of a UDP or GRE header that no checksum may be written to, because rules can match them.
    const OUTER: usize = 8;
    let start = usize::from(frame.offload.csum_start);
    match Ip::outermost(frame.bytes()) {
        Some(ip) if start == ip.payload => is_of_protocol(ip.protocol, frame.offload.csum_offset),
        Some(ip) => {
            let may_have_tunnel = !matches!(
                ip.protocol,
                ip_proto::TCP | ip_proto::SCTP | ip_proto::ICMP | ip_proto::ICMPV6
            );
            may_have_tunnel && start >= ip.payload + OUTER
        }
        None => skip_tags(frame.bytes(), 0).is_some_and(|(ethertype, l3)| {
            let is_known = matches!(ethertype, eth_type::IPV4 | eth_type::IPV6 | eth_type::ARP);
            !is_known && start >= l3 + MATCHED
        }),
    }
}

/// Whether a header of this protocol has its checksum at this offset. Rules match nothing of the
/// header of an unknown protocol.
fn is_of_protocol(protocol: u8, offset: u16) -> bool {
    let place = match protocol {
        ip_proto::TCP => tcp::field::CHECKSUM,
        ip_proto::UDP => udp::field::CHECKSUM,
        ip_proto::SCTP => sctp::field::CHECKSUM,
        ip_proto::ICMP | ip_proto::ICMPV6 => icmp::field::CHECKSUM,
        _ => return true,
    };
    usize::from(offset) == place.start
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
    fn a_partial_checksum_lies_where_its_protocol_says() {
        let check = |protocol: u8, start: u16, offset: u16, expected: bool| {
            let mut bytes = V4_TCP.to_vec();
            bytes.resize(120, 0);
            bytes[17] = 100;
            bytes[23] = protocol;
            let mut frame = Frame::owned(&bytes, Offload::NONE);
            frame.offload.set_needs_checksum(start, offset);
            let place = (protocol, start, offset);
            assert_eq!(checksum_is_in_place(&frame), expected, "{place:?} by parsing");
            frame.layers = crate::Layers { l3: 14, l4: 34, ..crate::Layers::default() };
            assert_eq!(checksum_is_in_place(&frame), expected, "{place:?} by layers");
        };
        check(ip_proto::TCP, 34, 16, true);
        check(ip_proto::UDP, 34, 6, true);
        check(ip_proto::SCTP, 34, 8, true);
        check(ip_proto::ICMP, 34, 2, true);
        // The MAC and IP addresses, and the port.
        check(ip_proto::TCP, 0, 16, false);
        check(ip_proto::TCP, 14, 16, false);
        check(ip_proto::TCP, 34, 2, false);
        check(ip_proto::UDP, 34, 2, false);
        // Inside a tunnel, but not in what rules can match of the outer header.
        check(ip_proto::UDP, 84, 16, true);
        check(ip_proto::UDP, 36, 0, false);
        check(ip_proto::GRE, 62, 16, true);
        check(ip_proto::TCP, 84, 16, false);
        check(ip_proto::ICMPV6, 42, 0, false);
    }

    #[test]
    fn a_partial_checksum_behind_another_ethertype_leaves_labels_and_arp_alone() {
        let check = |ethertype: u16, start: u16, expected: bool| {
            let mut bytes = vec![0; 80];
            bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
            let mut frame = Frame::owned(&bytes, Offload::NONE);
            frame.offload.set_needs_checksum(start, 16);
            assert_eq!(checksum_is_in_place(&frame), expected, "{ethertype:#x} at {start}");
        };
        check(eth_type::MPLS, 38, true);
        check(eth_type::MPLS, 14, false);
        check(eth_type::ARP, 40, false);
        // No IP header, though the EtherType says so.
        check(eth_type::IPV4, 60, false);
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

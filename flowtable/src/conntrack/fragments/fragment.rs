//! Which packet a fragment is part of, and which bytes of it: what the headers of one fragment say (RFC 791
//! §3.2, RFC 8200 §4.5).

use super::FragmentRules;
use flow::types::PortNo;
use packet::Frame;
use packet::wire::{
    Ipv4Packet, Ipv6Extension, Ipv6Packet, eth_type, ip_proto, ipv4, ipv6, ipv6_extension,
};
use std::ops::Range;

/// The most bytes that a packet has behind its IP header, as far as the offset of a fragment can say it.
const MAX_PAYLOAD: usize = 65_535;

/// What the fragments of one packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DatagramKey {
    /// Where the fragments come in. Those of one packet have to come in at one port, because rules judge them
    /// by it. In a table that does as Open vSwitch: port 0, wherever they come in.
    pub(super) port: PortNo,
    pub(super) zone: u16,
    /// The IPv6 address, or the IPv4 address in the first four bytes and zeros behind.
    pub(super) source: [u8; 16],
    destination: [u8; 16],
    identification: u32,
    /// The protocol of an IPv4 packet. The fragments of an IPv6 packet may name different ones,
    /// and only the first counts.
    protocol: u8,
    pub(super) is_ipv6: bool,
}

/// A fragment, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) datagram: DatagramKey,
    /// The bytes of the packet behind its IP header, or behind the headers that every fragment of IPv6 has,
    /// that the fragment carries.
    pub(super) bytes: Range<usize>,
    /// Whether these are the packet's last ones.
    pub(super) is_last: bool,
    /// Where they are in the frame.
    pub(super) payload_at: usize,
}

/// Reads the fragment in a frame whose layers are known. `None` if the frame has none, or one that contradicts
/// itself or is smaller than a fragment may be.
pub(super) fn read(
    frame: &Frame<'_>,
    port: PortNo,
    zone: u16,
    rules: &FragmentRules,
) -> Option<Fragment> {
    let l3 = usize::from(frame.layers.l3);
    let end = frame.size().checked_sub(frame.layers.padding.into())?;
    let packet = frame.bytes().get(l3..end)?;
    let dl_type = u16::from_be_bytes(*frame.bytes().get(..l3)?.last_chunk()?);
    // A sender that fragments has to finish the checksum first.
    if frame.offload.needs_checksum() || frame.offload.is_gso() {
        return None;
    }
    let port = if rules.as_ovs { PortNo(0) } else { port };
    let version = match (rules.as_ovs, dl_type) {
        // Open vSwitch does not look at the version in the header.
        (true, eth_type::IPV6) => 6,
        (true, _) => 4,
        (false, _) => packet.first()? >> 4,
    };
    let (datagram, at, offset, is_last, min_size) = match (version, dl_type) {
        (4, eth_type::IPV4) => {
            let ip = Ipv4Packet::new_unchecked(packet.first_chunk::<{ ipv4::HEADER_SIZE }>()?);
            let size = ip.header_size();
            let is_whole = usize::from(ip.total_size()) == packet.len();
            if !ip.is_fragment() || size < ipv4::HEADER_SIZE || !is_whole {
                return None;
            }
            if !Ipv4Packet::new_unchecked(packet.get(..size)?).is_checksum_right() {
                return None;
            }
            let address = |octets: [u8; 4]| {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&octets);
                bytes
            };
            let datagram = DatagramKey {
                port,
                zone,
                source: address(ip.src_addr().octets()),
                destination: address(ip.dst_addr().octets()),
                identification: ip.identification().into(),
                protocol: ip.protocol(),
                is_ipv6: false,
            };
            let flags = ip.flags_and_offset();
            let offset = usize::from(flags & ipv4::OFFSET_MASK) * 8;
            (datagram, size, offset, flags & ipv4::MORE_FRAGMENTS == 0, rules.min_ipv4)
        }
        (6, eth_type::IPV6) => {
            let ip = Ipv6Packet::new_unchecked(packet.first_chunk::<{ ipv6::HEADER_SIZE }>()?);
            let at = fragment_header(packet)?;
            let header = Ipv6Extension::new_unchecked(ip_proto::FRAGMENT, packet.get(at..)?);
            let is_whole = ipv6::HEADER_SIZE + usize::from(ip.payload_size()) == packet.len();
            if header.is_atomic_fragment() || !is_whole {
                return None;
            }
            let datagram = DatagramKey {
                port,
                zone,
                source: ip.src_addr().octets(),
                destination: ip.dst_addr().octets(),
                identification: header.identification(),
                protocol: 0,
                is_ipv6: true,
            };
            let flags = header.offset_and_flags();
            let offset = usize::from(flags & ipv6_extension::OFFSET_MASK);
            let is_last = flags & ipv6_extension::MORE_FRAGMENTS == 0;
            (datagram, at + ipv6_extension::HEADER_SIZE, offset, is_last, rules.min_ipv6)
        }
        _ => return None,
    };
    let size = packet.len().checked_sub(at)?;
    let bytes = offset..offset + size;
    let is_too_small = !is_last && frame.size() < min_size as usize;
    let is_odd = size == 0 || (!is_last && !rules.as_ovs && !size.is_multiple_of(8));
    if is_too_small || is_odd || bytes.end > MAX_PAYLOAD {
        return None;
    }
    Some(Fragment { datagram, bytes, is_last, payload_at: l3 + at })
}

/// Where the fragment header is in an IPv6 packet that has one.
pub(super) fn fragment_header(packet: &[u8]) -> Option<usize> {
    let ip = Ipv6Packet::new_unchecked(packet.first_chunk::<{ ipv6::HEADER_SIZE }>()?);
    let (mut kind, mut at) = (ip.next_header(), ipv6::HEADER_SIZE);
    while ip_proto::is_ipv6_extension(kind) {
        let extension = Ipv6Extension::new_checked(kind, packet.get(at..)?).ok()?;
        if kind == ip_proto::FRAGMENT {
            return Some(at);
        }
        at += extension.header_size();
        kind = extension.next_header();
    }
    None
}

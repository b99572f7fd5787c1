//! Which connection a packet belongs to: reads the [`CtTuple`] of a frame.
//!
//! An ICMP error quotes the packet that it is about. Its tuple is that of the quoted packet, reversed, so that
//! the error is found to belong to that packet's connection (RFC 5508 §4).
//!
//! A packet has no tuple, and is invalid, if its headers are cut off or contradict themselves, if a checksum is
//! wrong, or if the packet is a fragment: `fragments` puts the whole packet together first.

use flow::key::RareHeaders;
use packet::wire::{
    IcmpPacket, Icmpv6Packet, Ipv4Packet, Ipv6Extension, Ipv6Packet, TcpPacket, UdpPacket,
    eth_type, icmp, icmp_type, icmpv6, icmpv6_type, ip_proto, ipv4, ipv6, tcp, udp,
};
use packet::{Frame, checksum};
use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Both ends of a tuple, as they are kept where memory counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct CtEnds {
    addresses: [[u8; 16]; 2],
    ports: [u16; 2],
    icmp_types: [u8; 2],
}

/// One end of a connection, as a packet names it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct CtEnd {
    /// The IPv6 address, or the IPv4 address in the first four bytes and zeros behind.
    address: [u8; 16],
    /// The port of TCP, UDP or SCTP, or the identifier of an ICMP query; else 0.
    pub port: u16,
    /// The type of the ICMP query that this end sends: 8 and 0 for a request and its
    /// answer. 0 for other protocols.
    pub icmp_type: u8,
}

impl CtEnd {
    /// The address, which has 16 bytes or, of IPv4, four bytes with zeros behind.
    pub(crate) fn address_bytes(&self) -> &[u8; 16] {
        &self.address
    }

    /// Sets the address, the number of an IPv6 or IPv4 address.
    pub(super) fn set_address(&mut self, address: u128, is_ipv6: bool) {
        // The address of IPv4 is in the first bytes.
        let shift = if is_ipv6 { 0 } else { 96 };
        self.address = (address << shift).to_be_bytes();
    }
}

/// The zone, the protocol and the two ends of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CtTuple {
    /// The end that sent the packet.
    pub source: CtEnd,
    /// The end that the packet goes to.
    pub destination: CtEnd,
    /// The zone in which the packet is looked up.
    pub zone: u16,
    /// The IP protocol.
    pub protocol: u8,
    /// Whether the addresses are IPv6 addresses.
    pub is_ipv6: bool,
}

impl Hash for CtTuple {
    /// In two or three large words: a hash function takes as long for a small one.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (source, destination) = (&self.source, &self.destination);
        if self.is_ipv6 {
            state.write_u128(u128::from_ne_bytes(source.address));
            state.write_u128(u128::from_ne_bytes(destination.address));
        } else {
            let word = |[a, b, c, d, ..]: [u8; 16]| u64::from(u32::from_ne_bytes([a, b, c, d]));
            state.write_u64(word(source.address) << 32 | word(destination.address));
        }
        let ports = u64::from(source.port) << 48 | u64::from(destination.port) << 32;
        state.write_u64(ports | u64::from(self.zone) << 16 | u64::from(self.protocol));
        if source.icmp_type != destination.icmp_type {
            state.write_u16(u16::from(source.icmp_type) << 8 | u16::from(destination.icmp_type));
        }
    }
}

impl CtTuple {
    /// The source and the destination.
    pub(super) fn ends(&self) -> CtEnds {
        let ends = [self.source, self.destination];
        CtEnds {
            addresses: ends.map(|end| end.address),
            ports: ends.map(|end| end.port),
            icmp_types: ends.map(|end| end.icmp_type),
        }
    }

    /// The tuple with another source and another destination.
    pub(super) fn with_ends(&self, ends: &CtEnds) -> Self {
        let [source, destination] = [0, 1].map(|n| CtEnd {
            address: ends.addresses[n],
            port: ends.ports[n],
            icmp_type: ends.icmp_types[n],
        });
        Self { source, destination, ..*self }
    }

    /// The tuple of packets in the other direction.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { source: self.destination, destination: self.source, ..*self }
    }

    /// The tuple that both directions of the connection have in common, and whether this one had
    /// to be reversed for it.
    pub(super) fn canonical(&self) -> (Self, bool) {
        match self.source <= self.destination {
            true => (*self, false),
            false => (self.reversed(), true),
        }
    }

    /// The address of one end.
    pub fn address(&self, end: &CtEnd) -> IpAddr {
        let [a, b, c, d, ..] = end.address;
        match self.is_ipv6 {
            true => Ipv6Addr::from(end.address).into(),
            false => Ipv4Addr::new(a, b, c, d).into(),
        }
    }

    /// Writes the tuple into the fields of a key that tell of a connection's first packet.
    pub(super) fn write(&self, headers: &mut RareHeaders) {
        let (source, destination) = (&self.source, &self.destination);
        headers.ct_nw_proto = self.protocol;
        if self.is_ipv6 {
            (headers.ct_ipv6_src, headers.ct_ipv6_dst) = (source.address, destination.address);
        } else {
            let word = |[a, b, c, d, ..]: [u8; 16]| u32::from_be_bytes([a, b, c, d]);
            headers.ct_nw_src.set(word(source.address));
            headers.ct_nw_dst.set(word(destination.address));
        }
        let is_icmp = matches!(self.protocol, ip_proto::ICMP | ip_proto::ICMPV6);
        // The code of a query is always zero.
        let (src, dst) = match is_icmp {
            true => (source.icmp_type.into(), 0),
            false => (source.port, destination.port),
        };
        headers.ct_tp_src.set(src);
        headers.ct_tp_dst.set(dst);
    }
}

/// The part of a TCP header that the state of a connection depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpSegment {
    /// The flags, 12 bits as in `TcpPacket::flags`.
    pub(super) flags: u16,
    /// The sequence number of the first octet.
    pub(super) sequence: u32,
    /// The acknowledgement number.
    pub(super) acknowledgement: u32,
    /// The window, as the header says it.
    pub(super) window: u16,
    /// The shift of the window scale option (RFC 7323), at most 14; `None` without the option.
    pub(super) window_scale: Option<u8>,
    /// Number of octets of payload.
    pub(super) payload: u32,
}

/// A packet as the tracker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CtPacket {
    /// The tuple of the packet, or of the packet that it quotes, reversed.
    pub(super) tuple: CtTuple,
    /// The packet's TCP header; `None` for other protocols.
    pub(super) tcp: Option<TcpSegment>,
    /// Whether the packet is an ICMP error.
    pub(super) is_error: bool,
}

/// Reads the packet of a frame whose layers are known. `None` if it belongs to no connection.
///
/// With `as_ovs`, reads it as Open vSwitch 3.1: SCTP without ports, and IPv6 whatever version the header says.
pub(super) fn read(frame: &Frame<'_>, zone: u16, as_ovs: bool) -> Option<CtPacket> {
    let layers = frame.layers;
    let bytes = frame.bytes();
    let end = bytes.len().checked_sub(layers.padding.into())?;
    let packet = bytes.get(usize::from(layers.l3)..end)?;
    let is_ipv6 = match bytes.get(..usize::from(layers.l3))?.last_chunk().copied() {
        Some(dl_type) => u16::from_be_bytes(dl_type) == eth_type::IPV6,
        None => return None,
    };
    let version = if as_ovs && is_ipv6 { 6 } else { packet.first()? >> 4 };
    let network = network(packet, version, zone, is_ipv6, false)?;
    let transport = packet.get(network.size..)?;
    let mut tracked = CtPacket { tuple: network.tuple, tcp: None, is_error: false };
    let is_right = || is_whole(packet, is_ipv6) && is_checksum_right(&network.tuple, transport);
    if !is_believed(frame) && !is_right() {
        return None;
    }
    match network.tuple.protocol {
        ip_proto::TCP => tracked.tcp = Some(segment(transport, &mut tracked.tuple)?),
        ip_proto::ICMP if !tracked.tuple.is_ipv6 => icmp_message(transport, &mut tracked)?,
        ip_proto::ICMPV6 if tracked.tuple.is_ipv6 => icmpv6_message(transport, &mut tracked)?,
        ip_proto::SCTP if as_ovs => {}
        _ => ports(transport, &mut tracked.tuple, true)?,
    }
    // An ICMP error may quote SCTP, with its ports.
    if as_ovs && tracked.tuple.protocol == ip_proto::SCTP {
        (tracked.tuple.source.port, tracked.tuple.destination.port) = (0, 0);
    }
    Some(tracked)
}

/// Whether [`read`] reads the UDP datagram of a frame whose key has its addresses and ports. `false` is not
/// certain: this is for datagrams without options and extension headers.
#[inline]
pub(super) fn is_whole_datagram(frame: &Frame<'_>, is_ipv6: bool) -> bool {
    let (layers, bytes) = (frame.layers, frame.bytes());
    let end = bytes.len().saturating_sub(layers.padding.into());
    let Some(packet) = bytes.get(usize::from(layers.l3)..end) else { return false };
    let header_size = if is_ipv6 { ipv6::HEADER_SIZE } else { ipv4::HEADER_SIZE };
    let is_plain = match (is_ipv6, packet) {
        (false, [0x45, ..]) => {
            packet.first_chunk::<{ ipv4::HEADER_SIZE }>().is_some_and(|header| {
                checksum::sum(header) == u16::MAX
                    && !Ipv4Packet::new_unchecked(header).is_fragment()
            })
        }
        (true, [0x60..=0x6f, ..]) => packet
            .first_chunk::<{ ipv6::HEADER_SIZE }>()
            .is_some_and(|header| Ipv6Packet::new_unchecked(header).next_header() == ip_proto::UDP),
        _ => false,
    };
    if !is_plain || !is_believed(frame) && !is_whole(packet, is_ipv6) {
        return false;
    }
    let Some(datagram) = packet.get(header_size..) else { return false };
    let Some(header) = datagram.first_chunk::<{ udp::HEADER_SIZE }>() else { return false };
    let size = usize::from(UdpPacket::new_unchecked(header).size());
    let has_checksum = is_ipv6 || header[udp::field::CHECKSUM] != [0, 0];
    (udp::HEADER_SIZE..=datagram.len()).contains(&size)
        && (!has_checksum || is_believed(frame) || is_sum_right(packet, datagram, is_ipv6))
}

/// Whether the TCP or UDP packet of a frame still has this tuple, which was read from it
/// before. `false` is not certain.
#[inline]
pub(super) fn is_of(frame: &Frame<'_>, tuple: &CtTuple) -> bool {
    let size = if tuple.is_ipv6 { 16 } else { 4 };
    let field = if tuple.is_ipv6 { ipv6::field::ADDRESSES } else { ipv4::field::ADDRESSES };
    let (l3, l4) = (usize::from(frame.layers.l3), usize::from(frame.layers.l4));
    let addresses = frame.bytes().get(l3 + field.start..l3 + field.end);
    let ports = frame.bytes().get(l4..).and_then(<[u8]>::first_chunk::<4>);
    let (Some(addresses), Some(&[a, b, c, d])) = (addresses, ports) else { return false };
    let (source, destination) = (&tuple.source, &tuple.destination);
    matches!(tuple.protocol, ip_proto::TCP | ip_proto::UDP)
        && addresses[..size] == source.address[..size]
        && addresses[size..] == destination.address[..size]
        && u16::from_be_bytes([a, b]) == source.port
        && u16::from_be_bytes([c, d]) == destination.port
}

/// Whether whoever sent the frame left its checksum undone, or had it checked.
#[inline]
fn is_believed(frame: &Frame<'_>) -> bool {
    frame.offload.needs_checksum() || !frame.offload.is_complete()
}

/// Whether the checksum of the datagram of a packet is right.
#[inline(never)]
fn is_sum_right(packet: &[u8], datagram: &[u8], is_ipv6: bool) -> bool {
    let addresses = if is_ipv6 { ipv6::field::ADDRESSES } else { ipv4::field::ADDRESSES };
    let Some((source, destination)) =
        packet.get(addresses).map(|addresses| addresses.split_at(addresses.len() / 2))
    else {
        return false;
    };
    let size = datagram.len() as u32;
    let pseudo = checksum::pseudo_header(source, destination, ip_proto::UDP, size);
    checksum::add(pseudo, checksum::sum(datagram)) == u16::MAX
}

/// Size in bytes of the IP header, extension headers included, of a packet that an ICMP error quotes.
pub(crate) fn quoted_header_size(packet: &[u8]) -> Option<usize> {
    let is_ipv6 = packet.first()? >> 4 == 6;
    Some(network(packet, packet.first()? >> 4, 0, is_ipv6, true)?.size)
}

/// A network header.
struct NetworkHeader {
    /// The tuple without ports.
    tuple: CtTuple,
    /// Size of the header with options or extension headers, in bytes.
    size: usize,
}

/// Reads a network header of this IP version. `None` if `version`, which the header says, is another one.
/// `is_quoted` says that the packet may be cut off behind the header, as in an ICMP error.
#[inline]
fn network(
    bytes: &[u8],
    version: u8,
    zone: u16,
    is_ipv6: bool,
    is_quoted: bool,
) -> Option<NetworkHeader> {
    match (version, is_ipv6) {
        (4, false) => {
            let header = bytes.first_chunk::<{ ipv4::HEADER_SIZE }>()?;
            let ip = Ipv4Packet::new_unchecked(header);
            let size = ip.header_size();
            if size < ipv4::HEADER_SIZE || bytes.len() < size {
                return None;
            }
            let has_right_sum = is_quoted || checksum::sum(&bytes[..size]) == u16::MAX;
            let is_fragment = if is_quoted { ip.is_later_fragment() } else { ip.is_fragment() };
            if is_fragment || !has_right_sum {
                return None;
            }
            let end = |address: Ipv4Addr| {
                let mut end = CtEnd::default();
                end.set_address(address.to_bits().into(), false);
                end
            };
            let (source, destination) = (end(ip.src_addr()), end(ip.dst_addr()));
            let protocol = ip.protocol();
            let tuple = CtTuple { source, destination, zone, protocol, is_ipv6: false };
            Some(NetworkHeader { tuple, size })
        }
        (6, true) => {
            let header = bytes.first_chunk::<{ ipv6::HEADER_SIZE }>()?;
            let ip = Ipv6Packet::new_unchecked(header);
            let (mut protocol, mut size) = (ip.next_header(), ipv6::HEADER_SIZE);
            while ip_proto::is_ipv6_extension(protocol) {
                let extension = Ipv6Extension::new_checked(protocol, bytes.get(size..)?).ok()?;
                let is_fragment =
                    extension.kind() == ip_proto::FRAGMENT && !extension.is_atomic_fragment();
                if is_fragment {
                    return None;
                }
                size += extension.header_size();
                protocol = extension.next_header();
            }
            let end = |address: Ipv6Addr| CtEnd { address: address.octets(), ..CtEnd::default() };
            let (source, destination) = (end(ip.src_addr()), end(ip.dst_addr()));
            let tuple = CtTuple { source, destination, zone, protocol, is_ipv6: true };
            Some(NetworkHeader { tuple, size })
        }
        _ => None,
    }
}

/// Whether an IP packet is there to its end, and has its end behind its header. The header has to be there.
#[inline]
fn is_whole(packet: &[u8], is_ipv6: bool) -> bool {
    match is_ipv6 {
        false => {
            let size = usize::from(Ipv4Packet::new_unchecked(packet).total_size());
            (ipv4::HEADER_SIZE..=packet.len()).contains(&size)
        }
        true => {
            let size = usize::from(Ipv6Packet::new_unchecked(packet).payload_size());
            ipv6::HEADER_SIZE + size <= packet.len()
        }
    }
}

/// Whether the checksum of a whole TCP, UDP, ICMP or ICMPv6 packet is right; true for other protocols. `bytes`
/// begin with the transport header.
#[inline]
fn is_checksum_right(tuple: &CtTuple, bytes: &[u8]) -> bool {
    let pseudo = || {
        let size = if tuple.is_ipv6 { 16 } else { 4 };
        let (source, destination) =
            (&tuple.source.address[..size], &tuple.destination.address[..size]);
        checksum::pseudo_header(source, destination, tuple.protocol, bytes.len() as u32)
    };
    match tuple.protocol {
        ip_proto::ICMP => checksum::sum(bytes) == u16::MAX,
        // The sender of a UDP datagram over IPv4 may leave the checksum out (RFC 768).
        ip_proto::UDP if !tuple.is_ipv6 && matches!(bytes, [_, _, _, _, _, _, 0, 0, ..]) => true,
        ip_proto::TCP | ip_proto::UDP | ip_proto::ICMPV6 => {
            checksum::add(pseudo(), checksum::sum(bytes)) == u16::MAX
        }
        _ => true,
    }
}

/// Reads the ports of a protocol that has them. With `is_whole`, a UDP datagram has to be there to its end.
#[inline]
fn ports(bytes: &[u8], tuple: &mut CtTuple, is_whole: bool) -> Option<()> {
    if !ip_proto::has_ports(tuple.protocol) {
        return Some(());
    }
    let header = bytes.first_chunk::<{ udp::HEADER_SIZE }>()?;
    let header = UdpPacket::new_unchecked(header);
    let size = usize::from(header.size());
    if is_whole
        && tuple.protocol == ip_proto::UDP
        && !(udp::HEADER_SIZE..=bytes.len()).contains(&size)
    {
        return None;
    }
    (tuple.source.port, tuple.destination.port) = (header.src_port(), header.dst_port());
    // As in Open vSwitch, SCTP may have port 0.
    let has_zero = tuple.source.port == 0 || tuple.destination.port == 0;
    (!has_zero || tuple.protocol == ip_proto::SCTP).then_some(())
}

/// Reads a TCP header.
#[inline]
fn segment(bytes: &[u8], tuple: &mut CtTuple) -> Option<TcpSegment> {
    let header = TcpPacket::new_unchecked(bytes.first_chunk::<{ tcp::HEADER_SIZE }>()?);
    let size = header.header_size();
    if size < tcp::HEADER_SIZE {
        return None;
    }
    let options = bytes.get(tcp::HEADER_SIZE..size)?;
    ports(bytes, tuple, true)?;
    Some(TcpSegment {
        flags: header.flags(),
        sequence: header.sequence(),
        acknowledgement: header.acknowledgement(),
        window: header.window(),
        window_scale: window_scale(options),
        payload: (bytes.len() - size) as u32,
    })
}

/// The shift of the window scale option among the options of a TCP header.
fn window_scale(mut options: &[u8]) -> Option<u8> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const WINDOW_SCALE: u8 = 3;
    const MAX_SHIFT: u8 = 14;
    while let [kind, rest @ ..] = options {
        options = match *kind {
            END => return None,
            NO_OPERATION => rest,
            kind => match rest {
                [3, shift, ..] if kind == WINDOW_SCALE => return Some((*shift).min(MAX_SHIFT)),
                [size, ..] => options.get(usize::from(*size).max(2)..)?,
                [] => return None,
            },
        };
    }
    None
}

/// Reads an ICMP query, or an error with the packet that it quotes.
fn icmp_message(bytes: &[u8], tracked: &mut CtPacket) -> Option<()> {
    /// ICMP types that the wire formats do not name (RFC 792, RFC 950).
    const SOURCE_QUENCH: u8 = 4;
    const REDIRECT: u8 = 5;
    const PARAMETER_PROBLEM: u8 = 12;
    const TIMESTAMP: u8 = 13;
    const TIMESTAMP_REPLY: u8 = 14;
    const INFORMATION: u8 = 15;
    const INFORMATION_REPLY: u8 = 16;
    let header = IcmpPacket::new_unchecked(bytes.first_chunk::<{ icmp::HEADER_SIZE }>()?);
    let own = header.icmp_type();
    let answer = match own {
        icmp_type::ECHO_REQUEST => icmp_type::ECHO_REPLY,
        icmp_type::ECHO_REPLY => icmp_type::ECHO_REQUEST,
        TIMESTAMP => TIMESTAMP_REPLY,
        TIMESTAMP_REPLY => TIMESTAMP,
        INFORMATION => INFORMATION_REPLY,
        INFORMATION_REPLY => INFORMATION,
        icmp_type::DESTINATION_UNREACHABLE
        | icmp_type::TIME_EXCEEDED
        | SOURCE_QUENCH
        | REDIRECT
        | PARAMETER_PROBLEM => return error(&bytes[icmp::HEADER_SIZE..], tracked),
        _ => return None,
    };
    if header.code() != 0 {
        return None;
    }
    query(&mut tracked.tuple, header.identifier(), (own, answer));
    Some(())
}

/// Reads an ICMPv6 query, or an error with the packet that it quotes.
fn icmpv6_message(bytes: &[u8], tracked: &mut CtPacket) -> Option<()> {
    const PARAMETER_PROBLEM: u8 = 4;
    const QUOTED: usize = 8;
    let header = Icmpv6Packet::new_unchecked(bytes.first_chunk::<{ icmpv6::HEADER_SIZE }>()?);
    let (own, code) = (header.icmp_type(), header.code());
    let answer = match own {
        icmpv6_type::ECHO_REQUEST => icmpv6_type::ECHO_REPLY,
        icmpv6_type::ECHO_REPLY => icmpv6_type::ECHO_REQUEST,
        icmpv6_type::DESTINATION_UNREACHABLE
        | icmpv6_type::PACKET_TOO_BIG
        | icmpv6_type::TIME_EXCEEDED
        | PARAMETER_PROBLEM => return error(bytes.get(QUOTED..)?, tracked),
        _ => return None,
    };
    if code != 0 {
        return None;
    }
    let [a, b] = *bytes.get(4..)?.first_chunk()?;
    query(&mut tracked.tuple, u16::from_be_bytes([a, b]), (own, answer));
    Some(())
}

fn query(tuple: &mut CtTuple, identifier: u16, (own, answer): (u8, u8)) {
    (tuple.source.port, tuple.destination.port) = (identifier, identifier);
    (tuple.source.icmp_type, tuple.destination.icmp_type) = (own, answer);
}

/// Reads the packet that an error quotes. Errors about errors do not exist.
fn error(quoted: &[u8], tracked: &mut CtPacket) -> Option<()> {
    let outer = tracked.tuple;
    let NetworkHeader { mut tuple, size } =
        network(quoted, quoted.first()? >> 4, outer.zone, outer.is_ipv6, true)?;
    // The error goes back to where the quoted packet came from.
    let is_own = tuple.source.address == outer.destination.address;
    let transport = quoted.get(size..)?;
    if !is_own {
        return None;
    }
    match tuple.protocol {
        ip_proto::ICMP | ip_proto::ICMPV6 => {
            let mut inner = CtPacket { tuple, tcp: None, is_error: false };
            let is_query = match tuple.is_ipv6 {
                true => icmpv6_message(transport, &mut inner),
                false => icmp_message(transport, &mut inner),
            };
            is_query.filter(|()| !inner.is_error)?;
            tuple = inner.tuple;
        }
        _ => ports(transport, &mut tuple, false)?,
    }
    tracked.tuple = tuple.reversed();
    tracked.is_error = true;
    Some(())
}

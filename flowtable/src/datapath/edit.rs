//! Edits a frame's headers in place.
//!
//! Each edit keeps three things right: the checksums that cover the changed bytes (RFC 1624), the
//! positions in [`Offload`](packet::Offload), and the [`Layers`](packet::Layers). A partial
//! checksum holds only the sum of the pseudo header, so it follows addresses but not ports.
//!
//! An edit whose header is missing or cut off changes nothing. This can happen because translation decides by
//! the key, and a cached verdict may meet a frame that is odd in bits that the key does not show. A push that
//! finds no headroom changes nothing either; a frame has room for 32 tags or labels.

use flow::key::VLAN_CFI;
use flow::types::{mac_bits, mac_of_bits};
use flow::verdict::{AddressSums, Rewrite, Transport};
use packet::wire::{
    ArpPacket, EthernetFrame, IcmpPacket, Ipv4Packet, Ipv6Extension, Ipv6Packet, MplsEntry,
    NdOption, NdPacket, SctpPacket, TcpPacket, UdpPacket, arp, eth_type, ethernet, icmp, icmpv6,
    ip_proto, ipv4, ipv6, mpls, nd, nd_option, tcp, udp,
};
use packet::{Frame, checksum};
use std::net::Ipv4Addr;

/// A copy of the `N` bytes at `at`.
pub(super) fn read<const N: usize>(frame: &Frame<'_>, at: usize) -> Option<[u8; N]> {
    frame.bytes().get(at..)?.first_chunk().copied()
}

/// The `N` bytes at `at`, to edit.
pub(super) fn bytes_at<'f, const N: usize>(
    frame: &'f mut Frame<'_>,
    at: usize,
) -> Option<&'f mut [u8; N]> {
    frame.bytes_mut().get_mut(at..)?.first_chunk_mut()
}

/// The transport header and its payload, without the frame's padding; `None` if
/// extraction found no transport header.
fn l4_packet<'f>(frame: &'f Frame<'_>) -> Option<&'f [u8]> {
    let start = usize::from(frame.layers.l4);
    let end = frame.size().checked_sub(frame.layers.padding.into())?;
    frame.bytes().get(start..end).filter(|_| start != 0)
}

/// Whether the transport checksum is partial: the sender left it to the device.
pub(super) fn has_partial_checksum(frame: &Frame<'_>) -> bool {
    frame.offload.needs_checksum() && frame.offload.csum_start == frame.layers.l4
}

/// Writes `new` at `at`.
fn write<const N: usize>(frame: &mut Frame<'_>, at: usize, new: [u8; N]) {
    if let Some(bytes) = bytes_at::<N>(frame, at) {
        *bytes = new;
    }
}

/// Writes `new` over `old` at `at` and updates the complete checksum at `sum_at`.
fn replace<const N: usize>(
    frame: &mut Frame<'_>,
    at: usize,
    sum_at: usize,
    old: [u8; N],
    new: [u8; N],
) {
    if old == new {
        return;
    }
    write(frame, at, new);
    if let Some(sum) = bytes_at::<2>(frame, sum_at) {
        checksum::update(sum, &old, &new);
    }
}

/// As [`replace`], for bytes of an ICMP or ICMPv6 message. A partial checksum does not cover them yet.
fn replace_in_icmp<const N: usize>(frame: &mut Frame<'_>, at: usize, old: [u8; N], new: [u8; N]) {
    if has_partial_checksum(frame) {
        write(frame, at, new);
    } else {
        let sum_at = usize::from(frame.layers.l4) + icmp::field::CHECKSUM.start;
        replace(frame, at, sum_at, old, new);
    }
}

/// Updates the transport checksum, complete or partial, after `new` took the place of `old` among the
/// addresses of the pseudo header.
fn pseudo_header_changed(frame: &mut Frame<'_>, proto: u8, old: &[u8], new: &[u8]) {
    let is_ipv6 = old.len() == 16;
    let (field, header_size) = match proto {
        ip_proto::TCP => (tcp::field::CHECKSUM, tcp::HEADER_SIZE),
        ip_proto::UDP => (udp::field::CHECKSUM, udp::HEADER_SIZE),
        // ICMP over IPv4 has no pseudo header, and another protocol number than ICMPv6.
        ip_proto::ICMPV6 if is_ipv6 => (icmpv6::field::CHECKSUM, icmpv6::HEADER_SIZE),
        _ => return,
    };
    if l4_packet(frame).is_none_or(|packet| packet.len() < header_size) {
        return;
    }
    let is_partial = has_partial_checksum(frame);
    let at = usize::from(frame.layers.l4) + field.start;
    let Some(sum) = bytes_at::<2>(frame, at) else {
        return;
    };
    match proto {
        _ if is_partial => checksum::update_partial(sum, old, new),
        ip_proto::UDP => checksum::update_udp(sum, old, new),
        _ => checksum::update(sum, old, new),
    }
}

pub(super) fn set_eth(frame: &mut Frame<'_>, src: Rewrite<u64>, dst: Rewrite<u64>) {
    let Some(header) = bytes_at::<{ ethernet::HEADER_SIZE }>(frame, 0) else {
        return;
    };
    let mut header = EthernetFrame::new_unchecked(header);
    header.set_src_addr(rewritten_mac(src, header.src_addr()));
    header.set_dst_addr(rewritten_mac(dst, header.dst_addr()));
}

fn rewritten_mac(rewrite: Rewrite<u64>, old: [u8; 6]) -> [u8; 6] {
    mac_of_bits(rewrite.of(mac_bits(old))).0
}

pub(super) fn push_vlan(frame: &mut Frame<'_>, tpid: u16, tci: u16) {
    let _ = frame.push_tag(tpid, tci & !VLAN_CFI);
}

pub(super) fn pop_vlan(frame: &mut Frame<'_>) {
    frame.pop_tag();
}

pub(super) fn push_mpls(frame: &mut Frame<'_>, lse: u32, ethertype: u16) {
    let _ = frame.push_label(lse, ethertype);
}

pub(super) fn pop_mpls(frame: &mut Frame<'_>, ethertype: u16) {
    frame.pop_label(ethertype);
}

pub(super) fn set_mpls(frame: &mut Frame<'_>, rewrite: Rewrite<u32>) {
    let at = usize::from(frame.layers.l2_5);
    if at != 0
        && let Some(entry) = bytes_at::<{ mpls::HEADER_SIZE }>(frame, at)
    {
        let mut entry = MplsEntry::new_unchecked(entry);
        entry.set_entry(rewrite.of(entry.entry()));
    }
}

pub(super) fn set_ipv4(
    frame: &mut Frame<'_>,
    src: Rewrite<u32>,
    dst: Rewrite<u32>,
    tos: Rewrite<u8>,
    ttl: Rewrite<u8>,
    sums: AddressSums,
) {
    let l3 = usize::from(frame.layers.l3);
    let sum_at = l3 + ipv4::field::CHECKSUM.start;
    let Some(bytes) = read::<{ ipv4::HEADER_SIZE }>(frame, l3) else {
        return;
    };
    let header = Ipv4Packet::new_unchecked(&bytes);
    let addresses = [
        (ipv4::field::SRC_ADDR, header.src_addr(), src),
        (ipv4::field::DST_ADDR, header.dst_addr(), dst),
    ];
    for (field, old, rewrite) in addresses {
        let new = Ipv4Addr::from_bits(rewrite.of(old.to_bits()));
        if new != old {
            let (old, new) = (old.octets(), new.octets());
            if !header.is_later_fragment() || sums == AddressSums::AsOvs {
                pseudo_header_changed(frame, header.protocol(), &old, &new);
            }
            replace(frame, l3 + field.start, sum_at, old, new);
        }
    }
    // The checksum is a sum of 16-bit words, so the whole word with the changed byte is replaced.
    let [version, old_tos] = [bytes[ipv4::field::VERSION_AND_IHL], header.tos()];
    replace(frame, l3, sum_at, [version, old_tos], [version, tos.of(old_tos)]);
    let [old_ttl, proto] = [header.ttl(), header.protocol()];
    let ttl_at = l3 + ipv4::field::TTL;
    replace(frame, ttl_at, sum_at, [old_ttl, proto], [ttl.of(old_ttl), proto]);
}

/// Raises the drop precedence in the DSCP of an IP packet by `by`, to 3 at most. A DSCP without drop precedence
/// stays: only the classes 1 to 4 of assured forwarding have one, of 1 to 3 (RFC 2597 §6).
pub(super) fn raise_drop_precedence(frame: &mut Frame<'_>, by: u8) {
    const PRECEDENCE: u8 = 0b11;
    let l3 = usize::from(frame.layers.l3);
    let Some(ether_type) = l3.checked_sub(2).and_then(|at| read::<2>(frame, at)) else { return };
    // Behind labels, these two bytes are part of the last label.
    let ether_type = if frame.layers.l2_5 == 0 { u16::from_be_bytes(ether_type) } else { 0 };
    let tos = match ether_type {
        eth_type::IPV4 => read::<{ ipv4::HEADER_SIZE }>(frame, l3)
            .map(|bytes| Ipv4Packet::new_unchecked(bytes).tos()),
        eth_type::IPV6 => read::<{ ipv6::HEADER_SIZE }>(frame, l3)
            .map(|bytes| Ipv6Packet::new_unchecked(bytes).traffic_class()),
        _ => None,
    };
    // From the highest bit: class (3 bits), drop precedence (2 bits), zero, ECN (2 bits).
    let Some((tos, precedence)) = tos.map(|tos| (tos, tos >> 3 & PRECEDENCE)) else { return };
    let is_assured = (1..=4).contains(&(tos >> 5)) && precedence != 0 && tos >> 2 & 1 == 0;
    let raised = precedence.saturating_add(by).min(3);
    if !is_assured || raised == precedence {
        return;
    }
    let rewrite = Rewrite::<u8>::new(raised << 3, PRECEDENCE << 3);
    let none = Default::default();
    match ether_type {
        eth_type::IPV4 => {
            set_ipv4(
                frame,
                Default::default(),
                Default::default(),
                rewrite,
                none,
                AddressSums::Right,
            );
        }
        _ => {
            let addresses = Default::default();
            set_ipv6(frame, addresses, Default::default(), rewrite, none, AddressSums::Right);
        }
    }
}

pub(super) fn set_ipv6(
    frame: &mut Frame<'_>,
    (src, dst): (Rewrite<u128>, Rewrite<u128>),
    label: Rewrite<u32>,
    tclass: Rewrite<u8>,
    hop_limit: Rewrite<u8>,
    sums: AddressSums,
) {
    let l3 = usize::from(frame.layers.l3);
    let Some(header) = read::<{ ipv6::HEADER_SIZE }>(frame, l3) else {
        return;
    };
    let mut header = Ipv6Packet::new_unchecked(header);
    let extensions = Extensions::read(frame, header.next_header());
    let (old_src, old_dst) = (header.src_addr(), header.dst_addr());
    header.set_src_addr(src.of(old_src.to_bits()).into());
    header.set_dst_addr(dst.of(old_dst.to_bits()).into());
    header.set_flow_label(label.of(header.flow_label()));
    header.set_traffic_class(tclass.of(header.traffic_class()));
    header.set_hop_limit(hop_limit.of(header.hop_limit()));
    if extensions.has_sum_to_update(sums) {
        for (old, new, is_summed) in [
            (old_src, header.src_addr(), true),
            // The pseudo header has the final destination (RFC 8200 §8.1), which is in the routing header.
            (old_dst, header.dst_addr(), !extensions.has_segments_left),
        ] {
            if is_summed && old != new {
                pseudo_header_changed(frame, extensions.proto, &old.octets(), &new.octets());
            }
        }
    }
    write(frame, l3, header.into_inner());
}

/// What the extension headers of an IPv6 packet say about the transport checksum.
struct Extensions {
    /// The protocol of the header behind the extension headers.
    proto: u8,
    has_segments_left: bool,
    is_later_fragment: bool,
    is_atomic_fragment: bool,
}

impl Extensions {
    /// Reads the extension headers of a frame. `first` is the next-header field of the fixed header.
    fn read(frame: &Frame<'_>, first: u8) -> Self {
        let mut found = Self {
            proto: first,
            has_segments_left: false,
            is_later_fragment: false,
            is_atomic_fragment: false,
        };
        let mut at = usize::from(frame.layers.l3) + ipv6::HEADER_SIZE;
        let end = usize::from(frame.layers.l4);
        while at < end
            && ip_proto::is_ipv6_extension(found.proto)
            && let Some(rest) = frame.bytes().get(at..end)
            && let Ok(extension) = Ipv6Extension::new_checked(found.proto, rest)
        {
            found.has_segments_left |= extension.has_segments_left();
            if extension.kind() == ip_proto::FRAGMENT {
                found.is_later_fragment = extension.is_later_fragment();
                found.is_atomic_fragment = extension.is_atomic_fragment();
            }
            found.proto = extension.next_header();
            at += extension.header_size();
        }
        found
    }

    /// Whether the packet has a transport checksum that a change of addresses has to update.
    fn has_sum_to_update(&self, sums: AddressSums) -> bool {
        match sums {
            AddressSums::Right => !self.is_later_fragment,
            AddressSums::AsOvs => {
                !self.is_later_fragment && !self.is_atomic_fragment && !self.has_segments_left
            }
        }
    }
}

pub(super) fn set_arp(
    frame: &mut Frame<'_>,
    op: Rewrite<u16>,
    spa: Rewrite<u32>,
    tpa: Rewrite<u32>,
    sha: Rewrite<u64>,
    tha: Rewrite<u64>,
) {
    let l3 = usize::from(frame.layers.l3);
    let Some(arp) = bytes_at::<{ arp::HEADER_SIZE }>(frame, l3) else {
        return;
    };
    let mut arp = ArpPacket::new_unchecked(arp);
    arp.set_operation(op.of(arp.operation()));
    arp.set_sender_protocol(spa.of(arp.sender_protocol().to_bits()).into());
    arp.set_target_protocol(tpa.of(arp.target_protocol().to_bits()).into());
    arp.set_sender_hardware(rewritten_mac(sha, arp.sender_hardware()));
    arp.set_target_hardware(rewritten_mac(tha, arp.target_hardware()));
}

pub(super) fn set_ports(
    frame: &mut Frame<'_>,
    transport: Transport,
    src: Rewrite<u16>,
    dst: Rewrite<u16>,
) {
    let Some(packet) = l4_packet(frame) else {
        return;
    };
    let is_sound = match transport {
        Transport::Tcp => TcpPacket::new_checked(packet).is_ok(),
        Transport::Udp => UdpPacket::new_checked(packet).is_ok(),
        Transport::Sctp => SctpPacket::new_checked(packet).is_ok(),
    };
    // TCP, UDP and SCTP headers begin with the ports.
    let Some(&old) = packet.first_chunk::<4>().filter(|_| is_sound) else {
        return;
    };
    let [a, b, c, d] = old;
    let [e, f] = src.of(u16::from_be_bytes([a, b])).to_be_bytes();
    let [g, h] = dst.of(u16::from_be_bytes([c, d])).to_be_bytes();
    let new = [e, f, g, h];
    if new == old {
        return;
    }
    let l4 = usize::from(frame.layers.l4);
    let is_partial = has_partial_checksum(frame);
    match transport {
        _ if is_partial => write(frame, l4, new),
        Transport::Tcp => replace(frame, l4, l4 + tcp::field::CHECKSUM.start, old, new),
        Transport::Udp => {
            write(frame, l4, new);
            if let Some(sum) = bytes_at::<2>(frame, l4 + udp::field::CHECKSUM.start) {
                checksum::update_udp(sum, &old, &new);
            }
        }
        Transport::Sctp => set_sctp_ports(frame, new),
    }
}

/// SCTP sums the whole packet with CRC32c, which cannot be updated from four bytes cheaply. A wrong
/// checksum stays wrong: the difference is applied, not the right value.
fn set_sctp_ports(frame: &mut Frame<'_>, ports: [u8; 4]) {
    let (l4, size) = (usize::from(frame.layers.l4), l4_packet(frame).map_or(0, <[u8]>::len));
    let packet = frame.bytes_mut().get_mut(l4..l4 + size);
    let Some(Ok(mut sctp)) = packet.map(SctpPacket::new_checked) else {
        return;
    };
    let wrong_bits = sctp.checksum() ^ sctp.computed_checksum();
    sctp.set_ports(ports);
    sctp.set_checksum(wrong_bits ^ sctp.computed_checksum());
}

/// Sets type and code of ICMP or ICMPv6, whose headers begin alike.
pub(super) fn set_icmp(frame: &mut Frame<'_>, icmp_type: Rewrite<u8>, code: Rewrite<u8>) {
    let Some(Ok(message)) = l4_packet(frame).map(IcmpPacket::new_checked) else {
        return;
    };
    let old = [message.icmp_type(), message.code()];
    let new = [icmp_type.of(old[0]), code.of(old[1])];
    let at = usize::from(frame.layers.l4) + icmp::field::TYPE_AND_CODE.start;
    replace_in_icmp(frame, at, old, new);
}

pub(super) fn set_nd(
    frame: &mut Frame<'_>,
    target: Rewrite<u128>,
    sll: Rewrite<u64>,
    tll: Rewrite<u64>,
) {
    let l4 = usize::from(frame.layers.l4);
    let Some(Ok(message)) = l4_packet(frame).map(NdPacket::new_checked) else {
        return;
    };
    let old = message.target().octets();
    let new = target.of(u128::from_be_bytes(old)).to_be_bytes();
    replace_in_icmp(frame, l4 + nd::field::TARGET.start, old, new);
    let mut at = nd::HEADER_SIZE;
    while let Some(option) = nd_option_at(frame, at) {
        let rewrite = match option.option_type() {
            nd_option::SOURCE_LINK_LAYER => sll,
            nd_option::TARGET_LINK_LAYER => tll,
            _ => Rewrite::default(),
        };
        let size = option.size();
        if size == nd::OPTION_SIZE && !rewrite.is_none() {
            let old = option.mac();
            let new = rewritten_mac(rewrite, old);
            replace_in_icmp(frame, l4 + at + nd::option_field::MAC.start, old, new);
        }
        at += size;
    }
}

/// Changes the type of the option with a link-layer address from which extraction takes it. A message without
/// such an option keeps its options.
pub(super) fn set_nd_ext(frame: &mut Frame<'_>, reserved: Rewrite<u32>, option_type: Rewrite<u8>) {
    let l4 = usize::from(frame.layers.l4);
    let Some(Ok(message)) = l4_packet(frame).map(NdPacket::new_checked) else {
        return;
    };
    let old = message.reserved();
    let new = reserved.of(old).to_be_bytes();
    replace_in_icmp(frame, l4 + nd::field::RESERVED.start, old.to_be_bytes(), new);
    let mut at = nd::HEADER_SIZE;
    while let Some(option) = nd_option_at(frame, at) {
        let (old, size) = (option.option_type(), option.size());
        let has_address =
            matches!(old, nd_option::SOURCE_LINK_LAYER | nd_option::TARGET_LINK_LAYER);
        if has_address && size == nd::OPTION_SIZE {
            // The checksum is one of pairs of bytes.
            let units = (size / 8) as u8;
            let new = option_type.of(old);
            return replace_in_icmp(frame, l4 + at, [old, units], [new, units]);
        }
        at += size;
    }
}

/// The neighbor discovery option at byte `at` of the ICMPv6 message; `None` if the message ends before it.
fn nd_option_at<'f>(frame: &'f Frame<'_>, at: usize) -> Option<NdOption<&'f [u8]>> {
    NdOption::new_checked(l4_packet(frame)?.get(at..)?).ok()
}

//! Edits of a frame's headers where it lies.
//!
//! Each edit keeps three things right: the checksums that cover what it changed (RFC 1624), the
//! [`Offload`](packet::Offload) positions, and the [`Layers`](packet::Layers). A partial checksum
//! holds only the sum of the pseudo-header, so it follows addresses but not ports.
//!
//! An edit whose header is not there, or cut off, changes nothing: translation decided by the key,
//! and a cached decision may meet a frame that is odd in bits the key does not show.

use flow::types::{mac_bits, mac_of_bits};
use flow::verdict::{AddressSums, Rewrite, Transport};
use packet::wire::{eth_type, ip_proto};
use packet::{Frame, checksum};

/// Tag size in bytes.
const TAG: usize = 4;
/// Label stack entry size in bytes.
const LSE: usize = 4;

fn read<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn field<'f, const N: usize>(frame: &'f mut Frame<'_>, at: usize) -> Option<&'f mut [u8; N]> {
    frame.bytes_mut().get_mut(at..)?.first_chunk_mut()
}

/// Bytes of the transport header and its payload, padding left out.
fn l4_size(frame: &Frame<'_>) -> usize {
    let l4 = frame.layers.l4 as usize;
    if l4 == 0 {
        return 0;
    }
    frame.size().saturating_sub(l4 + frame.layers.padding as usize)
}

/// Moves all positions behind the Ethernet header.
fn shift_layers(frame: &mut Frame<'_>, by: i16) {
    frame.offload.shift(i32::from(by));
    for at in [&mut frame.layers.l2_5, &mut frame.layers.l3, &mut frame.layers.l4] {
        if *at != 0 {
            *at = at.saturating_add_signed(by);
        }
    }
}

/// Opens a gap of four bytes at `at`; the bytes before it move into the headroom.
fn open_gap(frame: &mut Frame<'_>, at: usize) -> bool {
    if at > frame.size() || !frame.grow_front(4) {
        return false;
    }
    frame.bytes_mut().copy_within(4..4 + at, 0);
    shift_layers(frame, 4);
    true
}

/// Closes the four bytes at `at`.
fn close_gap(frame: &mut Frame<'_>, at: usize) {
    frame.bytes_mut().copy_within(..at, 4);
    frame.shrink_front(4);
    shift_layers(frame, -4);
}

pub(super) fn set_eth(frame: &mut Frame<'_>, src: Rewrite<u64>, dst: Rewrite<u64>) {
    for (at, rewrite) in [(0, dst), (6, src)] {
        if let Some(mac) = field::<6>(frame, at) {
            *mac = mac_of_bits(rewrite.of(mac_bits(*mac))).0;
        }
    }
}

pub(super) fn push_vlan(frame: &mut Frame<'_>, tpid: u16, tci: u16) {
    const CFI: u16 = flow::key::VLAN_CFI;
    if open_gap(frame, 12)
        && let Some(tag) = field::<TAG>(frame, 12)
    {
        tag[..2].copy_from_slice(&tpid.to_be_bytes());
        tag[2..].copy_from_slice(&(tci & !CFI).to_be_bytes());
    }
}

pub(super) fn pop_vlan(frame: &mut Frame<'_>) {
    let Some(head) = read::<18>(frame.bytes(), 0) else {
        return;
    };
    if eth_type::is_vlan(u16::from_be_bytes([head[12], head[13]])) {
        close_gap(frame, 12);
    }
}

/// Replaces `old` by `new` in the transport checksum's pseudo-header.
fn pseudo_header_changed(frame: &mut Frame<'_>, proto: u8, old: &[u8], new: &[u8]) {
    let l4 = frame.layers.l4 as usize;
    let (at, needed) = match proto {
        ip_proto::TCP => (l4 + 16, 20),
        ip_proto::UDP => (l4 + 6, 8),
        // ICMP of IPv4 has no pseudo-header; the number means nothing there.
        ip_proto::ICMPV6 if old.len() == 16 => (l4 + 2, 8),
        _ => return,
    };
    if l4_size(frame) < needed {
        return;
    }
    let partial = has_partial_checksum(frame);
    let Some(sum) = field::<2>(frame, at) else {
        return;
    };
    if partial {
        checksum::update_partial(sum, old, new);
    } else {
        update_transport(sum, proto, old, new);
    }
}

/// Updates a complete transport checksum. UDP without one keeps none (RFC 768).
fn update_transport(sum: &mut [u8; 2], proto: u8, old: &[u8], new: &[u8]) {
    let is_udp = proto == ip_proto::UDP;
    if is_udp && *sum == [0, 0] {
        return;
    }
    checksum::update(sum, old, new);
    if is_udp && *sum == [0, 0] {
        *sum = [0xff, 0xff];
    }
}

fn has_partial_checksum(frame: &Frame<'_>) -> bool {
    frame.offload.needs_checksum() && frame.offload.csum_start == frame.layers.l4
}

pub(super) fn set_ipv4(
    frame: &mut Frame<'_>,
    src: Rewrite<u32>,
    dst: Rewrite<u32>,
    tos: Rewrite<u8>,
    ttl: Rewrite<u8>,
    sums: AddressSums,
) {
    let l3 = frame.layers.l3 as usize;
    let Some(header) = read::<20>(frame.bytes(), l3) else {
        return;
    };
    let later_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    for (at, rewrite) in [(12, src), (16, dst)] {
        let old: [u8; 4] = [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let new = rewrite.of(u32::from_be_bytes(old)).to_be_bytes();
        if new != old {
            if !later_fragment || sums == AddressSums::AsOvs {
                pseudo_header_changed(frame, header[9], &old, &new);
            }
            replace(frame, l3 + at, l3 + 10, old, new);
        }
    }
    // The checksum is a sum of 16-bit words: replace the whole word the byte is in.
    replace(frame, l3, l3 + 10, [header[0], header[1]], [header[0], tos.of(header[1])]);
    replace(frame, l3 + 8, l3 + 10, [header[8], header[9]], [ttl.of(header[8]), header[9]]);
}

/// Writes `new` at `at` and updates the complete checksum at `sum_at`.
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
    if let Some(bytes) = field::<N>(frame, at) {
        *bytes = new;
    }
    if let Some(sum) = field::<2>(frame, sum_at) {
        checksum::update(sum, &old, &new);
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
    let l3 = frame.layers.l3 as usize;
    let Some(header) = read::<40>(frame.bytes(), l3) else {
        return;
    };
    let route = Ipv6Route::read(frame);
    for (at, rewrite) in [(8, src), (24, dst)] {
        let Some(old) = read::<16>(&header, at) else {
            return;
        };
        let new = rewrite.of(u128::from_be_bytes(old)).to_be_bytes();
        if new == old {
            continue;
        }
        // With a routing header the pseudo-header has the final destination (RFC 8200 §8.1).
        let is_odd = route.atomic_fragment || route.has_segments_left;
        let left_alone = route.later_fragment || is_odd && sums == AddressSums::AsOvs;
        if !left_alone && (at == 8 || !route.has_segments_left) {
            pseudo_header_changed(frame, route.proto, &old, &new);
        }
        if let Some(bytes) = field::<16>(frame, l3 + at) {
            *bytes = new;
        }
    }
    let first = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let new_class = tclass.of((first >> 20) as u8);
    let new_label = label.of(first & 0x000f_ffff) & 0x000f_ffff;
    let new_first = first & 0xf000_0000 | u32::from(new_class) << 20 | new_label;
    if let Some(bytes) = field::<4>(frame, l3) {
        *bytes = new_first.to_be_bytes();
    }
    if let Some(bytes) = field::<1>(frame, l3 + 7) {
        bytes[0] = hop_limit.of(bytes[0]);
    }
}

/// What the extension headers say about the transport checksum.
struct Ipv6Route {
    proto: u8,
    has_segments_left: bool,
    later_fragment: bool,
    /// A fragment header in front of a whole packet.
    atomic_fragment: bool,
}

impl Ipv6Route {
    fn read(frame: &Frame<'_>) -> Self {
        let bytes = frame.bytes();
        let l3 = frame.layers.l3 as usize;
        let l4 = frame.layers.l4 as usize;
        let mut found = Self {
            proto: bytes.get(l3 + 6).copied().unwrap_or(0),
            has_segments_left: false,
            later_fragment: false,
            atomic_fragment: false,
        };
        let mut at = l3 + 40;
        while at < l4
            && let Some(ext) = read::<8>(bytes, at)
        {
            let size = match found.proto {
                43 => {
                    found.has_segments_left |= ext[3] != 0;
                    (usize::from(ext[1]) + 1) * 8
                }
                0 | 60 => (usize::from(ext[1]) + 1) * 8,
                51 => (usize::from(ext[1]) + 2) * 4,
                ip_proto::FRAGMENT => {
                    let offset = u16::from_be_bytes([ext[2], ext[3]]);
                    found.later_fragment = offset & 0xfff8 != 0;
                    found.atomic_fragment = offset & 0xfff9 == 0;
                    8
                }
                _ => break,
            };
            found.proto = ext[0];
            at += size;
        }
        found
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
    let l3 = frame.layers.l3 as usize;
    let Some(arp) = field::<28>(frame, l3) else {
        return;
    };
    let old_op = u16::from_be_bytes([arp[6], arp[7]]);
    arp[6..8].copy_from_slice(&op.of(old_op).to_be_bytes());
    for (at, rewrite) in [(14, spa), (24, tpa)] {
        let old = u32::from_be_bytes([arp[at], arp[at + 1], arp[at + 2], arp[at + 3]]);
        arp[at..at + 4].copy_from_slice(&rewrite.of(old).to_be_bytes());
    }
    for (at, rewrite) in [(8, sha), (18, tha)] {
        let old =
            mac_bits([arp[at], arp[at + 1], arp[at + 2], arp[at + 3], arp[at + 4], arp[at + 5]]);
        arp[at..at + 6].copy_from_slice(&mac_of_bits(rewrite.of(old)).0);
    }
}

pub(super) fn set_ports(
    frame: &mut Frame<'_>,
    transport: Transport,
    src: Rewrite<u16>,
    dst: Rewrite<u16>,
) {
    let l4 = frame.layers.l4 as usize;
    let size = l4_size(frame);
    if l4 == 0 || size < 8 {
        return;
    }
    let Some(old) = read::<4>(frame.bytes(), l4) else {
        return;
    };
    let [a, b, c, d] = old;
    let [e, f] = src.of(u16::from_be_bytes([a, b])).to_be_bytes();
    let [g, h] = dst.of(u16::from_be_bytes([c, d])).to_be_bytes();
    let new = [e, f, g, h];
    if new == old {
        return;
    }
    let partial = has_partial_checksum(frame);
    match transport {
        Transport::Tcp => {
            let header = read::<20>(frame.bytes(), l4).map_or(0, |t| usize::from(t[12] >> 4) * 4);
            if header < 20 || header > size {
                return;
            }
            if !partial && let Some(sum) = field::<2>(frame, l4 + 16) {
                update_transport(sum, ip_proto::TCP, &old, &new);
            }
        }
        Transport::Udp => {
            if !partial && let Some(sum) = field::<2>(frame, l4 + 6) {
                update_transport(sum, ip_proto::UDP, &old, &new);
            }
        }
        Transport::Sctp => {
            if size < 12 {
                return;
            }
            if !partial {
                return set_sctp_ports(frame, l4, size, new);
            }
        }
    }
    if let Some(ports) = field::<4>(frame, l4) {
        *ports = new;
    }
}

/// SCTP sums the whole packet with CRC32c, which cannot be updated from four bytes cheaply. A wrong
/// sum stays wrong: the difference is applied, not the right value.
fn set_sctp_ports(frame: &mut Frame<'_>, l4: usize, size: usize, ports: [u8; 4]) {
    let Some(packet) = frame.bytes_mut().get_mut(l4..l4 + size) else {
        return;
    };
    let original = [packet[8], packet[9], packet[10], packet[11]];
    packet[8..12].fill(0);
    let before = checksum::crc32c([packet]).to_le_bytes();
    packet[..4].copy_from_slice(&ports);
    let after = checksum::crc32c([packet]).to_le_bytes();
    for i in 0..4 {
        packet[8 + i] = original[i] ^ before[i] ^ after[i];
    }
}

pub(super) fn set_icmp(frame: &mut Frame<'_>, icmp_type: Rewrite<u8>, code: Rewrite<u8>) {
    let l4 = frame.layers.l4 as usize;
    if l4 == 0 || l4_size(frame) < 8 {
        return;
    }
    let partial = has_partial_checksum(frame);
    let Some([t, c]) = read::<2>(frame.bytes(), l4) else {
        return;
    };
    let new = [icmp_type.of(t), code.of(c)];
    if partial {
        if let Some(bytes) = field::<2>(frame, l4) {
            *bytes = new;
        }
    } else {
        replace(frame, l4, l4 + 2, [t, c], new);
    }
}

pub(super) fn set_nd(
    frame: &mut Frame<'_>,
    target: Rewrite<u128>,
    sll: Rewrite<u64>,
    tll: Rewrite<u64>,
) {
    let l4 = frame.layers.l4 as usize;
    let end = l4 + l4_size(frame);
    if l4 == 0 || end < l4 + 24 {
        return;
    }
    let partial = has_partial_checksum(frame);
    if let Some(old) = read::<16>(frame.bytes(), l4 + 8) {
        let new = target.of(u128::from_be_bytes(old)).to_be_bytes();
        replace_summed(frame, l4 + 8, l4 + 2, partial, old, new);
    }
    let mut at = l4 + 24;
    while at + 8 <= end
        && let Some(option) = read::<8>(frame.bytes(), at)
    {
        let size = usize::from(option[1]) * 8;
        if size == 0 || at + size > end {
            break;
        }
        let rewrite = match (option[0], size) {
            (1, 8) => sll,
            (2, 8) => tll,
            _ => Rewrite::default(),
        };
        if !rewrite.is_none() {
            let [_, _, a, b, c, d, e, f] = option;
            let old = [a, b, c, d, e, f];
            let new = mac_of_bits(rewrite.of(mac_bits(old))).0;
            replace_summed(frame, at + 2, l4 + 2, partial, old, new);
        }
        at += size;
    }
}

/// As [`replace`], for bytes that a partial checksum does not cover yet.
fn replace_summed<const N: usize>(
    frame: &mut Frame<'_>,
    at: usize,
    sum_at: usize,
    partial: bool,
    old: [u8; N],
    new: [u8; N],
) {
    if partial {
        if let Some(bytes) = field::<N>(frame, at) {
            *bytes = new;
        }
    } else {
        replace(frame, at, sum_at, old, new);
    }
}

/// Writes the type in front of the network header or the label stack.
fn set_ethertype(frame: &mut Frame<'_>, ethertype: u16) {
    let l2_end = match frame.layers.l2_5 {
        0 => frame.layers.l3 as usize,
        at => at as usize,
    };
    let tagged =
        read::<2>(frame.bytes(), 12).is_some_and(|t| eth_type::is_vlan(u16::from_be_bytes(t)));
    let at = if tagged { l2_end.saturating_sub(2) } else { 12 };
    if let Some(bytes) = field::<2>(frame, at) {
        *bytes = ethertype.to_be_bytes();
    }
}

pub(super) fn push_mpls(frame: &mut Frame<'_>, lse: u32, ethertype: u16) {
    let at = match frame.layers.l2_5 {
        0 => frame.layers.l3,
        at => at,
    };
    if at == 0 || !open_gap(frame, at as usize) {
        return;
    }
    frame.layers.l2_5 = at;
    set_ethertype(frame, ethertype);
    if let Some(bytes) = field::<LSE>(frame, at as usize) {
        *bytes = lse.to_be_bytes();
    }
}

pub(super) fn pop_mpls(frame: &mut Frame<'_>, ethertype: u16) {
    let at = frame.layers.l2_5;
    let Some(lse) = read::<LSE>(frame.bytes(), at as usize).filter(|_| at != 0) else {
        return;
    };
    set_ethertype(frame, ethertype);
    close_gap(frame, at as usize);
    let is_bottom = lse[2] & 1 != 0;
    frame.layers.l2_5 = if is_bottom { 0 } else { at };
}

pub(super) fn set_mpls(frame: &mut Frame<'_>, rewrite: Rewrite<u32>) {
    let at = frame.layers.l2_5 as usize;
    if at != 0
        && let Some(lse) = field::<LSE>(frame, at)
    {
        *lse = rewrite.of(u32::from_be_bytes(*lse)).to_be_bytes();
    }
}

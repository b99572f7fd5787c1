//! [`answer_too_long`]: tells the sender of a packet that it does not fit (RFC 1191, RFC 8201).

use crate::checksum::{add, pseudo_header, sum};
use crate::outer::{Ip, Version};
use crate::wire::{Ipv4Packet, Ipv6Packet, ethernet, ip_proto, ipv4, ipv6};
use std::net::Ipv6Addr;

/// Bytes of an answer over IPv4, from the IP header on, at most (RFC 1812 §4.3.2.3).
const MAX_V4: usize = 576;
/// Bytes of an answer over IPv6, from the IP header on, at most (RFC 4443 §2.4).
const MAX_V6: usize = 1280;
/// Size of the header of an ICMP error, in front of the packet that it quotes.
const ICMP_HEADER: usize = 8;
/// TTL or hop limit of an answer.
const TTL: u8 = 64;

/// The frame that tells the sender of `frame` that packets of more than `room` bytes, link header included,
/// do not reach where this one was to go: "fragmentation needed" of ICMP, or "packet too big" of ICMPv6. It
/// seems to come from the packet's destination, since a switch has no address of its own. `None` if nobody
/// is to be told: the packet may be fragmented, is an error itself, or is from or to several hosts (RFC
/// 1122 §3.2.2, RFC 4443 §2.4).
pub fn answer_too_long(frame: &[u8], room: usize) -> Option<Vec<u8>> {
    let ip = Ip::outermost(frame).filter(|ip| !ip.is_later_fragment)?;
    let is_for_one = |mac: &[u8]| mac[0] & 1 == 0;
    let (destination, rest) = frame[..ip.start].split_at(6);
    let (source, type_and_tags) = rest.split_at(6);
    if !is_for_one(destination) || !is_for_one(source) || ip.start < ethernet::HEADER_SIZE {
        return None;
    }
    let mtu = room.checked_sub(ip.start)?;
    let mut answer = [source, destination, type_and_tags].concat();
    let packet = &frame[ip.start..ip.end];
    match ip.version {
        Version::V4 => append_v4(&mut answer, packet, ip.payload - ip.start, mtu)?,
        Version::V6 => append_v6(&mut answer, packet, ip.payload - ip.start, ip.protocol, mtu)?,
    }
    Some(answer)
}

fn append_v4(answer: &mut Vec<u8>, packet: &[u8], header_size: usize, mtu: usize) -> Option<()> {
    /// The flag that forbids fragmentation, in the field of flags and offset.
    const DONT_FRAGMENT: u16 = 0x4000;
    let header = Ipv4Packet::new_checked(packet).ok()?;
    let (from, to) = (header.src_addr(), header.dst_addr());
    // Types of ICMP that are questions or answers, not errors.
    let is_error = header.protocol() == ip_proto::ICMP
        && !packet.get(header_size).is_some_and(|kind| matches!(kind, 0 | 8 | 13..=18));
    let is_for_one = !from.is_multicast() && !from.is_unspecified() && !from.is_broadcast();
    if header.flags_and_offset() & DONT_FRAGMENT == 0
        || is_error
        || !is_for_one
        || to.is_multicast()
        || to.is_broadcast()
    {
        return None;
    }
    let quoted = &packet[..packet.len().min(MAX_V4 - ipv4::HEADER_SIZE - ICMP_HEADER)];
    let start = answer.len();
    answer.resize(start + ipv4::HEADER_SIZE, 0);
    let mut reply = Ipv4Packet::new_unchecked(&mut answer[start..]);
    reply.set_version_and_header_size(ipv4::HEADER_SIZE);
    reply.set_total_size((ipv4::HEADER_SIZE + ICMP_HEADER + quoted.len()) as u16);
    reply.set_ttl(TTL);
    reply.set_protocol(ip_proto::ICMP);
    reply.set_src_addr(to);
    reply.set_dst_addr(from);
    reply.fill_checksum();
    let icmp = answer.len();
    // Destination unreachable, fragmentation needed and "don't fragment" set.
    answer.extend([3, 4, 0, 0, 0, 0]);
    answer.extend((mtu.min(usize::from(u16::MAX)) as u16).to_be_bytes());
    answer.extend(quoted);
    let checksum = !sum(&answer[icmp..]);
    answer[icmp + 2..icmp + 4].copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

fn append_v6(
    answer: &mut Vec<u8>,
    packet: &[u8],
    header_size: usize,
    protocol: u8,
    mtu: usize,
) -> Option<()> {
    let header = Ipv6Packet::new_checked(packet).ok()?;
    let (from, to) = (header.src_addr(), header.dst_addr());
    // Errors have types below 128.
    let is_error =
        protocol == ip_proto::ICMPV6 && packet.get(header_size).is_none_or(|kind| *kind < 128);
    let is_for_one = |address: Ipv6Addr| !address.is_multicast() && !address.is_unspecified();
    if is_error || !is_for_one(from) || !is_for_one(to) {
        return None;
    }
    let quoted = &packet[..packet.len().min(MAX_V6 - ipv6::HEADER_SIZE - ICMP_HEADER)];
    let size = ICMP_HEADER + quoted.len();
    let start = answer.len();
    answer.resize(start + ipv6::HEADER_SIZE, 0);
    let mut reply = Ipv6Packet::new_unchecked(&mut answer[start..]);
    reply.set_version_class_label(0, 0);
    reply.set_payload_size(size as u16);
    reply.set_next_header(ip_proto::ICMPV6);
    reply.set_hop_limit(TTL);
    reply.set_src_addr(to);
    reply.set_dst_addr(from);
    let icmp = answer.len();
    // Packet too big.
    answer.extend([2, 0, 0, 0]);
    answer.extend((mtu as u32).to_be_bytes());
    answer.extend(quoted);
    let pseudo = pseudo_header(&to.octets(), &from.octets(), ip_proto::ICMPV6, size as u32);
    let checksum = !add(pseudo, sum(&answer[icmp..]));
    answer[icmp + 2..icmp + 4].copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};

    const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn v4(source: [u8; 4], dont_fragment: bool) -> Vec<u8> {
        let mut frame = Vec::new();
        let packet = PacketBuilder::ethernet2(A, B).ipv4(source, [10, 0, 0, 2], 64).udp(1, 2);
        packet.write(&mut frame, &[7; 1472]).unwrap();
        frame[20] = if dont_fragment { 0x40 } else { 0 };
        frame
    }

    fn v6() -> Vec<u8> {
        let mut frame = Vec::new();
        let (source, destination) = ([0xfd; 16], [0xfe; 16]);
        let packet = PacketBuilder::ethernet2(A, B).ipv6(source, destination, 64).udp(1, 2);
        packet.write(&mut frame, &[7; 1452]).unwrap();
        frame
    }

    #[test]
    fn the_sender_is_told_of_the_mtu() {
        let answer = answer_too_long(&v4([10, 0, 0, 1], true), 1464).unwrap();
        let headers = PacketHeaders::from_ethernet_slice(&answer).unwrap();
        let Some(NetHeaders::Ipv4(ip, _)) = headers.net else { panic!("{headers:?}") };
        assert_eq!((ip.source, ip.destination), ([10, 0, 0, 2], [10, 0, 0, 1]));
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        assert!(matches!(headers.transport, Some(TransportHeader::Icmpv4(_))));
        assert_eq!((&answer[..6], &answer[6..12], answer.len()), (&A[..], &B[..], 14 + 576));
        assert_eq!(answer[34..42][..2], [3, 4]);
        assert_eq!(answer[40..42], 1450u16.to_be_bytes());
        assert_eq!(sum(&answer[34..]), 0xffff);
    }

    #[test]
    fn ipv6_has_no_flag_that_forbids_fragments() {
        let answer = answer_too_long(&v6(), 1464).unwrap();
        assert_eq!(answer.len(), 14 + 1280);
        assert_eq!((answer[54], &answer[58..62]), (2, &1450u32.to_be_bytes()[..]));
        let pseudo = pseudo_header(&[0xfe; 16], &[0xfd; 16], 58, 1240);
        assert_eq!(add(pseudo, sum(&answer[54..])), 0xffff);
    }

    #[test]
    fn nobody_is_told_who_would_not_understand() {
        assert_eq!(answer_too_long(&v4([10, 0, 0, 1], false), 1464), None);
        assert_eq!(answer_too_long(&v4([224, 0, 0, 1], true), 1464), None);
        let mut flooded = v4([10, 0, 0, 1], true);
        flooded[0] = 0xff;
        assert_eq!(answer_too_long(&flooded, 1464), None);
        let error = answer_too_long(&v4([10, 0, 0, 1], true), 1464).unwrap();
        let mut error_with_flag = error.clone();
        error_with_flag[20] = 0x40;
        assert_eq!(answer_too_long(&error_with_flag, 100), None);
        assert_eq!(answer_too_long(&[0; 60], 10), None);
    }
}

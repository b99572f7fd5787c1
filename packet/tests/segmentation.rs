//! Checks segmentation with other implementations: etherparse builds the large frame, and pnet_packet reads the
//! segments and verifies every length and checksum.

use etherparse::{IpNumber, PacketBuilder, PacketBuilderStep};
use packet::{Frame, GsoType, Offload, SegmentError, Segmentation, complete};
use pnet_packet::Packet;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::gre::GrePacket;
use pnet_packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols as Protocol};
use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::{self, TcpPacket};
use pnet_packet::udp::{self, UdpPacket};
use proptest::prelude::*;
use std::net::IpAddr;

const TCP_V4: u8 = 1;
const TCP_V6: u8 = 4;
const UDP_L4: u8 = 5;
const ETHERNET: usize = 14;

fn gso(gso_type: u8, csum_start: usize, gso_size: u16) -> Offload {
    let csum_offset = if gso_type == UDP_L4 { 6 } else { 16 };
    Offload { flags: 1, gso_type, hdr_len: 0, gso_size, csum_start: csum_start as u16, csum_offset }
}

fn cut(bytes: &[u8], offload: Offload) -> Vec<Vec<u8>> {
    let frame = Frame::owned(bytes, offload);
    let segments = all_segments(&frame).unwrap();
    let headers = Segmentation::new(&frame).unwrap().header_size();
    let largest = bytes.len().min(headers + usize::from(offload.gso_size));
    assert!(segments.iter().all(|s| s.len() <= largest));
    assert_eq!(segments[0].len(), largest);
    segments
}

/// The bytes of all segments, which are made in one buffer.
fn all_segments(frame: &Frame<'_>) -> Result<Vec<Vec<u8>>, SegmentError> {
    let segmentation = Segmentation::new(frame)?;
    let mut buf = Vec::new();
    let segments = (0..segmentation.count()).map(|index| {
        let segment = segmentation.segment(index, std::mem::take(&mut buf));
        assert!(segment.offload.is_complete());
        let bytes = segment.bytes().to_vec();
        buf = segment.into_buffer().unwrap();
        bytes
    });
    Ok(segments.collect())
}

/// A segment as a receiver reads it: the IP identifications from the outermost header to the innermost, and the
/// innermost transport header with its payload.
#[derive(Default)]
struct Received {
    ids: Vec<u16>,
    sequence: u32,
    flags: u8,
    payload: Vec<u8>,
}

fn receive(bytes: &[u8]) -> Received {
    let mut received = Received::default();
    receive_ethernet(bytes, &mut received);
    received
}

fn receive_ethernet(bytes: &[u8], received: &mut Received) {
    let frame = EthernetPacket::new(bytes).unwrap();
    match frame.get_ethertype() {
        EtherTypes::Ipv4 => receive_v4(frame.payload(), received),
        EtherTypes::Ipv6 => receive_v6(frame.payload(), received),
        EtherTypes::Vlan => receive_ethernet(&[&bytes[..12], &bytes[16..]].concat(), received),
        EtherTypes::Mpls => receive_v4(&frame.payload()[4..], received),
        other => panic!("unexpected {other}"),
    }
}

fn receive_v4(bytes: &[u8], received: &mut Received) {
    let ip = Ipv4Packet::new(bytes).unwrap();
    assert_eq!(usize::from(ip.get_total_length()), bytes.len());
    assert_eq!(ip.get_checksum(), ipv4::checksum(&ip));
    received.ids.push(ip.get_identification());
    let ends = (ip.get_source().into(), ip.get_destination().into());
    receive_transport(ip.get_next_level_protocol(), &bytes[20..], ends, received);
}

fn receive_v6(bytes: &[u8], received: &mut Received) {
    let ip = Ipv6Packet::new(bytes).unwrap();
    assert_eq!(usize::from(ip.get_payload_length()) + 40, bytes.len());
    let ends = (ip.get_source().into(), ip.get_destination().into());
    receive_transport(ip.get_next_header(), &bytes[40..], ends, received);
}

fn receive_transport(
    protocol: IpNextHeaderProtocol,
    bytes: &[u8],
    ends: (IpAddr, IpAddr),
    received: &mut Received,
) {
    match protocol {
        Protocol::Tcp => {
            let tcp = TcpPacket::new(bytes).unwrap();
            let checksum = match ends {
                (IpAddr::V4(a), IpAddr::V4(b)) => tcp::ipv4_checksum(&tcp, &a, &b),
                (IpAddr::V6(a), IpAddr::V6(b)) => tcp::ipv6_checksum(&tcp, &a, &b),
                _ => unreachable!(),
            };
            assert_eq!(tcp.get_checksum(), checksum);
            received.sequence = tcp.get_sequence();
            received.flags = tcp.get_flags();
            received.payload = tcp.payload().to_vec();
        }
        Protocol::Udp => {
            let udp = UdpPacket::new(bytes).unwrap();
            assert_eq!(usize::from(udp.get_length()), bytes.len());
            if udp.get_checksum() != 0 {
                let checksum = match ends {
                    (IpAddr::V4(a), IpAddr::V4(b)) => udp::ipv4_checksum(&udp, &a, &b),
                    (IpAddr::V6(a), IpAddr::V6(b)) => udp::ipv6_checksum(&udp, &a, &b),
                    _ => unreachable!(),
                };
                assert_eq!(udp.get_checksum(), if checksum == 0 { 0xffff } else { checksum });
            }
            match udp.get_destination() {
                4789 => receive_ethernet(&udp.payload()[8..], received),
                6081 => receive_ethernet(&udp.payload()[16..], received),
                _ => received.payload = udp.payload().to_vec(),
            }
        }
        Protocol::Gre => {
            let gre = GrePacket::new(bytes).unwrap();
            let mut at = 4;
            if gre.get_checksum_present() == 1 {
                assert_eq!(packet::checksum::sum(bytes), 0xffff);
                at += 4;
            }
            receive_v4(&bytes[at..], received);
        }
        Protocol::Ipv4 => receive_v4(bytes, received),
        other => panic!("unexpected {other}"),
    }
}

fn ethernet() -> PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2([2; 6], [4; 6])
}

fn tcp_frame(is_v6: bool, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ip = if is_v6 {
        ethernet().ipv6([1; 16], [2; 16], 64)
    } else {
        ethernet().ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
    };
    ip.tcp(1000, 80, u32::MAX - 100, 5000)
        .psh()
        .fin()
        .cwr()
        .ack(9)
        .write(&mut bytes, body)
        .unwrap();
    bytes
}

/// A packet with an IPv4 header of `protocol`, then `header`, then `inner`. The last argument says whether UDP
/// gets a checksum.
fn tunnel(protocol: u8, header: &[u8], inner: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let payload = [header, inner].concat();
    ethernet()
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .write(&mut bytes, IpNumber(protocol), &payload)
        .unwrap();
    bytes
}

fn udp_tunnel(port: u16, has_checksum: bool, header: &[u8], inner: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let payload = [header, inner].concat();
    ethernet()
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .udp(5555, port)
        .write(&mut bytes, &payload)
        .unwrap();
    if !has_checksum {
        bytes[40..42].fill(0);
    }
    bytes
}

fn check_payload(segments: &[Vec<u8>], body: &[u8]) -> Vec<Received> {
    let received: Vec<_> = segments.iter().map(|s| receive(s)).collect();
    let whole: Vec<u8> = received.iter().flat_map(|r| r.payload.clone()).collect();
    assert_eq!(whole, body);
    received
}

fn body(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 % 251) as u8).collect()
}

#[test]
fn tcp_flags_ids_and_sequence_numbers_are_those_of_separate_frames() {
    let body = body(4000);
    let segments = cut(&tcp_frame(false, &body), gso(TCP_V4, 34, 1448));
    let received = check_payload(&segments, &body);
    let flags: Vec<u8> = received.iter().map(|r| r.flags).collect();
    assert_eq!(flags, [0x90, 0x10, 0x19], "CWR on the first, PSH and FIN on the last");
    let ids: Vec<u16> = received.iter().map(|r| r.ids[0]).collect();
    assert_eq!(ids, [0, 1, 2]);
    let sequence: Vec<u32> = received.iter().map(|r| r.sequence).collect();
    assert_eq!(sequence, [u32::MAX - 100, 1347, 2795], "sequence numbers wrap");
}

#[test]
fn a_payload_of_one_segment_is_one_frame() {
    let body = body(1448);
    let segments = cut(&tcp_frame(false, &body), gso(TCP_V4, 34, 1448));
    assert_eq!(segments, [tcp_frame(false, &body)]);
}

#[test]
fn datagrams_are_cut_into_datagrams() {
    let body = body(3001);
    let mut bytes = Vec::new();
    ethernet().ipv6([1; 16], [2; 16], 64).udp(1, 2).write(&mut bytes, &body).unwrap();
    let segments = cut(&bytes, gso(UDP_L4, 54, 1000));
    let sizes: Vec<usize> = segments.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1062, 1062, 1062, 63]);
    check_payload(&segments, &body);
}

#[test]
fn tags_and_labels_stay_before_each_segment() {
    let body = body(3000);
    let mut tagged = Frame::owned(&tcp_frame(false, &body), gso(TCP_V4, 34, 1000));
    assert!(tagged.push_tag(0x8100, 7));
    let segments = cut(tagged.bytes(), tagged.offload);
    assert!(segments.iter().all(|s| s[12..18] == [0x81, 0, 0, 7, 8, 0]));
    check_payload(&segments, &body);

    let mut bytes = tcp_frame(false, &body);
    bytes.splice(12..14, [0x88, 0x47, 0, 0, 0x11, 64]);
    let segments = cut(&bytes, gso(TCP_V4, 38, 1000));
    assert_eq!(segments.len(), 3);
    check_payload(&segments, &body);
}

#[test]
fn tunnels_of_hosts_are_cut_at_the_inner_header() {
    let body = body(3000);
    let inner = tcp_frame(false, &body);
    let inner_v6 = tcp_frame(true, &body);
    let vxlan = [8, 0, 0, 0, 0, 0, 7, 0];
    let geneve = [2, 0, 0x65, 0x58, 0, 0, 7, 0, 0, 1, 2, 1, 9, 9, 9, 9];
    let udp_inner = 20 + ETHERNET + 8 + ETHERNET + 20;
    for has_checksum in [true, false] {
        let bytes = udp_tunnel(4789, has_checksum, &vxlan, &inner);
        let segments = cut(&bytes, gso(TCP_V4, udp_inner + 8, 1000));
        assert_eq!(segments.len(), 3);
        for (i, received) in check_payload(&segments, &body).iter().enumerate() {
            assert_eq!(received.ids, [i as u16; 2]);
        }
        assert!(segments.iter().all(|s| (s[40..42] != [0, 0]) == has_checksum));
        let bytes = udp_tunnel(4789, has_checksum, &vxlan, &inner_v6);
        check_payload(&cut(&bytes, gso(TCP_V6, udp_inner + 28, 1000)), &body);
        let bytes = udp_tunnel(6081, has_checksum, &geneve, &inner);
        check_payload(&cut(&bytes, gso(TCP_V4, udp_inner + 16, 1000)), &body);
    }
    let packet = &inner[ETHERNET..];
    let bytes = tunnel(4, &[], packet);
    check_payload(&cut(&bytes, gso(TCP_V4, 54, 1000)), &body);
    let bytes = tunnel(47, &[0, 0, 8, 0], packet);
    check_payload(&cut(&bytes, gso(TCP_V4, 58, 1000)), &body);
    let bytes = tunnel(47, &[0x80, 0, 8, 0, 1, 1, 0, 0], packet);
    check_payload(&cut(&bytes, gso(TCP_V4, 62, 1000)), &body);
}

#[test]
fn tunnels_in_tunnels_are_refused() {
    let inner = tcp_frame(false, &body(3000));
    let vxlan = [8, 0, 0, 0, 0, 0, 7, 0];
    let once = udp_tunnel(4789, true, &vxlan, &inner);
    let twice = udp_tunnel(4789, true, &vxlan, &once);
    let frame = Frame::owned(&twice, gso(TCP_V4, 134, 1000));
    let error = all_segments(&frame);
    assert_eq!(error, Err(SegmentError::Tunnel(80)));
}

#[test]
fn nonsense_is_refused() {
    let bytes = tcp_frame(false, &body(3000));
    let check = |offload, expected: &str| {
        let frame = Frame::owned(&bytes, offload);
        let error = all_segments(&frame).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let too_small = |size| {
        format!(
            "segments of {size} bytes are too small: TCP options and payload have at least 48 bytes"
        )
    };
    check(gso(TCP_V4, 34, 0), &too_small(0));
    check(gso(TCP_V4, 34, 47), &too_small(47));
    check(
        gso(TCP_V4, 35, 1000),
        "no TCP header over IP at byte 35, where segmentation is asked for",
    );
    check(
        gso(TCP_V6, 34, 1000),
        "no TCP header over IP at byte 34, where segmentation is asked for",
    );
    check(
        gso(UDP_L4, 34, 1000),
        "no UDP header over IP at byte 34, where segmentation is asked for",
    );
    check(
        gso(3, 34, 1000),
        "segmentation type 3 is not supported; TCPv4 (1), TCPv6 (4) and UDP (5) are",
    );
}

#[test]
fn a_small_frame_may_say_any_segment_size_because_it_is_not_cut() {
    assert_eq!(cut(&tcp_frame(false, &[7; 9]), gso(TCP_V4, 34, 9)).len(), 1);
}

#[test]
fn many_small_segments_are_refused() {
    let count = |size: u16, payload: usize| {
        let mut bytes = Vec::new();
        ethernet().ipv6([1; 16], [2; 16], 64).udp(1, 2).write(&mut bytes, &body(payload)).unwrap();
        let frame = Frame::owned(&bytes, gso(UDP_L4, 54, size));
        Segmentation::new(&frame).map(|segmentation| segmentation.count())
    };
    assert_eq!(count(1, 512), Ok(512));
    assert_eq!(count(1, 513), Err(SegmentError::Count(513)));
    assert_eq!(count(100, 51_201), Err(SegmentError::Count(513)));
}

proptest! {
    #[test]
    fn segments_carry_the_payload_with_right_checksums(
        is_v6 in any::<bool>(),
        payload in proptest::collection::vec(any::<u8>(), 1..5000),
        size in 500u16..2000,
    ) {
        let (kind, start) = if is_v6 { (TCP_V6, 54) } else { (TCP_V4, 34) };
        check_payload(&cut(&tcp_frame(is_v6, &payload), gso(kind, start, size)), &payload);
    }

    #[test]
    fn no_frame_panics(
        mut bytes in Just(udp_tunnel(4789, true, &[8, 0, 0, 0, 0, 0, 7, 0], &tcp_frame(false, &[1; 200]))),
        flips in proptest::collection::vec((0usize..300, any::<u8>()), 0..6),
        keep in 0usize..320,
        kind in 0u8..7,
        flags in 0u8..2,
        start in prop_oneof![Just(84u16), Just(34), 0u16..320],
        gso_size in 0u16..300,
    ) {
        for (at, value) in flips {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(keep);
        let offload = Offload { flags, ..gso(kind, start.into(), gso_size) };
        let mut frame = Frame::owned(&bytes, offload);
        let _ = all_segments(&frame);
        let _ = packet::offload_matches_outer_l4(&frame);
        let _ = complete(&mut frame);
        prop_assert!(matches!(offload.gso(), GsoType::None | GsoType::TcpV4 | GsoType::TcpV6
            | GsoType::UdpL4 | GsoType::UdpFragment | GsoType::Unknown(_)));
    }
}

//! What a bridge does with IP fragments, from the cache and without: what rules see of them,
//! and how they are tracked.

use super::connections::{headers, recipe, with_and_without_caches};
use super::*;
use crate::conntrack::FragmentStats;
use crate::policy::Conduct;
use flow::types::Fragments;
use packet::checksum;
use packet::wire::{Ipv4Packet, Ipv6Packet, UdpPacket, ip_proto, ipv4, ipv6, udp};

/// A fragment of a UDP packet; only the first one has ports.
fn fragment(is_first: bool) -> Headers {
    let mut headers = udp(1, 2, 80);
    headers.nw_frag = if is_first { 1 } else { 3 };
    if !is_first {
        headers.tp_src.set(0);
        headers.tp_dst.set(0);
    }
    headers
}

#[test]
fn the_bridge_decides_whether_rules_see_the_ports_of_fragments() {
    for config in [CacheConfig::default(), CacheConfig::OFF] {
        let rules =
            ["priority=9,udp,tp_dst=80,actions=output:2", "priority=5,udp,actions=output:3"];
        let mut bench = Bench::new(config, &rules);
        let mut ports = |fragments| {
            bench.bridge(0).handle_fragments(fragments);
            // Twice, so that a cached flow is used.
            let [first, again] = [(); 2].map(|()| {
                [udp(1, 2, 80), fragment(true), fragment(false)].map(|p| bench.ports(1, p))
            });
            assert_eq!(first, again, "{fragments:?}");
            first
        };
        assert_eq!(ports(Fragments::Normal), [[2], [3], [3]]);
        assert_eq!(ports(Fragments::NxMatch), [[2], [2], [3]]);
        assert_eq!(ports(Fragments::Drop), [&[2][..], &[], &[]]);
        assert_eq!(ports(Fragments::Normal), [[2], [3], [3]]);
        assert_eq!(bench.counters[0].rx_dropped(DropReason::Fragment).get(), 4);
    }
}

/// The frame of a UDP datagram with a payload of this size.
fn datagram(text: &str, payload: usize) -> Vec<u8> {
    let mut frame = compose(&headers(text));
    let is_ipv6 = frame[12..14] == [0x86, 0xdd];
    let l4 = 14 + if is_ipv6 { ipv6::HEADER_SIZE } else { ipv4::HEADER_SIZE };
    frame.truncate(l4 + udp::HEADER_SIZE);
    frame.extend((0..payload).map(|i| ((i * 31) >> 3) as u8));
    let size = (frame.len() - l4) as u16;
    let (ip, transport) = frame[14..].split_at_mut(l4 - 14);
    let mut header = UdpPacket::new_unchecked(&mut *transport);
    header.set_size(size);
    header.set_checksum(0);
    let pseudo = if is_ipv6 {
        Ipv6Packet::new_unchecked(&mut *ip).set_payload_size(size);
        checksum::pseudo_header(&ip[8..24], &ip[24..40], ip_proto::UDP, size.into())
    } else {
        let mut header = Ipv4Packet::new_unchecked(&mut *ip);
        header.set_total_size(size + 20);
        header.fill_checksum();
        checksum::pseudo_header(&ip[12..16], &ip[16..20], ip_proto::UDP, size.into())
    };
    let sum = !checksum::add(pseudo, checksum::sum(transport));
    UdpPacket::new_unchecked(transport).set_checksum(sum);
    frame
}

/// Cuts a frame's packet into fragments that carry `size` bytes each, a multiple of 8, as a router would.
fn cut(frame: &[u8], size: usize, identification: u16) -> Vec<Vec<u8>> {
    let is_ipv6 = frame[12..14] == [0x86, 0xdd];
    let l4 = 14 + if is_ipv6 { ipv6::HEADER_SIZE } else { ipv4::HEADER_SIZE };
    let payload = &frame[l4..];
    let parts = payload.chunks(size).enumerate().map(|(n, part)| {
        let (offset, more) = ((n * size) as u16, (n + 1) * size < payload.len());
        let mut fragment = frame[..l4].to_vec();
        if is_ipv6 {
            let mut ip = Ipv6Packet::new_unchecked(&mut fragment[14..]);
            ip.set_payload_size(part.len() as u16 + 8);
            ip.set_next_header(ip_proto::FRAGMENT);
            fragment.extend([ip_proto::UDP, 0]);
            fragment.extend((offset | u16::from(more)).to_be_bytes());
            fragment.extend(u32::from(identification).to_be_bytes());
        } else {
            let mut ip = Ipv4Packet::new_unchecked(&mut fragment[14..]);
            ip.set_identification(identification);
            ip.set_total_size(part.len() as u16 + 20);
            ip.set_flags_and_offset((offset / 8) | (u16::from(more) << 13));
            ip.fill_checksum();
        }
        fragment.extend(part);
        fragment
    });
    parts.collect()
}

const HOST: &str = "udp,nw_src=10.0.0.1,nw_dst=198.51.100.7,nw_ttl=64,tp_src=1000,tp_dst=53";
const NATTED: &str = "udp,nw_src=192.0.2.1,nw_dst=198.51.100.7,nw_ttl=64,tp_src=1000,tp_dst=53";
const REPLY: &str = "udp,nw_src=198.51.100.7,nw_dst=192.0.2.1,nw_ttl=64,tp_src=53,tp_dst=1000";
const REPLY_INSIDE: &str =
    "udp,nw_src=198.51.100.7,nw_dst=10.0.0.1,nw_ttl=64,tp_src=53,tp_dst=1000";

fn stats(bench: &Bench) -> FragmentStats {
    bench.policy.connections().stats().fragments
}

#[test]
fn fragments_are_tracked_and_translated_as_their_packet_and_leave_as_they_came() {
    with_and_without_caches(&recipe("A gateway", "add-flow"), |bench| {
        let orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0]];
        for (id, order) in (0..).zip(orders) {
            for (port, sent, expected) in [(0, HOST, NATTED), (1, REPLY, REPLY_INSIDE)] {
                let fragments = cut(&datagram(sent, 4000), 1480, id);
                assert_eq!(fragments.len(), 3);
                let [first, second, third] = order.map(|n| fragments[n].clone());
                let nothing = vec![Vec::<Vec<u8>>::new(); 4];
                assert_eq!(bench.send_frames(port, &[first]), nothing);
                assert_eq!(stats(bench).waiting, 1);
                // Two at once.
                let left = bench.send_frames(port, &[second, third]);
                let expected = cut(&datagram(expected, 4000), 1480, id);
                assert_eq!(left[usize::from(1 - port)], expected);
            }
        }
        let stats = stats(bench);
        assert_eq!((stats.waiting, stats.expired, stats.evicted, stats.overlapping), (0, 0, 0, 0));
        // A packet of a new connection is put together again by `ct(commit)`.
        assert_eq!(stats.reassembled, 7);
        assert_eq!(bench.policy.connections().stats().connections, 1);
    });
}

#[test]
fn fragments_of_ipv6_are_tracked() {
    let rules = [
        "ipv6,ct_state=-trk,actions=ct(table=1,nat)",
        "table=1,ipv6,ct_state=+trk+new,in_port=1,actions=ct(commit,nat(src=[2001:db8::1])),2",
        "table=1,ct_state=+trk+est,in_port=2,actions=1",
    ];
    with_and_without_caches(&rules, |bench| {
        let packet = |src, sport, dst, dport| {
            let text = format!(
                "udp6,ipv6_src={src},ipv6_dst={dst},nw_ttl=9,tp_src={sport},tp_dst={dport}"
            );
            cut(&datagram(&text, 3000), 1240, 5)
        };
        let (host, outside, server) = ("fd00::1", "2001:db8::1", "2001:db8:1::2");
        let left = bench.send_frames(0, &packet(host, 77, server, 53));
        assert_eq!(left[1], packet(outside, 77, server, 53));
        let left = bench.send_frames(1, &packet(server, 53, outside, 77));
        assert_eq!(left[0], packet(server, 53, host, 77));
    });
}

#[test]
fn a_translation_behind_the_first_look_up_reaches_each_fragment() {
    let rules = [
        "ip,ct_state=-trk,actions=ct(table=1)",
        "table=1,ip,ct_state=+trk+new,actions=ct(commit,nat(src=192.0.2.1)),2",
        "table=1,ip,ct_state=+trk+est,actions=ct(nat,table=2)",
        "table=2,in_port=1,actions=2",
        "table=2,in_port=2,actions=1",
    ];
    with_and_without_caches(&rules, |bench| {
        bench.send_frames(0, &[datagram(HOST, 10)]);
        bench.send_frames(1, &[datagram(REPLY, 10)]);
        let left = bench.send_frames(0, &cut(&datagram(HOST, 2000), 1480, 9));
        assert_eq!(left[1], cut(&datagram(NATTED, 2000), 1480, 9));
    });
}

#[test]
fn many_fragments_pass_several_tables() {
    let rules = [
        "ip,ct_state=-trk,actions=ct(zone=1,table=1)",
        "table=1,ip,actions=ct(zone=2,table=2)",
        "table=2,ip,actions=ct(zone=3,table=3)",
        "table=3,actions=2",
    ];
    with_and_without_caches(&rules, |bench| {
        let fragments = cut(&datagram(HOST, 65_000), 1480, 9);
        assert_eq!(bench.send_frames(0, &fragments)[1], fragments);
    });
}

#[test]
fn rules_see_the_state_of_the_packet_and_their_meter_and_clone_judge_each_fragment() {
    let rules = [
        "ip,actions=clone(ct(table=1)),3",
        "table=1,ip,ct_state=+trk+new,nw_frag=first,actions=2",
        "table=1,ip,ct_state=+trk+new,nw_frag=later,actions=4",
    ];
    with_and_without_caches(&rules, |bench| {
        let fragments = cut(&datagram(HOST, 4000), 1480, 9);
        let left = bench.send_frames(0, &fragments);
        assert_eq!(left[1], fragments[..1]);
        assert_eq!(left[3], fragments[1..]);
        assert_eq!(left[2], fragments, "as they came, beside what is tracked");
    });
}

#[test]
fn overlapping_fragments_are_dropped_with_their_packet() {
    with_and_without_caches(&recipe("A gateway", "add-flow"), |bench| {
        let fragments = cut(&datagram(HOST, 4000), 1480, 1);
        let mut other = fragments[1].clone();
        *other.last_mut().expect("bytes") ^= 1;
        let sent = [&fragments[0], &fragments[1], &fragments[1], &other, &fragments[2]];
        let left = bench.send_frames(0, &sent.map(Clone::clone));
        assert!(left.iter().all(Vec::is_empty));
        let overlapping = bench.counters[0].rx_dropped(DropReason::FragmentOverlap).get();
        assert_eq!(overlapping, 1, "the other one");
        let FragmentStats { waiting, overlapping, .. } = stats(bench);
        assert_eq!((waiting, overlapping), (1, 3));
        // The same fragment twice does no harm.
        let again = cut(&datagram(HOST, 4000), 1480, 2);
        let sent = [&again[0], &again[0], &again[1], &again[2]];
        assert_eq!(bench.send_frames(0, &sent.map(Clone::clone))[1].len(), 3);
    });
}

#[test]
fn a_fragment_that_comes_again_is_invalid() {
    let rules = [
        "ip,ct_state=-trk,actions=ct(table=1)",
        "table=1,ct_state=+trk+new,actions=2",
        "table=1,ct_state=+trk+inv,actions=4",
    ];
    with_and_without_caches(&rules, |bench| {
        let fragments = cut(&datagram(HOST, 4000), 1480, 1);
        let [first, middle, last] = [0, 1, 2].map(|n| fragments[n].clone());
        // A last fragment that comes alone waits, and one behind it with its bytes does not.
        let left = bench.send_frames(0, &[last.clone(), last.clone()]);
        assert_eq!((left[1].len(), &left[3][..]), (0, &[last.clone()][..]));
        let left = bench.send_frames(0, &[first.clone(), first.clone(), middle]);
        assert_eq!((&left[1], &left[3][..]), (&fragments, &[first][..]));
        // Their packet has gone.
        let left = bench.send_frames(0, &[last]);
        assert_eq!((left[1].len(), left[3].len()), (0, 0));
    });
}

#[test]
fn as_in_open_vswitch_overlapping_fragments_are_invalid_wherever_they_come_in() {
    let rules = [
        "ip,ct_state=-trk,actions=ct(table=1)",
        "table=1,ct_state=+trk+new,actions=2",
        "table=1,ct_state=+trk+inv,actions=4",
    ];
    for config in [CacheConfig::default(), CacheConfig::OFF] {
        let policy = one_bridge().with_conduct(Conduct::AsOvs);
        let mut bench = Bench::with_policy(policy, config, &rules);
        let fragments = cut(&datagram(HOST, 4000), 1480, 1);
        let [first, middle, last] = [0, 1, 2].map(|n| fragments[n].clone());
        let with_size = |frame: &[u8], size: usize| {
            let mut frame = frame.to_vec();
            frame.resize(14 + size, 0);
            let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
            ip.set_total_size(size as u16);
            ip.fill_checksum();
            frame
        };
        let overlapping = with_size(&middle, 1400);
        let left = bench.send_frames(0, &[middle, last.clone()]);
        assert_eq!((left[1].len(), left[3].len()), (0, 0));
        let left = bench.send_frames(2, &[overlapping.clone(), last.clone()]);
        assert_eq!(left[3], [overlapping, last]);
        // The packet is that of the fragments that came first.
        assert_eq!(bench.send_frames(2, &[first])[1], fragments);
        // A fragment that ends between two units of eight bytes waits.
        let odd = with_size(&cut(&datagram(HOST, 4000), 1480, 2)[0], 1401);
        let left = bench.send_frames(0, &[odd]);
        assert_eq!((left[1].len(), left[3].len()), (0, 0));
        let FragmentStats { waiting, overlapping, .. } = stats(&bench);
        assert_eq!((waiting, overlapping), (1, 0));
    }
}

#[test]
fn fragments_that_cannot_be_part_of_a_packet_are_invalid() {
    let rules = ["ip,ct_state=-trk,actions=ct(table=1)", "table=1,ct_state=+inv,actions=4"];
    with_and_without_caches(&rules, |bench| {
        let small = cut(&datagram(HOST, 2000), 800, 1);
        assert_eq!(bench.send_frames(0, &small)[3], small[..2], "the last one may be small");
        let mut odd = small[0].clone();
        odd.extend([0; 701]);
        let size = odd.len() as u16 - 14;
        let mut ip = Ipv4Packet::new_unchecked(&mut odd[14..]);
        ip.set_total_size(size);
        ip.fill_checksum();
        assert_eq!(bench.send_frames(0, &[odd])[3].len(), 1, "no multiple of 8");
        let mut far = cut(&datagram(HOST, 2000), 1480, 1)[1].clone();
        let mut ip = Ipv4Packet::new_unchecked(&mut far[14..]);
        ip.set_flags_and_offset(0x1fff);
        ip.fill_checksum();
        assert_eq!(bench.send_frames(0, &[far])[3].len(), 1, "ends behind 65,535 bytes");
        assert_eq!(stats(bench).waiting, 1);
    });
}

#[test]
fn fragments_wait_for_fifteen_seconds_and_a_flood_leaves_room_for_others() {
    let mut bench = Bench::cached(&["ip,ct_state=-trk,actions=ct(table=1)", "table=1,actions=4"]);
    let first = |src: &str, id| {
        cut(&datagram(&HOST.replace("10.0.0.1", src), 2000), 1480, id).swap_remove(0)
    };
    for id in 0..2000 {
        bench.send_frames(0, &[first("10.9.0.1", id)]);
    }
    assert_eq!(stats(&bench).waiting, 500, "half of what there is");
    let whole = cut(&datagram(HOST, 2000), 1480, 7);
    assert_eq!(bench.send_frames(0, &whole)[3].len(), 2, "the oldest one of the flood has to go");
    for n in 0..2000 {
        bench.send_frames(0, &[first(&format!("10.8.{}.{}", n / 250, n % 250), 1)]);
    }
    let waiting = stats(&bench).waiting;
    assert_eq!(waiting, 500, "a port gets half, whatever addresses it names");
    // Another port has room, and its fragments push out none of the first one's.
    let slow = first("10.0.0.1", 3);
    bench.send_frames(1, &[slow]);
    bench.send_frames(0, &[first("10.7.0.1", 3)]);
    let rest = cut(&datagram(HOST, 2000), 1480, 3).swap_remove(1);
    assert_eq!(bench.send_frames(1, &[rest])[3].len(), 2);
    bench.now += Duration::from_secs(14);
    bench.policy.connections().sweep(bench.now);
    assert_eq!(stats(&bench).expired, 0);
    bench.now += Duration::from_secs(1);
    bench.policy.connections().sweep(bench.now);
    let FragmentStats { waiting, expired, evicted, .. } = stats(&bench);
    assert_eq!(waiting, 0);
    assert_eq!(expired + evicted, 4001, "each fragment that did not leave");
}

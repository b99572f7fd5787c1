//! Translation of addresses and ports, from rules to the bytes of frames.

use super::connections::{headers, recipe, with_and_without_caches};
use super::*;
use crate::conntrack::KeptConnection;
use crate::policy::Conduct;
use flow::PipelineKey;
use flow::ct_filter::CtFilter;
use flow::extract::{Arrival, extract};
use flow::text::{NoPortNames, write_packet};
use packet::wire::{IcmpPacket, Ipv4Packet, icmp_type};

/// The rules of the recipe "A gateway" in docs/connections.md: hosts behind port 1 (10.0.0.0/8) reach port 2
/// with the address 192.0.2.1, and port 8080 of that address is port 80 of 10.0.0.5.
fn gateway() -> Vec<&'static str> {
    recipe("A gateway", "add-flow")
}

/// Sends a frame in at a port of [`gateway`], 1 or 2. Returns what leaves at the other one.
fn pass(bench: &mut Bench, in_port: u16, frame: Vec<u8>) -> Option<Vec<u8>> {
    let mut sent = bench.send_frames(in_port - 1, &[frame]);
    let mut left = std::mem::take(&mut sent[usize::from(2 - in_port)]);
    assert!(left.len() < 2 && sent.iter().all(Vec::is_empty));
    left.pop()
}

/// Sends a packet that a match describes. The packet that leaves has to be the one that another match
/// describes, its checksums included.
#[track_caller]
fn check(bench: &mut Bench, in_port: u16, sent: &str, expected: &str) {
    let left = pass(bench, in_port, compose(&headers(sent))).expect("the packet is forwarded");
    assert_eq!(packet_of(&left), packet_of(&compose(&headers(expected))));
    assert_eq!(left, compose(&headers(expected)), "checksums");
}

/// The fields of a frame as text.
fn packet_of(frame: &[u8]) -> String {
    let headers = extract(Arrival::default(), frame, 2).0.headers;
    let mut text = String::new();
    let packet = PipelineKey { headers, ..PipelineKey::default() };
    write_packet(&mut text, &packet, &NoPortNames);
    text
}

/// A match of packets of a protocol that has ports. `src` and `dst` are an IPv4 address and a
/// port with a colon between.
fn of(protocol: &str, src: &str, dst: &str) -> String {
    let (nw_src, tp_src) = src.split_once(':').expect("address and port");
    let (nw_dst, tp_dst) = dst.split_once(':').expect("address and port");
    let mac = "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02";
    let flags = if protocol == "tcp" { ",tcp_flags=syn" } else { "" };
    format!(
        "{protocol},{mac},nw_src={nw_src},nw_dst={nw_dst},nw_ttl=64,tp_src={tp_src},tp_dst={tp_dst}{flags}"
    )
}

#[test]
fn a_gateway_hides_its_hosts_and_answers_find_them() {
    with_and_without_caches(&gateway(), |bench| {
        let (server, outside) = ("198.51.100.7:53", "192.0.2.1:1000");
        for _ in 0..2 {
            check(bench, 1, &of("udp", "10.0.0.1:1000", server), &of("udp", outside, server));
            check(bench, 2, &of("udp", server, outside), &of("udp", server, "10.0.0.1:1000"));
        }
        // The same port of another host gets another one, and so do its answers.
        let sent = compose(&headers(&of("udp", "10.0.0.2:1000", server)));
        let left = pass(bench, 1, sent).expect("forwarded");
        let (key, _) = extract(Arrival::default(), &left, 2);
        let port = key.headers.tp_src.get();
        assert_ne!(port, 1000);
        let outside = format!("192.0.2.1:{port}");
        check(bench, 2, &of("udp", server, &outside), &of("udp", server, "10.0.0.2:1000"));
        check(bench, 1, &of("udp", "10.0.0.2:1000", server), &of("udp", &outside, server));
        let strange = of("udp", "198.51.100.8:53", "192.0.2.1:1000");
        assert_eq!(pass(bench, 2, compose(&headers(&strange))), None);
        let inside = of("udp", server, "10.0.0.1:1000");
        assert_eq!(pass(bench, 2, compose(&headers(&inside))), None, "not the translated address");
        let known = bench.policy.connections().dump(bench.now, CtFilter::default());
        assert_eq!(known.len(), 2);
        assert!(known.iter().all(|c| c.reply != c.original.reversed()));
    });
}

#[test]
fn a_port_is_forwarded_to_a_host() {
    with_and_without_caches(&gateway(), |bench| {
        let client = "198.51.100.9:4000";
        let outside = of("tcp", client, "192.0.2.1:8080");
        check(bench, 2, &outside, &of("tcp", client, "10.0.0.5:80"));
        let answer = |src| of("tcp", src, client).replace("=syn", "=syn|ack");
        check(bench, 1, &answer("10.0.0.5:80"), &answer("192.0.2.1:8080"));
    });
}

#[test]
fn addresses_of_ipv6_and_ranges_are_translated() {
    let rules = [
        "ipv6,ct_state=-trk,in_port=1,actions=ct(commit,nat(src=[2001:db8::10]-[2001:db8::1f]:4000-4009)),2",
        "ipv6,ct_state=-trk,in_port=2,actions=ct(nat,table=1)",
        "table=1,ct_state=+trk+rpl+dnat,actions=1",
    ];
    with_and_without_caches(&rules, |bench| {
        let packet = |src: &str, sport: u16, dst: &str, dport: u16| {
            format!("udp6,ipv6_src={src},ipv6_dst={dst},nw_ttl=9,tp_src={sport},tp_dst={dport}")
        };
        let (host, server) = ("fd00::1", "2001:db8:1::2");
        let left = pass(bench, 1, compose(&headers(&packet(host, 77, server, 53)))).expect("sent");
        let (key, _) = extract(Arrival::default(), &left, 2);
        let (address, port) =
            (std::net::Ipv6Addr::from(key.headers.ipv6_src()), key.headers.tp_src);
        let [first, last] = ["2001:db8::10", "2001:db8::1f"]
            .map(|text| text.parse::<std::net::Ipv6Addr>().unwrap());
        assert!((first..=last).contains(&address), "{address}");
        assert!((4000..=4009).contains(&port.get()), "{port}");
        let outside = address.to_string();
        let expected = packet(&outside, port.get(), server, 53);
        assert_eq!(left, compose(&headers(&expected)), "checksums");
        let answer = packet(server, 53, &outside, port.get());
        check(bench, 2, &answer, &packet(server, 53, host, 77));
    });
}

#[test]
fn a_connection_that_finds_no_port_is_dropped_and_counted() {
    let rules = ["ip,in_port=1,actions=ct(commit,nat(src=192.0.2.1:5000-5001)),2"];
    with_and_without_caches(&rules, |bench| {
        let mut ports = Vec::new();
        for host in 1..=3 {
            let packet = of("udp", &format!("10.0.0.{host}:1000"), "198.51.100.7:53");
            let left = pass(bench, 1, compose(&headers(&packet)));
            ports.extend(left.map(|f| extract(Arrival::default(), &f, 2).0.headers.tp_src.get()));
        }
        ports.sort_unstable();
        assert_eq!(ports, [5000, 5001]);
        assert_eq!(bench.counters[0].rx_dropped(DropReason::NatExhausted).get(), 1);
        assert_eq!(bench.policy.connections().stats().nat_exhausted, 1);
        // Another destination leaves both ports free, and so does the end of a connection.
        let other = of("udp", "10.0.0.3:1000", "198.51.100.8:53");
        assert!(pass(bench, 1, compose(&headers(&other))).is_some());
        bench.now += Duration::from_secs(61);
        let packet = of("udp", "10.0.0.3:1000", "198.51.100.7:53");
        bench.policy.connections().sweep(bench.now);
        assert!(pass(bench, 1, compose(&headers(&packet))).is_some());
    });
}

/// Checks a bridge that does as Open vSwitch, with a cache and without.
fn as_ovs(rules: &[&str], check: impl Fn(&mut Bench)) {
    for config in [CacheConfig::default(), CacheConfig::OFF] {
        let policy = one_bridge().with_conduct(Conduct::AsOvs);
        check(&mut Bench::with_policy(policy, config, rules));
    }
}

#[test]
fn as_in_open_vswitch_a_connection_that_finds_no_port_is_not_translated() {
    let rules = ["ip,in_port=1,actions=ct(commit,nat(src=192.0.2.1:5000),table=1)"];
    let rules = [rules[0], "table=1,ip,ct_state=+trk+new,actions=2"];
    as_ovs(&rules, |bench| {
        let server = "198.51.100.7:53";
        let packet = of("udp", "10.0.0.1:1000", server);
        check(bench, 1, &packet, &of("udp", "192.0.2.1:5000", server));
        let packet = of("udp", "10.0.0.2:1000", server);
        check(bench, 1, &packet, &packet);
        let stats = bench.policy.connections().stats();
        assert_eq!((stats.nat_exhausted, stats.connections), (1, 1));
    });
}

#[test]
fn as_in_open_vswitch_a_connection_that_begins_anew_gets_another_port_until_a_sweep() {
    as_ovs(&gateway(), |bench| {
        let (host, server) = ("10.0.0.1:1000", "198.51.100.7:80");
        let begin_and_reset = |bench: &mut Bench, outside| {
            let (inside, outside) = (of("tcp", host, server), of("tcp", outside, server));
            check(bench, 1, &inside, &outside);
            let reset = |text: &str| text.replace("=syn", "=rst");
            check(bench, 1, &reset(&inside), &reset(&outside));
        };
        let answer = |to| of("tcp", server, to).replace("=syn", "=syn|ack");
        begin_and_reset(bench, "192.0.2.1:1000");
        begin_and_reset(bench, "192.0.2.1:1001");
        check(bench, 1, &of("tcp", host, server), &of("tcp", "192.0.2.1:1002", server));
        let stale = compose(&headers(&answer("192.0.2.1:1001")));
        assert_eq!(pass(bench, 2, stale.clone()), None, "invalid");
        check(bench, 2, &answer("192.0.2.1:1002"), &answer(host));
        bench.now += Duration::from_secs(20);
        bench.policy.connections().sweep(bench.now);
        let reset = of("tcp", host, server).replace("=syn", "=rst");
        assert!(pass(bench, 1, compose(&headers(&reset))).is_some());
        begin_and_reset(bench, "192.0.2.1:1000");
        // Who flushes connections frees their tuples, too.
        assert_eq!(bench.policy.connections().flush(bench.now, CtFilter::default()), 1);
        begin_and_reset(bench, "192.0.2.1:1000");
    });
}

#[test]
fn as_in_open_vswitch_sctp_is_tracked_by_addresses() {
    let rules = [
        "ip,ct_state=-trk,actions=ct(nat,table=1)",
        "table=1,ip,ct_state=+trk+new,actions=ct(commit,nat(src=192.0.2.1)),2",
        "table=1,ip,ct_state=+trk+est+rpl,actions=1",
    ];
    as_ovs(&rules, |bench| {
        let server = "198.51.100.7:80";
        check(bench, 1, &of("sctp", "10.0.0.1:7", server), &of("sctp", "192.0.2.1:7", server));
        let answer = |to| of("sctp", "198.51.100.7:81", to);
        check(bench, 2, &answer("192.0.2.1:8"), &answer("10.0.0.1:8"));
        // Only the address could tell the connection of another host from this one.
        let other = of("sctp", "10.0.0.2:9", server);
        check(bench, 1, &other, &other);
    });
}

#[test]
fn without_an_address_the_source_changes_only_if_it_is_taken() {
    let rules = ["ip,in_port=1,actions=ct(commit,nat(src=0.0.0.0),table=1)", "table=1,actions=2"];
    with_and_without_caches(&rules, |bench| {
        let packet = of("udp", "10.0.0.1:1000", "198.51.100.7:53");
        check(bench, 1, &packet, &packet);
    });
}

/// An ICMP error to 192.0.2.1 about a datagram from there, as a router on the way sends it.
fn error_about(quoted: &[u8]) -> Vec<u8> {
    let (ip, icmp) = (14, 34);
    let text = "icmp,nw_src=203.0.113.1,nw_dst=192.0.2.1,nw_ttl=64,icmp_type=3,icmp_code=4";
    let mut frame = compose(&headers(text));
    frame.truncate(icmp + 8);
    // The IP header and eight bytes more, as RFC 792 wants at least.
    frame.extend(&quoted[ip..ip + 28]);
    let size = (frame.len() - ip) as u16;
    frame[ip + 2..ip + 4].copy_from_slice(&size.to_be_bytes());
    Ipv4Packet::new_unchecked(&mut frame[ip..icmp]).fill_checksum();
    IcmpPacket::new_unchecked(&mut frame[icmp..]).fill_checksum();
    frame
}

#[test]
fn an_error_and_the_packet_in_it_are_translated_back() {
    with_and_without_caches(&gateway(), |bench| {
        let sent = compose(&headers(&of("udp", "10.0.0.1:1000", "198.51.100.7:53")));
        let outside = pass(bench, 1, sent.clone()).expect("forwarded");
        let error = pass(bench, 2, error_about(&outside)).expect("related");
        let ip = Ipv4Packet::new_checked(&error[14..]).expect("an IP packet");
        assert_eq!(ip.dst_addr().to_string(), "10.0.0.1");
        assert_eq!(ip.src_addr().to_string(), "203.0.113.1");
        assert_eq!(packet::checksum::sum(&error[14..34]), u16::MAX);
        assert_eq!(packet::checksum::sum(&error[34..]), u16::MAX);
        // What the host gets quoted is what it has sent.
        assert_eq!(error[42..70], sent[14..42]);
    });
}

#[test]
fn pings_of_two_hosts_are_told_apart_by_their_identifiers() {
    with_and_without_caches(&gateway(), |bench| {
        let echo = |kind: u8, src: &str, dst: &str, identifier: u16| {
            let text = format!("icmp,nw_src={src},nw_dst={dst},nw_ttl=64,icmp_type={kind}");
            let mut frame = compose(&headers(&text));
            frame[38..40].copy_from_slice(&identifier.to_be_bytes());
            let size = usize::from(Ipv4Packet::new_unchecked(&frame[14..]).total_size());
            IcmpPacket::new_unchecked(&mut frame[34..14 + size]).fill_checksum();
            frame
        };
        let identifier = |frame: &[u8]| u16::from_be_bytes([frame[38], frame[39]]);
        let (request, reply) = (icmp_type::ECHO_REQUEST, icmp_type::ECHO_REPLY);
        let mut seen = Vec::new();
        for host in ["10.0.0.1", "10.0.0.2"] {
            let left = pass(bench, 1, echo(request, host, "198.51.100.7", 5)).expect("sent");
            seen.push(identifier(&left));
            assert_eq!(left, echo(request, "192.0.2.1", "198.51.100.7", identifier(&left)));
            let answer = echo(reply, "198.51.100.7", "192.0.2.1", identifier(&left));
            let back = pass(bench, 2, answer).expect("answered");
            assert_eq!(back, echo(reply, "198.51.100.7", host, 5));
        }
        assert_ne!(seen[0], seen[1]);
    });
}

#[test]
fn a_partial_checksum_stays_partial() {
    let mut bench = Bench::cached(&gateway());
    let packet = |src| compose(&headers(&of("tcp", src, "198.51.100.7:80")));
    let partial = |mut frame: Vec<u8>| {
        let (_, layers) = extract(Arrival::default(), &frame, 2);
        let (l3, l4) = (usize::from(layers.l3), usize::from(layers.l4));
        let size = frame.len() - l4 - usize::from(layers.padding);
        let (source, destination) = (&frame[l3 + 12..l3 + 16], &frame[l3 + 16..l3 + 20]);
        let sum = packet::checksum::pseudo_header(source, destination, 6, size as u32);
        frame[l4 + 16..l4 + 18].copy_from_slice(&sum.to_be_bytes());
        (frame, l4 as u16)
    };
    let (frame, l4) = partial(packet("10.0.0.1:1000"));
    let mut offload = Offload::NONE;
    offload.set_needs_checksum(l4, 16);
    let mut batch = Batch::new();
    batch.push(Frame::owned(&frame, offload));
    let counters = &bench.counters[0];
    bench.datapath.process(bench.now, PortNo(0), &mut batch, &mut bench.egress, counters);
    let [id] = *bench.egress.queue(PortNo(1)) else { panic!("the frame is forwarded") };
    assert_eq!(batch.frame(id).bytes(), partial(packet("192.0.2.1:1000")).0);
    assert!(batch.frame(id).offload.needs_checksum());
    bench.egress.clear(&mut batch);
}

#[test]
fn another_program_goes_on_with_connections() {
    let mut first = Bench::cached(&gateway());
    let (server, outside) = ("198.51.100.7:53", "192.0.2.1:1000");
    check(&mut first, 1, &of("udp", "10.0.0.1:1000", server), &of("udp", outside, server));
    let give = |bench: &Bench| -> Vec<KeptConnection> {
        let given = serde_json::to_vec(&bench.policy.connections().keep(bench.now)).expect("JSON");
        serde_json::from_slice(&given).expect("what was written")
    };
    let early = give(&first);
    check(&mut first, 2, &of("udp", server, outside), &of("udp", server, "10.0.0.1:1000"));
    let late = give(&first);
    assert_ne!(early, late);
    let mut second = Bench::cached(&gateway());
    for kept in [early, late] {
        second.policy.connections().take_over(second.now, &kept);
        assert_eq!(second.policy.connections().stats().connections, 1);
    }
    assert_eq!(give(&second), give(&first));
    check(&mut second, 2, &of("udp", server, outside), &of("udp", server, "10.0.0.1:1000"));
    // The timeout goes on, too: 30 s after the answer.
    second.now += Duration::from_secs(31);
    let answer = compose(&headers(&of("udp", server, outside)));
    assert_eq!(pass(&mut second, 2, answer), None);
}

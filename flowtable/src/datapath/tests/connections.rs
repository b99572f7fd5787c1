//! Connection tracking through the tables: `ct(...)` and what the next pass sees.

use super::*;
use crate::conntrack::CtZoneUse;
use crate::policy::Conduct;
use flow::ct_filter::CtFilter;
use flow::ct_timeout::CtTimeouts;
use flow::extract::extract;
use packet::wire::Ipv4Packet;

/// A firewall: port 1 may open connections to port 2, and port 2 may answer.
const FIREWALL: &[&str] = &[
    "priority=10,ip,ct_state=-trk,actions=ct(table=1)",
    "priority=10,ipv6,ct_state=-trk,actions=ct(table=1)",
    "priority=1,arp,actions=NORMAL",
    "table=1,priority=10,ip,ct_state=+trk+new,in_port=1,actions=ct(commit),2",
    "table=1,priority=10,ipv6,ct_state=+trk+new,in_port=1,actions=ct(commit),2",
    "table=1,priority=10,ct_state=+trk+est,in_port=1,actions=2",
    "table=1,priority=10,ct_state=+trk+est,in_port=2,actions=1",
    "table=1,priority=10,ip,ct_state=+trk+rel,in_port=2,actions=1",
    "table=1,priority=1,actions=drop",
];

pub(super) fn headers(text: &str) -> Headers {
    parse_match(text, &ParseContext::default()).expect(text).key().headers
}

/// The rules or groups that a recipe of docs/connections.md has a reader paste: the arguments of this verb.
pub(super) fn recipe(title: &str, verb: &str) -> Vec<&'static str> {
    const PAGE: &str = include_str!("../../../../docs/connections.md");
    let section = PAGE.split("\n## ").find(|section| section.starts_with(title)).expect(title);
    let verb = format!("ofctl {verb} ");
    let arguments = section.lines().filter_map(|line| line.trim().strip_prefix(&verb));
    arguments.map(|argument| argument.trim_matches('"')).collect()
}

const REQUEST: &str = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_src=1000,tp_dst=53";
const ANSWER: &str = "udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,nw_ttl=64,tp_src=53,tp_dst=1000";

/// Calls `check` with caches and without.
pub(super) fn with_and_without_caches(rules: &[&str], check: impl Fn(&mut Bench)) {
    for config in [CacheConfig::default(), CacheConfig::OFF] {
        check(&mut Bench::new(config, rules));
    }
}

#[test]
fn only_answers_come_in() {
    with_and_without_caches(FIREWALL, |bench| {
        assert!(bench.ports(2, headers(ANSWER)).is_empty(), "nobody has asked");
        assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
        assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
        assert_eq!(bench.ports(2, headers(ANSWER)), [1]);
        let other = ANSWER.replace("tp_src=53", "tp_src=54");
        assert!(bench.ports(2, headers(&other)).is_empty());
        // The timeout of UDP in both directions is 30 s.
        bench.now += Duration::from_secs(29);
        assert_eq!(bench.ports(2, headers(ANSWER)), [1]);
        bench.now += Duration::from_secs(31);
        assert!(bench.ports(2, headers(ANSWER)).is_empty());
    });
}

#[test]
fn a_connection_is_new_until_it_is_answered() {
    let rules = [
        "udp,ct_state=-trk,actions=ct(table=1)",
        "table=1,udp,ct_state=+trk+new,actions=ct(commit),output:2",
        "table=1,udp,ct_state=+trk+est,actions=output:3",
    ];
    with_and_without_caches(&rules, |bench| {
        for _ in 0..4 {
            assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
        }
        assert_eq!(bench.ports(2, headers(ANSWER)), [3]);
        assert_eq!(bench.ports(1, headers(REQUEST)), [3]);
    });
}

#[test]
fn a_header_of_another_ip_version_than_the_ethertype_says_is_invalid_and_sctp_may_have_port_zero() {
    let rules = [
        "ip,ct_state=-trk,actions=ct(table=1)",
        "table=1,ip,ct_state=+trk+inv,actions=2",
        "table=1,ip,ct_state=+trk+new,actions=3",
    ];
    with_and_without_caches(&rules, |bench| {
        let mut frame =
            compose(&headers("udp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_src=1,tp_dst=2"));
        frame[12..14].copy_from_slice(&[8, 0]);
        assert_eq!(bench.send_frames(0, &[frame])[1].len(), 1);
        let sctp = "sctp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=22,tp_dst=0";
        assert_eq!(bench.ports(1, headers(sctp)), [3]);
        assert_eq!(bench.ports(1, headers(&sctp.replace("sctp", "udp"))), [2]);
    });
}

#[test]
fn connections_are_forgotten_by_tuple_and_mark() {
    let mut bench = Bench::cached(&["udp,actions=ct(commit,exec(set_field:6->ct_mark)),2"]);
    let flush = |bench: &Bench, words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        bench.policy.connections().flush(bench.now, CtFilter::parse(&words).expect("a filter"))
    };
    bench.ports(1, headers(REQUEST));
    assert_eq!(flush(&bench, &["mark=1/1"]), 0);
    assert_eq!(flush(&bench, &["ct_nw_src=10.0.0.2"]), 0);
    assert_eq!(flush(&bench, &["ct_nw_src=10.0.0.1,icmp_id=1000"]), 0);
    assert_eq!(flush(&bench, &["zone=1", "ct_nw_src=10.0.0.1"]), 0);
    assert_eq!(flush(&bench, &["ct_nw_src=10.0.0.1,ct_nw_proto=17,ct_tp_dst=53"]), 1);
    bench.ports(1, headers(REQUEST));
    assert_eq!(flush(&bench, &["", "ct_nw_src=10.0.0.2,ct_tp_src=53"]), 1);
    bench.ports(1, headers(REQUEST));
    assert_eq!(flush(&bench, &["mark=2/2"]), 1);
}

#[test]
fn the_firewall_of_the_documentation_lets_answers_in_only() {
    with_and_without_caches(&recipe("A stateful firewall", "add-flow"), |bench| {
        assert!(bench.ports(2, headers(ANSWER)).is_empty());
        assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
        assert_eq!(bench.ports(2, headers(ANSWER)), [1]);
    });
}

#[test]
fn ipv6_and_icmp_have_connections_too() {
    with_and_without_caches(FIREWALL, |bench| {
        let (a, b) = ("fe80::1", "fe80::2");
        let udp = |src, dst, ports| headers(&format!("udp6,ipv6_src={src},ipv6_dst={dst},{ports}"));
        assert_eq!(bench.ports(1, udp(a, b, "tp_src=5,tp_dst=53")), [2]);
        assert_eq!(bench.ports(2, udp(b, a, "tp_src=53,tp_dst=5")), [1]);
        assert!(bench.ports(2, udp(b, a, "tp_src=53,tp_dst=6")).is_empty());
        let echo = |src: &str, dst: &str, kind: u8| {
            headers(&format!("icmp,nw_src={src},nw_dst={dst},icmp_type={kind},icmp_code=0"))
        };
        assert!(bench.ports(2, echo("10.0.0.2", "10.0.0.1", 0)).is_empty());
        assert_eq!(bench.ports(1, echo("10.0.0.1", "10.0.0.2", 8)), [2]);
        assert_eq!(bench.ports(2, echo("10.0.0.2", "10.0.0.1", 0)), [1]);
        assert!(bench.ports(2, echo("10.0.0.2", "10.0.0.1", 8)).is_empty(), "a question");
    });
}

#[test]
fn an_error_is_related_to_the_connection_of_the_packet_that_it_quotes() {
    with_and_without_caches(FIREWALL, |bench| {
        let quoted = compose(&headers(REQUEST));
        let error = |to: &str| {
            let text = format!("icmp,nw_src=10.0.0.9,nw_dst={to},icmp_type=3,icmp_code=3");
            let mut frame = compose(&headers(&text));
            let (ip, icmp) = (14, 34);
            frame.truncate(icmp + 8);
            frame.extend(&quoted[14..]);
            let size = (frame.len() - ip) as u16;
            frame[ip + 2..ip + 4].copy_from_slice(&size.to_be_bytes());
            packet::wire::Ipv4Packet::new_unchecked(&mut frame[ip..icmp]).fill_checksum();
            packet::wire::IcmpPacket::new_unchecked(&mut frame[icmp..]).fill_checksum();
            frame
        };
        assert!(bench.send_frames(1, &[error("10.0.0.1")])[0].is_empty());
        assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
        assert_eq!(bench.send_frames(1, &[error("10.0.0.1")])[0].len(), 1);
        assert!(bench.send_frames(1, &[error("10.0.0.7")])[0].is_empty(), "not the sender's");
    });
}

#[test]
fn a_packet_of_either_direction_names_a_connection_that_is_to_be_forgotten() {
    let request =
        "ct_nw_src=10.0.0.1,ct_nw_dst=10.0.0.2,ct_nw_proto=17,ct_tp_src=1000,ct_tp_dst=53";
    let answer = "ct_nw_src=10.0.0.2,ct_nw_dst=10.0.0.1,ct_nw_proto=17,ct_tp_src=53,ct_tp_dst=1000";
    let without_port = answer.replace(",ct_tp_dst=1000", "");
    let no_answer = format!("{answer} {request}");
    for (filter, expected) in [
        (request, 1),
        (answer, 1),
        (&*format!("{request} {answer}"), 1),
        // A tuple that is not complete is one of the first packet, and so is one in front
        // of that of the answers.
        (&*without_port, 0),
        (&*no_answer, 0),
        (&*answer.replace("1000", "1001"), 0),
    ] {
        let mut bench = Bench::new(CacheConfig::default(), FIREWALL);
        assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
        let words: Vec<_> = filter.split(' ').map(str::to_owned).collect();
        let selected = CtFilter::parse(&words).unwrap();
        let forgotten = bench.policy.connections().flush(bench.now, selected);
        assert_eq!(forgotten, expected, "{filter}");
    }
}

#[test]
fn mark_label_and_zone_are_seen_by_the_next_pass() {
    let rules = [
        "ip,ct_state=-trk,in_port=1,actions=move:NXM_OF_IP_SRC[0..15]->NXM_NX_REG0[0..15],\
         ct(commit,table=1,zone=NXM_NX_REG0[0..15],exec(set_field:0x5/0xf->ct_mark,set_field:0x70000000000000000->ct_label)),3",
        "table=1,ct_zone=1,ct_mark=0x5,ct_label=0x70000000000000000,ct_nw_src=10.0.0.1,\
         ct_nw_dst=10.0.0.2,ct_nw_proto=17,ct_tp_src=1000,ct_tp_dst=53,ct_state=+new-inv,ip,actions=2",
        "table=1,priority=1,actions=4",
    ];
    with_and_without_caches(&rules, |bench| {
        assert_eq!(bench.ports(1, headers(REQUEST)), [2, 3], "the list goes on, too");
        let second = REQUEST.replace("10.0.0.1", "10.0.0.2");
        assert_eq!(bench.ports(1, headers(&second)), [3, 4], "another zone");
        let known = bench
            .policy
            .connections()
            .dump(bench.now, CtFilter { zone: Some(1), ..CtFilter::default() });
        assert_eq!((known.len(), known[0].mark, known[0].label), (1, 5, 7 << 64));
        assert_eq!(
            bench
                .policy
                .connections()
                .flush(bench.now, CtFilter { zone: Some(2), ..CtFilter::default() }),
            1
        );
        assert_eq!(bench.policy.connections().stats().connections, 1);
    });
}

#[test]
fn what_is_known_of_a_connection_does_not_outlive_ct_clear() {
    let rules = [
        "ip,ct_state=-trk,actions=ct(table=1)",
        "table=1,ip,ct_state=+trk,actions=resubmit(,2),ct_clear,resubmit(,2)",
        "table=2,ct_state=+trk,actions=2",
        "table=2,ct_state=-trk,actions=3",
    ];
    with_and_without_caches(&rules, |bench| {
        assert_eq!(bench.ports(1, headers(REQUEST)), [2, 3]);
    });
}

#[test]
fn a_packet_belongs_to_the_connection_that_was_found_until_ct_clear() {
    for (clear, connections) in [("", 1), ("ct_clear,", 2)] {
        let next = format!(
            "table=1,udp,actions=mod_tp_dst:99,{clear}ct(commit,exec(set_field:0x7->ct_mark)),2"
        );
        let rules = ["ip,ct_state=-trk,actions=ct(commit,table=1)", next.as_str()];
        with_and_without_caches(&rules, |bench| {
            assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
            let known = bench.policy.connections().dump(bench.now, CtFilter::default());
            assert_eq!(known.len(), connections, "{clear}");
            assert_eq!(known.iter().filter(|c| c.mark == 7).count(), 1, "{clear}");
        });
    }
}

#[test]
fn a_connection_is_committed_even_if_nothing_is_sent() {
    let rules = ["ip,actions=ct(commit,zone=9)"];
    with_and_without_caches(&rules, |bench| {
        assert!(bench.ports(1, headers(REQUEST)).is_empty());
        assert_eq!(bench.counters[0].rx_dropped(DropReason::RuleDrop).get(), 1);
        assert_eq!(bench.policy.connections().dump(bench.now, CtFilter::default()).len(), 1);
    });
}

#[test]
fn force_begins_a_connection_anew_from_the_other_end() {
    let rules = [
        "in_port=1,ip,actions=ct(commit,table=1)",
        "in_port=2,ip,actions=ct(commit,force,table=1)",
        "table=1,ct_state=+rpl,actions=3",
        "table=1,ct_state=-rpl,actions=4",
    ];
    with_and_without_caches(&rules, |bench| {
        assert_eq!(bench.ports(1, headers(REQUEST)), [4]);
        assert_eq!(bench.ports(2, headers(ANSWER)), [4]);
        assert_eq!(bench.ports(1, headers(REQUEST)), [3]);
        assert_eq!(bench.policy.connections().stats().connections, 1);
    });
}

#[test]
fn broken_packets_and_fragments_are_invalid() {
    let rules = ["ip,ct_state=-trk,actions=ct(table=1)", "table=1,ip,ct_state=+inv,actions=2"];
    with_and_without_caches(&rules, |bench| {
        assert!(bench.ports(1, headers(REQUEST)).is_empty());
        let fragment = format!("{REQUEST},nw_frag=first");
        assert_eq!(bench.ports(1, headers(&fragment)), [2]);
        let mut frame = compose(&headers(REQUEST));
        frame[40] ^= 1;
        assert_eq!(bench.send_frames(0, &[frame])[1].len(), 1, "a wrong checksum");
        let mut frame = compose(&headers(REQUEST));
        frame[24] ^= 1;
        assert_eq!(bench.send_frames(0, &[frame])[1].len(), 1, "a wrong header checksum");
        let gre = compose(&headers("ip,nw_proto=47,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64"));
        assert!(bench.send_frames(0, std::slice::from_ref(&gre))[1].is_empty());
        for size in [19, gre.len() as u16 - 13] {
            let mut frame = gre.clone();
            let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
            ip.set_total_size(size);
            ip.fill_checksum();
            assert_eq!(bench.send_frames(0, &[frame])[1].len(), 1, "{size} bytes in all");
        }
    });
}

#[test]
fn as_in_open_vswitch_the_version_of_ipv6_may_be_wrong() {
    let rules = ["ipv6,ct_state=-trk,actions=ct(table=1)", "table=1,ipv6,ct_state=+inv,actions=2"];
    for (conduct, number) in [(Conduct::Sensible, 1), (Conduct::AsOvs, 0)] {
        let policy = one_bridge().with_conduct(conduct);
        let mut bench = Bench::with_policy(policy, CacheConfig::default(), &rules);
        let text = "udp6,ipv6_src=fd00::1,ipv6_dst=fd00::2,nw_ttl=64,tp_src=1000,tp_dst=53";
        let mut frame = compose(&headers(text));
        frame[14] = 0x50;
        assert_eq!(bench.send_frames(0, &[frame])[1].len(), number);
    }
}

#[test]
fn a_flood_from_one_address_leaves_room_for_others() {
    let mut bench = Bench::cached(FIREWALL);
    let connections = Arc::clone(&bench.policy);
    let connections = connections.connections();
    connections.set_max_connections(1000);
    let from = |source: u32, port: u16| {
        let mut headers = headers(REQUEST);
        headers.nw_addrs[..4].copy_from_slice(&source.to_be_bytes());
        headers.tp_src.set(port);
        headers
    };
    for batch in 0..40 {
        let keys: Vec<_> = (0..50).map(|n| from(0x0a00_0001, 1 + batch * 50 + n)).collect();
        bench.send(0, &keys);
    }
    let stats = connections.stats();
    assert_eq!(stats.connections, 500, "{stats:?}");
    assert_eq!(stats.refused_source, 1500);
    for n in 0..400 {
        bench.send(0, &[from(0x0a00_0100 + n, 7)]);
    }
    assert_eq!(connections.stats().connections, 900);
    // Once the table is full, half-open connections make room.
    for n in 0..4000 {
        bench.send(0, &[from(0x0b00_0000 + n, 7)]);
    }
    let stats = connections.stats();
    assert!(stats.connections <= 1000 && stats.evicted > 0, "{stats:?}");
    bench.now += Duration::from_secs(70);
    connections.sweep(bench.now);
    assert_eq!(connections.stats().connections, 0);
}

#[test]
fn a_zone_has_as_many_connections_as_its_limit_says() {
    let mut bench = Bench::cached(&["in_port=1,ip,actions=ct(commit,zone=3)"]);
    bench.policy.connections().set_zone_limit(Some(3), Some(2));
    for port in 1..5 {
        let mut headers = headers(REQUEST);
        headers.tp_src.set(port);
        bench.ports(1, headers);
    }
    let (default, zones) = bench.policy.connections().zone_limits();
    let zone = CtZoneUse { zone: 3, limit: Some(2), connections: 2 };
    assert_eq!((default, zones), (None, vec![zone]));
    assert_eq!(bench.policy.connections().stats().refused_zone, 2);
}

/// A TCP segment between 10.0.0.1:1000 and 10.0.0.2:80, without payload.
pub(super) fn segment(is_reply: bool, flags: u16, sequence: u32, acknowledgement: u32) -> Vec<u8> {
    let ends = [
        "nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,tp_dst=80",
        "nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=80,tp_dst=1000",
    ];
    let mut frame = compose(&headers(&format!("tcp,{}", ends[usize::from(is_reply)])));
    let (_, layers) = extract(flow::extract::Arrival::default(), &frame, 1);
    frame.truncate(frame.len() - usize::from(layers.padding));
    let (ip, tcp) = (usize::from(layers.l3), usize::from(layers.l4));
    let pseudo = packet::checksum::pseudo_header(
        &frame[ip + 12..ip + 16],
        &frame[ip + 16..ip + 20],
        6,
        (frame.len() - tcp) as u32,
    );
    let mut header = packet::wire::TcpPacket::new_unchecked(&mut frame[tcp..]);
    header.set_flags(flags);
    header.set_sequence(sequence);
    header.set_acknowledgement(acknowledgement);
    header.set_window(1000);
    header.set_checksum(0);
    let sum = packet::checksum::add(pseudo, packet::checksum::sum(&frame[tcp..]));
    packet::wire::TcpPacket::new_unchecked(&mut frame[tcp..]).set_checksum(!sum);
    frame
}

#[test]
fn tcp_is_followed_from_its_handshake_to_its_end() {
    const FIN: u16 = 0x01;
    const SYN: u16 = 0x02;
    const RST: u16 = 0x04;
    const ACK: u16 = 0x10;
    let mut bench = Bench::cached(FIREWALL);
    let mut passes = |is_reply: bool, flags, sequence, acknowledgement| {
        let frame = segment(is_reply, flags, sequence, acknowledgement);
        let sent = bench.send_frames(is_reply.into(), &[frame]);
        let states: Vec<_> = bench
            .policy
            .connections()
            .dump(bench.now, CtFilter::default())
            .into_iter()
            .map(|c| (c.tcp.unwrap().0.to_string(), c.tcp.unwrap().1.to_string(), c.left.as_secs()))
            .collect();
        (sent[usize::from(!is_reply)].len() == 1, states)
    };
    let state = |a: &str, b: &str, left: u64| vec![(a.to_owned(), b.to_owned(), left)];
    assert_eq!(passes(true, SYN | ACK, 500, 101), (false, vec![]), "nobody has asked");
    assert_eq!(passes(false, SYN, 100, 0), (true, state("SYN_SENT", "CLOSED", 30)));
    assert_eq!(passes(true, SYN | ACK, 500, 101), (true, state("ESTABLISHED", "SYN_SENT", 30)));
    let established = state("ESTABLISHED", "ESTABLISHED", 86_400);
    assert_eq!(passes(false, ACK, 101, 501), (true, established.clone()));
    assert_eq!(passes(true, RST, 90_000, 0), (false, established), "outside the window");
    assert_eq!(passes(false, FIN | ACK, 101, 501), (true, state("CLOSING", "ESTABLISHED", 900)));
    assert_eq!(passes(true, FIN | ACK, 501, 102), (true, state("FIN_WAIT_2", "CLOSING", 45)));
    assert_eq!(passes(false, ACK, 102, 502), (true, state("FIN_WAIT_2", "FIN_WAIT_2", 30)));
    assert_eq!(passes(false, SYN, 9000, 0), (true, state("SYN_SENT", "CLOSED", 30)), "anew");
}

#[test]
fn windows_are_checked_unless_that_is_off() {
    let mut bench = Bench::cached(FIREWALL);
    let mut send = |is_reply: bool, flags, sequence, acknowledgement| {
        let frame = segment(is_reply, flags, sequence, acknowledgement);
        bench.send_frames(is_reply.into(), &[frame])[usize::from(!is_reply)].len() == 1
    };
    assert!(send(false, 0x02, 100, 0));
    assert!(send(true, 0x12, 500, 101));
    assert!(send(false, 0x10, 101, 501));
    let far = segment(true, 0x11, 50_000_000, 101);
    assert!(bench.send_frames(1, std::slice::from_ref(&far))[0].is_empty());
    bench.policy.connections().set_checks_windows(false);
    assert_eq!(bench.send_frames(1, &[far])[0].len(), 1);
}

#[test]
fn a_zone_has_timeouts_of_its_own() {
    let mut bench = Bench::cached(&[
        "priority=9,udp,in_port=1,tp_src=1000,actions=ct(commit,zone=1),2",
        "priority=1,udp,actions=ct(commit,zone=2),2",
    ]);
    let timeouts = |text: &str| CtTimeouts::parse(text.split(' ')).expect(text);
    let connections = |bench: &Bench| {
        bench.policy.connections().sweep(bench.now);
        let known = bench.policy.connections().dump(bench.now, CtFilter::default());
        let count = bench.policy.connections().stats().connections;
        assert_eq!(count, known.len() as u64, "what is over is removed");
        let mut zones: Vec<u16> = known.iter().map(|c| c.original.zone).collect();
        zones.sort_unstable();
        zones
    };
    bench.policy.connections().set_timeouts(&[(1, timeouts("udp_first=600 udp_single=5"))]);
    let other = REQUEST.replace("tp_src=1000", "tp_src=1001");
    bench.ports(1, headers(REQUEST));
    bench.ports(1, headers(&other));
    bench.now += Duration::from_secs(59);
    assert_eq!(connections(&bench), [1, 2]);
    bench.now += Duration::from_secs(2);
    assert_eq!(connections(&bench), [1]);
    // The second packet of the connection.
    bench.ports(1, headers(REQUEST));
    bench.ports(1, headers(&other));
    bench.now += Duration::from_secs(6);
    assert_eq!(connections(&bench), [2]);
    // A connection learns of new timeouts with its next packet.
    bench.policy.connections().set_timeouts(&[(2, timeouts("udp_single=3"))]);
    bench.now += Duration::from_secs(40);
    assert_eq!(connections(&bench), [2]);
    bench.ports(1, headers(&other));
    bench.now += Duration::from_secs(4);
    assert!(connections(&bench).is_empty());
    bench.policy.connections().set_timeouts(&[]);
    bench.ports(1, headers(REQUEST));
    bench.now += Duration::from_secs(59);
    assert_eq!(connections(&bench), [1], "the default again");
}

#[test]
fn a_full_table_forgets_half_open_connections_of_zones_with_timeouts_of_their_own() {
    let mut bench = Bench::cached(&["udp,actions=ct(commit,zone=1),2"]);
    let timeouts = CtTimeouts::parse(["udp_first=1000"]).expect("timeouts");
    bench.policy.connections().set_timeouts(&[(1, timeouts)]);
    bench.policy.connections().set_max_connections(300);
    for source in 0..2_000u32 {
        let source = format!("nw_src=10.1.{}.{}", source / 250, source % 250);
        bench.ports(1, headers(&REQUEST.replace("nw_src=10.0.0.1", &source)));
    }
    let stats = bench.policy.connections().stats();
    assert!(stats.connections <= 300 && stats.evicted > 500, "{stats:?}");
}

//! Shortcuts change nothing but the speed: they are taken, and what is forwarded, counted and known of
//! connections is the same as without caches.

use super::connections::{headers, segment, with_and_without_caches};
use super::helpers;
use super::*;
use flow::ct_filter::CtFilter;
use flow::ct_timeout::CtTimeouts;
use proptest::prelude::*;

const RULES: &[&str] = &[
    "priority=10,ip,ct_state=-trk,actions=ct(table=1)",
    "priority=10,ipv6,ct_state=-trk,actions=ct(table=1)",
    "table=1,priority=10,ct_state=+trk+new,ip,actions=ct(commit),3",
    "table=1,priority=10,ct_state=+trk+new,ipv6,actions=ct(commit),3",
    "table=1,priority=10,ct_state=+trk+est,in_port=1,actions=2",
    "table=1,priority=10,ct_state=+trk+est,in_port=2,actions=1",
    "table=1,priority=20,ct_state=+trk+est,ct_mark=5,actions=4",
];

const REQUEST: &str = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_src=1000,tp_dst=53";
const ANSWER: &str = "udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,nw_ttl=64,tp_src=53,tp_dst=1000";

impl Bench {
    /// Whether the first frame of the latest batch has gone round.
    pub(super) fn has_gone_round(&self) -> bool {
        self.datapath.scratch.keys[0].recirc_id.get() != 0
    }
}

/// A connection of UDP whose requests take a shortcut.
fn with_shortcut(rules: &[&str]) -> Bench {
    let mut bench = Bench::cached(rules);
    bench.ports(1, headers(REQUEST));
    bench.ports(2, headers(ANSWER));
    for _ in 0..4 {
        assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
    }
    assert!(!bench.has_gone_round());
    bench
}

#[test]
fn frames_of_established_connections_go_through_one_pass() {
    let mut bench = with_shortcut(RULES);
    assert_eq!(bench.ports(2, headers(ANSWER)), [1]);
    assert_eq!(bench.ports(2, headers(ANSWER)), [1]);
    assert_eq!(bench.ports(2, headers(ANSWER)), [1]);
    assert!(!bench.has_gone_round(), "the other direction");
    let ipv6 = "udp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_src=1,tp_dst=2";
    bench.ports(1, headers(ipv6));
    bench.ports(2, headers("udp6,ipv6_src=fe80::2,ipv6_dst=fe80::1,tp_src=2,tp_dst=1"));
    for _ in 0..4 {
        assert_eq!(bench.ports(1, headers(ipv6)), [2]);
    }
    assert!(!bench.has_gone_round(), "IPv6");
    // The first half of the source's address is the same.
    let other = ipv6.replace("fe80::1", "fe80::3");
    assert_eq!(bench.ports(1, headers(&other)), [3]);
    let mut bench = Bench::cached(RULES);
    for (is_reply, flags, sequence, acknowledgement) in
        [(false, 0x02, 100, 0), (true, 0x12, 500, 101), (false, 0x10, 101, 501)]
    {
        let frame = segment(is_reply, flags, sequence, acknowledgement);
        bench.send_frames(is_reply.into(), &[frame]);
    }
    for _ in 0..4 {
        let sent = bench.send_frames(0, &[segment(false, 0x10, 101, 501)]);
        assert_eq!(sent[1].len(), 1);
    }
    assert!(!bench.has_gone_round(), "TCP");
    let sent = bench.send_frames(0, &[segment(false, 0x11, 90_000_000, 501)]);
    assert!(sent.iter().all(Vec::is_empty), "outside the window");
}

#[test]
fn there_are_shortcuts_for_more_connections_than_there_was_room_for() {
    let config = CacheConfig { emc_entries: 8, upcalls: None, ..CacheConfig::default() };
    let mut bench = Bench::new(config, RULES);
    let connections: Vec<[String; 2]> = (0..100)
        .map(|n| [REQUEST, ANSWER].map(|text| text.replace("1000", &format!("{}", 1000 + n))))
        .collect();
    let send = |bench: &mut Bench| {
        let mut by_shortcut = 0;
        for [request, answer] in &connections {
            bench.ports(1, headers(request));
            bench.ports(2, headers(answer));
            by_shortcut += usize::from(!bench.has_gone_round());
        }
        by_shortcut
    };
    assert_eq!(send(&mut bench), 0, "there are none yet");
    for _ in 0..8 {
        send(&mut bench);
    }
    assert_eq!(send(&mut bench), connections.len());
}

#[test]
fn frames_are_counted_at_both_flows() {
    let rules = [
        "cookie=1,udp,ct_state=-trk,actions=ct(table=1)",
        "table=1,ct_state=+trk+new,ip,actions=ct(commit),3",
        "cookie=2,table=1,ct_state=+trk+est,actions=2",
    ];
    let mut bench = with_shortcut(&rules);
    for _ in 0..10 {
        assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
    }
    let before = [1, 2].map(|cookie| bench.packets_of(cookie));
    bench.send(0, &[headers(REQUEST); 9]);
    assert!(!bench.has_gone_round());
    assert_eq!([1, 2].map(|cookie| bench.packets_of(cookie)), before.map(|count| count + 9));
}

#[test]
fn what_changes_a_connection_holds_for_the_next_frame() {
    let mut bench = with_shortcut(RULES);
    bench.policy.connections().flush(bench.now, CtFilter::default());
    assert_eq!(bench.ports(1, headers(REQUEST)), [3], "it is new again");
    let mut bench = with_shortcut(RULES);
    bench.change(
        Command::Add,
        "priority=30,in_port=4,ip,actions=ct(commit,exec(set_field:5->ct_mark))",
    );
    bench.ports(4, headers(REQUEST));
    assert_eq!(bench.ports(1, headers(REQUEST)), [4], "another mark");
    let mut bench = with_shortcut(RULES);
    bench.now += Duration::from_secs(31);
    assert_eq!(bench.ports(1, headers(REQUEST)), [3], "its time has come");
    let mut bench = with_shortcut(RULES);
    bench.change(Command::Add, "table=1,priority=11,ct_state=+trk+est,actions=3");
    assert_eq!(bench.ports(1, headers(REQUEST)), [3], "another rule");
    bench.delete("table=1,priority=11,ct_state=+trk+est");
    assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
    let mut bench = with_shortcut(RULES);
    let timeouts = CtTimeouts::parse(["udp_multiple=5"]).expect("timeouts");
    bench.policy.connections().set_timeouts(&[(0, timeouts)]);
    assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
    bench.now += Duration::from_secs(6);
    assert_eq!(bench.ports(1, headers(REQUEST)), [3], "another timeout");
}

#[test]
fn frames_by_shortcut_keep_a_connection_alive() {
    let mut bench = with_shortcut(RULES);
    for _ in 0..300 {
        bench.now += Duration::from_millis(500);
        assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
        bench.policy.connections().sweep(bench.now);
    }
    assert!(!bench.has_gone_round());
    let known = bench.policy.connections().dump(bench.now, CtFilter::default());
    assert_eq!(known[0].left, Duration::from_secs(30));
}

#[test]
fn a_broken_datagram_takes_no_shortcut() {
    let mut bench = with_shortcut(RULES);
    for at in [24, 41] {
        let mut frame = compose(&headers(REQUEST));
        frame[at] ^= 1;
        let sent = bench.send_frames(0, &[frame]);
        assert!(sent.iter().all(Vec::is_empty), "a wrong sum at {at}");
    }
    let mut frame = compose(&headers(REQUEST));
    // Total length and checksum of the IPv4 header.
    let [size, sum] = [16, 24].map(|at| u16::from_be_bytes([frame[at], frame[at + 1]]));
    frame[16..18].copy_from_slice(&(size + 8).to_be_bytes());
    frame[24..26].copy_from_slice(&sum.checked_sub(8).expect("no carry").to_be_bytes());
    let sent = bench.send_frames(0, &[frame]);
    assert!(sent.iter().all(Vec::is_empty), "cut off");
}

#[test]
fn no_frame_overtakes_another_one_of_its_connection() {
    let mut bench = with_shortcut(RULES);
    let with_ttl = |ttl: u8| headers(&REQUEST.replace("nw_ttl=64", &format!("nw_ttl={ttl}")));
    // Each TTL has a signature of its own, and a shortcut once it has come some times.
    let keys: Vec<_> = (60..70).chain(60..70).map(with_ttl).collect();
    let expected: Vec<_> = keys.iter().map(compose).collect();
    for _ in 0..4 {
        assert_eq!(bench.send(0, &keys)[1], expected);
    }
    assert!(!bench.has_gone_round());
}

#[test]
fn data_that_ftp_told_of_takes_a_shortcut_and_the_control_connection_does_not() {
    let rules = [
        "priority=9,tcp,ct_state=-trk,actions=ct(table=1)",
        "table=1,priority=9,tcp,ct_state=+trk+new-rel,actions=ct(commit,alg=ftp),2",
        "table=1,priority=9,tcp,ct_state=+trk+new+rel,actions=ct(commit),1",
        "table=1,priority=8,tcp,ct_state=+trk+est,in_port=1,actions=2",
        "table=1,priority=8,tcp,ct_state=+trk+est,in_port=2,actions=1",
    ];
    let mut bench = Bench::cached(&rules);
    let goes_round = |bench: &mut Bench, port: u16, frame: &[u8]| {
        for _ in 0..4 {
            bench.send_frames(port, &[frame.to_vec()]);
        }
        bench.has_gone_round()
    };
    let last = helpers::ftp_control(&mut bench);
    assert!(goes_round(&mut bench, 0, &last));
    let last = helpers::ftp_data(&mut bench);
    assert!(!goes_round(&mut bench, 1, &last));
}

#[test]
fn shortcuts_translate() {
    let rules = [
        "udp,in_port=1,ct_state=-trk,actions=ct(table=1,nat)",
        "udp,in_port=2,ct_state=-trk,actions=ct(table=1,nat)",
        "table=1,udp,in_port=1,ct_state=+trk+new,actions=ct(commit,nat(src=192.0.2.9:7)),2",
        "table=1,in_port=1,udp,nw_src=192.0.2.9,ct_state=+trk+est,actions=2",
        "table=1,in_port=2,udp,nw_dst=10.0.0.1,ct_state=+trk+est,actions=1",
    ];
    let outside = REQUEST.replace("10.0.0.1", "192.0.2.9").replace("tp_src=1000", "tp_src=7");
    let answer = ANSWER.replace("10.0.0.1", "192.0.2.9").replace("tp_dst=1000", "tp_dst=7");
    with_and_without_caches(&rules, |bench| {
        for _ in 0..6 {
            assert_eq!(bench.send(0, &[headers(REQUEST)])[1], [compose(&headers(&outside))]);
            assert_eq!(bench.send(1, &[headers(&answer)])[0], [compose(&headers(ANSWER))]);
        }
    });
    let mut bench = Bench::cached(&rules);
    for _ in 0..6 {
        bench.ports(1, headers(REQUEST));
        bench.ports(2, headers(&answer));
    }
    assert!(!bench.has_gone_round());
}

/// Rules that come and go.
const CHANGING: [&str; 8] = [
    "table=1,priority=11,ct_state=+trk+est,nw_ttl=1,ip,actions=drop",
    "table=1,priority=12,ct_state=+trk+est,udp,tp_dst=2,actions=dec_ttl,3",
    "table=1,priority=13,ct_state=+trk+est,udp,tp_src=1,actions=ct(commit,exec(set_field:5->ct_mark)),4",
    "table=1,priority=20,ct_state=+trk+est,ct_mark=5,actions=4",
    "table=1,priority=14,ct_state=+trk+est+rpl,actions=NORMAL",
    "priority=11,udp,tp_dst=3,actions=ct(table=1,zone=7)",
    "priority=12,ip,ct_state=-trk,nw_ttl=2,actions=ct(table=1,nat)",
    "table=1,priority=15,ct_state=+trk+new,udp,tp_src=2,actions=ct(commit,nat(src=192.0.2.1-192.0.2.3)),2",
];

#[derive(Clone, Debug)]
enum Step {
    /// Frames of one batch: host, ports, TTL, and whether they are answers.
    Send(bool, Vec<(u8, u16, u16, u8)>),
    /// A segment of TCP: whether it is an answer, flags, how far its numbers are beside what they should be.
    Segment(bool, u16, u32),
    Add(usize),
    Delete(usize),
    Flush(Option<u16>),
    /// Lets some milliseconds pass.
    Wait(u64),
    Sweep,
    Timeouts(bool),
    CheckWindows(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let frame = (1u8..3, 1u16..4, 1u16..4, 1u8..4);
    let flags = prop_oneof![1 => Just(2u16), 1 => Just(0x12), 8 => Just(0x10), 1 => Just(0x11), 1 => Just(0x14)];
    prop_oneof![
        12 => (any::<bool>(), proptest::collection::vec(frame, 1..8))
            .prop_map(|(is_reply, frames)| Step::Send(is_reply, frames)),
        6 => (any::<bool>(), flags, prop_oneof![5 => Just(1u32), 1 => Just(0), 1 => Just(90_000_000)])
            .prop_map(|(is_reply, flags, by)| Step::Segment(is_reply, flags, by)),
        2 => (0..CHANGING.len()).prop_map(Step::Add),
        2 => (0..CHANGING.len()).prop_map(Step::Delete),
        1 => prop_oneof![Just(None), Just(Some(0)), Just(Some(7))].prop_map(Step::Flush),
        2 => prop_oneof![0u64..20, 0u64..40_000].prop_map(Step::Wait),
        1 => Just(Step::Sweep),
        1 => any::<bool>().prop_map(Step::Timeouts),
        1 => any::<bool>().prop_map(Step::CheckWindows),
    ]
}

/// Takes a step. Returns what left at each port: the frames of each connection and direction in their order.
fn take(bench: &mut Bench, step: &Step) -> Vec<Vec<Vec<u8>>> {
    let connections = bench.policy.connections();
    let sent = match step {
        Step::Send(is_reply, frames) => {
            let key = |(host, src, dst, ttl): &(u8, u16, u16, u8)| {
                let text = match is_reply {
                    false => format!(
                        "udp,nw_src=10.0.0.{host},nw_dst=10.0.9.9,nw_ttl={ttl},tp_src={src},tp_dst={dst}"
                    ),
                    true => format!(
                        "udp,nw_dst=10.0.0.{host},nw_src=10.0.9.9,nw_ttl={ttl},tp_dst={src},tp_src={dst}"
                    ),
                };
                headers(&text)
            };
            let keys: Vec<_> = frames.iter().map(key).collect();
            bench.send(u16::from(*is_reply), &keys)
        }
        Step::Segment(is_reply, flags, by) => {
            let frame = segment(*is_reply, *flags, 100 + by, 100 + by);
            bench.send_frames(u16::from(*is_reply), &vec![frame; 3])
        }
        Step::Add(n) => {
            bench.change(Command::Add, &format!("cookie={},{}", n + 1, CHANGING[*n]));
            Vec::new()
        }
        Step::Delete(n) => {
            let (matching, _) = CHANGING[*n].split_once(",actions=").unwrap();
            bench.delete(matching);
            Vec::new()
        }
        Step::Flush(zone) => {
            connections.flush(bench.now, CtFilter { zone: *zone, ..CtFilter::default() });
            Vec::new()
        }
        Step::Wait(ms) => {
            bench.now += Duration::from_millis(*ms);
            Vec::new()
        }
        Step::Sweep => {
            connections.sweep(bench.now);
            Vec::new()
        }
        Step::Timeouts(are_short) => {
            let timeouts = CtTimeouts::parse(["udp_multiple=3", "tcp_established=20"]);
            let zones = [(0, timeouts.expect("timeouts"))];
            connections.set_timeouts(if *are_short { &zones } else { &[] });
            Vec::new()
        }
        Step::CheckWindows(checks) => {
            connections.set_checks_windows(*checks);
            Vec::new()
        }
    };
    let mut sent = sent;
    // Frames of different connections may leave in another order.
    sent.iter_mut().for_each(|frames| frames.sort_by_key(|frame| frame[26..38].to_vec()));
    sent
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn shortcuts_change_nothing_but_the_speed(
        steps in proptest::collection::vec(step(), 1..80),
        tiny: bool,
        is_watched: bool,
    ) {
        let cached = CacheConfig { upcalls: None, ..CacheConfig::default() };
        let config = CacheConfig { emc_entries: 8, max_flows: 6, ..cached };
        let mut with = Bench::new(if tiny { config } else { cached }, RULES);
        let mut without = Bench::new(CacheConfig::OFF, RULES);
        if is_watched {
            with.policy.connections().events().watch();
            without.policy.connections().events().watch();
        }
        for step in &steps {
            prop_assert_eq!(take(&mut with, step), take(&mut without, step), "{:?}", step);
            let known = [&with, &without].map(|bench| {
                let mut known = bench.policy.connections().dump(bench.now, CtFilter::default());
                known.sort_by_key(|connection| format!("{:?}", connection.original));
                known
            });
            prop_assert_eq!(&known[0], &known[1], "{:?}", step);
            let told = [&with, &without].map(|bench| {
                let events = bench.policy.connections().events().take().events;
                let mut told: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
                told.sort();
                told
            });
            prop_assert_eq!(&told[0], &told[1], "{:?}", step);
        }
        for cookie in 0..=CHANGING.len() as u64 {
            let packets = [&with, &without].map(|bench| bench.packets_in(0, cookie));
            prop_assert_eq!(packets[0], packets[1], "cookie {}", cookie);
        }
        for (a, b) in with.counters.iter().zip(&without.counters) {
            prop_assert_eq!(a.rx_packets.get(), b.rx_packets.get());
            prop_assert_eq!(a.rx_bytes.get(), b.rx_bytes.get());
            prop_assert_eq!(a.rx_dropped_total(), b.rx_dropped_total());
        }
    }
}

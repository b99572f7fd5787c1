//! `ofctl monitor conntrack`: connections that are made and end, in text and as records.

use crate::bench::Bench;
use crate::monitor::Monitor;
use flow::compose::compose;
use flow::text::{ParseContext, parse_match};
use lab::eventually;
use serde_json::{Value, json};

/// Hosts behind port 1 may open connections to port 2. Those of TCP are translated.
const RULES: [&str; 5] = [
    "priority=10,ip,ct_state=-trk,actions=ct(zone=7,nat,table=1)",
    "table=1,priority=11,tcp,ct_state=+trk+new,in_port=1,\
     actions=ct(commit,zone=7,nat(src=192.0.2.1:7)),output:2",
    "table=1,priority=10,ip,ct_state=+trk+new,in_port=1,\
     actions=ct(commit,zone=7,exec(set_field:5->ct_mark,set_field:9->ct_label)),output:2",
    "table=1,priority=10,ct_state=+trk+est,in_port=1,actions=output:2",
    "table=1,priority=10,ct_state=+trk+est,in_port=2,actions=output:1",
];

const REQUEST: &str = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_src=1000,tp_dst=53";
const ANSWER: &str = "udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,nw_ttl=64,tp_src=53,tp_dst=1000";

fn switch() -> Bench {
    let bench = Bench::new();
    RULES.iter().for_each(|rule| drop(bench.ok(&["add-flow", rule])));
    bench
}

/// Sends a packet that a match describes in at port 1 or 2, and waits until it has left at the other one.
fn pass(bench: &Bench, in_port: usize, packet: &str) {
    let frame = parse_match(packet, &ParseContext::default()).expect(packet).key().headers;
    let out = &bench.ports[2 - in_port];
    let before = out.sent_count();
    bench.ports[in_port - 1].inject(&compose(&frame));
    eventually("the frame to be sent", || out.sent_count() == before + 1).expect(packet);
}

/// A line without the number behind `duration=`, and the number.
fn timeless(line: &str) -> (String, f64) {
    let (before, rest) = line.split_once("duration=").expect(line);
    let (duration, behind) = rest.split_once("s ").expect(line);
    (format!("{before}{behind}"), duration.parse().expect(line))
}

#[test]
fn connections_are_told_with_their_reason_and_last_counters() {
    let bench = switch();
    let monitor = Monitor::start(&bench, &["br0", "conntrack"]);
    pass(&bench, 1, REQUEST);
    let added = monitor.next();
    assert_eq!(
        added,
        "event=CONNECTION_ADDED udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=53),\
         reply=(src=10.0.0.2,dst=10.0.0.1,sport=53,dport=1000),zone=7,mark=5,labels=0x9"
    );
    assert_eq!(format!("event=CONNECTION_ADDED {}", bench.ok(&["dump-conntrack"])), added + "\n");
    for _ in 0..6 {
        pass(&bench, 2, ANSWER);
        pass(&bench, 1, REQUEST);
    }
    bench.ok(&["flush-conntrack", "zone=7"]);
    assert_eq!(
        timeless(&monitor.next()).0,
        "event=CONNECTION_DELETED reason=flushed \
         udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=53,packets=7,bytes=420),\
         reply=(src=10.0.0.2,dst=10.0.0.1,sport=53,dport=1000,packets=6,bytes=360),\
         zone=7,mark=5,labels=0x9"
    );
}

#[test]
fn a_translated_connection_that_is_reset_is_told_as_closed() {
    let bench = switch();
    let monitor = Monitor::start(&bench, &["ct"]);
    let syn = "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_src=1000,tp_dst=80,tcp_flags=syn";
    let reset =
        "tcp,nw_src=10.0.0.2,nw_dst=192.0.2.1,nw_ttl=64,tp_src=80,tp_dst=7,tcp_flags=rst|ack";
    let tuples = |to: &str, back: &str| {
        format!(
            "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=80{to}),\
             reply=(src=10.0.0.2,dst=192.0.2.1,sport=80,dport=7{back}),zone=7,protoinfo=(state="
        )
    };
    let added = format!("event=CONNECTION_ADDED {}SYN_SENT)", tuples("", ""));
    pass(&bench, 1, syn);
    assert_eq!(monitor.next(), added);
    pass(&bench, 2, reset);
    // The next connection has the same addresses and ports.
    pass(&bench, 1, syn);
    let tuples = tuples(",packets=1,bytes=60", ",packets=1,bytes=60");
    let deleted = format!("event=CONNECTION_DELETED reason=closed {tuples}TIME_WAIT)");
    assert_eq!(timeless(&monitor.next()).0, deleted);
    assert_eq!(monitor.next(), added);
}

#[test]
fn a_connection_whose_time_is_over_is_told_as_a_record() {
    let bench = switch();
    bench.ok(&["add-zone-tp", "zone=7", "udp_first=1"]);
    let monitor = Monitor::start(&bench, &["conntrack", "--json"]);
    let next = || -> Value { serde_json::from_str(&monitor.next()).expect("one a line") };
    pass(&bench, 1, REQUEST);
    let added = next();
    assert_eq!(added["event"], "connection_added");
    let connection = &added["connection"];
    assert_eq!((&connection["zone"], &connection["mark"]), (&json!(7), &json!(5)));
    assert!(added.get("bridge").is_none() && connection["orig"].get("n_packets").is_none());
    eventually("its time to be over", || bench.ok(&["dump-conntrack"]).is_empty()).unwrap();
    // The packet finds no connection, and begins another one.
    pass(&bench, 1, REQUEST);
    let deleted = next();
    assert_eq!(
        (&deleted["event"], &deleted["reason"]),
        (&json!("connection_deleted"), &json!("timeout"))
    );
    assert!(deleted["duration"].as_f64().is_some_and(|seconds| seconds >= 0.9), "{deleted}");
    assert_eq!(
        deleted["connection"]["orig"],
        json!({
            "src": "10.0.0.1", "dst": "10.0.0.2", "sport": 1000, "dport": 53,
            "n_packets": 1, "n_bytes": 60,
        })
    );
    assert_eq!(deleted["connection"]["reply"]["n_packets"], 0);
    assert_eq!(next()["event"], "connection_added");
}

#[test]
fn only_who_asks_hears_of_connections() {
    let bench = switch();
    let all = Monitor::start(&bench, &["br0"]);
    pass(&bench, 1, REQUEST);
    let late = Monitor::start(&bench, &["br0", "flows,conntrack"]);
    bench.ok(&["flush-conntrack"]);
    let (ended, duration) = timeless(&late.next());
    assert_eq!(
        ended,
        "event=CONNECTION_DELETED reason=flushed \
         udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=53),\
         reply=(src=10.0.0.2,dst=10.0.0.1,sport=53,dport=1000),zone=7,mark=5,labels=0x9",
        "nobody has counted its packets"
    );
    assert!((0.0..600.0).contains(&duration));
    bench.ok(&["add-flow", "sctp,actions=drop"]);
    let rule = "event=ADDED table=0 cookie=0 sctp actions=drop";
    assert_eq!([all.next(), late.next()], [rule, rule]);
}

#[test]
fn a_slow_reader_is_told_how_many_connections_it_has_missed() {
    const CONNECTIONS: usize = 60_000;
    let bench = switch();
    // The test does not read the output of this monitor.
    let (mut slow, mut unread) = crate::monitor::watch(&bench, &["br0", "conntrack"]);
    let key = parse_match(REQUEST, &ParseContext::default()).expect(REQUEST).key().headers;
    // Neither port has more frames than it holds, so that none is lost.
    let drained = |limit: usize| {
        while bench.ports[1].next_sent().is_some() {}
        bench.ports[1].sent_count() >= limit as u64
    };
    for n in 0..CONNECTIONS {
        let mut key = key;
        key.nw_addrs[..4].copy_from_slice(&(0x0a00_0000 + n as u32).to_be_bytes());
        bench.ports[0].inject(&compose(&key));
        eventually("frames to be sent", || drained(n.saturating_sub(64))).unwrap();
    }
    eventually("the last frames to be sent", || drained(CONNECTIONS)).unwrap();
    let (mut told, mut lost) = (0, 0);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(&mut unread));
    while told + lost < CONNECTIONS {
        let line = lines.next().expect("all events are told or counted").expect("text");
        match line.split_once(" event").filter(|(_, rest)| rest.ends_with(" lost")) {
            Some((count, _)) => lost += count.parse::<usize>().expect("a number"),
            None => {
                assert!(line.starts_with("event=CONNECTION_ADDED udp,"), "{line}");
                told += 1;
            }
        }
    }
    assert_eq!(told + lost, CONNECTIONS);
    assert!(lost > 0, "sixty thousand lines fit no queue");
    crate::monitor::end(&mut slow);
}

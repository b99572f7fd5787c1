//! What somebody who watches hears of connections: that they are made, and why they end, with their packets.

use super::connections::{headers, segment, with_and_without_caches};
use super::*;
use crate::conntrack::{CT_EVENT_QUEUE, CtChange, CtCount, CtCounts, CtEnding, CtEvent};
use flow::ct_filter::CtFilter;
use std::sync::atomic::{AtomicU32, Ordering};

const REQUEST: &str = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_src=1000,tp_dst=53";
const ANSWER: &str = "udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,nw_ttl=64,tp_src=53,tp_dst=1000";

/// Tracks what goes from port 1 to port 2 and back, in zone 3, with a mark.
const RULES: &[&str] = &[
    "ip,ct_state=-trk,actions=ct(zone=3,table=1)",
    "table=1,ct_state=+trk+new,ip,actions=ct(commit,zone=3,exec(set_field:5->ct_mark)),2",
    "table=1,ct_state=+trk+est,in_port=1,actions=2",
    "table=1,ct_state=+trk+est,in_port=2,actions=1",
];

/// The events since the last call, none of which is lost.
fn heard(bench: &Bench) -> Vec<CtEvent> {
    let news = bench.policy.connections().events().take();
    assert_eq!(news.lost, 0);
    news.events
}

/// The events since the last call in words: `+1000` for a connection from this port, `-1000 timeout 60.0s 1/60
/// 0/0` for its end, with the packets and bytes of both directions.
fn words(bench: &Bench) -> Vec<String> {
    let word = |CtEvent { connection, what }: CtEvent| {
        let port = connection.original.source.port;
        let CtChange::Ended { why, duration, counts } = what else { return format!("+{port}") };
        let seconds = duration.as_secs_f64();
        let mut word = format!("-{port} {} {seconds:.1}s", why.name());
        if let Some(CtCounts { original, reply }) = counts {
            for CtCount { packets, bytes } in [original, reply] {
                word += &format!(" {packets}/{bytes}");
            }
        }
        word
    };
    heard(bench).into_iter().map(word).collect()
}

fn watched(bench: &Bench) -> &Bench {
    bench.policy.connections().events().watch();
    bench
}

#[test]
fn a_connection_is_told_when_it_is_made_and_when_its_time_is_over() {
    with_and_without_caches(RULES, |bench| {
        watched(bench);
        bench.ports(1, headers(REQUEST));
        let made = heard(bench);
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].what, CtChange::Made);
        let connection = &made[0].connection;
        assert_eq!((connection.original.zone, connection.mark), (3, 5), "as the rule has written");
        assert_eq!(connection.left, Duration::from_secs(60));
        assert_eq!(connection.original.reversed(), connection.reply);
        // The shortcuts of a worker count as the way round does.
        for _ in 0..20 {
            bench.now += Duration::from_millis(100);
            assert_eq!(bench.ports(2, headers(ANSWER)), [1]);
            assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
        }
        bench.send(0, &[headers(REQUEST); 9]);
        assert!(heard(bench).is_empty());
        bench.now += Duration::from_millis(29_900);
        bench.policy.connections().sweep(bench.now);
        assert!(heard(bench).is_empty());
        bench.now += Duration::from_millis(200);
        bench.policy.connections().sweep(bench.now);
        assert_eq!(words(bench), ["-1000 timeout 32.1s 30/1800 20/1200"]);
    });
}

#[test]
fn a_packet_finds_that_the_time_of_its_connection_is_over() {
    with_and_without_caches(RULES, |bench| {
        watched(bench);
        bench.ports(1, headers(REQUEST));
        bench.now += Duration::from_secs(61);
        bench.ports(1, headers(REQUEST));
        assert_eq!(words(bench), ["+1000", "-1000 timeout 61.0s 1/60 0/0", "+1000"]);
    });
}

#[test]
fn a_tcp_connection_that_both_ends_have_closed_or_one_has_reset_is_told_as_closed() {
    const FIN: u16 = 0x01;
    const SYN: u16 = 0x02;
    const RST: u16 = 0x04;
    const ACK: u16 = 0x10;
    with_and_without_caches(RULES, |bench| {
        watched(bench);
        let mut sent = [0, 0];
        let mut send = |bench: &mut Bench, is_reply: bool, flags, sequence, acknowledgement| {
            let frame = segment(is_reply, flags, sequence, acknowledgement);
            sent[usize::from(is_reply)] += frame.len();
            bench.send_frames(is_reply.into(), &[frame]);
            sent
        };
        send(bench, false, SYN, 100, 0);
        send(bench, true, SYN | ACK, 500, 101);
        for _ in 0..6 {
            send(bench, false, ACK, 101, 501);
            send(bench, true, ACK, 501, 101);
        }
        send(bench, false, FIN | ACK, 101, 501);
        send(bench, true, FIN | ACK, 501, 102);
        let [to, back] = send(bench, false, ACK, 102, 502);
        bench.now += Duration::from_millis(31_000);
        bench.policy.connections().sweep(bench.now);
        let ended = format!("-1000 closed 31.0s 9/{to} 8/{back}");
        assert_eq!(words(bench), ["+1000".to_owned(), ended]);

        // The tuple is used again before the time is over.
        send(bench, false, SYN, 100, 0);
        send(bench, true, RST | ACK, 0, 101);
        send(bench, false, SYN, 9000, 0);
        let told = words(bench);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[1].starts_with("-1000 closed 0.0s 1/"), "{told:?}");
        assert_eq!([&told[0], &told[2]], ["+1000", "+1000"]);

        // A segment that does not belong to the connection is not counted.
        bench.policy.connections().flush(bench.now, CtFilter::default());
        words(bench);
        let [before, _] = send(bench, false, SYN, 100, 0);
        let [after, _] = send(bench, false, SYN | FIN, 100, 0);
        bench.now += Duration::from_secs(31);
        bench.policy.connections().sweep(bench.now);
        let ended = format!("-1000 timeout 31.0s 1/{} 0/0", after - before);
        assert_eq!(words(bench), ["+1000".to_owned(), ended], "half-open");
    });
}

#[test]
fn flushing_forcing_and_a_full_table_are_reasons() {
    let rules = [
        "in_port=1,ip,actions=ct(commit,table=1)",
        "in_port=2,ip,actions=ct(commit,force,table=1)",
        "table=1,actions=3",
    ];
    with_and_without_caches(&rules, |bench| {
        watched(bench);
        bench.ports(1, headers(REQUEST));
        bench.now += Duration::from_secs(2);
        bench.ports(2, headers(ANSWER));
        assert_eq!(words(bench), ["+1000", "-1000 replaced 2.0s 1/60 0/0", "+53"]);
        bench.policy.connections().flush(bench.now, CtFilter::default());
        assert_eq!(words(bench), ["-53 flushed 0.0s 1/60 0/0"]);

        bench.policy.connections().set_max_connections(300);
        for source in 0..1_000u32 {
            let source = format!("nw_src=10.1.{}.{}", source / 250, source % 250);
            bench.ports(1, headers(&REQUEST.replace("nw_src=10.0.0.1", &source)));
        }
        let stats = bench.policy.connections().stats();
        let told = words(bench);
        let with = |word: &str| told.iter().filter(|told| told.starts_with(word)).count() as u64;
        assert_eq!(with("+"), stats.created - 2);
        assert_eq!(with("-1000 evicted 0.0s 1/60 0/0"), stats.evicted);
        assert!(stats.evicted > 100, "{stats:?}");
        assert_eq!(with("+") - with("-"), stats.connections);
    });
}

#[test]
fn a_connection_that_a_limit_refuses_is_not_told() {
    let mut bench = Bench::cached(&["ip,actions=ct(commit,zone=3),2"]);
    watched(&bench);
    bench.policy.connections().set_zone_limit(Some(3), Some(0));
    bench.ports(1, headers(REQUEST));
    assert!(heard(&bench).is_empty());
}

#[test]
fn a_translated_connection_has_both_tuples() {
    let rules = [
        "udp,in_port=1,ct_state=-trk,actions=ct(table=1,nat)",
        "udp,in_port=2,ct_state=-trk,actions=ct(table=1,nat)",
        "table=1,udp,in_port=1,ct_state=+trk+new,actions=ct(commit,nat(src=192.0.2.9:7)),2",
        "table=1,ct_state=+trk+est,udp,in_port=1,actions=2",
        "table=1,ct_state=+trk+est,udp,in_port=2,actions=1",
    ];
    let answer = ANSWER.replace("10.0.0.1", "192.0.2.9").replace("tp_dst=1000", "tp_dst=7");
    with_and_without_caches(&rules, |bench| {
        watched(bench);
        for _ in 0..6 {
            bench.ports(1, headers(REQUEST));
            assert_eq!(bench.ports(2, headers(&answer)), [1]);
        }
        bench.policy.connections().flush(bench.now, CtFilter::default());
        let told = heard(bench);
        let ends = |event: &CtEvent| {
            let reply = event.connection.reply;
            let address = reply.address(&reply.destination).to_string();
            (event.connection.original.source.port, address, reply.destination.port)
        };
        let expected = (1000, "192.0.2.9".to_owned(), 7);
        assert_eq!(told.iter().map(ends).collect::<Vec<_>>(), [expected.clone(), expected]);
        let count = CtCount { packets: 6, bytes: 360 };
        let counts = Some(CtCounts { original: count, reply: count });
        let (why, duration) = (CtEnding::Flushed, Duration::ZERO);
        assert_eq!(told[1].what, CtChange::Ended { why, duration, counts });
    });
}

#[test]
fn who_does_not_watch_hears_nothing_and_nothing_is_counted() {
    let established = |bench: &mut Bench| {
        for _ in 0..4 {
            bench.ports(1, headers(REQUEST));
            bench.ports(2, headers(ANSWER));
        }
    };
    with_and_without_caches(RULES, |bench| {
        established(bench);
        assert!(heard(bench).is_empty());
        // A connection that is older than the watch has no counts, but its age is known.
        watched(bench);
        bench.now += Duration::from_secs(7);
        established(bench);
        bench.policy.connections().flush(bench.now, CtFilter::default());
        assert_eq!(words(bench), ["-1000 flushed 7.0s"]);
        // When nobody watches any longer, what is counted is forgotten, and so is what waits.
        established(bench);
        bench.policy.connections().stop_watching();
        assert!(heard(bench).is_empty());
        assert_eq!(bench.ports(1, headers(REQUEST)), [2]);
        watched(bench);
        bench.policy.connections().flush(bench.now, CtFilter::default());
        assert_eq!(words(bench), ["-1000 flushed 0.0s"]);
    });
}

#[test]
fn events_that_find_no_room_are_counted() {
    let mut bench = Bench::cached(&["ip,actions=ct(commit),2"]);
    let rings = Arc::new(AtomicU32::new(0));
    let bell = Arc::clone(&rings);
    let events = Arc::clone(bench.policy.connections().events());
    events.set_bell(move || {
        bell.fetch_add(1, Ordering::Relaxed);
    });
    events.watch();
    let made = CT_EVENT_QUEUE + 100;
    for n in 0..made {
        let mut headers = headers(REQUEST);
        headers.nw_addrs[..4].copy_from_slice(&(0x0a00_0000 + n as u32).to_be_bytes());
        bench.send(0, &[headers]);
    }
    assert_eq!(bench.policy.connections().stats().connections, made as u64);
    let news = events.take();
    assert_eq!((news.events.len(), news.lost), (CT_EVENT_QUEUE, 100));
    assert_eq!(rings.load(Ordering::Relaxed), 1, "once until somebody has looked");
    bench.ports(1, headers(&REQUEST.replace("10.0.0.1", "10.1.0.1")));
    assert_eq!(words(&bench), ["+1000"], "it goes on");
    assert_eq!(rings.load(Ordering::Relaxed), 2);
}

#[test]
fn the_age_of_a_connection_outlives_the_program() {
    let mut first = Bench::cached(RULES);
    first.ports(1, headers(REQUEST));
    first.now += Duration::from_secs(9);
    let kept = first.policy.connections().keep(first.now);
    let mut second = Bench::cached(RULES);
    watched(&second);
    second.policy.connections().take_over(second.now, &kept);
    assert!(heard(&second).is_empty(), "it was made before");
    second.now += Duration::from_secs(1);
    second.policy.connections().flush(second.now, CtFilter::default());
    assert_eq!(words(&second), ["-1000 flushed 10.0s"]);
}

//! Frames that begin connections go through one pass, and what becomes of them is the same as without caches.

use super::connections::{headers, with_and_without_caches};
use super::*;
use flow::ct_filter::CtFilter;
use std::net::Ipv4Addr;

const RULES: &[&str] = &[
    "cookie=1,ip,ct_state=-trk,actions=ct(table=1)",
    "cookie=1,ipv6,ct_state=-trk,actions=ct(table=1)",
    "cookie=2,table=1,ct_state=+trk+new,ip,actions=ct(commit),2",
    "cookie=2,table=1,ct_state=+trk+new,ipv6,actions=ct(commit),2",
    "cookie=3,table=1,ct_state=+trk+est,actions=3",
];

const UDP: &str = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_src=1000,tp_dst=53";

/// Datagrams that each begin a connection of their own.
fn newcomers(count: u16) -> Vec<Headers> {
    let of = |n| headers(&UDP.replace("tp_src=1000", &format!("tp_src={}", 2_000 + n)));
    (0..count).map(of).collect()
}

/// A switch with these rules that has seen a first connection begin.
fn with_flows(rules: &[&str]) -> Bench {
    let mut bench = Bench::cached(rules);
    bench.ports(1, headers(UDP));
    bench
}

fn begun(bench: &Bench) -> u64 {
    bench.policy.connections().stats().created
}

#[test]
fn a_newcomer_goes_through_one_pass_begins_its_connection_and_is_counted_at_both_flows() {
    let mut bench = with_flows(RULES);
    for key in newcomers(10) {
        assert_eq!(bench.ports(1, key), [2]);
        assert!(!bench.has_gone_round());
    }
    assert_eq!([1, 2, 3].map(|cookie| bench.packets_of(cookie)), [11, 11, 0]);
    assert_eq!(begun(&bench), 11);
    let answer = "udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,nw_ttl=64,tp_src=53,tp_dst=2000";
    assert_eq!(bench.ports(2, headers(answer)), [3], "the connection is known");
    let sent = bench.send(0, &newcomers(60)[10..]);
    assert_eq!(sent[1].len(), 50, "a batch of them");
    assert!(!bench.has_gone_round());
    assert_eq!(begun(&bench), 61);
    let ipv6 = "udp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_dst=2,tp_src=";
    for port in 1..4 {
        assert_eq!(bench.ports(1, headers(&format!("{ipv6}{port}"))), [2]);
    }
    assert!(!bench.has_gone_round(), "IPv6");
    assert_eq!(bench.ports(1, headers("icmp,nw_src=10.0.0.1,nw_dst=10.0.0.3,icmp_type=8")), [2]);
    assert_eq!(begun(&bench), 65);
}

#[test]
fn a_connection_begins_once_in_a_batch() {
    with_and_without_caches(RULES, |bench| {
        bench.ports(1, headers(UDP));
        let new = newcomers(1)[0];
        assert_eq!(bench.send(0, &[new; 3])[1].len(), 3);
        assert_eq!(begun(bench), 2);
        assert_eq!(bench.policy.connections().stats().connections, 2);
    });
}

#[test]
fn what_changes_holds_for_the_next_newcomer() {
    let mut bench = with_flows(RULES);
    let keys = newcomers(4);
    assert_eq!(bench.ports(1, keys[0]), [2]);
    let drop = "table=1,priority=40000,ct_state=+trk+new,ip,actions=drop";
    bench.change(Command::Add, drop);
    assert!(bench.ports(1, keys[1]).is_empty());
    assert!(bench.ports(1, keys[2]).is_empty());
    assert!(!bench.has_gone_round(), "it is dropped in one pass, too");
    bench.change(Command::DeleteStrict, drop);
    assert_eq!(bench.ports(1, keys[3]), [2]);
    bench.policy.connections().flush(bench.now, CtFilter::default());
    assert_eq!(bench.ports(1, keys[0]), [2], "it is new again");
}

#[test]
fn rules_tell_newcomers_apart() {
    let rules = [
        "ip,ct_state=-trk,actions=ct(table=1)",
        "table=1,ct_state=+trk+new,udp,tp_src=2001,actions=ct(commit),3",
        "table=1,priority=1,ct_state=+trk+new,ip,actions=ct(commit),2",
        "table=1,ct_state=+trk+new,udp,ct_tp_src=2003,actions=4",
    ];
    with_and_without_caches(&rules, |bench| {
        for _ in 0..2 {
            let sent = newcomers(5).into_iter().map(|key| bench.ports(1, key)[0]);
            assert_eq!(sent.collect::<Vec<u16>>(), [2, 3, 2, 4, 2]);
            bench.policy.connections().flush(bench.now, CtFilter::default());
        }
    });
}

#[test]
fn limits_hold_for_newcomers() {
    let mut bench = with_flows(RULES);
    bench.policy.connections().set_zone_limit(Some(0), Some(3));
    for key in newcomers(5) {
        assert_eq!(
            bench.ports(1, key),
            [2],
            "a frame goes on although its connection is not remembered"
        );
    }
    assert_eq!(begun(&bench), 3);
}

#[test]
fn a_newcomer_of_a_flood_is_forwarded_and_not_remembered() {
    let mut bench = with_flows(RULES);
    let answer = "udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,nw_ttl=64,tp_src=53,tp_dst=1000";
    let known = [headers(answer); MAX_BATCH];
    bench.send(1, &known);
    let stats = |bench: &Bench| bench.policy.connections().stats();
    let mut sent = 0;
    // More frames of an established connection come than newcomers, and each of these from
    // an address of its own.
    while stats(&bench).refused_port == 0 {
        bench.now += Duration::from_micros(10);
        bench.send(1, &known);
        bench.send(1, &known);
        let new_from = |n| {
            let address = Ipv4Addr::from_bits(0x0b00_0000 + sent + n);
            headers(&UDP.replace("10.0.0.1", &address.to_string()))
        };
        let keys: Vec<Headers> = (0..MAX_BATCH as u32).map(new_from).collect();
        let out = bench.send(0, &keys);
        assert_eq!(out[1].len(), MAX_BATCH, "after {sent}");
        sent += MAX_BATCH as u32;
        assert!(sent < 200_000, "the budget never ends");
    }
    let all = stats(&bench);
    assert_eq!(all.created + all.refused_port, 1 + u64::from(sent));
    assert!(!bench.has_gone_round());
}

#[test]
fn a_newcomer_is_translated() {
    let rules = [
        "ip,ct_state=-trk,actions=ct(table=1,nat)",
        "table=1,ip,ct_state=+trk+new,actions=ct(commit,nat(src=192.0.2.1)),2",
        "table=1,ip,ct_state=+trk+est,actions=3",
    ];
    with_and_without_caches(&rules, |bench| {
        bench.ports(1, headers(UDP));
        for (n, key) in newcomers(3).into_iter().enumerate() {
            let sent = bench.send(0, &[key]);
            assert_eq!(sent[1][0][26..30], [192, 0, 2, 1]);
            assert_eq!(begun(bench), 2 + n as u64);
        }
    });
}

#[test]
fn a_newcomer_that_needs_more_passes_takes_them() {
    let rules = [
        "ip,ct_state=-trk,actions=ct(table=1)",
        "table=1,ip,ct_state=+trk+new,actions=ct(commit,table=2)",
        "table=2,ip,ct_state=+trk+new,actions=2",
    ];
    with_and_without_caches(&rules, |bench| {
        bench.ports(1, headers(UDP));
        for key in newcomers(3) {
            assert_eq!(bench.ports(1, key), [2]);
        }
        assert_eq!(begun(bench), 4);
    });
}

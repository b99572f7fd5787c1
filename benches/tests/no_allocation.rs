//! A packet whose flow is cached costs no allocation, whatever else the switch is busy with.

use benches::null_port::NullSwitch;
use benches::rules::{add, matching, output, pipeline_with, pop_label};
use benches::workload::{Family, MACS, Order, Tuple, Workload};
use flow::Match;
use flow::key::KeyOfPort;
use flow::metric::CacheMetric;
use flow::text::{ParseContext, parse_actions, parse_flow};
use flow::types::{OfPort, PortNo};
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::policy::BridgeId;
use std::sync::Arc;

fn check(family: Family, flows: u32) {
    // A frame with a label is looked up twice.
    let (first, passes) = match family {
        Family::Mpls => (pop_label(), 2),
        _ => (output(2), 1),
    };
    let rules = [add(0, 1, Match::any(), first), add(1, 1, Match::any(), output(2))];
    let policy = Arc::new(pipeline_with(3, &rules));
    let datapath = Datapath::new(Arc::clone(&policy), CacheConfig::default(), 1, 42);
    let mut switch = NullSwitch::new(datapath, family);
    let mut workload = Workload::numbered(flows, Order::Rotation);
    let mut round = |switch: &mut NullSwitch| {
        for _ in 0..4 * flows.div_ceil(64) {
            switch.poll(&mut workload);
        }
    };
    round(&mut switch);
    let before = switch.datapath.stats()[CacheMetric::Hits].get();
    let during = allocation_counter::measure(|| round(&mut switch));
    assert_eq!(during.count_total, 0, "{family:?}, {flows} flows");
    let hits = switch.datapath.stats()[CacheMetric::Hits].get() - before;
    assert_eq!(hits, u64::from(passes * 4 * flows.div_ceil(64) * 64), "all of them hits");

    // A flow that a change does not concern is stamped anew, also without allocating.
    let elsewhere = matching(|key, mask| {
        key.in_port.set(OfPort(3));
        mask.bits.in_port = KeyOfPort::ALL_BITS;
    });
    policy
        .bridge(BridgeId::FIRST)
        .apply(&[add(0, 9, elsewhere, output(1))], switch.now())
        .expect("a valid rule");
    // One batch reads what changed.
    round(&mut switch);
    assert_eq!(allocation_counter::measure(|| round(&mut switch)).count_total, 0);
    assert_eq!(switch.datapath.stats()[CacheMetric::Retranslations].get(), 0);
}

#[test]
fn a_frame_of_an_established_connection_allocates_nothing() {
    let rules = [
        "ip,ct_state=-trk,actions=ct(table=1,nat)",
        "table=1,ip,ct_state=+trk+new,actions=ct(commit),output:2",
        "table=1,ip,ct_state=+trk+est,actions=output:2",
    ];
    let parse = |text| parse_flow(text, &ParseContext::default()).expect("a rule");
    let policy = Arc::new(pipeline_with(3, &rules.map(parse)));
    let datapath = Datapath::new(policy, CacheConfig::default(), 1, 42);
    let mut switch = NullSwitch::new(datapath, Family::Tracked);
    let there = |n| Tuple::numbered(n as u32);
    let back = |n| {
        let Tuple { src, dst, sport, dport, proto } = there(n);
        Tuple { src: dst, dst: src, sport: dport, dport: sport, proto }
    };
    let round = |switch: &mut NullSwitch| {
        for _ in 0..8 {
            switch.poll_with(64, |n| (there(n), MACS));
            switch.poll_on(PortNo(2), 64, |n| (back(n), MACS));
        }
    };
    round(&mut switch);
    let before = switch.datapath.stats()[CacheMetric::Hits].get();
    assert_eq!(allocation_counter::measure(|| round(&mut switch)).count_total, 0);
    let hits = switch.datapath.stats()[CacheMetric::Hits].get() - before;
    assert_eq!(hits, 2 * 2 * 8 * 64, "all of them hit in both passes");
}

/// Frames that go to one port as they came and to another one with a new address: each costs a copy.
#[test]
fn a_hit_that_copies_allocates_nothing() {
    let actions =
        parse_actions("output:2,mod_dl_src:02:00:00:00:00:99,output:3", &ParseContext::default());
    let rules = [add(0, 1, Match::any(), actions.expect("three actions"))];
    let policy = Arc::new(pipeline_with(3, &rules));
    let mut switch =
        NullSwitch::new(Datapath::new(policy, CacheConfig::default(), 1, 42), Family::V4);
    let mut workload = Workload::numbered(1, Order::Rotation);
    let mut round = |switch: &mut NullSwitch| {
        for _ in 0..4 {
            switch.poll(&mut workload);
        }
    };
    round(&mut switch);
    assert_eq!(allocation_counter::measure(|| round(&mut switch)).count_total, 0);
}

#[test]
fn a_hit_allocates_nothing() {
    for family in [Family::V4, Family::V6, Family::Arp, Family::Mpls] {
        check(family, 1);
        check(family, 1_000);
    }
}

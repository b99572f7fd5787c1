//! Every frame has one outcome, and the sums match.

use crate::bench::{Bench, dropped, frame, wait};
use flow::Match;
use flow::flow_mod::{Command, FlowMod};
use flow::metric::CacheMetric;
use flow::types::TableId;
use flow::verdict::DropReason;
use flowtable::policy::TableRef;
use ports::dummy::DummyOptions;
use switchd::desired::DEFAULT_BRIDGE;

#[test]
fn received_is_sent_plus_dropped_on_every_port() {
    let bench = Bench::new(4);
    bench.add(&["priority=9,dl_src=02:00:00:00:00:03,actions=drop"]);
    let mut injected = 0;
    for n in 0..2000u32 {
        let src = (n % 5) as u8;
        let port = &bench.ports[(n % 4) as usize];
        match n % 7 {
            // Shorter than an Ethernet header.
            0 => port.inject(&[1, 2, 3]),
            1 => port.inject(&frame(src, src, n)),
            _ => port.inject(&frame(src, (n % 6) as u8, n)),
        }
        injected += 1;
    }
    let views = bench.settle(injected);
    for port in &views {
        assert_eq!(port.totals.rx_packets, port.totals.rx_sent + dropped(port), "{}", port.name);
    }
    let reason = |wanted: DropReason| -> u64 {
        views
            .iter()
            .flat_map(|p| p.totals.drops())
            .filter(|(r, _)| *r == wanted)
            .map(|(_, n)| n)
            .sum()
    };
    assert_eq!(reason(DropReason::Runt), 2000_u64.div_ceil(7));
    assert!(reason(DropReason::RuleDrop) > 0);
    assert!(reason(DropReason::SamePort) > 0);
    let sent: u64 = bench.ports.iter().map(|p| p.sent_count()).sum();
    assert_eq!(sent, views.iter().map(|p| p.totals.tx_packets).sum::<u64>());
}

#[test]
fn an_output_that_fails_counts_at_its_port_and_drops_only_if_it_was_the_last() {
    let small = DummyOptions { capacity: 10, ..DummyOptions::default() };
    let bench = Bench::with_options(&[DummyOptions::default(), small, DummyOptions::default()]);
    bench.add(&["priority=9,in_port=1,actions=2", "priority=9,in_port=3,actions=1,2"]);
    for n in 0..100 {
        bench.ports[0].inject(&frame(1, 2, n));
    }
    let views = bench.settle(100);
    assert_eq!(views[0].totals.rx_sent, 10);
    assert_eq!(views[0].totals.drops().collect::<Vec<_>>(), [(DropReason::TxQueueFull, 90)]);
    assert_eq!(views[1].totals.failures().collect::<Vec<_>>(), [(DropReason::TxQueueFull, 90)]);
    for n in 0..50 {
        bench.ports[2].inject(&frame(3, 2, n));
    }
    let views = bench.settle(150);
    assert_eq!(views[2].totals.rx_sent, 50, "the other output took them");
    assert_eq!(dropped(&views[2]), 0);
}

#[test]
fn rules_count_what_the_cache_forwards() {
    let bench = Bench::new(2);
    bench.add(&["priority=9,in_port=1,actions=2"]);
    for n in 0..1000 {
        bench.ports[0].inject(&frame(1, 2, n));
    }
    bench.settle(1000);
    bench.switch.settle();
    let every = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
    let bridge = bench.switch.on(DEFAULT_BRIDGE).expect("the bridge of every test").bridge();
    let (mut walk, mut totals) = (bridge.walk(&every), Vec::new());
    while walk.next_slice(|rule| totals.push((rule.priority, rule.value.stats.totals()))) {}
    assert_eq!(totals.iter().max(), Some(&(9, (1000, 60_000))));
    let hits: u64 = bench.switch.caches().iter().map(|counts| counts[CacheMetric::Hits]).sum();
    assert!(hits >= 990, "{hits} hits");
}

#[test]
fn a_port_that_loses_its_link_costs_others_nothing() {
    let bench = Bench::new(3);
    bench.add(&["priority=9,in_port=1,actions=2,3"]);
    bench.ports[1].set_link_up(false);
    for n in 0..100 {
        bench.ports[0].inject(&frame(1, 9, n));
    }
    bench.settle(100);
    wait(|| bench.ports[2].sent_count() == 100);
    assert_eq!(bench.ports[1].sent_count(), 0);
}

#[test]
fn tables_count_what_the_cache_forwards() {
    let bench = Bench::new(2);
    bench
        .add(&["priority=9,in_port=1,actions=resubmit(,1),resubmit(,7),2", "table=7,actions=drop"]);
    for n in 0..1000 {
        bench.ports[0].inject(&frame(1, 2, n));
    }
    bench.settle(1000);
    bench.switch.settle();
    let lookups = |n| bench.switch.policy().lookups().get(table(&bench.switch, n));
    assert_eq!(lookups(0), (1000, 1000));
    assert_eq!(lookups(1), (1000, 0));
    assert_eq!(lookups(7), (1000, 1000));
    assert_eq!(lookups(8), (0, 0));
}

fn table(switch: &switchd::switch::Switch, number: u8) -> TableRef {
    TableRef {
        bridge: switch.on(DEFAULT_BRIDGE).expect("the bridge of every test").bridge().id(),
        table: TableId::new(number).unwrap(),
    }
}

//! Rules that packets make (`learn`), and the actions beside it: `fin_timeout`, `multipath`, `bundle`.

use super::*;
use flow::types::TableId;
use packet::wire::tcp;

/// A learning switch in rules.
const LEARN: &str = "table=0,actions=learn(table=1,hard_timeout=10,cookie=0x9,priority=5,\
                     NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),resubmit(,1)";
const FLOOD: &str = "table=1,priority=0,actions=flood";

const CONFIGS: [CacheConfig; 2] = [
    CacheConfig { emc_entries: 1024, max_flows: 1024, max_probes: 8, upcalls: None },
    CacheConfig::OFF,
];

impl Bench {
    /// The rules of table 1 with the cookie that the learned ones have, as `dump-flows`
    /// prints their matches and actions.
    fn learned(&self) -> Vec<String> {
        let snapshot = self.bridge(0).snapshot();
        let rules = snapshot.tables().rules(TableId::new(1), snapshot.version());
        let text = |entry: crate::classifier::Entry<'_, Arc<crate::policy::rule::Rule>>| {
            let mut text = String::new();
            flow::text::write_match(&mut text, &entry.matches, 0, &flow::text::NoPortNames);
            text.push(' ');
            flow::text::write_actions(&mut text, &entry.value.actions, &Default::default());
            text
        };
        let mut learned: Vec<_> =
            rules.filter(|entry| entry.value.cookie.0 == 9).map(text).collect();
        learned.sort();
        learned
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        // As the monitor does: first the traffic, then the timeouts.
        self.datapath.registry().sweep(&self.policy, self.now, Duration::from_secs(60));
        self.policy.expire(self.now);
    }
}

#[test]
fn the_next_frame_sees_what_a_packet_has_taught() {
    for config in CONFIGS {
        let mut bench = Bench::new(config, &[LEARN, FLOOD]);
        assert_eq!(bench.ports(1, udp(1, 2, 80)), [2, 3, 4]);
        assert_eq!(bench.learned().len(), 1);
        assert_eq!(bench.ports(2, udp(2, 1, 80)), [1]);
        assert_eq!(bench.ports(1, udp(1, 2, 80)), [2], "the flow of the first packet is stale");
        assert_eq!(bench.learned().len(), 2);
        // The host moves.
        assert_eq!(bench.ports(3, udp(1, 2, 80)), [2]);
        assert_eq!(bench.ports(2, udp(2, 1, 80)), [3]);
    }
}

#[test]
fn traffic_keeps_a_learned_rule_and_its_end_lets_it_expire() {
    for config in CONFIGS {
        let mut bench = Bench::new(config, &[LEARN, FLOOD]);
        for _ in 0..5 {
            bench.ports(1, udp(1, 2, 80));
            bench.wait(6);
            assert_eq!(bench.learned().len(), 1, "{config:?}");
        }
        bench.wait(6);
        assert_eq!(bench.learned().len(), 0, "no packet for 12 seconds");
        bench.ports(1, udp(1, 2, 80));
        assert_eq!(bench.learned().len(), 1, "the flow may be cached still");
    }
}

#[test]
fn a_rule_that_somebody_deletes_or_changes_is_learned_again() {
    for config in CONFIGS {
        let mut bench = Bench::new(config, &[LEARN, FLOOD]);
        bench.ports(1, udp(1, 2, 80));
        let learned = bench.learned();
        bench.ports(1, udp(1, 2, 80));
        bench.change(Command::Delete, "table=1,actions=drop");
        assert_eq!(bench.learned().len(), 0);
        bench.ports(1, udp(1, 2, 80));
        assert_eq!(bench.learned(), learned);
        bench.change(Command::Modify, "table=1,actions=output:4");
        bench.ports(1, udp(1, 2, 80));
        assert_eq!(bench.learned(), learned);
    }
}

#[test]
fn a_learned_rule_names_its_teacher_and_a_cached_flow_learns_without_changes() {
    let mut bench = Bench::cached(&[LEARN, FLOOD]);
    bench.ports(1, udp(1, 2, 80));
    let generation = bench.policy.generation();
    bench.ports(1, udp(1, 2, 80));
    bench.ports(1, udp(1, 2, 80));
    assert_eq!(bench.policy.generation(), generation, "nothing has changed");
    assert_eq!(bench.stats()[CacheMetric::Learned].get(), 1);
    let snapshot = bench.bridge(0).snapshot();
    let rules = snapshot.tables().rules(TableId::new(1), snapshot.version());
    let teachers: Vec<_> = rules.filter_map(|rule| rule.value.learned_by.clone()).collect();
    assert_eq!(teachers.len(), 1);
    assert_eq!(&*teachers[0].text, "table=0,priority=32768");
}

#[test]
fn a_limit_counts_rules_with_the_cookie_and_tells_the_result() {
    const LIMITED: &str = "table=0,actions=learn(table=1,cookie=0x9,limit=2,idle_timeout=10,\
                           result_dst=reg0[0],NXM_OF_ETH_SRC[],load:1->reg1),resubmit(,2)";
    let rest = ["table=2,reg0=1,actions=output:2", "table=2,reg0=0,actions=output:3"];
    for config in CONFIGS {
        let mut bench = Bench::new(config, &[LIMITED, rest[0], rest[1]]);
        let ports: Vec<_> = (1..=4).map(|host| bench.ports(1, udp(host, 9, 80))).collect();
        assert_eq!(ports, [[2], [2], [3], [3]]);
        assert_eq!(bench.ports(1, udp(1, 9, 80)), [2]);
        assert_eq!(bench.ports(1, udp(3, 9, 80)), [3]);
        assert_eq!(bench.learned().len(), 2);
        bench.wait(11);
        assert_eq!(bench.learned().len(), 0);
        assert_eq!(bench.ports(1, udp(3, 9, 80)), [2], "there is room again");
    }
}

#[test]
fn what_was_learned_goes_with_its_last_teacher() {
    const DELETING: [&str; 2] = [
        "table=0,priority=1,actions=learn(table=1,cookie=0x9,delete_learned,NXM_OF_ETH_SRC[])",
        "table=0,priority=2,udp,actions=learn(table=1,cookie=0x9,delete_learned,NXM_OF_ETH_SRC[])",
    ];
    let mut bench = Bench::cached(&DELETING);
    bench.ports(1, udp(1, 9, 80));
    bench.delete("table=0,priority=2,udp");
    assert_eq!(bench.learned().len(), 1, "another rule learns so");
    bench.change(Command::ModifyStrict, "table=0,priority=1,actions=output:2");
    assert_eq!(bench.learned().len(), 0);
    // A change that is taken back leaves the counts as they were.
    bench.change(Command::Add, DELETING[0]);
    bench.ports(1, udp(1, 9, 80));
    drop(bench.bridge(0).begin());
    let mut transaction = bench.bridge(0).begin();
    let all = FlowMod::new(Command::Delete, 0, flow::Match::any(), Vec::new());
    transaction.apply(&all, bench.now).expect("prepared");
    drop(transaction);
    assert_eq!(bench.learned().len(), 1);
    bench.delete("table=0,priority=1");
    assert_eq!(bench.learned().len(), 0);
}

#[test]
fn the_end_of_a_connection_shortens_the_timeouts_of_its_rule() {
    const RULE: &str = "tcp,idle_timeout=60,cookie=0x9,table=0,\
                        actions=fin_timeout(idle_timeout=2,hard_timeout=5),output:2";
    for config in CONFIGS {
        let mut bench = Bench::new(config, &[RULE]);
        let segment = |flags: u16| {
            let mut key = udp(1, 2, 80);
            key.nw_proto = 6;
            key.tcp_flags = flags.into();
            key
        };
        let timeouts = |bench: &Bench| {
            let snapshot = bench.bridge(0).snapshot();
            let mut rules = snapshot.tables().rules(None, snapshot.version());
            rules.next().map(|rule| (rule.value.idle_timeout(), rule.value.hard_timeout()))
        };
        assert_eq!(bench.ports(1, segment(tcp::flag::SYN)), [2]);
        assert_eq!(bench.ports(1, segment(tcp::flag::ACK)), [2]);
        assert_eq!(timeouts(&bench), Some((60, 0)));
        assert_eq!(bench.ports(1, segment(tcp::flag::FIN | tcp::flag::ACK)), [2]);
        assert_eq!(timeouts(&bench), Some((2, 5)));
        bench.wait(3);
        assert_eq!(timeouts(&bench), None);
    }
}

#[test]
fn a_bundle_follows_the_state_of_its_ports() {
    let link = |bench: &Bench, port: u16, is_up: bool| {
        bench.bridge(0).with_ports(|ports| ports.get_mut(OfPort(port)).unwrap().link_up = is_up);
    };
    const ACTIVE: &str = "actions=bundle(eth_src,0,active_backup,ofport,members:2,3)";
    const LOADED: &str = "actions=bundle_load(symmetric_l4,0,hrw,ofport,reg0[0..15],members:2,3),\
                          output:reg0[0..15]";
    for rule in [ACTIVE, LOADED] {
        for config in CONFIGS {
            let mut bench = Bench::new(config, &[rule]);
            link(&bench, 3, false);
            assert_eq!(bench.ports(1, udp(1, 2, 80)), [2], "{rule}");
            link(&bench, 3, true);
            link(&bench, 2, false);
            assert_eq!(bench.ports(1, udp(1, 2, 80)), [3], "{rule}");
            link(&bench, 3, false);
            assert_eq!(bench.ports(1, udp(1, 2, 80)), [0u16; 0], "{rule}");
        }
    }
}

#[test]
fn links_are_chosen_by_the_fields_that_are_named() {
    for algorithm in ["modulo_n", "hash_threshold", "hrw", "iter_hash"] {
        let rule =
            format!("table=0,actions=multipath(nw_src,7,{algorithm},3,0,reg0[0..7]),resubmit(,1)");
        let mut rules = vec![rule];
        rules.extend((0..3).map(|n| format!("table=1,reg0={n},actions=output:{}", n + 2)));
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let mut bench = Bench::cached(&rules);
        let chosen: Vec<_> = (1..60).map(|src| bench.ports(1, udp(src, 9, 80))).collect();
        for port in 2..=4 {
            assert!(chosen.contains(&vec![port]), "{algorithm}: no flow takes link {port}");
        }
        assert_eq!(bench.ports(1, udp(1, 9, 81)), chosen[0], "{algorithm}: only the source counts");
    }
}

#[test]
fn a_flood_fills_no_table_with_learned_rules() {
    const RULE: &str = "table=0,actions=learn(table=1,cookie=0x9,NXM_OF_ETH_SRC[]),output:2";
    let mut bench = Bench::cached(&[RULE]);
    let host = |n: usize| {
        let mut key = udp(1, 2, 80);
        key.dl_src = [2, 1, 0, 0, (n >> 8) as u8, n as u8];
        key
    };
    let max = crate::policy::learning::MAX_LEARNED;
    for n in 0..max + 10 {
        assert_eq!(bench.ports(1, host(n)), [2], "the packet goes its way");
    }
    assert_eq!(bench.learned().len(), max);
    assert_eq!(bench.stats()[CacheMetric::Learned].get(), max as u64);
    assert_eq!(bench.stats()[CacheMetric::LearningRefused].get(), 10);
    // What is known is refreshed, and what goes leaves room.
    assert_eq!(bench.ports(1, host(0)), [2]);
    bench
        .change(Command::Delete, "table=1,dl_src=02:01:00:00:00:00/ff:ff:ff:ff:ff:f0,actions=drop");
    assert_eq!(bench.ports(1, host(max + 1)), [2]);
    assert_eq!(bench.learned().len(), max - 15);
}

//! Meters: what they drop, remark and count, cached or not, alone or several, while they are changed.

use super::*;
use crate::policy::meters::MeterEntry;
use flow::meter::{MeterMod, MeterStats};
use flow::text::{MeterCommand, parse_meter};
use flow::types::{MeterId, TableId};

impl Bench {
    fn meter(&self, command: MeterCommand, text: &str) -> Result<(), FlowModError> {
        let request: MeterMod = parse_meter(text, command).expect(text);
        let mut transaction = self.bridge(0).begin();
        transaction.apply_meter(&request, self.now)?;
        transaction.commit();
        Ok(())
    }

    fn with_meters(config: CacheConfig, meters: &[&str], rules: &[&str]) -> Self {
        let bench = Self::new(config, &[]);
        meters.iter().for_each(|text| bench.meter(MeterCommand::Add, text).expect(text));
        rules.iter().for_each(|rule| bench.change(Command::Add, rule));
        bench
    }

    fn stats_of(&self, id: u32) -> MeterStats {
        self.datapath.registry().push_stats();
        let walk = self.bridge(0).walk_meters();
        let entry: Arc<MeterEntry> = walk.get(MeterId(id)).expect("the meter exists");
        entry.to_stats(walk.users_of(MeterId(id)), self.now)
    }

    /// Sends `count` equal frames as one batch. Returns how many left port 2.
    fn burst(&mut self, count: usize) -> usize {
        self.send(0, &vec![udp(1, 2, 80); count])[1].len()
    }
}

const CONFIGS: [CacheConfig; 2] = [
    CacheConfig { emc_entries: 1024, max_flows: 1024, max_probes: 8, upcalls: None },
    CacheConfig::OFF,
];

/// Three packets at once, and one a second.
const THREE: &str = "meter=1,pktps,burst,stats,bands=type=drop,rate=1,burst_size=3";

#[test]
fn packets_beyond_the_rate_are_dropped_for_a_reason_of_their_own() {
    for config in CONFIGS {
        let mut bench =
            Bench::with_meters(config, &[THREE], &["in_port=1,actions=meter:1,output:2"]);
        assert_eq!(bench.burst(5), 3);
        assert_eq!(bench.burst(2), 0);
        bench.now += Duration::from_secs(2);
        assert_eq!(bench.burst(5), 2);
        assert_eq!(bench.counters[0].rx_dropped(DropReason::Meter).get(), 7);
        let stats = bench.stats_of(1);
        let size = compose(&udp(1, 2, 80)).len() as u64;
        assert_eq!((stats.packets, stats.bytes), (12, 12 * size));
        assert_eq!(stats.bands, [(7, 7 * size)]);
        assert_eq!((stats.flow_count, stats.duration), (1, Duration::from_secs(2)));
        assert_eq!(bench.packets_of(0), 12, "the rule counts what the meter drops, too");
    }
}

#[test]
fn all_rules_and_flows_of_a_meter_share_its_rate() {
    let rules = [
        "in_port=1,udp,udp_dst=80,actions=meter:1,output:2",
        "in_port=1,udp,udp_dst=81,actions=meter:1,output:2",
    ];
    let mut bench = Bench::with_meters(CONFIGS[0], &[THREE], &rules);
    let sent = bench.send(0, &[udp(1, 2, 80), udp(1, 2, 81), udp(1, 2, 80), udp(1, 2, 81)]);
    assert_eq!(sent[1].len(), 3);
    assert_eq!(bench.stats_of(1).flow_count, 2);
}

#[test]
fn a_meter_in_front_of_nothing_counts() {
    let mut bench = Bench::with_meters(CONFIGS[0], &[THREE], &["in_port=1,actions=meter:1"]);
    assert_eq!(bench.burst(4), 0);
    assert_eq!(bench.stats_of(1).packets, 4);
    let drops = [DropReason::RuleDrop, DropReason::Meter];
    assert_eq!(drops.map(|why| bench.counters[0].rx_dropped(why).get()), [3, 1]);
}

#[test]
fn each_meter_on_the_way_counts_what_reaches_it() {
    let two = "meter=2,pktps,burst,bands=type=drop,rate=1,burst_size=2";
    let rules = [
        "in_port=1,actions=meter:1,output:3,goto_table:1",
        "table=1,ip,actions=meter:2,mod_nw_ttl:9,output:2",
    ];
    for config in CONFIGS {
        let mut bench = Bench::with_meters(config, &[THREE, two], &rules);
        let sent = bench.send(0, &[udp(1, 2, 80); 5]);
        assert_eq!((sent[2].len(), sent[1].len()), (3, 2));
        assert_eq!(
            bench.counters[0].rx_dropped(DropReason::Meter).get(),
            2,
            "one was sent to port 3"
        );
        let (first, second) = (bench.stats_of(1), bench.stats_of(2));
        assert_eq!((first.packets, first.bands[0].0), (5, 2));
        assert_eq!((second.packets, second.bands[0].0), (3, 1));
    }
}

#[test]
fn a_changed_meter_begins_anew_and_a_deleted_one_takes_its_rules_along() {
    for config in CONFIGS {
        let rules = ["in_port=1,actions=meter:1,output:2", "priority=0,actions=output:3"];
        let mut bench = Bench::with_meters(config, &[THREE], &rules);
        assert_eq!(bench.burst(5), 3);
        bench.now += Duration::from_millis(500);
        let four = "meter=1,pktps,burst,bands=type=drop,rate=1,burst_size=4";
        bench.meter(MeterCommand::Modify, four).expect("it exists");
        assert_eq!(bench.burst(5), 4);
        let stats = bench.stats_of(1);
        assert_eq!((stats.packets, stats.bands[0].0), (5, 1), "as in Open vSwitch");
        assert_eq!(stats.duration, Duration::from_millis(500), "the age stays");
        bench.meter(MeterCommand::Delete, "meter=1").expect("no refusal");
        let sent = bench.send(0, &[udp(1, 2, 80); 9]);
        assert_eq!((sent[1].len(), sent[2].len()), (0, 9));
        assert_eq!(
            bench.policy.bridge(BridgeId::FIRST).snapshot().tables().len(TableId::default()),
            1
        );
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let bench = Bench::with_meters(CONFIGS[0], &[THREE], &[]);
    let refused = |command, text| bench.meter(command, text).expect_err(text);
    let (add, modify) = (MeterCommand::Add, MeterCommand::Modify);
    assert_eq!(refused(add, THREE), FlowModError::MeterExists(MeterId(1)));
    let unknown = "meter=9,kbps,bands=type=drop,rate=1";
    assert_eq!(refused(modify, unknown), FlowModError::NoSuchMeter(MeterId(9)));
    let rule = bench.change_in(0, Command::Add, "actions=meter:9,output:2");
    assert_eq!(rule, Err(FlowModError::UnknownMeter(MeterId(9))));
    let rule = bench.change_in(0, Command::Add, "actions=controller(meter_id=9)");
    assert_eq!(rule, Err(FlowModError::UnknownMeter(MeterId(9))));
    bench.meter(MeterCommand::Delete, "meter=9").expect("no error if there is none");
}

/// The DSCP of the frames that left port 2.
fn dscps(frames: &[Vec<Vec<u8>>]) -> Vec<u8> {
    frames[1].iter().map(|frame| frame[15] >> 2).collect()
}

#[test]
fn the_drop_precedence_grows_and_checksums_stay_right() {
    let remark = "meter=1,pktps,burst,bands=type=dscp_remark,rate=1,burst_size=1,prec_level=1,type=drop,rate=3,burst_size=3";
    for (dscp, expected) in [
        (10, [10, 12, 12]),
        (12, [12, 14, 14]),
        (14, [14, 14, 14]),
        (34, [34, 36, 36]),
        // No assured forwarding: expedited forwarding, class selectors, best effort, an odd one.
        (46, [46, 46, 46]),
        (8, [8, 8, 8]),
        (0, [0, 0, 0]),
        (11, [11, 11, 11]),
    ] {
        let rules = ["in_port=1,actions=meter:1,output:2"];
        let mut bench = Bench::with_meters(CONFIGS[0], &[remark], &rules);
        let key = Headers { nw_tos: dscp << 2 | 1, ..udp(1, 2, 80) };
        let sent = bench.send(0, &[key; 5]);
        assert_eq!(dscps(&sent), expected, "{dscp}");
        for frame in &sent[1] {
            assert_eq!(frame[15] & 3, 1, "ECN stays");
            let sum: u32 =
                frame[14..34].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "checksum of the IPv4 header");
        }
        let stats = bench.stats_of(1);
        assert_eq!((stats.bands[0].0, stats.bands[1].0), (2, 2), "each packet counts at one band");
    }
}

#[test]
fn a_remark_changes_no_copy_that_was_sent_before() {
    let remark = "meter=1,pktps,burst,bands=type=dscp_remark,rate=1,burst_size=1,prec_level=2";
    let rules = ["in_port=1,actions=output:3,goto_table:1", "table=1,actions=meter:1,output:2"];
    let mut bench = Bench::with_meters(CONFIGS[0], &[remark], &rules);
    let key = Headers { nw_tos: 10 << 2, ..udp(1, 2, 80) };
    let sent = bench.send(0, &[key, key]);
    assert_eq!(dscps(&sent), [10, 14]);
    assert!(sent[2].iter().all(|frame| frame[15] >> 2 == 10));
}

#[test]
fn a_hit_is_a_hit_with_a_meter() {
    let rules = ["in_port=1,actions=meter:1,output:2"];
    let mut bench = Bench::with_meters(CONFIGS[0], &[THREE], &rules);
    bench.burst(1);
    let misses = bench.stats()[CacheMetric::Misses].get();
    bench.burst(20);
    assert_eq!(bench.stats()[CacheMetric::Misses].get(), misses);
}

#[test]
fn the_meter_of_the_controller_limits_packet_ins() {
    let meter = "meter=controller,pktps,burst,bands=type=drop,rate=1,burst_size=2";
    let mut bench = Bench::with_meters(
        CONFIGS[0],
        &[meter, THREE],
        &[
            "in_port=1,udp,udp_dst=80,actions=controller",
            "in_port=1,udp,udp_dst=81,actions=controller(meter_id=1)",
        ],
    );
    bench.send(0, &[udp(1, 2, 80); 5]);
    assert_eq!(bench.counters[0].rx_dropped(DropReason::Meter).get(), 3);
    bench.send(0, &[udp(1, 2, 81); 5]);
    assert_eq!(bench.counters[0].rx_dropped(DropReason::Meter).get(), 3 + 2);
    let stats = bench.stats_of(MeterId::CONTROLLER.0);
    assert_eq!((stats.packets, stats.bands[0].0, stats.flow_count), (5, 3, 0));
    let stats = bench.stats_of(1);
    assert_eq!((stats.packets, stats.flow_count), (5, 1));
}

#[test]
fn the_meter_of_the_slow_path_limits_packets_that_are_translated() {
    for config in CONFIGS {
        let meter = "meter=slowpath,pktps,burst,bands=type=drop,rate=1,burst_size=2";
        let rules = [
            "in_port=1,udp,udp_dst=80,actions=output:2",
            "in_port=1,udp,udp_dst=81,actions=output:2",
            "in_port=1,udp,udp_dst=82,actions=output:2",
        ];
        let mut bench = Bench::with_meters(config, &[meter], &rules);
        let keys: Vec<_> = (80..=82).map(|port| udp(1, 2, port)).collect();
        assert_eq!(bench.send(0, &keys)[1].len(), 2);
        assert_eq!(bench.counters[0].rx_dropped(DropReason::Meter).get(), 1);
        let is_cached = config.max_flows > 0;
        assert_eq!(bench.send(0, &keys[..2])[1].len(), if is_cached { 2 } else { 0 });
        let stats = bench.stats_of(MeterId::SLOWPATH.0);
        let expected = if is_cached { (3, 1) } else { (5, 3) };
        assert_eq!((stats.packets, stats.bands[0].0), expected);
        bench.meter(MeterCommand::Delete, "meter=slowpath").expect("no refusal");
        assert_eq!(bench.send(0, &keys)[1].len(), 3);
    }
}

#[test]
fn a_change_that_is_not_committed_leaves_meters_and_rules() {
    let bench = Bench::with_meters(CONFIGS[0], &[THREE], &["in_port=1,actions=meter:1,output:2"]);
    let request = |command, text| parse_meter(text, command).expect(text);
    let mut transaction = bench.bridge(0).begin();
    for request in [
        request(MeterCommand::Delete, "meter=1"),
        request(MeterCommand::Add, "meter=5,kbps,bands=type=drop,rate=1"),
        request(MeterCommand::Modify, "meter=5,kbps,bands=type=drop,rate=2"),
        request(MeterCommand::Delete, ""),
        request(MeterCommand::Add, "meter=1,kbps,bands=type=drop,rate=2"),
    ] {
        transaction.apply_meter(&request, bench.now).expect("each is allowed");
    }
    drop(transaction);
    assert_eq!(bench.stats_of(1).flow_count, 1);
    assert!(bench.bridge(0).walk_meters().get(MeterId(5)).is_none());
    bench.meter(MeterCommand::Add, "meter=5,kbps,bands=type=drop,rate=1").expect("it is free");
}

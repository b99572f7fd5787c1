//! Frames that are looked up again: how they leave, in which order, within which limits.

use super::*;
use crate::conntrack::{Connections, Tracker};
use crate::policy::Conduct;
use flow::text::{GroupCommand, parse_group};
use proptest::prelude::*;

/// A UDP packet behind `labels` labels; the first of them is `label`.
fn behind_labels(packet: &Headers, label: u32, labels: usize) -> Vec<u8> {
    let mut bytes = compose(packet);
    bytes[12..14].copy_from_slice(&[0x88, 0x47]);
    for n in 0..labels {
        let is_bottom = n == 0;
        let label = if n + 1 == labels { label } else { 100 + n as u32 };
        let entry = label << 12 | u32::from(is_bottom) << 8 | 64;
        bytes.splice(14..14, entry.to_be_bytes());
    }
    bytes
}

fn mpls(label: u32) -> Headers {
    let text = format!("mpls,dl_dst=02:00:00:00:00:02,mpls_label={label},mpls_bos=1");
    parse_match(&text, &ParseContext::default()).unwrap().key().headers
}

#[test]
fn every_branch_that_goes_round_leaves() {
    let mut bench = Bench::cached(&[
        "mpls,actions=clone(pop_mpls:0x0800,resubmit(,1)),pop_mpls:0x0800,resubmit(,2),output:4",
        "table=1,actions=output:2",
        "table=2,actions=output:3",
    ]);
    let context = ParseContext::default();
    let packet = parse_match("mpls,mpls_label=5,mpls_bos=1", &context).unwrap().key().headers;
    for _ in 0..2 {
        assert_eq!(bench.ports(1, packet), [2, 3, 4]);
    }
}

#[test]
fn a_frame_that_goes_round_is_nobody_elses() {
    let mut batch = Batch::new();
    batch.push(Frame::owned(&compose(&udp(1, 2, 53)), Offload::NONE));
    let mut egress = Egress::new(2);
    let (first, second) = (DpAction::Recirculate(7), DpAction::Recirculate(8));
    let out = || DpAction::Output(PortNo(1));
    let actions = [out(), first, out(), second, out()];
    let mut asked = Vec::new();
    let (table, mut found) = (Connections::new(1), Vec::new());
    let env = Env {
        batch: &mut batch,
        egress: &mut egress,
        recirculations: &mut asked,
        punts: None,
        meters: &[],
        tracker: Tracker { table: &table, in_port: PortNo(0), is_trial: false, budget: None },
        found: &mut found,
        now: Duration::ZERO,
    };
    let subject = Recirculation { frame: FrameId::received(0), recirc_id: 0, found: 0 };
    let done = execute(&actions, env, subject, 0);
    let sent = egress.queue(PortNo(1));
    assert_eq!((done.outputs, sent.len()), (3, 3));
    let ids: Vec<u32> = asked.iter().map(|asked| asked.recirc_id).collect();
    assert_eq!(ids, [7, 8]);
    let waiting: Vec<FrameId> = asked.iter().map(|asked| asked.frame).collect();
    assert_ne!(waiting[0], waiting[1]);
    assert!(waiting.iter().all(|frame| !sent.contains(frame)));
}

#[test]
fn storm_control_limits_every_pass() {
    for config in [CacheConfig::default(), CacheConfig::OFF] {
        let rules = ["mpls,actions=pop_mpls:0x0800,resubmit(,1)", "table=1,actions=NORMAL"];
        let mut bench = Bench::new(config, &rules);
        bench.bridge(0).with_ports(|ports| {
            ports.get_mut(OfPort(1)).unwrap().storm_limit = Some(100);
        });
        let flooded: usize = (0..3).map(|_| bench.send(0, &[mpls(5); 50])[1].len()).sum();
        assert_eq!(flooded, 100);
        assert_eq!(bench.counters[0].rx_dropped(DropReason::Storm).get(), 50);
        bench.now += Duration::from_millis(100);
        assert_eq!(bench.send(0, &[mpls(5); 50])[3].len(), 10);
    }
}

#[test]
fn the_budget_of_new_flows_holds_in_every_pass() {
    let upcalls = Some(UpcallLimit { rate: 1000, burst: 32 });
    let config = CacheConfig { upcalls, ..CacheConfig::default() };
    // Every label has a state of its own to go on with, so that the first pass is one flow and the second
    // as many as there are labels.
    let rules = [
        "udp,actions=output:2",
        "mpls,actions=move:OXM_OF_MPLS_LABEL[]->NXM_NX_REG0[0..19],pop_mpls:0x0800,resubmit(,1)",
        "table=1,actions=output:3",
    ];
    let mut bench = Bench::new(config, &rules);
    for _ in 0..5 {
        bench.send(0, &[udp(1, 2, 1); 60]);
        bench.now += Duration::from_millis(1);
    }
    let labels: Vec<Headers> = (16..80).map(mpls).collect();
    // Half of the burst is one source's, and each label takes two translations.
    assert_eq!(bench.send(0, &labels)[2].len(), 0);
    let refused = bench.counters[0].rx_dropped(DropReason::UpcallBudget).get();
    assert_eq!(refused, 64);
}

#[test]
fn a_packet_out_goes_round_without_limits() {
    use flow::text::parse_packet_out;
    let mut bench = Bench::cached(&["table=1,actions=NORMAL"]);
    bench.bridge(0).with_ports(|ports| {
        ports.get_mut(OfPort(1)).unwrap().storm_limit = Some(1);
    });
    let bytes: String =
        behind_labels(&udp(1, 2, 53), 5, 1).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("in_port=1,packet={bytes},actions=pop_mpls:0x0800,resubmit(,1)");
    let packet = parse_packet_out(&text, &ParseContext::default()).unwrap();
    for port_no in [PortNo(0), PortNo::NONE] {
        for _ in 0..5 {
            let mut batch = Batch::new();
            batch.push(Frame::owned(&packet.packet, Offload::NONE));
            let counters = PortCounters::default();
            let Bench { datapath, egress, bridges, now, .. } = &mut bench;
            let ingress = Ingress { bridge: bridges[0], port_no };
            let done = datapath.inject(*now, ingress, &packet, &mut batch, egress, &counters);
            assert_eq!((done.queued, done.dropped), (1, 0));
            assert_eq!(egress.touched().len(), 3);
            egress.clear(&mut batch);
        }
    }
}

/// Rules that have frames go round in every way, and none that learns: what becomes of a frame does not
/// depend on those before it.
const RULES: [&str; 9] = [
    "priority=10,mpls,actions=move:OXM_OF_MPLS_LABEL[]->NXM_NX_REG0[0..19],pop_mpls:0x0800,resubmit(,1)",
    "priority=11,mpls,mpls_label=2,actions=clone(pop_mpls:0x0800,resubmit(,1)),output:4",
    "priority=12,mpls,mpls_label=3,actions=clone(pop_mpls:0x0800,resubmit(,2)),clone(pop_mpls:0x0800,resubmit(,1)),output:1",
    "priority=11,mpls,mpls_label=4,actions=pop_mpls:0x8847,pop_mpls:0x0800,group:2",
    "priority=9,udp,tp_dst=1,actions=group:1,output:4",
    "priority=8,udp,actions=check_pkt_larger(70)->NXM_NX_REG1[0],resubmit(,2)",
    "table=1,priority=2,udp,tp_dst=1,actions=output:2,group:1",
    "table=1,priority=1,ip,actions=dec_ttl,output:2,output:3",
    "table=2,priority=1,actions=group:2,output:2",
];

const GROUPS: [&str; 2] = [
    "group_id=1,type=select,bucket=output:2,bucket=mod_nw_dst:10.0.0.7,output:3,bucket=resubmit(,2)",
    "group_id=2,type=all,bucket=group:1,bucket=mod_nw_src:10.0.0.9,group:1,bucket=output:4",
];

fn bench_of(config: CacheConfig, conduct: Conduct, rules: &[&str]) -> Bench {
    let bench = Bench::with_policy(one_bridge().with_conduct(conduct), config, &[]);
    for group in GROUPS {
        let request = parse_group(group, GroupCommand::Add, &ParseContext::default()).expect(group);
        bench.change_groups(0, &request).expect(group);
    }
    rules.iter().for_each(|rule| bench.change(Command::Add, rule));
    bench
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    (1u8..4, 1u16..4, 0usize..3, 1u32..6, any::<bool>()).prop_map(
        |(src, tp_dst, labels, label, is_long)| {
            let mut bytes = match labels {
                0 => compose(&udp(src, 2, tp_dst)),
                n => behind_labels(&udp(src, 2, tp_dst), label, n),
            };
            if is_long {
                bytes.extend([0; 40]);
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What a batch does together is what each of its frames does alone, whatever is cached; only between
    /// frames of different flows the order may differ.
    #[test]
    fn frames_that_go_round_together_fare_as_if_each_was_alone(
        kinds in proptest::collection::vec(frame(), 1..6),
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 1..=MAX_BATCH),
        rules in proptest::sample::subsequence(RULES.to_vec(), 3..=RULES.len()),
        size in 0usize..3,
        as_ovs: bool,
    ) {
        let conduct = if as_ovs { Conduct::AsOvs } else { Conduct::Sensible };
        let unlimited = CacheConfig { upcalls: None, ..CacheConfig::default() };
        let tiny = CacheConfig { emc_entries: 8, max_flows: 3, ..unlimited };
        let mut together = bench_of([unlimited, tiny, CacheConfig::OFF][size], conduct, &rules);
        let mut alone = bench_of(CacheConfig::OFF, conduct, &rules);
        // The last byte, which no rule sees, tells the frames apart.
        let numbered = |(n, pick): (usize, &proptest::sample::Index)| {
            let mut bytes = kinds[pick.index(kinds.len())].clone();
            bytes.push(n as u8);
            bytes
        };
        let frames: Vec<Vec<u8>> = picks.iter().enumerate().map(numbered).collect();
        let mut expected: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 4];
        for frame in &frames {
            for (port, left) in alone.send_frames(0, std::slice::from_ref(frame)).into_iter().enumerate() {
                expected[port].extend(left);
            }
        }
        for _ in 0..2 {
            let sent = together.send_frames(0, &frames);
            for (port, left) in sent.iter().enumerate() {
                for n in 0..frames.len() as u8 {
                    let of_frame = |all: &[Vec<u8>]| -> Vec<Vec<u8>> {
                        all.iter().filter(|bytes| bytes.ends_with(&[n])).cloned().collect()
                    };
                    prop_assert_eq!(of_frame(left), of_frame(&expected[port]), "frame {}", n);
                }
                // Frames of one kind are of one flow: each leaves behind the one before it.
                for kind in 0..kinds.len() {
                    let of_kind = |n: &usize| picks[*n].index(kinds.len()) == kind;
                    let last = |n: usize| left.iter().rposition(|b| b.ends_with(&[n as u8]));
                    let lasts: Vec<usize> =
                        (0..frames.len()).filter(of_kind).filter_map(last).collect();
                    prop_assert!(lasts.is_sorted(), "{:?}", lasts);
                }
            }
        }
        let [a, b] = [&together, &alone].map(|bench| {
            DropReason::ALL.iter().map(|r| bench.counters[0].rx_dropped(*r).get()).collect::<Vec<_>>()
        });
        prop_assert_eq!(a, b.iter().map(|n| 2 * n).collect::<Vec<_>>());
    }
}

#[test]
fn a_port_with_ever_new_states_does_not_keep_others_from_going_round() {
    let config = CacheConfig { upcalls: None, ..CacheConfig::default() };
    let rules = [
        "mpls,actions=move:OXM_OF_MPLS_LABEL[]->NXM_NX_REG0[0..19],pop_mpls:0x0800,resubmit(,1)",
        "table=1,actions=output:3",
    ];
    let mut bench = Bench::new(config, &rules);
    // More states than one port may have kept: frames beyond the share go round all the same.
    let labels: Vec<Headers> = (16..36_016).map(mpls).collect();
    let sent: usize = labels.chunks(MAX_BATCH).map(|batch| bench.send(0, batch)[2].len()).sum();
    assert_eq!(sent, labels.len());
    let others: usize = (0..10).map(|n| bench.send(1, &[mpls(40_000 + n)])[2].len()).sum();
    assert_eq!(others, 10);
    for counters in &bench.counters {
        assert_eq!(counters.rx_dropped(DropReason::RecirculationLimit).get(), 0);
    }
}

//! Caches change nothing but the speed: what is sent, counted and dropped is the same with them and
//! without, while rules, groups, ports and hosts come and go.

use super::*;
use crate::policy::Conduct;
use crate::policy::ports::PortTable;
use flow::Headers;
use flow::text::{GroupCommand, parse_group};
use proptest::prelude::*;

/// Rules that lead packets through several tables, rewrite, learn, and come and go.
const RULES: [&str; 26] = [
    "priority=1,actions=NORMAL",
    "priority=9,udp,tp_dst=1,actions=output:2",
    "priority=9,udp,tp_dst=2,actions=mod_nw_dst:10.0.0.3,resubmit(,1)",
    "priority=8,ip,nw_src=10.0.0.2,actions=load:3->NXM_NX_REG0[],resubmit(,1),output:4",
    "priority=7,in_port=2,actions=resubmit(,2)",
    "priority=9,ip,dl_dst=02:00:00:00:00:03,actions=dec_ttl,output:1",
    "priority=20,dl_vlan=5,actions=strip_vlan,NORMAL",
    "priority=6,udp,nw_dst=10.0.0.0/30,actions=push_vlan:0x8100,output:3",
    "table=1,priority=1,actions=output:1",
    "table=1,priority=2,ip,nw_dst=10.0.0.3,actions=output:3",
    "table=1,priority=3,udp,reg0=3,actions=output:2,mod_tp_dst:9,output:4",
    "table=1,priority=4,udp,tp_dst=2,nw_src=10.0.0.1,actions=resubmit(4,2)",
    "table=2,priority=1,actions=NORMAL",
    "table=2,priority=2,in_port=4,actions=IN_PORT",
    "table=2,priority=3,udp,tp_src=1000,actions=output:1,resubmit(,1)",
    "table=2,priority=4,nw_ttl=64,ip,actions=FLOOD",
    // The rest goes round, or to groups.
    "priority=10,mpls,actions=pop_mpls:0x0800,resubmit(,1)",
    "priority=11,mpls,mpls_label=2,actions=clone(pop_mpls:0x0800,resubmit(,2)),output:4",
    "table=1,priority=9,ip,nw_ttl=1,actions=dec_ttl,group:1",
    "priority=10,udp,tp_dst=3,actions=group:2",
    "table=2,priority=9,udp,tp_dst=3,actions=output:1,write_actions(group:3)",
    // Two conjunctions, which share a clause.
    "table=1,priority=6,ip,nw_src=10.0.0.1,actions=conjunction(7,1/2),conjunction(8,1/2)",
    "table=1,priority=6,udp,tp_dst=1,actions=conjunction(7,2/2)",
    "table=1,priority=6,ip,nw_dst=10.0.0.2/31,actions=conjunction(8,2/2)",
    "table=1,priority=5,conj_id=7,actions=output:4",
    "table=1,priority=5,conj_id=8,udp,tp_dst=2,actions=output:2",
];

/// Groups that rules may name; the second number of each pair takes the place of the first.
const GROUPS: [[&str; 2]; 3] = [
    [
        "group_id=1,type=all,bucket=output:2,bucket=dec_ttl,output:3",
        "group_id=1,type=all,bucket=output:4",
    ],
    [
        "group_id=2,type=select,bucket=output:2,bucket=output:3,bucket=mod_nw_dst:10.0.0.7,output:4",
        "group_id=2,type=select,bucket=weight:5,watch_port:3,output:1,bucket=watch_port:2,output:4",
    ],
    [
        "group_id=3,type=ff,bucket=watch_port:2,output:2,bucket=watch_group:2,resubmit(,1)",
        "group_id=3,type=ff,bucket=watch_port:4,output:4,bucket=watch_port:1,in_port",
    ],
];

#[derive(Clone, Debug)]
enum Step {
    Send(u16, Box<Headers>, usize),
    /// A rule, in one of the bridges.
    Add(usize, usize),
    Delete(usize, usize),
    /// A group, in one of the bridges, in either of its forms; or none any more.
    Group(usize, usize, Option<usize>),
    NoFlood(usize, u16, bool),
    Link(usize, u16, bool),
    Forget(usize),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let key = (1u8..4, 1u8..4, 1u16..4, any::<bool>(), any::<bool>(), 0u32..9);
    let key = key.prop_map(|(src, dst, port, tagged, ttl, label)| {
        let mut key = udp(src, dst, port);
        if (1..4).contains(&label) {
            // What is behind the labels is no part of the key: all zeroes, which is no IPv4.
            key = Headers { dl_dst: key.dl_dst, dl_src: key.dl_src, ..Headers::default() };
            key.dl_type.set(0x8847);
            key.mpls_lse[0].set(label << 12 | 0x100 | 64);
            return key;
        }
        if tagged {
            key.vlan_tci.set(0x1005);
        }
        key.nw_ttl = if ttl { 64 } else { 1 };
        key
    });
    prop_oneof![
        8 => (0u16..4, key, 1usize..4).prop_map(|(p, k, n)| Step::Send(p, Box::new(k), n)),
        3 => (0usize..2, 0..RULES.len()).prop_map(|(b, n)| Step::Add(b, n)),
        2 => (0usize..2, 0..RULES.len()).prop_map(|(b, n)| Step::Delete(b, n)),
        2 => (0usize..2, 0..GROUPS.len(), proptest::option::weighted(0.8, 0usize..2))
            .prop_map(|(b, n, form)| Step::Group(b, n, form)),
        1 => (0usize..2, 1u16..=4, any::<bool>()).prop_map(|(b, p, on)| Step::NoFlood(b, p, on)),
        1 => (0usize..2, 1u16..=4, any::<bool>()).prop_map(|(b, p, on)| Step::Link(b, p, on)),
        1 => (0usize..2).prop_map(Step::Forget),
        1 => Just(Step::Wait),
    ]
}

fn take(bench: &mut Bench, step: &Step) -> Vec<Vec<Vec<u8>>> {
    match step {
        // What a batch learns is for the next one, so packets that differ come in different ones.
        Step::Send(port, key, n) => return bench.send(*port, &vec![**key; *n]),
        // A rule that names a group which is not there is refused, in both.
        Step::Add(bridge, n) => {
            _ = bench.change_in(*bridge, Command::Add, &format!("cookie={n},{}", RULES[*n]));
        }
        Step::Group(bridge, n, form) => {
            let (command, text) = match form {
                Some(form) => (GroupCommand::AddOrModify, GROUPS[*n][*form]),
                None => (GroupCommand::Delete, ["group_id=1", "group_id=2", "group_id=3"][*n]),
            };
            let request = parse_group(text, command, &ParseContext::default()).expect(text);
            bench.change_groups(*bridge, &request).unwrap();
        }
        Step::Delete(bridge, n) => {
            let (matching, _) = RULES[*n].split_once("actions=").unwrap();
            let text = format!("{matching}actions=drop");
            bench.change_in(*bridge, Command::DeleteStrict, &text).unwrap();
        }
        Step::NoFlood(bridge, port, on) => {
            change_port(bench, *bridge, *port, |port| port.config.no_flood = *on);
        }
        Step::Link(bridge, port, on) => {
            change_port(bench, *bridge, *port, |port| port.link_up = *on);
        }
        Step::Forget(bridge) => {
            bench.bridge(*bridge).flush_hosts(Some(OfPort(1)));
        }
        Step::Wait => {
            bench.now += Duration::from_secs(6);
            let registry = Arc::clone(bench.datapath.registry());
            registry.sweep(&bench.policy, bench.now, Duration::from_secs(10));
        }
    }
    Vec::new()
}

/// Changes a port, if the bridge has it.
fn change_port(bench: &Bench, bridge: usize, port: u16, change: impl FnOnce(&mut PortInfo)) {
    let find_and_change = |ports: &mut PortTable| ports.get_mut(OfPort(port)).map(change);
    bench.bridge(bridge).with_ports(find_and_change);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn caches_change_nothing_but_the_speed(
        steps in proptest::collection::vec(step(), 1..80),
        tiny: bool,
        is_pair: bool,
        as_ovs: bool,
    ) {
        let cached = CacheConfig { upcalls: None, ..CacheConfig::default() };
        let config = CacheConfig { emc_entries: 8, max_flows: 3, upcalls: None, ..cached };
        // As Open vSwitch, select groups have their packets go round.
        let conduct = if as_ovs { Conduct::AsOvs } else { Conduct::Sensible };
        let bench = |config| {
            let policy = if is_pair { two_bridges() } else { one_bridge() };
            Bench::with_policy(policy.with_conduct(conduct), config, &RULES[..1])
        };
        let mut with = bench(if tiny { config } else { cached });
        let mut without = bench(CacheConfig::OFF);
        for step in &steps {
            prop_assert_eq!(take(&mut with, step), take(&mut without, step), "{:?}", step);
        }
        for cookie in 0..RULES.len() as u64 {
            for bridge in 0..2 {
                let packets = [&with, &without].map(|bench| bench.packets_in(bridge, cookie));
                prop_assert_eq!(packets[0], packets[1], "cookie {} of bridge {}", cookie, bridge);
            }
        }
        for (a, b) in with.counters.iter().zip(&without.counters) {
            prop_assert_eq!(a.rx_packets.get(), b.rx_packets.get());
            prop_assert_eq!(a.rx_bytes.get(), b.rx_bytes.get());
            prop_assert_eq!(a.rx_dropped_total(), b.rx_dropped_total());
        }
    }
}

//! Frames that are looked up twice: a label that is popped before the rules can look at what is behind it,
//! and a `select` group that chooses as Open vSwitch does, after a pass that hashes.
//!
//! Each is compared with the same frames looked up once, in turn, so that what disturbs the machine
//! disturbs both. A second pass does the work of a first one but for the fabrication of the frame.

use crate::Bench;
use benches::cpu_time::CpuTimer;
use benches::null_port::NullSwitch;
use benches::report::{Better, Role, Table, progress};
use benches::rules::{add, matching, output, policy, pop_label};
use benches::workload::{Family, Order, Workload};
use flow::Match;
use flow::action::Action;
use flow::flow_mod::FlowMod;
use flow::group::{Bucket, Group, GroupMod, GroupType, Selection};
use flow::types::GroupId;
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::policy::{BridgeId, Conduct, Policy};
use packet::wire::eth_type;
use std::sync::Arc;
use std::time::Duration;

const FLOWS: [(&str, u32); 3] = [("1 flow", 1), ("1,000 flows", 1_000), ("100,000 flows", 100_000)];

type MakePolicy = fn(Conduct) -> Policy;

pub(crate) fn run(bench: &mut Bench) {
    let mut results =
        Table::new("recirculation", "cached frames that are looked up twice, and once");
    let once = results.column("once", "Mpps", Better::Higher);
    let twice = results.column("twice", "Mpps", Better::Higher);
    let ratio = results.column("ratio", "", Better::Higher);
    let cases: [(&str, Family, MakePolicy); 2] =
        [("pop_mpls", Family::Mpls, popping), ("select group", Family::V4, selecting)];
    for (case, family, policy_for) in cases {
        for (flows, count) in FLOWS {
            let name = format!("{case}, {flows}");
            progress(&format!("recirculation: {name}"));
            let row = results.row(&name, Role::Ours);
            let direct = match family {
                // Labels switched without a look behind them.
                Family::Mpls => switching(),
                _ => policy_for(Conduct::Sensible),
            };
            let mut direct = Side::new(direct, family, count);
            let mut round = Side::new(policy_for(Conduct::AsOvs), family, count);
            for _ in 0..bench.args.runs {
                let (a, b) = (direct.rate(bench.args.seconds), round.rate(bench.args.seconds));
                results.record(row, once, a);
                results.record(row, twice, b);
                results.record(row, ratio, b / a);
            }
        }
    }
    bench.report.add(results);
}

/// A policy with the rule `mpls,actions=pop_mpls:0x0800,resubmit(,1)` and one behind it.
fn popping(conduct: Conduct) -> Policy {
    with_rules(conduct, &[add(0, 1, labelled(), pop_label()), add(1, 1, Match::any(), output(2))])
}

/// A policy with the rule `mpls,actions=output:2`.
fn switching() -> Policy {
    with_rules(Conduct::Sensible, &[add(0, 1, labelled(), output(2))])
}

/// A policy with the rule `actions=group:1`, whose group has two buckets.
fn selecting(conduct: Conduct) -> Policy {
    let bucket = |id, port| Bucket {
        id,
        weight: None,
        watch_port: None,
        watch_group: None,
        actions: output(port),
    };
    let group = Group {
        id: GroupId(1),
        kind: GroupType::Select,
        selection: Selection::default(),
        buckets: vec![bucket(0, 2), bucket(1, 3)],
    };
    let policy = policy(3).with_conduct(conduct);
    let mut transaction = policy.bridge(BridgeId::FIRST).begin();
    transaction.apply_group(&GroupMod::Add(group), Duration::ZERO).expect("the group is valid");
    let rule = add(0, 1, Match::any(), vec![Action::Group(GroupId(1))]);
    transaction.apply_all(&[rule], Duration::ZERO).expect("the rule is valid");
    transaction.commit();
    policy
}

fn labelled() -> Match {
    matching(|key, mask| {
        key.headers.dl_type.set(eth_type::MPLS);
        mask.bits.headers.dl_type.set(u16::MAX);
    })
}

fn with_rules(conduct: Conduct, rules: &[FlowMod]) -> Policy {
    let policy = policy(3).with_conduct(conduct);
    let mut transaction = policy.bridge(BridgeId::FIRST).begin();
    transaction.apply_all(rules, Duration::ZERO).expect("the rules are valid");
    transaction.commit();
    policy
}

/// One of two switches that are compared.
pub(crate) struct Side {
    switch: NullSwitch,
    workload: Workload,
}

impl Side {
    /// A switch with warm caches for this many flows.
    pub(crate) fn new(policy: Policy, family: Family, flows: u32) -> Self {
        let config = CacheConfig { upcalls: None, ..CacheConfig::default() };
        let datapath = Datapath::new(Arc::new(policy), config, 1, 42);
        let mut side = Self {
            switch: NullSwitch::new(datapath, family),
            workload: Workload::numbered(flows, Order::Rotation),
        };
        side.switch.warm_up(&mut side.workload);
        side
    }

    /// Millions of frames forwarded per second of time on the core.
    pub(crate) fn rate(&mut self, seconds: f64) -> f64 {
        let before = self.switch.sent;
        let (mut elapsed, timer) = (0.0, CpuTimer::start());
        while elapsed < seconds {
            for _ in 0..64 {
                self.switch.poll(&mut self.workload);
            }
            elapsed = timer.elapsed().as_secs_f64();
        }
        (self.switch.sent - before) as f64 / elapsed / 1e6
    }
}

//! Whether the caches pay: the same traffic with them as they are by default, and without any.
//!
//! Counted are frames that are forwarded. Both switches take turns, and the ratio is that of a turn, so
//! that what disturbs the machine disturbs both. The traffic is what caches like least, frames of
//! all flows one after the other. Under the first table all flows are one cached flow, under the others
//! each is one of its own, or nearly.

use crate::Bench;
use crate::rules::{exact_rules, reading_rule};
use benches::cpu_time::CpuTimer;
use benches::null_port::NullSwitch;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::rules::{add, output, pipeline_with};
use benches::workload::{Family, Order, Workload};
use flow::Match;
use flow::metric::CacheMetric;
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::policy::Policy;
use std::sync::Arc;

const FLOWS: [(&str, u32); 4] = [
    ("1 flow", 1),
    ("1,000 flows", 1_000),
    ("100,000 flows", 100_000),
    ("1,000,000 flows", 1_000_000),
];

pub(crate) fn run(bench: &mut Bench) {
    let tables = [
        ("1 rule", vec![add(0, 100, Match::any(), output(2))]),
        ("1 rule, own verdicts", vec![reading_rule()]),
        ("10,001 rules", exact_rules()),
    ];
    let mut results = Table::new("cache", "the same traffic with the default caches and without");
    let with = results.column("caches", "Mpps", Better::Higher);
    let without = results.column("no caches", "Mpps", Better::Higher);
    let ratio = results.column("ratio", "", Better::Higher);
    let refused = results.column("refused", "%", Better::Neither);
    for (table, rules) in tables {
        let policy = Arc::new(pipeline_with(3, &rules));
        for (flows, count) in FLOWS {
            let case = format!("{table}, {flows}");
            progress(&format!("cache: {case}"));
            let row = results.row(&case, Role::Ours);
            let mut cached = Side::new(&policy, CacheConfig::default(), count);
            let mut plain = Side::new(&policy, CacheConfig::OFF, count);
            cached.switch.warm_up(&mut cached.workload);
            for _ in 0..bench.args.runs {
                let (ours, share) = cached.forwarded(bench.args.seconds);
                let (theirs, _) = plain.forwarded(bench.args.seconds);
                results.record(row, with, ours);
                results.record(row, without, theirs);
                results.record(row, ratio, ours / theirs);
                results.record(row, refused, 100.0 * share);
            }
            let name = format!("cache, {case}: with caches against without");
            bench.goal(Goal::at_least(&name, results.median(row, ratio), 1.0));
        }
    }
    bench.report.add(results);
}

/// One of the two that are compared.
struct Side {
    switch: NullSwitch,
    workload: Workload,
}

impl Side {
    fn new(policy: &Arc<Policy>, caches: CacheConfig, flows: u32) -> Self {
        let datapath = Datapath::new(Arc::clone(policy), caches, 1, 42);
        let switch = NullSwitch::new(datapath, Family::V4);
        Self { switch, workload: Workload::numbered(flows, Order::Rotation) }
    }

    /// Millions of frames forwarded per second of time on the core, and the share of all that was
    /// over the budget of new flows.
    fn forwarded(&mut self, seconds: f64) -> (f64, f64) {
        let Self { switch, workload } = self;
        let (sent, refused) = (switch.sent, switch.datapath.stats()[CacheMetric::Refused].get());
        let timer = CpuTimer::start();
        let mut elapsed = 0.0;
        while elapsed < seconds {
            for _ in 0..64 {
                switch.poll(workload);
            }
            elapsed = timer.elapsed().as_secs_f64();
        }
        let sent = (switch.sent - sent) as f64;
        let refused = (switch.datapath.stats()[CacheMetric::Refused].get() - refused) as f64;
        (sent / elapsed / 1e6, refused / (sent + refused))
    }
}

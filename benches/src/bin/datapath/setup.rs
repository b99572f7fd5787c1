//! New flows: each frame is the first of its flow, and the caches are cold.

use crate::Bench;
use crate::rules::{exact_rules, reading_rule};
use benches::cpu_time::CpuTimer;
use benches::null_port::NullSwitch;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::rules::pipeline_with;
use benches::workload::{Family, Order, Workload};
use flow::metric::CacheMetric;
use flowtable::datapath::{CacheConfig, Datapath};
use packet::MAX_BATCH;
use std::sync::Arc;

const FLOWS: u32 = 50_000;
/// Thousands of flows a second that are wanted.
const WANTED: f64 = 300.0;

pub(crate) fn run(bench: &mut Bench) {
    let mut results = Table::new("setup", "new flows, each translated and cached by itself");
    let rate = results.column("new flows", "k/s", Better::Higher);
    for (table, rules) in [("1 rule", vec![reading_rule()]), ("10,001 rules", exact_rules())] {
        progress(&format!("setup: {table}"));
        let row = results.row(table, Role::Ours);
        let policy = Arc::new(pipeline_with(3, &rules));
        for _ in 0..bench.args.runs {
            let datapath = Datapath::new(Arc::clone(&policy), CacheConfig::default(), 1, 42);
            let mut switch = NullSwitch::new(datapath, Family::V4);
            let mut workload = Workload::numbered(FLOWS, Order::Rotation);
            let timer = CpuTimer::start();
            for _ in 0..FLOWS as usize / MAX_BATCH {
                switch.poll(&mut workload);
            }
            let set_up = switch.datapath.stats()[CacheMetric::Misses].get() as f64;
            results.record(row, rate, set_up / timer.elapsed().as_secs_f64() / 1e3);
        }
        let name = format!("setup, {table}: thousand new flows a second");
        bench.goal(Goal::at_least(&name, results.median(row, rate), WANTED));
    }
    bench.report.add(results);
}

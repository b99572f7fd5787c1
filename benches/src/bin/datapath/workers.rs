//! Two workers against one that forward frames of cached flows, between ports without I/O.

use crate::Bench;
use crate::rules::{reading_rule, sixteen_rules};
use crate::two_workers::TwoWorkers;
use benches::null_port::NullSwitch;
use benches::rules::pipeline_with;
use benches::workload::{Family, Order, Workload};
use flowtable::datapath::{CacheConfig, Datapath};
use std::sync::Arc;

/// How many times the rate of one worker two should have.
const WANTED: f64 = 1.8;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let about = "frames of cached flows, by one worker and by two on cores of their own";
    let mut workers = TwoWorkers::new("workers", about, WANTED)?;
    let cases = [
        ("16 rules, 1,000 flows", sixteen_rules(Family::V4), 1_000),
        ("16 rules, 100,000 flows", sixteen_rules(Family::V4), 100_000),
        ("own verdicts, 1,000 flows", vec![reading_rule()], 1_000),
    ];
    for (name, rules, flows) in cases {
        let policy = Arc::new(pipeline_with(3, &rules));
        workers.measure(bench, name, |core| {
            let seed = 42 + core as u64;
            let datapath = Datapath::new(Arc::clone(&policy), CacheConfig::default(), 1, seed);
            let mut switch = NullSwitch::new(datapath, Family::V4);
            let mut workload = Workload::numbered(flows, Order::Rotation);
            switch.warm_up(&mut workload);
            move || {
                switch.poll(&mut workload);
            }
        })?;
    }
    bench.report.add(workers.into_results());
    Ok(())
}

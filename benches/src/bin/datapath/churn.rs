//! Cached traffic while rules change that it does not meet.
//!
//! What the changes themselves take is another thread's time, and left out.

use crate::Bench;
use crate::rules::{exactly, reading_rule, sixteen_rules};
use benches::cpu_time::CpuTimer;
use benches::null_port::NullSwitch;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::rules::{add, delete, output, pipeline_with};
use benches::workload::{Family, Order, Tuple, Workload};
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::policy::BridgeId;
use flowtable::policy::Policy;
use packet::MAX_BATCH;
use std::sync::Arc;
use std::time::Duration;

const FLOWS: u32 = 10_000;
/// Changes a second, and how much of the rate without is wanted, in percent.
const SPEEDS: [(&str, f64, f64); 2] = [("1,000/s", 1e3, 95.0), ("10,000/s", 1e4, 90.0)];

pub(crate) fn run(bench: &mut Bench) {
    let mut results =
        Table::new("churn", "10,000 flows while rules are added and deleted beside them");
    let calm = results.column("no changes", "Mpps", Better::Higher);
    let rates = SPEEDS.map(|(speed, ..)| results.column(speed, "Mpps", Better::Higher));
    let shares =
        SPEEDS.map(|(speed, ..)| results.column(&format!("share at {speed}"), "%", Better::Higher));
    let tables = [
        ("16 cached flows", sixteen_rules(Family::V4)),
        ("10,000 cached flows", vec![reading_rule()]),
    ];
    for (table, rules) in tables {
        progress(&format!("churn: {table}"));
        let row = results.row(table, Role::Ours);
        let policy = Arc::new(pipeline_with(3, &rules));
        let datapath = Datapath::new(Arc::clone(&policy), CacheConfig::default(), 1, 42);
        let mut switch = NullSwitch::new(datapath, Family::V4);
        switch.warm_up(&mut Workload::numbered(FLOWS, Order::Rotation));
        for _ in 0..bench.args.runs {
            let mut measure = |speed| rate(&mut switch, &policy, bench.args.seconds, speed);
            let undisturbed = measure(0.0);
            results.record(row, calm, undisturbed);
            for ((_, speed, _), (column, share)) in SPEEDS.iter().zip(rates.iter().zip(&shares)) {
                let rate = measure(*speed);
                results.record(row, *column, rate);
                results.record(row, *share, 100.0 * rate / undisturbed);
            }
        }
        for ((speed, _, wanted), share) in SPEEDS.into_iter().zip(shares) {
            let name = format!("churn, {table}, {speed}: % of the rate without");
            bench.goal(Goal::at_least(&name, results.median(row, share), wanted));
        }
    }
    bench.report.add(results);
}

/// Millions of frames per second while `per_second` rules are changed each second.
fn rate(switch: &mut NullSwitch, policy: &Policy, seconds: f64, per_second: f64) -> f64 {
    let mut workload = Workload::numbered(FLOWS, Order::Rotation);
    let (mut frames, mut changes, mut apart) = (0, 0u32, Duration::ZERO);
    let timer = CpuTimer::start();
    loop {
        for _ in 0..8 {
            switch.poll(&mut workload);
        }
        frames += 8 * MAX_BATCH;
        let elapsed = (timer.elapsed() - apart).as_secs_f64();
        if elapsed >= seconds {
            return frames as f64 / elapsed / 1e6;
        }
        // What the control thread does is not this thread's time.
        let control = CpuTimer::start();
        while f64::from(changes) < elapsed * per_second {
            let flow = Tuple { src: 0xc0a8_0000 + changes / 2 % 5000, ..Tuple::numbered(1) };
            let rule = match changes % 2 {
                0 => add(0, 300, exactly(&flow), output(3)),
                _ => delete(0, 300, exactly(&flow)),
            };
            policy.bridge(BridgeId::FIRST).apply(&[rule], switch.now()).expect("a valid rule");
            changes += 1;
        }
        while policy.purge() {}
        apart += control.elapsed();
    }
}

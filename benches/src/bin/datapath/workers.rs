//! Two workers on two cores against one, between ports without I/O.
//!
//! Each worker is a thread that is bound to a core, with a datapath and receive rings of its own, as in the
//! switch; both forward by the same policy. One worker alone, on either core, and both together are measured in
//! turn, over the time on the clock: with both at work each core has to do as much as alone. A run begins when
//! all threads are ready, and ends after the same time for all.

use crate::Bench;
use crate::rules::{reading_rule, sixteen_rules};
use anyhow::{Context, ensure};
use benches::forwarding::on_core;
use benches::null_port::NullSwitch;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::rules::pipeline_with;
use benches::workload::{Family, Order, Workload};
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::policy::Policy;
use packet::MAX_BATCH;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// How many times the rate of one worker two should have.
const WANTED: f64 = 1.8;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let cores = thread::available_parallelism().context("count the processors")?.get();
    ensure!(cores >= 2, "two workers need two processors, and there is one");
    let about = "frames of cached flows, by one worker and by two on cores of their own";
    let mut results = Table::new("workers", about);
    let one = results.column("1 worker", "Mpps", Better::Higher);
    let two = results.column("2 workers", "Mpps", Better::Higher);
    let ratio = results.column("ratio", "", Better::Higher);
    let cases = [
        ("16 rules, 1,000 flows", sixteen_rules(Family::V4), 1_000),
        ("16 rules, 100,000 flows", sixteen_rules(Family::V4), 100_000),
        ("own verdicts, 1,000 flows", vec![reading_rule()], 1_000),
    ];
    for (name, rules, flows) in cases {
        let row = results.row(name, Role::Ours);
        let policy = Arc::new(pipeline_with(3, &rules));
        for run in 1..=bench.args.runs {
            progress(&format!("workers: {name}, run {run}"));
            let seconds = Duration::from_secs_f64(bench.args.seconds);
            let rate = |cores: &[usize]| rate(&policy, flows, cores, seconds);
            let (first, both, second) = (rate(&[0])?, rate(&[0, 1])?, rate(&[1])?);
            let alone = (first + second) / 2.0;
            results.record(row, one, alone);
            results.record(row, two, both);
            results.record(row, ratio, both / alone);
        }
        let goal = format!("workers, {name}: two against one");
        bench.goal(Goal::at_least(&goal, results.median(row, ratio), WANTED));
    }
    bench.report.add(results);
    Ok(())
}

/// Millions of frames a second that workers on these cores forward together.
fn rate(
    policy: &Arc<Policy>,
    flows: u32,
    cores: &[usize],
    duration: Duration,
) -> anyhow::Result<f64> {
    let ready = &Barrier::new(cores.len());
    thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .map(|&core| scope.spawn(move || worker(policy, flows, core, ready, duration)))
            .collect();
        let rates = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        rates.sum()
    })
}

fn worker(
    policy: &Arc<Policy>,
    flows: u32,
    core: usize,
    ready: &Barrier,
    duration: Duration,
) -> anyhow::Result<f64> {
    on_core(core, || {
        let seed = 42 + core as u64;
        let datapath = Datapath::new(Arc::clone(policy), CacheConfig::default(), 1, seed);
        let mut switch = NullSwitch::new(datapath, Family::V4);
        let mut workload = Workload::numbered(flows, Order::Rotation);
        switch.warm_up(&mut workload);
        ready.wait();
        let (mut frames, start) = (0, Instant::now());
        while start.elapsed() < duration {
            for _ in 0..256 {
                switch.poll(&mut workload);
            }
            frames += 256 * MAX_BATCH;
        }
        Ok(frames as f64 / start.elapsed().as_secs_f64() / 1e6)
    })
}

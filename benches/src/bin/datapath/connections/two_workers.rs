//! Two workers, each on a core of its own, that forward the two directions of the same connections, against one.
//!
//! As in the scenario `workers`, one worker alone, on either core, and both together are measured in turn, over the time on the
//! clock.

use super::{ANSWERS, TRACKED, establish, policy, switch};
use crate::Bench;
use anyhow::{Context, ensure};
use benches::forwarding::on_core;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::workload::{MACS, Tuple};
use flow::types::PortNo;
use flowtable::policy::Policy;
use packet::MAX_BATCH;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

const CASES: [(&str, u32); 3] = [
    ("1,000 connections", 1_000),
    ("10,000 connections", 10_000),
    ("100,000 connections", 100_000),
];
/// How many times the rate of one worker two should have.
const WANTED: f64 = 1.7;

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let cores = thread::available_parallelism().context("count the processors")?.get();
    ensure!(cores >= 2, "two workers need two processors, and there is one");
    let about = "established connections, each direction by a worker of its own";
    let mut results = Table::new("connections of two workers", about);
    let one = results.column("1 worker", "Mpps", Better::Higher);
    let two = results.column("2 workers", "Mpps", Better::Higher);
    let ratio = results.column("ratio", "", Better::Higher);
    for (name, count) in CASES {
        let row = results.row(name, Role::Ours);
        let policy = policy(TRACKED)?;
        let answers = establish(&policy, &mut switch(&policy, 1), count)?;
        let questions: Vec<Tuple> = (0..count).map(Tuple::numbered).collect();
        for run in 1..=bench.args.runs {
            progress(&format!("connections of two workers: {name}, run {run}"));
            let seconds = Duration::from_secs_f64(bench.args.seconds);
            let of_core = [(PortNo(0), &questions), (ANSWERS, &answers)];
            let rate = |cores: &[usize]| rate(&policy, &of_core, cores, seconds);
            let (first, both, second) = (rate(&[0])?, rate(&[0, 1])?, rate(&[1])?);
            let alone = (first + second) / 2.0;
            results.record(row, one, alone);
            results.record(row, two, both);
            results.record(row, ratio, both / alone);
        }
        let goal = format!("connections of two workers, {name}: two against one");
        bench.goal(Goal::at_least(&goal, results.median(row, ratio), WANTED));
    }
    bench.report.add(results);
    Ok(())
}

/// Millions of frames a second that workers on these cores forward together, each of them the frames of its core.
fn rate(
    policy: &Arc<Policy>,
    of_core: &[(PortNo, &Vec<Tuple>); 2],
    cores: &[usize],
    duration: Duration,
) -> anyhow::Result<f64> {
    let ready = &Barrier::new(cores.len());
    thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .map(|&core| scope.spawn(move || worker(policy, of_core[core], core, ready, duration)))
            .collect();
        let rates = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        rates.sum()
    })
}

fn worker(
    policy: &Arc<Policy>,
    (port, flows): (PortNo, &Vec<Tuple>),
    core: usize,
    ready: &Barrier,
    duration: Duration,
) -> anyhow::Result<f64> {
    on_core(core, || {
        let mut switch = switch(policy, 42 + core as u64);
        let mut next = flows.iter().cycle();
        let mut poll = || {
            switch.poll_on(port, MAX_BATCH, |_| (*next.next().expect("the cycle is endless"), MACS))
        };
        for _ in 0..flows.len() / MAX_BATCH + 64 {
            poll();
        }
        ready.wait();
        let (mut frames, start) = (0, Instant::now());
        while start.elapsed() < duration {
            for _ in 0..256 {
                poll();
            }
            frames += 256 * MAX_BATCH;
        }
        Ok(frames as f64 / start.elapsed().as_secs_f64() / 1e6)
    })
}

//! Two workers against one, each of which forwards one direction of the same connections.

use super::{ANSWERS, TRACKED, establish, policy, switch};
use crate::Bench;
use crate::two_workers::TwoWorkers;
use benches::workload::{MACS, Tuple};
use flow::types::PortNo;
use packet::MAX_BATCH;

const CASES: [(&str, u32); 3] = [
    ("1,000 connections", 1_000),
    ("10,000 connections", 10_000),
    ("100,000 connections", 100_000),
];
/// How many times the rate of one worker two should have.
const WANTED: f64 = 1.7;

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let about = "established connections, each direction by a worker of its own";
    let mut workers = TwoWorkers::new("connections of two workers", about, WANTED)?;
    for (name, count) in CASES {
        let policy = policy(TRACKED)?;
        let answers = establish(&policy, &mut switch(&policy, 1), count)?;
        let questions: Vec<Tuple> = (0..count).map(Tuple::numbered).collect();
        let of_core = [(PortNo(0), &questions), (ANSWERS, &answers)];
        workers.measure(bench, name, |core| {
            let mut switch = switch(&policy, 42 + core as u64);
            let (port, flows) = of_core[core];
            let mut next = flows.iter().cycle();
            let mut poll = move || {
                let mut next = || (*next.next().expect("the cycle is endless"), MACS);
                switch.poll_on(port, MAX_BATCH, |_| next());
            };
            for _ in 0..flows.len() / MAX_BATCH + 64 {
                poll();
            }
            poll
        })?;
    }
    bench.report.add(workers.into_results());
    Ok(())
}

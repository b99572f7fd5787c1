//! New connections: every frame begins one.

use super::{TRACKED, TRANSLATED, policy, switch};
use crate::Bench;
use benches::cpu_time::CpuTimer;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::workload::{MACS, Tuple};
use packet::MAX_BATCH;

/// New connections of one run.
const CONNECTIONS: u32 = 600_000;
/// Millions of new connections a second that are wanted.
const WANTED: f64 = 0.7;

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let about = "new connections, each committed by its first frame";
    let mut results = Table::new("connections begun", about);
    let rate = results.column("new", "M/s", Better::Higher);
    for (name, rules) in [("tracked", TRACKED), ("source NAT", TRANSLATED)] {
        progress(&format!("connections begun: {name}"));
        let row = results.row(name, Role::Ours);
        for _ in 0..bench.args.runs {
            let policy = policy(rules)?;
            let mut switch = switch(&policy, 42);
            switch.poll_with(1, |_| (Tuple::numbered(CONNECTIONS), MACS));
            let mut next = 0;
            let timer = CpuTimer::start();
            while next < CONNECTIONS {
                switch.poll_with(MAX_BATCH, |_| {
                    next += 1;
                    (Tuple::numbered(next - 1), MACS)
                });
            }
            let seconds = timer.elapsed().as_secs_f64();
            let begun = policy.connections().stats().created as f64;
            results.record(row, rate, begun / seconds / 1e6);
        }
        if rules == TRACKED {
            let goal = "connections: million new ones a second";
            bench.goal(Goal::at_least(goal, results.median(row, rate), WANTED));
        }
    }
    bench.report.add(results);
    Ok(())
}

//! Two workers on two cores against one.
//!
//! Each worker is a thread that is bound to a core, with a datapath and receive rings of its own, as in the
//! switch; both forward by the same policy. One worker alone, on either core, and both together are measured in
//! turn, over the time on the clock: with both at work each core has to do as much as alone. A run begins when
//! all threads are ready, and ends after the same time for all.

use crate::Bench;
use anyhow::{Context, ensure};
use benches::forwarding::on_core;
use benches::report::{Better, ColumnId, Goal, Role, Table, progress};
use packet::MAX_BATCH;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// The rates of one worker and of two, case by case.
pub(crate) struct TwoWorkers {
    name: &'static str,
    /// How many times the rate of one worker two should have.
    wanted: f64,
    results: Table,
    one: ColumnId,
    two: ColumnId,
    ratio: ColumnId,
}

impl TwoWorkers {
    /// A table without cases. `name` begins the names of its goals.
    ///
    /// # Errors
    /// There is one processor only.
    pub(crate) fn new(name: &'static str, about: &str, wanted: f64) -> anyhow::Result<Self> {
        let cores = thread::available_parallelism().context("count the processors")?.get();
        ensure!(cores >= 2, "two workers need two processors, and there is one");
        let mut results = Table::new(name, about);
        let one = results.column("1 worker", "Mpps", Better::Higher);
        let two = results.column("2 workers", "Mpps", Better::Higher);
        let ratio = results.column("ratio", "", Better::Higher);
        Ok(Self { name, wanted, results, one, two, ratio })
    }

    /// Measures a case. `begin` makes a worker for a core and warms it up, on this core; what it returns
    /// forwards a batch.
    pub(crate) fn measure<Poll: FnMut()>(
        &mut self,
        bench: &mut Bench,
        case: &str,
        begin: impl Fn(usize) -> Poll + Sync,
    ) -> anyhow::Result<()> {
        let Self { name, wanted, ref mut results, one, two, ratio } = *self;
        let row = results.row(case, Role::Ours);
        for run in 1..=bench.args.runs {
            progress(&format!("{name}: {case}, run {run}"));
            let duration = Duration::from_secs_f64(bench.args.seconds);
            let rate = |cores: &[usize]| rate(cores, duration, &begin);
            let (first, both, second) = (rate(&[0])?, rate(&[0, 1])?, rate(&[1])?);
            let alone = (first + second) / 2.0;
            results.record(row, one, alone);
            results.record(row, two, both);
            results.record(row, ratio, both / alone);
        }
        let goal = format!("{name}, {case}: two against one");
        bench.goal(Goal::at_least(&goal, results.median(row, ratio), wanted));
        Ok(())
    }

    /// The table of all cases.
    pub(crate) fn into_results(self) -> Table {
        self.results
    }
}

/// Millions of frames a second that workers on these cores forward together.
fn rate<Poll: FnMut()>(
    cores: &[usize],
    duration: Duration,
    begin: &(impl Fn(usize) -> Poll + Sync),
) -> anyhow::Result<f64> {
    let ready = &Barrier::new(cores.len());
    let worker = |core: usize| {
        on_core(core, || {
            let mut poll = begin(core);
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
    };
    thread::scope(|scope| {
        let threads: Vec<_> = cores.iter().map(|&core| scope.spawn(move || worker(core))).collect();
        let rates = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        rates.sum()
    })
}

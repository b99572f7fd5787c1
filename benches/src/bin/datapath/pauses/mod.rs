//! How long a worker waits while somebody changes all rules, groups or hosts, or looks through them.
//!
//! A daemon in this process has the rules of a set, 10,000 groups and 100,000 hosts. A worker forwards
//! all the while: hits, and in each batch the first frame of a new flow, which asks the tables. The
//! longest time from one batch to the next is what the worker noticed of a [`Step`]: its own work, and
//! the locks that it waited for.
//!
//! The worker has the last processor for itself, the daemon and `ofctl` have the others. On a shared or virtual
//! machine the core may run something that is nobody's of these. The time in which the worker could have run
//! and had no core is therefore left out of what the switch is to answer for. How often the scheduler took the
//! worker off its core, and the gaps while nothing happens, are told as well. A hypervisor may take the core
//! away, too, of which the machine does not know: the gaps while another core counts and the switch does
//! nothing say what to expect of that.

mod daemon;
mod steps;
mod worker;

use crate::Bench;
use crate::programs::{self, Folder};
use crate::sets;
use anyhow::Context;
use benches::generate::RuleSet;
use benches::interrupt;
use benches::report::{Better, ColumnId, Goal, Role, Table, progress};
use daemon::Daemon;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::Arc;
use std::time::Duration;
use steps::{Inputs, Step};
use worker::Worker;

/// Microseconds that a worker's longest pause is to stay below while something happens. The time in which the
/// worker had no core does not count.
const PAUSE: f64 = 1000.0;
/// Until the worker's own start is over.
const WARM_UP: Duration = Duration::from_millis(200);

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    if let Err(error) = programs::find() {
        bench.skip(&format!("pauses skipped: {error}"));
        return Ok(());
    }
    #[cfg(feature = "hold-times")]
    flowtable::time_holds(benches::cpu_time::on_core);
    let folder = Folder::new()?;
    let mut pausing = Pausing::new();
    let result = sets::loaded(bench)
        .and_then(|sets| sets.iter().try_for_each(|set| pausing.measure(bench, &folder, set)));
    bench.report.add(pausing.results);
    result
}

/// What a worker noticed of a step.
#[derive(Clone, Copy, Debug)]
struct Pause {
    /// The longest time between two batches.
    longest: Duration,
    /// The longest one without the time in which the worker could have run and had no core.
    of_switch: Duration,
    /// The longest time on a core that a thread of the daemon spent with one of the locks that a new flow
    /// needs. `None` in builds that do not measure it.
    hold: Option<Duration>,
    /// How often the worker was taken off its core; `None` if the kernel does not say.
    taken_off: Option<u64>,
}

/// The table of pauses.
struct Pausing {
    results: Table,
    longest: ColumnId,
    of_switch: ColumnId,
    worst: ColumnId,
    hold: ColumnId,
    taken_off: ColumnId,
}

impl Pausing {
    fn new() -> Self {
        let about = "the longest time between two batches of a worker while something happens";
        let mut results = Table::new("pauses", about);
        Self {
            longest: results.column("longest pause", "µs", Better::Lower),
            of_switch: results.column("with its core", "µs", Better::Lower),
            worst: results.column("worst run", "µs", Better::Neither),
            hold: results.column("longest hold", "µs", Better::Lower),
            taken_off: results.column("off its core", "times", Better::Neither),
            results,
        }
    }

    fn measure(&mut self, bench: &mut Bench, folder: &Folder, set: &RuleSet) -> anyhow::Result<()> {
        let inputs = Inputs::write(folder, set)?;
        let row =
            |step: &Step| self.results.row(&format!("{}, {}", set.name, step.name), Role::Ours);
        let rows: Vec<_> = Step::ALL.iter().map(row).collect();
        let mut worst = vec![0.0; rows.len()];
        for run in 1..=bench.args.runs {
            interrupt::check()?;
            progress(&format!("pauses: {}, run {run}", set.name));
            let pauses = one_life(folder, &inputs)?;
            for ((row, worst), pause) in rows.iter().zip(&mut worst).zip(pauses) {
                let longest = microseconds(pause.longest);
                *worst = f64::max(*worst, longest);
                self.results.record(*row, self.longest, longest);
                self.results.record(*row, self.of_switch, microseconds(pause.of_switch));
                if let Some(hold) = pause.hold {
                    self.results.record(*row, self.hold, microseconds(hold));
                }
                if let Some(times) = pause.taken_off {
                    self.results.record(*row, self.taken_off, times as f64);
                }
            }
        }
        let name = sets::loaded_goal_name(bench, set);
        for ((step, row), worst) in Step::ALL.iter().zip(rows).zip(worst) {
            self.results.record(row, self.worst, worst.round());
            if step.has_goal() {
                let (of_switch, hold) = (self.of_switch, self.hold);
                for (column, what) in [(of_switch, "longest pause"), (hold, "longest hold")] {
                    let median = self.results.median(row, column);
                    if median.is_some() || column == of_switch {
                        let goal = format!("pauses, {name}, {}: {what}, µs", step.name);
                        bench.goal(Goal::below(&goal, median, PAUSE));
                    }
                }
            }
        }
        Ok(())
    }
}

/// One pause for each step of [`Step::ALL`], in the life of one daemon.
fn one_life(folder: &Folder, inputs: &Inputs) -> anyhow::Result<Vec<Pause>> {
    let all = sched_getaffinity(Pid::from_raw(0))?;
    let cores: Vec<usize> =
        (0..CpuSet::count()).filter(|&c| all.is_set(c).unwrap_or(false)).collect();
    let (&last, others) = cores.split_last().context("no processor")?;
    bind_to(if others.is_empty() { &cores } else { others })?;
    let result = Daemon::start(folder).and_then(|daemon| watch(&daemon, inputs, last));
    sched_setaffinity(Pid::from_raw(0), &all)?;
    result
}

fn watch(daemon: &Daemon, inputs: &Inputs, core: usize) -> anyhow::Result<Vec<Pause>> {
    let worker = Worker::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A worker anywhere is better than none.
            let _ = bind_to(&[core]);
            worker.forward(Arc::clone(daemon.switch.policy()));
        });
        std::thread::sleep(WARM_UP);
        let pause = |step: &Step| {
            step.prepare(daemon, inputs).with_context(|| format!("before {}", step.name))?;
            let before = worker.times_taken_off();
            worker.take_longest();
            take_longest_hold(daemon);
            step.run(daemon, inputs).context(step.name)?;
            let (longest, of_switch) = worker.take_longest();
            let hold = take_longest_hold(daemon);
            let taken_off =
                worker.times_taken_off().zip(before).map(|(after, before)| after - before);
            Ok(Pause { longest, of_switch, hold, taken_off })
        };
        let pauses = Step::ALL.iter().map(pause).collect();
        worker.stop();
        pauses
    })
}

/// The longest hold of a lock since the last call.
#[cfg(feature = "hold-times")]
fn take_longest_hold(daemon: &Daemon) -> Option<Duration> {
    Some(daemon.switch.policy().take_longest_hold_time())
}

/// This build does not measure holds.
#[cfg(not(feature = "hold-times"))]
fn take_longest_hold(_: &Daemon) -> Option<Duration> {
    None
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn bind_to(cores: &[usize]) -> nix::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().try_for_each(|&core| set.set(core))?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

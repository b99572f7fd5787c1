//! How fast a table is loaded, listed and deleted, end to end, and what workers notice of it.
//!
//! A daemon with ports in memory, and `ofctl`, which talks to it over its Unix socket, each in a process
//! of its own. The rules are [generated](benches::generate), or those of the largest ClassBench sets of a
//! folder, expanded. A rate is rules by wall clock, from the start of `ofctl` to its end, reading the
//! file included.
//!
//! Bytes a rule are what the daemon grew by ("Anonymous" of `smaps_rollup`): rules, classifier, counters
//! and what the allocator kept back. The memory of a listing is the growth of its peak.
//!
//! Everything is done again while a worker forwards, whose longest time from batch to batch is told. On
//! a shared or virtual machine such a gap may not be ours: how often the scheduler took the worker off
//! its core, and the gaps while nothing happens, are told as well.

mod pauses;
mod process;
mod programs;
mod rates;
mod worker;

use crate::Bench;
use crate::sets::Wanted;
use benches::classbench_like::SetKind;
use benches::generate::{FAMILIES, RuleSet};
use benches::interrupt;
use benches::report::{Better, ColumnId, Goal, Role, Table, progress};
use flow::text::{NoPortNames, write_match};
use pauses::Step;
use programs::Folder;
use std::fmt::Write;
use std::fs;
use std::path::Path;

const RULES: usize = 100_000;
/// Thousand rules a second that are to be added.
const SPEED: f64 = 500.0;
/// Bytes of memory for a rule.
const BYTES: f64 = 300.0;
/// Microseconds that a worker's longest pause is to stay below, while something happens.
const PAUSE: f64 = 1000.0;
const PAUSES_WITH_A_GOAL: [Step; 5] =
    [Step::Add, Step::List, Step::Replace, Step::Delete, Step::Freed];

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    if let Err(error) = programs::find() {
        bench.skip(&format!("load skipped: {error}"));
        return Ok(());
    }
    let folder = Folder::new()?;
    let (mut loading, mut pausing) = (Loading::new(), Pausing::new());
    let result = sets(bench).and_then(|sets| {
        sets.iter().try_for_each(|set| {
            let file = folder.file(&set.name);
            fs::write(&file, text(set, bench.args.own_actions))?;
            loading.measure(bench, &folder, &file, set)?;
            pausing.measure(bench, &folder, &file, set)
        })
    });
    bench.report.add(loading.results);
    bench.report.add(pausing.results);
    result
}

/// The sets, by name; made ones say so in goals.
fn sets(bench: &Bench) -> anyhow::Result<Vec<RuleSet>> {
    if bench.args.classbench.is_none() {
        let set = RuleSet::generate(FAMILIES[0], RULES);
        return Ok(if bench.wants(&set.name) { vec![set] } else { Vec::new() });
    }
    SetKind::ALL
        .into_iter()
        .map(|kind| Wanted(kind, RULES))
        .filter(|wanted| bench.wants(&wanted.name(bench)))
        .map(|wanted| Ok(RuleSet::from(&wanted.get(bench)?)))
        .collect()
}

fn goal_name(bench: &Bench, set: &RuleSet) -> String {
    match &bench.args.classbench {
        Some(_) => set.name.clone(),
        None => format!("{} (made)", set.name),
    }
}

/// The rules as a file.
fn text(set: &RuleSet, own_actions: bool) -> String {
    let mut out = String::new();
    for (n, (priority, matching)) in set.rules.iter().enumerate() {
        write_match(&mut out, matching, *priority, &NoPortNames);
        let _ = if own_actions {
            writeln!(out, " actions=set_field:{n}->reg0,output:{}", 1 + n % 4)
        } else {
            writeln!(out, " actions=output:{}", 1 + n % 4)
        };
    }
    out
}

/// The table of rates and sizes.
struct Loading {
    results: Table,
    rules: ColumnId,
    add: ColumnId,
    replace: ColumnId,
    list: ColumnId,
    delete: ColumnId,
    size: ColumnId,
    peak: ColumnId,
    list_memory: ColumnId,
}

impl Loading {
    fn new() -> Self {
        let mut results = Table::new("load", "rules in a daemon, through its socket");
        let speed = "k rules/s";
        let mut column = |name, unit, better| results.column(name, unit, better);
        Self {
            rules: column("rules", "", Better::Neither),
            add: column("add", speed, Better::Higher),
            replace: column("replace", speed, Better::Higher),
            list: column("list", speed, Better::Higher),
            delete: column("delete", speed, Better::Higher),
            size: column("memory", "bytes/rule", Better::Lower),
            peak: column("peak", "bytes/rule", Better::Lower),
            list_memory: column("listing", "KiB", Better::Lower),
            results,
        }
    }

    fn measure(
        &mut self,
        bench: &mut Bench,
        folder: &Folder,
        file: &Path,
        set: &RuleSet,
    ) -> anyhow::Result<()> {
        let row = self.results.row(&set.name, Role::Ours);
        for run in 1..=bench.args.runs {
            interrupt::check()?;
            progress(&format!("load: {}, run {run}", set.name));
            let rates = rates::measure(folder, file, set.rules.len())?;
            for (column, value) in [
                (self.rules, rates.rules as f64),
                (self.add, rates.add),
                (self.replace, rates.replace),
                (self.list, rates.list),
                (self.delete, rates.delete),
                (self.size, rates.size),
                (self.peak, rates.peak),
                (self.list_memory, (rates.list_memory >> 10) as f64),
            ] {
                self.results.record(row, column, value);
            }
        }
        let name = goal_name(bench, set);
        let (add, size) = (self.results.median(row, self.add), self.results.median(row, self.size));
        bench.goal(Goal::at_least(&format!("load, {name}: thousand rules a second"), add, SPEED));
        bench.goal(Goal::at_most(&format!("load, {name}: bytes a rule"), size, BYTES));
        Ok(())
    }
}

/// The table of pauses.
struct Pausing {
    results: Table,
    longest: ColumnId,
    worst: ColumnId,
    taken_off: ColumnId,
}

impl Pausing {
    fn new() -> Self {
        let about = "the longest time between two batches of a worker while tables change";
        let mut results = Table::new("pauses", about);
        Self {
            longest: results.column("longest pause", "µs", Better::Lower),
            worst: results.column("worst run", "µs", Better::Neither),
            taken_off: results.column("off its core", "times", Better::Neither),
            results,
        }
    }

    fn measure(
        &mut self,
        bench: &mut Bench,
        folder: &Folder,
        file: &Path,
        set: &RuleSet,
    ) -> anyhow::Result<()> {
        let rows = Step::ALL
            .map(|step| self.results.row(&format!("{}, {}", set.name, step.name()), Role::Ours));
        let mut worst = [0.0; Step::ALL.len()];
        for run in 1..=bench.args.runs {
            interrupt::check()?;
            progress(&format!("load: {}, pauses, run {run}", set.name));
            let pauses = pauses::measure(folder, file)?;
            for ((row, worst), pause) in rows.into_iter().zip(&mut worst).zip(pauses) {
                let longest = pause.longest.as_secs_f64() * 1e6;
                *worst = f64::max(*worst, longest);
                self.results.record(row, self.longest, longest);
                if let Some(times) = pause.taken_off {
                    self.results.record(row, self.taken_off, times as f64);
                }
            }
        }
        let name = goal_name(bench, set);
        for ((step, row), worst) in Step::ALL.into_iter().zip(rows).zip(worst) {
            self.results.record(row, self.worst, worst.round());
            if PAUSES_WITH_A_GOAL.contains(&step) {
                let goal = format!("load, {name}: longest pause while {}, µs", step.name());
                bench.goal(Goal::below(&goal, self.results.median(row, self.longest), PAUSE));
            }
        }
        Ok(())
    }
}

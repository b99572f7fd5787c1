//! How fast a table is loaded, listed and deleted, end to end, and how much memory it takes.
//!
//! A daemon with ports in memory, and `ofctl`, which talks to it over its Unix socket, each in a process of its
//! own. The rules are [generated](benches::generate), or those of the largest ClassBench sets of a folder,
//! expanded. A rate is rules by wall clock, from the start of `ofctl` to its end, reading the file included.
//!
//! Bytes a rule are what the daemon grew by ("Anonymous" of `smaps_rollup`): rules, classifier, counters
//! and what the allocator kept back. The memory of a listing is the growth of its peak.

mod process;
mod rates;

use crate::Bench;
use crate::programs::{self, Folder};
use crate::sets;
use benches::generate::RuleSet;
use benches::interrupt;
use benches::report::{Better, ColumnId, Goal, Role, Table, progress};
use std::fs;
use std::path::Path;

/// Thousand rules a second that are to be added.
const SPEED: f64 = 500.0;
/// Bytes of memory for a rule.
const BYTES: f64 = 300.0;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    if let Err(error) = programs::find() {
        bench.skip(&format!("load skipped: {error}"));
        return Ok(());
    }
    let folder = Folder::new()?;
    let mut loading = Loading::new();
    let result = sets::loaded(bench).and_then(|sets| {
        sets.iter().try_for_each(|set| {
            let file = folder.file(&set.name);
            fs::write(&file, sets::text(set, sets::common_actions(bench)))?;
            loading.measure(bench, &folder, &file, set)
        })
    });
    bench.report.add(loading.results);
    result
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
        let name = sets::loaded_goal_name(bench, set);
        let (add, size) = (self.results.median(row, self.add), self.results.median(row, self.size));
        bench.goal(Goal::at_least(&format!("load, {name}: thousand rules a second"), add, SPEED));
        bench.goal(Goal::at_most(&format!("load, {name}: bytes a rule"), size, BYTES));
        Ok(())
    }
}

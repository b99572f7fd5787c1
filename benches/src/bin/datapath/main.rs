//! How fast the switch decides, without ports that do I/O: the datapath, the classifier behind it, and
//! the tables' way in and out, with what workers notice of that.
//!
//! ```text
//! cargo build --release && cargo run --release -p benches --bin datapath -- --goals --svg datapath.svg
//! ```
//!
//! Each scenario gives a table, and is a module that says what the scenario measures. Unless the module says
//! otherwise, a rate is frames per second of the thread's time on its core, the fabrication of the frames and
//! the reading of the clock included, and the median of several runs.

mod attack;
mod cache;
mod churn;
mod classbench;
mod classifier;
mod conjunction;
mod connections;
mod deep;
mod flows;
mod load;
mod meter;
mod pauses;
mod programs;
mod recirculation;
mod rules;
mod sets;
mod setup;
mod two_workers;
mod workers;

use anyhow::ensure;
use benches::interrupt;
use benches::report::{Conditions, Goal, OutputArgs, Report, progress};
use clap::{Parser, ValueEnum};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measure the datapath between null ports, the classifier, and loading and listing tables.
///
/// Needs neither root nor files, and says what it skips. Everything takes some
/// minutes; the table shows medians.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  datapath --goals
  datapath flows cache --runs 5
  datapath classbench classifier load --classbench DIR --sets acl1_10000,acl1_100000
  datapath --json results.json --svg results.svg")]
struct Args {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Seconds of one run
    #[arg(long, default_value_t = 0.2)]
    seconds: f64,
    /// Runs of which the median is taken
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// A folder with ClassBench sets: each NAME.rules.gz or NAME.rules with its NAME.trace.gz or NAME.trace
    #[arg(long, value_name = "DIR")]
    classbench: Option<PathBuf>,
    /// Only these sets of rules, by the names in the tables [default: all]
    #[arg(long, value_name = "SET", value_delimiter = ',')]
    sets: Vec<String>,
    /// Load rules that have actions of their own, each of them
    #[arg(long)]
    own_actions: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Cached traffic, by number of flows; all in 16 cached flows, or each in one of its own
    Flows,
    /// The same traffic with caches and without
    Cache,
    /// Cached traffic through one worker, and through two on two cores
    Workers,
    /// New flows, through one rule and ten thousand, caches cold
    Setup,
    /// Cached traffic while rules change that it does not meet
    Churn,
    /// Cached traffic while somebody sends what makes most work
    Attack,
    /// A pipeline of twenty tables, with caches and without
    Deep,
    /// Frames that are looked up twice: popped labels, and select groups as in Open vSwitch
    Recirculation,
    /// Frames that go through a meter, and the same frames without
    Meter,
    /// Frames that ct(...) tracks: established connections, new ones, floods, and two workers
    Connections,
    /// A table of conjunctions, and the same clauses as plain rules
    Conjunction,
    /// The traces of ClassBench sets, made ones unless a folder is named
    Classbench,
    /// The classifier alone, on ClassBench sets or made ones, against linear search
    Classifier,
    /// Adding, listing and deleting 100,000 rules in a daemon: rules a second, and memory
    Load,
    /// How long a worker waits while somebody changes or looks through all rules, groups or hosts
    Pauses,
}

impl Scenario {
    fn run(self, bench: &mut Bench) -> anyhow::Result<()> {
        match self {
            Self::Flows => flows::run(bench),
            Self::Cache => cache::run(bench),
            Self::Workers => return workers::run(bench),
            Self::Setup => setup::run(bench),
            Self::Churn => churn::run(bench),
            Self::Attack => return attack::run(bench),
            Self::Deep => deep::run(bench),
            Self::Recirculation => recirculation::run(bench),
            Self::Meter => meter::run(bench),
            Self::Connections => return connections::run(bench),
            Self::Conjunction => return conjunction::run(bench),
            Self::Classbench => return classbench::run(bench),
            Self::Classifier => return classifier::run(bench),
            Self::Load => return load::run(bench),
            Self::Pauses => return pauses::run(bench),
        }
        Ok(())
    }
}

/// What was asked for, and what has come of it.
struct Bench {
    args: Args,
    report: Report,
    /// Names of the sets of rules that there were to measure.
    sets: RefCell<BTreeSet<String>>,
}

impl Bench {
    /// Adds a goal, if goals were asked for.
    fn goal(&mut self, goal: Goal) {
        if self.args.output.goals {
            self.report.goal(goal);
        }
    }

    /// Says what is missing: at once, as it may be mended, and below the tables.
    fn skip(&mut self, what: &str) {
        progress("");
        eprintln!("{what}");
        self.report.note(what);
    }

    /// Whether a set of rules was asked for.
    fn wants(&self, set: &str) -> bool {
        self.sets.borrow_mut().insert(set.to_owned());
        self.args.sets.is_empty() || self.args.sets.iter().any(|name| name == set)
    }

    /// Says which sets were asked for that there are none of, in the scenarios that ran.
    fn name_unknown_sets(&mut self) {
        let known = self.sets.take();
        let unknown: Vec<_> =
            self.args.sets.iter().filter(|set| !known.contains(*set)).cloned().collect();
        let known: Vec<_> = known.into_iter().collect();
        for set in unknown {
            self.skip(&format!("--sets: there is no {set:?} here; there are {}", known.join(", ")));
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    // As the daemon does, whose part this program plays in some scenarios.
    ports::free_evenly();
    let args = Args::parse();
    if let Some(dir) = &args.classbench {
        ensure!(dir.is_dir(), "--classbench: {}: no such folder", dir.display());
    }
    let outputs = args.output.open()?;
    interrupt::watch()?;
    let report = Report::new("Datapath", Conditions::here());
    let mut bench = Bench { args, report, sets: RefCell::default() };
    for scenario in Scenario::value_variants() {
        if bench.args.scenarios.is_empty() || bench.args.scenarios.contains(scenario) {
            if let Err(error) = scenario.run(&mut bench) {
                let name = format!("{scenario:?}").to_lowercase();
                bench.skip(&format!("{name} failed: {error:#}"));
            }
            if interrupt::has_come() {
                break;
            }
        }
    }
    if !interrupt::has_come() {
        bench.name_unknown_sets();
    }
    progress("");
    outputs.write(&bench.report)
}

//! How fast a controller drives the switch, and Open vSwitch in its place. See [`benches::openflow`].
//!
//! ```text
//! cargo build --release && cargo run --release -p benches --bin openflow -- --goals
//! ```

use anyhow::{Context, ensure};
use benches::interrupt::{self, Guard};
use benches::openflow::{PeerKind, Plan, Scenario, measure};
use benches::report::{Conditions, OutputArgs, Report, progress};
use clap::{Parser, ValueEnum};
use lab::enter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measure what a controller does with a switch over OpenFlow: flow mods,
/// bundles, flow statistics, packet-ins, monitors.
///
/// Builds its own network namespaces and needs no root; what cannot be measured is skipped, with the reason.
/// The switches are measured in turn, several times; the tables show medians.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  openflow --goals
  openflow load --runs 5 --peers switchd
  openflow load --classbench DIR --goals")]
struct Args {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// The switches to measure [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<PeerKind>,
    /// Runs of which the median is taken
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Seconds of a measurement that does not end by itself
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// A folder with the ClassBench set acl1_100k: acl1_100k.rules.gz and acl1_100k.trace.gz, or without .gz
    #[arg(long, value_name = "DIR")]
    classbench: Option<PathBuf>,
    /// Filters of the set that is made unless --classbench names a folder
    #[arg(long, default_value_t = 100_000)]
    filters: usize,
    #[command(flatten)]
    output: OutputArgs,
    /// The switch; the one built beside this program unless said otherwise
    #[arg(long, value_name = "PATH")]
    switchd: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if let Some(dir) = &args.classbench {
        ensure!(dir.is_dir(), "--classbench: {}: no such folder", dir.display());
    }
    let outputs = args.output.open()?;
    enter()?;
    // After that, which the kernel refuses to a process with threads.
    interrupt::watch()?;
    let _guard = Guard::new();
    let mut report = Report::new("OpenFlow", Conditions::here());
    let goals = measure(&plan(&args)?, &mut report);
    progress("");
    if args.output.goals {
        goals.into_iter().for_each(|goal| report.goal(goal));
    }
    outputs.write(&report)
}

fn plan(args: &Args) -> anyhow::Result<Plan> {
    let beside = std::env::current_exe()?.with_file_name("switchd");
    Ok(Plan {
        runs: args.runs,
        duration: Duration::try_from_secs_f64(args.seconds).context("--seconds")?,
        switchd: args.switchd.clone().unwrap_or(beside),
        classbench: args.classbench.clone(),
        filters: args.filters,
        peers: chosen(&args.peers),
        scenarios: chosen(&args.scenarios),
    })
}

/// What was asked for, or everything.
fn chosen<T: ValueEnum + Clone>(asked: &[T]) -> Vec<T> {
    if asked.is_empty() { T::value_variants().to_vec() } else { asked.to_vec() }
}

//! How fast frames get from one host to another: through the switch, through others in its place, and
//! through nothing but a veth pair. See [`benches::forwarding`].
//!
//! ```text
//! cargo build --release && cargo run --release -p benches --bin forwarding
//! ```

use anyhow::{Context, ensure};
use benches::forwarding::{
    Figure, IdlePorts, Measure, Network, Plan, Programs, RingGeometry, Through, goals::goals, hot,
    many_ports, tap_loop, tunnels,
};
use benches::interrupt::{self, Guard};
use benches::report::{
    ColumnId, Conditions, Goal, OutputArgs, Report, Role, RowId, Table, progress,
};
use clap::Parser;
use lab::enter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measure frames, TCP and round trips between two hosts, through the switch and others in its place.
///
/// Builds its own network namespaces and needs no root; what cannot be measured is skipped, with the
/// reason. Everything is measured in turn, several times; the table shows medians.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  forwarding
  forwarding --through switchd,ovs --measure frames --goals
  forwarding --json results.json --svg results.svg
  forwarding --geometry --measure frames,tcp
  forwarding --geometry=480x69632,4096x2048
  forwarding --ports 1000 --runs 5 --goals
  forwarding --tunnels --runs 5 --goals
  forwarding --kernel-cache --runs 5 --goals")]
struct Args {
    /// What to put between the hosts [default: everything]
    #[arg(long, value_enum, value_delimiter = ',')]
    through: Vec<Through>,
    /// What to measure [default: everything]
    #[arg(long, value_enum, value_delimiter = ',')]
    measure: Vec<Measure>,
    /// Seconds that a figure is measured in each run
    #[arg(long, default_value = "0.5", value_parser = seconds)]
    seconds: Duration,
    /// Runs of which the median is taken
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Compare receive rings of the switch instead: slots and their size, as 4096x2048
    #[arg(long, value_name = "RING", value_delimiter = ',', num_args = 0.., require_equals = true)]
    #[arg(conflicts_with_all = ["goals", "through"])]
    geometry: Option<Vec<RingGeometry>>,
    /// Measure a switch of this many ports instead: starting, stopping, idle ports beside busy ones, floods
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1020))]
    #[arg(conflicts_with_all = ["geometry", "through", "measure"])]
    ports: Option<u16>,
    /// Measure tunnels instead: from host to host over a network between two switches, and what a frame costs
    #[arg(long, conflicts_with_all = ["geometry", "through", "measure", "ports"])]
    tunnels: bool,
    /// Measure the kernel cache instead: frames that it does not forward, TCP beside changes and attacks, many
    /// flows and ports
    #[arg(long, conflicts_with_all = ["geometry", "through", "measure", "ports", "tunnels"])]
    kernel_cache: bool,
    #[command(flatten)]
    output: OutputArgs,
    /// The switch; the one built beside this program unless said otherwise
    #[arg(long, value_name = "PATH")]
    switchd: Option<PathBuf>,
    /// Move frames between these two TAP devices: what the switch is compared with
    #[arg(long, hide = true, value_delimiter = ',')]
    tap_loop: Option<Vec<String>>,
}

/// Reads a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("\"{text}\" is not a number of seconds from 0.01 to 3600"))
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if let Some(devices) = &args.tap_loop {
        let devices = <&[String; 2]>::try_from(&devices[..]).context("two devices")?;
        return tap_loop::run(devices).map(|()| ExitCode::SUCCESS);
    }
    let outputs = args.output.open()?;
    enter()?;
    // After that, which the kernel refuses to a process with threads.
    interrupt::watch()?;
    let _guard = Guard::new();
    if let Some(ports) = args.ports {
        let measure = |plan, report: &mut _| {
            let Plan { duration, runs, programs } = plan;
            many_ports::measure(&many_ports::Plan { ports, duration, runs, programs }, report)
        };
        return outputs.write(&report_of(&args, "Many ports", measure)?);
    }
    if args.tunnels {
        let measure = |plan, report: &mut _| tunnels::measure(&plan, report);
        return outputs.write(&report_of(&args, "Tunnels", measure)?);
    }
    if args.kernel_cache {
        let measure = |plan, report: &mut _| hot::measure(&plan, report);
        return outputs.write(&report_of(&args, "Kernel cache", measure)?);
    }
    let mut board = Board::new(&args);
    board.build(&args)?;
    board.measure(&args);
    if args.output.goals {
        board.compare();
    }
    outputs.write(&board.finish())
}

/// The report about something that has a benchmark of its own, which `measure` measures.
fn report_of(
    args: &Args,
    title: &str,
    measure: impl FnOnce(Plan, &mut Report) -> anyhow::Result<Vec<Goal>>,
) -> anyhow::Result<Report> {
    let mut report = Report::new(title, Conditions::here());
    let plan = Plan { duration: args.seconds, runs: args.runs, programs: programs(args)? };
    let goals = measure(plan, &mut report)?;
    progress("");
    if args.output.goals {
        goals.into_iter().for_each(|goal| report.goal(goal));
    }
    Ok(report)
}

fn programs(args: &Args) -> anyhow::Result<Programs> {
    let this = std::env::current_exe()?;
    let beside = this.with_file_name("switchd");
    Ok(Programs { switchd: args.switchd.clone().unwrap_or(beside), tap_loop: (this, "--tap-loop") })
}

/// The networks, and what is known of them.
struct Board {
    report: Report,
    table: Table,
    entries: Vec<Entry>,
    columns: Vec<(Figure, ColumnId)>,
}

/// A row of the table, with its network unless it could not be built.
struct Entry {
    through: Through,
    geometry: Option<RingGeometry>,
    name: String,
    row: RowId,
    network: Option<Network>,
}

impl Board {
    fn new(args: &Args) -> Self {
        let report = Report::new("Forwarding", Conditions::here());
        let mut table = Table::default();
        let chosen = |through| args.through.is_empty() || args.through.contains(&through);
        let wanted: Vec<_> = if let Some(geometries) = &args.geometry {
            let compared = if geometries.is_empty() { RingGeometry::COMPARED } else { geometries };
            compared.iter().map(|geometry| (Through::Switchd, Some(*geometry))).collect()
        } else {
            let all = Through::ALL.iter().copied();
            all.filter(|through| chosen(*through)).map(|through| (through, None)).collect()
        };
        let mut entries = Vec::new();
        for (through, geometry) in wanted {
            let (name, role) = match geometry {
                None => (through.name().to_owned(), through.role()),
                Some(geometry) => (geometry.to_string(), Role::Ours),
            };
            let row = table.row(&name, role);
            entries.push(Entry { through, geometry, name, row, network: None });
        }
        let figures = measures(args).into_iter().flat_map(Measure::steps).flat_map(|s| s.figures());
        let columns = figures
            .map(|figure| (figure, table.column(&figure.name(), figure.unit(), figure.better())));
        let columns = columns.collect();
        Self { report, table, entries, columns }
    }

    fn build(&mut self, args: &Args) -> anyhow::Result<()> {
        let programs = programs(args)?;
        for entry in &mut self.entries {
            interrupt::check()?;
            progress(&format!("building {}", entry.name));
            match Network::build(entry.through, entry.geometry, IdlePorts::None, &programs) {
                Ok(network) => entry.network = Some(network),
                Err(error) => self.report.note(format!("{} skipped: {error:#}", entry.name)),
            }
        }
        progress("");
        let mut networks =
            self.entries.iter().filter_map(|entry| entry.network.as_ref()).peekable();
        ensure!(networks.peek().is_some(), "{}", self.report);
        let slow_source = networks.find_map(Network::slow_source);
        if let Some(reason) = slow_source.filter(|_| measures(args).contains(&Measure::Frames)) {
            self.report.note(format!(
                "frames come from a packet socket, which is slow; raise \"ulimit -l\", or run as root: \
                 {reason}"
            ));
        }
        Ok(())
    }

    /// Everything in turn, so that what disturbs the machine for a while disturbs all of them.
    fn measure(&mut self, args: &Args) {
        let steps: Vec<_> = measures(args).into_iter().flat_map(Measure::steps).collect();
        let mut hopeless = Vec::new();
        let total = usize::from(args.runs) * steps.len() * self.entries.len();
        let mut done = 0;
        for run in 1..=args.runs {
            for &step in &steps {
                for entry in &self.entries {
                    done += 1;
                    let Some(network) = &entry.network else { continue };
                    if hopeless.contains(&(entry.row, step)) {
                        continue;
                    }
                    let figures = step.figures();
                    let what = figures[0].name();
                    progress(&format!("{done}/{total} run {run}: {what}, {}", entry.name));
                    let columns =
                        figures.iter().filter_map(|figure| column(&self.columns, *figure));
                    let result = step.run(network, args.seconds);
                    if interrupt::has_come() {
                        progress("");
                        self.report.note("interrupted: not everything was measured");
                        return;
                    }
                    match result {
                        Ok(values) => columns.zip(values).for_each(|(column, value)| {
                            self.table.record(entry.row, column, value)
                        }),
                        Err(error) => {
                            hopeless.push((entry.row, step));
                            let error = format!("{error:#}");
                            columns.for_each(|c| self.table.miss(entry.row, c, error.as_str()));
                        }
                    }
                }
            }
        }
        progress("");
    }

    fn compare(&mut self) {
        let goals = goals(|through, figure| {
            let entry = self.entries.iter().find(|entry| entry.through == through)?;
            self.table.median(entry.row, column(&self.columns, figure)?)
        });
        goals.into_iter().for_each(|goal| self.report.goal(goal));
    }

    fn finish(mut self) -> Report {
        self.report.add(self.table);
        self.report
    }
}

fn measures(args: &Args) -> Vec<Measure> {
    let all = Measure::ALL.iter().copied();
    all.filter(|m| args.measure.is_empty() || args.measure.contains(m)).collect()
}

fn column(columns: &[(Figure, ColumnId)], figure: Figure) -> Option<ColumnId> {
    columns.iter().find(|(known, _)| *known == figure).map(|(_, column)| *column)
}

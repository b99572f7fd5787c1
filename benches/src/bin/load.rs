//! How fast a table is loaded, listed and deleted, end to end, and what workers notice of it.
//!
//! ```text
//! cargo build --release && cargo run --release -p benches --bin load -- [DIR [SET ...]]
//! ```
//!
//! A daemon with ports in memory, and `ofctl`, which talks to it over its Unix socket, each in a process. Without arguments the rules are [generated](benches::generate), else they
//! are the expanded ClassBench sets of a folder. A rate is rules by wall clock, from the start of
//! `ofctl` to its end.
//!
//! Bytes a rule are what the daemon grew by ("Anonymous" of `smaps_rollup`): rules, classifier, counters and
//! what the allocator kept back. A dump's memory is the growth of its peak.
//!
//! Everything is done again with the daemon in this process, while a worker forwards: hits, and one new
//! flow a batch, which has to ask the tables. It has the last processor for itself, the others are the daemon's, and its longest time
//! from batch to batch is quoted: with nothing else going on, while loading, listing and deleting.

use anyhow::{Context, ensure};
use benches::classbench::Set;
use benches::generate::{FAMILIES, RuleSet};
use benches::null_port::NullSwitch;
use benches::workload::{Family, MACS, Order, Tuple, Workload};
use clap::Parser;
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::pipeline::Pipeline;
use flowtable::pipeline::ports::PortInfo;
use flowtable::text::{NoPortNames, write_match};
use flowtable::types::{MacAddr, OfPort, PortNo};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::fmt::Write;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use switchd::monitor::Monitor;
use switchd::server::{Server, bind};
use switchd::switch::{Config, Switch};

/// Measure adding, listing and deleting large tables.
#[derive(Parser)]
struct Args {
    /// A folder with ClassBench sets.
    dir: Option<PathBuf>,
    /// Sets of the folder.
    #[arg(default_values_t = ["acl1_100000", "fw1_100000", "ipc1_100000"].map(str::to_owned))]
    sets: Vec<String>,
    /// Give each rule actions of its own.
    #[arg(long)]
    own_actions: bool,
    /// Times each thing is done.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let sets: Vec<RuleSet> = match &args.dir {
        None => vec![RuleSet::generate(FAMILIES[0], 100_000)],
        Some(dir) => {
            let load = |name: &String| Set::load(dir, name).with_context(|| format!("load {name}"));
            args.sets
                .iter()
                .map(|name| Ok(RuleSet::from(&load(name)?)))
                .collect::<anyhow::Result<_>>()?
        }
    };
    println!(
        "{:<12} {:>7} | {:>7} {:>7} | {:>6} {:>6} | {:>7} {:>7} | {:>7}",
        "set", "rules", "add", "again", "B/rule", "peak", "dump", "memory", "delete"
    );
    println!(
        "{:<12} {:>7} | {:>15} | {:>13} | {:>7} {:>7} | {:>7}",
        "", "", "k rules/s", "", "k/s", "KiB", "k/s"
    );
    let folder = Folder::new()?;
    for set in &sets {
        let file = folder.0.join(&set.name);
        fs::write(&file, text(set, args.own_actions))?;
        let mut results: Vec<Rates> = (0..args.runs.max(1))
            .map(|_| rates(&folder, &file, set.rules.len()))
            .collect::<Result<_, _>>()?;
        results.sort_by(|a, b| a.add.total_cmp(&b.add));
        let r = &results[results.len() / 2];
        println!(
            "{:<12} {:>7} | {:>7.0} {:>7.0} | {:>6.0} {:>6.0} | {:>7.0} {:>7} | {:>7.0}",
            set.name,
            r.rules,
            r.add,
            r.again,
            r.size,
            r.peak,
            r.dump,
            r.dump_memory >> 10,
            r.delete
        );
    }
    println!(
        "\n{:<12} longest time between two batches of a worker, us: median of runs (worst)",
        "set"
    );
    for set in &sets {
        let file = folder.0.join(&set.name);
        let runs: Vec<Vec<(&str, Duration)>> =
            (0..args.runs.max(1)).map(|_| pauses(&folder, &file)).collect::<Result<_, _>>()?;
        print!("{:<12}", set.name);
        for (n, (what, _)) in runs[0].iter().enumerate() {
            let mut times: Vec<u128> = runs.iter().map(|run| run[n].1.as_micros()).collect();
            times.sort_unstable();
            print!(" {what} {} ({})", times[times.len() / 2], times[times.len() - 1]);
        }
        println!();
    }
    Ok(())
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

/// What one daemon's life gave.
struct Rates {
    rules: u64,
    /// Thousand rules a second.
    add: f64,
    again: f64,
    dump: f64,
    delete: f64,
    /// Bytes a rule.
    size: f64,
    peak: f64,
    dump_memory: u64,
}

fn rates(folder: &Folder, file: &Path, lines: usize) -> anyhow::Result<Rates> {
    let daemon = Process::start(folder)?;
    let ofctl = |arguments: &[&str]| ofctl(&daemon.socket, arguments);
    // Whatever is allocated once is allocated now.
    ofctl(&["add-flow", "priority=1,actions=drop"])?;
    ofctl(&["del-flows"])?;
    let before = daemon.memory()?;
    daemon.reset_peak()?;
    let per_second = |rules: u64, time: Duration| rules as f64 / time.as_secs_f64() / 1e3;
    let file = file.to_str().context("a path of text")?;
    let add = ofctl(&["add-flows", file])?;
    let peak = daemon.peak()?.saturating_sub(before);
    let size = daemon.memory()?.saturating_sub(before);
    let rules = daemon.rules()?;
    daemon.reset_peak()?;
    let at_rest = daemon.memory()?;
    let dump = ofctl(&["dump-flows"])?;
    let dump_memory = daemon.peak()?.saturating_sub(at_rest);
    let again = ofctl(&["add-flows", file])?;
    let delete = ofctl(&["del-flows"])?;
    ensure!(daemon.rules()? == 0, "rules were left");
    Ok(Rates {
        rules,
        add: per_second(lines as u64, add),
        again: per_second(lines as u64, again),
        dump: per_second(rules, dump),
        delete: per_second(rules, delete),
        size: size as f64 / rules as f64,
        peak: peak as f64 / rules as f64,
        dump_memory,
    })
}

/// The longest time from one batch of a worker to the next while things happen.
fn pauses(folder: &Folder, file: &Path) -> anyhow::Result<Vec<(&'static str, Duration)>> {
    let all = sched_getaffinity(Pid::from_raw(0))?;
    let cores: Vec<usize> =
        (0..CpuSet::count()).filter(|&c| all.is_set(c).unwrap_or(false)).collect();
    let (&last, others) = cores.split_last().context("no processor")?;
    bind_to(if others.is_empty() { &cores } else { others })?;
    let daemon = Daemon::start(folder)?;
    let worker = Gaps::default();
    let file = file.to_str().context("a path of text")?;
    let result = std::thread::scope(|scope| {
        let pipeline = Arc::clone(daemon.switch.pipeline());
        let worker = &worker;
        let thread = scope.spawn(move || {
            // A worker anywhere is better than none.
            let _ = bind_to(&[last]);
            worker.forward(pipeline);
        });
        let run = || {
            std::thread::sleep(Duration::from_millis(200));
            let mut times = Vec::new();
            let mut measure = |what, work: &mut dyn FnMut() -> anyhow::Result<()>| {
                worker.longest.store(0, Ordering::Relaxed);
                work()?;
                times.push((what, Duration::from_nanos(worker.longest.load(Ordering::Relaxed))));
                anyhow::Ok(())
            };
            let rest = || {
                std::thread::sleep(Duration::from_millis(700));
                anyhow::Ok(())
            };
            measure("idle", &mut || rest())?;
            measure("add", &mut || ofctl(&daemon.socket, &["add-flows", file]).map(drop))?;
            measure("loaded", &mut || rest())?;
            measure("dump", &mut || ofctl(&daemon.socket, &["dump-flows"]).map(drop))?;
            measure("again", &mut || ofctl(&daemon.socket, &["add-flows", file]).map(drop))?;
            measure("delete", &mut || ofctl(&daemon.socket, &["del-flows"]).map(drop))?;
            measure("freed", &mut || rest())?;
            anyhow::Ok(times)
        };
        let result = run();
        worker.stop.store(true, Ordering::Relaxed);
        let _ = thread.join();
        result
    });
    sched_setaffinity(Pid::from_raw(0), &all)?;
    result
}

/// A worker that watches the clock.
#[derive(Default)]
struct Gaps {
    longest: AtomicU64,
    stop: AtomicBool,
}

impl Gaps {
    fn forward(&self, pipeline: Arc<Pipeline>) {
        let datapath = Datapath::new(pipeline, CacheConfig::default(), 1, 1);
        let mut switch = NullSwitch::new(datapath, Family::V4);
        let mut known = Workload::numbered(1000, Order::Rotation);
        let mut fresh = 1000;
        let mut last = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            switch.poll_with(32, |n| {
                if n > 0 {
                    return (known.next_flow(), MACS);
                }
                fresh += 1;
                (Tuple::numbered(fresh), MACS)
            });
            let now = Instant::now();
            self.longest.fetch_max((now - last).as_nanos() as u64, Ordering::Relaxed);
            last = now;
        }
    }
}

fn bind_to(cores: &[usize]) -> nix::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().try_for_each(|&core| set.set(core))?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// A switch with four ports that lead nowhere, and its socket.
struct Daemon {
    socket: PathBuf,
    switch: Arc<Switch>,
    _monitor: Monitor,
    _server: Server,
}

impl Daemon {
    fn start(folder: &Folder) -> anyhow::Result<Self> {
        let socket = folder.0.join("socket");
        let listener = bind(&socket)?;
        let switch = Arc::new(Switch::start(Config::new(Vec::new()))?);
        switch.pipeline().with_ports(|ports| {
            for n in 0..4 {
                let mac = MacAddr([2, 0, 0, 0, 0xff, n as u8]);
                ports.insert(PortInfo::new(PortNo(n), OfPort(n + 1), &format!("null{n}"), mac));
            }
        });
        let _monitor = Monitor::start(Arc::clone(&switch))?;
        let _server = Server::start(listener, Arc::clone(&switch))?;
        Ok(Self { socket, switch, _monitor, _server })
    }
}

/// A daemon in a process of its own.
struct Process {
    socket: PathBuf,
    child: Child,
}

impl Process {
    fn start(folder: &Folder) -> anyhow::Result<Self> {
        let socket = folder.0.join("process");
        let mut command = program("switchd")?;
        command.args(["--port", "dummy:a", "--port", "dummy:b", "--socket"]).arg(&socket);
        let child = command.stderr(Stdio::null()).spawn().context("start switchd")?;
        let daemon = Self { socket, child };
        let deadline = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(&daemon.socket).is_err() {
            ensure!(Instant::now() < deadline, "switchd does not answer");
            std::thread::yield_now();
        }
        Ok(daemon)
    }

    fn rules(&self) -> anyhow::Result<u64> {
        let output = program("ofctl")?
            .args(["--socket".as_ref(), self.socket.as_os_str()])
            .arg("dump-aggregate")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let count = text.trim_end().rsplit_once("flow_count=");
        count.and_then(|(_, n)| n.parse().ok()).context("ofctl does not count the rules")
    }

    /// What is in memory now, in bytes, without the pages of programs and libraries.
    fn memory(&self) -> anyhow::Result<u64> {
        self.kib("smaps_rollup", "Anonymous")
    }

    /// The most since [`reset_peak`](Self::reset_peak).
    fn peak(&self) -> anyhow::Result<u64> {
        self.kib("status", "VmHWM")
    }

    fn reset_peak(&self) -> anyhow::Result<()> {
        // proc(5): 5 sets the peak to what is used now.
        fs::write(self.proc("clear_refs"), "5").context("reset the peak of memory")
    }

    fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.child.id()).into()
    }

    fn kib(&self, file: &str, what: &str) -> anyhow::Result<u64> {
        let path = self.proc(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let line = text.lines().find(|line| line.starts_with(what));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        let kib: u64 =
            value.with_context(|| format!("{} has no {what}", path.display()))?.parse()?;
        Ok(kib << 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing is lost with it.
        let _ = self.child.kill().and_then(|()| self.child.wait());
        let _ = fs::remove_file(&self.socket);
    }
}

/// A program that was built beside this one.
fn program(name: &str) -> anyhow::Result<Command> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{}: not built yet; run \"cargo build --release\"", path.display());
    Ok(Command::new(path))
}

/// Runs `ofctl` to its end and says how long that took.
fn ofctl(socket: &Path, arguments: &[&str]) -> anyhow::Result<Duration> {
    let mut command = program("ofctl")?;
    command.arg("--socket").arg(socket).args(arguments).stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status().context("run ofctl")?;
    ensure!(status.success(), "ofctl {} failed", arguments.join(" "));
    Ok(start.elapsed())
}

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("switchd-load-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! The longest time from one batch of a worker to the next while things happen to its tables.
//!
//! The daemon is in this process for that. The worker has the last processor for itself, the others are
//! the daemon's.

use super::programs::{Folder, ofctl};
use super::worker::Worker;
use anyhow::Context;
use benches::interrupt;
use flow::types::{MacAddr, OfPort, PortNo};
use flowtable::policy::ports::PortInfo;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use switchd::desired::{DEFAULT_BRIDGE, Desired};
use switchd::monitor::Monitor;
use switchd::server::{Server, bind};
use switchd::switch::{Config, Switch};

/// What happens, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, with an empty table.
    Idle,
    Add,
    /// Nothing, while the classifier settles.
    Loaded,
    List,
    Replace,
    Delete,
    /// Nothing, while memory is freed.
    Freed,
}

impl Step {
    pub(super) const ALL: [Self; 7] =
        [Self::Idle, Self::Add, Self::Loaded, Self::List, Self::Replace, Self::Delete, Self::Freed];

    /// As tables and goals call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Add => "adding",
            Self::Loaded => "loaded",
            Self::List => "listing",
            Self::Replace => "replacing",
            Self::Delete => "deleting",
            Self::Freed => "freeing",
        }
    }

    fn run(self, socket: &Path, file: &str) -> anyhow::Result<()> {
        let arguments: &[&str] = match self {
            Self::Idle | Self::Loaded | Self::Freed => {
                std::thread::sleep(REST);
                return interrupt::check();
            }
            Self::Add | Self::Replace => &["add-flows", file],
            Self::List => &["dump-flows"],
            Self::Delete => &["del-flows"],
        };
        ofctl(socket, arguments).map(drop)
    }
}

/// What a worker noticed of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    /// The longest time between two batches.
    pub(super) longest: Duration,
    /// How often the worker was taken off its core.
    pub(super) taken_off: Option<u64>,
}

/// How long a step without work takes.
const REST: Duration = Duration::from_millis(700);
/// Until the worker's own start is over.
const WARM_UP: Duration = Duration::from_millis(200);

/// One pause for each step of [`Step::ALL`].
pub(super) fn measure(folder: &Folder, file: &Path) -> anyhow::Result<Vec<Pause>> {
    let all = sched_getaffinity(Pid::from_raw(0))?;
    let cores: Vec<usize> =
        (0..CpuSet::count()).filter(|&c| all.is_set(c).unwrap_or(false)).collect();
    let (&last, others) = cores.split_last().context("no processor")?;
    bind_to(if others.is_empty() { &cores } else { others })?;
    let result = Daemon::start(folder).and_then(|daemon| watch(&daemon, file, last));
    sched_setaffinity(Pid::from_raw(0), &all)?;
    result
}

fn watch(daemon: &Daemon, file: &Path, core: usize) -> anyhow::Result<Vec<Pause>> {
    let file = file.to_str().context("a path of text")?;
    let worker = Worker::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A worker anywhere is better than none.
            let _ = bind_to(&[core]);
            worker.forward(Arc::clone(daemon.switch.policy()));
        });
        std::thread::sleep(WARM_UP);
        let pause = |step: Step| {
            let before = worker.times_taken_off();
            worker.take_longest();
            step.run(&daemon.socket, file)?;
            let longest = worker.take_longest();
            let taken_off =
                worker.times_taken_off().zip(before).map(|(after, before)| after - before);
            Ok(Pause { longest, taken_off })
        };
        let pauses = Step::ALL.into_iter().map(pause).collect();
        worker.stop();
        pauses
    })
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
        let socket = folder.file("socket");
        let listener = bind(&socket)?;
        let switch = Arc::new(Switch::start(Config::new(Desired::one_bridge()))?);
        switch.on(DEFAULT_BRIDGE).expect("the bridge of every test").bridge().with_ports(|ports| {
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

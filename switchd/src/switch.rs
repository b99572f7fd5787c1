//! The switch: one owner of the desired state, whatever asks for changes.
//!
//! [`Switch`] is shared by the control sessions and the monitor. It owns the policy, the port
//! slots and the handles of the workers. Frames never come here.
//!
//! This file starts it and does the periodic work. Ports are added, changed and removed in `ports`,
//! follow their devices in `links`; `inject` sends packets that were made by hand, and `views` is what commands show.

mod inject;
mod links;
mod ports;
mod views;

pub use links::Place;
pub use ports::{SPEC_KEYS, check_settings};
pub use views::{CacheView, PortView, WorkerView};

use crate::port_slot::PortSlot;
use crate::worker::{Command, Event, Transmitter, Worker};
pub use crate::worker::{Poll, WorkerStats};
use ::ports::PortError;
use ::ports::spec::PortSpec;
use crossbeam::channel::{self, Receiver, Sender};
use flow::Match;
use flow::action::Action;
use flow::flow_mod::{Command as FlowCommand, FlowMod};
use flow::types::{OfPort, TableId};
use flowtable::datapath::{CacheConfig, CacheStats, Datapath, Egress, FlowRegistry};
use flowtable::policy::effects::Effect;
use flowtable::policy::mac_table::{DEFAULT_AGEING, DEFAULT_CAPACITY};
use flowtable::policy::{Bridge, BridgeId, Conduct, Policy};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::Pid;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::info;

/// Cached flows without traffic go after this (OVS `max-idle`).
const MAX_IDLE: Duration = Duration::from_secs(10);
/// Commands that a worker has not taken yet.
const COMMAND_QUEUE: usize = 1024;
/// Events that nobody has looked at yet.
const EVENT_QUEUE: usize = 1024;

/// How to run a switch.
#[derive(Clone, Debug)]
pub struct Config {
    /// The ports, in the order of their numbers, which begin at 1.
    pub ports: Vec<PortSpec>,
    /// A port that cannot be opened at the start is an error.
    pub require_ports: bool,
    /// Threads that move frames.
    pub workers: usize,
    /// What they do while nothing comes.
    pub poll: Poll,
    /// The processors that they are bound to, in turn; none is any.
    pub cpus: Vec<usize>,
    /// Hosts that are remembered at most.
    pub mac_entries: usize,
    /// How long a silent host is remembered.
    pub mac_ageing: Duration,
    /// Cache sizes of each.
    pub cache: CacheConfig,
    /// VLAN tags that a key holds, 1 or 2.
    pub vlan_limit: u8,
    /// Do what Open vSwitch does where it is wrong, too: take rules leniently, sum odd packets and
    /// recirculate its way.
    pub lenient: bool,
    /// Keys hash functions: unpredictable in production, fixed in tests.
    pub seed: u64,
}

impl Config {
    /// Defaults for everything but the ports.
    pub fn new(ports: Vec<PortSpec>) -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self {
            ports,
            require_ports: false,
            workers: 1,
            poll: Poll::default(),
            cpus: Vec::new(),
            mac_entries: DEFAULT_CAPACITY,
            mac_ageing: DEFAULT_AGEING,
            cache: CacheConfig::default(),
            vlan_limit: 1,
            lenient: false,
            seed: RandomState::new().hash_one(std::process::id()),
        }
    }
}

/// The switch could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A port cannot be used, and waiting would not help or was not wanted.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Two ports have the same name.
    #[error("port \"{0}\" is given twice")]
    DuplicatePort(String),
    /// Two ports have the same device.
    #[error("port \"{port}\": its device belongs to port \"{owner}\"")]
    DeviceTaken {
        /// The port that came second.
        port: String,
        /// The port that came first.
        owner: String,
    },
    /// Two ports want the same number.
    #[error("port \"{port}\": number {number} belongs to port \"{owner}\"")]
    NumberTaken {
        /// The port that came second.
        port: String,
        /// The number.
        number: OfPort,
        /// The port that came first.
        owner: String,
    },
    /// A port's settings are not valid.
    #[error("port \"{port}\": {error}")]
    Settings {
        /// The port.
        port: String,
        /// What is wrong.
        error: crate::port_settings::SettingsError,
    },
    /// All numbers belong to ports.
    #[error("port \"{0}\": the switch has as many ports as there are numbers")]
    NoNumber(String),
    /// A worker cannot be bound to a processor.
    #[error("processor {0}: this process may not use it, or there is none")]
    Cpu(usize),
    /// No thread or no descriptor could be had.
    #[error("start worker {worker}")]
    Worker {
        /// Which.
        worker: usize,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A running switch. Dropping it stops the workers and gives the devices back.
pub struct Switch {
    policy: Arc<Policy>,
    epoch: Instant,
    lenient: bool,
    vlan_limit: u8,
    workers: Vec<WorkerHandle>,
    /// In the order of their numbers.
    slots: Mutex<Vec<PortSlot>>,
    events: Receiver<Event>,
}

struct WorkerHandle {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    registry: Arc<FlowRegistry>,
    cache: Arc<CacheStats>,
    stats: Arc<WorkerStats>,
    cpu: Option<usize>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    fn send(&self, command: Command) {
        // A worker only ends when the switch does.
        if self.commands.send(command).is_ok() {
            let _ = self.wake.write(1);
        }
    }
}

impl Switch {
    /// Starts the workers and opens the ports. Missing devices are waited for.
    ///
    /// # Errors
    /// What cannot be opened; nothing is left behind then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let switch = Self::without_ports(&config)?;
        for spec in &config.ports {
            switch.add_port(spec.clone(), config.require_ports)?;
        }
        Ok(switch)
    }

    fn without_ports(config: &Config) -> Result<Self, StartError> {
        let conduct = if config.lenient { Conduct::AsOvs } else { Conduct::Sensible };
        let policy = Arc::new(Policy::with_one_bridge(config.seed).with_conduct(conduct));
        policy
            .bridge(BridgeId::FIRST)
            .with_macs(|macs| macs.configure(config.mac_entries, config.mac_ageing));
        let usable = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
        if let Some(&cpu) = config.cpus.iter().find(|cpu| !usable.is_set(**cpu).unwrap_or(false)) {
            return Err(StartError::Cpu(cpu));
        }
        let epoch = Instant::now();
        let (event_sender, events) = channel::bounded(EVENT_QUEUE);
        let mut switch = Self {
            policy: Arc::clone(&policy),
            epoch,
            lenient: config.lenient,
            vlan_limit: config.vlan_limit,
            workers: Vec::new(),
            slots: Mutex::default(),
            events,
        };
        for index in 0..config.workers.max(1) {
            let seed = config.seed.wrapping_add(index as u64);
            let datapath =
                Datapath::new(Arc::clone(&policy), config.cache, config.vlan_limit, seed);
            let failed = |source| StartError::Worker { worker: index, source };
            let cpu = config.cpus.get(index % config.cpus.len().max(1)).copied();
            let events = event_sender.clone();
            switch.start_worker(index, datapath, events, config.poll, cpu).map_err(failed)?;
        }
        switch.add_default_rule();
        Ok(switch)
    }

    fn start_worker(
        &mut self,
        index: usize,
        datapath: Datapath,
        events: Sender<Event>,
        poll: Poll,
        cpu: Option<usize>,
    ) -> std::io::Result<()> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let wake = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        let (commands, receiver) = channel::bounded(COMMAND_QUEUE);
        let registry = Arc::clone(datapath.registry());
        let cache = Arc::clone(datapath.stats());
        let stats = Arc::<WorkerStats>::default();
        let worker = Worker {
            datapath,
            commands: receiver,
            wake: Arc::clone(&wake),
            events,
            epoch: self.epoch,
            rx: Vec::new(),
            egress: Egress::new(16),
            sender: Transmitter::default(),
            poll,
            stats: Arc::clone(&stats),
        };
        let name = format!("worker{index}");
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            if let Some(cpu) = cpu {
                bind_to(cpu);
            }
            worker.run();
        })?;
        self.workers.push(WorkerHandle {
            commands,
            wake,
            registry,
            cache,
            stats,
            cpu,
            thread: Some(thread),
        });
        Ok(())
    }

    /// What every switch does until it is told otherwise: one visible rule.
    fn add_default_rule(&self) {
        let actions = vec![Action::Output { port: OfPort::NORMAL }];
        let rule = FlowMod {
            table: Some(TableId::default()),
            ..FlowMod::new(FlowCommand::Add, 0, Match::any(), actions)
        };
        self.bridge().apply(&[rule], self.now()).expect("an empty table takes a rule");
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The bridge that commands are about.
    pub fn bridge(&self) -> Bridge<'_> {
        self.policy.bridge(BridgeId::FIRST)
    }

    /// Rules are to be read leniently, whatever the request says.
    pub fn is_lenient(&self) -> bool {
        self.lenient
    }

    /// Tags that rules can look at.
    pub fn vlan_limit(&self) -> u8 {
        self.vlan_limit
    }

    /// The switch's monotonic clock: time since its start.
    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The datapath id: from the MAC address of the first port that has one.
    pub fn datapath_id(&self) -> u64 {
        let slots = self.slots.lock();
        let mac =
            slots.iter().map(|s| s.mac).find(|mac| *mac != [0; 6]).unwrap_or([2, 0, 0, 0, 0, 0]);
        flow::types::mac_bits(mac)
    }

    /// Adds everything that the caches counted to the rules and groups.
    pub fn sync_stats(&self) {
        for worker in &self.workers {
            worker.registry.push_stats();
        }
    }

    /// Periodic work: counters, idle flows, hosts and rules whose time is over, memory.
    pub fn sweep(&self) {
        let now = self.now();
        for worker in &self.workers {
            worker.registry.sweep(&self.policy, now, MAX_IDLE);
        }
        self.policy.sweep_macs(now);
        for effects in self.policy.expire(now) {
            let mut walk = self.policy.effects(&effects);
            while walk.next_slice(|effect| log_expiry(&effect)) {}
        }
        while self.policy.purge() {}
    }
}

fn log_expiry(effect: &Effect<'_>) {
    if let Effect::RuleRemoved(entry, why) = effect {
        let rule = entry.value;
        let why = why.name();
        info!("table {}: a rule with cookie {:#x} expired ({why})", rule.table, rule.cookie.0);
    }
}

/// Binds the calling thread to a processor.
fn bind_to(cpu: usize) {
    let mut set = CpuSet::new();
    let bound = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    if let Err(error) = bound {
        tracing::warn!("processor {cpu}: {error}: the worker runs anywhere");
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.send(Command::Stop);
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A worker that panicked has taken the process with it.
                let _ = thread.join();
            }
        }
    }
}

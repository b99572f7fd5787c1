//! The switch: the owner of the desired state, of the policy and of the workers.
//!
//! [`Switch`] is shared by the control sessions and the monitor. It owns what is wanted, the policy, the
//! port slots and the handles of the workers. Frames never come here.
//!
//! This file starts it and does the periodic work. `reconcile` makes it as it is wanted, with what `ports`
//! knows about opening and closing; ports follow their devices in `links`; `settle` brings counters up to date;
//! `restore` brings back what was kept, `apply` changes the whole switch as a file says, `handover` gives
//! everything to another program or takes it over, `inject` sends packets that were made by hand, and `views`
//! is what commands show.

mod apply;
mod bfd;
mod controllers;
mod handover;
mod inject;
mod links;
mod on_bridge;
mod opening;
mod ports;
mod reconcile;
mod restore;
mod retry;
mod rings;
mod settle;
pub(crate) mod stable_mac;
mod views;

pub use apply::ApplyError;
use handover::TakenPorts;
pub(crate) use handover::{GivenPort, Inheritance};
pub use on_bridge::OnBridge;
pub(crate) use rings::RingKeeper;
pub use rings::RingMemory;
pub use views::{OwnEnd, PortView, WorkerView};

use crate::bridge::events::{EventThread, Events};
use crate::desired::{Desired, DesiredError, Resolved};
use crate::event_text;
use crate::kernel_cache::{KernelSide, KernelStart};
use crate::openflow::{ControllerStates, Hubs};
use crate::parallel::{self, Closer};
use crate::port_slot::PortSlot;
use crate::punts::Punts;
use crate::saved::{SavedSwitch, Trial};
use crate::state::{
    Keeper, KeeperIntake, KeeperThread, StateDirectory, StateError, StateSync, Timeouts,
};
use crate::takeover::Gate;
use crate::worker::{Answers, Command, Debts, Receivers, Transmitter, Worker, WorkerEvent};
pub use crate::worker::{Poll, WorkerStats};
use ::ports::tunnel::Endpoints;
use ::ports::{Port, PortError, put_back_devices};
use apply::Revisions;
use crossbeam::channel::{self, Receiver, Sender};
use flow::Match;
use flow::action::Action;
use flow::flow_mod::{Command as FlowCommand, FlowMod};
use flow::metric::CacheMetric;
use flow::types::{OfPort, TableId};
use flowtable::datapath::{CacheStats, Datapath, Egress, FlowRegistry};
use flowtable::policy::observer::{Observer, Observers};
use flowtable::policy::{self, Conduct, Policy};
use kernelcache::KernelCache;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::Pid;
use parking_lot::Mutex;
use reconcile::Tolerance;
use rings::Rings;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::warn;

/// Cached flows without traffic go after this (OVS `max-idle`).
const MAX_IDLE: Duration = Duration::from_secs(10);
/// How long the monitor goes on trying to tidy tables at which others are, and how long
/// it rests between two tries.
const PURGE_TIME: Duration = Duration::from_millis(100);
const PURGE_PAUSE: Duration = Duration::from_millis(1);
/// The largest number of commands that a worker has not taken yet. Who sends more waits.
const COMMAND_QUEUE: usize = 1024;
/// The largest number of events of workers that the monitor has not taken yet. More are dropped.
const EVENT_QUEUE: usize = 1024;

/// How to start a switch.
#[derive(Debug)]
pub struct Config {
    /// The state that the switch is to be in once it has started.
    pub desired: Desired,
    /// Keys hash functions: unpredictable in production, fixed in tests.
    pub seed: u64,
    /// Where state is kept, and when it is brought onto the disk; `None`: bridges, ports and
    /// rules end with the switch.
    pub state: Option<(PathBuf, StateSync)>,
    /// The programs of the kernel cache, or why there are none.
    pub kernel: KernelStart,
}

impl Config {
    /// A switch that is to be as somebody wants it.
    pub fn new(desired: Desired) -> Self {
        use std::hash::{BuildHasher, RandomState};
        let kernel = Err("it is off".to_owned());
        Self { desired, seed: RandomState::new().hash_one(std::process::id()), state: None, kernel }
    }
}

/// The switch could not start, or what is wanted cannot be made so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A port cannot be used, and waiting would not help or was not wanted.
    #[error("port \"{port}\"")]
    Port {
        /// The name of the port.
        port: String,
        /// What keeps its device from being used.
        #[source]
        source: PortError,
    },
    /// It contradicts what is wanted already.
    #[error(transparent)]
    Desired(#[from] DesiredError),
    /// A worker cannot be bound to a processor.
    #[error("processor {0}: this process may not use it, or there is none")]
    Cpu(usize),
    /// State cannot be read, kept or restored.
    #[error(transparent)]
    State(#[from] StateError),
    /// The thread that keeps state could not be started.
    #[error("start the thread that keeps state")]
    KeeperThread(#[source] std::io::Error),
    /// The thread that tells events could not be started.
    #[error("start the thread that tells events")]
    EventThread(#[source] std::io::Error),
    /// The thread that closes queues could not be had.
    #[error("start the thread that closes queues")]
    Closer(#[source] std::io::Error),
    /// The thread that hands packets to controllers could not be had.
    #[error("start the thread for packet-ins")]
    Punts(#[source] std::io::Error),
    /// No thread or no descriptor could be had.
    #[error("start worker {worker}")]
    Worker {
        /// The number of the worker, from 0.
        worker: usize,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
}

/// A running switch. Dropping it stops the workers and gives the devices back.
pub struct Switch {
    policy: Arc<Policy>,
    epoch: Instant,
    /// Keys hash functions.
    seed: u64,
    kernel: KernelSide,
    /// Closed while another program prepares to take over.
    gate: Gate,
    lenient: bool,
    vlan_limit: u8,
    workers: Vec<WorkerHandle>,
    /// What somebody wants. Locked before `slots`.
    desired: Mutex<Desired>,
    /// The ports, in the order of their bridges and OpenFlow numbers.
    slots: Mutex<Vec<PortSlot>>,
    events: Receiver<WorkerEvent>,
    bridge_events: Arc<Events>,
    /// The OpenFlow connections of all bridges.
    hubs: Arc<Hubs>,
    event_thread: Option<EventThread>,
    /// `None`: state is not kept.
    keeper: Option<Arc<Keeper>>,
    keeper_thread: Option<KeeperThread>,
    revisions: Revisions,
    /// A descriptor of the lock file of the directory of kept state; `None`: state is not kept.
    state_lock: Option<OwnedFd>,
    /// Ports that another program hands over, while this one prepares to take over.
    taken: TakenPorts,
    /// The sockets of tunnel ports.
    endpoints: Endpoints,
    closer: Closer,
    rings: Rings,
    /// How the connections to controllers are doing.
    controller_states: ControllerStates,
    /// Called when bridges or the files for TLS have changed.
    bridge_watcher: Mutex<Option<BridgeWatcher>>,
    punts: Punts,
}

/// A function that somebody wants to be called when bridges or the files for TLS have changed.
type BridgeWatcher = Box<dyn Fn() + Send>;

struct WorkerHandle {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    registry: Arc<FlowRegistry>,
    cache: Arc<CacheStats>,
    stats: Arc<WorkerStats>,
    cpu: Option<usize>,
    /// Ends with the queues that the worker had.
    thread: Option<JoinHandle<Vec<Box<dyn Send>>>>,
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
    /// Starts the workers and opens the ports. A port whose device is missing or cannot be used gets the device
    /// later, unless the settings require all devices at once.
    ///
    /// # Errors
    /// A privilege is missing, or a required device cannot be used; nothing is left behind then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let Config { desired: configured, seed, state, kernel } = config;
        let directory = state.as_ref().map(|(path, _)| StateDirectory::open(path)).transpose()?;
        let contents = directory.as_ref().map(StateDirectory::read).transpose()?.flatten();
        let keep = |directory: &StateDirectory| directory.keep(contents.as_ref());
        let (mut kept, mut journal) = directory.as_ref().map(keep).transpose()?.unwrap_or_default();
        let left_behind = state.as_ref().map(|(path, _)| Trial::left_behind(path)).transpose()?;
        if let Some((author, before)) = left_behind.flatten() {
            warn!("\"{}\" of {} was not confirmed: it is taken back", author.what, author.who);
            let before = SavedSwitch::read(&before, "trial", &|| {});
            kept.take_back(&before.map_err(|error| StateError::Trial(Box::new(error)))?)?;
            // A new journal, which has this state.
            journal = None;
        }
        let desired = kept.merge(&configured)?;
        if kept.begin_anew(&desired) {
            // A new journal, which has these rules.
            journal = None;
        }
        // They may be from a time when the bridge did persist.
        kept.bridges.retain(|name, _| desired.bridge(name).is_ok_and(|bridge| bridge.persist));
        let settings = desired.settings.resolved();
        let (keeper, intake) = Keeper::new();
        let path = state.as_ref().map(|(path, _)| path.clone());
        let revisions = Revisions::open(path.clone(), kept.configuration(&configured))?;
        let keeper = directory.is_some().then_some(keeper);
        let now = Instant::now();
        let mut switch = Self::without_ports(&settings, seed, keeper, revisions, now, kernel)?;
        if let Some((directory, (_, sync))) = directory.zip(state) {
            switch.start_keeper(intake, directory, sync)?;
        }
        switch.desired.lock().settings = desired.settings.clone();
        switch.restore(&kept, &desired, Timeouts::Rest)?;
        switch.begin_to_keep(&kept, journal, &desired);
        let tolerance = match settings.require {
            true => Tolerance::Nothing,
            false => Tolerance::AllButPrivileges,
        };
        switch.reconcile(tolerance, |wanted| {
            *wanted = desired;
            Ok::<(), StartError>(())
        })?;
        switch.restore_hosts(&kept);
        if let Some(cache) = switch.kernel.cache() {
            cache.resume();
        }
        switch.wait_until_kept()?;
        if let Some(path) = &path {
            Trial::forget(path)?;
        }
        Ok(switch)
    }

    /// Starts the thread that writes what is kept into the journal of `directory`. The thread begins when the
    /// tables have been restored ([`Self::begin_to_keep`]).
    fn start_keeper(
        &mut self,
        intake: KeeperIntake,
        directory: StateDirectory,
        sync: StateSync,
    ) -> Result<(), StartError> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        self.state_lock = Some(directory.lock_descriptor()?);
        let policy = Arc::clone(&self.policy);
        let thread = KeeperThread::start(keeper, intake, policy, directory, sync, self.epoch);
        self.keeper_thread = Some(thread.map_err(StartError::KeeperThread)?);
        Ok(())
    }

    fn without_ports(
        settings: &Resolved,
        seed: u64,
        keeper: Option<Arc<Keeper>>,
        revisions: Revisions,
        epoch: Instant,
        kernel: KernelStart,
    ) -> Result<Self, StartError> {
        let conduct = if settings.lenient { Conduct::AsOvs } else { Conduct::Sensible };
        let (bridge_events, intake) = Events::new();
        let events = Arc::<Events>::clone(&bridge_events);
        let hubs = Arc::new(Hubs::new(epoch));
        let observer: Arc<dyn Observer> = match &keeper {
            Some(keeper) => {
                let keeper = Arc::<Keeper>::clone(keeper);
                Arc::new(Observers(vec![events, Arc::<Hubs>::clone(&hubs), keeper]))
            }
            None => Arc::new(Observers(vec![events, Arc::<Hubs>::clone(&hubs)])),
        };
        let policy = Policy::new(seed).with_conduct(conduct).with_observer(observer);
        let policy = Arc::new(policy);
        let zero = handover::system_clock().saturating_sub(epoch.elapsed());
        let kernel = KernelSide::start(kernel, &policy, seed, zero);
        let usable = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
        if let Some(&cpu) = settings.cpus.iter().find(|cpu| !usable.is_set(**cpu).unwrap_or(false))
        {
            return Err(StartError::Cpu(cpu));
        }
        let (event_sender, events) = channel::bounded(EVENT_QUEUE);
        let mut switch = Self {
            policy: Arc::clone(&policy),
            epoch,
            seed,
            kernel,
            gate: Gate::default(),
            lenient: settings.lenient,
            vlan_limit: settings.vlan_limit,
            workers: Vec::new(),
            desired: Mutex::default(),
            slots: Mutex::default(),
            events,
            bridge_events: Arc::clone(&bridge_events),
            hubs,
            event_thread: None,
            keeper,
            keeper_thread: None,
            revisions,
            state_lock: None,
            taken: TakenPorts::default(),
            endpoints: Endpoints::default(),
            closer: Closer::start().map_err(StartError::Closer)?,
            rings: Rings::new(settings.ring_memory),
            controller_states: ControllerStates::default(),
            bridge_watcher: Mutex::default(),
            punts: Punts::start(settings.workers).map_err(StartError::Punts)?,
        };
        for index in 0..settings.workers {
            let seed = seed.wrapping_add(index as u64);
            let mut datapath =
                Datapath::new(Arc::clone(&policy), settings.cache, settings.vlan_limit, seed);
            if let Some(cache) = switch.kernel.cache() {
                datapath.offer_to(Arc::<KernelCache>::clone(cache));
            }
            let failed = |source| StartError::Worker { worker: index, source };
            let cpu = settings.cpus.get(index % settings.cpus.len().max(1)).copied();
            let events = event_sender.clone();
            switch.start_worker(index, datapath, events, settings.poll, cpu).map_err(failed)?;
        }
        let settle = switch.settler();
        let started =
            EventThread::start(bridge_events, intake, policy, epoch, settle, event_text::log);
        switch.event_thread = Some(started.map_err(StartError::EventThread)?);
        Ok(switch)
    }

    fn start_worker(
        &mut self,
        index: usize,
        mut datapath: Datapath,
        events: Sender<WorkerEvent>,
        poll: Poll,
        cpu: Option<usize>,
    ) -> std::io::Result<()> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let wake = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        let (commands, receiver) = channel::bounded(COMMAND_QUEUE);
        let punts = self.punts.port(index);
        datapath.punt_into(Arc::clone(punts.queue()));
        let registry = Arc::clone(datapath.registry());
        let cache = Arc::clone(datapath.stats());
        let stats = Arc::<WorkerStats>::default();
        let worker = Worker {
            datapath,
            commands: receiver,
            wake: Arc::clone(&wake),
            events,
            epoch: self.epoch,
            rx: Receivers::new()?,
            debts: Debts::default(),
            egress: Egress::new(16),
            sender: Transmitter::default(),
            poll,
            stats: Arc::clone(&stats),
            punts,
            answers: Answers::default(),
            is_paused: false,
        };
        let name = format!("worker{index}");
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            if let Some(cpu) = cpu {
                bind_to(cpu);
            }
            worker.run()
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

    fn add_default_rule(&self, bridge: policy::Bridge<'_>) {
        let rule = Self::default_rule();
        bridge.apply(&[rule], self.now()).expect("an empty table takes a rule");
    }

    /// The rule that a new bridge has unless controllers or `fail_mode=secure` are wanted: what it does until
    /// it is told otherwise.
    pub(crate) fn default_rule() -> FlowMod {
        let actions = vec![Action::output(OfPort::NORMAL)];
        FlowMod {
            table: Some(TableId::default()),
            ..FlowMod::new(FlowCommand::Add, 0, Match::any(), actions)
        }
    }

    /// Through here passes whoever changes something.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The kernel cache, or why there is none.
    pub(crate) fn kernel_side(&self) -> &KernelSide {
        &self.kernel
    }

    /// The policy: rules, groups, ports and hosts of all bridges.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Whether rules are read leniently, as Open vSwitch reads them, whatever the request says.
    pub fn is_lenient(&self) -> bool {
        self.lenient
    }

    /// The number of VLAN tags of a frame that rules can look at.
    pub fn vlan_limit(&self) -> u8 {
        self.vlan_limit
    }

    /// The switch's monotonic clock: time since its start.
    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The OpenFlow connections of all bridges, which hear of every change.
    pub(crate) fn hubs(&self) -> &Arc<Hubs> {
        &self.hubs
    }

    /// How the connections to controllers are doing.
    pub(crate) fn controller_states(&self) -> &ControllerStates {
        &self.controller_states
    }

    /// The packets for controllers.
    pub(crate) fn punts(&self) -> &Punts {
        &self.punts
    }

    /// Where to subscribe to what happens to bridges.
    pub fn bridge_events(&self) -> &Events {
        &self.bridge_events
    }

    /// Periodic work: counters, idle flows, hosts and rules whose time is over, memory.
    pub fn sweep(&self) {
        let now = self.now();
        // First: flows whose frames are in the kernel are not idle.
        if let Some(cache) = self.kernel.cache() {
            cache.sweep(now);
        }
        for worker in &self.workers {
            worker.registry.sweep(&self.policy, now, MAX_IDLE);
            if worker.registry.has_condemned() {
                // A worker that sleeps would keep these flows until its next frame.
                let _ = worker.wake.write(1);
            }
        }
        self.policy.sweep_macs(now);
        self.policy.expire(now);
        self.policy.connections().sweep(now);
        self.bridge_events.watch_no_longer(self.policy.connections());
        self.end_trial_if_due();
        self.purge(Instant::now() + PURGE_TIME);
    }

    /// Tidies the tables until nothing is left to do; while others are at the tables, now and
    /// then and not beyond `until`.
    fn purge(&self, until: Instant) {
        loop {
            match self.policy.try_purge() {
                Some(true) => {}
                Some(false) => return,
                None if Instant::now() < until => std::thread::sleep(PURGE_PAUSE),
                None => return,
            }
        }
    }

    /// The number of flows that the caches of all workers have.
    pub(crate) fn cached_flow_count(&self) -> usize {
        let flows = |worker: &WorkerHandle| worker.cache[CacheMetric::Flows].get() as usize;
        self.workers.iter().map(flows).sum()
    }
}

/// Binds the calling thread to a processor.
fn bind_to(cpu: usize) {
    let mut set = CpuSet::new();
    let bound = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    if let Err(error) = bound {
        warn!("processor {cpu}: {error}: the worker runs anywhere");
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // First: that ports go now is nothing to be kept.
        drop(self.keeper_thread.take());
        for worker in &self.workers {
            worker.send(Command::Stop);
        }
        let threads = self.workers.iter_mut().filter_map(|worker| worker.thread.take());
        // A worker that panicked has taken the process with it.
        let queues = threads.flat_map(|thread| thread.join().unwrap_or_default());
        let queues: Vec<Box<dyn Send>> = queues.collect();
        let mut ports: Vec<Port> =
            self.slots.get_mut().drain(..).filter_map(|slot| slot.port).collect();
        // The kernel waits long for each socket that it closes, and can work on devices meanwhile.
        parallel::drop_beside(queues, || {
            put_back_devices(&mut ports);
            parallel::for_each(ports, drop);
        });
    }
}

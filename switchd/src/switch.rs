//! The switch: one owner of the desired state, whatever asks for changes.
//!
//! [`Switch`] is shared by the control sessions and the monitor. It owns the pipeline, the port
//! slots and the handles of the workers. Frames never come here.

use crate::port_slot::{PortSlot, PortState, PortTotals};
use crate::worker::{Command, Event, Transmitter, Worker};
use crossbeam::channel::{self, Receiver, Sender};
use flowtable::action::Action;
use flowtable::datapath::{CacheConfig, CacheStats, Datapath, Egress, FlowRegistry};
use flowtable::flow::Match;
use flowtable::flow_mod::{Command as FlowCommand, FlowFlags, FlowMod};
use flowtable::pipeline::Pipeline;
use flowtable::pipeline::ports::{PortConfig, PortInfo};
use flowtable::types::{Cookie, MacAddr, OfPort, PortNo, TableId};
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;
use ports::netlink::Link;
use ports::spec::{PortSpec, Target};
use ports::{Port, PortError, PortKind, QueueCount, Shield};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::{info, warn};

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
    /// Cache sizes of each.
    pub cache: CacheConfig,
    /// VLAN tags that a key holds, 1 or 2.
    pub vlan_limit: u8,
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
            cache: CacheConfig::default(),
            vlan_limit: 1,
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
    pipeline: Arc<Pipeline>,
    epoch: Instant,
    workers: Vec<WorkerHandle>,
    slots: Mutex<Vec<PortSlot>>,
    events: Receiver<Event>,
}

struct WorkerHandle {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    registry: Arc<FlowRegistry>,
    cache: Arc<CacheStats>,
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

/// A port as commands show it.
#[derive(Clone, Debug)]
pub struct PortView {
    /// What rules call it.
    pub of: OfPort,
    /// Its name.
    pub name: String,
    /// What it is made of, while it is open.
    pub kind: Option<PortKind>,
    /// Its MAC address; zero until it was first open.
    pub mac: MacAddr,
    /// Where it is in its life.
    pub state: PortState,
    /// Whether the host's stack hears it.
    pub shield: Option<Shield>,
    /// The device's MTU, while it is open.
    pub mtu: Option<u32>,
    /// Its switches.
    pub config: PortConfig,
    /// What it counted.
    pub totals: PortTotals,
    /// What a user should know.
    pub warnings: Vec<String>,
}

/// The caches of one worker as commands show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheView {
    /// Packets whose flow was cached.
    pub hits: u64,
    /// Packets whose flow was not.
    pub misses: u64,
    /// Flows in the cache.
    pub entries: u64,
    /// Places in the cache.
    pub capacity: u64,
    /// Flows pushed out by others.
    pub evictions: u64,
    /// Flows translated again after a change.
    pub retranslations: u64,
    /// Of these, flows whose verdict had not changed.
    pub revalidated: u64,
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
        let pipeline = Arc::new(Pipeline::new(config.seed));
        let epoch = Instant::now();
        let (event_sender, events) = channel::bounded(EVENT_QUEUE);
        let mut switch = Self {
            pipeline: Arc::clone(&pipeline),
            epoch,
            workers: Vec::new(),
            slots: Mutex::default(),
            events,
        };
        for index in 0..config.workers.max(1) {
            let seed = config.seed.wrapping_add(index as u64);
            let datapath =
                Datapath::new(Arc::clone(&pipeline), config.cache, config.vlan_limit, seed);
            let failed = |source| StartError::Worker { worker: index, source };
            switch.start_worker(index, datapath, event_sender.clone()).map_err(failed)?;
        }
        switch.add_default_rule();
        Ok(switch)
    }

    fn start_worker(
        &mut self,
        index: usize,
        datapath: Datapath,
        events: Sender<Event>,
    ) -> std::io::Result<()> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let wake = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        let (commands, receiver) = channel::bounded(COMMAND_QUEUE);
        let registry = Arc::clone(datapath.registry());
        let cache = Arc::clone(datapath.stats());
        let worker = Worker {
            datapath,
            commands: receiver,
            wake: Arc::clone(&wake),
            events,
            epoch: self.epoch,
            rx: Vec::new(),
            egress: Egress::new(16),
            sender: Transmitter::default(),
        };
        let name = format!("worker{index}");
        let thread = std::thread::Builder::new().name(name).spawn(move || worker.run())?;
        self.workers.push(WorkerHandle { commands, wake, registry, cache, thread: Some(thread) });
        Ok(())
    }

    /// What every switch does until it is told otherwise: one visible rule.
    fn add_default_rule(&self) {
        let rule = FlowMod {
            command: FlowCommand::Add,
            table: Some(TableId::default()),
            matching: Match::any(),
            priority: 0,
            cookie: Cookie(0),
            cookie_filter: None,
            modify_cookie: false,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: FlowFlags::default(),
            out_port: None,
            out_group: None,
            actions: vec![Action::Output { port: OfPort::NORMAL }],
            name: None,
            label: None,
        };
        self.pipeline.apply(&[rule], self.now()).expect("an empty table takes a rule");
    }

    /// The policy.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The switch's monotonic clock: time since its start.
    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The datapath id: from the MAC address of the first port that has one.
    pub fn datapath_id(&self) -> u64 {
        let slots = self.slots.lock();
        let mac = slots.iter().map(|s| s.mac).find(|mac| *mac != [0; 6]).unwrap_or([2, 0, 0, 0, 0, 0]);
        flowtable::datapath::mac_bits(mac)
    }

    /// Adds a port behind the others. A missing device is waited for unless `required`.
    ///
    /// # Errors
    /// Its name is taken, or it cannot be opened and waiting would not help; it was not added then.
    pub fn add_port(&self, spec: PortSpec, required: bool) -> Result<OfPort, StartError> {
        let mut slots = self.slots.lock();
        let same_device = |slot: &PortSlot| slot.spec.target == spec.target && spec.target != Target::Dummy;
        if slots.iter().any(|s| s.spec.name == spec.name || same_device(s)) {
            return Err(StartError::DuplicatePort(spec.name));
        }
        let index = slots.len() as u16;
        let mut slot = PortSlot::new(PortNo(index), OfPort(index + 1), spec, self.workers.len());
        let opened = self.open(&slot.spec);
        let opened = match opened {
            Err(PortError::NoDevice { name }) if !required => {
                warn!("port {}: no device \"{name}\" yet; waiting for it", slot.spec.name);
                None
            }
            Err(error) => return Err(error.into()),
            Ok(port) => Some(port),
        };
        self.publish(&slot, opened.as_ref());
        for (worker, counters) in self.workers.iter().zip(&slot.counters) {
            let counters = Arc::clone(counters);
            worker.send(Command::Attach { no: slot.no, rx: Vec::new(), tx: None, counters });
        }
        if let Some(port) = opened {
            self.attach(&mut slot, port);
        }
        let of = slot.of;
        slots.push(slot);
        Ok(of)
    }

    /// Adds a port that is open already, for tests and benchmarks.
    pub fn add_open_port(&self, port: Port) -> OfPort {
        let mut slots = self.slots.lock();
        let index = slots.len() as u16;
        let spec = PortSpec {
            name: port.name.clone(),
            target: Target::Dummy,
            options: Default::default(),
            others: Vec::new(),
        };
        let mut slot = PortSlot::new(PortNo(index), OfPort(index + 1), spec, self.workers.len());
        self.publish(&slot, Some(&port));
        self.attach(&mut slot, port);
        let of = slot.of;
        slots.push(slot);
        of
    }

    fn open(&self, spec: &PortSpec) -> Result<Port, PortError> {
        ports::open(spec, QueueCount { rx: 1, tx: self.workers.len() })
    }

    /// Tells the pipeline about a port.
    fn publish(&self, slot: &PortSlot, port: Option<&Port>) {
        let mac = MacAddr(port.map_or(slot.mac, |p| p.mac));
        let mut info = PortInfo::new(slot.no, slot.of, &slot.spec.name, mac);
        info.link_up = port.is_some_and(|p| p.status.is_link_up());
        self.pipeline.with_ports(|ports| {
            if let Some(old) = ports.get(slot.of) {
                info.config = old.config;
                info.vlan = old.vlan.clone();
                info.priority_tags = old.priority_tags;
                info.protected = old.protected;
            }
            ports.insert(info);
        });
    }

    /// Gives the queues of an open port to the workers.
    fn attach(&self, slot: &mut PortSlot, mut port: Port) {
        let queues = port.take_queues();
        let mut tx = queues.tx.into_iter();
        let mut rx: Vec<Vec<_>> = self.workers.iter().map(|_| Vec::new()).collect();
        for (i, queue) in queues.rx.into_iter().enumerate() {
            let worker = (slot.no.0 as usize + i) % rx.len();
            rx[worker].push(queue);
        }
        for ((worker, counters), rx) in self.workers.iter().zip(&slot.counters).zip(rx) {
            let counters = Arc::clone(counters);
            worker.send(Command::Attach { no: slot.no, rx, tx: tx.next(), counters });
        }
        for warning in &port.warnings {
            warn!("port {}: {warning}", slot.spec.name);
        }
        let up = port.status.is_link_up();
        slot.state = if up { PortState::Up } else { PortState::Down };
        slot.mac = port.mac;
        info!("port {} ({}): {}, {}", slot.of, slot.spec.name, slot.state, port.kind.name());
        slot.port = Some(port);
    }

    /// Takes the queues of a port from the workers and closes it.
    fn detach(&self, slot: &mut PortSlot) {
        let (done, finished) = channel::bounded(self.workers.len());
        for worker in &self.workers {
            worker.send(Command::Detach { no: slot.no, done: done.clone() });
        }
        drop(done);
        // Ends when every worker has answered, or is gone.
        while finished.recv().is_ok() {}
        slot.port = None;
    }

    /// A device is there, or has changed.
    pub(crate) fn link_present(&self, link: &Link) {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.iter_mut().find(|s| s.device() == Some(&link.name)) else {
            return self.renamed_away(&mut slots, link);
        };
        let is_other = slot.port.as_ref().is_some_and(|p| p.ifindex != Some(link.index));
        if is_other {
            self.lose(slot);
        }
        match &mut slot.port {
            Some(port) => {
                port.link_changed(link);
                self.follow_link(slot);
            }
            None => self.try_open(slot),
        }
    }

    /// A device that a port has open got another name: it is not the port's device any more.
    fn renamed_away(&self, slots: &mut [PortSlot], link: &Link) {
        let same = |s: &&mut PortSlot| {
            s.device().is_some() && s.port.as_ref().is_some_and(|p| p.ifindex == Some(link.index))
        };
        if let Some(slot) = slots.iter_mut().find(same) {
            self.lose(slot);
        }
    }

    /// A device is gone.
    pub(crate) fn link_gone(&self, index: u32) {
        let mut slots = self.slots.lock();
        let same = |s: &&mut PortSlot| s.port.as_ref().is_some_and(|p| p.ifindex == Some(index));
        if let Some(slot) = slots.iter_mut().find(same) {
            // A TAP that lives in another namespace by now is still ours.
            if !slot.is_created() {
                self.lose(slot);
            }
        }
    }

    fn lose(&self, slot: &mut PortSlot) {
        warn!("port {} ({}): its device is gone; waiting for it", slot.of, slot.spec.name);
        self.detach(slot);
        slot.state = PortState::Waiting;
        self.link_lost(slot.of);
    }

    fn link_lost(&self, of: OfPort) {
        self.set_link_up(of, false);
        let hosts = self.pipeline.with_macs(|macs| macs.flush(Some(of)));
        if hosts > 0 {
            info!("port {of}: forgot {hosts} hosts");
        }
    }

    fn set_link_up(&self, of: OfPort, up: bool) {
        self.pipeline.with_ports(|ports| {
            if let Some(port) = ports.get_mut(of) {
                port.link_up = up;
            }
        });
    }

    fn follow_link(&self, slot: &mut PortSlot) {
        let Some(port) = &slot.port else {
            return;
        };
        let state = if port.status.is_link_up() { PortState::Up } else { PortState::Down };
        if state != slot.state {
            info!("port {} ({}): {state}", slot.of, slot.spec.name);
            slot.state = state;
            match slot.state {
                PortState::Up => self.set_link_up(slot.of, true),
                _ => self.link_lost(slot.of),
            }
        }
    }

    fn try_open(&self, slot: &mut PortSlot) {
        match self.open(&slot.spec) {
            Ok(port) => {
                self.publish(slot, Some(&port));
                self.attach(slot, port);
            }
            Err(PortError::NoDevice { .. }) => slot.state = PortState::Waiting,
            Err(error) => {
                let state = PortState::Error(format!("{:#}", anyhow::Error::from(error)));
                if slot.state != state {
                    warn!("port {} ({}): {state}", slot.of, slot.spec.name);
                    slot.state = state;
                }
            }
        }
    }

    /// Opens what is missing, in case an event was not heard.
    pub(crate) fn retry_ports(&self) {
        let mut slots = self.slots.lock();
        for slot in slots.iter_mut().filter(|s| s.port.is_none()) {
            self.try_open(slot);
        }
    }

    /// Devices of the ports that are open, to look after when events were lost.
    pub(crate) fn open_devices(&self) -> Vec<u32> {
        let slots = self.slots.lock();
        slots.iter().filter_map(|s| s.port.as_ref()?.ifindex).collect()
    }

    /// What the workers told since the last call.
    pub(crate) fn take_events(&self) -> Vec<Event> {
        self.events.try_iter().collect()
    }

    /// The name of a port.
    pub(crate) fn port_name(&self, no: PortNo) -> String {
        let slots = self.slots.lock();
        slots.get(no.0 as usize).map_or_else(|| format!("#{}", no.0), |s| s.spec.name.clone())
    }

    /// All ports, in the order of their numbers.
    pub fn ports(&self) -> Vec<PortView> {
        let slots = self.slots.lock();
        let snapshot = self.pipeline.snapshot();
        let view = |slot: &PortSlot| PortView {
            of: slot.of,
            name: slot.spec.name.clone(),
            kind: slot.port.as_ref().map(|p| p.kind),
            mac: MacAddr(slot.mac),
            state: slot.state.clone(),
            shield: slot.port.as_ref().map(|p| p.shield),
            mtu: slot.port.as_ref().map(|p| p.status.mtu()),
            config: snapshot.ports().get(slot.of).map(|p| p.config).unwrap_or_default(),
            totals: slot.totals(),
            warnings: slot.port.as_ref().map(|p| p.warnings.clone()).unwrap_or_default(),
        };
        slots.iter().map(view).collect()
    }

    /// The caches, by worker.
    pub fn caches(&self) -> Vec<CacheView> {
        let view = |w: &WorkerHandle| CacheView {
            hits: w.cache.hits.get(),
            misses: w.cache.misses.get(),
            entries: w.registry.len() as u64,
            capacity: w.cache.capacity.get(),
            evictions: w.cache.evictions.get(),
            retranslations: w.cache.retranslations.get(),
            revalidated: w.cache.revalidated.get(),
        };
        self.workers.iter().map(view).collect()
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
            worker.registry.sweep(&self.pipeline, now, MAX_IDLE);
        }
        self.pipeline.sweep_macs(now);
        for (rule, expiry) in self.pipeline.expire(now) {
            info!("table {}: a rule with cookie {:#x} expired ({expiry:?})", rule.table, rule.cookie.0);
        }
        while self.pipeline.purge() {}
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

//! The switch's side of a hand-over ([`crate::takeover`]): describes the ports, stops and starts the workers,
//! and makes a switch of what another program hands over.

use super::apply::Revisions;
use super::reconcile::Tolerance;
use super::{StartError, Switch, WorkerHandle};
use crate::kernel_cache::KernelStart;
use crate::port_slot::PortTotals;
use crate::ring_budget::Activity;
use crate::state::{Beginning, Keeper, KeeperIntake, Kept, StateDirectory, StateSync, Timeouts};
use crate::worker::{Command, DescribedQueue};
use ::ports::RingSize;
use ::ports::handover::{HandedDevice, HandedPort, HandedQueue, RingPositions};
use crossbeam::channel::{self, RecvTimeoutError};
use flow::types::PortNo;
use flowtable::policy::PortRef;
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time between two signs that somebody waits for the workers.
const SIGN_STEP: Duration = Duration::from_millis(500);

/// A port that is handed over, beside the descriptors of its queues.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GivenPort {
    /// The name of the port's bridge.
    bridge: String,
    name: String,
    /// When the port was added, on the switch's monotonic clock.
    added: Duration,
    /// The size that is planned for its receive rings, and the one that they have.
    rings: [RingSize; 2],
    /// The rate at which the port receives, in frames a second.
    rate: u64,
    is_away: bool,
    /// `None`: the port has no open device.
    device: Option<HandedDevice>,
    queues: Vec<HandedQueue>,
    /// Whether a program of the kernel cache is at the device.
    #[serde(default)]
    has_hook: bool,
}

impl GivenPort {
    /// The number of descriptors: one for each queue, and one for the program at the device if there is one.
    pub(crate) fn descriptor_count(&self) -> usize {
        self.queues.len() + usize::from(self.has_hook)
    }
}

/// What another program hands over, in the words of this one.
pub(crate) struct Inheritance<'a> {
    /// Bridges, ports, rules, groups and static hosts.
    pub(crate) kept: Kept<'a>,
    pub(crate) seed: u64,
    /// The zero of the switch's clock, on the monotonic clock of the system.
    pub(crate) epoch: Duration,
    /// The directory of kept state; `None`: state is not kept.
    pub(crate) state: Option<PathBuf>,
    /// The ports with their descriptors.
    pub(crate) ports: Vec<(GivenPort, Vec<OwnedFd>)>,
    /// The programs of the kernel cache, or why there are none.
    pub(crate) kernel: KernelStart,
}

/// The ports of another program that this one has not taken over yet, by bridge and name. `None` when nothing
/// is to be taken over.
#[derive(Default)]
pub(crate) struct TakenPorts(Mutex<Option<HashMap<(String, String), HandedPort>>>);

/// What another program hands over for a port.
pub(super) enum Taken {
    /// This program does not take over: it opens devices itself.
    Not,
    /// The other program has the device open.
    Port(HandedPort),
    /// The other program has no device for the port, or none that can be handed over.
    Nothing,
}

impl TakenPorts {
    pub(super) fn take(&self, bridge: &str, name: &str) -> Taken {
        match &mut *self.0.lock() {
            None => Taken::Not,
            Some(ports) => match ports.remove(&(bridge.to_owned(), name.to_owned())) {
                Some(port) => Taken::Port(port),
                None => Taken::Nothing,
            },
        }
    }
}

impl Switch {
    /// The ports that another program is to take over, and their descriptors in the same order. Nobody may
    /// change ports meanwhile. Calls `waiting` twice a second until all workers have answered.
    ///
    /// # Errors
    /// A port cannot be handed over. The text names the port and the reason.
    pub(crate) fn describe_ports(
        &self,
        waiting: impl Fn(),
    ) -> Result<(Vec<GivenPort>, Vec<OwnedFd>), String> {
        let mut queues = self.describe_queues(waiting);
        let (mut ports, mut fds) = (Vec::new(), Vec::new());
        for slot in self.slots.lock().iter() {
            let device = slot.port.as_ref().and_then(|port| port.hand_over());
            let mut port = GivenPort {
                bridge: self.policy.bridge(slot.bridge).name().to_string(),
                name: slot.spec.name.clone(),
                added: slot.added,
                rings: [slot.ring, slot.open_ring],
                rate: slot.activity.rate(),
                is_away: slot.is_away,
                device,
                queues: Vec::new(),
                has_hook: false,
            };
            if port.device.is_some() {
                let number = slot.port_no();
                for queue in number.and_then(|no| queues.remove(&no)).unwrap_or_default() {
                    let (queue, fd) =
                        queue.map_err(|error| format!("port {}: {error}", port.name))?;
                    port.queues.push(queue);
                    fds.push(fd);
                }
                if let Some(hook) = slot.port.as_ref().and_then(|port| port.hook()) {
                    let fd = hook.try_clone_to_owned();
                    fds.push(fd.map_err(|error| format!("port {}: {error}", port.name))?);
                    port.has_hook = true;
                }
            }
            ports.push(port);
        }
        Ok((ports, fds))
    }

    /// Descriptions of the receive queues of each port, in the order in which they were opened: the kernel
    /// shares flows among them in this order.
    fn describe_queues(
        &self,
        waiting: impl Fn(),
    ) -> HashMap<PortNo, Vec<io::Result<(HandedQueue, OwnedFd)>>> {
        let ask = |worker: &WorkerHandle| {
            let (done, described) = channel::bounded(1);
            worker.send(Command::Describe { done });
            described
        };
        let asked: Vec<_> = self.workers.iter().map(ask).collect();
        let mut shares: HashMap<PortNo, Vec<Vec<_>>> = HashMap::new();
        for (worker, described) in asked.iter().enumerate() {
            let all = loop {
                match described.recv_timeout(SIGN_STEP) {
                    Ok(all) => break all,
                    Err(RecvTimeoutError::Timeout) => waiting(),
                    Err(RecvTimeoutError::Disconnected) => break Vec::new(),
                }
            };
            for DescribedQueue { port_no, queue } in all {
                let shares = shares.entry(port_no).or_default();
                shares.resize_with(self.workers.len(), Vec::new);
                shares[worker].push(queue);
            }
        }
        shares
            .into_iter()
            .map(|(port_no, shares)| (port_no, self.gather(port_no, shares)))
            .collect()
    }

    /// Stops all workers between two batches. Returns the places in the rings at which another program goes on.
    pub(crate) fn pause(&self) -> RingPositions {
        // First, because it takes a while, in which workers forward what the kernel does not forward any more.
        if let Some(cache) = self.kernel.cache() {
            cache.suspend();
        }
        let (done, paused) = channel::bounded(self.workers.len());
        for worker in &self.workers {
            worker.send(Command::Pause { done: done.clone() });
        }
        drop(done);
        // Ends when every worker has answered.
        paused.iter().flatten().collect()
    }

    /// Lets all workers receive, at these places in the rings.
    pub(crate) fn go_on(&self, positions: RingPositions) {
        if let Some(cache) = self.kernel.cache() {
            cache.resume();
        }
        let positions = Arc::new(positions);
        for worker in &self.workers {
            worker.send(Command::GoOn { positions: Arc::clone(&positions) });
        }
    }

    /// The zero of the switch's clock, on the monotonic clock of the system, which all processes share.
    pub(crate) fn epoch(&self) -> Duration {
        system_clock().saturating_sub(self.now())
    }

    /// The number that keys hash functions.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// A descriptor of the lock file of the directory of kept state; `None`: state is not kept.
    pub(crate) fn state_lock(&self) -> Option<BorrowedFd<'_>> {
        self.state_lock.as_ref().map(AsFd::as_fd)
    }

    /// What each port has counted, by bridge and name.
    pub(crate) fn totals(&self) -> Vec<(String, String, PortTotals)> {
        let slots = self.slots.lock();
        let bridge = |slot: &crate::port_slot::PortSlot| self.policy.bridge(slot.bridge).name();
        slots.iter().map(|s| (bridge(s).to_string(), s.spec.name.clone(), s.totals())).collect()
    }

    /// Adds what a port has counted in another program.
    pub(crate) fn add_totals(&self, bridge: &str, name: &str, totals: PortTotals) {
        let Some(bridge) = self.policy.find_bridge(bridge) else { return };
        let mut slots = self.slots.lock();
        let is_it =
            |s: &&mut crate::port_slot::PortSlot| s.bridge == bridge.id() && s.spec.name == name;
        if let Some(slot) = slots.iter_mut().find(is_it) {
            slot.activity.begin_at(totals.rx_packets);
            slot.before = totals;
        }
    }

    /// Makes a switch of what another program hands over. The workers pause, and the devices belong to the
    /// other program until [`Switch::own_ports`].
    ///
    /// # Errors
    /// A device cannot be taken over, or a rule is refused. The other program's devices are as they were.
    pub(crate) fn take_over(given: Inheritance<'_>) -> Result<(Self, KeeperIntake), StartError> {
        let Inheritance { kept, seed, epoch, state, ports, kernel } = given;
        let wanted = kept.wanted.clone().unwrap_or_default();
        let settings = wanted.settings.resolved();
        let (keeper, intake) = Keeper::new();
        let age = system_clock().saturating_sub(epoch);
        let epoch = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let keeper = state.is_some().then_some(keeper);
        let revisions = Revisions::open(state, kept.configured.clone().unwrap_or_default())?;
        let switch = Self::without_ports(&settings, seed, keeper, revisions, epoch, kernel)?;
        switch.pause();
        switch.desired.lock().settings = wanted.settings.clone();
        switch.restore(&kept, &wanted, Timeouts::Whole)?;
        let mut given = Vec::new();
        let mut handed = HashMap::new();
        for (port, mut fds) in ports {
            let hook = if port.has_hook { fds.pop() } else { None };
            if let Some(device) = port.device.clone() {
                let queues = port.queues.iter().cloned().zip(fds).collect();
                let key = (port.bridge.clone(), port.name.clone());
                handed.insert(key, HandedPort { device, queues, hook });
            }
            given.push(port);
        }
        *switch.taken.0.lock() = Some(handed);
        switch.reconcile(Tolerance::MissingDevice, |desired| {
            *desired = wanted;
            Ok::<(), StartError>(())
        })?;
        *switch.taken.0.lock() = None;
        given.iter().for_each(|port| switch.adapt_slot(port));
        switch.restore_hosts(&kept);
        Ok((switch, intake))
    }

    fn adapt_slot(&self, given: &GivenPort) {
        let Some(bridge) = self.policy.find_bridge(&given.bridge) else { return };
        let mut slots = self.slots.lock();
        let is_it = |at: PortRef, name: &str| at.bridge == bridge.id() && name == given.name;
        if let Some(slot) = slots.iter_mut().find(|slot| is_it(slot.at(), &slot.spec.name)) {
            slot.added = given.added;
            [slot.ring, slot.open_ring] = given.rings;
            slot.activity = Activity::of_rate(given.rate);
            slot.is_away = given.is_away;
        }
    }

    /// The other program does not use the devices any more: they are this switch's, which puts them back at its
    /// end. Returns the number of devices that a third program has locked in between.
    pub(crate) fn own_ports(&self) -> usize {
        self.slots.lock().iter_mut().filter_map(|slot| slot.port.as_mut()).for_each(|p| p.own());
        ::ports::take_promised_locks()
    }

    /// Keeps state from now on in the directory at `path`, which the other program has locked.
    ///
    /// # Errors
    /// The lock of the directory was lost, or no thread could be had.
    pub(crate) fn keep_on(
        &mut self,
        intake: KeeperIntake,
        path: &Path,
        lock: OwnedFd,
        sync: StateSync,
    ) -> Result<(), StartError> {
        let directory = StateDirectory::take_over(path, lock)?;
        self.start_keeper(intake, directory, sync)?;
        if let Some(keeper) = &self.keeper {
            keeper.begin(Beginning {
                configured: self.configured(),
                wanted: self.desired(),
                // The journal is written anew, with everything that the other program had.
                journal: None,
                new_size: 0,
                gone: Vec::new(),
            });
        }
        Ok(())
    }

    /// Has cached flows hand over what they have counted. The workers pause.
    pub(crate) fn push_stats(&self) {
        self.workers.iter().for_each(|worker| worker.registry.push_stats());
    }
}

/// The monotonic clock of the system.
pub(super) fn system_clock() -> Duration {
    // The kernel always has this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

//! The flows in the kernel: how they are counted, become stale, and make room.
//!
//! - `admission`: which flows come in, and how.
//! - `known_port`: what flows depend on of the ports' devices.

mod admission;
mod known_port;

pub use self::known_port::{KernelPort, Side};
use self::known_port::{KnownPort, Seen};
use crate::inventory::{MaskPlaces, ProgramPlaces};
use crate::layout::FLOWS;
use crate::load::{HandedPrograms, Programs};
use crate::maps::{Count, Maps};
use crate::tunnels::{Origin, Question, TunnelPort, Tunnels};
use flow::types::PortNo;
use flow::verdict::DropReason;
use flowtable::datapath::{CachedFlow, PortCounters};
use flowtable::policy::changes::{GenerationFollower, LatestChange};
use flowtable::policy::lookup_counts::LookupCounts;
use parking_lot::Mutex;
use ports::{DeviceHook, KernelHooks, wait_for_programs};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// A flow without a frame for so long makes room.
const MAX_IDLE: Duration = Duration::from_secs(10);
/// The same when few places are left.
const MAX_IDLE_WHEN_FULL: Duration = Duration::from_secs(1);
/// Number of places under which few are left.
const FEW_PLACES: usize = FLOWS / 8;
/// How much of each `BUDGET_PERIOD` changes may spend to give new stamps to flows that they do not concern.
const BUDGET: Duration = Duration::from_micros(500);
const BUDGET_PERIOD: Duration = Duration::from_millis(10);
/// Number of flows between two looks at the clock.
const LOOK_AT_CLOCK: usize = 64;
/// How long the thread that frees places and attaches executors rests.
const PAUSE: Duration = Duration::from_millis(20);
/// The note of a flow that is not taken, in place of the number of its place.
const REFUSED: u32 = u32::MAX;

/// What there is in the kernel, and what was done since the start. This crate does not know the control
/// protocol, whose record of the same counts the server fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCacheCounts {
    /// Flows in the kernel.
    pub flows: u64,
    /// Flows that there is room for.
    pub max_flows: u64,
    /// Masks under which frames are looked up.
    pub masks: u64,
    /// Frames that were forwarded or dropped in the kernel.
    pub hits: u64,
    /// Flows that were put into the kernel.
    pub installs: u64,
    /// Flows that were idle and made room.
    pub evictions: u64,
    /// Flows that found no room.
    pub no_room: u64,
    /// Frames whose mark another program had overwritten, or that came before the ring was open.
    pub unmarked: u64,
    /// Copies that the program for floods has sent.
    pub flood_copies: u64,
}

/// The flows in the kernel. See the [crate](crate).
pub struct KernelCache {
    hooks: Arc<KernelHooks>,
    maps: Maps,
    handed: HandedPrograms,
    map_fds: Vec<OwnedFd>,
    /// The number with which marks begin, and the one that keys hashes.
    secrets: (u64, u64),
    /// The zero of the switch's clock on `CLOCK_MONOTONIC`.
    epoch: Duration,
    lookups: Arc<LookupCounts>,
    inner: Mutex<Inner>,
    /// Frames that were forwarded or dropped in the kernel, as far as they were collected.
    hits: AtomicU64,
    /// The number of changes of ports, as far as flows are concerned that were refused:
    /// they are looked at again.
    era: AtomicU32,
    /// Wakes the thread that frees places and attaches executors.
    cleaner: SyncSender<()>,
    /// Held by who frees places or attaches executors. Locked before `inner`.
    pub(crate) freeing: Mutex<()>,
}

#[derive(Debug)]
struct Inner {
    ports: Vec<Option<KnownPort>>,
    tunnels: Tunnels,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Places whose flows were taken out, and that a processor may be at still.
    retired: Vec<u32>,
    /// Programs that are to be attached to devices, because there are flows that come from there.
    /// The first is attached first.
    awaited: VecDeque<Arc<DeviceHook>>,
    /// Executors are described to another process, and none is attached meanwhile.
    keeps_executors: bool,
    programs: ProgramPlaces,
    masks: MaskPlaces,
    /// The latest generation of the policy.
    generation: u64,
    /// Nothing in the kernel counts, whatever its stamp is.
    is_suspended: bool,
    budget: Budget,
    counts: KernelCacheCounts,
    /// A flow found no room since the last sweep.
    was_full: bool,
}

/// A flow in the kernel.
#[derive(Debug)]
struct Entry {
    flow: Arc<CachedFlow>,
    program: usize,
    mask: usize,
    /// Its entry in the table.
    filed_at: usize,
    /// The tunnel that its frames come through.
    origin: Option<Origin>,
    ingress: Arc<PortCounters>,
    /// The counters of each output, and by how many bytes a frame is longer there.
    egress: Box<[(Arc<PortCounters>, i32)]>,
    drop: Option<DropReason>,
    /// The ports that it names.
    ports: Box<[PortNo]>,
    /// What was counted at its place and added to the counters.
    told: Count,
    /// The last packet, or the moment it was put here, on the switch's clock.
    used: Duration,
    is_live: bool,
}

/// How much time changes have spent.
#[derive(Debug)]
struct Budget {
    since: Instant,
    spent: Duration,
}

impl Budget {
    /// Whether there is time left at this moment.
    fn has_time(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= BUDGET_PERIOD {
            (self.since, self.spent) = (now, Duration::ZERO);
        }
        self.spent < BUDGET
    }
}

impl KernelCache {
    /// Starts the thread that frees places and attaches executors. There are neither ports nor flows, and
    /// nothing is forwarded in the kernel before [`Self::resume`]. `epoch` is the zero of the switch's
    /// clock on `CLOCK_MONOTONIC`; `seed` keys hashes. The caller has the policy tell its generations
    /// from the first one on.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        programs: Programs,
        seed: u64,
        epoch: Duration,
        lookups: Arc<LookupCounts>,
        generation: u64,
    ) -> io::Result<Arc<Self>> {
        let Programs { hooks, maps, handed, map_fds } = programs;
        // Marks of an earlier run must not be taken for those of this one.
        let nonce =
            seed.rotate_left(17) ^ epoch.as_nanos() as u64 ^ u64::from(std::process::id()) << 32;
        let (cleaner, wake) = mpsc::sync_channel(1);
        let inner = Inner {
            ports: Vec::new(),
            tunnels: Tunnels::default(),
            entries: Vec::new(),
            // From the last place to the first, which is none.
            free: (1..FLOWS as u32).rev().collect(),
            retired: Vec::new(),
            awaited: VecDeque::new(),
            keeps_executors: false,
            programs: ProgramPlaces::default(),
            masks: MaskPlaces::default(),
            generation,
            is_suspended: true,
            budget: Budget { since: Instant::now(), spent: Duration::ZERO },
            counts: KernelCacheCounts::default(),
            was_full: false,
        };
        let cache = Arc::new(Self {
            hooks,
            maps,
            handed,
            map_fds,
            secrets: (nonce | 1, seed),
            epoch,
            lookups,
            inner: Mutex::new(inner),
            hits: AtomicU64::new(0),
            era: AtomicU32::new(1),
            cleaner,
            freeing: Mutex::default(),
        });
        let weak = Arc::downgrade(&cache);
        std::thread::Builder::new()
            .name("kernel-cache".into())
            .spawn(move || clean(&weak, &wake))?;
        Ok(cache)
    }

    /// The programs, for ports to attach.
    pub fn hooks(&self) -> &Arc<KernelHooks> {
        &self.hooks
    }

    /// Flows may name this port from now on.
    pub fn add_port(&self, port_no: PortNo, port: KernelPort) {
        let mut inner = self.inner.lock();
        let index = usize::from(port_no.0);
        if inner.ports.len() <= index {
            inner.ports.resize_with(index + 1, || None);
        }
        let seen = Seen::of(&port);
        inner.ports[index] = Some(KnownPort { port, seen });
        self.begin_era();
    }

    /// Flows may name this tunnel port from now on, unless there is a reason why the programs do not do its
    /// work. It may be the one that frames are for which another tunnel port got before.
    pub fn add_tunnel(&self, port_no: PortNo, port: Result<TunnelPort, String>) {
        let mut inner = self.inner.lock();
        inner.tunnels.add(port_no, port);
        self.retire_all(&mut inner, |_, entry| entry.origin.is_some());
        self.begin_era();
    }

    /// No flow names this port any more. Its device may go when this returns.
    pub fn remove_port(&self, port_no: PortNo) {
        let mut inner = self.inner.lock();
        inner.tunnels.remove(port_no);
        if let Some(port) = inner.ports.get_mut(usize::from(port_no.0)) {
            *port = None;
        }
        self.retire_those_of(&mut inner, port_no);
    }

    /// Something about the device of a port has changed. If flows depend on that, those that name the port are
    /// taken out, and put here again as they have to be now.
    pub fn port_changed(&self, port_no: PortNo) {
        let mut inner = self.inner.lock();
        let Some(Some(known)) = inner.ports.get_mut(usize::from(port_no.0)) else { return };
        let now = Seen::of(&known.port);
        if std::mem::replace(&mut known.seen, now) != now {
            self.retire_those_of(&mut inner, port_no);
        }
    }

    fn retire_those_of(&self, inner: &mut Inner, port_no: PortNo) {
        self.retire_all(inner, |_, entry| entry.ports.contains(&port_no));
        self.begin_era();
    }

    /// Flows that were refused are looked at again.
    fn begin_era(&self) {
        self.era.fetch_add(1, Ordering::Relaxed);
    }

    /// Why the frames of a port do not take part; `None` if they do.
    pub fn port_refusal(&self, port_no: PortNo) -> Option<String> {
        let inner = self.inner.lock();
        match inner.tunnels.port(port_no) {
            Some(port) => port.err().map(str::to_owned),
            None => inner.port(port_no).and_then(KnownPort::receives).err(),
        }
    }

    /// What another process needs beside the [descriptors](Self::descriptors) to go on with the programs.
    pub fn hand_over(&self) -> HandedPrograms {
        self.handed
    }

    /// The descriptors of programs and maps, [`DESCRIPTORS`](crate::DESCRIPTORS) in number.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Programs::descriptors(&self.hooks, &self.map_fds)
    }

    /// Takes all flows out, and lets none in before [`Self::resume`]. When this returns, which takes some 10
    /// ms, everything that was forwarded in the kernel is counted, and nobody here writes the shared memory any
    /// more: another process may.
    pub fn suspend(&self) {
        let mut inner = self.inner.lock();
        if std::mem::replace(&mut inner.is_suspended, true) {
            return;
        }
        self.maps.set_generation(u64::MAX);
        self.retire_all(&mut inner, |_, _| true);
        drop(inner);
        // Waits for frames that are on their way, which are to be counted.
        self.free_retired();
        // The other process attaches unwrappers of its own, and the kernel attaches a program
        // to a device only once.
        let unwrappers = self.inner.lock().tunnels.take_unwrappers();
        drop(unwrappers);
    }

    /// Forwards in the kernel from now on, beginning without flows.
    pub fn resume(&self) {
        let mut inner = self.inner.lock();
        inner.is_suspended = false;
        let (nonce, seed) = self.secrets;
        self.maps.begin(nonce, seed);
        self.maps.set_generation(inner.generation);
    }

    /// Adds what the programs have counted to flows and ports.
    pub fn collect(&self) {
        let mut inner = self.inner.lock();
        self.collect_all(&mut inner);
    }

    fn collect_all(&self, inner: &mut Inner) {
        for (place, entry) in inner.entries.iter_mut().enumerate() {
            let Some(entry) = entry else { continue };
            self.collect_one(place, entry);
        }
    }

    /// Adds what is new of one place.
    fn collect_one(&self, place: usize, entry: &mut Entry) {
        let count = self.maps.count(place);
        let packets = count.packets - entry.told.packets;
        let bytes = count.bytes - entry.told.bytes;
        let failed = count.failed - entry.told.failed;
        if packets == 0 && bytes == 0 && failed == 0 {
            return;
        }
        self.hits.fetch_add(packets, Ordering::Relaxed);
        entry.told = count;
        entry.ingress.rx_packets.add(failed);
        entry.ingress.rx_dropped(DropReason::TxOffload).add(failed);
        entry.used = Duration::from_nanos(count.used_ns).saturating_sub(self.epoch).max(entry.used);
        entry.flow.count_in_kernel(packets, bytes, entry.used);
        entry.ingress.rx_packets.add(packets);
        entry.ingress.rx_bytes.add(bytes);
        match entry.drop {
            Some(reason) => entry.ingress.rx_dropped(reason).add(packets),
            None => entry.ingress.rx_sent.add(packets),
        }
        for (egress, growth) in &entry.egress {
            egress.tx_packets.add(packets);
            egress.tx_bytes.add(bytes.saturating_add_signed(i64::from(*growth) * packets as i64));
        }
        if entry.flow.is_dead() {
            // The worker has given it up, and does not tell of it any more.
            entry.flow.push_stats(&self.lookups);
        }
    }

    /// The periodic work: counts, and makes room. `now` is on the switch's clock.
    pub fn sweep(&self, now: Duration) {
        // The kernel is asked while nobody waits for the lock.
        let questions = self.inner.lock().tunnels.questions();
        let answers: Vec<_> = questions.into_iter().map(Question::ask).collect();
        let mut inner = self.inner.lock();
        for answer in answers {
            if let Some(port_no) = inner.tunnels.answered(answer) {
                self.retire_those_of(&mut inner, port_no);
            }
        }
        for port_no in inner.tunnels.forget_ways() {
            self.retire_those_of(&mut inner, port_no);
        }
        self.collect_all(&mut inner);
        let is_nearly_full = inner.free.len() < FEW_PLACES || inner.was_full;
        let max_idle = if is_nearly_full { MAX_IDLE_WHEN_FULL } else { MAX_IDLE };
        let is_idle = |entry: &Entry| now.saturating_sub(entry.used) >= max_idle;
        let evicted =
            self.retire_all(&mut inner, |_, entry| entry.flow.is_dead() || is_idle(entry));
        inner.counts.evictions += evicted;
        if std::mem::take(&mut inner.was_full) {
            self.begin_era();
        }
    }

    /// Takes flows out. Returns how many.
    fn retire_all(&self, inner: &mut Inner, is_wanted: impl Fn(usize, &Entry) -> bool) -> u64 {
        let Inner { entries, retired, .. } = inner;
        let mut number = 0;
        for (place, entry) in entries.iter_mut().enumerate() {
            if let Some(entry) =
                entry.as_mut().filter(|entry| entry.is_live && is_wanted(place, entry))
            {
                self.retire(place, entry, retired);
                number += 1;
            }
        }
        number
    }

    /// Takes a flow out, from which moment no frame that arrives finds it. The thread frees its place.
    fn retire(&self, place: usize, entry: &mut Entry, retired: &mut Vec<u32>) {
        self.maps.set_stamp(place, 0);
        self.maps.unfile(entry.filed_at);
        entry.is_live = false;
        entry.flow.note_of_kernel(0);
        retired.push(place as u32);
        self.wake_cleaner();
    }

    /// Frees the places of flows that were taken out. Waits until no processor is there any more.
    fn free_retired(&self) {
        let _freeing = self.freeing.lock();
        let mut inner = self.inner.lock();
        let was_full = inner.was_full;
        if was_full {
            // Flows that changes have made stale would go at the next sweep.
            let generation = inner.generation;
            let is_stale =
                |place, entry: &Entry| entry.flow.is_dead() || self.maps.stamp(place) < generation;
            self.retire_all(&mut inner, is_stale);
        }
        let retired = std::mem::take(&mut inner.retired);
        drop(inner);
        if retired.is_empty() {
            return;
        }
        if let Err(error) = wait_for_programs() {
            // It has worked when the programs were loaded. The places are not used again.
            return tracing::warn!(%error, "cannot wait for the programs of the kernel cache");
        }
        let mut inner = self.inner.lock();
        for place in retired {
            let index = place as usize;
            let Some(mut entry) = inner.entries.get_mut(index).and_then(Option::take) else {
                continue;
            };
            self.collect_one(index, &mut entry);
            inner.programs.give_back(entry.program);
            inner.masks.give_back(&self.maps, entry.mask);
            if let Some(origin) = &entry.origin {
                inner.tunnels.give_back(&self.maps, origin);
            }
            inner.free.push(place);
        }
        if was_full {
            inner.was_full = false;
            self.begin_era();
        }
    }

    /// Attaches the executor of one port that has flows for the kernel. The others have their turn later, so
    /// that the kernel can change devices for somebody else in between.
    fn attach_one(&self) {
        let _freeing = self.freeing.lock();
        let inner = self.inner.lock();
        if inner.is_suspended || inner.keeps_executors {
            return;
        }
        let Some(hook) = inner.awaited.front().map(Arc::clone) else { return };
        drop(inner);
        if let Err(reason) = hook.attach() {
            tracing::warn!("a port is not in the kernel cache: {reason}");
        }
        let mut inner = self.inner.lock();
        // It has waited until now, so that no worker has added it once more.
        inner.awaited.retain(|waits| !Arc::ptr_eq(waits, &hook));
        if !inner.awaited.is_empty() {
            self.wake_cleaner();
        }
    }

    /// Attaches no executor until the answer is dropped, so that descriptions of all executors stay complete.
    /// Waits for the one that is being attached.
    pub fn keep_executors(&self) -> KeptExecutors<'_> {
        let _freeing = self.freeing.lock();
        self.inner.lock().keeps_executors = true;
        KeptExecutors(self)
    }

    /// If the channel is full, the thread is awake already.
    fn wake_cleaner(&self) {
        let _ = self.cleaner.try_send(());
    }

    /// What there is, and what was done.
    pub fn counts(&self) -> KernelCacheCounts {
        let inner = self.inner.lock();
        let live = inner.entries.iter().flatten().filter(|entry| entry.is_live).count();
        KernelCacheCounts {
            flows: live as u64,
            max_flows: FLOWS as u64 - 1,
            masks: inner.masks.len() as u64,
            hits: self.hits.load(Ordering::Relaxed),
            unmarked: self.maps.count(0).packets,
            flood_copies: self.hooks.flood.copies(),
            ..inner.counts
        }
    }

    /// Whether a flow is in the kernel, and is not stale there.
    pub fn holds(&self, flow: &CachedFlow) -> bool {
        let place = place_of(flow.kernel_note());
        let inner = self.inner.lock();
        let entry = place.and_then(|place| inner.entries.get(place)?.as_ref());
        let is_its = |entry: &Entry| entry.is_live && std::ptr::eq(&*entry.flow, flow);
        entry.is_some_and(is_its) && self.maps.stamp(place.unwrap_or(0)) >= inner.generation
    }
}

/// The place in a note; `None` if there is none.
fn place_of(note: u64) -> Option<usize> {
    let place = note as u32;
    (place != 0 && place != REFUSED).then_some(place as usize)
}

/// While this exists, no executor is attached: see [`KernelCache::keep_executors`].
pub struct KeptExecutors<'a>(&'a KernelCache);

impl Drop for KeptExecutors<'_> {
    fn drop(&mut self) {
        self.0.inner.lock().keeps_executors = false;
        self.0.wake_cleaner();
    }
}

impl Inner {
    fn port(&self, port_no: PortNo) -> Result<&KnownPort, String> {
        let port = self.ports.get(usize::from(port_no.0)).and_then(Option::as_ref);
        port.ok_or_else(|| "it has no device of the switch's own namespace".to_owned())
    }

    /// The counters of a port, with a device or a tunnel.
    fn counters_of(&self, port_no: PortNo) -> Result<&Arc<PortCounters>, String> {
        match self.tunnels.port(port_no) {
            Some(port) => port.map(|port| &port.counters).map_err(str::to_owned),
            None => self.port(port_no).map(|known| &known.port.counters),
        }
    }
}

impl GenerationFollower for KernelCache {
    fn advance(&self, change: &LatestChange<'_>) {
        let mut inner = self.inner.lock();
        let (before, next) = (inner.generation, change.generation());
        inner.generation = next;
        if inner.is_suspended {
            return;
        }
        let began = Instant::now();
        if inner.budget.has_time(began) {
            let mut now = began;
            let live = inner.entries.iter().enumerate();
            let live = live.filter_map(|(place, entry)| Some((place, entry.as_ref()?)));
            for (number, (place, entry)) in live.filter(|(_, entry)| entry.is_live).enumerate() {
                if self.maps.stamp(place) >= before && !entry.flow.is_concerned_by(change) {
                    self.maps.set_stamp(place, next);
                }
                if number % LOOK_AT_CLOCK == LOOK_AT_CLOCK - 1 {
                    now = Instant::now();
                    if now.duration_since(began) >= BUDGET {
                        break;
                    }
                }
            }
            let spent = now.max(Instant::now()).duration_since(began);
            inner.budget.spent += spent;
        }
        self.maps.set_generation(next);
    }
}

impl fmt::Debug for KernelCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelCache").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Drop for KernelCache {
    fn drop(&mut self) {
        // While it is suspended, another process may have the programs.
        if !self.inner.get_mut().is_suspended {
            self.maps.set_generation(u64::MAX);
        }
    }
}

/// The thread that frees places and attaches executors, until the cache is gone.
fn clean(cache: &Weak<KernelCache>, wake: &Receiver<()>) {
    while wake.recv().is_ok() {
        let Some(cache) = cache.upgrade() else { return };
        cache.free_retired();
        cache.attach_one();
        drop(cache);
        // Flows that find no room may call the thread at any rate.
        std::thread::sleep(PAUSE);
    }
}

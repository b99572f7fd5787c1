//! The hubs of all bridges, as the policy's observer: rules and ports that change are told to
//! the hub of their bridge.
//!
//! A change wakes no connection itself. A thread wakes those that want to know: the first time at
//! once, and then in intervals that grow with their number, so that a flood of changes does not
//! become a flood of wakeups.

use super::hub::Hub;
use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};
use flowtable::policy::BridgeId;
use flowtable::policy::observer::{Observed, Observer};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The shortest time between two wakeups of the same connection.
const INTERVAL: Duration = Duration::from_millis(1);
/// How much longer that time is for each connection that was woken.
const INTERVAL_EACH: Duration = Duration::from_micros(100);

/// The hubs of all bridges.
#[derive(Debug)]
pub(crate) struct Hubs {
    of_bridges: Mutex<HashMap<BridgeId, Weak<Hub>>>,
    /// How many want to hear of changes: places in the journals of all hubs, and connections that watch how
    /// full tables are.
    listeners: AtomicUsize,
    /// Whether the thread has been asked to wake connections, and has not begun.
    is_asked: AtomicBool,
    ask: Sender<()>,
    asked: Receiver<()>,
    /// When the switch's monotonic clock began.
    epoch: Instant,
}

impl Hubs {
    /// No hubs, on a clock that began at `epoch`.
    pub(crate) fn new(epoch: Instant) -> Self {
        let (ask, asked) = channel::bounded(1);
        Self {
            of_bridges: Mutex::default(),
            listeners: AtomicUsize::new(0),
            is_asked: AtomicBool::new(false),
            ask,
            asked,
            epoch,
        }
    }

    /// When the clock of the journals' entries began.
    pub(super) fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Has the hub of a bridge hear of the bridge's changes until the hub is dropped.
    pub(super) fn open(&self, bridge: BridgeId, hub: &Arc<Hub>) {
        let mut of_bridges = self.of_bridges.lock();
        of_bridges.retain(|_, hub| hub.strong_count() > 0);
        of_bridges.insert(bridge, Arc::downgrade(hub));
    }

    pub(super) fn of(&self, bridge: BridgeId) -> Option<Arc<Hub>> {
        self.of_bridges.lock().get(&bridge).and_then(Weak::upgrade)
    }

    /// Counts those who want to hear of changes: one more, or one less.
    pub(super) fn count_listener(&self, is_more: bool) {
        match is_more {
            true => self.listeners.fetch_add(1, Ordering::Relaxed),
            false => self.listeners.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// Has the thread wake connections.
    fn ask_to_wake(&self) {
        if !self.is_asked.swap(true, Ordering::AcqRel) {
            let _ = self.ask.try_send(());
        }
    }

    /// Wakes the connections that have something to tell. Returns their number.
    fn wake(&self) -> usize {
        let hubs: Vec<Arc<Hub>> =
            self.of_bridges.lock().values().filter_map(Weak::upgrade).collect();
        hubs.iter().map(|hub| hub.journal().wake()).sum()
    }
}

impl Observer for Hubs {
    fn is_listening(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) > 0
    }

    fn observe(&self, observed: Observed) {
        match observed {
            Observed::Effects(effects) => {
                let Some(hub) = self.of(effects.bridge()) else { return };
                hub.tell_vacancies(effects.vacancy_changes());
                if hub.journal().append(&effects, self.epoch.elapsed()) {
                    self.ask_to_wake();
                }
            }
            Observed::Ports(changes) => {
                for change in changes {
                    if let Some(hub) = self.of(change.at.bridge) {
                        hub.tell_port(&change);
                    }
                }
            }
            Observed::BridgeAdded { .. }
            | Observed::BridgeRemoved { .. }
            | Observed::Hosts { .. } => {}
        }
    }
}

/// The thread that wakes connections. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Waker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Waker {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread could be had.
    pub(super) fn start(hubs: &Arc<Hubs>) -> io::Result<Self> {
        let (stop, stopped) = channel::bounded(0);
        let hubs = Arc::clone(hubs);
        let thread = std::thread::Builder::new()
            .name("openflow-wake".to_owned())
            .spawn(move || wake_until(&hubs, &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Wakes connections whenever somebody asks, until the other end of `stopped` is gone.
fn wake_until(hubs: &Hubs, stopped: &Receiver<()>) {
    loop {
        channel::select! {
            recv(hubs.asked) -> _ => {}
            recv(stopped) -> _ => return,
        }
        // Before the look, so that a change behind the look asks again.
        hubs.is_asked.store(false, Ordering::Release);
        let woken = hubs.wake();
        let interval = INTERVAL + INTERVAL_EACH * woken as u32;
        if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

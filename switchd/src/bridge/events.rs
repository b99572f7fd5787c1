//! Tells subscribers what happens to bridges.
//!
//! The policy tells [`Events`], its observer, of every change while the change is made. A thread of its own
//! makes events of changes and puts them into the subscribers' queues. A change never waits for this: the queue
//! to the thread and the queues to the subscribers are bounded, and a change or an event that finds no room is
//! counted as lost. Without a subscriber the policy gathers neither rules, groups nor hosts.
//!
//! Connections come another way, because strangers make hundreds of thousands of them a second: they gather in
//! a queue of their own ([`CtEvents`]) while a subscriber wants them, whose bell puts a note into the queue of
//! changes. So connections that are too many displace no event of another kind.
//!
//! The last counters of a rule are known some time after it was removed: workers finish their batches, and
//! cached flows hand over what they have counted. So before the thread tells of removed rules, it settles the
//! counters ([`Switch::settle`](crate::switch::Switch::settle)). It does that once for all transactions that
//! have gathered, and leaves some milliseconds until the next time.

use super::event::{Event, Kinds, PortUpdate, What};
use super::subscription::{Interest, Queue, Subscription};
use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};
use flowtable::conntrack::{Connections, CtEvent, CtEvents, CtNews};
use flowtable::policy::effects::Effects;
use flowtable::policy::observer::{Observed, Observer};
use flowtable::policy::ports::PortChange;
use flowtable::policy::{BridgeId, Policy};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The largest number of subscribers at the same time.
pub const MAX_SUBSCRIBERS: usize = 16;
/// The largest number of events that wait for one subscriber: some ten megabytes.
const SUBSCRIBER_QUEUE: usize = 16_384;
/// The largest number of observed changes that wait for the thread.
const INTAKE: usize = 4096;
/// The shortest time from one settling of counters to the next.
const SETTLE_INTERVAL: Duration = Duration::from_millis(5);

/// The observer of a switch's policy, and the place to subscribe. See the [module](self).
#[derive(Debug)]
pub struct Events {
    intake: Sender<Intake>,
    /// The number of changes that found no room in the intake, and of which no subscriber has been told yet.
    lost: AtomicU64,
    subscribers: Mutex<Vec<Arc<Queue>>>,
    is_listening: AtomicBool,
    /// Where events of connections gather, once the thread runs.
    connections: OnceLock<Arc<CtEvents>>,
}

#[derive(Debug)]
enum Intake {
    Observed(Observed),
    /// Events of connections have gathered.
    Connections,
    /// This queue gets what is observed from now on.
    Subscribed(Arc<Queue>),
    Stop,
}

/// There are [`MAX_SUBSCRIBERS`] subscribers already, or no descriptor is left.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// As many subscribers as there can be exist already.
    #[error("the switch has {MAX_SUBSCRIBERS} monitors already: end one of them")]
    TooMany,
    /// The operating system gave no descriptor for the queue.
    #[error("make a queue of events")]
    Os(#[from] io::Error),
}

impl Events {
    /// An observer without subscribers.
    pub(crate) fn new() -> (Arc<Self>, EventIntake) {
        let (intake, receiver) = channel::bounded(INTAKE);
        let events = Self {
            intake,
            lost: AtomicU64::new(0),
            subscribers: Mutex::default(),
            is_listening: AtomicBool::new(false),
            connections: OnceLock::new(),
        };
        (Arc::new(events), EventIntake(receiver))
    }

    /// Begins to gather the events of an interest.
    ///
    /// # Errors
    /// There are too many subscribers, or no descriptor could be had.
    pub fn subscribe(&self, interest: Interest) -> Result<Subscription, SubscribeError> {
        let mut subscribers = self.subscribers();
        if subscribers.len() >= MAX_SUBSCRIBERS {
            return Err(SubscribeError::TooMany);
        }
        let kinds = interest.kinds;
        let queue = Arc::new(Queue::new(interest, SUBSCRIBER_QUEUE)?);
        subscribers.push(Arc::clone(&queue));
        if kinds.intersects(Kinds::ALL) {
            self.is_listening.store(true, Ordering::Relaxed);
        }
        // Under the lock of the subscribers, as `watch_no_longer`.
        if kinds.intersects(Kinds::CONNECTIONS)
            && let Some(connections) = self.connections.get()
        {
            connections.watch();
        }
        drop(subscribers);
        // In line with what was observed before and has not been told yet. Once the thread has ended, nothing
        // is told to anybody.
        let _ = self.intake.send(Intake::Subscribed(Arc::clone(&queue)));
        Ok(Subscription(queue))
    }

    /// The subscribers, without those that have gone.
    fn subscribers(&self) -> parking_lot::MutexGuard<'_, Vec<Arc<Queue>>> {
        let mut subscribers = self.subscribers.lock();
        // A subscription, or one that is on its way to the thread, holds another reference.
        subscribers.retain(|queue| Arc::strong_count(queue) > 1);
        if !subscribers.iter().any(|queue| queue.interest().kinds.intersects(Kinds::ALL)) {
            self.is_listening.store(false, Ordering::Relaxed);
        }
        subscribers
    }

    /// Ends to gather events of connections, unless a subscriber wants them.
    pub(crate) fn watch_no_longer(&self, connections: &Connections) {
        if !connections.events().is_watched() {
            return;
        }
        // Until the end, so that nobody subscribes meanwhile and hears nothing.
        let subscribers = self.subscribers();
        if !subscribers.iter().any(wants_connections) {
            connections.stop_watching();
        }
    }

    /// Kinds of events of a bridge that somebody wants.
    fn wanted(&self, bridge: &str) -> Kinds {
        if is_logging() {
            return Kinds::ALL;
        }
        let mut wanted = Kinds::default();
        for queue in self.subscribers().iter().filter(|q| q.interest().covers(bridge, Kinds::ALL)) {
            wanted = wanted | queue.interest().kinds;
        }
        wanted
    }
}

fn wants_connections(queue: &Arc<Queue>) -> bool {
    queue.interest().kinds.intersects(Kinds::CONNECTIONS)
}

/// Whether the log is told of everything, and not only of bridges, ports and rules whose time was over.
fn is_logging() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

impl Observer for Events {
    fn is_listening(&self) -> bool {
        self.is_listening.load(Ordering::Relaxed) || is_logging()
    }

    fn observe(&self, observed: Observed) {
        if let Err(refused) = self.intake.try_send(Intake::Observed(observed)) {
            let lost = match refused.into_inner() {
                Intake::Observed(Observed::Effects(effects)) => effects.steps(),
                Intake::Observed(Observed::Hosts { changes, .. }) => changes.len(),
                Intake::Observed(Observed::Ports(changes)) => changes.len(),
                Intake::Observed(_)
                | Intake::Connections
                | Intake::Subscribed(_)
                | Intake::Stop => 1,
            };
            self.lost.fetch_add(lost as u64, Ordering::Relaxed);
        }
    }
}

/// What was observed and not told yet.
pub(crate) struct EventIntake(Receiver<Intake>);

/// The thread that tells events. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct EventThread {
    intake: Sender<Intake>,
    thread: Option<JoinHandle<()>>,
}

impl EventThread {
    /// Tells what `events` observes of `policy`. `settle` returns once every packet that was received before
    /// the call is counted by its rules; `log` takes every event; `epoch` is when the
    /// switch's clock began.
    ///
    /// # Errors
    /// No thread could be had.
    pub(crate) fn start(
        events: Arc<Events>,
        intake: EventIntake,
        policy: Arc<Policy>,
        epoch: Instant,
        settle: impl Fn() + Send + 'static,
        log: impl Fn(&Event) + Send + 'static,
    ) -> io::Result<Self> {
        let sender = events.intake.clone();
        let names = policy.bridges().into_iter().collect();
        let connections = policy.connections().events();
        let bell = events.intake.clone();
        // If there is no room, the thread has enough to do, and looks for connections behind it.
        connections.set_bell(move || drop(bell.try_send(Intake::Connections)));
        let _ = events.connections.set(Arc::clone(connections));
        let teller = Teller { events, policy, epoch, names, log };
        let run = move || run(teller, &intake.0, settle);
        let thread = std::thread::Builder::new().name("events".to_owned()).spawn(run)?;
        Ok(Self { intake: sender, thread: Some(thread) })
    }
}

impl Drop for EventThread {
    fn drop(&mut self) {
        // The thread makes room as long as it runs.
        let _ = self.intake.send(Intake::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut teller: Teller<impl Fn(&Event)>, intake: &Receiver<Intake>, settle: impl Fn()) {
    let mut told = None;
    let mut gathered: Vec<Pending> = Vec::new();
    while gather(intake, &mut gathered, told) {
        if gathered.iter().any(Pending::has_removed_rules) {
            settle();
            told = Some(Instant::now());
        }
        for pending in gathered.drain(..) {
            match pending {
                Pending::Tell(observed) => teller.tell(observed),
                Pending::Open(queue) => queue.open(),
            }
        }
        if teller.tell_connections() {
            told = Some(Instant::now());
        }
        teller.tell_of_losses();
    }
}

/// Takes what there is, and waits for the first. If rules were removed or connections have come, and the last
/// settling or the last connections were `told` a short time ago, takes what comes until the next. False once
/// the switch ends.
fn gather(intake: &Receiver<Intake>, gathered: &mut Vec<Pending>, told: Option<Instant>) -> bool {
    let until = told.map(|told| told + SETTLE_INTERVAL);
    let mut waits = false;
    let mut next = intake.recv().map_err(|_| RecvTimeoutError::Disconnected);
    loop {
        match next {
            Ok(Intake::Observed(observed)) => {
                gathered.push(Pending::Tell(observed));
                waits |= gathered.last().is_some_and(Pending::has_removed_rules);
            }
            // More of them are on their way: workers need not ring for each.
            Ok(Intake::Connections) => waits = true,
            Ok(Intake::Subscribed(queue)) => gathered.push(Pending::Open(queue)),
            Ok(Intake::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
        if gathered.len() >= INTAKE {
            return true;
        }
        let left = until.filter(|_| waits).map(|u| u.saturating_duration_since(Instant::now()));
        next = intake.recv_timeout(left.unwrap_or_default());
    }
}

/// What the thread does next.
enum Pending {
    /// Make events of what was observed, and put them into the queues.
    Tell(Observed),
    /// Let a new subscriber hear of what comes.
    Open(Arc<Queue>),
}

impl Pending {
    fn has_removed_rules(&self) -> bool {
        matches!(self, Self::Tell(Observed::Effects(effects)) if effects.has_removed_rules())
    }
}

/// Makes events of what was observed, and puts them into the queues.
struct Teller<L> {
    events: Arc<Events>,
    policy: Arc<Policy>,
    epoch: Instant,
    names: HashMap<BridgeId, Arc<str>>,
    log: L,
}

impl<L: Fn(&Event)> Teller<L> {
    fn tell(&mut self, observed: Observed) {
        match observed {
            Observed::BridgeAdded { bridge, name } => {
                self.names.insert(bridge, name);
                self.put(bridge, vec![What::BridgeAdded]);
            }
            Observed::BridgeRemoved { bridge } => {
                self.put(bridge, vec![What::BridgeRemoved]);
                self.names.remove(&bridge);
            }
            Observed::Effects(effects) => self.tell_effects(&effects),
            Observed::Ports(changes) => {
                for change in changes {
                    self.put(change.at.bridge, port_events(change));
                }
            }
            Observed::Hosts { bridge, changes } => {
                self.put(bridge, changes.into_iter().map(What::Host).collect());
            }
        }
    }

    fn tell_effects(&self, effects: &Effects) {
        let bridge = effects.bridge();
        let wanted = self.events.wanted(&self.name(bridge));
        if !effects.is_expiry() && !wanted.intersects(Kinds::RULES | Kinds::GROUPS | Kinds::METERS)
        {
            return;
        }
        let mut walk = self.policy.effects(effects);
        loop {
            let mut happened = Vec::new();
            let has_more = walk.next_slice(|effect| happened.push(What::of(&effect)));
            self.put(bridge, happened);
            if !has_more {
                break;
            }
        }
        self.events.lost.fetch_add(walk.missed(), Ordering::Relaxed);
    }

    fn put(&self, bridge: BridgeId, happened: Vec<What>) {
        let (bridge, at) = (self.name(bridge), self.epoch.elapsed());
        let event = |what| Arc::new(Event { bridge: Arc::clone(&bridge), at, what });
        let events: Vec<Arc<Event>> = happened.into_iter().map(event).collect();
        events.iter().for_each(|event| (self.log)(event));
        for queue in self.events.subscribers().iter() {
            let interest = queue.interest();
            queue.put(events.iter().filter(|e| interest.covers(&e.bridge, e.what.kind())));
        }
    }

    /// Tells of connections that were made and have ended. Returns whether there were some.
    fn tell_connections(&self) -> bool {
        let connections = self.policy.connections();
        let CtNews { events, lost } = connections.events().take();
        if events.is_empty() {
            return false;
        }
        self.events.watch_no_longer(connections);
        let events: Vec<Arc<CtEvent>> = events.into_iter().map(Arc::new).collect();
        let subscribers = self.events.subscribers();
        let wanting = subscribers.iter().filter(|queue| wants_connections(queue));
        wanting.for_each(|queue| queue.put_connections(&events, lost));
        true
    }

    /// What the bridge is called. That it was added may have found no room in the intake.
    fn name(&self, bridge: BridgeId) -> Arc<str> {
        let known = self.names.get(&bridge).cloned();
        known.unwrap_or_else(|| self.policy.bridge(bridge).name())
    }

    fn tell_of_losses(&self) {
        let lost = self.events.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.events.subscribers().iter().for_each(|queue| queue.lose(lost));
        }
    }
}

fn port_events(change: PortChange) -> Vec<What> {
    match (change.before, change.after) {
        (None, Some(after)) => vec![What::PortAdded(after)],
        (Some(before), None) => vec![What::PortRemoved(before)],
        // Another port has taken the number.
        (Some(before), Some(after)) if before.name != after.name => {
            vec![What::PortRemoved(before), What::PortAdded(after)]
        }
        (Some(before), Some(after)) => {
            vec![What::PortChanged(Box::new(PortUpdate { before, after }))]
        }
        (None, None) => Vec::new(),
    }
}

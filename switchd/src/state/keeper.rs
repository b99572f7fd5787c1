//! Keeps state while the switch runs: the [`Keeper`] observes the policy, and its thread writes the journal.

use super::change::Change;
use super::directory::StateDirectory;
use super::error::StateError;
use super::journal::Journal;
use super::kept::CHANGE_SIZE;
use super::records;
use crate::desired::Desired;
use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};
use flow::types::TableId;
use flowtable::policy::observer::{Observed, Observer};
use flowtable::policy::{BridgeId, Policy};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::{error, info};

/// When a change of the state has to be on the disk (`--state-sync`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum StateSync {
    /// Before the command that makes the change ends.
    #[default]
    Always,
    /// At most a second later. A power cut loses the changes of the last second. If only the process ends, no
    /// change is lost.
    Interval,
}

/// The largest number of steps of transactions that wait in the queue. The keeper does not queue a transaction
/// beyond it; the thread then writes the journal anew from the tables.
const MAX_BACKLOG: usize = 2_000_000;
/// The largest number of messages of a batch.
const BATCH: usize = 1024;
/// A batch with as many bytes of records takes no further message.
const BATCH_SIZE: usize = 8 << 20;
/// The time from a write that failed to the next one, and with [`StateSync::Interval`] from a change until it
/// is on the disk.
const INTERVAL: Duration = Duration::from_secs(1);
/// The time between two signs that somebody still waits for the disk.
const WAIT_STEP: Duration = Duration::from_millis(500);
/// A journal that has as many bytes more than four times what it would have if it were new is written anew.
const SMALL: u64 = 4 << 20;

/// The observer of a policy whose changes are kept. It puts each change into a queue, and never waits for the
/// disk. See the [module](super).
#[derive(Debug)]
pub struct Keeper {
    intake: Sender<Intake>,
    backlog: Arc<Backlog>,
}

/// What the keeper and its thread know of the queue between them.
#[derive(Debug, Default)]
struct Backlog {
    /// Steps of the transactions in the queue.
    steps: AtomicUsize,
    /// The keeper left a transaction out of the queue, so the journal has to be written anew.
    is_missing: AtomicBool,
}

/// A message to the thread.
#[derive(Debug)]
enum Intake {
    /// The policy has changed.
    Observed(Observed),
    /// Somebody wants these bridges and ports from now on.
    Wanted(Box<Desired>),
    /// The command line and the file name these bridges and ports from now on.
    Configured(Box<Desired>),
    /// The tables have been restored. Changes behind this message go into the journal,
    /// changes before it do not.
    Begin(Box<Beginning>),
    /// The sender gets an answer once all messages before this one are written.
    Wait(Sender<Result<(), StateError>>),
    /// The switch ends.
    Stop,
}

/// What the thread needs to know before it writes the first record.
#[derive(Debug)]
pub struct Beginning {
    /// The configuration: what the command line and the file say.
    pub configured: Desired,
    /// The bridges and ports that the switch starts with.
    pub wanted: Desired,
    /// The journal of the last switch, to append to; `None` has the thread write a new journal.
    pub journal: Option<Journal>,
    /// The size in bytes that a new journal would have, estimated.
    pub new_size: u64,
    /// The names of the bridges that the journal has and the switch does not start with. Their records end
    /// here, so that a later bridge of the same name does not get their rules.
    pub gone: Vec<String>,
}

/// The receiving end of the queue from a keeper to its thread.
#[derive(Debug)]
pub struct KeeperIntake(Receiver<Intake>);

impl Keeper {
    /// A keeper, and the queue from it to its thread.
    pub fn new() -> (Arc<Self>, KeeperIntake) {
        let (intake, receiver) = channel::unbounded();
        (Arc::new(Self { intake, backlog: Arc::default() }), KeeperIntake(receiver))
    }

    /// Has the thread begin to write. The caller has restored the tables from the journal.
    pub(crate) fn begin(&self, beginning: Beginning) {
        let _ = self.intake.send(Intake::Begin(Box::new(beginning)));
    }

    /// Queues the bridges and ports that somebody wants from now on.
    pub(crate) fn want(&self, wanted: &Desired) {
        let _ = self.intake.send(Intake::Wanted(Box::new(wanted.clone())));
    }

    /// Queues a new configuration: the bridges and ports that the command line and the file name from now on.
    pub(crate) fn configure(&self, configured: &Desired) {
        let _ = self.intake.send(Intake::Configured(Box::new(configured.clone())));
    }

    /// Returns once the journal has every change that was made before the call. Meanwhile `step` is called
    /// twice a second.
    ///
    /// # Errors
    /// The journal could not be written. The changes are in force all the same, and the
    /// thread tries again every second.
    pub fn wait(&self, step: &dyn Fn()) -> Result<(), StateError> {
        let (sender, receiver) = channel::bounded(1);
        let _ = self.intake.send(Intake::Wait(sender));
        loop {
            match receiver.recv_timeout(WAIT_STEP) {
                Ok(written) => return written,
                Err(RecvTimeoutError::Timeout) => step(),
                // The thread has ended with the switch, and has written all changes by then.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }
}

impl Observer for Keeper {
    fn is_listening(&self) -> bool {
        true
    }

    fn observe(&self, observed: Observed) {
        let observed = match observed {
            Observed::Ports(_) => return,
            Observed::Hosts { bridge, mut changes } => {
                changes.retain(records::may_be_static);
                if changes.is_empty() {
                    return;
                }
                Observed::Hosts { bridge, changes }
            }
            Observed::Effects(effects) => {
                let steps = effects.steps();
                let waiting = self.backlog.steps.fetch_add(steps, Ordering::Relaxed);
                // A transaction beyond the limit is queued if no other one waits.
                if waiting != 0 && waiting + steps > MAX_BACKLOG {
                    self.backlog.steps.fetch_sub(steps, Ordering::Relaxed);
                    self.backlog.is_missing.store(true, Ordering::Release);
                    return;
                }
                Observed::Effects(effects)
            }
            other => other,
        };
        let _ = self.intake.send(Intake::Observed(observed));
    }
}

/// The thread that writes the journal. Dropping this value has the thread write all queued changes and waits
/// for its end.
#[derive(Debug)]
pub struct KeeperThread {
    intake: Sender<Intake>,
    thread: Option<JoinHandle<()>>,
}

impl KeeperThread {
    /// Starts the thread, which writes the changes of `policy` that `keeper` queues into the journal of
    /// `directory`. `epoch` is the zero of the switch's clock.
    ///
    /// # Errors
    /// No thread could be had.
    pub fn start(
        keeper: &Keeper,
        intake: KeeperIntake,
        policy: Arc<Policy>,
        directory: StateDirectory,
        sync: StateSync,
        epoch: Instant,
    ) -> io::Result<Self> {
        let writer = Writer {
            policy,
            directory,
            sync,
            epoch,
            backlog: Arc::clone(&keeper.backlog),
            journal: None,
            new_size: 0,
            is_unsynced: false,
            failed: None,
            desired: None,
            names: HashMap::new(),
        };
        let run = move || writer.run(&intake.0);
        let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(run)?;
        Ok(Self { intake: keeper.intake.clone(), thread: Some(thread) })
    }
}

impl Drop for KeeperThread {
    fn drop(&mut self) {
        let _ = self.intake.send(Intake::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Messages that are handled together, and written with one call.
#[derive(Default)]
struct Batch {
    /// Records of the messages so far.
    records: Vec<u8>,
    /// The sessions that wait until the batch is written.
    waiting: Vec<Sender<Result<(), StateError>>>,
    /// The number of messages so far.
    messages: usize,
    /// The thread ends with this batch.
    is_last: bool,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.is_last || self.messages >= BATCH || self.records.len() >= BATCH_SIZE
    }
}

/// The state of the thread.
struct Writer {
    policy: Arc<Policy>,
    directory: StateDirectory,
    sync: StateSync,
    epoch: Instant,
    backlog: Arc<Backlog>,
    /// The journal that records are appended to; `None` if the next write has to make a new one.
    journal: Option<Journal>,
    /// The size in bytes that the journal had when it was new, or would have had at a later time.
    new_size: u64,
    /// The file has records that the disk may not have.
    is_unsynced: bool,
    /// The error and the time of the latest write, if it failed.
    failed: Option<(StateError, Instant)>,
    /// The configuration, and the bridges and ports that are wanted; `None` before [`Intake::Begin`].
    desired: Option<(Desired, Desired)>,
    /// The names of the bridges, as far as the queue has told of them.
    names: HashMap<BridgeId, Arc<str>>,
}

impl Writer {
    fn run(mut self, intake: &Receiver<Intake>) {
        loop {
            let has_work_left = self.is_unsynced || self.failed.is_some();
            let first = match has_work_left {
                true => intake.recv_timeout(INTERVAL),
                false => intake.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let is_timeout = matches!(first, Err(RecvTimeoutError::Timeout));
            let mut next = match first {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Intake::Stop),
            };
            let mut batch = Batch::default();
            while let Some(message) = next {
                self.take(message, &mut batch);
                next = if batch.is_full() { None } else { intake.try_recv().ok() };
            }
            let written = self.write(&batch.records, is_timeout || batch.is_last);
            for sender in batch.waiting {
                let _ = sender.send(written.clone());
            }
            if batch.is_last {
                return;
            }
            // Nobody waits for it.
            self.shrink();
        }
    }

    /// Does what a message says, and adds records of it to the batch.
    fn take(&mut self, message: Intake, batch: &mut Batch) {
        batch.messages += 1;
        match message {
            Intake::Observed(observed) => self.record(&mut batch.records, observed),
            Intake::Wanted(wanted) => {
                let Some((configured, last)) = &mut self.desired else { return };
                let wanted = persistent(*wanted, configured);
                let change = Change::Wanted(Cow::Borrowed(&wanted));
                records::changes(&mut batch.records, &[change]);
                if unkept(last) != unkept(&wanted) {
                    // The journal lacks what a bridge has that is to be kept from now on, or has what is not.
                    self.backlog.is_missing.store(true, Ordering::Release);
                }
                *last = wanted;
            }
            Intake::Configured(configured) => {
                let Some((last, _)) = &mut self.desired else { return };
                records::changes(
                    &mut batch.records,
                    &[Change::Configured(Cow::Borrowed(&configured))],
                );
                *last = *configured;
            }
            Intake::Begin(beginning) => self.begin(&mut batch.records, *beginning),
            Intake::Wait(sender) => batch.waiting.push(sender),
            Intake::Stop => batch.is_last = true,
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>, beginning: Beginning) {
        let Beginning { configured, wanted, journal, new_size, gone } = beginning;
        let wanted = persistent(wanted, &configured);
        for name in &gone {
            records::changes(out, &[Change::Bridge(name.into()), Change::Empty]);
        }
        let changes = [
            Change::Configured(Cow::Borrowed(&configured)),
            Change::Wanted(Cow::Borrowed(&wanted)),
        ];
        records::changes(out, &changes);
        (self.journal, self.new_size) = (journal, new_size);
        self.desired = Some((configured, wanted));
    }

    /// Whether the rules, groups and hosts of a bridge are kept. Those of a bridge that is not wanted any more
    /// are: their records end with one that says so.
    fn keeps(&self, name: &str) -> bool {
        let wanted = self.desired.as_ref().and_then(|(_, wanted)| wanted.bridge(name).ok());
        wanted.is_none_or(|bridge| bridge.persist)
    }

    /// Appends a record of a change of the policy.
    fn record(&mut self, out: &mut Vec<u8>, observed: Observed) {
        match observed {
            Observed::BridgeAdded { bridge, name } => {
                self.names.insert(bridge, name);
            }
            Observed::BridgeRemoved { bridge } => {
                if let Some(name) = self.names.remove(&bridge) {
                    let name = Change::Bridge(Cow::Borrowed(&name));
                    records::changes(out, &[name, Change::Empty]);
                }
            }
            Observed::Effects(effects) => {
                let now = self.epoch.elapsed();
                if self.desired.is_some()
                    && let Some(name) = self.names.get(&effects.bridge())
                    && self.keeps(name)
                    && !records::effects(out, &self.policy, &effects, name, now)
                {
                    self.backlog.is_missing.store(true, Ordering::Release);
                }
                self.backlog.steps.fetch_sub(effects.steps(), Ordering::Relaxed);
            }
            Observed::Hosts { bridge, changes } => {
                if let Some(name) = self.names.get(&bridge).filter(|name| self.keeps(name)) {
                    records::hosts(out, &changes, name);
                }
            }
            Observed::Ports(_) => {}
        }
    }

    /// Writes records. With `now`, the disk has all records afterwards, and a write that failed
    /// is tried again at once.
    fn write(&mut self, records: &[u8], now: bool) -> Result<(), StateError> {
        if self.desired.is_none() {
            return Ok(());
        }
        if let Some((error, at)) = &self.failed
            && !now
            && at.elapsed() < INTERVAL
        {
            // These records need not be written: the next write takes everything from the tables.
            return Err(error.clone());
        }
        let written = self.try_write(records, now);
        self.note(&written);
        written
    }

    /// Notes whether the latest write has failed. A change of that is logged.
    fn note(&mut self, written: &Result<(), StateError>) {
        match (written, &self.failed) {
            (Ok(()), Some(_)) => info!("state is kept again"),
            (Err(error), None) => {
                error!("state is not kept, and it is tried again every second: {error}");
            }
            _ => {}
        }
        self.failed = written.as_ref().err().map(|error| (error.clone(), Instant::now()));
        if self.failed.is_some() {
            self.journal = None;
        }
    }

    /// Appends records to the journal, or writes the journal anew.
    fn try_write(&mut self, records: &[u8], now: bool) -> Result<(), StateError> {
        // The mark is taken before the tables are read: a transaction that is left out later sets it again.
        let is_missing = self.backlog.is_missing.swap(false, Ordering::AcqRel);
        let Some(journal) = self.journal.as_mut().filter(|_| !is_missing) else {
            return self.write_anew();
        };
        journal.append(records)?;
        self.is_unsynced |= !records.is_empty();
        if self.is_unsynced && (now || self.sync == StateSync::Always) {
            journal.sync()?;
            self.is_unsynced = false;
        }
        Ok(())
    }

    /// Writes the journal anew if it has grown, except by rules that are still there.
    fn shrink(&mut self) {
        let Some(size) = self.journal.as_ref().map(Journal::size) else { return };
        if size <= SMALL + 4 * self.new_size {
            return;
        }
        self.new_size = self.rules_size();
        if size > SMALL + 4 * self.new_size {
            let written = self.write_anew();
            self.note(&written);
        }
    }

    /// The size in bytes that all rules of the switch would have in a journal, estimated.
    fn rules_size(&self) -> u64 {
        let count = |id| {
            let snapshot = self.policy.bridge(id).snapshot();
            let tables = (0..TableId::COUNT).filter_map(|n| TableId::new(n as u8));
            tables.map(|table| snapshot.tables().len(table) as u64).sum::<u64>()
        };
        let bridges = self.policy.bridges().into_iter();
        CHANGE_SIZE * bridges.map(|(id, _)| count(id)).sum::<u64>()
    }

    /// Replaces the journal by a new one, made from the tables.
    fn write_anew(&mut self) -> Result<(), StateError> {
        let Some((configured, wanted)) = &self.desired else { return Ok(()) };
        let now = self.epoch.elapsed();
        let journal = Journal::replace(&self.directory.journal(), |to| {
            let mut out = Vec::new();
            let configured = Change::Configured(Cow::Borrowed(configured));
            records::changes(&mut out, &[configured, Change::Wanted(Cow::Borrowed(wanted))]);
            to.write(&out)?;
            // Not the bridges of `names`: whether a bridge was added may still wait in the queue.
            let bridges = self.policy.bridges().into_iter();
            for (id, name) in bridges.filter(|(_, name)| self.keeps(name)) {
                records::everything(to, self.policy.bridge(id), &name, now)?;
            }
            Ok(())
        })?;
        self.new_size = journal.size();
        self.journal = Some(journal);
        self.is_unsynced = false;
        Ok(())
    }
}

/// The bridges and ports that are kept of those that are wanted. Of a bridge that does not persist only the
/// ports are kept that the configuration names, as it names them.
fn persistent(mut wanted: Desired, configured: &Desired) -> Desired {
    for bridge in wanted.bridges.iter_mut().filter(|bridge| !bridge.persist) {
        let ports = configured.bridge(&bridge.name).map(|bridge| bridge.ports.clone());
        bridge.ports = ports.unwrap_or_default();
    }
    wanted
}

/// The names of the bridges whose rules are not kept.
fn unkept(wanted: &Desired) -> Vec<&str> {
    let bridges = wanted.bridges.iter().filter(|bridge| !bridge.persist);
    bridges.map(|bridge| &*bridge.name).collect()
}

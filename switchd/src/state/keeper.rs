//! Keeps state while the switch runs: an observer of the policy, and the thread that writes the journal.

use super::change::Change;
use super::directory::StateDirectory;
use super::error::StateError;
use super::journal::Journal;
use super::records;
use crate::desired::Desired;
use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};
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

/// When changes are brought onto the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum StateSync {
    /// Before a command that changes something ends.
    #[default]
    Always,
    /// Once a second. A power cut takes the changes of the last second; the end of the process takes none.
    Interval,
}

/// Steps of transactions that wait to be written at most. Beyond that transactions are not told, and the journal is
/// written anew from the tables.
const MAX_BACKLOG: usize = 2_000_000;
/// Things that are written together at most.
const BATCH: usize = 1024;
/// Bytes of records after which a batch is written.
const BATCH_SIZE: usize = 8 << 20;
/// The time between two tries to write, and from a change until it is on the disk with [`StateSync::Interval`].
const INTERVAL: Duration = Duration::from_secs(1);
/// A journal is written anew when it is larger than this, and four times as large as it was when it was new.
const SMALL: u64 = 4 << 20;

/// Hears of changes that are to be kept. See the [module](super).
#[derive(Debug)]
pub struct Keeper {
    intake: Sender<Intake>,
    backlog: Arc<Backlog>,
}

#[derive(Debug, Default)]
struct Backlog {
    /// Steps of the transactions in the queue.
    steps: AtomicUsize,
    /// A transaction was not put into the queue.
    is_missing: AtomicBool,
}

#[derive(Debug)]
enum Intake {
    Observed(Observed),
    Wanted(Box<Desired>),
    /// The tables are as they were kept. From now on the journal tells of them.
    Begin(Box<Beginning>),
    /// Answer once everything before this is kept.
    Wait(Sender<Result<(), StateError>>),
    Stop,
}

/// What a journal begins with.
#[derive(Debug)]
pub struct Beginning {
    /// What the configuration says.
    pub configured: Desired,
    /// What is wanted.
    pub wanted: Desired,
    /// The journal to go on with; `None` for a new one.
    pub journal: Option<Journal>,
    /// Size in bytes that a new journal would have, roughly.
    pub new_size: u64,
    /// Bridges of which the journal tells, and which are not wanted.
    pub gone: Vec<String>,
}

/// What was heard and is not written yet.
#[derive(Debug)]
pub struct KeeperIntake(Receiver<Intake>);

impl Keeper {
    /// A keeper, and the queue from it to its thread.
    pub fn new() -> (Arc<Self>, KeeperIntake) {
        let (intake, receiver) = channel::unbounded();
        (Arc::new(Self { intake, backlog: Arc::default() }), KeeperIntake(receiver))
    }

    /// Begins to write. What was heard before is in the tables already, and in the journal if there is one.
    pub(crate) fn begin(&self, beginning: Beginning) {
        let _ = self.intake.send(Intake::Begin(Box::new(beginning)));
    }

    /// Keeps what is wanted now.
    pub(crate) fn want(&self, wanted: &Desired) {
        let _ = self.intake.send(Intake::Wanted(Box::new(wanted.clone())));
    }

    /// Returns once everything that was changed before the call is kept.
    ///
    /// # Errors
    /// It could not be written. The changes are in force all the same, and writing is tried again every second.
    pub fn wait(&self) -> Result<(), StateError> {
        let (sender, receiver) = channel::bounded(1);
        let _ = self.intake.send(Intake::Wait(sender));
        // Without an answer the switch is ending, and its thread has written everything.
        receiver.recv().unwrap_or(Ok(()))
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
                // However large a transaction is, it may wait alone.
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

/// The thread that writes the journal. Dropping it writes what is left, and ends it.
#[derive(Debug)]
pub struct KeeperThread {
    intake: Sender<Intake>,
    thread: Option<JoinHandle<()>>,
}

impl KeeperThread {
    /// Writes what `keeper` hears of `policy` into the journal of a directory. `epoch` is when the switch's clock began.
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

struct Writer {
    policy: Arc<Policy>,
    directory: StateDirectory,
    sync: StateSync,
    epoch: Instant,
    backlog: Arc<Backlog>,
    /// `None`: it has to be written anew.
    journal: Option<Journal>,
    /// Size of the journal when it was new, in bytes.
    new_size: u64,
    /// The journal has records that may not be on the disk.
    is_unsynced: bool,
    /// Why the last try to write failed, and when that was.
    failed: Option<(StateError, Instant)>,
    /// What the configuration said and what is wanted. `None`: the switch is not yet as it was kept.
    desired: Option<(Desired, Desired)>,
    names: HashMap<BridgeId, Arc<str>>,
}

impl Writer {
    fn run(mut self, intake: &Receiver<Intake>) {
        let mut is_over = false;
        while !is_over {
            let is_late = self.is_unsynced || self.failed.is_some();
            let first = match is_late {
                true => intake.recv_timeout(INTERVAL),
                false => intake.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let (mut out, mut waiting) = (Vec::new(), Vec::new());
            let is_timeout = matches!(first, Err(RecvTimeoutError::Timeout));
            is_over = matches!(first, Err(RecvTimeoutError::Disconnected));
            let mut next = first.ok();
            let mut taken = 0;
            while let Some(thing) = next {
                taken += 1;
                match thing {
                    Intake::Observed(observed) => self.record(&mut out, observed),
                    Intake::Wanted(wanted) => {
                        records::changes(&mut out, &[Change::Wanted(Cow::Borrowed(&wanted))]);
                        if let Some((_, kept)) = &mut self.desired {
                            *kept = *wanted;
                        }
                    }
                    Intake::Begin(beginning) => self.begin(&mut out, *beginning),
                    Intake::Wait(sender) => waiting.push(sender),
                    Intake::Stop => is_over = true,
                }
                let is_full = taken >= BATCH || out.len() >= BATCH_SIZE;
                next = if is_full || is_over { None } else { intake.try_recv().ok() };
            }
            let written = self.write(&out, is_timeout || is_over);
            for sender in waiting {
                let _ = sender.send(written.clone());
            }
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>, beginning: Beginning) {
        let Beginning { configured, wanted, journal, new_size, gone } = beginning;
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

    /// Appends a record of what was observed.
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
                    && !records::effects(out, &self.policy, &effects, name, now)
                {
                    self.backlog.is_missing.store(true, Ordering::Release);
                }
                self.backlog.steps.fetch_sub(effects.steps(), Ordering::Relaxed);
            }
            Observed::Hosts { bridge, changes } => {
                if let Some(name) = self.names.get(&bridge) {
                    records::hosts(out, &changes, name);
                }
            }
            Observed::Ports(_) => {}
        }
    }

    /// Writes records, and what could not be written before. With `now`, everything is on the disk afterwards.
    fn write(&mut self, records: &[u8], now: bool) -> Result<(), StateError> {
        if self.desired.is_none() {
            return Ok(());
        }
        if let Some((error, at)) = &self.failed
            && !now
            && at.elapsed() < INTERVAL
        {
            // The next journal is written from the tables, which have what these records tell.
            return Err(error.clone());
        }
        let written = self.try_write(records, now);
        match (&written, &self.failed) {
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
        written
    }

    fn try_write(&mut self, records: &[u8], now: bool) -> Result<(), StateError> {
        // First the mark: what is not told from now on is marked again.
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
        if journal.size() > SMALL + 4 * self.new_size {
            return self.write_anew();
        }
        Ok(())
    }

    /// Replaces the journal by one of everything that the tables have.
    fn write_anew(&mut self) -> Result<(), StateError> {
        let Some((configured, wanted)) = &self.desired else { return Ok(()) };
        let now = self.epoch.elapsed();
        let journal = Journal::replace(&self.directory.journal(), |to| {
            let mut out = Vec::new();
            let configured = Change::Configured(Cow::Borrowed(configured));
            records::changes(&mut out, &[configured, Change::Wanted(Cow::Borrowed(wanted))]);
            to.write(&out)?;
            // Not the bridges of `names`: whether a bridge was added may still wait in the queue.
            for (id, name) in self.policy.bridges() {
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

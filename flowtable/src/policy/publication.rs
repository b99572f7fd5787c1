//! Publication: a change of any size, made in small steps while others read, becomes visible at once.
//!
//! A reader takes the lock shared for one look, and *then* the version. A writer prepares its change
//! under the next version, which nobody reads at yet, in steps that hold the lock one at a time, and
//! publishes it by storing that number. Two writers never prepare at the same time.
//!
//! What no reader can see any more may be freed, in such a step too: what is invisible at the
//! [`oldest`](Published::oldest) version and later. A reader under the lock has the published one. Whoever
//! looks again and again and wants to see the same each time [holds](Published::hold) a version.
//!
//! [`Generations`] tell those who remember what they read that it may have changed. They are counted
//! when the change is visible, not before: who remembers under a generation what was read after
//! loading it can miss nothing.
//!
//! `publication_model` checks this file.

use super::sync::{AtomicU64, Mutex, MutexGuard, Ordering, RwLock, RwLockReadGuard, give_way};
use crate::classifier::Version;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something with versions. See the [module](self).
#[derive(Debug)]
pub(super) struct Published<T> {
    content: RwLock<T>,
    version: AtomicU64,
    /// Versions that are held, and how often.
    held: Arc<Mutex<BTreeMap<Version, usize>>>,
    /// Held by whoever prepares a change.
    writer: Mutex<()>,
}

impl<T> Published<T> {
    /// Visible from now on.
    pub(super) fn new(content: T) -> Self {
        Self {
            content: RwLock::new(content),
            version: AtomicU64::new(0),
            held: Arc::new(Mutex::new(BTreeMap::new())),
            writer: Mutex::new(()),
        }
    }

    /// The version that readers have now.
    pub(super) fn version(&self) -> Version {
        Version(self.version.load(Ordering::Acquire))
    }

    /// The content, and the version to look at it with.
    pub(super) fn read(&self) -> (RwLockReadGuard<'_, T>, Version) {
        let content = self.content.read();
        let version = self.version();
        (content, version)
    }

    /// The lock around the content.
    pub(super) fn lock(&self) -> &RwLock<T> {
        &self.content
    }

    /// Waits for other writers. The version is the next one, which the caller may prepare until it
    /// drops the guard.
    pub(super) fn begin(&self) -> (MutexGuard<'_, ()>, Version) {
        let writer = self.writer.lock();
        (writer, self.version().next())
    }

    /// As [`begin`](Self::begin), but waits `patience` at most. `None` if another writer takes longer.
    pub(super) fn begin_within(
        &self,
        patience: std::time::Duration,
    ) -> Option<(MutexGuard<'_, ()>, Version)> {
        let writer = self.writer.try_lock_for(patience)?;
        Some((writer, self.version().next()))
    }

    /// One step: short, as readers wait.
    pub(super) fn step<R>(&self, step: impl FnOnce(&mut T) -> R) -> R {
        let mut content = self.content.write();
        let result = step(&mut content);
        give_way(content);
        result
    }

    /// As [`step`](Self::step), but `None` instead of a step if somebody reads or writes.
    pub(super) fn try_step<R>(&self, step: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut content = self.content.try_write()?;
        let result = step(&mut content);
        give_way(content);
        Some(result)
    }

    /// Publishes what was prepared under the version of [`begin`](Self::begin).
    pub(super) fn publish(&self, version: Version) {
        self.version.store(version.0, Ordering::Release);
    }

    /// Nobody looks at the content with an older version. To be asked within a [`step`](Self::step).
    pub(super) fn oldest(&self) -> Version {
        let held = self.held.lock();
        let published = self.version();
        held.keys().next().map_or(published, |held| published.min(*held))
    }

    /// The published version. What it sees is not freed as long as it is held.
    pub(super) fn hold(&self) -> Hold {
        let mut held = self.held.lock();
        // Not before: whoever asks for the oldest in between would be told a later one.
        let version = self.version();
        *held.entry(version).or_default() += 1;
        Hold { held: Arc::clone(&self.held), version }
    }
}

/// A version that is held.
#[derive(Debug)]
pub(super) struct Hold {
    held: Arc<Mutex<BTreeMap<Version, usize>>>,
    version: Version,
}

impl Hold {
    pub(super) fn version(&self) -> Version {
        self.version
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        if let Some(count) = held.get_mut(&self.version) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.version);
            }
        }
    }
}

/// Counts changes of whatever kind, with a log of them.
#[derive(Debug)]
pub(super) struct Generations<L> {
    latest: AtomicU64,
    /// Held while anything is recorded.
    log: Mutex<L>,
}

impl<L> Generations<L> {
    /// The first is 1.
    pub(super) fn new(log: L) -> Self {
        Self { latest: AtomicU64::new(1), log: Mutex::new(log) }
    }

    /// The latest generation. What is read after this is at least as new.
    #[inline]
    pub(super) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    /// Records a change that is visible already under the next generation, which it returns.
    pub(super) fn record(&self, what: impl FnOnce(&mut L, u64)) -> u64 {
        let mut log = self.log.lock();
        let generation = self.latest.load(Ordering::Relaxed) + 1;
        what(&mut log, generation);
        self.latest.store(generation, Ordering::Release);
        generation
    }

    /// The log, and the generation up to which it tells.
    pub(super) fn log(&self) -> (MutexGuard<'_, L>, u64) {
        let log = self.log.lock();
        let latest = self.latest.load(Ordering::Relaxed);
        (log, latest)
    }
}

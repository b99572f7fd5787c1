//! The locks and atomics of the policy in one place, so that the model of
//! [`publication`](super::publication) under `loom` can replace them.

use crate::effort::{Longest, Watch};
pub(super) use parking_lot::{Mutex, MutexGuard};
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A lock that a worker may wait for when a packet misses its caches. Some builds count and measure
/// what is done under one hold of the lock: see [`effort`](crate::effort).
#[derive(Debug, Default)]
pub(super) struct RwLock<T> {
    inner: parking_lot::RwLock<T>,
    longest: Longest,
}

impl<T> RwLock<T> {
    /// A lock around `value` that nobody holds.
    pub(super) fn new(value: T) -> Self {
        Self { inner: parking_lot::RwLock::new(value), longest: Longest::default() }
    }

    /// Takes the lock together with other readers.
    #[inline]
    pub(super) fn read(&self) -> RwLockReadGuard<'_, T> {
        let inner = self.inner.read();
        Held { watch: self.longest.watch(), inner }
    }

    /// Takes the lock alone.
    #[inline]
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, T> {
        let inner = self.inner.write();
        Held { watch: self.longest.watch(), inner }
    }

    /// Takes the lock alone if nobody has it.
    pub(super) fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let inner = self.inner.try_write()?;
        Some(Held { watch: self.longest.watch(), inner })
    }

    /// The most that was done under one hold of the lock.
    pub(super) fn longest(&self) -> &Longest {
        &self.longest
    }
}

/// A lock that is held, with `inner` as the plain guard.
#[derive(Debug)]
pub(super) struct Held<'a, G> {
    /// Ends before the lock is let go of: fields are dropped in their order.
    watch: Watch<'a>,
    inner: G,
}

/// The value of a lock that is held together with other readers.
pub(super) type RwLockReadGuard<'a, T> = Held<'a, parking_lot::RwLockReadGuard<'a, T>>;

/// The value of a lock that is held alone.
pub(super) type RwLockWriteGuard<'a, T> = Held<'a, parking_lot::RwLockWriteGuard<'a, T>>;

impl<G: Deref> Deref for Held<'_, G> {
    type Target = G::Target;

    #[inline]
    fn deref(&self) -> &G::Target {
        &self.inner
    }
}

impl<G: DerefMut> DerefMut for Held<'_, G> {
    #[inline]
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.inner
    }
}

/// How long a thread works between two offers of its core: less than the scheduler lets a thread run at
/// a time, which is some milliseconds.
const TURN: Duration = Duration::from_micros(100);

thread_local! {
    /// When this thread has offered its core last, and how long it works until it does so again.
    static OFFERED: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// Unlocks, and hands the lock to the thread that has waited longest, if one waits. A plain unlock
/// would mostly let the present thread take the lock again for its next step, while the waiting
/// reader is still waking up. [Offers the core](offer_core) as well.
pub(super) fn give_way<T>(guard: RwLockWriteGuard<'_, T>) {
    let Held { watch, inner } = guard;
    drop(watch);
    parking_lot::RwLockWriteGuard::unlock_fair(inner);
    offer_core();
}

/// Offers the core to other threads, from time to time ([`TURN`]). The scheduler takes a thread that never does
/// so off its core at some time, most likely while the thread has the lock, and a worker on another core then
/// waits for milliseconds. Where other threads keep the core busy, each offer costs a turn of all of them. The
/// thread then works for a quarter of that time before the next offer, so that it keeps a fifth of the core.
/// Nothing but the moment of an offer depends on the clock.
pub(super) fn offer_core() {
    let now = Instant::now();
    match OFFERED.get() {
        Some((last, turn)) if now.duration_since(last) < turn => {}
        Some(_) => {
            std::thread::yield_now();
            OFFERED.set(Some((Instant::now(), TURN.max(now.elapsed() / 4))));
        }
        None => OFFERED.set(Some((now, TURN))),
    }
}

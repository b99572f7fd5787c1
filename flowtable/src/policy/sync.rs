//! The locks and atomics of the [`publication`](super::publication), in one place, so that its model
//! can put others there.

use parking_lot::RwLockWriteGuard;
pub(super) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
pub(super) use std::sync::atomic::{AtomicU64, Ordering};

/// Gives the lock to those who wait for it, if there are any. Unlocked in the common way, it would
/// mostly go to the thread that has it now, for its next step, while a reader still wakes up.
///
/// And gives the core to others who want it: a thread that works on and on is taken off it some time, most
/// likely with the lock, and then a worker on another core waits for milliseconds.
pub(super) fn give_way<T>(guard: RwLockWriteGuard<'_, T>) {
    RwLockWriteGuard::unlock_fair(guard);
    std::thread::yield_now();
}

//! The locks and atomics of [`publication`](super::publication) in one place, so that its model
//! under `loom` can replace them.

use parking_lot::RwLockWriteGuard;
pub(super) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
pub(super) use std::sync::atomic::{AtomicU64, Ordering};

/// Unlocks, and hands the lock to the thread that has waited longest, if one waits. A plain unlock
/// would mostly let the present thread take the lock again for its next step, while the waiting
/// reader is still waking up.
///
/// Then offers the core to other threads. The scheduler takes a thread that never does so off its
/// core at some time, most likely while the thread has the lock, and a worker on another core then
/// waits for milliseconds.
pub(super) fn give_way<T>(guard: RwLockWriteGuard<'_, T>) {
    RwLockWriteGuard::unlock_fair(guard);
    std::thread::yield_now();
}

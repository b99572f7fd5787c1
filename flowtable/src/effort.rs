//! What is done under one lock: how much, and how long it takes.
//!
//! Builds with debug assertions count the rules, groups and hosts that a thread looks at while it holds a lock,
//! for tests that hold steps to a limit. Builds with the feature `hold-times` measure how long a thread holds a
//! lock, by a clock that somebody has to set, for benchmarks. Other builds do neither, and pay nothing.

#[cfg(debug_assertions)]
use std::cell::Cell;
#[cfg(any(debug_assertions, feature = "hold-times"))]
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "hold-times")]
use std::{sync::OnceLock, time::Duration};

#[cfg(debug_assertions)]
thread_local! {
    static LOOKED_AT: Cell<u64> = const { Cell::new(0) };
}

/// Tells how long the calling thread has been on a core.
#[cfg(feature = "hold-times")]
static CLOCK: OnceLock<fn() -> Duration> = OnceLock::new();

/// From now on locks measure how long they are held, by `clock`: the time that the calling thread has spent on
/// a core. The first clock stays.
#[cfg(feature = "hold-times")]
pub fn time_holds(clock: fn() -> Duration) {
    // Set before: it is a clock, too.
    let _ = CLOCK.set(clock);
}

/// Nanoseconds of the calling thread on a core; 0 as long as there is no clock.
#[cfg(feature = "hold-times")]
fn on_core() -> u64 {
    CLOCK.get().map_or(0, |clock| clock().as_nanos() as u64)
}

/// The calling thread has looked at a rule, a group or a host.
#[inline(always)]
pub(crate) fn looked_at_one() {
    #[cfg(debug_assertions)]
    LOOKED_AT.set(LOOKED_AT.get() + 1);
}

/// The most that was looked at under one hold of a lock, and the longest hold.
#[derive(Debug, Default)]
pub(crate) struct Longest {
    #[cfg(debug_assertions)]
    looked_at: AtomicU64,
    /// The longest time that the lock was held, in nanoseconds of the holder's thread.
    #[cfg(feature = "hold-times")]
    time: AtomicU64,
}

impl Longest {
    /// To be kept for as long as the lock is held.
    #[inline(always)]
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch {
            #[cfg(not(any(debug_assertions, feature = "hold-times")))]
            _longest: std::marker::PhantomData,
            #[cfg(any(debug_assertions, feature = "hold-times"))]
            longest: self,
            #[cfg(debug_assertions)]
            before: LOOKED_AT.get(),
            #[cfg(feature = "hold-times")]
            since: on_core(),
        }
    }

    /// The most that was looked at since the last call; `None` where nothing is counted.
    pub(crate) fn take(&self) -> Option<u64> {
        #[cfg(debug_assertions)]
        return Some(self.looked_at.swap(0, Ordering::Relaxed));
        #[cfg(not(debug_assertions))]
        None
    }

    /// The longest hold since the last call.
    #[cfg(feature = "hold-times")]
    pub(crate) fn take_time(&self) -> Duration {
        Duration::from_nanos(self.time.swap(0, Ordering::Relaxed))
    }
}

/// Counts and measures while a lock is held.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    #[cfg(not(any(debug_assertions, feature = "hold-times")))]
    _longest: std::marker::PhantomData<&'a Longest>,
    #[cfg(any(debug_assertions, feature = "hold-times"))]
    longest: &'a Longest,
    /// What the thread had looked at before it took the lock.
    #[cfg(debug_assertions)]
    before: u64,
    /// The thread's time on a core when it took the lock, in nanoseconds.
    #[cfg(feature = "hold-times")]
    since: u64,
}

#[cfg(any(debug_assertions, feature = "hold-times"))]
impl Drop for Watch<'_> {
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        self.longest.looked_at.fetch_max(LOOKED_AT.get() - self.before, Ordering::Relaxed);
        #[cfg(feature = "hold-times")]
        self.longest.time.fetch_max(on_core().saturating_sub(self.since), Ordering::Relaxed);
    }
}

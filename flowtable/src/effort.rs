//! How many rules and groups are looked at under one lock: counted in builds with debug assertions, for
//! tests that hold steps to a limit. Other builds count nothing.

#[cfg(debug_assertions)]
use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

#[cfg(debug_assertions)]
thread_local! {
    static LOOKED_AT: Cell<u64> = const { Cell::new(0) };
}

/// The calling thread has looked at a rule or a group.
#[inline(always)]
pub(crate) fn looked_at_one() {
    #[cfg(debug_assertions)]
    LOOKED_AT.set(LOOKED_AT.get() + 1);
}

/// The most that was looked at under one hold of a lock.
#[derive(Debug, Default)]
pub(crate) struct Longest(#[cfg(debug_assertions)] AtomicU64);

impl Longest {
    /// To be kept for as long as the lock is held.
    #[inline(always)]
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch {
            _longest: self,
            #[cfg(debug_assertions)]
            before: LOOKED_AT.get(),
        }
    }

    /// The most since the last call; `None` where nothing is counted.
    pub(crate) fn take(&self) -> Option<u64> {
        #[cfg(debug_assertions)]
        return Some(self.0.swap(0, Ordering::Relaxed));
        #[cfg(not(debug_assertions))]
        None
    }
}

/// Counts while a lock is held.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    _longest: &'a Longest,
    #[cfg(debug_assertions)]
    before: u64,
}

#[cfg(debug_assertions)]
impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self._longest.0.fetch_max(LOOKED_AT.get() - self.before, Ordering::Relaxed);
    }
}

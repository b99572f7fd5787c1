//! What workers read and write of a connection without the lock of its shard.
//!
//! A worker remembers what it has found of a connection ([`KnownConnection`](super::KnownConnection)), and need
//! not look the connection up again as long as nothing has changed. The [`Pulse`] of the connection's slot
//! tells: it has the slot's *edition*, which advances with every change that packets can notice, the end of the
//! connection among them, and the time at which the connection ends if no packet comes. Both are in one word,
//! so that a worker that puts off the end cannot do so for a connection that has changed or gone meanwhile.
//!
//! Editions advance under the lock of the shard, and before the command returns that changed
//! something. A worker reads the word for each frame behind the frame's arrival, so a frame that
//! arrives after the command finds the new edition (`pulse_model` tries every order). An edition
//! has 24 bits. It could come again after 16 million changes of one slot, so nobody may remember
//! one for long: see [`KnownConnection`](super::KnownConnection).

use super::sync::{AtomicU64, Ordering};

/// Number of low bits that have the time, in milliseconds: 34 years.
const TIME_BITS: u32 = 40;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// The edition of a slot, and when its connection ends.
#[derive(Debug, Default)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    /// Number of the changes of the slot so far, modulo 2^24.
    pub(super) fn edition(&self) -> u32 {
        (self.0.load(Ordering::Acquire) >> TIME_BITS) as u32
    }

    /// When the connection ends if no packet comes, in milliseconds.
    pub(super) fn expires(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & TIME_MASK
    }

    /// Notes that packets find something else from now on. For the holder of the shard's lock.
    pub(super) fn advance(&self) {
        self.0.fetch_add(1 << TIME_BITS, Ordering::AcqRel);
    }

    /// Sets when the connection ends. For the holder of the shard's lock.
    pub(super) fn set_expires(&self, expires: u64) {
        // Nobody else changes the edition. If a worker puts off the end between the load and the store, the end
        // is the one set here.
        let edition = self.0.load(Ordering::Relaxed) & !TIME_MASK;
        self.0.store(edition | expires.min(TIME_MASK), Ordering::Release);
    }

    /// Puts off the end of the connection to `expires`. Times are in milliseconds. Returns false and changes
    /// nothing if the slot has another edition by now, or if the connection has ended before `now`.
    #[inline]
    pub(super) fn put_off(&self, edition: u32, now: u64, expires: u64) -> bool {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let ends = word & TIME_MASK;
            if (word >> TIME_BITS) as u32 != edition || ends <= now {
                return false;
            }
            // Most packets come in the same millisecond as another one of their connection, or
            // as their batch's first one.
            if ends >= expires {
                return true;
            }
            let next = word & !TIME_MASK | expires.min(TIME_MASK);
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(other) => word = other,
            }
        }
    }
}

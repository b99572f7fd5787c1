//! Messages that wait until a connection's thread sends them: bounded, and never waited for.
//!
//! The thread says when it goes to sleep, so that only a thread that sleeps costs a system call to be woken:
//!
//! ```text
//!            fall_asleep                     wake
//! awake ───────────────────► asleep ──────────────────► called
//!   │  ◄───────────────────                               │
//!   │     wake_up, uncalled                               │
//!   └──────────────────────► called ──► awake ◄───────────┘
//!              wake                take
//! ```
//!
//! A thread that is called does not fall asleep before it has taken what there is.

use crate::server::event_fd;
use nix::sys::eventfd::EventFd;
use openflow::OfMessage;
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// The largest number of messages that wait in an outbox.
const MAX_MESSAGES: usize = 4096;
/// How many messages wait in an outbox at most if each of them matters.
const MAX_SURE: usize = 4 * MAX_MESSAGES;
/// How many bytes the messages have at most that wait in an outbox.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// The messages of one connection that wait.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    /// The number of messages that found no room.
    lost: AtomicU64,
    /// What the thread does: [`AWAKE`], [`ASLEEP`] or [`CALLED`].
    state: AtomicU8,
    /// Readable if the thread was called while it was asleep.
    ready: EventFd,
}

/// The thread is awake, and has taken everything that it was called for.
const AWAKE: u8 = 0;
/// The thread sleeps until the descriptor is readable, or for another reason.
const ASLEEP: u8 = 1;
/// The thread has to look, and does not fall asleep before it has.
const CALLED: u8 = 2;

#[derive(Debug, Default)]
struct Waiting {
    messages: Vec<Arc<OfMessage>>,
    /// The sum of what [`Outbox::put`] was told of these messages.
    bytes: usize,
}

/// The outbox has no room: its peer does not read as fast as there is something to say.
#[derive(Debug, thiserror::Error)]
#[error("messages wait for the peer already, as many as there is room for")]
pub(super) struct Full;

impl Outbox {
    /// An empty outbox.
    ///
    /// # Errors
    /// No descriptor could be had.
    pub(super) fn new() -> io::Result<Self> {
        let (waiting, lost, state) = (Mutex::default(), AtomicU64::new(0), AtomicU8::new(AWAKE));
        Ok(Self { waiting, lost, state, ready: event_fd()? })
    }

    /// Appends a message, which holds about `bytes` of memory.
    ///
    /// # Errors
    /// There is no room. The message is counted as lost.
    pub(super) fn put(&self, message: Arc<OfMessage>, bytes: usize) -> Result<(), Full> {
        let mut waiting = self.waiting.lock();
        if waiting.messages.len() >= MAX_MESSAGES || waiting.bytes + bytes > MAX_BYTES {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Err(Full);
        }
        waiting.messages.push(message);
        waiting.bytes += bytes;
        // The thread takes all messages at once, so only the first one wakes it.
        if waiting.messages.len() == 1 {
            drop(waiting);
            self.wake();
        }
        Ok(())
    }

    /// Appends a message that matters, even if the outbox has no room for others.
    ///
    /// # Errors
    /// Far too many messages wait. The message is counted as lost.
    pub(super) fn put_surely(&self, message: Arc<OfMessage>) -> Result<(), Full> {
        let mut waiting = self.waiting.lock();
        if waiting.messages.len() >= MAX_SURE {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Err(Full);
        }
        waiting.messages.push(message);
        if waiting.messages.len() == 1 {
            drop(waiting);
            self.wake();
        }
        Ok(())
    }

    /// Says that the thread is about to sleep until the descriptor is readable, or for another reason. False if
    /// the thread was called: then it must not sleep. [`wake_up`](Self::wake_up) ends the sleep.
    pub(super) fn fall_asleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Says that the thread sleeps no more, if it has [fallen asleep](Self::fall_asleep). `is_readable` says
    /// that the descriptor is. Returns whether the thread was called meanwhile.
    pub(super) fn wake_up(&self, is_readable: bool) -> bool {
        // Whoever calls writes the descriptor soon, if not yet: then the next sleep ends without need, and
        // finds it readable.
        if is_readable {
            let _ = self.ready.read();
        }
        self.state.compare_exchange(ASLEEP, AWAKE, Ordering::SeqCst, Ordering::SeqCst).is_err()
    }

    /// Says that the thread looks for whatever it was called for.
    pub(super) fn acknowledge(&self) {
        self.state.store(AWAKE, Ordering::SeqCst);
    }

    /// Takes all messages that wait. For the thread, while it is awake.
    pub(super) fn take(&self) -> Vec<Arc<OfMessage>> {
        // First, so that a message that comes after the look calls the thread again.
        self.acknowledge();
        self.take_quietly()
    }

    /// Whether no message waits; false if that cannot be told without waiting for somebody.
    pub(super) fn is_surely_empty(&self) -> bool {
        self.waiting.try_lock().is_some_and(|waiting| waiting.messages.is_empty())
    }

    /// Takes all messages that wait, and leaves the thread called, for whatever else it was.
    pub(super) fn take_quietly(&self) -> Vec<Arc<OfMessage>> {
        std::mem::take(&mut *self.waiting.lock()).messages
    }

    /// The number of messages that found no room so far.
    #[cfg(test)]
    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Calls the thread, whether messages wait or not.
    pub(super) fn wake(&self) {
        if self.state.swap(CALLED, Ordering::SeqCst) == ASLEEP {
            // A counter that is full is readable as well.
            let _ = self.ready.write(1);
        }
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_thread_that_sleeps_is_woken_and_none_sleeps_that_was_called() {
        let outbox = Outbox::new().unwrap();
        let is_readable = || outbox.ready.read().is_ok();
        let put = || outbox.put(Arc::new(OfMessage::BarrierReply), 1).unwrap();
        put();
        assert!(!is_readable() && !outbox.fall_asleep(), "called while it was awake");
        assert_eq!(outbox.take().len(), 1);
        assert!(outbox.fall_asleep());
        assert!(!outbox.wake_up(false) && outbox.fall_asleep(), "nobody has called");
        put();
        assert!(outbox.wake_up(true) && !is_readable());
        assert!(!outbox.fall_asleep(), "it has not looked");
        assert_eq!(outbox.take().len(), 1);
        assert!(outbox.fall_asleep());
        outbox.wake();
        assert!(is_readable());
    }

    #[test]
    fn a_full_outbox_counts_what_it_loses() {
        for (bytes, room) in [(0, MAX_MESSAGES), (MAX_BYTES / 4, 4)] {
            let outbox = Outbox::new().unwrap();
            let message = Arc::new(OfMessage::BarrierReply);
            for _ in 0..room {
                outbox.put(Arc::clone(&message), bytes).unwrap();
            }
            outbox.put(Arc::clone(&message), 1).unwrap_err();
            assert_eq!(outbox.lost(), 1);
            assert_eq!(outbox.take().len(), room);
            outbox.put(message, bytes).unwrap();
            assert_eq!((outbox.take().len(), outbox.lost()), (1, 1));
        }
    }
}

//! Messages that wait until a connection's thread sends them: bounded, and never waited for.

use crate::server::event_fd;
use nix::sys::eventfd::EventFd;
use openflow::OfMessage;
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Readable while messages wait.
    ready: EventFd,
}

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
        Ok(Self { waiting: Mutex::default(), lost: AtomicU64::new(0), ready: event_fd()? })
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

    /// Makes the descriptor unreadable until the next message, or the next [`wake`](Self::wake).
    pub(super) fn acknowledge(&self) {
        let _ = self.ready.read();
    }

    /// Takes all messages that wait.
    pub(super) fn take(&self) -> Vec<Arc<OfMessage>> {
        // First, so that a message that comes after the look makes the descriptor readable again.
        self.acknowledge();
        self.take_quietly()
    }

    /// Takes all messages that wait, and leaves the descriptor readable, for whatever else it was woken.
    pub(super) fn take_quietly(&self) -> Vec<Arc<OfMessage>> {
        std::mem::take(&mut *self.waiting.lock()).messages
    }

    /// The number of messages that found no room so far.
    #[cfg(test)]
    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Makes the descriptor readable, whether messages wait or not.
    pub(super) fn wake(&self) {
        // A counter that is full is readable as well.
        let _ = self.ready.write(1);
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

//! The way to a peer while its connection's thread sleeps: whoever has a packet for the peer may write it there.
//!
//! To wake the thread takes longer than to encode a packet-in and to write it. So a thread that is about to sleep lends its line
//! ([`Line::lend`]), and takes it back before it sends anything again ([`Line::take_back`]). Messages keep their order: nobody
//! writes here while messages wait in the outbox, and the thread lends nothing while it has something left to send.
//!
//! Writing never waits. If the peer takes only a part of a message, the rest stays here: the thread is called, and sends
//! the rest before everything else. Nobody else writes until then.

use super::outbox::Outbox;
use openflow::{Encoding, OfMessage};
use parking_lot::Mutex;
use std::fmt;
use std::io::Write;

/// The line of one connection: lent, or with the connection's thread.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<Lent>);

#[derive(Debug, Default)]
struct Lent {
    /// `None` while the thread has the line itself.
    way: Option<Way>,
    /// What the peer has not taken of the last message.
    rest: Vec<u8>,
}

/// What is needed to send messages to a peer.
pub(super) struct Way {
    /// Takes the bytes of messages. Returns [`WouldBlock`](std::io::ErrorKind::WouldBlock) rather than wait.
    pub(super) stream: Box<dyn Write + Send>,
    /// The version of OpenFlow and the extensions in which the peer reads messages.
    pub(super) encoding: Encoding,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

/// A message cannot be written past the connection's thread: the thread is awake, somebody else writes, or messages wait.
#[derive(Debug, thiserror::Error)]
#[error("messages have to go through the outbox")]
pub(super) struct NotFree;

impl Line {
    /// Lets others write to the peer.
    pub(super) fn lend(&self, way: Way) {
        self.0.lock().way = Some(way);
    }

    /// Lets nobody else write any more. Returns what was lent, and what has to be sent now: the rest of a message.
    pub(super) fn take_back(&self) -> (Option<Way>, Vec<u8>) {
        let mut lent = self.0.lock();
        (lent.way.take(), std::mem::take(&mut lent.rest))
    }

    /// Writes a message that nobody asked for, if the thread sleeps and nothing waits in front of the message. `admits` is asked
    /// just before: if it returns false, the message is not sent, and that is no error.
    ///
    /// # Errors
    /// The line is not free. Nothing was written, and `admits` was not called.
    pub(super) fn write(
        &self,
        outbox: &Outbox,
        message: &OfMessage,
        admits: impl FnOnce() -> bool,
    ) -> Result<(), NotFree> {
        let mut lent = self.0.try_lock().ok_or(NotFree)?;
        let Lent { way: Some(Way { stream, encoding }), rest } = &mut *lent else {
            return Err(NotFree);
        };
        if !rest.is_empty() || !outbox.is_surely_empty() {
            return Err(NotFree);
        }
        if !admits() {
            return Ok(());
        }
        let bytes = message.encode(*encoding, 0);
        // The thread finds the same error, if it is one for ever.
        let written = stream.write(&bytes).unwrap_or(0);
        if written < bytes.len() {
            rest.extend_from_slice(&bytes[written..]);
            outbox.wake();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::types::OfVersion;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::io::{ErrorKind, Read};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    fn encoding() -> Encoding {
        Encoding::new(OfVersion::OpenFlow13)
    }

    struct Connection {
        line: Line,
        outbox: Outbox,
        near: UnixStream,
        far: UnixStream,
    }

    impl Connection {
        fn new() -> Self {
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            far.set_nonblocking(true).unwrap();
            Self { line: Line::default(), outbox: Outbox::new().unwrap(), near, far }
        }

        fn lend(&self) {
            let stream = Box::new(self.near.try_clone().unwrap());
            self.line.lend(Way { stream, encoding: encoding() });
        }

        fn write(&self, message: &OfMessage) -> Result<(), NotFree> {
            self.line.write(&self.outbox, message, || true)
        }

        /// Everything that the peer can read.
        fn read(&mut self) -> Vec<u8> {
            let mut all = Vec::new();
            let error = self.far.read_to_end(&mut all).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            all
        }
    }

    fn message(size: usize) -> OfMessage {
        OfMessage::EchoRequest(vec![7; size])
    }

    #[test]
    fn a_message_is_written_while_the_line_is_lent_and_the_outbox_is_empty() {
        let mut connection = Connection::new();
        connection.write(&message(0)).unwrap_err();
        connection.lend();
        connection.write(&message(1)).unwrap();
        assert_eq!(connection.read(), message(1).encode(encoding(), 0));
        connection.outbox.put(Arc::new(message(2)), 1).unwrap();
        connection.write(&message(3)).unwrap_err();
        connection.outbox.take();
        connection.write(&message(4)).unwrap();
        assert!(connection.line.take_back().1.is_empty());
        connection.write(&message(5)).unwrap_err();
        assert_eq!(connection.read(), message(4).encode(encoding(), 0));
    }

    #[test]
    fn a_message_beyond_a_limit_is_not_written_and_the_limit_is_asked_only_if_it_could_be() {
        let mut connection = Connection::new();
        let refuse = || false;
        connection.line.write(&connection.outbox, &message(0), || panic!("asked")).unwrap_err();
        connection.lend();
        connection.line.write(&connection.outbox, &message(0), refuse).unwrap();
        assert!(connection.read().is_empty());
        let held = connection.line.0.lock();
        connection.line.write(&connection.outbox, &message(0), || panic!("asked")).unwrap_err();
        drop(held);
    }

    #[test]
    fn what_the_peer_does_not_take_is_left_to_the_thread() {
        let mut connection = Connection::new();
        connection.lend();
        assert!(connection.outbox.fall_asleep());
        let message = message(30_000);
        let mut written = 0;
        while connection.write(&message).is_ok() {
            written += 1;
        }
        let mut fds = [PollFd::new(connection.outbox.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::ZERO).unwrap(), 1, "the thread is woken");
        let mut all = connection.read();
        connection.write(&message).unwrap_err();
        let (way, rest) = connection.line.take_back();
        assert!(way.is_some() && !rest.is_empty());
        all.extend(rest);
        assert!(all == message.encode(encoding(), 0).repeat(written));
    }
}

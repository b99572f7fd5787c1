//! `BRIDGE.snoop`: a socket at which the messages of a bridge's controller connections can be read.
//!
//! Whoever connects there gets a copy of every message that is sent and received from then on over connections
//! that `ofctl set-controller` and its relatives have named, whole and in their order. A reader who does not
//! read loses messages; nobody waits for it. While nobody reads, a connection only follows the lengths of its
//! messages, so that a reader who comes begins with a whole one.

use super::outbox::MAX_BYTES;
use super::transport::{SecondEnd, Transport};
use crate::server::event_fd;
use flow::types::OfVersion;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use openflow::Session;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The readers of a bridge's messages.
#[derive(Debug, Default)]
pub(super) struct Snoopers {
    all: Mutex<Vec<Arc<Snooper>>>,
    /// The length of `all`, to be looked at without the lock.
    count: AtomicUsize,
}

/// One reader of the messages, and what waits until it reads.
#[derive(Debug)]
pub(super) struct Snooper {
    waiting: Mutex<Waiting>,
    /// Readable while messages wait.
    ready: EventFd,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl Snoopers {
    /// A new reader.
    ///
    /// # Errors
    /// No descriptor could be had.
    pub(super) fn join(&self) -> io::Result<Arc<Snooper>> {
        let snooper = Arc::new(Snooper { waiting: Mutex::default(), ready: event_fd()? });
        let mut all = self.all.lock();
        all.push(Arc::clone(&snooper));
        self.count.store(all.len(), Ordering::Relaxed);
        Ok(snooper)
    }

    /// Forgets a reader.
    pub(super) fn leave(&self, snooper: &Arc<Snooper>) {
        let mut all = self.all.lock();
        all.retain(|other| !Arc::ptr_eq(other, snooper));
        self.count.store(all.len(), Ordering::Relaxed);
    }

    fn has_some(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    fn tell(&self, message: &[u8]) {
        let message: Arc<[u8]> = message.into();
        self.all.lock().iter().for_each(|snooper| snooper.put(Arc::clone(&message)));
    }
}

impl Snooper {
    fn put(&self, message: Arc<[u8]>) {
        let mut waiting = self.waiting.lock();
        if waiting.bytes + message.len() > MAX_BYTES {
            return;
        }
        waiting.bytes += message.len();
        waiting.messages.push_back(message);
        // A counter that is full is readable as well.
        let _ = self.ready.write(1);
    }

    /// Takes all messages that wait.
    pub(super) fn take(&self) -> Vec<u8> {
        // First, so that a message that comes after the look makes the descriptor readable again.
        let _ = self.ready.read();
        let Waiting { messages, .. } = std::mem::take(&mut *self.waiting.lock());
        messages.iter().flat_map(|message| message.iter().copied()).collect()
    }
}

impl AsFd for Snooper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

/// The largest number of readers, as in Open vSwitch.
const MAX_SNOOPERS: usize = 8;

/// Serves a reader until it goes, or `end` is readable.
///
/// # Errors
/// The connection broke, the reader sent no HELLO, or there are as many readers as there can be.
pub(super) fn serve(
    transport: &mut dyn Transport,
    snoopers: &Snoopers,
    end: BorrowedFd<'_>,
) -> io::Result<()> {
    if snoopers.count.load(Ordering::Relaxed) >= MAX_SNOOPERS {
        return Err(io::Error::other("there are as many readers as there can be"));
    }
    let snooper = snoopers.join()?;
    let served = copy(transport, &snooper, end);
    snoopers.leave(&snooper);
    served
}

/// Exchanges HELLOs with a reader, and then sends it what there is.
fn copy(transport: &mut dyn Transport, snooper: &Snooper, end: BorrowedFd<'_>) -> io::Result<()> {
    let is_for_now =
        |error: &io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
    let mut session = Session::new(&OfVersion::ALL);
    let mut buffer = [0; 4096];
    loop {
        if session.encoding().is_some() && session.unsent().is_empty() {
            session.send_encoded(&snooper.take());
        }
        if !session.unsent().is_empty() {
            match transport.write(session.unsent()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => session.sent(count),
                Err(error) if is_for_now(&error) => {}
                Err(error) => return Err(error),
            }
        }
        // A message that comes while others wait to be sent needs no attention.
        let is_ready = session.encoding().is_some() && session.unsent().is_empty();
        let stream = match session.unsent().is_empty() {
            true => PollFlags::POLLIN,
            false => PollFlags::POLLIN | PollFlags::POLLOUT,
        };
        let news = if is_ready { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(end, PollFlags::POLLIN),
            PollFd::new(transport.as_fd(), stream),
            PollFd::new(snooper.as_fd(), news),
        ];
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, PollTimeout::NONE);
        if fds[0].any() == Some(true) {
            return Ok(());
        }
        match transport.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => session.receive(&buffer[..count]),
            Err(error) if is_for_now(&error) => {}
            Err(error) => return Err(error),
        }
        // Whatever a reader asks for, it gets no answer but to its HELLO and to echo requests.
        while session.next_message(Instant::now()).map_err(io::Error::other)?.is_some() {}
    }
}

/// A transport whose messages can be snooped.
pub(super) struct Snooped {
    inner: Box<dyn Transport>,
    snoopers: Arc<Snoopers>,
    /// What was received so far of a message, and what was sent. This end and the second one lock them in turn.
    received: Arc<Mutex<Cutter>>,
    sent: Arc<Mutex<Cutter>>,
}

impl Snooped {
    pub(super) fn new(inner: Box<dyn Transport>, snoopers: &Arc<Snoopers>) -> Self {
        let (received, sent) = (Arc::default(), Arc::default());
        Self { inner, snoopers: Arc::clone(snoopers), received, sent }
    }
}

impl Read for Snooped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.received.lock().follow(&buffer[..count], &self.snoopers);
        Ok(count)
    }
}

impl Write for Snooped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.sent.lock().follow(&bytes[..count], &self.snoopers);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl AsFd for Snooped {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Transport for Snooped {
    fn wants_write(&self) -> bool {
        self.inner.wants_write()
    }

    fn second(&self) -> Option<Box<dyn SecondEnd>> {
        let inner = self.inner.second()?;
        let (received, sent) = (Arc::clone(&self.received), Arc::clone(&self.sent));
        Some(Box::new(SnoopedSecond {
            inner,
            snoopers: Arc::clone(&self.snoopers),
            received,
            sent,
        }))
    }
}

/// The second end of a transport whose messages can be snooped. While somebody snoops, nothing can be written,
/// and nothing seems to have come, because whoever uses this end has no time for copies.
struct SnoopedSecond {
    inner: Box<dyn SecondEnd>,
    snoopers: Arc<Snoopers>,
    received: Arc<Mutex<Cutter>>,
    sent: Arc<Mutex<Cutter>>,
}

impl SecondEnd for SnoopedSecond {
    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.snoopers.has_some() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.inner.peek(buffer)
    }
}

impl Read for SnoopedSecond {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.received.lock().follow(&buffer[..count], &self.snoopers);
        Ok(count)
    }
}

impl Write for SnoopedSecond {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.snoopers.has_some() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.inner.write(bytes)?;
        self.sent.lock().follow(&bytes[..count], &self.snoopers);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl AsFd for SnoopedSecond {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// The bytes of a message up to and including its length (OpenFlow 1.3.5 §7.1.1).
const HEAD: usize = 4;

/// Cuts one direction of a stream into messages.
#[derive(Debug, Default)]
struct Cutter {
    /// The bytes of the message that is not whole yet: all of them if it is copied, else its head.
    message: Vec<u8>,
    /// How many bytes of the message are still to come; `None` while its length is not known.
    missing: Option<usize>,
    /// Whether the message is copied.
    is_copied: bool,
    /// Whether a length was found that cannot be: nothing behind it can be told apart.
    is_lost: bool,
}

impl Cutter {
    fn follow(&mut self, mut bytes: &[u8], snoopers: &Snoopers) {
        while !bytes.is_empty() && !self.is_lost {
            let Some(missing) = self.missing else {
                let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.message.len()));
                if self.message.is_empty() {
                    self.is_copied = snoopers.has_some();
                }
                self.message.extend_from_slice(head);
                bytes = rest;
                if let [_, _, high, low] = self.message[..] {
                    let len = usize::from(u16::from_be_bytes([high, low]));
                    self.is_lost = len < HEAD + 4;
                    self.missing = Some(len.saturating_sub(HEAD));
                }
                continue;
            };
            let (part, rest) = bytes.split_at(bytes.len().min(missing));
            if self.is_copied {
                self.message.extend_from_slice(part);
            }
            bytes = rest;
            self.missing = Some(missing - part.len());
            if part.len() == missing {
                if self.is_copied {
                    snoopers.tell(&self.message);
                }
                self.message.clear();
                self.missing = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_out_of_any_pieces() {
        let messages: [&[u8]; 3] = [
            &[4, 0, 0, 8, 0, 0, 0, 1],
            &[4, 2, 0, 11, 0, 0, 0, 2, 7, 8, 9],
            &[4, 20, 0, 8, 0, 0, 0, 3],
        ];
        let stream = messages.concat();
        for size in 1..=stream.len() {
            let snoopers = Snoopers::default();
            let mut cutter = Cutter::default();
            // The first message comes before anybody listens, or is under way.
            cutter.follow(&stream[..size.min(7)], &snoopers);
            let snooper = snoopers.join().unwrap();
            stream[size.min(7)..].chunks(size).for_each(|piece| cutter.follow(piece, &snoopers));
            assert_eq!(snooper.take(), messages[1..].concat(), "in pieces of {size}");
            snoopers.leave(&snooper);
            cutter.follow(messages[0], &snoopers);
            assert!(snooper.take().is_empty());
        }
    }

    #[test]
    fn what_both_ends_read_and_write_in_turn_is_one_stream_each() {
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        let snoopers = Arc::<Snoopers>::default();
        let mut first = Snooped::new(Box::new(near), &snoopers);
        let mut second = first.second().unwrap();
        let message = [4, 2, 0, 11, 0, 0, 0, 2, 7, 8, 9];
        first.write_all(&message).unwrap();
        // The peer takes a part of the message, and the first writer sends the rest when
        // somebody has begun to read.
        second.write_all(&message[..5]).unwrap();
        let snooper = snoopers.join().unwrap();
        assert_eq!(second.write(&message[5..]).unwrap_err().kind(), ErrorKind::WouldBlock);
        first.write_all(&message[5..]).unwrap();
        assert!(snooper.take().is_empty(), "the message began before");
        first.write_all(&message).unwrap();
        assert_eq!(snooper.take(), message);
        let mut received = [0; 33];
        far.read_exact(&mut received).unwrap();
        assert_eq!(received, *message.repeat(3));
        snoopers.leave(&snooper);
        far.write_all(&message.repeat(3)).unwrap();
        let mut peeked = [0; 5];
        assert_eq!(second.peek(&mut peeked).unwrap(), 5);
        assert_eq!(peeked, message[..5]);
        second.read_exact(&mut peeked).unwrap();
        let snooper = snoopers.join().unwrap();
        assert_eq!(second.peek(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        first.read_exact(&mut [0; 28]).unwrap();
        assert_eq!(snooper.take(), message.repeat(2), "the first message began before");
    }

    #[test]
    fn a_reader_who_does_not_read_loses_messages() {
        let snoopers = Snoopers::default();
        let snooper = snoopers.join().unwrap();
        let mut message = vec![0; 65_535];
        message[2..4].copy_from_slice(&65_535u16.to_be_bytes());
        let mut cutter = Cutter::default();
        (0..100).for_each(|_| cutter.follow(&message, &snoopers));
        assert_eq!(snooper.take().len(), MAX_BYTES / 65_535 * 65_535);
        cutter.follow(&[4, 0, 0, 3, 0], &snoopers);
        assert!(cutter.is_lost);
    }
}

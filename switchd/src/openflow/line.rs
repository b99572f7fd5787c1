//! The way to a peer and back while its connection's thread sleeps: whoever has a packet for the peer may write
//! it there, and may take the packet-outs with which the peer answers.
//!
//! To wake the thread takes longer than to encode a packet-in and to write it, or to decode a packet-out. So a
//! thread that is about to sleep lends its line ([`Line::lend`]), and takes it back before it sends or receives
//! anything again ([`Line::take_back`]).
//!
//! **Writing.** Messages keep their order: nobody writes here while messages wait in the outbox, and the thread
//! lends nothing while it has something left to send. Writing never waits. If the peer takes only a part of a
//! message, the rest stays here: the thread is called, and sends the rest before everything else. Nobody else
//! writes until then.
//!
//! **Listening.** What the peer sends wakes the thread, unless somebody listens ([`Line::listen`]): the thread
//! sleeps at an epoll set whose one member is the stream, and the set is silent meanwhile. Whoever listens
//! looks often, and carries packet-outs out with the line locked, so that the thread cannot overtake them.
//! Behind that they are taken from the stream, as this may wake the peer, which takes long. If something else
//! comes, nobody listens any more, and the thread finds it in the stream.

use super::outbox::Outbox;
use super::transport::SecondEnd;
use crate::worker::Injected;
use crossbeam::channel::{Receiver, TryRecvError};
use flow::packet_out::PacketOut;
use flow::types::OfVersion;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use openflow::{Encoding, OfMessage, leading_packet_out};
use parking_lot::Mutex;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

/// At how many bytes whoever listens looks: a packet-out with a jumbo frame and room for more.
const LOOK_SIZE: usize = 1 << 14;
/// How many packet-outs are carried out at a look. The thread goes on with the others.
const FEW: usize = 4;
/// How often nobody listens to a peer that has sent something else than a packet-out. To leave that to the
/// thread takes longer than if the thread had been woken at once.
const UNHEARD: u32 = 64;

/// The line of one connection: lent, or with the connection's thread.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<Lent>);

#[derive(Debug, Default)]
struct Lent {
    /// `None` while the thread has the line itself.
    way: Option<Way>,
    /// What the peer has not taken of the last message.
    rest: Vec<u8>,
    /// Whether somebody listens.
    is_heard: bool,
    /// When something came the last time, since the line was lent.
    heard_at: Option<Instant>,
    /// How many times more nobody may listen.
    unheard: u32,
    /// Room for what comes; empty before it is needed for the first time.
    buffer: Vec<u8>,
    /// How many packet-outs were carried out by whoever listened.
    #[cfg(test)]
    carried_out: usize,
}

/// What is needed to exchange messages with a peer.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) stream: SecondStream,
    /// The version of OpenFlow and the extensions in which messages are.
    pub(super) encoding: Encoding,
    /// Whether the next byte of the peer begins a message. Otherwise only the thread can read.
    pub(super) is_between_messages: bool,
    /// Receives what became of the latest packet-out of the peer that is under way, in front
    /// of everything that comes now.
    pub(super) under_way: Option<Receiver<Injected>>,
}

/// The second end of a stream, and what its thread sleeps at.
pub(super) struct SecondStream {
    end: Box<dyn SecondEnd>,
    /// Has `end` as its one member.
    set: Arc<Epoll>,
}

impl SecondStream {
    /// Makes what the thread sleeps at.
    ///
    /// # Errors
    /// No descriptor could be had.
    pub(super) fn new(end: Box<dyn SecondEnd>) -> io::Result<Self> {
        let set = Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        set.add(&end, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(Self { end, set })
    }

    /// Readable while the peer has sent something and nobody listens.
    pub(super) fn readiness(&self) -> Readiness {
        Readiness(Arc::clone(&self.set))
    }

    fn set_silent(&self, is_silent: bool) -> io::Result<()> {
        let flags = if is_silent { EpollFlags::empty() } else { EpollFlags::EPOLLIN };
        Ok(self.set.modify(&self.end, &mut EpollEvent::new(flags, 0))?)
    }
}

impl fmt::Debug for SecondStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondStream").finish_non_exhaustive()
    }
}

/// A descriptor at which the thread of a line that is lent sleeps.
pub(super) struct Readiness(Arc<Epoll>);

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

/// What the thread gets back.
#[derive(Debug, Default)]
pub(super) struct TakenBack {
    /// What was lent; `None` if nothing was.
    pub(super) stream: Option<SecondStream>,
    /// What has to be sent before everything else: the rest of a message.
    pub(super) rest: Vec<u8>,
    /// When somebody else has heard the peer the last time; `None` if nobody has.
    pub(super) heard_at: Option<Instant>,
}

/// A message cannot be written past the connection's thread: the thread is awake, somebody
/// else writes, or messages wait.
#[derive(Debug, thiserror::Error)]
#[error("messages have to go through the outbox")]
pub(super) struct NotFree;

impl Line {
    /// Lets others write to the peer, and listen to it.
    pub(super) fn lend(&self, way: Way) {
        self.0.lock().way = Some(way);
    }

    /// Lets nobody else write any more, nor listen.
    pub(super) fn take_back(&self) -> TakenBack {
        let mut lent = self.0.lock();
        lent.end_listening();
        TakenBack {
            stream: lent.way.take().map(|way| way.stream),
            rest: std::mem::take(&mut lent.rest),
            heard_at: lent.heard_at.take(),
        }
    }

    /// Writes a message that nobody asked for, if the thread sleeps and nothing waits in front of the message.
    /// `admits` is asked just before: if it returns false, the message is not sent, and that is no error.
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
        let Lent { way: Some(Way { stream, encoding, .. }), rest, .. } = &mut *lent else {
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
        let written = stream.end.write(&bytes).unwrap_or(0);
        if written < bytes.len() {
            rest.extend_from_slice(&bytes[written..]);
            outbox.wake();
        }
        Ok(())
    }

    /// Has what the peer sends wake nobody until [`end_listening`](Self::end_listening), because the caller
    /// [looks](Self::look) for it often. False if only the thread can receive, or if another caller listens.
    pub(super) fn listen(&self) -> bool {
        let Some(mut lent) = self.0.try_lock() else { return false };
        let lent = &mut *lent;
        let Some(way) = lent.way.as_ref().filter(|way| way.is_between_messages) else {
            return false;
        };
        if lent.is_heard {
            return false;
        }
        if lent.unheard > 0 {
            lent.unheard -= 1;
            return false;
        }
        lent.is_heard = way.stream.set_silent(true).is_ok();
        lent.buffer.resize(LOOK_SIZE, 0);
        lent.is_heard
    }

    /// Has the peer wake the thread again, if the thread has not taken the line back.
    pub(super) fn end_listening(&self) {
        self.0.lock().end_listening();
    }

    /// Gives packet-outs that the peer has sent to `carry_out`, which returns whether it has carried a
    /// packet-out out. Whatever else the peer has sent is left to the thread, which it wakes. Waits for nobody,
    /// and does not block. Returns whether the caller still listens.
    pub(super) fn look(&self, mut carry_out: impl FnMut(PacketOut, OfVersion) -> bool) -> bool {
        let Some(mut lent) = self.0.try_lock() else { return true };
        let lent = &mut *lent;
        let Lent { way: Some(way), is_heard: true, buffer, .. } = lent else { return false };
        // The packets keep their order, and another worker may send those in front.
        if let Some(before) = &way.under_way
            && matches!(before.try_recv(), Err(TryRecvError::Empty))
        {
            return true;
        }
        way.under_way = None;
        let come = match way.stream.end.peek(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            // The thread finds the same end, or the same error.
            Ok(0) | Err(_) => {
                lent.end_listening();
                return false;
            }
            Ok(come) => come,
        };
        lent.heard_at = Some(Instant::now());
        let (mut done, encoding) = (0, way.encoding);
        for _ in 0..FEW {
            let Some((packet, len)) = leading_packet_out(&buffer[done..come], encoding) else {
                break;
            };
            if !carry_out(packet, encoding.version) {
                break;
            }
            done += len;
            #[cfg(test)]
            {
                lent.carried_out += 1;
            }
        }
        let is_taken = way.stream.end.read_exact(&mut buffer[..done]).is_ok();
        if done < come {
            lent.unheard = UNHEARD;
        }
        if !is_taken || done < come {
            lent.end_listening();
        }
        lent.is_heard
    }
}

#[cfg(test)]
impl Line {
    /// How many packet-outs were carried out by whoever listened.
    pub(super) fn carried_out(&self) -> usize {
        self.0.lock().carried_out
    }

    /// Whether the thread has lent the line.
    pub(super) fn is_lent(&self) -> bool {
        self.0.lock().way.is_some()
    }
}

impl Lent {
    fn end_listening(&mut self) {
        if std::mem::take(&mut self.is_heard)
            && let Some(way) = &self.way
        {
            // A change of a member of the set cannot fail.
            let _ = way.stream.set_silent(false);
        }
    }
}

#[cfg(test)]
mod tests;

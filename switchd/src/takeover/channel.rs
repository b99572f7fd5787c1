//! The channel between a running program and the one that takes over: messages of
//! a name, bytes and descriptors.
//!
//! The channel is a pair of Unix sockets that keep the bounds of packets (`SOCK_SEQPACKET`). A message is a
//! packet with its head, packets with its descriptors, and packets with its bytes.

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The largest number of descriptors of a packet. The kernel takes 253 (`SCM_MAX_FD`).
const PACKET_FDS: usize = 250;
/// The largest number of bytes of a packet.
const PACKET_SIZE: usize = 64 << 10;
/// The longest time for which one system call waits.
const STEP: Duration = Duration::from_millis(500);
/// The largest message: an error of the other program, and not a reason to use up the memory.
const MAX_MESSAGE: usize = 4 << 30;

/// One end of the channel.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

/// What one program tells the other.
#[derive(Debug)]
pub(super) struct Message {
    /// What the message is about.
    pub(super) name: String,
    pub(super) body: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Message {
    /// The body of a message that consists of text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The first packet of a message, in JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    name: String,
    /// The number of bytes of the body.
    size: usize,
    /// The number of descriptors.
    fds: usize,
}

/// Why a message did not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    /// The other program has ended.
    #[error("the other program has ended")]
    Closed,
    /// The other program did not take or send a message in time.
    #[error("the other program was silent for {} s", .0.as_secs())]
    Late(Duration),
    /// The other program says why it cannot go on.
    #[error("{0}")]
    Refused(String),
    /// The other program has ended with this status.
    #[error("the other program has ended ({0})")]
    Ended(String),
    /// What came is not a message, or not the one that was due.
    #[error("the other program does not speak the language of a hand-over")]
    Malformed,
    /// The kernel refused.
    #[error("the channel to the other program")]
    Os(#[from] io::Error),
}

impl Channel {
    /// Makes a channel: the end of this process, and the descriptor that the new process gets as its other end.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        Ok((Self::new(ours)?, theirs))
    }

    /// The end whose descriptor this program has got.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        set_socket_timeout(&fd, Timeout::Recv, Some(STEP))?;
        set_socket_timeout(&fd, Timeout::Send, Some(STEP))?;
        Ok(Self(fd))
    }

    /// Sends a message, for which the other program may take `limit`.
    pub(super) fn send(
        &self,
        name: &str,
        body: &[u8],
        fds: &[BorrowedFd<'_>],
        limit: Duration,
    ) -> Result<(), ChannelError> {
        let until = Instant::now() + limit;
        let head = Head { name: name.to_owned(), size: body.len(), fds: fds.len() };
        let head = serde_json::to_vec(&head).map_err(io::Error::from)?;
        self.send_packet(&head, &[], until, limit)?;
        for fds in fds.chunks(PACKET_FDS) {
            self.send_packet(b"+", fds, until, limit)?;
        }
        body.chunks(PACKET_SIZE).try_for_each(|part| self.send_packet(part, &[], until, limit))
    }

    fn send_packet(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        until: Instant,
        limit: Duration,
    ) -> Result<(), ChannelError> {
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_FDS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(fds));
            }
            match sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(ChannelError::Closed),
                Err(Errno::AGAIN | Errno::INTR) if Instant::now() < until => {}
                Err(Errno::AGAIN | Errno::INTR) => return Err(ChannelError::Late(limit)),
                Err(error) => return Err(ChannelError::Os(error.into())),
            }
        }
    }

    /// Receives the next message, for which the other program may take `limit`. Calls `waiting`
    /// about twice a second meanwhile.
    pub(super) fn receive(
        &self,
        limit: Duration,
        waiting: impl Fn(),
    ) -> Result<Message, ChannelError> {
        let until = Instant::now() + limit;
        let mut buffer = vec![0; PACKET_SIZE];
        let mut fds = Vec::new();
        let next = |buffer: &mut [u8], fds: &mut Vec<OwnedFd>| loop {
            match self.receive_packet(buffer, fds) {
                Ok(0) => return Err(ChannelError::Closed),
                // The other program ended without reading everything. The kernel says so once; what the other
                // program has sent before comes behind that.
                Err(Errno::CONNRESET) => {}
                Ok(size) => return Ok(size),
                Err(Errno::AGAIN | Errno::INTR) if Instant::now() < until => waiting(),
                Err(Errno::AGAIN | Errno::INTR) => return Err(ChannelError::Late(limit)),
                Err(error) => return Err(ChannelError::Os(error.into())),
            }
        };
        let size = next(&mut buffer, &mut fds)?;
        let head: Head =
            serde_json::from_slice(&buffer[..size]).map_err(|_| ChannelError::Malformed)?;
        if head.size > MAX_MESSAGE {
            return Err(ChannelError::Malformed);
        }
        while fds.len() < head.fds {
            let before = fds.len();
            next(&mut buffer, &mut fds)?;
            if fds.len() == before {
                return Err(ChannelError::Malformed);
            }
        }
        let mut body = Vec::new();
        while body.len() < head.size {
            let size = next(&mut buffer, &mut fds)?;
            body.extend_from_slice(&buffer[..size]);
        }
        Ok(Message { name: head.name, body, fds })
    }

    fn receive_packet(&self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(buffer)];
        let received = recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        Ok(received.bytes)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write, pipe};

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn messages_of_any_size_pass_with_their_descriptors() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::new(theirs).unwrap();
        let (mut reader, writer) = pipe().unwrap();
        let fds = vec![writer.as_fd(); 2 * PACKET_FDS + 1];
        let body: Vec<u8> = (0..3 * PACKET_SIZE + 5).map(|i| i as u8).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                ours.send("large", &body, &fds, LONG).unwrap();
                ours.send("empty", b"", &[], LONG).unwrap();
            });
            let large = theirs.receive(LONG, || ()).unwrap();
            assert_eq!((large.name.as_str(), large.fds.len()), ("large", fds.len()));
            assert!(large.body == body);
            let last = large.fds.into_iter().next_back().unwrap();
            File::from(last).write_all(b"x").unwrap();
            let empty = theirs.receive(LONG, || ()).unwrap();
            assert_eq!((empty.name.as_str(), empty.body.len()), ("empty", 0));
        });
        drop(writer);
        let mut passed = Vec::new();
        reader.read_to_end(&mut passed).unwrap();
        assert_eq!(passed, b"x");
    }

    #[test]
    fn a_silent_and_an_ended_program_are_told_apart() {
        let (ours, theirs) = Channel::pair().unwrap();
        assert!(matches!(ours.receive(Duration::ZERO, || ()), Err(ChannelError::Late(_))));
        let theirs = Channel::new(theirs).unwrap();
        ours.send("unread", b"", &[], LONG).unwrap();
        theirs.send("last", b"", &[], LONG).unwrap();
        drop(theirs);
        assert_eq!(ours.receive(LONG, || ()).unwrap().name, "last");
        assert!(matches!(ours.receive(LONG, || ()), Err(ChannelError::Closed)));
        assert!(matches!(ours.send("x", b"", &[], LONG), Err(ChannelError::Closed)));
    }
}

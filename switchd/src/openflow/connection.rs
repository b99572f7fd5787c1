//! One connection: reads messages, has them carried out, and writes the replies and what the switch says on its own.

use super::hub::{Hub, Member};
use super::requests::Peer;
use super::transport::Transport;
use crate::log_limit::{EVENTS, limited};
use crate::switch::Switch;
use flow::types::OfVersion;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use openflow::{ErrorCode, OfMessage, Session, SessionError};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// How many bytes are read at a time.
const READ_SIZE: usize = 1 << 16;

/// How many bytes of replies wait at most until they are written.
const WRITE_SIZE: usize = 1 << 16;

/// How long a connection may take nothing of what is sent, before it is closed.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Serves a connection until one side ends it, or the bridge is gone.
///
/// # Errors
/// The connection broke, or the peer took nothing for too long.
pub(super) fn serve(
    transport: &mut dyn Transport,
    hub: &Arc<Hub>,
    member: &Arc<Member>,
    bridge: &str,
    switch: &Switch,
) -> io::Result<()> {
    let mut wire = Wire { transport, member, session: Session::new(&OfVersion::ALL) };
    let mut peer = Peer::new(Arc::clone(hub), Arc::clone(member));
    let mut buffer = vec![0; READ_SIZE];
    wire.flush()?;
    loop {
        if wire.wait()? {
            return Ok(());
        }
        wire.tell()?;
        match wire.transport.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => wire.session.receive(&buffer[..read]),
            Err(error) if is_for_now(&error) => continue,
            Err(error) => return Err(error),
        }
        loop {
            match wire.next_message() {
                Ok(None) => break,
                Ok(Some(incoming)) => {
                    let Some(on) = switch.on(bridge) else {
                        return wire.flush();
                    };
                    peer.handle(&on, incoming, &mut wire)?;
                }
                Err(error) => {
                    limited!(warn, "openflow", EVENTS, "bridge {bridge}: OpenFlow: {error}");
                    return wire.flush();
                }
            }
            if wire.session.unsent().len() >= WRITE_SIZE {
                wire.flush()?;
            }
        }
        wire.flush()?;
    }
}

/// Whether an operation can succeed later.
fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The sending side of a connection.
pub(super) struct Wire<'a> {
    transport: &'a mut dyn Transport,
    member: &'a Member,
    pub(super) session: Session,
}

impl Wire<'_> {
    /// Sends a message soon: at the latest when everything that was received has been handled.
    pub(super) fn send(&mut self, message: &OfMessage, xid: u32) {
        self.session.send(message, xid);
    }

    /// Refuses a request soon.
    pub(super) fn refuse(&mut self, code: ErrorCode, request: &[u8]) {
        self.session.refuse(code, request);
    }

    /// Sends parts of a reply now. Call it without a lock: it waits for the peer.
    pub(super) fn send_parts(&mut self, parts: Vec<Vec<u8>>) -> io::Result<()> {
        for part in parts {
            self.session.send_encoded(&part);
            self.flush()?;
        }
        Ok(())
    }

    /// Sends what the switch says on its own.
    pub(super) fn tell(&mut self) -> io::Result<()> {
        for message in self.member.outbox().take() {
            self.session.send(&message, 0);
            if self.session.unsent().len() >= WRITE_SIZE {
                self.flush()?;
            }
        }
        self.flush()
    }

    /// The next message of the peer. The member learns which form messages have from now on.
    fn next_message(&mut self) -> Result<Option<openflow::Incoming>, SessionError> {
        let before = self.session.encoding();
        let next = self.session.next_message();
        let encoding = self.session.encoding();
        if encoding != before {
            self.member.change_settings(|settings| settings.encoding = encoding);
        }
        next
    }

    /// Waits until there is something to read or to tell. Returns whether the connection has to end.
    fn wait(&self) -> io::Result<bool> {
        let mut fds = [
            PollFd::new(self.member.end(), PollFlags::POLLIN),
            PollFd::new(self.transport.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.member.outbox().as_fd(), PollFlags::POLLIN),
        ];
        wait_for(&mut fds, PollTimeout::NONE)?;
        Ok(fds[0].any() == Some(true))
    }

    /// Writes what waits to be sent. Waits for the peer, but neither longer than its patience nor beyond the connection's end.
    fn flush(&mut self) -> io::Result<()> {
        while !self.session.unsent().is_empty() {
            match self.transport.write(self.session.unsent()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.session.sent(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [
                        PollFd::new(self.member.end(), PollFlags::POLLIN),
                        PollFd::new(self.transport.as_fd(), PollFlags::POLLOUT),
                    ];
                    let patience = PollTimeout::try_from(WRITE_PATIENCE);
                    if wait_for(&mut fds, patience.unwrap_or(PollTimeout::MAX))? == 0 {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    if fds[0].any() == Some(true) {
                        return Err(ErrorKind::ConnectionAborted.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// As `poll`, but a signal is no error: it returns as if something were ready.
fn wait_for(fds: &mut [PollFd<'_>], timeout: PollTimeout) -> io::Result<i32> {
    match poll(fds, timeout) {
        Ok(ready) => Ok(ready),
        Err(nix::errno::Errno::EINTR) => Ok(1),
        Err(error) => Err(error.into()),
    }
}

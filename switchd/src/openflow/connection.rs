//! One connection: reads messages, has them carried out, and writes the replies and what the
//! switch says on its own.

use super::controller_states::ControllerState;
use super::dial;
use super::hub::{Hub, Member};
use super::line::{Readiness, SecondStream, Way};
use super::requests::Peer;
use super::silence::Silence;
use super::teller::Teller;
use super::transport::Transport;
use crate::log_limit::{EVENTS, limited};
use crate::switch::{OnBridge, Switch};
use crate::worker::Injected;
use crossbeam::channel::Receiver;
use flow::types::OfVersion;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use openflow::{ControllerRole, ErrorCode, FlowMonitor, OfMessage, Session, SessionError};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many bytes are read at a time.
const READ_SIZE: usize = 1 << 16;

/// How many bytes of replies wait at most until they are written.
const WRITE_SIZE: usize = 1 << 16;

/// How long a connection may take nothing of what is sent, before it is closed.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// What holds for one connection.
pub(super) struct Terms<'a> {
    /// The versions of OpenFlow that may be spoken.
    pub(super) versions: Vec<OfVersion>,
    /// The silence after which the peer is asked whether it is there; the connection ends after as much silence
    /// again. `None` never asks.
    pub(super) probe_interval: Option<Duration>,
    /// How long the peer may take for its HELLO; `None` sets no limit of its own.
    pub(super) hello_patience: Option<Duration>,
    /// Readable once the connection has to end, as [`Member::end`] is; `None`: there is no second reason.
    pub(super) end: Option<BorrowedFd<'a>>,
    /// Where it is shown that the peer is silent; `None` for connections that are not shown.
    pub(super) state: Option<&'a ControllerState>,
    /// Called once a version has been agreed on, before the first message of the peer is carried out.
    pub(super) on_open: &'a mut dyn FnMut(),
}

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
    terms: Terms<'_>,
) -> io::Result<()> {
    let session = Session::new(&terms.versions);
    let mut silence = Silence::new(&terms);
    let Terms { end, on_open, .. } = terms;
    let teller = Teller::new(hub, member);
    let second = None;
    let mut wire = Wire { transport, second, member, session, end, teller, bridge, switch };
    let mut peer = Peer::new(Arc::clone(hub), Arc::clone(member));
    let mut buffer = vec![0; READ_SIZE];
    wire.flush()?;
    loop {
        let deadlines = [silence.deadline(), peer.deadline(), wire.session.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        let woken = wire.wait(deadline, peer.under_way())?;
        if woken.has_ended {
            return Ok(());
        }
        if let Some(at) = woken.heard_at {
            silence.ends(at);
        }
        silence.check(&mut wire)?;
        peer.give_up_idle_bundles(&mut wire);
        wire.session.give_up_late_requests(Instant::now());
        let Some(on) = switch.on(bridge) else {
            return wire.flush();
        };
        wire.tell(&on)?;
        if !woken.is_readable {
            continue;
        }
        match wire.transport.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                silence.ends(Instant::now());
                wire.session.receive(&buffer[..read]);
            }
            Err(error) if is_for_now(&error) => continue,
            Err(error) => return Err(error),
        }
        loop {
            if wire.session.unsent().len() >= WRITE_SIZE {
                wire.flush()?;
            }
            if wire.session.has_flow_mod() {
                let Some(on) = switch.on(bridge) else {
                    return wire.flush();
                };
                wire.tell_changes(&on)?;
                if peer.handle_flow_mods(&on, &mut wire)? {
                    continue;
                }
            }
            let next = wire.next_message();
            if wire.session.encoding().is_some() && silence.is_opening() {
                silence.opens();
                hub.publish();
                on_open();
            }
            match next {
                Ok(None) => break,
                Ok(Some(incoming)) => {
                    let Some(on) = switch.on(bridge) else {
                        return wire.flush();
                    };
                    // So that a reply comes behind the changes that came before its request.
                    wire.tell_changes(&on)?;
                    if incoming.message == OfMessage::BarrierRequest {
                        wire.tell_removed(&on)?;
                    }
                    peer.handle(&on, incoming, &mut wire)?;
                }
                Err(error) => {
                    limited!(warn, "openflow", EVENTS, "bridge {bridge}: OpenFlow: {error}");
                    wire.flush()?;
                    return Err(io::Error::other(error));
                }
            }
        }
        wire.tell_changes(&on)?;
        wire.flush()?;
    }
}

/// Whether an operation can succeed later.
fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// What a connection's thread was woken by.
struct Woken {
    /// The connection has to end.
    has_ended: bool,
    /// The peer has sent something, or has closed the connection.
    is_readable: bool,
    /// When the peer was heard the last time while the thread slept; `None` if it was not.
    heard_at: Option<Instant>,
}

/// The sending side of a connection.
pub(super) struct Wire<'a> {
    transport: &'a mut dyn Transport,
    /// What the thread lends to others while it sleeps; `None` while it is lent, and before it is needed for
    /// the first time.
    second: Option<SecondStream>,
    member: &'a Member,
    pub(super) session: Session,
    /// Readable once the connection has to end; `None` if only the member can end it ([`Terms::end`]).
    end: Option<BorrowedFd<'a>>,
    teller: Teller,
    bridge: &'a str,
    switch: &'a Switch,
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

    /// Sends, soon, messages that the switch says on its own and that wait: in front of the reply to a barrier,
    /// which comes behind whatever the requests before the barrier caused.
    pub(super) fn send_waiting(&mut self) {
        for message in self.member.outbox().take_quietly() {
            self.session.send(&message, 0);
        }
    }

    /// Sends what the switch says on its own.
    fn tell(&mut self, on: &OnBridge<'_>) -> io::Result<()> {
        for message in self.member.outbox().take() {
            self.session.send(&message, 0);
            if self.session.unsent().len() >= WRITE_SIZE {
                self.flush()?;
            }
        }
        self.tell_changes(on)?;
        self.flush()?;
        self.tell_removed(on)?;
        let Some(encoding) = self.session.encoding() else {
            return Ok(());
        };
        if self.teller.monitors.resume_at().is_some_and(|at| at <= Instant::now()) {
            self.with_teller(|wire, teller| {
                teller.monitors.resume(on, encoding, |parts| wire.send_parts(parts))
            })?;
            self.flush()?;
        }
        Ok(())
    }

    /// Sends what the peer wants to know of rules that are gone.
    fn tell_removed(&mut self, on: &OnBridge<'_>) -> io::Result<()> {
        let Some(encoding) = self.session.encoding() else {
            return Ok(());
        };
        while let Some(messages) = self.teller.next_removed(on, encoding) {
            messages.iter().for_each(|message| self.session.send(message, 0));
            self.flush()?;
        }
        Ok(())
    }

    /// Sends what flow monitors see of the changes so far: as much as the peer takes, the rest soon.
    pub(super) fn tell_changes(&mut self, on: &OnBridge<'_>) -> io::Result<()> {
        while self.gather(on) {
            while let Some(message) = self.teller.monitors.next_ready() {
                self.session.send_encoded(&message);
            }
            self.write_some()?;
        }
        Ok(())
    }

    /// Has flow monitors look at some of the changes. Returns whether there were any.
    fn gather(&mut self, on: &OnBridge<'_>) -> bool {
        let Some(encoding) = self.session.encoding().filter(|_| self.teller.monitors.any()) else {
            return false;
        };
        self.teller.monitors.gather(on, encoding, self.session.unsent().len())
    }

    /// Carries out a request about flow monitors and answers.
    pub(super) fn monitor(
        &mut self,
        on: &OnBridge<'_>,
        parts: Vec<FlowMonitor>,
        xid: u32,
        request: &[u8],
    ) -> io::Result<()> {
        let Some(encoding) = self.session.encoding() else {
            return Ok(());
        };
        match self.teller.monitors.request(parts) {
            Ok(begun) => self.with_teller(|wire, teller| {
                teller.monitors.list(on, &begun, encoding, xid, |parts| wire.send_parts(parts))
            }),
            Err(code) => {
                self.refuse(code, request);
                Ok(())
            }
        }
    }

    /// Whether the peer has flow monitors.
    pub(super) fn has_monitors(&self) -> bool {
        self.teller.monitors.any()
    }

    /// Ends a flow monitor.
    pub(super) fn cancel_monitor(&mut self, id: u32) -> Result<(), ErrorCode> {
        self.teller.monitors.cancel(id)
    }

    /// Tells from now on what the peer's settings say.
    pub(super) fn follow_settings(&mut self) {
        self.teller.follow_settings();
    }

    /// Does something with both the teller and the rest of the wire.
    fn with_teller<R>(&mut self, act: impl FnOnce(&mut Self, &mut Teller) -> R) -> R {
        let empty = Teller::new(self.teller.hub(), self.teller.member());
        let mut teller = std::mem::replace(&mut self.teller, empty);
        let result = act(self, &mut teller);
        self.teller = teller;
        result
    }

    /// The next message of the peer. The member learns which form messages have from now on.
    fn next_message(&mut self) -> Result<Option<openflow::Incoming>, SessionError> {
        let before = self.session.encoding();
        self.session.set_slave(self.member.settings().role == ControllerRole::Slave);
        let next = self.session.next_message(Instant::now());
        let encoding = self.session.encoding();
        if encoding != before {
            self.member.change_settings(|settings| settings.encoding = encoding);
            self.follow_settings();
        }
        next
    }

    /// Waits until there is something to read or to tell, or until `deadline`. `under_way` receives what became
    /// of the latest packet-out of the peer that is under way; `None` if none is.
    fn wait(
        &mut self,
        deadline: Option<Instant>,
        under_way: Option<Receiver<Injected>>,
    ) -> io::Result<Woken> {
        let wants_write = self.transport.wants_write();
        let wants_packets = self.member.wants_packets();
        let lends = wants_packets && !wants_write;
        let readiness = if lends { self.lend_line(under_way) } else { None };
        let stream =
            if wants_write { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        let end = self.member.end();
        let volunteer = if wants_packets { self.switch.punts().volunteer() } else { None };
        let mut fds = [
            PollFd::new(end, PollFlags::POLLIN),
            PollFd::new(self.end.unwrap_or(end), PollFlags::POLLIN),
            PollFd::new(readiness.as_ref().map_or(self.transport.as_fd(), AsFd::as_fd), stream),
            PollFd::new(self.member.outbox().as_fd(), PollFlags::POLLIN),
            PollFd::new(volunteer.as_ref().map_or(end, AsFd::as_fd), PollFlags::POLLIN),
        ];
        // A pause of flow monitors may have to end without anything that makes a descriptor readable.
        let deadline = [deadline, self.teller.monitors.resume_at()].into_iter().flatten().min();
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let sleeps = self.member.outbox().fall_asleep();
        let timeout = match sleeps {
            true => left.map_or(PollTimeout::NONE, dial::timeout),
            false => PollTimeout::ZERO,
        };
        let polled = wait_for(&mut fds, timeout);
        if sleeps {
            self.member.outbox().wake_up(fds[3].any() == Some(true));
        }
        let has_ended = fds[..2].iter().any(|fd| fd.any() == Some(true));
        // What the poll does not tell of is taken for readable.
        let is_readable = fds[2].any().unwrap_or(true);
        drop(volunteer);
        let heard_at = self.take_line_back();
        polled?;
        if wants_write {
            match self.transport.flush() {
                Err(error) if !is_for_now(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(Woken { has_ended, is_readable, heard_at })
    }

    /// Lets others write to the peer and listen to it, if nothing is left to be sent. Returns at what the
    /// thread has to sleep then.
    fn lend_line(&mut self, under_way: Option<Receiver<Injected>>) -> Option<Readiness> {
        let encoding = self.session.encoding().filter(|_| self.session.unsent().is_empty())?;
        let stream = match self.second.take() {
            Some(stream) => stream,
            None => SecondStream::new(self.transport.second()?).ok()?,
        };
        let readiness = stream.readiness();
        let is_between_messages = self.session.is_between_messages();
        self.member.line().lend(Way { stream, encoding, is_between_messages, under_way });
        Some(readiness)
    }

    /// Lets nobody else write to the peer any more, nor listen to it. What the peer has not taken of the last
    /// message is sent next. Returns when somebody else has heard the peer the last time; `None` if nobody has.
    fn take_line_back(&mut self) -> Option<Instant> {
        let back = self.member.line().take_back();
        if let Some(stream) = back.stream {
            self.second = Some(stream);
            self.session.send_encoded(&back.rest);
        }
        back.heard_at
    }

    /// Writes what waits to be sent. Waits for the peer, but neither longer than its patience nor
    /// beyond the connection's end. Flow monitors look at changes meanwhile: they pause, and the
    /// journal is not kept for them.
    fn flush(&mut self) -> io::Result<()> {
        let mut until = Instant::now() + WRITE_PATIENCE;
        let mut is_woken = false;
        loop {
            if self.write_some()? {
                until = Instant::now() + WRITE_PATIENCE;
            }
            if self.session.unsent().is_empty() {
                let Some(message) = self.teller.monitors.next_ready() else {
                    break;
                };
                self.session.send_encoded(&message);
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            let mut fds = vec![
                PollFd::new(self.member.end(), PollFlags::POLLIN),
                PollFd::new(self.end.unwrap_or(self.member.end()), PollFlags::POLLIN),
                PollFd::new(self.transport.as_fd(), PollFlags::POLLOUT),
            ];
            let outbox = self.member.outbox();
            let (has_monitors, mut timeout) = (self.teller.monitors.any(), dial::timeout(left));
            let mut sleeps = false;
            if has_monitors {
                fds.push(PollFd::new(outbox.as_fd(), PollFlags::POLLIN));
                sleeps = outbox.fall_asleep();
                timeout = if sleeps { timeout } else { PollTimeout::ZERO };
            }
            let polled = wait_for(&mut fds, timeout);
            let is_readable = fds.get(3).is_some_and(|fd| fd.any() == Some(true));
            let is_asked = has_monitors && (!sleeps || outbox.wake_up(is_readable));
            polled?;
            if fds[..2].iter().any(|fd| fd.any() == Some(true)) {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            if is_asked && let Some(on) = self.switch.on(self.bridge) {
                is_woken = true;
                self.member.outbox().acknowledge();
                while self.gather(&on) {}
            }
        }
        if is_woken {
            // What woke the thread may be a message that has not been taken.
            self.member.outbox().wake();
        }
        Ok(())
    }

    /// Writes what the peer takes without waiting. Returns whether it has taken anything.
    fn write_some(&mut self) -> io::Result<bool> {
        let mut has_written = false;
        while !self.session.unsent().is_empty() {
            match self.transport.write(self.session.unsent()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.session.sent(count);
                    has_written = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(has_written)
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

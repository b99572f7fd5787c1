//! The sessions of the control server: who has one, and who waits for one.
//!
//! [`MAX_SESSIONS`] clients have a session, each with a thread of its own. The clients beyond that wait in the
//! order in which they came, [`MAX_WAITING`] of them as open connections and the rest in the queue of the
//! listening socket. A session whose client has sent nothing for [`PATIENCE`] is ended while others wait.

use super::progress::{Progress, send_sign_of_life};
use super::text_budget::TextBudget;
use super::{Listener, session};
use crate::log_limit::{EVENTS, limited};
use crate::openflow::OpenFlowServer;
use crate::switch::Switch;
use crate::takeover::Program;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::debug;

/// The largest number of sessions at the same time.
pub const MAX_SESSIONS: usize = 64;

/// The largest number of accepted connections that wait for a session.
const MAX_WAITING: usize = 1024;

/// How long the client of a session may send nothing while others wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the next request of a client may take to come, for a program that ends.
const NEW_CLIENT: Duration = Duration::from_millis(200);

/// The time between two signs of life, in milliseconds.
const BEAT: u16 = 1000;

/// What all sessions have in common.
pub(super) struct Shared {
    pub(super) switch: Arc<Switch>,
    pub(super) listener: Listener,
    /// The program file to start for a restart; `None` for a switch in a program of another kind.
    pub(super) program: Option<Program>,
    /// The server for OpenFlow, which ends before another program listens at its sockets;
    /// `None` if it has ended.
    pub(super) openflow: Mutex<Option<OpenFlowServer>>,
    pub(super) texts: TextBudget,
    pub(super) progress: Progress,
    open: Mutex<HashMap<u64, OpenSession>>,
    /// Readable when a session has ended.
    ended: EventFd,
}

/// A session as the server sees it.
struct OpenSession {
    /// The session's connection, to end it.
    stream: UnixStream,
    thread: Option<JoinHandle<()>>,
    state: Arc<SessionState>,
}

/// What a session is about, for the thread that accepts sessions.
#[derive(Debug)]
pub(super) struct SessionState {
    phase: Mutex<Phase>,
    /// Held while the session writes.
    pub(super) writing: Mutex<()>,
}

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The session has waited for its client since this moment.
    Receiving(Instant),
    /// The session carries out a request.
    Working,
    /// The session tells events, until its client leaves.
    Watching,
    /// The session has been ended, because its client was silent while others waited.
    Evicted,
}

impl SessionState {
    /// The state of a session that waits for the first word of its client.
    fn new() -> Self {
        Self { phase: Mutex::new(Phase::Receiving(Instant::now())), writing: Mutex::new(()) }
    }

    /// Enters the next phase, unless the session has been ended.
    pub(super) fn enter(&self, next: Phase) {
        let mut phase = self.phase.lock();
        if *phase != Phase::Evicted {
            *phase = next;
        }
    }

    /// Whether the session has been ended to make room.
    pub(super) fn is_evicted(&self) -> bool {
        *self.phase.lock() == Phase::Evicted
    }
}

impl Shared {
    /// Sessions of `switch`, none of which is open.
    ///
    /// # Errors
    /// No descriptor could be had.
    pub(super) fn new(
        switch: Arc<Switch>,
        listener: Listener,
        program: Option<Program>,
    ) -> io::Result<Self> {
        Ok(Self {
            switch,
            listener,
            program,
            openflow: Mutex::default(),
            texts: TextBudget::default(),
            progress: Progress::default(),
            open: Mutex::default(),
            ended: super::event_fd()?,
        })
    }

    /// Whether a session carries out a request, or its client has just come and may be about to make one.
    pub(super) fn is_working(&self) -> bool {
        self.open.lock().values().any(|session| match *session.state.phase.lock() {
            Phase::Working => true,
            Phase::Receiving(since) => since.elapsed() < NEW_CLIENT,
            Phase::Watching | Phase::Evicted => false,
        })
    }
}

/// Takes connections until told to stop, then ends the sessions.
pub(super) fn serve(shared: &Arc<Shared>, stop: &EventFd) {
    let mut waiting = VecDeque::new();
    let mut number = 0;
    let mut pulse = Pulse { last: Instant::now(), steps: 0 };
    loop {
        while !waiting.is_empty() && shared.open.lock().len() < MAX_SESSIONS {
            let Some(stream) = waiting.pop_front() else { break };
            number += 1;
            if let Err(error) = open_session(shared, number, stream) {
                limited!(
                    warn,
                    "control sessions",
                    EVENTS,
                    "a session could not be started: {error}"
                );
            }
        }
        // A program that has taken over listens at the same socket.
        let is_ours = || !shared.switch.gate().is_handed_over();
        let has_room = waiting.len() < MAX_WAITING && is_ours();
        let accepting = if has_room { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(shared.ended.as_fd(), PollFlags::POLLIN),
            PollFd::new(shared.listener.as_fd(), accepting),
        ];
        let is_empty = waiting.is_empty() && shared.open.lock().is_empty();
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, if is_empty { PollTimeout::NONE } else { BEAT.into() });
        if fds[0].any() == Some(true) {
            break;
        }
        if fds[1].any() == Some(true) {
            let _ = shared.ended.read();
        }
        if has_room && fds[2].any() == Some(true) && is_ours() {
            match shared.listener.accept() {
                Ok(stream) => waiting.extend(stream),
                Err(error) => {
                    limited!(warn, "control sessions", EVENTS, "accept a control session: {error}");
                    // Most likely there is no descriptor left: wait for a session to end.
                    let _ = poll(&mut fds[..1], PollTimeout::from(100u8));
                }
            }
        }
        pulse.beat(shared, &waiting);
    }
    let sessions: Vec<OpenSession> = shared.open.lock().drain().map(|(_, open)| open).collect();
    for session in &sessions {
        let _ = session.stream.shutdown(Shutdown::Both);
    }
    for session in sessions {
        if let Some(thread) = session.thread {
            let _ = thread.join();
        }
    }
}

/// When signs of life were sent last, and how many steps had been made then.
struct Pulse {
    last: Instant,
    steps: u64,
}

impl Pulse {
    /// Once a [`BEAT`], tells the clients that wait whether there is progress, and makes
    /// room if sessions are idle.
    fn beat(&mut self, shared: &Shared, waiting: &VecDeque<UnixStream>) {
        let now = Instant::now();
        if now.duration_since(self.last) < Duration::from_millis(BEAT.into()) {
            return;
        }
        self.last = now;
        let steps = shared.progress.steps();
        let has_moved = std::mem::replace(&mut self.steps, steps) != steps;
        let open = shared.open.lock();
        if has_moved {
            waiting.iter().for_each(send_sign_of_life);
            let working = open.values().filter(|s| *s.state.phase.lock() == Phase::Working);
            for session in working {
                // A session that writes has signs of life of its own.
                if let Some(_writing) = session.state.writing.try_lock() {
                    send_sign_of_life(&session.stream);
                }
            }
        }
        // The sessions whose clients have been silent for the longest time.
        let mut silent: Vec<(Instant, &OpenSession)> = open
            .values()
            .filter_map(|session| match *session.state.phase.lock() {
                Phase::Receiving(since) if now.duration_since(since) >= PATIENCE => {
                    Some((since, session))
                }
                _ => None,
            })
            .collect();
        silent.sort_unstable_by_key(|(since, _)| *since);
        for (_, session) in silent.into_iter().take(waiting.len()) {
            session.state.enter(Phase::Evicted);
            // What the client has sent already is still read.
            let _ = session.stream.shutdown(Shutdown::Read);
        }
    }
}

fn open_session(shared: &Arc<Shared>, number: u64, stream: UnixStream) -> io::Result<()> {
    session::set_timeouts(&stream)?;
    let kept = stream.try_clone()?;
    let state = Arc::new(SessionState::new());
    let mut open = shared.open.lock();
    open.insert(number, OpenSession { stream: kept, thread: None, state: Arc::clone(&state) });
    let theirs = Arc::clone(shared);
    let run = move || {
        theirs.progress.step();
        if let Err(error) = session::run(&theirs, &state, stream) {
            debug!("control session {number}: {error}");
        }
        theirs.open.lock().remove(&number);
        theirs.progress.step();
        let _ = theirs.ended.write(1);
    };
    match std::thread::Builder::new().name("session".to_owned()).spawn(run) {
        Ok(thread) => {
            // The session waits for this lock before it ends, so it is still there.
            if let Some(session) = open.get_mut(&number) {
                session.thread = Some(thread);
            }
            Ok(())
        }
        Err(error) => {
            open.remove(&number);
            Err(error)
        }
    }
}

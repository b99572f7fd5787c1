//! The control server: listens on a Unix socket and carries out requests.
//!
//! Every session has a thread of its own, and there is a limit to their number. A session holds no
//! lock of the switch while it reads or writes its socket: a client that is slow or hostile delays
//! nobody, uses a bounded amount of memory and loses its session when it stops reading.
//!
//! Decisions are not made here. A request is parsed, handed to [`Switch`] or
//! its policy, and the result is put into words.

mod answer;
mod batches;
mod bridges;
mod cached_flows;
mod dispatch;
mod event_record;
mod fdb;
mod flow_dump;
mod flow_mods;
mod groups;
mod lines;
mod listener;
mod lock_file;
mod monitor;
mod names;
mod packet_out;
mod ports;
mod refuse;
mod session;
mod status;
mod text_budget;
mod trace;

pub use listener::{BindError, Listener, bind};

use crate::switch::Switch;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use text_budget::TextBudget;
use tracing::{debug, warn};

/// The largest number of sessions at the same time.
pub const MAX_SESSIONS: usize = 64;

/// The running server. Dropping it ends all sessions and removes the socket.
pub struct Server {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

/// What all sessions have in common.
struct Shared {
    switch: Arc<Switch>,
    texts: TextBudget,
    open: Mutex<HashMap<u64, OpenSession>>,
}

/// A session as the server sees it.
struct OpenSession {
    /// The session's connection, to end it.
    stream: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `switch` at `listener` until it is dropped.
    ///
    /// # Errors
    /// No thread or no descriptor could be had.
    pub fn start(listener: Listener, switch: Arc<Switch>) -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let stop = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        let told = Arc::clone(&stop);
        let shared =
            Arc::new(Shared { switch, texts: TextBudget::default(), open: Mutex::default() });
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || serve(&listener, &shared, &told))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes connections until told to stop, then ends the sessions.
fn serve(listener: &Listener, shared: &Arc<Shared>, stop: &EventFd) {
    let mut next = 0;
    loop {
        let mut fds = [
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        ];
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, PollTimeout::NONE);
        if fds[0].any() == Some(true) {
            break;
        }
        match listener.accept() {
            Ok(Some(stream)) => {
                next += 1;
                if let Err(error) = open_session(shared, next, stream) {
                    warn!("a control session could not be started: {error}");
                }
            }
            Ok(None) => {}
            Err(error) => {
                warn!("accept a control session: {error}");
                // Most likely there is no descriptor left: wait for a session to end.
                let _ = poll(&mut fds[..1], PollTimeout::from(100u8));
            }
        }
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

fn open_session(shared: &Arc<Shared>, number: u64, stream: UnixStream) -> io::Result<()> {
    session::set_timeouts(&stream)?;
    let mut open = shared.open.lock();
    if open.len() >= MAX_SESSIONS {
        session::turn_away(&stream);
        return Ok(());
    }
    let kept = stream.try_clone()?;
    open.insert(number, OpenSession { stream: kept, thread: None });
    let theirs = Arc::clone(shared);
    let run = move || {
        if let Err(error) = session::run(&theirs, stream) {
            debug!("control session {number}: {error}");
        }
        theirs.open.lock().remove(&number);
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

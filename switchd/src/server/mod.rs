//! The control server: listens on a Unix socket and carries out requests.
//!
//! Every session has a thread of its own, and there is a limit to their number, beyond which clients
//! wait in order (`sessions`). A session holds no lock of the switch while it reads or writes its
//! socket: a client that is slow or hostile delays nobody, uses a bounded amount of memory and loses its
//! session when it stops reading.
//!
//! Decisions are not made here. A request is parsed, handed to [`Switch`] or its policy, and the
//! result is put into words.

mod answer;
mod batches;
mod bfd;
mod bridges;
mod cached_flows;
mod connections;
mod controllers;
mod dispatch;
mod event_record;
mod fdb;
mod flow_dump;
mod flow_mods;
mod groups;
mod ineffective;
mod lines;
mod listener;
mod meters;
mod monitor;
mod names;
mod overlays;
mod packet_out;
mod peer;
mod ports;
mod progress;
mod refuse;
mod restart;
mod saved;
mod session;
mod sessions;
mod status;
mod tables;
mod text_budget;
mod trace;

pub use listener::{BindError, Listener, bind};
pub use sessions::MAX_SESSIONS;

use crate::openflow::OpenFlowServer;
use crate::switch::Switch;
use crate::takeover::Program;
use nix::sys::eventfd::{EfdFlags, EventFd};
use sessions::Shared;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest time for which a program that has handed everything over waits for answers to be written.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The running server. Dropping it ends all sessions and removes the socket.
pub struct Server {
    shared: Arc<Shared>,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `switch` at `listener` until it is dropped.
    ///
    /// # Errors
    /// No thread or no descriptor could be had.
    pub fn start(listener: Listener, switch: Arc<Switch>) -> io::Result<Self> {
        Self::new(Shared::new(switch, listener, None)?)
    }

    /// As [`Server::start`], for a switch that can be restarted: `program` is the program file to be started,
    /// and `openflow` ends before the new program listens for OpenFlow itself.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn of_program(
        listener: Listener,
        switch: Arc<Switch>,
        program: Option<Program>,
        openflow: OpenFlowServer,
    ) -> io::Result<Self> {
        let shared = Shared::new(switch, listener, program)?;
        *shared.openflow.lock() = Some(openflow);
        Self::new(shared)
    }

    fn new(shared: Shared) -> io::Result<Self> {
        let (shared, stop) = (Arc::new(shared), Arc::new(event_fd()?));
        let (serving, told) = (Arc::clone(&shared), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || sessions::serve(&serving, &told))?;
        Ok(Self { shared, stop, thread: Some(thread) })
    }

    /// Waits for a while until all requests are answered. Another program has taken over, so that none of them
    /// changes anything any more.
    pub(crate) fn finish_answers(&self) {
        let until = Instant::now() + LAST_ANSWERS;
        while self.shared.is_working() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shared.openflow.lock().take());
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A counter that `poll(2)` can wait for.
pub(crate) fn event_fd() -> io::Result<EventFd> {
    Ok(EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?)
}

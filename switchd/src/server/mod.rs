//! The control server: listens on a Unix socket and carries out requests.
//!
//! Every session has a thread of its own, and there is a limit to their number, beyond which clients
//! wait in order (`sessions`). A session holds no
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
mod ineffective;
mod lines;
mod listener;
mod monitor;
mod names;
mod packet_out;
mod peer;
mod ports;
mod progress;
mod refuse;
mod saved;
mod session;
mod sessions;
mod status;
mod text_budget;
mod trace;

pub use listener::{BindError, Listener, bind};
pub use sessions::MAX_SESSIONS;

use crate::switch::Switch;
use nix::sys::eventfd::{EfdFlags, EventFd};
use sessions::Shared;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The running server. Dropping it ends all sessions and removes the socket.
pub struct Server {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `switch` at `listener` until it is dropped.
    ///
    /// # Errors
    /// No thread or no descriptor could be had.
    pub fn start(listener: Listener, switch: Arc<Switch>) -> io::Result<Self> {
        let stop = Arc::new(event_fd()?);
        let told = Arc::clone(&stop);
        let shared = Arc::new(Shared::new(switch)?);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || sessions::serve(&listener, &shared, &told))?;
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

/// A counter that `poll(2)` can wait for.
pub(crate) fn event_fd() -> io::Result<EventFd> {
    Ok(EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?)
}

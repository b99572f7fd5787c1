//! The OpenFlow server: listens at `BRIDGE.mgmt` for each bridge, where `ovs-ofctl` looks, and carries out what comes.
//!
//! Every connection has a thread of its own, and a bridge has at most [`MAX_CONNECTIONS`] of them. A thread holds no lock
//! of the switch while it reads or writes its socket, and writes a long reply in parts, each of which it forgets once
//! the client has taken it: a client that does not read delays nobody and costs a bounded amount of memory.
//!
//! What a message wants goes through the same door as what `ofctl` wants ([`crate::bridge`]); nothing is decided here.

mod bundles;
mod connection;
mod hub;
mod lists;
mod outbox;
mod queues;
mod refuse;
mod requests;
mod transport;

pub(crate) use refuse::error_code;

use self::hub::Hub;
use crate::log_limit::{EVENTS, limited};
use crate::server::{Listener, bind, event_fd};
use crate::switch::Switch;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use tracing::{debug, info, warn};

/// The largest number of connections to one bridge at the same time. Further ones are closed at once.
pub const MAX_CONNECTIONS: usize = 64;

/// The running server. Dropping it ends all connections and removes the sockets.
pub struct OpenFlowServer {
    shared: Arc<Endpoints>,
}

/// The sockets of all bridges.
struct Endpoints {
    folder: PathBuf,
    switch: Arc<Switch>,
    open: Mutex<HashMap<String, Endpoint>>,
}

/// The socket of one bridge, and the thread that accepts its connections. Dropping it ends the connections.
struct Endpoint {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl OpenFlowServer {
    /// Listens in `folder` for every bridge that `switch` has and gets, until the server is dropped. A socket that cannot
    /// be made is told in the log, and the bridge goes without.
    pub fn start(folder: &Path, switch: &Arc<Switch>) -> Self {
        let open = Mutex::default();
        let switch = Arc::clone(switch);
        let shared = Arc::new(Endpoints { folder: folder.to_owned(), switch, open });
        let watching = Arc::clone(&shared);
        shared.switch.watch_bridges(Some(Box::new(move || watching.follow())));
        shared.follow();
        Self { shared }
    }
}

impl Drop for OpenFlowServer {
    fn drop(&mut self) {
        self.shared.switch.watch_bridges(None);
        self.shared.open.lock().clear();
    }
}

impl Endpoints {
    /// Opens the sockets of bridges that have come, and closes those of bridges that have gone.
    fn follow(&self) {
        let mut open = self.open.lock();
        let names = self.switch.bridge_names();
        open.retain(|name, _| names.contains(name));
        for name in names {
            if open.contains_key(&name) {
                continue;
            }
            let path = self.folder.join(format!("{name}.mgmt"));
            match Endpoint::open(&path, &name, &self.switch) {
                Ok(endpoint) => {
                    info!("bridge {name}: OpenFlow at {}", path.display());
                    open.insert(name, endpoint);
                }
                Err(error) => warn!("bridge {name}: no OpenFlow: {error:#}"),
            }
        }
    }
}

impl Endpoint {
    fn open(path: &Path, bridge: &str, switch: &Arc<Switch>) -> anyhow::Result<Self> {
        let listener = bind(path)?;
        let stop = Arc::new(event_fd()?);
        let hub = Arc::new(Hub::default());
        let (told, switch, bridge) = (Arc::clone(&stop), Arc::clone(switch), bridge.to_owned());
        let thread = std::thread::Builder::new()
            .name("openflow".to_owned())
            .spawn(move || accept(&listener, &hub, &bridge, &switch, &told))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes connections until told to stop, then ends them.
fn accept(listener: &Listener, hub: &Arc<Hub>, bridge: &str, switch: &Arc<Switch>, stop: &EventFd) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
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
        threads.retain(|thread| !thread.is_finished());
        let accepted = match listener.accept() {
            Ok(Some(stream)) => stream,
            Ok(None) => continue,
            Err(error) => {
                limited!(warn, "openflow", EVENTS, "accept an OpenFlow connection: {error}");
                // Descriptors are short, perhaps. Nobody is served in the meantime.
                let mut fds = [PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, 1000u16);
                continue;
            }
        };
        if hub.len() >= MAX_CONNECTIONS {
            limited!(
                warn,
                "openflow",
                EVENTS,
                "bridge {bridge}: a connection is closed, because there are {MAX_CONNECTIONS} already"
            );
            continue;
        }
        match serve(accepted, hub, bridge, switch) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                limited!(warn, "openflow", EVENTS, "serve an OpenFlow connection: {error}");
            }
        }
    }
    hub.members().iter().for_each(|member| member.close());
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

/// Serves a connection in a thread of its own, as a member of the hub.
fn serve(
    mut stream: UnixStream,
    hub: &Arc<Hub>,
    bridge: &str,
    switch: &Arc<Switch>,
) -> std::io::Result<JoinHandle<()>> {
    stream.set_nonblocking(true)?;
    let member = hub.join()?;
    let (hub, bridge, switch) = (Arc::clone(hub), bridge.to_owned(), Arc::clone(switch));
    let leaving = Arc::clone(&member);
    let of_hub = Arc::clone(&hub);
    let thread = std::thread::Builder::new().name("openflow".to_owned()).spawn(move || {
        if let Err(error) = connection::serve(&mut stream, &hub, &member, &bridge, &switch) {
            debug!("bridge {bridge}: an OpenFlow connection ends: {error}");
        }
        hub.leave(&member);
        let _ = stream.shutdown(Shutdown::Both);
    });
    if thread.is_err() {
        of_hub.leave(&leaving);
    }
    thread
}

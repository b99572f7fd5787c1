//! A place at which a bridge waits for OpenFlow connections: a Unix socket or a TCP port.

use super::connection::{self, Terms};
use super::controller_states::ControllerState;
use super::dial;
use super::hub::Member;
use super::service::BridgeContext;
use super::transport::Transport;
use crate::log_limit::{EVENTS, limited};
use crate::server::{Listener, bind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::info;

/// The largest number of connections to one bridge at the same time. Further ones are closed at once.
pub const MAX_CONNECTIONS: usize = 256;

/// The longest pause between two attempts to listen.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Where to listen, and what holds for the connections.
pub(super) struct AcceptTerms {
    pub(super) place: ListenPlace,
    /// As [`Terms::probe_interval`].
    pub(super) probe_interval: Option<Duration>,
    /// The place as somebody has named it; `None` for the socket that every bridge has.
    pub(super) target: Option<String>,
}

/// A place to listen at.
#[derive(Clone, Debug)]
pub(super) enum ListenPlace {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// The thread that accepts connections at one place. Dropping it ends these connections.
pub(super) struct Acceptor {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Listens from now on. If nobody can listen there now, the log says why, and it is tried again.
    ///
    /// # Errors
    /// No thread or no descriptor could be had.
    pub(super) fn start(context: &Arc<BridgeContext>, terms: AcceptTerms) -> io::Result<Self> {
        let stop = Arc::new(crate::server::event_fd()?);
        let state = terms
            .target
            .as_deref()
            .map(|target| (target.to_owned(), context.states().begin(&context.bridge, target)));
        let (told, context) = (Arc::clone(&stop), Arc::clone(context));
        let accepting = Accepting {
            context,
            state: state.as_ref().map(|(_, state)| Arc::clone(state)),
            terms,
            stop: told,
        };
        // At once, so that who has asked for it can connect.
        let first = accepting.listen();
        let thread = std::thread::Builder::new().name("openflow".to_owned()).spawn(move || {
            accepting.run(first);
            if let Some((target, state)) = state {
                accepting.context.states().end(&accepting.context.bridge, &target, &state);
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread knows.
struct Accepting {
    context: Arc<BridgeContext>,
    terms: AcceptTerms,
    state: Option<Arc<ControllerState>>,
    /// Readable once nobody wants connections any more.
    stop: Arc<EventFd>,
}

/// A socket that listens.
enum ListeningSocket {
    Unix(Listener),
    Tcp(TcpListener),
}

impl Accepting {
    fn run(&self, first: Option<ListeningSocket>) {
        let mut pause = Duration::from_secs(1);
        let mut socket = first;
        loop {
            if let Some(socket) = socket {
                return self.accept(&socket);
            }
            if dial::pause(self.stop.as_fd(), pause) {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            socket = self.listen();
        }
    }

    /// Begins to listen; `None` if that cannot be done now.
    fn listen(&self) -> Option<ListeningSocket> {
        let bridge = &self.context.bridge;
        let listening = match &self.terms.place {
            ListenPlace::Unix(path) => bind(path)
                .map(|socket| (ListeningSocket::Unix(socket), None, path.display().to_string()))
                .map_err(|error| format!("{:#}", anyhow::Error::new(error))),
            ListenPlace::Tcp(address) => listen_at(*address)
                .map(|(socket, at)| (ListeningSocket::Tcp(socket), Some(at), at.to_string()))
                .map_err(|error| format!("{address}: {error}")),
        };
        match listening {
            Ok((socket, at, name)) => {
                info!("bridge {bridge}: OpenFlow at {name}");
                if let Some(state) = &self.state {
                    state.listens(at);
                }
                Some(socket)
            }
            Err(error) => {
                limited!(
                    warn,
                    "openflow",
                    EVENTS,
                    "bridge {bridge}: no OpenFlow connection can come: {error}"
                );
                if let Some(state) = &self.state {
                    state.waits(LONGEST_PAUSE, Some(error));
                }
                None
            }
        }
    }

    /// Takes connections until told to stop, then ends them.
    fn accept(&self, socket: &ListeningSocket) {
        let bridge = &self.context.bridge;
        let mut serving: Vec<(Arc<Member>, JoinHandle<()>)> = Vec::new();
        loop {
            let mut fds = [
                PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            ];
            // An interrupted wait is a short one.
            let _ = poll(&mut fds, PollTimeout::NONE);
            if fds[0].any() == Some(true) {
                break;
            }
            serving.retain(|(_, thread)| !thread.is_finished());
            let accepted = match socket.accept() {
                Ok(Some(transport)) => transport,
                Ok(None) => continue,
                Err(error) => {
                    limited!(warn, "openflow", EVENTS, "accept an OpenFlow connection: {error}");
                    // Descriptors are short, perhaps. Nobody is served in the meantime.
                    if dial::pause(self.stop.as_fd(), Duration::from_secs(1)) {
                        break;
                    }
                    continue;
                }
            };
            if self.context.hub.len() >= MAX_CONNECTIONS {
                limited!(
                    warn,
                    "openflow",
                    EVENTS,
                    "bridge {bridge}: a connection is closed, because there are {MAX_CONNECTIONS} already"
                );
                continue;
            }
            match self.serve(accepted) {
                Ok(connection) => serving.push(connection),
                Err(error) => {
                    limited!(warn, "openflow", EVENTS, "serve an OpenFlow connection: {error}");
                }
            }
        }
        serving.iter().for_each(|(member, _)| member.close());
        serving.into_iter().for_each(|(_, thread)| drop(thread.join()));
    }

    /// Serves a connection in a thread of its own, as a member of the hub.
    fn serve(
        &self,
        mut transport: Box<dyn Transport>,
    ) -> io::Result<(Arc<Member>, JoinHandle<()>)> {
        let member = self.context.hub.join()?;
        let (context, served) = (Arc::clone(&self.context), Arc::clone(&member));
        let (state, probe_interval) = (self.state.clone(), self.terms.probe_interval);
        let thread = std::thread::Builder::new().name("openflow".to_owned()).spawn(move || {
            let terms = Terms {
                versions: context.versions(),
                probe_interval,
                hello_patience: None,
                end: None,
                state: state.as_deref(),
                on_open: &mut || {
                    if let Some(state) = &state {
                        state.opens(&served);
                    }
                },
            };
            let (hub, bridge) = (&context.hub, &context.bridge);
            let ended =
                connection::serve(&mut *transport, hub, &served, bridge, &context.switch, terms);
            if let Err(error) = &ended {
                tracing::debug!("bridge {bridge}: an OpenFlow connection ends: {error}");
            }
            hub.leave(&served);
            if let Some(state) = &state {
                state.closes(&served, ended.err().map(|error| error.to_string()));
            }
        });
        match thread {
            Ok(thread) => Ok((member, thread)),
            Err(error) => {
                self.context.hub.leave(&member);
                Err(error)
            }
        }
    }
}

/// Listens at a TCP port. Returns the address with the port that the kernel has chosen if none was wanted.
fn listen_at(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    let at = socket.local_addr()?;
    Ok((socket, at))
}

impl ListeningSocket {
    /// The next connection, if one waits.
    fn accept(&self) -> io::Result<Option<Box<dyn Transport>>> {
        let accepted = match self {
            Self::Unix(listener) => {
                let stream = listener.accept()?;
                stream.iter().try_for_each(|stream| stream.set_nonblocking(true))?;
                return Ok(stream.map(|stream| Box::new(stream) as Box<dyn Transport>));
            }
            Self::Tcp(listener) => listener.accept(),
        };
        match accepted {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Ok(Some(Box::new(stream)))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}

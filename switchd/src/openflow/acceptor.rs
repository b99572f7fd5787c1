//! A place at which a bridge waits for OpenFlow connections: a Unix socket or a TCP port.

use super::connection::{self, Terms};
use super::controller_states::ControllerState;
use super::dial;
use super::hub::Member;
use super::service::BridgeContext;
use super::snoop::{self, Snooped};
use super::tls::{self, TlsError};
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
    /// The silence after which a peer is asked whether it is there; `None`
    /// never asks ([`Terms::probe_interval`]).
    pub(super) probe_interval: Option<Duration>,
    pub(super) purpose: Purpose,
}

/// Whom a place is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// `BRIDGE.mgmt`: for tools.
    Service,
    /// A place that somebody has named, in these words: for controllers.
    Controllers(String),
    /// `BRIDGE.snoop`: for readers of what controllers and the bridge say to each other.
    Snoop,
}

impl Purpose {
    /// The place as somebody has named it; `None` for the sockets that every bridge has.
    fn target(&self) -> Option<&str> {
        match self {
            Self::Controllers(target) => Some(target),
            Self::Service | Self::Snoop => None,
        }
    }
}

/// A place to listen at.
#[derive(Clone, Debug)]
pub(super) enum ListenPlace {
    Unix(PathBuf),
    Tcp { address: SocketAddr, tls: bool },
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
            .purpose
            .target()
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
    /// The flag says whether TLS protects the connections.
    Tcp(TcpListener, bool),
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
                .map_err(|error| unix_fault(error.into())),
            ListenPlace::Tcp { address, tls } => listen_at(*address)
                .map(|(socket, at)| (ListeningSocket::Tcp(socket, *tls), Some(at), at.to_string()))
                .map_err(|error| tcp_fault(*address, &error)),
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
        let mut serving: Vec<(Option<Arc<Member>>, JoinHandle<()>)> = Vec::new();
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
            let accepted = match socket.accept(&self.context) {
                Ok(Some(Ok(transport))) => transport,
                Ok(None) => continue,
                Ok(Some(Err(error))) => {
                    limited!(warn, "openflow", EVENTS, "bridge {bridge}: {error}");
                    if let Some(state) = &self.state {
                        state.fails(error.to_string());
                    }
                    continue;
                }
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
            let served = match self.terms.purpose {
                Purpose::Snoop => self.serve_snooper(accepted).map(|thread| (None, thread)),
                _ => self.serve(accepted).map(|(member, thread)| (Some(member), thread)),
            };
            match served {
                Ok(connection) => serving.push(connection),
                Err(error) => {
                    limited!(warn, "openflow", EVENTS, "serve an OpenFlow connection: {error}");
                }
            }
        }
        serving.iter().filter_map(|(member, _)| member.as_ref()).for_each(|member| member.close());
        serving.into_iter().for_each(|(_, thread)| drop(thread.join()));
    }

    /// Serves a reader of what controllers say, in a thread of its own. Without
    /// controllers the connection is closed.
    fn serve_snooper(&self, mut transport: Box<dyn Transport>) -> io::Result<JoinHandle<()>> {
        let (context, stop) = (Arc::clone(&self.context), Arc::clone(&self.stop));
        std::thread::Builder::new().name("openflow".to_owned()).spawn(move || {
            let bridge = &context.bridge;
            if context.switch.controllers(bridge).is_empty() {
                return;
            }
            if let Err(error) = snoop::serve(&mut *transport, &context.snoopers, stop.as_fd()) {
                tracing::debug!("bridge {bridge}: snoop: {error}");
            }
        })
    }

    /// Serves a connection in a thread of its own, as a member of the hub.
    fn serve(
        &self,
        mut transport: Box<dyn Transport>,
    ) -> io::Result<(Arc<Member>, JoinHandle<()>)> {
        let member = self.context.hub.join()?;
        if self.terms.purpose.target().is_some() {
            transport = Box::new(Snooped::new(transport, &self.context.snoopers));
        }
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

/// Why a Unix socket cannot be listened at. Landlock denies every folder but those that options name.
fn unix_fault(error: anyhow::Error) -> String {
    let is_denied = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == ErrorKind::PermissionDenied);
    match is_denied {
        true => {
            format!("{error:#}; with --sandbox, it has to be in the folder of the control socket")
        }
        false => format!("{error:#}"),
    }
}

/// Why a TCP port cannot be listened at. The process gives up `CAP_NET_BIND_SERVICE`, as every capability that
/// ports of bridges do not need.
fn tcp_fault(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("{address}: {error}; the switch has no privilege for a port below 1024")
        }
        _ => format!("{address}: {error}"),
    }
}

/// A connection, or why TLS cannot be used for it.
type Accepted = Result<Box<dyn Transport>, TlsError>;

impl ListeningSocket {
    /// The next connection, if one waits; the inner error is that of a connection for which TLS cannot be used.
    fn accept(&self, context: &BridgeContext) -> io::Result<Option<Accepted>> {
        let (accepted, tls) = match self {
            Self::Unix(listener) => {
                let stream = listener.accept()?;
                stream.iter().try_for_each(|stream| stream.set_nonblocking(true))?;
                return Ok(stream.map(|stream| Ok(Box::new(stream) as Box<dyn Transport>)));
            }
            Self::Tcp(listener, tls) => (listener.accept(), *tls),
        };
        match accepted {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                if !tls {
                    return Ok(Some(Ok(Box::new(stream))));
                }
                let secured = tls::begin(stream, context.ssl().as_ref(), false);
                Ok(Some(secured.map(|stream| Box::new(stream) as Box<dyn Transport>)))
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
            Self::Tcp(listener, _) => listener.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_place_that_is_denied_is_told_what_would_work() {
        let denied = || io::Error::from(ErrorKind::PermissionDenied);
        let port = tcp_fault("127.0.0.1:80".parse().unwrap(), &denied());
        assert_eq!(
            port,
            "127.0.0.1:80: permission denied; the switch has no privilege for a port below 1024"
        );
        let elsewhere = Err::<(), _>(denied()).context("create /srv/of.lock").unwrap_err();
        assert_eq!(
            unix_fault(elsewhere),
            "create /srv/of.lock: permission denied; with --sandbox, it has to be in the folder of the control \
             socket"
        );
        let taken = tcp_fault("127.0.0.1:80".parse().unwrap(), &ErrorKind::AddrInUse.into());
        assert_eq!(taken, "127.0.0.1:80: address in use");
    }
}

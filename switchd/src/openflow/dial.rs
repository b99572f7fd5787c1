//! Connecting to a controller, so that the thread that does it can be ended at any moment.

use control::trust::{Missing, Trust};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

/// Addresses of a name that are tried in one attempt, at most.
const MAX_ADDRESSES: usize = 8;

/// The end of an attempt that did not connect.
#[derive(Debug)]
pub(super) enum DialError {
    /// Whoever wanted the connection does not want it any more.
    Ended,
    /// The attempt failed.
    Failed(io::Error),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Looks up the addresses of a name. The system's function waits for servers as long as it likes and cannot be
/// interrupted, so it runs in a thread of its own; there is never more than one for a resolver.
#[derive(Default)]
pub(super) struct Resolver {
    pending: Option<Pending>,
}

struct Pending {
    answer: Receiver<io::Result<Vec<SocketAddr>>>,
    /// Readable once there is an answer.
    ready: Arc<EventFd>,
}

impl Resolver {
    /// The addresses of a name, with a port.
    ///
    /// # Errors
    /// The name has no address, no answer came in time, or `end` is readable. An answer that comes later is
    /// that of the next call.
    pub(super) fn resolve(
        &mut self,
        name: &str,
        port: u16,
        end: BorrowedFd<'_>,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, DialError> {
        let pending = match self.pending.take() {
            Some(pending) => pending,
            None => Pending::start(name.to_owned(), port)?,
        };
        loop {
            match pending.answer.try_recv() {
                Ok(answer) => return Ok(answer?),
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other(format!("the look-up of {name} failed")).into());
                }
                Err(TryRecvError::Empty) => {}
            }
            let waited = wait(pending.ready.as_fd(), PollFlags::POLLIN, end, deadline);
            if let Err(error) = waited {
                self.pending = Some(pending);
                return Err(match error {
                    DialError::Failed(error) if error.kind() == ErrorKind::TimedOut => {
                        let text = format!("no server tells the address of {name}");
                        io::Error::new(ErrorKind::TimedOut, text).into()
                    }
                    error => error,
                });
            }
        }
    }
}

impl Pending {
    fn start(name: String, port: u16) -> io::Result<Self> {
        let (sender, answer) = channel();
        let ready = Arc::new(crate::server::event_fd()?);
        let told = Arc::clone(&ready);
        std::thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            let found = (&*name, port).to_socket_addrs();
            let found = found
                .map(|all| all.take(MAX_ADDRESSES).collect())
                .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")));
            // Nobody may want to know it any more.
            let _ = sender.send(found);
            let _ = told.write(1);
        })?;
        Ok(Self { answer, ready })
    }
}

/// Connects to the first of these addresses that answers.
///
/// # Errors
/// None answers by `deadline`; the error is that of the last one. Or `end` is readable.
pub(super) fn tcp(
    addresses: &[SocketAddr],
    end: BorrowedFd<'_>,
    deadline: Instant,
) -> Result<TcpStream, DialError> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address").into();
    for (i, address) in addresses.iter().enumerate() {
        // An address that does not answer leaves time for the others.
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now) / (addresses.len() - i) as u32;
        match one(*address, end, now + left) {
            Ok(stream) => return Ok(stream),
            Err(DialError::Ended) => return Err(DialError::Ended),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn one(
    address: SocketAddr,
    end: BorrowedFd<'_>,
    deadline: Instant,
) -> Result<TcpStream, DialError> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = begin(family, |socket| connect(socket, &address))?;
    wait(socket.as_fd(), PollFlags::POLLOUT, end, deadline)?;
    sockopt::socket_error(&socket).map_err(io::Error::from)?.map_err(io::Error::from)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects to a Unix socket, which nobody else may be able to exchange.
///
/// # Errors
/// Another user could exchange the path, no process listens there, or the queue of
/// the listening socket is full.
pub(super) fn unix(path: &Path) -> Result<UnixStream, DialError> {
    let not_trusted = |error: control::trust::PathError| io::Error::other(error.to_string());
    let trust = Trust::of_process().map_err(not_trusted)?;
    trust.folder_of(path, Missing::Fail).map_err(not_trusted)?;
    trust.check_owner(path, &std::fs::symlink_metadata(path)?).map_err(not_trusted)?;
    let address = SocketAddrUnix::new(path).map_err(io::Error::from)?;
    let socket = begin(AddressFamily::UNIX, |socket| connect(socket, &address))?;
    Ok(socket.into())
}

/// Makes a socket that does not block and begins to connect it.
fn begin(
    family: AddressFamily,
    connect: impl Fn(&OwnedFd) -> rustix::io::Result<()>,
) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Waits until a descriptor is ready.
fn wait(
    fd: BorrowedFd<'_>,
    flags: PollFlags,
    end: BorrowedFd<'_>,
    deadline: Instant,
) -> Result<(), DialError> {
    loop {
        let mut fds = [PollFd::new(end, PollFlags::POLLIN), PollFd::new(fd, flags)];
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut fds, timeout(left)) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(io::Error::from(error).into()),
            Ok(_) if fds[0].any() == Some(true) => return Err(DialError::Ended),
            Ok(0) if left.is_zero() => return Err(io::Error::from(ErrorKind::TimedOut).into()),
            Ok(0) => {}
            Ok(_) => return Ok(()),
        }
    }
}

/// Waits for a time. Returns whether `end` became readable meanwhile.
pub(super) fn pause(end: BorrowedFd<'_>, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(end, PollFlags::POLLIN)];
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, timeout(left));
        if fds[0].any() == Some(true) {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

/// A time as poll(2) takes it, rounded up to milliseconds.
pub(super) fn timeout(time: Duration) -> PollTimeout {
    let milliseconds = time.as_micros().div_ceil(1000);
    i32::try_from(milliseconds).ok().and_then(|ms| ms.try_into().ok()).unwrap_or(PollTimeout::MAX)
}

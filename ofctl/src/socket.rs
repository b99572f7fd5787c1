//! Opens the connection to the daemon: finds the control socket, checks whose it is and who answers, and limits
//! how long `ofctl` waits.

use crate::options::How;
use anyhow::{Context, bail};
use control::path::{ROOT_RUN_DIR, RUNDIR_VARIABLE, SOCKET_NAME};
use control::trust::{Missing, PathError, Trust, group_name, user_name};
use control::{Client, ClientError};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name and version that `ofctl` gives the daemon.
const PROGRAM: &str = concat!("ofctl ", env!("CARGO_PKG_VERSION"));

/// A session with the daemon.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// The client's socket, to change its time limits.
    pub(crate) stream: UnixStream,
}

impl Connection {
    /// Opens a session with the daemon whose socket the options name.
    pub(crate) fn open(how: &How) -> anyhow::Result<Self> {
        let path = path(how);
        let trust = Trust::of_client(&path)?;
        trust.folder_of(&path, Missing::Fail).map_err(|error| match error {
            PathError::Os(error) => unreachable(how, &path, error.source),
            error => error.into(),
        })?;
        let stream = match dial(&path, how.limit()) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let waited_for = "a place among the connections that the switch has not accepted";
                Err(ClientError::Late { waited_for: waited_for.to_owned() }.into())
            }
            dialled => dialled.map_err(|error| unreachable(how, &path, error)),
        }?;
        let peer = getsockopt(&stream, sockopt::PeerCredentials).context("ask who answers")?;
        if !trust.includes(peer.uid()) {
            bail!(
                "{}: process {}, which answers there, belongs to {}, and not to you or root: run ofctl as that user, \
                 or name your own switch with --socket",
                path.display(),
                peer.pid(),
                user_name(peer.uid())
            );
        }
        stream.set_read_timeout(how.limit())?;
        stream.set_write_timeout(how.limit())?;
        let (from, to) = (stream.try_clone()?, stream.try_clone()?);
        Ok(Self { client: Client::open(from, to, PROGRAM)?, stream })
    }
}

/// No switch answers at the control socket.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct NoSwitch {
    /// The path, and what the user can do.
    message: String,
    source: io::Error,
}

/// The path of the control socket: that of `--socket`, else this user's, else root's if there is no other. A
/// member of the group of `switchd --socket-group` has no socket, but can use root's.
pub(crate) fn path(how: &How) -> PathBuf {
    if let Some(path) = &how.socket {
        return path.clone();
    }
    let own = control::socket_path();
    let of_root = Path::new(ROOT_RUN_DIR).join(SOCKET_NAME);
    let is_chosen = std::env::var_os(RUNDIR_VARIABLE).is_some_and(|folder| !folder.is_empty());
    match is_chosen || own.exists() || !Path::new(ROOT_RUN_DIR).exists() {
        true => own,
        false => of_root,
    }
}

/// Connects to the socket. The limit includes the wait for a place in the queue of a daemon that accepts
/// nobody; then the error is of the kind `WouldBlock`.
fn dial(path: &Path, limit: Option<Duration>) -> io::Result<UnixStream> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    if let Some(limit) = limit {
        // connect(2) on a Unix socket heeds the limit for sending.
        let limit = TimeVal::new(limit.as_secs() as i64, i64::from(limit.subsec_micros()));
        setsockopt(&socket, sockopt::SendTimeout, &limit)?;
    }
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket.into())
}

/// The error of a socket at which nobody answers, with whose socket it is or where another one might be.
fn unreachable(how: &How, path: &Path, error: io::Error) -> anyhow::Error {
    let shown = path.display();
    let message = match error.kind() {
        ErrorKind::PermissionDenied => {
            let owner = owner(path);
            let sudo = if owner == "root" { ": sudo ofctl ..." } else { "" };
            let group = group(path).map(|group| format!(", or as a member of {group}"));
            let group = group.unwrap_or_default();
            format!("the switch at {shown} belongs to {owner}: run ofctl as that user{sudo}{group}")
        }
        _ if how.socket.is_some() => {
            format!("no switchd answers at {shown}: is --socket right?")
        }
        _ => {
            let roots = Path::new(control::path::ROOT_RUN_DIR);
            let hint = match path.starts_with(roots) || !roots.exists() {
                true => String::new(),
                false => format!(" (root's is in {}: sudo ofctl ...)", roots.display()),
            };
            format!("no switchd answers at {shown}: is it running, and as this user?{hint}")
        }
    };
    NoSwitch { message, source: error }.into()
}

/// The owner of the socket, or of the folder that hides it.
fn owner(path: &Path) -> String {
    let seen = path.ancestors().find_map(|path| fs::symlink_metadata(path).ok());
    seen.map_or_else(|| "another user".to_owned(), |found| user_name(found.uid()))
}

/// The group that may use the socket, as far as this user can see the socket or the folder that hides it;
/// `None` if only root's group may.
fn group(path: &Path) -> Option<String> {
    let found = path.ancestors().find_map(|path| fs::symlink_metadata(path).ok())?;
    let needed = if found.file_type().is_socket() { 0o020 } else { 0o010 };
    (found.mode() & needed != 0 && found.gid() != 0).then(|| group_name(found.gid()))
}

/// The message about a daemon that was silent for too long.
pub(crate) fn silence(how: &How, waited_for: &str) -> String {
    let path = path(how);
    let seconds = how.limit().unwrap_or_default().as_secs();
    let state = match stopped_process(&path) {
        Some(pid) => format!("; it is stopped: kill -CONT {pid} lets it go on"),
        None => ": give it more time with --timeout".to_owned(),
    };
    format!(
        "the switch at {} was silent for {seconds} s while ofctl waited for {waited_for}{state}",
        path.display()
    )
}

/// The process that listens at the socket, if a signal or a debugger has stopped it.
fn stopped_process(path: &Path) -> Option<i32> {
    let stream = dial(path, Some(Duration::from_millis(100))).ok()?;
    let pid = getsockopt(&stream, sockopt::PeerCredentials).ok()?.pid();
    // proc(5): "PID (NAME) STATE ...", and the name can have any character.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = stat.rsplit_once(") ")?;
    behind.starts_with(['T', 't']).then_some(pid)
}

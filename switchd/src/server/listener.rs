//! The control socket: where it is made, who may use it, and what happens to one that is there already.
//!
//! The folder of the socket has to be [trusted](control::trust). A [lock file](crate::lock_file) beside the
//! socket says that a daemon lives, whatever became of the socket, so that two daemons that start together do
//! not remove each other's socket.

use crate::lock_file::{LockFile, LockFileError};
use control::OsError;
use control::trust::{Missing, PathError, Trust};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind as bind_socket, connect, getsockopt,
    listen, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, chown};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The control socket could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process listens at the socket.
    #[error(
        "control socket {} is in use by {owner}: stop it, or name another with --socket or \
         $SWITCH_RUNDIR", path.display()
    )]
    InUse {
        /// The path of the socket.
        path: PathBuf,
        /// The process that listens: `switchd (process 4711)`.
        owner: String,
    },
    /// There is something that is not a socket.
    #[error("{} is not a socket and is left as it is; name another path with --socket", path.display())]
    NotASocket {
        /// The path at which something else than a socket lies.
        path: PathBuf,
    },
    /// Another user owns the folder or the socket, or can change the folder.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The lock beside the socket cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockFileError),
    /// The kernel refused an operation on the socket.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// A socket that accepts sessions. Dropping it removes the socket.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Held as long as the socket is ours.
    lock: LockFile,
}

/// Makes the control socket at `path`, for this user only, and the folder if there is none. A socket
/// that nobody listens at any more is replaced. Nothing on the way is waited for.
///
/// # Errors
/// Somebody listens there; something else is there; another user could exchange the socket; the kernel refused.
pub fn bind(path: &Path) -> Result<Listener, BindError> {
    let trust = Trust::of_process()?;
    trust.folder_of(path, Missing::Create)?;
    let Some(lock) = LockFile::take(&lock_path(path), &trust)? else {
        let owner = owner(path).unwrap_or_else(|| "another switchd".to_owned());
        return Err(BindError::InUse { path: path.to_owned(), owner });
    };
    remove_stale(path, &trust)?;
    let socket = listen_at(path).map_err(OsError::of("create the control socket", path))?;
    Ok(Listener { socket, path: path.to_owned(), lock })
}

impl Listener {
    /// The socket at `path` at which another process listens, and its lock, which that process hands over.
    ///
    /// # Errors
    /// A third process has the lock.
    pub(crate) fn take_over(
        path: &Path,
        socket: OwnedFd,
        lock: OwnedFd,
    ) -> Result<Self, BindError> {
        let lock = LockFile::take_over(&lock_path(path), lock)?;
        // Clients are told which process has called listen(2) last (unix(7), `SO_PEERCRED`).
        listen(&socket, Backlog::MAXCONN)
            .map_err(|error| OsError::of("listen at", path)(error.into()))?;
        Ok(Self { socket: socket.into(), path: path.to_owned(), lock })
    }

    /// Descriptors of the socket and of its lock, for a process that takes over.
    pub(crate) fn descriptors(&self) -> io::Result<[OwnedFd; 2]> {
        Ok([self.socket.try_clone()?.into(), self.lock.descriptor()?])
    }

    /// The next session, if one waits.
    pub(crate) fn accept(&self) -> io::Result<Option<UnixStream>> {
        match self.socket.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                Ok(Some(stream))
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(e) if e.kind() == ErrorKind::ConnectionAborted => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Lets more users than the owner use the socket: sets the mode of the socket to `mode`, and its group to
    /// `group` unless it is `None`. If these users could not reach the socket, its folder lets them pass, but
    /// not list the folder.
    ///
    /// # Errors
    /// The socket or the folder belongs to another user, or this process is not a member of the group.
    pub fn share(&self, mode: u32, group: Option<Gid>) -> Result<(), OsError> {
        if let Some(group) = group {
            // The folder is trusted: nobody has put a link in the place of the socket.
            chown(&self.path, None, Some(group))
                .map_err(|e| OsError::of("give to --socket-group", &self.path)(e.into()))?;
        }
        fs::set_permissions(&self.path, Permissions::from_mode(mode))
            .map_err(OsError::of("change the mode of", &self.path))?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let found = fs::metadata(folder).map_err(OsError::of("look at", folder))?;
        // To pass through a folder, a user needs the execute bit.
        let group = group.filter(|_| mode & 0o060 != 0 && found.mode() & 0o001 == 0);
        let mut pass = if mode & 0o006 != 0 { 0o001 } else { 0 };
        if let Some(group) = group {
            pass |= 0o010;
            if found.gid() != group.as_raw() {
                chown(folder, None, Some(group))
                    .map_err(|e| OsError::of("give to --socket-group", folder)(e.into()))?;
            }
        }
        if found.mode() & pass != pass {
            fs::set_permissions(folder, Permissions::from_mode(found.mode() & 0o7777 | pass))
                .map_err(OsError::of("change the mode of", folder))?;
        }
        Ok(())
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // What stays is a stale socket, which the next daemon replaces.
        let _ = fs::remove_file(&self.path);
    }
}

/// The path of the lock file of the socket at `path`.
fn lock_path(path: &Path) -> PathBuf {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    lock.into()
}

fn remove_stale(path: &Path, trust: &Trust) -> Result<(), BindError> {
    let found = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.map_err(OsError::of("look at", path))?,
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    trust.check_owner(path, &found)?;
    if let Some(owner) = owner(path) {
        return Err(BindError::InUse { path: path.to_owned(), owner });
    }
    Ok(fs::remove_file(path).map_err(OsError::of("remove the stale socket", path))?)
}

/// Who listens at a socket; `None` if nobody does. Does not wait for a process that listens and accepts nobody.
fn owner(path: &Path) -> Option<String> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    match connect(stream.as_raw_fd(), &UnixAddr::new(path).ok()?) {
        Ok(()) => {}
        // Its queue of connections is full.
        Err(Errno::EAGAIN) => return Some("a process that accepts no connection".to_owned()),
        Err(_) => return None,
    }
    let pid = getsockopt(&stream, sockopt::PeerCredentials).ok()?.pid();
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    let name = name.as_deref().map_or("a process", str::trim);
    Some(format!("{name} (process {pid})"))
}

fn listen_at(path: &Path) -> io::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    // unix(7): the socket file gets the mode of the socket, so there is no moment with another.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind_socket(fd.as_raw_fd(), &address)?;
    listen(&fd, Backlog::MAXCONN)?;
    Ok(fd.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A folder that goes away.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            Self(std::env::temp_dir().join(format!("switchd-bind-{}-{n}", std::process::id())))
        }

        fn socket(&self) -> PathBuf {
            self.0.join("switchd.sock")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_socket_is_for_its_owner_and_goes_with_the_daemon() {
        let folder = Folder::new();
        let listener = bind(&folder.socket()).unwrap();
        assert_eq!((mode(&folder.0), mode(&folder.socket())), (0o700, 0o600));
        drop(listener);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
    }

    #[test]
    fn the_socket_can_be_shared_with_a_group() {
        let folder = Folder::new();
        let listener = bind(&folder.socket()).unwrap();
        let own = nix::unistd::getegid();
        listener.share(0o660, Some(own)).unwrap();
        // The group can pass through the folder, and sees nothing in it.
        assert_eq!((mode(&folder.0), mode(&folder.socket())), (0o710, 0o660));
        assert_eq!(fs::metadata(folder.socket()).unwrap().gid(), own.as_raw());
        listener.share(0o666, None).unwrap();
        assert_eq!((mode(&folder.0), mode(&folder.socket())), (0o711, 0o666));
        // A folder that everybody can pass through stays as it is.
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
        listener.share(0o660, Some(own)).unwrap();
        assert_eq!(mode(&folder.0), 0o755);
    }

    #[test]
    fn a_live_socket_is_refused_with_its_owner() {
        let folder = Folder::new();
        let first = bind(&folder.socket()).unwrap();
        let error = bind(&folder.socket()).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(first);
        bind(&folder.socket()).unwrap();
    }

    #[test]
    fn a_live_socket_of_another_program_is_refused_too() {
        let folder = Folder::new();
        fs::create_dir(&folder.0).unwrap();
        let _other = UnixListener::bind(folder.socket()).unwrap();
        assert!(matches!(bind(&folder.socket()), Err(BindError::InUse { .. })));
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let folder = Folder::new();
        fs::create_dir(&folder.0).unwrap();
        drop(UnixListener::bind(folder.socket()).unwrap());
        assert!(folder.socket().exists());
        let _listener = bind(&folder.socket()).unwrap();
        UnixStream::connect(folder.socket()).unwrap();
    }

    #[test]
    fn a_socket_whose_owner_accepts_nobody_is_not_waited_for() {
        let folder = Folder::new();
        fs::create_dir(&folder.0).unwrap();
        let flags = SockFlag::SOCK_CLOEXEC;
        let deaf = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        bind_socket(deaf.as_raw_fd(), &UnixAddr::new(&folder.socket()).unwrap()).unwrap();
        listen(&deaf, Backlog::new(0).unwrap()).unwrap();
        let _queued = UnixStream::connect(folder.socket()).unwrap();
        let error = bind(&folder.socket()).unwrap_err().to_string();
        assert!(error.contains("in use by a process that accepts no connection"), "{error}");
    }

    #[test]
    fn a_folder_that_everybody_can_change_is_refused() {
        let folder = Folder::new();
        fs::create_dir(&folder.0).unwrap();
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
        let error = bind(&folder.socket()).unwrap_err();
        assert!(matches!(error, BindError::Path(PathError::Writable { .. })), "{error}");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o1777)).unwrap();
        bind(&folder.socket()).unwrap();
    }

    #[test]
    fn a_stale_socket_of_another_user_is_left() {
        let folder = Folder::new();
        fs::create_dir(&folder.0).unwrap();
        drop(UnixListener::bind(folder.socket()).unwrap());
        if std::os::unix::fs::lchown(folder.socket(), Some(12345), None).is_err() {
            eprintln!("skipped: only root can give a file to another user");
            return;
        }
        let error = bind(&folder.socket()).unwrap_err().to_string();
        assert!(error.contains("belongs to uid 12345"), "{error}");
        assert!(folder.socket().exists());
    }

    #[test]
    fn a_file_is_not_replaced() {
        let folder = Folder::new();
        fs::create_dir(&folder.0).unwrap();
        fs::write(folder.socket(), "precious").unwrap();
        assert!(matches!(bind(&folder.socket()), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read(folder.socket()).unwrap(), b"precious");
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error() {
        let folder = Folder::new();
        let error = bind(&folder.0.join("x".repeat(150))).unwrap_err();
        assert!(matches!(error, BindError::Os { .. }), "{error}");
    }
}

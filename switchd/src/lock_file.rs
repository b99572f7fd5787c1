//! A lock file, whose lock is held as long as a daemon lives: beside the control socket, and in the directory
//! of kept state.
//!
//! A folder such as `/tmp` is open to everybody, and everybody can have put something at the path of the lock
//! file. So no symbolic link is followed there, no FIFO is waited for, and what has been opened is looked at
//! before it is used.

use control::OsError;
use control::trust::{PathError, Trust};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a lock cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockFileError {
    /// What lies at the path is not a lock file.
    #[error("{} is {what} and not a lock file: remove it, or name another place with --socket or --state", path.display())]
    NotALockFile {
        /// The path of the lock file.
        path: PathBuf,
        /// The thing that lies there: `a symbolic link`.
        what: &'static str,
    },
    /// Another user owns the file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The kernel refused an operation on the file.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// A lock that is held. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    lock: Flock<File>,
}

impl LockFile {
    /// Takes the lock of the file at `path`, which is made if there is none; `None` if
    /// another process has the lock.
    ///
    /// # Errors
    /// Something lies there that is no lock file, or belongs to a user who is not trusted; the kernel refused.
    pub(crate) fn take(path: &Path, trust: &Trust) -> Result<Option<Self>, LockFileError> {
        loop {
            let file = open(path, trust)?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) if is_still_at(&lock, path) => {
                    return Ok(Some(Self { path: path.to_owned(), lock }));
                }
                // The last owner of the lock removed the file between the two calls.
                Ok(_) => {}
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, error)) => return Err(OsError::of("lock", path)(error.into()).into()),
            }
        }
    }
}

impl LockFile {
    /// The lock of the file at `path`, which another process has taken and hands over. The lock belongs to the
    /// open file, of which both processes have a descriptor (flock(2)).
    ///
    /// # Errors
    /// A third process has the lock.
    pub(crate) fn take_over(path: &Path, descriptor: OwnedFd) -> Result<Self, LockFileError> {
        match Flock::lock(File::from(descriptor), FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path: path.to_owned(), lock }),
            Err((_, error)) => Err(OsError::of("lock", path)(error.into()).into()),
        }
    }

    /// A descriptor of the open file, for a process that takes over.
    pub(crate) fn descriptor(&self) -> std::io::Result<OwnedFd> {
        Ok(self.lock.try_clone()?.into())
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // A file that stays is taken over by the next daemon.
        let _ = fs::remove_file(&self.path);
    }
}

fn open(path: &Path, trust: &Trust) -> Result<File, LockFileError> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path);
    match opened {
        Ok(file) => {
            let found = file.metadata().map_err(OsError::of("look at", path))?;
            check(path, &found, trust)?;
            Ok(file)
        }
        Err(error) => {
            // What lies there explains more than the number of the error does.
            if let Ok(found) = fs::symlink_metadata(path) {
                check(path, &found, trust)?;
            }
            Err(OsError::of("create", path)(error).into())
        }
    }
}

/// Whether the thing that was found is a lock file that a trusted user has made.
fn check(path: &Path, found: &Metadata, trust: &Trust) -> Result<(), LockFileError> {
    trust.check_owner(path, found)?;
    // A file with two names is a file of something else: only its owner may lock it, and not by accident.
    let what = match found.file_type() {
        kind if !kind.is_file() => kind_name(kind),
        _ if found.nlink() > 1 => "a file with a second name",
        _ => return Ok(()),
    };
    Err(LockFileError::NotALockFile { path: path.to_owned(), what })
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_symlink() => "a symbolic link",
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

fn is_still_at(file: &File, path: &Path) -> bool {
    let id = |m: Metadata| (m.dev(), m.ino());
    match (file.metadata().map(id), fs::symlink_metadata(path).map(id)) {
        (Ok(ours), Ok(there)) => ours == there,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A folder that is removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("switchd-lock-{}-{n}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn lock(&self) -> PathBuf {
            self.0.join("s.lock")
        }

        fn take(&self) -> Result<Option<LockFile>, LockFileError> {
            LockFile::take(&self.lock(), &Trust::of_process().unwrap())
        }

        /// The thing that lies at the path of the lock file, as the refusal names it.
        fn refused(&self) -> &'static str {
            match self.take() {
                Err(LockFileError::NotALockFile { path, what }) if path == self.lock() => what,
                other => panic!("{other:?}"),
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_process_has_the_lock_and_takes_the_file_along() {
        let folder = Folder::new();
        let lock = folder.take().unwrap().unwrap();
        assert_eq!(fs::metadata(folder.lock()).unwrap().mode() & 0o777, 0o600);
        assert!(folder.take().unwrap().is_none());
        drop(lock);
        assert!(!folder.lock().exists());
        fs::write(folder.lock(), "left by a crash").unwrap();
        folder.take().unwrap().unwrap();
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let folder = Folder::new();
        let elsewhere = folder.0.join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, folder.lock()).unwrap();
        assert_eq!(folder.refused(), "a symbolic link");
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let folder = Folder::new();
        nix::unistd::mkfifo(&folder.lock(), Mode::S_IRWXU).unwrap();
        assert_eq!(folder.refused(), "a FIFO");
        // With a reader the FIFO can be opened.
        let _reader = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(folder.lock())
            .unwrap();
        assert_eq!(folder.refused(), "a FIFO");
    }

    #[test]
    fn a_folder_and_a_precious_file_are_refused() {
        let folder = Folder::new();
        fs::create_dir(folder.lock()).unwrap();
        assert_eq!(folder.refused(), "a folder");
        fs::remove_dir(folder.lock()).unwrap();
        fs::write(folder.0.join("precious"), "text").unwrap();
        fs::hard_link(folder.0.join("precious"), folder.lock()).unwrap();
        assert_eq!(folder.refused(), "a file with a second name");
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let folder = Folder::new();
        fs::write(folder.lock(), "").unwrap();
        if std::os::unix::fs::chown(folder.lock(), Some(12345), None).is_err() {
            eprintln!("skipped: only root can give a file to another user");
            return;
        }
        let error = folder.take().unwrap_err().to_string();
        assert!(error.contains("belongs to uid 12345"), "{error}");
    }
}

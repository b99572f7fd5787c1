//! The directory that state is kept in.

use super::error::StateError;
use super::journal::Contents;
use super::kept::Kept;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tracing::warn;

/// The directory that state is kept in, which no other switch uses as long as this exists.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    _lock: Flock<File>,
}

impl StateDirectory {
    /// Makes the directory if there is none, and takes it. It is closed to other users.
    ///
    /// # Errors
    /// It cannot be made or opened, or another switch has it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(StateError::os("make directory", path))?;
        let lock = path.join("lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
        let file = options.open(&lock).map_err(StateError::os("open", &lock))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| StateError::InUse(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The path of the journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Reads what is kept; nothing before the first time. If the end of the journal is torn, that is logged, and a
    /// copy of the journal stays beside it.
    ///
    /// # Errors
    /// The journal cannot be read, or makes no sense.
    pub fn read(&self) -> Result<Kept, StateError> {
        let path = self.journal();
        let Some(contents) = Contents::read(&path)? else { return Ok(Kept::default()) };
        let (kept, torn) = Kept::read(&contents)?;
        if let Some(torn) = torn {
            let copy = path.with_extension("torn");
            std::fs::copy(&path, &copy).map_err(StateError::os("write", &copy))?;
            warn!(
                "{}: the last {} bytes, from byte {}, are not a whole record: what was so before them is kept; {} is a copy",
                path.display(),
                torn.size,
                torn.offset,
                copy.display()
            );
        }
        Ok(kept)
    }
}

//! The directory of `--state`, and the lock that keeps other switches out of it.

use super::error::StateError;
use super::journal::{Contents, Journal, sync_directory};
use super::kept::{Kept, Reading};
use crate::lock_file::LockFile;
use control::trust::{Missing, Trust};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tracing::warn;

/// The directory of `--state`. No other switch can use the directory while this value exists.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    lock: LockFile,
}

impl StateDirectory {
    /// Locks the directory, and makes it if it does not exist.
    ///
    /// # Errors
    /// The directory cannot be made or opened, another user than root owns it or can make files in it, or
    /// another switch has locked it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let trust = Trust::of_process().map_err(StateError::directory)?;
        trust.private_folder(path, Missing::Create).map_err(StateError::directory)?;
        let lock = LockFile::take(&path.join("lock"), &trust).map_err(StateError::directory)?;
        let lock = lock.ok_or_else(|| StateError::InUse(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// The directory that another program has locked, whose lock this program takes over. `lock` is a
    /// descriptor of the lock file.
    ///
    /// # Errors
    /// The lock is not the other program's any more.
    pub(crate) fn take_over(path: &Path, lock: OwnedFd) -> Result<Self, StateError> {
        let lock = LockFile::take_over(&path.join("lock"), lock).map_err(StateError::directory)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// A descriptor of the lock file, for a program that takes over.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn lock_descriptor(&self) -> Result<OwnedFd, StateError> {
        self.lock.descriptor().map_err(StateError::os("open", &self.path))
    }

    /// The path of the journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Reads the journal; `None` if the directory has none yet.
    ///
    /// # Errors
    /// The file cannot be read, is not a journal, or has a format that this version does not know.
    pub fn read(&self) -> Result<Option<Contents>, StateError> {
        Contents::read(&self.journal())
    }

    /// Returns the state that the contents of the journal keep, and the journal to append to. If the end of the
    /// journal is torn, a line in the log says so, a copy of the file is left beside the journal, and no
    /// journal is returned: the caller has to make a new one. No journal is returned either if an older version
    /// has written it.
    ///
    /// # Errors
    /// A whole record has bytes that are not a change, or the copy cannot be made.
    pub fn keep<'a>(
        &self,
        contents: Option<&'a Contents>,
    ) -> Result<(Kept<'a>, Option<Journal>), StateError> {
        let Some(contents) = contents else { return Ok(Default::default()) };
        let Reading { kept, torn, is_current } = Kept::read(contents)?;
        let Some(torn) = torn else {
            let journal = is_current.then(|| Journal::resume(contents)).transpose()?;
            return Ok((kept, journal));
        };
        let path = self.journal();
        let copy = path.with_extension("torn");
        fs::copy(&path, &copy).map_err(StateError::os("write", &copy))?;
        warn!(
            "{}: the last {} bytes, from byte {}, are not a whole record: what was so before them is kept; {} is a copy",
            path.display(),
            torn.size,
            torn.offset,
            copy.display()
        );
        Ok((kept, None))
    }
}

/// Writes a file of the state directory anew. After a crash or a power cut the file is the old
/// one or the new one.
///
/// # Errors
/// The file cannot be written. The old one is still there.
pub(crate) fn replace_file(path: &Path, contents: &[u8]) -> Result<(), StateError> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new).map_err(StateError::os("create", &new))?;
    let written = file.write_all(contents).and_then(|()| file.sync_all());
    written.map_err(StateError::os("write", &new))?;
    fs::rename(&new, path).map_err(StateError::os("rename", &new))?;
    sync_directory(path)
}

/// Removes a file of the state directory, so that it is not there after a power cut either. A file that is not
/// there is no error.
///
/// # Errors
/// The file cannot be removed.
pub(crate) fn remove_file(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(StateError::os("remove", path))?,
    }
    sync_directory(path)
}

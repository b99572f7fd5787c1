//! The directory of `--state`, and the lock that keeps other switches out of it.

use super::error::StateError;
use super::journal::{Contents, Journal};
use super::kept::Kept;
use crate::lock_file::LockFile;
use control::trust::{Missing, Trust};
use std::path::{Path, PathBuf};
use tracing::warn;

/// The directory of `--state`. No other switch can use the directory while this value exists.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    _lock: LockFile,
}

impl StateDirectory {
    /// Locks the directory, and makes it if it does not exist.
    ///
    /// # Errors
    /// The directory cannot be made or opened, another user than root owns it or can make files in it, or another switch
    /// has locked it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let trust = Trust::of_process().map_err(StateError::directory)?;
        trust.private_folder(path, Missing::Create).map_err(StateError::directory)?;
        let lock = LockFile::take(&path.join("lock"), &trust).map_err(StateError::directory)?;
        let lock = lock.ok_or_else(|| StateError::InUse(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
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

    /// Returns the state that the contents of the journal keep, and the journal to append to. If the end of the journal is
    /// torn, a line in the log says so, a copy of the file is left beside the journal, and no journal is returned: the
    /// caller has to make a new one.
    ///
    /// # Errors
    /// A whole record has a line that is not a change, or the copy cannot be made.
    pub fn keep<'a>(
        &self,
        contents: Option<&'a Contents>,
    ) -> Result<(Kept<'a>, Option<Journal>), StateError> {
        let Some(contents) = contents else { return Ok(Default::default()) };
        let (kept, torn) = Kept::read(contents)?;
        let Some(torn) = torn else {
            let journal = Journal::resume(contents)?;
            return Ok((kept, Some(journal)));
        };
        let path = self.journal();
        let copy = path.with_extension("torn");
        std::fs::copy(&path, &copy).map_err(StateError::os("write", &copy))?;
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

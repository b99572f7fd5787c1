//! The directory that state is kept in.

use super::error::StateError;
use super::journal::{Contents, Journal};
use super::kept::Kept;
use crate::lock_file::LockFile;
use control::trust::{Missing, Trust};
use std::path::{Path, PathBuf};
use tracing::warn;

/// The directory that state is kept in, which no other switch uses as long as this exists.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    _lock: LockFile,
}

impl StateDirectory {
    /// Makes the directory if there is none, and takes it. No other user than root can have made it, or can make files in
    /// it.
    ///
    /// # Errors
    /// It cannot be made or opened, or another switch has it.
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

    /// Reads the journal; `None` before the first time.
    ///
    /// # Errors
    /// It cannot be read, is not a journal, or has a format that this version does not know.
    pub fn read(&self) -> Result<Option<Contents>, StateError> {
        Contents::read(&self.journal())
    }

    /// What the journal of this directory keeps, and the journal to go on with. If its end is torn, that is logged, a
    /// copy stays beside the journal, and there has to be a new one.
    ///
    /// # Errors
    /// A record makes no sense, or the copy cannot be made.
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

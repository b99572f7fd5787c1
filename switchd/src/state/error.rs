//! The errors of kept state.

use crate::desired::{DesiredError, FileError};
use flowtable::policy::FlowModError;
use std::io;
use std::path::PathBuf;

/// The reason why state cannot be read, kept or restored. Sessions that wait for the same write
/// get copies of one error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The kernel refused an operation on a file or a directory.
    #[error("{doing} {}: {error}", path.display())]
    Os {
        /// The operation, as a verb: `write`.
        doing: &'static str,
        /// The path of the file or directory.
        path: PathBuf,
        /// The error of the kernel, in words.
        error: String,
    },
    /// The directory or its lock cannot be used, for example because another user owns it.
    /// The text is the reason.
    #[error("state directory: {0}")]
    Directory(String),
    /// Another switch has locked the directory with this path.
    #[error(
        "state directory {}: another switchd keeps its state there; give each its own --state",
        .0.display()
    )]
    InUse(PathBuf),
    /// The file with this path is not a journal.
    #[error("{} is not a journal of switchd: move it away", .0.display())]
    NotAJournal(PathBuf),
    /// The file with this path is not the state before a change.
    #[error("{} is not the state before a change: move it away", .0.display())]
    NotATrial(PathBuf),
    /// The state before a change that was not confirmed cannot be read.
    #[error("the state before a change that was not confirmed: {0}")]
    Trial(Box<FileError>),
    /// The journal has a format that only newer versions read.
    #[error(
        "{}: has format {found}, this version reads up to {known}; start the newer version again, or another --state",
        path.display()
    )]
    Newer {
        /// The path of the journal.
        path: PathBuf,
        /// The number of the journal's format.
        found: u32,
        /// The number of the newest format that this version reads.
        known: u32,
    },
    /// A whole record has bytes that are not a change.
    #[error("{}: the record at byte {offset}: {why}", path.display())]
    Record {
        /// The path of the journal.
        path: PathBuf,
        /// The offset of the record in the file, in bytes.
        offset: u64,
        /// The reason, in words, with the change.
        why: String,
    },
    /// The match of a kept rule cannot be read. The text shows the place in the match.
    #[error("{0}")]
    Match(String),
    /// The policy refuses a kept rule or group.
    #[error("bridge \"{bridge}\": the kept {what} is refused: {error}")]
    Refused {
        /// The name of the bridge.
        bridge: String,
        /// The kept rule or group, as JSON.
        what: String,
        /// The error of the policy.
        error: FlowModError,
    },
    /// The kept bridges and ports contradict the command line or the configuration file.
    #[error("what is kept and the configuration contradict each other: {0}")]
    Contradiction(#[from] DesiredError),
}

impl StateError {
    /// For `map_err`: an error about the directory, with its causes.
    pub(super) fn directory(error: impl Into<anyhow::Error>) -> Self {
        Self::Directory(format!("{:#}", error.into()))
    }

    /// For `map_err`: adds the operation, as a verb, and the path to an error of the kernel.
    pub(crate) fn os(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Os { doing, path, error: error.to_string() }
    }
}

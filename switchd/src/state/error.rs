//! Why state cannot be read, kept or restored.

use crate::desired::DesiredError;
use flowtable::policy::FlowModError;
use std::io;
use std::path::PathBuf;

/// State cannot be read, kept or restored.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Something could not be done with a file or a directory.
    #[error("{doing} {}: {error}", path.display())]
    Os {
        /// What was to be done, as a verb: `write`.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why the kernel refused it, in words.
        error: String,
    },
    /// The directory or its lock cannot be used, in words: another user could exchange what lies there, say.
    #[error("state directory: {0}")]
    Directory(String),
    /// Another switch keeps its state in the same directory.
    #[error(
        "state directory {}: another switchd keeps its state there; give each its own --state",
        .0.display()
    )]
    InUse(PathBuf),
    /// The file is not a journal.
    #[error("{} is not a journal of switchd: move it away", .0.display())]
    NotAJournal(PathBuf),
    /// A newer version wrote the journal.
    #[error(
        "{}: has format {found}, this version reads up to {known}; start the newer version again, or another --state",
        path.display()
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// The format of the journal.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// A record that was written whole makes no sense.
    #[error("{}: the record at byte {offset}: {why}", path.display())]
    Record {
        /// The journal.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// What is wrong with the record.
        why: String,
    },
    /// The match of a rule cannot be read. The text shows where.
    #[error("{0}")]
    Match(String),
    /// The policy refuses a kept rule or group.
    #[error("bridge \"{bridge}\": the kept {what} is refused: {error}")]
    Refused {
        /// The name of the bridge.
        bridge: String,
        /// What is refused, as JSON.
        what: String,
        /// Why the policy refuses it.
        error: FlowModError,
    },
    /// What is kept contradicts what the command line or the file says now.
    #[error("what is kept and the configuration contradict each other: {0}")]
    Contradiction(#[from] DesiredError),
}

impl StateError {
    /// For `map_err`: the error with its causes, in words.
    pub(super) fn directory(error: impl Into<anyhow::Error>) -> Self {
        Self::Directory(format!("{:#}", error.into()))
    }

    /// For `map_err`: names what was to be done, and with which file.
    pub(super) fn os(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Os { doing, path, error: error.to_string() }
    }
}

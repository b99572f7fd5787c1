//! A change that is taken back unless somebody confirms it.
//!
//! With a state directory, the state before the change is in a file, `DIR/trial`, from before the change begins
//! until the change is kept or confirmed. A switch that finds the file at its start begins with that state. So
//! a crash in the middle of a change, and a crash before the confirmation, take the change back.

use crate::state::{StateError, remove_file, replace_file};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first line of the file, without the [`Author`] behind it. For TOML the line is a comment.
const TITLE: &str = "# switchd trial, format 1: ";

/// Who makes a change, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The user: `root`, `user alice (uid 1000)`.
    pub who: String,
    /// The change: `apply new.toml`.
    pub what: String,
}

/// A change that is being made, or that waits to be confirmed.
#[derive(Debug)]
pub struct Trial {
    /// Who has made the change.
    pub author: Author,
    /// When the change is taken back; `None` if the change does not wait to be confirmed.
    pub until: Option<Instant>,
    /// The state before the change, as text.
    pub(crate) before: Arc<str>,
    /// `DIR/trial`; `None` without `--state`.
    path: Option<PathBuf>,
}

impl Trial {
    /// Puts the state before a change into the state directory `state`, if there is one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn begin(
        state: Option<&Path>,
        author: Author,
        before: Arc<str>,
    ) -> Result<Self, StateError> {
        let path = state.map(path);
        if let Some(path) = &path {
            let head = serde_json::to_string(&author).unwrap_or_default();
            replace_file(path, format!("{TITLE}{head}\n{before}").as_bytes())?;
        }
        Ok(Self { author, until: None, before, path })
    }

    /// Ends the trial: the state that the switch has now is the one to start with.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn end(&self) -> Result<(), StateError> {
        self.path.as_deref().map_or(Ok(()), remove_file)
    }

    /// The time until the change is taken back; `None` if the change does not wait to be confirmed.
    pub fn left(&self) -> Option<Duration> {
        Some(self.until?.saturating_duration_since(Instant::now()))
    }

    /// The state before a change that was neither kept nor confirmed when the last switch ended, and who has
    /// made the change; `None` if there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn left_behind(state: &Path) -> Result<Option<(Author, String)>, StateError> {
        let path = path(state);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::os("read", &path)(error)),
        };
        let head = text.lines().next().and_then(|line| line.strip_prefix(TITLE));
        let author = head.and_then(|head| serde_json::from_str(head).ok());
        match author {
            Some(author) => Ok(Some((author, text))),
            None => Err(StateError::NotATrial(path)),
        }
    }

    /// Removes the file of a change that the switch has taken back at its start.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn forget(state: &Path) -> Result<(), StateError> {
        remove_file(&path(state))
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("trial")
}

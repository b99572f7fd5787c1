//! The last states of a switch, each as it was before a change.

use super::plan::PlanLine;
use super::trial::Author;
use crate::state::{StateError, remove_file, replace_file};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::warn;

/// The number of states that are stored.
const MAX_ENTRIES: usize = 10;

/// The bytes that the states of a switch without `--state` have together, at most. The newest state is kept
/// whatever its size.
const MAX_MEMORY: usize = 64 << 20;

/// The first line of a state's file, without the [`HistoryEntry`] behind it. For TOML the line is a comment.
const TITLE: &str = "# switchd history, format 1: ";

/// A state that can be returned to, and the change that ended it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The number of the state, counted from 1 since the first start with this state directory.
    pub number: u64,
    /// The time of the change, in seconds since 1970 (UTC).
    pub time: u64,
    /// The user who has made the change.
    pub who: String,
    /// The change: `apply new.toml`.
    pub what: String,
    /// Bridges, ports, groups, rules and hosts that the change has added.
    pub added: u64,
    /// As `added`, for those that it has removed.
    pub removed: u64,
    /// As `added`, for those that it has changed.
    pub changed: u64,
}

/// The last ten states. With a state directory each state is a file; without one the states are in memory.
#[derive(Debug)]
pub struct History {
    /// `DIR/history`; `None` without `--state`.
    directory: Option<PathBuf>,
    /// The oldest one first.
    entries: VecDeque<StoredState>,
    next: u64,
}

#[derive(Debug)]
struct StoredState {
    entry: HistoryEntry,
    /// `None` if the text is in a file.
    text: Option<Arc<str>>,
}

impl History {
    /// The history of the state directory `state`, or an empty one in memory. A file that cannot be read is
    /// left out, and the log says so.
    ///
    /// # Errors
    /// The directory of the history cannot be made or read.
    pub fn open(state: Option<&Path>) -> Result<Self, StateError> {
        let directory = state.map(|state| state.join("history"));
        let mut entries = Vec::new();
        if let Some(directory) = &directory {
            fs::create_dir_all(directory).map_err(StateError::os("make", directory))?;
            let files = fs::read_dir(directory).map_err(StateError::os("read", directory))?;
            for path in files.flatten().map(|file| file.path()) {
                if path.extension().is_none_or(|extension| extension != "toml") {
                    continue;
                }
                match fs::read_to_string(&path).map(|text| entry_of(&text)) {
                    Ok(Some(entry)) => entries.push(StoredState { entry, text: None }),
                    Ok(None) => warn!("{} is not a state of the history: left out", path.display()),
                    Err(error) => warn!("{}: {error}: left out", path.display()),
                }
            }
        }
        entries.sort_by_key(|stored| stored.entry.number);
        let next = entries.last().map_or(1, |stored| stored.entry.number + 1);
        Ok(Self { directory, entries: entries.into(), next })
    }

    /// Keeps a state, which a change is about to end or has ended. Returns the number of the state.
    ///
    /// # Errors
    /// The file cannot be written. The history has not changed then.
    pub fn add(
        &mut self,
        before: &str,
        author: &Author,
        lines: &[PlanLine],
    ) -> Result<u64, StateError> {
        let number = self.next;
        let count = |sign| lines.iter().filter(|line| line.sign() == sign).count() as u64;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let entry = HistoryEntry {
            number,
            time,
            who: author.who.clone(),
            what: author.what.clone(),
            added: count('+'),
            removed: count('-'),
            changed: count('~'),
        };
        let text = match &self.directory {
            Some(directory) => {
                let head = serde_json::to_string(&entry).unwrap_or_default();
                let text = format!("{TITLE}{head}\n{before}");
                replace_file(&path(directory, number), text.as_bytes())?;
                None
            }
            None => Some(before.into()),
        };
        self.entries.push_back(StoredState { entry, text });
        self.next += 1;
        self.drop_oldest();
        Ok(number)
    }

    /// Takes a state out again, because its change was not made.
    pub fn forget(&mut self, number: u64) {
        if let Some(index) = self.entries.iter().position(|stored| stored.entry.number == number) {
            self.entries.remove(index);
            if number + 1 == self.next {
                self.next = number;
            }
            self.remove_file(number);
        }
    }

    /// The states that can be returned to, the oldest one first.
    pub fn entries(&self) -> Vec<HistoryEntry> {
        self.entries.iter().map(|stored| stored.entry.clone()).collect()
    }

    /// The text of a state; `None` if the history has no state of this number.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn text(&self, number: u64) -> Result<Option<Arc<str>>, StateError> {
        let Some(stored) = self.entries.iter().find(|stored| stored.entry.number == number) else {
            return Ok(None);
        };
        match (&stored.text, &self.directory) {
            (Some(text), _) => Ok(Some(Arc::clone(text))),
            (None, Some(directory)) => {
                let path = path(directory, number);
                let text = fs::read_to_string(&path).map_err(StateError::os("read", &path))?;
                Ok(Some(text.into()))
            }
            (None, None) => Ok(None),
        }
    }

    fn drop_oldest(&mut self) {
        let size = |stored: &StoredState| stored.text.as_ref().map_or(0, |text| text.len());
        while self.entries.len() > MAX_ENTRIES
            || self.entries.len() > 1 && self.entries.iter().map(size).sum::<usize>() > MAX_MEMORY
        {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.remove_file(oldest.entry.number);
        }
    }

    fn remove_file(&self, number: u64) {
        if let Some(directory) = &self.directory
            && let Err(error) = remove_file(&path(directory, number))
        {
            warn!("{error}");
        }
    }
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number}.toml"))
}

/// The entry in the first line of a state's file; `None` if the file is not one.
fn entry_of(text: &str) -> Option<HistoryEntry> {
    let head = text.lines().next()?.strip_prefix(TITLE)?;
    serde_json::from_str(head).ok()
}

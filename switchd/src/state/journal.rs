//! The journal: a file of records. A reader gets each record whole, or not at all.
//!
//! ```text
//! switchd journal, format 2
//! record 000000000097 5d41402a
//! {"bridge":"br0"}
//! {"no-group":7}
//! ```
//!
//! A record has the changes of one transaction. The first line of a record has the size of the changes in
//! bytes, and their CRC-32 in hexadecimal. A change is a line of JSON or, if it is about a rule, bytes
//! ([`rule_bytes`](super::rule_bytes)). The first record says which parts of matches the numbers in these bytes
//! mean. In format 1 rules are lines of JSON, too.
//!
//! A write that was cut off leaves an incomplete record at the end of the file. The reader ignores an
//! incomplete record, and tells its caller.

use super::change::Change;
use super::error::StateError;
use super::rule_bytes::{WrittenRule, write_no_rule};
use flow::Match;
use flow::packed;
use flow::types::TableId;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The newest format that this version reads, and the one that it writes.
const FORMAT: u32 = 2;
/// The first line of the file, without the number of the format.
const TITLE: &str = "switchd journal, format ";

/// An open journal, to which the thread of the keeper appends records.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// The size of the title and all whole records in bytes: the place of the next record.
    size: u64,
}

/// The bytes of a journal that was read.
#[derive(Debug)]
pub struct Contents {
    bytes: Vec<u8>,
    path: PathBuf,
    /// The offset of the first record in bytes.
    start: usize,
    /// The number of the format.
    format: u32,
}

/// The incomplete record at the end of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    /// The offset of the incomplete record in bytes.
    pub(super) offset: usize,
    /// The number of bytes from there to the end of the file.
    pub(super) size: usize,
}

impl Journal {
    /// Replaces the journal at `path` by a new one with the records that `fill` writes. The old journal stays
    /// in place until the new one is on the disk.
    ///
    /// # Errors
    /// A file could not be written. The journal at `path` is either the old one or the new one.
    pub(super) fn replace(
        path: &Path,
        fill: impl FnOnce(&mut Filling) -> Result<(), StateError>,
    ) -> Result<Self, StateError> {
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&new).map_err(StateError::os("create", &new))?;
        let (file, size) = write(file, &new, fill)?;
        file.sync_all().map_err(StateError::os("write", &new))?;
        std::fs::rename(&new, path).map_err(StateError::os("rename", &new))?;
        sync_directory(path)?;
        Ok(Self { file, path: path.to_owned(), size })
    }

    /// Appends whole records.
    ///
    /// # Errors
    /// The file could not be written. The journal has none of the records.
    pub(super) fn append(&mut self, records: &[u8]) -> Result<(), StateError> {
        let written = self.file.write_all_at(records, self.size);
        if let Err(error) = written {
            // A reader would stop at half a record.
            let _ = self.file.set_len(self.size);
            return Err(StateError::os("write", &self.path)(error));
        }
        self.size += records.len() as u64;
        Ok(())
    }

    /// Returns once the disk has all records that were appended.
    ///
    /// # Errors
    /// The disk refused to write. Nobody knows which of the latest records it has.
    pub(super) fn sync(&self) -> Result<(), StateError> {
        self.file.sync_data().map_err(StateError::os("write", &self.path))
    }

    /// Opens a journal that was read, to append to it. All its records have to be whole.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn resume(contents: &Contents) -> Result<Self, StateError> {
        let path = &contents.path;
        let file = OpenOptions::new().write(true).open(path);
        let file = file.map_err(StateError::os("open", path))?;
        Ok(Self { file, path: path.clone(), size: contents.bytes.len() as u64 })
    }

    /// The size of the file in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

/// Writes a journal with the records that `fill` writes into an empty file, which `path` names in errors.
/// Returns the file, and its size in bytes.
pub(super) fn write(
    file: File,
    path: &Path,
    fill: impl FnOnce(&mut Filling) -> Result<(), StateError>,
) -> Result<(File, u64), StateError> {
    let mut filling = Filling { writer: BufWriter::new(file), path: path.to_owned(), size: 0 };
    let mut head = format!("{TITLE}{FORMAT}\n").into_bytes();
    let mut record = Record::begin(&mut head);
    record.push(&Change::MatchParts(packed::parts().into()));
    record.finish();
    filling.write(&head)?;
    fill(&mut filling)?;
    let size = filling.size;
    let file = filling.writer.into_inner().map_err(|error| error.into_error());
    Ok((file.map_err(StateError::os("write", path))?, size))
}

/// A new journal that is not in its place yet.
#[derive(Debug)]
pub(super) struct Filling {
    writer: BufWriter<File>,
    path: PathBuf,
    size: u64,
}

impl Filling {
    /// Appends whole records.
    pub(super) fn write(&mut self, records: &[u8]) -> Result<(), StateError> {
        self.size += records.len() as u64;
        self.writer.write_all(records).map_err(StateError::os("write", &self.path))
    }
}

/// Brings the new name of a renamed file onto the disk: the directory holds names.
pub(super) fn sync_directory(path: &Path) -> Result<(), StateError> {
    let Some(directory) = path.parent() else { return Ok(()) };
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(StateError::os("write", directory))
}

/// A record that is being written to the end of a buffer.
#[derive(Debug)]
pub(super) struct Record<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

/// The size of the first line of a record in bytes.
const HEAD: usize = "record 000000000000 00000000\n".len();

impl<'a> Record<'a> {
    /// Begins a record behind the bytes of `out`.
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.resize(start + HEAD, 0);
        Self { out, start }
    }

    /// Adds a change as a line.
    pub(super) fn push(&mut self, change: &Change<'_>) {
        // Writing to a vector cannot fail, and no map in a change has keys that JSON cannot have.
        let _ = serde_json::to_writer(&mut *self.out, change);
        self.out.push(b'\n');
    }

    /// Adds a rule that the bridge has, as bytes.
    pub(super) fn push_rule(&mut self, rule: &WrittenRule<'_>) {
        rule.write(self.out);
    }

    /// Adds changes about rules that are bytes already.
    pub(super) fn push_bytes(&mut self, changes: &[u8]) {
        self.out.extend_from_slice(changes);
    }

    /// Adds that the bridge has no rule at a place, as bytes.
    pub(super) fn push_no_rule(&mut self, table: TableId, priority: u16, matching: &Match) {
        write_no_rule(self.out, table, priority, matching);
    }

    /// The size of the changes so far in bytes, the first line of the record not included.
    pub(super) fn size(&self) -> usize {
        self.out.len() - self.start - HEAD
    }

    /// Ends the record: writes its first line, for which [`Self::begin`] left room.
    pub(super) fn finish(self) {
        let (size, crc) = (self.size(), crc32fast::hash(&self.out[self.start + HEAD..]));
        let head = format!("record {size:012} {crc:08x}\n");
        self.out[self.start..self.start + HEAD].copy_from_slice(head.as_bytes());
    }
}

impl Contents {
    /// Reads a journal; `None` if there is none.
    ///
    /// # Errors
    /// The file cannot be read, or has bytes that [`Self::new`] refuses.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, StateError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::os("read", path)(error)),
        };
        Self::new(path, bytes).map(Some)
    }

    /// Takes the bytes of the journal at `path`.
    ///
    /// # Errors
    /// The bytes do not begin with the title of a journal, or the title names a format that
    /// this version does not know.
    pub(super) fn new(path: &Path, bytes: Vec<u8>) -> Result<Self, StateError> {
        let not_a_journal = || StateError::NotAJournal(path.to_owned());
        let (title, _) = line(&bytes).ok_or_else(not_a_journal)?;
        let format = title.strip_prefix(TITLE).and_then(|format| format.parse().ok());
        match format {
            Some(format @ 1..=FORMAT) => {
                let start = title.len() + 1;
                Ok(Self { bytes, path: path.to_owned(), start, format })
            }
            Some(found) => Err(StateError::Newer { path: path.to_owned(), found, known: FORMAT }),
            None => Err(not_a_journal()),
        }
    }

    /// Whether the journal has the format that this version writes.
    pub(super) fn has_current_format(&self) -> bool {
        self.format == FORMAT
    }

    /// Calls `visit` with the changes of each whole record, in their order. Returns the incomplete record at
    /// the end, if there is one.
    ///
    /// # Errors
    /// `visit` refused the changes of a record. The error has the offset of the record.
    pub(super) fn for_each<'a>(
        &'a self,
        mut visit: impl FnMut(&'a [u8]) -> Result<(), String>,
    ) -> Result<Option<Torn>, StateError> {
        let mut offset = self.start;
        while offset < self.bytes.len() {
            let rest = &self.bytes[offset..];
            let Some((changes, size)) = record(rest) else {
                return Ok(Some(Torn { offset, size: rest.len() }));
            };
            visit(changes).map_err(|why| StateError::Record {
                path: self.path.clone(),
                offset: offset as u64,
                why,
            })?;
            offset += size;
        }
        Ok(None)
    }
}

/// The changes of the record at the beginning of `bytes`, and the size of the record in bytes; `None` if the
/// record is incomplete.
fn record(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (head, rest) = line(bytes)?;
    let (size, crc) = head.strip_prefix("record ")?.split_once(' ')?;
    let (size, crc) = (size.parse::<usize>().ok()?, u32::from_str_radix(crc, 16).ok()?);
    let changes = rest.get(..size)?;
    (crc32fast::hash(changes) == crc).then_some((changes, head.len() + 1 + size))
}

/// The first line of `bytes`, and the bytes behind it; `None` if the line does not end within 100 bytes.
fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().take(100).position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

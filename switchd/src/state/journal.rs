//! The journal: a file of records, each of which is there as a whole or not at all.
//!
//! ```text
//! switchd journal, format 1
//! record 000000000097 5d41402a
//! {"bridge":"br0"}
//! {"rule":{"table":0,"priority":5,"match":"ip","actions":[{"output":{"port":2}}]}}
//! ```
//!
//! A record is what one transaction changed. Its first line has the size of the lines behind it in bytes, and their
//! CRC-32 in hexadecimal. What comes behind the last record that is whole is from a write that did not reach its end: a
//! reader leaves it out, and says so.

use super::change::Change;
use super::error::StateError;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The newest format that this version reads, and the one that it writes.
const FORMAT: u32 = 1;
const TITLE: &str = "switchd journal, format ";

/// A journal that records are appended to.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// Size of the records that are whole, in bytes, the title included.
    size: u64,
}

/// The records of a journal that was read.
#[derive(Debug)]
pub struct Contents {
    bytes: Vec<u8>,
    path: PathBuf,
    /// Where the first record begins.
    start: usize,
}

/// The end of a journal that is not a whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    /// Where the last whole record ends.
    pub(super) offset: usize,
    /// Bytes behind it.
    pub(super) size: usize,
}

impl Journal {
    /// Replaces the journal of this name by a new one, of which `fill` writes the records. The old one stays as it is
    /// until the new one is on the disk.
    ///
    /// # Errors
    /// The file could not be written; the old one is as it was.
    pub(super) fn replace(
        path: &Path,
        fill: impl FnOnce(&mut Filling) -> Result<(), StateError>,
    ) -> Result<Self, StateError> {
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&new).map_err(StateError::os("create", &new))?;
        let mut filling = Filling { writer: BufWriter::new(file), path: new.clone(), size: 0 };
        filling.write(format!("{TITLE}{FORMAT}\n").as_bytes())?;
        fill(&mut filling)?;
        let size = filling.size;
        let file = filling.writer.into_inner().map_err(|error| error.into_error());
        let file = file.map_err(StateError::os("write", &new))?;
        file.sync_all().map_err(StateError::os("write", &new))?;
        std::fs::rename(&new, path).map_err(StateError::os("rename", &new))?;
        sync_directory(path)?;
        Ok(Self { file, path: path.to_owned(), size })
    }

    /// Appends whole records.
    ///
    /// # Errors
    /// They could not be written; the journal has none of them.
    pub(super) fn append(&mut self, records: &[u8]) -> Result<(), StateError> {
        let written = self.file.write_all_at(records, self.size);
        if let Err(error) = written {
            // Half a record would hide those behind it.
            let _ = self.file.set_len(self.size);
            return Err(StateError::os("write", &self.path)(error));
        }
        self.size += records.len() as u64;
        Ok(())
    }

    /// Returns once everything that was appended is on the disk.
    ///
    /// # Errors
    /// The disk refused it. What it has of the latest records is not known.
    pub(super) fn sync(&self) -> Result<(), StateError> {
        self.file.sync_data().map_err(StateError::os("write", &self.path))
    }

    /// Goes on with a journal that was read, and of which every record is whole.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn resume(contents: &Contents) -> Result<Self, StateError> {
        let path = &contents.path;
        let file = OpenOptions::new().write(true).open(path);
        let file = file.map_err(StateError::os("open", path))?;
        Ok(Self { file, path: path.clone(), size: contents.bytes.len() as u64 })
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

/// A new journal while it is written.
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

/// A renamed file is on the disk once its directory is.
fn sync_directory(path: &Path) -> Result<(), StateError> {
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

/// Size of a record's first line in bytes.
const HEAD: usize = "record 000000000000 00000000\n".len();

impl<'a> Record<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.resize(start + HEAD, 0);
        Self { out, start }
    }

    /// Adds a line.
    pub(super) fn push(&mut self, change: &Change<'_>) {
        // Writing to a vector cannot fail, and changes have no keys that JSON does not have.
        let _ = serde_json::to_writer(&mut *self.out, change);
        self.out.push(b'\n');
    }

    /// Size of the lines so far in bytes.
    pub(super) fn size(&self) -> usize {
        self.out.len() - self.start - HEAD
    }

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
    /// It cannot be read, or as for [`Self::new`].
    pub(super) fn read(path: &Path) -> Result<Option<Self>, StateError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::os("read", path)(error)),
        };
        Self::new(path, bytes).map(Some)
    }

    /// The contents of a journal of this name.
    ///
    /// # Errors
    /// They are not those of a journal, or have a format that this version does not know.
    pub(super) fn new(path: &Path, bytes: Vec<u8>) -> Result<Self, StateError> {
        let not_a_journal = || StateError::NotAJournal(path.to_owned());
        let (title, _) = line(&bytes).ok_or_else(not_a_journal)?;
        let format = title.strip_prefix(TITLE).and_then(|format| format.parse().ok());
        match format {
            Some(1..=FORMAT) => {
                let start = title.len() + 1;
                Ok(Self { bytes, path: path.to_owned(), start })
            }
            Some(found) => Err(StateError::Newer { path: path.to_owned(), found, known: FORMAT }),
            None => Err(not_a_journal()),
        }
    }

    /// Shows the lines of each whole record to `visit`, in order. Returns the end that is not whole, if there is one.
    ///
    /// # Errors
    /// What `visit` finds wrong with a record, with the place of the record.
    pub(super) fn for_each<'a>(
        &'a self,
        mut visit: impl FnMut(&'a str) -> Result<(), String>,
    ) -> Result<Option<Torn>, StateError> {
        let mut offset = self.start;
        while offset < self.bytes.len() {
            let rest = &self.bytes[offset..];
            let Some((lines, size)) = record(rest) else {
                return Ok(Some(Torn { offset, size: rest.len() }));
            };
            visit(lines).map_err(|why| StateError::Record {
                path: self.path.clone(),
                offset: offset as u64,
                why,
            })?;
            offset += size;
        }
        Ok(None)
    }
}

/// The lines of the record that bytes begin with, and its size; `None` if it is not whole.
fn record(bytes: &[u8]) -> Option<(&str, usize)> {
    let (head, rest) = line(bytes)?;
    let (size, crc) = head.strip_prefix("record ")?.split_once(' ')?;
    let (size, crc) = (size.parse::<usize>().ok()?, u32::from_str_radix(crc, 16).ok()?);
    let lines = rest.get(..size)?;
    if crc32fast::hash(lines) != crc {
        return None;
    }
    Some((std::str::from_utf8(lines).ok()?, head.len() + 1 + size))
}

/// The first line, and what is behind it. `None` if it has no end.
fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().take(100).position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

//! Writes to standard output, buffered, as text or JSON. A list from the daemon is written while it arrives, so
//! that a dump of a million rules needs little memory.
//!
//! Whatever is written, nothing reaches the terminal that it would obey
//! ([`printable`]): names come from elsewhere.

use crate::Outcome;
use crate::options::How;
use control::{Changed, Reply};
use flow::text::printable;
use std::io::{self, BufWriter, StdoutLock, Write};

/// Standard output with a buffer, to which verbs write their answers.
pub(crate) struct Output {
    to: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Locks standard output for the answer of one verb.
    pub(crate) fn new() -> Self {
        Self { to: BufWriter::with_capacity(1 << 16, io::stdout().lock()) }
    }

    /// Writes the contents of the buffer. Without this call they may be lost.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        Ok(self.to.flush()?)
    }
}

impl Write for Output {
    /// Writes all bytes, which are whole characters, or fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match bytes.iter().any(|&byte| may_be_obeyed(byte)) {
            false => self.to.write_all(bytes)?,
            true => self.to.write_all(printable(&String::from_utf8_lossy(bytes)).as_bytes())?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Whether the byte can belong to a character that [`printable`] replaces. Text in ASCII has no such byte.
fn may_be_obeyed(byte: u8) -> bool {
    (byte < b' ' && byte != b'\n' && byte != b'\t') || byte >= 0x7f
}

/// Prints a note on standard error: what the user should know beside the answer.
pub(crate) fn note(text: &str) {
    eprintln!("note: {}", printable(text));
}

/// Tells what a verb has changed: with `--json` as an object, else nothing but the notes, on standard error.
pub(crate) fn tell_change(how: &How, changed: &Changed) -> anyhow::Result<Outcome> {
    #[derive(serde::Serialize)]
    struct Change<'a> {
        n_changed: u64,
        notes: &'a [String],
    }
    let Changed { count, notes } = changed;
    match how.json {
        true => print_json(&Change { n_changed: *count, notes })?,
        false => notes.iter().for_each(|text| note(text)),
    }
    Ok(Outcome::Done)
}

/// As [`tell_change`], for a request that changes one thing, or says in its reply how many.
pub(crate) fn tell_reply(how: &How, reply: &Reply) -> anyhow::Result<Outcome> {
    match reply {
        Reply::Changed(changed) => tell_change(how, changed),
        _ => tell_change(how, &Changed { count: 1, notes: Vec::new() }),
    }
}

/// Prints text to standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = Output::new();
    out.write_all(text.as_bytes())?;
    out.finish()
}

/// Prints a value to standard output as indented JSON with a line feed.
pub(crate) fn print_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    let mut out = Output::new();
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    out.finish()
}

/// Writes lines with one JSON record each as the elements of one JSON array.
pub(crate) struct JsonArray<'a> {
    out: &'a mut Output,
    is_empty: bool,
}

impl<'a> JsonArray<'a> {
    /// An array without elements, which is written to `out`.
    pub(crate) fn new(out: &'a mut Output) -> Self {
        Self { out, is_empty: true }
    }

    /// Adds an element for each line.
    pub(crate) fn add(&mut self, lines: &str) -> io::Result<()> {
        for line in lines.lines() {
            let before: &[u8] = if self.is_empty { b"[\n  " } else { b",\n  " };
            self.is_empty = false;
            self.out.write_all(before)?;
            self.out.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    /// Writes the closing bracket of the array. Without this call the output is no JSON.
    pub(crate) fn end(self) -> io::Result<()> {
        let end: &[u8] = if self.is_empty { b"[]\n" } else { b"\n]\n" };
        self.out.write_all(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_of_every_character_that_is_replaced_is_noticed() {
        for c in (0..0x1_0000).filter_map(char::from_u32) {
            let mut space = [0; 4];
            let text = c.encode_utf8(&mut space);
            let is_noticed = text.bytes().any(may_be_obeyed);
            assert!(is_noticed || printable(text) == *text, "{c:?}");
        }
    }
}

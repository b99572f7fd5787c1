//! Entries of the systemd journal, in its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), so that each field
//! of an event can be searched: `journalctl PRIORITY=4`, `journalctl CODE_MODULE=switchd::monitor`.
//!
//! An entry is a datagram of `KEY=VALUE` lines. The crate tracing-journald is not used because it sends on the
//! thread that logs, which would wait for a journal that is stuck.

use super::Lines;
use nix::sys::stat::fstat;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where the journal takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";
/// The environment variable with device and inode of the stream that leads to the journal: `8:12345`.
const VARIABLE: &str = "JOURNAL_STREAM";

/// Whether standard error leads to the journal, as systemd.exec(5) says a program finds out.
pub(super) fn is_standard_error() -> bool {
    let Ok(found) = fstat(io::stderr()) else { return false };
    std::env::var(VARIABLE).is_ok_and(|text| text == format!("{}:{}", found.st_dev, found.st_ino))
}

/// Makes an entry of each event, and puts it into the queue of the log.
pub(super) struct Entries(pub(super) Lines);

impl<S: Subscriber> Layer<S> for Entries {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut entry = Entry::new(*metadata.level());
        entry.put("CODE_MODULE", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            entry.put("CODE_FILE", file);
            entry.put("CODE_LINE", &line.to_string());
        }
        event.record(&mut entry);
        let message = std::mem::take(&mut entry.message);
        entry.put("MESSAGE", &message);
        let mut queue = &self.0;
        let _ = queue.write_all(&entry.bytes);
    }
}

/// The entry of a text without fields, about the log itself.
pub(super) fn text_entry(text: &str) -> Vec<u8> {
    let mut entry = Entry::new(Level::WARN);
    entry.put("MESSAGE", text);
    entry.bytes
}

/// An entry that is being made.
struct Entry {
    bytes: Vec<u8>,
    /// The text of the event, and the fields behind it, as standard error would have them.
    message: String,
}

impl Entry {
    fn new(level: Level) -> Self {
        let priority = match level {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            Level::DEBUG | Level::TRACE => "7",
        };
        let mut entry = Self { bytes: Vec::new(), message: String::new() };
        entry.put("SYSLOG_IDENTIFIER", "switchd");
        entry.put("PRIORITY", priority);
        entry
    }

    /// Appends a field.
    fn put(&mut self, key: &str, value: &str) {
        self.bytes.extend_from_slice(key.as_bytes());
        if value.contains('\n') {
            // A value of several lines comes with its size in front, in little-endian order.
            self.bytes.push(b'\n');
            self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.bytes.push(b'=');
        }
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'\n');
    }
}

impl Visit for Entry {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = field.name();
        if name == "message" {
            let text = format!("{value:?}");
            self.message.insert_str(0, &text);
            return;
        }
        let value = format!("{value:?}");
        let _ = write!(self.message, " {name}={value}");
        // Names of fields of the journal are capital letters, digits and underscores.
        self.put(&name.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_"), &value);
    }
}

/// Sends each entry to the journal.
pub(super) struct Socket(Option<UnixDatagram>);

impl Socket {
    pub(super) fn new() -> Self {
        Self(UnixDatagram::unbound().ok())
    }
}

impl Write for Socket {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(socket) => socket.send_to(entry, SOCKET),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam::channel;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn an_entry_has_the_fields_of_its_event() {
        let (lines, queue) = channel::bounded(4);
        let subscriber = tracing_subscriber::registry().with(Entries(Lines(lines)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(port = "veth0", n = 3, "two\nlines");
        });
        let entry = queue.recv().unwrap();
        let text = String::from_utf8_lossy(&entry);
        for field in ["SYSLOG_IDENTIFIER=switchd\n", "PRIORITY=4\n", "N=3\n", "PORT=\"veth0\"\n"] {
            assert!(text.contains(field), "{field}: {text}");
        }
        assert!(text.contains("CODE_MODULE=switchd::log::journal::tests\n"), "{text}");
        let message = b"two\nlines port=\"veth0\" n=3";
        let mut wanted = b"MESSAGE\n".to_vec();
        wanted.extend((message.len() as u64).to_le_bytes());
        wanted.extend(message);
        assert!(entry.windows(wanted.len()).any(|part| part == wanted), "{text}");
    }
}

//! The log: lines on standard error, written by a thread of their own.
//!
//! Whoever logs may hold a lock, and standard error may be a terminal that is stopped or a pipe that nobody reads.
//! So a line only goes into a bounded queue; a line that finds the queue full is left out, and counted.
//! Errors of standard error are ignored: a terminal may be closed while the switch runs.

use crossbeam::channel::{self, Receiver, Sender};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The largest number of lines that wait to be written.
const QUEUE: usize = 8192;
/// How long the end of the process waits for a reader of the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The number of lines that found the queue full since the last line was written.
static LOST: AtomicU64 = AtomicU64::new(0);

/// A running log. Dropping it writes the lines that wait, as long as somebody reads them.
pub(crate) struct Log {
    lines: Sender<Vec<u8>>,
    written: Receiver<()>,
}

/// Begins to log, with more lines for a larger number of `-v`. `RUST_LOG` overrides it.
pub(crate) fn start(verbose: u8) -> Log {
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let (lines, queue) = channel::bounded(QUEUE);
    let (done, written) = channel::bounded(1);
    let write = move || {
        write_all(&queue, io::stderr());
        let _ = done.send(());
    };
    // If no thread can be had, the queue is gone and there is no log.
    let _ = std::thread::Builder::new().name("log".to_owned()).spawn(write);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines(lines.clone()))
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        // A message about a line that could not be written would panic if it could not be written either.
        .log_internal_errors(false)
        .init();
    Log { lines, written }
}

impl Drop for Log {
    fn drop(&mut self) {
        // An empty line ends the thread.
        if self.lines.send_timeout(Vec::new(), LAST_LINES).is_ok() {
            let _ = self.written.recv_timeout(LAST_LINES);
        }
    }
}

/// Writes lines until an empty one comes.
fn write_all(queue: &Receiver<Vec<u8>>, mut to: impl Write) {
    while let Ok(line) = queue.recv()
        && !line.is_empty()
    {
        let _ = to.write_all(&line);
        let lost = LOST.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(
                to,
                "{lost} lines of the log were left out, which came faster than they were read"
            );
        }
    }
}

/// Puts lines into the queue.
struct Lines(Sender<Vec<u8>>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Lines {
    /// Takes a whole line: the subscriber passes each event at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(line.to_vec()).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_nobody_reads_stops_no_one_and_counts() {
        let (lines, queue) = channel::bounded(2);
        for line in ["a\n", "b\n", "c\n", "d\n"] {
            (&Lines(lines.clone())).write_all(line.as_bytes()).unwrap();
        }
        drop(lines);
        let mut out = Vec::new();
        write_all(&queue, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "a\n2 lines of the log were left out, which came faster than they were read\nb\n"
        );
    }
}

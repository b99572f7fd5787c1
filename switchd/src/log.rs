//! The log: lines on standard error, or entries of the systemd journal if standard error leads there, written
//! by a thread of their own.
//!
//! Whoever logs may hold a lock, and standard error may be a terminal that is stopped or a pipe that nobody
//! reads. So a line only goes into a bounded queue; a line that finds the queue full is left out, and counted.
//! Errors of standard error are ignored: a terminal may be closed while the switch runs.

mod journal;

use crossbeam::channel::{self, Receiver, Sender};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// The largest number of lines that wait to be written.
const QUEUE: usize = 8192;
/// How long the end of the process waits for a reader of the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The number of lines that found the queue full since the last line was written.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Says what is logged. `None` in a process without a log, such as a test.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

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
    let to_journal = journal::is_standard_error();
    let write = move || {
        match to_journal {
            true => write_all(&queue, &mut journal::Socket::new(), journal::text_entry),
            false => write_all(&queue, &mut io::stderr(), |text| format!("{text}\n").into()),
        }
        let _ = done.send(());
    };
    // If no thread can be had, the queue is gone and there is no log.
    let _ = std::thread::Builder::new().name("log".to_owned()).spawn(write);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let (filter, handle) = reload::Layer::new(filter);
    let _ = FILTER.set(handle);
    let output = match to_journal {
        true => journal::Entries(Lines(lines.clone())).boxed(),
        false => tracing_subscriber::fmt::layer()
            .with_writer(Lines(lines.clone()))
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            // A message about a line that could not be written would panic if it could not be written either.
            .log_internal_errors(false)
            .boxed(),
    };
    tracing_subscriber::registry().with(filter).with(output).init();
    Log { lines, written }
}

/// What is logged, as the environment variable `RUST_LOG` takes it; `off` in a process without a log.
pub(crate) fn filter() -> String {
    let current = FILTER.get().and_then(|handle| handle.with_current(ToString::to_string).ok());
    current.unwrap_or_else(|| "off".to_owned())
}

/// Changes what is logged.
///
/// # Errors
/// The text is no filter, or this process has no log; nothing has changed.
pub(crate) fn set_filter(text: &str) -> Result<(), FilterError> {
    let filter = parse(text)?;
    let handle = FILTER.get().ok_or(FilterError::NoLog)?;
    handle.reload(filter).map_err(|_| FilterError::NoLog)
}

/// Why the log did not get a new filter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    /// A part of the text is no level.
    #[error("\"{0}\" is not a level")]
    Level(String),
    /// The text is no list of levels.
    #[error("not a list of levels: {0}")]
    Text(#[from] tracing_subscriber::filter::ParseError),
    /// The process has no log whose filter could change.
    #[error("this process writes no log")]
    NoLog,
}

/// Reads a filter. A word without `=` has to be a level: `RUST_LOG` takes any other word for the name of a
/// module, so that a misspelt level would switch the log off.
fn parse(text: &str) -> Result<EnvFilter, FilterError> {
    let words = text.split(',').map(str::trim);
    let parse = |word: &str| word.parse::<tracing::level_filters::LevelFilter>();
    // An empty word would be the level "error".
    let is_level = |word: &str| !word.is_empty() && parse(word).is_ok();
    match words.into_iter().find(|word| !word.contains(['=', '[']) && !is_level(word)) {
        Some(word) => Err(FilterError::Level(word.to_owned())),
        None => Ok(EnvFilter::builder().parse(text)?),
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // An empty line ends the thread.
        if self.lines.send_timeout(Vec::new(), LAST_LINES).is_ok() {
            let _ = self.written.recv_timeout(LAST_LINES);
        }
    }
}

/// Writes lines until an empty one comes. `line` makes a line of a text.
fn write_all(queue: &Receiver<Vec<u8>>, to: &mut impl Write, line_of: fn(&str) -> Vec<u8>) {
    while let Ok(line) = queue.recv()
        && !line.is_empty()
    {
        let _ = to.write_all(&line);
        let lost = LOST.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let text = format!(
                "{lost} lines of the log were left out, which came faster than they were read"
            );
            let _ = to.write_all(&line_of(&text));
        }
    }
}

/// Puts lines into the queue.
#[derive(Clone)]
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
    fn a_filter_has_levels_and_modules() {
        for text in ["debug", "INFO", "off", "warn,switchd::bridge=trace", "ports=debug"] {
            parse(text).unwrap();
        }
        for (text, wrong) in
            [("debgu", "debgu"), ("info,ports", "ports"), ("", ""), ("info;x", "info;x")]
        {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("\"{wrong}\" is not a level"));
        }
        assert!(parse("ports=loud").is_err());
    }

    #[test]
    fn a_log_that_nobody_reads_stops_no_one_and_counts() {
        let (lines, queue) = channel::bounded(2);
        for line in ["a\n", "b\n", "c\n", "d\n"] {
            (&Lines(lines.clone())).write_all(line.as_bytes()).unwrap();
        }
        drop(lines);
        let mut out = Vec::new();
        write_all(&queue, &mut out, |text| format!("{text}\n").into());
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "a\n2 lines of the log were left out, which came faster than they were read\nb\n"
        );
    }
}

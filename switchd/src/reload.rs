//! SIGHUP: reads the configuration file again.
//!
//! A switch with `--config` reads the file again and changes what has changed in it. Without `--config` there
//! is nothing to read, and SIGHUP ends the switch properly. So does the SIGHUP that comes because the terminal
//! was closed from which the switch was started.

use crate::options::Options;
use crate::saved::Author;
use crate::switch::Switch;
use std::fs::File;
use tracing::{error, info};

/// Answers the signals that do not end the switch.
pub(crate) struct Reload<'a> {
    options: &'a Options,
    /// The process was started from a terminal, and belongs to its session.
    had_terminal: bool,
}

impl<'a> Reload<'a> {
    /// Looks whether the process belongs to the session of a terminal.
    pub(crate) fn new(options: &'a Options) -> Self {
        Self { options, had_terminal: has_terminal() }
    }

    /// Reads the configuration file again if that is what the signal of this name asks for. Returns
    /// false if the signal is to end the switch. A file that is wrong changes nothing, and the log
    /// says where it is wrong.
    pub(crate) fn answer(&self, signal: &str, switch: &Switch) -> bool {
        let Some(path) = self.options.config.as_deref().filter(|_| signal == "SIGHUP") else {
            return false;
        };
        if self.had_terminal && !has_terminal() {
            info!("the terminal was closed");
            return false;
        }
        let name = path.display();
        let read = self.options.desired().map_err(anyhow::Error::from);
        let author = Author { who: signal.to_owned(), what: format!("reload {name}") };
        let done = read.and_then(|configured| Ok(switch.reconfigure(&configured, author)?));
        match done {
            Ok(lines) => {
                info!("{signal}: {name} is read again: {} changes", lines.len());
                lines.iter().for_each(|line| info!("{line}"));
            }
            Err(error) => error!("{signal}: nothing is changed: {error:#}"),
        }
        true
    }
}

/// Whether the session of this process has a terminal that is there.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

//! Tells the program that has started the switch when the switch is ready, that it still
//! works, and when it stops.
//!
//! - systemd (`Type=notify`) gets `READY=1`, `WATCHDOG=1` and `STOPPING=1` through the socket in
//!   `NOTIFY_SOCKET`; see sd_notify(3).
//! - A script gets a line feed through the descriptor of `--ready-fd`, as in s6.
//! - The file of `--pidfile` has the process id while the switch runs.

use anyhow::Context;
use sd_notify::NotifyState;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::debug;

/// A switch that is ready. Dropping this value tells systemd that the switch stops, and removes the file with
/// the process id.
pub(crate) struct Supervisor {
    /// The path of the file with the process id; `None` without `--pidfile`.
    pid_file: Option<PathBuf>,
}

impl Supervisor {
    /// Tells systemd and the reader of `ready_fd` that the switch forwards frames and takes commands, and
    /// writes the file with the process id. The call closes the descriptor.
    ///
    /// # Errors
    /// The file or the descriptor cannot be written.
    pub(crate) fn ready(
        pid_file: Option<&Path>,
        ready_fd: Option<ReadyFd>,
    ) -> anyhow::Result<Self> {
        // Made first, so that the file is removed if a later step fails.
        let supervisor = Self { pid_file: pid_file.map(Path::to_owned) };
        if let Some(path) = pid_file {
            write_pid(path).with_context(|| format!("write --pidfile {}", path.display()))?;
        }
        if let Some(ready_fd) = ready_fd {
            ready_fd.tell()?;
        }
        notify(&[NotifyState::Ready, NotifyState::Status("forwarding")]);
        Ok(supervisor)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        notify(&[NotifyState::Stopping]);
        if let Some(path) = &self.pid_file {
            let _ = fs::remove_file(path);
        }
    }
}

/// Tells systemd that the process with this id is the main process of the service from now on. Only the main
/// process may say so.
pub(crate) fn main_process_is(pid: u32) {
    notify(&[NotifyState::MainPid(pid)]);
}

/// Writes the process id into a new file. An old file or a symbolic link at the path is
/// removed first and not followed.
fn write_pid(path: &Path) -> std::io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    writeln!(file, "{}", std::process::id())
}

/// The descriptor of `--ready-fd`, which this process has inherited.
#[derive(Debug)]
pub(crate) struct ReadyFd {
    number: i32,
    /// The file or pipe behind the descriptor, opened a second time.
    file: File,
}

impl ReadyFd {
    /// Takes the descriptor with this number. Call it before files are restricted: this process may not be
    /// allowed to open the file behind the descriptor any more.
    ///
    /// # Errors
    /// There is no such descriptor, or it cannot be written.
    pub(crate) fn open(number: i32) -> anyhow::Result<Self> {
        let opened = File::options().append(true).open(format!("/proc/self/fd/{number}"));
        let file = opened.with_context(|| format!("write to --ready-fd {number}"))?;
        Ok(Self { number, file })
    }

    /// Writes a line feed, and closes the descriptor.
    fn tell(self) -> anyhow::Result<()> {
        let Self { number, mut file } = self;
        let written = file.write_all(b"\n").and_then(|()| Ok(nix::unistd::close(number)?));
        written.with_context(|| format!("write to --ready-fd {number}"))
    }
}

/// Sends states to systemd. Without systemd this does nothing.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!("tell systemd: {error}");
    }
}

/// Sends signs of life to systemd, which restarts a service that sends none (`WatchdogSec=`).
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// The time between two signs of life: half of the time that systemd allows.
    /// `None` if systemd expects none.
    interval: Option<Duration>,
    /// The time of the last sign of life; `None` before the first.
    last: Option<Instant>,
}

impl Watchdog {
    /// Reads from the environment whether systemd expects signs of life, and how often.
    pub(crate) fn new() -> Self {
        Self { interval: sd_notify::watchdog_enabled().map(|most| most / 2), last: None }
    }

    /// Sends a sign of life if the time for the next one has come. The caller has just done work that fails or
    /// hangs if the switch does not work.
    pub(crate) fn is_well(&mut self) {
        let Some(interval) = self.interval else { return };
        if self.last.is_none_or(|last| last.elapsed() >= interval) {
            self.last = Some(Instant::now());
            notify(&[NotifyState::Watchdog]);
        }
    }
}

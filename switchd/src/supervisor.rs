//! Tells those who started the switch how it is: that it is ready, that it still works, that it stops.
//!
//! - systemd (`Type=notify`) gets `READY=1`, `WATCHDOG=1` and `STOPPING=1` through the socket in `NOTIFY_SOCKET`; see
//!   sd_notify(3).
//! - A script gets a line feed through the descriptor of `--ready-fd`, as in s6.
//! - Whoever looks finds the process id in the file of `--pidfile`.

use anyhow::Context;
use sd_notify::NotifyState;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::debug;

/// Whom to tell. Dropping it tells of the stop, and removes the file with the process id.
pub(crate) struct Supervisor {
    pid_file: Option<PathBuf>,
}

impl Supervisor {
    /// Tells that the switch forwards frames and takes commands. `ready_fd` is a descriptor that this process has
    /// inherited; it is closed.
    ///
    /// # Errors
    /// The file cannot be written, or there is no such descriptor.
    pub(crate) fn ready(pid_file: Option<&Path>, ready_fd: Option<i32>) -> anyhow::Result<Self> {
        // From here on the file is removed, whatever fails.
        let supervisor = Self { pid_file: pid_file.map(Path::to_owned) };
        if let Some(path) = pid_file {
            write_pid(path).with_context(|| format!("write --pidfile {}", path.display()))?;
        }
        if let Some(fd) = ready_fd {
            tell(fd).with_context(|| format!("write to --ready-fd {fd}"))?;
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

/// A new file takes the old one's place, so that no link is followed.
fn write_pid(path: &Path) -> std::io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    writeln!(file, "{}", std::process::id())
}

fn tell(fd: i32) -> std::io::Result<()> {
    File::options().append(true).open(format!("/proc/self/fd/{fd}"))?.write_all(b"\n")?;
    Ok(nix::unistd::close(fd)?)
}

/// Without systemd nobody is told.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!("tell systemd: {error}");
    }
}

/// Signs of life for systemd, which restarts a service that gives none (`WatchdogSec=`).
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// The time between two signs: half of what systemd allows. `None`: systemd waits for none.
    interval: Option<Duration>,
    last: Option<Instant>,
}

impl Watchdog {
    /// As the environment says.
    pub(crate) fn new() -> Self {
        Self { interval: sd_notify::watchdog_enabled().map(|most| most / 2), last: None }
    }

    /// Gives a sign of life if it is time. The caller is the thread whose work shows that the switch works.
    pub(crate) fn is_well(&mut self) {
        let Some(interval) = self.interval else { return };
        if self.last.is_none_or(|last| last.elapsed() >= interval) {
            self.last = Some(Instant::now());
            notify(&[NotifyState::Watchdog]);
        }
    }
}

//! A daemon, and what its process occupies.

use crate::programs::{Folder, program};
use anyhow::{Context, ensure};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A daemon in a process of its own.
pub(super) struct Process {
    pub(super) socket: PathBuf,
    child: Child,
}

impl Process {
    pub(super) fn start(folder: &Folder) -> anyhow::Result<Self> {
        let socket = folder.file("process");
        let mut command = program("switchd")?;
        command.args(["--port", "dummy:a", "--port", "dummy:b", "--socket"]).arg(&socket);
        let child = command.stderr(Stdio::null()).spawn().context("start switchd")?;
        let daemon = Self { socket, child };
        let deadline = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(&daemon.socket).is_err() {
            ensure!(Instant::now() < deadline, "switchd does not answer");
            std::thread::yield_now();
        }
        Ok(daemon)
    }

    pub(super) fn rules(&self) -> anyhow::Result<u64> {
        let output = program("ofctl")?
            .args(["--socket".as_ref(), self.socket.as_os_str()])
            .arg("dump-aggregate")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let count = text.trim_end().rsplit_once("flow_count=");
        count.and_then(|(_, n)| n.parse().ok()).context("ofctl does not count the rules")
    }

    /// What is in memory now, in bytes, without the pages of programs and libraries.
    pub(super) fn memory(&self) -> anyhow::Result<u64> {
        self.kib("smaps_rollup", "Anonymous")
    }

    /// The most since [`reset_peak`](Self::reset_peak).
    pub(super) fn peak(&self) -> anyhow::Result<u64> {
        self.kib("status", "VmHWM")
    }

    pub(super) fn reset_peak(&self) -> anyhow::Result<()> {
        // proc(5): 5 sets the peak to what is used now.
        fs::write(self.proc("clear_refs"), "5").context("reset the peak of memory")
    }

    fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.child.id()).into()
    }

    fn kib(&self, file: &str, what: &str) -> anyhow::Result<u64> {
        let path = self.proc(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let line = text.lines().find(|line| line.starts_with(what));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        let kib: u64 =
            value.with_context(|| format!("{} has no {what}", path.display()))?.parse()?;
        Ok(kib << 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing is lost with it.
        let _ = self.child.kill().and_then(|()| self.child.wait());
        let _ = fs::remove_file(&self.socket);
    }
}

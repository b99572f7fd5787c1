//! The programs that were built beside this one, and a folder for their files.

use anyhow::{Context, bail, ensure};
use benches::interrupt::{self, Guard};
use lab::RunDir;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How to get them.
const BUILD: &str = if cfg!(debug_assertions) {
    "cargo build -p switchd -p ofctl"
} else {
    "cargo build --release -p switchd -p ofctl"
};

/// Whether all of them are there.
///
/// # Errors
/// One is not; how to build it is told.
pub(crate) fn find() -> anyhow::Result<()> {
    program("switchd").and(program("ofctl")).map(drop)
}

/// One of them, to be started.
pub(crate) fn program(name: &str) -> anyhow::Result<Command> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        bail!("{}: not built yet; run \"{BUILD}\"", path.display());
    }
    Ok(Command::new(path))
}

/// Runs `ofctl` to its end and says how long that took. If it fails, the error has what it told.
pub(crate) fn ofctl(socket: &Path, arguments: &[&str]) -> anyhow::Result<Duration> {
    interrupt::check()?;
    let mut command = program("ofctl")?;
    command.arg("--socket").arg(socket).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.output().context("run ofctl")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ofctl {} failed: {}", arguments.join(" "), told.trim_end());
    Ok(start.elapsed())
}

/// A folder that goes away with this value, also after Ctrl-C.
pub(crate) struct Folder {
    dir: RunDir,
    _guard: Guard,
}

impl Folder {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let _guard = Guard::new();
        Ok(Self { dir: RunDir::new()?, _guard })
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

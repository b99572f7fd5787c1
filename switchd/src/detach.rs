//! `--detach`: the switch goes on in the background, and the program that was started returns
//! once the switch is ready.
//!
//! The program starts itself again with `--detached` and waits for a line feed through a pipe, which is
//! the standard output of the process in the background. Nothing is forked: a process with threads cannot
//! go on in a copy.

use crate::options::Options;
use anyhow::Context;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use std::fs::File;
use std::io::{IsTerminal, Read, Write, stderr, stdout};
use std::process::{Command, ExitCode, Stdio};

/// Starts the switch in the background, and waits until it is ready or has ended. Returns the status
/// to end with: 0 if the switch is ready, else the status with which it has ended. It has written
/// its error to standard error.
pub(crate) fn start() -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("find the program of this process")?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--detach");
    let mut switch = Command::new(program)
        .args(arguments)
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the switch in the background")?;
    let mut said = [0];
    let ready = switch.stdout.take().map(|mut pipe| pipe.read_exact(&mut said));
    if matches!(ready, Some(Ok(()))) {
        return Ok(ExitCode::SUCCESS);
    }
    let status = switch.wait().context("wait for the switch in the background")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The process in the background, which has not told that it is ready.
pub(crate) struct Background {
    null: File,
}

impl Background {
    /// Leaves the session of the terminal, so that signals for it do not reach this process. `None` if the
    /// options do not say that this process is in the background.
    pub(crate) fn enter(options: &Options) -> anyhow::Result<Option<Self>> {
        if !options.is_detached {
            return Ok(None);
        }
        // Fails only for a process that leads a group already, as after "setsid switchd --detached".
        let _ = setsid();
        let null = File::options().read(true).write(true).open("/dev/null");
        Ok(Some(Self { null: null.context("open /dev/null")? }))
    }

    /// Tells the program that waits that the switch is ready, and lets go of the terminal. A log that goes into
    /// a file or a pipe goes on.
    pub(crate) fn tell_ready(self) -> anyhow::Result<()> {
        // The program that waited may have been ended; the switch goes on.
        let _ = stdout().write_all(b"\n").and_then(|()| stdout().flush());
        dup2_stdin(&self.null).context("leave the terminal")?;
        dup2_stdout(&self.null).context("leave the terminal")?;
        if stderr().is_terminal() {
            dup2_stderr(&self.null).context("leave the terminal")?;
        }
        Ok(())
    }
}

//! How the new program is started: as a process whose parent is not the old one when that announces it.
//!
//! systemd watches the main process of a service only if that process is a child of systemd: it takes any other
//! for "not our child", does not notice its end, and at a stop kills it at once. Whether a process is a child
//! is asked when the old program names its successor, at which time the old program still runs. So the old
//! program starts its successor through a third process, the *starter*:
//!
//! ```text
//! old program ──► starter (the new program's file, --start-successor) ──► new program (--take-over)
//! ```
//!
//! All three share the channel. The starter sends the process id and a descriptor of the new program's
//! process, and then waits. If the new program ends, the starter, as its parent, knows its exit status, sends
//! that, and ends. Once the new program forwards, the old one kills the starter, and the kernel gives the new
//! program to systemd, or, without systemd, to process 1 or the closest subreaper, which would get it anyway
//! when the old program ends.
//!
//! The starter is a program of its own instead of a fork of the old one: a fork would copy the page tables of a
//! switch that forwards, and would have each of its pages copied at the next write.

use super::channel::{Channel, ChannelError};
use super::{OPTION, PATIENCE, Program, START_OPTION, courtesy, message};
use crate::{confinement, rootless};
use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The process of a new program, and its starter, as the old program sees them.
#[derive(Debug)]
pub(super) struct NewProcess {
    starter: Child,
    /// Whether `starter` has been waited for.
    is_starter_gone: bool,
    /// Stays the new program's, even if another process gets the same id later. `None` until
    /// the starter has sent it.
    pidfd: Option<OwnedFd>,
}

impl NewProcess {
    /// Starts the starter of `program`, with `channel` as standard input of both.
    pub(super) fn start(program: &Program, channel: OwnedFd) -> io::Result<Self> {
        let mut command = program.command(START_OPTION);
        command
            // It names this process. Without it, systemd takes signs of life of either.
            .env_remove("WATCHDOG_PID")
            .envs([confinement::hand_over()])
            .envs(rootless::hand_over()?)
            .stdin(Stdio::from(channel));
        let starter = ports::rootless::spawn_outside(command)?;
        Ok(Self { starter, is_starter_gone: false, pidfd: None })
    }

    /// Takes what the starter has told: the process id as text, and the descriptor of the process.
    pub(super) fn is(&mut self, pid: &[u8], mut fds: Vec<OwnedFd>) -> Result<u32, ChannelError> {
        let pid = std::str::from_utf8(pid).ok().and_then(|text| text.parse().ok());
        let (Some(pid), Some(pidfd)) = (pid, fds.pop()) else {
            return Err(ChannelError::Malformed);
        };
        self.pidfd = Some(pidfd);
        Ok(pid)
    }

    /// Ends the starter, so that the new program is a child of process 1 or of a
    /// subreaper when this call returns.
    pub(super) fn let_go(&mut self) {
        if !self.is_starter_gone {
            // Fails if the starter has ended already.
            let _ = self.starter.kill();
            let _ = self.starter.wait();
            self.is_starter_gone = true;
        }
    }

    /// Waits up to `limit` for the new program to end by itself.
    pub(super) fn wait(&mut self, limit: Duration) {
        let Some(pidfd) = &self.pidfd else { return };
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            // The descriptor becomes readable when the process has ended.
            let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ended, timeout) {
                Err(nix::errno::Errno::EINTR) => {}
                Ok(0) if left > Duration::ZERO => {}
                _ => return,
            }
        }
    }

    /// Kills the new program and its starter, and returns when both have ended. Returns the status of a starter
    /// that had ended by itself.
    pub(super) fn kill(&mut self) -> Option<ExitStatus> {
        match &self.pidfd {
            Some(pidfd) => {
                // Fails if the process has ended already.
                let _ = pidfd_send_signal(pidfd, Signal::KILL);
                self.wait(PATIENCE);
            }
            // The starter is all there is: it tells before it waits.
            None => self.wait_for_starter(Duration::from_secs(1)),
        }
        if self.is_starter_gone {
            return None;
        }
        let status = self.starter.try_wait().ok().flatten();
        self.let_go();
        status
    }

    fn wait_for_starter(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        while matches!(self.starter.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Is the starter: starts the same program file with the same arguments, tells the old program at the other end
/// of standard input of its process, and waits for its end.
///
/// # Errors
/// The process cannot be started, or the old program has ended. A process that was started sees the latter
/// itself, and ends.
pub(crate) fn start_successor() -> anyhow::Result<ExitCode> {
    let channel = io::stdin().as_fd().try_clone_to_owned().and_then(Channel::new);
    let channel = channel.context("tell the old program at standard input of the new one")?;
    let program = Program::of_this_process().context("find the program of this process")?;
    let mut command = program.command(OPTION);
    match courtesy::begin() {
        Some((name, value)) => command.env(name, value),
        // What this program was told itself when it was started is not true for the new one.
        None => command.env_remove(courtesy::VARIABLE),
    };
    // Standard input, the channel, is inherited.
    let started = command.spawn().and_then(|child| {
        let pid = Pid::from_child(&child);
        Ok((child, pidfd_open(pid, PidfdFlags::empty())?))
    });
    let (mut successor, pidfd) =
        started.with_context(|| format!("start {}", program.path.display()))?;
    let pid = successor.id().to_string();
    channel.send(message::STARTED, pid.as_bytes(), &[pidfd.as_fd()], PATIENCE)?;
    let status = successor.wait().context("wait for the new program")?;
    channel.send(message::ENDED, status.to_string().as_bytes(), &[], PATIENCE)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A process that a shell has started and told of, as a starter does, and the shell.
    fn started_by_a_shell() -> (NewProcess, u32) {
        let script = "sleep 1000 & echo $!; wait";
        let mut shell = Command::new("sh");
        let mut starter = shell.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = String::new();
        let mut said = io::BufReader::new(starter.stdout.take().unwrap());
        io::BufRead::read_line(&mut said, &mut pid).unwrap();
        let number: u32 = pid.trim().parse().unwrap();
        let pidfd = pidfd_open(Pid::from_raw(number as i32).unwrap(), PidfdFlags::empty()).unwrap();
        let mut process = NewProcess { starter, is_starter_gone: false, pidfd: None };
        assert!(matches!(process.is(b"no number", Vec::new()), Err(ChannelError::Malformed)));
        assert_eq!(process.is(pid.trim().as_bytes(), vec![pidfd]).unwrap(), number);
        (process, number)
    }

    /// The id of a process's parent; `None` if the process has ended.
    fn parent(pid: u32) -> Option<u32> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name| status.lines().find_map(|line: &str| line.strip_prefix(name));
        let is_zombie = field("State:\tZ").is_some();
        field("PPid:\t").filter(|_| !is_zombie).and_then(|pid| pid.parse().ok())
    }

    #[test]
    fn a_process_that_was_let_go_has_another_parent_and_goes_on() {
        let (mut started, pid) = started_by_a_shell();
        let shell = started.starter.id();
        assert_eq!(parent(pid), Some(shell));
        started.let_go();
        let adopter = parent(pid).unwrap();
        assert!(adopter != shell && adopter != std::process::id(), "{adopter}");
        started.wait(Duration::from_millis(1));
        assert!(parent(pid).is_some());
        assert_eq!(started.kill(), None);
        assert_eq!(parent(pid), None);
    }

    #[test]
    fn a_killed_process_leaves_no_starter() {
        let (mut started, pid) = started_by_a_shell();
        let shell = started.starter.id();
        started.kill();
        assert_eq!((parent(pid), parent(shell)), (None, None));
    }
}

//! The signals that end the switch.
//!
//! A process that a signal kills leaves its devices in the shield, deaf to their host. So every signal whose
//! default is to end the process is blocked, and one thread waits for it: a terminal that is closed (SIGHUP) or
//! a stray SIGUSR1 ends the switch as properly as SIGTERM does. `reload` says which SIGHUP does not end the
//! switch. SIGKILL cannot be blocked; what it leaves behind is given back by the next start.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};

/// Signals that are left to the kernel: those that do not end a process, and those that a fault of the process
/// itself raises, after which nothing can be given back.
const LEFT_ALONE: [Signal; 13] = [
    Signal::SIGCHLD,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGURG,
    Signal::SIGWINCH,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGTRAP,
    Signal::SIGSYS,
];

/// The signals that end the switch, blocked until somebody waits for them.
pub(crate) struct Signals(SigSet);

impl Signals {
    /// Blocks the signals for the calling thread and the threads that it starts. A signal that the process was
    /// told to ignore, as `nohup` does with SIGHUP, is not among them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn block() -> nix::Result<Self> {
        let mut signals = SigSet::all();
        // The kernel keeps a blocked signal for later even if the process ignores it.
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let is_ignored = |signal: &Signal| ignored >> (*signal as i32 - 1) & 1 == 1;
        for signal in Signal::iterator().filter(|s| LEFT_ALONE.contains(s) || is_ignored(s)) {
            signals.remove(signal);
        }
        signals.thread_block()?;
        Ok(Self(signals))
    }

    /// Waits for one of the signals, and returns its name.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn wait(&self) -> nix::Result<&'static str> {
        match self.0.wait() {
            Ok(signal) => Ok(signal.as_str()),
            // A signal of the real-time range came, which has no name.
            Err(Errno::EINVAL) => Ok("a real-time signal"),
            Err(error) => Err(error),
        }
    }
}

/// The signals that the process ignores, in the form of `/proc/self/status`: the lowest bit is signal 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_found() {
        let status = "Name:\tswitchd\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n";
        assert_eq!(
            ignored(status),
            1 << (Signal::SIGHUP as i32 - 1) | 1 << (Signal::SIGPIPE as i32 - 1)
        );
        assert_eq!(ignored(""), 0);
    }
}

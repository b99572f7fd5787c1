//! Another program takes over from the running one without losing a frame (`ofctl restart`).
//!
//! The daemon starts its own program file again, which an upgrade may have replaced, with the same arguments
//! (`start` says through whom). The new program gets one end of a `channel` as its standard input, and prepares
//! while the old one forwards:
//!
//! ```text
//!        old program (give)                        new program (take)
//!  closes the gate: nothing changes
//!  hello, core, sections ───────────────────► makes a switch, whose workers pause;
//!                        ◄──────────────────── prepared   takes rings and TAP devices over
//!  hosts once more ─────────────────────────►
//!                        ◄──────────────────── refreshed
//!  workers pause between two batches
//!  positions in the rings ──────────────────►
//!                        ◄──────────────────── committed; its workers go on there
//!  names the new main process to systemd
//!  late sections: counters ─────────────────► adds them to its own
//!                        ◄──────────────────── running: takes commands
//!  answers the command, and ends without putting devices back
//! ```
//!
//! The new program prepares at a low priority (`courtesy`), so that the workers of the
//! old one keep their processors.
//!
//! Until `committed`, whatever goes wrong leaves the old program as it was: it kills the new one, lets its
//! workers go on and says why. Frames wait in the rings from `positions` to `committed`, which is all that a
//! ring has to bear.
//!
//! A hand-over consists of the `Core`, without which there is no switch, and of `sections`. A capability brings
//! a section of its own along. The old program names all sections at first, and the new one refuses a section
//! that it does not know, before anything is given up.

mod channel;
pub(crate) mod courtesy;
mod gate;
mod give;
mod sections;
mod start;
mod take;

pub(crate) use gate::Gate;
pub(crate) use give::{GiveError, give};
pub(crate) use start::start_successor;
pub(crate) use take::take;

use crate::kernel_cache::GivenPrograms;
use crate::switch::GivenPort;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The version of what this module describes. A program takes over from one of the same
/// version or an older one.
const FORMAT: u32 = 1;
/// The hidden option that has a program take over from the one at its standard input.
pub(crate) const OPTION: &str = "take-over";
/// The hidden option that has a program start itself with [`OPTION`], for the old
/// program at its standard input.
pub(crate) const START_OPTION: &str = "start-successor";
/// How long the new program may take to prepare, and how long changes that are under way may take. A million
/// rules take half a minute.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the new program may take to go on where the old one has stopped. It takes some microseconds.
const SWITCH_OVER: Duration = Duration::from_secs(10);

/// How the daemon starts itself again.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// This program with its arguments. To be called at the start, because the file may be replaced later; the
    /// path is what counts then.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn of_this_process() -> std::io::Result<Self> {
        let path = std::env::current_exe()?.into_os_string();
        // The file was replaced while this program was starting.
        let path = match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
            Some(path) => path.into(),
            None => path.into(),
        };
        let options = [OPTION, START_OPTION].map(|name| OsString::from(format!("--{name}")));
        let arguments = std::env::args_os().skip(1).filter(|argument| !options.contains(argument));
        Ok(Self { path, arguments: arguments.collect() })
    }

    /// The command that starts the program file, with one more option.
    fn command(&self, option: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).arg(format!("--{option}"));
        command
    }
}

/// The names of messages that are not sections.
mod message {
    /// The starter tells which process the new program is.
    pub(super) const STARTED: &str = "started";
    /// The starter tells with which status the new program has ended.
    pub(super) const ENDED: &str = "ended";
    pub(super) const HELLO: &str = "hello";
    pub(super) const CORE: &str = "core";
    pub(super) const STATE: &str = "state";
    pub(super) const PREPARE: &str = "prepare";
    pub(super) const PREPARED: &str = "prepared";
    pub(super) const REFRESHED: &str = "refreshed";
    pub(super) const POSITIONS: &str = "positions";
    pub(super) const COMMITTED: &str = "committed";
    pub(super) const END: &str = "end";
    pub(super) const RUNNING: &str = "running";
    pub(super) const FAILED: &str = "failed";
}

/// The first message: who hands over what.
#[derive(Debug, Serialize, Deserialize)]
struct HandoverHello {
    format: u32,
    /// Name and version of the old program.
    program: String,
    /// The names of all sections that will come.
    sections: Vec<String>,
}

/// What a switch cannot be made without. Its descriptors are the control socket, the socket's lock, the lock of
/// kept state if there is one, the queues of all ports in their order, and programs and maps of the kernel
/// cache if there is one.
#[derive(Debug, Serialize, Deserialize)]
struct Core {
    /// The zero of the switch's clock, on the monotonic clock of the system.
    epoch: Duration,
    /// Keys hash functions: groups choose the same buckets as before.
    seed: u64,
    /// Whether the switch keeps state.
    keeps_state: bool,
    ports: Vec<GivenPort>,
    /// `None`: there is no kernel cache.
    #[serde(default)]
    kernel: Option<GivenPrograms>,
}

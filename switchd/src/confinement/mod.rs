//! Least privilege: before the first thread starts, the process gives up what a switch does not need.
//!
//! [`Plan::enforce`] takes these steps, in this order, because each step needs what the next one takes away:
//!
//! 1. `identity`: the user of `--user`, and the capabilities that ports need;
//! 2. `no_new_privs`: no program that this process starts can gain privileges;
//! 3. `files`: landlock allows the files and folders that the switch uses;
//! 4. `system_calls`: seccomp allows the system calls that the switch uses.
//!
//! Threads and the programs that the process starts inherit all of this. A successor (another process of the
//! same switch that takes over from this one) is inside the confinement already. Landlock and seccomp cannot be
//! replaced, only stacked, so the successor must not enforce them again: [`hand_over`] tells the successor
//! through its environment.

mod files;
mod identity;
mod system_calls;

pub use files::Places;
pub use identity::UserError;

use crate::switch::stable_mac;
use anyhow::Context;
use clap::ValueEnum;
use control::record::{ConfinementRecord, Enforcement};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::OnceLock;
use tracing::{info, warn};

/// The environment variable in which a process tells its successor about the confinement.
const VARIABLE: &str = "SWITCHD_CONFINEMENT";

/// What `--sandbox` says about landlock and seccomp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sandbox {
    /// Other files are denied, and other system calls fail with `EPERM`.
    #[default]
    On,
    /// Other files are denied. Other system calls work, and the kernel logs each of them (audit, `dmesg`).
    Log,
    /// Other files are denied, and all system calls work: seccomp costs some time at each call.
    Files,
    /// Nothing is denied.
    Off,
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Log => "log",
            Self::Files => "files",
            Self::Off => "off",
        })
    }
}

/// What the process is to give up, and what it keeps.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The user to become (`--user`); `None` stays the user of the process.
    pub user: Option<&'a str>,
    /// The group of the control socket (`--socket-group`), which the process joins so that it
    /// can give the socket away.
    pub socket_group: Option<nix::unistd::Gid>,
    /// Whether ports in named network namespaces are allowed (`--netns`), for
    /// which the process keeps `CAP_SYS_ADMIN`.
    pub enters_namespaces: bool,
    /// Whether eBPF programs that are loaded already are attached to devices, and run, later.
    pub uses_programs: bool,
    /// Whether landlock and seccomp are used.
    pub sandbox: Sandbox,
    /// The files and folders that the options name.
    pub places: Places<'a>,
}

/// The confinement that is in force. [`record`] has it for `ofctl show`.
static IN_FORCE: OnceLock<ConfinementRecord> = OnceLock::new();

/// The text of [`VARIABLE`].
#[derive(Debug, Serialize, Deserialize)]
struct HandOver {
    confinement: ConfinementRecord,
    /// See [`stable_mac::namespace`]: a confined process cannot look at the namespace of process 1.
    namespace: String,
}

impl Plan<'_> {
    /// Gives up what the plan does not keep. The caller is the only thread of the process.
    ///
    /// # Errors
    /// The user does not exist, a folder cannot be made, or the kernel refuses. What has been given
    /// up by then remains so.
    pub fn enforce(&self) -> anyhow::Result<()> {
        if let Some(inherited) = inherited() {
            stable_mac::set_namespace(inherited.namespace);
            let _ = IN_FORCE.set(inherited.confinement);
            return Ok(());
        }
        // Needs to look at another process, which a confined process cannot do.
        stable_mac::namespace();
        let user = self.user.map(identity::find).transpose()?;
        self.places.make(user.as_ref())?;
        identity::reduce(user.as_ref(), self.socket_group, self.enters_namespaces)?;
        let (mut landlock, mut seccomp) = (Enforcement::Off, Enforcement::Off);
        if self.sandbox != Sandbox::Off {
            landlock = files::restrict(&self.places).context("restrict files with landlock")?;
        }
        if matches!(self.sandbox, Sandbox::On | Sandbox::Log) {
            let is_logged = self.sandbox == Sandbox::Log;
            seccomp = system_calls::restrict(is_logged, self.enters_namespaces, self.uses_programs)
                .context("restrict system calls with seccomp")?;
        }
        let _ = IN_FORCE.set(identity::describe(landlock, seccomp));
        Ok(())
    }
}

/// The confinement that is in force. In a process that has not called [`Plan::enforce`], such
/// as a test, nothing is.
pub(crate) fn record() -> ConfinementRecord {
    let unconfined = || identity::describe(Enforcement::Off, Enforcement::Off);
    IN_FORCE.get().cloned().unwrap_or_else(unconfined)
}

/// Writes into the log what is in force.
pub(crate) fn tell() {
    let confinement = record();
    info!("process: {confinement}");
    if confinement.landlock == Enforcement::Absent {
        warn!("this kernel has no landlock: files are protected by their modes only");
    }
}

/// The environment variable, as name and value, that a successor of this process has to be started with.
pub fn hand_over() -> (&'static str, String) {
    let all = HandOver { confinement: record(), namespace: stable_mac::namespace().to_owned() };
    // The structure has no map with keys that are not text, the only thing JSON cannot hold.
    (VARIABLE, serde_json::to_string(&all).unwrap_or_default())
}

/// What a predecessor has told, if this process is indeed inside a confinement.
fn inherited() -> Option<HandOver> {
    let text = std::env::var(VARIABLE).ok()?;
    let hand_over: HandOver = serde_json::from_str(&text).ok()?;
    let status = identity::Status::read();
    let has_filter = hand_over.confinement.seccomp == Enforcement::Off || status.has_filter;
    (status.has_no_new_privileges && has_filter).then_some(hand_over)
}

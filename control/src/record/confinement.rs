//! What the process of the switch can do to its machine.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What the process of the switch can do: its user, its capabilities, and what
/// the kernel enforces beyond these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfinementRecord {
    /// The user of the process: `root`, or `user switchd (uid 990)`.
    pub user: String,
    /// The effective capabilities by their names in capabilities(7), in the
    /// order of the alphabet: `CAP_NET_ADMIN`.
    pub capabilities: Vec<String>,
    /// Whether programs that the process starts are kept from gaining privileges.
    pub no_new_privs: Enforcement,
    /// Whether landlock allows only the files and folders that a switch uses.
    pub landlock: Enforcement,
    /// Whether seccomp allows only the system calls that a switch uses.
    pub seccomp: Enforcement,
}

/// How far a restriction is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// The kernel enforces all of it.
    On,
    /// The kernel is older than some of the rights that are restricted, and enforces the others.
    Partial,
    /// The kernel logs what is not allowed, and lets it happen.
    Logged,
    /// The kernel does not have this kind of restriction.
    Absent,
    /// The process has not asked for it (`switchd --sandbox off`).
    Off,
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Partial => "in part",
            Self::Logged => "only logged",
            Self::Absent => "not in this kernel",
            Self::Off => "off",
        })
    }
}

impl fmt::Display for ConfinementRecord {
    /// For people, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, capabilities, no_new_privs, landlock, seccomp } = self;
        let capabilities = match &capabilities[..] {
            [] => "no capabilities".to_owned(),
            // A process that has not given any up.
            all if all.len() > 30 => "all capabilities".to_owned(),
            some => some.join(" "),
        };
        write!(
            f,
            "{user}, {capabilities}, no_new_privs {no_new_privs}, landlock {landlock}, seccomp {seccomp}"
        )
    }
}

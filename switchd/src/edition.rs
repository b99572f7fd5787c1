//! Which version of the switch this program is.
//!
//! The program `switchd` is the version of this crate. Another program of the same code can be another version,
//! so that a test can upgrade a running switch without a second source tree (`examples/next_version.rs`).

use std::sync::OnceLock;

/// What distinguishes versions of the program from each other.
#[derive(Clone, Copy, Debug)]
pub struct Edition {
    /// The version, such as `0.1.0`.
    pub version: &'static str,
    /// The name of a section that this version hands over to its successor besides those of all versions;
    /// `None` for the program `switchd`.
    pub further_section: Option<&'static str>,
}

impl Edition {
    /// The program `switchd`.
    pub const SWITCHD: Self = Self { version: env!("CARGO_PKG_VERSION"), further_section: None };

    /// Has this process be that edition. The first call counts.
    pub(crate) fn declare(self) {
        let _ = DECLARED.set(self);
    }
}

/// The edition of this process; unset in a process that has not called [`Edition::declare`], such as a test.
static DECLARED: OnceLock<Edition> = OnceLock::new();

/// The edition of this process.
pub(crate) fn edition() -> Edition {
    DECLARED.get().copied().unwrap_or(Edition::SWITCHD)
}

/// Name and version of this program.
pub(crate) fn program() -> String {
    format!("switchd {}", edition().version)
}

//! Ctrl-C, while folders and daemons stand that have to be taken down.
//!
//! They go away with the values that hold them, and a signal leaves no time for that. So the signals
//! wait for a thread. It ends the process, unless somebody has taken a [`Guard`]: then it leaves a
//! message ([`has_come`]), and only a second signal ends the process.

use anyhow::ensure;
use nix::sys::signal::{SigSet, Signal};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static HAS_COME: AtomicBool = AtomicBool::new(false);
static GUARDS: AtomicUsize = AtomicUsize::new(0);

/// The exit code of a program that was interrupted, as shells report it: 128 and the number of SIGINT.
pub const EXIT_CODE: u8 = 130;

/// Starts to watch for Ctrl-C and SIGTERM. Threads and processes that are started later have the signals
/// blocked as well.
///
/// # Errors
/// The thread cannot be started.
pub fn watch() -> anyhow::Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        while signals.wait().is_ok() {
            let is_second = HAS_COME.swap(true, Ordering::SeqCst);
            if is_second || GUARDS.load(Ordering::SeqCst) == 0 {
                std::process::exit(EXIT_CODE.into());
            }
        }
    })?;
    Ok(())
}

/// Whether somebody wants the program to end.
pub fn has_come() -> bool {
    HAS_COME.load(Ordering::SeqCst)
}

/// An error once a signal has come, for use with `?`.
///
/// # Errors
/// A signal has come.
pub fn check() -> anyhow::Result<()> {
    ensure!(!has_come(), "interrupted");
    Ok(())
}

/// While it lives, a signal does not end the process by itself: its owner looks at [`has_come`].
#[derive(Debug)]
pub struct Guard(());

impl Guard {
    /// A guard that holds until it is dropped.
    #[expect(clippy::new_without_default, reason = "it is not a value but a promise")]
    pub fn new() -> Self {
        GUARDS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        GUARDS.fetch_sub(1, Ordering::SeqCst);
    }
}

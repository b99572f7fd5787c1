//! The new program leaves the processors to the old one while it prepares.
//!
//! A receive ring holds the frames of some milliseconds. On a machine with few processors, a worker of the old
//! program that has to share its processor with a program that starts would miss more than that. So the starter
//! lowers the priority of the new program, by [`STEP`] steps of nice(2). The new program takes its old priority
//! back before it says that it is ready, because frames wait for it from then on.
//!
//! A process may raise its priority only up to a limit (`RLIMIT_NICE`), which most systems set so that it may
//! not. A switch that begins with the privilege to do so permits itself to return to the priority that it has
//! ([`permit`]), and its successors inherit this. Without permission the priority stays as it is.

use rustix::process::{
    Pid, Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit,
};
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;
use tracing::warn;

/// How much lower the priority is: a process of the usual priority gets ten times as much of a processor.
const STEP: i32 = 10;
/// The longest time for which the priority is low. A program with a million rules on a machine without idle
/// processors would prepare for minutes otherwise, and nothing can be changed meanwhile.
const LONGEST: Duration = Duration::from_secs(3);
/// The environment variable that tells a new program the priority to return to, as a number of nice(2).
pub(super) const VARIABLE: &str = "SWITCHD_NICE";

/// The value of `RLIMIT_NICE` with which a process may return to a number of nice(2).
fn limit_for(nice: i32) -> u64 {
    (20 - nice).unsigned_abs().into()
}

/// Permits this process, and those that it starts, to return to the priority that this process has now. The
/// limit stays as it is without the privilege to raise it.
pub(crate) fn permit() {
    let Ok(nice) = getpriority_process(None) else { return };
    let wanted = limit_for(nice);
    let Rlimit { current, maximum } = getrlimit(Resource::Nice);
    let is_at_least = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if is_at_least(current) {
        return;
    }
    let maximum = if is_at_least(maximum) { maximum } else { Some(wanted) };
    let _ = setrlimit(Resource::Nice, Rlimit { current: Some(wanted), maximum });
}

/// Lowers the priority of this thread, and of the programs that it starts, if those may return to the present
/// one. Returns the environment variable, as name and value, which such a program has to be started with.
pub(super) fn begin() -> Option<(&'static str, String)> {
    let nice = getpriority_process(None).ok()?;
    let may_return = getrlimit(Resource::Nice).current.is_none_or(|limit| limit >= limit_for(nice));
    if !may_return {
        return None;
    }
    setpriority_process(None, nice + STEP).ok()?;
    Some((VARIABLE, nice.to_string()))
}

/// The time in which this program has a low priority.
#[derive(Debug)]
pub(super) struct Courtesy {
    /// Dropping it ends the thread that waits for [`LONGEST`].
    waiting: Option<Sender<()>>,
    nice: i32,
}

impl Courtesy {
    /// The time that the starter has begun; `None` if it has not.
    pub(super) fn of_starter() -> Option<Self> {
        let nice: i32 = std::env::var(VARIABLE).ok()?.parse().ok()?;
        let (waiting, end) = mpsc::channel();
        let wait = move || {
            if let Err(RecvTimeoutError::Timeout) = end.recv_timeout(LONGEST) {
                return_to(nice);
            }
        };
        let thread = std::thread::Builder::new().name("courtesy".to_owned()).spawn(wait);
        Some(Self { waiting: thread.is_ok().then_some(waiting), nice })
    }

    /// Gives all threads of this process their priority back.
    pub(super) fn end(mut self) {
        self.waiting = None;
        return_to(self.nice);
    }
}

/// Gives all threads of this process a priority, as a number of nice(2).
fn return_to(nice: i32) {
    // Threads inherit the priority of the thread that starts them, so that this one is the first.
    let returned = setpriority_process(None, nice).map_err(io::Error::from).and_then(|()| {
        // A thread may start another one before its own turn has come.
        while set_others(nice)? {}
        Ok(())
    });
    if let Err(error) = returned {
        warn!("this process stays at a low priority, {nice} of nice(2) was meant: {error}");
    }
}

/// Gives the threads that have another priority this one. Returns whether there were any.
fn set_others(nice: i32) -> io::Result<bool> {
    let mut has_changed = false;
    for entry in std::fs::read_dir("/proc/self/task")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(thread) = number.and_then(Pid::from_raw) else { continue };
        // A thread that has ended since has no priority.
        if getpriority_process(Some(thread)).is_ok_and(|its| its != nice) {
            has_changed |= setpriority_process(Some(thread), nice).is_ok();
        }
    }
    Ok(has_changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_priority_ends_for_all_threads() {
        let nice = getpriority_process(None).unwrap();
        permit();
        let Some((_, value)) = begin() else {
            eprintln!("skipped: this process may not raise its priority");
            return;
        };
        assert_eq!(value, nice.to_string());
        let (sender, receiver) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            // PID/task/TID
            let own = std::fs::read_link("/proc/thread-self").unwrap();
            tell.send(own.file_name().unwrap().to_str().unwrap().parse().unwrap()).unwrap();
            let _ = receiver.recv();
        });
        let other = Pid::from_raw(told.recv().unwrap()).unwrap();
        assert_eq!(getpriority_process(Some(other)).unwrap(), nice + STEP);
        return_to(nice);
        assert_eq!(getpriority_process(Some(other)).unwrap(), nice);
        assert_eq!(getpriority_process(None).unwrap(), nice);
        drop(sender);
        thread.join().unwrap();
    }
}

//! Network namespaces: naming them and doing something inside one.
//!
//! A thread is in one network namespace, and what it opens (sockets, TAP devices) stays there.
//! So a port in another namespace needs no process of its own: only a thread that enters, opens
//! and ends. No thread that outlives a call ever changes its namespace here, but for the first
//! one of a [rootless](crate::rootless) switch.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, setns};
use std::fs::{DirEntry, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Where iproute2 keeps named network namespaces.
pub const NAMED: &str = "/run/netns";

/// A network namespace that is kept alive by this value.
#[derive(Debug)]
pub struct Netns(OwnedFd);

impl Netns {
    /// The calling thread's.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn current() -> io::Result<Self> {
        Ok(Self(File::open("/proc/thread-self/ns/net")?.into()))
    }

    /// The one that `ip netns add NAME` made.
    ///
    /// # Errors
    /// There is none, or the name is not one.
    pub fn named(name: &str) -> io::Result<Self> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self(File::open(format!("{NAMED}/{name}"))?.into()))
    }

    /// The one behind a descriptor that the process has inherited, which is closed: programs that this process
    /// starts do not inherit it. Nobody else may use the descriptor.
    ///
    /// # Errors
    /// There is no descriptor with this number.
    pub fn inherited(number: i32) -> io::Result<Self> {
        let netns = Self(File::open(format!("/proc/self/fd/{number}"))?.into());
        nix::unistd::close(number)?;
        Ok(netns)
    }

    /// Has programs that this process starts inherit the namespace, by a descriptor with the
    /// number that this call returns.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn hand_down(&self) -> io::Result<i32> {
        fcntl(&self.0, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(self.0.as_raw_fd())
    }

    /// The names of the network namespaces that `ip netns add` made, in no order.
    ///
    /// # Errors
    /// The folder that has the names cannot be read. It does not exist before the first is
    /// made, which is no error.
    pub fn names() -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(NAMED) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let name = |entry: io::Result<DirEntry>| Ok(entry?.file_name().into_string().ok());
        entries.filter_map(|entry| name(entry).transpose()).collect()
    }

    /// Runs `f` on a thread inside and returns what it returns.
    ///
    /// # Errors
    /// `CAP_SYS_ADMIN` is missing; `f` did not run.
    ///
    /// # Panics
    /// If `f` does.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> io::Result<R> {
        std::thread::scope(|scope| {
            let run = scope.spawn(move || {
                setns(&self.0, CloneFlags::CLONE_NEWNET)?;
                Ok(f())
            });
            run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A number that no other network namespace of this machine has at the same time.
    ///
    /// # Errors
    /// The kernel refused to tell.
    pub fn inode(&self) -> io::Result<u64> {
        Ok(nix::sys::stat::fstat(&self.0)?.st_ino)
    }
}

impl From<OwnedFd> for Netns {
    /// The namespace behind a descriptor that the kernel gave.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

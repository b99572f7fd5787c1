//! Network namespaces, and how a process gets one without being root.

use crate::{LabError, Netlink};
use nix::sched::{CloneFlags, unshare};
use ports::netns::Netns;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The object of operations on namespaces, in error messages.
const NAMESPACE: &str = "a network namespace";

/// Moves this process into a new network namespace, whose only device is `lo`, which is up.
///
/// If the process does not run as root, it also enters a new user namespace (user_namespaces(7)), in which it
/// is root. This gives it every right over the new network namespace, and none outside.
///
/// `main` should call this first, because the kernel refuses a user namespace to
/// a process with several threads.
///
/// # Errors
/// [`LabError::HasThreads`], or [`LabError::Denied`] if the kernel or the distribution does not allow this user
/// a namespace; the message says how to change that. After [`LabError::Denied`] the process may be in a
/// namespace without rights, and should end.
pub fn enter() -> Result<(), LabError> {
    let threads = thread_count();
    if threads > 1 {
        return Err(LabError::HasThreads { threads });
    }
    let is_root = nix::unistd::geteuid().is_root();
    if !(is_root && unshare(CloneFlags::CLONE_NEWNET).is_ok()) {
        become_root_of_a_user_namespace()?;
    }
    // Under AppArmor as Ubuntu configures it, a user namespace has no rights. The first call that
    // needs a right shows that.
    Namespace::current()?.start().map_err(|e| match e {
        LabError::Netlink(e) if e.is_denied() => denied("a network namespace of one's own"),
        e => e,
    })
}

fn become_root_of_a_user_namespace() -> Result<(), LabError> {
    ports::rootless::become_root().map_err(|_| denied("a user namespace"))?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|_| denied("a network namespace of one's own"))
}

/// How many threads this process has.
fn thread_count() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

fn denied(step: &'static str) -> LabError {
    let advice = ports::rootless::advice();
    LabError::Denied { step, advice: advice.to_owned() }
}

/// A handle of a network namespace, which exists at least as long as this value.
#[derive(Debug)]
pub struct Namespace(Netns);

impl Namespace {
    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn current() -> Result<Self, LabError> {
        Netns::current().map(Self).map_err(LabError::os("find", NAMESPACE))
    }

    /// Creates a namespace whose only device is `lo`, which is up. The calling thread
    /// stays in its own namespace.
    ///
    /// # Errors
    /// The process has no right to create namespaces. [`enter`] gives it.
    pub fn new() -> Result<Self, LabError> {
        let create = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Netns::current()
        };
        // `unshare` moves the calling thread, so a temporary thread calls it.
        let made = std::thread::scope(|scope| scope.spawn(create).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(LabError::os("create", NAMESPACE))?;
        let made = Self(made);
        made.start()?;
        Ok(made)
    }

    /// The namespace of another process, by its first thread.
    ///
    /// # Errors
    /// There is no such process, or the caller may not look at it.
    pub fn of_process(pid: u32) -> Result<Self, LabError> {
        let path = format!("/proc/{pid}/ns/net");
        let open = fs::File::open(&path).map_err(LabError::os("open", path))?;
        Ok(Self(Netns::from(OwnedFd::from(open))))
    }

    /// Runs `f` on a temporary thread in this namespace, and returns the result of `f`. Sockets that `f` opens
    /// belong to this namespace even if another thread uses them.
    ///
    /// # Errors
    /// The process has no rights over this namespace.
    ///
    /// # Panics
    /// If `f` panics.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.0.run(f).map_err(LabError::os("enter", NAMESPACE))
    }

    /// Sets a kernel parameter of this namespace. `name` has slashes where
    /// `sysctl` has dots: `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// The parameter does not exist, or the value is not valid.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<(), LabError> {
        let path = format!("/proc/sys/{name}");
        self.run(|| fs::write(&path, value))?.map_err(LabError::os("write", path.clone()))
    }

    /// Sets the loopback device up, without which the namespace cannot reach its own addresses.
    fn start(&self) -> Result<(), LabError> {
        let mut netlink = self.run(Netlink::open)??;
        let index = netlink.link("lo")?.index;
        netlink.set_up(index, true)?;
        Ok(())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

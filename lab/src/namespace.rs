//! Network namespaces, and how a process gets one without being root.

use crate::{LabError, Netlink};
use nix::sched::{CloneFlags, unshare};
use ports::netns::Netns;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};

/// The object of operations on namespaces, in error messages.
const NAMESPACE: &str = "a network namespace";

/// Moves this process into a new network namespace, whose only device is `lo`, which is up.
///
/// If the process does not run as root, it also enters a new user namespace (user_namespaces(7)), in which it is
/// root. This gives it every right over the new network namespace, and none outside.
///
/// `main` should call this first, because the kernel refuses a user namespace to a process with several threads.
///
/// # Errors
/// [`LabError::HasThreads`], or [`LabError::Denied`] if the kernel or the distribution does not allow this user a
/// namespace; the message says how to change that. After [`LabError::Denied`] the process may be in a namespace
/// without rights, and should end.
pub fn enter() -> Result<(), LabError> {
    let threads = thread_count();
    if threads > 1 {
        return Err(LabError::HasThreads { threads });
    }
    let is_root = nix::unistd::geteuid().is_root();
    if !(is_root && unshare(CloneFlags::CLONE_NEWNET).is_ok()) {
        become_root_of_a_user_namespace()?;
    }
    // Under AppArmor as Ubuntu configures it, a user namespace has no rights. The first call that needs a right
    // shows that.
    Namespace::current()?.start().map_err(|e| match e {
        LabError::Netlink(e) if e.is_denied() => denied("a network namespace of one's own"),
        e => e,
    })
}

fn become_root_of_a_user_namespace() -> Result<(), LabError> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|_| denied("a user namespace"))?;
    let write = |file: &str, text: String| {
        fs::write(file, text).map_err(|_| denied("an identity in a user namespace"))
    };
    // user_namespaces(7): a process without privileges must deny setgroups before it writes the map of groups, and
    // each map has a single line with the caller's own id.
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// How many threads this process has.
fn thread_count() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

fn denied(step: &'static str) -> LabError {
    let reads = |file: &str, value: &str| {
        fs::read_to_string(file).is_ok_and(|contents| contents.trim() == value)
    };
    let advice = if reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor keeps rights from user namespaces; run as root, or allow them with \
         \"sysctl kernel.apparmor_restrict_unprivileged_userns=0\""
    } else if reads("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "user namespaces are switched off; run as root, or switch them on with \
         \"sysctl kernel.unprivileged_userns_clone=1\""
    } else if reads("/proc/sys/user/max_user_namespaces", "0") {
        "the number of user namespaces is limited to 0; run as root, or raise it with \
         \"sysctl user.max_user_namespaces=1000\""
    } else {
        "run as root; inside a container, start that one with --privileged, or with a seccomp \
         profile that allows unshare"
    };
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

    /// Creates a namespace whose only device is `lo`, which is up. The calling thread stays in its own namespace.
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

    /// Sets a kernel parameter of this namespace. `name` has slashes where `sysctl` has dots: `net/ipv4/ip_forward`.
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

//! Network namespaces, and how to get one without being root.

use crate::{LabError, Netlink};
use nix::sched::{CloneFlags, unshare};
use ports::netns::Netns;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};

/// What an error calls it.
const NAMESPACE: &str = "a network namespace";

/// Moves this process into a network namespace of its own, empty but for `lo`, which is up.
///
/// Root gets just that. Everybody else gets a user namespace around it, in which they are root; the
/// rights end at its border.
///
/// Call it first in `main`: the kernel refuses it to a process with threads.
///
/// # Errors
/// [`LabError::Denied`] where the kernel or the distribution keeps namespaces from this user; the
/// message says what would change that. The process may then be in a namespace without rights, and
/// should end.
pub fn enter() -> Result<(), LabError> {
    let threads = thread_count();
    if threads > 1 {
        return Err(LabError::HasThreads { threads });
    }
    let is_root = nix::unistd::geteuid().is_root();
    if !(is_root && unshare(CloneFlags::CLONE_NEWNET).is_ok()) {
        become_root_of_a_user_namespace()?;
    }
    // The first call that needs a right tells whether the namespace came with any: AppArmor, as
    // Ubuntu sets it up, gives user namespaces without.
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
    // user_namespaces(7): without privilege outside, setgroups must be given up before the map of
    // groups is written, and each map has one line, for the caller.
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Number of threads in this process.
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

/// A network namespace, kept alive by this handle.
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

    /// A new namespace, empty but for `lo`, which is up.
    ///
    /// # Errors
    /// The process has no rights over namespaces: [`enter`] gives them.
    pub fn new() -> Result<Self, LabError> {
        let create = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Netns::current()
        };
        // A thread of its own, because the caller stays where it is.
        let made = std::thread::scope(|scope| scope.spawn(create).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(LabError::os("create", NAMESPACE))?;
        let made = Self(made);
        made.start()?;
        Ok(made)
    }

    /// Runs `f` in this namespace, on a thread of its own, and returns what it returns. Sockets
    /// that `f` makes stay in this namespace wherever they are used.
    ///
    /// # Errors
    /// The process has no rights over this namespace.
    ///
    /// # Panics
    /// If `f` does.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.0.run(f).map_err(LabError::os("enter", NAMESPACE))
    }

    /// Sets a parameter of this namespace, named as by `sysctl` but with slashes:
    /// `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// It does not exist, or the value is not valid.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<(), LabError> {
        let path = format!("/proc/sys/{name}");
        self.run(|| fs::write(&path, value))?.map_err(LabError::os("write", path.clone()))
    }

    /// Brings the loopback device up, so that the namespace's own addresses work in it.
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

//! The switch of an ordinary user: devices in a network namespace of its own, tunnels in the one
//! in which it was started.
//!
//! An ordinary user may do with devices what he wants only in a network namespace that belongs to a user
//! namespace of his. Nothing leads from there to the machine's network, and a process that has entered it
//! cannot go back: `setns(2)` wants a capability that the user does not have outside. But a thread that stays
//! outside can open sockets there, for which a user needs no capability, and a socket belongs for ever to the
//! namespace in which it was opened.
//!
//! ```text
//! main thread:  become_root ──► make_inside ──► (the process is confined) ──► stay_outside ──► all other threads
//!               user namespace  a network        one thread so far            │ this thread goes inside
//!                               namespace, not                                └► another one stays outside, and
//!                               entered yet                                      opens what [`outside`] is given
//! ```

use crate::netlink::Netlink;
use crate::netns::Netns;
use nix::sched::{CloneFlags, setns, unshare};
use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};

/// What the thread outside is to do.
type Job = Box<dyn FnOnce() + Send>;

/// The way to the thread outside; empty if this process is as any other.
static OUTSIDE: OnceLock<Sender<Job>> = OnceLock::new();

/// Enters a new user namespace, in which the user of this process is root. The process must have a single
/// thread. The network namespace stays the same.
///
/// # Errors
/// The process has several threads, or the kernel does not allow the user a user namespace; in the latter case,
/// the process may be in one without rights, and should end.
pub fn become_root() -> io::Result<()> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // user_namespaces(7): a process without privileges must deny setgroups before it writes the map of groups,
    // and each map has a single line with the caller's own id.
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// What a user can do on a machine that does not allow ordinary users namespaces of their own.
pub fn advice() -> &'static str {
    let reads = |file: &str, value: &str| {
        std::fs::read_to_string(file).is_ok_and(|contents| contents.trim() == value)
    };
    if reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
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
    }
}

/// Makes a network namespace whose only device is `lo`, which is up. The calling thread stays in its own.
///
/// # Errors
/// The kernel refuses the namespace or the device.
pub fn make_inside() -> io::Result<Netns> {
    let make = || -> io::Result<Netns> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let mut netlink = Netlink::open().map_err(io::Error::other)?;
        let index = netlink.link("lo").map_err(io::Error::other)?.index;
        netlink.set_up(index, true).map_err(io::Error::other)?;
        Netns::current()
    };
    // `unshare` moves the calling thread, so a temporary thread calls it.
    std::thread::scope(|scope| scope.spawn(make).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Moves the calling thread into a network namespace, and starts a thread that stays where the calling one was,
/// as long as the process lives. Threads that are started afterwards are inside.
///
/// # Errors
/// The kernel refuses the thread, or the capability `CAP_SYS_ADMIN` is missing; this thread
/// is where it was then.
pub fn stay_outside(inside: &Netns) -> io::Result<()> {
    let (jobs, received) = mpsc::channel::<Job>();
    std::thread::Builder::new()
        .name("outside".to_owned())
        .spawn(move || received.into_iter().for_each(|job| job()))?;
    setns(inside, CloneFlags::CLONE_NEWNET)?;
    let _ = OUTSIDE.set(jobs);
    Ok(())
}

/// Whether tunnels are in another network namespace than devices.
pub(crate) fn has_outside() -> bool {
    OUTSIDE.get().is_some()
}

/// Runs `f` in the network namespace of tunnels that name none: by the thread outside if there is one, else by
/// the calling one.
///
/// # Errors
/// The thread outside has ended, which it does only if what it was given has panicked.
pub(crate) fn outside<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> io::Result<R> {
    let Some(jobs) = OUTSIDE.get() else { return Ok(f()) };
    let gone = || io::Error::other("the thread in the machine's network namespace has ended");
    let (done, result) = mpsc::sync_channel(1);
    let job = move || {
        let _ = done.send(f());
    };
    jobs.send(Box::new(job)).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())
}

/// Starts a program where this process was started: outside, if there is an outside.
///
/// # Errors
/// Those of [`Command::spawn`].
pub fn spawn_outside(mut command: Command) -> io::Result<Child> {
    outside(move || command.spawn())?
}

//! The user and the capabilities of the process.
//!
//! | capability | for |
//! | --- | --- |
//! | `CAP_NET_RAW` | packet sockets |
//! | `CAP_NET_ADMIN` | devices: the shield, links, TAP devices, receive buffers beyond the system's limit |
//! | `CAP_SYS_ADMIN` | `setns(2)` into the namespace of a port `netns:NAMESPACE/NAME`; not with `--netns off` |
//!
//! Another user than root keeps them, too, and passes them on to the programs that the process starts (as
//! ambient capabilities), so that a successor has them.

use anyhow::{Context, bail};
use caps::{CapSet, Capability, CapsHashSet};
use control::record::{ConfinementRecord, Enforcement};
use control::trust::user_name;
use nix::unistd::{Gid, Uid, User, getegid, geteuid, getgroups, setgid, setgroups, setuid};
use std::fs;

/// There is no such user.
#[derive(Debug, thiserror::Error)]
#[error("--user {0}: there is no such user; \"getent passwd\" lists them")]
pub struct UserError(String);

/// A user by name.
pub(super) fn find(name: &str) -> anyhow::Result<User> {
    let found = User::from_name(name).with_context(|| format!("look for --user {name}"))?;
    Ok(found.ok_or_else(|| UserError(name.to_owned()))?)
}

/// Becomes `user`, joins `socket_group`, and gives up all capabilities but those of the table above. `None`
/// stays the user that the process has.
///
/// # Errors
/// The kernel refuses: another user needs `CAP_SETUID` and `CAP_SETGID`.
pub(super) fn reduce(
    user: Option<&User>,
    socket_group: Option<Gid>,
    enters_namespaces: bool,
) -> anyhow::Result<()> {
    let mut kept: CapsHashSet = [Capability::CAP_NET_RAW, Capability::CAP_NET_ADMIN].into();
    if enters_namespaces {
        kept.insert(Capability::CAP_SYS_ADMIN);
    }
    let permitted = caps::read(None, CapSet::Permitted).context("read capabilities")?;
    kept.retain(|capability| permitted.contains(capability));
    drop_bounds(&kept);
    let other = user.filter(|user| user.uid != geteuid());
    if other.is_some() {
        caps::securebits::set_keepcaps(true).context("keep capabilities")?;
    }
    change_groups(other, socket_group)?;
    if let Some(user) = other {
        become_user(user.uid).with_context(|| format!("become --user {}", user.name))?;
    }
    // Ambient capabilities have to be both permitted and inheritable.
    let in_this_order = [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable];
    for set in in_this_order {
        caps::set(None, set, &kept).context("give up capabilities")?;
    }
    let ambient = if geteuid().is_root() { CapsHashSet::new() } else { kept };
    if let Err(error) = caps::set(None, CapSet::Ambient, &ambient) {
        tracing::debug!("pass capabilities on to programs: {error}");
    }
    Ok(())
}

/// Takes the capabilities that are not in `kept` from the bounding set, as far as this process may.
fn drop_bounds(kept: &CapsHashSet) {
    let bounds = caps::read(None, CapSet::Bounding).unwrap_or_default();
    for capability in bounds.difference(kept) {
        // Without CAP_SETPCAP: no_new_privs keeps programs from gaining capabilities as well.
        let _ = caps::drop(None, CapSet::Bounding, *capability);
    }
}

/// Leaves the groups of the old user, and joins those of `user` and the group of the control socket.
fn change_groups(user: Option<&User>, socket_group: Option<Gid>) -> anyhow::Result<()> {
    let groups = getgroups().context("read the groups of the process")?;
    let joined = socket_group.filter(|group| *group != getegid() && !groups.contains(group));
    if user.is_none() && joined.is_none() {
        return Ok(());
    }
    let mut wanted = if user.is_some() { Vec::new() } else { groups };
    wanted.extend(socket_group);
    if let Err(error) = setgroups(&wanted) {
        let what =
            if user.is_some() { "leave the groups of this user" } else { "join --socket-group" };
        bail!("{what}: {error}; CAP_SETGID is missing: run as root, or as a member of the group");
    }
    if let Some(user) = user {
        setgid(user.gid).with_context(|| format!("become --user {}", user.name))?;
    }
    Ok(())
}

fn become_user(uid: Uid) -> anyhow::Result<()> {
    setuid(uid)?;
    if setuid(Uid::from_raw(0)).is_ok() && !uid.is_root() {
        bail!("the kernel let this process become root again");
    }
    Ok(())
}

/// The user and capabilities of this process, with these states of landlock and seccomp.
pub(super) fn describe(landlock: Enforcement, seccomp: Enforcement) -> ConfinementRecord {
    let effective = caps::read(None, CapSet::Effective).unwrap_or_default();
    let mut capabilities: Vec<String> = effective.iter().map(ToString::to_string).collect();
    capabilities.sort_unstable();
    ConfinementRecord {
        user: user_name(geteuid().as_raw()),
        capabilities,
        no_new_privs: match Status::read().has_no_new_privileges {
            true => Enforcement::On,
            false => Enforcement::Off,
        },
        seccomp,
        landlock,
    }
}

/// What `/proc/self/status` says about this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// Whether `no_new_privs` is set.
    pub(super) has_no_new_privileges: bool,
    /// Whether a seccomp filter is in force, ours or another.
    pub(super) has_filter: bool,
}

impl Status {
    /// Reads the file. If it cannot be read, nothing is in force.
    pub(super) fn read() -> Self {
        Self::parse(&fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let is = |key: &str, value: &str| {
            text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.trim() == value))
        };
        Self { has_no_new_privileges: is("NoNewPrivs:", "1"), has_filter: is("Seccomp:", "2") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_process_is_read() {
        let text = "Name:\tswitchd\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let confined = Status { has_no_new_privileges: true, has_filter: true };
        assert_eq!(Status::parse(text), confined);
        let free = Status { has_no_new_privileges: false, has_filter: false };
        assert_eq!(Status::parse("NoNewPrivs:\t0\nSeccomp:\t0\n"), free);
    }

    #[test]
    fn a_user_that_does_not_exist_is_named() {
        let error = find("nobody-of-that-name").unwrap_err().to_string();
        assert!(error.starts_with("--user nobody-of-that-name: there is no such user"), "{error}");
    }
}

//! The path of the control socket, which daemon and clients compute by the same rule.

use nix::unistd::geteuid;
use std::ffi::OsString;
use std::path::PathBuf;

/// The environment variable whose value overrides [`run_dir`], for daemon and clients.
pub const RUNDIR_VARIABLE: &str = "SWITCH_RUNDIR";

/// The file name of the socket in [`run_dir`].
pub const SOCKET_NAME: &str = "switchd.sock";

/// The directory of the socket for root.
pub const ROOT_RUN_DIR: &str = "/run/switchd";

/// The rule by which daemon and clients find the socket, for their help.
pub const RULE: &str = "switchd.sock in $SWITCH_RUNDIR, else in /run/switchd for root, else in \
                        $XDG_RUNTIME_DIR/switchd, else in /tmp/switchd-UID";

/// The directory of the socket: `$SWITCH_RUNDIR`, else `/run/switchd` for root, else
/// `$XDG_RUNTIME_DIR/switchd`, else `/tmp/switchd-UID`.
pub fn run_dir() -> PathBuf {
    // Not the owner of /proc/self: that is root for a program with file capabilities (proc(5)).
    run_dir_for(geteuid().as_raw(), |name| std::env::var_os(name))
}

/// The path of the socket: [`SOCKET_NAME`] in [`run_dir`].
pub fn socket_path() -> PathBuf {
    run_dir().join(SOCKET_NAME)
}

fn run_dir_for(uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let variable = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = variable(RUNDIR_VARIABLE) {
        return folder;
    }
    if uid == 0 {
        return PathBuf::from(ROOT_RUN_DIR);
    }
    match variable("XDG_RUNTIME_DIR") {
        Some(folder) => folder.join("switchd"),
        None => PathBuf::from(format!("/tmp/switchd-{uid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uid: u32, variables: &[(&str, &str)], expected: &str) {
        let got = run_dir_for(uid, |name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
        });
        assert_eq!(got, PathBuf::from(expected));
    }

    #[test]
    fn the_folder_depends_on_the_user_and_the_environment() {
        check(0, &[("XDG_RUNTIME_DIR", "/run/user/0")], "/run/switchd");
        check(1000, &[("XDG_RUNTIME_DIR", "/run/user/1000")], "/run/user/1000/switchd");
        check(1000, &[("XDG_RUNTIME_DIR", "")], "/tmp/switchd-1000");
        check(0, &[("SWITCH_RUNDIR", "/tmp/x")], "/tmp/x");
    }
}

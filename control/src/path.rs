//! Where the control socket is: the same rule for the daemon and for those who talk to it.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Names the folder of the socket, for both programs.
pub const RUNDIR_VARIABLE: &str = "SWITCH_RUNDIR";

/// The socket's name in its folder.
pub const SOCKET_NAME: &str = "switchd.sock";

/// The folder with the socket: `$SWITCH_RUNDIR`, else `/run/switchd` for root, else
/// `$XDG_RUNTIME_DIR/switchd`, else `/tmp/switchd-UID`.
pub fn run_dir() -> PathBuf {
    // The owner of a process's entries in /proc is its effective user.
    let uid = std::fs::metadata("/proc/self").map_or(u32::MAX, |m| m.uid());
    run_dir_for(uid, |name| std::env::var_os(name))
}

/// The socket in [`run_dir`].
pub fn socket_path() -> PathBuf {
    run_dir().join(SOCKET_NAME)
}

fn run_dir_for(uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let variable = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = variable(RUNDIR_VARIABLE) {
        return folder;
    }
    if uid == 0 {
        return PathBuf::from("/run/switchd");
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

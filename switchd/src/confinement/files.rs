//! The files and folders that the process can use, enforced by landlock where the kernel has it.
//!
//! Landlock looks at a file when it is opened. What is open already, pipes, sockets and files of `nsfs`
//! (namespaces) stay usable. A rule belongs to a file or folder, not to a path: the rule of a file that is
//! replaced by another of the same name is lost. So a file that may be replaced (the configuration, the
//! program) is allowed by its folder.

use anyhow::Context;
use control::record::Enforcement;
use control::trust::{Missing, Trust};
use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus,
};
use nix::unistd::{User, chown, geteuid};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The version of landlock whose rights are handled. A kernel with an older version handles those that it
/// knows. Version 5 (Linux 6.10) is the first that controls `ioctl(2)` on devices.
const VERSION: ABI = ABI::V5;

/// The folder of the service's configuration, which may have files for TLS that a command names later.
const SERVICE_FOLDER: &str = "/etc/switchd";

/// What getaddrinfo(3) reads, and the folder to which `/etc/resolv.conf` often leads:
/// the files there are replaced.
const RESOLVER_FILES: [&str; 7] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/run/systemd/resolve",
];

/// The files and folders that options name.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The control socket.
    pub socket: &'a Path,
    /// Whether the path of the socket is the usual one of root: then its folder may be given to `--user`.
    pub is_usual_socket: bool,
    /// The directory of `--state`.
    pub state: Option<&'a Path>,
    /// The file of `--config`.
    pub config: Option<&'a Path>,
    /// The file of `--pidfile`.
    pub pid_file: Option<&'a Path>,
    /// The files for TLS that the command line or `--config` names.
    pub ssl: &'a [PathBuf],
}

impl Places<'_> {
    /// The folder of the control socket.
    fn run_dir(&self) -> PathBuf {
        folder_of(self.socket)
    }

    /// Makes the folders of the socket and of the state, for `user` if it is another. Landlock can allow only
    /// what exists, and `user` could not make them.
    ///
    /// # Errors
    /// A folder cannot be made, or cannot be given to `user`.
    pub(super) fn make(&self, user: Option<&User>) -> anyhow::Result<()> {
        let run_dir = self.run_dir();
        let trust = Trust::of_process()?;
        for folder in [Some(&*run_dir), self.state].into_iter().flatten() {
            let is_new = !folder.exists();
            // The code that uses the folder checks the path again, and reports what is wrong with it.
            let _ = trust.folder(folder, Missing::Create);
            let Some(user) = user else { continue };
            if is_new || self.is_usual_socket && folder == run_dir {
                give(folder, user).with_context(|| {
                    format!("give {} to --user {}", folder.display(), user.name)
                })?;
            }
        }
        Ok(())
    }
}

/// The folder in which a file lies.
fn folder_of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.parent().unwrap_or(&path).to_owned()
}

/// Makes `user` the owner of a folder and of the files in it, as far as they belong to
/// the user of this process.
fn give(folder: &Path, user: &User) -> std::io::Result<()> {
    let own = geteuid().as_raw();
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != own {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = fs::symlink_metadata(&path)?;
        // Only root could make entries here until now. A second name of a file elsewhere stays root's.
        if found.uid() == own && !found.is_symlink() && !found.is_dir() && found.nlink() == 1 {
            chown(&path, Some(user.uid), Some(user.gid))?;
        }
    }
    Ok(chown(folder, Some(user.uid), Some(user.gid))?)
}

/// Restricts this thread, the threads that it starts and the programs that they start to the files and folders
/// that a switch uses.
///
/// # Errors
/// The kernel has landlock and refuses.
pub(super) fn restrict(places: &Places<'_>) -> anyhow::Result<Enforcement> {
    let mut rules = Rules(Ruleset::default().handle_access(AccessFs::from_all(VERSION))?.create()?);
    let everything = AccessFs::from_all(VERSION) & !AccessFs::Execute;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    rules.allow(&places.run_dir(), everything)?;
    if let Some(state) = places.state {
        rules.allow(state, everything)?;
    }
    if let Some(folder) = ports::device_lock_folder() {
        rules.allow(&folder, everything)?;
    }
    if let Some(config) = places.config {
        rules.allow(&folder_of(config), read)?;
    }
    if let Some(pid_file) = places.pid_file {
        let replace = AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::WriteFile;
        rules.allow(&folder_of(pid_file), replace | AccessFs::Truncate)?;
    }
    // A certificate that is renewed is another file of the same name.
    for file in places.ssl {
        rules.allow(&folder_of(file), AccessFs::ReadFile.into())?;
    }
    rules.allow(Path::new(SERVICE_FOLDER), AccessFs::ReadFile.into())?;
    // Names of controllers are looked up as these files say.
    for path in RESOLVER_FILES {
        rules.allow(Path::new(path), AccessFs::ReadFile.into())?;
    }
    // "ip netns add" makes the folder with the first namespace.
    let names = Path::new(ports::netns::NAMED);
    let names = if names.exists() { names } else { Path::new("/run") };
    rules.allow(names, read)?;
    for folder in ["/proc", "/sys"] {
        rules.allow(Path::new(folder), read)?;
    }
    // Names of users are for the log. The file of the names is replaced when a user is added, so the folder
    // would have to be allowed; root could read the passwords there as well.
    let names_of_users: &[&str] =
        if geteuid().is_root() { &["/etc/passwd", "/etc/group"] } else { &["/etc"] };
    let files = ["/dev/tty", "/etc/machine-id", "/etc/ld.so.cache", "/dev/urandom"];
    for path in names_of_users.iter().chain(&files) {
        rules.allow(Path::new(path), AccessFs::ReadFile.into())?;
    }
    let device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
    for path in ["/dev/net", "/dev/null"] {
        rules.allow(Path::new(path), device)?;
    }
    rules.allow_program(read)?;
    let status = rules.0.restrict_self()?;
    Ok(match (status.landlock, status.ruleset) {
        (LandlockStatus::Available { .. }, RulesetStatus::FullyEnforced) => Enforcement::On,
        (LandlockStatus::Available { .. }, RulesetStatus::PartiallyEnforced) => {
            Enforcement::Partial
        }
        _ => Enforcement::Absent,
    })
}

/// The files and folders that are allowed so far.
struct Rules(RulesetCreated);

impl Rules {
    /// Allows uses of a file, or of a folder and everything below it. A path that cannot be reached would be of
    /// no use without landlock either, and is left out.
    fn allow(&mut self, path: &Path, uses: BitFlags<AccessFs>) -> anyhow::Result<()> {
        let Ok(found) = fs::metadata(path) else { return Ok(()) };
        let uses = if found.is_dir() { uses } else { uses & AccessFs::from_file(VERSION) };
        let Ok(file) = PathFd::new(path) else { return Ok(()) };
        let rules = &mut self.0;
        rules.add_rule(PathBeneath::new(file, uses)).with_context(|| path.display().to_string())?;
        Ok(())
    }

    /// Allows to start the program of this process again: its folder, because an update replaces the file, and
    /// the folders of the libraries and of the loader, which starts it.
    fn allow_program(&mut self, read: BitFlags<AccessFs>) -> anyhow::Result<()> {
        let started = read | AccessFs::Execute;
        if let Ok(program) = std::env::current_exe() {
            self.allow(&folder_of(&program), started)?;
        }
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        for library in mapped_files(&maps) {
            let uses = if is_loader(library) { started } else { read };
            self.allow(&folder_of(library), uses)?;
        }
        Ok(())
    }
}

/// The files that have executable code in a process, of the text of `/proc/PID/maps`:
/// the program and its libraries.
fn mapped_files(maps: &str) -> impl Iterator<Item = &Path> {
    // "7f..-7f.. r-xp 00026000 fe:00 1234    /usr/lib/x86_64-linux-gnu/libc.so.6"
    let code = maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|m| m.contains('x')));
    code.filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])))
}

/// Whether a library is the loader of dynamic programs (`ld-linux-x86-64.so.2`).
fn is_loader(library: &Path) -> bool {
    library.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_their_loader_are_found() {
        let maps = "55d0-55d1 r--p 00000000 fe:00 1 /usr/bin/switchd\n\
                    55d1-55d2 r-xp 00001000 fe:00 1                    /usr/bin/switchd\n\
                    7f00-7f01 r-xp 00026000 fe:00 2                    /usr/lib/libc.so.6\n\
                    7f02-7f03 r-xp 00001000 fe:00 3                    /usr/lib/ld-linux-x86-64.so.2\n\
                    7ffc-7ffd r-xp 00000000 00:00 0                    [vdso]\n";
        let found: Vec<_> =
            mapped_files(maps).map(|path| (path.to_str(), is_loader(path))).collect();
        let libraries = [
            (Some("/usr/bin/switchd"), false),
            (Some("/usr/lib/libc.so.6"), false),
            (Some("/usr/lib/ld-linux-x86-64.so.2"), true),
        ];
        assert_eq!(found, libraries);
    }
}

//! At most one switch process of a user uses a device.
//!
//! The lock of a device is one byte of a file that is the user's own, locked by fcntl(2) (`F_SETLK`). The place
//! of the byte is made of the number of the network namespace and the interface number. Such a lock goes away
//! with the process however the process ends; the kernel answers at once whether it is free, and which process
//! has it. Nobody else can take it or keep anybody waiting: another user can neither open the file nor put
//! another one in its place.
//!
//! The kernel drops all these locks when the process closes *any* descriptor of the file, so the process opens
//! the file once and never closes it. The kernel does not tell the threads of a process from each other either;
//! the process remembers its own locks.
//!
//! Such a lock cannot be given to another process. A switch that hands its devices over unlocks
//! all of them ([`give_up_locks`]), and its successor, which counts on that ([`Lock::promised`]),
//! locks them at once ([`take_promised_locks`]).

use crate::PortError;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::geteuid;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, symlink_metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The name of the file in the user's folder.
const FILE_NAME: &str = "devices.lock";

/// The file, and the locks of this process.
static LOCKS: Mutex<Locks> = Mutex::new(Locks {
    file: None,
    folder: None,
    held: BTreeSet::new(),
    promised: BTreeSet::new(),
});

struct Locks {
    /// `None` until the first lock is taken; `Some(None)` if the file could not be opened. Then locks hold
    /// within this process only.
    file: Option<Option<File>>,
    /// The folder of the file; `None` while there is no file.
    folder: Option<PathBuf>,
    /// The places of the bytes that this process has locked, or will lock.
    held: BTreeSet<i64>,
    /// Those of `held` that another process has locked, and is about to unlock for this one.
    promised: BTreeSet<i64>,
}

/// Held while a device is a port.
#[derive(Debug)]
pub(crate) struct Lock {
    place: i64,
}

impl Lock {
    /// Takes the device `device` with interface number `index` of the network
    /// namespace with the inode `namespace`.
    ///
    /// # Errors
    /// [`PortError::InUse`] with the process that has it.
    pub(crate) fn take(namespace: u64, device: &str, index: u32) -> Result<Self, PortError> {
        let in_use = |owner| Err(PortError::InUse { device: device.to_owned(), owner });
        let place = place(namespace, index);
        let mut locks = locks();
        if locks.held.contains(&place) {
            return in_use("this process already".to_owned());
        }
        if let Some(file) = locks.file() {
            let mut wanted = byte(place, libc::F_WRLCK);
            match fcntl(file, FcntlArg::F_SETLK(&wanted)) {
                Ok(_) => {}
                Err(nix::Error::EAGAIN | nix::Error::EACCES) => {
                    let asked = fcntl(file, FcntlArg::F_GETLK(&mut wanted));
                    return in_use(owner(asked.ok().map(|_| wanted.l_pid)));
                }
                Err(error) => {
                    let source = error.into();
                    let object = device.to_owned();
                    return Err(PortError::Os { operation: "lock", object, source });
                }
            }
        }
        locks.held.insert(place);
        Ok(Self { place })
    }

    /// The lock of a device that another process has locked and hands over to this one. To be taken with
    /// [`take_promised_locks`] when the other process has unlocked the device.
    pub(crate) fn promised(namespace: u64, index: u32) -> Self {
        let place = place(namespace, index);
        let mut locks = locks();
        locks.held.insert(place);
        locks.promised.insert(place);
        Self { place }
    }
}

/// Unlocks all devices of this process, which hands them over to another process and uses them no longer.
pub fn give_up_locks() {
    let mut locks = locks();
    let whole_file = libc::flock { l_len: 0, ..byte(0, libc::F_UNLCK) };
    if let Some(file) = locks.file() {
        // Unlocking cannot fail.
        let _ = fcntl(file, FcntlArg::F_SETLK(&whole_file));
    }
}

/// Locks the devices whose locks were promised. The process that had them has unlocked them. Returns the number
/// of devices that a third process has locked in between.
pub fn take_promised_locks() -> usize {
    let mut locks = locks();
    let promised = std::mem::take(&mut locks.promised);
    let Some(file) = locks.file() else { return 0 };
    let is_taken =
        |place: &i64| fcntl(file, FcntlArg::F_SETLK(&byte(*place, libc::F_WRLCK))).is_err();
    promised.iter().filter(|place| is_taken(place)).count()
}

/// The place of a device's byte in the file.
fn place(namespace: u64, index: u32) -> i64 {
    // The inode of a namespace has 32 bits, an interface number 31.
    (namespace as u32 as i64) << 31 | i64::from(index & 0x7fff_ffff)
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut locks = locks();
        if let Some(file) = locks.file() {
            // Unlocking what is locked cannot fail.
            let _ = fcntl(file, FcntlArg::F_SETLK(&byte(self.place, libc::F_UNLCK)));
        }
        locks.held.remove(&self.place);
    }
}

/// Code under this lock leaves whole values behind, whatever panics.
fn locks() -> MutexGuard<'static, Locks> {
    LOCKS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Locks {
    fn file(&mut self) -> Option<&File> {
        if self.file.is_none() {
            match open() {
                Ok(opened) => self.keep(opened),
                Err(error) => {
                    tracing::warn!(
                        "no folder for {FILE_NAME}: {error}: nothing keeps a second switch from using the same devices"
                    );
                    self.file = Some(None);
                }
            }
        }
        self.file.as_ref()?.as_ref()
    }

    fn keep(&mut self, (folder, file): (PathBuf, File)) {
        self.file = Some(Some(file));
        self.folder = Some(folder);
    }
}

/// The folder of the file in which devices are locked, which is made if it does not exist; `None` if this user
/// can have none. A process that will not be able to make the folder later calls this first.
pub fn device_lock_folder() -> Option<PathBuf> {
    let mut locks = locks();
    if locks.file.is_none()
        && let Ok(opened) = open()
    {
        // The next attempt reports an error.
        locks.keep(opened);
    }
    locks.folder.clone()
}

/// A request about the byte at `place`: to lock it (`F_WRLCK`) or to unlock it (`F_UNLCK`).
fn byte(place: i64, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: place,
        l_len: 1,
        l_pid: 0,
    }
}

/// What is to be done about a device that another switch has.
const HOW_TO_MOVE: &str =
    "a device belongs to one switch: take it away there with \"ofctl del-port\", or stop it";

/// The process that has a lock, in words; `None` if the kernel did not tell its number.
fn owner(pid: Option<libc::pid_t>) -> String {
    match pid {
        // The kernel says 0 for a process of another PID namespace.
        Some(pid) if pid > 0 => format!("process {pid}; {HOW_TO_MOVE}"),
        _ => format!("another process; {HOW_TO_MOVE}"),
    }
}

/// The file in the first folder that this user may have, and that folder. All switches of a
/// user find the same one.
fn open() -> io::Result<(PathBuf, File)> {
    let uid = geteuid().as_raw();
    let mut result = Err(io::ErrorKind::NotFound.into());
    for folder in folders(uid, std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)) {
        result = open_in(&folder, uid).map(|file| (folder, file));
        if result.is_ok() {
            break;
        }
    }
    result
}

/// The folders in which the file may lie, the best first. The first one belongs to root, or to the user to whom
/// root has given it; every other user, root of a user namespace included, may not use it.
fn folders(uid: u32, runtime: Option<PathBuf>) -> Vec<PathBuf> {
    let of_machine = PathBuf::from("/run/switchd");
    let of_user =
        runtime.filter(|folder| folder.is_absolute()).map(|folder| folder.join("switchd"));
    let last = PathBuf::from(format!("/tmp/switchd-{uid}"));
    [of_machine].into_iter().chain(of_user).chain([last]).collect()
}

/// Opens the file in `folder`; both are made if they do not exist. Follows no symbolic link, waits for no pipe,
/// and refuses a folder that others can change and a file that others can open.
fn open_in(folder: &Path, uid: u32) -> io::Result<File> {
    let refused = |path: &Path, why: &str| {
        io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {why}", path.display()))
    };
    let named =
        |path: &Path, e: &io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(named(folder, &error));
        }
        _ => {}
    }
    let found = symlink_metadata(folder).map_err(|e| named(folder, &e))?;
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o022 != 0 {
        return Err(refused(folder, "is not a folder that only this user can change"));
    }
    let path = folder.join(FILE_NAME);
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(&path)
        .map_err(|e| named(&path, &e))?;
    let found = file.metadata().map_err(|e| named(&path, &e))?;
    if !found.is_file() || found.uid() != uid || found.mode() & 0o077 != 0 {
        return Err(refused(&path, "is not a file of this user alone"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("switchd-lock-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_device_is_locked_once() {
        let first = Lock::take(7, "p1", 1).unwrap();
        let error = Lock::take(7, "p1", 1).unwrap_err();
        assert_eq!(error.to_string(), "device \"p1\" is in use by this process already");
        // Others of the same number or the same namespace are other devices.
        let _others = [Lock::take(8, "p1", 1).unwrap(), Lock::take(7, "p2", 2).unwrap()];
        drop(first);
        drop(Lock::take(7, "p1", 1).unwrap());
        // The largest numbers there are.
        drop(Lock::take(u64::from(u32::MAX), "p1", i32::MAX as u32).unwrap());
    }

    #[test]
    fn neither_links_nor_pipes_nor_the_files_of_others_are_opened() {
        let uid = geteuid().as_raw();
        let folder = Folder::new("traps");
        let path = folder.0.join(FILE_NAME);
        drop(open_in(&folder.0, uid).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let is_refused = |why: &str| {
            let error = open_in(&folder.0, uid).unwrap_err();
            assert!(error.to_string().contains(folder.0.to_str().unwrap()), "{why}: {error}");
            let _ = fs::remove_file(&path);
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        is_refused("a file that is open to others");
        symlink("/etc/passwd", &path).unwrap();
        is_refused("a symbolic link");
        mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        is_refused("a pipe");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
        is_refused("a folder that is open to others");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(open_in(&folder.0, uid + 1).is_err(), "a folder of another user");
    }

    #[test]
    fn every_user_has_a_folder() {
        let runtime = Some(PathBuf::from("/run/user/5"));
        let folders = |uid, runtime| -> Vec<String> {
            super::folders(uid, runtime).iter().map(|f| f.display().to_string()).collect()
        };
        let of_user = ["/run/switchd", "/run/user/5/switchd", "/tmp/switchd-5"];
        assert_eq!(folders(5, runtime), of_user);
        assert_eq!(folders(0, None), ["/run/switchd", "/tmp/switchd-0"]);
    }
}

//! Who may have made the path of the control socket, or of another file that the daemon uses.
//!
//! Whoever can replace a folder of the path, or an entry in a folder, decides which file the path names: a
//! daemon would put its socket where another user can exchange it, and a client would believe the other user's
//! daemon. So daemon and clients walk the path from `/` downwards and trust a folder or a symbolic link only if
//!
//! - it belongs to the user of the process, to root, or to the owner of `/`, who decides about every path (in a
//!   user namespace the owner of `/` is not mapped to root);
//! - nobody else can change its entries: a folder that the group or everybody can write to has the sticky bit,
//!   as `/tmp` has.
//!
//! Only trusted users can change what a trusted folder holds, so the answer stays true after the walk.

use crate::os_error::OsError;
use crate::path::ROOT_RUN_DIR;
use nix::unistd::geteuid;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// The largest number of symbolic links on the way to a folder, as in Linux (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// The users who are trusted with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The effective user of the process.
    user: u32,
    /// The owner of `/`.
    system: u32,
    /// The user to whom root has given root's folder of the socket; `None` if root has kept the folder.
    service: Option<u32>,
}

/// What [`Trust::folder`] does about a folder that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Creates the folder with mode 0700: only the user of the process can look into it.
    Create,
    /// Fails with [`PathError::Os`].
    Fail,
}

/// Why a path is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A user who is not trusted owns a part of the path.
    #[error(
        "{} belongs to {owner}, who could put something else there: remove it, or name another place with --socket \
         or --state", path.display()
    )]
    Foreign {
        /// The path of the folder, symbolic link, lock file or socket.
        path: PathBuf,
        /// The owner, as [`user_name`] writes it.
        owner: String,
    },
    /// Users who are not trusted can change the entries of a folder.
    #[error(
        "{} can be written by {writers}, who could exchange what lies there: chmod go-w it, or name another place with \
         --socket or --state", path.display()
    )]
    Writable {
        /// The path of the folder.
        path: PathBuf,
        /// The users who can write: `its group` or `everybody`.
        writers: &'static str,
    },
    /// A part of the path that has to be a folder is something else.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// The path of that part.
        path: PathBuf,
    },
    /// The kernel refused an operation on a folder.
    #[error(transparent)]
    Os(#[from] OsError),
}

impl Trust {
    /// The users whom this process trusts.
    ///
    /// # Errors
    /// `/` cannot be looked at.
    pub fn of_process() -> Result<Self, PathError> {
        let root = Path::new("/");
        let system = fs::metadata(root).map_err(OsError::of("look at", root))?.uid();
        Ok(Self { user: geteuid().as_raw(), system, service: None })
    }

    /// The users whom a client of the socket at `path` trusts: those of [`Trust::of_process`], and in
    /// [`ROOT_RUN_DIR`] also the owner of that folder, as whom the service runs (`switchd --user`, or `User=`
    /// of a unit). Only root can make another user the owner.
    ///
    /// # Errors
    /// `/` cannot be looked at.
    pub fn of_client(path: &Path) -> Result<Self, PathError> {
        let folder = Path::new(ROOT_RUN_DIR);
        let owner = || fs::symlink_metadata(folder).ok().filter(Metadata::is_dir).map(|f| f.uid());
        let service = if path.parent() == Some(folder) { owner() } else { None };
        Ok(Self { service, ..Self::of_process()? })
    }

    /// Whether the user with this number is trusted.
    pub fn includes(&self, uid: u32) -> bool {
        uid == 0 || uid == self.user || uid == self.system || Some(uid) == self.service
    }

    /// Checks the owner of a folder, symbolic link, file or socket.
    ///
    /// # Errors
    /// [`PathError::Foreign`].
    pub fn check_owner(&self, path: &Path, found: &Metadata) -> Result<(), PathError> {
        if self.includes(found.uid()) {
            return Ok(());
        }
        Err(PathError::Foreign { path: path.to_owned(), owner: user_name(found.uid()) })
    }

    /// Walks to a folder and returns its path without symbolic links.
    ///
    /// # Errors
    /// A part of the path is not trusted, is not there, or is no folder. Folders that the walk
    /// has created by then remain.
    pub fn folder(&self, path: &Path, missing: Missing) -> Result<PathBuf, PathError> {
        let path = std::path::absolute(path).map_err(OsError::of("find", path))?;
        let mut at = PathBuf::from("/");
        self.check_folder(&at, &fs::metadata(&at).map_err(OsError::of("look at", &at))?)?;
        // The names of the rest of the path, the next one last.
        let mut rest = names(&path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(name);
            let found = look_at(&next, missing)?;
            self.check_owner(&next, &found)?;
            if !found.is_symlink() {
                self.check_folder(&next, &found)?;
                at = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                let error = io::Error::other("too many symbolic links");
                return Err(OsError::of("follow", &next)(error).into());
            }
            let target = fs::read_link(&next).map_err(OsError::of("follow", &next))?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            rest.extend(names(&target));
        }
        Ok(at)
    }

    /// As [`Trust::folder`], for the folder in which the file or socket at `path` lies.
    ///
    /// # Errors
    /// As [`Trust::folder`].
    pub fn folder_of(&self, path: &Path, missing: Missing) -> Result<PathBuf, PathError> {
        let path = std::path::absolute(path).map_err(OsError::of("find", path))?;
        self.folder(path.parent().unwrap_or(&path), missing)
    }

    /// As [`Trust::folder`], for a folder in which nobody else may make files either: no sticky bit helps.
    ///
    /// # Errors
    /// As [`Trust::folder`].
    pub fn private_folder(&self, path: &Path, missing: Missing) -> Result<PathBuf, PathError> {
        let path = self.folder(path, missing)?;
        let found = fs::metadata(&path).map_err(OsError::of("look at", &path))?;
        match writers(found.mode()) {
            Some(writers) => Err(PathError::Writable { path, writers }),
            None => Ok(path),
        }
    }

    fn check_folder(&self, path: &Path, found: &Metadata) -> Result<(), PathError> {
        if !found.is_dir() {
            return Err(PathError::NotAFolder { path: path.to_owned() });
        }
        self.check_owner(path, found)?;
        match writers(found.mode()) {
            Some(writers) if found.mode() & STICKY == 0 => {
                Err(PathError::Writable { path: path.to_owned(), writers })
            }
            _ => Ok(()),
        }
    }
}

/// The bit of a folder's mode that lets only its owner take a file out of the folder (`S_ISVTX`).
const STICKY: u32 = 0o1000;

/// Those who can make files in a folder with this mode, other than its owner; `None` if nobody can.
fn writers(mode: u32) -> Option<&'static str> {
    match mode {
        _ if mode & 0o002 != 0 => Some("everybody"),
        _ if mode & 0o020 != 0 => Some("its group"),
        _ => None,
    }
}

/// The names of a path in reverse, `..` among them.
fn names(path: &Path) -> Vec<OsString> {
    let is_name = |c: &Component<'_>| matches!(c, Component::Normal(_) | Component::ParentDir);
    let names = path.components().filter(is_name);
    names.rev().map(|c| c.as_os_str().to_owned()).collect()
}

fn look_at(path: &Path, missing: Missing) -> Result<Metadata, PathError> {
    let found = fs::symlink_metadata(path);
    let found = match found {
        Err(e) if e.kind() == ErrorKind::NotFound && missing == Missing::Create => {
            match DirBuilder::new().mode(0o700).create(path) {
                // Somebody else has created it since the first look.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                created => created.map_err(OsError::of("create the folder", path))?,
            }
            fs::symlink_metadata(path)
        }
        found => found,
    };
    Ok(found.map_err(OsError::of("look at", path))?)
}

/// The user with this number for messages: `root`, `user alice (uid 1000)`, or `uid 1000` if `/etc/passwd` has
/// no such user.
pub fn user_name(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    match name_of("/etc/passwd", uid) {
        Some(name) => format!("user {name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}

/// The group with this number for messages: `group switchd`, or `gid 1000` if `/etc/group` has no such group.
pub fn group_name(gid: u32) -> String {
    match name_of("/etc/group", gid) {
        Some(name) => format!("group {name}"),
        None => format!("gid {gid}"),
    }
}

/// The name of the user or group with this number. The file is read instead of calling getpwuid(3), which may
/// ask servers and wait for them.
fn name_of(file: &str, number: u32) -> Option<String> {
    let entries = fs::read_to_string(file).ok()?;
    let name = entries.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then_some(name)
    })?;
    (!name.contains(char::is_control)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A folder that is removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!(
                "control-trust-{}-{}",
                std::process::id(),
                NEXT.fetch_add(1, Ordering::Relaxed)
            );
            let path = std::env::temp_dir().canonicalize().unwrap().join(name);
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            Self(path)
        }

        fn make(&self, name: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn ours() -> Trust {
        Trust::of_process().unwrap()
    }

    /// As another user than the one who runs this test sees the paths that the test makes. `None` if the test
    /// runs as root, whose folders everybody trusts.
    fn stranger() -> Option<Trust> {
        let user = geteuid().as_raw();
        (user != 0).then(|| Trust { user: user + 1, ..ours() })
    }

    /// Gives a path to user 12345, or returns false: only root can, outside of small user namespaces.
    fn give_away(path: &Path) -> bool {
        std::os::unix::fs::lchown(path, Some(12345), None).is_ok()
    }

    #[test]
    fn a_missing_folder_is_created_for_the_user_alone() {
        let folder = Folder::new();
        let wanted = folder.0.join("a/b");
        let error = ours().folder(&wanted, Missing::Fail).unwrap_err();
        assert!(matches!(error, PathError::Os(OsError { operation: "look at", .. })), "{error}");
        assert_eq!(ours().folder(&wanted, Missing::Create).unwrap(), wanted);
        assert_eq!(fs::metadata(&wanted).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(ours().folder(&wanted, Missing::Fail).unwrap(), wanted);
    }

    #[test]
    fn folders_that_others_can_change_are_refused_at_every_depth() {
        let folder = Folder::new();
        let check = |mode: u32, expected: Option<&str>| {
            let top = folder.make(&format!("{mode:o}"), mode);
            for path in [top.clone(), top.join("below")] {
                let got = ours().folder(&path, Missing::Create);
                match (expected, got) {
                    (None, Ok(at)) => assert_eq!(at, path),
                    (Some(expected), Err(PathError::Writable { path, writers })) => {
                        assert_eq!((path, writers), (top.clone(), expected));
                    }
                    (_, got) => panic!("{mode:o}: {got:?}"),
                }
            }
        };
        check(0o700, None);
        check(0o755, None);
        check(0o775, Some("its group"));
        check(0o777, Some("everybody"));
        check(0o1777, None);
        let open = folder.0.join("1777");
        let error = ours().private_folder(&open, Missing::Fail).unwrap_err();
        assert!(matches!(error, PathError::Writable { writers: "everybody", .. }), "{error}");
        let closed = folder.0.join("755");
        assert_eq!(ours().private_folder(&closed, Missing::Fail).unwrap(), closed);
    }

    #[test]
    fn folders_and_links_of_another_user_are_refused() {
        let folder = Folder::new();
        let (real, link) = (folder.make("real", 0o700), folder.0.join("link"));
        symlink("real/../real", &link).unwrap();
        assert_eq!(ours().folder(&link, Missing::Fail).unwrap(), real);
        let check = |trust: Trust, path: &Path, culprit: &Path| {
            let error = trust.folder(path, Missing::Create).unwrap_err();
            let PathError::Foreign { path, owner } = error else { panic!("{error}") };
            assert_eq!(path, culprit);
            assert!(owner.contains("uid "), "{owner}");
        };
        if let Some(stranger) = stranger() {
            check(stranger, &real, &folder.0);
        }
        if give_away(&link) {
            check(ours(), &link.join("below"), &link);
        }
        if give_away(&real) {
            check(ours(), &real, &real);
            check(ours(), &real.join("below"), &real);
        }
    }

    #[test]
    fn links_in_a_circle_and_files_end_the_walk() {
        let folder = Folder::new();
        symlink("b", folder.0.join("a")).unwrap();
        symlink("a", folder.0.join("b")).unwrap();
        let error = ours().folder(&folder.0.join("a"), Missing::Create).unwrap_err();
        assert!(matches!(error, PathError::Os(OsError { operation: "follow", .. })), "{error}");
        fs::write(folder.0.join("file"), "").unwrap();
        let error = ours().folder(&folder.0.join("file/below"), Missing::Create).unwrap_err();
        assert!(matches!(error, PathError::NotAFolder { .. }), "{error}");
    }

    #[test]
    fn users_have_names() {
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(3_999_999_999), "uid 3999999999");
        assert_eq!(
            (group_name(0), group_name(3_999_999_999)),
            ("group root".into(), "gid 3999999999".into())
        );
    }
}

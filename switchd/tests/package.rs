//! The Debian package: built, installed into a root directory of its own, and, where the machine has a systemd,
//! run by it.

use lab::RunDir;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The exit status of `packaging/try` on a machine that cannot run the service.
const CANNOT: i32 = 77;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Runs a command that has to succeed, and returns what it wrote.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    said(&output)
}

/// The programs of this build.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_switchd")).with_file_name("")
}

/// The package with the programs of this build. `None`, and a word about it, if this machine cannot build it.
fn build(to: &Path) -> Option<PathBuf> {
    let programs = programs();
    let skipped = |why: &str| {
        eprintln!("SKIPPED the package: {why}");
        None
    };
    for tool in ["python3", "dpkg-deb", "dpkg"] {
        if Command::new(tool).arg("--version").output().is_err() {
            return skipped(&format!("there is no {tool}"));
        }
    }
    if !programs.join("ofctl").exists() {
        return skipped("ofctl is not built; cargo test --workspace builds it");
    }
    let mut script = Command::new(workspace().join("packaging/deb"));
    let package = run(script.arg("--programs").arg(programs).arg("--to").arg(to));
    Some(PathBuf::from(package.lines().last()?))
}

/// The package of a next version, whose `switchd` says that version. `None`, and a word
/// about it, without that program.
fn build_next(to: &Path) -> Option<PathBuf> {
    let next = programs().join("examples/next_version");
    if !next.exists() {
        eprintln!("SKIPPED the upgrade to another version: cargo test --workspace builds it");
        return None;
    }
    let folder = to.join("next");
    fs::create_dir(&folder).unwrap();
    fs::copy(&next, folder.join("switchd")).unwrap();
    fs::copy(programs().join("ofctl"), folder.join("ofctl")).unwrap();
    let version = run(Command::new(&next).arg("--version"));
    let mut script = Command::new(workspace().join("packaging/deb"));
    script.arg("--programs").arg(&folder).arg("--to").arg(folder.join("package"));
    let package = run(script.arg("--version").arg(version.split_whitespace().last()?));
    Some(PathBuf::from(package.lines().last()?))
}

/// A root directory with what dpkg and the scripts of the package expect.
fn fresh_root(at: &Path) -> PathBuf {
    let root = at.join("root");
    for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "etc"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (file, text) in [
        ("var/lib/dpkg/status", ""),
        ("var/lib/dpkg/available", ""),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("etc/shadow", "root:*:19000:0:99999:7:::\n"),
        ("etc/gshadow", "root:*::\n"),
    ] {
        fs::write(root.join(file), text).unwrap();
    }
    root
}

#[test]
fn the_package_is_installed_and_runs() {
    let folder = RunDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let Some(package) = build(folder.path()) else { return };
    let root = fresh_root(folder.path());
    let listed = run(Command::new("dpkg-deb").arg("--contents").arg(&package));
    for path in [
        "./usr/sbin/switchd",
        "./usr/bin/ofctl",
        "./etc/switchd/switchd.toml",
        "./usr/lib/systemd/system/switchd.service",
        "./usr/share/man/man8/switchd.8.gz",
        "./usr/share/man/man8/ofctl.8.gz",
        "./usr/share/bash-completion/completions/ofctl",
        "./usr/share/zsh/vendor-completions/_ofctl",
        "./usr/share/fish/vendor_completions.d/ofctl.fish",
    ] {
        assert!(listed.lines().any(|line| line.ends_with(path)), "{path}: {listed}");
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED the installation: only root can install a package");
        return;
    }
    let dpkg = || {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", root.display()));
        // The scripts get the directory in DPKG_ROOT, and run outside of it: it has no shell.
        dpkg.args(["--force-script-chrootless", "--force-depends", "--force-confold"]);
        dpkg
    };
    run(dpkg().arg("--install").arg(&package));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    assert!(read("etc/group").contains("\nswitchd:"), "{}", read("etc/group"));
    assert!(read("etc/passwd").contains("\nswitchd:"), "{}", read("etc/passwd"));
    let program =
        |path: &str, arguments: &[&str]| run(Command::new(root.join(path)).args(arguments));
    assert!(program("usr/sbin/switchd", &["--version"]).starts_with("switchd "));
    assert!(program("usr/bin/ofctl", &["--version"]).starts_with("ofctl "));
    let completions = root.join("usr/share/bash-completion/completions/ofctl");
    run(Command::new("bash").arg("-n").arg(completions));
    if let Ok(output) = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--root"])
        .args([&root, &root.join("usr/lib/systemd/system/switchd.service")])
        .output()
    {
        let errors = said(&output);
        // The directory has no other units on which the service depends.
        let is_own = |line: &&str| {
            line.contains("switchd.service:")
                && !line.contains("Failed to create switchd.service/start")
        };
        let own: Vec<_> = errors.lines().filter(is_own).collect();
        assert_eq!(own, [""; 0], "{errors}");
    } else {
        eprintln!("SKIPPED systemd-analyze verify: there is no systemd on this machine");
    }
    // An upgrade keeps what the administrator has changed.
    let mine = read("etc/switchd/switchd.toml") + "# mine\n";
    fs::write(root.join("etc/switchd/switchd.toml"), &mine).unwrap();
    run(dpkg().arg("--install").arg(&package));
    assert_eq!(read("etc/switchd/switchd.toml"), mine);
    run(dpkg().args(["--purge", "switchd"]));
    for path in ["usr/sbin/switchd", "etc/switchd", "usr/lib/systemd/system/switchd.service"] {
        assert!(!root.join(path).exists(), "{path} is left");
    }
    let mut script = Command::new(workspace().join("packaging/try"));
    let output = script.arg(&package).args(build_next(folder.path())).output().unwrap();
    match output.status.code() {
        Some(0) => {}
        Some(CANNOT) => eprintln!("SKIPPED the service under systemd: {}", said(&output)),
        _ => panic!("{}", said(&output)),
    }
}

//! The control socket as `ofctl` finds it: whose it is, who answers, and how long `ofctl` waits.

use super::bench::Bench;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A user who does not exist, and whom nobody trusts.
const STRANGER: u32 = 12345;

/// The message of an `ofctl` that fails, with its options.
fn refused(bench: &Bench, arguments: &[&str]) -> String {
    let (status, output, errors) = bench.run(arguments);
    assert_eq!((status, output.as_str()), (1, ""), "{errors}");
    errors
}

/// Listens at a path with room for one connection in the queue, and accepts none.
fn deaf(path: &Path) -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    bind(socket.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
    listen(&socket, Backlog::new(0).unwrap()).unwrap();
    socket
}

#[test]
fn a_switch_that_is_silent_is_given_up() {
    let bench = Bench::new();
    let path = format!("{}/deaf", bench.folder());
    let _deaf = deaf(Path::new(&path));
    let errors = refused(&bench, &["--timeout=1", "--socket", &path, "show"]);
    let expected = format!(
        "ofctl: the switch at {path} was silent for 1 s while ofctl waited for a session: give it more time with \
         --timeout\n"
    );
    assert_eq!(errors, expected);
    // The connection of the first one stays in the queue.
    let errors = refused(&bench, &["--timeout=1", "--socket", &path, "show"]);
    assert!(errors.contains("waited for a place among the connections"), "{errors}");
}

#[test]
fn a_folder_that_others_can_change_is_refused() {
    let bench = Bench::new();
    fs::set_permissions(bench.folder(), Permissions::from_mode(0o777)).unwrap();
    let errors = refused(&bench, &["show"]);
    assert!(errors.contains("can be written by everybody"), "{errors}");
    assert!(errors.contains(&bench.folder()), "{errors}");
}

#[test]
fn a_folder_of_another_user_is_refused() {
    let bench = Bench::new();
    if chown(bench.folder(), Some(STRANGER), None).is_err() {
        eprintln!("skipped: only root can give a folder to another user");
        return;
    }
    let errors = refused(&bench, &["show"]);
    assert!(errors.contains(&format!("{} belongs to uid {STRANGER}", bench.folder())), "{errors}");
}

#[test]
fn another_user_is_told_whose_switch_it_is() {
    let bench = Bench::new();
    let mut ofctl = Command::new(env!("CARGO_BIN_EXE_ofctl"));
    ofctl.args(["--socket", &format!("{}/switchd.sock", bench.folder()), "show"]);
    let Ok(output) = ofctl.uid(STRANGER).gid(STRANGER).output() else {
        eprintln!("skipped: only root can start a program as another user");
        return;
    };
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("belongs to root: run ofctl as that user: sudo ofctl"), "{errors}");
    assert!(errors.contains("Permission denied"), "{errors}");
}

/// The test starts itself again as the other user, who listens in a folder that is open to everybody.
#[test]
fn who_answers_has_to_be_trusted() {
    const SOCKET: &str = "OFCTL_TEST_IMPOSTOR";
    if let Some(path) = std::env::var_os(SOCKET) {
        let _listener = UnixListener::bind(path).unwrap();
        println!("listening");
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let bench = Bench::new();
    let folder = format!("{}/open", bench.folder());
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(bench.folder(), Permissions::from_mode(0o755)).unwrap();
    let path = format!("{folder}/s");
    let impostor = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "socket::who_answers_has_to_be_trusted"])
        .env(SOCKET, &path)
        .uid(STRANGER)
        .gid(STRANGER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut impostor) = impostor else {
        eprintln!("skipped: only root can start a program as another user");
        return;
    };
    let mut said = String::new();
    let mut output = impostor.stdout.take().unwrap();
    while !said.contains("listening") {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).unwrap(), 1, "{said}");
        said.push(char::from(byte[0]));
    }
    let errors = refused(&bench, &["--socket", &path, "show"]);
    let expected =
        format!("process {}, which answers there, belongs to uid {STRANGER}", impostor.id());
    assert!(errors.contains(&expected), "{errors}");
    drop(impostor.stdin.take());
    impostor.wait().unwrap();
}

#[test]
fn the_help_names_the_socket_that_is_used() {
    let bench = Bench::new();
    let help = bench.ok(&["--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let default = format!("[default: {}/switchd.sock, by the rule", bench.folder());
    assert!(help.contains(&default) && help.contains("else in /tmp/switchd-UID]"), "{help}");
}

#[test]
fn a_level_of_the_log_that_does_not_exist_is_named() {
    let bench = Bench::new();
    // The switch of this bench writes no log.
    assert_eq!(bench.ok(&["log"]), "off\n");
    assert_eq!(bench.ok(&["--json", "log"]), "{\n  \"filter\": \"off\"\n}\n");
    let errors = refused(&bench, &["log", "debgu"]);
    assert!(
        errors.contains("\"debgu\" is not a level") && errors.contains("warn, info"),
        "{errors}"
    );
}

#[test]
fn manual_and_completions_need_no_switch() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ofctl")).args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let manual = run(&["man"]);
    for words in [".TH ofctl 8", ".SH VERBS", "ofctl add\\-flow [BRIDGE] RULE", "\\-\\-timeout"] {
        assert!(manual.contains(words), "{words}: {manual}");
    }
    for (shell, word) in
        [("bash", "complete -F"), ("zsh", "#compdef ofctl"), ("fish", "complete -c")]
    {
        let text = run(&["completions", shell]);
        assert!(text.contains(word) && text.contains("dump-flows"), "{text}");
    }
}

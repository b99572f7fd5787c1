//! What those who start the switch are told: systemd, a script, and whoever looks for the process.

use control::{Client, Operation, Reply};
use lab::{RunDir, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const SWITCHD: &str = env!("CARGO_BIN_EXE_switchd");

/// The next message that systemd would get.
fn next(notifications: &UnixDatagram) -> String {
    let mut bytes = [0; 500];
    let size = notifications.recv(&mut bytes).expect("a message in time");
    String::from_utf8_lossy(&bytes[..size]).into_owned()
}

#[test]
fn readiness_life_and_stop_are_told() {
    let dir = RunDir::new().unwrap();
    let (notify, pid_file) = (dir.path().join("notify"), dir.path().join("pid"));
    let notifications = UnixDatagram::bind(&notify).unwrap();
    notifications.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    fs::write(&pid_file, "an old one").unwrap();
    let mut switchd = Command::new(SWITCHD)
        .args(["--port", "dummy:p1", "--ready-fd", "1", "--pidfile"])
        .arg(&pid_file)
        .arg("--socket")
        .arg(dir.socket())
        .env("NOTIFY_SOCKET", &notify)
        .env("WATCHDOG_USEC", "1000000")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    // The descriptor is closed behind the line feed, or this would not end.
    switchd.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "\n");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), format!("{}\n", switchd.id()));
    let ready = |message: &str| message.starts_with("READY=1\n");
    // A sign of life may come first.
    assert!((0..3).any(|_| ready(&next(&notifications))));
    assert!((0..2).all(|_| next(&notifications).trim() == "WATCHDOG=1"));
    kill(Pid::from_raw(switchd.id() as i32), Signal::SIGTERM).unwrap();
    let stopping = |message: &str| message.trim() == "STOPPING=1";
    assert!((0..100).any(|_| stopping(&next(&notifications))));
    assert!(switchd.wait().unwrap().success());
    eventually("the file is removed", || !pid_file.exists()).unwrap();
}

#[test]
fn a_descriptor_that_is_not_there_is_named() {
    let dir = RunDir::new().unwrap();
    let pid_file = dir.path().join("pid");
    let output = Command::new(SWITCHD)
        .args(["--port", "dummy:p1", "--ready-fd", "77", "--pidfile"])
        .arg(&pid_file)
        .arg("--socket")
        .arg(dir.socket())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("write to --ready-fd 77: No such file or directory"), "{errors}");
    assert_eq!(output.status.code(), Some(1));
    assert!(!pid_file.exists());
}

#[test]
fn a_switch_goes_into_the_background_once_it_is_ready() {
    let dir = RunDir::new().unwrap();
    let (pid_file, log) = (dir.path().join("pid"), dir.path().join("log"));
    let start = |more: &[&str]| {
        Command::new(SWITCHD)
            .args(["--detach", "--port", "dummy:p1", "--pidfile"])
            .arg(&pid_file)
            .arg("--socket")
            .arg(dir.socket())
            .args(more)
            .stderr(fs::File::create(&log).unwrap())
            .status()
            .unwrap()
    };
    assert_eq!(start(&[]).code(), Some(0), "{}", fs::read_to_string(&log).unwrap());
    // It is ready, and has a session of its own.
    let client = |socket| UnixStream::connect(socket).is_ok();
    assert!(client(dir.socket()));
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let process = Pid::from_raw(pid);
    assert_eq!(nix::unistd::getsid(Some(process)).unwrap(), process);
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name, "switchd\n");
    kill(process, Signal::SIGTERM).unwrap();
    eventually("it ends", || !pid_file.exists()).unwrap();
    // An error is told by the program that was started.
    assert_eq!(start(&["--ready-fd", "77"]).code(), Some(1));
    let errors = fs::read_to_string(&log).unwrap();
    assert!(
        errors.contains("switchd: write to --ready-fd 77: No such file or directory"),
        "{errors}"
    );
    assert_eq!(start(&["--workers", "0"]).code(), Some(2));
}

#[test]
fn the_log_changes_while_the_switch_runs() {
    let daemon = lab::Daemon::start(SWITCHD.as_ref(), ["--port", "dummy:p1"]).unwrap();
    let mut client = daemon.client().unwrap();
    let mut asking = daemon.client().unwrap();
    let mut log = |filter: Option<&str>| match asking
        .ask(Operation::Log { filter: filter.map(str::to_owned) })
    {
        Ok(Reply::Log(log)) => log.filter,
        Ok(other) => panic!("{other:?}"),
        Err(error) => error.to_string(),
    };
    assert_eq!(log(None), "info");
    assert_eq!(log(Some("switchd=debug,warn")), "switchd=debug,warn");
    let said = log(Some("debgu"));
    assert!(said.contains("\"debgu\" is not a level"), "{said}");
    assert_eq!(log(None), "switchd=debug,warn");
    client.add_flow("cookie=0x77,actions=drop").unwrap();
    eventually("the rule is in the log", || daemon.log().contains("cookie=0x77")).unwrap();
    // The quiet log has no line about a rule.
    client.ask(Operation::Log { filter: Some("warn".to_owned()) }).unwrap();
    client.add_flow("cookie=0x78,actions=drop").unwrap();
    client.ask(Operation::Log { filter: Some("info".to_owned()) }).unwrap();
    client.ask(Operation::AddPort { spec: "dummy:last".to_owned() }).unwrap();
    eventually("a line comes behind", || daemon.log().contains("(last): added")).unwrap();
    assert!(!daemon.log().contains("cookie=0x78"), "{}", daemon.log());
}

/// As with a terminal that was closed: each line of the log is an error.
#[test]
fn a_reader_of_the_log_that_has_gone_does_no_harm() {
    let dir = RunDir::new().unwrap();
    let mut switchd = Command::new(SWITCHD)
        .args(["--port", "dummy:p1", "-vv", "--ready-fd", "1", "--socket"])
        .arg(dir.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(switchd.stderr.take());
    switchd.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    let stream = UnixStream::connect(dir.socket()).unwrap();
    let mut client = Client::open(stream.try_clone().unwrap(), stream, "test").unwrap();
    for priority in 1..100 {
        client.add_flow(&format!("priority={priority},actions=drop")).unwrap();
    }
    assert_eq!(client.flows("").unwrap().len(), 100);
    kill(Pid::from_raw(switchd.id() as i32), Signal::SIGTERM).unwrap();
    assert!(switchd.wait().unwrap().success());
}

#[test]
fn manual_and_completions_are_printed() {
    let run = |arguments: &[&str]| {
        let output = Command::new(SWITCHD).args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let manual = run(&["--man"]);
    assert!(manual.contains(".TH switchd 8") && manual.contains("\\-\\-pidfile"), "{manual}");
    for (shell, word) in
        [("bash", "complete -F"), ("zsh", "#compdef switchd"), ("fish", "complete -c")]
    {
        let text = run(&["--completions", shell]);
        assert!(text.contains(word) && text.contains("socket-group"), "{text}");
    }
}

/// The unit, as far as a machine without systemd can tell: its command line is one that the switch takes.
#[test]
fn the_unit_starts_the_switch_with_its_configuration() {
    let unit = include_str!("../../packaging/switchd.service");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let dir = RunDir::new().unwrap();
    let configuration = dir.path().join("switchd.toml");
    fs::write(&configuration, include_str!("../../packaging/switchd.toml")).unwrap();
    let state = dir.path().join("state");
    let run = Arc::new(RunDir::new().unwrap());
    // The installation makes the group.
    let command = command
        .replace("/etc/switchd/switchd.toml", configuration.to_str().unwrap())
        .replace("/var/lib/switchd", state.to_str().unwrap())
        .replace("/run/switchd/switchd.sock", run.socket().to_str().unwrap())
        .replace("--socket-group switchd", &format!("--socket-group {}", nix::unistd::getegid()));
    let arguments = command.strip_prefix("/usr/sbin/switchd ").unwrap().split(' ');
    let daemon = lab::Daemon::start_in(run, SWITCHD.as_ref(), arguments).unwrap();
    let mut client = daemon.client().unwrap();
    assert_eq!(client.flows("").unwrap().len(), 1);
    let (status, log) = daemon.stop().unwrap();
    assert!(status.success(), "{log}");
    assert!(state.join("journal").exists());
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit_path()).output() {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            // The program is not installed where the unit looks for it.
            let other = errors.lines().filter(|line| {
                line.contains("switchd.service") && !line.contains("is not executable")
            });
            assert_eq!(other.collect::<Vec<_>>(), [""; 0]);
        }
        Err(_) => eprintln!("SKIPPED systemd-analyze verify: there is no systemd on this machine"),
    }
}

fn unit_path() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/switchd.service")
}

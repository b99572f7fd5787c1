//! What those who start the switch are told: systemd, a script, and whoever looks for the process.

use lab::{RunDir, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
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

/// The unit, as far as a machine without systemd can tell: its command line is one that the switch takes.
#[test]
fn the_unit_starts_the_switch_with_its_configuration() {
    let unit = include_str!("../../packaging/switchd.service");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let dir = RunDir::new().unwrap();
    let configuration = dir.path().join("switchd.toml");
    fs::write(&configuration, include_str!("../../packaging/switchd.toml")).unwrap();
    let state = dir.path().join("state");
    let command = command
        .replace("/etc/switchd/switchd.toml", configuration.to_str().unwrap())
        .replace("/var/lib/switchd", state.to_str().unwrap());
    let arguments = command.strip_prefix("/usr/bin/switchd ").unwrap().split(' ');
    let daemon = lab::Daemon::start(SWITCHD.as_ref(), arguments).unwrap();
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

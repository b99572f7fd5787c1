//! Runs `ofctl` as a child process against a switch with three ports in memory (`p1`, `p2`, `p3`).

use ports::dummy::{self, Dummy, DummyOptions};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use switchd::desired::{DEFAULT_BRIDGE, Desired};
use switchd::openflow::OpenFlowServer;
use switchd::server::{Server, bind};
use switchd::switch::{Config, Switch};

/// A running switch with one bridge, `br0`.
pub(crate) struct Bench {
    /// The directory of the control socket and of the test's files, removed at the end.
    folder: PathBuf,
    /// The far ends of the ports: frames sent here are received by the switch.
    pub(crate) ports: Vec<Dummy>,
    _server: Server,
    _openflow: OpenFlowServer,
}

impl Bench {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ofctl-test-{}-{n}", std::process::id()));
        let listener = bind(&folder.join("switchd.sock")).expect("a folder of our own");
        let config = Config { seed: 1, ..Config::new(Desired::one_bridge()) };
        let switch = Switch::start(config).expect("a switch without devices starts");
        let add = |name| {
            let (port, far_end) = dummy::open(name, DummyOptions::default()).expect("a pipe");
            switch.add_open_port(DEFAULT_BRIDGE, port).expect("a name of its own");
            far_end
        };
        let ports = ["p1", "p2", "p3"].map(add).into();
        let switch = Arc::new(switch);
        let _openflow = OpenFlowServer::start(&folder, &switch);
        let _server = Server::start(listener, switch).expect("a thread");
        Self { folder, ports, _server, _openflow }
    }

    /// Runs `ofctl` with these arguments. Returns exit status, standard output and standard error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run_with(arguments, "")
    }

    /// Starts `ofctl` with these arguments, with pipes for input, output and errors.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_ofctl"))
            .env("SWITCH_RUNDIR", &self.folder)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ofctl was built for this test")
    }

    /// As [`Bench::run`], with `input` as standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut child = self.spawn(arguments);
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).expect("it reads, or has all in the pipe");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("ofctl writes text");
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    /// Runs `ofctl` with these arguments, which has to succeed and may print notes,
    /// and returns its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let (status, output, errors) = self.run(arguments);
        let has_notes_only = errors.lines().all(|line| line.starts_with("note: "));
        assert!(status == 0 && has_notes_only, "{arguments:?}: {status}, {errors}");
        output
    }

    /// Runs `ofctl` with these arguments, which has to succeed, and returns its notes: the lines of standard
    /// error, without the word that they begin with.
    pub(crate) fn notes(&self, arguments: &[&str]) -> Vec<String> {
        let (status, _, errors) = self.run(arguments);
        assert_eq!(status, 0, "{arguments:?}: {errors}");
        let notes = errors.lines().map(|line| line.strip_prefix("note: ").expect("a note"));
        notes.map(str::to_owned).collect()
    }

    /// Creates a file with this text and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("a folder of our own");
        path.to_str().expect("a path in letters").to_owned()
    }

    /// The directory of the files that [`Bench::file`] creates.
    pub(crate) fn folder(&self) -> String {
        self.folder.to_str().expect("a path in letters").to_owned()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

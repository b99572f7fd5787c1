//! What clients of the switch see of a restart: `ofctl monitor` goes on, and an OpenFlow client changes rules
//! wholly or not at all.

use crate::fixture::SWITCHD;
use anyhow::{Context, ensure};
use flow::flow_mod::{Command, FlowMod};
use flow::text::{ParseContext, parse_match};
use flow::types::OfVersion;
use lab::harness::{Test, Unsupported};
use lab::{Daemon, RunDir, eventually};
use openflow::{BundleControl, BundleStep, Encoding, HEADER_SIZE, OfMessage, Session};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("restart::a_monitor_goes_on_with_the_next_process", monitor_goes_on),
    ("restart::an_openflow_client_changes_rules_wholly_or_not_at_all", openflow_client),
];

/// How long a test waits for a line or a message before it fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running `ofctl monitor`, which is killed at the end.
struct Monitor {
    child: Child,
    /// The lines of its standard output.
    events: Receiver<String>,
    /// The lines of its standard error.
    notes: Receiver<String>,
}

impl Monitor {
    fn start(daemon: &Daemon, kinds: &str) -> anyhow::Result<Self> {
        let ofctl = Path::new(SWITCHD).with_file_name("ofctl");
        if !ofctl.exists() {
            return Err(Unsupported::lacking("ofctl, which \"cargo test\" without -p builds"));
        }
        let mut command = std::process::Command::new(ofctl);
        command.arg("--socket").arg(daemon.socket()).args(["monitor", kinds]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let events = lines(child.stdout.take().context("standard output is piped")?);
        let notes = lines(child.stderr.take().context("standard error is piped")?);
        Ok(Self { child, events, notes })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // The process may have ended by itself, which makes both calls fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that come out of a pipe, as they arrive.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(Result::ok);
        lines.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
    });
    receiver
}

fn monitor_goes_on() -> anyhow::Result<()> {
    let mut daemon = Daemon::start(Path::new(SWITCHD), ["--port", "dummy:p1"])?;
    let monitor = Monitor::start(&daemon, "flows")?;
    let mut started = "watching; Ctrl-C ends";
    for priority in 1..=3 {
        let note = monitor.notes.recv_timeout(DEADLINE)?;
        ensure!(note.contains(started), "{note}");
        daemon.client()?.add_flow(&format!("priority={priority},actions=drop"))?;
        let event = monitor.events.recv_timeout(DEADLINE)?;
        ensure!(event.contains(&format!("priority={priority}")), "{event}");
        daemon.restart()?;
        started = "the switch was restarted: watching again";
    }
    Ok(())
}

/// A client that speaks OpenFlow 1.4.
struct OpenFlowClient {
    stream: UnixStream,
}

impl OpenFlowClient {
    const VERSION: OfVersion = OfVersion::OpenFlow14;

    fn connect(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut client = Self { stream };
        // Both sides begin with the same message.
        client.stream.write_all(Session::new(&[Self::VERSION]).unsent())?;
        let greeting = client.receive()?;
        ensure!(greeting[1] == 0, "{greeting:?} instead of a hello");
        Ok(client)
    }

    /// The next message of the switch, with its header.
    fn receive(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut message = vec![0; HEADER_SIZE];
        self.stream.read_exact(&mut message)?;
        let size = u16::from_be_bytes([message[2], message[3]]);
        message.resize(size.into(), 0);
        self.stream.read_exact(&mut message[HEADER_SIZE..])?;
        Ok(message)
    }

    /// Adds two rules of this priority in one bundle. Returns when the switch has answered that both are in
    /// force and kept.
    fn add_pair(&mut self, priority: u16) -> anyhow::Result<()> {
        let encoding = Encoding::new(Self::VERSION);
        let (id, flags) = (priority.into(), 3);
        let control =
            |step| OfMessage::BundleControl(BundleControl { id, step, is_reply: false, flags });
        let mut bytes = control(BundleStep::Open).encode(encoding, 1);
        for dl_type in PAIR {
            let matching = parse_match(dl_type, &ParseContext::default())
                .map_err(|error| anyhow::anyhow!(error.render(dl_type)))?;
            let rule = FlowMod::new(Command::Add, priority, matching, Vec::new());
            let message = OfMessage::FlowMod(Box::new(rule)).encode(encoding, 2);
            bytes.extend(OfMessage::BundleAdd { id, flags, message }.encode(encoding, 2));
        }
        bytes.extend(control(BundleStep::Commit).encode(encoding, 3));
        bytes.extend(OfMessage::BarrierRequest.encode(encoding, 4));
        self.stream.write_all(&bytes)?;
        loop {
            match OfMessage::decode(&self.receive()?, encoding) {
                Ok(OfMessage::BarrierReply) => return Ok(()),
                Ok(OfMessage::BundleControl(_)) => {}
                other => anyhow::bail!("{other:?} instead of a reply"),
            }
        }
    }
}

/// What the two rules of a bundle match.
const PAIR: [&str; 2] = ["dl_type=0x9991", "dl_type=0x9992"];

/// The priorities of the rules with this match.
fn priorities(daemon: &Daemon, matching: &str) -> anyhow::Result<BTreeSet<u16>> {
    Ok(daemon.client()?.flows(matching)?.iter().map(|rule| rule.priority).collect())
}

fn openflow_client() -> anyhow::Result<()> {
    let dir = RunDir::new()?;
    let state = dir.path().join("state");
    let arguments = ["--state", state.to_str().context("a path of text")?, "--port", "dummy:p1"];
    let mut daemon = Daemon::start(Path::new(SWITCHD), arguments)?;
    let socket = daemon.socket().with_file_name("br0.mgmt");
    let is_over = AtomicBool::new(false);
    let (answered, cut_off) = std::thread::scope(|scope| {
        let changing = scope.spawn(|| {
            let (mut answered, mut cut_off) = (BTreeSet::new(), 0);
            let mut client = None;
            for priority in 1..=u16::MAX {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                // Between two processes the socket may be absent or without a listener.
                let mut added =
                    client.take().map_or_else(|| OpenFlowClient::connect(&socket), anyhow::Ok);
                match added.as_mut().map(|client| client.add_pair(priority)) {
                    Ok(Ok(())) => {
                        answered.insert(priority);
                        client = added.ok();
                    }
                    Ok(Err(_)) => cut_off += 1,
                    Err(_) => std::thread::yield_now(),
                }
            }
            (answered, cut_off)
        });
        let restarted = (0..5).try_for_each(|_| {
            let before = daemon.client()?.flows("")?.len();
            daemon.restart()?;
            eventually("the client goes on", || {
                let rules = daemon.client().and_then(|mut client| Ok(client.flows("")?.len()));
                rules.is_ok_and(|rules| rules > before + 4)
            })
        });
        is_over.store(true, Ordering::Relaxed);
        let changed = changing.join().expect("the client does not panic");
        restarted.map(|()| changed)
    })
    .with_context(|| daemon.log())?;
    ensure!(cut_off > 0 && !answered.is_empty(), "{cut_off} cut off, {answered:?}");
    let check = |daemon: &Daemon| {
        let [first, second] = PAIR.map(|matching| priorities(daemon, matching));
        let (first, second) = (first?, second?);
        ensure!(first == second, "half a bundle: {:?}", first.symmetric_difference(&second));
        ensure!(answered.is_subset(&first), "lost: {:?}", answered.difference(&first));
        Ok(first)
    };
    let before = check(&daemon)?;
    daemon.crash()?;
    let again = Daemon::start(Path::new(SWITCHD), arguments)?;
    let after = check(&again)?;
    ensure!(before == after, "kept: {after:?}, in force: {before:?}");
    Ok(())
}

//! A switch, and controllers that say what a test wants.

use flow::flow_mod::{Command, FlowMod};
use flow::text::{FlowLine, ParseContext, parse_flow};
use lab::eventually;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use switchd::desired::{DEFAULT_BRIDGE, Desired, FailMode, SslFiles};
use switchd::openflow::OpenFlowServer;
use switchd::switch::{Config, Switch};

/// The HELLO of OpenFlow 1.0, without a bitmap.
pub(crate) const HELLO_10: [u8; 8] = [1, 0, 0, 8, 0, 0, 0, 1];
/// The HELLO of OpenFlow 1.3, without a bitmap.
pub(crate) const HELLO_13: [u8; 8] = [4, 0, 0, 8, 0, 0, 0, 1];

/// How long a peer waits for bytes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A barrier request of OpenFlow 1.3 or later.
pub(crate) fn barrier(version: u8, xid: u32) -> [u8; 8] {
    let [a, b, c, d] = xid.to_be_bytes();
    [version, 20, 0, 8, a, b, c, d]
}

/// A switch with the bridge `br0`, which serves OpenFlow.
pub(crate) struct Bench {
    /// The folder of the bridge's sockets.
    pub(crate) folder: PathBuf,
    _server: OpenFlowServer,
    switch: Arc<Switch>,
}

impl Bench {
    pub(crate) fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("switchd-ctl-{}-{n}", std::process::id()));
        let switch = Switch::start(Config { seed: 1, ..Config::new(Desired::one_bridge()) });
        let switch = Arc::new(switch.unwrap());
        let _server = OpenFlowServer::start(&folder, &switch);
        Self { folder, _server, switch }
    }

    pub(crate) fn set_controllers(&self, targets: &[&str]) {
        let controllers = targets.iter().map(|text| text.parse().unwrap()).collect();
        self.switch.set_controllers(DEFAULT_BRIDGE, controllers).unwrap();
    }

    pub(crate) fn set_fail_mode(&self, mode: FailMode) {
        self.switch.change_bridge(DEFAULT_BRIDGE, |b| b.fail_mode = Some(mode)).unwrap();
    }

    pub(crate) fn set_protocols(&self, versions: &str) {
        let versions = versions.parse().unwrap();
        self.switch.change_bridge(DEFAULT_BRIDGE, |b| b.protocols = versions).unwrap();
    }

    pub(crate) fn set_ssl(&self, files: SslFiles) {
        self.switch.set_ssl(Some(files)).unwrap();
    }

    pub(crate) fn remove_bridge(&self) {
        self.switch.remove_bridge(DEFAULT_BRIDGE).unwrap();
    }

    /// Adds rules with different priorities to different tables.
    pub(crate) fn add_rules(&self, count: u32) {
        let rule = |n: u32| {
            let text = format!("table={},priority={},tcp,actions=drop", n % 200, n / 200 + 1);
            parse_flow(&text, &ParseContext::default()).unwrap()
        };
        let rules: Vec<FlowMod> = (0..count).map(rule).collect();
        self.switch.on(DEFAULT_BRIDGE).unwrap().bridge().apply(&rules, self.switch.now()).unwrap();
    }

    /// The rules as text, without their names and counters.
    pub(crate) fn rules(&self) -> Vec<String> {
        let every = FlowMod::new(Command::Delete, 0, flow::Match::any(), Vec::new());
        let bridge = self.switch.on(DEFAULT_BRIDGE).unwrap();
        let (mut rules, bridge) = (Vec::new(), bridge.bridge());
        let mut walk = bridge.walk(&every);
        while walk.next_slice(|entry| {
            let rule = FlowMod::new(
                Command::Add,
                entry.priority,
                entry.matches,
                entry.value.actions.to_vec(),
            );
            let mut text = String::new();
            FlowLine::of(&rule).write_saved(&mut text);
            rules.push(text);
        }) {}
        rules
    }

    pub(crate) fn wait_for_rules(&self, expected: &[&str]) {
        eventually("the rules", || self.rules() == expected).unwrap();
    }

    /// Waits until a controller's line of `ofctl get-controller` has this text.
    pub(crate) fn wait_for_status(&self, text: &str) {
        eventually(text, || self.lines().iter().any(|line| line.contains(text))).unwrap();
    }

    /// The controllers, as `ofctl get-controller` prints them.
    fn lines(&self) -> Vec<String> {
        self.switch.controllers(DEFAULT_BRIDGE).iter().map(ToString::to_string).collect()
    }

    /// The address at which the bridge listens because its first controller says so.
    pub(crate) fn listening(&self) -> SocketAddr {
        let lines = self.lines();
        let word = |line: &String| {
            line.split(' ').find_map(|word| word.strip_prefix("listening=")?.parse().ok())
        };
        lines.iter().find_map(word).unwrap_or_else(|| panic!("nobody listens: {lines:?}"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A controller that waits for the switch.
pub(crate) struct FakeController(TcpListener);

impl FakeController {
    /// Listens at a port; 0 is any port.
    pub(crate) fn listen(port: u16) -> Self {
        Self(TcpListener::bind(("127.0.0.1", port)).unwrap())
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// The controller as `--controller` takes it, with settings.
    pub(crate) fn target(&self, settings: &str) -> String {
        let comma = if settings.is_empty() { "" } else { "," };
        format!("tcp:127.0.0.1:{}{comma}{settings}", self.port())
    }

    /// As [`Self::target`], with TLS.
    pub(crate) fn tls_target(&self, settings: &str) -> String {
        self.target(settings).replacen("tcp", "ssl", 1)
    }

    /// The next connection of the switch.
    pub(crate) fn accept(&self) -> Peer {
        Peer::over(self.accept_stream())
    }

    /// The stream of the next connection of the switch.
    pub(crate) fn accept_stream(&self) -> TcpStream {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// A message of the switch.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) version: u8,
    pub(crate) kind: u8,
    pub(crate) xid: u32,
    pub(crate) body: Vec<u8>,
}

/// One end of a connection to the switch.
pub(crate) struct Peer(Box<dyn Stream>);

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

impl Peer {
    /// A peer at the end of a stream.
    pub(crate) fn over(stream: impl Read + Write + Send + 'static) -> Self {
        Self(Box::new(stream))
    }

    /// Connects to the switch.
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream)
    }

    /// Connects to the switch.
    pub(crate) fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(Box::new(stream))
    }

    /// Sends a HELLO and reads that of the switch.
    pub(crate) fn shake_hands(&mut self, hello: &[u8]) {
        self.write(hello);
        assert_eq!(self.read().kind, 0, "a HELLO");
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next message of the switch.
    pub(crate) fn read(&mut self) -> Message {
        let mut header = [0; 8];
        self.0.read_exact(&mut header).unwrap();
        let [version, kind, high, low, xid @ ..] = header;
        let mut body = vec![0; usize::from(u16::from_be_bytes([high, low])) - 8];
        self.0.read_exact(&mut body).unwrap();
        Message { version, kind, xid: u32::from_be_bytes(xid), body }
    }

    /// Sends a request. Returns type and transaction id of the answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> (u8, u32) {
        self.write(request);
        let answer = self.read();
        (answer.kind, answer.xid)
    }

    /// Whether the switch closes the connection, whatever it says before that.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                // A stream with TLS has words of its own for the end.
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }
}

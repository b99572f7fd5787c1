//! The control socket seen from outside: clients that behave, and clients that do not.

use control::frame::{Kind, MAX_BODY, MAX_REQUEST_BODY, encode};
use control::stream::{FrameReader, FrameWriter, StreamError};
use control::{
    Client, ClientError, FlowCommand, FlowMods, FlowQuery, Hello, Operation, Reason, Refusal,
    Reply, Request,
};
use ports::dummy::{self, DummyOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use switchd::desired::{DEFAULT_BRIDGE, Desired};
use switchd::server::{MAX_SESSIONS, Server, bind};
use switchd::switch::{Config, Switch};

/// A switch with two ports in memory, and its server.
struct Daemon {
    folder: PathBuf,
    _server: Server,
    switch: Arc<Switch>,
}

impl Daemon {
    fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("switchd-ctl-{}-{n}", std::process::id()));
        let listener = bind(&folder.join("s")).unwrap();
        let switch =
            Switch::start(Config { seed: 1, ..Config::new(Desired::one_bridge()) }).unwrap();
        for name in ["p1", "p2"] {
            let (port, _) = dummy::open(name, DummyOptions::default()).unwrap();
            switch.add_open_port(DEFAULT_BRIDGE, port).unwrap();
        }
        let switch = Arc::new(switch);
        let _server = Server::start(listener, Arc::clone(&switch)).unwrap();
        Self { folder, _server, switch }
    }

    fn stream(&self) -> UnixStream {
        UnixStream::connect(self.folder.join("s")).unwrap()
    }

    fn open(&self) -> Result<Client, ClientError> {
        let stream = self.stream();
        Client::open(stream.try_clone().unwrap(), stream, "test")
    }

    fn client(&self) -> Client {
        self.open().unwrap()
    }

    /// Rules in the switch.
    fn rules(&self) -> usize {
        self.client().flows("").unwrap().len()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The refusal that a server sends before it hangs up.
fn last_words(stream: &UnixStream) -> Refusal {
    let mut from = FrameReader::new(stream, MAX_BODY);
    loop {
        match from.next_frame().unwrap().expect("a refusal") {
            (Kind::Hello, _) => {}
            (Kind::Reply, body) => {
                let reply: Result<Reply, Refusal> = serde_json::from_slice(body).unwrap();
                return reply.unwrap_err();
            }
            (kind, _) => panic!("{kind:?}"),
        }
    }
}

#[test]
fn a_transaction_with_one_wrong_rule_leaves_no_trace() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let good: String = (0..2000).map(|i| format!("priority={i},ip,actions=drop\n")).collect();
    let bad = format!("{good}ip,nw_dst=10.0.0.300,actions=drop\n{good}");
    let error = client.change_flows(FlowCommand::Add, &bad).unwrap_err();
    let place = error.refusal().unwrap().place.as_ref().unwrap();
    assert_eq!((place.line, &place.text[place.span.clone()]), (2001, "10.0.0.300"));
    assert_eq!(daemon.rules(), 1, "the default rule");
    assert_eq!(client.change_flows(FlowCommand::Add, &good).unwrap(), 2000);
    assert_eq!(daemon.rules(), 2001);
}

#[test]
fn what_the_tables_refuse_names_the_line_and_the_error_of_openflow() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let error =
        client.change_flows(FlowCommand::Add, "actions=drop\n\nactions=group:9").unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.openflow.as_ref().unwrap().name, "OFPBAC_BAD_OUT_GROUP");
    assert_eq!(refusal.place.as_ref().unwrap().line, 3);
    assert_eq!(daemon.rules(), 1);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_transaction_changes_nothing() {
    let daemon = Daemon::start();
    let stream = daemon.stream();
    let mut to = FrameWriter::new(&stream);
    to.put_json(Kind::Hello, &Hello::new("test")).unwrap();
    let operation = Operation::FlowMods(FlowMods { file: true, ..FlowMods::default() });
    to.put_json(Kind::Request, &Request { bridge: None, operation }).unwrap();
    to.put(Kind::Text, b"priority=1,actions=drop\n").unwrap();
    to.flush().unwrap();
    drop(to);
    drop(stream);
    assert_eq!(daemon.rules(), 1);
}

#[test]
fn a_message_that_is_too_long_ends_its_session_and_no_other() {
    let daemon = Daemon::start();
    let mut other = daemon.client();
    let mut stream = daemon.stream();
    let mut bytes = Vec::new();
    encode(&mut bytes, Kind::Hello, &serde_json::to_vec(&Hello::new("test")).unwrap()).unwrap();
    bytes.extend((MAX_REQUEST_BODY as u32 + 1).to_be_bytes());
    bytes.push(Kind::Request as u8);
    stream.write_all(&bytes).unwrap();
    let refusal = last_words(&stream);
    assert_eq!(refusal.reason, Reason::Protocol);
    assert!(refusal.message.contains("1048577 bytes is too long"), "{refusal}");
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0, "hung up");
    assert_eq!(other.ask(Operation::Sync).unwrap(), Reply::Done);
}

#[test]
fn whoever_does_not_speak_the_protocol_is_told() {
    let daemon = Daemon::start();
    for words in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 2, 2, b'{', b'}'], &[0, 0, 0, 0, 99]] {
        let mut stream = daemon.stream();
        stream.write_all(words).unwrap();
        assert_eq!(last_words(&stream).reason, Reason::Protocol);
    }
    assert_eq!(daemon.rules(), 1);
}

#[test]
fn a_client_of_another_version_learns_ours() {
    let daemon = Daemon::start();
    let stream = daemon.stream();
    let mut to = FrameWriter::new(&stream);
    to.put_json(Kind::Hello, &Hello { protocol: 99, ..Hello::new("future") }).unwrap();
    to.flush().unwrap();
    let mut from = FrameReader::new(&stream, MAX_BODY);
    assert_eq!(from.expect::<Hello>(Kind::Hello).unwrap().protocol, control::PROTOCOL);
    assert!(from.next_frame().unwrap().is_none(), "and that is all");
}

#[test]
fn two_clients_work_at_the_same_time() {
    let daemon = Daemon::start();
    std::thread::scope(|scope| {
        for table in 1..=2 {
            let mut client = daemon.client();
            scope.spawn(move || {
                for i in 0..50 {
                    let rule = format!("table={table},priority={i},actions=drop");
                    client.add_flow(&rule).unwrap();
                    assert_eq!(client.flows(&format!("table={table}")).unwrap().len(), i + 1);
                }
            });
        }
    });
    assert_eq!(daemon.rules(), 101);
}

#[test]
fn a_client_that_does_not_read_delays_nobody() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let rules: String =
        (0..20_000).map(|i| format!("table=1,tcp,tp_dst={i},actions=drop\n")).collect();
    client.change_flows(FlowCommand::Add, &rules).unwrap();
    let deaf = daemon.stream();
    let mut to = FrameWriter::new(&deaf);
    to.put_json(Kind::Hello, &Hello::new("deaf")).unwrap();
    let operation = Operation::DumpFlows(FlowQuery::default());
    to.put_json(Kind::Request, &Request { bridge: None, operation }).unwrap();
    to.flush().unwrap();
    // Its answer is longer than any socket buffer, so its session is stuck; we are not.
    client.add_flow("priority=9,actions=drop").unwrap();
    client.del_flows("table=1").unwrap();
    assert_eq!(client.flows("").unwrap().len(), 2);
}

#[test]
fn clients_beyond_the_limit_of_sessions_wait_in_order() {
    let daemon = Daemon::start();
    let mut clients: Vec<Client> = (0..MAX_SESSIONS).map(|_| daemon.client()).collect();
    let (told, order) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for n in 0..3 {
            // Connected here, so that the order is known.
            let (stream, told) = (daemon.stream(), told.clone());
            scope.spawn(move || {
                let mut client = Client::open(stream.try_clone().unwrap(), stream, "late").unwrap();
                told.send(n).unwrap();
                client.ask(Operation::Sync).unwrap();
                // The end of this session makes room for the next client.
            });
        }
        assert_eq!(clients[0].ask(Operation::Sync).unwrap(), Reply::Done);
        assert!(order.try_recv().is_err(), "there is no room yet");
        clients.pop();
    });
    assert_eq!(order.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
}

/// Takes ten seconds, which an idle client has.
#[test]
fn idle_clients_make_room_for_those_that_wait() {
    let daemon = Daemon::start();
    let mut clients: Vec<Client> = (0..MAX_SESSIONS).map(|_| daemon.client()).collect();
    assert_eq!(daemon.client().ask(Operation::Sync).unwrap(), Reply::Done);
    let refused = |client: &mut Client| {
        let error = client.ask(Operation::Sync).err()?;
        Some(error.refusal().map(|refusal| refusal.reason))
    };
    // One client waited, so one had to go.
    let refused: Vec<_> = clients.iter_mut().filter_map(refused).collect();
    assert_eq!(refused, [Some(Reason::Limit)]);
}

#[test]
fn hundreds_of_clients_at_once_are_all_served() {
    let daemon = Daemon::start();
    std::thread::scope(|scope| {
        for n in 0..400 {
            let daemon = &daemon;
            scope.spawn(move || {
                let rule = format!("table=1,priority={n},actions=drop");
                daemon.client().add_flow(&rule).unwrap();
            });
        }
    });
    assert_eq!(daemon.rules(), 401);
}

#[test]
fn a_client_that_waits_hears_that_there_is_progress() {
    let daemon = Daemon::start();
    // No transaction can begin until this one ends.
    let transaction = daemon.switch.on(DEFAULT_BRIDGE).unwrap().bridge().begin();
    let stream = daemon.stream();
    let mut to = FrameWriter::new(&stream);
    to.put_json(Kind::Hello, &Hello::new("test")).unwrap();
    let operation = Operation::FlowMods(FlowMods::default());
    to.put_json(Kind::Request, &Request { bridge: None, operation }).unwrap();
    to.put(Kind::Text, b"priority=1,actions=drop").unwrap();
    to.put(Kind::End, b"").unwrap();
    to.flush().unwrap();
    let mut from = FrameReader::new(&stream, MAX_BODY);
    let mut next = || from.next_frame().unwrap().map(|(kind, _)| kind);
    assert_eq!(next(), Some(Kind::Hello));
    let is_heard = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The progress of others counts.
            let mut other = daemon.client();
            while !is_heard.load(Ordering::Relaxed) {
                other.ask(Operation::Sync).unwrap();
            }
        });
        assert_eq!(next(), Some(Kind::Working));
        is_heard.store(true, Ordering::Relaxed);
    });
    drop(transaction);
    while next().unwrap() != Kind::Reply {}
    assert_eq!(daemon.rules(), 2);
}

#[test]
fn ending_the_server_ends_the_sessions_and_removes_the_socket() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let Daemon { folder, .. } = &daemon;
    let (folder, path) = (folder.clone(), folder.join("s"));
    let switch = Arc::clone(&daemon.switch);
    drop(daemon);
    assert!(!path.exists(), "{}", folder.display());
    let error = client.ask(Operation::Sync).unwrap_err();
    assert!(matches!(error, ClientError::Stream(StreamError::CutOff | StreamError::Io(_))));
    assert_eq!(Arc::strong_count(&switch), 1, "no session holds the switch");
}

#[test]
fn another_bridge_is_not_here() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.set_bridge(Some("br0".to_owned()));
    client.show().unwrap();
    client.set_bridge(Some("br1".to_owned()));
    let error = client.add_flow("actions=drop").unwrap_err();
    assert_eq!(error.to_string(), "there is no bridge \"br1\"");
    assert_eq!(error.refusal().unwrap().reason, Reason::NotFound);
}

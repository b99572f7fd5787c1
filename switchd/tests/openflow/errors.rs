//! Wrong messages are answered as Open vSwitch answers them, byte for byte.
//!
//! `../data/errors-1N.txt` have messages and what Open vSwitch 3.1
//! answered; `openflow/tests/record_errors` makes them.

use super::served::Served;
use flow::types::{OfPort, OfVersion};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use switchd::desired::DEFAULT_BRIDGE;

/// The address of port 1 in the recordings.
const RECORDED_MAC: &str = "aa55aa550002";

/// Cases that this switch answers otherwise, and why. A name may be the beginning of several.
const DIFFERENT: &[(&str, &str)] = &[
    ("error", "errors are not answered, so that two peers cannot answer each other for ever"),
    ("description with", "the description names this switch, and a request for it has one part"),
    ("rules of the last table", "there is no internal table behind the last one"),
    ("aggregate of the last table", "there is no internal table behind the last one"),
    ("instruction goto table 254", "there is no internal table behind the last one"),
    ("action resubmit to table 254", "there is no internal table behind the last one"),
    ("action trunc to a reserved port", "Open vSwitch takes the rule, and drops its packets"),
    ("set label of 21 bits", "Open vSwitch takes the rule, which ovs-ofctl cannot list afterwards"),
    (
        "set traffic class of 9",
        "Open vSwitch takes the rule, which ovs-ofctl cannot list afterwards",
    ),
    ("action learn", "the action is missing"),
    ("port status", "what only switches send is read before it is refused"),
    ("unknown step of a bundle", "Open vSwitch answers as if it had opened a bundle"),
];

struct Connection {
    stream: UnixStream,
    version: OfVersion,
}

impl Connection {
    fn open(served: &Served, version: OfVersion) -> Self {
        let stream = UnixStream::connect(served.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut connection = Self { stream, version };
        connection.send(0, 1);
        connection.next();
        connection
    }

    /// Sends a message without a body.
    fn send(&mut self, kind: u8, xid: u8) {
        let message = [self.version as u8 + 1, kind, 0, 8, 0, 0, 0, xid];
        self.stream.write_all(&message).unwrap();
    }

    fn next(&mut self) -> Vec<u8> {
        let mut message = vec![0; 8];
        self.stream.read_exact(&mut message).unwrap();
        message.resize(usize::from(u16::from_be_bytes([message[2], message[3]])), 0);
        self.stream.read_exact(&mut message[8..]).unwrap();
        message
    }

    /// What is said up to the reply to a barrier behind the request, in hex.
    fn ask(&mut self, request: &[u8]) -> Vec<String> {
        const BARRIER_XID: u8 = 0xab;
        let barrier = if self.version == OfVersion::OpenFlow10 { 18 } else { 20 };
        self.stream.write_all(request).unwrap();
        self.send(barrier, BARRIER_XID);
        let mut replies = Vec::new();
        loop {
            let reply = self.next();
            if (reply[1], reply[7]) == (barrier + 1, BARRIER_XID) {
                return replies;
            }
            replies.push(hex(&reply));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn check(version: OfVersion, recorded: &str) {
    let served = Served::start();
    let ports = served.switch.on(DEFAULT_BRIDGE).unwrap().ports();
    let port = ports.into_iter().find(|port| port.of_port == OfPort(1)).unwrap();
    let recorded = recorded.replace(RECORDED_MAC, &hex(&port.mac.0));
    let mut connection = Connection::open(&served, version);
    let (mut wrong, mut count) = (String::new(), 0);
    for case in recorded.split("# ").skip(1) {
        let mut lines = case.lines();
        let name = lines.next().unwrap();
        let request = lines.next().and_then(|line| line.strip_prefix("> ")).unwrap();
        let expected: Vec<&str> = lines.map(|line| line.strip_prefix("< ").unwrap()).collect();
        let replies = connection.ask(&bytes(request));
        let is_known = DIFFERENT.iter().any(|(beginning, _)| name.starts_with(beginning));
        if replies != expected && !is_known {
            wrong +=
                &format!("{name}: {request}\n  expected {expected:?}\n  answered {replies:?}\n");
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{version:?}\n{wrong}");
    assert!(count > 100, "{count} cases");
}

#[test]
fn wrong_messages_of_1_0_are_answered_as_open_vswitch_answers_them() {
    check(OfVersion::OpenFlow10, include_str!("../data/errors-10.txt"));
}

#[test]
fn wrong_messages_of_1_1_are_answered_as_open_vswitch_answers_them() {
    check(OfVersion::OpenFlow11, include_str!("../data/errors-11.txt"));
}

#[test]
fn wrong_messages_of_1_2_are_answered_as_open_vswitch_answers_them() {
    check(OfVersion::OpenFlow12, include_str!("../data/errors-12.txt"));
}

#[test]
fn wrong_messages_of_1_3_are_answered_as_open_vswitch_answers_them() {
    check(OfVersion::OpenFlow13, include_str!("../data/errors-13.txt"));
}

#[test]
fn wrong_messages_of_1_4_are_answered_as_open_vswitch_answers_them() {
    check(OfVersion::OpenFlow14, include_str!("../data/errors-14.txt"));
}

#[test]
fn wrong_messages_of_1_5_are_answered_as_open_vswitch_answers_them() {
    check(OfVersion::OpenFlow15, include_str!("../data/errors-15.txt"));
}

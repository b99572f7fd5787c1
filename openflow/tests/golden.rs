//! Messages of real `ovs-ofctl` and Open vSwitch, recorded by the scripts `record` and
//! `record_events` and `record_packet_ins`, decode, and encode to the same bytes.

use flow::types::OfVersion;
use openflow::{Encoding, MultipartReply, OfMessage};

/// Messages of one recording: the lines of its file, with the command that each belongs to.
fn recorded(text: &str) -> impl Iterator<Item = (&str, Vec<u8>)> {
    let mut command = "";
    text.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix("# ") {
            command = name;
            return None;
        }
        let (_, hex) = line.split_once(' ')?;
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Some((command, (0..hex.len()).step_by(2).map(byte).collect()))
    })
}

/// Whether encoding gives other bytes, for the reason that is told.
fn differs(message: &OfMessage) -> Option<&'static str> {
    match message {
        OfMessage::Hello(_) => Some("a HELLO of 1.0 has no bitmap"),
        OfMessage::MultipartReply(MultipartReply::Table(_), _) => {
            Some("tables say what they can do")
        }
        OfMessage::MultipartReply(MultipartReply::TableFeatures(_), _) => {
            Some("tables of Open vSwitch have fields that the crate does not know")
        }
        OfMessage::MultipartReply(MultipartReply::Port(_), _) => {
            Some("ports of 1.4 have counters of their own")
        }
        _ => None,
    }
}

/// Checks the messages of a recording, of which more than `at_least` have to come out as they were.
fn check(version: OfVersion, text: &str, at_least: usize) {
    let mut encoding = Encoding::new(version);
    let mut same = 0;
    for (command, bytes) in recorded(text) {
        let opening = Encoding::default();
        if bytes[1] == 0 {
            encoding = Encoding::new(version);
            assert!(matches!(OfMessage::decode(&bytes, opening), Ok(OfMessage::Hello(_))));
            continue;
        }
        let place = format!("{version:?} {command}: {}", hex(&bytes));
        let message =
            OfMessage::decode(&bytes, encoding).unwrap_or_else(|e| panic!("{e}: {place}"));
        // Nicira's forms: what a message has, and what the session has been told.
        let is_nicira = version == OfVersion::OpenFlow10
            && (bytes[1] == 4 || bytes.get(8..10) == Some(&[0xff, 0xff]));
        let form = Encoding { nxm: is_nicira, ..encoding };
        match message {
            OfMessage::SetFlowFormat { nxm } => encoding.nxm = nxm,
            OfMessage::FlowModTableId { is_on } => encoding.table_id = is_on,
            OfMessage::SetPacketInFormat(form) => encoding.packet_in = form,
            _ => {}
        }
        if differs(&message).is_some() {
            continue;
        }
        let xid = u32::from_be_bytes(bytes[4..8].try_into().unwrap());
        let encoded = message.encode(form, xid);
        assert_eq!(hex(&encoded), hex(&bytes), "{place}\n{message:#?}");
        same += 1;
    }
    assert!(same > at_least, "{same} messages");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn messages_of_1_0_are_those_of_open_vswitch() {
    check(OfVersion::OpenFlow10, include_str!("data/messages-10.txt"), 100);
    check(OfVersion::OpenFlow10, include_str!("data/packet-ins-10.txt"), 50);
}

#[test]
fn messages_of_1_1_are_those_of_open_vswitch() {
    check(OfVersion::OpenFlow11, include_str!("data/messages-11.txt"), 100);
    check(OfVersion::OpenFlow11, include_str!("data/packet-ins-11.txt"), 50);
}

#[test]
fn messages_of_1_2_are_those_of_open_vswitch() {
    check(OfVersion::OpenFlow12, include_str!("data/messages-12.txt"), 100);
    check(OfVersion::OpenFlow12, include_str!("data/packet-ins-12.txt"), 50);
}

#[test]
fn messages_of_1_3_are_those_of_open_vswitch() {
    check(OfVersion::OpenFlow13, include_str!("data/messages-13.txt"), 100);
    check(OfVersion::OpenFlow13, include_str!("data/packet-ins-13.txt"), 50);
}

#[test]
fn messages_of_1_4_are_those_of_open_vswitch() {
    check(OfVersion::OpenFlow14, include_str!("data/messages-14.txt"), 100);
    check(OfVersion::OpenFlow14, include_str!("data/packet-ins-14.txt"), 50);
}

#[test]
fn messages_of_1_5_are_those_of_open_vswitch() {
    check(OfVersion::OpenFlow15, include_str!("data/messages-15.txt"), 100);
    check(OfVersion::OpenFlow15, include_str!("data/packet-ins-15.txt"), 50);
}

#[test]
fn what_open_vswitch_says_on_its_own_decodes_and_encodes_to_the_same_bytes() {
    let texts = [
        include_str!("data/events-10.txt"),
        include_str!("data/events-11.txt"),
        include_str!("data/events-12.txt"),
        include_str!("data/events-13.txt"),
        include_str!("data/events-14.txt"),
        include_str!("data/events-15.txt"),
    ];
    for (version, text) in OfVersion::ALL.into_iter().zip(texts) {
        check(version, text, 30);
    }
}

//! Helpers of protocols, from rules to the bytes of frames.

use super::connections::{headers, with_and_without_caches};
use super::*;
use flow::ct_filter::CtFilter;
use flow::extract::{Arrival, extract};
use packet::checksum;
use packet::wire::{Ipv4Packet, TcpPacket, ethernet, ip_proto, ipv4, tcp};

const SYN: u16 = 0x02;
const ACK: u16 = 0x10;

/// A TCP segment between two addresses with ports.
#[derive(Clone, Copy)]
struct Segment<'a> {
    src: ([u8; 4], u16),
    dst: ([u8; 4], u16),
    flags: u16,
    sequence: u32,
    acknowledgement: u32,
    payload: &'a str,
}

impl Segment<'_> {
    /// A segment that asks for a connection.
    fn opening(src: ([u8; 4], u16), dst: ([u8; 4], u16)) -> Segment<'static> {
        Segment { src, dst, flags: SYN, sequence: 0, acknowledgement: 0, payload: "" }
    }

    /// The frame of the segment, with right checksums.
    fn frame(&self) -> Vec<u8> {
        let Self { src, dst, flags, sequence, acknowledgement, payload } = *self;
        let address = |[a, b, c, d]: [u8; 4]| format!("{a}.{b}.{c}.{d}");
        let mut frame = compose(&headers(&format!(
            "tcp,nw_src={},nw_dst={},nw_ttl=64,tp_src={},tp_dst={},tcp_flags={flags:#x}/0xfff",
            address(src.0),
            address(dst.0),
            src.1,
            dst.1
        )));
        frame.truncate(ethernet::HEADER_SIZE + ipv4::HEADER_SIZE + tcp::HEADER_SIZE);
        frame.extend(payload.as_bytes());
        let ip = &mut frame[ethernet::HEADER_SIZE..];
        let size = ip.len() as u16;
        ip[ipv4::field::TOTAL_SIZE].copy_from_slice(&size.to_be_bytes());
        Ipv4Packet::new_unchecked(&mut *ip).fill_checksum();
        let segment = &mut ip[ipv4::HEADER_SIZE..];
        segment[tcp::field::SEQUENCE].copy_from_slice(&sequence.to_be_bytes());
        segment[tcp::field::ACKNOWLEDGEMENT].copy_from_slice(&acknowledgement.to_be_bytes());
        segment[tcp::field::WINDOW].fill(0xff);
        segment[tcp::field::CHECKSUM].fill(0);
        let pseudo = checksum::pseudo_header(&src.0, &dst.0, ip_proto::TCP, segment.len() as u32);
        let sum = !checksum::add(pseudo, checksum::sum(segment));
        segment[tcp::field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn with_payload<'a>(self, payload: &'a str) -> Segment<'a> {
        Segment { payload, ..self }
    }
}

/// Sends a segment in at a port, 1 or 2. What leaves at the other one has to be
/// the other segment, checksums included.
#[track_caller]
fn check(bench: &mut Bench, in_port: u16, sent: Segment<'_>, expected: Segment<'_>) {
    let mut left = bench.send_frames(in_port - 1, &[sent.frame()]);
    let left = left[usize::from(2 - in_port)].pop().expect("the segment is forwarded");
    let l4 = usize::from(extract(Arrival::default(), &left, 2).1.l4);
    let header = TcpPacket::new_unchecked(&left[l4..]);
    let payload = String::from_utf8_lossy(&left[l4 + header.header_size()..]);
    assert_eq!(payload, expected.payload);
    let numbers = (header.sequence(), header.acknowledgement());
    assert_eq!(numbers, (expected.sequence, expected.acknowledgement));
    assert_eq!(left, expected.frame(), "addresses and checksums");
}

const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 1000);
const SERVER: ([u8; 4], u16) = ([198, 51, 100, 7], 21);
const OUTSIDE: [u8; 4] = [192, 0, 2, 1];

/// Rules by which a client behind port 1 reaches an FTP server behind port 2. `nat` is the
/// translation of the control connection.
fn rules(nat: &str) -> Vec<String> {
    [
        "priority=9,tcp,ct_state=-trk,actions=ct(nat,table=1)".to_owned(),
        format!(
            "table=1,priority=9,tcp,ct_state=+trk+new-rel,in_port=1,tp_dst=21,\
             actions=ct(commit,{nat},alg=ftp,exec(set_field:7->ct_mark)),2"
        ),
        "table=1,priority=9,tcp,ct_state=+trk+new+rel,ct_mark=7,in_port=2,actions=ct(commit,nat),1"
            .to_owned(),
        "table=1,priority=9,tcp,ct_state=+trk+new+rel,ct_mark=7,in_port=1,actions=ct(commit,nat),2"
            .to_owned(),
        "table=1,priority=9,tcp,ct_state=+trk+est,in_port=1,actions=2".to_owned(),
        "table=1,priority=9,tcp,ct_state=+trk+est,in_port=2,actions=1".to_owned(),
    ]
    .to_vec()
}

fn with_rules(nat: &str, check: impl Fn(&mut Bench)) {
    let rules = rules(nat);
    with_and_without_caches(&rules.iter().map(String::as_str).collect::<Vec<_>>(), check);
}

/// Opens a connection from `client` to `called` by a handshake. The server has the address `server`, and sees
/// the client as `seen`. Both ends begin with the sequence number 99. Returns the next segment of each end as
/// that end sends it, and as the other one gets it.
fn open(
    bench: &mut Bench,
    (client, called): (([u8; 4], u16), ([u8; 4], u16)),
    (seen, server): (([u8; 4], u16), ([u8; 4], u16)),
    in_port: u16,
) -> [(Segment<'static>, Segment<'static>); 2] {
    let segment = |src, dst, flags, sequence, acknowledgement| Segment {
        src,
        dst,
        flags,
        sequence,
        acknowledgement,
        payload: "",
    };
    let to_server = |flags, seq, ack| {
        (segment(client, called, flags, seq, ack), segment(seen, server, flags, seq, ack))
    };
    let to_client = |flags, seq, ack| {
        (segment(server, seen, flags, seq, ack), segment(called, client, flags, seq, ack))
    };
    let (sent, expected) = to_server(SYN, 99, 0);
    check(bench, in_port, sent, expected);
    let (sent, expected) = to_client(SYN | ACK, 99, 100);
    check(bench, 3 - in_port, sent, expected);
    let (sent, expected) = to_server(ACK, 100, 100);
    check(bench, in_port, sent, expected);
    [to_server(ACK, 100, 100), to_client(ACK, 100, 100)]
}

/// Opens a control connection, in which the client names its port 1234. Returns the next frame of the client.
pub(super) fn ftp_control(bench: &mut Bench) -> Vec<u8> {
    let [(client, _), _] = open(bench, (CLIENT, SERVER), (CLIENT, SERVER), 1);
    let told = "PORT 10,0,0,1,4,210\r\n";
    check(bench, 1, client.with_payload(told), client.with_payload(told));
    Segment { sequence: client.sequence + told.len() as u32, ..client }.frame()
}

/// Opens the connection with the data of [`ftp_control`]. Returns the next frame of the server.
pub(super) fn ftp_data(bench: &mut Bench) -> Vec<u8> {
    let (data, client) = ((SERVER.0, 20), (CLIENT.0, 1234));
    let [(server, _), _] = open(bench, (data, client), (data, client), 2);
    server.frame()
}

#[test]
fn an_active_client_behind_an_address_is_called_back() {
    with_rules("nat(src=192.0.2.1)", |bench| {
        let seen = (OUTSIDE, 1000);
        let [(client, seen_client), (server, seen_server)] =
            open(bench, (CLIENT, SERVER), (seen, SERVER), 1);
        let (told, rewritten) = ("PORT 10,0,0,1,4,210\r\n", "PORT 192,0,2,1,4,210\r\n");
        // Twice: the first one may have been lost.
        for _ in 0..2 {
            check(bench, 1, client.with_payload(told), seen_client.with_payload(rewritten));
        }
        // The server has got one octet more than the client has sent.
        let (sent, got) = (100 + told.len() as u32, 100 + rewritten.len() as u32);
        let server = Segment { acknowledgement: got, ..server };
        let seen_server = Segment { acknowledgement: sent, ..seen_server };
        check(bench, 2, server.with_payload("200 ok\r\n"), seen_server.with_payload("200 ok\r\n"));
        let client = Segment { sequence: sent, acknowledgement: 108, ..client };
        let seen_client = Segment { sequence: got, acknowledgement: 108, ..seen_client };
        check(bench, 1, client.with_payload("RETR a\r\n"), seen_client.with_payload("RETR a\r\n"));
        // The connection with the data.
        let data = (SERVER.0, 20);
        open(bench, (data, (OUTSIDE, 1234)), (data, (CLIENT.0, 1234)), 2);
        let known = bench.policy.connections().dump(bench.now, CtFilter::default());
        assert_eq!(known.len(), 2);
        let (parent, child) = match known[0].parent {
            None => (&known[0], &known[1]),
            Some(_) => (&known[1], &known[0]),
        };
        assert_eq!((child.parent, child.mark), (Some(parent.original), 7));
        assert_eq!((parent.parent, parent.alg), (None, Some(flow::ct::CtAlg::Ftp)));
        // Once is enough, and another one is a stranger.
        let again = Segment::opening((SERVER.0, 19), (OUTSIDE, 1234));
        assert!(bench.send_frames(1, &[again.frame()]).iter().all(Vec::is_empty));
    });
}

#[test]
fn a_passive_server_behind_an_address_is_called_there() {
    with_rules("nat(dst=198.51.100.7)", |bench| {
        let called = (OUTSIDE, 21);
        let [_, (server, seen_server)] = open(bench, (CLIENT, called), (CLIENT, SERVER), 1);
        let (told, rewritten) =
            ("227 Go (198,51,100,7,4,210).\r\n", "227 Go (192,0,2,1,4,210).\r\n");
        check(bench, 2, server.with_payload(told), seen_server.with_payload(rewritten));
        let client = (CLIENT.0, 3000);
        open(bench, (client, (OUTSIDE, 1234)), (client, (SERVER.0, 1234)), 1);
    });
}

#[test]
fn who_names_another_address_than_its_own_is_not_helped() {
    with_rules("nat(src=192.0.2.1)", |bench| {
        let [(client, _), _] = open(bench, (CLIENT, SERVER), ((OUTSIDE, 1000), SERVER), 1);
        for payload in ["PORT 10,0,0,2,4,210\r\n", "PORT 10,0,0,1,4\r\n"] {
            let sent = bench.send_frames(0, &[client.with_payload(payload).frame()]);
            assert!(sent.iter().all(Vec::is_empty), "{payload}: +inv");
        }
        let stranger = Segment::opening((SERVER.0, 20), (OUTSIDE, 1234));
        assert!(bench.send_frames(1, &[stranger.frame()]).iter().all(Vec::is_empty));
    });
}

#[test]
fn a_tftp_server_answers_from_another_port() {
    let rules = [
        "priority=9,udp,ct_state=-trk,actions=ct(nat,table=1)",
        "table=1,priority=9,udp,ct_state=+trk+new-rel,in_port=1,tp_dst=69,actions=ct(commit,nat(src=192.0.2.1:5000),alg=tftp),2",
        "table=1,priority=9,udp,ct_state=+trk+new+rel,in_port=2,actions=ct(commit,nat),1",
        "table=1,priority=9,udp,ct_state=+trk+est+rel,in_port=1,actions=2",
    ];
    with_and_without_caches(&rules, |bench| {
        let packet = |src: &str, sport: u16, dst: &str, dport: u16| {
            let ends = format!("nw_src={src},nw_dst={dst},nw_ttl=64,tp_src={sport},tp_dst={dport}");
            headers(&format!("udp,{ends}"))
        };
        let (client, server, outside) = ("10.0.0.1", "198.51.100.7", "192.0.2.1");
        let data = packet(server, 3000, outside, 5000);
        assert!(bench.ports(2, data).is_empty(), "nobody has asked");
        // A read request: its first two bytes are the opcode, 1.
        let mut request = compose(&packet(client, 1000, server, 69));
        let l4 = usize::from(extract(Arrival::default(), &request, 2).1.l4);
        request.truncate(l4 + 8);
        request.extend([0, 1, b'a', 0]);
        request[l4 - 18..l4 - 16].copy_from_slice(&32u16.to_be_bytes());
        request[l4 + 4..l4 + 8].copy_from_slice(&[0, 12, 0, 0]);
        Ipv4Packet::new_unchecked(&mut request[ethernet::HEADER_SIZE..]).fill_checksum();
        assert_eq!(bench.send_frames(0, &[request])[1].len(), 1);
        let mut sent = bench.send(1, &[data]);
        assert_eq!(sent[0].pop(), Some(compose(&packet(server, 3000, client, 1000))));
        let mut sent = bench.send(0, &[packet(client, 1000, server, 3000)]);
        assert_eq!(sent[1].pop(), Some(compose(&packet(outside, 5000, server, 3000))));
    });
}

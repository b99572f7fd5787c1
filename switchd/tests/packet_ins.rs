//! Packets that the rules give to controllers: what reaches a client at a bridge's OpenFlow socket,
//! and what it sends back.

use flow::Match;
use flow::fields::FieldId;
use flow::flow_mod::{Command, FlowMod};
use flow::key::PipelineKey;
use flow::table_mod::{TableMiss, TableSettings};
use flow::text::{
    DEFAULT_PRIORITY, NoPortNames, ParseContext, parse_flow, parse_packet_out, write_match,
};
use flow::types::{Cookie, Fragments, OfPort, OfVersion, TableId};
use flow::verdict::{DropReason, PacketInReason};
use openflow::{
    Encoding, ErrorCode, MessageHeader, OfMessage, PacketIn, PacketInForm, SwitchConfig,
    continuation_of,
};
use ports::dummy::{self, Dummy, DummyOptions};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use switchd::desired::{self, DEFAULT_BRIDGE, Desired};
use switchd::openflow::OpenFlowServer;
use switchd::switch::{Config, Switch};

/// How long a test waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A switch with a bridge without rules and three ports in memory, which serves OpenFlow.
struct Served {
    folder: PathBuf,
    _server: OpenFlowServer,
    switch: Arc<Switch>,
    far: Vec<Dummy>,
}

impl Served {
    fn start(rules: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("switchd-pin-{}-{n}", std::process::id()));
        let switch = Switch::start(Config { seed: 1, ..Config::new(Desired::one_bridge()) });
        let switch = Arc::new(switch.unwrap());
        let far = ["p1", "p2", "p3"].map(|name| {
            let (port, far) = dummy::open(name, DummyOptions::default()).unwrap();
            switch.add_open_port(DEFAULT_BRIDGE, port).unwrap();
            far
        });
        let _server = OpenFlowServer::start(&folder, &switch);
        let served = Self { folder, _server, switch, far: far.into() };
        let everything = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
        let context = ParseContext { version: OfVersion::OpenFlow15, ..ParseContext::default() };
        let mut requests = vec![everything];
        requests.extend(rules.iter().map(|rule| parse_flow(rule, &context).unwrap()));
        let on = served.switch.on(DEFAULT_BRIDGE).unwrap();
        on.bridge().apply(&requests, served.switch.now()).unwrap();
        served
    }

    fn connect(&self, version: OfVersion) -> Client {
        Client::connect(&self.folder.join(format!("{DEFAULT_BRIDGE}.mgmt")), version)
    }

    /// How many frames a port has received, sent and dropped, and the reasons of the drops with their numbers.
    fn counts(&self, port: usize) -> (u64, u64, Vec<(DropReason, u64)>) {
        let totals = &self.switch.ports()[port - 1].totals;
        let drops = DropReason::ALL.iter().copied().zip(totals.rx_dropped);
        (totals.rx_packets, totals.rx_sent, drops.filter(|(_, count)| *count > 0).collect())
    }

    /// Waits until a port has received this many frames, and returns its counts. They add up.
    fn counts_of(&self, port: usize, received: u64) -> (u64, Vec<(DropReason, u64)>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (rx, sent, drops) = self.counts(port);
            let dropped: u64 = drops.iter().map(|(_, count)| count).sum();
            if rx >= received && rx == sent + dropped {
                return (sent, drops);
            }
            assert!(Instant::now() < deadline, "{rx} received, {sent} sent, {drops:?}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A client of OpenFlow.
struct Client {
    stream: UnixStream,
    encoding: Encoding,
    /// Bytes that are not yet a whole message.
    read: Vec<u8>,
    come: VecDeque<OfMessage>,
}

impl Client {
    fn connect(socket: &std::path::Path, version: OfVersion) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let encoding = Encoding::new(version);
        let mut client = Self { stream, encoding, read: Vec::new(), come: VecDeque::new() };
        client.send(&OfMessage::Hello(vec![version]));
        assert!(matches!(client.next(), OfMessage::Hello(_)));
        client
    }

    fn send(&mut self, message: &OfMessage) {
        self.stream.write_all(&message.encode(self.encoding, 7)).unwrap();
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => panic!("the switch has closed the connection"),
            Ok(count) => self.read.extend(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
        while let Some(header) = MessageHeader::read(&self.read)
            && let Some(message) = self.read.get(..header.len.into())
        {
            self.come.push_back(OfMessage::decode(message, self.encoding).unwrap());
            self.read.drain(..usize::from(header.len));
        }
    }

    /// The next message that is not the answer to a barrier.
    fn next(&mut self) -> OfMessage {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = self.come.pop_front() {
                return message;
            }
            assert!(Instant::now() < deadline, "nothing comes");
            self.read();
        }
    }

    fn packet_in(&mut self) -> PacketIn {
        match self.next() {
            OfMessage::PacketIn(packet_in) => *packet_in,
            message => panic!("{message:?}"),
        }
    }

    /// Waits until everything that was sent is carried out. Returns what came meanwhile.
    fn barrier(&mut self) -> Vec<OfMessage> {
        self.send(&OfMessage::BarrierRequest);
        let mut before = Vec::new();
        loop {
            match self.next() {
                OfMessage::BarrierReply => return before,
                message => before.push(message),
            }
        }
    }

    /// Asks for packet-ins in a form, as `ovs-ofctl monitor` does.
    fn monitor(&mut self, form: PacketInForm, invalid_ttl: bool) {
        self.send(&OfMessage::SetPacketInFormat(form));
        let fragments = Some(Fragments::Normal);
        let config = SwitchConfig { fragments, miss_send_len: 128, invalid_ttl };
        self.send(&OfMessage::SetConfig(config));
        assert_eq!(self.barrier(), []);
    }
}

/// A frame of an EtherType that no protocol has.
fn frame(ethertype: u16) -> Vec<u8> {
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1];
    frame.extend(ethertype.to_be_bytes());
    frame.extend([1, 2, 3, 4, 5, 6, 7, 8]);
    frame
}

/// An IPv4 packet whose TTL is 1.
fn dying() -> Vec<u8> {
    let mut frame = frame(0x0800);
    frame.truncate(14);
    frame.extend([0x45, 0, 0, 20, 0, 0, 0, 0, 1, 17, 0x63, 0xdb, 1, 2, 3, 4, 5, 6, 7, 8]);
    frame
}

fn register(packet_in: &PacketIn, n: u8) -> u128 {
    FieldId::Reg(n).read(packet_in.metadata.key())
}

const NXT2: PacketInForm = PacketInForm::Nxt2;

#[test]
fn a_packet_in_says_where_the_packet_was() {
    let served = Served::start(&[
        "cookie=0x12,dl_type=0x1111,actions=load:5->NXM_NX_REG3[],load:9->OXM_OF_METADATA[],resubmit(,4)",
        "table=4,cookie=0x34,priority=7,actions=controller(max_len=3,userdata=01.02.ff)",
    ]);
    for version in OfVersion::ALL {
        for form in PacketInForm::ALL {
            let mut client = served.connect(version);
            client.monitor(form, false);
            served.far[0].inject(&frame(0x1111));
            let got = client.packet_in();
            let place = format!("{version:?} {form:?}");
            assert_eq!(got.packet, frame(0x1111), "{place}: max_len cuts nothing off");
            assert_eq!((got.total_len, got.buffer), (22, None), "{place}");
            assert_eq!(got.reason, PacketInReason::Action, "{place}");
            assert_eq!(got.metadata.key().in_port.get(), OfPort(1), "{place}");
            let is_nicira = form != PacketInForm::Standard;
            if is_nicira || version >= OfVersion::OpenFlow12 {
                let metadata = FieldId::Metadata.read(got.metadata.key());
                assert_eq!((register(&got, 3), metadata), (5, 9), "{place}");
            }
            if is_nicira || version >= OfVersion::OpenFlow13 {
                assert_eq!(got.cookie, Some(Cookie(0x34)), "{place}");
            }
            let table = if is_nicira || version > OfVersion::OpenFlow10 { 4 } else { 0 };
            assert_eq!(got.table, table, "{place}");
            let userdata: &[u8] = if form == NXT2 { &[1, 2, 0xff] } else { &[] };
            assert_eq!((&got.userdata[..], &got.continuation[..]), (userdata, &[][..]), "{place}");
        }
    }
    assert_eq!(
        served.counts_of(1, 18),
        (18, vec![]),
        "a packet that a controller got is not dropped"
    );
}

#[test]
fn reasons_are_those_of_open_vswitch() {
    let served = Served::start(&[
        "dl_type=0x1111,actions=CONTROLLER:65535",
        "dl_type=0x1112,actions=controller(reason=no_match)",
        "dl_type=0x1113,actions=goto_table:2",
        "dl_type=0x1114,actions=write_actions(CONTROLLER:65535)",
        "dl_type=0x1115,actions=resubmit(,3),CONTROLLER",
        "dl_type=0x1116,actions=resubmit(,3)",
        "ip,actions=dec_ttl,output:2",
        "table=2,priority=0,actions=CONTROLLER:65535",
    ]);
    let mut client = served.connect(OfVersion::OpenFlow15);
    client.monitor(NXT2, false);
    for (ethertype, expected) in [
        (0x1111, PacketInReason::Action),
        (0x1112, PacketInReason::NoMatch),
        (0x1113, PacketInReason::NoMatch),
        (0x1114, PacketInReason::ActionSet),
        (0x1115, PacketInReason::Action),
    ] {
        served.far[0].inject(&frame(ethertype));
        assert_eq!(client.packet_in().reason, expected, "{ethertype:#x}");
    }
    // Nothing tells a controller of OpenFlow 1.3 or later of what a table has no rule for, nor of a TTL.
    served.far[0].inject(&frame(0x1116));
    served.far[0].inject(&frame(0x1117));
    served.far[0].inject(&dying());
    let drops =
        [(DropReason::TableMiss, 1), (DropReason::RuleDrop, 1), (DropReason::InvalidTtl, 1)];
    let (sent, got) = served.counts_of(1, 8);
    assert_eq!((sent, got.len()), (5, 3), "{got:?}");
    assert!(drops.iter().all(|drop| got.contains(drop)), "{got:?}");
    assert_eq!(client.barrier(), []);
    let text = "packet=ffffffffffff0200000000011111,actions=CONTROLLER";
    let packet_out = parse_packet_out(text, &ParseContext::default()).unwrap();
    client.send(&OfMessage::PacketOut(Box::new(packet_out)));
    let got = client.packet_in();
    assert_eq!((got.reason, got.cookie), (PacketInReason::PacketOut, None));
}

/// A frame of 1,022 bytes that has a number.
fn numbered(number: u32) -> Vec<u8> {
    let mut frame = frame(0x1111);
    frame.extend(number.to_be_bytes());
    frame.resize(1022, 0);
    frame
}

/// A switch that gives frames made by [`numbered`] to a controller, and the controller.
fn numbers_to_controller() -> (Served, Client) {
    let served = Served::start(&["dl_type=0x1111,actions=CONTROLLER"]);
    let mut client = served.connect(OfVersion::OpenFlow13);
    client.monitor(NXT2, false);
    (served, client)
}

fn number_of(packet_in: &PacketIn) -> u32 {
    u32::from_be_bytes(*packet_in.packet[22..].first_chunk().unwrap())
}

#[test]
fn packet_ins_keep_their_order_and_come_whole_beside_replies() {
    const ALL: u32 = 500;
    // Fewer than a socket holds: somebody who only writes would wait for the switch, which waits for a reader.
    const MOST_UNREAD: u32 = 100;
    let (served, mut client) = numbers_to_controller();
    let (mut packet_ins, mut echoes) = (0, 0);
    let mut take = |message| {
        match message {
            OfMessage::PacketIn(packet_in) => {
                assert_eq!(packet_in.packet, numbered(packet_ins));
                packet_ins += 1;
            }
            OfMessage::EchoReply(data) => {
                assert_eq!(data, u32::to_be_bytes(echoes));
                echoes += 1;
            }
            message => panic!("{message:?}"),
        }
        packet_ins + echoes
    };
    let mut taken = 0;
    for number in 0..ALL {
        served.far[0].inject(&numbered(number));
        client.send(&OfMessage::EchoRequest(number.to_be_bytes().to_vec()));
        // Sometimes the connection sleeps when the next packet comes.
        let unread = if number % 7 == 0 { 0 } else { MOST_UNREAD };
        while 2 * (number + 1) - taken > unread {
            taken = take(client.next());
        }
    }
    while taken < 2 * ALL {
        taken = take(client.next());
    }
    assert_eq!(served.counts_of(1, ALL.into()), (ALL.into(), vec![]));
}

#[test]
fn packet_ins_wait_for_a_controller_that_does_not_read() {
    // More than a socket holds.
    const ALL: u32 = 1500;
    let (served, mut client) = numbers_to_controller();
    for number in 0..ALL {
        served.far[0].inject(&numbered(number));
        served.counts_of(1, u64::from(number) + 1);
    }
    for number in 0..ALL {
        assert_eq!(number_of(&client.packet_in()), number);
    }
    assert_eq!(client.barrier(), []);
}

#[test]
fn misses_and_lost_ttls_go_to_those_who_want_them() {
    let served =
        Served::start(&["ip,actions=dec_ttl,output:2", "dl_type=0x1112,actions=goto_table:3"]);
    let mut old = served.connect(OfVersion::OpenFlow10);
    let mut new = served.connect(OfVersion::OpenFlow13);
    new.monitor(NXT2, false);
    served.far[0].inject(&frame(0x1111));
    let (_, drops) = served.counts_of(1, 1);
    assert_eq!(drops, [(DropReason::TableMiss, 1)], "the old one has not asked yet");
    old.monitor(PacketInForm::Nxt, true);
    for (ethertype, table) in [(0x1111, 0), (0x1112, 3)] {
        served.far[0].inject(&frame(ethertype));
        let got = old.packet_in();
        let expected = (PacketInReason::NoMatch, table, Some(Cookie(0)));
        assert_eq!((got.reason, got.table, got.cookie), expected);
    }
    served.far[0].inject(&dying());
    let got = old.packet_in();
    assert_eq!((got.reason, got.packet), (PacketInReason::InvalidTtl, dying()));
    assert_eq!(new.barrier(), []);
    // A port that sends no packet-ins, and nobody who wants any.
    served.switch.on(DEFAULT_BRIDGE).unwrap().change_port(OfPort(2), |port| {
        port.config.no_packet_in = true;
    });
    served.far[1].inject(&frame(0x1111));
    assert_eq!(served.counts_of(2, 1), (0, vec![(DropReason::TableMiss, 1)]));
    // The change of the port is told.
    let told = old.barrier();
    assert!(!told.iter().any(|message| matches!(message, OfMessage::PacketIn(_))), "{told:?}");
    drop(old);
    let deadline = Instant::now() + PATIENCE;
    loop {
        served.far[0].inject(&frame(0x1111));
        let (received, ..) = served.counts(1);
        let (_, drops) = served.counts_of(1, received);
        // The first one of this port was dropped before anybody asked.
        if drops.iter().any(|(reason, count)| *reason == DropReason::TableMiss && *count > 1) {
            break;
        }
        assert!(Instant::now() < deadline, "{drops:?}");
    }
}

#[test]
fn a_controller_gets_what_is_for_its_id() {
    let served = Served::start(&[
        "dl_type=0x1111,actions=controller(id=5)",
        "dl_type=0x1112,actions=controller(id=6)",
        "dl_type=0x1113,actions=CONTROLLER",
    ]);
    let mut five = served.connect(OfVersion::OpenFlow13);
    five.monitor(NXT2, false);
    five.send(&OfMessage::SetControllerId(5));
    assert_eq!(five.barrier(), []);
    for ethertype in [0x1113, 0x1112, 0x1111] {
        served.far[0].inject(&frame(ethertype));
    }
    assert_eq!(five.packet_in().packet, frame(0x1111));
    assert_eq!(served.counts_of(1, 3), (1, vec![(DropReason::NoController, 2)]));
}

/// Takes a packet-in back to the switch, as a controller does that changes nothing.
fn resume(client: &mut Client, packet_in: &PacketIn) {
    client.send(&OfMessage::Resume(Box::new(packet_in.clone())));
}

#[test]
fn the_table_behind_ct_does_what_it_is_set_to_do_with_packets_without_rule() {
    let served = Served::start(&["udp,actions=ct(table=1)", "table=2,actions=output:3"]);
    let mut client = served.connect(OfVersion::OpenFlow10);
    client.monitor(NXT2, false);
    served.far[0].inject(&datagram(false, 1));
    let missed = client.packet_in();
    assert_eq!((missed.reason, missed.table), (PacketInReason::NoMatch, 1));
    let settings = TableSettings { miss: Some(TableMiss::Continue), ..TableSettings::default() };
    let table = TableId::new(1).unwrap();
    let change = |bridge: &mut desired::Bridge| bridge.tables.set(table, settings);
    served.switch.change_bridge(DEFAULT_BRIDGE, change).unwrap();
    served.far[0].inject(&datagram(false, 1));
    assert_eq!(served.counts_of(1, 2), (2, vec![]));
    assert_eq!(served.far[2].next_sent().unwrap().bytes, datagram(false, 1));
}

#[test]
fn a_packet_goes_on_behind_the_action_that_paused_it() {
    let served = Served::start(&[
        // The stack, registers, the action set and the lists around the action go on.
        "dl_type=0x1111,actions=load:2->NXM_NX_REG1[],push:NXM_NX_REG1[],load:0->NXM_NX_REG1[],resubmit(,5),resubmit(,1),output:3",
        "table=5,actions=write_actions(set_field:02:00:00:00:00:77->eth_dst,output:1)",
        "table=1,actions=controller(pause),pop:NXM_NX_REG2[],resubmit(,2)",
        "table=2,reg2=2,reg4=0,actions=output:NXM_NX_REG2[]",
        "table=2,reg2=2,reg4=9,actions=drop",
        "dl_type=0x1112,actions=clone(controller(pause),output:2),output:3",
        "dl_type=0x1113,actions=controller(pause),controller(pause),output:2",
    ]);
    let mut client = served.connect(OfVersion::OpenFlow15);
    client.monitor(NXT2, false);
    served.far[1].inject(&frame(0x1111));
    let paused = client.packet_in();
    assert!(!paused.continuation.is_empty() && paused.table == 1);
    assert_eq!(served.counts_of(2, 1), (1, vec![]));
    let sent = || served.far.iter().map(|far| far.sent().len()).collect::<Vec<_>>();
    assert_eq!(sent(), [0, 0, 0], "nothing before the controller says so");
    for n in 0..3 {
        resume(&mut client, &paused);
        assert_eq!(client.barrier(), [], "{n}");
    }
    // The action set ends with an output to port 1, whose packet has the new address.
    let (first, third) = (served.far[0].sent(), served.far[2].sent());
    assert_eq!((first.len(), third.len()), (3, 3));
    assert_eq!(first[0].bytes[..6], [2, 0, 0, 0, 0, 0x77]);
    assert_eq!(third[0].bytes, frame(0x1111));
    // Port 2 is the ingress port, to which an output does nothing.
    assert!(served.far[1].sent().is_empty());
    // What the controller changes counts: packet, ingress port and registers.
    let mut changed = paused.clone();
    changed.packet = frame(0x2222);
    changed.metadata = PacketIn::metadata_of(OfPort(1), &PipelineKey::default());
    resume(&mut client, &changed);
    assert_eq!(client.barrier(), []);
    assert_eq!(served.far[1].next_sent().unwrap().bytes, frame(0x2222));
    assert_eq!(served.far[2].next_sent().unwrap().bytes, frame(0x2222));
    assert!(served.far[0].sent().is_empty(), "port 1 is the ingress port now");
    let mut state = PipelineKey::default();
    state.regs[4] = 9.into();
    changed.metadata = PacketIn::metadata_of(OfPort(1), &state);
    resume(&mut client, &changed);
    assert_eq!(client.barrier(), []);
    assert_eq!((served.far[1].sent().len(), served.far[2].sent().len()), (0, 1));

    // A clone waits alone.
    served.far[0].inject(&frame(0x1112));
    let paused = client.packet_in();
    assert_eq!(served.counts_of(1, 1), (1, vec![]));
    assert_eq!((served.far[1].sent().len(), served.far[2].sent().len()), (0, 1));
    resume(&mut client, &paused);
    assert_eq!(client.barrier(), []);
    assert_eq!((served.far[1].sent().len(), served.far[2].sent().len()), (1, 0));

    // A packet can wait again.
    served.far[0].inject(&frame(0x1113));
    let first = client.packet_in();
    resume(&mut client, &first);
    let second = client.packet_in();
    assert_ne!(first.continuation, second.continuation);
    assert!(served.far[1].sent().is_empty());
    resume(&mut client, &second);
    assert_eq!(client.barrier(), []);
    assert_eq!(served.far[1].sent().len(), 1);
}

/// A datagram over IPv4 or IPv6 between hosts 1 and 2, `from` one of them, without checksum over IPv4.
fn datagram(is_ipv6: bool, from: u8) -> Vec<u8> {
    let to = 3 - from;
    let mut frame = frame(if is_ipv6 { 0x86dd } else { 0x0800 });
    frame.truncate(14);
    if is_ipv6 {
        frame.extend([0x60, 0, 0, 0, 0, 8, 17, 64]);
        for host in [from, to] {
            frame.extend([0xfc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
        }
        frame.extend([0, from, 0, to, 0, 8, 0x07, 0xd7]);
    } else {
        let addresses = [10, 1, 1, from, 10, 1, 1, to];
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x64, 0xcd]);
        frame.extend(addresses);
        frame.extend([0, from, 0, to, 0, 8, 0, 0]);
    }
    frame
}

/// The match of a packet-in, in the words of a rule.
fn told(packet_in: &PacketIn) -> String {
    let mut text = String::new();
    write_match(&mut text, &packet_in.metadata, DEFAULT_PRIORITY, &NoPortNames);
    text
}

#[test]
fn a_packet_in_tells_the_connection_and_a_resumed_packet_keeps_it() {
    let served = Served::start(&[
        "udp,in_port=1,actions=ct(commit,zone=5,exec(load:9->NXM_NX_CT_MARK[])),ct(zone=5,table=1)",
        "udp6,in_port=1,actions=ct(commit,zone=5,exec(load:9->NXM_NX_CT_MARK[])),ct(zone=5,table=1)",
        "table=0,ip,in_port=2,actions=ct(zone=5,table=1)",
        "table=0,ipv6,in_port=2,actions=ct(zone=5,table=1)",
        "table=0,dl_type=0x1111,actions=resubmit(,1)",
        "table=1,actions=controller(pause),resubmit(,2)",
        "table=2,udp,ct_state=+est+rpl,ct_zone=5,ct_mark=9,ct_nw_src=10.1.1.1,ct_tp_dst=2,actions=3",
        "table=2,udp6,ct_state=+est+rpl,ct_zone=5,ct_mark=9,ct_ipv6_src=fc00::1,ct_tp_dst=2,actions=3",
    ]);
    for version in [OfVersion::OpenFlow10, OfVersion::OpenFlow13, OfVersion::OpenFlow15] {
        let mut client = served.connect(version);
        client.monitor(NXT2, false);
        // A packet that was not tracked has no connection.
        served.far[1].inject(&frame(0x1111));
        assert_eq!(told(&client.packet_in()), "in_port=2");
        for is_ipv6 in [false, true] {
            served.far[0].inject(&datagram(is_ipv6, 1));
            let first = client.packet_in();
            assert_eq!(FieldId::CtState.read(first.metadata.key()) & 0x38, 0x20, "{version:?}");
            served.far[1].inject(&datagram(is_ipv6, 2));
            let paused = client.packet_in();
            let (addresses, protocol) = match is_ipv6 {
                false => ("ct_nw_src=10.1.1.1,ct_nw_dst=10.1.1.2", "ip"),
                true => ("ct_ipv6_src=fc00::1,ct_ipv6_dst=fc00::2", "ipv6"),
            };
            let ports = format!("ct_nw_proto=17,ct_tp_src=1,ct_tp_dst=2,{protocol},in_port=2");
            let state = "ct_state=est|rpl|trk,ct_zone=5,ct_mark=0x9";
            assert_eq!(told(&paused), format!("{state},{addresses},{ports}"), "{version:?}");
            resume(&mut client, &paused);
            assert_eq!(client.barrier(), []);
            assert_eq!(served.far[2].sent().len(), 1, "{version:?}");
            let mut changed = paused;
            changed.metadata = PacketIn::metadata_of(OfPort(2), &PipelineKey::default());
            resume(&mut client, &changed);
            assert_eq!(client.barrier(), []);
            assert_eq!(served.far[2].sent().len(), 0, "the controller says what it is");
        }
        // What is told is that of each connection, from the cache, too.
        for port in [7, 8] {
            let mut other = datagram(false, 2);
            other[35] = port;
            served.far[1].inject(&other);
            let ports = format!("ct_nw_proto=17,ct_tp_src={port},ct_tp_dst=1");
            let state = "ct_state=new|trk,ct_zone=5,ct_nw_src=10.1.1.2,ct_nw_dst=10.1.1.1";
            let expected = format!("{state},{ports},ip,in_port=2");
            assert_eq!(told(&client.packet_in()), expected, "{version:?}");
        }
    }
}

#[test]
fn a_controller_cannot_make_a_continuation() {
    let served = Served::start(&["actions=controller(pause),output:2"]);
    let mut client = served.connect(OfVersion::OpenFlow13);
    client.monitor(NXT2, false);
    served.far[0].inject(&frame(0x1111));
    let paused = client.packet_in();
    let mut other = paused.continuation.clone();
    *other.get_mut(5).unwrap() ^= 1;
    let stale = [Vec::new(), vec![0; 8], other, continuation_of([0; 16]), vec![0x80; 60_000]];
    for continuation in stale {
        resume(&mut client, &PacketIn { continuation, ..paused.clone() });
        match &client.barrier()[..] {
            [OfMessage::Error(error)] => assert_eq!(error.code, Some(ErrorCode::ResumeStale)),
            messages => panic!("{messages:?}"),
        }
    }
    let short = PacketIn { packet: vec![1; 13], total_len: 13, ..paused.clone() };
    resume(&mut client, &short);
    assert!(matches!(&client.barrier()[..], [OfMessage::Error(_)]));
    assert!(served.far[1].sent().is_empty());
    resume(&mut client, &paused);
    assert_eq!(client.barrier(), []);
    assert_eq!(served.far[1].sent().len(), 1);
}

#[test]
fn a_controller_that_does_not_read_costs_a_bounded_amount_and_others_nothing() {
    let served =
        Served::start(&["in_port=1,actions=CONTROLLER:65535", "in_port=2,actions=output:3"]);
    let mut deaf = served.connect(OfVersion::OpenFlow13);
    deaf.monitor(NXT2, false);
    const FLOOD: u64 = 40_000;
    let large = [frame(0x1111), vec![0; 1400]].concat();
    for _ in 0..FLOOD / 100 {
        served.far[0].inject_all((0..100).map(|_| &large));
        served.far[1].inject(&frame(0x1111));
    }
    let (sent, drops) = served.counts_of(1, FLOOD);
    let full: u64 = drops.iter().map(|(_, count)| count).sum();
    assert!(
        drops.iter().all(|(reason, _)| *reason == DropReason::ControllerQueueFull),
        "{drops:?}"
    );
    assert_eq!(sent + full, FLOOD);
    assert_eq!(served.counts_of(2, FLOOD / 100), (FLOOD / 100, vec![]));
    // The connection lives, and what found room comes.
    let got = deaf.barrier().len() as u64;
    assert!(got > 0 && got <= sent, "{got} of {sent}");
}

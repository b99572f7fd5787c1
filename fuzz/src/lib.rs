//! The fuzz targets: functions that take arbitrary bytes and panic if they find a bug.
//!
//! - The programs in `libfuzzer/` call a target with inputs that libFuzzer makes (`fuzz/run`).
//! - The example `fuzz` calls the targets with mutants of the corpus.
//! - `cargo test` calls the targets with the corpus, which includes the inputs of all past crashes.
#![forbid(unsafe_code)]

mod connections;
mod file;
mod offload;
mod openflow;
mod tunnel;

pub use connections::connections;
pub use file::file;
pub use offload::offload;
pub use openflow::openflow;
pub use tunnel::tunnel;

use flow::extract::{Arrival, extract};
use flow::flow_mod::{Command, FlowMod};
use flow::text::{
    GroupCommand, ParseContext, PrintOptions, parse_flow, parse_group, parse_packet_out,
};
use flow::types::{MacAddr, OfPort, OfVersion, PortNo};
use flow::verdict::{AddressSums, DpAction, Rewrite, Transport};
use flowtable::conntrack::{Connections, Tracker};
use flowtable::datapath::{
    CacheConfig, Datapath, Egress, Env, PortCounters, Recirculation, execute,
};
use flowtable::policy::BridgeId;
use flowtable::policy::Policy;
use flowtable::policy::mac_table::DEFAULT_AGEING;
use flowtable::policy::ports::PortInfo;
use packet::{Batch, Frame, FrameId, Offload};
use std::sync::Arc;
use std::time::Duration;

/// The bytes of an input that have not been used yet. Behind their end, zeros follow.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    /// Takes the next byte.
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// Takes the next two bytes as a big-endian integer.
    fn number16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Takes the next eight bytes as a big-endian integer.
    fn number(&mut self) -> u64 {
        (0..8).fold(0, |n, _| n << 8 | u64::from(self.byte()))
    }
}

/// Target: extracts the key of a frame with arbitrary bytes, carries out arbitrary actions
/// on it, and segments it.
///
/// The first bytes of the input choose the actions and the offload metadata. The rest is the frame.
pub fn frame(data: &[u8]) {
    let mut bytes = Bytes(data);
    let count = bytes.byte() % 8;
    let actions: Vec<DpAction> = (0..count).map(|_| action(&mut bytes)).collect();
    let mut header = [0; packet::VNET_HDR_SIZE];
    header.fill_with(|| bytes.byte());
    let offload = Offload::from_bytes(&header);
    let frame = bytes.0;
    let mut batch = Batch::new();
    let mut received = Frame::owned(frame, offload);
    let (_, layers) = extract(Arrival::default(), frame, 1 + (data.len() & 1) as u8);
    received.layers = layers;
    batch.push(received);
    let mut egress = Egress::new(4);
    let mut asked = Vec::new();
    let (table, mut found) = (Connections::new(1), Vec::new());
    let env = Env {
        batch: &mut batch,
        egress: &mut egress,
        recirculations: &mut asked,
        punts: None,
        meters: &[],
        tracker: Tracker { table: &table, in_port: PortNo(0), is_trial: false, budget: None },
        found: &mut found,
        now: Duration::ZERO,
    };
    let subject = Recirculation { frame: FrameId::received(0), recirc_id: 0, found: 0 };
    execute(&actions, env, subject, 0);
    for &port in egress.touched() {
        for &id in egress.queue(port) {
            let sent = batch.frame(id);
            assert!(sent.size() <= frame.len() + 4 * actions.len());
            if let Ok(segmentation) = packet::Segmentation::new(sent) {
                for index in 0..segmentation.count() {
                    assert!(segmentation.segment(index, Vec::new()).offload.is_complete());
                }
            }
        }
    }
    egress.clear(&mut batch);
}

/// An action with arbitrary arguments, chosen by the next bytes.
fn action(bytes: &mut Bytes<'_>) -> DpAction {
    let kind = bytes.byte();
    let n = bytes.number();
    let wide = u128::from(n) << 64 | u128::from(bytes.number());
    let (word, half, byte) = (n as u32, n as u16, n as u8);
    match kind % 15 {
        0 => DpAction::Output(PortNo(half % 4)),
        1 => {
            let (port, max_len) = (PortNo(half % 4), word % 200);
            DpAction::OutputTrunc { port, max_len, priority: word >> 24 }
        }
        2 => DpAction::SetEth {
            src: Rewrite::<u64>::new(n, wide as u64 >> 16),
            dst: Rewrite::<u64>::new(n >> 3, wide as u64 >> 20),
        },
        3 => DpAction::PushVlan { tpid: half, tci: word as u16 },
        4 => DpAction::PopVlan,
        5 => DpAction::SetIpv4 {
            src: Rewrite::<u32>::new(word, wide as u32),
            dst: Rewrite::<u32>::new(!word, u32::MAX),
            tos: Rewrite::<u8>::new(byte, wide as u8),
            ttl: Rewrite::<u8>::new(byte, 0xff),
            sums: AddressSums::Right,
        },
        6 => DpAction::SetIpv6 {
            src: Rewrite::<u128>::new(wide, !wide),
            dst: Rewrite::<u128>::new(!wide, u128::MAX),
            label: Rewrite::<u32>::new(word, 0xf_ffff),
            tclass: Rewrite::<u8>::new(byte, 0xff),
            hop_limit: Rewrite::<u8>::new(byte, 0x0f),
            sums: AddressSums::AsOvs,
        },
        7 => DpAction::SetArp {
            op: Rewrite::<u16>::new(half, 0xff),
            spa: Rewrite::<u32>::new(word, u32::MAX),
            tpa: Rewrite::<u32>::new(!word, u32::MAX),
            sha: Rewrite::<u64>::new(n >> 16, 0xffff_ffff_ffff),
            tha: Rewrite::<u64>::new(wide as u64 >> 16, 0xffff_ffff_ffff),
        },
        8 => DpAction::SetPorts {
            transport: [Transport::Tcp, Transport::Udp, Transport::Sctp][usize::from(byte % 3)],
            src: Rewrite::<u16>::new(half, u16::MAX),
            dst: Rewrite::<u16>::new(!half, wide as u16),
        },
        9 => DpAction::SetIcmp {
            icmp_type: Rewrite::<u8>::new(byte, 0xff),
            code: Rewrite::<u8>::new(byte, 0x0f),
        },
        10 => DpAction::SetNd {
            target: Rewrite::<u128>::new(wide, u128::MAX),
            sll: Rewrite::<u64>::new(n >> 16, 0xffff_ffff_ffff),
            tll: Rewrite::<u64>::new(n >> 16, 0xffff_ffff_ffff),
        },
        11 => DpAction::PushMpls { lse: word, ethertype: half },
        12 => DpAction::SetNdExt {
            reserved: Rewrite::<u32>::new(word, u32::MAX),
            option_type: Rewrite::<u8>::new(byte, 0xff),
        },
        13 => DpAction::PopMpls { ethertype: half },
        _ => DpAction::SetMpls(Rewrite::<u32>::new(word, u32::MAX)),
    }
}

/// Target: parses text as a rule, a group and a packet-out. A rule that is accepted is printed, and the printed
/// text must parse to the same rule.
///
/// The first byte of the input chooses OpenFlow version, command and leniency. The rest is the text.
pub fn rule(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let version = match choice & 7 {
        0 | 7 => OfVersion::OpenFlow10,
        1 => OfVersion::OpenFlow11,
        2 => OfVersion::OpenFlow12,
        3 => OfVersion::OpenFlow13,
        4 => OfVersion::OpenFlow14,
        _ => OfVersion::OpenFlow15,
    };
    let command = match choice >> 3 & 3 {
        0 | 1 => Command::Add,
        2 => Command::Modify,
        _ => Command::Delete,
    };
    let lenient = choice & 0x80 != 0;
    let context = ParseContext { version, command, lenient, ..ParseContext::default() };
    let _ = parse_packet_out(text, &context);
    let _ = parse_group(text, GroupCommand::Add, &context);
    let Ok(first) = parse_flow(text, &context) else {
        return;
    };
    if lenient {
        return;
    }
    let options = PrintOptions { version, ..PrintOptions::default() };
    let printed = first.to_text(&options);
    match parse_flow(&printed, &context) {
        Ok(second) => assert_eq!(second, first, "{printed}"),
        Err(error) => panic!("{printed}: {error}"),
    }
}

/// Target: decodes arbitrary bytes as frames of the control protocol, and their bodies as messages.
pub fn control(data: &[u8]) {
    let mut decoder = control::frame::Decoder::new(1 << 16);
    for piece in data.chunks(7) {
        decoder.feed(piece);
        while let Ok(Some((_, body))) = decoder.next_frame() {
            let _ = serde_json::from_slice::<control::Request>(body);
            let _ = serde_json::from_slice::<control::Reply>(body);
            let _ = serde_json::from_slice::<control::Hello>(body);
        }
    }
}

/// The rules that [`verdict`] adds and deletes.
const RULES: [&str; 16] = [
    "priority=90,ip,nw_dst=10.0.0.0/8,actions=dec_ttl,set_field:1->reg0,resubmit(,1)",
    "priority=85,tcp,tcp_flags=+syn-ack,actions=mod_tp_dst:80,resubmit(,1),normal",
    "priority=80,udp,tp_dst=0x100/0xff00,actions=3",
    "priority=70,dl_vlan=5,actions=pop_vlan,set_field:3->reg0,resubmit(,1)",
    "priority=60,ipv6,ipv6_src=fe80::/10,actions=set_field:::1/::ff->ipv6_dst,2",
    "priority=50,arp,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],in_port",
    "priority=40,ip,nw_frag=later,actions=4",
    "priority=30,mpls,actions=dec_mpls_ttl,1,pop_mpls:0x0800,resubmit(,2)",
    "priority=20,ip,actions=push_mpls:0x8847,set_field:17->mpls_label,output:2",
    "priority=10,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=flood",
    "priority=0,actions=normal",
    "table=1,priority=9,reg0=1,tcp,actions=mod_nw_src:1.2.3.4,output:NXM_NX_REG0[]",
    "table=1,priority=7,reg0=3,actions=push_vlan:0x88a8,set_field:4100->vlan_vid,output:4",
    "table=1,priority=6,ip,nw_tos=0xb8,actions=check_pkt_larger(100)->NXM_NX_REG3[0],resubmit(,2)",
    "table=1,priority=1,actions=write_actions(mod_dl_dst:02:00:00:00:00:66,output:1),goto_table:2",
    "table=2,priority=1,actions=4",
];

/// Target: sends frames through a datapath with caches and one without, while rules are added and deleted. Both
/// must send the same frames from the same ports.
///
/// The input is a script. A byte below 128 adds or deletes a rule of a fixed list; any other byte sends a
/// frame, whose size and bytes follow.
pub fn verdict(data: &[u8]) {
    // The caches are so small that flows evict each other.
    let small =
        CacheConfig { emc_entries: 64, max_flows: 16, upcalls: None, ..CacheConfig::default() };
    let mut cached = Bench::new(small);
    let mut plain = Bench::new(CacheConfig::OFF);
    let mut bytes = Bytes(data);
    let mut now = Duration::ZERO;
    while !bytes.0.is_empty() {
        now += Duration::from_millis(1);
        let op = bytes.byte();
        if op < 128 {
            let text = RULES[usize::from(op & 15)];
            let command = if op & 16 == 0 { Command::Add } else { Command::DeleteStrict };
            cached.change(text, command, now);
            plain.change(text, command, now);
        } else {
            let size = usize::from(bytes.byte() % 96).min(bytes.0.len());
            let (frame, rest) = bytes.0.split_at(size);
            bytes.0 = rest;
            let port = PortNo(u16::from(op & 3));
            assert_eq!(cached.send(port, frame, now), plain.send(port, frame, now));
        }
    }
}

/// A datapath with one bridge of four ports.
struct Bench {
    policy: Arc<Policy>,
    datapath: Datapath,
}

impl Bench {
    fn new(config: CacheConfig) -> Self {
        let policy = Arc::new(Policy::with_one_bridge(1));
        policy.bridge(BridgeId::FIRST).limit_hosts(64, DEFAULT_AGEING);
        policy.bridge(BridgeId::FIRST).with_ports(|ports| {
            for n in 1..=4 {
                ports.insert(PortInfo::new(PortNo(n - 1), OfPort(n), "p", MacAddr::default()));
            }
        });
        let datapath = Datapath::new(Arc::clone(&policy), config, 1, 1);
        Self { policy, datapath }
    }

    fn change(&self, text: &str, command: Command, now: Duration) {
        let context = ParseContext {
            version: OfVersion::OpenFlow13,
            command: Command::Add,
            ..ParseContext::default()
        };
        let rule = parse_flow(text, &context).expect("a rule of ours");
        let _ = self.policy.bridge(BridgeId::FIRST).apply(&[FlowMod { command, ..rule }], now);
    }

    /// Receives a frame, and returns the frames that are sent: the datapath's number of the
    /// port and the bytes, sorted.
    fn send(&mut self, port: PortNo, frame: &[u8], now: Duration) -> Vec<(u16, Vec<u8>)> {
        let mut batch = Batch::new();
        batch.push(Frame::owned(frame, Offload::NONE));
        let mut egress = Egress::new(4);
        let counters = PortCounters::default();
        self.datapath.process(now, port, &mut batch, &mut egress, &counters);
        let mut out: Vec<(u16, Vec<u8>)> = egress
            .touched()
            .iter()
            .flat_map(|&p| egress.queue(p).iter().map(move |&id| (p.0, id)))
            .map(|(p, id)| (p, batch.frame(id).bytes().to_vec()))
            .collect();
        out.sort();
        egress.clear(&mut batch);
        out
    }
}

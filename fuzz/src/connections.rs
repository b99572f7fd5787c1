//! The target for connection tracking: frames with arbitrary headers, fragments
//! among them, go through `ct(...)`.

use crate::Bytes;
use flow::ct::CtAlg;
use flow::extract::{Arrival, extract};
use flow::nat::{Nat, NatAddresses, NatRange};
use flow::types::PortNo;
use flow::verdict::{CtAction, CtCommit, DpAction, Rewrite};
use flowtable::conntrack::{Connections, Tracker};
use flowtable::datapath::{Egress, Env, Recirculation, execute};
use packet::wire::{Ipv4Packet, eth_type, ipv4};
use packet::{Batch, Frame, FrameId, Offload, checksum};
use std::time::Duration;

/// The most bytes that a frame has more than the input says.
const FILLING: usize = 1_600;

/// Target: tracks a sequence of frames, which may be fragments, with and without translation, while time goes
/// by. Whatever comes in, no frame leaves twice, none is longer than a frame that came in, translated frames
/// keep right checksums of IPv4 headers, and the memory for fragments stays bounded.
///
/// Each frame of the input has bytes for the zone, the kind of action, the time, its size and a filling behind
/// the last byte, and then its own bytes.
pub fn connections(data: &[u8]) {
    let mut input = Bytes(data);
    let table = Connections::new(1);
    let mut now = Duration::ZERO;
    let mut came_in = 0;
    let mut left = 0;
    while !input.0.is_empty() {
        let kind = input.byte();
        now += Duration::from_millis(u64::from(input.byte()) * 100);
        let size = usize::from(input.number16()) % 256;
        let filling = usize::from(input.number16()) % FILLING;
        let mut bytes: Vec<u8> = (0..size).map(|_| input.byte()).collect();
        bytes.resize(size + filling, kind);
        if kind & 0x80 == 0 {
            mend(&mut bytes);
        }
        came_in += 1;
        left += track(&table, &bytes, kind, now);
        assert!(left <= came_in, "a frame left twice");
        let stats = table.stats();
        assert!(stats.fragments.waiting <= 1_000);
        if kind & 0x40 != 0 {
            table.sweep(now);
        }
    }
}

/// Makes the size and the checksum of an IPv4 header right, so that what is behind the header is looked at.
fn mend(bytes: &mut [u8]) {
    let Some((ethernet, packet)) = bytes.split_at_mut_checked(14) else { return };
    if ethernet[12..14] != eth_type::IPV4.to_be_bytes() || packet.len() < ipv4::HEADER_SIZE {
        return;
    }
    let size = packet.len() as u16;
    let mut ip = Ipv4Packet::new_unchecked(packet);
    if (ipv4::HEADER_SIZE..=usize::from(size)).contains(&ip.header_size()) {
        ip.set_total_size(size);
        ip.fill_checksum();
    }
}

/// Sends a frame through `ct(...)` and out. Returns how many frames left.
fn track(table: &Connections, bytes: &[u8], kind: u8, now: Duration) -> usize {
    let mut batch = Batch::new();
    let mut frame = Frame::owned(bytes, Offload::NONE);
    (_, frame.layers) = extract(Arrival::default(), bytes, 1);
    batch.push(frame);
    let commit = CtCommit {
        force: kind & 8 != 0,
        mark: Rewrite::<u32>::new(kind.into(), 0xff),
        label: Rewrite::default(),
        alg: (kind & 0x20 != 0).then_some(if kind & 0x40 == 0 { CtAlg::Ftp } else { CtAlg::Tftp }),
    };
    let addresses = NatAddresses::Ipv4([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    let range = NatRange { addresses: Some(addresses), ..NatRange::default() };
    let nat = match kind & 6 {
        2 => Some(Nat::Known),
        4 => Some(Nat::Source(range)),
        6 => Some(Nat::Destination(range)),
        _ => None,
    };
    let action = CtAction {
        zone: u16::from((kind >> 4) & 1),
        commit: (kind & 1 != 0).then_some(commit),
        nat,
    };
    let actions = [DpAction::Ct(action.into()), DpAction::Output(PortNo(1))];
    let (mut egress, mut asked, mut found) = (Egress::new(2), Vec::new(), Vec::new());
    let env = Env {
        batch: &mut batch,
        egress: &mut egress,
        recirculations: &mut asked,
        punts: None,
        meters: &[],
        tracker: Tracker { table, in_port: PortNo(0), is_trial: false, budget: None },
        found: &mut found,
        now,
    };
    let subject = Recirculation { frame: FrameId::received(0), recirc_id: 0, found: 0 };
    let executed = execute(&actions, env, subject, 0);
    let sent = egress.queue(PortNo(1)).to_vec();
    assert_eq!(executed.outputs as usize, sent.len());
    let was_right = has_right_sum(bytes);
    for id in &sent {
        let frame = batch.frame(*id);
        assert!(frame.size() < 256 + FILLING);
        // Fragments that waited had a right checksum.
        assert!(!was_right || sent.len() > 1 || has_right_sum(frame.bytes()));
    }
    egress.clear(&mut batch);
    sent.len()
}

/// Whether a frame has an IPv4 header with a right checksum.
fn has_right_sum(bytes: &[u8]) -> bool {
    let Some((ethernet, packet)) = bytes.split_at_checked(14) else { return false };
    let size = packet.first().map_or(0, |byte| usize::from(byte & 0xf) * 4);
    ethernet[12..14] == eth_type::IPV4.to_be_bytes()
        && size >= ipv4::HEADER_SIZE
        && packet.get(..size).is_some_and(|header| checksum::sum(header) == u16::MAX)
}

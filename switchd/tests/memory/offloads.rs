//! What the senders of frames say about them in virtio-net headers is not believed.

use crate::bench::{Bench, dropped};
use flow::verdict::DropReason;
use packet::Offload;
use packet::checksum::sum;
use ports::dummy::DummyOptions;

/// A TCP frame with this payload, whose checksum is partial, and its honest virtio-net header.
fn tcp_frame(payload: usize) -> (Vec<u8>, Offload) {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    bytes.extend((payload as u16 + 40).to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let checksum = !sum(&bytes[14..34]);
    bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    bytes.extend([0, 9, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    bytes.resize(bytes.len() + payload, 0x5a);
    let mut offload = Offload { gso_type: 1, gso_size: 1000, hdr_len: 54, ..Offload::NONE };
    offload.set_needs_checksum(34, 16);
    (bytes, offload)
}

/// Sends a frame from port 1 to port 2 and returns why it was dropped; `None` if it was sent.
fn outcome(takes_offload: bool, change: impl Fn(&mut Offload)) -> Option<DropReason> {
    let options = DummyOptions { takes_offload, ..DummyOptions::default() };
    let bench = Bench::with_options(&[options; 2]);
    bench.add(&["priority=9,in_port=1,tcp,tp_dst=80,actions=2", "priority=1,actions=drop"]);
    let (bytes, mut offload) = tcp_frame(60_000);
    change(&mut offload);
    bench.ports[0].inject_with(&bytes, offload);
    let views = bench.settle(1);
    assert_eq!(dropped(&views[0]) + views[0].totals.rx_sent, 1);
    let sent = bench.ports[1].sent_count();
    let segments = if takes_offload { 0 } else { sent };
    let made: u64 = bench.switch.workers().iter().map(|worker| worker.segments).sum();
    assert_eq!(made, segments, "each segment is counted");
    views[0].totals.drops().find(|(_, count)| *count > 0).map(|(reason, _)| reason)
}

#[test]
fn lies_in_a_virtio_net_header_are_dropped_by_that_name_whoever_does_the_work() {
    for takes_offload in [true, false] {
        let check = |change: &dyn Fn(&mut Offload), expected: Option<DropReason>| {
            assert_eq!(outcome(takes_offload, change), expected, "taken on: {takes_offload}");
        };
        check(&|_| (), None);
        check(&|offload| offload.gso_size = 118, None);
        check(&|offload| offload.hdr_len = 60_000, None);
        let refused = Some(DropReason::TxOffload);
        check(&|offload| offload.gso_size = 1, refused);
        check(&|offload| offload.gso_size = 48, refused);
        check(&|offload| offload.gso_type = 4, refused);
        check(&|offload| offload.gso_type = 77, refused);
        check(&|offload| offload.csum_start = 60_000, refused);
        // Without segmentation, the checksum would be written over an address or a port.
        let checksum_at = |start, offset| {
            move |offload: &mut Offload| {
                *offload = Offload::NONE;
                offload.set_needs_checksum(start, offset);
            }
        };
        check(&checksum_at(34, 16), Some(DropReason::ExceedsMtu));
        check(&checksum_at(34, 2), refused);
        check(&checksum_at(14, 12), refused);
        check(&checksum_at(0, 0), refused);
        check(&checksum_at(60_060, 16), refused);
    }
}

#[test]
fn the_size_that_rules_compare_is_not_what_the_sender_says() {
    let bench = Bench::new(3);
    // A segment has 1,054 bytes.
    let rule = |size| {
        format!(
            "in_port=1,actions=check_pkt_larger({size})->NXM_NX_REG0[0],resubmit(,{})",
            size % 10
        )
    };
    bench.add(&[&rule(1051), "table=1,reg0=1,actions=2", "table=1,reg0=0,actions=3"]);
    let (bytes, honest) = tcp_frame(60_000);
    for hdr_len in [0, 54, 9, u16::MAX] {
        bench.ports[0].inject_with(&bytes, Offload { hdr_len, ..honest });
    }
    bench.settle(4);
    assert_eq!((bench.ports[1].sent_count(), bench.ports[2].sent_count()), (4, 0));
}

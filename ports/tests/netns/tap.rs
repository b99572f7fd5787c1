//! TAP devices, with the stack of the test's own namespace as the host.

use crate::fixture::{ip, netlink, open};
use etherparse::PacketBuilder;
use lab::harness::{Test, Unsupported};
use lab::{OpenPort, PATIENCE, has_taps};
use packet::{Frame, Offload};
use ports::{PortKind, TxFailure};
use std::net::UdpSocket;

pub(crate) const TESTS: &[Test] = &[(
    "tap::a_tap_device_carries_frames_and_goes_away",
    a_tap_device_carries_frames_and_goes_away,
)];

fn a_tap_device_carries_frames_and_goes_away() -> anyhow::Result<()> {
    if !has_taps() {
        return Err(Unsupported::lacking("TAP devices for this user"));
    }
    let mut port = OpenPort::open("tap:t1")?;
    assert_eq!(port.port.kind, PortKind::Tap);
    assert!(port.port.status.is_link_up());
    let mut netlink = netlink();
    let link = netlink.link("t1").unwrap();
    netlink.add_address(link.index, ip("10.0.0.1"), 24).unwrap();
    netlink.add_neighbour(link.index, ip("10.0.0.2"), [2; 6]).unwrap();
    let socket = UdpSocket::bind("10.0.0.1:7").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();

    // From the host, which leaves the checksum to us.
    socket.send_to(b"out", "10.0.0.2:9").unwrap();
    port.receive_until(|frame| {
        let is_it = frame.bytes()[..6] == [2; 6];
        if is_it {
            assert_eq!(frame.bytes()[42..], *b"out");
            assert!(frame.offload.needs_checksum());
            assert_eq!((frame.offload.csum_start, frame.offload.csum_offset), (34, 6));
        }
        is_it
    })?;

    // To the host, once complete and once with the checksum left to it.
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], link.mac)
        .ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64)
        .udp(9, 7)
        .write(&mut bytes, b"in")
        .unwrap();
    let mut partial = Frame::owned(&bytes, Offload::NONE);
    let pseudo = packet::checksum::pseudo_header(&[10, 0, 0, 2], &[10, 0, 0, 1], 17, 10);
    partial.bytes_mut()[40..42].copy_from_slice(&pseudo.to_be_bytes());
    partial.offload.set_needs_checksum(34, 6);
    assert_eq!(port.send(vec![Frame::owned(&bytes, Offload::NONE), partial]), []);
    for _ in 0..2 {
        let mut buf = [0; 10];
        assert_eq!(socket.recv_from(&mut buf).unwrap(), (2, "10.0.0.2:9".parse().unwrap()));
        assert_eq!(&buf[..2], b"in");
    }

    let long = Frame::owned(&[0; 1515], Offload::NONE);
    assert_eq!(port.send(vec![long]), [(0, TxFailure::TooLong { size: 1515, mtu: 1500 })]);
    netlink.set_up(link.index, false).unwrap();
    assert_eq!(port.send(vec![Frame::owned(&bytes, Offload::NONE)]), [(0, TxFailure::LinkDown)]);
    let error = open("tap:t1").unwrap_err();
    assert_eq!(error.to_string(), "device \"t1\" is in use by this process already");
    drop(port);
    assert_eq!(netlink.find_link("t1").unwrap(), None);
    Ok(())
}

//! Frames of real hosts through ports.

use crate::fixture::{experimental, host, ip};
use anyhow::{Context, ensure};
use etherparse::PacketBuilder;
use lab::harness::{Test, Unsupported, unsupported_if_missing};
use lab::{FrameSocket, FrameSource, Host, LinkSpec, OpenPort, Vxlan, Wire, eventually};
use nix::sys::socket::{MsgFlags, recv};
use packet::{Batch, Frame, GsoType, Offload};
use ports::{RingSize, RxQueue, TxFailure};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const TESTS: &[Test] = &[
    ("traffic::tags_are_kept_in_both_directions", tags_are_kept_in_both_directions),
    ("traffic::large_frames_pass_whole", large_frames_pass_whole),
    ("traffic::large_slots_do_without_copies", large_slots_do_without_copies),
    ("traffic::tunnels_of_hosts_pass", tunnels_of_hosts_pass),
    ("traffic::own_frames_are_not_heard", own_frames_are_not_heard),
    ("traffic::a_source_sends_its_frames_in_rotation", a_source_sends_its_frames_in_rotation),
    ("traffic::a_frame_arrives_at_a_ring_or_at_its_successor", one_ring_gets_each_frame),
    ("traffic::ring_overflow_is_counted", ring_overflow_is_counted),
    ("traffic::a_frame_without_bytes_is_counted", a_frame_without_bytes_is_counted),
    ("traffic::a_refused_frame_does_not_stop_the_others", a_refused_frame_does_not_stop_the_others),
];

/// Sends `size` bytes of TCP from `client` to `server`, who checks them.
fn stream(client: &Host, server: &Host, address: &str, size: usize) -> anyhow::Result<()> {
    let body: Vec<u8> = (0..size).map(|i| (i * 31 % 253) as u8).collect();
    let listener = server.run(|| TcpListener::bind((address, 5001)))??;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| -> anyhow::Result<()> {
            let mut connection = client.run(|| TcpStream::connect((address, 5001)))??;
            Ok(connection.write_all(&body)?)
        });
        let (mut connection, _) = listener.accept()?;
        let mut received = Vec::new();
        connection.read_to_end(&mut received)?;
        sender.join().expect("the sender does not panic")?;
        ensure!(received == body, "{} of {size} bytes, or others", received.len());
        Ok(())
    })
}

fn tags_are_kept_in_both_directions() -> anyhow::Result<()> {
    let hosts = [host("p1", 1)?, host("p2", 2)?];
    let mut wire = Wire::between("p1", "p2")?;
    let open_end = |host: &Host| anyhow::Ok(host.run(|| OpenPort::open("eth0,shield=off"))??);
    let mut ends = [open_end(&hosts[0])?, open_end(&hosts[1])?];
    let ids = [0x8100u16, 0x88a8, 0x9100];
    let tag_stacks: [&[u16]; 5] = [&ids[..1], &ids[1..2], &[0x8100, 0x88a8], &ids[2..], &[]];
    for (from, to) in [(0, 1), (1, 0)] {
        for tags in tag_stacks {
            let (whole, frame) = udp_frame(hosts[to].mac(), tags);
            let mut passed = None;
            let (left, right) = ends.split_at_mut(1);
            let (sender, receiver) = match from {
                0 => (&mut left[0], &mut right[0]),
                _ => (&mut right[0], &mut left[0]),
            };
            assert_eq!(sender.send(vec![frame]), []);
            let is_it = |frame: &Frame<'_>| frame.bytes().ends_with(b"tagged");
            wire.run(
                || {
                    receiver.receive_until(|frame| {
                        if is_it(frame) {
                            let mut frame = frame.copy_in(Vec::new());
                            packet::complete(&mut frame).unwrap();
                            passed = Some(frame.bytes().to_vec());
                        }
                        is_it(frame)
                    })
                },
                |is_forth, frame| {
                    if is_it(frame) {
                        assert_eq!(is_forth, from == 0);
                        let at = 34 + 4 * tags.len() as u16;
                        assert!(frame.offload.needs_checksum());
                        assert_eq!(frame.offload.csum_start, at, "it moves with the tag");
                    }
                },
            )??;
            assert_eq!(passed, Some(whole), "{tags:x?}");
        }
    }
    assert_eq!(wire.failures, []);
    Ok(())
}

/// A datagram behind tags, as it is to arrive, and as a host sends it: with a partial checksum.
fn udp_frame(destination: [u8; 6], tags: &[u16]) -> (Vec<u8>, Frame<'static>) {
    let mut whole = Vec::new();
    PacketBuilder::ethernet2([2; 6], destination)
        .ipv4([10, 0, 0, 77], [10, 0, 0, 78], 64)
        .udp(9, 9)
        .write(&mut whole, b"tagged")
        .unwrap();
    let mut partial = Frame::owned(&whole, Offload::NONE);
    let pseudo = packet::checksum::pseudo_header(&[10, 0, 0, 77], &[10, 0, 0, 78], 17, 14);
    partial.bytes_mut()[40..42].copy_from_slice(&pseudo.to_be_bytes());
    partial.offload.set_needs_checksum(34, 6);
    let mut whole = Frame::owned(&whole, Offload::NONE);
    for (vid, tpid) in tags.iter().enumerate() {
        assert!(whole.push_tag(*tpid, 0x2001 + vid as u16));
        assert!(partial.push_tag(*tpid, 0x2001 + vid as u16));
    }
    (whole.bytes().to_vec(), partial)
}

/// Rings give way to others while frames with numbers arrive.
fn one_ring_gets_each_frame() -> anyhow::Result<()> {
    const ROUNDS: usize = 20;
    const LAST: u32 = 2_000;
    /// Frames under way, fewer than a ring has slots.
    const WINDOW: u32 = 200;
    let host = host("p1", 1)?;
    for _ in 0..ROUNDS {
        let mut open = OpenPort::open("p1")?;
        let opener = open.port.rx_opener.clone().context("the port has a ring")?;
        let (mut successors, _) = opener.open(RingSize::large_times(2, 1))?;
        let (old, new) = (&mut *open.queues.rx[0], &mut *successors[0]);
        let received = AtomicU32::new(0);
        let send = || -> anyhow::Result<()> {
            let sender = FrameSocket::open_to_send(host.interface())?;
            let mut next = 0;
            while next <= LAST {
                if next < received.load(Ordering::Relaxed) + WINDOW {
                    next += u32::from(sender.send(&numbered(next))?);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let sender = scope.spawn(|| host.run(send));
            let (mut at_old, mut at_new) = (Vec::new(), Vec::new());
            eventually("frames arrive", || {
                at_old.extend(numbers(old));
                received.store(at_old.len() as u32, Ordering::Relaxed);
                at_old.len() as u32 > LAST / 4
            })?;
            old.give_way_to(new)?;
            eventually("the last frame arrives", || {
                at_old.extend(numbers(old));
                at_new.extend(numbers(new));
                received.store((at_old.len() + at_new.len()) as u32, Ordering::Relaxed);
                at_new.last() == Some(&LAST)
            })?;
            sender.join().expect("the sender does not panic")??;
            let arrived: Vec<u32> = at_old.iter().chain(&at_new).copied().collect();
            ensure!(arrived.is_sorted_by(|a, b| a < b), "{at_old:?} {at_new:?}");
            // The kernel takes the first ring off the device for an instant, in which it adds it to the group.
            ensure!(arrived.len() as u32 >= LAST, "{at_old:?} {at_new:?}");
            Ok(())
        })?;
    }
    Ok(())
}

fn numbered(number: u32) -> Vec<u8> {
    let mut frame = experimental([0xff; 6], 60);
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame
}

/// The numbers of the frames that wait in a queue.
fn numbers(queue: &mut dyn RxQueue) -> Vec<u32> {
    let mut batch = Batch::new();
    queue.recv(&mut batch).expect("the port is there");
    let ours = |frame: &&Frame<'_>| frame.bytes()[12..14] == lab::EXPERIMENTAL.to_be_bytes();
    let number = |frame: &Frame<'_>| u32::from_be_bytes(frame.bytes()[14..18].try_into().unwrap());
    let numbers = batch.received().iter().filter(ours).map(number).collect();
    drop(batch);
    queue.release();
    numbers
}

/// One TCP stream; returns the size of the largest frame and how many were copied.
fn largest_frame(options: &str) -> anyhow::Result<(usize, u64)> {
    let hosts = [host("p1", 1)?, host("p2", 2)?];
    let mut wire = Wire::between(&format!("p1{options}"), &format!("p2{options}"))?;
    let mut largest = 0;
    wire.run(
        || stream(&hosts[0], &hosts[1], "10.0.0.2", 4_000_000),
        |_, frame| {
            if frame.size() > 1514 {
                assert_eq!(frame.offload.gso(), GsoType::TcpV4);
                largest = largest.max(frame.size());
            }
        },
    )??;
    assert_eq!(wire.failures, []);
    let stats = wire.left.queues.rx[0].stats();
    assert_eq!((stats.kernel_drops, stats.truncated), (0, 0));
    Ok((largest, stats.copied))
}

/// Whether this process is root only among its own.
fn is_in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("a map of users");
    map.split_whitespace().last() != Some("4294967295")
}

fn large_frames_pass_whole() -> anyhow::Result<()> {
    let (largest, copied) = largest_frame("")?;
    assert!(largest > 9000, "{largest}");
    // Slots are small, unless we may not have the buffer that this needs.
    assert_eq!(copied > 0, !is_in_user_namespace());
    Ok(())
}

fn large_slots_do_without_copies() -> anyhow::Result<()> {
    let (largest, copied) = largest_frame(",slot-size=69632,slots=240")?;
    assert!(largest > 9000, "{largest}");
    assert_eq!(copied, 0);
    Ok(())
}

fn tunnels_of_hosts_pass() -> anyhow::Result<()> {
    let mut hosts = [host("p1", 1)?, host("p2", 2)?];
    let ends = [("10.0.0.1", "10.0.0.2", "10.8.0.1"), ("10.0.0.2", "10.0.0.1", "10.8.0.2")];
    for (host, (local, remote, address)) in hosts.iter_mut().zip(ends) {
        let tunnel = Vxlan { vni: 7, local: ip(local), remote: ip(remote), port: 4789 };
        // The tunnel's MTU leaves room for its headers in 1,500 bytes.
        let spec = LinkSpec { up: true, mtu: Some(1450), ..LinkSpec::default() };
        unsupported_if_missing(host.netlink().create_vxlan("vx", &spec, tunnel), "VXLAN devices")?;
        let index = host.netlink().link("vx").unwrap().index;
        host.netlink().add_address(index, ip(address), 24).unwrap();
    }
    let mut wire = Wire::between("p1", "p2")?;
    let mut large = 0;
    wire.run(
        || stream(&hosts[0], &hosts[1], "10.8.0.2", 2_000_000),
        |_, frame| large += u32::from(frame.size() > 1514),
    )??;
    assert!(large > 0, "the host leaves cutting to the device inside its tunnel, too");
    assert_eq!(wire.failures, []);
    Ok(())
}

fn own_frames_are_not_heard() -> anyhow::Result<()> {
    let host = host("p1", 1)?;
    let mut port = OpenPort::open("p1")?;
    assert_eq!(port.send(vec![Frame::owned(&experimental([0xff; 6], 60), Offload::NONE)]), []);
    // Frames arrive in order: had the port heard its own, it would be before this one.
    let socket = host.run(|| UdpSocket::bind("10.0.0.1:0").unwrap())?;
    socket.send_to(b"x", "10.0.0.77:9").unwrap();
    port.receive_until(|frame| {
        assert_ne!(frame.bytes()[12..14], [0x88, 0xb5], "the port heard itself");
        frame.bytes()[12..14] == [8, 6]
    })?;
    Ok(())
}

fn a_source_sends_its_frames_in_rotation() -> anyhow::Result<()> {
    let host = host("p1", 1)?;
    let mut port = OpenPort::open("p1")?;
    let frames: Vec<_> = [60, 1514, 200].map(|size| experimental(host.mac(), size)).into();
    let lacking = |error| Unsupported::lacking(format!("AF_XDP: {error}"));
    let mut source = host.run(|| FrameSource::open("eth0", &frames))?.map_err(lacking)?;
    assert_eq!((source.send(2).unwrap(), source.send(5).unwrap()), (2, 5));
    let mut sizes = Vec::new();
    port.receive_until(|frame| {
        if frame.bytes()[12..14] == [0x88, 0xb5] {
            sizes.push(frame.size());
        }
        sizes.len() == 7
    })?;
    assert_eq!(sizes, [60, 1514, 200, 60, 1514, 200, 60]);
    // What could not be a frame is refused.
    assert!(host.run(|| FrameSource::open("eth0", &[vec![0; 4000]]))?.is_err());
    Ok(())
}

fn ring_overflow_is_counted() -> anyhow::Result<()> {
    const SENT: u64 = 300;
    let mut host = host("p1", 1)?;
    host.add_neighbour(ip("10.0.0.2"), [2; 6]).unwrap();
    let mut port = OpenPort::open("p1,slots=32,slot-size=1024")?;
    let socket = host.run(|| UdpSocket::bind("10.0.0.1:0").unwrap())?;
    for _ in 0..SENT {
        socket.send_to(&[0; 100], "10.0.0.2:9").unwrap();
    }
    // Frames that the host's kernel sends by itself (IPv6) may have taken some of the slots.
    let mut received = 0;
    port.receive_until(|_| {
        received += 1;
        received == 32
    })?;
    let drops = port.queues.rx[0].stats().kernel_drops;
    assert!(drops >= SENT - 32, "{drops}");
    let is_udp = |f: &Frame<'_>| f.bytes()[..6] == [2; 6];
    assert!(port.queues.rx[0].stats().kernel_drops >= drops, "totals, not differences");
    socket.send_to(&[0; 100], "10.0.0.2:9").unwrap();
    port.receive_until(is_udp)?;
    Ok(())
}

/// A frame longer than its slot waits beside the ring. Here somebody else takes it from there.
fn a_frame_without_bytes_is_counted() -> anyhow::Result<()> {
    let mut host = host("p1", 1)?;
    host.add_neighbour(ip("10.0.0.2"), [2; 6])?;
    let mut port = OpenPort::open("p1,slots=32,slot-size=512")?;
    let socket = host.run(|| UdpSocket::bind("10.0.0.1:0"))??;
    socket.send_to(&[0; 1000], "10.0.0.2:9")?;
    eventually("the frame is taken away", || {
        let fd = port.queues.rx[0].poll_fd().expect("a socket").as_raw_fd();
        recv(fd, &mut [0; 2000], MsgFlags::MSG_DONTWAIT).is_ok_and(|size| size > 1000)
    })?;
    let is_udp = |f: &Frame<'_>| f.bytes()[..6] == [2; 6];
    socket.send_to(&[0; 100], "10.0.0.2:9")?;
    port.receive_until(|f| {
        assert!(!is_udp(f) || f.size() < 500, "it was taken away");
        is_udp(f)
    })?;
    assert_eq!(port.queues.rx[0].stats().unreadable, 1);
    socket.send_to(&[0; 1000], "10.0.0.2:9")?;
    port.receive_until(|f| is_udp(f) && f.size() > 1000)?;
    Ok(())
}

fn a_refused_frame_does_not_stop_the_others() -> anyhow::Result<()> {
    let host = host("p1", 1)?;
    let mut port = OpenPort::open("p1")?;
    let mut observer = host.run(|| OpenPort::open("eth0,shield=off"))??;
    let tagged = |tpid, size| {
        let mut frame = Frame::owned(&experimental(host.mac(), size), Offload::NONE);
        assert!(frame.push_tag(tpid, 7));
        frame
    };
    let mut bad = Frame::owned(&experimental(host.mac(), 100), Offload::NONE);
    bad.offload.set_needs_checksum(99, 6);
    let mut bad_gso = Frame::owned(&experimental(host.mac(), 100), Offload::NONE);
    bad_gso.offload = Offload { gso_type: 1, gso_size: 10, ..Offload::NONE };
    let failures = port.send(vec![
        Frame::owned(&experimental(host.mac(), 1514), Offload::NONE),
        Frame::owned(&experimental(host.mac(), 1515), Offload::NONE),
        tagged(0x8100, 1514),
        tagged(0x88a8, 1514),
        bad,
        bad_gso,
        Frame::owned(&experimental(host.mac(), 13), Offload::NONE),
        Frame::owned(&experimental(host.mac(), 77), Offload::NONE),
    ]);
    assert_eq!(
        failures,
        [
            (1, TxFailure::TooLong { size: 1515, mtu: 1500 }),
            (3, TxFailure::TooLong { size: 1518, mtu: 1500 }),
            (4, TxFailure::NoOffload),
            (5, TxFailure::NoOffload),
            (6, TxFailure::TooShort),
        ]
    );
    let mut sizes = Vec::new();
    observer.receive_until(|frame| {
        if frame.bytes()[..6] == host.mac() {
            sizes.push(frame.size());
        }
        frame.size() == 77
    })?;
    assert_eq!(sizes, [1514, 1518, 77]);
    Ok(())
}

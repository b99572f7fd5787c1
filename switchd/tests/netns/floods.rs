//! Frames that go to many ports at once.

use crate::fixture::{Cable, Network};
use crate::kernel_cache::caches;
use anyhow::{Context, ensure};
use control::{Client, FlowMods, MeterMods, Operation};
use flow::types::OfVersion;
use lab::harness::Test;
use lab::{FrameSocket, LinkSpec, Netlink, PATIENCE, eventually, experimental_frame};
use std::net::{Ipv4Addr, UdpSocket};

pub(crate) const TESTS: &[Test] = &[
    ("floods::every_port_gets_a_copy_and_failures_stay_with_their_port", copies_for_everybody),
    ("floods::floods_and_single_frames_keep_their_order", order_is_kept),
    ("floods::datagrams_for_everybody_have_right_checksums", datagrams_for_everybody),
];

/// Ports beside those of the hosts; their other ends are nobody's.
const OTHERS: usize = 300;
const FRAMES: u64 = 20;

/// Frames that each port has sent, and frames that it could not send.
fn sent(client: &mut Client) -> anyhow::Result<Vec<(String, u64, u64)>> {
    let stats = client.port_stats()?;
    Ok(stats.into_iter().map(|p| (p.name, p.tx_packets, p.tx_dropped + p.tx_errors)).collect())
}

/// Checks that the kernel cache has sent at least this number of copies of frames since the switch started.
/// Checks nothing if the switch has no kernel cache.
fn check_program(client: &mut Client, at_least: u64) -> anyhow::Result<()> {
    let kernel = caches(client)?.kernel;
    ensure!(kernel.is_none_or(|kernel| kernel.flood_copies >= at_least), "{kernel:?}");
    Ok(())
}

/// More copies than one system call carries, to network devices and a TAP device, one of which cannot send
/// frames of this length.
fn copies_for_everybody() -> anyhow::Result<()> {
    let network = Network::new(&[Cable::Veth, Cable::tap_if_possible(), Cable::Veth])?;
    let mut client = network.client()?;
    // Nothing but what the test sends: a device that comes up talks by itself.
    client.del_flows("")?;
    client.add_flow("in_port=1,dl_type=0x88b5,actions=flood")?;
    let mut netlink = Netlink::open()?;
    for i in 0..OTHERS {
        let mtu = (i == 7).then_some(600);
        let up = LinkSpec { up: true, mtu, ..LinkSpec::default() };
        netlink.create_veth(&format!("other{i}"), &up, &format!("peer{i}"), &up)?;
        client.ask(Operation::AddPort { spec: format!("other{i},slots=16") })?;
    }
    let (a, c) = (network.a(), &network.hosts[2]);
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut receiver = c.run(|| FrameSocket::open(c.interface()))??;
    let payload: Vec<u8> = (0..1000).map(|i| (i * 7 % 251) as u8).collect();
    let frame = experimental_frame([0xff; 6], a.mac(), &payload);
    let before = sent(&mut client)?;
    for _ in 0..FRAMES {
        sender.send(&frame)?;
    }
    let mut counted = Vec::new();
    eventually("every port has its copies", || {
        counted = sent(&mut client).unwrap_or_default();
        for ((_, sent, failed), (_, old, old_failed)) in counted.iter_mut().zip(&before) {
            (*sent, *failed) = (*sent - old, *failed - old_failed);
        }
        counted.iter().all(|(name, sent, failed)| name == "veth1" || sent + failed == FRAMES)
    })
    .with_context(|| format!("{counted:?}"))?;
    for (name, sent, failed) in &counted {
        let expected = match name.as_str() {
            "veth1" => (0, 0),
            "other7" => (0, FRAMES),
            _ => (FRAMES, 0),
        };
        ensure!((*sent, *failed) == expected, "{name}: {sent} sent, {failed} failed");
    }
    for _ in 0..FRAMES {
        let is_ours = |bytes: &[u8]| bytes.get(12..14) == Some(&[0x88, 0xb5]);
        let received =
            receiver.receive_matching(PATIENCE, is_ours)?.context("a copy is missing")?;
        ensure!(received == frame, "a copy is not what was sent");
    }
    // A call carries 256 copies, so that of each frame of a batch one or two may be
    // left, which the socket sends.
    check_program(&mut client, FRAMES * OTHERS as u64 * 9 / 10)
}

/// Broadcasts and frames for one host each, in bursts: every host gets what is for it in the order in which it
/// was sent, and once.
fn order_is_kept() -> anyhow::Result<()> {
    const HOSTS: usize = 6;
    const ROUNDS: u8 = 40;
    let network = Network::new(&[Cable::Veth; HOSTS])?;
    let mut client = network.client()?;
    let (a, others) = (network.a(), &network.hosts[1..]);
    let place_of = |number: usize| 1 + number % (HOSTS - 1);
    // The kernel cache takes no flow with a meter. A frame that it forwards may overtake a broadcast, which is
    // of another flow.
    let meter = "meter=1,pktps,burst,bands=type=drop,rate=1000000,burst_size=1000000";
    let mods = Operation::MeterMods(MeterMods::default());
    client.call(mods, &mut meter.as_bytes(), &mut |_| Ok(()))?;
    for (host, port) in others.iter().zip(2..) {
        let mac = host.mac().map(|byte| format!("{byte:02x}")).join(":");
        let rule = format!("dl_dst={mac},actions=meter:1,output:{port}");
        let mods = FlowMods { version: OfVersion::OpenFlow13, ..FlowMods::default() };
        client.call(Operation::FlowMods(mods), &mut rule.as_bytes(), &mut |_| Ok(()))?;
    }
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut receivers = Vec::new();
    for host in others {
        receivers.push(host.run(|| FrameSocket::open(host.interface()))??);
    }
    for round in 0..ROUNDS {
        let numbers = 0..12_usize;
        let is_broadcast = |number: usize| number % 3 != 1;
        let frames = numbers.clone().map(|number| {
            let to = network.hosts[place_of(number)].mac();
            let to = if is_broadcast(number) { [0xff; 6] } else { to };
            experimental_frame(to, a.mac(), &[round, number as u8])
        });
        let frames: Vec<_> = frames.collect();
        ensure!(sender.send_all(&frames)? == frames.len(), "the frames are sent");
        for (place, receiver) in (1..).zip(&mut receivers) {
            let expected = numbers.clone().filter(|n| is_broadcast(*n) || place_of(*n) == place);
            for number in expected {
                let is_ours = |bytes: &[u8]| bytes.get(12..14) == Some(&[0x88, 0xb5]);
                let received = receiver.receive_matching(PATIENCE, is_ours)?;
                ensure!(
                    received.as_deref() == Some(&frames[number][..]),
                    "host {place} waits for frame {number} of round {round}: {received:?}"
                );
            }
        }
    }
    check_program(&mut client, 1)
}

/// Broadcasts that a host has sent with a partial checksum, which its device was to complete:
/// every other host takes them.
fn datagrams_for_everybody() -> anyhow::Result<()> {
    const PORT: u16 = 4711;
    let network = Network::new(&[Cable::Veth; 5])?;
    let mut client = network.client()?;
    let mut receivers = Vec::new();
    for host in &network.hosts[1..] {
        let socket = host.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))??;
        socket.set_read_timeout(Some(PATIENCE))?;
        receivers.push(socket);
    }
    let sender = network.a().run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    sender.set_broadcast(true)?;
    for number in 0..20_u8 {
        sender.send_to(&[number; 100], (Ipv4Addr::new(10, 0, 0, 255), PORT))?;
        for receiver in &receivers {
            let mut datagram = [0; 200];
            let size =
                receiver.recv(&mut datagram).with_context(|| format!("datagram {number}"))?;
            ensure!(datagram[..size] == [number; 100], "another datagram");
        }
    }
    // Other frames of a batch may split the copies of a frame into groups that are too small for the program.
    check_program(&mut client, 20 * 4 / 2)
}

//! Several workers: each has a share of the flows of a port, and each flow stays in order. The kernel cache is
//! off, so that the workers forward all frames.

use crate::fixture::{Cable, Network};
use anyhow::ensure;
use control::{Client, Operation, Reply};
use lab::harness::Test;
use lab::traffic::Ping;
use lab::{FrameSocket, Host, LinkSpec, Netlink, eventually};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("workers::nothing_comes_twice", nothing_comes_twice),
    ("workers::flows_between_veth_ports_stay_in_order", || flows_stay_in_order(VETHS)),
    ("workers::flows_from_a_tap_stay_in_order", || flows_stay_in_order(FROM_TAP)),
    ("workers::flows_to_a_tap_stay_in_order", || flows_stay_in_order(TO_TAP)),
    ("workers::a_port_can_have_a_single_queue", a_port_can_have_a_single_queue),
];

const VETHS: &[Cable] = &[Cable::Veth, Cable::Veth];
const FROM_TAP: &[Cable] = &[Cable::Tap, Cable::Veth];
const TO_TAP: &[Cable] = &[Cable::Veth, Cable::Tap];
/// Two workers, and all frames for them.
const WORKERS: &[&str] = &["--workers", "2", "--kernel-cache=off"];
/// Far more than workers, so that each worker gets some.
const FLOWS: u16 = 32;
/// Nothing for so long, and the rest has been lost.
const PAUSE: Duration = Duration::from_millis(50);

/// Frames that each worker has received.
fn frames(client: &mut Client) -> anyhow::Result<Vec<u64>> {
    match client.ask(Operation::Workers)? {
        Reply::Workers(workers) => Ok(workers.iter().map(|w| w.n_packets).collect()),
        other => anyhow::bail!("{other:?}"),
    }
}

fn nothing_comes_twice() -> anyhow::Result<()> {
    let network = Network::with(VETHS, None, WORKERS)?;
    let mut client = network.client()?;
    let report = Ping { count: 500, ..Ping::to(network.b().v4()) }.run(network.a().namespace())?;
    ensure!(report.is_complete(), "{} of 500 came back", report.received());
    let stats = client.port_stats()?;
    // Each echo once and its answer once, and a few of ARP.
    ensure!((500..600).contains(&stats[0].rx_packets), "{stats:?}");
    let frames = frames(&mut client)?;
    ensure!(frames.len() == 2 && frames.iter().sum::<u64>() >= 1000, "{frames:?}");
    Ok(())
}

/// A UDP datagram of one of the flows, with its number in that flow.
fn datagram(from: &Host, to: &Host, flow: u16, number: u32) -> Vec<u8> {
    let mut frame = [&to.mac()[..], &from.mac(), &[8, 0]].concat();
    frame.extend([0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(from.v4().octets());
    frame.extend(to.v4().octets());
    // From a port for each flow; without a checksum, which IPv4 allows.
    frame.extend((10_000 + flow).to_be_bytes());
    frame.extend([0, 7, 0, 26, 0, 0]);
    frame.extend(number.to_be_bytes());
    frame.resize(60, 0);
    frame
}

/// The flow of such a datagram, and its number.
fn read(frame: &[u8]) -> Option<(u16, u32)> {
    let is_ours = frame.len() == 60 && frame[12..14] == [8, 0] && frame[36..38] == [0, 7];
    let flow = u16::from_be_bytes(frame.get(34..36)?.try_into().ok()?);
    let number = u32::from_be_bytes(frame.get(42..46)?.try_into().ok()?);
    is_ours.then(|| flow.checked_sub(10_000))?.filter(|f| *f < FLOWS).map(|f| (f, number))
}

/// First more than anybody can carry, then until all have come through: frames may be missing, but none
/// may overtake another of its flow.
fn flows_stay_in_order(cables: &[Cable]) -> anyhow::Result<()> {
    const OVERLOAD: u32 = 1_000;
    let network = Network::with(cables, None, WORKERS)?;
    let mut client = network.client()?;
    client.add_flow("priority=9,in_port=1,udp,actions=output:2")?;
    let before = frames(&mut client)?;
    let (a, b) = (network.a(), network.b());
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut receiver = b.run(|| FrameSocket::open(b.interface()))??;
    receiver.set_receive_buffer(8 << 20)?;
    let mut seen = [0; FLOWS as usize];
    for number in 1.. {
        let round: Vec<_> = (0..FLOWS).map(|flow| datagram(a, b, flow, number)).collect();
        sender.send_all(&round)?;
        if number < OVERLOAD {
            continue;
        }
        let is_ours = |frame: &[u8]| read(frame).is_some();
        while let Some(frame) = receiver.receive_matching(PAUSE, is_ours)? {
            let Some((flow, number)) = read(&frame) else { continue };
            let last = &mut seen[usize::from(flow)];
            ensure!(number > *last, "flow {flow}: {number} came after {last}");
            *last = number;
        }
        if seen.iter().all(|last| *last >= OVERLOAD) {
            break;
        }
        ensure!(number < OVERLOAD + 500, "flows do not come through: {seen:?}");
    }
    // Every flow has come through, so each worker has had at least a frame for each of its flows. How
    // many more it had of those that are more than anybody can carry is up to the scheduler.
    eventually("each worker has a share of the flows", || {
        frames(&mut client).is_ok_and(|now| {
            now.iter().zip(&before).all(|(now, before)| now - before >= u64::from(FLOWS / 8))
        })
    })?;
    Ok(())
}

/// As many receive queues as asked for, whatever the number of workers.
fn a_port_can_have_a_single_queue() -> anyhow::Result<()> {
    let network = Network::with(VETHS, None, &["--workers", "2", "--port", "late,queues=1"])?;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    Netlink::open()?.create_veth("late", &up, "peer", &up)?;
    let mut client = network.client()?;
    let mut rings = Vec::new();
    eventually("the port is open", || {
        let ports = client.ports().unwrap_or_default();
        rings = ports.into_iter().filter_map(|p| p.rx_ring).map(|ring| ring.to_string()).collect();
        rings.len() == 3
    })?;
    ensure!(rings[0].starts_with("480 slots of 69632 bytes in 2 queues"), "{rings:?}");
    ensure!(rings[2].starts_with("480 slots of 69632 bytes,"), "{rings:?}");
    Ok(())
}

//! Packets to a controller and back: one at a time, and as a flood beside traffic
//! that the switch forwards alone.
//!
//! - A round trip: host 1 sends a frame, the switch gives it to the controller, the controller sends it back as
//!   a packet-out, and host 2 receives it. The next frame is sent then.
//! - A flood: host 2 sends frames of ever new addresses, as fast as it can, which the rules give to the
//!   controller. The controller reads and counts. Meanwhile host 1 sends frames at a fixed rate, which the
//!   rules give to host 2.

use super::client::{Client, PACKET_IN};
use super::{Peer, PeerKind, Plan, Running, flow_mods};
use crate::report::{Better, Goal, Report, Table};
use crate::rules::output;
use anyhow::ensure;
use flow::action::Action;
use flow::flow_mod::{Command, FlowMod};
use flow::key::PipelineKey;
use flow::packet_out::PacketOut;
use flow::types::OfPort;
use lab::{FrameSocket, InterfaceCounters, experimental_frame};
use openflow::{HEADER_SIZE, OfMessage, SwitchConfig};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many times as many round trips as Open vSwitch.
const ROUND_TRIPS: f64 = 2.0;
/// Thousand packet-ins a second of a flood.
const FLOOD: f64 = 200.0;
/// The share of the forwarded traffic that is left beside a flood.
const KEPT: f64 = 0.8;
/// The longest time that a frame may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Frames that host 1 sends each millisecond beside the flood.
const STEADY: usize = 50;
/// The address to which host 1 sends beside the flood.
const SINK: [u8; 6] = [2, 0, 0, 0, 0, 0xee];

/// Measures round trips and floods.
///
/// # Errors
/// A switch does not answer.
pub(super) fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<Vec<Goal>> {
    let mut table = Table::new("packet-ins", "packets to a controller at a Unix socket, and back");
    let trips = table.column("round trips", "/s", Better::Higher);
    let median = table.column("p50", "µs", Better::Lower);
    let tail = table.column("p99", "µs", Better::Lower);
    let flood = table.column("flood", "k packet-ins/s", Better::Higher);
    let kept = table.column("kept beside", "%", Better::Higher);
    let running = Running::start(plan, &mut table, trips)?;
    running.each(plan, "packet-ins", |peer, row| {
        let mut times = round_trips(peer, plan.duration)?;
        let total: Duration = times.iter().sum();
        times.sort_unstable();
        let quantile =
            |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
        table.record(row, trips, times.len() as f64 / total.as_secs_f64());
        table.record(row, median, quantile(50));
        table.record(row, tail, quantile(99));
        let flooded = beside_flood(peer, plan.duration)?;
        table.record(row, flood, flooded.packet_ins / 1e3);
        table.record(row, kept, flooded.kept * 100.0);
        Ok(())
    })?;
    use PeerKind::{Ovs, Switchd};
    let of = |kind, column| running.row(kind).and_then(|row| table.median(row, column));
    let goals = vec![
        Goal::ratio(
            "packet-in round trips, against OVS",
            of(Switchd, trips),
            ROUND_TRIPS,
            of(Ovs, trips),
        ),
        Goal::at_least("thousand packet-ins a second of a flood", of(Switchd, flood), FLOOD),
        Goal::at_least(
            "share kept beside a flood of packet-ins",
            of(Switchd, kept).map(|percent| percent / 100.0),
            KEPT,
        ),
    ];
    report.add(table);
    Ok(goals)
}

/// Replaces all rules: what host 1 sends to [`SINK`] is given to host 2, and everything else to controllers.
/// The controller gets whole packets.
fn prepare(client: &mut Client) -> anyhow::Result<()> {
    client.send(&flow_mods::delete_all())?;
    let established = crate::rules::matching(|key, mask| {
        key.headers.dl_dst = SINK;
        mask.bits.headers.dl_dst = [0xff; 6];
    });
    let forward = FlowMod::new(Command::Add, 10, established, output(2));
    let punt = Action::output(OfPort::CONTROLLER);
    let miss = FlowMod::new(Command::Add, 0, flow::Match::any(), vec![punt]);
    for rule in [forward, miss] {
        client.send(&OfMessage::FlowMod(Box::new(rule)))?;
    }
    let whole = SwitchConfig { miss_send_len: u16::MAX, ..SwitchConfig::default() };
    client.send(&OfMessage::SetConfig(whole))?;
    client.barrier()
}

/// What a packet-out has in front of its packet: the packet leaves through port 2.
fn packet_out_head() -> Vec<u8> {
    let packet = vec![0; MIN_FRAME];
    let state = PipelineKey::default();
    let out = PacketOut { in_port: OfPort::CONTROLLER, packet, state, actions: output(2) };
    let mut bytes = OfMessage::PacketOut(Box::new(out)).encode(Client::encoding(), 0);
    bytes.truncate(bytes.len() - MIN_FRAME);
    bytes
}

/// Size in bytes of the smallest frame: an Ethernet header.
const MIN_FRAME: usize = 14;

/// The packet of a packet-in of OpenFlow 1.3 and later (1.3.5 §7.4.1): 24 bytes, a padded match, and two bytes
/// are in front.
fn packet_of(message: &[u8]) -> Option<&[u8]> {
    const FIXED: usize = HEADER_SIZE + 16;
    let len = message.get(FIXED + 2..FIXED + 4)?;
    let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
    message.get(FIXED + len.next_multiple_of(8) + 2..)
}

/// How long each round trip of about `duration` took.
fn round_trips(peer: &Peer, duration: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut client = peer.connect()?;
    prepare(&mut client)?;
    let is_over = AtomicBool::new(false);
    let [from, to] = &peer.hosts;
    let source = from.run(|| FrameSocket::open_to_send(from.interface()))??;
    let mut sink = to.run(|| FrameSocket::open(to.interface()))??;
    std::thread::scope(|scope| {
        let hub = scope.spawn(|| answer_until(&mut client, &is_over));
        let mut times = Vec::new();
        let end = Instant::now() + duration;
        let measured = loop {
            let number = times.len().to_be_bytes();
            let frame = experimental_frame([2; 6], from.mac(), &number);
            let start = Instant::now();
            source.send(&frame)?;
            let is_ours = |received: &[u8]| received.get(..22) == frame.get(..22);
            if sink.receive_matching(PATIENCE, is_ours)?.is_none() {
                break Err(anyhow::anyhow!("frame {} has not come", times.len()));
            }
            times.push(start.elapsed());
            if Instant::now() > end {
                break Ok(times);
            }
        };
        is_over.store(true, Ordering::Relaxed);
        // One packet more, so that the controller sees the end.
        source.send(&experimental_frame([2; 6], from.mac(), &[]))?;
        let answered = hub.join();
        measured.and_then(|times| match answered {
            Ok(done) => done.map(|()| times),
            Err(_) => Err(anyhow::anyhow!("the controller has failed")),
        })
    })
}

/// Sends each packet of a packet-in back to leave through port 2, until `is_over`.
fn answer_until(client: &mut Client, is_over: &AtomicBool) -> anyhow::Result<()> {
    let head = packet_out_head();
    let mut reply = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        reply.clear();
        let message = client.next_message()?;
        if message.get(1) == Some(&PACKET_IN)
            && let Some(packet) = packet_of(message)
        {
            reply.extend_from_slice(&head);
            reply.extend_from_slice(packet);
            let len = (reply.len() as u16).to_be_bytes();
            reply[2..4].copy_from_slice(&len);
        }
        client.send_bytes(&reply)?;
    }
    Ok(())
}

/// What a flood of packets for the controller came to.
struct Flooded {
    /// Packet-ins that the controller received a second.
    packet_ins: f64,
    /// The share of the frames of host 1 that came to host 2, of the share that comes without the flood.
    kept: f64,
}

fn beside_flood(peer: &Peer, duration: Duration) -> anyhow::Result<Flooded> {
    let mut client = peer.connect()?;
    prepare(&mut client)?;
    let alone = steady_share(peer, duration)?;
    ensure!(alone > 0.0, "nothing is forwarded");
    let (is_over, received) = (AtomicBool::new(false), AtomicU64::new(0));
    let [_, to] = &peer.hosts;
    let flood = to.run(|| FrameSocket::open_to_send(to.interface()))??;
    let frames: Vec<Vec<u8>> = (0..4096u16)
        .map(|n| {
            let [high, low] = n.to_be_bytes();
            experimental_frame([2; 6], [2, 0, 0, 1, high, low], &[])
        })
        .collect();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            const BURST: usize = 32;
            flood.send_until(&frames, BURST, || is_over.load(Ordering::Relaxed))
        });
        let reader = scope.spawn(|| -> anyhow::Result<()> {
            while !is_over.load(Ordering::Relaxed) {
                if client.next_message()?.get(1) == Some(&PACKET_IN) {
                    received.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        let start = Instant::now();
        let beside = steady_share(peer, duration);
        let packet_ins = received.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        let sent = sender.join();
        // One packet more, for a reader that has read all others before it could see the end.
        flood.send(&frames[0])?;
        let (Ok(sent), Ok(read)) = (sent, reader.join()) else {
            anyhow::bail!("a thread has failed")
        };
        sent?;
        read?;
        Ok(Flooded { packet_ins, kept: beside? / alone })
    })
}

/// Has host 1 send frames at a fixed rate for a while. Returns the share of them that came to host 2.
fn steady_share(peer: &Peer, duration: Duration) -> anyhow::Result<f64> {
    let [from, to] = &peer.hosts;
    let source = from.run(|| FrameSocket::open_to_send(from.interface()))??;
    let burst = vec![experimental_frame(SINK, from.mac(), &[]); STEADY];
    let arrived = || InterfaceCounters::read(to.namespace(), to.interface()).map(|c| c.rx_packets);
    let before = arrived()?;
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < duration {
        // As many as are due, so that the rate is the same when this thread waits for a processor.
        let due = start.elapsed().as_millis() as usize * STEADY;
        while sent < due {
            sent += source.send_all(&burst)?;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    // What is under way arrives.
    std::thread::sleep(Duration::from_millis(20));
    Ok((arrived()? - before) as f64 / sent.max(1) as f64)
}

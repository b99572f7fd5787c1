//! What a port costs in memory, as the kernel counts it.

use crate::fixture::{Cable, Network};
use anyhow::{Context, ensure};
use control::{Client, Operation};
use lab::harness::Test;
use lab::traffic::TcpTransfer;
use lab::{Daemon, FrameSocket, Host, LinkSpec, Netlink, eventually, experimental_frame};
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("memory::a_port_has_what_show_says_and_no_more_than_40_mb", a_port_is_bounded),
    ("memory::rings_shrink_as_ports_come_and_all_give_them_back", ports_give_back),
    (
        "memory::rings_of_a_port_with_traffic_are_resized_and_frames_stay_in_order",
        resized_under_load,
    ),
    ("memory::what_the_user_said_of_rings_stays", said_sizes_stay),
];

const MEGABYTE: u64 = 1_000_000;

/// Bytes of the process in memory without files (the program itself and libraries), and bytes of its mappings
/// of packet sockets.
fn memory(pid: u32) -> anyhow::Result<(u64, u64)> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let (mut resident, mut rings) = (0, 0);
    let (mut is_ring, mut is_file) = (false, false);
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, _, _, _, _, name] => {
                (is_ring, is_file) = (name.starts_with("socket:"), name.starts_with('/'));
            }
            [_, _, _, _, _] => (is_ring, is_file) = (false, false),
            [key @ ("Size:" | "Rss:"), kilobytes, "kB"] => {
                let bytes = kilobytes.parse::<u64>()? * 1024;
                match key {
                    "Rss:" if is_file => {}
                    "Rss:" => resident += bytes,
                    _ if is_ring => rings += bytes,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Ok((resident, rings))
}

/// The bytes of all receive rings, as `ofctl show` states them.
fn stated(client: &mut control::Client) -> anyhow::Result<u64> {
    let ports = client.ports()?;
    let sizes = ports.iter().map(|port| Some(port.rx_ring?.bytes));
    sizes.sum::<Option<u64>>().context("an open port has a ring")
}

fn a_port_is_bounded() -> anyhow::Result<()> {
    let network = Network::new(&[Cable::Veth; 2])?;
    let (a, b) = (network.a(), network.b());
    let mut client = network.client()?;
    // Frames of all sizes, more than anybody can carry: every buffer is used to its end.
    for (from, to) in [(a, b), (b, a)] {
        let server = SocketAddr::new(to.v4().into(), 5001);
        TcpTransfer::to(server, 100 * MEGABYTE).run(from.namespace(), to.namespace())?;
        let sender = from.run(|| FrameSocket::open_to_send(from.interface()))??;
        let burst = vec![experimental_frame(to.mac(), from.mac(), &[0; 1000]); 100];
        for _ in 0..200 {
            sender.send_all(&burst)?;
        }
    }
    let (resident, rings) = memory(network.daemon.pid())?;
    ensure!(rings == stated(&mut client)?, "{rings} bytes of rings are mapped");
    ensure!(rings == 2 * (32 << 20), "{rings} bytes of rings are the default");
    // The caches of the process included.
    ensure!(resident < 2 * 40 * MEGABYTE, "{resident} bytes");
    Ok(())
}

/// Waits until this many bytes of rings are mapped.
fn rings_become(daemon: &Daemon, expected: u64) -> anyhow::Result<u64> {
    let (mut resident, mut rings) = (0, 0);
    eventually("the rings are resized", || {
        (resident, rings) = memory(daemon.pid()).unwrap_or_default();
        rings == expected
    })
    .with_context(|| format!("{rings} bytes of rings, not {expected}"))?;
    Ok(resident)
}

/// Devices `come0`, `come1` and so on, whose other ends are `peer0`, `peer1` and so on.
fn pairs(count: usize) -> anyhow::Result<()> {
    let mut netlink = Netlink::open()?;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    for i in 0..count {
        netlink.create_veth(&format!("come{i}"), &up, &format!("peer{i}"), &up)?;
    }
    Ok(())
}

fn ports_give_back() -> anyhow::Result<()> {
    const PORTS: usize = 10;
    let network = Network::new(&[Cable::Veth; 2])?;
    let mut client = network.client()?;
    client.del_flows("")?;
    pairs(PORTS)?;
    let mut rounds = Vec::new();
    for _ in 0..3 {
        for i in 0..PORTS {
            client.ask(Operation::AddPort { spec: format!("come{i}") })?;
        }
        // Of 256 MiB: 8 MiB each, which leaves 160 MiB for rings of 32 MiB.
        let resident = rings_become(&network.daemon, (6 * 32 + 6 * 8) << 20)?;
        ensure!(stated(&mut client)? == (6 * 32 + 6 * 8) << 20);
        for i in 0..PORTS {
            client.ask(Operation::DelPort { port: format!("come{i}") })?;
        }
        let left = rings_become(&network.daemon, 2 * (32 << 20))?;
        rounds.push((resident, left));
    }
    let (first, last) = (rounds[0], rounds[2]);
    ensure!(last.1 < first.1 + 4 * MEGABYTE, "it grows: {rounds:?}");
    Ok(())
}

/// A port with its receive ring in `show`.
fn ring(client: &mut Client, name: &str) -> anyhow::Result<String> {
    let port =
        client.ports()?.into_iter().find(|port| port.name == name).context("no such port")?;
    Ok(port.rx_ring.context("no ring")?.to_string())
}

fn said_sizes_stay() -> anyhow::Result<()> {
    pairs(3)?;
    let arguments =
        ["--ring-memory", "16M", "--port", "come0,slots=16", "--port", "come1,slot-size=4096"];
    let network = Network::with(&[Cable::Veth; 2], None, &arguments)?;
    let mut client = network.client()?;
    let said = |client: &mut Client| -> anyhow::Result<()> {
        let ring = |client: &mut Client, name| ring(client, name);
        ensure!(ring(client, "come0")?.starts_with("16 slots of 2048 bytes"));
        ensure!(ring(client, "come1")?.starts_with("4096 slots of 4096 bytes, 16.0 MiB"));
        Ok(())
    };
    said(&mut client)?;
    // They have left nothing for the others, which get the least.
    ensure!(ring(&mut client, "veth1")?.starts_with("64 slots of 2048 bytes"));
    client.ask(Operation::AddPort { spec: "come2".to_owned() })?;
    said(&mut client)?;
    client.ask(Operation::DelPort { port: "come1".to_owned() })?;
    eventually("others have what it had", || {
        ring(&mut client, "veth1").is_ok_and(|ring| !ring.starts_with("64 slots"))
    })?;
    let show = client.show()?;
    ensure!(show.ring_memory.budget == 16 << 20 && show.ring_memory.used <= 16 << 20, "{show:?}");
    // Old rings are unmapped a moment after the new ones are in use.
    eventually("the rings that are mapped are those that it states", || {
        let used = client.show().map(|show| show.ring_memory.used);
        used.is_ok_and(|used| memory(network.daemon.pid()).is_ok_and(|(_, rings)| rings == used))
    })?;
    Ok(())
}

/// Frames between two hosts keep their order, and those of the port that is not resized are all there,
/// while the rings of the other are exchanged again and again.
fn resized_under_load() -> anyhow::Result<()> {
    const ROUNDS: usize = 6;
    // The first port has said what it wants; the second has a large ring or a small one.
    let arguments = ["--ring-memory", "34M"];
    pairs(1)?;
    let network = Network::with(&[Cable::Veth; 2], None, &arguments)?;
    let mut client = network.client()?;
    let (a, b) = (network.a(), network.b());
    let before = ring(&mut client, "veth1")?;
    let report = undisturbed_order(a, b, || {
        for _ in 0..ROUNDS {
            client.ask(Operation::AddPort { spec: "come0,slots=16384".to_owned() })?;
            eventually("the ring shrinks", || {
                ring(&mut client, "veth1").is_ok_and(|r| r != before)
            })?;
            client.ask(Operation::DelPort { port: "come0".to_owned() })?;
            eventually("the ring grows", || ring(&mut client, "veth1").is_ok_and(|r| r == before))?;
        }
        Ok(())
    })?;
    ensure!(report.received > 1000, "{report:?}");
    // A frame may be lost in the moment of each exchange.
    ensure!(report.sent - report.received <= 2 * ROUNDS as u32, "{report:?}");
    Ok(())
}

/// What has become of numbered frames.
#[derive(Debug)]
struct Report {
    sent: u32,
    received: u32,
}

/// Sends numbered frames from one host to another while `disturb` runs. None may overtake another.
fn undisturbed_order(
    a: &Host,
    b: &Host,
    disturb: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Report> {
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut receiver = b.run(|| FrameSocket::open(b.interface()))??;
    receiver.set_receive_buffer(8 << 20)?;
    let frame = |number: u32| experimental_frame(b.mac(), a.mac(), &number.to_be_bytes());
    let number = |frame: &[u8]| -> Option<u32> {
        (frame.get(12..14)? == [0x88, 0xb5]).then_some(())?;
        Some(u32::from_be_bytes(frame.get(14..18)?.try_into().ok()?))
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| -> anyhow::Result<u32> {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                sender.send(&frame(sent))?;
                sent += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
            Ok(sent)
        });
        let receiving = scope.spawn(|| -> anyhow::Result<u32> {
            let (mut received, mut last) = (0, None);
            let is_ours = |frame: &[u8]| number(frame).is_some();
            // Nothing for so long, and what is missing has been lost.
            while let Some(frame) = receiver.receive_matching(Duration::from_secs(1), is_ours)? {
                let number = number(&frame);
                ensure!(number > last, "{number:?} came after {last:?}");
                (received, last) = (received + 1, number);
            }
            Ok(received)
        });
        let disturbed = disturb();
        done.store(true, Ordering::Relaxed);
        let sent = sending.join().expect("no thread panics")?;
        let received = receiving.join().expect("no thread panics")?;
        disturbed?;
        Ok(Report { sent, received })
    })
}

//! What a port costs in memory, as the kernel counts it.

use crate::fixture::{Cable, Network};
use anyhow::{Context, ensure};
use control::Operation;
use lab::harness::Test;
use lab::traffic::TcpTransfer;
use lab::{FrameSocket, LinkSpec, Netlink, experimental_frame};
use std::fs;
use std::net::SocketAddr;

pub(crate) const TESTS: &[Test] = &[
    ("memory::a_port_has_what_show_says_and_no_more_than_40_mb", a_port_is_bounded),
    ("memory::the_first_ports_have_large_rings_and_all_give_them_back", ports_give_back),
];

const MEGABYTE: u64 = 1_000_000;

/// Bytes of the process in memory, and bytes of its mappings of packet sockets.
fn memory(pid: u32) -> anyhow::Result<(u64, u64)> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let (mut resident, mut rings, mut is_ring) = (0, 0, false);
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, _, _, _, _, name] => is_ring = name.starts_with("socket:"),
            [_, _, _, _, _] => is_ring = false,
            [key @ ("Size:" | "Rss:"), kilobytes, "kB"] => {
                let bytes = kilobytes.parse::<u64>()? * 1024;
                match key {
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

/// The bytes of all receive rings, as `ofctl show` states them in MiB.
fn stated(client: &mut control::Client) -> anyhow::Result<u64> {
    let mut bytes = 0.0;
    for port in client.ports()? {
        let ring = port.rx_ring.context("an open port has a ring")?;
        let size =
            ring.rsplit(", ").next().and_then(|s| s.strip_suffix(" MiB")).context("a size")?;
        bytes += size.parse::<f64>()? * f64::from(1 << 20);
    }
    Ok(bytes as u64)
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
    // The program and its caches included.
    ensure!(resident < 2 * 40 * MEGABYTE, "{resident} bytes");
    Ok(())
}

fn ports_give_back() -> anyhow::Result<()> {
    const PORTS: usize = 10;
    let network = Network::new(&[Cable::Veth; 2])?;
    let mut client = network.client()?;
    client.del_flows("")?;
    let mut netlink = Netlink::open()?;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    for i in 0..PORTS {
        netlink.create_veth(&format!("come{i}"), &up, &format!("peer{i}"), &up)?;
    }
    let mut rounds = Vec::new();
    for _ in 0..3 {
        for i in 0..PORTS {
            client.ask(Operation::AddPort { spec: format!("come{i}") })?;
        }
        let (resident, rings) = memory(network.daemon.pid())?;
        ensure!(
            rings == (8 * 32 + 4 * 8) << 20,
            "{rings} bytes: eight large rings, four small ones"
        );
        for i in 0..PORTS {
            client.ask(Operation::DelPort { port: format!("come{i}") })?;
        }
        let (left, rings) = memory(network.daemon.pid())?;
        ensure!(rings == 2 * (32 << 20), "{rings} bytes of rings are left");
        rounds.push((resident, left));
    }
    let (first, last) = (rounds[0], rounds[2]);
    ensure!(last.1 < first.1 + 4 * MEGABYTE, "it grows: {rounds:?}");
    Ok(())
}

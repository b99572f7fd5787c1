//! The kernel's own protocols through the switch, with every offload as the kernel sets it.

use crate::fixture::{Cable, Network};
use anyhow::{Context, ensure};
use lab::harness::{Test, unsupported_if_missing};
use lab::traffic::{Ping, TcpTransfer, UdpExchange};
use lab::{Counters, FrameSocket, Host, PATIENCE};
use nix::sys::socket::{setsockopt, sockopt};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("traffic::flows_between_veth_ports", || flows(VETHS)),
    ("traffic::flows_between_a_veth_port_and_a_tap", || flows(MIXED)),
    ("traffic::flows_between_taps", || flows(TAPS)),
    ("traffic::large_frames_stay_whole_between_veth_ports", || large_frames_stay_whole(VETHS)),
    ("traffic::large_frames_stay_whole_between_a_veth_port_and_a_tap", || {
        large_frames_stay_whole(MIXED)
    }),
    ("traffic::large_udp_stays_datagrams_between_veth_ports", || large_udp_stays_datagrams(VETHS)),
    ("traffic::large_udp_stays_datagrams_between_a_veth_port_and_a_tap", || {
        large_udp_stays_datagrams(MIXED)
    }),
    ("traffic::jumbo_frames_pass_between_veth_ports", || jumbo_frames_pass(VETHS)),
    ("traffic::jumbo_frames_pass_between_a_veth_port_and_a_tap", || jumbo_frames_pass(MIXED)),
    ("traffic::a_tunnel_of_the_hosts_carries_tcp_between_veth_ports", || {
        a_tunnel_of_the_hosts_carries_tcp(VETHS)
    }),
    ("traffic::a_tunnel_of_the_hosts_carries_tcp_between_a_veth_port_and_a_tap", || {
        a_tunnel_of_the_hosts_carries_tcp(MIXED)
    }),
];

const VETHS: &[Cable] = &[Cable::Veth, Cable::Veth];
const MIXED: &[Cable] = &[Cable::Veth, Cable::Tap];
const TAPS: &[Cable] = &[Cable::Tap, Cable::Tap];
const MEGABYTE: u64 = 1_000_000;

/// Both address families, both directions, sizes from nothing to many fragments.
fn flows(cables: &[Cable]) -> anyhow::Result<()> {
    let network = Network::new(cables)?;
    for (from, to) in [(network.a(), network.b()), (network.b(), network.a())] {
        for address in [IpAddr::from(to.v4()), to.v6().into()] {
            reach(from, to, address).with_context(|| format!("to {address}"))?;
        }
    }
    no_wrong_checksums(&network)
}

fn reach(from: &Host, to: &Host, address: IpAddr) -> anyhow::Result<()> {
    let report = Ping::to(address).run(from.namespace())?;
    ensure!(report.is_complete(), "ping: {report:?}");
    let report = Ping::to(address).with_payload(20_000).run(from.namespace())?;
    ensure!(report.is_complete(), "ping in fragments: {report:?}");
    let server = SocketAddr::new(address, 5001);
    let report = UdpExchange::to(server, &[0, 1, 18, 1452, 1472, 1473, 30_000, 65_000])
        .run(from.namespace(), to.namespace())?;
    ensure!(report.is_complete(), "UDP: {report:?}");
    TcpTransfer::to(server, 20 * MEGABYTE).run(from.namespace(), to.namespace())?;
    Ok(())
}

/// No host's kernel found anything wrong with what the switch delivered.
fn no_wrong_checksums(network: &Network) -> anyhow::Result<()> {
    for host in &network.hosts {
        let counters = Counters::read(host.namespace())?;
        ensure!(
            counters.checksum_errors() == 0,
            "{} packets with wrong checksums at {}",
            counters.checksum_errors(),
            host.v4()
        );
    }
    Ok(())
}

/// Segmentation is left to the last one who needs it: the receiver sees frames far above the MTU.
fn large_frames_stay_whole(cables: &[Cable]) -> anyhow::Result<()> {
    let network = Network::new(cables)?;
    for (from, to) in [(network.a(), network.b()), (network.b(), network.a())] {
        let mut observer = to.run(|| FrameSocket::open(to.interface()))??;
        observer.set_receive_buffer(8 << 20)?;
        let is_over = AtomicBool::new(false);
        let largest = std::thread::scope(|scope| -> anyhow::Result<usize> {
            let watch = scope.spawn(|| -> anyhow::Result<usize> {
                let mut largest = 0;
                while !is_over.load(Ordering::Relaxed) {
                    if let Some(frame) = observer.receive(Duration::from_millis(20))?
                        && frame[6..12] == from.mac()
                    {
                        largest = largest.max(frame.len());
                    }
                }
                Ok(largest)
            });
            let server = SocketAddr::new(to.v4().into(), 5001);
            let transfer =
                TcpTransfer::to(server, 200 * MEGABYTE).run(from.namespace(), to.namespace());
            is_over.store(true, Ordering::Relaxed);
            transfer?;
            watch.join().expect("the observer does not panic")
        })?;
        ensure!(largest > 32_000, "the largest frame from {} had {largest} bytes", from.v4());
        ensure!(largest <= 65_536 + 14, "{largest} bytes are more than IP can say");
    }
    no_wrong_checksums(&network)
}

/// One system call, one frame on the wire, many datagrams (`UDP_SEGMENT`, udp(7)).
fn large_udp_stays_datagrams(cables: &[Cable]) -> anyhow::Result<()> {
    const PIECE: usize = 1200;
    const PIECES: usize = 40;
    let network = Network::new(cables)?;
    let (a, b) = (network.a(), network.b());
    for address in [IpAddr::from(b.v4()), b.v6().into()] {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let receiver = b.run(|| UdpSocket::bind((address, 5001)))??;
        receiver.set_read_timeout(Some(PATIENCE))?;
        let sender = a.run(|| UdpSocket::bind(any))??;
        sender.connect((address, 5001))?;
        // The first datagram finds the neighbour: a burst would not wait for that.
        sender.send(b"hello")?;
        let mut buf = [0; 2000];
        receiver.recv(&mut buf).context("the first datagram")?;
        setsockopt(&sender, sockopt::UdpGsoSegment, &(PIECE as i32))?;
        let sent: Vec<u8> = (0..PIECE * PIECES).map(|i| (i / PIECE) as u8).collect();
        sender.send(&sent)?;
        for i in 0..PIECES {
            let size = receiver.recv(&mut buf).with_context(|| format!("datagram {i}"))?;
            ensure!(size == PIECE && buf[..size] == [i as u8; PIECE], "datagram {i}");
        }
    }
    no_wrong_checksums(&network)
}

fn jumbo_frames_pass(cables: &[Cable]) -> anyhow::Result<()> {
    let network = Network::with(cables, Some(9000), &[])?;
    let (a, b) = (network.a(), network.b());
    // 8 bytes of ICMP and 20 of IP fill the MTU to the last byte, in one frame.
    let before = Counters::read(b.namespace())?;
    let report = Ping::to(b.v4()).with_payload(9000 - 28).run(a.namespace())?;
    ensure!(report.is_complete(), "{report:?}");
    let after = Counters::read(b.namespace())?;
    ensure!(after.get("IpReasmReqds") == before.get("IpReasmReqds"), "it was fragmented");
    TcpTransfer::to(SocketAddr::new(b.v6().into(), 5001), 20 * MEGABYTE)
        .run(a.namespace(), b.namespace())?;
    no_wrong_checksums(&network)
}

/// The offload description of such a frame speaks of the inner headers; nobody but the switch may
/// have to cut it.
fn a_tunnel_of_the_hosts_carries_tcp(cables: &[Cable]) -> anyhow::Result<()> {
    let mut network = Network::new(cables)?;
    let [a, b] = &mut network.hosts[..] else { anyhow::bail!("two hosts") };
    let outer = [(IpAddr::from(a.v4()), IpAddr::from(b.v4())), (a.v6().into(), b.v6().into())];
    for (vni, (a_outer, b_outer)) in (7..).zip(outer) {
        let inner = |host| IpAddr::from([10, vni as u8, 0, host]);
        let made = a.add_vxlan(vni, b_outer, inner(1), 24);
        unsupported_if_missing(made, "VXLAN interfaces")?;
        b.add_vxlan(vni, a_outer, inner(2), 24)?;
        let report = Ping::to(inner(2)).run(a.namespace())?;
        ensure!(report.is_complete(), "tunnel over {a_outer}: {report:?}");
        TcpTransfer::to(SocketAddr::new(inner(2), 5001), 20 * MEGABYTE)
            .run(a.namespace(), b.namespace())
            .with_context(|| format!("tunnel over {a_outer}"))?;
    }
    no_wrong_checksums(&network)
}

//! Which ports take part in the kernel cache: the host itself, virtual machines, and those that are told not to.

use crate::fixture::port_name;
use crate::kernel_cache::{agree, kernel, network, network_with, totals};
use anyhow::{Context, bail, ensure};
use control::record::PortRecord;
use control::{Client, Operation, Reply, TraceQuery};
use lab::harness::{Test, Unsupported};
use lab::traffic::TcpTransfer;
use lab::{FrameSocket, Namespace, Netlink, PATIENCE, eventually, experimental_frame, has_taps};
use packet::VNET_HDR_SIZE;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};

pub(crate) const TESTS: &[Test] = &[
    ("kernel_ports::the_host_itself_takes_part", the_host_itself),
    ("kernel_ports::a_tap_device_of_a_virtual_machine_takes_part", virtual_machine),
    ("kernel_ports::a_port_can_be_left_out", left_out),
];

fn port(client: &mut Client, name: &str) -> anyhow::Result<PortRecord> {
    client.ports()?.into_iter().find(|p| p.name == name).with_context(|| format!("no {name}"))
}

/// Waits until `ofctl show` says this of a port and the kernel cache.
fn becomes(client: &mut Client, name: &str, state: &str) -> anyhow::Result<()> {
    let mut is_so =
        || port(client, name).is_ok_and(|port| port.kernel_cache.as_deref() == Some(state));
    eventually(&format!("the kernel cache of {name} is {state}"), &mut is_so)?;
    Ok(())
}

fn require_taps() -> anyhow::Result<()> {
    match has_taps() {
        true => Ok(()),
        false => {
            Err(Unsupported::lacking("TAP devices for this user (/dev/net/tun cannot be opened)"))
        }
    }
}

fn the_host_itself() -> anyhow::Result<()> {
    require_taps()?;
    let network = network_with(1, &["--port", "internal:br0"])?;
    let (mut client, mut netlink) = (network.client()?, Netlink::open()?);
    let address = IpAddr::from([10, 0, 0, 9]);
    let own = netlink.link("br0")?;
    netlink.add_address(own.index, address, 24)?;
    becomes(&mut client, "br0", "on")?;
    let (host, here) = (network.a(), Namespace::current()?);
    TcpTransfer::to(SocketAddr::new(address, 5001), 50_000_000).run(host.namespace(), &here)?;
    TcpTransfer::to(SocketAddr::new(host.v4().into(), 5001), 50_000_000)
        .run(&here, host.namespace())?;
    eventually("all counters agree", || agree(&mut client).unwrap_or_default())?;
    let (received, ..) = totals(&mut client)?;
    let in_kernel = kernel(&mut client)?;
    ensure!(in_kernel.hits * 10 > received * 9, "{in_kernel:?} of {received}");
    // Somebody who listens sees what the host sends, because the switch has it then.
    let listener = FrameSocket::open("br0")?;
    becomes(&mut client, "br0", "off (somebody listens to its device)")?;
    drop(listener);
    becomes(&mut client, "br0", "on")
}

/// The descriptor of the TAP device of a machine that answers nothing and sends what a test tells it to.
struct Machine(File);

impl Machine {
    fn send(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        self.0.write_all(&[&[0; VNET_HDR_SIZE], frame].concat())?;
        Ok(())
    }

    /// Whether the frame is the next one of the experimental type that the machine receives.
    fn receives(&mut self, frame: &[u8]) -> anyhow::Result<bool> {
        let mut buffer = [0; 2000];
        let mut found = None;
        eventually("the machine receives a frame", || match self.0.read(&mut buffer) {
            Ok(size) if buffer[VNET_HDR_SIZE + 12..VNET_HDR_SIZE + 14] == frame[12..14] => {
                found = Some(buffer[VNET_HDR_SIZE..size] == *frame);
                true
            }
            Ok(_) => false,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        })?;
        found.context("the TAP device cannot be read")
    }
}

/// A machine holds the descriptor of a TAP device; the switch has the device, as any other.
fn virtual_machine() -> anyhow::Result<()> {
    require_taps()?;
    let network = network(1)?;
    let mut client = network.client()?;
    let mut machine = Machine(ports::tap::plain("vm1")?);
    client.ask(Operation::AddPort { spec: "vm1".to_owned() })?;
    becomes(&mut client, "vm1", "on")?;
    let host = network.a();
    let mut cable = host.run(|| FrameSocket::open(host.interface()))??;
    let own = [2, 0, 0, 0, 0, 0x77];
    let (out, back) = (
        experimental_frame(host.mac(), own, &[1; 60]),
        experimental_frame(own, host.mac(), &[2; 60]),
    );
    let before = kernel(&mut client)?.hits;
    const TIMES: u64 = 10;
    for _ in 0..TIMES {
        machine.send(&out)?;
        let found = cable.receive_matching(PATIENCE, |frame| frame == out)?;
        ensure!(found.is_some(), "the host gets no frame of the machine");
        cable.send(&back)?;
        ensure!(machine.receives(&back)?, "the machine gets another frame");
    }
    let hits = kernel(&mut client)?.hits - before;
    ensure!(hits >= TIMES, "{hits} of {} frames were forwarded by the kernel", 2 * TIMES);
    Ok(())
}

fn left_out() -> anyhow::Result<()> {
    let network = network(2)?;
    let mut client = network.client()?;
    let name = port_name(1);
    client.ask(Operation::DelPort { port: name.clone() })?;
    client.ask(Operation::AddPort { spec: format!("{name},kernel-cache=off") })?;
    becomes(&mut client, &name, "off (it has kernel-cache=off)")?;
    let (a, b) = (network.a(), network.b());
    TcpTransfer::to(SocketAddr::new(b.v4().into(), 5001), 300_000)
        .run(a.namespace(), b.namespace())?;
    let in_kernel = kernel(&mut client)?;
    ensure!(in_kernel.hits == 0 && in_kernel.flows == 0, "{in_kernel:?}");
    client.add_flow("dl_type=0x88b5,actions=output:2")?;
    let flow = "in_port=1,dl_type=0x88b5".to_owned();
    let query = TraceQuery { flow, ..TraceQuery::default() };
    let Reply::Trace(trace) = client.ask(Operation::Trace(query))? else { bail!("no trace") };
    ensure!(
        trace.kernel_cache.as_deref()
            == Some("no (an egress port does not take part: it has kernel-cache=off)"),
        "{trace:?}"
    );
    Ok(())
}

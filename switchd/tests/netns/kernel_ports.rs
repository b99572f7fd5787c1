//! Which ports take part in the kernel cache: the host itself, virtual machines, and those
//! that are told not to.

use crate::fixture::port_name;
use crate::kernel_cache::{
    agree, kernel, network, network_with, reaches, totals, warm_up, warm_up_by,
};
use anyhow::{Context, bail, ensure};
use control::record::PortRecord;
use control::{Client, Operation, Reply, TraceQuery};
use lab::harness::{Test, Unsupported};
use lab::traffic::{Ping, TcpTransfer};
use lab::{
    FrameSocket, Host, HostPlan, InterfaceCounters, LinkSpec, Namespace, Netlink, PATIENCE,
    eventually, experimental_frame, has_taps,
};
use packet::VNET_HDR_SIZE;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};

pub(crate) const TESTS: &[Test] = &[
    ("kernel_ports::the_host_itself_takes_part", the_host_itself),
    ("kernel_ports::a_tap_device_that_stays_takes_part", tap_that_stays),
    ("kernel_ports::a_tap_device_of_a_virtual_machine_takes_part", virtual_machine),
    ("kernel_ports::frames_are_handed_over_to_the_peer", handed_over),
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
    host_behind("internal:br0", "br0")
}

fn tap_that_stays() -> anyhow::Result<()> {
    host_behind("tap:tap9,kernel-cache=on", "tap9")?;
    let network = network_with(1, &["--port", "tap:tap9"])?;
    let reason =
        "its device may move to another network namespace, and kernel-cache=on is not given";
    becomes(&mut network.client()?, "tap9", &format!("off ({reason})"))
}

/// The host itself is behind a port with this description, by a TAP device with this name.
fn host_behind(spec: &str, name: &str) -> anyhow::Result<()> {
    require_taps()?;
    let network = network_with(1, &["--port", spec])?;
    let (mut client, mut netlink) = (network.client()?, Netlink::open()?);
    let address = IpAddr::from([10, 0, 0, 9]);
    let own = netlink.link(name)?;
    netlink.add_address(own.index, address, 24)?;
    becomes(&mut client, name, "on")?;
    let (host, here) = (network.a(), Namespace::current()?);
    warm_up_by(&mut client, || {
        Ping::brief(address).run(host.namespace()).is_ok_and(|report| report.is_complete())
    })?;
    TcpTransfer::to(SocketAddr::new(address, 5001), 10_000_000).run(host.namespace(), &here)?;
    TcpTransfer::to(SocketAddr::new(host.v4().into(), 5001), 10_000_000)
        .run(&here, host.namespace())?;
    eventually("all counters agree", || agree(&mut client).unwrap_or_default())?;
    let (received, ..) = totals(&mut client)?;
    let in_kernel = kernel(&mut client)?;
    ensure!(in_kernel.hits * 10 > received * 9, "{in_kernel:?} of {received}");
    // Somebody who listens sees what the host sends, because the switch has it then.
    let listener = FrameSocket::open(name)?;
    becomes(&mut client, name, "off (somebody listens to its device)")?;
    drop(listener);
    becomes(&mut client, name, "on")
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
    let mut round_trip = || -> anyhow::Result<()> {
        machine.send(&out)?;
        let found = cable.receive_matching(PATIENCE, |frame| frame == out)?;
        ensure!(found.is_some(), "the host gets no frame of the machine");
        cable.send(&back)?;
        ensure!(machine.receives(&back)?, "the machine gets another frame");
        Ok(())
    };
    let mut result = Ok(());
    warm_up_by(&mut client, || {
        result = round_trip();
        result.is_ok()
    })
    .with_context(|| format!("{result:?}"))?;
    let before = kernel(&mut client)?.hits;
    const TIMES: u64 = 10;
    (0..TIMES).try_for_each(|_| round_trip())?;
    let hits = kernel(&mut client)?.hits - before;
    ensure!(hits == 2 * TIMES, "{hits} of {} frames were forwarded by the kernel", 2 * TIMES);
    Ok(())
}

/// Frames that the kernel hands over to the other end of a veth pair are not counted at the device, but by the
/// switch. A peer that is not in another namespace has its frames by the device.
fn handed_over() -> anyhow::Result<()> {
    let mut network = network(1)?;
    let mut client = network.client()?;
    let name = port_name(1);
    let host = Host::on_veth(HostPlan::number(2), &name)?;
    client.ask(Operation::AddPort { spec: format!("{name},number=2,kernel-cache=peer") })?;
    network.plug(host)?;
    let (a, b) = (network.a(), network.b());
    eventually("the port works", || reaches(a, b).unwrap_or_default())?;
    warm_up(&network, &mut client)?;
    let here = Namespace::current()?;
    let sent_by_device = || anyhow::Ok(InterfaceCounters::read(&here, &name)?.tx_packets);
    let sent_by_port = |client: &mut Client| -> anyhow::Result<u64> {
        let stats = client.port_stats()?;
        Ok(stats.iter().filter(|port| port.name == name).map(|port| port.tx_packets).sum())
    };
    let before = (sent_by_device()?, sent_by_port(&mut client)?);
    TcpTransfer::to(SocketAddr::new(b.v4().into(), 5001), 20_000_000)
        .run(a.namespace(), b.namespace())?;
    let of_device = sent_by_device()? - before.0;
    let of_port = sent_by_port(&mut client)? - before.1;
    ensure!(of_port > 100 && of_device * 10 < of_port, "{of_device} of {of_port} by the device");
    eventually("all counters agree", || agree(&mut client).unwrap_or_default())?;
    // The kernel hands nothing over within a namespace.
    let mut netlink = Netlink::open()?;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    netlink.create_veth("near9", &up, "far9", &up)?;
    client.ask(Operation::AddPort { spec: "near9,number=9,kernel-cache=peer".to_owned() })?;
    client.add_flow("priority=9,dl_type=0x88b5,in_port=1,actions=output:9")?;
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut receiver = FrameSocket::open("far9")?;
    let frame = experimental_frame([2, 0, 0, 0, 0, 9], a.mac(), &[9; 50]);
    let before = kernel(&mut client)?.hits;
    eventually("the kernel forwards frames to a peer in its own namespace", || {
        let _ = sender.send(&frame);
        let arrived = receiver.receive_matching(PATIENCE, |got| got == frame);
        arrived.is_ok_and(|arrived| arrived.is_some())
            && kernel(&mut client).is_ok_and(|kernel| kernel.hits > before + 10)
    })?;
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

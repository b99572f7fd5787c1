//! What belongs to the switch while it runs, what does not, and what it leaves behind.

use crate::fixture::{Cable, Network, SWITCHD};
use crate::life::{is_up, port, undisturbed};
use anyhow::{Context, ensure};
use control::record::DropRecord;
use control::{Client, Operation, Reply};
use lab::harness::Test;
use lab::traffic::{Ping, TcpTransfer};
use lab::{
    Daemon, FrameSocket, Host, HostPlan, LinkSpec, Netlink, Tbf, eventually, experimental_frame,
    has_taps,
};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("ownership::who_listens_to_a_device_sees_both_directions", who_listens_sees_both_directions),
    ("ownership::the_switch_s_own_host_does_not_answer", the_host_does_not_answer),
    ("ownership::an_exposed_port_lets_the_host_answer", an_exposed_port_lets_the_host_answer),
    ("ownership::a_shaped_port_stays_shaped", a_shaped_port_stays_shaped),
    ("ownership::shaping_is_gone_around_if_asked_for", shaping_is_gone_around_if_asked_for),
    ("ownership::a_full_queue_holds_up_nobody_else", a_full_queue_holds_up_nobody_else),
    ("ownership::devices_are_put_back_at_the_end", devices_are_put_back_at_the_end),
    ("ownership::devices_are_adopted_after_a_crash", devices_are_adopted_after_a_crash),
    ("ownership::a_tap_in_another_namespace_is_up", a_tap_in_another_namespace_is_up),
    ("ownership::a_port_in_use_is_refused_by_name", a_port_in_use_is_refused_by_name),
    ("ownership::a_bridged_device_is_refused_by_name", a_bridged_device_is_refused_by_name),
    ("ownership::a_port_is_shielded_again_or_lost", a_port_is_shielded_again_or_lost),
    ("ownership::a_live_socket_is_refused", a_live_socket_is_refused),
    ("ownership::a_missing_device_is_waited_for", a_missing_device_is_waited_for),
    ("ownership::a_required_device_must_be_there", a_required_device_must_be_there),
];

/// An address of the namespace that the switch runs in, on no wire at all: without a shield its
/// kernel answers for it at every port.
fn the_host_does_not_answer() -> anyhow::Result<()> {
    let own = IpAddr::from([10, 0, 0, 99]);
    let mut netlink = Netlink::open()?;
    let lo = netlink.link("lo")?.index;
    netlink.add_address(lo, own, 32)?;
    let mut network = Network::pair()?;
    let port = netlink.link("veth1")?;
    netlink.add_route(network.a().v4().into(), 32, None, Some(port.index))?;
    let report = Ping::brief(own).run(network.a().namespace())?;
    ensure!(report.received() == 0, "it answered ARP and ping");
    // A host that was told the port's MAC address need not ask.
    let a = &mut network.hosts[0];
    let cable = a.netlink().link("eth0")?.index;
    a.netlink().add_neighbour(cable, own, port.mac)?;
    let report = Ping::brief(own).run(network.a().namespace())?;
    ensure!(report.received() == 0, "it answered ping");
    // The control: the way through the switch is open.
    let report = Ping::to(network.b().v4()).run(network.a().namespace())?;
    ensure!(report.is_complete(), "{report:?}");
    Ok(())
}

/// The same with the shield off: the test above would notice.
fn an_exposed_port_lets_the_host_answer() -> anyhow::Result<()> {
    let own = IpAddr::from([10, 0, 0, 99]);
    let mut netlink = Netlink::open()?;
    let lo = netlink.link("lo")?.index;
    netlink.add_address(lo, own, 32)?;
    // A way back: without one the answer would not find its way to the host.
    let a = Host::on_veth(HostPlan::number(1), "veth1")?;
    let port = netlink.link("veth1")?.index;
    netlink.add_route(a.v4().into(), 32, None, Some(port))?;
    let _daemon = Daemon::start(Path::new(SWITCHD), ["--port", "veth1,shield=off"])?;
    let report = Ping::to(own).run(a.namespace())?;
    ensure!(report.is_complete(), "{report:?}");
    Ok(())
}

fn a_shaped_port_stays_shaped() -> anyhow::Result<()> {
    const MEGABIT: u32 = 1_000_000 / 8;
    let network = Network::pair()?;
    let mut netlink = Netlink::open()?;
    let port = netlink.link("veth2")?.index;
    netlink.set_root_tbf(port, Tbf { rate: 20 * MEGABIT, burst: 70_000, limit: 200_000 })?;
    let server = SocketAddr::new(network.b().v4().into(), 5001);
    // Two megabytes in 0.8 seconds, but for the burst.
    eventually("the switch notices the new queueing discipline", || {
        let transfer = TcpTransfer::to(server, 2_000_000)
            .run(network.a().namespace(), network.b().namespace());
        transfer.is_ok_and(|t| t.gbit_per_second() < 0.03)
    })
    .context("20 Mbit/s are asked for")?;
    Ok(())
}

/// Shaping that lets next to nothing pass.
const HARDLY_ANYTHING: Tbf = Tbf { rate: 1000, burst: 2000, limit: 4000 };

/// Two ports that are hardly let through by their queueing disciplines get the same frames.
fn shaping_is_gone_around_if_asked_for() -> anyhow::Result<()> {
    const FRAMES: u64 = 50;
    let names = ["veth1", "veth2", "veth3"];
    let hosts = (1..).zip(names).map(|(n, name)| Host::on_veth(HostPlan::number(n), name));
    let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
    let mut netlink = Netlink::open()?;
    for name in &names[1..] {
        let index = netlink.link(name)?.index;
        netlink.set_root_tbf(index, HARDLY_ANYTHING)?;
    }
    let ports = ["--port", "veth1", "--port", "veth2,qdisc=bypass", "--port", "veth3"];
    let daemon = Daemon::start(Path::new(SWITCHD), ports)?;
    let mut client = daemon.client()?;
    client.add_flow("priority=9,dl_type=0x88b5,actions=2,3")?;
    let sender = hosts[0].run(|| FrameSocket::open_to_send(hosts[0].interface()))??;
    for _ in 0..FRAMES {
        sender.send(&experimental_frame([0xff; 6], hosts[0].mac(), &[0; 1000]))?;
    }
    // Frames of the hosts' own may be lost to a port that has only just come up: not counted here.
    let sent_by = |client: &mut Client, port: usize| -> u64 {
        client.port_stats().ok().and_then(|p| Some(p.get(port)?.tx_bytes)).unwrap_or_default()
    };
    eventually("every frame has left by the port without shaping", || {
        sent_by(&mut client, 1) >= FRAMES * 1014
    })?;
    ensure!(queue_full(&mut client, "veth2")? == 0, "{:?}", client.port_stats());
    eventually("most frames have found the queue of the other full", || {
        queue_full(&mut client, "veth3").is_ok_and(|packets| packets > FRAMES / 2)
    })?;
    Ok(())
}

/// One host is sent far more than its port lets through, while two others talk.
fn a_full_queue_holds_up_nobody_else() -> anyhow::Result<()> {
    let network = Network::new(&[Cable::Veth; 4])?;
    let [a, _, c, d] = &network.hosts[..] else { anyhow::bail!("four hosts") };
    let mut client = network.client()?;
    client.add_flow("priority=9,dl_type=0x88b5,actions=2")?;
    let mut netlink = Netlink::open()?;
    let index = netlink.link("veth2")?.index;
    netlink.set_root_tbf(index, HARDLY_ANYTHING)?;
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let burst = vec![experimental_frame([0xff; 6], a.mac(), &[0; 1000]); 30];
    undisturbed(c, d, || {
        Ok(eventually("a hundred bursts find the queue full", || {
            let _ = sender.send_all(&burst);
            client.port_stats().is_ok_and(|stats| stats[1].tx_dropped > 100 * burst.len() as u64)
        })?)
    })
    .with_context(|| network.daemon.log())?;
    ensure!(queue_full(&mut client, "veth2")? > 0, "{:?}", client.port_stats());
    Ok(())
}

/// Frames that found the egress queue of `port` full.
fn queue_full(client: &mut Client, port: &str) -> anyhow::Result<u64> {
    let Reply::Drops(drops) = client.ask(Operation::Drops)? else {
        anyhow::bail!("not a list of drops");
    };
    let is_it = |d: &&DropRecord| d.name == port && d.reason == "tx_queue_full";
    Ok(drops.failed_outputs.iter().filter(is_it).map(|d| d.n_packets).sum())
}

fn devices_are_put_back_at_the_end() -> anyhow::Result<()> {
    let mut netlink = Netlink::open()?;
    let _host = Host::on_veth(HostPlan::number(1), "veth1")?;
    let before = netlink.link("veth1")?;
    netlink.set_up(before.index, false)?;
    let down = netlink.link("veth1")?;
    let links_before = names(&mut netlink)?;

    let mut command = vec!["--port", "veth1"];
    if has_taps() {
        command.extend(["--port", "tap:tap1"]);
    }
    let daemon = Daemon::start(Path::new(SWITCHD), command)?;
    let during = netlink.link("veth1")?;
    ensure!(during.is_up, "the switch sets a port up");
    ensure!(netlink.find_link("tap1")?.is_some() == has_taps(), "the switch makes TAP devices");
    let (status, said) = daemon.stop()?;
    ensure!(status.success(), "{status}: {said}");

    let after = netlink.link("veth1")?;
    ensure!(!after.is_up && after.master == down.master, "{down:?} became {after:?}");
    ensure!(after.promiscuity == 0, "still promiscuous");
    let links_after = names(&mut netlink)?;
    ensure!(links_after == links_before, "{links_before:?} became {links_after:?}");
    Ok(())
}

pub(crate) fn names(netlink: &mut Netlink) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<_> = netlink.links()?.into_iter().map(|link| link.name).collect();
    names.sort();
    Ok(names)
}

fn devices_are_adopted_after_a_crash() -> anyhow::Result<()> {
    let Network { hosts, daemon } = Network::new(&[Cable::Veth, Cable::Veth])?;
    let run_dir = daemon.run_dir();
    daemon.crash()?;
    ensure!(run_dir.socket().exists(), "the stale socket is part of this test");
    let mut netlink = Netlink::open()?;
    let daemon =
        Daemon::start_in(run_dir, Path::new(SWITCHD), ["--port", "veth1", "--port", "veth2"])?;
    let report = Ping::to(hosts[1].v4()).run(hosts[0].namespace())?;
    ensure!(report.is_complete(), "{report:?}: {}", daemon.log());
    let (status, said) = daemon.stop()?;
    ensure!(status.success() && netlink.link("veth1")?.master.is_none(), "{status}: {said}");
    Ok(())
}

/// Starts a daemon that must end by itself, with a failure, and returns what it said.
pub(crate) fn refusal(arguments: &[&str]) -> anyhow::Result<String> {
    refusal_of(&mut Daemon::spawn(Path::new(SWITCHD), arguments)?)
}

fn refusal_of(daemon: &mut Daemon) -> anyhow::Result<String> {
    let status = daemon.wait().with_context(|| daemon.log())?;
    ensure!(!status.success(), "it ended well and said: {}", daemon.log());
    Ok(daemon.log())
}

fn a_port_in_use_is_refused_by_name() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let said = refusal(&["--require", "--port", "veth1"])?;
    ensure!(said.contains("veth1") && said.contains("in use"), "{said}");
    ensure!(said.contains(&network.daemon.pid().to_string()), "who has it? {said}");
    let report = Ping::to(network.b().v4()).run(network.a().namespace())?;
    ensure!(report.is_complete(), "the rightful owner was disturbed: {report:?}");
    Ok(())
}

fn a_bridged_device_is_refused_by_name() -> anyhow::Result<()> {
    let _host = Host::on_veth(HostPlan::number(1), "veth1")?;
    let mut netlink = Netlink::open()?;
    netlink.create_bridge("somebody-else", &LinkSpec { up: true, ..LinkSpec::default() })?;
    let bridge = netlink.link("somebody-else")?.index;
    let port = netlink.link("veth1")?.index;
    netlink.set_master(port, Some(bridge))?;
    let said = refusal(&["--require", "--port", "veth1"])?;
    ensure!(said.contains("veth1") && said.contains("somebody-else"), "{said}");
    ensure!(netlink.link("veth1")?.master == Some(bridge), "the bridge lost its port");
    Ok(())
}

/// Without its shield the host's stack would hear it, and in a bridge frames would go two ways.
fn a_port_is_shielded_again_or_lost() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let mut client = network.client()?;
    let mut netlink = Netlink::open()?;
    let (device, shield) = (netlink.link("veth1")?.index, netlink.link("veth1")?.master);
    netlink.set_master(device, None)?;
    eventually("it is shielded again", || {
        netlink.link("veth1").is_ok_and(|link| shield.is_some() && link.master == shield)
    })?;
    netlink.create_bridge("somebody-else", &LinkSpec { up: true, ..LinkSpec::default() })?;
    let bridge = netlink.link("somebody-else")?.index;
    netlink.set_master(device, Some(bridge))?;
    eventually("the port says whose its device is", || {
        let problem = port(&mut client, "veth1").ok().and_then(|port| port.problem);
        problem.is_some_and(|problem| problem.contains("somebody-else"))
    })
    .with_context(|| network.daemon.log())?;
    ensure!(netlink.link("veth1")?.master == Some(bridge), "the bridge lost its port");
    netlink.set_master(device, None)?;
    eventually("the port is up again", || is_up(&mut client, "veth1"))?;
    ensure!(netlink.link("veth1")?.master == shield, "it is not shielded");
    ensure!(Ping::to(network.b().v4()).run(network.a().namespace())?.is_complete());
    Ok(())
}

fn a_live_socket_is_refused() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let run_dir = network.daemon.run_dir();
    let mut rival = Daemon::spawn_in(run_dir, Path::new(SWITCHD), ["--port", "another"])?;
    let said = refusal_of(&mut rival)?;
    let socket = network.daemon.socket();
    ensure!(said.contains(&socket.display().to_string()), "{said}");
    ensure!(said.contains(&network.daemon.pid().to_string()), "who has it? {said}");
    std::os::unix::net::UnixStream::connect(socket).context("the socket of the first")?;
    Ok(())
}

fn a_missing_device_is_waited_for() -> anyhow::Result<()> {
    let a = Host::on_veth(HostPlan::number(1), "veth1")?;
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "veth1", "--port", "veth2"])?;
    let b = Host::on_veth(HostPlan::number(2), "veth2")?;
    eventually("the port that came later joins", || {
        Ping::brief(b.v4()).run(a.namespace()).is_ok_and(|report| report.is_complete())
    })
    .with_context(|| daemon.log())?;
    Ok(())
}

fn a_required_device_must_be_there() -> anyhow::Result<()> {
    let _host = Host::on_veth(HostPlan::number(1), "veth1")?;
    let said = refusal(&["--require", "--port", "veth1", "--port", "veth2"])?;
    ensure!(said.contains("veth2") && said.contains("no such network device"), "{said}");
    Ok(())
}

/// Its device is out of sight, which says nothing about its link.
fn a_tap_in_another_namespace_is_up() -> anyhow::Result<()> {
    let network = Network::new(&[Cable::Veth, Cable::Tap])?;
    let mut client = network.client()?;
    let mut ports = Vec::new();
    eventually("the port of the TAP device is up", || {
        ports = client.ports().unwrap_or_default();
        ports.iter().any(|p| p.name == "tap2" && p.state.iter().all(|s| s != "LINK_DOWN"))
    })
    .with_context(|| format!("{ports:?}"))
}

/// As tcpdump does, at the port's device. What the port has sent is seen from half a second on at the latest.
fn who_listens_sees_both_directions() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let mut observer = FrameSocket::open("veth2")?;
    for host in [network.a(), network.b()] {
        let frame = experimental_frame([0xff; 6], host.mac(), b"seen");
        let sender = host.run(|| FrameSocket::open_to_send(host.interface()))??;
        eventually(&format!("a frame from {}", host.v4()), || {
            let is_sent = sender.send(&frame).is_ok();
            let seen = observer.receive_matching(Duration::from_millis(20), |seen| seen == frame);
            is_sent && seen.is_ok_and(|seen| seen.is_some())
        })?;
    }
    Ok(())
}

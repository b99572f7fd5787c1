//! What happens to ports: devices go and come back, ports are added and removed, settings change, and
//! the traffic of others does not notice.

use crate::fixture::{Cable, Network, SWITCHD};
use anyhow::{Context, ensure};
use control::record::PortRecord;
use control::{Client, Operation, PortFlag};
use lab::harness::Test;
use lab::traffic::Ping;
use lab::{Daemon, Host, LinkSpec, Namespace, Netlink, eventually};
use nix::sys::signal::Signal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const TESTS: &[Test] = &[
    ("life::a_device_that_is_made_again_is_the_port_again", made_again),
    ("life::a_device_that_is_renamed_is_not_the_port", renamed),
    ("life::a_device_that_moves_away_is_missed", moved_away),
    ("life::a_port_has_the_address_and_mtu_of_its_device", address_and_mtu),
    ("life::a_deleted_tap_is_made_again", deleted_tap),
    ("life::old_news_of_a_deleted_tap_do_not_close_the_next_one", old_news),
    ("life::a_port_that_is_set_down_takes_its_device_down", set_down),
    ("life::vlans_change_while_it_runs", vlans_change),
    ("life::a_loop_does_not_take_everything", a_loop_does_not_take_everything),
    ("life::a_thousand_ports_come_and_go", a_thousand_ports),
];

/// Hosts 1 to 3 on veth pairs.
fn three() -> anyhow::Result<Network> {
    Network::new(&[Cable::Veth; 3])
}

pub(crate) fn port(client: &mut Client, name: &str) -> anyhow::Result<PortRecord> {
    let ports = client.ports()?;
    ports.into_iter().find(|p| p.name == name).with_context(|| format!("there is no port {name}"))
}

pub(crate) fn is_up(client: &mut Client, name: &str) -> bool {
    port(client, name).is_ok_and(|p| p.problem.is_none() && p.state.is_empty())
}

pub(crate) fn is_waiting(client: &mut Client, name: &str) -> bool {
    port(client, name).is_ok_and(|p| p.problem.as_deref() == Some("waiting"))
}

/// Pings from the first host to the second without a pause while `event` happens; none may be lost. An
/// answer that is late is not lost: the machine may have other things to do.
pub(crate) fn undisturbed<R>(
    from: &Host,
    to: &Host,
    event: impl FnOnce() -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    let is_over = AtomicBool::new(false);
    ensure!(Ping::to(to.v4()).run(from.namespace())?.is_complete(), "there was no traffic before");
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut answered = 0;
            while !is_over.load(Ordering::Relaxed) {
                let report = Ping { count: 1, ..Ping::to(to.v4()) }.run(from.namespace())?;
                ensure!(report.is_complete(), "a frame of other ports was lost after {answered}");
                answered += 1;
            }
            Ok(())
        });
        let result = event();
        is_over.store(true, Ordering::Relaxed);
        traffic.join().expect("the traffic thread does not panic")?;
        result
    })
}

/// A new veth pair in place of the one of host 1, whose end keeps its addresses.
fn plug_in_again(host: &mut Host) -> anyhow::Result<()> {
    let here = Namespace::current()?;
    let spec = LinkSpec { mac: Some(host.mac()), up: true, ..LinkSpec::default() };
    let switch_end = LinkSpec { up: true, netns: Some(&here), ..LinkSpec::default() };
    let v4 = host.v4();
    host.netlink().create_veth("eth0", &spec, "veth1", &switch_end)?;
    let index = host.netlink().link("eth0")?.index;
    host.netlink().add_address(index, v4.into(), 24)?;
    Ok(())
}

fn made_again() -> anyhow::Result<()> {
    let mut network = three()?;
    let mut client = network.client()?;
    client.ask(Operation::SetPort { port: "veth1".into(), settings: "tag=0".into() })?;
    client.add_flow("priority=5,in_port=1,dl_type=0x9999,actions=drop")?;
    ensure!(Ping::to(network.b().v4()).run(network.a().namespace())?.is_complete());
    let before = client.port_stats()?[0].rx_packets;
    let (first, others) = network.hosts.split_at_mut(1);
    undisturbed(&others[0], &others[1], || {
        let mut netlink = Netlink::open()?;
        let index = netlink.link("veth1")?.index;
        netlink.delete_link(index)?;
        eventually("the port waits", || is_waiting(&mut client, "veth1"))?;
        ensure!(client.fdb()?.iter().all(|host| host.port != 1), "its hosts are not forgotten");
        plug_in_again(&mut first[0])?;
        Ok(eventually("the port is up again", || is_up(&mut client, "veth1"))?)
    })?;
    let again = port(&mut client, "veth1")?;
    ensure!((again.port, again.settings.as_str()) == (1, "vlan_mode=access tag=0"), "{again:?}");
    ensure!(client.flows("in_port=1")?.len() == 1, "the rules have changed");
    ensure!(Ping::to(network.b().v4()).run(network.a().namespace())?.is_complete(), "no traffic");
    ensure!(client.port_stats()?[0].rx_packets > before, "its counters began anew");
    // Added, open, up, gone, down, open, up; and the line that lists all ports.
    let lines = network.daemon.log().lines().filter(|l| l.contains("(veth1)")).count();
    ensure!(lines <= 8, "the log repeats itself:\n{}", network.daemon.log());
    Ok(())
}

fn renamed() -> anyhow::Result<()> {
    let network = three()?;
    let mut client = network.client()?;
    let mut netlink = Netlink::open()?;
    let index = netlink.link("veth1")?.index;
    undisturbed(network.b(), &network.hosts[2], || {
        netlink.set_up(index, false)?;
        netlink.rename(index, "other")?;
        eventually("the port waits", || is_waiting(&mut client, "veth1"))?;
        ensure!(netlink.link("other")?.master.is_none(), "the device was not given back");
        netlink.rename(index, "veth1")?;
        Ok(eventually("the port is up again", || is_up(&mut client, "veth1"))?)
    })?;
    ensure!(Ping::to(network.b().v4()).run(network.a().namespace())?.is_complete());
    Ok(())
}

fn moved_away() -> anyhow::Result<()> {
    let network = three()?;
    let mut client = network.client()?;
    let (here, there) = (Namespace::current()?, Namespace::new()?);
    undisturbed(network.b(), &network.hosts[2], || {
        let mut netlink = Netlink::open()?;
        let index = netlink.link("veth1")?.index;
        netlink.move_to_netns(index, &there)?;
        eventually("the port waits", || is_waiting(&mut client, "veth1"))?;
        let mut netlink = there.run(Netlink::open)??;
        let index = netlink.link("veth1")?.index;
        netlink.move_to_netns(index, &here)?;
        Ok(eventually("the port is up again", || is_up(&mut client, "veth1"))?)
    })?;
    ensure!(Ping::to(network.b().v4()).run(network.a().namespace())?.is_complete());
    Ok(())
}

fn address_and_mtu() -> anyhow::Result<()> {
    let network = three()?;
    let mut client = network.client()?;
    let mut netlink = Netlink::open()?;
    let index = netlink.link("veth1")?.index;
    undisturbed(network.b(), &network.hosts[2], || {
        netlink.set_mac(index, [2, 0x11, 0x22, 0x33, 0x44, 0x55])?;
        netlink.set_mtu(index, 1400)?;
        Ok(eventually("the port shows both", || {
            port(&mut client, "veth1")
                .is_ok_and(|p| p.mac == "02:11:22:33:44:55" && p.mtu == Some(1400))
        })?)
    })
}

fn deleted_tap() -> anyhow::Result<()> {
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "tap:tap1"])?;
    let mut client = daemon.client()?;
    let mut netlink = Netlink::open()?;
    let old = netlink.link("tap1")?.index;
    netlink.delete_link(old)?;
    eventually("another device is there", || netlink.link("tap1").is_ok_and(|l| l.index != old))?;
    Ok(eventually("the port is up", || is_up(&mut client, "tap1"))?)
}

/// Events get lost, so that the daemon looks at all devices and makes the TAP device again before it reads the
/// events about the deleted one that were not lost.
fn old_news() -> anyhow::Result<()> {
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "tap:tap1"])?;
    let mut client = daemon.client()?;
    let mut netlink = Netlink::open()?;
    let old = netlink.link("tap1")?.index;
    eventually("the port is up", || is_up(&mut client, "tap1"))?;
    daemon.suspend()?;
    // The socket of the daemon has room for some hundred events.
    for _ in 0..1000 {
        netlink.set_up(old, false)?;
        netlink.set_up(old, true)?;
    }
    netlink.delete_link(old)?;
    daemon.signal(Signal::SIGCONT)?;
    eventually("another device is there", || netlink.link("tap1").is_ok_and(|l| l.index != old))?;
    eventually("the port is up", || is_up(&mut client, "tap1"))?;
    let log = daemon.log();
    ensure!(log.contains("its device is gone") && !log.contains("was replaced"), "{log}");
    Ok(())
}

fn set_down() -> anyhow::Result<()> {
    let network = three()?;
    let mut client = network.client()?;
    let mut netlink = Netlink::open()?;
    let down = |on| Operation::ModPort { port: "1".into(), flag: PortFlag::Down, on };
    client.ask(down(true))?;
    ensure!(!netlink.link("veth1")?.is_up, "the device is still up");
    eventually("the port is down", || {
        port(&mut client, "veth1").is_ok_and(|p| p.state == ["LINK_DOWN"])
    })?;
    client.ask(down(false))?;
    eventually("the port is up", || is_up(&mut client, "veth1"))?;
    ensure!(Ping::to(network.b().v4()).run(network.a().namespace())?.is_complete());
    Ok(())
}

fn vlans_change() -> anyhow::Result<()> {
    let network = three()?;
    let mut client = network.client()?;
    let mut set = |port: &str, settings: &str| {
        client.ask(Operation::SetPort { port: port.into(), settings: settings.into() })
    };
    set("veth1", "tag=10")?;
    let report = Ping::brief(network.b().v4()).run(network.a().namespace())?;
    ensure!(report.received() == 0, "VLANs are not apart");
    undisturbed(network.b(), &network.hosts[2], || {
        set("veth1", "")?;
        Ok(())
    })?;
    ensure!(Ping::to(network.b().v4()).run(network.a().namespace())?.is_complete());
    ensure!(set("veth1", "tag=4096").is_err());
    Ok(())
}

/// Both ends of one cable are ports. What goes round in the loop comes from hosts elsewhere, so only
/// hosts whose place is fixed can be found.
fn a_loop_does_not_take_everything() -> anyhow::Result<()> {
    let network = three()?;
    let mut client = network.client()?;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    Netlink::open()?.create_veth("loop1", &up, "loop2", &up)?;
    for end in ["loop1", "loop2"] {
        client.ask(Operation::AddPort { spec: format!("{end},storm=100") })?;
    }
    for (host, port) in network.hosts.iter().zip(["veth1", "veth2", "veth3"]) {
        let mac = host.mac().map(|byte| format!("{byte:02x}")).join(":");
        client.ask(Operation::FdbAdd { port: port.into(), vlan: 0, mac })?;
    }
    eventually("storm control bites", || {
        // A frame for everybody goes round in circles.
        let _ = Ping::brief([10, 0, 0, 77]).run(network.a().namespace());
        let Ok(control::Reply::Drops(drops)) = client.ask(Operation::Drops) else {
            return false;
        };
        drops.dropped.iter().any(|d| d.reason == "storm" && d.name.starts_with("loop"))
    })?;
    let report = Ping { count: 20, ..Ping::to(network.b().v4()) }.run(network.a().namespace())?;
    ensure!(report.is_complete(), "{report:?}");
    Ok(())
}

fn a_thousand_ports() -> anyhow::Result<()> {
    const PAIRS: usize = 500;
    let network = Network::pair()?;
    let mut client = network.client()?;
    // The ports to come are joined in pairs, and each pair would be a loop.
    client.del_flows("")?;
    client.add_flow("in_port=1,actions=2")?;
    client.add_flow("in_port=2,actions=1")?;
    let mut netlink = Netlink::open()?;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    let names: Vec<[String; 2]> =
        (0..PAIRS).map(|i| [format!("many{i}a"), format!("many{i}b")]).collect();
    for [a, b] in &names {
        netlink.create_veth(a, &up, b, &up)?;
    }
    undisturbed(network.a(), network.b(), || {
        let add = |name: &str| Operation::AddPort { spec: format!("{name},slots=16") };
        for_each(&network.daemon, names.as_flattened(), add)?;
        ensure!(client.ports()?.len() == 2 + 2 * PAIRS);
        let del = |name: &str| Operation::DelPort { port: name.to_owned() };
        for_each(&network.daemon, names.as_flattened(), del)?;
        ensure!(client.ports()?.len() == 2);
        Ok(())
    })?;
    ensure!(netlink.link("many0a")?.master.is_none(), "a device was not given back");
    Ok(())
}

/// Asks for an operation on each of many ports, a few at a time: most of each is waiting for the kernel.
fn for_each(
    daemon: &Daemon,
    names: &[String],
    operation: impl Fn(&str) -> Operation + Sync,
) -> anyhow::Result<()> {
    let operation = &operation;
    std::thread::scope(|scope| {
        let share = |names: &'_ [String]| {
            let mut client = daemon.client()?;
            for name in names {
                client.ask(operation(name))?;
            }
            anyhow::Ok(())
        };
        let shares: Vec<_> =
            names.chunks(50).map(|names| scope.spawn(move || share(names))).collect();
        shares.into_iter().try_for_each(|s| s.join().expect("no thread panics"))
    })
}

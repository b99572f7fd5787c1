//! TAP devices lead a life of their own: they move into the hosts that they are made for, and the port
//! stays at the other end.

use crate::fixture::{Cable, Network, SWITCHD};
use anyhow::{Context, ensure};
use control::record::{FdbRecord, PortRecord};
use control::{Client, Operation, Reply};
use lab::harness::{Test, Unsupported};
use lab::traffic::Ping;
use lab::{Daemon, FrameSocket, Namespace, Netlink, eventually, experimental_frame, has_taps};
use std::net::IpAddr;
use std::path::Path;

pub(crate) const TESTS: &[Test] = &[
    ("taps::nobody_else_has_the_address_of_the_switch_s_host", own_host),
    ("taps::devices_of_the_switch_keep_their_addresses", same_addresses),
    ("taps::a_device_is_followed_into_another_namespace", followed),
    ("taps::a_port_set_down_sets_its_device_down_wherever_it_is", set_down),
    ("taps::a_device_that_comes_back_is_still_the_port", comes_back),
    ("taps::a_device_that_ends_with_its_namespace_is_made_again", ends_with_its_namespace),
    ("taps::a_device_that_is_renamed_is_made_again", renamed),
];

fn pair() -> anyhow::Result<Network> {
    Network::new(&[Cable::Veth, Cable::Tap])
}

fn tap(client: &mut Client) -> anyhow::Result<PortRecord> {
    client.ports()?.into_iter().find(|p| p.name == "tap2").context("there is no port tap2")
}

/// Waits until the port is as it should be.
fn becomes(
    client: &mut Client,
    what: &str,
    is_so: impl Fn(&PortRecord) -> bool,
) -> anyhow::Result<()> {
    Ok(eventually(what, || tap(client).is_ok_and(|port| is_so(&port)))?)
}

fn followed() -> anyhow::Result<()> {
    let mut network = pair()?;
    let mut client = network.client()?;
    let netlink = network.hosts[1].netlink();
    let index = netlink.link("tap2")?.index;
    netlink.set_mtu(index, 1400)?;
    becomes(&mut client, "the MTU is known", |port| port.mtu == Some(1400))?;
    netlink.set_mac(index, [2, 0, 0, 0, 0, 0x22])?;
    becomes(&mut client, "the address is known", |port| port.mac == "02:00:00:00:00:22")?;
    netlink.set_up(index, false)?;
    becomes(&mut client, "the link is down", |port| port.state == ["LINK_DOWN"])?;
    netlink.set_up(index, true)?;
    becomes(&mut client, "the link is up", |port| port.state.is_empty())?;
    ensure!(Ping::to(network.b().v4()).run(network.a().namespace())?.is_complete());
    Ok(())
}

fn set_down() -> anyhow::Result<()> {
    let mut network = pair()?;
    let mut client = network.client()?;
    for on in [true, false] {
        let port = "tap2".to_owned();
        client.ask(control::Operation::ModPort { port, flag: control::PortFlag::Down, on })?;
        ensure!(network.hosts[1].netlink().link("tap2")?.is_up != on, "the device did not follow");
    }
    becomes(&mut client, "the link is up", |port| port.state.is_empty())
}

fn comes_back() -> anyhow::Result<()> {
    let mut network = pair()?;
    let mut client = network.client()?;
    let here = Namespace::current()?;
    let host = network.hosts[1].netlink();
    let index = host.link("tap2")?.index;
    host.move_to_netns(index, &here)?;
    let mut netlink = Netlink::open()?;
    let index = netlink.link("tap2")?.index;
    netlink.set_mtu(index, 1300)?;
    becomes(&mut client, "it is followed here", |port| port.mtu == Some(1300))?;
    netlink.delete_link(index)?;
    becomes(&mut client, "another one is made", |port| {
        port.mtu == Some(1500) && port.state.is_empty()
    })?;
    ensure!(netlink.link("tap2")?.index != index);
    Ok(())
}

fn ends_with_its_namespace() -> anyhow::Result<()> {
    let mut network = pair()?;
    let mut netlink = Netlink::open()?;
    ensure!(netlink.find_link("tap2")?.is_none(), "it is with its host");
    drop(network.hosts.pop());
    eventually("it is here again", || netlink.find_link("tap2").is_ok_and(|l| l.is_some()))
        .with_context(|| network.daemon.log())?;
    becomes(&mut network.client()?, "the port is up", |port| port.state.is_empty())
}

fn renamed() -> anyhow::Result<()> {
    if !has_taps() {
        return Err(Unsupported::lacking(
            "TAP devices for this user (/dev/net/tun cannot be opened)",
        ));
    }
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "internal:tap2"])?;
    let mut netlink = Netlink::open()?;
    let old = netlink.link("tap2")?.index;
    netlink.set_up(old, false)?;
    netlink.rename(old, "other")?;
    eventually("another one is made", || netlink.link("tap2").is_ok_and(|l| l.index != old))
        .with_context(|| daemon.log())?;
    ensure!(netlink.find_link("other")?.is_none(), "the old one stays behind");
    becomes(&mut daemon.client()?, "the port is up", |port| port.state.is_empty())
}

fn same_addresses() -> anyhow::Result<()> {
    if !has_taps() {
        return Err(Unsupported::lacking(
            "TAP devices for this user (/dev/net/tun cannot be opened)",
        ));
    }
    let mut netlink = Netlink::open()?;
    let mut start = |arguments: &[&str]| {
        let daemon = Daemon::start(Path::new(SWITCHD), arguments)?;
        let macs = ["br0", "tap1"].map(|name| netlink.link(name).map(|link| link.mac));
        let (status, said) = daemon.stop()?;
        ensure!(status.success(), "{status}: {said}");
        let [br0, tap1] = macs;
        anyhow::Ok((br0?, tap1?))
    };
    let before = start(&["--port", "internal:br0", "--port", "tap:tap1"])?;
    ensure!(before.0 != before.1, "{before:?}");
    let after = start(&["--port", "internal:br0", "--port", "tap:tap1"])?;
    ensure!(after == before, "{before:?} became {after:?}");
    let given = start(&["--port", "internal:br0", "--port", "tap:tap1,mac=02:00:00:00:00:77"])?;
    ensure!(given == (before.0, [2, 0, 0, 0, 0, 0x77]), "{given:?}");
    let elsewhere = start(&["--bridge", "x", "--port", "internal:br0", "--port", "tap:tap1"])?;
    ensure!(elsewhere.0 != before.0 && elsewhere.1 != before.1, "{elsewhere:?}");
    Ok(())
}

/// A container that sends frames with the address of the host's own port gets none of the frames for the host.
fn own_host() -> anyhow::Result<()> {
    if !has_taps() {
        return Err(Unsupported::lacking(
            "TAP devices for this user (/dev/net/tun cannot be opened)",
        ));
    }
    let mut network =
        Network::with(&[Cable::Veth, Cable::Veth], None, &["--port", "internal:br0"])?;
    let mut client = network.client()?;
    let mut netlink = Netlink::open()?;
    let own = netlink.link("br0")?;
    let address = IpAddr::from([10, 0, 0, 9]);
    netlink.add_address(own.index, address, 24)?;
    let listed = |client: &mut Client, mac: [u8; 6]| {
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        let is_it = |host: &FdbRecord| host.mac == mac && host.age.is_none() && host.name == "br0";
        client.fdb().is_ok_and(|hosts| hosts.iter().any(is_it))
    };
    ensure!(listed(&mut client, own.mac), "it is not a static host: {:?}", client.fdb());
    let sender = {
        let thief = network.a();
        thief.run(|| FrameSocket::open_to_send(thief.interface()))??
    };
    let next = [2, 0, 0, 0, 0, 0x55];
    for mac in [own.mac, next] {
        // What is cached for an address does not stay when the host takes it.
        sender.send(&experimental_frame([0xff; 6], next, &[0; 60]))?;
        netlink.set_mac(own.index, mac)?;
        eventually("the address is a static host", || listed(&mut client, mac))?;
        let before = own_address_drops(&mut client)?;
        eventually("frames of the thief are dropped", || {
            let _ = sender.send(&experimental_frame([0xff; 6], mac, &[0; 60]));
            own_address_drops(&mut client).is_ok_and(|drops| drops >= before + 10)
        })?;
        network.hosts[1].add_neighbour(address, mac)?;
        let report = Ping::to(address).run(network.b().namespace())?;
        ensure!(report.is_complete(), "{report:?}: {}", network.daemon.log());
    }
    Ok(())
}

fn own_address_drops(client: &mut Client) -> anyhow::Result<u64> {
    let Reply::Drops(drops) = client.ask(Operation::Drops)? else {
        anyhow::bail!("not a list of drops");
    };
    let own = drops.dropped.iter().filter(|d| d.reason == "own_address" && d.name == "veth1");
    Ok(own.map(|d| d.n_packets).sum())
}

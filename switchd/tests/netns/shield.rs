//! What somebody does to the shield of ports is put right, and passes no frame meanwhile.

use crate::fixture::{Cable, Network, SWITCHD};
use crate::life::{is_up, port};
use anyhow::{Context, ensure};
use lab::harness::{Test, Unsupported};
use lab::traffic::Ping;
use lab::{Daemon, Host, HostPlan, LinkSpec, Netlink, eventually};
use nix::sys::signal::Signal;
use ports::shield::BRIDGE;
use std::net::IpAddr;
use std::path::Path;

pub(crate) const TESTS: &[Test] = &[
    ("shield::whatever_is_done_to_it_is_put_right", put_right),
    ("shield::a_deleted_one_is_made_again_for_many_ports", deleted),
    ("shield::no_frame_passes_beside_the_switch_meanwhile", nothing_passes_meanwhile),
    ("shield::ports_are_exposed_while_it_cannot_be_put_right", exposed_meanwhile),
    ("shield::devices_left_by_a_killed_switch_are_freed", left_behind),
];

/// The shield is down, has the ports' devices and no others, and no address.
fn is_in_order(netlink: &mut Netlink, devices: &[&str]) -> bool {
    let Ok(Some(bridge)) = netlink.find_link(BRIDGE) else { return false };
    let links = netlink.links().unwrap_or_default();
    let inside = links.iter().filter(|l| l.master == Some(bridge.index));
    let mut inside: Vec<&str> = inside.map(|l| l.name.as_str()).collect();
    inside.sort_unstable();
    let has_no_address = netlink.addresses(bridge.index).is_ok_and(|found| found.is_empty());
    !bridge.is_up && bridge.master.is_none() && inside == devices && has_no_address
}

fn put_right() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let mut netlink = Netlink::open()?;
    let devices = ["veth1", "veth2"];
    ensure!(is_in_order(&mut netlink, &devices), "there is no shield");
    let down = LinkSpec::default();
    netlink.create_veth("foreign", &down, "far", &down)?;
    let foreign = netlink.link("foreign")?.index;
    type Deed = fn(&mut Netlink, bridge: u32, foreign: u32) -> anyhow::Result<()>;
    let deeds: [(&str, &str, Deed); 5] =
        [
            ("set up", "was set up", |netlink, bridge, _| Ok(netlink.set_up(bridge, true)?)),
            ("rename", "was renamed \"mine\"", |netlink, bridge, _| {
                Ok(netlink.rename(bridge, "mine")?)
            }),
            ("give an address", "was given the address 10.9.9.9/24", |netlink, bridge, _| {
                Ok(netlink.add_address(bridge, IpAddr::from([10, 9, 9, 9]), 24)?)
            }),
            ("put a device into it", "\"foreign\" is in", |netlink, bridge, foreign| {
                Ok(netlink.set_master(foreign, Some(bridge))?)
            }),
            ("take a port out", "\"veth1\" was taken out of", |netlink, _, _| {
                let port = netlink.link("veth1")?.index;
                Ok(netlink.set_master(port, None)?)
            }),
        ];
    for (name, said, deed) in deeds {
        let bridge = netlink.link(BRIDGE)?.index;
        deed(&mut netlink, bridge, foreign).context(name)?;
        eventually(&format!("{name}: put right"), || is_in_order(&mut netlink, &devices))
            .with_context(|| network.daemon.log())?;
        eventually(&format!("{name}: logged"), || network.daemon.log().contains(said))
            .with_context(|| network.daemon.log())?;
    }
    ensure!(Ping::to(network.b().v4()).run(network.a().namespace())?.is_complete());
    Ok(())
}

fn deleted() -> anyhow::Result<()> {
    let network = Network::new(&[Cable::Veth; 6])?;
    let mut client = network.client()?;
    let mut netlink = Netlink::open()?;
    let devices = ["veth1", "veth2", "veth3", "veth4", "veth5", "veth6"];
    for _ in 0..3 {
        let bridge = netlink.link(BRIDGE)?.index;
        netlink.delete_link(bridge)?;
        eventually("the shield is there again", || is_in_order(&mut netlink, &devices))
            .with_context(|| network.daemon.log())?;
    }
    eventually("the log says so", || network.daemon.log().contains("was deleted: made again"))
        .with_context(|| network.daemon.log())?;
    for device in devices {
        ensure!(is_up(&mut client, device), "{device}: {}", network.daemon.log());
        let shield = port(&mut client, device)?.host_stack;
        ensure!(shield.as_deref() == Some("shielded"), "{device}: {shield:?}");
    }
    ensure!(Ping::to(network.b().v4()).run(network.a().namespace())?.is_complete());
    let (status, said) = network.daemon.stop()?;
    ensure!(status.success() && netlink.find_link(BRIDGE)?.is_none(), "{status}: {said}");
    Ok(())
}

/// The daemon is stopped, so that it can put nothing right.
fn nothing_passes_meanwhile() -> anyhow::Result<()> {
    let own = IpAddr::from([10, 0, 0, 99]);
    let mut netlink = Netlink::open()?;
    let lo = netlink.link("lo")?.index;
    netlink.add_address(lo, own, 32)?;
    let network = Network::pair()?;
    // A way back for answers of the host itself.
    let device = netlink.link("veth1")?.index;
    netlink.add_route(network.a().v4().into(), 32, None, Some(device))?;
    let passes =
        |to: IpAddr| anyhow::Ok(Ping::brief(to).run(network.a().namespace())?.received() > 0);
    network.daemon.suspend()?;
    let bridge = netlink.link(BRIDGE)?.index;
    netlink.set_up(bridge, true)?;
    ensure!(!passes(network.b().v4().into())?, "the shield bridges ports");
    ensure!(!passes(own)?, "the host answers through the shield");
    netlink.delete_link(bridge)?;
    if passes(own)? {
        // Only the shield's second lock can hold now.
        return Err(Unsupported::lacking("nftables with tables that have owners"));
    }
    network.daemon.signal(Signal::SIGCONT)?;
    eventually("the shield is there again", || is_in_order(&mut netlink, &["veth1", "veth2"]))
        .with_context(|| network.daemon.log())?;
    // What the hosts asked meanwhile waits in the rings, and is answered first.
    eventually("the switch forwards", || passes(network.b().v4().into()).unwrap_or(false))
        .with_context(|| network.daemon.log())
}

fn exposed_meanwhile() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let mut client = network.client()?;
    let mut netlink = Netlink::open()?;
    let mut shield = |device: &str| port(&mut client, device).ok().and_then(|port| port.host_stack);
    ensure!(shield("veth1").as_deref() == Some("shielded"), "{:?}", shield("veth1"));
    network.daemon.suspend()?;
    let bridge = netlink.link(BRIDGE)?.index;
    netlink.delete_link(bridge)?;
    let down = LinkSpec::default();
    netlink.create_veth(BRIDGE, &down, "far", &down)?;
    network.daemon.signal(Signal::SIGCONT)?;
    eventually("the ports are exposed", || shield("veth1").as_deref() == Some("exposed"))
        .with_context(|| network.daemon.log())?;
    eventually("the log says why", || network.daemon.log().contains("a device of another kind"))
        .with_context(|| network.daemon.log())?;
    let impostor = netlink.link(BRIDGE)?.index;
    netlink.delete_link(impostor)?;
    eventually("the ports are shielded again", || {
        ["veth1", "veth2"].iter().all(|device| shield(device).as_deref() == Some("shielded"))
    })
    .with_context(|| network.daemon.log())?;
    ensure!(is_in_order(&mut netlink, &["veth1", "veth2"]), "{}", network.daemon.log());
    Ok(())
}

fn left_behind() -> anyhow::Result<()> {
    let _hosts = (1..=4)
        .map(|n| Host::on_veth(HostPlan::number(n), &format!("veth{n}")))
        .collect::<Result<Vec<_>, _>>()?;
    let mut netlink = Netlink::open()?;
    let start = |arguments: &[&str]| Daemon::start(Path::new(SWITCHD), arguments);
    let killed = start(&["--port", "veth1", "--port", "veth2", "--port", "veth3"])?;
    killed.crash()?;
    ensure!(is_in_order(&mut netlink, &["veth1", "veth2", "veth3"]), "nothing is left");
    let daemon = start(&["--port", "veth1", "--port", "veth2,shield=off"])?;
    eventually("the devices of no port are free", || is_in_order(&mut netlink, &["veth1"]))
        .with_context(|| daemon.log())?;
    let said = "\"veth3\" freed from";
    eventually("the log says so", || daemon.log().contains(said)).with_context(|| daemon.log())?;
    let other = start(&["--port", "veth4"])?;
    ensure!(is_in_order(&mut netlink, &["veth1", "veth4"]), "two switches share the shield");
    ensure!(!other.log().contains("\"veth1\""), "it is another switch's: {}", other.log());
    Ok(())
}

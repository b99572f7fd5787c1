//! Devices with and without each offload of `ethtool -K`, which changes while the switch
//! runs: TCP passes at speed.

use crate::fixture::{Cable, Network, SWITCHD, port_name};
use anyhow::{Context, ensure};
use control::record::{DropRecord, PortRecord};
use control::{Client, Operation, Reply};
use lab::harness::{Test, unsupported_if_missing};
use lab::traffic::TcpTransfer;
use lab::{
    Daemon, Feature, Host, HostPlan, InterfaceVlan, LabError, LinkSpec, Netlink, eventually,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("offloads::every_combination_at_the_switchs_end_of_a_veth_carries_tcp", || {
        let mut network = Network::pair()?;
        let mut netlink = Netlink::open()?;
        every_combination(&mut network, |_, offloads| netlink.set_offloads("veth2", offloads))
    }),
    ("offloads::every_combination_at_the_hosts_end_of_a_veth_carries_tcp", || {
        at_the_host(&mut Network::pair()?)
    }),
    ("offloads::every_combination_at_a_tap_carries_tcp", || {
        at_the_host(&mut Network::new(&[Cable::Veth, Cable::Tap])?)
    }),
    ("offloads::every_combination_under_a_macvlan_device_carries_tcp", under_a_macvlan_device),
    ("offloads::every_combination_under_a_vlan_device_carries_tcp", under_a_vlan_device),
];

/// Bytes of a transfer. If the switch drops each large frame, they take 20 seconds.
const BYTES: u64 = 500_000;
/// The longest time that a transfer may take on a busy machine; it takes some milliseconds.
const LONGEST: Duration = Duration::from_secs(10);

fn at_the_host(network: &mut Network) -> anyhow::Result<()> {
    every_combination(network, |network, offloads| {
        let host = &mut network.hosts[1];
        let interface = host.interface().to_owned();
        host.netlink().set_offloads(&interface, offloads)
    })
}

/// Carries TCP between the hosts of a network with each combination of offloads that `set` gives a device.
fn every_combination(
    network: &mut Network,
    mut set: impl FnMut(&mut Network, &[(Feature, bool)]) -> Result<(), LabError>,
) -> anyhow::Result<()> {
    let mut client = network.client()?;
    let before = failed_outputs(&mut client)?;
    for offloads in combinations() {
        set(network, &offloads)?;
        let (a, b) = (network.a(), network.b());
        let (a_ip, b_ip) = ([a.v4().into(), a.v6().into()], [b.v4().into(), b.v6().into()]);
        both_ways((a, a_ip), (b, b_ip)).with_context(|| format!("{offloads:?}"))?;
    }
    only_full_queues_dropped(&mut client, &before)
}

/// As [`every_combination`], for a port whose device `device` lies on top of the device `veth2`.
fn under(
    device: &str,
    (a, a_ip): (&Host, [IpAddr; 2]),
    (b, b_ip): (&Host, [IpAddr; 2]),
) -> anyhow::Result<()> {
    let mut netlink = Netlink::open()?;
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "veth1", "--port", device])?;
    let mut client = daemon.client().with_context(|| daemon.log())?;
    eventually("both ports are up", || {
        let is_up = |port: &PortRecord| port.state.is_empty();
        client.ports().is_ok_and(|ports| ports.len() == 2 && ports.iter().all(is_up))
    })?;
    let before = failed_outputs(&mut client)?;
    for offloads in combinations() {
        netlink.set_offloads("veth2", &offloads)?;
        both_ways((a, a_ip), (b, b_ip)).with_context(|| format!("{offloads:?}"))?;
    }
    only_full_queues_dropped(&mut client, &before)
}

/// Each combination, from all off to all on.
fn combinations() -> impl Iterator<Item = Vec<(Feature, bool)>> {
    (0..1 << Feature::ALL.len()).map(|bits: u32| {
        let features = Feature::ALL.iter().enumerate();
        features.map(|(bit, feature)| (*feature, bits >> bit & 1 == 1)).collect()
    })
}

/// Carries TCP between two hosts with these addresses.
fn both_ways(a: (&Host, [IpAddr; 2]), b: (&Host, [IpAddr; 2])) -> anyhow::Result<()> {
    for ((from, _), (to, addresses)) in [(a, b), (b, a)] {
        for address in addresses {
            let server = SocketAddr::new(address, 5001);
            let done = TcpTransfer::to(server, BYTES).run(from.namespace(), to.namespace())?;
            ensure!(done.elapsed < LONGEST, "{BYTES} bytes to {address} took {:?}", done.elapsed);
        }
    }
    Ok(())
}

fn failed_outputs(client: &mut Client) -> anyhow::Result<Vec<DropRecord>> {
    let Reply::Drops(drops) = client.ask(Operation::Drops)? else { anyhow::bail!("no drops") };
    Ok(drops.failed_outputs)
}

/// A queue may be full for a moment, and TCP makes up for that. Everything else is a large frame that the
/// switch should have segmented.
fn only_full_queues_dropped(client: &mut Client, before: &[DropRecord]) -> anyhow::Result<()> {
    let sent: u64 = client.port_stats()?.iter().map(|port| port.tx_packets).sum();
    for failed in failed_outputs(client)? {
        let is_new = !before.contains(&failed);
        let is_rare = failed.reason == "tx_queue_full" && failed.n_packets < sent / 20;
        ensure!(!is_new || is_rare, "{failed:?} of {sent}");
    }
    Ok(())
}

fn pair() -> anyhow::Result<(Host, Host)> {
    let host = |i| Host::on_veth(HostPlan::number(i as u8 + 1), &port_name(i));
    Ok((host(0)?, host(1)?))
}

fn under_a_macvlan_device() -> anyhow::Result<()> {
    let (a, b) = pair()?;
    let mut netlink = Netlink::open()?;
    let veth2 = netlink.link("veth2")?.index;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    unsupported_if_missing(netlink.create_macvlan("mac2", &up, veth2), "macvlan devices")?;
    let addresses = |host: &Host| [host.v4().into(), host.v6().into()];
    under("mac2", (&a, addresses(&a)), (&b, addresses(&b)))
}

fn under_a_vlan_device() -> anyhow::Result<()> {
    const TAG: InterfaceVlan = InterfaceVlan { tpid: 0x8100, vid: 7 };
    let (mut a, mut b) = pair()?;
    let mut netlink = Netlink::open()?;
    let veth2 = netlink.link("veth2")?.index;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    let made = netlink.create_vlan("veth2.7", &up, veth2, TAG.tpid, TAG.vid);
    unsupported_if_missing(made, "VLAN devices")?;
    // Other networks than those of the devices without a tag.
    let inner = |n: u8| {
        let v6 = Ipv6Addr::new(0xfd07, 0, 0, 0, 0, 0, 0, n.into());
        [IpAddr::from(Ipv4Addr::new(10, 7, 0, n)), v6.into()]
    };
    let [v4, v6] = inner(2);
    b.add_vlan(TAG, v4, 24)?;
    let vlan7 = b.netlink().link("vlan7")?.index;
    b.netlink().add_address(vlan7, v6, 64)?;
    let eth0 = a.netlink().link("eth0")?.index;
    for (address, prefix) in inner(1).into_iter().zip([24, 64]) {
        a.netlink().add_address(eth0, address, prefix)?;
    }
    under("veth2.7", (&a, inner(1)), (&b, inner(2)))
}

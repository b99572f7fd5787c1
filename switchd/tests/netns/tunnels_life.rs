//! What happens to tunnels while they are in use: the peer, the route, the path and the UDP port change.

use crate::tunnels::{
    REASONS, Site, TRANSFER, all_traffic, joined_sites, two_sites, uses_kernel_cache,
};
use anyhow::{Context, ensure};
use control::FlowCommand;
use control::record::TunnelRecord;
use lab::harness::{Test, unsupported_if_missing};
use lab::traffic::{NumberedStream, Ping, TcpTransfer, UdpExchange};
use lab::{LinkSpec, Namespace, Netlink, RouteChoice, Vxlan, eventually};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("tunnels_life::the_peer_goes_and_comes_back", peer_comes_back),
    ("tunnels_life::frames_follow_the_route", route_changes),
    ("tunnels_life::a_router_tells_of_a_smaller_mtu", router_tells),
    ("tunnels_life::the_mtu_of_the_device_changes", device_mtu_changes),
    ("tunnels_life::the_host_gets_another_address", another_address),
    ("tunnels_life::the_mark_chooses_the_way", marked_way),
    ("tunnels_life::the_udp_port_chooses_the_way", way_of_udp_port),
    ("tunnels_life::a_kernel_vxlan_device_has_the_udp_port", kernel_has_the_port),
    ("tunnels_life::bursts_of_small_frames_are_accounted_for", bursts),
];

/// The MTU of hosts whose frames fit into every tunnel of these tests.
const ROOM: u32 = 1450;

/// Starts a tunnel of VXLAN between the first addresses of both machines.
fn start(a: &mut Site, b: &mut Site) -> anyhow::Result<()> {
    a.start(&["--port", "vxlan:t,remote_ip=192.0.2.2,key=7"])?;
    b.start(&["--port", "vxlan:t,remote_ip=192.0.2.1,key=7"])
}

/// Waits until one host reaches the other one.
fn wait_until_reached(a: &Site, b: &Site) -> anyhow::Result<()> {
    let ping = Ping::brief(b.host.v4());
    eventually("the hosts reach each other", || {
        ping.run(a.host.namespace()).is_ok_and(|report| report.is_complete())
    })
    .with_context(|| a.daemon().map(|daemon| daemon.log()).unwrap_or_default())
}

/// What the machine's switch tells of its last port, which is a tunnel.
fn tunnel(site: &Site) -> anyhow::Result<TunnelRecord> {
    let ports = site.daemon()?.client()?.ports()?;
    ports.into_iter().next_back().and_then(|port| port.tunnel).context("a tunnel")
}

/// Without a switch, the peer's kernel answers that nobody has the UDP port, which concerns nobody.
fn peer_comes_back() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(Some(ROOM))?;
    start(&mut a, &mut b)?;
    all_traffic(&a.host, &b.host)?;
    b.daemon.take().context("it was started")?.crash()?;
    let ping = Ping { count: 3, ..Ping::brief(b.host.v4()) };
    let report = ping.run(a.host.namespace())?;
    ensure!(report.received() == 0, "{report:?}");
    b.start(&["--port", "vxlan:t,remote_ip=192.0.2.1,key=7"])?;
    wait_until_reached(&a, &b)?;
    all_traffic(&a.host, &b.host)?;
    a.is_conserved(&REASONS)?;
    b.is_conserved(&REASONS)
}

/// Two cables join the machines. The tunnel is between addresses that neither cable has; when one cable goes,
/// the route of last resort is through the other one.
fn route_changes() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(Some(ROOM))?;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    let far = LinkSpec { netns: Some(&b.underlay), ..up.clone() };
    a.underlay.run(|| Netlink::open()?.create_veth("other", &up, "other", &far))??;
    for (site, number) in [(&a, 1), (&b, 2)] {
        let other = 3 - number;
        site.underlay.run(|| -> anyhow::Result<()> {
            let mut netlink = Netlink::open()?;
            let [lo, spare] = ["lo", "other"].map(|name| netlink.link(name).map(|link| link.index));
            netlink.add_address(lo?, IpAddr::from([198, 51, 100, number]), 32)?;
            netlink.add_address(spare?, IpAddr::from([203, 0, 113, number]), 24)?;
            let gateway = |network: [u8; 3]| {
                let [a, b, c] = network;
                Some(IpAddr::from([a, b, c, other]))
            };
            let remote = IpAddr::from([198, 51, 100, other]);
            netlink.add_route(remote, 32, gateway([192, 0, 2]), None)?;
            let network = IpAddr::from([198, 51, 100, 0]);
            Ok(netlink.add_route(network, 24, gateway([203, 0, 113]), None)?)
        })??;
    }
    for (site, number) in [(&mut a, 1), (&mut b, 2)] {
        let other = 3 - number;
        let ends = format!("local_ip=198.51.100.{number},remote_ip=198.51.100.{other}");
        site.start(&["--port", &format!("vxlan:t,{ends},key=7")])?;
    }
    all_traffic(&a.host, &b.host)?;
    // The kernel keeps routes through a device that is up, even if the other end of its cable is down.
    for site in [&a, &b] {
        site.underlay.run(|| -> anyhow::Result<()> {
            let mut netlink = Netlink::open()?;
            let index = netlink.link("under")?.index;
            Ok(netlink.set_up(index, false)?)
        })??;
    }
    wait_until_reached(&a, &b)?;
    all_traffic(&a.host, &b.host)?;
    // Frames that were sent while the route changed may have found none.
    a.is_conserved(&[&REASONS[..], &["tunnel_no_route"]].concat())
}

/// A router is between the machines, and its device to the second one gets a smaller MTU.
fn router_tells() -> anyhow::Result<()> {
    let (mut a, mut b) = (Site::new(1, None)?, Site::new(2, None)?);
    let router = Namespace::new()?;
    router.set_sysctl("net/ipv4/ip_forward", "1")?;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    for (site, number) in [(&a, 1), (&b, 2)] {
        let far = LinkSpec { netns: Some(&site.underlay), ..up.clone() };
        let near = format!("to{number}");
        router.run(|| -> anyhow::Result<()> {
            let mut netlink = Netlink::open()?;
            netlink.create_veth(&near, &up, "under", &far)?;
            let index = netlink.link(&near)?.index;
            Ok(netlink.add_address(index, IpAddr::from([192, 0, number, 254]), 24)?)
        })??;
        site.underlay.run(|| -> anyhow::Result<()> {
            let mut netlink = Netlink::open()?;
            let index = netlink.link("under")?.index;
            netlink.add_address(index, IpAddr::from([192, 0, number, 1]), 24)?;
            let gateway = IpAddr::from([192, 0, number, 254]);
            Ok(netlink.add_route(IpAddr::from([0; 4]), 0, Some(gateway), None)?)
        })??;
    }
    a.start(&["--port", "vxlan:t,remote_ip=192.0.2.1,key=7"])?;
    b.start(&["--port", "vxlan:t,remote_ip=192.0.1.1,key=7"])?;
    let there = TcpTransfer::to(SocketAddr::new(b.host.v4().into(), 5001), TRANSFER);
    there.run(a.host.namespace(), b.host.namespace())?;
    ensure!(tunnel(&a)?.path_mtu == Some(1500), "{}", tunnel(&a)?);
    // The other end of the cable keeps its MTU: the second machine may send what the router does not.
    router.run(|| set_mtu("to2", 1300))??;
    b.underlay.run(|| set_mtu("under", 1300))??;
    there.run(a.host.namespace(), b.host.namespace())?;
    let back = TcpTransfer::to(SocketAddr::new(a.host.v4().into(), 5001), TRANSFER);
    back.run(b.host.namespace(), a.host.namespace())?;
    eventually("the switch has learned the MTU of the path", || {
        tunnel(&a).is_ok_and(|tunnel| tunnel.path_mtu == Some(1300))
    })?;
    a.is_conserved(&[&REASONS[..], &["exceeds_path_mtu"]].concat())
}

/// The host loses the address that the tunnel was sent from first, and gets another one. TCP is
/// cut to fit as before.
fn another_address() -> anyhow::Result<()> {
    for is_v6 in [false, true] {
        let (mut a, mut b) = two_sites(None)?;
        let address = |last: u8| match is_v6 {
            false => IpAddr::from([192, 0, 2, last]),
            true => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()]),
        };
        let size = if is_v6 { 64 } else { 24 };
        a.start(&["--port", &format!("vxlan:t,remote_ip={},key=7", address(2))])?;
        b.start(&["--port", "vxlan:t,remote_ip=flow,key=7"])?;
        let set_remote = |last: u8| -> anyhow::Result<()> {
            let mut client = b.daemon()?.client()?;
            let field = if is_v6 { "tun_ipv6_dst" } else { "tun_dst" };
            let remote = address(last);
            client.change_flows(FlowCommand::Delete, "")?;
            client.change_flows(FlowCommand::Add, "in_port=t,actions=output:host")?;
            let out = format!("in_port=host,actions=set_field:{remote}->{field},output:t");
            Ok(client.change_flows(FlowCommand::Add, &out).map(|_| ())?)
        };
        set_remote(1)?;
        wait_until_reached(&a, &b)?;
        a.underlay.run(|| -> anyhow::Result<()> {
            let mut netlink = Netlink::open()?;
            let index = netlink.link("under")?.index;
            netlink.add_address(index, address(11), size)?;
            netlink.remove_address(index, address(1), size)?;
            // The second address of an IPv4 network goes with the first one.
            let _ = netlink.add_address(index, address(11), size);
            Ok(())
        })??;
        set_remote(11)?;
        wait_until_reached(&a, &b)?;
        // What was known of the way is a second old by now.
        std::thread::sleep(Duration::from_millis(1100));
        let transfer = TcpTransfer::to(SocketAddr::new(b.host.v4().into(), 5001), TRANSFER);
        transfer.run(a.host.namespace(), b.host.namespace())?;
        ensure!(tunnel(&a)?.path_mtu == Some(1500), "{}", tunnel(&a)?);
    }
    Ok(())
}

/// Packets with a mark go another way than those without one, and that way has a smaller MTU.
fn marked_way() -> anyhow::Result<()> {
    chosen_way(RouteChoice::Mark(5), ",egress_pkt_mark=5")
}

/// Two ways lead to the other machine. The datagrams of a tunnel with these options take the narrow one.
fn chosen_way(choice: RouteChoice, options: &str) -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(None)?;
    let narrow = LinkSpec { up: true, mtu: Some(1300), ..LinkSpec::default() };
    let far = LinkSpec { netns: Some(&b.underlay), ..narrow.clone() };
    a.underlay.run(|| Netlink::open()?.create_veth("other", &narrow, "other", &far))??;
    for (site, number) in [(&a, 1), (&b, 2)] {
        site.underlay.run(|| -> anyhow::Result<()> {
            let mut netlink = Netlink::open()?;
            let index = netlink.link("other")?.index;
            Ok(netlink.add_address(index, IpAddr::from([203, 0, 113, number]), 24)?)
        })??;
    }
    let (remote, gateway) = (IpAddr::from([192, 0, 2, 2]), IpAddr::from([203, 0, 113, 2]));
    a.underlay.run(|| Netlink::open()?.add_chosen_route(choice, remote, gateway))??;
    a.start(&["--port", &format!("vxlan:t,remote_ip=192.0.2.2,key=7{options}")])?;
    b.start(&["--port", "vxlan:t,remote_ip=203.0.113.1,local_ip=192.0.2.2,key=7"])?;
    wait_until_reached(&a, &b)?;
    let transfer = TcpTransfer::to(SocketAddr::new(b.host.v4().into(), 5001), TRANSFER);
    transfer.run(a.host.namespace(), b.host.namespace())?;
    ensure!(tunnel(&a)?.path_mtu == Some(1300), "{}", tunnel(&a)?);
    a.is_conserved(&[&REASONS[..], &["exceeds_path_mtu"]].concat())
}

/// A routing rule for the UDP port of the tunnel: the narrow way is known as that of the tunnel, and taken.
fn way_of_udp_port() -> anyhow::Result<()> {
    chosen_way(RouteChoice::UdpPort(4789), "")
}

/// Sets the MTU of a device of the calling thread's namespace.
fn set_mtu(device: &str, mtu: u32) -> anyhow::Result<()> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link(device)?.index;
    Ok(netlink.set_mtu(index, mtu)?)
}

/// The hosts' packets fit, then do not, then fit again. Each time their senders know before long.
fn device_mtu_changes() -> anyhow::Result<()> {
    let (mut a, mut b) = joined_sites(None, Some(1600))?;
    for (site, number) in [(&a, 1), (&b, 2)] {
        crate::tunnels::give_addresses(&site.underlay, "under", number)?;
    }
    start(&mut a, &mut b)?;
    let address = IpAddr::from(b.host.v4());
    for mtu in [1600, 1400, 1600] {
        for site in [&a, &b] {
            site.underlay.run(|| set_mtu("under", mtu))??;
        }
        // Full packets with "don't fragment", both ways; a sender that was told sends fragments. The switch
        // asks for the way when it sends, and once a second.
        let exchange = UdpExchange::to(SocketAddr::new(address, 5001), &[1472]);
        let exchange = UdpExchange { patience: Duration::from_millis(500), ..exchange };
        eventually("full packets are answered, and the switch shows the MTU of the way", || {
            let report = exchange.run(a.host.namespace(), b.host.namespace());
            let shown = tunnel(&a).ok().and_then(|tunnel| tunnel.path_mtu);
            report.is_ok_and(|report| report.is_complete()) && shown == Some(mtu)
        })
        .with_context(|| a.daemon().map(|daemon| daemon.log()).unwrap_or_default())?;
        let transfer = TcpTransfer::to(SocketAddr::new(address, 5001), TRANSFER);
        transfer.run(a.host.namespace(), b.host.namespace())?;
    }
    let reasons = [&REASONS[..], &["exceeds_path_mtu"]].concat();
    a.is_conserved(&reasons)?;
    b.is_conserved(&reasons)
}

/// The kernel shares the port with nobody. When its device is gone, the tunnel has the port, and
/// keeps it from the kernel.
fn kernel_has_the_port() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(Some(ROOM))?;
    let device = || -> anyhow::Result<u32> {
        let mut netlink = Netlink::open()?;
        let [local, remote] = [1, 2].map(|number| IpAddr::from([192, 0, 2, number]));
        let tunnel = Vxlan { vni: 9, local, remote, port: 4789 };
        let spec = LinkSpec { up: true, ..LinkSpec::default() };
        unsupported_if_missing(
            netlink.create_vxlan("kernel", &spec, tunnel),
            "kernel VXLAN devices",
        )?;
        Ok(netlink.link("kernel")?.index)
    };
    let index = a.underlay.run(device)??;
    start(&mut a, &mut b)?;
    let mut client = a.daemon()?.client()?;
    let problem = client.ports()?.pop().and_then(|port| port.problem).unwrap_or_default();
    let expected = "UDP port 4789 is taken, by a kernel vxlan device";
    ensure!(problem.contains(expected), "{problem}");
    a.underlay.run(|| -> anyhow::Result<()> { Ok(Netlink::open()?.delete_link(index)?) })??;
    wait_until_reached(&a, &b)?;
    all_traffic(&a.host, &b.host)?;
    let refused = a.underlay.run(device)?;
    ensure!(refused.is_err(), "the kernel's device shares the UDP port of the tunnel");
    a.is_conserved(&[&REASONS[..], &["tx_failed"]].concat())
}

/// Bursts of datagrams of one size, which the switch sends in groups, and which arrive in groups.
fn bursts() -> anyhow::Result<()> {
    const DATAGRAMS: u64 = 20_000;
    let (mut a, mut b) = two_sites(Some(ROOM))?;
    start(&mut a, &mut b)?;
    wait_until_reached(&a, &b)?;
    let before = [sent(&a)?, sent(&b)?];
    let to = SocketAddr::new(b.host.v4().into(), 7000);
    let stream = NumberedStream { to, rate: 1_000_000, window: 512 };
    let arrived = || {
        eventually("20,000 datagrams have come out of the tunnel", || {
            sent(&b).is_ok_and(|now| now >= before[1] + DATAGRAMS)
        })
    };
    let (arrived, report) = stream.run_during(a.host.namespace(), b.host.namespace(), arrived)?;
    arrived?;
    // At a socket that is never empty, frames overtake those that wait there when their
    // flow comes into the kernel.
    let may_overtake = if uses_kernel_cache() { stream.window } else { 0 };
    ensure!(report.sent >= DATAGRAMS && report.misordered <= may_overtake, "{report:?}");
    // On a loaded machine the sender is faster than the switch.
    let reasons = [&REASONS[..], &["queue_full", "rx_ring_full"]].concat();
    a.is_conserved(&reasons)?;
    b.is_conserved(&reasons)?;
    ensure!(tunnel(&a)?.sends_groups, "{}", tunnel(&a)?);
    Ok(())
}

/// Frames that all ports of the machine's switch have sent.
fn sent(site: &Site) -> anyhow::Result<u64> {
    let stats = site.daemon()?.client()?.port_stats()?;
    Ok(stats.iter().map(|port| port.tx_packets).sum())
}

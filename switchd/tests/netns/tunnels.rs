//! Tunnel ports, through the stacks of kernels.

use crate::fixture::SWITCHD;
use anyhow::{Context, bail, ensure};
use control::record::OverlayRecord;
use control::{GroupMods, Operation, OverlayRequest, PacketOutRequest, Reply};
use flow::types::OfVersion;
use lab::harness::{Test, unsupported_if_missing};
use lab::traffic::{Ping, TcpTransfer, UdpExchange};
use lab::{Daemon, Host, HostPlan, LinkSpec, Namespace, Netlink, eventually};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::UdpGsoSegment;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("tunnels::two_switches_carry_one_network_through_vxlan", through_vxlan),
    ("tunnels::two_switches_carry_one_network_through_geneve", through_geneve),
    ("tunnels::two_switches_carry_one_network_through_gre", through_gre),
    ("tunnels::two_switches_carry_one_network_over_ipv6", over_ipv6),
    ("tunnels::large_frames_of_udp_come_out_as_their_datagrams", uncut_udp),
    ("tunnels::rules_choose_the_remote_end_and_the_key", by_rules),
    ("tunnels::a_kernel_vxlan_device_is_a_peer", kernel_peer),
    ("tunnels::two_workers_share_an_endpoint", two_workers),
    ("tunnels::ports_that_cannot_be_are_refused_by_name", refused),
    ("tunnels::a_udp_port_that_is_taken_is_waited_for", port_taken),
    ("tunnels::frames_go_through_a_restart", restarted),
    ("tunnels::senders_of_packets_that_are_too_long_are_told", too_long),
    ("tunnels::a_route_through_an_own_port_is_refused", own_route),
    ("tunnels::the_own_address_is_no_remote_end", own_address),
    ("tunnels::datagrams_that_no_port_takes_are_counted", strays),
    ("tunnels::an_overlay_is_one_network", overlay),
    ("tunnels::questions_for_known_hosts_are_answered", suppressed),
    ("tunnels::bfd_says_which_peer_is_down", bfd),
    ("tunnels::bfd_goes_on_over_a_restart", bfd_restarted),
    ("tunnels::three_hundred_overlays_of_ten_peers", many_overlays),
];

/// Bytes of a TCP transfer: some hundred large frames.
pub(crate) const TRANSFER: u64 = 8 << 20;

/// A machine: a network of its own, in which the switch runs, and a host at the switch's port.
pub(crate) struct Site {
    pub(crate) underlay: Namespace,
    pub(crate) host: Host,
    pub(crate) daemon: Option<Daemon>,
}

impl Site {
    pub(crate) fn new(number: u8, mtu: Option<u32>) -> anyhow::Result<Self> {
        let underlay = Namespace::new()?;
        let plan = HostPlan { number, mtu };
        let host = underlay.run(|| Host::on_veth(plan, "host"))??;
        Ok(Self { underlay, host, daemon: None })
    }

    /// Starts the switch, with the host's port and further arguments. Tunnel ports take part in the kernel
    /// cache, unless the tests run without one.
    pub(crate) fn start(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let arguments = ["--port", "host"].iter().chain(arguments);
        let arguments: Vec<String> =
            arguments.map(|argument| format!("{argument}{}", in_kernel_cache(argument))).collect();
        self.daemon = Some(self.underlay.run(|| Daemon::start(Path::new(SWITCHD), &arguments))??);
        Ok(())
    }

    pub(crate) fn daemon(&self) -> anyhow::Result<&Daemon> {
        self.daemon.as_ref().context("the switch was started")
    }

    /// Whatever came in at the switch went out or was dropped, and what was dropped has
    /// no other reasons than these.
    pub(crate) fn is_conserved(&self, reasons: &[&str]) -> anyhow::Result<()> {
        let mut client = self.daemon()?.client()?;
        let mut seen = String::new();
        eventually("whatever came in has gone out or was dropped", || {
            let Ok(stats) = client.port_stats() else { return false };
            let Ok(Reply::Drops(drops)) = client.ask(Operation::Drops) else { return false };
            let received: u64 = stats.iter().map(|port| port.rx_packets).sum();
            let sent: u64 = stats.iter().map(|port| port.tx_packets).sum();
            let dropped: u64 = drops.dropped.iter().map(|drop| drop.n_packets).sum();
            seen = format!("{received} received, {sent} sent, {dropped} dropped: {drops:?}");
            let is_expected = |reason: &str| reasons.contains(&reason);
            received == sent + dropped && drops.dropped.iter().all(|d| is_expected(&d.reason))
        })
        .with_context(|| seen.clone())
    }
}

/// Whether tunnel ports of the tests take part in the kernel cache.
pub(crate) fn uses_kernel_cache() -> bool {
    std::env::var_os("SWITCHD_KERNEL_CACHE").is_none_or(|mode| mode != "off")
}

/// What follows the words of a tunnel port, or of an overlay, so that it takes part in the kernel cache.
fn in_kernel_cache(words: &str) -> &'static str {
    let can_take_part = words.starts_with("vxlan:") || words.starts_with("geneve:");
    let has_chosen = words.contains("kernel-cache=");
    if can_take_part && !has_chosen && uses_kernel_cache() { ",kernel-cache=on" } else { "" }
}

/// Two machines, at the ends of a cable: 192.0.2.1 and 2001:db8::1, 192.0.2.2 and 2001:db8::2.
pub(crate) fn two_sites(mtu: Option<u32>) -> anyhow::Result<(Site, Site)> {
    let (a, b) = joined_sites(mtu, None)?;
    for (site, number) in [(&a, 1), (&b, 2)] {
        give_addresses(&site.underlay, "under", number)?;
    }
    Ok((a, b))
}

/// Two machines at the ends of a cable whose device `under` has this MTU, without addresses.
pub(crate) fn joined_sites(
    mtu: Option<u32>,
    of_cable: Option<u32>,
) -> anyhow::Result<(Site, Site)> {
    let (a, b) = (Site::new(1, mtu)?, Site::new(2, mtu)?);
    let spec = LinkSpec { up: true, mtu: of_cable, ..LinkSpec::default() };
    let far = LinkSpec { netns: Some(&b.underlay), ..spec.clone() };
    a.underlay.run(|| Netlink::open()?.create_veth("under", &spec, "under", &far))??;
    Ok((a, b))
}

/// Gives a device of the machine the addresses 192.0.2.NUMBER and 2001:db8::NUMBER.
pub(crate) fn give_addresses(underlay: &Namespace, device: &str, number: u8) -> anyhow::Result<()> {
    underlay.run(|| {
        let mut netlink = Netlink::open()?;
        let index = netlink.link(device)?.index;
        netlink.add_address(index, IpAddr::from([192, 0, 2, number]), 24)?;
        netlink.add_address(index, format!("2001:db8::{number}").parse()?, 64)?;
        Ok(())
    })?
}

/// Ping, TCP both ways and UDP with fragments reach from one host to the other, over both versions of IP.
pub(crate) fn all_traffic(a: &Host, b: &Host) -> anyhow::Result<()> {
    for (from, to) in [(a, b), (b, a)] {
        for address in [IpAddr::from(to.v4()), IpAddr::from(to.v6())] {
            let report = Ping::brief(address).run(from.namespace())?;
            ensure!(report.is_complete(), "{address}: {report:?}");
            let server = SocketAddr::new(address, 5001);
            TcpTransfer::to(server, TRANSFER).run(from.namespace(), to.namespace())?;
            // Without an answer to frames that are too long, the largest datagram is fragmented
            // by its sender's own MTU.
            let report = UdpExchange::to(server, &[1, 1000, 1300, 3000, 9000])
                .run(from.namespace(), to.namespace())?;
            ensure!(report.is_complete(), "{address}: {report:?}");
        }
    }
    Ok(())
}

fn carry(a_port: &str, b_port: &str, mtu: Option<u32>) -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(mtu)?;
    a.start(&["--port", a_port])?;
    b.start(&["--port", b_port])?;
    all_traffic(&a.host, &b.host).with_context(|| logs(&a, &b))?;
    a.is_conserved(&REASONS)?;
    b.is_conserved(&REASONS)
}

/// Frames that hosts send before all ports are up, for hosts that are gone, and of protocols
/// that hosts try beside ours.
pub(crate) const REASONS: [&str; 4] =
    ["tx_link_down", "no_flood_target", "same_port", "reserved_multicast"];

fn logs(a: &Site, b: &Site) -> String {
    let log = |site: &Site| site.daemon().map(|daemon| daemon.log()).unwrap_or_default();
    format!("{}\n{}", log(a), log(b))
}

fn through_vxlan() -> anyhow::Result<()> {
    carry("vxlan:t,remote_ip=192.0.2.2,key=7", "vxlan:t,remote_ip=192.0.2.1,key=7", Some(1450))
}

fn through_geneve() -> anyhow::Result<()> {
    let options = "key=16777215,tos=inherit,ttl=inherit,csum=false";
    carry(
        &format!("geneve:t,remote_ip=192.0.2.2,local_ip=192.0.2.1,{options}"),
        &format!("geneve:t,remote_ip=192.0.2.1,local_ip=192.0.2.2,{options}"),
        Some(1450),
    )
}

fn through_gre() -> anyhow::Result<()> {
    carry("gre:t,remote_ip=192.0.2.2", "gre:t,remote_ip=192.0.2.1", Some(1450))?;
    let options = "key=4294967295,csum=true";
    carry(
        &format!("gre:t,remote_ip=2001:db8::2,{options}"),
        &format!("gre:t,remote_ip=2001:db8::1,{options}"),
        Some(1400),
    )
}

fn over_ipv6() -> anyhow::Result<()> {
    carry("vxlan:t,remote_ip=2001:db8::2,key=7", "vxlan:t,remote_ip=2001:db8::1,key=7", Some(1430))
}

/// The kernel of the sender leaves several datagrams in one frame (`UDP_SEGMENT`), which nobody
/// cuts on a veth pair.
fn uncut_udp() -> anyhow::Result<()> {
    const ROUNDS: usize = 50;
    const IN_A_ROUND: usize = 10;
    const SIZE: usize = 1000;
    let (mut a, mut b) = two_sites(Some(1450))?;
    a.start(&["--port", "vxlan:t,remote_ip=192.0.2.2,key=7"])?;
    b.start(&["--port", "vxlan:t,remote_ip=192.0.2.1,key=7"])?;
    reach(&[(&a, &b)], true)?;
    let receiver = b.host.run(|| UdpSocket::bind("0.0.0.0:5001"))??;
    receiver.set_read_timeout(Some(Duration::from_secs(10)))?;
    let sender = a.host.run(|| -> anyhow::Result<UdpSocket> {
        let sender = UdpSocket::bind("0.0.0.0:0")?;
        setsockopt(&sender, UdpGsoSegment, &(SIZE as i32))?;
        Ok(sender)
    })??;
    let to = SocketAddr::new(b.host.v4().into(), 5001);
    let mut buffer = [0; 2 * SIZE];
    for round in 0..ROUNDS {
        sender.send_to(&vec![round as u8; IN_A_ROUND * SIZE], to)?;
        for number in 0..IN_A_ROUND {
            let size = receiver.recv(&mut buffer).with_context(|| format!("{round}, {number}"))?;
            let is_right = buffer[..size].iter().all(|byte| *byte == round as u8);
            ensure!(size == SIZE && is_right, "round {round}: {size} bytes");
        }
    }
    a.is_conserved(&REASONS)?;
    b.is_conserved(&REASONS)
}

fn two_workers() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(Some(1450))?;
    for (site, remote) in [(&mut a, "192.0.2.2"), (&mut b, "192.0.2.1")] {
        // Ports with other keys share the sockets.
        let port = |key: u8| format!("vxlan:t{key},remote_ip={remote},key={key},no-flood=true");
        let (used, other) = (format!("vxlan:t,remote_ip={remote},key=7"), port(8));
        let ports = ["--workers", "2", "--port", &used, "--port", &other];
        site.start(&ports)?;
    }
    let mut client = a.daemon()?.client()?;
    client.ask(Operation::DelPort { port: "t8".into() })?;
    all_traffic(&a.host, &b.host).with_context(|| logs(&a, &b))
}

/// One port sends to whatever end rules say, and takes frames with every key.
fn by_rules() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(Some(1450))?;
    for (site, remote) in [(&mut a, "192.0.2.2"), (&mut b, "192.0.2.1")] {
        site.start(&["--port", "vxlan:t,remote_ip=flow,key=flow"])?;
        let mut client = site.daemon()?.client()?;
        client.del_flows("")?;
        client.add_flow(&format!(
            "in_port=1,actions=set_field:{remote}->tun_dst,set_tunnel:0x123456,output:2"
        ))?;
        client.add_flow(&format!("in_port=2,tun_id=0x123456,tun_src={remote},actions=1"))?;
    }
    all_traffic(&a.host, &b.host).with_context(|| logs(&a, &b))?;
    // A frame does not go back into the tunnel unless a rule says where to.
    let mut client = b.daemon()?.client()?;
    client.add_flow("in_port=2,priority=40000,actions=in_port")?;
    let report = Ping::brief(b.host.v4()).run(a.host.namespace())?;
    ensure!(report.received() == 0, "{report:?}");
    eventually("the frames are dropped", || {
        let Ok(Reply::Drops(drops)) = client.ask(Operation::Drops) else { return false };
        drops.dropped.iter().any(|drop| drop.reason == "tunnel_to_self")
    })?;
    Ok(())
}

/// The kernel leaves checksums and segmentation of what is inside the tunnel to a device that is none.
fn kernel_peer() -> anyhow::Result<()> {
    let mut a = Site::new(1, Some(1450))?;
    let mut peer = a.underlay.run(|| Host::on_veth(HostPlan::number(2), "under"))??;
    let address = IpAddr::from([10, 0, 0, 9]);
    a.underlay.run(|| -> anyhow::Result<()> {
        let mut netlink = Netlink::open()?;
        let index = netlink.link("under")?.index;
        Ok(netlink.add_address(index, address, 24)?)
    })??;
    let inner = IpAddr::from([10, 0, 0, 200]);
    unsupported_if_missing(peer.add_vxlan(7, address, inner, 32), "kernel VXLAN devices")?;
    // The peer's own network is that of the underlay, too: the host is told apart by its address.
    peer.run(|| -> anyhow::Result<()> {
        let mut netlink = Netlink::open()?;
        let index = netlink.link("vxlan7")?.index;
        netlink.set_mtu(index, 1450)?;
        Ok(netlink.add_route(a.host.v4().into(), 32, None, Some(index))?)
    })??;
    let remote = format!("vxlan:t,remote_ip={},key=7", peer.v4());
    a.start(&["--port", &remote])?;
    let report = Ping::to(inner).run(a.host.namespace())?;
    ensure!(report.is_complete(), "{report:?}: {}", a.daemon()?.log());
    let there = TcpTransfer::to(SocketAddr::new(inner, 5001), TRANSFER);
    there.run(a.host.namespace(), peer.namespace())?;
    let back = TcpTransfer::to(SocketAddr::new(a.host.v4().into(), 5001), TRANSFER);
    back.run(peer.namespace(), a.host.namespace())?;
    let exchange = UdpExchange::to(SocketAddr::new(inner, 5001), &[1, 1000, 3000]);
    let report = exchange.run(a.host.namespace(), peer.namespace())?;
    ensure!(report.is_complete(), "{report:?}");
    a.is_conserved(&REASONS)
}

fn refused() -> anyhow::Result<()> {
    let mut site = Site::new(1, None)?;
    site.start(&["--port", "vxlan:t,remote_ip=192.0.2.2,key=7"])?;
    let mut client = site.daemon()?.client()?;
    let mut add = |port: &str| match client.ask(Operation::AddPort { spec: port.into() }) {
        Ok(reply) => format!("{reply:?}"),
        Err(error) => error.to_string(),
    };
    let same = add("vxlan:u,remote_ip=192.0.2.2,key=7");
    let expected =
        "port \"u\": port \"t\" is a tunnel with the same remote_ip, local_ip and key already";
    ensure!(same.contains(expected), "{same}");
    let wide = add("vxlan:u,remote_ip=192.0.2.2,key=16777217");
    ensure!(wide.contains("a VNI has 24 bits"), "{wide}");
    add("vxlan:u,remote_ip=192.0.2.2,key=8");
    add("geneve:v,remote_ip=192.0.2.2,key=7");
    let names: Vec<String> = client.ports()?.into_iter().map(|port| port.name).collect();
    ensure!(names == ["host", "t", "u", "v"], "{names:?}");
    Ok(())
}

fn port_taken() -> anyhow::Result<()> {
    let mut site = Site::new(1, None)?;
    let other = site.underlay.run(|| std::net::UdpSocket::bind("0.0.0.0:4789"))??;
    site.start(&["--port", "vxlan:t,remote_ip=192.0.2.2"])?;
    let mut client = site.daemon()?.client()?;
    let problem = client.ports()?.pop().and_then(|port| port.problem).unwrap_or_default();
    ensure!(problem.contains("UDP port 4789 is taken, by a kernel vxlan device"), "{problem}");
    drop(other);
    eventually("the tunnel has its port", || {
        client.ports().is_ok_and(|ports| ports[1].problem.is_none() && ports[1].state.is_empty())
    })?;
    Ok(())
}

/// Another process takes over, which opens sockets of its own while the first still has some
/// for the same UDP port.
fn restarted() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(Some(1450))?;
    a.start(&["--port", "vxlan:t,remote_ip=192.0.2.2,key=7"])?;
    b.start(&["--port", "vxlan:t,remote_ip=192.0.2.1,key=7"])?;
    all_traffic(&a.host, &b.host)?;
    let daemon = a.daemon.as_mut().context("it was started")?;
    let underlay = &a.underlay;
    underlay.run(|| daemon.restart())??;
    all_traffic(&a.host, &b.host).with_context(|| logs(&a, &b))
}

/// The hosts have the MTU of the underlay. TCP is cut to fit; whoever sends something else learns what fits.
fn too_long() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(None)?;
    a.start(&["--port", "vxlan:t,remote_ip=192.0.2.2,key=7"])?;
    b.start(&["--port", "vxlan:t,remote_ip=192.0.2.1,key=7"])?;
    for address in [IpAddr::from(b.host.v4()), IpAddr::from(b.host.v6())] {
        let transfer = TcpTransfer::to(SocketAddr::new(address, 5001), TRANSFER);
        transfer.run(a.host.namespace(), b.host.namespace())?;
        // Packets of 1,500 bytes with "don't fragment", both ways. Without an answer, none would ever arrive.
        let exchange = UdpExchange::to(
            SocketAddr::new(address, 5001),
            &[if address.is_ipv4() { 1472 } else { 1452 }],
        );
        let exchange = UdpExchange { patience: Duration::from_millis(500), ..exchange };
        let mut report = None;
        eventually("the senders know how long their packets may be", || {
            report = exchange.run(a.host.namespace(), b.host.namespace()).ok();
            report.is_some_and(|report| report.is_complete())
        })
        .with_context(|| logs(&a, &b))?;
    }
    let mut client = a.daemon()?.client()?;
    let tunnel = client.ports()?.pop().and_then(|port| port.tunnel).context("a tunnel")?;
    ensure!(tunnel.path_mtu == Some(1500) && tunnel.sends_groups, "{tunnel}");
    let reasons = [&REASONS[..], &["exceeds_path_mtu"]].concat();
    a.is_conserved(&reasons)?;
    b.is_conserved(&reasons)
}

/// What would go into the tunnel again and again is not sent.
fn own_route() -> anyhow::Result<()> {
    let mut site = Site::new(1, None)?;
    site.underlay.run(|| -> anyhow::Result<()> {
        let mut netlink = Netlink::open()?;
        let index = netlink.link("host")?.index;
        Ok(netlink.add_address(index, IpAddr::from([192, 0, 2, 1]), 24)?)
    })??;
    site.start(&["--port", "vxlan:t,remote_ip=192.0.2.2"])?;
    let report = Ping::brief(IpAddr::from([10, 0, 0, 2])).run(site.host.namespace())?;
    ensure!(report.received() == 0, "{report:?}");
    let mut client = site.daemon()?.client()?;
    eventually("the frames are dropped", || {
        let Ok(Reply::Drops(drops)) = client.ask(Operation::Drops) else { return false };
        drops.dropped.iter().any(|drop| drop.reason == "tunnel_loop")
    })?;
    let tunnel = client.ports()?.pop().and_then(|port| port.tunnel).context("a tunnel")?;
    ensure!(tunnel.is_loop, "{tunnel}");
    Ok(())
}

/// All machines of an overlay have one list of peers, in which each finds itself: what would come back at once
/// is not sent.
fn own_address() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(Some(1450))?;
    for site in [&mut a, &mut b] {
        let both = "vxlan:net,vni=7,peer=192.0.2.1,peer=192.0.2.2";
        let v6 = "geneve:self,remote_ip=::1,key=8";
        site.start(&["--overlay", both, "--port", v6])?;
    }
    reach(&[(&a, &b)], true)?;
    for (site, own) in [(&a, "net-1"), (&b, "net-2")] {
        // The question for a host that is not there goes to all peers.
        Ping::brief(IpAddr::from([10, 0, 0, 99])).run(site.host.namespace())?;
        let mut client = site.daemon()?.client()?;
        let ports = client.ports()?;
        let selves = ports.iter().filter(|port| port.tunnel.as_ref().is_some_and(|t| t.is_self));
        let selves: Vec<&str> = selves.map(|port| port.name.as_str()).collect();
        ensure!(selves == ["self", own] || selves == [own, "self"], "{selves:?}");
        let Reply::Drops(drops) = client.ask(Operation::Drops)? else { bail!("drops") };
        let mut failed = drops.failed_outputs.iter();
        ensure!(failed.any(|failed| failed.reason == "tunnel_to_self"), "{drops:?}");
        let stats = client.port_stats()?;
        ensure!(stats.iter().filter(|port| port.rx_packets > 0).count() == 2, "{stats:?}");
    }
    Ok(())
}

/// Each datagram that comes to the UDP port is counted: as a frame of a port, with a reason if it is dropped,
/// or as one that no port takes.
fn strays() -> anyhow::Result<()> {
    const FRAME: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    let (mut a, b) = two_sites(Some(1450))?;
    a.start(&["--port", "vxlan:t,remote_ip=192.0.2.2,key=7"])?;
    let with = |header: &[u8]| [header, &FRAME].concat();
    let good = with(&[8, 0, 0, 0, 0, 0, 7, 0]);
    let of_nobody = [
        Vec::new(),
        good[..7].to_vec(),
        good[..21].to_vec(),
        with(&[0, 0, 0, 0, 0, 0, 7, 0]),
        with(&[8, 0, 0, 0, 0, 0, 6, 0]),
    ];
    let count = || -> anyhow::Result<_> {
        let mut client = a.daemon()?.client()?;
        let strays = client.ports()?.pop().and_then(|port| port.tunnel).context("a tunnel")?.strays;
        let received = client.port_stats()?.pop().context("a port")?.rx_packets;
        let Reply::Drops(drops) = client.ask(Operation::Drops)? else { bail!("drops") };
        let of_header = drops.dropped.into_iter().find(|drop| drop.reason == "tunnel_header");
        Ok((strays, received, of_header.map_or(0, |drop| drop.n_packets)))
    };
    let send = |datagram: &[u8], expected: (u64, u64, u64)| -> anyhow::Result<()> {
        b.underlay.run(|| UdpSocket::bind("0.0.0.0:0")?.send_to(datagram, "192.0.2.1:4789"))??;
        eventually("the datagram is counted", || count().is_ok_and(|counts| counts == expected))
            .with_context(|| format!("{datagram:x?}: {expected:?}, not {:?}", count()))
    };
    for (number, datagram) in (1..).zip(&of_nobody) {
        send(datagram, (number, 0, 0))?;
    }
    let strays = of_nobody.len() as u64;
    send(&good, (strays, 1, 0))?;
    // The extension for group-based policy, which the port does not have.
    send(&with(&[0x88, 0, 0, 0, 0, 0, 7, 0]), (strays, 2, 1))
}

/// Machines on one network underneath, 192.0.2.1 and so on, at a bridge of the kernel.
fn sites_on_a_network(count: u8) -> anyhow::Result<(Namespace, Vec<Site>)> {
    let hub = Namespace::new()?;
    let sites = (1..=count).map(|number| Site::new(number, Some(1450)));
    let sites: Vec<Site> = sites.collect::<anyhow::Result<_>>()?;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    hub.run(|| -> anyhow::Result<()> {
        let mut netlink = Netlink::open()?;
        unsupported_if_missing(netlink.create_bridge("hub", &up), "kernel bridges")?;
        let bridge = netlink.link("hub")?.index;
        for (number, site) in (1..).zip(&sites) {
            let far = LinkSpec { netns: Some(&site.underlay), ..up.clone() };
            let near = format!("to{number}");
            netlink.create_veth(&near, &up, "under", &far)?;
            let index = netlink.link(&near)?.index;
            netlink.set_master(index, Some(bridge))?;
            give_addresses(&site.underlay, "under", number)?;
        }
        Ok(())
    })??;
    Ok((hub, sites))
}

/// Whether each of the sites reaches the next one, or does not.
fn reach(pairs: &[(&Site, &Site)], expected: bool) -> anyhow::Result<()> {
    for (from, to) in pairs {
        let ping =
            if expected { Ping::to(to.host.v4()) } else { Ping::brief(IpAddr::from(to.host.v4())) };
        let report = ping.run(from.host.namespace())?;
        ensure!(report.is_complete() == expected, "{report:?}");
    }
    Ok(())
}

/// Asks the switch of a site for a change of overlays, and returns those that there are then.
fn change_overlays(site: &Site, request: OverlayRequest) -> anyhow::Result<Vec<OverlayRecord>> {
    match site.daemon()?.client()?.ask(Operation::Overlay(request))? {
        Reply::Overlays(overlays) => Ok(overlays),
        other => bail!("{other:?}"),
    }
}

/// Two machines on one network, each of which names the other, and a third one that joins while
/// they run and leaves again.
fn overlay() -> anyhow::Result<()> {
    let (_hub, mut sites) = sites_on_a_network(3)?;
    for (number, site) in (1u8..).zip(&mut sites) {
        let peers: Vec<String> = (1..=3)
            .filter(|n| *n != number && (number == 3 || *n != 3))
            .map(|n| format!(",peer=192.0.2.{n}"))
            .collect();
        site.start(&["--overlay", &format!("vxlan:net,vni=7{}", peers.concat())])?;
    }
    let [a, b, c] = &sites[..] else { bail!("three sites") };
    reach(&[(a, b)], true)?;
    reach(&[(b, c)], false)?;
    let third = || ("net".to_owned(), IpAddr::from([192, 0, 2, 3]));
    for site in [a, b] {
        let (name, peer) = third();
        change_overlays(site, OverlayRequest::AddPeer { name, peer })?;
    }
    reach(&[(a, b), (b, c), (c, a)], true)?;
    let names: Vec<String> =
        a.daemon()?.client()?.ports()?.into_iter().map(|port| port.name).collect();
    ensure!(names == ["host", "net-1", "net-2"], "{names:?}");
    let overlays = change_overlays(a, OverlayRequest::List)?;
    let peers: Vec<_> = overlays[0].peers.iter().map(|p| (&*p.peer, p.n_hosts)).collect();
    ensure!(peers == [("192.0.2.2", 1), ("192.0.2.3", 1)], "{overlays:?}");
    for site in [a, b] {
        let (name, peer) = third();
        let overlays = change_overlays(site, OverlayRequest::DelPeer { name, peer })?;
        ensure!(overlays[0].peers.len() == 1, "{overlays:?}");
    }
    reach(&[(b, c)], false)?;
    reach(&[(a, b)], true)?;
    // Another program that takes over has the same peers.
    let third = OverlayRequest::AddPeer { name: third().0, peer: third().1 };
    let before = change_overlays(a, third)?;
    let Site { underlay, daemon, .. } = &mut sites[0];
    let daemon = daemon.as_mut().context("it was started")?;
    underlay.run(|| daemon.restart())??;
    let after = change_overlays(&sites[0], OverlayRequest::List)?;
    ensure!(after[0].peers.len() == 2, "{before:?}, then {after:?}");
    reach(&[(&sites[0], &sites[1])], true)
}

/// Questions for hosts behind a peer are answered by the switch once it knows them, or
/// because somebody has told it.
fn suppressed() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(Some(1450))?;
    let plan = HostPlan { number: 3, mtu: Some(1450) };
    let second = a.underlay.run(|| Host::on_veth(plan, "second"))??;
    a.start(&["--port", "second", "--overlay", "vxlan:net,vni=7,peer=192.0.2.2,suppress=on"])?;
    b.start(&["--overlay", "vxlan:net,vni=7,peer=192.0.2.1"])?;
    let answered = || -> anyhow::Result<u64> {
        Ok(change_overlays(&a, OverlayRequest::List)?[0].peers[0].n_answered)
    };
    reach(&[(&a, &b)], true)?;
    ensure!(answered()? == 0, "the first question is flooded");
    let report = Ping::to(b.host.v4()).run(second.namespace())?;
    ensure!(report.is_complete() && answered()? > 0, "the switch knows");
    // A host that is not there has an address all the same: its question does not reach the other machine.
    let absent = OverlayRequest::AddHost {
        name: "net".to_owned(),
        peer: IpAddr::from([192, 0, 2, 2]),
        mac: "02:00:00:00:00:99".to_owned(),
        vlan: None,
        ips: vec![IpAddr::from([10, 0, 0, 99])],
    };
    change_overlays(&a, absent)?;
    let before = answered()?;
    Ping::brief(IpAddr::from([10, 0, 0, 99])).run(a.host.namespace())?;
    ensure!(answered()? == before + 1, "a given host is answered for");
    let list = change_overlays(&a, OverlayRequest::List)?;
    ensure!(list[0].peers[0].neighbours == ["10.0.0.99@02:00:00:00:00:99"], "{list:?}");
    let gone =
        OverlayRequest::DelHost { name: "net".to_owned(), mac: "02:00:00:00:00:99".to_owned() };
    ensure!(change_overlays(&a, gone)?[0].peers[0].neighbours.is_empty());
    Ok(())
}

/// The states of the peers of an overlay.
fn peer_states(site: &Site) -> anyhow::Result<Vec<String>> {
    let overlays = change_overlays(site, OverlayRequest::List)?;
    let peers = overlays.into_iter().flat_map(|overlay| overlay.peers);
    Ok(peers.map(|peer| peer.bfd.unwrap_or_default()).collect())
}

/// Peers come up, one dies, and the others know: floods leave it out, and a group that
/// watches its port goes elsewhere.
fn bfd() -> anyhow::Result<()> {
    let (_hub, mut sites) = sites_on_a_network(3)?;
    for (number, site) in (1u8..).zip(&mut sites) {
        let peers: Vec<String> =
            (1..=3).filter(|n| *n != number).map(|n| format!(",peer=192.0.2.{n}")).collect();
        let bfd = "bfd=on,bfd_min_rx=100";
        site.start(&["--overlay", &format!("vxlan:net,vni=7,{bfd}{}", peers.concat())])?;
    }
    let states = |site: &Site, expected: [&str; 2]| -> anyhow::Result<()> {
        let mut seen = Vec::new();
        eventually("the peers have these states", || {
            seen = peer_states(site).unwrap_or_default();
            seen == expected
        })
        .with_context(|| format!("{expected:?}: {seen:?}"))
    };
    for site in &sites {
        states(site, ["up", "up"])?;
    }
    reach(&[(&sites[0], &sites[1]), (&sites[1], &sites[2])], true)?;
    let group = "group_id=1,type=ff,bucket=watch_port:net-1,actions=output:net-1,bucket=watch_port:net-2,actions=output:net-2";
    let mut client = sites[0].daemon()?.client()?;
    let mods = GroupMods { version: OfVersion::OpenFlow13, ..GroupMods::default() };
    client.call(Operation::GroupMods(mods), &mut group.as_bytes(), &mut |_| Ok(()))?;
    let way = |client: &mut control::Client, actions: &str| -> anyhow::Result<String> {
        let text =
            format!("in_port=host,packet=ffffffffffff02000000000188b50000,actions={actions}");
        let version = OfVersion::OpenFlow13;
        let request = PacketOutRequest { text, version, ..PacketOutRequest::default() };
        match client.ask(Operation::PacketOut(request))? {
            Reply::PacketOut(done) => Ok(done.sent_to.join(" ")),
            other => bail!("{other:?}"),
        }
    };
    ensure!(way(&mut client, "group:1")? == "net-1");
    ensure!(way(&mut client, "NORMAL")? == "net-1 net-2");
    // The second machine dies.
    drop(sites[1].daemon.take());
    states(&sites[0], ["down", "up"])?;
    states(&sites[2], ["up", "down"])?;
    ensure!(way(&mut client, "group:1")? == "net-2");
    ensure!(way(&mut client, "NORMAL")? == "net-2");
    reach(&[(&sites[0], &sites[2])], true)?;
    let ports = client.ports()?;
    let tunnel =
        ports.iter().find(|port| port.name == "net-1").and_then(|port| port.tunnel.as_ref());
    ensure!(tunnel.is_some_and(|tunnel| tunnel.to_string().ends_with(", BFD down")), "{tunnel:?}");
    // It comes back.
    sites[1].start(&["--overlay", "vxlan:net,vni=7,bfd=on,peer=192.0.2.1,peer=192.0.2.3"])?;
    states(&sites[0], ["up", "up"])?;
    ensure!(way(&mut client, "group:1")? == "net-1");
    reach(&[(&sites[0], &sites[1]), (&sites[1], &sites[2])], true)
}

/// A session of BFD on a site: states of both ends, discriminators, and how often it went up or down.
fn session(site: &Site) -> anyhow::Result<(String, String, String, u64)> {
    let Reply::Bfd(sessions) = site.daemon()?.client()?.ask(Operation::BfdShow { port: None })?
    else {
        bail!("sessions");
    };
    let session = sessions.into_iter().next().context("a session")?;
    let numbers = format!("{} {}", session.local.discriminator, session.remote.discriminator);
    Ok((session.local.state, session.remote.state, numbers, session.n_flaps))
}

/// Another process goes on with the sessions: neither end goes down, and the hosts
/// behind the tunnel stay known.
fn bfd_restarted() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(Some(1450))?;
    a.start(&["--port", "vxlan:t,remote_ip=192.0.2.2,key=7,bfd=on"])?;
    b.start(&["--port", "vxlan:t,remote_ip=192.0.2.1,key=7,bfd=on"])?;
    let up = |site: &Site| {
        session(site).is_ok_and(|(local, remote, ..)| local == "up" && remote == "up")
    };
    eventually("the session is up at both ends", || up(&a) && up(&b))?;
    reach(&[(&a, &b)], true)?;
    let before = (session(&a)?, session(&b)?);
    for _ in 0..2 {
        let daemon = a.daemon.as_mut().context("it was started")?;
        a.underlay.run(|| daemon.restart())??;
        // Each end is to hear the other one: an end that began anew would say so with its first packet.
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(1500) {
            let now = (session(&a)?, session(&b)?);
            ensure!(now == before, "{now:?} instead of {before:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // The process that has taken over notices silence as the first one did.
    drop(b.daemon.take());
    Ok(eventually("the other end is down", || {
        session(&a).is_ok_and(|(local, ..)| local == "down")
    })?)
}

/// Each of 300 overlays has a VLAN of the host, and ten peers, one of which is there.
fn many_overlays() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(Some(1450))?;
    let peers = |own: u8| -> String {
        let numbers = (1..=11).filter(|n| *n != own);
        numbers.map(|n| format!(",peer=192.0.2.{n}")).collect()
    };
    for (site, own) in [(&mut a, 1), (&mut b, 2)] {
        let overlay = |n: u16| format!("vxlan:o{n},vni={},tag={}{}", 1000 + n, n, peers(own));
        let overlays: Vec<String> = (1..300).map(overlay).collect();
        let arguments = overlays.iter().flat_map(|overlay| ["--overlay", overlay]);
        site.start(&arguments.collect::<Vec<_>>())?;
        let last = OverlayRequest::Add { overlay: overlay(300) };
        let overlays = change_overlays(site, last)?;
        ensure!(overlays.len() == 300, "{} overlays", overlays.len());
        ensure!(overlays.iter().all(|overlay| overlay.peers.len() == 10));
    }
    // One VLAN after the other is the host's own.
    for vlan in [1, 150, 300] {
        for site in [&a, &b] {
            let (port, settings) = ("host".to_owned(), format!("tag={vlan}"));
            site.daemon()?.client()?.ask(Operation::SetPort { port, settings })?;
        }
        reach(&[(&a, &b), (&b, &a)], true).with_context(|| format!("VLAN {vlan}"))?;
    }
    // Ten copies go out for a frame to everybody, and none of them to another overlay.
    let sent = |site: &Site| -> anyhow::Result<Vec<String>> {
        let stats = site.daemon()?.client()?.port_stats()?;
        let busy = stats.into_iter().filter(|port| port.tx_packets > 0 && port.name != "host");
        Ok(busy.map(|port| port.name.split('-').next().unwrap_or_default().to_owned()).collect())
    };
    let mut used = sent(&a)?;
    used.sort_unstable();
    used.dedup();
    ensure!(used == ["o1", "o150", "o300"], "{used:?}");
    let gone = OverlayRequest::Del { name: "o300".to_owned() };
    ensure!(change_overlays(&a, gone)?.len() == 299);
    reach(&[(&a, &b)], false)
}

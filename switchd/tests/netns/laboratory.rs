//! The laboratory itself, with a Linux bridge in the place of the switch: what these tests rely on
//! holds, so that a failure elsewhere is about the switch.

use anyhow::ensure;
use lab::harness::{Test, unsupported_if_missing};
use lab::traffic::{Ping, TcpTransfer, UdpExchange};
use lab::{
    Counters, FrameSocket, Host, HostPlan, InterfaceVlan, LinkSpec, Netlink, PATIENCE,
    experimental_frame,
};
use std::net::{IpAddr, SocketAddr};

pub(crate) const TESTS: &[Test] = &[
    ("laboratory::hosts_on_a_bridge_reach_each_other", hosts_on_a_bridge_reach_each_other),
    ("laboratory::a_missing_host_does_not_answer", a_missing_host_does_not_answer),
    ("laboratory::a_vlan_leads_to_the_other_host", a_vlan_leads_to_the_other_host),
    ("laboratory::a_tunnel_leads_to_the_other_host", a_tunnel_leads_to_the_other_host),
    ("laboratory::frames_are_seen_as_they_were_sent", frames_are_seen_as_they_were_sent),
];

fn bridged_pair() -> anyhow::Result<(Host, Host)> {
    let (a, b) = (
        Host::on_veth(HostPlan::number(1), "veth1")?,
        Host::on_veth(HostPlan::number(2), "veth2")?,
    );
    let mut netlink = Netlink::open()?;
    netlink.create_bridge("bridge", &LinkSpec { up: true, ..LinkSpec::default() })?;
    let bridge = netlink.link("bridge")?.index;
    for port in ["veth1", "veth2"] {
        let port = netlink.link(port)?.index;
        netlink.set_master(port, Some(bridge))?;
    }
    Ok((a, b))
}

fn hosts_on_a_bridge_reach_each_other() -> anyhow::Result<()> {
    let (a, b) = bridged_pair()?;
    for address in [IpAddr::from(b.v4()), b.v6().into()] {
        let report = Ping::to(address).run(a.namespace())?;
        ensure!(report.is_complete(), "{address}: {report:?}");
        let report = Ping::to(address).with_payload(20_000).run(a.namespace())?;
        ensure!(report.is_complete(), "{address}, fragmented: {report:?}");
        let transfer = TcpTransfer::to(SocketAddr::new(address, 5001), 10_000_000)
            .run(a.namespace(), b.namespace())?;
        ensure!(transfer.bytes == 10_000_000);
        let report = UdpExchange::to(SocketAddr::new(address, 5001), &[0, 1, 1472, 60_000])
            .run(a.namespace(), b.namespace())?;
        ensure!(report.is_complete(), "{address}: {report:?}");
    }
    let counters = Counters::read(b.namespace())?;
    ensure!(counters.checksum_errors() == 0 && counters.get("TcpInSegs") > 0, "{counters:?}");
    Ok(())
}

fn a_missing_host_does_not_answer() -> anyhow::Result<()> {
    let (a, _b) = bridged_pair()?;
    let report = Ping::brief([10, 0, 0, 77]).run(a.namespace())?;
    ensure!(report.received() == 0 && report.sent == 1, "{report:?}");
    Ok(())
}

fn a_vlan_leads_to_the_other_host() -> anyhow::Result<()> {
    let (mut a, mut b) = bridged_pair()?;
    for tag in [InterfaceVlan { tpid: 0x8100, vid: 100 }, InterfaceVlan { tpid: 0x88a8, vid: 200 }]
    {
        let network = tag.vid as u8;
        unsupported_if_missing(
            a.add_vlan(tag, IpAddr::from([10, network, 0, 1]), 24),
            "VLAN interfaces",
        )?;
        b.add_vlan(tag, IpAddr::from([10, network, 0, 2]), 24)?;
        let report = Ping::to([10, network, 0, 2]).run(a.namespace())?;
        ensure!(report.is_complete(), "{tag:?}: {report:?}");
    }
    Ok(())
}

fn a_tunnel_leads_to_the_other_host() -> anyhow::Result<()> {
    let (mut a, mut b) = bridged_pair()?;
    unsupported_if_missing(
        a.add_vxlan(7, b.v4().into(), IpAddr::from([10, 7, 0, 1]), 24),
        "VXLAN interfaces",
    )?;
    b.add_vxlan(7, a.v4().into(), IpAddr::from([10, 7, 0, 2]), 24)?;
    let report = Ping::to([10, 7, 0, 2]).run(a.namespace())?;
    ensure!(report.is_complete(), "{report:?}");
    Ok(())
}

fn frames_are_seen_as_they_were_sent() -> anyhow::Result<()> {
    let (a, b) = bridged_pair()?;
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut observer = b.run(|| FrameSocket::open(b.interface()))??;
    let frames: Vec<_> = (0..10).map(|i| experimental_frame(b.mac(), a.mac(), &[i; 100])).collect();
    ensure!(sender.send_all(&frames)? == frames.len());
    for expected in &frames {
        let seen = observer.receive_matching(PATIENCE, |f| f == expected)?;
        ensure!(seen.is_some(), "frame {} did not arrive", expected[14]);
    }
    Ok(())
}

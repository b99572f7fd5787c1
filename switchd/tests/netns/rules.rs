//! Rules at work on the kernel's own traffic.

use crate::fixture::{Cable, Network, Observer};
use anyhow::{Context, ensure};
use control::record::DropsRecord;
use control::{Client, FlowMods, Operation, PortFlag, Reply};
use flow::types::OfVersion;
use lab::harness::Test;
use lab::traffic::{Ping, TcpTransfer, UdpExchange};
use lab::{
    Counters, EXPERIMENTAL, FrameSocket, Host, HostPlan, InterfaceCounters, LinkSpec, Netlink,
    PATIENCE, eventually, experimental_frame,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("rules::a_drop_rule_bites_until_it_is_deleted", a_drop_rule_bites_until_it_is_deleted),
    ("rules::a_rewritten_address_and_port_carry_tcp", a_rewritten_address_and_port_carry_tcp),
    ("rules::a_rewritten_address_carries_udp_and_ipv6", a_rewritten_address_carries_udp_and_ipv6),
    ("rules::a_tag_added_and_taken_off_carries_tcp", a_tag_added_and_taken_off_carries_tcp),
    ("rules::tagged_tcp_crosses_a_cable", tagged_tcp_crosses_a_cable),
    ("rules::no_frame_after_the_reply_sees_the_old_rules", no_frame_sees_the_old_rules),
    ("rules::every_frame_has_one_outcome", every_frame_has_one_outcome),
    ("rules::a_port_set_down_neither_sends_nor_receives", a_port_set_down_is_silent),
    ("rules::a_device_that_comes_back_carries_on", a_device_that_comes_back_carries_on),
    ("rules::frames_above_the_mtu_are_dropped_by_that_name", frames_above_the_mtu_are_dropped),
];

const SERVER: u16 = 8080;

fn a_drop_rule_bites_until_it_is_deleted() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let (a, b) = (network.a(), network.b());
    let answers = |ping: Ping| ping.run(a.namespace()).map(|report| report.received());
    ensure!(answers(Ping::to(b.v4()))? > 0 && answers(Ping::to(b.v6()))? > 0);
    network.client()?.add_flow("priority=100,icmp,nw_src=10.0.0.1,actions=drop")?;
    ensure!(answers(Ping::brief(b.v4()))? == 0, "the rule does not bite");
    ensure!(answers(Ping::to(b.v6()))? > 0, "it bites what it does not match");
    let server = SocketAddr::new(b.v4().into(), SERVER);
    TcpTransfer::to(server, 1_000_000)
        .run(a.namespace(), b.namespace())
        .context("TCP beside the rule")?;
    network.client()?.del_flows("icmp")?;
    ensure!(answers(Ping::to(b.v4()))? > 0, "the rule still bites");
    Ok(())
}

/// The kernel leaves the checksum of its own TCP unfinished, and the edit must respect that: the sum
/// over the pseudo header is part of it, the payload is not.
fn a_rewritten_address_and_port_carry_tcp() -> anyhow::Result<()> {
    let mut network = Network::new(&[Cable::Veth, Cable::tap_if_possible()])?;
    let fake = IpAddr::from([10, 0, 0, 77]);
    let (b_mac, b_v4) = (network.b().mac(), network.b().v4());
    let a = &mut network.hosts[0];
    let cable = a.netlink().link("eth0")?.index;
    a.netlink().add_neighbour(cable, fake, b_mac)?;
    network.client()?.add_flow(&format!(
        "priority=100,tcp,nw_dst=10.0.0.77,tp_dst=80,\
             actions=mod_nw_dst:10.0.0.2,mod_tp_dst:{SERVER},NORMAL"
    ))?;
    network.client()?.add_flow(&format!(
        "priority=100,tcp,nw_src=10.0.0.2,tp_src={SERVER},\
             actions=mod_nw_src:10.0.0.77,mod_tp_src:80,NORMAL"
    ))?;
    let transfer = TcpTransfer {
        connect: SocketAddr::new(fake, 80),
        ..TcpTransfer::to(SocketAddr::new(b_v4.into(), SERVER), 50_000_000)
    };
    transfer.run(network.a().namespace(), network.b().namespace())?;
    no_wrong_checksums(&network)
}

fn a_rewritten_address_carries_udp_and_ipv6() -> anyhow::Result<()> {
    let mut network = Network::pair()?;
    let (b_mac, b_v4, b_v6) = (network.b().mac(), network.b().v4(), network.b().v6());
    for (fake, real) in [("10.0.0.77", IpAddr::from(b_v4)), ("fd00::77", b_v6.into())] {
        let address: IpAddr = fake.parse()?;
        let a = &mut network.hosts[0];
        let cable = a.netlink().link("eth0")?.index;
        a.netlink().add_neighbour(cable, address, b_mac)?;
        let (udp, tcp, dst, src) = match address {
            IpAddr::V4(_) => ("udp", "tcp", "nw_dst", "nw_src"),
            IpAddr::V6(_) => ("udp6", "tcp6", "ipv6_dst", "ipv6_src"),
        };
        for protocol in [udp, tcp] {
            network.client()?.add_flow(&format!(
                "priority=100,{protocol},{dst}={fake},actions=set_field:{real}->{dst},NORMAL"
            ))?;
            network.client()?.add_flow(&format!(
                "priority=100,{protocol},{src}={real},actions=set_field:{fake}->{src},NORMAL"
            ))?;
        }
        // No fragments: the later ones carry no ports to match, by design of these rules.
        let (listen, connect) = (SocketAddr::new(real, SERVER), SocketAddr::new(address, SERVER));
        let exchange = UdpExchange { connect, ..UdpExchange::to(listen, &[0, 1, 700, 1400]) };
        let report = exchange.run(network.a().namespace(), network.b().namespace())?;
        ensure!(report.is_complete(), "{fake}: {report:?}");
        TcpTransfer { connect, ..TcpTransfer::to(listen, 20_000_000) }
            .run(network.a().namespace(), network.b().namespace())
            .with_context(|| fake.to_owned())?;
    }
    no_wrong_checksums(&network)
}

fn no_wrong_checksums(network: &Network) -> anyhow::Result<()> {
    for host in &network.hosts {
        let errors = Counters::read(host.namespace())?.checksum_errors();
        ensure!(errors == 0, "{errors} packets with wrong checksums at {}", host.v4());
    }
    Ok(())
}

/// Two tags on and off again: positions of unfinished checksums move along.
fn a_tag_added_and_taken_off_carries_tcp() -> anyhow::Result<()> {
    let network = Network::pair()?;
    add_flow_13(
        &network,
        "priority=100,tcp,in_port=1,actions=push_vlan:0x8100,set_field:4196->vlan_vid,\
         push_vlan:0x88a8,set_field:4296->vlan_vid,pop_vlan,pop_vlan,output:2",
    )?;
    let server = SocketAddr::new(network.b().v4().into(), SERVER);
    TcpTransfer::to(server, 20_000_000).run(network.a().namespace(), network.b().namespace())?;
    no_wrong_checksums(&network)
}

/// A veth pair from the switch to itself, which all frames cross with a tag on: large ones, too.
fn tagged_tcp_crosses_a_cable() -> anyhow::Result<()> {
    let mut netlink = Netlink::open()?;
    // Room for the second kind of tag, which the kernel counts against the MTU.
    let spec = LinkSpec { up: true, mtu: Some(1504), ..LinkSpec::default() };
    netlink.create_veth("left", &spec, "right", &spec)?;
    let cables = [Cable::Veth, Cable::Veth];
    let network = Network::with(&cables, None, &["--port", "left", "--port", "right"])?;
    let server = SocketAddr::new(network.b().v4().into(), SERVER);
    for tpid in ["0x8100", "0x88a8"] {
        for (host, cable) in [(1, 3), (2, 4)] {
            add_flow_13(
                &network,
                &format!(
                    "priority=100,in_port={host},\
                     actions=push_vlan:{tpid},set_field:4196->vlan_vid,output:{cable}"
                ),
            )?;
            add_flow_13(
                &network,
                &format!("priority=100,in_port={cable},dl_vlan=100,actions=pop_vlan,output:{host}"),
            )?;
        }
        TcpTransfer::to(server, 50_000_000)
            .run(network.a().namespace(), network.b().namespace())
            .with_context(|| format!("tagged {tpid}"))?;
    }
    // Cutting is left to the hosts with a tag on, too.
    let cable = &network.client()?.port_stats()?[2];
    let mean = cable.tx_bytes / cable.tx_packets.max(1);
    ensure!(mean > 3_000, "{mean} bytes a frame: large frames do not cross it whole");
    no_wrong_checksums(&network)
}

/// Adds a rule in the dialect of OpenFlow 1.3, which has tags of both kinds.
pub(crate) fn add_flow_13(network: &Network, rule: &str) -> anyhow::Result<()> {
    let mods = FlowMods { version: OfVersion::OpenFlow13, ..FlowMods::default() };
    let request = Operation::FlowMods(mods);
    network.client()?.call(request, &mut rule.as_bytes(), &mut |_| Ok(()))?;
    Ok(())
}

/// Numbered frames at full rate. Those sent after the reply to a change of rules must all feel it.
fn no_frame_sees_the_old_rules() -> anyhow::Result<()> {
    const ROUNDS: u32 = 20;
    let network = Network::new(&[Cable::Veth, Cable::Veth, Cable::Veth])?;
    let [a, b, c] = &network.hosts[..] else { anyhow::bail!("three hosts") };
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut observers = [Observer::at(b)?, Observer::at(c)?];
    let kind = format!("{EXPERIMENTAL:#06x}");
    let number_of = |frame: &[u8]| -> Option<u32> {
        (frame.get(12..14)? == EXPERIMENTAL.to_be_bytes())
            .then(|| u32::from_be_bytes(frame[14..18].try_into().expect("four bytes")))
    };
    let (next, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    let frame = |n: u32| experimental_frame([2, 0, 0, 0, 0, 9], a.mac(), &n.to_be_bytes());
    network.client()?.add_flow(&format!("priority=100,dl_type={kind},actions=output:2"))?;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let sending = scope.spawn(|| -> anyhow::Result<()> {
            while !is_over.load(Ordering::SeqCst) {
                let first = next.fetch_add(16, Ordering::SeqCst);
                let burst: Vec<_> = (first..first + 16).map(frame).collect();
                sender.send_all(&burst)?;
            }
            Ok(())
        });
        let mut watch = || -> anyhow::Result<()> {
            for round in 0..ROUNDS {
                // The frames go to one observer, then to the other.
                let (old, new) = if round % 2 == 0 { (2, 3) } else { (3, 2) };
                network
                    .client()?
                    .add_flow(&format!("priority=100,dl_type={kind},actions=output:{new}"))?;
                // Numbers from here on were taken after the reply.
                let first_new = next.load(Ordering::SeqCst);
                let mut late = None;
                let arrived = observers[new - 2]
                    .find(PATIENCE, |f| number_of(f).is_some_and(|n| n >= first_new + 100))?;
                ensure!(arrived, "round {round}: nothing arrives at port {new}");
                // Whatever the old port still gets was on its way before.
                observers[old - 2].find(Duration::from_millis(5), |f| {
                    late = late.max(number_of(f).filter(|n| *n >= first_new));
                    false
                })?;
                ensure!(late.is_none(), "round {round}: frame {late:?} of {first_new}.. was late");
            }
            Ok(())
        };
        let watched = watch();
        is_over.store(true, Ordering::SeqCst);
        sending.join().expect("the sender does not panic")?;
        watched
    })
}

/// Frames received by all ports, frames sent by all ports, frames dropped.
fn totals(client: &mut Client) -> anyhow::Result<(u64, u64, u64)> {
    let stats = client.port_stats()?;
    let dropped = drops(client)?.dropped.iter().map(|d| d.n_packets).sum();
    let received = stats.iter().map(|p| p.rx_packets).sum();
    Ok((received, stats.iter().map(|p| p.tx_packets).sum(), dropped))
}

fn drops(client: &mut Client) -> anyhow::Result<DropsRecord> {
    match client.ask(Operation::Drops)? {
        Reply::Drops(drops) => Ok(drops),
        other => anyhow::bail!("{other:?}"),
    }
}

/// With two ports and no broadcast, a frame leaves once or not at all.
fn every_frame_has_one_outcome() -> anyhow::Result<()> {
    const COUNT: u64 = 3_000;
    let network = Network::pair()?;
    let (a, b) = (network.a(), network.b());
    let mut client = network.client()?;
    client.add_flow("priority=100,dl_type=0x88b6,actions=drop")?;
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let good = experimental_frame(b.mac(), a.mac(), b"good");
    let mut dropped = good.clone();
    dropped[13] = 0xb6;
    let link_local = experimental_frame([0x01, 0x80, 0xc2, 0, 0, 0], a.mac(), b"stays");
    let kinds = [good, dropped, link_local];

    let before = totals(&mut client)?;
    for sent in (0..COUNT).step_by(30) {
        let burst: Vec<_> = kinds.iter().cycle().take(30).cloned().collect();
        ensure!(sender.send_all(&burst)? == burst.len());
        eventually("the burst is received", || {
            totals(&mut client).is_ok_and(|now| now.0 - before.0 >= sent + 30)
        })?;
    }
    let after = totals(&mut client)?;
    let (received, sent, lost) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    // The kernels of the hosts may say something of their own meanwhile.
    ensure!((COUNT..COUNT + 100).contains(&received), "{received} received");
    ensure!(received == sent + lost, "{received} received, {sent} sent, {lost} dropped");
    ensure!(lost >= 2 * COUNT / 3, "{lost} dropped");

    // The same when there is more than anybody can carry: what finds no room is counted, too.
    let cable = || InterfaceCounters::read(a.namespace(), a.interface());
    let (before, offered_before) = (client.port_stats()?[0].clone(), cable()?.tx_packets);
    let end = std::time::Instant::now() + Duration::from_millis(300);
    sender.send_until(&kinds, 30, || std::time::Instant::now() > end)?;
    let offered = cable()?.tx_packets - offered_before;
    let mut seen = (0, 0);
    eventually("every frame is counted", || {
        let Ok(stats) = client.port_stats() else { return false };
        seen = (stats[0].rx_packets - before.rx_packets, stats[0].rx_dropped - before.rx_dropped);
        seen.0 + seen.1 >= offered
    })
    .with_context(|| format!("{offered} offered, {seen:?} received and lost"))?;
    let now = totals(&mut client)?;
    ensure!(now.0 == now.1 + now.2, "received, sent, dropped: {now:?}");
    Ok(())
}

fn a_port_set_down_is_silent() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let (a, b) = (network.a(), network.b());
    let mut client = network.client()?;
    let mut set_down =
        |on| client.ask(Operation::ModPort { port: "veth2".into(), flag: PortFlag::Down, on });
    let one = |from: &Host, to: &Host| -> anyhow::Result<bool> {
        Ok(Ping::brief(to.v4()).run(from.namespace())?.is_complete())
    };
    ensure!(Ping::to(b.v4()).run(a.namespace())?.is_complete());
    set_down(true)?;
    ensure!(!one(a, b)? && !one(b, a)?, "the port is not down");
    set_down(false)?;
    Ok(eventually("the port is up again", || one(a, b).unwrap_or(false))?)
}

fn a_device_that_comes_back_carries_on() -> anyhow::Result<()> {
    let Network { mut hosts, daemon } = Network::pair()?;
    let b = hosts.pop().context("host b")?;
    let a = hosts.pop().context("host a")?;
    let reaches =
        |b: &Host| Ping::brief(b.v4()).run(a.namespace()).is_ok_and(|report| report.is_complete());
    // Set down and up again by somebody else.
    let mut netlink = Netlink::open()?;
    let port = netlink.link("veth2")?.index;
    netlink.set_up(port, false)?;
    ensure!(!reaches(&b), "the device is down");
    netlink.set_up(port, true)?;
    eventually("frames pass again", || reaches(&b)).with_context(|| daemon.log())?;
    // Gone with its host, and made anew for another one.
    drop(b);
    netlink.delete_link(port)?;
    let b = Host::on_veth(HostPlan::number(2), "veth2")?;
    eventually("frames pass through the new device", || reaches(&b))
        .with_context(|| daemon.log())?;
    Ok(())
}

fn frames_above_the_mtu_are_dropped() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let (a, b) = (network.a(), network.b());
    let mut netlink = Netlink::open()?;
    let port = netlink.link("veth2")?.index;
    netlink.set_mtu(port, 1400)?;
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut client = network.client()?;
    eventually("a frame is dropped for its size", || {
        let frame = experimental_frame(b.mac(), a.mac(), &[0; 1500]);
        let Ok(true) = sender.send(&frame) else { return false };
        drops(&mut client).is_ok_and(|drops| {
            drops.failed_outputs.iter().any(|d| d.name == "veth2" && d.reason == "exceeds_mtu")
        })
    })
    .with_context(|| format!("{:?}", drops(&mut client)))
}

//! Tracked and translated connections of the kernel's own protocols, at the offloads that it uses by default.

use crate::fixture::{Cable, Network};
use anyhow::{Context, bail, ensure};
use control::{Operation, Reply};
use flow::ct_filter::CtFilter;
use lab::Host;
use lab::harness::Test;
use lab::traffic::{Ping, TcpTransfer};
use std::net::{Ipv4Addr, SocketAddr};

pub(crate) const TESTS: &[Test] = &[
    ("connections::a_firewall_lets_answers_in_only", firewall),
    ("connections::hosts_share_an_address", shared_address),
    ("connections::a_port_is_forwarded", forwarded_port),
];

/// How many bytes a transfer has: enough for segments of 64 kB.
const BYTES: u64 = 20 << 20;

/// An address in the network of the hosts that no host has.
fn spare(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

pub(crate) fn add_rules(network: &Network, rules: &[String]) -> anyhow::Result<()> {
    let mut client = network.client()?;
    client.del_flows("")?;
    rules.iter().try_for_each(|rule| client.add_flow(rule).with_context(|| rule.clone()))
}

/// The MAC address of a host, as rules have it.
pub(crate) fn mac_text(host: &Host) -> String {
    flow::types::MacAddr(host.mac()).to_string()
}

/// A transfer to port `port` of a host, which the sender calls by another address and
/// port if `called` is given.
fn transfer(to: Ipv4Addr, port: u16, called: Option<SocketAddr>) -> TcpTransfer {
    let listen = SocketAddr::new(to.into(), port);
    TcpTransfer { connect: called.unwrap_or(listen), ..TcpTransfer::to(listen, BYTES) }
}

fn firewall() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let (a, b) = (network.a(), network.b());
    let rules = [
        "priority=10,arp,actions=NORMAL",
        "priority=10,ip,ct_state=-trk,actions=ct(table=1)",
        "priority=0,actions=drop",
        "table=1,priority=10,ip,ct_state=+trk+new,in_port=1,actions=ct(commit),output:2",
        "table=1,priority=10,ip,ct_state=+trk+est,in_port=1,actions=output:2",
        "table=1,priority=10,ip,ct_state=+trk+est,in_port=2,actions=output:1",
        "table=1,priority=0,actions=drop",
    ];
    add_rules(&network, &rules.map(str::to_owned))?;
    ensure!(Ping::to(b.v4()).run(a.namespace())?.is_complete());
    // In fragments.
    ensure!(Ping::to(b.v4()).with_payload(60_000).run(a.namespace())?.is_complete());
    ensure!(Ping::brief(a.v4()).run(b.namespace())?.received() == 0, "a ping came in");
    transfer(b.v4(), 7001, None).run(a.namespace(), b.namespace())?;
    Ok(())
}

/// Two hosts reach a third one with one address. Their connections have the same ports.
fn shared_address() -> anyhow::Result<()> {
    let mut network = Network::new(&[Cable::Veth, Cable::Veth, Cable::Veth])?;
    let outside = spare(200);
    let (inner, server) = (network.hosts[0].mac(), network.hosts[2].v4());
    network.hosts[2].add_neighbour(outside.into(), inner)?;
    let to_host = |host: usize| {
        let (address, port) = (network.hosts[host].v4(), host + 1);
        format!(
            "table=1,priority=9,ip,ct_state=+trk+est,in_port=3,nw_dst={address},actions=mod_dl_dst:{},output:{port}",
            mac_text(&network.hosts[host])
        )
    };
    let rules = [
        "priority=10,arp,actions=NORMAL".to_owned(),
        "priority=10,ip,actions=ct(nat,table=1)".to_owned(),
        format!(
            "table=1,priority=10,ip,ct_state=+trk+new,nw_dst={server},actions=ct(commit,nat(src={outside})),output:3"
        ),
        format!("table=1,priority=10,ip,ct_state=+trk+est,nw_dst={server},actions=output:3"),
        to_host(0),
        to_host(1),
    ];
    add_rules(&network, &rules)?;
    let hosts = &network.hosts;
    for host in &hosts[..2] {
        ensure!(Ping::to(server).run(host.namespace())?.is_complete());
        transfer(server, 7001, None).run(host.namespace(), hosts[2].namespace())?;
        for payload in [1_400, 4_000] {
            let large = Ping::to(server).with_payload(payload);
            ensure!(large.run(host.namespace())?.is_complete());
        }
    }
    let known = network.client()?.connections(CtFilter::default())?;
    ensure!(known.len() >= 4, "{known:?}");
    let outside = outside.to_string();
    ensure!(known.iter().all(|c| c.reply.dst == outside && c.orig.src != outside), "{known:?}");
    let Reply::ConnectionStats(stats) = network.client()?.ask(Operation::ConnectionStats)? else {
        bail!("counters of connections");
    };
    ensure!(stats.nat_exhausted == 0, "{stats:?}");
    ensure!(stats.reassembled > 0 && stats.fragments_waiting == 0, "{stats:?}");
    Ok(())
}

fn forwarded_port() -> anyhow::Result<()> {
    let mut network = Network::pair()?;
    let (called, server) = (SocketAddr::new(spare(201).into(), 8080), network.b().mac());
    network.hosts[0].add_neighbour(called.ip(), server)?;
    let (a, b) = (network.a(), network.b());
    let rules = [
        "priority=10,arp,actions=NORMAL".to_owned(),
        "priority=10,ip,actions=ct(nat,table=1)".to_owned(),
        format!(
            "table=1,priority=10,tcp,ct_state=+trk+new,nw_dst={},tp_dst=8080,\
             actions=ct(commit,nat(dst={}:7001)),output:2",
            called.ip(),
            b.v4()
        ),
        "table=1,priority=9,ip,ct_state=+trk+est,in_port=1,actions=output:2".to_owned(),
        "table=1,priority=9,ip,ct_state=+trk+est,in_port=2,actions=output:1".to_owned(),
    ];
    add_rules(&network, &rules)?;
    transfer(b.v4(), 7001, Some(called)).run(a.namespace(), b.namespace())?;
    Ok(())
}

//! NAT as gateways and load balancers use it, between the kernel's own protocols: many clients behind one
//! address, a host that calls itself by its public address, the path MTU behind a translation, and servers
//! chosen by a group.

use crate::connections::{add_rules, mac_text};
use crate::fixture::{Cable, Network};
use anyhow::{Context, ensure};
use control::{Client, GroupMods, Operation};
use flow::ct_filter::CtFilter;
use lab::harness::Test;
use lab::traffic::{Ping, TcpTransfer};
use lab::{LinkSpec, Namespace, Netlink, PATIENCE};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

pub(crate) const TESTS: &[Test] = &[
    ("translations::a_thousand_clients_share_an_address", thousand_clients),
    ("translations::a_host_reaches_itself_by_its_public_address", hairpin),
    ("translations::senders_learn_the_mtu_behind_a_translation", path_mtu),
    ("translations::a_group_balances_connections", balanced),
    ("translations::ipv6_is_filtered_and_translated", ipv6),
];

/// The public IPv4 address of these tests, which no host has.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);
/// The public IPv6 address of these tests, which no host has.
const PUBLIC_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x200);
/// Enough bytes for segments of 64 kB.
const BYTES: u64 = 5 << 20;

/// A thousand addresses of one host call the same server from the same port. Each gets the
/// answers to its own questions.
fn thousand_clients() -> anyhow::Result<()> {
    const CLIENTS: u32 = 1_000;
    let mut network = Network::pair()?;
    let (inner, outer, server) = (network.a().mac(), network.b().mac(), network.b().v4());
    network.hosts[1].add_neighbour(PUBLIC.into(), inner)?;
    network.hosts[0].add_neighbour(server.into(), outer)?;
    let client = |n: u32| Ipv4Addr::from(0x0a01_0001 + n);
    let netlink = network.hosts[0].netlink();
    let cable = netlink.link("eth0")?.index;
    (0..CLIENTS).try_for_each(|n| netlink.add_address(cable, client(n).into(), 32))?;
    let rules = [
        "priority=10,arp,actions=NORMAL".to_owned(),
        "priority=10,ip,ct_state=-trk,actions=ct(nat,table=1)".to_owned(),
        format!(
            "table=1,ip,ct_state=+trk+new,in_port=1,actions=ct(commit,nat(src={PUBLIC})),output:2"
        ),
        "table=1,ip,ct_state=+trk+est,in_port=1,actions=output:2".to_owned(),
        "table=1,ip,ct_state=+trk+est,in_port=2,actions=output:1".to_owned(),
    ];
    add_rules(&network, &rules)?;
    let (a, b) = (network.a(), network.b());
    let at = SocketAddr::new(server.into(), 7001);
    let echo = b.run(|| UdpSocket::bind(at))??;
    echo.set_read_timeout(Some(PATIENCE))?;
    std::thread::scope(|scope| {
        let answering = scope.spawn(|| -> anyhow::Result<BTreeSet<SocketAddr>> {
            let (mut callers, mut question) = (BTreeSet::new(), [0; 8]);
            for _ in 0..2 * CLIENTS {
                let (size, from) = echo.recv_from(&mut question)?;
                echo.send_to(&question[..size], from)?;
                callers.insert(from);
            }
            Ok(callers)
        });
        a.run(|| -> anyhow::Result<()> {
            let open = |n| UdpSocket::bind(SocketAddr::new(client(n).into(), 5000));
            let sockets: Vec<UdpSocket> = (0..CLIENTS).map(open).collect::<Result<_, _>>()?;
            for round in 0..2 {
                for (n, socket) in (0..).zip(&sockets) {
                    let question = [n, round].map(u32::to_be_bytes).concat();
                    socket.set_read_timeout(Some(PATIENCE))?;
                    socket.send_to(&question, at)?;
                    let mut answer = [0; 8];
                    let (size, from) = socket.recv_from(&mut answer).context("an answer")?;
                    ensure!(answer[..size] == question && from == at, "client {n}: {answer:?}");
                }
            }
            Ok(())
        })??;
        let callers = answering.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        ensure!(callers.len() == CLIENTS as usize, "{} callers", callers.len());
        ensure!(callers.iter().all(|caller| caller.ip() == PUBLIC), "{callers:?}");
        Ok(())
    })?;
    let known = network.client()?.connections(CtFilter::default())?;
    ensure!(known.len() == CLIENTS as usize, "{} connections", known.len());
    Ok(())
}

/// Port 8080 of the public address is a port of host 1, which calls it itself, as another host of its
/// network does. The destination is translated in zone 1, and the source in zone 2, so that answers
/// come back through the switch.
fn hairpin() -> anyhow::Result<()> {
    let mut network = Network::pair()?;
    let (server, gateway) = (network.a().v4(), [2, 0, 0, 0, 0, 0x77]);
    for host in &mut network.hosts {
        host.add_neighbour(PUBLIC.into(), gateway)?;
    }
    let (a, b) = (mac_text(network.a()), mac_text(network.b()));
    let rules = [
        "priority=10,arp,actions=NORMAL".to_owned(),
        // Packets to the public address: answers to hosts that it stands for, then calls of its port.
        format!("priority=10,ip,nw_dst={PUBLIC},actions=ct(nat,zone=2,table=1)"),
        format!(
            "table=1,priority=10,tcp,ct_state=+trk+new,nw_dst={PUBLIC},tp_dst=8080,actions=ct(commit,zone=1,nat(dst={server}:7001),table=2)"
        ),
        format!("table=1,priority=9,ip,nw_dst={PUBLIC},actions=ct(nat,zone=1,table=2)"),
        "table=1,priority=8,ip,actions=ct(nat,zone=1,table=3)".to_owned(),
        format!("table=2,priority=10,ip,actions=ct(commit,zone=2,nat(src={PUBLIC}),table=3)"),
        format!(
            "table=3,ip,nw_dst={server},actions=mod_dl_src:02:00:00:00:00:77,mod_dl_dst:{a},resubmit(,4)"
        ),
        format!(
            "table=3,ip,nw_dst={},actions=mod_dl_src:02:00:00:00:00:77,mod_dl_dst:{b},resubmit(,5)",
            network.b().v4()
        ),
        "table=4,in_port=1,actions=IN_PORT".to_owned(),
        "table=4,in_port=2,actions=output:1".to_owned(),
        "table=5,in_port=2,actions=IN_PORT".to_owned(),
        "table=5,in_port=1,actions=output:2".to_owned(),
    ];
    add_rules(&network, &rules)?;
    let listen = SocketAddr::new(server.into(), 7001);
    let call = TcpTransfer {
        connect: SocketAddr::new(PUBLIC.into(), 8080),
        ..TcpTransfer::to(listen, BYTES)
    };
    let (a, b) = (network.a().namespace(), network.b().namespace());
    call.run(b, a).context("the other host calls")?;
    call.run(a, a).context("the host calls itself")?;
    Ok(())
}

/// Host 2 is a router to another network, into which a cable of a smaller MTU leads. Host 1 is behind a
/// translation, and learns of that MTU from the router's ICMP errors, which are addressed to the public address
/// and quote it.
fn path_mtu() -> anyhow::Result<()> {
    const BEHIND: (Ipv4Addr, Ipv6Addr) =
        (Ipv4Addr::new(10, 9, 0, 9), Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 9));
    const ROUTER: (Ipv4Addr, Ipv6Addr) =
        (Ipv4Addr::new(10, 9, 0, 1), Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1));
    let mut network = Network::pair()?;
    let (inner, outer) = (network.a().mac(), network.b().mac());
    let router = (network.b().v4(), network.b().v6());
    let behind = Namespace::new()?;
    for (name, value) in [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")] {
        network.b().namespace().set_sysctl(&format!("net/{name}"), value)?;
    }
    let b = &mut network.hosts[1];
    b.add_neighbour(PUBLIC.into(), inner)?;
    b.add_neighbour(PUBLIC_V6.into(), inner)?;
    let (near_mac, far_mac) = ([2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 9]);
    let narrow = LinkSpec { mac: Some(near_mac), mtu: Some(1300), up: true, ..LinkSpec::default() };
    let wide =
        LinkSpec { mac: Some(far_mac), up: true, netns: Some(&behind), ..LinkSpec::default() };
    b.netlink().create_veth("out", &narrow, "eth0", &wide)?;
    let out = b.netlink().link("out")?.index;
    b.netlink().add_address(out, ROUTER.0.into(), 24)?;
    b.netlink().add_address(out, ROUTER.1.into(), 64)?;
    b.netlink().add_neighbour(out, BEHIND.1.into(), far_mac)?;
    let mut far = behind.run(Netlink::open)??;
    let cable = far.link("eth0")?.index;
    far.add_address(cable, BEHIND.0.into(), 24)?;
    far.add_address(cable, BEHIND.1.into(), 64)?;
    far.add_neighbour(cable, ROUTER.1.into(), near_mac)?;
    far.add_route(Ipv4Addr::UNSPECIFIED.into(), 0, Some(ROUTER.0.into()), None)?;
    far.add_route(Ipv6Addr::UNSPECIFIED.into(), 0, Some(ROUTER.1.into()), None)?;
    network.hosts[0].add_neighbour(router.1.into(), outer)?;
    let near = network.hosts[0].netlink();
    near.add_route(Ipv4Addr::new(10, 9, 0, 0).into(), 24, Some(router.0.into()), None)?;
    let prefix = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0);
    near.add_route(prefix.into(), 64, Some(router.1.into()), None)?;
    let mut rules = vec![
        "priority=20,icmp6,icmp_type=135,actions=NORMAL".to_owned(),
        "priority=20,icmp6,icmp_type=136,actions=NORMAL".to_owned(),
        "priority=10,arp,actions=NORMAL".to_owned(),
    ];
    for (family, public) in [("ip", IpAddr::from(PUBLIC)), ("ipv6", PUBLIC_V6.into())] {
        rules.extend([
            format!("priority=10,{family},ct_state=-trk,actions=ct(nat,table=1)"),
            format!("table=1,{family},ct_state=+trk+new,in_port=1,actions=ct(commit,nat(src={public})),output:2"),
            format!("table=1,{family},ct_state=+trk+est,in_port=1,actions=output:2"),
            format!("table=1,{family},ct_state=+trk+est,in_port=2,actions=output:1"),
            format!("table=1,{family},ct_state=+trk+rel,in_port=2,actions=output:1,note:01"),
        ]);
    }
    add_rules(&network, &rules)?;
    for address in [IpAddr::from(BEHIND.0), BEHIND.1.into()] {
        let listen = SocketAddr::new(address, 7001);
        let transfer = TcpTransfer::to(listen, BYTES);
        transfer.run(network.a().namespace(), &behind).with_context(|| address.to_string())?;
    }
    let related = network.client()?.flows("table=1,ct_state=+trk+rel")?;
    ensure!(related.len() == 2, "{related:?}");
    ensure!(related.iter().all(|rule| rule.n_packets > 0), "no error came: {related:?}");
    Ok(())
}

fn add_group(client: &mut Client, group: &str) -> anyhow::Result<()> {
    let version = flow::types::OfVersion::OpenFlow15;
    let mods = GroupMods { version, ..GroupMods::default() };
    client.call(Operation::GroupMods(mods), &mut group.as_bytes(), &mut |_| Ok(()))?;
    Ok(())
}

/// Host 1 calls the public address, which two servers stand behind. Buckets of a group commit the choice of
/// one, as OVN and Antrea do it, so that the segments of a connection stay with its server.
fn balanced() -> anyhow::Result<()> {
    const CALLS: usize = 40;
    let mut network = Network::new(&[Cable::Veth, Cable::Veth, Cable::Veth])?;
    network.hosts[0].add_neighbour(PUBLIC.into(), [2, 0, 0, 0, 0, 0x77])?;
    let servers = [&network.hosts[1], &network.hosts[2]];
    let bucket = |address: Ipv4Addr| {
        format!("bucket=weight:100,actions=ct(commit,nat(dst={address}:7001),table=2)")
    };
    let buckets = servers.map(|server| bucket(server.v4())).join(",");
    let mut client = network.client()?;
    add_group(&mut client, &format!("group_id=1,type=select,{buckets}"))?;
    let to = |n: usize| {
        let (address, mac) = (servers[n].v4(), mac_text(servers[n]));
        format!("table=2,priority=10,ip,nw_dst={address},actions=mod_dl_dst:{mac},output:{}", n + 2)
    };
    let rules = [
        "priority=10,arp,actions=NORMAL".to_owned(),
        "priority=10,ip,ct_state=-trk,actions=ct(nat,table=1)".to_owned(),
        format!(
            "table=1,priority=10,tcp,ct_state=+trk+new,nw_dst={PUBLIC},tp_dst=80,actions=group:1"
        ),
        "table=1,priority=9,ip,ct_state=+trk-new-inv,actions=resubmit(,2)".to_owned(),
        to(0),
        to(1),
        format!("table=2,priority=10,ip,nw_dst={},actions=output:1", network.a().v4()),
    ];
    add_rules(&network, &rules)?;
    let listeners = servers.map(|server| -> anyhow::Result<TcpListener> {
        Ok(server.run(|| TcpListener::bind(SocketAddr::new(server.v4().into(), 7001)))??)
    });
    let mut reached = BTreeMap::<u8, usize>::new();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for (number, listener) in (2..).zip(listeners) {
            let listener = listener?;
            // Each server tells its number, as often as somebody asks, and ends with its connections.
            scope.spawn(move || {
                for mut stream in listener.incoming().map_while(Result::ok) {
                    let mut question = [0];
                    while matches!(stream.read(&mut question), Ok(1)) && question[0] != b'.' {
                        if stream.write_all(&[number]).is_err() {
                            break;
                        }
                    }
                    if question[0] == b'.' {
                        return;
                    }
                }
            });
        }
        let called = network.a().run(|| -> anyhow::Result<()> {
            for _ in 0..CALLS {
                let mut stream = TcpStream::connect_timeout(&(PUBLIC, 80).into(), PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let mut ask = || -> anyhow::Result<u8> {
                    stream.write_all(b"?")?;
                    let mut number = [0];
                    stream.read_exact(&mut number)?;
                    Ok(number[0])
                };
                let number = ask()?;
                for _ in 0..3 {
                    ensure!(ask()? == number, "a connection has changed its server");
                }
                *reached.entry(number).or_default() += 1;
            }
            Ok(())
        });
        // The servers end, each by a call of its own address from its own host.
        for server in servers {
            let stop = || TcpStream::connect((server.v4(), 7001))?.write_all(b".");
            server.run(stop)??;
        }
        called?
    })?;
    ensure!(reached.len() == 2, "only some servers are used: {reached:?}");
    ensure!(reached.values().sum::<usize>() == CALLS, "{reached:?}");
    Ok(())
}

/// A firewall and a forwarded port for IPv6: TCP, pings of all sizes, and UDP that nobody asked for.
fn ipv6() -> anyhow::Result<()> {
    let mut network = Network::pair()?;
    let (a_mac, b_mac) = (network.a().mac(), network.b().mac());
    network.hosts[0].add_neighbour(PUBLIC_V6.into(), b_mac)?;
    network.hosts[1].add_neighbour(PUBLIC_V6.into(), a_mac)?;
    let (a, b) = (network.a(), network.b());
    let rules = [
        "priority=20,icmp6,icmp_type=135,actions=NORMAL".to_owned(),
        "priority=20,icmp6,icmp_type=136,actions=NORMAL".to_owned(),
        "priority=10,ipv6,ct_state=-trk,actions=ct(nat,table=1)".to_owned(),
        format!(
            "table=1,priority=10,tcp6,ct_state=+trk+new,in_port=1,ipv6_dst={PUBLIC_V6},tp_dst=8080,\
             actions=ct(commit,nat(dst=[{}]:7001)),output:2",
            b.v6()
        ),
        "table=1,priority=9,ipv6,ct_state=+trk+new,in_port=1,actions=ct(commit),output:2"
            .to_owned(),
        "table=1,priority=9,ipv6,ct_state=+trk+est,in_port=1,actions=output:2".to_owned(),
        "table=1,priority=9,ipv6,ct_state=+trk+est,in_port=2,actions=output:1".to_owned(),
    ];
    add_rules(&network, &rules)?;
    for size in [0, 56, 1400] {
        let ping = Ping::to(b.v6()).with_payload(size);
        ensure!(ping.run(a.namespace())?.is_complete(), "a ping of {size} bytes");
    }
    ensure!(Ping::brief(a.v6()).run(b.namespace())?.received() == 0, "a ping came in");
    let listen = SocketAddr::new(b.v6().into(), 7001);
    TcpTransfer::to(listen, BYTES).run(a.namespace(), b.namespace())?;
    let called = SocketAddr::new(PUBLIC_V6.into(), 8080);
    let forwarded = TcpTransfer { connect: called, ..TcpTransfer::to(listen, BYTES) };
    forwarded.run(a.namespace(), b.namespace())?;
    Ok(())
}

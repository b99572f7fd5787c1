//! Helpers of protocols: FTP and TFTP between hosts, with and without translation. Client and server speak as
//! much of the protocols as the tests need.

use crate::connections::add_rules;
use crate::fixture::Network;
use anyhow::{Context, bail, ensure};
use lab::harness::Test;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("helpers::data_connections_are_related", || both_protocols(Translation::None)),
    ("helpers::a_client_behind_an_address_is_found", || both_protocols(Translation::Source)),
    ("helpers::a_server_behind_an_address_is_found", || both_protocols(Translation::Destination)),
];

/// How long an end waits for the other one.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a transfer has.
const DATA: &[u8] = &[b'x'; 3000];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Translation {
    None,
    /// The client has another address for the server.
    Source,
    /// The server has another address for the client.
    Destination,
}

fn both_protocols(translation: Translation) -> anyhow::Result<()> {
    let mut network = Network::pair()?;
    let macs = [network.a().mac(), network.b().mac()];
    let other = [Ipv4Addr::new(10, 0, 0, 200).into(), spare_v6(network.a().v6()).into()];
    for address in other {
        match translation {
            Translation::None => {}
            Translation::Source => network.hosts[1].add_neighbour(address, macs[0])?,
            Translation::Destination => network.hosts[0].add_neighbour(address, macs[1])?,
        }
    }
    let servers: [IpAddr; 2] = [network.b().v4().into(), network.b().v6().into()];
    let mut rules = vec![
        "priority=20,arp,actions=NORMAL".to_owned(),
        "priority=20,icmp6,icmp_type=135,actions=NORMAL".to_owned(),
        "priority=20,icmp6,icmp_type=136,actions=NORMAL".to_owned(),
    ];
    for ((version, server), other) in ["", "6"].into_iter().zip(servers).zip(other) {
        let nat = |end: IpAddr, name: &str| match end {
            IpAddr::V4(address) => format!("nat({name}={address}),"),
            IpAddr::V6(address) => format!("nat({name}={address}),"),
        };
        let (begins, known) = match translation {
            Translation::None => (String::new(), ""),
            Translation::Source => (nat(other, "src"), "nat,"),
            Translation::Destination => (nat(server, "dst"), "nat,"),
        };
        for (protocol, port, alg) in [("tcp", 21, "ftp"), ("udp", 69, "tftp")] {
            let protocol = format!("{protocol}{version}");
            rules.extend([
                format!("priority=10,{protocol},actions=ct({known}table=1)"),
                format!(
                    "table=1,priority=20,{protocol},ct_state=+trk+new-rel,in_port=1,tp_dst={port},\
                     actions=ct(commit,{begins}alg={alg}),output:2"
                ),
            ]);
            for (from, to) in [(1, 2), (2, 1)] {
                rules.extend([
                    format!(
                        "table=1,priority=10,{protocol},ct_state=+trk+new+rel,in_port={from},\
                         actions=ct(commit{}),output:{to}",
                        if known.is_empty() { "" } else { ",nat" }
                    ),
                    format!(
                        "table=1,priority=10,{protocol},ct_state=+trk+est,in_port={from},\
                         actions=output:{to}"
                    ),
                ]);
            }
        }
    }
    add_rules(&network, &rules)?;
    for (server, other) in servers.into_iter().zip(other) {
        let called = if translation == Translation::Destination { other } else { server };
        let ways: &[Way] = match server {
            IpAddr::V4(_) => &[Way::Port, Way::Pasv, Way::Eprt, Way::Epsv, Way::Port],
            IpAddr::V6(_) => &[Way::Eprt, Way::Epsv, Way::Eprt],
        };
        transfer_by_ftp(&network, server, called, ways)
            .with_context(|| format!("FTP with {called}"))?;
        transfer_by_tftp(&network, server, called)
            .with_context(|| format!("TFTP with {called}"))?;
    }
    Ok(())
}

/// An address in the network of a host that no host has.
fn spare_v6(host: Ipv6Addr) -> Ipv6Addr {
    let [a, b, c, d, e, f, g, _] = host.segments();
    Ipv6Addr::new(a, b, c, d, e, f, g, 0xc8c8)
}

/// How the ends agree on a connection for the data.
#[derive(Clone, Copy, Debug)]
enum Way {
    Port,
    Eprt,
    Pasv,
    Epsv,
}

/// Has the first host get [`DATA`] from the second one by each of `ways`, on one control connection.
fn transfer_by_ftp(
    network: &Network,
    server: IpAddr,
    called: IpAddr,
    ways: &[Way],
) -> anyhow::Result<()> {
    let listener =
        network.b().run(|| TcpListener::bind((server, 21)))?.context("listen for FTP")?;
    std::thread::scope(|threads| {
        let serving = threads.spawn(|| network.b().run(|| serve_ftp(&listener))?);
        let got = network.a().run(|| get_by_ftp((called, 21).into(), ways))?;
        let served = serving.join().expect("the server does not panic");
        got.and(served)
    })
}

/// A TCP connection of which neither end is waited for without a limit.
fn patient(stream: TcpStream) -> anyhow::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE);
    patient(stream.with_context(|| format!("connect to {to}"))?)
}

/// The numbers of an address and a port, as PORT and 227 have them.
fn numbers(address: SocketAddr) -> String {
    let port = address.port();
    format!("{},{},{}", address.ip().to_string().replace('.', ","), port >> 8, port & 0xff)
}

/// The address and the port that numbers say.
fn of_numbers(text: &str) -> anyhow::Result<SocketAddr> {
    let numbers: Result<Vec<u8>, _> = text.split(',').map(str::parse).collect();
    let Ok([a, b, c, d, high, low]) = numbers.as_deref() else { bail!("{text:?}") };
    Ok((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*high, *low])).into())
}

/// The text between two others.
fn between<'a>(text: &'a str, open: &str, close: &str) -> anyhow::Result<&'a str> {
    let inner = text.split_once(open).and_then(|(_, rest)| rest.split_once(close));
    inner.map(|(inner, _)| inner).with_context(|| text.to_owned())
}

/// Gets [`DATA`] as a client.
fn get_by_ftp(server: SocketAddr, ways: &[Way]) -> anyhow::Result<()> {
    let mut control = connect(server)?;
    let mut replies = BufReader::new(control.try_clone()?);
    let mut ask = |command: &str, code: &str| {
        control.write_all(format!("{command}\r\n").as_bytes())?;
        let mut reply = String::new();
        replies.read_line(&mut reply).with_context(|| format!("the reply to {command}"))?;
        ensure!(reply.starts_with(code), "{command}: {reply}");
        anyhow::Ok(reply)
    };
    let own = connect_from(server)?;
    for way in ways {
        let mut data = Vec::new();
        match way {
            Way::Port | Way::Eprt => {
                let listener = TcpListener::bind((own, 0))?;
                let address = listener.local_addr()?;
                let family = if own.is_ipv4() { 1 } else { 2 };
                let command = match way {
                    Way::Port => format!("PORT {}", numbers(address)),
                    _ => format!("EPRT |{family}|{own}|{}|", address.port()),
                };
                ask(&command, "200")?;
                ask("RETR", "150")?;
                patient(listener.accept()?.0)?.read_to_end(&mut data)?;
            }
            Way::Pasv => {
                let reply = ask("PASV", "227")?;
                let mut stream = connect(of_numbers(between(&reply, "(", ")")?)?)?;
                ask("RETR", "150")?;
                stream.read_to_end(&mut data)?;
            }
            Way::Epsv => {
                let reply = ask("EPSV", "229")?;
                let port = between(&reply, "(|||", "|)")?.parse()?;
                let mut stream = connect((server.ip(), port).into())?;
                ask("RETR", "150")?;
                stream.read_to_end(&mut data)?;
            }
        }
        ensure!(data == DATA, "{way:?}: {} bytes", data.len());
        ask("NOOP", "200")?;
    }
    ask("QUIT", "221").map(drop)
}

/// The address from which this host reaches a server.
fn connect_from(server: SocketAddr) -> anyhow::Result<IpAddr> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    Ok(socket.local_addr()?.ip())
}

/// Where the data go.
enum DataEnd {
    Call(SocketAddr),
    Listen(TcpListener),
}

/// Serves one client until it says QUIT.
fn serve_ftp(listener: &TcpListener) -> anyhow::Result<()> {
    let mut control = patient(listener.accept()?.0)?;
    let own = control.local_addr()?.ip();
    let mut commands = BufReader::new(control.try_clone()?);
    let mut end = None;
    loop {
        let mut command = String::new();
        commands.read_line(&mut command).context("a command")?;
        let command = command.trim_end();
        let (verb, argument) = command.split_once(' ').unwrap_or((command, ""));
        let reply = match verb {
            "PORT" => {
                end = Some(DataEnd::Call(of_numbers(argument)?));
                "200 ok".to_owned()
            }
            "EPRT" => {
                let parts: Vec<&str> = argument.split('|').collect();
                let ["", _, address, port, ""] = parts[..] else { bail!("{command}") };
                end = Some(DataEnd::Call((address.parse::<IpAddr>()?, port.parse()?).into()));
                "200 ok".to_owned()
            }
            "PASV" | "EPSV" => {
                let listener = TcpListener::bind((own, 0))?;
                let address = listener.local_addr()?;
                end = Some(DataEnd::Listen(listener));
                match verb {
                    "PASV" => format!("227 Entering Passive Mode ({}).", numbers(address)),
                    _ => format!("229 Entering Extended Passive Mode (|||{}|)", address.port()),
                }
            }
            "RETR" => {
                control.write_all(b"150 here it comes\r\n")?;
                let mut stream = match end.take().context("RETR without an address")? {
                    DataEnd::Call(address) => connect(address)?,
                    DataEnd::Listen(listener) => patient(listener.accept()?.0)?,
                };
                stream.write_all(DATA)?;
                continue;
            }
            "NOOP" => "200 ok".to_owned(),
            "QUIT" => {
                control.write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            _ => bail!("{command:?}"),
        };
        control.write_all(format!("{reply}\r\n").as_bytes())?;
    }
}

/// Has the first host read a block from the second one (RFC 1350).
fn transfer_by_tftp(network: &Network, server: IpAddr, called: IpAddr) -> anyhow::Result<()> {
    const READ: &[u8] = b"\x00\x01file\x00octet\x00";
    const BLOCK: &[u8] = b"\x00\x03\x00\x01data";
    const ACKNOWLEDGEMENT: &[u8] = b"\x00\x04\x00\x01";
    let socket = |address: IpAddr, port: u16| {
        let socket = UdpSocket::bind((address, port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        anyhow::Ok(socket)
    };
    let asked = network.b().run(|| socket(server, 69))??;
    let client = network.a().run(|| socket(connect_from((called, 69).into())?, 0))??;
    let answering = network.b().run(|| socket(server, 0))??;
    let mut buffer = [0; 64];
    client.send_to(READ, (called, 69))?;
    let (size, from) = asked.recv_from(&mut buffer).context("the request")?;
    ensure!(&buffer[..size] == READ);
    answering.send_to(BLOCK, from)?;
    let (size, from) = client.recv_from(&mut buffer).context("the block")?;
    ensure!(&buffer[..size] == BLOCK && from.ip() == called, "{from}");
    client.send_to(ACKNOWLEDGEMENT, from)?;
    let (size, _) = answering.recv_from(&mut buffer).context("the acknowledgement")?;
    ensure!(&buffer[..size] == ACKNOWLEDGEMENT);
    Ok(())
}

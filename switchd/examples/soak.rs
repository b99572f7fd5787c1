//! Life goes on: devices, ports, settings and rules come and go at random for as long as you like, while
//! two ports carry a load, and the traffic of two others must not lose a frame. The memory of the switch
//! must not grow, and in the end everything must be as it was.
//!
//! `cargo build --release && cargo run --release -p switchd --example soak -- 600 --workers 2` runs for ten
//! minutes, against the `switchd` beside it, which gets the arguments behind the time. Needs no root where
//! users may have user namespaces.

use anyhow::{Context, ensure};
use control::{Client, Operation, Reply};
use lab::traffic::{Ping, TcpTransfer};
use lab::{Daemon, Host, HostPlan, LinkSpec, Netlink, enter, eventually};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Devices that come and go.
const DEVICES: u64 = 20;
/// Time between two lines.
const TELL: Duration = Duration::from_secs(5);
/// What the memory may differ by between two moments: buffers of ports that happen to be there.
const MEMORY_SLACK: u64 = 48_000;
/// Bytes of one transfer of the load.
const TRANSFER: u64 = 50_000_000;

/// What the traffic counted.
#[derive(Default)]
struct Traffic {
    is_over: AtomicBool,
    sent: AtomicU64,
    lost: AtomicU64,
    megabytes: AtomicU64,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(60), |text| text.parse());
    let limit = Duration::from_secs(seconds.context("how many seconds?")?);
    // Before any thread.
    enter()?;
    let host = |n: u8| Host::on_veth(HostPlan::number(n), &format!("veth{n}"));
    let hosts = (1..=4).map(host).collect::<Result<Vec<_>, _>>()?;
    let ports = (1..=4).flat_map(|n| ["--port".to_owned(), format!("veth{n}")]);
    let daemon = Daemon::start(&program()?, ports.chain(arguments))?;
    let traffic = Traffic::default();
    std::thread::scope(|scope| {
        scope.spawn(|| ping(&hosts[0], &hosts[1], &traffic));
        let load = scope.spawn(|| load(&hosts[2], &hosts[3], &traffic));
        let result = live(&daemon, limit, &traffic);
        traffic.is_over.store(true, Ordering::Relaxed);
        let load = load.join().expect("the load does not panic");
        result.and(load)
    })
    .with_context(|| daemon.log())?;
    let lost = traffic.lost.into_inner();
    ensure!(lost == 0, "{lost} frames of other ports were lost:\n{}", daemon.log());
    let (status, said) = daemon.stop()?;
    ensure!(status.success(), "{status}: {said}");
    println!("nothing was lost, and nothing is left");
    Ok(())
}

/// The daemon, built by the same command.
fn program() -> anyhow::Result<PathBuf> {
    let mut path = std::env::current_exe()?;
    path.pop();
    path.pop();
    path.push("switchd");
    ensure!(path.exists(), "{} does not exist: build it first", path.display());
    Ok(path)
}

fn ping(from: &Host, to: &Host, traffic: &Traffic) {
    while !traffic.is_over.load(Ordering::Relaxed) {
        let report = Ping { count: 100, ..Ping::to(to.v4()) }.run(from.namespace());
        let report = report.unwrap_or_default();
        traffic.sent.fetch_add(report.sent.into(), Ordering::Relaxed);
        traffic.lost.fetch_add((report.sent - report.received()).into(), Ordering::Relaxed);
    }
}

fn load(from: &Host, to: &Host, traffic: &Traffic) -> anyhow::Result<()> {
    let server = SocketAddr::new(to.v4().into(), 5001);
    while !traffic.is_over.load(Ordering::Relaxed) {
        TcpTransfer::to(server, TRANSFER).run(from.namespace(), to.namespace())?;
        traffic.megabytes.fetch_add(TRANSFER / 1_000_000, Ordering::Relaxed);
    }
    Ok(())
}

fn live(daemon: &Daemon, limit: Duration, traffic: &Traffic) -> anyhow::Result<()> {
    let mut client = daemon.client()?;
    let mut netlink = Netlink::open()?;
    let files = open_files(daemon.pid())?;
    let start = Instant::now();
    let (mut events, mut told, mut early) = (0u64, start, None);
    // A number that looks random is random enough (Knuth's MMIX generator).
    let mut random = u64::from(std::process::id());
    while start.elapsed() < limit {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        // What does not fit the state that things are in is refused, which is also a test.
        let _ = disturb(random, &mut client, &mut netlink);
        events += 1;
        if told.elapsed() >= TELL {
            told = Instant::now();
            let memory = resident_kilobytes(daemon.pid())?;
            println!(
                "{:>6} s: {events} events, {} pings, {} lost, {} MB of load, {} ports, {memory} kB",
                start.elapsed().as_secs(),
                traffic.sent.load(Ordering::Relaxed),
                traffic.lost.load(Ordering::Relaxed),
                traffic.megabytes.load(Ordering::Relaxed),
                client.ports()?.len(),
            );
            let early = *early.get_or_insert(memory);
            ensure!(memory < early + MEMORY_SLACK, "the memory grows from {early} kB");
        }
    }
    for port in client.ports()?.iter().skip(4) {
        client.ask(Operation::DelPort { port: port.name.clone() })?;
    }
    eventually("all that was opened is closed", || {
        open_files(daemon.pid()).is_ok_and(|now| now <= files)
    })?;
    let Reply::Drops(drops) = client.ask(Operation::Drops)? else {
        anyhow::bail!("not a list of drops");
    };
    for drop in drops.dropped.iter().filter(|d| d.port <= 4) {
        println!("{}: {} {}", drop.name, drop.n_packets, drop.reason);
    }
    Ok(())
}

/// Something that happens in a network.
fn disturb(random: u64, client: &mut Client, netlink: &mut Netlink) -> anyhow::Result<()> {
    let device = (random >> 33) % DEVICES;
    let (name, peer) = (format!("come{device}"), format!("gone{device}"));
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    let link = netlink.find_link(&name)?;
    let is_tap = device.is_multiple_of(4);
    match ((random >> 48) % 10, link) {
        (0, _) if is_tap => {
            client.ask(Operation::AddPort { spec: format!("tap:{name}") })?;
        }
        (0, _) => {
            client.ask(Operation::AddPort { spec: format!("{name},slots=64") })?;
        }
        (1, _) => {
            client.ask(Operation::DelPort { port: name })?;
        }
        (2, Some(link)) => netlink.delete_link(link.index)?,
        (3, Some(link)) => netlink.set_up(link.index, !link.is_up)?,
        (4, Some(link)) => netlink.set_mtu(link.index, 1400 + link.mtu % 200)?,
        (5, Some(_)) => {
            let settings = format!("tag={}", random >> 40 & 0xff);
            client.ask(Operation::SetPort { port: name, settings })?;
        }
        (6, _) => {
            client.add_flow(&format!("priority=9,dl_type={device},actions=drop")).map(drop)?
        }
        (7, _) => client.del_flows(&format!("dl_type={device}")).map(drop)?,
        (_, None) if !is_tap => netlink.create_veth(&name, &up, &peer, &up)?,
        _ => {}
    }
    Ok(())
}

fn resident_kilobytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.context("no VmRSS")?.parse().context("VmRSS is not a number")
}

fn open_files(pid: u32) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

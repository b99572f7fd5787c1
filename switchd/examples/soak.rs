//! Life goes on: devices come and go at random for as long as you like, while the traffic of two other
//! ports must not lose a frame and the memory of the switch must not grow.
//!
//! `cargo build --release && cargo run --release -p switchd --example soak -- 600` runs for ten
//! minutes, against the `switchd` beside it. Needs no root where users may have user namespaces.

use anyhow::{Context, ensure};
use control::{Client, Operation};
use ports::netlink::{LinkSpec, Netlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use switchd::lab::traffic::Ping;
use switchd::lab::{Daemon, Host, HostPlan, enter};

/// Devices that come and go.
const DEVICES: u64 = 20;

fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(60), |text| text.parse());
    let limit = Duration::from_secs(seconds.context("how many seconds?")?);
    // Before any thread.
    enter()?;
    let hosts = [1, 2].map(|n| Host::on_veth(HostPlan::number(n), &format!("veth{n}")));
    let [a, b] = hosts;
    let (a, b) = (a?, b?);
    let daemon = Daemon::start(&program()?, ["--port", "veth1", "--port", "veth2"])?;
    let mut client = daemon.client()?;
    let (is_over, sent, lost) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let report = Ping { count: 100, ..Ping::to(b.v4()) }.run(a.namespace());
                let report = report.unwrap_or_default();
                sent.fetch_add(report.sent.into(), Ordering::Relaxed);
                lost.fetch_add((report.sent - report.received()).into(), Ordering::Relaxed);
            }
        });
        let result = live(&mut client, &daemon, limit, &sent, &lost);
        is_over.store(true, Ordering::Relaxed);
        result
    })?;
    let lost = lost.into_inner();
    ensure!(lost == 0, "{lost} frames of other ports were lost:\n{}", daemon.log());
    println!("nothing was lost");
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

fn live(
    client: &mut Client,
    daemon: &Daemon,
    limit: Duration,
    sent: &AtomicU64,
    lost: &AtomicU64,
) -> anyhow::Result<()> {
    let mut netlink = Netlink::open()?;
    let start = Instant::now();
    let (mut events, mut told) = (0u64, start);
    // A number that looks random is random enough (Knuth's MMIX generator).
    let mut random = u64::from(std::process::id());
    while start.elapsed() < limit {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let device = (random >> 33) % DEVICES;
        let (name, peer) = (format!("come{device}"), format!("gone{device}"));
        let link = netlink.find_link(&name)?;
        // What does not fit the state that things are in is refused, which is also a test.
        let _ = match ((random >> 48) % 8, link) {
            (0, _) => client.ask(Operation::AddPort { spec: format!("{name},slots=64") }).is_ok(),
            (1, _) => client.ask(Operation::DelPort { port: name }).is_ok(),
            (2, Some(link)) => netlink.delete_link(link.index).is_ok(),
            (3, Some(link)) => netlink.set_up(link.index, !link.is_up).is_ok(),
            (4, Some(link)) => netlink.set_mtu(link.index, 1400 + link.mtu % 200).is_ok(),
            (5, Some(_)) => {
                let settings = format!("tag={}", random >> 40 & 0xff);
                client.ask(Operation::SetPort { port: name, settings }).is_ok()
            }
            (_, Some(_)) => true,
            (_, None) => {
                let up = LinkSpec { up: true, ..LinkSpec::default() };
                netlink.create_veth(&name, &up, &peer, &up).is_ok()
            }
        };
        events += 1;
        if told.elapsed() >= Duration::from_secs(5) {
            told = Instant::now();
            println!(
                "{:>6} s: {events} events, {} pings, {} lost, {} ports, {} kB",
                start.elapsed().as_secs(),
                sent.load(Ordering::Relaxed),
                lost.load(Ordering::Relaxed),
                client.ports()?.len(),
                resident_kilobytes(daemon.pid())?
            );
        }
    }
    Ok(())
}

fn resident_kilobytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.context("no VmRSS")?.parse().context("VmRSS is not a number")
}

//! What frames and TCP notice of restarts of the switch between two hosts (`ofctl restart`).
//!
//! ```text
//! cargo build --release && cargo run --release -p benches --bin restart
//! ```

use anyhow::{Context, ensure};
use clap::Parser;
use lab::traffic::{NumberedStream, Ping, TcpLoad};
use lab::{Daemon, Host, HostPlan, enter, has_taps};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Restart the switch while numbered datagrams, and then a TCP stream, pass from one host to another. Builds
/// its own network namespaces. The status is 0 if no datagram was lost or came out of order.
#[derive(Parser)]
struct Args {
    /// How many times the switch is restarted
    #[arg(long, default_value_t = 50)]
    restarts: u32,
    /// Datagrams a second
    #[arg(long, default_value_t = 100_000)]
    rate: u64,
    /// Milliseconds between two restarts
    #[arg(long, default_value_t = 200)]
    pause: u64,
    /// Connect the hosts by TAP devices instead of veth pairs
    #[arg(long)]
    tap: bool,
    /// Slots of the receive rings of veth ports, instead of those that the switch chooses
    #[arg(long, conflicts_with = "tap")]
    slots: Option<u32>,
    /// Workers of the switch
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// The switch; the one built beside this program unless said otherwise
    #[arg(long, value_name = "PATH")]
    switchd: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let switchd = match &args.switchd {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("switchd"),
    };
    enter()?;
    ensure!(!args.tap || has_taps(), "this user may not have TAP devices");
    let names = ["p1", "p2"];
    let plan = |i: usize| HostPlan { number: i as u8 + 1, mtu: None };
    let kind = if args.tap { "tap:" } else { "" };
    let on_veth = |i: usize| Host::on_veth(plan(i), names[i]);
    let veths = if args.tap { None } else { Some([on_veth(0)?, on_veth(1)?]) };
    // All frames go through the rings, which are handed over.
    let mut words = ["--kernel-cache", "off", "--workers", &args.workers.to_string()]
        .map(str::to_owned)
        .to_vec();
    let slots = args.slots.map(|slots| format!(",slots={slots}")).unwrap_or_default();
    names
        .iter()
        .for_each(|name| words.extend(["--port".to_owned(), format!("{kind}{name}{slots}")]));
    let mut daemon = Daemon::start(&switchd, &words)?;
    let [a, b] = match veths {
        Some(hosts) => hosts,
        None => [Host::on_tap(plan(0), names[0])?, Host::on_tap(plan(1), names[1])?],
    };
    let ping = Ping::to(b.v4());
    lab::eventually("a ping", || ping.run(a.namespace()).is_ok_and(|report| report.is_complete()))?;

    let to = SocketAddr::new(b.v4().into(), 7000);
    let stream = NumberedStream { to, rate: args.rate, window: u64::MAX };
    let start = Instant::now();
    let (restarted, report) =
        stream.run_during(a.namespace(), b.namespace(), || restart(&mut daemon, &args))?;
    let durations = restarted.with_context(|| daemon.log())?;
    let rate = report.sent as f64 / start.elapsed().as_secs_f64();
    let lost = report.sent - report.received;
    println!("{} restarts, {} datagrams at {rate:.0} a second", args.restarts, report.sent);
    println!("lost: {lost}; out of order or twice: {}", report.misordered);
    println!("longest time between two datagrams: {} µs", report.longest_gap.as_micros());
    tell("a restart took", "ms", durations.iter().map(|d| d.as_millis() as u64).collect());
    tell("frames waited", "µs", waits(&daemon.log()));
    let mut client = daemon.client()?;
    for port in client.port_stats()? {
        println!("port {}: {port:?}", port.port);
    }

    let duration = Duration::from_secs(2);
    let load =
        TcpLoad { address: SocketAddr::new(b.v4().into(), 7001), streams: 1, duration, pace: None };
    let without = load.run(a.namespace(), b.namespace())?;
    let with = std::thread::scope(|scope| {
        let load = scope.spawn(|| load.run(a.namespace(), b.namespace()));
        let few = Args { restarts: 5, ..Args::parse() };
        let restarted = restart(&mut daemon, &few);
        let report = load.join().expect("the load does not panic")?;
        restarted.map(|_| report)
    })?;
    println!(
        "TCP: {:.2} Gb/s, and {:.2} Gb/s over 5 restarts",
        without.gbit_per_second(),
        with.gbit_per_second()
    );
    let is_clean = lost == 0 && report.misordered == 0;
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Restarts the switch again and again. Returns how long each restart took.
fn restart(daemon: &mut Daemon, args: &Args) -> anyhow::Result<Vec<Duration>> {
    let pause = Duration::from_millis(args.pause);
    let one = |_| {
        std::thread::sleep(pause);
        let start = Instant::now();
        daemon.restart()?;
        Ok(start.elapsed())
    };
    let durations = (0..args.restarts).map(one).collect();
    std::thread::sleep(pause);
    durations
}

/// The times for which frames have waited in the rings, in microseconds, as the log tells them.
fn waits(log: &str) -> Vec<u64> {
    let words = log.lines().filter_map(|line| line.split("frames have waited for ").nth(1));
    words.filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect()
}

fn tell(what: &str, unit: &str, mut values: Vec<u64>) {
    values.sort_unstable();
    if let [first, .., last] = &values[..] {
        println!("{what} {} {unit} (median; {first} to {last})", values[values.len() / 2]);
    }
}

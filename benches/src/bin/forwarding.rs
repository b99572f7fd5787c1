//! How fast frames get from one host to another: through the switch, through the Linux bridge, and
//! through nothing but a veth pair, all measured the same way.
//!
//! ```text
//! cargo build --release && cargo run --release -p benches --bin forwarding
//! ```
//!
//! The network is a laboratory ([`switchd::lab`]): no root, no other programs. The generator is
//! pinned to the first core and the switch to the second, so that neither is measured waiting for
//! the other; TCP ends run where the scheduler puts them, as they would. Each number is the median
//! of several runs. What it does not do: compare with numbers from another day or machine.

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use ports::netlink::{LinkSpec, Netlink};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use switchd::lab::traffic::{Ping, RoundTrips, TcpTransfer};
use switchd::lab::{Daemon, FrameSocket, Host, HostPlan, InterfaceCounters, enter};

/// Frames of one system call of the generator.
const BURST: usize = 64;

/// Measure frames per second, TCP throughput and round trips between two hosts.
#[derive(Parser)]
struct Args {
    /// What to put between the hosts.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cable,bridge,switchd")]
    through: Vec<Through>,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "frames,tcp,round-trips")]
    measure: Vec<Measure>,
    /// Seconds of one run.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Runs of which the median is taken.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// The switch; the one built beside this program unless said otherwise.
    #[arg(long)]
    switchd: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Through {
    /// A veth pair from host to host.
    Cable,
    /// The kernel's bridge.
    Bridge,
    /// The switch, with its default rule (`actions=NORMAL`).
    Switchd,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Measure {
    /// Frames per second: small and full ones, of one flow and of ten thousand.
    Frames,
    /// One TCP stream with the kernel's default offloads.
    Tcp,
    /// One byte there and back over TCP.
    RoundTrips,
}

/// Frames to send: how long, and of how many flows.
const SHAPES: [(usize, usize); 3] = [(60, 1), (60, 10_000), (1514, 1)];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    enter()?;
    println!("{}", conditions());
    println!("{:<9} {:<24} {:>12}", "through", "measured", "median");
    for &through in &args.through {
        let network = Network::new(through, &args)?;
        if args.measure.contains(&Measure::Frames) {
            for (size, flows) in SHAPES {
                let rate = median(args.runs, || network.frame_rate(size, flows, args.seconds))?;
                let name = format!("frames/{size}B/flows={flows}");
                network.print(&name, format!("{:.3} Mpps", rate / 1e6));
            }
        }
        if args.measure.contains(&Measure::Tcp) {
            let rate = median(args.runs, || network.tcp_rate(args.seconds))?;
            network.print("tcp/streams=1", format!("{rate:.2} Gbit/s"));
        }
        if args.measure.contains(&Measure::RoundTrips) {
            let rate = median(args.runs, || network.round_trip_rate(args.seconds))?;
            network.print("round_trips/1B", format!("{rate:.0} /s"));
        }
    }
    Ok(())
}

/// What a number means nothing without. A machine that is busy already is the usual reason for a
/// surprise.
fn conditions() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (kernel, cpus, load) =
        (read("/proc/sys/kernel/osrelease"), read("/proc/cpuinfo"), read("/proc/loadavg"));
    let models = || cpus.lines().filter_map(|line| line.strip_prefix("model name"));
    let model = models().next().and_then(|line| line.split_once(": ")).map_or("?", |(_, m)| m);
    format!(
        "Linux {}, {} x {model}, load {}",
        kernel.trim(),
        models().count(),
        load.split(' ').next().unwrap_or("?")
    )
}

fn median(runs: usize, mut run: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    let mut results = (0..runs.max(1)).map(|_| run()).collect::<anyhow::Result<Vec<_>>>()?;
    results.sort_by(f64::total_cmp);
    Ok(results[results.len() / 2])
}

/// Two hosts and what is between them.
struct Network {
    through: Through,
    a: Host,
    b: Host,
    /// Kept for its end, which ends the switch.
    _daemon: Option<Daemon>,
}

impl Network {
    fn new(through: Through, args: &Args) -> anyhow::Result<Self> {
        // Names of their own, as the kernel takes its time to remove those of the network before.
        let tag = match through {
            Through::Cable => 'c',
            Through::Bridge => 'b',
            Through::Switchd => 's',
        };
        let ports = [format!("{tag}veth1"), format!("{tag}veth2")];
        let [a, b] = [1, 2].map(HostPlan::number);
        let (a, b) = if through == Through::Cable {
            Host::cabled_pair(a, b)?
        } else {
            (Host::on_veth(a, &ports[0])?, Host::on_veth(b, &ports[1])?)
        };
        let daemon = match through {
            Through::Cable => None,
            Through::Bridge => {
                bridge(&ports)?;
                None
            }
            Through::Switchd => Some(start_switchd(&ports, args)?),
        };
        let network = Self { through, a, b, _daemon: daemon };
        let report = Ping::to(network.b.v4()).run(network.a.namespace())?;
        ensure!(report.received() > 0, "the hosts do not reach each other");
        Ok(network)
    }

    fn print(&self, measured: &str, value: String) {
        let through = self.through.to_possible_value().expect("no value is skipped");
        println!("{:<9} {measured:<24} {value:>12}", through.get_name());
    }

    /// Frames per second that arrive while the generator sends as fast as it can.
    fn frame_rate(&self, size: usize, flows: usize, seconds: f64) -> anyhow::Result<f64> {
        // The receiving kernel drops what is for another MAC address first thing, so that its work
        // hardly counts; a frame from that address tells the switch where it is.
        let sink = [2, 0, 0, 0, 0, 0xee];
        let receiver = self.b.run(|| FrameSocket::open_to_send(self.b.interface()))??;
        receiver.send(&udp_frame(self.a.mac(), sink, 60, 1))?;
        let frames: Vec<_> =
            (0..flows).map(|flow| udp_frame(sink, self.a.mac(), size, flow as u16)).collect();
        let frames = if flows == 1 { vec![frames[0].clone(); BURST] } else { frames };
        let sender = self.a.run(|| FrameSocket::open_to_send(self.a.interface()))??;
        on_core(0, || {
            // The first moments fill caches and queues.
            let warm = Instant::now() + Duration::from_millis(100);
            sender.send_until(&frames, BURST, || Instant::now() > warm)?;
            let before = InterfaceCounters::read(self.b.namespace(), self.b.interface())?;
            let start = Instant::now();
            let end = start + Duration::from_secs_f64(seconds);
            sender.send_until(&frames, BURST, || Instant::now() > end)?;
            let elapsed = start.elapsed();
            let after = InterfaceCounters::read(self.b.namespace(), self.b.interface())?;
            Ok((after.rx_packets - before.rx_packets) as f64 / elapsed.as_secs_f64())
        })
    }

    /// Gbit/s of one stream that lasts about `seconds`.
    fn tcp_rate(&self, seconds: f64) -> anyhow::Result<f64> {
        let server = SocketAddr::new(self.b.v4().into(), 5001);
        let run = |bytes| -> anyhow::Result<f64> {
            let transfer =
                TcpTransfer::to(server, bytes).run(self.a.namespace(), self.b.namespace())?;
            Ok(transfer.gbit_per_second())
        };
        let guess = run(100_000_000)?;
        run((guess * 1e9 / 8.0 * seconds) as u64)
    }

    fn round_trip_rate(&self, seconds: f64) -> anyhow::Result<f64> {
        let series = RoundTrips {
            address: SocketAddr::new(self.b.v4().into(), 5002),
            duration: Duration::from_secs_f64(seconds),
        };
        Ok(series.run(self.a.namespace(), self.b.namespace())?.per_second())
    }
}

fn bridge(ports: &[String]) -> anyhow::Result<()> {
    let mut netlink = Netlink::open()?;
    netlink.create_bridge("bridge", &LinkSpec { up: true, ..LinkSpec::default() })?;
    let bridge = netlink.link("bridge")?.index;
    for port in ports {
        let port = netlink.link(port)?.index;
        netlink.set_master(port, Some(bridge))?;
    }
    Ok(())
}

fn start_switchd(ports: &[String], args: &Args) -> anyhow::Result<Daemon> {
    let program = match &args.switchd {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("switchd"),
    };
    if !program.exists() {
        bail!("{}: not built yet; run \"cargo build --release\"", program.display());
    }
    let arguments: Vec<_> = ports.iter().flat_map(|port| ["--port", port]).collect();
    // A child inherits the cores of the thread that starts it.
    on_core(1, || Daemon::start(&program, arguments).context("start the switch"))
}

/// Runs `f` on one core, if the machine has more than one.
fn on_core<T>(core: usize, f: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let this_thread = Pid::from_raw(0);
    let all = sched_getaffinity(this_thread)?;
    let available: Vec<_> =
        (0..CpuSet::count()).filter(|&core| all.is_set(core).unwrap_or(false)).collect();
    let mut one = CpuSet::new();
    one.set(available[core % available.len()])?;
    sched_setaffinity(this_thread, &one)?;
    let result = f();
    sched_setaffinity(this_thread, &all)?;
    result
}

/// A UDP datagram in a frame of `size` bytes; `flow` is its source port.
fn udp_frame(destination: [u8; 6], source: [u8; 6], size: usize, flow: u16) -> Vec<u8> {
    let payload = size - 14 - 20 - 8;
    let mut frame = Vec::with_capacity(size);
    etherparse::PacketBuilder::ethernet2(source, destination)
        .ipv4([10, 0, 0, 201], [10, 0, 0, 202], 64)
        .udp(flow.wrapping_add(1024), 9)
        .write(&mut frame, &vec![0; payload])
        .expect("a vector takes everything");
    frame
}

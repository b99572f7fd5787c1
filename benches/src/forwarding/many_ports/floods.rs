//! What floods take from everybody, on a switch of 200 ports.
//!
//! Some ports send five times as many broadcasts as storm control lets one of them have flooded. First
//! nothing else is sent: the worker's own account says how long it was busy, and the counters of the
//! ports how many copies left. Then two hosts exchange frames beside the floods, as fast as they can, in
//! turn with the same without.
//!
//! The yardstick of a copy is what the kernel takes for it. A program without a switch sends the same
//! number of copies from one packet socket to the same devices, as far apart, with one system call for
//! the copies of a frame.
//!
//! All this is measured without a kernel cache, and then with one, whose program makes the copies, and which
//! forwards the frames of the two hosts.

use super::Plan;
use crate::forwarding::idle_ports::far_end;
use crate::forwarding::{IdlePorts, Network, Step, Through, on_core};
use crate::report::{Better, ColumnId, Goal, Role, RowId, Table, progress};
use anyhow::bail;
use control::{Client, Operation, Reply};
use lab::{FrameSocket, Netlink, experimental_frame};
use ports::afpacket::PlainFlood;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Ports that get a copy of each flooded frame.
const PORTS: u16 = 200;
/// Time between two bursts of a port that floods, and frames of a burst: 2,000 a second, where 400 may pass.
/// The ports take turns, evenly.
const PERIOD: Duration = Duration::from_millis(5);
const BURST: usize = 10;
/// Floods run this long before anything is measured, so that what may pass at once is used up.
const SETTLING: Duration = Duration::from_millis(1500);
/// The floods that are compared: how many ports flood at once, the name of the row, and the least share of the
/// hosts' rate that a switch without a kernel cache is to keep beside the flood.
const FLOODS: [(usize, &str, f64); 2] = [(1, "1 port floods", 0.9), (8, "8 ports flood", 0.65)];
/// The names of the rows in which the kernel cache of the switch makes the copies, for each of the floods.
const WITH_KERNEL: [&str; 2] = ["1 port, kernel cache", "8 ports, kernel cache"];
/// The least share of the hosts' rate that a switch with a kernel cache is to keep beside a flood.
const KEPT: f64 = 0.9;
/// The yardstick: the same copies without a switch, for each of the floods.
const ALONE: [&str; 2] = ["kernel alone, as 1 port", "kernel alone, as 8 ports"];
/// How many times the time that the kernel takes for a copy the switch may take without a kernel cache.
const FACTOR: f64 = 1.25;
/// Microseconds that a copy may take with a kernel cache.
const COPY: f64 = 1.2;

pub(super) fn measure(plan: &Plan) -> anyhow::Result<(Table, Vec<Goal>)> {
    let about = format!("broadcasts to {PORTS} ports, beyond the limits");
    let mut table = Table::new("floods", &about);
    let columns = Columns {
        copies: table.column("copies", "k/s", Better::Neither),
        share: table.column("of a worker", "%", Better::Lower),
        cost: table.column("a copy", "µs", Better::Lower),
        ratio: table.column("of the kernel", "times", Better::Lower),
        rate: table.column("60 B beside it", "Mpps", Better::Higher),
    };
    let calm = table.row("no flood", Role::Limit);
    let yardsticks = ALONE.map(|name| table.row(name, Role::Limit));
    let rows = FLOODS.map(|(_, name, _)| table.row(name, Role::Ours));
    let of_switch = Rows { calm, yardsticks, floods: rows };
    measure_through(&build(Through::Switchd, plan)?, plan, &mut table, &columns, &of_switch)?;
    let mut goals = Vec::new();
    for ((_, name, wanted), row) in FLOODS.into_iter().zip(rows) {
        let of = |column| table.median(row, column);
        let what = format!("{name}: a copy, times what the kernel alone takes");
        goals.push(Goal::at_most(&what, of(columns.ratio), FACTOR));
        goals.push(Goal::at_most(&format!("{name}: % of a worker"), of(columns.share), 34.0));
        let name = format!("60 B frames, {name}, against none");
        let of_calm = table.median(calm, columns.rate);
        goals.push(Goal::ratio(&name, of(columns.rate), wanted, of_calm));
    }
    let network = match build(Through::KernelCache, plan) {
        Ok(network) => network,
        Err(error) => {
            progress(&format!("no floods with a kernel cache: {error:#}"));
            return Ok((table, goals));
        }
    };
    let calm = table.row("no flood, kernel cache", Role::Limit);
    let rows = WITH_KERNEL.map(|name| table.row(name, Role::Ours));
    let of_kernel = Rows { calm, yardsticks, floods: rows };
    measure_through(&network, plan, &mut table, &columns, &of_kernel)?;
    for (name, row) in WITH_KERNEL.into_iter().zip(rows) {
        let of = |column| table.median(row, column);
        goals.push(Goal::at_most(&format!("{name}: a flooded copy, µs"), of(columns.cost), COPY));
        let name = format!("60 B frames, {name}, against none");
        let of_calm = table.median(calm, columns.rate);
        goals.push(Goal::ratio(&name, of(columns.rate), KEPT, of_calm));
    }
    Ok((table, goals))
}

/// The columns of the table.
struct Columns {
    copies: ColumnId,
    share: ColumnId,
    cost: ColumnId,
    ratio: ColumnId,
    rate: ColumnId,
}

/// The rows of a switch: without a flood, and for each of the floods that of the yardstick
/// and that of the switch.
struct Rows {
    calm: RowId,
    yardsticks: [RowId; 2],
    floods: [RowId; 2],
}

fn build(through: Through, plan: &Plan) -> anyhow::Result<Network> {
    progress(&format!("building a switch of {PORTS} ports"));
    Network::build(through, None, IdlePorts::Veth(PORTS), &plan.programs)
}

/// Measures all floods through one switch.
fn measure_through(
    network: &Network,
    plan: &Plan,
    table: &mut Table,
    columns: &Columns,
    rows: &Rows,
) -> anyhow::Result<()> {
    let &Columns { copies, share, cost, ratio, rate } = columns;
    let established = || -> anyhow::Result<f64> {
        let values = Step::Frames { size: 60, flows: 1 }.run(network, plan.duration)?;
        Ok(values[0])
    };
    established()?;
    let mut alone = network.namespace().run(kernel_alone)??;
    for run in 1..=plan.runs {
        for (((ports, name, _), row), yardstick) in
            FLOODS.into_iter().zip(rows.floods).zip(rows.yardsticks)
        {
            progress(&format!("{name}, run {run}"));
            table.record(rows.calm, rate, established()?);
            let flood = Flood::open(network, ports)?;
            let (mut pace, mut of_ours) = (Duration::ZERO, 0.0);
            flood.during(|| {
                let mut client = network.client()?;
                let (before, start) = (Account::read(&mut client)?, Instant::now());
                thread::sleep(plan.duration);
                let (after, seconds) = (Account::read(&mut client)?, start.elapsed().as_secs_f64());
                let (made, busy) = (after.copies - before.copies, after.busy - before.busy);
                table.record(row, copies, made / seconds / 1e3);
                table.record(row, share, 100.0 * busy / seconds);
                of_ours = 1e6 * busy / made;
                table.record(row, cost, of_ours);
                table.record(row, rate, established()?);
                pace = Duration::from_secs_f64(seconds * f64::from(PORTS) / made);
                table.record(yardstick, copies, made / seconds / 1e3);
                Ok(())
            })?;
            let of_kernel = on_core(1, || kernel_copies(&mut alone, pace, plan.duration))?;
            table.record(yardstick, cost, of_kernel);
            table.record(row, ratio, of_ours / of_kernel);
        }
    }
    Ok(())
}

/// A flood to all ports but the two of the hosts, without a switch.
fn kernel_alone() -> anyhow::Result<PlainFlood> {
    let mut netlink = Netlink::open()?;
    let indexes = (0..PORTS).map(|n| Ok(netlink.link(&IdlePorts::device(n))?.index));
    Ok(PlainFlood::open(indexes.collect::<anyhow::Result<_>>()?)?)
}

/// Sends a frame to all devices every `pace` for a time. Returns the microseconds of a copy.
fn kernel_copies(flood: &mut PlainFlood, pace: Duration, time: Duration) -> anyhow::Result<f64> {
    let frame = experimental_frame([0xff; 6], [2, 0, 0, 1, 0, 0xff], &[0; 46]);
    let (mut copies, mut busy) = (0, Duration::ZERO);
    let start = Instant::now();
    while start.elapsed() < time {
        let sending = Instant::now();
        copies += flood.send(&frame)?;
        busy += sending.elapsed();
        thread::sleep(pace.saturating_sub(sending.elapsed()));
    }
    Ok(1e6 * busy.as_secs_f64() / copies as f64)
}

/// For each flooding port the socket at its far end, and the broadcast frames to send.
struct Flood(Vec<(FrameSocket, Vec<Vec<u8>>)>);

impl Flood {
    fn open(network: &Network, ports: usize) -> anyhow::Result<Self> {
        let open = |n: usize| -> anyhow::Result<_> {
            let device = far_end(&IdlePorts::device(n as u16));
            let socket = network.namespace().run(|| FrameSocket::open_to_send(&device))??;
            let frame = experimental_frame([0xff; 6], [2, 0, 0, 1, 0, n as u8], &[0; 46]);
            Ok((socket, vec![frame; BURST]))
        };
        Ok(Self((0..ports).map(open).collect::<anyhow::Result<_>>()?))
    }

    /// Floods while `f` runs, from [`SETTLING`] before on.
    fn during(&self, f: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let ends = AtomicBool::new(false);
        thread::scope(|scope| {
            let flood = scope.spawn(|| on_core(0, || self.run(&ends)));
            thread::sleep(SETTLING);
            let result = f();
            ends.store(true, Ordering::Relaxed);
            let flooded = flood.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result.and(flooded)
        })
    }

    fn run(&self, ends: &AtomicBool) -> anyhow::Result<()> {
        while !ends.load(Ordering::Relaxed) {
            for (socket, frames) in &self.0 {
                socket.send_all(frames)?;
                thread::sleep(PERIOD / self.0.len() as u32);
            }
        }
        Ok(())
    }
}

/// What the switch has counted so far.
struct Account {
    /// Frames that left the idle ports: copies, as nobody sends to them alone.
    copies: f64,
    /// Seconds in which the worker had something to do.
    busy: f64,
}

impl Account {
    fn read(client: &mut Client) -> anyhow::Result<Self> {
        let ports = client.port_stats()?;
        let idle = ports.iter().filter(|port| IdlePorts::is_device(&port.name));
        let Reply::Workers(workers) = client.ask(Operation::Workers)? else {
            bail!("not an answer about workers");
        };
        Ok(Self {
            copies: idle.map(|port| port.tx_packets as f64).sum(),
            busy: workers.iter().map(|w| w.ns_per_frame * w.n_packets as f64 / 1e9).sum(),
        })
    }
}

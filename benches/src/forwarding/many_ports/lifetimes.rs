//! Starting and stopping.
//!
//! Two yardsticks are measured in turn with the switch, on the same devices, which are down and free:
//!
//! - *Kernel alone*: routing messages (rtnetlink(7)) enslave each device to a bridge that is down, and set the
//!   device up, with one message for both, and 32 messages with each system call. To stop, messages free each
//!   device and set it down. This is what shielding the ports costs, whoever does it.
//! - *Kernel and packet sockets*: meanwhile 256 threads open, for each device, a packet socket with a receive
//!   ring of 128 KiB that makes the device promiscuous, and one that only sends; and close them again. This is
//!   what no switch on packet sockets can do without.
//!
//! The switch has started when it answers at its control socket, and has stopped when its process has ended.

use super::Plan;
use crate::forwarding::idle_ports::make_pairs;
use crate::forwarding::processes;
use crate::report::{Better, Goal, Role, Table, progress};
use anyhow::Context;
use control::Operation;
use lab::{Daemon, LinkSpec, Namespace, Netlink};
use ports::RingSize;
use ports::afpacket::PlainSockets;
use ports::netlink::LinkChange;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Threads that open and close sockets, as many as the switch has for it.
const THREADS: usize = 256;
/// The ring of a port of many.
const RING: RingSize = RingSize::small(64);
/// The time after the start in which the switch hears of its own changes of devices. It is not idle before.
const AFTERMATH: Duration = Duration::from_secs(1);
/// How long the switch is watched while nothing comes.
const WATCHED: Duration = Duration::from_secs(2);
/// How much longer than a yardstick the switch may take.
const FACTOR: f64 = 1.5;

/// Seconds of a start and of a stop.
type StartStop = [f64; 2];

pub(super) fn measure(plan: &Plan) -> anyhow::Result<(Table, Vec<Goal>)> {
    let about = format!("{} ports on veth devices start, stop and wait", plan.ports);
    let mut table = Table::new("lifetimes", &about);
    let kernel = table.row("kernel alone", Role::Limit);
    let sockets = table.row("kernel and packet sockets", Role::Limit);
    let switch = table.row("switchd", Role::Ours);
    let columns = ["start", "stop"].map(|name| table.column(name, "ms", Better::Lower));
    let one_more = table.column("one port more", "ms", Better::Lower);
    let idle = table.column("idle CPU", "% of a core", Better::Lower);
    let memory = table.column("memory", "MiB", Better::Lower);
    let [start_ratio, stop_ratio] = ["start", "stop"]
        .map(|name| table.column(&format!("{name}, of the kernel"), "times", Better::Lower));
    let socket_ratios = ["start", "stop"]
        .map(|name| table.column(&format!("{name}, of both"), "times", Better::Lower));

    let namespace = Namespace::new()?;
    namespace.run(|| make_pairs("many", plan.ports).and_then(|()| make_pairs("spare", 1)))??;
    for run in 1..=plan.runs {
        progress(&format!("starting and stopping {} ports, run {run}", plan.ports));
        let alone = namespace.run(|| devices_alone(plan.ports, false))??;
        let both = namespace.run(|| devices_alone(plan.ports, true))??;
        let ours = namespace.run(|| switch_with(plan))??;
        for (row, times) in [(kernel, alone), (sockets, both), (switch, ours.times)] {
            for (column, time) in columns.into_iter().zip(times) {
                table.record(row, column, 1e3 * time);
            }
        }
        table.record(switch, one_more, 1e3 * ours.one_more);
        table.record(switch, idle, ours.idle);
        table.record(switch, memory, ours.memory);
        for (n, ratio) in [start_ratio, stop_ratio].into_iter().enumerate() {
            table.record(switch, ratio, ours.times[n] / alone[n]);
            table.record(switch, socket_ratios[n], ours.times[n] / both[n]);
        }
    }
    let of = |column| table.median(switch, column);
    let named = |what: &str| format!("{} ports, {what}", plan.ports);
    let goals = vec![
        Goal::at_most(&named("start, times the kernel alone"), of(start_ratio), FACTOR),
        Goal::at_most(&named("stop, times the kernel alone"), of(stop_ratio), FACTOR),
        Goal::at_most(&named("start, times kernel and sockets"), of(socket_ratios[0]), FACTOR),
        Goal::at_most(&named("stop, times kernel and sockets"), of(socket_ratios[1]), FACTOR),
        Goal::at_most(&named("one port more: ms"), of(one_more), 50.0),
        Goal::below(&named("idle CPU, % of a core"), of(idle), 3.0),
        Goal::below(&named("memory, MiB"), of(memory), 400.0),
    ];
    Ok((table, goals))
}

/// What the kernel takes for the devices of `ports` ports, in the calling thread's namespace; and for their
/// sockets at the same time, if `with_sockets`.
fn devices_alone(ports: u16, with_sockets: bool) -> anyhow::Result<StartStop> {
    let mut netlink = Netlink::open()?;
    netlink.create_bridge("yardstick", &LinkSpec::default())?;
    let bridge = netlink.link("yardstick")?.index;
    let indexes: Vec<u32> = (0..ports)
        .map(|n| Ok(netlink.link(&format!("many{n}"))?.index))
        .collect::<anyhow::Result<_>>()?;
    let changes = |master, up| -> Vec<LinkChange> {
        let change = |index: &u32| LinkChange { index: *index, master: Some(master), up: Some(up) };
        indexes.iter().map(change).collect()
    };
    let here = Namespace::current()?;
    let opened = Mutex::new(Vec::new());
    let failed = Mutex::new(None);
    let open = |index| match PlainSockets::open(index, RING) {
        Ok(sockets) => lock(&opened).push(sockets),
        Err(error) => *lock(&failed) = Some(error),
    };
    let (to_open, to_close) =
        if with_sockets { (indexes.clone(), true) } else { (Vec::new(), false) };

    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| here.run(|| on_threads(to_open, open)));
        netlink.change_all(&changes(bridge, true))
    })?;
    let started = start.elapsed();
    if let Some(error) = lock(&failed).take() {
        return Err(error).context("open a packet socket");
    }
    let sockets = std::mem::take(&mut *lock(&opened));
    let stop = Instant::now();
    thread::scope(|scope| {
        if to_close {
            scope.spawn(|| on_threads(sockets, drop));
        }
        netlink.change_all(&changes(0, false))
    })?;
    let stopped = stop.elapsed();
    netlink.delete_link(bridge)?;
    Ok([started, stopped].map(|time| time.as_secs_f64()))
}

/// Calls `f` with everything, on [`THREADS`] threads.
fn on_threads<T: Send>(things: Vec<T>, f: impl Fn(T) + Sync) {
    let threads = things.len().min(THREADS);
    let things = Mutex::new(things.into_iter());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let next = || lock(&things).next();
                while let Some(thing) = next() {
                    f(thing);
                }
            });
        }
    });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What one life of the switch showed.
struct Life {
    times: StartStop,
    /// Seconds in which one more port was added.
    one_more: f64,
    /// Percent of a processor while nothing came.
    idle: f64,
    /// Memory of the switch with all ports (Pss), in MiB.
    memory: f64,
}

fn switch_with(plan: &Plan) -> anyhow::Result<Life> {
    let names: Vec<String> = (0..plan.ports).map(|n| format!("many{n}")).collect();
    let arguments = names.iter().flat_map(|name| ["--port", name]);
    let start = Instant::now();
    let daemon = Daemon::start(&plan.programs.switchd, arguments).context("start the switch")?;
    let started = start.elapsed();
    let mut client = daemon.client()?;
    let pids = [daemon.pid()];
    thread::sleep(AFTERMATH);
    let (before, watched) = (processes::cpu_time(&pids)?, Instant::now());
    thread::sleep(WATCHED);
    let cpu = processes::cpu_time(&pids)? - before;
    let idle = 100.0 * cpu.as_secs_f64() / watched.elapsed().as_secs_f64();
    let memory = processes::memory(&pids)? as f64 / f64::from(1 << 20);
    let add = Instant::now();
    client.ask(Operation::AddPort { spec: "spare0".to_owned() })?;
    let one_more = add.elapsed().as_secs_f64();
    drop(client);
    let stop = Instant::now();
    daemon.stop()?;
    let times = [started, stop.elapsed()].map(|time| time.as_secs_f64());
    Ok(Life { times, one_more, idle, memory })
}

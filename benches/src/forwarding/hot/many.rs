//! 10,000 flows in the kernel, each with an entry of its own: to 1,000 ports, and to one.

use super::{Plan, kernel};
use crate::forwarding::measure::{Generator, udp_frame};
use crate::forwarding::{IdlePorts, Network, Through, on_core, processes};
use crate::report::{Better, Goal, Role, Table, progress};
use anyhow::{Context, ensure};
use control::Operation;
use std::fs;
use std::time::{Duration, Instant};

const FLOWS: u16 = 10_000;
/// The ports that frames are sent to. The frames come from one port more.
const PORTS: [u16; 2] = [1, 1000];
/// The share of the rate with few ports that is wanted.
const WANTED: f64 = 0.9;
/// The most memory of programs and maps that is wanted, in megabytes.
const MOST_MEMORY: f64 = 32.0;
/// How long the flows may take to come into the kernel.
const PATIENCE: Duration = Duration::from_secs(30);
/// Each flow is a cached flow of its own, because the rule reads its source port.
const RULE: &str =
    "priority=200,udp,in_port=1,actions=move:NXM_OF_UDP_SRC[]->NXM_NX_REG0[0..15],normal";

pub(super) fn measure(plan: &Plan) -> anyhow::Result<(Table, Vec<Goal>)> {
    let mut table = Table::new("flows", "60-byte frames of 10,000 flows in the kernel");
    let rate = table.column("rate", "Mpps", Better::Higher);
    let cost = table.column("the sender", "ns/frame", Better::Lower);
    let share = table.column("in the kernel", "%", Better::Higher);
    let memory = table.column("eBPF memory", "MB", Better::Lower);
    let mut networks = Vec::new();
    for ports in PORTS {
        let name = format!("to {ports} {}", if ports == 1 { "port" } else { "ports" });
        progress(&format!("building a switch for frames {name}"));
        let idle = IdlePorts::Veth(ports);
        let network = Network::build(Through::KernelCache, None, idle, &plan.programs)?;
        prepare(&network, ports).with_context(|| name.clone())?;
        networks.push((table.row(&name, Role::Ours), ports, network));
    }
    for run in 1..=plan.runs {
        for (row, ports, network) in &networks {
            progress(&format!("10,000 flows to {ports} ports, run {run}"));
            let found = run_once(network, *ports, plan.duration)?;
            table.record(*row, rate, found.rate);
            table.record(*row, cost, found.cost);
            table.record(*row, share, found.share);
            let [pid] = network.pids()[..] else { continue };
            table.record(*row, memory, ebpf_memory(pid)? as f64 / 1e6);
        }
    }
    let [(few, ..), (many, ..)] = &networks[..] else { unreachable!("there are two of PORTS") };
    let of = |row, column| table.median(row, column);
    let name = "10,000 flows in the kernel to 1,000 ports, against 1 port";
    let goals = vec![
        Goal::ratio(name, of(*many, rate), WANTED, of(*few, rate)),
        Goal::at_most("eBPF memory of the kernel cache, MB", of(*many, memory), MOST_MEMORY),
    ];
    Ok((table, goals))
}

/// The address of the host at an idle port.
fn host(port: u16) -> [u8; 6] {
    let [high, low] = port.to_be_bytes();
    [2, 0, 0, 0xfe, high, low]
}

fn prepare(network: &Network, ports: u16) -> anyhow::Result<()> {
    let mut client = network.client()?;
    client.add_flow(RULE)?;
    for port in 0..ports {
        let mac = host(port).map(|byte| format!("{byte:02x}")).join(":");
        client.ask(Operation::FdbAdd { port: IdlePorts::device(port), vlan: 0, mac })?;
    }
    Ok(())
}

/// What one run showed.
struct Found {
    /// Millions of frames a second that the kernel forwarded.
    rate: f64,
    /// Nanoseconds of the sender's processor time for each.
    cost: f64,
    /// Percent of the frames that were sent.
    share: f64,
}

fn run_once(network: &Network, ports: u16, duration: Duration) -> anyhow::Result<Found> {
    let a = &network.a;
    let frame = |flow| udp_frame(host(flow % ports), a.mac(), 60, flow);
    let frames = (0..FLOWS).map(frame).collect();
    let mut generator = a.run(|| Generator::open(a, network.slow_source().is_some(), frames))??;
    let mut client = network.client()?;
    let senders = processes::senders();
    on_core(0, || {
        let start = Instant::now();
        while kernel(&mut client)?.flows < u64::from(FLOWS) * 99 / 100 {
            ensure!(start.elapsed() < PATIENCE, "{:?}", kernel(&mut client)?);
            generator.run(Duration::from_millis(100))?;
        }
        let mut count = || -> anyhow::Result<_> {
            let sent = lab::InterfaceCounters::read(a.namespace(), a.interface())?.tx_packets;
            Ok((kernel(&mut client)?.hits, sent, processes::cpu_time(&senders)?))
        };
        let (before, start) = (count()?, Instant::now());
        generator.run(duration)?;
        let (elapsed, after) = (start.elapsed().as_secs_f64(), count()?);
        let (hits, sent) = ((after.0 - before.0) as f64, (after.1 - before.1) as f64);
        ensure!(hits > 0.0, "the kernel has forwarded nothing");
        let cost = (after.2 - before.2).as_secs_f64() * 1e9 / sent;
        Ok(Found { rate: hits / elapsed / 1e6, cost, share: 100.0 * hits / sent })
    })
}

/// The number of bytes that the maps and programs of a process take.
fn ebpf_memory(pid: u32) -> anyhow::Result<u64> {
    let mut sizes = std::collections::HashMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        let id = value("map_id:").map(|id| ("map", id));
        let id = id.or_else(|| value("prog_id:").map(|id| ("program", id)));
        if let Some((id, size)) = id.zip(value("memlock:")) {
            sizes.insert(id, size);
        }
    }
    Ok(sizes.values().sum())
}

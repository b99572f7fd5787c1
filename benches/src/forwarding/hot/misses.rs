//! What a frame costs its sender that the kernel cache looks at and does not forward.
//!
//! A rule changes the port of UDP datagrams, which the kernel cannot do, so that every frame goes to the
//! switch: with programs in front of its ring, and without.

use super::Plan;
use crate::forwarding::measure::{Generator, udp_frame};
use crate::forwarding::{IdlePorts, Network, Step, Through, on_core, processes};
use crate::report::{Better, Goal, Role, Table, progress};
use anyhow::ensure;
use lab::InterfaceCounters;
use std::time::Duration;

/// How much more a frame may cost its sender, in nanoseconds.
const MOST: f64 = 300.0;
const RULE: &str = "priority=200,udp,in_port=1,actions=mod_tp_dst:10,output:2";

pub(super) fn measure(plan: &Plan) -> anyhow::Result<(Table, Vec<Goal>)> {
    let mut table = Table::new("misses", "60-byte frames that the kernel does not forward");
    let sender = table.column("the sender", "ns/frame", Better::Lower);
    let switch = table.column("the switch", "ns/frame", Better::Lower);
    let more = table.column("the sender's more", "ns/frame", Better::Lower);
    let mut networks = Vec::new();
    for through in [Through::Switchd, Through::KernelCache] {
        progress(&format!("building {}", through.name()));
        let network = Network::build(through, None, IdlePorts::None, &plan.programs)?;
        // So that the kernel has a flow, and with it the programs at the device and a mask to look under.
        Step::Tcp { streams: 1 }.run(&network, Duration::from_millis(200))?;
        network.client()?.add_flow(RULE)?;
        networks.push((table.row(through.name(), Role::Ours), network));
    }
    for run in 1..=plan.runs {
        progress(&format!("misses, run {run}"));
        let mut costs = Vec::new();
        for (row, network) in &networks {
            let cost = cost(network, plan.duration)?;
            table.record(*row, sender, cost.sender);
            table.record(*row, switch, cost.switch);
            costs.push(cost.sender);
        }
        table.record(networks[1].0, more, costs[1] - costs[0]);
    }
    let measured = table.median(networks[1].0, more);
    let goal = Goal::at_most("a miss of the kernel cache: ns more for the sender", measured, MOST);
    Ok((table, vec![goal]))
}

/// Nanoseconds of processor time for each frame that was sent.
struct Cost {
    sender: f64,
    switch: f64,
}

fn cost(network: &Network, duration: Duration) -> anyhow::Result<Cost> {
    let (a, b) = (&network.a, &network.b);
    let frames = vec![udp_frame(b.mac(), a.mac(), 60, 1)];
    let mut generator = a.run(|| Generator::open(a, network.slow_source().is_some(), frames))??;
    let switch = network.pids();
    let senders = processes::senders();
    let count = || -> anyhow::Result<_> {
        let sent = InterfaceCounters::read(a.namespace(), a.interface())?.tx_packets;
        Ok((sent, processes::cpu_time(&senders)?, processes::cpu_time(&switch)?))
    };
    on_core(0, || {
        generator.run(Duration::from_millis(50))?;
        let before = count()?;
        generator.run(duration)?;
        let after = count()?;
        let sent = (after.0 - before.0) as f64;
        ensure!(sent > 0.0, "no frame was sent");
        let each = |time: Duration| time.as_secs_f64() * 1e9 / sent;
        Ok(Cost { sender: each(after.1 - before.1), switch: each(after.2 - before.2) })
    })
}

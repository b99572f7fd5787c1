//! An established TCP stream in the kernel while somebody at another port sends what makes most work.
//!
//! To send the frames takes time of the machine, too, which is not the switch's. So the same frames are sent,
//! in turn, to a device that is no port: that is the rate without an attack.

use super::Plan;
use crate::attack::Attack;
use crate::forwarding::idle_ports::{far_end, make_pairs};
use crate::forwarding::{IdlePorts, Network, Step, Through};
use crate::report::{Better, Goal, Role, Table, progress};
use crate::workload::{SplitMix, template, write_flow};
use control::{Client, FlowCommand};
use lab::{FrameSocket, Netlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Frames a second.
const RATE: f64 = 300e3;
/// Frames with each system call.
const BURST: usize = 50;
/// The share of the rate without an attack that is wanted.
const WANTED: f64 = 0.9;
/// How long the stream runs before the attack begins: it is established then.
const LEAD: Duration = Duration::from_millis(100);
/// The device that is no port.
const NOWHERE: &str = "nowhere";
/// Frames of the established hosts, whatever the rules of an attack say. The frames of an attack that rules
/// send on go to an idle port.
const ESTABLISHED: &str = "priority=60000,arp,actions=normal\npriority=60000,tcp,actions=normal";

pub(super) fn measure(plan: &Plan) -> anyhow::Result<(Table, Vec<Goal>)> {
    let mut table =
        Table::new("attacks", "1 TCP stream in the kernel beside 300,000 frames a second");
    let calm = table.column("no attack", "Gbit/s", Better::Higher);
    let rate = table.column("attack", "Gbit/s", Better::Higher);
    let share = table.column("share", "%", Better::Higher);
    let sent = table.column("sent", "k/s", Better::Neither);
    progress("building a switch with a kernel cache");
    // The attacker's port, and the one that its frames are sent to.
    let idle = IdlePorts::Veth(2);
    let network = Network::build(Through::KernelCache, None, idle, &plan.programs)?;
    let attacker = far_end(&IdlePorts::device(0));
    let [attacking, elsewhere] = network.namespace().run(|| -> anyhow::Result<_> {
        make_pairs(NOWHERE, 1)?;
        let near = format!("{NOWHERE}0");
        let mut netlink = Netlink::open()?;
        let index = netlink.link(&near)?.index;
        netlink.set_up(index, true)?;
        Ok([FrameSocket::open_to_send(&attacker)?, FrameSocket::open_to_send(&far_end(&near))?])
    })??;
    let mut client = network.client()?;
    let mut goals = Vec::new();
    for attack in Attack::ALL {
        let row = table.row(attack.name(), Role::Ours);
        set_rules(&mut client, attack)?;
        Step::Tcp { streams: 1 }.run(&network, Duration::from_millis(200))?;
        for run in 1..=plan.runs {
            progress(&format!("attack: {}, run {run}", attack.name()));
            let (without, _) = stream_beside(&network, &elsewhere, attack, plan.duration)?;
            let (with, frames) = stream_beside(&network, &attacking, attack, plan.duration)?;
            table.record(row, calm, without);
            table.record(row, rate, with);
            table.record(row, share, 100.0 * with / without);
            table.record(row, sent, frames / 1e3);
        }
        let name = format!("1 TCP stream in the kernel beside {}, % of without", attack.name());
        goals.push(Goal::at_least(&name, table.median(row, share), 100.0 * WANTED));
    }
    Ok((table, goals))
}

fn set_rules(client: &mut Client, attack: Attack) -> anyhow::Result<()> {
    client.del_flows("")?;
    let rules = attack.rules().replace("output:2", "output:4");
    client.change_flows(FlowCommand::Add, &format!("{ESTABLISHED}\n{rules}"))?;
    Ok(())
}

/// The rate of a stream, in billions of bits a second, while a socket sends the frames of an attack, and their
/// rate a second.
fn stream_beside(
    network: &Network,
    socket: &FrameSocket,
    attack: Attack,
    duration: Duration,
) -> anyhow::Result<(f64, f64)> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            thread::sleep(LEAD);
            send(socket, attack, || is_over.load(Ordering::Relaxed))
        });
        let values = Step::Tcp { streams: 1 }.run(network, duration);
        is_over.store(true, Ordering::Relaxed);
        let sent = sending.join().expect("the thread does not panic")?;
        Ok((values?[0], sent))
    })
}

/// Sends frames at [`RATE`] until it is over. Returns how many it has sent in a second.
fn send(socket: &FrameSocket, attack: Attack, is_over: impl Fn() -> bool) -> anyhow::Result<f64> {
    let mut rng = SplitMix(1);
    let family = attack.family();
    let template = template(family);
    let (mut sent, start) = (0, Instant::now());
    while !is_over() {
        let frames: Vec<_> = (0..BURST)
            .map(|_| {
                let (flow, macs) = attack.frame(&mut rng);
                let mut frame = [0; 62];
                frame[..template.len()].copy_from_slice(&template);
                frame[..macs.len()].copy_from_slice(&macs);
                write_flow(&mut frame, family, &flow);
                frame[..template.len()].to_vec()
            })
            .collect();
        sent += socket.send_all(&frames)?;
        let due = start + Duration::from_secs_f64(sent as f64 / RATE);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(sent as f64 / start.elapsed().as_secs_f64())
}

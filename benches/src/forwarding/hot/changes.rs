//! A TCP stream in the kernel while rules change that do not concern it.

use super::{Plan, kernel, looked_up};
use crate::forwarding::{IdlePorts, Network, Step, Through};
use crate::report::{Better, Goal, Role, Table, progress};
use control::FlowCommand;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two changes.
const PERIOD: Duration = Duration::from_millis(1);
/// The share of the rate without changes that is wanted.
const WANTED: f64 = 0.95;
/// Frames that may come to the switch for each thousand in the kernel: those that open and close a connection.
const MOST_MISSES: f64 = 1.0;

pub(super) fn measure(plan: &Plan) -> anyhow::Result<(Table, Vec<Goal>)> {
    let mut table = Table::new("changes", "1 TCP stream while unrelated rules change");
    let rate = table.column("1 TCP stream", "Gbit/s", Better::Higher);
    let changes = table.column("changes", "/s", Better::Neither);
    let misses = table.column("misses", "in 1,000 frames", Better::Lower);
    let calm = table.row("no changes", Role::Limit);
    let busy = table.row("1,000 changes a second", Role::Ours);
    progress("building a switch with a kernel cache");
    let network = Network::build(Through::KernelCache, None, IdlePorts::None, &plan.programs)?;
    let mut client = network.client()?;
    let stream = || Step::Tcp { streams: 1 }.run(&network, plan.duration);
    stream()?;
    for run in 1..=plan.runs {
        progress(&format!("changes, run {run}"));
        for row in [calm, busy] {
            let before = (kernel(&mut client)?.hits, looked_up(&mut client)?);
            let start = Instant::now();
            let (values, made) = match row == busy {
                true => during_changes(&network, stream)?,
                false => (stream()?, 0),
            };
            let seconds = start.elapsed().as_secs_f64();
            let hits = kernel(&mut client)?.hits - before.0;
            let missed = looked_up(&mut client)? - before.1;
            table.record(row, rate, values[0]);
            table.record(row, changes, f64::from(made) / seconds);
            table.record(row, misses, 1e3 * missed as f64 / hits.max(1) as f64);
        }
    }
    let of = |row| table.median(row, rate);
    let name = "1 TCP stream beside 1,000 changes a second, against none";
    let goals = vec![
        Goal::ratio(name, of(busy), WANTED, of(calm)),
        Goal::at_most(
            "misses in 1,000 frames beside them",
            table.median(busy, misses),
            MOST_MISSES,
        ),
    ];
    Ok((table, goals))
}

/// What `f` returns, and how many changes were made meanwhile.
fn during_changes<T>(
    network: &Network,
    f: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, u32)> {
    let mut client = network.client()?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let changing = scope.spawn(|| -> anyhow::Result<u32> {
            let (mut made, start) = (0, Instant::now());
            while !is_over.load(Ordering::Relaxed) {
                let port = 1000 + made / 2 % 100;
                let rule = format!("priority=7,udp,tp_dst={port}");
                match made % 2 {
                    0 => client.add_flow(&format!("{rule},actions=drop"))?,
                    _ => client.change_flows(FlowCommand::DeleteStrict, &rule).map(|_| ())?,
                }
                made += 1;
                thread::sleep((start + PERIOD * made).saturating_duration_since(Instant::now()));
            }
            Ok(made)
        });
        let result = f();
        is_over.store(true, Ordering::Relaxed);
        let made = changing.join().expect("the thread does not panic")?;
        Ok((result?, made))
    })
}

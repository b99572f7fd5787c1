//! What idle ports take from two that are busy.
//!
//! The same two hosts are measured through a switch of two ports and through switches with many idle ports
//! beside them, in turn. The rings of the busy ports grow before, as the switch gives large ones to ports
//! that are in use.

use super::Plan;
use crate::forwarding::{Figure, IdlePorts, Network, Step, Through};
use crate::report::{Goal, Role, Table, progress};
use std::time::Duration;

/// How long the busy ports are in use before the first measurement: rings grow two seconds after
/// the last port has come.
const IN_USE: Duration = Duration::from_secs(4);
/// The share of the rate alone that is wanted.
const WANTED: f64 = 0.95;
const STEPS: [Step; 2] = [Step::Frames { size: 60, flows: 1 }, Step::RoundTrips];

pub(super) fn measure(plan: &Plan) -> anyhow::Result<(Table, Vec<Goal>)> {
    let mut table = Table::new("idle", "two busy ports, alone and beside idle ones");
    let columns = STEPS.map(|step| {
        let columns = step
            .figures()
            .into_iter()
            .map(|figure: Figure| table.column(&figure.name(), figure.unit(), figure.better()));
        columns.collect::<Vec<_>>()
    });
    let cases = [
        ("2 ports".to_owned(), IdlePorts::None),
        (format!("and {} idle on veth", plan.ports), IdlePorts::Veth(plan.ports)),
        (format!("and {} idle on TAP", plan.ports), IdlePorts::Tap(plan.ports)),
    ];
    let mut networks = Vec::new();
    for (name, idle) in cases {
        progress(&format!("building {name}"));
        let row = table.row(&name, Role::Ours);
        let network = Network::build(Through::Switchd, None, idle, &plan.programs)?;
        Step::Frames { size: 60, flows: 1 }.run(&network, IN_USE)?;
        networks.push((row, network));
    }
    for run in 1..=plan.runs {
        for (step, columns) in STEPS.into_iter().zip(&columns) {
            for (row, network) in &networks {
                progress(&format!("beside idle ports, run {run}: {}", step.figures()[0].name()));
                let values = step.run(network, plan.duration)?;
                columns.iter().zip(values).for_each(|(c, value)| table.record(*row, *c, value));
            }
        }
    }
    let mut goals = Vec::new();
    for (place, kind) in [(1, "veth"), (2, "TAP")] {
        for (step, columns) in STEPS.into_iter().zip(&columns) {
            let median = |place: usize| table.median(networks[place].0, columns[0]);
            let figure = step.figures()[0].name();
            let name = format!("{figure} beside {} idle {kind} ports, against alone", plan.ports);
            goals.push(Goal::ratio(&name, median(place), WANTED, median(0)));
        }
    }
    Ok((table, goals))
}

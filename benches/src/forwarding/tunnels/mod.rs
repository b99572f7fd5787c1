//! Tunnels: two hosts at switches on two machines, whose frames cross the network between them inside VXLAN.
//!
//! Everything that carries the frames, the switch with sockets and with its kernel cache among them, is
//! measured in turn, over each kind of network between the machines (`Underlay`). The inner hosts have the
//! kernel's default offloads, except those of Open vSwitch: through its tunnels TCP with checksum offload does
//! not connect, so the offload is off at its hosts.
//!
//! - `sites` builds the two machines.
//! - `costs` measures one direction alone: the processor time of a frame, and many remote ends at one UDP port.

mod costs;
mod sites;

use super::{Figure, Plan, Step};
use crate::report::{Goal, Report, RowId, Table, progress};
use sites::{Carrier, Underlay};

/// A goal: a figure of the switch, over these underlays, against the kernel and against Open vSwitch. Of a
/// figure of which less is better, the ratio is the most that is wanted.
struct Wanted {
    underlay: Underlay,
    step: Step,
    of_kernel: Option<f64>,
    of_ovs: f64,
}

const ONE_STREAM: Step = Step::Tcp { streams: 1 };
const ONE_FLOW: Step = Step::Frames { size: 60, flows: 1 };
const MANY_FLOWS: Step = Step::Frames { size: 60, flows: 10_000 };

const WANTED: [Wanted; 11] = {
    use Underlay::{Default, Jumbo, WireLike};
    const fn wanted(underlay: Underlay, step: Step, kernel: f64, of_ovs: f64) -> Wanted {
        Wanted { underlay, step, of_kernel: Some(kernel), of_ovs }
    }
    const fn round_trips(underlay: Underlay) -> Wanted {
        Wanted { underlay, step: Step::RoundTrips, of_kernel: None, of_ovs: 2.0 }
    }
    [
        wanted(WireLike, ONE_STREAM, 0.75, 10.0),
        wanted(Default, ONE_STREAM, 0.65, 10.0),
        wanted(Jumbo, ONE_STREAM, 0.7, 5.0),
        wanted(Default, ONE_FLOW, 1.3, 2.5),
        wanted(WireLike, ONE_FLOW, 1.3, 2.5),
        wanted(Default, MANY_FLOWS, 1.3, 2.5),
        wanted(WireLike, MANY_FLOWS, 1.3, 2.5),
        wanted(Default, Step::PacedTcp, 1.3, 0.2),
        wanted(WireLike, Step::PacedTcp, 1.3, 0.2),
        round_trips(Default),
        round_trips(WireLike),
    ]
};

impl Wanted {
    /// The goals, from the medians that `median` knows: of the switch's sockets, and of its kernel cache.
    fn goals(&self, median: impl Fn(Carrier, Figure) -> Option<f64>) -> Vec<Goal> {
        let of = |ours| self.goals_of(ours, &median);
        [Carrier::Switchd, Carrier::KernelCache].into_iter().flat_map(of).collect()
    }

    fn goals_of(
        &self,
        ours: Carrier,
        median: impl Fn(Carrier, Figure) -> Option<f64>,
    ) -> Vec<Goal> {
        let figure = self.step.figures()[0];
        let is = median(ours, figure);
        let against = |carrier: Carrier, factor: f64| {
            let (figure_name, underlay) = (figure.name(), self.underlay.name());
            let (ours, theirs) = (ours.name(), carrier.name());
            let name = format!("{figure_name}, {underlay}: {ours} against {theirs}");
            let ratio = is.zip(median(carrier, figure)).map(|(is, theirs)| is / theirs);
            match self.step {
                Step::PacedTcp => Goal::at_most(&name, ratio, factor),
                _ => Goal::at_least(&name, ratio, factor),
            }
        };
        let of_kernel = self.of_kernel.map(|factor| against(Carrier::KernelVxlan, factor));
        of_kernel.into_iter().chain([against(Carrier::Ovs, self.of_ovs)]).collect()
    }
}

/// Measures everything, adds the tables to the report, and returns the goals.
///
/// # Errors
/// The switch does not carry anything.
pub fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<Vec<Goal>> {
    let mut goals = Vec::new();
    for underlay in Underlay::ALL {
        let (table, more) = ends(plan, underlay, report)?;
        report.add(table);
        goals.extend(more);
    }
    for part in [costs::wrapping, costs::many_remotes] {
        let (table, more) = part(plan)?;
        report.add(table);
        goals.extend(more);
    }
    Ok(goals)
}

/// From one host to the other.
fn ends(
    plan: &Plan,
    underlay: Underlay,
    report: &mut Report,
) -> anyhow::Result<(Table, Vec<Goal>)> {
    let mut table = Table::new(underlay.name(), underlay.about());
    let steps = underlay.steps();
    let figures = steps.iter().flat_map(|step| step.figures());
    let columns: Vec<_> = figures
        .map(|figure| (figure, table.column(&figure.name(), figure.unit(), figure.better())))
        .collect();
    let column = |figure| columns.iter().find(|(known, _)| *known == figure).map(|(_, id)| *id);
    let rows: Vec<(Carrier, RowId)> = Carrier::ALL
        .iter()
        .map(|carrier| (*carrier, table.row(carrier.name(), carrier.role())))
        .collect();
    // One network at a time: those that are idle would take time, too.
    for run in 1..=plan.runs {
        for (carrier, row) in &rows {
            progress(&format!("{}, run {run}: building {}", underlay.name(), carrier.name()));
            let network = match sites::build(*carrier, underlay, &plan.programs) {
                Ok(network) => network,
                Err(error) if *carrier == Carrier::Switchd => return Err(error),
                Err(error) => {
                    if run == 1 {
                        report.note(format!("{} skipped: {error:#}", carrier.name()));
                    }
                    continue;
                }
            };
            for step in steps {
                let name = step.figures()[0].name();
                progress(&format!("{}, run {run}: {name}, {}", underlay.name(), carrier.name()));
                let columns = step.figures().into_iter().filter_map(column);
                match step.run(&network, plan.duration) {
                    Ok(values) => columns.zip(values).for_each(|(column, value)| {
                        table.record(*row, column, value);
                    }),
                    Err(error) => {
                        let error = format!("{error:#}");
                        columns.for_each(|column| table.miss(*row, column, error.as_str()));
                    }
                }
            }
        }
    }
    let median = |carrier, figure| {
        let (_, row) = rows.iter().find(|(known, _)| *known == carrier)?;
        table.median(*row, column(figure)?)
    };
    let wanted = WANTED.iter().filter(|wanted| wanted.underlay == underlay);
    let goals = wanted.flat_map(|wanted| wanted.goals(median)).collect();
    Ok((table, goals))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_processor_time_is_better() {
        let wanted = WANTED.iter().find(|w| w.step == Step::PacedTcp).unwrap();
        let goals = wanted.goals(|carrier, _| match carrier {
            Carrier::Switchd => Some(1.2),
            Carrier::KernelCache => None,
            Carrier::KernelVxlan => Some(1.0),
            Carrier::Ovs => Some(5.0),
        });
        let met: Vec<_> = goals.iter().map(|goal| goal.is_met()).collect();
        assert_eq!(met, [Some(true), Some(false), None, None]);
    }
}

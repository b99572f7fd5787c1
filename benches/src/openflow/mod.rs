//! How fast a controller drives a switch: this one, and Open vSwitch where somebody has installed it.
//!
//! A [`Peer`] is a switch in a process of its own, with two hosts behind veth pairs. This program is the
//! controller: it connects to the Unix socket at which the bridge speaks OpenFlow, and sends both
//! switches the same bytes. [`measure`] measures the switches in turn, run by run, so that a disturbance
//! of the machine hits both.
//!
//! Nothing is pinned to a processor: controller, switch and hosts run where the scheduler puts them.

mod client;
mod controllers;
mod flow_mods;
mod load;
mod packet_ins;
mod peer;

pub use client::Client;
pub use peer::{Peer, PeerKind};

use crate::interrupt;
use crate::report::{ColumnId, Goal, Report, RowId, Table, progress};
use anyhow::ensure;
use std::path::PathBuf;
use std::time::Duration;

/// What to measure, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Runs of which the median is taken.
    pub runs: u16,
    /// The time of one measurement of a rate that does not end by itself.
    pub duration: Duration,
    /// The path of the switch's program.
    pub switchd: PathBuf,
    /// A folder with the ClassBench set `acl1_100k` or `acl1_100000`. `None`: a set like it is made.
    pub classbench: Option<PathBuf>,
    /// The number of filters of the set that is made.
    pub filters: usize,
    /// The switches to measure.
    pub peers: Vec<PeerKind>,
    /// The scenarios to measure.
    pub scenarios: Vec<Scenario>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// A large set of rules: added by flow mods, added as one bundle, and listed
    Load,
    /// Packets to a controller and back: one at a time, and as a flood
    PacketIns,
    /// A hundred controllers: idle, and each with a flow monitor
    Controllers,
}

/// Measures the scenarios of a plan, adds the tables to the report, and returns the goals. A scenario that
/// fails is a note of the report.
pub fn measure(plan: &Plan, report: &mut Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    for scenario in &plan.scenarios {
        let measured = match scenario {
            Scenario::Load => load::measure(plan, report),
            Scenario::PacketIns => packet_ins::measure(plan, report),
            Scenario::Controllers => controllers::measure(plan, report),
        };
        match measured {
            Ok(more) => goals.extend(more),
            Err(error) => report.note(format!("{scenario:?} failed: {error:#}")),
        }
    }
    goals
}

/// The switches of a plan that run, each with its row of a table.
struct Running(Vec<(Peer, RowId)>);

impl Running {
    /// Starts the switches of a plan. The row of one that cannot be started tells why in `column`.
    ///
    /// # Errors
    /// None could be started.
    fn start(plan: &Plan, table: &mut Table, column: ColumnId) -> anyhow::Result<Self> {
        let mut peers = Vec::new();
        for kind in &plan.peers {
            let row = table.row(kind.name(), kind.role());
            match Peer::start(*kind, &plan.switchd) {
                Ok(peer) => peers.push((peer, row)),
                Err(error) => table.miss(row, column, format!("{error:#}")),
            }
        }
        ensure!(!peers.is_empty(), "no switch could be started");
        Ok(Self(peers))
    }

    /// The row of a switch; `None` if it does not run.
    fn row(&self, kind: PeerKind) -> Option<RowId> {
        self.0.iter().find(|(peer, _)| peer.kind == kind).map(|(_, row)| *row)
    }

    /// Measures each switch in turn, as often as the plan says.
    ///
    /// # Errors
    /// Those of `measure`, or somebody has pressed Ctrl-C.
    fn each(
        &self,
        plan: &Plan,
        what: &str,
        mut measure: impl FnMut(&Peer, RowId) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for run in 1..=plan.runs {
            for (peer, row) in &self.0 {
                interrupt::check()?;
                progress(&format!("{what}: {}, run {run}", peer.kind.name()));
                measure(peer, *row)?;
            }
        }
        Ok(())
    }
}

//! Results of a benchmark: tables of medians that can be read on a terminal, by a program, and as a picture.
//!
//! A report has one table or several. A [`Table`] has rows (what was measured: a switch, a cache, a
//! method), columns (what about it: frames per second of one kind, with a unit), and in each cell the
//! values of all runs or the reason why there are none. Runs are recorded in whatever order they
//! happen; a cell shows their median.
//!
//! ```
//! use benches::report::{Better, Conditions, Report, Role, Table};
//!
//! let mut table = Table::default();
//! let ours = table.row("switchd", Role::Ours);
//! let ovs = table.row("Open vSwitch", Role::Rival);
//! let rate = table.column("60 B, 1 flow", "Mpps", Better::Higher);
//! for run in [0.61, 0.63, 0.62] {
//!     table.record(ours, rate, run);
//! }
//! table.miss(ovs, rate, "not installed");
//! assert_eq!(table.median(ours, rate), Some(0.62));
//!
//! let mut report = Report::new("Forwarding", Conditions::here());
//! report.add(table);
//! println!("{report}");
//! let (_json, _picture) = (report.to_json(), report.to_svg());
//! ```
//!
//! It does not measure, and it does not compare with results from another day. What the programs have
//! in common besides, their [`Outputs`] and the line that tells their [`progress`], is here too.

mod conditions;
mod goal;
mod json;
mod number;
mod output;
mod progress;
mod svg;
mod table;
mod text;

pub use conditions::Conditions;
pub use goal::{Goal, GoalLimit};
pub use output::{OutputArgs, Outputs};
pub use progress::progress;
pub use table::{Better, ColumnId, Role, RowId, Table};

/// The results of one run of a benchmark.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    conditions: Conditions,
    tables: Vec<Table>,
    goals: Vec<Goal>,
    notes: Vec<String>,
}

impl Report {
    /// A report without results.
    pub fn new(title: &str, conditions: Conditions) -> Self {
        let title = title.to_owned();
        Self { title, conditions, tables: Vec::new(), goals: Vec::new(), notes: Vec::new() }
    }

    /// Adds a table below the others, unless it has no rows.
    pub fn add(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.tables.push(table);
        }
    }

    /// Adds a sentence below the tables.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds a goal, met or not.
    pub fn goal(&mut self, goal: Goal) {
        self.goals.push(goal);
    }

    /// The goals, in the order in which they were added.
    pub fn goals(&self) -> &[Goal] {
        &self.goals
    }

    /// The results for programs.
    pub fn to_json(&self) -> String {
        json::write(self)
    }

    /// The results as a picture, for light and dark pages.
    pub fn to_svg(&self) -> String {
        svg::draw(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows, two columns, one failure.
    pub(super) fn sample_table() -> Table {
        let mut table = Table::default();
        let ours = table.row("switchd", Role::Ours);
        let ovs = table.row("OVS <3.1>", Role::Rival);
        let rate = table.column("60 B, 1 flow", "Mpps", Better::Higher);
        let time = table.column("p99", "µs", Better::Lower);
        for run in [0.61, 0.63, 0.62] {
            table.record(ours, rate, run);
        }
        table.record(ovs, rate, 0.29);
        table.record(ours, time, 41.5);
        table.miss(ovs, time, "no connection");
        table
    }

    /// A report of that table alone.
    pub(super) fn sample() -> Report {
        let conditions = Conditions {
            date: "2026-11-21".to_owned(),
            commit: Some("0123456".to_owned()),
            kernel: "6.18.44".to_owned(),
            cpu: "AMD EPYC".to_owned(),
            cores: 2,
            load: 0.5,
            command: "forwarding --runs 3".to_owned(),
        };
        let mut report = Report::new("Forwarding", conditions);
        report.add(sample_table());
        report
    }

    /// With a second table that has a name, and a column of facts.
    pub(super) fn larger_sample() -> Report {
        let mut table = Table::new("setup", "new flows, caches cold");
        let row = table.row("one rule", Role::Ours);
        let rules = table.column("rules", "", Better::Neither);
        let rate = table.column("new flows", "k/s", Better::Higher);
        table.record(row, rules, 1.0);
        table.record(row, rate, 1324.0);
        let mut report = sample();
        report.add(table);
        report
    }
}

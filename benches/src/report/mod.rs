//! Results of a benchmark: a table of medians that can be read on a terminal, by a program, and as a
//! picture.
//!
//! A report has rows (what was measured: a switch, a cache, a method), columns (what about it: frames
//! per second of one kind, with a unit), and in each cell the values of all runs or the reason why
//! there are none. Runs are recorded in whatever order they happen; a cell shows their median.
//!
//! ```
//! use benches::report::{Better, Conditions, Report, Role};
//!
//! let mut report = Report::new("Forwarding", Conditions::here());
//! let ours = report.row("switchd", Role::Ours);
//! let ovs = report.row("Open vSwitch", Role::Rival);
//! let rate = report.column("60 B, 1 flow", "Mpps", Better::Higher);
//! for run in [0.61, 0.63, 0.62] {
//!     report.record(ours, rate, run);
//! }
//! report.miss(ovs, rate, "not installed");
//! assert_eq!(report.median(ours, rate), Some(0.62));
//! println!("{report}");
//! let (_json, _picture) = (report.to_json(), report.to_svg());
//! ```
//!
//! It does not measure, and it does not compare with results from another day.

mod conditions;
mod goal;
mod json;
mod svg;
mod text;

pub use conditions::Conditions;
pub use goal::{Goal, Wanted};

use crate::cpu_time::median;
use serde::Serialize;

/// The results of one run of a benchmark.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    conditions: Conditions,
    rows: Vec<Row>,
    columns: Vec<Column>,
    /// By row, then by column.
    cells: Vec<Vec<Cell>>,
    goals: Vec<Goal>,
    notes: Vec<String>,
}

/// Whose result a row is, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What the benchmark is about.
    Ours,
    /// What it is compared with.
    Rival,
    /// What nobody could exceed: the same without a switch.
    Limit,
}

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// The larger, as of rates.
    Higher,
    /// The smaller, as of times.
    Lower,
}

/// A row of one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowId(usize);

/// A column of one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnId(usize);

#[derive(Clone, Debug, Serialize)]
struct Row {
    name: String,
    role: Role,
}

#[derive(Clone, Debug, Serialize)]
struct Column {
    name: String,
    unit: String,
    better: Better,
}

/// What is known of a row in a column.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    /// It does not apply, or was not asked for.
    Blank,
    /// One value a run, in the order of the runs.
    Runs(Vec<f64>),
    /// It was tried, and this is what happened.
    Missing(String),
}

impl Cell {
    fn median(&self) -> Option<f64> {
        match self {
            Self::Runs(runs) => Some(median(runs.clone())),
            Self::Blank | Self::Missing(_) => None,
        }
    }

    /// The smallest and the largest value.
    fn range(&self) -> Option<(f64, f64)> {
        let Self::Runs(runs) = self else { return None };
        runs.iter().fold(None, |range, &run| {
            let (low, high) = range.unwrap_or((run, run));
            Some((f64::min(low, run), f64::max(high, run)))
        })
    }
}

impl Report {
    /// A report without results.
    pub fn new(title: &str, conditions: Conditions) -> Self {
        Self {
            title: title.to_owned(),
            conditions,
            rows: Vec::new(),
            columns: Vec::new(),
            cells: Vec::new(),
            goals: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a row below the others.
    pub fn row(&mut self, name: &str, role: Role) -> RowId {
        self.rows.push(Row { name: name.to_owned(), role });
        self.cells.push(vec![Cell::Blank; self.columns.len()]);
        RowId(self.rows.len() - 1)
    }

    /// Adds a column behind the others.
    pub fn column(&mut self, name: &str, unit: &str, better: Better) -> ColumnId {
        self.columns.push(Column { name: name.to_owned(), unit: unit.to_owned(), better });
        for cells in &mut self.cells {
            cells.push(Cell::Blank);
        }
        ColumnId(self.columns.len() - 1)
    }

    /// Adds the value of one more run. It takes the place of a failure.
    pub fn record(&mut self, row: RowId, column: ColumnId, value: f64) {
        match &mut self.cells[row.0][column.0] {
            Cell::Runs(runs) => runs.push(value),
            cell => *cell = Cell::Runs(vec![value]),
        }
    }

    /// Says why there is no value. Values that are there already stay.
    pub fn miss(&mut self, row: RowId, column: ColumnId, reason: impl Into<String>) {
        let cell = &mut self.cells[row.0][column.0];
        if *cell == Cell::Blank {
            *cell = Cell::Missing(reason.into());
        }
    }

    /// Adds a sentence below the table.
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

    /// The median of the runs so far.
    pub fn median(&self, row: RowId, column: ColumnId) -> Option<f64> {
        self.cells[row.0][column.0].median()
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

/// A number with the three digits that mean something: `0.619`, `18.8`, `28,600`.
fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if magnitude < 2 {
        let decimals = (2 - magnitude).min(6) as usize;
        return format!("{value:.decimals$}");
    }
    let unit = 10f64.powi(magnitude - 2);
    let digits = format!("{:.0}", (value / unit).round() * unit);
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows, two columns, one failure.
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
        let ours = report.row("switchd", Role::Ours);
        let ovs = report.row("OVS <3.1>", Role::Rival);
        let rate = report.column("60 B, 1 flow", "Mpps", Better::Higher);
        let time = report.column("p99", "µs", Better::Lower);
        for run in [0.61, 0.63, 0.62] {
            report.record(ours, rate, run);
        }
        report.record(ovs, rate, 0.29);
        report.record(ours, time, 41.5);
        report.miss(ovs, time, "no connection");
        report
    }

    #[test]
    fn numbers_show_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.6189, "0.619"),
            (0.0421, "0.0421"),
            (18.84, "18.8"),
            (100.4, "100"),
            (28_649.0, "28,600"),
            (1_234_567.0, "1,230,000"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn a_value_takes_the_place_of_a_failure_but_not_the_other_way_round() {
        let mut report = sample();
        report.miss(RowId(0), ColumnId(0), "late");
        assert_eq!(report.median(RowId(0), ColumnId(0)), Some(0.62));
        report.record(RowId(1), ColumnId(1), 7.0);
        assert_eq!(report.median(RowId(1), ColumnId(1)), Some(7.0));
    }
}

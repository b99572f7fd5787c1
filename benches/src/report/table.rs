//! A table of results: what was measured, what about it, and the values of all runs.

use crate::cpu_time::median;
use serde::Serialize;

/// Results that have their columns in common.
///
/// The only table of a report needs no name: [`Table::default`].
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) rows: Vec<Row>,
    pub(super) columns: Vec<Column>,
    /// By row, then by column.
    pub(super) cells: Vec<Vec<Cell>>,
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
    /// None: it is a fact about what was measured. It has no place in the picture.
    Neither,
}

/// A row of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowId(usize);

/// A column of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnId(usize);

#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) role: Role,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) better: Better,
}

/// What is known of a row in a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// It does not apply, or was not asked for.
    Blank,
    /// One value a run, in the order of the runs.
    Runs(Vec<f64>),
    /// It was tried, and this is what happened.
    Missing(String),
}

impl Cell {
    pub(super) fn median(&self) -> Option<f64> {
        match self {
            Self::Runs(runs) => Some(median(runs.clone())),
            Self::Blank | Self::Missing(_) => None,
        }
    }

    /// The smallest and the largest value.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        let Self::Runs(runs) = self else { return None };
        runs.iter().fold(None, |range, &run| {
            let (low, high) = range.unwrap_or((run, run));
            Some((f64::min(low, run), f64::max(high, run)))
        })
    }
}

impl Table {
    /// A table without results: a word to name it, and what it is about.
    pub fn new(name: &str, about: &str) -> Self {
        Self { name: name.to_owned(), about: about.to_owned(), ..Self::default() }
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

    /// The median of the runs so far.
    pub fn median(&self, row: RowId, column: ColumnId) -> Option<f64> {
        self.cells[row.0][column.0].median()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample_table;
    use super::*;

    #[test]
    fn a_value_takes_the_place_of_a_failure_but_not_the_other_way_round() {
        let mut table = sample_table();
        table.miss(RowId(0), ColumnId(0), "late");
        assert_eq!(table.median(RowId(0), ColumnId(0)), Some(0.62));
        table.record(RowId(1), ColumnId(1), 7.0);
        assert_eq!(table.median(RowId(1), ColumnId(1)), Some(7.0));
    }
}

//! The report for programs: names instead of positions, and every run.

use super::{Cell, Column, Conditions, Goal, Report, Row};
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    title: &'a str,
    conditions: &'a Conditions,
    rows: &'a [Row],
    columns: &'a [Column],
    cells: Vec<CellRecord<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    goals: Vec<GoalRecord<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
}

#[derive(Serialize)]
struct CellRecord<'a> {
    row: &'a str,
    column: &'a str,
    #[serde(flatten)]
    value: Value<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Runs { median: f64, min: f64, max: f64, runs: &'a [f64] },
    Missing { missing: &'a str },
}

#[derive(Serialize)]
struct GoalRecord<'a> {
    #[serde(flatten)]
    goal: &'a Goal,
    met: Option<bool>,
}

pub(super) fn write(report: &Report) -> String {
    let mut cells = Vec::new();
    for (row, values) in report.rows.iter().zip(&report.cells) {
        for (column, cell) in report.columns.iter().zip(values) {
            let value = match cell {
                Cell::Blank => continue,
                Cell::Missing(reason) => Value::Missing { missing: reason },
                Cell::Runs(runs) => {
                    let (min, max) = cell.range().unwrap_or_default();
                    Value::Runs { median: cell.median().unwrap_or_default(), min, max, runs }
                }
            };
            cells.push(CellRecord { row: &row.name, column: &column.name, value });
        }
    }
    let document = Document {
        title: &report.title,
        conditions: &report.conditions,
        rows: &report.rows,
        columns: &report.columns,
        cells,
        goals: report.goals.iter().map(|goal| GoalRecord { goal, met: goal.is_met() }).collect(),
        notes: &report.notes,
    };
    // Plain structures without maps: nothing that could fail.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;

    #[test]
    fn every_run_and_every_failure_is_told() {
        let value: serde_json::Value = serde_json::from_str(&super::write(&sample())).unwrap();
        assert_eq!(value["cells"][0]["runs"], serde_json::json!([0.61, 0.63, 0.62]));
        assert_eq!(value["cells"][0]["median"], 0.62);
        assert_eq!(value["cells"][3]["missing"], "no connection");
        assert_eq!(value["conditions"]["commit"], "0123456");
        assert_eq!(value["rows"][0]["role"], "ours");
    }
}

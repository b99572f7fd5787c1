//! The report for programs: names instead of positions, and every run.
//!
//! Rows, columns and cells are lists, whatever table they are of: the tables of a report that has
//! several are told by their names.

use super::table::{Cell, Column, Row};
use super::{Conditions, Goal, Report};
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    title: &'a str,
    conditions: &'a Conditions,
    rows: Vec<Of<'a, &'a Row>>,
    columns: Vec<Of<'a, &'a Column>>,
    cells: Vec<Of<'a, CellRecord<'a>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    goals: Vec<GoalRecord<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
}

/// Something of a table.
#[derive(Serialize)]
struct Of<'a, T> {
    #[serde(skip_serializing_if = "str::is_empty")]
    table: &'a str,
    #[serde(flatten)]
    it: T,
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
    let (mut rows, mut columns, mut cells) = (Vec::new(), Vec::new(), Vec::new());
    for table in &report.tables {
        let name = table.name.as_str();
        rows.extend(table.rows.iter().map(|row| Of { table: name, it: row }));
        columns.extend(table.columns.iter().map(|column| Of { table: name, it: column }));
        for (row, values) in table.rows.iter().zip(&table.cells) {
            let records = table.columns.iter().zip(values).filter_map(|(column, cell)| {
                let (row, column) = (row.name.as_str(), column.name.as_str());
                Some(Of { table: name, it: CellRecord { row, column, value: value(cell)? } })
            });
            cells.extend(records);
        }
    }
    let goals = report.goals.iter().map(|goal| GoalRecord { goal, met: goal.is_met() }).collect();
    let document = Document {
        title: &report.title,
        conditions: &report.conditions,
        rows,
        columns,
        cells,
        goals,
        notes: &report.notes,
    };
    // Plain structures without maps: nothing that could fail.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn value(cell: &Cell) -> Option<Value<'_>> {
    match cell {
        Cell::Blank => None,
        Cell::Missing(reason) => Some(Value::Missing { missing: reason }),
        Cell::Runs(runs) => {
            let (min, max) = cell.range()?;
            Some(Value::Runs { median: cell.median()?, min, max, runs })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{larger_sample, sample};

    #[test]
    fn every_run_and_every_failure_is_told() {
        let value: serde_json::Value = serde_json::from_str(&super::write(&sample())).unwrap();
        assert_eq!(value["cells"][0]["runs"], serde_json::json!([0.61, 0.63, 0.62]));
        assert_eq!(value["cells"][0]["median"], 0.62);
        assert_eq!(value["cells"][3]["missing"], "no connection");
        assert_eq!(value["conditions"]["commit"], "0123456");
        assert_eq!(value["rows"][0]["role"], "ours");
        assert_eq!(value["rows"][0].get("table"), None);
    }

    #[test]
    fn tables_are_told_apart_by_their_names() {
        let value = super::write(&larger_sample());
        let value: serde_json::Value = serde_json::from_str(&value).unwrap();
        assert_eq!(value["rows"][2]["table"], "setup");
        assert_eq!(value["columns"][2]["better"], "neither");
        assert_eq!(
            (&value["cells"][5]["table"], &value["cells"][5]["median"]),
            (&"setup".into(), &1324.0.into())
        );
    }
}

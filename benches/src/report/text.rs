//! The report for a terminal: one line a row, reasons and goals below.

use super::{Cell, Column, Report, figure};
use std::fmt;
use std::ops::Range;

/// Between two columns.
const GAP: usize = 2;
/// A table that is wider goes on below.
const WIDTH: usize = 100;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", self.title, self.conditions)?;
        let first = self.rows.iter().map(|row| width(&row.name)).max().unwrap_or(0);
        let (mut from, mut used) = (0, first);
        for (index, column) in self.columns.iter().enumerate() {
            let wide = GAP + column.width();
            if used + wide > WIDTH && index > from {
                self.write_table(f, first, from..index)?;
                writeln!(f)?;
                (from, used) = (index, first);
            }
            used += wide;
        }
        self.write_table(f, first, from..self.columns.len())?;
        self.write_remarks(f)
    }
}

impl Column {
    fn width(&self) -> usize {
        width(&self.name).max(width(&self.unit)).max(7)
    }
}

impl Report {
    /// The columns that fit beside each other.
    fn write_table(
        &self,
        f: &mut fmt::Formatter<'_>,
        first: usize,
        range: Range<usize>,
    ) -> fmt::Result {
        let columns = &self.columns[range.clone()];
        for line in [|c: &Column| c.name.clone(), |c: &Column| c.unit.clone()] {
            write!(f, "{:first$}", "")?;
            for column in columns {
                write!(f, "{:GAP$}{:>width$}", "", line(column), width = column.width())?;
            }
            writeln!(f)?;
        }
        for (row, cells) in self.rows.iter().zip(&self.cells) {
            write!(f, "{:first$}", row.name)?;
            for (cell, column) in cells[range.clone()].iter().zip(columns) {
                let text = match cell {
                    Cell::Blank => "-".to_owned(),
                    Cell::Missing(_) => "fails".to_owned(),
                    Cell::Runs(_) => figure(cell.median().unwrap_or(f64::NAN)),
                };
                write!(f, "{:GAP$}{text:>width$}", "", width = column.width())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn write_remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut remarks = Vec::new();
        for (row, cells) in self.rows.iter().zip(&self.cells) {
            // What failed for one reason is told once.
            let mut before = None;
            for (column, cell) in self.columns.iter().zip(cells) {
                if let Cell::Missing(reason) = cell
                    && before.replace(reason) != Some(reason)
                {
                    remarks.push(format!("{}, {}: {reason}", row.name, column.name));
                }
            }
        }
        remarks.extend(self.notes.iter().cloned());
        if !remarks.is_empty() {
            writeln!(f, "\n{}", remarks.join("\n"))?;
        }
        if !self.goals.is_empty() {
            writeln!(f, "\n{:<62} {:>7} {:>6}", "goal", "wanted", "is")?;
            for goal in &self.goals {
                writeln!(f, "{goal}")?;
            }
        }
        Ok(())
    }
}

/// Columns on a terminal; all our names are of simple letters.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;

    #[test]
    fn columns_are_aligned_and_failures_are_explained_below() {
        let expected = "\
Forwarding
2026-11-21, commit 0123456, Linux 6.18.44, 2 x AMD EPYC, load 0.5

           60 B, 1 flow      p99
                   Mpps       µs
switchd           0.620     41.5
OVS <3.1>         0.290    fails

OVS <3.1>, p99: no connection
";
        assert_eq!(sample().to_string(), expected);
    }
}

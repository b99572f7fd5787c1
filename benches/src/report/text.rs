//! The report for a terminal: one line a row, reasons and goals below.

use super::{Cell, Report, figure};
use std::fmt;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", self.title, self.conditions)?;
        let first = self.rows.iter().map(|row| width(&row.name)).max().unwrap_or(0);
        let widths: Vec<_> = self
            .columns
            .iter()
            .map(|column| width(&column.name).max(width(&column.unit)).max(7))
            .collect();
        for line in [|c: &super::Column| c.name.clone(), |c: &super::Column| c.unit.clone()] {
            write!(f, "{:first$}", "")?;
            for (column, width) in self.columns.iter().zip(&widths) {
                write!(f, "  {:>width$}", line(column))?;
            }
            writeln!(f)?;
        }
        for (row, cells) in self.rows.iter().zip(&self.cells) {
            write!(f, "{:first$}", row.name)?;
            for (cell, width) in cells.iter().zip(&widths) {
                let text = match cell {
                    Cell::Blank => "-".to_owned(),
                    Cell::Missing(_) => "fails".to_owned(),
                    Cell::Runs(_) => figure(cell.median().unwrap_or(f64::NAN)),
                };
                write!(f, "  {text:>width$}")?;
            }
            writeln!(f)?;
        }
        self.write_remarks(f)
    }
}

impl Report {
    fn write_remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut remarks = Vec::new();
        for (row, cells) in self.rows.iter().zip(&self.cells) {
            for (column, cell) in self.columns.iter().zip(cells) {
                if let Cell::Missing(reason) = cell {
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

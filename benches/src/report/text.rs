//! The report for a terminal: one line a row, reasons and goals below.

use super::number::{count, figure};
use super::table::{Cell, Column};
use super::{Better, Report, Table};
use std::fmt::{self, Write};
use std::ops::Range;

/// Blanks between two columns.
const GAP: usize = 2;
/// A table that is wider goes on below.
const WIDTH: usize = 100;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.title, self.conditions)?;
        for table in &self.tables {
            writeln!(f)?;
            if !table.name.is_empty() {
                writeln!(f, "{}: {}\n", table.name, table.about)?;
            }
            table.write(f)?;
        }
        self.write_remarks(f)
    }
}

impl Column {
    fn width(&self) -> usize {
        width(&self.name).max(width(&self.unit)).max(7)
    }
}

impl Cell {
    fn text(&self, column: &Column) -> String {
        match (self, self.median()) {
            (Self::Missing(_), _) => "fails".to_owned(),
            (_, None) => "-".to_owned(),
            // Somebody may look for it elsewhere.
            (_, Some(fact)) if column.better == Better::Neither && fact.fract() == 0.0 => {
                count(fact)
            }
            (_, Some(value)) => figure(value),
        }
    }
}

impl Table {
    /// All columns, in as many parts as the terminal is too narrow for.
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.rows.iter().map(|row| width(&row.name)).max().unwrap_or(0);
        let (mut from, mut used) = (0, first);
        for (index, column) in self.columns.iter().enumerate() {
            let wide = GAP + column.width();
            if used + wide > WIDTH && index > from {
                self.write_part(f, first, from..index)?;
                writeln!(f)?;
                (from, used) = (index, first);
            }
            used += wide;
        }
        self.write_part(f, first, from..self.columns.len())
    }

    /// The columns that fit beside each other.
    fn write_part(
        &self,
        f: &mut fmt::Formatter<'_>,
        first: usize,
        range: Range<usize>,
    ) -> fmt::Result {
        let columns = &self.columns[range.clone()];
        for word in [|c: &Column| c.name.clone(), |c: &Column| c.unit.clone()] {
            let mut line = " ".repeat(first);
            for column in columns {
                // Writing to a string cannot fail.
                let _ = write!(line, "{:GAP$}{:>width$}", "", word(column), width = column.width());
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        for (row, cells) in self.rows.iter().zip(&self.cells) {
            write!(f, "{:first$}", row.name)?;
            for (cell, column) in cells[range.clone()].iter().zip(columns) {
                write!(f, "{:GAP$}{:>width$}", "", cell.text(column), width = column.width())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    /// Why cells have no value; what failed for one reason is told once.
    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (row, cells) in self.rows.iter().zip(&self.cells) {
            let mut before = None;
            for (column, cell) in self.columns.iter().zip(cells) {
                if let Cell::Missing(reason) = cell
                    && before.replace(reason) != Some(reason)
                {
                    reasons.push(format!("{}, {}: {reason}", row.name, column.name));
                }
            }
        }
        reasons
    }
}

impl Report {
    fn write_remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut remarks: Vec<_> = self.tables.iter().flat_map(Table::reasons).collect();
        remarks.extend(self.notes.iter().cloned());
        if !remarks.is_empty() {
            writeln!(f, "\n{}", remarks.join("\n"))?;
        }
        if !self.goals.is_empty() {
            let name = self.goals.iter().map(|goal| width(&goal.name)).max().unwrap_or(0);
            writeln!(f, "\n{:<name$} {:>7} {:>6}", "goal", "wanted", "is")?;
            for goal in &self.goals {
                writeln!(f, "{goal:name$}")?;
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
    use super::super::tests::{larger_sample, sample};

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

    #[test]
    fn a_table_with_a_name_has_a_heading() {
        let expected = "
setup: new flows, caches cold

            rules  new flows
                         k/s
one rule        1      1,320
";
        let text = larger_sample().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

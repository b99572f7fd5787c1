//! The report as a picture: a panel for each column of a table, in it a bar for each row.
//!
//! Written by hand because it is little: rectangles and text in one file that needs no font, script or
//! program. Colours follow the reader's light or dark page by a media query, which no chart library
//! at hand writes.

use super::number::figure;
use super::table::{Cell, Column};
use super::{Better, Report, Role, Table};
use std::fmt::Write;

const WIDTH: usize = 960;
const MARGIN: usize = 24;
/// How many panels are beside each other.
const ACROSS: usize = 2;
const PANEL_GAP: usize = 32;
const PANEL_WIDTH: usize = (WIDTH - 2 * MARGIN - (ACROSS - 1) * PANEL_GAP) / ACROSS;
const TABLE_HEADING: usize = 40;
const HEADING: usize = 30;
const ROW: usize = 22;
const BAR: usize = 14;
/// Least width of the names left of the bars; the numbers right of them have the next one.
const NAMES: usize = 150;
const NUMBERS: usize = 64;
/// Width of a letter, about, and rather too much.
const LETTER: usize = 7;
/// Height of title, conditions and legend.
const TOP: usize = 92;

const STYLE: &str = "\
svg{background:#fff}text{font:12px system-ui,sans-serif;fill:#24292f}\
.title{font-size:18px;font-weight:600}.table{font-size:15px;font-weight:600}.head{font-weight:600}.soft{fill:#6e7781}\
.end{text-anchor:end}.axis{stroke:#d0d7de}.range{stroke:#24292f}\
.ours{fill:#0969da}.rival{fill:#a8b1bb}.limit{fill:#dde3e9}\
@media(prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#e6edf3}.soft{fill:#8d96a0}\
.axis{stroke:#30363d}.range{stroke:#e6edf3}\
.ours{fill:#4493f8}.rival{fill:#656d76}.limit{fill:#343b43}}";

pub(super) fn draw(report: &Report) -> String {
    let height = TOP + report.tables.iter().map(table_height).sum::<usize>() + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n",
        escape(&report.title)
    );
    text(&mut svg, "title", MARGIN, 34, &report.title);
    text(&mut svg, "soft", MARGIN, 54, &report.conditions.to_string());
    legend(&mut svg, report);
    let mut y = TOP;
    for table in &report.tables {
        panels(&mut svg, table, y);
        y += table_height(table);
    }
    svg + "</svg>\n"
}

/// The columns that have a panel, with their places in the table.
fn drawn(table: &Table) -> impl Iterator<Item = (usize, &Column)> {
    table.columns.iter().enumerate().filter(|(_, column)| column.better != Better::Neither)
}

fn panel_height(table: &Table) -> usize {
    HEADING + table.rows.len() * ROW + 18
}

/// Height of a table with its heading; nothing is drawn of one that has facts only.
fn table_height(table: &Table) -> usize {
    let panels = drawn(table).count();
    let heading = if table.name.is_empty() || panels == 0 { 0 } else { TABLE_HEADING };
    heading + panels.div_ceil(ACROSS) * panel_height(table)
}

/// Width of the names of this table, left of its bars.
fn names_width(table: &Table) -> usize {
    let longest = table.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    (longest * LETTER).clamp(NAMES, PANEL_WIDTH / 2 + NUMBERS)
}

/// Length of the longest bar of this table.
fn length(table: &Table) -> f64 {
    (PANEL_WIDTH - names_width(table) - NUMBERS) as f64
}

fn panels(svg: &mut String, table: &Table, mut y: usize) {
    if !table.name.is_empty() && drawn(table).next().is_some() {
        text(svg, "table", MARGIN, y + 24, &format!("{}: {}", table.name, table.about));
        y += TABLE_HEADING;
    }
    for (place, (index, column)) in drawn(table).enumerate() {
        let x = MARGIN + place % ACROSS * (PANEL_WIDTH + PANEL_GAP);
        panel(svg, table, index, column, x, y + place / ACROSS * panel_height(table));
    }
}

fn legend(svg: &mut String, report: &Report) {
    let rows = || report.tables.iter().flat_map(|table| &table.rows);
    let mut x = MARGIN;
    for (role, name) in
        [(Role::Ours, "this switch"), (Role::Rival, "others"), (Role::Limit, "no switch")]
    {
        if rows().any(|row| row.role == role) {
            rectangle(svg, class(role), x, 66, 12.0);
            text(svg, "soft", x + 18, 78, name);
            x += 110;
        }
    }
    text(svg, "soft", x, 78, "median; the line spans all runs");
}

fn panel(svg: &mut String, table: &Table, index: usize, column: &Column, x: usize, y: usize) {
    let less = if column.better == Better::Lower { "less is better" } else { "" };
    let remarks: Vec<_> = [&*column.unit, less].into_iter().filter(|it| !it.is_empty()).collect();
    let heading = match remarks.is_empty() {
        true => column.name.clone(),
        false => format!("{} ({})", column.name, remarks.join(", ")),
    };
    text(svg, "head", x, y + 16, &heading);
    let cells = || table.cells.iter().map(|cells| &cells[index]);
    let largest = cells().filter_map(Cell::range).map(|(_, high)| high).fold(0.0, f64::max);
    let scale = if largest > 0.0 { length(table) / largest } else { 0.0 };
    let bars = x + names_width(table);
    for (place, (row, cell)) in table.rows.iter().zip(cells()).enumerate() {
        let top = y + HEADING + place * ROW;
        let line = top + BAR - 2;
        text(svg, "end", bars - 8, line, &row.name);
        let (Some(value), Some((low, high))) = (cell.median(), cell.range()) else {
            let word = if *cell == Cell::Blank { "–" } else { "fails" };
            text(svg, "soft", bars + 6, line, word);
            continue;
        };
        rectangle(svg, class(row.role), bars, top, value * scale);
        let (from, to) = (bars as f64 + low * scale, bars as f64 + high * scale);
        let middle = top + BAR / 2;
        let _ = writeln!(
            svg,
            "<path class=\"range\" d=\"M{from:.1} {middle}H{to:.1}\"><title>{} to {}</title></path>",
            figure(low),
            figure(high)
        );
        text(svg, "", to as usize + 6, line, &figure(value));
    }
    let bottom = y + HEADING + table.rows.len() * ROW;
    let _ = writeln!(svg, "<path class=\"axis\" d=\"M{bars} {}V{bottom}\"/>", y + HEADING - 4);
}

fn class(role: Role) -> &'static str {
    match role {
        Role::Ours => "ours",
        Role::Rival => "rival",
        Role::Limit => "limit",
    }
}

// Writing to a string cannot fail.
fn rectangle(svg: &mut String, class: &str, x: usize, y: usize, width: f64) {
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\"/>"
    );
}

fn text(svg: &mut String, class: &str, x: usize, y: usize, text: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escape(text));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{larger_sample, sample, sample_table};

    #[test]
    fn there_is_a_bar_for_each_value_and_a_word_for_each_failure() {
        let svg = super::draw(&sample());
        // Three values, and two colours in the legend.
        assert_eq!(svg.matches("<rect").count(), 3 + 2);
        assert_eq!(svg.matches(">fails</text>").count(), 1);
        assert!(svg.contains("OVS &lt;3.1&gt;"));
        assert!(svg.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn the_longest_bar_fills_its_panel() {
        let svg = super::draw(&sample());
        // 0.63 is the largest run, 0.62 the median of its row.
        let longest = super::length(&sample_table()) * 0.62 / 0.63;
        assert!(svg.contains(&format!("width=\"{longest:.1}\"")), "{svg}");
    }

    #[test]
    fn facts_are_not_drawn() {
        let svg = super::draw(&larger_sample());
        assert!(svg.contains(">setup: new flows, caches cold</text>"));
        assert!(svg.contains(">new flows (k/s)</text>"));
        assert!(!svg.contains(">rules</text>"));
    }
}

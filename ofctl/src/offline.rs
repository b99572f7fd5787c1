//! The verbs that need no switch: `parse-flow`, `parse-flows` and `check` read rules and print what they mean or
//! what is wrong with them.

use crate::options::{How, Options};
use crate::output::print;
use crate::{Outcome, files};
use flow::flow_mod::{Command, FlowMod};
use flow::lint::{LintRule, MAX_STEPS, Surroundings, lint};
use flow::text::{
    ParseContext, TextError, describe_flow, describe_flows, parse_flow_file_line, strip_comment,
};
use std::fmt::Write;

/// Carries out the verb `parse-flow`.
pub(crate) fn parse_flow(options: &Options, rule: &str) -> anyhow::Result<Outcome> {
    let text = describe_flow(rule, options.how.allowed_formats(), &context(&options.how))
        .map_err(|error| anyhow::anyhow!(error.render(rule)))?;
    print(&text)?;
    Ok(Outcome::Done)
}

/// Carries out the verb `parse-flows`.
pub(crate) fn parse_flows(options: &Options, path: &str) -> anyhow::Result<Outcome> {
    let file = files::read(path)?;
    let text = describe_flows(file.lines(), options.how.allowed_formats(), &context(&options.how))
        .map_err(|(line, error)| anyhow::anyhow!(place(path, line, &file, &error)))?;
    print(&text)?;
    Ok(Outcome::Done)
}

/// Carries out the verb `check`.
pub(crate) fn check(options: &Options, path: &str) -> anyhow::Result<Outcome> {
    let file = files::read(path)?;
    let report = report(files::name(path), &file, &context(&options.how));
    print(&report.text)?;
    Ok(if report.is_good { Outcome::Done } else { Outcome::Wrong })
}

fn context(how: &How) -> ParseContext<'static> {
    ParseContext { version: how.version(), lenient: how.lenient, ..ParseContext::default() }
}

fn place(path: &str, line: usize, file: &str, error: &TextError) -> String {
    let name = files::name(path);
    match line.checked_sub(1).and_then(|n| file.lines().nth(n)).and_then(strip_comment) {
        Some(text) => error.render_in_file(name, line, text),
        // Line 0: the error concerns the file as a whole.
        None => format!("{name}: {error}"),
    }
}

/// The result of `check`.
struct Report {
    /// The errors and warnings, and a line with their numbers.
    text: String,
    /// Whether the file has no errors. Warnings are allowed.
    is_good: bool,
}

/// Checks every line of a file, and goes on behind an error.
fn report(name: &str, file: &str, context: &ParseContext<'_>) -> Report {
    let mut text = String::new();
    let mut rules: Vec<(usize, FlowMod)> = Vec::new();
    let mut errors = 0;
    for (i, line) in file.lines().enumerate() {
        let Some(line) = strip_comment(line) else {
            continue;
        };
        match parse_flow_file_line(line, context) {
            Ok(rule) => rules.push((i + 1, rule)),
            Err(error) => {
                errors += 1;
                let _ = writeln!(text, "{}", error.render_in_file(name, i + 1, line));
            }
        }
    }
    let count = rules.len() + errors;
    rules.retain(|(_, rule)| rule.command == Command::Add);
    let warnings = warn(&mut text, name, &rules);
    let _ = writeln!(text, "{name}: {count} rules, {errors} errors, {warnings} warnings");
    Report { text, is_good: errors == 0 }
}

/// Appends a warning for each finding of lint, and returns how many there are.
fn warn(text: &mut String, name: &str, rules: &[(usize, FlowMod)]) -> usize {
    let lint_rules: Vec<LintRule<'_>> = rules.iter().map(|(_, rule)| rule.into()).collect();
    let findings = lint(&lint_rules, &Surroundings::default(), MAX_STEPS).findings;
    for finding in &findings {
        let line = rules[finding.rule].0;
        let _ = write!(text, "{name}:{line}: warning: {}", finding.problem);
        if let Some(other) = finding.problem.others().first() {
            let _ = write!(text, " (line {})", rules[*other].0);
        }
        text.push('\n');
    }
    findings.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_told() {
        let file = "# rules\n\
                    priority=10,ip,actions=output:1\n\
                    priority=5,ip,nw_dst=10.0.0.1,actions=drop  # never\n\
                    ip,nw_dst=10.0.0.300,actions=drop\n\
                    \n\
                    frob=1,actions=drop\n";
        let report = report("rules.txt", file, &ParseContext::default());
        assert!(!report.is_good);
        insta::assert_snapshot!(report.text);
    }

    #[test]
    fn a_good_file_is_good() {
        let report = report("f", "actions=NORMAL\n", &ParseContext::default());
        assert!(report.is_good);
        assert_eq!(report.text, "f: 1 rules, 0 errors, 0 warnings\n");
    }
}

//! The verbs that need no switch: `parse-flow`, `parse-flows` and `check` read rules and print what they mean
//! or what is wrong with them.

use crate::connect::connect;
use crate::failure::Place;
use crate::flows::port_names;
use crate::options::{Check, How, Options};
use crate::output::{print, print_json};
use crate::{Outcome, files};
use control::{Reason, Refusal};
use flow::flow_mod::{Command, FlowMod};
use flow::lint::{Finding, LintRule, MAX_STEPS, Surroundings, lint};
use flow::text::{
    ParseContext, PortNames, TextError, describe_flow, describe_flows, is_nearly_an_action,
    parse_flow_file_line, strip_comment,
};
use flow::types::OfPort;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Carries out the verb `parse-flow`.
pub(crate) fn parse_flow(options: &Options, rule: &str) -> anyhow::Result<Outcome> {
    let text = describe_flow(rule, options.how.allowed_formats(), &context(&options.how))
        .map_err(|error| Refusal::of_text(&error, None, 1, rule))?;
    print_parsed(options, &text)
}

/// Carries out the verb `parse-flows`.
pub(crate) fn parse_flows(options: &Options, path: &str) -> anyhow::Result<Outcome> {
    let file = files::read(path)?;
    let text = describe_flows(file.lines(), options.how.allowed_formats(), &context(&options.how))
        .map_err(|(line, error)| refusal(path, line, &file, &error))?;
    print_parsed(options, &text)
}

/// Prints what rules mean: as text, or as JSON with the two protocols and the messages.
fn print_parsed(options: &Options, text: &str) -> anyhow::Result<Outcome> {
    if !options.how.json {
        print(text)?;
        return Ok(Outcome::Done);
    }
    let mut parsed = Parsed::default();
    let list = |value: &str| value.split(',').map(str::to_owned).collect();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("usable protocols", value)) => parsed.usable_protocols = list(value),
            Some(("chosen protocol", value)) => parsed.chosen_protocol = value.to_owned(),
            _ => parsed.messages.push(line.to_owned()),
        }
    }
    print_json(&parsed)?;
    Ok(Outcome::Done)
}

/// What `parse-flow` and `parse-flows` print as JSON.
#[derive(Default, Serialize)]
struct Parsed {
    /// The protocols that can carry all rules, as `ovs-ofctl` calls them.
    usable_protocols: Vec<String>,
    /// The first of them.
    chosen_protocol: String,
    /// The messages, one a rule, as `ovs-ofctl` prints them.
    messages: Vec<String>,
}

/// Carries out the verb `check`.
pub(crate) fn check(options: &Options, arguments: &Check) -> anyhow::Result<Outcome> {
    let path = &arguments.file;
    let file = files::read(path)?;
    let known = match &arguments.ports {
        Some(names) => {
            let numbered = (1..).zip(names).map(|(number, name)| (OfPort(number), name.clone()));
            Some(numbered.collect())
        }
        // With --socket, the user has asked for that switch's ports.
        None if options.how.socket.is_some() => Some(port_names(&mut connect(&options.how)?)?),
        None => None,
    };
    let unknown = AnyPortNames::default();
    let ports: &dyn PortNames = match &known {
        Some(known) => known,
        None => &unknown,
    };
    let context = ParseContext { ports, ..context(&options.how) };
    let mut report = report(files::name(path), &file, &context);
    report.unchecked_ports = unknown.into_words();
    match options.how.json {
        true => print_json(&report)?,
        false => print(&report.text())?,
    }
    Ok(if report.errors.is_empty() { Outcome::Done } else { Outcome::Wrong })
}

/// Takes every word that can be the name of a port for one, and remembers the words: a file of rules can be
/// checked without a switch.
#[derive(Default)]
struct AnyPortNames(RefCell<BTreeMap<String, usize>>);

impl AnyPortNames {
    /// The words, in the order in which they came.
    fn into_words(self) -> Vec<String> {
        let mut words: Vec<(String, usize)> = self.0.into_inner().into_iter().collect();
        words.sort_by_key(|(_, place)| *place);
        words.into_iter().map(|(word, _)| word).collect()
    }
}

/// The largest size of a port's name in bytes, in Linux and in OpenFlow.
const MAX_PORT_NAME: usize = 15;

impl PortNames for AnyPortNames {
    fn number(&self, name: &str) -> Option<OfPort> {
        // A misspelt action would be taken for an output to a port of that name.
        if is_nearly_an_action(name) {
            return None;
        }
        let is_possible = name.len() <= MAX_PORT_NAME
            && !name.contains(|c: char| c.is_control() || c.is_whitespace());
        if !is_possible {
            return None;
        }
        let mut words = self.0.borrow_mut();
        let next = words.len();
        let place = *words.entry(name.to_owned()).or_insert(next);
        // Numbers that a file is least likely to have as well, the highest first.
        let number = OfPort::MAX.0.saturating_sub(1).saturating_sub(u16::try_from(place).ok()?);
        (number > 0).then_some(OfPort(number))
    }

    fn name(&self, _: OfPort) -> Option<&str> {
        None
    }
}

fn context(how: &How) -> ParseContext<'static> {
    ParseContext { version: how.version(), lenient: how.lenient, ..ParseContext::default() }
}

/// The error of a line of a file. Line 0 stands for an error of the file as a whole.
fn refusal(path: &str, line: usize, file: &str, error: &TextError) -> Refusal {
    let name = files::name(path);
    match line.checked_sub(1).and_then(|n| file.lines().nth(n)).and_then(strip_comment) {
        Some(text) => Refusal::of_text(error, Some(name), line, text),
        None => Refusal::new(Reason::Text, format!("{name}: {error}")),
    }
}

/// The result of `check`, which is printed as JSON or as text.
#[derive(Default, Serialize)]
struct Report {
    /// The name of the file, as messages call it.
    file: String,
    /// The number of rules, wrong ones included.
    rules: usize,
    errors: Vec<Wrong>,
    warnings: Vec<Warning>,
    /// Words that were taken for names of ports.
    unchecked_ports: Vec<String>,
}

/// A line that is not valid.
#[derive(Serialize)]
struct Wrong {
    /// What is wrong.
    message: String,
    /// What the user can write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The wrong part of the line.
    place: Place,
    /// The error for the terminal: the message behind file and line, the line with carets, and the hint.
    #[serde(skip)]
    text: String,
}

/// A rule that is valid and hardly meant.
#[derive(Serialize)]
struct Warning {
    /// The number of the rule's line, from 1.
    line: usize,
    /// The kind of the problem ([`flow::lint::Problem::name`]).
    problem: &'static str,
    /// The problem in words.
    message: String,
    /// The line of the rule that has the largest part in the problem; `None` if there is no such rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_line: Option<usize>,
    /// The warning for the terminal.
    #[serde(skip)]
    text: String,
}

impl Report {
    /// The errors and warnings, and a line with their numbers.
    fn text(&self) -> String {
        let Self { file, rules, errors, warnings, unchecked_ports } = self;
        let mut text = String::new();
        let warned = warnings.iter().map(|warning| &warning.text);
        for told in errors.iter().map(|error| &error.text).chain(warned) {
            let _ = writeln!(text, "{told}");
        }
        let (errors, warnings) = (errors.len(), warnings.len());
        let _ = writeln!(text, "{file}: {rules} rules, {errors} errors, {warnings} warnings");
        if !unchecked_ports.is_empty() {
            let (count, first) =
                (unchecked_ports.len(), &unchecked_ports[..unchecked_ports.len().min(10)]);
            let more = if count > first.len() { ", ..." } else { "" };
            let _ = writeln!(
                text,
                "{file}: {count} names of ports were not checked (--ports NAMES checks them): {}{more}",
                first.join(", ")
            );
        }
        text
    }
}

/// Checks every line of a file, and goes on behind an error.
fn report(name: &str, file: &str, context: &ParseContext<'_>) -> Report {
    let mut report = Report { file: name.to_owned(), ..Report::default() };
    let mut rules: Vec<(usize, FlowMod)> = Vec::new();
    for (line_no, line) in (1..).zip(file.lines()) {
        let Some(line) = strip_comment(line) else {
            continue;
        };
        report.rules += 1;
        match parse_flow_file_line(line, context) {
            Ok(rule) => rules.push((line_no, rule)),
            Err(error) => {
                report.errors.extend(wrong(&Refusal::of_text(&error, Some(name), line_no, line)));
            }
        }
    }
    rules.retain(|(_, rule)| rule.command == Command::Add);
    report.warnings = warnings(name, &rules);
    report
}

/// The refusal of a line, which has a place.
fn wrong(refusal: &Refusal) -> Option<Wrong> {
    Some(Wrong {
        message: refusal.message.clone(),
        hint: refusal.hint.clone(),
        place: Place::of(refusal.place.as_ref()?),
        text: refusal.render(),
    })
}

/// A warning for each finding of lint.
fn warnings(name: &str, rules: &[(usize, FlowMod)]) -> Vec<Warning> {
    let lint_rules: Vec<LintRule<'_>> = rules.iter().map(|(_, rule)| rule.into()).collect();
    let findings = lint(&lint_rules, &Surroundings::default(), MAX_STEPS).findings;
    let warning = |finding: &Finding| {
        let (line, message) = (rules[finding.rule].0, finding.problem.to_string());
        let other_line = finding.problem.others().first().map(|&other| rules[other].0);
        let mut text = format!("{name}:{line}: warning: {message}");
        if let Some(other) = other_line {
            let _ = write!(text, " (line {other})");
        }
        Warning { line, problem: finding.problem.name(), message, other_line, text }
    };
    findings.iter().map(warning).collect()
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
        assert_eq!(report.errors.len(), 2);
        insta::assert_snapshot!(report.text());
    }

    #[test]
    fn a_good_file_is_good() {
        let report = report("f", "actions=NORMAL\n", &ParseContext::default());
        assert_eq!(report.text(), "f: 1 rules, 0 errors, 0 warnings\n");
    }

    #[test]
    fn names_of_ports_are_left_unchecked_and_counted() {
        let ports = AnyPortNames::default();
        let context = ParseContext { ports: &ports, ..ParseContext::default() };
        let file = "in_port=p1,actions=p2\nin_port=p2,actions=drop\nactions=drp\nactions=ct\n\
                    actions=a-name-much-too-long\nactions=\u{1b}[2J\n";
        let mut report = report("f", file, &context);
        let wrong: Vec<usize> = report.errors.iter().map(|error| error.place.line).collect();
        assert_eq!(
            wrong,
            [3, 4, 5, 6],
            "a misspelt action is no port, nor is what no port can be called"
        );
        report.unchecked_ports = ports.into_words();
        assert_eq!(report.unchecked_ports, ["p1", "p2"]);
        let told = "f: 2 names of ports were not checked (--ports NAMES checks them): p1, p2\n";
        assert!(report.text().ends_with(told), "{}", report.text());
    }
}

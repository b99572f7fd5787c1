//! The verb `lint`: finds rules that are allowed but hardly meant, in a file or in a bridge ([`flow::lint`]).
//!
//! The comparison of rules takes seconds and happens in `ofctl`. The daemon only lists its rules.

use crate::connect::{connect, wrong_usage};
use crate::flows::{collect, is_file, line as flow_line, port_names};
use crate::options::{How, Options, Words};
use crate::output::{print, print_json};
use crate::{Outcome, files};
use anyhow::Context;
use control::record::GroupRecord;
use control::{Client, FlowQuery, Format, GroupQuery, Operation, Refusal};
use flow::flow_mod::{Command, FlowMod};
use flow::lint::{LintRule, MAX_STEPS, Report, Surroundings, lint as look};
use flow::text::{
    NoPortNames, ParseContext, PortNames, PrintOptions, TextError, parse_dumped_flow,
    parse_flow_file_line, strip_comment,
};
use flow::types::{GroupId, OfPort, OfVersion};
use serde::Serialize;
use std::fmt::Write;

/// Carries out the verb `lint`.
pub(crate) fn lint(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let how = &options.how;
    let subject = match &words.words[..] {
        [] => Subject::of_switch(how, None)?,
        [file] if is_file(file) => Subject::of_file(how, file)?,
        [bridge] => Subject::of_switch(how, Some(bridge))
            .with_context(|| format!("{bridge:?} is not a file"))?,
        _ => return Err(wrong_usage(options)),
    };
    let rules: Vec<LintRule<'_>> = subject.rules.iter().map(|(_, rule)| rule.into()).collect();
    let report = look(&rules, &subject.around, MAX_STEPS);
    let is_good = report.findings.is_empty();
    let record = subject.describe(how, report);
    match how.json {
        true => print_json(&record)?,
        false => print(&render(&record))?,
    }
    Ok(if is_good { Outcome::Done } else { Outcome::Wrong })
}

/// The rules to check, with the ports and groups that they can name.
#[derive(Default)]
struct Subject {
    /// The rules, each with its file and line; `None` for rules of a bridge.
    rules: Vec<(Option<(String, usize)>, FlowMod)>,
    around: Surroundings,
    /// The ports of the bridge.
    names: Vec<(OfPort, String)>,
    /// What could not be checked, and why, for the user.
    not_checked: Vec<String>,
}

impl Subject {
    /// Reads the rules of a file. If a switch with one bridge answers, its ports and groups are those that the
    /// rules can name.
    fn of_file(how: &How, path: &str) -> anyhow::Result<Self> {
        let text = files::read(path)?;
        let mut subject = Self::default();
        match connect(how).and_then(|mut client| subject.look_around(&mut client)) {
            Ok(()) => {}
            // With --socket, the user has asked for that switch's ports and groups.
            Err(error) if how.socket.is_some() => return Err(error),
            Err(error) => {
                subject.not_checked.push(format!("ports and groups: {error}"));
            }
        }
        let context = ParseContext {
            version: how.version(),
            lenient: how.lenient,
            ports: &subject.names,
            ..ParseContext::default()
        };
        let name = files::name(path);
        let mut skipped = 0;
        for (i, full) in text.lines().enumerate() {
            let Some(text) = strip_comment(full) else {
                continue;
            };
            let rule = parse_flow_file_line(text, &context)
                .map_err(|e| Refusal::of_text(&e, Some(name), i + 1, text))?;
            match rule.command {
                Command::Add => subject.rules.push((Some((name.to_owned(), i + 1)), rule)),
                _ => skipped += 1,
            }
        }
        if skipped > 0 {
            let lines = format!("lines that delete or modify rules ({skipped})");
            subject.not_checked.push(lines);
        }
        Ok(subject)
    }

    /// Reads the rules, ports and groups of a bridge. `None` is the only bridge of the switch.
    fn of_switch(how: &How, bridge: Option<&String>) -> anyhow::Result<Self> {
        let mut client = connect(how)?;
        if bridge.is_some_and(|name| !client.hello().bridges.contains(name)) {
            let bridges = client.hello().bridges.join(", ");
            anyhow::bail!("it is not a bridge either: this switch has {bridges}");
        }
        client.set_bridge(bridge.cloned());
        let mut subject = Self::default();
        subject.look_around(&mut client)?;
        // Dumps of OpenFlow 1.5 lose nothing of a rule.
        let version = OfVersion::OpenFlow15;
        let query = FlowQuery { version, stats: false, ..FlowQuery::default() };
        let mut lines = Vec::new();
        collect(&mut client, query, &mut lines)?;
        for text in &lines {
            let rule = parse_dumped_flow(text, &subject.names)
                .map_err(|e: TextError| anyhow::anyhow!("the switch lists {text:?}: {e}"))?;
            subject.rules.push((None, rule));
        }
        Ok(subject)
    }

    /// Asks the daemon for the ports and groups of the bridge.
    fn look_around(&mut self, client: &mut Client) -> anyhow::Result<()> {
        self.names = port_names(client)?;
        self.around.ports = Some(self.names.iter().map(|(port, _)| *port).collect());
        let query = GroupQuery { format: Format::Json, ..GroupQuery::default() };
        let groups: Vec<GroupRecord> = client.list(Operation::DumpGroups(query))?;
        self.around.groups = Some(groups.iter().map(|group| GroupId(group.group_id)).collect());
        Ok(())
    }

    fn describe(&self, how: &How, report: Report) -> LintRecord {
        let shown: &dyn PortNames = if how.names() { &self.names } else { &NoPortNames };
        let options =
            PrintOptions { version: how.version(), ports: shown, stats: false, ages: true };
        let rule = |i: usize| {
            let (place, rule) = &self.rules[i];
            let mut text = String::new();
            flow_line(rule).write(&mut text, &options);
            let (file, line) = place.clone().unzip();
            RuleRecord { file, line, rule: text }
        };
        let findings = report.findings.iter().map(|finding| FindingRecord {
            problem: finding.problem.name(),
            rule: rule(finding.rule),
            message: finding.problem.to_string(),
            others: finding.problem.others().iter().map(|&other| rule(other)).collect(),
            more: finding.problem.unnamed(),
            advice: finding.problem.advice(),
        });
        let unfinished = report
            .unfinished
            .iter()
            .map(|what| format!("{what}, in full: there are too many rules to compare"));
        LintRecord {
            rules: self.rules.len(),
            findings: findings.collect(),
            not_checked: self.not_checked.iter().cloned().chain(unfinished).collect(),
        }
    }
}

/// The output of the verb; `--json` prints it field by field.
#[derive(Debug, Default, Serialize)]
struct LintRecord {
    /// How many rules were checked.
    rules: usize,
    /// The problems, in the order of their rules.
    findings: Vec<FindingRecord>,
    /// What could not be checked, and why.
    not_checked: Vec<String>,
}

/// A problem of a rule.
#[derive(Debug, Serialize)]
struct FindingRecord {
    /// The kind of the problem ([`flow::lint::Problem::name`]).
    problem: &'static str,
    #[serde(flatten)]
    rule: RuleRecord,
    /// The problem in words.
    message: String,
    /// The other rules that have a part in the problem.
    others: Vec<RuleRecord>,
    /// How many more rules have a part in the problem.
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
    /// What the user can do.
    advice: String,
}

/// A rule in the output.
#[derive(Debug, Serialize)]
struct RuleRecord {
    /// The name of the file; `None` for rules of a bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The number of the line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// The rule, as a dump prints it.
    rule: String,
}

impl RuleRecord {
    fn text(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: {}", self.rule),
            _ => self.rule.clone(),
        }
    }
}

/// The output as text, with a paragraph for each finding.
fn render(record: &LintRecord) -> String {
    let mut out = String::new();
    for finding in &record.findings {
        let _ = writeln!(out, "{}", finding.rule.text());
        let _ = writeln!(out, "  {}", finding.message);
        for other in &finding.others {
            let _ = writeln!(out, "    {}", other.text());
        }
        if finding.more > 0 {
            let _ = writeln!(out, "    and {} more", finding.more);
        }
        let _ = writeln!(out, "  {}\n", finding.advice);
    }
    let found = match record.findings.len() {
        0 => "no findings".to_owned(),
        n => count(n, "finding"),
    };
    let _ = writeln!(out, "{}: {found}", count(record.rules, "rule"));
    for what in &record.not_checked {
        let _ = writeln!(out, "not checked: {what}");
    }
    out
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_paragraph() {
        let rule = |line, rule: &str| RuleRecord {
            file: Some("rules.txt".to_owned()),
            line: Some(line),
            rule: rule.to_owned(),
        };
        let record = LintRecord {
            rules: 2,
            findings: vec![FindingRecord {
                problem: "shadowed",
                rule: rule(2, "priority=5,tcp actions=output:1"),
                message: "can never match".to_owned(),
                others: vec![rule(1, "priority=9,ip actions=drop")],
                more: 5,
                advice: "delete it".to_owned(),
            }],
            not_checked: vec!["ports".to_owned()],
        };
        insta::assert_snapshot!(render(&record), @r"
    rules.txt:2: priority=5,tcp actions=output:1
      can never match
        rules.txt:1: priority=9,ip actions=drop
        and 5 more
      delete it

    2 rules: 1 finding
    not checked: ports
    ");
        let none = LintRecord { rules: 1, ..LintRecord::default() };
        assert_eq!(render(&none), "1 rule: no findings\n");
    }
}

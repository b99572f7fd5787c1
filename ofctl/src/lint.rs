//! `lint`: rules that are allowed and hardly meant, in a file or in the switch.
//!
//! The switch only lists its rules; they are compared here, so that it has nothing to do meanwhile.

use crate::connect::{connect, wrong_usage};
use crate::flows::{collect, is_file, line, port_names};
use crate::options::{How, Options, Words};
use crate::output::{print, print_json};
use crate::{Outcome, files};
use anyhow::Context;
use control::record::GroupRecord;
use control::{Client, FlowQuery, Format, GroupQuery, Operation};
use flow::flow_mod::{Command, FlowMod};
use flow::lint::{LintRule, MAX_STEPS, Report, Surroundings, lint as look};
use flow::text::{
    NoPortNames, ParseContext, PortNames, PrintOptions, TextError, parse_flow,
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

/// Rules, and what is known of where they are.
#[derive(Default)]
struct Subject {
    /// With their place in the file, if they are from one.
    rules: Vec<(Option<String>, FlowMod)>,
    around: Surroundings,
    names: Vec<(OfPort, String)>,
    not_checked: Vec<String>,
}

impl Subject {
    /// The rules of a file, among the ports and groups of the switch if one answers.
    fn of_file(how: &How, path: &str) -> anyhow::Result<Self> {
        let text = files::read(path)?;
        let mut subject = Self::default();
        match connect(how) {
            Ok(mut client) => subject.look_around(&mut client)?,
            // Who names a socket means that switch.
            Err(error) if how.socket.is_some() => return Err(error),
            Err(error) => {
                subject.not_checked.push(format!("ports and groups: {error}"));
            }
        }
        let context = ParseContext {
            version: how.version,
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
                .map_err(|e| anyhow::anyhow!(e.render_in_file(name, i + 1, text)))?;
            match rule.command {
                Command::Add => subject.rules.push((Some(format!("{name}:{}", i + 1)), rule)),
                _ => skipped += 1,
            }
        }
        if skipped > 0 {
            let lines = format!("lines that delete or modify rules ({skipped})");
            subject.not_checked.push(lines);
        }
        Ok(subject)
    }

    /// What a switch holds.
    fn of_switch(how: &How, bridge: Option<&String>) -> anyhow::Result<Self> {
        let mut client = connect(how)?;
        if bridge.is_some_and(|name| !client.hello().bridges.contains(name)) {
            let bridges = client.hello().bridges.join(", ");
            anyhow::bail!("it is not a bridge either: this switch has {bridges}");
        }
        client.set_bridge(bridge.cloned());
        let mut subject = Self::default();
        subject.look_around(&mut client)?;
        // The latest version can say all that rules can be.
        let version = OfVersion::OpenFlow15;
        let query = FlowQuery { version, stats: false, ..FlowQuery::default() };
        let mut lines = Vec::new();
        collect(&mut client, how, query, &mut lines)?;
        let context = ParseContext { version, ports: &subject.names, ..ParseContext::default() };
        for text in &lines {
            let rule = parse_flow(text, &context)
                .map_err(|e: TextError| anyhow::anyhow!("the switch lists {text:?}: {e}"))?;
            subject.rules.push((None, rule));
        }
        Ok(subject)
    }

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
        let options = PrintOptions { version: how.version, ports: shown, stats: false, ages: true };
        let rule = |i: usize| {
            let (place, rule) = &self.rules[i];
            let mut text = String::new();
            line(rule).write(&mut text, &options);
            RuleRecord { place: place.clone(), rule: text }
        };
        let findings = report.findings.iter().map(|finding| FindingRecord {
            problem: finding.problem.name(),
            rule: rule(finding.rule),
            message: finding.problem.to_string(),
            others: finding.problem.others().iter().map(|&other| rule(other)).collect(),
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

/// All that is told; `--json` prints it as it is.
#[derive(Debug, Default, Serialize)]
struct LintRecord {
    rules: usize,
    findings: Vec<FindingRecord>,
    not_checked: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FindingRecord {
    problem: &'static str,
    #[serde(flatten)]
    rule: RuleRecord,
    message: String,
    others: Vec<RuleRecord>,
    advice: String,
}

/// A rule, and where it is written.
#[derive(Debug, Serialize)]
struct RuleRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    rule: String,
}

impl RuleRecord {
    fn text(&self) -> String {
        match &self.place {
            Some(place) => format!("{place}: {}", self.rule),
            None => self.rule.clone(),
        }
    }
}

/// One finding a paragraph.
fn render(record: &LintRecord) -> String {
    let mut out = String::new();
    for finding in &record.findings {
        let _ = writeln!(out, "{}", finding.rule.text());
        let _ = writeln!(out, "  {}", finding.message);
        for other in &finding.others {
            let _ = writeln!(out, "    {}", other.text());
        }
        let _ = writeln!(out, "  {}\n", finding.advice);
    }
    let found = match record.findings.len() {
        0 => "nothing to complain about".to_owned(),
        n => count(n, "finding"),
    };
    let _ = writeln!(out, "{}: {found}", count(record.rules, "rule"));
    for what in &record.not_checked {
        let _ = writeln!(out, "not checked: {what}");
    }
    out
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
            place: Some(format!("rules.txt:{line}")),
            rule: rule.to_owned(),
        };
        let record = LintRecord {
            rules: 2,
            findings: vec![FindingRecord {
                problem: "shadowed",
                rule: rule(2, "priority=5,tcp actions=output:1"),
                message: "can never match".to_owned(),
                others: vec![rule(1, "priority=9,ip actions=drop")],
                advice: "delete it".to_owned(),
            }],
            not_checked: vec!["ports".to_owned()],
        };
        insta::assert_snapshot!(render(&record), @r"
    rules.txt:2: priority=5,tcp actions=output:1
      can never match
        rules.txt:1: priority=9,ip actions=drop
      delete it

    2 rules: 1 finding
    not checked: ports
    ");
        let none = LintRecord { rules: 1, ..LintRecord::default() };
        assert_eq!(render(&none), "1 rule: nothing to complain about\n");
    }
}

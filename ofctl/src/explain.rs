//! The output of `trace --explain`: a trace in sentences, with the rules that came near to matching and why
//! they did not.

use crate::trace::rule_text;
use control::record::{LearnRecord, LostRecord, TraceEventRecord, TraceRecord, TraceStepRecord};
use flow::types::OfPort;
use std::fmt::Write;

/// The whole trace, including the passes behind each recirculation.
pub(crate) fn render(trace: &TraceRecord) -> String {
    let mut out = String::new();
    let mut next = Some(trace);
    while let Some(pass) = next {
        render_pass(&mut out, pass);
        next = pass.recirculated.as_deref();
        if next.is_some() {
            out.push_str("\nThe packet is recirculated and looked up again:\n\n");
        }
    }
    out
}

fn render_pass(out: &mut String, trace: &TraceRecord) {
    let _ = writeln!(out, "The packet: {}\n", trace.flow);
    let mut account = Account { out, levels: Vec::new(), action: None };
    for (i, step) in trace.steps.iter().enumerate() {
        account.step(step, &trace.steps[i + 1..]);
    }
    account.finish_action();
    let _ = writeln!(out, "\n{}", trace.outcome.as_deref().unwrap_or_default());
    if let Some(last) = &trace.final_flow {
        let _ = writeln!(out, "The packet behind the last action: {last}");
    }
    for learn in &trace.learns {
        learned(out, learn);
    }
    let _ = writeln!(out, "Every packet of this match gets the same verdict: {}", trace.megaflow);
}

fn learned(out: &mut String, learn: &LearnRecord) {
    let LearnRecord { mac, vlan, port, name, known_port, known_name } = learn;
    let text =
        |port: u16, name: &Option<String>| name.clone().unwrap_or_else(|| OfPort(port).to_string());
    let at = text(*port, name);
    let _ = match known_port {
        None => writeln!(
            out,
            "From such a packet the switch learns that {mac} is at port {at}, VLAN {vlan}."
        ),
        Some(known) if known == port => {
            writeln!(out, "The switch knows already that {mac} is at port {at}, VLAN {vlan}.")
        }
        Some(known) => writeln!(
            out,
            "From such a packet the switch learns that {mac}, VLAN {vlan}, is at port {at} and no longer at {}.",
            text(*known, known_name)
        ),
    };
}

/// Prints steps as lines: actions are indented below their rule, and the tables and buckets that an action
/// leads to are indented below the action. If no further action follows, such a table is not indented, so that
/// a long chain of tables stays at the left.
struct Account<'a> {
    out: &'a mut String,
    /// The indentation of the rule, bucket or action set at each depth.
    levels: Vec<usize>,
    /// The action in the step before, with its indentation. It is printed together with its sentence.
    action: Option<(usize, String)>,
}

impl Account<'_> {
    fn step(&mut self, step: &TraceStepRecord, rest: &[TraceStepRecord]) {
        let depth = step.depth as usize;
        // The indentation of actions at this depth. Tables and buckets below them are indented by one more.
        let below = depth.checked_sub(1).and_then(|above| self.levels.get(above));
        let actions = below.map_or(depth, |level| level + 1);
        if let TraceEventRecord::Sentence(text) = &step.event {
            return match self.action.take() {
                Some((level, action)) => self.line(level, &format!("{action}: {text}")),
                None => self.line(actions + 1, text),
            };
        }
        self.finish_action();
        let is_last = rest.iter().all(|later| {
            later.depth > step.depth || matches!(later.event, TraceEventRecord::Lost { .. })
        });
        let level = match depth {
            0 => 0,
            _ if is_last => actions - 1,
            _ => actions + 1,
        };
        let begins = matches!(
            step.event,
            TraceEventRecord::Rule { .. }
                | TraceEventRecord::Miss { .. }
                | TraceEventRecord::Bridge(_)
                | TraceEventRecord::Bucket(_)
                | TraceEventRecord::ActionSet {}
                | TraceEventRecord::Resume { .. }
        );
        if begins {
            self.levels.truncate(depth);
            self.levels.push(level);
        }
        match &step.event {
            TraceEventRecord::Rule {
                table,
                r#match,
                priority,
                cookie,
                name,
                learned_by,
                is_empty,
            } => {
                let text = rule_text(r#match, *priority);
                let name = name.as_ref().map(|name| format!(" called {name}"));
                let cookie = cookie.as_ref().map(|cookie| format!(", cookie {cookie},"));
                let (name, cookie) = (name.unwrap_or_default(), cookie.unwrap_or_default());
                self.line(
                    level,
                    &format!("Table {table}: the rule{name} \"{text}\"{cookie} matches."),
                );
                if let Some(teacher) = learned_by {
                    let text = format!("A packet has made this rule, by the rule \"{teacher}\".");
                    self.line(level + 1, &text);
                }
                if *is_empty {
                    self.line(level + 1, "The rule has no actions, so it drops the packet.");
                }
            }
            TraceEventRecord::Miss { table } => {
                self.line(level, &format!("Table {table}: no rule matches."));
            }
            TraceEventRecord::Lost { rules, others, is_limited } => {
                self.lost(
                    self.levels.last().map_or(0, |level| level + 1),
                    rules,
                    *others,
                    *is_limited,
                );
            }
            TraceEventRecord::Action(text) => self.action = Some((actions, text.clone())),
            TraceEventRecord::Bridge(name) => {
                self.line(level, &format!("The packet comes in at bridge {name}:"));
            }
            TraceEventRecord::Bucket(n) => self.line(level, &format!("Bucket {n}:")),
            TraceEventRecord::ActionSet {} => self.line(level, "The action set is carried out:"),
            TraceEventRecord::Resume { table } => {
                self.line(level, &format!("Table {table}: the rest of the rule is carried out."));
            }
            TraceEventRecord::Omitted { steps } => {
                self.line(0, &format!("... {steps} further steps are left out."));
            }
            // A note is for the short format. The sentence behind it says the same.
            TraceEventRecord::Note(_) | TraceEventRecord::Sentence(_) => {}
        }
    }

    fn lost(&mut self, level: usize, rules: &[LostRecord], others: u64, is_limited: bool) {
        for LostRecord { r#match, priority, on, message } in rules {
            let rule = rule_text(r#match, *priority);
            self.line(level, &format!("not \"{rule}\", which lost on {on}: {message}"));
        }
        match (others, rules.is_empty()) {
            (0, _) => {}
            (1, false) => self.line(level, "nor one other rule, which differs in more fields"),
            (n, false) => {
                self.line(level, &format!("nor {n} other rules, which differ in more fields"));
            }
            (1, true) => self.line(level, "one rule of no lower priority differs in many fields"),
            (n, true) => {
                self.line(level, &format!("{n} rules of no lower priority differ in many fields"));
            }
        }
        if is_limited {
            self.line(level, "(the table has too many rules to compare all of them)");
        }
    }

    /// Prints the action that waits for its sentence, as there is none.
    fn finish_action(&mut self) {
        if let Some((level, action)) = self.action.take() {
            self.line(level, &action);
        }
    }

    fn line(&mut self, level: usize, text: &str) {
        self.out.extend(std::iter::repeat_n("  ", level));
        self.out.push_str(text);
        self.out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_a_line_as_deep_as_it_is() {
        let step = |depth, event| TraceStepRecord { depth, event };
        let lost = LostRecord {
            r#match: "tcp,tp_dst=80".to_owned(),
            priority: 20,
            on: "tcp_dst".to_owned(),
            message: "the packet has tp_dst=443, the rule wants tp_dst=80".to_owned(),
        };
        let trace = TraceRecord {
            flow: "tcp,in_port=1".to_owned(),
            steps: vec![
                step(
                    0,
                    TraceEventRecord::Rule {
                        table: 0,
                        r#match: "tcp".to_owned(),
                        priority: 10,
                        cookie: Some("0x1".to_owned()),
                        name: None,
                        learned_by: None,
                        is_empty: false,
                    },
                ),
                step(0, TraceEventRecord::Lost { rules: vec![lost], others: 2, is_limited: false }),
                step(1, TraceEventRecord::Action("output:7".to_owned())),
                step(1, TraceEventRecord::Sentence("send it to port 7".to_owned())),
                step(1, TraceEventRecord::Note(">> Nonexistent output port".to_owned())),
                step(1, TraceEventRecord::Sentence("there is no port 7".to_owned())),
            ],
            outcome: Some("It is dropped.".to_owned()),
            megaflow: "recirc_id=0,eth,tcp".to_owned(),
            ..TraceRecord::default()
        };
        insta::assert_snapshot!(render(&trace), @r#"
        The packet: tcp,in_port=1

        Table 0: the rule "tcp, priority 10", cookie 0x1, matches.
          not "tcp,tp_dst=80, priority 20", which lost on tcp_dst: the packet has tp_dst=443, the rule wants tp_dst=80
          nor 2 other rules, which differ in more fields
          output:7: send it to port 7
            there is no port 7

        It is dropped.
        Every packet of this match gets the same verdict: recirc_id=0,eth,tcp
        "#);
    }
}

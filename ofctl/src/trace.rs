//! The verb `trace`: prints the rules and actions that a packet meets, in the layout of
//! `ovs-appctl ofproto/trace`. With `--explain`, `explain` prints them.

use crate::connect::{call, unexpected};
use crate::options::{How, Options, Trace};
use crate::output::{note, print, print_json};
use crate::{Outcome, Usage, conjunctions, explain, files, flows};
use control::record::{TraceEventRecord, TraceRecord, TraceStepRecord};
use control::{Client, Operation, Reply, TraceQuery};
use flow::key::ct_state;
use flow::text::{CT_STATES, NoPortNames, PortNames};
use std::fmt::Write;

/// The state of a connection that flags such as `trk,est` say, with commas or blanks between. As in Open
/// vSwitch, `trk` is always set.
fn ct_state(text: &str) -> Result<u16, Usage> {
    let mut flags = text.split([',', ' ']).filter(|flag| !flag.is_empty());
    flags.try_fold(ct_state::TRACKED, |state, flag| {
        match CT_STATES.iter().position(|name| *name == flag) {
            Some(bit) => Ok(state | (1 << bit)),
            None => Err(Usage(format!(
                "--ct-next: \"{flag}\" is no state of a connection: write some of {}",
                CT_STATES.join(", ")
            ))),
        }
    })
}

/// Carries out the verb `trace`.
pub(crate) fn trace(options: &Options, arguments: &Trace) -> anyhow::Result<Outcome> {
    let how = &options.how;
    let Trace { words, packet, from, to, ct_next, explain } = arguments;
    let ct_next = ct_next.iter().map(|text| ct_state(text)).collect::<Result<_, _>>()?;
    let has_hosts = from.is_some() || to.is_some();
    let needs_flow = packet.is_none() && !has_hosts;
    let packet = match packet.as_deref() {
        Some("-") => Some(files::read("-")?),
        packet => packet.map(str::to_owned),
    };
    let may_have_packet = packet.is_none() && !has_hosts;
    let most = 1 + usize::from(may_have_packet);
    let mut call = call(options, words, usize::from(needs_flow), most)?;
    let query = TraceQuery {
        flow: call.words.first().cloned().unwrap_or_default(),
        packet: packet.or_else(|| call.words.get(1).cloned()),
        from: from.clone(),
        to: to.clone(),
        ct_next,
        explain: *explain,
        version: how.version(),
        lenient: how.lenient,
        names: how.names(),
    };
    let bridge = call.client.bridge().unwrap_or_default().to_owned();
    let Reply::Trace(mut trace) = call.client.ask(Operation::Trace(query))? else {
        return Err(unexpected());
    };
    if how.conjunctions && *explain {
        tell_conjunctions(&mut call.client, how, &mut trace)?;
    }
    if !how.json {
        trace.notes.iter().for_each(|text| note(text));
    }
    match how.json {
        true => print_json(&trace)?,
        false if *explain => print(&explain::render(&trace))?,
        false => print(&render(&bridge, &trace))?,
    }
    Ok(Outcome::Done)
}

/// Adds behind each rule of the bridge that matches on `conj_id` what its conjunctions match.
fn tell_conjunctions(
    client: &mut Client,
    how: &How,
    trace: &mut TraceRecord,
) -> anyhow::Result<()> {
    let names = flows::port_names(client)?;
    let shown: &dyn PortNames = if how.names() { &names } else { &NoPortNames };
    let mut rules = None;
    let mut next = Some(trace);
    while let Some(pass) = next {
        let steps = std::mem::take(&mut pass.steps);
        for step in steps {
            let depth = step.depth + 1;
            let mut meaning = None;
            if let TraceEventRecord::Rule { table, r#match, priority, .. } = &step.event
                && r#match.contains("conj_id=")
            {
                let rules = match &mut rules {
                    Some(rules) => rules,
                    none => none.insert(flows::all_rules(client, how, &names)?),
                };
                meaning = conjunctions::meaning((*table, r#match, *priority), rules, shown);
            }
            pass.steps.push(step);
            if let Some(meaning) = meaning {
                let event = TraceEventRecord::Sentence(format!("the packet is {meaning}"));
                pass.steps.push(TraceStepRecord { depth, event });
            }
        }
        next = pass.recirculated.as_deref_mut();
    }
    Ok(())
}

/// The first pass, and the passes behind each recirculation, whose title is the recirculation id.
fn render(bridge: &str, trace: &TraceRecord) -> String {
    let mut out = render_pass(bridge, trace);
    let mut next = trace.recirculated.as_deref();
    while let Some(pass) = next {
        let id = pass.flow.split(',').next().and_then(|word| word.strip_prefix("recirc_id="));
        let line = "=".repeat(79);
        let _ = write!(out, "\n{line}\nrecirc({})\n{line}\n\n", id.unwrap_or_default());
        out.push_str(&render_pass(bridge, pass));
        next = pass.recirculated.as_deref();
    }
    out
}

fn render_pass(bridge: &str, trace: &TraceRecord) -> String {
    let title = format!("bridge(\"{bridge}\")");
    let mut out = format!("Flow: {}\n\n{title}\n{}\n", trace.flow, "-".repeat(title.len()));
    let mut layout = Layout { out: &mut out, levels: Vec::new() };
    for (i, step) in trace.steps.iter().enumerate() {
        layout.step(step, &trace.steps[i + 1..]);
    }
    let last = trace.final_flow.as_deref().unwrap_or("unchanged");
    let _ = write!(
        out,
        "\nFinal flow: {last}\nMegaflow: {}\nDatapath actions: {}\n",
        trace.megaflow, trace.datapath_actions
    );
    if let Some(kernel) = &trace.kernel_cache {
        let _ = writeln!(out, "Kernel cache: {kernel}");
    }
    if let Some(cause) = &trace.dropped {
        let _ = writeln!(out, "Dropped: {} ({})", cause.meaning, cause.reason);
    }
    out
}

/// A rule as traces name it: `tcp,in_port=1, priority 10`.
pub(crate) fn rule_text(matching: &str, priority: u16) -> String {
    let separator = if matching.is_empty() { "" } else { ", " };
    format!("{matching}{separator}priority {priority}")
}

/// Prints steps as lines. A table or bucket is indented below the action that led there. If no further action
/// follows, such a table is not indented, so that a long chain of tables stays at the left.
struct Layout<'a> {
    out: &'a mut String,
    /// The level of indentation for each depth.
    levels: Vec<usize>,
}

impl Layout<'_> {
    fn step(&mut self, step: &TraceStepRecord, rest: &[TraceStepRecord]) {
        let depth = step.depth as usize;
        let above = depth.checked_sub(1).map_or(0, |d| self.levels.get(d).copied().unwrap_or(d));
        // The action set stands behind all tables and is one of the steps of the first table's rule.
        let depth_of = |later: &TraceStepRecord| {
            let is_set = matches!(later.event, TraceEventRecord::ActionSet {});
            later.depth + u32::from(is_set)
        };
        let next = rest.iter().map(depth_of).find(|later| *later <= step.depth);
        let is_last = next.is_none_or(|next| next < step.depth);
        self.levels.truncate(depth);
        match &step.event {
            TraceEventRecord::Rule { table, r#match, priority, cookie, name, is_empty, .. } => {
                self.table(depth, above, is_last);
                let _ = write!(self.out, "{table:2}. {}", rule_text(r#match, *priority));
                if let Some(cookie) = cookie {
                    let _ = write!(self.out, ", cookie {cookie}");
                }
                if let Some(name) = name {
                    let _ = write!(self.out, ", name {name}");
                }
                self.out.push('\n');
                if *is_empty {
                    self.indent(8 * self.levels.last().copied().unwrap_or(0) + 4);
                    self.out.push_str("drop\n");
                }
            }
            TraceEventRecord::Miss { table } => {
                self.table(depth, above, is_last);
                let level = self.levels.last().copied().unwrap_or(0);
                let _ = writeln!(self.out, "{table:2}. No match.");
                self.indent(8 * level + 4);
                self.out.push_str("drop\n");
            }
            TraceEventRecord::Bridge(name) => {
                let title = format!("bridge(\"{name}\")");
                self.out.push('\n');
                let columns = self.table(depth, above, is_last);
                let _ = writeln!(self.out, "{title}");
                self.indent(columns);
                let _ = writeln!(self.out, "{}", "-".repeat(title.len()));
            }
            TraceEventRecord::ActionSet {} => {
                self.levels.push(0);
                self.out.push_str("--. Executing action set:\n");
            }
            TraceEventRecord::Bucket(n) => {
                self.indent(8 * above + 4);
                self.levels.push(above + 1);
                let _ = writeln!(self.out, "bucket {n}");
            }
            TraceEventRecord::Action(text) => {
                self.levels.push(above);
                self.indent(8 * above + 4);
                let _ = writeln!(self.out, "{text}");
            }
            TraceEventRecord::Resume { table } => {
                self.levels.push(0);
                let _ = writeln!(self.out, "thaw\n        Resuming from table {table}");
            }
            TraceEventRecord::Omitted { steps } => {
                let _ = writeln!(self.out, "... {steps} further steps are left out");
            }
            // Only `--explain` prints these.
            TraceEventRecord::Lost { .. } | TraceEventRecord::Sentence(_) => {}
            TraceEventRecord::Note(text) => {
                self.levels.push(above);
                self.indent(8 * above + 4);
                let _ = writeln!(self.out, " {text}");
            }
        }
    }

    /// Begins the line of a table or a bridge. Returns its indentation in columns.
    fn table(&mut self, depth: usize, above: usize, is_last: bool) -> usize {
        let (level, columns) = match depth == 0 || is_last {
            true => (above, 8 * above),
            false => (above + 1, 8 * above + 4),
        };
        self.levels.push(level);
        self.indent(columns);
        columns
    }

    fn indent(&mut self, columns: usize) {
        self.out.extend(std::iter::repeat_n(' ', columns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(depth: u32, table: u8, text: &str) -> TraceStepRecord {
        let (matching, priority) = text.rsplit_once("priority ").unwrap();
        let event = TraceEventRecord::Rule {
            table,
            r#match: matching.trim_end_matches(", ").to_owned(),
            priority: priority.parse().unwrap(),
            cookie: None,
            name: None,
            learned_by: None,
            is_empty: false,
        };
        TraceStepRecord { depth, event }
    }

    fn action(depth: u32, text: &str) -> TraceStepRecord {
        TraceStepRecord { depth, event: TraceEventRecord::Action(text.to_owned()) }
    }

    fn note(depth: u32, text: &str) -> TraceStepRecord {
        TraceStepRecord { depth, event: TraceEventRecord::Note(text.to_owned()) }
    }

    fn miss(depth: u32, table: u8) -> TraceStepRecord {
        TraceStepRecord { depth, event: TraceEventRecord::Miss { table } }
    }

    fn traced(steps: Vec<TraceStepRecord>) -> String {
        let trace = TraceRecord {
            flow: "udp,in_port=1".to_owned(),
            steps,
            megaflow: "recirc_id=0,eth,udp,in_port=1,nw_frag=no".to_owned(),
            datapath_actions: "2".to_owned(),
            ..TraceRecord::default()
        };
        render("br0", &trace)
    }

    #[test]
    fn tables_nest_where_actions_follow() {
        insta::assert_snapshot!(traced(vec![
            rule(0, 0, "udp,in_port=1, priority 7"),
            action(1, "resubmit(,1)"),
            rule(1, 1, "ip, priority 32768"),
            action(2, "resubmit(,2)"),
            rule(2, 2, "priority 1"),
            action(3, "output:2"),
            action(2, "output:3"),
            note(2, ">> skipping output to input port"),
            action(1, "resubmit(,9)"),
            miss(1, 9),
            action(1, "output:3"),
        ]));
    }

    #[test]
    fn a_chain_of_tables_stays_at_the_left() {
        insta::assert_snapshot!(traced(vec![
            rule(0, 0, "priority 7"),
            action(1, "resubmit(,1)"),
            rule(1, 1, "priority 7"),
            action(2, "resubmit(,2)"),
            rule(2, 2, "priority 7"),
            action(3, "NORMAL"),
            note(3, "-> no learned MAC for destination, flooding"),
        ]));
    }

    #[test]
    fn a_chain_of_tables_stays_at_its_level_when_steps_of_its_beginning_follow() {
        let chain = |action_behind: TraceStepRecord| {
            traced(vec![
                rule(0, 0, "priority 7"),
                action(1, "goto_table:1"),
                rule(1, 1, "priority 7"),
                action(2, "goto_table:2"),
                rule(2, 2, "priority 7"),
                action(3, "output:2"),
                action_behind,
            ])
        };
        let nested = concat!(
            " 0. priority 7\n    goto_table:1\n     1. priority 7\n            goto_table:2\n",
            "         2. priority 7\n            output:2\n",
        );
        let followed = chain(action(1, "output:3"));
        assert!(followed.contains(&format!("{nested}    output:3\n")), "{followed}");
        // The action set is carried out behind the tables, by the first of them.
        let set = TraceStepRecord { depth: 0, event: TraceEventRecord::ActionSet {} };
        let set = chain(set);
        assert!(set.contains(&format!("{nested}--. Executing action set:\n")), "{set}");
    }

    #[test]
    fn buckets_and_the_action_set_have_their_place() {
        let bucket = |depth, n| TraceStepRecord { depth, event: TraceEventRecord::Bucket(n) };
        insta::assert_snapshot!(traced(vec![
            rule(0, 0, "priority 32768"),
            action(1, "group:5"),
            bucket(1, 0),
            action(2, "output:1"),
            bucket(1, 1),
            action(2, "output:3"),
            TraceStepRecord { depth: 0, event: TraceEventRecord::ActionSet {} },
            action(1, "group:5"),
        ]));
    }
}

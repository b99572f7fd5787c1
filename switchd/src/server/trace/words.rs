//! A packet's way in the words of rules and ports.

use crate::bridge::trace::{Losers, Trace, TracedLearn, TracedPass};
use crate::switch::OnBridge;
use control::record::{
    DropCause, LearnRecord, LostRecord, TraceEventRecord, TraceRecord, TraceStepRecord,
};
use flow::Match;
use flow::key::PipelineKey;
use flow::text::{DEFAULT_PRIORITY, PrintOptions, write_action, write_match};
use flow::types::{OfPort, PortNo, TableId};
use flowtable::policy::rule::Rule;
use flowtable::policy::xlate::{TraceEvent, TraceStep};
use flowtable::trace::{
    Pass, Rival, action_sentence, note_sentence, note_text, outcome_sentence,
    write_datapath_actions, write_megaflow, write_packet,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Puts a trace into words.
pub(super) struct Words<'a> {
    trace: &'a Trace,
    options: PrintOptions<'a>,
    /// What the first bridge calls the ports that the datapath knows by these numbers.
    ports: HashMap<PortNo, OfPort>,
    /// Whether each step comes with a sentence.
    explain: bool,
}

/// A rule as a trace names it: `tcp,in_port=1, priority 10`.
fn describe(matching: &Match, priority: u16, options: &PrintOptions<'_>) -> String {
    let mut text = String::new();
    write_match(&mut text, matching, DEFAULT_PRIORITY, options.ports);
    if !text.is_empty() {
        text.push_str(", ");
    }
    text + &format!("priority {priority}")
}

impl<'a> Words<'a> {
    pub(super) fn new(
        switch: &OnBridge<'_>,
        trace: &'a Trace,
        options: PrintOptions<'a>,
        explain: bool,
    ) -> Self {
        let snapshot = switch.bridge().snapshot();
        let ports = snapshot.ports().iter();
        let ports = ports.filter_map(|port| Some((port.port_no()?, port.of_port))).collect();
        Self { trace, options, ports, explain }
    }

    /// The first of the passes, which has the others in it.
    pub(super) fn record(&self) -> TraceRecord {
        let records = self.trace.passes.iter().map(|pass| self.pass(pass));
        let nested = records
            .rev()
            .reduce(|after, before| TraceRecord { recirculated: Some(Box::new(after)), ..before });
        nested.unwrap_or_default()
    }

    fn pass(&self, traced: &TracedPass) -> TraceRecord {
        let TracedPass { pass: Pass { key, translation, steps }, packet, .. } = traced;
        let of = |port_no| self.ports.get(&port_no).copied();
        let recirc_id = key.recirc_id.get();
        let flow = self.packet(recirc_id, packet);
        let last = steps.iter().rev().find_map(|step| match &step.event {
            TraceEvent::Final(last) => Some(self.packet(recirc_id, last)),
            _ => None,
        });
        let mut megaflow = String::new();
        write_megaflow(&mut megaflow, recirc_id, packet, &translation.mask, self.options.ports);
        let mut datapath_actions = String::new();
        write_datapath_actions(&mut datapath_actions, &translation.actions, &of);
        let outcome = || outcome_sentence(translation, self.options.ports, &of);
        TraceRecord {
            final_flow: last.filter(|last| *last != flow),
            flow,
            steps: self.steps(traced),
            megaflow,
            datapath_actions,
            dropped: translation.drop.map(|reason| DropCause {
                reason: reason.name().to_owned(),
                meaning: reason.sentence().to_owned(),
            }),
            learns: traced.learns.iter().map(|learn| self.learn(learn)).collect(),
            outcome: self.explain.then(outcome),
            recirculated: None,
        }
    }

    fn learn(&self, TracedLearn { learn, known }: &TracedLearn) -> LearnRecord {
        LearnRecord {
            mac: learn.host.key.mac.to_string(),
            vlan: learn.host.key.vlan,
            port: self.port(learn.port),
            known: known.map(|port| self.port(port)),
        }
    }

    fn port(&self, port: OfPort) -> String {
        self.options.ports.name(port).map_or_else(|| port.to_string(), str::to_owned)
    }

    fn steps(&self, traced: &TracedPass) -> Vec<TraceStepRecord> {
        let mut records = Vec::with_capacity(traced.pass.steps.len());
        let mut losers = traced.losers.iter().peekable();
        for (index, TraceStep { depth, event, .. }) in traced.pass.steps.iter().enumerate() {
            let mut add = |event| records.push(TraceStepRecord { depth: *depth, event });
            match event {
                TraceEvent::Rule(table, rule) => add(self.rule(*table, rule)),
                TraceEvent::Miss(table) => add(TraceEventRecord::Miss { table: table.get() }),
                TraceEvent::Resume(table) => add(TraceEventRecord::Resume { table: table.get() }),
                TraceEvent::Action(action) => {
                    let mut text = String::new();
                    write_action(&mut text, action, &self.options);
                    add(TraceEventRecord::Action(text));
                    if self.explain {
                        let sentence = action_sentence(action, &self.options);
                        add(TraceEventRecord::Sentence(sentence));
                    }
                }
                TraceEvent::Bridge(name) => add(TraceEventRecord::Bridge(name.to_string())),
                TraceEvent::Bucket(index) => add(TraceEventRecord::Bucket(*index as u64)),
                TraceEvent::ActionSet => add(TraceEventRecord::ActionSet),
                TraceEvent::Note(note) => {
                    let text = note_text(note, &self.options);
                    text.map(TraceEventRecord::Note).into_iter().for_each(&mut add);
                    let sentence = note_sentence(note, &self.options).filter(|_| self.explain);
                    sentence.map(TraceEventRecord::Sentence).into_iter().for_each(&mut add);
                }
                TraceEvent::Lookup(..) | TraceEvent::Overlaps { .. } | TraceEvent::Final(_) => {}
            }
            if let Some((_, losers)) = losers.next_if(|(step, _)| *step == index) {
                add(self.lost(losers));
            }
        }
        records
    }

    fn rule(&self, table: TableId, rule: &Arc<Rule>) -> TraceEventRecord {
        let won = self.trace.rules.get(rule);
        let text = won.map(|won| describe(&won.matching, won.priority, &self.options));
        TraceEventRecord::Rule {
            table: table.get(),
            text: text.unwrap_or_default(),
            cookie: (rule.cookie.0 != 0).then(|| format!("{:#x}", rule.cookie.0)),
            name: rule.name().map(|name| name.to_string()),
            is_empty: rule.actions.is_empty(),
        }
    }

    fn lost(&self, losers: &Losers) -> TraceEventRecord {
        let record = |rival: &Rival<u16>| LostRecord {
            rule: describe(&rival.matching, rival.rule, &self.options),
            on: rival.lost.on().to_owned(),
            reason: rival.reason(&losers.packet, self.options.ports),
        };
        TraceEventRecord::Lost {
            rules: losers.nearest.iter().map(record).collect(),
            others: losers.others as u64,
            is_limited: losers.is_limited,
        }
    }

    /// All fields of a packet in the pass with this id.
    fn packet(&self, recirc_id: u32, key: &PipelineKey) -> String {
        let mut out = match recirc_id {
            0 => String::new(),
            id => format!("recirc_id={id:#x},"),
        };
        write_packet(&mut out, key, self.options.ports);
        out
    }
}

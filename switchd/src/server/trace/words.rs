//! A packet's way in the words of rules and ports.

use super::rivals::Losers;
use crate::switch::OnBridge;
use control::record::{DropCause, LearnRecord, TraceEventRecord, TraceRecord, TraceStepRecord};
use flow::Match;
use flow::key::PipelineKey;
use flow::text::{DEFAULT_PRIORITY, PrintOptions, write_action, write_match};
use flow::types::{OfPort, PortNo, TableId};
use flowtable::policy::rule::Rule;
use flowtable::policy::xlate::{Learn, TraceEvent, TraceStep};
use flowtable::trace::{
    Pass, action_sentence, as_it_comes_in, note_sentence, note_text, outcome_sentence,
    write_datapath_actions, write_megaflow, write_packet,
};
use std::collections::HashMap;
use std::sync::Arc;

/// What the words need.
pub(super) struct Words<'a> {
    switch: &'a OnBridge<'a>,
    options: PrintOptions<'a>,
    ports: HashMap<PortNo, OfPort>,
    rules: HashMap<*const Rule, Described>,
    explain: bool,
}

/// A rule that a trace names.
pub(super) struct Described {
    pub(super) matching: Match,
    pub(super) priority: u16,
}

/// `tcp,in_port=1, priority 10`
pub(super) fn describe(matching: &Match, priority: u16, options: &PrintOptions<'_>) -> String {
    let mut text = String::new();
    write_match(&mut text, matching, DEFAULT_PRIORITY, options.ports);
    if !text.is_empty() {
        text.push_str(", ");
    }
    text + &format!("priority {priority}")
}

impl<'a> Words<'a> {
    pub(super) fn new(
        switch: &'a OnBridge<'a>,
        passes: &[Pass],
        options: PrintOptions<'a>,
        explain: bool,
    ) -> Self {
        let policy = switch.policy();
        let snapshot = switch.bridge().snapshot();
        let ports = snapshot
            .ports()
            .iter()
            .filter_map(|port| Some((port.port_no()?, port.of_port)))
            .collect();
        drop(snapshot);
        let steps = passes.iter().flat_map(|pass| &pass.steps);
        let won = steps.filter_map(|step| match &step.event {
            TraceEvent::Rule(_, rule) => Some(rule),
            _ => None,
        });
        let described = won.filter_map(|rule| {
            let (priority, matching) = policy.match_of(rule)?;
            Some((Arc::as_ptr(rule), Described { matching, priority }))
        });
        Self { switch, options, ports, rules: described.collect(), explain }
    }

    /// The first of the passes, which has the others in it.
    pub(super) fn record(&self, passes: &[Pass]) -> TraceRecord {
        let mut losers = Losers::new(self.switch, self.options);
        let records: Vec<TraceRecord> =
            passes.iter().map(|pass| self.pass(pass, &mut losers)).collect();
        let nested = records
            .into_iter()
            .rev()
            .reduce(|after, before| TraceRecord { recirculated: Some(Box::new(after)), ..before });
        nested.unwrap_or_default()
    }

    fn pass(&self, pass: &Pass, losers: &mut Losers<'_>) -> TraceRecord {
        let Pass { key, translation, steps } = pass;
        let of = |no| self.ports.get(&no).copied();
        let (recirc_id, key) = (key.recirc_id.get(), as_it_comes_in(key, of));
        let flow = self.packet(recirc_id, &key);
        let last = steps.iter().rev().find_map(|step| match &step.event {
            TraceEvent::Final(last) => Some(self.packet(recirc_id, last)),
            _ => None,
        });
        let mut megaflow = String::new();
        write_megaflow(&mut megaflow, recirc_id, &key, &translation.mask, self.options.ports);
        let mut datapath_actions = String::new();
        write_datapath_actions(&mut datapath_actions, &translation.actions, &of);
        let outcome = || outcome_sentence(translation, self.options.ports, &of);
        TraceRecord {
            final_flow: last.filter(|last| *last != flow),
            flow,
            steps: self.steps(steps, losers),
            megaflow,
            datapath_actions,
            dropped: translation.drop.map(|reason| DropCause {
                reason: reason.name().to_owned(),
                meaning: reason.sentence().to_owned(),
            }),
            learns: translation.learn.iter().map(|learn| self.learn(learn)).collect(),
            outcome: self.explain.then(outcome),
            recirculated: None,
        }
    }

    fn learn(&self, learn: &Learn) -> LearnRecord {
        let snapshot = self.switch.bridge().snapshot();
        LearnRecord {
            mac: learn.host.key.mac.to_string(),
            vlan: learn.host.key.vlan,
            port: self.port(learn.port),
            known: snapshot.macs().lookup(learn.host.key).map(|entry| self.port(entry.port)),
        }
    }

    fn port(&self, port: OfPort) -> String {
        self.options.ports.name(port).map_or_else(|| port.to_string(), str::to_owned)
    }

    fn steps(&self, steps: &[TraceStep], losers: &mut Losers<'_>) -> Vec<TraceStepRecord> {
        let mut records = Vec::with_capacity(steps.len());
        let mut lookup: Option<(TableId, &PipelineKey)> = None;
        for TraceStep { depth, event, .. } in steps {
            let mut add = |event| records.push(TraceStepRecord { depth: *depth, event });
            let mut losers_of = |winner| {
                let (table, packet) = lookup.take().filter(|_| self.explain)?;
                losers.of(table, packet, winner)
            };
            match event {
                TraceEvent::Lookup(table, packet) => lookup = Some((*table, &**packet)),
                TraceEvent::Rule(table, rule) => {
                    let described = self.rules.get(&Arc::as_ptr(rule));
                    add(self.rule(*table, rule, described));
                    let won = described.map(|described| (rule, described));
                    won.and_then(|won| losers_of(Some(won))).into_iter().for_each(add);
                }
                TraceEvent::Miss(table) => {
                    add(TraceEventRecord::Miss { table: table.get() });
                    losers_of(None).into_iter().for_each(add);
                }
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
                TraceEvent::Overlaps { .. } | TraceEvent::Final(_) => {}
            }
        }
        records
    }

    fn rule(&self, table: TableId, rule: &Rule, described: Option<&Described>) -> TraceEventRecord {
        let text = described.map(|d| describe(&d.matching, d.priority, &self.options));
        TraceEventRecord::Rule {
            table: table.get(),
            text: text.unwrap_or_default(),
            cookie: (rule.cookie.0 != 0).then(|| format!("{:#x}", rule.cookie.0)),
            name: rule.name().map(|name| name.to_string()),
            is_empty: rule.actions.is_empty(),
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

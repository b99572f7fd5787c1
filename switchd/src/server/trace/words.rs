//! A packet's way in the words of rules and ports.

use super::super::names::{NameTable, Shown, port_names, shown};
use crate::bridge::trace::{Assumed, Losers, Trace, TracedLearn, TracedPass};
use crate::kernel_cache::could_hold;
use crate::switch::OnBridge;
use control::TraceQuery;
use control::record::{
    DropCause, LearnRecord, LostRecord, TraceEventRecord, TraceRecord, TraceStepRecord,
};
use flow::Match;
use flow::fields::FieldId;
use flow::key::PipelineKey;
use flow::text::{
    DEFAULT_PRIORITY, PortNames, PrintOptions, write_action, write_match, write_packet,
};
use flow::types::{OfPort, OfVersion, PortNo, TableId};
use flowtable::policy::BridgeId;
use flowtable::policy::rule::Rule;
use flowtable::policy::xlate::{TraceEvent, TraceStep};
use flowtable::trace::{
    Pass, Rival, action_sentence, drop_meaning, field_text, note_sentence, note_text,
    outcome_sentence, port_words, write_datapath_actions, write_megaflow,
};
use kernelcache::KernelCache;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

/// The size of the text of a trace, in bytes, beyond which steps are left out.
const MAX_TEXT: usize = 1 << 20;

/// Puts a trace into words.
pub(super) struct Words<'a> {
    trace: &'a Trace,
    /// The number of bytes that the steps may still take.
    left: Cell<usize>,
    version: OfVersion,
    /// Whether ports appear with their names instead of their numbers.
    uses_names: bool,
    /// Whether each step comes with a sentence.
    explain: bool,
    bridges: Vec<BridgeNames>,
    ports: HashMap<PortNo, KnownPort>,
    /// `None`: the switch has no kernel cache.
    kernel: Option<Arc<KernelCache>>,
}

/// A bridge that the packet may come through.
struct BridgeNames {
    id: BridgeId,
    name: Arc<str>,
    ports: NameTable,
}

/// A port that the datapath has a number for.
struct KnownPort {
    of_port: OfPort,
    name: String,
    bridge: BridgeId,
}

/// A rule as a trace names it: `tcp,in_port=1, priority 10`.
fn match_text(matching: &Match, options: &PrintOptions<'_>) -> String {
    let mut text = String::new();
    write_match(&mut text, matching, DEFAULT_PRIORITY, options.ports);
    text
}

impl<'a> Words<'a> {
    pub(super) fn new(switch: &OnBridge<'_>, trace: &'a Trace, query: &TraceQuery) -> Self {
        let policy = switch.policy();
        let (mut bridges, mut ports) = (Vec::new(), HashMap::new());
        for (id, name) in policy.bridges() {
            let bridge = policy.bridge(id);
            for port in bridge.snapshot().ports().iter() {
                let (of_port, name) = (port.of_port, port.name.to_string());
                let known = KnownPort { of_port, name, bridge: id };
                ports.extend(port.port_no().map(|port_no| (port_no, known)));
            }
            bridges.push(BridgeNames { id, name, ports: port_names(bridge) });
        }
        let TraceQuery { version, names: uses_names, explain, .. } = *query;
        let left = Cell::new(MAX_TEXT);
        let kernel = switch.kernel_side().cache().cloned();
        Self { trace, left, version, uses_names, explain, bridges, ports, kernel }
    }

    /// The port names of a bridge, for printing.
    fn names(&self, bridge: BridgeId) -> Shown<'_> {
        const NONE: &NameTable = &NameTable::new();
        let found = self.bridges.iter().find(|known| known.id == bridge);
        shown(found.map_or(NONE, |known| &known.ports), self.uses_names)
    }

    /// What datapath actions call a port: its number in the first bridge, or its name in another one.
    fn label(&self, port_no: PortNo) -> Option<String> {
        let port = self.ports.get(&port_no)?;
        let is_first = port.bridge == self.trace.in_port.bridge;
        Some(if is_first { port.of_port.to_string() } else { port.name.clone() })
    }

    /// What a sentence calls a port: `port 2`, `port q1 of bridge br1`.
    fn words_of(&self, port_no: PortNo) -> Option<String> {
        let port = self.ports.get(&port_no)?;
        if port.bridge == self.trace.in_port.bridge {
            return Some(port_words(port.of_port, &self.names(port.bridge)));
        }
        let bridge = self.bridges.iter().find(|known| known.id == port.bridge)?;
        Some(format!("port {} of bridge {}", port.name, bridge.name))
    }

    /// The first of the passes, which has the others in it.
    pub(super) fn record(&self) -> TraceRecord {
        let records = self.trace.passes.iter().map(|pass| self.pass(pass));
        let nested = records
            .rev()
            .reduce(|after, before| TraceRecord { recirculated: Some(Box::new(after)), ..before });
        TraceRecord { notes: self.notes(), ..nested.unwrap_or_default() }
    }

    /// What the trace has assumed, and how somebody who means another packet says so.
    fn notes(&self) -> Vec<String> {
        let Assumed { comes_from_no_port, fields, receiver } = &self.trace.assumed;
        let mut notes = Vec::new();
        if *comes_from_no_port {
            notes.push(
                "in_port was not given: the packet comes from no port, teaches no host, and a flood leaves no port out"
                    .to_owned(),
            );
        }
        let names = self.names(self.trace.in_port.bridge);
        if let Some(first) = self.trace.passes.first().filter(|_| !fields.is_empty()) {
            let words = fields.iter().map(|field| field_text(*field, &first.packet, &names));
            let words: Vec<String> = words.collect();
            notes.push(format!(
                "the result depends on fields that were not given, and were taken as {}",
                words.join(",")
            ));
        }
        if let Some((ip, mac, port)) = receiver {
            notes.push(format!(
                "{ip} is the host {mac} at {}: --to {ip} (or dl_dst={mac}) means a packet to it",
                port_words(*port, &names)
            ));
        } else if fields.iter().any(|field| matches!(field, FieldId::EthSrc | FieldId::EthDst)) {
            notes.push(
                "no host has the address 00:00:00:00:00:00: --from HOST and --to HOST fill in those of hosts"
                    .to_owned(),
            );
        }
        notes
    }

    fn pass(&self, traced: &TracedPass) -> TraceRecord {
        let TracedPass { pass: Pass { key, translation, steps }, packet, .. } = traced;
        let names = self.names(self.trace.in_port.bridge);
        let recirc_id = key.recirc_id.get();
        let flow = self.packet(recirc_id, packet);
        let last = steps.iter().rev().find_map(|step| match &step.event {
            TraceEvent::Final(last) => Some(self.packet(recirc_id, last)),
            _ => None,
        });
        let mut megaflow = String::new();
        write_megaflow(&mut megaflow, recirc_id, packet, &translation.mask, &names);
        let mut datapath_actions = String::new();
        write_datapath_actions(&mut datapath_actions, &translation.actions, &|no| self.label(no));
        shorten_list(&mut datapath_actions, MAX_TEXT);
        let outcome = || outcome_sentence(translation, &|no| self.words_of(no));
        TraceRecord {
            final_flow: last.filter(|last| *last != flow),
            flow,
            steps: self.steps(traced),
            megaflow,
            datapath_actions,
            dropped: translation.drop.map(|reason| DropCause {
                reason: reason.name().to_owned(),
                meaning: drop_meaning(translation, reason),
            }),
            kernel_cache: self.kernel.as_ref().map(|kernel| {
                match could_hold(kernel, key, translation) {
                    Ok(()) => "yes".to_owned(),
                    Err(reason) => format!("no ({reason})"),
                }
            }),
            learns: traced.learns.iter().map(|learn| self.learn(learn)).collect(),
            notes: Vec::new(),
            outcome: self.explain.then(outcome),
            recirculated: None,
        }
    }

    fn learn(&self, TracedLearn { learn, known }: &TracedLearn) -> LearnRecord {
        let names = self.names(learn.host.bridge);
        let name = |port| names.name(port).map(str::to_owned);
        LearnRecord {
            mac: learn.host.key.mac.to_string(),
            vlan: learn.host.key.vlan,
            port: learn.port.0,
            name: name(learn.port),
            known_port: known.map(|port| port.0),
            known_name: known.and_then(name),
        }
    }

    fn steps(&self, traced: &TracedPass) -> Vec<TraceStepRecord> {
        let mut records = Vec::with_capacity(traced.pass.steps.len());
        let mut losers = traced.losers.iter().peekable();
        let mut told = 0;
        // The bridges that the packet is in, each inside the one before, with the depth of
        // the step that enters it.
        let mut bridges = vec![(None, self.trace.in_port.bridge)];
        for (index, TraceStep { depth, event, .. }) in traced.pass.steps.iter().enumerate() {
            while bridges.last().is_some_and(|(entered, _)| entered.is_some_and(|at| *depth <= at))
            {
                bridges.pop();
            }
            let names = self.names(bridges.last().map_or(self.trace.in_port.bridge, |(_, id)| *id));
            let options =
                PrintOptions { version: self.version, ports: &names, ..PrintOptions::default() };
            let mut add = |event| records.push(TraceStepRecord { depth: *depth, event });
            match event {
                TraceEvent::Rule(table, rule) => add(self.rule(*table, rule, &options)),
                TraceEvent::Miss(table) => add(TraceEventRecord::Miss { table: table.get() }),
                TraceEvent::Resume(table) => add(TraceEventRecord::Resume { table: table.get() }),
                TraceEvent::Action(action) => {
                    let mut text = String::new();
                    write_action(&mut text, action, &options);
                    add(TraceEventRecord::Action(text));
                    if self.explain {
                        let sentence = action_sentence(action, &options);
                        add(TraceEventRecord::Sentence(sentence));
                    }
                }
                TraceEvent::Bridge(name) => {
                    add(TraceEventRecord::Bridge(name.to_string()));
                    let entered = self.bridges.iter().find(|known| known.name == *name);
                    bridges.extend(entered.map(|known| (Some(*depth), known.id)));
                }
                TraceEvent::Bucket(index) => add(TraceEventRecord::Bucket(*index as u64)),
                TraceEvent::ActionSet => add(TraceEventRecord::ActionSet {}),
                TraceEvent::Note(note) => {
                    let text = note_text(note, &options);
                    text.map(TraceEventRecord::Note).into_iter().for_each(&mut add);
                    let sentence = note_sentence(note, &options).filter(|_| self.explain);
                    sentence.map(TraceEventRecord::Sentence).into_iter().for_each(&mut add);
                }
                TraceEvent::Omitted(steps) => {
                    add(TraceEventRecord::Omitted { steps: *steps as u64 })
                }
                TraceEvent::Lookup(..) | TraceEvent::Overlaps { .. } | TraceEvent::Final(_) => {}
            }
            if let Some((_, losers)) = losers.next_if(|(step, _)| *step == index) {
                add(lost(losers, &options));
            }
            let size: usize = records[told..].iter().map(|record| text_size(&record.event)).sum();
            told = records.len();
            match self.left.get().checked_sub(size) {
                Some(left) => self.left.set(left),
                None => {
                    self.left.set(0);
                    let steps = left_out(&traced.pass.steps[index + 1..]);
                    let event = TraceEventRecord::Omitted { steps };
                    records.push(TraceStepRecord { depth: 0, event });
                    break;
                }
            }
        }
        records
    }

    fn rule(
        &self,
        table: TableId,
        rule: &Arc<Rule>,
        options: &PrintOptions<'_>,
    ) -> TraceEventRecord {
        let won = self.trace.rules.get(rule);
        TraceEventRecord::Rule {
            table: table.get(),
            r#match: won.map(|won| match_text(&won.matching, options)).unwrap_or_default(),
            priority: won.map(|won| won.priority).unwrap_or_default(),
            cookie: (rule.cookie.0 != 0).then(|| format!("{:#x}", rule.cookie.0)),
            name: rule.name().map(|name| name.to_string()),
            learned_by: rule.learned_by.as_ref().map(|teacher| teacher.text.to_string()),
            is_empty: rule.actions.is_empty(),
        }
    }

    /// All fields of a packet in the pass with this id.
    fn packet(&self, recirc_id: u32, key: &PipelineKey) -> String {
        let mut out = match recirc_id {
            0 => String::new(),
            id => format!("recirc_id={id:#x},"),
        };
        write_packet(&mut out, key, &self.names(self.trace.in_port.bridge));
        out
    }
}

/// The number of steps that a trace would tell, and does not.
fn left_out(steps: &[TraceStep]) -> u64 {
    let count = |step: &TraceStep| match step.event {
        TraceEvent::Omitted(count) => count as u64,
        TraceEvent::Lookup(..) | TraceEvent::Overlaps { .. } | TraceEvent::Final(_) => 0,
        _ => 1,
    };
    steps.iter().map(count).sum()
}

/// The size of the text of a step in bytes, without the names of its fields.
fn text_size(event: &TraceEventRecord) -> usize {
    match event {
        TraceEventRecord::Rule { r#match, name, .. } => {
            r#match.len() + name.as_ref().map_or(0, String::len)
        }
        TraceEventRecord::Lost { rules, .. } => {
            rules.iter().map(|lost| lost.r#match.len() + lost.message.len()).sum()
        }
        TraceEventRecord::Action(text)
        | TraceEventRecord::Bridge(text)
        | TraceEventRecord::Note(text)
        | TraceEventRecord::Sentence(text) => text.len(),
        _ => 0,
    }
}

/// Cuts a list of words with commas between them to at most `size` bytes, and says how much is missing.
fn shorten_list(list: &mut String, size: usize) {
    if list.len() > size {
        let end = list.as_bytes()[..size].iter().rposition(|&b| b == b',').unwrap_or(0);
        let missing = list.len() - end;
        list.truncate(end);
        list.push_str(&format!(", ... {missing} bytes are left out"));
    }
}

fn lost(losers: &Losers, options: &PrintOptions<'_>) -> TraceEventRecord {
    let record = |rival: &Rival<u16>| LostRecord {
        r#match: match_text(&rival.matching, options),
        priority: rival.rule,
        on: rival.lost.on().to_owned(),
        message: rival.reason(&losers.packet, options.ports),
    };
    TraceEventRecord::Lost {
        rules: losers.nearest.iter().map(record).collect(),
        others: losers.others as u64,
        is_limited: losers.is_limited,
    }
}

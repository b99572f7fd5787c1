//! An account of the walk, for `trace`. Costs nothing when nobody wants one.

use super::Translation;
use crate::policy::rule::Rule;
use flow::action::{Action, Subfield};
use flow::types::{GroupId, OfPort, TableId};
use flow::verdict::DropReason;
use flow::{FlowMask, PipelineKey, PipelineMask};
use std::sync::Arc;

/// A remark on what an action led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// NORMAL floods.
    Flood,
    /// NORMAL knows the port.
    ForwardLearned,
    /// NORMAL knows the port, and the frame came from there.
    LearnedOnInPort,
    /// NORMAL knows a port that is gone.
    LearnedPortUnknown,
    /// NORMAL does not forward link-local addresses.
    ReservedMulticast,
    /// The ingress port does not carry the VLAN.
    VlanNotAllowed,
    /// The frame ends inside its tag.
    PartialVlan,
    /// The port and the ingress port are protected from each other.
    Protected(OfPort),
    /// A flood leaves the port out.
    LeftOut(OfPort, LeftOut),
    /// An output to the ingress port does nothing.
    SkipInPort,
    /// The port does not exist.
    NoSuchPort(OfPort),
    /// The port does not forward.
    NoForward(OfPort),
    /// The port is down.
    PortDown(OfPort),
    /// The patch port's peer, by its name, does not exist or does not name this port in turn.
    NoPatchPeer(Arc<str>),
    /// The port is a patch port, which takes whole packets only.
    CannotTruncate(OfPort),
    /// The port that a field names.
    OutputPortIs(OfPort),
    /// What a field has got from another one.
    FieldIsNow(Subfield, u128),
    /// The bucket that the group chose, by its place in the list.
    UsingBucket(usize),
    /// The group does not exist.
    NoSuchGroup(GroupId),
    /// The packet's TTL ran out; the list is left.
    TtlExpired,
    /// The action set after a change.
    ActionSetIs(Vec<Action>),
    /// The action set before it was cleared.
    ActionSetWas(Vec<Action>),
    /// No bucket of the group can be used.
    NoLiveBucket,
    /// A limit was reached; nothing is sent.
    Dropped(DropReason),
}

/// Why a flood leaves a port out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It is configured so.
    NoFlood,
    /// It does not carry this VLAN.
    Vlan(u16),
}

/// One line of the account, with its depth.
#[derive(Clone, Debug)]
pub struct TraceStep {
    /// Nesting: what a rule, a bucket or the action set does is one deeper than itself.
    pub depth: u32,
    /// What happened.
    pub event: TraceEvent,
    /// The bits of the packet that nothing before had read.
    pub reads: FlowMask,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum TraceEvent {
    /// The packet is in this bridge from now on, until the events are less deep again.
    Bridge(Arc<str>),
    /// The packet is looked up in a table, as it is then. What comes of it follows.
    Lookup(TableId, Box<PipelineKey>),
    /// Another pass goes on where the one before stopped, in this table.
    Resume(TableId),
    /// A rule matched.
    Rule(TableId, Arc<Rule>),
    /// No rule matched.
    Miss(TableId),
    /// An action is executed.
    Action(Action),
    /// A bucket of the group is executed: by its place in the list.
    Bucket(usize),
    /// The action set is executed.
    ActionSet,
    /// A remark on the action before.
    Note(Note),
    /// The packet as it is at the end.
    Final(Box<PipelineKey>),
}

#[derive(Default)]
pub(super) struct Report {
    steps: Option<Vec<TraceStep>>,
    depth: u32,
    /// Bits that have been read already.
    known: FlowMask,
}

impl Report {
    pub(super) fn off() -> Self {
        Self::default()
    }

    pub(super) fn on() -> Self {
        Self { steps: Some(Vec::new()), ..Self::default() }
    }

    pub(super) fn into_steps(self) -> Vec<TraceStep> {
        self.steps.unwrap_or_default()
    }

    fn add(&mut self, event: impl FnOnce() -> TraceEvent) {
        let depth = self.depth;
        if let Some(steps) = &mut self.steps {
            steps.push(TraceStep { depth, event: event(), reads: FlowMask::default() });
        }
    }

    /// All bits read so far: those that are new are put down to the latest step that may read; to
    /// none, if there was none yet.
    pub(super) fn read(&mut self, mask: &PipelineMask) {
        let Some(steps) = &mut self.steps else { return };
        let can_read = |event: &TraceEvent| {
            matches!(event, TraceEvent::Rule(..) | TraceEvent::Miss(_) | TraceEvent::Action(_))
        };
        let reader = steps.iter_mut().rev().find(|step| can_read(&step.event));
        let mut reader = reader.map(|step| &mut step.reads);
        let words = self.known.words_mut().iter_mut().zip(mask.words());
        // The first word is the port, which every translation reads.
        for (i, (known, word)) in words.enumerate().skip(1) {
            if let Some(reads) = &mut reader {
                reads.words_mut()[i] |= word & !*known;
            }
            *known |= word;
        }
    }

    pub(super) fn lookup(&mut self, table: TableId, key: &PipelineKey) {
        self.add(|| TraceEvent::Lookup(table, Box::new(*key)));
    }

    pub(super) fn resume(&mut self, table: TableId) {
        self.add(|| TraceEvent::Resume(table));
    }

    pub(super) fn enter_bridge(&mut self, name: &Arc<str>) {
        self.add(|| TraceEvent::Bridge(Arc::clone(name)));
        self.depth += 1;
    }

    pub(super) fn enter_rule(&mut self, table: TableId, rule: &Arc<Rule>) {
        self.add(|| TraceEvent::Rule(table, Arc::clone(rule)));
        self.depth += 1;
    }

    pub(super) fn enter_bucket(&mut self, index: usize) {
        self.add(|| TraceEvent::Bucket(index));
        self.depth += 1;
    }

    pub(super) fn enter_action_set(&mut self) {
        self.add(|| TraceEvent::ActionSet);
        self.depth += 1;
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    pub(super) fn miss(&mut self, table: TableId) {
        self.add(|| TraceEvent::Miss(table));
    }

    pub(super) fn action(&mut self, action: &Action) {
        self.add(|| TraceEvent::Action(action.clone()));
    }

    pub(super) fn note(&mut self, note: impl FnOnce() -> Note) {
        self.add(|| TraceEvent::Note(note()));
    }

    pub(super) fn finish(&mut self, key: PipelineKey, _out: &Translation) {
        self.add(|| TraceEvent::Final(Box::new(key)));
    }
}

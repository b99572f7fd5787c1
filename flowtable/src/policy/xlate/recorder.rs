//! An account of a translation, step by step, for `trace` and for `dump-cached-flows --why`.

use super::{TranslationObserver, Won};
use crate::policy::TableRef;
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

/// One step of the account.
#[derive(Clone, Debug)]
pub struct TraceStep {
    /// Nesting: what a rule, a bucket or the action set does is one deeper than itself.
    pub depth: u32,
    /// What happened.
    pub event: TraceEvent,
    /// The bits of the packet that the step read and no step before it.
    pub reads: FlowMask,
    /// For an action, the bits that it left with another value. What rules do to which it resubmits is its doing, too.
    pub writes: PipelineMask,
}

/// What a step of a walk was.
#[derive(Clone, Debug)]
pub enum TraceEvent {
    /// The packet is in this bridge from now on, until the events are less deep again.
    Bridge(Arc<str>),
    /// The packet is looked up in a table of the bridge that it is in, as it is then. What comes of it follows.
    Lookup(TableRef, Box<PipelineKey>),
    /// Another pass goes on where the one before stopped, in this table.
    Resume(TableId),
    /// A rule won the look-up in this table.
    Rule(TableId, Arc<Rule>),
    /// The better rules that overlap with the rule before, and do not match the packet.
    Overlaps {
        /// In no particular order.
        rules: Vec<Arc<Rule>>,
        /// No rule of the table was left out for lack of time.
        is_complete: bool,
    },
    /// No rule of this table matched.
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

/// Better rules that a trace looks for in all its look-ups together, at the price of some 100 ns each, while it holds
/// the tables' lock.
const MAX_COMPARED: usize = 4096;

/// An observer that keeps an account of the walk.
pub struct Recorder {
    steps: Vec<TraceStep>,
    depth: u32,
    /// The actions that have begun and not ended, by their place in `steps`, the innermost last.
    actions: Vec<usize>,
    /// Bits that have been read already.
    known: FlowMask,
    /// Rules that may still be compared with winners.
    compares: usize,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            depth: 0,
            actions: Vec::new(),
            known: FlowMask::default(),
            compares: MAX_COMPARED,
        }
    }
}

impl Recorder {
    /// The account, in the order of the walk.
    pub fn into_steps(self) -> Vec<TraceStep> {
        self.steps
    }

    fn add(&mut self, event: TraceEvent) {
        let (reads, writes) = Default::default();
        self.steps.push(TraceStep { depth: self.depth, event, reads, writes });
    }
}

impl TranslationObserver for Recorder {
    const LISTENS: bool = true;

    /// Bits that are new are put down to the latest step that may read; to none, if there was none yet.
    fn read(&mut self, mask: &PipelineMask) {
        let can_read = |event: &TraceEvent| {
            matches!(event, TraceEvent::Rule(..) | TraceEvent::Miss(_) | TraceEvent::Action(_))
        };
        let reader = self.steps.iter_mut().rev().find(|step| can_read(&step.event));
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

    fn enter_bridge(&mut self, name: &Arc<str>) {
        self.add(TraceEvent::Bridge(Arc::clone(name)));
        self.depth += 1;
    }

    fn look_up(&mut self, at: TableRef, packet: &PipelineKey) {
        self.add(TraceEvent::Lookup(at, Box::new(*packet)));
    }

    fn enter_rule(&mut self, won: &Won<'_>) {
        self.add(TraceEvent::Rule(won.table, Arc::clone(won.rule)));
        let mut rules = Vec::new();
        let compared = won.better_overlapping(self.compares, |rule| rules.push(Arc::clone(rule)));
        self.compares -= compared;
        self.add(TraceEvent::Overlaps { rules, is_complete: self.compares > 0 });
        self.depth += 1;
    }

    fn miss(&mut self, table: TableId) {
        self.add(TraceEvent::Miss(table));
    }

    fn resume(&mut self, table: TableId) {
        self.add(TraceEvent::Resume(table));
    }

    fn enter_bucket(&mut self, index: usize) {
        self.add(TraceEvent::Bucket(index));
        self.depth += 1;
    }

    fn enter_action_set(&mut self) {
        self.add(TraceEvent::ActionSet);
        self.depth += 1;
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    fn begin_action(&mut self, action: &Action) {
        self.actions.push(self.steps.len());
        self.add(TraceEvent::Action(action.clone()));
    }

    fn end_action(&mut self, written: &PipelineMask) {
        let step = self.actions.pop().and_then(|at| self.steps.get_mut(at));
        if let Some(step) = step {
            step.writes = *written;
        }
    }

    fn note(&mut self, note: impl FnOnce() -> Note) {
        self.add(TraceEvent::Note(note()));
    }

    fn finish(&mut self, packet: &PipelineKey) {
        self.add(TraceEvent::Final(Box::new(*packet)));
    }
}

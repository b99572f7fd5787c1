//! An account of a translation, step by step, for `trace` and for `dump-cached-flows --why`.

use super::{TranslationObserver, Won};
use crate::policy::TableRef;
use crate::policy::learning::LearnedRule;
use crate::policy::rule::Rule;
use flow::action::{Action, Subfield};
use flow::types::{GroupId, MacAddr, MeterId, OfPort, TableId};
use flow::verdict::{DropReason, PacketInReason};
use flow::{FlowMask, PipelineKey, PipelineMask};
use std::net::IpAddr;
use std::sync::Arc;

/// A remark on the result of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// NORMAL floods the packet, because it knows no port for the destination.
    Flood,
    /// NORMAL sends the packet to the port behind which the destination is.
    ForwardLearned,
    /// NORMAL answers the question for this address, whose host is behind the port, in place of a flood.
    Answered {
        /// The address that is asked for.
        ip: IpAddr,
        /// The MAC address that has it.
        mac: MacAddr,
        /// The port behind which the host is.
        port: OfPort,
    },
    /// NORMAL drops the packet, because the destination is behind the ingress port.
    LearnedOnInPort,
    /// NORMAL drops the packet, because the port of the destination is gone.
    LearnedPortUnknown,
    /// NORMAL drops the packet, because its destination is a link-local address (IEEE 802.1D §7.12.6).
    ReservedMulticast,
    /// NORMAL drops the packet, because the ingress port does not carry its VLAN.
    VlanNotAllowed,
    /// NORMAL drops the packet, because the frame ends inside its VLAN tag.
    PartialVlan,
    /// NORMAL drops the packet, because its source is the switch's own host and it came in elsewhere.
    OwnAddress,
    /// An output to this port was left out, because it and the ingress port are protected.
    Protected(OfPort),
    /// A flood leaves this port out.
    LeftOut(OfPort, LeftOut),
    /// An output to the ingress port was left out.
    SkipInPort,
    /// An output was left out, because there is no port of this number.
    NoSuchPort(OfPort),
    /// An output to this port was left out, because the port is configured with `no-forward`.
    NoForward(OfPort),
    /// An output to this port was left out, because the port is down.
    PortDown(OfPort),
    /// The patch port's peer, by its name, does not exist or does not name this port in turn.
    NoPatchPeer(Arc<str>),
    /// The port is a patch port, which takes whole packets only.
    CannotTruncate(OfPort),
    /// The packet cannot be sent from a tunnel port, for this reason.
    NoTunnel(DropReason),
    /// An output goes to this port, whose number was in a field.
    OutputPortIs(OfPort),
    /// An output was left out, because the field that it names has a number that no port can have.
    OutputPortOutOfRange(u128),
    /// `move`, `pop` or another action that takes its value from the packet has written
    /// this value to these bits.
    FieldIsNow(Subfield, u128),
    /// `pop` has found nothing on the stack.
    StackUnderflow,
    /// A group has chosen the bucket with this index.
    UsingBucket(usize),
    /// There is no group of this number.
    NoSuchGroup(GroupId),
    /// Controllers get the packet for this reason, without an action that says so.
    ToControllers(PacketInReason),
    /// There is no meter of this number, so that every packet passes.
    NoSuchMeter(MeterId),
    /// The packet's TTL ran out. The rest of the list is not executed.
    TtlExpired,
    /// The action set after `write_actions`, in the order of its execution.
    ActionSetIs(Vec<Action>),
    /// The action set before `clear_actions`, in the order of its execution.
    ActionSetWas(Vec<Action>),
    /// The packet makes this rule, or keeps it.
    Learns(Arc<LearnedRule>),
    /// The table has no room for the rule.
    NoRoomToLearn,
    /// No bucket of the group is alive.
    NoLiveBucket,
    /// The packet is an IP fragment, and the bridge drops fragments: no rule is looked for.
    DropsFragments,
    /// The translation failed for this reason, and nothing is sent.
    Dropped(DropReason),
}

/// Why a flood leaves a port out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// The port is configured with `no-flood`.
    NoFlood,
    /// Nobody at the other end of the port's tunnel hears.
    PeerDown,
    /// The port does not carry this VLAN.
    Vlan(u16),
}

/// One step of the account.
#[derive(Clone, Debug)]
pub struct TraceStep {
    /// Nesting: what a rule, a bucket or the action set does is one deeper than itself.
    pub depth: u32,
    /// The kind of step.
    pub event: TraceEvent,
    /// The bits of the packet that the step read and no step before it.
    pub reads: FlowMask,
    /// For an action, the bits that it left with another value. What rules do to which it
    /// resubmits is its doing, too.
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
    /// This action is executed.
    Action(Action),
    /// The bucket with this index in its group is executed.
    Bucket(usize),
    /// The action set is executed.
    ActionSet,
    /// A remark on the latest action.
    Note(Note),
    /// The number of further steps, which the account leaves out because it has [`MAX_TOLD`] steps already. The
    /// bits that those steps read are noted here.
    Omitted(usize),
    /// The translation is over, with the packet in this state.
    Final(Box<PipelineKey>),
}

/// The number of steps that an account has. An action counts with the actions inside it. A step takes about a
/// kilobyte, and rules can cause a million of them.
pub const MAX_TOLD: usize = 4096;

/// Better rules that a trace looks for in all its look-ups together, while it holds the tables' lock. In a
/// large table one costs up to 300 ns.
const MAX_COMPARED: usize = 1024;

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
    /// Steps that the account may still get.
    left: usize,
    /// The place in `steps` of [`TraceEvent::Omitted`], once a step has been left out.
    omitted: Option<usize>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            depth: 0,
            actions: Vec::new(),
            known: FlowMask::default(),
            compares: MAX_COMPARED,
            left: MAX_TOLD,
            omitted: None,
        }
    }
}

impl Recorder {
    /// The account, in the order of the walk.
    pub fn into_steps(self) -> Vec<TraceStep> {
        self.steps
    }

    fn add(&mut self, event: TraceEvent) {
        if self.has_room(1) {
            self.push(event);
        }
    }

    fn push(&mut self, event: TraceEvent) {
        let (reads, writes) = Default::default();
        self.steps.push(TraceStep { depth: self.depth, event, reads, writes });
    }

    /// Whether the account takes a step of this size. If not, the step is counted as left out, and
    /// so are all later ones.
    fn has_room(&mut self, size: usize) -> bool {
        if let Some(step) = self.omitted.and_then(|at| self.steps.get_mut(at)) {
            if let TraceEvent::Omitted(count) = &mut step.event {
                *count += 1;
            }
            return false;
        }
        if let Some(left) = self.left.checked_sub(size) {
            self.left = left;
            return true;
        }
        self.omitted = Some(self.steps.len());
        self.push(TraceEvent::Omitted(1));
        false
    }
}

/// The number of actions in an action, itself included.
fn size(action: &Action) -> usize {
    1 + action.nested().actions().iter().map(size).sum::<usize>()
}

impl TranslationObserver for Recorder {
    const LISTENS: bool = true;

    /// Bits that are new are put down to the latest step that may read; to none, if there was none yet.
    fn read(&mut self, mask: &PipelineMask) {
        let can_read = |event: &TraceEvent| {
            use TraceEvent::{Action, Miss, Omitted, Rule};
            matches!(event, Rule(..) | Miss(_) | Action(_) | Omitted(_))
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
        if self.has_room(1) {
            self.push(TraceEvent::Lookup(at, Box::new(*packet)));
        }
    }

    fn enter_rule(&mut self, won: &Won<'_>) {
        self.add(TraceEvent::Rule(won.table, Arc::clone(won.rule)));
        if self.omitted.is_some() {
            self.depth += 1;
            return;
        }
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
        // Without a place in the account nothing is noted at the end of the action.
        let has_room = self.has_room(if self.omitted.is_some() { 1 } else { size(action) });
        self.actions.push(if has_room { self.steps.len() } else { usize::MAX });
        if has_room {
            self.push(TraceEvent::Action(action.clone()));
        }
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
        self.push(TraceEvent::Final(Box::new(*packet)));
    }
}

//! Translation: a key and the tables in, a flat list of datapath actions and a mask out.
//!
//! The walk through the pipeline keeps two pictures of the packet: as the rules have made it so far, and as the
//! datapath actions emitted so far have made it. An output emits the difference first (`commit`), so a rewrite
//! that no output follows costs nothing. Both pictures are in a `TrackedKey`, which marks every bit that the
//! walk reads of the packet: another packet that agrees in these bits gets the same actions.
//!
//! Translation has no side effects: whatever has to happen besides forwarding is
//! returned as data. The cache miss, the check of a stale flow and `trace` all call it,
//! and differ in who listens ([`TranslationObserver`]).
//!
//! The semantics are those of Open vSwitch (`ofproto/ofproto-dpif-xlate.c` is the text
//! to compare with), limits included.

mod actions;
mod answer;
pub(super) mod budget;
mod controller;
mod ct;
mod dependencies;
mod group;
mod learn;
mod life;
mod members;
mod meter;
mod normal;
mod observe;
mod output;
mod patch;
mod queue;
mod recorder;
mod tracked;
mod tunnel;

pub use budget::{Exhausted, MAX_STEPS};
pub use dependencies::{Dependencies, TableSet};
pub use learn::ShortenedTimeouts;
pub use observe::{TranslationObserver, Unobserved, Won};
pub(crate) use output::growth;
pub use patch::PatchCrossing;
pub use recorder::{LeftOut, MAX_TOLD, Note, Recorder, TraceEvent, TraceStep};
pub(crate) use tracked::is_ip;

use super::bridge_id::{BridgeId, PerBridge, PortRef, TableRef};
use super::conduct::Conduct;
use super::groups::GroupEntry;
use super::learning::LearnedRule;
use super::mac_table::{HostRef, MacTable};
use super::meters::MeterEntry;
use super::neighbours::{Neighbour, Neighbours};
use super::ports::{AnswerCount, PortInfo, PortTable, PortTables};
use super::recirc::{Continuation, FrozenState, Suspended};
use super::rule::Rule;
use super::tables::Tables;
use crate::classifier::Version;
use flow::action::Action;
use flow::key::{FlowKey, FlowMask, PipelineKey};
use flow::table_mod::TableMiss;
use flow::types::{Fragments, OfPort, PortNo, TableId};
use flow::verdict::{ControllerMeta, DpAction, DropReason, Flood};
use std::sync::Arc;
use tracked::TrackedKey;

/// How deep resubmits, groups and clones may nest in the translation of one packet.
const MAX_DEPTH: u32 = 64;
/// How many resubmits the translation of one packet may have in all.
const MAX_RESUBMITS: u32 = 4096;
/// Bytes of the values that `push` has put on the stack, at most.
const MAX_STACK: usize = 65_536;
/// The cookie of what no rule did.
const NO_COOKIE: u64 = u64::MAX;
/// `actset_output` when the action set has no output (OpenFlow 1.5 §7.2.3.9).
const OFPP_UNSET: u32 = 0xffff_fff7;

/// What happens to a packet for which a table has no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnMiss {
    /// Controllers get it, if they want such packets. So it is in the first table, behind `goto_table` and
    /// behind a patch.
    ToControllers,
    /// The actions go on: so it is behind `resubmit`.
    GoOn,
}

/// Everything that a translation reads.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Rules and groups of each bridge.
    pub tables: &'a PerBridge<Tables>,
    /// Ports of each bridge.
    pub ports: &'a PortTables,
    /// Learned hosts of each bridge.
    pub macs: &'a PerBridge<MacTable>,
    /// The version at which rules and groups are looked up.
    pub version: Version,
    /// The continuations that the recirculation ids of keys name.
    pub recirc: &'a super::recirc::RecircTable,
    /// The IP addresses of hosts, for answers in place of floods.
    pub(in crate::policy) neighbours: &'a Neighbours,
    /// Whether Open vSwitch or good sense decides where the two disagree.
    pub conduct: Conduct,
}

/// A host that the caller is to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learn {
    /// The host's bridge, VLAN and MAC address.
    pub host: HostRef,
    /// The port of the bridge at which the host was seen.
    pub port: OfPort,
}

/// The verdict on a packet, and all that follows from it.
#[derive(Clone, Debug, Default)]
pub struct Translation {
    /// The actions that the datapath executes; empty if nothing is sent.
    pub actions: Vec<DpAction>,
    /// One-bits where the verdict depends on the packet.
    pub mask: FlowMask,
    /// The rules that won a look-up, in the order of the look-ups.
    pub rules: Vec<Arc<Rule>>,
    /// The tables in which no rule matched, one entry for each look-up.
    pub misses: Vec<TableRef>,
    /// The patches that the packet crosses, in order.
    pub patches: Vec<PatchCrossing>,
    /// The groups that executed a bucket, each with the index of the bucket.
    pub groups: Vec<(Arc<GroupEntry>, usize)>,
    /// The meters that `actions` name, by [`MeterRef::index`](flow::verdict::MeterRef::index).
    pub meters: Vec<Arc<MeterEntry>>,
    /// The hosts that the caller is to learn.
    pub learn: Vec<Learn>,
    /// The IP address that the caller is to note as the sender's.
    pub neighbour: Option<Neighbour>,
    /// Where an answer to ARP or neighbour discovery counts; `None` if the packet is not answered.
    pub answered: Option<Arc<AnswerCount>>,
    /// The rules that the caller is to learn, or to keep.
    pub rules_to_learn: Vec<Arc<LearnedRule>>,
    /// The timeouts that the caller is to shorten.
    pub shortened: Vec<ShortenedTimeouts>,
    /// The hosts that were looked up, found or not. The verdict depends on them.
    pub hosts: Vec<HostRef>,
    /// What else the verdict depends on.
    pub depends: Dependencies,
    /// Why nothing is sent; `None` if something is.
    pub drop: Option<DropReason>,
    /// The rule with whose actions the translation spent its budget of steps; `None` if it did
    /// not, or in no rule.
    pub exhausted_by: Option<Box<Exhausted>>,
    /// How many steps the translation took: actions executed, buckets looked at,
    /// lists copied, datapath actions emitted.
    pub steps: usize,
    /// The flood that storm control has to admit; `None` if the packet is not flooded.
    pub flood: Option<Flood>,
    /// Whether the verdict holds for one frame only, and must not be cached. There are three reasons: the
    /// verdict depends on a continuation that lasts for the frame; a table has no room for a rule that is to be
    /// learned; or the budget of the translation ended while it found out which buckets are alive, and later
    /// translations go on with that.
    pub is_passing: bool,
    /// The continuations that `actions` name. Their ids stay valid as long as somebody holds them.
    pub continuations: Vec<Arc<Continuation>>,
}

/// What the caller of a translation says of the packet beside its key.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The port where the packet comes in, whatever port number of the datapath the key has: so a trace can
    /// begin at a patch port, which has none, or with [`OfPort::NONE`] at no port of the bridge. `None` if the
    /// key tells the port.
    pub in_port: Option<PortRef>,
    /// Whether `NORMAL` learns the packet's source address, as it does from every received packet. A trace of a
    /// packet whose source address nobody has given learns nothing.
    pub has_sender: bool,
}

impl Circumstances {
    /// The circumstances of a packet that a port of the datapath has received.
    pub const RECEIVED: Self = Self { in_port: None, has_sender: true };
}

/// Translates the packet with this key. `observer` hears how.
pub fn translate(
    view: View<'_>,
    key: &FlowKey,
    Circumstances { in_port, has_sender }: Circumstances,
    observer: &mut impl TranslationObserver,
) -> Translation {
    let packet = PipelineKey { headers: key.headers, ..PipelineKey::default() };
    let mut ctx = Ctx::new(view, &packet, observer);
    ctx.has_sender = has_sender;
    let port_no = key.port_no.get();
    ctx.recirc_id = key.recirc_id.get();
    let port = match in_port {
        Some(at) => view.ports.get(at).map(|port| (at.bridge, port)),
        None => view.ports.by_port_no(port_no),
    };
    match port {
        // A packet that is said to come from no port, as the one of a packet-out may do.
        None if let Some(PortRef { bridge, port: OfPort::NONE }) = in_port => {
            ctx.bridge = bridge;
            ctx.packet.set_in_port(OfPort::NONE);
            ctx.start();
        }
        // A packet-out that recirculates; its state knows its bridge, and what that calls its port.
        None if port_no == PortNo::NONE && ctx.recirc_id != 0 => ctx.start(),
        None => {
            ctx.out.depends.misses_port = true;
            ctx.fail(DropReason::UnknownInPort);
        }
        Some((bridge, port)) => {
            ctx.bridge = bridge;
            ctx.depend_on_port(port.of_port);
            ctx.packet.set_in_port(port.of_port);
            ctx.own_port = Some(PortRef { bridge, port: port.of_port });
            if ctx.may_come_in(port) { ctx.start() } else { ctx.refuse() }
        }
    }
    ctx.finish()
}

/// Translates what a packet-out does to a packet with this key, whose `in_port` need not be a port's number.
pub fn translate_packet_out(
    view: View<'_>,
    bridge: BridgeId,
    key: &PipelineKey,
    actions: &[Action],
) -> Translation {
    let mut observer = Unobserved;
    let mut ctx = Ctx::new(view, key, &mut observer);
    ctx.packet.has_tunnel_of_message();
    ctx.bridge = bridge;
    (ctx.is_packet_out, ctx.cookie) = (true, NO_COOKIE);
    match ctx.ports().get(ctx.in_port()) {
        // A port that is down receives nothing, but a controller may still send a packet as if
        // it had come from there.
        Some(port) if !ctx.is_admitted(port) => ctx.fail(DropReason::PortNoReceive),
        _ => ctx.start_with(actions),
    }
    ctx.finish()
}

/// Translates a packet that goes on where it waited for a controller. `key` has the headers of the packet, and
/// the state that the controller sends back.
pub fn translate_resumed(
    view: View<'_>,
    bridge: BridgeId,
    key: &PipelineKey,
    continuation: &Continuation,
) -> Translation {
    let mut observer = Unobserved;
    let mut ctx = Ctx::new(view, key, &mut observer);
    ctx.packet.has_tunnel_of_message();
    if continuation.state.bridge == bridge {
        ctx.resume(&continuation.state, key, true);
        ctx.end_of_pass();
    }
    ctx.finish()
}

/// A walk that has not ended.
struct Ctx<'a, O> {
    view: View<'a>,
    observer: &'a mut O,
    /// The bridge whose rules the packet goes through at the moment.
    bridge: BridgeId,
    packet: TrackedKey,
    /// The port that the packet came in on. `None` for a packet-out, and for a pass that one asked for.
    own_port: Option<PortRef>,
    /// Whether `NORMAL` learns the packet's source address.
    has_sender: bool,
    /// The id of the continuation that this pass resumes; 0 for a packet that has just been received.
    recirc_id: u32,
    out: Translation,
    /// Values that `push` has put down, and the width of each in bits.
    stack: Vec<(u128, u16)>,
    /// The priority of the outputs that follow; 0 as long as no rule has chosen a queue.
    priority: u32,
    /// The priority that the packet began this pass with.
    first_priority: u32,
    action_set: Vec<Action>,
    table: TableId,
    cookie: u64,
    /// The rule whose actions are executed; `None` in a packet-out, and where a packet goes on.
    rule: Option<&'a Arc<Rule>>,
    /// The packet comes from a packet-out.
    is_packet_out: bool,
    /// A group's bucket is executed.
    in_group: bool,
    /// The action set is executed.
    in_action_set: bool,
    /// What controllers are told once the packet waits for one of them. `None` if the walk
    /// stops for the next pass.
    pause: Option<Box<ControllerMeta>>,
    depth: u32,
    resubmits: u32,
    spent: budget::Spent,
    exit: bool,
    /// No action that could change the packet follows the action that is executed.
    is_last: bool,
    /// The last label was popped. The headers behind it are not in the key before the next pass.
    was_mpls: bool,
    freezing: bool,
    /// An earlier pass hashed the packet for a `select` group.
    hashed: bool,
    /// This pass hashes the packet for a `select` group, which chooses in the next pass.
    hashes: bool,
    suspended: Vec<Suspended>,
    error: Option<DropReason>,
    /// Why the latest output that was not emitted was not. `None` if every output was.
    hint: Option<DropReason>,
    /// Number of outputs that were emitted, to ports, controllers and further passes.
    outputs: u32,
    /// A rule of the bridge that the packet is in matched.
    matched: bool,
}

impl<'a, O: TranslationObserver> Ctx<'a, O> {
    #[inline]
    fn new(view: View<'a>, key: &PipelineKey, observer: &'a mut O) -> Self {
        Self {
            view,
            observer,
            bridge: BridgeId::FIRST,
            packet: TrackedKey::new(key),
            own_port: None,
            has_sender: true,
            recirc_id: 0,
            // Most translations end with one action of one rule, and a cached flow keeps both lists: with room
            // for one each, it need not move them to cut them to size.
            out: Translation {
                actions: Vec::with_capacity(1),
                rules: Vec::with_capacity(1),
                ..Translation::default()
            },
            stack: Vec::new(),
            priority: 0,
            first_priority: 0,
            action_set: Vec::new(),
            table: TableId::default(),
            cookie: 0,
            rule: None,
            is_packet_out: false,
            in_group: false,
            in_action_set: false,
            pause: None,
            depth: 0,
            resubmits: 0,
            spent: budget::Spent::default(),
            exit: false,
            is_last: true,
            was_mpls: false,
            freezing: false,
            hashed: false,
            hashes: false,
            suspended: Vec::new(),
            error: None,
            hint: None,
            outputs: 0,
            matched: false,
        }
    }

    fn tables(&self) -> &'a Tables {
        self.view.tables.of(self.bridge)
    }

    fn ports(&self) -> &'a PortTable {
        self.view.ports.of(self.bridge)
    }

    fn macs(&self) -> &'a MacTable {
        self.view.macs.of(self.bridge)
    }

    fn depend_on_port(&mut self, port: OfPort) {
        self.out.depends.ports.insert_port(PortRef { bridge: self.bridge, port });
    }

    fn depend_on_all_ports(&mut self) {
        self.out.depends.all_ports.insert(self.bridge);
    }

    fn miss(&mut self, table: TableId) {
        self.out.misses.push(TableRef { bridge: self.bridge, table });
    }

    /// Appends the datapath actions for all that the rules have changed since the last commit.
    fn commit(&mut self) {
        self.packet.commit(&mut self.out.actions, self.view.conduct.address_sums());
    }

    fn fail(&mut self, reason: DropReason) {
        if self.error.is_none() {
            self.observer.note(|| Note::Dropped(reason));
        }
        self.error = Some(reason);
    }

    /// Executes the actions of a packet-out.
    fn start_with(&mut self, actions: &[Action]) {
        self.actions(actions);
        if !self.matched && !self.out.misses.is_empty() {
            self.hint = Some(DropReason::TableMiss);
        }
        self.end_of_pass();
    }

    fn start(&mut self) {
        if self.recirc_id == 0 {
            let in_port = self.in_port();
            self.table_lookup(in_port, self.table, false, OnMiss::ToControllers);
            if !self.matched {
                self.hint = Some(DropReason::TableMiss);
            }
        } else {
            match self.view.recirc.get(self.recirc_id) {
                Some(continuation) => {
                    self.out.is_passing = continuation.is_passing;
                    let state = &continuation.state;
                    self.resume(state, &state.key, state.has_tunnel);
                }
                None => self.fail(DropReason::RecirculationLimit),
            }
        }
        self.end_of_pass();
    }

    /// Whether the packet comes in at a port with this configuration.
    fn may_come_in(&mut self, port: &PortInfo) -> bool {
        !port.config.down && self.is_admitted(port)
    }

    /// Whether the flags of a port, which may be down, let the packet come in.
    fn is_admitted(&mut self, port: &PortInfo) -> bool {
        port.admits(port.distinguishes_stp() && self.packet.is_stp())
    }

    /// Drops a packet whose port does not receive. The rule of the first table counts the
    /// packet, as in Open vSwitch.
    fn refuse(&mut self) {
        if self.recirc_id == 0 {
            match self.rule_for(self.in_port(), self.table) {
                Some(rule) => {
                    self.enter_rule(self.table, rule);
                    self.observer.leave();
                    self.out.rules.push(Arc::clone(rule));
                }
                None => self.miss(self.table),
            }
        }
        self.fail(DropReason::PortNoReceive);
    }

    fn end_of_pass(&mut self) {
        if self.error.is_none() && !self.freezing {
            self.execute_action_set();
        }
        if self.freezing {
            self.finish_freezing();
        }
    }

    fn in_port(&self) -> OfPort {
        self.packet.in_port()
    }

    fn enter_rule(&mut self, table: TableId, rule: &Arc<Rule>) {
        let (tables, version) = (self.tables(), self.view.version);
        self.observer.enter_rule(&Won { table, rule, tables, version });
    }

    /// Looks the packet up as if it had come in on `in_port`, and executes the rule's actions.
    fn table_lookup(
        &mut self,
        in_port: OfPort,
        table: TableId,
        resubmitted: bool,
        on_miss: OnMiss,
    ) {
        self.look_up_and(in_port, table, resubmitted, on_miss, Self::actions);
    }

    /// Looks the packet up as if it had come in on `in_port`, and gives the actions of the rule to `execute`.
    fn look_up_and(
        &mut self,
        in_port: OfPort,
        table: TableId,
        resubmitted: bool,
        on_miss: OnMiss,
        execute: impl FnOnce(&mut Self, &[Action]),
    ) {
        if self.was_mpls {
            return self.freeze();
        }
        if resubmitted && !self.may_resubmit() {
            return;
        }
        if self.drops_fragments(in_port, table) {
            return;
        }
        let saved = std::mem::replace(&mut self.table, table);
        self.observer.read(self.packet.mask());
        if let Some(rule) = self.rule_for_or_next(in_port, on_miss) {
            let table = self.table;
            self.matched = true;
            self.enter_rule(table, rule);
            self.observer.read(self.packet.mask());
            let deeper = u32::from(resubmitted && table <= saved);
            if resubmitted {
                self.resubmits += 1;
            }
            self.depth += deeper;
            let saved_cookie = std::mem::replace(&mut self.cookie, rule.cookie.0);
            let saved_rule = self.rule.replace(rule);
            self.out.rules.push(Arc::clone(rule));
            execute(self, &rule.actions);
            (self.cookie, self.rule) = (saved_cookie, saved_rule);
            self.depth -= deeper;
            self.observer.leave();
        }
        self.table = saved;
    }

    /// The best rule of the present table for the packet. If none matches and the table's setting is to
    /// continue with the next one, that is the present table from now on, and so forth; but not behind a
    /// resubmit, as in Open vSwitch.
    fn rule_for_or_next(&mut self, in_port: OfPort, on_miss: OnMiss) -> Option<&'a Arc<Rule>> {
        loop {
            let table = self.table;
            let rule = self.rule_for(in_port, table);
            if rule.is_some() {
                return rule;
            }
            self.miss(table);
            self.observer.miss(table);
            self.observer.read(self.packet.mask());
            let is_obeyed = on_miss == OnMiss::ToControllers;
            let continues = is_obeyed && self.tables().miss(table) == Some(TableMiss::Continue);
            let next = TableId::new(table.get() + 1).filter(|_| continues);
            let Some(next) = next else {
                if on_miss == OnMiss::ToControllers {
                    self.miss_to_controllers(in_port);
                }
                return None;
            };
            if !self.may_resubmit() {
                return None;
            }
            // Many tables are as much work as many resubmits.
            self.resubmits += 1;
            self.table = next;
        }
    }

    fn may_resubmit(&mut self) -> bool {
        if self.depth >= MAX_DEPTH {
            self.fail(DropReason::RecursionTooDeep);
        } else if self.resubmits >= MAX_RESUBMITS {
            self.fail(DropReason::TooManyResubmits);
        } else {
            return self.emitted() < budget::MAX_BEFORE_RESUBMIT;
        }
        false
    }

    /// Whether the packet is a fragment and the bridge drops these. Then each look-up finds a rule without
    /// actions, as in Open vSwitch.
    fn drops_fragments(&mut self, in_port: OfPort, table: TableId) -> bool {
        let drops = self.packet.is_fragment() && self.ports().fragments() == Fragments::Drop;
        if drops {
            self.depend_on_table(in_port, table);
            self.matched = true;
            self.hint = Some(DropReason::Fragment);
            self.observer.note(|| Note::DropsFragments);
        }
        drops
    }

    /// Whether the packet is a fragment whose transport ports the rules of the bridge do not see.
    fn hides_ports(&self) -> bool {
        self.packet.is_fragment() && self.ports().fragments() == Fragments::Normal
    }

    fn depend_on_table(&mut self, in_port: OfPort, table: TableId) {
        let at = TableRef { bridge: self.bridge, table };
        let is_own_port = self.own_port == Some(PortRef { bridge: self.bridge, port: in_port });
        let rewritten = self.packet.rewritten(self.hides_ports());
        self.out.depends.looked_up(at, is_own_port, rewritten);
    }

    /// The best rule of a table for the packet, as if the packet had come in on `in_port`.
    /// `None` if no rule matches.
    fn rule_for(&mut self, in_port: OfPort, table: TableId) -> Option<&'a Arc<Rule>> {
        let at = TableRef { bridge: self.bridge, table };
        self.depend_on_table(in_port, table);
        let (tables, version) = (self.tables(), self.view.version);
        let hides_ports = self.hides_ports();
        let mut work = 0;
        let rule = self.packet.look_up(in_port, hides_ports, |key, mask| {
            self.observer.look_up(at, key);
            tables.lookup(table, key, version, mask, &mut work)
        });
        if work > 0 {
            self.spend_for(work);
        }
        rule
    }

    fn freeze(&mut self) {
        self.freezing = true;
        self.exit = true;
    }

    /// Commits all changes, and emits a recirculation that goes on with the lists that were suspended.
    fn finish_freezing(&mut self) {
        self.spend_for(self.stack.len() + budget::weight(&self.action_set));
        self.commit();
        let (key, has_tunnel) = self.packet.state();
        let state = FrozenState {
            suspended: std::mem::take(&mut self.suspended),
            action_set: self.action_set.clone(),
            stack: self.stack.clone(),
            key,
            has_tunnel,
            bridge: self.bridge,
            table: self.table,
            hashed: self.hashed || self.hashes,
            keeps_connection: self.packet.keeps_connection(),
            priority: self.priority,
        };
        let nobody = PortRef { bridge: self.bridge, port: OfPort::NONE };
        let owner = self.own_port.unwrap_or(nobody);
        if let Some(continuation) = self.view.recirc.allocate(state, owner) {
            self.out.is_passing |= continuation.is_passing;
            let go_on = match self.pause.take() {
                Some(meta) => {
                    let paused = Some(continuation.id);
                    DpAction::Controller(Arc::new(ControllerMeta { paused, ..*meta }))
                }
                None => DpAction::Recirculate(continuation.id),
            };
            self.out.actions.push(go_on);
            self.out.continuations.push(continuation);
            self.outputs += 1;
        } else {
            self.fail(DropReason::RecirculationLimit);
        }
        self.freezing = false;
        self.was_mpls = false;
        self.exit = self.view.conduct.recirculation_exits();
    }

    /// Goes on with a state. `key` has the registers and the rest of what is not in the packet, and the tunnel
    /// if `has_tunnel` says so.
    fn resume(&mut self, state: &FrozenState, key: &PipelineKey, has_tunnel: bool) {
        self.matched = true;
        self.packet.resume(key, has_tunnel);
        if !state.keeps_connection {
            self.packet.clear_connection();
        }
        self.bridge = state.bridge;
        self.spend_for(state.stack.len() + budget::weight(&state.action_set));
        self.stack.clone_from(&state.stack);
        self.action_set.clone_from(&state.action_set);
        self.hashed = state.hashed;
        (self.priority, self.first_priority) = (state.priority, state.priority);
        let mut lists = state.suspended.iter();
        while let Some(list) = lists.next()
            && self.error.is_none()
        {
            self.is_last = lists.len() == 0;
            (self.table, self.cookie) = (list.table, list.cookie);
            self.observer.resume(list.table);
            self.actions(&list.actions);
            if self.freezing {
                let left = lists.clone().map(|list| budget::weight(&list.actions)).sum();
                self.spend_for(left);
                return self.suspended.extend(lists.cloned());
            }
            if self.exit {
                return;
            }
        }
    }

    fn finish(mut self) -> Translation {
        // Actions that are thrown away below took time, too.
        self.out.steps = self.spent.steps + self.emitted();
        if let Some(error) = self.error {
            self.out.actions.clear();
            self.outputs = 0;
            self.hint = Some(error);
        }
        if self.outputs == 0 {
            // Steps that lead to no output are useless, but for those up to the last
            // one that the switch remembers.
            let useful =
                self.out.actions.iter().rposition(is_remembered).map_or(0, |last| last + 1);
            self.out.actions.truncate(useful);
            self.out.drop = Some(self.hint.unwrap_or(DropReason::RuleDrop));
        }
        self.out.mask = self.packet.flow_mask();
        self.observer.read(self.packet.mask());
        self.observer.finish(self.packet.shown());
        self.out
    }
}

/// Whether the switch remembers something of a packet because of an action, even if no output follows: a meter
/// counts the packet, connection tracking commits its connection.
fn is_remembered(action: &DpAction) -> bool {
    match action {
        DpAction::Meter(_) | DpAction::Ct(_) => true,
        DpAction::Clone(actions) => actions.iter().any(is_remembered),
        DpAction::CheckLen { longer, fits, .. } => longer.iter().chain(fits).any(is_remembered),
        _ => false,
    }
}

//! The flow monitors of one connection.
//!
//! What a monitor tells is gathered from the [journal](super::journal), and told before every reply, so that a
//! barrier reply comes behind the changes that came before the barrier. One transaction is one message, which
//! is encoded once for all connections whose monitors are equal ([`views`](super::views)).
//!
//! ```text
//!            the peer reads too slowly, or the thread lags behind
//! telling ───────────────────────────────────────────────────────► paused
//!    ▲                                                                │
//!    └────────────────────────────────────────────────────────────────┘
//!      everything was sent: what has changed since the pause is told
//! ```
//!
//! In a pause, the removal of rules that the peer knows is told, and nothing else, as in Open vSwitch. Rules
//! that came or changed are told at its end. They are found by the version of the tables that they have come
//! with. So nothing is lost, and what waits is bounded by the rules that there were. The rules that are told at
//! the end are those of one version, and every removal up to that version is told before them: a rule that went
//! and came again would be taken for gone otherwise.

use super::hub::{Hub, Member};
use super::journal::{Author, Entry, Place, Subject};
use super::resumption::processor_time;
use super::teller::reason;
use super::views::View;
use crate::switch::OnBridge;
use flow::Match;
use flow::dialect;
use flow::flow_mod::{Command, FlowMod};
use flow::types::OfVersion;
use flowtable::classifier::Version;
use flowtable::policy::Walk;
use flowtable::policy::effects::Effect;
use flowtable::policy::rule::Rule;
use openflow::{
    Encoding, ErrorCode, FlowMonitor, FlowUpdate, MonitorCommand, MonitorEvent, MonitorFlags,
    MonitoredRule, MultipartReply, OfMessage, ReplyParts,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// The largest number of monitors of one connection.
const MAX_MONITORS: usize = 1024;
/// How many entries are gathered at a time.
const TAKEN: usize = 32;
/// How many changes of rules are gathered at a time. So few that a thread which lags behind
/// tells little before it pauses.
const TAKEN_STEPS: u64 = 256;
/// How many bytes wait for the peer when a pause begins.
const PAUSE_AT: usize = 128 << 10;
/// How many changes of rules the thread is behind when a pause begins.
const LAG: u64 = 2048;
/// How many bytes wait for the peer at most: a connection with more is closed.
const MAX_WAITING: usize = 64 << 20;

/// The flow monitors of one connection.
pub(super) struct Monitors {
    hub: Arc<Hub>,
    member: Arc<Member>,
    of_id: BTreeMap<u32, Monitor>,
    /// How far the monitors have told; `None` if there are none.
    place: Option<Arc<Place>>,
    state: State,
    /// What the monitors look at; `None` before it is asked for.
    view: Option<Arc<View>>,
    /// Messages that wait to be sent, the oldest first.
    ready: VecDeque<Arc<Vec<u8>>>,
    /// The bytes of these messages.
    waiting: usize,
}

#[derive(Debug)]
struct Monitor {
    flags: MonitorFlags,
    filter: FlowMod,
    /// The version of the tables that the monitor began with: what came before is no news.
    since: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Changes are told.
    Telling,
    /// A pause began with this version of the tables.
    Paused(Version),
}

/// A rule that changed.
struct Changed {
    event: MonitorEvent,
    rule: Arc<Rule>,
    /// The rule before a modification.
    before: Option<Arc<Rule>>,
    matching: Match,
    priority: u16,
}

impl Monitor {
    /// Whether the monitor is about the rule, or was about it before.
    fn is_about(&self, rule: &Rule, matching: &Match, before: Option<&Rule>) -> bool {
        let filter = &self.filter;
        filter.table.is_none_or(|table| table == rule.table)
            && filter.out_port.is_none_or(|port| {
                rule.outputs_to(port) || before.is_some_and(|rule| rule.outputs_to(port))
            })
            && filter.out_group.is_none_or(|group| rule.uses_group(group))
            && (filter.names_every_match() || filter.matching.covers(matching))
    }

    fn tells(&self, event: MonitorEvent) -> bool {
        match event {
            MonitorEvent::Initial => self.flags.initial,
            MonitorEvent::Added => self.flags.add,
            MonitorEvent::Modified => self.flags.modify,
            MonitorEvent::Removed(_) => self.flags.removed,
        }
    }
}

impl Changed {
    fn of(effect: Effect<'_>) -> Option<Self> {
        let (entry, event, before) = match effect {
            Effect::RuleAdded(entry) => (entry, MonitorEvent::Added, None),
            Effect::RuleChanged(entry, before) => (entry, MonitorEvent::Modified, before),
            Effect::RuleRemoved(entry, why) => (entry, MonitorEvent::Removed(reason(why)?), None),
            Effect::GroupAdded(_)
            | Effect::GroupChanged(_)
            | Effect::GroupRemoved(_)
            | Effect::MeterAdded(_)
            | Effect::MeterChanged(_)
            | Effect::MeterRemoved(_) => return None,
        };
        let is_same = |before: &&Arc<Rule>| {
            before.cookie == entry.value.cookie && before.actions == entry.value.actions
        };
        if before.as_ref().is_some_and(is_same) {
            return None;
        }
        Some(Self {
            event,
            rule: Arc::clone(entry.value),
            before: before.cloned(),
            matching: entry.matches,
            priority: entry.priority,
        })
    }

    /// The change as a message of `version` tells it.
    fn update(&self, version: OfVersion, has_actions: bool) -> FlowUpdate {
        // Nicira's matches are those of OpenFlow 1.0.
        let is_nicira = version < OfVersion::OpenFlow13;
        let of_match = if is_nicira { OfVersion::OpenFlow10 } else { version };
        let actions = match has_actions {
            true => dialect::actions(&self.rule.actions, version, &self.matching).into_owned(),
            false => Vec::new(),
        };
        FlowUpdate::Rule(Box::new(MonitoredRule {
            event: self.event,
            table: self.rule.table,
            matching: dialect::dumped_matching(&self.matching, of_match).into_owned(),
            priority: self.priority,
            cookie: self.rule.cookie,
            idle_timeout: self.rule.idle_timeout(),
            hard_timeout: self.rule.hard_timeout(),
            actions,
        }))
    }
}

/// The message that says that a pause begins, or is over.
fn pause_message(encoding: Encoding, is_over: bool) -> Vec<u8> {
    let message = match (encoding.version >= OfVersion::OpenFlow14, is_over) {
        (true, false) => {
            OfMessage::MultipartReply(MultipartReply::FlowMonitor(vec![FlowUpdate::Paused]), false)
        }
        (true, true) => {
            OfMessage::MultipartReply(MultipartReply::FlowMonitor(vec![FlowUpdate::Resumed]), false)
        }
        (false, false) => OfMessage::FlowMonitorPaused,
        (false, true) => OfMessage::FlowMonitorResumed,
    };
    message.encode(encoding, 0)
}

/// A deletion that would delete every rule.
fn every_rule() -> FlowMod {
    FlowMod::new(Command::Delete, 0, Match::any(), Vec::new())
}

impl Monitors {
    pub(super) fn new(hub: &Arc<Hub>, member: &Arc<Member>) -> Self {
        Self {
            hub: Arc::clone(hub),
            member: Arc::clone(member),
            of_id: BTreeMap::new(),
            place: None,
            state: State::Telling,
            view: None,
            ready: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Carries out the parts of a request in their order. Returns the numbers of the monitors that have begun,
    /// whose rules the reply has to list ([`Monitors::list`]).
    ///
    /// # Errors
    /// A part is refused, and the parts behind it were not looked at. Monitors that parts before
    /// it began do not exist.
    pub(super) fn request(&mut self, parts: Vec<FlowMonitor>) -> Result<Vec<u32>, ErrorCode> {
        let mut begun = Vec::new();
        let done = parts.into_iter().try_for_each(|part| self.part(part, &mut begun));
        if done.is_err() {
            begun.iter().for_each(|id| drop(self.of_id.remove(id)));
        }
        self.follow();
        done.map(|()| begun)
    }

    fn part(&mut self, part: FlowMonitor, begun: &mut Vec<u32>) -> Result<(), ErrorCode> {
        let FlowMonitor { id, command, flags, filter } = part;
        let is_known = self.of_id.contains_key(&id);
        match command {
            MonitorCommand::Add if is_known => return Err(ErrorCode::MonitorExists),
            MonitorCommand::Modify | MonitorCommand::Delete if !is_known => {
                return Err(ErrorCode::UnknownMonitor);
            }
            MonitorCommand::Delete => {
                self.of_id.remove(&id);
                return Ok(());
            }
            MonitorCommand::Add | MonitorCommand::Modify => {}
        }
        if self.of_id.len() >= MAX_MONITORS {
            return Err(ErrorCode::MonitorExists);
        }
        // The changes that are told come behind the list of rules, which sets the version.
        let since = Version(u64::MAX);
        self.of_id.insert(id, Monitor { flags, filter: *filter, since });
        begun.push(id);
        Ok(())
    }

    /// Ends a monitor.
    ///
    /// # Errors
    /// There is none with this number.
    pub(super) fn cancel(&mut self, id: u32) -> Result<(), ErrorCode> {
        self.of_id.remove(&id).ok_or(ErrorCode::UnknownMonitor)?;
        self.follow();
        Ok(())
    }

    /// Has a place in the journal while there are monitors.
    fn follow(&mut self) {
        self.view = None;
        match (self.of_id.is_empty(), &self.place) {
            (false, None) => {
                self.place = Some(self.hub.begin_place(&self.member, Subject::Changes));
            }
            (true, Some(place)) => {
                self.hub.end_place(place);
                self.place = None;
                self.state = State::Telling;
            }
            _ => {}
        }
    }

    /// Whether there is a monitor.
    pub(super) fn any(&self) -> bool {
        self.place.is_some()
    }

    /// The reply to a request: the rules that the monitors which have begun tell first,
    /// in parts that `send` sends.
    pub(super) fn list<E>(
        &mut self,
        on: &OnBridge<'_>,
        begun: &[u32],
        encoding: Encoding,
        xid: u32,
        mut send: impl FnMut(Vec<Vec<u8>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut parts = ReplyParts::flow_updates(encoding, xid);
        let tells = |id: &u32, _: &Rule| begun.contains(id).then_some(MonitorEvent::Initial);
        let lists = begun.iter().any(|id| self.of_id.get(id).is_some_and(|m| m.flags.initial));
        let version = if lists {
            let filter = self.only_filter();
            let walk = on.bridge().walk(&filter);
            let version = walk.version();
            self.tell_rules(walk, &mut parts, encoding, tells, send)?;
            version
        } else {
            send(parts.finish())?;
            on.bridge().walk(&every_rule()).version()
        };
        for id in begun {
            if let Some(monitor) = self.of_id.get_mut(id) {
                monitor.since = version;
            }
        }
        Ok(())
    }

    /// What names every rule that the monitors may tell: one monitor names its rules itself, so that a walk
    /// looks at its table only.
    fn only_filter(&self) -> FlowMod {
        let mut monitors = self.of_id.values();
        match (monitors.next(), monitors.next()) {
            (Some(only), None) => only.filter.clone(),
            _ => every_rule(),
        }
    }

    /// Lists the rules of a walk as monitors see them: `event` says how the monitor with
    /// this number tells a rule.
    fn tell_rules<E>(
        &self,
        mut walk: Walk<'_>,
        parts: &mut ReplyParts,
        encoding: Encoding,
        event: impl Fn(&u32, &Rule) -> Option<MonitorEvent>,
        mut send: impl FnMut(Vec<Vec<u8>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut slice = Vec::new();
        loop {
            let has_more = walk.next_slice(|entry| {
                let monitors = self.of_id.iter();
                let tells = monitors.filter_map(|(id, monitor)| {
                    let event = event(id, entry.value)?;
                    let is_told =
                        monitor.tells(event) && monitor.is_about(entry.value, &entry.matches, None);
                    is_told.then_some((event, monitor.flags.instructions))
                });
                // As in Open vSwitch, a rule that several monitors tell is told once, with its
                // actions if one wants them.
                let told = tells.reduce(|(event, a), (_, b)| (event, a || b));
                if let Some((event, has_actions)) = told {
                    let (rule, before) = (Arc::clone(entry.value), None);
                    let (matching, priority) = (entry.matches, entry.priority);
                    slice.push((Changed { event, rule, before, matching, priority }, has_actions));
                }
            });
            for (changed, has_actions) in slice.drain(..) {
                parts.flow_update(&changed.update(encoding.version, has_actions));
            }
            if !has_more {
                break;
            }
            send(parts.take_full())?;
        }
        let last = std::mem::replace(parts, ReplyParts::flow_updates(encoding, 0));
        send(last.finish())
    }

    /// Gathers what the next few transactions of the journal mean for the monitors. `unsent` bytes wait to be
    /// sent besides. Returns whether there was something in the journal.
    pub(super) fn gather(&mut self, on: &OnBridge<'_>, encoding: Encoding, unsent: usize) -> bool {
        let Some(place) = self.place.clone() else {
            return false;
        };
        let entries = self.hub.journal().take(&place, TAKEN, TAKEN_STEPS);
        // Behind what is told now: a large transaction alone is no reason for a pause.
        let lag = self.hub.journal().lag_steps(&place);
        for entry in &entries {
            self.gather_entry(on, encoding, entry);
            let is_slow = self.waiting + unsent > PAUSE_AT || lag > LAG;
            if is_slow && self.state == State::Telling {
                self.state = State::Paused(entry.effects.version());
                place.rest(true);
                self.hub.begin_to_pause();
                self.push(Arc::new(pause_message(encoding, false)));
            }
        }
        if self.waiting > MAX_WAITING {
            self.member.close();
        }
        !entries.is_empty()
    }

    fn gather_entry(&mut self, on: &OnBridge<'_>, encoding: Encoding, entry: &Entry) {
        // In a pause, only the removal of rules is told that the peer knows.
        let known = match self.state {
            State::Paused(version) => Some(version),
            State::Telling => None,
        };
        if known.is_some() && !entry.has_removed_rules {
            return;
        }
        let own = entry.author.filter(|author| author.is(&self.member));
        let version = entry.effects.version();
        let is_told_alike =
            known.is_none() && own.is_none() && self.of_id.values().all(|m| m.since < version);
        let has_missed = if is_told_alike {
            let view = self.view(encoding);
            let tell = || self.tell_entry(on, encoding, entry, None, None);
            let told = self.hub.views().told(&entry.tellings, &view, tell);
            told.messages.iter().for_each(|message| self.push(Arc::clone(message)));
            told.has_missed
        } else {
            let (messages, has_missed) = self.tell_entry(on, encoding, entry, known, own);
            messages.into_iter().for_each(|message| self.push(Arc::new(message)));
            has_missed
        };
        if has_missed {
            // The peer would believe something that is not so.
            self.member.close();
        }
    }

    /// What the monitors look at, shared with those connections whose monitors look at the same.
    fn view(&mut self, encoding: Encoding) -> Arc<View> {
        if let Some(view) = self.view.as_ref().filter(|view| view.encoding == encoding) {
            return Arc::clone(view);
        }
        let monitors = self.of_id.values().map(|m| (m.flags, m.filter.clone())).collect();
        let view = self.hub.views().share(View { encoding, monitors });
        self.view = Some(Arc::clone(&view));
        view
    }

    /// The messages about a transaction, and whether rules were freed before they were told. `known` is the
    /// version at which a pause began, and `own` the peer's message that caused the transaction.
    fn tell_entry(
        &self,
        on: &OnBridge<'_>,
        encoding: Encoding,
        entry: &Entry,
        known: Option<Version>,
        own: Option<Author>,
    ) -> (Vec<Vec<u8>>, bool) {
        let mut parts = ReplyParts::flow_updates(encoding, 0);
        let (mut told, mut has_abbreviated) = (0, false);
        let mut walk = on.policy().effects(&entry.effects);
        let mut slice = Vec::new();
        while walk.next_slice(|effect| slice.extend(Changed::of(effect))) {
            for changed in slice.drain(..) {
                let is_removal = matches!(changed.event, MonitorEvent::Removed(_));
                let is_known = |version| changed.rule.added_in <= version;
                if known.is_some_and(|version| !is_removal || !is_known(version)) {
                    continue;
                }
                let Some((has_actions, is_in_full)) =
                    self.wanted(&changed, entry.effects.version())
                else {
                    continue;
                };
                match own {
                    Some(own) if !is_in_full && known.is_none() => {
                        if !std::mem::replace(&mut has_abbreviated, true) {
                            parts.flow_update(&FlowUpdate::Abbrev(own.xid));
                            told += 1;
                        }
                    }
                    _ => {
                        parts.flow_update(&changed.update(encoding.version, has_actions));
                        told += 1;
                    }
                }
            }
        }
        let messages = if told > 0 { parts.finish() } else { Vec::new() };
        (messages, walk.missed() > 0)
    }

    /// Whether a monitor tells of a change at `version` of the tables: with actions, and in full even if it is
    /// the peer's own.
    fn wanted(&self, changed: &Changed, version: Version) -> Option<(bool, bool)> {
        let monitors = self.of_id.values();
        let wanting = monitors.filter(|monitor| {
            monitor.since < version
                && monitor.tells(changed.event)
                && monitor.is_about(&changed.rule, &changed.matching, changed.before.as_deref())
        });
        let flags = wanting.map(|monitor| (monitor.flags.instructions, monitor.flags.tells_own()));
        flags.reduce(|(a, b), (c, d)| (a || c, b || d))
    }

    fn push(&mut self, message: Arc<Vec<u8>>) {
        self.waiting += message.len();
        self.ready.push_back(message);
    }

    /// The next message that waits.
    pub(super) fn next_ready(&mut self) -> Option<Arc<Vec<u8>>> {
        let message = self.ready.pop_front()?;
        self.waiting -= message.len();
        Some(message)
    }

    /// When a pause can end, if the peer has read everything: `None` if there is none.
    pub(super) fn resume_at(&self) -> Option<Instant> {
        let is_paused = matches!(self.state, State::Paused(_)) && self.ready.is_empty();
        is_paused.then(|| self.hub.resume_at().unwrap_or_else(Instant::now))
    }

    /// Ends the pause: tells which rules have come or changed since it began. Call it once everything has been
    /// sent and gathered.
    pub(super) fn resume<E>(
        &mut self,
        on: &OnBridge<'_>,
        encoding: Encoding,
        mut send: impl FnMut(Vec<Vec<u8>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (State::Paused(paused), Some(place)) = (self.state, self.place.clone()) else {
            return Ok(());
        };
        let hub = Arc::clone(&self.hub);
        if !hub.begin_to_resume() {
            return Ok(());
        }
        let before = processor_time();
        let filter = self.only_filter();
        let (walk, mut unread) = {
            // While nobody else can commit, the journal has every change up to the version that the walk shows,
            // and none behind it.
            let _alone = on.bridge().begin();
            (on.bridge().walk(&filter), hub.journal().lag(&place) as usize)
        };
        while unread > 0 {
            let entries = hub.journal().take(&place, TAKEN.min(unread), u64::MAX);
            if entries.is_empty() {
                break;
            }
            unread = unread.saturating_sub(entries.len());
            entries.iter().for_each(|entry| self.gather_entry(on, encoding, entry));
            while let Some(message) = self.next_ready() {
                send(vec![Arc::unwrap_or_clone(message)])?;
            }
        }
        let mut parts = ReplyParts::flow_updates(encoding, 0);
        let event = |id: &u32, rule: &Rule| {
            let monitor = self.of_id.get(id)?;
            let is_new = rule.added_in > paused;
            let is_told = rule.since > paused && rule.since > monitor.since;
            match (is_told, is_new && monitor.flags.add) {
                (false, _) => None,
                (true, true) => Some(MonitorEvent::Added),
                (true, false) => Some(MonitorEvent::Modified),
            }
        };
        self.tell_rules(walk, &mut parts, encoding, event, |parts| {
            hub.look_goes_on();
            // A list of nothing is not sent.
            send(parts.into_iter().filter(|part| part.len() > EMPTY_REPLY).collect())
        })?;
        send(vec![pause_message(encoding, true)])?;
        self.state = State::Telling;
        place.rest(false);
        // Nobody has woken this thread for what came meanwhile.
        self.member.outbox().wake();
        hub.rest_behind(processor_time().saturating_sub(before));
        Ok(())
    }
}

/// The largest size of a reply of a monitor that tells nothing, in bytes.
const EMPTY_REPLY: usize = 24;

impl Drop for Monitors {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            self.hub.end_place(place);
        }
    }
}

//! What one connection tells of rules: those that are gone, and what its flow monitors see.
//!
//! Both come from the [journal](super::journal) of the bridge, read by the connection's own thread. Rules that
//! are gone are told while the peer reads; nothing is lost for a peer that reads, however much was deleted at
//! once, because rules stay in the journal until then. Monitors are [`Monitors`]'s business.

use super::hub::{Hub, Member};
use super::journal::{Entry, Place, Subject};
use super::monitors::Monitors;
use crate::log_limit::{EVENTS, limited};
use crate::switch::OnBridge;
use flow::Match;
use flow::dialect;
use flowtable::policy::effects::Effect;
use flowtable::policy::rule::{Removal, Rule};
use openflow::{AsyncKind, Encoding, FlowRemoved, FlowRemovedReason, OfMessage};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How many entries are taken from the journal at a time.
const TAKEN: usize = 64;
/// The number of rules whose counters are settled and told together, at least, if there are as many.
const TOGETHER: usize = 256;

/// What one connection tells of rules.
pub(super) struct Teller {
    hub: Arc<Hub>,
    member: Arc<Member>,
    /// How far the connection has told which rules are gone; `None` if the peer does not want to know.
    removals: Option<Arc<Place>>,
    /// Whether the peer wants to know how full tables are, and is counted among those who hear of changes.
    hears_vacancies: bool,
    /// Entries that were taken and not told yet.
    taken: VecDeque<Arc<Entry>>,
    pub(super) monitors: Monitors,
}

/// A rule that is gone.
struct Gone {
    rule: Arc<Rule>,
    matching: Match,
    priority: u16,
    reason: FlowRemovedReason,
    /// When the rule was removed, on the switch's monotonic clock.
    at: Duration,
}

/// What OpenFlow calls the removal of a rule; `None` if it does not tell of it: another rule took its place.
pub(super) fn reason(why: Removal) -> Option<FlowRemovedReason> {
    Some(match why {
        Removal::Idle => FlowRemovedReason::IdleTimeout,
        Removal::Hard => FlowRemovedReason::HardTimeout,
        Removal::Delete => FlowRemovedReason::Delete,
        Removal::GroupDelete => FlowRemovedReason::GroupDelete,
        Removal::MeterDelete => FlowRemovedReason::MeterDelete,
        Removal::Eviction => FlowRemovedReason::Eviction,
        Removal::Replaced => return None,
    })
}

impl Teller {
    /// A teller of a peer that has asked for nothing.
    pub(super) fn new(hub: &Arc<Hub>, member: &Arc<Member>) -> Self {
        Self {
            hub: Arc::clone(hub),
            member: Arc::clone(member),
            removals: None,
            hears_vacancies: false,
            taken: VecDeque::new(),
            monitors: Monitors::new(hub, member),
        }
    }

    /// All connections of the bridge.
    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The connection that is told, as the hub knows it.
    pub(super) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// Begins to tell which rules are gone and how full tables are, or ends it, as the peer's settings say.
    pub(super) fn follow_settings(&mut self) {
        let settings = self.member.settings();
        let wants_vacancies = (0..32).any(|reason| settings.wants(AsyncKind::TableStatus, reason));
        self.hear_vacancies(wants_vacancies);
        let wants = (0..32).any(|reason| settings.wants(AsyncKind::FlowRemoved, reason));
        match (wants, &self.removals) {
            (true, None) => {
                self.removals = Some(self.hub.begin_place(&self.member, Subject::Removals));
            }
            (false, Some(place)) => {
                self.hub.end_place(place);
                self.removals = None;
                self.taken.clear();
            }
            _ => {}
        }
    }

    /// Has the policy tell how full tables are, or not, as far as this connection is concerned.
    fn hear_vacancies(&mut self, is_on: bool) {
        if is_on != self.hears_vacancies {
            self.hub.count_listener(is_on);
            self.hears_vacancies = is_on;
        }
    }

    /// The next messages about rules that are gone; `None` if nothing is left to tell. Waits until the counters
    /// of these rules are final: call it without a lock.
    pub(super) fn next_removed(
        &mut self,
        on: &OnBridge<'_>,
        encoding: Encoding,
    ) -> Option<Vec<OfMessage>> {
        let place = self.removals.clone()?;
        let mut gone = Vec::new();
        let mut last = 0;
        while gone.len() < TOGETHER {
            if self.taken.is_empty() {
                self.taken.extend(self.hub.journal().take(&place, TAKEN, u64::MAX));
            }
            let Some(entry) = self.taken.pop_front() else {
                break;
            };
            last = entry.number;
            self.gather(on, &entry, &mut gone);
        }
        if gone.is_empty() {
            return None;
        }
        self.hub.settle_behind(last, on);
        Some(gone.iter().map(|gone| gone.message(encoding)).collect())
    }

    /// Appends the rules that a transaction removed and the peer wants to know of.
    fn gather(&self, on: &OnBridge<'_>, entry: &Entry, gone: &mut Vec<Gone>) {
        if !entry.has_removed_rules {
            return;
        }
        let settings = self.member.settings();
        let mut walk = on.policy().effects(&entry.effects);
        while walk.next_slice(|effect| {
            if let Effect::RuleRemoved(rule, why) = effect
                && rule.value.flags.send_flow_rem
                && let Some(reason) = reason(why)
                && settings.wants(AsyncKind::FlowRemoved, reason.number())
            {
                let (matching, priority, at) = (rule.matches, rule.priority, entry.at);
                gone.push(Gone { rule: Arc::clone(rule.value), matching, priority, reason, at });
            }
        }) {}
        if walk.missed() > 0 {
            // The controller would believe that rules exist which do not.
            limited!(
                warn,
                "openflow",
                EVENTS,
                "a controller is disconnected, because {} removed rules were forgotten before it read of them",
                walk.missed()
            );
            self.member.close();
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.hear_vacancies(false);
        if let Some(place) = &self.removals {
            self.hub.end_place(place);
        }
    }
}

impl Gone {
    fn message(&self, encoding: Encoding) -> OfMessage {
        let Self { rule, matching, priority, reason, at } = self;
        let (packets, bytes) = rule.stats.totals();
        let age = at.saturating_sub(rule.created());
        OfMessage::FlowRemoved(Box::new(FlowRemoved {
            matching: dialect::matching(matching, encoding.version).into_owned(),
            priority: *priority,
            cookie: rule.cookie,
            reason: *reason,
            table: Some(rule.table),
            // More digits than those of milliseconds would be noise.
            duration: Duration::from_millis(age.as_millis() as u64),
            idle_timeout: rule.idle_timeout(),
            hard_timeout: rule.hard_timeout(),
            packets: Some(packets),
            bytes: Some(bytes),
        }))
    }
}

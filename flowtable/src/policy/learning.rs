//! Rules that `learn(...)` makes of packets: how they come into the tables, and how the traffic that made them
//! keeps them there.
//!
//! A translation has no side effects, so it returns what is to be learned ([`LearnedRule`]). Whoever uses the
//! translation for a packet hands that to [`Policy::change_rules`]. A rule that is there already with the same
//! attributes only counts as changed now, which starts its timeouts anew; that takes the lock of the tables
//! shared, as the translation itself did. Otherwise a transaction adds or changes the rule, and the next
//! look-up sees it. A cached flow keeps what its translation returned: the periodic sweep learns it again as
//! long as the flow has traffic, and a flow whose rule has gone counts as concerned by that change, so that its
//! next packet learns again.
//!
//! # Budget
//!
//! Whoever sends packets makes the rules, so a table takes [`MAX_LEARNED`] learned rules at most, and no more
//! than its limit. A worker waits a millisecond for another transaction to end. What is not learned is counted,
//! and the verdict is not cached: the next packet tries again. The packet itself is forwarded as its rules say.

use super::bridge_id::{BridgeId, TableRef};
use super::rule::{Rule, Timeouts};
use super::tables::Tables;
use super::xlate::{ShortenedTimeouts, Translation};
use super::{Bridge, Policy};
use crate::classifier::Version;
use flow::Match;
use flow::flow_mod::FlowMod;
use flow::text::{DEFAULT_PRIORITY, NoPortNames, write_match};
use flow::types::{Cookie, TableId};
use std::sync::Arc;
use std::time::Duration;

/// How many rules of a table may be learned ones. Tests have a lower number, which they reach sooner.
pub const MAX_LEARNED: usize = if cfg!(test) { 200 } else { 100_000 };

/// How long a worker waits for another transaction before it puts off learning.
const PATIENCE: Duration = Duration::from_millis(1);

/// A rule that a packet is to make, or to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedRule {
    /// The bridge whose table gets the rule.
    pub bridge: BridgeId,
    /// The request that adds the rule or changes it.
    pub request: FlowMod,
    /// How many learned rules with the cookie of the request the table may have for another one to be added; 0
    /// sets no limit.
    pub limit: u32,
    /// The rule whose action it was; `None` if a packet-out learned.
    pub teacher: Option<Teacher>,
}

/// The rule that made another one. It may have gone since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Teacher {
    /// The table of the rule.
    pub table: TableId,
    /// The priority of the rule.
    pub priority: u16,
    /// The cookie of the rule.
    pub cookie: Cookie,
    /// Table, priority and match of the rule: `table=0,priority=5,tcp`. Ports are numbers.
    pub text: Box<str>,
}

impl Teacher {
    /// The rule with this priority and match.
    pub(super) fn new(rule: &Rule, priority: u16, matching: &Match) -> Self {
        // The function leaves out the default priority.
        let mut text = format!("table={},priority={priority},", rule.table);
        write_match(&mut text, matching, DEFAULT_PRIORITY, &NoPortNames);
        let text = text.trim_end_matches(',').into();
        Self { table: rule.table, priority, cookie: rule.cookie, text }
    }
}

/// What came of learning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learning {
    /// How many rules were added or changed.
    pub learned: u64,
    /// How many rules were not learned, because there is no room for them or another transaction took long.
    pub refused: u64,
}

impl Tables {
    /// Whether a rule that a packet is to make is there with all its attributes, at a version.
    pub(super) fn has_learned(
        &self,
        learned: &LearnedRule,
        version: Version,
    ) -> Option<&Arc<Rule>> {
        let request = &learned.request;
        self.rule_like(request, version).filter(|rule| {
            rule.idle_timeout() == request.idle_timeout
                && rule.hard_timeout() == request.hard_timeout
                && rule.importance == request.importance
                && rule.flags == request.flags
                && (!request.modify_cookie || rule.cookie == request.cookie)
                && *rule.actions == request.actions[..]
        })
    }

    /// Whether the limits leave room for a rule that is to be learned, or the rule is there.
    pub(super) fn has_room_to_learn(&self, learned: &LearnedRule, version: Version) -> bool {
        let LearnedRule { request, limit, .. } = learned;
        let table = request.table.unwrap_or_default();
        let cookies = || self.learned_with(table, request.cookie) < *limit as usize;
        self.rule_like(request, version).is_some()
            || self.learned_in(table) < MAX_LEARNED && (*limit == 0 || cookies())
    }
}

impl Policy {
    /// Learns the rules and shortens the timeouts that a translation returned, at the time `now` of a packet.
    pub fn change_rules(&self, translation: &Translation, now: Duration) -> Learning {
        for ShortenedTimeouts { rule, idle, hard } in &translation.shortened {
            rule.shorten_timeouts(Timeouts { idle: *idle, hard: *hard });
        }
        self.learn_rules(&translation.rules_to_learn, now)
    }

    /// Starts the timeouts of learned rules anew, for traffic that was last seen at `used`. Rules that have
    /// gone are not added: the next packet does that.
    pub(crate) fn refresh_rules(&self, rules: &[Arc<LearnedRule>], used: Duration) {
        for rule in rules {
            self.refresh_learned(rule, used);
        }
    }

    fn learn_rules(&self, rules: &[Arc<LearnedRule>], now: Duration) -> Learning {
        let mut done = Learning::default();
        for rule in rules {
            if self.refresh_learned(rule, now) {
                continue;
            }
            match self.bridge(rule.bridge).learn(rule, now) {
                true => done.learned += 1,
                false => done.refused += 1,
            }
        }
        done
    }

    /// Starts the timeouts of a learned rule anew at `now`, if the rule is there as it was learned. Returns
    /// whether it is.
    fn refresh_learned(&self, learned: &LearnedRule, now: Duration) -> bool {
        let (tables, version) = self.tables.read();
        let rule = tables.of(learned.bridge).has_learned(learned, version);
        if let Some(rule) = rule {
            rule.touch_until(now);
        }
        rule.is_some()
    }
}

impl Bridge<'_> {
    /// Adds or changes a rule. Returns false if there is no room for it, or if another
    /// transaction did not end soon.
    fn learn(self, learned: &LearnedRule, now: Duration) -> bool {
        let Some(mut transaction) = self.begin_within(PATIENCE) else {
            return false;
        };
        // Another worker may have learned the rule meanwhile.
        if self.policy.refresh_learned(learned, now) {
            return true;
        }
        let has_room = {
            let (tables, version) = self.policy.tables.read();
            tables.of(self.id).has_room_to_learn(learned, version)
        };
        if !has_room || transaction.learn(learned, now).is_err() {
            return false;
        }
        transaction.commit();
        true
    }

    /// The number of learned rules of a table.
    pub fn learned_in(self, table: TableId) -> usize {
        self.policy.tables.read().0.of(self.id).learned_in(table)
    }
}

impl LearnedRule {
    /// The bridge and the table that get the rule.
    pub fn table_ref(&self) -> TableRef {
        TableRef { bridge: self.bridge, table: self.request.table.unwrap_or_default() }
    }
}

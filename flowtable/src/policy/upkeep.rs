//! The upkeep of the tables: rules whose timeouts are over, memory of removed rules, and plans for lookups.
//!
//! The daemon's monitor calls this from time to time. Only short steps hold a lock.

use super::bridge::Bridge;
use super::bridge_id::{BridgeId, PerBridge};
use super::effects::Effects;
use super::groups::GroupEntry;
use super::meters::MeterEntry;
use super::rule::{Removal, Rule};
use super::tables::{Scope, TableCursor, Tables};
use super::{Policy, SLICE};
use crate::classifier::{Plan, Retired, Sample, Survey};
use crate::effort::Longest;
use flow::types::TableId;
use std::sync::Arc;
use std::time::Duration;

/// Number of removed rules that are kept for readers of an older version. When there are more, such
/// a reader loses the rest of its version.
const MAX_HELD: usize = 1 << 20;

/// With more removed rules than this, [`Policy::try_purge`] waits for the lock as [`Policy::purge`] does.
/// Otherwise a thread that never stops changing rules would make more of them than are freed.
const MANY_REMOVED: usize = 1 << 16;

/// Rules, groups and meters that no reader can see any more. The caller drops them without the lock,
/// because dropping many takes long.
#[derive(Debug, Default)]
pub struct Freed {
    pub(super) rules: Vec<Arc<Rule>>,
    pub(super) groups: Vec<Arc<GroupEntry>>,
    pub(super) meters: Vec<Arc<MeterEntry>>,
}

impl Freed {
    /// Makes an empty list with room for `rules` rules.
    pub fn with_capacity(rules: usize) -> Self {
        Self { rules: Vec::with_capacity(rules), groups: Vec::new(), meters: Vec::new() }
    }

    /// Number of rules, groups and meters in the list.
    pub fn len(&self) -> usize {
        self.rules.len() + self.groups.len() + self.meters.len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Policy {
    /// The number of rules of all bridges that take memory: those in tables, and those that were removed and
    /// wait to be freed.
    pub fn rule_count(&self) -> usize {
        let (tables, _) = self.tables.read();
        tables.iter().map(|(_, tables)| tables.rule_count()).sum()
    }

    /// The number of rules, groups and hosts that were looked at under one hold of a lock: the
    /// largest since the last call. `None` in builds without debug assertions, which do not count.
    pub fn take_longest_hold(&self) -> Option<u64> {
        self.locks().into_iter().filter_map(Longest::take).max()
    }

    /// The longest time that a thread held a lock since the last call. The clock of
    /// [`time_holds`](crate::time_holds) tells the time.
    #[cfg(feature = "hold-times")]
    pub fn take_longest_hold_time(&self) -> Duration {
        self.locks().into_iter().map(Longest::take_time).max().unwrap_or_default()
    }

    /// The records of the three locks that a translation takes.
    fn locks(&self) -> [&Longest; 3] {
        [self.tables.lock().longest(), self.ports.longest(), self.macs.longest()]
    }

    /// Removes the rules of all bridges whose timeouts are over at `now`. Returns the effects, one
    /// item for each bridge that lost rules.
    pub fn expire(&self, now: Duration) -> Vec<Arc<Effects>> {
        self.bridges().into_iter().filter_map(|(id, _)| self.bridge(id).expire(now)).collect()
    }

    /// Frees some removed rules that no lookup can see any more, and moves other rules to where
    /// lookups find them faster. Returns whether more of either is left to do.
    pub fn purge(&self) -> bool {
        let Untidy { bridges, removed } = Untidy::of(&self.tables.read().0);
        // `filter` and `count`, not `any`: every bridge has its turn.
        let is_more_left = |id: &BridgeId| self.bridge(*id).purge(removed, true) == Some(true);
        bridges.into_iter().filter(is_more_left).count() > 0
    }

    /// As [`purge`](Self::purge), but does nothing and returns `None` while others are at the tables, unless
    /// very many rules wait to be freed. A thread that changes or lists rules takes the lock again and again.
    /// If this function waited for the lock, each of the two threads would sleep and be woken at every step of
    /// the other one.
    pub fn try_purge(&self) -> Option<bool> {
        let Untidy { bridges, removed } = self.tables.try_step(|tables| Untidy::of(tables))?;
        if removed > MANY_REMOVED {
            return Some(self.purge());
        }
        let mut is_more_left = false;
        for id in bridges {
            is_more_left |= self.bridge(id).purge(removed, false)?;
        }
        Some(is_more_left)
    }
}

/// What there is to do in the tables of all bridges.
struct Untidy {
    /// The bridges in whose tables there is something to do.
    bridges: Vec<BridgeId>,
    /// Number of removed rules, groups and meters in all tables.
    removed: usize,
}

impl Untidy {
    fn of(tables: &PerBridge<Tables>) -> Self {
        let bridges = tables.iter().filter(|(_, tables)| tables.is_untidy());
        Self {
            bridges: bridges.map(|(id, _)| id).collect(),
            removed: tables.iter().map(|(_, tables)| tables.removed_len()).sum(),
        }
    }
}

impl Bridge<'_> {
    /// Frees and moves some rules of this bridge, and returns whether more are left. `removed` rules
    /// of all bridges wait to be freed. While others are at the tables, this waits for them if
    /// `waits`, and otherwise returns `None`.
    fn purge(self, removed: usize, waits: bool) -> Option<bool> {
        let mut freed = Freed::with_capacity(SLICE);
        let purge = |tables: &mut Tables| {
            let published = &self.policy.tables;
            // With too many removed rules waiting, a reader of an older version loses the rest of it.
            let is_crowded = removed > MAX_HELD;
            let oldest = if is_crowded { published.version() } else { published.oldest() };
            tables.purge(oldest, SLICE, &mut freed);
            (tables.removed_len(), tables.is_moving())
        };
        let (left, is_moving) = if waits { self.step(purge) } else { self.try_step(purge)? };
        self.plan(left == 0);
        Some(is_moving || left > 0 && !freed.is_empty())
    }

    /// Plans the subtables of a flow table that has changed much, and drops the memory that rules
    /// have left behind. Only short steps of it hold the lock.
    pub(super) fn plan(self, is_idle: bool) {
        let (survey, has_retired) = {
            let (tables, _) = self.policy.tables.read();
            let tables = tables.of(self.id);
            (tables.survey(is_idle), tables.has_retired())
        };
        if has_retired {
            let retired = self.step(Tables::take_retired);
            drop(retired);
        }
        if let Some((table, survey)) = survey {
            self.plan_table(table, survey);
        }
    }

    /// Finishes a survey of a flow table, makes a plan from it and adopts the plan.
    pub(super) fn plan_table(self, table: TableId, mut survey: Survey) {
        let read = || self.policy.tables.read().0;
        loop {
            survey.make_room(SLICE);
            if !read().of(self.id).count_masks(table, &mut survey, SLICE) {
                break;
            }
        }
        survey.choose_rules();
        while read().of(self.id).look_at_rules(table, &mut survey, SLICE) {}
        let mut plan = survey.plan();
        while self.step(|tables| tables.adopt(table, &mut plan, SLICE)) {}
    }

    /// Removes the rules of this bridge whose timeouts are over at `now`. `None` if there were none.
    pub fn expire(self, now: Duration) -> Option<Arc<Effects>> {
        let (mut cursor, mut over) = (TableCursor::default(), Vec::new());
        loop {
            let (tables, version) = self.policy.tables.read();
            let tables = tables.of(self.id);
            let Some(slice) = tables.slice(Scope::Timed, &mut cursor, SLICE, version) else {
                break;
            };
            over.extend(slice.filter_map(|(at, rule)| {
                let expiry = rule.expired(now)?;
                Some((at, Removal::from(expiry)))
            }));
        }
        if over.is_empty() {
            return None;
        }
        let mut transaction = self.begin();
        transaction.expire(&over);
        Some(transaction.commit())
    }
}

impl Tables {
    /// Whether there are rules to free or to move, or a table to plan.
    pub fn is_untidy(&self) -> bool {
        self.removed_len() > 0
            || self.is_moving()
            || self.has_retired()
            || self.tables.iter().flatten().any(|table| table.classifier.needs_plan(true))
    }

    /// Whether rules have left memory behind.
    pub fn has_retired(&self) -> bool {
        self.tables.iter().flatten().any(|table| !table.classifier.retired().is_empty())
    }

    /// The memory that rules have left behind, for the caller to drop without the lock.
    pub fn take_retired(&mut self) -> Vec<Retired> {
        self.tables.iter_mut().flatten().map(|table| table.classifier.take_retired()).collect()
    }

    /// Begins a survey of a table that needs another plan. `is_idle` says that there is time to
    /// spare: then a table that has changed at all is surveyed, too.
    pub fn survey(&self, is_idle: bool) -> Option<(TableId, Survey)> {
        self.tables.iter().enumerate().find_map(|(n, table)| {
            let survey = table.as_ref()?.classifier.survey(is_idle)?;
            Some((TableId::new(n as u8)?, survey))
        })
    }

    /// Announces `count` additions like those of a sample, and begins the survey for their plan.
    pub fn expect(&mut self, table: TableId, sample: Sample, count: usize) -> Option<Survey> {
        self.table_mut(table).classifier.expect(sample, count)
    }

    /// Counts some masks of a table. Returns whether there are more.
    pub fn count_masks(&self, table: TableId, survey: &mut Survey, budget: usize) -> bool {
        self.table(table).is_some_and(|table| table.classifier.count_masks(survey, budget))
    }

    /// Looks at some of the rules that a survey has chosen. Returns whether there are more.
    pub fn look_at_rules(&self, table: TableId, survey: &mut Survey, budget: usize) -> bool {
        self.table(table).is_some_and(|table| table.classifier.look_at_rules(survey, budget))
    }

    /// Ends the announcement: no further announced rule will be added.
    pub fn expect_no_more(&mut self, table: TableId) {
        self.table_mut(table).classifier.expect_no_more();
    }

    /// Adopts a plan for `budget` further masks. Returns whether masks are left. Afterwards rules
    /// move, a few with each change of the table.
    pub fn adopt(&mut self, table: TableId, plan: &mut Plan, budget: usize) -> bool {
        self.table_mut(table).classifier.adopt(plan, budget)
    }

    /// Whether rules are being moved to where a plan wants them; purging goes on with it.
    pub fn is_moving(&self) -> bool {
        self.tables.iter().flatten().any(|t| t.classifier.is_moving())
    }

    /// Number of rules in all tables, with those that were removed and wait to be freed.
    fn rule_count(&self) -> usize {
        let classifiers = self.tables.iter().flatten().map(|table| &table.classifier);
        classifiers.map(|classifier| classifier.len() + classifier.removed_len()).sum()
    }

    /// Number of removed rules, groups and meters that wait to be freed.
    pub fn removed_len(&self) -> usize {
        let rules: usize = self.tables.iter().flatten().map(|t| t.classifier.removed_len()).sum();
        rules + self.groups.removed_len() + self.meters.removed_len()
    }
}

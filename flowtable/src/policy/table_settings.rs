//! How a table behaves: how many rules it may have, what happens when it is full, and
//! when controllers hear of that.

use super::bridge::Bridge;
use super::bridge_id::TableRef;
use super::effects::Effects;
use super::eviction::Eviction;
use super::rule::{Removal, Rule, RuleMatch, RuleRef};
use super::tables::{Change, FlowModError, MAX_RULES, Scope, Table, TableCursor, Tables};
use super::{SLICE, Transaction};
use crate::classifier::RuleId;
use flow::Match;
use flow::table_mod::{TableMiss, TableSettings, VacancyThresholds};
use flow::types::TableId;
use std::sync::Arc;

/// What controllers hear next of a table whose room they watch (OpenFlow 1.4.0 §7.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VacancyEvent {
    /// The table has less room than the lower threshold.
    Down,
    /// The table has more room than the upper threshold.
    Up,
}

/// Controllers are to hear that a table has become nearly full, or has room again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VacancyChange {
    /// The table whose share of free rules has crossed a threshold.
    pub table: TableId,
    /// Which of the two thresholds the share has crossed.
    pub event: VacancyEvent,
    /// Whether a controller wants a full table to evict rules.
    pub eviction: bool,
    /// The thresholds that the user has set.
    pub thresholds: VacancyThresholds,
    /// How many per cent of the table's rules were free then.
    pub vacancy: u8,
}

/// What is to be known of a table before a rule is added, beside its rules.
#[derive(Debug)]
pub(super) struct Limits {
    max_rules: usize,
    miss: Option<TableMiss>,
    eviction: Option<Eviction>,
    has_openflow_eviction: bool,
    /// The thresholds, and what is told next.
    watch: Option<(VacancyThresholds, VacancyEvent)>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_rules: MAX_RULES,
            miss: None,
            eviction: None,
            has_openflow_eviction: false,
            watch: None,
        }
    }
}

impl Limits {
    /// Takes a rule that is gone out of the order in which rules are evicted.
    pub(super) fn forget_for_eviction(&mut self, rule: RuleId) {
        if let Some(eviction) = &mut self.eviction {
            eviction.remove(rule);
        }
    }

    /// How many per cent of the table are free when it has `rules` rules.
    fn vacancy(&self, rules: usize) -> u8 {
        let free = self.max_rules.saturating_sub(rules);
        (free * 100 / self.max_rules.max(1)) as u8
    }

    /// What controllers hear now that the table has `rules` rules. They hear each event
    /// once before the other one.
    fn watch(&mut self, table: TableId, rules: usize) -> Option<VacancyChange> {
        let (thresholds, _) = self.watch?;
        let vacancy = self.vacancy(rules);
        let (_, next) = self.watch.as_mut()?;
        let (event, other) = match *next {
            VacancyEvent::Down if vacancy < thresholds.down => {
                (VacancyEvent::Down, VacancyEvent::Up)
            }
            VacancyEvent::Up if vacancy > thresholds.up && vacancy >= thresholds.down => {
                (VacancyEvent::Up, VacancyEvent::Down)
            }
            _ => return None,
        };
        *next = other;
        let eviction = self.has_openflow_eviction;
        Some(VacancyChange { table, event, eviction, thresholds, vacancy })
    }

    /// Takes settings over, for a table that has `rules` rules. Returns whether the rules have to be put into
    /// the order in which they are evicted.
    fn set(&mut self, settings: &TableSettings, rules: usize, seed: u64) -> bool {
        let limit = settings.flow_limit.map_or(MAX_RULES, |limit| limit as usize);
        self.max_rules = limit.min(MAX_RULES);
        self.miss = settings.miss;
        self.has_openflow_eviction = settings.eviction;
        let groups = settings.eviction_groups();
        let is_same = self.eviction.as_ref().is_some_and(|eviction| eviction.fields() == groups);
        let begins = settings.evicts() && !is_same;
        if begins {
            self.eviction = Some(Eviction::new(groups.to_vec(), seed));
        } else if !settings.evicts() {
            self.eviction = None;
        }
        let vacancy = self.vacancy(rules);
        self.watch = settings.vacancy.map(|thresholds| {
            let first = if vacancy < thresholds.up { VacancyEvent::Up } else { VacancyEvent::Down };
            (thresholds, self.watch.map_or(first, |(_, next)| next))
        });
        begins
    }
}

impl Table {
    /// Whether the table has as many rules as it may have.
    pub(super) fn is_full(&self) -> bool {
        self.classifier.len() >= self.limits.max_rules
    }
}

impl Tables {
    /// Makes room for a rule in a table that may be full.
    ///
    /// # Errors
    /// [`FlowModError::TableFull`]: the table is full and has no rule that it may evict.
    pub(super) fn make_room(
        &mut self,
        change: &mut Change,
        table: TableId,
    ) -> Result<(), FlowModError> {
        let held = self.table_mut(table);
        if !held.is_full() {
            return Ok(());
        }
        let limit = held.limits.max_rules;
        let full = FlowModError::TableFull { table, limit };
        let rule = self.choose_to_evict(table).ok_or(full)?;
        self.remove(change, &[(table, rule)], Removal::Eviction);
        Ok(())
    }

    /// The rule of a table that is evicted next; `None` if the table evicts none.
    fn choose_to_evict(&mut self, table: TableId) -> Option<RuleId> {
        let Table { classifier, limits, .. } = self.table_mut(table);
        let expiry = |rule| classifier.get(rule).and_then(|rule| rule.expires_at());
        limits.eviction.as_mut()?.choose(expiry)
    }

    /// Notes that a change has inserted a rule.
    pub(super) fn rule_came(
        &mut self,
        change: &mut Change,
        (table, _): RuleRef,
        rule: &Rule,
        matching: &Match,
    ) {
        let held = self.table_mut(table);
        if let Some(eviction) = &mut held.limits.eviction {
            eviction.insert(rule, matching);
        }
        self.note_vacancy(change, table);
    }

    /// Notes that a change has removed a rule, with `why` as in [`Step::Removed`].
    pub(super) fn rule_went(
        &mut self,
        change: &mut Change,
        (table, rule): RuleRef,
        why: Option<Removal>,
    ) {
        self.table_mut(table).limits.forget_for_eviction(rule);
        // Where a rule takes the place of another, the table is as full as before.
        if !matches!(why, None | Some(Removal::Replaced)) {
            self.note_vacancy(change, table);
        }
    }

    /// Has the vacancy of a table looked at when the change is committed, if controllers watch the table.
    fn note_vacancy(&mut self, change: &mut Change, table: TableId) {
        if self.table_mut(table).limits.watch.is_some() && !change.watched.contains(&table) {
            change.watched.push(table);
        }
    }

    /// Finds out which tables a change has made nearly full so far, or not so any more. Requests that count for
    /// themselves have this done behind each of them, and so does the whole change.
    pub(super) fn look_at_vacancies(&mut self, change: &mut Change) {
        for table in change.watched.drain(..) {
            let held = self.table_mut(table);
            let rules = held.classifier.len();
            change.vacancy_changes.extend(held.limits.watch(table, rules));
        }
    }

    /// Puts a rule into the order in which rules are evicted, if its table evicts rules.
    pub(super) fn order_for_eviction(&mut self, (table, rule): RuleRef) {
        let Table { classifier, limits, .. } = self.table_mut(table);
        if let Some(eviction) = &mut limits.eviction
            && let Some(entry) = classifier.entry(rule)
        {
            eviction.insert(entry.value, &entry.matches);
        }
    }

    /// Gives all tables the settings of tables that nobody has configured: the bridge is gone, and another one
    /// will get its number.
    pub(super) fn forget_settings(&mut self) {
        self.tables.iter_mut().flatten().for_each(|table| table.limits = Limits::default());
    }

    /// What happens to packets that no rule of a table matches; `None` if nobody has said.
    pub fn miss(&self, table: TableId) -> Option<TableMiss> {
        self.table(table)?.limits.miss
    }
}

impl Transaction<'_> {
    /// Finds out which tables the whole change has made nearly full, or not so any more.
    pub(super) fn look_at_vacancies(&mut self) {
        if let Some(change) = self.change.as_mut().filter(|change| !change.watched.is_empty()) {
            self.bridge.step(|tables| tables.look_at_vacancies(change));
        }
    }

    /// Evicts rules until a table has no more than it may have, or none is left that can be evicted.
    fn evict_surplus(&mut self, table: TableId) {
        let Some(change) = &mut self.change else { return };
        let mut is_over = false;
        while !is_over {
            change.reserve(SLICE);
            is_over = self.bridge.step(|tables| {
                (0..SLICE).any(|_| {
                    let held = tables.table_mut(table);
                    if held.classifier.len() <= held.limits.max_rules {
                        return true;
                    }
                    let Some(rule) = tables.choose_to_evict(table) else { return true };
                    tables.remove(change, &[(table, rule)], Removal::Eviction);
                    false
                })
            });
        }
    }
}

impl Bridge<'_> {
    /// Gives a table other settings, and evicts rules if there are more than it may have now and it evicts
    /// rules at all.
    pub fn configure_table(self, table: TableId, settings: &TableSettings) -> Arc<Effects> {
        // Nobody else changes rules meanwhile.
        let mut transaction = self.begin();
        let (begins, other_miss) = self.step(|tables| {
            let seed = tables.seed;
            let held = tables.table_mut(table);
            let before = held.limits.miss;
            let begins = held.limits.set(settings, held.classifier.len(), seed);
            (begins, before != held.limits.miss)
        });
        if begins {
            self.fill_eviction(table);
        }
        if other_miss {
            let whole = RuleMatch::whole_table(TableRef { bridge: self.id(), table });
            let (groups, meters) = (std::iter::empty(), std::iter::empty());
            self.policy.changes.tables(vec![whole], groups, meters, None);
        }
        transaction.evict_surplus(table);
        transaction.commit()
    }

    /// Puts the rules of a table into the order in which they are evicted.
    fn fill_eviction(self, table: TableId) {
        let (mut cursor, version) = (TableCursor::default(), self.policy.tables.version());
        loop {
            let is_over = self.step(|tables| {
                let rules: Option<Vec<_>> = tables
                    .slice(Scope::One(table), &mut cursor, SLICE, version)
                    .map(|slice| slice.map(|(at, _)| at).collect());
                let is_over = rules.is_none();
                rules.into_iter().flatten().for_each(|at| tables.order_for_eviction(at));
                is_over
            });
            if is_over {
                return;
            }
        }
    }

    /// How many per cent of a table's rules are free.
    pub fn vacancy(self, table: TableId) -> u8 {
        let (tables, _) = self.policy.tables.read();
        let tables = tables.of(self.id());
        let rules = tables.len(table);
        let limits = tables.table(table).map(|held| held.limits.vacancy(rules));
        limits.unwrap_or_else(|| Limits::default().vacancy(rules))
    }
}

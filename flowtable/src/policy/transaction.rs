//! Changes of rules, groups and meters: prepared in slices, published at once, or taken back without a trace.

use super::effects::Effects;
use super::learning::LearnedRule;
use super::observer::Observed;
use super::rule::Removal;
use super::rule::{Rule, RuleRef};
use super::sync::offer_core;
use super::tables::{Change, FlowModError, Found, Scope, TableCursor, Tables};
use super::{Bridge, LOGGED_RULES, SLICE};
use crate::classifier::{Sample, Version};
use flow::Match;
use flow::action::Action;
use flow::flow_mod::{Command, FlowMod};
use flow::types::{Cookie, TableId};
use parking_lot::MutexGuard;
use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// A change of rules, groups and meters that is being prepared. Dropped
/// without [`Transaction::commit`], it never happened.
pub struct Transaction<'a> {
    pub(super) bridge: Bridge<'a>,
    /// `None` once committed.
    pub(super) change: Option<Change>,
    /// Tables that have been made ready for many rules.
    expecting: Vec<TableId>,
    /// It removes rules whose time is over.
    is_expiry: bool,
    /// See [`Transaction::annotate`].
    annotation: Option<Box<dyn Any + Send + Sync>>,
    _writer: MutexGuard<'a, ()>,
}

impl<'a> Bridge<'a> {
    /// Starts a change of rules, groups and meters. Others wait for it to end, those
    /// who change another bridge too.
    pub fn begin(self) -> Transaction<'a> {
        let (writer, next) = self.policy.tables.begin();
        self.transaction(writer, next)
    }

    /// As [`begin`](Self::begin), but waits `patience` at most. `None` if another change takes longer.
    pub(super) fn begin_within(self, patience: Duration) -> Option<Transaction<'a>> {
        let (writer, next) = self.policy.tables.begin_within(patience)?;
        Some(self.transaction(writer, next))
    }

    fn transaction(self, writer: MutexGuard<'a, ()>, next: Version) -> Transaction<'a> {
        let change = Some(Change::new(next));
        Transaction {
            bridge: self,
            change,
            expecting: Vec::new(),
            is_expiry: false,
            annotation: None,
            _writer: writer,
        }
    }

    /// One step of a change: short, as readers wait.
    pub(super) fn step<R>(self, step: impl FnOnce(&mut Tables) -> R) -> R {
        self.policy.tables.step(|tables| step(tables.of_mut(self.id)))
    }

    /// As [`step`](Self::step), but `None` instead of a step if somebody reads or writes.
    pub(super) fn try_step<R>(self, step: impl FnOnce(&mut Tables) -> R) -> Option<R> {
        self.policy.tables.try_step(|tables| step(tables.of_mut(self.id)))
    }

    /// Applies all requests or none, and returns what they did.
    ///
    /// # Errors
    /// The index of the first request that was refused, and why; nothing has changed.
    pub fn apply(
        self,
        requests: &[FlowMod],
        now: Duration,
    ) -> Result<Arc<Effects>, (usize, FlowModError)> {
        let mut transaction = self.begin();
        for (i, request) in requests.iter().enumerate() {
            transaction.apply(request, now).map_err(|e| (i, e))?;
        }
        Ok(transaction.commit())
    }

    /// Applies requests from the front of a list, each of which counts for itself. Additions that follow one
    /// another share a transaction as long as that makes no difference to what is told of them: a transaction
    /// costs as much as an addition. Returns how many requests were applied, at least one, and why the next one
    /// was refused, if it was. Requests behind these were not looked at.
    pub fn apply_in_turn(
        self,
        requests: &[&FlowMod],
        now: Duration,
    ) -> (usize, Option<FlowModError>) {
        let mut transaction = self.begin();
        let (done, refused) = match requests.first() {
            None => return (0, None),
            Some(&first) if is_simple(first) => transaction.add_in_turn(requests, now),
            Some(&first) => match transaction.apply(first, now) {
                Ok(()) => (1, None),
                Err(error) => return (0, Some(error)),
            },
        };
        if done > 0 {
            transaction.commit();
        }
        (done, refused)
    }
}

impl Transaction<'_> {
    /// Prepares one request. It sees what the ones before it did.
    ///
    /// # Errors
    /// Why it is refused. The transaction should be dropped then: the request may be half prepared.
    pub fn apply(&mut self, request: &FlowMod, now: Duration) -> Result<(), FlowModError> {
        let Some(change) = &mut self.change else {
            return Ok(());
        };
        let bridge = self.bridge;
        let selected = match request.command {
            Command::Add => Vec::new(),
            _ => bridge.select(request, change.version()),
        };
        // Of an addition, or of a change that adds what it does not find.
        let is_checked = selected.is_empty() && request.flags.check_overlap;
        let overlaps = is_checked && bridge.overlaps(request, change.version());
        let is_deletion = matches!(request.command, Command::Delete | Command::DeleteStrict);
        if is_deletion || selected.len() > SLICE {
            for slice in selected.chunks(SLICE) {
                change.reserve(2 * SLICE);
                let found = Found { selected: slice, overlaps };
                bridge.step(|tables| tables.prepare(change, request, found, now))?;
                bridge.plan(false);
            }
            return Ok(());
        }
        change.reserve(2 * SLICE);
        let found = Found { selected: &selected, overlaps };
        bridge.step(|tables| tables.prepare(change, request, found, now))?;
        bridge.plan(false);
        Ok(())
    }

    /// Prepares many requests, additions in slices of the lock; for bulk loads.
    ///
    /// # Errors
    /// The index of the first request that was refused, and why. Drop the transaction then.
    pub fn apply_all(
        &mut self,
        requests: &[FlowMod],
        now: Duration,
    ) -> Result<(), (usize, FlowModError)> {
        let mut done = 0;
        while done < requests.len() {
            if !is_simple(&requests[done]) {
                self.apply(&requests[done], now).map_err(|e| (done, e))?;
                done += 1;
                continue;
            }
            let Some(change) = &mut self.change else {
                return Ok(());
            };
            change.reserve(2 * SLICE);
            self.bridge.step(|tables| {
                let slice = requests[done..].iter().take(SLICE);
                for request in slice.take_while(|request| is_simple(request)) {
                    tables
                        .prepare(change, request, Found::default(), now)
                        .map_err(|e| (done, e))?;
                    done += 1;
                }
                Ok(())
            })?;
            self.bridge.plan(false);
        }
        Ok(())
    }

    /// Prepares additions from the front of a list until one of them is no simple one, or would be noticed to
    /// share the transaction, or until the log of changes could not name all rules. Returns how many are
    /// prepared, and why the next one is refused, if it is.
    fn add_in_turn(
        &mut self,
        requests: &[&FlowMod],
        now: Duration,
    ) -> (usize, Option<FlowModError>) {
        let (mut done, mut refused, mut is_over) = (0, None, false);
        let Some(change) = &mut self.change else {
            return (0, None);
        };
        while done < requests.len() && !is_over {
            change.reserve(2 * SLICE);
            self.bridge.step(|tables| {
                for &request in requests[done..].iter().take(SLICE) {
                    // An addition has two steps if it replaces a rule, or evicts one.
                    is_over = !is_simple(request) || change.steps().len() + 2 > LOGGED_RULES;
                    if is_over {
                        break;
                    }
                    match tables.add_beside_others(change, request, now) {
                        Ok(true) => {
                            done += 1;
                            tables.look_at_vacancies(change);
                        }
                        Ok(false) => is_over = true,
                        Err(error) => (is_over, refused) = (true, Some(error)),
                    }
                    if is_over {
                        break;
                    }
                }
            });
            self.bridge.plan(false);
        }
        (done, refused)
    }

    /// Prepares the addition of a rule that a packet makes, or the change of the rule that is in its place.
    ///
    /// # Errors
    /// Why there is no room for the rule. The transaction should be dropped then.
    pub(super) fn learn(
        &mut self,
        learned: &LearnedRule,
        now: Duration,
    ) -> Result<(), FlowModError> {
        if let Some(change) = &mut self.change {
            change.teacher.clone_from(&learned.teacher);
            let done = self.apply(&learned.request, now);
            if let Some(change) = &mut self.change {
                change.teacher = None;
            }
            done?;
        }
        Ok(())
    }

    /// Prepares the deletion of rules whose last learner with `delete_learned` goes.
    fn delete_orphans(&mut self) {
        loop {
            let Some(change) = &mut self.change else { return };
            let orphans = std::mem::take(&mut change.orphans);
            let version = change.version();
            if orphans.is_empty() {
                return;
            }
            for (table, cookie) in orphans {
                let (tables, _) = self.bridge.policy.tables.read();
                if tables.of(self.bridge.id).has_learner(table, cookie) {
                    continue;
                }
                drop(tables);
                let mut request = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
                request.table = Some(table);
                request.cookie_filter = Some((cookie, Cookie(u64::MAX)));
                let rules = self.bridge.select(&request, version);
                let rules: Vec<_> = rules.into_iter().map(|at| (at, Removal::Delete)).collect();
                self.remove(&rules);
            }
        }
    }

    /// Makes tables ready for `count` requests like those of a sample, which is in no particular order: a
    /// table that grows much is planned once, for its size at the end. Nothing depends on it but time.
    pub fn expect(&mut self, sample: &[FlowMod], count: usize) {
        let mut tables: BTreeMap<TableId, Sample> = BTreeMap::new();
        for request in sample.iter().filter(|request| request.command == Command::Add) {
            tables.entry(request.table.unwrap_or_default()).or_default().add(&request.matching);
        }
        for (table, part) in tables {
            let count = count * part.len() / sample.len();
            let survey = self.bridge.step(|tables| tables.expect(table, part, count));
            if let Some(survey) = survey {
                self.expecting.push(table);
                self.bridge.plan_table(table, survey);
            }
        }
    }

    /// Prepares the removal of rules whose time is over.
    pub(super) fn expire(&mut self, rules: &[(RuleRef, Removal)]) {
        self.is_expiry = true;
        self.remove(rules);
    }

    /// Prepares the removal of rules, each for a reason.
    pub(super) fn remove(&mut self, rules: &[(RuleRef, Removal)]) {
        if let Some(change) = &mut self.change {
            for slice in rules.chunks(SLICE) {
                change.reserve(SLICE);
                self.bridge.step(|tables| {
                    slice.iter().for_each(|(rule, why)| tables.remove(change, &[*rule], *why));
                });
            }
        }
    }

    /// Prepares the removal of the rules that use a group or a meter, for the reason `why`. `next` returns the
    /// next few of them, in order, that are behind a rule, or from the first one on.
    pub(super) fn remove_users(
        &mut self,
        why: Removal,
        next: impl Fn(&Tables, Option<RuleRef>) -> Vec<RuleRef>,
    ) {
        let mut last = None;
        loop {
            let users = {
                let (tables, _) = self.bridge.policy.tables.read();
                next(tables.of(self.bridge.id), last)
            };
            if users.is_empty() {
                return;
            }
            last = users.last().copied();
            let users: Vec<(RuleRef, Removal)> = users.into_iter().map(|at| (at, why)).collect();
            self.remove(&users);
        }
    }

    /// The rule with the table, match and priority of a request.
    pub fn rule_like(&self, request: &FlowMod) -> Option<Arc<Rule>> {
        let version = self.change.as_ref()?.version();
        let (tables, _) = self.bridge.policy.tables.read();
        let rule = tables.of(self.bridge.id).rule_like(request, version).cloned();
        drop(tables);
        // Who replaces a table asks for rule after rule, and changes few.
        offer_core();
        rule
    }

    /// Whether packet-outs can have these actions once the change is
    /// published, as [`Tables::check_actions`] says.
    ///
    /// # Errors
    /// Those of [`Tables::check_actions`].
    pub fn check_actions(&self, actions: &[Action]) -> Result<(), FlowModError> {
        let Some(version) = self.change.as_ref().map(Change::version) else {
            return Ok(());
        };
        let (tables, _) = self.bridge.policy.tables.read();
        tables.of(self.bridge.id).check_actions(actions, version)
    }

    /// Prepares the deletion of all rules but some. Returns how many there are.
    pub fn delete_all_but(&mut self, kept: &HashSet<RuleRef>) -> usize {
        let Some(version) = self.change.as_ref().map(Change::version) else {
            return 0;
        };
        let (mut cursor, mut deleted) = (TableCursor::default(), 0);
        loop {
            let others: Vec<(RuleRef, Removal)> = {
                let (tables, _) = self.bridge.policy.tables.read();
                let tables = tables.of(self.bridge.id);
                let Some(slice) = tables.slice(Scope::All, &mut cursor, SLICE, version) else {
                    return deleted;
                };
                let others = slice.map(|(at, _)| at).filter(|at| !kept.contains(at));
                others.map(|at| (at, Removal::Delete)).collect()
            };
            deleted += others.len();
            self.remove(&others);
        }
    }

    /// Hands a value to the observers of the policy, who find it with the [effects](Effects::annotation) of
    /// this transaction. The policy does not look at it.
    pub fn annotate(&mut self, annotation: Box<dyn Any + Send + Sync>) {
        self.annotation = Some(annotation);
    }

    /// Publishes the change: from now on every lookup sees all of it. Returns what it did.
    pub fn commit(mut self) -> Arc<Effects> {
        self.delete_orphans();
        self.look_at_vacancies();
        let policy = self.bridge.policy;
        // Before the change is published, so that nothing of what it removes is freed before it is told.
        let before = policy.tables.hold();
        let change = self.change.take().unwrap_or_default();
        if !change.is_empty() {
            policy.tables.publish(change.version());
            policy.count_slowpath_meters(&change);
            // Not before: a worker that knows of the change must find it.
            policy.tables_changed(self.bridge.id, &change);
        }
        let annotation = self.annotation.take();
        let effects = Effects::new(self.bridge.id, change, before, self.is_expiry, annotation);
        let effects = Arc::new(effects);
        let listener = if self.is_expiry { policy.observer.as_deref() } else { policy.listener() };
        if let Some(observer) = listener.filter(|_| !effects.is_empty()) {
            // No other transaction is committed before this one has ended, so they are told in order.
            observer.observe(Observed::Effects(Arc::clone(&effects)));
        }
        effects
    }
}

/// Whether a request needs nothing to be looked for before it is prepared.
fn is_simple(request: &FlowMod) -> bool {
    request.command == Command::Add && !request.flags.check_overlap
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if let Some(mut change) = self.change.take() {
            while !change.is_empty() {
                self.bridge.step(|tables| tables.roll_back(&mut change, SLICE));
            }
        }
        for &table in &self.expecting {
            self.bridge.step(|tables| tables.expect_no_more(table));
        }
    }
}

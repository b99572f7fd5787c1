//! The flow tables and groups, changed under versions.
//!
//! A change is prepared under the next version, which no lookup uses yet, rule by rule; it is
//! published by telling the readers that number, or rolled back without a trace.

pub use super::refused::FlowModError;

use super::bridge_id::BridgeId;
use super::groups::{GroupEntry, Groups};
use super::learned_counts::LearnedCounts;
use super::learning::Teacher;
use super::meters::{MeterEntry, Meters};
use super::parted_map::PartedMap;
use super::recent_actions::RecentActions;
use super::rule::Removal;
use super::rule::{Rule, RuleNames, RuleRef, RuleStats, RuleTimes, Timeouts};
use super::table_settings::{Limits, VacancyChange};
use super::upkeep::Freed;
use crate::classifier::{Classifier, Entry, MaskHint, RuleId, Version};
use flow::action::{Action, MAX_LIST_SIZE, list_size};
use flow::flow_mod::{Command, FlowMod};
use flow::types::{Cookie, GroupId, MeterId, OfPort, TableId};
use flow::{Match, PipelineKey, PipelineMask};
use packet::OptionMap;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Number of rules of a table, at most.
pub const MAX_RULES: usize = 1_000_000;

/// One flow table: its rules in a classifier.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) classifier: Classifier<Arc<Rule>>,
    pub(super) limits: Limits,
    /// Number of rules with a timeout, removed rules included until they are freed.
    timed: usize,
    /// Number of rules that are alternatives of conjunctions, removed rules included until they are freed.
    alternatives: usize,
    /// Numbers of learned rules, all of them and by cookie, as the change that is being prepared leaves them.
    pub(super) learned: LearnedCounts,
}

/// The rules and groups of a bridge.
#[derive(Debug)]
pub struct Tables {
    bridge: BridgeId,
    /// The index is the table's number; `None` for a table that never had a rule.
    pub(super) tables: Vec<Option<Box<Table>>>,
    pub(super) groups: Groups,
    pub(super) meters: Meters,
    /// The rules that have a name, by their name. While a change is prepared there may be several
    /// of one name.
    names: PartedMap<Arc<str>, Vec<(TableId, RuleId)>>,
    pub(super) seed: u64,
    recent_actions: RecentActions,
    /// The options of Geneve that rules can use.
    pub(super) options: Arc<OptionMap>,
    /// How many rules learn with `delete_learned` into a table with a cookie, as the change that is being
    /// prepared leaves them.
    pub(super) learners: HashMap<(TableId, Cookie), usize>,
}

/// The tables that a walk looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All tables of the bridge.
    All,
    /// The table with this number, used or not.
    One(TableId),
    /// The tables that have rules with timeouts.
    Timed,
}

impl Scope {
    /// The tables that a request names.
    pub fn of(request: &FlowMod) -> Self {
        request.table.map_or(Self::All, Self::One)
    }
}

/// How far a walk over the rules has come: the number of a table, and that of the next slot of its classifier.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableCursor {
    table: usize,
    at: u32,
}

/// The steps of a prepared change, to take it back or to tell of it.
#[derive(Debug, Default)]
pub struct Change {
    pub(super) version: Version,
    pub(super) steps: Vec<Step>,
    /// Tables whose numbers of rules have changed, and whose vacancy controllers watch.
    pub(super) watched: Vec<TableId>,
    /// What controllers are to hear of how full tables are, in the order in which the change came to the
    /// tables. It is found out when the change is committed.
    pub(super) vacancy_changes: Vec<VacancyChange>,
    /// The rule that makes the rules that are being prepared; `None` if nothing is learned.
    pub(super) teacher: Option<Teacher>,
    /// Tables and cookies that the change has left without a rule that learns with `delete_learned`.
    pub(super) orphans: Vec<(TableId, Cookie)>,
}

/// One step of a change.
#[derive(Debug)]
pub(super) enum Step {
    /// A rule was inserted.
    Inserted(RuleRef),
    /// A rule was removed; with `None`, the next step inserts what a modification made of it.
    Removed(RuleRef, Option<Removal>),
    /// A group was added, perhaps in place of one of the same number, which was removed just before.
    GroupAdded(GroupId),
    /// A group was removed.
    GroupRemoved(GroupId),
    /// A meter was added, perhaps in place of one of the same number, which was removed just before.
    MeterAdded(MeterId),
    /// A meter was removed.
    MeterRemoved(MeterId),
}

impl Change {
    /// A change that will be published as `version`.
    pub fn new(version: Version) -> Self {
        Self { version, ..Self::default() }
    }

    /// The version under which the change will be published.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Allocates room for `steps` further steps.
    pub fn reserve(&mut self, steps: usize) {
        self.steps.reserve(steps);
    }

    /// Whether the change has no steps.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The rules that the change adds or removes.
    pub fn rules(&self) -> impl Iterator<Item = RuleRef> + '_ {
        self.steps.iter().filter_map(|step| match step {
            Step::Inserted(rule) | Step::Removed(rule, _) => Some(*rule),
            Step::GroupAdded(_) | Step::GroupRemoved(_) => None,
            Step::MeterAdded(_) | Step::MeterRemoved(_) => None,
        })
    }

    /// The rules that the change removes, or replaces by what a modification makes of them.
    pub fn lost_rules(&self) -> impl Iterator<Item = RuleRef> + '_ {
        self.steps.iter().filter_map(|step| match step {
            Step::Removed(rule, _) => Some(*rule),
            _ => None,
        })
    }

    /// The groups that the change adds or removes.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.steps.iter().filter_map(|step| match step {
            Step::GroupAdded(id) | Step::GroupRemoved(id) => Some(*id),
            Step::Inserted(_) | Step::Removed(..) => None,
            Step::MeterAdded(_) | Step::MeterRemoved(_) => None,
        })
    }

    /// The meters that the change adds or removes.
    pub fn meters(&self) -> impl Iterator<Item = MeterId> + '_ {
        self.steps.iter().filter_map(|step| match step {
            Step::MeterAdded(id) | Step::MeterRemoved(id) => Some(*id),
            Step::Inserted(_) | Step::Removed(..) => None,
            Step::GroupAdded(_) | Step::GroupRemoved(_) => None,
        })
    }

    /// The steps, in order.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// Which other requests an addition shares its transaction with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    /// Whatever somebody has put into one transaction.
    Any,
    /// Additions that are told as if each had a transaction of its own.
    Unnoticed,
}

/// What a look through the rules has found for a request, before the request is prepared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found<'a> {
    /// The rules that the request names.
    pub selected: &'a [RuleRef],
    /// Whether the request asks for a check of overlaps (`check_overlap`) and one was found.
    pub overlaps: bool,
}

impl Tables {
    /// Makes the empty tables of a bridge. `seed` keys their hash functions.
    pub fn new(bridge: BridgeId, seed: u64) -> Self {
        Self {
            bridge,
            tables: Vec::new(),
            groups: Groups::default(),
            meters: Meters::default(),
            names: PartedMap::new(ahash::RandomState::with_seeds(
                seed,
                !seed,
                0x4a3e,
                seed.rotate_left(9),
            )),
            seed,
            recent_actions: RecentActions::new(seed),
            options: Arc::default(),
            learners: HashMap::new(),
        }
    }

    pub(super) fn table(&self, id: TableId) -> Option<&Table> {
        self.tables.get(usize::from(id.get()))?.as_deref()
    }

    pub(super) fn table_mut(&mut self, id: TableId) -> &mut Table {
        let seed = self.seed ^ u64::from(id.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let at = usize::from(id.get());
        if at >= self.tables.len() {
            self.tables.resize_with(at + 1, || None);
        }
        self.tables[at].get_or_insert_with(|| {
            let classifier = Classifier::new(seed).planned_aside();
            Box::new(Table {
                classifier,
                limits: Limits::default(),
                timed: 0,
                alternatives: 0,
                learned: LearnedCounts::default(),
            })
        })
    }

    /// The rule for a packet, at a version. Adds the bits that decided to `mask`, and the number of clauses of
    /// conjunctions that were looked at to `work`.
    pub fn lookup(
        &self,
        table: TableId,
        key: &PipelineKey,
        version: Version,
        mask: &mut PipelineMask,
        work: &mut usize,
    ) -> Option<&Arc<Rule>> {
        let Table { classifier, alternatives, .. } = self.table(table)?;
        if *alternatives == 0 {
            return classifier.lookup(key, version, mask);
        }
        classifier.lookup_conjunctive(key, version, mask, |rule| rule.clauses(), work)
    }

    /// Shows `visit` the better rules of its table that overlap with a rule, at a version. At most `limit`
    /// rules are looked at. Returns how many were; if `limit` were, some may be missing.
    pub(super) fn better_overlapping(
        &self,
        (table, id): RuleRef,
        version: Version,
        limit: usize,
        visit: impl FnMut(&Arc<Rule>),
    ) -> usize {
        let table = self.table(table);
        table.map_or(0, |t| t.classifier.better_overlapping(id, version, limit, visit))
    }

    /// Number of rules in a table.
    pub fn len(&self, table: TableId) -> usize {
        self.table(table).map_or(0, |t| t.classifier.len())
    }

    /// Whether no table has a rule.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().flatten().all(|t| t.classifier.is_empty())
    }

    /// Every rule of one table or all, in the order of the tables: too much for one lock but in tests.
    #[cfg(test)]
    pub(crate) fn rules(
        &self,
        table: Option<TableId>,
        version: Version,
    ) -> impl Iterator<Item = Entry<'_, Arc<Rule>>> {
        let tables = self.tables.iter().enumerate();
        tables
            .filter(move |(n, _)| table.is_none_or(|id| id.get() as usize == *n))
            .filter_map(|(_, t)| t.as_deref())
            .flat_map(move |t| t.classifier.iter(version))
    }

    /// A rule, until it is purged.
    pub fn rule(&self, (table, id): RuleRef) -> Option<Entry<'_, Arc<Rule>>> {
        self.table(table)?.classifier.entry(id)
    }

    /// A rule without its match, until it is purged.
    fn held_rule(&self, (table, id): RuleRef) -> Option<Arc<Rule>> {
        self.table(table)?.classifier.get(id).map(Arc::clone)
    }

    /// Whether lookups at `version` see a rule.
    pub(super) fn is_visible(&self, (table, id): RuleRef, version: Version) -> bool {
        self.table(table).is_some_and(|table| table.classifier.is_visible(id, version))
    }

    /// The rule with the table, match and priority of a request.
    pub fn rule_like(&self, fm: &FlowMod, version: Version) -> Option<&Arc<Rule>> {
        let classifier = &self.table(fm.table.unwrap_or_default())?.classifier;
        classifier.find(&fm.matching, fm.priority, version).map(|(_, rule)| rule)
    }

    fn find(&self, table: TableId, m: &Match, priority: u16, version: Version) -> Option<RuleId> {
        self.table(table)?.classifier.find(m, priority, version).map(|(id, _)| id)
    }

    /// A group at a version.
    pub fn group(&self, id: GroupId, version: Version) -> Option<&Arc<GroupEntry>> {
        self.groups.get(id, version)
    }

    /// A meter at a version.
    pub fn meter(&self, id: MeterId, version: Version) -> Option<&Arc<MeterEntry>> {
        self.meters.get(id, version)
    }

    /// The next few rules from a cursor on, which moves behind them; `None` at the end. Rules that
    /// are removed and freed between two calls are missed, and rules that are added between two
    /// calls may be seen.
    pub fn slice(
        &self,
        scope: Scope,
        cursor: &mut TableCursor,
        budget: usize,
        version: Version,
    ) -> Option<impl Iterator<Item = (RuleRef, &Arc<Rule>)>> {
        while cursor.table < TableId::COUNT {
            let id = TableId::new(cursor.table as u8).filter(|id| match scope {
                Scope::One(one) => *id == one,
                Scope::All | Scope::Timed => true,
            });
            if let Some(id) = id
                && let Some(table) = self.table(id)
                && (scope != Scope::Timed || table.timed > 0)
                && cursor.at < table.classifier.places()
            {
                let end = table.classifier.places().min(cursor.at + budget as u32);
                let places = cursor.at..end;
                cursor.at = end;
                let rules = table.classifier.values(places, version);
                return Some(rules.map(move |(rule, value)| ((id, rule), value)));
            }
            *cursor = TableCursor { table: cursor.table + 1, at: 0 };
        }
        None
    }

    /// Whether a request names a rule.
    pub fn is_named(&self, fm: &FlowMod, at: RuleRef, rule: &Rule) -> bool {
        fm.cookie_filter.is_none_or(|(value, mask)| has_cookie(rule, value, mask))
            && fm.name.as_ref().is_none_or(|name| rule.name() == Some(name))
            && fm.label.as_ref().is_none_or(|label| rule.label() == Some(label))
            && fm.out_port.is_none_or(|port| port == OfPort::NONE || rule.outputs_to(port))
            && fm.out_group.is_none_or(|g| g == GroupId::ANY || rule.uses_group(g))
            && (fm.names_every_match()
                || self.rule(at).is_some_and(|entry| {
                    if fm.command.is_strict() {
                        entry.priority == fm.priority && entry.matches == fm.matching
                    } else {
                        fm.matching.covers(&entry.matches)
                    }
                }))
    }

    /// The rule of a table that a strict request names.
    pub fn find_named(&self, fm: &FlowMod, table: TableId, version: Version) -> Option<RuleRef> {
        let found = self.table(table)?.classifier.find(&fm.matching, fm.priority, version);
        let found = found.map(|(id, rule)| ((table, id), rule));
        found.filter(|(at, rule)| self.is_named(fm, *at, rule)).map(|(at, _)| at)
    }

    /// Tables that have or had rules.
    pub fn used(&self) -> impl Iterator<Item = TableId> {
        let tables = self.tables.iter().enumerate().filter(|(_, table)| table.is_some());
        tables.filter_map(|(n, _)| TableId::new(n as u8))
    }

    /// Whether a new rule overlaps with one of its table and priority. `None` if many have to be compared for
    /// that, with [`overlaps_among`](Self::overlaps_among).
    pub fn overlaps(&self, fm: &FlowMod, version: Version) -> Option<bool> {
        let Some(table) = self.table(fm.table.unwrap_or_default()) else { return Some(false) };
        table.classifier.overlaps(&fm.matching, fm.priority, version)
    }

    /// Whether a new rule overlaps with one of its table and priority in some places; `None` if
    /// there are no such places.
    pub fn overlaps_among(
        &self,
        places: Range<u32>,
        fm: &FlowMod,
        version: Version,
    ) -> Option<bool> {
        let classifier = &self.table(fm.table.unwrap_or_default())?.classifier;
        let places = places.start..places.end.min(classifier.places());
        let found =
            || classifier.overlaps_among(places.clone(), &fm.matching, fm.priority, version);
        (!places.is_empty()).then(found)
    }

    /// Prepares one request, on what was found for it at the version of the change. Several may be prepared
    /// under one change; each sees what the ones before it did.
    ///
    /// # Errors
    /// Why it is refused; the caller rolls the change back.
    pub fn prepare(
        &mut self,
        change: &mut Change,
        fm: &FlowMod,
        found: Found<'_>,
        now: Duration,
    ) -> Result<(), FlowModError> {
        let Found { selected, overlaps } = found;
        match fm.command {
            Command::Add => self.add(change, fm, overlaps, now, Company::Any).map(drop),
            Command::Modify | Command::ModifyStrict => {
                let selects = fm.cookie_filter.is_some() || fm.name.is_some() || fm.label.is_some();
                if selected.is_empty() {
                    // As in Open vSwitch, nobody looks at the actions if no rule gets them.
                    return match fm.adds_if_none && !selects {
                        true => self.add(change, fm, overlaps, now, Company::Any).map(drop),
                        false => Ok(()),
                    };
                }
                self.check_actions(&fm.actions, change.version)?;
                selected.iter().for_each(|&rule| self.modify(change, fm, rule, now));
                Ok(())
            }
            Command::Delete | Command::DeleteStrict => {
                self.remove(change, selected, Removal::Delete);
                Ok(())
            }
        }
    }

    /// Prepares an addition, unless that would show that it shares a transaction with others: the addition
    /// would replace a rule that the change itself has inserted, or the table is full, so that a rule has to be
    /// evicted. Returns whether the addition is prepared.
    ///
    /// # Errors
    /// Why it is refused; the change is as it was before.
    pub fn add_beside_others(
        &mut self,
        change: &mut Change,
        fm: &FlowMod,
        now: Duration,
    ) -> Result<bool, FlowModError> {
        let before = change.steps.len();
        let added = self.add(change, fm, false, now, Company::Unnoticed);
        if added.is_err() {
            self.roll_back(change, change.steps.len() - before);
        }
        added
    }

    /// Returns whether the addition is prepared, which it always is in [`Company::Any`].
    fn add(
        &mut self,
        change: &mut Change,
        fm: &FlowMod,
        overlaps: bool,
        now: Duration,
        company: Company,
    ) -> Result<bool, FlowModError> {
        let version = change.version;
        self.check_options_of_match(&fm.matching)?;
        self.check_actions(&fm.actions, version)?;
        let table = fm.table.unwrap_or_default();
        let held = self.table_mut(table);
        let (replaced, hint) = held.classifier.find_to_replace(&fm.matching, fm.priority, version);
        if company == Company::Unnoticed && !change.is_empty() {
            let is_noticed = match replaced {
                Some(id) => held.classifier.get(id).is_some_and(|rule| rule.since == version),
                None => held.is_full(),
            };
            if is_noticed {
                return Ok(false);
            }
        }
        // As in Open vSwitch, a rule that takes another's place may overlap with what that did.
        let is_new = replaced.is_none();
        if is_new && overlaps {
            return Err(FlowModError::Overlap { table, priority: fm.priority });
        }
        if is_new {
            self.make_room(change, table)?;
        }
        self.check_name(fm, replaced.map(|id| (table, id)), version)?;
        // The counters stay (OpenFlow 1.3.5 §6.4), unless the flag says otherwise, as it does
        // in OpenFlow 1.0 and 1.1.
        let old = replaced.filter(|_| !fm.flags.reset_counts).and_then(|id| self.rule((table, id)));
        let stats = match old {
            Some(old) => old.value.stats.inherit(fm.flags),
            None => Arc::new(RuleStats::new(now, fm.flags)),
        };
        if let Some(id) = replaced {
            self.remove(change, &[(table, id)], Removal::Replaced);
        }
        let actions = self.recent_actions.share(&fm.actions);
        let learned_by = change.teacher.clone().map(Box::new);
        let bridge = self.bridge;
        let rule = |id| Rule {
            bridge,
            table,
            id,
            cookie: fm.cookie,
            timeouts: Timeouts { idle: fm.idle_timeout, hard: fm.hard_timeout },
            importance: fm.importance,
            flags: fm.flags,
            actions,
            names: names_of(fm),
            learned_by,
            stats,
            times: RuleTimes::new(now, now),
            added_in: version,
            since: version,
        };
        self.insert(change, (table, hint), &fm.matching, fm.priority, rule);
        Ok(true)
    }

    fn insert(
        &mut self,
        change: &mut Change,
        (table, hint): (TableId, MaskHint),
        matching: &Match,
        priority: u16,
        rule: impl FnOnce(RuleId) -> Rule,
    ) {
        let held = self.table_mut(table);
        let rule = |id| Arc::new(rule(id));
        let id = held.classifier.insert_under(hint, matching, priority, change.version, rule);
        change.steps.push(Step::Inserted((table, id)));
        let Some(rule) = held.classifier.get(id).map(Arc::clone) else { return };
        held.timed += usize::from(rule.has_timeout());
        held.alternatives += usize::from(rule.is_alternative());
        self.count_learning(&rule);
        self.rule_came(change, (table, id), &rule, matching);
        self.groups.add_user(&rule);
        self.meters.add_user(&rule);
        if let Some(name) = rule.name() {
            self.names.or_default(Arc::clone(name)).push((table, id));
        }
    }

    /// Replaces a rule by one with other actions; counters, age and names stay.
    fn modify(&mut self, change: &mut Change, fm: &FlowMod, at: RuleRef, now: Duration) {
        let Some(entry) = self.rule(at) else {
            return;
        };
        let (matching, priority, old) = (entry.matches, entry.priority, Arc::clone(entry.value));
        if fm.flags.reset_counts {
            old.stats.reset();
        }
        let actions = self.recent_actions.share(&fm.actions);
        let learned_by = change.teacher.clone().map(Box::new).or_else(|| old.learned_by.clone());
        let since = change.version;
        let rule = |id| Rule {
            bridge: old.bridge,
            table: old.table,
            id,
            cookie: if fm.modify_cookie { fm.cookie } else { old.cookie },
            timeouts: old.timeouts(),
            importance: old.importance,
            flags: old.flags,
            actions,
            names: old.names.clone(),
            learned_by,
            stats: Arc::clone(&old.stats),
            times: RuleTimes::new(old.created(), now),
            added_in: old.added_in,
            since,
        };
        self.remove_step(change, at, None);
        self.insert(change, (at.0, MaskHint::default()), &matching, priority, rule);
    }

    /// Prepares the removal of rules, for one reason.
    pub fn remove(&mut self, change: &mut Change, rules: &[RuleRef], why: Removal) {
        rules.iter().for_each(|&rule| self.remove_step(change, rule, Some(why)));
    }

    fn remove_step(&mut self, change: &mut Change, rule: RuleRef, why: Option<Removal>) {
        if self.table_mut(rule.0).classifier.remove(rule.1, change.version) {
            change.steps.push(Step::Removed(rule, why));
            self.rule_went(change, rule, why);
            if let Some(gone) = self.held_rule(rule) {
                change.orphans.extend(self.uncount_learning(&gone));
            }
        }
    }

    fn check_name(
        &self,
        fm: &FlowMod,
        replaced: Option<RuleRef>,
        version: Version,
    ) -> Result<(), FlowModError> {
        let Some(name) = &fm.name else {
            return Ok(());
        };
        let holders = self.names.get(name).into_iter().flatten();
        let taken = holders.filter(|&&at| Some(at) != replaced).any(|&(table, id)| {
            let rule = self.rule((table, id));
            rule.is_some_and(|r| self.find(table, &r.matches, r.priority, version) == Some(id))
        });
        if taken { Err(FlowModError::NameInUse(Arc::clone(name))) } else { Ok(()) }
    }

    /// Whether rules and packet-outs can have these actions: the list is not too long, and the groups, meters
    /// and options that it names exist.
    ///
    /// # Errors
    /// [`FlowModError::ListTooLong`], or [`FlowModError::UnknownGroup`],
    /// [`FlowModError::UnknownMeter`] or [`FlowModError::UnmappedOption`] with the first group, meter
    /// or option that does not exist, or [`FlowModError::OptionTooShort`].
    pub fn check_actions(&self, actions: &[Action], version: Version) -> Result<(), FlowModError> {
        let size = list_size(actions);
        if size > MAX_LIST_SIZE {
            return Err(FlowModError::ListTooLong { size });
        }
        let mut missing = None;
        flow::action::any_action(actions, &mut |a| match a {
            Action::Group(id) if self.group(*id, version).is_none() => {
                missing = Some(FlowModError::UnknownGroup(id.0));
                true
            }
            action => match action.meter() {
                Some(id) if self.meter(id, version).is_none() => {
                    missing = Some(FlowModError::UnknownMeter(id));
                    true
                }
                _ => {
                    missing = self.check_options_of_action(action).err();
                    missing.is_some()
                }
            },
        });
        missing.map_or(Ok(()), Err)
    }

    /// Takes back at most `steps` steps of a prepared change, the latest first. The change was not
    /// published and never will be.
    pub fn roll_back(&mut self, change: &mut Change, steps: usize) {
        let version = change.version;
        let left = change.steps.len().saturating_sub(steps);
        for step in change.steps.drain(left..).rev() {
            match step {
                Step::Inserted((table, id)) => {
                    if let Some(rule) = self.held_rule((table, id)) {
                        self.uncount_learning(&rule);
                    }
                    let held = self.table_mut(table);
                    held.limits.forget_for_eviction(id);
                    held.classifier.discard(id);
                }
                Step::Removed(rule, _) => {
                    self.table_mut(rule.0).classifier.restore(rule.1);
                    self.order_for_eviction(rule);
                    if let Some(back) = self.held_rule(rule) {
                        self.count_learning(&back);
                    }
                }
                Step::GroupAdded(id) => self.groups.take_back(id, version),
                Step::GroupRemoved(id) => self.groups.restore(id, version),
                Step::MeterAdded(id) => self.meters.take_back(id, version),
                Step::MeterRemoved(id) => self.meters.restore(id, version),
            }
        }
    }

    /// Moves rules, groups and meters into `freed` that no lookup at the version `oldest` or later sees, at
    /// most `budget` of each.
    pub fn purge(&mut self, oldest: Version, budget: usize, freed: &mut Freed) {
        let before = freed.rules.len();
        for table in self.tables.iter_mut().flatten() {
            let left = budget.saturating_sub(freed.rules.len());
            if left == 0 {
                break;
            }
            // The budget that freeing has left goes to moving rules.
            let is_moving = table.classifier.is_moving();
            table.classifier.purge(oldest, left, &mut freed.rules);
            if is_moving {
                break;
            }
        }
        for rule in &freed.rules[before..] {
            self.groups.forget_user(rule);
            self.meters.forget_user(rule);
            if let Some(table) = &mut self.tables[usize::from(rule.table.get())] {
                table.timed -= usize::from(rule.has_timeout());
                table.alternatives -= usize::from(rule.is_alternative());
            }
            if let Some(name) = rule.name()
                && let Some(holders) = self.names.get_mut(name)
            {
                let tables = &self.tables;
                holders.retain(|(table, id)| {
                    tables[table.get() as usize]
                        .as_ref()
                        .is_some_and(|t| t.classifier.get(*id).is_some())
                });
                if holders.is_empty() {
                    self.names.remove(name);
                }
            }
        }
        self.groups.purge(oldest, budget.saturating_sub(freed.groups.len()), &mut freed.groups);
        self.meters.purge(oldest, budget.saturating_sub(freed.meters.len()), &mut freed.meters);
    }
}

fn has_cookie(rule: &Rule, value: Cookie, mask: Cookie) -> bool {
    (rule.cookie.0 ^ value.0) & mask.0 == 0
}

fn names_of(fm: &FlowMod) -> Option<Box<RuleNames>> {
    (fm.name.is_some() || fm.label.is_some())
        .then(|| Box::new(RuleNames { name: fm.name.clone(), label: fm.label.clone() }))
}

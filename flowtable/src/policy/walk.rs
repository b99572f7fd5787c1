//! All rules, groups and meters of a bridge, looked at in slices.
//!
//! Others get the lock between the slices, however many of them there are and however slow the caller
//! is with them; and yet what is seen is one state of the tables, because its version is held.

use super::publication::Hold;
use super::rule::RuleRef;
use super::tables::{Scope, TableCursor, Tables};
use super::{Bridge, SLICE};
use crate::classifier::{Entry, Version};
use crate::policy::groups::GroupEntry;
use crate::policy::meters::MeterEntry;
use crate::policy::rule::Rule;
use flow::flow_mod::FlowMod;
use flow::types::{GroupId, MeterId, TableId};
use std::sync::Arc;

/// A walk over the rules that a request names, as they were when it began.
pub struct Walk<'a> {
    bridge: Bridge<'a>,
    filter: &'a FlowMod,
    hold: Hold,
    cursor: TableCursor,
}

impl Walk<'_> {
    /// The version of the tables that the walk shows.
    pub fn version(&self) -> Version {
        self.hold.version()
    }

    /// Shows the next few rules to `visit`, under the lock. False at the end.
    pub fn next_slice(&mut self, mut visit: impl FnMut(Entry<'_, Arc<Rule>>)) -> bool {
        let version = self.hold.version();
        self.bridge.visit_slice(self.filter, &mut self.cursor, version, |tables, at| {
            tables.rule(at).into_iter().for_each(&mut visit);
        })
    }
}

/// A walk over the groups, in ascending order, as they were when it began.
pub struct GroupWalk<'a> {
    bridge: Bridge<'a>,
    hold: Hold,
    last: Option<GroupId>,
}

impl GroupWalk<'_> {
    /// The next few groups; `None` at the end.
    pub fn next_slice(&mut self) -> Option<Vec<Arc<GroupEntry>>> {
        let (tables, _) = self.bridge.policy.tables.read();
        let tables = tables.of(self.bridge.id);
        let slice = tables.groups.behind(self.last, self.hold.version()).take(SLICE);
        let mut is_over = true;
        let looked_at = slice.inspect(|(id, _)| (self.last, is_over) = (Some(*id), false));
        let groups = looked_at.filter_map(|(_, entry)| entry.cloned()).collect();
        (!is_over).then_some(groups)
    }

    /// One of the groups.
    pub fn get(&self, id: GroupId) -> Option<Arc<GroupEntry>> {
        self.bridge
            .policy
            .tables
            .read()
            .0
            .of(self.bridge.id)
            .group(id, self.hold.version())
            .cloned()
    }

    /// How many rules have a group among their actions.
    pub fn users_of(&self, id: GroupId) -> u32 {
        self.bridge.count_users(&self.hold, |tables, last| {
            tables.groups.users(id, last).take(SLICE).collect()
        })
    }
}

/// A walk over the meters, in ascending order, as they were when it began.
pub struct MeterWalk<'a> {
    bridge: Bridge<'a>,
    hold: Hold,
    last: Option<MeterId>,
}

impl MeterWalk<'_> {
    /// The next few meters; `None` at the end.
    pub fn next_slice(&mut self) -> Option<Vec<Arc<MeterEntry>>> {
        let (tables, _) = self.bridge.policy.tables.read();
        let tables = tables.of(self.bridge.id);
        let slice = tables.meters.behind(self.last, self.hold.version()).take(SLICE);
        let mut is_over = true;
        let looked_at = slice.inspect(|(id, _)| (self.last, is_over) = (Some(*id), false));
        let meters = looked_at.filter_map(|(_, entry)| entry.cloned()).collect();
        (!is_over).then_some(meters)
    }

    /// One of the meters.
    pub fn get(&self, id: MeterId) -> Option<Arc<MeterEntry>> {
        let (tables, _) = self.bridge.policy.tables.read();
        tables.of(self.bridge.id).meter(id, self.hold.version()).cloned()
    }

    /// How many rules name a meter in their actions.
    pub fn users_of(&self, id: MeterId) -> u32 {
        self.bridge.count_users(&self.hold, |tables, last| {
            tables.meters.users(id, last).take(SLICE).collect()
        })
    }
}

impl<'a> Bridge<'a> {
    /// A walk through all meters of the bridge, a slice at a time, in the order of their numbers.
    pub fn walk_meters(self) -> MeterWalk<'a> {
        MeterWalk { bridge: self, hold: self.policy.tables.hold(), last: None }
    }

    /// How many rules use a group or a meter at the version that is held. `next` returns the next few users, in
    /// order, that are behind a rule, or from the first one on.
    fn count_users(
        self,
        hold: &Hold,
        next: impl Fn(&Tables, Option<RuleRef>) -> Vec<RuleRef>,
    ) -> u32 {
        let (mut last, mut count) = (None, 0);
        loop {
            let (tables, _) = self.policy.tables.read();
            let tables = tables.of(self.id);
            let users = next(tables, last);
            let Some(user) = users.last() else { return count };
            last = Some(*user);
            let is_visible = |user: &&RuleRef| tables.is_visible(**user, hold.version());
            count += users.iter().filter(is_visible).count() as u32;
        }
    }

    /// All groups.
    pub fn walk_groups(self) -> GroupWalk<'a> {
        GroupWalk { bridge: self, hold: self.policy.tables.hold(), last: None }
    }

    /// The rules that `filter` names. For a deletion these are the ones that it would delete.
    pub fn walk(self, filter: &'a FlowMod) -> Walk<'a> {
        Walk {
            bridge: self,
            filter,
            hold: self.policy.tables.hold(),
            cursor: TableCursor::default(),
        }
    }

    /// The rules that a request names, at the version of a change that is being prepared.
    pub(super) fn select(self, request: &FlowMod, version: Version) -> Vec<RuleRef> {
        if request.command.is_strict() {
            return self.select_strictly(request, version);
        }
        let (mut cursor, mut selected) = (TableCursor::default(), Vec::new());
        loop {
            // Not under the lock: a long list may have to move.
            selected.reserve(SLICE);
            if !self.visit_slice(request, &mut cursor, version, |_, at| selected.push(at)) {
                return selected;
            }
        }
    }

    /// At most one rule of each table.
    fn select_strictly(self, request: &FlowMod, version: Version) -> Vec<RuleRef> {
        let tables: Vec<TableId> = match request.table {
            Some(table) => vec![table],
            None => self.policy.tables.read().0.of(self.id).used().collect(),
        };
        let find = |table| {
            let (tables, _) = self.policy.tables.read();
            tables.of(self.id).find_named(request, table, version)
        };
        tables.into_iter().filter_map(find).collect()
    }

    /// Whether a rule that is to be added overlaps with one of its priority.
    pub(super) fn overlaps(self, request: &FlowMod, version: Version) -> bool {
        let read = || self.policy.tables.read().0;
        if let Some(overlaps) = read().of(self.id).overlaps(request, version) {
            return overlaps;
        }
        let mut first = 0;
        loop {
            let Some(overlaps) =
                read().of(self.id).overlaps_among(first..first + SLICE as u32, request, version)
            else {
                return false;
            };
            if overlaps {
                return true;
            }
            first += SLICE as u32;
        }
    }

    /// Shows `visit` those of the next few rules that a request names at `version`, under the lock. False
    /// at the end.
    fn visit_slice(
        self,
        request: &FlowMod,
        cursor: &mut TableCursor,
        version: Version,
        mut visit: impl FnMut(&Tables, RuleRef),
    ) -> bool {
        let (tables, _) = self.policy.tables.read();
        let tables = tables.of(self.id);
        let Some(slice) = tables.slice(Scope::of(request), cursor, SLICE, version) else {
            return false;
        };
        let named = slice.filter(|(at, rule)| tables.is_named(request, *at, rule));
        named.for_each(|(at, _)| visit(tables, at));
        true
    }
}

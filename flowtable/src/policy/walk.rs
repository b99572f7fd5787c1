//! All rules of a bridge, looked at in slices.
//!
//! Others get the lock between the slices, however many rules there are and however slow the caller
//! is with them; and yet what is seen is one state of the tables, because its version is held.

use super::publication::Hold;
use super::tables::{Place, RuleRef, Scope};
use super::{Bridge, SLICE};
use crate::classifier::{Entry, Version};
use crate::policy::rule::Rule;
use flow::flow_mod::FlowMod;
use std::sync::Arc;

/// A walk over the rules that a request names, as they were when it began.
pub struct Walk<'a> {
    bridge: Bridge<'a>,
    filter: &'a FlowMod,
    hold: Hold,
    place: Place,
}

impl Walk<'_> {
    /// Shows the next few rules to `visit`, under the lock. False at the end.
    pub fn next_slice(&mut self, mut visit: impl FnMut(Entry<'_, Arc<Rule>>)) -> bool {
        let (tables, _) = self.bridge.policy.tables.read();
        let tables = tables.of(self.bridge.id);
        let scope = Scope::of(self.filter);
        let Some(slice) = tables.slice(scope, &mut self.place, SLICE, self.hold.version()) else {
            return false;
        };
        let wanted = slice.filter(|(at, rule)| tables.is_named(self.filter, *at, rule));
        wanted.filter_map(|(at, _)| tables.rule(at)).for_each(&mut visit);
        true
    }
}

impl<'a> Bridge<'a> {
    /// The rules that `filter` names. For a deletion these are the ones that it would delete.
    pub fn walk(self, filter: &'a FlowMod) -> Walk<'a> {
        Walk { bridge: self, filter, hold: self.policy.tables.hold(), place: Place::default() }
    }

    /// The rules that a request names, at the version of a change that is being prepared.
    pub(super) fn select(self, request: &FlowMod, version: Version) -> Vec<RuleRef> {
        if request.command.is_strict() && request.table.is_some() {
            return self.policy.tables.read().0.of(self.id).select(request, version);
        }
        let (mut place, mut selected) = (Place::default(), Vec::new());
        loop {
            let (tables, _) = self.policy.tables.read();
            let tables = tables.of(self.id);
            let slice = tables.slice(Scope::of(request), &mut place, SLICE, version);
            let Some(slice) = slice else { return selected };
            let named = slice.filter(|(at, rule)| tables.is_named(request, *at, rule));
            selected.extend(named.map(|(at, _)| at));
        }
    }
}

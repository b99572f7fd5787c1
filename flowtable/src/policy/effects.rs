//! What a committed transaction did: the rules, groups and meters that it added, changed and removed.
//!
//! An [`Effects`] is small, however much was changed: it names rules, and holds the version from before the
//! transaction, so that the rules that were removed are not freed before they have been told of. Whoever
//! drops it unread has paid for nothing but that.
//!
//! It tells the difference between the version before and the version after. A rule that one request of a
//! transaction adds and a later one deletes was never there.

use super::bridge_id::BridgeId;
use super::groups::GroupEntry;
use super::meters::MeterEntry;
use super::publication::Hold;
use super::rule::{Removal, Rule, RuleRef};
use super::table_settings::VacancyChange;
use super::tables::{Change, Step, Tables};
use super::{Policy, SLICE};
use crate::classifier::{Entry, Version};
use flow::types::{GroupId, MeterId};
use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// One thing that a transaction did.
#[derive(Debug)]
pub enum Effect<'a> {
    /// There is a new rule.
    RuleAdded(Entry<'a, Arc<Rule>>),
    /// A request modified a rule: what it is now, and what it was before, which may be the same; `None` if that
    /// has been freed.
    RuleChanged(Entry<'a, Arc<Rule>>, Option<&'a Arc<Rule>>),
    /// A rule is gone. Its counters are final once every worker has finished the batch that it was at when
    /// the transaction was committed, and cached flows have added what they counted.
    RuleRemoved(Entry<'a, Arc<Rule>>, Removal),
    /// There is a new group.
    GroupAdded(&'a Arc<GroupEntry>),
    /// A group has another type or other buckets; this is what it is now.
    GroupChanged(&'a Arc<GroupEntry>),
    /// A group is gone.
    GroupRemoved(&'a Arc<GroupEntry>),
    /// There is a new meter.
    MeterAdded(&'a Arc<MeterEntry>),
    /// A meter has another unit, other flags or other bands; this is what it is now.
    MeterChanged(&'a Arc<MeterEntry>),
    /// A meter is gone.
    MeterRemoved(&'a Arc<MeterEntry>),
}

/// What a committed transaction did. See the [module](self).
#[derive(Debug)]
pub struct Effects {
    bridge: BridgeId,
    change: Change,
    before: Hold,
    is_expiry: bool,
    annotation: Option<Box<dyn Any + Send + Sync>>,
}

impl Effects {
    pub(super) fn new(
        bridge: BridgeId,
        change: Change,
        before: Hold,
        is_expiry: bool,
        annotation: Option<Box<dyn Any + Send + Sync>>,
    ) -> Self {
        Self { bridge, change, before, is_expiry, annotation }
    }

    /// The bridge that was changed.
    pub fn bridge(&self) -> BridgeId {
        self.bridge
    }

    /// The transaction changed nothing.
    pub fn is_empty(&self) -> bool {
        self.change.is_empty()
    }

    /// Steps that the transaction took: at least as many as there are effects.
    pub fn steps(&self) -> usize {
        self.change.steps().len()
    }

    /// The version of the tables that has what the transaction did.
    pub fn version(&self) -> Version {
        self.change.version()
    }

    /// Nobody asked for it: it removed rules whose time was over.
    pub fn is_expiry(&self) -> bool {
        self.is_expiry
    }

    /// What controllers are to hear of how full tables are.
    pub fn vacancy_changes(&self) -> &[VacancyChange] {
        &self.change.vacancy_changes
    }

    /// What whoever made the transaction tells observers of it
    /// ([`Transaction::annotate`](super::Transaction::annotate)).
    pub fn annotation<T: Any>(&self) -> Option<&T> {
        self.annotation.as_deref()?.downcast_ref()
    }

    /// How many rules were added, if nothing but additions of rules was done: no rule is gone without another
    /// one at its place. A rule that a later request of the transaction replaced counts, too.
    pub fn additions(&self) -> Option<usize> {
        let mut count = 0;
        for step in self.change.steps() {
            match step {
                Step::Inserted(_) => count += 1,
                Step::Removed(_, Some(Removal::Replaced)) => {}
                _ => return None,
            }
        }
        Some(count)
    }

    /// Rules were removed, or replaced.
    pub fn has_removed_rules(&self) -> bool {
        self.change.steps().iter().any(|step| matches!(step, Step::Removed(_, Some(_))))
    }
}

/// Tells what a transaction did, some steps at a time.
#[derive(Debug)]
pub struct EffectsWalk<'a> {
    policy: &'a Policy,
    effects: &'a Effects,
    place: usize,
    /// The rule that the next one to be inserted takes the place of, by a modification.
    modified: Option<RuleRef>,
    /// Rules that came and went within the transaction, and whether they stood for one that was there before.
    passing: HashMap<RuleRef, bool>,
    groups: HashSet<GroupId>,
    meters: HashSet<MeterId>,
    missed: u64,
}

impl Policy {
    /// Walks over what a transaction of this policy did.
    pub fn effects<'a>(&'a self, effects: &'a Effects) -> EffectsWalk<'a> {
        EffectsWalk {
            policy: self,
            effects,
            place: 0,
            modified: None,
            passing: HashMap::new(),
            groups: HashSet::new(),
            meters: HashSet::new(),
            missed: 0,
        }
    }
}

impl EffectsWalk<'_> {
    /// Tells `visit` of the next few effects, under the lock of the tables. False at the end.
    pub fn next_slice(&mut self, mut visit: impl FnMut(Effect<'_>)) -> bool {
        let steps = self.effects.change.steps();
        let end = steps.len().min(self.place + SLICE);
        let Some(slice) = steps.get(self.place..end).filter(|slice| !slice.is_empty()) else {
            return false;
        };
        self.place = end;
        let (tables, _) = self.policy.tables.read();
        let tables = tables.of(self.effects.bridge);
        for step in slice {
            self.tell(tables, step, &mut visit);
        }
        true
    }

    /// Rules that could not be told of, because too many removed ones waited to be freed.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn tell(&mut self, tables: &Tables, step: &Step, visit: &mut impl FnMut(Effect<'_>)) {
        match *step {
            Step::Removed(rule, None) => self.modified = Some(rule),
            Step::Removed(rule, Some(why)) => {
                if self.was_there(tables, rule) {
                    self.tell_rule(tables, rule, |entry| visit(Effect::RuleRemoved(entry, why)));
                }
            }
            Step::Inserted(rule) => {
                let modified = self.modified.take();
                let was_there = modified.is_some_and(|old| self.was_there(tables, old));
                let before = modified.and_then(|old| tables.rule(old));
                if !tables.is_visible(rule, self.after()) {
                    self.passing.insert(rule, was_there);
                } else if was_there {
                    let before = before.map(|entry| entry.value);
                    self.tell_rule(tables, rule, |entry| visit(Effect::RuleChanged(entry, before)));
                } else {
                    self.tell_rule(tables, rule, |entry| visit(Effect::RuleAdded(entry)));
                }
            }
            Step::GroupAdded(id) | Step::GroupRemoved(id) => {
                if self.groups.insert(id) {
                    self.tell_group(tables, id, visit);
                }
            }
            Step::MeterAdded(id) | Step::MeterRemoved(id) => {
                if self.meters.insert(id) {
                    self.tell_meter(tables, id, visit);
                }
            }
        }
    }

    /// Whether a rule is, or stands for, one from before the transaction.
    fn was_there(&self, tables: &Tables, rule: RuleRef) -> bool {
        let stands_for = self.passing.get(&rule).copied();
        stands_for.unwrap_or_else(|| tables.is_visible(rule, self.before()))
    }

    fn tell_rule(
        &mut self,
        tables: &Tables,
        rule: RuleRef,
        visit: impl FnOnce(Entry<'_, Arc<Rule>>),
    ) {
        match tables.rule(rule) {
            Some(entry) => visit(entry),
            None => self.missed += 1,
        }
    }

    fn tell_group(&self, tables: &Tables, id: GroupId, visit: &mut impl FnMut(Effect<'_>)) {
        match (tables.group(id, self.before()), tables.group(id, self.after())) {
            (None, Some(group)) => visit(Effect::GroupAdded(group)),
            (Some(_), Some(group)) => visit(Effect::GroupChanged(group)),
            (Some(group), None) => visit(Effect::GroupRemoved(group)),
            (None, None) => {}
        }
    }

    fn tell_meter(&self, tables: &Tables, id: MeterId, visit: &mut impl FnMut(Effect<'_>)) {
        match (tables.meter(id, self.before()), tables.meter(id, self.after())) {
            (None, Some(meter)) => visit(Effect::MeterAdded(meter)),
            (Some(_), Some(meter)) => visit(Effect::MeterChanged(meter)),
            (Some(meter), None) => visit(Effect::MeterRemoved(meter)),
            (None, None) => {}
        }
    }

    fn before(&self) -> Version {
        self.effects.before.version()
    }

    fn after(&self) -> Version {
        self.effects.change.version()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{add_groups, policy};
    use super::*;
    use flow::flow_mod::Command;
    use flow::group::GroupMod;
    use flow::text::{
        MeterCommand, ParseContext, parse_flow_file_line, parse_meter, write_actions,
    };
    use flow::types::OfVersion;
    use std::time::Duration;

    const NOW: Duration = Duration::from_secs(2);

    /// What a transaction did in words: `added in 0: output:1`.
    pub(in crate::policy) fn told(policy: &Policy, effects: &Effects) -> Vec<String> {
        let rule = |what: &str, entry: Entry<'_, Arc<Rule>>| {
            let mut actions = String::new();
            write_actions(&mut actions, &entry.value.actions, &Default::default());
            let actions = actions.trim_start_matches("output:");
            format!("{what} in {}: {actions}", entry.value.table)
        };
        let group = |what: &str, entry: &GroupEntry| format!("{what} group {}", entry.group.id.0);
        let meter = |what: &str, entry: &MeterEntry| format!("{what} meter {}", entry.meter.id);
        let mut walk = policy.effects(effects);
        let mut told = Vec::new();
        while walk.next_slice(|effect| {
            told.push(match effect {
                Effect::RuleAdded(entry) => rule("added", entry),
                Effect::RuleChanged(entry, _) => rule("changed", entry),
                Effect::RuleRemoved(entry, why) => rule(&format!("removed {}", why.name()), entry),
                Effect::GroupAdded(entry) => group("added", entry),
                Effect::GroupChanged(entry) => group("changed", entry),
                Effect::GroupRemoved(entry) => group("removed", entry),
                Effect::MeterAdded(entry) => meter("added", entry),
                Effect::MeterChanged(entry) => meter("changed", entry),
                Effect::MeterRemoved(entry) => meter("removed", entry),
            });
        }) {}
        assert_eq!(walk.missed(), 0);
        told
    }

    /// Applies the lines of a file of rules as one transaction.
    fn apply(policy: &Policy, lines: &[&str]) -> Arc<Effects> {
        let context = ParseContext {
            version: OfVersion::OpenFlow15,
            command: Command::Add,
            ..ParseContext::default()
        };
        let requests: Vec<_> =
            lines.iter().map(|line| parse_flow_file_line(line, &context).expect(line)).collect();
        policy.bridge(BridgeId::FIRST).apply(&requests, NOW).expect("applied")
    }

    fn check(before: &[&str], lines: &[&str], expected: &[&str]) {
        let policy = policy(before);
        let effects = apply(&policy, lines);
        assert_eq!(told(&policy, &effects), expected, "{lines:?} on {before:?}");
        assert!(effects.steps() >= expected.len());
        let removes = expected.iter().any(|told| told.starts_with("removed"));
        assert!(effects.has_removed_rules() || !removes);
    }

    #[test]
    fn rules_are_added_changed_and_removed() {
        check(&[], &["ip,actions=1", "table=1,arp,actions=2"], &["added in 0: 1", "added in 1: 2"]);
        check(&["ip,actions=1"], &["modify ip,actions=2"], &["changed in 0: 2"]);
        check(&["ip,actions=1"], &["delete tcp"], &[]);
        check(&["ip,actions=1"], &["delete ip"], &["removed delete in 0: 1"]);
    }

    #[test]
    fn a_rule_in_the_place_of_another_one_replaces_it() {
        check(&["ip,actions=1"], &["ip,actions=2"], &["removed replaced in 0: 1", "added in 0: 2"]);
    }

    #[test]
    fn only_the_difference_between_before_and_after_is_told() {
        check(&[], &["ip,actions=1", "delete ip"], &[]);
        check(&[], &["ip,actions=1", "modify ip,actions=2"], &["added in 0: 2"]);
        check(&[], &["ip,actions=1", "ip,actions=2"], &["added in 0: 2"]);
        let twice = ["modify ip,actions=2", "modify ip,actions=3"];
        check(&["ip,actions=1"], &twice, &["changed in 0: 3"]);
        let gone = ["modify ip,actions=2", "delete ip"];
        check(&["ip,actions=1"], &gone, &["removed delete in 0: 2"]);
        check(&[], &["ip,actions=1", "modify ip,actions=2", "delete ip"], &[]);
    }

    #[test]
    fn a_group_takes_its_rules_along() {
        let policy = policy(&[]);
        add_groups(&policy, &["group_id=1,type=all,bucket=output:1"]);
        apply(&policy, &["ip,actions=group:1"]);
        let mut transaction = policy.bridge(BridgeId::FIRST).begin();
        let all = GroupMod::Delete(GroupId::ALL);
        transaction.apply_group(&all, NOW).expect("deleted");
        let effects = transaction.commit();
        let expected = ["removed group 1", "removed group_delete in 0: group:1"];
        assert_eq!(told(&policy, &effects), expected);
    }

    #[test]
    fn a_meter_takes_its_rules_along() {
        let policy = policy(&[]);
        let change = |texts: &[(MeterCommand, &str)]| {
            let mut transaction = policy.bridge(BridgeId::FIRST).begin();
            for (command, text) in texts {
                let request = parse_meter(text, *command).expect(text);
                transaction.apply_meter(&request, NOW).expect(text);
            }
            told(&policy, &transaction.commit())
        };
        let add = (MeterCommand::Add, "meter=1,kbps,bands=type=drop,rate=1");
        let modify = (MeterCommand::Modify, "meter=1,kbps,bands=type=drop,rate=2");
        let delete = (MeterCommand::Delete, "meter=1");
        assert_eq!(change(&[add]), ["added meter 1"]);
        assert_eq!(change(&[modify]), ["changed meter 1"]);
        apply(&policy, &["ip,actions=meter:1,output:2"]);
        let expected = ["removed meter 1", "removed meter_delete in 0: meter:1,output:2"];
        assert_eq!(change(&[delete]), expected);
        assert!(change(&[add, modify, delete]).is_empty());
    }

    #[test]
    fn additions_are_counted_if_there_is_nothing_else() {
        let additions = |lines: &[&str]| apply(&policy(&["ip,actions=1"]), lines).additions();
        assert_eq!(additions(&["arp,actions=1", "arp,actions=2", "ip,actions=2"]), Some(3));
        assert_eq!(additions(&["arp,actions=1", "modify ip,actions=2"]), None);
        assert_eq!(additions(&["arp,actions=1", "delete ip"]), None);
    }

    #[test]
    fn an_annotation_is_there_for_who_knows_its_type() {
        let policy = policy(&[]);
        let mut transaction = policy.bridge(BridgeId::FIRST).begin();
        transaction.annotate(Box::new(5_u32));
        let effects = transaction.commit();
        assert_eq!(effects.annotation::<u32>(), Some(&5));
        assert_eq!(effects.annotation::<u64>(), None);
        assert_eq!(apply(&policy, &["ip,actions=1"]).annotation::<u32>(), None);
    }

    #[test]
    fn what_is_freed_is_told_before() {
        let policy = policy(&["ip,actions=1"]);
        let effects = apply(&policy, &["delete ip"]);
        let later = apply(&policy, &["arp,actions=3"]);
        while policy.purge() {}
        assert_eq!(told(&policy, &effects), ["removed delete in 0: 1"]);
        drop(effects);
        while policy.purge() {}
        assert_eq!(told(&policy, &later), ["added in 0: 3"]);
        assert_eq!(policy.bridge(BridgeId::FIRST).snapshot().tables().removed_len(), 0);
    }
}

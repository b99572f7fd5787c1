//! Makes records of changes that the policy told of, and of everything that the tables have.

use super::change::{Change, KeptHost};
use super::error::StateError;
use super::journal::{Filling, Record};
use super::rule_bytes::{AddedRules, WrittenRule};
use flow::Match;
use flow::flow_mod::{Command, FlowMod};
use flowtable::policy::effects::{Effect, Effects};
use flowtable::policy::mac_table::{HostChange, HostEvent};
use flowtable::policy::{Bridge, Policy};
use std::borrow::Cow;
use std::time::Duration;

/// A record with as many bytes gets no further rule: the next record begins.
const RECORD_SIZE: usize = 1 << 20;

/// Appends a record of a transaction's effects on the bridge called `name`. Returns false if the policy has
/// freed some of the removed rules already, so that the record is not complete.
pub(super) fn effects(
    out: &mut Vec<u8>,
    policy: &Policy,
    effects: &Effects,
    name: &str,
    now: Duration,
) -> bool {
    let mut record = Record::begin(out);
    record.push(&Change::Bridge(name.into()));
    let added = effects.annotation::<AddedRules>();
    if let Some(changes) = added.and_then(|added| added.changes_of(effects)) {
        record.push_bytes(changes);
        record.finish();
        return true;
    }
    let mut walk = policy.effects(effects);
    while walk.next_slice(|effect| match effect {
        Effect::RuleAdded(rule) | Effect::RuleChanged(rule, _) => {
            record.push_rule(&WrittenRule::of(rule.value, rule.priority, &rule.matches, now));
        }
        Effect::RuleRemoved(rule, _) => {
            record.push_no_rule(rule.value.table, rule.priority, &rule.matches);
        }
        Effect::GroupAdded(entry) | Effect::GroupChanged(entry) => {
            record.push(&Change::Group(Cow::Borrowed(&entry.group)));
        }
        Effect::GroupRemoved(entry) => record.push(&Change::NoGroup(entry.group.id)),
        Effect::MeterAdded(entry) | Effect::MeterChanged(entry) => {
            record.push(&Change::Meter(Cow::Borrowed(&entry.meter)));
        }
        Effect::MeterRemoved(entry) => record.push(&Change::NoMeter(entry.meter.id)),
    }) {}
    let is_complete = walk.missed() == 0;
    record.finish();
    is_complete
}

/// Whether a change of the MAC table can be about a static host. Only a user adds static hosts,
/// and they do not age.
pub(super) fn may_be_static(change: &HostChange) -> bool {
    use flowtable::policy::mac_table::Forgetting::Flushed;
    matches!(change.what, HostEvent::Given { .. } | HostEvent::Forgotten { why: Flushed, .. })
}

/// Appends a record of static hosts that were added to the bridge called `name` or removed from it.
pub(super) fn hosts(out: &mut Vec<u8>, changes: &[HostChange], name: &str) {
    let mut record = Record::begin(out);
    record.push(&Change::Bridge(name.into()));
    for change in changes {
        record.push(&match change.what {
            HostEvent::Given { port } => {
                Change::Host(KeptHost { vlan: change.key.vlan, mac: change.key.mac, port })
            }
            _ => Change::NoHost(change.key.into()),
        });
    }
    record.finish();
}

/// Appends one record with all of these changes.
pub(super) fn changes(out: &mut Vec<u8>, changes: &[Change<'_>]) {
    let mut record = Record::begin(out);
    changes.iter().for_each(|change| record.push(change));
    record.finish();
}

/// Writes records of all groups, meters, rules and static hosts of a bridge. Other threads may change them
/// meanwhile; the policy tells the keeper of these changes, and the keeper appends further records.
pub(super) fn everything(
    to: &mut Filling,
    bridge: Bridge<'_>,
    name: &str,
    now: Duration,
) -> Result<(), StateError> {
    let mut out = Vec::new();
    let head = Change::Bridge(name.into());
    let mut record = Record::begin(&mut out);
    record.push(&head);
    for (key, entry) in bridge.hosts().into_iter().filter(|(_, entry)| entry.is_static) {
        record.push(&Change::Host(KeptHost { vlan: key.vlan, mac: key.mac, port: entry.port }));
    }
    let mut meters = bridge.walk_meters();
    while let Some(slice) = meters.next_slice() {
        slice.iter().for_each(|entry| record.push(&Change::Meter(Cow::Borrowed(&entry.meter))));
    }
    let mut groups = bridge.walk_groups();
    while let Some(slice) = groups.next_slice() {
        slice.iter().for_each(|entry| record.push(&Change::Group(Cow::Borrowed(&entry.group))));
    }
    let every = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
    let mut walk = bridge.walk(&every);
    while walk.next_slice(|rule| {
        record.push_rule(&WrittenRule::of(rule.value, rule.priority, &rule.matches, now));
    }) {
        if record.size() > RECORD_SIZE {
            record.finish();
            to.write(&out)?;
            out.clear();
            record = Record::begin(&mut out);
            record.push(&head);
        }
    }
    record.finish();
    to.write(&out)
}

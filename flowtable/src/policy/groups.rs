//! Groups under versions, with their counters.

use super::group_life::GroupLife;
use super::numbered::Numbered;
use super::rule::{Rule, RuleRef};
use super::sync::Mutex;
use crate::classifier::Version;
use flow::action::{Action, any_action};
use flow::group::Group;
use flow::types::GroupId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A group with its counters, shared by all who refer to it.
#[derive(Debug)]
pub struct GroupEntry {
    /// The group's type and buckets.
    pub group: Group,
    /// The group's age and counters, which a modified group shares with the group before it.
    pub counters: Arc<GroupCounters>,
    /// The hash function that chooses a bucket of a `select` group.
    pub hasher: ahash::RandomState,
    /// Which buckets are alive, as the latest translation found out that had to; `None` before the first one.
    pub(super) life: Mutex<Option<Arc<GroupLife>>>,
}

/// Counters and age of a group.
#[derive(Debug)]
pub struct GroupCounters {
    created_ms: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    buckets: Vec<(AtomicU64, AtomicU64)>,
}

impl GroupCounters {
    pub(super) fn new(created: Duration, buckets: usize) -> Self {
        Self {
            created_ms: AtomicU64::new(created.as_millis() as u64),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            buckets: (0..buckets).map(|_| Default::default()).collect(),
        }
    }

    /// The time when the group was added, on the switch's monotonic clock.
    pub fn created(&self) -> Duration {
        Duration::from_millis(self.created_ms.load(Ordering::Relaxed))
    }

    /// Replaces the time when the group was added: the group comes from another process, whose clock began at
    /// the same time.
    pub fn set_created(&self, created: Duration) {
        self.created_ms.store(created.as_millis() as u64, Ordering::Relaxed);
    }

    /// Counts packets that used the bucket with index `bucket`.
    pub fn add_bucket(&self, bucket: usize, packets: u64, bytes: u64) {
        if let Some((p, b)) = self.buckets.get(bucket) {
            p.fetch_add(packets, Ordering::Relaxed);
            b.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Counts packets that used the group.
    pub fn add(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Number of packets that used the group, and of their bytes.
    pub fn totals(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// For each bucket the number of packets that used it, and of their bytes.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets.iter().map(|(p, b)| (p.load(Ordering::Relaxed), b.load(Ordering::Relaxed)))
    }
}

/// The groups of a bridge, and which rules use them.
#[derive(Debug, Default)]
pub(super) struct Groups {
    numbered: Numbered<GroupId, Arc<GroupEntry>>,
    /// For each group how many references other groups have to it, in actions and by watching
    /// it, until they are freed.
    references: BTreeMap<GroupId, usize>,
    /// The versions of the two latest changes, the latest one first. It may not be published yet.
    changed: [Version; 2],
}

impl Groups {
    /// The group with this number at a version; `None` if there is none.
    pub(super) fn get(&self, id: GroupId, version: Version) -> Option<&Arc<GroupEntry>> {
        self.numbered.get(id, version)
    }

    /// The groups with higher numbers than `after` at a version, in ascending order; `None` for those
    /// that it does not see.
    pub(super) fn behind(
        &self,
        after: Option<GroupId>,
        version: Version,
    ) -> impl Iterator<Item = (GroupId, Option<&Arc<GroupEntry>>)> {
        self.numbered.behind(after, version)
    }

    /// The version of the latest change of groups that `version`, the published one, sees.
    pub(super) fn changed_at(&self, version: Version) -> Version {
        let [latest, before] = self.changed;
        if latest <= version { latest } else { before }
    }

    /// Notes a change under `version`, which is not published yet.
    fn note_change(&mut self, version: Version) {
        if self.changed[0] != version {
            self.changed = [version, self.changed[0]];
        }
    }

    /// Forgets the changes under `version`, which are taken back.
    fn forget_change(&mut self, version: Version) {
        if self.changed[0] == version {
            self.changed[0] = self.changed[1];
        }
    }

    /// Adds a group that is seen from `version` on.
    pub(super) fn add(&mut self, entry: Arc<GroupEntry>, version: Version) {
        self.note_change(version);
        for (_, id) in referred_groups(&entry.group) {
            *self.references.entry(id).or_default() += 1;
        }
        self.numbered.add(entry.group.id, entry, version);
    }

    /// Takes back [`add`](Self::add), before the version was published.
    pub(super) fn take_back(&mut self, id: GroupId, version: Version) {
        self.forget_change(version);
        let gone = self.numbered.take_back(id, version);
        gone.iter().for_each(|entry| forget_references(&mut self.references, &entry.group));
    }

    /// Hides a group from `version` on. Returns whether there was one to hide.
    pub(super) fn hide(&mut self, id: GroupId, version: Version) -> bool {
        let is_hidden = self.numbered.hide(id, version);
        if is_hidden {
            self.note_change(version);
        }
        is_hidden
    }

    /// Takes back the latest [`hide`](Self::hide).
    pub(super) fn restore(&mut self, id: GroupId, version: Version) {
        self.forget_change(version);
        self.numbered.restore(id, version);
    }

    /// Moves at most `budget` groups into `freed` that no reader at the version `oldest` or later can see.
    pub(super) fn purge(
        &mut self,
        oldest: Version,
        budget: usize,
        freed: &mut Vec<Arc<GroupEntry>>,
    ) {
        self.numbered.purge(oldest, budget, |entry| {
            forget_references(&mut self.references, &entry.group);
            freed.push(entry);
        });
    }

    /// Whether a group that is not freed refers to this one. It need not exist.
    pub(super) fn is_referred_to(&self, id: GroupId) -> bool {
        self.references.contains_key(&id)
    }

    /// Number of groups that wait to be freed.
    pub(super) fn removed_len(&self) -> usize {
        self.numbered.removed_len()
    }

    /// Remembers which groups a rule uses.
    pub(super) fn add_user(&mut self, rule: &Rule) {
        rule.each_group(|id| self.numbered.add_user(id, rule.place()));
    }

    /// Forgets a rule that is freed.
    pub(super) fn forget_user(&mut self, rule: &Rule) {
        rule.each_group(|id| self.numbered.forget_user(id, rule.place()));
    }

    /// The rules that use a group, visible or not, in order, beginning behind `after`.
    pub(super) fn users(
        &self,
        id: GroupId,
        after: Option<RuleRef>,
    ) -> impl Iterator<Item = RuleRef> {
        self.numbered.users(id, after)
    }
}

fn forget_references(references: &mut BTreeMap<GroupId, usize>, group: &Group) {
    for (_, id) in referred_groups(group) {
        if let Some(count) = references.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                references.remove(&id);
            }
        }
    }
}

/// How a group refers to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// A bucket sends packets to the other group.
    Executes,
    /// A bucket is alive while the other group is.
    Watches,
}

/// The groups to which a group's buckets refer, each as often as they do.
pub(super) fn referred_groups(group: &Group) -> impl Iterator<Item = (Reference, GroupId)> {
    let executed = group.buckets.iter().flat_map(|bucket| named_groups(&bucket.actions));
    let watched = group.buckets.iter().filter_map(|bucket| bucket.watch_group);
    let executed = executed.map(|id| (Reference::Executes, id));
    executed.chain(watched.map(|id| (Reference::Watches, id)))
}

/// The groups that a list of actions names, those in nested lists included.
fn named_groups(actions: &[Action]) -> Vec<GroupId> {
    let mut found = Vec::new();
    any_action(actions, &mut |action| {
        if let Action::Group(id) = action {
            found.push(*id);
        }
        false
    });
    found
}

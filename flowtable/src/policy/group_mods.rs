//! Changes of groups: what is allowed, and what becomes of the rules that use them.

use super::effects::Removal;
use super::groups::{GroupCounters, GroupEntry, GroupSlot};
use super::tables::{Change, FlowModError, RuleRef, Step, Tables};
use crate::classifier::Version;
use flow::action::Action;
use flow::group::{Bucket, BucketPlace, Group, GroupMod, GroupType};
use flow::types::GroupId;
use std::sync::Arc;
use std::time::Duration;

impl Tables {
    /// Prepares a change of a group.
    ///
    /// # Errors
    /// Why it is refused; the caller rolls the change back.
    pub fn prepare_group(
        &mut self,
        change: &mut Change,
        request: &GroupMod,
        now: Duration,
    ) -> Result<(), FlowModError> {
        let exists = |id| self.group(id, change.version).is_some();
        match request {
            GroupMod::Delete(id) => {
                self.delete_groups(change, *id);
                Ok(())
            }
            GroupMod::Add(group) if exists(group.id) => Err(FlowModError::GroupExists(group.id.0)),
            GroupMod::Modify(group) if !exists(group.id) => {
                Err(FlowModError::NoSuchGroup(group.id.0))
            }
            GroupMod::Add(group) | GroupMod::Modify(group) | GroupMod::AddOrModify(group) => {
                self.put_group(change, group.clone(), now)
            }
            GroupMod::InsertBuckets { group, place, buckets } => {
                let mut changed = self.existing_group(*group, change.version)?;
                insert_buckets(&mut changed, *place, buckets)?;
                self.put_group(change, changed, now)
            }
            GroupMod::RemoveBuckets { group, place } => {
                let mut changed = self.existing_group(*group, change.version)?;
                remove_buckets(&mut changed, *place)?;
                self.put_group(change, changed, now)
            }
        }
    }

    fn existing_group(&self, id: GroupId, version: Version) -> Result<Group, FlowModError> {
        let entry = self.group(id, version).ok_or(FlowModError::NoSuchGroup(id.0))?;
        Ok(entry.group.clone())
    }

    /// Adds a group or replaces it; a replaced one keeps its age.
    fn put_group(
        &mut self,
        change: &mut Change,
        group: Group,
        now: Duration,
    ) -> Result<(), FlowModError> {
        self.check_group(&group, change.version)?;
        let id = group.id;
        let old = self.group(id, change.version);
        let created = old.map_or(now, |old| old.counters.created);
        self.hide_group(change, id);
        let entry = Arc::new(GroupEntry {
            counters: Arc::new(GroupCounters::new(created, group.buckets.len())),
            group,
            hasher: ahash::RandomState::with_seeds(self.seed, u64::from(id.0), 0x9209, 1),
        });
        let slot = GroupSlot { added: change.version, removed: None, entry };
        self.groups.entry(id).or_default().push(slot);
        change.steps.push(Step::GroupAdded(id));
        Ok(())
    }

    fn check_group(&self, group: &Group, version: Version) -> Result<(), FlowModError> {
        let invalid = |problem| Err(FlowModError::InvalidGroup { group: group.id.0, problem });
        if group.id > GroupId::MAX {
            return invalid("the largest group number is 4294967040 (0xffffff00)");
        }
        if group.kind == GroupType::Indirect && group.buckets.len() != 1 {
            return invalid("an indirect group has exactly one bucket");
        }
        let unwatched = |b: &flow::group::Bucket| b.watch_port.is_none() && b.watch_group.is_none();
        if group.kind == GroupType::FastFailover && group.buckets.iter().any(unwatched) {
            return invalid("each bucket of a fast failover group watches a port or a group");
        }
        // A group that a bucket names may come later, as in Open vSwitch; only circles are refused.
        let loops = |action: &Action| match action {
            Action::Group(other) => {
                *other == group.id || self.reaches(*other, group.id, version, 0)
            }
            _ => false,
        };
        if group.buckets.iter().flat_map(|bucket| &bucket.actions).any(loops) {
            return Err(FlowModError::GroupLoop(group.id.0));
        }
        Ok(())
    }

    fn reaches(&self, from: GroupId, to: GroupId, version: Version, depth: u32) -> bool {
        let Some(entry) = self.group(from, version).filter(|_| depth < 64) else {
            return false;
        };
        let actions = entry.group.buckets.iter().flat_map(|b| &b.actions);
        actions.into_iter().any(|a| match a {
            Action::Group(next) => *next == to || self.reaches(*next, to, version, depth + 1),
            _ => false,
        })
    }

    /// Deletes a group, or all, with the rules that use it.
    fn delete_groups(&mut self, change: &mut Change, id: GroupId) {
        let version = change.version;
        let ids: Vec<GroupId> = self
            .groups(version)
            .map(|e| e.group.id)
            .filter(|&g| id == GroupId::ALL || g == id)
            .collect();
        for &id in &ids {
            self.hide_group(change, id);
        }
        let users: Vec<RuleRef> = self
            .rules(None, version)
            .filter(|e| ids.iter().any(|&id| e.value.uses_group(id)))
            .map(|e| (e.value.table, e.id))
            .collect();
        self.remove(change, &users, Removal::GroupDelete);
    }

    fn hide_group(&mut self, change: &mut Change, id: GroupId) {
        let slots = self.groups.entry(id).or_default();
        if let Some(slot) = slots.iter_mut().find(|s| s.is_visible(change.version)) {
            slot.removed = Some(change.version);
            change.steps.push(Step::GroupRemoved(id));
        }
    }
}

/// Where buckets are put or taken, as an index.
fn bucket_index(group: &Group, id: u32) -> Result<usize, FlowModError> {
    let unknown = FlowModError::UnknownBucket { group: group.id.0, bucket: id };
    group.buckets.iter().position(|b| b.id == id).ok_or(unknown)
}

fn insert_buckets(
    group: &mut Group,
    place: BucketPlace,
    buckets: &[Bucket],
) -> Result<(), FlowModError> {
    for new in buckets {
        if group.buckets.iter().any(|b| b.id == new.id) {
            return Err(FlowModError::BucketExists { group: group.id.0, bucket: new.id });
        }
    }
    let at = match place {
        BucketPlace::First => 0,
        BucketPlace::Last | BucketPlace::All => group.buckets.len(),
        BucketPlace::Id(id) => bucket_index(group, id)? + 1,
    };
    group.buckets.splice(at..at, buckets.iter().cloned());
    Ok(())
}

fn remove_buckets(group: &mut Group, place: BucketPlace) -> Result<(), FlowModError> {
    match place {
        BucketPlace::All => group.buckets.clear(),
        BucketPlace::First if !group.buckets.is_empty() => {
            group.buckets.remove(0);
        }
        BucketPlace::First => {}
        BucketPlace::Last => {
            group.buckets.pop();
        }
        BucketPlace::Id(id) => {
            let at = bucket_index(group, id)?;
            group.buckets.remove(at);
        }
    }
    Ok(())
}

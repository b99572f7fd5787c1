//! Changes of groups: what is allowed, and what becomes of the rules that use them.
//!
//! As with rules, no step holds the lock for more than a few groups or rules, however many a request is
//! about: all groups may be deleted at once, and groups may name others in long chains.

use super::SLICE;
use super::groups::{GroupCounters, GroupEntry, Reference, referred_groups};
use super::rule::Removal;
use super::sync::Mutex;
use super::tables::{Change, FlowModError, Step, Tables};
use super::transaction::Transaction;
use crate::classifier::Version;
use flow::action::MAX_LIST_SIZE;
use flow::group::{Bucket, BucketPlace, Group, GroupMod, GroupType};
use flow::types::GroupId;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

impl Transaction<'_> {
    /// Prepares a change of a group.
    ///
    /// # Errors
    /// Why it is refused. The transaction should be dropped then.
    pub fn apply_group(&mut self, request: &GroupMod, now: Duration) -> Result<(), FlowModError> {
        let Some(version) = self.change.as_ref().map(Change::version) else {
            return Ok(());
        };
        if let GroupMod::Delete(id) = request {
            self.delete_groups(*id, version);
            return Ok(());
        }
        let group =
            self.bridge.policy.tables.read().0.of(self.bridge.id).group_after(request, version)?;
        check(&group)?;
        // A group that a bucket names may come later, as in Open vSwitch; only circles are refused.
        if self.leads_back(&group, version, Reference::Executes) {
            return Err(FlowModError::GroupLoop(group.id.0));
        }
        if self.leads_back(&group, version, Reference::Watches) {
            return Err(FlowModError::WatchLoop(group.id.0));
        }
        if let Some(change) = &mut self.change {
            change.reserve(2);
            self.bridge.step(|tables| tables.put_group(change, group, now));
        }
        Ok(())
    }

    /// Whether references of one kind would lead from a group back to it. Looks at each group once, and at none
    /// if no other group refers to this one: then the references end elsewhere.
    fn leads_back(&self, group: &Group, version: Version, kind: Reference) -> bool {
        let mut found: HashSet<GroupId> = next_groups(group, kind).collect();
        if found.contains(&group.id) {
            return true;
        }
        if !self.bridge.policy.tables.read().0.of(self.bridge.id).groups.is_referred_to(group.id) {
            return false;
        }
        let mut left: Vec<GroupId> = found.iter().copied().collect();
        while !left.is_empty() {
            let (tables, _) = self.bridge.policy.tables.read();
            let tables = tables.of(self.bridge.id);
            for id in left.split_off(left.len().saturating_sub(SLICE)) {
                if id == group.id {
                    return true;
                }
                let next = tables.group(id, version).into_iter();
                let next = next.flat_map(|entry| next_groups(&entry.group, kind));
                left.extend(next.filter(|id| found.insert(*id)));
            }
        }
        false
    }

    /// Deletes a group, or all, with the rules that use it.
    fn delete_groups(&mut self, id: GroupId, version: Version) {
        if id != GroupId::ALL {
            return self.delete_slice(&[id], version);
        }
        let mut last = None;
        loop {
            let slice: Vec<GroupId> = {
                let (tables, _) = self.bridge.policy.tables.read();
                let tables = tables.of(self.bridge.id);
                tables.groups.behind(last, version).take(SLICE).map(|(id, _)| id).collect()
            };
            if slice.is_empty() {
                return;
            }
            last = slice.last().copied();
            self.delete_slice(&slice, version);
        }
    }

    fn delete_slice(&mut self, ids: &[GroupId], version: Version) {
        if let Some(change) = &mut self.change {
            change.reserve(ids.len());
            self.bridge.step(|tables| {
                for &id in ids {
                    if tables.groups.hide(id, version) {
                        change.steps.push(Step::GroupRemoved(id));
                    }
                }
            });
        }
        for &id in ids {
            self.remove_users(Removal::GroupDelete, |tables, last| {
                tables.groups.users(id, last).take(SLICE).collect()
            });
        }
    }
}

impl Tables {
    /// What a group is after a request, unless that deletes it.
    fn group_after(&self, request: &GroupMod, version: Version) -> Result<Group, FlowModError> {
        let existing = |id: GroupId| {
            let entry = self.group(id, version).ok_or(FlowModError::NoSuchGroup(id.0))?;
            Ok(entry.group.clone())
        };
        match request {
            GroupMod::Add(group) if self.group(group.id, version).is_some() => {
                Err(FlowModError::GroupExists(group.id.0))
            }
            GroupMod::Modify(group) if self.group(group.id, version).is_none() => {
                Err(FlowModError::NoSuchGroup(group.id.0))
            }
            GroupMod::Add(group) | GroupMod::Modify(group) | GroupMod::AddOrModify(group) => {
                Ok(group.clone())
            }
            GroupMod::InsertBuckets { group, place, buckets } => {
                let mut changed = existing(*group)?;
                insert_buckets(&mut changed, *place, buckets)?;
                Ok(changed)
            }
            GroupMod::RemoveBuckets { group, place } => {
                let mut changed = existing(*group)?;
                remove_buckets(&mut changed, *place)?;
                Ok(changed)
            }
            GroupMod::Delete(id) => existing(*id),
        }
    }

    /// Adds a group or replaces it; a replaced one keeps its age.
    fn put_group(&mut self, change: &mut Change, group: Group, now: Duration) {
        let (id, version) = (group.id, change.version());
        let old = self.group(id, version);
        let created = old.map_or(now, |old| old.counters.created());
        if self.groups.hide(id, version) {
            change.steps.push(Step::GroupRemoved(id));
        }
        let entry = GroupEntry {
            counters: Arc::new(GroupCounters::new(created, group.buckets.len())),
            group,
            hasher: ahash::RandomState::with_seeds(self.seed, u64::from(id.0), 0x9209, 1),
            life: Mutex::new(None),
        };
        self.groups.add(Arc::new(entry), version);
        change.steps.push(Step::GroupAdded(id));
    }
}

/// Whether a group is allowed, whatever others there are.
fn check(group: &Group) -> Result<(), FlowModError> {
    let invalid = |problem| Err(FlowModError::InvalidGroup { group: group.id.0, problem });
    if group.id > GroupId::MAX {
        return invalid("the largest group number is 4294967040 (0xffffff00)");
    }
    if group.kind == GroupType::Indirect && group.buckets.len() != 1 {
        return invalid("an indirect group has exactly one bucket");
    }
    let size = group.size();
    if size > MAX_LIST_SIZE {
        return Err(FlowModError::GroupTooLarge { group: group.id.0, size });
    }
    for bucket in &group.buckets {
        if let Some(problem) = bucket.problem_in(group.kind) {
            let (group, bucket) = (group.id.0, bucket.id);
            return Err(FlowModError::InvalidBucket { group, bucket, problem });
        }
    }
    Ok(())
}

/// The groups to which a group's buckets refer in one way.
fn next_groups(group: &Group, kind: Reference) -> impl Iterator<Item = GroupId> {
    referred_groups(group).filter(move |(how, _)| *how == kind).map(|(_, id)| id)
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
    let at = match place {
        BucketPlace::First => 0,
        BucketPlace::Last | BucketPlace::All => group.buckets.len(),
        BucketPlace::Id(id) => bucket_index(group, id)? + 1,
    };
    let ids: HashSet<u32> = group.buckets.iter().map(|bucket| bucket.id).collect();
    for new in buckets {
        if ids.contains(&new.id) {
            return Err(FlowModError::BucketExists { group: group.id.0, bucket: new.id });
        }
    }
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

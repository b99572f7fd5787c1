//! The group action: which buckets of a group a packet goes through, and how they are executed.

use super::actions::in_order;
use super::budget::weight;
use super::{Ctx, Note, TranslationObserver};
use crate::policy::group_life::GroupLife;
use crate::policy::groups::GroupEntry;
use flow::action::Action;
use flow::group::GroupType;
use flow::types::GroupId;
use flow::verdict::DropReason;
use std::sync::Arc;

/// A hash of the flow and of a bucket takes as long as copying this many elements of a list.
const DRAW: usize = 4;

/// The group does not exist. The actions behind the group action are not executed.
pub(super) struct NoGroup;

impl<O: TranslationObserver> Ctx<'_, O> {
    pub(super) fn group(&mut self, id: GroupId) -> Result<(), NoGroup> {
        self.out.depends.groups.insert_group(self.bridge, id);
        let Some(entry) = self.tables().group(id, self.view.version).cloned() else {
            self.observer.note(|| Note::NoSuchGroup(id));
            self.hint = Some(DropReason::UnknownGroup);
            return Err(NoGroup);
        };
        let group = &entry.group;
        match group.kind {
            GroupType::All | GroupType::Indirect => {
                let is_last = self.is_last;
                for index in 0..group.buckets.len() {
                    self.is_last = is_last && index + 1 == group.buckets.len();
                    self.bucket(&entry, index);
                    if self.error.is_some() {
                        break;
                    }
                }
            }
            GroupType::FastFailover => {
                if let Some(life) = self.life(&entry) {
                    self.chosen_bucket(&entry, life.first());
                }
            }
            // The choice looks behind popped labels.
            GroupType::Select if self.was_mpls => self.freeze(),
            GroupType::Select if !self.hashed && self.view.conduct.recirculates_for(group) => {
                self.hashes = true;
                self.freeze();
            }
            GroupType::Select => {
                if let Some(life) = self.life(&entry) {
                    let chosen = self.select(&entry, &life);
                    self.chosen_bucket(&entry, chosen);
                }
            }
        }
        Ok(())
    }

    fn chosen_bucket(&mut self, entry: &Arc<GroupEntry>, index: Option<usize>) {
        match index {
            Some(index) => {
                self.observer.note(|| Note::UsingBucket(index));
                self.bucket(entry, index);
            }
            None => {
                self.observer.note(|| Note::NoLiveBucket);
                self.hint = Some(DropReason::NoLiveBucket);
            }
        }
    }

    /// Executes a bucket as an action set. The bucket's changes to the packet and its queue, and its `exit`,
    /// end with the bucket. The changes that rules behind a `resubmit` of the bucket make to the action set and
    /// the stack stay.
    fn bucket(&mut self, entry: &Arc<GroupEntry>, index: usize) {
        let bucket = &entry.group.buckets[index];
        if !self.spend_for(weight(&bucket.actions)) {
            return;
        }
        self.out.groups.push((Arc::clone(entry), index));
        self.observer.enter_bucket(index);
        let list: Vec<Action> = in_order(&bucket.actions);
        let (packet, was_mpls, priority) = (self.packet.save(), self.was_mpls, self.priority);
        let was_in_group = std::mem::replace(&mut self.in_group, true);
        self.deeper(|ctx| ctx.actions(&list));
        self.in_group = was_in_group;
        if self.freezing {
            self.finish_freezing();
        }
        self.packet.restore(&packet);
        (self.was_mpls, self.exit, self.priority) = (was_mpls, false, priority);
        // Labels that the switch cannot count are this bucket's trouble alone.
        if self.error == Some(DropReason::TooManyLabels) {
            self.hint = self.error.take();
        }
        self.observer.leave();
    }

    /// Chooses a bucket by a hash of the flow, and returns its index. Each live bucket gets the share of the
    /// flows that its weight says, and a flow keeps its bucket as long as the bucket is alive ([`GroupLife`]).
    /// `None` if no bucket is alive.
    fn select(&mut self, entry: &Arc<GroupEntry>, life: &GroupLife) -> Option<usize> {
        if !self.spend_for(life.live() * DRAW) {
            return None;
        }
        let flow_hash = if life.live() > 1 { self.flow_hash(entry) } else { 0 };
        let buckets = &entry.group.buckets;
        life.choose(|index| entry.hasher.hash_one((flow_hash, buckets[index].id)))
    }

    fn flow_hash(&mut self, entry: &Arc<GroupEntry>) -> u64 {
        let selection = &entry.group.selection;
        if selection.method == "hash" && !selection.fields.is_empty() {
            let values: Vec<u128> = selection
                .fields
                .iter()
                .map(|&(field, mask)| match self.packet.has(field) {
                    true => self.packet.read_bits(field, mask),
                    false => 0,
                })
                .collect();
            return entry.hasher.hash_one((selection.param, values));
        }
        entry.hasher.hash_one((selection.param, self.packet.five_tuple()))
    }
}

//! Finds out which buckets of a group are alive.
//!
//! A bucket is alive if it watches nothing, or a port that is up, or a group that has a bucket that is alive.
//! Groups may watch others in long chains and share them, so the walk looks at each group once, without
//! recursion, and leaves what it found out with the group for later translations ([`GroupLife`]). Circles are
//! refused when a group is added.

use super::{Ctx, TranslationObserver};
use crate::policy::bridge_id::PortRef;
use crate::policy::group_life::{GroupLife, LifeStamp};
use crate::policy::groups::GroupEntry;
use flow::group::GroupType;
use flow::types::{GroupId, OfPort};
use std::sync::Arc;

/// A group whose buckets are being looked at.
struct Watched {
    entry: Arc<GroupEntry>,
    /// The index of the bucket that is looked at next.
    next: usize,
    /// What the buckets before it have shown.
    life: GroupLife,
}

impl Watched {
    /// The group is known: all its buckets have been looked at, or the one that it uses has been found.
    fn is_known(&self) -> bool {
        let group = &self.entry.group;
        let needs_all = group.kind == GroupType::Select;
        self.next >= group.buckets.len() || self.life.live() > 0 && !needs_all
    }
}

impl<O: TranslationObserver> Ctx<'_, O> {
    /// Which buckets of a group are alive. The ports and groups that decided become dependencies of the
    /// verdict. `None` if the translation has spent its budget.
    pub(super) fn life(&mut self, entry: &Arc<GroupEntry>) -> Option<Arc<GroupLife>> {
        let stamp = self.life_stamp();
        let life = match known_life(entry, stamp) {
            Some(life) => life,
            None => self.find_life(entry, stamp)?,
        };
        self.out.depends.ports.union(&life.ports);
        self.out.depends.groups.union(&life.groups);
        Some(life)
    }

    fn life_stamp(&self) -> LifeStamp {
        let groups = self.tables().groups.changed_at(self.view.version);
        LifeStamp { groups, ports: self.ports().changes() }
    }

    /// Looks at the buckets of a group, and first at the groups that they watch. What has been found
    /// out about a watched group stays with it, also if the budget ends: the verdict is not cached
    /// then, and another one gets further.
    #[cold]
    fn find_life(&mut self, entry: &Arc<GroupEntry>, stamp: LifeStamp) -> Option<Arc<GroupLife>> {
        let watched = |entry: &Arc<GroupEntry>| {
            let entry = Arc::clone(entry);
            Watched { entry, next: 0, life: GroupLife::new(stamp) }
        };
        let mut path = vec![watched(entry)];
        loop {
            let top = path.last_mut()?;
            if top.is_known() {
                let top = path.pop()?;
                let life = Arc::new(top.life);
                *top.entry.life.lock() = Some(Arc::clone(&life));
                if path.is_empty() {
                    return Some(life);
                }
                continue;
            }
            if !self.spend() {
                self.out.is_passing = true;
                return None;
            }
            let bucket = &top.entry.group.buckets[top.next];
            let watches_nothing = bucket.watch_port.is_none() && bucket.watch_group.is_none();
            let mut is_alive = watches_nothing;
            if let Some(port) = bucket.watch_port {
                top.life.ports.insert_port(PortRef { bridge: self.bridge, port });
                is_alive |= self.is_port_up(port);
            }
            if let Some(id) = bucket.watch_group
                && !is_alive
            {
                top.life.groups.insert_group(self.bridge, id);
                if let Some(next) = self.group_entry(id) {
                    let Some(life) = known_life(next, stamp) else {
                        path.push(watched(next));
                        continue;
                    };
                    top.life.depend_on(&life);
                    is_alive = life.live() > 0;
                }
            }
            if is_alive {
                top.life.add(&top.entry.group, top.next);
            }
            top.next += 1;
        }
    }

    pub(super) fn is_port_up(&self, port: OfPort) -> bool {
        self.ports().get(port).is_some_and(|p| p.link_up && !p.config.down && !p.is_peer_down)
    }

    fn group_entry(&self, id: GroupId) -> Option<&Arc<GroupEntry>> {
        self.tables().group(id, self.view.version)
    }
}

/// Which buckets of a group are alive, if it has been found out since the latest change.
fn known_life(entry: &GroupEntry, stamp: LifeStamp) -> Option<Arc<GroupLife>> {
    entry.life.lock().as_ref().filter(|life| life.stamp == stamp).cloned()
}

//! Which buckets and groups are alive.
//!
//! A bucket is alive if it watches nothing, or a port that is up, or a group that has a bucket that is alive. Groups may
//! watch others in long chains and share them, so each group is looked at once a translation, without recursion. Circles
//! are refused when a group is added.

use super::{Ctx, TranslationObserver};
use crate::policy::groups::GroupEntry;
use flow::group::Bucket;
use flow::types::{GroupId, OfPort};
use std::sync::Arc;

/// A watched group whose buckets are being looked at.
struct Watched {
    id: GroupId,
    entry: Arc<GroupEntry>,
    /// The index of the bucket that is looked at next. All buckets before it are dead.
    next: usize,
}

impl<O: TranslationObserver> Ctx<'_, O> {
    /// Whether a bucket can be used. The ports and groups that decided become dependencies of the verdict.
    pub(super) fn is_alive(&mut self, bucket: &Bucket) -> bool {
        if bucket.watch_port.is_none() && bucket.watch_group.is_none() {
            return true;
        }
        bucket.watch_port.is_some_and(|port| self.is_port_up(port))
            || bucket.watch_group.is_some_and(|group| self.is_group_alive(group))
    }

    fn is_port_up(&mut self, port: OfPort) -> bool {
        self.depend_on_port(port);
        self.ports().get(port).is_some_and(|p| p.link_up && !p.config.down)
    }

    fn is_group_alive(&mut self, id: GroupId) -> bool {
        let mut path: Vec<Watched> = Vec::new();
        self.enter_watched(id, &mut path);
        while let Some(top) = path.last_mut() {
            let Some(bucket) = top.entry.group.buckets.get(top.next) else {
                self.judge(&mut path, false);
                continue;
            };
            let (port, group) = (bucket.watch_port, bucket.watch_group);
            let watches_nothing = port.is_none() && group.is_none();
            if !self.spend() {
                return false;
            }
            if watches_nothing || port.is_some_and(|port| self.is_port_up(port)) {
                self.judge(&mut path, true);
                continue;
            }
            match group.map(|id| (id, self.known_life(id))) {
                Some((_, Some(true))) => self.judge(&mut path, true),
                Some((id, None)) => self.enter_watched(id, &mut path),
                None | Some((_, Some(false))) => {
                    if let Some(top) = path.last_mut() {
                        top.next += 1;
                    }
                }
            }
        }
        self.known_life(id) == Some(true)
    }

    /// Puts a group on the path, and takes it for dead until its buckets have been looked at.
    fn enter_watched(&mut self, id: GroupId, path: &mut Vec<Watched>) {
        if self.known_life(id).is_some() || !self.spend() {
            return;
        }
        // Each watched group gets here once. One that is also executed may be in the list twice, which does no harm.
        self.out.depends.groups.push((self.bridge, id));
        self.lives.insert((self.bridge, id), false);
        if let Some(entry) = self.tables().group(id, self.view.version) {
            path.push(Watched { id, entry: Arc::clone(entry), next: 0 });
        }
    }

    /// Ends the look at the group that is last on the path.
    fn judge(&mut self, path: &mut Vec<Watched>, is_alive: bool) {
        if let Some(watched) = path.pop() {
            self.lives.insert((self.bridge, watched.id), is_alive);
        }
    }

    /// Whether a group is alive, if this translation has looked at it.
    fn known_life(&self, id: GroupId) -> Option<bool> {
        self.lives.get(&(self.bridge, id)).copied()
    }
}

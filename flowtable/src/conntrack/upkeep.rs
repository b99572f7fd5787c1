//! What the switch does with the table beside tracking: it removes connections that expire, and carries out
//! commands that show, count, limit and remove connections.

use super::connection::ConnectionInfo;
use super::fragments::FragmentStats;
use super::limits::CtZoneUse;
use super::shard::CtShard;
use super::timeouts::{ZoneTimeouts, ms};
use super::{Connections, CtEnding, filter};
use flow::ct_filter::CtFilter;
use flow::ct_timeout::CtTimeouts;
use parking_lot::MutexGuard;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many slots of a shard are looked at before its lock is let go.
const SLOTS_AT_ONCE: u32 = 64;
/// How many connections a sweep removes of one shard before it lets go of the shard's lock.
const SWEPT_AT_ONCE: usize = 32;

/// How often something happened to connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtStats {
    /// Connections that are remembered at the moment.
    pub connections: u64,
    /// Connections that were remembered so far.
    pub created: u64,
    /// Connections whose time came.
    pub expired: u64,
    /// Half-open connections that had to go because the table was full.
    pub evicted: u64,
    /// Connections that were not remembered because the table was full.
    pub refused_full: u64,
    /// Connections that were not remembered because their source address had its share.
    pub refused_source: u64,
    /// Connections that were not remembered because their zone had as many as it may have.
    pub refused_zone: u64,
    /// Connections that were not remembered because their port began too many at once.
    pub refused_port: u64,
    /// Packets that were dropped because no address and port was free for their connection.
    pub nat_exhausted: u64,
    /// What happened to fragments.
    pub fragments: FragmentStats,
}

/// The counts of [`CtStats`] that grow.
#[derive(Debug, Default)]
pub(super) struct CtCounters {
    pub(super) created: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) refused_full: AtomicU64,
    pub(super) refused_source: AtomicU64,
    pub(super) refused_zone: AtomicU64,
    pub(super) refused_port: AtomicU64,
    pub(super) nat_exhausted: AtomicU64,
}

impl Connections {
    /// Removes connections and fragments whose time has come.
    pub fn sweep(&self, now: Duration) {
        let now = ms(now);
        self.fragments.lock().sweep(now);
        self.expectations.sweep(now);
        let mut gone = Vec::new();
        self.lingering.lock().take_over(now, &mut gone);
        self.remove_aliases(&mut gone);
        for shard in &self.shards {
            loop {
                let mut shard = shard.lock();
                let over = (0..SWEPT_AT_ONCE).map_while(|_| shard.expire_one(now));
                let removed = over.map(|over| {
                    self.let_go(&over, CtEnding::of_expired(&over), now, &mut gone);
                });
                let removed = removed.count();
                drop(shard);
                self.remove_aliases(&mut gone);
                self.counts.expired.fetch_add(removed as u64, Ordering::Relaxed);
                if removed < SWEPT_AT_ONCE {
                    break;
                }
            }
        }
    }

    /// Calls `take` with each connection that fits a filter, until `take` fails. No lock is held meanwhile. A
    /// connection that comes or goes during the call may be left out.
    ///
    /// # Errors
    ///
    /// The error of `take`.
    pub fn for_each<E>(
        &self,
        now: Duration,
        filter: CtFilter,
        mut take: impl FnMut(&ConnectionInfo) -> Result<(), E>,
    ) -> Result<(), E> {
        let now = ms(now);
        let mut part = Vec::with_capacity(SLOTS_AT_ONCE as usize);
        self.in_slices(|shard, slots| {
            let left = |slot| shard.expires(slot).checked_sub(now).filter(|left| *left > 0);
            let connections = slots.filter_map(|slot| Some((shard.get(slot)?, left(slot)?)));
            let wanted = connections.filter(|(connection, _)| filter::admits(&filter, connection));
            part.extend(wanted.map(|(connection, left)| connection.info(left)));
            MutexGuard::unlocked_fair(shard, || part.drain(..).try_for_each(|info| take(&info)))
        })
    }

    /// The connections that fit a filter, in no order.
    pub fn dump(&self, now: Duration, filter: CtFilter) -> Vec<ConnectionInfo> {
        let mut all = Vec::new();
        let Ok(()) = self.for_each::<Infallible>(now, filter, |info| {
            all.push(info.clone());
            Ok(())
        });
        all
    }

    /// Removes the connections that fit a filter. Returns how many there were.
    pub fn flush(&self, now: Duration, filter: CtFilter) -> usize {
        let now = ms(now);
        let mut removed = 0;
        let mut gone = Vec::new();
        // Of connections that have gone, nothing but the zone tells whether they fitted the filter.
        self.lingering.lock().take_zone(filter.zone, &mut gone);
        self.remove_aliases(&mut gone);
        let Ok(()) = self.in_slices::<Infallible>(|shard, slots| {
            for slot in slots {
                if shard.get(slot).is_some_and(|connection| filter::admits(&filter, connection)) {
                    self.forget(shard, slot, CtEnding::Flushed, now, &mut gone);
                    removed += 1;
                }
            }
            MutexGuard::unlocked_fair(shard, || self.remove_aliases(&mut gone));
            Ok(())
        });
        removed
    }

    /// Calls `look` with some slots of a shard at a time, and with the shard locked, until all slots have had
    /// their turn or `look` fails. Workers get the lock between two calls.
    pub(super) fn in_slices<E>(
        &self,
        mut look: impl FnMut(&mut MutexGuard<'_, CtShard>, Range<u32>) -> Result<(), E>,
    ) -> Result<(), E> {
        for shard in &self.shards {
            let mut next = 0;
            loop {
                let mut shard = shard.lock();
                let end = shard.slots().min(next + SLOTS_AT_ONCE);
                if next >= end {
                    break;
                }
                look(&mut shard, next..end)?;
                next = end;
                MutexGuard::unlock_fair(shard);
            }
        }
        Ok(())
    }

    /// How often something happened so far.
    pub fn stats(&self) -> CtStats {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        CtStats {
            connections: self.limits.count() as u64,
            created: get(&counts.created),
            expired: get(&counts.expired),
            evicted: get(&counts.evicted),
            refused_full: get(&counts.refused_full),
            refused_source: get(&counts.refused_source),
            refused_zone: get(&counts.refused_zone),
            refused_port: get(&counts.refused_port),
            nat_exhausted: get(&counts.nat_exhausted),
            fragments: self.fragments.lock().stats(),
        }
    }

    /// How many connections each part of the table has. Every part has a lock of its own.
    pub fn parts(&self) -> Vec<usize> {
        self.shards.iter().map(|shard| shard.lock().len()).collect()
    }

    /// How many connections there may be.
    pub fn max_connections(&self) -> usize {
        self.limits.max()
    }

    /// Sets how many connections there may be. Those that are too many stay.
    pub fn set_max_connections(&self, max: usize) {
        self.limits.set_max(max);
    }

    /// Sets the limit of a zone, or of all zones without one of their own; `None` lifts it.
    pub fn set_zone_limit(&self, zone: Option<u16>, limit: Option<u32>) {
        self.limits.set_zone(zone, limit);
    }

    /// The limit of zones without one of their own, and each zone that has a limit of its own or connections.
    pub fn zone_limits(&self) -> (Option<u32>, Vec<CtZoneUse>) {
        self.limits.zones()
    }

    /// Sets the timeouts of zones; those of other zones are the defaults. They hold for a connection from its
    /// next packet on.
    pub fn set_timeouts(&self, zones: &[(u16, CtTimeouts)]) {
        let timeouts = ZoneTimeouts::new(zones);
        for shard in &self.shards {
            shard.lock().set_timeouts(timeouts.clone());
        }
    }

    /// Sets whether TCP segments outside the window of their sender are invalid.
    pub fn set_checks_windows(&self, checks: bool) {
        self.checks_windows.store(checks, Ordering::Relaxed);
    }
}

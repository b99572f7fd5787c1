//! A bridge's policy: tables, ports, learned hosts, and the translation that reads them.
//!
//! [`Policy`] is shared. Workers read it on a cache miss; the control thread changes it. A reader
//! holds the locks shared for one translation; a writer holds them exclusively for a slice of its
//! work. A change of many rules is not atomic because a lock is held, but because lookups use the
//! published version, and publishing is one store (`publication`).
//!
//! The *generation* counts every change of whatever kind. Workers compare it with the one a cached
//! flow was last known to be right for, once a batch, after receiving: what was received after a
//! change returned is never judged by older rules. [`changes`] tells what a change was about, so that
//! a flow that it does not concern need not be translated again.

mod announcements;
pub mod changes;
mod conduct;
pub mod lookup_counts;
pub mod mac_table;
pub mod ports;
mod publication;
mod recent_actions;
pub mod recirc;
pub mod rule;
mod sync;
pub mod tables;
mod transaction;
mod walk;
pub mod xlate;

#[cfg(test)]
mod mask_property;
#[cfg(test)]
mod publication_model;
#[cfg(test)]
mod tests;

use crate::classifier::Version;
use crate::storm::StormControl;
use announcements::Announcements;
use changes::Changes;
pub use conduct::Conduct;
use flow::action::Action;
use flow::types::{OfPort, TableId};
use flow::{FlowKey, Match, PipelineKey};
use lookup_counts::LookupCounts;
use mac_table::{DEFAULT_AGEING, DEFAULT_CAPACITY, MacKey, MacTable};
use parking_lot::{RwLock, RwLockReadGuard};
use ports::{PortInfo, PortTable};
use publication::Published;
use recirc::RecircTable;
use rule::{Expiry, Rule, RuleMatch};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
pub use tables::FlowModError;
use tables::{Change, Place, RuleRef, Scope, Tables};
pub use transaction::Transaction;
pub use walk::Walk;
use xlate::{Learn, TraceStep, Translation, View};

/// Rules looked at, changed or freed under one lock: some ten microseconds, and a few hundred where masks are few
/// and buckets large.
const SLICE: usize = 16;

/// Removed rules that may wait for those who hold a version.
const MAX_HELD: usize = 1 << 20;

/// Rules of one change that are compared with cached flows one by one.
const LOGGED_RULES: usize = 32;

/// A bridge's policy. See the [module](self).
#[derive(Debug)]
pub struct Policy {
    tables: Published<Tables>,
    ports: RwLock<PortTable>,
    macs: RwLock<MacTable>,
    recirc: RecircTable,
    changes: Changes,
    announcements: Announcements,
    storm: StormControl,
    lookups: Arc<LookupCounts>,
    conduct: Conduct,
}

/// What came of learning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// A host was not known there before.
    pub is_any: bool,
    /// The generation of an announcement of these hosts, if that was about no others.
    pub announced: Option<u64>,
}

/// The policy as it is at one moment. Holds the locks shared; keep it short.
pub struct Snapshot<'a> {
    tables: RwLockReadGuard<'a, Tables>,
    ports: RwLockReadGuard<'a, PortTable>,
    macs: RwLockReadGuard<'a, MacTable>,
    recirc: &'a RecircTable,
    version: Version,
    conduct: Conduct,
}

impl Snapshot<'_> {
    /// What a translation reads.
    pub fn view(&self) -> View<'_> {
        View {
            tables: &self.tables,
            ports: &self.ports,
            macs: &self.macs,
            version: self.version,
            recirc: self.recirc,
            conduct: self.conduct,
        }
    }

    /// Rules and groups.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Ports.
    pub fn ports(&self) -> &PortTable {
        &self.ports
    }

    /// Learned hosts.
    pub fn macs(&self) -> &MacTable {
        &self.macs
    }

    /// The published version.
    pub fn version(&self) -> Version {
        self.version
    }
}

impl Policy {
    /// No rule, no port. The seed keys all hash functions.
    pub fn new(seed: u64) -> Self {
        Self {
            tables: Published::new(Tables::new(seed)),
            ports: RwLock::default(),
            macs: RwLock::new(MacTable::new(DEFAULT_CAPACITY, DEFAULT_AGEING, seed)),
            recirc: RecircTable::default(),
            changes: Changes::new(seed),
            announcements: Announcements::default(),
            storm: StormControl::default(),
            lookups: Arc::default(),
            conduct: Conduct::default(),
        }
    }

    /// Follows `conduct` where Open vSwitch and good sense part.
    #[must_use]
    pub fn with_conduct(mut self, conduct: Conduct) -> Self {
        self.conduct = conduct;
        self
    }

    /// Counts the changes of everything that a translation depends on.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.changes.generation()
    }

    /// What changed, and when.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// How often the tables were asked; cached flows add to it when they add to their rules.
    pub fn lookups(&self) -> &Arc<LookupCounts> {
        &self.lookups
    }

    /// The policy as it is now.
    pub fn snapshot(&self) -> Snapshot<'_> {
        let (tables, version) = self.tables.read();
        Snapshot {
            tables,
            ports: self.ports.read(),
            macs: self.macs.read(),
            recirc: &self.recirc,
            conduct: self.conduct,
            version,
        }
    }

    /// Priority and match of a rule. `None` if it has been removed and freed.
    pub fn match_of(&self, rule: &Rule) -> Option<(u16, Match)> {
        let (tables, _) = self.tables.read();
        tables.rule(rule.place()).map(|entry| (entry.priority, entry.matches))
    }

    /// Translates a packet.
    pub fn translate(&self, key: &FlowKey) -> Translation {
        xlate::translate(self.snapshot().view(), key)
    }

    /// Translates a packet-out.
    pub fn translate_packet_out(&self, key: &PipelineKey, actions: &[Action]) -> Translation {
        xlate::translate_packet_out(self.snapshot().view(), key, actions)
    }

    /// Translates a packet and tells how.
    pub fn trace(&self, key: &FlowKey) -> (Translation, Vec<TraceStep>) {
        xlate::trace(self.snapshot().view(), key)
    }

    /// Learns hosts that a translation saw. Only news counts as a change, and is announced now or, if there
    /// is much of it, by and by.
    pub fn learn(&self, hosts: &[Learn], now: Duration) -> News {
        if hosts.is_empty() {
            return News::default();
        }
        let changed = {
            let mut macs = self.macs.write();
            for host in hosts {
                macs.learn(host.key, host.port, now);
            }
            macs.take_changed()
        };
        let is_any = !changed.is_empty();
        let is_own = |key: &MacKey| hosts.iter().any(|host| host.key == *key);
        let announced = self.announcements.add(changed, now).and_then(|due| {
            let generation = self.changes.hosts(&due);
            due.iter().all(is_own).then_some(generation)
        });
        News { is_any, announced }
    }

    /// Announces learned hosts that have waited for that, if it is time.
    #[inline]
    pub fn announce_learned(&self, now: Duration) {
        if let Some(due) = self.announcements.due(now) {
            self.changes.hosts(&due);
        }
    }

    /// A flow was translated again because hosts that it depends on have come, gone or moved.
    pub(crate) fn translated_for_hosts(&self) {
        self.announcements.caused_translation();
    }

    /// What may still be flooded, of each port, all workers together.
    pub fn storm_control(&self) -> &StormControl {
        &self.storm
    }

    /// Changes the table of learned hosts.
    pub fn with_macs<R>(&self, change: impl FnOnce(&mut MacTable) -> R) -> R {
        let (result, changed) = {
            let mut macs = self.macs.write();
            (change(&mut macs), macs.take_changed())
        };
        if !changed.is_empty() {
            self.changes.hosts(&changed);
        }
        result
    }

    /// Keeps a host alive whose traffic was seen at `used`, without counting as a change.
    pub fn refresh_mac(&self, host: &Learn, used: Duration) {
        self.macs.write().refresh(host.key, host.port, used);
    }

    /// Removes hosts that have not been seen for too long, and returns how many.
    pub fn sweep_macs(&self, now: Duration) -> usize {
        self.with_macs(|macs| macs.sweep(now))
    }

    /// Changes the ports.
    pub fn with_ports<R>(&self, change: impl FnOnce(&mut PortTable) -> R) -> R {
        let mut ports = self.ports.write();
        let before = ports.clone();
        let result = change(&mut ports);
        let differs = |port: &&PortInfo| {
            before.get(port.of) != Some(*port) || ports.get(port.of) != Some(*port)
        };
        let changed: Vec<OfPort> =
            before.iter().chain(ports.iter()).filter(differs).map(|port| port.of).collect();
        drop(ports);
        if !changed.is_empty() {
            self.changes.ports(changed.into_iter());
        }
        result
    }

    fn tables_changed(&self, change: &Change) {
        let rules: Vec<RuleMatch> = if change.rules().nth(LOGGED_RULES).is_none() {
            let ((tables, _), ports) = (self.tables.read(), self.ports.read());
            let no_of = |of| ports.get(of).map(|port| port.no);
            let entries = change.rules().filter_map(|at| Some((at.0, tables.rule(at)?)));
            entries.map(|(table, e)| RuleMatch::new(table, &e.matches, no_of)).collect()
        } else {
            let tables: BTreeSet<TableId> = change.rules().map(|(table, _)| table).collect();
            tables.into_iter().map(RuleMatch::whole_table).collect()
        };
        self.changes.tables(rules, change.groups());
    }

    /// Removes rules whose time is over and returns them.
    pub fn expire(&self, now: Duration) -> Vec<(Arc<Rule>, Expiry)> {
        let (mut place, mut over) = (Place::default(), Vec::new());
        loop {
            let (tables, version) = self.tables.read();
            let Some(slice) = tables.slice(Scope::Timed, &mut place, SLICE, version) else { break };
            over.extend(slice.filter_map(|(at, rule)| {
                let expiry = rule.expired(now)?;
                Some((at, Arc::clone(rule), expiry))
            }));
        }
        if over.is_empty() {
            return Vec::new();
        }
        let mut transaction = self.begin();
        let rules: Vec<RuleRef> = over.iter().map(|(at, ..)| *at).collect();
        transaction.remove(&rules);
        transaction.commit();
        over.into_iter().map(|(_, rule, expiry)| (rule, expiry)).collect()
    }

    /// Frees some removed rules, which no lookup can see any more, and goes on rearranging the others
    /// for lookups. True if there is more to do.
    pub fn purge(&self) -> bool {
        let mut freed = Vec::with_capacity(SLICE);
        let (left, is_moving) = self.tables.step(|tables| {
            let mut oldest = self.tables.oldest();
            if tables.removed_len() > MAX_HELD {
                // Who holds a version for so long has to do without the rest of it.
                oldest = self.tables.version();
            }
            tables.purge(oldest, SLICE, &mut freed);
            (tables.removed_len(), tables.is_moving())
        });
        self.plan(left == 0);
        is_moving || left > 0 && !freed.is_empty()
    }

    /// Rearranges a table for lookups if it has changed much, and frees the memory that rules have left.
    /// What takes long is done without the lock.
    fn plan(&self, is_idle: bool) {
        let (draft, has_retired) = {
            let (tables, _) = self.tables.read();
            (tables.draft(is_idle), tables.has_retired())
        };
        if has_retired {
            let retired = self.tables.step(Tables::take_retired);
            drop(retired);
        }
        if let Some((table, draft)) = draft {
            let plan = draft.plan();
            self.tables.step(|tables| tables.adopt(table, plan));
        }
    }
}

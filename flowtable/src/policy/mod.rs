//! The switch's policy: bridges with their tables, ports and learned hosts, and the translation that reads them.
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

pub mod bridge;
pub mod changes;
mod conduct;
pub mod effects;
mod group_mods;
pub mod groups;
mod hosts;
pub mod lookup_counts;
pub mod mac_table;
pub mod observer;
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
mod patch_tests;
#[cfg(test)]
mod publication_model;
#[cfg(test)]
pub(crate) mod tests;

use crate::classifier::{Survey, Version};
use crate::overload::{Announcements, StormControl};
use bridge::Shape;
pub use bridge::{AddBridgeError, Bridge, BridgeId, PerBridge, PortRef, TableRef};
use changes::Changes;
pub use conduct::Conduct;
use effects::{Effects, Removal};
use flow::types::{PortNo, TableId};
use flow::{FlowKey, Match};
use lookup_counts::LookupCounts;
use mac_table::{HostRef, MacTable};
use observer::{Observed, Observer};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use ports::{PortInfo, PortTable, PortTables};
use publication::{Published, Reading};
use recirc::RecircTable;
use rule::{Rule, RuleMatch};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
pub use tables::FlowModError;
use tables::{Change, Freed, Scope, TableCursor, Tables};
pub use transaction::Transaction;
pub use walk::{GroupWalk, Walk};
use xlate::{Learn, TraceStep, Translation, View};

/// Rules looked at, changed or freed under one lock: some ten microseconds, and a few hundred where masks are few
/// and buckets large.
const SLICE: usize = 16;

/// Removed rules that may wait for those who hold a version.
const MAX_HELD: usize = 1 << 20;

/// Rules of one change that are compared with cached flows one by one.
const LOGGED_RULES: usize = 32;

/// The policy of all bridges. See the [module](self).
#[derive(Debug)]
pub struct Policy {
    tables: Published<PerBridge<Tables>>,
    ports: RwLock<PortTables>,
    macs: RwLock<PerBridge<MacTable>>,
    shape: Mutex<Shape>,
    seed: u64,
    recirc: RecircTable,
    changes: Changes,
    announcements: Announcements<HostRef>,
    storm: StormControl,
    lookups: Arc<LookupCounts>,
    conduct: Conduct,
    observer: Option<Arc<dyn Observer>>,
}

/// What came of learning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// A host was not known there before.
    pub is_any: bool,
    /// The generation of an announcement of these hosts, if that was about no others.
    pub announced: Option<u64>,
}

/// The policy as it is at one moment, seen from one bridge. Holds the locks shared; keep it short.
pub struct Snapshot<'a> {
    bridge: BridgeId,
    tables: Reading<'a, PerBridge<Tables>>,
    ports: RwLockReadGuard<'a, PortTables>,
    macs: RwLockReadGuard<'a, PerBridge<MacTable>>,
    recirc: &'a RecircTable,
    version: Version,
    conduct: Conduct,
}

impl Snapshot<'_> {
    /// What a translation reads, of all bridges.
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

    /// Rules and groups of the bridge.
    pub fn tables(&self) -> &Tables {
        self.tables.of(self.bridge)
    }

    /// Ports of the bridge.
    pub fn ports(&self) -> &PortTable {
        self.ports.of(self.bridge)
    }

    /// Ports of all bridges.
    pub fn all_ports(&self) -> &PortTables {
        &self.ports
    }

    /// Learned hosts of the bridge.
    pub fn macs(&self) -> &MacTable {
        self.macs.of(self.bridge)
    }

    /// The published version.
    pub fn version(&self) -> Version {
        self.version
    }
}

impl Policy {
    /// No bridge. The seed keys all hash functions.
    pub fn new(seed: u64) -> Self {
        Self {
            tables: Published::new(PerBridge::default()),
            ports: RwLock::default(),
            macs: RwLock::default(),
            shape: Mutex::default(),
            seed,
            recirc: RecircTable::new(seed),
            changes: Changes::new(seed),
            announcements: Announcements::default(),
            storm: StormControl::default(),
            lookups: Arc::default(),
            conduct: Conduct::default(),
            observer: None,
        }
    }

    /// One bridge, [`BridgeId::FIRST`], which is called `br0`.
    pub fn with_one_bridge(seed: u64) -> Self {
        let policy = Self::new(seed);
        policy.add_bridge("br0").expect("the first bridge of a new policy");
        policy
    }

    /// Follows `conduct` where Open vSwitch and good sense part.
    #[must_use]
    pub fn with_conduct(mut self, conduct: Conduct) -> Self {
        self.conduct = conduct;
        self
    }

    /// Tells `observer` of every change. Bridges that are there already are not told.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The observer, if it wants to know of rules, groups, ports and hosts.
    fn listener(&self) -> Option<&dyn Observer> {
        self.observer.as_deref().filter(|observer| observer.is_listening())
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

    /// The policy as it is now, seen from a bridge.
    fn snapshot_of(&self, bridge: BridgeId) -> Snapshot<'_> {
        let (tables, version) = self.tables.read();
        Snapshot {
            bridge,
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
        let entry = tables.of(rule.bridge).rule(rule.place());
        entry.map(|entry| (entry.priority, entry.matches))
    }

    /// Translates a packet. Its ingress port tells the bridge.
    pub fn translate(&self, key: &FlowKey) -> Translation {
        xlate::translate(self.snapshot_of(BridgeId::FIRST).view(), key)
    }

    /// Translates a packet and tells how.
    pub fn trace(&self, key: &FlowKey) -> (Translation, Vec<TraceStep>) {
        xlate::trace(self.snapshot_of(BridgeId::FIRST).view(), key)
    }

    /// The bridge and the number in it of a port that the datapath knows by this number.
    pub fn port_ref(&self, port_no: PortNo) -> Option<PortRef> {
        let ports = self.ports.read();
        ports.by_port_no(port_no).map(|(bridge, port)| PortRef { bridge, port: port.of_port })
    }

    /// Learns hosts that a translation saw. Only news counts as a change, and is announced now or, if there
    /// is much of it, by and by.
    pub fn learn(&self, hosts: &[Learn], now: Duration) -> News {
        if hosts.is_empty() {
            return News::default();
        }
        let changed: Vec<HostRef> = {
            let mut macs = self.macs.write();
            let mut changed = Vec::new();
            for Learn { host, port } in hosts {
                let table = macs.of_mut(host.bridge);
                table.learn(host.key, *port, now);
                changed.extend(self.take_changed_hosts(host.bridge, table));
            }
            changed
        };
        let is_any = !changed.is_empty();
        let is_own = |changed: &HostRef| hosts.iter().any(|learn| learn.host == *changed);
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

    fn with_macs<R>(&self, bridge: BridgeId, change: impl FnOnce(&mut MacTable) -> R) -> R {
        let (result, changed) = {
            let mut macs = self.macs.write();
            let table = macs.of_mut(bridge);
            let result = change(table);
            (result, self.take_changed_hosts(bridge, table))
        };
        if !changed.is_empty() {
            self.changes.hosts(&changed);
        }
        result
    }

    /// The hosts that have changed, of which the observer is told while nobody else changes any.
    fn take_changed_hosts(&self, bridge: BridgeId, table: &mut MacTable) -> Vec<HostRef> {
        let changes = table.take_changed();
        let hosts = changes.iter().map(|change| HostRef { bridge, key: change.key }).collect();
        if !changes.is_empty()
            && let Some(observer) = self.listener()
        {
            observer.observe(Observed::Hosts { bridge, changes });
        }
        hosts
    }

    /// Keeps a host alive whose traffic was seen at `used`, without counting as a change.
    pub fn refresh_mac(&self, Learn { host, port }: &Learn, used: Duration) {
        self.macs.write().of_mut(host.bridge).refresh(host.key, *port, used);
    }

    /// Removes hosts that have not been seen for too long, and returns how many.
    pub fn sweep_macs(&self, now: Duration) -> usize {
        let bridges = self.bridges();
        bridges.iter().map(|(id, _)| self.bridge(*id).sweep_hosts(now)).sum()
    }

    fn with_ports<R>(&self, bridge: BridgeId, change: impl FnOnce(&mut PortTable) -> R) -> R {
        let mut ports = self.ports.write();
        let (result, changed) = ports.change(bridge, change);
        if changed.is_empty() {
            return result;
        }
        let refs: Vec<PortRef> = changed.iter().map(|change| change.at).collect();
        if let Some(observer) = self.listener() {
            observer.observe(Observed::Ports(changed));
        }
        drop(ports);
        self.changes.ports(refs.into_iter());
        result
    }

    fn tables_changed(&self, bridge: BridgeId, change: &Change) {
        let at = |table| TableRef { bridge, table };
        let rules: Vec<RuleMatch> = if change.rules().nth(LOGGED_RULES).is_none() {
            let ((tables, _), ports) = (self.tables.read(), self.ports.read());
            let (tables, ports) = (tables.of(bridge), ports.of(bridge));
            let port_no_of = |of_port| ports.get(of_port).and_then(PortInfo::port_no);
            let entries = change.rules().filter_map(|rule| Some((rule.0, tables.rule(rule)?)));
            entries.map(|(table, e)| RuleMatch::new(at(table), &e.matches, port_no_of)).collect()
        } else {
            let tables: BTreeSet<TableId> = change.rules().map(|(table, _)| table).collect();
            tables.into_iter().map(|table| RuleMatch::whole_table(at(table))).collect()
        };
        self.changes.tables(rules, change.groups().map(|group| (bridge, group)));
    }

    /// Rules and groups that were looked at under the longest hold of the tables' lock since the last
    /// call. `None` in builds that do not count them.
    pub fn take_longest_hold(&self) -> Option<u64> {
        self.tables.longest.take()
    }

    /// Removes rules of all bridges whose time is over. Returns what that did, bridge by bridge.
    pub fn expire(&self, now: Duration) -> Vec<Arc<Effects>> {
        self.bridges().into_iter().filter_map(|(id, _)| self.bridge(id).expire(now)).collect()
    }

    /// Frees some removed rules, which no lookup can see any more, and goes on rearranging the others
    /// for lookups. True if there is more to do.
    pub fn purge(&self) -> bool {
        let (untidy, removed) = {
            let (tables, _) = self.tables.read();
            let untidy = tables.iter().filter(|(_, tables)| tables.is_untidy());
            let untidy: Vec<BridgeId> = untidy.map(|(id, _)| id).collect();
            (untidy, tables.iter().map(|(_, tables)| tables.removed_len()).sum::<usize>())
        };
        // If they are too many, who holds a version has to do without the rest of it.
        let is_crowded = removed > MAX_HELD;
        // Each bridge has its turn.
        untidy.into_iter().filter(|id| self.bridge(*id).purge(is_crowded)).count() > 0
    }
}

impl Bridge<'_> {
    fn purge(self, is_crowded: bool) -> bool {
        let mut freed = Freed::with_capacity(SLICE);
        let (left, is_moving) = self.step(|tables| {
            let published = &self.policy.tables;
            let oldest = if is_crowded { published.version() } else { published.oldest() };
            tables.purge(oldest, SLICE, &mut freed);
            (tables.removed_len(), tables.is_moving())
        });
        self.plan(left == 0);
        is_moving || left > 0 && !freed.is_empty()
    }

    /// Rearranges a table for lookups if it has changed much, and frees the memory that rules have left.
    /// What takes long is done without the lock.
    fn plan(self, is_idle: bool) {
        let (survey, has_retired) = {
            let (tables, _) = self.policy.tables.read();
            let tables = tables.of(self.id);
            (tables.survey(is_idle), tables.has_retired())
        };
        if has_retired {
            let retired = self.step(Tables::take_retired);
            drop(retired);
        }
        if let Some((table, survey)) = survey {
            self.plan_table(table, survey);
        }
    }

    /// Goes on with a survey, makes a plan from it and adopts that.
    fn plan_table(self, table: TableId, mut survey: Survey) {
        let read = || self.policy.tables.read().0;
        loop {
            survey.make_room(SLICE);
            if !read().of(self.id).count_masks(table, &mut survey, SLICE) {
                break;
            }
        }
        survey.choose_rules();
        while read().of(self.id).look_at_rules(table, &mut survey, SLICE) {}
        let mut plan = survey.plan();
        while self.step(|tables| tables.adopt(table, &mut plan, SLICE)) {}
    }

    /// Removes rules whose time is over. `None` if there were none.
    pub fn expire(self, now: Duration) -> Option<Arc<Effects>> {
        let (mut cursor, mut over) = (TableCursor::default(), Vec::new());
        loop {
            let (tables, version) = self.policy.tables.read();
            let tables = tables.of(self.id);
            let Some(slice) = tables.slice(Scope::Timed, &mut cursor, SLICE, version) else {
                break;
            };
            over.extend(slice.filter_map(|(at, rule)| {
                let expiry = rule.expired(now)?;
                Some((at, Removal::from(expiry)))
            }));
        }
        if over.is_empty() {
            return None;
        }
        let mut transaction = self.begin();
        transaction.expire(&over);
        Some(transaction.commit())
    }
}

//! The switch's policy: bridges with their tables, ports and learned hosts, and the translation
//! that reads them.
//!
//! [`Policy`] is shared. Workers read it on a cache miss; the control thread changes it. A reader
//! holds the locks shared for one translation; a writer holds them exclusively for one slice of its
//! work. A change of many rules takes several slices and is atomic all the same: lookups use the
//! published version, and publishing a new version is one store (`publication`).
//!
//! The *generation* counts the changes of rules, groups, ports and hosts. A worker reads it once a
//! batch, after receiving, and compares it with the generation at which a cached flow was last
//! known to be right. So a frame that was received after a change returned is never judged by older
//! rules. [`changes`] tells what a change was about, so that the worker keeps the flows that the
//! change does not concern.

pub mod audience;
pub mod bridge;
pub mod bridge_id;
pub mod changes;
mod conduct;
pub mod effects;
mod eviction;
pub mod gauge;
mod group_life;
mod group_mods;
pub mod groups;
mod hosts;
mod learned_counts;
pub mod learning;
pub mod lookup_counts;
pub mod mac_table;
pub mod meters;
mod neighbours;
mod numbered;
pub mod observer;
mod option_use;
mod parted_map;
pub mod ports;
mod publication;
mod recent_actions;
pub mod recirc;
mod refused;
pub mod rule;
mod seen_addresses;
mod sync;
pub mod table_settings;
pub mod tables;
mod transaction;
mod upkeep;
mod walk;
pub mod xlate;

#[cfg(test)]
mod patch_tests;
#[cfg(test)]
mod publication_model;
#[cfg(test)]
pub(crate) mod tests;

use crate::classifier::{Entry, Version};
use crate::conntrack::Connections;
use crate::overload::{Announcements, StormControl};
use audience::Audience;
use bridge::Shape;
pub use bridge::{AddBridgeError, Bridge};
pub use bridge_id::{BridgeId, PerBridge, PortRef, TableRef};
use changes::{Changes, GenerationFollower};
pub use conduct::Conduct;
use flow::types::{PortNo, TableId};
use flow::{FlowKey, Match};
use lookup_counts::LookupCounts;
use mac_table::{HostRef, MacKey, MacTable};
pub use neighbours::Neighbour;
use neighbours::Neighbours;
use observer::{Observed, Observer};
use parking_lot::Mutex;
use ports::{PortChange, PortInfo, PortTable, PortTables};
use publication::Published;
use recirc::RecircTable;
use rule::{Rule, RuleMatch};
use seen_addresses::SeenAddresses;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use sync::{RwLock, RwLockReadGuard, give_way};
pub use tables::FlowModError;
use tables::{Change, Tables};
pub use transaction::Transaction;
pub use walk::{GroupWalk, MeterWalk, Walk};
use xlate::{
    Circumstances, Learn, Recorder, TraceStep, Translation, TranslationObserver, Unobserved, View,
};

/// Number of rules that are looked at, changed or freed under one hold of the lock. One slice takes
/// some ten microseconds, and a few hundred in tables with few masks and large buckets.
const SLICE: usize = 16;

/// Number of rules of one change that the log of changes records one by one. A larger change is
/// recorded as one of whole tables. Additions that share a transaction are no more than this, so that
/// flows of other packets stay cached.
const LOGGED_RULES: usize = 128;

/// The policy of all bridges. See the [module](self).
#[derive(Debug)]
pub struct Policy {
    tables: Published<PerBridge<Tables>>,
    ports: RwLock<PortTables>,
    macs: RwLock<PerBridge<MacTable>>,
    shape: Mutex<Shape>,
    seed: u64,
    recirc: RecircTable,
    connections: Connections,
    changes: Changes,
    announcements: Announcements<HostRef>,
    storm: StormControl,
    seen_addresses: SeenAddresses,
    neighbours: Neighbours,
    lookups: Arc<LookupCounts>,
    conduct: Conduct,
    observer: Option<Arc<dyn Observer>>,
    audience: Audience,
    /// How many bridges have a meter that limits translations.
    slowpath_meters: AtomicU64,
}

/// What learning some hosts has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Whether a host is new, or has moved to another port.
    pub is_any: bool,
    /// The generation that announced these hosts. `None` if they are announced later, or together
    /// with other hosts.
    pub announced: Option<u64>,
}

/// The policy at one moment, seen from one bridge. A snapshot holds the locks shared, so that
/// writers wait for its end.
pub struct Snapshot<'a> {
    bridge: BridgeId,
    tables: RwLockReadGuard<'a, PerBridge<Tables>>,
    ports: RwLockReadGuard<'a, PortTables>,
    macs: RwLockReadGuard<'a, PerBridge<MacTable>>,
    recirc: &'a RecircTable,
    neighbours: &'a Neighbours,
    version: Version,
    conduct: Conduct,
}

impl Snapshot<'_> {
    /// Everything that a translation reads, of all bridges.
    pub fn view(&self) -> View<'_> {
        View {
            tables: &self.tables,
            ports: &self.ports,
            macs: &self.macs,
            version: self.version,
            recirc: self.recirc,
            neighbours: self.neighbours,
            conduct: self.conduct,
        }
    }

    /// The rules and groups of the snapshot's bridge.
    pub fn tables(&self) -> &Tables {
        self.tables.of(self.bridge)
    }

    /// The ports of the snapshot's bridge.
    pub fn ports(&self) -> &PortTable {
        self.ports.of(self.bridge)
    }

    /// The ports of all bridges.
    pub fn all_ports(&self) -> &PortTables {
        &self.ports
    }

    /// The learned hosts of the snapshot's bridge.
    pub fn macs(&self) -> &MacTable {
        self.macs.of(self.bridge)
    }

    /// The version that was published when the snapshot was taken.
    pub fn version(&self) -> Version {
        self.version
    }
}

impl Policy {
    /// Makes a policy without bridges. `seed` keys all hash functions, and must be unknown to
    /// senders of frames.
    pub fn new(seed: u64) -> Self {
        Self {
            tables: Published::new(PerBridge::default()),
            ports: RwLock::default(),
            macs: RwLock::default(),
            shape: Mutex::default(),
            seed,
            recirc: RecircTable::new(seed),
            connections: Connections::new(seed),
            changes: Changes::new(seed),
            announcements: Announcements::default(),
            storm: StormControl::default(),
            seen_addresses: SeenAddresses::new(seed),
            neighbours: Neighbours::new(seed),
            lookups: Arc::default(),
            audience: Audience::default(),
            conduct: Conduct::default(),
            observer: None,
            slowpath_meters: AtomicU64::new(0),
        }
    }

    /// Makes a policy with one bridge, [`BridgeId::FIRST`], which is called `br0`.
    pub fn with_one_bridge(seed: u64) -> Self {
        let policy = Self::new(seed);
        policy.add_bridge("br0").expect("the first bridge of a new policy");
        policy
    }

    /// Chooses whom the policy follows where Open vSwitch and good sense part.
    #[must_use]
    pub fn with_conduct(mut self, conduct: Conduct) -> Self {
        self.conduct = conduct;
        self.connections = self.connections.as_ovs(conduct == Conduct::AsOvs);
        self
    }

    /// Tells `observer` of every change from now on. The observer does not hear of bridges that exist already.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The observer, if there is one and it wants to hear of rules, groups, ports and hosts at the moment.
    fn listener(&self) -> Option<&dyn Observer> {
        self.observer.as_deref().filter(|observer| observer.is_listening())
    }

    /// Tells `follower` of each generation from now on. There can be one: a second call changes nothing.
    pub fn tell_generations(&self, follower: Arc<dyn GenerationFollower>) {
        self.changes.tell(follower);
    }

    /// The generation: the number of changes so far of anything that a translation depends on.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.changes.generation()
    }

    /// The connections that `ct(...)` tracks, of all bridges.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The log of changes.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// How many packets were looked up in each table. A cached flow adds its packets when it adds
    /// them to the counters of its rules.
    pub fn lookups(&self) -> &Arc<LookupCounts> {
        &self.lookups
    }

    /// The policy at this moment, seen from one bridge.
    fn snapshot_of(&self, bridge: BridgeId) -> Snapshot<'_> {
        let (tables, version) = self.tables.read();
        Snapshot {
            bridge,
            tables,
            ports: self.ports.read(),
            macs: self.macs.read(),
            recirc: &self.recirc,
            neighbours: &self.neighbours,
            conduct: self.conduct,
            version,
        }
    }

    /// The priority and the match of a rule. `None` if the rule has been removed and freed.
    pub fn match_of(&self, rule: &Rule) -> Option<(u16, Match)> {
        let (tables, _) = self.tables.read();
        let entry = tables.of(rule.bridge).rule(rule.place());
        entry.map(|entry| (entry.priority, entry.matches))
    }

    /// Translates a packet. The port in its key names the bridge.
    pub fn translate(&self, key: &FlowKey) -> Translation {
        self.translate_observed(key, &mut Unobserved)
    }

    /// Translates a packet as [`translate`](Self::translate) does, and returns each step of it.
    pub fn trace(&self, key: &FlowKey) -> (Translation, Vec<TraceStep>) {
        let mut recorder = Recorder::default();
        let translation = self.translate_observed(key, &mut recorder);
        (translation, recorder.into_steps())
    }

    /// As [`trace`](Self::trace), of a packet that comes in under these circumstances.
    pub fn trace_in(
        &self,
        circumstances: Circumstances,
        key: &FlowKey,
    ) -> (Translation, Vec<TraceStep>) {
        let mut recorder = Recorder::default();
        let view = self.snapshot_of(BridgeId::FIRST);
        let translation = xlate::translate(view.view(), key, circumstances, &mut recorder);
        drop(view);
        (translation, recorder.into_steps())
    }

    /// Translates a packet as [`translate`](Self::translate) does. `observer` hears how,
    /// while the locks are held.
    pub fn translate_observed(
        &self,
        key: &FlowKey,
        observer: &mut impl TranslationObserver,
    ) -> Translation {
        let view = self.snapshot_of(BridgeId::FIRST);
        xlate::translate(view.view(), key, Circumstances::RECEIVED, observer)
    }

    /// The bridge of a port, and the port's number in the bridge, by the datapath's number of the
    /// port. `None` if there is no such port.
    pub fn port_ref(&self, port_no: PortNo) -> Option<PortRef> {
        let ports = self.ports.read();
        ports.by_port_no(port_no).map(|(bridge, port)| PortRef { bridge, port: port.of_port })
    }

    /// Learns the hosts that a translation saw, at the time `now`. A host that is new or has moved
    /// counts as a change. The change is announced at once, or later together with other hosts
    /// while there are many.
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

    /// Notes the IP address of the sender of a packet, for those who ask which host has that address. `learn`
    /// are the hosts that the packet's translation learns, and `is_new` says whether [`learn`](Self::learn) did
    /// not know one of them.
    pub(crate) fn saw_sender(&self, key: &FlowKey, learn: &[Learn], is_new: bool) {
        if let Some(sender) = learn.first() {
            self.seen_addresses.saw(key, sender, is_new);
        }
    }

    /// Announces the learned hosts that wait for it, if their time has come.
    #[inline]
    pub fn announce_learned(&self, now: Duration) {
        if let Some(due) = self.announcements.due(now) {
            self.changes.hosts(&due);
        }
    }

    /// Tells that a cached flow was translated again because of a change of hosts. Many of these
    /// make announcements rarer.
    pub(crate) fn translated_for_hosts(&self) {
        self.announcements.caused_translation();
    }

    /// Which packets controllers want.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The pipeline states that are kept for later passes.
    pub(crate) fn recirc(&self) -> &RecircTable {
        &self.recirc
    }

    /// The budgets of floods, which all workers share.
    pub fn storm_control(&self) -> &StormControl {
        &self.storm
    }

    fn with_macs<R>(&self, bridge: BridgeId, change: impl FnOnce(&mut MacTable) -> R) -> R {
        let (result, changed) = {
            let mut macs = self.macs.write();
            let table = macs.of_mut(bridge);
            let result = change(table);
            let changed = self.take_changed_hosts(bridge, table);
            give_way(macs);
            (result, changed)
        };
        if !changed.is_empty() {
            self.changes.hosts(&changed);
        }
        result
    }

    /// Takes the list of hosts that have changed, and tells the observer. The caller still has the
    /// lock, so that the observer hears of changes in their order.
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

    /// Notes that a host's traffic was seen at the time `used`, so that it does not age. This is no change.
    pub fn refresh_mac(&self, Learn { host, port }: &Learn, used: Duration) {
        self.macs.write().of_mut(host.bridge).refresh(host.key, *port, used);
    }

    /// Removes the hosts of all bridges whose ageing time is over at `now`. Returns their number.
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
        // Translations that met one of these addresses, in whatever VLAN, depend on it as on a host.
        let own = changed.iter().flat_map(PortChange::own_addresses);
        let vlans = |mac| (0..4096).map(move |vlan| MacKey { vlan, mac });
        let own: Vec<HostRef> = own.flat_map(vlans).map(|key| HostRef { bridge, key }).collect();
        // Told in any case: ports change seldom, and the log wants to know.
        if let Some(observer) = &self.observer {
            observer.observe(Observed::Ports(changed));
        }
        if refs.iter().any(|at| ports.get(*at).is_none()) {
            self.seen_addresses.keep_ports(|at| ports.get(at).is_some());
            self.neighbours.keep_ports(|at| ports.get(at).is_some());
        }
        drop(ports);
        self.changes.ports(refs.into_iter());
        if !own.is_empty() {
            self.changes.hosts(&own);
        }
        result
    }

    fn tables_changed(&self, bridge: BridgeId, change: &Change) {
        let at = |table| TableRef { bridge, table };
        let (rules, learned): (Vec<RuleMatch>, _) = if change.rules().nth(LOGGED_RULES).is_none() {
            let ((tables, _), ports) = (self.tables.read(), self.ports.read());
            let (tables, ports) = (tables.of(bridge), ports.of(bridge));
            let port_no_of = |of_port| ports.get(of_port).and_then(PortInfo::port_no);
            let classifier = |table| Some(&tables.table(table)?.classifier);
            let words = |(table, id)| Some((table, classifier(table)?.masked_words(id)?));
            let mut rules = Vec::with_capacity(change.steps().len());
            for (table, words) in change.rules().filter_map(words) {
                rules.push(RuleMatch::new(at(table), words, port_no_of));
            }
            let is_learned = |&(table, id): &rule::RuleRef| {
                let rule = classifier(table).and_then(|classifier| classifier.get(id));
                rule.is_some_and(|rule| rule.learned_by.is_some())
            };
            let lost = change.lost_rules().filter(is_learned).filter_map(|at| tables.rule(at));
            let place = |e: Entry<'_, Arc<Rule>>| {
                self.changes.learned_place(e.value.table_ref(), e.priority, &e.matches)
            };
            (rules, Some(lost.map(place).collect::<Vec<u16>>()))
        } else {
            let tables: BTreeSet<TableId> = change.rules().map(|(table, _)| table).collect();
            (tables.into_iter().map(|table| RuleMatch::whole_table(at(table))).collect(), None)
        };
        let groups = change.groups().map(|group| (bridge, group));
        let meters = change.meters().map(|meter| (bridge, meter));
        self.changes.tables(rules, groups, meters, learned.as_deref());
    }
}

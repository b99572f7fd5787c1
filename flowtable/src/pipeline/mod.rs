//! A bridge's policy: tables, ports, learned hosts, and the translation that reads them.
//!
//! [`Pipeline`] is shared. Workers read it on a cache miss; the control thread changes it. A reader
//! holds the locks shared for one translation; a writer holds them exclusively for a slice of its
//! work. A change of many rules is not atomic because a lock is held, but because lookups use the
//! published version, and publishing is one store.
//!
//! The *generation* counts every change of whatever kind. Workers compare it with the one a cached
//! flow was last known to be right for, once a batch, after receiving: what was received after a
//! change returned is never judged by older rules. [`changes`] tells what a change was about, so that
//! a flow that it does not concern need not be translated again.

pub mod changes;
mod conduct;
pub mod lookup_counts;
pub mod mac_table;
pub mod ports;
pub mod recirc;
pub mod rule;
pub mod tables;
pub mod xlate;

#[cfg(test)]
mod mask_property;
#[cfg(test)]
mod tests;

use crate::action::Action;
use crate::classifier::Version;
use crate::datapath::storm::StormControl;
use crate::flow::{FlowKey, PipelineKey};
use crate::flow_mod::FlowMod;
use crate::group::GroupMod;
use crate::types::{OfPort, TableId};
use changes::Changes;
pub use conduct::Conduct;
use lookup_counts::LookupCounts;
use mac_table::{DEFAULT_AGEING, DEFAULT_CAPACITY, MacKey, MacTable};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
use ports::{PortInfo, PortTable};
use recirc::RecircTable;
use rule::{Expiry, Rule, RuleMatch};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
pub use tables::FlowModError;
use tables::{Change, RuleRef, Tables};
use xlate::{Learn, TraceStep, Translation, View};

/// Rules changed or freed under one exclusive lock: about a quarter of a millisecond.
const SLICE: usize = 256;

/// Rules of one change that are compared with cached flows one by one.
const LOGGED_RULES: usize = 32;

/// A bridge's policy. See the [module](self).
#[derive(Debug)]
pub struct Pipeline {
    tables: RwLock<Tables>,
    ports: RwLock<PortTable>,
    macs: RwLock<MacTable>,
    recirc: RecircTable,
    version: AtomicU64,
    changes: Changes,
    storm: StormControl,
    lookups: Arc<LookupCounts>,
    conduct: Conduct,
    /// Held by whoever prepares a change: one at a time.
    writer: Mutex<()>,
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

impl Pipeline {
    /// No rule, no port. The seed keys all hash functions.
    pub fn new(seed: u64) -> Self {
        Self {
            tables: RwLock::new(Tables::new(seed)),
            ports: RwLock::default(),
            macs: RwLock::new(MacTable::new(DEFAULT_CAPACITY, DEFAULT_AGEING, seed)),
            recirc: RecircTable::default(),
            version: AtomicU64::new(0),
            changes: Changes::new(seed),
            storm: StormControl::default(),
            lookups: Arc::default(),
            conduct: Conduct::default(),
            writer: Mutex::new(()),
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
        Snapshot {
            tables: self.tables.read(),
            ports: self.ports.read(),
            macs: self.macs.read(),
            recirc: &self.recirc,
            conduct: self.conduct,
            version: Version(self.version.load(Ordering::Acquire)),
        }
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

    /// Starts a change of rules and groups. Others wait for it to end.
    pub fn begin(&self) -> Transaction<'_> {
        let writer = self.writer.lock();
        let next = Version(self.version.load(Ordering::Relaxed)).next();
        Transaction { pipeline: self, change: Some(Change::new(next)), _writer: writer }
    }

    /// Applies all requests or none.
    ///
    /// # Errors
    /// The index of the first request that was refused, and why; nothing has changed.
    pub fn apply(&self, requests: &[FlowMod], now: Duration) -> Result<(), (usize, FlowModError)> {
        let mut transaction = self.begin();
        for (i, request) in requests.iter().enumerate() {
            transaction.apply(request, now).map_err(|e| (i, e))?;
        }
        transaction.commit();
        Ok(())
    }

    /// Learns hosts that a translation saw. Only news counts as a change. Returns the generation of
    /// that change if it was about nothing but these hosts.
    pub fn learn(&self, hosts: &[Learn], now: Duration) -> Option<u64> {
        if hosts.is_empty() {
            return None;
        }
        let changed = {
            let mut macs = self.macs.write();
            for host in hosts {
                macs.learn(host.key, host.port, now);
            }
            macs.take_changed()
        };
        let generation = self.hosts_changed(&changed)?;
        let is_own = |key: &MacKey| hosts.iter().any(|host| host.key == *key);
        changed.iter().all(is_own).then_some(generation)
    }

    fn hosts_changed(&self, hosts: &[MacKey]) -> Option<u64> {
        (!hosts.is_empty()).then(|| self.changes.hosts(hosts))
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
        self.hosts_changed(&changed);
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
        let rules: Vec<RuleMatch> = {
            let (tables, ports) = (self.tables.read(), self.ports.read());
            let no_of = |of| ports.get(of).map(|port| port.no);
            if change.rules().nth(LOGGED_RULES).is_none() {
                let entries = change.rules().filter_map(|at| Some((at.0, tables.rule(at)?)));
                entries.map(|(table, e)| RuleMatch::new(table, &e.matches, no_of)).collect()
            } else {
                let tables: BTreeSet<TableId> = change.rules().map(|(table, _)| table).collect();
                tables.into_iter().map(RuleMatch::whole_table).collect()
            }
        };
        self.changes.tables(rules, change.groups());
    }

    /// Removes rules whose time is over and returns them.
    pub fn expire(&self, now: Duration) -> Vec<(Arc<Rule>, Expiry)> {
        let over: Vec<(RuleRef, Arc<Rule>, Expiry)> = {
            let tables = self.tables.read();
            let version = Version(self.version.load(Ordering::Acquire));
            let entries = tables.rules(None, version);
            entries
                .filter_map(|e| {
                    let expiry = e.value.expired(now)?;
                    Some(((e.value.table, e.id), Arc::clone(e.value), expiry))
                })
                .collect()
        };
        if over.is_empty() {
            return Vec::new();
        }
        let mut transaction = self.begin();
        let rules: Vec<RuleRef> = over.iter().map(|(at, ..)| *at).collect();
        transaction.remove(&rules);
        transaction.commit();
        over.into_iter().map(|(_, rule, expiry)| (rule, expiry)).collect()
    }

    /// Frees some removed rules, which no lookup can see any more. True if there are more.
    pub fn purge(&self) -> bool {
        let mut freed = Vec::with_capacity(SLICE);
        let left = {
            let mut tables = self.tables.write();
            // A reader takes its version under the lock, so none is older than this one.
            let oldest = Version(self.version.load(Ordering::Acquire));
            tables.purge(oldest, SLICE, &mut freed);
            tables.removed_len()
        };
        left > 0 && !freed.is_empty()
    }
}

/// A change of rules and groups that is being prepared. Dropped without [`Transaction::commit`], it
/// never happened.
pub struct Transaction<'a> {
    pipeline: &'a Pipeline,
    /// `None` once committed.
    change: Option<Change>,
    _writer: MutexGuard<'a, ()>,
}

impl Transaction<'_> {
    /// Prepares one request. It sees what the ones before it did.
    ///
    /// # Errors
    /// Why it is refused. The transaction should be dropped then: the request may be half prepared.
    pub fn apply(&mut self, request: &FlowMod, now: Duration) -> Result<(), FlowModError> {
        let Some(change) = &mut self.change else {
            return Ok(());
        };
        use crate::flow_mod::Command;
        let selected = match request.command {
            Command::Add => Vec::new(),
            _ => self.pipeline.tables.read().select(request, change.version()),
        };
        let is_deletion = matches!(request.command, Command::Delete | Command::DeleteStrict);
        if is_deletion || selected.len() > SLICE {
            for slice in selected.chunks(SLICE) {
                self.pipeline.tables.write().prepare(change, request, slice, now)?;
            }
            return Ok(());
        }
        self.pipeline.tables.write().prepare(change, request, &selected, now)
    }

    /// Prepares additions in slices of the lock; for bulk loads.
    ///
    /// # Errors
    /// The index of the first request that was refused, and why. Drop the transaction then.
    pub fn apply_all(
        &mut self,
        requests: &[FlowMod],
        now: Duration,
    ) -> Result<(), (usize, FlowModError)> {
        use crate::flow_mod::Command;
        let mut done = 0;
        while done < requests.len() {
            if requests[done].command != Command::Add {
                self.apply(&requests[done], now).map_err(|e| (done, e))?;
                done += 1;
                continue;
            }
            let Some(change) = &mut self.change else {
                return Ok(());
            };
            let mut tables = self.pipeline.tables.write();
            let slice = requests[done..].iter().take(SLICE);
            for request in slice.take_while(|r| r.command == Command::Add) {
                tables.prepare(change, request, &[], now).map_err(|e| (done, e))?;
                done += 1;
            }
        }
        Ok(())
    }

    /// Prepares a change of a group.
    ///
    /// # Errors
    /// Why it is refused. The transaction should be dropped then.
    pub fn apply_group(&mut self, request: &GroupMod, now: Duration) -> Result<(), FlowModError> {
        match &mut self.change {
            Some(change) => self.pipeline.tables.write().prepare_group(change, request, now),
            None => Ok(()),
        }
    }

    fn remove(&mut self, rules: &[RuleRef]) {
        if let Some(change) = &mut self.change {
            for slice in rules.chunks(SLICE) {
                self.pipeline.tables.write().remove(change, slice);
            }
        }
    }

    /// Publishes the change: from now on every lookup sees all of it.
    pub fn commit(mut self) {
        let Some(change) = self.change.take() else {
            return;
        };
        if !change.is_empty() {
            self.pipeline.version.store(change.version().0, Ordering::Release);
            self.pipeline.tables_changed(&change);
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if let Some(change) = self.change.take() {
            self.pipeline.tables.write().roll_back(change);
        }
    }
}

//! The bridges of a switch, and the access to one of them.
//!
//! All bridges of a switch share one lock for their rules, one for their ports and one for their
//! hosts, and one version and one generation. A translation that crosses from one bridge to another
//! therefore takes no further lock, and two translations that cross in opposite directions cannot
//! wait for each other.
//!
//! A bridge that is removed leaves its number, which the next new bridge takes. A caller that still
//! has the number of a removed bridge finds no rules, ports and hosts there.

use super::audience::{Unasked, Wanted};
use super::bridge_id::{BridgeId, TableRef};
use super::mac_table::MacTable;
use super::observer::Observed;
use super::ports::PortTable;
use super::recirc::Continuation;
use super::rule::RuleMatch;
use super::tables::Tables;
use super::{Policy, Snapshot, xlate};
use flow::action::Action;
use flow::flow_mod::{Command, FlowMod};
use flow::key::PipelineKey;
use flow::types::{Fragments, TableId};
use std::sync::Arc;
use std::time::Duration;

/// Why a bridge was not added. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddBridgeError {
    /// Another bridge has the name.
    #[error("bridge \"{0}\" exists already")]
    Exists(Arc<str>),
    /// The switch has [`BridgeId::COUNT`] bridges already.
    #[error("the switch has {} bridges already, as many as there can be", BridgeId::COUNT)]
    TooMany,
}

/// One bridge of a policy: its rules, groups, ports and hosts.
#[derive(Clone, Copy, Debug)]
pub struct Bridge<'a> {
    pub(super) policy: &'a Policy,
    pub(super) id: BridgeId,
}

impl<'a> Bridge<'a> {
    /// The bridge's number in the policy.
    pub fn id(self) -> BridgeId {
        self.id
    }

    /// The policy that the bridge belongs to.
    pub fn policy(self) -> &'a Policy {
        self.policy
    }

    /// The bridge's name; empty after the bridge was removed.
    pub fn name(self) -> Arc<str> {
        Arc::clone(self.policy.ports.read().of(self.id).bridge_name())
    }

    /// The state of the bridge at this moment. A snapshot holds the locks shared, so that writers
    /// wait for its end.
    pub fn snapshot(self) -> Snapshot<'a> {
        self.policy.snapshot_of(self.id)
    }

    /// Translates a packet-out: what `actions` do to a packet with this key in this bridge.
    pub fn translate_packet_out(self, key: &PipelineKey, actions: &[Action]) -> xlate::Translation {
        xlate::translate_packet_out(self.snapshot().view(), self.id, key, actions)
    }

    /// Translates a packet that goes on where it waited for a controller. `key` has the headers of the packet,
    /// and the state that the controller sends back.
    pub fn translate_resumed(
        self,
        key: &PipelineKey,
        continuation: &Continuation,
    ) -> xlate::Translation {
        xlate::translate_resumed(self.snapshot().view(), self.id, key, continuation)
    }

    /// Changes the bridge's learned hosts. The change counts as one of the hosts that differ afterwards.
    pub fn with_macs<R>(self, change: impl FnOnce(&mut MacTable) -> R) -> R {
        self.policy.with_macs(self.id, change)
    }

    /// What the bridge does with IP fragments.
    pub fn fragments(self) -> Fragments {
        self.policy.ports.read().of(self.id).fragments()
    }

    /// Sets what the bridge does with IP fragments. All packets that are received afterwards are handled so.
    pub fn handle_fragments(self, fragments: Fragments) {
        let is_change = self.policy.ports.write().handle_fragments(self.id, fragments);
        if is_change {
            self.has_changed_as_a_whole();
        }
    }

    /// Says which packets the controllers of the bridge want. All packets that are
    /// received afterwards are handled so.
    pub fn hear(self, wanted: Wanted) {
        let unasked = Unasked::of(&wanted);
        self.policy.audience.set(self.id, wanted);
        let is_change = self.policy.ports.write().hear(self.id, unasked);
        if is_change {
            self.has_changed_as_a_whole();
        }
    }

    /// Tells workers that every verdict of the bridge may have changed.
    fn has_changed_as_a_whole(self) {
        let tables = (0..TableId::COUNT).filter_map(|n| TableId::new(n as u8));
        let whole = |table| RuleMatch::whole_table(TableRef { bridge: self.id, table });
        let (groups, meters) = (std::iter::empty(), std::iter::empty());
        self.policy.changes.tables(tables.map(whole).collect(), groups, meters, Some(&[]));
    }

    /// Changes the bridge's ports. The change counts as one of the ports that differ afterwards.
    pub fn with_ports<R>(self, change: impl FnOnce(&mut PortTable) -> R) -> R {
        self.policy.with_ports(self.id, change)
    }
}

impl Policy {
    /// Adds a bridge without rules and ports.
    ///
    /// # Errors
    /// [`AddBridgeError`]; nothing has changed then.
    pub fn add_bridge(&self, name: &str) -> Result<BridgeId, AddBridgeError> {
        // Adding and removing a bridge hold this lock, so that they can take the three locks below
        // one after the other.
        let mut shape = self.shape.lock();
        let name: Arc<str> = name.into();
        if self.find_bridge(&name).is_some() {
            return Err(AddBridgeError::Exists(name));
        }
        let id = match shape.free.pop() {
            Some(id) => id,
            None if shape.count < BridgeId::COUNT => {
                let id = BridgeId::at(shape.count);
                shape.count += 1;
                let seed = self.seed ^ u64::from(id.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                self.tables.step(|tables| tables.push(Tables::new(id, seed)));
                self.macs.write().push(MacTable::with_defaults(seed));
                self.ports.write().push_bridge();
                id
            }
            None => return Err(AddBridgeError::TooMany),
        };
        self.lookups.clear(id);
        self.ports.write().name_bridge(id, Arc::clone(&name));
        self.observe(|| Observed::BridgeAdded { bridge: id, name });
        Ok(id)
    }

    /// Removes a bridge with its rules, groups, ports and hosts. Does nothing if it was removed already.
    pub fn remove_bridge(&self, id: BridgeId, now: Duration) {
        let mut shape = self.shape.lock();
        if self.bridge(id).name().is_empty() {
            return;
        }
        self.with_ports(id, PortTable::clear);
        self.ports.write().name_bridge(id, Arc::default());
        let everything = FlowMod::new(Command::Delete, 0, flow::Match::any(), Vec::new());
        let mut transaction = self.bridge(id).begin();
        // A deletion is never refused.
        let _ = transaction.apply(&everything, now);
        let all_groups = flow::group::GroupMod::Delete(flow::types::GroupId::ALL);
        let _ = transaction.apply_group(&all_groups, now);
        let all_meters = flow::meter::MeterMod::Delete(flow::types::MeterId::ALL);
        let _ = transaction.apply_meter(&all_meters, now);
        transaction.commit();
        self.bridge(id).step(Tables::forget_settings);
        self.bridge(id).clear_hosts();
        self.observe(|| Observed::BridgeRemoved { bridge: id });
        shape.free.push(id);
    }

    fn observe(&self, observed: impl FnOnce() -> Observed) {
        if let Some(observer) = &self.observer {
            observer.observe(observed());
        }
    }

    /// The bridge with this number. The number of a removed bridge gives an empty one.
    pub fn bridge(&self, id: BridgeId) -> Bridge<'_> {
        Bridge { policy: self, id }
    }

    /// The bridge with this name; `None` if there is none.
    pub fn find_bridge(&self, name: &str) -> Option<Bridge<'_>> {
        let ports = self.ports.read();
        let found = ports.bridges().find(|(_, table)| **table.bridge_name() == *name);
        found.map(|(id, _)| self.bridge(id))
    }

    /// All bridges with their names, in the order of their numbers.
    pub fn bridges(&self) -> Vec<(BridgeId, Arc<str>)> {
        let ports = self.ports.read();
        ports.bridges().map(|(id, table)| (id, Arc::clone(table.bridge_name()))).collect()
    }
}

/// The numbers of bridges that are in use.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Number of bridge numbers given out so far.
    count: usize,
    /// The numbers whose bridge was removed.
    free: Vec<BridgeId>,
}

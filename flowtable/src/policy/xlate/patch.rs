//! Patches: a packet that leaves one bridge and comes in at another, within one translation.
//!
//! The bridges see two ports, one each. What the second bridge does to the packet and to its pipeline state
//! does not last when the first one goes on, nor do errors: as in Open vSwitch (`patch_port_output`), each
//! bridge is a switch of its own. A packet that goes round between bridges ends like one that is resubmitted
//! without end, at [`MAX_DEPTH`](super::MAX_DEPTH).

use super::{Ctx, Note, OnMiss, TranslationObserver};
use crate::policy::ports::{PatchPort, PortInfo};
use flow::types::TableId;
use flow::verdict::DropReason;
use std::sync::Arc;

/// A patch that a packet crosses. Both ends count the packet.
#[derive(Clone, Debug)]
pub struct PatchCrossing {
    /// The patch port at which the packet leaves the first bridge.
    pub from: Arc<PatchPort>,
    /// The patch port at which the packet comes in at the second bridge.
    pub to: Arc<PatchPort>,
}

impl PatchCrossing {
    /// Counts packets at both patch ports.
    pub fn count(&self, packets: u64, bytes: u64) {
        self.from.counters.add_sent(packets, bytes);
        self.to.counters.add_received(packets, bytes);
    }

    /// Whether both crossings are between the same two patch ports.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.from, &other.from) && Arc::ptr_eq(&self.to, &other.to)
    }
}

impl<O: TranslationObserver> Ctx<'_, O> {
    /// Sends the packet through a patch port of this bridge.
    pub(super) fn cross(&mut self, port: &PortInfo, patch: &Arc<PatchPort>) {
        let Some((bridge, peer)) = self.view.ports.peer(&port.name, patch) else {
            self.out.depends.misses_port = true;
            self.hint = Some(DropReason::NoPatchPeer);
            return self.observer.note(|| Note::NoPatchPeer(Arc::clone(&patch.peer)));
        };
        if let Some(to) = peer.as_patch() {
            let (from, to) = (Arc::clone(patch), Arc::clone(to));
            self.out.patches.push(PatchCrossing { from, to });
        }
        let packet = self.packet.save();
        let first = (self.bridge, self.exit, self.matched, self.was_mpls);
        let (stack, action_set) =
            (std::mem::take(&mut self.stack), std::mem::take(&mut self.action_set));
        self.bridge = bridge;
        self.depend_on_port(peer.of_port);
        let name = self.ports().bridge_name();
        self.observer.enter_bridge(name);
        self.packet.arrive(peer.of_port);
        if self.may_come_in(peer) {
            self.pass_through(peer);
        } else {
            self.hint = Some(DropReason::PortNoReceive);
        }
        self.observer.leave();
        self.packet.restore(&packet);
        (self.bridge, self.exit, self.matched, self.was_mpls) = first;
        (self.stack, self.action_set) = (stack, action_set);
        if let Some(error) = self.error.take() {
            self.hint = Some(error);
        }
    }

    /// Executes the rules of the second bridge on the packet.
    fn pass_through(&mut self, peer: &PortInfo) {
        self.matched = false;
        // The reason, unless a later step finds another one.
        self.hint = Some(DropReason::RuleDrop);
        // A rule that pops labels would spoil the packet for what the first bridge still does with it; as the
        // contents of a clone, it does not.
        let table = TableId::default();
        self.look_up_and(peer.of_port, table, true, OnMiss::ToControllers, Self::clone_actions);
        if !self.matched && self.error.is_none() {
            self.hint = Some(DropReason::TableMiss);
        }
        self.end_of_pass();
    }
}

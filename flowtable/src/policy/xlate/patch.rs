//! Patches: a packet that leaves one bridge and comes in at another, within one translation.
//!
//! The bridges see two ports, one each. What the second bridge does to the packet and to its pipeline state does not
//! last when the first one goes on, nor do errors: as in Open vSwitch (`patch_port_output`), each bridge is a switch of
//! its own. A packet that goes round between bridges ends like one that is resubmitted without end, at
//! [`MAX_DEPTH`](super::MAX_DEPTH).

use super::{Ctx, Note, TranslationObserver};
use crate::policy::ports::{PatchPort, PortInfo};
use flow::types::TableId;
use flow::verdict::DropReason;
use std::sync::Arc;

/// A patch that a packet goes through, to count it at both ends.
#[derive(Clone, Debug)]
pub struct PatchCrossing {
    /// The end at which it leaves.
    pub from: Arc<PatchPort>,
    /// The end at which it comes in.
    pub to: Arc<PatchPort>,
}

impl PatchCrossing {
    /// Counts packets at both ends.
    pub fn count(&self, packets: u64, bytes: u64) {
        self.from.counters.add_sent(packets, bytes);
        self.to.counters.add_received(packets, bytes);
    }

    /// Both are about the same two ends.
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
        if peer.receives() {
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

    /// All that the second bridge does with the packet.
    fn pass_through(&mut self, peer: &PortInfo) {
        self.matched = false;
        // Unless something else is found that keeps it from leaving.
        self.hint = Some(DropReason::RuleDrop);
        // A rule that pops labels would spoil the packet for what the first bridge still does with it; as the
        // contents of a clone, it does not.
        self.look_up_and(peer.of_port, TableId::default(), true, Self::clone_actions);
        if !self.matched && self.error.is_none() {
            self.hint = Some(DropReason::TableMiss);
        }
        self.end_of_pass();
    }
}

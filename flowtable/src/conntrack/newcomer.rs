//! Packets that begin connections, as far as that is known without a lock.
//!
//! A worker reads the newcomers of a batch ahead ([`Connections::newcomer`]), so that it waits once for the
//! memory that tells of all of them. Then each may begin its connection ([`Connections::begin_new`]).

use super::connection::ProtocolState;
use super::nat::Sought;
use super::shard::NewConnection;
use super::timeouts::ms;
use super::tuple::CtPacket;
use super::{Connections, CtArrival, CtBudget, FoundConnection};
use flow::types::PortNo;
use flow::verdict::CtAction;
use packet::Frame;
use std::time::Duration;

/// A packet that may begin a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    packet: CtPacket,
    /// The hash by which its connection is found.
    hash: u64,
    /// Whether no connection has the packet's tuple for certain.
    is_unknown: bool,
}

impl Newcomer {
    fn sought(&self) -> Sought {
        Sought::new(&self.packet.tuple, self.hash)
    }
}

impl Connections {
    /// Reads the packet of a frame for a zone. `None` if it begins no connection, or perhaps one of which
    /// another has told.
    pub(crate) fn newcomer(&self, frame: &Frame<'_>, zone: u16) -> Option<Newcomer> {
        let packet = self.read(frame, zone).filter(|_| self.expectations.is_empty())?;
        if packet.is_error || !ProtocolState::may_begin(&packet) {
            return None;
        }
        let hash = self.sought(&packet.tuple).hash;
        Some(Newcomer { packet, hash, is_unknown: false })
    }

    /// Asks of newcomers, without a lock, whether their connections are known.
    ///
    /// In a loop of its own, and a short one, so that the processor waits once for the memory that
    /// tells of all of them.
    pub(crate) fn look_for(&self, newcomers: &mut [Newcomer]) {
        for newcomer in newcomers {
            newcomer.is_unknown = !self.presence.may_have(newcomer.hash);
        }
    }

    /// What is found of a newcomer that was looked for; `None` if its connection may be known. While the budget
    /// of a worker and a port is spent, it is looked for once more, with a lock: frames of a flood shall not
    /// take the long way.
    pub(crate) fn found_of_new(
        &self,
        now: Duration,
        newcomer: &Newcomer,
        (budget, port): (&CtBudget, PortNo),
    ) -> Option<FoundConnection> {
        let is_unknown = newcomer.is_unknown
            || budget.is_spent(ms(now), port)
                && self.locate_sought(&newcomer.packet.tuple, newcomer.sought()).slot.is_none();
        is_unknown.then(|| FoundConnection::new(&newcomer.packet.tuple))
    }

    /// Carries out an action on a newcomer in a frame of `size` bytes that was not known: begins its
    /// connection, if the budget of a worker and a port allows it. Nothing else may happen because of the
    /// action: it neither translates nor has a helper.
    pub(crate) fn begin_new(
        &self,
        now: Duration,
        newcomer: &Newcomer,
        action: &CtAction,
        size: usize,
        budget: (&CtBudget, PortNo),
    ) {
        let packet = &newcomer.packet;
        let now = ms(now);
        if !self.may_begin(&packet.tuple, Some(budget), now) {
            return;
        }
        let mut gone = Vec::new();
        let mut at = self.locate_sought(&packet.tuple, newcomer.sought());
        if at.slot.is_none() {
            let (original, state) = (packet.tuple, ProtocolState::begin(packet));
            let new = NewConnection { original, state, nat: None, help: None };
            if let Some(slot) = self.add(&mut at, new, now, &mut gone)
                && let Some(commit) = &action.commit
            {
                self.commit(&mut at.shard, slot, commit, Some(size), now);
            }
            drop(at);
        } else {
            // Another worker has been faster, or a frame of the same batch.
            drop(at);
            let arrival = CtArrival { now, size, before: None, budget: Some(budget) };
            // The error would be that no address is free for a translation.
            let _ = self.track_sought(packet, newcomer.sought(), action, &arrival, &mut gone);
        }
        self.remove_aliases(&mut gone);
    }
}

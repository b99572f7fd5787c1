//! Packets for controllers: those that actions ask for, and those that go there unasked.

use super::{Ctx, Note, OnMiss, TranslationObserver};
use flow::table_mod::TableMiss;
use flow::types::{MeterId, OfPort};
use flow::verdict::{ControllerMeta, DpAction, DropReason, PacketInReason};
use std::sync::Arc;

/// What an action says of a packet for controllers.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToController<'p> {
    pub(super) max_len: u16,
    pub(super) reason: PacketInReason,
    /// The id of the controller; 0 is every controller that has not asked for another id.
    pub(super) controller_id: u16,
    pub(super) userdata: &'p [u8],
    /// The meter that the action names; `None` leaves the packet to the bridge's meter of packet-ins.
    pub(super) meter_id: Option<u32>,
}

impl ToController<'_> {
    /// The whole packet goes to the controllers that have no id, for this reason.
    pub(super) fn plain(reason: PacketInReason) -> Self {
        Self { max_len: u16::MAX, reason, controller_id: 0, userdata: &[], meter_id: None }
    }
}

impl<O: TranslationObserver> Ctx<'_, O> {
    /// The reason of an output to `CONTROLLER` at this point. The order is that of Open vSwitch.
    pub(super) fn output_reason(&self) -> PacketInReason {
        if self.is_packet_out {
            PacketInReason::PacketOut
        } else if self.in_group {
            PacketInReason::Group
        } else if self.in_action_set {
            PacketInReason::ActionSet
        } else {
            PacketInReason::Action
        }
    }

    /// Gives a copy of the packet, as it is now, to controllers.
    pub(super) fn controller(&mut self, to: &ToController<'_>) {
        if !self.spend_for(to.userdata.len()) {
            return;
        }
        self.commit();
        let meta = self.controller_meta(to);
        self.out.actions.push(DpAction::Controller(Arc::new(meta)));
        self.outputs += 1;
    }

    /// Stops the walk until a controller resumes the packet, which goes on behind the action.
    pub(super) fn pause(&mut self, to: &ToController<'_>) {
        if !self.spend_for(to.userdata.len()) {
            return;
        }
        let meta = self.controller_meta(to);
        self.pause = Some(Box::new(meta));
        self.freeze();
    }

    fn controller_meta(&mut self, to: &ToController<'_>) -> ControllerMeta {
        let reason = match to.reason {
            PacketInReason::Action if self.is_rule_for_misses() => PacketInReason::ExplicitMiss,
            reason => reason,
        };
        let meter = self.meter_ref(to.meter_id.map_or(MeterId::CONTROLLER, MeterId));
        let state = self.packet.told_state();
        ControllerMeta {
            bridge: self.bridge,
            max_len: to.max_len,
            reason,
            controller_id: to.controller_id,
            meter,
            table: self.table.get(),
            cookie: self.cookie,
            userdata: to.userdata.to_vec(),
            state,
            unwanted: match reason {
                PacketInReason::ImplicitMiss => DropReason::TableMiss,
                PacketInReason::InvalidTtl => DropReason::InvalidTtl,
                _ => DropReason::NoController,
            },
            paused: None,
        }
    }

    /// Whether the rule whose actions are executed is for the packets that no other rule matches: it has
    /// priority 0 and matches every packet (OpenFlow 1.3.5 §5.4).
    fn is_rule_for_misses(&self) -> bool {
        let entry = self.rule.and_then(|rule| self.tables().rule(rule.place()));
        entry.is_some_and(|entry| entry.priority == 0 && entry.matches == flow::Match::any())
    }

    /// A table has no rule for the packet, which came in on `in_port`: controllers get it, if some want such
    /// packets and neither the table's setting nor the port's forbids it.
    pub(super) fn miss_to_controllers(&mut self, in_port: OfPort) {
        let drops = self.tables().miss(self.table) == Some(TableMiss::Drop);
        if drops || !self.ports().unasked().misses {
            return;
        }
        self.depend_on_port(in_port);
        if self.ports().get(in_port).is_some_and(|port| port.config.no_packet_in) {
            return;
        }
        self.observer.note(|| Note::ToControllers(PacketInReason::ImplicitMiss));
        let saved = std::mem::replace(&mut self.cookie, 0);
        self.controller(&ToController::plain(PacketInReason::ImplicitMiss));
        self.cookie = saved;
    }

    /// The packet's TTL has run out: the controllers with these ids get it, if some want such packets. An empty
    /// list means the controllers without id.
    pub(super) fn expired_to_controllers(&mut self, ids: &[u16]) {
        if !self.ports().unasked().invalid_ttl {
            return;
        }
        self.observer.note(|| Note::ToControllers(PacketInReason::InvalidTtl));
        for &controller_id in if ids.is_empty() { &[0][..] } else { ids } {
            let plain = ToController::plain(PacketInReason::InvalidTtl);
            self.controller(&ToController { controller_id, ..plain });
        }
    }

    /// Looks the packet up in the first table, as an output to `TABLE` does.
    pub(super) fn output_to_table(&mut self) {
        self.is_last = false;
        let in_port = self.in_port();
        self.table_lookup(in_port, flow::types::TableId::default(), true, OnMiss::ToControllers);
    }
}

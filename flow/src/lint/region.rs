//! Computes which packets a rule sends to other tables.
//!
//! A packet that matched the rule has the values of the match, until an action changes them. A field whose new
//! value depends on the packet counts as unknown. So the computed set may have packets that the rule never
//! sends, and it has every packet that the rule does send.

use crate::action::{Action, Nested, Writes};
use crate::fields::FieldId;
use crate::key::Headers;
use crate::types::{OfPort, TableId};
use crate::{Match, PipelineKey, PipelineMask};

/// One `resubmit` or `goto_table` of a rule.
pub(super) struct Hop {
    /// The table to which the rule sends packets.
    pub(super) table: TableId,
    /// A match that every such packet meets.
    pub(super) packets: Match,
}

/// Every `resubmit` and `goto_table` of a rule of `table`, in the order of its actions.
pub(super) fn hops(table: TableId, matching: &Match, actions: &[Action]) -> Vec<Hop> {
    let mut hops = Vec::new();
    Region { key: *matching.key(), mask: *matching.mask() }.walk(table, actions, &mut hops);
    hops
}

/// The packets at some point of an action list: those that have the values of `key` in the bits of `mask`.
#[derive(Clone, Copy)]
struct Region {
    key: PipelineKey,
    mask: PipelineMask,
}

impl Region {
    fn walk(&mut self, table: TableId, actions: &[Action], hops: &mut Vec<Hop>) {
        for action in actions {
            match action.nested() {
                Nested::None => {}
                Nested::OnCopy(inner) => (*self).clone().walk(table, inner, hops),
                Nested::AtEnd(inner) => {
                    // An action set is carried out when the pipeline ends, on packets
                    // that other rules have changed.
                    let mut unknown = Self { key: self.key, mask: PipelineMask::default() };
                    unknown.walk(table, inner, hops);
                }
                // These change the connection. Another packet finds the changes.
                Nested::OnConnection(_) => {}
            }
            match action {
                Action::GotoTable(table) => hops.push(self.hop(*table, None)),
                Action::Resubmit { in_port, table: to } => {
                    hops.push(self.hop(to.unwrap_or(table), *in_port));
                    // The rules of that table may change every field before the pipeline comes back.
                    *self = Self { key: PipelineKey::default(), mask: PipelineMask::default() };
                }
                Action::Ct(ct) => {
                    self.change(action);
                    if let Some(to) = ct.table {
                        hops.push(self.hop(to, None));
                    }
                    // Behind the action, the packet is known not to be tracked.
                    self.set(FieldId::CtState, 0, FieldId::CtState.full_mask());
                }
                Action::CtClear => self.set(FieldId::CtState, 0, FieldId::CtState.full_mask()),
                Action::Exit => return,
                action => self.change(action),
            }
        }
    }

    fn hop(&self, table: TableId, in_port: Option<OfPort>) -> Hop {
        let mut there = *self;
        if let Some(port) = in_port.filter(|port| *port != OfPort::IN_PORT) {
            there.set(FieldId::InPort, port.0.into(), u128::MAX);
        }
        Hop { table, packets: Match::new(&there.key, &there.mask) }
    }

    fn change(&mut self, action: &Action) {
        match action.writes() {
            Writes::Nothing => {}
            Writes::Field { field, mask, value: Some(value) } => self.set(field, value, mask),
            Writes::Field { field, mask, value: None } => self.forget_bits(field, mask),
            Writes::Tags => self.forget_bits(FieldId::VlanTci, u128::MAX),
            Writes::Labels => self.mask.bits.headers = Headers::default(),
            Writes::Connection => self.mask.bits.headers.clear_connection(),
            Writes::Anything => self.mask = PipelineMask::default(),
        }
    }

    fn set(&mut self, field: FieldId, value: u128, mask: u128) {
        field.write(&mut self.key, value, mask);
        field.set_mask(&mut self.mask, mask);
    }

    fn forget_bits(&mut self, field: FieldId, bits: u128) {
        match field.is_vlan() {
            true => FieldId::VlanTci.clear_mask(&mut self.mask, u128::MAX),
            false => field.clear_mask(&mut self.mask, bits),
        }
        // The packet may have lost the option, or have got it.
        FieldId::TunOptions.clear_mask(&mut self.mask, field.option_bit().into());
    }
}

//! What is known of the packets that a rule resubmits.
//!
//! A packet that matched has the values of the match; actions change some of them. What an action
//! leaves unknown is forgotten, so a region may be too large, never too small.

use crate::action::{Action, Writes};
use crate::fields::FieldId;
use crate::key::Headers;
use crate::types::{OfPort, TableId};
use crate::{Match, PipelineKey, PipelineMask};

/// A table that packets are sent to, and which packets these are.
pub(super) struct Hop {
    pub(super) table: TableId,
    pub(super) packets: Match,
}

/// Where a rule of `table` sends its packets, in order.
pub(super) fn hops(table: TableId, matching: &Match, actions: &[Action]) -> Vec<Hop> {
    let mut hops = Vec::new();
    Region { key: *matching.key(), mask: *matching.mask() }.walk(table, actions, &mut hops);
    hops
}

#[derive(Clone, Copy)]
struct Region {
    key: PipelineKey,
    mask: PipelineMask,
}

impl Region {
    fn walk(&mut self, table: TableId, actions: &[Action], hops: &mut Vec<Hop>) {
        for action in actions {
            match action {
                Action::GotoTable(table) => hops.push(self.hop(*table, None)),
                Action::Resubmit { in_port, table: to } => {
                    hops.push(self.hop(to.unwrap_or(table), *in_port));
                    // The rules over there may change anything.
                    *self = Self { key: PipelineKey::default(), mask: PipelineMask::default() };
                }
                Action::Clone(inner) => (*self).clone().walk(table, inner, hops),
                Action::WriteActions(inner) => {
                    // They are executed at the very end.
                    let mut unknown = Self { key: self.key, mask: PipelineMask::default() };
                    unknown.walk(table, inner, hops);
                }
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
            Writes::Anything => self.mask = PipelineMask::default(),
        }
    }

    fn set(&mut self, field: FieldId, value: u128, mask: u128) {
        field.write(&mut self.key, value, mask);
        field.set_mask(&mut self.mask, mask);
    }

    fn forget_bits(&mut self, field: FieldId, bits: u128) {
        match is_vlan(field) {
            true => FieldId::VlanTci.clear_mask(&mut self.mask, u128::MAX),
            false => field.clear_mask(&mut self.mask, bits),
        }
    }
}

/// Fields that share the tag's bits with the one that says there is a tag.
fn is_vlan(field: FieldId) -> bool {
    matches!(field, FieldId::VlanVid | FieldId::DlVlan | FieldId::DlVlanPcp | FieldId::VlanPcp)
}

//! What is known of the packets that a rule resubmits.
//!
//! A packet that matched has the values of the match; actions change some of them. What an action
//! leaves unknown is forgotten, so a region may be too large, never too small.

use crate::action::Action;
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
        match action {
            Action::SetField { field: field @ FieldId::VlanTci, value, mask, .. } => {
                self.set(*field, *value, *mask);
            }
            Action::SetField { field, .. } if is_vlan(*field) => self.forget(FieldId::VlanTci),
            Action::SetField { field, value, mask, .. } => self.set(*field, *value, *mask),
            Action::WriteMetadata { value, mask } => {
                self.set(FieldId::Metadata, (*value).into(), (*mask).into());
            }
            Action::SetVlanVid { .. }
            | Action::SetVlanPcp { .. }
            | Action::StripVlan
            | Action::PushVlan(_) => self.forget(FieldId::VlanTci),
            Action::SetEthSrc(mac) => self.set(FieldId::EthSrc, bits(mac.0), u128::MAX),
            Action::SetEthDst(mac) => self.set(FieldId::EthDst, bits(mac.0), u128::MAX),
            Action::SetIpv4Src(addr) => self.set(FieldId::Ipv4Src, (*addr).into(), u128::MAX),
            Action::SetIpv4Dst(addr) => self.set(FieldId::Ipv4Dst, (*addr).into(), u128::MAX),
            Action::SetIpDscp(_) | Action::SetIpEcn(_) => self.forget(FieldId::NwTos),
            Action::SetIpTtl(ttl) => self.set(FieldId::IpTtl, (*ttl).into(), u128::MAX),
            Action::DecTtl(_) => self.forget(FieldId::IpTtl),
            Action::SetL4Src(port) => self.set(FieldId::TcpSrc, (*port).into(), u128::MAX),
            Action::SetL4Dst(port) => self.set(FieldId::TcpDst, (*port).into(), u128::MAX),
            Action::Move { dst, .. } | Action::StackPop(dst) => {
                self.forget_bits(dst.field, dst.mask())
            }
            Action::CheckPktLarger { dst, .. } => self.forget_bits(dst.field, dst.mask()),
            Action::SetMplsLabel(_)
            | Action::SetMplsTc(_)
            | Action::SetMplsTtl(_)
            | Action::DecMplsTtl
            | Action::PushMpls(_)
            | Action::PopMpls(_) => {
                self.mask.bits.headers = Headers::default();
            }
            _ => {}
        }
    }

    fn set(&mut self, field: FieldId, value: u128, mask: u128) {
        field.write(&mut self.key, value, mask);
        field.set_mask(&mut self.mask, mask);
    }

    fn forget(&mut self, field: FieldId) {
        self.forget_bits(field, field.full_mask());
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

fn bits(mac: [u8; 6]) -> u128 {
    u128::from(crate::types::mac_bits(mac))
}

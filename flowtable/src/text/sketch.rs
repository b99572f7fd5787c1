//! What is known of a packet at some point of an action list, from the match and the actions so far.
//!
//! Enough to tell whether `mod_nw_src` can apply, and how a version of OpenFlow writes
//! `mod_vlan_vid`. This follows Open vSwitch, approximations included.

use crate::action::Action;
use crate::flow::fields::FieldId;
use crate::flow::key::{PipelineKey, VLAN_CFI};
use crate::flow::matching::Match;
use crate::flow::prerequisite::Prerequisite;

/// What is known of a packet.
#[derive(Clone)]
pub(super) struct Sketch {
    key: PipelineKey,
    /// The tag behind the outer one.
    inner_tci: u16,
}

impl Sketch {
    /// What a match says.
    pub(super) fn new(matching: &Match) -> Self {
        Self { key: *matching.key(), inner_tci: 0 }
    }

    pub(super) fn is_tagged(&self) -> bool {
        self.key.flow.vlan_tci.get() & VLAN_CFI != 0
    }

    pub(super) fn has_two_tags(&self) -> bool {
        self.is_tagged() && self.inner_tci & VLAN_CFI != 0
    }

    pub(super) fn nw_proto(&self) -> u8 {
        self.key.flow.nw_proto
    }

    pub(super) fn meets(&self, prerequisite: Prerequisite) -> bool {
        prerequisite.met(&self.key)
    }

    /// The packet behind the action.
    pub(super) fn apply(&mut self, action: &Action) {
        let flow = &mut self.key.flow;
        match action {
            Action::SetVlanVid { .. } | Action::SetVlanPcp { .. } => flow.vlan_tci |= VLAN_CFI,
            Action::StripVlan => {
                flow.vlan_tci = self.inner_tci.into();
                self.inner_tci = 0;
            }
            Action::PushVlan(_) => {
                self.inner_tci = flow.vlan_tci.get();
                flow.vlan_tci = VLAN_CFI.into();
            }
            Action::SetField { field: FieldId::VlanTci, value, .. } => {
                flow.vlan_tci = (*value as u16).into();
            }
            Action::PushMpls(ty) => {
                flow.dl_type = (*ty).into();
                flow.nw_proto = 0;
            }
            Action::PopMpls(ty) => flow.dl_type = (*ty).into(),
            _ => {}
        }
    }
}

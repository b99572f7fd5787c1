//! What is known of a packet at some point of an action list, from the match and the actions so far.
//!
//! Enough to tell whether `mod_nw_src` can apply, and how a version of OpenFlow writes
//! `mod_vlan_vid`. This follows Open vSwitch, approximations included.

use crate::action::Action;
use crate::fields::FieldId;
use crate::key::{Headers, PipelineKey, VLAN_CFI};
use crate::matching::Match;
use crate::prerequisite::Prerequisite;
use std::borrow::Cow;

/// What is known of a packet. As long as no action changes it, that is the key of the match.
#[derive(Clone)]
pub(super) struct Sketch<'a> {
    key: Cow<'a, PipelineKey>,
    /// The tag behind the outer one.
    inner_tci: u16,
}

impl<'a> Sketch<'a> {
    /// What a match says.
    pub(super) fn new(matching: &'a Match) -> Self {
        Self { key: Cow::Borrowed(matching.key()), inner_tci: 0 }
    }

    pub(super) fn is_tagged(&self) -> bool {
        self.key.headers.vlan_tci.get() & VLAN_CFI != 0
    }

    pub(super) fn has_two_tags(&self) -> bool {
        self.is_tagged() && self.inner_tci & VLAN_CFI != 0
    }

    pub(super) fn nw_proto(&self) -> u8 {
        self.key.headers.nw_proto
    }

    pub(super) fn meets(&self, prerequisite: Prerequisite) -> bool {
        prerequisite.met(&self.key)
    }

    /// The packet behind the action.
    pub(super) fn apply(&mut self, action: &Action) {
        match action {
            Action::SetVlanVid { .. } | Action::SetVlanPcp { .. } => {
                self.headers().vlan_tci |= VLAN_CFI;
            }
            Action::StripVlan => {
                let inner = std::mem::take(&mut self.inner_tci);
                self.headers().vlan_tci = inner.into();
            }
            Action::PushVlan(_) => {
                self.inner_tci = self.key.headers.vlan_tci.get();
                self.headers().vlan_tci = VLAN_CFI.into();
            }
            Action::SetField { field: FieldId::VlanTci, value, .. } => {
                self.headers().vlan_tci = (*value as u16).into();
            }
            Action::PushMpls(ty) => {
                self.headers().dl_type = (*ty).into();
                self.headers().nw_proto = 0;
            }
            Action::PopMpls(ty) => self.headers().dl_type = (*ty).into(),
            _ => {}
        }
    }

    fn headers(&mut self) -> &mut Headers {
        &mut self.key.to_mut().headers
    }
}

//! Tracks what is known of a packet between two actions of a list: the values of the match, as the actions in
//! front have changed them.
//!
//! The parser needs this to tell whether `mod_nw_src` can apply (`consistency`), and to write `mod_vlan_vid` in
//! a version of OpenFlow (`dialect`). Only the actions that Open vSwitch tracks have an effect here.

use crate::action::Action;
use crate::fields::FieldId;
use crate::key::{Headers, PipelineKey, VLAN_CFI, ct_state};
use crate::matching::Match;
use crate::prerequisite::Prerequisite;
use std::borrow::Cow;

/// The known values of a packet.
#[derive(Clone)]
pub(crate) struct Sketch<'a> {
    /// The fields; zero if they are not known. The key of the match is copied only when an action changes it.
    key: Cow<'a, PipelineKey>,
    /// The tag control information of the second VLAN tag; 0 if there is none.
    inner_tci: u16,
}

impl<'a> Sketch<'a> {
    /// A packet of which nothing is known but the match.
    pub(crate) fn new(matching: &'a Match) -> Self {
        Self { key: Cow::Borrowed(matching.key()), inner_tci: 0 }
    }

    pub(crate) fn is_tagged(&self) -> bool {
        self.key.headers.vlan_tci.get() & VLAN_CFI != 0
    }

    pub(crate) fn has_two_tags(&self) -> bool {
        self.is_tagged() && self.inner_tci & VLAN_CFI != 0
    }

    /// Whether the packet is known to belong to no connection.
    pub(crate) fn is_invalid(&self) -> bool {
        self.key.headers.ct_state.get() & ct_state::INVALID != 0
    }

    pub(crate) fn nw_proto(&self) -> u8 {
        self.key.headers.nw_proto
    }

    pub(crate) fn meets(&self, prerequisite: Prerequisite) -> bool {
        prerequisite.met(&self.key)
    }

    /// Changes the sketch as the action changes the packet.
    pub(crate) fn apply(&mut self, action: &Action) {
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

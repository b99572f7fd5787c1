//! The two outermost tags of a packet, as a small stack.

use super::Ctx;
use flow::fields::FieldId;
use flow::key::{Headers, VLAN_CFI};
use packet::wire::eth_type;

/// A tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) tpid: u16,
    /// With [`VLAN_CFI`].
    pub(super) tci: u16,
}

/// Tags of a packet, outermost first; a zero `tci` ends them.
pub(super) fn tags(key: &Headers) -> [Tag; 2] {
    let outer = match (key.vlan_tci.get(), key.vlan_tpid.get()) {
        (0, _) => Tag::default(),
        (tci, 0) => Tag { tpid: eth_type::VLAN, tci },
        (tci, tpid) => Tag { tpid, tci },
    };
    [outer, Tag { tpid: key.vlan2_tpid.get(), tci: key.vlan2_tci.get() }]
}

/// Stores tags in a key.
pub(super) fn set_tags(key: &mut Headers, [outer, inner]: [Tag; 2]) {
    let is_default = outer.tpid == eth_type::VLAN || outer.tci == 0;
    key.vlan_tpid.set(if is_default { 0 } else { outer.tpid });
    key.vlan_tci.set(outer.tci);
    key.vlan2_tpid.set(if inner.tci == 0 { 0 } else { inner.tpid });
    key.vlan2_tci.set(inner.tci);
}

/// How many there are.
pub(super) fn count(tags: &[Tag; 2]) -> usize {
    tags.iter().take_while(|t| t.tci & VLAN_CFI != 0).count()
}

impl Ctx<'_> {
    /// Everything about the tags was looked at.
    pub(super) fn mark_tags(&mut self) {
        let mask = &mut self.mask.bits.headers;
        mask.vlan_tci.set(u16::MAX);
        mask.vlan_tpid.set(u16::MAX);
        mask.vlan2_tci.set(u16::MAX);
        mask.vlan2_tpid.set(u16::MAX);
    }

    pub(super) fn set_vlan(&mut self, field_mask: u16, bits: u16, push_if_untagged: bool) {
        self.mask.bits.headers.vlan_tci |= VLAN_CFI | field_mask;
        let tci = self.key.headers.vlan_tci.get();
        if tci & VLAN_CFI != 0 || push_if_untagged {
            self.key.headers.vlan_tci.set(tci & !field_mask | bits & field_mask | VLAN_CFI);
        }
    }

    pub(super) fn push_vlan(&mut self, tpid: u16) {
        self.mark_tags();
        let [outer, _] = tags(&self.key.headers);
        set_tags(&mut self.key.headers, [Tag { tpid, tci: VLAN_CFI }, outer]);
    }

    pub(super) fn pop_vlan(&mut self) {
        self.mark_tags();
        let [_, inner] = tags(&self.key.headers);
        set_tags(&mut self.key.headers, [inner, Tag::default()]);
    }

    /// A tag without its presence bit is none: writing `vlan_tci` can take the tag away.
    pub(super) fn tag_consistently(&mut self, field: FieldId) {
        let is_vlan = matches!(
            field,
            FieldId::VlanTci
                | FieldId::VlanVid
                | FieldId::VlanPcp
                | FieldId::DlVlan
                | FieldId::DlVlanPcp
        );
        if is_vlan && self.key.headers.vlan_tci.get() & VLAN_CFI == 0 {
            self.pop_vlan();
        }
    }
}

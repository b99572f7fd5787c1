//! The two outermost tags of a packet, as a small stack.

use super::TrackedKey;
use flow::key::{Headers, VLAN_CFI};
use packet::wire::eth_type;
use zerocopy::byteorder::network_endian::U16;

/// A VLAN tag (802.1Q or 802.1ad) with its TPID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::policy::xlate) struct Tag {
    /// The EtherType that announces the tag.
    pub(in crate::policy::xlate) tpid: u16,
    /// Priority and VLAN id, with [`VLAN_CFI`] set; 0 if there is no tag.
    pub(in crate::policy::xlate) tci: u16,
}

/// The tags of a packet, the outermost first. A zero `tci` ends them.
pub(in crate::policy::xlate) type Tags = [Tag; 2];

/// The tags of a packet at an earlier point of the walk.
#[derive(Clone, Copy)]
pub(in crate::policy::xlate) struct SavedTags {
    vlan_tci: U16,
    vlan_tpid: U16,
    vlan2_tci: U16,
    vlan2_tpid: U16,
}

impl TrackedKey {
    /// The VLAN tags of the packet, outermost first. Marks all bits of both tags as read.
    pub(in crate::policy::xlate) fn tags(&mut self) -> Tags {
        self.mark_tags();
        tags(&self.key.headers)
    }

    /// Gives the packet other tags, for as long as the tags that it had are not [put back](Self::restore_tags).
    pub(in crate::policy::xlate) fn replace_tags(&mut self, tags: Tags) -> SavedTags {
        self.mark_tags();
        let Headers { vlan_tci, vlan_tpid, vlan2_tci, vlan2_tpid, .. } = self.key.headers;
        set_tags(&mut self.key.headers, tags);
        SavedTags { vlan_tci, vlan_tpid, vlan2_tci, vlan2_tpid }
    }

    /// Gives the packet the tags that it had before [`replace_tags`](Self::replace_tags).
    pub(in crate::policy::xlate) fn restore_tags(&mut self, saved: SavedTags) {
        let SavedTags { vlan_tci, vlan_tpid, vlan2_tci, vlan2_tpid } = saved;
        self.key.headers =
            Headers { vlan_tci, vlan_tpid, vlan2_tci, vlan2_tpid, ..self.key.headers };
    }

    /// Gives the bits of `field_mask` in the outer tag a new value. A packet without a tag gets one, or stays
    /// as it is, according to `push_if_untagged`.
    pub(in crate::policy::xlate) fn set_tag_bits(
        &mut self,
        field_mask: u16,
        bits: u16,
        push_if_untagged: bool,
    ) {
        self.mask.bits.headers.vlan_tci |= VLAN_CFI | field_mask;
        let tci = self.key.headers.vlan_tci.get();
        if tci & VLAN_CFI != 0 || push_if_untagged {
            self.key.headers.vlan_tci.set(tci & !field_mask | bits & field_mask | VLAN_CFI);
        }
    }

    /// Puts a tag of VLAN 0 outside the others. The second of two tags is forgotten.
    pub(in crate::policy::xlate) fn push_tag(&mut self, tpid: u16) {
        let [outer, _] = self.tags();
        set_tags(&mut self.key.headers, [Tag { tpid, tci: VLAN_CFI }, outer]);
    }

    /// Takes the outer tag off.
    pub(in crate::policy::xlate) fn pop_tag(&mut self) {
        let [_, inner] = self.tags();
        set_tags(&mut self.key.headers, [inner, Tag::default()]);
    }

    pub(super) fn mark_tags(&mut self) {
        let mask = &mut self.mask.bits.headers;
        mask.vlan_tci.set(u16::MAX);
        mask.vlan_tpid.set(u16::MAX);
        mask.vlan2_tci.set(u16::MAX);
        mask.vlan2_tpid.set(u16::MAX);
    }
}

/// The tags in a key.
pub(super) fn tags(key: &Headers) -> Tags {
    let outer = match (key.vlan_tci.get(), key.vlan_tpid.get()) {
        (0, _) => Tag::default(),
        (tci, 0) => Tag { tpid: eth_type::VLAN, tci },
        (tci, tpid) => Tag { tpid, tci },
    };
    [outer, Tag { tpid: key.vlan2_tpid.get(), tci: key.vlan2_tci.get() }]
}

/// Stores tags in a key.
pub(super) fn set_tags(key: &mut Headers, [outer, inner]: Tags) {
    let is_default = outer.tpid == eth_type::VLAN || outer.tci == 0;
    key.vlan_tpid.set(if is_default { 0 } else { outer.tpid });
    key.vlan_tci.set(outer.tci);
    key.vlan2_tpid.set(if inner.tci == 0 { 0 } else { inner.tpid });
    key.vlan2_tci.set(inner.tci);
}

/// How many tags there are: 0 to 2.
pub(super) fn count(tags: &Tags) -> usize {
    tags.iter().take_while(|t| t.tci & VLAN_CFI != 0).count()
}

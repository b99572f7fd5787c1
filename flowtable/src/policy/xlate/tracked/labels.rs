//! The label stack of a packet. A key holds the three outermost entries.

use super::{LoweredTtl, TrackedKey, is_ip};
use flow::key::Headers;
use packet::wire::eth_type::{self, is_mpls};
use packet::wire::mpls::{BOTTOM, LABEL_SHIFT, TC_SHIFT, TTL_MASK};
use zerocopy::byteorder::network_endian::U32;

/// Entries that a key holds.
pub(in crate::policy::xlate) const MAX_LABELS: usize = 3;
/// Label of an empty stack entry in front of IPv6 (RFC 3032 §2.1).
const IPV6_EXPLICIT_NULL: u32 = 2;

impl TrackedKey {
    /// Number of label stack entries in the key.
    pub(in crate::policy::xlate) fn count_labels(&mut self) -> usize {
        if is_mpls(self.dl_type()) {
            for mask in &mut self.mask.bits.headers.mpls_lse {
                mask.set(mask.get() | BOTTOM);
            }
        }
        count(&self.key.headers)
    }

    /// Gives the bits of `field_mask` in the outermost entry a new value, if there is one.
    pub(in crate::policy::xlate) fn set_label_bits(&mut self, field_mask: u32, bits: u32) {
        if is_mpls(self.dl_type()) {
            let mask = &mut self.mask.bits.headers.mpls_lse[0];
            mask.set(mask.get() | field_mask);
            let lse = &mut self.key.headers.mpls_lse[0];
            lse.set(lse.get() & !field_mask | bits & field_mask);
        }
    }

    /// Lowers the TTL of the outermost entry by one.
    pub(in crate::policy::xlate) fn lower_label_ttl(&mut self) -> LoweredTtl {
        if !is_mpls(self.dl_type()) {
            return LoweredTtl::NoHeader;
        }
        let mask = &mut self.mask.bits.headers.mpls_lse[0];
        mask.set(mask.get() | TTL_MASK);
        let ttl = self.key.headers.mpls_lse[0].get() & TTL_MASK;
        if ttl <= 1 {
            return LoweredTtl::Expired;
        }
        self.set_label_bits(TTL_MASK, ttl - 1);
        LoweredTtl::Lowered
    }

    /// Puts an entry in front of `n` others, which are fewer than [`MAX_LABELS`]. The first entry hides all
    /// headers behind it, and repeats what they say of priority and TTL.
    pub(in crate::policy::xlate) fn push_label(&mut self, n: usize, ethertype: u16) {
        let is_ip = self.is_ip();
        let mask = &mut self.mask.bits.headers;
        if n > 0 {
            mask.mpls_lse[..n].iter_mut().for_each(|m| m.set(u32::MAX));
        } else if is_ip {
            mask.nw_tos |= 0xfc;
            mask.nw_ttl = u8::MAX;
        }
        push(&mut self.key.headers, n, ethertype);
        if n == 0 {
            hide_headers_behind_labels(&mut self.key.headers);
        }
    }

    /// Takes the first of `n` entries off. False, and nothing is changed, if the packet has none, or has more
    /// than the key holds, so that the next entry behind the last is not known.
    pub(in crate::policy::xlate) fn pop_label(&mut self, n: usize, ethertype: u16) -> bool {
        if n > 1 {
            self.mask.bits.headers.mpls_lse[1..n].iter_mut().for_each(|m| m.set(u32::MAX));
        }
        pop(&mut self.key.headers, n, ethertype)
    }
}

/// Number of label stack entries in a key.
pub(super) fn count(key: &Headers) -> usize {
    if !is_mpls(key.dl_type.get()) {
        return 0;
    }
    let mut n = 0;
    for lse in &key.mpls_lse {
        if lse.get() & BOTTOM != 0 {
            return n + 1;
        }
        if lse.get() != 0 {
            n += 1;
        }
    }
    n
}

/// Puts an entry in front of `n` others. The first entry repeats what the IP header says of priority and TTL.
pub(super) fn push(key: &mut Headers, n: usize, ethertype: u16) {
    if n > 0 {
        for i in (1..=n.min(MAX_LABELS - 1)).rev() {
            key.mpls_lse[i] = key.mpls_lse[i - 1];
        }
        let lse = key.mpls_lse[0].get() & !BOTTOM;
        key.mpls_lse[0].set(lse);
    } else {
        let label = match key.dl_type.get() {
            eth_type::IPV6 => IPV6_EXPLICIT_NULL,
            _ => 0,
        };
        let (mut tc, mut ttl) = (0, 64);
        if is_ip(key) {
            tc = u32::from(key.nw_tos >> 2) & 7;
            if key.nw_ttl != 0 {
                ttl = u32::from(key.nw_ttl);
            }
        }
        key.mpls_lse[0].set(label << LABEL_SHIFT | tc << TC_SHIFT | BOTTOM | ttl);
    }
    key.dl_type.set(ethertype);
}

/// Clears all fields of the network header and of the headers behind it, under a stack of one entry.
fn hide_headers_behind_labels(key: &mut Headers) {
    let mut bare = Headers {
        dl_dst: key.dl_dst,
        dl_type: key.dl_type,
        dl_src: key.dl_src,
        vlan_tci: key.vlan_tci,
        vlan_tpid: key.vlan_tpid,
        vlan2_tpid: key.vlan2_tpid,
        vlan2_tci: key.vlan2_tci,
        mpls_lse: [key.mpls_lse[0], U32::ZERO, U32::ZERO],
        ..Headers::default()
    };
    bare.copy_tunnel(key);
    *key = bare;
}

/// Takes the first of `n` entries off; false if there is none, or if the key does not hold the whole stack.
pub(super) fn pop(key: &mut Headers, n: usize, ethertype: u16) -> bool {
    if n == 0 || (n == MAX_LABELS && key.mpls_lse[n - 1].get() & BOTTOM == 0) {
        return false;
    }
    key.mpls_lse.copy_within(1..n, 0);
    key.mpls_lse[n - 1].set(0);
    key.dl_type.set(ethertype);
    true
}

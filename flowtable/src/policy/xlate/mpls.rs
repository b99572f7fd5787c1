//! Label stacks. At most three entries are looked at.

use super::{Ctx, Note, is_ip};
use flow::key::Headers;
use flow::verdict::DropReason;
use packet::wire::eth_type::{self, is_mpls};
use packet::wire::mpls::{BOTTOM, LABEL_SHIFT, TC_SHIFT, TTL_MASK};

/// Entries that a key holds.
const MAX_LABELS: usize = 3;
/// Label of an empty stack entry in front of IPv6 (RFC 3032 §2.1).
const IPV6_EXPLICIT_NULL: u32 = 2;

/// Number of entries; the bits that told are marked in `mask`.
pub(super) fn count(key: &Headers, mask: Option<&mut Headers>) -> usize {
    if !is_mpls(key.dl_type.get()) {
        return 0;
    }
    if let Some(mask) = mask {
        for m in &mut mask.mpls_lse {
            m.set(m.get() | BOTTOM);
        }
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

/// Puts an entry in front. A first one says what the IP header said.
pub(super) fn push(key: &mut Headers, n: usize, ethertype: u16, hide_l3: bool) {
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
        if hide_l3 {
            hide_headers_behind_labels(key);
        }
        key.mpls_lse[0].set(label << LABEL_SHIFT | tc << TC_SHIFT | BOTTOM | ttl);
    }
    key.dl_type.set(ethertype);
}

/// Clears all fields of the network header and behind.
fn hide_headers_behind_labels(key: &mut Headers) {
    *key = Headers {
        dl_dst: key.dl_dst,
        dl_type: key.dl_type,
        dl_src: key.dl_src,
        vlan_tci: key.vlan_tci,
        vlan_tpid: key.vlan_tpid,
        vlan2_tpid: key.vlan2_tpid,
        vlan2_tci: key.vlan2_tci,
        ..Headers::default()
    };
}

/// Takes the first entry off; false if the packet has none, or a stack too deep to know its rest.
pub(super) fn pop(key: &mut Headers, n: usize, ethertype: u16) -> bool {
    if n == 0 || (n == MAX_LABELS && key.mpls_lse[n - 1].get() & BOTTOM == 0) {
        return false;
    }
    key.mpls_lse.copy_within(1..n, 0);
    key.mpls_lse[n - 1].set(0);
    key.dl_type.set(ethertype);
    true
}

impl Ctx<'_> {
    fn labels(&mut self) -> usize {
        count(&self.key.headers, Some(&mut self.mask.bits.headers))
    }

    pub(super) fn set_label(&mut self, field_mask: u32, bits: u32) {
        if is_mpls(self.key.headers.dl_type.get()) {
            let mask = &mut self.mask.bits.headers.mpls_lse[0];
            mask.set(mask.get() | field_mask);
            let lse = &mut self.key.headers.mpls_lse[0];
            lse.set(lse.get() & !field_mask | bits & field_mask);
        }
    }

    /// An error leaves the list; a packet without labels is one, too, as in Open vSwitch.
    pub(super) fn dec_mpls_ttl(&mut self) -> Result<(), ()> {
        if !is_mpls(self.key.headers.dl_type.get()) {
            return Err(());
        }
        let ttl = self.key.headers.mpls_lse[0].get() & TTL_MASK;
        let mask = &mut self.mask.bits.headers.mpls_lse[0];
        mask.set(mask.get() | TTL_MASK);
        if ttl > 1 {
            self.set_label(TTL_MASK, ttl - 1);
            return Ok(());
        }
        self.hint = Some(DropReason::InvalidTtl);
        self.report.note(|| Note::TtlExpired);
        Err(())
    }

    pub(super) fn push_mpls(&mut self, ethertype: u16) {
        let n = self.labels();
        if n >= MAX_LABELS {
            return self.fail(DropReason::TooManyLabels);
        }
        if n == 0 {
            // What was done to the headers must be emitted while the datapath still sees them.
            self.commit();
            if is_ip(&self.key.headers) {
                self.mask.bits.headers.nw_tos |= 0xfc;
                self.mask.bits.headers.nw_ttl = u8::MAX;
            }
        } else {
            self.mask.bits.headers.mpls_lse[..n].iter_mut().for_each(|m| m.set(u32::MAX));
        }
        push(&mut self.key.headers, n, ethertype, true);
    }

    pub(super) fn pop_mpls(&mut self, ethertype: u16) {
        let n = self.labels();
        if n > 1 {
            self.mask.bits.headers.mpls_lse[1..n].iter_mut().for_each(|m| m.set(u32::MAX));
        }
        if pop(&mut self.key.headers, n, ethertype) {
            if !is_mpls(ethertype) {
                self.was_mpls = true;
            }
        } else if n >= MAX_LABELS {
            self.fail(DropReason::TooManyLabels);
        }
    }
}

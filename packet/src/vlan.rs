//! Pushes and pops the outermost VLAN tag of a frame in place.
//!
//! Only the MAC addresses move, into the headroom or out of it. The offsets in [`Frame::offload`] and
//! [`Frame::layers`] are adjusted.

use crate::Frame;
use crate::wire::ethernet::field::ADDRESSES;
use crate::wire::vlan::HEADER_SIZE;
use crate::wire::{VlanTag, eth_type};

impl Frame<'_> {
    /// Inserts a tag directly behind the MAC addresses. Returns `false`, and changes nothing, if the frame has
    /// fewer than 12 bytes or there is no room.
    #[must_use]
    pub fn push_tag(&mut self, tpid: u16, tci: u16) -> bool {
        if !self.open_gap(ADDRESSES.end, HEADER_SIZE) {
            return false;
        }
        let mut tag = VlanTag::new_unchecked(&mut self.bytes_mut()[ADDRESSES.end..]);
        tag.set_tpid(tpid);
        tag.set_tci(tci);
        true
    }

    /// Removes the outermost tag and returns its TPID and TCI. `None`, and nothing changes, if the frame has no
    /// tag or ends with it.
    pub fn pop_tag(&mut self) -> Option<(u16, u16)> {
        // An EtherType has to follow the tag.
        let behind_addresses = self.bytes().get(ADDRESSES.end..)?;
        let tag = behind_addresses.first_chunk::<{ HEADER_SIZE + 2 }>()?;
        let tag = VlanTag::new_unchecked(tag);
        let (tpid, tci) = (tag.tpid(), tag.tci());
        if !eth_type::is_vlan(tpid) {
            return None;
        }
        self.close_gap(ADDRESSES.end, HEADER_SIZE);
        Some((tpid, tci))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layers, Offload};

    #[test]
    fn a_pushed_tag_pops_again() {
        let bytes: Vec<u8> = (0..60).collect();
        let offload = Offload { flags: 1, csum_start: 34, hdr_len: 54, ..Offload::NONE };
        let mut frame = Frame::owned(&bytes, offload);
        frame.layers = Layers { l3: 14, l4: 34, ..Layers::default() };
        assert!(frame.push_tag(eth_type::VLAN, 0x2007));
        assert_eq!(frame.size(), 64);
        assert_eq!(
            frame.bytes()[..18],
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x81, 0, 0x20, 7, 12, 13]
        );
        assert_eq!((frame.offload.csum_start, frame.offload.hdr_len), (38, 58));
        assert_eq!((frame.layers.l2_5, frame.layers.l3, frame.layers.l4), (0, 18, 38));
        assert_eq!(frame.pop_tag(), Some((eth_type::VLAN, 0x2007)));
        assert_eq!(frame.bytes(), bytes);
        assert_eq!((frame.offload, frame.layers.l4), (offload, 34));
        assert_eq!(frame.pop_tag(), None);
    }

    #[test]
    fn the_tpid_0x9100_from_before_802_1ad_is_no_tag() {
        let mut bytes = vec![0; 60];
        for tpid in [eth_type::VLAN, eth_type::VLAN_8021AD, 0x9100] {
            bytes[12..14].copy_from_slice(&tpid.to_be_bytes());
            let popped = Frame::owned(&bytes, Offload::NONE).pop_tag();
            assert_eq!(popped, (tpid != 0x9100).then_some((tpid, 0)));
        }
    }

    #[test]
    fn frames_that_end_in_the_tag_have_none_to_pop() {
        let mut bytes = vec![0; 12];
        bytes.extend([0x81, 0, 0, 1]);
        for size in 0..=bytes.len() {
            assert_eq!(Frame::owned(&bytes[..size], Offload::NONE).pop_tag(), None);
        }
        assert!(!Frame::owned(&bytes[..11], Offload::NONE).push_tag(eth_type::VLAN, 1));
    }
}

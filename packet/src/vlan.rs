//! Pushing and popping the outermost VLAN tag of a frame in place.
//!
//! Only the MACs move, into the headroom or out of it; what a sender left undone and the positions of
//! the headers move along.

use crate::{Frame, Layers};

const MACS: usize = 12;
const TAG: usize = 4;

/// EtherTypes that begin a VLAN tag: 802.1Q, 802.1ad, and the one from before 802.1ad.
pub fn is_vlan_ethertype(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
}

impl Frame<'_> {
    /// Puts a tag directly behind the MACs. Returns `false`, and changes nothing, if the frame is
    /// shorter than its MACs or there is no room for it.
    #[must_use]
    pub fn push_tag(&mut self, tpid: u16, tci: u16) -> bool {
        if self.size() < MACS || !self.grow_front(TAG) {
            return false;
        }
        let bytes = self.bytes_mut();
        bytes.copy_within(TAG..TAG + MACS, 0);
        bytes[MACS..MACS + 2].copy_from_slice(&tpid.to_be_bytes());
        bytes[MACS + 2..MACS + TAG].copy_from_slice(&tci.to_be_bytes());
        self.offload.shift(TAG as i32);
        self.layers = self.layers.shifted(TAG as i16);
        true
    }

    /// Takes the outermost tag out and returns its TPID and TCI; `None` if the frame has none.
    pub fn pop_tag(&mut self) -> Option<(u16, u16)> {
        let bytes = self.bytes_mut();
        let [.., a, b, c, d] = *bytes.first_chunk::<{ MACS + TAG }>()?;
        let (tpid, tci) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        // What follows must be another EtherType: the frame cannot end with a tag.
        if !is_vlan_ethertype(tpid) || bytes.len() < MACS + TAG + 2 {
            return None;
        }
        bytes.copy_within(..MACS, TAG);
        self.shrink_front(TAG);
        self.offload.shift(-(TAG as i32));
        self.layers = self.layers.shifted(-(TAG as i16));
        Some((tpid, tci))
    }
}

impl Layers {
    /// The positions after the bytes before all of them grew (`by > 0`) or shrank.
    #[must_use]
    pub fn shifted(self, by: i16) -> Self {
        let shift = |at: u16| if at == 0 { 0 } else { at.saturating_add_signed(by) };
        Self { l2_5: shift(self.l2_5), l3: shift(self.l3), l4: shift(self.l4), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offload;

    #[test]
    fn a_pushed_tag_pops_again() {
        let bytes: Vec<u8> = (0..60).collect();
        let offload = Offload { flags: 1, csum_start: 34, hdr_len: 54, ..Offload::NONE };
        let mut frame = Frame::owned(&bytes, offload);
        frame.layers = Layers { l3: 14, l4: 34, ..Layers::default() };
        assert!(frame.push_tag(0x8100, 0x2007));
        assert_eq!(frame.size(), 64);
        assert_eq!(
            frame.bytes()[..18],
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x81, 0, 0x20, 7, 12, 13]
        );
        assert_eq!((frame.offload.csum_start, frame.offload.hdr_len), (38, 58));
        assert_eq!((frame.layers.l2_5, frame.layers.l3, frame.layers.l4), (0, 18, 38));
        assert_eq!(frame.pop_tag(), Some((0x8100, 0x2007)));
        assert_eq!(frame.bytes(), bytes);
        assert_eq!((frame.offload, frame.layers.l4), (offload, 34));
        assert_eq!(frame.pop_tag(), None);
    }

    #[test]
    fn frames_that_end_in_the_tag_have_none_to_pop() {
        let mut bytes = vec![0; 12];
        bytes.extend([0x81, 0, 0, 1]);
        for size in 0..=bytes.len() {
            assert_eq!(Frame::owned(&bytes[..size], Offload::NONE).pop_tag(), None);
        }
        assert!(!Frame::owned(&bytes[..11], Offload::NONE).push_tag(0x8100, 1));
    }
}

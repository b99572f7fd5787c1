//! Pushes and pops entries of a frame's MPLS label stack in place.
//!
//! The bytes in front of the stack move into the headroom or out of it. The offsets in [`Frame::offload`] and
//! [`Frame::layers`] are adjusted.

use crate::Frame;
use crate::wire::mpls::HEADER_SIZE;
use crate::wire::{EthernetFrame, MplsEntry, eth_type, ethernet};

impl Frame<'_> {
    /// Puts `entry` (RFC 3032 §2.1) on top of the label stack, or in front of the network header if there is no
    /// stack, and gives the frame the EtherType `ethertype`. Returns `false`, and changes nothing, if
    /// [`Frame::layers`] has neither a stack nor a network header, or if there is no room.
    #[must_use]
    pub fn push_label(&mut self, entry: u32, ethertype: u16) -> bool {
        let at = self.layers.l2_end();
        if at == 0 || !self.open_gap(at.into(), HEADER_SIZE) {
            return false;
        }
        self.layers.l2_5 = at;
        self.set_ethertype(ethertype);
        MplsEntry::new_unchecked(&mut self.bytes_mut()[at.into()..]).set_entry(entry);
        true
    }

    /// Removes the top entry of the label stack, gives the frame the EtherType `ethertype`, and returns the
    /// entry. `None`, and nothing changes, if the frame has no entry or its entry is cut off.
    pub fn pop_label(&mut self, ethertype: u16) -> Option<u32> {
        let at = Some(self.layers.l2_5).filter(|at| *at != 0)?;
        let top = MplsEntry::new_checked(self.bytes().get(at.into()..)?).ok()?;
        let (entry, was_bottom) = (top.entry(), top.is_bottom());
        self.set_ethertype(ethertype);
        self.close_gap(at.into(), HEADER_SIZE);
        self.layers.l2_5 = if was_bottom { 0 } else { at };
        Some(entry)
    }

    /// Writes the EtherType, which stands directly in front of the label stack or the network header. In an
    /// 802.3 frame it overwrites the size, as in Open vSwitch.
    fn set_ethertype(&mut self, ethertype: u16) {
        let behind_tags = usize::from(self.layers.l2_end());
        let Ok(frame) = EthernetFrame::new_checked(self.bytes()) else {
            return;
        };
        let at = match eth_type::is_vlan(frame.ethertype()) {
            true => behind_tags.saturating_sub(2),
            false => ethernet::field::ETHERTYPE.start,
        };
        if let Some(bytes) = self.bytes_mut().get_mut(at..at + 2) {
            bytes.copy_from_slice(&ethertype.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layers, Offload};

    const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    /// A frame with `tags` whose network header, right behind them, begins with 0x45.
    fn frame(tags: &[u8]) -> Frame<'static> {
        let bytes = [&ADDRESSES[..], tags, &[8, 0, 0x45, 0, 0, 20]].concat();
        let mut frame = Frame::owned(&bytes, Offload::NONE);
        let l3 = 14 + tags.len() as u16;
        frame.layers = Layers { l3, l4: l3 + 20, ..Layers::default() };
        frame
    }

    #[test]
    fn pushed_entries_pop_again_behind_any_tags() {
        for tags in [&[][..], &[0x81, 0, 0, 5], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 5]] {
            let mut frame = frame(tags);
            let (before, layers) = (frame.bytes().to_vec(), frame.layers);
            assert!(frame.push_label(0x0001_0140, eth_type::MPLS));
            assert!(frame.push_label(0x0002_003f, eth_type::MPLS_MCAST));
            let expected: &[u8] = &[0x88, 0x48, 0, 2, 0, 0x3f, 0, 1, 1, 0x40, 0x45, 0, 0, 20];
            assert_eq!(frame.bytes(), [&ADDRESSES, tags, expected].concat());
            let top = layers.l3;
            assert_eq!((frame.layers.l2_5, frame.layers.l3), (top, top + 8));
            assert_eq!(frame.pop_label(eth_type::MPLS), Some(0x0002_003f));
            assert_eq!((frame.layers.l2_5, frame.layers.l3), (top, top + 4));
            assert_eq!(frame.pop_label(eth_type::IPV4), Some(0x0001_0140));
            assert_eq!((frame.bytes(), frame.layers), (&before[..], layers));
            assert_eq!(frame.pop_label(eth_type::IPV4), None);
        }
    }

    #[test]
    fn frames_without_a_network_header_get_no_entry() {
        let mut frame = frame(&[]);
        frame.layers = Layers::default();
        assert!(!frame.push_label(0x140, eth_type::MPLS));
        frame.layers.l3 = 19;
        assert!(!frame.push_label(0x140, eth_type::MPLS), "behind its end");
        frame.layers.l2_5 = 15;
        assert_eq!(frame.pop_label(eth_type::IPV4), None, "cut off");
        assert_eq!((frame.size(), frame.layers.l2_5), (18, 15));
    }
}

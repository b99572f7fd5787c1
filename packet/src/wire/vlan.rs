//! The VLAN tag: TPID and tag control information (IEEE 802.1Q §9.3).
//!
//! The TPID stands where an untagged frame has its EtherType. The frame's own EtherType follows the tag.

use super::{Field, WireError, check_size, eth_type, ethernet, put_u16, u16_at};
use std::fmt;

/// The byte ranges of the fields in the tag.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const TPID: Field = 0..2;
    pub const TCI: Field = 2..4;
}

/// Size of a tag in bytes.
pub const HEADER_SIZE: usize = field::TCI.end;

/// The bits of the tag control information that are the VLAN id.
pub const VID_MASK: u16 = 0x0fff;
/// The bit of the tag control information that marks a drop eligible frame (DEI). Before 802.1Q-2011 it was the
/// canonical format indicator (CFI).
pub const DEI: u16 = 0x1000;
/// The number of the lowest bit of the priority code point (PCP) in the tag control information.
pub const PCP_SHIFT: u32 = 13;

/// A view over a VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> VlanTag<T> {
    /// A view of `buffer` as a tag, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as a tag. The TPID is not checked: it may be none of [`eth_type::TPIDS`].
    ///
    /// # Errors
    /// The buffer is shorter than the tag.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("VLAN tag", buffer.as_ref(), HEADER_SIZE)?;
        Ok(Self { buffer })
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The tag protocol identifier.
    #[inline]
    pub fn tpid(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::TPID)
    }

    /// The tag control information: priority code point, drop eligibility and VLAN id.
    #[inline]
    pub fn tci(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::TCI)
    }

    /// The VLAN id, 0 to 4095. A tag with VLAN id 0 is a priority tag: it has a priority and no VLAN.
    #[inline]
    pub fn vid(&self) -> u16 {
        self.tci() & VID_MASK
    }

    /// The priority code point, 0 to 7.
    #[inline]
    pub fn pcp(&self) -> u8 {
        (self.tci() >> PCP_SHIFT) as u8
    }

    /// Whether the frame is drop eligible: under congestion it is dropped before other frames.
    #[inline]
    pub fn is_drop_eligible(&self) -> bool {
        self.tci() & DEI != 0
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> VlanTag<T> {
    /// Writes the tag protocol identifier.
    #[inline]
    pub fn set_tpid(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::TPID, value);
    }

    /// Writes the tag control information.
    #[inline]
    pub fn set_tci(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::TCI, value);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for VlanTag<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VLAN tpid={:#06x} vid={} pcp={}", self.tpid(), self.vid(), self.pcp())?;
        if self.is_drop_eligible() { f.write_str(" dei") } else { Ok(()) }
    }
}

/// The EtherType behind all tags of the Ethernet frame at offset `start` of `bytes`, and the offset in `bytes`
/// of the header that follows. `None` if the frame ends before its EtherType does.
pub fn skip_tags(bytes: &[u8], start: usize) -> Option<(u16, usize)> {
    let mut at = start + ethernet::field::ETHERTYPE.start;
    loop {
        let number = u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
        if !eth_type::is_vlan(number) {
            return Some((number, at + 2));
        }
        at += HEADER_SIZE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{SingleVlanHeader, VlanId};
    use proptest::prelude::*;

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let tag = VlanTag::new_checked([0x88, 0xa8, 0xb0, 0x64]).unwrap();
        assert_eq!((tag.tpid(), tag.tci()), (eth_type::VLAN_8021AD, 0xb064));
        assert_eq!((tag.vid(), tag.pcp(), tag.is_drop_eligible()), (100, 5, true));
        assert_eq!(tag.to_string(), "VLAN tpid=0x88a8 vid=100 pcp=5 dei");
        assert!(VlanTag::new_checked([0x88, 0xa8, 0xb0]).is_err());
    }

    #[test]
    fn all_tags_are_skipped_and_nothing_else() {
        let mut bytes = vec![0; 13];
        for number in [eth_type::VLAN_8021AD, eth_type::VLAN, eth_type::VLAN, 0x9100] {
            bytes.extend(number.to_be_bytes());
            bytes.extend([0, 1]);
        }
        assert_eq!(skip_tags(&bytes, 1), Some((0x9100, 27)));
        for size in 0..27 {
            assert_eq!(skip_tags(&bytes[..size], 1), None, "{size}");
        }
    }

    proptest! {
        #[test]
        fn fields_agree_with_etherparse(tci: u16) {
            let mut bytes = [0; HEADER_SIZE];
            let mut tag = VlanTag::new_unchecked(&mut bytes);
            tag.set_tpid(eth_type::VLAN);
            tag.set_tci(tci);
            let (pcp, dei, vid) = (tag.pcp(), tag.is_drop_eligible(), tag.vid());
            // etherparse begins behind the TPID and ends with the EtherType.
            let theirs = SingleVlanHeader::from_bytes([bytes[2], bytes[3], 8, 0]);
            prop_assert_eq!(theirs.pcp.value(), pcp);
            prop_assert_eq!(theirs.drop_eligible_indicator, dei);
            prop_assert_eq!(theirs.vlan_id, VlanId::try_new(vid).unwrap());
        }
    }
}

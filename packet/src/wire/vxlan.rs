//! VXLAN (RFC 7348 §5): a tunnel over UDP for Ethernet frames of 2^24 virtual networks.
//!
//! The extension for group-based policy (draft-smith-vxlan-group-policy-05) puts a group of senders, and what
//! was decided about the frame, into bits that are reserved in VXLAN. Both ends have to agree on the extension:
//! without it, RFC 7348 has a receiver ignore these bits.

use super::{Field, WireError, check_size, put_u16, put_u24, u16_at, u24_at};
use std::fmt;

/// The byte ranges of the fields in the header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const FLAGS: usize = 0;
    pub const GBP_FLAGS: usize = 1;
    pub const GBP_ID: Field = 2..4;
    pub const VNI: Field = 4..7;
}

/// Size of the header in bytes.
pub const HEADER_SIZE: usize = 8;

/// The flag (I) that says that the VNI is valid.
pub const VALID_VNI: u8 = 0x08;
/// The flag (G) that says that the header has the extension for group-based policy.
pub const GROUP_POLICY: u8 = 0x80;

/// The flag of [`GroupPolicy::flags`] (D) that asks the receiver not to learn the frame's source address.
pub const GBP_DONT_LEARN: u8 = 0x40;
/// The flag of [`GroupPolicy::flags`] (A) that says that the policy was applied to the frame already.
pub const GBP_APPLIED: u8 = 0x08;

/// The extension for group-based policy of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupPolicy {
    /// The group that the frame's sender is in.
    pub id: u16,
    /// [`GBP_DONT_LEARN`], [`GBP_APPLIED`], and bits that the draft reserves.
    pub flags: u8,
}

/// A view over a VXLAN packet, the payload of a UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VxlanPacket<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> VxlanPacket<T> {
    /// A view of `buffer` as a VXLAN packet, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as a VXLAN packet. The flags are not checked.
    ///
    /// # Errors
    /// The buffer is shorter than the header.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("VXLAN", buffer.as_ref(), HEADER_SIZE)?;
        Ok(Self { buffer })
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The first byte of flags: [`VALID_VNI`], which the standard defines, [`GROUP_POLICY`], and reserved bits.
    #[inline]
    pub fn flags(&self) -> u8 {
        self.buffer.as_ref()[field::FLAGS]
    }

    /// The virtual network identifier, 24 bits.
    #[inline]
    pub fn vni(&self) -> u32 {
        u24_at(self.buffer.as_ref(), field::VNI)
    }

    /// The extension for group-based policy; `None` if [`GROUP_POLICY`] is not set, because
    /// the bits are reserved then.
    #[inline]
    pub fn group_policy(&self) -> Option<GroupPolicy> {
        let bytes = self.buffer.as_ref();
        (bytes[field::FLAGS] & GROUP_POLICY != 0).then(|| GroupPolicy {
            id: u16_at(bytes, field::GBP_ID),
            flags: bytes[field::GBP_FLAGS],
        })
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> VxlanPacket<&'a T> {
    /// The inner Ethernet frame: the bytes behind the header.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.buffer.as_ref()[HEADER_SIZE..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> VxlanPacket<T> {
    /// Writes the lower 24 bits of `value` as the virtual network identifier, sets [`VALID_VNI`], and clears
    /// all other bits of the header.
    #[inline]
    pub fn set_vni(&mut self, value: u32) {
        let bytes = self.buffer.as_mut();
        bytes[..HEADER_SIZE].fill(0);
        bytes[field::FLAGS] = VALID_VNI;
        put_u24(bytes, field::VNI, value);
    }

    /// Writes the extension for group-based policy, and sets [`GROUP_POLICY`].
    #[inline]
    pub fn set_group_policy(&mut self, policy: GroupPolicy) {
        let bytes = self.buffer.as_mut();
        bytes[field::FLAGS] |= GROUP_POLICY;
        bytes[field::GBP_FLAGS] = policy.flags;
        put_u16(bytes, field::GBP_ID, policy.id);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for VxlanPacket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VXLAN vni={} flags={:#04x}", self.vni(), self.flags())?;
        if let Some(GroupPolicy { id, flags }) = self.group_policy() {
            write!(f, " gbp_id={id} gbp_flags={flags:#04x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::vxlan::VxlanPacket as Theirs;
    use proptest::prelude::*;

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let vxlan = VxlanPacket::new_checked(&[8, 0, 0, 0, 0, 0, 42, 0, 0xab]).unwrap();
        assert_eq!((vxlan.flags(), vxlan.vni(), vxlan.payload()), (VALID_VNI, 42, &[0xab][..]));
        assert_eq!(vxlan.to_string(), "VXLAN vni=42 flags=0x08");
        assert_eq!(vxlan.group_policy(), None);
        assert!(VxlanPacket::new_checked([0; 7]).is_err());
    }

    #[test]
    fn the_bits_of_the_group_policy_count_only_with_their_flag() {
        let mut bytes = [0x88, 0x48, 0x12, 0x34, 0, 0, 42, 0];
        let policy = GroupPolicy { id: 0x1234, flags: GBP_DONT_LEARN | GBP_APPLIED };
        let vxlan = VxlanPacket::new_checked(&bytes).unwrap();
        assert_eq!((vxlan.vni(), vxlan.group_policy()), (42, Some(policy)));
        assert_eq!(vxlan.to_string(), "VXLAN vni=42 flags=0x88 gbp_id=4660 gbp_flags=0x48");
        bytes[field::FLAGS] = VALID_VNI;
        assert_eq!(VxlanPacket::new_unchecked(&bytes).group_policy(), None);
    }

    proptest! {
        #[test]
        fn pnet_reads_the_fields_that_were_written(vni in 0u32..1 << 24, id: u16, flags: u8) {
            let mut bytes = [0xff; HEADER_SIZE];
            VxlanPacket::new_unchecked(&mut bytes).set_vni(vni);
            let theirs = Theirs::new(&bytes).unwrap();
            prop_assert_eq!((theirs.get_flags(), theirs.get_vni()), (VALID_VNI, vni));
            prop_assert_eq!((theirs.get_reserved1(), theirs.get_reserved2()), (0, 0));
            let policy = GroupPolicy { id, flags };
            VxlanPacket::new_unchecked(&mut bytes).set_group_policy(policy);
            let vxlan = VxlanPacket::new_unchecked(&bytes);
            prop_assert_eq!((vxlan.vni(), vxlan.group_policy()), (vni, Some(policy)));
            let theirs = Theirs::new(&bytes).unwrap();
            prop_assert_eq!(theirs.get_reserved1(), u32::from(flags) << 16 | u32::from(id));
            prop_assert_eq!((theirs.get_vni(), theirs.get_reserved2()), (vni, 0));
        }
    }
}

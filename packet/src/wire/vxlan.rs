//! VXLAN (RFC 7348 §5): a tunnel over UDP for Ethernet frames of 2^24 virtual networks.

use super::{Field, WireError, check_size, put_u24, u24_at};
use std::fmt;

/// The byte ranges of the fields in the header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const FLAGS: usize = 0;
    pub const VNI: Field = 4..7;
}

/// Size of the header in bytes.
pub const HEADER_SIZE: usize = 8;

/// The flag (I) that says that the VNI is valid.
pub const VALID_VNI: u8 = 0x08;

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

    /// The flags; the standard defines one of them ([`VALID_VNI`]).
    #[inline]
    pub fn flags(&self) -> u8 {
        self.buffer.as_ref()[field::FLAGS]
    }

    /// The virtual network identifier, 24 bits.
    #[inline]
    pub fn vni(&self) -> u32 {
        u24_at(self.buffer.as_ref(), field::VNI)
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
    /// Writes the lower 24 bits of `value` as the virtual network identifier, sets [`VALID_VNI`], and clears all
    /// other bits of the header.
    #[inline]
    pub fn set_vni(&mut self, value: u32) {
        let bytes = self.buffer.as_mut();
        bytes[..HEADER_SIZE].fill(0);
        bytes[field::FLAGS] = VALID_VNI;
        put_u24(bytes, field::VNI, value);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for VxlanPacket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VXLAN vni={} flags={:#04x}", self.vni(), self.flags())
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
        assert!(VxlanPacket::new_checked([0; 7]).is_err());
    }

    proptest! {
        #[test]
        fn pnet_reads_the_fields_that_were_written(vni in 0u32..1 << 24) {
            let mut bytes = [0xff; HEADER_SIZE];
            VxlanPacket::new_unchecked(&mut bytes).set_vni(vni);
            let theirs = Theirs::new(&bytes).unwrap();
            prop_assert_eq!((theirs.get_flags(), theirs.get_vni()), (VALID_VNI, vni));
            prop_assert_eq!((theirs.get_reserved1(), theirs.get_reserved2()), (0, 0));
        }
    }
}

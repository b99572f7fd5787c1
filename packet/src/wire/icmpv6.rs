//! ICMP of IPv6 (RFC 4443). The messages of neighbour discovery are in [`nd`](super::nd).

use super::{Field, WireError, check_size, icmpv6_type, put_u16, u16_at};
use std::fmt;

/// The byte ranges of the fields in the header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const TYPE: usize = 0;
    pub const CODE: usize = 1;
    pub const TYPE_AND_CODE: Field = 0..2;
    pub const CHECKSUM: Field = 2..4;
    /// Four bytes whose meaning depends on the type.
    pub const REST: Field = 4..8;
}

/// Size of the header in bytes. The meaning of the last four bytes depends on the type.
pub const HEADER_SIZE: usize = field::REST.end;

/// A view over an ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmpv6Packet<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Icmpv6Packet<T> {
    /// A view of `buffer` as an ICMPv6 message, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as an ICMPv6 message.
    ///
    /// # Errors
    /// The buffer is shorter than the header.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("ICMPv6", buffer.as_ref(), HEADER_SIZE)?;
        Ok(Self { buffer })
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The type of the message, a number of [`icmpv6_type`].
    #[inline]
    pub fn icmp_type(&self) -> u8 {
        self.buffer.as_ref()[field::TYPE]
    }

    /// The code of the message, a number within its type.
    #[inline]
    pub fn code(&self) -> u8 {
        self.buffer.as_ref()[field::CODE]
    }

    /// The checksum over pseudo header, header and payload.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// Whether the message is a neighbour solicitation or advertisement, which [`NdPacket`](super::NdPacket)
    /// reads. Its code must be 0 (RFC 4861 §7.1).
    #[inline]
    pub fn is_nd(&self) -> bool {
        icmpv6_type::is_nd(self.icmp_type()) && self.code() == 0
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> Icmpv6Packet<&'a T> {
    /// The bytes behind the header, up to the end of the buffer.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.buffer.as_ref()[HEADER_SIZE..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmpv6Packet<T> {
    /// Writes the type of the message.
    #[inline]
    pub fn set_icmp_type(&mut self, value: u8) {
        self.buffer.as_mut()[field::TYPE] = value;
    }

    /// Writes the code of the message.
    #[inline]
    pub fn set_code(&mut self, value: u8) {
        self.buffer.as_mut()[field::CODE] = value;
    }

    /// Writes the checksum, which the caller has computed over pseudo header, header and payload.
    #[inline]
    pub fn set_checksum(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::CHECKSUM, value);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for Icmpv6Packet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ICMPv6 type={} code={}", self.icmp_type(), self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::icmpv6::Icmpv6Packet as Theirs;
    use proptest::prelude::*;

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let icmp = Icmpv6Packet::new_checked(&[128, 0, 0x12, 0x34, 0, 7, 0, 1, 0xab]).unwrap();
        assert_eq!((icmp.icmp_type(), icmp.code(), icmp.checksum()), (128, 0, 0x1234));
        assert_eq!(icmp.payload(), [0xab]);
        assert_eq!(icmp.to_string(), "ICMPv6 type=128 code=0");
        assert!(Icmpv6Packet::new_checked([0; 7]).is_err());
    }

    #[test]
    fn only_two_types_with_code_zero_are_neighbour_discovery() {
        for kind in 0..=255 {
            let is_nd = |code| Icmpv6Packet::new_unchecked([kind, code, 0, 0, 0, 0, 0, 0]).is_nd();
            assert_eq!(is_nd(0), kind == 135 || kind == 136, "{kind}");
            assert!(!is_nd(1));
        }
    }

    proptest! {
        #[test]
        fn pnet_reads_the_fields_that_were_written(kind: u8, code: u8, checksum: u16) {
            let mut bytes = [0; HEADER_SIZE];
            let mut icmp = Icmpv6Packet::new_unchecked(&mut bytes);
            icmp.set_icmp_type(kind);
            icmp.set_code(code);
            icmp.set_checksum(checksum);
            let theirs = Theirs::new(&bytes).unwrap();
            prop_assert_eq!((theirs.get_icmpv6_type().0, theirs.get_icmpv6_code().0), (kind, code));
            prop_assert_eq!(theirs.get_checksum(), checksum);
        }
    }
}

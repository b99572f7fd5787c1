//! ICMP of IPv4 (RFC 792). The header of IGMP (RFC 2236) begins with the same three fields.

use super::{Field, WireError, check_size, put_u16, u16_at};
use crate::checksum;
use std::fmt;

/// The byte ranges of the fields in the header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const TYPE: usize = 0;
    pub const CODE: usize = 1;
    pub const TYPE_AND_CODE: Field = 0..2;
    pub const CHECKSUM: Field = 2..4;
    /// Only in echo requests and replies.
    pub const IDENTIFIER: Field = 4..6;
    /// Only in echo requests and replies.
    pub const SEQUENCE: Field = 6..8;
}

/// Size of the header in bytes.
pub const HEADER_SIZE: usize = 8;

/// A view over an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpPacket<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> IcmpPacket<T> {
    /// A view of `buffer` as an ICMP message, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as an ICMP message.
    ///
    /// # Errors
    /// The buffer is shorter than the header.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("ICMP", buffer.as_ref(), HEADER_SIZE)?;
        Ok(Self { buffer })
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The type of the message, a number of [`icmp_type`](super::icmp_type).
    #[inline]
    pub fn icmp_type(&self) -> u8 {
        self.buffer.as_ref()[field::TYPE]
    }

    /// The code of the message, a number within its type.
    #[inline]
    pub fn code(&self) -> u8 {
        self.buffer.as_ref()[field::CODE]
    }

    /// The checksum over header and payload. There is no pseudo header.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// The identifier of an echo request or reply, by which the requesting host finds the process that asked.
    #[inline]
    pub fn identifier(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::IDENTIFIER)
    }

    /// The sequence number of an echo request or reply.
    #[inline]
    pub fn sequence(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::SEQUENCE)
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> IcmpPacket<&'a T> {
    /// The bytes behind the header, up to the end of the buffer.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.buffer.as_ref()[HEADER_SIZE..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> IcmpPacket<T> {
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

    /// Writes the identifier of an echo request or reply.
    #[inline]
    pub fn set_identifier(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::IDENTIFIER, value);
    }

    /// Writes the sequence number of an echo request or reply.
    #[inline]
    pub fn set_sequence(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::SEQUENCE, value);
    }

    /// Computes the checksum over the whole buffer and writes it.
    pub fn fill_checksum(&mut self) {
        let bytes = self.buffer.as_mut();
        put_u16(bytes, field::CHECKSUM, 0);
        let checksum = !checksum::sum(bytes);
        put_u16(bytes, field::CHECKSUM, checksum);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for IcmpPacket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ICMP type={} code={}", self.icmp_type(), self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::icmp::echo_request::EchoRequestPacket;
    use pnet_packet::icmp::{IcmpPacket as Theirs, checksum};
    use proptest::prelude::*;

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let icmp = IcmpPacket::new_checked(&[8, 0, 0x12, 0x34, 0, 7, 0, 1, 0xab]).unwrap();
        assert_eq!((icmp.icmp_type(), icmp.code(), icmp.checksum()), (8, 0, 0x1234));
        assert_eq!((icmp.identifier(), icmp.sequence(), icmp.payload()), (7, 1, &[0xab][..]));
        assert_eq!(icmp.to_string(), "ICMP type=8 code=0");
        assert!(IcmpPacket::new_checked([0; 7]).is_err());
    }

    proptest! {
        #[test]
        fn pnet_reads_the_fields_that_were_written(
            kind: u8, code: u8, id: u16, sequence: u16,
            payload in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut bytes = [&[0xff; HEADER_SIZE][..], &payload].concat();
            let mut icmp = IcmpPacket::new_unchecked(&mut bytes);
            icmp.set_icmp_type(kind);
            icmp.set_code(code);
            icmp.set_identifier(id);
            icmp.set_sequence(sequence);
            icmp.fill_checksum();
            let theirs = Theirs::new(&bytes).unwrap();
            prop_assert_eq!((theirs.get_icmp_type().0, theirs.get_icmp_code().0), (kind, code));
            prop_assert_eq!(theirs.get_checksum(), checksum(&theirs));
            let echo = EchoRequestPacket::new(&bytes).unwrap();
            prop_assert_eq!((echo.get_identifier(), echo.get_sequence_number()), (id, sequence));
        }
    }
}

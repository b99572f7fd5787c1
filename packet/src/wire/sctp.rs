//! The common header of SCTP (RFC 9260 §3.1). The chunks that follow are not parsed.

use super::{Field, WireError, array, check_size, put_u16, put_u32, u16_at, u32_at};
use crate::checksum::crc32c;
use std::fmt;

/// The byte ranges of the fields in the header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const SRC_PORT: Field = 0..2;
    pub const DST_PORT: Field = 2..4;
    /// Source and destination port together.
    pub const PORTS: Field = SRC_PORT.start..DST_PORT.end;
    pub const VERIFICATION_TAG: Field = 4..8;
    pub const CHECKSUM: Field = 8..12;
}

/// Size of the common header in bytes.
pub const HEADER_SIZE: usize = field::CHECKSUM.end;

/// A view over an SCTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SctpPacket<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> SctpPacket<T> {
    /// A view of `buffer` as an SCTP packet, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as an SCTP packet, which must not include padding of the frame: the checksum covers
    /// all of `buffer`.
    ///
    /// # Errors
    /// The buffer is shorter than the header.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("SCTP", buffer.as_ref(), HEADER_SIZE)?;
        Ok(Self { buffer })
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The source port.
    #[inline]
    pub fn src_port(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::SRC_PORT)
    }

    /// The destination port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::DST_PORT)
    }

    /// The verification tag, by which the receiver recognises the association.
    #[inline]
    pub fn verification_tag(&self) -> u32 {
        u32_at(self.buffer.as_ref(), field::VERIFICATION_TAG)
    }

    /// The CRC32c. Unlike all other fields, it is in little-endian byte order (RFC 9260, appendix A).
    #[inline]
    pub fn checksum(&self) -> u32 {
        u32::from_le_bytes(array(self.buffer.as_ref(), field::CHECKSUM))
    }

    /// The CRC32c of the whole buffer, with the checksum field taken as zero.
    pub fn computed_checksum(&self) -> u32 {
        let bytes = self.buffer.as_ref();
        crc32c([&bytes[..field::CHECKSUM.start], &[0; 4], &bytes[field::CHECKSUM.end..]])
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> SctpPacket<&'a T> {
    /// The bytes of the chunks: everything behind the header.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.buffer.as_ref()[HEADER_SIZE..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> SctpPacket<T> {
    /// Writes the source port.
    #[inline]
    pub fn set_src_port(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::SRC_PORT, value);
    }

    /// Writes the destination port.
    #[inline]
    pub fn set_dst_port(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::DST_PORT, value);
    }

    /// Writes both ports: the source port first, each in network byte order.
    #[inline]
    pub fn set_ports(&mut self, value: [u8; 4]) {
        self.buffer.as_mut()[field::PORTS].copy_from_slice(&value);
    }

    /// Writes the verification tag.
    #[inline]
    pub fn set_verification_tag(&mut self, value: u32) {
        put_u32(self.buffer.as_mut(), field::VERIFICATION_TAG, value);
    }

    /// Writes the CRC32c, in little-endian byte order.
    #[inline]
    pub fn set_checksum(&mut self, value: u32) {
        self.buffer.as_mut()[field::CHECKSUM].copy_from_slice(&value.to_le_bytes());
    }

    /// Computes the CRC32c of the whole buffer and writes it.
    pub fn fill_checksum(&mut self) {
        self.set_checksum(self.computed_checksum());
    }
}

impl<T: AsRef<[u8]>> fmt::Display for SctpPacket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (src, dst, tag) = (self.src_port(), self.dst_port(), self.verification_tag());
        write!(f, "SCTP src={src} dst={dst} tag={tag:#010x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 16] = [0x07, 0xd0, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 11, 0, 0, 4];

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let sctp = SctpPacket::new_checked(&BYTES).unwrap();
        assert_eq!((sctp.src_port(), sctp.dst_port()), (2000, 80));
        assert_eq!(sctp.payload(), [11, 0, 0, 4]);
        assert_eq!(sctp.to_string(), "SCTP src=2000 dst=80 tag=0x01020304");
        assert!(SctpPacket::new_checked(&BYTES[..11]).is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = BYTES;
        let mut sctp = SctpPacket::new_checked(&mut bytes).unwrap();
        sctp.set_src_port(1);
        sctp.set_dst_port(2);
        sctp.set_verification_tag(3);
        sctp.set_checksum(0x0403_0201);
        assert_eq!(bytes[..HEADER_SIZE], [0, 1, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4]);
    }

    #[test]
    fn the_checksum_counts_its_own_bytes_as_zero() {
        let expected = crc32c([&BYTES]);
        let mut bytes = BYTES;
        bytes[field::CHECKSUM].fill(0xaa);
        let mut sctp = SctpPacket::new_checked(&mut bytes).unwrap();
        sctp.fill_checksum();
        assert_eq!(sctp.checksum(), expected);
        assert_eq!(bytes[field::CHECKSUM], expected.to_le_bytes());
    }
}

//! UDP (RFC 768).

use super::{Field, WireError, check_size, put_u16, u16_at};
use std::fmt;

/// The byte ranges of the fields in the header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const SRC_PORT: Field = 0..2;
    pub const DST_PORT: Field = 2..4;
    /// Source and destination port together.
    pub const PORTS: Field = SRC_PORT.start..DST_PORT.end;
    pub const SIZE: Field = 4..6;
    pub const CHECKSUM: Field = 6..8;
}

/// Size of the header in bytes.
pub const HEADER_SIZE: usize = field::CHECKSUM.end;

/// A view over a UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpPacket<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> UdpPacket<T> {
    /// A view of `buffer` as a UDP datagram, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as a UDP datagram. The size field is not checked: a first fragment is shorter than
    /// it says, and a datagram that is to be segmented is longer.
    ///
    /// # Errors
    /// The buffer is shorter than the header.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("UDP", buffer.as_ref(), HEADER_SIZE)?;
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

    /// Size of header and payload in bytes, as the header states it.
    #[inline]
    pub fn size(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::SIZE)
    }

    /// The checksum over pseudo header, header and payload. Zero means that the sender computed none.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::CHECKSUM)
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> UdpPacket<&'a T> {
    /// The bytes behind the header, up to the end of the buffer.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.buffer.as_ref()[HEADER_SIZE..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> UdpPacket<T> {
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

    /// Writes the size of header and payload in bytes.
    #[inline]
    pub fn set_size(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::SIZE, value);
    }

    /// Writes the checksum. A computed checksum of zero is written as 0xffff
    /// ([`checksum::nonzero`](crate::checksum::nonzero)).
    #[inline]
    pub fn set_checksum(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::CHECKSUM, value);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for UdpPacket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UDP src={} dst={} size={}", self.src_port(), self.dst_port(), self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::UdpHeader;
    use proptest::prelude::*;

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let udp = UdpPacket::new_checked(&[0, 53, 0x12, 0x34, 0, 10, 0xab, 0xcd, 7, 8]).unwrap();
        assert_eq!((udp.src_port(), udp.dst_port()), (53, 0x1234));
        assert_eq!((udp.size(), udp.checksum(), udp.payload()), (10, 0xabcd, &[7, 8][..]));
        assert_eq!(udp.to_string(), "UDP src=53 dst=4660 size=10");
        assert!(UdpPacket::new_checked([0; 7]).is_err());
    }

    proptest! {
        #[test]
        fn etherparse_reads_the_fields_that_were_written(src: u16, dst: u16, size: u16, checksum: u16) {
            let mut bytes = [0; HEADER_SIZE];
            let mut udp = UdpPacket::new_unchecked(&mut bytes);
            udp.set_src_port(src);
            udp.set_dst_port(dst);
            udp.set_size(size);
            udp.set_checksum(checksum);
            let (theirs, _) = UdpHeader::from_slice(&bytes).unwrap();
            prop_assert_eq!((theirs.source_port, theirs.destination_port), (src, dst));
            prop_assert_eq!((theirs.length, theirs.checksum), (size, checksum));
        }
    }
}

//! TCP (RFC 9293 §3.1).

use super::{Field, WireError, check_size, put_u16, put_u32, u16_at, u32_at};
use std::fmt;

/// The byte ranges of the fields in the header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const SRC_PORT: Field = 0..2;
    pub const DST_PORT: Field = 2..4;
    /// Source and destination port together.
    pub const PORTS: Field = SRC_PORT.start..DST_PORT.end;
    pub const SEQUENCE: Field = 4..8;
    pub const ACKNOWLEDGEMENT: Field = 8..12;
    /// Size of the header in units of 4 bytes in the upper 4 bits (data offset), flags in the lower 12.
    pub const OFFSET_AND_FLAGS: Field = 12..14;
    pub const WINDOW: Field = 14..16;
    pub const CHECKSUM: Field = 16..18;
    pub const URGENT: Field = 18..20;
}

/// Size of the header without options, in bytes.
pub const HEADER_SIZE: usize = field::URGENT.end;

/// Bits of [`TcpPacket::flags`].
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod flag {
    pub const FIN: u16 = 0x001;
    pub const SYN: u16 = 0x002;
    pub const RST: u16 = 0x004;
    pub const PSH: u16 = 0x008;
    pub const ACK: u16 = 0x010;
    pub const URG: u16 = 0x020;
    pub const CWR: u16 = 0x080;
    /// All 12 flag bits, including those without a name here.
    pub const ALL: u16 = 0x0fff;
}

/// A view over a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpPacket<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> TcpPacket<T> {
    /// A view of `buffer` as a TCP segment, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as a TCP segment.
    ///
    /// # Errors
    /// The buffer is shorter than the header with its options, or the header states a size below 20 bytes.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        const NAME: &str = "TCP";
        check_size(NAME, buffer.as_ref(), HEADER_SIZE)?;
        let segment = Self { buffer };
        let stated = segment.header_size();
        if stated < HEADER_SIZE {
            return Err(WireError::TooSmall { header: NAME, stated, least: HEADER_SIZE });
        }
        check_size(NAME, segment.buffer.as_ref(), stated)?;
        Ok(segment)
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

    /// The sequence number of the first byte of payload.
    #[inline]
    pub fn sequence(&self) -> u32 {
        u32_at(self.buffer.as_ref(), field::SEQUENCE)
    }

    /// The acknowledgement number: the sequence number of the byte that the sender expects next.
    #[inline]
    pub fn acknowledgement(&self) -> u32 {
        u32_at(self.buffer.as_ref(), field::ACKNOWLEDGEMENT)
    }

    /// Size of the header with its options in bytes, as the header states it: a multiple of 4 up to 60.
    #[inline]
    pub fn header_size(&self) -> usize {
        usize::from(u16_at(self.buffer.as_ref(), field::OFFSET_AND_FLAGS) >> 12) * 4
    }

    /// The 12 flag bits; [`flag`] has the names of some.
    #[inline]
    pub fn flags(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::OFFSET_AND_FLAGS) & flag::ALL
    }

    /// The receive window of the sender in bytes, before scaling (RFC 7323).
    #[inline]
    pub fn window(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::WINDOW)
    }

    /// The checksum over pseudo header, header and payload.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::CHECKSUM)
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> TcpPacket<&'a T> {
    /// The options, up to 40 bytes.
    #[inline]
    pub fn options(&self) -> &'a [u8] {
        &self.buffer.as_ref()[HEADER_SIZE..self.header_size()]
    }

    /// The bytes behind the header, up to the end of the buffer.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.buffer.as_ref()[self.header_size()..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> TcpPacket<T> {
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

    /// Writes the sequence number.
    #[inline]
    pub fn set_sequence(&mut self, value: u32) {
        put_u32(self.buffer.as_mut(), field::SEQUENCE, value);
    }

    /// Writes the acknowledgement number.
    #[inline]
    pub fn set_acknowledgement(&mut self, value: u32) {
        put_u32(self.buffer.as_mut(), field::ACKNOWLEDGEMENT, value);
    }

    /// Writes the size of the header in bytes: a multiple of 4 from 20 to 60. The flags stay as they are.
    #[inline]
    pub fn set_header_size(&mut self, size: usize) {
        let value = (size as u16 / 4) << 12 | self.flags();
        put_u16(self.buffer.as_mut(), field::OFFSET_AND_FLAGS, value);
    }

    /// Writes the lower 12 bits of `value` as the flags. The size of the header stays as it is.
    #[inline]
    pub fn set_flags(&mut self, value: u16) {
        let size = u16_at(self.buffer.as_ref(), field::OFFSET_AND_FLAGS) & !flag::ALL;
        put_u16(self.buffer.as_mut(), field::OFFSET_AND_FLAGS, size | value & flag::ALL);
    }

    /// Writes the receive window.
    #[inline]
    pub fn set_window(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::WINDOW, value);
    }

    /// Writes the checksum, which the caller has computed over pseudo header, header and payload.
    #[inline]
    pub fn set_checksum(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::CHECKSUM, value);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for TcpPacket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (src, dst, seq) = (self.src_port(), self.dst_port(), self.sequence());
        let (ack, flags) = (self.acknowledgement(), self.flags());
        write!(f, "TCP src={src} dst={dst} seq={seq} ack={ack} flags={flags:#05x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::TcpHeader;
    use proptest::prelude::*;

    const BYTES: [u8; 26] = [
        0x03, 0xe8, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x60, 0x12, 0x10, 0, 0xab, 0xcd, 0,
        0, // fixed
        2, 4, 5, 0xb4, 7, 8,
    ];

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let tcp = TcpPacket::new_checked(&BYTES).unwrap();
        assert_eq!((tcp.src_port(), tcp.dst_port()), (1000, 80));
        assert_eq!((tcp.header_size(), tcp.flags()), (24, flag::SYN | flag::ACK));
        assert_eq!((tcp.window(), tcp.checksum()), (4096, 0xabcd));
        assert_eq!((tcp.options(), tcp.payload()), (&[2, 4, 5, 0xb4][..], &[7, 8][..]));
        assert_eq!(tcp.to_string(), "TCP src=1000 dst=80 seq=1 ack=2 flags=0x012");
    }

    #[test]
    fn headers_that_cannot_be_as_long_as_they_say_are_refused() {
        for words in 0..16 {
            let mut bytes = BYTES;
            bytes[12] = words << 4;
            assert_eq!(TcpPacket::new_checked(&bytes).is_ok(), (5..=6).contains(&words), "{words}");
        }
        assert!(TcpPacket::new_checked(&BYTES[..19]).is_err());
    }

    proptest! {
        #[test]
        fn etherparse_reads_the_fields_that_were_written(
            (src, dst) in any::<(u16, u16)>(), (seq, ack) in any::<(u32, u32)>(), flags in 0..=flag::ALL,
            (window, checksum) in any::<(u16, u16)>(),
        ) {
            let mut bytes = [0; HEADER_SIZE];
            let mut tcp = TcpPacket::new_unchecked(&mut bytes);
            tcp.set_src_port(src);
            tcp.set_dst_port(dst);
            tcp.set_sequence(seq);
            tcp.set_acknowledgement(ack);
            tcp.set_flags(flags);
            tcp.set_header_size(HEADER_SIZE);
            tcp.set_window(window);
            tcp.set_checksum(checksum);
            let (theirs, _) = TcpHeader::from_slice(&bytes).unwrap();
            prop_assert_eq!((theirs.source_port, theirs.destination_port), (src, dst));
            prop_assert_eq!((theirs.sequence_number, theirs.acknowledgment_number), (seq, ack));
            prop_assert_eq!((theirs.window_size, theirs.checksum), (window, checksum));
            for (flag, is_set) in [
                (flag::FIN, theirs.fin), (flag::SYN, theirs.syn), (flag::RST, theirs.rst),
                (flag::PSH, theirs.psh), (flag::ACK, theirs.ack), (flag::CWR, theirs.cwr),
            ] {
                prop_assert_eq!(flags & flag != 0, is_set);
            }
        }
    }
}

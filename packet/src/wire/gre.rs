//! GRE (RFC 2784) with key and sequence number (RFC 2890).

use super::{Field, WireError, check_size, put_u16, put_u32, u16_at, u32_at};
use std::fmt;

/// The byte ranges of the fields that every header has. Optional fields of four bytes each
/// follow if their flag is set: checksum with two reserved bytes, key, sequence number.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const FLAGS_AND_VERSION: Field = 0..2;
    pub const PROTOCOL_TYPE: Field = 2..4;
}

/// Size of the header without optional fields, in bytes.
pub const HEADER_SIZE: usize = field::PROTOCOL_TYPE.end;
/// Size of each optional field in bytes.
pub const OPTION_SIZE: usize = 4;

/// The flag (C) of a header with a checksum.
pub const CHECKSUM: u16 = 0x8000;
/// The flag (K) of a header with a key.
pub const KEY: u16 = 0x2000;
/// The flag (S) of a header with a sequence number.
pub const SEQUENCE: u16 = 0x1000;
/// The flags that a receiver must not accept: bits 1, 4 and 5 of the header, counted from the most significant
/// one (RFC 2784 §2.3). The flag of RFC 1701's routing field is one of them.
const UNKNOWN_FLAGS: u16 = 0x4c00;
/// The bits of [`GrePacket::flags_and_version`] that are the version.
pub const VERSION_MASK: u16 = 0x0007;

/// A view over a GRE packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrePacket<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> GrePacket<T> {
    /// A view of `buffer` as a GRE packet, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as a GRE packet. The version is not checked. The routing field of RFC 1701, which
    /// RFC 2784 abolished, is not supported.
    ///
    /// # Errors
    /// The buffer is shorter than the header with its optional fields.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        const NAME: &str = "GRE";
        check_size(NAME, buffer.as_ref(), HEADER_SIZE)?;
        let packet = Self { buffer };
        check_size(NAME, packet.buffer.as_ref(), packet.header_size())?;
        Ok(packet)
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The flags ([`CHECKSUM`], [`KEY`], [`SEQUENCE`]) and the version ([`VERSION_MASK`]).
    #[inline]
    pub fn flags_and_version(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::FLAGS_AND_VERSION)
    }

    /// The type of the payload, a number of [`eth_type`](super::eth_type).
    #[inline]
    pub fn protocol_type(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::PROTOCOL_TYPE)
    }

    /// Size of the header with its optional fields in bytes: 4, 8, 12 or 16.
    #[inline]
    pub fn header_size(&self) -> usize {
        self.size_with(CHECKSUM | KEY | SEQUENCE)
    }

    /// Size in bytes of the fixed header and of those optional fields in `flags` that the header has.
    #[inline]
    fn size_with(&self, flags: u16) -> usize {
        HEADER_SIZE + OPTION_SIZE * (self.flags_and_version() & flags).count_ones() as usize
    }

    /// The byte range of the optional field `flag`, which stands behind the optional fields `before`; `None` if
    /// the header does not have it.
    #[inline]
    fn optional(&self, flag: u16, before: u16) -> Option<Field> {
        let at = self.size_with(before);
        (self.flags_and_version() & flag != 0).then_some(at..at + OPTION_SIZE)
    }

    /// The checksum over header and payload; `None` if the header has none.
    #[inline]
    pub fn checksum(&self) -> Option<u16> {
        let at = self.optional(CHECKSUM, 0)?.start;
        Some(u16_at(self.buffer.as_ref(), at..at + 2))
    }

    /// Whether the checksum over header and payload is right. A header without a checksum has nothing that
    /// could be wrong.
    #[inline]
    pub fn is_checksum_right(&self) -> bool {
        self.checksum().is_none() || crate::checksum::sum(self.buffer.as_ref()) == 0xffff
    }

    /// Whether the header is one of RFC 2784 and RFC 2890: version 0, and no flag set that has no meaning
    /// there. A receiver drops other packets, such as those with the routing field of RFC 1701 and those of
    /// PPTP (version 1).
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.flags_and_version() & (UNKNOWN_FLAGS | VERSION_MASK) == 0
    }

    /// The key, which tells flows of a tunnel apart; `None` if the header has none.
    #[inline]
    pub fn key(&self) -> Option<u32> {
        Some(u32_at(self.buffer.as_ref(), self.optional(KEY, CHECKSUM)?))
    }

    /// The sequence number of the packet in its tunnel; `None` if the header has none.
    #[inline]
    pub fn sequence(&self) -> Option<u32> {
        Some(u32_at(self.buffer.as_ref(), self.optional(SEQUENCE, CHECKSUM | KEY)?))
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> GrePacket<&'a T> {
    /// The bytes behind the header and its optional fields, up to the end of the buffer.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.buffer.as_ref()[self.header_size()..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> GrePacket<T> {
    /// Writes the flags and the version. The flags decide where the optional fields are.
    #[inline]
    pub fn set_flags_and_version(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::FLAGS_AND_VERSION, value);
    }

    /// Writes the type of the payload.
    #[inline]
    pub fn set_protocol_type(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::PROTOCOL_TYPE, value);
    }

    /// Writes the key, if the header has [`KEY`] set; otherwise does nothing.
    #[inline]
    pub fn set_key(&mut self, value: u32) {
        if let Some(field) = self.optional(KEY, CHECKSUM) {
            put_u32(self.buffer.as_mut(), field, value);
        }
    }

    /// Writes the sequence number, if the header has [`SEQUENCE`] set; otherwise does nothing.
    #[inline]
    pub fn set_sequence(&mut self, value: u32) {
        if let Some(field) = self.optional(SEQUENCE, CHECKSUM | KEY) {
            put_u32(self.buffer.as_mut(), field, value);
        }
    }

    /// Computes the checksum over the whole buffer (RFC 2784 §2.3) and writes it, if the header has
    /// [`CHECKSUM`] set; otherwise does nothing.
    pub fn fill_checksum(&mut self) {
        if let Some(Field { start, .. }) = self.optional(CHECKSUM, 0) {
            let bytes = self.buffer.as_mut();
            put_u16(bytes, start..start + 2, 0);
            let checksum = !crate::checksum::sum(bytes);
            put_u16(bytes, start..start + 2, checksum);
        }
    }
}

impl<T: AsRef<[u8]>> fmt::Display for GrePacket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GRE type={:#06x}", self.protocol_type())?;
        if let Some(key) = self.key() {
            write!(f, " key={key}")?;
        }
        if let Some(sequence) = self.sequence() {
            write!(f, " seq={sequence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::sum;
    use crate::wire::eth_type;
    use pnet_packet::gre::GrePacket as Theirs;
    use proptest::prelude::*;

    const BYTES: [u8; 17] = [
        0xb0, 0, 0x65, 0x58, 0x12, 0x34, 0, 0, // flags, type, checksum
        0, 0, 0, 42, 0, 0, 0, 7, 0xab, // key, sequence number, payload
    ];

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let gre = GrePacket::new_checked(&BYTES).unwrap();
        assert_eq!((gre.protocol_type(), gre.header_size()), (eth_type::TEB, 16));
        assert_eq!((gre.checksum(), gre.key(), gre.sequence()), (Some(0x1234), Some(42), Some(7)));
        assert_eq!(gre.payload(), [0xab]);
        assert_eq!(gre.to_string(), "GRE type=0x6558 key=42 seq=7");
        assert!(gre.is_plain() && !gre.is_checksum_right());
        assert!(GrePacket::new_checked(&BYTES[..15]).is_err());
        assert!(GrePacket::new_checked(&BYTES[..3]).is_err());
    }

    #[test]
    fn headers_of_other_standards_are_told_apart() {
        let is_plain =
            |first: u8, second: u8| GrePacket::new_unchecked([first, second, 0, 0]).is_plain();
        assert!(is_plain(0, 0) && is_plain(0xb0, 0) && is_plain(0, 0xf8));
        // The routing field, bits 4 and 5, and version 1.
        assert!(
            !is_plain(0x40, 0) && !is_plain(0x08, 0) && !is_plain(0x04, 0) && !is_plain(0x20, 1)
        );
    }

    #[test]
    fn fields_that_are_not_there_move_the_others() {
        let gre = GrePacket::new_checked(&[0x10, 0, 8, 0, 0, 0, 0, 7, 0xab]).unwrap();
        assert_eq!((gre.checksum(), gre.key(), gre.sequence()), (None, None, Some(7)));
        assert_eq!(gre.payload(), [0xab]);
        let gre = GrePacket::new_checked(&[0x20, 0, 8, 0, 0, 0, 0, 7, 0xab]).unwrap();
        assert_eq!((gre.key(), gre.sequence()), (Some(7), None));
    }

    proptest! {
        #[test]
        fn fields_that_were_written_are_read_here_and_by_pnet(
            flags in 0u16..8, protocol: u16, key: u32, sequence: u32,
            payload in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let flags = (flags & 1) << 15 | (flags & 6) << 11;
            let mut bytes = [&[0xff; 16][..], &payload].concat();
            let mut gre = GrePacket::new_unchecked(&mut bytes);
            gre.set_flags_and_version(flags);
            gre.set_protocol_type(protocol);
            gre.set_key(key);
            gre.set_sequence(sequence);
            gre.fill_checksum();
            prop_assert_eq!(gre.key(), (flags & KEY != 0).then_some(key));
            prop_assert_eq!(gre.sequence(), (flags & SEQUENCE != 0).then_some(sequence));
            let theirs = Theirs::new(&bytes).unwrap();
            prop_assert_eq!(theirs.get_protocol_type(), protocol);
            prop_assert_eq!(theirs.get_checksum_present() == 1, flags & CHECKSUM != 0);
            prop_assert_eq!(theirs.get_key_present() == 1, flags & KEY != 0);
            prop_assert_eq!(theirs.get_sequence_present() == 1, flags & SEQUENCE != 0);
            prop_assert!(GrePacket::new_checked(&bytes[..]).unwrap().is_checksum_right());
            if flags & CHECKSUM != 0 {
                prop_assert_eq!(sum(&bytes), 0xffff);
                // A byte of the header that is no flag: the checksum covers it.
                bytes[3] ^= 1;
                prop_assert!(!GrePacket::new_checked(&bytes[..]).unwrap().is_checksum_right());
            }
        }
    }
}

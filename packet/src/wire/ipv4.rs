//! IPv4 (RFC 791; RFC 2474 and RFC 3168 for the type of service).

use super::{Field, WireError, array, check_size, put_u16, u16_at};
use crate::checksum;
use std::fmt;
use std::net::Ipv4Addr;

/// The byte ranges of the fields in the header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const VERSION_AND_IHL: usize = 0;
    pub const TOS: usize = 1;
    pub const TOTAL_SIZE: Field = 2..4;
    pub const IDENTIFICATION: Field = 4..6;
    pub const FLAGS_AND_OFFSET: Field = 6..8;
    pub const TTL: usize = 8;
    pub const PROTOCOL: usize = 9;
    pub const CHECKSUM: Field = 10..12;
    pub const SRC_ADDR: Field = 12..16;
    pub const DST_ADDR: Field = 16..20;
    /// Source and destination address together.
    pub const ADDRESSES: Field = SRC_ADDR.start..DST_ADDR.end;
}

/// Size of the header without options, in bytes.
pub const HEADER_SIZE: usize = field::DST_ADDR.end;

/// The flag in `FLAGS_AND_OFFSET` that forbids routers to fragment the packet (DF).
pub const DONT_FRAGMENT: u16 = 0x4000;
/// The flag in `FLAGS_AND_OFFSET` that every fragment but the last has set (MF).
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The bits of `FLAGS_AND_OFFSET` that are the fragment offset, in units of 8 bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// A view over an IPv4 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Packet<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Ipv4Packet<T> {
    /// A view of `buffer` as an IPv4 packet, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as an IPv4 packet. Version and checksum are not checked, and the
    /// payload may be cut off.
    ///
    /// # Errors
    /// The buffer is shorter than the header with its options, or the header states a size below 20 bytes.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        const NAME: &str = "IPv4";
        check_size(NAME, buffer.as_ref(), HEADER_SIZE)?;
        let packet = Self { buffer };
        let stated = packet.header_size();
        if stated < HEADER_SIZE {
            return Err(WireError::TooSmall { header: NAME, stated, least: HEADER_SIZE });
        }
        check_size(NAME, packet.buffer.as_ref(), stated)?;
        Ok(packet)
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The IP version, which is 4 in IPv4 packets.
    #[inline]
    pub fn version(&self) -> u8 {
        self.buffer.as_ref()[field::VERSION_AND_IHL] >> 4
    }

    /// Size of the header with its options in bytes, as the header states it: a multiple of 4 up to 60.
    #[inline]
    pub fn header_size(&self) -> usize {
        usize::from(self.buffer.as_ref()[field::VERSION_AND_IHL] & 0x0f) * 4
    }

    /// The type of service: DSCP in the upper six bits, ECN in the lower two.
    #[inline]
    pub fn tos(&self) -> u8 {
        self.buffer.as_ref()[field::TOS]
    }

    /// Size of header and payload in bytes, as the header states it. Zero in a packet that is to be segmented
    /// and is longer than 65535 bytes.
    #[inline]
    pub fn total_size(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::TOTAL_SIZE)
    }

    /// The identification, which the fragments of one packet have in common.
    #[inline]
    pub fn identification(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::IDENTIFICATION)
    }

    /// The flags ([`DONT_FRAGMENT`], [`MORE_FRAGMENTS`]) and the offset ([`OFFSET_MASK`]).
    #[inline]
    pub fn flags_and_offset(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::FLAGS_AND_OFFSET)
    }

    /// Whether the packet is a fragment, the first one or a later one.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.flags_and_offset() & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Whether the packet is a fragment other than the first, whose payload does not
    /// begin with a transport header.
    #[inline]
    pub fn is_later_fragment(&self) -> bool {
        self.flags_and_offset() & OFFSET_MASK != 0
    }

    /// The number of hops that the packet may still take.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.buffer.as_ref()[field::TTL]
    }

    /// The protocol of the payload, a number of [`ip_proto`](super::ip_proto).
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.buffer.as_ref()[field::PROTOCOL]
    }

    /// The checksum over the header with its options.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// The source address.
    #[inline]
    pub fn src_addr(&self) -> Ipv4Addr {
        array(self.buffer.as_ref(), field::SRC_ADDR).into()
    }

    /// The destination address.
    #[inline]
    pub fn dst_addr(&self) -> Ipv4Addr {
        array(self.buffer.as_ref(), field::DST_ADDR).into()
    }

    /// Whether the checksum is that of the header with its options.
    #[inline]
    pub fn is_checksum_right(&self) -> bool {
        checksum::sum(&self.buffer.as_ref()[..self.header_size()]) == 0xffff
    }

    /// The offset behind the last byte of the packet: its total size, or the size of the buffer if that is
    /// smaller or if the total size is 0 ([`Ipv4Packet::total_size`]).
    #[inline]
    pub fn end(&self) -> usize {
        let size = self.buffer.as_ref().len();
        match usize::from(self.total_size()) {
            0 => size,
            total => total.max(self.header_size()).min(size),
        }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> Ipv4Packet<&'a T> {
    /// The options, up to 40 bytes.
    #[inline]
    pub fn options(&self) -> &'a [u8] {
        &self.buffer.as_ref()[HEADER_SIZE..self.header_size()]
    }

    /// The bytes behind the header, up to [`Ipv4Packet::end`], and so without padding.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.buffer.as_ref()[self.header_size()..self.end()]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv4Packet<T> {
    /// Writes version 4, and the size of the header in bytes: a multiple of 4 from 20 to 60.
    #[inline]
    pub fn set_version_and_header_size(&mut self, size: usize) {
        self.buffer.as_mut()[field::VERSION_AND_IHL] = 0x40 | (size / 4) as u8 & 0x0f;
    }

    /// Writes the type of service.
    #[inline]
    pub fn set_tos(&mut self, value: u8) {
        self.buffer.as_mut()[field::TOS] = value;
    }

    /// Writes the size of header and payload in bytes.
    #[inline]
    pub fn set_total_size(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::TOTAL_SIZE, value);
    }

    /// Writes the identification.
    #[inline]
    pub fn set_identification(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::IDENTIFICATION, value);
    }

    /// Writes the flags ([`DONT_FRAGMENT`], [`MORE_FRAGMENTS`]) and the offset ([`OFFSET_MASK`]).
    #[inline]
    pub fn set_flags_and_offset(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::FLAGS_AND_OFFSET, value);
    }

    /// Writes the time to live.
    #[inline]
    pub fn set_ttl(&mut self, value: u8) {
        self.buffer.as_mut()[field::TTL] = value;
    }

    /// Writes the protocol of the payload.
    #[inline]
    pub fn set_protocol(&mut self, value: u8) {
        self.buffer.as_mut()[field::PROTOCOL] = value;
    }

    /// Writes the source address.
    #[inline]
    pub fn set_src_addr(&mut self, value: Ipv4Addr) {
        self.buffer.as_mut()[field::SRC_ADDR].copy_from_slice(&value.octets());
    }

    /// Writes the destination address.
    #[inline]
    pub fn set_dst_addr(&mut self, value: Ipv4Addr) {
        self.buffer.as_mut()[field::DST_ADDR].copy_from_slice(&value.octets());
    }

    /// Computes the checksum over the header with its options and writes it. All other
    /// fields must have been written.
    #[inline]
    pub fn fill_checksum(&mut self) {
        let size = self.header_size();
        let header = &mut self.buffer.as_mut()[..size];
        put_u16(header, field::CHECKSUM, 0);
        let checksum = !checksum::sum(header);
        put_u16(header, field::CHECKSUM, checksum);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for Ipv4Packet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (src, dst, proto) = (self.src_addr(), self.dst_addr(), self.protocol());
        let (ttl, size) = (self.ttl(), self.total_size());
        write!(f, "IPv4 src={src} dst={dst} proto={proto} ttl={ttl} size={size}")?;
        if self.is_fragment() {
            write!(f, " fragment at {}", usize::from(self.flags_and_offset() & OFFSET_MASK) * 8)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::ipv4::{Ipv4Packet as Theirs, checksum};
    use proptest::prelude::*;

    /// A header with one word of options, two bytes of payload and one of padding.
    const BYTES: [u8; 27] = [
        0x46, 0xb8, 0, 26, 0x12, 0x34, 0x20, 0x00, 64, 17, 0x8d, 0xf9, 10, 0, 0, 1, 10, 0, 0,
        2, // fixed
        1, 1, 1, 0, 7, 8, 9,
    ];

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let ip = Ipv4Packet::new_checked(&BYTES).unwrap();
        assert_eq!((ip.version(), ip.header_size(), ip.total_size()), (4, 24, 26));
        assert_eq!((ip.tos(), ip.ttl(), ip.protocol()), (0xb8, 64, 17));
        assert_eq!((ip.identification(), ip.flags_and_offset()), (0x1234, MORE_FRAGMENTS));
        assert!(ip.is_fragment() && !ip.is_later_fragment());
        assert_eq!((ip.options(), ip.payload()), (&[1, 1, 1, 0][..], &[7, 8][..]));
        assert_eq!(
            ip.to_string(),
            "IPv4 src=10.0.0.1 dst=10.0.0.2 proto=17 ttl=64 size=26 fragment at 0"
        );
    }

    #[test]
    fn headers_that_cannot_be_as_long_as_they_say_are_refused() {
        let mut bytes = BYTES;
        bytes[0] = 0x44;
        assert_eq!(
            Ipv4Packet::new_checked(&bytes).unwrap_err().to_string(),
            "IPv4: the header says that it has 16 bytes, it cannot have less than 20"
        );
        bytes[0] = 0x47;
        assert_eq!(
            Ipv4Packet::new_checked(&bytes).unwrap_err().to_string(),
            "IPv4: 27 bytes are there, the header needs 28"
        );
        assert!(Ipv4Packet::new_checked(&BYTES[..19]).is_err());
    }

    #[test]
    fn the_payload_ends_with_the_packet_or_with_the_bytes() {
        for (total, payload) in [(0, &[7, 8, 9][..]), (20, &[]), (25, &[7]), (999, &[7, 8, 9])] {
            let mut bytes = BYTES;
            Ipv4Packet::new_unchecked(&mut bytes).set_total_size(total);
            assert_eq!(Ipv4Packet::new_checked(&bytes).unwrap().payload(), payload, "{total}");
        }
    }

    proptest! {
        #[test]
        fn pnet_reads_the_fields_that_were_written(
            (tos, total, identification) in any::<(u8, u16, u16)>(),
            (flags_and_offset, ttl, protocol) in any::<(u16, u8, u8)>(),
            src in any::<Ipv4Addr>(), dst in any::<Ipv4Addr>(),
        ) {
            let mut bytes = [0xff; HEADER_SIZE];
            let mut ip = Ipv4Packet::new_unchecked(&mut bytes);
            ip.set_version_and_header_size(HEADER_SIZE);
            ip.set_tos(tos);
            ip.set_total_size(total);
            ip.set_identification(identification);
            ip.set_flags_and_offset(flags_and_offset);
            ip.set_ttl(ttl);
            ip.set_protocol(protocol);
            ip.set_src_addr(src);
            ip.set_dst_addr(dst);
            ip.fill_checksum();
            prop_assert!(ip.is_checksum_right());
            let theirs = Theirs::new(&bytes).unwrap();
            prop_assert_eq!((theirs.get_version(), theirs.get_header_length()), (4, 5));
            prop_assert_eq!(theirs.get_dscp() << 2 | theirs.get_ecn(), tos);
            prop_assert_eq!(theirs.get_total_length(), total);
            prop_assert_eq!(theirs.get_identification(), identification);
            prop_assert_eq!(theirs.get_fragment_offset(), flags_and_offset & OFFSET_MASK);
            prop_assert_eq!(u16::from(theirs.get_flags()), flags_and_offset >> 13);
            prop_assert_eq!(theirs.get_ttl(), ttl);
            prop_assert_eq!(theirs.get_next_level_protocol().0, protocol);
            prop_assert_eq!((theirs.get_source(), theirs.get_destination()), (src, dst));
            prop_assert_eq!(theirs.get_checksum(), checksum(&theirs));
        }
    }
}

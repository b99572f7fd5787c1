//! Extension headers of IPv6: hop-by-hop and destination options, routing, fragment (RFC 8200 §4) and
//! authentication (RFC 4302).
//!
//! An extension header does not have its own number; the header in front of it has. So a view is made with that
//! number, the `kind`, which is one of [`ip_proto`].

use super::{Field, WireError, check_size, ip_proto, put_u16, put_u32, u16_at, u32_at};
use std::fmt;

/// The byte ranges of the fields in a header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const NEXT_HEADER: usize = 0;
    /// Reserved in a fragment header, which always has 8 bytes.
    pub const SIZE: usize = 1;
    /// Only in a routing header.
    pub const SEGMENTS_LEFT: usize = 3;
    /// Only in a fragment header: the fragment offset in the upper 13 bits, flags in the lower 3.
    pub const OFFSET_AND_FLAGS: Field = 2..4;
    /// Only in a fragment header.
    pub const IDENTIFICATION: Field = 4..8;
}

/// Size in bytes of the shortest extension header, and of every fragment header.
pub const HEADER_SIZE: usize = 8;

/// The flag in `OFFSET_AND_FLAGS` that every fragment but the last has set (M).
pub const MORE_FRAGMENTS: u16 = 0x0001;
/// The bits of `OFFSET_AND_FLAGS` that are the fragment offset. Read in place, they are a number of bytes,
/// because the offset counts in units of 8 bytes.
pub const OFFSET_MASK: u16 = 0xfff8;

/// A view over an extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Extension<T> {
    kind: u8,
    buffer: T,
}

impl<T: AsRef<[u8]>> Ipv6Extension<T> {
    /// A view of `buffer` as the extension header with the number `kind`, without any check
    /// ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(kind: u8, buffer: T) -> Self {
        Self { kind, buffer }
    }

    /// A view of `buffer` as the extension header with the number `kind`.
    ///
    /// # Errors
    /// The buffer is shorter than the header.
    #[inline]
    pub fn new_checked(kind: u8, buffer: T) -> Result<Self, WireError> {
        const NAME: &str = "IPv6 extension";
        check_size(NAME, buffer.as_ref(), HEADER_SIZE)?;
        let extension = Self { kind, buffer };
        check_size(NAME, extension.buffer.as_ref(), extension.header_size())?;
        Ok(extension)
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The number of this extension header, of [`ip_proto`], with which the view was made.
    #[inline]
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// The header that follows, a number of [`ip_proto`].
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.buffer.as_ref()[field::NEXT_HEADER]
    }

    /// Size of this header in bytes, at least 8.
    #[inline]
    pub fn header_size(&self) -> usize {
        let stated = usize::from(self.buffer.as_ref()[field::SIZE]);
        match self.kind {
            ip_proto::FRAGMENT => HEADER_SIZE,
            // RFC 4302 §2.2: the size in units of 4 bytes, minus 2.
            ip_proto::AUTHENTICATION => (stated + 2) * 4,
            _ => (stated + 1) * 8,
        }
    }

    /// In a routing header: how many of the listed routers are still to be visited. In other
    /// headers the value means nothing.
    #[inline]
    pub fn segments_left(&self) -> u8 {
        self.buffer.as_ref()[field::SEGMENTS_LEFT]
    }

    /// Whether this is a routing header with routers still to be visited. Then the destination in the fixed
    /// header is not the final one.
    #[inline]
    pub fn has_segments_left(&self) -> bool {
        self.kind == ip_proto::ROUTING && self.segments_left() != 0
    }

    /// In a fragment header: [`MORE_FRAGMENTS`] and the offset ([`OFFSET_MASK`]).
    #[inline]
    pub fn offset_and_flags(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::OFFSET_AND_FLAGS)
    }

    /// Whether this is the fragment header of a fragment other than the first, so
    /// that no transport header follows.
    #[inline]
    pub fn is_later_fragment(&self) -> bool {
        self.kind == ip_proto::FRAGMENT && self.offset_and_flags() & OFFSET_MASK != 0
    }

    /// Whether this is the fragment header of an atomic fragment, which is a whole packet (RFC 6946).
    #[inline]
    pub fn is_atomic_fragment(&self) -> bool {
        let is_cut = self.offset_and_flags() & (OFFSET_MASK | MORE_FRAGMENTS) != 0;
        self.kind == ip_proto::FRAGMENT && !is_cut
    }

    /// In a fragment header: the identification, which the fragments of one packet have in common.
    #[inline]
    pub fn identification(&self) -> u32 {
        u32_at(self.buffer.as_ref(), field::IDENTIFICATION)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv6Extension<T> {
    /// Writes the number of the header that follows.
    #[inline]
    pub fn set_next_header(&mut self, value: u8) {
        self.buffer.as_mut()[field::NEXT_HEADER] = value;
    }

    /// Writes [`MORE_FRAGMENTS`] and the offset ([`OFFSET_MASK`]) of a fragment header.
    #[inline]
    pub fn set_offset_and_flags(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::OFFSET_AND_FLAGS, value);
    }

    /// Writes the identification of a fragment header.
    #[inline]
    pub fn set_identification(&mut self, value: u32) {
        put_u32(self.buffer.as_mut(), field::IDENTIFICATION, value);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for Ipv6Extension<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, next, size) = (self.kind, self.next_header(), self.header_size());
        write!(f, "IPv6 extension {kind} next={next} size={size}")?;
        match kind {
            ip_proto::FRAGMENT => {
                let (at, id) = (self.offset_and_flags() & OFFSET_MASK, self.identification());
                write!(f, " fragment at {at} id={id}")
            }
            ip_proto::ROUTING => write!(f, " segments_left={}", self.segments_left()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::ipv6::{FragmentPacket, RoutingPacket};
    use proptest::prelude::*;

    fn extension(kind: u8, bytes: &[u8]) -> Ipv6Extension<&[u8]> {
        Ipv6Extension::new_checked(kind, bytes).unwrap()
    }

    #[test]
    fn sizes_are_counted_in_the_units_of_their_kind() {
        let bytes = [6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (kind, size) in [
            (ip_proto::HOP_BY_HOP, 16),
            (ip_proto::ROUTING, 16),
            (ip_proto::DESTINATION_OPTIONS, 16),
            (ip_proto::AUTHENTICATION, 12),
            (ip_proto::FRAGMENT, 8),
        ] {
            assert_eq!(extension(kind, &bytes).header_size(), size, "{kind}");
            assert!(Ipv6Extension::new_checked(kind, &bytes[..size - 1]).is_err(), "{kind}");
        }
    }

    #[test]
    fn fragments_say_where_they_belong() {
        let later = extension(ip_proto::FRAGMENT, &[17, 0, 0x05, 0xa9, 0, 0, 0, 7]);
        assert!(later.is_later_fragment() && !later.is_atomic_fragment());
        assert_eq!(later.to_string(), "IPv6 extension 44 next=17 size=8 fragment at 1448 id=7");
        let first = extension(ip_proto::FRAGMENT, &[17, 0, 0, 1, 0, 0, 0, 7]);
        assert!(!first.is_later_fragment() && !first.is_atomic_fragment());
        assert!(extension(ip_proto::FRAGMENT, &[17, 0, 0, 6, 0, 0, 0, 7]).is_atomic_fragment());
    }

    #[test]
    fn bytes_mean_nothing_in_a_header_of_another_kind() {
        let options = extension(ip_proto::HOP_BY_HOP, &[17, 0, 0x05, 0xa9, 0, 0, 0, 7]);
        assert!(!options.is_later_fragment() && !options.has_segments_left());
        let routing = extension(ip_proto::ROUTING, &[17, 0, 0, 1, 0, 0, 0, 0]);
        assert!(routing.has_segments_left() && !routing.is_later_fragment());
        assert!(!extension(ip_proto::ROUTING, &[17, 0, 0, 0, 0, 0, 0, 0]).is_atomic_fragment());
    }

    proptest! {
        #[test]
        fn pnet_reads_the_fields_that_were_written(next: u8, offset: u16, id: u32) {
            let mut bytes = [0; HEADER_SIZE];
            let mut fragment = Ipv6Extension::new_unchecked(ip_proto::FRAGMENT, &mut bytes);
            fragment.set_next_header(next);
            fragment.set_offset_and_flags(offset);
            fragment.set_identification(id);
            let theirs = FragmentPacket::new(&bytes).unwrap();
            prop_assert_eq!(theirs.get_next_header().0, next);
            prop_assert_eq!(theirs.get_fragment_offset_with_flags(), offset);
            prop_assert_eq!(theirs.get_id(), id);
        }

        #[test]
        fn segments_left_agree_with_pnet(bytes: [u8; 8]) {
            let ours = Ipv6Extension::new_unchecked(ip_proto::ROUTING, &bytes);
            let theirs = RoutingPacket::new(&bytes).unwrap();
            prop_assert_eq!(ours.segments_left(), theirs.get_segments_left());
        }
    }
}

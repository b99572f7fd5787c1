//! Neighbour solicitations and advertisements (RFC 4861 §4.3, §4.4) and their options (§4.6).

use super::ethernet::Mac;
use super::{Field, WireError, array, check_size, icmpv6, icmpv6_type, put_u32, u32_at};
use std::fmt;
use std::net::Ipv6Addr;

/// The byte ranges of the fields in a message, counted from the first byte of the ICMPv6 header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::{Field, icmpv6};

    /// Reserved in a solicitation. In an advertisement three flags, followed by reserved bits.
    pub const RESERVED: Field = icmpv6::field::REST;
    pub const TARGET: Field = 8..24;
}

/// The byte ranges of the fields in an option.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod option_field {
    use super::Field;

    pub const TYPE: usize = 0;
    /// Size of the option in units of 8 bytes.
    pub const SIZE: usize = 1;
    /// Only in link-layer address options for Ethernet.
    pub const MAC: Field = 2..8;
}

/// Size of a message without options, in bytes.
pub const HEADER_SIZE: usize = field::TARGET.end;
/// Size in bytes of the shortest option, and of an option with a MAC address.
pub const OPTION_SIZE: usize = option_field::MAC.end;

/// A view over a neighbour solicitation or advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NdPacket<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> NdPacket<T> {
    /// A view of `buffer` as a message, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as a message. The type is not checked: ask
    /// [`Icmpv6Packet::is_nd`](super::Icmpv6Packet::is_nd) first.
    ///
    /// # Errors
    /// The buffer is shorter than a message without options.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("neighbour discovery", buffer.as_ref(), HEADER_SIZE)?;
        Ok(Self { buffer })
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The ICMPv6 type of the message: [`icmpv6_type::ND_SOLICIT`] or [`icmpv6_type::ND_ADVERT`].
    #[inline]
    pub fn icmp_type(&self) -> u8 {
        self.buffer.as_ref()[icmpv6::field::TYPE]
    }

    /// The four bytes in front of the target. In an advertisement the upper 3 bits are the flags router,
    /// solicited and override; all other bits are reserved.
    #[inline]
    pub fn reserved(&self) -> u32 {
        u32_at(self.buffer.as_ref(), field::RESERVED)
    }

    /// The target: the IPv6 address whose link-layer address is asked for
    /// (solicitation) or told (advertisement).
    #[inline]
    pub fn target(&self) -> Ipv6Addr {
        array::<16>(self.buffer.as_ref(), field::TARGET).into()
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> NdPacket<&'a T> {
    /// An iterator over the options, in order.
    #[inline]
    pub fn options(&self) -> NdOptions<'a> {
        NdOptions::new(&self.buffer.as_ref()[HEADER_SIZE..])
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> NdPacket<T> {
    /// Writes the four bytes in front of the target.
    #[inline]
    pub fn set_reserved(&mut self, value: u32) {
        put_u32(self.buffer.as_mut(), field::RESERVED, value);
    }

    /// Writes the target.
    #[inline]
    pub fn set_target(&mut self, value: Ipv6Addr) {
        self.buffer.as_mut()[field::TARGET].copy_from_slice(&value.octets());
    }
}

impl<T: AsRef<[u8]>> fmt::Display for NdPacket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.icmp_type() {
            icmpv6_type::ND_SOLICIT => "solicitation",
            icmpv6_type::ND_ADVERT => "advertisement",
            _ => "message",
        };
        write!(f, "neighbour {name} target={}", self.target())?;
        for option in NdOptions::new(&self.buffer.as_ref()[HEADER_SIZE..]) {
            write!(f, ", {option}")?;
        }
        Ok(())
    }
}

/// A view over an option of a neighbour discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NdOption<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> NdOption<T> {
    /// A view of `buffer` as an option, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as an option.
    ///
    /// # Errors
    /// The buffer is shorter than the option, or the option states a size of 0.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        const NAME: &str = "neighbour discovery option";
        check_size(NAME, buffer.as_ref(), OPTION_SIZE)?;
        let option = Self { buffer };
        let stated = option.size();
        if stated < OPTION_SIZE {
            return Err(WireError::TooSmall { header: NAME, stated, least: OPTION_SIZE });
        }
        check_size(NAME, option.buffer.as_ref(), stated)?;
        Ok(option)
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The type of the option, a number of [`nd_option`](super::nd_option).
    #[inline]
    pub fn option_type(&self) -> u8 {
        self.buffer.as_ref()[option_field::TYPE]
    }

    /// Size of the option in bytes, as the option states it: a multiple of 8.
    #[inline]
    pub fn size(&self) -> usize {
        usize::from(self.buffer.as_ref()[option_field::SIZE]) * 8
    }

    /// The MAC address in a link-layer address option. For Ethernet such an option has [`OPTION_SIZE`] bytes;
    /// longer ones have an address of another kind of link.
    #[inline]
    pub fn mac(&self) -> [u8; 6] {
        array(self.buffer.as_ref(), option_field::MAC)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> NdOption<T> {
    /// Writes type, size and MAC address of a link-layer address option.
    #[inline]
    pub fn set_mac(&mut self, option_type: u8, mac: [u8; 6]) {
        let bytes = self.buffer.as_mut();
        bytes[option_field::TYPE] = option_type;
        bytes[option_field::SIZE] = (OPTION_SIZE / 8) as u8;
        bytes[option_field::MAC].copy_from_slice(&mac);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for NdOption<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option {} size={}", self.option_type(), self.size())?;
        if self.size() == OPTION_SIZE { write!(f, " mac={}", Mac(self.mac())) } else { Ok(()) }
    }
}

/// Options one after the other. An option that is cut off, or that has no size, ends them.
#[derive(Clone, Debug)]
pub struct NdOptions<'a> {
    rest: &'a [u8],
}

impl<'a> NdOptions<'a> {
    /// The options that `bytes` begin with.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for NdOptions<'a> {
    type Item = NdOption<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let size = NdOption::new_checked(self.rest).ok()?.size();
        let (option, rest) = self.rest.split_at(size);
        self.rest = rest;
        Some(NdOption::new_unchecked(option))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::nd_option;
    use pnet_packet::icmpv6::ndp::NeighborSolicitPacket;

    const TARGET: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

    /// "Who has fe80::2? I am 02:00:00:00:00:01."
    fn solicitation() -> Vec<u8> {
        let mut bytes = vec![135, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(TARGET.octets());
        bytes.extend([nd_option::SOURCE_LINK_LAYER, 1, 2, 0, 0, 0, 0, 1]);
        bytes
    }

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let bytes = solicitation();
        let message = NdPacket::new_checked(&bytes).unwrap();
        assert_eq!((message.icmp_type(), message.reserved()), (icmpv6_type::ND_SOLICIT, 0));
        assert_eq!(
            message.to_string(),
            "neighbour solicitation target=fe80::2, option 1 size=8 mac=02:00:00:00:00:01"
        );
        assert!(NdPacket::new_checked(&bytes[..23]).is_err());
    }

    #[test]
    fn options_end_where_one_is_cut_off_or_has_no_size() {
        let count = |bytes: &[u8]| NdOptions::new(bytes).count();
        let two = [5, 1, 0, 0, 0, 0, 5, 0xdc, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let sizes: Vec<_> = NdOptions::new(&two).map(|o| (o.option_type(), o.size())).collect();
        assert_eq!(sizes, [(5, 8), (3, 16)]);
        assert_eq!(count(&two[..23]), 1);
        assert_eq!(count(&two[..7]), 0);
        assert_eq!(count(&[0; 24]), 0);
    }

    #[test]
    fn pnet_reads_the_fields_that_were_written() {
        let mut bytes = [0; HEADER_SIZE + OPTION_SIZE];
        bytes[0] = icmpv6_type::ND_SOLICIT;
        let mut message = NdPacket::new_unchecked(&mut bytes);
        message.set_reserved(0x1234_5678);
        message.set_target(TARGET);
        let mut option = NdOption::new_unchecked(&mut bytes[HEADER_SIZE..]);
        option.set_mac(nd_option::TARGET_LINK_LAYER, [1, 2, 3, 4, 5, 6]);
        let theirs = NeighborSolicitPacket::new(&bytes).unwrap();
        assert_eq!((theirs.get_reserved(), theirs.get_target_addr()), (0x1234_5678, TARGET));
        let [option] = &theirs.get_options()[..] else { panic!("one option") };
        assert_eq!((option.option_type.0, option.length), (nd_option::TARGET_LINK_LAYER, 1));
        assert_eq!(option.data, [1, 2, 3, 4, 5, 6]);
    }
}

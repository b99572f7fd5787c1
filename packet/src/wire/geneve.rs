//! Geneve (RFC 8926 §3.4): a tunnel over UDP for any payload that has an EtherType, with options in its header.

use super::{Field, WireError, check_size, put_u16, put_u24, u16_at, u24_at};
use std::fmt;

/// The byte ranges of the fields in the header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    /// Version in the upper 2 bits, size of the options in units of 4 bytes in the lower 6.
    pub const VERSION_AND_SIZE: usize = 0;
    pub const FLAGS: usize = 1;
    pub const PROTOCOL_TYPE: Field = 2..4;
    pub const VNI: Field = 4..7;
}

/// The byte ranges of the fields in an option.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod option_field {
    use super::Field;

    pub const CLASS: Field = 0..2;
    pub const TYPE: usize = 2;
    /// Size of the option's data in units of 4 bytes, without the option's header, in the lower 5 bits.
    pub const SIZE: usize = 3;
}

/// Size of the header without options, in bytes.
pub const HEADER_SIZE: usize = 8;
/// Size of an option without its data, in bytes.
pub const OPTION_HEADER_SIZE: usize = 4;

/// The flag of a control packet (O), which carries no data of a tenant.
pub const CONTROL: u8 = 0x80;
/// The flag (C) that says that an option has [`OPTION_CRITICAL`] set.
pub const CRITICAL: u8 = 0x40;
/// The bit of an option's type that obliges a receiver to drop the packet if it does not know the option.
pub const OPTION_CRITICAL: u8 = 0x80;

/// A view over a Geneve packet, the payload of a UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenevePacket<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> GenevePacket<T> {
    /// A view of `buffer` as a Geneve packet, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as a Geneve packet. The version is not checked.
    ///
    /// # Errors
    /// The buffer is shorter than the header with its options.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        const NAME: &str = "Geneve";
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

    /// The version; RFC 8926 defines version 0.
    #[inline]
    pub fn version(&self) -> u8 {
        self.buffer.as_ref()[field::VERSION_AND_SIZE] >> 6
    }

    /// Size of the header with its options in bytes, as the header states it: a multiple of 4 up to 260.
    #[inline]
    pub fn header_size(&self) -> usize {
        HEADER_SIZE + usize::from(self.buffer.as_ref()[field::VERSION_AND_SIZE] & 0x3f) * 4
    }

    /// The flags ([`CONTROL`], [`CRITICAL`]).
    #[inline]
    pub fn flags(&self) -> u8 {
        self.buffer.as_ref()[field::FLAGS]
    }

    /// The type of the payload, a number of [`eth_type`](super::eth_type).
    #[inline]
    pub fn protocol_type(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::PROTOCOL_TYPE)
    }

    /// The virtual network identifier, 24 bits.
    #[inline]
    pub fn vni(&self) -> u32 {
        u24_at(self.buffer.as_ref(), field::VNI)
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> GenevePacket<&'a T> {
    /// An iterator over the options, in order.
    #[inline]
    pub fn options(&self) -> GeneveOptions<'a> {
        GeneveOptions::new(&self.buffer.as_ref()[HEADER_SIZE..self.header_size()])
    }

    /// Whether the options fill the header exactly. Otherwise the last option states more bytes than the header
    /// has left, and a receiver has to drop the packet (RFC 8926 §3.5).
    #[inline]
    pub fn are_options_whole(&self) -> bool {
        let mut options = self.options();
        options.by_ref().for_each(|_| ());
        options.rest.is_empty()
    }

    /// Whether a receiver that knows those options that `knows` accepts has to drop the packet: an
    /// option that is critical is unknown (RFC 8926 §3.5). The flag [`CRITICAL`] is not believed:
    /// the options themselves say it.
    #[inline]
    pub fn has_unknown_critical(
        &self,
        mut knows: impl FnMut(&GeneveOption<&'a [u8]>) -> bool,
    ) -> bool {
        self.options().any(|option| option.is_critical() && !knows(&option))
    }

    /// The bytes behind the header and its options, up to the end of the buffer.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.buffer.as_ref()[self.header_size()..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> GenevePacket<T> {
    /// Writes version 0, and the size of the header with its options in bytes: a multiple of 4 from 8 to 260.
    #[inline]
    pub fn set_header_size(&mut self, size: usize) {
        let words = size.saturating_sub(HEADER_SIZE) / 4;
        self.buffer.as_mut()[field::VERSION_AND_SIZE] = words as u8 & 0x3f;
    }

    /// Writes the flags ([`CONTROL`], [`CRITICAL`]).
    #[inline]
    pub fn set_flags(&mut self, value: u8) {
        self.buffer.as_mut()[field::FLAGS] = value;
    }

    /// Writes the type of the payload.
    #[inline]
    pub fn set_protocol_type(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::PROTOCOL_TYPE, value);
    }

    /// Writes the lower 24 bits of `value` as the virtual network identifier, and clears
    /// the reserved byte behind it.
    #[inline]
    pub fn set_vni(&mut self, value: u32) {
        let bytes = self.buffer.as_mut();
        put_u24(bytes, field::VNI, value);
        bytes[field::VNI.end] = 0;
    }
}

impl<T: AsRef<[u8]>> fmt::Display for GenevePacket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Geneve vni={} type={:#06x}", self.vni(), self.protocol_type())?;
        for option in GeneveOptions::new(&self.buffer.as_ref()[HEADER_SIZE..self.header_size()]) {
            write!(f, ", {option}")?;
        }
        Ok(())
    }
}

/// A view over an option of a Geneve header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneveOption<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> GeneveOption<T> {
    /// A view of `buffer` as an option, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as an option.
    ///
    /// # Errors
    /// The buffer is shorter than the option.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        const NAME: &str = "Geneve option";
        check_size(NAME, buffer.as_ref(), OPTION_HEADER_SIZE)?;
        let option = Self { buffer };
        check_size(NAME, option.buffer.as_ref(), option.size())?;
        Ok(option)
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The class of the option: the organisation that defined it (IANA, "geneve").
    #[inline]
    pub fn class(&self) -> u16 {
        u16_at(self.buffer.as_ref(), option_field::CLASS)
    }

    /// The type of the option within its class, including [`OPTION_CRITICAL`].
    #[inline]
    pub fn option_type(&self) -> u8 {
        self.buffer.as_ref()[option_field::TYPE]
    }

    /// Whether a receiver that does not know the option has to drop the packet ([`OPTION_CRITICAL`]).
    #[inline]
    pub fn is_critical(&self) -> bool {
        self.option_type() & OPTION_CRITICAL != 0
    }

    /// Size of the option with its header in bytes, as the option states it: a multiple of 4 up to 128.
    #[inline]
    pub fn size(&self) -> usize {
        OPTION_HEADER_SIZE + usize::from(self.buffer.as_ref()[option_field::SIZE] & 0x1f) * 4
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> GeneveOption<&'a T> {
    /// The data of the option, up to 124 bytes.
    #[inline]
    pub fn data(&self) -> &'a [u8] {
        &self.buffer.as_ref()[OPTION_HEADER_SIZE..self.size()]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> GeneveOption<T> {
    /// Writes the header of an option with `size` bytes in all: a multiple of 4 from 4 to 128.
    #[inline]
    pub fn set_header(&mut self, class: u16, option_type: u8, size: usize) {
        let bytes = self.buffer.as_mut();
        put_u16(bytes, option_field::CLASS, class);
        bytes[option_field::TYPE] = option_type;
        bytes[option_field::SIZE] = (size.saturating_sub(OPTION_HEADER_SIZE) / 4) as u8 & 0x1f;
    }
}

impl<T: AsRef<[u8]>> fmt::Display for GeneveOption<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, kind, size) = (self.class(), self.option_type(), self.size());
        write!(f, "option class={class:#06x} type={kind:#04x} size={size}")
    }
}

/// Options one after the other. An option that is cut off ends them.
#[derive(Clone, Debug)]
pub struct GeneveOptions<'a> {
    rest: &'a [u8],
}

impl<'a> GeneveOptions<'a> {
    /// The options that `bytes` begin with.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for GeneveOptions<'a> {
    type Item = GeneveOption<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let size = GeneveOption::new_checked(self.rest).ok()?.size();
        let (option, rest) = self.rest.split_at(size);
        self.rest = rest;
        Some(GeneveOption::new_unchecked(option))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::eth_type;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Network 42 with the option that OVN sends (class 0x0102, type 0x80) and an empty one.
    const BYTES: [u8; 21] = [
        3, 0x40, 0x65, 0x58, 0, 0, 42, 0, // header
        0x01, 0x02, 0x80, 1, 0, 3, 0, 5, // option with one word
        0xff, 0xff, 0, 0, // option without data
        0xab,
    ];

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let geneve = GenevePacket::new_checked(&BYTES).unwrap();
        assert_eq!((geneve.version(), geneve.header_size(), geneve.flags()), (0, 20, CRITICAL));
        assert_eq!((geneve.protocol_type(), geneve.vni()), (eth_type::TEB, 42));
        assert_eq!(geneve.payload(), [0xab]);
        let data: Vec<_> = geneve.options().map(|option| option.data()).collect();
        assert_eq!(data, [&[0, 3, 0, 5][..], &[]]);
        assert_eq!(
            geneve.to_string(),
            "Geneve vni=42 type=0x6558, option class=0x0102 type=0x80 size=8, \
             option class=0xffff type=0x00 size=4"
        );
        assert!(GenevePacket::new_checked(&BYTES[..19]).is_err());
        assert!(GenevePacket::new_checked(&BYTES[..7]).is_err());
    }

    #[test]
    fn an_option_that_is_cut_off_ends_them() {
        assert_eq!(GeneveOptions::new(&BYTES[8..20]).count(), 2);
        assert_eq!(GeneveOptions::new(&BYTES[8..19]).count(), 1);
        assert_eq!(GeneveOptions::new(&BYTES[8..15]).count(), 0);
    }

    #[test]
    fn options_that_run_past_the_header_are_noticed() {
        let mut bytes = BYTES;
        assert!(GenevePacket::new_checked(&bytes).unwrap().are_options_whole());
        bytes[19] = 1;
        assert!(!GenevePacket::new_checked(&bytes).unwrap().are_options_whole());
        // The header ends within the second option's own header.
        let bytes = [1, 0, 0x65, 0x58, 0, 0, 42, 0, 1, 2, 3];
        assert!(GenevePacket::new_checked(&bytes).is_err());
        assert!(
            GenevePacket::new_checked(&[0, 0, 0x65, 0x58, 0, 0, 42, 0])
                .unwrap()
                .are_options_whole()
        );
    }

    #[test]
    fn critical_options_have_to_be_known() {
        let mut bytes = BYTES;
        let geneve = GenevePacket::new_checked(&bytes).unwrap();
        assert!(geneve.has_unknown_critical(|_| false));
        assert!(!geneve.has_unknown_critical(|o| (o.class(), o.option_type()) == (0x0102, 0x80)));
        bytes[10] = 0x7f;
        assert!(!GenevePacket::new_checked(&bytes).unwrap().has_unknown_critical(|_| false));
    }

    proptest! {
        #[test]
        fn options_that_were_written_are_read(
            options in vec((any::<u16>(), any::<u8>(), vec(any::<[u8; 4]>(), 0..5)), 0..12),
            vni in 0u32..1 << 24,
            flags: u8,
        ) {
            let size_of = |words: &[_]| OPTION_HEADER_SIZE + 4 * words.len();
            let size = options.iter().map(|(_, _, words)| size_of(words)).sum::<usize>();
            let mut bytes = vec![0xff; HEADER_SIZE + size];
            let mut geneve = GenevePacket::new_unchecked(&mut bytes);
            geneve.set_header_size(HEADER_SIZE + size);
            geneve.set_flags(flags);
            geneve.set_protocol_type(eth_type::TEB);
            geneve.set_vni(vni);
            let mut at = HEADER_SIZE;
            for (class, option_type, words) in &options {
                let (bytes, size) = (&mut bytes[at..], size_of(words));
                GeneveOption::new_unchecked(&mut *bytes).set_header(*class, *option_type, size);
                bytes[OPTION_HEADER_SIZE..size].copy_from_slice(words.as_flattened());
                at += size;
            }
            let geneve = GenevePacket::new_checked(&bytes).unwrap();
            prop_assert_eq!((geneve.version(), geneve.vni(), geneve.flags()), (0, vni, flags));
            prop_assert!(geneve.are_options_whole());
            prop_assert_eq!(geneve.options().count(), options.len());
            for (read, (class, option_type, words)) in geneve.options().zip(&options) {
                prop_assert_eq!((read.class(), read.option_type()), (*class, *option_type));
                prop_assert_eq!(read.data(), words.as_flattened());
            }
            let critical = options.iter().any(|(_, kind, _)| kind & OPTION_CRITICAL != 0);
            prop_assert_eq!(geneve.has_unknown_critical(|_| false), critical);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = [0xff; BYTES.len()];
        let mut geneve = GenevePacket::new_unchecked(&mut bytes);
        geneve.set_header_size(20);
        geneve.set_flags(CRITICAL);
        geneve.set_protocol_type(eth_type::TEB);
        geneve.set_vni(42);
        GeneveOption::new_unchecked(&mut bytes[8..]).set_header(0x0102, 0x80, 8);
        bytes[12..16].copy_from_slice(&[0, 3, 0, 5]);
        GeneveOption::new_unchecked(&mut bytes[16..]).set_header(0xffff, 0, 4);
        bytes[20] = 0xab;
        assert_eq!(bytes, BYTES);
    }
}

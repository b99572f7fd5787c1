//! Ethernet II: destination, source, EtherType (IEEE 802.3 §3.1.1).

use super::{Field, WireError, array, check_size, put_u16, u16_at};
use std::fmt;

/// The byte ranges of the fields in the header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const DST_ADDR: Field = 0..6;
    pub const SRC_ADDR: Field = 6..12;
    /// Destination and source address together. A tag is pushed directly behind them.
    pub const ADDRESSES: Field = DST_ADDR.start..SRC_ADDR.end;
    pub const ETHERTYPE: Field = 12..14;
}

/// Size of the header in bytes. A shorter frame is a runt.
pub const HEADER_SIZE: usize = field::ETHERTYPE.end;

/// Size in bytes of the shortest frame on a wire, without frame check sequence. Senders pad shorter frames.
pub const MIN_FRAME_SIZE: usize = 60;

/// A view over an Ethernet frame without its frame check sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetFrame<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> EthernetFrame<T> {
    /// A view of `buffer` as an Ethernet frame, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as an Ethernet frame.
    ///
    /// # Errors
    /// The buffer is shorter than the header.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("Ethernet", buffer.as_ref(), HEADER_SIZE)?;
        Ok(Self { buffer })
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The destination MAC address.
    #[inline]
    pub fn dst_addr(&self) -> [u8; 6] {
        array(self.buffer.as_ref(), field::DST_ADDR)
    }

    /// The source MAC address.
    #[inline]
    pub fn src_addr(&self) -> [u8; 6] {
        array(self.buffer.as_ref(), field::SRC_ADDR)
    }

    /// The EtherType, a number of [`eth_type`](super::eth_type), which says what follows the header. A
    /// tagged frame has the TPID of its outermost tag here. An 802.3 frame has the size of its payload
    /// here, which is below 0x600.
    #[inline]
    pub fn ethertype(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::ETHERTYPE)
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> EthernetFrame<&'a T> {
    /// The bytes behind the header, up to the end of the buffer.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.buffer.as_ref()[HEADER_SIZE..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> EthernetFrame<T> {
    /// Writes the destination MAC address.
    #[inline]
    pub fn set_dst_addr(&mut self, value: [u8; 6]) {
        self.buffer.as_mut()[field::DST_ADDR].copy_from_slice(&value);
    }

    /// Writes the source MAC address.
    #[inline]
    pub fn set_src_addr(&mut self, value: [u8; 6]) {
        self.buffer.as_mut()[field::SRC_ADDR].copy_from_slice(&value);
    }

    /// Writes the EtherType.
    #[inline]
    pub fn set_ethertype(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::ETHERTYPE, value);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for EthernetFrame<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (src, dst) = (Mac(self.src_addr()), Mac(self.dst_addr()));
        write!(f, "Ethernet src={src} dst={dst} type={:#06x}", self.ethertype())
    }
}

/// A MAC address, which `Display` shows as six hexadecimal bytes with colons.
pub(super) struct Mac(pub(super) [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::ethernet::EthernetPacket;
    use proptest::prelude::*;

    const BYTES: [u8; 16] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 7, 8];

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let frame = EthernetFrame::new_checked(&BYTES).unwrap();
        assert_eq!(frame.dst_addr(), [2, 0, 0, 0, 0, 2]);
        assert_eq!(frame.src_addr(), [2, 0, 0, 0, 0, 1]);
        assert_eq!(frame.ethertype(), 0x86dd);
        assert_eq!(frame.payload(), [7, 8]);
        assert_eq!(
            frame.to_string(),
            "Ethernet src=02:00:00:00:00:01 dst=02:00:00:00:00:02 type=0x86dd"
        );
    }

    #[test]
    fn a_runt_is_no_frame() {
        assert_eq!(
            EthernetFrame::new_checked(&BYTES[..13]).unwrap_err().to_string(),
            "Ethernet: 13 bytes are there, the header needs 14"
        );
    }

    proptest! {
        #[test]
        fn pnet_reads_the_fields_that_were_written(dst: [u8; 6], src: [u8; 6], ethertype: u16) {
            let mut bytes = [0; HEADER_SIZE];
            let mut frame = EthernetFrame::new_unchecked(&mut bytes);
            frame.set_dst_addr(dst);
            frame.set_src_addr(src);
            frame.set_ethertype(ethertype);
            let theirs = EthernetPacket::new(&bytes).unwrap();
            prop_assert_eq!(theirs.get_destination().octets(), dst);
            prop_assert_eq!(theirs.get_source().octets(), src);
            prop_assert_eq!(theirs.get_ethertype().0, ethertype);
        }
    }
}

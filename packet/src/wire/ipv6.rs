//! The fixed header of IPv6 (RFC 8200 §3). Extension headers, which may
//! follow, are in [`ipv6_extension`](super::ipv6_extension).

use super::{Field, WireError, array, check_size, put_u16, put_u32, u16_at, u32_at};
use std::fmt;
use std::net::Ipv6Addr;

/// The byte ranges of the fields in the header.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    /// Version in the upper 4 bits, traffic class in the next 8, flow label in the lower 20.
    pub const VERSION_CLASS_LABEL: Field = 0..4;
    pub const PAYLOAD_SIZE: Field = 4..6;
    pub const NEXT_HEADER: usize = 6;
    pub const HOP_LIMIT: usize = 7;
    pub const SRC_ADDR: Field = 8..24;
    pub const DST_ADDR: Field = 24..40;
    /// Source and destination address together.
    pub const ADDRESSES: Field = SRC_ADDR.start..DST_ADDR.end;
}

/// Size of the header without extension headers, in bytes.
pub const HEADER_SIZE: usize = field::DST_ADDR.end;

/// The number of the traffic class's lowest bit in `VERSION_CLASS_LABEL`.
pub const CLASS_SHIFT: u32 = 20;
/// The bits of `VERSION_CLASS_LABEL` that are the flow label.
pub const LABEL_MASK: u32 = 0x000f_ffff;

/// A view over an IPv6 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Packet<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Ipv6Packet<T> {
    /// A view of `buffer` as an IPv6 packet, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as an IPv6 packet. The version is not checked, and the payload may be cut off.
    ///
    /// # Errors
    /// The buffer is shorter than the header.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("IPv6", buffer.as_ref(), HEADER_SIZE)?;
        Ok(Self { buffer })
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    #[inline]
    fn version_class_label(&self) -> u32 {
        u32_at(self.buffer.as_ref(), field::VERSION_CLASS_LABEL)
    }

    /// The IP version, which is 6 in IPv6 packets.
    #[inline]
    pub fn version(&self) -> u8 {
        self.buffer.as_ref()[0] >> 4
    }

    /// The traffic class: DSCP in the upper six bits, ECN in the lower two.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_label() >> CLASS_SHIFT) as u8
    }

    /// The flow label, a number of 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        self.version_class_label() & LABEL_MASK
    }

    /// How many bytes follow the fixed header, as the header states it. Zero in a packet that is to be
    /// segmented and whose payload is longer than 65535 bytes.
    #[inline]
    pub fn payload_size(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::PAYLOAD_SIZE)
    }

    /// The header that follows, a number of [`ip_proto`](super::ip_proto): an extension
    /// header or the transport protocol.
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.buffer.as_ref()[field::NEXT_HEADER]
    }

    /// The number of hops that the packet may still take.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.buffer.as_ref()[field::HOP_LIMIT]
    }

    /// The source address.
    #[inline]
    pub fn src_addr(&self) -> Ipv6Addr {
        array::<16>(self.buffer.as_ref(), field::SRC_ADDR).into()
    }

    /// The destination address, or the address of the next router if a routing header lists routers.
    #[inline]
    pub fn dst_addr(&self) -> Ipv6Addr {
        array::<16>(self.buffer.as_ref(), field::DST_ADDR).into()
    }

    /// The offset behind the last byte of the packet, as its payload size states, or the size of the buffer if
    /// that is smaller or if the payload size is 0 ([`Ipv6Packet::payload_size`]).
    #[inline]
    pub fn end(&self) -> usize {
        let size = self.buffer.as_ref().len();
        match usize::from(self.payload_size()) {
            0 => size,
            payload => (HEADER_SIZE + payload).min(size),
        }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> Ipv6Packet<&'a T> {
    /// The bytes behind the fixed header, extension headers included, up to
    /// [`Ipv6Packet::end`], and so without padding.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.buffer.as_ref()[HEADER_SIZE..self.end()]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv6Packet<T> {
    /// Writes version 6, the traffic class, and the lower 20 bits of `flow_label`.
    #[inline]
    pub fn set_version_class_label(&mut self, traffic_class: u8, flow_label: u32) {
        let value = 6 << 28 | u32::from(traffic_class) << CLASS_SHIFT | flow_label & LABEL_MASK;
        put_u32(self.buffer.as_mut(), field::VERSION_CLASS_LABEL, value);
    }

    /// Writes the traffic class. Version and flow label stay as they are.
    #[inline]
    pub fn set_traffic_class(&mut self, value: u8) {
        let others = self.version_class_label() & !(0xff << CLASS_SHIFT);
        let value = others | u32::from(value) << CLASS_SHIFT;
        put_u32(self.buffer.as_mut(), field::VERSION_CLASS_LABEL, value);
    }

    /// Writes the lower 20 bits of `value` as the flow label. Version and traffic class stay as they are.
    #[inline]
    pub fn set_flow_label(&mut self, value: u32) {
        let value = self.version_class_label() & !LABEL_MASK | value & LABEL_MASK;
        put_u32(self.buffer.as_mut(), field::VERSION_CLASS_LABEL, value);
    }

    /// Writes the number of bytes behind the fixed header.
    #[inline]
    pub fn set_payload_size(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::PAYLOAD_SIZE, value);
    }

    /// Writes the number of the header that follows.
    #[inline]
    pub fn set_next_header(&mut self, value: u8) {
        self.buffer.as_mut()[field::NEXT_HEADER] = value;
    }

    /// Writes the hop limit.
    #[inline]
    pub fn set_hop_limit(&mut self, value: u8) {
        self.buffer.as_mut()[field::HOP_LIMIT] = value;
    }

    /// Writes the source address.
    #[inline]
    pub fn set_src_addr(&mut self, value: Ipv6Addr) {
        self.buffer.as_mut()[field::SRC_ADDR].copy_from_slice(&value.octets());
    }

    /// Writes the destination address.
    #[inline]
    pub fn set_dst_addr(&mut self, value: Ipv6Addr) {
        self.buffer.as_mut()[field::DST_ADDR].copy_from_slice(&value.octets());
    }
}

impl<T: AsRef<[u8]>> fmt::Display for Ipv6Packet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (src, dst, next) = (self.src_addr(), self.dst_addr(), self.next_header());
        let (hops, size) = (self.hop_limit(), self.payload_size());
        write!(f, "IPv6 src={src} dst={dst} next={next} hop_limit={hops} payload={size}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::ipv6::Ipv6Packet as Theirs;
    use proptest::prelude::*;

    fn packet() -> Vec<u8> {
        let mut bytes = vec![0x6b, 0x81, 0x23, 0x45, 0, 2, 17, 64];
        for last in [1, 2] {
            bytes.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        bytes.extend([7, 8, 9]);
        bytes
    }

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let bytes = packet();
        let ip = Ipv6Packet::new_checked(&bytes).unwrap();
        assert_eq!((ip.version(), ip.traffic_class(), ip.flow_label()), (6, 0xb8, 0x12345));
        assert_eq!((ip.payload_size(), ip.payload()), (2, &[7, 8][..]));
        assert_eq!(
            ip.to_string(),
            "IPv6 src=2001:db8::1 dst=2001:db8::2 next=17 hop_limit=64 payload=2"
        );
        assert!(Ipv6Packet::new_checked(&bytes[..39]).is_err());
    }

    #[test]
    fn the_payload_ends_with_the_packet_or_with_the_bytes() {
        for (size, payload) in [(0, &[7, 8, 9][..]), (1, &[7]), (999, &[7, 8, 9])] {
            let mut bytes = packet();
            Ipv6Packet::new_unchecked(&mut bytes).set_payload_size(size);
            assert_eq!(Ipv6Packet::new_checked(&bytes).unwrap().payload(), payload, "{size}");
        }
    }

    proptest! {
        #[test]
        fn pnet_reads_the_fields_that_were_written(
            (class, label, size) in any::<(u8, u32, u16)>(), (next, hops) in any::<(u8, u8)>(), src in any::<Ipv6Addr>(), dst in any::<Ipv6Addr>(),
        ) {
            let mut bytes = [0xff; HEADER_SIZE];
            let mut ip = Ipv6Packet::new_unchecked(&mut bytes);
            ip.set_version_class_label(!class, !label);
            ip.set_traffic_class(class);
            ip.set_flow_label(label);
            ip.set_payload_size(size);
            ip.set_next_header(next);
            ip.set_hop_limit(hops);
            ip.set_src_addr(src);
            ip.set_dst_addr(dst);
            let theirs = Theirs::new(&bytes).unwrap();
            prop_assert_eq!((theirs.get_version(), theirs.get_traffic_class()), (6, class));
            prop_assert_eq!(theirs.get_flow_label(), label & LABEL_MASK);
            prop_assert_eq!(theirs.get_payload_length(), size);
            prop_assert_eq!((theirs.get_next_header().0, theirs.get_hop_limit()), (next, hops));
            prop_assert_eq!((theirs.get_source(), theirs.get_destination()), (src, dst));
        }
    }
}

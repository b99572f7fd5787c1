//! ARP and RARP between Ethernet and IPv4 addresses (RFC 826, RFC 903).

use super::ethernet::Mac;
use super::{Field, WireError, array, check_size, eth_type, put_u16, u16_at};
use std::fmt;
use std::net::Ipv4Addr;

/// The byte ranges of the fields in a packet whose addresses are those of Ethernet and IPv4.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const HARDWARE_TYPE: Field = 0..2;
    pub const PROTOCOL_TYPE: Field = 2..4;
    pub const HARDWARE_SIZE: usize = 4;
    pub const PROTOCOL_SIZE: usize = 5;
    pub const OPERATION: Field = 6..8;
    pub const SENDER_HARDWARE: Field = 8..14;
    pub const SENDER_PROTOCOL: Field = 14..18;
    pub const TARGET_HARDWARE: Field = 18..24;
    pub const TARGET_PROTOCOL: Field = 24..28;
}

/// Size in bytes of a packet for Ethernet and IPv4 addresses.
pub const HEADER_SIZE: usize = field::TARGET_PROTOCOL.end;

/// The first six bytes of every packet for Ethernet and IPv4 addresses: hardware type 1, protocol type 0x0800,
/// and address sizes of 6 and 4 bytes.
pub const ETHERNET_IPV4: [u8; 6] = {
    let [high, low] = eth_type::IPV4.to_be_bytes();
    [0, 1, high, low, 6, 4]
};

/// The operation of a request: the sender asks for the target's hardware address (RFC 826).
pub const REQUEST: u16 = 1;
/// The operation of a reply: the sender tells its hardware address (RFC 826).
pub const REPLY: u16 = 2;

/// A view over an ARP or RARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpPacket<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> ArpPacket<T> {
    /// A view of `buffer` as an ARP packet, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as an ARP packet. The packet may be one for other addresses than those of
    /// Ethernet and IPv4: ask [`ArpPacket::is_ethernet_ipv4`].
    ///
    /// # Errors
    /// The buffer is shorter than [`HEADER_SIZE`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("ARP", buffer.as_ref(), HEADER_SIZE)?;
        Ok(Self { buffer })
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// Whether the packet is for Ethernet and IPv4 addresses. Only then are the address
    /// fields where the getters read.
    #[inline]
    pub fn is_ethernet_ipv4(&self) -> bool {
        self.buffer.as_ref()[..ETHERNET_IPV4.len()] == ETHERNET_IPV4
    }

    /// The operation (`ar$op`): [`REQUEST`], [`REPLY`] or another.
    #[inline]
    pub fn operation(&self) -> u16 {
        u16_at(self.buffer.as_ref(), field::OPERATION)
    }

    /// The sender's MAC address (OXM `arp_sha`).
    #[inline]
    pub fn sender_hardware(&self) -> [u8; 6] {
        array(self.buffer.as_ref(), field::SENDER_HARDWARE)
    }

    /// The sender's IPv4 address (OXM `arp_spa`).
    #[inline]
    pub fn sender_protocol(&self) -> Ipv4Addr {
        array(self.buffer.as_ref(), field::SENDER_PROTOCOL).into()
    }

    /// The target's MAC address (OXM `arp_tha`). In a request its value means nothing.
    #[inline]
    pub fn target_hardware(&self) -> [u8; 6] {
        array(self.buffer.as_ref(), field::TARGET_HARDWARE)
    }

    /// The target's IPv4 address (OXM `arp_tpa`).
    #[inline]
    pub fn target_protocol(&self) -> Ipv4Addr {
        array(self.buffer.as_ref(), field::TARGET_PROTOCOL).into()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> ArpPacket<T> {
    /// Writes the first six bytes of a packet for Ethernet and IPv4 addresses ([`ETHERNET_IPV4`]).
    #[inline]
    pub fn set_ethernet_ipv4(&mut self) {
        self.buffer.as_mut()[..ETHERNET_IPV4.len()].copy_from_slice(&ETHERNET_IPV4);
    }

    /// Writes the operation.
    #[inline]
    pub fn set_operation(&mut self, value: u16) {
        put_u16(self.buffer.as_mut(), field::OPERATION, value);
    }

    /// Writes the sender's MAC address.
    #[inline]
    pub fn set_sender_hardware(&mut self, value: [u8; 6]) {
        self.buffer.as_mut()[field::SENDER_HARDWARE].copy_from_slice(&value);
    }

    /// Writes the sender's IPv4 address.
    #[inline]
    pub fn set_sender_protocol(&mut self, value: Ipv4Addr) {
        self.buffer.as_mut()[field::SENDER_PROTOCOL].copy_from_slice(&value.octets());
    }

    /// Writes the target's MAC address.
    #[inline]
    pub fn set_target_hardware(&mut self, value: [u8; 6]) {
        self.buffer.as_mut()[field::TARGET_HARDWARE].copy_from_slice(&value);
    }

    /// Writes the target's IPv4 address.
    #[inline]
    pub fn set_target_protocol(&mut self, value: Ipv4Addr) {
        self.buffer.as_mut()[field::TARGET_PROTOCOL].copy_from_slice(&value.octets());
    }
}

impl<T: AsRef<[u8]>> fmt::Display for ArpPacket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_ethernet_ipv4() {
            return write!(f, "ARP op={} for other addresses", self.operation());
        }
        let (sha, tha) = (Mac(self.sender_hardware()), Mac(self.target_hardware()));
        let (spa, tpa) = (self.sender_protocol(), self.target_protocol());
        write!(f, "ARP op={} spa={spa} tpa={tpa} sha={sha} tha={tha}", self.operation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::arp::{ArpHardwareTypes, ArpPacket as Theirs};
    use pnet_packet::ethernet::EtherTypes;
    use proptest::prelude::*;

    /// "Who has 10.0.0.2? Tell 10.0.0.1."
    const REQUEST_BYTES: [u8; HEADER_SIZE] = [
        0, 1, 8, 0, 6, 4, 0, 1, // for Ethernet and IPv4, a request
        2, 0, 0, 0, 0, 1, 10, 0, 0, 1, // sender
        0, 0, 0, 0, 0, 0, 10, 0, 0, 2, // target
    ];

    #[test]
    fn fields_of_literal_bytes_are_read() {
        let arp = ArpPacket::new_checked(&REQUEST_BYTES).unwrap();
        assert!(arp.is_ethernet_ipv4());
        assert_eq!(arp.operation(), REQUEST);
        assert_eq!(
            arp.to_string(),
            "ARP op=1 spa=10.0.0.1 tpa=10.0.0.2 sha=02:00:00:00:00:01 tha=00:00:00:00:00:00"
        );
        assert!(ArpPacket::new_checked(&REQUEST_BYTES[..27]).is_err());
    }

    #[test]
    fn other_addresses_are_not_read_as_these() {
        for at in 0..ETHERNET_IPV4.len() {
            let mut bytes = REQUEST_BYTES;
            bytes[at] ^= 0x10;
            let arp = ArpPacket::new_checked(&bytes).unwrap();
            assert_eq!(arp.to_string(), "ARP op=1 for other addresses");
        }
    }

    proptest! {
        #[test]
        fn pnet_reads_the_fields_that_were_written(
            operation: u16, sha: [u8; 6], spa: Ipv4Addr, tha: [u8; 6], tpa: Ipv4Addr,
        ) {
            let mut bytes = [0; HEADER_SIZE];
            let mut arp = ArpPacket::new_unchecked(&mut bytes);
            arp.set_ethernet_ipv4();
            arp.set_operation(operation);
            arp.set_sender_hardware(sha);
            arp.set_sender_protocol(spa);
            arp.set_target_hardware(tha);
            arp.set_target_protocol(tpa);
            let theirs = Theirs::new(&bytes).unwrap();
            prop_assert_eq!(theirs.get_hardware_type(), ArpHardwareTypes::Ethernet);
            prop_assert_eq!(theirs.get_protocol_type(), EtherTypes::Ipv4);
            prop_assert_eq!((theirs.get_hw_addr_len(), theirs.get_proto_addr_len()), (6, 4));
            prop_assert_eq!(theirs.get_operation().0, operation);
            prop_assert_eq!(theirs.get_sender_hw_addr().octets(), sha);
            prop_assert_eq!(theirs.get_sender_proto_addr(), spa);
            prop_assert_eq!(theirs.get_target_hw_addr().octets(), tha);
            prop_assert_eq!(theirs.get_target_proto_addr(), tpa);
        }
    }
}

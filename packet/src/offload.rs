//! [`Offload`]: the checksum and the segmentation of a frame that its sender left to the device.
//!
//! The kernel describes this work with the virtio-net header (virtio 1.2 §5.1.6), which
//! AF_PACKET (`PACKET_VNET_HDR`) and TAP (`IFF_VNET_HDR`) put in front of each frame. The fields
//! have the names of the standard.

/// Size of the virtio-net header in bytes, on AF_PACKET and TAP sockets as this switch configures them.
pub const VNET_HDR_SIZE: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_ECN: u8 = 0x80;

/// How a frame that is larger than the MTU is to be segmented (`VIRTIO_NET_HDR_GSO_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoType {
    /// The frame is not segmented.
    None,
    /// Into TCP segments over IPv4 (`VIRTIO_NET_HDR_GSO_TCPV4`).
    TcpV4,
    /// Into TCP segments over IPv6 (`VIRTIO_NET_HDR_GSO_TCPV6`).
    TcpV6,
    /// Into IP fragments of a UDP datagram (`VIRTIO_NET_HDR_GSO_UDP`), which is obsolete.
    UdpFragment,
    /// Into UDP datagrams (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    UdpL4,
    /// A value that this switch does not know. Such a frame cannot be segmented here.
    Unknown(u8),
}

/// The virtio-net header of a frame. All numbers are host integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// `VIRTIO_NET_HDR_F_*`: bit 0 says that the checksum is partial, bit 1 that the device has verified it.
    pub flags: u8,
    /// `VIRTIO_NET_HDR_GSO_*`, with 0x80 for ECN. [`Offload::gso`] decodes it.
    pub gso_type: u8,
    /// Size in bytes of the headers that each segment repeats. The sender's number is a hint and may be wrong.
    pub hdr_len: u16,
    /// Size of the payload of one segment, in bytes.
    pub gso_size: u16,
    /// Offset in the frame of the first byte that the checksum covers.
    pub csum_start: u16,
    /// Offset of the checksum from `csum_start`.
    pub csum_offset: u16,
}

impl Offload {
    /// The sender has left no work undone.
    pub const NONE: Self =
        Self { flags: 0, gso_type: 0, hdr_len: 0, gso_size: 0, csum_start: 0, csum_offset: 0 };

    /// Decodes the header that the kernel wrote, whose integers are in host byte order, as for legacy devices.
    pub fn from_bytes(b: &[u8; VNET_HDR_SIZE]) -> Self {
        let u16_at = |i| u16::from_ne_bytes([b[i], b[i + 1]]);
        Self {
            flags: b[0],
            gso_type: b[1],
            hdr_len: u16_at(2),
            gso_size: u16_at(4),
            csum_start: u16_at(6),
            csum_offset: u16_at(8),
        }
    }

    /// Encodes the header for the kernel, with integers in host byte order.
    pub fn to_bytes(self) -> [u8; VNET_HDR_SIZE] {
        let mut b = [0; VNET_HDR_SIZE];
        b[0] = self.flags;
        b[1] = self.gso_type;
        b[2..4].copy_from_slice(&self.hdr_len.to_ne_bytes());
        b[4..6].copy_from_slice(&self.gso_size.to_ne_bytes());
        b[6..8].copy_from_slice(&self.csum_start.to_ne_bytes());
        b[8..10].copy_from_slice(&self.csum_offset.to_ne_bytes());
        b
    }

    /// Whether the checksum is partial: the field at `csum_start + csum_offset` has only the
    /// sum of the pseudo header.
    pub fn needs_checksum(self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }

    /// Says that the checksum is partial: it covers the frame from `start` on, and lies at `start + offset`.
    pub fn set_needs_checksum(&mut self, start: u16, offset: u16) {
        self.flags |= NEEDS_CSUM;
        self.csum_start = start;
        self.csum_offset = offset;
    }

    /// Says that the checksum is complete.
    pub fn clear_checksum(&mut self) {
        self.flags &= !NEEDS_CSUM;
        self.csum_start = 0;
        self.csum_offset = 0;
    }

    /// How the frame is to be segmented.
    pub fn gso(self) -> GsoType {
        match self.gso_type & !GSO_ECN {
            0 => GsoType::None,
            1 => GsoType::TcpV4,
            3 => GsoType::UdpFragment,
            4 => GsoType::TcpV6,
            5 => GsoType::UdpL4,
            other => GsoType::Unknown(other),
        }
    }

    /// Whether the segments carry TCP's congestion notification: CWR belongs to the first of them only.
    pub fn has_ecn(self) -> bool {
        self.gso_type & GSO_ECN != 0
    }

    /// Whether the frame is to be segmented.
    pub fn is_gso(self) -> bool {
        self.gso() != GsoType::None
    }

    /// Whether the sender has left no work undone, so that any port can send the frame as it is.
    pub fn is_complete(self) -> bool {
        !self.needs_checksum() && !self.is_gso()
    }

    /// Adjusts the offsets after `by` bytes were inserted in front of the network header, or
    /// removed if `by` is negative.
    pub fn shift(&mut self, by: i16) {
        if self.needs_checksum() {
            self.csum_start = self.csum_start.saturating_add_signed(by);
        }
        if self.hdr_len != 0 {
            self.hdr_len = self.hdr_len.saturating_add_signed(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trips() {
        let o = Offload {
            flags: 1,
            gso_type: 0x81,
            hdr_len: 66,
            gso_size: 1448,
            csum_start: 34,
            csum_offset: 16,
        };
        assert_eq!(Offload::from_bytes(&o.to_bytes()), o);
        assert_eq!(o.gso(), GsoType::TcpV4);
    }

    #[test]
    fn a_pushed_tag_moves_the_offsets() {
        let mut o = Offload { flags: 1, hdr_len: 66, csum_start: 34, ..Offload::NONE };
        o.shift(4);
        assert_eq!((o.csum_start, o.hdr_len), (38, 70));
        let mut none = Offload::NONE;
        none.shift(4);
        assert_eq!(none, Offload::NONE);
    }
}

//! Work that the sender of a frame left to the receiver: checksum completion and segmentation.
//!
//! The kernel describes it with the header of virtio-net (virtio 1.2, 5.1.6), which AF_PACKET
//! (`PACKET_VNET_HDR`) and TAP (`IFF_VNET_HDR`) put before each frame. The fields keep their names.

/// Size in bytes of the header on AF_PACKET and TAP sockets as we configure them.
pub const VNET_HDR_SIZE: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_ECN: u8 = 0x80;

/// How a frame that is larger than the MTU is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoType {
    /// The frame goes out as it is.
    None,
    /// TCP over IPv4 (`VIRTIO_NET_HDR_GSO_TCPV4`).
    TcpV4,
    /// TCP over IPv6 (`VIRTIO_NET_HDR_GSO_TCPV6`).
    TcpV6,
    /// UDP by IP fragmentation, obsolete (`VIRTIO_NET_HDR_GSO_UDP`).
    UdpFragment,
    /// UDP datagrams of `gso_size` bytes each (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    UdpL4,
    /// A value this switch does not know; such a frame cannot be segmented here.
    Unknown(u8),
}

/// The virtio-net header of a frame, as plain fields. All numbers are host integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// `VIRTIO_NET_HDR_F_*`: bit 0, the checksum is partial; bit 1, the receiver verified it.
    pub flags: u8,
    /// `VIRTIO_NET_HDR_GSO_*`, with the ECN bit; see [`Offload::gso`].
    pub gso_type: u8,
    /// Bytes of headers before the payload that segmentation cuts. A hint of the sender.
    pub hdr_len: u16,
    /// Payload bytes of one segment.
    pub gso_size: u16,
    /// Where summing begins, in bytes from the start of the frame.
    pub csum_start: u16,
    /// Where the checksum goes, in bytes from `csum_start`.
    pub csum_offset: u16,
}

impl Offload {
    /// Nothing was left undone: the frame is complete as it lies in memory.
    pub const NONE: Self =
        Self { flags: 0, gso_type: 0, hdr_len: 0, gso_size: 0, csum_start: 0, csum_offset: 0 };

    /// Reads the header as the kernel wrote it: host byte order, as for legacy devices.
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

    /// The header as the kernel reads it.
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

    /// The checksum at `csum_start + csum_offset` holds only the pseudo-header's sum.
    pub fn needs_checksum(self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }

    /// States that the checksum is partial, to be completed from `start`, stored at `start + offset`.
    pub fn set_needs_checksum(&mut self, start: u16, offset: u16) {
        self.flags |= NEEDS_CSUM;
        self.csum_start = start;
        self.csum_offset = offset;
    }

    /// States that the checksum is complete.
    pub fn clear_checksum(&mut self) {
        self.flags &= !NEEDS_CSUM;
        self.csum_start = 0;
        self.csum_offset = 0;
    }

    /// The kind of segmentation asked for.
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

    /// The frame is to be cut into several.
    pub fn is_gso(self) -> bool {
        self.gso() != GsoType::None
    }

    /// Nothing was left undone: the frame can go out as it lies in memory.
    pub fn is_complete(self) -> bool {
        !self.needs_checksum() && !self.is_gso()
    }

    /// Moves the positions along, once `by` bytes were added before the network header, or taken away if
    /// `by` is negative.
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
    fn a_pushed_tag_moves_the_positions() {
        let mut o = Offload { flags: 1, hdr_len: 66, csum_start: 34, ..Offload::NONE };
        o.shift(4);
        assert_eq!((o.csum_start, o.hdr_len), (38, 70));
        let mut none = Offload::NONE;
        none.shift(4);
        assert_eq!(none, Offload::NONE);
    }
}

//! Where the outermost IP header and the header behind it lie, read with just enough parsing for
//! checksums and segmentation. This is not key extraction: it stops at what it does not know.

use crate::{Frame, GsoType};

pub(crate) const ETHERNET: usize = 14;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;
pub(crate) const SCTP: u8 = 132;

/// IPv4 or IPv6, with where its header begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

/// An IP header and what follows it. Positions count from the frame's first byte and lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ip {
    pub(crate) version: Version,
    /// First byte of the IP header.
    pub(crate) start: usize,
    /// First byte behind the IP header and its extension headers.
    pub(crate) payload: usize,
    /// One past the last byte that the header's length covers, at most the frame's size.
    pub(crate) end: usize,
    /// What the payload is.
    pub(crate) protocol: u8,
    /// It is a fragment other than the first: the payload does not begin with a header.
    pub(crate) is_later_fragment: bool,
}

impl Ip {
    /// The outermost one; `None` if the frame does not carry IP directly behind Ethernet and tags.
    pub(crate) fn outermost(bytes: &[u8]) -> Option<Self> {
        let (ethertype, start) = behind_ethernet(bytes, 0)?;
        match ethertype {
            0x0800 => Self::v4(bytes, start),
            0x86dd => Self::v6(bytes, start),
            _ => None,
        }
    }

    /// The header that begins at `start`, if an IPv4 header can.
    pub(crate) fn v4(bytes: &[u8], start: usize) -> Option<Self> {
        let header = bytes.get(start..)?;
        let (fixed, _) = header.split_first_chunk::<20>()?;
        let size = usize::from(fixed[0] & 0x0f) * 4;
        if fixed[0] >> 4 != 4 || size < 20 || header.len() < size {
            return None;
        }
        // Zero stands for "longer than the field can say".
        let total = match usize::from(u16::from_be_bytes([fixed[2], fixed[3]])) {
            0 => header.len(),
            total => total.clamp(size, header.len()),
        };
        Some(Self {
            version: Version::V4,
            start,
            payload: start + size,
            end: start + total,
            protocol: fixed[9],
            is_later_fragment: u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff != 0,
        })
    }

    /// The header that begins at `start`, if an IPv6 header can.
    pub(crate) fn v6(bytes: &[u8], start: usize) -> Option<Self> {
        let header = bytes.get(start..)?;
        let (fixed, _) = header.split_first_chunk::<40>()?;
        if fixed[0] >> 4 != 6 {
            return None;
        }
        let end = match usize::from(u16::from_be_bytes([fixed[4], fixed[5]])) {
            0 => bytes.len(),
            payload => (start + 40 + payload).min(bytes.len()),
        };
        let mut ip = Self {
            version: Version::V6,
            start,
            payload: start + 40,
            end,
            protocol: fixed[6],
            is_later_fragment: false,
        };
        while !ip.is_later_fragment {
            let extension = bytes.get(ip.payload..end)?;
            let size = match (ip.protocol, extension) {
                (0 | 43 | 60, [_, len, ..]) => (usize::from(*len) + 1) * 8,
                (51, [_, len, ..]) => (usize::from(*len) + 2) * 4,
                (44, [_, _, high, low, ..]) => {
                    ip.is_later_fragment = u16::from_be_bytes([*high, *low]) & 0xfff8 != 0;
                    8
                }
                (0 | 43 | 44 | 51 | 60, _) => return None,
                _ => break,
            };
            if extension.len() < size {
                return None;
            }
            ip.protocol = extension[0];
            ip.payload += size;
        }
        Some(ip)
    }

    /// Source and destination address.
    pub(crate) fn addresses(self, bytes: &[u8]) -> (&[u8], &[u8]) {
        let (at, size) = match self.version {
            Version::V4 => (self.start + 12, 4),
            Version::V6 => (self.start + 8, 16),
        };
        (&bytes[at..at + size], &bytes[at + size..at + 2 * size])
    }
}

/// The EtherType behind the MACs at `at` and any tags, and where what it names begins.
pub(crate) fn behind_ethernet(bytes: &[u8], at: usize) -> Option<(u16, usize)> {
    let mut next = at + ETHERNET;
    loop {
        let ethertype = bytes.get(next - 2..next)?;
        match u16::from_be_bytes([ethertype[0], ethertype[1]]) {
            0x8100 | 0x88a8 | 0x9100 => next += 4,
            ethertype => return Some((ethertype, next)),
        }
    }
}

/// Whether the work left undone concerns the transport header behind the outermost IP header, which
/// is what the kernel and its devices take on from a raw socket.
///
/// It does not when a host sent the frame through a tunnel of its own: the checksum is then the inner
/// one, and segments need their outer headers repaired, too.
pub fn offload_matches_outer_l4(frame: &Frame<'_>) -> bool {
    let offload = frame.offload;
    if offload.is_complete() {
        return true;
    }
    let Some(ip) = Ip::outermost(frame.bytes()).filter(|ip| !ip.is_later_fragment) else {
        return false;
    };
    let kind_matches = match offload.gso() {
        GsoType::None => true,
        GsoType::TcpV4 => ip.protocol == TCP && ip.version == Version::V4,
        GsoType::TcpV6 => ip.protocol == TCP && ip.version == Version::V6,
        GsoType::UdpL4 | GsoType::UdpFragment => ip.protocol == UDP,
        GsoType::Unknown(_) => false,
    };
    kind_matches && (!offload.needs_checksum() || usize::from(offload.csum_start) == ip.payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offload;

    const V4_TCP: [u8; 34] = [
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, // Ethernet
        0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];

    #[test]
    fn tags_are_skipped() {
        let mut bytes = V4_TCP[..12].to_vec();
        bytes.extend([0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]);
        bytes.extend(&V4_TCP[12..]);
        let ip = Ip::outermost(&bytes).unwrap();
        assert_eq!((ip.start, ip.payload, ip.protocol), (22, 42, TCP));
        assert_eq!(ip.addresses(&bytes), (&[10, 0, 0, 1][..], &[10, 0, 0, 2][..]));
    }

    #[test]
    fn extension_headers_are_skipped() {
        let mut bytes = V4_TCP[..12].to_vec();
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 0, 64]);
        bytes.extend([0; 32]);
        bytes.extend([60, 0, 0, 0, 0, 0, 0, 0]); // hop-by-hop options
        bytes.extend([17, 0, 0, 0, 0, 0, 0, 0]); // destination options
        bytes.extend([0; 8]); // UDP
        let ip = Ip::outermost(&bytes).unwrap();
        assert_eq!((ip.version, ip.payload, ip.protocol), (Version::V6, 70, UDP));
        assert_eq!(ip.end, bytes.len());
    }

    #[test]
    fn truncated_headers_are_no_headers() {
        for size in 0..V4_TCP.len() {
            assert_eq!(Ip::outermost(&V4_TCP[..size]), None, "{size}");
        }
    }

    #[test]
    fn an_inner_checksum_is_not_the_outer_one() {
        let offload = Offload { flags: 1, csum_start: 34, ..Offload::NONE };
        let mut frame = Frame::owned(&V4_TCP, offload);
        assert!(offload_matches_outer_l4(&frame));
        frame.offload.csum_start = 84;
        assert!(!offload_matches_outer_l4(&frame));
        frame.offload = Offload { gso_type: 4, gso_size: 1000, ..offload };
        assert!(!offload_matches_outer_l4(&frame), "an IPv4 frame is not TCP over IPv6");
    }
}

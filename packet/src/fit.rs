//! [`limit_segments`]: TCP that is cut so that it fits.

use crate::outer::{Ip, Version};
use crate::wire::TcpPacket;
use crate::wire::tcp::flag;
use crate::wire::{Ipv4Packet, ip_proto};
use crate::{Frame, GsoType, MIN_MSS, Segmentation};

/// Has a frame of TCP cut into segments of at most `size` bytes, Ethernet header included. A frame that is to
/// be cut anyhow gets smaller segments. A frame that is whole and too long becomes one that is to be cut. Any
/// other frame stays as it is, even if it is longer: the boundaries of UDP datagrams mean something, and so do
/// the bits of segments that open and close connections.
pub fn limit_segments(frame: &mut Frame<'_>, size: usize) {
    let headers = match frame.offload.gso() {
        GsoType::TcpV4 | GsoType::TcpV6 => match Segmentation::new(frame) {
            Ok(segmentation) => segmentation.header_size(),
            Err(_) => return,
        },
        GsoType::None if frame.size() > size => match mark_as_large(frame) {
            Some(headers) => headers,
            None => return,
        },
        _ => return,
    };
    let fits = u16::try_from(size.saturating_sub(headers)).unwrap_or(u16::MAX);
    let is_possible = usize::from(fits) >= MIN_MSS;
    if frame.offload.gso_size > fits && is_possible {
        frame.offload.gso_size = fits;
    } else if frame.offload.gso_size > fits && frame.offload.gso_size == u16::MAX {
        frame.offload.gso_type = 0;
        frame.offload.gso_size = 0;
    }
}

/// Says that a frame of TCP is to be cut, into segments of a size that is still to be set, and returns the size
/// of its headers; `None` if the frame must not be cut.
fn mark_as_large(frame: &mut Frame<'_>) -> Option<usize> {
    let bytes = frame.bytes();
    let ip = Ip::outermost(bytes).filter(|ip| ip.protocol == ip_proto::TCP)?;
    let is_fragment = match ip.version {
        Version::V4 => Ipv4Packet::new_unchecked(&bytes[ip.start..]).is_fragment(),
        Version::V6 => ip.is_later_fragment,
    };
    let tcp = TcpPacket::new_checked(&bytes[ip.payload..ip.end]).ok()?;
    if is_fragment || tcp.flags() & (flag::SYN | flag::RST | flag::URG) != 0 {
        return None;
    }
    let headers = ip.payload + tcp.header_size();
    frame.offload.gso_type = match ip.version {
        Version::V4 => 1,
        Version::V6 => 4,
    };
    frame.offload.gso_size = u16::MAX;
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offload;

    /// A frame of IPv4 with TCP, of which nothing but what decides here is filled in.
    fn frame(payload: usize, flags: u8, fragment: u8) -> Frame<'static> {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        bytes.extend((payload as u16 + 40).to_be_bytes());
        bytes.extend([0, 0, fragment, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        bytes.extend([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        bytes.resize(bytes.len() + payload, 0);
        Frame::owned(&bytes, Offload::NONE)
    }

    fn check(mut frame: Frame<'_>, size: usize, expected: Option<u16>) {
        limit_segments(&mut frame, size);
        let is_cut = frame.offload.is_gso().then_some(frame.offload.gso_size);
        assert_eq!(is_cut, expected, "{frame:?}");
        if expected.is_some() {
            let segmentation = Segmentation::new(&frame).unwrap();
            let sizes = (0..segmentation.count()).map(|i| segmentation.segment(i, vec![]).size());
            assert!(sizes.max().unwrap() <= size);
        }
    }

    #[test]
    fn long_frames_of_tcp_are_cut() {
        check(frame(1460, 0x10, 0x40), 1514, None);
        check(frame(1460, 0x10, 0x40), 1464, Some(1410));
        check(frame(1460, 0x12, 0x40), 1464, None);
        check(frame(1460, 0x10, 0x20), 1464, None);
        check(frame(1460, 0x10, 0x40), 60, None);
    }

    #[test]
    fn large_frames_get_smaller_segments() {
        let large = |gso_type, gso_size| {
            let mut frame = frame(6000, 0x10, 0x40);
            frame.offload = Offload { gso_type, gso_size, ..Offload::NONE };
            frame
        };
        check(large(1, 1460), 1514, Some(1460));
        check(large(1, 1460), 1464, Some(1410));
        check(large(1, 1000), 1464, Some(1000));
    }
}

//! [`unfinished_work`] and [`uncut_datagrams`]: which checksum or segmentation a frame that came out of a
//! tunnel still needs.
//!
//! A datagram says nothing of that. Yet some peers send frames whose TCP or UDP checksum is partial, and TCP
//! frames of up to 64 KiB that nobody has cut. Such a peer is on the same machine, or behind a device that
//! would have done the work: it left the work to a device which the datagram never passed.

use crate::Offload;
use crate::checksum::{add, pseudo_header, sum};
use crate::outer::{Ip, Version};
use crate::wire::{Ipv4Packet, Ipv6Packet, TcpPacket, ethernet, ip_proto, ipv6, tcp, udp};

/// Bytes of the longest packets that uncut frames are cut into: the MTU that every network has which can carry
/// IPv6 (RFC 8200 §5). What the sender has meant cannot be seen, and the hosts may have a smaller MTU than the
/// tunnel has room for.
const CERTAIN_MTU: u32 = 1280;

// linux/virtio_net.h: VIRTIO_NET_HDR_GSO_UDP_L4
const GSO_UDP_L4: u8 = 5;

/// The work that the Ethernet frame needs, which came out of a tunnel: nothing, for nearly all frames.
///
/// A partial checksum is known by its value, that of the pseudo header. One right checksum in 65,536 has this
/// value, too, and does no harm: what is computed again is the same. A TCP frame whose packet is longer than
/// `mtu` bytes is to be cut, if its checksum is right or partial, into segments that fit everywhere.
pub fn unfinished_work(frame: &[u8], mtu: u32) -> Offload {
    let mut offload = Offload::NONE;
    let Some(ip) = Ip::outermost(frame).filter(|ip| !ip.is_later_fragment) else {
        return offload;
    };
    let segment = &frame[ip.payload..ip.end];
    let (header_size, checksum_at) = match ip.protocol {
        ip_proto::TCP => match TcpPacket::new_checked(segment) {
            Ok(tcp) => (tcp.header_size(), tcp::field::CHECKSUM.start),
            Err(_) => return offload,
        },
        ip_proto::UDP if segment.len() >= udp::HEADER_SIZE => {
            (udp::HEADER_SIZE, udp::field::CHECKSUM.start)
        }
        _ => return offload,
    };
    let checksum = u16::from_be_bytes([segment[checksum_at], segment[checksum_at + 1]]);
    let (source, destination) = ip.addresses(frame);
    let pseudo = pseudo_header(source, destination, ip.protocol, segment.len() as u32);
    // A checksum of 0 is none.
    let is_partial = checksum == pseudo && checksum != 0;
    if is_partial {
        offload.set_needs_checksum(ip.payload as u16, checksum_at as u16);
    }
    let limit = mtu.min(CERTAIN_MTU);
    let is_long = ip.end - ip.start > mtu as usize;
    if is_long && ip.protocol == ip_proto::TCP {
        let headers = ip.payload - ip.start + header_size;
        let is_right = is_partial || add(pseudo, sum(segment)) == 0xffff;
        let size = (limit as usize).saturating_sub(headers);
        if is_right && size >= crate::MIN_MSS {
            offload.gso_type = match ip.version {
                Version::V4 => 1,
                Version::V6 => 4,
            };
            offload.gso_size = size as u16;
            offload.hdr_len = (ethernet::HEADER_SIZE + headers) as u16;
        }
    }
    offload
}

/// The work that the Ethernet frame needs if it is one of UDP that nobody has cut into datagrams with
/// `segment_size` bytes of payload each; `None` if it is any other frame, or several.
///
/// The kernel tells this size, as it does for datagrams of a tunnel that it has merged, which are several
/// frames in a row.
pub fn uncut_datagrams(frame: &[u8], segment_size: usize) -> Option<Offload> {
    let ip = Ip::outermost(frame).filter(|ip| !ip.is_later_fragment)?;
    let headers = ip.payload + udp::HEADER_SIZE;
    // `Ip::end` is not beyond the last byte, whatever the packet says.
    let stated = match ip.version {
        Version::V4 => Ipv4Packet::new_unchecked(&frame[ip.start..]).total_size().into(),
        Version::V6 => {
            let packet = Ipv6Packet::new_unchecked(&frame[ip.start..]);
            ipv6::HEADER_SIZE + usize::from(packet.payload_size())
        }
    };
    let is_one = ip.protocol == ip_proto::UDP && ip.start + stated == frame.len();
    if !is_one || frame.len() <= headers + segment_size {
        return None;
    }
    let offload = unfinished_work(frame, u32::MAX);
    if !offload.needs_checksum() {
        // A tunnel of the sender's own, with datagrams inside: too long for every port, which says so. Its
        // payload must not be read as frames, which the sender would choose.
        return Some(offload);
    }
    let (gso_size, hdr_len) = (segment_size as u16, headers as u16);
    Some(Offload { gso_type: GSO_UDP_L4, gso_size, hdr_len, ..offload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GsoType;
    use crate::wire::TcpPacket;

    fn tcp_frame(payload: usize, is_partial: bool) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        frame.extend((payload as u16 + 40).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
        frame.resize(frame.len() + payload, 3);
        let size = (payload + 20) as u32;
        let pseudo = pseudo_header(&[10, 0, 0, 1], &[10, 0, 0, 2], ip_proto::TCP, size);
        let checksum = if is_partial { pseudo } else { !add(pseudo, sum(&frame[34..])) };
        TcpPacket::new_unchecked(&mut frame[34..]).set_checksum(checksum);
        frame
    }

    #[test]
    fn whole_frames_need_nothing() {
        assert_eq!(unfinished_work(&tcp_frame(1000, false), 1450), Offload::NONE);
        assert_eq!(unfinished_work(&[0; 60], 1450), Offload::NONE);
    }

    #[test]
    fn a_partial_checksum_is_known_by_its_value() {
        let offload = unfinished_work(&tcp_frame(1000, true), 1450);
        assert!(offload.needs_checksum() && !offload.is_gso());
        assert_eq!((offload.csum_start, offload.csum_offset), (34, 16));
    }

    #[test]
    fn what_nobody_has_cut_is_cut_unless_its_checksum_is_wrong() {
        for is_partial in [false, true] {
            let offload = unfinished_work(&tcp_frame(5000, is_partial), 1450);
            assert_eq!((offload.gso_type, offload.gso_size), (1, 1240));
            assert_eq!(offload.needs_checksum(), is_partial);
        }
        let mut wrong = tcp_frame(5000, false);
        wrong[60] ^= 1;
        assert_eq!(unfinished_work(&wrong, 1450), Offload::NONE);
    }

    #[test]
    fn datagrams_that_nobody_has_cut_are_told_from_merged_ones() {
        let payload = 3000;
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        frame.extend((payload as u16 + 28).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2]);
        frame.extend((payload as u16 + 8).to_be_bytes());
        let pseudo = pseudo_header(&[10, 0, 0, 1], &[10, 0, 0, 2], ip_proto::UDP, 3008);
        frame.extend(pseudo.to_be_bytes());
        frame.resize(42 + payload, 7);
        let offload = uncut_datagrams(&frame, 1000).unwrap();
        assert_eq!((offload.gso(), offload.gso_size, offload.hdr_len), (GsoType::UdpL4, 1000, 42));
        assert_eq!((offload.needs_checksum(), offload.csum_start), (true, 34));
        assert_eq!(uncut_datagrams(&frame, 3000), None, "it is a single datagram");
        assert_eq!(uncut_datagrams(&frame[..frame.len() - 1], 1000), None, "it is cut off");
        assert_eq!(uncut_datagrams(&[&frame[..], &frame].concat(), 1000), None, "there are two");
        assert_eq!(uncut_datagrams(&tcp_frame(3000, true), 1000), None, "TCP");
        frame[40] ^= 1;
        assert_eq!(uncut_datagrams(&frame, 1000), Some(Offload::NONE), "its checksum is complete");
    }
}

//! What has to happen to a frame before a port can send it.
//!
//! A frame may have work left to do: a checksum, or cutting into segments. A port takes that on if it
//! can and if the description is one it understands; otherwise it is done here, in software.

use packet::wire::{EthernetFrame, eth_type, ethernet, sctp, vlan};
use packet::{Frame, GsoType, Offload, offload_matches_outer_l4};

use crate::TxFailure;

/// The work on unfinished frames that a port takes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takes {
    /// It completes partial checksums and segments TCP.
    pub(crate) checksum_and_tcp: bool,
    /// It segments UDP.
    pub(crate) udp: bool,
}

impl Takes {
    pub(crate) const ALL: Self = Self { checksum_and_tcp: true, udp: true };
    pub(crate) const NOTHING: Self = Self { checksum_and_tcp: false, udp: false };
}

/// How a frame goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As it is, with this description of the work that is left to the port.
    Direct(Offload),
    /// As it is, once its checksum has been completed in software.
    Complete,
    /// Cut into segments in software.
    Segment,
}

/// Decides how `frame` goes out.
///
/// Frames that stand for several are checked against the MTU here, because the kernel does not;
/// others are left to [`check_size`] or the kernel.
#[inline]
pub(crate) fn way(frame: &Frame<'_>, takes: Takes, mtu: u32) -> Result<Way, TxFailure> {
    if frame.size() < ethernet::HEADER_SIZE {
        return Err(TxFailure::TooShort);
    }
    if frame.offload.is_complete() {
        return Ok(Way::Direct(Offload::NONE));
    }
    way_of_incomplete(frame, takes, mtu)
}

fn way_of_incomplete(frame: &Frame<'_>, takes: Takes, mtu: u32) -> Result<Way, TxFailure> {
    /// Only SCTP has its checksum there. It is a CRC32c, which the virtio-net header cannot say.
    const SCTP_CHECKSUM: u16 = sctp::field::CHECKSUM.start as u16;
    let offload = frame.offload;
    if !offload.is_gso() {
        if !takes.checksum_and_tcp || offload.csum_offset == SCTP_CHECKSUM {
            return Ok(Way::Complete);
        }
        let mut header = Offload::NONE;
        header.set_needs_checksum(offload.csum_start, offload.csum_offset);
        return Ok(Way::Direct(header));
    }
    let headers = packet::gso_header_size(frame).map_err(|_| TxFailure::NoOffload)?;
    let segment = frame.size().min(headers + usize::from(offload.gso_size));
    check_size(frame, segment, mtu)?;
    let is_taken = match offload.gso() {
        GsoType::TcpV4 | GsoType::TcpV6 => takes.checksum_and_tcp,
        GsoType::UdpL4 => takes.udp,
        _ => false,
    };
    if !is_taken || !offload.needs_checksum() || !offload_matches_outer_l4(frame) {
        return Ok(Way::Segment);
    }
    // The sender's header size is a hint, and edits may have made it wrong.
    let mut header = Offload {
        gso_type: offload.gso_type,
        gso_size: offload.gso_size,
        hdr_len: headers as u16,
        ..Offload::NONE
    };
    header.set_needs_checksum(offload.csum_start, offload.csum_offset);
    Ok(Way::Direct(header))
}

/// Compares `size`, the bytes of `frame` or of its largest segment, with the MTU, as the kernel does:
/// the Ethernet header is not counted, nor one 802.1Q tag; an 802.1ad tag and a second tag are.
pub(crate) fn check_size(frame: &Frame<'_>, size: usize, mtu: u32) -> Result<(), TxFailure> {
    let limit = mtu as usize + ethernet::HEADER_SIZE;
    let has_room = size <= limit || size <= limit + vlan::HEADER_SIZE && is_8021q(frame);
    if has_room { Ok(()) } else { Err(TxFailure::TooLong { size: size as u32, mtu }) }
}

fn is_8021q(frame: &Frame<'_>) -> bool {
    EthernetFrame::new_checked(frame.bytes()).is_ok_and(|eth| eth.ethertype() == eth_type::VLAN)
}

/// Segments of one frame, and buffers for the next.
#[derive(Default)]
pub(crate) struct Segments {
    frames: Vec<Frame<'static>>,
    pool: Vec<Vec<u8>>,
}

impl Segments {
    /// Cuts `frame`; the segments stay until the next call.
    pub(crate) fn cut(&mut self, frame: &Frame<'_>) -> Result<&mut [Frame<'static>], TxFailure> {
        let Self { frames, pool } = self;
        pool.extend(frames.drain(..).filter_map(Frame::into_buffer));
        packet::segment(frame, pool, &mut |segment, _| frames.push(segment))
            .map_err(|_| TxFailure::NoOffload)?;
        Ok(&mut self.frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_frame(payload: usize) -> Frame<'static> {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        bytes.extend((payload as u16 + 40).to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        bytes.extend([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
        bytes.resize(bytes.len() + payload, 0);
        let mut offload = Offload { gso_type: 1, gso_size: 1460, hdr_len: 9, ..Offload::NONE };
        offload.set_needs_checksum(34, 16);
        Frame::owned(&bytes, offload)
    }

    #[test]
    fn work_that_the_port_understands_is_left_to_it_with_the_right_header_size() {
        let frame = tcp_frame(4000);
        let header = Offload { hdr_len: 54, ..frame.offload };
        assert_eq!(way(&frame, Takes::ALL, 1500), Ok(Way::Direct(header)));
        assert_eq!(way(&frame, Takes::NOTHING, 1500), Ok(Way::Segment));
    }

    #[test]
    fn segments_must_fit_into_the_mtu() {
        let mut frame = tcp_frame(4000);
        assert!(frame.push_tag(eth_type::VLAN, 5));
        assert!(way(&frame, Takes::ALL, 1500).is_ok());
        let too_long = Err(TxFailure::TooLong { size: 1518, mtu: 1499 });
        assert_eq!(way(&frame, Takes::ALL, 1499), too_long);
        frame.pop_tag();
        assert!(frame.push_tag(eth_type::VLAN_8021AD, 5));
        let too_long = Err(TxFailure::TooLong { size: 1518, mtu: 1500 });
        assert_eq!(way(&frame, Takes::ALL, 1500), too_long);
    }

    #[test]
    fn sctp_checksums_are_never_left_to_the_port() {
        let mut frame = tcp_frame(100);
        frame.offload = Offload::NONE;
        frame.offload.set_needs_checksum(34, 8);
        assert_eq!(way(&frame, Takes::ALL, 1500), Ok(Way::Complete));
    }

    #[test]
    fn contradictions_are_refused() {
        let mut frame = tcp_frame(4000);
        frame.offload.csum_start = 33;
        assert_eq!(way(&frame, Takes::ALL, 1500), Err(TxFailure::NoOffload));
        let short = Frame::owned(&[0; 13], Offload::NONE);
        assert_eq!(way(&short, Takes::ALL, 1500), Err(TxFailure::TooShort));
    }
}

//! What has to happen to a frame before a port can send it.
//!
//! A frame may have work left to do: a checksum, or cutting into segments. A port takes that on if it
//! can and if the description is one it understands; otherwise it is done here, in software.

use crate::TxFailure;
use crate::netlink::Features;
use packet::wire::{EthernetFrame, eth_type, ethernet, sctp, vlan};
use packet::{
    Frame, GsoType, MAX_BATCH, Offload, Segmentation, checksum_is_in_place,
    offload_matches_outer_l4,
};

/// The work on unfinished frames that a port takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Takes {
    /// The kinds of work that the port takes on, as bits.
    work: u32,
    /// A frame of this many bytes or more is not segmented by the port.
    segments_below: u32,
}

impl Takes {
    /// The port completes partial checksums.
    const CHECKSUM: u32 = 1;
    /// The port segments TCP over IPv4.
    const TCP_V4: u32 = 1 << 1;
    /// The port segments TCP over IPv6.
    const TCP_V6: u32 = 1 << 2;
    /// The port segments TCP with congestion notification, too, over the versions of IP
    /// over which it segments TCP.
    const TCP_ECN: u32 = 1 << 3;
    /// The port segments UDP.
    const UDP: u32 = 1 << 4;

    pub(crate) const ALL: Self = Self { work: (1 << 5) - 1, segments_below: u32::MAX };
    pub(crate) const NOTHING: Self = Self { work: 0, segments_below: 0 };

    /// The work that a network device takes on if its frames go around the queueing discipline. Partial
    /// checksums are always completed, by the kernel if the device cannot. The kernel drops large frames that
    /// the device does not segment.
    pub(crate) fn of_device(features: &Features, gso_max_size: u32) -> Self {
        let work = [
            ("tx-tcp-segmentation", Self::TCP_V4),
            ("tx-tcp6-segmentation", Self::TCP_V6),
            ("tx-tcp-ecn-segmentation", Self::TCP_ECN),
            ("tx-udp-segmentation", Self::UDP),
        ];
        let work = work.into_iter().filter(|(name, _)| features.has(name));
        let work = work.fold(Self::CHECKSUM, |all, (_, bit)| all | bit);
        Self { work, segments_below: gso_max_size }
    }

    /// The same work without the segmentation of UDP.
    pub(crate) fn without_udp(self) -> Self {
        Self { work: self.work & !Self::UDP, ..self }
    }

    /// Whether the port segments a frame of `size` bytes as `offload` asks for.
    fn segments(self, offload: Offload, size: usize) -> bool {
        let kind = match offload.gso() {
            GsoType::TcpV4 => Self::TCP_V4,
            GsoType::TcpV6 => Self::TCP_V6,
            GsoType::UdpL4 => Self::UDP,
            _ => return false,
        };
        let wanted = kind | if offload.has_ecn() { Self::TCP_ECN } else { 0 };
        self.work & wanted == wanted && size < self.segments_below as usize
    }

    /// All of this in one number, which [`crate::PortStatus`] can store at once.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.segments_below) << 32 | u64::from(self.work)
    }

    /// The reverse of [`Takes::to_bits`].
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { work: bits as u32, segments_below: (bits >> 32) as u32 }
    }
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
    if !checksum_is_in_place(frame) {
        return Err(TxFailure::NoOffload);
    }
    if !offload.is_gso() {
        if takes.work & Takes::CHECKSUM == 0 || offload.csum_offset == SCTP_CHECKSUM {
            return Ok(Way::Complete);
        }
        let mut header = Offload::NONE;
        header.set_needs_checksum(offload.csum_start, offload.csum_offset);
        return Ok(Way::Direct(header));
    }
    let headers = Segmentation::new(frame).map_err(|_| TxFailure::NoOffload)?.header_size();
    let segment = frame.size().min(headers + usize::from(offload.gso_size));
    check_size(frame, segment, mtu)?;
    let is_taken = takes.segments(offload, frame.size());
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

/// Cuts frames, at most [`MAX_BATCH`] segments at a time, whose buffers serve for the next ones.
#[derive(Default)]
pub(crate) struct Cutter {
    segments: Vec<Frame<'static>>,
    spare: Vec<Vec<u8>>,
    /// Number of segments since the last [`Cutter::take_made`].
    made: usize,
}

impl Cutter {
    /// Cuts `frame` and passes the segments to `send` in order, a few at a time, until all
    /// are sent or `send` fails.
    ///
    /// # Errors
    /// The frame cannot be segmented, or `send` failed.
    pub(crate) fn cut(
        &mut self,
        frame: &Frame<'_>,
        mut send: impl FnMut(&mut [Frame<'static>]) -> Result<(), TxFailure>,
    ) -> Result<(), TxFailure> {
        let segmentation = Segmentation::new(frame).map_err(|_| TxFailure::NoOffload)?;
        let Self { segments, spare, made } = self;
        for start in (0..segmentation.count()).step_by(MAX_BATCH) {
            let end = segmentation.count().min(start + MAX_BATCH);
            spare.extend(segments.drain(..).filter_map(Frame::into_buffer));
            segments.extend(
                (start..end)
                    .map(|index| segmentation.segment(index, spare.pop().unwrap_or_default())),
            );
            *made += segments.len();
            send(segments)?;
        }
        Ok(())
    }

    /// The number of segments that were made since the last call, sent or not.
    pub(crate) fn take_made(&mut self) -> usize {
        std::mem::take(&mut self.made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::wire::ip_proto;

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
    fn each_kind_of_segmentation_is_left_to_a_port_that_takes_it() {
        let v4 = tcp_frame(4000);
        let mut ecn = tcp_frame(4000);
        ecn.offload.gso_type |= 0x80;
        let check = |takes: Takes, expected: [bool; 2]| {
            let is_direct = |frame| matches!(way(frame, takes, 1500), Ok(Way::Direct(_)));
            assert_eq!([&v4, &ecn].map(is_direct), expected, "{takes:?}");
            assert_eq!(Takes::from_bits(takes.to_bits()), takes);
        };
        let only = |work| Takes { work, ..Takes::ALL };
        check(Takes::ALL, [true, true]);
        check(only(Takes::TCP_V4), [true, false]);
        check(only(Takes::TCP_V4 | Takes::TCP_ECN), [true, true]);
        check(only(Takes::TCP_ECN | Takes::TCP_V6 | Takes::UDP), [false, false]);
        let size = v4.size() as u32;
        check(Takes { segments_below: size, ..Takes::ALL }, [false, false]);
        check(Takes { segments_below: size + 1, ..Takes::ALL }, [true, true]);
    }

    #[test]
    fn a_cutter_needs_few_buffers_however_many_segments_there_are() {
        let mut frame = tcp_frame(60_000);
        frame.offload.gso_size = 400;
        let mut cutter = Cutter::default();
        for _ in 0..2 {
            let mut payload = 0;
            let sent = cutter.cut(&frame, |segments| {
                assert!(segments.len() <= MAX_BATCH);
                payload += segments.iter().map(|segment| segment.size() - 54).sum::<usize>();
                Ok(())
            });
            assert_eq!((cutter.take_made(), sent, payload), (150, Ok(()), 60_000));
            assert!(cutter.segments.len() + cutter.spare.len() <= MAX_BATCH);
        }
        let sent = cutter.cut(&frame, |_| Err(TxFailure::QueueFull));
        assert_eq!(
            (cutter.take_made(), sent),
            (MAX_BATCH, Err(TxFailure::QueueFull)),
            "the rest is not made"
        );
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
        frame.bytes_mut()[23] = ip_proto::SCTP;
        frame.offload = Offload::NONE;
        frame.offload.set_needs_checksum(34, 8);
        assert_eq!(way(&frame, Takes::ALL, 1500), Ok(Way::Complete));
    }

    #[test]
    fn contradictions_are_refused() {
        let mut frame = tcp_frame(4000);
        frame.offload.csum_start = 33;
        assert_eq!(way(&frame, Takes::ALL, 1500), Err(TxFailure::NoOffload));
        frame.offload = Offload::NONE;
        // The destination port would become a checksum after the rules have judged the frame.
        frame.offload.set_needs_checksum(34, 2);
        assert_eq!(way(&frame, Takes::ALL, 1500), Err(TxFailure::NoOffload));
        let mut tiny = tcp_frame(4000);
        tiny.offload.gso_size = 1;
        assert_eq!(way(&tiny, Takes::ALL, 1500), Err(TxFailure::NoOffload));
        let short = Frame::owned(&[0; 13], Offload::NONE);
        assert_eq!(way(&short, Takes::ALL, 1500), Err(TxFailure::TooShort));
    }
}

//! Completes, in software, the checksum that a sender left to the device.

use crate::checksum::{nonzero, sum};
use crate::outer::Ip;
use crate::wire::{SctpPacket, ip_proto, ipv4, ipv6, sctp};
use crate::{Frame, Offload};

/// The [`Offload`] of a frame puts the checksum outside the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "checksum at {start}+{offset} lies outside the frame of {size} bytes; it must end before byte \
     {size}"
)]
pub struct CompleteError {
    /// Offset in the frame of the first byte that the checksum covers ([`Offload::csum_start`]).
    pub start: u16,
    /// Offset of the checksum from `start` ([`Offload::csum_offset`]).
    pub offset: u16,
    /// Size of the frame in bytes.
    pub size: usize,
}

/// Completes the frame's checksum if it is partial, and says in [`Frame::offload`] that it is complete.
///
/// The partial checksum may be that of a packet inside a tunnel. The sender has computed the tunnel's own
/// checksum as if the inner one were complete, so the tunnel's own stays right.
///
/// This is not for frames that are to be segmented: [`crate::Segmentation`] computes
/// the checksums of the segments.
///
/// # Errors
/// The checksum would lie outside the frame. Then the frame is unchanged.
pub fn complete(frame: &mut Frame<'_>) -> Result<(), CompleteError> {
    let offload = frame.offload;
    complete_bytes(frame.bytes_mut(), offload)?;
    frame.offload.clear_checksum();
    Ok(())
}

/// Completes the checksum of a frame whose bytes these are, if it is partial. As [`complete`], for bytes that
/// are no [`Frame`].
///
/// # Errors
/// The checksum would lie outside the frame. Then the bytes are unchanged.
pub fn complete_bytes(bytes: &mut [u8], offload: Offload) -> Result<(), CompleteError> {
    let Offload { csum_start, csum_offset, .. } = offload;
    if !offload.needs_checksum() {
        return Ok(());
    }
    let error = CompleteError { start: csum_start, offset: csum_offset, size: bytes.len() };
    let (start, offset) = (usize::from(csum_start), usize::from(csum_offset));
    let sctp_end = sctp_end(bytes, start).filter(|_| offset == SCTP_CHECKSUM);
    match sctp_end {
        Some(end) => {
            let packet = bytes.get_mut(start..end).ok_or(error)?;
            SctpPacket::new_checked(packet).map_err(|_| error)?.fill_checksum();
        }
        None => {
            let covered = bytes.get_mut(start..).ok_or(error)?;
            if covered.len() < offset + 2 {
                return Err(error);
            }
            let checksum = nonzero(!sum(covered));
            covered[offset..offset + 2].copy_from_slice(&checksum.to_be_bytes());
        }
    }
    Ok(())
}

/// The offset of SCTP's checksum. No other transport header has its checksum at this offset.
const SCTP_CHECKSUM: usize = sctp::field::CHECKSUM.start;

/// The offset behind the SCTP packet that begins at `start`; `None` if no SCTP packet begins there.
fn sctp_end(bytes: &[u8], start: usize) -> Option<usize> {
    let outermost = Ip::outermost(bytes)?;
    let ip = if outermost.payload == start {
        outermost
    } else {
        // The packet is inside a tunnel. The inner IP header ends at `start`.
        Ip::v4(bytes, start.checked_sub(ipv4::HEADER_SIZE)?)
            .or_else(|| Ip::v6(bytes, start.checked_sub(ipv6::HEADER_SIZE)?))
            .filter(|ip| ip.payload == start)?
    };
    (ip.protocol == ip_proto::SCTP && !ip.is_later_fragment).then_some(ip.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::{crc32c, pseudo_header};
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    fn partial(start: usize, offset: u16) -> Offload {
        Offload { flags: 1, csum_start: start as u16, csum_offset: offset, ..Offload::NONE }
    }

    proptest! {
        #[test]
        fn completed_checksums_are_those_of_etherparse(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            source in any::<[u8; 4]>(),
            is_tcp in any::<bool>(),
        ) {
            let mut whole = Vec::new();
            let ip = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4(source, [10, 0, 0, 2], 64);
            if is_tcp {
                ip.tcp(1, 2, 3, 4).write(&mut whole, &body).unwrap();
            } else {
                ip.udp(1, 2).write(&mut whole, &body).unwrap();
            }
            let (offset, protocol) = if is_tcp { (16, 6) } else { (6, 17) };
            let mut bytes = whole.clone();
            let pseudo = pseudo_header(&source, &[10, 0, 0, 2], protocol, bytes.len() as u32 - 34);
            bytes[34 + offset..36 + offset].copy_from_slice(&pseudo.to_be_bytes());
            let mut frame = Frame::owned(&bytes, partial(34, offset as u16));
            complete(&mut frame).unwrap();
            prop_assert_eq!(frame.bytes(), &whole[..]);
            prop_assert_eq!(frame.offload, Offload::NONE);
        }

        #[test]
        fn no_start_and_offset_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), start in 0u16..90, offset in 0u16..20,
        ) {
            let mut frame = Frame::owned(&bytes, partial(start.into(), offset));
            let _ = complete(&mut frame);
        }
    }

    #[test]
    fn sctp_gets_a_crc_over_the_packet_without_ethernet_padding() {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        bytes.extend([0x45, 0, 0, 36, 0, 0, 0, 0, 64, 132, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let sctp = [0, 1, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 11, 0, 0, 4];
        bytes.extend(sctp);
        bytes.extend([0; 10]);
        let mut frame = Frame::owned(&bytes, partial(34, 8));
        complete(&mut frame).unwrap();
        assert_eq!(frame.bytes()[42..46], crc32c([&sctp]).to_le_bytes());
    }

    #[test]
    fn a_request_outside_the_frame_is_refused() {
        let mut frame = Frame::owned(&[0; 60], partial(50, 10));
        assert_eq!(
            complete(&mut frame).unwrap_err().to_string(),
            "checksum at 50+10 lies outside the frame of 60 bytes; it must end before byte 60"
        );
    }
}

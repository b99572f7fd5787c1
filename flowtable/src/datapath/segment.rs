//! Changes the payload of a TCP segment, and its sequence numbers (`conntrack/help`).
//!
//! A complete checksum is computed anew. A partial one covers the size of the segment, and follows it.

use super::edit::{bytes_at, has_partial_checksum, read};
use crate::conntrack::SegmentEdit;
use packet::wire::{TcpPacket, ip_proto, ipv4, ipv6, tcp};
use packet::{Frame, checksum};

/// Changes a frame, which has a TCP segment.
pub(super) fn apply(frame: &mut Frame<'_>, edit: &SegmentEdit) {
    let l4 = usize::from(frame.layers.l4);
    let Some(header) = read::<{ tcp::HEADER_SIZE }>(frame, l4) else { return };
    let header_size = TcpPacket::new_unchecked(&header).header_size();
    let numbers = [
        (tcp::field::SEQUENCE, edit.sequence),
        (tcp::field::ACKNOWLEDGEMENT, edit.acknowledgement),
    ];
    for (field, number) in numbers {
        if let Some(bytes) = bytes_at::<4>(frame, l4 + field.start) {
            *bytes = number.to_be_bytes();
        }
    }
    let options = l4 + tcp::HEADER_SIZE..l4 + header_size;
    if let Some(options) = frame.bytes_mut().get_mut(options) {
        shift_selective_acknowledgements(options, edit);
    }
    if let Some((place, new)) = &edit.text {
        let payload = l4 + header_size;
        let place = payload + place.start..payload + place.end;
        let growth = new.len() as i32 - place.len() as i32;
        if place.end <= frame.size() && frame.replace(place, new) {
            grow_packet(frame, growth);
        }
    }
    fill_checksum(frame);
}

/// Takes the edges of SACK blocks (RFC 2018 §3) back to the numbers of the end that they are for.
fn shift_selective_acknowledgements(mut options: &mut [u8], edit: &SegmentEdit) {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const SACK: u8 = 5;
    while let [kind, rest @ ..] = options {
        let kind = *kind;
        options = match kind {
            END => return,
            NO_OPERATION => rest,
            _ => {
                let Some(size) = rest.first().map(|size| usize::from(*size)) else { return };
                let Some((option, behind)) = rest.split_at_mut_checked(size.max(2) - 1) else {
                    return;
                };
                if kind == SACK {
                    for edge in option[1..].chunks_exact_mut(4) {
                        let number = u32::from_be_bytes([edge[0], edge[1], edge[2], edge[3]]);
                        edge.copy_from_slice(&edit.selective.back(number).to_be_bytes());
                    }
                }
                behind
            }
        };
    }
}

fn is_ipv6(frame: &Frame<'_>) -> bool {
    frame.bytes().get(usize::from(frame.layers.l3)).is_some_and(|version| version >> 4 == 6)
}

/// Tells the IP header, and a partial checksum, that the packet is longer by `growth` bytes.
fn grow_packet(frame: &mut Frame<'_>, growth: i32) {
    let (l3, l4) = (usize::from(frame.layers.l3), usize::from(frame.layers.l4));
    let is_ipv6 = is_ipv6(frame);
    let grown =
        |size: [u8; 2]| u16::from_be_bytes(size).wrapping_add_signed(growth as i16).to_be_bytes();
    let field = if is_ipv6 { ipv6::field::PAYLOAD_SIZE } else { ipv4::field::TOTAL_SIZE };
    let Some(old) = read::<2>(frame, l3 + field.start) else { return };
    let new = grown(old);
    if let Some(bytes) = bytes_at::<2>(frame, l3 + field.start) {
        *bytes = new;
    }
    if !is_ipv6 && let Some(sum) = bytes_at::<2>(frame, l3 + ipv4::field::CHECKSUM.start) {
        checksum::update(sum, &old, &new);
    }
    if has_partial_checksum(frame) {
        let end = frame.size().saturating_sub(frame.layers.padding.into());
        let size = end.saturating_sub(l4) as u16;
        let old = size.wrapping_add_signed(-growth as i16);
        if let Some(sum) = bytes_at::<2>(frame, l4 + tcp::field::CHECKSUM.start) {
            checksum::update_partial(sum, &old.to_be_bytes(), &size.to_be_bytes());
        }
    }
}

/// Computes the checksum of the segment, unless that is left to the device.
fn fill_checksum(frame: &mut Frame<'_>) {
    if has_partial_checksum(frame) {
        return;
    }
    let (l3, l4) = (usize::from(frame.layers.l3), usize::from(frame.layers.l4));
    let end = frame.size().saturating_sub(frame.layers.padding.into());
    let sum_at = l4 + tcp::field::CHECKSUM.start;
    if let Some(sum) = bytes_at::<2>(frame, sum_at) {
        *sum = [0; 2];
    }
    let field = if is_ipv6(frame) { ipv6::field::ADDRESSES } else { ipv4::field::ADDRESSES };
    let addresses = frame.bytes().get(l3 + field.start..l3 + field.end);
    let (Some(addresses), Some(segment)) = (addresses, frame.bytes().get(l4..end)) else { return };
    let (source, destination) = addresses.split_at(addresses.len() / 2);
    let size = segment.len() as u32;
    let pseudo_header = checksum::pseudo_header(source, destination, ip_proto::TCP, size);
    let sum = !checksum::add(pseudo_header, checksum::sum(segment));
    if let Some(bytes) = bytes_at::<2>(frame, sum_at) {
        *bytes = sum.to_be_bytes();
    }
}

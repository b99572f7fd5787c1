//! The fragments of one packet, until they are all there, and the packet that they make.

use super::fragment::{Fragment, fragment_header};
use crate::conntrack::tuple::quoted_header_size;
use packet::wire::{Ipv4Packet, Ipv6Packet, ipv4, ipv6, ipv6_extension};
use packet::{Frame, HEADROOM, Layers, Offload, checksum};
use std::ops::Range;

/// A fragment with its frame.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The frame, with [`HEADROOM`] bytes in front.
    buffer: Vec<u8>,
    layers: Layers,
    /// Which bytes of the packet the fragment carries.
    range: Range<usize>,
    /// Where these are in the frame.
    payload_at: usize,
}

impl Piece {
    fn frame(&self) -> &[u8] {
        &self.buffer[HEADROOM..]
    }

    fn frame_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[HEADROOM..]
    }

    fn payload(&self) -> &[u8] {
        &self.frame()[self.payload_at..][..self.range.len()]
    }

    /// The frame, which owns its bytes, without offloads.
    pub(crate) fn into_frame(self) -> Frame<'static> {
        let mut frame = Frame::from_buffer(self.buffer, HEADROOM, Offload::NONE);
        frame.layers = self.layers;
        frame
    }
}

/// What becomes of a fragment that comes to others of its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// Others are missing.
    Waits,
    /// The packet is complete.
    Completes,
    /// The same bytes were there already, in one fragment. In a packet that is put together as in Open vSwitch:
    /// some of the bytes.
    Again,
    /// The fragment contradicts those that are there: it overlaps one, or the packet would have two ends.
    Contradicts,
}

/// The fragments of one packet.
#[derive(Debug, Default)]
pub(super) struct Datagram {
    /// In the order of the bytes that they carry, without overlaps. In a packet that is put together as in Open
    /// vSwitch, one may have all bytes of others; such a packet is never complete.
    pieces: Vec<Piece>,
    /// Number of bytes that the pieces carry.
    carried: usize,
    /// Number of bytes of the packet, once the last fragment is there.
    size: Option<usize>,
}

impl Datagram {
    /// Number of fragments.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Adds a fragment, whose frame is `frame`.
    pub(super) fn add(&mut self, fragment: &Fragment, frame: &Frame<'_>) -> Added {
        let range = fragment.bytes.clone();
        let at = self.pieces.partition_point(|piece| piece.range.start < range.start);
        let payload = &frame.bytes()[fragment.payload_at..][..range.len()];
        if let Some(same) = self.pieces.get(at).filter(|piece| piece.range == range)
            && same.payload() == payload
            && fragment.is_last == (self.size == Some(range.end))
        {
            return Added::Again;
        }
        let before = at.checked_sub(1).map_or(0, |before| self.pieces[before].range.end);
        let behind = self.pieces.get(at).map_or(usize::MAX, |piece| piece.range.start);
        let end = self.pieces.last().map_or(0, |piece| piece.range.end);
        let has_two_ends = match (self.size, fragment.is_last) {
            (Some(_), true) => true,
            (Some(size), false) => range.end >= size,
            (None, true) => range.end < end,
            (None, false) => false,
        };
        if range.start < before || range.end > behind || has_two_ends {
            return Added::Contradicts;
        }
        if fragment.is_last {
            self.size = Some(range.end);
        }
        self.insert(at, fragment, frame);
        match self.size == Some(self.carried) {
            true => Added::Completes,
            false => Added::Waits,
        }
    }

    /// As [`add`](Self::add), but as Open vSwitch does (`ipf_process_frag`): a fragment that begins or ends
    /// within another one is not added, and the packet is complete once a first fragment, a last one and all
    /// between are there.
    pub(super) fn add_as_ovs(&mut self, fragment: &Fragment, frame: &Frame<'_>) -> Added {
        let range = fragment.bytes.clone();
        let has = |at: usize| self.pieces.iter().any(|piece| piece.range.contains(&at));
        if has(range.start) || has(range.end - 1) {
            return Added::Again;
        }
        if fragment.is_last {
            self.size = Some(range.end);
        }
        let at = self.pieces.partition_point(|piece| piece.range.start < range.start);
        self.insert(at, fragment, frame);
        let follows = |pair: &[Piece]| pair[0].range.end == pair[1].range.start;
        let begins = self.pieces.first().is_some_and(|first| first.range.start == 0);
        match self.size.is_some() && begins && self.pieces.windows(2).all(follows) {
            true => Added::Completes,
            false => Added::Waits,
        }
    }

    /// Inserts a piece in front of the piece number `at`.
    fn insert(&mut self, at: usize, fragment: &Fragment, frame: &Frame<'_>) {
        let range = fragment.bytes.clone();
        self.carried += range.len();
        let mut buffer = Vec::with_capacity(HEADROOM + frame.size());
        buffer.resize(HEADROOM, 0);
        buffer.extend_from_slice(frame.bytes());
        let (layers, payload_at) = (frame.layers, fragment.payload_at);
        self.pieces.insert(at, Piece { buffer, layers, range, payload_at });
    }

    /// The packet of all fragments. `None` if it would be longer than a packet can be. The
    /// fragments have to be complete.
    pub(super) fn assemble(self, is_ipv6: bool) -> Option<Reassembled> {
        let first = self.pieces.first()?;
        let l3 = usize::from(first.layers.l3);
        let mut bytes = Vec::with_capacity(first.payload_at + self.carried);
        bytes.extend_from_slice(&first.frame()[..first.payload_at]);
        if is_ipv6 {
            let at = l3 + fragment_header(&bytes[l3..])?;
            let next_header = bytes[at + ipv6_extension::field::NEXT_HEADER];
            bytes.drain(at..at + ipv6_extension::HEADER_SIZE);
            // The header in front of the fragment header names it.
            let names_it = last_next_header(&bytes[l3..]);
            bytes[l3 + names_it] = next_header;
        }
        for piece in &self.pieces {
            bytes.extend_from_slice(piece.payload());
        }
        let size = bytes.len() - l3;
        if is_ipv6 {
            let size = u16::try_from(size - ipv6::HEADER_SIZE).ok()?;
            Ipv6Packet::new_unchecked(&mut bytes[l3..]).set_payload_size(size);
        } else {
            let size = u16::try_from(size).ok()?;
            let mut ip = Ipv4Packet::new_unchecked(&mut bytes[l3..]);
            ip.set_total_size(size);
            ip.set_flags_and_offset(0);
            ip.fill_checksum();
        }
        let header_size = quoted_header_size(&bytes[l3..])?;
        let mut whole = Frame::owned(&bytes, Offload::NONE);
        let l4 = u16::try_from(l3 + header_size).ok()?;
        whole.layers = Layers { l4, padding: 0, ..first.layers };
        Some(Reassembled { whole, pieces: self.pieces, is_ipv6 })
    }
}

/// Where the number is that names the first header behind those of an IPv6 packet that is cut off behind them.
/// The numbers of the others say where that is.
fn last_next_header(headers: &[u8]) -> usize {
    use packet::wire::Ipv6Extension;
    let (mut named_at, mut at) = (ipv6::field::NEXT_HEADER, ipv6::HEADER_SIZE);
    while at < headers.len() {
        let Ok(extension) = Ipv6Extension::new_checked(headers[named_at], &headers[at..]) else {
            break;
        };
        named_at = at + ipv6_extension::field::NEXT_HEADER;
        at += extension.header_size();
    }
    named_at
}

/// A packet whose fragments are all there.
#[derive(Debug)]
pub(crate) struct Reassembled {
    /// The packet as one frame, which may be longer than any port sends.
    pub(crate) whole: Frame<'static>,
    pieces: Vec<Piece>,
    is_ipv6: bool,
}

impl Reassembled {
    /// The fragments as they came, first to last, with the addresses and the payload of the whole packet, which
    /// must have its size still.
    pub(crate) fn into_pieces(self) -> impl Iterator<Item = Frame<'static>> {
        let Self { whole, mut pieces, is_ipv6 } = self;
        let l3 = usize::from(whole.layers.l3);
        let carried = pieces.last().map_or(0, |piece| piece.range.end);
        let payload_at = whole.size() - carried;
        for piece in &mut pieces {
            let payload = &whole.bytes()[payload_at..][piece.range.clone()];
            let (at, size) = (piece.payload_at, piece.range.len());
            let l3_of_piece = usize::from(piece.layers.l3);
            let frame = piece.frame_mut();
            frame[at..at + size].copy_from_slice(payload);
            set_addresses(&mut frame[l3_of_piece..], &whole.bytes()[l3..], is_ipv6);
        }
        pieces.into_iter().map(Piece::into_frame)
    }
}

/// Gives an IP packet the addresses of another one.
fn set_addresses(packet: &mut [u8], other: &[u8], is_ipv6: bool) {
    if is_ipv6 {
        let addresses = ipv6::field::SRC_ADDR.start..ipv6::field::DST_ADDR.end;
        packet[addresses.clone()].copy_from_slice(&other[addresses]);
        return;
    }
    let addresses = ipv4::field::SRC_ADDR.start..ipv4::field::DST_ADDR.end;
    let mut old = [0; 8];
    old.copy_from_slice(&packet[addresses.clone()]);
    let new = &other[addresses.clone()];
    if old != new {
        packet[addresses].copy_from_slice(new);
        checksum::update(&mut packet[ipv4::field::CHECKSUM], &old, new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::fragments::FragmentRules;
    use crate::conntrack::fragments::fragment::read;
    use flow::types::PortNo;
    use packet::wire::ip_proto;
    use proptest::prelude::*;

    /// A frame with the fragment of an IPv4 or IPv6 packet that carries `payload[range]`. The IPv6 packet has a
    /// header of destination options in front of the fragment header.
    fn fragment_of(
        payload: &[u8],
        range: Range<usize>,
        more: bool,
        is_ipv6: bool,
    ) -> Frame<'static> {
        let mut bytes = vec![2; 12];
        let part = &payload[range.clone()];
        let flags = u16::from(more);
        let offset = range.start as u16;
        if is_ipv6 {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            bytes.extend((part.len() as u16 + 16).to_be_bytes());
            bytes.extend([60, 64]);
            bytes.extend([0xfd; 32]);
            bytes.extend([ip_proto::FRAGMENT, 0, 1, 4, 0, 0, 0, 0]);
            bytes.extend([ip_proto::UDP, 0]);
            bytes.extend((offset | flags).to_be_bytes());
            bytes.extend([0, 0, 0, 7]);
        } else {
            bytes.extend([8, 0]);
            let mut header = [0x45, 0, 0, 0, 0, 7, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
            let mut ip = Ipv4Packet::new_unchecked(&mut header[..]);
            ip.set_total_size(20 + part.len() as u16);
            ip.set_flags_and_offset((offset / 8) | (flags << 13));
            ip.fill_checksum();
            bytes.extend(header);
        }
        bytes.extend(part);
        let mut frame = Frame::owned(&bytes, Offload::NONE);
        frame.layers.l3 = 14;
        frame
    }

    #[derive(Clone, Debug)]
    struct Sent {
        range: Range<usize>,
        more: bool,
        salt: u8,
    }

    /// Fragments of a packet of `units` times eight bytes and some more, most of them right.
    fn fragments() -> impl Strategy<Value = (usize, Vec<Sent>)> {
        let one = (0..12usize, 1..6usize, 0..12u8);
        (1..97usize, proptest::collection::vec(one, 0..16), any::<u64>()).prop_map(
            |(size, odd, seed)| {
                // The packet cut into parts, in an order that the seed gives, and strange ones between.
                let mut sent = Vec::new();
                let mut start = 0;
                while start < size {
                    let units = 1 + (seed >> (start % 40)) as usize % 4;
                    let end = (start + units * 8).min(size);
                    sent.push(Sent { range: start..end, more: end < size, salt: 0 });
                    start = end;
                }
                let n = sent.len();
                for i in 0..n {
                    let other = (seed.rotate_left(i as u32 * 7) as usize) % n;
                    sent.swap(i, other);
                }
                for (place, units, kind) in odd {
                    let start = (place * 8).min(size - 1) / 8 * 8;
                    let end = (start + units * 8).min(size);
                    let again = sent.get(place).cloned();
                    let strange = match (kind, again) {
                        (0, _) => {
                            let salt = 1;
                            Sent { range: start..end, more: end < size, salt }
                        }
                        (1, _) => Sent { range: start..end, more: end < size, salt: 0 },
                        (_, Some(again)) => again,
                        _ => continue,
                    };
                    let at = place.min(sent.len());
                    sent.insert(at, strange);
                }
                (size, sent)
            },
        )
    }

    proptest! {
        /// A map of bytes says what is there already: a fragment that brings a byte again contradicts, unless
        /// the same fragment was there with the same bytes; and the packet is complete once each byte is there.
        #[test]
        fn reassembly_is_a_map_of_bytes((size, sent) in fragments(), is_ipv6: bool) {
            let payload: Vec<u8> = (0..size).map(|i| (i * 7) as u8).collect();
            let salted: Vec<u8> = payload.iter().map(|byte| byte ^ 0x55).collect();
            let mut map: Vec<Option<u8>> = Vec::new();
            let mut known: Vec<(Range<usize>, bool, u8)> = Vec::new();
            let mut end = None;
            let mut datagram = Datagram::default();
            for Sent { range, more, salt } in sent {
                // A part in the middle has whole units of eight bytes, and a whole packet is no fragment.
                if (more && !range.len().is_multiple_of(8)) || (range.start == 0 && !more) {
                    continue;
                }
                let source = if salt == 0 { &payload } else { &salted };
                let frame = fragment_of(source, range.clone(), more, is_ipv6);
                let fragment = read(&frame, PortNo(1), 0, &FragmentRules::ANY_SIZE).expect("a fragment");
                let added = datagram.add(&fragment, &frame);
                if known.contains(&(range.clone(), more, salt)) {
                    prop_assert_eq!(added, Added::Again);
                    continue;
                }
                map.resize(map.len().max(range.end), None);
                let overlaps = map[range.clone()].iter().any(Option::is_some);
                let is_behind = end.is_some_and(|end| range.end > end || (range.end == end && more));
                let cuts = !more && (end.is_some() || map.len() > range.end);
                if overlaps || is_behind || cuts {
                    prop_assert_eq!(added, Added::Contradicts);
                    // The table forgets such a packet.
                    return Ok(());
                }
                for at in range.clone() {
                    map[at] = Some(source[at]);
                }
                if !more {
                    end = Some(range.end);
                }
                known.push((range, more, salt));
                let is_complete = end == Some(map.len()) && map.iter().all(Option::is_some);
                prop_assert_eq!(added == Added::Completes, is_complete);
                if is_complete {
                    let expected: Vec<u8> = map.iter().copied().flatten().collect();
                    let n = datagram.len();
                    let reassembled = datagram.assemble(is_ipv6).expect("short enough");
                    prop_assert!(reassembled.whole.bytes().ends_with(&expected));
                    let l4 = usize::from(reassembled.whole.layers.l4);
                    prop_assert_eq!(reassembled.whole.size() - l4, expected.len());
                    let whole = fragment_or_whole(&reassembled.whole, is_ipv6);
                    prop_assert_eq!(whole, expected.len());
                    let mut carried = Vec::new();
                    for piece in reassembled.into_pieces() {
                        let fragment = read(&piece, PortNo(1), 0, &FragmentRules::ANY_SIZE);
                        let at = fragment.expect("still a fragment").payload_at;
                        carried.extend_from_slice(&piece.bytes()[at..]);
                    }
                    prop_assert_eq!(carried, expected);
                    prop_assert_eq!(known.len(), n);
                    return Ok(());
                }
            }
        }
    }

    /// Number of bytes behind the IP headers of a packet that has to be none of a fragment,
    /// as its header says it.
    fn fragment_or_whole(frame: &Frame<'_>, is_ipv6: bool) -> usize {
        let packet = &frame.bytes()[14..];
        match is_ipv6 {
            true => {
                let ip = Ipv6Packet::new_unchecked(packet);
                assert_eq!(fragment_header(packet), None);
                assert_eq!(packet[40], ip_proto::UDP, "the options name what follows");
                usize::from(ip.payload_size()) - 8
            }
            false => {
                let ip = Ipv4Packet::new_unchecked(packet);
                assert!(!ip.is_fragment() && ip.is_checksum_right());
                usize::from(ip.total_size()) - 20
            }
        }
    }
}

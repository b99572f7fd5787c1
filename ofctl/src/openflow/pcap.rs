//! Captures of packets (`pcap`, libpcap's classic file format) and the OpenFlow messages
//! in them: what `ofp-parse-pcap` prints.
//!
//! A connection is followed in each direction on its own. Segments that come early wait for those in front of
//! them; what comes again is passed over.

use anyhow::bail;
use flow::extract::{Arrival, extract};
use flow::types::PortNo;
use openflow::{HEADER_SIZE, MessageHeader};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The largest packet of a capture, as in libpcap.
const MAX_PACKET: usize = 1 << 18;

/// The link type of Ethernet frames.
const ETHERNET: u32 = 1;

/// The number of TCP in IP headers.
const TCP: u8 = 6;

/// How many bytes of one direction wait for those in front of them.
const MAX_WAITING: usize = 1 << 20;

/// The frames of a capture.
///
/// # Errors
/// The bytes are no capture of Ethernet frames. A capture that ends inside a packet has the
/// packets in front of it.
pub(super) fn frames(capture: &[u8]) -> anyhow::Result<Vec<&[u8]>> {
    const FILE_HEADER: usize = 24;
    const PACKET_HEADER: usize = 16;
    let word = |at: usize, is_swapped: bool| {
        let bytes = capture.get(at..)?.first_chunk::<4>()?;
        Some(if is_swapped { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) })
    };
    let is_swapped = match word(0, false) {
        // With microseconds, and with nanoseconds.
        Some(0xa1b2_c3d4 | 0xa1b2_3c4d) => false,
        Some(0xd4c3_b2a1 | 0x4d3c_b2a1) => true,
        _ => bail!(
            "is no capture of packets (pcap; a pcapng file can be converted by editcap -F pcap)"
        ),
    };
    match word(20, is_swapped) {
        Some(ETHERNET) => {}
        Some(other) => bail!("has link type {other}, and not Ethernet (1)"),
        None => bail!("ends inside its header"),
    }
    let mut frames = Vec::new();
    let mut at = FILE_HEADER;
    while let Some(size) = word(at + 8, is_swapped).map(|size| size as usize) {
        if size > MAX_PACKET {
            bail!("has a packet of {size} bytes, and {MAX_PACKET} is the most");
        }
        let Some(frame) = capture.get(at + PACKET_HEADER..at + PACKET_HEADER + size) else {
            break;
        };
        frames.push(frame);
        at += PACKET_HEADER + size;
    }
    Ok(frames)
}

/// One direction of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Direction {
    pub(super) from: (IpAddr, u16),
    pub(super) to: (IpAddr, u16),
}

/// The bytes of one direction.
#[derive(Default)]
struct Stream {
    /// The sequence number of the next byte; `None` before the first segment.
    next: Option<u32>,
    /// Bytes that are no whole message yet.
    received: Vec<u8>,
    /// Segments that came early, by how far behind the next byte they begin.
    early: BTreeMap<u32, Vec<u8>>,
}

impl Stream {
    /// Takes a segment.
    fn take(&mut self, sequence: u32, bytes: &[u8]) {
        let next = *self.next.get_or_insert(sequence);
        self.early.insert(sequence, bytes.to_vec());
        let mut next = next;
        loop {
            // The distance in sequence numbers, which wrap.
            let ready = self.early.keys().copied().find(|from| {
                let behind = next.wrapping_sub(*from);
                behind as usize <= self.early[from].len()
            });
            let Some(from) = ready else {
                break;
            };
            let segment = self.early.remove(&from).unwrap_or_default();
            let known = next.wrapping_sub(from) as usize;
            let new = segment.get(known..).unwrap_or_default();
            self.received.extend_from_slice(new);
            next = next.wrapping_add(new.len() as u32);
        }
        self.next = Some(next);
        let waiting: usize = self.early.values().map(Vec::len).sum();
        if waiting > MAX_WAITING {
            self.early.clear();
        }
    }

    /// The next whole message.
    fn message(&mut self) -> Option<Vec<u8>> {
        let header = MessageHeader::read(&self.received)?;
        let len = usize::from(header.len);
        if len < HEADER_SIZE {
            // Nobody knows where the next message begins.
            self.received.clear();
            return None;
        }
        if self.received.len() < len {
            return None;
        }
        Some(self.received.drain(..len).collect())
    }
}

/// The OpenFlow messages of frames: those of TCP connections to or from one of `ports`.
pub(super) fn messages(frames: &[&[u8]], ports: &[u16]) -> Vec<(Direction, Vec<u8>)> {
    let mut streams: HashMap<Direction, Stream> = HashMap::new();
    let mut messages = Vec::new();
    for frame in frames {
        let Some((direction, sequence, bytes)) = segment(frame) else {
            continue;
        };
        if !ports.contains(&direction.from.1) && !ports.contains(&direction.to.1) {
            continue;
        }
        let stream = streams.entry(direction).or_default();
        match bytes {
            // A connection begins anew.
            None => *stream = Stream { next: Some(sequence.wrapping_add(1)), ..Stream::default() },
            Some([]) => {}
            Some(bytes) => stream.take(sequence, bytes),
        }
        while let Some(message) = stream.message() {
            messages.push((direction, message));
        }
    }
    messages
}

/// Direction, sequence number and bytes of a TCP segment; the bytes are `None` for the
/// first segment of a connection.
fn segment(frame: &[u8]) -> Option<(Direction, u32, Option<&[u8]>)> {
    const VLAN_LIMIT: u8 = 2;
    const SYN: u16 = 1 << 1;
    let (key, layers) = extract(Arrival::on(PortNo(0)), frame, VLAN_LIMIT);
    let headers = &key.headers;
    if headers.nw_proto != TCP || headers.nw_frag != 0 {
        return None;
    }
    let (from, to) = match frame.get(usize::from(layers.l3))? >> 4 {
        4 => (
            IpAddr::V4(Ipv4Addr::from(headers.nw_src())),
            IpAddr::V4(Ipv4Addr::from(headers.nw_dst())),
        ),
        6 => (
            IpAddr::V6(Ipv6Addr::from(headers.ipv6_src())),
            IpAddr::V6(Ipv6Addr::from(headers.ipv6_dst())),
        ),
        _ => return None,
    };
    let end = frame.len().checked_sub(usize::from(layers.padding))?;
    let segment = frame.get(usize::from(layers.l4)..end)?;
    let sequence = u32::from_be_bytes(*segment.get(4..)?.first_chunk()?);
    let data_at = usize::from(segment.get(12)? >> 4) * 4;
    let direction =
        Direction { from: (from, headers.tp_src.get()), to: (to, headers.tp_dst.get()) };
    let bytes = match headers.tcp_flags.get() & SYN {
        0 => Some(segment.get(data_at..)?),
        _ => None,
    };
    Some((direction, sequence, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(segments: &[(u32, &[u8])], expected: &[u8]) {
        let mut stream = Stream { next: Some(100), ..Stream::default() };
        segments.iter().for_each(|(sequence, bytes)| stream.take(*sequence, bytes));
        assert_eq!(stream.received, expected);
    }

    #[test]
    fn segments_are_put_in_order() {
        check(&[(100, b"ab"), (102, b"cd")], b"abcd");
        check(&[(102, b"cd"), (100, b"ab")], b"abcd");
        check(&[(104, b"ef"), (102, b"cd"), (100, b"ab"), (102, b"cd")], b"abcdef");
        check(&[(100, b"ab"), (101, b"bc")], b"abc");
        check(&[(103, b"d")], b"");
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        assert!(frames(b"").is_err());
        assert!(frames(&[0; 40]).is_err());
        let mut capture = 0xa1b2_c3d4u32.to_le_bytes().to_vec();
        capture.extend([0; 16]);
        capture.extend(1u32.to_le_bytes());
        assert_eq!(frames(&capture).unwrap().len(), 0);
        capture.extend([0; 8]);
        capture.extend(u32::MAX.to_le_bytes());
        assert!(frames(&capture).is_err());
    }
}

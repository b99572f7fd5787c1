//! Merges TCP segments that follow one another into one large frame (generic receive offload, GRO).
//!
//! A frame of 64 KiB costs the datapath little more than one segment of it: one look-up, one set of actions,
//! one system call. A device or the kernel merges what arrives at a port, but not what is inside a tunnel.
//! [`Merger`] does, for frames that came out of one. [`Segmentation`](crate::Segmentation) is the way back.
//!
//! Whoever receives a merged frame must not be able to tell it from one that its sender had left unsegmented,
//! and segments that are cut from it again are the segments that came, byte for byte. So the merger refuses
//! whatever does not fit:
//!
//! - The headers agree in every bit, but for lengths, checksums, sequence numbers, and IPv4 identifications,
//!   which count up by one.
//! - All segments have as many bytes of payload as the first one, except the last, which may have fewer.
//! - The flags are ACK alone. FIN and PSH end a frame.
//! - All checksums are right. A wrong one would be lost, because the merged frame has a partial checksum, which
//!   vouches for the payload.
//! - There are no IPv4 options, no IPv6 extension headers, no fragments, and no padding.
//!
//! The merger copies each segment once. Up to [`MAX_RUNS`] connections are merged at a time. Frames of one
//! connection keep their order; frames of different connections may overtake each other.

use crate::checksum::{add, pseudo_header, sum};
use crate::outer::{Ip, Version};
use crate::wire::tcp::{self, flag};
use crate::wire::{Ipv4Packet, Ipv6Packet, TcpPacket, ethernet, ip_proto, ipv4, ipv6};
use crate::{Frame, HEADROOM, MAX_SEGMENTS, MIN_MSS, Offload};
use std::ops::Range;

/// How many connections are merged at a time.
pub const MAX_RUNS: usize = 8;

/// The largest merged frame in bytes. The lengths in its headers have 16 bits.
const MAX_SIZE: usize = 65_535;

/// Collects segments that follow one another, and merges them into frames (the rules are at
/// the head of this file).
#[derive(Debug, Default)]
pub struct Merger {
    /// The frames that more segments may join, the least recently used one first.
    open: Vec<Run>,
    /// The frames that no more segments join, in the order in which they ended.
    closed: Vec<Run>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

/// Segments of one connection that are one frame.
#[derive(Debug)]
struct Run {
    /// [`HEADROOM`] bytes, and the frame.
    buffer: Vec<u8>,
    /// Number of segments.
    count: usize,
    /// Offsets in the frame of the first segment's headers.
    headers: Headers,
    /// Bytes of payload that each segment but the last has.
    segment_size: usize,
}

/// Where the headers of a segment are, and the numbers that tell whether the segment is the next one of a run.
#[derive(Clone, Debug)]
struct Headers {
    version: Version,
    /// Offset of the IP header.
    ip: usize,
    /// Offset of the TCP header.
    tcp: usize,
    /// Offset of the TCP payload.
    payload: usize,
    sequence: u32,
    /// The identification of IPv4; 0 of IPv6.
    identification: u16,
    /// FIN or PSH is set.
    is_last: bool,
}

impl Merger {
    /// Takes a copy of an Ethernet frame if the frame is a segment that others can
    /// join. False if it is not: then the frame is the caller's, and belongs behind the
    /// frames that [`drain_closed`](Self::drain_closed) returns now.
    pub fn offer(&mut self, frame: &[u8]) -> bool {
        let same_connection = |run: &Run| run.is_of_connection_of(frame);
        let Some(headers) = Headers::of_mergeable(frame) else {
            // What is no such segment may still belong to a connection whose segments wait.
            while let Some(index) = self.open.iter().position(same_connection) {
                self.close(index);
            }
            return false;
        };
        if let Some(index) = self.open.iter().position(same_connection) {
            let mut run = self.open.remove(index);
            if run.accepts(frame, &headers) {
                run.append(frame, &headers);
                self.keep(run, headers.is_last);
                return true;
            }
            self.closed.push(run);
        }
        if self.open.len() == MAX_RUNS {
            self.close(0);
        }
        let is_last = headers.is_last;
        let run = Run::new(self.spare.pop().unwrap_or_default(), frame, headers);
        self.keep(run, is_last);
        true
    }

    /// Ends all frames: no more segments are at hand.
    pub fn close_all(&mut self) {
        self.closed.append(&mut self.open);
    }

    /// Removes the frames that have ended, in their order. Their headers are those of one large segment.
    pub fn drain_closed(&mut self) -> impl Iterator<Item = Frame<'static>> + '_ {
        self.closed.drain(..).map(Run::finish)
    }

    /// Takes the buffer of a frame that is not needed any more.
    pub fn recycle(&mut self, frame: Frame<'_>) {
        let room = MAX_RUNS.saturating_sub(self.spare.len());
        self.spare.extend(frame.into_buffer().into_iter().take(room));
    }

    fn keep(&mut self, run: Run, is_last: bool) {
        let list = if is_last { &mut self.closed } else { &mut self.open };
        list.push(run);
    }

    fn close(&mut self, index: usize) {
        self.closed.push(self.open.remove(index));
    }
}

impl Run {
    fn new(mut buffer: Vec<u8>, frame: &[u8], headers: Headers) -> Self {
        buffer.clear();
        buffer.resize(HEADROOM, 0);
        buffer.extend_from_slice(frame);
        Self { buffer, count: 1, segment_size: frame.len() - headers.payload, headers }
    }

    fn frame(&self) -> &[u8] {
        &self.buffer[HEADROOM..]
    }

    /// Bytes of payload that the run has so far.
    fn payload_size(&self) -> usize {
        self.frame().len() - self.headers.payload
    }

    /// Whether a frame has the tags, addresses and ports of the run.
    fn is_of_connection_of(&self, frame: &[u8]) -> bool {
        let Headers { ip, tcp, .. } = self.headers;
        let addresses = self.headers.addresses();
        let ports = tcp..tcp + 4;
        let agrees = |range: Range<usize>| frame.get(range.clone()) == self.frame().get(range);
        agrees(ethernet::field::ETHERTYPE.start..ip) && agrees(addresses) && agrees(ports)
    }

    /// Whether a segment of the same connection is the next one of this run.
    fn accepts(&self, frame: &[u8], next: &Headers) -> bool {
        let first = &self.headers;
        let size = frame.len() - next.payload;
        let sequence = first.sequence.wrapping_add(self.payload_size() as u32);
        let identification = match first.version {
            Version::V4 => first.identification.wrapping_add(self.count as u16),
            Version::V6 => 0,
        };
        (next.version, next.ip, next.tcp, next.payload)
            == (first.version, first.ip, first.tcp, first.payload)
            && (next.sequence, next.identification) == (sequence, identification)
            && size <= self.segment_size
            // A shorter segment is the last one, and the payload so far is whole segments.
            && self.payload_size() == self.count * self.segment_size
            && self.count < MAX_SEGMENTS
            && self.frame().len() + size <= MAX_SIZE
            && first.constant_parts().into_iter().all(|part| {
                frame[part.clone()] == self.frame()[part]
            })
    }

    fn append(&mut self, frame: &[u8], next: &Headers) {
        self.buffer.extend_from_slice(&frame[next.payload..]);
        self.count += 1;
        let flags = TcpPacket::new_unchecked(&frame[next.tcp..]).flags();
        let tcp = &mut self.buffer[HEADROOM + next.tcp..];
        TcpPacket::new_unchecked(tcp).set_flags(flags);
    }

    /// The run as a frame. One segment alone is the frame that came.
    fn finish(mut self) -> Frame<'static> {
        if self.count == 1 {
            return Frame::from_buffer(self.buffer, HEADROOM, Offload::NONE);
        }
        let Headers { version, ip, tcp, payload, .. } = self.headers;
        let frame = &mut self.buffer[HEADROOM..];
        let size = frame.len() - ip;
        match version {
            Version::V4 => {
                let mut header = Ipv4Packet::new_unchecked(&mut frame[ip..]);
                header.set_total_size(size as u16);
                header.fill_checksum();
            }
            Version::V6 => {
                let mut header = Ipv6Packet::new_unchecked(&mut frame[ip..]);
                header.set_payload_size((size - ipv6::HEADER_SIZE) as u16);
            }
        }
        let (source, destination) = frame[self.headers.addresses()].split_at(match version {
            Version::V4 => 4,
            Version::V6 => 16,
        });
        let partial = pseudo_header(source, destination, ip_proto::TCP, (frame.len() - tcp) as u32);
        TcpPacket::new_unchecked(&mut frame[tcp..]).set_checksum(partial);
        let mut offload = Offload {
            gso_type: match version {
                Version::V4 => 1,
                Version::V6 => 4,
            },
            hdr_len: payload as u16,
            gso_size: self.segment_size as u16,
            ..Offload::NONE
        };
        offload.set_needs_checksum(tcp as u16, tcp::field::CHECKSUM.start as u16);
        Frame::from_buffer(self.buffer, HEADROOM, offload)
    }
}

impl Headers {
    /// The headers of a frame that is a segment which others can join; `None` for any other frame.
    fn of_mergeable(frame: &[u8]) -> Option<Self> {
        let ip = Ip::outermost(frame)?;
        let plain = match ip.version {
            Version::V4 => {
                let header = Ipv4Packet::new_unchecked(&frame[ip.start..]);
                let bytes = &frame[ip.start..ip.payload];
                // A checksum of 0xffff is right and is not what segmentation writes.
                ip.payload - ip.start == ipv4::HEADER_SIZE
                    && usize::from(header.total_size()) == frame.len() - ip.start
                    && !header.is_fragment()
                    && header.checksum() != 0xffff
                    && sum(bytes) == 0xffff
            }
            Version::V6 => {
                let header = Ipv6Packet::new_unchecked(&frame[ip.start..]);
                ip.payload - ip.start == ipv6::HEADER_SIZE
                    && usize::from(header.payload_size()) == frame.len() - ip.payload
            }
        };
        // The length that the header states is the real one: `ip.end` is not beyond the frame even if the
        // header says so.
        if !plain || ip.protocol != ip_proto::TCP {
            return None;
        }
        let segment = &frame[ip.payload..];
        let tcp = TcpPacket::new_checked(segment).ok()?;
        let size = segment.len() - tcp.header_size();
        let ends = flag::FIN | flag::PSH;
        if size == 0
            || tcp.header_size() - tcp::HEADER_SIZE + size < MIN_MSS
            || tcp.flags() & !ends != flag::ACK
            || tcp.checksum() == 0xffff
        {
            return None;
        }
        let (source, destination) = ip.addresses(frame);
        let pseudo = pseudo_header(source, destination, ip_proto::TCP, segment.len() as u32);
        if add(pseudo, sum(segment)) != 0xffff {
            return None;
        }
        Some(Self {
            version: ip.version,
            ip: ip.start,
            tcp: ip.payload,
            payload: ip.payload + tcp.header_size(),
            sequence: tcp.sequence(),
            identification: match ip.version {
                Version::V4 => Ipv4Packet::new_unchecked(&frame[ip.start..]).identification(),
                Version::V6 => 0,
            },
            is_last: tcp.flags() & ends != 0,
        })
    }

    /// The bytes of source and destination address.
    fn addresses(&self) -> Range<usize> {
        let field = match self.version {
            Version::V4 => ipv4::field::ADDRESSES,
            Version::V6 => ipv6::field::ADDRESSES,
        };
        self.ip + field.start..self.ip + field.end
    }

    /// The bytes of the headers that all segments of a run have in common.
    fn constant_parts(&self) -> [Range<usize>; 7] {
        let Self { ip, tcp, payload, .. } = *self;
        // Everything but the length; of IPv4 also without identification and checksum.
        let [before, between, after] = match self.version {
            Version::V4 => [0..ip + 2, ip + 6..ip + 10, ip + 12..tcp],
            Version::V6 => [0..ip + 4, ip + 6..ip + 8, ip + 8..tcp],
        };
        // Ports; acknowledgement and header size; window; urgent pointer and options.
        // Flags were looked at before.
        let (ports, middle) = (tcp..tcp + 4, tcp + 8..tcp + 13);
        let (window, rest) = (tcp + 14..tcp + 16, tcp + 18..payload);
        [before, between, after, ports, middle, window, rest]
    }
}

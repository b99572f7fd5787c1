//! The target for hostile virtio-net headers: the way of a frame whose sender left checksum or segmentation
//! work undone through a sending queue, which decides, completes and segments.
//!
//! A sending queue in memory (`ports::dummy`) runs the code that all kinds of ports share. Four of them receive
//! each frame: with and without offloads of their own, with a small and a large MTU. What comes out is checked
//! with the checksums of etherparse.

use crate::Bytes;
use etherparse::checksum::Sum16BitWords;
use flow::extract::{Arrival, extract};
use packet::wire::{eth_type, ip_proto};
use packet::{Batch, Frame, FrameId, MAX_SEGMENTS, Offload, Segmentation, VNET_HDR_SIZE};
use ports::TxQueue;
use ports::dummy::{self, Dummy, DummyOptions, SentFrame};
use std::cell::RefCell;

const ETHERNET: usize = 14;
const TAG: usize = 4;
const MTUS: [u32; 2] = [1500, 65_521];

/// What the sender of a frame lies about. Each bit is a kind of lie.
mod lie {
    pub(super) const CSUM_START: u8 = 1;
    pub(super) const CSUM_OFFSET: u8 = 1 << 1;
    pub(super) const GSO_TYPE: u8 = 1 << 2;
    pub(super) const FLAGS: u8 = 1 << 3;
    /// Bytes of the frame are changed.
    pub(super) const BYTES: u8 = 1 << 4;
    /// No lie: a rule pushes a tag before the frame is sent.
    pub(super) const PUSHED_TAG: u8 = 1 << 7;
}

/// Target: sends a frame with an arbitrary virtio-net header. Whatever that says, the frame is refused, or what
/// is sent is no larger and no more than allowed, and has the payload in order; if the header tells the truth,
/// it is sent, and all lengths and checksums are right.
///
/// The first byte of the input chooses a frame of raw bytes, which follow the header, or one of headers that
/// fit together. Then bytes choose its size, the header, and what in it is a lie.
pub fn offload(data: &[u8]) {
    let mut input = Bytes(data);
    let choice = input.byte();
    let kind = input.byte();
    if choice & 0x80 != 0 {
        let mut header = [0; VNET_HDR_SIZE];
        header.fill_with(|| input.byte());
        return send(Sent::raw(input.0.to_vec(), Offload::from_bytes(&header)));
    }
    let lies = input.byte();
    let built = Built::new(Shape::of(choice, kind), usize::from(input.number16()) % 24_000);
    let mut offload = Offload { hdr_len: input.number16(), ..Offload::NONE };
    offload.set_needs_checksum(built.transport as u16, if built.is_tcp { 16 } else { 6 });
    if choice & 0x40 != 0 {
        offload.gso_size = input.number16() % 20_000;
        offload.gso_type = match (built.is_tcp, built.is_v6(built.inner)) {
            (true, false) => 1,
            (true, true) => 4,
            (false, _) => 5,
        };
    }
    let mut bytes = built.bytes.clone();
    if lies & lie::CSUM_START != 0 {
        offload.csum_start = offload.csum_start.wrapping_add_signed(i8_of(&mut input).into());
    }
    if lies & lie::CSUM_OFFSET != 0 {
        offload.csum_offset = u16::from(input.byte());
    }
    if lies & lie::GSO_TYPE != 0 {
        offload.gso_type = input.byte();
    }
    if lies & lie::FLAGS != 0 {
        offload.flags = input.byte();
    }
    if lies & lie::BYTES != 0 {
        for _ in 0..4 {
            let at = usize::from(input.byte()) % bytes.len();
            bytes[at] ^= input.byte();
        }
        return send(Sent::raw(bytes, offload));
    }
    let is_honest = lies & !lie::PUSHED_TAG == 0;
    let pushes_tag = lies & lie::PUSHED_TAG != 0;
    send(Sent { bytes, offload, built: Some(built), is_honest, pushes_tag });
}

fn i8_of(input: &mut Bytes<'_>) -> i8 {
    input.byte() as i8
}

/// A frame that is sent, and what is known of it.
struct Sent {
    bytes: Vec<u8>,
    offload: Offload,
    /// The places of the headers; `None` if the bytes are arbitrary.
    built: Option<Built>,
    /// The virtio-net header tells the truth.
    is_honest: bool,
    pushes_tag: bool,
}

impl Sent {
    fn raw(bytes: Vec<u8>, offload: Offload) -> Self {
        Self { bytes, offload, built: None, is_honest: false, pushes_tag: false }
    }
}

/// A sending queue with its far end.
struct Wire {
    queue: Box<dyn TxQueue>,
    far: Dummy,
    takes_offload: bool,
    mtu: u32,
}

thread_local! {
    static WIRES: RefCell<Vec<Wire>> = RefCell::new(wires());
}

fn wires() -> Vec<Wire> {
    let kinds = MTUS.into_iter().flat_map(|mtu| [(mtu, false), (mtu, true)]);
    let wire = |(mtu, takes_offload)| {
        let options = DummyOptions { mtu, takes_offload, ..DummyOptions::default() };
        let (mut port, far) = dummy::open("fuzz", options).expect("a pipe can be opened");
        let queue = port.take_queues().tx.pop().expect("one worker has a queue");
        Wire { queue, far, takes_offload, mtu }
    };
    kinds.map(wire).collect()
}

fn send(mut sent: Sent) {
    if sent.pushes_tag {
        sent.push_tag();
    }
    WIRES.with_borrow_mut(|wires| wires.iter_mut().for_each(|wire| wire.send(&sent)));
}

impl Sent {
    fn frame(&self) -> Frame<'static> {
        let mut frame = Frame::owned(&self.bytes, self.offload);
        frame.layers = extract(Arrival::default(), &self.bytes, 2).1;
        frame
    }

    /// Has an edit push a tag, which moves all headers.
    fn push_tag(&mut self) {
        let mut frame = self.frame();
        if frame.push_tag(eth_type::VLAN, 5) {
            (self.bytes, self.offload) = (frame.bytes().to_vec(), frame.offload);
            self.built.iter_mut().for_each(|built| built.shift(TAG));
        }
    }
}

impl Wire {
    fn send(&mut self, sent: &Sent) {
        let mut batch = Batch::new();
        batch.push(sent.frame());
        let mut failures = Vec::new();
        let made = self.queue.send(&mut batch, &[FrameId::received(0)], &mut failures);
        let out = self.far.sent();
        assert!(made <= MAX_SEGMENTS && out.len() <= MAX_SEGMENTS);
        if let Some((_, failure)) = failures.first() {
            assert!(out.is_empty(), "a frame is sent whole or not at all");
            assert!(!self.must_send(sent), "{failure}: {:?}", sent.offload);
            return;
        }
        assert!(!out.is_empty());
        let largest = self.mtu as usize + ETHERNET + TAG;
        assert!(sent.offload.is_gso() || out[0].bytes.len() <= largest);
        match &out[..] {
            [whole] if !whole.offload.is_complete() => self.check_whole(sent, whole),
            segments if sent.offload.is_gso() => {
                assert!(segments.iter().all(|segment| segment.bytes.len() <= largest));
                check_segments(sent, segments);
            }
            [whole] => check_completed(sent, &whole.bytes),
            _ => panic!("{} frames of one", out.len()),
        }
    }

    /// Whether there is no reason to refuse the frame.
    fn must_send(&self, sent: &Sent) -> bool {
        let (Some(built), true) = (&sent.built, sent.is_honest) else {
            return false;
        };
        let (header, limit) = (built.payload(), self.mtu as usize + ETHERNET);
        let payload = sent.bytes.len() - header;
        let size = usize::from(sent.offload.gso_size);
        if !sent.offload.is_gso() {
            return sent.bytes.len() <= limit;
        }
        let is_tiny = built.is_tcp && size < packet::MIN_MSS && payload > size;
        let count = payload.div_ceil(size.max(1));
        size > 0 && !is_tiny && count <= MAX_SEGMENTS && header + size.min(payload) <= limit
    }

    /// The port takes the rest of the work on: the bytes are as they were, and the header is one of a kind that
    /// kernels and devices understand.
    fn check_whole(&self, sent: &Sent, out: &SentFrame) {
        assert!(self.takes_offload);
        assert_eq!(out.bytes, sent.bytes);
        let Offload { gso_type, gso_size, csum_start, csum_offset, .. } = sent.offload;
        assert!(out.offload.needs_checksum());
        assert_eq!((out.offload.csum_start, out.offload.csum_offset), (csum_start, csum_offset));
        if sent.offload.is_gso() {
            assert_eq!((out.offload.gso_type, out.offload.gso_size), (gso_type, gso_size));
            let frame = sent.frame();
            let header = Segmentation::new(&frame).expect("the port can segment it").header_size();
            assert_eq!(usize::from(out.offload.hdr_len), header);
        }
    }
}

/// The segments have the payload in order, and no more of it in each than was asked for. If it is known where
/// the headers are, all lengths and checksums are right.
fn check_segments(sent: &Sent, segments: &[SentFrame]) {
    let frame = sent.frame();
    let header = Segmentation::new(&frame).expect("it was segmented").header_size();
    let mut rest = &sent.bytes[header..];
    for (index, segment) in segments.iter().enumerate() {
        assert!(segment.offload.is_complete());
        let payload = &segment.bytes[header..];
        let is_last = index + 1 == segments.len();
        let size = usize::from(sent.offload.gso_size);
        assert!(payload.len() == size || is_last && payload.len() <= size);
        rest = rest.strip_prefix(payload).expect("the payload is in order");
        if let Some(built) = sent.built.as_ref().filter(|built| built.payload() == header) {
            built.check(&segment.bytes);
            built.check_numbers(&segment.bytes, index, size);
        }
    }
    if sent.built.is_some() {
        assert!(rest.is_empty(), "nothing is lost");
    }
}

/// Only a checksum was written, behind everything that rules match of the outermost headers; if the sender told
/// the truth, it is the right one.
fn check_completed(sent: &Sent, bytes: &[u8]) {
    assert_eq!(bytes.len(), sent.bytes.len());
    let Offload { csum_start, csum_offset, .. } = sent.offload;
    let place = usize::from(csum_start) + usize::from(csum_offset);
    // SCTP has four bytes.
    let places = place..place + 4;
    for (at, (new, old)) in bytes.iter().zip(&sent.bytes).enumerate() {
        assert!(new == old || sent.offload.needs_checksum() && places.contains(&at), "byte {at}");
    }
    if let Some(built) = &sent.built {
        let matched = built.headers[0].payload() + 4;
        assert_eq!(bytes[..matched], sent.bytes[..matched]);
        if sent.is_honest {
            built.check(bytes);
        }
    }
}

/// What is between the outermost Ethernet header and the transport header that the work is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tunnel {
    None,
    Vxlan,
    Geneve,
    Gre,
    GreWithChecksum,
    Ip,
}

/// Which headers a frame has.
#[derive(Clone, Copy)]
struct Shape {
    tunnel: Tunnel,
    is_tcp: bool,
    is_outer_v6: bool,
    is_inner_v6: bool,
    is_tagged: bool,
    /// The datagrams of the tunnel have checksums.
    has_outer_checksum: bool,
}

impl Shape {
    fn of(choice: u8, kind: u8) -> Self {
        let bit = |n: u8| kind >> n & 1 != 0;
        let tunnel = match choice & 7 {
            0..=2 => Tunnel::None,
            3 => Tunnel::Vxlan,
            4 => Tunnel::Geneve,
            5 => Tunnel::Gre,
            6 => Tunnel::GreWithChecksum,
            _ => Tunnel::Ip,
        };
        Self {
            tunnel,
            is_tcp: bit(0),
            is_outer_v6: bit(1),
            is_inner_v6: bit(2),
            is_tagged: bit(3),
            has_outer_checksum: bit(4),
        }
    }
}

/// An IP header in a frame, without options.
#[derive(Clone, Copy)]
struct Ip {
    start: usize,
    is_v6: bool,
}

impl Ip {
    fn payload(self) -> usize {
        self.start + if self.is_v6 { 40 } else { 20 }
    }

    /// Bytes of the pseudo header for the packet that ends with `bytes`.
    fn pseudo_header(self, bytes: &[u8], protocol: u8) -> Vec<u8> {
        let addresses = if self.is_v6 { 8..40 } else { 12..20 };
        let mut pseudo = bytes[self.start..][addresses].to_vec();
        pseudo.extend([0, protocol]);
        let size = bytes.len() - self.payload();
        pseudo.extend((size as u16).to_be_bytes());
        pseudo
    }
}

/// A frame that was made with one pattern of headers.
struct Built {
    bytes: Vec<u8>,
    /// The IP headers, the outermost one first.
    headers: Vec<Ip>,
    inner: usize,
    tunnel: Tunnel,
    is_tcp: bool,
    has_outer_checksum: bool,
    /// Offset of the transport header that the work is about.
    transport: usize,
}

impl Built {
    fn new(shape: Shape, payload: usize) -> Self {
        let mut frame = vec![2; 12];
        if shape.is_tagged {
            frame.extend([0x81, 0, 0, 7]);
        }
        let protocol = if shape.is_tcp { ip_proto::TCP } else { ip_proto::UDP };
        let ethertype = |is_v6| if is_v6 { eth_type::IPV6 } else { eth_type::IPV4 }.to_be_bytes();
        let mut headers = Vec::new();
        if shape.tunnel != Tunnel::None {
            frame.extend(ethertype(shape.is_outer_v6));
            let carried = match shape.tunnel {
                Tunnel::Gre | Tunnel::GreWithChecksum => ip_proto::GRE,
                Tunnel::Ip if shape.is_inner_v6 => ip_proto::IPV6,
                Tunnel::Ip => ip_proto::IPV4,
                _ => ip_proto::UDP,
            };
            headers.push(push_ip(&mut frame, shape.is_outer_v6, carried));
            let inner = ethertype(shape.is_inner_v6);
            match shape.tunnel {
                Tunnel::Vxlan => {
                    frame.extend([0x12, 0x34, 0x12, 0xb5, 0, 0, 0, 0]);
                    frame.extend([8, 0, 0, 0, 0, 0, 9, 0]);
                    frame.extend([[4; 6], [6; 6]].concat());
                    frame.extend(inner);
                }
                Tunnel::Geneve => {
                    frame.extend([0x12, 0x34, 0x17, 0xc1, 0, 0, 0, 0]);
                    frame.extend([0, 0, 0x65, 0x58, 0, 0, 9, 0]);
                    frame.extend([[4; 6], [6; 6]].concat());
                    frame.extend(inner);
                }
                Tunnel::Gre => frame.extend([0, 0, inner[0], inner[1]]),
                Tunnel::GreWithChecksum => {
                    frame.extend([0x80, 0, inner[0], inner[1], 0, 0, 0, 0]);
                }
                Tunnel::Ip | Tunnel::None => {}
            }
        } else {
            frame.extend(ethertype(shape.is_inner_v6));
        }
        headers.push(push_ip(&mut frame, shape.is_inner_v6, protocol));
        let transport = frame.len();
        if shape.is_tcp {
            frame.extend([
                0, 80, 4, 0, 0xff, 0xff, 0xf0, 0, 0, 0, 0, 1, 0x50, 0x99, 1, 0, 0, 0, 0, 0,
            ]);
        } else {
            frame.extend([0, 80, 4, 0, 0, 0, 0, 0]);
        }
        frame.extend((0..payload).map(|i| (i ^ i >> 8) as u8));
        let Shape { tunnel, is_tcp, has_outer_checksum, .. } = shape;
        let inner = headers.len() - 1;
        let mut built =
            Self { bytes: frame, headers, inner, tunnel, is_tcp, has_outer_checksum, transport };
        built.fill();
        built
    }

    fn is_v6(&self, header: usize) -> bool {
        self.headers[header].is_v6
    }

    /// Offset of the payload behind the transport header.
    fn payload(&self) -> usize {
        self.transport + if self.is_tcp { 20 } else { 8 }
    }

    /// The headers have moved by a tag that was pushed.
    fn shift(&mut self, by: usize) {
        self.headers.iter_mut().for_each(|ip| ip.start += by);
        self.transport += by;
    }

    fn protocol(&self) -> u8 {
        if self.is_tcp { ip_proto::TCP } else { ip_proto::UDP }
    }

    /// Offset of the transport checksum.
    fn checksum_at(&self) -> usize {
        self.transport + if self.is_tcp { 16 } else { 6 }
    }

    /// Writes lengths and checksums. The inner transport checksum is the sum of the pseudo header only, and
    /// those around it are as if it were complete.
    fn fill(&mut self) {
        let end = self.bytes.len();
        for ip in self.headers.clone() {
            let (at, size) = match ip.is_v6 {
                true => (ip.start + 4, end - ip.payload()),
                false => (ip.start + 2, end - ip.start),
            };
            self.write(at, size as u16);
            if !ip.is_v6 {
                let checksum = ones_complement(&[&self.bytes[ip.start..ip.payload()]]);
                self.write(ip.start + 10, checksum);
            }
        }
        if !self.is_tcp {
            self.write(self.transport + 4, (end - self.transport) as u16);
        }
        let inner = self.headers[self.inner];
        let pseudo = inner.pseudo_header(&self.bytes, self.protocol());
        let checksum = ones_complement(&[&pseudo, &self.bytes[self.transport..]]);
        self.write(self.checksum_at(), if checksum == 0 { 0xffff } else { checksum });
        let outer = self.headers[0];
        let at = outer.payload();
        match self.tunnel {
            Tunnel::Vxlan | Tunnel::Geneve => {
                self.write(at + 4, (end - at) as u16);
                if self.has_outer_checksum {
                    let pseudo = outer.pseudo_header(&self.bytes, ip_proto::UDP);
                    let checksum = ones_complement(&[&pseudo, &self.bytes[at..]]);
                    self.write(at + 6, if checksum == 0 { 0xffff } else { checksum });
                }
            }
            Tunnel::GreWithChecksum => {
                let checksum = ones_complement(&[&self.bytes[at..]]);
                self.write(at + 4, checksum);
            }
            _ => {}
        }
        self.write(self.checksum_at(), !ones_complement(&[&pseudo]));
    }

    fn write(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }

    /// Checks lengths and checksums of all headers in a frame that has the headers of this one.
    fn check(&self, bytes: &[u8]) {
        let size_at = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        for ip in &self.headers {
            if ip.is_v6 {
                assert_eq!(size_at(ip.start + 4), bytes.len() - ip.payload());
            } else {
                assert_eq!(size_at(ip.start + 2), bytes.len() - ip.start);
                assert_eq!(ones_complement(&[&bytes[ip.start..ip.payload()]]), 0, "IP checksum");
            }
        }
        if !self.is_tcp {
            assert_eq!(size_at(self.transport + 4), bytes.len() - self.transport);
        }
        let pseudo = self.headers[self.inner].pseudo_header(bytes, self.protocol());
        let checksum = ones_complement(&[&pseudo, &bytes[self.transport..]]);
        assert_eq!(checksum, 0, "transport checksum");
        let outer = self.headers[0];
        let carried = &bytes[outer.payload()..];
        match self.tunnel {
            Tunnel::Vxlan | Tunnel::Geneve => {
                assert_eq!(size_at(outer.payload() + 4), carried.len());
                assert_eq!(carried[6..8] != [0, 0], self.has_outer_checksum);
                if self.has_outer_checksum {
                    let pseudo = outer.pseudo_header(bytes, ip_proto::UDP);
                    assert_eq!(ones_complement(&[&pseudo, carried]), 0, "checksum of the tunnel");
                }
            }
            Tunnel::GreWithChecksum => assert_eq!(ones_complement(&[carried]), 0, "GRE checksum"),
            _ => {}
        }
    }

    /// Checks the numbers that differ from segment to segment: IP identifications and TCP sequence numbers.
    fn check_numbers(&self, segment: &[u8], index: usize, size: usize) {
        for ip in self.headers.iter().filter(|ip| !ip.is_v6) {
            let id = |bytes: &[u8]| u16::from_be_bytes([bytes[ip.start + 4], bytes[ip.start + 5]]);
            assert_eq!(id(segment), IDENTIFICATION.wrapping_add(index as u16));
        }
        if self.is_tcp {
            let at = self.transport + 4;
            let sequence = segment[at..].first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
            assert_eq!(sequence, Some(SEQUENCE.wrapping_add((index * size) as u32)));
        }
    }
}

/// The identification of the IPv4 headers of frames that are made.
const IDENTIFICATION: u16 = 0xfffe;
/// The sequence number in the TCP headers of frames that are made.
const SEQUENCE: u32 = 0xffff_f000;

/// Appends an IP header without length and checksum.
fn push_ip(frame: &mut Vec<u8>, is_v6: bool, protocol: u8) -> Ip {
    let start = frame.len();
    if is_v6 {
        frame.extend([0x60, 0, 0, 0, 0, 0, protocol, 64]);
        frame.extend([[0xfd; 16], [0xfe; 16]].concat());
    } else {
        frame.extend([0x45, 0, 0, 0]);
        frame.extend(IDENTIFICATION.to_be_bytes());
        frame.extend([0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    }
    Ip { start, is_v6 }
}

/// The complement of the sum of parts, of which all but the last have an even number of bytes; 0 if the parts
/// include their right checksum.
fn ones_complement(parts: &[&[u8]]) -> u16 {
    let sum = parts.iter().fold(Sum16BitWords::new(), |sum, part| sum.add_slice(part));
    u16::from_be(sum.ones_complement())
}

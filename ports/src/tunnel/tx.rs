//! Sends the frames of a tunnel port.
//!
//! A frame gets the tunnel's header, and becomes a datagram; a large frame is cut into segments first, each of
//! which becomes one. All of these lie behind one another in one buffer. Successive datagrams of one socket and
//! one remote end that have equal sizes are one message for the kernel (`UDP_SEGMENT`), so that a large frame
//! of TCP takes one or two messages.

use super::devices::TunnelGroup;
use super::path::{Asking, Obstacle, Path, PathState, Paths};
use super::sockets::DEFAULT_TTL;
use super::target::TunnelKind;
use super::wrap::{append_header, finish};
use crate::sys::datagram::{DatagramSender, ToSend};
use crate::{PortStatus, TxFailure, TxQueue};
use packet::answer_too_long;
use packet::wire::{ethernet, ip_proto, ipv4, ipv6, udp};
use packet::{Batch, Frame, FrameId, Segmentation, TunnelKey, complete_bytes, limit_segments};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Datagrams that one message has at most (the limit of older kernels).
const MAX_GROUP: usize = 64;
/// Bytes that one message has at most: with the headers in front they stay below 65,536, beyond which the
/// kernel would cut them itself.
const MAX_GROUP_SIZE: usize = 65_000;
/// A queue tells senders at most [`MAX_ANSWERS`] times in this interval that their packets are too long.
const ANSWER_INTERVAL: Duration = Duration::from_millis(100);
const MAX_ANSWERS: u32 = 10;
/// Messages of one system call.
const MAX_MESSAGES: usize = 64;

/// The sockets of one version of IP that a queue sends from.
pub(super) struct Lanes {
    /// A frame goes through the socket that a hash of its flow chooses.
    pub(super) sockets: Arc<Vec<OwnedFd>>,
    /// Asks the kernel for ways.
    pub(super) asking: Arc<Asking>,
}

/// A send queue of a tunnel port.
pub(super) struct TunnelTx {
    pub(super) kind: TunnelKind,
    pub(super) udp_port: u16,
    pub(super) mark: u32,
    pub(super) group: TunnelGroup,
    pub(super) has_checksum: bool,
    pub(super) dont_fragment: bool,
    /// For remote ends with IPv4 addresses and with IPv6 addresses.
    pub(super) v4: Option<Lanes>,
    pub(super) v6: Option<Lanes>,
    pub(super) state: Arc<PathState>,
    /// Learns which MTU the way leaves for packets inside the tunnel.
    pub(super) status: Arc<PortStatus>,
    pub(super) work: Work,
}

/// What a queue needs while it sends, kept so that it need not be allocated each time.
pub(super) struct Work {
    sender: DatagramSender,
    paths: Paths,
    /// The frames in the order in which they are sent.
    order: Vec<Ordered>,
    /// The places in the queue of the frames of one socket.
    places: Vec<usize>,
    /// Those of frames that were too long for what was known of the way, and are cut anew.
    again: Vec<usize>,
    /// The tunnel's header of a frame.
    header: Vec<u8>,
    /// Datagrams, one behind the other.
    bytes: Vec<u8>,
    datagrams: Vec<Datagram>,
    messages: Vec<ToSend>,
    /// The datagrams of each message.
    members: Vec<Range<usize>>,
    /// Why frames were not sent, by their places in the queue.
    failed: Vec<(usize, TxFailure)>,
    /// Frames that tell senders of packets that were too long, as if they had come through the tunnel.
    answers: Vec<(TunnelKey, Vec<u8>)>,
    /// How many answers there may be before `answers_until`.
    answers_left: u32,
    answers_until: Option<Instant>,
}

impl Work {
    /// Tells the sender of a frame that packets of more than `room` bytes, link header included, do not fit.
    #[cold]
    fn answer(&mut self, frame: &Frame<'_>, key: &TunnelKey, room: u32, now: Instant) {
        if self.answers_until.is_none_or(|until| now >= until) {
            self.answers_until = Some(now + ANSWER_INTERVAL);
            self.answers_left = MAX_ANSWERS;
        }
        if self.answers_left == 0 {
            return;
        }
        if let Some(answer) = answer_too_long(frame.bytes(), room as usize) {
            self.answers_left -= 1;
            let (source, destination) = (key.destination, key.source);
            self.answers.push((TunnelKey { source, destination, tos: 0, ..key.clone() }, answer));
        }
    }
}

impl Default for Work {
    fn default() -> Self {
        Self {
            sender: DatagramSender::new(MAX_MESSAGES),
            paths: Paths::default(),
            order: Vec::new(),
            places: Vec::new(),
            again: Vec::new(),
            header: Vec::new(),
            bytes: Vec::new(),
            datagrams: Vec::new(),
            messages: Vec::new(),
            members: Vec::new(),
            failed: Vec::new(),
            answers: Vec::new(),
            answers_left: 0,
            answers_until: None,
        }
    }
}

/// A frame with what decides about its place in the order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ordered {
    is_v6: bool,
    lane: u8,
    /// Brings frames with equal outer headers together.
    key_hash: u16,
    /// The place of the frame in the queue.
    place: usize,
}

/// A datagram that is ready to be sent.
#[derive(Clone, Debug)]
struct Datagram {
    bytes: Range<usize>,
    /// The place of its frame in the queue.
    place: usize,
}

/// What became of a frame that was to be wrapped.
enum Wrapped {
    Ready,
    Failed(TxFailure),
}

impl TxQueue for TunnelTx {
    fn send(
        &mut self,
        _batch: &mut Batch<'_>,
        ids: &[FrameId],
        failures: &mut Vec<(FrameId, TxFailure)>,
    ) -> usize {
        // Nobody has said where to.
        failures.extend(ids.iter().map(|id| (*id, TxFailure::NoRoute)));
        0
    }

    fn send_tunneled(
        &mut self,
        batch: &mut Batch<'_>,
        ids: &[FrameId],
        keys: &[TunnelKey],
        failures: &mut Vec<(FrameId, TxFailure)>,
    ) -> usize {
        let now = Instant::now();
        let mut work = std::mem::take(&mut self.work);
        self.put_in_order(&mut work, batch, ids, keys);
        let order = std::mem::take(&mut work.order);
        let mut segments = 0;
        for run in order.chunk_by(|a, b| (a.is_v6, a.lane) == (b.is_v6, b.lane)) {
            segments += self.send_lane(&mut work, batch, ids, keys, run, now);
        }
        work.order = order;
        work.failed.sort_by_key(|(place, _)| *place);
        work.failed.dedup_by_key(|(place, _)| *place);
        failures.extend(work.failed.drain(..).map(|(place, failure)| (ids[place], failure)));
        self.work = work;
        segments
    }

    fn take_answers(&mut self) -> Vec<(TunnelKey, Vec<u8>)> {
        std::mem::take(&mut self.work.answers)
    }
}

impl TunnelTx {
    fn lanes(&self, is_v6: bool) -> Option<&Lanes> {
        if is_v6 { self.v6.as_ref() } else { self.v4.as_ref() }
    }

    fn put_in_order(
        &self,
        work: &mut Work,
        batch: &Batch<'_>,
        ids: &[FrameId],
        keys: &[TunnelKey],
    ) {
        work.order.clear();
        for (place, (id, key)) in ids.iter().zip(keys).enumerate() {
            let is_v6 = key.destination.is_ipv6();
            let Some(lanes) = self.lanes(is_v6) else {
                work.failed.push((place, TxFailure::NoRoute));
                continue;
            };
            let lane = match lanes.sockets.len() {
                1 => 0,
                count => (flow_hash(batch.frame(*id)) % count as u64) as u8,
            };
            work.order.push(Ordered { is_v6, lane, key_hash: key_hash(key), place });
        }
        work.order.sort_unstable();
    }

    /// Sends the frames of one socket.
    fn send_lane(
        &self,
        work: &mut Work,
        batch: &mut Batch<'_>,
        ids: &[FrameId],
        keys: &[TunnelKey],
        frames: &[Ordered],
        now: Instant,
    ) -> usize {
        let Some(first) = frames.first() else { return 0 };
        let Some(lanes) = self.lanes(first.is_v6) else { return 0 };
        let socket = &lanes.sockets[usize::from(first.lane)];
        let mut segments = 0;
        let mut places = std::mem::take(&mut work.places);
        places.clear();
        places.extend(frames.iter().map(|frame| frame.place));
        work.again.clear();
        for is_second in [false, true] {
            if is_second {
                std::mem::swap(&mut places, &mut work.again);
            }
            if places.is_empty() {
                break;
            }
            work.bytes.clear();
            work.datagrams.clear();
            work.messages.clear();
            work.members.clear();
            for &place in &places {
                let key = &keys[place];
                let path =
                    work.paths.path(&lanes.asking, self.group, key.destination, now, &self.state);
                if let Some(obstacle) = path.obstacle {
                    let failure = match obstacle {
                        Obstacle::OwnPort => TxFailure::Loop,
                        Obstacle::OwnAddress => TxFailure::ToSelf,
                    };
                    work.failed.push((place, failure));
                    continue;
                }
                let from = work.datagrams.len();
                match self.wrap(work, batch.frame_mut(ids[place]), key, path, place) {
                    Wrapped::Ready => {
                        // To cut large frames is what each of them needs here, and no reason to keep its sender
                        // waiting, unless the segments are tiny.
                        let made = work.datagrams.len() - from;
                        segments += if made > MAX_GROUP { made } else { 0 };
                        self.group(work, from, key, path);
                    }
                    Wrapped::Failed(failure) => {
                        work.failed.push((place, failure));
                        if let TxFailure::ExceedsPath { mtu, .. } = failure {
                            work.answer(batch.frame(ids[place]), key, mtu, now);
                        }
                    }
                }
            }
            self.send_messages(work, socket, lanes, now, is_second);
        }
        work.places = places;
        segments
    }

    /// Appends the datagrams of a frame.
    fn wrap(
        &self,
        work: &mut Work,
        frame: &mut Frame<'_>,
        key: &TunnelKey,
        path: Path,
        place: usize,
    ) -> Wrapped {
        if frame.size() < ethernet::HEADER_SIZE {
            return Wrapped::Failed(TxFailure::TooShort);
        }
        if !packet::checksum_is_in_place(frame) {
            return Wrapped::Failed(TxFailure::NoOffload);
        }
        let mut header = std::mem::take(&mut work.header);
        header.clear();
        append_header(self.kind, key, self.has_checksum, &mut header);
        let room = self.room(key, path, header.len());
        let inner_mtu = room.saturating_sub(ethernet::HEADER_SIZE) as u32;
        if self.status.mtu() != inner_mtu {
            self.status.set_mtu(inner_mtu);
        }
        let offload = frame.offload;
        if self.dont_fragment {
            limit_segments(frame, room);
        }
        let wrapped = self.append(work, frame, &header, room, place);
        work.header = header;
        frame.offload = offload;
        wrapped
    }

    /// Bytes of the largest frame that fits into a packet on the way.
    fn room(&self, key: &TunnelKey, path: Path, header: usize) -> usize {
        let ip = if key.destination.is_ipv6() { ipv6::HEADER_SIZE } else { ipv4::HEADER_SIZE };
        let udp = if self.kind.is_over_udp() { udp::HEADER_SIZE } else { 0 };
        (path.mtu as usize).saturating_sub(ip + udp + header)
    }

    fn append(
        &self,
        work: &mut Work,
        frame: &Frame<'_>,
        header: &[u8],
        room: usize,
        place: usize,
    ) -> Wrapped {
        let Work { bytes, datagrams, .. } = work;
        if frame.offload.is_gso() {
            let Ok(segmentation) = Segmentation::new(frame) else {
                return Wrapped::Failed(TxFailure::NoOffload);
            };
            for index in 0..segmentation.count() {
                let start = bytes.len();
                bytes.extend_from_slice(header);
                segmentation.append_segment(index, bytes);
                finish(self.kind, self.has_checksum, &mut bytes[start..]);
                datagrams.push(Datagram { bytes: start..bytes.len(), place });
            }
            return Wrapped::Ready;
        }
        if self.dont_fragment && frame.size() > room {
            let (size, mtu) = (frame.size() as u32, room as u32);
            return Wrapped::Failed(TxFailure::ExceedsPath { size, mtu });
        }
        let start = bytes.len();
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(frame.bytes());
        if complete_bytes(&mut bytes[start + header.len()..], frame.offload).is_err() {
            bytes.truncate(start);
            return Wrapped::Failed(TxFailure::NoOffload);
        }
        finish(self.kind, self.has_checksum, &mut bytes[start..]);
        datagrams.push(Datagram { bytes: start..bytes.len(), place });
        Wrapped::Ready
    }

    /// Makes messages of the datagrams from `from` on, which belong to one frame, or lets
    /// them join the last message.
    fn group(&self, work: &mut Work, from: usize, key: &TunnelKey, path: Path) {
        let joins = self.kind.is_over_udp() && self.has_checksum && path.sends_groups();
        let Work { datagrams, messages, members, .. } = work;
        for (index, datagram) in datagrams.iter().enumerate().skip(from) {
            let message = self.message(datagram.bytes.clone(), key);
            let size = datagram.bytes.len();
            if joins
                && let Some((last, of_last)) = messages.last_mut().zip(members.last_mut())
                && can_join(last, of_last, &message, size)
            {
                last.segment_size.get_or_insert(last.bytes.len() as u16);
                last.bytes.end = datagram.bytes.end;
                of_last.end = index + 1;
                continue;
            }
            messages.push(message);
            members.push(index..index + 1);
        }
    }

    fn message(&self, bytes: Range<usize>, key: &TunnelKey) -> ToSend {
        ToSend {
            bytes,
            segment_size: None,
            to: SocketAddr::new(key.destination, self.udp_port),
            from: Some(key.source).filter(|source| !source.is_unspecified()),
            tos: key.tos,
            ttl: Some(key.ttl).filter(|ttl| !matches!(*ttl, 0 | DEFAULT_TTL)),
            mark: self.mark,
        }
    }

    /// Sends the messages that are ready. Frames that the kernel finds too long come into `work.again`, but for
    /// the second time.
    fn send_messages(
        &self,
        work: &mut Work,
        socket: &OwnedFd,
        lanes: &Lanes,
        now: Instant,
        is_second: bool,
    ) {
        let mut at = 0;
        while at < work.messages.len() {
            let error = match work.sender.send(socket.as_fd(), &work.bytes, &work.messages[at..]) {
                Ok(sent) => {
                    at += sent.max(1);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let places = work.datagrams[work.members[at].clone()].iter().map(|d| d.place);
            let mut places: Vec<usize> = places.collect();
            places.dedup();
            let remote = work.messages[at].to.ip();
            let is_group = work.messages[at].segment_size.is_some();
            let code = error.raw_os_error().unwrap_or_default();
            match code {
                libc::EMSGSIZE if !is_second => {
                    work.paths.ask_again(&lanes.asking, self.group, remote, now, &self.state);
                    work.again.extend(places);
                }
                libc::EIO | libc::EINVAL if is_group => {
                    work.paths.refuse_groups(remote, now, &self.state);
                    self.split(work, at);
                    continue;
                }
                libc::EAGAIN | libc::ENOBUFS => {
                    // The messages behind this one would find the buffer as full.
                    let rest = work.members[at].start;
                    let places = work.datagrams[rest..].iter().map(|d| d.place);
                    work.failed.extend(places.map(|place| (place, TxFailure::QueueFull)));
                    return;
                }
                code => {
                    let size = places.first().map_or(0, |_| work.messages[at].bytes.len() as u32);
                    let failure = failure(code, size, work.paths.known_mtu(remote));
                    work.failed.extend(places.into_iter().map(|place| (place, failure)));
                }
            }
            at += 1;
        }
    }

    /// Makes messages of one datagram each of a message with several.
    fn split(&self, work: &mut Work, at: usize) {
        let Work { datagrams, messages, members, .. } = work;
        let whole = messages[at].clone();
        let range = members[at].clone();
        let single = |index: usize| ToSend {
            bytes: datagrams[index].bytes.clone(),
            segment_size: None,
            ..whole.clone()
        };
        messages.splice(at..=at, range.clone().map(single));
        members.splice(at..=at, range.map(|index| index..index + 1));
    }
}

/// Whether a datagram of `size` bytes, which lies behind those of `last`, can be sent in the same message.
fn can_join(last: &ToSend, members: &Range<usize>, next: &ToSend, size: usize) -> bool {
    let segment_size = last.segment_size.map_or(last.bytes.len(), usize::from);
    let is_alike =
        (last.to, last.from, last.tos, last.ttl) == (next.to, next.from, next.tos, next.ttl);
    is_alike
        && size <= segment_size
        // A shorter datagram is the last one.
        && last.bytes.len() == members.len() * segment_size
        && members.len() < MAX_GROUP
        && last.bytes.len() + size <= MAX_GROUP_SIZE
        && last.bytes.end == next.bytes.start
}

/// What an error of sending means for a frame.
fn failure(code: i32, size: u32, mtu: u32) -> TxFailure {
    match code {
        libc::EMSGSIZE => TxFailure::ExceedsPath { size, mtu },
        libc::ENETUNREACH
        | libc::EHOSTUNREACH
        | libc::ENETDOWN
        | libc::EINVAL
        | libc::EADDRNOTAVAIL => TxFailure::NoRoute,
        libc::EPERM | libc::EACCES => TxFailure::Refused,
        code => TxFailure::Other(code),
    }
}

/// A hash of the frame's flow: of addresses, protocol and ports of an IP packet, of MAC addresses otherwise.
fn flow_hash(frame: &Frame<'_>) -> u64 {
    let bytes = frame.bytes();
    let (l3, l4) = (usize::from(frame.layers.l3), usize::from(frame.layers.l4));
    let mut hash = 0;
    let mut mix = |range: Range<usize>| {
        for word in bytes.get(range).unwrap_or_default().chunks(8) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            hash = (hash ^ u64::from_le_bytes(padded)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 32;
        }
    };
    match bytes.get(l3).map(|byte| byte >> 4) {
        Some(4) if l3 != 0 => mix(l3 + 12..l3 + 20),
        Some(6) if l3 != 0 => mix(l3 + 8..l3 + 40),
        _ => mix(0..12),
    }
    let has_ports = |protocol| matches!(protocol, ip_proto::TCP | ip_proto::UDP | ip_proto::SCTP);
    let protocol = match bytes.get(l3).map(|byte| byte >> 4) {
        Some(4) => bytes.get(l3 + 9),
        _ => bytes.get(l3 + 6),
    };
    if l4 != 0 && protocol.is_some_and(|protocol| has_ports(*protocol)) {
        mix(l4..l4 + 4);
    }
    hash
}

/// Brings frames with equal outer headers together, whatever else it brings together.
fn key_hash(key: &TunnelKey) -> u16 {
    let address = match key.destination {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits ^ bits >> 64) as u32
        }
    };
    let mixed = (u64::from(address) ^ key.id << 20 ^ u64::from(key.tos) << 12)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as u16
}

//! Receives the frames of all tunnel ports of an endpoint.
//!
//! One call receives up to [`BUFFERS`] buffers, each with up to 64 datagrams of one remote. All of these are
//! taken apart at once and wait here. Each batch has frames of one port: successive ones, as far as there are
//! any and the batch has room.

use super::demux::{DemuxReader, Member, TunnelRefusal};
use super::target::TunnelKind;
use super::unwrap::{behind_ipv4, unwrap};
use crate::sys::datagram::{DatagramReceiver, Received};
use crate::{PortError, RxQueue, RxStats};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use packet::{
    Batch, Frame, HEADROOM, Merger, Offload, TunnelKey, Tunneled, ecn, uncut_datagrams,
    unfinished_work,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buffers that one call fills. More of them bring nothing.
const BUFFERS: usize = 8;
/// Bytes of a buffer: the largest datagram, or group of merged ones, that the kernel hands over.
const BUFFER_SIZE: usize = 65_536;
/// Bytes by which a frame may exceed the port's MTU and still be one that somebody has cut:
/// Ethernet header and two tags.
const LINK_HEADERS: usize = 14 + 8;

/// The place of a frame that waits.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In a receive buffer.
    Buffer { buffer: usize, start: usize, end: usize, offload: Offload },
    /// In a buffer of the merger.
    Merged { index: usize },
}

/// A frame that waits for its batch.
#[derive(Debug)]
struct Waiting {
    member: Arc<Member>,
    place: Place,
}

/// The receive queue of an endpoint.
pub(super) struct TunnelRx {
    kind: TunnelKind,
    is_v6: bool,
    socket: OwnedFd,
    demux: DemuxReader,
    receiver: DatagramReceiver,
    received: Vec<Received>,
    merger: Merger,
    /// Merged frames: their buffers, which begin with headroom, and the work that is left to do.
    merged: Vec<(Vec<u8>, Offload)>,
    waiting: Vec<Waiting>,
    /// What the outer headers of the waiting frames say, in the same order.
    keys: Vec<TunnelKey>,
    /// The number of waiting frames that were handed over in batches.
    handed: usize,
    stats: RxStats,
    /// Datagrams that no port takes: damaged ones, those of another protocol, and those
    /// with other keys or addresses.
    strays: Arc<AtomicU64>,
    /// What the kernel had counted of lost datagrams the last time.
    lost: u32,
}

impl TunnelRx {
    pub(super) fn new(
        kind: TunnelKind,
        is_v6: bool,
        socket: OwnedFd,
        demux: DemuxReader,
        strays: Arc<AtomicU64>,
    ) -> Self {
        Self {
            kind,
            is_v6,
            socket,
            demux,
            receiver: DatagramReceiver::new(BUFFERS, BUFFER_SIZE),
            received: Vec::with_capacity(BUFFERS),
            merger: Merger::default(),
            merged: Vec::new(),
            waiting: Vec::new(),
            keys: Vec::new(),
            handed: 0,
            stats: RxStats::default(),
            strays,
            lost: 0,
        }
    }

    /// Receives and takes apart what is there. Nothing waits before.
    fn refill(&mut self) -> Result<(), PortError> {
        self.waiting.clear();
        self.keys.clear();
        self.received.clear();
        self.handed = 0;
        for (buffer, _) in self.merged.drain(..) {
            self.merger.recycle(Frame::from_buffer(buffer, HEADROOM, Offload::NONE));
        }
        self.demux.refresh();
        match self.receiver.receive(self.socket.as_fd(), &mut self.received) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(source) => {
                let (operation, object) = ("receive from the sockets of", self.kind.to_string());
                return Err(PortError::Os { operation, object, source });
            }
        }
        let mut received = std::mem::take(&mut self.received);
        for (buffer, datagrams) in received.iter().enumerate() {
            if let Some(lost) = datagrams.lost {
                self.stats.kernel_drops += u64::from(lost.wrapping_sub(self.lost));
                self.lost = lost;
            }
            self.take_apart(buffer, datagrams);
        }
        received.clear();
        self.received = received;
        Ok(())
    }

    /// Finds the frames in a buffer.
    fn take_apart(&mut self, buffer: usize, datagrams: &Received) {
        let Self { kind, demux, receiver, merger, merged, waiting, keys, strays, .. } = self;
        let bytes = &mut receiver.buffers_mut()[buffer][..datagrams.size];
        let mut list = List { merger, merged, waiting, keys, run: None };
        // A peer's kernel may have left large frames of UDP uncut. The kernel tells of them the same
        // size as of merged datagrams.
        let uncut = datagrams.segment_size.and_then(|size| {
            let header = unwrap(*kind, bytes).filter(|_| kind.is_over_udp())?;
            uncut_datagrams(&bytes[header.start..], size)
        });
        let segment_size = datagrams.segment_size.filter(|_| uncut.is_none());
        let mut at = 0;
        if bytes.is_empty() {
            // A datagram of UDP may be empty.
            strays.fetch_add(1, Ordering::Relaxed);
        }
        while at < bytes.len() {
            let end = bytes.len().min(at + segment_size.unwrap_or(bytes.len()));
            let start = match kind.is_over_udp() || self.is_v6 {
                true => at,
                // Raw sockets of IPv4 hand over the IP header, too.
                false => end.min(at + behind_ipv4(&bytes[at..end]).unwrap_or(end - at)),
            };
            at = end;
            let Some(header) = unwrap(*kind, &bytes[start..end]) else {
                strays.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            // All frames of the buffer have the addresses in common, and most the key.
            let known = list.run.as_ref().filter(|(_, key)| key.id == header.id);
            let (remote, local) = (datagrams.source, datagrams.destination);
            let member = known.map(|(member, _)| member);
            let member = member.or_else(|| demux.ports().find(header.id, remote, local));
            let Some(member) = member.map(Arc::clone) else {
                strays.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let is_known = header.group_policy.is_none() || member.has_group_policy;
            if header.is_beyond_us || !is_known || !member.options.takes(header.options) {
                member.refused.add(TunnelRefusal::Header);
                continue;
            }
            let key = TunnelKey {
                id: header.id,
                source: datagrams.source,
                destination: datagrams.destination,
                tos: datagrams.tos,
                ttl: datagrams.ttl,
                is_oam: header.is_oam,
                group_policy: header.group_policy.unwrap_or_default(),
                options: match header.options.is_empty() || member.options.is_empty() {
                    true => None,
                    false => Some(list.shared_options(header.options)),
                },
            };
            let frame = start + header.start;
            if ecn::decapsulate(&mut bytes[frame..end], datagrams.tos).is_err() {
                member.refused.add(TunnelRefusal::Congested);
                continue;
            }
            if member.bfd.takes(member.port, key.id, &bytes[frame..end]) {
                continue;
            }
            if list.run.as_ref().is_none_or(|(_, run)| *run != key) {
                list.close_run();
                list.run = Some((member, key));
            }
            match uncut {
                Some(offload) => list.push(Place::Buffer { buffer, start: frame, end, offload }),
                None => list.add(buffer, bytes, frame, end),
            }
        }
        list.close_run();
    }

    /// Ports have come or gone: finds those of the frames that wait.
    fn find_members_again(&mut self) {
        let Self { waiting, keys, handed, demux, strays, .. } = self;
        let rest = waiting.split_off(*handed).into_iter().zip(keys.split_off(*handed));
        for (Waiting { place, .. }, key) in rest {
            match demux.ports().find(key.id, key.source, key.destination) {
                Some(member) => {
                    waiting.push(Waiting { member: Arc::clone(member), place });
                    keys.push(key);
                }
                None => {
                    strays.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// The frames that wait, while more are added.
struct List<'q> {
    merger: &'q mut Merger,
    merged: &'q mut Vec<(Vec<u8>, Offload)>,
    waiting: &'q mut Vec<Waiting>,
    keys: &'q mut Vec<TunnelKey>,
    /// What successive frames have in common, of which TCP segments may be merged.
    run: Option<(Arc<Member>, TunnelKey)>,
}

impl List<'_> {
    /// Options, in the memory of those of the run if they are the same.
    fn shared_options(&self, options: &[u8]) -> Arc<[u8]> {
        let of_run = self.run.as_ref().and_then(|(_, key)| key.options.as_ref());
        match of_run.filter(|of_run| ***of_run == *options) {
            Some(of_run) => Arc::clone(of_run),
            None => options.into(),
        }
    }

    /// Adds the frame in bytes `start..end` of a buffer. The run is that of the frame.
    fn add(&mut self, buffer: usize, bytes: &[u8], start: usize, end: usize) {
        let Some((member, _)) = &self.run else { return };
        let frame = &bytes[start..end];
        let mtu = member.status.mtu();
        let is_cut = frame.len() <= mtu as usize + LINK_HEADERS;
        if is_cut && self.merger.offer(frame) {
            return self.take_closed();
        }
        if is_cut {
            self.take_closed();
        } else {
            self.close_run();
        }
        let offload = unfinished_work(frame, mtu);
        self.push(Place::Buffer { buffer, start, end, offload });
    }

    /// No further segment joins the frames that are being merged.
    fn close_run(&mut self) {
        self.merger.close_all();
        self.take_closed();
    }

    fn take_closed(&mut self) {
        let before = self.merged.len();
        let closed = self.merger.drain_closed().filter_map(|frame| {
            let offload = frame.offload;
            Some((frame.into_buffer()?, offload))
        });
        self.merged.extend(closed);
        (before..self.merged.len()).for_each(|index| self.push(Place::Merged { index }));
    }

    fn push(&mut self, place: Place) {
        if let Some((member, key)) = &self.run {
            self.waiting.push(Waiting { member: Arc::clone(member), place });
            self.keys.push(key.clone());
        }
    }
}

/// Lends the bytes of buffers, from the first to the last.
struct Lender<'a> {
    buffers: std::iter::Enumerate<std::slice::IterMut<'a, Vec<u8>>>,
    /// The number of the current buffer, the offset in it up to which it is lent, and the rest.
    current: Option<(usize, usize, &'a mut [u8])>,
}

impl<'a> Lender<'a> {
    /// The bytes of a buffer from where the last ones ended up to `end`, and the offset of the first one.
    fn lend(&mut self, buffer: usize, end: usize) -> Option<(&'a mut [u8], usize)> {
        let (from, rest) = match self.current.take() {
            Some((number, from, rest)) if number == buffer => (from, rest),
            _ => {
                let (_, bytes) = self.buffers.find(|(number, _)| *number == buffer)?;
                (0, bytes.as_mut_slice())
            }
        };
        let (lent, rest) = rest.split_at_mut_checked(end.checked_sub(from)?)?;
        self.current = Some((buffer, end, rest));
        Some((lent, from))
    }
}

impl RxQueue for TunnelRx {
    fn recv<'a>(&'a mut self, batch: &mut Batch<'a>) -> Result<(), PortError> {
        if self.handed == self.waiting.len() {
            self.refill()?;
        } else if self.demux.refresh() {
            self.find_members_again();
        }
        let Some(first) = self.waiting.get(self.handed) else { return Ok(()) };
        let (port, from) = (first.member.port, self.handed);
        let buffers = self.receiver.buffers_mut().iter_mut().enumerate();
        let mut lender = Lender { buffers, current: None };
        let mut merged = self.merged.iter_mut().enumerate();
        for waiting in self.waiting[from..].iter().take_while(|w| w.member.port == port) {
            if batch.room() == 0 {
                break;
            }
            let frame = match waiting.place {
                Place::Buffer { buffer, start, end, offload } => {
                    let lent = lender.lend(buffer, end);
                    lent.map(|(bytes, at)| Frame::lent(bytes, start - at, end - at, offload))
                }
                Place::Merged { index } => {
                    let found = merged.find(|(number, _)| *number == index);
                    found.map(|(_, (bytes, offload))| {
                        let end = bytes.len();
                        Frame::lent(bytes, HEADROOM, end, *offload)
                    })
                }
            };
            batch.push(frame.expect("frames wait in the order of their buffers"));
            self.handed += 1;
        }
        let options = &self.waiting[from].member.options;
        batch.come_through(Tunneled { port, keys: &self.keys[from..self.handed], options });
        Ok(())
    }

    fn release(&mut self) {}

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn holds_frames(&self) -> bool {
        self.handed < self.waiting.len()
    }

    fn has_more(&self) -> bool {
        let mut queue = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        self.holds_frames() || poll(&mut queue, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    fn stats(&mut self) -> RxStats {
        self.stats
    }
}

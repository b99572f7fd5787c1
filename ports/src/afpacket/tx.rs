//! Sending to a network device, many frames with one system call, out of the memory they lie in.
//!
//! The virtio-net header is written directly before each frame, into the slot of the receive ring or
//! the headroom of a copy. The socket's protocol is none, so that it never receives.
//!
//! A frame that is to be segmented is left to the device if the device does that, or to the queueing
//! discipline if frames pass through it. Otherwise it is cut here: around the queueing discipline, the kernel
//! drops a large frame that the device does not take. The device's features say which frames the device
//! takes, but not everything (how many tags a frame may have), and the switch learns late of a change. So a
//! large frame that is refused is cut and sent again, and frames like it are cut for a while (`Refused`).
//!
//! A packet socket has one priority, by which the queueing discipline of the device chooses a class for what is
//! sent. So frames with priorities are sent in groups, and the socket's priority is changed between two of
//! these, which takes a system call. That works with every kernel; a priority that is told with each frame
//! takes Linux 6.14.
//!
//! `calls` has the system calls.

use super::calls::Calls;
use super::multi_tx::FloodTarget;
use crate::egress::{Cutter, Takes, Way, way};
use crate::sys::packet as socket;
use crate::{PortStatus, TxFailure, TxQueue};
use arrayvec::ArrayVec;
use packet::wire::{ethernet, vlan};
use packet::{Batch, Frame, FrameId, GsoType, MAX_BATCH, Offload, Prioritized, VNET_HDR_SIZE};
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Bytes that may wait in the socket for the device or its queueing discipline.
const SEND_BUFFER: i32 = 8 << 20;

pub(crate) struct PacketTx {
    flood: FloodTarget,
    status: Arc<PortStatus>,
    bypasses_qdisc: bool,
    calls: Calls,
    cutter: Cutter,
    refused: Refused,
    /// The priority of the socket.
    priority: u32,
    /// The kernel has refused a priority, and the log has it.
    is_priority_refused: bool,
    /// Scratch memory: the frames of a call with their priorities and their places in the queue,
    /// and those of one priority.
    by_priority: Vec<(u32, u32, FrameId)>,
    of_one_priority: Vec<FrameId>,
}

type Failures = Vec<(FrameId, TxFailure)>;

impl PacketTx {
    /// A queue over `socket`, which gets its options here and is to be bound by the caller.
    pub(crate) fn new(socket: OwnedFd, flood: FloodTarget) -> std::io::Result<Self> {
        let status = Arc::clone(&flood.status);
        let fd = socket.as_fd();
        socket::set_option(fd, socket::PACKET_VNET_HDR, 1)?;
        socket::set_send_buffer(fd, SEND_BUFFER)?;
        let bypasses_qdisc = status.bypasses_qdisc();
        socket::set_option(fd, socket::PACKET_QDISC_BYPASS, i32::from(bypasses_qdisc))?;
        let calls = Calls::new(socket, Arc::clone(&status));
        let (cutter, refused) = (Cutter::default(), Refused::default());
        let (by_priority, of_one_priority) = (Vec::new(), Vec::new());
        Ok(Self {
            flood,
            status,
            bypasses_qdisc,
            calls,
            cutter,
            refused,
            priority: 0,
            is_priority_refused: false,
            by_priority,
            of_one_priority,
        })
    }

    fn follow_status(&mut self) {
        let bypass = self.status.bypasses_qdisc();
        if bypass != self.bypasses_qdisc {
            self.bypasses_qdisc = bypass;
            let set = socket::set_option(
                self.calls.socket(),
                socket::PACKET_QDISC_BYPASS,
                i32::from(bypass),
            );
            if let Err(error) = set {
                tracing::warn!(%error, bypass, "cannot change the use of the queueing discipline");
            }
        }
    }

    /// Chooses the class for what is sent from now on. If the kernel refuses, it stays the one before.
    fn set_priority(&mut self, priority: u32) {
        if priority == self.priority {
            return;
        }
        match socket::set_priority(self.calls.socket(), priority) {
            Ok(()) => self.priority = priority,
            Err(error) if !self.is_priority_refused => {
                self.is_priority_refused = true;
                tracing::warn!(%error, priority, "cannot choose the queue of a port");
            }
            Err(_) => {}
        }
    }

    /// Sends frames with the priority of the socket. See [`TxQueue::send`].
    fn send_all(
        &mut self,
        batch: &mut Batch<'_>,
        ids: &[FrameId],
        failures: &mut Failures,
    ) -> usize {
        self.calls.begin();
        let (takes, mtu) = (self.status.takes(), self.status.mtu());
        // Frames that go out as they are, collected until one needs another way or a call is full.
        let mut direct = ArrayVec::<FrameId, MAX_BATCH>::new();
        for &id in ids {
            let frame = batch.frame_mut(id);
            match prepare(frame, takes, mtu) {
                Ok(Way::Direct(header)) if !self.refused.includes(frame, header) => {
                    write_header(frame, header);
                    direct.push(id);
                    if direct.is_full() {
                        self.flush_direct(batch, &mut direct, failures);
                    }
                }
                Ok(_) => {
                    self.flush_direct(batch, &mut direct, failures);
                    if let Err(failure) = self.send_segments(batch.frame(id)) {
                        failures.push((id, failure));
                    }
                }
                Err(failure) => {
                    self.flush_direct(batch, &mut direct, failures);
                    failures.push((id, failure));
                }
            }
        }
        self.flush_direct(batch, &mut direct, failures);
        self.cutter.take_made()
    }

    /// Cuts a frame in software and sends the segments. The frame failed if one of them did.
    fn send_segments(&mut self, frame: &Frame<'_>) -> Result<(), TxFailure> {
        if let Some(failure) = self.calls.end() {
            return Err(failure);
        }
        let calls = &mut self.calls;
        self.cutter.cut(frame, |segments| {
            let mut datagrams = ArrayVec::<IoSlice<'_>, MAX_BATCH>::new();
            for segment in segments {
                let header = Offload::NONE.to_bytes();
                if let Some(bytes) = segment.bytes_with_header(&header) {
                    datagrams.push(IoSlice::new(bytes));
                }
            }
            calls.send(&datagrams).map_err(|refusal| refusal.why)
        })
    }

    fn flush_direct(
        &mut self,
        batch: &Batch<'_>,
        ids: &mut ArrayVec<FrameId, MAX_BATCH>,
        failures: &mut Failures,
    ) {
        if ids.is_empty() {
            return;
        }
        let mut datagrams = ArrayVec::<IoSlice<'_>, MAX_BATCH>::new();
        for &id in &*ids {
            // `write_header` made sure of the room.
            let bytes = batch.frame(id).bytes_and_before(VNET_HDR_SIZE).unwrap_or_default();
            datagrams.push(IoSlice::new(bytes));
        }
        let mut done = 0;
        while let Err(refusal) = self.calls.send(&datagrams[done..]) {
            let at = done + refusal.sent;
            let id = ids[at];
            if let Err(failure) = self.after_refusal(batch.frame(id), refusal.why) {
                failures.push((id, failure));
            }
            done = at + 1;
        }
        drop(datagrams);
        ids.clear();
    }

    /// A frame was refused. Cuts it and sends the segments if it is a large one and the device may have refused
    /// it for that.
    #[cold]
    fn after_refusal(&mut self, frame: &Frame<'_>, why: TxFailure) -> Result<(), TxFailure> {
        let may_be_too_large = frame.offload.is_gso() && self.bypasses_qdisc;
        if why != TxFailure::QueueFull || !may_be_too_large {
            return Err(why);
        }
        self.send_segments(frame)?;
        self.refused.insert(frame);
        Ok(())
    }
}

impl TxQueue for PacketTx {
    fn flood_target(&self) -> Option<&FloodTarget> {
        self.status.bypasses_qdisc().then_some(&self.flood)
    }

    fn send(&mut self, batch: &mut Batch<'_>, ids: &[FrameId], failures: &mut Failures) -> usize {
        self.follow_status();
        self.set_priority(0);
        self.send_all(batch, ids, failures)
    }

    fn send_prioritized(
        &mut self,
        batch: &mut Batch<'_>,
        ids: &[FrameId],
        prioritized: &[Prioritized],
        failures: &mut Failures,
    ) -> usize {
        self.follow_status();
        if self.bypasses_qdisc {
            return self.send_all(batch, ids, failures);
        }
        let mut all = std::mem::take(&mut self.by_priority);
        all.extend((0..).zip(ids).map(|(place, id)| (0, place, *id)));
        for Prioritized { place, priority } in prioritized {
            if let Some((of_frame, ..)) = all.get_mut(*place as usize) {
                *of_frame = *priority;
            }
        }
        // The places keep frames of the same priority in order.
        all.sort_unstable_by_key(|(priority, place, _)| (*priority, *place));
        let mut group = std::mem::take(&mut self.of_one_priority);
        let mut made = 0;
        for frames in all.chunk_by(|a, b| a.0 == b.0) {
            group.extend(frames.iter().map(|(.., id)| *id));
            self.set_priority(frames[0].0);
            made += self.send_all(batch, &group, failures);
            group.clear();
        }
        all.clear();
        (self.by_priority, self.of_one_priority) = (all, group);
        made
    }
}

/// Decides how a frame goes out, and completes its checksum if nobody else can.
pub(super) fn prepare(frame: &mut Frame<'_>, takes: Takes, mtu: u32) -> Result<Way, TxFailure> {
    match way(frame, takes, mtu)? {
        Way::Complete => packet::complete(frame)
            .map(|()| Way::Direct(Offload::NONE))
            .map_err(|_| TxFailure::NoOffload),
        way => Ok(way),
    }
}

/// The kinds of large frames that the device has refused, though its features say that it takes them.
///
/// A frame is of the same kind as another one if both are segmented in the same way and have
/// the same number of tags.
#[derive(Default)]
struct Refused {
    /// For each kind, the number of frames that are still to be cut before one is left to the device again. A
    /// device whose queue was full for a moment, not one that refuses a kind, is not distrusted for long.
    left: [u8; Self::KINDS],
    /// Whether one of the numbers in `left` is not zero.
    has_some: bool,
}

impl Refused {
    /// Four ways to segment, and no tag, one, two or more.
    const KINDS: usize = 4 * 3;
    /// Number of frames that are cut after one was refused.
    const CUT: u8 = 255;

    /// Whether a frame, which would go out with this virtio-net header, has to be cut instead.
    #[inline]
    fn includes(&mut self, frame: &Frame<'_>, header: Offload) -> bool {
        self.has_some && header.is_gso() && self.takes_one(frame)
    }

    fn takes_one(&mut self, frame: &Frame<'_>) -> bool {
        let left = &mut self.left[Self::kind(frame)];
        let is_cut = *left > 0;
        *left = left.saturating_sub(1);
        self.has_some = self.left.iter().any(|left| *left > 0);
        is_cut
    }

    fn insert(&mut self, frame: &Frame<'_>) {
        self.left[Self::kind(frame)] = Self::CUT;
        self.has_some = true;
    }

    fn kind(frame: &Frame<'_>) -> usize {
        let way = match frame.offload.gso() {
            GsoType::TcpV4 => 0,
            GsoType::TcpV6 => 1,
            GsoType::UdpL4 => 2,
            _ => 3,
        };
        let l2_size = vlan::skip_tags(frame.bytes(), 0).map_or(0, |(_, l3)| l3);
        let tags = l2_size.saturating_sub(ethernet::HEADER_SIZE) / vlan::HEADER_SIZE;
        way * 3 + tags.min(2)
    }
}

/// Writes `header` directly before the frame, which moves to memory of its own if it has no room left.
pub(super) fn write_header(frame: &mut Frame<'_>, header: Offload) {
    let header = header.to_bytes();
    if frame.bytes_with_header(&header).is_none() {
        let mut copy = frame.copy_in(Vec::new());
        copy.bytes_with_header(&header);
        *frame = copy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::wire::eth_type;

    #[test]
    fn frames_like_a_refused_one_are_cut_for_a_while() {
        let header = Offload { gso_type: 1, ..Offload::NONE };
        let plain = Frame::owned(&[0; 60], header);
        let mut tagged = Frame::owned(&[0; 60], header);
        assert!(tagged.push_tag(eth_type::VLAN, 5));
        let mut refused = Refused::default();
        assert!(!refused.includes(&tagged, header));
        refused.insert(&tagged);
        for _ in 0..Refused::CUT {
            assert!(!refused.includes(&plain, header));
            assert!(!refused.includes(&tagged, Offload::NONE), "it is not left to the device");
            assert!(refused.includes(&tagged, header));
        }
        assert!(!refused.includes(&tagged, header), "the device is tried again");
        assert!(!refused.has_some);
    }
}

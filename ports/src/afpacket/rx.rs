//! Receiving from a network device through a ring in shared memory.
//!
//! A slot holds, from low to high addresses: the kernel's header, free space (at least
//! [`HEADROOM`] bytes of it), the virtio-net header, the frame. The VLAN tag that the kernel took out
//! of the frame is put back in place. The datapath edits the frame in its slot, and the system call that
//! sends the frame reads it from the slot.
//!
//! `ring_size` tells how large rings are.

use super::ring_size::{RingSize, WHOLE_FRAME};
use crate::buffers::{self, Buffers};
use crate::handover::{HandedQueue, HandedRing, RingPositions};
use crate::listeners::OwnSocket;
use crate::spec::PortOptions;
use crate::sys::packet as socket;
use crate::sys::ring::{Geometry, Received, RxRing};
use crate::{KernelHooks, PortError, RxMemory, RxQueue, RxStats};
use nix::sys::socket::{MsgFlags, recv};
use packet::wire::eth_type;
use packet::{Batch, Frame, HEADROOM, Offload, VNET_HDR_SIZE};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The receive buffer that is asked for, in bytes: frames larger than a slot wait there. The kernel takes twice
/// the number. Together with the ring and [`RingRx::large`] a port stays under 40 MB.
const LARGE_WAITING: i32 = 12 << 20;

/// Number of receive calls in a row without a frame after which the socket is asked for an error: an error that
/// waits makes the socket readable.
const IDLE_CALLS: u32 = 64;

pub(crate) struct RingRx {
    own: OwnSocket,
    socket: OwnedFd,
    ring: RxRing,
    /// Buffers for those frames of a batch that are larger than a slot, one buffer for each frame.
    large: Buffers,
    stats: RxStats,
    idle_calls: u32,
    memory: RxMemory,
    /// The programs whose judge is the filter while the ring is open.
    hooks: Option<Arc<KernelHooks>>,
}

impl RingRx {
    /// A queue over `socket`, which is not bound yet and gets its ring here.
    pub(crate) fn new(
        socket: OwnedFd,
        options: &PortOptions,
        size: RingSize,
        hooks: Option<Arc<KernelHooks>>,
    ) -> std::io::Result<Self> {
        let own = OwnSocket::new(&socket)?;
        let fd = socket.as_fd();
        socket::set_option(fd, socket::PACKET_VNET_HDR, 1)?;
        socket::set_option(fd, socket::PACKET_IGNORE_OUTGOING, 1)?;
        socket::set_option(fd, socket::PACKET_RESERVE, HEADROOM as i32)?;
        // Frames larger than a slot wait in the socket's receive buffer, which is too small for them in a
        // process that may not enlarge it (`CAP_NET_ADMIN` in the first user namespace).
        let has_room = socket::force_receive_buffer(fd, LARGE_WAITING).is_ok();
        let size = if has_room { size } else { size.without_room_beside(options) };
        if !size.is_whole() {
            socket::set_option(fd, socket::PACKET_COPY_THRESH, size.slot_size as i32)?;
        }
        let ring = RxRing::new(fd, size.geometry())?;
        Ok(Self { hooks, ..Self::over(own, socket, ring) })
    }

    /// A queue over a socket of another process, which receives from its ring until this process does.
    pub(crate) fn take_over(socket: OwnedFd, handed: &HandedRing) -> std::io::Result<Self> {
        let own = OwnSocket::new(&socket)?;
        let HandedRing { slot_size, block_size, blocks } = *handed;
        let ring = RxRing::map(socket.as_fd(), Geometry { slot_size, block_size, blocks })?;
        Ok(Self::over(own, socket, ring))
    }

    fn over(own: OwnSocket, socket: OwnedFd, ring: RxRing) -> Self {
        let Geometry { slot_size, block_size, blocks } = ring.geometry();
        let bytes = u64::from(blocks) * u64::from(block_size);
        let memory = RxMemory { queues: 1, slots: ring.geometry().slots(), slot_size, bytes };
        let (large, stats) = (Buffers::new(), RxStats::default());
        Self { own, socket, ring, large, stats, idle_calls: 0, memory, hooks: None }
    }

    /// The memory of the ring.
    pub(crate) fn memory(&self) -> RxMemory {
        self.memory
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl RxQueue for RingRx {
    fn recv<'a>(&'a mut self, batch: &mut Batch<'a>) -> Result<(), PortError> {
        let Self { socket, ring, large, stats, idle_calls, .. } = self;
        let mut large = Some(large);
        let mut buffers: std::slice::IterMut<'_, Vec<u8>> = [].iter_mut();
        let mut lent = ring.lend();
        while batch.room() > 0 {
            let Some((received, slot)) = lent.next() else { break };
            if received.status & libc::TP_STATUS_COPY != 0 {
                stats.copied += 1;
                // The kernel queued the whole frame before it handed the slot over.
                if let Some(large) = large.take() {
                    buffers::take(large);
                    buffers = large.iter_mut();
                }
                match buffers.next().and_then(|buffer| fetch(socket.as_fd(), buffer, received)) {
                    Some(frame) => batch.push(frame),
                    None => stats.unreadable += 1,
                }
            } else if received.end - received.start < received.wire_size as usize {
                stats.truncated += 1;
            } else {
                batch.push(frame_in(slot, received.start, received.end, received));
            }
        }
        if !batch.is_empty() {
            *idle_calls = 0;
            return Ok(());
        }
        *idle_calls += 1;
        if *idle_calls >= IDLE_CALLS {
            *idle_calls = 0;
            // "The network is down" makes the socket readable until it is read. Whether the device
            // is up is told elsewhere.
            if let Ok(Some(error)) = socket::take_error(socket.as_fd()) {
                tracing::debug!(%error, "receive queue reported an error");
            }
        }
        Ok(())
    }

    fn release(&mut self) {
        self.ring.give_back();
        buffers::give_back(&mut self.large);
    }

    fn set_open(&mut self, open: bool) -> Result<(), PortError> {
        let fd = self.socket.as_fd();
        let set = match &self.hooks {
            _ if !open => socket::refuse_all(fd),
            Some(hooks) => hooks.filter(fd),
            None => socket::refuse_none(fd),
        };
        set.map_err(filter_error)
    }

    fn give_way_to(&mut self, successor: &mut dyn RxQueue) -> Result<(), PortError> {
        let own = self.socket();
        match successor.poll_fd().map(|new| socket::pair(own, new)) {
            Some(Ok(())) => {
                successor.set_open(true)?;
                socket::change_over(own).map_err(filter_error)
            }
            // The port has several queues, or this one is a successor itself: between the two calls a frame can
            // arrive that neither queue takes.
            _ => {
                self.set_open(false)?;
                let opened = successor.set_open(true);
                if opened.is_err() {
                    self.set_open(true)?;
                }
                opened
            }
        }
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn has_more(&self) -> bool {
        self.ring.has_more()
    }

    fn hand_over(&self) -> std::io::Result<(HandedQueue, OwnedFd)> {
        let Geometry { slot_size, block_size, blocks } = self.ring.geometry();
        let ring = HandedRing { slot_size, block_size, blocks };
        Ok((HandedQueue::Ring(ring), self.socket.try_clone()?))
    }

    fn tell_position(&self, positions: &mut RingPositions) {
        positions.insert(self.own.inode(), self.ring.position());
    }

    fn go_on_at(&mut self, positions: &RingPositions) {
        if let Some(slot) = positions.get(&self.own.inode()) {
            self.ring.go_on_at(*slot);
        }
    }

    fn stats(&mut self) -> RxStats {
        // The kernel starts counting anew each time it is asked.
        let drops = socket::take_drops(self.socket.as_fd()).unwrap_or(0);
        self.stats.kernel_drops += u64::from(drops);
        self.stats
    }
}

fn filter_error(source: std::io::Error) -> PortError {
    let object = "a receive queue".to_owned();
    PortError::Os { operation: "filter frames of", object, source }
}

/// Fetches a frame larger than its slot from the socket.
#[cold]
fn fetch<'a>(
    socket: BorrowedFd<'_>,
    buffer: &'a mut Vec<u8>,
    received: Received,
) -> Option<Frame<'a>> {
    buffer.resize(WHOLE_FRAME as usize, 0);
    let size = recv(socket.as_raw_fd(), &mut buffer[HEADROOM..], MsgFlags::MSG_DONTWAIT);
    let size =
        size.inspect_err(|error| tracing::debug!(%error, "a large frame is missing")).ok()?;
    let is_whole = size == received.wire_size as usize + VNET_HDR_SIZE;
    is_whole.then(|| frame_in(buffer, HEADROOM + VNET_HDR_SIZE, HEADROOM + size, received))
}

/// The frame at `start..end` of `buf`, with its virtio-net header before it and its tag put back.
#[inline]
fn frame_in(buf: &mut [u8], start: usize, end: usize, received: Received) -> Frame<'_> {
    let offload = match start.checked_sub(VNET_HDR_SIZE).and_then(|at| buf[at..].first_chunk()) {
        Some(header) => Offload::from_bytes(header),
        None => Offload::NONE,
    };
    let mut frame = Frame::lent(buf, start, end, offload);
    if received.status & libc::TP_STATUS_VLAN_VALID != 0 {
        let tpid = match received.status & libc::TP_STATUS_VLAN_TPID_VALID {
            0 => eth_type::VLAN,
            _ => received.vlan_tpid,
        };
        // There is room: the headroom was reserved, and no frame is shorter than its MACs.
        let _ = frame.push_tag(tpid, received.vlan_tci);
    }
    frame
}

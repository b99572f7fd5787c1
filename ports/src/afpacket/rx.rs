//! Receiving from a network device through a ring in shared memory.
//!
//! A slot holds, from low to high addresses: the kernel's header, free space (at least
//! [`HEADROOM`] bytes of it), the virtio-net header, the frame. The VLAN tag that the kernel took out
//! of the frame is put back in place. What follows edits the frame where it lies, and the system call
//! that sends it reads it from there.
//!
//! Where slots are smaller than the largest frame, the kernel queues larger frames on the socket
//! besides, in the same order. They are fetched with one system call into buffers of their own.

use crate::sys::mmsg::Messages;
use crate::sys::packet as socket;
use crate::sys::ring::{Geometry, Received, RxRing};
use crate::{PortError, RxQueue, RxStats};
use packet::{Batch, Frame, HEADROOM, MAX_BATCH, Offload, VNET_HDR_SIZE};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes for the largest frame a host hands over (64 KiB and headers), our headroom and the kernel's.
/// A multiple of the page size; fifteen of them fit into a block of 1 MiB.
pub(crate) const WHOLE_FRAME: u32 = 69_632;

const BLOCK: u32 = 1 << 20;

/// Receive calls that found nothing, after which the socket is asked for an error that might be what
/// makes it readable.
const IDLE_CALLS: u32 = 64;

const EIGHTYONE_00: u16 = 0x8100;

/// The default ring: 480 slots in 32 MiB.
pub(crate) const DEFAULT_SLOTS: u32 = 480;

pub(crate) struct RingRx {
    socket: OwnedFd,
    ring: RxRing,
    /// Present if slots are smaller than frames can be.
    large: Option<Large>,
    stats: RxStats,
    idle_calls: u32,
}

/// Frames larger than a slot, fetched from the socket.
struct Large {
    messages: Messages,
    buffers: Vec<Box<[u8]>>,
}

/// The ring that holds `slots` slots of `slot_size` bytes, or a few more.
pub(crate) fn geometry(slots: u32, slot_size: u32) -> Geometry {
    let wanted = u64::from(slots) * u64::from(slot_size);
    let block_size = if wanted >= u64::from(BLOCK) {
        BLOCK.max(slot_size.next_power_of_two())
    } else {
        (wanted as u32).next_power_of_two().max(4096)
    };
    Geometry { slot_size, block_size, blocks: slots.div_ceil(block_size / slot_size) }
}

impl RingRx {
    /// A queue over `socket`, which is not bound yet and gets its ring here.
    pub(crate) fn new(socket: OwnedFd, geometry: Geometry) -> std::io::Result<Self> {
        let fd = socket.as_fd();
        socket::set_option(fd, socket::PACKET_VNET_HDR, 1)?;
        socket::set_option(fd, socket::PACKET_IGNORE_OUTGOING, 1)?;
        socket::set_option(fd, socket::PACKET_RESERVE, HEADROOM as i32)?;
        let large = (geometry.slot_size < WHOLE_FRAME)
            .then(|| Large { messages: Messages::new(MAX_BATCH), buffers: Vec::new() });
        if large.is_some() {
            socket::set_option(fd, socket::PACKET_COPY_THRESH, geometry.slot_size as i32)?;
            socket::set_receive_buffer(fd, 16 << 20)?;
        }
        let ring = RxRing::new(fd, geometry)?;
        Ok(Self { socket, ring, large, stats: RxStats::default(), idle_calls: 0 })
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl RxQueue for RingRx {
    fn recv<'a>(&'a mut self, batch: &mut Batch<'a>) -> Result<(), PortError> {
        let Self { socket, ring, large, stats, idle_calls } = self;
        let room = batch.room();
        match large {
            None => {
                for (received, slot) in ring.lend().take(room) {
                    if (received.end - received.start) < received.wire_size as usize {
                        stats.truncated += 1;
                        continue;
                    }
                    batch.push(frame_in_slot(received, slot));
                }
            }
            Some(large) => recv_mixed(socket.as_fd(), ring, large, stats, batch),
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
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn stats(&mut self) -> RxStats {
        // The kernel starts counting anew each time it is asked.
        let drops = socket::take_drops(self.socket.as_fd()).unwrap_or(0);
        self.stats.kernel_drops += u64::from(drops);
        self.stats
    }
}

/// Receives frames of which some are larger than their slot.
fn recv_mixed<'a>(
    socket: BorrowedFd<'_>,
    ring: &'a mut RxRing,
    large: &'a mut Large,
    stats: &mut RxStats,
    batch: &mut Batch<'a>,
) {
    let mut slots = arrayvec::ArrayVec::<_, MAX_BATCH>::new();
    slots.extend(ring.lend().take(batch.room()));
    let is_large = |received: &Received| received.status & libc::TP_STATUS_COPY != 0;
    let count = slots.iter().filter(|(received, _)| is_large(received)).count();
    let mut sizes = arrayvec::ArrayVec::<usize, MAX_BATCH>::new();
    if count > 0 {
        large.receive(socket, count, &mut sizes);
    }
    let mut copies = large.buffers.iter_mut().zip(&sizes);
    for (received, slot) in slots {
        let is_whole = (received.end - received.start) >= received.wire_size as usize;
        let frame = match is_large(&received) {
            false if is_whole => Some(frame_in_slot(received, slot)),
            false => None,
            true => copies.next().and_then(|(buffer, size)| {
                let end = HEADROOM + size;
                let is_whole = *size == received.wire_size as usize + VNET_HDR_SIZE;
                let start = HEADROOM + VNET_HDR_SIZE;
                (is_whole && end <= buffer.len()).then(|| frame_in(buffer, start, end, received))
            }),
        };
        match frame {
            Some(frame) => batch.push(frame),
            None => stats.truncated += 1,
        }
    }
    stats.copied += sizes.len() as u64;
}

impl Large {
    /// Fetches the next `count` frames from the socket; what was fetched is told in `sizes`.
    fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        count: usize,
        sizes: &mut arrayvec::ArrayVec<usize, MAX_BATCH>,
    ) {
        while self.buffers.len() < count {
            self.buffers.push(vec![0; WHOLE_FRAME as usize].into_boxed_slice());
        }
        let mut slices = arrayvec::ArrayVec::<_, MAX_BATCH>::new();
        slices
            .extend(self.buffers[..count].iter_mut().map(|b| IoSliceMut::new(&mut b[HEADROOM..])));
        // The kernel queued them before it handed their slots over, so they are all there.
        let received = self.messages.receive(socket, &mut slices, |size| sizes.push(size));
        if let Err(error) = received {
            tracing::debug!(%error, "frames larger than a slot are missing");
        }
    }
}

#[inline]
fn frame_in_slot(received: Received, slot: &mut [u8]) -> Frame<'_> {
    frame_in(slot, received.start, received.end, received)
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
            0 => EIGHTYONE_00,
            _ => received.vlan_tpid,
        };
        // There is room: the headroom was reserved, and no frame is shorter than its MACs.
        let _ = frame.push_tag(tpid, received.vlan_tci);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_fit_their_blocks() {
        let check = |slots, slot_size, expected: (u32, u32)| {
            let geometry = geometry(slots, slot_size);
            assert_eq!((geometry.block_size, geometry.blocks), expected);
            assert!(geometry.slots() >= slots);
            assert!(geometry.block_size.is_power_of_two());
        };
        check(DEFAULT_SLOTS, WHOLE_FRAME, (1 << 20, 32));
        check(4096, 2048, (1 << 20, 8));
        check(16, 2048, (32_768, 1));
        check(16, 1040, (32_768, 1));
        check(16, 512, (8192, 1));
        check(16, 1 << 20, (1 << 20, 16));
        check(16, WHOLE_FRAME, (1 << 20, 2));
    }
}

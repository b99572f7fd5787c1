//! A receive ring that the kernel fills and we read in place (packet_mmap, `TPACKET_V2`).
//!
//! The ring is memory shared with the kernel, cut into slots. A status word at the start of each slot
//! says whose it is: the kernel writes a frame and hands the slot over, we hand it back when we are
//! done. In between the slot is ours alone, to read and to write, which is what makes lending it as
//! `&mut [u8]` sound.
//!
//! Slots lie in blocks and do not cross them; the rest of a block is unused.

use super::packet::{set_option, set_rx_ring};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a slot in front of what is lent: the kernel's header, which says where the frame is.
const SLOT_HEADER: usize = size_of::<libc::tpacket2_hdr>();

/// The sizes of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes of a slot, a multiple of 16.
    pub(crate) slot_size: u32,
    /// Bytes of a block, a power of two not smaller than a slot.
    pub(crate) block_size: u32,
    /// Blocks that the ring consists of.
    pub(crate) blocks: u32,
}

impl Geometry {
    fn slots_per_block(self) -> u32 {
        self.block_size / self.slot_size
    }

    /// Slots in all blocks together.
    pub(crate) fn slots(self) -> u32 {
        self.slots_per_block() * self.blocks
    }

    fn size(self) -> usize {
        self.block_size as usize * self.blocks as usize
    }
}

/// What the kernel says of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// The slot's status word, of bits `TP_STATUS_*` (packet(7)).
    pub(crate) status: u32,
    /// The frame's size on the wire.
    pub(crate) wire_size: u32,
    /// First byte of the frame, from the start of the lent bytes.
    pub(crate) start: usize,
    /// One past the last byte of the frame that is in the slot.
    pub(crate) end: usize,
    /// The tag that was taken out of the frame, if `status` says so.
    pub(crate) vlan_tci: u16,
    /// The EtherType of that tag, if `status` says so.
    pub(crate) vlan_tpid: u16,
}

/// A mapped receive ring. It keeps the mapping, not the socket.
#[derive(Debug)]
pub(crate) struct RxRing {
    base: NonNull<u8>,
    geometry: Geometry,
    /// The slot to look at next.
    next: u32,
    /// Slots before `next` that were lent and not given back.
    lent: u32,
}

// SAFETY: the mapping belongs to this value alone and is not tied to a thread.
unsafe impl Send for RxRing {}

impl RxRing {
    /// Makes the ring of a socket that is not bound yet, and maps it.
    pub(crate) fn new(fd: BorrowedFd<'_>, geometry: Geometry) -> io::Result<Self> {
        assert!(geometry.slot_size as usize > SLOT_HEADER && geometry.slots() > 0);
        assert!(geometry.slot_size.is_multiple_of(16), "the kernel aligns slots to 16 bytes");
        set_option(fd, libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as libc::c_int)?;
        let request = libc::tpacket_req {
            tp_block_size: geometry.block_size,
            tp_block_nr: geometry.blocks,
            tp_frame_size: geometry.slot_size,
            tp_frame_nr: geometry.slots(),
        };
        set_rx_ring(fd, request)?;
        Self::map(fd, geometry)
    }

    /// Maps the ring of a socket that has a ring of this geometry already, which another process may have
    /// mapped, too. Two processes must not read the same ring at the same time.
    pub(crate) fn map(fd: BorrowedFd<'_>, geometry: Geometry) -> io::Result<Self> {
        if geometry.slot_size as usize <= SLOT_HEADER
            || !geometry.slot_size.is_multiple_of(16)
            || geometry.block_size < geometry.slot_size
            || geometry.blocks == 0
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                geometry.size(),
                access,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, geometry, next: 0, lent: 0 })
    }

    /// The sizes of the ring.
    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The slot to look at next, counted from 0. No slot may be on loan.
    pub(crate) fn position(&self) -> u32 {
        debug_assert_eq!(self.lent, 0);
        self.next
    }

    /// Goes on at this slot, where another process that had mapped the ring has stopped. No
    /// slot may be on loan.
    pub(crate) fn go_on_at(&mut self, slot: u32) {
        debug_assert_eq!(self.lent, 0);
        self.next = slot % self.geometry.slots();
    }

    /// Lends the slots that hold frames, in the order of arrival.
    pub(crate) fn lend(&mut self) -> Lent<'_> {
        Lent { ring: self }
    }

    /// Whether the slot behind those that were lent holds a frame.
    pub(crate) fn has_more(&self) -> bool {
        self.lent < self.geometry.slots()
            && self.status(self.next).load(Ordering::Relaxed) & libc::TP_STATUS_USER != 0
    }

    /// Gives all slots that were lent back to the kernel.
    pub(crate) fn give_back(&mut self) {
        let slots = self.geometry.slots();
        let mut slot = (self.next + slots - self.lent) % slots;
        for _ in 0..self.lent {
            self.status(slot).store(libc::TP_STATUS_KERNEL, Ordering::Release);
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
        self.lent = 0;
    }

    fn slot(&self, slot: u32) -> NonNull<u8> {
        let per_block = self.geometry.slots_per_block();
        let (block, place) = (slot / per_block, slot % per_block);
        let offset = block as usize * self.geometry.block_size as usize
            + place as usize * self.geometry.slot_size as usize;
        debug_assert!(offset + self.geometry.slot_size as usize <= self.geometry.size());
        // SAFETY: `slot` is less than the number of slots, so that the slot lies in the mapping.
        unsafe { self.base.add(offset) }
    }

    fn status(&self, slot: u32) -> &AtomicU32 {
        // SAFETY: `tp_status` is the first member of the slot's header. It is aligned (slots begin at
        // multiples of 16), in the mapping, and both sides only access it atomically.
        unsafe { AtomicU32::from_ptr(self.slot(slot).cast().as_ptr()) }
    }
}

impl Drop for RxRing {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and what was lent from it cannot outlive this value.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.geometry.size()) };
    }
}

/// Slots on loan; see [`RxRing::lend`].
pub(crate) struct Lent<'a> {
    ring: &'a mut RxRing,
}

impl<'a> Iterator for Lent<'a> {
    type Item = (Received, &'a mut [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let ring = &mut *self.ring;
        let (slot, slots) = (ring.next, ring.geometry.slots());
        if ring.lent == slots {
            return None;
        }
        let status = ring.status(slot).load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        ring.lent += 1;
        ring.next = if slot + 1 == slots { 0 } else { slot + 1 };

        let start = ring.slot(slot);
        // SAFETY: the slot is ours since the status was loaded, so the kernel does not write to the
        // header, which lies at the start of the slot, aligned.
        let header = unsafe { start.cast::<libc::tpacket2_hdr>().read() };
        let size = ring.geometry.slot_size as usize - SLOT_HEADER;
        // SAFETY: the rest of the slot is in the mapping and initialised (the kernel zeroes it). It is
        // ours until it is given back, which takes `&mut RxRing`, that is, the end of 'a. No other
        // item refers to it: a slot is not visited again before it was given back (`lent`).
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(start.add(SLOT_HEADER).as_ptr(), size) };
        let from = (header.tp_mac as usize).saturating_sub(SLOT_HEADER).min(size);
        let received = Received {
            status,
            wire_size: header.tp_len,
            start: from,
            end: (from + header.tp_snaplen as usize).min(size),
            vlan_tci: header.tp_vlan_tci,
            vlan_tpid: header.tp_vlan_tpid,
        };
        Some((received, bytes))
    }
}

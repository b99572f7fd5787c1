//! How large receive rings are.
//!
//! Hosts hand over up to 64 KiB of a connection at once. There are two kinds of rings:
//!
//! - *Large* rings have slots for whole frames. The core of the sender copies each frame into a
//!   slot, from its own cache.
//! - *Small* rings have slots of 2 KiB: eight times the frames in a quarter of the memory. The kernel queues a
//!   frame larger than a slot on the socket as well, in the same order, and the worker fetches that frame with
//!   a system call of its own into a buffer of its own.
//!
//! TCP is faster through large rings, by 5 to 35 % as measured on veth; small frames are at most a tenth
//! slower. The user may say how large the rings of a port are; otherwise the caller that opens the port does.

use crate::spec::PortOptions;
use crate::sys::ring::Geometry;
use serde::{Deserialize, Serialize};

/// Bytes for the largest frame a host hands over (64 KiB and headers), our headroom and the kernel's.
/// A multiple of the page size; fifteen of them fit into a block of 1 MiB.
pub(super) const WHOLE_FRAME: u32 = 69_632;
/// Slots of all large rings of a port.
const WHOLE_FRAME_SLOTS: u32 = 480;
/// Slots for whole frames in a block.
const SLOTS_PER_BLOCK: u32 = BLOCK / WHOLE_FRAME;

const SMALL: u32 = 2048;
const SMALL_SLOTS: u32 = 4096;

const BLOCK: u32 = 1 << 20;

/// The size of one receive ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RingSize {
    /// Frames that may wait in it.
    pub slots: u32,
    /// Bytes of a slot: a frame, the kernel's header and headroom. A multiple of 16.
    pub slot_size: u32,
}

impl Default for RingSize {
    /// A small ring, which fits most ports.
    fn default() -> Self {
        Self::small(SMALL_SLOTS)
    }
}

impl RingSize {
    /// Each ring of a port that has `queues` of them, with slots for whole frames: 32 MiB for the port.
    pub fn large(queues: usize) -> Self {
        Self::large_times(1, queues)
    }

    /// Each ring of a port that has `queues` of them, with `times` the slots of a [large](Self::large) ring.
    pub fn large_times(times: u32, queues: usize) -> Self {
        let slots = (times * WHOLE_FRAME_SLOTS).div_ceil(queues.clamp(1, 8) as u32);
        Self { slots, slot_size: WHOLE_FRAME }
    }

    /// A ring of this many slots of 2 KiB.
    pub const fn small(slots: u32) -> Self {
        Self { slots, slot_size: SMALL }
    }

    /// Bytes of memory that the ring occupies.
    pub fn bytes(self) -> u64 {
        let geometry = self.geometry();
        u64::from(geometry.blocks) * u64::from(geometry.block_size)
    }

    /// Its slots hold every frame.
    pub(super) fn is_whole(self) -> bool {
        self.slot_size >= WHOLE_FRAME
    }

    /// The ring that holds this many slots, or a few more.
    pub(super) fn geometry(self) -> Geometry {
        let Self { slots, slot_size } = self;
        let wanted = u64::from(slots) * u64::from(slot_size);
        let block_size = if wanted >= u64::from(BLOCK) {
            BLOCK.max(slot_size.next_power_of_two())
        } else {
            (wanted as u32).next_power_of_two().max(4096)
        };
        Geometry { slot_size, block_size, blocks: slots.div_ceil(block_size / slot_size) }
    }

    /// What a process has instead that may not let large frames wait beside small slots: slots for whole
    /// frames in about the same memory. A ring of less than 1 MiB would be too few of them and stays.
    pub(super) fn without_room_beside(self, options: &PortOptions) -> Self {
        if options.slot_size.is_some() || self.is_whole() {
            return self;
        }
        let blocks = (self.bytes() / u64::from(BLOCK)) as u32;
        match options.slots {
            Some(slots) => Self { slots, slot_size: WHOLE_FRAME },
            None if blocks == 0 => self,
            None => Self { slots: blocks * SLOTS_PER_BLOCK, slot_size: WHOLE_FRAME },
        }
    }
}

impl PortOptions {
    /// The user has said how large the receive rings are to be.
    pub fn says_ring_size(&self) -> bool {
        (self.slots, self.slot_size) != (None, None)
    }

    /// The size of each of `queues` receive rings: what the user said, or else `planned`.
    pub fn ring_size(&self, planned: RingSize, queues: usize) -> RingSize {
        if !self.says_ring_size() {
            return planned;
        }
        let slot_size = self.slot_size.unwrap_or(SMALL);
        let usual =
            if slot_size >= WHOLE_FRAME { RingSize::large(queues).slots } else { SMALL_SLOTS };
        RingSize { slots: self.slots.unwrap_or(usual), slot_size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_fit_their_blocks() {
        let check = |size: RingSize, expected: (u32, u32)| {
            let geometry = size.geometry();
            assert_eq!((geometry.block_size, geometry.blocks), expected);
            assert!(geometry.slots() >= size.slots);
            assert!(geometry.block_size.is_power_of_two());
        };
        check(RingSize::large(1), (1 << 20, 32));
        check(RingSize::default(), (1 << 20, 8));
        check(RingSize::small(16), (32_768, 1));
        let of_size = |slot_size| RingSize { slots: 16, slot_size };
        check(of_size(1040), (32_768, 1));
        check(of_size(512), (8192, 1));
        check(of_size(1 << 20), (1 << 20, 16));
        check(of_size(WHOLE_FRAME), (1 << 20, 2));
    }

    #[test]
    fn what_the_user_said_stays() {
        let said = |slots, slot_size| PortOptions { slots, slot_size, ..PortOptions::default() };
        let size = |options: PortOptions, queues| {
            let RingSize { slots, slot_size } = options.ring_size(RingSize::large(queues), queues);
            (slots, slot_size)
        };
        assert_eq!(size(said(None, None), 1), (480, WHOLE_FRAME));
        assert_eq!(size(said(None, None), 2), (240, WHOLE_FRAME));
        assert_eq!(size(said(Some(16), None), 2), (16, 2048));
        assert_eq!(size(said(None, Some(1040)), 1), (4096, 1040));
        assert_eq!(size(said(None, Some(WHOLE_FRAME)), 2), (240, WHOLE_FRAME));
    }

    #[test]
    fn large_frames_that_may_not_wait_beside_a_ring_have_slots_in_it() {
        let any = PortOptions::default();
        let whole = RingSize::default().without_room_beside(&any);
        assert_eq!((whole.slots, whole.slot_size), (8 * SLOTS_PER_BLOCK, WHOLE_FRAME));
        assert_eq!(whole.bytes(), RingSize::default().bytes());
        assert_eq!(RingSize::small(64).without_room_beside(&any), RingSize::small(64));
        let said = PortOptions { slots: Some(64), slot_size: Some(2048), ..any };
        assert_eq!(RingSize::small(64).without_room_beside(&said), RingSize::small(64));
    }
}

//! [`Batch`]: the frames of one receive call, and the copies that actions make of them.

use crate::{Frame, Tunneled};
use arrayvec::ArrayVec;

/// How many received frames a batch has at most. The number is large enough to spread the cost of a system
/// call, and small enough that the keys of a batch stay in the first-level data cache of a CPU.
pub const MAX_BATCH: usize = 64;

/// The segments of a frame that asks for no more than this do not count against [`MOST_SEGMENTS`]. Hosts send
/// 64 KiB in 45 segments.
const FEW_SEGMENTS: usize = 48;
/// The number of segments that count from which on a batch takes no more frames.
const MOST_SEGMENTS: usize = 1024;

/// Names a frame of a batch: a received frame, or a copy that an action made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(u16);

impl FrameId {
    /// The received frame at `index`, which must be below [`MAX_BATCH`].
    pub const fn received(index: usize) -> Self {
        Self(index as u16)
    }

    /// The index among the received frames; `None` for a copy.
    #[inline]
    pub fn received_index(self) -> Option<usize> {
        ((self.0 as usize) < MAX_BATCH).then_some(self.0 as usize)
    }

    /// The index among the copies.
    ///
    /// # Panics
    /// If the id names a received frame.
    pub fn copy_index(self) -> usize {
        self.0 as usize - MAX_BATCH
    }
}

/// A frame in a port's queue that a queueing discipline is to tell from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prioritized {
    /// The place of the frame in the queue; the first frame has 0.
    pub place: u32,
    /// The priority, which is not 0 (`SO_PRIORITY`, socket(7)).
    pub priority: u32,
}

/// The frames of one receive call, and copies of them.
///
/// Received frames stay in the slots of the receive queue. The borrow `'a` of the queue keeps it from reusing
/// the slots before the batch is dropped.
pub struct Batch<'a> {
    /// How many received frames the batch takes; 0 once their segments are too many.
    limit: usize,
    /// The number of segments that frames of more than [`FEW_SEGMENTS`] ask for.
    segments: usize,
    received: ArrayVec<Frame<'a>, MAX_BATCH>,
    copies: Vec<Frame<'a>>,
    /// The tunnels that the received frames came through; `None` if a device received them.
    tunneled: Option<Tunneled<'a>>,
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Batch<'a> {
    /// An empty batch for [`MAX_BATCH`] received frames.
    pub fn new() -> Self {
        Self::limited(MAX_BATCH)
    }

    /// An empty batch for `frames` received frames; for [`MAX_BATCH`] if `frames` is larger.
    pub fn limited(frames: usize) -> Self {
        let limit = frames.min(MAX_BATCH);
        Self { limit, segments: 0, received: ArrayVec::new(), copies: Vec::new(), tunneled: None }
    }

    /// Adds a received frame.
    ///
    /// # Panics
    /// If the batch has [`MAX_BATCH`] received frames.
    #[inline]
    pub fn push(&mut self, frame: Frame<'a>) {
        if frame.offload.is_gso() {
            self.weigh(&frame);
        }
        self.received.push(frame);
    }

    /// Says that all received frames of the batch came through tunnels.
    pub fn come_through(&mut self, tunneled: Tunneled<'a>) {
        self.tunneled = Some(tunneled);
    }

    /// The tunnels that the received frames came through; `None` if they came through none.
    #[inline]
    pub fn tunneled(&self) -> Option<Tunneled<'a>> {
        self.tunneled
    }

    /// Counts the segments that a frame asks for, and closes the batch once there are too many: the frames of
    /// other ports have their turn before more segments are made.
    fn weigh(&mut self, frame: &Frame<'_>) {
        let segments = frame.size() / usize::from(frame.offload.gso_size.max(1));
        if segments > FEW_SEGMENTS {
            self.segments += segments;
            if self.segments >= MOST_SEGMENTS {
                self.limit = 0;
            }
        }
    }

    /// Whether a received frame asks for far more segments than hosts send.
    #[inline]
    pub fn asks_for_many_segments(&self) -> bool {
        self.segments > 0
    }

    /// How many more received frames the batch takes; 0 once its frames ask for too many
    /// segments. Copies do not count.
    #[inline]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.received.len())
    }

    /// How many received frames the batch has. Copies do not count.
    #[inline]
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Whether the batch has no received frame. It may have copies.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// The received frames, in the order of their arrival.
    #[inline]
    pub fn received(&self) -> &[Frame<'a>] {
        &self.received
    }

    /// The received frames, to edit in place.
    #[inline]
    pub fn received_mut(&mut self) -> &mut [Frame<'a>] {
        &mut self.received
    }

    /// Adds a copy. `None`, and the copy is dropped, if the batch has 65,472 copies, which use up
    /// the ids of 16 bits.
    pub fn add_copy(&mut self, frame: Frame<'a>) -> Option<FrameId> {
        let id = u16::try_from(MAX_BATCH + self.copies.len()).ok()?;
        self.copies.push(frame);
        Some(FrameId(id))
    }

    /// The received frame or copy with this id.
    ///
    /// # Panics
    /// If the batch has no frame with this id.
    #[inline]
    pub fn frame(&self, id: FrameId) -> &Frame<'a> {
        match id.received_index() {
            Some(i) => &self.received[i],
            None => &self.copies[id.0 as usize - MAX_BATCH],
        }
    }

    /// The received frame or copy with this id, to edit in place.
    ///
    /// # Panics
    /// If the batch has no frame with this id.
    #[inline]
    pub fn frame_mut(&mut self, id: FrameId) -> &mut Frame<'a> {
        match id.received_index() {
            Some(i) => &mut self.received[i],
            None => &mut self.copies[id.0 as usize - MAX_BATCH],
        }
    }

    /// Gives the batch an empty vector with capacity for copies, such as one that [`Batch::take_copies`]
    /// returned, so that the first copies need no allocation. A batch that has copies keeps its own vector.
    pub fn give_room(&mut self, room: Vec<Frame<'a>>) {
        if self.copies.is_empty() {
            self.copies = room;
            self.copies.clear();
        }
    }

    /// Removes the copies from the batch and returns them, so that their buffers and the vector can be reused.
    pub fn take_copies(&mut self) -> Vec<Frame<'a>> {
        std::mem::take(&mut self.copies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offload;

    #[test]
    fn frames_of_many_segments_fill_a_batch() {
        let frames_of = |gso_type: u8, gso_size: u16| {
            let offload = Offload { gso_type, gso_size, ..Offload::NONE };
            let mut batch = Batch::new();
            while batch.room() > 0 {
                batch.push(Frame::owned(&[0; 60_000], offload));
            }
            batch.len()
        };
        assert_eq!(frames_of(0, 0), MAX_BATCH);
        assert_eq!(frames_of(1, 1448), MAX_BATCH, "what hosts send");
        assert_eq!(frames_of(1, 500), 9);
        assert_eq!(frames_of(1, 118), 3);
        assert_eq!(frames_of(1, 1), 1);
        assert_eq!(frames_of(1, 0), 1);
    }
}

//! What one receive call hands over, and what a transmit call refers to.

use crate::Frame;
use arrayvec::ArrayVec;

/// Frames of one receive call at most: large enough to spread the cost of a system call, small
/// enough that keys and frames of a batch stay in the first-level cache.
pub const MAX_BATCH: usize = 64;

/// Names a frame of a batch: a received one, or a copy made while executing actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(u16);

impl FrameId {
    /// The received frame at `index`, counted from 0 and below [`MAX_BATCH`].
    pub const fn received(index: usize) -> Self {
        Self(index as u16)
    }

    /// The position among the received frames, from 0; `None` for a copy.
    #[inline]
    pub fn received_index(self) -> Option<usize> {
        ((self.0 as usize) < MAX_BATCH).then_some(self.0 as usize)
    }

    /// The position among the copies, from 0.
    ///
    /// # Panics
    /// If the frame was received.
    pub fn copy_index(self) -> usize {
        self.0 as usize - MAX_BATCH
    }
}

/// Received frames, and copies of them made on the way.
///
/// Received frames stay in the slots of the queue that lent them; the borrow `'a` keeps the queue
/// from receiving again until the batch is gone.
pub struct Batch<'a> {
    /// Received frames that are taken at most.
    limit: usize,
    received: ArrayVec<Frame<'a>, MAX_BATCH>,
    copies: Vec<Frame<'a>>,
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Batch<'a> {
    /// An empty batch.
    pub fn new() -> Self {
        Self::limited(MAX_BATCH)
    }

    /// An empty batch for `frames` received frames, [`MAX_BATCH`] at most.
    pub fn limited(frames: usize) -> Self {
        let limit = frames.min(MAX_BATCH);
        Self { limit, received: ArrayVec::new(), copies: Vec::new() }
    }

    /// Adds a received frame.
    ///
    /// # Panics
    /// If the batch is full ([`Batch::room`] is 0).
    #[inline]
    pub fn push(&mut self, frame: Frame<'a>) {
        self.received.push(frame);
    }

    /// How many more received frames fit. Copies take no room.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.received.len())
    }

    /// Number of received frames.
    #[inline]
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Nothing was received. There may be copies.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// The received frames, in the order of their arrival.
    #[inline]
    pub fn received(&self) -> &[Frame<'a>] {
        &self.received
    }

    /// The received frames, to edit.
    #[inline]
    pub fn received_mut(&mut self) -> &mut [Frame<'a>] {
        &mut self.received
    }

    /// Adds a frame that was not received; `None` when all names are taken, by [`MAX_BATCH`] received
    /// frames and 65,472 copies.
    pub fn add_copy(&mut self, frame: Frame<'a>) -> Option<FrameId> {
        let id = u16::try_from(MAX_BATCH + self.copies.len()).ok()?;
        self.copies.push(frame);
        Some(FrameId(id))
    }

    /// The frame with this name, received or copied.
    ///
    /// # Panics
    /// If `id` is not of this batch.
    #[inline]
    pub fn frame(&self, id: FrameId) -> &Frame<'a> {
        match id.received_index() {
            Some(i) => &self.received[i],
            None => &self.copies[id.0 as usize - MAX_BATCH],
        }
    }

    /// The frame with this name, to edit.
    ///
    /// # Panics
    /// If `id` is not of this batch.
    #[inline]
    pub fn frame_mut(&mut self, id: FrameId) -> &mut Frame<'a> {
        match id.received_index() {
            Some(i) => &mut self.received[i],
            None => &mut self.copies[id.0 as usize - MAX_BATCH],
        }
    }

    /// Gives the batch room for copies, an empty vector that the copies of another batch were in, so that the first
    /// copies need no allocation. Nothing is done if the batch has copies already.
    pub fn give_room(&mut self, room: Vec<Frame<'a>>) {
        if self.copies.is_empty() {
            self.copies = room;
            self.copies.clear();
        }
    }

    /// Takes the copies out, so that their buffers, and the vector, can be used again.
    pub fn take_copies(&mut self) -> Vec<Frame<'a>> {
        std::mem::take(&mut self.copies)
    }
}

//! One Ethernet frame, edited where it lies.

use crate::Offload;

/// Bytes that owned frames keep free before their first byte: room for a virtio-net header and for
/// the tags, labels and tunnel headers that actions push.
pub const HEADROOM: usize = 128;

/// Where the headers of a frame begin, in bytes from its start; found by key extraction.
///
/// Zero means "not present": no network or transport header can begin at the destination MAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// First MPLS label stack entry.
    pub l2_5: u16,
    /// Network header (IPv4, IPv6, ARP).
    pub l3: u16,
    /// Transport header, or what follows the network header in a later fragment.
    pub l4: u16,
    /// Bytes at the end of the frame that the network header's length does not cover.
    pub padding: u16,
}

impl Layers {
    /// First byte behind the Ethernet header and its tags: of the label stack, or of the network header.
    pub(crate) fn l2_end(self) -> u16 {
        if self.l2_5 != 0 { self.l2_5 } else { self.l3 }
    }

    /// The positions once `by` bytes were added before all headers, or taken away if `by` is negative.
    fn shifted(self, by: i16) -> Self {
        let shift = |at: u16| if at == 0 { 0 } else { at.saturating_add_signed(by) };
        Self { l2_5: shift(self.l2_5), l3: shift(self.l3), l4: shift(self.l4), ..self }
    }
}

enum Storage<'a> {
    Lent(&'a mut [u8]),
    Owned(Vec<u8>),
}

/// An Ethernet frame with headroom, its offload metadata and the positions of its headers.
pub struct Frame<'a> {
    storage: Storage<'a>,
    start: u32,
    end: u32,
    /// What the sender left undone. Positions count from the frame's first byte.
    pub offload: Offload,
    /// Where the headers are. Key extraction finds them, and whoever edits the frame keeps them right.
    pub layers: Layers,
}

impl<'a> Frame<'a> {
    /// A frame in bytes `start..end` of a buffer that is lent, with headroom before it.
    ///
    /// # Panics
    /// If `start..end` is not a range of `buf`.
    pub fn lent(buf: &'a mut [u8], start: usize, end: usize, offload: Offload) -> Self {
        assert!(start <= end && end <= buf.len() && end <= u32::MAX as usize);
        Self {
            storage: Storage::Lent(buf),
            start: start as u32,
            end: end as u32,
            offload,
            layers: Layers::default(),
        }
    }

    /// A frame with a buffer of its own that holds a copy of `bytes` behind [`HEADROOM`] bytes.
    pub fn owned(bytes: &[u8], offload: Offload) -> Self {
        Self::owned_in(Vec::new(), bytes, offload)
    }

    /// As [`Frame::owned`], reusing the allocation of `buf`.
    pub fn owned_in(mut buf: Vec<u8>, bytes: &[u8], offload: Offload) -> Self {
        buf.clear();
        buf.resize(HEADROOM, 0);
        buf.extend_from_slice(bytes);
        let end = buf.len() as u32;
        Self {
            storage: Storage::Owned(buf),
            start: HEADROOM as u32,
            end,
            offload,
            layers: Layers::default(),
        }
    }

    /// The frame in `buf`, whose first `headroom` bytes are free; nothing is copied.
    ///
    /// # Panics
    /// If `buf` is shorter than `headroom`.
    pub fn from_buffer(buf: Vec<u8>, headroom: usize, offload: Offload) -> Self {
        assert!(headroom <= buf.len() && buf.len() <= u32::MAX as usize);
        let end = buf.len() as u32;
        Self {
            storage: Storage::Owned(buf),
            start: headroom as u32,
            end,
            offload,
            layers: Layers::default(),
        }
    }

    /// The frame's bytes, destination MAC first, without FCS.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer()[self.start as usize..self.end as usize]
    }

    /// The frame's bytes, to edit.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let range = self.start as usize..self.end as usize;
        &mut self.buffer_mut()[range]
    }

    /// Bytes of the frame, without FCS.
    #[inline]
    pub fn size(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Free bytes before the frame, into which it can grow.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Adds `n` bytes before the frame, of whatever contents, and returns whether there was room. A lent
    /// frame moves into memory of its own, with [`HEADROOM`], once its slot has no more room.
    /// Positions in `offload` and `layers` do not move; the caller says what moved.
    #[must_use]
    pub fn grow_front(&mut self, n: usize) -> bool {
        if self.headroom() < n {
            // A lent slot has no more room: continue in memory of our own.
            if n > HEADROOM || matches!(self.storage, Storage::Owned(_)) {
                return false;
            }
            let Frame { storage, start, end, .. } = Frame::owned(self.bytes(), self.offload);
            (self.storage, self.start, self.end) = (storage, start, end);
        }
        self.start -= n as u32;
        true
    }

    /// Removes `n` bytes from the front. Positions in `offload` and `layers` do not move.
    ///
    /// # Panics
    /// If the frame is shorter.
    pub fn shrink_front(&mut self, n: usize) {
        assert!(n <= self.size());
        self.start += n as u32;
    }

    /// Cuts the frame to `size` bytes; a longer `size` changes nothing.
    pub fn truncate(&mut self, size: usize) {
        self.end = self.end.min(self.start.saturating_add(size as u32));
    }

    /// The frame with `header` written directly before it, for sockets that want one there.
    /// `None` if there is no room.
    pub fn bytes_with_header(&mut self, header: &[u8]) -> Option<&[u8]> {
        let start = (self.start as usize).checked_sub(header.len())?;
        let (frame_start, end) = (self.start as usize, self.end as usize);
        let buf = self.buffer_mut();
        buf[start..frame_start].copy_from_slice(header);
        Some(&buf[start..end])
    }

    /// The frame and the `n` bytes directly before it, such as a header that was written there.
    /// `None` if there are not as many.
    #[inline]
    pub fn bytes_and_before(&self, n: usize) -> Option<&[u8]> {
        let start = (self.start as usize).checked_sub(n)?;
        Some(&self.buffer()[start..self.end as usize])
    }

    /// Opens a gap of `n` bytes at `at`: the bytes before it move into the headroom, and positions in
    /// `offload` and `layers` follow what lies behind it. Returns `false`, and changes nothing, if the
    /// frame ends before `at` or there is no room.
    #[must_use]
    pub(crate) fn open_gap(&mut self, at: usize, n: usize) -> bool {
        if at > self.size() || !self.grow_front(n) {
            return false;
        }
        self.bytes_mut().copy_within(n..n + at, 0);
        self.shift_positions(n as i16);
        true
    }

    /// Takes out the `n` bytes at `at`, the reverse of [`Frame::open_gap`].
    ///
    /// # Panics
    /// If the frame ends before `at + n`.
    pub(crate) fn close_gap(&mut self, at: usize, n: usize) {
        self.bytes_mut().copy_within(..at, n);
        self.shrink_front(n);
        self.shift_positions(-(n as i16));
    }

    fn shift_positions(&mut self, by: i16) {
        self.offload.shift(by);
        self.layers = self.layers.shifted(by);
    }

    /// A copy with a buffer of its own; `buf` is reused as its allocation.
    pub fn copy_in<'b>(&self, buf: Vec<u8>) -> Frame<'b> {
        let mut copy = Frame::owned_in(buf, self.bytes(), self.offload);
        copy.layers = self.layers;
        copy
    }

    /// The allocation of an owned frame, for reuse.
    pub fn into_buffer(self) -> Option<Vec<u8>> {
        match self.storage {
            Storage::Owned(buf) => Some(buf),
            Storage::Lent(_) => None,
        }
    }

    #[inline]
    fn buffer(&self) -> &[u8] {
        match &self.storage {
            Storage::Lent(buf) => buf,
            Storage::Owned(buf) => buf,
        }
    }

    #[inline]
    fn buffer_mut(&mut self) -> &mut [u8] {
        match &mut self.storage {
            Storage::Lent(buf) => buf,
            Storage::Owned(buf) => buf,
        }
    }
}

impl std::fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("size", &self.size())
            .field("offload", &self.offload)
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_frame_grows_into_its_slot_and_then_into_memory_of_its_own() {
        let mut slot = [7u8; 20];
        let mut f = Frame::lent(&mut slot, 6, 20, Offload::NONE);
        assert!(f.grow_front(4));
        assert_eq!(f.headroom(), 2);
        f.bytes_mut()[..4].copy_from_slice(&[1, 2, 3, 4]);
        assert!(f.grow_front(4), "the slot is full: continues in an owned buffer");
        f.bytes_mut()[..4].copy_from_slice(&[9; 4]);
        assert_eq!(f.bytes()[..9], [9, 9, 9, 9, 1, 2, 3, 4, 7]);
        assert_eq!(f.size(), 22);
    }

    #[test]
    fn the_header_lies_directly_before_the_frame() {
        let mut f = Frame::owned(&[1, 2, 3], Offload::NONE);
        assert_eq!(f.bytes_with_header(&[8, 9]), Some(&[8, 9, 1, 2, 3][..]));
        assert_eq!(f.bytes(), [1, 2, 3]);
    }
}

//! [`Frame`]: an Ethernet frame that is edited in place, in its receive slot if it has one.

use crate::Offload;
use std::ops::Range;

/// How many bytes an owned frame keeps free in front of its first byte. They are room for a virtio-net header
/// and for the tags, labels and tunnel headers that actions push.
pub const HEADROOM: usize = 128;

/// The offsets in a frame at which its headers begin. Key extraction finds them.
///
/// An offset of zero means that the frame does not have the header. Zero cannot be a real offset, because
/// frames begin with the destination MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Offset of the first MPLS label stack entry.
    pub l2_5: u16,
    /// Offset of the network header (IPv4, IPv6, ARP), or of whatever follows the EtherType.
    pub l3: u16,
    /// Offset of the transport header; in a later fragment, of the payload.
    pub l4: u16,
    /// How many bytes of padding follow the IP packet at the end of the frame.
    pub padding: u16,
}

impl Layers {
    /// Offset of the byte behind the Ethernet header and its tags: the first of the label stack
    /// or of the network header.
    pub(crate) fn l2_end(self) -> u16 {
        if self.l2_5 != 0 { self.l2_5 } else { self.l3 }
    }

    /// The offsets after `by` bytes were inserted in front of the headers, or removed if `by` is negative.
    fn shifted(self, by: i16) -> Self {
        let shift = |at: u16| if at == 0 { 0 } else { at.saturating_add_signed(by) };
        Self { l2_5: shift(self.l2_5), l3: shift(self.l3), l4: shift(self.l4), ..self }
    }
}

/// The buffer of a frame.
enum Storage<'a> {
    /// A slot of a receive queue.
    Lent(&'a mut [u8]),
    /// An allocation of the frame's own.
    Owned(Vec<u8>),
}

/// An Ethernet frame with headroom, its offload metadata and the offsets of its headers.
pub struct Frame<'a> {
    storage: Storage<'a>,
    /// Offset of the frame's first byte in the buffer. The bytes in front of it are headroom.
    start: u32,
    /// Offset behind the frame's last byte in the buffer.
    end: u32,
    /// The checksum and segmentation that the sender left undone. Its offsets count
    /// from the frame's first byte.
    pub offload: Offload,
    /// The offsets of the headers. Key extraction sets them, and every edit that moves
    /// headers has to adjust them.
    pub layers: Layers,
}

impl<'a> Frame<'a> {
    /// The frame in bytes `start..end` of a lent buffer. The bytes in front of `start` are its headroom.
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

    /// A frame that is a copy of `bytes`, in a new buffer with [`HEADROOM`] bytes of headroom.
    pub fn owned(bytes: &[u8], offload: Offload) -> Self {
        Self::owned_in(Vec::new(), bytes, offload)
    }

    /// As [`Frame::owned`], in the allocation of `buf`, whose contents are lost.
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

    /// The frame that begins behind the first `headroom` bytes of `buf` and ends with it. No bytes are copied.
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

    /// The bytes of the frame, from the destination MAC address on, without frame check sequence.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer()[self.start as usize..self.end as usize]
    }

    /// The bytes of the frame, to edit in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let range = self.start as usize..self.end as usize;
        &mut self.buffer_mut()[range]
    }

    /// Size of the frame in bytes, without frame check sequence.
    #[inline]
    pub fn size(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// How many free bytes there are in front of the frame.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Adds `n` bytes to the front of the frame. Their contents are arbitrary, and the caller has to write
    /// them. Returns whether there was room; if not, the frame is unchanged.
    ///
    /// A lent frame without enough headroom moves to a buffer of its own, with [`HEADROOM`] bytes. Offsets in
    /// `offload` and `layers` do not change, because only the caller knows which headers moved.
    #[must_use]
    pub fn grow_front(&mut self, n: usize) -> bool {
        if self.headroom() < n {
            // The slot of a lent frame has no more room, so the frame moves to a buffer of its own.
            if n > HEADROOM || matches!(self.storage, Storage::Owned(_)) {
                return false;
            }
            let Frame { storage, start, end, .. } = Frame::owned(self.bytes(), self.offload);
            (self.storage, self.start, self.end) = (storage, start, end);
        }
        self.start -= n as u32;
        true
    }

    /// Removes `n` bytes from the front. Offsets in `offload` and `layers` do not change.
    ///
    /// # Panics
    /// If the frame has fewer than `n` bytes.
    pub fn shrink_front(&mut self, n: usize) {
        assert!(n <= self.size());
        self.start += n as u32;
    }

    /// Cuts off the bytes behind the first `size`; a frame of `size` bytes or fewer does not change.
    pub fn truncate(&mut self, size: usize) {
        self.end = self.end.min(self.start.saturating_add(size as u32));
    }

    /// Writes `header` into the headroom, directly in front of the frame, and returns header and frame as one
    /// slice, as sockets with a virtio-net header want it. `None` if the headroom is too small.
    pub fn bytes_with_header(&mut self, header: &[u8]) -> Option<&[u8]> {
        let start = (self.start as usize).checked_sub(header.len())?;
        let (frame_start, end) = (self.start as usize, self.end as usize);
        let buf = self.buffer_mut();
        buf[start..frame_start].copy_from_slice(header);
        Some(&buf[start..end])
    }

    /// The `n` bytes directly in front of the frame, such as a header that [`Frame::bytes_with_header`] wrote,
    /// and the frame, as one slice. `None` if the headroom is smaller than `n`.
    #[inline]
    pub fn bytes_and_before(&self, n: usize) -> Option<&[u8]> {
        let start = (self.start as usize).checked_sub(n)?;
        Some(&self.buffer()[start..self.end as usize])
    }

    /// Inserts `n` bytes of arbitrary contents at offset `at`, by moving the bytes in front of `at` into the
    /// headroom. Offsets in `offload` and `layers` are adjusted for headers behind `at`. Returns `false`, and
    /// changes nothing, if the frame ends before `at` or there is no room.
    #[must_use]
    pub(crate) fn open_gap(&mut self, at: usize, n: usize) -> bool {
        if at > self.size() || !self.grow_front(n) {
            return false;
        }
        self.bytes_mut().copy_within(n..n + at, 0);
        self.shift_positions(n as i16);
        true
    }

    /// Removes the `n` bytes at offset `at`; the reverse of [`Frame::open_gap`].
    ///
    /// # Panics
    /// If the frame ends before `at + n`.
    pub(crate) fn close_gap(&mut self, at: usize, n: usize) {
        self.bytes_mut().copy_within(..at, n);
        self.shrink_front(n);
        self.shift_positions(-(n as i16));
    }

    /// Puts `new` in the place of the bytes in `place`, by moving the bytes in front of them. Offsets in
    /// `offload` and `layers` stay: all headers are in front of `place`. Returns `false`, and changes nothing,
    /// if `new` is longer than the old bytes by more than [`HEADROOM`].
    ///
    /// # Panics
    /// If `place` is not a range of the frame.
    #[must_use]
    pub fn replace(&mut self, place: Range<usize>, new: &[u8]) -> bool {
        let (start, old) = (place.start, place.len());
        assert!(place.end <= self.size() && start <= place.end);
        if let Some(growth) = new.len().checked_sub(old) {
            if growth > self.headroom() && matches!(self.storage, Storage::Owned(_)) {
                *self = self.copy_in(Vec::new());
            }
            if !self.grow_front(growth) {
                return false;
            }
            self.bytes_mut().copy_within(growth..growth + start, 0);
        } else {
            let shrinkage = old - new.len();
            self.bytes_mut().copy_within(..start, shrinkage);
            self.shrink_front(shrinkage);
        }
        self.bytes_mut()[start..start + new.len()].copy_from_slice(new);
        true
    }

    fn shift_positions(&mut self, by: i16) {
        self.offload.shift(by);
        self.layers = self.layers.shifted(by);
    }

    /// A copy of the frame, in the allocation of `buf`, whose contents are lost.
    pub fn copy_in<'b>(&self, buf: Vec<u8>) -> Frame<'b> {
        let mut copy = Frame::owned_in(buf, self.bytes(), self.offload);
        copy.layers = self.layers;
        copy
    }

    /// The buffer of an owned frame, for reuse; `None` for a lent frame.
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
    fn bytes_are_replaced_by_more_or_by_fewer() {
        let mut slot = [1, 2, 3, 4, 5, 6, 7, 8];
        let mut f = Frame::lent(&mut slot, 2, 8, Offload::NONE);
        assert!(f.replace(2..4, &[9; 4]));
        assert_eq!((f.bytes(), f.headroom()), (&[3, 4, 9, 9, 9, 9, 7, 8][..], 0));
        assert!(f.replace(1..7, &[]));
        assert_eq!((f.bytes(), f.headroom()), (&[3, 8][..], 6));
        assert!(f.replace(2..2, &[5]));
        assert_eq!(f.bytes(), [3, 8, 5]);

        let mut f = Frame::owned(&[1, 2, 3], Offload::NONE);
        assert!(
            f.replace(1..2, &[7; HEADROOM + 1]),
            "a frame in memory of its own grows by HEADROOM bytes"
        );
        assert_eq!((f.size(), f.bytes()[0], f.bytes()[HEADROOM + 2]), (HEADROOM + 3, 1, 3));
        let before = f.bytes().to_vec();
        assert!(!f.replace(0..1, &[7; HEADROOM + 2]));
        assert_eq!(f.bytes(), before);
    }

    #[test]
    fn the_header_lies_directly_before_the_frame() {
        let mut f = Frame::owned(&[1, 2, 3], Offload::NONE);
        assert_eq!(f.bytes_with_header(&[8, 9]), Some(&[8, 9, 1, 2, 3][..]));
        assert_eq!(f.bytes(), [1, 2, 3]);
    }
}

//! A queue that grows without moving its elements.
//!
//! A `VecDeque` that is full moves its elements to an allocation of twice the size. With hundreds
//! of thousands of elements that would keep readers waiting.

use std::collections::VecDeque;

/// Number of elements in a piece.
const PIECE: usize = 1024;

/// A double-ended queue in pieces.
#[derive(Debug)]
pub(super) struct Queue<E>(VecDeque<VecDeque<E>>);

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<E> Queue<E> {
    pub(super) fn front(&self) -> Option<&E> {
        self.0.front()?.front()
    }

    pub(super) fn push_back(&mut self, element: E) {
        if let Some(piece) = self.0.back_mut().filter(|piece| piece.len() < PIECE) {
            return piece.push_back(element);
        }
        // The first piece starts small, because most queues are short.
        let mut piece = VecDeque::with_capacity(if self.0.is_empty() { 1 } else { PIECE });
        piece.push_back(element);
        self.0.push_back(piece);
    }

    pub(super) fn pop_front(&mut self) -> Option<E> {
        let piece = self.0.front_mut()?;
        let element = piece.pop_front();
        if piece.is_empty() {
            self.0.pop_front();
        }
        element
    }

    pub(super) fn push_front(&mut self, element: E) {
        if let Some(piece) = self.0.front_mut().filter(|piece| piece.len() < PIECE) {
            return piece.push_front(element);
        }
        let mut piece = VecDeque::with_capacity(if self.0.is_empty() { 1 } else { PIECE });
        piece.push_front(element);
        self.0.push_front(piece);
    }

    pub(super) fn back(&self) -> Option<&E> {
        self.0.back()?.back()
    }

    pub(super) fn pop_back(&mut self) -> Option<E> {
        let piece = self.0.back_mut()?;
        let element = piece.pop_back();
        if piece.is_empty() {
            self.0.pop_back();
        }
        element
    }

    pub(super) fn heap_size(&self) -> usize {
        let elements: usize = self.0.iter().map(VecDeque::capacity).sum();
        self.0.capacity() * size_of::<VecDeque<E>>() + elements * size_of::<E>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_in_their_order_however_many_they_are() {
        let mut queue = Queue::default();
        for n in [0, 1, PIECE, 3 * PIECE + 5] {
            (0..n).for_each(|i| queue.push_back(i));
            for i in 0..n {
                assert_eq!((queue.front().copied(), queue.pop_front()), (Some(i), Some(i)));
            }
            assert_eq!((queue.front(), queue.heap_size() < 1000), (None, true));
            assert_eq!(queue.pop_front(), None);
        }
    }

    #[test]
    fn elements_come_and_go_at_both_ends() {
        let mut queue = Queue::default();
        (0..2 * PIECE).for_each(|i| queue.push_front(i));
        (0..5).for_each(|i| queue.push_back(i));
        assert_eq!((queue.back().copied(), queue.pop_back()), (Some(4), Some(4)));
        for i in (0..2 * PIECE).rev().chain(0..4) {
            assert_eq!(queue.pop_front(), Some(i));
        }
        assert_eq!(queue.back(), None);
        assert_eq!(queue.pop_back(), None);
    }
}

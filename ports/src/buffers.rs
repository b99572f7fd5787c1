//! Buffers for whole frames, of which a thread needs one set, however many queues it receives from.
//!
//! A queue takes a set when it receives, and gives it back when its batch is released: 64 frames of up to
//! 68 KiB are 4.3 MiB, which is too much for each of a thousand ports. What one queue used last is also
//! what the next one finds in the processor's cache.

use packet::MAX_BATCH;
use std::cell::Cell;

/// A buffer for each frame of a batch, each without memory until it is used for the first time.
pub(crate) type Buffers = Vec<Vec<u8>>;

thread_local! {
    static SPARE: Cell<Buffers> = const { Cell::new(Vec::new()) };
}

/// Fills `buffers` from what this thread has, unless there are some already.
#[inline]
pub(crate) fn take(buffers: &mut Buffers) {
    if buffers.is_empty() {
        *buffers = SPARE.take();
        if buffers.is_empty() {
            *buffers = vec![Vec::new(); MAX_BATCH];
        }
    }
}

/// Gives the buffers back to this thread.
#[inline]
pub(crate) fn give_back(buffers: &mut Buffers) {
    if !buffers.is_empty() {
        SPARE.set(std::mem::take(buffers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_a_thread_use_the_same_memory() {
        let (mut first, mut second) = (Buffers::new(), Buffers::new());
        take(&mut first);
        first[0].resize(10, 7);
        let memory = first[0].as_ptr();
        give_back(&mut first);
        assert!(first.is_empty());
        take(&mut second);
        assert_eq!((second.len(), second[0].as_ptr()), (MAX_BATCH, memory));
        // Two that receive at the same time have a set each.
        take(&mut first);
        assert_eq!((first.len(), first[0].len()), (MAX_BATCH, 0));
    }
}

//! Tells of most hashes, without a lock, that something is not in a table.
//!
//! A flood of packets that begin connections asks for tuples and addresses that nobody knows. To look them up
//! would take a lock, and wait for memory several times. Here one byte answers, and the bytes are few enough to
//! stay in the caches of a processor.

use std::sync::atomic::{AtomicU8, Ordering};
use zerocopy::FromZeros;

/// How many hashes belong to each of a number of counters, for hashes that are in a table. A counter that is
/// full stays so.
#[derive(Debug)]
pub(super) struct Presence(Box<[AtomicU8]>);

/// Counters that are zero. Memory that nobody has written takes no time, and no room until it is written.
pub(super) fn zeroed<T: FromZeros>(counters: usize) -> Box<[T]> {
    let zeroed = <[T]>::new_box_zeroed_with_elems(counters);
    zeroed.expect("there is memory for a table that is not larger than others")
}

impl Presence {
    /// `counters` is a power of two. With more hashes than counters,
    /// [`may_have`](Self::may_have) rarely says no.
    pub(super) fn new(counters: usize) -> Self {
        Self(zeroed(counters))
    }

    /// Whether a hash may be in the table. `false` is certain for a hash whose [`add`](Self::add) the caller
    /// has not heard of.
    #[inline]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.counter(hash).load(Ordering::Acquire) > 0
    }

    /// A hash comes into the table. To be called before.
    pub(super) fn add(&self, hash: u64) {
        // The error says that the counter is full.
        let _ = self
            .counter(hash)
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |count| count.checked_add(1));
    }

    /// A hash that was added has left the table. To be called behind that.
    pub(super) fn remove(&self, hash: u64) {
        // The error says that the counter was full once, and tells nothing any more.
        let _ = self.counter(hash).fetch_update(Ordering::AcqRel, Ordering::Relaxed, |count| {
            (count < u8::MAX).then(|| count - 1)
        });
    }

    /// The counter of a hash. Its number has other bits of the hash than those that choose the shard.
    #[inline]
    fn counter(&self, hash: u64) -> &AtomicU8 {
        &self.0[(hash >> 20) as usize & (self.0.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_there_until_it_was_removed_as_often_as_added() {
        let presence = Presence::new(4);
        let hashes = [0, 1 << 20, 1 << 22];
        hashes.iter().for_each(|hash| presence.add(*hash));
        presence.remove(hashes[0]);
        assert!(presence.may_have(hashes[0]), "another hash has the same counter");
        assert!(presence.may_have(hashes[1]) && !presence.may_have(2 << 20));
        presence.remove(hashes[2]);
        assert!(!presence.may_have(hashes[2]));
    }

    #[test]
    fn a_counter_that_was_full_never_says_no() {
        let presence = Presence::new(1);
        (0..300).for_each(|_| presence.add(7));
        (0..300).for_each(|_| presence.remove(7));
        assert!(presence.may_have(7));
    }
}

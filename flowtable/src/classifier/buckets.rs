//! The hash table of a subtable: from a hash to the block of rows that have it.
//!
//! The table is cut into parts by hash. A hash table that is full is rebuilt with twice the room.
//! Rebuilding a large one would keep readers waiting, so the parts grow one at a time.

use super::rows::Block;
use hashbrown::HashTable;

/// Number of buckets in a part, at most, when the subtable has the number of rules that it was made for.
const PART: usize = 1024;
/// Number of parts, at most.
const MAX_PARTS: usize = 256;

#[derive(Debug)]
pub(super) struct Buckets {
    /// The length is a power of two.
    parts: Box<[HashTable<BucketEntry>]>,
    len: usize,
}

/// A hash with the rows that have it.
#[derive(Debug)]
struct BucketEntry {
    hash: u32,
    block: Block,
}

impl Buckets {
    /// Makes a table for about this number of rules.
    pub(super) fn new(rules: usize) -> Self {
        let parts = (rules / PART).next_power_of_two().min(MAX_PARTS);
        Self { parts: (0..parts).map(|_| HashTable::new()).collect(), len: 0 }
    }

    /// The index of the part that has a hash. It uses bits of the spread hash from which
    /// `HashTable` makes neither the place nor the tag of an entry.
    #[inline(always)]
    fn part(&self, spread: u64) -> usize {
        (spread >> 40) as usize & (self.parts.len() - 1)
    }

    #[inline(always)]
    pub(super) fn find(&self, hash: u32) -> Option<Block> {
        let spread = spread(hash);
        self.parts[self.part(spread)].find(spread, |b| b.hash == hash).map(|b| b.block)
    }

    pub(super) fn find_mut(&mut self, hash: u32) -> Option<&mut Block> {
        let spread = spread(hash);
        let part = self.part(spread);
        self.parts[part].find_mut(spread, |b| b.hash == hash).map(|b| &mut b.block)
    }

    /// Adds a bucket. The hash must not have one.
    pub(super) fn insert(&mut self, hash: u32, block: Block) {
        let spread_hash = spread(hash);
        let part = self.part(spread_hash);
        let bucket = BucketEntry { hash, block };
        self.parts[part].insert_unique(spread_hash, bucket, |b| spread(b.hash));
        self.len += 1;
    }

    /// Removes the bucket with this hash, if there is one.
    pub(super) fn remove(&mut self, hash: u32) {
        let spread = spread(hash);
        let part = self.part(spread);
        if let Ok(found) = self.parts[part].find_entry(spread, |b| b.hash == hash) {
            found.remove();
            self.len -= 1;
        }
    }

    pub(super) fn blocks_mut(&mut self) -> impl Iterator<Item = &mut Block> {
        self.parts.iter_mut().flatten().map(|bucket| &mut bucket.block)
    }

    /// Number of buckets that there is room for.
    pub(super) fn places(&self) -> usize {
        self.parts.iter().map(HashTable::capacity).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn heap_size(&self) -> usize {
        let parts = self.parts.iter().map(HashTable::allocation_size).sum::<usize>();
        parts + size_of_val(&*self.parts)
    }
}

/// Makes 64 bits out of a hash of 32. `HashTable` takes the place of an entry from the low bits,
/// and its tag from the high ones.
#[inline(always)]
pub(super) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::lanes::Line;
    use crate::classifier::rows::Rows;

    #[test]
    fn buckets_are_found_in_whatever_part_until_they_are_removed() {
        let mut rows = Rows::new(1);
        let blocks: Vec<Block> = (0..5000).map(|_| rows.create(&[Line::default()])).collect();
        for parts in [0, 20_000] {
            let mut buckets = Buckets::new(parts);
            let hash = |n: usize| (n as u32).wrapping_mul(0x85eb_ca6b);
            blocks.iter().enumerate().for_each(|(n, block)| buckets.insert(hash(n), *block));
            assert_eq!(buckets.len(), 5000);
            (0..5000).step_by(2).for_each(|n| buckets.remove(hash(n)));
            for (n, block) in blocks.iter().enumerate() {
                let there = (n % 2 == 1).then_some(*block);
                assert_eq!(buckets.find(hash(n)), there);
                assert_eq!(buckets.find_mut(hash(n)).copied(), there);
            }
        }
    }
}

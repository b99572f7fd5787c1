//! Sets of small numbers, one bit each: of the words of a key, say.
//!
//! Whoever keeps a bit for each word names the width after the number of words, so that a key with more
//! of them makes the set wider instead of losing the last ones.

/// A set of numbers below `64 * BLOCKS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitSet<const BLOCKS: usize>([u64; BLOCKS]);

/// How many blocks of a [`BitSet`] hold this many numbers.
pub const fn blocks(numbers: usize) -> usize {
    numbers.div_ceil(64)
}

impl<const BLOCKS: usize> Default for BitSet<BLOCKS> {
    fn default() -> Self {
        Self([0; BLOCKS])
    }
}

impl<const BLOCKS: usize> BitSet<BLOCKS> {
    /// Adds a number.
    ///
    /// # Panics
    /// If the set is not wide enough for it.
    #[inline]
    pub fn insert(&mut self, n: usize) {
        self.0[n / 64] |= 1 << (n % 64);
    }

    /// Whether a number is in the set. One that the set is not wide enough for is not.
    #[inline]
    pub fn contains(&self, n: usize) -> bool {
        self.0.get(n / 64).is_some_and(|block| block >> (n % 64) & 1 != 0)
    }

    /// Whether every number of `other` is in the set, too.
    #[inline]
    pub fn includes(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(own, other)| other & !own == 0)
    }

    /// The numbers that are in one of two sets.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own |= other);
        self
    }

    /// How many numbers are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|block| block.count_ones() as usize).sum()
    }

    /// No number is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|block| *block == 0)
    }

    /// The numbers, the smallest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, mut left)| {
            std::iter::from_fn(move || {
                let next = (left != 0).then(|| 64 * at + left.trailing_zeros() as usize);
                left &= left.wrapping_sub(1);
                next
            })
        })
    }
}

impl<const BLOCKS: usize> FromIterator<usize> for BitSet<BLOCKS> {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Self {
        let mut set = Self::default();
        numbers.into_iter().for_each(|n| set.insert(n));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Wide = BitSet<{ blocks(100) }>;

    #[test]
    fn numbers_of_every_block_are_kept_in_order() {
        let set: Wide = [99, 0, 64, 63].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 99]);
        assert_eq!(set.len(), 4);
        assert!(set.contains(64) && !set.contains(65) && !set.contains(1000));
    }

    #[test]
    fn a_union_includes_both() {
        let (a, b): (Wide, Wide) = ([3].into_iter().collect(), [70].into_iter().collect());
        let both = a.union(b);
        assert!(both.includes(&a) && both.includes(&b) && !a.includes(&both));
        assert!(Wide::default().is_empty() && a.includes(&Wide::default()));
    }
}

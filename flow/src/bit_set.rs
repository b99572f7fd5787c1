//! A set of small numbers, with one bit for each possible number: for example the 64-bit words of a key.
//!
//! A user of [`BitSet`] computes the width with [`blocks`] from the number of elements (the words of a key), so
//! that a longer key makes the set wider instead of panicking in [`BitSet::insert`].

/// A set of numbers below `64 * BLOCKS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitSet<const BLOCKS: usize>([u64; BLOCKS]);

/// How many 64-bit blocks a [`BitSet`] needs to hold the numbers `0..numbers`.
pub const fn blocks(numbers: usize) -> usize {
    numbers.div_ceil(64)
}

impl<const BLOCKS: usize> Default for BitSet<BLOCKS> {
    fn default() -> Self {
        Self([0; BLOCKS])
    }
}

impl<const BLOCKS: usize> BitSet<BLOCKS> {
    /// Puts `n` into the set. Putting the same number in again changes nothing.
    ///
    /// # Panics
    /// If `n` is not below `64 * BLOCKS`.
    #[inline]
    pub fn insert(&mut self, n: usize) {
        self.0[n / 64] |= 1 << (n % 64);
    }

    /// Whether `n` is in the set; `false` for numbers from `64 * BLOCKS` on.
    #[inline]
    pub fn contains(&self, n: usize) -> bool {
        self.0.get(n / 64).is_some_and(|block| block >> (n % 64) & 1 != 0)
    }

    /// Whether `other` is a subset of this set.
    #[inline]
    pub fn includes(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(own, other)| other & !own == 0)
    }

    /// The numbers that are in this set, in `other`, or in both.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own |= other);
        self
    }

    /// How many numbers are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|block| block.count_ones() as usize).sum()
    }

    /// Whether the set has no number.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|block| *block == 0)
    }

    /// The numbers of the set in ascending order.
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

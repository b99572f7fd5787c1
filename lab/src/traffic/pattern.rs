//! The contents of test traffic: a byte depends on its position, so that what is lost, doubled or
//! moved is noticed.

/// A prime, so that no power of two of frame or buffer sizes ever falls into step with it.
const PERIOD: usize = 1_048_573;

/// Bytes at any position of an endless stream.
pub(super) struct Pattern {
    /// One period and one block more, so that any block is one slice.
    bytes: Vec<u8>,
}

impl Pattern {
    /// Longest slice [`Pattern::at`] gives.
    pub(super) const BLOCK: usize = 256 * 1024;

    pub(super) fn new() -> Self {
        // xorshift64 (Marsaglia 2003), from a fixed seed.
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(PERIOD + Self::BLOCK + 8);
        while bytes.len() < PERIOD {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            bytes.extend_from_slice(&x.to_le_bytes());
        }
        bytes.truncate(PERIOD);
        bytes.extend_from_within(..Self::BLOCK);
        Self { bytes }
    }

    /// The `len` bytes at `position`; at most [`Pattern::BLOCK`] of them.
    pub(super) fn at(&self, position: u64, len: usize) -> &[u8] {
        let start = (position % PERIOD as u64) as usize;
        &self.bytes[start..start + len.min(Self::BLOCK)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_across_the_end_of_the_period_continues_at_its_beginning() {
        let pattern = Pattern::new();
        let across = pattern.at(PERIOD as u64 - 3, 10);
        assert_eq!(across[3..], *pattern.at(0, 7));
        assert_eq!(across[3..], *pattern.at(5 * PERIOD as u64, 7));
    }
}

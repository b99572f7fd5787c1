//! The contents of test traffic: pseudo-random bytes that depend on their offset in the stream, so that a
//! receiver notices lost, repeated and reordered bytes.

/// The number of bytes after which the stream repeats. It is a prime, so that no size of
/// frames or buffers divides it.
const PERIOD: usize = 1_048_573;

/// An endless stream of bytes that any offset can be read from.
pub(super) struct Pattern {
    /// The first `PERIOD + BLOCK` bytes of the stream, so that a block at any offset is one slice.
    bytes: Vec<u8>,
}

impl Pattern {
    /// The length of the longest slice that [`Pattern::at`] returns, in bytes.
    pub(super) const BLOCK: usize = 256 * 1024;

    pub(super) fn new() -> Self {
        // The generator xorshift64 (Marsaglia 2003) with a fixed seed.
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

    /// The `len` bytes of the stream from offset `position` on, and at most [`Pattern::BLOCK`] bytes.
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

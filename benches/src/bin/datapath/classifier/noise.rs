//! Numbers and orders that look random and depend on a seed alone.

/// Puts the list into an order that depends on the seed alone (Fisher-Yates).
pub(super) fn shuffle<E>(list: &mut [E], seed: u64) {
    let mut noise = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for last in (1..list.len()).rev() {
        list.swap(last, xorshift(&mut noise) as usize % (last + 1));
    }
}

/// The next number of a sequence (xorshift64). `state` must not be 0.
pub(super) fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

//! Remembers which values the rules of a subtable have in each lane, and in the leading bytes of each lane.
//!
//! When a key has no bucket in a subtable, all bits of the hash mask explain why. Fewer bits do if,
//! for example, no rule has the key's source address, or not even the first byte of it. A counting
//! Bloom filter answers whether a value is absent. When it errs, it takes an absent value for a
//! present one. This adds bits to a mask, which is never wrong.

use super::lanes::{HashKeys, LANES, Layout, Line};
use flow::PipelineMask;

/// Number of counters for each expected bucket.
const CELLS: usize = 16;
/// Number of counters of the smallest filter.
const FEWEST: usize = 1024;
/// A counter that has reached this value stays there, because it may have missed additions.
const FULL: u8 = 15;
/// Masks of the leading bytes of a lane.
const BYTES: [u32; 4] = [0xff00_0000, 0xffff_0000, 0xffff_ff00, u32::MAX];
/// Number of hashed bits in a lane from which it pays to remember its leading bytes, too.
const MANY: u32 = 17;

/// Counters of four bits, two in each byte. The length is a power of two.
pub(super) type Cells = Box<[u8]>;

/// Makes the counters for `buckets` buckets of a subtable with this hash mask. Zeroing them takes
/// up to a millisecond in the largest tables.
pub(super) fn cells(hash_mask: &PipelineMask, buckets: usize) -> Cells {
    // A subtable that hashes nothing has nothing to remember.
    let hashes = hash_mask.words().iter().any(|word| *word != 0);
    let cells = if hashes { (CELLS * buckets).max(FEWEST).next_power_of_two() } else { 2 };
    vec![0; cells / 2].into()
}

/// The filter of one subtable. See the [module](self).
#[derive(Debug)]
pub(super) struct Presence {
    cells: Cells,
    lanes: Vec<Lane>,
    steps: Vec<Step>,
}

/// A lane in which the hash mask has bits.
#[derive(Debug)]
struct Lane {
    lane: u16,
    /// The lane's steps are `Presence::steps[start..end]`, the one with the fewest bits first.
    start: u16,
    end: u16,
}

/// The bits of the hash mask in the leading bytes of one lane.
#[derive(Debug)]
struct Step {
    lane: u16,
    bits: u32,
    multiplier: u64,
}

impl Step {
    #[inline(always)]
    fn hash(&self, lines: &[Line]) -> usize {
        let lane = usize::from(self.lane);
        let value = lines[lane / LANES].0[lane % LANES] & self.bits;
        (u64::from(value).wrapping_add(1).wrapping_mul(self.multiplier) >> 32) as usize
    }
}

impl Presence {
    /// Makes an empty filter. `cells` must be new, from [`cells`].
    pub(super) fn new(layout: &Layout, hash_lines: &[Line], keys: &HashKeys, cells: Cells) -> Self {
        let (mut lanes, mut steps) = (Vec::new(), Vec::<Step>::new());
        for (lane, half) in layout.lanes() {
            let all = hash_lines[lane / LANES].0[lane % LANES];
            let start = steps.len() as u16;
            let few = all.count_ones() < MANY;
            let prefixes: &[u32] = if few { &BYTES[3..] } else { &BYTES };
            for &prefix in prefixes {
                let bits = all & prefix;
                let known = steps[usize::from(start)..].iter().any(|step| step.bits == bits);
                if bits != 0 && !known {
                    let odd = u64::from(prefix) << 1 | 1;
                    let multiplier = keys[half].wrapping_mul(odd).rotate_left(7) | 1;
                    steps.push(Step { lane: lane as u16, bits, multiplier });
                }
            }
            let end = steps.len() as u16;
            if start < end {
                lanes.push(Lane { lane: lane as u16, start, end });
            }
        }
        Self { cells, lanes, steps }
    }

    /// Whether the filter has many more buckets than it was made for, and so takes too many absent
    /// values for present ones.
    pub(super) fn is_too_small(&self, buckets: usize) -> bool {
        !self.lanes.is_empty() && buckets * CELLS > 4 * self.cells.len()
    }

    /// Counts a bucket that was added. `lines` is its packed key.
    pub(super) fn add(&mut self, lines: &[Line]) {
        for step in &self.steps {
            let (at, shift) = place(step.hash(lines), self.cells.len());
            if self.cells[at] >> shift & FULL < FULL {
                self.cells[at] += 1 << shift;
            }
        }
    }

    /// Counts a bucket that was removed. `lines` is its packed key.
    pub(super) fn remove(&mut self, lines: &[Line]) {
        for step in &self.steps {
            let (at, shift) = place(step.hash(lines), self.cells.len());
            let count = self.cells[at] >> shift & FULL;
            if 0 < count && count < FULL {
                self.cells[at] -= 1 << shift;
            }
        }
    }

    #[inline(always)]
    fn has(&self, step: &Step, lines: &[Line]) -> bool {
        let (at, shift) = place(step.hash(lines), self.cells.len());
        self.cells[at] >> shift & FULL != 0
    }

    /// A lane, and bits of it in which no bucket agrees with the key. Of the lanes that qualify this is the one
    /// that adds the fewest bits to `mask`. `None` if the filter knows of no such lane.
    #[inline]
    pub(super) fn explain(&self, key: &[Line], mask: &[Line]) -> Option<(usize, u32)> {
        let mut best: Option<(u32, usize, u32)> = None;
        for lane in &self.lanes {
            let steps = &self.steps[usize::from(lane.start)..usize::from(lane.end)];
            let lane = usize::from(lane.lane);
            let missing = !mask[lane / LANES].0[lane % LANES];
            let Some(step) = steps.iter().find(|step| !self.has(step, key)) else { continue };
            let cost = (step.bits & missing).count_ones();
            if best.is_none_or(|(least, ..)| cost < least) {
                best = Some((cost, lane, step.bits));
                if cost == 0 {
                    break;
                }
            }
        }
        best.map(|(_, lane, bits)| (lane, bits))
    }

    pub(super) fn heap_size(&self) -> usize {
        self.cells.len() + self.steps.capacity() * size_of::<Step>()
    }
}

/// The index of the byte that has a counter, and the counter's shift within the byte.
#[inline(always)]
fn place(hash: usize, bytes: usize) -> (usize, u8) {
    let at = hash & (2 * bytes - 1);
    (at / 2, (at % 2 * 4) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::lanes::HalfSet;
    use flow::PipelineKey;

    #[test]
    fn lanes_are_explained_by_their_own_values_however_many_there_are() {
        let mut mask = PipelineMask::default();
        mask.words_mut().fill(u64::MAX);
        let layout = Layout::new(HalfSet::of(&mask));
        let hash_lines = layout.pack(&mask.bits);
        let keys =
            std::array::from_fn(|i| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * i as u64 + 1));
        let mut presence = Presence::new(&layout, &hash_lines, &keys, cells(&mask, 1 << 16));
        let known = layout.pack(&PipelineKey::default());
        presence.add(&known);
        assert_eq!(presence.explain(&known, &known), None);
        for (lane, _) in layout.lanes() {
            let mut key = known.clone();
            key[lane / LANES].0[lane % LANES] = 0x0100_0000;
            assert_eq!(presence.explain(&key, &known), Some((lane, 0xff00_0000)));
        }
    }

    #[test]
    fn absent_values_are_explained_by_few_bits() {
        let mut mask = PipelineMask::default();
        mask.bits.headers.nw_addrs[..4].copy_from_slice(&[255; 4]);
        mask.bits.headers.nw_proto = 255;
        let layout = Layout::new(HalfSet::of(&mask));
        let hash_lines = layout.pack(&mask.bits);
        let keys =
            std::array::from_fn(|i| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * i as u64 + 1));
        let mut presence = Presence::new(&layout, &hash_lines, &keys, cells(&mask, 10));
        let packed = |addr: [u8; 4]| {
            let mut key = PipelineKey::default();
            key.headers.nw_addrs[..4].copy_from_slice(&addr);
            key.headers.nw_proto = 6;
            layout.pack(&key)
        };
        let none = layout.pack(&PipelineKey::default());
        presence.add(&packed([10, 1, 2, 3]));
        let explain = |p: &Presence, addr| p.explain(&packed(addr), &none);
        assert_eq!(explain(&presence, [10, 1, 2, 3]), None);
        assert_eq!(explain(&presence, [11, 1, 2, 3]), Some((3, 0xff00_0000)));
        assert_eq!(explain(&presence, [10, 1, 9, 3]), Some((3, 0xffff_ff00)));
        presence.remove(&packed([10, 1, 2, 3]));
        assert_eq!(explain(&presence, [10, 1, 2, 3]), Some((2, 0xff00_0000)));
    }
}

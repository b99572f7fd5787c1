//! Remembers which values the rules of a subtable have in single lanes, and in leading bytes of lanes.
//!
//! When a key has no bucket in a subtable, all bits of the hash mask explain it. Often fewer do: no rule
//! has the key's source address, or not even its first byte. A counting Bloom filter knows most of
//! these cases. Where it errs it says "present", which costs bits in a mask but is never wrong.

use super::lanes::{LANES, Layout, Line};
use super::subtable::HashKeys;
use flow::PipelineMask;

/// Cells for each expected bucket.
const CELLS: usize = 16;
/// Cells there are at least.
const FEWEST: usize = 1024;
/// A counter that reached this is not counted down any more.
const FULL: u8 = 15;
/// The leading bytes of a lane.
const BYTES: [u32; 4] = [0xff00_0000, 0xffff_0000, 0xffff_ff00, u32::MAX];
/// Bits in a lane from which it pays to look at its leading bytes.
const MANY: u32 = 17;

/// Two counters of four bits each; a power of two of them.
pub(super) type Cells = Box<[u8]>;

/// Cells for `buckets` buckets of this hash mask. Zeroing them takes up to a millisecond in the largest tables.
pub(super) fn cells(hash_mask: &PipelineMask, buckets: usize) -> Cells {
    // A subtable that hashes nothing has nothing to remember.
    let hashes = hash_mask.words().iter().any(|word| *word != 0);
    let cells = if hashes { (CELLS * buckets).max(FEWEST).next_power_of_two() } else { 2 };
    vec![0; cells / 2].into()
}

/// The values of one subtable. See the [module](self).
#[derive(Debug)]
pub(super) struct Presence {
    cells: Cells,
    lanes: Vec<Lane>,
    steps: Vec<Step>,
}

/// A lane with bits in the hash mask.
#[derive(Debug)]
struct Lane {
    lane: u8,
    /// Its steps, the one with the fewest bits first.
    start: u16,
    end: u16,
}

/// All or the leading bits of the hash mask in one lane.
#[derive(Debug)]
struct Step {
    lane: u8,
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
    /// With cells that have not been used.
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
                    steps.push(Step { lane: lane as u8, bits, multiplier });
                }
            }
            let end = steps.len() as u16;
            if start < end {
                lanes.push(Lane { lane: lane as u8, start, end });
            }
        }
        Self { cells, lanes, steps }
    }

    /// Whether there are many more buckets than it was made for.
    pub(super) fn is_too_small(&self, buckets: usize) -> bool {
        !self.lanes.is_empty() && buckets * CELLS > 4 * self.cells.len()
    }

    /// Counts a new bucket.
    pub(super) fn add(&mut self, lines: &[Line]) {
        for step in &self.steps {
            let (at, shift) = place(step.hash(lines), self.cells.len());
            if self.cells[at] >> shift & FULL < FULL {
                self.cells[at] += 1 << shift;
            }
        }
    }

    /// Counts a bucket less.
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

    /// A lane and bits of it in which no bucket agrees with the key: of those it knows of, the ones
    /// that add least to the mask.
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

/// The byte of a counter and its place there.
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

//! Keys and masks as the rules of one subtable see them. Only the 32-bit halves of words that some rule looks
//! at are there. They lie side by side in lines of eight lanes, which a few vector instructions compare.
//!
//! A lane holds its number in host byte order, so that the leading bits of a prefix are the high bits.

use arrayvec::ArrayVec;
use flow::bit_set::{BitSet, blocks};
use flow::key::PIPELINE_WORDS;
use flow::{PipelineKey, PipelineMask};
use zerocopy::FromZeros;

/// Number of 32-bit halves of words in a key.
pub(super) const HALVES: usize = 2 * PIPELINE_WORDS;
/// Number of lanes in a line.
pub(super) const LANES: usize = 8;
/// Number of lanes at the beginning of a row that do not hold halves of the
/// key, but the row's [`Header`](super::rows::Header).
pub(super) const HEADER: usize = 2;
/// Number of lines that hold the header and every half of a key.
pub(super) const MAX_WIDTH: usize = (HEADER + HALVES).div_ceil(LANES);

/// Eight lanes: half a cache line, and aligned so that a line never lies in two cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(32))]
pub(super) struct Line(pub(super) [u32; LANES]);

/// Secret random multipliers of the hash functions: one for each 32-bit half of a key.
pub(super) type HashKeys = [u64; HALVES];

/// A set of halves of a key, by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HalfSet(BitSet<{ blocks(HALVES) }>);

impl HalfSet {
    /// The halves in which a mask has bits.
    pub(super) fn of(mask: &PipelineMask) -> Self {
        let used = halves(&mask.bits).iter().enumerate().filter(|(_, half)| **half != [0; 4]);
        Self(used.map(|(at, _)| at).collect())
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0.union(other.0))
    }

    pub(super) fn contains(self, other: Self) -> bool {
        self.0.includes(&other.0)
    }

    /// Number of lines that hold the header and these halves.
    pub(super) fn width(self) -> usize {
        (HEADER + self.0.len()).div_ceil(LANES)
    }

    /// Whether a mask has [picked](Self::pick) bits in these halves, and nothing elsewhere. None of the picked
    /// halves may be zero.
    pub(super) fn are_all_of(self, picked: &[[u8; 4]], mask: &PipelineMask) -> bool {
        let halves: &[u32; HALVES] = zerocopy::transmute_ref!(&mask.bits);
        // Another mask mostly differs in one of the few picked halves.
        let mut picked_halves = self.0.iter().zip(picked);
        if !picked_halves.all(|(at, bits)| halves[at] == u32::from_ne_bytes(*bits)) {
            return false;
        }
        // Without a branch, so that vector instructions count several halves at once.
        let used: u32 = halves.iter().map(|half| u32::from(*half != 0)).sum();
        used as usize == picked.len()
    }

    /// Copies these halves out of a mask.
    pub(super) fn pick(self, mask: &PipelineMask) -> Box<[[u8; 4]]> {
        let halves = halves(&mask.bits);
        self.0.iter().map(|at| halves[at]).collect()
    }

    /// The mask that has [picked](Self::pick) bits in these halves, and nothing elsewhere.
    pub(super) fn put(self, picked: &[[u8; 4]]) -> PipelineMask {
        let mut mask = PipelineMask::new_zeroed();
        let halves: &mut [[u8; 4]; HALVES] = zerocopy::transmute_mut!(&mut mask);
        self.0.iter().zip(picked).for_each(|(at, bits)| halves[at] = *bits);
        mask
    }
}

/// Tells which half of the key is in which lane.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    set: HalfSet,
    halves: ArrayVec<u16, HALVES>,
}

impl Layout {
    pub(super) fn new(set: HalfSet) -> Self {
        Self { set, halves: set.0.iter().map(|half| half as u16).collect() }
    }

    pub(super) fn set(&self) -> HalfSet {
        self.set
    }

    /// Number of lines of a packed key.
    pub(super) fn width(&self) -> usize {
        self.set.width()
    }

    /// For each lane in use its index and the index of the half that it holds.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (usize, usize)> {
        self.halves.iter().enumerate().map(|(i, &half)| (HEADER + i, usize::from(half)))
    }

    /// Packs a key, or the bits of a mask, into `out`. Unused lanes of `out` stay as they are.
    #[inline]
    pub(super) fn gather(&self, key: &PipelineKey, out: &mut [Line]) {
        let halves = halves(key);
        for (lane, half) in self.lanes() {
            out[lane / LANES].0[lane % LANES] = u32::from_be_bytes(halves[half]);
        }
    }

    /// Packs a key, or the bits of a mask.
    #[inline]
    pub(super) fn pack(&self, key: &PipelineKey) -> ArrayVec<Line, MAX_WIDTH> {
        // Collecting an iterator would copy the room of all lines once more.
        let mut out = ArrayVec::new();
        (0..self.width()).for_each(|_| out.push(Line::default()));
        self.gather(key, &mut out);
        out
    }

    /// The words of a packed match in which its packed mask has bits, in the order of the key.
    pub(super) fn masked_words<'a>(
        &'a self,
        row: &'a [Line],
        mask: &'a [Line],
    ) -> impl Iterator<Item = MaskedWord> + 'a {
        let of = |lines: &[Line], lane: usize| lines[lane / LANES].0[lane % LANES];
        let halves = self.lanes().filter(move |(lane, _)| of(mask, *lane) != 0);
        let mut halves = halves
            .map(move |(lane, half)| {
                let in_word = |bits: u32| {
                    let mut bytes = [[0; 4]; 2];
                    bytes[half % 2] = bits.to_be_bytes();
                    u64::from_ne_bytes(zerocopy::transmute!(bytes))
                };
                let (mask, value) = (in_word(of(mask, lane)), in_word(of(row, lane)));
                MaskedWord { index: half / 2, mask, value }
            })
            .peekable();
        std::iter::from_fn(move || {
            let mut word = halves.next()?;
            if let Some(other) = halves.next_if(|other| other.index == word.index) {
                word.mask |= other.mask;
                word.value |= other.value;
            }
            Some(word)
        })
    }

    /// Adds packed bits to a key, or to the bits of a mask, by OR.
    #[inline]
    pub(super) fn scatter(&self, lines: &[Line], key: &mut PipelineKey) {
        let halves: &mut [[u8; 4]; HALVES] = zerocopy::transmute_mut!(key);
        for (lane, half) in self.lanes() {
            let bits = u32::from_be_bytes(halves[half]) | lines[lane / LANES].0[lane % LANES];
            halves[half] = bits.to_be_bytes();
        }
    }
}

/// A word of a key in which a mask has bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskedWord {
    /// The index of the word in the key.
    pub index: usize,
    /// The bits of the mask.
    pub mask: u64,
    /// The bits of the key, which are zero where those of the mask are.
    pub value: u64,
}

fn halves(key: &PipelineKey) -> &[[u8; 4]; HALVES] {
    zerocopy::transmute_ref!(key)
}

/// Whether a packed key agrees with a row in the bits of a mask.
#[inline(always)]
pub(super) fn agree(key: &[Line], row: &[Line], mask: &[Line]) -> bool {
    let mut differ = [0; LANES];
    for ((key, row), mask) in key.iter().zip(row).zip(mask) {
        for (lane, differ) in differ.iter_mut().enumerate() {
            *differ |= (key.0[lane] ^ row.0[lane]) & mask.0[lane];
        }
    }
    differ == [0; LANES]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_hold_the_halves_in_use_in_host_order() {
        let mut mask = PipelineMask::default();
        mask.bits.headers.nw_addrs[..4].copy_from_slice(&[255, 255, 0, 0]);
        mask.bits.headers.tp_dst = 0xfffe.into();
        mask.bits.regs[31] = 1.into();
        let layout = Layout::new(HalfSet::of(&mask));
        assert_eq!(layout.width(), 1);
        let packed = layout.pack(&mask.bits);
        assert_eq!(packed[0].0, [0, 0, 0xfffe, 0xffff_0000, 1, 0, 0, 0]);
        let mut again = PipelineMask::default();
        layout.scatter(&packed, &mut again.bits);
        assert_eq!(again, mask);
    }

    #[test]
    fn masked_words_are_those_of_the_match() {
        let mut mask = PipelineMask::default();
        mask.bits.pkt_mark = u32::MAX.into();
        mask.bits.headers.nw_addrs[..4].copy_from_slice(&[255, 255, 0, 0]);
        mask.bits.headers.tp_src = 0xffff.into();
        mask.bits.headers.tp_dst = 0xfffe.into();
        mask.bits.regs[31] = 1.into();
        let mut key = PipelineKey::default();
        key.words_mut().fill(0x0102_0304_0506_0708);
        let key = key.masked(&mask);
        let layout = Layout::new(HalfSet::of(&mask));
        let (row, packed_mask) = (layout.pack(&key), layout.pack(&mask.bits));
        let words: Vec<_> = layout.masked_words(&row, &packed_mask).collect();
        let all = key.words().iter().zip(mask.words()).enumerate();
        let expected: Vec<_> = all
            .filter(|(_, (_, mask))| **mask != 0)
            .map(|(index, (&value, &mask))| MaskedWord { index, mask, value })
            .collect();
        assert_eq!(words, expected);
        assert!(expected.len() >= 4);
    }

    #[test]
    fn a_mask_is_known_by_its_halves() {
        let mut mask = PipelineMask::default();
        mask.bits.headers.tp_dst = 0xfffe.into();
        mask.bits.regs[31] = 1.into();
        let set = HalfSet::of(&mask);
        let picked = set.pick(&mask);
        assert!(set.are_all_of(&picked, &mask));
        let changed = |change: &dyn Fn(&mut PipelineMask)| {
            let mut other = mask;
            change(&mut other);
            set.are_all_of(&picked, &other)
        };
        assert!(!changed(&|other| other.bits.regs[0] = 1.into()), "more");
        assert!(!changed(&|other| other.bits.regs[31] = 0.into()), "less");
        assert!(!changed(&|other| other.bits.regs[31] = 2.into()), "another bit");
    }

    #[test]
    fn all_halves_fit() {
        let mut mask = PipelineMask::default();
        mask.words_mut().fill(0x0102_0304_0506_0708);
        let layout = Layout::new(HalfSet::of(&mask));
        assert_eq!(layout.width(), MAX_WIDTH);
        let mut again = PipelineMask::default();
        layout.scatter(&layout.pack(&mask.bits), &mut again.bits);
        assert_eq!(again, mask);
    }
}

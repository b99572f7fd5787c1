//! The search for the best rule of a key, and for few bits that explain the answer.

use super::Filed;
use super::lanes::{HEADER, LANES, Layout, Line, agree};
use super::rows::{Block, Header};
use super::rule::{Rules, Version};
use super::subtable::Subtable;
use arrayvec::ArrayVec;
use flow::{PipelineKey, PipelineMask};

/// Subtables whose probes are remembered. Further ones are explained with all their bits.
const REMEMBERED: usize = 64;

/// Where one search looks.
pub(super) struct Search<'a, 'k, T> {
    pub(super) rules: &'a Rules<Filed<T>>,
    pub(super) subtables: &'a [Subtable],
    /// Best priority and number of each subtable with rules, the best first.
    pub(super) order: &'a [(u16, u16)],
    pub(super) key: &'k PipelineKey,
    pub(super) version: Version,
}

/// The best rule so far, and where it is.
struct Best<'a, T> {
    priority: u16,
    row: &'a [Line],
    mask: &'a [Line],
    subtable: &'a Subtable,
    filed: &'a Filed<T>,
    rank: super::rule::Rank,
}

/// What a probe of a subtable found.
#[derive(Clone, Copy)]
struct Probe {
    subtable: u16,
    block: Option<Block>,
}

/// The key, and the mask so far, as the subtables of one layout see them. The mask is packed when it is needed.
struct Packed<'a, const W: usize> {
    layout: Option<&'a Layout>,
    key: [Line; W],
    mask: [Line; W],
    has_mask: bool,
}

impl<'a, T> Search<'a, '_, T> {
    /// `W` is at least the width of every subtable; 1 exactly if that is the width of all.
    pub(super) fn run<const W: usize>(&self, mask: &mut PipelineMask) -> Option<&'a T> {
        let mut probes: ArrayVec<Probe, REMEMBERED> = ArrayVec::new();
        let mut packed = Packed::<'a, W>::new();
        let mut best: Option<Best<'a, T>> = None;
        for &(bound, number) in self.order {
            if best.as_ref().is_some_and(|best| best.priority > bound) {
                break;
            }
            let subtable = &self.subtables[usize::from(number)];
            packed.turn_key(subtable.layout(), self.key, mask);
            let block = subtable.bucket(subtable.hash(&packed.key));
            if let Some(block) = block {
                self.scan::<W>(subtable, block, &packed.key, &mut best);
            }
            if probes.try_push(Probe { subtable: number, block }).is_err() {
                packed.turn(subtable.layout(), self.key, mask);
                packed.add_all(subtable, block);
            }
        }
        if let Some(best) = &best {
            packed.turn(best.subtable.layout(), self.key, mask);
            packed.add(best.mask);
        }
        for probe in &probes {
            let subtable = &self.subtables[usize::from(probe.subtable)];
            packed.turn(subtable.layout(), self.key, mask);
            match probe.block {
                None => packed.explain_miss(subtable),
                Some(block) => packed.explain_rows(subtable, block, best.as_ref()),
            }
        }
        packed.flush(mask);
        best.map(|best| &best.filed.value)
    }

    /// Looks for a better rule in a bucket.
    #[inline(always)]
    fn scan<const W: usize>(
        &self,
        subtable: &'a Subtable,
        block: Block,
        key: &[Line; W],
        best: &mut Option<Best<'a, T>>,
    ) {
        let width = if W == 1 { 1 } else { subtable.width() };
        for row in subtable.rows(block).chunks_exact(width) {
            let header = Header::of(&row[0]);
            if best.as_ref().is_some_and(|best| best.priority > header.priority) {
                break;
            }
            let mask = subtable.mask(header.mask, width);
            if !agree(&key[..width], row, mask) {
                continue;
            }
            let Some((_, rule)) = self.rules.at(header.slot) else { continue };
            if !rule.is_visible(self.version) {
                continue;
            }
            if best.as_ref().is_none_or(|best| rule.rank() > best.rank) {
                *best = Some(Best {
                    priority: header.priority,
                    row,
                    mask,
                    subtable,
                    filed: &rule.value,
                    rank: rule.rank(),
                });
            }
            break;
        }
    }
}

impl<'a, const W: usize> Packed<'a, W> {
    fn new() -> Self {
        let lines = [Line::default(); W];
        Self { layout: None, key: lines, mask: lines, has_mask: false }
    }

    /// Sees to it that the key is in this layout.
    #[inline(always)]
    fn turn_key(&mut self, layout: &'a Layout, key: &PipelineKey, mask: &mut PipelineMask) {
        if self.layout.is_some_and(|current| current.set() == layout.set()) {
            return;
        }
        self.flush(mask);
        layout.gather(key, &mut self.key);
        self.layout = Some(layout);
    }

    /// Sees to it that key and mask are in this layout.
    #[inline(always)]
    fn turn(&mut self, layout: &'a Layout, key: &PipelineKey, mask: &mut PipelineMask) {
        self.turn_key(layout, key, mask);
        if !self.has_mask {
            layout.gather(&mask.bits, &mut self.mask);
            self.has_mask = true;
        }
    }

    /// Writes the bits that were added to the mask.
    #[inline(always)]
    fn flush(&mut self, mask: &mut PipelineMask) {
        if let Some(layout) = self.layout
            && self.has_mask
        {
            layout.scatter(&self.mask, &mut mask.bits);
            self.has_mask = false;
        }
    }

    #[inline(always)]
    fn add(&mut self, bits: &[Line]) {
        for (mask, bits) in self.mask.iter_mut().zip(bits) {
            for (mask, bits) in mask.0.iter_mut().zip(bits.0) {
                *mask |= bits;
            }
        }
    }

    /// Adds every bit that a probe may have needed.
    #[cold]
    fn add_all(&mut self, subtable: &Subtable, block: Option<Block>) {
        self.add(subtable.hash_lines());
        if let Some(block) = block {
            for row in subtable.rows(block).chunks_exact(subtable.width()) {
                self.add(subtable.mask(Header::of(&row[0]).mask, subtable.width()));
            }
        }
    }

    /// Adds bits that tell why the key has no bucket in a subtable.
    #[inline(always)]
    fn explain_miss(&mut self, subtable: &Subtable) {
        let missing =
            subtable.hash_lines().iter().zip(&self.mask).fold([0; LANES], |all, (h, m)| {
                std::array::from_fn(|lane| all[lane] | h.0[lane] & !m.0[lane])
            });
        if missing == [0; LANES] {
            return;
        }
        match subtable.presence().explain(&self.key, &self.mask) {
            Some((lane, bits)) => self.mask[lane / LANES].0[lane % LANES] |= bits,
            None => self.add(subtable.hash_lines()),
        }
    }

    /// Adds bits that tell why no row of a bucket is better than the answer, and those that tell
    /// why it is this bucket.
    #[inline(always)]
    fn explain_rows<T>(&mut self, subtable: &Subtable, block: Block, best: Option<&Best<'a, T>>) {
        self.add(subtable.hash_lines());
        let width = if W == 1 { 1 } else { subtable.width() };
        for row in subtable.rows(block).chunks_exact(width) {
            let header = Header::of(&row[0]);
            if best.is_some_and(|b| b.priority > header.priority || std::ptr::eq(b.row, row)) {
                break;
            }
            self.explain_row(row, subtable.mask(header.mask, width));
        }
    }

    /// Adds bits that tell why a row does not match, unless there are some already.
    #[inline(always)]
    fn explain_row(&mut self, row: &[Line], mask: &[Line]) {
        let mut explained = [0; LANES];
        for (((key, row), mask), known) in self.key.iter().zip(row).zip(mask).zip(&self.mask) {
            for (lane, explained) in explained.iter_mut().enumerate() {
                *explained |= (key.0[lane] ^ row.0[lane]) & mask.0[lane] & known.0[lane];
            }
        }
        if explained == [0; LANES] {
            self.tell_apart(row, mask);
        }
    }

    /// Of all lanes in which a row differs from the key, extends the mask in the one that needs the
    /// fewest more bits: the row's own bits down to the first that differs.
    fn tell_apart(&mut self, row: &[Line], mask: &[Line]) {
        let mut cheapest: Option<(u32, usize, u32)> = None;
        for (line, (row, mask)) in row.iter().zip(mask).enumerate() {
            for lane in 0..LANES {
                if line == 0 && lane < HEADER {
                    continue;
                }
                let differ = (self.key[line].0[lane] ^ row.0[lane]) & mask.0[lane];
                if differ == 0 {
                    continue;
                }
                let below = u32::MAX.checked_shr(differ.leading_zeros() + 1).unwrap_or(0);
                let bits = mask.0[lane] & !below;
                let cost = (bits & !self.mask[line].0[lane]).count_ones();
                if cheapest.is_none_or(|(least, ..)| cost <= least) {
                    cheapest = Some((cost, line * LANES + lane, bits));
                }
            }
        }
        if let Some((_, at, bits)) = cheapest {
            self.mask[at / LANES].0[at % LANES] |= bits;
        }
    }
}
